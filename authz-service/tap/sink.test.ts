import { describe, expect, it } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { SERVICE_NOTICES } from '../log/notices.ts';
import { decodeEvent, encodeEvent } from './event.ts';
import { closedBody, type TapBody, type TapEvent } from './schema.ts';
import { type Attachment, type OwnEvent, openSink, type Sink, SinkError, type SinkOptions } from './sink.ts';
import { eventsIn, openTestStore, testStore } from './store.fixture.ts';

const DIR = '/tap';
const A = 'a'.repeat(32);
const B = 'b'.repeat(32);

const opened: TapBody = {
  kind: 'session_opened',
  protocol: 'http',
  identity: 'corp:agent',
  identityJson: '{}',
  run: 'run-1',
  onBehalfOf: '',
  downstreamAddress: '',
};
const judged = (effect: string, approval = ''): TapBody => ({
  kind: 'request_judged',
  request: 'GET /customers/7',
  effect,
  rule: 'read-by-grant',
  reason: '',
  policyRevision: '',
  maskedInputJson: '{}',
  decisionJson: '{}',
  approval,
  identityMicros: 0,
  policyMicros: 0,
  fingerprint: '',
  statementFingerprint: '',
});
const held: TapBody = { kind: 'request_held', approval: 'apr_1', approvers: [], quorum: 1, expiresUnixNanos: 0n, rule: '', reason: '' };
const answered = (answer: string): TapBody => ({ kind: 'hold_answered', approval: 'apr_1', answer, by: 'corp:dana', reason: '' });
const forwarded: TapBody = { kind: 'request_forwarded', emitter: '' };
const finished: TapBody = {
  kind: 'response_finished',
  outcome: 'complete',
  status: 200,
  requestBytes: 0,
  responseBytes: 10,
  durationMicros: 5,
  firstByteMicros: 1,
  masked: [{ rule: 'ssn', count: 2 }],
  reason: '',
};
const closed = (outcome: string): TapBody => closedBody(outcome);

const of = (session: string, ...bodies: TapBody[]): OwnEvent[] => bodies.map((body) => ({ session, target: 'demo', body }));

/** A disk, a clock that the test moves, and sinks opened over them. */
class World {
  files = new SimulatedFileSystem();
  now = 1_700_000_000_000;
  problems: Error[] = [];

  open(options: Partial<SinkOptions> = {}): Promise<Sink> {
    return openSink({
      ...testStore(DIR, { files: this.files, retryMs: 5 }),
      now: () => this.now,
      onProblem: (error) => this.problems.push(error),
      ...options,
    });
  }

  kill(): void {
    this.files = this.files.afterKill();
  }

  record(): Promise<TapEvent[]> {
    return eventsIn(DIR, this.files.copy());
  }

  async ends(session: string): Promise<string[]> {
    return (await this.record()).flatMap((event) =>
      event.session === session && event.body.kind === 'session_closed' ? [event.body.outcome] : [],
    );
  }
}

/** An emitter as a filter is one: it keeps what is not acknowledged and sends it again. */
class FilterEmitter {
  readonly id: string;
  readonly unacknowledged: TapEvent[] = [];
  acknowledged = 0;
  sequence = 0;
  closedBy: SinkError | undefined;
  stream: Attachment | undefined;

  constructor(id: string) {
    this.id = id;
  }

  attach(sink: Sink): void {
    this.closedBy = undefined;
    // Sent before the sink's first word arrives.
    const again = [...this.unacknowledged];
    this.stream = sink.attach(
      { emitter: this.id, software: 'test', firstSequence: this.acknowledged + 1 },
      {
        acknowledge: (sequence) => {
          this.acknowledged = Math.max(this.acknowledged, sequence);
          while (this.unacknowledged[0] !== undefined && this.unacknowledged[0].sequence <= sequence) this.unacknowledged.shift();
        },
        close: (error) => {
          this.closedBy = error;
          this.detach();
        },
      },
    );
    for (const event of again) this.stream.accept(Buffer.from(encodeEvent(event)));
  }

  detach(): void {
    this.stream?.detach();
    this.stream = undefined;
  }

  emit(session: string, ...bodies: TapBody[]): void {
    for (const body of bodies) {
      this.sequence += 1;
      const event: TapEvent = {
        emitter: this.id,
        sequence: this.sequence,
        timeUnixNanos: 1n,
        session,
        target: 'demo',
        truncated: [],
        body,
      };
      this.unacknowledged.push(event);
      this.stream?.accept(Buffer.from(encodeEvent(event)));
    }
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 200 && this.unacknowledged.length > 0; i += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(this.unacknowledged).toEqual([]);
  }
}

const codeOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
    return 'none';
  } catch (error) {
    return error instanceof SinkError ? error.code : `not coded: ${error}`;
  }
};

describe('what the service tells', () => {
  it('is durable when append resolves, in one write for all that is told at once', async () => {
    const world = new World();
    const sink = await world.open();
    const writes = sink.metrics.writes;
    await Promise.all(Array.from({ length: 10 }, (_, i) => sink.append(of(`ses_${i}`, opened, judged('deny'), closed('denied')))));
    expect(sink.metrics.writes - writes).toBe(1);
    expect(sink.metrics).toMatchObject({ events: 31, waitingBytes: 0, openSessions: 0 });
    const own = (await world.record()).filter(({ emitter }) => emitter === sink.emitter);
    expect(own.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 31 }, (_, i) => i + 1));
  });

  it('is refused, not promised, while the disk is full, and sequences have no gap after it', async () => {
    const world = new World();
    const sink = await world.open();
    let full = true;
    world.files.fault = ({ name }) => (full && (name === 'write' || name === 'create') ? { code: 'ENOSPC', kept: 0.7 } : undefined);
    expect(await Promise.all([1, 2].map(() => codeOf(() => sink.append(of('lost', opened)))))).toEqual(['unavailable', 'unavailable']);
    expect(sink.healthy).toMatchObject({ ok: false, reason: expect.stringContaining('full') });
    expect(await codeOf(() => sink.append(of('lost', opened)))).toBe('unavailable');
    expect(await codeOf(() => new FilterEmitter(A).attach(sink))).toBe('unavailable');
    full = false;
    await expect.poll(() => sink.healthy.ok).toBe(true);
    await sink.append(of('kept', opened));
    const record = await world.record();
    expect(record.map(({ sequence, session }) => [sequence, session])).toEqual([
      [1, ''],
      [2, 'kept'],
    ]);
    expect(await sink.list()).toMatchObject([{ id: 'kept' }]);
    expect(world.problems).not.toEqual([]);
  });

  it('can be read again at the next start, whatever was told', async () => {
    const world = new World();
    const sink = await world.open();
    for (const session of ['', 'a b', 'a\n', 'x'.repeat(129), 'é'])
      expect(await codeOf(() => sink.append([...of('fine', opened), ...of(session, opened)]))).toBe('malformed');
    for (const wrong of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 40, 2 ** 60])
      await sink.append(
        of('s', { ...judged('deny'), identityMicros: wrong } as TapBody, { ...finished, status: wrong, durationMicros: wrong } as TapBody),
      );
    await sink.append([
      { session: 's', target: 'é\ud800'.repeat(50_000), body: { ...held, expiresUnixNanos: -1n } as TapBody, timeUnixNanos: -5n },
    ]);
    const told = await world.record();
    expect(told).toHaveLength(14);
    expect(await sink.list()).toMatchObject([{ id: 's' }]);
    world.kill();
    expect(await (await world.open()).list()).toMatchObject([{ id: 's', events: 14 }]);
  });

  it('refuses after it was closed, and closes once', async () => {
    const sink = await new World().open();
    await sink.close();
    await sink.close();
    expect(await codeOf(() => sink.append(of('s', opened)))).toBe('unavailable');
    expect(sink.healthy.ok).toBe(false);
  });

  it('has a lag: from when it happened to when it was durable', async () => {
    const world = new World();
    const lags: number[] = [];
    const sink = await world.open({ onLag: (seconds) => lags.push(seconds) });
    await sink.append([{ session: 's', target: '', body: opened, timeUnixNanos: BigInt(world.now - 2500) * 1_000_000n }]);
    expect(lags.at(-1)).toBeCloseTo(2.5, 3);
    expect(sink.metrics.lastLag).toBeCloseTo(2.5, 3);
  });

  it('marks in the leaf what the service itself tells, and nothing of a filter, whatever that says', async () => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    emitter.emit('', { kind: 'notice', notice: 'tap-opened', text: 'the record is open' });
    emitter.emit('s', opened);
    await sink.append([
      ...of('s', judged('allow')),
      { session: '', target: '', body: { kind: 'notice', notice: 'leaves-pruned', text: '' } },
    ]);
    const own: [string, boolean][] = [];
    for await (const { about } of sink.read(0)) own.push([about.emitter === sink.emitter ? 'service' : 'filter', about.own]);
    expect(own.sort()).toEqual([
      ['filter', false],
      ['filter', false],
      ['service', true],
      ['service', true],
      ['service', true],
    ]);
    await sink.close();
  });

  it('does not open over a record that it does not understand', async () => {
    const world = new World();
    const store = await openTestStore(DIR, world.files);
    const about = { emitter: A, sequence: 1, timeUnixNanos: 0n, session: 's', target: '', truncated: [], body: opened };
    store.stage(Buffer.from('not an event'), about, false);
    await store.close();
    await expect(world.open()).rejects.toThrow(/record 0 of the tap/);
  });
});

describe('what emitters tell', () => {
  it('is acknowledged when it is durable', async () => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    emitter.emit('s', opened, forwarded);
    expect(emitter.acknowledged).toBe(0);
    expect(emitter.stream?.waiting).toBeGreaterThan(0);
    await emitter.settle();
    expect(emitter.acknowledged).toBe(2);
    expect(emitter.stream?.waiting).toBe(0);
    expect((await world.record()).filter(({ emitter: id }) => id === A).map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it('stands in the record once, whatever is sent again: after a reconnect, a restart, a failed write, by two streams at once', async () => {
    const world = new World();
    let sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    emitter.emit('s1', opened);
    // The stream breaks before the acknowledgement: sent again while the first is still on its way to the disk.
    emitter.detach();
    emitter.attach(sink);
    emitter.emit('s2', opened);
    const second = new FilterEmitter(A);
    second.sequence = 2;
    second.unacknowledged.push(...emitter.unacknowledged);
    second.attach(sink);
    expect(emitter.closedBy?.code).toBe('superseded');
    await second.settle();
    // The service is killed with events on their way.
    second.emit('s3', opened);
    world.kill();
    sink = await world.open();
    second.detach();
    second.attach(sink);
    await second.settle();
    // The acknowledgement is lost altogether: everything comes again.
    const forgetful = new FilterEmitter(A);
    forgetful.emit('s1', opened);
    forgetful.emit('s2', opened);
    forgetful.emit('s3', opened);
    forgetful.emit('s4', opened);
    forgetful.attach(sink);
    await forgetful.settle();
    expect(sink.metrics.duplicates).toBeGreaterThanOrEqual(3);
    let full = true;
    world.files.fault = ({ name }) => (full && name === 'write' ? { code: 'ENOSPC', kept: 1 } : undefined);
    forgetful.emit('s5', opened);
    await expect.poll(() => forgetful.closedBy?.code).toBe('unavailable');
    full = false;
    await expect.poll(() => sink.healthy.ok).toBe(true);
    forgetful.attach(sink);
    forgetful.emit('s6', opened);
    await forgetful.settle();
    const record = (await world.record()).filter(({ emitter: id }) => id === A);
    expect(record.map(({ sequence, session }) => `${sequence} ${session}`)).toEqual(['1 s1', '2 s2', '3 s3', '4 s4', '5 s5', '6 s6']);
  });

  it('need not be sent again when the record has it: the sink says so as soon as the emitter is back', async () => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    emitter.emit('s', opened, forwarded);
    await emitter.settle();
    const told: number[] = [];
    sink.attach({ emitter: A, software: '', firstSequence: 2 }, { acknowledge: (sequence) => told.push(sequence), close: () => {} });
    expect(told).toEqual([2]);
  });

  it('is refused when a sequence is missing, when it is of another emitter, when it is not an event', async () => {
    const sink = await new World().open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    emitter.sequence = 1;
    expect(await codeOf(() => emitter.emit('s', opened))).toBe('gap');
    const other: TapEvent = { emitter: B, sequence: 1, timeUnixNanos: 0n, session: 's', target: '', truncated: [], body: opened };
    expect(await codeOf(() => emitter.stream?.accept(Buffer.from(encodeEvent(other))))).toBe('malformed');
    expect(await codeOf(() => emitter.stream?.accept(Buffer.from('junk')))).toBe('malformed');
    expect(await codeOf(() => new FilterEmitter(sink.emitter).attach(sink))).toBe('malformed');
  });

  it.each(SERVICE_NOTICES)('is refused when it is a notice that only the service tells: %s', async (notice) => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    expect(await codeOf(() => emitter.emit('', { kind: 'notice', notice, text: 'events older than 30d: leaves 0-255' }))).toBe('malformed');
    // The service itself may.
    await sink.append([{ session: '', target: '', body: { kind: 'notice', notice, text: '' } }]);
    expect((await world.record()).map(({ emitter: by }) => by)).toEqual([sink.emitter, sink.emitter]);
  });

  it('may be a notice that filters tell', async () => {
    const sink = await new World().open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    for (const notice of ['tap-opened', 'events-dropped', 'statement-running']) emitter.emit('s', { kind: 'notice', notice, text: '' });
    await emitter.settle();
  });

  it('may name a target that is too long, as the service may: the record has whole characters of it, and its leaf all that the event has', async () => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    const long = ['a'.repeat(127) + '😀'.repeat(50), '漢'.repeat(300), 'a'.repeat(129)];
    // As a filter writes it, which cuts nothing.
    const bytes = (sequence: number, target: string): Buffer => {
      const marked = Buffer.from(
        encodeEvent({ emitter: A, sequence, timeUnixNanos: 1n, session: 's', target: 'MARK', truncated: [], body: opened }),
      );
      const at = marked.indexOf('MARK');
      const name = Buffer.from(target);
      return Buffer.concat([
        marked.subarray(0, at - 1),
        Buffer.from([(name.length & 127) | 128, name.length >> 7]),
        name,
        marked.subarray(at + 4),
      ]);
    };
    long.forEach((target, i) => void emitter.stream?.accept(bytes(i + 1, target)));
    await sink.append(long.map((target) => ({ session: 't', target, body: opened })));
    const own = (await world.record()).filter(({ session }) => session !== '');
    const cut = [`${'a'.repeat(125)}…`, `${'漢'.repeat(41)}…`, `${'a'.repeat(125)}…`];
    expect(own.map(({ target }) => target)).toEqual([...cut, ...cut]);
    for await (const { about, bytes: event } of sink.read(1)) expect(about.target).toBe(decodeEvent(event as Buffer).target);
  });

  it('may carry text of third parties that is not UTF-8: the record has it repaired, and the emitter is not shut out', async () => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    const event: TapEvent = { emitter: A, sequence: 1, timeUnixNanos: 1n, session: 's', target: '', truncated: [], body: closed('XYZ') };
    const bytes = Buffer.from(encodeEvent(event));
    bytes[bytes.indexOf('XYZ') + 1] = 0xff;
    expect(() => decodeEvent(bytes)).toThrow(/UTF-8/);
    emitter.stream?.accept(bytes);
    await expect.poll(() => emitter.acknowledged).toBe(1);
    expect((await world.record()).at(-1)?.body).toMatchObject({ kind: 'session_closed', outcome: 'X\ufffdZ' });
  });

  it('tells of nothing that has not happened yet: of more than a day ahead the record has the time of the service, from whomever', async () => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    const nanos = (ms: number): bigint => BigInt(ms) * 1_000_000n;
    const at = [world.now + 86_400_000, world.now + 86_400_001, Number(2n ** 63n / 1_000_000n), world.now - 3_600_000];
    for (const [i, ms] of at.entries())
      emitter.stream?.accept(
        Buffer.from(
          encodeEvent({ emitter: A, sequence: i + 1, timeUnixNanos: nanos(ms), session: 's', target: '', truncated: [], body: opened }),
        ),
      );
    await expect.poll(() => emitter.acknowledged).toBe(at.length);
    await sink.append([{ session: 's', target: '', body: opened, timeUnixNanos: nanos(world.now + 2 * 86_400_000) }]);
    const told = (await world.record()).slice(-5).map(({ timeUnixNanos }) => Number(timeUnixNanos / 1_000_000n));
    expect(told).toEqual([at[0], world.now, world.now, at[3], world.now]);
  });

  it('goes on beyond what the record has, and the record says so', async () => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.acknowledged = emitter.sequence = 41;
    emitter.attach(sink);
    emitter.emit('s', opened);
    await emitter.settle();
    expect(sink.metrics.gaps).toBe(1);
    expect((await world.record()).map(({ body }) => (body.kind === 'notice' ? body.notice : body.kind))).toEqual([
      'tap-opened',
      'tap-gap',
      'session_opened',
    ]);
  });

  it('remembers a bounded number of emitters, and never forgets one that matters', async () => {
    const sink = await new World().open({ maxEmitters: 32 });
    const keeper = new FilterEmitter(A);
    keeper.attach(sink);
    keeper.emit('s', judged('allow'), forwarded);
    await keeper.settle();
    keeper.detach();
    for (let i = 0; i < 200; i += 1) {
      const passing = new FilterEmitter(i.toString(16).padStart(32, '0'));
      passing.attach(sink);
      passing.emit(`s${i}`, opened);
      await passing.settle();
      passing.detach();
    }
    keeper.attach(sink);
    expect(sink.metrics.gaps).toBe(0);
  });
});

describe('the end of a session that was let through', () => {
  const start = async (...bodies: TapBody[]): Promise<{ world: World; sink: Sink; emitter: FilterEmitter }> => {
    const world = new World();
    const sink = await world.open();
    const emitter = new FilterEmitter(A);
    emitter.attach(sink);
    await sink.append(of('s', opened, ...bodies));
    return { world, sink, emitter };
  };
  const pass = async (world: World, sink: Sink, ms: number): Promise<void> => {
    world.now += ms;
    await sink.sweep();
  };

  it('is its own when its emitter tells it, however long it takes', async () => {
    const { world, sink, emitter } = await start(judged('allow'));
    emitter.emit('s', forwarded);
    await emitter.settle();
    await pass(world, sink, 3_600_000);
    expect(await world.ends('s')).toEqual([]);
    emitter.emit('s', finished, closed('complete'));
    await emitter.settle();
    await pass(world, sink, 3_600_000);
    expect(await sink.list()).toMatchObject([
      { id: 's', state: 'closed', outcome: 'complete', status: 200, masked: 2, events: 5, late: false, identity: 'corp:agent' },
    ]);
    expect(sink.metrics).toMatchObject({ unknownEnds: 0, openSessions: 0 });
  });

  it('is unknown when its emitter has been away for the grace, once, and not before', async () => {
    const { world, sink, emitter } = await start(judged('allow'));
    emitter.emit('s', forwarded);
    await emitter.settle();
    emitter.detach();
    await pass(world, sink, 29_999);
    expect(await sink.list({ state: 'open' })).toHaveLength(1);
    await Promise.all([pass(world, sink, 1), sink.sweep()]);
    await pass(world, sink, 60_000);
    expect(await world.ends('s')).toEqual(['unknown']);
    expect(sink.metrics.unknownEnds).toBe(1);
  });

  it('is its own when its emitter comes back in time, and the grace begins again when it goes again', async () => {
    const { world, sink, emitter } = await start(judged('allow'));
    emitter.emit('s', forwarded);
    await emitter.settle();
    emitter.detach();
    await pass(world, sink, 29_000);
    emitter.attach(sink);
    await pass(world, sink, 100_000);
    emitter.detach();
    await pass(world, sink, 29_000);
    emitter.attach(sink);
    emitter.emit('s', closed('complete'));
    await emitter.settle();
    expect(await world.ends('s')).toEqual(['complete']);
  });

  it('told after it was recorded as unknown is kept, counts, and is marked as late', async () => {
    const { world, sink, emitter } = await start(judged('allow'));
    emitter.emit('s', forwarded);
    await emitter.settle();
    emitter.detach();
    emitter.emit('s', finished, closed('complete'));
    await pass(world, sink, 30_000);
    emitter.attach(sink);
    await emitter.settle();
    expect((await sink.events('s'))?.map(({ event, late }) => [event?.body.kind, late])).toEqual([
      ['session_opened', false],
      ['request_judged', false],
      ['request_forwarded', false],
      ['session_closed', false],
      ['response_finished', true],
      ['session_closed', true],
    ]);
    expect(await sink.list()).toMatchObject([{ outcome: 'complete', late: true, status: 200 }]);
    world.kill();
    expect(await (await world.open()).list()).toMatchObject([{ outcome: 'complete', late: true, status: 200 }]);
  });

  it('is unknown when nobody ever said that it was forwarded, but not while an emitter may still say so', async () => {
    const { world, sink, emitter } = await start(judged('allow'));
    await pass(world, sink, 29_999);
    emitter.detach();
    await pass(world, sink, 1);
    expect(await world.ends('s')).toEqual([]);
    await pass(world, sink, 29_000);
    emitter.attach(sink);
    await pass(world, sink, 29_999);
    expect(await world.ends('s')).toEqual([]);
    await pass(world, sink, 1);
    expect(await world.ends('s')).toEqual(['unknown']);
  });

  it('after a restart: unknown after the grace, unless its emitter is back with it', async () => {
    const { world, sink, emitter } = await start(judged('allow'));
    const other = new FilterEmitter(B);
    other.attach(sink);
    await sink.append(of('t', opened, judged('allow')));
    emitter.emit('s', forwarded);
    other.emit('t', forwarded);
    await Promise.all([emitter.settle(), other.settle()]);
    world.kill();
    const next = await world.open();
    other.detach();
    other.attach(next);
    await pass(world, next, 29_999);
    expect(await next.list({ state: 'open' })).toHaveLength(2);
    await pass(world, next, 1);
    other.emit('t', closed('complete'));
    await other.settle();
    expect([await world.ends('s'), await world.ends('t')]).toEqual([['unknown'], ['complete']]);
  });

  it('after a restart, for those that were not let through, is what the record says', async () => {
    const { world, sink } = await start(judged('deny'));
    await sink.append([
      ...of('held', opened, judged('hold'), held),
      ...of('voted', opened, judged('hold'), held, answered('vote')),
      ...of('approved', opened, judged('hold'), held, answered('approved')),
      ...of('granted', opened, judged('hold', 'apr_0')),
      ...of('joined', opened, judged('hold')),
      ...of('left', opened, judged('hold'), held, closed('pending')),
      ...of('left', answered('approved')),
      ...of('opened', opened),
    ]);
    expect(await sink.list({ state: 'held' })).toHaveLength(3);
    await pass(world, sink, 0);
    world.kill();
    const next = await world.open();
    const outcomes = async (): Promise<Record<string, string>> =>
      Object.fromEntries((await next.list()).map(({ id, outcome }) => [id, outcome]));
    const atOnce = { s: 'denied', held: 'failed', voted: 'failed', left: 'pending', opened: 'failed' };
    expect(await outcomes()).toEqual({ ...atOnce, approved: '', granted: '', joined: '' });
    await pass(world, next, 30_000);
    expect(await outcomes()).toEqual({ ...atOnce, approved: 'unknown', granted: 'unknown', joined: 'unknown' });
  });

  it('waits for the record to be well again before it says unknown', async () => {
    const { world, sink, emitter } = await start(judged('allow'));
    emitter.emit('s', forwarded);
    await emitter.settle();
    let full = true;
    world.files.fault = ({ name }) => (full && (name === 'write' || name === 'create') ? { code: 'ENOSPC' } : undefined);
    expect(await codeOf(() => sink.append(of('x', opened)))).toBe('unavailable');
    expect(emitter.closedBy?.code).toBe('unavailable');
    await pass(world, sink, 120_000);
    full = false;
    await expect.poll(() => sink.healthy.ok).toBe(true);
    await pass(world, sink, 29_999);
    expect(sink.metrics.unknownEnds).toBe(0);
    await pass(world, sink, 1);
    expect(await world.ends('s')).toEqual(['unknown']);
  });
});

describe('sessions', () => {
  it('are listed by what they are, the newest first', async () => {
    const world = new World();
    const sink = await world.open();
    for (let i = 0; i < 10; i += 1) {
      world.now += 1000;
      await sink.append(
        of(
          `s${i}`,
          { ...opened, identity: i % 2 ? 'corp:odd' : 'corp:even' },
          judged(i < 5 ? 'deny' : 'allow'),
          ...(i < 5 ? [closed('denied')] : []),
        ),
      );
    }
    const ids = async (filter: object): Promise<string[]> => (await sink.list(filter)).map(({ id }) => id);
    expect(await ids({ limit: 3 })).toEqual(['s9', 's8', 's7']);
    expect(await ids({ identity: 'corp:odd', effect: 'deny' })).toEqual(['s3', 's1']);
    expect(await ids({ state: 'open', identity: 'corp:even' })).toEqual(['s8', 's6']);
    expect(await ids({ since: world.now - 1000 })).toEqual(['s9', 's8']);
    expect(await ids({ until: world.now - 1000 })).toEqual(['s7', 's6', 's5', 's4', 's3', 's2', 's1', 's0']);
    expect(await ids({ target: 'other' })).toEqual([]);
    expect(await ids({ outcome: 'denied', limit: 1 })).toEqual(['s4']);
  });

  it('that memory has let go of are read from the record, and those that are open stay', async () => {
    const world = new World();
    const sink = await world.open({ maxSessions: 16 });
    await sink.append(of('open', opened, judged('allow')));
    for (let i = 0; i < 200; i += 1) await sink.append(of(`s${i}`, { ...opened, run: `run-${i}` }, judged('deny'), closed('denied')));
    await sink.append(of('s0', answered('denied')));
    for (const reopened of [false, true]) {
      if (reopened) world.kill();
      const reader = reopened ? await world.open({ maxSessions: 16 }) : sink;
      expect(await reader.list({ run: 'run-3' })).toMatchObject([{ id: 's3', outcome: 'denied' }]);
      expect((await reader.list({ limit: 500 })).map(({ id }) => id).sort()).toEqual(
        ['open', ...Array.from({ length: 200 }, (_, i) => `s${i}`)].sort(),
      );
      expect((await reader.list({ limit: 50, outcome: 'denied' })).map(({ id }) => id)).toEqual(
        Array.from({ length: 50 }, (_, i) => `s${199 - i}`),
      );
      expect((await reader.events('s3'))?.map(({ event }) => event?.body.kind)).toEqual([
        'session_opened',
        'request_judged',
        'session_closed',
      ]);
      expect((await reader.events('s0'))?.map(({ event }) => event?.body.kind)).toEqual([
        'session_opened',
        'request_judged',
        'session_closed',
        'hold_answered',
      ]);
      expect(await reader.list({ state: 'open' })).toMatchObject([{ id: 'open' }]);
      expect(await reader.events('never')).toBeUndefined();
      expect([reader.indicesOf('never'), (await reader.replay('never').next()).done]).toEqual([[], true]);
      expect(reader.indicesOf('s3')).toEqual((await reader.events('s3'))?.map(({ index }) => index));
    }
  });

  it('show all their events in order, however far apart', async () => {
    const world = new World();
    const sink = await world.open();
    await sink.append(of('s', opened, judged('allow')));
    for (let i = 0; i < 100; i += 1) await sink.append(Array.from({ length: 100 }, (_, k) => of(`n${i}-${k}`, opened)[0] as OwnEvent));
    await sink.append(of('s', closed('complete')));
    expect((await sink.events('s'))?.map(({ index, event }) => [index, event?.body.kind])).toEqual([
      [1, 'session_opened'],
      [2, 'request_judged'],
      [10_003, 'session_closed'],
    ]);
  });
});
