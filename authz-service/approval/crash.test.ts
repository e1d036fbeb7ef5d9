/** Any order of holds, answers, retries, failures and deaths: what must hold whatever happens. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { agent, approver, bench, type Fate, heldRequest, settled } from './approvals.fixture.ts';
import type { HoldHandle } from './approvals.ts';
import type { Verdict } from './state.ts';

const fate = fc.constantFrom<Fate>('durable', 'durable', 'durable', 'failed', 'failed but persisted');
const nth = fc.nat(5);
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      fingerprint: fc.constantFrom('f1', 'f2'),
      quorum: fc.integer({ min: 1, max: 2 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      nth,
      who: fc.constantFrom('dana', 'alex', 'eve'),
      verdict: fc.constantFrom('approve' as const, 'approve' as const, 'approve' as const, 'deny' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('revoke' as const), who: fc.constantFrom('dana', 'alex', 'eve') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('retry' as const), fingerprint: fc.constantFrom('f1', 'f2') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('detach' as const, 'cancel' as const), nth }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('disk' as const), fates: fc.array(fate, { maxLength: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sink' as const), away: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 40_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('die' as const) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant('turn' as const), turns: fc.integer({ min: 1, max: 6 }) }) },
);

it('releases at most once, only what enough people approved on the record, and loses no acknowledged answer', async () => {
  let releases = 0;
  let grants = 0;
  let revocations = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
      const self = await bench({ grantTtlMs: 30_000 });
      const handles: HoldHandle[] = [];
      const ids: string[] = [];
      const quorums = new Map<string, number>();
      const released = new Map<string, number>();
      const acknowledged: { id: string; by: string; verdict: string }[] = [];
      const denied = new Set<string>();
      const failures: unknown[] = [];

      const onRelease = (id: string): void => {
        released.set(id, (released.get(id) ?? 0) + 1);
        expect(denied.has(id)).toBe(false);
        const yes = self.tap.flatMap(({ body }) =>
          body.kind === 'hold_answered' && body.approval === id && (body.answer === 'vote' || body.answer === 'approved') ? [body.by] : [],
        );
        expect(yes.length).toBeGreaterThan(0);
        expect(new Set(yes).size).toBeGreaterThanOrEqual(quorums.get(id) ?? 1);
        expect(self.tap.some(({ body }) => body.kind === 'hold_answered' && body.approval === id && body.answer === 'approved')).toBe(true);
      };
      const wait = (handle: HoldHandle): void => {
        handles.push(handle);
        handle.outcome
          .then(({ state }) => {
            if (state !== 'approved') return;
            releases += 1;
            onRelease(handle.id);
          })
          .catch((error: unknown) => failures.push(error));
      };
      const checkAcknowledged = (): void => {
        for (const { id, by, verdict } of acknowledged) {
          const progress = self.approvals.get(id)?.progress;
          expect(progress?.answers.some((answer) => answer.by === by && answer.verdict === verdict)).toBe(true);
          if (verdict === 'deny') expect(progress?.state).toBe('denied');
          if (verdict === 'revoke') expect(progress?.state).toBe('revoked');
        }
      };

      const answer = async (id: string | undefined, who: string, verdict: Verdict): Promise<void> => {
        if (id === undefined) return;
        const result = await self.approvals.answer(id, approver(who, who === 'eve' ? 'support' : 'leads'), verdict, 'because');
        if (!result.ok) return;
        expect(who).not.toBe('eve');
        acknowledged.push({ id, by: `corp:${who}`, verdict });
        if (verdict !== 'approve') denied.add(id);
        if (verdict === 'revoke') revocations += 1;
      };
      const take = async (action: (typeof steps)[number]): Promise<void> => {
        switch (action.do) {
          case 'hold': {
            const handle = await self.approvals.hold(
              heldRequest({ fingerprint: action.fingerprint, terms: { approvers: ['group:leads'], quorum: action.quorum, ttlMs: 60_000 } }),
            );
            ids.push(handle.id);
            quorums.set(handle.id, action.quorum);
            return wait(handle);
          }
          case 'answer':
            return answer(ids[action.nth % ids.length], action.who, action.verdict);
          case 'revoke':
            return answer(ids.findLast((id) => self.approvals.get(id)?.progress.state === 'approved') ?? ids[0], action.who, 'revoke');
          case 'retry': {
            const grant = await self.approvals.findGrant(action.fingerprint, agent.id);
            if (grant) {
              grants += 1;
              return onRelease(grant.approval);
            }
            const joined = self.approvals.join(action.fingerprint, agent.id);
            if (joined) wait(joined);
            return;
          }
          case 'detach':
          case 'cancel':
            return handles[action.nth % handles.length]?.[action.do]();
          case 'disk':
            self.store.fates = [...action.fates];
            return;
          case 'sink':
            self.tapFails = action.away;
            return;
          case 'time':
            return self.clock.advance(action.ms);
          case 'die':
            await self.restart();
            return checkAcknowledged();
          case 'turn':
            for (let turn = 0; turn < action.turns; turn += 1) await new Promise(setImmediate);
        }
      };

      for (const action of steps) {
        const taken = take(action).catch((error: unknown) => {
          if ((error as { code?: string }).code !== 'not_durable' && (error as { code?: string }).code !== 'closed') failures.push(error);
        });
        if (action.do === 'turn' || action.do === 'die' || action.do === 'time') await taken;
      }
      await settled();
      await settled();
      self.tapFails = false;
      self.store.fates = [];
      await self.restart();
      checkAcknowledged();
      for (const fingerprint of ['f1', 'f2'])
        for (
          let grant = await self.approvals.findGrant(fingerprint, agent.id);
          grant;
          grant = await self.approvals.findGrant(fingerprint, agent.id)
        )
          onRelease(grant.approval);
      expect(failures).toEqual([]);
      expect([...released.values()].every((times) => times === 1)).toBe(true);
    }),
    { numRuns: 1500 },
  );
  // The property says nothing when nothing was ever released.
  expect(releases).toBeGreaterThan(50);
  expect(grants).toBeGreaterThan(10);
  expect(revocations).toBeGreaterThan(10);
}, 120_000);
