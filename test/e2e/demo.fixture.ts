/** The demo as `npm start` runs it, on ports and a state directory of its own, so that it can stand beside another one. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../free_port.fixture.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LINKED = ['authz-service', 'policies', 'build', 'node_modules', 'proto', 'package.json'];
const PORTS = ['8080', '9400', '9402', '9403', '5433', '5434'] as const;
type Port = (typeof PORTS)[number];

/** A folder that looks like the repository, in which the demo's files name other ports. */
export async function repositoryWithPorts(): Promise<{
  readonly dir: string;
  readonly ports: Readonly<Record<Port, number>>;
}> {
  const dir = mkdtempSync(join(tmpdir(), 'demo-'));
  const ports = Object.fromEntries(await Promise.all(PORTS.map(async (port) => [port, await freePort()]))) as Record<Port, number>;
  for (const name of LINKED) symlinkSync(join(ROOT, name), join(dir, name));
  copyFileSync(join(ROOT, 'sluice'), join(dir, 'sluice'));
  mkdirSync(join(dir, 'demo'));
  for (const file of readdirSync(join(ROOT, 'demo'))) {
    const text = readFileSync(join(ROOT, 'demo', file), 'utf8');
    writeFileSync(
      join(dir, 'demo', file),
      file === 'data.json' || file === 'ledger.sql'
        ? text
        : text.replace(new RegExp(`\\b(${PORTS.join('|')})\\b`, 'g'), (port) => String(ports[port as Port])),
    );
  }
  return { dir, ports };
}

export class Demo {
  readonly dir: string;
  readonly ports: Awaited<ReturnType<typeof repositoryWithPorts>>['ports'];
  readonly #child: ChildProcess;
  #output = '';
  readonly ended: Promise<number | null>;

  readonly #path: string | undefined;

  private constructor({ dir, ports }: Awaited<ReturnType<typeof repositoryWithPorts>>, path: string | undefined) {
    this.dir = dir;
    this.#path = path;
    this.ports = ports;
    // A process group of its own, as a terminal gives it.
    this.#child = spawn(process.execPath, [join(dir, 'demo/main.ts')], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: this.env,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk: Buffer) => (this.#output += chunk));
    this.ended = new Promise((settle) => this.#child.once('exit', settle));
  }

  /**
   * Runs it until it has printed the tour, or ended.
   * @param path where programs are looked for; default: the environment's
   */
  static async start(place?: Awaited<ReturnType<typeof repositoryWithPorts>>, path?: string): Promise<Demo> {
    const demo = new Demo(place ?? (await repositoryWithPorts()), path);
    await Promise.race([demo.ended, demo.#says('Ctrl-C here ends everything')]);
    return demo;
  }

  async #says(text: string): Promise<void> {
    while (!this.#output.includes(text)) await sleep(20);
  }

  get env(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      SLUICE_CONFIG: join(this.dir, 'demo/sluice.yaml'),
      XDG_CONFIG_HOME: join(this.dir, 'home'),
      SLUICE_TOKEN: '',
      SLUICE_ADMIN: '',
      NO_COLOR: '1',
      ...(this.#path !== undefined && { PATH: this.#path }),
    };
  }

  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Ids of all its processes, itself first. */
  processes(): { readonly pid: number; readonly args: string }[] {
    const rows = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
      .split('\n')
      .flatMap((line) => {
        const [, pid, parent, args = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
        return pid === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), args }];
      });
    const own = (pid: number): typeof rows => rows.filter(({ parent }) => parent === pid).flatMap((child) => [child, ...own(child.pid)]);
    return [...rows.filter(({ pid }) => pid === this.pid), ...own(this.pid)];
  }

  /** A client's token of the demo's issuer. */
  async token(client: string): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.ports['9400']}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${client}:demo-${client}`)}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    });
    return ((await response.json()) as { access_token: string }).access_token;
  }

  /** `./sluice connect TARGET` on the port that the demo's own connector has, once it listens. */
  async connect(target: string, token: string): Promise<ChildProcess> {
    const port = this.ports['5434'];
    const child = spawn(join(this.dir, 'sluice'), ['connect', target, '--listen', `127.0.0.1:${port}`], {
      cwd: this.dir,
      env: { ...this.env, SLUICE_TOKEN: token },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    for (const deadline = Date.now() + 15_000; ; await sleep(50)) {
      const listens = await new Promise<boolean>((settle) => {
        const socket = connectTcp(port, '127.0.0.1', () => settle(true));
        socket.once('error', () => settle(false)).once('connect', () => socket.destroy());
      });
      if (listens) return child;
      if (child.exitCode !== null || Date.now() > deadline) throw new Error('sluice connect does not listen');
    }
  }

  /** Until a request is held; one that was refused instead is not waited for for ever. */
  async holds(withinMs = 20_000): Promise<void> {
    for (const deadline = Date.now() + withinMs; Date.now() < deadline; await sleep(50))
      if (/^sluice_holds_open [1-9]/m.test(await this.#metrics())) return;
  }

  #metrics(): Promise<string> {
    return new Promise((settle, fail) => {
      get({ socketPath: join(this.dir, 'data/demo/run/admin.sock'), path: '/metrics' }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk)).on('end', () => settle(text));
      }).once('error', fail);
    });
  }

  /** As Ctrl-C does: to every process of the terminal's foreground group. */
  interrupt(): void {
    process.kill(-this.pid, 'SIGINT');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) process.kill(this.pid, 'SIGTERM');
    await this.ended;
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A folder of links to every program that is found now, but one. */
export function pathWithout(program: string, dir: string): string {
  for (const from of (process.env.PATH ?? '').split(':').filter((one) => existsSync(one)))
    for (const name of readdirSync(from))
      if (name !== program && !existsSync(join(dir, name))) {
        try {
          symlinkSync(join(from, name), join(dir, name));
        } catch {
          // A link that leads nowhere: there already, or of no use.
        }
      }
  return dir;
}

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Those of `pids` that still run after a while. */
export async function survivors(pids: readonly number[], withinMs = 20_000): Promise<number[]> {
  for (const deadline = Date.now() + withinMs; pids.some(alive) && Date.now() < deadline; ) await sleep(25);
  return pids.filter(alive);
}
