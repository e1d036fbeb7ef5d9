/** The catalog of a real server, also while somebody changes it. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../demo/postgres_server.ts';
import { freePort } from '../../test/free_port.fixture.ts';
import type { Catalog } from '../analysis/catalog.ts';
import { readCatalog } from './reader.ts';

let server: PostgresServer;
const clients: pg.Client[] = [];

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ host: '127.0.0.1', port: server.port, database: 'postgres', ...server.superuser });
  clients.push(client);
  await client.connect();
  return client;
}

beforeAll(async () => {
  server = await startPostgres({ port: await freePort() });
  await server.query(`
    CREATE TABLE people (id int, ssn text, last4 text GENERATED ALWAYS AS (right(ssn, 4)) STORED);
    CREATE TABLE notes (id int, loud text GENERATED ALWAYS AS (repeat('x', id)) VIRTUAL);
    CREATE VIEW keys AS SELECT id, ssn AS key FROM people WHERE id IN (SELECT id FROM notes);
    CREATE VIEW upper_keys AS SELECT upper(key) AS key FROM keys;
    CREATE MATERIALIZED VIEW stock AS SELECT id FROM notes`);
}, 60_000);

afterAll(async () => {
  for (const client of clients) await client.end();
  await server?.stop();
});

const DEFINED = ['keys', 'upper_keys', 'stock'];
const definitions = (catalog: Catalog): Record<string, boolean> =>
  Object.fromEntries(DEFINED.map((name) => [name, (catalog.find('public', name)[0]?.definition ?? '') !== '']));
const generated = (catalog: Catalog, table: string): (string | undefined)[] =>
  (catalog.find('public', table)[0]?.columns ?? []).map((column) => column.generated);

describe('definitions', () => {
  const NOTHING = { keys: true, upper_keys: true, stock: true };
  test.each([
    ['of nothing that is locked', 'SELECT 1', NOTHING],
    [
      'of what is read and written',
      "SELECT * FROM people; INSERT INTO people VALUES (1, 'x'); LOCK TABLE notes IN EXCLUSIVE MODE",
      NOTHING,
    ],
    ['over a table that is changed', 'ALTER TABLE people ADD COLUMN more int', { ...NOTHING, keys: false }],
    ['over a table in a subquery', 'ALTER TABLE notes ADD COLUMN more int', { keys: false, upper_keys: true, stock: false }],
    ['of a view that is locked', 'LOCK TABLE upper_keys IN ACCESS EXCLUSIVE MODE', { keys: false, upper_keys: false, stock: false }],
    [
      'of a view that is made anew',
      'CREATE OR REPLACE VIEW keys AS SELECT id, upper(ssn) AS key FROM people',
      { ...NOTHING, keys: false, upper_keys: false },
    ],
    ['of what is refreshed', 'REFRESH MATERIALIZED VIEW stock', { ...NOTHING, stock: false }],
  ])('%s: read at once, and left out where that would wait', { timeout: 20_000 }, async (_, sql, known) => {
    const [changing, reading] = [await connect(), await connect()];
    await changing.query('BEGIN');
    await changing.query(sql);
    const since = performance.now();
    const catalog = await readCatalog(reading);
    expect(performance.now() - since).toBeLessThan(1_900);
    expect(definitions(catalog)).toEqual(known);
    expect(catalog.partial).toBe(Object.values(known).includes(false));
    await changing.query('ROLLBACK');
    const after = await readCatalog(reading);
    expect([definitions(after), after.partial]).toEqual([NOTHING, false]);
  });

  test('of generated columns', async () => {
    const [changing, reading] = [await connect(), await connect()];
    await changing.query('BEGIN; ALTER TABLE people ADD COLUMN more int');
    const catalog = await readCatalog(reading);
    expect(generated(catalog, 'people')).toEqual([undefined, undefined, '']);
    expect(generated(catalog, 'notes')).toEqual([undefined, expect.stringContaining('repeat')]);
    await changing.query('ROLLBACK');
    expect(generated(await readCatalog(reading), 'people')).toEqual([undefined, undefined, expect.stringContaining('right')]);
  });
});

describe('what calls functions that are not known', () => {
  test('casts to a type, and to whatever holds values of it', async () => {
    const [changing, reading] = [await connect(), await connect()];
    await changing.query(`
      CREATE FUNCTION told(text) RETURNS bool LANGUAGE sql STABLE AS 'SELECT count(*) > 0 FROM public.people';
      CREATE FUNCTION compare(text, int) RETURNS bool LANGUAGE sql STABLE AS 'SELECT count(*) > 0 FROM public.people';
      CREATE OPERATOR >== (LEFTARG = text, RIGHTARG = int, FUNCTION = compare);
      CREATE DOMAIN checked AS text CHECK (told(VALUE));
      CREATE DOMAIN compared AS text CHECK (VALUE >== 5);
      CREATE DOMAIN short AS text CHECK (length(VALUE) < 5);
      CREATE DOMAIN above AS checked;
      CREATE TYPE parted AS (a int, b checked);
      CREATE TABLE holding (p parted);
      CREATE TYPE span AS RANGE (subtype = compared)`);
    const { casts } = await readCatalog(reading);
    expect([...casts].sort()).toEqual(
      [
        ...['checked', '_checked', 'compared', '_compared', 'above', '_above', 'parted', '_parted', 'holding', '_holding'],
        ...['span', '_span', 'span_multirange', '_span_multirange'],
      ].sort(),
    );
    await changing.query(
      'DROP OPERATOR >== (text, int) CASCADE; DROP TABLE holding; DROP TYPE parted; DROP FUNCTION told, compare CASCADE',
    );
  });

  test('functions of one argument, of extensions too', async () => {
    const [changing, reading] = [await connect(), await connect()];
    await changing.query('CREATE EXTENSION tablefunc');
    const { calledAsFields } = await readCatalog(reading);
    expect(calledAsFields.has('crosstab2')).toBe(true);
    expect([calledAsFields.has('ts_stat'), calledAsFields.has('upper'), calledAsFields.has('connectby')]).toEqual([true, false, false]);
    await changing.query('DROP EXTENSION tablefunc');
  });
});
