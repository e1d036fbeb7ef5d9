/** The record of real sessions, an HTTP request and SQL statements that were held among them, exported while the receivers come and go. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { type Receiver, receiver } from '../../authz-service/export/receivers.fixture.ts';
import { freePort } from '../free_port.fixture.ts';
import { Ledger } from './postgres.fixture.ts';
import { SECRETS } from './sluice.fixture.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));

// biome-ignore lint/suspicious/noExplicitAny: a test's view of JSON
type Json = any;

const READ = 'SELECT id, ssn, name FROM customers ORDER BY id LIMIT 3';

let ledger: Ledger;
let hookPort: number;
let hook: Receiver | undefined;
const hooked: string[] = [];

const openHook = async (): Promise<Receiver> =>
  receiver(({ body }, response) => {
    hooked.push(...body.trimEnd().split('\n'));
    response.end();
  }, hookPort);

beforeAll(async () => {
  hookPort = await freePort();
  hook = await openHook();
  ledger = await Ledger.start((document, dir) => {
    const grants = parse(readFileSync(document.policy.data, 'utf8'));
    const demo = parse(readFileSync(new URL('../../demo/grants.yaml', import.meta.url), 'utf8'));
    writeFileSync(document.policy.data, stringify({ ...grants, targets: { ...demo.targets, ...grants.targets } }));
    document.export = [
      { name: 'file', type: 'file', path: join(dir, 'out/events.ndjson'), batch: { wait: '50ms' } },
      { name: 'whole', type: 'file', path: join(dir, 'out/whole.ndjson'), format: 'json', batch: { wait: '50ms' } },
      { name: 'hook', type: 'webhook', url: `http://127.0.0.1:${hookPort}/in`, max_retry: '1s', batch: { wait: '50ms', events: 5 } },
    ];
  });
}, 120_000);
afterAll(async () => {
  await ledger?.close();
  await hook?.[Symbol.asyncDispose]();
});

const lines = (name: string): Json[] => {
  const path = join(ledger.sluice.dir, 'out', name);
  return existsSync(path)
    ? readFileSync(path, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [];
};

const metric = async (pattern: RegExp): Promise<number> =>
  Number(pattern.exec((await ledger.sluice.admin('GET', '/metrics')).text)?.[1] ?? Number.NaN);

const delivered = async (name: string): Promise<void> => {
  for (const deadline = Date.now() + 20_000; ; await sleep(50)) {
    // Twice: what is told of the export is up to half a second old.
    if ((await metric(new RegExp(`sluice_export_lag_events{destination="${name}"} (\\d+)`))) === 0) return;
    if (Date.now() > deadline) throw new Error(`${name} has not got everything`);
  }
};

async function work(customer: number): Promise<{ http: string; sql: string }> {
  const { sluice } = ledger;
  const held = sluice.ask(`/customers/${customer}`, { method: 'DELETE', token: await sluice.token() });
  const [approval] = await sluice.approvals();
  await sluice.answer(approval?.id ?? '', 'approve');
  const reply = await held;
  expect(reply.status).toBe(200);
  const http = String(reply.headers['x-sluice-session']);
  await sluice.ask('/customers', { token: await sluice.token() });

  const client = await ledger.connect();
  await client.query(READ);
  const drop = client.query(`CREATE TABLE exported_${customer} (id int)`);
  const [second] = await sluice.approvals();
  await sluice.answer(second?.id ?? '', 'approve');
  await drop;
  await client.end();
  await sluice.events(http, 'session_closed');
  return { http, sql: second?.session ?? '' };
}

test('a held request and a held statement leave the gateway as they are in the record, whoever was away meanwhile', async () => {
  const first = { customer: 7, ...(await work(7)) };
  await sleep(300);
  await hook?.[Symbol.asyncDispose]();
  hook = undefined;
  const second = { customer: 2, ...(await work(2)) };
  await ledger.sluice.events(second.sql, 'session_closed');
  await expect.poll(() => metric(/sluice_export_failing{destination="hook"} (\d)/), { timeout: 20_000 }).toBe(1);
  expect(await metric(/sluice_export_failing{destination="file"} (\d)/)).toBe(0);
  // The service is killed while one receiver is away.
  await ledger.sluice.stopService('SIGKILL');
  hook = await openHook();
  await ledger.sluice.startService();
  for (const name of ['file', 'whole', 'hook']) await delivered(name);
  await sleep(700);
  for (const name of ['file', 'whole', 'hook']) await delivered(name);

  const [file, whole] = [lines('events.ndjson'), lines('whole.ndjson')];
  const indices = file.map(({ metadata }) => metadata.sequence);
  expect(new Set(indices).size, 'a file has each event once').toBe(indices.length);
  // Every event of the record but the kinds that are left out.
  expect(whole.map(({ index }) => index)).toEqual(indices);
  const all = Array.from({ length: whole.at(-1).index + 1 }, (_, index) => index);
  const without = new Set(all.filter((index) => !indices.includes(index)));
  expect(without.size).toBeLessThan(all.length / 4);
  const byHook = new Map(hooked.map((line) => [JSON.parse(line).metadata.uid, line]));
  expect([...byHook.keys()].toSorted()).toEqual(file.map(({ metadata }) => metadata.uid).toSorted());
  for (const event of file) expect(byHook.get(event.metadata.uid)).toBe(JSON.stringify(event));

  const of = (session: string, kind: string): Json[] =>
    file.filter(({ metadata }) => metadata.correlation_uid === session && metadata.event_code === kind);
  for (const { customer, http, sql } of [first, second]) {
    expect(of(http, 'request_judged')[0]).toMatchObject({
      class_uid: 6003,
      activity_id: 4,
      actor: { user: { uid: 'test:agent-7' } },
      http_request: { http_method: 'DELETE', url: { path: `/customers/${customer}` } },
      disposition: 'Delayed',
    });
    expect(of(http, 'hold_answered')[0]).toMatchObject({ class_uid: 3003, actor: { user: { uid: 'test:dana' } }, disposition: 'Approved' });
    expect(of(http, 'response_finished')[0]).toMatchObject({ class_uid: 6003, http_response: { code: 200 } });
    const statements = of(sql, 'command_finished').map(({ query_info, unmapped }) => [
      query_info.query_string,
      unmapped.sluice.masked_values,
    ]);
    expect(statements).toContainEqual([READ, 3]);
    expect(statements).toContainEqual([`CREATE TABLE exported_${customer} (id int)`, 0]);
  }
  const everything = [...hooked, ...file.map((event) => JSON.stringify(event)), ...whole.map((event) => JSON.stringify(event))].join('\n');
  for (const secret of [...SECRETS, ...ledger.secrets]) expect(everything).not.toContain(secret);
});

test('sluice export says the same, from where it is asked, and goes on from its cursor', async () => {
  const token = await ledger.sluice.approver('olga', ['audit']);
  const run = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
    new Promise((settle) => {
      const env = { ...process.env, SLUICE_TOKEN: token, SLUICE_ADMIN: '', SLUICE_CONFIG: join(ledger.sluice.dir, 'sluice.yaml') };
      execFile(SLUICE, ['export', ...args], { env, maxBuffer: 1 << 28 }, (error, out, err) =>
        settle({ code: error ? Number(error.code) : 0, out, err }),
      );
    });
  const exported = readFileSync(join(ledger.sluice.dir, 'out/events.ndjson'), 'utf8');
  const { code, out, err } = await run();
  expect([code, err]).toEqual([0, '']);
  expect(out.startsWith(exported)).toBe(true);
  const from = await run('--from', '3', '--limit', '10', '--format', 'json');
  expect(JSON.parse(from.out.split('\n')[0] ?? '')).toMatchObject({ index: 3 });

  const cursor = join(ledger.sluice.dir, 'cursor');
  const pieces: string[] = [];
  for (let n = 0; n < 3; n += 1) pieces.push((await run('--cursor', cursor, '--limit', '9')).out);
  expect(out.startsWith(pieces.join(''))).toBe(true);
  expect(pieces.every((piece) => piece !== '')).toBe(true);
  expect((await run('--format', 'xml')).code).toBe(2);
  expect((await run('--events', 'nothing')).code).toBe(2);
});

/** What `sluice verify --watch` tells of the record. */
const watched = async (): Promise<string> => {
  const port = await freePort();
  const log = join(ledger.sluice.dir, 'state/tap/log');
  const options = ['--remember', join(ledger.sluice.dir, 'kept'), '--watch', '1h', '--metrics', `127.0.0.1:${port}`];
  const watching = spawn(SLUICE, ['verify', '--log', log, ...options], { stdio: 'ignore' });
  const ended = once(watching, 'exit');
  try {
    return await vi.waitFor(async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text(), { timeout: 30_000, interval: 100 });
  } finally {
    watching.kill('SIGTERM');
    await ended;
  }
};

test('every metric of the dashboards and the alerts is one that the service has, or who watches its record', async () => {
  const exposition = (await ledger.sluice.admin('GET', '/metrics')).text + (await watched());
  const known = new Map([...exposition.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]));
  const folder = new URL('../../envoy/', import.meta.url);
  const texts = [
    ...readdirSync(new URL('dashboards/', folder))
      .filter((file) => file.endsWith('.json'))
      .map((file) => readFileSync(new URL(`dashboards/${file}`, folder), 'utf8')),
    readFileSync(new URL('prometheus/alerts.yaml', folder), 'utf8'),
  ];
  const used = new Set(texts.flatMap((text) => [...text.matchAll(/\bsluice_[a-z_]+(?=[{[ )\\]|$)/gm)].map(([name]) => name)));
  expect(used.size).toBeGreaterThan(40);
  for (const name of used) {
    const histogram = name.replace(/_(?:bucket|sum|count)$/, '');
    expect(known.get(name) ?? (known.get(histogram) === 'histogram' ? 'histogram' : undefined), name).toBeDefined();
  }
});
