import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Connector, startConnector } from '../../authz-service/connect/connector.ts';
import type { GatewayTls } from '../../authz-service/connect/tunnel.ts';
import { freePort } from '../free_port.fixture.ts';
import { authority } from './certificates.fixture.ts';
import { Ledger } from './postgres.fixture.ts';

let ledger: Ledger;
let port: number;
let ca: string;
let connector: Connector | undefined;
let client: pg.Client | undefined;

beforeAll(async () => {
  port = await freePort();
  ledger = await Ledger.start((document, dir) => {
    const issuer = authority(dir, 'connect-ca');
    const { certificate, key } = issuer.issue('gateway', ['gateway.test', '127.0.0.1']);
    ca = readFileSync(issuer.certificate, 'utf8');
    document.listeners.push({ name: 'tunnels', address: `127.0.0.1:${port}`, tls: { certificate, key } });
    document.targets.find(({ name }: { name: string }) => name === 'ledger').tunnel = 'tunnels';
    expect(join(dir, 'gateway.crt')).toBe(certificate);
  });
}, 60_000);
afterAll(() => ledger?.close());
afterEach(async () => {
  await client?.end().catch(() => {});
  await connector?.close();
  [client, connector] = [undefined, undefined];
});

/** A client that knows no token, on a connector of its own. */
async function open(claims: Record<string, unknown> = {}, tls: GatewayTls = { ca }): Promise<pg.Client> {
  const token = await ledger.sluice.token(claims);
  connector = await startConnector({
    gateway: { host: '127.0.0.1', port, tls },
    target: 'ledger',
    token: async () => token,
    listen: { host: '127.0.0.1', port: 0 },
  });
  client = new pg.Client({ host: '127.0.0.1', port: connector.port, database: 'ledger', user: 'anybody', password: 'none' });
  client.on('error', () => {});
  await client.connect();
  return client;
}

test('a client without a token works over TLS, as its connector', async () => {
  const on = await open();
  const { rows } = await on.query('SELECT id, ssn FROM customers ORDER BY id LIMIT 2');
  expect(rows).toEqual([
    { id: 1, ssn: '***********' },
    { id: 2, ssn: '***********' },
  ]);
  await expect(on.query('DELETE FROM customers')).rejects.toMatchObject({ code: '42501' });
  expect((await on.query('SELECT count(*)::int AS n FROM customers')).rows).toEqual([{ n: 120 }]);
});

test('a large result comes whole', async () => {
  const { rows } = await (await open()).query("SELECT repeat('x', 1000) AS x FROM transfers a, generate_series(1, 10)");
  expect([rows.length, rows.every(({ x }) => x.length === 1000)]).toEqual([20_000, true]);
});

test('who may not use the database is told so in the protocol, with the rule', async () => {
  await expect(open({ groups: ['strangers'] })).rejects.toMatchObject({
    code: '42501',
    severity: 'FATAL',
    detail: expect.stringContaining('Rule: default-deny'),
  });
});

test('a token that is not accepted is told', async () => {
  await expect(open({ aud: 'somebody-else' })).rejects.toMatchObject({ code: '28000' });
});

test("a gateway whose certificate is not the CA's gets no token", async () => {
  const other = readFileSync(authority(ledger.sluice.dir, 'other-ca').certificate, 'utf8');
  await expect(open({}, { ca: other })).rejects.toMatchObject({ code: '08006', message: expect.stringContaining('cannot be reached') });
});
