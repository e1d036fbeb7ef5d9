/** What a target's database holds, as far as judging its statements needs it: plain data, so that it can cross to a worker. */

/** A relation that has columns: a table of any kind, a view or a sequence. */
export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'table' | 'view' | 'materialized-view' | 'foreign-table' | 'sequence';
  /** In order; dropped ones left out. */
  readonly columns: readonly Column[];
  /** Of a view: the SELECT, with every name outside pg_catalog qualified. Empty: it could not be read, for a transaction has locked what stands in it. */
  readonly definition?: string;
  /** Oids of the tables that it inherits from or is a partition of. */
  readonly parents: readonly number[];
  /** Rules make another statement of one that writes to it. */
  readonly rewrites: boolean;
}

export interface Column {
  readonly name: string;
  /** The attribute number, as RowDescription has it. */
  readonly attribute: number;
  /** The type's oid. */
  readonly type: number;
  /** The expression of a generated column; empty as the definition of a view. */
  readonly generated?: string;
}

export interface CatalogData {
  readonly relations: readonly Relation[];
  /** Names of functions outside pg_catalog: an unqualified call of such a name may reach them, whatever else bears it. */
  readonly functions: readonly string[];
  /** Names of functions, those of extensions too, that take one argument and are not known to be pure: `(value).name` calls them. */
  readonly calledAsFields: readonly string[];
  /** Names of operators outside pg_catalog. */
  readonly operators: readonly string[];
  /** Names of types to which a cast, or a check of theirs, calls a function outside pg_catalog. */
  readonly casts: readonly string[];
  /** Names of types outside pg_catalog that one of PostgreSQL's own bears, too: by the search path either may be meant. */
  readonly shadows: readonly string[];
  /** The schemas that an unqualified name is looked for in when a session begins. */
  readonly searchPath: readonly string[];
}

export const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema']);

export class Catalog {
  readonly data: CatalogData;
  readonly functions: ReadonlySet<string>;
  readonly calledAsFields: ReadonlySet<string>;
  readonly operators: ReadonlySet<string>;
  readonly casts: ReadonlySet<string>;
  readonly shadows: ReadonlySet<string>;
  readonly #byName = new Map<string, Relation[]>();
  readonly #byOid = new Map<number, Relation>();
  readonly #children = new Map<number, Relation[]>();

  constructor(data: CatalogData) {
    this.data = data;
    this.functions = new Set(data.functions);
    this.calledAsFields = new Set(data.calledAsFields);
    this.operators = new Set(data.operators);
    this.casts = new Set(data.casts);
    this.shadows = new Set(data.shadows);
    for (const relation of data.relations) {
      this.#byOid.set(relation.oid, relation);
      push(this.#byName, relation.name, relation);
      for (const parent of relation.parents) push(this.#children, parent, relation);
    }
  }

  /** Definitions could not be read. */
  get partial(): boolean {
    return this.data.relations.some(({ definition, columns }) => definition === '' || columns.some(({ generated }) => generated === ''));
  }

  get relations(): readonly Relation[] {
    return this.data.relations;
  }

  byOid(oid: number): Relation | undefined {
    return this.#byOid.get(oid);
  }

  /**
   * Every relation that a name may mean. An unqualified one is looked for in all schemas, for the search path and temporary tables are the session's own to change;
   * what information_schema shows is never sensitive, so it yields to a relation of the same name.
   */
  find(schema: string | undefined, name: string): readonly Relation[] {
    const all = this.#byName.get(name) ?? [];
    if (schema === 'pg_temp') return all.filter((relation) => relation.schema.startsWith('pg_temp_'));
    if (schema !== undefined) return all.filter((relation) => relation.schema === schema);
    const own = all.filter((relation) => relation.schema !== 'information_schema');
    return own.length > 0 ? own : all;
  }

  /** A table with all that it shares columns with by inheritance or partitioning, in both directions. */
  family(relation: Relation): readonly Relation[] {
    const found = new Set<Relation>([relation]);
    for (const member of found) {
      for (const child of this.#children.get(member.oid) ?? []) found.add(child);
      for (const parent of member.parents) {
        const at = this.#byOid.get(parent);
        if (at) found.add(at);
      }
    }
    return [...found];
  }
}

/** By the oids of pg_type.dat, which never change: boolean, numbers, texts, dates and times, uuid, addresses. */
const TEXT_OIDS = new Set([
  16, 17, 18, 19, 20, 21, 23, 25, 26, 650, 700, 701, 790, 829, 869, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950,
]);

/** Whether a type is sure to be neither an array nor JSON. */
export const isTextOid = (oid: number): boolean => TEXT_OIDS.has(oid);

function push<K>(map: Map<K, Relation[]>, key: K, relation: Relation): void {
  const known = map.get(key);
  if (known) known.push(relation);
  else map.set(key, [relation]);
}

const of = (relation: string, columns: string): string[] => columns.split(' ').map((column) => `${relation}.${column}`);

/** All of a column's statistics come of its values, how long and how many they are among them. */
const STATISTICS =
  'null_frac avg_width n_distinct most_common_vals most_common_freqs histogram_bounds correlation most_common_elems ' +
  'most_common_elem_freqs elem_count_histogram range_length_histogram range_empty_frac range_bounds_histogram';

/** Columns of PostgreSQL's own that hold values, statements or secrets of others. */
const SYSTEM_SENSITIVE = [
  ...of('pg_stats', STATISTICS),
  ...of('pg_stats_ext', 'n_distinct dependencies most_common_vals most_common_val_nulls most_common_freqs most_common_base_freqs'),
  ...of('pg_stats_ext_exprs', STATISTICS),
  ...of('pg_statistic', 'stanullfrac stawidth stadistinct'),
  ...['1', '2', '3', '4', '5'].flatMap((slot) => of('pg_statistic', `stakind${slot} stanumbers${slot} stavalues${slot}`)),
  ...of('pg_statistic_ext_data', 'stxdndistinct stxddependencies stxdmcv stxdexpr'),
  'pg_attribute.attmissingval',
  'pg_largeobject.data',
  'pg_stat_activity.query',
  'pg_prepared_statements.statement',
  'pg_cursors.statement',
  'pg_authid.rolpassword',
  'pg_shadow.passwd',
  'pg_user_mapping.umoptions',
  'pg_user_mappings.umoptions',
  'pg_foreign_server.srvoptions',
  'pg_subscription.subconninfo',
  'pg_hba_file_rules.options',
  'pg_file_settings.setting',
  'information_schema.user_mapping_options.option_value',
  'information_schema.foreign_server_options.option_value',
  'information_schema._pg_user_mappings.umoptions',
  'information_schema._pg_foreign_servers.srvoptions',
].map((column) => (column.startsWith('information_schema.') ? column : `pg_catalog.${column}`));

/**
 * Which columns are sensitive: `schema.table.column`, a segment being `*` for any, or in double quotes where it holds a dot. Letters of either
 * case are the same. `*` for the schema leaves out PostgreSQL's own schemas, where the columns that hold values of others are always sensitive.
 */
export class SensitiveColumns {
  readonly patterns: readonly string[];
  readonly #rules: readonly (readonly string[])[];

  /** @throws {RangeError} for a pattern that has not three segments */
  constructor(patterns: readonly string[]) {
    this.patterns = patterns;
    this.#rules = [...patterns, ...SYSTEM_SENSITIVE].map(segments);
  }

  matches(schema: string, table: string, column: string): boolean {
    const names = [schema.toLowerCase(), table.toLowerCase(), column.toLowerCase()];
    const own = SYSTEM_SCHEMAS.has(schema);
    return this.#rules.some((rule) => rule.every((segment, i) => (segment === '*' && !(own && i === 0)) || segment === names[i]));
  }
}

function segments(pattern: string): string[] {
  const match = /^("(?:[^"]|"")+"|[^."]+)\.("(?:[^"]|"")+"|[^."]+)\.("(?:[^"]|"")+"|[^."]+)$/.exec(pattern);
  if (!match) throw new RangeError(`not a column as schema.table.column: ${pattern}`);
  return match.slice(1).map((segment) =>
    segment
      .replace(/^"(.*)"$/s, '$1')
      .replaceAll('""', '"')
      .toLowerCase(),
  );
}
