import { describe, expect, it } from 'vitest';
import { TokenCache } from './token_cache.ts';

describe('TokenCache', () => {
  it('stays within its budget and keeps what is used', () => {
    const cache = new TokenCache<number>(100 * 612);
    cache.set('used'.padEnd(100), -1);
    for (let index = 0; index < 10_000; index += 1) {
      cache.set(String(index).padEnd(100), index);
      expect(cache.get('used'.padEnd(100))).toBe(-1);
      expect(cache.size).toBeLessThanOrEqual(100);
    }
    expect(cache.get('9999'.padEnd(100))).toBe(9999);
    expect(cache.get('5'.padEnd(100))).toBeUndefined();
  });

  it('forgets what is deleted, in both generations', () => {
    const cache = new TokenCache<number>(4 * 513);
    cache.set('a', 1);
    cache.set('b', 2);
    cache.set('c', 3);
    cache.get('a');
    cache.delete('a');
    expect([cache.get('a'), cache.get('c')]).toEqual([undefined, 3]);
  });
});
