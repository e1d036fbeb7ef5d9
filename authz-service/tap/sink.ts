/**
 * The sink: every event of the service and of the filters goes through here into the record, once.
 *
 * - An event counts when it is durable: only then is it acknowledged, and only then do sessions show it.
 * - Each emitter's events stand in the record in the order of their sequence, without gaps and without duplicates, across reconnects and restarts.
 * - A session that was let through gets an end: its own, or `unknown` when those who could tell it have been away for longer than the grace.
 *
 * Transport is the server's business (server.ts); see docs/design/tap.md.
 */
import { randomBytes } from 'node:crypto';
import type { Chain } from '../log/chains.ts';
import type { Subject } from '../log/leaf.ts';
import { isServiceNotice, type ServiceNotice } from '../log/notices.ts';
import { EarlierEmitters } from './earlier_emitters.ts';
import { checkSession, decodeEvent, decodeReportedEvent, encodeEventView } from './event.ts';
import { kindOf } from './leaf_kind.ts';
import { closedBody, type Kind, type TapBody, type TapBodyOf, type TapEvent, TOLD_BESIDE } from './schema.ts';
import { RESTORED_SESSIONS, type SessionIndex, type SessionSpan } from './session_index.ts';
import { addTo, begunElsewhere, type Session, type SessionFilter, type SessionSummary, SessionTable } from './sessions.ts';
import type { OpenStore, TapRecord, TapStore } from './store.ts';
import { WireError } from './wire.ts';

export type SinkErrorCode =
  /** The record takes nothing at present. */
  | 'unavailable'
  /** The record's bytes are intact and say something that this version does not understand. */
  | 'unreadable'
  /** A peer's bytes are not what the protocol says. */
  | 'malformed'
  /** An emitter left out a sequence. */
  | 'gap'
  /** The emitter has opened another stream. */
  | 'superseded'
  /** More emitters are connected than the sink serves. */
  | 'too_many';

export class SinkError extends Error {
  readonly code: SinkErrorCode;

  constructor(code: SinkErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'SinkError';
    this.code = code;
  }
}

/** What the service itself tells. */
export interface OwnEvent {
  readonly session: string;
  readonly target: string;
  readonly command?: number;
  readonly body: Exclude<TapBody, TapBodyOf<'session_closed'>> | { readonly kind: 'session_closed'; readonly outcome: string };
  /** Default: now. */
  readonly timeUnixNanos?: bigint;
}

/** The end of a session whose events somebody else tells. */
export interface ToldEnd {
  readonly session: string;
  readonly target: string;
  readonly outcome: string;
  /** Who tells the session's other events, and the sequence that all of them are below; 0: that is not known. */
  readonly emitter: string;
  readonly nextSequence: number;
}

interface AwaitedEnd extends ToldEnd {
  /** Unix milliseconds. */
  readonly since: number;
  recording: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Where a session stands in the record is known by the index alone, which anybody may have written: the record itself has to be looked at. */
class Unproven extends Error {
  readonly session: string;

  constructor(session: string) {
    super(`where session ${session} stands in the record is being looked up`);
    this.session = session;
  }
}

/** The far end of an emitter's stream. */
export interface Peer {
  /** Every event up to and including `sequence` is durable. Called once at once, and also when only the amount that waits has changed. */
  acknowledge(sequence: number): void;
  /** The sink wants nothing more from this stream. */
  close(error: SinkError): void;
}

export interface Attachment {
  /** Takes one event's bytes. Throws a `SinkError`, after which the stream is of no use. */
  accept(bytes: Buffer): void;
  /** Bytes of this stream that are accepted and not yet durable. */
  readonly waiting: number;
  /** The stream has ended. */
  detach(): void;
}

/** One event of a session as `replay` shows it. */
export interface SessionEvent {
  readonly index: number;
  /** `undefined` when it was deleted after its retention; `about` says what is left. */
  readonly event: TapEvent | undefined;
  readonly about: TapRecord['about'];
  /** It arrived after the session's end, and is not what others tell of a session at any time. */
  readonly late: boolean;
}

export interface SinkMetrics {
  /** Events that became durable since the start, and their bytes. */
  events: number;
  bytes: number;
  writes: number;
  /** Events that were dropped because the record has them already. */
  duplicates: number;
  /** Times that an emitter went on beyond what the record has of it. */
  gaps: number;
  /** Times that the record refused to take what was told. */
  failures: number;
  /** Sessions whose end was recorded as unknown. */
  unknownEnds: number;
  openStreams: number;
  openSessions: number;
  /** Bytes accepted and not yet durable. */
  waitingBytes: number;
  /** From when the last event happened, by its emitter's clock, to when it was durable. Seconds. */
  lastLag: number;
}

export interface SinkOptions {
  readonly openStore: OpenStore;
  /** What is known of sessions of long ago. It is the sink's: closed with it. */
  readonly index: SessionIndex;
  /** How long an emitter may be away before the sessions that it forwarded count as ended, outcome unknown. Milliseconds, default 30,000. */
  readonly graceMs?: number;
  /** Sessions kept in memory beside the open ones. Default 20,000. */
  readonly maxSessions?: number;
  /** Emitters whose last sequence is remembered. Default 4,096. */
  readonly maxEmitters?: number;
  /** Unix milliseconds. */
  readonly now?: () => number;
  /** Told for each event that became durable: seconds since it happened. */
  readonly onLag?: (seconds: number) => void;
  /** Masks text that a filter tells as somebody sent it: statements, media types. Default: nothing of it is kept. */
  readonly maskText?: (text: string) => string;
  /** Told of each event that became durable since the start. Must not throw, and not take long. */
  readonly onRecorded?: (event: TapEvent) => void;
  /** Told what an operator should know of. */
  readonly onProblem?: (error: Error) => void;
}

export interface Sink {
  /** The service's own emitter: new for each opening. */
  readonly emitter: string;
  /** Resolves when all of them are durable; rejects with a `SinkError` when that cannot be promised (`unavailable`) or a session's name is none (`malformed`). */
  append(events: readonly OwnEvent[]): Promise<void>;
  /**
   * Records the end of a session behind all that its emitter has told of it; after the grace without what is missing then, and says so. Resolves when the end is durable. While the
   * record takes nothing it is tried again; rejects with a `SinkError` only when the sink is closed before it could be recorded, or a session's name is none.
   */
  end(end: ToldEnd): Promise<void>;
  /** Whether `append` and streams are accepted at present. */
  readonly healthy: { readonly ok: boolean; readonly reason: string };
  readonly metrics: Readonly<SinkMetrics>;
  /** Recent sessions, the newest first; older ones are read from the record when the filter reaches so far. */
  list(filter?: SessionFilter): Promise<SessionSummary[]>;
  /** All sessions that the filter lets through, however many, the newest first, as they are when this is asked. */
  sessions(filter: Omit<SessionFilter, 'limit'>): AsyncGenerator<Session, void>;
  /** All events of one session in the order of the record; `undefined` when there are none. */
  events(session: string): Promise<SessionEvent[] | undefined>;
  /** The same, one by one: a session with recorded payload may be larger than memory. None when there is no such session. */
  replay(session: string): AsyncGenerator<SessionEvent, void>;
  /** How a session began, and what was judged in it last: its events of these kinds, those before this index, in order. Of a long one the middle is left out. */
  recall(session: string, before: number): AsyncGenerator<TapRecord, void>;
  /** Where a session's events stand, ascending. */
  indicesOf(session: string): readonly number[];
  /** Forgets of sessions that have ended all but what leaves tell: those whose first event stands from `from` to before `to`. @returns how many */
  forget(from: number, to: number): Promise<number>;
  /** Where the sessions stand whose first event is one from `from` to before `to`, in the order of these. */
  spans(from: number, to: number): AsyncGenerator<SessionSpan, void>;
  /**
   * While events below are pruned: those of sessions whose newest event is one of these are refused (`unavailable`), until they are forgotten. A lower number takes that back.
   */
  holdBack(below: number): void;
  /** Removes what is known of sessions that have ended and whose events were pruned: those that begin below. They may begin anew. */
  prune(below: number): Promise<void>;
  /** How many events are durable: the index of the next one. */
  readonly size: number;
  /** The durable events from `index` on, in order. */
  read(index: number): AsyncGenerator<TapRecord, void>;
  /** Whether an emitter is connected, or has not been away for longer than the grace. One that was never heard of is not. */
  serves(emitter: string): boolean;
  /** Begins a stream. Throws a `SinkError`. */
  attach(hello: { readonly emitter: string; readonly software: string; readonly firstSequence: number }, peer: Peer): Attachment;
  /** Records the ends that nobody will tell any more. Runs by itself every second. */
  sweep(): Promise<void>;
  /** Ends the streams, takes nothing more, and waits for what was accepted; it can still be read. */
  finish(): Promise<void>;
  /** Finishes, and lets go. */
  close(): Promise<void>;
}

interface Emitter {
  readonly id: string;
  /** The highest sequence that was handed to the store, and the highest that is durable. */
  staged: number;
  durable: number;
  /** The highest that stands in the record: what is missing before it the emitter has let go of. */
  recorded: number;
  /** The record itself has said so, of what lies above `assumed`. Until then the sequences say nothing. */
  proven: boolean;
  /** Up to here the index alone says what the record has: enough for who offers what is beyond. 0: nothing is taken from there. */
  assumed: number;
  stream: { readonly peer: Peer; waiting: number } | undefined;
  /** When its stream ended, Unix milliseconds. */
  goneAt: number;
  /** What it told and the record will not have: all of this run, and of before those that an open session may have events in. */
  readonly gaps: Gap[];
}

/** Sequences of an emitter whose events will not come. */
interface Gap {
  readonly from: number;
  readonly to: number;
  /** Sessions whose first event stands before this index may have lost some of theirs. */
  readonly before: number;
}

/** What goes into the record by one write. */
interface Batch {
  readonly settled: Promise<void>;
  /** `settled`, after the sink has taken note. */
  readonly recorded: Promise<void>;
  readonly entries: {
    readonly index: number;
    readonly event: TapEvent;
    readonly size: number;
    readonly emitter: Emitter;
    readonly stream: Emitter['stream'];
  }[];
}

const EMITTER = /^[0-9a-f]{32}$/;

const SWEEP_MS = 1000;
/** Sessions whose changes are written to the index in one go: the event loop waits that long. */
const INDEXED_AT_ONCE = 200;
/** Sessions that are read of the index in one go: the event loop waits that long. */
const SESSIONS_AT_ONCE = 200;
const FORGOTTEN_AT_ONCE = 500;
/** Indices so far apart at most are read in one go. */
const CLOSE_INDICES = 2000;
/** By which an emitter, where nothing is required, tells that it had no room for events. They have no sequence; the notice has. */
const DROPPED_NOTICE = 'events-dropped';
/** By which the service tells that an emitter goes on beyond what the record has of it. */
const TAP_GAP = 'tap-gap' satisfies ServiceNotice;
const gapText = (emitter: string, known: number, next: number): string =>
  `emitter ${emitter} goes on with event ${next}; of its events the record is known to have those up to ${known} only`;
/** The sequences that such a notice tells of. `undefined`: it is of another version. */
const gapOf = (text: string): { readonly emitter: string; readonly from: number; readonly to: number } | undefined => {
  const [, emitter = '', next, known] = /^emitter ([0-9a-f]{32}) goes on with event (\d+);.* those up to (\d+) only$/.exec(text) ?? [];
  return emitter === '' ? undefined : { emitter, from: Number(known) + 1, to: Number(next) - 1 };
};
/** What is told to have happened later than this from now did not: its bundle would wait for that day, and the front of the log with it, before it could ever go. A day. */
const MOST_AHEAD_MS = 86_400_000;
const notAhead = (toldUnixNanos: bigint, now: number): bigint =>
  Number(toldUnixNanos) > (now + MOST_AHEAD_MS) * 1e6 ? BigInt(now) * 1_000_000n : toldUnixNanos;
/** Gaps of one emitter that are told apart. */
const MOST_GAPS = 64;

/** What later events of a session need to be understood, and in how many of its events it is looked for. */
const RECALLED_KINDS: ReadonlySet<Kind | undefined> = new Set<Kind>(['session_opened', 'request_judged']);
const [RECALLED_FIRST, RECALLED_LAST] = [20, 2000];

/** Fields that hold what a client or a target wrote, as it was. */
const FOREIGN: { readonly [K in Kind]?: readonly string[] } = {
  command_finished: ['statement'],
  notice: ['text'],
  payload_chunk: ['contentType', 'contentEncoding'],
};

class RecordSink implements Sink {
  readonly emitter = randomBytes(16).toString('hex');
  readonly metrics: SinkMetrics = {
    events: 0,
    bytes: 0,
    writes: 0,
    duplicates: 0,
    gaps: 0,
    failures: 0,
    unknownEnds: 0,
    openStreams: 0,
    openSessions: 0,
    waitingBytes: 0,
    lastLag: 0,
  };
  readonly #graceMs: number;
  readonly #maxEmitters: number;
  readonly #now: () => number;
  readonly #onLag: ((seconds: number) => void) | undefined;
  readonly #maskText: (text: string) => string;
  readonly #onRecorded: ((event: TapEvent) => void) | undefined;
  readonly #onProblem: (error: Error) => void;
  readonly #table: SessionTable;
  /** Least recently attached first. */
  readonly #emitters = new Map<string, Emitter>();
  readonly #own: Emitter;
  readonly #openedAt: number;
  readonly #index: SessionIndex;
  /** Sessions and emitters of which durable events are not in the index yet, and up to where the record is known here. */
  readonly #unindexed = { sessions: new Map<string, Session>(), emitters: new Set<Emitter>(), applied: 0 };
  #indexing: Promise<void> | undefined;
  /** What is pruned at present, or was: see `holdBack`. */
  #heldBackBelow = 0;
  #store!: TapStore;
  #earlier!: EarlierEmitters;
  size = 0;
  #gathering: Batch | undefined;
  /** When the record last took nothing: no grace begins before. */
  #unwellAt = 0;
  /** When an emitter last attached: what it tells may be on its way. */
  #returnedAt = 0;
  /** What the record itself has said of other sessions, until they go on; `undefined`: it has none of them. */
  readonly #proven = new Map<string, Chain | undefined>();
  readonly #proving = new Map<string, Promise<void>>();
  /** Sessions whose end is being recorded. */
  readonly #ending = new Set<string>();
  /** Ends that were told and wait for events, by the emitter of these. */
  readonly #awaited = new Map<string, Set<AwaitedEnd>>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #finished: Promise<void> | undefined;
  #released: Promise<void> | undefined;

  constructor({
    index,
    graceMs = 30_000,
    maxSessions = 20_000,
    maxEmitters = 4096,
    now = Date.now,
    onLag,
    maskText = () => '',
    onRecorded,
    onProblem = () => {},
  }: SinkOptions) {
    this.#index = index;
    this.#graceMs = graceMs;
    this.#maxEmitters = maxEmitters;
    this.#now = now;
    this.#onLag = onLag;
    this.#maskText = maskText;
    this.#onRecorded = onRecorded;
    this.#onProblem = onProblem;
    this.#table = new SessionTable(maxSessions);
    this.#openedAt = now();
    this.#own = this.#remember({
      id: this.emitter,
      staged: 0,
      durable: 0,
      recorded: 0,
      proven: true,
      assumed: 0,
      stream: undefined,
      goneAt: this.#openedAt,
      gaps: [],
    });
  }

  async open(openStore: OpenStore): Promise<void> {
    const { applied, remembered } = this.#index.progress;
    this.#store = await openStore({ findChain: (subject) => this.#findChain(subject), ...(remembered && { remembered: [remembered] }) });
    try {
      await this.#catchUp(applied);
      // Those that others may go on with at once.
      await this.#prove([...this.#table.open].filter((session) => !session.begun).map(({ summary }) => summary.id));
      await this.append([this.#openingNotice(), ...this.#interrupted()]);
    } catch (error) {
      await this.#store.close();
      await this.#index.close();
      throw error;
    }
    this.#timer = setInterval(() => {
      this.sweep().catch(this.#onProblem);
    }, SWEEP_MS).unref();
  }

  get healthy(): { ok: boolean; reason: string } {
    if (this.#closed) return { ok: false, reason: 'the sink is closed' };
    const { health } = this.#store;
    return health.ok ? { ok: true, reason: '' } : { ok: false, reason: health.reason };
  }

  read(index: number): AsyncGenerator<TapRecord, void> {
    return this.#store.read(index);
  }

  append(events: readonly OwnEvent[]): Promise<void> {
    if (this.#closed) return Promise.reject(new SinkError('unavailable', 'the sink is closed'));
    return this.#append(events);
  }

  #append(events: readonly OwnEvent[], counted = true): Promise<void> {
    try {
      for (const { session, body } of events) checkSession(session, body.kind);
      return this.#stageOwn(events, 0, counted);
    } catch (error) {
      return Promise.reject(error instanceof WireError ? new SinkError('malformed', error.message, error) : error);
    }
  }

  /** Those from `first` on. */
  #stageOwn(events: readonly OwnEvent[], first: number, counted: boolean): Promise<void> {
    const now = BigInt(this.#now()) * 1_000_000n;
    let at = first;
    try {
      for (; at < events.length; at += 1) {
        const { session, target, body, command, timeUnixNanos: then = now } = events[at] as OwnEvent;
        const timeUnixNanos = notAhead(then, this.#now());
        const own = this.#own;
        const told: TapEvent = {
          emitter: own.id,
          sequence: own.staged + 1,
          timeUnixNanos,
          session,
          target,
          truncated: [],
          ...(command !== undefined && { command }),
          body: body.kind === 'session_closed' ? { ...closedBody(body.outcome), ...body } : body,
        };
        const { bytes, event } = encodeEventView(counted ? this.#counted(told) : told);
        this.#stage(own, event, bytes, undefined);
      }
    } catch (error) {
      if (!(error instanceof Unproven)) throw error;
      const before = at > first ? this.#gathering?.recorded : undefined;
      const rest = this.#prove([error.session]).then(() => this.#stageOwn(events, at, counted));
      return Promise.all([before, rest]).then(() => {});
    }
    return this.#gathering?.recorded ?? Promise.resolve();
  }

  end(told: ToldEnd): Promise<void> {
    if (this.#closed) return Promise.reject(new SinkError('unavailable', 'the sink is closed'));
    const { session, target, outcome, emitter, nextSequence } = told;
    // A filter of an earlier version does not say what there is to wait for.
    if (nextSequence < 1 || !EMITTER.test(emitter))
      return this.#append([{ session, target, body: { kind: 'session_closed', outcome } }], false);
    return new Promise((resolve, reject) => {
      const awaited = { ...told, since: this.#now(), recording: false, resolve, reject };
      const others = this.#awaited.get(emitter);
      if (others === undefined) this.#awaited.set(emitter, new Set([awaited]));
      else others.add(awaited);
      this.#ending.add(session);
      const known = this.#emitters.get(emitter) ?? this.#emitter(emitter);
      if (this.#hasArrived(awaited)) this.#recordEnd(awaited);
      else if (!isSure(known, nextSequence - 1))
        this.#proveEmitter(known, nextSequence - 1).then(({ durable }) => {
          if (durable >= nextSequence - 1) this.#recordEnd(awaited);
        }, this.#onProblem);
    });
  }

  #hasArrived({ emitter, nextSequence }: AwaitedEnd): boolean {
    if (nextSequence === 1) return true;
    const known = this.#emitters.get(emitter);
    return known !== undefined && isSure(known, nextSequence - 1) && known.durable >= nextSequence - 1;
  }

  /** With what has arrived; what has not is said. Where the record takes nothing now, the sweep tries again. */
  async #recordEnd(end: AwaitedEnd): Promise<void> {
    if (end.recording) return;
    end.recording = true;
    const { session, target, outcome, emitter, nextSequence } = end;
    try {
      const known = this.#emitters.get(emitter);
      const told = await this.#proveEmitter(known ?? this.#emitter(emitter), nextSequence - 1);
      const missing = this.#missingOf(session, told, nextSequence - 1);
      await this.#append([{ session, target, body: { ...closedBody(outcome), ...missing } }]);
      this.#forgetEnd(end);
      end.resolve();
    } catch (error) {
      end.recording = false;
      if (!this.#closed && (error as SinkError).code !== 'malformed') return;
      this.#forgetEnd(end);
      end.reject(error as SinkError);
    }
  }

  /** What an end says of the events of its session, all of which its emitter has told with sequences up to `last`: between which of them some are missing. */
  #missingOf(session: string, { id, durable, gaps }: Emitter, last: number) {
    const ranges = durable < last ? [{ from: durable + 1, to: last }] : [];
    if (gaps.length > 0) {
      // One that is not durable yet began behind all gaps that are.
      const first = this.#find(session)?.indices[0] ?? this.size;
      ranges.push(...gaps.filter(({ from, before }) => from <= last && first < before));
    }
    if (ranges.length === 0) return undefined;
    const [from, to] = [Math.min(...ranges.map((each) => each.from)), Math.max(...ranges.map((each) => each.to))];
    return { missingEmitter: id, missingFrom: from, missingTo: Math.min(to, last) };
  }

  #forgetEnd(end: AwaitedEnd): void {
    this.#ending.delete(end.session);
    const others = this.#awaited.get(end.emitter);
    others?.delete(end);
    if (others?.size === 0) this.#awaited.delete(end.emitter);
  }

  get #awaitedEnds(): AwaitedEnd[] {
    return [...this.#awaited.values()].flatMap((ends) => [...ends]);
  }

  serves(id: string): boolean {
    const emitter = this.#emitters.get(id);
    return emitter !== undefined && (emitter.stream !== undefined || !this.#graceIsOver(emitter.goneAt, this.#now()));
  }

  attach({ emitter: id, firstSequence }: { emitter: string; firstSequence: number }, peer: Peer): Attachment {
    const { ok, reason } = this.healthy;
    if (!ok) throw new SinkError('unavailable', reason);
    if (id === this.emitter) throw new SinkError('malformed', "this emitter is the service's own");
    const emitter = this.#known(id);
    const stream = { peer, waiting: 0 };
    const earlier = emitter.stream;
    emitter.stream = stream;
    if (earlier === undefined) this.metrics.openStreams += 1;
    else earlier.peer.close(new SinkError('superseded', 'the emitter has opened another stream'));
    // The latest stays longest; and what it held back while it was away is on its way.
    this.#emitters.delete(id);
    this.#emitters.set(id, emitter);
    this.#returnedAt = this.#now();

    const held: Buffer[] = [];
    const hold = (bytes: Buffer): void => {
      held.push(Buffer.from(bytes));
      stream.waiting += bytes.length;
      this.metrics.waitingBytes += bytes.length;
    };
    /** False: it must wait for a look at the record, after which all that is held is taken. */
    const taken = (bytes: Buffer): boolean => {
      try {
        this.#accept(emitter, bytes);
        return true;
      } catch (error) {
        if (!(error instanceof Unproven)) throw error;
        this.#prove([error.session]).then(takeHeld, fail);
        return false;
      }
    };
    const letGo = (bytes: readonly Buffer[]): void => {
      for (const { length } of bytes) {
        stream.waiting -= length;
        this.metrics.waitingBytes -= length;
      }
    };
    const takeHeld = (): void => {
      try {
        // What another stream has taken the place of comes again there.
        while (held.length > 0 && emitter.stream === stream) {
          if (!taken(held[0] as Buffer)) return;
          letGo(held.splice(0, 1));
        }
        letGo(held.splice(0));
        if (emitter.stream === stream) peer.acknowledge(emitter.durable);
      } catch (error) {
        fail(error as SinkError);
      }
    };
    const fail = (error: SinkError): void => {
      letGo(held.splice(0));
      if (emitter.stream === stream) peer.close(error);
    };

    let begun = false;
    const begin = (): void => {
      begun = true;
      const missing = this.#missing(emitter, firstSequence);
      if (missing !== undefined) this.append([missing]).catch(this.#onProblem);
      peer.acknowledge(emitter.durable);
    };
    if (isSure(emitter, firstSequence)) begin();
    else
      this.#proveEmitter(emitter, firstSequence).then(() => {
        if (emitter.stream === stream && !this.#closed) begin();
        takeHeld();
      }, fail);

    return {
      accept: (bytes) => {
        if (emitter.stream !== stream) throw new SinkError('superseded', 'the emitter has opened another stream');
        // Behind what waits for a look at the record everything waits, so that the order stays.
        // And behind the answer to the hello: another look may have ended before its own has.
        if (held.length > 0 || !begun) hold(bytes);
        else if (!taken(bytes)) hold(bytes);
      },
      get waiting() {
        return stream.waiting;
      },
      detach: () => {
        if (emitter.stream !== stream) return;
        emitter.stream = undefined;
        emitter.goneAt = this.#now();
        this.metrics.openStreams -= 1;
      },
    };
  }

  async list(filter: SessionFilter = {}): Promise<SessionSummary[]> {
    const { limit = 100 } = filter;
    const recent = this.#table.list(filter);
    if (this.#table.complete || recent.length >= limit) return recent;
    return [...recent, ...(await this.#older(filter, limit - recent.length))];
  }

  async *sessions(filter: Omit<SessionFilter, 'limit'>): AsyncGenerator<Session, void> {
    await this.#updateIndex();
    for (let before = this.size; ; ) {
      const part = this.#index.before(filter, before, SESSIONS_AT_ONCE);
      yield* part;
      if (part.length < SESSIONS_AT_ONCE) return;
      before = part.at(-1)?.indices[0] ?? 0;
      // Decisions go first.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async events(id: string): Promise<SessionEvent[] | undefined> {
    if (this.#find(id) === undefined) return undefined;
    const found: SessionEvent[] = [];
    for await (const event of this.replay(id)) found.push(event);
    return found;
  }

  async *replay(id: string): AsyncGenerator<SessionEvent, void> {
    let ended = false;
    for await (const { index, about, bytes } of this.#at(this.indicesOf(id))) {
      const event = bytes === undefined ? undefined : decodeEvent(bytes);
      const kind = kindOf(about.kind);
      yield { index, event, about, late: ended && !TOLD_BESIDE.has(kind) };
      if (kind === 'session_closed') ended = true;
    }
  }

  async *recall(id: string, before: number): AsyncGenerator<TapRecord, void> {
    const indices = this.indicesOf(id).filter((index) => index < before);
    const [first, last] = [indices.slice(0, RECALLED_FIRST), indices.slice(Math.max(RECALLED_FIRST, indices.length - RECALLED_LAST))];
    for await (const record of this.#at([...first, ...last])) if (RECALLED_KINDS.has(kindOf(record.about.kind))) yield record;
  }

  indicesOf(id: string): readonly number[] {
    return [...(this.#find(id)?.indices ?? [])];
  }

  async forget(from: number, to: number): Promise<number> {
    await this.#updateIndex();
    // Memory lets them go, too: what is asked of them is read from the index.
    for (const { summary } of [...this.#table.closed(from, to)])
      if (!this.#unindexed.sessions.has(summary.id)) this.#table.forget(summary.id);
    let total = 0;
    for (let count = FORGOTTEN_AT_ONCE; count === FORGOTTEN_AT_ONCE; ) {
      count = await this.#index.forget(from, to, FORGOTTEN_AT_ONCE);
      total += count;
    }
    return total;
  }

  async *spans(from: number, to: number): AsyncGenerator<SessionSpan, void> {
    await this.#updateIndex();
    for (let next = from; ; ) {
      const part = this.#index.spans(next, to, SESSIONS_AT_ONCE);
      yield* part;
      const last = part.at(-1);
      if (last === undefined || part.length < SESSIONS_AT_ONCE) return;
      next = last.first + 1;
      // Decisions go first.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async prune(below: number): Promise<void> {
    await this.#updateIndex();
    for (const { summary } of [...this.#table.closed(0, below)])
      if (!this.#unindexed.sessions.has(summary.id)) this.#table.forget(summary.id);
    while ((await this.#index.prune(below, FORGOTTEN_AT_ONCE)) === FORGOTTEN_AT_ONCE);
    for (const [id, chain] of this.#proven) if (chain !== undefined && chain.index < below) this.#proven.delete(id);
    this.#store.forgetBelow(below);
  }

  holdBack(below: number): void {
    this.#heldBackBelow = below;
    this.#store.holdBack(below);
  }

  async sweep(): Promise<void> {
    const now = this.#now();
    await this.#updateIndex();
    if (!this.healthy.ok) {
      this.#unwellAt = now;
      return;
    }
    for (const end of this.#awaitedEnds) if (this.#hasArrived(end) || this.#graceIsOver(end.since, now)) this.#recordEnd(end);
    const ends = [...this.#table.open].filter((session) => this.#endIsUnknown(session, now));
    for (let i = 0; i < ends.length; i += 1000) await this.#endUnknown(ends.slice(i, i + 1000));
  }

  finish(): Promise<void> {
    return (this.#finished ??= this.#finish());
  }

  close(): Promise<void> {
    return (this.#released ??= this.#release());
  }

  async #finish(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const { stream } of this.#emitters.values()) stream?.peer.close(new SinkError('unavailable', 'the sink is closing'));
    await this.#gathering?.recorded.catch(() => {});
    await Promise.all(this.#awaitedEnds.map((end) => this.#recordEnd(end)));
  }

  async #release(): Promise<void> {
    await this.finish();
    await this.#updateIndex().catch(this.#onProblem);
    await this.#store.close();
    await this.#index.close();
  }

  /** Takes note of all that the store holds: what the index has, and what came after it. */
  async #catchUp(applied: number): Promise<void> {
    this.#unindexed.applied = applied;
    this.#earlier = new EarlierEmitters(this.#store, Math.min(applied, this.#store.size));
    const known = [...this.#index.list({ state: 'closed' }, RESTORED_SESSIONS), ...this.#index.open()];
    for (const session of known.sort((a, b) => (a.indices[0] as number) - (b.indices[0] as number))) {
      // Who forwards it may be on the way back since now.
      if (session.letThroughAt !== undefined) session.letThroughAt = this.#openedAt;
      if (session.emitter !== '') this.#known(session.emitter);
      this.#table.restore(session);
    }
    if (applied > 0) this.#table.begunLater();
    await this.#recallGaps(applied);
    for await (const record of this.#store.read(applied)) {
      this.#replay(record);
      if (this.#unindexed.sessions.size >= INDEXED_AT_ONCE) await this.#updateIndex();
    }
  }

  #replay({ index, about, bytes }: TapRecord): void {
    const emitter = this.#known(about.emitter);
    this.#beginAt(emitter, about.sequence);
    if (bytes === undefined) this.#note(index, emitter, this.#table.addDeleted(index, about, kindOf(about.kind) === 'session_closed'));
    else {
      const event = decoded(index, bytes);
      this.#note(index, emitter, this.#addToTable(index, event, this.#openedAt, about.position === 1));
      if (event.session === '') this.#recallGap(index, event);
    }
  }

  /** Its event is durable and in the table; the index follows. */
  #note(index: number, emitter: Emitter, session: Session | undefined): void {
    this.size = this.#unindexed.applied = index + 1;
    this.#unindexed.emitters.add(emitter);
    if (session === undefined) return;
    this.#unindexed.sessions.set(session.summary.id, session);
    if (this.#proven.size > 0) this.#proven.delete(session.summary.id);
  }

  /** `first`: it is the first event of its session. */
  #addToTable(index: number, event: TapEvent, now: number, first: boolean): Session | undefined {
    const session = this.#table.add(index, event, now);
    if (session !== undefined && first) session.begun = true;
    if (session !== undefined || event.session === '') return session;
    // It belongs to one that ended and was forgotten, or to one of which the record has not the beginning.
    const other = this.#find(event.session) ?? begunElsewhere(event);
    addTo(other, index, event, now);
    this.#table.begunLater();
    return other;
  }

  /** A session with all its durable events: what is not in the index yet counts before what is. */
  #find(id: string): Session | undefined {
    return this.#table.get(id) ?? this.#unindexed.sessions.get(id) ?? (this.#table.complete ? undefined : this.#index.get(id));
  }

  #findChain({ session: id, emitter, kind }: Subject): Chain | undefined {
    // The service gives each session a new name, and tells of it for the first time once.
    const opens = kindOf(kind) === 'session_opened';
    if (opens && emitter === this.emitter) return undefined;
    const session = this.#find(id);
    // Where nothing is known by the index alone, what is not known is not there.
    if (this.#table.complete || session?.begun) return session && chainOf(session);
    if (this.#proven.has(id)) return this.#proven.get(id);
    if (opens && session === undefined) return undefined;
    throw new Unproven(id);
  }

  /** Looks up in the record itself where these sessions stand. Rejects with a `SinkError` (`unavailable`) when it cannot be read. */
  async #prove(ids: readonly string[]): Promise<void> {
    const asked = ids.filter((id) => !this.#proven.has(id) && !this.#proving.has(id));
    if (asked.length > 0) {
      const proving = this.#lookUp(new Set(asked)).finally(() => {
        for (const id of asked) this.#proving.delete(id);
      });
      for (const id of asked) this.#proving.set(id, proving);
    }
    await Promise.all(ids.map((id) => this.#proving.get(id)));
  }

  async #lookUp(ids: ReadonlySet<string>): Promise<void> {
    let found: Map<string, Chain>;
    try {
      found = await this.#store.newest(ids);
    } catch (error) {
      throw new SinkError('unavailable', `the record cannot be read: ${(error as Error).message}`, error);
    }
    for (const id of ids) {
      const [chain, session] = [found.get(id), this.#find(id)];
      this.#proven.set(id, chain);
      const known = session && chainOf(session);
      if (known?.index === chain?.index && known?.position === chain?.position) continue;
      // It is pruned at present, and the index has not forgotten it yet.
      if (known !== undefined && chain === undefined && known.index < this.#heldBackBelow) continue;
      const [says, has] = [known, chain].map((each) => (each === undefined ? 'nothing' : `event ${each.position} in leaf ${each.index}`));
      await this.#distrustIndex(`of session ${id} it has ${says} as the last, and the record ${has}`);
    }
  }

  #known(id: string): Emitter {
    return this.#emitters.get(id) ?? this.#remember(this.#emitter(id));
  }

  /** One that is not in mind. */
  #emitter(id: string): Emitter {
    const emitter: Emitter = {
      ...{ id, staged: 0, durable: 0, recorded: 0, proven: false, assumed: 0 },
      ...{ stream: undefined, goneAt: this.#openedAt, gaps: [] },
    };
    const sequence = this.#earlier.known(id);
    if (sequence !== undefined) this.#beginAt(emitter, sequence);
    return emitter;
  }

  /** The record has `sequence`, or all before it, by the record itself. `assumed`: the index alone says so. */
  #beginAt(emitter: Emitter, sequence: number, assumed = 0): void {
    emitter.staged = emitter.durable = emitter.recorded = sequence;
    emitter.proven = true;
    emitter.assumed = assumed;
  }

  /**
   * Takes an emitter's last sequence from the record itself. `offered`: what it has not let go of, or what is asked for, begins there: below that nothing depends on
   * what the record has. Rejects with a `SinkError` (`unavailable`) when the record cannot be read.
   */
  async #proveEmitter(emitter: Emitter, offered: number): Promise<Emitter> {
    if (isSure(emitter, offered)) return emitter;
    const { id } = emitter;
    const told = this.#index.sequenceOf(id) ?? 0;
    let found: number | undefined;
    try {
      // An index that says that the record has what is offered, or that it lacks some of before, is believed by nothing but the record.
      found = await this.#earlier.lookUp(id, told > 0 && told !== offered - 1);
    } catch (error) {
      throw new SinkError('unavailable', `the record cannot be read: ${(error as Error).message}`, error);
    }
    if (isSure(emitter, offered)) return emitter;
    this.#beginAt(emitter, found ?? told, found === undefined ? told : 0);
    if (found === undefined || found === told) return emitter;
    await this.#distrustIndex(
      `of emitter ${id} it has ${told === 0 ? 'nothing' : `event ${told} as the last`}, and the record ${found === 0 ? 'nothing' : `event ${found}`}`,
    );
    return emitter;
  }

  async #distrustIndex(difference: string): Promise<void> {
    this.#onProblem(
      new SinkError(
        'unreadable',
        `the index of sessions has been changed, or is damaged: ${difference}. The record is gone on with by what it has itself; the index is made again at the next start`,
      ),
    );
    await this.#index.distrust();
  }

  /** Writes to the index what has become durable before this call, a part at a time. */
  async #updateIndex(): Promise<void> {
    while (this.#indexing !== undefined) await this.#indexing.catch(() => {});
    this.#indexing = this.#writeIndex().finally(() => {
      this.#indexing = undefined;
    });
    await this.#indexing;
  }

  async #writeIndex(): Promise<void> {
    const { sessions, emitters, applied } = this.#unindexed;
    if (sessions.size === 0 && emitters.size === 0) return;
    const changed = [...sessions.values()];
    const heard = [...emitters].map((emitter) => ({ emitter, id: emitter.id, durable: emitter.recorded }));
    const { committed } = this.#store;
    const { applied: before, remembered } = this.#index.progress;
    // How far it goes is said with the last part; until then what was written of a session may be ahead of that, which does no harm.
    for (let at = 0; at + INDEXED_AT_ONCE < changed.length; at += INDEXED_AT_ONCE)
      await this.#index.apply(changed.slice(at, at + INDEXED_AT_ONCE), [], { applied: before, remembered });
    const last = changed.slice(changed.length - (changed.length % INDEXED_AT_ONCE || INDEXED_AT_ONCE));
    await this.#index.apply(last, heard, { applied, remembered: committed ?? remembered });
    for (const session of changed) if ((session.indices.at(-1) as number) < applied) sessions.delete(session.summary.id);
    for (const { emitter, durable } of heard) if (emitter.recorded === durable) emitters.delete(emitter);
  }

  #remember(emitter: Emitter): Emitter {
    if (this.#emitters.size >= this.#maxEmitters) this.#forgetEmitters();
    this.#emitters.set(emitter.id, emitter);
    return emitter;
  }

  /** Makes room among the emitters: those go first that have been away longest; never one that is connected, awaited, or has forwarded an open session. */
  #forgetEmitters(): void {
    const needed = new Set([this.emitter]);
    for (const session of this.#table.open) needed.add(session.emitter);
    let excess = this.#emitters.size - Math.floor((this.#maxEmitters * 15) / 16);
    for (const { id, stream, staged, durable, recorded, proven, assumed } of this.#emitters.values()) {
      if (excess <= 0) return;
      if (stream !== undefined || staged !== durable || needed.has(id)) continue;
      this.#emitters.delete(id);
      if (proven && recorded > assumed) this.#earlier.keep(id, recorded);
      excess -= 1;
    }
  }

  /** What to record when an emitter begins beyond what the record has of it. It goes on from there: what it has let go of will not come again. */
  #missing(emitter: Emitter, firstSequence: number): OwnEvent | undefined {
    const known = emitter.staged;
    if (firstSequence <= known + 1) return undefined;
    this.#noteGap(emitter, known + 1, firstSequence - 1);
    emitter.staged = firstSequence - 1;
    emitter.durable = Math.max(emitter.durable, firstSequence - 1);
    this.metrics.gaps += 1;
    const text = gapText(emitter.id, known, firstSequence);
    this.#onProblem(new SinkError('gap', text));
    return { session: '', target: '', body: { kind: 'notice', notice: TAP_GAP, text } };
  }

  #noteGap({ gaps }: Emitter, from: number, to: number, before = this.#nextIndex): void {
    const gap = { from, to, before };
    const last = gaps.length < MOST_GAPS ? undefined : gaps.pop();
    gaps.push(last === undefined ? gap : { ...gap, from: last.from });
  }

  get #nextIndex(): number {
    return Math.max(this.size, (this.#gathering?.entries.at(-1)?.index ?? -1) + 1);
  }

  /** Gaps are of this run, but what they were told by is in the record: those that a session may have lost events in which is still to end. */
  async #recallGaps(applied: number): Promise<void> {
    const waiting = [...this.#table.open].filter(({ letThroughAt, carriesCommands }) => letThroughAt !== undefined && !carriesCommands);
    const first = Math.min(applied, ...waiting.map(({ indices }) => indices[0] as number));
    if (first === applied) return;
    for await (const { index, about, bytes } of this.#store.read(first)) {
      if (index >= applied) return;
      if (bytes !== undefined && about.session === '' && kindOf(about.kind) === 'notice') this.#recallGap(index, decoded(index, bytes));
    }
  }

  #recallGap(index: number, { body, emitter, sequence }: TapEvent): void {
    if (body.kind !== 'notice') return;
    const gap = body.notice === TAP_GAP ? gapOf(body.text) : undefined;
    if (gap !== undefined) this.#noteGap(this.#known(gap.emitter), gap.from, gap.to, index);
    else if (body.notice === DROPPED_NOTICE) this.#noteGap(this.#known(emitter), sequence, sequence, index);
  }

  #accept(emitter: Emitter, bytes: Buffer): void {
    let reported: ReturnType<typeof decodeReportedEvent>;
    try {
      reported = decodeReportedEvent(bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      throw new SinkError('malformed', error.message, error);
    }
    const { event, repaired } = this.#corrected(reported, emitter);
    if (event.body.kind === 'notice' && isServiceNotice(event.body.notice))
      throw new SinkError('malformed', `a notice that the service alone tells: ${event.body.notice}`);
    if (event.emitter !== emitter.id) throw new SinkError('malformed', "an event of another emitter than the stream's");
    if (event.sequence <= emitter.staged) {
      this.metrics.duplicates += 1;
      return;
    }
    if (event.sequence !== emitter.staged + 1) throw new SinkError('gap', `event ${event.sequence} after event ${emitter.staged}`);
    if (!repaired) this.#stage(emitter, event, bytes, emitter.stream);
    else {
      const encoded = encodeEventView(event);
      this.#stage(emitter, encoded.event, encoded.bytes, emitter.stream);
    }
    // What it tells of was of any session until then.
    if (event.body.kind === 'notice' && event.body.notice === DROPPED_NOTICE) this.#noteGap(emitter, event.sequence, event.sequence);
  }

  /** With the number of events that it ends: what stands before it the sink alone knows. */
  #counted(event: TapEvent): TapEvent {
    const { body } = event;
    return body.kind === 'session_closed' ? { ...event, body: { ...body, events: this.#store.positionOf(event) } } : event;
  }

  /** What filters tell in the words of those who sent it is masked before anything keeps it, and what is not theirs to tell is put right. */
  #corrected({ event: told, repaired }: ReturnType<typeof decodeReportedEvent>, emitter: Emitter): ReturnType<typeof decodeReportedEvent> {
    const timeUnixNanos = notAhead(told.timeUnixNanos, this.#now());
    const isAhead = timeUnixNanos !== told.timeUnixNanos;
    const event = isAhead ? { ...told, timeUnixNanos } : told;
    const reported = { event, repaired: repaired || isAhead };
    const { body } = event;
    if (body.kind === 'session_closed') {
      const missing = emitter.gaps.length > 0 && this.#missingOf(event.session, { ...emitter, durable: event.sequence }, event.sequence);
      return { event: this.#counted({ ...event, body: { ...closedBody(body.outcome), ...missing } }), repaired: true };
    }
    const foreign = FOREIGN[body.kind];
    if (foreign === undefined) return reported;
    const texts = body as unknown as Readonly<Record<string, string>>;
    const masked: Record<string, string> = {};
    for (const name of foreign) {
      const text = texts[name] as string;
      const shown = text === '' ? text : this.#maskText(text);
      if (shown !== text) masked[name] = shown;
    }
    if (Object.keys(masked).length === 0) return reported;
    return { event: { ...event, body: { ...body, ...masked } as TapBody }, repaired: true };
  }

  #stage(emitter: Emitter, event: TapEvent, bytes: Buffer, stream: Emitter['stream']): void {
    let index: number;
    try {
      index = this.#store.stage(bytes, event, emitter === this.#own);
    } catch (error) {
      if (error instanceof Unproven) throw error;
      this.metrics.failures += 1;
      throw new SinkError('unavailable', (error as Error).message, error);
    }
    emitter.staged = event.sequence;
    this.#batch().entries.push({ index, event, size: bytes.length, emitter, stream });
    this.metrics.waitingBytes += bytes.length;
    if (stream !== undefined) stream.waiting += bytes.length;
  }

  /** The batch of the store's write that gathers now. */
  #batch(): Batch {
    const settled = this.#store.settled();
    if (this.#gathering?.settled === settled) return this.#gathering;
    const entries: Batch['entries'] = [];
    const recorded = settled.then(
      () => this.#record(entries),
      (error: Error) => this.#lose(entries, error),
    );
    recorded.catch(() => {});
    this.#gathering = { settled, recorded, entries };
    return this.#gathering;
  }

  /** A write is durable: sessions show it, and its emitters learn of it. */
  #record(entries: Batch['entries']): void {
    const now = this.#now();
    const told = new Set<Emitter>();
    for (const { index, event, size, emitter, stream } of entries) {
      emitter.durable = Math.max(emitter.durable, event.sequence);
      emitter.recorded = event.sequence;
      this.#note(index, emitter, this.#addToTable(index, event, now, event.body.kind === 'session_opened'));
      this.metrics.bytes += size;
      this.metrics.waitingBytes -= size;
      if (stream !== undefined) {
        stream.waiting -= size;
        told.add(emitter);
      }
      const lag = Math.max(0, now - Number(event.timeUnixNanos) / 1e6) / 1000;
      this.metrics.lastLag = lag;
      this.#onLag?.(lag);
      this.#onRecorded?.(event);
    }
    this.metrics.events += entries.length;
    this.metrics.writes += 1;
    this.metrics.openSessions = this.#table.openCount;
    for (const { stream, durable } of told) stream?.peer.acknowledge(durable);
    if (this.#awaited.size === 0) return;
    for (const { id } of new Set(entries.map(({ emitter }) => emitter)))
      for (const end of [...(this.#awaited.get(id) ?? [])]) if (this.#hasArrived(end)) this.#recordEnd(end);
  }

  /** A write failed: nothing of it counts. Emitters send it again on new streams; who appended is told. */
  #lose(entries: Batch['entries'], cause: Error): never {
    const error = new SinkError('unavailable', cause.message, cause);
    this.metrics.failures += 1;
    for (const { size, emitter, stream } of entries) {
      emitter.staged = emitter.durable;
      this.metrics.waitingBytes -= size;
      if (stream !== undefined) stream.waiting -= size;
    }
    for (const { stream } of this.#emitters.values()) stream?.peer.close(error);
    this.#unwellAt = this.#now();
    this.#onProblem(error);
    throw error;
  }

  #openingNotice(): OwnEvent {
    const { tornBytes } = this.#store;
    const text = `the record is open; ${this.#table.openCount} sessions had no end${tornBytes > 0 ? `; ${tornBytes} bytes of an unfinished write were cut off` : ''}`;
    return { session: '', target: '', body: { kind: 'notice', notice: 'tap-opened', text } };
  }

  /** The ends of sessions that the last stop of the service decided: they were not let through, and nobody waits for them any more. */
  #interrupted(): OwnEvent[] {
    const ends: OwnEvent[] = [];
    for (const session of this.#table.open) {
      const { summary, letThroughAt, held, carriesCommands } = session;
      // The service forgot it, so it can only end; what it was doing may have been done.
      if (letThroughAt !== undefined && carriesCommands) ends.push(endOf(summary, 'unknown'));
      if (letThroughAt !== undefined) continue;
      // It waited for the approval of an earlier request: whether that came in time, its own events do not say.
      if (summary.effect === 'hold' && !held) session.letThroughAt = this.#openedAt;
      else ends.push(endOf(summary, summary.effect === 'deny' ? 'denied' : 'failed'));
    }
    return ends;
  }

  #endIsUnknown({ emitter: id, letThroughAt, summary }: Session, now: number): boolean {
    if (letThroughAt === undefined || this.#ending.has(summary.id)) return false;
    // Nobody said yet that it was forwarded: any emitter may.
    if (id === '') return this.#graceIsOver(Math.max(letThroughAt, this.#returnedAt), now) && !this.#awaitsAny(now);
    const emitter = this.#emitters.get(id);
    return emitter?.stream === undefined && this.#graceIsOver(emitter?.goneAt ?? letThroughAt, now);
  }

  #graceIsOver(since: number, now: number): boolean {
    return now - Math.max(since, this.#unwellAt) >= this.#graceMs;
  }

  /** Whether some emitter is away and may yet come back. */
  #awaitsAny(now: number): boolean {
    for (const { stream, goneAt, id } of this.#emitters.values())
      if (stream === undefined && id !== this.emitter && !this.#graceIsOver(goneAt, now)) return true;
    return false;
  }

  async #endUnknown(sessions: readonly Session[]): Promise<void> {
    for (const { summary } of sessions) this.#ending.add(summary.id);
    try {
      await this.append(sessions.map(({ summary }) => endOf(summary, 'unknown')));
      this.metrics.unknownEnds += sessions.length;
    } finally {
      for (const { summary } of sessions) this.#ending.delete(summary.id);
    }
  }

  /** Sessions that memory has let go of, the newest first. */
  async #older(filter: SessionFilter, limit: number): Promise<SessionSummary[]> {
    await this.#updateIndex();
    return this.#index.list(filter, limit, (id) => this.#table.get(id) !== undefined).map(({ summary }) => summary);
  }

  /** The records at these indices, which ascend. */
  async *#at(indices: readonly number[]): AsyncGenerator<TapRecord> {
    for (let next = 0; next < indices.length; ) {
      // What stands close together is read at once.
      for await (const record of this.#store.read(indices[next] as number)) {
        // What was pruned is not among them.
        while ((indices[next] as number) < record.index) next += 1;
        if (record.index !== indices[next]) continue;
        yield record;
        next += 1;
        if (next >= indices.length || (indices[next] as number) - record.index > CLOSE_INDICES) break;
      }
    }
  }
}

/** Throws a `SinkError` (`unreadable`). */
const decoded = (index: number, bytes: Buffer): TapEvent => {
  try {
    return decodeEvent(bytes);
  } catch (error) {
    throw new SinkError('unreadable', `record ${index} of the tap: ${(error as Error).message}`, error);
  }
};

/** Whether what is known of an emitter at this sequence is known by the record. One that has gone on since was taken at its word. */
const isSure = ({ proven, assumed, staged }: Emitter, sequence: number): boolean => proven && (sequence > assumed || staged > assumed);

/** What a session's next event goes on from. */
const chainOf = ({ indices }: Session): Chain | undefined =>
  indices.length === 0 ? undefined : { index: indices.at(-1) as number, position: indices.length };

const endOf = ({ id: session, target }: SessionSummary, outcome: string): OwnEvent => ({
  session,
  target,
  body: { kind: 'session_closed', outcome },
});

/**
 * Opens the record and takes note of what it holds beyond its index.
 * Rejects as the store does (`openLog`) or with a `SinkError` (`unreadable`, `unavailable`).
 */
export const openSink = async (options: SinkOptions): Promise<Sink> => {
  const sink = new RecordSink(options);
  await sink.open(options.openStore);
  return sink;
};
