/** The journal as the approvals' store: real files, and the weight of many holds. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, it } from 'vitest';
import { type Journal, openJournal } from '../journal/journal.ts';
import { agent, approver, heldRequest } from './approvals.fixture.ts';
import { type Approvals, createApprovals } from './approvals.ts';
import { journalStore } from './store.ts';

const directory = mkdtempSync(join(tmpdir(), 'approvals-'));
let journal: Journal;
const open = async (): Promise<Approvals> => {
  journal = await openJournal(directory);
  return createApprovals({ store: journalStore(journal), record: async () => {} });
};
const reopen = async (approvals: Approvals): Promise<Approvals> => {
  await approvals.close();
  await journal.close();
  return open();
};

afterEach(async () => {
  await journal.close();
  rmSync(directory, { recursive: true, force: true });
});

it('keeps votes, denials, grants and their use over restarts', async () => {
  let approvals = await open();
  const hold = async (fingerprint: string, quorum = 1): Promise<string> => {
    const handle = await approvals.hold(heldRequest({ fingerprint, terms: { approvers: ['group:leads'], quorum, ttlMs: 600_000 } }));
    handle.detach();
    return handle.id;
  };
  const [voted, denied, granted, spent] = await Promise.all([hold('voted', 2), hold('denied'), hold('granted'), hold('spent')]);
  await Promise.all([
    approvals.answer(voted, approver('dana'), 'approve', ''),
    approvals.answer(denied, approver('dana'), 'deny', 'Müller is a customer'),
    approvals.answer(granted, approver('dana'), 'approve', ''),
    approvals.answer(spent, approver('dana'), 'approve', ''),
  ]);
  expect(await approvals.findGrant('spent', agent.id)).toMatchObject({ approval: spent });

  approvals = await reopen(approvals);
  expect(approvals.get(voted)?.progress).toMatchObject({ state: 'pending', answers: [{ by: 'corp:dana' }] });
  expect(approvals.get(denied)?.progress).toMatchObject({ state: 'denied', answers: [{ reason: 'Müller is a customer' }] });
  expect(await approvals.findGrant('spent', agent.id)).toBeUndefined();
  expect(await approvals.findGrant('granted', agent.id)).toMatchObject({
    approval: granted,
    decision: { credential: 'default', rule: 'destructive-needs-approval' },
  });
  approvals = await reopen(approvals);
  expect(await approvals.findGrant('granted', agent.id)).toBeUndefined();
});

it('refuses to open on a record that it does not understand, rather than to forget an answer', async () => {
  journal = await openJournal(directory);
  await journal.append(Buffer.from('{"kind":"delegated"}'));
  await expect(createApprovals({ store: journalStore(journal), record: async () => {} })).rejects.toMatchObject({
    code: 'store_unreadable',
  });
});

it('holds 5,000 requests at little cost each', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Outside the heap there are only the journal's own buffers, which it bounds.
  const inUse = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const approvals = await open();
  const input = { request: { method: 'DELETE', path: '/customers/7', headers: { 'user-agent': ['curl/8'] }, note: 'x'.repeat(1000) } };
  const before = inUse();
  // As the door makes them: each with its own objects.
  const handles = await Promise.all(
    Array.from({ length: 5000 }, (_, n) =>
      approvals.hold(structuredClone(heldRequest({ fingerprint: `f${n}`, maskedInputJson: JSON.stringify({ ...input, n }) }))),
    ),
  );
  const bytes = Math.round((inUse() - before) / handles.length);
  const results = await Promise.all(handles.map(({ id }) => approvals.answer(id, approver('dana'), 'approve', '')));
  expect(results.every(({ ok }) => ok)).toBe(true);
  expect((await Promise.all(handles.map(({ outcome }) => outcome))).every(({ state }) => state === 'approved')).toBe(true);
  expect(bytes).toBeLessThan(6000);
});

it('says that it is not well when the journal is not', async () => {
  const approvals = await open();
  expect(approvals.health).toEqual({ ok: true });
  await journal.close();
  expect(approvals.health).toMatchObject({ ok: false });
  await expect(approvals.hold(heldRequest())).rejects.toMatchObject({ code: 'not_durable' });
});
