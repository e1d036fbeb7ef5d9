import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runs } from '../../test/fuzz/runs.ts';
import { fingerprintOf, type RawRequest, rawRequest, typedRequest, UnclearRequestError } from './http_request.ts';

const raw = (over: Partial<RawRequest> & { header?: Record<string, string[]> } = {}): RawRequest => ({
  method: 'GET',
  host: 'orders',
  path: '/customers/7',
  body: new Uint8Array(),
  headers: new Map(Object.entries(over.header ?? {})),
  ...over,
});
const json = (text: string): RawRequest =>
  raw({ method: 'POST', body: Buffer.from(text), header: { 'content-type': ['application/json; charset=utf-8'] } });
const status = (request: RawRequest): number => {
  try {
    typedRequest(request);
    return 200;
  } catch (error) {
    if (error instanceof UnclearRequestError) return error.status;
    throw error;
  }
};

describe('what policy sees is what the target gets', () => {
  test('path, segments and query', () => {
    const { path, segments, query } = typedRequest(raw({ path: '/a%20b/c?x=1&x=%C3%A9&y=a+b&z' }));
    expect({ path, segments, query: { ...query } }).toEqual({
      path: '/a%20b/c',
      segments: ['a b', 'c'],
      query: { x: ['1', 'é'], y: ['a b'], z: [''] },
    });
  });

  test.each(['/a%2fb', '/a%5Cb', '/a/%2e%2e/b', '/a%00', '/a%0a', '/%c3', 'a'])('the path %s is refused', (path) => {
    expect(status(raw({ path }))).toBe(400);
  });

  test('a header without a name is refused, and said to be', () => {
    const headers = [{ key: 'accept', value: '*/*' }, { key: '', value: 'x' }, {} as { key: string }];
    for (const header of headers.slice(1)) {
      const request = { attributes: { request: { http: { method: 'GET', path: '/a', header_map: { headers: [headers[0], header] } } } } };
      expect(() => rawRequest(request as never)).toThrow(
        new UnclearRequestError(503, 'Envoy told of a header without a name, which no rule could see'),
      );
    }
  });

  test.each(['x-http-method-override', 'x-http-method', 'x-method-override', 'x-original-url', 'x-rewrite-url'])(
    '%s is refused',
    (name) => {
      expect(status(raw({ header: { [name]: ['DELETE'] } }))).toBe(400);
    },
  );

  test('a method in the query or the form is refused', () => {
    expect(status(raw({ path: '/a?_method=DELETE' }))).toBe(400);
    expect(status(raw({ path: '/a?%5fmethod=DELETE' }))).toBe(400);
    expect(
      status(
        raw({ method: 'POST', body: Buffer.from('_method=DELETE'), header: { 'content-type': ['application/x-www-form-urlencoded'] } }),
      ),
    ).toBe(400);
  });

  test.each(['.method=DELETE', '+_method=DELETE', '_method[]=DELETE', '_method%00x=DELETE', 'a=b;_method=DELETE'])(
    '%s is a method too',
    (fields) => {
      expect(status(raw({ path: `/a?${fields}` }))).toBe(400);
    },
  );
  test.each(['method=x', 'payment_method=x', 'a=_method', 'a=b;c=_method'])('%s is none', (fields) => {
    expect(status(raw({ path: `/a?${fields}` }))).toBe(200);
  });
  test.each(['utf-7', 'utf-16', '"ibm037"', 'utf-8; charset=utf-7'])('JSON in %s is refused', (charset) => {
    expect(status(raw({ body: Buffer.from('{}'), header: { 'content-type': [`application/json; charset=${charset}`] } }))).toBe(415);
  });

  test.each(['authorization', 'content-type', 'content-length', 'host'])('%s given twice is refused', (name) => {
    expect(status(raw({ header: { [name]: ['a', 'b'] } }))).toBe(400);
  });

  test('two hosts are refused', () => expect(status(raw({ host: 'a,b' }))).toBe(400));
  test.each(['get', 'GET ', '', 'M-SEARCH'])('the method %j is refused', (method) => expect(status(raw({ method }))).toBe(400));

  test.each(['text/plain,application/json', 'text/plain, text/plain', 'json', 'a/b;c', 'a/b; c=d,e/f'])(
    'the content type %s is refused',
    (type) => {
      expect(status(raw({ header: { 'content-type': [type] } }))).toBe(400);
    },
  );
  test.each(['application/json', 'Application/JSON; charset="utf-8" ; x=y', 'text/plain;'])('the content type %s is understood', (type) => {
    expect(status(raw({ header: { 'content-type': [type] } }))).toBe(200);
  });

  test('credentials are not shown', () => {
    expect(typedRequest(raw({ header: { authorization: ['Bearer t'], cookie: ['s=1'], accept: ['a', 'b'] } })).headers).toEqual({
      accept: ['a', 'b'],
    });
  });

  test('a member called __proto__ is only a name', () => {
    expect(Object.keys(typedRequest(raw({ path: '/?__proto__=1' })).query)).toEqual(['__proto__']);
  });
});

describe('bodies', () => {
  test('JSON is parsed', () =>
    expect(typedRequest(json('{"a":[1,{"b":"}{"}],"c":-0.5}')).body.json).toEqual({ a: [1, { b: '}{' }], c: -0.5 }));
  test.each([
    '{',
    '{"a":1}x',
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '[{"x":{"y":1,"y":2}}]',
    '12345678901234567890',
    '1e999',
    '['.repeat(300) + ']'.repeat(300),
    '\ufeff{}',
  ])('%s is refused', (text) => expect(status(json(text))).toBe(400));
  test('invalid UTF-8 is refused', () => expect(status({ ...json(''), body: Buffer.from([0x22, 0xff, 0x22]) })).toBe(400));
  test('the same name in two objects is fine', () => expect(status(json('[{"a":1},{"a":2},{"b":{"a":1},"a":"\\"a\\":"}]'))).toBe(200));
  test('compressed ones are refused', () =>
    expect(status(raw({ body: Buffer.from('x'), header: { 'content-encoding': ['gzip'] } }))).toBe(415));
  test('partial ones are refused', () =>
    expect(status(raw({ body: Buffer.from('x'), header: { 'x-envoy-auth-partial-body': ['true'] } }))).toBe(413));
  test('one that Envoy did not hand over is refused', () => {
    expect(status(raw({ header: { 'content-length': ['9'] } }))).toBe(503);
    expect(status(raw({ header: { 'transfer-encoding': ['chunked'] } }))).toBe(503);
  });

  test('whatever comes, it is a request or a refusal', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.uint8Array({ maxLength: 64 }),
        fc.constantFrom('application/json', 'application/x-www-form-urlencoded', 'text/plain'),
        (path, body, type) => {
          expect([200, 400]).toContain(status(raw({ path: `/${path}`, body, header: { 'content-type': [type] } })));
        },
      ),
      { numRuns: runs(10_000) },
    );
  });
});

test('the fingerprint tells requests apart by everything that a target acts on', () => {
  const of = (request: RawRequest, identity = 'a:1'): string => fingerprintOf('t', identity, request, typedRequest(request));
  const all = [
    of(raw()),
    of(raw(), 'a:2'),
    of(raw({ method: 'DELETE' })),
    of(raw({ path: '/customers/8' })),
    of(raw({ path: '/customers/7?x=1' })),
    of(raw({ host: 'other' })),
    of(raw({ body: Buffer.from('x') })),
    of(raw({ header: { 'content-type': ['text/plain'] } })),
    of(raw({ header: { 'x-account': ['2'] } })),
    of(raw({ header: { cookie: ['account=2'] } })),
  ];
  expect(new Set(all).size).toBe(all.length);
  expect(of(raw())).toBe(of(raw({ header: { 'user-agent': ['x'], prefer: ['wait=1'] } })));
});
