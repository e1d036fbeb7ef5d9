import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localFiles } from '../storage/local_files.ts';
import { type ObjectStore, type PutOptions, StorageError } from '../storage/object_store.ts';
import { decodeDetails, encodeDetails } from './details.ts';
import { PublishedLog } from './published.fixture.ts';
import { LogReader } from './reader.ts';
import { Replicator, type ReplicatorOptions } from './replicator.ts';

let directory: string;
let log: PublishedLog;
let to: ObjectStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-replica-'));
  log = new PublishedLog(join(directory, 'log'));
  to = localFiles(join(directory, 'replica'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const replicatorOf = (options: Partial<ReplicatorOptions> = {}): Replicator =>
  new Replicator({ from: log.objects, to, open: log.open, intervalMs: 2, ...options });

/** Another store in front of `to`. */
const through = (change: Partial<ObjectStore>): ObjectStore => ({
  url: 'test://replica',
  put: (key, bytes, options) => to.put(key, bytes, options),
  get: (key, range) => to.get(key, range),
  list: (prefix, after) => to.list(prefix, after),
  delete: (key) => to.delete(key),
  hold: (key, on) => to.hold(key, on),
  settle: () => to.settle(),
  verify: () => to.verify(),
  close: () => to.close(),
  ...change,
});

const keysOf = async (store: ObjectStore, prefix = ''): Promise<string[]> => {
  const found: string[] = [];
  for await (const key of store.list(prefix)) found.push(key);
  return found;
};

/** All that the replica's newest checkpoint stands for is there, and says what was published. */
const expectWhole = async (store = to): Promise<void> => {
  const reader = new LogReader(store);
  const { size = 0, note = '' } = (await reader.checkpoint()) ?? {};
  expect(log.open(Buffer.from(note)).size).toBe(size);
  const texts: string[] = [];
  for await (const { detail, index } of reader.read(0, size, size)) {
    texts.push(String(detail?.event));
    if (index % 97 === 0) await reader.proveInclusion(index, size);
  }
  expect(texts).toEqual(log.details.slice(0, size).map(({ event }) => String(event)));
};

describe('a replica', () => {
  it('has what is published, whole, and the edge of the newest tree alone', async () => {
    const replicator = replicatorOf({ keepMs: 0 });
    for (const count of [1, 3, 251, 1, 1, 600, 200]) {
      await log.fill(count).publish();
      await replicator.round();
      await expectWhole();
    }
    expect(replicator.progress).toMatchObject({ published: 1057, replicated: 1057, behindSince: 0, failure: '' });
    const ours = (await keysOf(to)).filter((key) => !key.startsWith('checkpoints/'));
    expect(ours.filter((key) => key.includes('.p/'))).toEqual([
      'details/events/004.p/33',
      'tile/0/004.p/33',
      'tile/1/000.p/4',
      'tile/entries/004.p/33',
    ]);
    expect(await keysOf(to, 'checkpoints/')).toHaveLength(7);
  });

  it('puts the pointer last, locks what will not change, and not the edge', async () => {
    const puts: [string, boolean, string][] = [];
    const retainUntil = (kind: string): Date => new Date({ tile: 1, entries: 2, checkpoint: 3, events: 4, payloads: 5 }[kind] ?? 0);
    const store = through({
      put: async (key, bytes, { ifAbsent, retainUntil: until }: PutOptions = {}) => {
        puts.push([key, ifAbsent ?? false, until === undefined ? '' : String(until.getTime())]);
        return await to.put(key, bytes, ifAbsent ? { ifAbsent } : {});
      },
    });
    await log.fill(256).fill(2, { session: 's', kind: 17 }).publish();
    await replicatorOf({ to: store, retainUntil }).round();
    expect(puts.toSorted().map((put) => put.join(' '))).toEqual([
      'checkpoint false ',
      'checkpoints/0000000000000258 true 3',
      'details/events/000 true 4',
      'details/payloads/001.p/2 true ',
      'tile/0/000 true 1',
      'tile/0/001.p/2 true ',
      'tile/1/000.p/1 true ',
      'tile/entries/000 true 2',
      'tile/entries/001.p/2 true ',
    ]);
    expect(puts.at(-1)?.[0]).toBe('checkpoint');
  });

  it('goes on where something else lies in the place of a checkpoint that it keeps, and says so', async () => {
    await log.fill(300).publish();
    const planted = Buffer.from(
      log
        .checkpoint()
        .replace(/(— \S+ .{10})./, '$1!')
        .replace('!', 'x'),
    );
    await to.put('checkpoints/0000000000000300', planted);
    const problems: string[] = [];
    await replicatorOf({ keepMs: 0, onProblem: ({ message }) => problems.push(message) }).round();
    expect(problems).toEqual([expect.stringMatching(/checkpoints\/0000000000000300 is there already, and is none of this log/)]);
    expect((await new LogReader(to).checkpoint())?.size).toBe(300);
    await expectWhole();
  });

  it('goes on where the pointer stands, by a replicator that remembers nothing', async () => {
    await log.fill(700).publish();
    await replicatorOf().round();
    await log.fill(300).publish();
    const puts: string[] = [];
    const store = through({
      put: (key, bytes, options) => {
        puts.push(key);
        return to.put(key, bytes, options);
      },
    });
    await replicatorOf({ to: store }).round();
    expect(puts.filter((key) => /^tile\/entries\/\d+$/.test(key))).toEqual(['tile/entries/002']);
    await expectWhole();
  });

  it('is mended after a failure at every call, and after one that had persisted', async () => {
    await log.fill(300).publish();
    await replicatorOf().round();
    await log.fill(600).publish();
    let failures = 0;
    for (let at = 1; ; at += 1) {
      const copy = localFiles(join(directory, `replica-${at}`));
      for (const key of await keysOf(to)) await copy.put(key, (await to.get(key)) as Buffer);
      let calls = 0;
      const error = new StorageError('unavailable', 'away');
      const store = through({
        get: (key, range) => copy.get(key, range),
        list: (prefix, after) => copy.list(prefix, after),
        delete: async (key) => {
          const call = (calls += 1);
          if (call === at && at % 2 === 1) throw error;
          await copy.delete(key);
          if (call === at) throw error;
        },
        put: async (key, bytes, options) => {
          const call = (calls += 1);
          if (call === at && at % 2 === 1) throw error;
          const outcome = await copy.put(key, bytes, options);
          if (call === at) throw error;
          return outcome;
        },
      });
      const failed = await replicatorOf({ to: store })
        .round()
        .then(() => false)
        .catch((problem: unknown) => problem === error);
      await expectWhole(copy);
      await replicatorOf({ to: store }).round();
      await expectWhole(copy);
      expect((await new LogReader(copy).checkpoint())?.size).toBe(900);
      if (!failed) break;
      failures += 1;
    }
    expect(failures).toBeGreaterThan(10);
  }, 120_000);

  it('is overtaken by a publication in the middle, and takes the newer checkpoint', async () => {
    await log.fill(100).publish();
    let published = false;
    const from = log.objects;
    const overtaking: ObjectStore = {
      ...through({}),
      put: (key, bytes, options) => from.put(key, bytes, options),
      list: (prefix, after) => from.list(prefix, after),
      get: async (key, range) => {
        if (key.startsWith('tile/entries/') && !published) {
          published = true;
          await log.fill(50).publish();
        }
        return await from.get(key, range);
      },
    };
    await replicatorOf({ from: overtaking }).round();
    await expectWhole();
    expect((await new LogReader(to).checkpoint())?.size).toBe(150);
  });

  it('is never put over that of another history', async () => {
    await log.fill(500).publish();
    await replicatorOf().round();
    const fork = await new PublishedLog(join(directory, 'fork'), { log, size: 100 }).fill(500, { session: 'other' }).publish();
    await expect(replicatorOf({ from: fork.objects }).round()).rejects.toMatchObject({ code: 'forked' });
    const shorter = await new PublishedLog(join(directory, 'shorter'), { log, size: 400 }).publish();
    await expect(replicatorOf({ from: shorter.objects }).round()).rejects.toMatchObject({ code: 'rolled_back' });
    await expectWhole();
    expect((await new LogReader(to).checkpoint())?.size).toBe(500);
  });

  it('finds objects that somebody else has put there before it', async () => {
    await log.fill(300).publish();
    await to.put('tile/0/000', Buffer.from('something else'));
    await expect(replicatorOf().round()).rejects.toMatchObject({ code: 'forked', message: expect.stringContaining('tile/0/000') });
    expect(await to.get('checkpoint')).toBeUndefined();
  });

  it('goes without details that were deleted in time', async () => {
    await log.fill(600).publish();
    await log.objects.delete('details/events/000');
    await replicatorOf().round();
    expect(await keysOf(to, 'details/')).toEqual(['details/events/001', 'details/events/002.p/88']);
  });

  it('follows details of the bundle that is not full that were deleted, also behind an attempt that failed', async () => {
    await log.fill(20).fill(20, { session: 's', kind: 17 }).publish();
    const failing = through({
      put: async (key, bytes, options) => {
        if (key === 'checkpoint') throw new StorageError('unavailable', 'away');
        return await to.put(key, bytes, options);
      },
    });
    const replicator = replicatorOf({ to: failing });
    await expect(replicator.round()).rejects.toMatchObject({ code: 'unavailable' });
    const events = decodeDetails((await log.objects.get('details/events/000.p/40')) as Buffer, 0);
    await log.objects.put('details/events/000.p/40', encodeDetails(events.slice(5)));
    await log.objects.delete('details/payloads/000.p/40');
    await replicatorOf().round();
    expect(await keysOf(to, 'details/')).toEqual(['details/events/000.p/40']);
    expect(decodeDetails((await to.get('details/events/000.p/40')) as Buffer, 0)[0]?.index).toBe(5);
    // What attempts that failed have put of other sizes goes, too.
    for (const count of [1, 3]) {
      await log.fill(count).publish();
      await expect(replicator.round()).rejects.toMatchObject({ code: 'unavailable' });
    }
    expect(await keysOf(to, 'details/')).toEqual(['details/events/000.p/40', 'details/events/000.p/41', 'details/events/000.p/44']);
    await log.fill(300).publish();
    Object.assign(failing, { put: to.put.bind(to) });
    await replicator.round();
    expect(await keysOf(to, 'details/')).toEqual(['details/events/000', 'details/events/001.p/88']);
  });

  it('has the keys and what witnesses have cosigned', async () => {
    await log.fill(3).publish();
    await log.objects.put('keys', Buffer.from('0 key\n'));
    await log.objects.put('checkpoint.witnessed', Buffer.from(log.checkpoint()));
    const replicator = replicatorOf();
    await replicator.round();
    expect([String(await to.get('keys')), String(await to.get('checkpoint.witnessed'))]).toEqual(['0 key\n', log.checkpoint()]);
  });

  it('lags while its store is away, says so once, and catches up by itself', async () => {
    let away = true;
    const problems: string[] = [];
    const store = through({
      put: async (key, bytes, options) => {
        if (away) throw new StorageError('unavailable', 'away');
        return await to.put(key, bytes, options);
      },
    });
    const replicator = replicatorOf({ to: store, onProblem: ({ message }) => problems.push(message) });
    await log.fill(10).publish();
    replicator.start();
    while (problems.length === 0) await sleep(5);
    await sleep(30);
    expect(problems).toEqual(['away']);
    expect(replicator.progress).toMatchObject({ published: 10, replicated: 0, failure: 'away' });
    expect(replicator.progress.behindSince).toBeGreaterThan(0);
    away = false;
    while (replicator.progress.replicated < 10) await sleep(5);
    await replicator.close();
    expect(replicator.progress).toMatchObject({ behindSince: 0, failure: '' });
    await expectWhole();
  });
});
