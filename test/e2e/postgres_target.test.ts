/** Targets that do not serve: away, of another CA, of another name, without TLS, or tired of waiting for an approval. What clients hear is told by psql and node-postgres. */
import { execFile, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { freePort } from '../free_port.fixture.ts';
import { authority } from './certificates.fixture.ts';
import { Ledger, startLedger } from './postgres.fixture.ts';
import type { Document } from './sluice.fixture.ts';

const run = promisify(execFile);

let ledger: Ledger;
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await ledger?.close();
});

const directory = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-ca-'));
  closing.push(() => rmSync(dir, { recursive: true }));
  return dir;
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

const refusal = async (): Promise<pg.DatabaseError> =>
  ledger.connect().then(
    () => expect.fail('it was let in'),
    (error: pg.DatabaseError) => error,
  );

describe('a target that is away', () => {
  test('psql and node-postgres are told, directly and by CONNECT, and are served when it is back', async () => {
    ledger = await Ledger.start((document) => {
      const target = document.targets.find(({ name }: { name: string }) => name === 'ledger');
      target.tunnel = 'http';
    });
    expect((await psql('SELECT 1')).stdout.trim()).toBe('1');
    const { port } = ledger.server;
    await ledger.server.stop();
    for (const way of ['sslmode=prefer', 'sslmode=disable'])
      expect((await psql('SELECT 1', way)).stderr).toMatch(
        /FATAL: {2}the target cannot be reached from the gateway\nHINT: .*Try again in a moment/,
      );
    const error = await refusal();
    expect([error.severity, error.code, error.message]).toEqual(['FATAL', '08001', 'the target cannot be reached from the gateway']);
    const local = await connector();
    expect((await psql('SELECT 1', 'sslmode=disable', local)).stderr).toContain('FATAL:  the target cannot be reached from the gateway');
    const again = await startLedger(port);
    closing.push(() => again.stop());
    await expect.poll(async () => (await psql('SELECT 1')).stdout.trim(), { timeout: 20_000 }).toBe('1');
  });

  test('many at once are all told, and none waits for long', async () => {
    ledger = await Ledger.start();
    await ledger.server.stop();
    const since = performance.now();
    const errors = await Promise.all(Array.from({ length: 50 }, refusal));
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['08001']));
    expect(performance.now() - since).toBeLessThan(5_000);
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
  const secured = async (
    target: (ca: string, other: string) => object,
    names: readonly string[] = ['localhost', '127.0.0.1'],
  ): Promise<void> => {
    const dir = directory();
    const ca = authority(dir, 'ca');
    const other = authority(dir, 'other');
    ledger = await Ledger.start(
      (document: Document) => {
        const found = document.targets.find(({ name }: { name: string }) => name === 'ledger');
        Object.assign(found, target(ca.certificate, other.certificate));
      },
      { tls: ca.issue('server', names) },
    );
  };

  test('is used where it is configured: the server sees TLS, and the log-in and rows are as without', async () => {
    await secured((ca) => ({ tls: { ca } }));
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
    ['of another CA', (_: string, other: string) => ({ tls: { ca: other } }), undefined],
    ['of another name', (ca: string) => ({ tls: { ca, server_name: 'ledger.example.com' } }), undefined],
    ['for another address', (ca: string) => ({ tls: { ca } }), ['localhost']],
  ])('a certificate %s is refused, and psql is told so', async (_, target, names) => {
    await secured(target, names);
    for (const way of ['sslmode=prefer', 'sslmode=disable'])
      expect((await psql('SELECT 1', way)).stderr).toMatch(
        /FATAL: {2}the target cannot be reached from the gateway\nHINT: .*with `tls`, whether its CA and name fit the certificate/,
      );
    expect((await refusal()).code).toBe('08001');
  });

  test('a server without TLS is not spoken to in the clear', async () => {
    const dir = directory();
    const ca = authority(dir, 'ca');
    ledger = await Ledger.start((document) => {
      document.targets.find(({ name }: { name: string }) => name === 'ledger').tls = { ca: ca.certificate };
    });
    expect((await psql('SELECT 1')).stderr).toMatch(/FATAL: {2}the target cannot be reached/);
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
  const start = async (): Promise<void> => {
    ledger = await Ledger.start(
      (document, dir) => {
        cpSync(document.policy.path, join(dir, 'policies'), { recursive: true });
        mkdirSync(join(dir, 'policies/sluice/rules/sql/access'));
        writeFileSync(join(dir, 'policies/sluice/rules/sql/access/access.rego'), ACCESS);
        document.policy.path = join(dir, 'policies');
      },
      { settings: ['authentication_timeout=2s'] },
    );
  };

  test('lets in when it is approved in time', async () => {
    await start();
    const connecting = ledger.connect();
    const [held] = await ledger.sluice.approvals();
    expect((await ledger.sluice.answer(held?.id ?? '', 'approve')).status).toBe(200);
    const client = await connecting;
    closing.push(() => client.end());
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('for longer than the target waits: the client is told to connect again, and is then let in by the approval', async () => {
    await start();
    const { stderr } = await psql('SELECT 1');
    expect(stderr).toMatch(
      /FATAL: {2}the target ended the log-in before it was decided: where access waits for an approval, connect again/,
    );
    const [held] = await ledger.sluice.approvals();
    expect((await ledger.sluice.answer(held?.id ?? '', 'approve')).status).toBe(200);
    expect((await psql('SELECT 1')).stdout.trim()).toBe('1');
    // Once.
    expect((await psql('SELECT 1')).stderr).toContain('FATAL');
  });
});
