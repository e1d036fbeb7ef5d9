/** Sessions that carry commands: who tells of them, what is shown of them, how they end when nobody tells. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { encodeEvent } from './event.ts';
import type { TapBody } from './schema.ts';
import type { SessionFilter } from './sessions.ts';
import { openSink, type Sink } from './sink.ts';
import { testStore } from './store.fixture.ts';

const EMITTER = 'e'.repeat(32);

let files: SimulatedFileSystem;
let now: number;
let sink: Sink;
beforeEach(async () => {
  files = new SimulatedFileSystem();
  now = 1_700_000_000_000;
  sink = await open();
});
afterEach(() => sink.close());

const open = (): Promise<Sink> => openSink({ ...testStore('/tap', { files, retryMs: 5 }), now: () => now });
const say = (body: TapBody, command?: number): Promise<void> =>
  sink.append([{ session: 's', target: 'ledger', ...(command !== undefined && { command }), body }]);
const judged = (request: string, effect: string): TapBody => ({
  kind: 'request_judged',
  request,
  effect,
  rule: effect,
  reason: '',
  policyRevision: '',
  maskedInputJson: '',
  decisionJson: '',
  approval: '',
  identityMicros: 0,
  policyMicros: 0,
  fingerprint: '',
  statementFingerprint: '',
});

/** A session that is open, judged and let in to its target. */
async function letIn(): Promise<void> {
  await say({
    kind: 'session_opened',
    protocol: 'postgres',
    identity: 'i',
    identityJson: '{}',
    run: '',
    onBehalfOf: '',
    downstreamAddress: '',
  });
  await say(judged('connect', 'allow'));
  await say({ kind: 'request_forwarded', emitter: EMITTER });
}
const attach = () => sink.attach({ emitter: EMITTER, software: 'test', firstSequence: 1 }, { acknowledge: () => {}, close: () => {} });
const ends = async (): Promise<string[]> =>
  (await sink.events('s'))?.flatMap(({ event }) => (event?.body.kind === 'session_closed' ? [event.body.outcome] : [])) ?? [];
async function pass(ms: number): Promise<void> {
  now += ms;
  await sink.sweep();
}

it('are shown by the strictest of their commands, the last of those, and by how many there were', async () => {
  await letIn();
  await say(judged('select 1', 'allow'), 1);
  expect(await sink.list()).toMatchObject([{ request: 'select 1', effect: 'allow', commands: 1 }]);
  await say(judged('drop table a', 'deny'), 2);
  await say(judged('drop table b', 'deny'), 3);
  await say(judged('select 2', 'allow'), 4);
  expect(await sink.list()).toMatchObject([{ request: 'drop table b', effect: 'deny', commands: 4, state: 'open' }]);
  expect((await sink.events('s'))?.map(({ event }) => event?.command)).toEqual([undefined, undefined, undefined, 1, 2, 3, 4]);
});

it('are held while one of their commands is, and open again', async () => {
  await letIn();
  await say(judged('drop', 'hold'), 1);
  expect(await sink.list({ state: 'held' })).toHaveLength(1);
  await say({ kind: 'hold_answered', approval: 'a', answer: 'denied', by: '', reason: '' }, 1);
  expect(await sink.list({ state: 'open' })).toHaveLength(1);
});

it('are found by each judgement, each answer and each statement, and show what was stopped before what was approved later', async () => {
  const held = async (request: string, command: number, approval: string, answer: string): Promise<void> => {
    await say({ ...judged(request, 'hold'), statementFingerprint: `print-of-${approval}` } as TapBody, command);
    await say({ kind: 'request_held', approval, approvers: [], quorum: 1, expiresUnixNanos: 0n, rule: 'hold', reason: '' }, command);
    await say({ kind: 'hold_answered', approval, answer, by: 'dana', reason: '' }, command);
  };
  const found = async (filter: SessionFilter): Promise<number> => (await sink.list(filter)).length;
  await letIn();
  await held('create table x', 1, 'apr_1', 'approved');
  expect(await sink.list()).toMatchObject([
    { request: 'create table x', effect: 'hold', answer: 'approved', approval: 'apr_1', stopped: 0 },
  ]);
  expect([await found({ answer: 'approved' }), await found({ answer: 'denied' }), await found({ effect: 'deny' })]).toEqual([1, 0, 0]);
  await held('drop table customers', 2, 'apr_2', 'denied');
  await held('create table y', 3, 'apr_3', 'approved');
  const shown = { request: 'drop table customers', effect: 'hold', answer: 'denied', approval: 'apr_2', stopped: 1 };
  expect(await sink.list()).toMatchObject([shown]);
  expect([await found({ answer: 'approved' }), await found({ answer: 'denied' })]).toEqual([1, 1]);
  await say(judged('grant all', 'deny'), 4);
  expect(await sink.list()).toMatchObject([{ request: 'grant all', effect: 'deny', answer: '', approval: '', stopped: 2 }]);
  expect([await found({ effect: 'hold' }), await found({ effect: 'deny' }), await found({ effect: 'allow' })]).toEqual([1, 1, 1]);
  expect([await found({ statement: 'print-of-apr_2' }), await found({ statement: 'another' })]).toEqual([1, 0]);
  expect(await found({ effect: 'hold', answer: 'expired' })).toBe(0);
});

it('are found by any statement where there were too many to keep each', async () => {
  await letIn();
  for (let i = 0; i < 1001; i += 1) await say({ ...judged(`select ${i}`, 'allow'), statementFingerprint: `print-${i}` } as TapBody, i + 1);
  expect(await sink.list({ statement: 'print-999' })).toHaveLength(1);
  expect(await sink.list({ statement: 'print-1000' })).toHaveLength(1);
  expect(await sink.list({ statement: 'never-seen' })).toHaveLength(1);
});

it('count what was masked in each', async () => {
  await letIn();
  const stream = attach();
  const body: TapBody = {
    kind: 'command_finished',
    outcome: 'complete',
    tag: '',
    rows: 1,
    bytes: 1,
    durationMicros: 1,
    masked: [{ rule: 'r', count: 3 }],
    code: '',
    statement: '',
  };
  for (const sequence of [1, 2])
    stream.accept(
      Buffer.from(
        encodeEvent({
          emitter: EMITTER,
          sequence,
          timeUnixNanos: 1n,
          session: 's',
          target: 'ledger',
          truncated: [],
          command: sequence,
          body,
        }),
      ),
    );
  for (let i = 0; i < 200 && (await sink.list())[0]?.masked !== 6; i += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(await sink.list()).toMatchObject([{ masked: 6 }]);
});

it('stay open however long they are idle while their emitter is there, and end as unknown when it is not', async () => {
  await letIn();
  expect(sink.serves(EMITTER)).toBe(false);
  const stream = attach();
  expect(sink.serves(EMITTER)).toBe(true);
  await pass(86_400_000);
  expect(await ends()).toEqual([]);
  stream.detach();
  await pass(29_999);
  expect([await ends(), sink.serves(EMITTER)]).toEqual([[], true]);
  await pass(1);
  expect([await ends(), sink.serves(EMITTER)]).toEqual([['unknown'], false]);
});

it('are not ended before an emitter that was not heard of yet has had the grace', async () => {
  await letIn();
  await pass(29_999);
  expect(await ends()).toEqual([]);
  await pass(1);
  expect(await ends()).toEqual(['unknown']);
});

it('end with the service, which forgets them: what they were doing may have been done', async () => {
  await letIn();
  attach();
  files = files.afterKill();
  sink = await open();
  expect(await ends()).toEqual(['unknown']);
});

it('have the text that ran masked before anything keeps it, and none of it where nobody masks', async () => {
  const finished = (sequence: number, statement: string): Buffer =>
    Buffer.from(
      encodeEvent({
        emitter: EMITTER,
        sequence,
        timeUnixNanos: 1n,
        session: 's',
        target: 'ledger',
        truncated: [],
        command: 1,
        body: {
          kind: 'command_finished',
          outcome: 'complete',
          tag: '',
          rows: 1,
          bytes: 1,
          durationMicros: 1,
          masked: [],
          code: '',
          statement,
        },
      }),
    );
  const texts = async (): Promise<string[]> =>
    (await sink.events('s'))?.flatMap(({ event }) => (event?.body.kind === 'command_finished' ? [event.body.statement] : [])) ?? [];
  await letIn();
  attach().accept(finished(1, 'select 078051120'));
  await sink.close();
  const maskText = (text: string): string => text.replaceAll('078051120', '***');
  sink = await openSink({ ...testStore('/tap', { files, retryMs: 5 }), now: () => now, maskText });
  const stream = attach();
  stream.accept(finished(2, 'select 078051120'));
  stream.accept(finished(3, 'select 1'));
  stream.accept(finished(4, ''));
  await expect.poll(texts).toEqual(['', 'select ***', 'select 1', '']);
});

it('media types of recorded payload are masked as statements are', async () => {
  await sink.close();
  sink = await openSink({
    ...testStore('/tap', { files, retryMs: 5 }),
    now: () => now,
    maskText: (text) => text.replaceAll('078051120', '***'),
  });
  await letIn();
  const chunk = {
    kind: 'payload_chunk',
    direction: 'request',
    offset: 0,
    data: Buffer.from('078051120'),
    last: true,
    truncated: false,
    contentType: 'text/plain; x=078051120',
    contentEncoding: 'x-078051120',
    reason: '',
  } as const;
  attach().accept(
    Buffer.from(
      encodeEvent({ emitter: EMITTER, sequence: 1, timeUnixNanos: 1n, session: 's', target: 'ledger', truncated: [], body: chunk }),
    ),
  );
  const chunks = async () =>
    (await sink.events('s'))?.flatMap(({ event }) => (event?.body.kind === 'payload_chunk' ? [event.body] : [])) ?? [];
  // The payload itself was masked by the filter: the sink leaves it as it is.
  await expect.poll(chunks).toEqual([{ ...chunk, data: chunk.data, contentType: 'text/plain; x=***', contentEncoding: 'x-***' }]);
});

it('a session is recalled by what opened it and what was judged in it last, before an event', async () => {
  await letIn();
  const commands = Array.from({ length: 3000 }, (_, n) => ({
    session: 's',
    target: 'ledger',
    command: n + 1,
    body: judged('SELECT', 'allow'),
  }));
  await sink.append(commands);
  const recalled: number[] = [];
  const kinds = new Set<number>();
  for await (const { index, about } of sink.recall('s', 2900)) {
    recalled.push(index);
    kinds.add(about.kind);
  }
  expect(kinds).toEqual(new Set([10, 11]));
  expect(recalled.slice(0, 3)).toEqual([1, 2, 4]);
  expect([recalled.at(-1), recalled.length]).toEqual([2899, 19 + 2000]);
  expect((await sink.recall('never', 99).next()).done).toBe(true);
});
