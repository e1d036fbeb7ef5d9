/** Tokens of a program, a file or an environment variable: read anew whenever one is needed. */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { selfDescribed, type Token, TokenError } from './token_source.ts';

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 64 * 1024;

/**
 * Runs a command line in the shell. Its standard output is the token; its standard error goes to ours.
 * @throws {TokenError}
 */
export async function tokenOfCommand(command: string, timeoutMs = TIMEOUT_MS): Promise<Token> {
  // A group of its own: what the shell started ends with it.
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const end = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {}
  };
  const timer = setTimeout(end, timeoutMs);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
    if (output.length > MAX_BYTES) end();
  });
  const how = await new Promise<string>((settle) => {
    child.once('error', ({ message }) => settle(message));
    child.once('close', (code, signal) => settle(code === 0 ? '' : `it ended ${signal === null ? `with code ${code}` : `by ${signal}`}`));
  });
  clearTimeout(timer);
  if (how !== '') throw new TokenError(`the command for the token failed: ${how}`);
  return selfDescribed(output.trim());
}

/** @throws {TokenError} */
export async function tokenOfFile(file: string): Promise<Token> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new TokenError(`the file of the token ${file} cannot be read: ${error.code}`);
  });
  return selfDescribed(text.trim());
}

/** @throws {TokenError} */
export async function tokenOfVariable(name: string, env: Readonly<Record<string, string | undefined>> = process.env): Promise<Token> {
  const value = env[name]?.trim();
  if (!value) throw new TokenError(`the environment variable ${name} holds no token`);
  return selfDescribed(value);
}
