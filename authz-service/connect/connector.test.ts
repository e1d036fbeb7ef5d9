import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Connector, type ConnectorOptions, startConnector } from './connector.ts';
import { fatal, readStart } from './postgres_start.ts';

const startup = (parameters = 'user\0agent\0'): Buffer => {
  const body = Buffer.from(`${parameters}\0`);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length);
  head.writeUInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
};
const request = (code: number, ...fields: number[]): Buffer => {
  const bytes = Buffer.alloc(8 + 4 * fields.length);
  for (const [index, field] of [bytes.length, code, ...fields].entries()) bytes.writeInt32BE(field, index * 4);
  return bytes;
};
const [CANCEL, SSL, GSSENC] = [80_877_102, 80_877_103, 80_877_104];

/** The fields of an ErrorResponse. */
const fieldsOf = (message: string): Record<string, string> =>
  Object.fromEntries(
    message
      .slice(5)
      .split('\0')
      .filter((field) => field !== '')
      .map((field) => [field[0], field.slice(1)]),
  );

let gateway: Server;
let target: ReturnType<typeof createTcpServer>;
let connector: Connector | undefined;
let asked: { authority: string; host: string; token: string }[];
/** What the gateway answers; `undefined`: the tunnel opens. */
let answer: (request: IncomingMessage, socket: Socket) => Promise<string | undefined>;
/** What the target does with a connection. */
let serve: (socket: Socket) => void;
let problems: string[];
const sockets = new Set<Socket>();

beforeEach(async () => {
  [asked, problems] = [[], []];
  answer = async () => undefined;
  serve = (socket) => socket.pipe(socket);
  target = createTcpServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    serve(socket);
  }).listen(0, '127.0.0.1');
  await once(target, 'listening');
  gateway = createServer();
  gateway.on('connect', async (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
    sockets.add(socket.on('error', () => {}));
    const { host = '', authorization = '' } = incoming.headers;
    asked.push({ authority: incoming.url ?? '', host, token: authorization });
    const refusal = await answer(incoming, socket);
    if (refusal !== undefined) return void socket.end(refusal);
    const onward = connect((target.address() as AddressInfo).port, '127.0.0.1');
    sockets.add(onward.on('error', () => {}));
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    onward.write(head);
    socket.pipe(onward).pipe(socket);
  });
  gateway.listen(0, '127.0.0.1');
  await once(gateway, 'listening');
});
afterEach(async () => {
  await connector?.close();
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  gateway.close();
  target.close();
});

async function start(options: Partial<ConnectorOptions> = {}): Promise<Connector> {
  connector = await startConnector({
    gateway: { host: '127.0.0.1', port: (gateway.address() as AddressInfo).port, tls: undefined },
    target: 'ledger',
    token: async () => 'token-1',
    listen: { host: '127.0.0.1', port: 0 },
    onProblem: (line) => problems.push(line),
    ...options,
  });
  return connector;
}

function dial({ port }: Connector): Socket {
  const socket = connect(port, '127.0.0.1');
  sockets.add(socket.on('error', () => {}));
  return socket;
}

const next = async (socket: Socket): Promise<Buffer> => (await once(socket, 'data'))[0];

const problem = (status: number, json: object): string => {
  const body = JSON.stringify(json);
  return `HTTP/1.1 ${status} No\r\ncontent-type: application/problem+json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
};

describe('a connection', () => {
  test("is carried by CONNECT with the token, the client's first message first", async () => {
    const client = dial(await start());
    client.write(startup());
    expect(await next(client)).toEqual(startup());
    client.write('and more');
    expect((await next(client)).toString()).toBe('and more');
    expect(asked).toEqual([{ authority: 'ledger:5432', host: 'ledger:5432', token: 'Bearer token-1' }]);
  });

  test('is told that there is no encryption here, and goes on without', async () => {
    const client = dial(await start());
    client.write(request(GSSENC));
    expect((await next(client)).toString()).toBe('N');
    client.write(request(SSL));
    expect((await next(client)).toString()).toBe('N');
    expect(asked).toEqual([]);
    client.write(startup());
    expect(await next(client)).toEqual(startup());
  });

  test('begins in pieces as well as at once', async () => {
    const client = dial(await start());
    client.setNoDelay(true);
    for (const byte of startup()) {
      client.write(Buffer.of(byte));
      await new Promise((settle) => setImmediate(settle));
    }
    expect(await next(client)).toEqual(startup());
  });

  test('may be a request to cancel', async () => {
    const client = dial(await start());
    const cancel = request(CANCEL, 7, 8);
    client.write(cancel);
    expect(await next(client)).toEqual(cancel);
  });

  test('carries any amount both ways, and ends on both sides', async () => {
    const size = 20_000_000;
    const client = dial(await start());
    client.write(startup());
    await next(client);
    const sent = Buffer.alloc(size, 'x');
    let got = 0;
    client.on('data', (chunk) => (got += chunk.length));
    client.write(sent);
    await expect.poll(() => got, { timeout: 10_000 }).toBe(size);
    const ended = once(client, 'close');
    client.end();
    await ended;
    await expect.poll(() => [...sockets].every((socket) => socket.destroyed)).toBe(true);
  });

  test('is ended when the target ends it, after what it said last', async () => {
    serve = (socket) => socket.once('data', () => socket.end('last words'));
    const client = dial(await start());
    client.write(startup());
    expect(await text(client)).toBe('last words');
  });

  test('asks for a token each: a renewed one is used at once', async () => {
    let count = 0;
    const running = await start({ token: async () => `token-${++count}` });
    for (const client of [dial(running), dial(running)]) {
      client.write(startup());
      await next(client);
    }
    expect(asked.map(({ token }) => token).sort()).toEqual(['Bearer token-1', 'Bearer token-2']);
  });
});

describe('a refusal', () => {
  const refusedBy = async (said: string, options: Partial<ConnectorOptions> = {}): Promise<Record<string, string>> => {
    answer = async () => said;
    const client = dial(await start(options));
    client.write(startup());
    return fieldsOf(await text(client));
  };

  test('of the policy is told with its rule and a hint', async () => {
    const error = await refusedBy(
      problem(403, { title: 'The policy denies this session', detail: 'no grant', rule: 'default-deny', session: 'ses_1' }),
    );
    expect(error).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '42501',
      M: 'The policy denies this session: no grant',
      D: 'Rule: default-deny. Session: ses_1.',
      H: 'Whoever maintains the policy can tell what is allowed.',
    });
    expect(problems).toEqual(['ledger: The policy denies this session: no grant']);
  });

  test.each([
    [401, '28000'],
    [404, '08004'],
    [503, '08006'],
    [502, '08006'],
  ])('with status %i is SQLSTATE %s', async (status, code) => {
    expect((await refusedBy(problem(status, { title: 'No' }))).C).toBe(code);
  });

  test.each([
    ['no problem at all', 'HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno'],
    ['no body', 'HTTP/1.1 503 No\r\n\r\n'],
    ['another success', 'HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n'],
  ])('with %s says its status', async (_, said) => {
    expect((await refusedBy(said)).M).toMatch(/answered with status (503|202)/);
  });

  test('with words that end the message or move a cursor is made harmless', async () => {
    expect((await refusedBy(problem(403, { title: 'a\0Cxxxxx\u001b[2J' }))).M).toBe('a?Cxxxxx?[2J');
  });

  test('of no HTTP is told', async () => {
    expect((await refusedBy('SSH-2.0-x\r\n')).C).toBe('08006');
  });

  test('because nobody is there is told', async () => {
    const error = await refusedBy('', { gateway: { host: '127.0.0.1', port: 1, tls: undefined } });
    expect(error).toMatchObject({ C: '08006', M: expect.stringContaining('http://127.0.0.1:1 cannot be reached') });
  });

  test('because there is no token is told, and no gateway is asked', async () => {
    const error = await refusedBy('', { token: () => Promise.reject(new Error('the issuer is away')) });
    expect(error).toMatchObject({ C: '28000', M: expect.stringContaining('the issuer is away') });
    expect(asked).toEqual([]);
  });

  test('because of too many connections is told', async () => {
    const running = await start({ maxConnections: 1 });
    const first = dial(running);
    first.write(startup());
    await next(first);
    const second = dial(running);
    second.write(startup());
    expect(fieldsOf(await text(second)).C).toBe('53300');
    first.destroy();
    await expect
      .poll(async () => {
        const third = dial(running);
        third.write(startup());
        return (await next(third)).toString();
      })
      .toBe(startup().toString());
  });
});

describe('a client', () => {
  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['TLS', Buffer.from('16030100c8010000c40303', 'hex')],
    ['protocol 2', request(131_072, 0)],
    [
      'an endless first message',
      (() => {
        const bytes = startup();
        bytes.writeUInt32BE(10_001);
        return bytes;
      })(),
    ],
    ['bytes after a request for encryption', Buffer.concat([request(SSL), startup()])],
  ])('that begins with %s gets an error, and no gateway is asked', async (_, bytes) => {
    const client = dial(await start());
    client.write(bytes);
    expect(fieldsOf(await text(client)).C).toBe('08P01');
    expect(asked).toEqual([]);
  });

  test('that asks for encryption again and again gets an error', async () => {
    const client = dial(await start());
    let said = '';
    client.on('data', (chunk) => (said += chunk));
    for (const [index, code] of [SSL, GSSENC].entries()) {
      client.write(request(code));
      await expect.poll(() => said.length).toBe(index + 1);
    }
    client.write(request(SSL));
    await once(client, 'close');
    expect(fieldsOf(said.slice(2)).C).toBe('08P01');
  });

  test('that does not begin is cut', async () => {
    const client = dial(await start({ patienceMs: 50 }));
    client.write(startup().subarray(0, 9));
    expect(await text(client)).toBe('');
    expect(asked).toEqual([]);
  });

  test('that goes away while the gateway holds its session takes the CONNECT with it', async () => {
    let cut = false;
    answer = (_, socket) => {
      socket.resume();
      socket.once('end', () => (cut = true));
      return new Promise(() => {});
    };
    const client = dial(await start());
    client.write(startup());
    await expect.poll(() => asked.length).toBe(1);
    client.end();
    await expect.poll(() => cut).toBe(true);
  });

  test('that waits is not cut while the gateway holds its session', async () => {
    let release = (): void => {};
    answer = () => new Promise((settle) => (release = () => settle(undefined)));
    const client = dial(await start({ patienceMs: 30 }));
    client.write(startup());
    await expect.poll(() => asked.length).toBe(1);
    await new Promise((settle) => setTimeout(settle, 100));
    release();
    expect(await next(client)).toEqual(startup());
  });

  test('that talks on and on before it is answered is cut', async () => {
    answer = () => new Promise(() => {});
    const client = dial(await start());
    client.write(Buffer.concat([startup(), Buffer.alloc(100_000)]));
    await once(client, 'close');
  });
});

describe('where it listens', () => {
  test('a Unix socket is for this user alone, and is gone afterwards', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'connect-'));
    const path = join(dir, '.s.PGSQL.5432');
    await start({ listen: { path } });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const client = connect(path);
    client.write(startup());
    expect(await next(client)).toEqual(startup());
    await connector?.close();
    connector = undefined;
    expect(existsSync(path)).toBe(false);
    rmSync(dir, { recursive: true });
  });

  test('a port in use is an error', async () => {
    await expect(start({ listen: { host: '127.0.0.1', port: (gateway.address() as AddressInfo).port } })).rejects.toThrow('EADDRINUSE');
  });
});

test('no bytes make the reading of a first message throw, or take what is not whole', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (random) => {
      const bytes = Buffer.from(random);
      const { kind } = readStart(bytes);
      if (kind === 'whole') expect(bytes.length).toBeGreaterThanOrEqual(bytes.readUInt32BE(0));
    }),
  );
  for (let end = 0; end < startup().length; end += 1) expect(readStart(startup().subarray(0, end)).kind).toBe('more');
});

test('an error message is what PostgreSQL specifies', () => {
  expect(fatal({ code: '28000', message: 'no', hint: 'é' }).toString('latin1')).toBe(
    `E\0\0\0\x22SFATAL\0VFATAL\0C28000\0Mno\0H${Buffer.from('é').toString('latin1')}\0\0`,
  );
});
