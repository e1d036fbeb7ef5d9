import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localFiles } from '../storage/local_files.ts';
import { type ObjectStore, StorageError } from '../storage/object_store.ts';
import { leafHash } from '../tlog/hash.ts';
import { checkInclusion } from '../tlog/proof.ts';
import { MemoryObjects } from '../verify/log.fixture.ts';
import { decodeDetails, encodeDetails } from './details.ts';
import { type Carried, carriedOn, type Going, type Gone, goingText, goneLeaves, joined, noticeText, type Told } from './going.ts';
import { classOf, decodeLeaf, PAYLOAD_CLASSES, type PayloadClass, payloadKind, perClass } from './leaf.ts';
import { LegalHolds } from './legal_holds.ts';
import { formatPruned } from './pruned.ts';
import { PublishedLog } from './published.fixture.ts';
import { LogReader } from './reader.ts';
import { Replicator } from './replicator.ts';
import { Retention, type RetentionOptions } from './retention.ts';

const DAY = 86_400_000;
const START = Date.parse('2026-01-01T00:00:00Z');

let directory: string;
let log: PublishedLog;
let recorded: Going[];
let now: number;
let held: Set<string>;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-retention-'));
  log = new PublishedLog(join(directory, 'log'));
  [recorded, now, held] = [[], START, new Set()];
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const retentionOf = (options: Partial<RetentionOptions> = {}): Retention =>
  new Retention({
    objects: log.objects,
    ages: { events: 10 * DAY },
    held: (session) => held.has(session),
    record: async (going) => void recorded.push(going),
    now: () => now,
    ...options,
  });

const keysOf = async (store: ObjectStore, prefix = 'details/'): Promise<string[]> => {
  const found: string[] = [];
  for await (const key of store.list(prefix)) found.push(key);
  return found;
};

const gone = (some: Partial<Gone> = {}): Gone => ({ ...perClass(() => []), ...some });

/** Bundle n has 256 events of day n. */
const days = (count: number): PublishedLog => {
  for (let day = 0; day < count; day += 1) log.fill(256, { session: `s${day}`, at: START + day * DAY });
  return log;
};

describe('retention', () => {
  it('lets bundles go when their newest event is old enough, not a moment before, and records it first', async () => {
    await days(4)
      .fill(10, { session: 'open', at: START + 4 * DAY })
      .publish();
    const retention = retentionOf();
    now = START + 10 * DAY;
    expect(await retention.sweep()).toMatchObject({ deleted: 0, single: 0, held: 0, locked: 0 });
    now += 1;
    expect(await retention.sweep()).toMatchObject({ deleted: 1, single: 0, held: 0, locked: 0 });
    expect(await keysOf(log.objects)).toEqual([
      'details/events/001',
      'details/events/002',
      'details/events/003',
      'details/events/004.p/10',
    ]);
    now += 2 * DAY;
    await retention.sweep();
    const of = { detailClass: 'events', ageMs: 10 * DAY, carried: [], stayed: gone(), whole: true };
    expect(recorded).toEqual([
      { ...of, leaves: [{ from: 0, to: 256 }], before: gone() },
      { ...of, leaves: [{ from: 256, to: 768 }], before: gone({ events: [{ from: 0, to: 256 }] }) },
    ]);
    now += 1000 * DAY;
    await retention.sweep();
    expect(await keysOf(log.objects)).toEqual([]);
  });

  it('has what a clock that stands behind dated age from what the service itself told before, in full bundles and in the newest', async () => {
    for (const width of [256, 10])
      log.fill(1, { session: 'own', at: START, own: true }).fill(width - 1, { session: `s${width}`, at: START - 1000 * DAY });
    await log.publish();
    const retention = retentionOf();
    now = START + 10 * DAY;
    expect(await retention.sweep()).toMatchObject({ deleted: 0, single: 0 });
    now += 1;
    expect(await retention.sweep()).toMatchObject({ deleted: 1, single: 10 });
  });

  it('lets the events of the bundle that is not full go one by one, held ones not, and tells of these alone', async () => {
    await days(1)
      .fill(5, { session: 's1', at: START + DAY })
      .fill(5, { session: 's2', at: START + DAY })
      .fill(2, { session: 's2', at: START + DAY, kind: 17 })
      .fill(5, { session: 's3', at: START + 2 * DAY })
      .publish();
    const forgotten: [number, number][] = [];
    const retention = retentionOf({ forget: async (from, to) => void forgotten.push([from, to]) });
    const left = async (): Promise<number[]> => [...(await new LogReader(log.objects).details('events', 1, log.entries.length)).keys()];
    held.add('s1');
    now = START + 11 * DAY + 1;
    expect(await retention.sweep()).toMatchObject({ deleted: 1, single: 5, held: 0, locked: 0 });
    expect(await left()).toEqual([256, 257, 258, 259, 260, 268, 269, 270, 271, 272]);
    now += DAY;
    held.clear();
    await retention.sweep();
    expect(await keysOf(log.objects)).toEqual(['details/payloads/001.p/17']);
    expect(recorded.map(({ leaves }) => leaves)).toEqual([
      [{ from: 0, to: 256 }],
      [{ from: 261, to: 266 }],
      [
        { from: 256, to: 261 },
        { from: 268, to: 273 },
      ],
    ]);
    expect(forgotten.slice(-1)).toEqual([[256, 273]]);
    // Again at each sweep, while it can be told from nothing else.
    await retention.sweep();
    expect(recorded).toHaveLength(3);
    expect(forgotten.slice(-1)).toEqual([[256, 273]]);
    await log.fill(300, { session: 's4', at: START + 90 * DAY }).publish();
    await retention.sweep();
    expect(await keysOf(log.objects)).toEqual(['details/events/001', 'details/events/002.p/61', 'details/payloads/001']);
  });

  it('does not delete what tells of deletions alone, which would never end', async () => {
    await log
      .fill(3, { session: 's', at: START })
      .add({ session: '', text: 'deleted', at: START + DAY })
      .publish();
    const retention = retentionOf({
      toldOf: (event) =>
        String(event) === 'deleted' ? (goneLeaves(goingText({ detailClass: 'events', ageMs: 0, leaves: [] })) as Told) : undefined,
    });
    now = START + 10 * DAY + 1;
    expect((await retention.sweep()).single).toBe(3);
    now += DAY;
    expect((await retention.sweep()).single).toBe(0);
    await log.fill(1, { session: 's', at: START + 2 * DAY }).publish();
    now += DAY;
    expect((await retention.sweep()).single).toBe(2);
  });

  it('takes what is due out of every form of the newest bundle, out of the published one last; replicas follow', async () => {
    await log.fill(40, { session: 's', at: START }).publish();
    const replica = localFiles(join(directory, 'replica'));
    const replicator = new Replicator({ from: log.objects, to: replica, open: log.open });
    await replicator.round();
    await log.fill(20, { session: 's', at: START + 50 * DAY }).publish();
    // An attempt that failed has left these.
    for (const key of ['details/events/000', 'details/events/000.p/200'])
      await log.objects.put(key, (await log.objects.get('details/events/000.p/60')) as Buffer);
    const changed: string[] = [];
    const put = log.objects.put.bind(log.objects);
    log.objects.put = async (key, bytes, options) => {
      changed.push(key);
      return await put(key, bytes, options);
    };
    now = START + 11 * DAY;
    expect(await retentionOf().sweep()).toMatchObject({ single: 40 });
    expect(changed).toEqual(['details/events/000', 'details/events/000.p/200', 'details/events/000.p/60']);
    for (const key of changed) expect(decodeDetails((await log.objects.get(key)) as Buffer, 0)[0]?.index).toBe(40);
    await replicator.round();
    expect(await keysOf(replica)).toEqual(['details/events/000.p/60']);
    expect(decodeDetails((await replica.get('details/events/000.p/60')) as Buffer, 0)[0]?.index).toBe(40);
  });

  it('does not believe the times of leaves that cannot be as old, and does nothing while the time is not known', async () => {
    await days(3).publish();
    now = START + 1000 * DAY;
    const notBefore = (from: number, to: number): number => (from < 300 && to > 290 ? now - 10 * DAY : 0);
    expect((await retentionOf({ now: () => undefined }).sweep()).deleted).toBe(0);
    expect((await retentionOf({ notBefore }).sweep()).deleted).toBe(2);
    expect(await keysOf(log.objects)).toEqual(['details/events/001']);
    now += 1;
    expect((await retentionOf({ notBefore: () => now - 10 * DAY - 1 }).sweep()).deleted).toBe(1);
  });

  it('tells what has no events any more, again at each sweep', async () => {
    await days(4).publish();
    const told: [number, number][] = [];
    const retention = retentionOf({ forget: async (from, to) => void told.push([from, to]) });
    now = START + 11 * DAY + 1;
    held.add('s0');
    await retention.sweep();
    expect(told.splice(0)).toEqual([
      [256, 512],
      [0, 0],
    ]);
    held.clear();
    await retention.sweep();
    expect(told.splice(0)).toEqual([
      [0, 256],
      [0, 512],
    ]);
    now += 100 * DAY;
    await retention.sweep();
    await retention.sweep();
    expect(told).toEqual([
      [512, 1024],
      [0, 1024],
      [0, 1024],
    ]);
  });

  it('keeps every proof', async () => {
    await days(3).publish();
    now = START + 100 * DAY;
    await retentionOf().sweep();
    const reader = new LogReader(log.objects);
    const checkpoint = log.open(Buffer.from(log.checkpoint()));
    for (const index of [0, 255, 256, 767]) {
      const { entry, detail } = await reader.record(index, checkpoint.size);
      expect(detail).toBeUndefined();
      checkInclusion(leafHash(entry), index, checkpoint, await reader.proveInclusion(index, checkpoint.size));
    }
  });

  it('has an age for each class, and none for what has none', async () => {
    for (let day = 0; day < 2; day += 1) log.fill(128, { session: 's', at: START }).fill(128, { session: 's', at: START, kind: 17 });
    await log.publish();
    now = START + 50 * DAY;
    await retentionOf({ ages: { payloads: 30 * DAY, events: 60 * DAY } }).sweep();
    expect(await keysOf(log.objects)).toEqual(['details/events/000', 'details/events/001']);
    now = START + 5000 * DAY;
    await retentionOf({ ages: { payloads: 30 * DAY } }).sweep();
    expect(await keysOf(log.objects)).toEqual(['details/events/000', 'details/events/001']);
  });

  describe('of payloads by what they are', () => {
    const KINDS = PAYLOAD_CLASSES;
    /** Of each kind another age: 10, 20, … days, and of events none. */
    const AGES = Object.fromEntries(KINDS.map((kind, i) => [kind, 10 * (i + 1) * DAY]));
    /** Two bundles of day 0 in which every session has some of each kind, and the beginning of a third. */
    const mixed = (): PublishedLog => {
      for (let i = 0; i < 560; i += 1) {
        const kind = i % 6 === 5 ? 11 : payloadKind(KINDS[i % 6] as PayloadClass);
        log.add({ session: i < 256 ? 's1' : 's2', text: `event ${i}`, at: START, kind });
      }
      return log;
    };
    const classesOf = async (store: ObjectStore, bundle = ''): Promise<string[]> => [
      ...new Set((await keysOf(store)).filter((key) => key.includes(bundle)).map((key) => key.split('/')[1] as string)),
    ];
    const past = (days: number): void => void (now = START + days * DAY + 1);
    const left = (days: number): string[] => ['events', ...KINDS.filter((kind) => (AGES[kind] as number) > days * DAY)].sort();

    it('goes by the age of its kind, and not a moment before, in full bundles and in the one that is not; the notice tells both', async () => {
      await mixed().publish();
      for (const [i, kind] of KINDS.entries()) {
        now = START + 10 * (i + 1) * DAY;
        expect(await retentionOf({ ages: AGES }).sweep()).toMatchObject({ deleted: 0, single: 0, plan: { [kind]: { nextMs: now } } });
        past(10 * (i + 1));
        // Each sweep as after a restart.
        const { deleted, single, plan } = await retentionOf({ ages: AGES }).sweep();
        expect([deleted, single, plan[kind]]).toEqual([2, 8, { held: 0, locked: 0, nextMs: undefined }]);
        expect(await classesOf(log.objects)).toEqual(left(10 * (i + 1)));
        expect(recorded.map(noticeText).filter((text) => text.startsWith(`${kind} older than ${10 * (i + 1)}d: leaves `))).toHaveLength(2);
      }
      expect(recorded.every(({ detailClass, ageMs }) => AGES[detailClass] === ageMs)).toBe(true);
      // Every leaf stays, proven, and says what it was of.
      const checkpoint = log.open(Buffer.from(log.checkpoint()));
      const reader = new LogReader(log.objects);
      for await (const { index, entry, leaf, detail } of reader.read(0, 560, 560)) {
        expect([detail === undefined, classOf(leaf.kind)]).toEqual(index % 6 === 5 ? [false, 'events'] : [true, KINDS[index % 6]]);
        checkInclusion(leafHash(entry), index, checkpoint, await reader.proveInclusion(index, 560));
      }
    });

    it('stays while its session is held, whatever its kind, and goes when it is not any more', async () => {
      await mixed().publish();
      held.add('s1');
      past(1000);
      const { plan } = await retentionOf({ ages: AGES }).sweep();
      for (const kind of KINDS) expect(plan[kind]).toEqual({ held: 1, locked: 0, nextMs: undefined });
      expect(await classesOf(log.objects, '/000')).toEqual(['events', ...KINDS].sort());
      expect([await classesOf(log.objects, '/001'), await classesOf(log.objects, '/002')]).toEqual([['events'], ['events']]);
      held.clear();
      await retentionOf({ ages: AGES }).sweep();
      expect(await classesOf(log.objects)).toEqual(['events']);
    });

    it('is not believed to be as old as it says where it cannot be, and stays while the time is not known', async () => {
      await mixed().publish();
      past(1000);
      expect(await retentionOf({ ages: AGES, now: () => undefined }).sweep()).toMatchObject({ deleted: 0, single: 0 });
      // What came 25 days ago at the earliest is young for all kinds but the first two.
      expect((await retentionOf({ ages: AGES, notBefore: () => now - 25 * DAY }).sweep()).deleted).toBe(4);
      expect(await classesOf(log.objects)).toEqual(left(25));
    });

    it('goes from replicas likewise, each kind when its own lock allows', async () => {
      await mixed().publish();
      const replica = localFiles(join(directory, 'replica'));
      const locks = new Map<string, number>();
      const put = replica.put.bind(replica);
      replica.put = async (key, bytes, options) => {
        locks.set(key, options?.retainUntil?.getTime() ?? 0);
        return await put(key, bytes, { ...(options?.ifAbsent === true && { ifAbsent: true }) });
      };
      const retainUntil = (kind: string): Date => new Date(START + (AGES[kind] ?? 0) + 5 * DAY);
      await new Replicator({ from: log.objects, to: replica, open: log.open, retainUntil }).round();
      for (const kind of KINDS) expect(locks.get(`details/${kind}/001`)).toBe(START + (AGES[kind] as number) + 5 * DAY);
      replica.hold = async () => {};
      const remove = replica.delete.bind(replica);
      replica.delete = async (key) => {
        if ((locks.get(key) ?? 0) > now) throw new StorageError('retained', 'locked');
        await remove(key);
      };
      past(22);
      const retention = retentionOf({ ages: AGES, replicas: [replica] });
      expect((await retention.sweep()).plan).toMatchObject({ payloads: { locked: 0 }, request_bodies: { locked: 2 }, rows: { locked: 0 } });
      expect(await classesOf(replica, '/000')).toEqual(left(15));
      past(25);
      expect((await retention.sweep()).locked).toBe(0);
      expect(await classesOf(replica, '/000')).toEqual(left(25));
    });

    it('is deleted as far as it is due, recorded before, and nothing else, whichever operation fails and whether it was done', async () => {
      const ages = { request_bodies: 10 * DAY, rows: 40 * DAY, copied_rows: 10 * DAY };
      const young = new Set(['events', 'payloads', 'response_bodies', 'rows']);
      await mixed().publish();
      const published = new Map<string, Buffer>();
      for await (const key of log.objects.list('')) published.set(key, (await log.objects.get(key)) as Buffer);
      past(30);
      /** A sweep of which this operation fails. @returns whether there was one */
      const sweepFailing = async (failing: number, done: boolean): Promise<boolean> => {
        const memory = new MemoryObjects();
        for (const [key, bytes] of published) memory.objects.set(key, bytes);
        recorded = [];
        let operations = 0;
        const fails = async <Result>(work: () => Promise<Result>): Promise<Result> => {
          operations += 1;
          if (operations !== failing) return await work();
          if (done) await work();
          throw new StorageError('unavailable', 'failed');
        };
        const isRecorded = (key: string): boolean =>
          recorded.some(({ detailClass, leaves }) => key.startsWith(`details/${detailClass}/`) && leaves.length > 0);
        const objects: ObjectStore = Object.create(memory, {
          get: { value: (key: string) => fails(() => memory.get(key)) },
          put: { value: (key: string, bytes: Buffer) => fails(() => memory.put(key, bytes)) },
          delete: {
            value: (key: string) => {
              expect(isRecorded(key)).toBe(true);
              return fails(() => memory.delete(key));
            },
          },
        });
        const record = (going: Going): Promise<void> => fails(async () => void recorded.push(going));
        const failed = await retentionOf({ objects, ages, record })
          .sweep()
          .then(
            () => false,
            () => true,
          );
        expect(failed).toBe(operations >= failing);
        expect((await classesOf(memory)).filter((kind) => young.has(kind))).toEqual([...young]);
        await retentionOf({ objects: memory, ages }).sweep();
        expect(await classesOf(memory)).toEqual([...young]);
        for (const kind of young) expect(memory.objects.get(`details/${kind}/001`)).toEqual(published.get(`details/${kind}/001`));
        return failed;
      };
      let failures = 0;
      while ((await sweepFailing(failures + 1, false)) && (await sweepFailing(failures + 1, true))) failures += 1;
      expect(failures).toBeGreaterThan(40);
    }, 60_000);
  });

  it('goes by the times of events, wherever they stand', async () => {
    log
      .fill(255, { session: 's', at: START })
      .fill(1, { session: 's', at: START + 90 * DAY })
      .fill(256, { session: 's', at: START });
    await log.publish();
    now = START + 95 * DAY;
    await retentionOf().sweep();
    expect(await keysOf(log.objects)).toContain('details/events/000');
    now = START + 101 * DAY;
    await retentionOf().sweep();
    expect(await keysOf(log.objects)).toEqual([]);
  });

  it('keeps what is held, and lets it go when it is not held any more', async () => {
    await days(3).publish();
    held.add('s1');
    now = START + 100 * DAY;
    expect(await retentionOf().sweep()).toMatchObject({ deleted: 2, single: 0, held: 1, locked: 0 });
    expect(await keysOf(log.objects)).toEqual(['details/events/001']);
    held.clear();
    await retentionOf().sweep();
    expect(await keysOf(log.objects)).toEqual([]);
  });

  it('heeds a hold that comes while it deletes', async () => {
    await days(3).publish();
    now = START + 100 * DAY;
    await retentionOf({ record: async () => void held.add('s2') }).sweep();
    expect(await keysOf(log.objects)).toEqual(['details/events/002']);
  });

  it('deletes nothing that could not be recorded, and goes on after a failure at every step', async () => {
    await days(4).publish();
    now = START + 100 * DAY;
    const error = new Error('not recorded');
    await expect(retentionOf({ record: () => Promise.reject(error) }).sweep()).rejects.toBe(error);
    expect(await keysOf(log.objects)).toHaveLength(4);
    for (let done = 1; done <= 4; done += 1) {
      let deletions = 0;
      const failing: ObjectStore = {
        url: 'test://',
        put: (key, bytes, options) => log.objects.put(key, bytes, options),
        get: (key, range) => log.objects.get(key, range),
        list: (prefix, after) => log.objects.list(prefix, after),
        hold: (key, on) => log.objects.hold(key, on),
        settle: () => log.objects.settle(),
        verify: () => log.objects.verify(),
        close: () => log.objects.close(),
        delete: async (key) => {
          await log.objects.delete(key);
          if ((deletions += 1) === 1) throw new StorageError('unavailable', 'persisted, and failed');
        },
      };
      await expect(retentionOf({ objects: failing }).sweep()).rejects.toMatchObject({ code: 'unavailable' });
      expect(await keysOf(log.objects)).toHaveLength(4 - done);
    }
    expect(recorded.map(({ leaves }) => leaves[0]?.from)).toEqual([0, 256, 512, 768]);
  });

  it('lets the replica go too, when its lock allows', async () => {
    await days(2).publish();
    const replica = localFiles(join(directory, 'replica'));
    await new Replicator({ from: log.objects, to: replica, open: log.open }).round();
    let until = START + 200 * DAY;
    let legallyHeld = true;
    const locked: ObjectStore = {
      url: 'test://',
      put: (key, bytes, options) => replica.put(key, bytes, options),
      get: (key, range) => replica.get(key, range),
      list: (prefix, after) => replica.list(prefix, after),
      hold: async (_, on) => void (legallyHeld = on),
      settle: () => replica.settle(),
      verify: () => replica.verify(),
      close: () => replica.close(),
      delete: async (key) => {
        if (now < until || legallyHeld) throw new StorageError('retained', 'locked');
        await replica.delete(key);
      },
    };
    now = START + 100 * DAY;
    const retention = retentionOf({ replicas: [locked] });
    expect(await retention.sweep()).toMatchObject({ deleted: 2, single: 0, held: 0, locked: 2 });
    held.add('s1');
    until = 0;
    await retention.sweep();
    expect(await keysOf(replica)).toEqual(['details/events/001']);
    expect(recorded).toHaveLength(1);
  });

  it('records all that goes, in as many events as that takes', async () => {
    await days(6).publish();
    held.add('s1').add('s3');
    now = START + 100 * DAY;
    await retentionOf({ rangesAtOnce: 2 }).sweep();
    expect(recorded.map(({ leaves }) => leaves.map(({ from, to }) => [from / 256, to / 256]))).toEqual([
      [
        [0, 1],
        [2, 3],
      ],
      [[4, 6]],
    ]);
  });

  describe('what went before', () => {
    const texts = (): string[] => recorded.map(noticeText);
    /** As the service does: what was recorded is an event of the log. */
    const recording = (options: Partial<RetentionOptions> = {}): Retention =>
      retentionOf({
        ages: { events: 10 * DAY, payloads: 5 * DAY },
        toldOf: (event) => goneLeaves(String(event)),
        record: async (going) => {
          recorded.push(going);
          log.add({ session: '', text: noticeText(going), at: now });
        },
        ...options,
      });
    const mixed = (day: number): PublishedLog =>
      log.fill(128, { session: `s${day}`, at: START + day * DAY }).fill(128, { session: `s${day}`, at: START + day * DAY, kind: 17 });

    it('is told again by each notice, of every class, as the notices before it tell it: also after a restart, and when these have gone', async () => {
      await mixed(0).publish();
      now = START + 5 * DAY + 1;
      await recording().sweep();
      await mixed(6)
        .fill(255, { session: 's6', at: START + 6 * DAY })
        .publish();
      now = START + 10 * DAY + 1;
      await recording().sweep();
      await log.publish();
      now = START + 30 * DAY;
      const lasting = recording();
      await lasting.sweep();
      expect(texts()).toEqual([
        'payloads older than 5d: leaves 0-255; before: none',
        'events older than 10d: leaves 0-255; before: payloads 0-255',
        'events older than 10d: leaves 256-767; before: events 0-255; payloads 0-255; of these payloads older than 5d: 0-255 by 2026-01-06T00:01Z',
        'payloads older than 5d: leaves 256-767; before: events 0-767; payloads 0-255',
      ]);
      // The notices of leaves 256 and 768 are gone, or to go; the newest tells all of it.
      await mixed(40)
        .fill(1_100, { session: 's40', at: START + 40 * DAY })
        .publish();
      now = START + 100 * DAY;
      await recording({ ages: { events: 10 * DAY } }).sweep();
      expect(texts().at(-1)).toMatch(/^events older than 10d: leaves [-\d, ]+; before: events 0-2047; payloads 0-767$/);
      expect(texts().at(-2)).toMatch(
        /^events older than 10d: leaves [-\d, ]+; before: events 0-767; payloads 0-767; of these events older than 10d: 0-255 by 2026-01-11T00:01Z, 256-767 by 2026-01-31T00:00Z; of these payloads older than 5d: 0-255 by 2026-01-06T00:01Z, 256-767 by 2026-01-31T00:00Z$/,
      );
    });

    it('is carried on with its age and time from notice to notice, in years to no other one', async () => {
      // A bundle each ten days: its notice goes with the one after.
      for (let bundle = 0; bundle < 12; bundle += 1) {
        now = START + 10 * bundle * DAY;
        await log.fill(250, { session: `s${bundle}`, at: now }).publish();
        await recording().sweep();
        log.fill(256 - (log.entries.length % 256), { session: `s${bundle}`, at: now });
        await log.publish();
      }
      const notices = log.entries.flatMap((entry, i) => {
        const told = goneLeaves(String(log.details[i]?.event));
        return told === undefined ? [] : [{ index: i, told, atMs: Number(decodeLeaf(entry).timeUnixNanos / 1_000_000n) }];
      });
      const left = new Set<number>();
      for (let bundle = 0; bundle < log.entries.length / 256; bundle += 1)
        for (const index of (await new LogReader(log.objects).details('events', bundle, log.entries.length)).keys()) left.add(index);
      const live = notices.filter(({ index }) => left.has(index));
      expect(live.length).toBeLessThan(4);
      // Those that are there tell of each that went by which age and when.
      expect(joined(live.flatMap(({ told }) => [...told.now.leaves, ...told.carried]))).toEqual([{ from: 0, to: 10 * 256 }]);
      for (const { detailClass, ageMs, byMs, from } of live.flatMap(({ told }) => told.carried)) {
        const first = notices.find(({ told }) => told.now.leaves.some((each) => each.from <= from && from < each.to));
        expect([detailClass, ageMs]).toEqual(['events', 10 * DAY]);
        expect(byMs - (first?.atMs as number)).toBeLessThanOrEqual((10 * DAY) / 8);
      }
    });

    it('is carried on up to a bound: less exactly, and of the oldest in the end not at all', () => {
      const each =
        (ms: number) =>
        (_: unknown, i: number): Carried => ({
          ...{ detailClass: 'rows', ageMs: 8 * DAY, byMs: START + i * ms },
          ...{ from: 10 * i, to: 10 * i + 1 },
        });
      const [exact, coarse, most] = [8 * DAY, DAY, 30 * DAY].map((ms) => carriedOn(Array.from({ length: 500 }, each(ms))));
      expect(exact).toEqual(Array.from({ length: 500 }, each(8 * DAY)));
      expect(coarse).toHaveLength(500);
      expect(most?.at(-1)).toMatchObject({ byMs: START + 499 * 30 * DAY });
      const many = carriedOn(Array.from({ length: 3_000 }, each(8 * DAY)));
      expect(many).toEqual(Array.from({ length: 3_000 }, each(8 * DAY)).slice(-512));
      // Ranges that touch are one in an interval: of more days than there is room for, several are told as one.
      const adjoining = (_: unknown, i: number): Carried => ({ ...each(DAY / 2)(_, i), from: i, to: i + 1 });
      const all = Array.from({ length: 2_000 }, adjoining);
      const told = carriedOn(all);
      expect(told.length).toBeLessThanOrEqual(512);
      expect(joined(told)).toEqual([{ from: 0, to: 2_000 }]);
      for (const { from, to, byMs } of told) {
        expect(byMs).toBe(all[to - 1]?.byMs);
        expect(byMs - (all[from]?.byMs as number)).toBeLessThan(4 * DAY);
      }
      expect(carriedOn(told)).toEqual(told);
    });

    it('is told of nothing that is missing, and that no notice tells of', async () => {
      await days(4).publish();
      await log.objects.delete('details/events/000');
      held.add('s2');
      now = START + 100 * DAY;
      await recording().sweep();
      expect(texts()).toEqual(['events older than 10d: leaves 256-511, 768-1023; before: none']);
      log.add({ session: '', text: 'events older than 10d: leaves 0-2000', at: now });
      await log.publish();
      // Nor by the words of a filter.
      log.add({ session: '', text: 'events older than 10d: leaves 0-255', at: now, own: false });
      await log.publish();
      held.clear();
      await recording().sweep();
      // Nor by one that would tell of what stands behind it.
      expect(texts().at(-1)).toBe('events older than 10d: leaves 512-767; before: events 256-511, 768-1023');
    });

    it('has nothing in it that somebody else took away, from full bundles or the one that is not full', async () => {
      const taken = async (key: string, bundle: number, ...indices: number[]): Promise<void> => {
        const details = decodeDetails((await log.objects.get(key)) as Buffer, bundle);
        await log.objects.put(key, encodeDetails(details.filter(({ index }) => !indices.includes(index))));
      };
      await days(2)
        .fill(20, { session: 's2', at: START + 2 * DAY })
        .publish();
      await taken('details/events/001', 1, 300, 301);
      await taken('details/events/002.p/20', 2, 515);
      now = START + 100 * DAY;
      await recording().sweep();
      expect(texts()).toEqual([
        'events older than 10d: leaves 0-299, 302-511; before: none',
        'events older than 10d: leaves 512-514, 516-531; before: events 0-299, 302-511',
      ]);
      expect(await keysOf(log.objects)).toEqual([]);
    });

    it('has nothing in it that was recorded and did not go: the log was not published, or it was held by then', async () => {
      await days(3)
        .fill(20, { session: 's3', at: START + 3 * DAY })
        .publish();
      now = START + 100 * DAY;
      const crash = async (going: Going): Promise<void> => {
        log.add({ session: '', text: noticeText(going), at: now });
        await log.publish();
        throw new StorageError('unavailable', 'the power is gone');
      };
      await expect(recording({ record: crash }).sweep()).rejects.toThrow('the power is gone');
      // Nothing has gone yet, and another start knows.
      expect(await keysOf(log.objects)).toHaveLength(4);
      const holding = recording({
        record: async (going) => {
          recorded.push(going);
          log.add({ session: '', text: noticeText(going), at: now });
          await log.publish();
          if (going.leaves.length > 0) held.add('s1').add('s3');
        },
      });
      await holding.sweep();
      expect(texts()).toEqual([
        'events older than 10d: leaves none; before: none; stayed: events 0-767',
        'events older than 10d: leaves 0-767; before: none',
        // Taken back at once: who takes it away has no notice that explains it.
        'events older than 10d: leaves none; before: events 0-255, 512-767; stayed: events 256-511',
      ]);
      expect(await keysOf(log.objects)).toEqual(['details/events/001', 'details/events/003.p/24']);
      held.clear();
      for (const retention of [holding, recording()]) {
        held.add('s1');
        await retention.sweep();
      }
      expect(texts().slice(3)).toEqual([
        'events older than 10d: leaves 768-787; before: events 0-255, 512-767',
        'events older than 10d: leaves none; before: events 0-255, 512-767; stayed: events 768-787',
      ]);
      held.clear();
      await log.publish();
      await recording().sweep();
      expect(texts().slice(5)).toEqual([
        'events older than 10d: leaves 256-511; before: events 0-255, 512-767',
        'events older than 10d: leaves 768-787; before: events 0-767',
      ]);
    });

    it('is taken back after a start: the service had stopped before it went, and a hold came before the next sweep', async () => {
      await days(2)
        .fill(20, { session: 's2', at: START + 2 * DAY })
        .publish();
      now = START + 100 * DAY;
      const publish = async (): Promise<void> => void (await log.publish());
      const crash = async (going: Going): Promise<void> => {
        log.add({ session: '', text: noticeText(going), at: now });
        await log.publish();
        throw new StorageError('unavailable', 'the power is gone');
      };
      await expect(recording({ record: crash, publish }).sweep()).rejects.toThrow('the power is gone');
      for (const session of ['s0', 's1', 's2']) held.add(session);
      const full = async (): Promise<void> => {
        throw new StorageError('unavailable', 'nothing is recorded');
      };
      const failing = recording({ record: full, publish });
      for (let attempt = 0; attempt < 2; attempt += 1) await expect(failing.sweep()).rejects.toThrow('nothing is recorded');
      const begun = recording({ publish });
      await begun.sweep();
      expect(texts()).toEqual(['events older than 10d: leaves none; before: none; stayed: events 0-511']);
      // Once is enough, for this process and the next.
      await log.publish();
      for (const each of [begun, recording({ publish })]) await each.sweep();
      expect(recorded).toHaveLength(1);
    });

    it('of the newest bundle is taken back event by event', async () => {
      await log
        .fill(20, { session: 's2', at: START })
        .fill(3, { session: 's2', at: START, kind: 17 })
        .fill(20, { session: 's3', at: START })
        .publish();
      now = START + 100 * DAY;
      await recording({
        ages: { events: 10 * DAY },
        publish: async () => void (await log.publish()),
        record: async (going) => {
          recorded.push(going);
          log.add({ session: '', text: noticeText(going), at: now });
          held.add('s2');
        },
      }).sweep();
      expect(texts()).toEqual([
        'events older than 10d: leaves 0-42; before: none',
        'events older than 10d: leaves none; before: events 20-42; stayed: events 0-19',
      ]);
    });

    it('is looked for in all leaves, whatever the store says was pruned that no leaf tells of', async () => {
      await days(4).publish();
      now = START + 11 * DAY;
      await recording().sweep();
      await log.publish();
      const [first] = log.details;
      const claimed = formatPruned({ minimum: 768, leaf: 1000, salt: first?.salt as Buffer, event: first?.event as Buffer });
      await log.objects.put('pruned', claimed);
      now = START + 100 * DAY;
      for (const pruning of [undefined, { open: log.open, told: String }])
        await expect(recording({ ...(pruning && { pruning }) }).sweep()).rejects.toMatchObject({ code: 'corrupt' });
      expect(recorded).toHaveLength(1);
      await log.objects.delete('pruned');
      await recording().sweep();
      expect(texts().at(-1)).toBe('events older than 10d: leaves 256-1023; before: events 0-255');
    });

    it('is told in as many notices as it takes, and found in all of them', async () => {
      await days(9).publish();
      for (const day of [1, 3, 5, 7]) held.add(`s${day}`);
      now = START + 100 * DAY;
      await recording({ rangesAtOnce: 2 }).sweep();
      held.delete('s1');
      await log.publish();
      await recording({ rangesAtOnce: 2 }).sweep();
      held.delete('s5');
      await log.publish();
      await recording().sweep();
      expect(texts().slice(3)).toEqual([
        'events older than 10d: leaves 256-511; before, in part: events 0-255, 512-767',
        'events older than 10d: leaves none; before, in part: events 1024-1279, 1536-1791',
        'events older than 10d: leaves none; before, in part: events 2048-2303',
        'events older than 10d: leaves 1280-1535; before: events 0-767, 1024-1279, 1536-1791, 2048-2303',
      ]);
    });

    it('is read as it was told, and of any text nothing else', () => {
      const before = gone({ events: [{ from: 0, to: 256 }] });
      for (const whole of [true, false]) {
        const stayed = gone({ rows: [{ from: 7, to: 9 }], payloads: [{ from: 1, to: 2 }] });
        const byMs = START + 30 * 60_000;
        const carried = [
          { detailClass: 'events', ageMs: 2 * DAY, byMs, from: 0, to: 256 } as const,
          { detailClass: 'events', ageMs: 2 * DAY, byMs: byMs + 60_000, from: 300, to: 302 } as const,
          { detailClass: 'rows', ageMs: DAY, byMs, from: 5, to: 6 } as const,
        ];
        const text = noticeText({ detailClass: 'payloads', ageMs: DAY, leaves: [{ from: 3, to: 9 }], before, carried, stayed, whole });
        expect(text).toMatch(
          /: events 0-255; stayed: payloads 1-1; stayed: rows 7-8; of these events older than 2d: 0-255 by 2026-01-01T00:30Z, 300-301 by 2026-01-01T00:31Z; of these rows older than 1d: 5-5 by 2026-01-01T00:30Z$/,
        );
        const now = { detailClass: 'payloads', ageMs: DAY, leaves: [{ from: 3, to: 9 }] };
        expect(goneLeaves(text)).toEqual({ gone: { ...before, payloads: now.leaves }, now, carried, stayed, whole });
        // Of what was cut nothing is made that it did not say.
        for (let end = 0; end < text.length; end += 1)
          for (const each of goneLeaves(text.slice(0, end))?.carried ?? []) expect(carried).toContainEqual(each);
      }
      const now = { detailClass: 'events', ageMs: 1_500, leaves: before.events };
      expect(goneLeaves('events older than 1500ms: leaves 0-255')).toEqual({
        gone: before,
        now,
        carried: [],
        stayed: gone(),
        whole: false,
      });
      for (const text of ['', 'x', 'keys older than 1d: leaves 0-1', 'events older than 1d', 'events older than x: leaves 0-1'])
        expect(goneLeaves(text)).toBeUndefined();
    });
  });

  it('leaves no partial form behind that a failed publication has left', async () => {
    await days(2).publish();
    const replica = localFiles(join(directory, 'replica'));
    for (const store of [log.objects, replica])
      for (const key of ['details/events/000.p/44', 'details/events/000.p/201'])
        await store.put(key, (await log.objects.get('details/events/000')) as Buffer);
    await replica.put('checkpoint', (await log.objects.get('checkpoint')) as Buffer);
    now = START + 10 * DAY + 1;
    await retentionOf({ replicas: [replica] }).sweep();
    expect([await keysOf(log.objects), await keysOf(replica)]).toEqual([['details/events/001'], []]);
  });

  it('lets nothing go from a replica before that has what tells of it: whoever restores from there finds no gap that nothing explains', async () => {
    await days(2)
      .fill(20, { session: 's9', at: START + 100 * DAY })
      .publish();
    const replica = localFiles(join(directory, 'replica'));
    const replicator = new Replicator({ from: log.objects, to: replica, open: log.open });
    await replicator.round();
    now = START + 100 * DAY;
    const retention = retentionOf({
      replicas: [replica],
      record: async (going) => void log.add({ session: '', text: noticeText(going), at: now }),
      publish: async () => void (await log.publish()),
    });
    await retention.sweep();
    await retention.sweep();
    const full = async (store: ObjectStore) => (await keysOf(store)).filter((key) => !key.includes('.p/'));
    expect([await full(log.objects), await full(replica)]).toEqual([[], ['details/events/000', 'details/events/001']]);
    await replicator.round();
    await retention.sweep();
    expect(await full(replica)).toEqual([]);
  });

  it('lets nothing go from a replica that stays here, though the legal hold that kept it is off meanwhile: no notice tells of it', async () => {
    await days(3).publish();
    const replica = localFiles(join(directory, 'replica'));
    const replicator = new Replicator({ from: log.objects, to: replica, open: log.open });
    await replicator.round();
    now = START + 100 * DAY;
    const told: string[] = [];
    let isHeld = true;
    const retention = retentionOf({
      replicas: [replica],
      held: (session) => isHeld && session === 's1',
      record: async (going) => {
        told.push(noticeText(going));
        log.add({ session: '', text: noticeText(going), at: now });
        isHeld = false;
      },
      publish: async () => {
        await log.publish();
        await replicator.round();
      },
    });
    const full = async (store: ObjectStore) => (await keysOf(store)).filter((key) => !key.includes('.p/'));
    await retention.sweep();
    expect([told[0], await full(log.objects), await full(replica)]).toEqual([
      expect.stringMatching(/^events older than \w+: leaves 0-255, 512-767/),
      ['details/events/001'],
      ['details/events/001'],
    ]);
    await retention.sweep();
    expect(told.at(-1)).toMatch(/leaves 256-511/);
    expect([await full(log.objects), await full(replica)]).toEqual([[], []]);
  });

  it('goes on here and in other replicas when one is away, and fails', async () => {
    for (let day = 0; day < 2; day += 1) log.fill(128, { session: 's', at: START }).fill(128, { session: 's', at: START, kind: 17 });
    await log.publish();
    const [away, replica] = [localFiles(join(directory, 'away')), localFiles(join(directory, 'replica'))];
    await new Replicator({ from: log.objects, to: replica, open: log.open }).round();
    await away.put('checkpoint', (await log.objects.get('checkpoint')) as Buffer);
    away.list = () => {
      throw new StorageError('unavailable', 'away');
    };
    now = START + 50 * DAY;
    const retention = retentionOf({ ages: { events: DAY, payloads: DAY }, replicas: [away, replica] });
    await expect(retention.sweep()).rejects.toMatchObject({ code: 'unavailable' });
    expect([await keysOf(log.objects), await keysOf(replica)]).toEqual([[], []]);
  });
});

describe('legal holds', () => {
  const open = (record: (what: string) => Promise<void> = async () => {}): Promise<LegalHolds> =>
    LegalHolds.open(join(directory, 'holds'), { record: (what, { session }) => record(`${what} ${session}`), now: () => now });

  it('survive a restart, with who put them on and why', async () => {
    const said: string[] = [];
    const first = await open(async (what) => void said.push(what));
    await first.add('s1', 'corp:dana', 'case 7');
    await first.add('s2', 'corp:dana', 'case 8');
    expect(await first.release('s2', 'corp:dana', 'closed')).toBe(true);
    expect(await first.release('s2', 'corp:dana', 'closed')).toBe(false);
    await first.close();
    const second = await open();
    expect(second.list()).toEqual([{ session: 's1', by: 'corp:dana', reason: 'case 7', at: '2026-01-01T00:00:00.000Z' }]);
    expect([second.holds('s1'), second.holds('s2')]).toEqual([true, false]);
    expect(said).toEqual(['legal-hold-added s1', 'legal-hold-added s2', 'legal-hold-released s2']);
    await second.close();
  });

  it('are in force before they are recorded, and are not taken off unrecorded', async () => {
    let broken = true;
    const holds = await open(async () => {
      if (broken) throw new Error('not recorded');
    });
    await expect(holds.add('s1', 'a', 'b')).rejects.toThrow('not recorded');
    expect(holds.holds('s1')).toBe(true);
    await expect(holds.release('s1', 'a', 'b')).rejects.toThrow('not recorded');
    await holds.close();
    const again = await open();
    expect(again.holds('s1')).toBe(true);
    broken = false;
    await again.close();
  });

  it('one that is put on while it is taken off stays', async () => {
    const holds = await open();
    await holds.add('s1', 'corp:dana', 'case 7');
    const released = holds.release('s1', 'corp:dana', 'closed');
    await holds.add('s1', 'corp:kim', 'case 9');
    expect(await released).toBe(true);
    expect(holds.list()).toMatchObject([{ session: 's1', by: 'corp:kim', reason: 'case 9' }]);
    await holds.close();
    const again = await open();
    expect(again.holds('s1')).toBe(true);
    await again.close();
  });
});
