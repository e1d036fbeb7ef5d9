/** The record with all that keeps it, on a gateway that nobody uses: what is due goes, from everywhere, and nothing has to happen for it. */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ALIKE } from './custody/ages.fixture.ts';
import { type Custody, startCustody } from './custody/custody.ts';
import { collectEvidence, writePage } from './evidence/collect.ts';
import { listedKeys, parseSigners } from './log/keys.ts';
import { parsePruned } from './log/pruned.ts';
import { restoreLog } from './log/restore.ts';
import { recordParts, recordPlaces } from './record.ts';
import { localFiles } from './storage/local_files.ts';
import { aboutToJson, noticeOf, pruningIn } from './tap/event.ts';
import type { Direction, TapBody } from './tap/schema.ts';
import { type OwnEvent, openSink, type Sink } from './tap/sink.ts';
import { parseVerifierKey } from './tlog/note.ts';
import { verifyLog } from './verify/log.ts';
import type { Report } from './verify/report.ts';

const IDENTITY = 'corp:somebody-to-forget';
const PAYLOAD = 'a balance of 4,711';
const HELD = 'corp:somebody-who-is-held';

let stateDir: string;
let sink: Sink | undefined;
let custody: Custody | undefined;
let problems: string[] = [];
beforeEach(() => {
  stateDir = fs.mkdtempSync(join(tmpdir(), 'sluice-record-'));
  problems = [];
});
afterEach(async () => {
  await custody?.close();
  await sink?.close();
  fs.rmSync(stateDir, { recursive: true, force: true });
});

const replica = (): string => join(stateDir, 'replica');

/** Seconds where an operator has months. */
const QUIET = { eventsMs: 8000, payloadsMs: 4000, kinds: ALIKE, leavesMs: undefined, everyMs: 50, clockBoundMs: 86_400_000 };
const PRUNED = { ...QUIET, eventsMs: 1000, payloadsMs: 1000, leavesMs: 2000, everyMs: 500 };

const start = async (retention: Parameters<typeof startCustody>[0]['tap']['retention'] = QUIET): Promise<Sink> => {
  const parts = recordParts(
    { stateDir, tap: { key: undefined, origin: 'gateway.example/sluice', retention } as never },
    { segmentMs: 1500, publishMs: 10 },
  );
  const opened = await openSink({ openStore: parts.openStore, index: parts.index });
  sink = opened;
  custody = await startCustody({
    tap: {
      replicas: [{ type: 'directory', name: 'copy', path: replica() }],
      retention,
      witnesses: { quorum: 0, intervalMs: 1000, of: [] },
      checkpoints: { everyMs: 1000, to: [] },
    },
    objects: parts.objects,
    origin: parts.log().origin,
    keys: parts.keys,
    size: () => opened.size,
    directory: stateDir,
    record: (notice, session, text) => opened.append([{ session, target: '', body: { kind: 'notice', notice, text } }]),
    leavesOf: async (session) => opened.indicesOf(session),
    forget: async (from, to) => void (await opened.forget(from, to)),
    undisturbed: (work) => parts.log().undisturbed(work),
    noticeOf,
    publishRecorded: () => parts.log().publish(),
    spans: (from, to) => opened.spans(from, to),
    holdBack: (below) => opened.holdBack(below),
    prune: (minimum) => opened.prune(minimum),
    logger: { info() {}, error: (_, message) => problems.push(message) },
    replicateMs: 20,
    clockMs: 20,
  });
  return opened;
};

const session = (id: string, identity: string): { session: string; target: string; body: TapBody }[] =>
  (
    [
      { kind: 'session_opened', protocol: 'http', identity, identityJson: '{}', run: '', onBehalfOf: '', downstreamAddress: '' },
      {
        kind: 'payload_chunk',
        direction: 'response',
        offset: 0,
        data: Buffer.from(PAYLOAD),
        last: true,
        truncated: false,
        contentType: '',
        contentEncoding: '',
        reason: '',
      },
      { kind: 'session_closed', outcome: 'complete', events: 0, missingEmitter: '', missingFrom: 0, missingTo: 0 },
    ] as const
  ).map((body) => ({ session: id, target: 'bank', body }));

/** Files below the state directory in which these bytes stand. */
const where = (text: string): string[] =>
  fs
    .readdirSync(stateDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      try {
        return fs.readFileSync(path).includes(text);
      } catch {
        return false;
      }
    })
    .map((path) => path.slice(stateDir.length + 1));

const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (const deadline = Date.now() + 60_000; !(await holds()); await sleep(20))
    if (Date.now() > deadline) throw new Error(`it does not come: ${what}: ${where(IDENTITY)} ${where(PAYLOAD)}`);
};

describe('a gateway that nobody uses any more', () => {
  it('deletes what is due: from the journal, what is published, the replica and the index; held sessions stay', async () => {
    const record = await start();
    await record.append([...session('ses_1', IDENTITY), ...session('ses_2', HELD)]);
    await custody?.legalHolds.add('ses_2', 'corp:dana', 'case 7');
    const places = ['tap/journal/', 'tap/log/details/', 'replica/details/', 'tap/sessions.sqlite'];
    const placesOf = (text: string): string[] => places.filter((place) => where(text).some((path) => path.startsWith(place)));
    const seen = new Set<string>();
    await until('a copy everywhere', () => {
      for (const place of placesOf(IDENTITY)) seen.add(place);
      return seen.size === places.length;
    });
    await until('the deletion', () => where(IDENTITY).length === 0);
    await until('what is held', () => String(placesOf(HELD)) === String(places.slice(1)));
    // Only the held session's payload is left.
    const payloads = where(PAYLOAD);
    expect(payloads.every((path) => path.includes('details/response_bodies/'))).toBe(true);
    const size = record.size;
    await sleep(9000);
    // Deleting what tells of deletions would go on for ever.
    expect(record.size - size).toBeLessThanOrEqual(2);

    await custody?.close();
    await record.close();
    const again = await start();
    expect(await again.list({})).toMatchObject([
      { id: 'ses_2', identity: HELD, events: 4 },
      { id: 'ses_1', identity: '', events: 3 },
    ]);
    expect(where(IDENTITY)).toEqual([]);
    for (const directory of [recordPlaces(stateDir).published, replica()]) {
      let report: Report | undefined;
      await until(`no remark on ${directory}`, async () => {
        const keys = listedKeys(fs.readFileSync(join(directory, 'keys'), 'utf8')).map(parseVerifierKey);
        report = await verifyLog({ objects: localFiles(directory), trust: { keys } });
        return !report.verified || report.remarks.length === 0;
      });
      expect(report).toMatchObject({ verified: true, faults: [] });
    }
    await custody?.legalHolds.release('ses_2', 'corp:dana', 'closed');
    await until('the deletion of what was held', () => where(HELD).length === 0 && where(PAYLOAD).length === 0);
  }, 120_000);
});

describe('a gateway that keeps each kind of payload for a time of its own', () => {
  const chunk = (session: string, direction: Direction, data: string, command?: number) => ({
    session,
    target: 'bank',
    ...(command !== undefined && { command }),
    body: {
      kind: 'payload_chunk',
      direction,
      offset: 0,
      data: Buffer.from(data),
      last: true,
      truncated: false,
      contentType: '',
      contentEncoding: '',
      reason: '',
    } as const,
  });
  const said = (id: string) => [
    chunk(id, 'request', `${id} asks`),
    chunk(id, 'response', `${id} is answered`),
    chunk(id, 'response', `${id} reads rows`, 1),
    chunk(id, 'request', `${id} copies rows in`, 2),
  ];
  const AGED = { ...QUIET, eventsMs: 600_000, payloadsMs: 600_000, kinds: { ...ALIKE, requestBodiesMs: 1500, rowsMs: 12_000 } };

  it('deletes each when its own is over, from everywhere, over a restart; a held session keeps all; what went is told by kind and age', async () => {
    const record = await start(AGED);
    for (const [id, identity] of [
      ['ses_1', IDENTITY],
      ['ses_2', HELD],
    ] as const) {
      const [first, , last] = session(id, identity) as [OwnEvent, OwnEvent, OwnEvent];
      await record.append([first, ...said(id), last]);
    }
    await custody?.legalHolds.add('ses_2', 'corp:dana', 'case 7');
    await until('the deletion of what was asked', () => where('ses_1 asks').length === 0);
    for (const kept of ['ses_1 is answered', 'ses_1 reads rows', 'ses_1 copies rows in', 'ses_2 asks'])
      expect(where(kept)).toContainEqual(expect.stringMatching(/^tap\/log\/details\//));
    await custody?.close();
    await record.close();

    const again = await start(AGED);
    await until('the deletion of rows', () => where('ses_1 reads rows').length === 0);
    await until('a copy without them', () => custody?.status.replicas[0]?.lag === 0 && where('ses_2 reads rows').length > 1);
    const left = (text: string): string[] => [...new Set(where(text).flatMap((path) => /details\/(\w+)\//.exec(path)?.[1] ?? []))];
    expect(['ses_1 is answered', 'ses_1 copies rows in', 'ses_2 asks', 'ses_2 reads rows'].map(left)).toEqual([
      ['response_bodies'],
      ['copied_rows'],
      ['request_bodies'],
      ['rows'],
    ]);
    const { ages, plan } = custody?.status.retention ?? { ages: {}, plan: {} };
    expect(ages).toEqual({
      events: 600_000,
      payloads: 600_000,
      request_bodies: 1500,
      response_bodies: 600_000,
      rows: 12_000,
      copied_rows: 600_000,
    });
    expect(plan).toMatchObject({ rows: { held: 0, nextMs: undefined }, response_bodies: { nextMs: expect.any(Number) } });

    const replayed: unknown[] = [];
    for await (const { event, about } of again.replay('ses_1')) if (event === undefined) replayed.push(aboutToJson(about));
    expect(replayed).toMatchObject([
      { kind: 'payload_chunk', payload: 'request_bodies', deleted: true },
      { kind: 'payload_chunk', payload: 'rows', deleted: true },
    ]);
    for (const directory of [recordPlaces(stateDir).published, replica()]) {
      const keys = listedKeys(fs.readFileSync(join(directory, 'keys'), 'utf8'));
      let report: Report | undefined;
      await until(`the whole of ${directory}`, async () => {
        report = await verifyLog({ objects: localFiles(directory), trust: { keys: keys.map(parseVerifierKey) } });
        return report.complete && report.missing.deleted === 2;
      });
      expect(report?.missing.deletedBy).toEqual([
        { class: 'request_bodies', age: '1500ms', events: 1 },
        { class: 'rows', age: '12s', events: 1 },
      ]);
      const evidence = await collectEvidence({ objects: localFiles(directory), session: 'ses_1', keys, payloads: true });
      let page = '';
      for await (const piece of writePage(evidence)) page += piece;
      expect(page).toContain('payload_chunk (rows): deleted when the retention of rows was over; its leaf remains');
      expect(page).toMatch(
        /2 events, deleted when their retention was over, [^:]*: 1 of request_bodies older than 1500ms, 1 of rows older than 12s\./,
      );
    }
    await custody?.legalHolds.release('ses_2', 'corp:dana', 'closed');
    await until('the deletion of what was held', () => where('ses_2 asks').length === 0 && where('ses_2 reads rows').length === 0);
    expect(where('ses_2 is answered')).not.toEqual([]);
  }, 120_000);
});

describe('a gateway that prunes', () => {
  it('lets whole sessions go from the front, from everywhere, and goes on after a restart, an index made anew, and a restoration', async () => {
    const record = await start(PRUNED);
    // The opening stands first, and each session has three leaves.
    for (let n = 0; n < 400; n += 50) await record.append(Array.from({ length: 50 }, (_, i) => session(`ses_${n + i}`, IDENTITY)).flat());
    const bundles = (directory: string): number =>
      fs.existsSync(join(directory, 'tile/entries'))
        ? fs.readdirSync(join(directory, 'tile/entries')).filter((name) => /^\d+$/.test(name)).length
        : 0;
    const published = recordPlaces(stateDir).published;
    await until('a copy', () => bundles(replica()) === 4);
    await until('the pruning', () => bundles(published) === 0 && bundles(replica()) === 0);
    const { minimum, leaf } = parsePruned(fs.readFileSync(join(published, 'pruned')));
    expect(minimum).toBe(1024);
    expect(leaf).toBeGreaterThan(1200);
    await until('the index', async () => (await record.list({ limit: 1000 })).length === 59);
    await record.append(session('ses_new', IDENTITY));
    // One that was pruned and goes on after all begins anew, also in a process that knew it.
    await record.append(session('ses_2', IDENTITY).slice(1));
    await until('its new beginning', async () => (await record.events('ses_2'))?.length === 2);

    const verified = async (directory: string, remembered?: string): Promise<Report> => {
      const keys = listedKeys(fs.readFileSync(join(directory, 'keys'), 'utf8')).map(parseVerifierKey);
      return await verifyLog({ objects: localFiles(directory), trust: { keys, ...(remembered !== undefined && { remembered }) } });
    };
    await custody?.close();
    await record.close();
    // Nothing is due before the rest is looked at.
    const later = { ...PRUNED, eventsMs: 60_000, payloadsMs: 60_000, leavesMs: 60_000 };
    for (const gone of [false, true]) {
      if (gone) for (const end of ['', '-wal', '-shm']) fs.rmSync(join(stateDir, `tap/sessions.sqlite${end}`), { force: true });
      const again = await start(later);
      const listed = await again.list({ limit: 1000 });
      expect(
        listed
          .map(({ id }) => id)
          .filter((id) => id !== 'ses_1' && id !== 'ses_2')
          .sort(),
      ).toEqual([...Array.from({ length: 59 }, (_, i) => `ses_${341 + i}`), 'ses_new'].sort());
      expect((await again.events('ses_399'))?.length).toBe(3);
      expect((await again.events('ses_1'))?.length).toBe(gone ? 3 : undefined);
      // A session that was pruned and goes on after all begins anew.
      if (!gone) await again.append(session('ses_1', IDENTITY));
      const read: number[] = [];
      for await (const { index } of again.read(0)) read.push(index);
      expect(read).toEqual(Array.from({ length: again.size - minimum }, (_, i) => minimum + i));
      await custody?.close();
      await again.close();
      const report = await verified(published, fs.readFileSync(join(published, 'checkpoint'), 'utf8'));
      expect(report).toMatchObject({ verified: true, level: 'remembered', pruned: { below: minimum, leaf } });
    }
    await start(later);
    await until(
      'the copy',
      () => fs.readFileSync(join(replica(), 'checkpoint'), 'utf8') === fs.readFileSync(join(published, 'checkpoint'), 'utf8'),
    );
    await custody?.close();
    await sink?.close();
    expect(await verified(replica())).toMatchObject({ verified: true, pruned: { below: minimum } });

    const key = fs.readFileSync(recordPlaces(stateDir).key, 'utf8');
    const restored = join(stateDir, 'restored');
    await restoreLog({
      toldOfPruning: pruningIn,
      from: localFiles(replica()),
      directory: restored,
      objects: localFiles(join(restored, 'log')),
      signers: parseSigners(key),
    });
    expect(await verified(join(restored, 'log'))).toMatchObject({ verified: true, pruned: { below: minimum, leaf } });
  }, 180_000);
});

it('no key is made for a log of which only what was published is left: it would be gone on with under another name', async () => {
  await start();
  await custody?.close();
  await sink?.close();
  const { journal, key } = recordPlaces(stateDir);
  for (const lost of [journal, key]) fs.rmSync(lost, { recursive: true });
  await expect(start()).rejects.toMatchObject({ code: 'key', message: expect.stringContaining('the key of the log that is there is not') });
  expect(fs.existsSync(key)).toBe(false);
});

describe('legal holds', () => {
  const holdsDir = (): string => join(stateDir, 'legal-holds');
  const stop = async (): Promise<void> => {
    await custody?.close();
    await sink?.close();
  };
  const held = (): string[] => custody?.legalHolds.list().map(({ session }) => session) ?? [];
  const segment = (): string => join(holdsDir(), '0000000000000000.journal');
  const KEPT = { ...QUIET, eventsMs: 600_000, payloadsMs: 600_000 };

  it.each<[string, (older: string) => void]>([
    ['is not there', () => fs.rmSync(holdsDir(), { recursive: true })],
    ['is empty', () => fs.rmSync(segment())],
    ['is of an older day', (older) => fs.cpSync(older, holdsDir(), { recursive: true })],
    ['has lost its end', () => fs.truncateSync(segment(), fs.statSync(segment()).size - 300)],
  ])('are in force again, by the record, where their journal %s', async (_, lose) => {
    const record = await start(KEPT);
    await record.append(['ses_1', 'ses_2', 'ses_3'].flatMap((id) => session(id, IDENTITY)));
    await stop();
    const older = join(stateDir, 'older');
    fs.cpSync(holdsDir(), older, { recursive: true });
    await start(KEPT);
    await custody?.legalHolds.add('ses_1', 'corp:dana', 'case 7');
    await custody?.legalHolds.add('ses_2', 'corp:dana', 'case (8)');
    await custody?.legalHolds.release('ses_2', 'corp:dana', 'closed');
    await custody?.legalHolds.add('ses_3', 'corp:dana', 'case 9');
    const told = () =>
      custody?.legalHolds
        .list()
        .map(({ session, by, reason }) => `${session} ${by} ${reason}`)
        .sort();
    const before = told();
    await stop();
    lose(older);
    await start(KEPT);
    expect(before).toEqual(['ses_1 corp:dana case 7', 'ses_3 corp:dana case 9']);
    expect(told()).toEqual(before);
    // It is in the journal again, and what is released then stays so.
    await custody?.legalHolds.release('ses_1', 'corp:dana', 'closed');
    await stop();
    await start(KEPT);
    expect(held()).toEqual(['ses_3']);
  });

  it('are looked for in what was recorded since, and what cannot be read of that keeps nothing from starting', async () => {
    const record = await start(KEPT);
    await record.append(Array.from({ length: 200 }, (_, n) => session(`ses_${n}`, IDENTITY)).flat());
    await custody?.legalHolds.add('ses_7', 'corp:dana', 'case 7');
    await stop();
    const { published } = recordPlaces(stateDir);
    const first = join(published, 'tile/entries/000');
    fs.rmSync(first);
    await start(KEPT);
    // Besides, the leaves are not copied.
    const ofHolds = (): string[] => problems.filter((each) => each.includes('LEGAL HOLDS'));
    expect([held(), ofHolds()]).toEqual([['ses_7'], []]);
    await stop();
    fs.rmSync(holdsDir(), { recursive: true });
    await start(KEPT);
    expect(held()).toEqual(['ses_7']);
    expect(ofHolds()).toEqual([expect.stringMatching(/LEAVES CANNOT BE READ/), expect.stringMatching(/THEY ARE IN FORCE AGAIN/)]);
  });
});
