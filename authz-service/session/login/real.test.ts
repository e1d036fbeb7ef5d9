import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../../demo/postgres_server.ts';
import { freePort } from '../../../test/free_port.fixture.ts';
import { greeting } from '../startup.ts';
import { postgresLogIn } from './postgres.ts';

/** The server's messages, whole, as a filter would cut them. */
async function* messagesOf(socket: Socket): AsyncGenerator<Buffer> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 5 && bytes.length > bytes.readUInt32BE(1)) {
      const length = bytes.readUInt32BE(1) + 1;
      yield bytes.subarray(0, length);
      bytes = bytes.subarray(length);
    }
  }
}

/** Logs in as the door and a filter do together. @returns the types of the messages from AuthenticationOk to ReadyForQuery, and whether the log-in was complete at the first */
async function logIn(port: number, username: string, password: string): Promise<{ readonly types: string; readonly complete: boolean }> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.write(greeting(username, 'postgres', new Map([['client_encoding', 'UTF8']])));
    const exchange = postgresLogIn({ username, password });
    let [types, complete] = ['', false];
    for await (const message of messagesOf(socket)) {
      const type = String.fromCharCode(message[0] ?? 0);
      if (types === '' && type === 'R' && message.readUInt32BE(5) === 0) complete = exchange.complete;
      if (types !== '' || (type === 'R' && message.readUInt32BE(5) === 0)) types += type;
      else socket.write(await exchange.step(message));
      if (type === 'Z') return { types, complete };
    }
    throw new Error('the server went away');
  } finally {
    socket.destroy();
  }
}

describe.each(['scram-sha-256', 'md5', 'password'] as const)('a real PostgreSQL that asks for %s', (auth) => {
  let server: PostgresServer;
  const PASSWORDS = { app: 'pencil', wide: 'p\u00e4ss\u00a0w\u00f6rt \u2168', odd: `quote'"\\,=\t` };

  beforeAll(async () => {
    server = await startPostgres({ port: await freePort(), auth });
    for (const [role, password] of Object.entries(PASSWORDS))
      await server.query(`CREATE ROLE ${role} LOGIN PASSWORD E'${password.replace(/[\\']/g, '\\$&')}'`);
  }, 60_000);
  afterAll(() => server?.stop());

  test.each(Object.entries(PASSWORDS))('lets %s in', async (role, password) => {
    const { types, complete } = await logIn(server.port, role, password);
    expect(complete).toBe(true);
    expect(types).toMatch(/^RS+KZ$/);
  });

  test('does not with another password, and its code is told', async () => {
    await expect(logIn(server.port, 'app', 'pencils')).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('28P01'),
    });
  });
});
