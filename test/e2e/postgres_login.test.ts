/** What a log-in meets on either side of a real gateway: ways in which servers ask for proof, and requests for encryption that a client may begin with. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { Ledger } from './postgres.fixture.ts';

let ledger: Ledger;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await ledger?.close();
});

test.each(['md5', 'password'] as const)(
  'a server that asks for %s lets the gateway in, and its clients with it',
  async (auth) => {
    ledger = await Ledger.start(undefined, { auth });
    const client = await ledger.connect();
    const { rows } = await client.query('SELECT current_user AS who, ssn FROM customers WHERE id = 1');
    expect(rows).toEqual([{ who: 'gateway', ssn: '***********' }]);
    await client.end();
    await expect(ledger.connect({}, { password: 'no token' })).rejects.toMatchObject({ code: '28000' });
  },
  120_000,
);

test('a token of Microsoft Entra is the password of a target that takes it', async () => {
  const asked: (string | null)[] = [];
  const metadata = createServer(({ url = '' }, response) => {
    asked.push(new URL(url, 'http://metadata').searchParams.get('resource'));
    response.end(JSON.stringify({ access_token: 'gateway-of-the-demo', expires_in: '3600' }));
  }).listen(0, '127.0.0.1');
  await once(metadata, 'listening');
  process.env.AZURE_POD_IDENTITY_AUTHORITY_HOST = `http://127.0.0.1:${(metadata.address() as AddressInfo).port}`;
  try {
    ledger = await Ledger.start(
      (document) => {
        for (const target of document.targets)
          if (target.name === 'ledger') target.credentials = { default: { entra: { username: 'gateway' } } };
      },
      { auth: 'password' },
    );
    const client = await ledger.connect();
    expect((await client.query('SELECT current_user AS who')).rows).toEqual([{ who: 'gateway' }]);
    await client.end();
    expect(new Set(asked)).toEqual(new Set(['https://ossrdbms-aad.database.windows.net']));
  } finally {
    delete process.env.AZURE_POD_IDENTITY_AUTHORITY_HOST;
    metadata.close();
  }
}, 120_000);

const packet = (...words: (number | string)[]): Buffer => {
  const parts = words.map((word) => {
    if (typeof word === 'string') return Buffer.from(`${word}\0`);
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(word);
    return bytes;
  });
  const body = Buffer.concat(parts);
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length + 4);
  return Buffer.concat([size, body]);
};
const SSL_REQUEST = packet(80_877_103);
const GSSENC_REQUEST = packet(80_877_104);
const START = packet(196_608, 'user', 'agent', 'database', 'ledger', '');
/** AuthenticationCleartextPassword. */
const ASKS = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]);

describe('a client that begins with', () => {
  test.each([
    ['a request for GSS encryption', [GSSENC_REQUEST]],
    ['a request for TLS', [SSL_REQUEST]],
  ])(
    '%s is told no, and asked for its password',
    async (_, requests) => {
      ledger = await Ledger.start();
      const socket = connect({ host: '127.0.0.1', port: ledger.port });
      sockets.push(socket);
      const next = async (): Promise<Buffer> => {
        const found: Buffer | null = socket.read();
        if (found) return found;
        await new Promise((settle) => socket.once('readable', settle));
        return next();
      };
      for (const request of requests) {
        socket.write(request);
        expect((await next()).toString('latin1')).toBe('N');
      }
      socket.write(START);
      expect(await next()).toEqual(ASKS);
    },
    120_000,
  );
});
