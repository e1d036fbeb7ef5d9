/** What every object store must do, whatever it is made of: shown of the real ones by test/interop/storage.ts, of stand-ins by the unit tests. */
import { strictEqual as equal, deepStrictEqual as same } from 'node:assert';
import { type ObjectStore, StorageError } from './object_store.ts';

export interface Behaviour {
  readonly what: string;
  readonly show: (store: ObjectStore) => Promise<void>;
}

const gather = async (keys: AsyncIterable<string>): Promise<string[]> => {
  const found: string[] = [];
  for await (const key of keys) found.push(key);
  return found;
};

export const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof StorageError ? error.code : `not coded: ${error}`;
  }
};

export const BEHAVIOURS: readonly Behaviour[] = [
  {
    what: 'gives back what was put, whole and by range, and nothing for what was not',
    show: async (store) => {
      const bytes = Buffer.from(Array.from({ length: 1000 }, (_, n) => n % 251));
      equal(await store.get('range/a'), undefined);
      equal(await store.put('range/a', bytes), 'stored');
      same(await store.get('range/a'), bytes);
      same(await store.get('range/a', { from: 10, to: 20 }), bytes.subarray(10, 20));
      same(await store.get('range/a', { from: 990, to: 5000 }), bytes.subarray(990));
      same(await store.get('range/a', { from: 5, to: 5 }), Buffer.alloc(0));
      same(await store.get('range/a', { from: 1000, to: 1010 }), Buffer.alloc(0));
    },
  },
  {
    what: 'puts what is absent once',
    show: async (store) => {
      equal(await store.put('once/a', Buffer.from('first'), { ifAbsent: true }), 'stored');
      equal(await store.put('once/a', Buffer.from('second'), { ifAbsent: true }), 'exists');
      equal((await store.get('once/a'))?.toString(), 'first');
    },
  },
  {
    what: 'puts a pointer again and again, and empty objects',
    show: async (store) => {
      for (const text of ['one', 'two', 'three']) equal(await store.put('checkpoint', Buffer.from(text)), 'stored');
      equal((await store.get('checkpoint'))?.toString(), 'three');
      equal(await store.put('empty', Buffer.alloc(0)), 'stored');
      same(await store.get('empty'), Buffer.alloc(0));
    },
  },
  {
    what: 'lists keys in order, behind a key, of a prefix alone',
    show: async (store) => {
      const keys = ['tile/0/000', 'tile/0/001', 'tile/0/001.p/17', 'tile/1/000', 'tile/entries/000'].map((key) => `list/${key}`);
      for (const key of keys.toReversed()) await store.put(key, Buffer.from(key));
      same(await gather(store.list('list/')), keys);
      same(await gather(store.list('list/tile/0/')), keys.slice(0, 3));
      same(await gather(store.list('list/', 'list/tile/0/001')), keys.slice(2));
      same(await gather(store.list('list/none/')), []);
    },
  },
  {
    what: 'deletes, also what is not there',
    show: async (store) => {
      await store.put('gone/a', Buffer.from('a'));
      await store.delete('gone/a');
      equal(await store.get('gone/a'), undefined);
      await store.delete('gone/a');
      equal(await store.put('gone/a', Buffer.from('b'), { ifAbsent: true }), 'stored');
    },
  },
];

/** What a store that several may write to must do beside; a directory has one writer. */
export const SHARED_BEHAVIOURS: readonly Behaviour[] = [
  ...BEHAVIOURS,
  {
    what: 'takes one of several that put what is absent at once',
    show: async (store) => {
      const race = await Promise.all(Array.from({ length: 4 }, (_, n) => store.put('once/race', Buffer.from(`${n}`), { ifAbsent: true })));
      equal(race.filter((one) => one === 'stored').length, 1);
    },
  },
];

/** What a store with locks must do beside. */
export const WRITE_ONCE_BEHAVIOURS: readonly Behaviour[] = [
  {
    what: 'is seen to be write-once',
    show: (store) => store.verify(),
  },
  {
    what: 'lets nothing go before its date, and reads the first version whatever stands above it',
    show: async (store) => {
      const retainUntil = new Date(Date.now() + 3_600_000);
      equal(await store.put('locked/a', Buffer.from('first'), { ifAbsent: true, retainUntil }), 'stored');
      equal(await codeOf(store.delete('locked/a')), 'retained');
      equal((await store.get('locked/a'))?.toString(), 'first');
      await store.put('locked/a', Buffer.from('another'));
      equal((await store.get('locked/a'))?.toString(), 'first');
      // All versions that are not locked go, and a marker may stand above the one that is.
      await store.put('locked/b', Buffer.from('b'));
      equal(await codeOf(store.delete('locked/a')), 'retained');
      same(await gather(store.list('locked/')), ['locked/a', 'locked/b']);
      same(await gather(store.list('locked/', 'locked/a')), ['locked/b']);
    },
  },
  {
    what: 'keeps what is held, and lets it go with all its versions when it is not held any more',
    show: async (store) => {
      await store.put('held/a', Buffer.from('one'));
      await store.put('held/a', Buffer.from('two'));
      await store.hold('held/a', true);
      equal(await codeOf(store.delete('held/a')), 'retained');
      equal((await store.get('held/a'))?.toString(), 'one');
      await store.hold('held/a', false);
      await store.delete('held/a');
      equal(await store.get('held/a'), undefined);
    },
  },
];
