/** `npm run -s soak -- NAME [--json]`: runs test/soak/NAME.ts, which takes its time, and exits with 1 when it did not hold. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './stages.ts';

const SOAKS: Readonly<Record<string, string>> = {
  pgbench: 'ten minutes of pgbench in each mode, by a private listener and through sluice connect, all at the same time',
  'pg-statements': 'memory over 1,000,000 statements of PostgreSQL, simple ones that are each judged, and then prepared ones',
  evidence: 'memory of the evidence of a session with 1 GB of recorded payload, written and verified; --mb N for another size',
  killed: 'the service killed with SIGKILL again and again under load, and what its record has each time; --minutes N, 5 by default',
  'pg-rows': 'memory over 10 GB of masked rows of PostgreSQL',
};

const [name, ...args] = process.argv.slice(2);
if (name === undefined || !Object.hasOwn(SOAKS, name)) {
  const list = Object.entries(SOAKS).map(([soak, shows]) => `  ${soak.padEnd(15)}${shows}\n`);
  process.stderr.write(
    `${name === undefined ? 'Which soak?' : `There is no soak '${name}'.`}\n${list.join('')}npm run -s soak -- NAME --json\n`,
  );
  process.exit(2);
}
const { status } = spawnSync(process.execPath, [join(root, 'test', 'soak', `${name}.ts`), ...args], { cwd: root, stdio: 'inherit' });
process.exit(status ?? 1);
