/** `sluice up` as a process that is told to end, while something runs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { survivors } from './demo.fixture.ts';
import { Sluice } from './sluice.fixture.ts';

const CLI = fileURLToPath(new URL('../../authz-service/cli/main.ts', import.meta.url));
const SSN = '536-22-8134';
const PIECES = 8;
const PAUSE_MS = 400;
const DRAIN_MS = 7_000;

let sluice: Sluice;
let up: ChildProcess;
let output: string;
beforeAll(async () => {
  sluice = await Sluice.start(
    (document) => {
      document.service = { drain: `${DRAIN_MS}ms` };
    },
    ({ url }, response) => {
      if (url !== '/tickets/slow' && url !== '/tickets/endless') return false;
      response.setHeader('content-type', 'application/x-ndjson');
      void (async () => {
        for (let n = 1; n <= PIECES || url === '/tickets/endless'; n++) {
          if (response.destroyed) return;
          response.write(`{"n":${n},"ssn":"${SSN}"}\n`);
          await sleep(PAUSE_MS);
        }
        response.end();
      })();
      return true;
    },
  );
  // From here on `sluice up` runs both, on the same configuration.
  await sluice.envoy.stop();
  await sluice.stopService();
});
afterAll(() => sluice?.close());

beforeEach(async () => {
  output = '';
  up = spawn(process.execPath, [CLI, 'up', '--config', join(sluice.dir, 'sluice.yaml')], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [up.stdout, up.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk));
  while (!output.includes('Sluice is up')) {
    if (up.exitCode !== null) throw new Error(output);
    await sleep(20);
  }
});
afterEach(async () => {
  if (up.exitCode === null && up.signalCode === null) {
    up.kill('SIGKILL');
    await once(up, 'exit');
  }
});

/** Tells it to end. @returns its exit code, and how long that took */
async function ended(signal: NodeJS.Signals = 'SIGTERM'): Promise<{ code: number | null; ms: number }> {
  const since = performance.now();
  const exit = once(up, 'exit');
  up.kill(signal);
  const [code] = (await exit) as [number | null];
  return { code, ms: performance.now() - since };
}

/** A response that runs: settled when it ends, after its first bytes have come. */
async function running(path: string) {
  const token = await sluice.token();
  const begun = Promise.withResolvers<void>();
  const since = performance.now();
  const reply = sluice.ask(path, { token, onData: () => begun.resolve() }).then((of) => ({ ...of, ms: performance.now() - since }));
  await Promise.race([begun.promise, reply]);
  return { reply };
}

test('a response that runs comes to its end, masked and recorded; a held request is told first; nobody new comes in', async () => {
  const token = await sluice.token();
  const held = sluice.ask('/customers/7', { method: 'DELETE', token });
  const [approval] = await sluice.approvals();
  const { reply } = await running('/tickets/slow');
  const end = ended();
  const refusal = await held;
  expect(refusal.status).toBe(503);
  expect(JSON.parse(refusal.text).detail).toMatch(/Send it again/);
  // While the other still runs.
  expect(await Promise.race([reply, 'running'])).toBe('running');
  await expect.poll(() => sluice.ask('/tickets', { token }).then(String, ({ code }) => code), { timeout: 15_000 }).toBe('ECONNREFUSED');
  const { status, cut, text, headers } = await reply;
  expect([status, cut]).toEqual([200, false]);
  expect(text.trim().split('\n')).toHaveLength(PIECES);
  expect(text).not.toContain(SSN);
  const { code, ms } = await end;
  expect(code).toBe(0);
  // As soon as nothing runs, not when the time is over.
  expect(ms).toBeLessThan(DRAIN_MS);

  await sluice.startService();
  try {
    const events = await sluice.events(String(headers['x-sluice-session']));
    expect(JSON.stringify(events)).toMatch(/"kind":"response_finished".*"outcome":"complete"/);
    // What was held stays held, for the same request sent again.
    expect((await sluice.approvals()).map(({ id }) => id)).toContain(approval?.id);
  } finally {
    await sluice.stopService();
  }
});

test('a response that does not end is cut when the time is over', async () => {
  const { reply } = await running('/tickets/endless');
  const end = ended();
  const { status, cut, text } = await reply;
  expect([status, cut]).toEqual([200, true]);
  expect(text).not.toContain(SSN);
  const { code, ms } = await end;
  expect(code).toBe(0);
  expect(ms).toBeGreaterThanOrEqual(DRAIN_MS - 100);
  expect(ms).toBeLessThan(DRAIN_MS + 15_000);
});

test('a second SIGINT does not wait', async () => {
  const { reply } = await running('/tickets/endless');
  const envoy = Number(/envoy (\d+)/.exec(await children(up.pid ?? 0))?.[1]);
  expect(envoy).toBeGreaterThan(0);
  up.kill('SIGINT');
  await sleep(800);
  expect(up.exitCode).toBeNull();
  const { code, ms } = await ended('SIGINT');
  expect(code).toBe(130);
  // The first would have waited for the rest of it.
  expect(ms).toBeLessThan(DRAIN_MS - 1_500);
  expect(await survivors([envoy])).toEqual([]);
  expect((await reply).cut).toBe(true);
});

async function children(parent: number): Promise<string> {
  const ps = spawn('ps', ['--ppid', String(parent), '-o', 'comm=,pid='], { stdio: ['ignore', 'pipe', 'ignore'] });
  let rows = '';
  for await (const chunk of ps.stdout) rows += chunk;
  return rows.replace(/ +/g, ' ');
}
