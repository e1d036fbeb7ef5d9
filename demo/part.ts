/** A part of the demo that runs as a process of its own, and ends with this one. */
import { fork } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Part {
  /** How it ended, for people. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

const READY_MS = 20_000;

/**
 * Runs a script of this Node that listens on 127.0.0.1:`port`; its output goes to `log`.
 * @param announces it sends a message when it is ready, rather than by listening
 * @throws {Error} with the end of its output when it ends or does not listen in time
 */
export async function startPart(
  title: string,
  script: URL,
  args: readonly string[],
  { port, log, env, announces = false }: { port: number; log: string; env?: NodeJS.ProcessEnv; announces?: boolean },
): Promise<Part> {
  const output = createWriteStream(log, { flags: 'w', mode: 0o600 });
  const child = fork(script, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: { ...process.env, ...env } });
  child.stdout?.pipe(output, { end: false });
  child.stderr?.pipe(output, { end: false });
  let [over, announced] = [false, false];
  child.once('message', () => {
    announced = true;
  });
  const ended = new Promise<string>((settle) => {
    child.once('exit', (code, signal) => {
      over = true;
      output.end();
      settle(`${title} was ended ${signal === null ? `with code ${code}` : `by ${signal}`} (its output is in ${log})`);
    });
  });
  const stop = async (): Promise<void> => {
    if (!over) child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), 3_000);
    await ended;
    clearTimeout(force);
  };
  for (const deadline = Date.now() + READY_MS; !(announces ? announced : await accepts(port)); await sleep(50)) {
    if (!over && Date.now() < deadline) continue;
    await stop();
    throw new Error(`${title} did not start:\n${readFileSync(log, 'utf8').trimEnd().split('\n').slice(-20).join('\n')}`);
  }
  return { ended, stop };
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((settle) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      settle(true);
    });
    socket.once('error', () => settle(false));
  });
