/** Targets behind a real Envoy: how they are reached, what is told when they fail, and how they and listeners change while Envoy runs. */

import { Agent, request } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Config } from '../../authz-service/config/config.ts';
import { envoyFiles, generateEnvoy, placesOf } from '../../authz-service/envoy/generate.ts';
import { startEnvoy } from '../../authz-service/envoy/process.ts';
import { writeEnvoy } from '../../authz-service/envoy/write.ts';
import { freePort } from '../free_port.fixture.ts';
import { ALLOW, type Gateway, listening, startGateway } from './envoy_gateway.fixture.ts';
import { ask, problem } from './http_client.fixture.ts';

let gateway: Gateway;
const deploy = (config: Config): string[] => writeEnvoy(placesOf(config).dir, envoyFiles(generateEnvoy(config)));

/** What Envoy says of its clusters. */
const clusters = (): Promise<string> =>
  new Promise((settle, fail) => {
    const asked = request({ socketPath: join(gateway.config.runDir, 'envoy-admin.sock'), path: '/clusters', agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk)).on('end', () => settle(text));
    });
    asked.once('error', fail).end();
  });

beforeAll(async () => {
  gateway = await startGateway(
    (document) => {
      document.targets[0].request_body_limit = '4MiB';
      document.targets.push({ ...document.targets[0], name: 'hurried', hosts: ['hurried'], response_timeout: '300ms' });
      document.targets[0].hosts = ['127.0.0.1'];
      document.envoy.max_connections = 50;
    },
    ({ url }, response) => {
      if (url === '/silent') return;
      response.write('begun');
      if (url === '/reset') setTimeout(() => response.destroy(), 50);
      else response.end();
    },
  );
});
afterAll(() => gateway?.close());
beforeEach(() => {
  gateway.answer = () => ALLOW;
  gateway.seen.length = 0;
  gateway.checked.length = 0;
});

describe('bodies', () => {
  test('a limit may be higher than what Envoy buffers otherwise', async () => {
    const body = Buffer.alloc(4 * 1024 * 1024, 'x');
    expect((await ask(gateway.port, '/', { method: 'POST', body })).status).toBe(200);
    expect(gateway.checked[0]?.attributes.request.http.raw_body.length).toBe(body.length);
    expect((await ask(gateway.port, '/', { method: 'POST', body: Buffer.concat([body, Buffer.from('x')]) })).status).toBe(413);
  });

  test('a caller that waits for 100 Continue gets it', async () => {
    const status = await new Promise((settle, fail) => {
      const asked = request({ host: '127.0.0.1', port: gateway.port, method: 'POST', headers: { expect: '100-continue' } }, (response) =>
        settle(response.resume().statusCode),
      );
      asked
        .once('continue', () => asked.end('body'))
        .once('error', fail)
        .flushHeaders();
    });
    expect([status, gateway.seen[0]?.body.toString()]).toEqual([200, 'body']);
  });
});

describe('a target that fails', () => {
  test('that is silent past its time-out is a 504', async () => {
    const response = await ask(gateway.port, '/silent', { headers: { host: 'hurried' } });
    expect([response.status, problem(response).title]).toEqual([504, 'The target is too slow']);
    expect(problem(response).session).toBeUndefined();
  });

  test('after it was judged, the session is told, for the record to be found by', async () => {
    gateway.answer = () => ({ ...ALLOW, dynamic_metadata: { fields: { session: { stringValue: 'ses_1' } } } });
    const response = await ask(gateway.port, '/silent', { headers: { host: 'hurried' } });
    expect(problem(response)).toMatchObject({ type: 'urn:sluice:problem:target-too-slow', session: 'ses_1', reason: 'response_timeout' });
  });

  test('that breaks off in the middle ends the response as broken, not as whole', async () => {
    await expect(ask(gateway.port, '/reset')).rejects.toThrow();
  });

  test('a hold does not count towards the time-out of the response', async () => {
    gateway.answer = () => new Promise((settle) => setTimeout(settle, 700, ALLOW));
    expect((await ask(gateway.port, '/', { headers: { host: 'hurried' } })).status).toBe(200);
  });
});

describe('changes while Envoy runs', () => {
  test('a target that speaks HTTP/2 without TLS is added, and asked in it', async () => {
    const versions: string[] = [];
    const { server, port } = await listening(
      createHttp2Server((asked, response) => {
        versions.push(asked.httpVersion);
        response.end('two');
      }),
    );
    deploy(
      gateway.configure((document) =>
        document.targets.push({ name: 'two', listener: 'http', hosts: ['two'], url: `http://127.0.0.1:${port}`, http_version: 2 }),
      ),
    );
    await expect.poll(async () => (await ask(gateway.port, '/', { headers: { host: 'two' } })).text, { timeout: 10_000 }).toBe('two');
    expect(new Set(versions)).toEqual(new Set(['2.0']));
    server.close();
  });

  test('what is held for a target that goes away is told, and does not reach another', async () => {
    deploy(
      gateway.configure((document) =>
        document.targets.push({ name: 'short', listener: 'http', hosts: ['short'], url: `http://127.0.0.1:${gateway.targetPort}` }),
      ),
    );
    await expect.poll(async () => (await ask(gateway.port, '/', { headers: { host: 'short' } })).status, { timeout: 10_000 }).toBe(200);
    let release = (): void => {};
    gateway.answer = () => new Promise((settle) => (release = () => settle(ALLOW)));
    gateway.checked.length = 0;
    const held = ask(gateway.port, '/held', { headers: { host: 'short' } });
    await expect.poll(() => gateway.checked.length).toBe(1);
    deploy(gateway.configure((document) => document.targets.pop()));
    gateway.answer = () => ALLOW;
    await expect.poll(async () => (await ask(gateway.port, '/', { headers: { host: 'short' } })).status, { timeout: 10_000 }).toBe(404);
    // Routes and clusters change one after the other.
    await expect.poll(clusters, { timeout: 10_000 }).not.toContain('short');
    release();
    const response = await held;
    expect([response.status, problem(response).title]).toEqual([503, 'The target is away']);
    expect(gateway.seen.filter(({ url }) => url === '/held')).toEqual([]);
  });

  test('a new listener is opened, and what is under way on the old one goes on', async () => {
    const port = await freePort();
    let release = (): void => {};
    gateway.answer = () => new Promise((settle) => (release = () => settle(ALLOW)));
    const held = ask(gateway.port, '/held');
    await expect.poll(() => gateway.checked.length).toBe(1);
    gateway.answer = () => ALLOW;
    deploy(
      gateway.configure((document) => {
        document.listeners.push({ name: 'second', address: `127.0.0.1:${port}` });
        document.approvals = { max_ttl: '1h' };
        document.targets.push({ name: 'other', listener: 'second', url: `http://127.0.0.1:${gateway.targetPort}` });
      }),
    );
    await expect
      .poll(
        () =>
          ask(port, '/').then(
            ({ status }) => status,
            () => 0,
          ),
        { timeout: 10_000 },
      )
      .toBe(200);
    expect(gateway.checked.at(-1)?.attributes.context_extensions).toEqual({ target: 'other' });
    release();
    expect((await held).status).toBe(200);
    expect((await ask(gateway.port, '/')).status).toBe(200);
  });

  test('a file that Envoy refuses leaves the old one in force', async () => {
    const { dir } = placesOf(gateway.config);
    writeEnvoy(dir, new Map([['rds-http.yaml', 'resources: [{ "@type": nonsense }]\n']]));
    await expect.poll(() => gateway.log.join('\n'), { timeout: 10_000 }).toMatch(/nonsense/);
    expect((await ask(gateway.port, '/')).status).toBe(200);
  });
});

describe('the process', () => {
  test('more connections than configured are closed at once, and those that are open work on', async () => {
    const agent = new Agent({ keepAlive: true });
    const sockets = Array.from({ length: 80 }, () => connect(gateway.port, '127.0.0.1'));
    const closed = new Set<unknown>();
    for (const socket of sockets)
      socket
        .once('close', () => closed.add(socket))
        .once('error', () => closed.add(socket))
        .resume();
    await expect.poll(() => closed.size, { timeout: 20_000 }).toBeGreaterThanOrEqual(30);
    await sleep(200);
    expect(closed.size).toBeLessThan(50);
    for (const socket of sockets) socket.destroy();
    agent.destroy();
    await expect
      .poll(() =>
        ask(gateway.port, '/').then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(200);
  });

  test('a start that fails says why', async () => {
    await expect(startEnvoy(gateway.config, { bin: '/bin/false' })).rejects.toThrow('Envoy ended with code 1');
    await expect(startEnvoy(gateway.config, { bin: '/nowhere' })).rejects.toThrow('could not be started');
  });

  // Last: it ends the one that all others use.
  test('a stop is prompt, and says how it ended', async () => {
    await gateway.envoy.stop();
    expect(await gateway.envoy.exited).toMatch(/^Envoy (ended with code 0|was ended by SIGTERM)$/);
    await expect(ask(gateway.port, '/')).rejects.toThrow('ECONNREFUSED');
  });
});
