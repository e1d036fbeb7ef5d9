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
        { group: 'support-agents', actions: ['write'], tables: ['public.notes', 'public.scratch', 'public.docs'] },
        { group: 'support-agents', actions: ['ddl'], tables: ['public.*'] },
        { group: 'writers', actions: ['read', 'write'], tables: ['public.*'] },
        { group: 'catalog-readers', actions: ['read'], tables: ['*.*'] },
      ],
      approvals: [{ approvers: ['group:leads'], quorum: 1, ttl: '1m' }],
      obligations: [
        { oblige: { type: 'mask', field: 'public.customers.ssn', method: 'full' } },
        { oblige: { type: 'mask', field: 'public.vault.ssn', method: 'full' } },
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
  INSERT INTO shadow.names SELECT id, ssn FROM customers;
  CREATE TABLE docs (id int, tags text[], doc jsonb);
  INSERT INTO docs VALUES (1, '{a}', '{}');
  GRANT ALL ON docs TO gateway;
  ALTER TABLE customers OWNER TO gateway;
  CREATE TYPE sneaky AS (x text);
  CREATE FUNCTION sneak(int) RETURNS sneaky LANGUAGE sql STABLE AS 'SELECT ROW(max(ssn))::public.sneaky FROM public.customers';
  CREATE CAST (int AS sneaky) WITH FUNCTION sneak(int) AS ASSIGNMENT;
  CREATE FUNCTION told(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', (SELECT max(ssn) FROM public.customers); RETURN true; END';
  CREATE DOMAIN checked AS text CHECK (told(VALUE));
  CREATE DOMAIN above AS checked;
  CREATE FUNCTION compare(text, int) RETURNS bool LANGUAGE sql STABLE AS 'SELECT max(ssn) > $1 FROM public.customers';
  CREATE FUNCTION rowed(public.scratch) RETURNS text LANGUAGE sql STABLE AS 'SELECT max(ssn) FROM public.customers';
  CREATE TABLE vault (id int, ssn text, tail text GENERATED ALWAYS AS (right(ssn, 4)) VIRTUAL);
  INSERT INTO vault SELECT id, ssn FROM customers;
  GRANT ALL ON vault TO gateway;
  CREATE TYPE digit AS ENUM ('3', '5');
  CREATE DOMAIN short AS text CHECK (length(VALUE) < 12);
  CREATE OPERATOR >= (LEFTARG = text, RIGHTARG = int, FUNCTION = compare);
  CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION tablefunc;`;

let ledger: Ledger;
let superuser: pg.Client;
let needles: readonly string[];

beforeAll(async () => {
  ledger = await Ledger.start((document, dir) => {
    writeFileSync(join(dir, 'attacked.yaml'), stringify(GRANTS));
    document.policy.data = join(dir, 'attacked.yaml');
    document.targets.at(-1).sensitive.push('public.vault.ssn');
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
  superuser.query(`UPDATE public.customers c SET ssn = o.ssn, card = o.card, iban = o.iban FROM hidden.${which} o WHERE o.id = c.id;
    UPDATE public.vault v SET ssn = o.ssn FROM hidden.${which} o WHERE o.id = v.id`);

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

/** `any`: as long as it tells nothing. `refused`: held, denied, or not to be understood. */
type Row = readonly [
  what: string,
  how: string | readonly string[] | readonly Buffer[][],
  expected: Outcome | 'any' | 'refused',
  options?: Attempt,
];

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
  ['ts_stat as a field', `SELECT ('select to_tsvector(ssn) from customers'::text).ts_stat`, 'held'],
  ['a function of an extension as a field', `SELECT ('select ssn, ''a''::text, ssn from customers'::text).crosstab2`, 'held'],
  ['the same, and a field of it', `SELECT (('select ssn, ''a''::text, ssn from customers'::text).crosstab2).row_name`, 'held'],
  ['a cast to a domain as a field', `SELECT ('x'::text).checked`, 'held'],
  ['a cast to an array of a domain', `SELECT '{x}'::_checked`, 'held'],
  ['a cast to a domain over a domain', `SELECT 'x'::above`, 'held'],
  ['a cast by a list of columns', `SELECT * FROM json_to_record('{"a": "x"}') AS t(a checked)`, 'held'],
  ['a cast by a column of XMLTABLE', `SELECT * FROM xmltable('/a' PASSING '<a>x</a>' COLUMNS b checked PATH '.')`, 'held'],
  ['a cast by XMLSERIALIZE', `SELECT xmlserialize(CONTENT '<a/>' AS checked)`, 'held'],
  ['a cast by RETURNING', `SELECT json_object('a': 1 RETURNING checked)`, 'held'],
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
  ['rows to copy that nobody asked for', [[message('d', [query(risky)]), message('c'), sync()]], 'rows'],
  ['a Query while rows are copied in', [[query('COPY scratch FROM STDIN')], [query(risky)]], 'error'],
  ['a Query inside of copied rows', [[query('COPY scratch FROM STDIN')], [message('d', [query(risky)]), message('f', [text('x')])]], 'any'],
  ['a Flush instead of a Sync', [[parse('', risky), bind('', ''), execute(), flush(), sync()]], 'denied'],
];

/** NULL for the one secrets, a text for the other ones. */
const CHOSEN = `nullif(left(ssn, 1), '5')`;
/** Fails for customer 1 when it is evaluated, and comes of nothing sensitive. */
const FAILS = `(1 / (id - 1))::text`;
const one = (expression: string): string => `SELECT ${expression} FROM customers WHERE id = 1`;

/** What an expression gives is masked; whether it fails, how many rows there are and how large a plan's steps are is not. */
const ORACLES: readonly Row[] = [
  ['a part at a place that may be none', one(`split_part('a', 'b', strpos(left(ssn, 1), '5'))`), 'held'],
  ['a part of what may be NULL at an impossible place', one(`split_part(${CHOSEN}, 'x', 0)`), 'held'],
  ['a negative length of what may be NULL', one(`substr(${CHOSEN}, 1, -1)`), 'held'],
  ['the same in the words of the standard', one(`substring(${CHOSEN} FROM 1 FOR -1)`), 'held'],
  ['a start that is computed', one(`substr('x', 1, strpos(ssn, '5') - 2)`), 'held'],
  ['a text cut to a length by a function', one(`"varchar"(left(ssn, strpos(ssn, '5')), 5, false)`), 'held'],
  ['the same of another type', one(`pg_catalog.bpchar(left(ssn, strpos(ssn, '5')), 5, false)`), 'held'],
  ['bounds of a range', one(`('[' || card || ',5000000000000000]')::int8range`), 'held'],
  ['bounds of a range of numbers', one(`('[' || card || ',5000000000000000]')::numrange`), 'held'],
  ['a number with a limit', one(`card::numeric(16, -15)`), 'held'],
  ['a number that may be too large', one(`('92' || card || '1')::int8`), 'held'],
  ['a date that may be none', one(`ssn::date`), 'held'],
  ['JSON that may be none', one(`('{"a": ' || ssn)::json`), 'held'],
  ['a text that grows', one(`replace(replace(left(ssn, 1), '5', '${'x'.repeat(40_000)}'), 'x', '${'y'.repeat(40_000)}')`), 'held'],
  ['a text that grows by a separator', `SELECT string_agg(${CHOSEN}, '${'x'.repeat(1000)}') FROM customers`, 'held'],
  ['COALESCE', one(`coalesce(${CHOSEN}, ${FAILS})`), 'held'],
  [
    'COALESCE of columns of a subquery',
    `SELECT coalesce(a, b) FROM (SELECT ${CHOSEN} AS a, ${FAILS} AS b FROM customers WHERE id = 1) s`,
    'held',
  ],
  [
    'COALESCE of columns of WITH',
    `WITH s AS NOT MATERIALIZED (SELECT ${CHOSEN} AS a, ${FAILS} AS b FROM customers WHERE id = 1) SELECT coalesce(a, b) FROM s`,
    'held',
  ],
  ['COALESCE and a subquery of many rows', one(`coalesce(${CHOSEN}, (SELECT name FROM customers))`), 'held'],
  [
    'COALESCE and a subquery that fails',
    one(`coalesce(${CHOSEN}, (SELECT 'x' FROM accounts a WHERE a.id = customers.id AND 1 / (customers.id - 1) > 0))`),
    'held',
  ],
  ['COALESCE that counts', one(`coalesce(${CHOSEN}, nextval('counter')::text)`), 'any'],
  ['OR', one(`(ssn > '6' OR ${FAILS} = 'x')`), 'held'],
  ['AND', one(`(${FAILS} = 'x' AND left(ssn, 1) = '6')`), 'held'],
  ['IN', one(`left(ssn, 1) IN ('5', ${FAILS})`), 'held'],
  ['NOT IN', one(`left(ssn, 1) NOT IN ('5', ${FAILS})`), 'held'],
  ['BETWEEN', one(`left(ssn, 1) BETWEEN '6' AND ${FAILS}`), 'held'],
  ['BETWEEN SYMMETRIC', one(`left(ssn, 1) BETWEEN SYMMETRIC '6' AND ${FAILS}`), 'held'],
  ['rows in order', one(`(left(ssn, 1), '1') < ('5', ${FAILS})`), 'held'],
  ['rows that are alike', one(`(left(ssn, 1), '1') = ('5', ${FAILS})`), 'held'],
  ['rows that are distinct', one(`(left(ssn, 1), '1') IS DISTINCT FROM ('5', ${FAILS})`), 'held'],
  ['a place in an array that may be NULL', one(`(nullif(ARRAY[left(ssn, 1)], ARRAY['5']))[1 / (id - 1)]`), 'held'],
  ['arrays of one length', one(`ARRAY[nullif(ARRAY[left(ssn, 1)], ARRAY['5']), ARRAY['a']]`), 'held'],
  ['arrays that are joined', one(`ARRAY[ARRAY['a', 'b']] || nullif(ARRAY[left(ssn, 1)], ARRAY['5'])`), 'held'],
  ['rows until one fits', one(`left(ssn, 1) = ANY (SELECT x FROM (VALUES ('5'), (${FAILS})) v(x))`), 'held'],
  ['rows until one does not', one(`left(ssn, 1) <> ALL (SELECT x FROM (VALUES ('5'), (${FAILS})) v(x))`), 'held'],
  [
    'rows that come with conditions',
    one(`left(ssn, 1) IN (SELECT x FROM (VALUES ('5'), ('7')) v(x) WHERE x < '6' OR ${FAILS} = 'x')`),
    'held',
  ],
  ['CASE', one(`CASE left(ssn, 1) WHEN '5' THEN ${FAILS} END`), 'held'],
  ['GREATEST of what fails', one(`greatest(ssn, ${FAILS})`), 'error'],
  ['ROLLUP by place', `SELECT left(ssn, 1), count(*) FROM customers GROUP BY ROLLUP (1)`, 'held'],
  ['CUBE by place', `SELECT left(ssn, 1), tier, count(*) FROM customers GROUP BY CUBE (1, 2)`, 'held'],
  ['GROUPING SETS by place', `SELECT left(ssn, 1), count(*) FROM customers GROUP BY GROUPING SETS ((1), ())`, 'held'],
  ['nested GROUPING SETS', `SELECT left(ssn, 1), count(*) FROM customers GROUP BY GROUPING SETS (ROLLUP (1))`, 'held'],
  ['GROUP BY a list of places', `SELECT left(ssn, 1), tier, count(*) FROM customers GROUP BY (1, 2)`, 'held'],
  ['GROUP BY a name', `SELECT left(ssn, 1) AS x, count(*) FROM customers GROUP BY x`, 'held'],
  ['GROUP BY DISTINCT', `SELECT left(ssn, 1), count(*) FROM customers GROUP BY DISTINCT ROLLUP (1), ROLLUP (1)`, 'held'],
  [
    'a cycle',
    `WITH RECURSIVE r(a, n) AS (SELECT '5', 0 UNION ALL SELECT (SELECT left(ssn, 1) FROM customers WHERE id = 1), n + 1 FROM r WHERE n < 3)
     CYCLE a SET c USING p SELECT n FROM r`,
    'held',
  ],
  [
    'rows of a recursion that are alike',
    `WITH RECURSIVE r(a) AS (SELECT '5' UNION SELECT (SELECT left(ssn, 1) FROM customers WHERE id = 1) FROM r) SELECT count(*) FROM r`,
    'held',
  ],
  [
    'the size of what EXPLAIN sends nowhere',
    `EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off, SERIALIZE text)
     SELECT ${CHOSEN} || '${'x'.repeat(8000)}' FROM customers WHERE id = 1`,
    'held',
  ],
  [
    'the size of what EXPLAIN sorts',
    `EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT id FROM (SELECT id, ${CHOSEN} || repeat('x', 100000) AS x
     FROM customers WHERE id < 3 ORDER BY tier, id OFFSET 0) s WHERE x IS NOT NULL OR true`,
    'held',
  ],
  [
    'the size of what EXPLAIN keeps',
    `EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) WITH x AS MATERIALIZED (SELECT id, ${CHOSEN} || '${'x'.repeat(20_000)}' AS y
     FROM customers WHERE id = 1) SELECT id FROM x`,
    'held',
  ],
  [
    'EXPLAIN ANALYZE of what is not sensitive',
    'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT id FROM customers',
    'rows',
  ],
  ['a place in an array of a table', `UPDATE docs SET tags[(SELECT ascii(ssn) FROM customers WHERE id = 1)] = 'x'`, 'held'],
  ['a key of a document', `UPDATE docs SET doc[(SELECT ssn FROM customers WHERE id = 1)] = '1'`, 'held'],
  ['a place in an array that is inserted', `INSERT INTO docs (tags[(SELECT ascii(ssn) FROM customers WHERE id = 1)]) VALUES ('x')`, 'held'],
  [
    'a place in an array that is merged',
    `MERGE INTO docs d USING (SELECT 1) s ON false WHEN NOT MATCHED THEN INSERT (tags[(SELECT ascii(ssn) FROM customers WHERE id = 1)]) VALUES ('x')`,
    'any',
  ],
  ['a table without a grant, read for a place', `UPDATE docs SET tags[(SELECT count(*)::int FROM hidden.real)] = 'x'`, 'denied'],
  ['a file, read for a place', `UPDATE docs SET tags[length(pg_read_file('PG_VERSION'))] = 'x'`, 'denied'],
  [
    'a value that is there already',
    `INSERT INTO customers SELECT 999, 'x', 'e', '536-22-8134', '4', 'i', 't', now() ON CONFLICT (ssn) DO NOTHING`,
    'held',
    { groups: ['writers'] },
  ],
  [
    'any value that is there already',
    `INSERT INTO customers SELECT 1, 'x', 'e', '536-22-8134', '4', 'i', 't', now() ON CONFLICT DO NOTHING`,
    'held',
    { groups: ['writers'] },
  ],
  ['a cast that is a function', `SELECT 1::sneaky`, 'held'],
  ['the same as an argument', `SELECT CAST(id AS public.sneaky) FROM scratch`, 'held'],
  ['the same in an array', `SELECT ARRAY[1]::sneaky[]`, 'held'],
  ['a check that is a function', `SELECT '1'::checked`, 'held'],
  ['BETWEEN by an operator that nobody knows', `SELECT 'a'::text BETWEEN 1 AND 2`, 'held'],
  ['an extension that has operators of the same names', `SELECT id FROM customers WHERE id = 1 AND name <> 'A'`, 'rows'],
  ['what others tell each other', 'LISTEN changes', 'held'],
];

/** Each must be held, denied or fail, or tell nothing. */
const SERVER: readonly Row[] = [
  ...[
    ...[
      'pg_stat_get_live_tuples(1)',
      'pg_export_snapshot()',
      `pg_logical_emit_message(true, 'a', 'b')`,
      'pg_switch_wal()',
      'pg_reload_conf()',
    ],
    ...[
      'pg_terminate_backend(1)',
      'pg_cancel_backend(1)',
      'pg_rotate_logfile()',
      `pg_create_restore_point('x')`,
      `lo_import('/etc/passwd')`,
    ],
    ...[
      `lo_export(1, '/tmp/x')`,
      'lo_creat(-1)',
      'lo_open(1, 262144)',
      'loread(0, 10)',
      `pg_read_binary_file('PG_VERSION')`,
      'pg_ls_tmpdir()',
    ],
    ...['pg_ls_waldir()', `table_to_xmlschema('customers', true, false, '')`, `query_to_xml_and_xmlschema('select 1', true, false, '')`],
    ...[`schema_to_xml_and_xmlschema('public', true, false, '')`, `pg_input_error_info('x', 'int')`, `pg_get_backend_memory_contexts()`],
    ...[
      `pg_logical_slot_get_changes('x', NULL, NULL)`,
      `pg_create_physical_replication_slot('x')`,
      `pg_stat_reset()`,
      `pg_stat_get_activity(NULL)`,
    ],
    ...[
      `has_table_privilege('hidden.real', 'select')`,
      `dblink_connect('x')`,
      `set_config('x.y', 'z', false)`,
      `pg_sleep(0)`,
      `xpath_table('a')`,
    ],
  ].map((call): Row => [call, `SELECT ${call}`, 'any']),
  ...[
    ...['pg_stats_ext', 'pg_stats_ext_exprs', 'pg_statistic_ext_data', 'pg_largeobject_metadata', 'pg_prepared_statements', 'pg_cursors'],
    ...[
      'pg_user_mappings',
      'pg_foreign_server',
      'pg_publication',
      'pg_seclabels',
      'information_schema.columns',
      'information_schema.views',
    ],
    ...[
      'information_schema.check_constraints',
      'information_schema.user_mapping_options',
      'pg_hba_file_rules',
      'pg_authid',
      'pg_toast.pg_toast_1255',
    ],
  ].map((relation): Row => [relation, `SELECT * FROM ${relation} LIMIT 20`, 'any', { groups: ['catalog-readers'] }]),
  ['values that a new column had', 'SELECT attmissingval FROM pg_attribute', 'rows', { groups: ['catalog-readers'] }],
  [
    'bounds of partitions',
    'SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition',
    'rows',
    { groups: ['catalog-readers'] },
  ],
  ...[
    ...[
      'CREATE EXTENSION dblink',
      'CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw',
      `CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p`,
    ],
    ...[
      'CREATE PUBLICATION p FOR ALL TABLES',
      'CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION x()',
      'CREATE LANGUAGE plperlu',
    ],
    ...[
      'IMPORT FOREIGN SCHEMA x FROM SERVER s INTO public',
      `SECURITY LABEL ON TABLE customers IS 'x'`,
      `COMMENT ON TABLE customers IS 'x'`,
    ],
    ...['ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC', 'REASSIGN OWNED BY postgres TO gateway', 'DROP OWNED BY gateway'],
    ...[
      'CREATE MATERIALIZED VIEW v AS SELECT ssn FROM customers',
      'REFRESH MATERIALIZED VIEW v',
      'CREATE POLICY p ON customers USING (true)',
    ],
    ...['ALTER TABLE customers DISABLE ROW LEVEL SECURITY', 'CREATE STATISTICS s ON ssn, card FROM customers', 'CREATE DOMAIN d AS text'],
    ...[
      'CREATE CAST (int AS text) WITH INOUT',
      'CREATE AGGREGATE a (text) (SFUNC = textcat, STYPE = text)',
      'CREATE UNIQUE INDEX ON customers (ssn)',
    ],
    ...[
      'CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)',
      'CREATE TABLE t (LIKE customers)',
      'REINDEX TABLE customers',
    ],
    ...[
      'CREATE TABLE t () INHERITS (customers)',
      'ALTER TABLE customers ALTER ssn TYPE int USING ssn::int',
      'CLUSTER customers',
      'VACUUM FULL',
    ],
    ...[
      'ANALYZE customers',
      `ALTER FUNCTION outside() SECURITY DEFINER`,
      'ALTER TABLE customers ADD x text GENERATED ALWAYS AS (ssn) STORED',
    ],
    ...[
      'CREATE TEMP TABLE t (x text DEFAULT outside())',
      'CREATE SEQUENCE s',
      'ALTER SEQUENCE counter RESTART',
      'CREATE FOREIGN TABLE f (x int) SERVER s',
    ],
    ...[
      'CHECKPOINT',
      'ALTER DATABASE ledger SET role = postgres',
      `CREATE TABLESPACE t LOCATION '/tmp'`,
      'CREATE ACCESS METHOD m TYPE table HANDLER h',
    ],
    ...[
      'CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION f(internal))',
      'ALTER SYSTEM RESET ALL',
      'GRANT pg_read_all_data TO gateway',
    ],
    ...[
      'SET LOCAL ROLE postgres',
      'SET SESSION ROLE postgres',
      'SET x.y = 1',
      `SET LOCAL standard_conforming_strings = off`,
      'SET log_statement TO DEFAULT',
    ],
  ].map((sql): Row => [sql, sql, 'refused']),
];

const EXPRESSIONS: readonly Row[] = [
  ...[
    ...[
      'ssn IS JSON',
      `JSON_EXISTS(to_jsonb(c), '$.ssn')`,
      `JSON_VALUE(to_jsonb(c), '$.ssn')`,
      `JSON_QUERY(to_jsonb(c), '$' WITH WRAPPER)`,
    ],
    ...[`JSON_VALUE(to_jsonb(c), '$.ssn' RETURNING int ERROR ON ERROR)`, `JSON_VALUE(to_jsonb(c), '$.ssn' DEFAULT ${FAILS} ON EMPTY)`],
    ...[
      `JSON_OBJECT(KEY ssn VALUE 1 WITH UNIQUE KEYS)`,
      'JSON(ssn)',
      'JSON_SCALAR(ssn)',
      `json_populate_record(NULL::customers, to_json(c))`,
    ],
    ...[
      `jsonb_set(to_jsonb(c), ARRAY[ssn], '1')`,
      `to_jsonb(c) - ssn`,
      `to_jsonb(c) #- ARRAY[ssn]`,
      `to_jsonb(c) ? ssn`,
      `to_jsonb(c) @> '{"tier": "plus"}'`,
    ],
    ...[
      'xmlserialize(content xmlelement(name a, ssn) AS text)',
      `xmlparse(content ssn)`,
      'xmlconcat(xmlelement(name a, ssn))',
      `xmlpi(name a, ssn)`,
    ],
    ...['regexp_count(ssn, 5::text)', `regexp_like(ssn, '^5')`, `ssn SIMILAR TO '5%'`, `regexp_substr(ssn, '5')`, `regexp_instr(ssn, '5')`],
    ...[
      `pg_input_is_valid(ssn, 'int')`,
      `to_char(since, ssn)`,
      `format(ssn)`,
      `since AT TIME ZONE ssn`,
      `set_byte(ssn::bytea, 0, 1)`,
      'ssn::regclass',
    ],
    ...[
      `(ROW(ssn)).f1`,
      `(SELECT x FROM (SELECT ssn) s(x))`,
      `ARRAY(SELECT ssn)`,
      `(array_agg(ssn) OVER ())[1]`,
      'lag(ssn) OVER ()',
      'nth_value(ssn, 2) OVER ()',
    ],
    ...[
      'min(ssn) OVER ()',
      `string_agg(ssn, '') OVER ()`,
      `coalesce(upper(ssn), lower(email))`,
      `ssn > '5' AND card > '4'`,
      `ssn IN ('5', '6')`,
    ],
    ...[
      `ssn BETWEEN '5' AND '6'`,
      `(ssn, card) > ('5', '4')`,
      `c > ROW(1)`,
      `c IS NULL`,
      `c = c`,
      `ssn = ANY (ARRAY['5', '6'])`,
      `ARRAY[ssn, card]`,
    ],
    ...[
      `ssn || card`,
      `concat(ssn, card, c)`,
      `CASE WHEN id = 1 THEN ssn ELSE card END`,
      `CASE WHEN 1 / id > 0 THEN ssn END`,
      `NOT (ssn > '5')`,
    ],
    ...[
      'ssn::"char"',
      'ssn::oid',
      'ssn::xid',
      'ssn::pg_lsn',
      'ssn::inet',
      'ssn::uuid',
      'ssn::interval',
      'ssn::point',
      'ssn::tsquery',
      'ssn::bit(3)',
      'ssn::int4range',
    ],
    ...[
      'c::text::customers',
      'ssn::text::int',
      `convert(ssn::bytea, 'UTF8', 'LATIN1')`,
      `unistr(ssn)`,
      `parse_ident(ssn)`,
      `to_number(ssn, '999')`,
    ],
  ].map((expression): Row => [expression, `SELECT ${expression} FROM customers c WHERE id = 1`, 'any']),
  ...[
    ...[
      'SELECT id FROM customers ORDER BY CASE WHEN ssn > 5::text THEN 1 ELSE 2 END',
      'SELECT id, upper(ssn) AS x FROM customers ORDER BY x',
    ],
    ...[
      'SELECT id FROM customers ORDER BY ssn USING >',
      'SELECT id, ntile(4) OVER (ORDER BY ssn) FROM customers',
      'TABLE customers ORDER BY 4',
    ],
    ...['SELECT lag(id) OVER (ORDER BY ssn) FROM customers', 'SELECT id FROM customers ORDER BY left(ssn, 1) FETCH FIRST 1 ROW WITH TIES'],
    ...['SELECT id FROM customers OFFSET (SELECT ascii(ssn) FROM customers WHERE id = 1)', 'SELECT DISTINCT left(ssn, 1) FROM customers'],
    ...[
      'SELECT count(*) FROM (SELECT DISTINCT left(ssn, 1) FROM customers) s',
      'SELECT left(ssn, 1) FROM customers EXCEPT ALL SELECT tier FROM customers',
    ],
    ...[`SELECT a.id FROM accounts a WHERE EXISTS (SELECT FROM customers c WHERE c.ssn > '5' AND c.id = a.customer)`],
    ...[
      `SELECT id FROM scratch WHERE (SELECT ssn FROM customers WHERE id = 1) > '5'`,
      `SELECT id FROM customers WHERE ROW(ssn, id) > ROW('5', 1)`,
    ],
    ...[
      'SELECT id FROM customers c WHERE c > (SELECT d FROM customers d WHERE d.id = 5)',
      'SELECT id FROM customers c WHERE c.* IS NOT NULL',
    ],
    ...[`SELECT id FROM customers c WHERE c::text LIKE '%536%'`, `SELECT id FROM customers c WHERE to_jsonb(c) ->> 'ssn' > '5'`],
    ...['SELECT c.id FROM customers c JOIN customers d USING (ssn)', 'SELECT count(*) FROM customers NATURAL JOIN customers d'],
    ...[
      `SELECT c.id, d.id FROM customers c LEFT JOIN scratch d ON c.ssn > '5'`,
      `SELECT sum(CASE WHEN ssn > '5' THEN 1 ELSE 0 END) FROM customers`,
    ],
    ...[
      'SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM customers',
      `SELECT rank('5') WITHIN GROUP (ORDER BY ssn) FROM customers`,
    ],
    ...['SELECT mode() WITHIN GROUP (ORDER BY ssn) FROM customers', 'SELECT id FROM customers WINDOW w AS (ORDER BY ssn)'],
    ...['VALUES ((SELECT ssn FROM customers WHERE id = 1)), (NULL) ORDER BY 1', `SELECT id FROM contacts WHERE address LIKE 'a%'`],
    ...[`SELECT count(*) FROM customers WHERE (tier, ssn) IN (('plus', '5'))`, `SELECT id FROM customers WHERE NOT ssn > '5'`],
    ...[
      `SELECT count(*) FROM (SELECT ssn AS x FROM customers) s WHERE x > '5'`,
      `WITH x AS (SELECT ssn AS y FROM customers) SELECT count(*) FROM x WHERE y > '5'`,
    ],
    ...[`SELECT count(*) FROM customers c, LATERAL (SELECT WHERE c.ssn > '5') x`, `SELECT array_agg(id ORDER BY ssn) FROM customers`],
  ].map((sql): Row => [sql, sql, 'held']),
  ['a function of one row in FROM', 'SELECT u FROM customers c, upper(c.ssn) u', 'rows'],
  ['functions side by side in FROM', 'SELECT * FROM customers c, ROWS FROM (upper(c.ssn), lower(c.email)) WITH ORDINALITY', 'rows'],
  ['a record of JSON in FROM', 'SELECT x.ssn FROM customers c, json_to_record(row_to_json(c)) AS x(ssn text)', 'any'],
  [
    'OLD and NEW',
    `UPDATE customers SET name = name WHERE id = 1 RETURNING old.ssn, new.ssn, upper(old.ssn), old, new`,
    'rows',
    { groups: ['writers'] },
  ],
  [
    'OLD and NEW by other names',
    `UPDATE customers SET name = name WHERE id = 1 RETURNING WITH (OLD AS a, NEW AS b) a.card, b.ssn, b.*`,
    'rows',
    { groups: ['writers'] },
  ],
  ['OLD of what is deleted', 'DELETE FROM customers WHERE id = -1 RETURNING old.*, upper(old.ssn)', 'rows', { groups: ['writers'] }],
  [
    'RETURNING of MERGE',
    `MERGE INTO customers c USING scratch s ON c.id = s.id WHEN MATCHED THEN UPDATE SET name = c.name RETURNING merge_action(), old.ssn, new.*, upper(c.ssn)`,
    'any',
    { groups: ['writers'] },
  ],
  ['a change by a sensitive condition', `UPDATE customers SET name = name WHERE ssn > '5'`, 'held', { groups: ['writers'] }],
  ['a deletion by another table', `DELETE FROM scratch USING customers c WHERE c.ssn > '5'`, 'held'],
  [
    'MERGE by a sensitive condition',
    `MERGE INTO scratch s USING customers c ON c.id = s.id WHEN MATCHED AND c.ssn > '5' THEN DELETE`,
    'held',
  ],
  ['COPY as pg_dump does it', 'COPY public.customers (id, name, email, ssn, card, iban, tier, since) TO stdout;', 'rows'],
  ['the lock of pg_dump', 'LOCK TABLE public.customers IN ACCESS SHARE MODE', 'denied'],
  ['COPY of a TABLE', 'COPY (TABLE customers) TO STDOUT', 'rows'],
  ['COPY of a view', 'COPY (SELECT * FROM contacts) TO STDOUT (FORMAT csv)', 'rows'],
  ['COPY of WITH', 'COPY (WITH x AS (SELECT ssn FROM customers) TABLE x) TO STDOUT', 'rows'],
  ['COPY of UNION', 'COPY (SELECT ssn FROM customers UNION ALL SELECT name FROM customers) TO STDOUT', 'held'],
  ['COPY of JSON', `COPY customers TO STDOUT (FORMAT 'json')`, 'error'],
  ['a binary cursor', ['BEGIN', 'DECLARE c BINARY CURSOR FOR SELECT upper(ssn), card, c FROM customers c', 'FETCH ALL c'], 'rows'],
  [
    'a cursor backwards',
    ['BEGIN', 'DECLARE c SCROLL CURSOR FOR SELECT ssn, reverse(ssn) FROM customers', 'MOVE LAST c', 'FETCH BACKWARD ALL c'],
    'rows',
  ],
  ['the replication protocol', 'START_REPLICATION SLOT x LOGICAL 0/0', 'error'],
  ['IDENTIFY_SYSTEM', 'IDENTIFY_SYSTEM', 'error'],
];

const PIPELINES: readonly Row[] = [
  [
    'an error in the middle',
    [[parse('', secret), bind('', ''), execute(), parse('', 'SELECT 1 / 0'), bind('', ''), execute(), sync()]],
    'error',
  ],
  ['an error before', [[parse('', 'SELECT 1 / 0'), bind('', ''), execute(), parse('', secret), bind('', ''), execute(), sync()]], 'error'],
  [
    'a denial in the middle',
    [[parse('', secret), bind('', ''), execute(), parse('', risky), bind('', ''), execute(), parse('', secret), sync()]],
    'denied',
  ],
  [
    'a portal that waits while another comes',
    [[parse('a', secret), bind('p', 'a'), execute('p', 1), parse('b', sure), bind('q', 'b'), execute('q'), execute('p'), sync()]],
    'rows',
  ],
  [
    'a portal that is described after its rows',
    [[parse('', secret), bind('p', ''), execute('p', 1), describeOf('P', 'p'), execute('p'), sync()]],
    'rows',
  ],
  ['an expression that may fail, described only', [[parse('', one(`coalesce(${CHOSEN}, ${FAILS})`)), describeOf('S', ''), sync()]], 'rows'],
  [
    'an expression that may fail, by a parameter',
    [[parse('', one(`substr(${CHOSEN}, 1, $1)`)), bind('', '', ['-1']), execute(), sync()]],
    'held',
  ],
  ['a place by a parameter', [[parse('', one(`split_part(${CHOSEN}, 'x', $1)`)), bind('', '', ['0']), execute(), sync()]], 'held'],
  [
    'RETURNING in binary',
    [[parse('', 'UPDATE customers SET name = name WHERE id = 1 RETURNING old, new.ssn'), bind('', '', [], 1), execute(), sync()]],
    'rows',
    { groups: ['writers'] },
  ],
  ['an empty statement', [[parse('', ''), bind('', ''), execute(), sync()]], 'rows'],
  ['an empty text', '', 'rows'],
  ['a comment', '-- ping', 'rows'],
  ['a whole row by a cursor', ['BEGIN', 'DECLARE x CURSOR FOR SELECT c FROM customers c', 'FETCH ALL x'], 'rows'],
  [
    'a whole row by a portal and FETCH',
    [[query('BEGIN')], [parse('', 'SELECT c FROM customers c'), bind('c', ''), sync()], [query('FETCH ALL c')]],
    'rows',
  ],
  ['rows to copy behind a denied COPY', [[query('COPY customers FROM STDIN'), message('d', [query(risky)]), message('c')]], 'denied'],
  [
    'rows to copy behind a held COPY',
    [[query(`COPY scratch FROM STDIN WHERE pg_sleep(0) IS NULL`), message('d', [query(risky)]), message('c')]],
    'held',
  ],
];

const SHOWN = 'SELECT 1 AS x';
/** What only the server finds wrong. */
const WRONG = `SELECT 'x' FROM scratch WHERE note = 1`;
const byName = (...sends: (string | readonly Buffer[])[]): Row[1] => sends as unknown as readonly string[];
const PREPARED: readonly Row[] = [
  ['EXECUTE', ['PREPARE p AS SELECT id, ssn, upper(ssn), card, c FROM customers c', 'EXECUTE p'], 'rows'],
  ['EXECUTE in the string of its PREPARE', `PREPARE p AS ${secret}; EXECUTE p`, 'rows'],
  ['EXECUTE of two names in one string', `PREPARE p AS ${secret}; PREPARE q AS ${SHOWN}; EXECUTE q; EXECUTE p`, 'error'],
  ['EXECUTE of what writes', ['PREPARE p AS INSERT INTO scratch VALUES ($1, $2) RETURNING note', "EXECUTE p(1, 'x')"], 'held'],
  [
    'EXECUTE of what writes, with types',
    ['PREPARE p(int, text) AS INSERT INTO scratch VALUES ($1, $2) RETURNING note', "EXECUTE p(1, 'x')"],
    'rows',
  ],
  [
    'EXECUTE of what fails and quotes a value',
    ['PREPARE p(int) AS SELECT $1 / 0 FROM customers WHERE ssn IS NOT NULL OR true', 'EXECUTE p(1)'],
    'held',
  ],
  ['EXECUTE with a condition', ['PREPARE p(text) AS SELECT id FROM customers WHERE ssn LIKE $1', "EXECUTE p('5%')"], 'held'],
  ['EXECUTE of an unknown name', 'EXECUTE p', 'held'],
  ['EXECUTE of a name of another case', [`PREPARE "P" AS ${SHOWN}`, 'EXECUTE p'], 'held'],
  ['EXECUTE of what was denied', [`PREPARE p AS ${SHOWN}`, 'DEALLOCATE p', 'PREPARE p AS DELETE FROM customers', 'EXECUTE p'], 'held'],
  ['a name of which the second PREPARE fails', [`PREPARE p AS ${secret}`, `PREPARE p AS ${SHOWN}`, 'EXECUTE p'], 'error'],
  ['the same where the server finds it wrong', [`PREPARE p AS ${secret}`, `PREPARE p AS ${WRONG}`, 'EXECUTE p'], 'error'],
  ['a name whose second PREPARE fails in a string', [`PREPARE p AS ${secret}`, `SELECT 1; PREPARE p AS ${SHOWN}`, 'EXECUTE p'], 'error'],
  [
    'a string that ends before its PREPARE',
    [`PREPARE p AS ${secret}`, `SELECT 1 / 0; DEALLOCATE p; PREPARE p AS ${SHOWN}`, 'EXECUTE p'],
    'error',
  ],
  [
    'a string that ends after its DEALLOCATE',
    [`PREPARE p AS ${SHOWN}`, `DEALLOCATE p; PREPARE p AS ${secret}; SELECT 1 / 0`, 'EXECUTE p'],
    'error',
  ],
  [
    'DEALLOCATE in an aborted transaction',
    [`PREPARE p AS ${secret}`, 'BEGIN', 'SELECT 1 / 0', 'DEALLOCATE p', 'ROLLBACK', `PREPARE p AS ${SHOWN}`, 'EXECUTE p'],
    'error',
  ],
  [
    'DISCARD ALL in a transaction',
    [`PREPARE p AS ${secret}`, 'BEGIN', 'DISCARD ALL', 'ROLLBACK', `PREPARE p AS ${SHOWN}`, 'EXECUTE p'],
    'error',
  ],
  [
    'PREPARE in a transaction that is rolled back',
    ['BEGIN', `PREPARE p AS ${secret}`, 'ROLLBACK', `PREPARE p AS ${SHOWN}`, 'EXECUTE p'],
    'error',
  ],
  ['a name that was freed', [`PREPARE p AS ${secret}`, 'DEALLOCATE p', `PREPARE p AS ${SHOWN}`, 'EXECUTE p'], 'rows'],
  [
    'a name that goes to something secret',
    [`PREPARE p AS ${SHOWN}`, 'EXECUTE p', 'DEALLOCATE ALL', `PREPARE p AS ${secret}`, 'EXECUTE p'],
    'rows',
  ],
  ['a name longer than the server keeps', [`PREPARE ${'a'.repeat(63)} AS ${secret}`, `EXECUTE ${'a'.repeat(70)}`], 'rows'],
  [
    'two long names that are one',
    [`PREPARE ${'a'.repeat(70)} AS ${secret}`, `PREPARE ${'a'.repeat(66)} AS ${SHOWN}`, `EXECUTE ${'a'.repeat(66)}`],
    'error',
  ],
  [
    'long names beyond ASCII that are one',
    [`PREPARE "${'a'.repeat(62)}é1" AS ${secret}`, `PREPARE "${'a'.repeat(62)}é2" AS ${SHOWN}`, `EXECUTE "${'a'.repeat(62)}é2"`],
    'any',
  ],
  ['an escaped name', [`PREPARE U&"\\0070" AS ${secret}`, 'EXECUTE p'], 'rows'],
  [
    'a view that PREPARE reads, by another search path',
    ['SET search_path = public', 'PREPARE p AS SELECT ssn || note FROM names, scratch', 'SET search_path = shadow, public', 'EXECUTE p'],
    'any',
  ],
  ['a cast of a value', ['PREPARE p(sneaky) AS SELECT $1', 'EXECUTE p(1)'], 'held'],
  ['a cast of a value to a type that is not declared', ['PREPARE p AS SELECT $1 UNION ALL SELECT NULL::sneaky', 'EXECUTE p(1)'], 'held'],
  ['a function among the values', [`PREPARE p(text) AS SELECT $1`, 'EXECUTE p(outside())'], 'held'],
  ['a subquery among the values', [`PREPARE p(text) AS SELECT $1`, 'EXECUTE p((SELECT max(ssn) FROM customers))'], 'held'],
  ['a file among the values', [`PREPARE p(text) AS SELECT $1`, "EXECUTE p(pg_read_file('PG_VERSION'))"], 'denied'],
  ['EXPLAIN EXECUTE', ['PREPARE p AS SELECT ssn FROM customers', 'EXPLAIN (COSTS off) EXECUTE p'], 'rows'],
  ['EXPLAIN EXECUTE that sets a sequence', ['PREPARE p(int8) AS SELECT $1', "EXPLAIN EXECUTE p(setval('counter', 1000))"], 'denied'],
  [
    'EXPLAIN of a table of EXECUTE that sets a sequence',
    ['PREPARE p(int8) AS SELECT $1', "EXPLAIN CREATE TABLE x AS EXECUTE p(setval('counter', 1000))"],
    'denied',
  ],
  ['EXPLAIN EXECUTE with a condition', ['PREPARE p(text) AS SELECT id FROM customers WHERE ssn > $1', "EXPLAIN EXECUTE p('5')"], 'held'],
  ['EXPLAIN ANALYZE EXECUTE', ['PREPARE p AS SELECT ssn FROM customers', 'EXPLAIN ANALYZE EXECUTE p'], 'held'],
  ['EXPLAIN ANALYZE EXECUTE of a change', ['PREPARE p AS DELETE FROM customers', 'EXPLAIN ANALYZE EXECUTE p'], 'held'],
  ['CREATE TABLE AS EXECUTE', ['PREPARE p AS SELECT ssn FROM customers', 'CREATE TABLE stolen AS EXECUTE p'], 'held'],
  ['CREATE TEMP TABLE AS EXECUTE', ['PREPARE p AS SELECT upper(ssn) AS x FROM customers', 'CREATE TEMP TABLE stolen AS EXECUTE p'], 'held'],
  [
    'generic plans',
    [
      'SET plan_cache_mode = force_generic_plan',
      'PREPARE p(int) AS SELECT ssn FROM customers WHERE id = $1',
      'EXPLAIN EXECUTE p(1)',
      'EXECUTE p(1)',
    ],
    'rows',
  ],
  ['what is prepared', ["PREPARE p AS SELECT 'x'", 'SELECT name, statement FROM pg_prepared_statements'], 'denied'],
  ['DO that prepares', [`DO $$BEGIN EXECUTE 'PREPARE p AS ${secret}'; END$$`, 'EXECUTE p'], 'held'],
  ['a statement of the protocol', byName([parse('s', secret), sync()], 'EXECUTE s'), 'rows'],
  [
    'a statement of the protocol that PREPARE seems to replace',
    byName([parse('s', secret), sync()], `PREPARE s AS ${SHOWN}`, 'EXECUTE s'),
    'error',
  ],
  [
    'the same without its error',
    byName(
      [parse('s', secret), sync()],
      [parse('', `PREPARE s AS ${SHOWN}`), bind('', ''), execute(), sync()],
      [parse('', 'EXECUTE s'), bind('', ''), execute(), sync()],
    ),
    'error',
  ],
  ['a statement of the protocol whose text was judged', byName(SHOWN, [parse('s', SHOWN), sync()], 'EXECUTE s'), 'rows'],
  ['a statement of the protocol that failed', byName([parse('s', WRONG), sync()], `PREPARE s AS ${secret}`, 'EXECUTE s'), 'any'],
  [
    'a statement of the protocol that is closed',
    byName([parse('s', SHOWN), sync()], [closeOf('S', 's'), sync()], `PREPARE s AS ${secret}`, 'EXECUTE s'),
    'rows',
  ],
  ['PREPARE, prepared by the protocol', byName([parse('s', `PREPARE p AS ${secret}`), sync()], 'EXECUTE s', 'EXECUTE p'), 'held'],
  ['EXECUTE, prepared by the protocol', byName(`PREPARE p AS ${secret}`, [parse('s', 'EXECUTE p'), sync()], 'EXECUTE s'), 'held'],
  [
    'PREPARE, DEALLOCATE and EXECUTE in one pipeline',
    byName([
      parse('', `PREPARE p AS ${secret}`),
      bind('', ''),
      execute(),
      parse('', 'DEALLOCATE p'),
      bind('', ''),
      execute(),
      parse('', `PREPARE p AS ${SHOWN}`),
      bind('', ''),
      execute(),
      parse('', 'EXECUTE p'),
      bind('', ''),
      execute(),
      sync(),
    ]),
    'rows',
  ],
  ['EXECUTE in binary', byName(`PREPARE p AS ${secret}`, [parse('', 'EXECUTE p'), bind('', '', [], 1), execute(), sync()]), 'rows'],
  [
    'EXECUTE, prepared before what it runs is changed',
    byName(
      `PREPARE p AS SELECT 'x'::text AS upper`,
      [parse('e', 'EXECUTE p'), sync()],
      [bind('', 'e'), execute(), sync()],
      'DEALLOCATE p',
      `PREPARE p AS ${secret}`,
      [bind('', 'e'), execute(), sync()],
    ),
    'error',
  ],
  [
    'EXECUTE, bound before what it runs is changed',
    byName(`PREPARE p AS ${SHOWN}`, 'BEGIN', [parse('', 'EXECUTE p'), bind('x', ''), sync()], 'DEALLOCATE p', `PREPARE p AS ${secret}`, [
      execute('x'),
      sync(),
    ]),
    'error',
  ],
  [
    'the same in one pipeline',
    byName(`PREPARE p AS ${SHOWN}`, 'BEGIN', [
      parse('e', 'EXECUTE p'),
      parse('d', 'DEALLOCATE p'),
      parse('q', `PREPARE p AS ${secret}`),
      bind('x', 'e'),
      bind('', 'd'),
      execute(),
      bind('', 'q'),
      execute(),
      execute('x'),
      sync(),
    ]),
    'error',
  ],
  [
    'EXECUTE, bound before the protocol prepares',
    byName('BEGIN', `PREPARE p AS ${WRONG}`, 'ROLLBACK', 'BEGIN', [
      parse('', 'EXECUTE p'),
      bind('x', ''),
      parse('p', secret),
      execute('x'),
      sync(),
    ]),
    'error',
  ],
  [
    'EXPLAIN EXECUTE, bound before what it runs is changed',
    byName(
      `PREPARE p AS ${SHOWN}`,
      'BEGIN',
      [parse('', 'EXPLAIN EXECUTE p'), bind('x', ''), sync()],
      'DEALLOCATE p',
      "PREPARE p AS SELECT id FROM customers WHERE ssn > '5'",
      [execute('x'), sync()],
    ),
    'any',
  ],
  [
    'PREPARE, bound, deallocated and executed',
    byName(
      'BEGIN',
      [parse('q', `PREPARE p AS ${secret}`), bind('x', 'q'), sync()],
      'DEALLOCATE ALL',
      `PREPARE p AS ${SHOWN}`,
      'DEALLOCATE p',
      [parse('q', `PREPARE p AS ${secret}`), bind('x', 'q'), execute('x'), sync()],
      'EXECUTE p',
    ),
    'any',
  ],
  ['a name of SQL, bound', byName(`PREPARE p AS ${secret}`, [bind('', 'p'), execute(), sync()]), 'error'],
  ['a cursor over EXECUTE', [`PREPARE p AS ${secret}`, 'BEGIN; DECLARE c CURSOR FOR EXECUTE p'], 'error'],
  ['COPY of EXECUTE', [`PREPARE p AS ${secret}`, 'COPY (EXECUTE p) TO STDOUT'], 'error'],
];

const reader: Attempt = { groups: ['catalog-readers'] };
const writer: Attempt = { groups: ['writers'] };
/** What PostgreSQL 18 brought, and other ways to have something said or done by the server. */
const FRESH: readonly Row[] = [
  // A field of a value is a function of it.
  ['a query in the shape of a field', `SELECT ('select to_tsvector(ssn) from customers'::text).ts_stat`, 'held'],
  ['a field of what that gives', `SELECT (('select to_tsvector(ssn) from customers'::text).ts_stat).word`, 'held'],
  ['a file in the shape of a field', `SELECT ('PG_VERSION'::text).pg_read_file`, 'denied'],
  ['a directory in the shape of a field', `SELECT ('.'::text).pg_ls_dir`, 'denied'],
  ['a large object in the shape of a field', 'SELECT (1::oid).lo_get', 'held'],
  ['a pause in the shape of a field', 'SELECT (0.01::float8).pg_sleep', 'held'],
  ['a function of a row in the shape of a column', 'SELECT s.rowed FROM scratch s', 'held'],
  ['the same of a value', 'SELECT (s).rowed FROM scratch s', 'held'],
  ['the same of a subquery', 'SELECT ((SELECT s FROM scratch s LIMIT 1)).rowed', 'held'],
  ['the same in a condition', 'SELECT id FROM scratch s WHERE (s).rowed > $$5$$', 'held'],
  ['the same in RETURNING', `INSERT INTO scratch VALUES (-1, 'x') RETURNING (scratch).rowed`, 'held'],
  ['the same of a row that a function gives', `SELECT (jsonb_populate_record(NULL::scratch, '{}')).rowed`, 'held'],
  ['a column of further out', 'SELECT (SELECT name FROM names LIMIT 1) FROM customers c(id, a, b, name)', 'any'],
  // Computed columns, OLD and NEW.
  ['a virtual column', 'SELECT tail, upper(tail) FROM vault', 'rows'],
  ['a virtual column in a condition', `SELECT id FROM vault WHERE tail > '5'`, 'held'],
  ['a virtual column by its row', 'SELECT v, (v).tail FROM vault v', 'rows'],
  ['a virtual column, copied', 'COPY vault (id, tail) TO STDOUT', 'error'],
  ['an index over a virtual column', 'CREATE INDEX ON vault (id) WHERE tail > $$5$$', 'held'],
  [
    'OLD in an expression',
    'UPDATE customers SET name = name WHERE id = 1 RETURNING old.ssn || new.ssn, (old).ssn, (new).*',
    'rows',
    writer,
  ],
  ['OLD that tells by NULL', `UPDATE customers SET name = name WHERE id = 1 RETURNING nullif(left(old.ssn, 1), '5')`, 'rows', writer],
  ['OLD that fails', 'UPDATE customers SET name = name WHERE id = 1 RETURNING 1 / (ascii(old.ssn) - 53)', 'held', writer],
  ['ON CONFLICT with OLD', `INSERT INTO scratch VALUES (1, 'x') RETURNING old, new.note, (SELECT max(ssn) FROM customers)`, 'rows'],
  [
    'MERGE with WHEN NOT MATCHED BY SOURCE',
    `MERGE INTO scratch s USING customers c ON s.id = c.id WHEN NOT MATCHED BY SOURCE AND s.note > (SELECT ssn FROM customers WHERE id = 1) THEN DELETE`,
    'held',
  ],
  [
    'MERGE that returns its source',
    'MERGE INTO scratch s USING customers c ON s.id = c.id AND false WHEN MATCHED THEN DELETE RETURNING c.ssn, c, upper(c.card)',
    'any',
  ],
  [
    'MERGE in WITH',
    'WITH m AS (MERGE INTO customers c USING scratch s ON c.id = s.id WHEN MATCHED THEN UPDATE SET name = c.ssn RETURNING c.name) TABLE m',
    'denied',
  ],
  // JSON and XML.
  [
    'JSON_TABLE of rows',
    `SELECT j.* FROM customers c, JSON_TABLE(to_jsonb(c), '$' COLUMNS (a text PATH '$.ssn', b text PATH '$.name')) j`,
    'held',
  ],
  [
    'JSON_TABLE with PASSING',
    `SELECT j.x FROM customers c, JSON_TABLE('[1]'::jsonb, '$[*] ? ($s starts with "5")' PASSING c.ssn AS s COLUMNS (x int PATH '$')) j`,
    'held',
  ],
  [
    'JSON_TABLE with a default',
    `SELECT j.x FROM customers c, JSON_TABLE('{}'::jsonb, '$' COLUMNS (x text PATH '$.none' DEFAULT c.ssn ON EMPTY)) j`,
    'any',
  ],
  [
    'JSON_EXISTS with PASSING',
    `SELECT JSON_EXISTS('[1]'::jsonb, '$[*] ? ($s starts with "5")' PASSING ssn AS s) FROM customers WHERE id = 1`,
    'any',
  ],
  ['JSON_QUERY with quotes', `SELECT JSON_QUERY(to_jsonb(c), '$.ssn' OMIT QUOTES) FROM customers c WHERE id = 1`, 'any'],
  ['XMLTABLE of rows', `SELECT x.* FROM customers c, XMLTABLE('/r' PASSING xmlelement(name r, c.ssn) COLUMNS a text PATH '.') x`, 'any'],
  [
    'XMLTABLE with a computed path',
    `SELECT x.a FROM customers c, XMLTABLE('/r' PASSING '<r><a>1</a></r>'::xml COLUMNS a text PATH c.ssn) x`,
    'any',
  ],
  [
    'ROWS FROM side by side',
    'SELECT r.* FROM customers c, ROWS FROM (string_to_table(c.ssn, NULL), generate_series(1, 2)) r(a, b)',
    'held',
  ],
  ['ts_headline', `SELECT ts_headline('simple', ssn, to_tsquery('simple', '5:*')) FROM customers WHERE id = 1`, 'any'],
  ['query_to_xml in an aggregate', `SELECT xmlagg(query_to_xml('select ssn from customers', true, false, ''))`, 'held'],
  // Casts and operators.
  ['a range', `SELECT numrange(left(card, 8)::numeric, NULL) FROM customers WHERE id = 1`, 'held'],
  ['a range of texts', `SELECT card <@ textrange('4', '5') FROM customers WHERE id = 1`, 'any'],
  ['a multirange', `SELECT ('{[' || left(card, 4) || ',9999]}')::int4multirange FROM customers WHERE id = 1`, 'held'],
  ['an enum', `SELECT left(ssn, 1)::digit FROM customers WHERE id = 1`, 'held'],
  ['a domain', `SELECT ssn::short FROM customers WHERE id = 1`, 'held'],
  ['an operator by its schema', `SELECT 'a' OPERATOR(public.>=) 1`, 'held'],
  ['an operator of PostgreSQL by its schema', `SELECT id FROM customers WHERE ssn OPERATOR(pg_catalog.>) '5'`, 'held'],
  ['an operator in ORDER BY', 'SELECT id FROM customers ORDER BY ssn USING OPERATOR(pg_catalog.<)', 'held'],
  ['a hint of what does not fit', `SELECT pg_input_error_info(ssn, 'int4') FROM customers WHERE id = 1`, 'held'],
  ['a field of that', `SELECT (pg_input_error_info(ssn, 'int4')).message FROM customers WHERE id = 1`, 'held'],
  ['whether it fits', `SELECT count(*) FROM customers WHERE pg_input_is_valid(left(ssn, 1), 'bool')`, 'held'],
  // Errors and time.
  ['a division in a filter', 'SELECT count(*) FILTER (WHERE 1 / (ascii(ssn) - 53) > 0) FROM customers WHERE id = 1', 'held'],
  ['a pause by a condition', `SELECT CASE WHEN ssn > '5' THEN pg_sleep(0) END FROM customers WHERE id = 1`, 'held'],
  [
    'much work by a condition',
    `SELECT CASE WHEN ssn > '5' THEN (SELECT count(*) FROM generate_series(1, 1000)) END FROM customers WHERE id = 1`,
    'held',
  ],
  ['an array too long', `SELECT array_fill(1, ARRAY[ascii(ssn) * 10000000]) FROM customers WHERE id = 1`, 'held'],
  ['a collation that may not be', `SELECT ssn COLLATE "nowhere" FROM customers`, 'error'],
  // What the server keeps and says of itself.
  ['pg_stat_statements', 'SELECT query FROM pg_stat_statements', 'held', reader],
  ['pg_prepared_statements', [`PREPARE p AS SELECT '536-22-8134'`, 'SELECT statement FROM pg_prepared_statements'], 'rows', reader],
  ['its length', [`PREPARE p AS SELECT 1`, 'SELECT length(statement) FROM pg_prepared_statements'], 'rows', reader],
  ['pg_cursors', ['BEGIN; DECLARE c CURSOR FOR SELECT 1', 'SELECT statement FROM pg_cursors'], 'rows', reader],
  [
    'pg_stats by a join',
    `SELECT a.attname, s.most_common_vals FROM pg_attribute a JOIN pg_stats s ON s.attname = a.attname WHERE s.tablename = 'customers' ORDER BY 1`,
    'rows',
    reader,
  ],
  ['pg_stats in an order', `SELECT attname FROM pg_stats WHERE tablename = 'customers' ORDER BY histogram_bounds::text`, 'held', reader],
  [
    'how many values are alike',
    `SELECT n_distinct, correlation FROM pg_stats WHERE tablename = 'customers' ORDER BY attname`,
    'rows',
    reader,
  ],
  ['a generic plan', `EXPLAIN (GENERIC_PLAN) SELECT id FROM customers WHERE ssn > $1`, 'held'],
  ['how many rows the planner expects', `EXPLAIN SELECT id FROM customers WHERE ssn BETWEEN '5' AND '6'`, 'held'],
  ['the memory of a plan', `EXPLAIN (MEMORY, SUMMARY off, COSTS off) SELECT ssn FROM customers`, 'any'],
  ['pages of a table', 'SELECT get_raw_page($$customers$$, 0)', 'held'],
  ['tuples of a page', 'SELECT t_data FROM heap_page_items(get_raw_page($$customers$$, 0))', 'held'],
  ['WAL', `SELECT pg_walinspect.pg_get_wal_records_info('0/0', '0/1')`, 'held'],
  // Settings.
  ['SET client_min_messages', ['SET client_min_messages = debug5', 'SELECT ssn FROM customers WHERE id = 1'], 'any'],
  ['SET debug_print_plan', 'SET debug_print_plan = on', 'denied'],
  ['SET LOCAL debug_print_parse', 'BEGIN; SET LOCAL debug_print_parse = on', 'denied'],
  ['SET log_min_duration_statement', 'SET log_min_duration_statement = 0', 'denied'],
  ['SET log_parameter_max_length', 'SET log_parameter_max_length_on_error = -1', 'denied'],
  ['a setting from a value', `SET application_name = '536-22-8134'; SHOW application_name`, 'any'],
  ['set_config by a value', `SELECT set_config('search_path', ssn, false) FROM customers WHERE id = 1`, 'held'],
  ['SET default_transaction_read_only', ['SET default_transaction_read_only = off', 'DELETE FROM customers'], 'denied'],
  ['SET search_path to another schema and a function', ['SET search_path = shadow', 'SELECT upper(ssn) FROM names'], 'denied'],
  // Values by other ways.
  ['NOTIFY of a computed text', `SELECT pg_notify('x', upper(ssn)) FROM customers WHERE id = 1`, 'held'],
  ['a large object of a value', 'SELECT lo_from_bytea(0, ssn::bytea) FROM customers WHERE id = 1', 'held'],
  ['lo_put', `SELECT lo_put(1, 0, ssn::bytea) FROM customers WHERE id = 1`, 'held'],
  ['a sequence moved by a value', `SELECT setval('counter', ascii(ssn)) FROM customers WHERE id = 1`, 'held', writer],
  ['a sequence as a table', 'SELECT last_value FROM counter', 'rows'],
  ['ALTER SEQUENCE', 'ALTER SEQUENCE counter RESTART WITH 5', 'held'],
  ['dblink_exec', `SELECT dblink_exec('dbname=ledger', 'delete from customers')`, 'held'],
  ['an advisory lock by a value', 'SELECT pg_try_advisory_lock(ascii(ssn)) FROM customers WHERE id = 1', 'held'],
  [
    'COPY FROM that goes on after errors',
    byName(
      [query('COPY scratch FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose)')],
      [message('d', [Buffer.from('x\ty\n')]), message('c')],
    ),
    'any',
  ],
  ['COPY FROM with a condition', `COPY scratch FROM STDIN WHERE note > (SELECT max(ssn) FROM customers)`, 'any'],
  ['COPY in binary of what is clear', 'COPY scratch TO STDOUT (FORMAT binary)', 'rows'],
  ['COPY in binary of a query', 'COPY (SELECT id, ssn FROM customers) TO STDOUT WITH BINARY', 'error'],
  ['COPY with FORCE_NULL', 'COPY customers TO STDOUT (FORMAT csv, FORCE_NULL (ssn))', 'error'],
  ['COPY of a partitioned or materialized thing', 'COPY (SELECT v FROM vault v) TO STDOUT', 'held'],
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

/** What an approver lets run fails, and PostgreSQL quotes the value at which it did. */
describe('an approved change that fails over sensitive values', () => {
  test.each([
    ['ALTER TABLE customers ALTER ssn TYPE int USING ssn::int', '22P02'],
    ['ALTER TABLE customers ALTER card TYPE date USING card::date', '22008'],
    ['ALTER TABLE customers ADD x int GENERATED ALWAYS AS (ssn::int) STORED', '22P02'],
    ['CREATE INDEX ON customers ((ssn::int))', '22P02'],
  ])('%s', { timeout: 30_000, retry: 1 }, async (sql, code) => {
    const told = await superuser.query(sql).catch((error: unknown) => String(error));
    expect(leaks(Buffer.from(String(told)))).not.toEqual([]);
    const wire = await new Wire(ledger.port).logIn(await ledger.sluice.token());
    wire.forget();
    wire.send(query(sql));
    await wire.until(() => isHeld(wire));
    await ledger.sluice.answer((await ledger.sluice.approvals())[0]?.id ?? '', 'approve');
    await wire.until(() => wire.of('Z').length > 0);
    wire.end();
    expect(field(wire.of('E')[0]?.body ?? Buffer.alloc(0), 'C')).toBe(code);
    expect(leaks(wire.bytes)).toEqual([]);
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
  if (expected === 'refused') expect(['held', 'denied']).toContain(outcome);
  else if (expected === 'any') expect(['rows', 'held', 'error', 'denied']).toContain(outcome);
  else expect(outcome).toBe(expected);
};

describe.each([
  ['names', NAMES],
  ['functions', FUNCTIONS],
  ['changes', CHANGES],
  ['cursors, copies and plans', CURSORS],
  ['messages', MESSAGES],
  ['shapes', SHAPES],
  ['oracles', ORACLES],
  ['expressions and queries', EXPRESSIONS],
  ['pipelines', PIPELINES],
  ['prepared statements', PREPARED],
  ['fresh eyes', FRESH],
  ['the server', SERVER],
])('%s', (_, rows) => {
  test.each(rows)('%s', { timeout: 20_000, retry: 1 }, (...row) => run(row as unknown as Row));
});
