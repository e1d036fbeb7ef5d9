/** Runs the `opa` program, which checks, tests and compiles policies. */
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PolicyBuildError } from './error.ts';

const VERSION = '1.22.2';
const LONGEST_MS = 60_000;
const MOST_OUTPUT = 16 * 1024 * 1024;

/** Looked for as set-up does: `OPA_BIN`, what set-up fetched, `PATH`, where Go puts programs. @throws {PolicyBuildError} when there is none */
export function findOpa(env: Readonly<Record<string, string | undefined>> = process.env): string {
  if (env.OPA_BIN) return env.OPA_BIN;
  const cache = env.SLUICE_CACHE || fileURLToPath(new URL('../../.cache', import.meta.url));
  const directories = [
    join(cache, 'tools', 'opa', VERSION),
    ...(env.PATH ?? '').split(delimiter),
    env.GOBIN,
    env.GOPATH && join(env.GOPATH, 'bin'),
    join(homedir(), 'go', 'bin'),
  ];
  const found = directories.flatMap((directory) => (directory ? [join(directory, 'opa')] : [])).find(isExecutable);
  if (found === undefined) throw new PolicyBuildError(['there is no OPA: run `npm run setup`, put `opa` on PATH, or name it with OPA_BIN']);
  return found;
}

/** @returns its standard output @throws {PolicyBuildError} with what it wrote when it fails */
export function runOpa(opa: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(opa, args, { timeout: LONGEST_MS, maxBuffer: MOST_OUTPUT }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const said = `${stderr}${stdout}`.trim();
      reject(new PolicyBuildError(said ? said.split('\n') : [`opa ${args[0]}: ${error.message}`]));
    });
  });
}

/** Its output goes where ours goes. @returns its exit code */
export function showOpa(opa: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    spawn(opa, args, { stdio: ['ignore', 'inherit', 'inherit'] })
      .once('error', (error) => reject(new PolicyBuildError([`${opa}: ${error.message}`])))
      .once('exit', (code) => resolve(code ?? 1));
  });
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
