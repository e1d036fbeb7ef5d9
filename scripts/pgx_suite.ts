/**
 * `npm run -s test:pgx -- [--json] [--log FILE]`: pgx's own tests, directly against a PostgreSQL and then through the gateway with a policy that allows everything.
 * Prints how many passed each way, and each test whose outcome differs; docs/postgres_clients.md explains those. Exits with 1 when one differs
 * that is not explained there. Needs Go; takes about twenty minutes, most of them for 100,000 NOTIFY in one test.
 */
import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { startPostgres } from '../demo/postgres_server.ts';
import { freePort } from '../test/e2e/envoy_gateway.fixture.ts';
import { Sluice } from '../test/e2e/sluice.fixture.ts';
import { root } from './stages.ts';

const PGX = 'github.com/jackc/pgx/v5@v5.7.6';
const ROLE = { user: 'gateway', password: 'gateway-of-the-suite' };
const GO = { ...process.env, GOFLAGS: '-mod=mod', PGSSLMODE: 'disable', PGGSSENCMODE: 'disable' };
/** What the suite's own testsetup makes, but for roles of other ways to log in. */
const SETUP = `CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE DOMAIN uint64 AS numeric(20,0);
  CREATE USER " tricky, ' } "" \\ test user " SUPERUSER PASSWORD 'secret'`;

/** `--log FILE`: what the tests say. */
const log = process.argv.includes('--log') ? process.argv[process.argv.indexOf('--log') + 1] : undefined;

type Outcomes = ReadonlyMap<string, string>;

const suite = join(process.env.SLUICE_CACHE || join(root, '.cache'), 'interop', 'pgx-suite');
const { Dir } = JSON.parse(execFileSync('go', ['mod', 'download', '-json', PGX], { cwd: root, env: GO, encoding: 'utf8' })) as {
  Dir: string;
};
rmSync(suite, { recursive: true, force: true });
mkdirSync(suite, { recursive: true });
cpSync(Dir, suite, { recursive: true });
// What a module's archive holds is read-only.
execFileSync('chmod', ['-R', 'u+w', suite]);

const [port, serverPort] = [await freePort(), await freePort()];
const server = await startPostgres({ port: serverPort, sql: `CREATE ROLE ${ROLE.user} SUPERUSER LOGIN PASSWORD '${ROLE.password}'` });
try {
  await freshDatabase();
  const direct = await outcomes(`host=127.0.0.1 port=${serverPort} user=${ROLE.user} password=${ROLE.password} dbname=pgx_test`);
  await freshDatabase();
  const sluice = await Sluice.start((document, dir) => {
    writeFileSync(join(dir, 'password'), ROLE.password);
    document.listeners.push({ name: 'pgx', address: `127.0.0.1:${port}`, private: true });
    document.targets.push({
      name: 'pgx',
      protocol: 'postgres',
      listener: 'pgx',
      url: `postgres://127.0.0.1:${serverPort}`,
      database: 'pgx_test',
      credentials: { default: { password: { username: ROLE.user, password: { file: join(dir, 'password') } } } },
    });
    document.policy = { path: join(root, 'test/interop/postgres/allow_all') };
    document.logging = { level: 'warn' };
  });
  try {
    const token = await sluice.token({ exp: Math.floor(Date.now() / 1000) + 24 * 3600 });
    tell(direct, await outcomes(`host=127.0.0.1 port=${port} user=agent password=${token} dbname=pgx_test`));
  } finally {
    await sluice.close();
  }
} finally {
  await server.stop();
}
process.exit();

async function freshDatabase(): Promise<void> {
  await server.query('DROP DATABASE IF EXISTS pgx_test WITH (FORCE)');
  await server.query('CREATE DATABASE pgx_test');
  await server.query('DROP ROLE IF EXISTS " tricky, \' } "" \\ test user "');
  await server.query(SETUP, 'pgx_test');
}

/** How each test ended: pass, fail or skip, by package and name. */
async function outcomes(database: string): Promise<Outcomes> {
  const ended = new Map<string, string>();
  const packages = execFileSync('go', ['list', './...'], { cwd: suite, env: GO, encoding: 'utf8' }).trim().split('\n');
  for (const name of packages) await run(name, [], database, ended);
  return ended;
}

/** A panic ends all tests of its package: those that it left unfinished run once more, without those that had ended. */
async function run(name: string, only: readonly string[], database: string, ended: Map<string, string>): Promise<void> {
  const chosen = only.length === 0 ? [] : [`-run=^(${only.join('|')})$`];
  const child = spawn('go', ['test', '-json', '-count=1', '-timeout=25m', ...chosen, name], {
    cwd: suite,
    env: { ...GO, PGX_TEST_DATABASE: database, PGX_TEST_TCP_CONN_STRING: database },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const seen = new Map<string, string>();
  let said = '';
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{')) continue;
    const { Action: action, Test: test, Output: output } = JSON.parse(line) as { Action: string; Test?: string; Output?: string };
    if (test !== undefined && ['pass', 'fail', 'skip', 'run'].includes(action)) seen.set(test, action);
    if (log !== undefined && output !== undefined) said += output;
  }
  if (log !== undefined) appendFileSync(log, said);
  for (const [test, action] of seen) ended.set(`${name.replace(/^.*\/v5\/?/, '')} ${test}`.trim(), action);
  const unfinished = [...seen].filter(([test, action]) => action === 'run' && !test.includes('/')).map(([test]) => test);
  if (unfinished.length > 0 && (only.length === 0 || unfinished.length < only.length)) await run(name, unfinished, database, ended);
}

function tell(direct: Outcomes, gateway: Outcomes): void {
  const count = (of: Outcomes, action: string): number => [...of.values()].filter((ended) => ended === action).length;
  const explained = readFileSync(join(root, 'docs/postgres_clients.md'), 'utf8');
  const differences = [...direct]
    .filter(([test, ended]) => gateway.get(test) !== ended)
    // What fails because a test within it does is not told twice.
    .filter(([test], _, all) => !all.some(([other]) => other.startsWith(`${test}/`)))
    .map(([test, ended]) => ({
      test,
      direct: ended,
      gateway: gateway.get(test) ?? 'not run',
      explained: explained.includes(`\`${test}\``),
    }));
  const summary = (of: Outcomes) => ({
    passed: count(of, 'pass'),
    failed: count(of, 'fail'),
    skipped: count(of, 'skip'),
    unfinished: count(of, 'run'),
  });
  const result = { name: 'pgx-suite', pgx: PGX, direct: summary(direct), gateway: summary(gateway), differences };
  process.stdout.write(`${JSON.stringify(result, null, process.argv.includes('--json') ? 0 : 2)}\n`);
  if (differences.some((difference) => !difference.explained)) process.exitCode = 1;
}
