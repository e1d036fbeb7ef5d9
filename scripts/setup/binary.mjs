/** Looking for a program, and keeping the one that was fetched. */
import { accessSync, chmodSync, constants, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { sha256Of } from './download.mjs';
import { cache } from './paths.mjs';
import { SetupError } from './progress.mjs';
import { run } from './run.mjs';

/**
 * @typedef {object} Program
 * @property {string} name of its file
 * @property {string} version that is fetched, and the oldest accepted
 * @property {string} variable of the environment that names another
 * @property {readonly string[]} versionArguments
 * @property {readonly string[]} elsewhere folders to look in after `PATH`
 */

const executable = (file) => {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
};

/** @returns {Promise<{ version: string, recent: boolean }>} an empty version when it cannot be run */
async function inspect(file, { version: oldest, versionArguments }) {
  const { code, output } = await run(file, versionArguments, { timeoutMs: 20_000 });
  const [version = '', major = 0, minor = 0] = (code === 0 && /\b(\d+)\.(\d+)\.\d+\b/.exec(output)) || [];
  const [needMajor, needMinor] = oldest.split('.').map(Number);
  return { version, recent: version !== '' && (Number(major) > needMajor || (Number(major) === needMajor && Number(minor) >= needMinor)) };
}

export const placeOf = ({ name, version }) => join(cache, 'tools', name, version, name);

/**
 * The program of this machine that will do: the one that its variable names, else the first on `PATH`, else the one fetched before.
 * @param {Program} program
 * @returns {Promise<string | undefined>} where it is and its version, for people
 */
export async function present(program, note) {
  const { name, variable, version, elsewhere } = program;
  const named = process.env[variable];
  if (named) {
    const found = await inspect(named, program);
    if (found.recent) return `${found.version}, ${named} (${variable})`;
    throw new SetupError(
      `${variable}=${named} ${found.version === '' ? 'cannot be run' : `is version ${found.version}`}; ${version} or later is needed`,
      {
        remedies: [`unset ${variable}, and set-up finds or fetches ${name} itself`, `point ${variable} at ${name} ${version}`],
      },
    );
  }
  for (const directory of [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...elsewhere]) {
    const file = join(directory, name);
    if (!executable(file)) continue;
    const found = await inspect(file, program);
    if (found.recent) return `${found.version}, ${file}`;
    note(`${file} is ${found.version === '' ? 'not to be run' : `version ${found.version}`}, ${version} or later is needed`);
  }
  return (await kept(program)) ? `${version}, fetched before and unchanged` : undefined;
}

/** The stamp beside a kept binary: its hash, and the size and time by which an untouched file is known without hashing it again. */
async function kept(program) {
  const file = placeOf(program);
  try {
    const { size, mtimeMs } = statSync(file);
    const stamp = JSON.parse(readFileSync(`${file}.json`, 'utf8'));
    return (stamp.size === size && stamp.mtimeMs === mtimeMs) || stamp.sha256 === (await sha256Of(file));
  } catch {
    return false;
  }
}

/**
 * Keeps `fetched` as the program. It must run here, be recent, and have `sha256` where that is known beforehand.
 * @param {Program} program
 */
export async function keep(program, fetched, sha256) {
  chmodSync(fetched, 0o755);
  const got = await sha256Of(fetched);
  if (sha256 !== undefined && got !== sha256) throw new Error(`its SHA-256 is ${got}, not ${sha256}: it was not used`);
  const { version, recent } = await inspect(fetched, program);
  if (!recent) throw new Error(version === '' ? 'it does not run on this machine (an older C library?)' : `it is version ${version}`);
  const file = placeOf(program);
  mkdirSync(join(file, '..'), { recursive: true });
  renameSync(fetched, file);
  const { size, mtimeMs } = statSync(file);
  writeFileSync(`${file}.json`, `${JSON.stringify({ sha256: got, size, mtimeMs })}\n`);
}

/**
 * Tries one way after another until one has kept the program; says in a line why one did not.
 * @param {readonly { title: string, fetch: (scratch: string) => Promise<void> }[]} ways
 */
export async function firstOf(program, ways, remedies, { say, note }) {
  const tried = [];
  const scratch = join(cache, 'scratch', `${program.name}-${process.pid}`);
  for (const { title, fetch } of ways) {
    say(title);
    rmSync(scratch, { recursive: true, force: true });
    mkdirSync(scratch, { recursive: true });
    try {
      await fetch(scratch);
      return `${program.version}, ${title}`;
    } catch (error) {
      tried.push(`${title}: ${error.message}`);
      note(`${title}: ${error.message}`);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  throw new SetupError(`${program.name} ${program.version} is not here and could not be fetched`, { tried, remedies });
}
