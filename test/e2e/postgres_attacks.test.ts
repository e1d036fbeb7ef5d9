/**
 * Attempts to get sensitive values, or a bit of one, or an unjudged change past the gateway. Each statement runs twice, over databases that differ in
 * their secrets alone: what comes back is the same bytes, or the attempt has told something.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { Ledger } from './postgres.fixture.ts';
import {
  bind,
  closeOf,
  describeOf,
  execute,
  field,
  flush,
  int16,
  int32,
  message,
  parse,
  query,
  startup,
  sync,
  text,
  Wire,
} from './postgres_wire.fixture.ts';

type Outcome = 'rows' | 'denied' | 'held' | 'error' | 'closed' | 'silent';

const GRANTS = {
  targets: {
    ledger: {
      grants: [
        { group: 'support-agents', actions: ['read'], tables: ['public.*'] },
        { group: 'support-agents', actions: ['write'], tables: ['public.notes', 'public.scratch'] },
        { group: 'support-agents', actions: ['ddl'], tables: ['public.*'] },
        { group: 'writers', actions: ['read', 'write'], tables: ['public.*'] },
        { group: 'catalog-readers', actions: ['read'], tables: ['*.*'] },
      ],
      approvals: [{ approvers: ['group:leads'], quorum: 1, ttl: '1m' }],
      obligations: [
        { oblige: { type: 'mask', field: 'public.customers.ssn', method: 'full' } },
        { oblige: { type: 'mask', field: 'public.customers.card', method: 'partial', keep_last: 4 } },
        { oblige: { type: 'mask', field: 'public.customers.email', method: 'hash' } },
        { oblige: { type: 'mask', field: 'public.customers.iban', method: 'null' } },
      ],
    },
  },
};

/** Other secrets: of the same lengths, and with the same ends of cards. Hashes of e-mail addresses differ by design, so these stay. */
const OTHERS = `
  CREATE SCHEMA hidden;
  CREATE TABLE hidden.real AS SELECT id, ssn, card, iban FROM customers;
  CREATE TABLE hidden.other AS SELECT id, translate(ssn, '0123456789', '3857264190') AS ssn,
    translate(left(card, -4), '0123456789', '7392581460') || right(card, 4) AS card, translate(iban, '0123456789', '8163950724') AS iban FROM customers;
  CREATE SEQUENCE counter;
  GRANT ALL ON SEQUENCE counter TO gateway;
  CREATE FUNCTION outside() RETURNS text LANGUAGE sql STABLE AS 'SELECT max(ssn) FROM public.customers';
  CREATE SCHEMA shadow;
  CREATE TABLE shadow.names (id int, ssn text);
  INSERT INTO shadow.names SELECT id, ssn FROM customers;`;

let ledger: Ledger;
let superuser: pg.Client;
let needles: readonly string[];

beforeAll(async () => {
  ledger = await Ledger.start((document, dir) => {
    writeFileSync(join(dir, 'attacked.yaml'), stringify(GRANTS));
    document.policy.data = join(dir, 'attacked.yaml');
  });
  await ledger.query(OTHERS);
  superuser = new pg.Client({ host: '127.0.0.1', port: ledger.server.port, database: 'ledger', ...ledger.server.superuser });
  await superuser.connect();
  const { rows } = await superuser.query('SELECT ssn, card, iban FROM hidden.real UNION ALL SELECT ssn, card, iban FROM hidden.other');
  const { rows: addresses } = await superuser.query('SELECT email FROM customers');
  needles = [...rows, ...addresses].flatMap((row) => Object.values(row).flatMap((value) => disguises(String(value))));
}, 120_000);

afterAll(async () => {
  await superuser?.end();
  await ledger?.close();
});

/** Ways in which a value may come out. */
function disguises(value: string): string[] {
  const digits = value.replace(/\D/g, '');
  const bytes = Buffer.from(value);
  return [
    ...[value, value.toUpperCase(), [...value].reverse().join('')],
    ...[bytes.toString('hex'), bytes.toString('base64').replace(/=+$/, '')],
    ...(digits.length >= 7 ? [digits, [...digits].reverse().join('')] : []),
    [...value].join('\n'),
  ];
}

const use = (which: 'real' | 'other') =>
  superuser.query(`UPDATE public.customers c SET ssn = o.ssn, card = o.card, iban = o.iban FROM hidden.${which} o WHERE o.id = c.id`);

interface Answer {
  readonly outcome: Outcome;
  readonly code: string;
  /** Each message, in the order that does not depend on where rows stand. */
  readonly said: readonly string[];
  readonly bytes: Buffer;
}

function answerOf(wire: Wire): Answer {
  const [error] = wire.of('E');
  const code = error ? field(error.body, 'C') : '';
  const outcome = isHeld(wire)
    ? 'held'
    : error && field(error.body, 'S') === 'FATAL'
      ? 'closed'
      : code === '42501'
        ? 'denied'
        : error
          ? 'error'
          : wire.of('Z').length > 0
            ? 'rows'
            : wire.closed
              ? 'closed'
              : 'silent';
  const said = wire.messages.map(({ type, body }) => type + body.toString('latin1')).sort();
  return { outcome, code, said, bytes: wire.bytes };
}

const isHeld = (wire: Wire): boolean => wire.of('N').some(({ body }) => field(body, 'M').includes('waits for an approval'));

interface Attempt {
  readonly groups?: readonly string[];
  readonly start?: Readonly<Record<string, string>>;
}

/** @param sends one after the other, each when the one before has been answered */
async function attempt(
  sends: readonly (string | readonly Buffer[])[],
  { groups = ['support-agents'], start = {} }: Attempt = {},
): Promise<Answer> {
  const wire = await new Wire(ledger.port).logIn(await ledger.sluice.token({ groups }), start);
  if (wire.of('Z').length === 0) return answerOf(wire);
  try {
    wire.forget();
    for (const parts of sends) {
      const [ready, copying] = [wire.of('Z').length, wire.of('G').length];
      if (typeof parts === 'string') wire.send(query(parts));
      else wire.send(...parts);
      await wire.until(() => wire.of('Z').length > ready || wire.of('G').length > copying || isHeld(wire));
      if (isHeld(wire) || wire.closed) break;
    }
    return answerOf(wire);
  } finally {
    wire.end();
  }
}

const leaks = (bytes: Buffer): string[] => {
  const said = bytes.toString('latin1');
  // One character to a row.
  const characters = said.replace(/[^\x21-\x7e]/g, '');
  return needles.filter((needle) => said.includes(needle) || characters.includes(needle));
};

/** Runs over the real and the other secrets. @returns what came of it when both are the same */
async function twice(sends: readonly (string | readonly Buffer[])[], options: Attempt = {}): Promise<Outcome> {
  await use('real');
  const first = await attempt(sends, options);
  expect(leaks(first.bytes)).toEqual([]);
  await use('other');
  const second = await attempt(sends, options);
  await use('real');
  expect(leaks(second.bytes)).toEqual([]);
  // These name the session or the approval.
  if (first.outcome === 'held' || first.outcome === 'denied') expect([second.outcome, second.code]).toEqual([first.outcome, first.code]);
  else expect(second.said).toEqual(first.said);
  return first.outcome;
}

/** `any`: as long as it tells nothing. */
type Row = readonly [what: string, how: string | readonly string[] | readonly Buffer[][], expected: Outcome | 'any', options?: Attempt];

const Q = '$$';

const NAMES: readonly Row[] = [
  ['a label', 'SELECT ssn AS name FROM customers', 'rows'],
  ['a quoted name', 'SELECT "ssn" FROM "public"."customers"', 'rows'],
  ['an escaped name', 'SELECT U&"\\0073\\0073n" FROM U&"\\0063ustomers"', 'rows'],
  ['another escape character', `SELECT U&"!0073sn" UESCAPE '!' FROM customers`, 'rows'],
  ['comments in between', 'SELECT/**/ssn/*/**/*/FROM--\ncustomers', 'rows'],
  ['a comment that ends late', 'SELECT /* /* */ id FROM scratch; -- */ ssn FROM customers', 'rows'],
  ['a string that seems to end', `SELECT 'it''s', ssn, 'FROM notes' FROM customers`, 'rows'],
  ['an E string', `SELECT E'\\'', ssn FROM customers --'`, 'rows'],
  ['a backslash before a quote', `SELECT '\\', ssn FROM customers --'`, 'rows'],
  ['dollar quotes', 'SELECT $a$ $$ $a$, ssn FROM customers', 'rows'],
  ['a renamed table', 'SELECT c.b FROM customers c(a, x, e, b)', 'rows'],
  ['names that change places', 'SELECT name AS ssn, ssn AS name FROM customers', 'rows'],
  ['a whole row', 'SELECT c FROM customers c', 'rows'],
  ['a whole row as text', 'SELECT c::text FROM customers c', 'rows'],
  ['the table as its own column', 'SELECT customers FROM customers', 'rows'],
  ['a row constructor', 'SELECT ROW(c.*) FROM customers c', 'rows'],
  ['a field of a row', 'SELECT (c).ssn FROM customers c', 'rows'],
  ['a field of a subquery', 'SELECT (SELECT c).ssn FROM customers c', 'rows'],
  ['a column called as a function', 'SELECT ssn(c) FROM customers c', 'held'],
  ['a function called as a column', 'SELECT c.row_to_json FROM customers c', 'rows'],
  ['a subquery', 'SELECT s.x FROM (SELECT ssn FROM customers) s(x)', 'rows'],
  ['a scalar subquery', 'SELECT (SELECT ssn FROM customers WHERE id = 1)', 'rows'],
  ['WITH', 'WITH x(y) AS (SELECT ssn FROM customers) SELECT y FROM x', 'rows'],
  ['WITH of the same name', 'WITH scratch AS (SELECT ssn AS note FROM customers) SELECT note FROM scratch', 'rows'],
  [
    'WITH RECURSIVE',
    "WITH RECURSIVE r(a, b) AS (SELECT 'x', ssn FROM customers UNION ALL SELECT b, 'x' FROM r WHERE a = 'x' AND b <> 'x') SELECT a FROM r",
    'held',
  ],
  ['UNION', 'SELECT name FROM customers UNION ALL SELECT ssn FROM customers', 'rows'],
  ['VALUES', 'VALUES ((SELECT ssn FROM customers WHERE id = 1))', 'rows'],
  ['TABLE', 'TABLE customers', 'rows'],
  ['a view', 'SELECT address FROM contacts', 'rows'],
  ['LATERAL', 'SELECT l.x FROM accounts a, LATERAL (SELECT ssn AS x FROM customers WHERE id = a.customer) l', 'rows'],
  ['a join with an alias', 'SELECT j.d FROM (customers c CROSS JOIN scratch s) j(a, b, c, d)', 'rows'],
  ['an array', 'SELECT ARRAY(SELECT ssn FROM customers)', 'rows'],
  ['an aggregate', "SELECT string_agg(ssn, ',') FROM customers", 'rows'],
  ['a window', 'SELECT first_value(ssn) OVER () FROM customers', 'rows'],
  ['a bare GROUP BY', 'SELECT ssn FROM customers GROUP BY ssn', 'held'],
  ['RETURNING of a table without a grant', 'UPDATE customers SET id = id RETURNING ssn', 'denied'],
  ['a database before the schema', 'SELECT ssn FROM ledger.public.customers', 'rows'],
  ['a relation of another schema', 'SELECT ssn FROM shadow.names', 'denied'],
  ['another schema by the search path', ['SET search_path = shadow, public', 'SELECT ssn FROM names'], 'denied'],
];

const FUNCTIONS: readonly Row[] = [
  ...[
    ...['upper(ssn)', 'reverse(ssn)', 'substr(ssn, 1, 9)', "encode(ssn::bytea, 'hex')", "encode(convert_to(ssn, 'UTF8'), 'base64')"],
    ...['md5(ssn)', 'sha256(ssn::bytea)', 'ssn::bytea', 'ssn::varchar(20)', 'ssn::char(11)', 'ssn::name', 'ssn COLLATE "C"', "ssn || ''"],
    ...["concat_ws('-', ssn)", "format('%s', ssn)", "translate(ssn, '0', 'a')", "replace(ssn, '-', '')", "split_part(ssn, '-', 1)"],
    ...['quote_literal(ssn)', 'to_json(ssn)', 'to_jsonb(c)', 'row_to_json(c)', 'json_build_object(1, ssn)', 'jsonb_build_array(ssn)'],
    ...[
      'ARRAY[ssn]',
      '(ARRAY[ssn])[1]',
      'coalesce(ssn, iban)',
      'least(ssn, name)',
      "string_to_array(ssn, '-')",
      'hashtext(ssn)',
      'ascii(ssn)',
    ],
    ...[
      'length(ssn || email)',
      "overlay(ssn PLACING 'x' FROM 1)",
      "regexp_replace(ssn, '-', '')",
      "to_tsvector('simple', ssn)",
      'xmlforest(ssn)',
    ],
    ...[
      'xmlelement(name x, ssn)',
      'json_object(1: ssn)',
      'json_serialize(json_scalar(ssn))',
      'pg_column_size(repeat(ssn, 3))',
      "starts_with(ssn, '5')",
    ],
    ...[
      "ssn ~ '^5'",
      "ssn > '5'",
      "ssn LIKE '5%'",
      "ssn IN ('536-22-8134')",
      "ssn BETWEEN '1' AND '5'",
      'ssn IS DISTINCT FROM iban',
      'num_nulls(ssn)',
    ],
    ...[
      "nullif(ssn, '536-22-8134')",
      "substring(ssn FROM '^5')",
      "regexp_match(ssn, '^5')",
      "repeat('x', ascii(ssn))",
      "rpad('', ascii(ssn), 'x')",
    ],
    ...[
      "strpos(ssn, '5')",
      "(ARRAY['a', 'b', 'c'])[ascii(ssn) - 51]",
      'jsonb_path_exists(to_jsonb(c), \'$ ? (@.ssn starts with "5")\')',
      'chr(ascii(ssn))',
    ],
    ...[
      "CASE WHEN ssn > '5' THEN 'a' ELSE 'b' END",
      "CASE ssn WHEN '5' THEN 1 ELSE 2 END",
      '1 / (ascii(ssn) - 53)',
      "replace(left(ssn, 1), '5', 'x')::int",
    ],
    ...[
      "('{1,2}'::int[])[1:ascii(ssn) - 50]",
      "'x' || nullif(left(ssn, 1), '5')",
      "translate(left(ssn, 1), '5', '')::int",
      'chr(ascii(ssn) - 53)',
    ],
    ...[
      "to_date(ssn, 'YYYY-MM-DD')",
      "substr('x', 1, ascii(ssn) - 54)",
      'left(ssn, 1)::int',
      "(replace(left(ssn, 1), '5', '{'))::json",
      'generate_series(1, ascii(ssn))',
    ],
    ...[
      "regexp_matches(ssn, '^5')",
      "unnest(string_to_array(ssn, '5'))",
      'json_array_elements(json_build_array(ssn))',
      "regexp_split_to_table(ssn, '5')",
    ],
    ...[
      'jsonb_path_query(to_jsonb(c), \'$.ssn ? (@ starts with "5")\')',
      "string_to_table(ssn, '5')",
      "xpath('/x/text()', xmlelement(name x, ssn))",
    ],
    ...[
      "EXISTS (SELECT WHERE ssn > '5')",
      "(SELECT count(*) FROM scratch WHERE c.ssn > '5')",
      "ssn = ANY (ARRAY['5'])",
      "GREATEST(ssn, '5') = '5'",
    ],
    ...[
      "setval('counter', ascii(ssn))",
      'pg_advisory_lock(ascii(ssn))',
      'setseed(ascii(ssn) / 100.0)',
      "set_config('application_name', ssn, false)",
      "pg_notify('x', ssn)",
    ],
    ...[
      'current_setting(ssn)',
      'pg_sleep(ascii(ssn) / 1000.0)',
      'lo_from_bytea(0, ssn::bytea)',
      'txid_status(ascii(ssn))',
      'currval(left(ssn, 1))',
      'to_regclass(ssn)',
    ],
  ].map((expression): Row => [expression, `SELECT ${expression} FROM customers c WHERE id = 1`, 'any']),
  ['count of an expression', `SELECT count(nullif(ssn, '536-22-8134')) FROM customers`, 'held'],
  ['count of an expression of a subquery', `SELECT count(x) FROM (SELECT nullif(left(ssn, 1), '5') AS x FROM customers) s`, 'held'],
  ['count of distinct values', 'SELECT count(DISTINCT ssn) FROM customers', 'held'],
  ['count of rows that a function makes', 'SELECT count(*) FROM customers c, generate_series(1, ascii(c.ssn)) WHERE c.id = 1', 'held'],
  ['rows that a function makes', 'SELECT c.id FROM customers c, generate_series(1, ascii(c.ssn)) WHERE c.id = 1', 'held'],
  [
    'rows that a function makes in a target list',
    'SELECT count(*) FROM (SELECT id, generate_series(1, ascii(ssn)) FROM customers) s',
    'held',
  ],
  ['rows that a match makes', `SELECT c.id FROM customers c, regexp_matches(c.ssn, '^5')`, 'held'],
  [
    'rows of JSON_TABLE',
    `SELECT c.id FROM customers c, JSON_TABLE(to_jsonb(c), '$ ? (@.ssn starts with "5")' COLUMNS (x text PATH '$.id')) j`,
    'held',
  ],
  [
    'rows of XMLTABLE',
    `SELECT c.id FROM customers c, XMLTABLE('/a[starts-with(., "5")]' PASSING xmlelement(name a, c.ssn) COLUMNS x text PATH '.') j`,
    'held',
  ],
  ['the keys of a JSON object', 'SELECT k FROM customers c, jsonb_object_keys(jsonb_build_object(c.ssn, 1)) k', 'held'],
  ['a condition', "SELECT id FROM customers WHERE ssn LIKE '5%'", 'held'],
  ['a condition of a join', "SELECT a.id FROM accounts a JOIN customers c ON c.id = a.customer AND c.ssn > '5'", 'held'],
  ['a natural join', 'SELECT id FROM customers NATURAL JOIN (SELECT ssn FROM customers) x', 'held'],
  ['an order', 'SELECT id FROM customers ORDER BY ssn', 'held'],
  ['an order by place', 'SELECT id, ssn FROM customers ORDER BY 2', 'held'],
  ['a limit', 'SELECT id FROM customers LIMIT (SELECT ascii(ssn) FROM customers WHERE id = 1)', 'held'],
  ['a sample', 'SELECT id FROM customers TABLESAMPLE bernoulli ((SELECT ascii(ssn) FROM customers WHERE id = 1))', 'held'],
  ['HAVING', "SELECT count(*) FROM customers HAVING max(ssn) > '5'", 'held'],
  ['FILTER', "SELECT count(*) FILTER (WHERE ssn > '5') FROM customers", 'held'],
  ['a window order', 'SELECT id, row_number() OVER (ORDER BY ssn) FROM customers', 'held'],
  ['a window partition', 'SELECT id, count(*) OVER (PARTITION BY left(ssn, 1)) FROM customers', 'held'],
  ['a window frame', 'SELECT id, count(*) OVER (ROWS (SELECT ascii(ssn) FROM customers WHERE id = 1) PRECEDING) FROM customers', 'held'],
  ['an aggregate order', "SELECT string_agg(name, ',' ORDER BY ssn) FROM customers", 'held'],
  ['DISTINCT ON', 'SELECT DISTINCT ON (left(ssn, 1)) id FROM customers', 'held'],
  ['INTERSECT', "SELECT ssn FROM customers INTERSECT SELECT '536-22-8134'", 'held'],
  ['query_to_xml', "SELECT query_to_xml('select ssn from customers', true, false, '')", 'held'],
  ['table_to_xml', "SELECT table_to_xml('customers', true, false, '')", 'held'],
  ['schema_to_xml', "SELECT schema_to_xml('public', true, false, '')", 'held'],
  ['database_to_xml', "SELECT database_to_xml(true, false, '')", 'held'],
  ['cursor_to_xml', "DECLARE c CURSOR FOR SELECT ssn FROM customers; SELECT cursor_to_xml('c', 10, false, false, '')", 'held'],
  ['ts_stat', `SELECT ts_stat('select to_tsvector(ssn) from customers')`, 'held'],
  ['ts_rewrite', `SELECT ts_rewrite('a'::tsquery, 'select ssn::tsquery, ssn::tsquery from customers')`, 'held'],
  ['a function that nobody knows', 'SELECT public.outside()', 'held'],
  ['the same by the search path', ['SET search_path = public', 'SELECT outside()'], 'held'],
  ['lo_get', 'SELECT lo_get(1)', 'held'],
  ['dblink', "SELECT * FROM dblink('dbname=ledger', 'select ssn from customers') AS t(x text)", 'held'],
  ['pg_read_file', "SELECT pg_read_file('PG_VERSION')", 'denied'],
  ['pg_ls_dir', "SELECT pg_ls_dir('.')", 'denied'],
  ['pg_stat_file in FROM', "SELECT * FROM pg_stat_file('PG_VERSION')", 'denied'],
  ['pg_stats', "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'customers'", 'denied'],
  [
    'pg_stats for whoever may read it',
    "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'customers' ORDER BY attname",
    'rows',
    { groups: ['catalog-readers'] },
  ],
  [
    'pg_stats as text',
    "SELECT histogram_bounds::text FROM pg_stats WHERE tablename = 'customers' ORDER BY attname",
    'rows',
    { groups: ['catalog-readers'] },
  ],
  [
    'pg_stats in FROM',
    "SELECT u FROM pg_stats s, unnest(s.histogram_bounds::text::text[]) u WHERE tablename = 'customers'",
    'held',
    { groups: ['catalog-readers'] },
  ],
  ['pg_statistic', 'SELECT stavalues1 FROM pg_statistic', 'denied', { groups: ['catalog-readers'] }],
  ['pg_stat_activity', "SELECT query FROM pg_stat_activity WHERE query LIKE '%-%'", 'held', { groups: ['catalog-readers'] }],
  ['pg_stat_get_activity', 'SELECT query FROM pg_stat_get_activity(NULL)', 'held', { groups: ['catalog-readers'] }],
  ['pg_largeobject', 'SELECT data FROM pg_largeobject', 'denied', { groups: ['catalog-readers'] }],
  ['pg_shadow', 'SELECT passwd FROM pg_shadow', 'denied', { groups: ['catalog-readers'] }],
  ['information_schema without a grant', 'SELECT * FROM information_schema.tables', 'denied'],
];

const CHANGES: readonly Row[] = [
  ['DELETE', 'DELETE FROM customers', 'denied'],
  ['DELETE in WITH', 'WITH d AS (DELETE FROM customers RETURNING 1) SELECT 1', 'denied'],
  ['UPDATE in WITH', 'WITH d AS (UPDATE accounts SET balance = 0 RETURNING *) SELECT * FROM d', 'denied'],
  ['INSERT in WITH that is not read', "WITH d AS (INSERT INTO customers (id, name) VALUES (999, 'x')) SELECT 1", 'denied'],
  ['the middle of a string', 'SELECT 1; DELETE FROM customers; SELECT 2', 'denied'],
  ['the end of a string', 'SELECT 1;;;; --x\n DELETE FROM customers', 'denied'],
  ['behind a comment', 'SELECT 1; /* ; */ DELETE FROM accounts', 'denied'],
  ['EXPLAIN ANALYZE', 'EXPLAIN ANALYZE DELETE FROM customers', 'denied'],
  ['EXPLAIN (ANALYZE 1)', 'EXPLAIN (COSTS off, ANALYZE 1) DELETE FROM customers', 'denied'],
  ['EXPLAIN (ANALYZE off, ANALYZE on)', 'EXPLAIN (ANALYZE off, ANALYZE on) DELETE FROM customers', 'denied'],
  ['PREPARE', 'PREPARE p AS DELETE FROM customers', 'denied'],
  ['EXECUTE', ['PREPARE p AS SELECT upper(ssn) FROM customers', 'EXECUTE p'], 'held'],
  ['EXPLAIN ANALYZE EXECUTE', ['PREPARE p AS SELECT ssn FROM customers', 'EXPLAIN ANALYZE EXECUTE p'], 'held'],
  ['CREATE TABLE AS EXECUTE', ['PREPARE p AS SELECT ssn FROM customers', 'CREATE TABLE stolen AS EXECUTE p'], 'held'],
  ['DO', `DO ${Q}BEGIN DELETE FROM customers; END${Q}`, 'held'],
  ['RAISE in DO', `DO ${Q}BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers LIMIT 1); END${Q}`, 'held'],
  ['CALL', 'CALL anything()', 'held'],
  ['SELECT INTO', 'SELECT ssn AS x INTO TEMP stolen FROM customers', 'held'],
  ['CREATE TABLE AS', 'CREATE TEMP TABLE stolen AS SELECT ssn AS x FROM customers', 'held'],
  ['CREATE VIEW', 'CREATE TEMP VIEW stolen AS SELECT ssn AS x FROM customers', 'held'],
  ['CREATE FUNCTION', `CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS ${Q}SELECT max(ssn) FROM customers${Q}`, 'held'],
  ['CREATE RULE', 'CREATE RULE r AS ON INSERT TO scratch DO ALSO DELETE FROM customers', 'held'],
  ['CREATE TRIGGER', 'CREATE TRIGGER t AFTER INSERT ON scratch EXECUTE FUNCTION suppress_redundant_updates_trigger()', 'held'],
  ['ALTER TABLE', 'ALTER TABLE customers RENAME ssn TO open', 'held'],
  ['TRUNCATE', 'TRUNCATE scratch', 'held'],
  ['DROP', 'DROP TABLE customers', 'held'],
  ['GRANT', 'GRANT ALL ON customers TO PUBLIC', 'held'],
  ['INSERT of a sensitive value where nothing is masked', 'INSERT INTO scratch SELECT id, ssn FROM customers', 'held'],
  ['INSERT of an expression', 'INSERT INTO scratch (note) SELECT reverse(email) FROM customers', 'held'],
  ['INSERT of as many rows', 'INSERT INTO scratch SELECT 1 FROM customers c, generate_series(1, ascii(c.ssn)) WHERE c.id = 1', 'held'],
  [
    'INSERT with RETURNING of a subquery',
    "INSERT INTO scratch VALUES (1, 'x') RETURNING (SELECT upper(ssn) FROM customers WHERE id = 1)",
    'rows',
  ],
  ['UPDATE from a sensitive value', 'UPDATE scratch SET note = c.ssn FROM customers c WHERE c.id = scratch.id', 'held'],
  ['UPDATE with a row', 'UPDATE scratch SET (id, note) = (SELECT id, ssn FROM customers LIMIT 1)', 'held'],
  ['UPDATE of a column that shows its end', 'UPDATE customers SET card = ssn', 'held', { groups: ['writers'] }],
  ['UPDATE that turns a column around', 'UPDATE customers SET card = reverse(card)', 'held', { groups: ['writers'] }],
  ['UPDATE that shifts a column', 'UPDATE customers SET card = right(card, 12) || left(card, 4)', 'held', { groups: ['writers'] }],
  ['UPDATE of another row', 'UPDATE customers c SET card = d.card FROM customers d WHERE d.id = 1', 'rows', { groups: ['writers'] }],
  ['MERGE', 'MERGE INTO scratch s USING customers c ON c.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (c.id, c.ssn)', 'held'],
  [
    'MERGE with a condition',
    "MERGE INTO scratch s USING customers c ON c.id = s.id AND c.ssn > '5' WHEN NOT MATCHED THEN INSERT VALUES (c.id, 'x')",
    'held',
  ],
  [
    'ON CONFLICT',
    "INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = customers.ssn",
    'held',
    { groups: ['writers'] },
  ],
  ['setval', "SELECT setval('counter', 1000)", 'denied'],
  ['setval in FROM', "SELECT * FROM setval('counter', 1000)", 'denied'],
  ['setval by a computed name', "SELECT setval(('coun' || 'ter')::regclass, 1000)", 'held'],
  ['nextval', "SELECT nextval('counter')", 'denied'],
  ['LOCK', 'LOCK TABLE customers', 'denied'],
  ['FOR UPDATE', 'SELECT id FROM customers FOR UPDATE', 'denied'],
  ['COPY FROM', 'COPY customers FROM STDIN', 'denied'],
  ['COPY FROM a program', "COPY scratch FROM PROGRAM 'id'", 'denied'],
  ['COPY TO a program', "COPY customers TO PROGRAM 'cat'", 'denied'],
  ['COPY FROM a file', "COPY scratch (note) FROM '/etc/passwd'", 'denied'],
  ['COPY TO a file', "COPY customers TO '/tmp/stolen'", 'denied'],
  ['LOAD', "LOAD 'auto_explain'", 'denied'],
  ['NOTIFY with nothing but a grant to read', "NOTIFY x, 'y'", 'denied', { groups: ['catalog-readers'] }],
  ['ALTER SYSTEM', "ALTER SYSTEM SET log_statement = 'all'", 'denied'],
  ['ALTER ROLE', 'ALTER ROLE gateway SET standard_conforming_strings = off', 'denied'],
  ['CREATE ROLE', "CREATE ROLE thief SUPERUSER PASSWORD 'x'", 'held'],
  ['SET ROLE', 'SET ROLE postgres', 'denied'],
  ['SET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', 'denied'],
  ['SET standard_conforming_strings', 'SET standard_conforming_strings = off', 'denied'],
  ['the same and a text that it reads otherwise', "SET standard_conforming_strings = off; SELECT '\\', ssn FROM customers --'", 'denied'],
  ['SET client_encoding', "SET client_encoding = 'SJIS'", 'denied'],
  ['SET NAMES', "SET NAMES 'BIG5'", 'denied'],
  ['set_config', "SELECT set_config('standard_conforming_strings', 'off', false)", 'denied'],
  ['set_config by a computed name', "SELECT set_config('standard_conforming' || '_strings', 'off', false)", 'denied'],
  ['SET of a parameter of another name', 'SET "ROLE" = postgres', 'denied'],
  ['SET row_security', 'SET row_security = off', 'denied'],
  ['SET session_replication_role', 'SET session_replication_role = replica', 'denied'],
  ['SET log_statement', 'SET log_min_messages = debug5', 'denied'],
  ['a read-only transaction around a change', ['BEGIN', 'DELETE FROM customers'], 'denied'],
  ['a change behind a savepoint', ['BEGIN', 'SAVEPOINT s', 'DELETE FROM customers', 'ROLLBACK TO s', 'COMMIT'], 'denied'],
  ['a prepared transaction of others', "COMMIT PREPARED 'x'", 'error'],
];

const CURSORS: readonly Row[] = [
  ['a cursor in one string', 'BEGIN; DECLARE c CURSOR FOR SELECT ssn FROM customers; FETCH ALL c', 'error'],
  ['a cursor of an expression', ['BEGIN', 'DECLARE c CURSOR FOR SELECT upper(ssn) FROM customers', 'FETCH ALL c'], 'rows'],
  ['a cursor, one by one', ['BEGIN', 'DECLARE c SCROLL CURSOR FOR SELECT upper(ssn), id + 1 FROM customers', 'FETCH LAST c'], 'rows'],
  ['a cursor WITH HOLD', ['DECLARE c CURSOR WITH HOLD FOR SELECT reverse(ssn) FROM customers', 'FETCH 3 c'], 'rows'],
  [
    'a cursor after another of its name',
    [
      'BEGIN',
      'DECLARE c CURSOR FOR SELECT id FROM scratch',
      'CLOSE c',
      'DECLARE c CURSOR FOR SELECT lower(ssn) FROM customers',
      'FETCH ALL c',
    ],
    'rows',
  ],
  ['a cursor and another result', 'BEGIN; DECLARE c CURSOR FOR SELECT upper(ssn) FROM customers; SELECT 1; FETCH ALL c', 'error'],
  [
    'the number of rows that a cursor moves',
    'BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, ascii(ssn)) FROM customers WHERE id = 1; MOVE ALL c',
    'held',
  ],
  ['a cursor over a change', 'BEGIN; DECLARE c CURSOR FOR WITH d AS (DELETE FROM customers RETURNING 1) SELECT 1', 'denied'],
  ['a cursor with a condition', "BEGIN; DECLARE c CURSOR FOR SELECT id FROM customers WHERE ssn > '5'", 'held'],
  ['UPDATE of what a cursor stands on', "UPDATE customers SET name = 'x' WHERE CURRENT OF c", 'denied'],
  ['COPY', 'COPY customers TO STDOUT', 'rows'],
  ['COPY of a list', 'COPY customers (ssn, id) TO STDOUT', 'rows'],
  ['COPY in CSV', "COPY customers TO STDOUT (FORMAT csv, FORCE_QUOTE *, DELIMITER ';', QUOTE '~', ESCAPE '#', NULL 'x', HEADER)", 'rows'],
  ['COPY with a star for a delimiter', "COPY customers TO STDOUT (DELIMITER '*')", 'rows'],
  ['COPY in binary', 'COPY customers TO STDOUT (FORMAT binary)', 'error'],
  ['COPY in binary, in the old words', 'COPY customers TO STDOUT BINARY', 'error'],
  ['COPY of a query', 'COPY (SELECT reverse(ssn), id FROM customers) TO STDOUT', 'held'],
  ['COPY of rows', 'COPY (SELECT row_to_json(c) FROM customers c) TO STDOUT', 'held'],
  ['COPY of an expression that may be NULL', "COPY (SELECT nullif(left(ssn, 1), '5') FROM customers) TO STDOUT", 'held'],
  ['COPY of a long or a short text', "COPY (SELECT repeat('x', ascii(ssn)) FROM customers) TO STDOUT", 'held'],
  ['COPY in another encoding', "COPY customers TO STDOUT (ENCODING 'SJIS')", 'error'],
  ['COPY of a change', 'COPY (DELETE FROM customers RETURNING ssn) TO STDOUT', 'denied'],
  ['COPY with a condition', "COPY (SELECT id FROM customers WHERE ssn > '5') TO STDOUT", 'held'],
  ['COPY twice', 'COPY scratch TO STDOUT; COPY customers TO STDOUT', 'error'],
  ['EXPLAIN with a condition', "EXPLAIN SELECT id FROM customers WHERE ssn > '5'", 'held'],
  [
    'EXPLAIN ANALYZE of rows that a function makes',
    'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT generate_series(1, ascii(ssn)) FROM customers',
    'held',
  ],
  ['EXPLAIN of the values', 'EXPLAIN (VERBOSE, COSTS off) SELECT ssn || (SELECT max(ssn) FROM customers) FROM customers', 'rows'],
  ['SHOW', 'SHOW ALL', 'rows', { groups: ['catalog-readers'] }],
];

const sure = 'SELECT 1';
const secret = 'SELECT upper(ssn) FROM customers WHERE id = 1';
const risky = 'DELETE FROM customers';

/** Messages of the extended protocol; each list is answered before the next is sent. */
const MESSAGES: readonly Row[] = [
  ['an expression, prepared', [[parse('', secret), bind('', ''), execute(), sync()]], 'rows'],
  ['an expression in binary', [[parse('', secret), bind('', '', [], 1), execute(), sync()]], 'rows'],
  ['a column in binary', [[parse('', 'SELECT ssn, card FROM customers'), bind('', '', [], 1), execute(), sync()]], 'rows'],
  ['a row in binary', [[parse('', 'SELECT c FROM customers c'), bind('', '', [], 1), execute(), sync()]], 'rows'],
  ['an array in binary', [[parse('', 'SELECT ARRAY[ssn] FROM customers'), bind('', '', [], 1), execute(), sync()]], 'rows'],
  [
    'a portal, row by row',
    [[parse('', 'SELECT reverse(ssn) FROM customers'), bind('p', ''), execute('p', 1), execute('p', 2), execute('p'), sync()]],
    'rows',
  ],
  [
    'a statement that is described only',
    [
      [parse('s', secret), describeOf('S', 's'), sync()],
      [bind('', 's'), execute(), sync()],
    ],
    'rows',
  ],
  ['a denied statement', [[parse('', risky), bind('', ''), execute(), sync()]], 'denied'],
  ['a denied statement without Sync in between', [[parse('', sure), parse('', risky), bind('', ''), execute(), sync()]], 'denied'],
  [
    'the unnamed statement of before',
    [
      [parse('', sure), sync()],
      [parse('', risky), sync()],
      [bind('', ''), execute(), sync()],
    ],
    'denied',
  ],
  ['a name that is taken', [[parse('s', sure), parse('s', secret), bind('', 's'), execute(), sync()]], 'error'],
  [
    'a name that was closed',
    [
      [parse('s', secret), sync()],
      [closeOf('S', 's'), parse('s', sure), bind('', 's'), execute(), sync()],
    ],
    'rows',
  ],
  [
    'a name that the server keeps',
    [
      [parse('s', secret), sync()],
      [parse('x', 'SELEC'), closeOf('S', 's'), sync()],
      [parse('s', sure), bind('', 's'), execute(), sync()],
    ],
    'error',
  ],
  [
    'a name that SQL has taken',
    [
      [parse('s', sure), sync()],
      ...['DEALLOCATE s', `PREPARE s AS ${secret}`].map((sql) => [query(sql)]),
      [bind('', 's'), execute(), sync()],
    ],
    'error',
  ],
  [
    'a name that SQL has taken, in one string',
    [[parse('s', sure), sync()], [query(`DEALLOCATE s; PREPARE s AS ${secret}`)], [bind('', 's'), execute(), sync()]],
    'error',
  ],
  [
    'a name that DISCARD freed',
    [[parse('s', sure), sync()], [query('DISCARD ALL')], [query(`PREPARE s AS ${secret}`)], [bind('', 's'), execute(), sync()]],
    'error',
  ],
  ['a statement of SQL by its name', [[query(`PREPARE s AS ${secret}`)], [bind('', 's'), execute(), sync()]], 'error'],
  ['a portal of SQL by its name', [[query(`BEGIN; DECLARE c CURSOR FOR ${secret}`)], [execute('c'), sync()]], 'error'],
  [
    'a portal that SQL has taken',
    [
      [query('BEGIN')],
      [parse('', 'SELECT id FROM scratch'), bind('c', ''), sync()],
      [query(`CLOSE c; DECLARE c CURSOR FOR ${secret}`)],
      [execute('c'), sync()],
    ],
    'error',
  ],
  ['FETCH of a portal', [[query('BEGIN')], [parse('', secret), bind('c', ''), sync()], [query('FETCH ALL c')]], 'rows'],
  ['a reserved statement', [[parse('_sluice', secret), bind('', '_sluice'), execute(), sync()]], 'error'],
  ['a portal of a reserved statement', [[bind('', '_sluice'), execute(), sync()]], 'error'],
  ['closing what is reserved', [[closeOf('S', '_sluice'), sync()]], 'error'],
  [
    'a long name',
    [
      [parse('s'.repeat(63), sure), sync()],
      [parse('s'.repeat(64), secret), sync()],
    ],
    'error',
  ],
  ['a name that is not UTF-8', [[message('P', [Buffer.from([0x73, 0xff, 0]), text(secret), int16(0)]), sync()]], 'error'],
  ['a text that is not UTF-8', [[message('Q', [Buffer.from([0x53, 0xc0, 0xa7, 0])])]], 'error'],
  ['a large text', [[query(`SELECT '${'x'.repeat(1_100_000)}'; ${risky}`)]], 'error'],
  ['a text with many statements', [[query(`${'SELECT 1;'.repeat(1001)}${risky}`)]], 'error'],
  ['a text that is nested deeply', [[query(`SELECT ${'('.repeat(5000)}1${')'.repeat(5000)}`)]], 'any'],
  ['a text after a zero byte', [[message('Q', [text(sure), text(risky)])]], 'closed'],
  ['a text without an end', [[message('Q', [Buffer.from(risky)])]], 'closed'],
  ['an Execute without a portal', [[execute('none'), sync()]], 'error'],
  ['a Bind without a statement', [[bind('', 'none'), execute(), sync()]], 'error'],
  [
    'a Describe after another statement',
    [[parse('a', sure), parse('b', secret), bind('p', 'a'), describeOf('P', 'p'), bind('p', 'b'), execute('p'), sync()]],
    'error',
  ],
  [
    'an unnamed portal that is bound again',
    [[parse('a', sure), parse('b', secret), bind('', 'a'), describeOf('P', ''), bind('', 'b'), execute(), sync()]],
    'rows',
  ],
  [
    'a condition by a parameter',
    [[parse('', 'SELECT id FROM customers WHERE ssn = $1'), bind('', '', ['536-22-8134']), execute(), sync()]],
    'held',
  ],
  [
    'a comparison by a parameter',
    [[parse('', 'SELECT nullif(left(ssn, 1), $1) FROM customers WHERE id = 1'), bind('', '', ['5']), execute(), sync()]],
    'rows',
  ],
  ['COPY by the extended protocol', [[parse('', 'COPY customers TO STDOUT'), bind('', ''), execute(), sync()]], 'rows'],
  ['a FunctionCall', [[message('F', [int32(2079), int16(0), int16(0), int16(0)])]], 'error'],
  ['a message of an unknown type', [[message('y')]], 'closed'],
  ['a password in the session', [[message('p', [text('x')])]], 'closed'],
  ['a negative length', [[message('Q', [text(risky)], -1)]], 'closed'],
  ['a length of three', [[message('Q', [text(risky)], 3)]], 'closed'],
  ['a huge length', [[message('Q', [text(risky)], 0x7fff_ffff)]], 'closed'],
  ['a Sync with a body', [[message('S', [query(risky)])]], 'closed'],
  ['a Terminate with a body', [[message('X', [query(risky)])]], 'closed'],
  ['a Bind with more values than it has', [[parse('', sure), message('B', [text(''), text(''), int16(0), int16(9)]), sync()]], 'any'],
  ['rows to copy that nobody asked for', [[message('d', [query(risky)]), message('c'), sync()]], 'closed'],
  ['a Query while rows are copied in', [[query('COPY scratch FROM STDIN')], [query(risky)]], 'error'],
  ['a Query inside of copied rows', [[query('COPY scratch FROM STDIN')], [message('d', [query(risky)]), message('f', [text('x')])]], 'any'],
  ['a Flush instead of a Sync', [[parse('', risky), bind('', ''), execute(), flush(), sync()]], 'denied'],
];

const PASSWORD = message('p', [text('x')]);
const STARTS: readonly (readonly [string, readonly Buffer[]])[] = [
  ['a Query before anything', [query(risky)]],
  ['a Query before the password', [startup({ user: 'agent' }), query(risky)]],
  ['a Query behind a wrong password', [startup({ user: 'agent' }), PASSWORD, query(risky)]],
  ['a text behind a request for TLS', [Buffer.concat([int32(8), int32(80_877_103), startup({ user: 'postgres' })])]],
  ['a request for TLS of another length', [Buffer.concat([int32(12), int32(80_877_103), int32(0)])]],
  ['protocol 2', [startup({ user: 'agent' }, 131_072)]],
  ['protocol 4', [startup({ user: 'agent' }, 262_144)]],
  ['a negative length', [Buffer.concat([int32(-1), int32(196_608)])]],
  ['a huge length', [Buffer.concat([int32(0x7fff_ffff), int32(196_608)])]],
  ['a length of four', [Buffer.concat([int32(4), int32(196_608)])]],
  ['replication', [startup({ user: 'agent', replication: 'database' })]],
  ['a cancellation of anybody', [Buffer.concat([int32(16), int32(80_877_102), int32(1), int32(1)])]],
  ['a cancellation without a key', [Buffer.concat([int32(8), int32(80_877_102)])]],
];

describe('start-up', () => {
  test.each(STARTS)('%s', { timeout: 20_000, retry: 1 }, async (_, parts) => {
    const wire = new Wire(ledger.port);
    wire.send(...parts);
    await wire.until(() => wire.of('E').length > 0, 6_000);
    const said = wire.bytes.toString('latin1');
    // Nobody is let in, and nothing of the target is said.
    expect(said).not.toContain('server_version');
    expect(said).not.toContain('R\0\0\0\x08\0\0\0\0');
    expect(wire.closed || wire.of('E').length > 0).toBe(true);
    wire.end();
    expect((await superuser.query('SELECT count(*)::int AS n FROM customers')).rows[0].n).toBe(120);
  });

  const SETTINGS: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['another role', { options: '-c role=postgres' }],
    ['strings that are read otherwise', { options: '-c standard_conforming_strings=off' }],
    ['the same with another hyphen', { options: '--standard-conforming-strings=off' }],
    ['an encoding', { client_encoding: 'SJIS' }],
    ['an encoding in options', { options: '-c client_encoding=BIG5' }],
    ['another database', { database: 'postgres' }],
    ['row security', { row_security: 'off' }],
    ['no constraints', { session_replication_role: 'replica' }],
    ['a library', { options: '-c local_preload_libraries=x' }],
    ['a flag', { options: '-s' }],
  ];
  test.each(SETTINGS)('%s', { timeout: 20_000, retry: 1 }, async (_, start) => {
    expect((await attempt(['SELECT 1'], { start })).outcome).toBe('closed');
  });
});

describe('a change of the catalog', () => {
  const moved = 'SELECT s.*, upper(c.ssn), 1 FROM scratch s, customers c WHERE c.id = 1';

  test('in a transaction moves no column to the place of a clear one', { timeout: 30_000, retry: 1 }, async () => {
    await ledger.query("DELETE FROM scratch; INSERT INTO scratch VALUES (1, 'x')");
    const wire = await new Wire(ledger.port).logIn(await ledger.sluice.token());
    const tell = async (sql: string): Promise<void> => {
      const before = wire.of('Z').length;
      wire.send(query(sql));
      await wire.until(() => wire.of('Z').length > before);
    };
    await tell('BEGIN');
    const changed = tell('ALTER TABLE scratch ADD COLUMN extra int');
    await ledger.sluice.answer((await ledger.sluice.approvals())[0]?.id ?? '', 'approve');
    await changed;
    expect(wire.of('E')).toEqual([]);
    await tell(moved);
    expect(leaks(wire.bytes)).toEqual([]);
    await tell('ROLLBACK');
    wire.end();
  });

  test('in another session moves no column to the place of a clear one', { timeout: 30_000, retry: 1 }, async () => {
    await ledger.query("DELETE FROM scratch; INSERT INTO scratch VALUES (1, 'x')");
    const token = await ledger.sluice.token();
    const [one, other] = [await new Wire(ledger.port).logIn(token), await new Wire(ledger.port).logIn(token)];
    other.send(query('SELECT 1'));
    await other.until(() => other.of('Z').length > 1);
    one.send(query('ALTER TABLE scratch ADD COLUMN elsewhere int'));
    await ledger.sluice.answer((await ledger.sluice.approvals())[0]?.id ?? '', 'approve');
    await one.until(() => one.of('Z').length > 1);
    expect(one.of('E')).toEqual([]);
    other.send(query(moved));
    await other.until(() => other.of('Z').length > 2);
    expect(other.of('E')).toEqual([]);
    expect(leaks(other.bytes)).toEqual([]);
    one.end();
    other.end();
  });

  test('in the same string moves no column to the place of a clear one', { timeout: 30_000, retry: 1 }, async () => {
    const wire = await new Wire(ledger.port).logIn(await ledger.sluice.token());
    wire.send(query(`ALTER TABLE scratch ADD COLUMN more int; ${moved}`));
    await ledger.sluice.answer((await ledger.sluice.approvals())[0]?.id ?? '', 'approve');
    await wire.until(() => wire.of('Z').length > 1);
    expect(leaks(wire.bytes)).toEqual([]);
    wire.end();
  });
});

/** Two texts: the second would pass by the judgement of the first, if it were taken for one of its shape. */
const JUDGED = 'SELECT id, name FROM customers WHERE id = 1';
const after = (what: string, second: string, expected: Outcome | 'any', first = JUDGED): Row => [what, [first, second], expected];
const SHAPES: readonly Row[] = [
  after('another number', 'SELECT id, name FROM customers WHERE id = 2', 'rows'),
  after('a number that no int4 is', 'SELECT id, name FROM customers WHERE id = 99999999999', 'rows'),
  after('a number with a fraction', 'SELECT id, name FROM customers WHERE id = 1.5', 'rows'),
  after('a sensitive column for the number', 'SELECT id, name FROM customers WHERE name = ssn', 'held'),
  after('a query for the number', "SELECT id, name FROM customers WHERE id = (SELECT 1 FROM customers WHERE ssn > '5' LIMIT 1)", 'held'),
  after('an expression over a sensitive column behind it', 'SELECT id, name FROM customers WHERE id = 1 + ascii(ssn)', 'held'),
  after('a condition behind it', "SELECT id, name FROM customers WHERE id = 1 OR ssn > '5'", 'held'),
  after('a second statement behind it', 'SELECT id, name FROM customers WHERE id = 1; UPDATE customers SET name = ssn', 'denied'),
  after('a union behind it', 'SELECT id, name FROM customers WHERE id = 1 UNION ALL SELECT 1, ssn FROM customers', 'rows'),
  after('a union behind a comment', 'SELECT id, name FROM customers WHERE id = 1/**/UNION ALL SELECT 1, ssn FROM customers', 'rows'),
  after('a comment that hides nothing', 'SELECT id, name FROM customers WHERE id = 1--\nUNION ALL SELECT 1, ssn FROM customers', 'rows'),
  after('a line that a comment does not reach', 'SELECT id, ssn -- FROM customers WHERE id = 1\nFROM customers WHERE id = 1', 'rows'),
  after('an E string', "SELECT id, name FROM customers WHERE id = E'1'::int OR ssn > '5'", 'held'),
  after('a string of dollars', 'SELECT id, name FROM customers WHERE id = $$1$$::int', 'rows'),
  after('letters beyond ASCII that look like it', 'SELECT id, ｎame FROM customers WHERE id = 1', 'any'),
  after('a space beyond ASCII', 'SELECT id, name FROM customers WHERE id =\u00a01', 'any'),
  after('a zero byte behind it', 'SELECT id, name FROM customers WHERE id = 1\0 OR true', 'closed'),
  after('the mark that stands for a number', 'SELECT id, name FROM customers WHERE id = \u0001', 'error'),
  after('a parameter that is not there', 'SELECT id, name FROM customers WHERE id = $1', 'error'),
  after('a quoted name that holds the same', 'SELECT id, "name FROM customers WHERE id = 1" FROM customers', 'held'),
  after('another column', 'SELECT id, card FROM customers WHERE id = 1', 'rows'),
  after('another order of columns', 'SELECT ssn, id FROM customers WHERE id = 1', 'rows', 'SELECT id, ssn FROM customers WHERE id = 1'),
  after(
    'the order by another column',
    'SELECT id, ssn FROM customers WHERE id < 9 ORDER BY 2',
    'held',
    'SELECT id, ssn FROM customers WHERE id < 9 ORDER BY 1',
  ),
  after(
    'a group of another column',
    'SELECT id, ssn FROM customers WHERE id < 9 GROUP BY 1, 2',
    'held',
    'SELECT id, ssn FROM customers WHERE id < 9 GROUP BY 1, id',
  ),
  after(
    'another limit of rows',
    'SELECT id, ssn FROM customers WHERE id < 9 ORDER BY id LIMIT 2',
    'rows',
    'SELECT id, ssn FROM customers WHERE id < 9 ORDER BY id LIMIT 1',
  ),
  after(
    'another length of a cast',
    'SELECT name::char(3) FROM customers WHERE id = 1',
    'rows',
    'SELECT name::char(2) FROM customers WHERE id = 1',
  ),
  after('what an operator does that ends alike', 'SELECT id, name FROM customers WHERE id *= 1', 'error'),
  after(
    'another mode of strings',
    "SELECT id, name FROM customers WHERE id = 1 OR ssn > '\\' OR name > ''",
    'held',
    "SELECT id, name FROM customers WHERE id = 1 OR name > ''",
  ),
  after('a copy', 'COPY (SELECT id, ssn FROM customers WHERE id = 1) TO STDOUT', 'rows', 'SELECT id, ssn FROM customers WHERE id = 1'),
  after('a plan of it', 'EXPLAIN (COSTS OFF) SELECT id, name FROM customers WHERE id = 1', 'any'),
  after('a lock', 'SELECT id, name FROM customers WHERE id = 1 FOR UPDATE', 'denied'),
  after('a table made of it', 'SELECT id, name INTO stolen FROM customers WHERE id = 1', 'held'),
  [
    'a prepared text of its shape',
    [
      [query(JUDGED)],
      [parse('', 'SELECT id, name FROM customers WHERE id = 3'), bind('', ''), describeOf('P', ''), execute(), sync()],
      [parse('', "SELECT id, name FROM customers WHERE id = 3 OR ssn > '5'"), bind('', ''), execute(), sync()],
    ] as unknown as readonly Buffer[][],
    'held',
  ],
  [
    'another search path',
    ['SELECT id, name FROM names WHERE id = 1', 'SET search_path = shadow', 'SELECT ssn FROM names WHERE id = 1'],
    'any',
  ],
];

const run = async ([, how, expected, options]: Row): Promise<void> => {
  const sends = typeof how === 'string' ? [how] : (how as readonly (string | readonly Buffer[])[]);
  const outcome = await twice(sends, options);
  if (expected === 'any') expect(['rows', 'held', 'error', 'denied']).toContain(outcome);
  else expect(outcome).toBe(expected);
};

describe.each([
  ['names', NAMES],
  ['functions', FUNCTIONS],
  ['changes', CHANGES],
  ['cursors, copies and plans', CURSORS],
  ['messages', MESSAGES],
  ['shapes', SHAPES],
])('%s', (_, rows) => {
  test.each(rows)('%s', { timeout: 20_000, retry: 1 }, (...row) => run(row as unknown as Row));
});
