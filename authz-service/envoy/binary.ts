/** Which Envoy to run. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The oldest version that the filter and the generated configuration were tried with. */
const OLDEST = [1, 40] as const;

export type FoundEnvoy =
  | { readonly ok: true; readonly bin: string; readonly version: string }
  | { readonly ok: false; readonly problem: string };

export interface EnvoySearch {
  /** `envoy.bin` of the configuration; nothing else is looked at when it is given. */
  readonly configured?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where set-up keeps what it fetched. */
  readonly cache?: string;
}

/** The one configured, else `ENVOY_BIN`, else the first on `PATH` that is not too old, else the one that set-up fetched. */
export function findEnvoy({
  configured,
  env = process.env,
  cache = env.SLUICE_CACHE || fileURLToPath(new URL('../../.cache', import.meta.url)),
}: EnvoySearch = {}): FoundEnvoy {
  const named = configured ?? env.ENVOY_BIN;
  if (named) return inspect(named);
  const onPath = (env.PATH ?? '')
    .split(delimiter)
    .filter(Boolean)
    .map((directory) => join(directory, 'envoy'));
  const looked = [...onPath, ...fetched(join(cache, 'tools', 'envoy'))].filter(isExecutable).map(inspect);
  return (
    looked.find(({ ok }) => ok) ??
    looked[0] ?? { ok: false, problem: 'there is no Envoy: run `npm run setup`, put `envoy` on PATH, or name it with ENVOY_BIN' }
  );
}

const fetched = (directory: string): string[] => {
  try {
    return readdirSync(directory)
      .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }))
      .map((version) => join(directory, version, 'envoy'));
  } catch {
    return [];
  }
};

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function inspect(bin: string): FoundEnvoy {
  let said: string;
  try {
    said = execFileSync(bin, ['--version'], { encoding: 'utf8', timeout: 20_000, stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (error) {
    return { ok: false, problem: `${bin} cannot be run: ${(error as NodeJS.ErrnoException).code ?? 'it failed'}` };
  }
  const [version = '', major = '0', minor = '0'] = /\b(\d+)\.(\d+)\.\d+\b/.exec(said) ?? [];
  const recent = Number(major) > OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) >= OLDEST[1]);
  return recent
    ? { ok: true, bin, version }
    : { ok: false, problem: `${bin} is ${version === '' ? 'no Envoy' : `Envoy ${version}`}; it must be ${OLDEST.join('.')} or later` };
}
