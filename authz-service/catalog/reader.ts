/** Reads the catalog of a PostgreSQL. */
import type { ClientBase } from 'pg';
import { Catalog, type Column, type Relation } from '../analysis/catalog.ts';
import { PURE } from '../analysis/functions.ts';

/** Only PostgreSQL's own names are left unqualified in the definitions of views that it prints. */
const PIN = `SET search_path = pg_catalog; SET statement_timeout = '20s'; SET lock_timeout = '2s'; SET default_transaction_read_only = on`;

/**
 * Printing a definition waits for whoever has locked what stands in it, and that may be the client whose next statement waits for this reading. So it is left out:
 * an empty one is one that is not known. The lock may come between the look and the printing, which the time-out is for.
 */
const LOCKED = `
  locked AS MATERIALIZED (
    SELECT relation FROM pg_locks WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`;

const RELATIONS = `
  WITH ${LOCKED},
  hidden AS MATERIALIZED (
    SELECT r.ev_class AS oid FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
      JOIN locked ON locked.relation = d.refobjid WHERE d.refclassid = 'pg_class'::regclass
    UNION SELECT relation FROM locked)
  SELECT c.oid::int8::text AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
         CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
              THEN CASE WHEN c.oid IN (SELECT oid FROM hidden) THEN '' ELSE pg_get_viewdef(c.oid) END END AS definition,
         EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS rewrites,
         coalesce((SELECT array_agg(i.inhparent::int8::text) FROM pg_inherits i WHERE i.inhrelid = c.oid), '{}') AS parents
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_toast'`;

const COLUMNS = `
  WITH ${LOCKED}
  SELECT a.attrelid::int8::text AS oid, a.attname AS name, a.attnum AS attribute, a.atttypid::int8::text AS type,
         CASE WHEN a.attgenerated <> ''
              THEN CASE WHEN d.adrelid IN (SELECT relation FROM locked) THEN '' ELSE pg_get_expr(d.adbin, d.adrelid) END END AS generated
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attnum > 0 AND NOT a.attisdropped
     AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_toast'
   ORDER BY a.attrelid, a.attnum`;

/** Of an extension: who installs one says what its functions are, and one that bears a name of PostgreSQL's own does the same for a type of its own. */
const extension = (oid: string, of: string): string =>
  `EXISTS (SELECT FROM pg_depend d WHERE d.classid = '${of}'::regclass AND d.objid = ${oid} AND d.deptype = 'e')`;

const FUNCTIONS = `SELECT DISTINCT proname AS name FROM pg_proc p WHERE pronamespace <> 'pg_catalog'::regnamespace
  AND pronamespace <> (SELECT oid FROM pg_namespace WHERE nspname = 'information_schema') AND NOT ${extension('p.oid', 'pg_proc')}`;
const CALLED_AS_FIELDS = `SELECT DISTINCT proname AS name FROM pg_proc
  WHERE prokind <> 'p' AND pronargs > 0 AND pronargs - pronargdefaults < 2`;
const OPERATORS = `SELECT DISTINCT oprname AS name FROM pg_operator o WHERE oprnamespace <> 'pg_catalog'::regnamespace
  AND NOT ${extension('o.oid', 'pg_operator')}`;
/** What an own function or operator makes of values, and what holds such values: domains, arrays, ranges and rows of it. */
const CASTS = `
  WITH RECURSIVE calling(type) AS (
    SELECT c.casttarget FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc
     WHERE p.pronamespace <> 'pg_catalog'::regnamespace AND NOT ${extension('c.oid', 'pg_cast')}
    UNION
    SELECT c.contypid FROM pg_constraint c JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
      LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
      LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
     WHERE c.contypid <> 0 AND coalesce(p.pronamespace, o.oprnamespace, 'pg_catalog'::regnamespace) <> 'pg_catalog'::regnamespace
    UNION
    SELECT h.holder FROM calling JOIN (
      SELECT typbasetype AS held, oid AS holder FROM pg_type WHERE typbasetype <> 0
      UNION ALL SELECT oid, typarray FROM pg_type WHERE typarray <> 0
      UNION ALL SELECT rngsubtype, rngtypid FROM pg_range
      UNION ALL SELECT rngsubtype, rngmultitypid FROM pg_range
      UNION ALL SELECT a.atttypid, c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                 WHERE c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped
    ) h ON h.held = calling.type)
  SELECT DISTINCT t.typname AS name FROM calling JOIN pg_type t ON t.oid = calling.type`;
const SHADOWS = `SELECT DISTINCT typname AS name FROM pg_type t WHERE typnamespace <> 'pg_catalog'::regnamespace
  AND EXISTS (SELECT FROM pg_type own WHERE own.typnamespace = 'pg_catalog'::regnamespace AND own.typname = t.typname)`;

const KINDS: Readonly<Record<string, Relation['kind']>> = {
  r: 'table',
  p: 'table',
  v: 'view',
  m: 'materialized-view',
  f: 'foreign-table',
  S: 'sequence',
};

/** @param client connected, and used for nothing else @throws what the driver throws */
export async function readCatalog(client: ClientBase): Promise<Catalog> {
  const path = await client.query<{ path: string[] }>('SELECT current_schemas(false)::text[] AS path');
  await client.query(PIN);
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const columns = await readColumns(client);
  const relations = await client.query<Row>(RELATIONS);
  const functions = await client.query<{ name: string }>(FUNCTIONS);
  const calledAsFields = await client.query<{ name: string }>(CALLED_AS_FIELDS);
  const operators = await client.query<{ name: string }>(OPERATORS);
  const casts = await client.query<{ name: string }>(CASTS);
  const shadows = await client.query<{ name: string }>(SHADOWS);
  await client.query('COMMIT');
  return new Catalog({
    relations: relations.rows.map((row) => relationOf(row, columns.get(row.oid) ?? [])),
    functions: functions.rows.map((row) => row.name),
    calledAsFields: calledAsFields.rows.map((row) => row.name).filter((name) => !PURE.has(name)),
    operators: operators.rows.map((row) => row.name),
    casts: casts.rows.map((row) => row.name),
    shadows: shadows.rows.map((row) => row.name),
    searchPath: path.rows[0]?.path ?? [],
  });
}

interface Row {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly definition: string | null;
  readonly rewrites: boolean;
  readonly parents: readonly string[];
}

function relationOf(row: Row, columns: readonly Column[]): Relation {
  return {
    oid: Number(row.oid),
    schema: row.schema,
    name: row.name,
    kind: KINDS[row.kind] ?? 'table',
    columns,
    ...(row.definition === null ? {} : { definition: row.definition }),
    parents: row.parents.map(Number),
    rewrites: row.rewrites,
  };
}

async function readColumns(client: ClientBase): Promise<Map<string, Column[]>> {
  const rows = await client.query<{ oid: string; name: string; attribute: number; type: string; generated: string | null }>(COLUMNS);
  const columns = new Map<string, Column[]>();
  for (const { oid, name, attribute, type, generated } of rows.rows) {
    const column: Column = { name, attribute, type: Number(type), ...(generated === null ? {} : { generated }) };
    const known = columns.get(oid);
    if (known) known.push(column);
    else columns.set(oid, [column]);
  }
  return columns;
}
