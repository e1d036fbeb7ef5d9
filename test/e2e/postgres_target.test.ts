/** Targets that do not serve: away, of another CA, of another name, without TLS, or tired of waiting for an approval. What clients hear is told by psql and node-postgres. */
import { execFile, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { PostgresServer } from '../../demo/postgres_server.ts';
import { freePort } from '../free_port.fixture.ts';
import { authority } from './certificates.fixture.ts';
import { listening } from './envoy_gateway.fixture.ts';
import { Ledger, startLedger } from './postgres.fixture.ts';

const run = promisify(execFile);

let ledger: Ledger;
const closing: (() => unknown)[] = [];
/** Closed when the tests that share a gateway have ended. */
const closingLast: (() => unknown)[] = [];
const close = async (of: (() => unknown)[]): Promise<void> => {
  for (const each of of.splice(0).reverse()) await each();
};
afterEach(() => close(closing));
afterAll(() => close(closingLast));
const start = async (...of: Parameters<typeof Ledger.start>): Promise<void> => {
  await close(closingLast);
  ledger = await Ledger.start(...of);
  closingLast.push(() => ledger.close());
};

interface Seen {
  readonly stdout: string;
  readonly stderr: string;
}
/** @param way of libpq: `sslmode=prefer` asks for TLS first, as psql does by itself */
const psql = async (sql: string, way = 'sslmode=prefer', port = ledger.port): Promise<Seen> =>
  run('psql', ['-XAt', '-c', sql, `host=127.0.0.1 port=${port} dbname=ledger user=agent ${way}`], {
    timeout: 30_000,
    env: { ...process.env, PGPASSWORD: await ledger.sluice.token() },
  }).catch((error: Seen) => error);

const refusal = async (port = ledger.port): Promise<pg.DatabaseError> =>
  ledger.connect({}, { port }).then(
    () => expect.fail('it was let in'),
    (error: pg.DatabaseError) => error,
  );

describe('a target that is away', () => {
  let server: PostgresServer | undefined;
  beforeAll(async () => {
    await start((document) => {
      const target = document.targets.find(({ name }: { name: string }) => name === 'ledger');
      Object.assign(target, { tunnel: 'http', connect_timeout: '60s' });
    });
    server = ledger.server;
    closingLast.push(() => server?.stop());
  });
  const stop = async (): Promise<void> => {
    await server?.stop();
    server = undefined;
  };
  const serve = async (): Promise<void> => {
    server ??= await startLedger(ledger.server.port);
    await expect.poll(async () => (await psql('SELECT 1')).stdout.trim(), { timeout: 30_000 }).toBe('1');
  };

  test('psql and node-postgres are told, directly and by CONNECT, and are served when it is back', async () => {
    await serve();
    await stop();
    for (const way of ['sslmode=prefer', 'sslmode=disable'])
      expect((await psql('SELECT 1', way)).stderr).toMatch(
        /FATAL: {2}the target cannot be reached from the gateway\nHINT: .*Try again in a moment/,
      );
    const error = await refusal();
    expect([error.severity, error.code, error.message]).toEqual(['FATAL', '08001', 'the target cannot be reached from the gateway']);
    const local = await connector();
    expect((await psql('SELECT 1', 'sslmode=disable', local)).stderr).toContain('FATAL:  the target cannot be reached from the gateway');
    await serve();
  });

  test('many at once are all told, and none waits until the time for connections is over', async () => {
    await stop();
    const since = performance.now();
    const errors = await Promise.all(Array.from({ length: 50 }, () => refusal()));
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['08001']));
    expect(performance.now() - since).toBeLessThan(60_000);
  });
});

/** `./sluice connect ledger`, as a client's own machine runs it. @returns its port */
async function connector(): Promise<number> {
  const port = await freePort();
  const child = spawn(
    './sluice',
    ['connect', 'ledger', '--gateway', `http://127.0.0.1:${ledger.sluice.port}`, '--listen', `127.0.0.1:${port}`],
    {
      stdio: 'ignore',
      env: { ...process.env, SLUICE_TOKEN: await ledger.sluice.token() },
    },
  );
  closing.push(() => child.kill());
  await expect
    .poll(async () => (await psql('SELECT 1', 'sslmode=disable', port)).stderr, { timeout: 20_000 })
    .not.toContain('Connection refused');
  return port;
}

describe('TLS to the target, from the first byte', () => {
  /** Ports of listeners, by the name of their target. */
  const ports: Record<string, number> = {};
  /** What came first to the server that knows no TLS, of the filters and of who reads the catalog. */
  const heard: Buffer[] = [];
  /** What was said to the server that is not at the address of its certificate. */
  const said: Buffer[] = [];

  beforeAll(async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-ca-'));
    const [ca, other] = [authority(dir, 'ca'), authority(dir, 'other')];
    // In place of two more servers: nothing of PostgreSQL is ever said to either.
    const { certificate, key } = ca.issue('elsewhere', ['localhost']);
    const elsewhere = createTlsServer(
      { cert: readFileSync(certificate), key: readFileSync(key), ALPNProtocols: ['postgresql'] },
      (socket) => socket.on('data', (chunk) => said.push(chunk)),
    );
    const plain = createServer((socket) =>
      socket
        .once('data', (chunk) => {
          heard.push(chunk);
          socket.destroy();
        })
        .on('error', () => {}),
    );
    const [atElsewhere, atPlain] = [(await listening(elsewhere)).port, (await listening(plain)).port];
    const names = ['other-ca', 'other-name', 'other-address', 'plain'];
    for (const name of names) ports[name] = await freePort();
    await start(
      (document, at) => {
        const first = document.targets.find(({ name }: { name: string }) => name === 'ledger');
        first.tls = { ca: ca.certificate };
        for (const [name, changes] of Object.entries({
          'other-ca': { tls: { ca: other.certificate } },
          'other-name': { tls: { ca: ca.certificate, server_name: 'ledger.example.com' } },
          'other-address': { url: `postgres://127.0.0.1:${atElsewhere}` },
          plain: { url: `postgres://127.0.0.1:${atPlain}` },
        })) {
          document.listeners.push({ name, address: `127.0.0.1:${ports[name]}`, private: true });
          document.targets.push({ ...first, ...changes, name, listener: name });
        }
        const grants = parse(readFileSync(document.policy.data, 'utf8'));
        for (const name of names) grants.targets[name] = grants.targets.ledger;
        writeFileSync((document.policy.data = join(at, 'all.yaml')), stringify(grants));
      },
      { tls: ca.issue('server', ['localhost', '127.0.0.1']) },
    );
    closingLast.push(
      () => elsewhere.close(),
      () => plain.close(),
      () => rmSync(dir, { recursive: true }),
    );
  });

  test('is used where it is configured: the server sees TLS, and the log-in and rows are as without', async () => {
    const client = await ledger.connect();
    closing.push(() => client.end());
    // A busy machine may take too long to analyse it, and says so.
    await expect
      .poll(() => client.query('SELECT ssn FROM customers WHERE id = 1').then(({ rows }) => rows, String), { timeout: 20_000 })
      .toEqual([{ ssn: '***********' }]);
    const { rows } = await ledger.query("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'gateway'");
    expect(rows).toEqual([{ ssl: true }]);
  });

  test.each([
    ['of another CA', 'other-ca'],
    ['of another name', 'other-name'],
    ['for another address', 'other-address'],
  ])('a certificate %s is refused, and psql is told so', async (_, target) => {
    // On a very busy machine Envoy may end the connection before it has taken the target out of its choice (docs/design/network-filter.md).
    for (const way of ['sslmode=prefer', 'sslmode=disable'])
      await expect
        .poll(async () => (await psql('SELECT 1', way, ports[target])).stderr, { timeout: 30_000 })
        .toMatch(
          /FATAL: {2}the target cannot be reached from the gateway\nHINT: .*with `tls`, whether its CA and name fit the certificate/,
        );
    await expect.poll(async () => (await refusal(ports[target])).code, { timeout: 30_000 }).toBe('08001');
    expect(said).toEqual([]);
  });

  test('a server without TLS is not spoken to in the clear', async () => {
    await expect
      .poll(async () => (await psql('SELECT 1', 'sslmode=prefer', ports.plain)).stderr, { timeout: 30_000 })
      .toMatch(/FATAL: {2}the target cannot be reached/);
    // The first byte of a TLS handshake, and nothing else.
    expect(new Set(heard.splice(0).map(([first]) => first))).toEqual(new Set([22]));
  });
});

const ACCESS = `package sluice.rules.sql.access

hold contains {
	"rule": "access-needs-approval",
	"reason": "somebody must agree to this session",
	"hold": {"approvers": ["group:leads"], "quorum": 1, "ttl": "5m"},
} if "connect" in input.request.commands
`;

describe('access that is held', () => {
  beforeAll(async () => {
    await start(
      (document, dir) => {
        cpSync(document.policy.path, join(dir, 'policies'), { recursive: true });
        mkdirSync(join(dir, 'policies/sluice/rules/sql/access'));
        writeFileSync(join(dir, 'policies/sluice/rules/sql/access/access.rego'), ACCESS);
        document.policy.path = join(dir, 'policies');
      },
      { settings: ['authentication_timeout=4s'] },
    );
  });

  test('lets in when it is approved in time', async () => {
    const connecting = ledger.connect();
    const [held] = await ledger.sluice.approvals();
    expect((await ledger.sluice.answer(held?.id ?? '', 'approve')).status).toBe(200);
    const client = await connecting;
    closing.push(() => client.end());
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('for longer than the target waits: the client is told to connect again, and is then let in by the approval', async () => {
    const { stderr } = await psql('SELECT 1');
    expect(stderr).toMatch(
      /FATAL: {2}the target ended the log-in before it was decided: where access waits for an approval, connect again/,
    );
    const [held] = await ledger.sluice.approvals();
    expect((await ledger.sluice.answer(held?.id ?? '', 'approve')).status).toBe(200);
    expect(await psql('SELECT 1')).toMatchObject({ stdout: '1\n', stderr: '' });
    // Once.
    expect((await psql('SELECT 1')).stderr).toContain('FATAL');
  });
});
