/** A gateway without Envoy, as a process: what its record has are the service's own notices, two at each start. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { LogReader } from '../../authz-service/log/reader.ts';
import type { ObjectStore } from '../../authz-service/storage/object_store.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export class LoneService {
  readonly dir = mkdtempSync(join(tmpdir(), 'sluice-lone-'));
  readonly state = join(this.dir, 'state');
  /** What it has said since its last start. */
  said = '';
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;

  constructor(env: NodeJS.ProcessEnv = {}) {
    this.#env = { ...process.env, ...env };
    writeFileSync(join(this.dir, 'masking-key'), 'k'.repeat(40));
  }

  configure(tap: object): void {
    const document = {
      version: 1,
      state_dir: 'state',
      listeners: [{ name: 'http', address: '127.0.0.1:9' }],
      issuers: [{ name: 'none', issuer: 'http://127.0.0.1:9', audiences: ['gateway'] }],
      targets: [{ name: 'demo', listener: 'http', url: 'http://127.0.0.1:9', credentials: { default: { none: {} } } }],
      policy: { path: join(ROOT, 'policies'), data: join(ROOT, 'demo/grants.yaml') },
      masking: { key: { file: join(this.dir, 'masking-key') } },
      tap,
    };
    writeFileSync(join(this.dir, 'sluice.yaml'), stringify(document));
  }

  /** Resolves to nothing once it is ready, and to its exit code when it does not start. */
  async start(...args: string[]): Promise<number | undefined> {
    const command = [join(ROOT, 'authz-service/cli/main.ts'), 'serve', '--config', join(this.dir, 'sluice.yaml')];
    const child = spawn(process.execPath, [...command, ...args], { env: this.#env });
    this.#child = child;
    this.said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (this.said += chunk));
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(50)) {
      if (child.exitCode !== null) {
        await ended;
        return child.exitCode;
      }
      if (await this.#isReady()) return undefined;
    }
    throw new Error(`the service did not start:\n${this.said}`);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** A `sluice` command with its configuration. */
  sluice(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    return new Promise((resolve) => {
      const env = { ...this.#env, SLUICE_CONFIG: join(this.dir, 'sluice.yaml'), NO_COLOR: '1' };
      execFile(join(ROOT, 'sluice'), args, { env }, (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }));
    });
  }

  async close(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  #isReady(): Promise<boolean> {
    return new Promise((resolve) => {
      request({ socketPath: join(this.state, 'run/admin.sock'), path: '/readyz' }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      })
        .once('error', () => resolve(false))
        .end();
    });
  }
}

/** How many leaves the checkpoint there stands for; 0 when there is none. */
export const sizeIn = async (objects: ObjectStore): Promise<number> => (await new LogReader(objects).checkpoint())?.size ?? 0;
