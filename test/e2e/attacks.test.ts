/** What an attacker tries, as a regression suite: past the judging, past the masking, past the approvals, into the doors. */
import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { encodeEmitRequest, encodeEvent } from '../../authz-service/tap/event.ts';
import { closedBody, type TapBody } from '../../authz-service/tap/schema.ts';
import { listening } from './envoy_gateway.fixture.ts';
import { type Reply, SECRETS, Sluice } from './sluice.fixture.ts';

const [SSN = '', CARD = '', EMAIL = ''] = SECRETS;
const JSON_BODY = JSON.stringify({ id: 1, note: `card ${CARD}, ssn ${SSN}, mail ${EMAIL}` });

interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: (Buffer | string)[];
  readonly trailers?: Record<string, string>;
}
/** What the target answers under /customers/planted. */
let planted: Answer = {};
/** What the target at raw.test answers, byte by byte, to each request. */
let rawAnswer: string | Buffer = '';
/** How the target at h2.test, over HTTP/2, answers. */
let http2Answer: (stream: ServerHttp2Stream) => void = (stream) => stream.close();
const rawTarget = createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    if (!/^[A-Z]+ /.test(chunk.toString('latin1'))) return;
    socket.write(rawAnswer);
    // A response without a length ends with the connection.
    if (!/content-length|chunked/i.test(rawAnswer.toString('latin1'))) socket.end();
  });
});
const http2Target = createHttp2Server();
let sluice: Sluice;
beforeAll(async () => {
  http2Target.on('stream', (stream, headers) => {
    sluice.seen.push({ method: String(headers[':method']), url: String(headers[':path']), headers });
    stream.on('error', () => {});
    http2Answer(stream);
  });
  const [{ port: rawPort }, { port: http2Port }] = await Promise.all([listening(rawTarget), listening(http2Target)]);
  sluice = await Sluice.start(
    (document, dir) => {
      const [target] = document.targets;
      document.targets.push(
        { ...target, name: 'raw', hosts: ['raw.test'], url: `http://127.0.0.1:${rawPort}` },
        { ...target, name: 'h2', hosts: ['h2.test'], url: `http://127.0.0.1:${http2Port}`, http_version: '2' },
      );
      // The demo's grants, for every target; with terms of their own for two paths.
      const { demo } = parse(readFileSync(document.policy.data, 'utf8')).targets;
      const approvals = [
        { approvers: ['group:leads', 'group:audit'], quorum: 2, ttl: '15m', paths: ['/tickets/*'] },
        { approvers: ['group:leads'], ttl: '1s', paths: ['/customers/*'] },
        ...demo.approvals,
      ];
      document.policy.data = join(dir, 'grants.yaml');
      writeFileSync(document.policy.data, stringify({ targets: { '*': { ...demo, approvals } } }));
    },
    (request, response) => {
      if (request.method === 'POST' && /^\/orders\/\d+\/refund/.test(request.url ?? '')) {
        request.resume().on('end', () => response.end());
        return true;
      }
      if (!request.url?.startsWith('/customers/planted')) return false;
      const { status = 200, headers = {}, body = [], trailers } = planted;
      response.writeHead(status, trailers ? { ...headers, trailer: Object.keys(trailers).join(',') } : headers);
      void (async () => {
        for (const chunk of body) {
          response.write(chunk);
          await sleep(5);
        }
        if (trailers) response.addTrailers(trailers);
        response.end();
      })();
      return true;
    },
  );
});
afterAll(async () => {
  await sluice?.close();
  rawTarget.close();
  http2Target.close();
});
beforeEach(() => {
  sluice.seen.length = 0;
});

/** The secrets in a text, however they are written: with NULs between, escaped (again), full width, without separators. */
function exposed(text: string): string[] {
  const codePoint = (radix: number) => (_: string, digits: string) => String.fromCharCode(Number.parseInt(digits, radix));
  let plain = text;
  for (let layer = 0; layer < 3; layer++) {
    plain = plain
      .replaceAll(/\\+u([0-9a-f]{4})/gi, codePoint(16))
      .replaceAll(/%([0-9a-f]{2})/gi, codePoint(16))
      .replaceAll('&amp;', '&')
      .replaceAll(/&#x0*([0-9a-f]{1,4});/gi, codePoint(16))
      .replaceAll(/&#0*(\d{1,4});/g, codePoint(10));
  }
  plain = plain.replaceAll('&nbsp;', ' ').replaceAll('\0', '').normalize('NFKC').toLowerCase();
  const dense = plain.replaceAll(/[\s+-]/g, '');
  return SECRETS.filter((secret) => plain.includes(secret) || dense.includes(secret.replaceAll('-', '')));
}

/** Sends bytes as they are; what came back until the peer was silent or closed. */
const raw = (bytes: string | Buffer, quietMs = 400): Promise<string> =>
  new Promise((resolve) => {
    let got = '';
    const socket = connect(sluice.port, '127.0.0.1', () => socket.write(bytes));
    const end = (): void => {
      socket.destroy();
      resolve(got);
    };
    let timer = setTimeout(end, 5_000);
    socket.on('error', end).on('close', end);
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
      clearTimeout(timer);
      timer = setTimeout(end, quietMs);
    });
  });

interface Http2Reply {
  readonly status: number;
  readonly text: string;
  /** Everything that was told in headers: informational ones, those of the response, trailers. */
  readonly headers: object[];
}
/** One request over HTTP/2 without TLS; status 0 when the stream was reset. */
const http2 = (headers: OutgoingHttpHeaders, body: string | Buffer = ''): Promise<Http2Reply> =>
  new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${sluice.port}`, { strictFieldWhitespaceValidation: false });
    let status = 0;
    let text = '';
    const told: object[] = [];
    const end = (): void => {
      session.destroy();
      resolve({ status, text, headers: told });
    };
    session.on('error', end);
    try {
      const stream = session.request(headers, { endStream: body.length === 0 });
      stream.on('response', (got) => {
        status = Number(got[':status']);
        told.push(got);
      });
      stream.on('headers', (got) => told.push(got)).on('trailers', (got) => told.push(got));
      stream.on('data', (chunk) => (text += chunk));
      stream.on('error', end).on('close', end);
      if (body.length > 0) stream.end(body);
    } catch {
      end();
    }
  });

/** Requests that got to the target and are no read of what the agent may read. */
const through = (): string[] =>
  sluice.seen
    .map(({ method, url }) => `${method} ${url}`)
    .filter((line) => !/^(?:GET|HEAD|OPTIONS) \/(?:customers|orders|tickets)(?:[/?]|$)/.test(line));

describe('past the judging', () => {
  // TOKEN is the agent's. Each row is a head (and a body) as it goes over the wire.
  const SMUGGLED = 'DELETE /customers/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nX: y\r\n\r\n';
  const post = (headers: string, body: string): string =>
    `POST /tickets HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n${headers}\r\n\r\n${body}`;
  const get = (target: string, headers = ''): string =>
    `GET ${target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n${headers}\r\n`;
  const JSON_TYPE = 'Content-Type: application/json\r\n';
  const refused: [name: string, bytes: string][] = [
    ['length and chunks at once', post(`${JSON_TYPE}Content-Length: 4\r\nTransfer-Encoding: chunked`, `0\r\n\r\n${SMUGGLED}`)],
    ['two lengths', post(`${JSON_TYPE}Content-Length: 2\r\nContent-Length: 90`, `{}${SMUGGLED}`)],
    ['a length with a sign', post(`${JSON_TYPE}Content-Length: +2`, '{}')],
    ['a list of lengths', post(`${JSON_TYPE}Content-Length: 2, 90`, `{}${SMUGGLED}`)],
    ['chunks by another name', post(`${JSON_TYPE}Transfer-Encoding: xchunked`, `0\r\n\r\n${SMUGGLED}`)],
    ['chunks twice', post(`${JSON_TYPE}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity`, `0\r\n\r\n${SMUGGLED}`)],
    ['a space before the colon', post(`${JSON_TYPE}Transfer-Encoding : chunked`, `0\r\n\r\n${SMUGGLED}`)],
    ['a folded header', post(`${JSON_TYPE}Content-Length: 2\r\n folded: x`, '{}')],
    ['a bare line feed in a header', post(`${JSON_TYPE}X: y\nTransfer-Encoding: chunked\r\nContent-Length: 2`, `{}${SMUGGLED}`)],
    ['a NUL in a header', get('/customers', 'X: a\0b\r\n')],
    ['two hosts', `GET /customers HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: Bearer TOKEN\r\n\r\n`],
    ['no host', `GET /customers HTTP/1.1\r\nAuthorization: Bearer TOKEN\r\n\r\n`],
    ['an absolute target of another path', get('http://a/db')],
    ['an absolute target with a user', get('http://u@a/../db')],
    ['a tunnel', 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nAuthorization: Bearer TOKEN\r\n\r\n'],
    ['a question to the server as a whole', 'OPTIONS * HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n'],
    ['TRACE', 'TRACE /customers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n'],
    ['an unknown method', 'PURGE /customers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n'],
    ['dot segments', get('/customers/../db')],
    ['escaped dot segments', get('/customers/%2e%2e/db')],
    ['dots escaped twice', get('/customers/%252e%252e/db')],
    ['dots after a path parameter', get('/customers/..;/db')],
    ['backslashes', get('/customers\\..\\db')],
    ['an overlong escape', get('/customers/%c0%ae%c0%ae/db')],
    ['a fragment', get('/db#/customers')],
    ['a NUL in the path', get('/customers/%00/db')],
    ['a line break in the path', get('/customers/%0d%0aX:%20y')],
    ['a path that is not ASCII', get('/customers/\u00ff')],
    ['HTTP/0.9', 'GET /customers\r\n\r\n'],
    ['HTTP/1.0', get('/customers').replace('HTTP/1.1', 'HTTP/1.0')],
    [
      'a change to WebSocket',
      get('/customers', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n'),
    ],
    ['the length twice, the same', post(`${JSON_TYPE}Content-Length: 2\r\nContent-Length: 2`, '{}')],
    ['HTTP/3.7', get('/customers').replace('HTTP/1.1', 'HTTP/3.7')],
    ['a token in the query', 'GET /customers?access_token=TOKEN HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a token in a cookie', 'GET /customers HTTP/1.1\r\nHost: a\r\nCookie: authorization=Bearer%20TOKEN\r\n\r\n'],
    ['a header with an underscore', get('/customers', 'X_Forwarded_For: 127.0.0.1\r\n')],
    ['X-Original-URL', get('/customers', 'X-Original-URL: /db\r\n')],
    ['X-HTTP-Method-Override', get('/customers', 'X-HTTP-Method-Override: DELETE\r\n')],
    ['JSON in UTF-7', post('Content-Type: application/json; charset=utf-7\r\nContent-Length: 37', '{"text":"+ACIALAAi-admin+ACIAOgAi-x"}')],
    ['JSON in UTF-16', post('Content-Type: application/json; charset=utf-16le\r\nContent-Length: 4', '{\0}\0')],
    ['a form in EBCDIC', post('Content-Type: application/x-www-form-urlencoded; charset=ibm037\r\nContent-Length: 3', 'a=b')],
    ['a media type that is none', post('Content-Type: application/json, text/plain\r\nContent-Length: 2', '{}')],
    ['a body with a coding', post(`${JSON_TYPE}Content-Encoding: x-gzip\r\nContent-Length: 2`, '{}')],
  ];
  test.each(refused)('%s', async (_, bytes) => {
    const reply = await raw(bytes.replaceAll('TOKEN', await sluice.token()));
    expect(reply).toMatch(
      bytes.startsWith('CONNECT') ? /^HTTP\/1\.1 501[\s\S]*urn:sluice:problem:no-tunnel/ : /^(?:HTTP\/1\.[01] (?:4\d\d|501)|$)/,
    );
    expect(reply.split('HTTP/1.1 ').length).toBeLessThanOrEqual(2);
    expect(sluice.seen).toEqual([]);
  });

  test.each([
    ['in the form', 'application/x-www-form-urlencoded', 'a=b&_method=DELETE'],
    ['in the form, with a space before', 'application/x-www-form-urlencoded', '+_method=DELETE'],
    ['in the form, as PHP writes a dot', 'application/x-www-form-urlencoded', '.method=DELETE'],
    ['in the form, before a NUL', 'application/x-www-form-urlencoded', '_method%00x=DELETE'],
    ['in the form, as a list', 'application/x-www-form-urlencoded', '_method[]=DELETE'],
    ['in the form, after a semicolon', 'application/x-www-form-urlencoded', 'a=b;_method=DELETE'],
    ['in JSON', 'application/json', '{"_method":"DELETE"}'],
    ['in JSON by another name', 'text/json', '{"_method":"DELETE"}'],
    ['in JSON with an escape', 'application/json', '{"\\u005fmethod":"DELETE"}'],
    ['in a part', 'multipart/form-data; boundary=x', '--x\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--x--\r\n'],
    [
      'in a part, unquoted',
      'multipart/form-data; boundary=x',
      '--x\r\ncontent-disposition: form-data; name=_method\r\n\r\nDELETE\r\n--x--\r\n',
    ],
  ])('another method, %s', async (_, type, body) => {
    const reply = await sluice.ask('/tickets/1', { token: await sluice.token(), method: 'POST', body, headers: { 'content-type': type } });
    expect([reply.status, sluice.seen]).toEqual([400, []]);
  });
  test.each(['_method=DELETE', '%5Fmethod=DELETE', '.method=DELETE', '_method[]=DELETE', 'a=b;_method=DELETE', '+_method=DELETE'])(
    'another method, in the query: %s',
    async (query) => {
      const reply = await sluice.ask(`/tickets/1?${query}`, { token: await sluice.token(), method: 'POST' });
      expect([reply.status, sluice.seen]).toEqual([400, []]);
    },
  );

  test('a change to HTTP/2 is not taken up, nor passed on', async () => {
    const upgrade = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n';
    const reply = await raw(get('/customers', upgrade).replace('TOKEN', await sluice.token()));
    expect([reply.slice(0, 12), exposed(reply)]).toEqual(['HTTP/1.1 200', []]);
    for (const { headers } of sluice.seen)
      expect([headers.upgrade, headers['http2-settings'] && 'passed on']).toEqual([undefined, undefined]);
  });

  test('what follows a body is a request of its own, and judged', async () => {
    const token = await sluice.token();
    const body = '{"text":"x"}';
    const bytes = `POST /tickets HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n${JSON_TYPE}Content-Length: ${body.length}\r\n\r\n${body}`;
    const reply = await raw(`${bytes}GET /db HTTP/1.1\r\nHost: a\r\n\r\n`, 800);
    expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 201', 'HTTP/1.1 401']);
    expect(sluice.seen.map(({ url }) => url)).toEqual(['/tickets']);
  });

  test('chunk extensions and request trailers are not passed on', async () => {
    const token = await sluice.token();
    const head = `POST /tickets HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n${JSON_TYPE}Transfer-Encoding: chunked\r\nTrailer: X-HTTP-Method\r\n\r\n`;
    const reply = await raw(`${head}c;ext="\r\n{"text":"x"}\r\n0\r\nX-HTTP-Method: DELETE\r\nAuthorization: Bearer other\r\n\r\n`, 800);
    expect(reply).toMatch(/^HTTP\/1\.1 (?:201|400)/);
    for (const { method, headers } of sluice.seen) {
      expect([method, headers.authorization, headers['x-http-method']]).toEqual(['POST', 'Bearer the-targets-own-secret', undefined]);
    }
  });

  test('a caller that expects 100-continue is judged all the same', async () => {
    const reply = await raw(
      `POST /tickets HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n${JSON_TYPE}Content-Length: 12\r\n\r\n{"text":"x"}`,
    );
    expect(reply).toMatch(/HTTP\/1\.1 401/);
    expect(sluice.seen).toEqual([]);
  });

  test('headers that the caller calls hop-by-hop do not take the credential away', async () => {
    const reply = await raw(
      get('/tickets/1', 'Connection: close, authorization, x-sluice-session\r\n').replaceAll('TOKEN', await sluice.token()),
    );
    if (reply.startsWith('HTTP/1.1 200')) expect(sluice.seen.at(-1)?.headers.authorization).toBe('Bearer the-targets-own-secret');
    else expect(reply).toMatch(/^HTTP\/1\.1 4/);
  });

  test('headers in the name of the gateway are nobody’s', async () => {
    const reply = await sluice.ask('/customers/1', {
      token: await sluice.token(),
      headers: {
        'x-sluice-session': 'ses_forged',
        'X-Sluice-Plan': '',
        'x-envoy-auth-partial-body': 'false',
        'x-envoy-original-path': '/db',
        'x-envoy-upstream-rq-timeout-ms': '1',
        'x-envoy-decorator-operation': 'x',
        'x-forwarded-for': '10.0.0.1',
        'x-forwarded-host': 'evil',
        forwarded: 'for=10.0.0.1;host=evil',
      },
    });
    expect(reply.status).toBe(200);
    expect(exposed(reply.text)).toEqual([]);
    expect(reply.headers['x-sluice-session']).not.toBe('ses_forged');
    const names = Object.keys(sluice.seen.at(-1)?.headers ?? {});
    expect(names.filter((name) => /^x-(?:sluice|envoy)-|^forwarded$|forwarded-host/.test(name))).toEqual([]);
    expect(sluice.seen.at(-1)?.headers['x-forwarded-for']).not.toContain('10.0.0.1');
  });

  test.each([
    '/.well-known/sluice',
    '/.well-known/sluice/',
    '/.well-known/sluice/approvals',
    '/.well-known/sluice/approvals/',
    '/.well-known/sluice/approvals/apr_x?a=b',
    '/.well-known//sluice/approvals/x',
    '/.well-known/%73luice/approvals/x',
    '/.WELL-KNOWN/SLUICE/x',
    '/customers/../.well-known/sluice/x',
    '/.well-known/sluice/../../db',
    '/.well-known/sluice/%2e%2e/%2e%2e/db',
  ])('the reserved path %s leads nowhere else', async (path) => {
    const status = async (headers: string): Promise<string> =>
      (await raw(`GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`)).slice(9, 12);
    expect(await status(`Authorization: Bearer ${await sluice.token()}\r\n`)).toMatch(/^40[034]$/);
    expect(await status('')).toBe('401');
    expect(sluice.seen).toEqual([]);
  });

  test.each<[string, OutgoingHttpHeaders, string?]>([
    ['another path', { ':path': '/db' }],
    ['no slash', { ':path': 'db' }],
    ['a whole URL as the path', { ':path': 'http://a/db' }],
    ['a space in the path', { ':path': '/customers HTTP/1.1\r\nX: y' }],
    ['a method with a space', { ':method': 'GET /db HTTP/1.1\r\nX:' }],
    ['a tunnel', { ':method': 'CONNECT', ':authority': 'a:80' }],
    ['an extended tunnel', { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/customers' }],
    ['an authority with a comma', { ':authority': 'a,b' }],
    ['another host than the authority', { ':authority': 'a', host: 'b', ':path': '/db' }],
    ['a scheme that holds an address', { ':scheme': 'https://a/db?' }],
    ['a fragment in the path', { ':path': '/db#/customers' }],
    ['a transfer coding', { ':method': 'POST', ':path': '/tickets', 'transfer-encoding': 'chunked' }, `0\r\n\r\n${SMUGGLED}`],
    ['a header of the connection', { connection: 'x-sluice-session', 'keep-alive': '1' }],
    ['a line break in a value', { x: 'a\r\nx-http-method: DELETE' }],
    [
      'a length that is not true',
      { ':method': 'POST', ':path': '/tickets', 'content-length': '2', 'content-type': 'application/json' },
      '{"text":"much longer"}',
    ],
  ])('over HTTP/2: %s', async (_, headers, body) => {
    const { status } = await http2(
      { ':path': '/customers', ':method': 'GET', authorization: `Bearer ${await sluice.token()}`, ...headers },
      body,
    );
    expect([status === 0 || (status >= 400 && status < 500) || status === 501, status, sluice.seen]).toEqual([true, status, []]);
  });

  test.each([
    ['in capitals, with a dot and a port', 'GET /customers/1 HTTP/1.1\r\nHost: H2.Test.:1\r\n'],
    ['in an absolute target, and another beside it', 'GET http://h2.test/customers/1 HTTP/1.1\r\nHost: a\r\n'],
  ])('the host %s is that of the target which is judged, and that of the one which answers', async (_, head) => {
    http2Answer = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/json' });
      stream.end('{"by":"h2"}');
    };
    const reply = await raw(`${head}Authorization: Bearer ${await sluice.token()}\r\n\r\n`);
    const session = /x-sluice-session: (\S+)/.exec(reply)?.[1] ?? '';
    expect([reply.slice(9, 12), /"by":"h2"/.test(reply)]).toEqual(['200', true]);
    expect(new Set((await sluice.events(session)).map(({ target }) => target))).toEqual(new Set(['h2']));
  });

  test('over HTTP/2: a body longer than the limit is refused, also when it says that it is gRPC', async () => {
    const message = Buffer.concat([Buffer.from([0, 0, 0x18, 0, 0]), Buffer.alloc(0x180000, 'x')]);
    for (const type of ['application/grpc', 'application/octet-stream']) {
      const { status, headers } = await http2(
        {
          ':path': '/tickets',
          ':method': 'POST',
          ':authority': 'h2.test',
          authorization: `Bearer ${await sluice.token()}`,
          'content-type': type,
          te: 'trailers',
        },
        message,
      );
      // gRPC's word for it is a status of its own, in a response of 200.
      const told = JSON.stringify(headers);
      if (type === 'application/grpc') expect([status, /"grpc-status":"(?!0")\d+"/.test(told)]).toEqual([200, true]);
      else expect(status).toBe(413);
      expect(sluice.seen).toEqual([]);
    }
  });

  test('over HTTP/2: what comes after a body was not judged, and is not passed on', async () => {
    let got: object | undefined;
    http2Answer = (stream) => {
      stream.on('trailers', (trailers) => (got = trailers));
      stream.resume().on('end', () => {
        stream.respond({ ':status': 200, 'content-type': 'application/json' });
        stream.end('{}');
      });
    };
    const session = connectHttp2(`http://127.0.0.1:${sluice.port}`);
    const stream = session.request(
      {
        ':path': '/tickets',
        ':method': 'POST',
        ':authority': 'h2.test',
        authorization: `Bearer ${await sluice.token()}`,
        'content-type': 'application/json',
        te: 'trailers',
      },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'x-http-method': 'DELETE', authorization: 'Bearer other', 'x-sluice-session': 'x' }),
    );
    const status = await new Promise<number>((resolve) => {
      stream.on('response', (headers) => resolve(Number(headers[':status']))).on('error', () => resolve(0));
      stream.end('{"text":"x"}');
    });
    await new Promise((resolve) => stream.resume().on('close', resolve));
    session.destroy();
    expect([status, got]).toEqual([200, undefined]);
  });

  test('over HTTP/2: a read is masked like any other', async () => {
    const reply = await http2({ ':path': '/customers', authorization: `Bearer ${await sluice.token()}` });
    expect([reply.status, exposed(reply.text)]).toEqual([200, []]);
  });
});

describe('past the masking', () => {
  const type = (contentType: string, ...body: (string | Buffer)[]): Answer => ({ headers: { 'content-type': contentType }, body });
  const each = (text: string): string[] => [...text];
  const wide = (text: string): string => text.replaceAll(/[!-~]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0));
  const escaped = (text: string): string => text.replaceAll(/./g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const entities = (text: string): string => text.replaceAll(/./g, (c) => `&#${c.charCodeAt(0)};`);
  const answers: [string, Answer][] = [
    ...[
      'application/json',
      'text/json',
      'application/x-json',
      'application/vnd.api+json',
      'application/problem+json',
      'APPLICATION/JSON',
      'application/json;',
      'application/json; charset="UTF-8"',
      'application/json;charset=utf-16',
      'application/json; charset=utf-8; charset=utf-16',
      'application/octet-stream',
      'application/javascript',
      'text/html',
      'application/xml',
      'image/png',
      'text/plain',
      'text/plain; charset=utf-7',
      'text/plain; charset=ibm037',
      '*/*',
      '',
      'application/json, text/html',
      'multipart/form-data; boundary=x',
      'multipart/byteranges; boundary=x',
      'application/pdf',
      'application/grpc',
      'application/jsonp',
    ].map((name): [string, Answer] => [`as ${name || 'nothing'}`, type(name, JSON_BODY)]),
    ['without a type', { body: [JSON_BODY] }],
    ['two types', { headers: { 'content-type': ['application/json', 'image/png'] }, body: [JSON_BODY] }],
    ['UTF-16 that is not said', type('application/json', Buffer.from(JSON_BODY, 'utf16le'))],
    ['UTF-16 as text', type('text/plain', Buffer.from(JSON_BODY, 'utf16le'))],
    ['UTF-16 with a mark as text', type('text/plain', Buffer.from(`\ufeff${JSON_BODY}`, 'utf16le'))],
    ['spaces of one byte', type('text/plain; charset=iso-8859-1', Buffer.from(`4111\xa01111\xa01111\xa01111 536\xad-22-8134`, 'latin1'))],
    ['big-endian UTF-16 as CSV', type('text/csv', Buffer.from(`a,b\n${CARD},${SSN}\n`, 'utf16le').swap16())],
    ['UTF-16 as Latin-1', type('text/plain; charset=iso-8859-1', Buffer.from(JSON_BODY, 'utf16le'))],
    ['UTF-32 as text', type('text/plain', Buffer.from([...JSON_BODY].flatMap((c) => [c.charCodeAt(0), 0, 0, 0])))],
    ['a byte order mark', type('application/json', `\ufeff${JSON_BODY}`)],
    ['in single bytes', type('application/json', ...each(JSON_BODY))],
    ['text in single bytes', type('text/plain', ...each(`x ${CARD} y ${SSN} z ${EMAIL}.`))],
    ['the same name twice', type('application/json', `{"ssn":"${SSN}","ssn":"${SSN}","card":"${CARD}","card":"${CARD}"}`)],
    ['a name with escapes', type('application/json', `{"s\\u0073n":"not-a-pattern ${SSN}","\\u0063ard":${CARD}}`)],
    ['escapes in a value', type('application/json', `{"a":"${escaped(CARD)}","b":"${escaped(SSN)}","c":"${escaped(EMAIL)}"}`)],
    ['a number', type('application/json', `{"a":${CARD},"b":[${CARD}],"c":${CARD}.0,"d":${CARD}e0,"e":-${CARD}}`)],
    ['a number with an exponent', type('application/json', '{"a":4111111111111111E+0,"b":4.111111111111111e15}')],
    ['a name that is a secret', type('application/json', `{"${EMAIL}":1,"${CARD}":{"${SSN}":2}}`)],
    ['full-width characters', type('application/json', JSON.stringify({ a: wide(CARD), b: wide(SSN) }))],
    [
      'characters that print nothing',
      type('application/json', JSON.stringify({ a: [...CARD].join('\u200b'), b: [...SSN].join('\u00ad') })),
    ],
    ['NULs between', type('application/json', JSON.stringify({ a: [...CARD].join('\0'), b: [...SSN].join('\0') }))],
    ['JSON in JSON', type('application/json', JSON.stringify({ a: JSON.stringify({ ssn: SSN, card: CARD, email: EMAIL }) }))],
    ['JSON in JSON with escapes', type('application/json', JSON.stringify({ a: `{"x":"${escaped(CARD)}"}` }))],
    ['HTML in JSON', type('application/json', JSON.stringify({ a: `<a href="mailto:${entities(EMAIL)}">${entities(CARD)}&nbsp;</a>` }))],
    ['HTML in JSON, escaped again', type('application/json', JSON.stringify({ a: entities(SSN).replaceAll('&', '&amp;') }))],
    ['a second document', type('application/json', `{}\n${JSON_BODY}`)],
    ['after the end', type('application/json', `{}${SSN}`)],
    ['a string that never ends', type('application/json', `{"a":"${SSN} `)],
    ['JSON with comments', type('application/json', `{/* ${SSN} */"a":1}`)],
    ['a prefix against hijacking', type('application/json', `)]}',\n${JSON_BODY}`)],
    ['NDJSON', type('application/x-ndjson', `${JSON_BODY}\n`, `{"ssn":"${SSN}"}\n`)],
    ['JSON sequences', type('application/json-seq', `\x1e${JSON_BODY}\n`)],
    [
      'events',
      type('text/event-stream', `event: ${EMAIL}\nid: ${SSN}\ndata: ${JSON_BODY}\n\n: ${CARD}\n\ndata: {"card":\ndata: "${CARD}"}\n\n`),
    ],
    [
      'events cut in the middle',
      type('text/event-stream', 'data: card 41111111', `11111111\n\ndata: ${SSN.slice(0, 5)}`, `${SSN.slice(5)}\n\n`),
    ],
    ['CSV', type('text/csv', `name,ssn,card\n"a\n""b",${SSN},${CARD}\n`)],
    ['CSV with other separators', type('text/csv', `name;ssn;card\na;${SSN};${CARD}\n`)],
    ['TSV', type('text/tab-separated-values', `name\tssn\na\t${SSN}\n`)],
    [
      'a form',
      type('application/x-www-form-urlencoded', `a=${encodeURIComponent(EMAIL)}&ssn=${SSN}&c=${CARD.replaceAll(/./g, (c) => `%3${c}`)}`),
    ],
    ['an error page', { ...type('text/html', `<pre>${SSN}</pre>`), status: 500 }],
    ['an error in JSON', { ...type('application/json', JSON_BODY), status: 500 }],
    ['an error as a problem', { ...type('application/problem+json', JSON.stringify({ detail: `no ${SSN}` })), status: 404 }],
    ['a 203', { ...type('application/json', JSON_BODY), status: 203 }],
    ['a part', { headers: { 'content-type': 'application/json', 'content-range': 'bytes 0-9/99' }, status: 206, body: [JSON_BODY] }],
    ['a redirect', { status: 302, headers: { location: `/x?ssn=${SSN}&card=${CARD}&mail=${EMAIL}` } }],
    [
      'a redirect, percent-encoded',
      { status: 302, headers: { location: `/x?email=${encodeURIComponent(EMAIL)}&ssn=536%2D22%2D8134`, 'content-length': '0' } },
    ],
    ['percent-encoded', type('application/json', JSON.stringify({ next: `/x?email=${encodeURIComponent(EMAIL)}&ssn=536%2D22%2D8134` }))],
    [
      'percent-encoded twice, and a space as a plus',
      type(
        'application/json',
        JSON.stringify({ next: `/x?to=${encodeURIComponent(`/y?m=${encodeURIComponent(EMAIL)}`)}&ssn=536+22+8134` }),
      ),
    ],
    ['percent-encoded, in text', type('text/plain', ...each(`see /x?m=${encodeURIComponent(EMAIL)}&ssn=536%2D22%2D8134 there`))],
    ['a header’s name', { status: 204, headers: { [`x-${CARD}`]: '1', [`x-${SSN}`]: '1' } }],
    ['a trailer’s name', { ...type('application/json', '{}'), trailers: { [`x-${CARD}`]: '1', [`x-${SSN}`]: '1' } }],
    ['a 304 with headers', { status: 304, headers: { etag: `"${SSN}"`, 'x-card': CARD } }],
    [
      'a 204 with headers',
      { status: 204, headers: { 'x-card': CARD, 'set-cookie': [`mail=${EMAIL}`, `ssn=${SSN}`], link: `<mailto:${EMAIL}>` } },
    ],
    [
      'a status line',
      { headers: { 'content-type': 'application/json', warning: `199 - "${SSN}"`, server: SSN, via: `1.1 ${CARD}` }, body: ['{}'] },
    ],
    ['trailers', { ...type('application/json', '{}'), trailers: { 'x-card': CARD, 'x-ssn': SSN } }],
    [
      'gzip twice',
      { headers: { 'content-type': 'application/json', 'content-encoding': 'gzip, gzip' }, body: [gzipSync(gzipSync(JSON_BODY))] },
    ],
    ['deflate', { headers: { 'content-type': 'application/json', 'content-encoding': 'deflate' }, body: [deflateSync(JSON_BODY)] }],
    ['zstd', { headers: { 'content-type': 'application/json', 'content-encoding': 'zstd' }, body: [zstdCompressSync(JSON_BODY)] }],
    ['gzip in capitals', { headers: { 'content-type': 'application/json', 'content-encoding': 'GZIP' }, body: [gzipSync(JSON_BODY)] }],
    [
      'two codings',
      { headers: { 'content-type': 'application/json', 'content-encoding': ['identity', 'gzip'] }, body: [gzipSync(JSON_BODY)] },
    ],
    ['an empty coding', { headers: { 'content-type': 'application/json', 'content-encoding': '' }, body: [JSON_BODY] }],
    ['a parameter of the type', type(`application/json; note="${SSN}"`, '{}')],
    ['a type of its own', type(`application/vnd.${SSN}+json`, '{}')],
    [
      'headers that frame',
      {
        headers: {
          'content-type': 'application/json',
          vary: SSN,
          allow: `GET, X-${CARD}`,
          'alt-svc': `h3="${EMAIL}:443"`,
          'strict-transport-security': `max-age=1; x=${SSN}`,
          date: `${SSN} GMT`,
          connection: `close, x-${SSN}`,
        },
        body: ['{}'],
      },
    ],
    ['gzip that is not said', type('application/json', gzipSync(JSON_BODY))],
    [
      'plain text after gzip',
      {
        headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip' },
        body: [Buffer.concat([gzipSync('{}'), Buffer.from(JSON_BODY)])],
      },
    ],
    ['brotli', { headers: { 'content-type': 'application/json', 'content-encoding': 'br' }, body: [brotliCompressSync(JSON_BODY)] }],
    ['a coding nobody knows', { headers: { 'content-type': 'application/json', 'content-encoding': 'x' }, body: [JSON_BODY] }],
    ['identity in capitals', { headers: { 'content-type': 'application/json', 'content-encoding': 'Identity' }, body: [JSON_BODY] }],
    ['a string of a megabyte', type('application/json', `{"a":"${'x'.repeat(1 << 20)} ${CARD} ${SSN}"}`)],
    ['digits without end', type('application/json', `{"a":"${'1'.repeat(100_000)} ${CARD} ${SSN}"}`)],
    ['gzip', { headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' }, body: [gzipSync(JSON_BODY)] }],
    ['gzip that is none', { headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' }, body: [JSON_BODY] }],
    [
      'no-transform',
      {
        headers: { 'content-type': 'application/json', 'cache-control': 'no-transform', 'content-encoding': 'gzip' },
        body: [gzipSync(JSON_BODY)],
      },
    ],
    ['nested without end', type('application/json', `${'['.repeat(2000)}"${SSN}"${']'.repeat(2000)}`)],
  ];
  const unleaked = async (answer: Answer): Promise<void> => {
    planted = answer;
    const reply: Reply = await sluice.ask('/customers/planted', { token: await sluice.token(), signal: AbortSignal.timeout(5_000) });
    expect([answer.status ?? 200, 502]).toContain(reply.status);
    expect(exposed(reply.text)).toEqual([]);
    expect(exposed(JSON.stringify(reply.headers))).toEqual([]);
    if (reply.status === 502) {
      expect(reply.headers['content-type']).toBe('application/problem+json');
      expect(JSON.parse(reply.text)).toMatchObject({ detail: expect.stringMatching(/\w/), session: expect.stringMatching(/^ses_/) });
    }
  };
  test.each(answers)('%s', async (_, answer) => unleaked(answer));

  const head = (...lines: string[]): string => `HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
  const JSON_LINE = 'Content-Type: application/json';
  const OK = `${head(JSON_LINE, 'Content-Length: 2')}{}`;
  const CHUNKED = 'Transfer-Encoding: chunked';
  test.each<[string, string | Buffer]>([
    ['early hints', `HTTP/1.1 103 Early Hints\r\nLink: <mailto:${EMAIL}>\r\nX-Card: ${CARD}\r\n\r\n${OK}`],
    ['100 Continue with headers', `HTTP/1.1 100 Continue\r\nX-Card: ${CARD}\r\nX-${SSN}: 1\r\n\r\n${OK}`],
    ['102 with headers', `HTTP/1.1 102 ${SSN}\r\nX-Card: ${CARD}\r\n\r\n${OK}`],
    ['199 with headers', `HTTP/1.1 199 x\r\nX-Card: ${CARD}\r\n\r\n${OK}`],
    ['a change of protocol nobody asked for', `HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n${JSON_BODY}`],
    ['a reason phrase', OK.replace('OK', `${SSN} ${EMAIL}`)],
    [
      'chunk extensions and trailers',
      `${head(JSON_LINE, CHUNKED)}2;x="${SSN}"\r\n{}\r\n0;${CARD}\r\nX-Card: ${CARD}\r\nX-${SSN}: 1\r\n\r\n`,
    ],
    [
      'trailers with what frames',
      `${head(JSON_LINE, CHUNKED)}2\r\n{}\r\n0\r\nContent-Type: text/${SSN}\r\nDate: ${CARD}\r\nContent-Length: 99\r\n\r\n`,
    ],
    ['two lengths', `${head(JSON_LINE, 'Content-Length: 2', `Content-Length: ${JSON_BODY.length}`)}${JSON_BODY}`],
    [
      'a length and chunks',
      `${head(JSON_LINE, 'Content-Length: 2', CHUNKED)}${JSON_BODY.length.toString(16)}\r\n${JSON_BODY}\r\n0\r\n\r\n`,
    ],
    ['a body past its length', `${OK}${JSON_BODY}`],
    ['a second response', `${OK}${head(JSON_LINE, `X-Card: ${CARD}`, `Content-Length: ${JSON_BODY.length}`)}${JSON_BODY}`],
    ['a folded header', `${head(JSON_LINE, 'X-Note: a', ` ${SSN}`, 'Content-Length: 2')}{}`],
    [
      'a header folded in the middle of a secret',
      `${head(JSON_LINE, `X-Note: ${CARD.slice(0, 8)}`, ` ${CARD.slice(8)}`, 'Content-Length: 2')}{}`,
    ],
    ['line feeds alone', OK.replaceAll('\r\n', '\n').replace('{}', JSON_BODY)],
    ['HTTP/1.0', `HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n${JSON_BODY}`],
    ['HTTP/0.9', JSON_BODY],
    ['no length, and no type', `${head()}${JSON_BODY}`],
    ['types in two spellings', `${head(JSON_LINE, 'CONTENT-TYPE: image/png', `Content-Length: ${JSON_BODY.length}`)}${JSON_BODY}`],
    [
      'bytes beyond ASCII in a header',
      Buffer.from(`${head(JSON_LINE, `X-Note: \xe9 ${SSN} \xff${CARD}`, 'Content-Length: 2')}{}`, 'latin1'),
    ],
    ['a header without end', `${head(JSON_LINE, `X-Note: ${'a'.repeat(200_000)} ${SSN}`, 'Content-Length: 2')}{}`],
    ['a thousand headers', `${head(JSON_LINE, ...Array.from({ length: 1000 }, (_, n) => `X-${n}: ${CARD}`), 'Content-Length: 2')}{}`],
    ['a header without a name', `${head(JSON_LINE, `: ${SSN}`, 'Content-Length: 2')}{}`],
    ['a header without a colon', `${head(JSON_LINE, SSN, 'Content-Length: 2')}{}`],
    ['a status of four digits', OK.replace('200 OK', `2000 ${SSN}`).replace('{}', JSON_BODY)],
    ['a chunk of a negative size', `${head(JSON_LINE, CHUNKED)}-1\r\n${JSON_BODY}\r\n0\r\n\r\n`],
    ['a NUL in a header', `${head(JSON_LINE, `X-Note: a\0${SSN}`, 'Content-Length: 2')}{}`],
    ['a transfer coding', Buffer.concat([Buffer.from(head(JSON_LINE, 'Transfer-Encoding: gzip')), gzipSync(JSON_BODY)])],
    [
      'a transfer coding and chunks',
      `${head(JSON_LINE, 'Transfer-Encoding: identity, chunked')}${JSON_BODY.length.toString(16)}\r\n${JSON_BODY}\r\n0\r\n\r\n`,
    ],
    ['204 with a body', `HTTP/1.1 204 No Content\r\n${JSON_LINE}\r\nContent-Length: ${JSON_BODY.length}\r\n\r\n${JSON_BODY}`],
    [
      '304 with a body',
      `HTTP/1.1 304 Not Modified\r\nETag: "${CARD}"\r\n${JSON_LINE}\r\nContent-Length: ${JSON_BODY.length}\r\n\r\n${JSON_BODY}`,
    ],
    ['cut short', `${head(JSON_LINE, 'Content-Length: 999')}{"a":"${SSN}`],
    ['a chunk that never ends', `${head(JSON_LINE, CHUNKED)}fff\r\n{"a":"${SSN}","b":"${CARD}"`],
  ])('byte by byte: %s', async (_, bytes) => {
    const token = await sluice.token();
    // The gateway's connection to the target stays; what closes is ours, so that nobody need guess when all has come.
    const get = (method: string): string =>
      `${method} /customers/1 HTTP/1.1\r\nHost: raw.test\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    rawAnswer = bytes;
    for (const method of ['GET', 'HEAD']) {
      const reply = await raw(get(method), 300);
      expect([method, exposed(reply), /^(?:HTTP\/1\.1 [2345]|$)/.test(reply)]).toEqual([method, [], true]);
    }
    // Nothing of it is left on the connection for whoever comes next.
    rawAnswer = OK;
    const next = await raw(get('GET'), 300);
    expect([exposed(next), next.slice(0, 12)]).toEqual([[], 'HTTP/1.1 200']);
  });

  test.each<[string, (stream: ServerHttp2Stream) => void]>([
    [
      'trailers',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/json' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'x-card': CARD, [`x-${SSN}`]: '1', 'x-mail': encodeURIComponent(EMAIL) }));
        stream.end('{"a":1}');
      },
    ],
    [
      'early hints, and trailers after nothing',
      (stream) => {
        stream.additionalHeaders({ ':status': 103, link: `<mailto:${EMAIL}>`, 'x-card': CARD });
        stream.respond({ ':status': 200, 'content-type': 'text/plain' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'x-ssn': SSN }));
        stream.end();
      },
    ],
    [
      'a gRPC answer',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () =>
          stream.sendTrailers({ 'grpc-status': '2', 'grpc-message': encodeURIComponent(`no ${SSN} ${EMAIL}`) }),
        );
        stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, JSON_BODY.length]), Buffer.from(JSON_BODY)]));
      },
    ],
    [
      'a gRPC error in headers alone',
      (stream) =>
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5', 'grpc-message': `${SSN} %61da%40example.com` },
          { endStream: true },
        ),
    ],
  ])('from a target over HTTP/2: %s', async (_, answers) => {
    http2Answer = answers;
    const token = await sluice.token();
    const overHttp1 = await raw(`GET /customers/1 HTTP/1.1\r\nHost: h2.test\r\nTE: trailers\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    expect([exposed(overHttp1), overHttp1.slice(0, 7)]).toEqual([[], 'HTTP/1.']);
    for (const type of ['text/plain', 'application/grpc']) {
      const reply = await http2({
        ':path': '/customers/1',
        ':authority': 'h2.test',
        authorization: `Bearer ${token}`,
        'content-type': type,
        te: 'trailers',
      });
      expect([exposed(reply.text), exposed(JSON.stringify(reply.headers)), reply.status > 0]).toEqual([[], [], true]);
    }
  });

  test('a part of a masked resource cannot be asked for', async () => {
    const reply = await sluice.ask('/customers/1', {
      token: await sluice.token(),
      headers: { range: 'bytes=20-60', 'if-range': '"x"', 'accept-encoding': 'gzip;q=1, br' },
    });
    expect([reply.status, exposed(reply.text)]).toEqual([200, []]);
    const { range, 'if-range': ifRange, 'accept-encoding': encoding } = sluice.seen.at(-1)?.headers ?? {};
    expect([range, ifRange, encoding]).toEqual([undefined, undefined, 'identity']);
  });

  test('HEAD tells nothing of what GET would not', async () => {
    planted = { headers: { 'content-type': 'application/json', 'content-length': '999', etag: '"x"', 'x-card': CARD } };
    const reply = await sluice.ask('/customers/planted', { token: await sluice.token(), method: 'HEAD' });
    expect([reply.status, reply.headers['content-length'], reply.headers.etag, exposed(JSON.stringify(reply.headers))]).toEqual([
      200,
      undefined,
      undefined,
      [],
    ]);
  });

  test('the record of a request holds no secret of it', async () => {
    const reply = await sluice.ask(`/customers/${SSN}?mail=${encodeURIComponent(EMAIL)}&c=${CARD}`, {
      token: await sluice.token(),
      headers: { 'x-note': CARD, cookie: `a=${SSN}`, referer: `http://a/?m=${EMAIL}` },
    });
    expect(exposed(JSON.stringify(await sluice.events(String(reply.headers['x-sluice-session']))))).toEqual([]);
  });
  test('nor when it is percent-encoded', async () => {
    const reply = await sluice.ask(`/customers/${encodeURIComponent(EMAIL)}/536%2D22%2D8134`, { token: await sluice.token() });
    expect(exposed(JSON.stringify(await sluice.events(String(reply.headers['x-sluice-session']))))).toEqual([]);
  });
});

describe('past the record', () => {
  const unrecorded = async (path: string, ask: Parameters<Sluice['ask']>[1] = {}): Promise<void> => {
    const reply = await sluice.ask(path, { token: await sluice.token(), ...ask });
    const session = String(reply.headers['x-sluice-session'] ?? JSON.parse(reply.text).session);
    expect(exposed(JSON.stringify(await sluice.events(session)))).toEqual([]);
  };
  test.each<[string, string, Parameters<Sluice['ask']>[1]]>([
    ['in the names of headers', '/customers/1', { headers: { [`x-${CARD}`]: '1', [`x-${SSN}`]: '2' } }],
    ['in the host', '/customers/1', { headers: { host: `${SSN}.example.com` } }],
    ['in names of the query', `/customers/1?${encodeURIComponent(EMAIL)}=1&${CARD}`, {}],
    ['in the path, with pluses', '/customers/536+22+8134', {}],
    [
      'in a parameter of the type',
      '/tickets',
      { method: 'POST', body: '{}', headers: { 'content-type': `application/json; x="${CARD}"` } },
    ],
    [
      'in the body, in JSON within JSON',
      '/tickets',
      {
        method: 'POST',
        body: JSON.stringify({ a: JSON.stringify({ b: EMAIL.replace('@', '\\u0040') }), [SSN]: Number(CARD) }),
        headers: { 'content-type': 'application/json' },
      },
    ],
    [
      'in a form',
      '/tickets',
      {
        method: 'POST',
        body: `a=${encodeURIComponent(encodeURIComponent(EMAIL))}&ssn=536+22+8134`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      },
    ],
    ['in what is refused', `/db/${SSN}/${encodeURIComponent(EMAIL)}`, { headers: { 'x-note': CARD } }],
  ])('%s', async (_, path, ask) => unrecorded(path, ask));

  test('in the path, escaped for HTML and then for the path', () =>
    unrecorded(`/customers/${[...SSN].map((c) => `%26%23${c.charCodeAt(0)}%3b`).join('')}`));
});

describe('past the approvals', () => {
  const refund = (token: string, headers: Record<string, string> = {}, body = '{"amount":1}') =>
    sluice.ask('/orders/1/refund', { token, method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  const agent = (sub = 'agent-7') => sluice.token({ sub, groups: ['leads'] });
  const LATER = { prefer: 'respond-async' };
  const held = async (token: string, headers: Record<string, string> = {}): Promise<string> => {
    const reply = await refund(token, { ...LATER, ...headers });
    expect(reply.status).toBe(202);
    return JSON.parse(reply.text).approval;
  };
  const clear = async (): Promise<void> => {
    for (const { id } of await sluice.approvals(0)) await sluice.answer(id, 'deny', 'cleared', await sluice.approver('zoe'));
  };
  beforeEach(clear);

  test('nobody answers their own, by any other door', async () => {
    const token = await agent('lead-1');
    const id = await held(token);
    expect((await sluice.answer(id, 'approve', '', token)).status).toBe(403);
    expect((await sluice.answer(id, 'approve', '', await sluice.approver('lead-1'))).status).toBe(403);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      const reply = await sluice.ask(`/.well-known/sluice/approvals/${id}/answer`, {
        token,
        method,
        body: '{"verdict":"approve"}',
        headers: { 'content-type': 'application/json' },
      });
      expect(reply.status).toBe(404);
    }
    expect((await refund(token, LATER)).status).toBe(202);
    expect(sluice.seen).toEqual([]);
  });

  test('one approval is one passage, also of many requests at once', async () => {
    const token = await agent();
    await sluice.answer(await held(token), 'approve');
    const statuses = (await Promise.all(Array.from({ length: 12 }, () => refund(token, LATER)))).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(sluice.seen).toHaveLength(1);
  });

  test('two that wait for the same are two approvals', async () => {
    const token = await agent();
    const gone = new AbortController();
    const both = [1, 2].map(() => sluice.ask('/orders/1/refund', { token, method: 'POST', signal: gone.signal }).catch(() => undefined));
    const [first, second] = await sluice.approvals(2);
    expect(first?.id).not.toBe(second?.id);
    await sluice.answer(first?.id ?? '', 'approve');
    await Promise.race(both);
    await sleep(200);
    expect(sluice.seen).toHaveLength(1);
    gone.abort();
    await Promise.all(both);
  });

  test.each<[string, () => Promise<Reply>]>([
    ['another identity', async () => refund(await agent('agent-8'), LATER)],
    ['another body', async () => refund(await agent(), LATER, '{"amount":1000}')],
    [
      'another query',
      async () =>
        sluice.ask('/orders/1/refund?x=1', {
          token: await agent(),
          method: 'POST',
          body: '{"amount":1}',
          headers: { 'content-type': 'application/json', ...LATER },
        }),
    ],
    [
      'another order',
      async () =>
        sluice.ask('/orders/2/refund', {
          token: await agent(),
          method: 'POST',
          body: '{"amount":1}',
          headers: { 'content-type': 'application/json', ...LATER },
        }),
    ],
    ['another type', async () => refund(await agent(), { ...LATER, 'content-type': 'application/json; x=y' })],
    ['another host', async () => refund(await agent(), { ...LATER, host: 'other' })],
    ['another header', async () => refund(await agent(), { ...LATER, 'x-account': '2' })],
    ['another cookie', async () => refund(await agent(), { ...LATER, cookie: 'account=2' })],
  ])('a grant is not good for %s', async (_, ask) => {
    const token = await agent();
    await sluice.answer(await held(token), 'approve');
    expect((await ask()).status).toBe(202);
    expect(sluice.seen).toEqual([]);
    expect(
      (await refund(token, { 'user-agent': 'other', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' })).status,
    ).toBe(200);
  });

  test('a quorum of two is two people, whatever groups they are in and however often they answer', async () => {
    const token = await agent();
    const remove = () => sluice.ask('/tickets/9', { token: removing, method: 'DELETE', headers: LATER });
    const removing = await sluice.token({ sub: 'agent-7' });
    const first = await remove();
    expect(first.status).toBe(202);
    const id = JSON.parse(first.text).approval;
    const twice = await sluice.approver('dana', ['leads', 'audit']);
    const answers = [];
    for (const by of [twice, twice, await sluice.approver('dana', ['leads']), await sluice.approver('dana', ['audit'])])
      answers.push((await sluice.answer(id, 'approve', '', by)).status);
    expect(answers[0]).toBe(200);
    // Neither the one who asked; and to somebody of no named group there is no such approval.
    expect((await sluice.answer(id, 'approve', '', token)).status).toBe(403);
    expect((await sluice.answer(id, 'approve', '', await sluice.approver('eve', ['support-agents']))).status).toBe(404);
    expect((await remove()).status).toBe(202);
    expect(sluice.seen).toEqual([]);
    expect((await sluice.answer(id, 'approve', '', await sluice.approver('lee', ['audit']))).status).toBe(200);
    expect((await remove()).status).not.toBe(202);
    expect(sluice.seen.map(({ method, url }) => `${method} ${url}`)).toEqual(['DELETE /tickets/9']);
    expect((await remove()).status).toBe(202);
  });

  test('a hold that expires is a denial, and an answer that comes late is none', async () => {
    const removing = await sluice.token();
    const waits = sluice.ask('/customers/99', { token: removing, method: 'DELETE' });
    const [{ id } = { id: '' }] = await sluice.approvals();
    const reply = await waits;
    expect([reply.status, JSON.parse(reply.text).type]).toEqual([403, 'urn:sluice:problem:approval-expired']);
    expect((await sluice.answer(id, 'approve')).status).toBe(409);
    const again = await sluice.ask('/customers/99', { token: removing, method: 'DELETE', headers: LATER });
    expect([again.status, JSON.parse(again.text).approval === id]).toEqual([202, false]);
    // A grant that was never given does not come of a caller that went away, either.
    await sleep(1_300);
    expect((await sluice.answer(JSON.parse(again.text).approval, 'approve')).status).toBe(409);
    expect((await sluice.ask('/customers/99', { token: removing, method: 'DELETE', headers: LATER })).status).toBe(202);
    expect(sluice.seen).toEqual([]);
  });

  test('an answer counts once, and a denial is not undone', async () => {
    const token = await agent();
    const id = await held(token);
    const replies = await Promise.all(
      ['deny', 'approve', 'approve', 'deny'].map(async (verdict, n) =>
        sluice.answer(id, verdict as 'deny', '', await sluice.approver(`p-${n}`)),
      ),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    const approved = replies.findIndex(({ status }) => status === 200) % 3 !== 0;
    expect((await refund(token, LATER)).status).toBe(approved ? 200 : 202);
    expect((await refund(token, LATER)).status).toBe(202);
    expect(sluice.seen).toHaveLength(approved ? 1 : 0);
  });
});

describe('at the doors', () => {
  const random = (length: number, seed: number): Buffer => {
    const bytes = Buffer.alloc(length);
    for (let n = 0, state = seed; n < length; n++) bytes[n] = (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 16;
    return bytes;
  };
  const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  /** Writes to a socket of the service and waits until it closes, or for a moment. */
  const write = (name: string, bytes: Buffer): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(join(sluice.config.runDir, name), () => socket.write(bytes));
      const end = (): void => {
        socket.destroy();
        resolve();
      };
      setTimeout(end, 100);
      socket.on('error', end).on('close', end).resume();
    });
  /** One gRPC call with this as its message. */
  const call = (name: string, path: string, frame: Buffer): Promise<string> =>
    new Promise((resolve) => {
      const session = connectHttp2('http://localhost', { createConnection: () => connect(join(sluice.config.runDir, name)) });
      const end = (status: string): void => {
        clearTimeout(timer);
        session.destroy();
        resolve(status);
      };
      const timer = setTimeout(() => end('silence'), 20_000);
      session.on('error', () => end('closed'));
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
      let status = 'none';
      stream.on('response', (headers) => (status = String(headers['grpc-status'] ?? status)));
      stream.on('trailers', (headers) => (status = String(headers['grpc-status'] ?? status)));
      stream
        .on('error', () => end('reset'))
        .on('close', () => end(status))
        .resume();
      stream.end(frame);
    });
  const framed = (message: Buffer, length = message.length): Buffer => {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(length, 1);
    return Buffer.concat([head, message]);
  };
  const alive = async (): Promise<void> => {
    expect((await sluice.admin('GET', '/readyz')).status).toBe(200);
    expect((await sluice.ask('/tickets/1', { token: await sluice.token() })).status).toBe(200);
  };
  const CHECK = '/envoy.service.auth.v3.Authorization/Check';
  const EMIT = '/sluice.tap.v1.Tap/Emit';

  test.each(['check.sock', 'tap.sock', 'admin.sock'])('noise into %s', async (name) => {
    const pieces = [...Array(20)].map((_, n) => random(1 + n * 997, n + 1));
    await Promise.all(pieces.flatMap((bytes) => [write(name, bytes), write(name, Buffer.concat([PREFACE, bytes]))]));
    await alive();
  });

  test.each([
    ['check.sock', CHECK],
    ['tap.sock', EMIT],
    ['check.sock', EMIT],
    ['tap.sock', CHECK],
    ['check.sock', '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo'],
  ])('messages that are none, to %s%s', async (name, path) => {
    const messages = [
      framed(Buffer.alloc(0)),
      framed(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])),
      framed(Buffer.from([0x0a, 0x02, 0x22, 0x00])),
      framed(Buffer.alloc((64 << 20) >> 6)),
      framed(Buffer.alloc(3), 0xffff_ffff),
      Buffer.from([1, 0, 0, 0, 1, 0]),
      framed(Buffer.alloc(10_000, 0x0b)),
      ...[...Array(30)].map((_, n) => framed(random(n * 13, n + 7))),
    ];
    const statuses = await Promise.all(messages.map((message) => call(name, path, message)));
    expect(statuses).not.toContain('silence');
    await alive();
  });

  /** One stream of an emitter: what the sink acknowledged, and the status with which it ended the stream, if it did. */
  const emit = (emitter: string, firstSequence: number, events: Buffer[]): Promise<{ acknowledged: boolean; status: string }> =>
    new Promise((resolve) => {
      const session = connectHttp2('http://localhost', { createConnection: () => connect(join(sluice.config.runDir, 'tap.sock')) });
      const stream = session.request({ ':method': 'POST', ':path': EMIT, 'content-type': 'application/grpc', te: 'trailers' });
      let [acknowledged, status] = [false, ''];
      const end = (): void => {
        session.destroy();
        resolve({ acknowledged, status });
      };
      setTimeout(end, 700);
      session.on('error', end);
      const note = (headers: OutgoingHttpHeaders): void => {
        status = String(headers['grpc-status'] ?? status);
      };
      stream.on('response', note).on('trailers', note).on('error', end).on('close', end);
      stream.on('data', () => (acknowledged = true));
      stream.write(framed(encodeEmitRequest({ kind: 'hello', emitter, software: 'hostile', firstSequence })));
      for (const bytes of events) stream.write(framed(encodeEmitRequest({ kind: 'events', events: [bytes] })));
    });
  const event = (emitter: string, sequence: number, session: string, body: TapBody): Buffer =>
    Buffer.from(encodeEvent({ emitter, sequence, timeUnixNanos: 1n, session, target: 'demo', truncated: [], body }));
  const FORGED: TapBody = closedBody('complete');

  test('an emitter that keeps the form and nothing else ends its own stream, and no other', async () => {
    const token = await sluice.token();
    const id = (n: number): string => n.toString(16).padStart(32, '0');
    const MOST = Number.MAX_SAFE_INTEGER;
    const chunk: TapBody = {
      kind: 'payload_chunk',
      direction: 'request',
      offset: 0,
      data: Buffer.alloc(63_000),
      last: false,
      truncated: false,
      contentType: '',
      contentEncoding: '',
      reason: '',
    };
    const huge = Buffer.concat([event(id(5), 1, 's', chunk), Buffer.from([0x7a, 0x80, 0x80, 0x40]), Buffer.alloc(1 << 20)]);
    const results = await Promise.all([
      emit(id(1), 1, [event(id(1), 1, 's', FORGED), event(id(1), 3, 's', FORGED)]),
      emit(id(2), 1, [event(id(2), MOST, 's', FORGED)]),
      emit(id(3), MOST, [event(id(3), MOST, 's', FORGED), event(id(3), 1, 's', FORGED)]),
      emit(id(4), 1, [event(id(14), 1, 's', FORGED)]),
      emit(id(5), 1, [huge]),
      emit(id(6), 1, [Buffer.alloc(0)]),
      emit(id(7), 1, [event(id(7), 1, 'x'.repeat(129), FORGED)]),
      emit('not an emitter', 1, []),
      emit(id(8), 0, []),
      emit(
        id(9),
        1,
        Array.from({ length: 200 }, (_, n) => event(id(9), n + 1, `hostile-${n}`, { ...chunk, data: Buffer.alloc(60_000) })),
      ),
    ]);
    const [INVALID, RANGE] = ['3', '11'];
    expect(results.map(({ status }) => status)).toEqual([
      RANGE,
      RANGE,
      '',
      INVALID,
      expect.stringMatching(/^(?:3|8)$/),
      INVALID,
      INVALID,
      INVALID,
      INVALID,
      '',
    ]);
    await alive();
    // What it tells of others changes neither a hold nor what the service has recorded.
    const held = sluice.ask('/customers/1', { token, method: 'DELETE' });
    let approval: Awaited<ReturnType<typeof sluice.approvals>>[number] | undefined;
    while (!approval) approval = (await sluice.approvals(0)).find(({ summary }) => summary === 'DELETE /customers/1');
    const { session } = approval;
    const { status } = await emit(id(10), 1, [
      event(id(10), 1, session, { kind: 'hold_answered', approval: approval.id, answer: 'approved', by: 'nobody', reason: '' }),
      event(id(10), 2, session, { kind: 'request_forwarded', emitter: '' }),
      event(id(10), 3, session, FORGED),
    ]);
    expect(status).toBe('');
    expect((await held).status).toBe(403);
    expect(sluice.seen.filter(({ method }) => method === 'DELETE')).toEqual([]);
    const events = await sluice.events(session, '"denied"');
    // The record tells who said what.
    expect(events.filter(({ emitter }) => emitter === id(10))).toHaveLength(3);
    expect(events.filter(({ emitter }) => emitter !== id(10)).map(({ kind }) => kind)).toEqual([
      'session_opened',
      'request_judged',
      'request_held',
      'hold_answered',
      'session_closed',
    ]);
    await alive();
  });

  test('the admin API tells nobody anything', async () => {
    const agent = await sluice.token();
    for (const [method, path] of [
      ['GET', '/v1/sessions'],
      ['GET', '/v1/sessions/../../etc/passwd'],
      ['GET', '/v1/sessions/ses_%2e%2e'],
      ['GET', '/v1/approvals/__proto__'],
      ['POST', '/v1/approvals/constructor/answer'],
      ['DELETE', '/v1/approvals/x'],
      ['GET', '/v1/sessions?limit=1e9'],
      ['GET', '//v1/sessions'],
      ['OPTIONS', '*'],
      ['TRACE', '/v1/sessions'],
    ] as const) {
      for (const token of [undefined, 'x', `${agent}x`, agent]) {
        const reply = await sluice
          .admin(method, path, token, method === 'POST' ? { verdict: 'approve' } : undefined)
          .catch(() => ({ status: 400, text: '' }));
        expect([path, reply.status >= 400 && reply.status < 500]).toEqual([path, true]);
        expect(reply.text).not.toMatch(/at .*\.ts|node:|\/authz-service\//);
      }
    }
    for (const body of [
      '',
      '{',
      'null',
      '[]',
      '{"verdict":"approve","__proto__":{}}',
      '{"verdict":["approve"]}',
      `{"verdict":"deny","reason":"\\u001b[2J"}`,
      `"${'x'.repeat(1 << 20)}"`,
    ]) {
      const status = await new Promise<number>((resolve) => {
        const request = httpRequest(
          {
            socketPath: sluice.config.admin.socket,
            method: 'POST',
            path: '/v1/approvals/apr_x/answer',
            agent: false,
            headers: { authorization: `Bearer ${agent}`, 'content-type': 'application/json' },
          },
          (response) => resolve(response.resume().statusCode ?? 0),
        );
        request.on('error', () => resolve(400));
        request.end(body);
      });
      expect([body.slice(0, 40), status >= 400 && status < 500]).toEqual([body.slice(0, 40), true]);
    }
  });

  test('two hundred that send a byte at a time keep nobody waiting', async () => {
    const slow = Array.from({ length: 200 }, () => {
      const socket = connect(sluice.port, '127.0.0.1', () =>
        socket.write('POST /tickets HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nX: '),
      );
      const timer = setInterval(() => socket.write('y'), 100);
      socket.on('error', () => {}).on('close', () => clearInterval(timer));
      return socket;
    });
    await sleep(300);
    const since = performance.now();
    await alive();
    expect(performance.now() - since).toBeLessThan(8_000);
    for (const socket of slow) socket.destroy();
  });
});

describe('errors say what is wrong, and what to do', () => {
  test.each([
    ['no token', '/customers', {}, 401],
    ['a token that is none', '/customers', { authorization: 'Bearer x' }, 401],
    ['another scheme', '/customers', { authorization: 'Basic dTpw' }, 401],
    ['a method override', '/customers', { 'x-http-method': 'DELETE' }, 400],
  ])('%s', async (_, path, headers, status) => {
    const token = 'authorization' in headers || status === 401 ? undefined : await sluice.token();
    const reply = await sluice.ask(path, { token, headers: headers as Record<string, string> });
    expect([reply.status, reply.headers['content-type']]).toEqual([status, 'application/problem+json']);
    expect(JSON.parse(reply.text)).toMatchObject({
      type: expect.stringMatching(/^urn:sluice:problem:/),
      status,
      detail: expect.stringMatching(/\w+ \w+/),
    });
  });
});

test('after all of that nothing got through that is no read or write of a grant, and no secret is in logs, figures or configuration', async () => {
  expect(through().filter((line) => !/^(?:POST|GET) \/tickets/.test(line))).toEqual([]);
  const envoy = (path: string): Promise<string> =>
    new Promise((resolve, reject) => {
      httpRequest({ socketPath: join(sluice.config.runDir, 'envoy-admin.sock'), path, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk)).on('end', () => resolve(text));
      })
        .on('error', reject)
        .end();
    });
  const places = {
    log: sluice.serviceLog.join(''),
    envoy: sluice.envoyLog.join('\n'),
    metrics: (await sluice.admin('GET', '/metrics')).text,
    config: await envoy('/config_dump'),
    stats: await envoy('/stats'),
  };
  for (const [place, text] of Object.entries(places)) {
    expect([place, text.length > 0 || place === 'envoy']).toEqual([place, true]);
    for (const secret of ['the-targets-own-secret', 'k'.repeat(40), Buffer.from('k'.repeat(40)).toString('base64')])
      expect([place, text.includes(secret)]).toEqual([place, false]);
    expect([place, exposed(text)]).toEqual([place, []]);
    expect([place, /eyJ[\w-]+\.eyJ/.test(text)]).toEqual([place, false]);
  }
});
