/** The index of sessions as a file, below the sink that keeps it: what a restart, a damaged file and a stop between two parts of a change leave. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { closedBody, type TapBody } from './schema.ts';
import type { SessionIndex } from './session_index.ts';
import { openSessionIndex } from './session_index_thread.ts';
import { type OwnEvent, openSink, type Sink } from './sink.ts';
import { eventsIn, testStore } from './store.fixture.ts';

const DIR = '/tap';
const START = 1_700_000_000_000;
let dir: string;
let files: SimulatedFileSystem;
let now: number;
let sink: Sink | undefined;
let index: SessionIndex;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'session-index-'));
  [files, now, sink] = [new SimulatedFileSystem(), START, undefined];
});
afterEach(async () => {
  await sink?.close();
  rmSync(dir, { recursive: true, force: true });
});

const path = (): string => join(dir, 'sessions.sqlite');

const open = async (over: SessionIndex = openSessionIndex(path())): Promise<Sink> => {
  index = over;
  sink = await openSink({ openStore: testStore(DIR, { files }).openStore, index, now: () => now });
  return sink;
};

/** As when the process dies: what the record has written stays, and the index what was applied to it. */
const kill = async (): Promise<void> => {
  const disk = files.afterKill();
  index.apply = () => {};
  await sink?.close().catch(() => {});
  [sink, files] = [undefined, disk];
};

const opened: TapBody = {
  kind: 'session_opened',
  protocol: 'http',
  identity: 'corp:agent',
  identityJson: '{}',
  run: 'run-1',
  onBehalfOf: '',
  downstreamAddress: '',
};
const judged: TapBody = {
  kind: 'request_judged',
  request: 'GET /customers/7',
  effect: 'allow',
  rule: 'read-by-grant',
  reason: '',
  policyRevision: '',
  maskedInputJson: '{}',
  decisionJson: '{}',
  approval: '',
  identityMicros: 0,
  policyMicros: 0,
  fingerprint: '',
  statementFingerprint: '',
};
const closed = (outcome: string): TapBody => closedBody(outcome);
const of = (session: string, ...bodies: TapBody[]): OwnEvent[] => bodies.map((body) => ({ session, target: 'demo', body }));

/** What is shown of every session, in the order of their names. */
const shown = async (of: Sink): Promise<object[]> =>
  (await of.list({ limit: 10_000 }))
    .map((summary) => ({ ...summary, indices: of.indicesOf(summary.id) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));

const gathered = async <Item>(items: AsyncIterable<Item> | undefined): Promise<Item[]> => {
  const all: Item[] = [];
  for await (const item of items ?? []) all.push(item);
  return all;
};

describe('opened again', () => {
  it('goes on with the sessions that were open, reading no more of the record than the index lacks, and where these may have gaps', async () => {
    await (await open()).append([...of('done', opened, judged, closed('complete')), ...of('going', opened, judged)]);
    await sink?.sweep();
    await sink?.append(of('later', opened, judged));
    const before = await shown(sink as Sink);
    await kill();

    const store = testStore(DIR, { files }).openStore;
    const reads: number[] = [];
    index = openSessionIndex(path());
    const { applied } = index.progress;
    expect(applied).toBe(6);
    expect(index.open().map(({ summary }) => summary.id)).toEqual(['going']);
    sink = await openSink({
      index,
      now: () => now,
      openStore: async (known) => {
        const opening = await store(known);
        const read = opening.read.bind(opening);
        opening.read = (from = 0) => {
          reads.push(from);
          return read(from);
        };
        return opening;
      },
    });
    // `going` begins with event 4.
    expect(reads).toEqual([4, applied]);
    expect(await shown(sink)).toEqual(before);
    expect((await sink.list({ state: 'open' })).map(({ id }) => id).sort()).toEqual(['going', 'later']);
  });

  it('ends as unknown what nobody ends, and takes what comes late to where it belongs', async () => {
    await (await open()).append([...of('going', opened, judged)]);
    await kill();
    now += 60_000;
    await open();
    now += 31_000;
    await sink?.sweep();
    await sink?.close();

    await open();
    expect(await sink?.list()).toMatchObject([{ id: 'going', state: 'closed', outcome: 'unknown', events: 3, late: false }]);
    await sink?.append(of('going', { kind: 'request_forwarded', emitter: '' }, closed('complete')));
    await sink?.close();

    await open();
    expect(await sink?.list()).toMatchObject([{ id: 'going', state: 'closed', outcome: 'complete', events: 5, late: true }]);
    expect((await sink?.events('going'))?.map(({ event, late }) => [event?.body.kind, late])).toEqual([
      ['session_opened', false],
      ['request_judged', false],
      ['session_closed', false],
      ['request_forwarded', true],
      ['session_closed', true],
    ]);
    // The chain of the session in the log is whole across all of it.
    await sink?.close();
    await eventsIn(DIR, files.copy());
  });
});

describe('made again from the record', () => {
  const damages: readonly (readonly [string, () => void])[] = [
    ['is not there', () => rmSync(path())],
    ['is no database', () => writeFileSync(path(), 'something else, and longer than the header of a database: '.repeat(10))],
    ['is empty', () => truncateSync(path(), 0)],
    ['was cut off', () => truncateSync(path(), 4096)],
    [
      'is of another version',
      () => {
        const other = new DatabaseSync(path());
        other.exec('UPDATE progress SET version = 99');
        other.close();
      },
    ],
  ];

  it.each(damages)('a file that %s', async (_, damage) => {
    await (await open()).append([...of('done', opened, judged, closed('complete')), ...of('going', opened, judged)]);
    await sink?.sweep();
    const before = await shown(sink as Sink);
    await sink?.close();
    damage();
    await open();
    expect(await shown(sink as Sink)).toEqual(before);
    expect(existsSync(path())).toBe(true);
    await sink?.close();
    // And once more with what was made.
    await open();
    expect(await shown(sink as Sink)).toEqual(before);
    await sink?.append(of('done', closed('failed')));
    await sink?.close();
    await eventsIn(DIR, files.copy());
  });
});

describe('damaged in any page', () => {
  const PAGE = 4096;
  const SESSIONS = 24;
  /** Of a file that is closed, so that all of it is in pages. */
  const made = async (): Promise<{ readonly before: object[]; readonly bytes: Buffer }> => {
    await open();
    for (let n = 0; n < SESSIONS; n += 1) await sink?.append(of(`ses_${n}`, opened, judged, closed('complete')));
    await sink?.append(of('going', opened, judged));
    await sink?.close();
    // The sessions that are open are ended by the next start.
    await open();
    const before = await shown(sink as Sink);
    await sink?.close();
    sink = undefined;
    return { before, bytes: readFileSync(path()) };
  };

  it('the record opens, and the same is known of all sessions', async () => {
    const { before, bytes } = await made();
    const whole = files.copy();
    expect(bytes.length / PAGE).toBeGreaterThan(10);
    for (let page = 0; page < bytes.length / PAGE; page += 1) {
      const spoiled = Buffer.from(bytes);
      spoiled.fill(0xa5, page * PAGE + (page === 0 ? 100 : 0), (page + 1) * PAGE);
      writeFileSync(path(), spoiled);
      files = whole.copy();
      // What no start reads may show later; then the start after it makes the index again.
      await (await open()).append(of(`ses_1`, closed('failed'))).catch(() => {});
      await sink?.sweep().catch(() => {});
      await sink?.close();
      await open();
      const ids = (await shown(sink as Sink)).map((each) => (each as { id: string }).id);
      expect(ids).toEqual(before.map((each) => (each as { id: string }).id));
      await sink?.close();
      sink = undefined;
      await eventsIn(DIR, files.copy());
    }
  }, 60_000);

  it('says so in a coded error where it shows while it is used, and is made again by the next start', async () => {
    await open();
    await sink?.append(of('ses_1', opened, judged, closed('complete')));
    await sink?.close();
    const other = new DatabaseSync(path());
    // Far behind what a start reads, as it were: the text of one that has ended is none, and the next start does not look at it.
    other.exec("UPDATE sessions SET told = '{', state = 'elsewhere'");
    other.close();
    await open();
    expect(() => index.get('ses_1')).toThrow(expect.objectContaining({ name: 'JournalError', code: 'corrupt' }));
    await sink?.close();
    await open();
    await sink?.sweep();
    expect(index.get('ses_1')?.summary.events).toBe(3);
  });
});

it.each([
  ['the file', ''],
  ['its lock', '-lock'],
])('is refused in words that name %s when something else is in its place', async (_, end) => {
  mkdirSync(path() + end);
  await expect(open()).rejects.toMatchObject({ name: 'JournalError', code: 'failed', message: expect.stringContaining(path() + end) });
});

it('is of one process', async () => {
  await open();
  expect(() => openSessionIndex(path())).toThrow(expect.objectContaining({ code: 'locked' }));
});

it('makes a change that it could not make with the next one, and says so', async () => {
  await open();
  await sink?.append([...of('first', opened, judged)]);
  await sink?.sweep();
  const other = new DatabaseSync(path());
  other.exec('BEGIN IMMEDIATE');
  await sink?.append([...of('first', closed('complete')), ...of('second', opened, judged)]);
  await expect(sink?.sweep()).rejects.toThrow('the index of sessions: database is locked');
  expect(index.get('second')).toBeUndefined();
  expect(index.get('first')?.summary.state).toBe('open');
  // What the index lacks is known all the same.
  expect((await (sink as Sink).events('second'))?.length).toBe(2);
  other.exec('ROLLBACK');
  other.close();
  await sink?.sweep();
  expect(index.get('second')?.indices.length).toBe(2);
  expect(index.get('first')?.summary.state).toBe('closed');
  expect(index.progress.applied).toBe((sink as Sink).size);
});

it('keeps a change that happens while one is written', async () => {
  await open();
  const emitter = (sink as Sink).emitter;
  await sink?.append(of('first', opened, judged));
  const sweeping = sink?.sweep();
  await sink?.append(of('first', closed('complete')));
  await sweeping;
  await sink?.sweep();
  expect(index.get('first')?.summary).toMatchObject({ state: 'closed', events: 3 });
  expect(index.sequenceOf(emitter)).toBe(4);
});

describe('a change that takes several parts', () => {
  const MANY = 450;

  it.each([0, 1, 2, 3])('and stops after %i of them: the next opening has every session once and whole', async (parts) => {
    await open();
    const apply = index.apply.bind(index);
    let left = parts;
    index.apply = (...args) => {
      if (left === 0) throw new Error('the process ends here');
      left -= 1;
      return apply(...args);
    };
    await sink?.append(Array.from({ length: MANY }, (_, i) => of(`ses_${i}`, opened, judged)).flat());
    await sink?.append(of('ses_0', closed('complete')));
    const stopped = await sink?.sweep().then(
      () => false,
      () => true,
    );
    // 450 sessions are three parts, and how far it goes is said with the last.
    expect(stopped).toBe(parts < 3);
    expect(index.progress.applied).toBe(parts < 3 ? 0 : (sink as Sink).size);
    const found = index.list({}, 10_000).length;
    expect(found).toBe(Math.min(MANY, 200 * parts));
    const emitter = (sink as Sink).emitter;
    await kill();

    await open();
    await sink?.sweep();
    expect(index.list({}, 10_000).length).toBe(MANY);
    expect(index.progress.applied).toBe((sink as Sink).size);
    expect(index.sequenceOf(emitter)).toBe(1 + 2 * MANY + 1);
    const sessions = await (sink as Sink).list({ limit: 10_000 });
    expect(sessions).toHaveLength(MANY);
    for (const { id, events, state } of sessions)
      expect([id, events, state]).toEqual([id, id === 'ses_0' ? 3 : 2, id === 'ses_0' ? 'closed' : 'open']);
    for (const { id } of sessions) expect(new Set((sink as Sink).indicesOf(id)).size).toBe(id === 'ses_0' ? 3 : 2);
    // All of them are gone through part by part, the newest first, with what they add to the account of a run.
    const all: string[] = [];
    for await (const { summary, tally } of (sink as Sink).sessions({})) {
      all.push(summary.id);
      expect(tally.judged).toEqual([['allow', 1]]);
    }
    expect(all).toEqual(Array.from({ length: MANY }, (_, i) => `ses_${MANY - 1 - i}`));
    const closedOnes: string[] = [];
    for await (const { summary } of (sink as Sink).sessions({ state: 'closed' })) closedOnes.push(summary.id);
    expect(closedOnes).toEqual(['ses_0']);
  });
});

const answered: TapBody = { kind: 'hold_answered', approval: 'apr_1', answer: 'approved', by: 'corp:dana', reason: '' } as TapBody;
const secrets = ['corp:agent', 'run-1', 'GET /customers/7', 'read-by-grant', 'corp:dana'];
const inFiles = (): string[] =>
  secrets.filter((secret) => ['', '-wal'].some((end) => existsSync(path() + end) && readFileSync(path() + end).includes(secret)));

describe('what was deleted after its retention', () => {
  it('is forgotten of sessions that have ended: in memory, in the index and in its files', async () => {
    await (await open()).append([
      ...of('old', opened, judged, answered, closed('complete')),
      ...of('going', opened, judged),
      ...of('young', opened, judged, closed('denied')),
    ]);
    const [old, , young] = ['old', 'going', 'young'].map((id) => sink?.indicesOf(id)[0] as number);
    await sink?.sweep();
    expect(inFiles()).toEqual(secrets);
    expect(await sink?.forget(0, young as number)).toBe(1);
    const list = (await sink?.list()) ?? [];
    const told = (id: string) => list.find((summary) => summary.id === id);
    expect(told('old')).toMatchObject({
      target: 'demo',
      identity: '',
      run: '',
      request: '',
      rule: '',
      effect: '',
      outcome: '',
      state: 'closed',
      events: 4,
    });
    expect(told('old')?.openedAt).toBeGreaterThan(0);
    expect(sink?.indicesOf('old')).toHaveLength(4);
    expect([told('going')?.identity, told('young')?.request]).toEqual(['corp:agent', 'GET /customers/7']);
    expect(await sink?.list({ approver: 'corp:dana' })).toEqual([]);
    expect((await sink?.list({ identity: 'corp:agent' }))?.map(({ id }) => id).sort()).toEqual(['going', 'young']);
    expect(old).toBeLessThan(young as number);

    // What was open then goes when it has ended; nothing is done twice.
    await sink?.append(of('going', closed('complete')));
    expect(await sink?.forget(0, young as number)).toBe(1);
    expect(await sink?.forget(0, young as number)).toBe(0);
    expect(await sink?.forget(young as number, (young as number) + 1)).toBe(1);
    expect(inFiles()).toEqual([]);
    await sink?.close();
    expect(inFiles()).toEqual([]);
    expect((await (await open()).list()).filter(({ identity }) => identity !== '')).toEqual([]);
  });

  it('is forgotten of many sessions, some at a time', async () => {
    await (await open()).append(Array.from({ length: 1_201 }, (_, n) => of(`s${n}`, opened, judged, closed('complete'))).flat());
    expect(await sink?.forget(0, sink.size)).toBe(1_201);
  });
});

describe('what was pruned', () => {
  it('is not known any more, but for sessions that have not ended; where they all stand is told', async () => {
    await (await open()).append([
      ...of('old', opened, judged, closed('complete')),
      ...of('going', opened, judged),
      ...of('young', opened, judged, closed('denied')),
    ]);
    await sink?.append(of('going', judged));
    const at = (id: string): readonly number[] => sink?.indicesOf(id) ?? [];
    const span = (session: string, isOpen: boolean) => ({ session, first: at(session)[0], last: at(session).at(-1), open: isOpen });
    const spans = (from: number, to: number) => gathered(sink?.spans(from, to));
    expect(await spans(0, sink?.size ?? 0)).toEqual([span('old', false), span('going', true), span('young', false)]);
    const young = at('young')[0] as number;
    expect(await spans(1, young)).toEqual([span('old', false), span('going', true)].filter(({ first }) => (first ?? 0) >= 1));
    await sink?.prune(young);
    const ids = async () => (await sink?.list())?.map(({ id }) => id).sort();
    expect(await ids()).toEqual(['going', 'young']);
    expect(await sink?.events('old')).toBeUndefined();
    await sink?.close();
    await open();
    expect(await ids()).toEqual(['going', 'young']);
  });

  it('goes of many sessions, some at a time', async () => {
    await (await open()).append(Array.from({ length: 1_201 }, (_, n) => of(`s${n}`, opened, judged, answered, closed('complete'))).flat());
    await sink?.sweep();
    expect(inFiles()).toEqual(secrets);
    // Between parts of them others have their turn.
    let [turns, asking] = [0, true];
    const turn = (): void => {
      turns += 1;
      if (asking) setImmediate(turn);
    };
    setImmediate(turn);
    const spans = await gathered(sink?.spans(0, sink.size));
    asking = false;
    expect(new Set(spans.map(({ session }) => session)).size).toBe(1_201);
    expect(spans.every(({ first, last }, i) => last - first === 3 && first > (spans[i - 1]?.last ?? -1))).toBe(true);
    expect(turns).toBeGreaterThanOrEqual(6);
    await sink?.prune(sink.size);
    expect(await sink?.list({ limit: 10 })).toEqual([]);
    expect(await gathered(sink?.spans(0, sink.size))).toEqual([]);
    await sink?.close();
    expect(inFiles()).toEqual([]);
  });
});
