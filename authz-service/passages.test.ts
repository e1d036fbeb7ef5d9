import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Passage, Passages } from './passages.ts';

const passage = { credential: 'c' } as Passage;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('is taken up once, on its own target', () => {
  const passages = new Passages();
  passages.put('s1', 'ledger', passage);
  expect(passages.take('s1', 'other')).toBeUndefined();
  expect(passages.take('s2', 'ledger')).toBeUndefined();
  expect(passages.take('s1', 'ledger')).toBe(passage);
  expect(passages.take('s1', 'ledger')).toBeUndefined();
});

test('is not kept for ever, and not more than so many are', () => {
  const passages = new Passages({ keptMs: 1000, most: 2 });
  passages.put('s1', 'ledger', passage);
  vi.advanceTimersByTime(1000);
  expect(passages.take('s1', 'ledger')).toBeUndefined();
  for (const session of ['s2', 's3', 's4']) passages.put(session, 'ledger', passage);
  expect(['s2', 's3', 's4'].map((session) => passages.take(session, 'ledger') !== undefined)).toEqual([false, true, true]);
});
