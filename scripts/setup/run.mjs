import { spawn } from 'node:child_process';

/**
 * Runs a program to its end, without a shell. Never rejects: a program that cannot be started has code -1.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, timeoutMs?: number, onLine?: (line: string) => void }} options
 * @returns {Promise<{ code: number, output: string, last: string }>} standard output and error together; `last` is their last line that says something
 */
export function run(command, args, { cwd, env, timeoutMs, onLine } = {}) {
  return new Promise((settle) => {
    let output = '';
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    const lastLine = () =>
      output
        .trimEnd()
        .split('\n')
        .findLast((line) => line.trim() !== '')
        ?.trim() ?? '';
    const take = (chunk) => {
      output += chunk;
      onLine?.(lastLine());
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.once('error', (error) => settle({ code: -1, output: error.message, last: error.message }));
    child.once('close', (code, signal) =>
      settle({ code: code ?? -1, output, last: lastLine() || (signal ? `ended by ${signal}` : `ended with code ${code}`) }),
    );
  });
}
