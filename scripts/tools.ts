/** The programs that set-up found or fetched, for the service's start, the tests and the benches. */
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findEnvoy } from '../authz-service/envoy/binary.ts';

const OPA_VERSION = '1.22.2';

/** @throws {Error} when there is none, with what to do about it */
export function envoyBin(): string {
  const found = findEnvoy();
  if (found.ok) return found.bin;
  throw new Error(found.problem);
}

/** As set-up looks for it: `OPA_BIN`, `PATH`, where Go puts programs, what was fetched. @throws {Error} when there is none */
export function opaBin(env: Readonly<Record<string, string | undefined>> = process.env): string {
  if (env.OPA_BIN) return env.OPA_BIN;
  const cache = env.SLUICE_CACHE || fileURLToPath(new URL('../.cache', import.meta.url));
  const fetched = join(cache, 'tools', 'opa', OPA_VERSION);
  const goBins = [env.GOBIN, env.GOPATH && join(env.GOPATH, 'bin'), join(homedir(), 'go', 'bin')];
  // What was fetched comes first: set-up fetches only where nothing else will do.
  const found = [fetched, ...(env.PATH ?? '').split(delimiter), ...goBins].flatMap((directory) => (directory ? [join(directory, 'opa')] : [])).find(isExecutable);
  if (found !== undefined) return found;
  throw new Error('there is no OPA: run `npm run setup`, put `opa` on PATH, or name it with OPA_BIN');
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
