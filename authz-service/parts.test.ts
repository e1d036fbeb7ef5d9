import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Parts, PartsError } from './parts.ts';

const never = (): Promise<void> => new Promise(() => {});

test('parts are closed in the reverse of their order, also behind one that fails', async () => {
  const told: string[] = [];
  const parts = new Parts((part, error) => told.push(`${part} failed: ${(error as Error).message}`));
  parts.add('a', async () => void told.push('a'));
  parts.add('b', async () => {
    throw new Error('EIO');
  });
  parts.add('c', async () => void told.push('c'));
  await parts.close();
  expect(told).toEqual(['c', 'b failed: EIO', 'a']);
  await parts.close();
  expect(told).toHaveLength(3);
});

test('one that hangs is waited for no longer than it may, those behind it less, and all are named', async () => {
  const told: string[] = [];
  const parts = new Parts((part, error) => told.push(`${part}: ${(error as Error).message}`));
  parts.add('the journal', never, 60_000);
  parts.add('the index', async () => void told.push('the index'));
  parts.add('the record', never, 50);
  const since = performance.now();
  const error = await parts.close().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PartsError);
  expect((error as Error).message).toMatch(/^the record, the journal: did not close in time.* What was acknowledged is recorded/);
  expect(told).toEqual(['the record: it did not close within 50 ms', 'the index', 'the journal: it did not close within 1000 ms']);
  expect(performance.now() - since).toBeLessThan(10_000);
});

test('a process whose part hangs in a call that does not return says so, and ends all the same', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-parts-'));
  execFileSync('mkfifo', [join(dir, 'pipe')]);
  const [parts, up] = ['./parts.ts', './cli/up.ts'].map((name) => JSON.stringify(new URL(name, import.meta.url).href));
  const code = `
    import { open } from 'node:fs';
    import { Parts } from ${parts};
    import { untilStopped } from ${up};
    const parts = new Parts(() => {});
    parts.add('the record', () => new Promise((resolve) => open(${JSON.stringify(join(dir, 'pipe'))}, 'r', resolve)), 50);
    process.exitCode = await untilStopped(Promise.resolve('A test asks'), () => parts.close());
    process.exit();`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk));
  const signal = await new Promise((resolve) => child.once('close', (_, by) => resolve(by)));
  expect([signal, said]).toEqual(['SIGKILL', expect.stringContaining('the record: did not close in time, as when a disk does not answer')]);
  rmSync(dir, { recursive: true });
});
