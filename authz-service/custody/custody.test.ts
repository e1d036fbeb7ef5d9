import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DELETED_NOTICE } from '../log/going.ts';
import { PAYLOAD_CLASSES, payloadKind } from '../log/leaf.ts';
import { PublishedLog } from '../log/published.fixture.ts';
import { Bucket } from '../storage/s3.fixture.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { MemoryLog, StrictWitness } from '../witness/witness.fixture.ts';
import { ALIKE } from './ages.fixture.ts';
import { type Custody, type CustodyOptions, startCustody } from './custody.ts';
import { s3Config } from './stores.fixture.ts';
import type { StoreConfig } from './stores.ts';

const DAY = 86_400_000;
const ENV = { S3_SECRET: 'key' };

let directory: string;
let log: PublishedLog;
let bucket: Bucket;
let recorded: string[];
let logged: string[];
let custody: Custody | undefined;
let forgotten: [number, number][];
let endedBefore: number | undefined;
/** How far the clock is off. */
let off: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-custody-'));
  log = new PublishedLog(join(directory, 'log'));
  bucket = await Bucket.open();
  [recorded, logged, custody, off, forgotten, endedBefore] = [[], [], undefined, 0, [], undefined];
});

afterEach(async () => {
  await custody?.close();
  await bucket.close();
  rmSync(directory, { recursive: true, force: true });
});

const s3 = (writeOnce: 'no' | 'compliance' = 'compliance'): StoreConfig => s3Config(bucket.endpoint, { writeOnce });

const start = async (tap: Partial<CustodyOptions['tap']> = {}, more: Partial<CustodyOptions> = {}): Promise<Custody> => {
  custody = await startCustody({
    tap: {
      replicas: [],
      retention: { eventsMs: undefined, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 10, clockBoundMs: DAY },
      witnesses: { quorum: 0, intervalMs: 5, of: [] },
      checkpoints: { everyMs: 5, to: [] },
      ...tap,
    },
    objects: log.objects,
    origin: log.key.verifier.name,
    keys: [log.key.verifier],
    size: () => log.entries.length,
    now: () => Date.now() + off,
    clockMs: 5,
    directory,
    record: async (notice, session, text) => void recorded.push(`${notice} ${session}: ${text}`),
    forget: async (from, to) => void forgotten.push([from, to]),
    undisturbed: (work) => work(),
    noticeOf: () => undefined,
    forgetEnded: async (before) => void (endedBefore = before),
    publishRecorded: async () => {},
    spans: () => [],
    holdBack: () => {},
    prune: async () => {},
    leavesOf: async (session) => log.entries.flatMap((entry, index) => (entry.includes(session) ? [index] : [])),
    proveMs: 10,
    logger: { info: (_, message) => logged.push(message), error: (_, message) => logged.push(message) },
    env: ENV,
    ...more,
  });
  return custody;
};

const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (const deadline = Date.now() + 10_000; !(await holds()); await sleep(5))
    if (Date.now() > deadline) throw new Error('it does not come');
};

describe('the custody of the log', () => {
  it('copies it to a store that locks what will not change', async () => {
    await log.fill(300).publish();
    const { status } = await start({ replicas: [s3()] });
    expect(status.replicas.map(({ name }) => name)).toEqual(['vault']);
    await until(() => bucket.keys().includes('gw/checkpoint'));
    const lockOf = (key: string): string => bucket.objects.get(`gw/${key}`)?.[0]?.mode ?? 'none';
    expect(['tile/0/000', 'tile/entries/000', 'details/events/000', 'checkpoints/0000000000000300'].map(lockOf)).toEqual(
      Array(4).fill('COMPLIANCE'),
    );
    expect(['tile/0/001.p/44', 'checkpoint'].map(lockOf)).toEqual(['', '']);
  });

  describe('locks each class of objects for as long as that is kept', () => {
    const OBJECTS = ['tile/0/000', 'tile/entries/000', 'checkpoints/0000000000000300', 'details/events/000', 'details/payloads/000'];
    const retention = {
      eventsMs: 365 * DAY,
      payloadsMs: 90 * DAY,
      kinds: ALIKE,
      leavesMs: undefined,
      everyMs: 3_600_000,
      clockBoundMs: DAY,
    };
    beforeEach(async () => {
      await log.fill(100).fill(200, { session: 's', kind: 17 }).publish();
    });
    /** How many days after `from` the locks end. */
    const days = (from: number, keys = OBJECTS.map((key) => `gw/${key}`)): number[] =>
      keys.map((key) => Math.round(((bucket.objects.get(key)?.at(-1)?.until ?? 0) - from) / DAY));
    const copied = (): Promise<void> => until(() => bucket.keys().includes('gw/checkpoint'));

    it('by the age of events and of payloads, and what is left by lock', async () => {
      await start({ replicas: [s3()], retention });
      await copied();
      expect(days(Date.now())).toEqual([30, 30, 30, 365, 90]);
    });

    it('by the age of what the payload is, each in an object of its own, and of what is not known by the longest', async () => {
      const kinds = { ...ALIKE, requestBodiesMs: 20 * DAY, rowsMs: 7 * DAY, copiedRowsMs: 200 * DAY };
      for (const payload of PAYLOAD_CLASSES) log.fill(50, { session: 's', kind: payloadKind(payload) });
      await log.fill(60).publish();
      await start({ replicas: [s3()], retention: { ...retention, kinds } });
      await copied();
      const keys = PAYLOAD_CLASSES.map((payload) => `gw/details/${payload}/001`);
      expect(PAYLOAD_CLASSES).toEqual(['payloads', 'request_bodies', 'response_bodies', 'rows', 'copied_rows']);
      expect(days(Date.now(), keys)).toEqual([200, 20, 90, 7, 200]);
      expect(keys.map((key) => bucket.objects.get(key)?.[0]?.mode)).toEqual(Array(5).fill('COMPLIANCE'));
    });

    it('by lock alone where nothing is deleted', async () => {
      await start({ replicas: [s3()] });
      await copied();
      expect(days(Date.now())).toEqual([30, 30, 30, 30, 30]);
    });

    it('and checkpoints in a second place', async () => {
      await start({ checkpoints: { everyMs: 5, to: [{ ...s3(), name: 'second', prefix: 'second/', lockMs: 7 * DAY } as StoreConfig] } });
      const key = 'second/checkpoints/0000000000000300';
      await until(() => bucket.keys().includes(key));
      expect([bucket.objects.get(key)?.[0]?.mode, days(Date.now(), [key])]).toEqual(['COMPLIANCE', [7]]);
    });

    it.each([
      ['with a retention', retention, [30, 30, 30, 365, 90]],
      ['without', { ...retention, eventsMs: undefined, payloadsMs: undefined }, [30, 30, 30, 30, 30]],
    ])('from the time that the store has, where the clock is behind: %s', async (_, some, expected) => {
      off = -20 * DAY;
      await start({ replicas: [s3()], retention: some });
      await copied();
      expect(days(Date.now())).toEqual(expected);
    });
  });

  describe('between two sweeps', () => {
    const retention = {
      eventsMs: undefined,
      payloadsMs: undefined,
      kinds: ALIKE,
      leavesMs: undefined,
      everyMs: 3_600_000,
      clockBoundMs: DAY,
    };
    const held = (key: string): boolean | undefined => bucket.objects.get(`gw/details/${key}`)?.at(-1)?.hold;
    beforeEach(async () => {
      await log.fill(256, { session: 'ses_held' }).fill(256, { session: 'ses_other' }).publish();
    });

    it('holds at once what is there when somebody is put on hold', async () => {
      const { legalHolds } = await start({ replicas: [s3()], retention });
      await until(() => custody?.status.replicas[0]?.lag === 0 && bucket.keys().includes('gw/checkpoint'));
      await legalHolds.add('ses_held', 'corp:dana', 'case 7');
      await until(() => held('events/000') === true);
      expect(held('events/001')).toBe(false);
    });

    it('holds at once what comes of who is on hold already', async () => {
      await (await start({ retention })).legalHolds.add('ses_held', 'corp:dana', 'case 7');
      await custody?.close();
      // Nothing of it is there yet when the first sweep looks.
      await start({ replicas: [s3()], retention });
      await until(() => held('events/000') === true);
      await until(() => bucket.keys().includes('gw/checkpoint'));
      expect(held('events/001')).toBe(false);
    });
  });

  describe('at the end', () => {
    const slow = { everyMs: 3_600_000, to: [{ type: 'directory' as const, name: 'mount', path: '' }] };
    const checkpoints = () => ({ ...slow, to: [{ ...slow.to[0], path: join(directory, 'mount') } as (typeof slow.to)[0]] });
    const sizeIn = (note: Buffer | undefined): number | undefined =>
      note && openCheckpoint(note, log.key.verifier.name, [log.key.verifier]).size;
    const replicated = () => sizeIn(bucket.objects.get('gw/checkpoint')?.[0]?.bytes);

    it('copies what was recorded since the last look, to replicas and places', async () => {
      await log.fill(300).publish();
      await start({ replicas: [s3()], checkpoints: checkpoints() }, { publish: async () => void (await log.fill(9).publish()) });
      await until(() => replicated() === 300 && custody?.status.places[0]?.lag === 0);
      await custody?.close();
      expect(replicated()).toBe(309);
      expect(await log.objects.get('checkpoint')).toEqual(bucket.objects.get('gw/checkpoint')?.[0]?.bytes);
      expect(existsSync(join(directory, 'mount/checkpoints/0000000000000309'))).toBe(true);
    });

    it.each([
      ['away', () => undefined],
      ['silent', () => 'silence' as const],
    ])('is not held up by a store that is %s, and gives the others theirs', async (_, fault) => {
      await log.fill(300).publish();
      const publish = async (): Promise<void> => {
        Object.assign(bucket, { faults: { length: 1, shift: fault } });
        await log.fill(9).publish();
      };
      await start({ replicas: [{ ...s3(), timeoutMs: 60_000 } as StoreConfig], checkpoints: checkpoints() }, { publish, lastMs: 3_000 });
      await until(() => replicated() === 300 && custody?.status.places[0]?.lag === 0);
      const begun = performance.now();
      await custody?.close();
      // Five attempts, or one of a minute, would take longer.
      expect(performance.now() - begun).toBeLessThan(20_000);
      expect([replicated(), existsSync(join(directory, 'mount/checkpoints/0000000000000309'))]).toEqual([300, true]);
    });
  });

  it('does not start with a store that is asked to be write-once and is not', async () => {
    bucket.flaws.add('deletes');
    await expect(start({ replicas: [s3()] })).rejects.toMatchObject({ code: 'unsupported' });
  });

  describe('with a store that is away at the start', () => {
    /** Breaks every connection to the bucket while it lasts. */
    const away = (): (() => void) => {
      const { now } = bucket;
      const faults = { length: 1, shift: () => undefined, push: () => 0 };
      const own = bucket.faults;
      Object.assign(bucket, { faults });
      return () => Object.assign(bucket, { faults: own, now });
    };
    const state = (): string | undefined => custody?.status.stores[0]?.state;

    it('starts, and writes nothing there before it has shown what it keeps', async () => {
      await log.fill(300).publish();
      const back = away();
      const { status } = await start({
        replicas: [s3()],
        checkpoints: { everyMs: 5, to: [{ ...s3(), name: 'second', prefix: 'second/' } as StoreConfig] },
      });
      expect(status.stores.map(({ name, state }) => [name, state])).toEqual([
        ['vault', 'away'],
        ['second', 'away'],
      ]);
      expect(custody?.refusal).toBeUndefined();
      await until(() => recorded.some((line) => line.startsWith('store-away : vault: ')));
      const before = bucket.requests.length;
      back();
      await until(() => bucket.keys().includes('gw/checkpoint') && bucket.keys().some((key) => key.startsWith('second/checkpoints/')));
      for (const prefix of ['gw/', 'second/']) {
        const puts = bucket.requests.slice(before).filter(({ method, url }) => method === 'PUT' && url.includes(`/evidence/${prefix}`));
        const first = puts.findIndex(({ url }) => !url.includes(`/${prefix}probe/`));
        // Two conditional puts, a free one, a longer and a shorter retention twice, and one over the marker.
        expect(puts.slice(0, first).map(({ url }) => url.includes(`/${prefix}probe/`))).toEqual(Array(7).fill(true));
      }
      await until(
        () => state() === 'proven' && recorded.some((line) => line.startsWith('store-proven : vault: s3://evidence/gw/; Object Lock')),
      );
    }, 60_000);

    it('lets nothing new pass when it comes back and is not what was asked for, until it is', async () => {
      await log.fill(300).publish();
      const back = away();
      let unfit = 0;
      await start({ replicas: [s3Config(bucket.endpoint, { writeOnce: 'compliance', retryMs: 200 })] }, { unfit: () => void (unfit += 1) });
      bucket.flaws.add('deletes');
      back();
      await until(() => state() === 'unfit');
      expect(unfit).toBe(1);
      expect(custody?.refusal).toBe('not what was asked for, and nothing is written there: vault');
      await sleep(50);
      expect(bucket.keys().filter((key) => !key.startsWith('gw/probe/'))).toEqual([]);
      expect(recorded.at(-1)).toMatch(/^store-unfit : vault: .* deleting it is refused/);
      expect(logged).toContain('A STORE IS NOT WHAT WAS ASKED FOR: NOTHING IS WRITTEN THERE, AND NOTHING NEW PASSES');
      bucket.flaws.clear();
      await until(() => state() === 'proven');
      expect(custody?.refusal).toBeUndefined();
    }, 60_000);
  });

  it('publishes what it has recorded of a deletion before anything goes, and what is left of one that a crash broke off', async () => {
    for (const day of [90, 80]) log.fill(256, { session: `ses_${day}`, at: Date.now() - day * DAY });
    await log.fill(1, { session: 'ses_new', at: Date.now() }).publish();
    // As a crash could leave it: durable in the journal, and not published yet.
    log.add({ session: '', text: 'events older than 60d: leaves 0-255', at: Date.now() });
    await log.objects.delete('details/events/000');
    const steps: string[] = [];
    const remove = log.objects.delete.bind(log.objects);
    log.objects.delete = async (key) => {
      if (!key.includes('.p/')) steps.push(key);
      await remove(key);
    };
    await start(
      {
        retention: { eventsMs: 60 * DAY, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 3_600_000, clockBoundMs: DAY },
      },
      {
        noticeOf: (event) => ({ notice: DELETED_NOTICE, text: String(event) }),
        record: async (_, __, text) => {
          steps.push(text);
          log.add({ session: '', text, at: Date.now() });
        },
        publishRecorded: async () => {
          steps.push('published');
          await log.publish();
        },
      },
    );
    await until(() => steps.includes('details/events/001'));
    const [forHolds, ...swept] = steps;
    expect(forHolds).toBe('published');
    expect(swept).toEqual(['published', 'events older than 60d: leaves 256-511; before: events 0-255', 'published', 'details/events/001']);
  });

  it('holds in the store what a legal hold names, and lets it go after the release when its time is over', async () => {
    log.fill(256, { session: 'ses_held', at: Date.now() - 90 * DAY }).fill(256, { session: 'ses_other', at: Date.now() - 90 * DAY });
    await log.publish();
    bucket.now = () => Date.now();
    const { legalHolds } = await start({
      replicas: [s3()],
      retention: { eventsMs: 365 * DAY, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 10, clockBoundMs: DAY },
    });
    await until(() => bucket.keys().includes('gw/checkpoint'));
    await legalHolds.add('ses_held', 'corp:dana', 'case 7');
    expect(recorded).toEqual(['legal-hold-added ses_held: case 7 (corp:dana)']);
    const held = (bundle: string): boolean | undefined => bucket.objects.get(`gw/details/events/${bundle}`)?.at(-1)?.hold;
    await until(() => held('000') === true);
    expect(held('001')).toBe(false);
    await custody?.close();

    // A year later, with a hold that outlived the restart.
    off = 400 * DAY;
    bucket.now = () => Date.now() + off;
    const again = await start({
      replicas: [s3('compliance')],
      retention: { eventsMs: 60 * DAY, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 10, clockBoundMs: DAY },
    });
    await until(() => bucket.objects.get('gw/details/events/001') === undefined);
    expect(await log.objects.get('details/events/000')).toBeDefined();
    expect(recorded.at(-1)).toBe('details-deleted : events older than 60d: leaves 256-511; before: none');
    const what = 'events older than 60d: leaves 256-511';
    await until(() => custody?.status.retention.last !== undefined);
    const { ages, held: kept, sweptAt = 0, nextAt, last } = again.status.retention;
    expect({ ages, kept, last }).toEqual({
      ages: { events: 60 * DAY },
      kept: 1,
      last: { at: expect.any(Number), what: [what] },
    });
    if (nextAt !== undefined) expect(nextAt).toBe(sweptAt + 10);
    await again.legalHolds.release('ses_held', 'corp:dana', 'closed');
    await until(() => bucket.objects.get('gw/details/events/000') === undefined);
    expect(await log.objects.get('details/events/000')).toBeUndefined();
  });

  describe('with a clock that is set forward', () => {
    const kept = async (): Promise<boolean> => (await log.objects.get('details/events/000')) !== undefined;
    const retention = { eventsMs: 365 * DAY, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 5, clockBoundMs: DAY };
    beforeEach(async () => {
      await log.fill(300, { session: 's', at: Date.now() }).publish();
    });

    it('deletes nothing, says so, and goes on when somebody confirms it', async () => {
      await start({ retention });
      await until(() => endedBefore !== undefined);
      off = 400 * DAY;
      await until(() => recorded.length > 0);
      expect(recorded[0]).toMatch(/^retention-suspended : the clock says 20/);
      expect(logged.some((line) => line.startsWith('NOTHING IS DELETED'))).toBe(true);
      await sleep(100);
      expect([await kept(), custody?.status.clock?.suspended !== undefined]).toEqual([true, true]);
      expect(endedBefore ?? 0).toBeLessThan(Date.now() - 364 * DAY);
      await custody?.close();
      await start({ retention });
      await sleep(100);
      expect(await kept()).toBe(true);
      expect(await custody?.confirmClock('corp:dana', 'looked')).toBe(true);
      expect(recorded.some((line) => /^clock-confirmed : 20.*: looked \(corp:dana\)$/.test(line))).toBe(true);
      await until(async () => !(await kept()));
      await until(() => (endedBefore ?? 0) > Date.now() + 34 * DAY);
    });

    it.each([
      ['is believed where nobody else tells the time', (): StoreConfig[] => [], 0],
      ['is not believed where a store says something else', (): StoreConfig[] => [s3('no')], 20],
    ])('by less than the bound while the machine was off, it %s', async (_, replicas, hoursAhead) => {
      await start({ retention, replicas: replicas() }, { uptime: () => ({ boot: 'a', ms: 5 * DAY }) });
      await custody?.close();
      off = (20 / 24) * DAY;
      const { status } = await start({ retention, replicas: replicas() }, { uptime: () => ({ boot: 'b', ms: 1_000 }) });
      expect(Math.abs((status.clock?.aheadMs ?? Number.NaN) / 3_600_000 - hoursAhead)).toBeLessThan(0.1);
    });

    it('deletes nothing either when it was set forward while the service was stopped, and is not held up by that when a store says the same', async () => {
      await start({ retention });
      await custody?.close();
      off = 400 * DAY;
      // The store has its own time.
      await start({ retention, replicas: [s3('no')] });
      await sleep(100);
      expect([await kept(), custody?.status.clock?.suspended !== undefined]).toEqual([true, true]);
      await custody?.close();
      bucket.now = () => Date.now() + 400 * DAY;
      await start({ retention, replicas: [s3('no')] });
      await until(async () => !(await kept()));
      expect(custody?.status.clock?.suspended).toBeUndefined();
    });
  });

  it('says that leaves wait for the clock when a store has been ahead of it for an hour, and who says so', async () => {
    const retention = { eventsMs: 365 * DAY, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 5, clockBoundMs: DAY };
    bucket.now = () => Date.now() + off + 120_000;
    await start({ retention, replicas: [s3('no')] }, { uptime: () => ({ boot: 'a', ms: 5 * DAY + off }) });
    await until(() => (custody?.status.clock?.aheadMs ?? 0) < -100_000);
    await sleep(100);
    expect(recorded).toEqual([]);
    off = 2 * 3_600_000;
    await until(() => recorded.length > 0);
    expect(recorded[0]).toMatch(
      /^retention-stalled : the clock is 1\d\d s behind what replica [^ ]+ says: what was recorded since, from leaf 0 on/,
    );
    expect(custody?.status.clock).toMatchObject({ suspended: undefined, stalled: expect.any(String) });
    expect(logged.some((line) => line.startsWith('leaves wait for the clock'))).toBe(true);
  });

  it('holds and lets go of all else when one object cannot be held, and holds that as soon as it can be', async () => {
    for (const session of ['ses_held', 'ses_held', 'ses_other']) log.fill(256, { session, at: Date.now() - 90 * DAY });
    await log.publish();
    const refused = 'gw/details/events/000';
    bucket.refusesHold = (key) => key === refused;
    const { legalHolds } = await start({
      replicas: [s3()],
      retention: { eventsMs: 60 * DAY, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 10, clockBoundMs: 7 * DAY },
    });
    await legalHolds.add('ses_held', 'corp:dana', 'case 7');
    const held = (bundle: string): boolean | undefined => bucket.objects.get(`gw/details/events/${bundle}`)?.at(-1)?.hold;
    await until(() => held('001') === true);
    await until(async () => (await log.objects.get('details/events/002')) === undefined);
    await until(() => logged.includes('a legal hold is not in every replica yet; it is tried again'));
    expect(held('000')).toBe(false);
    // The line is written while the sweep goes on, and counted when it is over.
    await until(() => (custody?.status.retention.failures ?? 0) > 0);
    bucket.refusesHold = () => false;
    await until(() => held('000') === true);
  });

  it('goes on copying to a replica whose pointer an old key has signed alone', async () => {
    await log.fill(300).publish();
    const { status } = await start({ replicas: [s3('no')] });
    await until(() => bucket.keys().includes('gw/checkpoint'));
    expect(status.replicas[0]?.failing).toBe(false);
    await custody?.close();
    const old = log.key.verifier;
    const next = parseSignerKey(generateSignerKey(old.name));
    log = Object.assign(new PublishedLog(join(directory, 'log'), { log, size: 300 }), { key: next });
    await log.objects.put('checkpoint', Buffer.from(log.checkpoint()));
    await log.objects.put('keys', Buffer.from([old, next.verifier].map((key) => `0 ${formatVerifierKey(key)}\n`).join('')));
    await log.fill(100).publish();
    expect(recorded.filter((text) => text.startsWith('keys-listed'))).toEqual([]);
    await start({ replicas: [s3('no')] });
    await until(() => bucket.objects.get('gw/checkpoint')?.[0]?.bytes.includes('\n400\n') === true);
    // For whoever restores it: a key that does not sign any more is known by the record itself.
    const both = [old, next.verifier].map((key) => `0 ${formatVerifierKey(key)}`).join(', ');
    expect(recorded.filter((text) => text.startsWith('keys-listed'))).toEqual([`keys-listed : ${both}`]);
  });

  it('publishes beside the newest checkpoint what witnesses have cosigned', async () => {
    await log.fill(700).publish();
    const witness = await new StrictWitness(new MemoryLog(log.key.verifier.name, log.key)).open();
    try {
      const of = [{ name: 'w1', url: witness.url.href, keys: [formatVerifierKey(witness.key.verifier)] }];
      const { status } = await start({ witnesses: { quorum: 0, intervalMs: 5, of } });
      expect(status.witnesses).toEqual([{ name: 'w1', lag: expect.any(Number), state: 'new' }]);
      const cosigned = async () => {
        const note = await log.objects.get('checkpoint.witnessed');
        return note && openCheckpoint(note, log.key.verifier.name, [witness.key.verifier]).size;
      };
      await until(async () => (await cosigned()) === 700);
      await log.fill(100).publish();
      await until(async () => (await cosigned()) === 800);
      await until(() => custody?.status.unwitnessed === 0);
    } finally {
      await custody?.close();
      await witness.close();
    }
  });

  it('takes what two witnesses say of the time for what two say, though their keys have one name', async () => {
    await log.fill(10).publish();
    const witnesses = await Promise.all([1, 2].map(() => new StrictWitness(new MemoryLog(log.key.verifier.name, log.key)).open()));
    (witnesses[0] as StrictWitness).fast = 7_200;
    try {
      const of = witnesses.map(({ key, url }, i) => ({ name: `w${i}`, url: url.href, keys: [formatVerifierKey(key.verifier)] }));
      const retention = { eventsMs: 365 * DAY, payloadsMs: undefined, kinds: ALIKE, leavesMs: undefined, everyMs: 10, clockBoundMs: DAY };
      await start({ witnesses: { quorum: 2, intervalMs: 5, of }, retention });
      await until(() => custody?.status.unwitnessed === 0);
      await until(() => (custody?.status.clock?.aheadMs ?? 0) < -7_000_000);
    } finally {
      await custody?.close();
      await Promise.all(witnesses.map((witness) => witness.close()));
    }
  });

  it('sends checkpoints to a second place, and tells when another history stands there', async () => {
    const got: string[] = [];
    const server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      got.push(body);
      response.writeHead(204).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/checkpoints`;
    await log.fill(5).publish();
    const place = join(directory, 'place');
    await start({
      checkpoints: {
        everyMs: 5,
        to: [
          { type: 'directory', name: 'mount', path: place },
          { type: 'http', name: 'collector', url, read: undefined, token: undefined, tls: undefined, timeoutMs: 1_000 },
        ],
      },
    });
    await until(() => got.length > 0 && custody?.status.places.every(({ lag, failing }) => lag === 0 && !failing) === true);
    expect(got).toEqual([log.checkpoint()]);
    await custody?.close();
    server.close();

    const other = await new PublishedLog(join(directory, 'other'), { log, size: 0 }).fill(5, { session: 'rewritten' }).publish();
    log = other;
    await start({ checkpoints: { everyMs: 5, to: [{ type: 'directory', name: 'mount', path: place }] } });
    await until(() => logged.includes('a checkpoint is not sent'));
    expect(custody?.status.places[0]?.failing).toBe(true);
  });
});
