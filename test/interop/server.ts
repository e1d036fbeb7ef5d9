/** Real servers for the interoperability tests, and how what they show is told. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

let failed = 0;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
/** One behaviour: says whether it holds. */
export const show = async (what: string, act: () => Promise<void>): Promise<void> => {
  try {
    await act();
    say(`ok - ${what}`);
  } catch (error) {
    failed += 1;
    say(`not ok - ${what}: ${(error as Error).message.replaceAll('\n', ' ')}`);
  }
};

/** Starts a server that answers HTTP on `port` when it is ready. */
export const start = async (command: string, args: readonly string[], env: NodeJS.ProcessEnv, port: number): Promise<ChildProcess> => {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2000)));
  for (const deadline = Date.now() + 60_000; ; await sleep(100)) {
    const up = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (up) return child;
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${command} does not answer: ${said}`);
  }
};

export const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null) return;
  child.kill();
  await once(child, 'exit');
};

/** The exit code. */
export const outcome = (): number => (failed > 0 ? 1 : 0);
