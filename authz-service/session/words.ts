/** Verdicts in words for the client of a session; the filter says them in its protocol. */
import type { Verdict } from '../decision/ports.ts';
import { REFUSAL, type Refusal } from './messages.ts';

export const unavailable = (message: string, hint = 'Nothing was sent to the target; try again later.'): Refusal => ({
  kind: REFUSAL.unavailable,
  message,
  hint,
});
/** @param code an SQLSTATE */
export const unsupported = (message: string, hint = '', code = ''): Refusal => ({ kind: REFUSAL.unsupported, message, hint, code });

/** Every verdict that lets nothing through. `what`: "this statement", "this session". */
export function refusalOf(verdict: Exclude<Verdict, { kind: 'allow' }>, session: string, what: string): Refusal {
  switch (verdict.kind) {
    case 'deny': {
      const { rule, reason, approval, answer } = verdict;
      const detail = `Rule: ${rule}. ${approval === '' ? '' : `Approval: ${approval}. `}Session: ${session}.`;
      if (answer === 'denied')
        return { kind: REFUSAL.denied, message: `${what} was held, and ${reason}`, detail, hint: 'Do not send it again unchanged.' };
      if (answer === 'expired')
        return {
          kind: REFUSAL.denied,
          message: `${what} was held, and nobody answered in time`,
          detail,
          hint: 'Ask an approver, then send it again.',
        };
      return {
        kind: REFUSAL.denied,
        message: `the policy does not allow ${what}: ${reason}`,
        detail,
        hint: 'Whoever maintains the policy can tell what is allowed.',
      };
    }
    case 'gone':
      return { kind: REFUSAL.cancelled, message: `${what} was cancelled while it was held`, hint: 'Nothing was sent to the target.' };
    case 'failed':
      return unavailable(`${what} could not be judged: ${verdict.reason}`);
    case 'pending':
      return {
        kind: REFUSAL.unavailable,
        message: `${what} waits for an approval (${verdict.approval}): ${verdict.reason}`,
        detail: `Rule: ${verdict.rule}. Session: ${session}.`,
        hint: `An approver answers with: sluice approve ${verdict.approval}. Connect again then, or now to wait on.`,
        // cannot_connect_now
        code: '57P03',
      };
    case 'later':
      return unavailable(`${what} is not decided yet`);
  }
}
