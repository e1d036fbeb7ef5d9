/** The bodies of the events by which a decision stands in the record. */
import type { Decision } from './decision.ts';
import type { RecordedEvent } from './ports.ts';
import type { Identity, Request } from './request.ts';

type Body<Kind> = Extract<RecordedEvent['body'], { readonly kind: Kind }>;

/** By object: identities of verified tokens, targets and parsed decisions serve many requests, and none of them ever changes. */
const texts = new WeakMap<object, string>();

export function jsonOf(value: Identity | Decision | Request['target']): string {
  let text = texts.get(value);
  if (text === undefined) {
    text = JSON.stringify(value);
    texts.set(value, text);
  }
  return text;
}

export const openedBody = (
  protocol: string,
  identity: Identity,
  run: { readonly id: string; readonly onBehalfOf: string },
  downstreamAddress: string,
): Body<'session_opened'> => ({
  kind: 'session_opened',
  protocol,
  identity: identity.id,
  identityJson: jsonOf(identity),
  run: run.id,
  onBehalfOf: run.onBehalfOf,
  downstreamAddress,
});

type Judged = Body<'request_judged'>;
/** What a judgement always has; the rest is empty where it is not said. */
export type Judgement = Pick<Judged, 'effect' | 'rule' | 'reason'> & Partial<Omit<Judged, 'kind' | 'request'>>;

/** @param request one line for people, masked */
export const judgedBody = (request: string, of: Judgement): Judged => ({
  kind: 'request_judged',
  request,
  effect: of.effect,
  rule: of.rule,
  reason: of.reason,
  policyRevision: of.policyRevision ?? '',
  maskedInputJson: of.maskedInputJson ?? '',
  decisionJson: of.decisionJson ?? '',
  approval: of.approval ?? '',
  identityMicros: of.identityMicros ?? 0,
  policyMicros: of.policyMicros ?? 0,
  fingerprint: of.fingerprint ?? '',
  statementFingerprint: of.statementFingerprint ?? '',
});

/** Of what could not be judged as what the target would do: denied. */
export const UNCLEAR = { effect: 'deny', rule: 'unclear-request' } as const;
