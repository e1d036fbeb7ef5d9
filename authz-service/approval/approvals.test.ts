import { describe, expect, it } from 'vitest';
import type { ApprovalsPort } from '../decision/ports.ts';
import type { TapBody } from '../tap/schema.ts';
import { agent, approver, bench, heldRequest, person, settled } from './approvals.fixture.ts';
import { MAX_KEPT_INPUT, type Outcome } from './approvals.ts';

const OWN = agent.id;
const state = async (outcome: Promise<Outcome>): Promise<string> =>
  (await Promise.race([outcome, settled().then(() => ({ state: 'waiting' }))])).state;
const saidOf = (tap: Awaited<ReturnType<typeof bench>>['tap']): string[] =>
  tap.map(({ body }) => (body.kind === 'request_held' ? 'held' : `${body.answer}${body.by && ` by ${body.by}`}`));

describe('a hold', () => {
  it('is in the tap and in the store before anybody sees it, and tells the caller who approved', async () => {
    const { approvals, tap, store } = await bench();
    const holding = approvals.hold(heldRequest());
    expect(approvals.list()).toEqual([]);
    const handle = await holding;
    expect(handle.id).toMatch(/^apr_[a-z0-9]{10}$/);
    expect(store.records.length).toBe(1);
    expect(tap).toEqual([
      {
        session: 's1',
        target: 'demo',
        body: {
          kind: 'request_held',
          approval: handle.id,
          approvers: ['group:leads'],
          quorum: 1,
          expiresUnixNanos: BigInt(handle.expiresAt) * 1_000_000n,
          rule: 'destructive-needs-approval',
          reason: 'Deleting a customer needs an approval',
        },
      },
    ]);
    expect(await state(handle.outcome)).toBe('waiting');
    expect(await approvals.answer(handle.id, approver('dana'), 'approve', ' go on ')).toMatchObject({ ok: true, again: false });
    expect(await handle.outcome).toEqual({ state: 'approved', approval: handle.id, by: ['corp:dana'], reason: 'go on' });
    expect(saidOf(tap)).toEqual(['held', 'approved by corp:dana']);
    expect(approvals.get(handle.id)?.progress.state).toBe('used');
    expect(approvals.hasGrants('f1')).toBe(false);
  });

  it('is not shorter or longer than its terms, and never longer than the longest', async () => {
    const { approvals, clock } = await bench({ maxTtlMs: 30_000 });
    const handle = await approvals.hold(heldRequest());
    expect(handle.expiresAt - clock.now()).toBe(30_000);
    await clock.advance(29_999);
    expect(await state(handle.outcome)).toBe('waiting');
    await clock.advance(1);
    expect(await state(handle.outcome)).toBe('expired');
  });

  it('leaves the input of a large request to the record', async () => {
    const { approvals } = await bench();
    const { id } = await approvals.hold(heldRequest({ maskedInputJson: JSON.stringify('x'.repeat(MAX_KEPT_INPUT)) }));
    expect(approvals.get(id)?.request.maskedInputJson).toBe('');
  });

  it('is refused past the bound, also when all come at once, and again accepted when one has ended', async () => {
    const { approvals } = await bench({ maxOpen: 3 });
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => approvals.hold(heldRequest())));
    const handles = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(handles.length).toBe(3);
    expect(results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))).toEqual([
      'too_many_held',
      'too_many_held',
    ]);
    handles[0]?.cancel();
    await settled();
    await expect(approvals.hold(heldRequest())).resolves.toBeDefined();
  });
});

describe('an answer', () => {
  it('of a quorum: votes are told apart from the one that approves', async () => {
    const { approvals, tap } = await bench();
    const { id, outcome } = await approvals.hold(heldRequest({ terms: { approvers: ['group:leads'], quorum: 2, ttlMs: 60_000 } }));
    expect(await approvals.answer(id, approver('dana'), 'approve', '')).toMatchObject({ ok: true, again: false });
    expect(await approvals.answer(id, approver('dana'), 'approve', '')).toMatchObject({ ok: true, again: true });
    expect(await state(outcome)).toBe('waiting');
    await approvals.answer(id, approver('alex'), 'approve', '');
    expect(await outcome).toMatchObject({ state: 'approved', by: ['corp:dana', 'corp:alex'] });
    expect(saidOf(tap)).toEqual(['held', 'vote by corp:dana', 'approved by corp:alex']);
  });

  it('of two who answer at once: one counts, the other is told who was first', async () => {
    const { approvals } = await bench();
    const { id, outcome } = await approvals.hold(heldRequest());
    const [denial, approval] = await Promise.all([
      approvals.answer(id, approver('dana'), 'deny', 'not this one'),
      approvals.answer(id, approver('alex'), 'approve', ''),
    ]);
    expect(denial.ok).toBe(true);
    expect(approval).toMatchObject({ ok: false, code: 'ended', detail: expect.stringContaining('denied') });
    expect(approval).toMatchObject({ detail: expect.stringContaining('corp:dana') });
    expect(await outcome).toMatchObject({ state: 'denied', by: ['corp:dana'], reason: 'not this one' });
  });

  it('that revokes is recorded, and ends a grant for good; a request that uses it at the same time either has it or does not', async () => {
    const self = await bench();
    const { approvals, tap } = self;
    const granted = async (): Promise<string> => {
      const handle = await approvals.hold(heldRequest());
      handle.detach();
      await approvals.answer(handle.id, approver('dana'), 'approve', '');
      return handle.id;
    };
    const first = await granted();
    expect(await approvals.answer(first, approver('alex'), 'revoke', 'wrong customer')).toMatchObject({ ok: true, again: false });
    expect(saidOf(tap)).toEqual(['held', 'approved by corp:dana', 'revoked by corp:alex']);
    expect(approvals.hasGrants('f1')).toBe(false);
    expect(await approvals.findGrant('f1', OWN)).toBeUndefined();
    expect(approvals.open).toEqual({ holds: 0, grants: 0 });
    expect(approvals.status(first, OWN)).toMatchObject({ state: 'revoked', reason: expect.stringContaining('wrong customer') });

    const second = await granted();
    const [found, late] = await Promise.all([approvals.findGrant('f1', OWN), approvals.answer(second, approver('dana'), 'revoke', 'late')]);
    expect(found).toMatchObject({ approval: second });
    expect(late).toMatchObject({ ok: false, code: 'ended' });

    const third = await granted();
    const [early, none] = await Promise.all([approvals.answer(third, approver('dana'), 'revoke', 'early'), approvals.findGrant('f1', OWN)]);
    expect(early).toMatchObject({ ok: true });
    expect(none).toBeUndefined();

    await self.restart();
    expect(self.approvals.get(first)?.progress.state).toBe('revoked');
    expect(await self.approvals.findGrant('f1', OWN)).toBeUndefined();
  });

  it('to nothing, by nobody in particular, by itself: refused, and recorded nowhere', async () => {
    const { approvals, tap } = await bench();
    const { id } = await approvals.hold(heldRequest());
    expect(await approvals.answer('apr_none', approver('dana'), 'approve', '')).toMatchObject({ code: 'not_found' });
    expect(await approvals.answer(id, approver('eve', 'support'), 'approve', '')).toMatchObject({ code: 'not_approver' });
    expect(await approvals.answer(id, { identity: { ...agent, groups: ['leads'] }, onBehalfOf: '' }, 'approve', '')).toMatchObject({
      code: 'own_request',
    });
    expect(await approvals.answer(id, approver('dana'), 'deny', '   ')).toMatchObject({ code: 'reason_required' });
    expect(saidOf(tap)).toEqual(['held']);
  });
});

describe('a caller that goes away', () => {
  it('ends its hold', async () => {
    const { approvals, tap } = await bench();
    const handle = await approvals.hold(heldRequest());
    handle.cancel();
    await settled();
    expect(saidOf(tap)).toEqual(['held', 'cancelled']);
    expect(await approvals.answer(handle.id, approver('dana'), 'approve', '')).toMatchObject({ code: 'ended' });
    expect(approvals.open).toEqual({ holds: 0, grants: 0 });
  });

  it('with a promise to come back leaves it, and finds its grant once, for the same request only', async () => {
    const { approvals, store } = await bench();
    const handle = await approvals.hold(heldRequest());
    handle.detach();
    handle.cancel();
    await settled();
    await approvals.answer(handle.id, approver('dana'), 'approve', '');
    expect(approvals.open).toEqual({ holds: 0, grants: 1 });
    expect(await approvals.findGrant('f2', OWN)).toBeUndefined();
    expect(await approvals.findGrant('f1', 'corp:another')).toBeUndefined();
    const found = await Promise.all([approvals.findGrant('f1', OWN), approvals.findGrant('f1', OWN), approvals.findGrant('f1', OWN)]);
    expect(found.filter(Boolean)).toEqual([{ approval: handle.id, by: ['corp:dana'], decision: heldRequest().decision }]);
    expect(store.records.at(-1)).toContain('"used"');
    expect(await approvals.findGrant('f1', OWN)).toBeUndefined();
  });

  it('while its approval is being written leaves a grant: the approver was told that it counts', async () => {
    const { approvals } = await bench();
    const handle = await approvals.hold(heldRequest());
    const answering = approvals.answer(handle.id, approver('dana'), 'approve', '');
    handle.cancel();
    expect(await answering).toMatchObject({ ok: true });
    expect(approvals.open).toEqual({ holds: 0, grants: 1 });
  });

  it('and comes back joins what is still pending; only one can, and only its own', async () => {
    const { approvals } = await bench();
    const handle = await approvals.hold(heldRequest());
    expect(approvals.join('f1', OWN)).toBeUndefined();
    handle.detach();
    expect(approvals.join('f1', 'corp:another')).toBeUndefined();
    const joined = approvals.join('f1', OWN);
    expect(joined?.id).toBe(handle.id);
    expect(approvals.join('f1', OWN)).toBeUndefined();
    await approvals.answer(handle.id, approver('dana'), 'approve', '');
    expect(await joined?.outcome).toMatchObject({ state: 'approved' });
    expect(await state(handle.outcome)).toBe('waiting');
    expect(await approvals.findGrant('f1', OWN)).toBeUndefined();
  });

  it('and comes back before its cancellation was looked at goes on waiting', async () => {
    const { approvals } = await bench({});
    const handle = await approvals.hold(heldRequest({ terms: { approvers: ['group:leads'], quorum: 2, ttlMs: 60_000 } }));
    const voting = approvals.answer(handle.id, approver('dana'), 'approve', '');
    handle.cancel();
    const joined = approvals.join('f1', OWN);
    await voting;
    await settled();
    await approvals.answer(handle.id, approver('alex'), 'approve', '');
    expect(await joined?.outcome).toMatchObject({ state: 'approved' });
  });
});

describe('time', () => {
  it('expires each hold when it is due, with one timer for all, and records it', async () => {
    const { approvals, clock, tap } = await bench();
    const handles = await Promise.all(
      [30, 10, 20].map((s) => approvals.hold(heldRequest({ terms: { approvers: ['group:leads'], quorum: 1, ttlMs: s * 1000 } }))),
    );
    expect(clock.alarms).toBe(1);
    await clock.advance(10_000);
    expect(await Promise.all(handles.map(({ outcome }) => state(outcome)))).toEqual(['waiting', 'expired', 'waiting']);
    await clock.advance(20_000);
    expect(await Promise.all(handles.map(({ outcome }) => state(outcome)))).toEqual(['expired', 'expired', 'expired']);
    expect(saidOf(tap).filter((said) => said === 'expired').length).toBe(3);
    expect(clock.alarms).toBe(0);
  });

  it('ends a grant', async () => {
    const { approvals, clock } = await bench({ grantTtlMs: 5000 });
    const handle = await approvals.hold(heldRequest());
    handle.detach();
    await approvals.answer(handle.id, approver('dana'), 'approve', '');
    await clock.advance(5000);
    expect(await approvals.findGrant('f1', OWN)).toBeUndefined();
    expect(approvals.status(handle.id, OWN)).toMatchObject({ state: 'lapsed' });
  });
});

describe('when tap or store fail', () => {
  it.each(['tap', 'store'])('nothing is held (%s)', async (which) => {
    const self = await bench();
    if (which === 'tap') self.tapFails = true;
    else self.store.fates = ['failed'];
    await expect(self.approvals.hold(heldRequest())).rejects.toMatchObject({ code: 'not_durable' });
    expect(self.approvals.list()).toEqual([]);
    await settled();
    // What the tap was told is not left open.
    expect(saidOf(self.tap)).toEqual(which === 'tap' ? [] : ['held', 'cancelled']);
  });

  it.each(['tap', 'store'])('no answer counts, its approver is told, the caller waits on (%s)', async (which) => {
    const self = await bench();
    const handle = await self.approvals.hold(heldRequest());
    if (which === 'tap') self.tapFails = true;
    else self.store.fates = ['failed'];
    expect(await self.approvals.answer(handle.id, approver('dana'), 'approve', '')).toMatchObject({ ok: false, code: 'not_durable' });
    expect(await state(handle.outcome)).toBe('waiting');
    self.tapFails = false;
    expect(await self.approvals.answer(handle.id, approver('dana'), 'approve', '')).toMatchObject({ ok: true, again: false });
    expect(await handle.outcome).toMatchObject({ state: 'approved' });
  });

  it('a release that cannot be stored is none: the caller is told, and its retry finds the grant', async () => {
    const { approvals, store } = await bench();
    const handle = await approvals.hold(heldRequest());
    store.fates = ['durable', 'failed'];
    await approvals.answer(handle.id, approver('dana'), 'approve', '');
    expect(await handle.outcome).toMatchObject({ state: 'interrupted' });
    expect(await approvals.findGrant('f1', OWN)).toMatchObject({ approval: handle.id });
  });

  it('a grant whose use cannot be stored is not used', async () => {
    const { approvals, store } = await bench();
    const handle = await approvals.hold(heldRequest());
    handle.detach();
    await approvals.answer(handle.id, approver('dana'), 'approve', '');
    store.fates = ['failed'];
    await expect(approvals.findGrant('f1', OWN)).rejects.toMatchObject({ code: 'not_durable' });
    expect(await approvals.findGrant('f1', OWN)).toMatchObject({ approval: handle.id });
  });

  it.each(['tap', 'store'])('a revocation that is not recorded does not count, and its approver is told (%s)', async (which) => {
    const self = await bench();
    const handle = await self.approvals.hold(heldRequest());
    handle.detach();
    await self.approvals.answer(handle.id, approver('dana'), 'approve', '');
    if (which === 'tap') self.tapFails = true;
    else self.store.fates = ['failed'];
    const revoke = () => self.approvals.answer(handle.id, approver('dana'), 'revoke', 'wrong customer');
    expect(await revoke()).toMatchObject({ ok: false, code: 'not_durable' });
    self.tapFails = false;
    expect(await revoke()).toMatchObject({ ok: true });
    expect(await self.approvals.findGrant('f1', OWN)).toBeUndefined();
  });

  it('an expiry counts, and is recorded once, when they are back', async () => {
    const self = await bench();
    const handle = await self.approvals.hold(heldRequest());
    self.tapFails = true;
    await self.clock.advance(60_000);
    expect(await state(handle.outcome)).toBe('expired');
    expect(saidOf(self.tap)).toEqual(['held']);
    self.tapFails = false;
    self.store.fates = ['failed'];
    await self.clock.advance(20_000);
    expect(saidOf(self.tap)).toEqual(['held', 'expired']);
    expect(self.store.records.at(-1)).toContain('"expired"');
  });
});

describe('a restart', () => {
  it('leaves pending ones pending, for a caller to join or an approver to answer', async () => {
    const self = await bench();
    const { id } = await self.approvals.hold(heldRequest({ terms: { approvers: ['group:leads'], quorum: 2, ttlMs: 60_000 } }));
    await self.approvals.answer(id, approver('dana'), 'approve', 'yes');
    await self.restart();
    expect(self.approvals.get(id)?.progress).toMatchObject({ state: 'pending', answers: [{ by: 'corp:dana', reason: 'yes' }] });
    expect(await self.approvals.answer(id, approver('dana'), 'approve', '')).toMatchObject({ again: true });
    const joined = self.approvals.join('f1', OWN);
    await self.approvals.answer(id, approver('alex'), 'approve', '');
    expect(await joined?.outcome).toMatchObject({ state: 'approved' });
    await self.restart();
    expect(await self.approvals.findGrant('f1', OWN)).toBeUndefined();
  });

  it('expires what fell due meanwhile, and records it', async () => {
    const self = await bench();
    const { id } = await self.approvals.hold(heldRequest());
    self.store.crash();
    await self.approvals.close();
    await self.clock.advance(3_600_000);
    await self.restart();
    await self.clock.advance(0);
    expect(self.approvals.get(id)?.progress.state).toBe('expired');
    expect(saidOf(self.tap)).toEqual(['held', 'expired']);
  });

  it('that was announced tells the callers, keeps their holds, and takes nothing new', async () => {
    const self = await bench();
    const [handle, other] = [await self.approvals.hold(heldRequest()), self.approvals.hold(heldRequest({ fingerprint: 'f2' }))];
    await self.approvals.close();
    expect(await handle.outcome).toMatchObject({ state: 'interrupted', reason: expect.stringContaining('stays held') });
    expect(await (await other).outcome).toMatchObject({ state: 'interrupted' });
    handle.cancel();
    await expect(self.approvals.hold(heldRequest())).rejects.toMatchObject({ code: 'closed' });
    expect(await self.approvals.answer(handle.id, approver('dana'), 'approve', '')).toMatchObject({ ok: false, code: 'not_durable' });
    await self.restart();
    expect(self.approvals.open).toEqual({ holds: 2, grants: 0 });
  });
});

it('shows a waiting agent its own approval only', async () => {
  const { approvals, clock } = await bench();
  const { id } = await approvals.hold(heldRequest());
  const expected = {
    id,
    state: 'pending',
    rule: 'destructive-needs-approval',
    reason: 'Deleting a customer needs an approval',
    expires: '2026-03-01T12:01:00.000Z',
  };
  expect(approvals.status(id, OWN)).toEqual({ ...expected, retry_after: 1 });
  await clock.advance(59_500);
  expect(approvals.status(id, OWN)).toEqual({ ...expected, retry_after: 1 });
  expect(approvals.status(id, person('dana').id)).toBeUndefined();
  expect(approvals.status('apr_none', OWN)).toBeUndefined();
});

it('is what the pipeline asks for, and speaks the tap’s words', async () => {
  const { approvals, tap } = await bench();
  const port: ApprovalsPort = approvals;
  const bodies: readonly TapBody[] = tap.map(({ body }) => body);
  expect([port.hasGrants('f1'), bodies]).toEqual([false, []]);
});

it('gives two grants of one fingerprint to two requests that come at once', async () => {
  const { approvals } = await bench();
  for (const handle of [await approvals.hold(heldRequest()), await approvals.hold(heldRequest())]) {
    handle.detach();
    await approvals.answer(handle.id, approver('dana'), 'approve', '');
  }
  const found = await Promise.all([1, 2, 3].map(() => approvals.findGrant('f1', OWN)));
  expect(new Set(found.map((grant) => grant?.approval)).size).toBe(3);
  expect(found[2]).toBeUndefined();
});

describe('the store', () => {
  const deny = async ({ approvals }: Awaited<ReturnType<typeof bench>>, times: number): Promise<void> => {
    for (let round = 0; round < times; round += 1) {
      const { id } = await approvals.hold(heldRequest());
      await approvals.answer(id, approver('dana'), 'deny', 'no');
    }
  };

  it('is written anew under a load that never pauses, and lacks no step; the oldest ended ones are forgotten', async () => {
    const self = await bench({ keepEnded: 10 });
    const standing = await self.approvals.hold(
      heldRequest({ fingerprint: 'standing', terms: { approvers: ['group:leads'], quorum: 2, ttlMs: 600_000 } }),
    );
    // Out of step with each other, so that something is being written at every moment.
    const begin = async (_: unknown, n: number): Promise<void> => {
      for (let turn = 0; turn < n % 7; turn += 1) await new Promise(setImmediate);
      return deny(self, 60);
    };
    let pausing = false;
    const load = Promise.all(Array.from({ length: 100 }, begin)).finally(() => {
      pausing = true;
    });
    while (self.store.compactions === 0) await settled();
    expect(pausing).toBe(false);
    expect(self.store.records.length).toBeLessThan(500);
    await self.approvals.answer(standing.id, approver('dana'), 'approve', '');
    await load;
    expect(self.approvals.list().length).toBe(11);
    await self.restart();
    expect(self.approvals.list('pending')).toMatchObject([{ id: standing.id, progress: { answers: [{ by: 'corp:dana' }] } }]);
    expect(self.approvals.list('denied').length).toBe(10);
  });

  it('that is written anew does not forget what the tap has yet to be told', async () => {
    const self = await bench({ keepEnded: 10 });
    const { id } = await self.approvals.hold(heldRequest());
    self.tapFails = true;
    await self.clock.advance(60_000);
    self.tapFails = false;
    await Promise.all(Array.from({ length: 100 }, () => deny(self, 51)));
    expect(self.store.compactions).toBe(1);
    expect(saidOf(self.tap)).not.toContain('expired');
    await self.restart();
    await self.clock.advance(0);
    expect(self.approvals.get(id)?.progress.state).toBe('expired');
    expect(saidOf(self.tap)).toContain('expired');
  });
});

describe('what ended', () => {
  const DAY = 86_400_000;
  /** Ends at once: denied. */
  const denied = async (self: Awaited<ReturnType<typeof bench>>, session: string): Promise<string> => {
    const { id } = await self.approvals.hold(heldRequest({ session, fingerprint: session, summary: `DELETE /of/${session}` }));
    await self.approvals.answer(id, approver('dana'), 'deny', `no, ${session}`);
    return id;
  };
  const stored = ({ store }: Awaited<ReturnType<typeof bench>>): string => store.records.join('\n');

  it('is forgotten here and in the store once its age is over, but for what must be kept; what is open stays', async () => {
    const kept = new Set(['ses_held']);
    const self = await bench({ mustKeep: (session) => kept.has(session) });
    const terms = { approvers: ['group:leads'], quorum: 1, ttlMs: 100 * DAY };
    const old = await denied(self, 'ses_old');
    const held = await denied(self, 'ses_held');
    await self.clock.advance(10 * DAY);
    const recent = await denied(self, 'ses_recent');
    const open = await self.approvals.hold(heldRequest({ session: 'ses_open', terms }));
    await self.approvals.forgetEnded(self.clock.now() - DAY);
    expect(self.approvals.list().map(({ id }) => id)).toEqual(expect.arrayContaining([held, recent, open.id]));
    expect(self.approvals.get(old)).toBeUndefined();
    expect(stored(self)).not.toContain('ses_old');
    for (const session of ['ses_held', 'ses_recent', 'ses_open']) expect(stored(self)).toContain(session);
    const { compactions } = self.store;
    await self.approvals.forgetEnded(self.clock.now() - DAY);
    expect(self.store.compactions).toBe(compactions);

    // The hold is released, and the service begins anew.
    await self.restart();
    expect(self.approvals.get(held)).toBeDefined();
    kept.clear();
    await self.approvals.forgetEnded(self.clock.now() - DAY);
    expect(stored(self)).not.toContain('ses_held');
    expect(self.approvals.get(open.id)?.progress.state).toBe('pending');
  });

  it('is forgotten in the store also where it is not shown any more, and what must be kept is shown on', async () => {
    const self = await bench({ keepEnded: 2, mustKeep: (session) => session === 'ses_0' });
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) ids.push(await denied(self, `ses_${n}`));
    expect(ids.filter((id) => self.approvals.get(id))).toEqual([ids[0], ids[4]]);
    expect(stored(self)).toContain('ses_2');
    await self.restart();
    await self.clock.advance(DAY);
    await self.approvals.forgetEnded(self.clock.now());
    expect(stored(self)).not.toMatch(/ses_[1234]/);
    expect(stored(self)).toContain('ses_0');
  });

  it('is tried again when the store does not take it, and loses no step that comes meanwhile', async () => {
    const self = await bench();
    await denied(self, 'ses_old');
    await self.clock.advance(DAY);
    self.store.compactionFails = true;
    await expect(self.approvals.forgetEnded(self.clock.now())).rejects.toThrow('no space left');
    expect(stored(self)).toContain('ses_old');
    self.store.compactionFails = false;
    const [handle] = await Promise.all([
      self.approvals.hold(heldRequest({ session: 'ses_new' })),
      self.approvals.forgetEnded(self.clock.now()),
    ]);
    expect(stored(self)).not.toContain('ses_old');
    await self.restart();
    expect(self.approvals.list('pending').map(({ id }) => id)).toEqual([handle.id]);
  });
});

describe('while nothing may be set free', () => {
  it('an approval frees nobody, says why, and waits as a grant; it frees one request once that is over', async () => {
    let why: string | undefined;
    const self = await bench({ withheld: () => why });
    const handle = await self.approvals.hold(heldRequest());
    why = 'the vault has no locks';
    expect(await self.approvals.answer(handle.id, approver('dana'), 'approve', '')).toMatchObject({ ok: true });
    expect(await handle.outcome).toMatchObject({
      state: 'interrupted',
      reason: expect.stringMatching(/was approved, and nothing new passes: the vault has no locks\. .*send it again/),
    });
    expect(self.approvals.get(handle.id)?.progress.state).toBe('approved');
    await expect(self.approvals.findGrant('f1', OWN)).rejects.toMatchObject({
      code: 'withheld',
      message: expect.stringContaining('the vault has no locks'),
    });
    why = undefined;
    expect(await self.approvals.findGrant('f1', OWN)).toMatchObject({ approval: handle.id });
    expect(await self.approvals.findGrant('f1', OWN)).toBeUndefined();
  });
});
