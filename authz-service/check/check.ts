/** The ext_authz door: a `CheckRequest` becomes a typed request, the verdict on it a `CheckResponse`. */
import { connectFingerprint, connectRequest } from '../decision/connect.ts';
import { decide } from '../decision/decide.ts';
import type { Obligation } from '../decision/decision.ts';
import { judgedBody, openedBody, UNCLEAR } from '../decision/events.ts';
import type { Caller as DecidedCaller, Ports } from '../decision/ports.ts';
import { type HttpRequest, type Identity, type Run, requestOf, type TargetInfo } from '../decision/request.ts';
import type { Passage } from '../passages.ts';
import type { CheckRequest, CheckResponse } from './envoy_proto.ts';
import { fingerprintOf, type RawRequest, rawRequest, typedRequest, UnclearRequestError } from './http_request.ts';
import { waitPreference } from './prefer.ts';
import { answer, refuse } from './problem.ts';
import { APPROVAL_PATH, letThrough, RESERVED_PATH, turnAway } from './respond.ts';
import { sessionId } from './session_id.ts';

export interface CheckPorts extends Ports {
  /** Who calls, from the values of `authorization`; a promise only when the token was not seen before. */
  identify(
    authorization: readonly string[],
    header: (name: string) => readonly string[],
  ): Caller | NotIdentified | Promise<Caller | NotIdentified>;
  target(name: string): TargetInfo | undefined;
  /** The target's credential as headers; throws, with a message for people that holds no secret, when it cannot be had. */
  credential(target: string, name: string): readonly (readonly [string, string])[];
  /** Base64 of the filter's plan; empty when there is nothing to mask. Throws when an obligation cannot be carried out. */
  plan(target: string, obligations: readonly Obligation[]): string;
  /** The database that a target is; `undefined` of one that speaks HTTP. */
  databaseOf?(target: string): string | undefined;
  /** Takes note of a session with a database whose CONNECT was let through: the connection that it carries takes it up. */
  admitted?(session: string, target: string, passage: Passage): void;
  /** The state of an approval, for the identity that was held. */
  approvalStatus(id: string, identityId: string): object | undefined;
  /** Told of what fails here and is nobody's fault but ours. */
  fault(error: unknown): void;
  /** Masks a line for people. */
  maskText(text: string): string;
}

export interface Caller {
  readonly ok: true;
  readonly identity: Identity;
  readonly run: Run;
  /** Unix milliseconds at which the token stops to count; absent: never. */
  readonly expiresAt?: number;
}

export interface NotIdentified {
  readonly ok: false;
  readonly code: string;
  readonly description: string;
  readonly status: 401 | 403 | 503;
  /** The value of `WWW-Authenticate`; with status 401. */
  readonly challenge: string;
}

const NONE: readonly string[] = [];
/** Of a request that is not judged, so many characters are recorded. */
const MAX_UNCLEAR = 1024;

/** Never rejects: what goes wrong is an answer that lets nothing through. */
export async function check(ports: CheckPorts, request: CheckRequest, onGone: (callback: () => void) => void): Promise<CheckResponse> {
  const session = sessionId(Date.now());
  try {
    return await judged(ports, request, session, onGone);
  } catch (error) {
    if (error instanceof UnclearRequestError) {
      ports.observe.decision('refused', request.attributes?.context_extensions?.target ?? '', UNCLEAR.rule);
      return refuse({
        status: error.status,
        code: 'unclear-request',
        title: 'The request cannot be judged',
        detail: sentence(error.message),
        session,
      });
    }
    ports.fault(error);
    const detail = 'The request could not be judged; the log of the service says why.';
    return refuse({ status: 503, code: 'failed', title: 'Service Unavailable', detail, session });
  }
}

async function judged(
  ports: CheckPorts,
  check: CheckRequest,
  session: string,
  onGone: (callback: () => void) => void,
): Promise<CheckResponse> {
  const raw = rawRequest(check);
  const target = ports.target(check.attributes?.context_extensions?.target ?? '');
  if (!raw || !target)
    return refuse({ status: 404, code: 'no-target', title: 'Not Found', detail: 'No target of this gateway has this host.', session });

  const since = performance.now();
  const header = (name: string): readonly string[] => raw.headers.get(name) ?? NONE;
  const found = ports.identify(header('authorization'), header);
  const caller = found instanceof Promise ? await found : found;
  const identitySeconds = (performance.now() - since) / 1000;
  ports.observe.stage('identity', identitySeconds);
  if (!caller.ok) return notIdentified(ports, caller, target, session);
  const came = { downstreamAddress: downstreamOf(check), identityMicros: Math.round(identitySeconds * 1e6), onGone };
  const database = ports.databaseOf?.(target.name);
  if (database !== undefined) return admission(ports, { raw, target, database, session, caller, came });
  if (raw.path.startsWith(RESERVED_PATH)) return reserved(ports, raw, caller.identity);

  let request: HttpRequest;
  try {
    request = typedRequest(raw);
  } catch (error) {
    if (error instanceof UnclearRequestError) await recordUnclear(ports, { raw, target, session, caller, came }, error.message);
    throw error;
  }
  const verdict = await decide(ports, requestOf({ ...caller, target, session }, request), {
    ...came,
    summary: ports.maskText(`${request.method} ${request.path}`),
    fingerprint: () => fingerprintOf(target.name, caller.identity.id, raw, request),
    waitMs: waitPreference(header('prefer')),
  });
  if (verdict.kind !== 'allow') return turnAway(verdict, session, target.name);
  try {
    const plan = ports.plan(target.name, verdict.obligations);
    return letThrough({ session, target: target.name, plan, credential: ports.credential(target.name, verdict.credential) });
  } catch (error) {
    // It was let through by the record, and yet does not pass: the record says so too.
    const reason = error instanceof Error ? error.message : String(error);
    await ports.record([{ session, target: target.name, body: { kind: 'session_closed', outcome: 'failed' } }]).catch(() => {});
    return turnAway({ kind: 'failed', code: 'obligation_unmet', reason }, session, target.name);
  }
}

interface Arrival {
  readonly raw: RawRequest;
  readonly target: TargetInfo;
  readonly session: string;
  readonly caller: Caller;
  readonly came: Pick<DecidedCaller, 'downstreamAddress' | 'identityMicros' | 'onGone'>;
}

/** What somebody tried who is known, and who may have meant to be judged as another request than the target would have run: denied, and recorded as that. */
async function recordUnclear(ports: CheckPorts, { raw, target, session, caller, came }: Arrival, reason: string): Promise<void> {
  const of = { session, target: target.name };
  const summary = ports.maskText(`${raw.method} ${raw.path}`.slice(0, MAX_UNCLEAR));
  await ports
    .record([
      { ...of, body: openedBody('http', caller.identity, caller.run, came.downstreamAddress) },
      { ...of, body: judgedBody(summary, { ...UNCLEAR, reason, identityMicros: came.identityMicros }) },
      { ...of, body: { kind: 'session_closed', outcome: 'denied' } },
    ])
    // It does not pass, recorded or not.
    .catch((error: unknown) => ports.fault(error));
}

interface Tunnel extends Arrival {
  readonly database: string;
}

/** A CONNECT to a database: the session is judged before the connection is there, and taken up by it. */
async function admission(ports: CheckPorts, { raw, target, database, session, caller, came }: Tunnel): Promise<CheckResponse> {
  if (raw.method !== 'CONNECT' || !ports.admitted)
    return refuse({
      status: 405,
      code: 'no-tunnel',
      title: 'Method Not Allowed',
      detail: 'This target is reached by CONNECT only.',
      session,
    });
  const verdict = await decide(ports, requestOf({ ...caller, target, session }, connectRequest(database)), {
    ...came,
    summary: `connect to ${database}`,
    fingerprint: () => connectFingerprint(target.name, caller.identity.id, database),
    // 202 would tell the client that its tunnel is open.
    waitMs: undefined,
  });
  if (verdict.kind !== 'allow') return turnAway(verdict, session, target.name);
  const { identity, run, expiresAt } = caller;
  ports.admitted(session, target.name, { identity, run, credential: verdict.credential, ...(expiresAt !== undefined && { expiresAt }) });
  return letThrough({ session, target: target.name, plan: '', credential: [] });
}

/** A caller whom nobody knows is counted, not recorded: it could fill the disk. */
function notIdentified(ports: CheckPorts, caller: NotIdentified, target: TargetInfo, session: string): CheckResponse {
  ports.observe.decision('unidentified', target.name, caller.code);
  const title = caller.status === 401 ? 'Unauthorized' : caller.status === 403 ? 'Forbidden' : 'Service Unavailable';
  const headers =
    caller.status === 401
      ? ([['www-authenticate', caller.challenge]] as const)
      : caller.status === 503
        ? ([['retry-after', '5']] as const)
        : [];
  return refuse({ status: caller.status, code: caller.code.replaceAll('_', '-'), title, detail: caller.description, session }, headers);
}

function reserved(ports: CheckPorts, raw: RawRequest, identity: Identity): CheckResponse {
  const id = raw.path.startsWith(APPROVAL_PATH) ? raw.path.slice(APPROVAL_PATH.length) : '';
  const status = id !== '' && (raw.method === 'GET' || raw.method === 'HEAD') ? ports.approvalStatus(id, identity.id) : undefined;
  if (!status) return refuse({ status: 404, code: 'not-found', title: 'Not Found', detail: 'There is no approval of yours with this id.' });
  const after = (status as { retry_after?: number }).retry_after;
  return answer(200, 'application/json', JSON.stringify(status), after === undefined ? [] : [['retry-after', String(after)]]);
}

function downstreamOf(check: CheckRequest): string {
  const address = check.attributes?.source?.address?.socket_address;
  return address ? `${address.address ?? ''}:${address.port_value ?? 0}` : '';
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}
