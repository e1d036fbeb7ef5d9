/** A process of its own for `killed.test.ts`: holds, approves and uses grants on a real journal, and says on its standard output what was acknowledged. */
import { writeSync } from 'node:fs';
import { openJournal } from '../journal/journal.ts';
import { agent, approver, heldRequest } from './approvals.fixture.ts';
import { createApprovals } from './approvals.ts';
import { journalStore } from './store.ts';

const [directory = '', run = ''] = process.argv.slice(2);
const approvals = await createApprovals({ store: journalStore(await openJournal(directory)), record: async () => {} });
// Written at once, as an answer to a client would be: what stands there was acknowledged before the kill.
const say = (...words: string[]): void => void writeSync(1, `${words.join(' ')}\n`);

const work = async (worker: number): Promise<void> => {
  for (let n = 0; ; n += 1) {
    const fingerprint = `${run}-${worker}-${n}`;
    const handle = await approvals.hold(heldRequest({ fingerprint, terms: { approvers: ['group:leads'], quorum: 2, ttlMs: 600_000 } }));
    if (n % 2 === 0) handle.detach();
    say('held', handle.id, fingerprint);
    for (const name of ['dana', 'alex'])
      if ((await approvals.answer(handle.id, approver(name), 'approve', '')).ok) say('approved', handle.id, `corp:${name}`);
    if (n % 2 === 0) {
      if (await approvals.findGrant(fingerprint, agent.id)) say('released', handle.id);
    } else if ((await handle.outcome).state === 'approved') say('released', handle.id);
  }
};
await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(work));
