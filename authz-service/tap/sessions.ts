/**
 * What is known of recent sessions, gathered from their events in the order of the record. In memory and bounded: sessions that have ended make room, oldest
 * first; one that has not is never forgotten, because its end may have to be recorded as unknown.
 */
import { type MaskedField, type TapBody, type TapEvent, TOLD_BESIDE } from './schema.ts';
import { newTally, REST, type Tally, tallyEvent } from './tally.ts';

export type SessionState = 'open' | 'held' | 'closed';

export interface SessionSummary {
  readonly id: string;
  readonly target: string;
  protocol: string;
  identity: string;
  run: string;
  onBehalfOf: string;
  /** Unix milliseconds, by the clock of who told. */
  readonly openedAt: number;
  /** `undefined` while it goes on. */
  closedAt: number | undefined;
  state: SessionState;
  /** The judged request in one line; of a session's commands the last of those that were judged most strictly, a hold that was not approved as strictly as a denial. */
  request: string;
  /** How many of its commands were judged; 0 when the session is one request. */
  commands: number;
  /** allow, deny or hold; empty before it was judged. */
  effect: string;
  rule: string;
  /** The hold's approval, or that of the grant that let the request through. */
  approval: string;
  /** How the hold of that request ended; empty when it has not or there was none. */
  answer: string;
  /** How much of what was judged was stopped: denied, or held and not approved. */
  stopped: number;
  /** Of `session_closed`: complete, denied, cancelled, failed, pending, unknown; empty while it goes on. */
  outcome: string;
  /** The status of the response; 0 before. */
  status: number;
  /** How many values were masked. */
  masked: number;
  /** Events so far. */
  events: number;
  /** Something arrived after the end that should stand before it. */
  late: boolean;
}

/** What a session can be found by besides its summary: it may have several of each. */
export const TERMS = ['effect', 'rule', 'answer', 'approver', 'masked', 'statement'] as const;
/** As `approver:corp:dana`. */
export type Term = `${(typeof TERMS)[number]}:${string}`;

/** What the table knows of a session beside its summary. */
export interface Session {
  readonly summary: SessionSummary;
  /** Where its events stand in the record. */
  readonly indices: number[];
  readonly terms: Set<Term>;
  /** Who forwards its request or its commands; empty before that is known. */
  emitter: string;
  /** When it was let through, by the sink's clock in Unix milliseconds; `undefined` when it was not. */
  letThroughAt: number | undefined;
  /** A `request_held` of its own was recorded: without one, a held session waits for another's approval. */
  held: boolean;
  /** It goes on after its opening was judged: commands follow. */
  carriesCommands: boolean;
  /** The number of the command that the summary shows; 0: the session is one request. */
  shown: number;
  /** Of how many statements it has terms. */
  statements: number;
  readonly tally: Tally;
  /** Its first event was seen to come, so that all its events are known by the record itself. Not what the index says. */
  begun: boolean;
}

export interface SessionFilter {
  readonly identity?: string;
  readonly target?: string;
  readonly run?: string;
  /** How it or one of its commands was judged. */
  readonly effect?: string;
  readonly outcome?: string;
  readonly state?: SessionState;
  /** How one of its holds ended. */
  readonly answer?: string;
  /** A statement's fingerprint. */
  readonly statement?: string;
  /** A rule that judged it or one of its commands. */
  readonly rule?: string;
  /** Who answered one of its holds, by stable identity. */
  readonly approver?: string;
  /** A masking rule that masked a value of it. */
  readonly masked?: string;
  /** Opened at or after, Unix milliseconds. */
  readonly since?: number;
  /** Opened before, Unix milliseconds. */
  readonly until?: number;
  /** Default 100. */
  readonly limit?: number;
}

const FILTERED = ['identity', 'target', 'run', 'outcome', 'state'] as const;

export const matches = ({ summary, terms }: Session, filter: SessionFilter): boolean =>
  FILTERED.every((name) => filter[name] === undefined || summary[name] === filter[name]) &&
  // Some are not kept of a session that has very many: it is found by any of them, rather than missed by one.
  TERMS.every((field) => filter[field] === undefined || terms.has(`${field}:${filter[field]}`) || terms.has(`${field}:${REST}`)) &&
  (filter.since === undefined || summary.openedAt >= filter.since) &&
  (filter.until === undefined || summary.openedAt < filter.until);

const newSession = ({ session: id, target, timeUnixNanos }: Pick<TapEvent, 'session' | 'target' | 'timeUnixNanos'>): Session => ({
  summary: {
    id,
    target,
    protocol: '',
    identity: '',
    run: '',
    onBehalfOf: '',
    openedAt: Number(timeUnixNanos / 1_000_000n),
    closedAt: undefined,
    state: 'open',
    request: '',
    commands: 0,
    effect: '',
    rule: '',
    approval: '',
    answer: '',
    stopped: 0,
    outcome: '',
    status: 0,
    masked: 0,
    events: 0,
    late: false,
  },
  indices: [],
  terms: new Set(),
  emitter: '',
  letThroughAt: undefined,
  held: false,
  carriesCommands: false,
  shown: 0,
  statements: 0,
  tally: newTally(),
  begun: false,
});

/** What was judged, the mildest first: a session shows the strictest of what it did. */
const STRICTNESS: readonly string[] = ['', 'allow', 'hold', 'deny'];
/** Ends of a hold after which what was held does not pass. */
const STOPS: ReadonlySet<string> = new Set(['denied', 'expired', 'cancelled', 'revoked']);

const strictnessOf = ({ effect, answer }: SessionSummary): number => STRICTNESS.indexOf(STOPS.has(answer) ? 'deny' : effect);

/** A session may run any number of statements, and is found by so many. */
const MOST_STATEMENTS = 1000;

const findByStatement = (session: Session, fingerprint: string): void => {
  const term = `statement:${session.statements < MOST_STATEMENTS ? fingerprint : REST}` as const;
  if (session.terms.has(`statement:${fingerprint}`) || session.terms.has(term)) return;
  session.terms.add(term);
  session.statements += 1;
};

const countMasked = ({ summary, terms }: Session, masked: readonly MaskedField[]): void => {
  for (const { rule, count } of masked) {
    summary.masked += count;
    terms.add(termOf('masked', rule));
  }
};

const SHORT_TERM = 64;
const MOST_SHARED = 4096;
const shared = new Map<string, Map<string, Term>>();

/** Rules, effects and answers are few, and sessions many: they share the text. */
const termOf = (field: (typeof TERMS)[number], value: string): Term => {
  let known = shared.get(field);
  if (known === undefined) shared.set(field, (known = new Map()));
  let term = known.get(value);
  if (term !== undefined) return term;
  term = `${field}:${value}`;
  if (known.size < MOST_SHARED && value.length <= SHORT_TERM) known.set(value, term);
  return term;
};

/** What one event changes. `now` is when the sink learned of it, Unix milliseconds. */
const apply = (session: Session, { emitter, timeUnixNanos, command = 0 }: TapEvent, body: TapBody, now: number): void => {
  const { summary } = session;
  switch (body.kind) {
    case 'session_opened': {
      const { protocol, identity, run, onBehalfOf } = body;
      Object.assign(summary, { protocol, identity, run, onBehalfOf });
      return;
    }
    case 'request_judged': {
      const { request, effect, rule, approval, statementFingerprint } = body;
      session.terms.add(termOf('effect', effect));
      if (rule !== '') session.terms.add(termOf('rule', rule));
      if (statementFingerprint !== '') findByStatement(session, statementFingerprint);
      summary.commands = Math.max(summary.commands, command);
      if (effect === 'deny') summary.stopped += 1;
      if (STRICTNESS.indexOf(effect) >= strictnessOf(summary)) {
        session.shown = command;
        Object.assign(summary, { request, effect, rule, approval, answer: '' });
      }
      // A hold with an approval is one that a grant let through.
      if (effect === 'allow' || (effect === 'hold' && approval !== '')) session.letThroughAt ??= now;
      else if (effect === 'hold' && summary.state === 'open') summary.state = 'held';
      return;
    }
    case 'request_held':
      if (command === session.shown) summary.approval = body.approval;
      session.held = true;
      return;
    case 'hold_answered':
      if (body.by !== '') session.terms.add(`approver:${body.by}`);
      if (body.answer === 'vote') return;
      session.terms.add(termOf('answer', body.answer));
      if (STOPS.has(body.answer)) summary.stopped += 1;
      if (summary.approval === '' || summary.approval === body.approval) summary.answer = body.answer;
      if (summary.state === 'closed') return;
      summary.state = 'open';
      if (body.answer === 'approved') session.letThroughAt ??= now;
      return;
    case 'request_forwarded':
      session.emitter = body.emitter || emitter;
      session.carriesCommands = body.emitter !== '';
      session.letThroughAt ??= now;
      if (summary.state === 'held') summary.state = 'open';
      return;
    case 'response_finished':
      summary.status = body.status;
      countMasked(session, body.masked);
      return;
    case 'command_finished':
      countMasked(session, body.masked);
      return;
    case 'session_closed':
      // The first end counts, unless it was only assumed.
      if (summary.state === 'closed' && summary.outcome !== 'unknown') return;
      summary.outcome = body.outcome;
      summary.closedAt = Number(timeUnixNanos / 1_000_000n);
      summary.state = 'closed';
      return;
  }
};

/** Takes note of a durable event of this session. `now`: Unix milliseconds. */
export const addTo = (session: Session, index: number, event: TapEvent, now: number): void => {
  const { summary, indices } = session;
  // What the index had of it already.
  if ((indices.at(-1) ?? -1) >= index) return;
  if (summary.outcome !== '' && !TOLD_BESIDE.has(event.body.kind)) summary.late = true;
  indices.push(index);
  summary.events += 1;
  tallyEvent(session.tally, event);
  apply(session, event, event.body, now);
};

/** A session whose beginning the record does not have: it can be found, and nobody waits for its end. */
export const begunElsewhere = (event: TapEvent): Session => {
  const session = newSession(event);
  session.summary.state = 'closed';
  return session;
};

export class SessionTable {
  readonly #capacity: number;
  /** In the order in which they were first heard of. */
  readonly #sessions = new Map<string, Session>();
  readonly #open = new Map<string, Session>();
  #complete = true;

  /** Keeps all open sessions, and about `capacity` in all when there are fewer open ones. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Whether some have been forgotten: then older ones are found by reading the record only. */
  get complete(): boolean {
    return this.#complete;
  }

  get open(): Iterable<Session> {
    return this.#open.values();
  }

  get openCount(): number {
    return this.#open.size;
  }

  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** Says that there are sessions that it was not told of. */
  begunLater(): void {
    this.#complete = false;
  }

  /** Takes back one that was forgotten. */
  restore(session: Session): void {
    const { id, state } = session.summary;
    this.#sessions.set(id, session);
    if (state !== 'closed') this.#open.set(id, session);
    this.#evict();
  }

  /** Takes note of a durable event; returns its session. `now`: Unix milliseconds. */
  add(index: number, event: TapEvent, now: number): Session | undefined {
    const id = event.session;
    if (id === '') return undefined;
    let session = this.#sessions.get(id);
    if (session === undefined) {
      // Every session begins with these; another event belongs to one that ended and was forgotten.
      if (event.body.kind !== 'session_opened' && event.body.kind !== 'request_judged') return undefined;
      session = newSession(event);
      this.#sessions.set(id, session);
      this.#open.set(id, session);
      this.#evict();
    }
    addTo(session, index, event, now);
    if (session.summary.state === 'closed') this.#open.delete(id);
    return session;
  }

  /** Takes note of an event that was deleted: what its leaf says of it. `ends`: it was the end of its session. */
  addDeleted(index: number, about: Pick<TapEvent, 'session' | 'target' | 'timeUnixNanos'>, ends: boolean): Session | undefined {
    if (about.session === '') return undefined;
    const session = this.#sessions.get(about.session) ?? newSession(about);
    if ((session.indices.at(-1) ?? -1) >= index) return session;
    this.#sessions.set(about.session, session);
    session.indices.push(index);
    session.summary.events += 1;
    if (ends) session.summary.state = 'closed';
    if (session.summary.state === 'closed') this.#open.delete(about.session);
    else this.#open.set(about.session, session);
    this.#evict();
    return session;
  }

  /** The newest first. */
  list(filter: SessionFilter = {}): SessionSummary[] {
    const { limit = 100 } = filter;
    const found: SessionSummary[] = [];
    const sessions = [...this.#sessions.values()];
    for (let i = sessions.length - 1; i >= 0 && found.length < limit; i -= 1) {
      const session = sessions[i] as Session;
      if (matches(session, filter)) found.push({ ...session.summary });
    }
    return found;
  }

  /** Those that have ended and whose first event stands from `from` to before `to`. */
  *closed(from: number, to: number): Generator<Session> {
    for (const session of this.#sessions.values()) {
      const [first = -1] = session.indices;
      if (session.summary.state === 'closed' && first >= from && first < to) yield session;
    }
  }

  forget(id: string): void {
    this.#open.delete(id);
    if (this.#sessions.delete(id)) this.#complete = false;
  }

  /** Lets ended sessions go while there are too many, oldest first: a sixteenth at a time, because it steps over those that are open. */
  #evict(): void {
    const capacity = Math.max(this.#capacity, this.#open.size);
    let excess = this.#sessions.size - capacity;
    if (excess <= capacity / 16) return;
    for (const [id, { summary }] of this.#sessions) {
      if (excess <= 0) return;
      if (summary.state !== 'closed') continue;
      this.forget(id);
      excess -= 1;
    }
  }
}

/** What leaves alone tell of a session whose beginning was deleted after its retention. */
export const forgotten = ({ summary, indices, emitter }: Session): Session => {
  const { id, target, openedAt, closedAt, state, events } = summary;
  const none = newSession({ session: id, target, timeUnixNanos: 0n });
  return { ...none, summary: { ...none.summary, openedAt, closedAt, state, events }, indices, emitter };
};
