/** Why this room refuses what it was shown: what a caller may decide on. The text is for people. */
export type TlogErrorCode =
  /** Bytes that are not what their specification says. */
  | 'malformed'
  /** A signature of a known key that does not verify, or none of a known key. */
  | 'signature'
  /** Well formed, and not a proof of what was to be proven. */
  | 'unproven'
  /** A tile or an entry that the proof needs is not there. */
  | 'missing';

export class TlogError extends Error {
  readonly code: TlogErrorCode;

  constructor(code: TlogErrorCode, message: string) {
    super(message);
    this.name = 'TlogError';
    this.code = code;
  }
}

export const malformed = (what: string): TlogError => new TlogError('malformed', what);
