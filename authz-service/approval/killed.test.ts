/** SIGKILL in the middle of real work on a real journal, several times over. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { openJournal } from '../journal/journal.ts';
import { agent } from './approvals.fixture.ts';
import { createApprovals } from './approvals.ts';
import { journalStore } from './store.ts';

const directory = mkdtempSync(join(tmpdir(), 'killed-'));
const PROGRAM = fileURLToPath(new URL('./killed.fixture.ts', import.meta.url));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What the process had said when it was killed, `ms` after its first word. */
const killed = (run: number, ms: number): Promise<string[][]> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, directory, String(run)], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), ms));
    child.stdout.on('data', (bytes) => {
      said += bytes;
    });
    child.once('error', reject);
    child.once('close', () =>
      resolve(
        said
          .split('\n')
          .slice(0, -1)
          .map((line) => line.split(' ')),
      ),
    );
  });

it('loses nothing that was acknowledged, and lets nothing pass twice', async () => {
  const released = new Set<string>();
  for (const [run, ms] of [40, 90, 150].entries()) {
    const said = await killed(run, ms);
    const journal = await openJournal(directory);
    const approvals = await createApprovals({ store: journalStore(journal), record: async () => {}, keepEnded: 1e6 });
    for (const [what, id = ''] of said) if (what === 'released') released.add(id);
    for (const [what, id = '', more = ''] of said) {
      const approval = approvals.get(id);
      expect(approval, `${what} ${id}`).toBeDefined();
      if (what === 'approved') expect(approval?.progress.answers.map(({ by }) => by)).toContain(more);
      if (what === 'released') expect(approval?.progress.state).toBe('used');
      if (what === 'held') {
        const grant = await approvals.findGrant(more, agent.id);
        if (released.has(id)) expect(grant).toBeUndefined();
      }
    }
    await approvals.close();
    await journal.close();
  }
  expect(released.size).toBeGreaterThan(20);
}, 60_000);
