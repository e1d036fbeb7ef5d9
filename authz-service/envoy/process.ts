/** One Envoy process: started, ready, stopped. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Config, formatHostPort } from '../config/config.ts';
import { adminSocket } from './bootstrap.ts';
import { envoyFiles, generateEnvoy, placesOf } from './generate.ts';
import { limitsOf } from './limits.ts';
import { writeEnvoy } from './write.ts';

export interface EnvoyProcess {
  readonly pid: number;
  /** Resolves when it has ended, however that came: how, for people to read. */
  readonly exited: Promise<string>;
  /**
   * Takes no further connections, and lets the exchanges that run come to their end.
   * Resolves when none is left, or after `withinMs`; at once where Envoy has no admin interface to be told by.
   */
  drain(withinMs: number): Promise<void>;
  /** Ends it, with whatever still runs; after 5 s by force. */
  stop(): Promise<void>;
}

export interface EnvoyOptions {
  readonly bin: string;
  /** A line of Envoy's own log. */
  readonly log?: (line: string) => void;
  readonly readyWithinMs?: number;
}

/** Arguments that belong to the generated configuration. */
export const envoyArguments = (config: Config, dir = placesOf(config).dir): string[] => [
  '--config-path',
  join(dir, 'bootstrap.yaml'),
  // One Envoy, replaced by its orchestrator: the shared memory of hot restarts would make two of them on one machine clash.
  '--disable-hot-restart',
  // A changed listener ends its old connections when they are idle, and lets holds on them run out.
  '--drain-strategy',
  'immediate',
  '--drain-time-s',
  String(Math.ceil(limitsOf(config).checkMs / 1000)),
  ...(config.envoy.concurrency === undefined ? [] : ['--concurrency', String(config.envoy.concurrency)]),
  '--log-level',
  config.logging.level === 'trace' || config.logging.level === 'debug' ? 'info' : 'warning',
];

/** Writes the configuration and starts Envoy. @throws {Error} when it ends, or is not ready in time, with the last lines that it logged. */
export async function startEnvoy(config: Config, { bin, log = () => {}, readyWithinMs = 30_000 }: EnvoyOptions): Promise<EnvoyProcess> {
  writeEnvoy(placesOf(config).dir, envoyFiles(generateEnvoy(config)));
  // Whoever left it, only the new one makes it again: that is how it is known to be ready.
  const socket = adminSocket(config);
  if (socket !== undefined) rmSync(socket, { force: true });
  // In a process group of its own: a Ctrl-C at the terminal must not end it before the service has answered the held requests.
  const child = spawn(bin, envoyArguments(config), { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  const release = child.pid === undefined ? () => {} : endWithThisProcess(child.pid);
  const last: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    log(line);
    last.push(line);
    if (last.length > 20) last.shift();
  });
  let ended: string | undefined;
  const over = new AbortController();
  const exited = new Promise<string>((settle) => {
    const end = (how: string): void => {
      release();
      over.abort();
      settle((ended ??= how));
    };
    child.once('error', (error) => end(`Envoy could not be started: ${error.message}`));
    child.once('exit', (code, signal) => end(signal === null ? `Envoy ended with code ${code}` : `Envoy was ended by ${signal}`));
  });
  const stop = async (): Promise<void> => {
    if (ended !== undefined) return;
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await exited;
    clearTimeout(force);
  };
  for (const deadline = Date.now() + readyWithinMs; ; await sleep(25)) {
    if (ended === undefined && (await isReady(config)))
      return {
        pid: child.pid ?? 0,
        exited,
        stop,
        drain: (withinMs) => drain(config, AbortSignal.any([AbortSignal.timeout(withinMs), over.signal])),
      };
    if (ended === undefined && Date.now() < deadline) continue;
    await stop();
    throw new Error([ended ?? 'Envoy was not ready in time', ...last].join('\n'));
  }
}

/**
 * Ends `pid` when this process has ended, however that came: a shell waits for the end of a pipe that only this process holds.
 * @returns lets go of `pid`, which has ended by itself
 */
function endWithThisProcess(pid: number): () => void {
  const script = 'read -r line; [ "$line" = ended ] || kill -TERM "$0"';
  const watcher = spawn('/bin/sh', ['-c', script, String(pid)], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watcher.unref();
  watcher.once('error', () => {});
  watcher.stdin.once('error', () => {});
  return () => watcher.stdin.end('ended\n');
}

/** All listeners accept, and the admin interface, where there is one, says so. */
async function isReady(config: Config): Promise<boolean> {
  const socket = adminSocket(config);
  if (socket !== undefined && !(await saysReady(socket))) return false;
  return (
    await Promise.all(
      config.listeners.map(({ address }) =>
        accepts(address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host, address.port),
      ),
    )
  ).every(Boolean);
}

const saysReady = async (socketPath: string): Promise<boolean> => (await askAdmin(socketPath, 'GET', '/ready')) !== undefined;

/** @returns what Envoy's admin interface says; undefined when it does not, or says no */
const askAdmin = (socketPath: string, method: 'GET' | 'POST', path: string): Promise<string | undefined> =>
  new Promise((settle) => {
    const asked = request({ socketPath, method, path, timeout: 1_000, agent: false }, (response) => {
      let text = '';
      response
        .setEncoding('utf8')
        .on('data', (chunk: string) => (text += chunk))
        .once('error', () => settle(undefined))
        .once('end', () => settle(response.statusCode === 200 ? text : undefined));
    });
    asked
      .once('timeout', () => asked.destroy())
      .once('error', () => settle(undefined))
      .end();
  });

async function drain(config: Config, over: AbortSignal): Promise<void> {
  const socket = adminSocket(config);
  if (socket === undefined) return;
  // The first tells those who are connected that the connection ends with what runs on it, the second stops listening.
  await askAdmin(socket, 'POST', '/drain_listeners?graceful&skip_exit');
  await askAdmin(socket, 'POST', '/drain_listeners');
  while (!over.aborted && (await exchanges(config, socket)) > 0) await sleep(50, undefined, { signal: over }).catch(() => {});
}

/** How many run, over all listeners; infinitely many while Envoy does not say. */
async function exchanges({ listeners }: Config, socket: string): Promise<number> {
  const stats = await askAdmin(socket, 'GET', '/stats?filter=downstream_rq_active$');
  if (stats === undefined) return Number.POSITIVE_INFINITY;
  const counts = new Map(
    [...stats.matchAll(/^http\.(.+)\.downstream_rq_active: (\d+)$/gm)].map(([, name = '', count]) => [name, Number(count)]),
  );
  return listeners.reduce((sum, { name }) => sum + (counts.get(name) ?? 0), 0);
}

const accepts = (host: string, port: number): Promise<boolean> =>
  new Promise((settle) => {
    const socket = connect({ host, port, timeout: 1_000 }, () => settle(true))
      .once('error', () => settle(false))
      .once('timeout', () => settle(false));
    socket.once('connect', () => socket.destroy());
  });

/** For messages: where agents come in. */
export const listenerUrls = (config: Config): string[] =>
  config.listeners.map(({ address, tls }) => `${tls ? 'https' : 'http'}://${formatHostPort(address)}`);
