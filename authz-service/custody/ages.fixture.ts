/** As the configuration has it where no kind of payload has an age of its own. */
export const ALIKE = { requestBodiesMs: undefined, responseBodiesMs: undefined, rowsMs: undefined, copiedRowsMs: undefined } as const;
