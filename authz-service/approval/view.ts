/** What is shown of an approval, as JSON bodies. */
import { type Approval, type ApprovalState, approvals, ending } from './state.ts';

/** For the held request's own identity: whether to wait, to send the request again, or to give up. */
export interface ApprovalStatus {
  readonly id: string;
  /** `approved`: the same request passes once, until `expires`. */
  readonly state: ApprovalState;
  readonly rule: string;
  /** Why it is held, or how it ended. */
  readonly reason: string;
  /** RFC 3339; when the hold or the grant ends by itself. Absent once it has ended. */
  readonly expires?: string;
  /** Seconds after which to ask (`pending`) or to send the request (`approved`: 0). Absent once it has ended. */
  readonly retry_after?: number;
}

export interface ApprovalSummary {
  readonly id: string;
  readonly state: ApprovalState;
  readonly held: string;
  readonly expires?: string;
  readonly session: string;
  readonly target: string;
  readonly summary: string;
  readonly rule: string;
  readonly reason: string;
  readonly identity: { readonly id: string; readonly name: string; readonly kind: string; readonly client: string };
  readonly run: { readonly id: string; readonly on_behalf_of: string; readonly source: string };
  readonly approvers: readonly string[];
  readonly quorum: number;
  /** How many people have approved. */
  readonly approvals: number;
  readonly answers: readonly {
    readonly by: string;
    readonly name: string;
    readonly verdict: string;
    readonly reason: string;
    readonly at: string;
  }[];
  /** How it ended, for people. */
  readonly ending?: string;
}

export type ApprovalDetail = ApprovalSummary & {
  /** The policy's input, sensitive values masked; null when it is too long to be kept here: the session's record has it. */
  readonly masked_input: unknown;
};

const time = (ms: number): string => new Date(ms).toISOString();

const expires = ({ progress, expiresAt }: Approval): { expires?: string } =>
  progress.state === 'pending'
    ? { expires: time(expiresAt) }
    : progress.state === 'approved'
      ? { expires: time(progress.grantExpiresAt) }
      : {};

/** Seconds between two looks: often at first, and never past the end. */
const retryAfter = ({ heldAt, expiresAt }: Approval, now: number): number => {
  const waited = (now - heldAt) / 1000;
  return Math.max(1, Math.ceil(Math.min(waited / 4, 30, (expiresAt - now) / 1000)));
};

export const approvalStatus = (approval: Approval, now: number): ApprovalStatus => {
  const { id, progress, request } = approval;
  const { state } = progress;
  const retry = state === 'pending' ? { retry_after: retryAfter(approval, now) } : state === 'approved' ? { retry_after: 0 } : {};
  return { id, state, rule: request.rule, reason: state === 'pending' ? request.reason : ending(approval), ...expires(approval), ...retry };
};

export const approvalSummary = (approval: Approval): ApprovalSummary => {
  const { id, progress, request, heldAt } = approval;
  const { identity, run, terms } = request;
  return {
    id,
    state: progress.state,
    held: time(heldAt),
    ...expires(approval),
    session: request.session,
    target: request.target,
    summary: request.summary,
    rule: request.rule,
    reason: request.reason,
    identity: { id: identity.id, name: identity.name, kind: identity.kind, client: identity.client },
    run: { id: run.id, on_behalf_of: run.onBehalfOf, source: run.source },
    approvers: terms.approvers,
    quorum: terms.quorum,
    approvals: approvals(progress),
    answers: progress.answers.map(({ by, name, verdict, reason, at }) => ({ by, name, verdict, reason, at: time(at) })),
    ...(progress.state === 'pending' ? {} : { ending: ending(approval) }),
  };
};

export const approvalDetail = (approval: Approval): ApprovalDetail => ({
  ...approvalSummary(approval),
  masked_input: parsed(approval.request.maskedInputJson),
});

const parsed = (json: string): unknown => {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
};
