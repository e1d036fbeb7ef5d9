/**
 * Events of the record as events of the Open Cybersecurity Schema Framework. Pure: the same event in the same context is the same text, so that a receiver
 * can drop repeats by `metadata.uid`, which names the leaf of the log.
 *
 * | event of the record | class |
 * | --- | --- |
 * | session_opened, session_closed | Authentication 3002: Logon, Logoff |
 * | request_judged and what follows of it | API Activity 6003; of SQL, Datastore Activity 6005; of the opening of a database session, Authorize Session 3003 |
 * | hold_answered | Authorize Session 3003: what a person gave, or did not give |
 * | notice | Application Lifecycle 6002, Entity Management 3004, Detection Finding 2004 |
 * | payload_chunk | none: payloads stay in the record |
 */
import { isIP } from 'node:net';
import type { MaskedField, TapBody, TapBodyOf, TapEvent } from '../tap/schema.ts';
import type { Caller, Judged, SessionContext } from './context.ts';
import { callerOf, jsonMembers, judgedOf } from './context.ts';

export const OCSF_VERSION = '1.5.0';

export interface OcsfSource {
  /** The event's id: unique for ever, the same each time it is exported. */
  readonly id: string;
  readonly index: number;
  /** The log's name. */
  readonly origin: string;
  /** Sluice's version. */
  readonly version: string;
}

export type OcsfEvent = Readonly<Record<string, unknown>>;
type Members = Record<string, unknown>;

/** One row for each class that is used: number, name, category and its activities by name. */
const CLASSES = {
  base: { uid: 0, name: 'Base Event', category: 'Uncategorized', activities: {} },
  finding: { uid: 2004, name: 'Detection Finding', category: 'Findings', activities: { Create: 1 } },
  authentication: { uid: 3002, name: 'Authentication', category: 'Identity & Access Management', activities: { Logon: 1, Logoff: 2 } },
  authorize: { uid: 3003, name: 'Authorize Session', category: 'Identity & Access Management', activities: { 'Assign Privileges': 1 } },
  entity: { uid: 3004, name: 'Entity Management', category: 'Identity & Access Management', activities: { Update: 3 } },
  lifecycle: { uid: 6002, name: 'Application Lifecycle', category: 'Application Activity', activities: { Start: 3 } },
  api: { uid: 6003, name: 'API Activity', category: 'Application Activity', activities: { Create: 1, Read: 2, Update: 3, Delete: 4 } },
  datastore: {
    uid: 6005,
    name: 'Datastore Activity',
    category: 'Application Activity',
    activities: { Read: 1, Update: 2, Connect: 3, Query: 4, Write: 5, Create: 6, Delete: 7 },
  },
} as const satisfies Record<string, { uid: number; name: string; category: string; activities: Readonly<Record<string, number>> }>;
type ClassName = keyof typeof CLASSES;

const SEVERITIES = ['Unknown', 'Informational', 'Low', 'Medium', 'High', 'Critical'] as const;
type Severity = (typeof SEVERITIES)[number];
const STATUSES = { Unknown: 0, Success: 1, Failure: 2 } as const;
const ACTIONS = { Allowed: 1, Denied: 2, Modified: 4 } as const;
const DISPOSITIONS = { Allowed: 1, Blocked: 2, Approved: 8, Corrected: 11, Delayed: 14, Rejected: 25, Error: 27 } as const;

/** What became of it. A word that OCSF has no number for is said in words, beside 99. */
interface Result {
  readonly severity: Severity;
  readonly status: string;
  readonly action: string;
  readonly disposition: keyof typeof DISPOSITIONS;
}

const ALLOWED: Result = { severity: 'Informational', status: 'Success', action: 'Allowed', disposition: 'Allowed' };
const MASKED: Result = { severity: 'Informational', status: 'Success', action: 'Modified', disposition: 'Corrected' };
const FAILED: Result = { severity: 'Low', status: 'Failure', action: 'Allowed', disposition: 'Error' };
const BLOCKED: Result = { severity: 'Medium', status: 'Failure', action: 'Denied', disposition: 'Blocked' };
const HELD: Result = { severity: 'Low', status: 'Held', action: 'Held', disposition: 'Delayed' };
const APPROVED: Result = { severity: 'Informational', status: 'Success', action: 'Allowed', disposition: 'Approved' };
const REJECTED: Result = { severity: 'Medium', status: 'Failure', action: 'Denied', disposition: 'Rejected' };

/** The row of a word that others chose: `toString` is none. */
const known = <T>(table: Readonly<Record<string, T>>, word: string): T | undefined =>
  Object.hasOwn(table, word) ? table[word] : undefined;

const coded = (name: string, numbers: Readonly<Record<string, number>>): number => known(numbers, name) ?? 99;

const resultMembers = ({ severity, status, action, disposition }: Result): Members => ({
  severity_id: SEVERITIES.indexOf(severity),
  severity,
  status_id: coded(status, STATUSES),
  status,
  action_id: coded(action, ACTIONS),
  action,
  disposition_id: DISPOSITIONS[disposition],
  disposition,
});

const millis = (unixNanos: bigint): number => Number(unixNanos / 1_000_000n);

/** Without members that say nothing: OCSF asks for absence, not for empty strings. */
const said = (members: Members): Members =>
  Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0)),
  );

interface Telling {
  readonly event: TapEvent;
  readonly source: OcsfSource;
  readonly context: SessionContext | undefined;
}

function base(of: Telling, className: ClassName, activity: string, result: Result, message: string, sluice: Members): Members {
  const { uid, name, category, activities } = CLASSES[className];
  const activityId = uid === 0 ? 99 : coded(activity, activities);
  const { event, source, context } = of;
  return {
    class_uid: uid,
    class_name: name,
    category_uid: Math.floor(uid / 1000),
    category_name: category,
    activity_id: activityId,
    activity_name: activity,
    type_uid: uid * 100 + activityId,
    type_name: `${name}: ${activity}`,
    time: millis(event.timeUnixNanos),
    ...resultMembers(result),
    message,
    metadata: said({
      version: OCSF_VERSION,
      product: { name: 'Sluice', vendor_name: 'Sluice', version: source.version },
      profiles: ['security_control'],
      uid: source.id,
      sequence: source.index,
      log_name: source.origin,
      event_code: event.body.kind,
      correlation_uid: event.session,
    }),
    unmapped: {
      sluice: said({
        kind: event.body.kind,
        target: event.target,
        session: event.session,
        command: event.command,
        run: context?.run,
        on_behalf_of: context?.onBehalfOf,
        ...sluice,
        truncated: event.truncated,
      }),
    },
  };
}

const callerIn = ({ context }: Telling): Caller => context?.caller ?? callerOf({}, '');

const KINDS_OF_USER: Readonly<Record<string, Members>> = { user: { type_id: 1, type: 'User' }, workload: { type_id: 3, type: 'System' } };

const userOf = ({ id, name, subject, kind, tenant, groups }: Caller): Members =>
  said({
    uid: id || 'unknown',
    name: name || subject || id,
    uid_alt: subject,
    domain: tenant,
    ...(known(KINDS_OF_USER, kind) ?? { type_id: 0, type: 'Unknown' }),
    groups: groups.map((group) => ({ name: group })),
  });

const sessionOf = ({ event }: Telling, { issuer }: Caller): Members => said({ uid: event.session, issuer });

const actorOf = (of: Telling): Members => {
  const caller = callerIn(of);
  return said({
    user: userOf(caller),
    session: sessionOf(of, caller),
    app_uid: caller.client,
    idp: caller.issuer === '' ? undefined : { name: caller.issuer },
  });
};

/** `IP:PORT` as the record has it: the last colon parts them, also of IPv6. */
const endpointOf = (address: string): Members => {
  const colon = address.lastIndexOf(':');
  const ip = address.slice(0, Math.max(colon, 0)).replace(/^\[|\]$/g, '');
  const port = Number(address.slice(colon + 1));
  return isIP(ip) === 0 ? { name: 'unknown' } : { ip, ...(port > 0 && { port }) };
};

const endpoints = ({ event, context }: Telling): Members => ({
  src_endpoint: endpointOf(context?.address ?? ''),
  dst_endpoint: { svc_name: event.target || 'unknown' },
});

const API_ACTIVITIES: Readonly<Record<string, string>> = {
  GET: 'Read',
  HEAD: 'Read',
  OPTIONS: 'Read',
  TRACE: 'Read',
  POST: 'Create',
  PUT: 'Update',
  PATCH: 'Update',
  DELETE: 'Delete',
};
/** OCSF knows no others; `api.operation` has them all. */
const HTTP_METHODS = ['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT'];

/** What statements do, the gravest first: of several the event tells the gravest. */
const SQL_ACTIVITIES: readonly (readonly [command: string, activity: string])[] = [
  ['truncate', 'Delete'],
  ['delete', 'Delete'],
  ['merge', 'Update'],
  ['update', 'Update'],
  ['insert', 'Write'],
  ['copy-from', 'Write'],
  ['copy-to', 'Read'],
  ['fetch', 'Read'],
  ['select', 'Query'],
  ['connect', 'Connect'],
];

const sqlActivity = (commands: readonly string[]): string => {
  const others = commands.filter((command) => !SQL_ACTIVITIES.some(([word]) => word === command));
  const gravest = SQL_ACTIVITIES.find(([command]) => commands.includes(command));
  // What OCSF has no word for, as ddl, privilege or call, is never hidden behind a select beside it.
  return others.length === 0 && gravest ? gravest[1] : (others[0] ?? 'unknown');
};

const httpMembers = ({ method, host, path, query, userAgent }: NonNullable<Judged['http']>): Members => ({
  http_request: said({
    ...(HTTP_METHODS.includes(method) && { http_method: method }),
    url: said({ hostname: host.replace(/:\d+$/, ''), path: path || '/', query_string: query }),
    user_agent: userAgent,
  }),
});

/** The event of a request or command: of which class it is follows from what was judged. */
function activity(of: Telling, judged: Judged, result: Result, message: string, sluice: Members, more: Members = {}): OcsfEvent {
  const { event, context } = of;
  const { http, sql, summary } = judged;
  if (sql?.commands.includes('connect') && event.body.kind === 'request_judged')
    return {
      ...base(of, 'authorize', 'Assign Privileges', result, message, { database: sql.database, ...sluice }),
      user: userOf(callerIn(of)),
      session: sessionOf(of, callerIn(of)),
      privileges: ['connect'],
      ...endpoints(of),
      ...more,
    };
  if (sql || (!http && context?.protocol === 'postgres'))
    return {
      ...base(of, 'datastore', sqlActivity(sql?.commands ?? []), result, message, { commands: sql?.commands, ...sluice }),
      actor: actorOf(of),
      ...endpoints(of),
      type_id: 1,
      type: 'Database',
      database: { name: sql?.database || event.target || 'unknown', type_id: 1, type: 'Relational' },
      ...(sql?.table && { table: { name: sql.table } }),
      ...(sql?.statement && { query_info: { uid: `${event.session}/${event.command ?? 0}`, query_string: sql.statement } }),
      ...more,
    };
  const method = http?.method ?? summary.split(' ')[0] ?? '';
  return {
    ...base(of, 'api', known(API_ACTIVITIES, method) ?? (method || 'unknown'), result, message, sluice),
    actor: actorOf(of),
    ...endpoints(of),
    api: { operation: method || 'unknown', service: { name: event.target || 'unknown' }, request: { uid: event.session } },
    ...(http && httpMembers(http)),
    ...more,
  };
}

const judgedIn = ({ event, context }: Telling): Judged =>
  context?.judged.get(event.command ?? 0) ?? context?.judged.get(0) ?? { summary: '' };

const because = (reason: string): string => (reason === '' ? '' : `: ${reason}`);
const EFFECTS: Readonly<Record<string, Result>> = { allow: ALLOWED, deny: BLOCKED, hold: HELD };

function judgement(of: Telling, body: TapBodyOf<'request_judged'>): OcsfEvent {
  const input = jsonMembers(body.maskedInputJson);
  const granted = body.effect === 'hold' && body.approval !== '';
  const result = granted ? APPROVED : (known(EFFECTS, body.effect) ?? BLOCKED);
  const policy = said({ name: body.rule || 'unknown', desc: body.reason, version: body.policyRevision, is_applied: true });
  return activity(
    of,
    judgedOf(body.request, input),
    result,
    `${body.request || 'a request'}: ${body.effect} by ${body.rule}${because(body.reason)}`,
    {
      effect: body.effect,
      rule: body.rule,
      approval: body.approval,
      fingerprint: body.fingerprint,
      statement_fingerprint: body.statementFingerprint,
      identity_us: body.identityMicros,
      policy_us: body.policyMicros,
    },
    said({ policy, authorizations: [{ decision: body.effect, policy }], status_detail: body.reason, status_code: body.rule }),
  );
}

const maskedMembers = (masked: readonly MaskedField[]): Members => ({
  masked: masked.map(({ rule, count }) => ({ rule, count })),
  masked_values: masked.reduce((sum, { count }) => sum + count, 0),
});

const ENDS: Readonly<Record<string, Result>> = {
  complete: ALLOWED,
  failed: FAILED,
  reset: FAILED,
  cancelled: FAILED,
  denied: BLOCKED,
  cut: { ...BLOCKED, severity: 'High' },
  replaced: { ...BLOCKED, severity: 'High' },
};

const endOf = (outcome: string, masked: readonly MaskedField[]): Result => {
  const end = known(ENDS, outcome) ?? { ...FAILED, status: 'Unknown' };
  return end === ALLOWED && masked.some(({ count }) => count > 0) ? MASKED : end;
};

const lasting = ({ event }: Telling, micros: number): Members => {
  const end = millis(event.timeUnixNanos);
  const duration = Math.floor(micros / 1000);
  return { duration, start_time: end - duration, end_time: end };
};

function response(of: Telling, body: TapBodyOf<'response_finished'>): OcsfEvent {
  const end = endOf(body.outcome, body.masked);
  const result = body.status >= 400 && (end === ALLOWED || end === MASKED) ? { ...end, status: 'Failure' } : end;
  const judged = judgedIn(of);
  return activity(
    of,
    judged,
    result,
    `${judged.summary || 'a request'}: response ${body.status} ${body.outcome}${because(body.reason)}`,
    {
      outcome: body.outcome,
      request_bytes: body.requestBytes,
      response_bytes: body.responseBytes,
      first_byte_us: body.firstByteMicros,
      ...maskedMembers(body.masked),
    },
    said({
      ...lasting(of, body.durationMicros),
      http_response: { code: body.status, body_length: body.responseBytes },
      status_code: String(body.status),
      status_detail: body.reason || body.outcome,
    }),
  );
}

function command(of: Telling, body: TapBodyOf<'command_finished'>): OcsfEvent {
  const first = judgedIn(of);
  // It ran by the judgement of another text.
  const judged = first.sql && body.statement !== '' ? { summary: body.statement, sql: { ...first.sql, statement: body.statement } } : first;
  return activity(
    of,
    judged,
    endOf(body.outcome, body.masked),
    `${judged.summary || 'a command'}: ${body.outcome}${body.tag === '' ? '' : `, ${body.tag}`}${body.code === '' ? '' : `, ${body.code}`}`,
    { outcome: body.outcome, tag: body.tag, rows: body.rows, response_bytes: body.bytes, ...maskedMembers(body.masked) },
    said({ ...lasting(of, body.durationMicros), status_code: body.code, status_detail: body.tag || body.outcome }),
  );
}

function held(of: Telling, body: TapBodyOf<'request_held'>): OcsfEvent {
  const judged = judgedIn(of);
  return activity(
    of,
    judged,
    HELD,
    `${judged.summary || 'a request'}: held as ${body.approval} for ${body.approvers.join(', ')} (${body.quorum} of them)${because(body.reason)}`,
    {
      approval: body.approval,
      approvers: body.approvers,
      quorum: body.quorum,
      expires: millis(body.expiresUnixNanos),
      rule: body.rule,
    },
    said({ status_detail: body.reason, status_code: body.rule }),
  );
}

const ANSWERS: Readonly<Record<string, Result>> = { approved: APPROVED, vote: { ...APPROVED, status: 'Vote', action: 'Vote' } };

function answer(of: Telling, body: TapBodyOf<'hold_answered'>): OcsfEvent {
  const { summary } = judgedIn(of);
  const what = summary || 'a held request';
  const caller = callerIn(of);
  return {
    ...base(
      of,
      'authorize',
      'Assign Privileges',
      known(ANSWERS, body.answer) ?? REJECTED,
      `${what}: ${body.answer}${body.by && ` by ${body.by}`}${because(body.reason)}`,
      {
        approval: body.approval,
        answer: body.answer,
        by: body.by,
      },
    ),
    user: userOf(caller),
    session: sessionOf(of, caller),
    privileges: [what],
    actor: { user: { uid: body.by || 'nobody', type_id: body.by === '' ? 0 : 1 } },
    ...said({ status_detail: body.reason || body.answer, status_code: body.answer }),
    ...endpoints(of),
  };
}

function logon(of: Telling, name: 'Logon' | 'Logoff', result: Result, message: string, sluice: Members): OcsfEvent {
  const { event } = of;
  const caller = callerIn(of);
  return {
    ...base(of, 'authentication', name, result, message, sluice),
    user: userOf(caller),
    session: sessionOf(of, caller),
    service: { name: event.target || 'unknown' },
    auth_protocol_id: 6,
    auth_protocol: 'OAUTH 2.0',
    logon_type_id: 3,
    logon_type: 'Network',
    is_remote: true,
    ...endpoints(of),
  };
}

const CLOSINGS: Readonly<Record<string, Result>> = { complete: ALLOWED, denied: BLOCKED, cut: BLOCKED, failed: FAILED, cancelled: FAILED };

const closed = (of: Telling, { outcome }: TapBodyOf<'session_closed'>): OcsfEvent => ({
  ...logon(
    of,
    'Logoff',
    known(CLOSINGS, outcome) ?? { ...FAILED, status: outcome === 'pending' ? 'Pending' : 'Unknown' },
    `session ended: ${outcome}`,
    { outcome },
  ),
  status_detail: outcome,
});

const NOTICES: Readonly<Record<string, { readonly as: 'lifecycle' | 'entity' | 'finding'; readonly result: Result }>> = {
  'tap-opened': { as: 'lifecycle', result: ALLOWED },
  'service-started': { as: 'lifecycle', result: ALLOWED },
  'policy-reloaded': { as: 'entity', result: ALLOWED },
  'configuration-changed': { as: 'entity', result: ALLOWED },
  'legal-hold-added': { as: 'entity', result: ALLOWED },
  'legal-hold-released': { as: 'entity', result: { ...ALLOWED, severity: 'Medium' } },
  'policy-refused': { as: 'entity', result: { ...FAILED, severity: 'High' } },
  'tap-gap': { as: 'finding', result: { ...FAILED, severity: 'High' } },
};

function notice(of: Telling, body: TapBodyOf<'notice'>): OcsfEvent {
  const message = `${body.notice}${because(body.text)}`;
  const { as, result } = known(NOTICES, body.notice) ?? { as: 'base' as const, result: { ...ALLOWED, severity: 'Low' as const } };
  const sluice = { notice: body.notice, text: body.text };
  switch (as) {
    case 'lifecycle':
      return {
        ...base(of, as, 'Start', result, message, sluice),
        app: { name: 'Sluice', vendor_name: 'Sluice', version: of.source.version },
      };
    case 'entity': {
      // `policy-reloaded` is of the policy, `legal-hold-added` of the legal hold.
      const entity = body.notice.replace(/-[^-]*$/, '');
      return {
        ...base(of, as, 'Update', result, message, sluice),
        entity: { name: entity, type: entity, version: body.text.slice(0, 128) },
        ...said({ status_detail: body.text }),
      };
    }
    case 'finding':
      return {
        ...base(of, as, 'Create', result, message, sluice),
        status_id: 1,
        status: 'New',
        finding_info: { uid: of.source.id, title: body.notice, desc: body.text },
      };
    default:
      return base(of, as, 'Notice', result, message, sluice);
  }
}

/** What Envoy saw, and not what was decided: that stands in the session's judgement. Many entries have neither a caller nor a session. */
function accessLog(of: Telling, body: TapBodyOf<'envoy_access_log'>): OcsfEvent {
  const { protocol, method, authority, path, status, details } = body;
  const what = [protocol, method, authority + path].filter(Boolean).join(' ');
  const result = body.flags.includes('UAEX') ? BLOCKED : status >= 400 || body.failure !== '' ? FAILED : ALLOWED;
  return {
    ...base(of, 'base', 'Access log', result, `Envoy logged ${what || 'an exchange'}: ${status || 'no status'}`, {
      log: body.log,
      protocol,
      method,
      authority,
      path,
      details,
      flags: body.flags,
      upstream: body.upstreamAddress,
      downstream: body.downstreamAddress,
      failure: body.failure,
      request_bytes: body.requestBytes,
      response_bytes: body.responseBytes,
    }),
    ...said({ status_code: String(status || ''), status_detail: details, duration: Math.round(body.durationMicros / 1000) }),
  };
}

/** What a tap saw is neither judged nor of a session. */
function trace(of: Telling, body: TapBodyOf<'envoy_tap'>): OcsfEvent {
  const { tap, form, piece, method, authority, path, status } = body;
  const what = [piece || form, method, authority + path].filter(Boolean).join(' ');
  return {
    ...base(of, 'base', 'Tap', status >= 400 ? FAILED : ALLOWED, `Envoy's tap ${tap} saw ${what}${status ? `: ${status}` : ''}`, {
      tap,
      node: body.node,
      trace: body.trace,
      form,
      piece,
      method,
      authority,
      path,
      request_headers: body.requestHeaders,
      response_headers: body.responseHeaders,
      request_bytes: body.requestBytes,
      response_bytes: body.responseBytes,
      truncated: body.truncated,
      local: body.localAddress,
      remote: body.remoteAddress,
      session_header: body.session,
    }),
    ...said({ status_code: String(status || '') }),
  };
}

/**
 * @param context what the events before it said of its session, its own included
 * @returns undefined for an event that is not told: recorded payload
 */
export function ocsfEvent(event: TapEvent, context: SessionContext | undefined, source: OcsfSource): OcsfEvent | undefined {
  const of: Telling = { event, context, source };
  const body: TapBody = event.body;
  switch (body.kind) {
    case 'session_opened':
      return logon(of, 'Logon', ALLOWED, `session opened: ${body.protocol} by ${body.identity}`, { protocol: body.protocol });
    case 'request_judged':
      return judgement(of, body);
    case 'request_held':
      return held(of, body);
    case 'hold_answered':
      return answer(of, body);
    case 'request_forwarded':
      return activity(of, judgedIn(of), ALLOWED, `${judgedIn(of).summary || 'a request'}: forwarded to the target`, {});
    case 'response_finished':
      return response(of, body);
    case 'command_finished':
      return command(of, body);
    case 'session_closed':
      return closed(of, body);
    case 'payload_chunk':
      return undefined;
    case 'notice':
      return notice(of, body);
    case 'envoy_access_log':
      return accessLog(of, body);
    case 'envoy_tap':
      return trace(of, body);
    default:
      return base(of, 'base', (body as { kind: string }).kind, ALLOWED, `an event of kind ${(body as { kind: string }).kind}`, {});
  }
}
