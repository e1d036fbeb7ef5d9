import type { Verdict } from '../decision/ports.ts';
import type { CheckResponse, HeaderOption } from './envoy_proto.ts';
import { refuse, setHeader } from './problem.ts';

/** The path under which the gateway itself answers, on every listener; never forwarded. */
export const RESERVED_PATH = '/.well-known/sluice/';
export const APPROVAL_PATH = `${RESERVED_PATH}approvals/`;
const POLL_SECONDS = 5;

/** Headers that are the gateway's business and not the target's. */
const NOT_FORWARDED = ['authorization', 'proxy-authorization', 'prefer', 'sluice-run', 'sluice-on-behalf-of', 'x-envoy-auth-partial-body'];

export interface Passage {
  readonly session: string;
  readonly target: string;
  /** Base64 of `sluice.filter.v1.Plan`; empty when nothing is to be masked. */
  readonly plan: string;
  readonly credential: readonly (readonly [string, string])[];
}

/** Lets the request through: with the target's credential in place of the agent's, and what the filter needs to know. */
export function letThrough({ session, target, plan, credential }: Passage): CheckResponse {
  const headers: HeaderOption[] = credential.map(([name, value]) => setHeader(name, value));
  const set = new Set(credential.map(([name]) => name));
  return {
    status: { code: 0 },
    ok_response: { headers, headers_to_remove: set.size === 0 ? NOT_FORWARDED : NOT_FORWARDED.filter((name) => !set.has(name)) },
    dynamic_metadata: { fields: { session: { stringValue: session }, target: { stringValue: target }, plan: { stringValue: plan } } },
  };
}

type Refusal = Exclude<Verdict, { kind: 'allow' }>;

/** Every other verdict, in HTTP's words. Envoy is told of which session it is, for its access log; no filter goes by it, because none is asked. */
export const turnAway = (verdict: Refusal, session: string, target: string): CheckResponse => ({
  ...worded(verdict, session),
  dynamic_metadata: { fields: { session: { stringValue: session }, target: { stringValue: target } } },
});

function worded(verdict: Refusal, session: string): CheckResponse {
  switch (verdict.kind) {
    case 'deny': {
      const { rule, reason, approval, answer } = verdict;
      const detail =
        answer === 'denied'
          ? `The request was held, and the approval was denied. Do not send it again unchanged.`
          : answer === 'expired'
            ? 'The request was held, and nobody answered before the hold expired. Ask an approver, then send it again.'
            : 'The policy does not allow this request.';
      return refuse({
        status: 403,
        code: answer === '' ? 'denied' : `approval-${answer}`,
        title: 'Forbidden',
        detail,
        rule,
        approval,
        reason,
        session,
      });
    }
    case 'pending': {
      const { rule, reason, approval } = verdict;
      const detail = `The request waits for an approval. Look at Location with the same token; once it is approved, send the same request again: it passes once.`;
      return refuse({ status: 202, code: 'held', title: 'Accepted, not yet done', detail, rule, approval, reason, session }, [
        ['location', `${APPROVAL_PATH}${approval}`],
        ['retry-after', String(POLL_SECONDS)],
        ['preference-applied', 'respond-async'],
      ]);
    }
    case 'later':
      // A request of its own is judged once: nothing may pass under a decision that was put off.
      return worded({ kind: 'failed', code: 'undecided', reason: 'The decision was put off' }, session);
    case 'gone':
      return refuse({
        status: 499,
        code: 'gone',
        title: 'Client Closed Request',
        detail: 'The caller went away while the request was held.',
        session,
      });
    case 'failed':
      return refuse(
        {
          status: 503,
          code: verdict.code.replaceAll('_', '-'),
          title: 'Service Unavailable',
          detail: `${verdict.reason.replace(/[.!?]$/, '')}. Nothing was sent to the target; try again later.`,
          session,
        },
        [['retry-after', String(POLL_SECONDS)]],
      );
  }
}
