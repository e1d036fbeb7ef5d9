/**
 * What the events of a session say of each other: that a response was of this caller's `DELETE /orders/7` stands in the events before it. Gathered in the
 * order of the record, and bounded. After a restart it is found again by reading from `floor` on; what is not there then, was forgotten, or belongs to a session that
 * had ended, is recalled from the session's own events.
 */
import type { Kind, TapEvent } from '../tap/schema.ts';

/** Of a request or command, as far as it was recorded. Everything comes from the masked input of its judgement. */
export interface Judged {
  /** One line for people. */
  readonly summary: string;
  readonly http?: {
    readonly method: string;
    readonly host: string;
    readonly path: string;
    readonly query: string;
    readonly userAgent: string;
  };
  readonly sql?: { readonly database: string; readonly statement: string; readonly commands: readonly string[]; readonly table: string };
}

export interface Caller {
  readonly id: string;
  readonly issuer: string;
  readonly subject: string;
  readonly name: string;
  readonly kind: string;
  readonly client: string;
  readonly tenant: string;
  readonly groups: readonly string[];
}

export interface SessionContext {
  readonly first: number;
  protocol: string;
  caller: Caller;
  run: string;
  onBehalfOf: string;
  /** `IP:PORT`, or empty. */
  address: string;
  /** By command; 0 is the session's own request. */
  readonly judged: Map<number, Judged>;
}

const NOBODY: Caller = { id: '', issuer: '', subject: '', name: '', kind: '', client: '', tenant: '', groups: [] };
/** Of a statement, so much is told again when it ends; its judgement has all of it. */
const MAX_REPEATED = 2048;
/** Of a session's judgements the last ones are remembered. */
const MAX_JUDGED = 200;
/** Sessions that have ended, or were recalled: what is told late comes soon after, if it comes. */
const MAX_RECALLED = 200;
/** Kinds that say what others need: those that a session is recalled by. */
const TELLING: ReadonlySet<Kind> = new Set(['session_opened', 'request_judged']);

/** Whether an event has what its session is recalled by. */
export const tells = (kind: Kind): boolean => TELLING.has(kind);

const word = (value: unknown): string => (typeof value === 'string' ? value : '');
const words = (value: unknown): string[] => (Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []);
const members = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

/** The JSON that an event carries; what its writer cut to fit is none any more. */
export const jsonMembers = (text: string): Record<string, unknown> => {
  try {
    return members(JSON.parse(text));
  } catch {
    return {};
  }
};

export const callerOf = (json: unknown, id: string): Caller => {
  const from = members(json);
  return {
    id: word(from.id) || id,
    issuer: word(from.issuer),
    subject: word(from.subject),
    name: word(from.name),
    kind: word(from.kind),
    client: word(from.client),
    tenant: word(from.tenant),
    groups: words(from.groups),
  };
};

/** What was judged, from its summary and the policy's input. */
export const judgedOf = (summary: string, input: Record<string, unknown>): Judged => {
  const request = members(input.request);
  if (request.protocol === 'http') {
    const query = Object.entries(members(request.query)).flatMap(([name, values]) =>
      words(values).map((value): [string, string] => [name, value]),
    );
    return {
      summary,
      http: {
        method: word(request.method),
        host: word(request.host),
        path: word(request.path),
        query: new URLSearchParams(query).toString(),
        userAgent: words(members(request.headers)['user-agent'])[0] ?? '',
      },
    };
  }
  if (request.protocol === 'postgres') {
    const relations = [request.writes, request.reads].map((list) =>
      (Array.isArray(list) ? list : []).map((one) =>
        [word(members(one).schema), word(members(one).name)].filter((part) => part !== '').join('.'),
      ),
    );
    // One event has room for one table: the one that is written, or read where none is.
    const [table = ''] = relations.find(({ length }) => length > 0) ?? [];
    return {
      summary,
      sql: { database: word(request.database), statement: word(request.statement), commands: words(request.commands), table },
    };
  }
  return { summary };
};

const shortened = ({ sql, ...judged }: Judged): Judged => ({
  ...judged,
  ...(sql && {
    sql: { ...sql, statement: sql.statement.length > MAX_REPEATED ? `${sql.statement.slice(0, MAX_REPEATED)}…` : sql.statement },
  }),
});

const newContext = (first: number): SessionContext => ({
  first,
  protocol: '',
  caller: NOBODY,
  run: '',
  onBehalfOf: '',
  address: '',
  judged: new Map(),
});

export class SessionContexts {
  readonly #sessions = new Map<string, SessionContext>();
  /** Least recently recalled first. They do not count for the floor. */
  readonly #recalled = new Map<string, SessionContext>();
  readonly #most: number;

  /** @param most sessions that are remembered; beyond it those that were opened first are forgotten */
  constructor(most = 20_000) {
    this.#most = most;
  }

  /** The index from which reading fills an empty table with all that this one has; undefined when it is empty. */
  get floor(): number | undefined {
    // In the order of their opening.
    return this.#sessions.values().next().value?.first;
  }

  get(session: string): SessionContext | undefined {
    return this.#sessions.get(session) ?? this.#recalled.get(session);
  }

  /** Whether the session has said before this event what is not known here any more. */
  lacks({ session, body }: TapEvent): boolean {
    return session !== '' && body.kind !== 'session_opened' && this.get(session) === undefined;
  }

  /** Takes note of a session's events again, those before the one that lacked them. */
  recall(session: string, events: Iterable<{ readonly index: number; readonly event: TapEvent }>): void {
    this.#keep(session, newContext(Number.POSITIVE_INFINITY));
    for (const { index, event } of events) if (event.session === session) this.before(index, event);
  }

  /** Takes note of an event before it is mapped. */
  before(index: number, event: TapEvent): void {
    const { session, command = 0, body } = event;
    if (session === '') return;
    if (body.kind === 'session_opened') {
      const context = this.#recalled.get(session) ?? this.#open(session, index);
      context.protocol = body.protocol;
      context.caller = callerOf(jsonMembers(body.identityJson), body.identity);
      context.run = body.run;
      context.onBehalfOf = body.onBehalfOf;
      context.address = body.downstreamAddress;
    } else if (body.kind === 'request_judged') {
      const input = jsonMembers(body.maskedInputJson);
      const context = this.get(session) ?? this.#open(session, index);
      if (context.caller.id === '') context.caller = callerOf(input.identity, '');
      context.judged.set(command, shortened(judgedOf(body.request, input)));
      // A judgement may be good for commands that come later, so it outlasts the end of its own.
      for (const [oldest] of context.judged) {
        if (context.judged.size <= MAX_JUDGED) break;
        context.judged.delete(oldest);
      }
    }
  }

  /** Lets go of what no later event needs, but for those that are told late. */
  after({ session, body }: TapEvent): void {
    const context = body.kind === 'session_closed' ? this.#sessions.get(session) : undefined;
    if (context !== undefined) this.#keep(session, context);
  }

  #keep(session: string, context: SessionContext): void {
    this.#sessions.delete(session);
    this.#recalled.delete(session);
    this.#recalled.set(session, context);
    for (const [id] of this.#recalled) {
      if (this.#recalled.size <= MAX_RECALLED) break;
      this.#recalled.delete(id);
    }
  }

  #open(session: string, first: number): SessionContext {
    const context = newContext(first);
    this.#sessions.delete(session);
    this.#sessions.set(session, context);
    for (const [id] of this.#sessions) {
      if (this.#sessions.size <= this.#most) break;
      this.#sessions.delete(id);
    }
    return context;
  }
}
