/** A state directory that comes back as it was on an older day, or not at all: the service as a process, and those who know better. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { LogReader } from '../../authz-service/log/reader.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let dir: string;
let service: ChildProcess | undefined;
let said: string;

const state = (): string => join(dir, 'state');
const copy = (): string => join(dir, 'copy');

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-rollback-'));
  writeFileSync(join(dir, 'masking-key'), 'k'.repeat(40));
  configure();
});
afterEach(async () => {
  await stop('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

/** A gateway without Envoy: what its record has are the service's own notices, some at each start. */
const configure = (tap: object = {}): void => {
  const document = {
    version: 1,
    state_dir: 'state',
    listeners: [{ name: 'http', address: '127.0.0.1:9' }],
    issuers: [{ name: 'none', issuer: 'http://127.0.0.1:9', audiences: ['gateway'] }],
    targets: [{ name: 'demo', listener: 'http', url: 'http://127.0.0.1:9', credentials: { default: { none: {} } } }],
    policy: { path: join(ROOT, 'policies'), data: join(ROOT, 'demo/grants.yaml') },
    masking: { key: { file: join(dir, 'masking-key') } },
    tap: {
      replicas: [{ type: 'directory', name: 'vault', path: copy() }],
      checkpoints: { every: '1s', to: [{ type: 'directory', name: 'mount', path: join(dir, 'mount') }] },
      ...tap,
    },
  };
  writeFileSync(join(dir, 'sluice.yaml'), stringify(document));
};

/** Resolves to nothing once it is ready, and to its exit code when it does not start. */
const start = async (...args: string[]): Promise<number | undefined> => {
  const child = spawn(process.execPath, [join(ROOT, 'authz-service/cli/main.ts'), 'serve', '--config', join(dir, 'sluice.yaml'), ...args]);
  service = child;
  said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(50)) {
    if (child.exitCode !== null) {
      await ended;
      return child.exitCode;
    }
    if (await isReady()) return undefined;
  }
  throw new Error(`the service did not start:\n${said}`);
};
const isReady = (): Promise<boolean> =>
  new Promise((resolve) => {
    request({ socketPath: join(state(), 'run/admin.sock'), path: '/readyz' }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    })
      .once('error', () => resolve(false))
      .end();
  });
const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
  const child = service;
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
};
const sluice = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) => {
    const env = { ...process.env, SLUICE_CONFIG: join(dir, 'sluice.yaml'), NO_COLOR: '1' };
    execFile(join(ROOT, 'sluice'), args, { env }, (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }));
  });

const sizeAt = async (path: string): Promise<number> => (await new LogReader(localFiles(path)).checkpoint())?.size ?? 0;
/** Starts it, which is two events, has them copied, and stops it. */
const day = async (): Promise<number> => {
  const size = (await sizeAt(copy())) + 2;
  expect(await start(), said).toBeUndefined();
  await expect.poll(() => sizeAt(copy()), { timeout: 45_000, interval: 200 }).toBe(size);
  await stop();
  return size;
};
const texts = async (): Promise<string> => {
  const reader = new LogReader(localFiles(join(state(), 'tap/log')));
  const size = (await reader.checkpoint())?.size ?? 0;
  let all = '';
  for await (const { detail } of reader.read(0, size, size)) all += detail?.event.toString('latin1') ?? '';
  return all;
};

test('a state that was rolled back as a whole is refused in words that say what to do; the loss can be given up, and the record says so', async () => {
  const old = await day();
  cpSync(state(), join(dir, 'old'), { recursive: true });
  const known = await day();
  const back = (): void => {
    rmSync(state(), { recursive: true });
    cpSync(join(dir, 'old'), state(), { recursive: true });
  };
  back();
  expect(await start()).toBe(1);
  expect(said).toContain(`Here it has ${old} leaves`);
  expect(said).toMatch(
    new RegExp(`the replica vault \\(file:.*: ${known} leaves[\\s\\S]*sluice log restore[\\s\\S]*--accept-loss ${known}`),
  );
  expect(await sizeAt(join(state(), 'tap/log'))).toBe(old);

  // The replica away: the place of checkpoints alone is enough.
  rmSync(copy(), { recursive: true });
  expect(await start()).toBe(1);
  expect(said).toContain('the place of checkpoints mount');

  expect(await start('--accept-loss', String(known))).toBeUndefined();
  await stop();
  expect(await texts()).toMatch(new RegExp(`loss-accepted.*the place of checkpoints mount .* knows ${known} leaves`));
  expect(await start(), said).toBeUndefined();
  await stop();
  expect((await sluice('verify', '--json')).code).toBe(0);
}, 300_000);

test('the machine is lost: with the key, the record is made anew from the replica, and goes on as the same tree', async () => {
  const size = await day();
  const remembered = join(dir, 'remembered');
  cpSync(join(copy(), 'checkpoint'), remembered);
  const key = readFileSync(join(state(), 'tap/key'));
  rmSync(state(), { recursive: true });
  mkdirSync(join(state(), 'tap'), { recursive: true });
  writeFileSync(join(state(), 'tap/key'), key, { mode: 0o600 });
  // Without the record the service would begin another one: who knows this one says so.
  expect(await start()).toBe(1);
  expect(said).toContain('Here it has 0 leaves');
  const { code, out, err } = await sluice('log', 'restore', 'vault', '--checkpoint', remembered);
  expect([code, err]).toEqual([0, '']);
  expect(out).toContain(`: ${size} leaves.`);
  expect(await day()).toBe(size + 2);
  for (const log of [join(state(), 'tap/log'), copy()])
    expect(await sluice('verify', '--log', log, '--checkpoint', remembered)).toMatchObject({
      code: 0,
      out: expect.stringContaining('VERIFIED'),
    });
}, 300_000);
