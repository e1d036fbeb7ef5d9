/** What the analysis says of statements, held against what a real server answers. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../demo/postgres_server.ts';
import { freePort } from '../../test/free_port.fixture.ts';
import { readCatalog } from '../catalog/reader.ts';
import type { Analysis } from './analyse.ts';
import { type Analyst, createAnalyst } from './analyst.ts';
import { type Catalog, SensitiveColumns } from './catalog.ts';
import { everySecret, SECRETS, SENSITIVE, STATEMENTS, schema } from './ledger.fixture.ts';
import type { Origin } from './model.ts';

interface Column {
  readonly name: string;
  readonly table: number;
  readonly attribute: number;
  readonly values: readonly string[];
}

interface Answer {
  /** One list of columns for each statement that gave rows. */
  readonly sets: readonly (readonly Column[])[];
  readonly copied: string;
  readonly error: string;
}

interface Side {
  readonly name: string;
  readonly secrets: readonly string[];
  readonly catalog: Catalog;
  readonly origins: ReadonlySet<string>;
  readonly tables: ReadonlySet<number>;
  ask(statement: string): Promise<Answer>;
}

const sensitive = new SensitiveColumns(SENSITIVE);
let server: PostgresServer;
let analyst: Analyst;
let sides: readonly Side[];

beforeAll(async () => {
  server = await startPostgres({ port: await freePort() });
  analyst = await createAnalyst({ timeoutMs: 5_000 });
  sides = [await sideOf('ledger_a', 0), await sideOf('ledger_b', 1)];
}, 60_000);

afterAll(async () => {
  await analyst?.close();
  await server?.stop();
});

const clientOf = (database: string): pg.Client =>
  new pg.Client({
    host: '127.0.0.1',
    port: server.port,
    database,
    ...server.superuser,
    types: { getTypeParser: () => (value: string) => value },
  });

async function sideOf(name: string, which: 0 | 1): Promise<Side> {
  await server.query(`CREATE DATABASE ${name}`);
  await server.query(schema(SECRETS[which]), name);
  const reader = new pg.Client({ host: '127.0.0.1', port: server.port, database: name, ...server.superuser });
  await reader.connect();
  const catalog = await readCatalog(reader);
  await reader.end();
  const origins: readonly Origin[] = await analyst.origins(catalog, sensitive);
  return {
    name,
    secrets: everySecret(SECRETS[which]),
    catalog,
    origins: new Set(origins.map(({ oid, attribute }) => `${oid} ${attribute}`)),
    tables: new Set(catalog.relations.map(({ oid }) => oid)),
    ask: (statement) => ask(name, statement),
  };
}

async function ask(database: string, statement: string): Promise<Answer> {
  const client = clientOf(database);
  let copied = '';
  await client.connect();
  const { connection } = client as unknown as { connection: NodeJS.EventEmitter };
  connection.on('copyData', ({ chunk }: { chunk: Buffer }) => (copied += chunk.toString()));
  try {
    await client.query('BEGIN');
    const given = await client.query({ text: statement, rowMode: 'array' });
    const results = (Array.isArray(given) ? given : [given]) as pg.QueryArrayResult<unknown[]>[];
    const sets = results.filter((result) => (result.fields ?? []).length > 0).map(columnsOf);
    return { sets, copied, error: '' };
  } catch (error) {
    return { sets: [], copied, error: error instanceof Error ? error.message : String(error) };
  } finally {
    await client.query('ROLLBACK').catch(() => {});
    await client.end();
  }
}

const columnsOf = ({ fields, rows }: pg.QueryArrayResult<unknown[]>): Column[] =>
  fields.map((field, i) => ({
    name: field.name,
    table: field.tableID,
    attribute: field.columnID,
    values: rows.map((row) => String(row[i])),
  }));

/** Whether the filter would mask a column: by its origin, else by its place, else because nobody knows what it holds. */
function isMasked(column: Column, place: number, alone: boolean, analysis: Analysis, side: Side): boolean {
  if (side.origins.has(`${column.table} ${column.attribute}`)) return true;
  const known = column.attribute !== 0 && side.tables.has(column.table);
  const said = alone ? analysis.result?.[place] : undefined;
  if (said === 'sensitive') return true;
  if (said === 'clear') return false;
  // Refused by the planner.
  if (analysis.copies && said === undefined) return true;
  return !known && analysis.touchesSensitive;
}

/** A policy may hold it before it runs. */
const isHeldByDefault = ({ request }: Analysis): boolean =>
  !request.complete || request.columns.some((column) => column.sensitive && column.use === 'predicate');

const holds = (values: readonly string[], secrets: readonly string[]): boolean =>
  values.some((value) => secrets.some((secret) => value.includes(secret)));

/** Statements of the list that the server does not run. */
const REFUSED = new Map([["select cursor_to_xml('nothing', 1, false, false, '')", 'cursor "nothing" does not exist']]);

describe('what no masked result may show', () => {
  test.each(STATEMENTS.map((statement) => [statement]))('%s', async (statement) => {
    const [a, b] = sides as [Side, Side];
    const [analysis, other] = await Promise.all([a, b].map(({ catalog }) => analyst.analyse(statement, catalog, sensitive)));
    if (!analysis) throw new Error('not analysed');
    expect(other?.result).toEqual(analysis.result);
    const [ours, theirs] = await Promise.all([a.ask(statement), b.ask(statement)]);
    expect(ours.error).toBe(REFUSED.get(statement) ?? '');

    const alone = ours.sets.length === 1;
    if (alone && analysis.result) expect(analysis.result).toHaveLength(ours.sets[0]?.length ?? 0);
    for (const [which, columns] of ours.sets.entries()) {
      for (const [place, column] of columns.entries()) {
        if (isMasked(column, place, alone, analysis, a)) continue;
        const about = `column ${place} (${column.name}) of ${JSON.stringify(analysis.result)}: ${column.values}`;
        expect(holds(column.values, a.secrets), about).toBe(false);
        const same = JSON.stringify(column.values) === JSON.stringify(theirs.sets[which]?.[place]?.values);
        expect(same || isHeldByDefault(analysis), `differs with the secrets: ${about}`).toBe(true);
      }
    }
    checkCopied(analysis, ours.copied, a);
    expect(holds([analysis.maskedText], a.secrets)).toBe(false);
  });
});

function checkCopied(analysis: Analysis, copied: string, side: Side): void {
  if (copied === '') return;
  expect(analysis.copyOut).toBeDefined();
  const { columns, format, delimiter } = analysis.copyOut ?? { columns: undefined, format: 'text', delimiter: undefined };
  if (!columns) return;
  const separator = delimiter ?? (format === 'csv' ? ',' : '\t');
  for (const line of copied.trimEnd().split('\n')) {
    // Columns behind one with separators of its own cannot be told apart here.
    const cells = line.split(separator);
    for (const [i, cell] of cells.slice(0, columns.length).entries())
      if (columns[i] === 'clear') expect(holds([cell], side.secrets), line).toBe(false);
  }
}

describe('what must stay readable', () => {
  const CUSTOMERS = Array.from({ length: 11 }, () => 'origin');
  const CLEAR: readonly (readonly [string, readonly string[]])[] = [
    ['select id, name from customers', ['origin', 'origin']],
    ['select upper(name), id + 1, count(*) over () from customers', ['clear', 'clear', 'clear']],
    ['select name, ssn from customers', ['origin', 'origin']],
    ['select count(*), count(ssn), min(id) from customers', ['clear', 'clear', 'clear']],
    ['select n from customer_count', ['origin']],
    ['select x from (select name as x, upper(ssn) from customers) s', ['origin']],
    ['with x as (select id, md5(ssn) from customers) select id * 2, md5 from x', ['clear', 'sensitive']],
    ['select total::text, note from public.orders', ['clear', 'origin']],
    ['select 1, now(), $$x$$, current_user', ['clear', 'clear', 'clear', 'clear']],
    ['select (c).id, (c).ssn from public.customers c', ['clear', 'sensitive']],
    ['select relname, upper(relname) from pg_class', ['origin', 'clear']],
    // Names of two schemas: what can be meant is told by what the server would take.
    ['select (c).id from customers c', ['clear']],
    ['select (c).id, (c).ssn, (c).*, c from customers c', ['clear', 'sensitive', ...CUSTOMERS, 'sensitive']],
    ['select (o).note, (o).id + 1 from orders o', ['clear', 'clear']],
  ];
  test.each(CLEAR)('%s', async (statement, result) => {
    const [a] = sides as [Side, Side];
    const analysis = await analyst.analyse(statement, a.catalog, sensitive);
    expect(analysis.result).toEqual(result);
    expect(analysis.request.incomplete).toEqual([]);
    expect(analysis.readOnly).toBe(true);
  });
});

test('origins of views, partitions, children and generated columns', async () => {
  const [a] = sides as [Side, Side];
  const origins = await analyst.origins(a.catalog, sensitive);
  const named = origins.map(({ column }) => column).filter((column) => !/^(pg_catalog|information_schema)\./.test(column));
  expect(named.sort()).toEqual(
    [
      ...['ssn', 'card', 'email', 'pin', 'profile', 'tags', 'last4'].map((column) => `public.customers.${column}`),
      ...[
        'public.Mixed Case.SSN',
        'public.people.email',
        'public.staff.email',
        'public.sneaky.x',
        'public.everyone.email',
        'public.card_stock.c',
      ],
      ...[
        'public.payments.card',
        'public.payments_2024.card',
        'public.payments_rest.card',
        'archive.customers.old_id',
        'archive.customers.was',
      ],
      ...['tenant.orders.ssn', 'public.customer_keys.key', 'public.customer_keys.bin', 'public.customer_keys2.b'],
    ].sort(),
  );
  expect(origins.find(({ column }) => column === 'public.customer_keys2.b')?.fields).toContain('public.customers.ssn');
});
