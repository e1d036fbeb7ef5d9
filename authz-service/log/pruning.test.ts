import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localFiles } from '../storage/local_files.ts';
import { type ObjectStore, StorageError } from '../storage/object_store.ts';
import { leafHash } from '../tlog/hash.ts';
import { checkConsistency, checkInclusion } from '../tlog/proof.ts';
import { type Detail, encodeDetails } from './details.ts';
import { CLASSES } from './leaf.ts';
import { formatPruned, parsePruned, prunedBelow, pruningText, readPruned } from './pruned.ts';
import { Pruning, type PruningOptions, type Span } from './pruning.ts';
import { PublishedLog } from './published.fixture.ts';
import { LogReader } from './reader.ts';
import { Replicator } from './replicator.ts';
import { restoreLog } from './restore.ts';

const DAY = 86_400_000;
const START = Date.parse('2026-01-01T00:00:00Z');

let directory: string;
let log: PublishedLog;
let now: number;
let spans: Span[];
let held: Set<string>;
let forgotten: number[];
let confirmed: number;
let heldBack: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-pruning-'));
  log = new PublishedLog(join(directory, 'log'));
  [now, spans, held, forgotten, confirmed, heldBack] = [START + 101 * DAY + 1, [], new Set(), [], Number.POSITIVE_INFINITY, 0];
  // Bundle n is of day n.
  for (let day = 0; day < 5; day += 1) log.fill(256, { session: `s${day}`, at: START + day * DAY });
  await log.fill(20, { session: 's5', at: START + 5 * DAY }).publish();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const deleteDetails = async (bundles: number, store = log.objects): Promise<void> => {
  for (let bundle = 0; bundle < bundles; bundle += 1) await store.delete(`details/events/00${bundle}`);
};

const pruningOf = (options: Partial<PruningOptions> = {}): Pruning =>
  new Pruning({
    objects: log.objects,
    replicas: [],
    ageMs: 100 * DAY,
    held: (session) => held.has(session),
    spans: (from, to) => spans.filter(({ first }) => first >= from && first < to),
    confirmed: () => confirmed,
    record: async (text) => void log.add({ session: '', text, kind: 18, at: now }),
    open: log.open,
    told: String,
    publish: async () => void (await log.publish()),
    holdBack: (below) => {
      heldBack = below;
    },
    forget: async (minimum) => void forgotten.push(minimum),
    now: () => now,
    notBefore: () => 0,
    ...options,
  });

const keysOf = async (store: ObjectStore, prefix: string): Promise<string[]> => {
  const found: string[] = [];
  for await (const key of store.list(prefix)) found.push(key);
  return found;
};
const bundlesOf = async (store = log.objects): Promise<string[]> =>
  (await keysOf(store, 'tile/entries/')).filter((key) => !key.includes('.p/')).map((key) => key.slice(-3));

/** All that is not pruned is there, with every proof of it. */
const expectWhole = async (minimum: number, store = log.objects): Promise<void> => {
  const reader = new LogReader(store);
  const newest = await reader.checkpoint();
  if (newest === undefined) throw new Error('no checkpoint');
  const checkpoint = log.open(Buffer.from(newest.note));
  const { size } = checkpoint;
  for (const index of [minimum, minimum + 1, size - 1]) {
    const { entry } = await reader.record(index, size);
    checkInclusion(leafHash(entry), index, checkpoint, await reader.proveInclusion(index, size));
  }
  for (const old of [minimum, minimum + 3, size].filter((each) => each > 0)) {
    const earlier = log.open(Buffer.from(log.checkpoint(old)));
    checkConsistency(earlier, checkpoint, await reader.proveConsistency(old, size));
  }
};

describe('pruning', () => {
  it('lets leaves go from the front when they are old enough, whose events are deleted, and says so in the log first', async () => {
    await deleteDetails(5);
    const steps: string[] = [];
    const remove = log.objects.delete.bind(log.objects);
    log.objects.delete = async (key) => {
      if (key.startsWith('tile/')) steps.push(key);
      await remove(key);
    };
    now = START + 101 * DAY;
    expect(await pruningOf().plan()).toMatchObject({ minimum: 0, next: 256, waitsFor: 'age' });
    now += 1;
    const publish = async (): Promise<void> => {
      expect(steps).toEqual([]);
      await log.publish();
    };
    const { plan } = await pruningOf({ publish }).sweep();
    expect(plan).toMatchObject({ minimum: 512, next: 512, waitsFor: 'age' });
    expect(await bundlesOf()).toEqual(['002', '003', '004']);
    expect((await keysOf(log.objects, 'tile/0/')).filter((key) => !key.includes('.p/'))).toEqual([
      'tile/0/002',
      'tile/0/003',
      'tile/0/004',
    ]);
    expect(forgotten).toEqual([512]);
    const pruned = await readPruned(log.objects);
    expect(pruned).toMatchObject({ minimum: 512, leaf: 1300 });
    expect(prunedBelow(String(pruned?.event))).toBe(512);
    await expectWhole(512);
    // It grows as before, and is pruned again.
    await log.fill(300, { session: 's6', at: now }).publish();
    now += 2 * DAY;
    await pruningOf().sweep();
    expect(await bundlesOf()).toEqual(['004', '005']);
    await expectWhole(1024);
    await expect(new LogReader(log.objects, { open: log.open, told: String }).record(7, log.entries.length)).rejects.toMatchObject({
      code: 'pruned',
    });
  });

  it('leaves what has details again, or still, whatever was declared: here, and in a copy', async () => {
    await deleteDetails(5);
    const details = Buffer.from('of events that came back');
    const remove = log.objects.delete.bind(log.objects);
    log.objects.delete = async (key) => {
      if (key === 'tile/entries/001') throw new StorageError('unavailable', 'away');
      await remove(key);
    };
    await expect(pruningOf().sweep()).rejects.toThrow('away');
    log.objects.delete = remove;
    // It is declared. Of a bundle below, an edge that was put again, a copy that was put back.
    for (const [key, left] of [
      ['details/events/001', ['001', '002', '003', '004']],
      ['details/payloads/001', ['001', '002', '003', '004']],
      ['details/events/002.p/7', ['002', '003', '004']],
    ] as const) {
      await log.objects.put(key, details);
      await pruningOf().sweep();
      expect(await bundlesOf()).toEqual(left);
      await remove(key);
    }
    const replica = localFiles(join(directory, 'replica'));
    for await (const key of log.objects.list('')) await replica.put(key, (await log.objects.get(key)) as Buffer);
    now += 2 * DAY;
    await pruningOf().sweep();
    await replica.put('pruned', (await log.objects.get('pruned')) as Buffer);
    for await (const key of log.objects.list('')) await replica.put(key, (await log.objects.get(key)) as Buffer);
    await replica.put('details/events/003', details);
    await pruningOf({ replicas: [replica] }).sweep();
    expect([await bundlesOf(), await bundlesOf(replica)]).toEqual([['004'], ['003', '004']]);
    await replica.delete('details/events/003');
    await pruningOf({ replicas: [replica] }).sweep();
    expect(await bundlesOf(replica)).toEqual(['004']);
  });

  it('asks once in a sweep, where nothing is declared, whether what was pruned is told by a leaf', async () => {
    await deleteDetails(5);
    await pruningOf().sweep();
    const reads: string[] = [];
    const get = log.objects.get.bind(log.objects);
    log.objects.get = (key) => {
      reads.push(key);
      return get(key);
    };
    await pruningOf().sweep();
    expect(reads.filter((key) => key === 'pruned')).toHaveLength(1);
  });

  it('never before their events are deleted, before others have seen them, or while the time is not known', async () => {
    now += 1000 * DAY;
    expect(await pruningOf().plan()).toMatchObject({ next: 0, waitsFor: 'deletion of events' });
    await deleteDetails(3);
    expect(await pruningOf().plan()).toMatchObject({ next: 768, waitsFor: 'deletion of events' });
    confirmed = 700;
    expect(await pruningOf().plan()).toMatchObject({ next: 512, waitsFor: 'confirmation elsewhere' });
    expect(await pruningOf({ now: () => undefined }).sweep()).toMatchObject({ plan: { next: 0, waitsFor: 'the time to be known' } });
    expect(await pruningOf({ notBefore: (from) => (from >= 256 ? now : 0) }).plan()).toMatchObject({ next: 256, waitsFor: 'age' });
    expect(await bundlesOf()).toHaveLength(5);
  });

  it.each(CLASSES)('never while there are %s that are kept for longer', async (kept) => {
    await deleteDetails(5);
    await log.objects.put(`details/${kept}/001`, encodeDetails([]));
    expect(await pruningOf().plan()).toMatchObject({ next: 256, waitsFor: 'deletion of events' });
    // What is no bundle of details says nothing, of the others neither.
    for (const key of ['000.old', 'zero', 'x000']) await log.objects.put(`details/${kept}/${key}`, Buffer.from('?'));
    expect(await pruningOf().plan()).toMatchObject({ next: 256, waitsFor: 'deletion of events' });
    await log.objects.delete(`details/${kept}/001`);
    expect(await pruningOf().plan()).toMatchObject({ next: 512, waitsFor: 'age' });
  });

  it('never a part of a session, one that is open, or one that is held', async () => {
    await deleteDetails(5);
    now += 1000 * DAY;
    spans = [
      { session: 'a', first: 3, last: 100, open: false },
      { session: 'b', first: 250, last: 700, open: false },
      { session: 'c', first: 768, last: 1000, open: false },
      { session: 'd', first: 1030, last: 1040, open: true },
    ];
    expect(await pruningOf().plan()).toMatchObject({ next: 1024, waitsFor: 'sessions' });
    held.add('c');
    expect(await pruningOf().plan()).toMatchObject({ next: 768, waitsFor: 'a legal hold' });
    held.add('b');
    expect(await pruningOf().plan()).toMatchObject({ next: 0, waitsFor: 'a legal hold' });
    held.clear();
    spans = [{ session: 'e', first: 0, last: 1299, open: false }];
    expect(await pruningOf().plan()).toMatchObject({ next: 0, waitsFor: 'sessions' });
  });

  it.each<[string, () => { leaf: number; salt: Buffer; event: Buffer }]>([
    ['names a leaf of another event', () => ({ leaf: 1025, salt: Buffer.alloc(16), event: Buffer.from(pruningText(1024, DAY)) })],
    ['tells of other leaves', () => ({ ...(log.details[1300] as Detail), leaf: 1300 })],
    ['names a notice of a session', () => ({ ...(log.details[1301] as Detail), leaf: 1301 })],
    ['names an event of another kind', () => ({ ...(log.details[1302] as Detail), leaf: 1302 })],
    ['names a notice of a filter', () => ({ ...(log.details[1303] as Detail), leaf: 1303 })],
    ['names a leaf that is not there', () => ({ leaf: 9999, salt: Buffer.alloc(16), event: Buffer.from('x') })],
  ])('lets nothing go, here or in a copy, for an object that %s', async (_, forged) => {
    log.add({ session: '', text: pruningText(256, DAY), kind: 18 });
    log.add({ session: 'a', text: pruningText(1024, DAY), kind: 18, own: true });
    log.add({ session: '', text: pruningText(1024, DAY), kind: 11 }, { session: '', text: pruningText(1024, DAY), own: false });
    await log.publish();
    const replica = localFiles(join(directory, 'replica'));
    const bytes = formatPruned({ minimum: 1024, ...forged() });
    await log.objects.put('pruned', bytes);
    const replicator = new Replicator({ from: log.objects, to: replica, open: log.open, told: String });
    await expect(replicator.round()).rejects.toMatchObject({ code: 'corrupt' });
    expect(await replica.get('pruned')).toBeUndefined();
    expect(await bundlesOf(replica)).toHaveLength(5);
    await expect(pruningOf().sweep()).rejects.toMatchObject({ code: 'corrupt' });
    await log.objects.delete('pruned');
    await deleteDetails(5, replica);
    await replica.put('pruned', bytes);
    // So that the sweep comes to the replicas.
    await deleteDetails(1);
    await expect(pruningOf({ replicas: [replica] }).sweep()).rejects.toMatchObject({ code: 'corrupt' });
    expect(await bundlesOf(replica)).toHaveLength(5);
    expect(await bundlesOf()).toHaveLength(4);
    expect(forgotten).toEqual([256]);
  });

  it('never a part of a session whose leaves go on behind, whatever the index says of it', async () => {
    await deleteDetails(5);
    now += 1000 * DAY;
    spans = [{ session: 's1', first: 256, last: 300, open: false }];
    const pruning = pruningOf();
    expect(await pruning.plan()).toMatchObject({ next: 1280, waitsFor: 'age' });
    log.add({ session: 's3', text: 'more', previous: 1000 }).fill(300, { session: 'x', at: now });
    await log.publish();
    expect(await pruning.plan()).toMatchObject({ next: 768, waitsFor: 'sessions' });
    // Another that goes on behind that end.
    log = new PublishedLog(join(directory, 'other'));
    log.fill(700, { session: 'a', at: START }).add({ session: 'b', text: 'b', at: START, previous: 300 });
    log.fill(99, { session: 'c', at: START }).add({ session: 'd', text: 'd', at: START, previous: 600 });
    await log.fill(600, { session: 'e', at: START }).publish();
    expect(await pruningOf().plan()).toMatchObject({ next: 0, waitsFor: 'deletion of events' });
    await deleteDetails(3);
    expect(await pruningOf().plan()).toMatchObject({ next: 256, waitsFor: 'sessions' });
  });

  it('never a session that is held while the event of it is on its way', async () => {
    await deleteDetails(5);
    const publish = async (): Promise<void> => {
      held.add('s0');
      await log.publish();
    };
    expect(await pruningOf({ publish }).sweep()).toMatchObject({ plan: { minimum: 0 } });
    expect(await readPruned(log.objects)).toBeUndefined();
    expect(await bundlesOf()).toHaveLength(5);
    expect(heldBack).toBe(0);
    held.clear();
    expect(await pruningOf().sweep()).toMatchObject({ plan: { minimum: 512 } });
  });

  it('never a session that goes on while the event of it is on its way', async () => {
    await deleteDetails(5);
    const publish = async (): Promise<void> => {
      log.fill(1, { session: 's1', at: now, previous: 511 });
      await log.publish();
    };
    expect(await pruningOf({ publish }).sweep()).toMatchObject({ plan: { minimum: 0 } });
    expect(await readPruned(log.objects)).toBeUndefined();
    expect(await pruningOf().sweep()).toMatchObject({ plan: { minimum: 256 } });
  });

  it('lets no session go on from before it is told until it is forgotten, and until it is known whether it was pruned', async () => {
    await deleteDetails(5);
    const seen: [string, number][] = [];
    const note = (what: string): void => void seen.push([what, heldBack]);
    let fails: 'before' | 'after' | 'no' = 'before';
    const put = log.objects.put.bind(log.objects);
    log.objects.put = async (key, bytes, options) => {
      if (key !== 'pruned') return await put(key, bytes, options);
      note(key);
      if (fails === 'before') throw new StorageError('unavailable', 'failed');
      const outcome = await put(key, bytes, options);
      if (fails === 'after') throw new StorageError('unavailable', 'persisted, and failed');
      return outcome;
    };
    const pruning = pruningOf({
      record: async (text) => {
        note('told');
        log.add({ session: '', text, kind: 18, at: now });
      },
      forget: async (minimum) => {
        note('forgotten');
        forgotten.push(minimum);
      },
    });
    for (fails of ['before', 'after', 'no'] as const)
      if (fails === 'no') await pruning.sweep();
      else {
        await expect(pruning.sweep()).rejects.toThrow('failed');
        expect(heldBack).toBe(512);
      }
    // The last one found that it was written.
    expect(seen).toEqual([
      ['told', 512],
      ['pruned', 512],
      ['told', 512],
      ['pruned', 512],
      ['forgotten', 512],
    ]);
    expect(await readPruned(log.objects)).toMatchObject({ minimum: 512 });
    // One that is not declared any more is not waited for.
    fails = 'before';
    now += 2 * DAY;
    await expect(pruning.sweep()).rejects.toThrow('failed');
    expect(heldBack).toBe(1024);
    spans = [{ session: 's3', first: 768, last: 800, open: true }];
    held.add('s2');
    spans.unshift({ session: 's2', first: 512, last: 767, open: false });
    await pruning.sweep();
    expect(heldBack).toBe(512);
  });

  it('looks at all that came since it looked which sessions go on', async () => {
    await deleteDetails(5);
    // Between the look at the leaves and the declaration.
    const notBefore = (from: number): number => {
      if (from === 256 && log.entries.length === 1300) log.fill(1, { session: 's1', at: now, previous: 511 });
      return 0;
    };
    const list = log.objects.list.bind(log.objects);
    log.objects.list = (prefix, after) => {
      const found = list(prefix, after);
      return prefix === 'details/events/' ? publishing(found) : found;
    };
    const publishing = async function* (found: AsyncIterable<string>): AsyncGenerator<string> {
      yield* found;
      await log.publish();
    };
    expect(await pruningOf({ notBefore }).sweep()).toMatchObject({ plan: { minimum: 0 } });
    expect(await readPruned(log.objects)).toBeUndefined();
  });

  it('is right after a failure at every step, and one that had persisted', async () => {
    for (let at = 1; ; at += 1) {
      rmSync(directory, { recursive: true, force: true });
      log = new PublishedLog(join(directory, 'log'));
      for (let day = 0; day < 3; day += 1) log.fill(256, { session: `s${day}`, at: START + day * DAY });
      await log.fill(9, { session: 's5', at: START + 90 * DAY }).publish();
      await deleteDetails(3);
      let calls = 0;
      const failing: ObjectStore = {
        ...log.objects,
        url: 'test://',
        get: (key, range) => log.objects.get(key, range),
        list: (prefix, after) => log.objects.list(prefix, after),
        put: async (key, bytes, options) => {
          const call = (calls += 1);
          if (call === at && at % 2 === 1) throw new StorageError('unavailable', 'failed');
          const outcome = await log.objects.put(key, bytes, options);
          if (call === at) throw new StorageError('unavailable', 'persisted, and failed');
          return outcome;
        },
        delete: async (key) => {
          const call = (calls += 1);
          if (call === at && at % 2 === 1) throw new StorageError('unavailable', 'failed');
          await log.objects.delete(key);
          if (call === at) throw new StorageError('unavailable', 'persisted, and failed');
        },
      };
      const failed = await pruningOf({ objects: failing })
        .sweep()
        .then(
          () => false,
          () => true,
        );
      // Whatever has gone was told of before.
      const minimum = (await readPruned(log.objects))?.minimum ?? 0;
      if (minimum === 0) expect(await bundlesOf()).toHaveLength(3);
      await expectWhole(minimum);
      await pruningOf().sweep();
      expect(await bundlesOf()).toEqual(['002']);
      await expectWhole(512);
      if (!failed) {
        expect(at).toBeGreaterThan(4);
        break;
      }
    }
  });

  it('goes on in replicas, as far as they know of it and their locks are over; one that is begun then begins behind it', async () => {
    const replica = localFiles(join(directory, 'replica'));
    const replicator = new Replicator({ from: log.objects, to: replica, open: log.open, told: String });
    await replicator.round();
    await deleteDetails(5);
    const remove = replica.delete.bind(replica);
    let locked = true;
    replica.delete = async (key) => {
      if (locked && key.startsWith('tile/')) throw new StorageError('retained', 'locked');
      await remove(key);
    };
    const pruning = pruningOf({ replicas: [replica] });
    expect(await pruning.sweep()).toMatchObject({ locked: 0, plan: { minimum: 512 } });
    expect(await bundlesOf(replica)).toHaveLength(5);
    locked = false;
    await replicator.round();
    locked = true;
    // Its own events are there still.
    expect(await pruning.sweep()).toMatchObject({ locked: 0 });
    await deleteDetails(1, replica);
    expect(await pruning.sweep()).toMatchObject({ locked: 2 });
    locked = false;
    await pruning.sweep();
    expect(await bundlesOf(replica)).toEqual(['001', '002', '003', '004']);
    await expectWhole(512, replica);

    const late = localFiles(join(directory, 'late'));
    const second = new Replicator({ from: log.objects, to: late, open: log.open, told: String });
    await second.round();
    expect(await bundlesOf(late)).toEqual(['002', '003', '004']);
    expect(await readPruned(late)).toMatchObject({ minimum: 512 });
    await expectWhole(512, late);
    await log.fill(400, { session: 's7', at: now }).publish();
    await second.round();
    await expectWhole(512, late);

    const restored = localFiles(join(directory, 'restored/log'));
    const { size } = await restoreLog({
      from: late,
      directory: join(directory, 'restored'),
      objects: restored,
      signers: [log.key],
      toldOfPruning: String,
    });
    expect(size).toBe(log.entries.length);
    expect(await bundlesOf(restored)).toEqual(await bundlesOf(late));
    await expectWhole(512, restored);
  });
});

describe('what says that leaves were pruned', () => {
  it('is read strictly', () => {
    const text = pruningText(512, 100 * DAY);
    expect(text).toBe('leaves below 512, older than 100d');
    expect(prunedBelow(`${text}!`)).toBeUndefined();
    const good = `512 600\n${'ab'.repeat(16)}\n${Buffer.from(text).toString('base64')}\n`;
    expect(parsePruned(Buffer.from(good))).toMatchObject({ minimum: 512, leaf: 600 });
    for (const bad of [
      '',
      'x',
      good.slice(1),
      good.slice(0, -1),
      good.replace('512', '511'),
      good.replace('600', '400'),
      good.replace('ab', ''),
      `${good}\n`,
    ])
      expect(() => parsePruned(Buffer.from(bad))).toThrow('does not say what was pruned');
  });
});
