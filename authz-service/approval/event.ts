/** What the tap is told of a hold: bodies of `sluice.tap.v1.Event`. */
import type { Approval } from './state.ts';

export interface ApprovalEvent {
  readonly session: string;
  readonly target: string;
  readonly command?: number;
  readonly body: RequestHeld | HoldAnswered;
}

export interface RequestHeld {
  readonly kind: 'request_held';
  readonly approval: string;
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly expiresUnixNanos: bigint;
  readonly rule: string;
  readonly reason: string;
}

export interface HoldAnswered {
  readonly kind: 'hold_answered';
  readonly approval: string;
  /** `vote`: one approval of several that the quorum asks for. `revoked`: an approval that nothing had used yet is taken back. */
  readonly answer: 'approved' | 'vote' | 'denied' | 'revoked' | 'expired' | 'cancelled';
  /** The approver's stable identity; empty when nobody answered. */
  readonly by: string;
  readonly reason: string;
}

const about = ({ request: { session, target, command } }: Approval, body: ApprovalEvent['body']): ApprovalEvent => ({
  session,
  target,
  ...(command !== undefined && { command }),
  body,
});

export const heldEvent = (approval: Approval): ApprovalEvent => {
  const { id, expiresAt, request } = approval;
  const { terms, rule, reason } = request;
  return about(approval, {
    kind: 'request_held',
    approval: id,
    approvers: terms.approvers,
    quorum: terms.quorum,
    expiresUnixNanos: BigInt(expiresAt) * 1_000_000n,
    rule,
    reason,
  });
};

export const answeredEvent = (approval: Approval, answer: HoldAnswered['answer'], by: string, reason: string): ApprovalEvent =>
  about(approval, { kind: 'hold_answered', approval: approval.id, answer, by, reason });
