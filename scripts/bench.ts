/** `npm run -s bench -- NAME [--json]`: runs test/bench/NAME.ts. Standard output carries what the bench prints and nothing else. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './stages.ts';

const folder = join(root, 'test', 'bench');
const names = existsSync(folder) ? readdirSync(folder).flatMap((file) => /^([a-z-]+)\.ts$/.exec(file)?.[1] ?? []) : [];
const [name, ...args] = process.argv.slice(2);
if (name === undefined || !names.includes(name)) {
  process.stderr.write(
    `${name === undefined ? 'Which bench?' : `There is no bench '${name}'.`} There are: ${names.join(', ')}\n  npm run -s bench -- NAME --json\n`,
  );
  process.exit(2);
}
const { status } = spawnSync(process.execPath, [join(folder, `${name}.ts`), ...args], { cwd: root, stdio: 'inherit' });
process.exit(status ?? 1);
