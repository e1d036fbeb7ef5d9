/**
 * Traces that a real Envoy took of what went through the gateway, as events of the record. Envoy 1.40 has no sink that sends them by gRPC: it writes them to
 * files, and the test sends on what stands there.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { findEnvoy } from '../../authz-service/envoy/binary.ts';
import { freePort } from '../free_port.fixture.ts';
import { SECRETS, Sluice } from './sluice.fixture.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));

let gateway: Sluice;
let tapping: ChildProcess;
let port: number;
let traces: string;

const typed = (type: string, more: object = {}) => ({ '@type': `type.googleapis.com/envoy.extensions.${type}`, ...more });

/** An Envoy before the gateway, with taps on every side that it has. */
const tappingEnvoy = () => {
  const common_config = (name: string, streaming: boolean) => ({
    static_config: {
      match: { any_match: true },
      output_config: {
        streaming,
        sinks: [{ format: 'PROTO_BINARY_LENGTH_DELIMITED', file_per_tap: { path_prefix: join(traces, name) } }],
      },
    },
  });
  const httpTap = (name: string, streaming: boolean) => ({
    name,
    typed_config: typed('filters.http.tap.v3.Tap', { common_config: common_config(name, streaming) }),
  });
  const socket_address = (at: number) => ({ address: { socket_address: { address: '127.0.0.1', port_value: at } } });
  const manager = typed('filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'tapping',
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'gateway' } }] }] },
    http_filters: [
      httpTap('whole', false),
      httpTap('pieces', true),
      { name: 'envoy.filters.http.router', typed_config: typed('filters.http.router.v3.Router') },
    ],
  });
  return {
    static_resources: {
      listeners: [{ name: 'tapping', ...socket_address(port), filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }] }],
      clusters: [
        {
          name: 'gateway',
          type: 'STATIC',
          load_assignment: {
            cluster_name: 'gateway',
            endpoints: [{ lb_endpoints: [{ endpoint: socket_address(gateway.port) }] }],
          },
          transport_socket: {
            name: 'envoy.transport_sockets.tap',
            typed_config: typed('transport_sockets.tap.v3.Tap', {
              common_config: common_config('socket', true),
              transport_socket: {
                name: 'envoy.transport_sockets.raw_buffer',
                typed_config: typed('transport_sockets.raw_buffer.v3.RawBuffer'),
              },
            }),
          },
        },
      ],
    },
  };
};

beforeAll(async () => {
  gateway = await Sluice.start((document) => {
    document.tap = { envoy_tap: true };
  });
  port = await freePort();
  traces = join(gateway.dir, 'traces');
  mkdirSync(traces);
  const file = join(gateway.dir, 'tapping.json');
  writeFileSync(file, JSON.stringify(tappingEnvoy()));
  const found = findEnvoy();
  if (!found.ok) throw new Error(found.problem);
  tapping = spawn(found.bin, ['--config-path', file, '--use-dynamic-base-id', '--log-level', 'error', '--concurrency', '1'], {
    stdio: 'ignore',
  });
  await vi.waitFor(reachable, { timeout: 20_000, interval: 100 });
});
afterAll(async () => {
  tapping?.kill('SIGKILL');
  await gateway?.close();
});

const reachable = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const probe = connect(port, '127.0.0.1', () => {
      probe.destroy();
      resolve();
    }).on('error', reject);
  });

const ask = (path: string, headers: Record<string, string>): Promise<{ status: number; session: string }> =>
  new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', path, headers }, (response) => {
      response.resume().on('end', () => {
        resolve({ status: response.statusCode ?? 0, session: String(response.headers['x-sluice-session']) });
      });
    })
      .on('error', reject)
      .end();
  });

/** A number as protobuf writes it, and where it ends. */
const varintAt = (bytes: Buffer, from: number): [number, number] => {
  for (let at = from, value = 0, scale = 1; ; at += 1, scale *= 128) {
    const byte = bytes.readUInt8(at);
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return [value, at + 1];
  }
};

const varint = (value: number): number[] => (value < 128 ? [value] : [(value & 0x7f) | 0x80, ...varint(Math.floor(value / 128))]);

/** The TraceWrappers that Envoy wrote, by the tap that it wrote them of. */
const written = (): { tap: string; trace: Buffer }[] =>
  readdirSync(traces).flatMap((name) => {
    const bytes = readFileSync(join(traces, name));
    const found: { tap: string; trace: Buffer }[] = [];
    for (let at = 0; at < bytes.length; ) {
      const [length, from] = varintAt(bytes, at);
      at = from + length;
      found.push({ tap: name.split('_')[0] as string, trace: bytes.subarray(from, at) });
    }
    return found;
  });

/** As Envoy would send them: a StreamTapsRequest each, the first with who speaks. */
const sendOn = (tap: string, found: readonly Buffer[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const door = gateway.config.service.tap;
    if (!('path' in door)) throw new Error('the sink is not at a socket here');
    const client = new Client(`unix:${door.path}`, credentials.createInsecure());
    const asIs = (bytes: Buffer): Buffer => bytes;
    const call = client.makeClientStreamRequest('/envoy.service.tap.v3.TapSinkService/StreamTaps', asIs, asIs, (error) => {
      client.close();
      if (error) reject(error);
      else resolve();
    });
    const message = (tag: number, bytes: Buffer): Buffer => Buffer.concat([Buffer.from([tag, ...varint(bytes.length)]), bytes]);
    const node = message(0x0a, message(0x0a, Buffer.from('tapping')));
    call.write(message(0x0a, Buffer.concat([node, message(0x12, Buffer.from(tap))])));
    for (const trace of found) call.write(message(0x1a, trace));
    call.end();
  });

test('traces are events of no session, without a token, a query, a body or a value of a header', async () => {
  const token = await gateway.token();
  const seen = await ask('/customers/7?hint=hidden-in-the-query', { authorization: `Bearer ${token}`, 'x-mine': 'hidden-in-a-header' });
  expect(seen.status).toBe(200);
  // What it has not written yet of its connections it writes at its end.
  const ended = once(tapping, 'exit');
  tapping.kill('SIGTERM');
  await ended;
  const traced = written();
  expect(new Set(traced.map(({ tap }) => tap))).toEqual(new Set(['whole', 'pieces', 'socket']));
  for (const tap of ['whole', 'pieces', 'socket'])
    await sendOn(
      tap,
      traced.filter((each) => each.tap === tap).map(({ trace }) => trace),
    );

  const auditor = await gateway.approver('olga', ['audit']);
  const env = { ...process.env, SLUICE_TOKEN: auditor, SLUICE_ADMIN: '', SLUICE_CONFIG: join(gateway.dir, 'sluice.yaml') };
  const text = await new Promise<string>((resolve, reject) => {
    execFile(SLUICE, ['export', '--format', 'json', '--events', 'envoy_tap'], { env }, (error, out, err) =>
      error ? reject(new Error(err)) : resolve(out),
    );
  });
  const events = text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { session: string; kind: string; body: Record<string, unknown> });
  expect(events).toHaveLength(traced.length);
  expect(events.every(({ session, kind, body }) => session === '' && kind === 'envoy_tap' && body.node === 'tapping')).toBe(true);

  const of = (tap: string) => events.flatMap(({ body }) => (body.tap === tap ? [body] : []));
  expect(of('whole')).toMatchObject([
    {
      form: 'http',
      method: 'GET',
      path: '/customers/7',
      status: 200,
      session: seen.session,
      responseHeaders: expect.arrayContaining(['x-sluice-session']),
    },
  ]);
  expect(Number(of('whole')[0]?.responseBytes)).toBeGreaterThan(50);
  const pieces = of('pieces');
  expect(pieces.map(({ piece }) => piece)).toEqual(expect.arrayContaining(['request headers', 'response headers', 'response body']));
  expect(new Set(pieces.map(({ trace }) => trace)).size).toBe(1);
  expect(String(pieces[0]?.trace)).toMatch(/^[1-9]\d*$/);
  const socket = of('socket');
  expect(socket.map(({ piece }) => piece)).toEqual(expect.arrayContaining(['connection', 'write', 'read']));
  expect(socket.find(({ piece }) => piece === 'connection')).toMatchObject({ remoteAddress: `127.0.0.1:${gateway.port}` });

  for (const secret of [token, 'hidden-in-the-query', 'hidden-in-a-header', ...SECRETS]) expect(text).not.toContain(secret);
});
