/** What the filter believes of PostgreSQL, tried on a real one, with real clients. */
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../demo/postgres_server.ts';
import { freePort } from '../free_port.fixture.ts';
import type { Answer } from './postgres_host.fixture.ts';
import { Between } from './postgres_proxy.fixture.ts';
import { SSN } from './postgres_session.fixture.ts';

const run = promisify(execFile);
const SECRET = '078-05-1120';
let server: PostgresServer;
let proxy: Between;
let oid = 0;
let release: (answer: Answer) => void = () => {};

beforeAll(async () => {
  server = await startPostgres({ port: await freePort(), auth: 'password' });
  await server.query(
    `CREATE TABLE people (id int PRIMARY KEY, name text, ssn text, age int); INSERT INTO people VALUES (1, 'Ada', '${SECRET}', 36), (2, 'Zoë', NULL, NULL)`,
  );
  oid = (await server.query("SELECT 'people'::regclass::oid::int AS oid")).rows[0].oid;
  let commands = 0;
  proxy = await Between.start(
    { port: server.port, ...server.superuser, database: 'postgres' },
    {
      judge: (text) => {
        const command = ++commands;
        const plan = {
          origins: [
            { table: oid, attribute: 3, rule: SSN },
            { table: oid, attribute: 4, rule: SSN },
          ],
          ...(/people/.test(text) && { unproven: SSN, mask_messages: true }),
          ...(/copy\s+people/i.test(text) && {
            copy_out: { format: /csv/i.test(text) ? 'CSV' : 'TEXT', columns: [{}, {}, SSN, SSN] },
          }),
        };
        const allowed = { command, allowed: { plan, policy_revision: 'r1', each_execution: /\$1 \/\*each\*\//.test(text) } };
        if (/^delete/i.test(text)) return { command, refused: { kind: 'DENIED', message: 'no deletes', detail: 'rule x', hint: 'ask' } };
        if (/^drop table.*doomed/i.test(text))
          return new Promise((resolve) => {
            release = (answer) => resolve({ ...allowed, ...answer });
          });
        return allowed;
      },
    },
  );
}, 60_000);
afterAll(async () => {
  await proxy?.close();
  await server?.stop();
});

async function client(): Promise<pg.Client> {
  const made = new pg.Client({ host: '127.0.0.1', port: proxy.port, user: 'agent', password: 'token', database: 'postgres' });
  made.on('error', () => {});
  await made.connect();
  return made;
}

const psql = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  run('psql', ['-XAt', `host=127.0.0.1 port=${proxy.port} user=agent dbname=postgres`, ...args], {
    env: { ...process.env, PGPASSWORD: 'token' },
    timeout: 10_000,
  });

describe('node-postgres', () => {
  test('simple and prepared, masked', async () => {
    const on = await client();
    expect((await on.query('SELECT id, ssn AS x, age, upper(ssn) u FROM people ORDER BY id')).rows).toEqual([
      { id: 1, x: '***********', age: null, u: '***********' },
      { id: 2, x: null, age: null, u: null },
    ]);
    for (let i = 0; i < 3; i++)
      expect((await on.query({ name: 's', text: 'SELECT ssn FROM people WHERE id = $1', values: [1] })).rows).toEqual([
        { ssn: '***********' },
      ]);
    expect((await on.query('SELECT $1::text /*each*/ AS a', ['x'])).rows).toEqual([{ a: 'x' }]);
    await on.end();
  });

  test('a denial leaves the transaction failed, in the target as in the client', async () => {
    const on = await client();
    await on.query('BEGIN');
    await on.query('INSERT INTO people VALUES (10)');
    await expect(on.query('DELETE FROM people')).rejects.toMatchObject({
      code: '42501',
      message: 'no deletes',
      detail: 'rule x',
      hint: 'ask',
    });
    await expect(on.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' });
    await on.query('COMMIT');
    expect((await on.query('SELECT count(*)::int AS n FROM pg_class WHERE oid = 0')).rows).toEqual([{ n: 0 }]);
    await on.query('BEGIN');
    await on.query('INSERT INTO people VALUES (10)');
    await expect(on.query('DELETE FROM people WHERE id = $1', [1])).rejects.toMatchObject({ code: '42501' });
    await on.query('COMMIT');
    expect((await server.query('SELECT count(*)::int AS n FROM people')).rows).toEqual([{ n: 2 }]);
    await on.end();
  });

  test('errors lose the values that they print', async () => {
    const on = await client();
    const error = await on.query(`INSERT INTO people VALUES (1, 'x', '${SECRET}')`).catch((e: pg.DatabaseError) => e);
    expect(error).toMatchObject({ code: '23505', table: 'people', constraint: 'people_pkey' });
    expect(JSON.stringify(error)).not.toContain('(1)');
    const cast = await on.query('SELECT ssn::int FROM people').catch((e: pg.DatabaseError) => e);
    expect(cast).toMatchObject({ code: '22P02' });
    expect(`${(cast as Error).message}${JSON.stringify(cast)}`).not.toContain(SECRET);
    await on.end();
  });

  test('a held statement waits with a notice, and runs', async () => {
    await server.query('CREATE TABLE doomed (id int)');
    for (const parameters of [undefined, []]) {
      const on = await client();
      const notices: string[] = [];
      on.on('notice', ({ message }) => notices.push(String(message)));
      const dropped = on.query('DROP TABLE IF EXISTS doomed', parameters);
      await expect.poll(() => notices.join()).toContain('waits for');
      release({});
      await dropped;
      expect((await on.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }]);
      await on.end();
    }
    expect((await server.query("SELECT to_regclass('doomed') AS t")).rows).toEqual([{ t: null }]);
  });

  test('a held statement in a transaction that has failed still gets its notice', async () => {
    const on = await client();
    const notices: string[] = [];
    on.on('notice', ({ message }) => notices.push(String(message)));
    await on.query('BEGIN');
    await expect(on.query('SELECT 1/0')).rejects.toThrow();
    const dropped = on.query('DROP TABLE doomed').catch((e: pg.DatabaseError) => e.code);
    await expect.poll(() => notices.join()).toContain('waits for');
    release({});
    expect(await dropped).toBe('25P02');
    await on.end();
  });

  test('a violation is answered with an error', async () => {
    const on = await client();
    const ended = new Promise<Error & { code?: string }>((resolve) => on.on('error', resolve));
    (on as unknown as { connection: { stream: { write(bytes: Buffer): void } } }).connection.stream.write(Buffer.from([0x3f, 0, 0, 0, 4]));
    expect(await ended).toMatchObject({ code: '08P01' });
  });
});

describe('psql', () => {
  test('asks for encryption first, and gets on without', async () => {
    const { stdout } = await psql('-c', 'SELECT name, ssn FROM people WHERE id = 1');
    expect(stdout).toBe('Ada|***********\n');
  });

  test('copies out, masked, and in', async () => {
    expect((await psql('-c', '\\copy people to stdout')).stdout).toBe('1\tAda\t***********\t**\n2\tZoë\t\\N\t\\N\n');
    expect((await psql('-c', 'COPY people TO STDOUT (FORMAT csv)')).stdout).toBe('1,Ada,"***********","**"\n2,Zoë,,\n');
    await psql('-c', 'CREATE TABLE IF NOT EXISTS sink (a text)');
    await psql('-c', "\\copy sink from program 'seq 1 1000'");
    expect((await server.query('SELECT count(*)::int AS n FROM sink')).rows).toEqual([{ n: 1000 }]);
  });

  test('describes tables, and runs several statements in one string', async () => {
    expect((await psql('-c', '\\d people')).stdout).toContain('ssn');
    expect((await psql('-c', 'SELECT 1; SELECT ssn FROM people WHERE id = 1; SELECT 2')).stdout).toBe('\n***********\n\n');
  });

  test('uses cursors', async () => {
    const { stdout } = await psql('-c', 'BEGIN; DECLARE c CURSOR FOR SELECT ssn FROM people ORDER BY id; FETCH 1 FROM c; CLOSE c; COMMIT');
    expect(stdout).toContain('***********');
    const fetched = await psql('-v', 'FETCH_COUNT=1', '-c', 'SELECT ssn FROM people');
    expect(fetched.stdout).toBe('***********\n\n');
  });

  test('Ctrl-C reaches a running statement', async () => {
    const started = Date.now();
    const { stderr } = await run(
      'timeout',
      ['-s', 'INT', '3', 'psql', '-XAt', `host=127.0.0.1 port=${proxy.port} user=agent dbname=postgres`, '-c', 'SELECT pg_sleep(60)'],
      {
        env: { ...process.env, PGPASSWORD: 'token' },
      },
    ).catch((error: { stderr: string }) => error);
    expect(stderr).toMatch(/cancel/i);
    expect(Date.now() - started).toBeLessThan(50_000);
  });
});

describe('pgbench', () => {
  test.each(['simple', 'extended', 'prepared'])(
    '-M %s runs without an error',
    async (mode) => {
      const at = ['-h', '127.0.0.1', '-p', String(proxy.port), '-U', 'agent'];
      const env = { ...process.env, PGPASSWORD: 'token' };
      await run('pgbench', ['-i', '-q', ...at, 'postgres'], { env });
      const { stdout, stderr } = await run('pgbench', ['-M', mode, '-c', '4', '-t', '50', ...at, 'postgres'], { env });
      expect(stdout).toMatch(/number of transactions actually processed: 200\/200/);
      expect(stderr).not.toMatch(/error|fatal/i);
      await sleep(50);
    },
    60_000,
  );
});
