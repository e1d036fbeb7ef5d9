import { describe, expect, test } from 'vitest';
import { CLASSES } from '../log/leaf.ts';
import { ALIKE } from './ages.fixture.ts';
import { agesOf } from './ages.ts';

describe('the age of each class', () => {
  test('of payloads is that of all payloads, where their kind has none', () => {
    const all = { payloads: 90, request_bodies: 90, response_bodies: 90, rows: 90, copied_rows: 90 };
    expect(agesOf({ eventsMs: 400, payloadsMs: 90, kinds: ALIKE })).toEqual({ events: 400, ...all });
    expect(agesOf({ eventsMs: undefined, payloadsMs: 90, kinds: { ...ALIKE, rowsMs: 7 } })).toEqual({ ...all, rows: 7 });
    expect(Object.keys(agesOf({ eventsMs: 1, payloadsMs: 1, kinds: ALIKE })).sort()).toEqual([...CLASSES].sort());
  });

  test('of a payload of no known kind is the longest, and for ever when one is kept for ever', () => {
    const kinds = { ...ALIKE, requestBodiesMs: 400, rowsMs: 7 };
    expect(agesOf({ eventsMs: 1, payloadsMs: 90, kinds })).toMatchObject({ payloads: 400, response_bodies: 90 });
    expect(agesOf({ eventsMs: 1, payloadsMs: undefined, kinds })).toMatchObject({
      payloads: undefined,
      request_bodies: 400,
      copied_rows: undefined,
    });
  });
});
