/**
 * The life of a held request, as pure functions of it and the time:
 *
 *     pending ── quorum ──► approved ── released ──► used
 *        │                     ├────── its time ───► lapsed
 *        │                     └── an approver ────► revoked
 *        ├── one denial ──► denied
 *        ├── its time ────► expired
 *        └── caller gone ─► cancelled
 *
 * `approved` lasts no longer than it takes to tell a caller who is still waiting; without one it is a grant, for one request with the same fingerprint.
 * Times are Unix milliseconds.
 */
import type { HeldRequest } from '../decision/ports.ts';
import type { Identity } from '../decision/request.ts';
import { isNamed } from './principal.ts';

export type { HeldRequest };

export interface Answer {
  /** The approver's stable identity, and its name for people. */
  readonly by: string;
  readonly name: string;
  readonly verdict: Verdict;
  readonly reason: string;
  readonly at: number;
}

/** `revoke` takes an approval back, as long as nothing was set free by it. */
export type Verdict = 'approve' | 'deny' | 'revoke';

/** How far a held request has come. Every step is stored as a whole: the last one that was stored counts. */
export type Progress =
  | { readonly state: 'pending'; readonly answers: readonly Answer[] }
  | { readonly state: 'approved'; readonly answers: readonly Answer[]; readonly grantExpiresAt: number }
  | { readonly state: 'used' | 'lapsed' | 'revoked' | 'denied' | 'expired'; readonly answers: readonly Answer[]; readonly endedAt: number }
  | { readonly state: 'cancelled'; readonly answers: readonly Answer[]; readonly endedAt: number; readonly reason: string };

export type ApprovalState = Progress['state'];
export const APPROVAL_STATES: readonly ApprovalState[] = [
  'pending',
  'approved',
  'used',
  'lapsed',
  'revoked',
  'denied',
  'expired',
  'cancelled',
];

export interface Approval {
  readonly id: string;
  readonly request: HeldRequest;
  readonly heldAt: number;
  readonly expiresAt: number;
  readonly progress: Progress;
}

/** Who answers: the verified identity, and what its token says about acting for somebody else. */
export interface Approver {
  readonly identity: Identity;
  /** Not empty when the token was issued to an agent on this person's behalf. */
  readonly onBehalfOf: string;
}

export type RefusalCode =
  | 'not_found'
  | 'not_approver'
  | 'own_request'
  | 'delegated'
  | 'reason_required'
  | 'reason_too_long'
  | 'not_approved'
  | 'ended';
export interface Refused {
  readonly ok: false;
  readonly code: RefusalCode;
  readonly detail: string;
}
export interface Stepped {
  readonly ok: true;
  readonly progress: Progress;
}

/** Characters of a reason. */
export const MAX_REASON = 1000;

export const isOpen = ({ state }: Progress): boolean => state === 'pending' || state === 'approved';

/** When time alone ends the state that it is in; infinity for one that has ended. */
export const deadline = ({ progress, expiresAt }: Approval): number =>
  progress.state === 'pending' ? expiresAt : progress.state === 'approved' ? progress.grantExpiresAt : Number.POSITIVE_INFINITY;

export const approvals = ({ answers }: Progress): number => answers.filter(({ verdict }) => verdict === 'approve').length;

const refused = (code: RefusalCode, detail: string): Refused => ({ ok: false, code, detail });

/** Why this person may not answer, whatever the answer; `undefined` when it may. */
export const barred = ({ request }: Approval, { identity, onBehalfOf }: Approver): Refused | undefined => {
  const { id, subject } = identity;
  if (id === request.identity.id) return refused('own_request', 'Nobody answers a request of their own.');
  // A run's `onBehalfOf` is what a token, or only a header, says: a subject, or a whole identity. Refusing on either costs an approver, never a control.
  if (request.run.onBehalfOf !== '' && (request.run.onBehalfOf === id || request.run.onBehalfOf === subject))
    return refused('own_request', 'The request runs on your behalf: somebody else has to answer it.');
  if (!isNamed(identity, request.terms.approvers))
    return refused('not_approver', `Only ${request.terms.approvers.join(', ')} may answer this request.`);
  if (onBehalfOf !== '' && onBehalfOf !== id)
    return refused('delegated', 'An approver answers in person: this token was issued to somebody who acts on behalf of another.');
  return undefined;
};

/**
 * An approver's answer. An approval that reaches the quorum, or one denial, ends the hold. Who has approved may still deny; approving twice changes nothing
 * (`progress` is then the same object). Once approved, it may be revoked by any of its approvers until it is used.
 */
export const answered = (
  approval: Approval,
  approver: Approver,
  verdict: Verdict,
  reason: string,
  now: number,
  grantTtlMs: number,
): Stepped | Refused => {
  const { progress, request } = approval;
  const bar = barred(approval, approver);
  if (bar) return bar;
  if (verdict === 'revoke' && progress.state === 'pending')
    return refused('not_approved', 'It has not been approved yet: deny it, to end it.');
  const open = verdict === 'revoke' ? progress.state === 'approved' : progress.state === 'pending';
  if (!open || now >= deadline(approval)) return refused('ended', ending(approval));
  if (verdict !== 'approve' && reason.trim() === '')
    return refused('reason_required', `A ${verdict === 'deny' ? 'denial' : 'revocation'} needs a reason: the caller is told it.`);
  if (reason.length > MAX_REASON) return refused('reason_too_long', `The reason is longer than ${MAX_REASON} characters.`);

  const { id: by, name } = approver.identity;
  if (verdict === 'approve' && progress.answers.some((answer) => answer.by === by)) return { ok: true, progress };
  const answers = [...progress.answers, { by, name, verdict, reason, at: now }];
  if (verdict === 'deny') return { ok: true, progress: { state: 'denied', answers, endedAt: now } };
  if (verdict === 'revoke') return { ok: true, progress: { state: 'revoked', answers, endedAt: now } };
  if (answers.length < request.terms.quorum) return { ok: true, progress: { state: 'pending', answers } };
  return { ok: true, progress: { state: 'approved', answers, grantExpiresAt: now + grantTtlMs } };
};

/** The approval set one request free: the caller who waited, or one that used the grant. */
export const used = ({ progress }: Approval, now: number): Progress | undefined =>
  progress.state === 'approved' && now < progress.grantExpiresAt ? { state: 'used', answers: progress.answers, endedAt: now } : undefined;

/** Time has passed: the next state when that ends this one. */
export const timedOut = (approval: Approval, now: number): Progress | undefined => {
  const { progress } = approval;
  if (now < deadline(approval)) return undefined;
  return { state: progress.state === 'pending' ? 'expired' : 'lapsed', answers: progress.answers, endedAt: now };
};

/** The caller went away and did not ask to be waited for. */
export const cancelled = ({ progress }: Approval, reason: string, now: number): Progress | undefined =>
  progress.state === 'pending' ? { state: 'cancelled', answers: progress.answers, endedAt: now, reason } : undefined;

/** How it ended, in one sentence for people. */
export const ending = ({ progress, expiresAt }: Approval): string => {
  const last = progress.answers.at(-1);
  const by = last ? `${last.name || last.by} (${last.by})` : '';
  const at = (ms: number): string => new Date(ms).toISOString();
  switch (progress.state) {
    case 'pending':
      return `It expired at ${at(expiresAt)}.`;
    case 'approved':
    case 'used':
    case 'lapsed':
      return `It was approved at ${at(last?.at ?? 0)}, last by ${by}.`;
    case 'revoked':
      return `It was approved, and revoked at ${at(progress.endedAt)} by ${by}: ${last?.reason ?? ''}`;
    case 'denied':
      return `It was denied at ${at(progress.endedAt)} by ${by}: ${last?.reason ?? ''}`;
    case 'expired':
      return `It expired at ${at(progress.endedAt)} without enough approvals.`;
    case 'cancelled':
      return `It was cancelled at ${at(progress.endedAt)}: ${progress.reason}`;
  }
};
