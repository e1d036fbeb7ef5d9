/** TLS from the first byte, as PostgreSQL 17 and later have it: a listener with a certificate, and a real server behind it. libpq is tried by `npm run test:interop`. */
import { readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { authority } from './certificates.fixture.ts';
import { Ledger } from './postgres.fixture.ts';

let ledger: Ledger;
let ca: string;
let other: string;

beforeAll(async () => {
  ledger = await Ledger.start((document, dir) => {
    const issuer = authority(dir, 'listener-ca');
    const { certificate, key } = issuer.issue('listener', ['gateway.test', '127.0.0.1']);
    ca = readFileSync(issuer.certificate, 'utf8');
    other = readFileSync(authority(dir, 'other-ca').certificate, 'utf8');
    const listener = document.listeners.find(({ name }: { name: string }) => name === 'ledger');
    delete listener.private;
    listener.tls = { certificate, key };
  });
}, 60_000);
afterAll(() => ledger?.close());

const direct = async (more: pg.ClientConfig = {}): Promise<pg.Client> =>
  ledger.connect({}, { sslnegotiation: 'direct', ssl: { ca, ALPNProtocols: ['postgresql'] }, ...more });

describe('node-postgres', () => {
  test('logs in with a token, and reads masked rows', async () => {
    const client = await direct();
    const { rows } = await client.query('SELECT ssn FROM customers WHERE id = $1', [1]);
    expect(rows).toEqual([{ ssn: '***********' }]);
    await expect(client.query('DELETE FROM customers')).rejects.toMatchObject({ code: '42501' });
    await client.end();
  });

  test('does not, where the certificate is of another CA or for another name: no token leaves', async () => {
    await expect(direct({ ssl: { ca: other, ALPNProtocols: ['postgresql'] } })).rejects.toThrow(/certificate/);
    await expect(direct({ host: 'localhost' })).rejects.toThrow(/altnames|certificate/i);
  });
});

test('the listener speaks `postgresql`, and TLS 1.2 at least', async () => {
  const spoken = (options: object): Promise<string | false | null> =>
    new Promise((settle, fail) => {
      const socket = connectTls({ host: '127.0.0.1', port: ledger.port, ca, ...options }, () => {
        settle(socket.alpnProtocol);
        socket.destroy();
      });
      socket.once('error', fail);
    });
  expect(await spoken({ ALPNProtocols: ['postgresql'] })).toBe('postgresql');
  await expect(spoken({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' })).rejects.toThrow();
});

test.each(['in the clear', 'with TLS switched on inside the connection'])(
  'what comes %s is not served, and no token is asked for',
  async (way) => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: ledger.port,
      database: 'ledger',
      user: 'agent',
      password: await ledger.sluice.token(),
      ...(way === 'in the clear' ? {} : { ssl: { ca } }),
    });
    await expect(client.connect()).rejects.toThrow(/terminated|closed|ECONNRESET|EPIPE|SSL connection/i);
  },
);
