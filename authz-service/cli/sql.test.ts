import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PostgresServer, startPostgres } from '../../demo/postgres_server.ts';
import { freePort } from '../../test/free_port.fixture.ts';

// The part of the gateway is played by a server whose password is the token: what the command says is the client's side alone.
const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'sql-'));
let server: PostgresServer;
let port: number;
let gateway: ReturnType<typeof createServer>;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  port = await freePort();
  server = await startPostgres({ port, auth: 'password', sql: "CREATE ROLE sluice LOGIN PASSWORD 'token-1'" });
  await server.query('CREATE TABLE t (n int PRIMARY KEY, note text); GRANT ALL ON t TO sluice');
  // A gateway whose CONNECT leads to the same server, as one who is let in without a password: only the greeting is looked at here.
  gateway = createServer().on('connect', (request, socket, head) => {
    if (request.headers.authorization !== 'Bearer token-1') {
      const body = JSON.stringify({ title: 'The token is not accepted' });
      socket.end(`HTTP/1.1 401 No\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      return;
    }
    const onward = connect(port, '127.0.0.1');
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    onward.write(head);
    socket.pipe(onward).pipe(socket);
    for (const end of [socket, onward]) end.on('error', () => {});
  });
  await new Promise<void>((settle) => gateway.listen(0, '127.0.0.1', settle));
  writeFileSync(
    join(dir, 'sluice.yaml'),
    `version: 1
state_dir: .
listeners:
  - { name: http, address: 127.0.0.1:${(gateway.address() as AddressInfo).port} }
  - { name: ledger, address: 127.0.0.1:${port}, private: true }
issuers: [{ name: corp, issuer: https://login.example.com, audiences: [sluice] }]
targets:
  - { name: ledger, protocol: postgres, listener: ledger, url: postgres://127.0.0.1:1, database: postgres, credentials: { a: { password: { username: a, password: { env: NOT_SET } } } } }
  - { name: away, protocol: postgres, tunnel: http, url: postgres://127.0.0.1:1, database: postgres, credentials: { a: { password: { username: a, password: { env: NOT_SET } } } } }
policy: { path: policies }
`,
  );
  env = {
    ...process.env,
    XDG_CONFIG_HOME: dir,
    SLUICE_CONFIG: join(dir, 'sluice.yaml'),
    SLUICE_TOKEN: 'token-1',
    PGPASSWORD: 'wrong',
    PGUSER: 'nobody',
  };
}, 30_000);
afterAll(async () => {
  gateway?.closeAllConnections();
  gateway?.close();
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const sluice = (args: readonly string[], input = '', more: NodeJS.ProcessEnv = {}): Promise<Ended> =>
  new Promise((settle) => {
    const child = execFile(SLUICE, args, { env: { ...env, ...more } }, (error, out, err) =>
      settle({ code: error ? Number(error.code) : 0, out, err }),
    );
    child.stdin?.end(input);
  });
const onLedger = (statement: string): Promise<Ended> => sluice(['sql', '--target', 'ledger', statement]);

describe('sluice sql', () => {
  it('prints rows as a table, values as the server writes them', async () => {
    expect(await onLedger("SELECT 1 AS one, NULL AS nothing, '2026-01-02'::date AS day, 12345678901234567890::numeric AS large")).toEqual({
      code: 0,
      err: '',
      out: 'one  nothing  day         large\n1    NULL     2026-01-02  12345678901234567890\n(1 row)\n',
    });
  });

  it('prints what each statement of a string did', async () => {
    const { out, code } = await onLedger("INSERT INTO t VALUES (1, 'x'), (2, 'y'); SELECT n FROM t ORDER BY n");
    expect([code, out]).toEqual([0, 'INSERT 2\nn\n1\n2\n(2 rows)\n']);
  });

  it('tells an error with detail and hint, notices at once, and fails', async () => {
    const { code, err, out } = await onLedger(
      "DO $$ BEGIN RAISE NOTICE 'soon' USING HINT = 'wait'; RAISE 'no' USING DETAIL = 'because', HINT = 'ask', ERRCODE = '42501'; END $$",
    );
    expect([code, out, err]).toEqual([1, '', 'NOTICE: soon\nHINT: wait\nERROR 42501: no\nDETAIL: because\nHINT: ask\n']);
  });

  it("lets nothing of what others wrote move the terminal's cursor", async () => {
    expect((await onLedger("SELECT E'a\\x1b[2Jb\\nc' AS v")).out).toBe('v\na\ufffd[2Jb\ufffdc\n(1 row)\n');
    expect((await onLedger("DO $$ BEGIN RAISE E'\\x1b[2J'; END $$")).err).not.toContain('\u001b');
  });

  it('runs what standard input holds, statement after statement, over several lines; one error is an error', async () => {
    const { code, out, err } = await sluice(
      ['sql', '-t', 'ledger'],
      "SELECT\n 'a;b' AS v;\nSELECT nothing;\n\nSELECT 2 AS two;\n\\q\nSELECT 3;\n",
    );
    expect([code, out]).toEqual([1, 'v\na;b\n(1 row)\ntwo\n2\n(1 row)\n']);
    expect(err).toMatch(/^ERROR 42703: column "nothing" does not exist/);
    expect((await sluice(['sql', '-t', 'ledger'], 'SELECT 4 AS four')).out).toContain('four\n4');
  });

  it('says that the token is not accepted, with the exit code of a log-in', async () => {
    expect(await sluice(['sql', '-t', 'ledger', 'SELECT 1'], '', { SLUICE_TOKEN: 'token-2' })).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^FATAL 28P01: /),
    });
    expect(await sluice(['sql', '-t', 'ledger', 'SELECT 1'], '', { SLUICE_TOKEN: '' })).toMatchObject({
      code: 3,
      err: expect.stringContaining('./sluice login'),
    });
  });

  it('asks which database where there are several', async () => {
    expect(await sluice(['sql', 'SELECT 1'])).toMatchObject({ code: 2, err: 'Say which database with --target: ledger, away\n' });
    expect(await sluice(['sql', '-t', 'nowhere', 'SELECT 1'])).toMatchObject({ code: 2, err: expect.stringContaining('no database') });
  });

  it('goes through a tunnel where that is the only way in', async () => {
    // The server asks for a password, which a gateway would not: here it is enough that the server was reached.
    expect((await sluice(['sql', '-t', 'away', 'SELECT 1'])).err).toMatch(/^FATAL 28P01: /);
    expect((await sluice(['sql', '-t', 'away', 'SELECT 1'], '', { SLUICE_TOKEN: 'token-2' })).err).toMatch(
      /^FATAL 28000: The token is not accepted\nHINT: /,
    );
  });

  it('cancels the statement on Ctrl-C, and says what came of it', async () => {
    const child: ChildProcess = spawn(SLUICE, ['sql', '-t', 'ledger', 'SELECT pg_sleep(60)'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    await expect
      .poll(
        async () => (await server.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")).rows[0].n,
        {
          timeout: 5_000,
        },
      )
      .toBe(1);
    child.kill('SIGINT');
    const [[code], err] = await Promise.all([once(child, 'exit'), child.stderr && text(child.stderr)]);
    expect([code, err]).toEqual([1, 'ERROR 57014: canceling statement due to user request\n']);
  });
});

describe('sluice connect', () => {
  const started = async (args: readonly string[], more: NodeJS.ProcessEnv = {}) => {
    const child = spawn(SLUICE, ['connect', ...args], { env: { ...env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
    await Promise.race([once(child, 'exit'), expect.poll(() => said, { timeout: 30_000 }).toMatch(/\n/)]);
    return { child, said: () => said };
  };

  it('opens a local port to the target of a configuration, and ends on a signal', async () => {
    const { child, said } = await started(['away', '--listen', '127.0.0.1:0']);
    const [, local] = /^away is at 127\.0\.0\.1:(\d+), through 127\.0\.0\.1:\d+\. Ctrl-C ends it\.\n$/.exec(said()) ?? [];
    const client = connect(Number(local), '127.0.0.1');
    client.write(Buffer.from('0000000804d2162f', 'hex'));
    expect((await once(client, 'data'))[0].toString()).toBe('N');
    client.destroy();
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it.each([
    [['no/name'], 2, 'no name of a target'],
    [['nowhere'], 2, "There is no database 'nowhere'"],
    [['ledger'], 1, 'has no `tunnel`'],
    [['away', '--listen', '0.0.0.0:5432'], 2, 'loopback'],
    [['away', '--listen', '192.168.0.1:5432'], 2, 'loopback'],
    [['away', '--gateway', 'http://gateway.example.com'], 2, 'is no address of a gateway'],
    [['away', '--gateway', 'https://gateway.example.com/path'], 2, 'is no address of a gateway'],
    [['away', '--token-env', 'A', '--token-file', 'b'], 2, 'exclude each other'],
    [['away', '--token-env', 'NOT_SET_HERE'], 1, 'NOT_SET_HERE holds no token'],
    [['away', '--token-command', 'exit 9'], 1, 'it ended with code 9'],
    [['away', '--managed-identity'], 2, '--resource'],
    [['away', '--client-id', 'agent'], 2, '--issuer'],
    [['away', '--issuer', 'https://login.example.com'], 2, '--client-id'],
    [['away', '--ca', '/nowhere.pem'], 1, '/nowhere.pem cannot be read'],
    [['away', '--certificate', SLUICE], 2, 'belong together'],
  ])('refuses %j', async (args, code, message) => {
    expect(await sluice(['connect', ...args])).toMatchObject({ code, err: expect.stringContaining(message) });
  });

  it('says which port is taken', async () => {
    expect(await sluice(['connect', 'away', '--listen', `127.0.0.1:${port}`])).toMatchObject({
      code: 1,
      err: `127.0.0.1:${port} cannot be listened on: EADDRINUSE\n`,
    });
  });
});
