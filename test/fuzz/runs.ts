/** How many cases the generated tests try: `npm test` all of them, `npm run check` the share that FUZZ_SHARE says (greater than 0, at most 1). */
const share = Number(process.env.FUZZ_SHARE ?? 1);
if (!(share > 0 && share <= 1)) throw new Error(`FUZZ_SHARE is greater than 0 and at most 1, not ${process.env.FUZZ_SHARE}`);

/** @param all how many a full run tries */
export const runs = (all: number): number => Math.ceil(all * share);
