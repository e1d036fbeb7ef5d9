/** Durations as people write them, of one unit. */

/** Milliseconds of each, the shortest first. */
export const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

type Unit = keyof typeof UNITS_MS;

const UNITS = Object.keys(UNITS_MS) as Unit[];

/** In the longest unit of which it is a whole number: `30d`, `36h`, `1500ms`. Whole milliseconds. */
export const durationText = (ms: number): string => {
  const unit = UNITS.findLast((each) => ms % UNITS_MS[each] === 0) ?? 'ms';
  return `${ms / UNITS_MS[unit]}${unit}`;
};

/** Of `15m` and the like, in milliseconds; `undefined`: it is none. */
export const durationMs = (text: string): number | undefined => {
  const [, count, unit] = /^(\d{1,15})(ms|s|m|h|d)$/.exec(text) ?? [];
  const ms = Number(count) * UNITS_MS[unit as Unit];
  return Number.isSafeInteger(ms) ? ms : undefined;
};
