import { describe, expect, test } from 'vitest';
import { HttpStream } from '../host/http_stream.ts';
import { type Headers, headerValue } from '../host/pairs.ts';
import { WasmHost } from '../host/wasm_host.ts';
import { CARD, Filter, names, request, response, SSN, send } from './http.fixture.ts';
import { ruleOf, vectors } from './mask.vectors.ts';

const problemOf = (stream: HttpStream): { type: string; status: number; reason?: string; session?: string } =>
  JSON.parse(stream.body.toString('utf8'));
const JSON_BODY = Buffer.from('[{"name":"Ann","ssn":"078-05-1120"},{"name":"Bob","ssn":"219-09-9999"}]');
const MASKED_BODY = '[{"name":"Ann","ssn":"***********"},{"name":"Bob","ssn":"***********"}]';

describe('requests', () => {
  test.each([
    ['no metadata', {}],
    ['no session', { target: 'orders', plan: '' }],
    ['no target', { session: 's', plan: '' }],
    ['an empty session', { session: '', target: 'orders', plan: '' }],
    ['a session that would break a header', { session: 'a\nb', target: 'orders', plan: '' }],
    ['a session that would break JSON', { session: 'a"b', target: 'orders', plan: '' }],
    ['a session past any length', { session: 'a'.repeat(129), target: 'orders', plan: '' }],
  ])('are refused as not judged: %s', (_, metadata) => {
    const { host, sink } = new Filter();
    const stream = HttpStream.open(host, { metadata }).requestHeaders(request());
    expect(stream.status).toBe(503);
    expect(problemOf(stream)).toMatchObject({ type: 'urn:sluice:problem:not-judged', status: 503 });
    expect(headerValue(stream.downstream.headers ?? [], 'content-type')).toBe('application/problem+json');
    expect(stream.upstream.headers).toBeUndefined();
    sink.deliver();
    expect(sink.events).toEqual([]);
    expect(host.metrics.get('sluice_http_refused')).toBe(1);
  });

  test('for a tunnel are refused as such', () => {
    const stream = HttpStream.open(new Filter().host, { metadata: {} }).requestHeaders(request('CONNECT'));
    expect([stream.status, problemOf(stream).type]).toEqual([501, 'urn:sluice:problem:no-tunnel']);
    expect(stream.upstream.headers).toBeUndefined();
  });

  test.each([
    ['missing', undefined],
    ['not base64', '???'],
    ['base64 with bits left over', 'CgB='],
    ['base64 without padding', 'CgA'],
    ['not protobuf', Buffer.from([0xff]).toString('base64')],
    ['an unknown field', Buffer.from([0x7a, 0x00]).toString('base64')],
    ['a rule without a selector', Buffer.from([0x0a, 0x02, 0x28, 0x01]).toString('base64')],
  ])('are refused when the plan is %s, and the record says so', (_, plan) => {
    const { host, sink } = new Filter();
    const stream = HttpStream.open(host, {
      metadata: { session: 's', target: 'orders', ...(plan !== undefined && { plan }) },
    }).requestHeaders(request());
    expect(stream.status).toBe(503);
    expect(problemOf(stream)).toMatchObject({ type: 'urn:sluice:problem:plan-unreadable', session: 's' });
    expect(stream.upstream.headers).toBeUndefined();
    sink.deliver();
    expect(sink.finished('s')).toMatchObject({ outcome: 'replaced', status: 503 });
    expect(sink.closed('s')).toBe('failed');
    expect(sink.of('s').some((event) => event.request_forwarded)).toBe(false);
  });

  test.each([
    ['with a plan', [CARD]],
    ['without one', []],
  ])('lose their trailers, which came after the judgement: %s', (_, rules) => {
    const stream = new Filter().open(rules).requestHeaders(request('POST'), false).requestBody(Buffer.from('{}'));
    stream.requestTrailers([
      ['x-http-method', 'DELETE'],
      ['authorization', 'Bearer other'],
    ]);
    expect([stream.upstream.body.join(''), stream.upstream.trailers]).toEqual(['{}', []]);
  });

  test('lose every x-sluice- header, and nothing else when nothing is masked', () => {
    const sent: Headers = [
      ['x-sluice-session', 'forged'],
      ['accept-encoding', 'gzip'],
      ['range', 'bytes=0-1'],
      ['x-sluicer', 'kept'],
      ['cookie', 'a=1'],
    ];
    const stream = new Filter().open().requestHeaders(request('GET', sent));
    expect(stream.upstream.headers).toEqual(
      request('GET', [
        ['accept-encoding', 'gzip'],
        ['range', 'bytes=0-1'],
        ['x-sluicer', 'kept'],
        ['cookie', 'a=1'],
      ]),
    );
  });

  test('ask for the whole, plain representation when the response is masked', () => {
    const asked: Headers = [
      ['accept-encoding', 'gzip, br'],
      ['range', 'bytes=0-1'],
      ['if-range', '"x"'],
      ['te', 'trailers'],
      ['a-im', 'vcdiff'],
      ['want-digest', 'sha-256'],
      ['want-repr-digest', 'sha-256=1'],
      ['want-content-digest', 'sha-256=1'],
      ['if-none-match', '"x"'],
      ['if-modified-since', 'Mon, 23 Nov 2026 00:00:00 GMT'],
    ];
    for (const method of ['GET', 'HEAD']) {
      const stream = new Filter().open([SSN]).requestHeaders(request(method, [...asked, ['accept', '*/*']]));
      expect(stream.upstream.headers).toEqual(
        request(method, [
          ['accept', '*/*'],
          ['accept-encoding', 'identity'],
        ]),
      );
    }
  });

  test('keep the preconditions that guard a write', () => {
    const guards: Headers = [
      ['if-match', '"x"'],
      ['if-none-match', '*'],
      ['if-unmodified-since', 'Mon, 23 Nov 2026 00:00:00 GMT'],
    ];
    const stream = new Filter().open([SSN]).requestHeaders(request('PUT', guards));
    expect(stream.upstream.headers).toEqual(request('PUT', [...guards, ['accept-encoding', 'identity']]));
  });

  test.each([
    ['GET', [['upgrade', 'websocket']] as Headers],
    ['CONNECT', [] as Headers],
  ])('that change the protocol (%s) are refused when the response must be masked', (method, more) => {
    const filter = new Filter();
    expect(filter.open([SSN]).requestHeaders(request(method, more)).status).toBe(501);
    expect(filter.open().requestHeaders(request(method, more)).upstream.headers).toBeDefined();
  });

  test('are counted in bytes', () => {
    const filter = new Filter();
    const stream = filter.open([], 's').requestHeaders(request('POST'), false);
    stream
      .requestBody(Buffer.alloc(1000))
      .requestBody(Buffer.alloc(24), true)
      .responseHeaders(response(undefined, [], 204), true);
    filter.sink.deliver();
    expect(stream.upstream.body.map((b) => b.length)).toEqual([1000, 24]);
    expect(filter.sink.finished('s')).toMatchObject({ request_bytes: 1024, status: 204, outcome: 'complete' });
  });
});

describe('responses without rules', () => {
  test('pass as they are, with the session and without the x-sluice- headers of the target', () => {
    const filter = new Filter();
    const stream = filter.open([], 'ses-x').requestHeaders(request());
    stream.responseHeaders(
      response('image/png', [
        ['etag', '"x"'],
        ['content-length', '6'],
        ['x-sluice-session', 'forged'],
        ['x-sluice-a', '1'],
        ['content-encoding', 'br'],
      ]),
    );
    expect(stream.downstream.headers).toEqual(
      response('image/png', [
        ['etag', '"x"'],
        ['content-length', '6'],
        ['content-encoding', 'br'],
        ['x-sluice-session', 'ses-x'],
      ]),
    );
    stream.responseBody(Buffer.from('abc')).responseBody(Buffer.from('def'), true);
    expect(stream.body.toString()).toBe('abcdef');
    filter.sink.deliver();
    expect(filter.sink.finished('ses-x')).toMatchObject({ outcome: 'complete', status: 200, response_bytes: 6 });
    expect(filter.sink.closed('ses-x')).toBe('complete');
    expect(filter.sink.of('ses-x').map((event) => event.target)).toEqual(['orders', 'orders', 'orders']);
  });

  test('of other parts of Envoy to a request that never came here pass without a word', () => {
    const filter = new Filter();
    const stream = HttpStream.open(filter.host);
    filter.host.call(stream.id, 'proxy_on_log', stream.id);
    stream.responseHeaders(response('text/plain', [], 403)).responseBody(Buffer.from('denied'), true);
    expect(stream.body.toString()).toBe('denied');
    filter.sink.deliver();
    expect(filter.sink.events).toEqual([]);
  });
});

describe('masking', () => {
  test('every vector of the core comes out of the filter as it does of the core, whole and in small pieces', () => {
    const filter = new Filter();
    for (const { name, rules, maxTokenBytes, contentType, input, expected } of vectors()) {
      for (const size of new Set([1, 2, 7, Math.max(1, input.length)])) {
        const stream = filter.open(rules, undefined, maxTokenBytes).requestHeaders(request());
        stream.responseHeaders(response(contentType));
        send(stream, input, size);
        if ('output' in expected)
          expect({ body: stream.body.toString('latin1'), ended: stream.downstream.ended }, `${name}, ${size}`).toEqual({
            body: expected.output.toString('latin1'),
            ended: true,
          });
        else expect(stream.status === 502 || stream.downstream.reset, `${name}, ${size}`).toBe(true);
        expect(stream.leftBehind, name).toBe(0);
      }
      filter.sink.deliver();
    }
  });

  test('leaves as it becomes safe: headers with the first safe bytes, then each chunk', () => {
    for (let size = 1; size <= JSON_BODY.length; size++) {
      const stream = new Filter().open([SSN]).requestHeaders(request()).responseHeaders(response('application/json'));
      expect(stream.downstream.headers).toBeUndefined();
      stream.responseBody(JSON_BODY.subarray(0, size));
      expect(MASKED_BODY.startsWith(stream.body.toString())).toBe(true);
      stream.responseBody(JSON_BODY.subarray(size), false).responseBody(Buffer.alloc(0), true);
      expect(stream.body.toString()).toBe(MASKED_BODY);
      expect(stream.downstream.ended).toBe(true);
    }
    const stream = new Filter().open([SSN]).requestHeaders(request()).responseHeaders(response('application/json'));
    stream.responseBody(JSON_BODY.subarray(0, 37));
    expect(stream.body.length).toBeGreaterThan(30);
  });

  test('counts per rule, and only rules that masked something', () => {
    const filter = new Filter();
    const stream = filter
      .open([SSN, ruleOf({ path: 'nothing' })], 's')
      .requestHeaders(request())
      .responseHeaders(response('application/json'));
    filter.host.advance(7);
    send(stream, JSON_BODY, 10);
    filter.sink.deliver();
    expect(filter.sink.finished('s')).toMatchObject({
      outcome: 'complete',
      masked: [{ rule: SSN.id, count: 2 }],
      response_bytes: MASKED_BODY.length,
      duration_micros: 7000,
      first_byte_micros: 7000,
    });
    expect(filter.host.metrics.get('sluice_http_masked_values')).toBe(2);
  });

  test('removes what describes the unmasked bytes, and forbids to store the response', () => {
    const about =
      'content-length etag last-modified content-md5 digest content-digest repr-digest signature signature-input accept-ranges cache-control expires age pragma surrogate-control cdn-cache-control';
    const headers = about.split(' ').map((name) => [name, '1'] as [string, string]);
    for (const end of [false, true]) {
      const stream = new Filter()
        .open([SSN], 's')
        .requestHeaders(request('HEAD'))
        .responseHeaders(response('application/json', [...headers, ['x-kept', '1']]), end);
      if (!end) stream.responseBody(Buffer.alloc(0), true);
      expect(stream.downstream.headers).toEqual(
        response('application/json', [
          ['x-kept', '1'],
          ['cache-control', 'private, no-store'],
          ['x-sluice-session', 's'],
        ]),
      );
    }
  });

  test('masks what detectors find in header values, each of several', () => {
    const filter = new Filter();
    const stream = filter.open([CARD], 's').requestHeaders(request());
    stream.responseHeaders(
      response(
        'application/json',
        [
          ['location', '/pay?card=4111111111111111'],
          ['set-cookie', 'a=1'],
          ['set-cookie', 'c=4111 1111 1111 1111; Path=/'],
          ['date', 'Mon, 23 Nov 2026 00:00:00 GMT'],
        ],
        302,
      ),
      true,
    );
    expect(stream.downstream.headers?.filter(([name]) => name === 'set-cookie')).toEqual([
      ['set-cookie', 'a=1'],
      ['set-cookie', 'c=*******************; Path=/'],
    ]);
    expect(headerValue(stream.downstream.headers ?? [], 'location')).toBe('/pay?card=****************');
    filter.sink.deliver();
    expect(filter.sink.finished('s').masked).toEqual([{ rule: CARD.id, count: 2 }]);
  });

  test('a header whose name is a secret is left out, and counted', () => {
    const filter = new Filter();
    const stream = filter.open([CARD], 's').requestHeaders(request());
    stream.responseHeaders(
      response('text/plain', [
        ['x-4111111111111111', 'kept by nobody'],
        ['x-%34%31%31%31111111111111', '1'],
        ['x-4111111111111112', 'no card'],
      ]),
    );
    stream.responseBody(Buffer.from('ok\n')).responseTrailers([
      ['x-4111-1111-1111-1111', '1'],
      ['x-note', 'ok'],
    ]);
    expect(names(stream.downstream.headers).filter((name) => name.startsWith('x-'))).toEqual(['x-4111111111111112', 'x-sluice-session']);
    expect(stream.downstream.trailers).toEqual([['x-note', 'ok']]);
    filter.sink.deliver();
    expect(filter.sink.finished('s').masked).toEqual([{ rule: CARD.id, count: 3 }]);
  });

  test.each(['vary', 'date', 'allow', 'alt-svc', 'server', 'strict-transport-security'])(
    '%s is left out when a detector finds something',
    (name) => {
      const open = (value: string) =>
        new Filter()
          .open([CARD])
          .requestHeaders(request())
          .responseHeaders(response('text/plain', [[name, value]]), true);
      expect(names(open('a 4111 1111 1111 1111').downstream.headers)).not.toContain(name);
      expect(headerValue(open('a 4111 1111 1111 1112').downstream.headers ?? [], name)).toBe('a 4111 1111 1111 1112');
    },
  );

  test.each([
    'application/json; card=4111111111111111',
    'application/4111-1111-1111-1111+json',
    'text/plain; charset="4%3111111111111111"',
  ])('a content type that says what is to be masked is refused: %s', (type) => {
    const stream = new Filter().open([CARD]).requestHeaders(request()).responseHeaders(response(type), true);
    expect([stream.status, JSON.stringify(stream.downstream.headers).includes('4111')]).toEqual([502, false]);
  });

  test('lets the headers of an event stream go at once', () => {
    const stream = new Filter().open([SSN]).requestHeaders(request()).responseHeaders(response('Text/Event-Stream'));
    expect(stream.downstream.headers).toBeDefined();
    stream.responseBody(Buffer.from('data: {"ssn":"078-05-1120"}\n\n'));
    expect(stream.body.toString()).toBe('data: {"ssn":"***********"}\n\n');
  });

  test.each([204, 304, 200])('has nothing to do with a body that is not there (%d)', (status) => {
    const stream = new Filter()
      .open([SSN])
      .requestHeaders(request())
      .responseHeaders(response(undefined, [], status), true);
    expect(stream.status).toBe(status);
    expect(stream.downstream.ended).toBe(true);
  });

  test('trailers: digests go, values are masked, and text that was held back still comes', () => {
    const stream = new Filter().open([CARD]).requestHeaders(request()).responseHeaders(response('text/plain'));
    stream.responseBody(Buffer.from('4111 1111 11')).responseBody(Buffer.from('11 1111'));
    stream.responseTrailers([
      ['digest', 'x'],
      ['x-card', '4111111111111111'],
      ['x-note', 'ok'],
    ]);
    expect(stream.body.toString()).toBe('*******************');
    expect(stream.downstream.trailers).toEqual([
      ['x-card', '****************'],
      ['x-note', 'ok'],
    ]);
    expect(stream.downstream.ended).toBe(true);
  });

  test('trailers after text of which a part has left and a part is held back: cut, for no callback could add the rest', () => {
    const filter = new Filter();
    const stream = filter.open([CARD], 's').requestHeaders(request()).responseHeaders(response('text/plain'));
    stream.responseBody(Buffer.from(`${'a line\n'.repeat(100)}4111 1111 11`)).responseTrailers([]);
    expect(stream.downstream.reset).toBe(true);
    expect(stream.body.toString()).not.toContain('4111');
    filter.sink.deliver();
    expect(filter.sink.finished('s').outcome).toBe('cut');
  });
});

describe('what cannot be masked', () => {
  test.each<[string, Headers, string]>([
    ['another type', response('application/octet-stream'), 'content type'],
    ['no type', response(undefined), 'content type'],
    ['gRPC', response('application/grpc'), 'content type'],
    ['two types', [...response('application/json'), ['content-type', 'text/plain']], 'several content types'],
    ['a charset it does not read', response('application/json; charset=utf-16'), 'content type'],
    ['compression', response('application/json', [['content-encoding', 'br']]), 'content coding'],
    [
      'stacked compression',
      response('application/json', [
        ['content-encoding', 'identity'],
        ['content-encoding', 'gzip'],
      ]),
      'content coding',
    ],
    ['a part', response('application/json', [], 206), 'partial'],
    ['a part that says so in a header', response('application/json', [['content-range', 'bytes 0-1/2']]), 'partial'],
    ['parts', response('multipart/byteranges; boundary=x'), 'content type'],
    ['an upgrade', response('application/json', [], 101), 'upgrades'],
  ])('%s is replaced by 502, and not a byte of it passes', (_, headers, reason) => {
    const filter = new Filter();
    const stream = filter
      .open([SSN], 's')
      .requestHeaders(request())
      .responseHeaders([...headers, ['x-data', 'target']]);
    send(stream, JSON_BODY, 8);
    expect(stream.status).toBe(502);
    expect(problemOf(stream)).toMatchObject({
      type: 'urn:sluice:problem:response-unmaskable',
      session: 's',
      reason: expect.stringContaining(reason) as string,
    });
    expect(names(stream.downstream.headers)).not.toContain('x-data');
    expect(stream.localReply?.details).toBe('sluice_response_unmaskable');
    filter.sink.deliver();
    expect(filter.sink.finished('s')).toMatchObject({ outcome: 'replaced', status: 502, reason: problemOf(stream).reason });
    expect(filter.sink.closed('s')).toBe('failed');
    expect(filter.host.metrics.get('sluice_http_replaced')).toBe(1);
  });

  test('a type that one rule cannot be applied to is replaced, though another could', () => {
    const stream = new Filter().open([CARD, SSN]).requestHeaders(request()).responseHeaders(response('text/plain'));
    expect(stream.status).toBe(502);
  });

  const BROKEN = Buffer.from('[{"name":"Ann","ssn":"078-05-1120"},{"name":"Bob" "ssn":"219-09-9999"}]');

  test('a body that breaks is replaced if nothing has left, else cut, and only masked bytes that came before it have left', () => {
    for (let size = 1; size <= BROKEN.length; size++) {
      const filter = new Filter();
      const stream = filter.open([SSN], 's').requestHeaders(request()).responseHeaders(response('application/json'));
      send(stream, BROKEN, size);
      filter.sink.deliver();
      const { outcome, reason } = filter.sink.finished('s');
      expect(reason).toBe('the body is not well formed in its content type');
      expect(stream.leftBehind).toBe(0);
      expect(stream.body.includes('078-05')).toBe(false);
      if (outcome === 'replaced') expect(stream.status).toBe(502);
      else {
        expect(outcome).toBe('cut');
        expect(stream.downstream).toMatchObject({ reset: true, ended: false });
        expect(MASKED_BODY.replace('"Bob",', '"Bob" ').startsWith(stream.body.toString())).toBe(true);
      }
      expect(filter.host.metrics.get('sluice_http_cut')).toBe(outcome === 'cut' ? 1 : 0);
    }
  });

  test('a body that ends too early is not ended cleanly', () => {
    const filter = new Filter();
    const stream = filter.open([SSN], 's').requestHeaders(request()).responseHeaders(response('application/json'));
    stream.responseBody(Buffer.from('[{"a":1}')).responseBody(Buffer.alloc(0), true);
    expect(stream.downstream).toMatchObject({ reset: true, ended: false });
    for (const body of ['[{"a":1}', '[{"ssn":"078-05']) {
      const trailed = filter.open([SSN]).requestHeaders(request()).responseHeaders(response('application/json'));
      trailed.responseBody(Buffer.from(body)).responseTrailers([['x', '1']]);
      expect(trailed.downstream.ended && trailed.status === 200).toBe(false);
      expect(trailed.downstream.trailers).toBeUndefined();
    }
    const short = filter.open([SSN], 't').requestHeaders(request()).responseHeaders(response('application/json'));
    short.responseTrailers([]);
    expect(short.status).toBe(200);
    expect(short.downstream.ended).toBe(true);
  });

  test.each(['image/png', 'application/json'])('after a replacement (%s), whatever still comes is dropped', (type) => {
    const stream = new Filter().open([SSN], 's', 0, true).requestHeaders(request()).responseHeaders(response(type));
    stream.responseBody(Buffer.from('!')).responseBody(JSON_BODY).responseBody(JSON_BODY, true).finish();
    expect(stream.status).toBe(502);
    expect(stream.leftBehind).toBe(0);
    expect(problemOf(stream).status).toBe(502);
  });

  test('after a cut, whatever still comes is dropped', () => {
    const stream = new Filter().open([SSN], 's', 0, true).requestHeaders(request()).responseHeaders(response('application/json'));
    stream
      .responseBody(JSON_BODY.subarray(0, 12))
      .responseBody(Buffer.from('\x01'))
      .responseBody(JSON_BODY)
      .responseBody(JSON_BODY, true)
      .finish();
    expect(stream.downstream).toMatchObject({ reset: true, ended: false });
    expect(stream.leftBehind).toBe(0);
    expect(MASKED_BODY.startsWith(stream.body.toString())).toBe(true);
  });
});

describe('ends', () => {
  test.each<[string, string, string]>([
    ['the client goes away', 'downstream_remote_disconnect', 'cancelled'],
    ['the client resets its HTTP/2 stream', 'http2.remote_reset', 'cancelled'],
    ['the target goes away', 'upstream_reset_after_response_started{connection_termination}', 'failed'],
  ])('%s: reset, %s', (_, details, closed) => {
    const filter = new Filter();
    const stream = filter.open([SSN], 's').requestHeaders(request()).responseHeaders(response('application/json'));
    stream.responseBody(JSON_BODY.subarray(0, 40)).reset(details);
    filter.sink.deliver();
    expect(filter.sink.finished('s')).toMatchObject({ outcome: 'reset', status: 200, reason: details });
    expect(filter.sink.closed('s')).toBe(closed);
  });

  test('before a response: reset, with status 0', () => {
    const filter = new Filter();
    filter.open([SSN], 's').requestHeaders(request()).reset('downstream_remote_disconnect');
    filter.sink.deliver();
    expect(filter.sink.finished('s')).toMatchObject({ outcome: 'reset' });
    expect(filter.sink.finished('s').status).toBeUndefined();
  });

  test("Envoy's own answer about the target is masked like the target's, and recorded as its failure", () => {
    const filter = new Filter();
    const stream = filter.open([CARD], 's').requestHeaders(request()).envoyReply(503, 'no healthy upstream', 'no_healthy_upstream');
    expect(stream.body.toString()).toBe('no healthy upstream');
    filter.sink.deliver();
    expect(filter.sink.finished('s')).toMatchObject({ outcome: 'complete', status: 503, reason: 'no_healthy_upstream' });
    expect(filter.sink.closed('s')).toBe('failed');
  });

  test('a response before the end of the request, and two exchanges at a time, do not mix', () => {
    const filter = new Filter();
    const a = filter.open([SSN], 'a').requestHeaders(request('POST'), false);
    const b = filter.open([], 'b').requestHeaders(request());
    a.responseHeaders(response('application/json'));
    b.responseHeaders(response('application/json'));
    b.responseBody(JSON_BODY, true);
    a.responseBody(JSON_BODY.subarray(0, 30)).responseBody(JSON_BODY.subarray(30), true);
    expect([a.body.toString(), b.body.toString()]).toEqual([MASKED_BODY, JSON_BODY.toString()]);
  });
});

describe('configuration', () => {
  const wasm = new URL('../../build/sluice-http.wasm', import.meta.url).pathname;
  const accepts = (configuration: string): boolean => new WasmHost({ wasm, configuration }).configured;

  test.each([
    '{"tap_cluster":"t"}',
    ' { "tap_cluster" : "t" , "tap_require" : false , "queue_bytes" : 16384 } ',
    '{"queue_bytes":1073741824,"tap_cluster":"a_long.name-1"}',
  ])('takes %s', (text) => expect(accepts(text)).toBe(true));

  test.each([
    '',
    '{}',
    'null',
    '[]',
    '{"tap_cluster":""}',
    '{"tap_cluster":"t",}',
    '{"tap_cluster":"t"}x',
    '{"tap_cluster":"t"',
    '{"tap_cluster":"t\\n"}',
    '{"tap_cluster":1}',
    '{"tap_cluster":"t","unknown":1}',
    '{"tap_cluster":"t","tap_require":"true"}',
    '{"tap_cluster":"t","tap_require":1}',
    '{"tap_cluster":"t","queue_bytes":16383}',
    '{"tap_cluster":"t","queue_bytes":1073741825}',
    '{"tap_cluster":"t","queue_bytes":-1}',
    '{"tap_cluster":"t","queue_bytes":99999999999}',
    '{"tap_cluster":"t","queue_bytes":016384}',
    `{"tap_cluster":"${'t'.repeat(101)}"}`,
  ])('refuses %s', (text) => expect(accepts(text)).toBe(false));
});
