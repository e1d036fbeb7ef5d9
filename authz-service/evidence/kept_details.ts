/**
 * A session's details are looked at twice: for what is missing and how it ended, which the head of the page says, and for the page itself. What fits is kept from the first time,
 * so that it is read once; a session may be larger than memory.
 */
import type { ReadableStore } from '../storage/object_store.ts';

/** @param mostBytes of what is kept */
export const keptDetails = (objects: ReadableStore, mostBytes: number): ReadableStore => {
  const kept = new Map<string, Buffer | undefined>();
  let room = mostBytes;
  return {
    get: async (key, range) => {
      if (range !== undefined || !key.startsWith('details/')) return objects.get(key, range);
      if (kept.has(key)) return kept.get(key);
      const bytes = await objects.get(key);
      const size = bytes?.length ?? 0;
      if (size <= room) {
        kept.set(key, bytes);
        room -= size;
      }
      return bytes;
    },
    list: (prefix, after) => objects.list(prefix, after),
  };
};
