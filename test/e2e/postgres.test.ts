import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Ledger } from './postgres.fixture.ts';

const run = promisify(execFile);

let ledger: Ledger;
let client: pg.Client | undefined;

beforeAll(async () => {
  ledger = await Ledger.start();
}, 60_000);
afterAll(() => ledger?.close());
afterEach(async () => {
  await client?.end().catch(() => {});
  client = undefined;
});

const agent = async (claims: Record<string, unknown> = {}, options: pg.ClientConfig = {}): Promise<pg.Client> => {
  client = await ledger.connect(claims, options);
  return client;
};

const rejection = (promise: Promise<unknown>): Promise<pg.DatabaseError> =>
  promise.then(
    () => {
      throw new Error('it was let through');
    },
    (error: pg.DatabaseError) => error,
  );

/** The id of the approval that a held statement waits for. */
const approval = async (): Promise<string> => (await ledger.sluice.approvals())[0]?.id ?? '';

describe('logging in', () => {
  test('with a token as the password', async () => {
    const { rows } = await (await agent()).query('SELECT current_user AS role, 1 + 1 AS two');
    expect(rows).toEqual([{ role: 'gateway', two: 2 }]);
  });

  test.each([
    ['no token', 'not-a-token'],
    ['an empty one', ''],
  ])('with %s ends with an error that says what to do', async (_, password) => {
    const error = await rejection(agent({}, { password }));
    expect(error.code).toBe('28000');
    expect(`${error.message} ${error.hint}`).toMatch(/token/i);
  });

  test('of an identity without a grant is denied, before the target hears of it', async () => {
    const error = await rejection(agent({ groups: ['strangers'] }));
    expect(error.code).toBe('42501');
    const { rows } = await ledger.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = 'gateway'");
    expect(rows[0].n).toBeLessThanOrEqual(1);
  });

  test('to another database is refused', async () => {
    expect((await rejection(agent({}, { database: 'postgres' }))).message).toMatch(/database/);
  });

  test('by psql, which asks for TLS first', async () => {
    const { stdout } = await run('psql', ['-XAt', '-c', 'SELECT ssn FROM customers WHERE id = 1'], {
      env: {
        ...process.env,
        PGHOST: '127.0.0.1',
        PGPORT: String(ledger.port),
        PGDATABASE: 'ledger',
        PGUSER: 'agent',
        PGPASSWORD: await ledger.sluice.token(),
      },
    });
    expect(stdout.trim()).toMatch(/^\*+$/);
  });
});

describe('masking', () => {
  test('of columns, by what each is declared as', async () => {
    const { rows } = await (await agent()).query('SELECT id, name, ssn, card, email, iban FROM customers WHERE id = 1');
    const [clear] = (await ledger.query('SELECT * FROM customers WHERE id = 1')).rows;
    expect(rows).toEqual([
      {
        id: 1,
        name: clear.name,
        ssn: '***********',
        card: `${'*'.repeat(clear.card.length - 4)}${clear.card.slice(-4)}`,
        email: expect.not.stringContaining('@'),
        iban: null,
      },
    ]);
  });

  test('for nobody of a group that may see it', async () => {
    const { rows } = await (await agent({ groups: ['audit'] })).query('SELECT ssn, iban FROM customers WHERE id = 1');
    const [clear] = (await ledger.query('SELECT ssn FROM customers WHERE id = 1')).rows;
    expect(rows).toEqual([{ ssn: clear.ssn, iban: null }]);
  });

  test.each([
    'SELECT ssn AS x FROM customers',
    'SELECT substr(ssn, 1, 9) FROM customers',
    'SELECT row_to_json(c) FROM customers c',
    'SELECT c FROM customers c',
    'SELECT (c).ssn FROM customers c',
    'SELECT ssn || email FROM customers',
    'SELECT address FROM contacts',
    'SELECT string_agg(card, chr(10)) FROM customers',
    'SELECT min(ssn), max(iban) FROM customers',
    'WITH x AS (SELECT ssn AS a FROM customers) SELECT a FROM x',
    'SELECT x.a FROM (SELECT ssn AS a FROM customers) x',
    "SELECT ssn FROM customers UNION ALL SELECT 'x'",
    'SELECT (SELECT ssn FROM customers LIMIT 1)',
    'SELECT array_agg(ssn) FROM customers',
    'SELECT json_build_object($$a$$, ssn) FROM customers',
    'SELECT upper(email) FROM customers',
    'SELECT ssn::varchar(20) FROM customers',
    'SELECT coalesce(ssn, email) FROM customers',
    'SELECT l.ssn FROM accounts a, LATERAL (SELECT ssn FROM customers WHERE id = a.customer) l',
    'TABLE customers',
    'COPY customers TO STDOUT',
    'COPY (SELECT ssn FROM customers) TO STDOUT (FORMAT csv)',
  ])('or refusing, never showing: %s', async (sql) => {
    const port = ledger.port;
    const { stdout, stderr } = await run('psql', ['-XAt', '-P', 'null=(null)', '-c', sql], {
      timeout: 4_000,
      env: {
        ...process.env,
        PGHOST: '127.0.0.1',
        PGPORT: String(port),
        PGDATABASE: 'ledger',
        PGUSER: 'agent',
        PGPASSWORD: await ledger.sluice.token(),
      },
    }).catch((error: { stdout: string; stderr: string }) => error);
    const said = `${stdout}\n${stderr}`;
    expect(said.trim()).not.toBe('');
    // Refused, not unreachable.
    expect(said).not.toContain('FATAL');
    expect([...ledger.secrets].filter((secret) => said.includes(secret) || said.includes(secret.toUpperCase()))).toEqual([]);
  });

  test.each([
    'COPY transfers TO STDOUT',
    'COPY (SELECT id, tier FROM customers) TO STDOUT (FORMAT csv)',
    'COPY transfers TO STDOUT (FORMAT binary)',
  ])('and what holds nothing of it is copied out as the database does: %s', async (sql) => {
    const psql = (port: number, user: string, password: string) =>
      run('psql', ['-XAt', '-c', sql], {
        encoding: 'buffer',
        env: { ...process.env, PGHOST: '127.0.0.1', PGPORT: String(port), PGDATABASE: 'ledger', PGUSER: user, PGPASSWORD: password },
      });
    const { user, password } = ledger.server.superuser;
    const { stdout } = await psql(ledger.port, 'agent', await ledger.sluice.token());
    expect(stdout.length).toBeGreaterThan(10);
    expect(stdout).toEqual((await psql(ledger.server.port, user, password)).stdout);
  });

  test('of prepared statements, in the binary format as well', async () => {
    const on = await agent();
    for (let n = 0; n < 3; n++) {
      const prepared = { name: 'by-id', text: 'SELECT name, ssn FROM customers WHERE id = $1', values: [n + 1], binary: n === 2 };
      const { rows } = await on.query(prepared);
      expect(rows[0].ssn).toBe('***********');
    }
  });

  test('of nothing that is not sensitive: types, counts and nulls come as they are', async () => {
    const { rows } = await (await agent()).query('SELECT count(*)::int AS n, max(since) AS d, null AS nothing FROM customers');
    expect(rows[0].n).toBe(120);
    expect(rows[0].nothing).toBe(null);
  });
});

describe('denied statements', () => {
  test("are answered in the client's own words, and the connection goes on", async () => {
    const on = await agent();
    const error = await rejection(on.query('DELETE FROM customers WHERE id = 1'));
    expect(error.code).toBe('42501');
    expect(error.severity).toBe('ERROR');
    expect(`${error.message} ${error.detail}`).toMatch(/sql-|default-deny/);
    expect((await on.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect((await ledger.query('SELECT count(*)::int AS n FROM customers WHERE id = 1')).rows[0].n).toBe(1);
  });

  test('in the middle of a transaction leave nothing behind, even after COMMIT', async () => {
    const on = await agent();
    await on.query('BEGIN');
    await on.query("INSERT INTO scratch VALUES (1, 'before')");
    expect((await rejection(on.query('DELETE FROM customers WHERE id = 1'))).code).toBe('42501');
    expect((await rejection(on.query("INSERT INTO scratch VALUES (2, 'after')"))).code).toBe('25P02');
    await on.query('COMMIT');
    expect((await ledger.query('SELECT count(*)::int AS n FROM scratch')).rows[0].n).toBe(0);
  });

  test('with parameters, too', async () => {
    const on = await agent();
    expect((await rejection(on.query('UPDATE customers SET name = $1 WHERE id = $2', ['x', 1]))).code).toBe('42501');
    expect((await on.query('SELECT $1::int AS one', [1])).rows).toEqual([{ one: 1 }]);
  });
});

describe('held statements', () => {
  test('wait with a notice, and run when approved', async () => {
    await ledger.query('CREATE TABLE doomed (id int); ALTER TABLE doomed OWNER TO gateway');
    const on = await agent();
    const notices: string[] = [];
    on.on('notice', (notice) => notices.push(`${notice.message} ${notice.hint}`));
    const dropped = on.query('DROP TABLE doomed');
    const id = await approval();
    await expect.poll(() => notices.join()).toContain(id);
    expect((await ledger.query("SELECT to_regclass('doomed') AS t")).rows[0].t).toBe('doomed');
    expect((await ledger.sluice.answer(id, 'approve')).status).toBe(200);
    await dropped;
    expect((await ledger.query("SELECT to_regclass('doomed') AS t")).rows[0].t).toBe(null);
    expect((await on.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('are denied with the reason', async () => {
    const on = await agent();
    const dropped = rejection(on.query('DROP TABLE scratch'));
    await ledger.sluice.answer(await approval(), 'deny', 'not today');
    expect(`${(await dropped).message} ${(await dropped).detail}`).toContain('not today');
    expect((await on.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('are cancelled by a cancel request', async () => {
    const on = await agent();
    const dropped = rejection(on.query('DROP TABLE scratch'));
    await approval();
    const { processID, secretKey } = on as unknown as { processID: number; secretKey: number };
    const other = new pg.Client({ host: '127.0.0.1', port: ledger.port }) as unknown as {
      connection: {
        connect(port: number, host: string): void;
        cancel(pid: number, key: number): void;
        on(event: string, done: () => void): void;
      };
    };
    other.connection.connect(ledger.port, '127.0.0.1');
    await new Promise<void>((done) => other.connection.on('connect', done));
    other.connection.cancel(processID, secretKey);
    expect((await dropped).code).toBe('57014');
    expect((await on.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect((await ledger.query("SELECT to_regclass('scratch') AS t")).rows[0].t).toBe('scratch');
  });

  test('never run when the client goes away', async () => {
    const on = await agent();
    on.on('error', () => {});
    on.query('DROP TABLE scratch').catch(() => {});
    await approval();
    (on as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    client = undefined;
    await expect
      .poll(
        async () =>
          JSON.parse((await ledger.sluice.admin('GET', '/v1/approvals?state=pending', await ledger.sluice.approver())).text).approvals,
      )
      .toEqual([]);
    await sleep(200);
    expect((await ledger.query("SELECT to_regclass('scratch') AS t")).rows[0].t).toBe('scratch');
  });
});

describe('errors', () => {
  test('carry no sensitive value', async () => {
    const on = await agent();
    // Casts of sensitive values do not run by themselves: a failure tells what it was of. What fails beside such values runs, and loses its text.
    for (const [sql, code] of [
      ['SELECT ssn, 1 / (id - 1) FROM customers WHERE id = 1', '22012'],
      ['SELECT ssn, name::date FROM customers WHERE id = 1', '22007'],
    ] as const) {
      const error = await rejection(on.query(sql));
      expect(error.code, sql).toBe(code);
      const said = JSON.stringify(error, Object.getOwnPropertyNames(error));
      expect([...ledger.secrets].filter((secret) => said.includes(secret))).toEqual([]);
    }
  });

  test('of the client are told as the server tells them', async () => {
    const error = await rejection((await agent()).query('SELECT * FROM nowhere'));
    expect(error.code).toMatch(/^42/);
    expect((await rejection((client as pg.Client).query('SELEC 1'))).code).toBe('42601');
  });
});

test('the record has the session, its statements and what was masked', async () => {
  const on = await agent({ sub: 'recorded' });
  await on.query('SELECT ssn FROM customers LIMIT 3');
  await on.query('select ssn from customers limit $1', [4]);
  await rejection(on.query("UPDATE customers SET ssn = '111-22-3333'"));
  await on.end();
  const token = await ledger.sluice.approver('olga', ['audit']);
  const { sessions } = JSON.parse((await ledger.sluice.admin('GET', '/v1/sessions?target=ledger', token)).text);
  const session = sessions.find(({ identity }: { identity: string }) => identity.endsWith(':recorded'));
  const events = await ledger.sluice.events(session.id);
  const text = JSON.stringify(events);
  expect(text).toContain('SELECT ssn FROM customers LIMIT 3');
  expect(text).not.toContain('111-22-3333');
  const fingerprints = events
    .filter(({ kind, command }) => kind === 'request_judged' && command)
    .map(({ body }) => (body as { statementFingerprint: string }).statementFingerprint);
  expect(fingerprints).toEqual([
    expect.stringMatching(/^[0-9a-f]{16}$/),
    fingerprints[0],
    expect.not.stringMatching(fingerprints[0] ?? ''),
  ]);
  expect(events.filter((event) => event.kind === 'session_opened')).toHaveLength(1);
  expect(events.filter((event) => event.kind === 'session_closed')).toHaveLength(1);
});

test('the end of a session is its last event and counts them, however many end at once', async () => {
  await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      const on = await agent({ sub: 'crowd' });
      const asked = [1, 2, 3, 4, 5].map((n) => on.query(`SELECT id, ssn FROM customers WHERE id > ${i + n}`));
      // Some leave in the middle of it.
      if (i % 3 > 0) await Promise.all(asked);
      else for (const query of asked) query.catch(() => {});
      await on.end();
    }),
  );
  const token = await ledger.sluice.approver('olga', ['audit']);
  const { sessions } = JSON.parse((await ledger.sluice.admin('GET', '/v1/sessions?target=ledger&limit=100', token)).text);
  const crowd = sessions.filter(({ identity }: { identity: string }) => identity.endsWith(':crowd'));
  expect(crowd).toHaveLength(12);
  for (const { id } of crowd) {
    const events = await ledger.sluice.events(id);
    expect(events.at(-1)).toMatchObject({ kind: 'session_closed', body: { events: events.length, missingEmitter: '' } });
    expect(events.filter(({ kind }) => kind === 'command_finished').length).toBeGreaterThan(0);
    expect(events.filter(({ late }) => late)).toEqual([]);
  }
});
