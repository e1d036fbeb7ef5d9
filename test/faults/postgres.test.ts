import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { afterAll, afterEach, expect, test } from 'vitest';
import { Ledger, startLedger } from '../e2e/postgres.fixture.ts';
import { field, query, Wire } from '../e2e/postgres_wire.fixture.ts';
import { Way } from './way.fixture.ts';

let ledger: Ledger;
/** One for the tests that leave it as they found it. */
let shared: { readonly ledger: Ledger; readonly way: Way } | undefined;
const clients: pg.Client[] = [];
const closing: (() => unknown)[] = [];
const closeShared = async (): Promise<void> => {
  await shared?.ledger.close();
  shared?.way.cut();
  shared = undefined;
};
afterEach(async ({ task }) => {
  for (const client of clients.splice(0)) void client.end().catch(() => {});
  if (ledger !== shared?.ledger) await ledger?.close();
  else if (task.result?.state === 'fail') await closeShared();
  for (const close of closing.splice(0)) await close();
});
afterAll(closeShared);

/** The shared gateway. @returns its filters' way to the sink, which can be cut */
const atShared = async (): Promise<Way> => {
  if (shared === undefined) {
    let way: Way | undefined;
    let opened: Promise<void> | undefined;
    const started = await Ledger.start((document) => Object.assign(document, { tap: { require: true } }), {
      seenByEnvoy: (config) => {
        way = new Way(join(config.runDir, 'way.sock'), join(config.runDir, 'tap.sock'));
        opened = way.open();
        return { ...config, service: { ...config.service, tap: { kind: 'socket', path: way.path } } };
      },
    });
    await opened;
    shared = { ledger: started, way: way as unknown as Way };
  }
  ledger = shared.ledger;
  return shared.way;
};

const connect = async (claims: Record<string, unknown> = {}): Promise<pg.Client> => {
  const client = await ledger.connect(claims);
  client.on('error', () => {});
  clients.push(client);
  return client;
};
/** As soon as a session can be had again. */
const reconnect = async (): Promise<pg.Client> => {
  for (let n = 0; ; n++) {
    try {
      return await connect();
    } catch (error) {
      if (n === 150) throw error;
      await sleep(100);
    }
  }
};
const wire = async (): Promise<Wire> => {
  const opened = new Wire(ledger.port);
  closing.push(() => opened.end());
  return opened.logIn(await ledger.sluice.token());
};
const rejection = (promise: Promise<unknown>): Promise<pg.DatabaseError> =>
  promise.then(
    () => {
      throw new Error('it was let through');
    },
    (error: pg.DatabaseError) => error,
  );
const there = async (): Promise<boolean> => (await ledger.query("SELECT to_regclass('scratch') AS t")).rows[0].t === 'scratch';
const unleaked = (bytes: Buffer): void => expect([...ledger.secrets].filter((secret) => bytes.includes(secret))).toEqual([]);

/** More than the buffers on the way hold. */
const MANY = "SELECT c.ssn, repeat('x', 300) FROM customers c, generate_series(1, 500) g";
const ROWS = 120 * 500;

test('the service is killed while a statement is held: it never runs, the client hears why, and new sessions work when it is back', async () => {
  await atShared();
  const client = await connect();
  const held = rejection(client.query('DROP TABLE scratch'));
  await ledger.sluice.approvals();
  await ledger.sluice.stopService('SIGKILL');
  const error = await held;
  expect([error.severity, error.code]).toEqual(['ERROR', '58000']);
  expect(error.message).toMatch(/gateway/);
  // Nothing undecided passes while it is away.
  expect((await rejection(client.query('SELECT 1'))).code).toBe('58000');
  await expect(connect()).rejects.toThrow();
  await ledger.sluice.startService();
  expect((await (await reconnect()).query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  expect(await there()).toBe(true);
});

test('the service is killed while a result streams: what was judged and recorded ends masked, and nothing follows it', async () => {
  await atShared();
  const client = await wire();
  client.forget();
  client.send(query(MANY));
  await client.until(() => client.of('D').length > 0);
  client.socket.pause();
  await ledger.sluice.stopService('SIGKILL');
  expect(client.of('D').length).toBeLessThan(ROWS);
  client.socket.resume();
  await client.until(() => client.of('Z').length > 0, 60_000);
  expect(client.of('D')).toHaveLength(ROWS);
  expect(new Set(client.of('D').map(({ body }) => body.toString('latin1', 6, 17)))).toEqual(new Set(['***********']));
  client.forget();
  client.send(query('SELECT ssn FROM customers'));
  await client.until(() => client.of('Z').length > 0, 30_000);
  expect([client.of('D').length, field(client.of('E')[0]?.body ?? Buffer.alloc(0), 'C')]).toEqual([0, '58000']);
  await ledger.sluice.startService();
});

/** Statements of agents that run in the target. */
const running = async (): Promise<number> =>
  (await ledger.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = 'gateway' AND state = 'active'")).rows[0].n;

/** The sessions that the record has. */
const sessions = async (): Promise<string[]> => {
  const { text } = await ledger.sluice.admin('GET', '/v1/sessions?target=ledger', await ledger.sluice.approver('olga', ['audit']));
  return JSON.parse(text).sessions.map(({ id }: { id: string }) => id);
};
/** What the record has of the ends of commands, in sessions other than these. */
const finishedCommands = async (but: readonly string[]): Promise<unknown[]> => {
  const { sluice } = ledger;
  const token = await sluice.approver('olga', ['audit']);
  const finished: unknown[] = [];
  for (const id of await sessions())
    if (!but.includes(id))
      for (const { kind, body } of JSON.parse((await sluice.admin('GET', `/v1/sessions/${id}`, token)).text).events)
        if (kind === 'command_finished') finished.push(body);
  return finished;
};

test('the sink is cut off in mid-statement and in mid-result: both end, masked; nothing follows before it is back, and the record has both', async () => {
  const way = await atShared();
  const before = await sessions();
  const busy = await connect();
  const counted = busy.query('SELECT count(*) AS n FROM customers a, customers b, customers c, generate_series(1, 30) g');
  await expect.poll(running, { timeout: 30_000 }).toBe(1);
  const client = await wire();
  client.forget();
  client.send(query(MANY));
  await client.until(() => client.of('D').length > 0, 30_000);
  client.socket.pause();
  way.cut();
  expect(client.of('D').length).toBeLessThan(ROWS);
  client.socket.resume();
  await client.until(() => client.of('Z').length > 0, 60_000);
  expect(client.of('D')).toHaveLength(ROWS);
  unleaked(client.bytes);
  expect((await counted).rows).toEqual([{ n: String(120 ** 3 * 30) }]);
  expect((await rejection(busy.query('SELECT 1'))).code).toBe('58000');
  await way.open();
  // A session whose filter was away for long is over; a new one is not.
  expect((await (await reconnect()).query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  await expect
    .poll(() => finishedCommands(before), { timeout: 30_000 })
    .toEqual(
      expect.arrayContaining([
        expect.objectContaining({ outcome: 'complete', rows: 1 }),
        expect.objectContaining({ outcome: 'complete', rows: ROWS }),
      ]),
    );
});

test('the sink cannot be reached: no new command runs, and they do again when it can', async () => {
  const way = await atShared();
  const client = await connect();
  await client.query('SELECT 1');
  way.cut();
  await sleep(300);
  const error = await rejection(client.query("INSERT INTO scratch VALUES (1, 'unrecorded')"));
  expect([error.code, error.message]).toEqual(['58000', expect.stringContaining('recorded')]);
  expect((await ledger.query('SELECT count(*)::int AS n FROM scratch')).rows[0].n).toBe(0);
  await way.open();
  await expect.poll(() => client.query('SELECT 1 AS one').then(({ rows }) => rows, String), { timeout: 15_000 }).toEqual([{ one: 1 }]);
});

test('the record cannot be written: nothing new passes', async () => {
  ledger = await Ledger.start();
  const client = await connect();
  await client.query('SELECT 1');
  // A limit on the size of files stands for a full disk: every further write fails.
  execFileSync('prlimit', ['--pid', String(ledger.sluice.servicePid), '--fsize=1:1']);
  expect((await rejection(client.query("INSERT INTO scratch VALUES (1, 'unrecorded')"))).code).toBe('58000');
  expect((await rejection(connect())).code).toBe('08006');
  expect((await ledger.query('SELECT count(*)::int AS n FROM scratch')).rows[0].n).toBe(0);
});

test('the target goes away and comes back: sessions end, none is promised what is not there, and new ones work', async () => {
  ledger = await Ledger.start();
  const [idle, busy] = [await connect(), await connect()];
  const ended = new Promise((resolve) => idle.once('end', () => resolve('ended')));
  const sleeping = rejection(busy.query('SELECT count(*) FROM customers a, customers b, customers c, customers d, customers e'));
  await sleep(300);
  const { port } = ledger.server;
  await ledger.server.stop();
  // admin_shutdown; the text of an error over a sensitive table is withheld.
  expect((await sleeping).code).toBe('57P01');
  expect(await ended).toBe('ended');
  await expect(connect()).rejects.toThrow();
  const again = await startLedger(port);
  closing.push(() => again.stop());
  const client = await reconnect();
  await expect
    .poll(() => client.query('SELECT ssn FROM customers WHERE id = 1').then(({ rows }) => rows, String), { timeout: 20_000 })
    .toEqual([{ ssn: '***********' }]);
});

test('a client that goes while a result streams leaves nothing behind in the target', async () => {
  await atShared();
  const client = await wire();
  client.send(query(`${MANY}, generate_series(1, 1000)`));
  await client.until(() => client.of('D').length > 0);
  unleaked(client.bytes);
  client.end();
  await expect.poll(running, { timeout: 15_000 }).toBe(0);
});

const resident = (pid: number): number => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

test('2,000 sessions, 200 of them held: every one is answered', async () => {
  ledger = await Ledger.start(
    (document, dir) => {
      // What is tried here is how many there can be, not how fast a busy machine is.
      document.policy.timeout = '10s';
      const grants = join(dir, 'grants.yaml');
      writeFileSync(grants, readFileSync(grants, 'utf8').replace('ttl: 1m', 'ttl: 10m'));
    },
    { settings: ['max_connections=2100', 'shared_buffers=16MB'] },
  );
  await connect();
  const before = { envoy: resident(ledger.sluice.envoy.pid), service: resident(ledger.sluice.servicePid) };
  const opened: pg.Client[] = [];
  for (let n = 0; n < 100; n++) opened.push(...(await Promise.all(Array.from({ length: 20 }, () => connect()))));
  const each = (pid: number, was: number): number => Math.round(((resident(pid) - was) / opened.length) * 1024);
  const memory = { envoy: each(ledger.sluice.envoy.pid, before.envoy), service: each(ledger.sluice.servicePid, before.service) };
  process.stdout.write(`KiB for each session: ${JSON.stringify(memory)}\n`);
  // A busy machine may refuse one as not analysed in time: that is an answer too, and it is sent again.
  const create = async (client: pg.Client, n: number): Promise<string | undefined> => {
    for (;;) {
      const error: pg.DatabaseError | undefined = await client.query(`CREATE TABLE held_${n} (id int)`).then(
        () => undefined,
        (e) => e,
      );
      if (error?.code !== '58000') return error?.code;
    }
  };
  const held = opened.slice(0, 200).map(create);
  const approvals = await expect
    .poll(() => ledger.sluice.approvals(200).catch(() => []), { timeout: 120_000 })
    .toHaveLength(200)
    .then(() => ledger.sluice.approvals(200));
  // The others are not delayed by those that wait.
  const rows = await Promise.all(opened.slice(200).map((client) => client.query('SELECT ssn FROM customers WHERE id = 1')));
  expect(new Set(rows.map(({ rows: [row] }) => row.ssn))).toEqual(new Set(['***********']));
  for (const [n, { id }] of approvals.entries())
    expect((await ledger.sluice.answer(id, n % 2 === 0 ? 'approve' : 'deny')).status).toBe(200);
  const outcomes = await Promise.all(held);
  expect([outcomes.filter((outcome) => outcome === undefined).length, outcomes.filter((outcome) => outcome === '42501').length]).toEqual([
    100, 100,
  ]);
  const made = await ledger.query("SELECT count(*)::int AS n FROM pg_class WHERE relname LIKE 'held_%' AND relkind = 'r'");
  expect(made.rows[0].n).toBe(100);
  expect(memory.envoy).toBeLessThan(256);
  expect(memory.service).toBeLessThan(256);
}, 600_000);
