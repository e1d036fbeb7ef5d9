import { Client, credentials, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SimulatedFileSystem } from '../../journal/simulated_file_system.ts';
import { MAX_EVENT_BYTES } from '../event.ts';
import { openSink, type Sink } from '../sink.ts';
import { eventsIn, testStore } from '../store.fixture.ts';
import { envoyMethod } from './envoy_proto.fixture.ts';
import { accessLogService, type EnvoyService, tapSinkService } from './services.ts';

const StreamAccessLogs = envoyMethod('service/accesslog/v3/als.proto', 'envoy.service.accesslog.v3.AccessLogService', 'StreamAccessLogs');
const StreamTaps = envoyMethod('service/tap/v3/tap.proto', 'envoy.service.tap.v3.TapSinkService', 'StreamTaps');
const bytesOf = (message: object): Buffer => StreamAccessLogs.requestSerialize(message);

const identifier = { node: { id: 'sluice' }, log_name: 'sluice' };
const struct = (fields: Record<string, string>) => ({
  fields: Object.fromEntries(Object.entries(fields).map(([name, stringValue]) => [name, { stringValue }])),
});
/** An entry of a session, as the gateway's own Envoy sends it. */
const entry = (request: object = {}, common: object = {}) => ({
  common_properties: {
    metadata: { filter_metadata: { 'envoy.filters.http.ext_authz': struct({ session: 'ses_1', target: 'demo' }) } },
    ...common,
  },
  request: { request_method: 'DELETE', authority: 'billing.example', path: '/customers/7', ...request },
  response: { response_code: { value: 403 } },
});
const message = (...log_entry: object[]): Buffer => bytesOf({ identifier, http_logs: { log_entry } });

describe('a service that Envoy tells', () => {
  let files: SimulatedFileSystem;
  let sink: Sink;
  let server: Server;
  let service: EnvoyService;
  let client: Client;

  const listen = async (to: Pick<Sink, 'append'>, options = {}, of = accessLogService): Promise<void> => {
    service = of(to, (text) => text.replaceAll('4111', '****'), options);
    server = new Server();
    server.addService(service.definition, service.implementation);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  };
  beforeEach(async () => {
    files = new SimulatedFileSystem();
    sink = await openSink(testStore('/tap', { files, retryMs: 5 }));
  });
  afterEach(async () => {
    client.close();
    server.forceShutdown();
    await sink.close();
  });

  const stream = (method = StreamAccessLogs) => {
    let settle: (code: status) => void = () => {};
    const ended = new Promise<status>((resolve) => {
      settle = resolve;
    });
    const call = client.makeClientStreamRequest(
      method.path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      (error) => settle(error?.code ?? status.OK),
    );
    call.on('error', () => {});
    return { call, ended };
  };
  const recorded = async () => (await eventsIn('/tap', files.copy())).filter(({ body }) => body.kind === 'envoy_access_log');

  it('records what it is told, with its session or without, and ends when the peer does', async () => {
    await listen(sink);
    const { call, ended } = stream();
    call.write(message(entry(), entry({ path: '/cards/4111' }, { metadata: {} })));
    call.write(bytesOf({ http_logs: { log_entry: [entry()] } }));
    call.end();
    expect(await ended).toBe(status.OK);
    const events = await recorded();
    expect(events.map(({ session, target }) => [session, target])).toEqual([
      ['ses_1', 'demo'],
      ['', ''],
      ['ses_1', 'demo'],
    ]);
    expect(events.every(({ emitter, body }) => emitter === sink.emitter && body.kind === 'envoy_access_log' && body.log === 'sluice')).toBe(
      true,
    );
    expect(events[1]?.body).toMatchObject({ path: '/cards/****' });
    expect((await sink.events('ses_1'))?.length).toBe(2);
  });

  it('records traces of a tap, each by the name that its stream began with, and refuses what is none', async () => {
    await listen(sink, {}, tapSinkService);
    const trace = (path: string) => ({
      http_buffered_trace: { request: { headers: [{ key: ':path', value: path }], body: { as_string: 'kept nowhere' } } },
    });
    const [one, other] = [stream(StreamTaps), stream(StreamTaps)];
    one.call.write(StreamTaps.requestSerialize({ identifier: { node: { id: 'n' }, tap_id: 'one' } }));
    other.call.write(StreamTaps.requestSerialize({ identifier: { node: { id: 'n' }, tap_id: 'other' }, trace: trace('/a') }));
    one.call.write(StreamTaps.requestSerialize({ trace: trace('/cards/4111') }));
    for (const { call } of [one, other]) call.end();
    expect(await Promise.all([one.ended, other.ended])).toEqual([status.OK, status.OK]);
    const events = (await eventsIn('/tap', files.copy())).flatMap(({ session, emitter, body }) =>
      body.kind === 'envoy_tap'
        ? [{ session, own: emitter === sink.emitter, tap: body.tap, path: body.path, bytes: body.requestBytes }]
        : [],
    );
    expect(events.toSorted((a, b) => (a.tap < b.tap ? -1 : 1))).toEqual([
      { session: '', own: true, tap: 'one', path: '/cards/****', bytes: 12 },
      { session: '', own: true, tap: 'other', path: '/a', bytes: 12 },
    ]);
    const wrong = stream(StreamTaps);
    wrong.call.write(Buffer.from([0x1a, 0x02, 0x4a, 0x00]));
    expect(await wrong.ended).toBe(status.INVALID_ARGUMENT);
    expect(service.refused).toEqual({ malformed: 1 });
  });

  it('cuts an entry that is too long, and says so', async () => {
    await listen(sink);
    const { call, ended } = stream();
    call.write(message(entry({ path: `/${'a'.repeat(200_000)}`, user_agent: 'x' })));
    call.end();
    expect(await ended).toBe(status.OK);
    const [event] = await recorded();
    expect(event?.truncated).toEqual(['path']);
    expect(event?.body.kind === 'envoy_access_log' && event.body.path.length).toBeLessThan(MAX_EVENT_BYTES);
    expect(event?.body).toMatchObject({ userAgent: 'x', status: 403 });
  });

  it.each([
    ['malformed bytes', Buffer.from([0x12, 0x7f, 1]), status.INVALID_ARGUMENT, 'malformed'],
    [
      'a session that is none',
      message(entry({}, { metadata: { filter_metadata: { 'envoy.filters.http.ext_authz': struct({ session: 'a\nb' }) } } })),
      status.INVALID_ARGUMENT,
      'malformed',
    ],
  ] as const)('ends the stream of %s with a word, and serves the others', async (_, bytes, code, counted) => {
    const onRefused = vi.fn();
    await listen(sink, { onRefused });
    const other = stream();
    other.call.write(message(entry()));
    const { call, ended } = stream();
    call.write(bytes);
    expect(await ended).toBe(code);
    expect(service.refused).toEqual({ [counted]: 1 });
    expect(onRefused).toHaveBeenCalledOnce();
    other.call.write(message(entry()));
    other.call.end();
    expect(await other.ended).toBe(status.OK);
    expect(await recorded()).toHaveLength(2);
  });

  it('ends the stream when the record takes nothing, and more streams than it serves', async () => {
    await listen(sink, { maxStreams: 1 });
    const first = stream();
    first.call.write(message(entry()));
    await expect.poll(async () => (await recorded()).length).toBe(1);
    const second = stream();
    expect(await second.ended).toBe(status.RESOURCE_EXHAUSTED);
    await sink.close();
    first.call.write(message(entry()));
    expect(await first.ended).toBe(status.UNAVAILABLE);
    expect(service.refused).toEqual({ too_many: 1, unavailable: 1 });
    // Both places are free again, and a peer that goes away frees its own.
    const third = stream();
    third.call.cancel();
    expect(await third.ended).toBe(status.CANCELLED);
    expect(service.refused).toEqual({ too_many: 1, unavailable: 1 });
  });

  it('does not read on while too much waits for the disk', async () => {
    const waiting: (() => void)[] = [];
    let appended = 0;
    const slow: Pick<Sink, 'append'> = {
      append: (events) => {
        appended += events.length;
        return new Promise((resolve) => waiting.push(resolve));
      },
    };
    await listen(slow, { maxWaitingBytes: 100_000 });
    const { call, ended } = stream();
    const large = message(entry({ path: `/${'a'.repeat(20_000)}` }));
    for (let i = 0; i < 200; i += 1) call.write(large);
    call.end();
    await expect.poll(() => appended).toBeGreaterThan(4);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(appended).toBeLessThan(12);
    const release = setInterval(() => {
      for (const done of waiting.splice(0)) done();
    }, 1);
    expect(await ended).toBe(status.OK);
    clearInterval(release);
    expect(appended).toBe(200);
  });
});
