/** A session's end is its last event, and says how many there are: behind all that its emitter has told, or with what is missing. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { encodeEvent } from './event.ts';
import { closedBody, type TapBody } from './schema.ts';
import type { SessionIndex } from './session_index.ts';
import { openSessionIndex } from './session_index_thread.ts';
import { type Attachment, openSink, type Sink } from './sink.ts';
import { testStore } from './store.fixture.ts';

const EMITTER = 'e'.repeat(32);

let files: SimulatedFileSystem;
let now: number;
let sink: Sink;
let sequence: number;
let stream: Attachment | undefined;
beforeEach(async () => {
  files = new SimulatedFileSystem();
  now = 1_700_000_000_000;
  sequence = 0;
  sink = await open();
});
afterEach(() => sink.close());

const open = (index?: SessionIndex): Promise<Sink> =>
  openSink({ ...testStore('/tap', { files, retryMs: 5 }), ...(index && { index }), now: () => now });
const say = (...bodies: TapBody[]): Promise<void> => sink.append(bodies.map((body) => ({ session: 's', target: 'ledger', body })));
const opened: TapBody = {
  kind: 'session_opened',
  protocol: 'postgres',
  identity: 'i',
  identityJson: '{}',
  run: '',
  onBehalfOf: '',
  downstreamAddress: '',
};
const judged = (effect: string): TapBody => ({
  kind: 'request_judged',
  request: 'connect',
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
const command: TapBody = {
  kind: 'command_finished',
  outcome: 'complete',
  tag: 'SELECT 1',
  rows: 1,
  bytes: 10,
  durationMicros: 5,
  masked: [],
  code: '',
  statement: '',
};
const answered: TapBody = { kind: 'hold_answered', approval: 'apr_1', answer: 'revoked', by: 'corp:dana', reason: '' };
const letIn = (): Promise<void> => say(opened, judged('allow'), { kind: 'request_forwarded', emitter: EMITTER });
const attach = (): void => {
  stream = sink.attach(
    { emitter: EMITTER, software: 'test', firstSequence: sequence + 1 },
    { acknowledge: () => {}, close: () => (stream = undefined) },
  );
};
const emit = (body: TapBody, session = 's'): void => {
  sequence += 1;
  const event = { emitter: EMITTER, sequence, timeUnixNanos: 1n, session, target: 'ledger', truncated: [], body };
  stream?.accept(Buffer.from(encodeEvent(event)));
};
const end = (nextSequence: number, emitter = EMITTER): Promise<void> =>
  sink.end({ session: 's', target: 'ledger', outcome: 'complete', emitter, nextSequence });
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));
const pass = async (ms: number): Promise<void> => {
  now += ms;
  await sink.sweep();
  await turn();
};
/** Kind, what the end says, and whether it came late. */
const told = async (): Promise<string[]> =>
  ((await sink.events('s')) ?? []).map(({ event, late }) => {
    const { body } = event ?? {};
    const missing =
      body?.kind === 'session_closed' && body.missingEmitter !== '' ? ` without ${body.missingFrom} to ${body.missingTo}` : '';
    const shown = body?.kind === 'session_closed' ? `${body.outcome} of ${body.events}${missing}` : `${body?.kind}`;
    return late ? `${shown}, late` : shown;
  });
/** However long the disk takes. */
const shows = (...lines: string[]): Promise<void> => expect.poll(told, { timeout: 10_000 }).toEqual([...BEGUN, ...lines]);
const BEGUN = ['session_opened', 'request_judged', 'request_forwarded'];

it('waits for all that its emitter has told, and is the last', async () => {
  await letIn();
  attach();
  emit(command);
  const ended = end(4);
  emit(command, 'other');
  await turn();
  await shows('command_finished');
  emit(command);
  await ended;
  await shows('command_finished', 'command_finished', 'complete of 6');
  expect(await sink.list()).toMatchObject([{ outcome: 'complete', events: 6, late: false }, { id: 'other' }]);
});

it('does not wait for what is there already, nor where nothing was told', async () => {
  await letIn();
  attach();
  emit(command);
  await turn();
  await end(2);
  await shows('command_finished', 'complete of 5');
  await sink.end({ session: 't', target: 'ledger', outcome: 'failed', emitter: 'f'.repeat(32), nextSequence: 1 });
  expect(await sink.events('t')).toMatchObject([{ event: { body: { outcome: 'failed', events: 1, missingEmitter: '' } } }]);
});

it('says after the grace what is missing; what arrives then is kept, and late', async () => {
  await letIn();
  attach();
  emit(command);
  await turn();
  stream?.detach();
  const ended = end(4);
  await pass(29_000);
  await shows('command_finished');
  // Its emitter has been away for the grace, too: the end was told, and is not unknown.
  await pass(2_000);
  await ended;
  await shows('command_finished', 'complete of 5 without 2 to 3');
  await pass(60_000);
  attach();
  emit(command);
  await turn();
  await shows('command_finished', 'complete of 5 without 2 to 3', 'command_finished, late');
  expect(await sink.list()).toMatchObject([{ outcome: 'complete', late: true }]);
});

it('is not lost while the record takes nothing: it is recorded when it does again', async () => {
  await letIn();
  let full = true;
  files.fault = ({ name }) => (full && (name === 'write' || name === 'create') ? { code: 'ENOSPC', kept: 0.3 } : undefined);
  let over = false;
  const ended = end(1).then(() => (over = true));
  await turn();
  await pass(100_000);
  expect(over).toBe(false);
  full = false;
  await expect.poll(() => sink.healthy.ok).toBe(true);
  await pass(1_000);
  await ended;
  await shows('complete of 4');
});

it('is counted anew when the write that it was in has failed', async () => {
  await letIn();
  attach();
  let failed = false;
  files.fault = ({ name }) => {
    if (failed || name !== 'write') return undefined;
    failed = true;
    return { code: 'ENOSPC', kept: 1 };
  };
  emit(command);
  const ended = end(2);
  await expect.poll(() => failed && sink.healthy.ok).toBe(true);
  sequence = 0;
  attach();
  emit(command);
  await ended;
  await shows('command_finished', 'complete of 5');
});

it('counts nothing where it is not known what there is to wait for', async () => {
  await letIn();
  await end(0);
  await end(5, 'no emitter');
  await shows('complete of 0', 'complete of 0, late');
});

it('is recorded with what is there when the sink closes', async () => {
  await letIn();
  attach();
  emit(command);
  const ended = end(3);
  await sink.close();
  await ended;
  sink = await open();
  await shows('command_finished', 'complete of 5 without 2 to 2');
});

describe('of a session whose emitter has let go of events that the record has not', () => {
  /** Event 1 is there, and 2 to 4 will not come. */
  const skip = async (body: TapBody = command): Promise<void> => {
    attach();
    emit(body);
    await turn();
    stream?.detach();
    sequence = 4;
    attach();
    emit(body);
    await turn();
  };

  it('says which, told by the session door', async () => {
    await letIn();
    await skip();
    await end(6);
    await shows('command_finished', 'command_finished', 'complete of 6 without 2 to 4');
  });

  it('says which, and what has not arrived either', async () => {
    await letIn();
    await skip();
    const ended = end(8);
    await pass(31_000);
    await ended;
    await shows('command_finished', 'command_finished', 'complete of 6 without 2 to 7');
  });

  it('says which, told by the filter', async () => {
    await letIn();
    await skip();
    emit(closedBody('complete'));
    await shows('command_finished', 'command_finished', 'complete of 6 without 2 to 4');
  });

  it('says where it is told that events were dropped, which have no sequence', async () => {
    await letIn();
    attach();
    emit(command);
    emit({ kind: 'notice', notice: 'events-dropped', text: '3 events were not recorded: the queue was full' }, '');
    emit(command);
    await turn();
    await end(4);
    await shows('command_finished', 'command_finished', 'complete of 6 without 2 to 2');
  });

  it.each([
    ['the index has followed', true],
    ['the index is not there, and the whole record is read', false],
  ])('says which after a restart as well, where %s', async (_, kept) => {
    const dir = mkdtempSync(join(tmpdir(), 'session-end-'));
    const restart = async (): Promise<void> => {
      await sink.close();
      sink = await open(kept ? openSessionIndex(join(dir, 'sessions.sqlite')) : undefined);
    };
    await restart();
    await say(opened, judged('allow'));
    attach();
    emit({ kind: 'request_forwarded', emitter: '' });
    const sent: TapBody = { kind: 'notice', notice: 'something', text: '' };
    await skip(sent);
    emit({ kind: 'notice', notice: 'events-dropped', text: '3 events were not recorded: the queue was full' }, '');
    await turn();
    await restart();
    attach();
    emit(sent);
    emit(closedBody('complete'));
    await shows('notice', 'notice', 'notice', 'complete of 7 without 3 to 6');
    await sink.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('says nothing of that when the session began behind it, or ended before it', async () => {
    await letIn();
    attach();
    emit(command);
    await turn();
    await end(2);
    sequence = 4;
    attach();
    const [t, f] = ['t', 'f'].map((session) => [opened, judged('allow')].map((body) => ({ session, target: 'ledger', body })));
    await sink.append([...(t ?? []), ...(f ?? [])]);
    emit(command, 't');
    emit(closedBody('complete'), 'f');
    await sink.end({ session: 't', target: 'ledger', outcome: 'complete', emitter: EMITTER, nextSequence: 6 });
    await shows('command_finished', 'complete of 5');
    for (const session of ['t', 'f'])
      await expect
        .poll(async () => (await sink.events(session))?.at(-1)?.event?.body)
        .toMatchObject({ kind: 'session_closed', missingEmitter: '' });
  });
});

it('is counted by the sink, whatever a filter says of it; what follows it is late, but for what others tell', async () => {
  await say(opened, judged('allow'));
  attach();
  emit({ kind: 'request_forwarded', emitter: '' });
  emit({ ...closedBody('complete'), events: 99, missingEmitter: 'x', missingFrom: 1, missingTo: 2 });
  emit(command);
  emit(closedBody('failed'));
  await turn();
  await say(answered, { kind: 'notice', notice: 'legal-hold-added', text: '' });
  await shows('complete of 4', 'command_finished, late', 'failed of 6, late', 'hold_answered', 'notice');
  expect(await sink.list()).toMatchObject([{ outcome: 'complete', late: true }]);
});

it('of a session that was denied, or held and given up, is counted, too; an answer that comes later is not late', async () => {
  await say(opened, judged('deny'), closedBody('denied'));
  expect(await told()).toEqual(['session_opened', 'request_judged', 'denied of 3']);
  await sink.append([opened, judged('hold'), closedBody('pending'), answered].map((body) => ({ session: 'held', target: 'demo', body })));
  expect((await sink.events('held'))?.map(({ late }) => late)).toEqual([false, false, false, false]);
  expect(await sink.list()).toMatchObject([{ id: 'held', late: false }, { id: 's' }]);
});
