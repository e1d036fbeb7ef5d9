/** The generated configuration in a real Envoy: what reaches policy and target, what is refused, what a caller is told. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { check } from '../../authz-service/cli/check.ts';
import type { Config } from '../../authz-service/config/config.ts';
import { findEnvoy } from '../../authz-service/envoy/binary.ts';
import { envoyFiles, generateEnvoy, placesOf } from '../../authz-service/envoy/generate.ts';
import type { Message } from '../../authz-service/envoy/message.ts';
import { validateEnvoy } from '../../authz-service/envoy/validate.ts';
import { writeEnvoy } from '../../authz-service/envoy/write.ts';
import { freePort } from '../free_port.fixture.ts';
import { authority } from './certificates.fixture.ts';
import { ALLOW, denial, type Gateway, listening, startGateway } from './envoy_gateway.fixture.ts';
import { ask, problem, raw } from './http_client.fixture.ts';

/** What the open files of a process are. */
const descriptors = (pid: number): Set<string> => new Set(readdirSync(`/proc/${pid}/fd`).flatMap((fd) => linkOf(`/proc/${pid}/fd/${fd}`)));
const linkOf = (path: string): string[] => {
  try {
    return [readlinkSync(path)];
  } catch {
    return [];
  }
};

const get = (path: string, ...headers: string[]): string => [`GET ${path} HTTP/1.1`, 'host: api', ...headers, '', ''].join('\r\n');

describe('a plain gateway', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway((document) => {
      document.targets[0].hosts = ['api', '127.0.0.1', '*.api.example'];
      document.targets[0].request_body_limit = '8KiB';
    });
  });
  afterAll(() => gateway?.close());
  beforeEach(() => {
    gateway.answer = () => ALLOW;
    gateway.seen.length = 0;
    gateway.checked.length = 0;
  });

  const http = () => gateway.checked[0]?.attributes.request.http;

  test.each([
    ['/a/b?x=1', '/a/b?x=1'],
    ['/a/./b/../c//d?x=/../y', '/a/c/d?x=/../y'],
    ['/a\\..\\b', '/b'],
    ['/a/%2e%2e/b', '/b'],
    ['/%63ustomers/%7Eu', '/customers/~u'],
    ['/a%252Fb', '/a%252Fb'],
    ['/a;x=1/b', '/a;x=1/b'],
    ['http://api/x', '/x'],
  ])('%s is judged, and reaches the target, as %s', async (sent, path) => {
    expect((await raw(gateway.port, get(sent))).status).toBe(200);
    expect(http()?.path).toBe(path);
    expect(gateway.seen.map(({ url }) => url)).toEqual([path]);
  });

  test.each([
    ['an escaped slash', get('/a%2Fb'), 400, 'Ambiguous path'],
    ['an escaped backslash', get('/a%5Cb'), 400, 'Ambiguous path'],
    ['an escaped zero', get('/a%00b'), 400, 'Ambiguous path'],
    ['a fragment', get('/a#b'), 400, 'Ambiguous path'],
    ['a path without slash', 'OPTIONS * HTTP/1.1\r\nhost: api\r\n\r\n', 400, 'No path'],
    ['a header name with an underscore', get('/a', 'x_user: root'), 400, 'Ambiguous header'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400, 'No host'],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nhost: api\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'Malformed request',
    ],
    ['no HTTP', 'what?\r\n\r\n', 400, 'Malformed request'],
    ['an upgrade', get('/a', 'connection: upgrade', 'upgrade: websocket'), 403, 'No upgrades'],
    ['a tunnel', 'CONNECT api:80 HTTP/1.1\r\nhost: api:80\r\n\r\n', 404, 'No such target'],
    ['two hosts', get('/a', 'host: other'), 404, 'No such target'],
    ['too many headers', get('/a', ...Array.from({ length: 120 }, (_, i) => `h${i}: x`)), 431, 'Request headers too large'],
    ['long headers', get('/a', `h: ${'x'.repeat(62_000)}`), 431, 'Request headers too large'],
  ])('%s is refused, with the reason, before it is judged', async (_, bytes, status, title) => {
    const response = await raw(gateway.port, bytes);
    expect([response.status, problem(response).title]).toEqual([status, title]);
    expect([gateway.checked.length, gateway.seen.length]).toEqual([0, 0]);
  });

  test('a body up to the limit is judged whole; a longer one, however it is sent, is refused', async () => {
    const body = randomBytes(8 * 1024);
    expect((await ask(gateway.port, '/', { method: 'POST', body })).status).toBe(200);
    expect(http()?.raw_body.equals(body)).toBe(true);
    expect(gateway.seen[0]?.body.equals(body)).toBe(true);
    const longer = Buffer.alloc(8 * 1024 + 1);
    for (const headers of [{ 'content-length': String(longer.length) }, { 'transfer-encoding': 'chunked' }]) {
      const refused = await ask(gateway.port, '/', { method: 'POST', body: longer, headers });
      expect([refused.status, problem(refused).title]).toEqual([413, 'Request body too large']);
    }
    expect([gateway.checked.length, gateway.seen.length]).toEqual([1, 1]);
  });

  test('the service sees every header apart; what only pretends to be ours or trusted is gone before it', async () => {
    const forged = {
      'x-envoy-upstream-rq-timeout-ms': '1',
      'x-sluice-session': 'forged',
      'x-forwarded-for': '9.9.9.9',
      'x-forwarded-client-cert': 'By=x',
      'x-request-id': 'mine',
    };
    await ask(gateway.port, '/', { headers: { ...forged, 'x-tag': ['one', 'two'] } });
    const headers = http()?.header_map.headers.map(({ key, raw_value }) => `${key}: ${raw_value}`) ?? [];
    expect(headers).toEqual(expect.arrayContaining(['x-tag: one', 'x-tag: two', 'x-envoy-external-address: 127.0.0.1']));
    expect(headers.join('\n')).not.toMatch(/rq-timeout|forged|9\.9\.9\.9|By=x|mine/);
    expect(gateway.checked[0]?.attributes.context_extensions).toEqual({ target: 'echo' });
  });

  test('the target gets its own host, and no header that could stand for another method, path or caller', async () => {
    const tricks = {
      'x-http-method-override': 'DELETE',
      'x-original-url': '/admin',
      'x-rewrite-url': '/admin',
      'x-forwarded-host': 'evil',
      forwarded: 'for=9.9.9.9',
      'proxy-authorization': 'Basic x',
    };
    await ask(gateway.port, '/', { headers: { ...tricks, host: 'api:1234' } });
    expect(http()?.host).toBe('api');
    expect(http()?.header_map.headers.map(({ key }) => key)).toEqual(expect.arrayContaining(Object.keys(tricks)));
    const headers: IncomingHttpHeaders = gateway.seen[0]?.headers ?? {};
    expect(headers.host).toBe(`127.0.0.1:${gateway.targetPort}`);
    expect(Object.keys(headers).toSorted()).toEqual(['host', 'x-forwarded-for', 'x-forwarded-proto', 'x-request-id']);
  });

  test('the credential that the service adds takes the place of the token', async () => {
    gateway.answer = () => ({
      status: { code: 0 },
      ok_response: {
        headers: [{ header: { key: 'authorization', value: 'Basic c2VjcmV0' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' }],
        headers_to_remove: ['x-api-key'],
      },
    });
    await ask(gateway.port, '/', { headers: { authorization: 'Bearer agent', 'x-api-key': 'agent' } });
    expect(gateway.seen[0]?.headers).toMatchObject({ authorization: 'Basic c2VjcmV0' });
    expect(JSON.stringify(gateway.seen[0]?.headers)).not.toContain('agent');
  });

  test.each([
    ['a denial', denial(403, '{"title":"own"}', { 'content-type': 'application/problem+json' }), {}, 403, '{"title":"own"}'],
    ['an empty challenge', denial(401, '', { 'www-authenticate': 'Bearer' }), {}, 401, ''],
    [
      'a status of an approval',
      denial(202, '{"id":"apr_1"}', { 'content-type': 'application/json', location: '/.sluice/apr_1' }),
      {},
      202,
      '{"id":"apr_1"}',
    ],
    ["the filter's refusal", ALLOW, { 'test-filter': 'reply' }, 502, '{"title":"the filter\'s own"}'],
  ])('%s reaches the caller as it was made', async (_, answer, headers, status, body) => {
    gateway.answer = () => answer;
    const response = await ask(gateway.port, '/', { headers });
    expect([response.status, response.text]).toEqual([status, body]);
    if (body.includes('title')) expect(response.headers['content-type']).toBe('application/problem+json');
    expect(gateway.seen).toEqual([]);
  });

  test('an answer that cannot be carried out lets nothing through', async () => {
    gateway.answer = () => ({ status: { code: 0 }, ok_response: { headers: [{ header: { key: 'a b', value: 'x' } }] } });
    const response = await ask(gateway.port, '/');
    expect([response.status, problem(response).title]).toEqual([503, 'Not judged']);
    expect(gateway.seen).toEqual([]);
  });

  test('a trap in the filter ends its request alone, with a reason', async () => {
    const response = await ask(gateway.port, '/', { headers: { 'test-filter': 'trap' } });
    expect([response.status, problem(response).title]).toEqual([503, 'The filter failed']);
    expect(gateway.seen).toEqual([]);
    expect((await ask(gateway.port, '/')).status).toBe(200);
  });

  test('a host of no target is told so, and is not judged', async () => {
    const response = await ask(gateway.port, '/', { headers: { host: 'elsewhere' } });
    expect([response.status, problem(response).title]).toEqual([404, 'No such target']);
    expect((await ask(gateway.port, '/', { headers: { host: 'EU.Api.Example' } })).status).toBe(200);
    expect(gateway.checked.length).toBe(1);
  });

  test('a hold of several seconds ends as the service says', async () => {
    gateway.answer = () => sleep(3_000, ALLOW);
    const began = Date.now();
    expect((await ask(gateway.port, '/')).status).toBe(200);
    expect(Date.now() - began).toBeGreaterThanOrEqual(3_000);
  });

  test('a caller who goes away while held ends the check', async () => {
    let cancelled = false;
    const asked = new Promise<void>((settle) => {
      gateway.answer = () => new Promise(() => settle());
    });
    const socket = connect(gateway.port, '127.0.0.1', () => socket.write(get('/')));
    gateway.onCancel = () => (cancelled = true);
    await asked;
    socket.destroy();
    await expect.poll(() => cancelled).toBe(true);
  });

  test('HTTP/2 without TLS, with many requests held at once on one connection', async () => {
    const release: (() => void)[] = [];
    gateway.answer = () => new Promise((settle) => release.push(() => settle(ALLOW)));
    const session = connectHttp2(`http://127.0.0.1:${gateway.port}`);
    const statuses = Array.from(
      { length: 500 },
      () =>
        new Promise((settle, fail) =>
          session
            .request({ ':path': '/' })
            .once('response', ({ ':status': status }) => settle(status))
            .once('error', fail)
            .resume(),
        ),
    );
    await expect.poll(() => release.length, { timeout: 10_000 }).toBe(500);
    for (const one of release) one();
    expect(new Set(await Promise.all(statuses))).toEqual(new Set([200]));
    session.close();
  });

  test('a changed target takes effect without a restart, and requests under way go on', async () => {
    const { server, port } = await listening(createHttpsServer());
    server.close();
    let release = (): void => {};
    gateway.answer = () => new Promise((settle) => (release = () => settle(ALLOW)));
    const held = ask(gateway.port, '/held');
    await expect.poll(() => gateway.checked.length).toBe(1);
    gateway.answer = () => ALLOW;
    const config = gateway.configure((document) => {
      document.targets.push({ name: 'second', listener: 'http', hosts: ['second'], url: `http://127.0.0.1:${port}` });
    });
    expect(writeEnvoy(placesOf(config).dir, envoyFiles(generateEnvoy(config)))).toEqual(['cds.yaml', 'rds-http.yaml']);
    await expect.poll(async () => (await ask(gateway.port, '/', { headers: { host: 'second' } })).status, { timeout: 10_000 }).toBe(503);
    expect(problem(await ask(gateway.port, '/', { headers: { host: 'second' } })).title).toBe('The target is away');
    expect(gateway.checked.at(-1)?.attributes.context_extensions).toEqual({ target: 'second' });
    release();
    expect((await held).status).toBe(200);
  });

  test('Envoy listens where it was told to, and nowhere else', () => {
    const inodes = readFileSync(`/proc/${gateway.envoy.pid}/net/tcp`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A')
      .map((fields) => [fields[1], fields[9]] as const);
    const own = inodes.filter(([, inode]) => descriptors(gateway.envoy.pid).has(`socket:[${inode}]`)).map(([address]) => address);
    expect([...new Set(own)]).toEqual([`0100007F:${gateway.port.toString(16).toUpperCase().padStart(4, '0')}`]);
  });

  // Last: the service does not come back.
  test('without the service nothing passes, and what is held is told', async () => {
    gateway.answer = () => new Promise(() => {});
    const held = ask(gateway.port, '/held');
    await expect.poll(() => gateway.checked.length).toBe(1);
    gateway.stopChecking();
    for (const response of [await held, await ask(gateway.port, '/')])
      expect([response.status, problem(response).title]).toEqual([503, 'Not judged']);
    expect(gateway.seen).toEqual([]);
  });
});

describe('compressed responses', () => {
  // Inflates to 1,000 times its size, where Envoy's default guard would leave things out at 100.
  const plain = JSON.stringify({ ssn: '078-05-1120', filler: 'x'.repeat(1_000_000) });
  const codings: Record<string, (text: string) => Buffer> = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync };
  const planned = (plan: string) => ({ ...ALLOW, dynamic_metadata: { fields: { plan: { stringValue: plan } } } });
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway(undefined, ({ url }, response) => {
      const coding = url?.slice(1) ?? '';
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-encoding': coding, 'cache-control': 'no-transform' })
        .end(codings[coding]?.(plain) ?? plain);
    });
  });
  afterAll(() => gateway?.close());

  test('gzip comes to the filter plain and whole where there is a plan, even where the target forbids it', async () => {
    gateway.answer = () => planned('CgA=');
    const { headers, text } = await ask(gateway.port, '/gzip', { headers: { 'accept-encoding': 'gzip' } });
    expect([headers['content-encoding'], text.length, text === plain]).toEqual([undefined, plain.length, true]);
  });

  test.each(['br', 'zstd', 'unknown'])('%s keeps its mark, for the filter to refuse', async (coding) => {
    gateway.answer = () => planned('CgA=');
    expect((await ask(gateway.port, `/${coding}`)).headers['content-encoding']).toBe(coding);
  });

  test('without a plan the response is left as it is', async () => {
    gateway.answer = () => planned('');
    expect((await ask(gateway.port, '/gzip')).headers['content-encoding']).toBe('gzip');
  });

  test('Envoy asks the target for no coding of its own', async () => {
    for (const plan of ['', 'CgA=']) {
      gateway.answer = () => planned(plan);
      await ask(gateway.port, '/gzip');
      expect(gateway.seen.at(-1)?.headers['accept-encoding']).toBeUndefined();
    }
  });
});

describe('TLS on every side', () => {
  let gateway: Gateway;
  let ca: ReturnType<typeof authority>;
  let secure: { close(): void };
  const client = () => ({ ca: readFileSync(ca.certificate), servername: 'sluice.test' });
  const asClient = () => ({
    ...client(),
    cert: readFileSync(join(gateway.dir, 'agent.crt')),
    key: readFileSync(join(gateway.dir, 'agent.key')),
  });
  beforeAll(async () => {
    const checkPort = await freePort();
    const tapPort = await freePort();
    const { server, port } = await listening(createHttpsServer((_, response) => response.end('secure')));
    secure = server;
    gateway = await startGateway((document, dir) => {
      ca = authority(dir, 'ca');
      authority(dir, 'other-ca');
      const pair = (leaf: string, ...names: string[]) => ca.issue(leaf, names);
      const service = { ...pair('service', 'service.test'), client_ca: ca.certificate };
      pair('agent', 'agent.test');
      pair('renewed', 'sluice.test');
      const { certificate, key } = pair('target', 'target.test');
      server.setSecureContext({ cert: readFileSync(certificate), key: readFileSync(key) });
      document.listeners[0].tls = { ...pair('listener', 'sluice.test'), client_ca: ca.certificate };
      const url = `https://127.0.0.1:${port}`;
      document.targets = [
        { name: 'good', listener: 'http', hosts: ['good'], url, tls: { ca: ca.certificate, server_name: 'target.test' } },
        { name: 'wrong-name', listener: 'http', hosts: ['wrong-name'], url, tls: { ca: ca.certificate, server_name: 'else.test' } },
        {
          name: 'wrong-ca',
          listener: 'http',
          hosts: ['wrong-ca'],
          url,
          tls: { ca: join(dir, 'other-ca.crt'), server_name: 'target.test' },
        },
      ];
      document.service = {
        check: { address: `127.0.0.1:${checkPort}`, tls: service },
        tap: { address: `127.0.0.1:${tapPort}`, tls: service },
      };
      document.envoy.tls = { ...pair('envoy', 'envoy.test'), ca: ca.certificate, server_name: 'service.test' };
    });
  });
  afterAll(async () => {
    await gateway?.close();
    secure?.close();
  });

  test('agent, service and target are reached by TLS, each proved', async () => {
    const response = await ask(gateway.port, '/', { tls: asClient(), headers: { host: 'good' } });
    expect([response.status, response.text]).toEqual([200, 'secure']);
    expect(gateway.checked.length).toBe(1);
  });

  test('an agent without a certificate does not come in', async () => {
    await expect(ask(gateway.port, '/', { tls: client(), headers: { host: 'good' } })).rejects.toThrow();
  });

  test.each(['wrong-name', 'wrong-ca'])('a target with a certificate of the %s gets nothing', async (host) => {
    const response = await ask(gateway.port, '/', { tls: asClient(), headers: { host } });
    expect([response.status, problem(response).title]).toEqual([503, 'The target is away']);
  });

  test('a renewed certificate is used without a restart', async () => {
    const fingerprint = (): Promise<string> =>
      new Promise((settle, fail) => {
        const socket = connectTls({ port: gateway.port, host: '127.0.0.1', ...client() }, () => {
          settle(socket.getPeerCertificate().fingerprint256);
          socket.destroy();
        }).once('error', fail);
      });
    const before = await fingerprint();
    for (const kind of ['key', 'crt']) {
      copyFileSync(join(gateway.dir, `renewed.${kind}`), join(gateway.dir, 'next'));
      renameSync(join(gateway.dir, 'next'), join(gateway.dir, `listener.${kind}`));
    }
    await expect.poll(fingerprint, { timeout: 10_000 }).not.toBe(before);
  });
});

describe('what Envoy validates', () => {
  let gateway: Gateway;
  let bin: string;
  let config: Config;
  beforeAll(async () => {
    const found = findEnvoy();
    bin = found.ok ? found.bin : expect.fail(found.problem);
    gateway = await startGateway();
    config = withTls();
  });
  afterAll(() => gateway?.close());

  const withTls = (): Config => {
    const ca = authority(gateway.dir, 'ca');
    const { certificate, key } = ca.issue('leaf', ['leaf.test']);
    const tls = { certificate, key, client_ca: ca.certificate };
    return gateway.configure((document) => {
      document.listeners[0].tls = tls;
      document.targets.push({
        name: 'tls',
        listener: 'http',
        hosts: ['tls'],
        url: 'https://tls.test',
        http_version: 2,
        tls: { ca: ca.certificate, certificate, key },
      });
      document.service = { check: { address: '127.0.0.1:9443', tls }, tap: { address: '127.0.0.1:9444', connect: 'tap.test:9444', tls } };
      document.envoy = { ...document.envoy, tls: { certificate, key, ca: ca.certificate }, memory_limit: '1GiB', concurrency: 2 };
    });
  };

  test('everything at once is good', async () => expect(await validateEnvoy(generateEnvoy(config), bin)).toEqual({ ok: true }));

  test.each(['lds', 'rds', 'cds'] as const)('nonsense in %s is found, which a bootstrap alone would hide', async (part) => {
    const whole = generateEnvoy(config);
    const spoilt = (file: Message): Message => ({ resources: [{ ...(file.resources as Message[])[0], nonsense: 1 }] });
    const change =
      part === 'rds' ? { rds: new Map([...whole.rds].map(([name, file]) => [name, spoilt(file)])) } : { [part]: spoilt(whole[part]) };
    const result = await validateEnvoy({ ...whole, ...change }, bin);
    expect(result.ok ? '' : result.problem).toContain('nonsense');
  });

  test('sluice check says so, and exits with 1', async () => {
    const said: string[] = [];
    gateway.configure((document) => Object.assign(document.envoy, { wasm: join(gateway.dir, 'sluice.yaml') }));
    const say = (line: string) => void said.push(line);
    expect(await check({ file: config.file, say })).toBe(1);
    expect(said.join('\n')).toMatch(/ok +configuration[\s\S]*WRONG Envoy configuration[\s\S]*Wasm/);
    gateway.configure((document) => Object.assign(document.envoy, { wasm: join(gateway.dir, 'filter.wasm') }));
    expect(await check({ file: config.file, say })).toBe(0);
    expect(await check({ file: config.file, say, checkPolicy: async () => ['main.rego:1: unexpected token'] })).toBe(1);
  });

  test('the example for an Envoy that one already has', async () => {
    const file = join(gateway.dir, 'your-envoy.yaml');
    const text = readFileSync(new URL('../../envoy/your-envoy.example.yaml', import.meta.url), 'utf8');
    writeFileSync(file, text.replace('/usr/lib/sluice/sluice-http.wasm', join(gateway.dir, 'filter.wasm')));
    expect(spawnSync(bin, ['--mode', 'validate', '-c', file], { encoding: 'utf8' })).toMatchObject({ status: 0 });
  });
});
