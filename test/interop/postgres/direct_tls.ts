/**
 * TLS from the first byte with libpq (psql and psycopg), pgx and pgjdbc against a listener with a certificate, before a real PostgreSQL.
 *
 * Environment: PSQL (of PostgreSQL 17 or later), PYTHON (with psycopg 3 and its own libpq 17), PGJDBC (its jar). That psql comes without TLS, so it is run on
 * psycopg's libpq. Prints a line for each check; exits with 1 when one fails.
 */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { authority } from '../../e2e/certificates.fixture.ts';
import { Ledger } from '../../e2e/postgres.fixture.ts';

const run = promisify(execFile);
const { PSQL = 'psql', PYTHON = 'python3', PGJDBC = 'postgresql.jar' } = process.env;
const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROW = 'SELECT id, ssn FROM customers WHERE id = 1';

let failed = false;
const check = (what: string, passed: boolean, seen: string): void => {
  failed ||= !passed;
  process.stdout.write(`${passed ? 'ok' : 'not ok'} - direct TLS: ${what}${passed ? '' : ` (${seen.replaceAll('\n', ' ')})`}\n`);
};

let [trusted, other] = ['', ''];
const ledger = await Ledger.start((document, dir) => {
  const ca = authority(dir, 'listener-ca');
  const { certificate, key } = ca.issue('listener', ['localhost']);
  [trusted, other] = [ca.certificate, authority(dir, 'other-ca').certificate];
  const listener = document.listeners.find(({ name }: { name: string }) => name === 'ledger');
  delete listener.private;
  listener.tls = { certificate, key };
});
try {
  const token = await ledger.sluice.token();
  const said = async (command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = HERE): Promise<string> => {
    const { stdout, stderr } = await run(command, args, {
      timeout: 120_000,
      cwd,
      env: { ...process.env, PGPASSWORD: token, ...env },
    }).catch((error: { stdout?: string; stderr?: string }) => ({ stdout: error.stdout ?? '', stderr: error.stderr ?? String(error) }));
    return `${stdout}${stderr}`.trim();
  };
  const to = (rest: string): string => `host=localhost port=${ledger.port} dbname=ledger user=agent sslmode=verify-full ${rest}`;
  const installed = dirname(dirname(await said(PYTHON, ['-c', 'import psycopg; print(psycopg.__file__)'])));
  const libraries = join(installed, 'psycopg_binary.libs');
  const libpq = join(libraries, readdirSync(libraries).find((name) => name.startsWith('libpq-')) ?? '');
  const psql = (rest: string): Promise<string> => said(PSQL, ['-XAt', '-c', ROW, to(rest)], { LD_PRELOAD: libpq });

  const row = await psql(`sslnegotiation=direct sslrootcert=${trusted}`);
  check('psql reads a row masked', row === '1|***********', row);
  const untrusted = await psql(`sslnegotiation=direct sslrootcert=${other}`);
  check('psql gives no token to a listener of another CA', untrusted.includes('certificate verify failed'), untrusted);
  const within = await psql(`sslrootcert=${trusted}`);
  check('psql that wants TLS within the protocol is not served', /invalid response to SSL negotiation|closed/.test(within), within);
  const python = `import psycopg
connection = psycopg.connect(${JSON.stringify(to(`sslnegotiation=direct sslrootcert=${trusted}`))})
print(connection.pgconn.ssl_in_use, connection.execute(${JSON.stringify(ROW)}).fetchall())`;
  const rows = await said(PYTHON, ['-c', python]);
  check('psycopg reads a row masked', rows === "True [(1, '***********')]", rows);

  const pgx = (ca: string): Promise<string> =>
    said('go', ['run', './direct_tls', to(`sslnegotiation=direct sslrootcert=${ca}`), ROW], {}, join(HERE, 'pgx'));
  const read = await pgx(trusted);
  check('pgx reads a row masked', read === '1 ***********', read);
  const kept = await pgx(other);
  check('pgx gives no token to a listener of another CA', kept.includes('certificate signed by unknown authority'), kept);
  const url = (ca: string): string =>
    `jdbc:postgresql://localhost:${ledger.port}/ledger?sslmode=verify-full&sslNegotiation=direct&sslrootcert=${ca}&loginTimeout=20`;
  const jdbc = (ca: string): Promise<string> => said('java', ['-cp', PGJDBC, 'DirectTls.java', url(ca), ROW]);
  const got = await jdbc(trusted);
  check('pgjdbc reads a row masked', got === '1 ***********', got);
  const withheld = await jdbc(other);
  check('pgjdbc gives no token to a listener of another CA', /PKIX path|unable to find valid certification path/.test(withheld), withheld);
} finally {
  await ledger.close();
}
process.exit(failed ? 1 : 0);
