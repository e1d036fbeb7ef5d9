/**
 * A driver's own tests, directly against a PostgreSQL and then through the gateway with a policy that lets everything pass: what `npm run test:pgx` and
 * `npm run test:pg8000` share. Prints how many passed each way, and each test whose outcome differs. One counts as explained when it stands in
 * docs/postgres_clients.md as `code`; with one that does not, the command exits with 1.
 */
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PostgresServer, startPostgres } from '../demo/postgres_server.ts';
import { Sluice } from '../test/e2e/sluice.fixture.ts';
import { freePort } from '../test/free_port.fixture.ts';
import { root } from './stages.ts';

/** How each test ended, by its name. */
export type Outcomes = ReadonlyMap<string, Outcome>;
/** `run`: it began, and its end was never told. */
export type Outcome = 'pass' | 'fail' | 'skip' | 'run';

/** One way to the database. */
export interface Way {
  readonly port: number;
  readonly user: string;
  /** Through the gateway, a token. */
  readonly password: string;
}

export interface DriverSuite {
  readonly name: string;
  /** The package that brings the tests, with its version. */
  readonly driver: string;
  readonly database: string;
  /** As whom the gateway logs in, and the tests directly. */
  readonly role: { readonly user: string; readonly password: string };
  /** What the tests tell the gateway that they are. */
  readonly agent: string;
  /** Makes the database as the tests want to find it, before each way. */
  prepare(server: PostgresServer): Promise<void>;
  run(way: Way): Promise<Outcomes>;
}

const file = process.argv.includes('--log') ? process.argv[process.argv.indexOf('--log') + 1] : undefined;

/** What the tests say, kept where `--log FILE` asks for it. */
export function keepSaid(output: string): void {
  if (file !== undefined) appendFileSync(file, output);
}

/** An empty folder for the tests' files, outside the repository's own. */
export function suiteFolder(name: string): string {
  const folder = join(process.env.SLUICE_CACHE || join(root, '.cache'), 'interop', name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

export async function compareWays(suite: DriverSuite): Promise<never> {
  const [port, serverPort] = [await freePort(), await freePort()];
  const server = await startPostgres({ port: serverPort });
  try {
    await suite.prepare(server);
    const direct = await suite.run({ port: serverPort, ...suite.role });
    await suite.prepare(server);
    const sluice = await startGateway(suite, port, serverPort);
    try {
      const password = await sluice.token({ exp: Math.floor(Date.now() / 1000) + 24 * 3600 });
      tell(suite, direct, await suite.run({ port, user: suite.agent, password }));
    } finally {
      await sluice.close();
    }
  } finally {
    await server.stop();
  }
  process.exit();
}

const startGateway = ({ name, database, role }: DriverSuite, port: number, serverPort: number): Promise<Sluice> =>
  Sluice.start((document, dir) => {
    writeFileSync(join(dir, 'password'), role.password);
    document.listeners.push({ name, address: `127.0.0.1:${port}`, private: true });
    document.targets.push({
      name,
      protocol: 'postgres',
      listener: name,
      url: `postgres://127.0.0.1:${serverPort}`,
      database,
      credentials: { default: { password: { username: role.user, password: { file: join(dir, 'password') } } } },
    });
    document.policy = { path: join(root, 'test/interop/postgres/allow_all') };
    document.logging = { level: 'warn' };
  });

export interface Difference {
  readonly test: string;
  readonly direct: Outcome;
  readonly gateway: Outcome | 'not run';
  readonly explained: boolean;
}

/** @param explanations the page that explains some tests. What fails because a test within it (`NAME/…`) does is not told twice. */
export const differencesOf = (direct: Outcomes, gateway: Outcomes, explanations: string): Difference[] =>
  [...direct]
    .filter(([test, ended]) => gateway.get(test) !== ended)
    .filter(([test], _, all) => !all.some(([other]) => other.startsWith(`${test}/`)))
    .map(([test, ended]) => ({
      test,
      direct: ended,
      gateway: gateway.get(test) ?? 'not run',
      explained: explanations.includes(`\`${test}\``),
    }));

function tell({ name, driver }: DriverSuite, direct: Outcomes, gateway: Outcomes): void {
  const summary = (of: Outcomes) => {
    const count = (outcome: Outcome): number => [...of.values()].filter((ended) => ended === outcome).length;
    return { passed: count('pass'), failed: count('fail'), skipped: count('skip'), unfinished: count('run') };
  };
  const differences = differencesOf(direct, gateway, readFileSync(join(root, 'docs/postgres_clients.md'), 'utf8'));
  const result = { name, driver, direct: summary(direct), gateway: summary(gateway), differences };
  process.stdout.write(`${JSON.stringify(result, null, process.argv.includes('--json') ? 0 : 2)}\n`);
  const nothing = direct.size === 0 || summary(direct).passed === 0;
  if (nothing || differences.some(({ explained }) => !explained)) process.exitCode = 1;
}
