import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { Ledger } from './postgres.fixture.ts';

let ledger: Ledger;
const clients: pg.Client[] = [];
let grantsAtFirst = '';

beforeAll(async () => {
  ledger = await Ledger.start((document) => {
    document.envoy.concurrency = 2;
  });
  grantsAtFirst = readFileSync(join(ledger.sluice.dir, 'grants.yaml'), 'utf8');
}, 60_000);
afterAll(() => ledger?.close());
afterEach(async () => {
  const file = join(ledger.sluice.dir, 'grants.yaml');
  if (readFileSync(file, 'utf8') !== grantsAtFirst) {
    const before = timesTold(IN_FORCE);
    writeFileSync(file, grantsAtFirst);
    await told(IN_FORCE, before + 1);
  }
  for (const client of clients.splice(0)) await client.end().catch(() => {});
});

const agent = async (claims: Record<string, unknown> = {}): Promise<pg.Client> => {
  const client = await ledger.connect(claims);
  client.on('error', () => {});
  clients.push(client);
  return client;
};

/** When the log says so for the `n`-th time. */
const told = async (text: string, n: number): Promise<void> => {
  for (const until = Date.now() + 20_000; ledger.sluice.serviceLog.join('').split(text).length <= n; await sleep(2))
    if (Date.now() > until) throw new Error(`the log does not say: ${text}`);
};

const IN_FORCE = 'the changed policy is in force';
const timesTold = (text: string): number => ledger.sluice.serviceLog.join('').split(text).length - 1;

async function grants(change: (ledger: Record<string, unknown[]>) => void): Promise<void> {
  const file = join(ledger.sluice.dir, 'grants.yaml');
  const document = parse(readFileSync(file, 'utf8'));
  change(document.targets.ledger);
  const before = timesTold(IN_FORCE);
  writeFileSync(file, stringify(document));
  await told(IN_FORCE, before + 1);
}

describe('a change of the policy', () => {
  test('is in force for what was prepared before, from its acknowledgement on', async () => {
    const workers = await Promise.all(Array.from({ length: 6 }, () => agent()));
    const query = { name: 'all', text: 'SELECT id, ssn FROM customers WHERE id = $1', values: [1] };
    let acknowledged = false;
    let executions = 0;
    const ranAfter: unknown[] = [];
    const unexpected: unknown[] = [];
    const codes = new Set<unknown>();
    let over = false;
    const loops = workers.map(async (client) => {
      while (!over) {
        const after = acknowledged;
        try {
          const { rows } = await client.query(query);
          executions += 1;
          expect(String(rows[0].ssn)).toMatch(/^\*+$/);
          if (after) ranAfter.push(rows);
        } catch (error) {
          if (after) codes.add((error as pg.DatabaseError).code);
          else if (!['42501', '40001'].includes(String((error as pg.DatabaseError).code))) unexpected.push(error);
        }
      }
    });
    for (const until = Date.now() + 20_000; executions < 100; await sleep(20)) expect(Date.now()).toBeLessThan(until);
    const before = executions;
    const kept: unknown[] = [];
    await grants((target) => {
      kept.push(...(target.grants ?? []));
      target.grants = (target.grants ?? []).filter((grant) => !(grant as { actions: string[] }).actions.includes('read'));
    });
    acknowledged = true;
    await sleep(500);
    await expect.poll(() => codes.size, { timeout: 20_000 }).toBeGreaterThan(0);
    over = true;
    await Promise.all(loops);
    expect(unexpected).toEqual([]);
    expect(ranAfter).toEqual([]);
    expect([...codes]).toEqual(['42501']);
    expect(executions).toBeGreaterThan(before);
    await grants((target) => {
      target.grants = kept;
    });
    const { rows } = await (workers[0] as pg.Client).query(query);
    expect(String(rows[0].ssn)).toMatch(/^\*+$/);
  }, 60_000);

  test('is waited for no longer than a filter may rely on the old one', async () => {
    await (await agent()).query({ name: 's', text: 'SELECT 1' });
    process.kill(ledger.sluice.envoy.pid, 'SIGSTOP');
    const since = Date.now();
    try {
      await grants((target) => {
        target.grants?.push({ group: 'nobody', actions: ['read'], tables: ['public.*'] });
      });
    } finally {
      process.kill(ledger.sluice.envoy.pid, 'SIGCONT');
    }
    expect(Date.now() - since).toBeLessThan(30_000);
    expect(ledger.sluice.serviceLog.join('')).toContain('filters did not answer to a change');
  }, 60_000);
});

describe('a change of the catalog', () => {
  test('by one session reaches what another has prepared', async () => {
    const [owner, other] = [await agent(), await agent()];
    const held = async (sql: string): Promise<void> => {
      const done = owner.query(sql);
      const [waiting] = await ledger.sluice.approvals();
      await ledger.sluice.answer(waiting?.id ?? '', 'approve');
      await done;
    };
    await held('CREATE VIEW shown AS SELECT id, name AS x FROM customers');
    const query = { name: 'shown', text: 'SELECT x FROM shown WHERE id = $1', values: [1] };
    expect(String((await other.query(query)).rows[0].x)).not.toMatch(/\*/);
    await held('CREATE OR REPLACE VIEW shown AS SELECT id, ssn AS x FROM customers');
    // The catalog is read again soon after the statement was let through.
    await expect.poll(async () => String((await other.query(query)).rows[0].x), { timeout: 20_000 }).toMatch(/^\*+$/);
    await ledger.query('DROP VIEW shown');
  }, 60_000);

  test('in an open transaction keeps neither its own session waiting nor others, and what it has locked is held', async () => {
    await ledger.query('ALTER TABLE customers OWNER TO gateway');
    const [owner, other] = [await agent(), await agent()];
    const answered = async (verdict: 'approve' | 'deny', query: Promise<unknown>): Promise<unknown> => {
      const [waiting] = await ledger.sluice.approvals();
      await ledger.sluice.answer(waiting?.id ?? '', verdict);
      return query.catch((error: pg.DatabaseError) => error.code);
    };
    await owner.query('BEGIN');
    await answered('approve', owner.query('ALTER TABLE customers ADD COLUMN extra int'));
    const since = Date.now();
    const { rows } = await owner.query('SELECT name, ssn FROM customers WHERE id = 1');
    expect(String(rows[0].ssn)).toMatch(/^\*+$/);
    await other.query('SELECT id FROM accounts');
    // It is a view of customers.
    expect(await answered('deny', other.query('SELECT address FROM contacts'))).toBe('42501');
    await owner.query('ROLLBACK');
    expect(Date.now() - since).toBeLessThan(30_000);
    await owner.query('SELECT 1');
    expect((await other.query('SELECT address FROM contacts')).rows.length).toBeGreaterThan(0);
  }, 60_000);
});

describe('the token of a session', () => {
  test('ends its right to commands, also to what was prepared', async () => {
    const now = Math.floor(Date.now() / 1000);
    // The allowed difference of clocks is 30 seconds.
    const client = await agent({ iat: now - 60, exp: now - 23 });
    const query = { name: 'all', text: 'SELECT id, ssn FROM customers WHERE id = $1', values: [1] };
    await client.query(query);
    const code = (): Promise<unknown> =>
      client.query(query).then(
        () => 'ran',
        (error: pg.DatabaseError) => error.code,
      );
    await expect.poll(code, { timeout: 30_000 }).toBe('28000');
    for (const again of [query, { text: 'SELECT 1' }, { name: 'new', text: 'SELECT 2' }]) {
      const error = await client.query(again).then(
        () => undefined,
        (failure: pg.DatabaseError) => failure,
      );
      expect(error?.code).toBe('28000');
      expect(error?.message).toMatch(/token .* has expired/);
    }
  }, 60_000);
});

test('a statement too long to be judged stands in the record, without its text', async () => {
  const client = await agent();
  const error = await client.query(`SELECT '${'x'.repeat(1 << 20)}'`).then(
    () => undefined,
    (failure: pg.DatabaseError) => failure,
  );
  expect(error?.code).toBe('54000');
  await client.query('SELECT 1');
  const { sessions } = JSON.parse(
    (await ledger.sluice.admin('GET', '/v1/sessions?limit=1', await ledger.sluice.approver('olga', ['audit']))).text,
  );
  await client.end();
  const events = await ledger.sluice.events(sessions[0].id);
  const judged = events.filter((event) => JSON.stringify(event).includes('unclear-request'));
  expect(JSON.stringify(judged)).toContain('54000');
  expect(JSON.stringify(events)).not.toContain('xxxx');
}, 60_000);
