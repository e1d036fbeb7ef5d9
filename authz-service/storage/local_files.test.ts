import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blockingFileSystem } from '../journal/blocking_file_system.ts';
import { nodeFileSystem } from '../journal/file_system.ts';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { localFiles } from './local_files.ts';
import { type ObjectStore, StorageError } from './object_store.ts';

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof StorageError ? error.code : `not coded: ${error}`;
  }
};

const keysOf = async (store: ObjectStore, prefix: string, after?: string): Promise<string[]> => {
  const keys: string[] = [];
  for await (const key of store.list(prefix, after)) keys.push(key);
  return keys;
};

describe.each([
  ['by others', nodeFileSystem],
  ['in the thread itself', blockingFileSystem],
])('objects as local files, written %s', (_, files) => {
  let directory: string;
  let store: ObjectStore;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'objects-'));
    store = localFiles(join(directory, 'log'), files);
    await store.verify();
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('are not read when they are larger than any object of a log', async () => {
    writeFileSync(join(directory, 'log', 'checkpoint'), '');
    truncateSync(join(directory, 'log', 'checkpoint'), 2 ** 40);
    expect(await codeOf(store.get('checkpoint'))).toBe('unavailable');
  });

  it('are not waited for where a pipe, a device or a link that leads nowhere is in their place', async () => {
    const at = (key: string): string => join(directory, 'log', key);
    execFileSync('mkfifo', [at('checkpoint')]);
    mkdirSync(at('checkpoints'));
    symlinkSync('/dev/zero', at('checkpoints/0000000000000001'));
    symlinkSync('/nowhere', at('checkpoints/0000000000000002'));
    symlinkSync(at('checkpoints/0000000000000003'), at('checkpoints/0000000000000003'));
    expect((await store.get('checkpoint'))?.length).toBe(0);
    expect((await store.get('checkpoints/0000000000000001'))?.length).toBe(0);
    expect(await store.get('checkpoints/0000000000000002')).toBeUndefined();
    expect(await codeOf(store.get('checkpoints/0000000000000003'))).toBe('unavailable');
    expect(await codeOf(keysOf(store, 'checkpoints/'))).toBe('unavailable');
    rmSync(at('checkpoints/0000000000000003'));
    expect(await keysOf(store, 'checkpoints/')).toEqual(['checkpoints/0000000000000001']);
    // What is put takes the place of it.
    await store.put('checkpoint', Buffer.from('one'));
    expect(String(await store.get('checkpoint'))).toBe('one');
  });

  it('may go while they are listed', async () => {
    const other = localFiles(join(directory, 'log'));
    for (let i = 0; i < 300; i += 1) await store.put(`tile/0/${i}`, Buffer.from('x'));
    const [listed] = await Promise.all([
      keysOf(store, 'tile/0/'),
      Promise.all(Array.from({ length: 300 }, (_, i) => other.delete(`tile/0/${i}`))),
    ]);
    expect(listed.length).toBeLessThanOrEqual(300);
  });

  it('may be written by two threads: what one lets go of does not keep the other from going on, and neither writes into what the other writes', async () => {
    const other = localFiles(join(directory, 'log'), files);
    for (let width = 1; width < 4; width += 1) {
      await store.put(`details/events/001.p/${width}`, Buffer.from(`${width}`));
      // With its last object a directory of partial forms goes.
      await other.delete(`details/events/001.p/${width}`);
      expect(readdirSync(join(directory, 'log/details/events'))).toEqual([]);
    }
    await Promise.all(
      [store, other].flatMap((each, i) =>
        Array.from({ length: 40 }, (_, n) => each.put(`tile/${i}/${n}`, Buffer.alloc(20_000 + n, `${i}`))),
      ),
    );
    for (const i of [0, 1])
      for (let n = 0; n < 40; n += 1) expect((await store.get(`tile/${i}/${n}`))?.equals(Buffer.alloc(20_000 + n, `${i}`))).toBe(true);
  });

  it('are whole, replaced at once, and kept when they must be absent', async () => {
    expect(await store.get('checkpoint')).toBeUndefined();
    expect(await store.put('checkpoint', Buffer.from('one'))).toBe('stored');
    expect(await store.put('checkpoint', Buffer.from('two, longer'))).toBe('stored');
    expect(await store.put('checkpoint', Buffer.from('three'), { ifAbsent: true })).toBe('exists');
    expect(String(await store.get('checkpoint'))).toBe('two, longer');
    expect(String(await store.get('checkpoint', { from: 5, to: 100 }))).toBe('longer');
    await store.delete('checkpoint');
    await store.delete('checkpoint');
    expect(await store.get('checkpoint')).toBeUndefined();
    expect(await store.put('checkpoint', Buffer.alloc(0), { ifAbsent: true })).toBe('stored');
    expect((await store.get('checkpoint'))?.length).toBe(0);
  });

  it('are listed in the order of their keys, from where one left off', async () => {
    const keys = [
      'tile/0/000',
      'tile/0/001',
      'tile/0/001.p/12',
      'tile/0/x001/000',
      'tile/1/000',
      'tile/entries/000',
      'checkpoint',
      'details/events/000',
    ];
    await Promise.all(keys.map((key) => store.put(key, Buffer.from(key))));
    const sorted = keys.toSorted();
    expect(await keysOf(store, '')).toEqual(sorted);
    for (const prefix of ['tile/', 'tile/0', 'tile/0/', 'tile/0/0', 'tile/e', 'd', 'none/'])
      expect(await keysOf(store, prefix)).toEqual(sorted.filter((key) => key.startsWith(prefix)));
    for (const after of [...sorted, 'tile/0/000.p', 'tile/0/001.p/12x', 'a', 'z']) {
      expect([after, await keysOf(store, '', after)]).toEqual([after, sorted.filter((key) => key > after)]);
      expect(await keysOf(store, 'tile/', after)).toEqual(sorted.filter((key) => key.startsWith('tile/') && key > after));
    }
  });

  it('have no key that leads elsewhere', async () => {
    for (const key of [
      '',
      '.',
      '..',
      '../x',
      'a/../b',
      '/a',
      'a/',
      'a//b',
      '.unfinished-1',
      'a/.b',
      'A',
      'a b',
      'a\0',
      `a${'/a'.repeat(300)}`,
    ]) {
      expect([key, await codeOf(store.put(key, Buffer.of()))]).toEqual([key, 'malformed']);
      expect(await codeOf(store.get(key))).toBe('malformed');
    }
  });

  it('promise nothing that files do not have', async () => {
    expect(await codeOf(store.put('a', Buffer.of(), { retainUntil: new Date(0) }))).toBe('unsupported');
    expect(await codeOf(store.hold('a', true))).toBe('unsupported');
  });

  it('leave nothing behind that was not finished', async () => {
    writeFileSync(join(directory, 'log', '.unfinished-9'), 'half');
    expect(await keysOf(store, '')).toEqual([]);
    await store.verify();
    expect(readdirSync(join(directory, 'log'))).toEqual([]);
  });

  it('survive the loss of power once they are stored, and are never half there', async () => {
    const put = async (disk: SimulatedFileSystem): Promise<boolean> => {
      const objects = localFiles('/log', disk);
      return objects.put('tile/0/000', Buffer.from('whole')).then(
        () => true,
        () => false,
      );
    };
    const counting = new SimulatedFileSystem();
    await put(counting);
    for (let number = 1; number <= counting.operations + 1; number += 1)
      for (const kept of [0, 0.5, 1])
        for (const code of ['EIO', 'ENOSPC'] as const)
          for (const names of ['lost', 'kept'] as const) {
            const disk = new SimulatedFileSystem();
            disk.fault = (operation) => (operation.number === number ? { code, kept } : undefined);
            const stored = await put(disk);
            expect(stored).toBe(number > counting.operations);
            const found = await localFiles('/log', disk.afterPowerLoss(names)).get('tile/0/000');
            if (stored || found !== undefined) expect(String(found)).toBe('whole');
          }
  });

  it('survive the loss of power once they are settled, where that is left for later: with one sync for each directory, tried again until it works', async () => {
    const keys = ['tile/0/000', 'tile/0/001', 'tile/0/002', 'details/events/000'];
    const later = { ifAbsent: true, settledLater: true } as const;
    const found = async (disk: SimulatedFileSystem): Promise<string[]> => keysOf(localFiles('/log', disk.afterPowerLoss('lost')), '');
    const disk = new SimulatedFileSystem();
    const objects = localFiles('/log', disk);
    const synced: string[] = [];
    let failing = false;
    disk.fault = ({ name, path }) => {
      if (name !== 'syncDirectory') return undefined;
      if (failing) return { code: 'EIO' };
      synced.push(path);
      return undefined;
    };
    // The directories first, each durable in the one above.
    for (const key of keys) await objects.put(key.replace(/[^/]+$/, 'first'), Buffer.from(key));
    synced.length = 0;
    for (const key of keys) expect(await objects.put(key, Buffer.from(key), later)).toBe('stored');
    expect(synced).toEqual([]);
    failing = true;
    expect(await codeOf(objects.settle())).toBe('unavailable');
    expect(await codeOf(objects.put('tile/0/003', Buffer.from('x'), { ifAbsent: true }))).toBe('unavailable');
    // What is there, and may go when the power does, is not said to be durable.
    expect(await codeOf(objects.put('tile/0/003', Buffer.from('x'), { ifAbsent: true }))).toBe('unavailable');
    failing = false;
    // Another one, which knows nothing of that, finds them there.
    const other = localFiles('/log', disk);
    for (const key of keys) expect(await other.put(key, Buffer.from(key), later)).toBe('exists');
    await other.settle();
    expect(synced).toEqual(['/log/tile/0', '/log/details/events']);
    await other.settle();
    await objects.settle();
    // The first one has not given up.
    expect(synced.slice(2).sort()).toEqual(['/log/details/events', '/log/tile/0']);
    expect((await found(disk)).sort()).toEqual([...keys, 'tile/0/003', 'tile/0/first', 'details/events/first'].sort());
  });

  it('may be many that are settled later, among them some that were put twice: what was there stays, and nothing else is left behind', async () => {
    const later = { ifAbsent: true, settledLater: true } as const;
    await store.put('tile/0/007', Buffer.from('was there'));
    const keys = Array.from({ length: 130 }, (_, i) => `tile/${i % 3}/${String(i).padStart(3, '0')}`);
    await Promise.all(keys.map(async (key) => store.put(key, Buffer.from(`of an attempt that failed: ${key}`), { settledLater: true })));
    await Promise.all(keys.map((key) => store.put(key, Buffer.from(key), { settledLater: true })));
    expect(await store.put('tile/0/007', Buffer.from('x'), later)).toBe('exists');
    await store.settle();
    for (const key of keys) expect([key, String(await store.get(key))]).toEqual([key, key]);
    expect(String(await store.get('tile/0/007'))).toBe('was there');
    await store.put('tile/0/200', Buffer.from('never settled'), later);
    await store.close();
    expect(await store.get('tile/0/200')).toBeUndefined();
    expect(readdirSync(join(directory, 'log'))).toEqual(['tile']);
  });

  it('that are settled later are whole or not there, whatever fails, and there when nothing did', async () => {
    const keys = ['tile/0/000', 'tile/entries/000', 'details/events/000'];
    const put = async (disk: SimulatedFileSystem): Promise<boolean> => {
      const objects = localFiles('/log', disk);
      try {
        for (const key of keys) await objects.put(key, Buffer.from(`whole ${key}`), { ifAbsent: true, settledLater: true });
        await objects.settle();
        return true;
      } catch {
        return false;
      }
    };
    const counting = new SimulatedFileSystem();
    await put(counting);
    for (let number = 1; number <= counting.operations; number += 1)
      for (const fault of [{ kept: 0 }, { kept: 0.5, seen: 1 }, { kept: 1 }])
        for (const names of ['lost', 'kept'] as const) {
          const disk = new SimulatedFileSystem();
          disk.fault = (operation) => (operation.number === number ? { code: 'EIO', ...fault } : undefined);
          expect(await put(disk)).toBe(false);
          for (const left of [disk.copy(), disk.afterPowerLoss(names)]) {
            const found = localFiles('/log', left);
            for (const key of keys) expect([undefined, `whole ${key}`]).toContain((await found.get(key))?.toString());
            expect(await put(left)).toBe(true);
            for (const key of keys) expect(String(await localFiles('/log', left.afterPowerLoss('lost')).get(key))).toBe(`whole ${key}`);
          }
        }
  });

  it('say what went wrong in codes', async () => {
    const disk = new SimulatedFileSystem();
    for (const [code, expected] of [
      ['ENOSPC', 'full'],
      ['EACCES', 'forbidden'],
      ['EIO', 'unavailable'],
    ] as const) {
      disk.fault = () => ({ code });
      expect(await codeOf(localFiles('/log', disk).put('a', Buffer.from('x')))).toBe(expected);
    }
  });
});
