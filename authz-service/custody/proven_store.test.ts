import { beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from '../storage/object_store.behaviour.ts';
import { type ObjectStore, StorageError, type StorageErrorCode } from '../storage/object_store.ts';
import { ProvenStore } from './proven_store.ts';

let calls: string[];
/** What the store does next, by call: fails with the code, or waits. */
let faults: Partial<Record<'verify' | 'put' | 'get' | 'list', StorageErrorCode>>;
let seconds = 0;
let told: string[];
let store: ProvenStore;

const act = async (call: keyof typeof faults): Promise<void> => {
  calls.push(call);
  const code = faults[call];
  if (code !== undefined) throw new StorageError(code, `it says ${code}`);
};
const inner: ObjectStore = {
  url: 'memory:',
  put: async () => {
    await act('put');
    return 'stored';
  },
  get: async () => {
    await act('get');
    return undefined;
  },
  async *list() {
    await act('list');
    yield 'a';
  },
  delete: async () => void calls.push('delete'),
  hold: async () => void calls.push('hold'),
  settle: async () => void calls.push('settle'),
  verify: () => act('verify'),
  close: async () => {},
};
const bytes = Buffer.from('a');

beforeEach(() => {
  [calls, faults, told, seconds] = [[], {}, [], 0];
  store = new ProvenStore(inner, { changed: ({ state }) => told.push(state), monotonic: () => seconds * 1000 });
});

describe('a store is written to', () => {
  it.each([
    ['put', () => store.put('a', bytes)],
    ['delete', () => store.delete('a')],
    ['hold', () => store.hold('a', true)],
    ['settle', () => store.settle()],
  ])('after it was tried, once: %s', async (name, write) => {
    await write();
    await write();
    expect(calls).toEqual(['verify', name, name]);
    expect(told).toEqual(['proven']);
  });

  it.each<StorageErrorCode>(['unavailable', 'unsupported', 'forbidden', 'full'])('never while trying it says %s', async (code) => {
    faults.verify = code;
    for (const write of [store.put('a', bytes), store.delete('a'), store.hold('a', true)]) expect(await codeOf(write)).toBe(code);
    expect(calls.filter((call) => call !== 'verify')).toEqual([]);
    const away = code === 'unavailable' || code === 'full';
    expect(store.standing).toMatchObject({ state: away ? 'away' : 'unfit', reason: `it says ${code}` });
  });

  it('once it has come back and was tried', async () => {
    faults.verify = 'unavailable';
    expect(await codeOf(store.put('a', bytes))).toBe('unavailable');
    faults = {};
    expect(await store.put('a', bytes)).toBe('stored');
    expect(calls).toEqual(['verify', 'verify', 'put']);
  });

  it.each<[keyof typeof faults, () => Promise<unknown>]>([
    ['put', () => store.put('b', bytes)],
    ['get', () => store.get('b')],
    ['list', async () => await store.list('')[Symbol.asyncIterator]().next()],
  ])('only after it was tried again when it was away in between: %s', async (call, use) => {
    await store.put('a', bytes);
    faults[call] = 'unavailable';
    expect(await codeOf(use())).toBe('unavailable');
    faults = { verify: 'unsupported' };
    calls = [];
    expect(await codeOf(store.put('a', bytes))).toBe('unsupported');
    expect(calls).toEqual(['verify']);
    expect(told).toEqual(['proven', 'away', 'unfit']);
  });

  it('also after an answer that is about one object alone', async () => {
    await store.put('a', bytes);
    faults.put = 'retained';
    expect(await codeOf(store.put('a', bytes))).toBe('retained');
    faults = {};
    await store.put('a', bytes);
    expect(calls.filter((call) => call === 'verify')).toHaveLength(1);
  });
});

it('a store that is unfit is tried again after a minute, for it may have been put right', async () => {
  faults.verify = 'unsupported';
  await codeOf(store.verify());
  seconds = 59;
  faults = {};
  expect(await codeOf(store.put('a', bytes))).toBe('unsupported');
  expect(calls).toEqual(['verify']);
  seconds = 60;
  await store.put('a', bytes);
  expect(told).toEqual(['unfit', 'proven']);
});

it('one attempt serves all who wait for it', async () => {
  await Promise.all([store.put('a', bytes), store.put('b', bytes), store.verify()]);
  expect(calls).toEqual(['verify', 'put', 'put']);
});
