/** Databases behind a real Envoy: a listener of TCP, TLS from the first byte on both sides, and the way in by CONNECT, with a filter that tells what it was given. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import asc from 'assemblyscript/asc';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Config } from '../../authz-service/config/config.ts';
import { findEnvoy } from '../../authz-service/envoy/binary.ts';
import { envoyFiles, generateEnvoy, placesOf } from '../../authz-service/envoy/generate.ts';
import { validateEnvoy } from '../../authz-service/envoy/validate.ts';
import { writeEnvoy } from '../../authz-service/envoy/write.ts';
import { freePort } from '../free_port.fixture.ts';
import { type Answer, type Document, denial, type Gateway, startGateway } from './envoy_gateway.fixture.ts';
import { ask } from './http_client.fixture.ts';

/** Puts before what a client sends first: the passage that it came by, and its settings. */
const FILTER = `
@external("env", "proxy_get_property") declare function property(path: usize, size: usize, value: usize, length: usize): u32;
@external("env", "proxy_get_buffer_bytes") declare function read(type: u32, start: u32, size: u32, value: usize, length: usize): u32;
@external("env", "proxy_set_buffer_bytes") declare function write(type: u32, start: u32, size: u32, data: usize, length: usize): u32;
const out = memory.data(8);
const begun = new Set<u32>();
let settings = '';
export function proxy_abi_version_0_2_1(): void {}
export function proxy_on_memory_allocate(size: usize): usize { return heap.alloc(size); }
export function proxy_on_context_create(id: u32, parent: u32): void {}
export function proxy_on_vm_start(id: u32, size: u32): u32 { return 1; }
export function proxy_on_configure(id: u32, size: u32): u32 {
  if (read(7, 0, size, out, out + 4) == 0) settings = String.UTF8.decodeUnsafe(load<u32>(out), load<u32>(out + 4));
  return 1;
}
export function proxy_on_new_connection(id: u32): u32 { return 0; }
export function proxy_on_downstream_data(id: u32, size: u32, end: u32): u32 {
  if (size == 0 || begun.has(id)) return 0;
  begun.add(id);
  const path = String.UTF8.encode('filter_state\\0sluice.passage');
  const found = property(changetype<usize>(path), path.byteLength, out, out + 4) == 0;
  const head = String.UTF8.encode('[' + (found ? String.UTF8.decodeUnsafe(load<u32>(out), load<u32>(out + 4)) : '') + ']' + settings + '\\n');
  write(2, 0, 0, changetype<usize>(head), head.byteLength);
  return 0;
}
export function proxy_on_done(id: u32): u32 { return 1; }
`;

async function compiled(): Promise<Uint8Array> {
  let module: Uint8Array | undefined;
  const { error, stderr } = await asc.main(['filter.ts', '--outFile', 'filter.wasm', '--runtime', 'incremental', '--use', 'abort=', '-O'], {
    readFile: (name) => (name === 'filter.ts' ? FILTER : null),
    writeFile: (name, contents) => {
      if (name === 'filter.wasm') module = contents as Uint8Array;
    },
    listFiles: () => [],
  });
  return module ?? expect.fail(`${error?.message}\n${stderr}`);
}

vi.setConfig({ testTimeout: 20_000 });

const HEAD =
  '{"target":"ledger","tap_cluster":"sluice_tap","door_cluster":"sluice_check","tap_require":true,"queue_bytes":4194304,"lag_ms":1000,"record_bytes":67108864}\n';
const session = (id: string): Answer => ({
  status: { code: 0 },
  ok_response: {},
  dynamic_metadata: { fields: { session: { stringValue: id } } },
});

let gateway: Gateway;
let servers: { readonly close: () => void }[];
let database: number;
/** What the database's connections were told of their TLS, in order. */
let alpn: (string | false | null)[];
const ports = { plain: 0, tls: 0 };
const deploy = (config: Config): string[] => writeEnvoy(placesOf(config).dir, envoyFiles(generateEnvoy(config)));

beforeAll(async () => {
  const module = await compiled();
  ports.plain = await freePort();
  ports.tls = await freePort();
  database = await freePort();
  alpn = [];
  let directory = '';
  gateway = await startGateway((document, dir) => {
    directory = dir;
    writeFileSync(join(dir, 'sluice-postgres.wasm'), module);
    writeFileSync(join(dir, 'secret'), 'secret');
    certificate(dir);
    const target = {
      protocol: 'postgres',
      url: `postgres://127.0.0.1:${database}`,
      database: 'ledger',
      tls: { ca: 'server.crt', server_name: 'db.test' },
      credentials: { default: { password: { username: 'app', password: { file: 'secret' } } } },
    };
    document.listeners.push(
      { name: 'ledger', address: `127.0.0.1:${ports.plain}` },
      { name: 'ledger-tls', address: `127.0.0.1:${ports.tls}`, tls: { certificate: 'server.crt', key: 'server.key' } },
    );
    document.targets.push(
      { ...target, name: 'ledger', listener: 'ledger', tunnel: 'http' },
      { ...target, name: 'second', listener: 'ledger-tls' },
    );
  });
  // Speaks TLS from the first byte, says what it got, and goes on.
  const server = createTlsServer(
    { key: readFileSync(join(directory, 'server.key')), cert: readFileSync(join(directory, 'server.crt')), ALPNProtocols: ['postgresql'] },
    (socket) => {
      alpn.push(socket.alpnProtocol);
      socket.on('error', () => {});
      socket.on('data', (chunk) => socket.write(chunk));
    },
  );
  await new Promise<void>((settle) => server.listen(database, '127.0.0.1', settle));
  servers = [server];
  // In its first moments Envoy does not reach the target yet, and leads to the echo that is there for that.
  for (const deadline = Date.now() + 10_000; alpn.length === 0 && Date.now() < deadline; ) {
    const socket = connect(ports.plain, '127.0.0.1');
    await said(socket, 'hello');
    socket.destroy();
  }
});
afterAll(async () => {
  for (const server of servers ?? []) server.close();
  await gateway?.close();
});
beforeEach(() => {
  gateway.answer = () => session('s-1');
  gateway.checked.length = 0;
});

function certificate(dir: string): void {
  const out = ['-keyout', join(dir, 'server.key'), '-out', join(dir, 'server.crt')];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...key, ...out, '-subj', '/CN=db.test', '-addext', 'subjectAltName=DNS:db.test'], {
    stdio: 'pipe',
  });
}

/** Collects what arrives until it ends with `end`, or the connection does. */
const until = (socket: Socket, end: string): Promise<string> =>
  new Promise((settle, fail) => {
    let text = '';
    const done = () => settle(text);
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.endsWith(end)) done();
    });
    socket.once('close', done).once('error', fail);
  });

const said = async (socket: Socket, text: string): Promise<string> => {
  const answer = until(socket, text);
  socket.write(text);
  return answer;
};

/** A CONNECT over HTTP/1.1. @returns its answer's head, and the connection */
async function tunnelled(authority: string, early = ''): Promise<{ readonly head: string; readonly socket: Socket }> {
  const socket = connect(gateway.port, '127.0.0.1');
  const head = until(socket, '\r\n\r\n');
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\nauthorization: Bearer x\r\n\r\n${early}`);
  const text = await head;
  socket.removeAllListeners('data');
  return { head: text, socket };
}

describe('directly', () => {
  test('a private listener carries bytes through the filter to the server, over verified TLS with ALPN', async () => {
    const socket = connect(ports.plain, '127.0.0.1');
    expect(await said(socket, 'hello')).toBe(`[]${HEAD}hello`);
    expect(await said(socket, 'more')).toBe('more');
    socket.destroy();
    expect(alpn.at(-1)).toBe('postgresql');
    expect(gateway.checked).toEqual([]);
  });

  test('a listener with TLS speaks `postgresql`, and each target has settings of its own', async () => {
    const socket: TLSSocket = connectTls({
      port: ports.tls,
      host: '127.0.0.1',
      ALPNProtocols: ['postgresql'],
      servername: 'db.test',
      rejectUnauthorized: false,
    });
    expect(await said(socket, 'hello')).toBe(`[]${HEAD.replace('ledger', 'second')}hello`);
    expect(socket.alpnProtocol).toBe('postgresql');
    socket.destroy();
  });

  test('TLS for HTTP is not taken for a database, nor plain text on the TLS listener', async () => {
    const other = connectTls({ port: ports.tls, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false });
    await expect(
      new Promise((settle, fail) => other.once('secureConnect', () => settle(other.alpnProtocol)).once('error', fail)),
    ).resolves.toBe(false);
    other.destroy();
    const plain = connect(ports.tls, '127.0.0.1');
    plain.on('error', () => {});
    plain.write('hello, this is no TLS');
    expect(await until(plain, '!').catch(() => '')).not.toContain('hello');
  });
});

describe('by CONNECT', () => {
  test('HTTP/1.1: judged before a byte goes on, with the session that was opened for it', async () => {
    let release = (): void => {};
    gateway.answer = () => new Promise((settle) => (release = () => settle(session('s-42'))));
    const before = alpn.length;
    const opening = tunnelled('ledger:5432');
    await expect.poll(() => gateway.checked.length).toBe(1);
    expect(alpn.length).toBe(before);
    const { context_extensions, request } = gateway.checked[0]?.attributes ?? expect.fail();
    expect([context_extensions, request.http.method, request.http.host]).toEqual([{ target: 'ledger' }, 'CONNECT', 'ledger']);
    release();
    const { head, socket } = await opening;
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
    expect(await said(socket, 'hello')).toBe(`[s-42]${HEAD}hello`);
    expect(await said(socket, 'more')).toBe('more');
    socket.destroy();
  });

  test('HTTP/2, two of one connection, each with its own session', async () => {
    let opened = 0;
    gateway.answer = () => session(`h2-${++opened}`);
    const client = connectHttp2(`http://127.0.0.1:${gateway.port}`);
    for (const id of ['h2-1', 'h2-2']) {
      const stream = client.request({ ':method': 'CONNECT', ':authority': 'ledger:5432' });
      const status = await new Promise((settle, fail) =>
        stream.once('response', (headers) => settle(headers[':status'])).once('error', fail),
      );
      expect(status).toBe(200);
      expect(await said(stream as unknown as Socket, 'hello')).toBe(`[${id}]${HEAD}hello`);
      stream.close();
    }
    client.close();
  });

  test('what is sent with the CONNECT is neither judged as its body nor sent on before the answer', async () => {
    let release = (): void => {};
    gateway.answer = () => new Promise((settle) => (release = () => settle(session('s-7'))));
    const before = alpn.length;
    const socket = connect(gateway.port, '127.0.0.1');
    const whole = until(socket, 'early');
    socket.write('CONNECT ledger:5432 HTTP/1.1\r\nhost: ledger:5432\r\n\r\nearly');
    await expect.poll(() => gateway.checked.length).toBe(1);
    await new Promise((settle) => setTimeout(settle, 100));
    expect([alpn.length - before, gateway.checked[0]?.attributes.request.http.raw_body?.length ?? 0]).toEqual([0, 0]);
    release();
    expect(await whole).toContain(`\r\n\r\n[s-7]${HEAD}early`);
    socket.destroy();
  });

  // Envoy may keep a connection to a listener of its own that nobody waits for any more, and give it to whoever comes next.
  test('nobody gets the passage of a caller that went away', async () => {
    for (let round = 0; round < 25; round += 1) {
      gateway.checked.length = 0;
      let release = (): void => {};
      gateway.answer = () => new Promise((settle) => (release = () => settle(session(`gone-${round}`))));
      const gone = connect(gateway.port, '127.0.0.1');
      gone.on('error', () => {});
      gone.write('CONNECT ledger:5432 HTTP/1.1\r\nhost: ledger:5432\r\n\r\n');
      await expect.poll(() => gateway.checked.length, { interval: 1 }).toBe(1);
      release();
      if (round % 2 === 0) gone.resetAndDestroy();
      else gone.end();
      gateway.answer = () => (round % 3 === 0 ? { status: { code: 0 }, ok_response: {} } : session(`mine-${round}`));
      const { socket } = await tunnelled('ledger:5432');
      expect(await said(socket, 'hello')).toBe(`[${round % 3 === 0 ? '' : `mine-${round}`}]${HEAD}hello`);
      socket.destroy();
    }
  });

  test.each(['', 'early'])('a caller that goes away while it is held gives the hold up (sent before: %j)', async (early) => {
    let cancelled = 0;
    gateway.answer = () => new Promise(() => {});
    gateway.onCancel = () => {
      cancelled += 1;
    };
    const socket = connect(gateway.port, '127.0.0.1');
    socket.write(`CONNECT ledger:5432 HTTP/1.1\r\nhost: ledger:5432\r\n\r\n${early}`);
    await expect.poll(() => gateway.checked.length).toBe(1);
    socket.destroy();
    await expect.poll(() => cancelled).toBe(1);
    gateway.onCancel = () => {};
  });

  test('a refusal is the answer, and no connection is made', async () => {
    gateway.answer = () => denial(403, '{"title":"no"}', { 'content-type': 'application/problem+json' });
    const before = alpn.length;
    const { head, socket } = await tunnelled('ledger:5432');
    expect(head).toMatch(/^HTTP\/1\.1 403 /);
    socket.destroy();
    expect(alpn.length).toBe(before);
  });

  test('without a session in the answer the filter sees none', async () => {
    gateway.answer = () => ({ status: { code: 0 }, ok_response: {} });
    const { socket } = await tunnelled('ledger:5432');
    expect(await said(socket, 'hello')).toBe(`[]${HEAD}hello`);
    socket.destroy();
  });

  test.each(['second:5432', 'nobody:5432', '127.0.0.1:80', 'ledger.evil:1'])('CONNECT %s leads nowhere', async (authority) => {
    const before = alpn.length;
    gateway.answer = () => denial(403, '');
    const { head, socket } = await tunnelled(authority);
    expect(head).toMatch(/^HTTP\/1\.1 4\d\d /);
    socket.destroy();
    expect(alpn.length).toBe(before);
  });

  test('a database has no pages, and nobody is asked about them', async () => {
    expect((await ask(gateway.port, '/', { headers: { host: 'ledger:5432' } })).status).toBe(404);
    expect(gateway.checked).toEqual([]);
  });

  test('what is no CONNECT is no tunnel: WebSocket over HTTP/1.1 and over HTTP/2', async () => {
    const upgrade = { connection: 'upgrade', upgrade: 'websocket', host: '127.0.0.1' };
    expect((await ask(gateway.port, '/', { headers: upgrade })).status).toBe(403);
    const client = connectHttp2(`http://127.0.0.1:${gateway.port}`);
    await new Promise((settle) => client.once('remoteSettings', settle));
    const stream = client.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'http',
      ':path': '/',
      ':authority': 'ledger:5432',
    });
    const status = await new Promise((settle, fail) =>
      stream.once('response', (headers) => settle(headers[':status'])).once('error', fail),
    );
    expect(status).toBe(403);
    client.close();
  });

  test('a caller cannot say by which passage it comes', async () => {
    gateway.answer = () => ({ status: { code: 0 }, ok_response: {} });
    const socket = connect(gateway.port, '127.0.0.1');
    const head = until(socket, '\r\n\r\n');
    socket.write('CONNECT ledger:5432 HTTP/1.1\r\nhost: ledger:5432\r\nsluice.passage: s-1\r\nx-sluice-session: s-1\r\n\r\n');
    expect(await head).toMatch(/^HTTP\/1\.1 200 /);
    socket.removeAllListeners('data');
    expect(await said(socket, 'hello')).toBe(`[]${HEAD}hello`);
    socket.destroy();
  });
});

describe('a change', () => {
  test("of a database's address, or another database by CONNECT, needs no new Envoy and leaves sessions alone", async () => {
    const { socket } = await tunnelled('ledger:5432');
    expect(await said(socket, 'hello')).toContain('hello');
    const move = (document: Document): void => {
      const ledger = document.targets.find(({ name }: { name: string }) => name === 'ledger');
      document.targets.push({ ...ledger, name: 'third', listener: undefined });
    };
    expect(deploy(gateway.configure(move))).toEqual(['secret-target_third-ca.yaml', 'cds.yaml', 'rds-http.yaml', 'lds.yaml']);
    await expect
      .poll(
        async () => {
          const { head, socket } = await tunnelled('third:1');
          socket.destroy();
          return head.slice(0, 12);
        },
        { timeout: 10_000 },
      )
      .toBe('HTTP/1.1 200');
    expect(await said(socket, 'more')).toBe('more');
    socket.destroy();
  });

  test('Envoy validates all of it', async () => {
    const found = findEnvoy();
    if (!found.ok) throw new Error(found.problem);
    expect(await validateEnvoy(generateEnvoy(gateway.config), found.bin)).toEqual({ ok: true });
  });
});
