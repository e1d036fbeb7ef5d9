import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { approver, heldRequest } from './approvals.fixture.ts';
import { isNamed } from './principal.ts';
import {
  type Approval,
  type Approver,
  answered,
  cancelled,
  deadline,
  isOpen,
  MAX_REASON,
  type Progress,
  timedOut,
  used,
  type Verdict,
} from './state.ts';

const HOUR = 3_600_000;
const held = (changes: Parameters<typeof heldRequest>[0] = {}): Approval => ({
  id: 'apr_1',
  request: heldRequest(changes),
  heldAt: 0,
  expiresAt: 1000,
  progress: { state: 'pending', answers: [] },
});
const at = (approval: Approval, progress: Progress): Approval => ({ ...approval, progress });
const answer = (approval: Approval, who: Approver, verdict: Verdict = 'approve', reason = 'fine', now = 10) =>
  answered(approval, who, verdict, reason, now, HOUR);
const code = (step: ReturnType<typeof answered>): string => (step.ok ? step.progress.state : step.code);

describe('who may answer', () => {
  const terms = { approvers: ['group:leads', 'group:dba', 'identity:corp:dana'], quorum: 2, ttlMs: 1000 };
  it.each<[string, Approver, string]>([
    ['a member of a named group', approver('alex', 'leads'), 'pending'],
    ['a named identity', approver('dana', 'none'), 'pending'],
    ['a member of another group', approver('eve', 'support'), 'not_approver'],
    ['a group whose name only begins alike', approver('eve', 'leads2', 'lead'), 'not_approver'],
    ['an identity that is called as a group is', { ...approver('group:leads', 'x') }, 'not_approver'],
    [
      "the request's own identity, although in a named group",
      { identity: { ...heldRequest().identity, groups: ['leads'] }, onBehalfOf: '' },
      'own_request',
    ],
    ['a token that was issued to an agent on behalf of an approver', { ...approver('alex', 'leads'), onBehalfOf: 'dana' }, 'delegated'],
  ])('%s: %s', (_, who, expected) => expect(code(answer(held({ terms }), who))).toBe(expected));

  it.each(['dana', 'corp:dana'])('is not whom the request runs on behalf of (%s)', (onBehalfOf) => {
    const approval = held({ run: { id: 'r', onBehalfOf, source: 'token' } });
    expect(code(answer(approval, approver('dana')))).toBe('own_request');
    expect(code(answer(approval, approver('alex')))).toBe('approved');
  });

  it('is nobody for a principal of no known form', () => {
    for (const principal of ['leads', 'Group:leads', 'group:', 'identity:', '*', ''])
      expect(isNamed({ id: 'corp:dana', groups: ['leads'] }, [principal])).toBe(false);
  });
});

describe('the quorum', () => {
  const terms = { approvers: ['group:leads', 'group:dba'], quorum: 2, ttlMs: 1000 };

  it('counts each person once, in however many groups and however often', () => {
    const first = answer(held({ terms }), approver('dana', 'leads', 'dba'));
    if (!first.ok) throw new Error(first.code);
    expect(first.progress).toMatchObject({ state: 'pending', answers: [{ by: 'corp:dana' }] });
    const again = answer(at(held({ terms }), first.progress), approver('dana', 'leads', 'dba'));
    expect(again.ok && again.progress).toBe(first.progress);
    expect(code(answer(at(held({ terms }), first.progress), approver('alex', 'dba')))).toBe('approved');
  });

  it('is void once anybody denies, also who had approved', () => {
    const first = answer(held({ terms }), approver('dana'));
    if (!first.ok) throw new Error(first.code);
    const denied = answer(at(held({ terms }), first.progress), approver('dana'), 'deny', 'I misread it');
    if (!denied.ok) throw new Error(denied.code);
    expect(denied.progress.state).toBe('denied');
    const late = answer(at(held({ terms }), denied.progress), approver('alex'));
    expect(late).toEqual({
      ok: false,
      code: 'ended',
      detail: 'It was denied at 1970-01-01T00:00:00.010Z by dana (corp:dana): I misread it',
    });
  });
});

it('takes a denial only with a reason, and no reason without end', () => {
  expect(code(answer(held(), approver('dana'), 'deny', ' '))).toBe('reason_required');
  expect(code(answer(held(), approver('dana'), 'approve', ''))).toBe('approved');
  expect(code(answer(held(), approver('dana'), 'deny', 'x'.repeat(MAX_REASON)))).toBe('denied');
  expect(code(answer(held(), approver('dana'), 'deny', 'x'.repeat(MAX_REASON + 1)))).toBe('reason_too_long');
});

it('is revoked by any of its approvers, with a reason, as long as it is approved and not used', () => {
  const approval = held({ terms: { approvers: ['group:leads'], quorum: 1, ttlMs: 1000 } });
  expect(code(answer(approval, approver('alex'), 'revoke', 'too early'))).toBe('not_approved');
  const granted = answer(approval, approver('dana'));
  if (!granted.ok) throw new Error(granted.code);
  const grant = at(approval, granted.progress);
  const revoke = (who = approver('alex'), reason = 'wrong customer', now = 20) => answer(grant, who, 'revoke', reason, now);
  expect(code(revoke(undefined, ' '))).toBe('reason_required');
  expect(code(revoke(approver('eve', 'support')))).toBe('not_approver');
  expect(code(revoke(approver('agent-7')))).toBe('own_request');
  expect(code(revoke(undefined, undefined, deadline(grant)))).toBe('ended');
  const revoked = revoke();
  if (!revoked.ok) throw new Error(revoked.code);
  expect(revoked.progress).toMatchObject({
    state: 'revoked',
    endedAt: 20,
    answers: [{ by: 'corp:dana' }, { by: 'corp:alex', verdict: 'revoke' }],
  });
  const over = at(grant, revoked.progress);
  expect(used(over, 21)).toBeUndefined();
  expect(answer(over, approver('dana'), 'revoke', 'again', 30)).toEqual({
    ok: false,
    code: 'ended',
    detail: 'It was approved, and revoked at 1970-01-01T00:00:00.020Z by alex (corp:alex): wrong customer',
  });
});

it('takes no answer from the deadline on, whether or not the timer has fired', () => {
  expect(code(answer(held(), approver('dana'), 'approve', '', 999))).toBe('approved');
  expect(code(answer(held(), approver('dana'), 'approve', '', 1000))).toBe('ended');
});

it('for any order of steps: leaves an end never, is used only when approved, approved only by as many as the quorum asks', () => {
  const people = ['dana', 'alex', 'kim', 'agent-7', 'eve'].map((name) => approver(name, name === 'eve' ? 'support' : 'leads'));
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('answer' as const),
        who: fc.constantFrom(...people),
        verdict: fc.constantFrom('approve' as const, 'approve' as const, 'deny' as const, 'revoke' as const),
      }),
    },
    fc.record({ do: fc.constantFrom('use' as const, 'time' as const, 'cancel' as const) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 700 }) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 25 }), (quorum, steps) => {
      let approval = held({ terms: { approvers: ['group:leads'], quorum, ttlMs: 1000 } });
      let now = 0;
      for (const action of steps) {
        const before = approval.progress;
        const next = ((): Progress | undefined => {
          switch (action.do) {
            case 'answer': {
              const result = answered(approval, action.who, action.verdict, 'because', now, 500);
              return result.ok ? result.progress : undefined;
            }
            case 'use':
              return used(approval, now);
            case 'time':
              return timedOut(approval, now);
            case 'cancel':
              return cancelled(approval, 'gone', now);
            case 'wait':
              now += action.ms;
          }
        })();
        if (!next) continue;
        approval = at(approval, next);
        if (!isOpen(before)) expect(next).toBe(before);
        if (next.state === 'used' || next.state === 'lapsed' || next.state === 'revoked') expect(before.state).toBe('approved');
        if (next.state === 'used') expect(now).toBeLessThan(deadline(at(approval, before)));
        const approvers = next.answers.filter(({ verdict }) => verdict === 'approve').map(({ by }) => by);
        expect(new Set(approvers).size).toBe(approvers.length);
        expect(approvers).not.toContain('corp:agent-7');
        expect(approvers).not.toContain('corp:eve');
        if (next.state === 'approved') expect(approvers.length).toBe(quorum);
        if (next.state === 'pending') expect(approvers.length).toBeLessThan(quorum);
      }
    }),
    { numRuns: 2000 },
  );
});
