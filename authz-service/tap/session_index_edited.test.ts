/** The index of sessions is a file that anybody on the machine may have written: what it says of a session's place in the record is not signed unless the record says so. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { encodeEvent } from './event.ts';
import { closedBody, type TapBody } from './schema.ts';
import { SqliteIndex } from './session_index.ts';
import { openSessionIndex } from './session_index_thread.ts';
import { openSink, type Sink } from './sink.ts';
import { eventsIn, testStore } from './store.fixture.ts';

const DIR = '/tap';
const EMITTER = 'e'.repeat(32);
let dir: string;
let files: SimulatedFileSystem;
let sink: Sink;
let problems: string[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'session-edited-'));
  files = new SimulatedFileSystem();
  problems = [];
  await open();
});
afterEach(async () => {
  await sink.close();
  rmSync(dir, { recursive: true, force: true });
});

const path = (): string => join(dir, 'sessions.sqlite');
const open = async (): Promise<void> => {
  sink = await openSink({
    openStore: testStore(DIR, { files }).openStore,
    index: openSessionIndex(path()),
    onProblem: ({ message }) => problems.push(message),
  });
};
const notice = (n: number): TapBody => ({ kind: 'notice', notice: 'something', text: `${n}` });
const opened: TapBody = {
  kind: 'session_opened',
  protocol: 'http',
  identity: 'corp:agent',
  identityJson: '{}',
  run: '',
  onBehalfOf: '',
  downstreamAddress: '',
};
const tell = (session: string, ...bodies: TapBody[]): Promise<void> =>
  sink.append(bodies.map((body) => ({ session, target: 'demo', body })));

type Edit = (index: SqliteIndex, database: DatabaseSync) => void;
const edits: readonly (readonly [string, Edit])[] = [
  [
    'lacks the last events of the session',
    (index) => {
      const session = index.get('ses_a');
      session?.indices.splice(3);
      index.apply(session ? [session] : [], [], index.progress);
    },
  ],
  [
    'lacks the last events of the session, and says that the session was seen to begin',
    (index, database) => {
      const session = index.get('ses_a');
      session?.indices.splice(3);
      index.apply(session ? [session] : [], [], index.progress);
      database.exec("UPDATE sessions SET told = json_set(told, '$.begun', json('true')) WHERE id = 'ses_a'");
    },
  ],
  [
    'has an event of another session as its last',
    (index) => {
      const session = index.get('ses_a');
      session?.indices.splice(4, 1, 590);
      index.apply(session ? [session] : [], [], index.progress);
    },
  ],
  [
    'has another number of events before the last',
    (index) => {
      const session = index.get('ses_a');
      session?.indices.splice(2, 1);
      index.apply(session ? [session] : [], [], index.progress);
    },
  ],
  ['does not have it', (_, database) => database.exec("DELETE FROM sessions WHERE id = 'ses_a'")],
  [
    'has it under another name',
    (_, database) => database.exec("UPDATE sessions SET id = 'ses_z', told = replace(told, 'ses_a', 'ses_z') WHERE id = 'ses_a'"),
  ],
];
const edited = (edit: Edit): void => {
  const [index, database] = [new SqliteIndex(path()), new DatabaseSync(path())];
  edit(index, database);
  database.close();
  index.close();
};

/** Some hundred events in bundles, and a part of one; `ses_a` has five of them. */
const grow = async (ended: boolean): Promise<void> => {
  await tell('ses_a', opened, notice(1));
  for (let n = 0; n < 295; n += 1)
    if (n === 150 || n === 260) await tell('ses_a', notice(n));
    else await tell(`ses_${n}`, opened, closedBody('complete'));
  await tell('ses_a', ended ? closedBody('complete') : notice(5));
  await sink.sweep();
  await sink.close();
};
const chain = async (): Promise<number> => (await eventsIn(DIR, files.copy())).filter(({ session }) => session === 'ses_a').length;

describe.each([
  ['that has ended', true],
  ['that is open', false],
])('an index that was edited, of a session %s,', (_, ended) => {
  it.each(edits)('and %s: the session is gone on with as the record has it, and the index is made again', async (__, edit) => {
    await grow(ended);
    edited(edit);
    await open();
    await tell('ses_a', notice(6));
    await tell('ses_a', notice(7));
    // `eventsIn` finds every chain whole, or throws.
    // One that is open is ended at the start.
    expect(await chain()).toBeGreaterThanOrEqual(7);
    expect(problems).toContainEqual(expect.stringMatching(/^the index of sessions has been changed.* of session ses_a it has/));
    await sink.close();
    problems = [];
    await open();
    expect(sink.indicesOf('ses_a')).toHaveLength(await chain());
    expect((await sink.list({ limit: 1000 })).find(({ id }) => id === 'ses_a')).toMatchObject({ identity: 'corp:agent', state: 'closed' });
    expect(problems).toEqual([]);
  });

  it('and says that more of the record is in it than is: chains stay whole', async () => {
    await grow(ended);
    await open();
    const index = new SqliteIndex(path());
    const { applied } = index.progress;
    await tell('ses_a', notice(6));
    // The process is killed before the index has followed, and the index says that it had.
    files = files.afterKill();
    await sink.close();
    index.apply([], [], { applied: applied + 600, remembered: undefined });
    index.close();
    await open();
    await tell('ses_a', notice(7));
    expect(await chain()).toBeGreaterThanOrEqual(7);
  });
});

it('an event of a filter, and what comes behind it, waits for the look at the record, in order', async () => {
  await grow(true);
  edited(edits[0]?.[1] as Edit);
  await open();
  let acknowledged = 0;
  const stream = sink.attach(
    { emitter: EMITTER, software: 'test', firstSequence: 1 },
    {
      acknowledge: (sequence) => {
        acknowledged = sequence;
      },
      close: (error) => problems.push(`closed: ${error.message}`),
    },
  );
  for (const [i, session] of ['ses_1', 'ses_a', 'ses_2', 'ses_a', 'ses_none', 'ses_a'].entries())
    stream.accept(
      Buffer.from(
        encodeEvent({ emitter: EMITTER, sequence: i + 1, timeUnixNanos: 1n, session, target: '', truncated: [], body: notice(i) }),
      ),
    );
  expect(stream.waiting).toBeGreaterThan(0);
  await expect.poll(() => acknowledged, { timeout: 10_000 }).toBe(6);
  expect(stream.waiting).toBe(0);
  expect(sink.metrics.waitingBytes).toBe(0);
  expect(await chain()).toBe(8);
  expect(problems).toEqual([expect.stringContaining('of session ses_a it has event 3 in leaf')]);
});

it('what cannot be looked up is not recorded, and streams that wait for it end', async () => {
  await grow(true);
  let broken = true;
  const { openStore } = testStore(DIR, { files });
  sink = await openSink({
    index: openSessionIndex(path()),
    openStore: async (known) => {
      const store = await openStore(known);
      const newest = store.newest.bind(store);
      store.newest = (of) => (broken ? Promise.reject(new Error('EIO')) : newest(of));
      return store;
    },
  });
  let closed = '';
  const stream = sink.attach(
    { emitter: EMITTER, software: 'test', firstSequence: 1 },
    {
      acknowledge: () => {},
      close: ({ code }) => {
        closed = code;
      },
    },
  );
  stream.accept(
    Buffer.from(
      encodeEvent({ emitter: EMITTER, sequence: 1, timeUnixNanos: 1n, session: 'ses_a', target: '', truncated: [], body: notice(1) }),
    ),
  );
  await expect(tell('ses_a', notice(1))).rejects.toMatchObject({ code: 'unavailable', message: 'the record cannot be read: EIO' });
  await expect.poll(() => closed, { timeout: 10_000 }).toBe('unavailable');
  broken = false;
  await tell('ses_a', notice(1));
  expect(await chain()).toBe(6);
});

describe('an index whose emitters were edited', () => {
  const event = (sequence: number, session = 'ses_f'): Buffer =>
    Buffer.from(encodeEvent({ emitter: EMITTER, sequence, timeUnixNanos: 1n, session, target: '', truncated: [], body: notice(sequence) }));
  let acknowledged: number[];
  const attach = (firstSequence: number) => {
    acknowledged = [];
    return sink.attach(
      { emitter: EMITTER, software: 'test', firstSequence },
      { acknowledge: (sequence) => acknowledged.push(sequence), close: (error) => problems.push(`closed: ${error.message}`) },
    );
  };
  const sequences = async (): Promise<number[]> =>
    (await eventsIn(DIR, files.copy())).filter(({ emitter }) => emitter === EMITTER).map(({ sequence }) => sequence);
  const edit = (sequence: number): void =>
    edited((_, database) => database.prepare('INSERT OR REPLACE INTO emitters VALUES (?, ?)').run(EMITTER, sequence));

  /** Three events of the emitter, and some hundred others behind them. */
  const hear = async (): Promise<void> => {
    const stream = attach(1);
    for (let n = 1; n <= 3; n += 1) stream.accept(event(n));
    await expect.poll(() => acknowledged.at(-1), { timeout: 10_000 }).toBe(3);
    stream.detach();
    await grow(true);
  };

  it.each([1_000_000, 5, 1])('so that it has %i as the last: what is acknowledged is recorded, once', async (sequence) => {
    await hear();
    edit(sequence);
    await open();
    // The answer to event 3 was lost.
    const stream = attach(3);
    for (let n = 3; n <= 5; n += 1) stream.accept(event(n));
    expect(acknowledged).toEqual([]);
    expect(stream.waiting).toBeGreaterThan(0);
    await expect.poll(() => acknowledged.at(-1), { timeout: 10_000 }).toBe(5);
    expect(acknowledged[0]).toBe(3);
    expect(await sequences()).toEqual([1, 2, 3, 4, 5]);
    expect([stream.waiting, sink.metrics.waitingBytes]).toEqual([0, 0]);
    expect(problems).toEqual([
      expect.stringMatching(
        `^the index of sessions has been changed.* of emitter ${EMITTER} it has event ${sequence} as the last, and the record event 3`,
      ),
    ]);
    await sink.close();
    problems = [];
    await open();
    attach(6);
    expect(acknowledged).toEqual([5]);
    expect(problems).toEqual([]);
  });

  it('so that it has one that was never heard of: nothing is acknowledged that is not there', async () => {
    await grow(true);
    edit(7);
    await open();
    const stream = attach(1);
    for (let n = 1; n <= 2; n += 1) stream.accept(event(n));
    await expect.poll(() => acknowledged.at(-1), { timeout: 10_000 }).toBe(2);
    expect(acknowledged[0]).toBe(0);
    expect(await sequences()).toEqual([1, 2]);
    expect(problems).toEqual([expect.stringContaining('it has event 7 as the last, and the record nothing')]);
  });

  it('so that it lacks the emitter: nothing is recorded twice', async () => {
    await hear();
    edited((_, database) => database.exec('DELETE FROM emitters'));
    await open();
    const stream = attach(3);
    stream.accept(event(3));
    stream.accept(event(4));
    await expect.poll(() => acknowledged.at(-1), { timeout: 10_000 }).toBe(4);
    expect(await sequences()).toEqual([1, 2, 3, 4]);
  });

  it('an end does not take for recorded what the index alone has', async () => {
    await hear();
    edit(5);
    await open();
    const ended = sink.end({ session: 'ses_f', target: 'demo', outcome: 'complete', emitter: EMITTER, nextSequence: 6 });
    await expect.poll(() => problems.length, { timeout: 10_000 }).toBe(1);
    const stream = attach(4);
    for (let n = 4; n <= 5; n += 1) stream.accept(event(n));
    await ended;
    expect((await sink.events('ses_f'))?.at(-1)?.event?.body).toMatchObject({ kind: 'session_closed', missingEmitter: '' });
    expect(await sequences()).toEqual([1, 2, 3, 4, 5]);
  });

  it('what comes while the index is being told that it is distrusted waits for the answer to the hello', async () => {
    await hear();
    edit(1);
    const index = openSessionIndex(path());
    const distrust = index.distrust.bind(index);
    index.distrust = () => sleep(100).then(distrust);
    sink = await openSink({ openStore: testStore(DIR, { files }).openStore, index, onProblem: ({ message }) => problems.push(message) });
    const stream = attach(6);
    await expect.poll(() => problems.length, { timeout: 10_000, interval: 5 }).toBe(1);
    stream.accept(event(6));
    await expect.poll(() => acknowledged.at(-1), { timeout: 10_000 }).toBe(6);
    expect(problems.slice(1)).toEqual([expect.stringContaining(`emitter ${EMITTER} goes on with event 6; of its events the record`)]);
    expect(await sequences()).toEqual([1, 2, 3, 6]);
  });

  /** Opens the sink with the index as it is, and as where the newest 65,536 leaves have nothing of the emitter. */
  const openFarBack = async (options: { readonly graceMs?: number } = {}): Promise<void> => {
    const { openStore } = testStore(DIR, { files });
    sink = await openSink({
      ...options,
      index: openSessionIndex(path()),
      onProblem: ({ message }) => problems.push(message),
      openStore: async (known) => {
        const store = await openStore(known);
        const backwards = store.tellersBackwards.bind(store);
        store.tellersBackwards = async function* (before) {
          yield { first: 0, tellers: [] };
          yield* backwards(before);
        };
        return store;
      },
    });
  };

  it('what is taken from it of an emitter that nothing new is of says nothing of what is not offered any more: an end names it', async () => {
    await hear();
    edit(10);
    await openFarBack({ graceMs: 100 });
    const stream = attach(11);
    await expect.poll(() => acknowledged.at(-1), { timeout: 10_000 }).toBe(10);
    const ended = sink.end({ session: 'ses_f', target: 'demo', outcome: 'complete', emitter: EMITTER, nextSequence: 8 });
    await sleep(200);
    await sink.sweep();
    await ended;
    expect((await sink.events('ses_f'))?.at(-1)?.event?.body).toMatchObject({ missingEmitter: EMITTER, missingFrom: 4, missingTo: 7 });
    expect(problems).toContainEqual(expect.stringContaining('it has event 10 as the last, and the record event 3'));
    // It goes on behind a gap, as it is told by its next stream.
    expect(() => stream.accept(event(11))).toThrow('event 11 after event 3');
    stream.detach();
    attach(11).accept(event(11));
    await expect.poll(sequences, { timeout: 10_000 }).toEqual([1, 2, 3, 11]);
  });

  it.each([1, 2, 9])(
    'so that it has %i as the last of what stands far back: what is missing before what is offered is told as the record has it',
    async (edited) => {
      await hear();
      edit(edited);
      await openFarBack();
      const stream = attach(11);
      stream.accept(event(11));
      await expect.poll(sequences, { timeout: 10_000 }).toEqual([1, 2, 3, 11]);
      expect(problems).toEqual([
        expect.stringContaining(`it has event ${edited} as the last, and the record event 3`),
        expect.stringContaining(`emitter ${EMITTER} goes on with event 11; of its events the record is known to have those up to 3 only`),
      ]);
    },
  );

  it('what cannot be looked up is not acknowledged, and the stream ends', async () => {
    await hear();
    const { openStore } = testStore(DIR, { files });
    sink = await openSink({
      index: openSessionIndex(path()),
      openStore: async (known) => {
        const store = await openStore(known);
        // biome-ignore lint/correctness/useYield: it fails first
        store.tellersBackwards = async function* () {
          throw new Error('EIO');
        };
        return store;
      },
    });
    const stream = attach(3);
    stream.accept(event(3));
    await expect.poll(() => problems, { timeout: 10_000 }).toEqual(['closed: the record cannot be read: EIO']);
    expect(acknowledged).toEqual([]);
    expect([stream.waiting, sink.metrics.waitingBytes]).toEqual([0, 0]);
  });
});
