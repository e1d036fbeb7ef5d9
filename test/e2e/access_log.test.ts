/** Envoy's own access log through the real Envoy: an event of the session or of none, and nothing in it that is secret. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { timeline } from '../../authz-service/replay/play.ts';
import type { ReplayedEvent } from '../../authz-service/replay/tell.ts';
import { CUSTOMERS, SECRETS, Sluice } from './sluice.fixture.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));
const [customer] = CUSTOMERS;

let gateway: Sluice;
beforeAll(async () => {
  gateway = await Sluice.start((document) => {
    document.tap = { envoy_access_log: true };
  });
});
afterAll(() => gateway?.close());

interface Logged {
  readonly session: string;
  readonly target: string;
  readonly kind: string;
  readonly body: Record<string, unknown>;
}

/** All that Envoy logged of this session; of none: with ''. */
const loggedOf = async (session: string): Promise<Logged[]> => {
  const token = await gateway.approver('olga', ['audit']);
  const env = { ...process.env, SLUICE_TOKEN: token, SLUICE_ADMIN: '', SLUICE_CONFIG: join(gateway.dir, 'sluice.yaml') };
  const out = await new Promise<string>((resolve, reject) => {
    execFile(SLUICE, ['export', '--format', 'json', '--events', 'envoy_access_log'], { env }, (error, text, err) =>
      error ? reject(new Error(err)) : resolve(text),
    );
  });
  return out
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Logged)
    .filter((event) => event.kind === 'envoy_access_log' && event.session === session);
};

test('a request that was let through is in its session, without token, credential, query or anything sensitive', async () => {
  const token = await gateway.token();
  const path = `/customers?name=hidden-in-the-query&access_token=${token}`;
  const headers = { 'user-agent': `an-agent/1.0 ${customer?.card}`, referer: `https://elsewhere.example/?${token}` };
  const reply = await gateway.ask(path, { token, headers });
  expect(reply.status).toBe(200);
  const session = String(reply.headers['x-sluice-session']);
  const events = (await gateway.events(session, 'envoy_access_log')) as unknown as ReplayedEvent[];
  const logged = events.filter(({ kind }) => kind === 'envoy_access_log');
  expect(logged).toMatchObject([
    {
      session,
      target: 'demo',
      body: {
        log: 'sluice',
        type: 'DownstreamEnd',
        protocol: 'HTTP/1.1',
        method: 'GET',
        path: '/customers',
        status: 200,
        details: 'via_upstream',
        upstreamCluster: 'target_demo',
        upstreamAddress: `127.0.0.1:${gateway.targetPort}`,
        downstreamAddress: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        userAgent: expect.stringMatching(/^an-agent\/1\.0 \S+/),
      },
    },
  ]);
  const text = JSON.stringify(logged) + timeline(session, events);
  expect(text).toContain('Envoy logged HTTP/1.1 GET');
  for (const secret of [token, 'the-targets-own-secret', 'hidden-in-the-query', 'elsewhere.example', ...SECRETS])
    expect(text).not.toContain(secret);
});

test('a request that was refused is in its session too, and one that Envoy refused itself in none', async () => {
  const denied = await gateway.ask('/customers/1', { method: 'PATCH', token: await gateway.token() });
  expect(denied.status).toBe(403);
  const { session } = JSON.parse(denied.text);
  const events = (await gateway.events(session, 'envoy_access_log')) as unknown as Logged[];
  expect(events.filter(({ kind }) => kind === 'envoy_access_log')).toMatchObject([
    { session, body: { method: 'PATCH', status: 403, flags: ['UAEX'], details: 'ext_authz_denied' } },
  ]);

  // The path that policy would judge is not certain: Envoy refuses it, and nobody is asked.
  expect((await gateway.ask('/customers%2f1', { token: await gateway.token() })).status).toBe(400);
  await expect.poll(async () => (await loggedOf('')).map(({ body }) => body.status), { timeout: 15_000, interval: 500 }).toEqual([400]);
});

test('the log goes on when the sink is back that was away', async () => {
  await gateway.stopService('SIGKILL');
  await sleep(200);
  await gateway.startService();
  await expect.poll(async () => (await gateway.ask('/customers', { token: await gateway.token() })).status, { timeout: 15_000 }).toBe(200);
  const reply = await gateway.ask('/customers', { token: await gateway.token() });
  const events = await gateway.events(String(reply.headers['x-sluice-session']), 'envoy_access_log');
  expect(events.map(({ kind }) => kind)).toContain('session_closed');
});
