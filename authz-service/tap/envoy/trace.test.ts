import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WireError } from '../wire.ts';
import { envoyMethod } from './envoy_proto.fixture.ts';
import { MAX_FIELDS } from './messages.ts';
import { readTrace } from './trace.ts';

const { requestSerialize: bytesOf } = envoyMethod('service/tap/v3/tap.proto', 'envoy.service.tap.v3.TapSinkService', 'StreamTaps');

const TOKEN = 'eyJhbGciOiJFUzI1NiJ9.secret.signature';
const NOBODY = { node: '', tap: '' };
const asIs = (text: string): string => text;
const socket = (address: string, port_value: number) => ({ socket_address: { address, port_value } });
const header = (key: string, value: string) => ({ key, value });
const raw = (key: string, value: string) => ({ key, raw_value: Buffer.from(value) });

const identifier = { node: { id: 'gateway-1', cluster: 'c' }, tap_id: 'billing' };
const request = {
  headers: [
    header(':authority', 'billing.example'),
    header(':path', `/customers/7?access_token=${TOKEN}`),
    header(':method', 'DELETE'),
    header('Authorization', `Bearer ${TOKEN}`),
    raw('x-raw', TOKEN),
  ],
  body: { as_string: TOKEN, truncated: true },
  headers_received_time: { seconds: 1_700_000_000, nanos: 7 },
};
const response = {
  headers: [raw(':status', '403'), header('x-sluice-session', 'ses_1'), header('set-cookie', TOKEN)],
  body: { as_bytes: Buffer.from(TOKEN) },
};
const connection = { local_address: socket('192.0.2.1', 443), remote_address: socket('2001:db8::7', 40_001) };
const buffered = bytesOf({
  identifier,
  trace_id: '18446744073709551615',
  trace: { http_buffered_trace: { request, response, downstream_connection: connection } },
});

const bodyOf = (trace: object, before = NOBODY, mask = asIs) => readTrace(bytesOf({ trace }), before, mask).events[0]?.body;

describe('a trace of Envoy’s tap', () => {
  it('of an exchange is read as Envoy means it, and nothing of values of headers, queries and bodies is kept', () => {
    const { tapped, events } = readTrace(buffered, NOBODY, asIs);
    expect(tapped).toEqual({ node: 'gateway-1', tap: 'billing' });
    expect(events).toEqual([
      {
        session: '',
        target: '',
        body: {
          kind: 'envoy_tap',
          tap: 'billing',
          node: 'gateway-1',
          trace: '18446744073709551615',
          form: 'http',
          piece: '',
          method: 'DELETE',
          authority: 'billing.example',
          path: '/customers/7',
          status: 403,
          requestHeaders: ['authorization', 'x-raw'],
          responseHeaders: ['x-sluice-session', 'set-cookie'],
          requestBytes: TOKEN.length,
          responseBytes: TOKEN.length,
          truncated: true,
          startUnixNanos: 1_700_000_000_000_000_007n,
          localAddress: '192.0.2.1:443',
          remoteAddress: '[2001:db8::7]:40001',
          session: 'ses_1',
        },
      },
    ]);
    expect(JSON.stringify(events, (_, value) => (typeof value === 'bigint' ? '' : value))).not.toContain(TOKEN);
  });

  it.each([
    [{ request_headers: { headers: request.headers } }, { piece: 'request headers', method: 'DELETE', path: '/customers/7' }],
    [{ request_body_chunk: { as_string: 'four' } }, { piece: 'request body', requestBytes: 4, responseBytes: 0 }],
    [{ request_trailers: { headers: [header('x', TOKEN)] } }, { piece: 'request trailers', requestHeaders: ['x'] }],
    [{ response_headers: { headers: response.headers } }, { piece: 'response headers', status: 403, session: 'ses_1' }],
    [
      { response_body_chunk: { as_bytes: Buffer.alloc(9), truncated: true } },
      { piece: 'response body', responseBytes: 9, truncated: true },
    ],
    [{ response_trailers: { headers: [header('grpc-status', '0')] } }, { piece: 'response trailers', responseHeaders: ['grpc-status'] }],
  ])('of a piece of an exchange is read: %j', (piece, said) => {
    const body = bodyOf({ http_streamed_trace_segment: { trace_id: '77', ...piece } }, { node: 'n', tap: 't' });
    expect(body).toMatchObject({ form: 'http-segment', trace: '77', node: 'n', tap: 't', ...said });
  });

  it('of a socket is read, whole and in pieces', () => {
    const events = [
      { timestamp: { seconds: 9 }, read: { data: { as_bytes: Buffer.alloc(5) } } },
      { timestamp: { seconds: 8 }, read: { data: { as_bytes: Buffer.alloc(6) } } },
      { timestamp: { seconds: 10 }, write: { data: { as_string: 'abc' }, end_stream: true } },
      { timestamp: { seconds: 11 }, closed: {} },
    ];
    expect(bodyOf({ socket_buffered_trace: { trace_id: '5', connection, events, write_truncated: true } })).toMatchObject({
      form: 'socket',
      trace: '5',
      requestBytes: 11,
      responseBytes: 3,
      truncated: true,
      startUnixNanos: 8_000_000_000n,
      localAddress: '192.0.2.1:443',
    });
    const piece = (of: object) => bodyOf({ socket_streamed_trace_segment: { trace_id: '5', ...of } });
    expect(piece({ connection })).toMatchObject({ form: 'socket-segment', piece: 'connection', remoteAddress: '[2001:db8::7]:40001' });
    expect(piece({ event: events[0] })).toMatchObject({ piece: 'read', requestBytes: 5 });
    expect(piece({ event: events[2] })).toMatchObject({ piece: 'write', responseBytes: 3 });
    expect(piece({ event: events[3] })).toMatchObject({ piece: 'closed', trace: '5' });
  });

  it('is masked in every text that others have a say in', () => {
    const told = { headers: [header(':path', '/SECRET'), header(':authority', 'SECRET'), header('x-SECRET', '')] };
    const answered = { headers: [header('x-sluice-session', 'SECRET')] };
    const trace = { http_buffered_trace: { request: told, response: answered } };
    const { events } = readTrace(bytesOf({ identifier: { node: { id: 'SECRET' }, tap_id: 'SECRET' }, trace }), NOBODY, (text) =>
      text.replaceAll(/secret/gi, '******'),
    );
    expect(events[0]?.body).toMatchObject({ path: '/******', requestHeaders: ['x-******'], form: 'http' });
    expect(events[0]?.body.session).toBe('******');
    expect(JSON.stringify({ ...events[0]?.body, startUnixNanos: '' })).not.toMatch(/secret/i);
  });

  it('keeps no secret that stands where no query is, and nothing that is no name', () => {
    const target = `http://user:hunter2@billing.example/reset/${TOKEN};token=hunter2/done;x#hunter2`;
    const told = [header(':path', target), header(':authority', 'user:hunter2@billing.example:8443'), header(':method', 'GET\u001b[2J')];
    const names = [header(`x-${TOKEN}`, ''), header('a b\u001b[2J', ''), header('', '')];
    const answered = { headers: [header('x-sluice-session', 'ses_1\u001b[2J')] };
    expect(bodyOf({ http_buffered_trace: { request: { headers: [...told, ...names] }, response: answered } })).toMatchObject({
      path: '/reset/(token)/done',
      authority: 'billing.example:8443',
      method: '',
      requestHeaders: ['x-(token)', '(no name)', '(no name)'],
      session: '',
    });
  });

  it('names so many headers and no more, and is refused when it is made of more pieces than Envoy ever sends', () => {
    const headers = Array.from({ length: 300 }, (_, i) => header(`x-${i}`, ''));
    expect(bodyOf({ http_buffered_trace: { request: { headers } } })?.requestHeaders).toEqual([
      ...headers.slice(0, 256).map(({ key }) => key),
      '…',
    ]);
    const empty = Buffer.alloc(2 * (MAX_FIELDS + 1));
    for (let i = 0; i < empty.length; i += 2) empty[i] = 0x0a;
    const inside = (tag: number, bytes: Buffer): Buffer => {
      const length = [(bytes.length & 0x7f) | 0x80, ((bytes.length >> 7) & 0x7f) | 0x80, bytes.length >> 14];
      return Buffer.concat([Buffer.from([tag, ...length]), bytes]);
    };
    expect(() => readTrace(inside(0x1a, inside(0x0a, inside(0x0a, empty))), NOBODY, asIs)).toThrow(/100000 fields/);
  });

  it('is none in a message that only says who speaks, and of a kind that is not known is refused', () => {
    expect(readTrace(bytesOf({ identifier }), NOBODY, asIs)).toEqual({ tapped: { node: 'gateway-1', tap: 'billing' }, events: [] });
    // Field 9 of the wrapper.
    expect(() => readTrace(Buffer.from([0x1a, 0x02, 0x4a, 0x00]), NOBODY, asIs)).toThrow(/kind that is not known/);
    expect(() => bodyOf({})).toThrow(WireError);
  });

  it('of any other bytes is refused, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), fc.nat(buffered.length), fc.nat(buffered.length), (bytes, from, to) => {
        try {
          readTrace(Buffer.concat([buffered.subarray(0, from), bytes, buffered.subarray(to)]), NOBODY, asIs);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
