/**
 * How long the caller wants to wait for a held request, from its `Prefer` headers (RFC 7240): milliseconds, or `undefined`
 * when it said nothing and waits as long as the hold lasts. The first mention of a preference counts; one that does not
 * parse is ignored, as the RFC demands.
 */
export function waitPreference(values: readonly string[]): number | undefined {
  let wait: number | undefined;
  let async = false;
  for (const part of values.join(',').split(',')) {
    const [name = '', value = ''] = (part.split(';', 1)[0] ?? '').split('=', 2).map((word) => word.trim());
    if (name.toLowerCase() === 'respond-async') async = true;
    if (name.toLowerCase() === 'wait' && wait === undefined) {
      const seconds = /^"?(\d{1,9})"?$/.exec(value)?.[1];
      if (seconds !== undefined) wait = Math.min(Number(seconds) * 1000, LONGEST_TIMER_MS);
    }
  }
  return wait ?? (async ? 0 : undefined);
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;
