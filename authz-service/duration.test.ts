import { describe, expect, it } from 'vitest';
import { durationMs, durationText } from './duration.ts';

describe('a duration', () => {
  it.each([
    [2_555 * 86_400_000, '2555d'],
    [36 * 3_600_000, '36h'],
    [90_000, '90s'],
    [120_000, '2m'],
    [1_500, '1500ms'],
    [1, '1ms'],
  ])('of %d ms is %s, and is read back', (ms, text) => {
    expect(durationText(ms)).toBe(text);
    expect(durationMs(text)).toBe(ms);
  });

  it.each(['', '5', 'm', '1.5h', '-1d', '1h30m', '1 d', '1w', '1D', '999999999999999d', '0x1s'])('is not %j', (text) => {
    expect(durationMs(text)).toBeUndefined();
  });
});
