import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WireError } from '../wire.ts';
import { MAX_ENTRIES, readAccessLogs } from './access_log.ts';
import { envoyMethod } from './envoy_proto.fixture.ts';

const { requestSerialize: bytesOf } = envoyMethod(
  'service/accesslog/v3/als.proto',
  'envoy.service.accesslog.v3.AccessLogService',
  'StreamAccessLogs',
);

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
