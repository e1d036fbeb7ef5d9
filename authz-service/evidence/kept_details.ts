/**
 * A session's details are looked at twice: for what is missing and how it ended, which the head of the page says, and for the page itself. What fits is kept from the first time,
 * so that it is read once; a session may be larger than memory.
 */
import type { ObjectStore } from '../storage/object_store.ts';

/** @param mostBytes of what is kept */
export const keptDetails = (objects: ObjectStore, mostBytes: number): ObjectStore => {
  const kept = new Map<string, Buffer | undefined>();
  let room = mostBytes;
  return {
    url: objects.url,
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
    put: (key, bytes, options) => objects.put(key, bytes, options),
    delete: (key) => objects.delete(key),
    hold: (key, on) => objects.hold(key, on),
    verify: () => objects.verify(),
    settle: (...of) => objects.settle(...of),
    close: () => objects.close(),
  };
};
