/** Statements that pass by an earlier judgement, through a real Envoy: that they do, what ends it, and that the record has each. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { Ledger } from './postgres.fixture.ts';

let ledger: Ledger;
const clients: pg.Client[] = [];
beforeAll(async () => {
  ledger = await Ledger.start((document) => {
    document.envoy.concurrency = 2;
  });
}, 60_000);
afterAll(() => ledger?.close());
afterEach(async () => {
  for (const client of clients.splice(0)) await client.end().catch(() => {});
});

const agent = async (claims: Record<string, unknown> = {}): Promise<pg.Client> => {
  const client = await ledger.connect(claims);
  client.on('error', () => {});
  clients.push(client);
  return client;
};
const shown = (id: number): string => `SELECT id, ssn FROM customers WHERE id = ${id}`;
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'ran',
    (error: pg.DatabaseError) => error.code ?? String(error),
  );

interface Recorded {
  readonly kind: string;
  readonly command?: number;
  readonly body: {
    readonly statement?: string;
    readonly rows?: number;
    readonly request?: string;
    readonly masked?: { count: number }[];
    readonly notice?: string;
    readonly text?: string;
  };
}

/** What the record has of the latest sessions, by what they were asked. */
async function record(sessions: number): Promise<Recorded[]> {
  const auditor = await ledger.sluice.approver('olga', ['audit']);
  const { sessions: latest } = JSON.parse((await ledger.sluice.admin('GET', `/v1/sessions?limit=${sessions}`, auditor)).text);
  const events = await Promise.all(latest.map(({ id }: { id: string }) => ledger.sluice.events(id)));
  return events.flat() as unknown as Recorded[];
}

test('one judgement is good for the texts of a session that differ in what they compare with, and the record has each', async () => {
  const client = await agent();
  for (let id = 1; id <= 60; id++) expect((await client.query(shown(id))).rows).toEqual([{ id, ssn: '***********' }]);
  await client.end();
  await expect.poll(async () => (await record(1)).filter(({ kind }) => kind === 'command_finished').length, { timeout: 20_000 }).toBe(60);
  const events = await record(1);
  const judged = events.filter(({ kind, command }) => kind === 'request_judged' && command !== undefined);
  expect(judged.map(({ body }) => body.request)).toEqual([shown(1)]);
  const finished = events.filter(({ kind }) => kind === 'command_finished');
  expect(finished.map(({ command }) => command)).toEqual(Array(60).fill(judged[0]?.command));
  expect(finished.map(({ body }) => body.statement)).toEqual(['', ...Array.from({ length: 59 }, (_, i) => shown(i + 2))]);
  expect(finished.every(({ body }) => body.rows === 1 && body.masked?.[0]?.count === 1)).toBe(true);
});

test('a change of the policy ends it, from its acknowledgement on', async () => {
  const workers = await Promise.all(Array.from({ length: 4 }, () => agent()));
  const file = join(ledger.sluice.dir, 'grants.yaml');
  const before = readFileSync(file, 'utf8');
  const inForce = (): number => ledger.sluice.serviceLog.join('').split('the changed policy is in force').length;
  const change = async (text: string): Promise<void> => {
    const seen = inForce();
    writeFileSync(file, text);
    await expect.poll(inForce, { timeout: 20_000, interval: 2 }).toBeGreaterThan(seen);
  };
  let acknowledged = false;
  let over = false;
  let runs = 0;
  const ranAfter: string[] = [];
  const codes = new Set<string>();
  const loops = workers.map(async (client) => {
    while (!over) {
      const after = acknowledged;
      const code = await codeOf(client.query(shown(1 + (runs % 100))));
      if (code === 'ran') runs++;
      if (after) codes.add(code);
      if (after && code === 'ran') ranAfter.push(code);
    }
  });
  await expect.poll(() => runs, { timeout: 20_000 }).toBeGreaterThan(100);
  const document = parse(before);
  document.targets.ledger.grants = document.targets.ledger.grants.filter(({ actions }: { actions: string[] }) => !actions.includes('read'));
  await change(stringify(document));
  acknowledged = true;
  await sleep(500);
  await expect.poll(() => codes.size, { timeout: 20_000 }).toBeGreaterThan(0);
  over = true;
  await Promise.all(loops);
  expect(ranAfter).toEqual([]);
  expect([...codes]).toEqual(['42501']);
  await change(before);
  expect(await codeOf((workers[0] as pg.Client).query(shown(1)))).toBe('ran');
}, 60_000);

test('a change of the database ends it: at once in the session that makes it, soon in others', async () => {
  const [owner, other] = [await agent(), await agent()];
  const held = async (sql: string): Promise<void> => {
    const done = owner.query(sql);
    const [waiting] = await ledger.sluice.approvals();
    await ledger.sluice.answer(waiting?.id ?? '', 'approve');
    await done;
  };
  await held('CREATE VIEW turned AS SELECT id, name AS x FROM customers');
  await sleep(1_500);
  const x = async (client: pg.Client, id: number): Promise<string> =>
    String((await client.query(`SELECT x FROM turned WHERE id = ${id}`)).rows[0].x);
  for (const client of [owner, other]) for (const id of [1, 2]) expect(await x(client, id)).not.toMatch(/\*/);
  await held('CREATE OR REPLACE VIEW turned AS SELECT id, ssn AS x FROM customers');
  expect(await x(owner, 1)).toMatch(/^\*+$/);
  await expect.poll(() => x(other, 1), { timeout: 20_000 }).toMatch(/^\*+$/);
  await ledger.query('DROP VIEW turned');
}, 60_000);

test('the end of the token ends it', async () => {
  const now = Math.floor(Date.now() / 1000);
  // The allowed difference of clocks is 30 seconds.
  const client = await agent({ iat: now - 60, exp: now - 23 });
  for (const id of [1, 2]) await client.query(shown(id));
  await expect.poll(() => codeOf(client.query(shown(3))), { timeout: 30_000 }).toBe('28000');
}, 60_000);

test('while the service does nothing, statements pass for tap.lag and no longer', async () => {
  const client = await agent();
  for (const id of [1, 2]) await client.query(shown(id));
  const pid = ledger.sluice.servicePid;
  process.kill(pid, 'SIGSTOP');
  const since = Date.now();
  let last = since;
  let code = 'ran';
  try {
    while (code === 'ran') {
      const began = Date.now();
      code = await codeOf(client.query(shown(3)));
      if (code === 'ran') last = began;
      else expect(code).toBe('58000');
      expect(Date.now() - since).toBeLessThan(10_000);
      await sleep(5);
    }
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  expect(last - since).toBeGreaterThan(300);
  // The lag, and a tick of the filter's.
  expect(last - since).toBeLessThan(2_800);
  await expect.poll(() => codeOf(client.query(shown(4))), { timeout: 15_000 }).toBe('ran');
}, 60_000);

test('a read that takes long is in the record while it runs', async () => {
  const client = await agent({ sub: 'patient' });
  const long = (id: number): string =>
    `SELECT count(a.id) FROM customers a, customers b, customers c, customers d WHERE a.id > ${id} AND b.id > ${id}`;
  await client.query(long(100_000));
  const running = codeOf(client.query(long(0)));
  const auditor = await ledger.sluice.approver('olga', ['audit']);
  const { sessions } = JSON.parse((await ledger.sluice.admin('GET', '/v1/sessions?limit=20', auditor)).text);
  const session = sessions.find(({ identity }: { identity: string }) => identity.endsWith(':patient'));
  const events = (await ledger.sluice.events(session.id, 'statement-running')) as unknown as Recorded[];
  expect(events.flatMap(({ body }) => (body.notice === 'statement-running' ? [body.text] : []))).toEqual([long(0)]);
  expect(events.filter(({ kind }) => kind === 'command_finished')).toHaveLength(1);
  await ledger.server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT count(a.id)%'", 'ledger');
  expect(await running).toBe('57P01');
}, 60_000);

test('the service is killed under load: the record has every statement that a client saw the end of', async () => {
  const workers = await Promise.all(Array.from({ length: 6 }, () => agent()));
  const ended: string[] = [];
  let next = 1_000;
  let over = false;
  const loops = workers.map(async (client) => {
    while (!over) {
      const text = shown((next += 1));
      if ((await codeOf(client.query(text))) === 'ran') ended.push(text);
      else await sleep(20);
    }
  });
  await expect.poll(() => ended.length, { timeout: 20_000 }).toBeGreaterThan(300);
  await ledger.sluice.stopService('SIGKILL');
  await sleep(300);
  over = true;
  await Promise.all(loops);
  await ledger.sluice.startService();
  // Of each session the first of its shape stands there as it was judged, the others as they ended.
  const told = async (): Promise<number> => {
    const texts = new Set((await record(20)).flatMap(({ body }) => [body.statement ?? '', body.request ?? '']));
    return ended.filter((text) => !texts.has(text)).length;
  };
  await expect.poll(told, { timeout: 20_000, interval: 500 }).toBe(0);
}, 90_000);
