/** The routes of the admin API: one row each. A call is what the server has parsed; an answer is what it writes. */
import type { Approvals } from '../approval/approvals.ts';
import { APPROVAL_STATES, type Approver, type Verdict } from '../approval/state.ts';
import { approvalDetail, approvalSummary } from '../approval/view.ts';
import { isAuditor, maySee } from './access.ts';
import type { Health } from './health.ts';
import type { Metrics } from './metrics.ts';
import { AdminProblem } from './problem.ts';

/** Fields that are absent do not filter. */
export interface SessionFilter {
  readonly identity?: string;
  readonly target?: string;
  readonly run?: string;
  readonly effect?: 'allow' | 'deny' | 'hold';
  readonly outcome?: string;
  readonly state?: 'open' | 'held' | 'closed';
  /** A rule that judged it, who answered one of its holds, and a masking rule that masked something in it. */
  readonly rule?: string;
  readonly approver?: string;
  readonly masked?: string;
  /** Opened at or after, and before: Unix milliseconds. */
  readonly since?: number;
  readonly until?: number;
  readonly limit: number;
}

/** What the admin API needs of the tap: its index of sessions. */
export interface SessionIndex {
  /** Newest first. */
  list(filter: SessionFilter): readonly object[] | Promise<readonly object[]>;
  /** The session's events in order; undefined or none when there is no such session. */
  events(id: string): Events | undefined | Promise<Events | undefined>;
}

/** What the admin API needs of the tap's runs. */
export interface RunIndex {
  /** That with the newest session first, of all sessions that the filter lets through; `limit` bounds the runs that are listed, and `more` counts the others. */
  list(filter: SessionFilter): Promise<{ readonly runs: readonly object[]; readonly more: number }>;
  /** Of all its sessions that the filter lets through; undefined when there are none. */
  detail(run: string, filter: Omit<SessionFilter, 'limit' | 'run'>): Promise<object | undefined>;
}
type Events = Iterable<object> | AsyncIterable<object>;

/** What the admin API needs of the record as a whole. */
export interface RecordReader {
  /** The log's name: with an index it names an event for ever. */
  readonly origin: string;
  /** How many events are durable. */
  readonly size: number;
  /** The durable events from `index` on, in order. */
  read(index: number): AsyncGenerator<{ readonly index: number; readonly bytes: Uint8Array }, void>;
  /** How a session began, and what was judged in it last: events before this index, in order. */
  recall(session: string, before: number): AsyncGenerator<{ readonly index: number; readonly bytes: Uint8Array }, void>;
}

interface LegalHold {
  readonly session: string;
  readonly by: string;
  readonly reason: string;
  readonly at: string;
}

/** What the admin API needs of the legal holds. Changes reject when they could not be made durable, or not be recorded. */
export interface LegalHoldSource {
  list(): readonly LegalHold[];
  add(session: string, by: string, reason: string): Promise<LegalHold>;
  /** @returns false when there is none */
  release(session: string, by: string, reason: string): Promise<boolean>;
}

/** What is told of the retention. Times are Unix milliseconds, ages milliseconds. */
export interface RetentionState {
  /** By class: events, and payloads by what they are. */
  readonly ages: Readonly<Record<string, number | undefined>>;
  /** Of each class that has an age, at the last sweep: bundles that only a legal hold keeps, objects that a lock keeps, and before when nothing more is due. */
  readonly plan: Readonly<Record<string, { readonly held: number; readonly locked: number; readonly nextMs: number | undefined }>>;
  /** Bundles that only a legal hold keeps, and objects that a lock in a replica keeps, at the last sweep. */
  readonly held: number;
  readonly locked: number;
  readonly sweptAt: number | undefined;
  /** `undefined`: now. */
  readonly nextAt: number | undefined;
  readonly last: { readonly at: number; readonly what: readonly string[] } | undefined;
}

/** What the admin API needs of the clock that retention goes by. */
export interface ClockSource {
  /** `undefined` without any retention. */
  state(): { readonly suspended: string | undefined; readonly stalled: string | undefined; readonly aheadMs: number } | undefined;
  retention(): RetentionState;
  /** Leaves below `minimum` were pruned, those below `next` would be; `undefined` when none ever are, or it is not known yet. */
  pruning?(): { readonly minimum: number; readonly next: number; readonly waitsFor: string } | undefined;
  /** Rejects when it could not be recorded. @returns false without any retention */
  confirm(by: string, reason: string): Promise<boolean>;
}

export interface AdminSources {
  readonly approvals: Approvals;
  readonly record: RecordReader;
  readonly sessions: SessionIndex;
  readonly runs: RunIndex;
  readonly metrics: Metrics;
  readonly health: Health;
  /** `group:<name>` or `identity:<id>`: who sees every session and every approval. */
  readonly auditors: readonly string[];
  /** Likewise: who puts legal holds on sessions, and takes them off. */
  readonly custodians: readonly string[];
  readonly legalHolds: LegalHoldSource;
  readonly clock: ClockSource;
}

export interface Call {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The JSON body; undefined where the route takes none. */
  readonly body: unknown;
}

export type Answer =
  | { readonly status: number; readonly json: unknown }
  | { readonly status: number; readonly text: string; readonly contentType: string }
  /** `{…head, [member]: [items…]}`, written as the items come. */
  | {
      readonly status: number;
      readonly head: Readonly<Record<string, unknown>>;
      readonly member: string;
      readonly items: AsyncIterable<object>;
    };

export type Route = { readonly method: 'GET' | 'POST'; readonly path: string } & (
  | { readonly open: true; readonly serve: (sources: AdminSources, call: Call) => Answer | Promise<Answer> }
  | { readonly open: false; readonly serve: (sources: AdminSources, call: Call, caller: Approver) => Answer | Promise<Answer> }
);

/** `open`: answered to anybody who can connect. */
export const ROUTES: readonly Route[] = [
  { method: 'GET', path: '/healthz', open: true, serve: () => ({ status: 200, json: { alive: true } }) },
  { method: 'GET', path: '/readyz', open: true, serve: readiness },
  { method: 'GET', path: '/metrics', open: true, serve: exposition },
  { method: 'GET', path: '/v1/approvals', open: false, serve: listApprovals },
  { method: 'GET', path: '/v1/approvals/:id', open: false, serve: showApproval },
  { method: 'POST', path: '/v1/approvals/:id/answer', open: false, serve: answerApproval },
  { method: 'GET', path: '/v1/events', open: false, serve: listEvents },
  { method: 'GET', path: '/v1/sessions', open: false, serve: listSessions },
  { method: 'GET', path: '/v1/sessions/:id', open: false, serve: showSession },
  { method: 'GET', path: '/v1/legal-holds', open: false, serve: listLegalHolds },
  { method: 'POST', path: '/v1/legal-holds/:id', open: false, serve: changeLegalHold },
  { method: 'GET', path: '/v1/retention', open: false, serve: showRetention },
  { method: 'POST', path: '/v1/retention', open: false, serve: confirmClock },
  { method: 'GET', path: '/v1/runs', open: false, serve: listRuns },
  { method: 'GET', path: '/v1/run', open: false, serve: showRun },
];

function readiness({ health }: AdminSources): Answer {
  const { readiness: now } = health;
  return { status: now.ready ? 200 : 503, json: now };
}

async function exposition({ metrics }: AdminSources): Promise<Answer> {
  return { status: 200, text: await metrics.text(), contentType: metrics.contentType };
}

function listApprovals({ approvals, auditors }: AdminSources, { query }: Call, caller: Approver): Answer {
  const { state } = parameters(query, ['state']);
  const seen = approvals
    .list(state === undefined ? undefined : oneOf('state', APPROVAL_STATES, state))
    .filter((approval) => maySee(caller, approval, auditors));
  return { status: 200, json: { approvals: seen.map(approvalSummary) } };
}

function showApproval({ approvals, auditors }: AdminSources, { params, query }: Call, caller: Approver): Answer {
  parameters(query, []);
  const approval = approvals.get(params.id ?? '');
  if (approval && maySee(caller, approval, auditors)) return { status: 200, json: approvalDetail(approval) };
  const own = approvals.status(params.id ?? '', caller.identity.id);
  if (own) return { status: 200, json: own };
  // Whether there is one is nobody else's business.
  throw new AdminProblem('not_found', 'There is no such approval that you may see.');
}

async function answerApproval({ approvals, auditors }: AdminSources, { params, query, body }: Call, caller: Approver): Promise<Answer> {
  parameters(query, []);
  const id = params.id ?? '';
  const { verdict, reason } = parseAnswer(body);
  const approval = approvals.get(id);
  const own = approval?.request.identity.id === caller.identity.id;
  if (!approval || !(own || maySee(caller, approval, auditors)))
    throw new AdminProblem('not_found', 'There is no such approval that you may see.');
  const result = await approvals.answer(id, caller, verdict, reason);
  if (!result.ok)
    throw new AdminProblem(result.code, result.detail, {
      members: { approval: id },
      headers: result.code === 'not_durable' ? { 'retry-after': '1' } : {},
    });
  return { status: 200, json: { ...approvalSummary(result.approval), again: result.again } };
}

function parseAnswer(body: unknown): { verdict: Verdict; reason: string } {
  const { verdict, reason = '', ...others } = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  if (verdict !== 'approve' && verdict !== 'deny' && verdict !== 'revoke')
    throw new AdminProblem('bad_request', 'The body is {"verdict": "approve", "deny" or "revoke", "reason": "…"}.');
  // A reason ends up on terminals, in logs and in the record.
  if (typeof reason !== 'string' || /[\p{Cc}\p{Cs}]/u.test(reason))
    throw new AdminProblem('bad_request', 'The reason is one line of text.');
  if (Object.keys(others).length > 0) throw new AdminProblem('bad_request', 'The body has only verdict and reason.');
  return { verdict, reason };
}

const MAX_EVENTS = 10_000;

/**
 * The events themselves, in their own encoding: what the reader makes of them costs the service nothing. With `session`, how that one began and what was judged in
 * it last, before event `before`: what a reader needs who begins in the middle of it.
 */
function listEvents({ record, auditors }: AdminSources, { query }: Call, caller: Approver): Answer {
  audit(caller, auditors);
  const { origin, size } = record;
  const told = (items: AsyncIterable<object>): Answer => ({ status: 200, head: { origin, size }, member: 'events', items });
  const given = parameters(query, ['from', 'limit', 'session', 'before']);
  if (given.session !== undefined && given.before !== undefined && given.from === undefined && given.limit === undefined)
    return told(encoded(record.recall(given.session, wholeNumber('before', given.before, Number.MAX_SAFE_INTEGER)), size));
  if (given.session !== undefined || given.before !== undefined)
    throw new AdminProblem('bad_request', 'session goes with before, and with nothing else.');
  const { from = '0', limit = '1000' } = given;
  const first = wholeNumber('from', from, Number.MAX_SAFE_INTEGER);
  const end = Math.min(size, first + wholeNumber('limit', limit, MAX_EVENTS));
  return told(first < end ? encoded(record.read(first), end) : nothing());
}

type Records = ReturnType<RecordReader['read']>;

async function* encoded(records: Records, end: number): AsyncGenerator<object, void> {
  for await (const { index, bytes } of records) {
    if (index >= end) return;
    yield { index, bytes: Buffer.from(bytes).toString('base64') };
  }
}

async function* nothing(): AsyncGenerator<object, void> {}

function wholeNumber(name: string, given: string, most: number): number {
  if (!/^(?:0|[1-9]\d{0,15})$/.test(given) || Number(given) > most)
    throw new AdminProblem('bad_request', `${name} is a whole number, at most ${most}.`);
  return Number(given);
}

async function listSessions({ sessions, auditors }: AdminSources, { query }: Call, caller: Approver): Promise<Answer> {
  audit(caller, auditors);
  return { status: 200, json: { sessions: await sessions.list(parseFilter(query)) } };
}

async function listRuns({ runs, auditors }: AdminSources, { query }: Call, caller: Approver): Promise<Answer> {
  audit(caller, auditors);
  return { status: 200, json: await runs.list(parseFilter(query)) };
}

/** Named in the query: a run's id is whatever its caller chose, and no segment of a path. */
async function showRun({ runs, auditors }: AdminSources, { query }: Call, caller: Approver): Promise<Answer> {
  audit(caller, auditors);
  const filter = new URLSearchParams(query);
  filter.delete('id');
  const [id = '', ...more] = query.getAll('id');
  if (more.length > 0 || filter.has('run') || filter.has('limit'))
    throw new AdminProblem('bad_request', 'A run is named once, by id, and counted in full.');
  const { limit: _, ...within } = parseFilter(filter);
  const run = await runs.detail(id, within);
  if (!run) throw new AdminProblem('not_found', 'There is no such run in the record.');
  return { status: 200, json: run };
}

async function showSession({ sessions, auditors }: AdminSources, { params, query }: Call, caller: Approver): Promise<Answer> {
  audit(caller, auditors);
  parameters(query, []);
  const session = params.id ?? '';
  const events = iterator((await sessions.events(session)) ?? []);
  const first = await events.next();
  if (first.done) throw new AdminProblem('not_found', 'There is no such session in the record.');
  return { status: 200, head: { session }, member: 'events', items: resumed(first.value, events) };
}

async function* iterator(events: Events): AsyncGenerator<object, void> {
  yield* events;
}

async function* resumed(first: object, rest: AsyncGenerator<object, void>): AsyncGenerator<object, void> {
  try {
    yield first;
    yield* rest;
  } finally {
    await rest.return();
  }
}

function listLegalHolds({ legalHolds, auditors, custodians }: AdminSources, { query }: Call, caller: Approver): Answer {
  if (!isAuditor(caller, auditors) && !isAuditor(caller, custodians))
    throw new AdminProblem('forbidden', 'Legal holds are shown to auditors and custodians: those named under admin in the configuration.');
  parameters(query, []);
  return { status: 200, json: { legal_holds: legalHolds.list() } };
}

function showRetention({ clock, legalHolds, auditors, custodians }: AdminSources, { query }: Call, caller: Approver): Answer {
  if (!isAuditor(caller, auditors) && !isAuditor(caller, custodians))
    throw new AdminProblem('forbidden', 'Retention is shown to auditors and custodians: those named under admin in the configuration.');
  parameters(query, []);
  const state = clock.state();
  const held = { legal_holds: legalHolds.list().length };
  if (state === undefined) return { status: 200, json: { deletes: 'never', ...held } };
  const { suspended, stalled, aheadMs } = state;
  const { ages, plan: planned, held: bundles, locked, sweptAt, nextAt, last } = clock.retention();
  const seconds = (ms: number | undefined): number | undefined => ms && ms / 1000;
  const time = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString());
  const plan = clock.pruning?.();
  return {
    status: 200,
    json: {
      deletes: suspended === undefined ? 'when due' : 'suspended',
      suspended,
      stalled,
      clock_ahead_seconds: aheadMs / 1000,
      kept_seconds: Object.fromEntries(Object.entries(ages).map(([name, age]) => [name, seconds(age)])),
      plan: Object.entries(planned).map(([name, one]) => ({
        class: name,
        not_before: time(one.nextMs),
        held_bundles: one.held,
        locked_objects: one.locked,
      })),
      ...held,
      held_bundles: bundles,
      locked_objects: locked,
      last_sweep: time(sweptAt),
      next_sweep: time(nextAt),
      last_deleted: last && { at: time(last.at), what: last.what },
      ...(plan && { leaves: { pruned_below: plan.minimum, next_below: plan.next, rest_waits_for: plan.waitsFor } }),
    },
  };
}

async function confirmClock({ clock, custodians }: AdminSources, { query, body }: Call, caller: Approver): Promise<Answer> {
  if (!isAuditor(caller, custodians))
    throw new AdminProblem('forbidden', 'Only custodians may confirm the clock: those named under admin.custodians in the configuration.');
  if (caller.onBehalfOf !== '') throw new AdminProblem('delegated', 'Only a person may confirm the clock, not an agent on behalf of one.');
  parameters(query, []);
  const { reason } = parseChange(body, ['confirm-clock'] as const);
  const confirmed = await clock.confirm(caller.identity.id, reason).catch(() => {
    throw new AdminProblem('not_durable', 'It could not be recorded: do it again.', { headers: { 'retry-after': '1' } });
  });
  if (!confirmed) throw new AdminProblem('not_found', 'Nothing is deleted by age: there is no tap.retention.');
  return { status: 200, json: { confirmed: true } };
}

const MAX_REASON = 1000;

async function changeLegalHold(sources: AdminSources, { params, query, body }: Call, caller: Approver): Promise<Answer> {
  const { legalHolds, sessions, custodians } = sources;
  if (!isAuditor(caller, custodians))
    throw new AdminProblem('forbidden', 'Legal holds are for custodians: those named under admin.custodians in the configuration.');
  if (caller.onBehalfOf !== '') throw new AdminProblem('delegated', 'Legal holds are put on and taken off in person.');
  parameters(query, []);
  const session = params.id ?? '';
  const { change, reason } = parseChange(body, ['add', 'release'] as const);
  try {
    if (change === 'release') {
      if (!(await legalHolds.release(session, caller.identity.id, reason)))
        throw new AdminProblem('not_found', 'There is no legal hold on this session.');
      return { status: 200, json: { session, released: true } };
    }
    const events = iterator((await sessions.events(session)) ?? []);
    const { done } = await events.next();
    await events.return();
    if (done) throw new AdminProblem('not_found', 'There is no such session in the record.');
    return { status: 200, json: await legalHolds.add(session, caller.identity.id, reason) };
  } catch (error) {
    if (error instanceof AdminProblem) throw error;
    throw new AdminProblem('not_durable', `The ${change} could not be recorded: do it again. Until that succeeds a hold counts.`, {
      headers: { 'retry-after': '1' },
    });
  }
}

function parseChange<Change extends string>(body: unknown, changes: readonly Change[]): { change: Change; reason: string } {
  const { change: asked, reason, ...others } = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const change = changes.find((each) => each === asked);
  if (change === undefined || Object.keys(others).length > 0)
    throw new AdminProblem('bad_request', `The body is {"change": ${changes.map((each) => `"${each}"`).join(' or ')}, "reason": "…"}.`);
  if (typeof reason !== 'string' || reason.trim() === '' || /[\p{Cc}\p{Cs}]/u.test(reason))
    throw new AdminProblem('bad_request', 'The reason is one line of text.');
  if (reason.length > MAX_REASON) throw new AdminProblem('reason_too_long', `A reason has at most ${MAX_REASON} characters.`);
  return { change, reason };
}

function audit(caller: Approver, auditors: readonly string[]): void {
  if (!isAuditor(caller, auditors))
    throw new AdminProblem('forbidden', 'Sessions are shown to auditors: those named under admin.auditors in the configuration.');
}

const MAX_LISTED = 1000;

const EFFECTS = ['allow', 'deny', 'hold'] as const;
const ANSWERS = ['approved', 'denied', 'expired', 'cancelled', 'revoked'] as const;
const STATES = ['open', 'held', 'closed'] as const;

function parseFilter(query: URLSearchParams, otherwise = 100): SessionFilter {
  const names = [
    'identity',
    'target',
    'run',
    'effect',
    'answer',
    'outcome',
    'state',
    'rule',
    'approver',
    'masked',
    'statement',
    'since',
    'until',
    'limit',
  ] as const;
  const { since, until, limit = String(otherwise), effect, answer, state, ...words } = parameters(query, names);
  if (!/^[1-9][0-9]{0,3}$/.test(limit) || Number(limit) > MAX_LISTED)
    throw new AdminProblem('bad_request', `limit is a number from 1 to ${MAX_LISTED}.`);
  return {
    ...words,
    ...(effect === undefined ? {} : { effect: oneOf('effect', EFFECTS, effect) }),
    ...(answer === undefined ? {} : { answer: oneOf('answer', ANSWERS, answer) }),
    ...(state === undefined ? {} : { state: oneOf('state', STATES, state) }),
    ...(since === undefined ? {} : { since: parseTime('since', since) }),
    ...(until === undefined ? {} : { until: parseTime('until', until) }),
    limit: Number(limit),
  };
}

function oneOf<Word extends string>(name: string, words: readonly Word[], given: string): Word {
  const word = words.find((candidate) => candidate === given);
  if (word === undefined) throw new AdminProblem('bad_request', `${name} is one of ${words.join(', ')}.`);
  return word;
}

/** RFC 3339 section 5.6 to Unix milliseconds. */
function parseTime(name: string, given: string): number {
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/.test(given) ? Date.parse(given) : Number.NaN;
  if (Number.isNaN(ms)) throw new AdminProblem('bad_request', `${name} is a time as in RFC 3339: 2026-01-31T12:00:00Z.`);
  return ms;
}

/** The query's parameters: each at most once, and no other. A filter that was misspelt must not show everything. */
function parameters<Name extends string>(query: URLSearchParams, names: readonly Name[]): { [name in Name]?: string } {
  const found: { [name in Name]?: string } = {};
  for (const [name, value] of query) {
    const known = names.find((candidate) => candidate === name);
    if (known === undefined)
      throw new AdminProblem('bad_request', names.length > 0 ? `The parameters are ${names.join(', ')}.` : 'This takes no parameters.');
    if (found[known] !== undefined) throw new AdminProblem('bad_request', `${known} is given more than once.`);
    if (value === '') throw new AdminProblem('bad_request', `${known} is empty.`);
    found[known] = value;
  }
  return found;
}
