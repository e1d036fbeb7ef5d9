/**
 * `npm run -s test:pgx -- [--json] [--log FILE] [--package=NAME]`: pgx's own tests, or those of one of its packages, as `driver_suite.ts` says. Needs Go; takes
 * about twenty minutes, most of them for 100,000 NOTIFY in one test.
 */
import { execFileSync, spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { compareWays, keepSaid, type Outcome, type Outcomes, suiteFolder, type Way } from './driver_suite.ts';
import { goTest } from './go_test.ts';
import { root } from './stages.ts';

const PGX = 'github.com/jackc/pgx/v5@v5.7.6';
const DATABASE = 'pgx_test';
const GO = { ...process.env, GOFLAGS: '-mod=mod' };
/** What the suite's own testsetup makes, but for roles of other ways to log in. */
const SETUP = `CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE DOMAIN uint64 AS numeric(20,0);
  CREATE USER " tricky, ' } "" \\ test user " SUPERUSER PASSWORD 'secret'`;
const ROLE = { user: 'gateway', password: 'gateway-of-the-suite' };

/** `./...`: all of them. */
const only = `./${process.argv.find((arg) => arg.startsWith('--package='))?.slice('--package='.length) ?? '...'}`;

const suite = suiteFolder('pgx-suite');
const { Dir } = JSON.parse(execFileSync('go', ['mod', 'download', '-json', PGX], { cwd: root, env: GO, encoding: 'utf8' })) as {
  Dir: string;
};
cpSync(Dir, suite, { recursive: true });
// What a module's archive holds is read-only.
execFileSync('chmod', ['-R', 'u+w', suite]);

await compareWays({
  name: 'pgx',
  driver: PGX,
  database: DATABASE,
  role: ROLE,
  agent: 'agent',
  prepare: async (server) => {
    await server.query(`DROP DATABASE IF EXISTS ${DATABASE} WITH (FORCE)`);
    await server.query(`CREATE DATABASE ${DATABASE}`);
    await server.query('DROP ROLE IF EXISTS " tricky, \' } "" \\ test user "');
    await server.query(`DROP ROLE IF EXISTS ${ROLE.user}`);
    await server.query(`CREATE ROLE ${ROLE.user} SUPERUSER LOGIN PASSWORD '${ROLE.password}'`);
    await server.query(SETUP, DATABASE);
  },
  run: outcomes,
});

async function outcomes({ port, user, password }: Way): Promise<Outcomes> {
  const database = `host=127.0.0.1 port=${port} user=${user} password=${password} dbname=${DATABASE} sslmode=disable`;
  const packages = execFileSync('go', ['list', only], { cwd: suite, env: GO, encoding: 'utf8' }).trim().split('\n');
  const all = new Map<string, Outcome>();
  for (const name of packages) {
    const ended = await goTest((only) => runPackage(name, only, database), keepSaid);
    for (const [test, outcome] of ended) all.set(`${name.replace(/^.*\/v5\/?/, '')} ${test}`.trim(), outcome);
  }
  return all;
}

function runPackage(name: string, only: readonly string[], database: string): AsyncIterable<string> {
  const chosen = only.length === 0 ? [] : [`-run=^(${only.join('|')})$`];
  const child = spawn('go', ['test', '-json', '-count=1', '-timeout=25m', ...chosen, name], {
    cwd: suite,
    env: { ...GO, PGX_TEST_DATABASE: database, PGX_TEST_TCP_CONN_STRING: database },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return createInterface({ input: child.stdout });
}
