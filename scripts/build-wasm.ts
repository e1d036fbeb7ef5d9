/** Compiles the AssemblyScript modules into build/. A module whose sources, flags and compiler have not changed since its last build is skipped. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'wasm-filters');
const build = join(root, 'build');

/**
 * Asserts stay out: every bound that matters is checked in the code, and answered with a status instead of a trap. The runtime is `minimal`: it collects
 * garbage where a module says so, and so needs no shadow stack, which `incremental` pays for at every call (measured: it halves the speed of masking).
 */
const flags = ['-O3', '--noAssert', '--runtime', 'minimal', '--enable', 'simd'];

const modules: readonly { readonly name: string; readonly entry: string; readonly flags: readonly string[] }[] = [
  // An empty abort: the core never throws, so a failed assertion of the runtime is a bare trap and needs no import.
  { name: 'mask', entry: 'wasm-filters/mask/module.ts', flags: ['--use', 'abort='] },
  { name: 'merkle', entry: 'wasm-filters/merkle/module.ts', flags: ['--use', 'abort='] },
  { name: 'sluice-http', entry: 'wasm-filters/filters/http.ts', flags: ['--use', 'abort='] },
  { name: 'sluice-postgres', entry: 'wasm-filters/filters/postgres.ts', flags: ['--use', 'abort='] },
  // For tests of the framework of network filters alone.
  { name: 'test-echo', entry: 'test/echo/filter.ts', flags: ['--use', 'abort='] },
];

function digestOf(entry: string, moduleFlags: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([asc.version, flags, moduleFlags]));
  hash.update(readFileSync(join(root, entry)));
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts') && !f.endsWith('.test.ts'));
  for (const file of files.sort()) hash.update(`\0${file}\0`).update(readFileSync(join(source, file)));
  return hash.digest('hex');
}

async function compile(module: (typeof modules)[number]): Promise<'built' | 'unchanged' | 'failed'> {
  const wasm = join(build, `${module.name}.wasm`);
  const stamp = `${wasm}.sha256`;
  const digest = digestOf(module.entry, module.flags);
  if (existsSync(wasm) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return 'unchanged';
  // Compiled beside and renamed: whoever loads the module at this moment sees the old one or the new one, never half of it.
  const fresh = `build/.${module.name}.${process.pid}.wasm`;
  const { error, stderr } = await asc.main([module.entry, '--outFile', fresh, '--baseDir', root, ...flags, ...module.flags]);
  if (error) {
    process.stderr.write(`${module.entry} does not compile\n${stderr.toString() || error.message}\n`);
    rmSync(join(root, fresh), { force: true });
    return 'failed';
  }
  rmSync(stamp, { force: true });
  renameSync(join(root, fresh), wasm);
  writeFileSync(stamp, digest);
  return 'built';
}

mkdirSync(build, { recursive: true });
const only = process.argv.slice(2);
for (const module of modules) {
  if (!existsSync(join(root, module.entry)) || (only.length > 0 && !only.includes(module.name))) continue;
  const started = performance.now();
  const outcome = await compile(module);
  if (outcome === 'failed') process.exitCode = 1;
  else
    process.stdout.write(
      `build/${module.name}.wasm ${outcome}${outcome === 'built' ? ` in ${Math.round(performance.now() - started)} ms` : ''}\n`,
    );
}
