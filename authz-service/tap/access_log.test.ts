import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Client, credentials, type MethodDefinition, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { MAX_ENTRIES, readAccessLogs } from './access_log.ts';
import { type AccessLogService, accessLogService } from './access_log_server.ts';
import { MAX_EVENT_BYTES } from './event.ts';
import { openSink, type Sink } from './sink.ts';
import { eventsIn, testStore } from './store.fixture.ts';
import { WireError } from './wire.ts';

/** Envoy's own definitions, written by a codec of others' making. */
const deps = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');
const loaded = loadSync('envoy/service/accesslog/v3/als.proto', {
  keepCase: true,
  includeDirs: ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((folder) => join(deps, folder)),
});
const { StreamAccessLogs } = loaded['envoy.service.accesslog.v3.AccessLogService'] as unknown as {
  StreamAccessLogs: MethodDefinition<object, object>;
};
const bytesOf = (message: object): Buffer => StreamAccessLogs.requestSerialize(message);

const identifier = { node: { id: 'sluice' }, log_name: 'sluice' };
const struct = (fields: Record<string, string>) => ({
  fields: Object.fromEntries(Object.entries(fields).map(([name, stringValue]) => [name, { stringValue }])),
});
const socket = (address: string, port_value: number) => ({ socket_address: { address, port_value } });
const TOKEN = 'eyJhbGciOiJFUzI1NiJ9.secret.signature';

const entry = (request: object = {}, common: object = {}) => ({
  common_properties: {
    downstream_remote_address: socket('192.0.2.7', 40_001),
    upstream_remote_address: socket('2001:db8::1', 443),
    upstream_cluster: 'target_demo',
    start_time: { seconds: 1_700_000_000, nanos: 5 },
    duration: { seconds: 1, nanos: 2_500_000 },
    response_flags: { unauthorized_details: { reason: 'EXTERNAL_SERVICE' }, downstream_connection_termination: true, rate_limited: false },
    tls_properties: { tls_version: 'TLSv1_3', tls_sni_hostname: 'gw.example', peer_certificate_properties: { subject: 'CN=agent' } },
    metadata: {
      filter_metadata: {
        'another.filter': struct({ session: 'not-this-one' }),
        'envoy.filters.http.ext_authz': struct({ session: 'ses_1', target: 'demo', plan: 'the-plan' }),
      },
    },
    custom_tags: { tag: TOKEN },
    access_log_type: 'DownstreamEnd',
    ...common,
  },
  protocol_version: 'HTTP2',
  request: {
    request_method: 'DELETE',
    authority: 'billing.example',
    path: `/customers/7?access_token=${TOKEN}`,
    referer: `https://elsewhere/?token=${TOKEN}`,
    user_agent: 'an-agent/1.0',
    request_id: 'r-1',
    request_body_bytes: 12,
    request_headers: { authorization: `Bearer ${TOKEN}` },
    ...request,
  },
  response: {
    response_code: { value: 403 },
    response_body_bytes: 2 ** 40,
    response_code_details: 'ext_authz_denied',
    response_headers: { 'set-cookie': TOKEN },
  },
});
const message = (...log_entry: object[]): Buffer => bytesOf({ identifier, http_logs: { log_entry } });
const asIs = (text: string): string => text;

describe('a message of access logs', () => {
  it('is read as Envoy means it, and nothing of headers, queries, tags and other metadata is kept', () => {
    const { log, events } = readAccessLogs(message(entry()), '', asIs);
    expect(log).toBe('sluice');
    expect(events).toEqual([
      {
        session: 'ses_1',
        target: 'demo',
        body: {
          kind: 'envoy_access_log',
          log: 'sluice',
          type: 'DownstreamEnd',
          protocol: 'HTTP/2',
          method: 'DELETE',
          authority: 'billing.example',
          path: '/customers/7',
          userAgent: 'an-agent/1.0',
          requestId: 'r-1',
          status: 403,
          details: 'ext_authz_denied',
          flags: ['UAEX', 'DC'],
          requestBytes: 12,
          responseBytes: 2 ** 40,
          startUnixNanos: 1_700_000_000_000_000_005n,
          durationMicros: 1_002_500,
          downstreamAddress: '192.0.2.7:40001',
          upstreamAddress: '[2001:db8::1]:443',
          upstreamCluster: 'target_demo',
          route: '',
          failure: '',
          tlsVersion: 'TLSv1.3',
          serverName: 'gw.example',
          peerSubject: 'CN=agent',
        },
      },
    ]);
    expect(JSON.stringify(events.map(({ body }) => ({ ...body, startUnixNanos: '' })))).not.toContain(TOKEN);
  });

  it('of connections is read too, by the name that the stream began with', () => {
    const connection = {
      common_properties: {
        downstream_remote_address: { pipe: { path: '/run/a.sock' } },
        connection_termination_details: 'idle',
        upstream_transport_failure_reason: 'no certificate',
      },
      connection_properties: { received_bytes: 7, sent_bytes: 9 },
    };
    const { events } = readAccessLogs(bytesOf({ tcp_logs: { log_entry: [connection] } }), 'earlier', asIs);
    expect(events).toMatchObject([
      {
        session: '',
        target: '',
        body: { log: 'earlier', protocol: 'TCP', requestBytes: 7, responseBytes: 9, details: 'idle', failure: 'no certificate' },
      },
    ]);
    expect(events[0]?.body.downstreamAddress).toBe('/run/a.sock');
  });

  it('is masked in every text that others have a say in', () => {
    const secret = { authority: 'SECRET', path: '/SECRET', user_agent: 'SECRET', request_id: 'SECRET' };
    const told = { route_name: 'SECRET', upstream_transport_failure_reason: 'SECRET', tls_properties: { tls_sni_hostname: 'SECRET' } };
    const { events } = readAccessLogs(message(entry(secret, told)), '', (text) => text.replaceAll('SECRET', '******'));
    expect(events[0]?.body).toMatchObject({ path: '/******', route: '******', serverName: '******', protocol: 'HTTP/2', log: 'sluice' });
    expect(JSON.stringify({ ...events[0]?.body, startUnixNanos: '' })).not.toContain('SECRET');
  });

  it('of any other bytes is refused, and nothing else is thrown', () => {
    const whole = message(entry());
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), fc.nat(whole.length), fc.nat(whole.length), (bytes, from, to) => {
        try {
          readAccessLogs(Buffer.concat([whole.subarray(0, from), bytes, whole.subarray(to)]), '', asIs);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('has a most of entries', () => {
    const empty = (entries: number) => bytesOf({ http_logs: { log_entry: Array.from({ length: entries }, () => ({})) } });
    expect(readAccessLogs(empty(MAX_ENTRIES), '', asIs).events).toHaveLength(MAX_ENTRIES);
    expect(() => readAccessLogs(empty(MAX_ENTRIES + 1), '', asIs)).toThrow(/1024 entries/);
  });
});

describe('the access log service', () => {
  let files: SimulatedFileSystem;
  let sink: Sink;
  let server: Server;
  let service: AccessLogService;
  let client: Client;

  const listen = async (to: Pick<Sink, 'append'>, options = {}): Promise<void> => {
    service = accessLogService(to, (text) => text.replaceAll('4111', '****'), options);
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

  const stream = () => {
    let settle: (code: status) => void = () => {};
    const ended = new Promise<status>((resolve) => {
      settle = resolve;
    });
    const call = client.makeClientStreamRequest(
      StreamAccessLogs.path,
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
