/** Time as holds need it, so that a test can let an hour pass. */
export interface Clock {
  /** Unix milliseconds. */
  now(): number;
  /** Calls `wake` once after `ms` or earlier; returns what calls it off. */
  after(ms: number, wake: () => void): () => void;
}

const LONGEST_TIMER = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: Date.now,
  after: (ms, wake) => {
    const timer = setTimeout(wake, Math.min(ms, LONGEST_TIMER));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
