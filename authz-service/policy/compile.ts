/** From a folder of Rego and the operator's data, or from a ready bundle, to what the engine runs. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { type Reads, readsOf } from './basis.ts';
import { PolicyBuildError } from './error.ts';
import { findOpa, runOpa } from './opa.ts';
import { filesOf } from './tar.ts';
import { readTargets } from './targets.ts';

export interface Bundle {
  readonly wasm: Uint8Array<ArrayBuffer>;
  readonly data: unknown;
  /** sha256 of module and data, hexadecimal. */
  readonly revision: string;
  /** What the policy reads of its input; absent where only its module is here, and its own word has to do. */
  readonly reads?: Reads;
}

export interface PolicySource {
  /** A folder of Rego, or a bundle (`.tar.gz`). */
  readonly path: string;
  /** The operator's data, YAML or JSON; `targets` in it becomes `data.sluice.targets`. */
  readonly data?: string | undefined;
  /** Path of the `opa` program; found by itself when not given. */
  readonly opa?: string;
}

const LIBRARY = fileURLToPath(new URL('../../policies', import.meta.url));
const SCHEMAS = join(LIBRARY, 'schemas');
const ENTRYPOINT = 'sluice/decision';
const DECISION = 'data.sluice.decision';
const MAIN_PACKAGE = /^package\s+sluice\s*(#.*)?$/m;
const NOT_POLICY = ['--ignore', 'schemas', '--ignore', '*_test.rego', '--ignore', '.*'];

/** @throws {PolicyBuildError} with everything that is wrong */
export async function buildBundle(source: PolicySource): Promise<Bundle> {
  const bundle = source.path.endsWith('.tar.gz') ? await readBundle(source.path) : await compile(source);
  return source.data && source.path.endsWith('.tar.gz') ? withTargets(bundle, await readTargets(source.data)) : bundle;
}

/**
 * The folders that make the policy. A folder that has a `package sluice` of its own stands alone; one with rules only is added to the library.
 * @throws {PolicyBuildError} when the folder cannot be read
 */
export async function policyFolders(path: string): Promise<string[]> {
  const names = await readdir(path, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new PolicyBuildError([`${path}: cannot be read (${error.code ?? error.message})`]);
  });
  const policies = names.filter((name) => name.endsWith('.rego') && !name.endsWith('_test.rego'));
  if (policies.length === 0) throw new PolicyBuildError([`${path}: holds no Rego`]);
  const texts = await Promise.all(policies.map((name) => readFile(join(path, name), 'utf8')));
  return texts.some((text) => MAIN_PACKAGE.test(text)) ? [path] : [join(LIBRARY, 'sluice'), path];
}

/**
 * What `opa test` reads: the folder and what it is added to, but not the library's own tests, whose outcome a rule of the folder may well change.
 * @throws {PolicyBuildError} when the folder cannot be read
 */
export async function policyTestFiles(path: string): Promise<string[]> {
  const [first, ...added] = await policyFolders(path);
  if (first === undefined || added.length === 0) return [path];
  const names = await readdir(first, { recursive: true });
  const policies = names.filter((name) => name.endsWith('.rego') && !name.endsWith('_test.rego'));
  return [...policies.map((name) => join(first, name)), join(first, 'testing'), ...added];
}

/** Where the JSON Schemas of input, decision and data are, for `opa check` and `opa test`. */
export const schemasOf = (path: string): string => (existsSync(join(path, 'schemas')) ? join(path, 'schemas') : SCHEMAS);

async function compile({ path, data, opa = findOpa() }: PolicySource): Promise<Bundle> {
  const [folders, targets] = await Promise.all([policyFolders(path), data ? readTargets(data) : { targets: {} }]);
  const work = await mkdtemp(join(tmpdir(), 'sluice-policy-'));
  try {
    const [dataFile, output] = [join(work, 'data.json'), join(work, 'bundle.tar.gz')];
    await writeFile(dataFile, JSON.stringify({ sluice: targets }));
    await runOpa(opa, ['check', '--strict', '--schema', schemasOf(path), ...NOT_POLICY, ...folders]);
    await runOpa(opa, ['build', '--target', 'wasm', '--entrypoint', ENTRYPOINT, ...NOT_POLICY, '--output', output, ...folders, dataFile]);
    const deps = await runOpa(opa, [
      'deps',
      ...NOT_POLICY,
      ...folders.flatMap((folder) => ['--data', folder]),
      '--format',
      'json',
      DECISION,
    ]);
    return { ...(await readBundle(output)), reads: readsOf(deps) };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function readBundle(file: string): Promise<Bundle> {
  const archive = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new PolicyBuildError([`${file}: cannot be read (${error.code ?? error.message})`]);
  });
  let files: ReturnType<typeof filesOf>;
  try {
    files = filesOf(new Uint8Array(gunzipSync(archive)));
  } catch (error) {
    throw new PolicyBuildError([`${file}: is no bundle (${(error as Error).message})`]);
  }
  const wasm = files.get('policy.wasm');
  if (!wasm) throw new PolicyBuildError([`${file}: holds no policy.wasm; build it with \`opa build -t wasm -e ${ENTRYPOINT}\``]);
  try {
    return bundleOf(wasm, JSON.parse(Buffer.from(files.get('data.json') ?? Buffer.from('{}')).toString('utf8')));
  } catch (error) {
    throw new PolicyBuildError([`${file}: its data.json is not JSON (${(error as Error).message})`]);
  }
}

function withTargets({ wasm, data }: Bundle, targets: { readonly targets: unknown }): Bundle {
  const base = data as { sluice?: object };
  return bundleOf(wasm, { ...base, sluice: { ...base.sluice, ...targets } });
}

function bundleOf(wasm: Uint8Array<ArrayBuffer>, data: unknown): Bundle {
  const revision = createHash('sha256').update(wasm).update('\0').update(JSON.stringify(data)).digest('hex');
  return { wasm, data, revision };
}

/** What decides about a folder having changed: names, sizes and times of its files. */
export async function stampOf({ path, data }: PolicySource): Promise<string> {
  const files = [...(path.endsWith('.tar.gz') ? [path] : await filesBelow(path)), ...(data ? [data] : [])];
  const stamps = await Promise.all(
    files.map((file) =>
      stat(file).then(
        ({ size, mtimeMs, ino }) => `${file} ${size} ${mtimeMs} ${ino}`,
        () => `${file} gone`,
      ),
    ),
  );
  return stamps.sort().join('\n');
}

const filesBelow = async (path: string): Promise<string[]> =>
  (await readdir(path, { recursive: true }).catch(() => [])).map((name) => join(path, name));
