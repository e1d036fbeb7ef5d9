import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type UnaryMethod, type UnaryServer, unaryServer } from './unary_server.ts';

const PATH = '/test.v1.Echo/Echo';
const SHOUT_PATH = '/test.v1.Echo/Shout';
const MAX = 100_000;

let dir: string;
let socket: string;
let server: UnaryServer;
let call: UnaryMethod['call'];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-unary-'));
  socket = join(dir, 'unary.sock');
  call = async (message) => message;
  server = unaryServer(
    [
      { path: PATH, call: (message, onGone) => call(message, onGone) },
      { path: SHOUT_PATH, call: async (message) => Buffer.from(message.toString().toUpperCase()) },
    ],
    { maxMessageBytes: MAX },
  );
  await server.listen({ path: socket });
});

afterEach(async () => {
  await server.close(0);
  rmSync(dir, { recursive: true, force: true });
});

const asIs = (bytes: Buffer): Buffer => bytes;

describe('a client of grpc-js', () => {
  let client: grpc.Client;
  beforeEach(() => {
    client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 });
  });
  afterEach(() => client.close());

  const asked = (message: Buffer, path = PATH): Promise<Buffer | undefined> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, asIs, asIs, message, (error, answer) => (error ? reject(error) : resolve(answer)));
    });

  test.each([0, 1, 16_384, 65_536, MAX])('gets the answer to a message of %i bytes', async (size) => {
    const message = Buffer.alloc(size, 'm');
    expect(await asked(message)).toEqual(message);
  });

  test('has many calls under way at once, each with its own answer', async () => {
    call = (message) => new Promise((resolve) => setTimeout(resolve, Math.random() * 20, message));
    const messages = Array.from({ length: 500 }, (_, i) => Buffer.from(String(i)));
    expect(await Promise.all(messages.map((message) => asked(message)))).toEqual(messages);
  });

  test.each([
    ['a message too large', Buffer.alloc(MAX + 1), PATH, grpc.status.RESOURCE_EXHAUSTED],
    ['another method', Buffer.alloc(1), '/test.v1.Echo/Other', grpc.status.UNIMPLEMENTED],
  ])('is refused %s', async (_, message, path, code) => {
    await expect(asked(message, path)).rejects.toMatchObject({ code });
    expect(await asked(Buffer.from('next'))).toEqual(Buffer.from('next'));
  });

  test('gets the answer of the method that it calls', async () => {
    expect(await asked(Buffer.from('a word'), SHOUT_PATH)).toEqual(Buffer.from('A WORD'));
    expect(await asked(Buffer.from('a word'))).toEqual(Buffer.from('a word'));
  });

  test('is told INTERNAL, and no more, when the call fails or takes the bytes for no request', async () => {
    call = async () => {
      throw new Error('secret');
    };
    await expect(asked(Buffer.alloc(1))).rejects.toMatchObject({ code: grpc.status.INTERNAL, details: 'the call failed' });
    call = () => {
      throw new Error('secret');
    };
    await expect(asked(Buffer.alloc(1))).rejects.toMatchObject({ code: grpc.status.INTERNAL });
    await expect(asked(Buffer.alloc(1))).rejects.not.toThrow('secret');
  });
});

describe('raw frames', () => {
  let session: ClientHttp2Session;
  beforeEach(() => {
    session = connect('http://localhost', { createConnection: () => connectSocket(socket) });
    session.on('error', () => {});
  });
  afterEach(() => session.destroy());

  const HEADERS = { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' };
  const sent = (bytes: Buffer, headers: object = HEADERS): ClientHttp2Stream => {
    const stream = session.request({ ...headers });
    stream.on('error', () => {});
    stream.end(bytes);
    return stream;
  };
  const headersOf = async (stream: ClientHttp2Stream): Promise<Record<string, unknown>> => {
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    stream.resume();
    return headers;
  };

  test.each([
    ['nothing', Buffer.alloc(0), '13'],
    ['half a prefix', Buffer.from([0, 0, 0]), '13'],
    ['a length beyond the end', Buffer.from([0, 0, 0, 0, 9, 1]), '13'],
    ['two messages', Buffer.from([0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 1, 7]), '13'],
    ['a compressed message', Buffer.from([1, 0, 0, 0, 1, 7]), '12'],
  ])('are refused: %s', async (_, bytes, status) => {
    expect(await headersOf(sent(bytes))).toMatchObject({ ':status': 200, 'grpc-status': status });
  });

  test('of another content type get 415', async () => {
    expect(await headersOf(sent(Buffer.alloc(5), { ...HEADERS, 'content-type': 'text/plain' }))).toMatchObject({ ':status': 415 });
    expect(await headersOf(sent(Buffer.alloc(5), { ':method': 'POST', ':path': PATH }))).toMatchObject({ ':status': 415 });
  });

  test('that arrive byte by byte are one message', async () => {
    const stream = session.request(HEADERS);
    for (const byte of [0, 0, 0, 0, 3, 1, 2, 3]) {
      stream.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    stream.end();
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(stream, 'end');
    expect(Buffer.concat(chunks)).toEqual(Buffer.from([0, 0, 0, 0, 3, 1, 2, 3]));
  });

  test('a caller that goes away is told of once, and one that was answered never', async () => {
    let gone = 0;
    let arrived!: () => void;
    const waiting = new Promise<void>((resolve) => (arrived = resolve));
    call = (_, onGone) => {
      onGone(() => gone++);
      arrived();
      return new Promise(() => {});
    };
    const stream = sent(Buffer.from([0, 0, 0, 0, 0]));
    await waiting;
    stream.close(8);
    await expect.poll(() => gone).toBe(1);

    call = async (message, onGone) => {
      onGone(() => gone++);
      return message;
    };
    const answered = sent(Buffer.from([0, 0, 0, 0, 0]));
    answered.resume();
    await once(answered, 'close');
    session.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(gone).toBe(1);
  });

  test('of thousands of callers that go away at once do not end the connection of the others', async () => {
    call = (message) => (message.length === 0 ? new Promise(() => {}) : Promise.resolve(message));
    const waiting = Array.from({ length: 3000 }, () => sent(Buffer.from([0, 0, 0, 0, 0])));
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (const stream of waiting) stream.close(8);
    expect(await headersOf(sent(Buffer.from([0, 0, 0, 0, 1, 7])))).toMatchObject({ ':status': 200 });
  });

  test('closing lets the call under way end and does not wait for a connection without one', async () => {
    let answer!: () => void;
    call = (message) => new Promise((resolve) => (answer = () => resolve(message)));
    const stream = sent(Buffer.from([0, 0, 0, 0, 0]));
    await expect.poll(() => answer !== undefined).toBe(true);
    const idle = connect('http://localhost', { createConnection: () => connectSocket(socket) });
    await once(idle, 'connect');
    let closed = false;
    const closing = server.close(60_000).then(() => (closed = true));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(closed).toBe(false);
    answer();
    expect(await headersOf(stream)).toMatchObject({ ':status': 200 });
    await closing;
    idle.destroy();
  });

  test('closing ends after its time what does not end by itself', async () => {
    call = () => new Promise(() => {});
    const stream = sent(Buffer.from([0, 0, 0, 0, 0]));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ended = once(stream, 'close');
    await server.close(50);
    await ended;
  });
});

describe('a connection', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  test('that lasts is asked each minute whether it is still there, and gathers nothing from it', async () => {
    const warned: Error[] = [];
    const warn = (warning: Error): void => void warned.push(warning);
    process.on('warning', warn);
    const session = connect('http://unary', { createConnection: () => connectSocket(socket) });
    await once(session, 'remoteSettings');
    for (let minute = 0; minute < 15; minute++) {
      const asked = once(session, 'ping');
      await vi.advanceTimersByTimeAsync(60_000);
      await asked;
      // Whatever answers this has read the answer before it.
      await new Promise((answered) => session.ping(answered));
    }
    expect(session.closed).toBe(false);
    process.off('warning', warn);
    session.close();
    expect(warned).toEqual([]);
  });

  test('whose other side says nothing any more is ended', async () => {
    const silent = connectSocket(socket).resume();
    silent.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0', 'latin1');
    await once(silent, 'data');
    const ended = once(silent, 'close');
    await vi.advanceTimersByTimeAsync(79_000);
    expect(silent.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(1_000);
    await ended;
  });
});
