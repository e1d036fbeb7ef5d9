import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { node } from './paths.mjs';

/**
 * Runs the rest on the Node that set-up brought, and ends as it ends. A signal sent to this process alone is passed on; Ctrl-C
 * reaches the whole process group by itself, and must not end this process before what it started has cleaned up.
 * @param {readonly string[]} args
 */
export async function handOver(args, { cwd = process.cwd(), env = process.env } = {}) {
  const child = spawn(node, args, { cwd, env, stdio: 'inherit' });
  process.on('SIGINT', () => child.kill('SIGINT'));
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  const [code, signal] = await new Promise((settle) => {
    child.once('error', (error) => settle([error.message, null]));
    child.once('exit', (...how) => settle(how));
  });
  if (typeof code === 'string') process.stderr.write(`${node}: ${code}\n`);
  process.exit(typeof code === 'number' ? code : signal ? 128 + constants.signals[signal] : 1);
}
