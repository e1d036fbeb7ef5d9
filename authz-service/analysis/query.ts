/** Follows values through queries: what each result column comes of, what is read, written and called, and what only decides about rows. */
import { isTextOid, type Relation } from './catalog.ts';
import { AnalysisError } from './error.ts';
import { CLEAR, type ColumnId, EVIDENT, type Flow, isSensitive, ofColumns, UNKNOWN, union } from './flow.ts';
import { CHANGING, COUNTING, FILE_ACCESS, ONE_COLUMN, PURE, SETS, TEXT_FUNCTIONS, TOTAL, TOTAL_OPERATORS } from './functions.ts';
import { type Model, fieldsOf as sensitiveFields } from './model.ts';
import { columnName } from './names.ts';
import {
  type Cte,
  columnOf,
  expand,
  type Found,
  findColumn,
  findCte,
  findTables,
  hasColumn,
  type Item,
  inner,
  itemOf,
  type Scope,
  type ScopeColumn,
  type Table,
  whole,
} from './scope.ts';
import { childrenOf, type Fields, fieldsOf, listOf, type Node, namesOf, nodeOf, stringOf, textOf, unwrap } from './tree.ts';

export type Use = 'output' | 'predicate' | 'written';

/** What a query gives: its columns, unless they are not known one by one, and what all of them together come of. */
export interface Output {
  readonly columns: readonly ScopeColumn[] | undefined;
  readonly all: Flow;
}

const NOTHING: Output = { columns: [], all: CLEAR };

/** Of the walk; a statement within it is still understood by people, and the worker's stack holds it. */
const DEEPEST = 300;
const MOST_NODES = 100_000;
/** A recursive query is followed until nothing new flows, which takes no more rounds than it has columns. */
const MOST_ROUNDS = 12;

/** Whatever their parts are, these do not fail. */
const TOTAL_KINDS = new Set([
  ...[
    'ColumnRef',
    'NullTest',
    'BooleanTest',
    'RowExpr',
    'BoolExpr',
    'CoalesceExpr',
    'A_Indirection',
    'A_Indices',
    'MinMaxExpr',
    'CollateClause',
  ],
  ...['CaseExpr', 'CaseWhen', 'SubLink', 'SelectStmt', 'List', 'ResTarget', 'NamedArgExpr', 'SortBy', 'WindowDef'],
  ...['JsonArrayConstructor', 'JsonValueExpr', 'TypeName', 'FuncCall', 'String', 'A_Star'],
]);
const TEXTS = new Set(['text', 'varchar', 'bpchar', 'name']);

/** Their parts say for themselves what is sensitive. */
const PARTED = new Set(['BoolExpr', 'SubLink', 'SelectStmt', 'List', 'ResTarget', 'SortBy', 'WindowDef']);

export class Walk {
  readonly model: Model;
  readonly commands = new Set<string>();
  readonly reads = new Map<string, { schema: string; name: string }>();
  readonly readRelations = new Set<Relation>();
  readonly writes = new Map<string, { schema: string; name: string }>();
  readonly uses = new Map<ColumnId, Set<Use>>();
  readonly functions = new Set<string>();
  readonly incomplete = new Set<string>();
  /** Nodes whose literals meet a sensitive column. */
  readonly tainted = new Set<unknown>();
  /** What the columns of subqueries are made of: literals there meet whatever these columns are compared with. */
  readonly derived = new Set<unknown>();
  changes = false;
  touchesSensitive = false;
  /** Sensitive values are moved to where the catalog calls nothing sensitive, so from then on an origin proves nothing. */
  copies = false;
  /** What its results are depends on which columns a relation has. */
  expands = false;
  /** The transaction that ends with it: the session's own, or one that was prepared. */
  ends: 'own' | 'prepared' | undefined;
  /** Names that may mean more than one relation, for want of a choice. */
  readonly ambiguous = new Map<string, readonly Relation[]>();
  /** A name means nothing in it: the server refuses it. */
  missing = false;
  readonly #choices: ReadonlyMap<string, Relation>;
  /** Sensitive values that were met anywhere, whether or not they come out. */
  readonly met = new Set<Flow>();
  #evidence = 0;
  #depth = 0;
  #nodes = 0;

  /** @param choices which relation a name of several means */
  constructor(model: Model, choices: ReadonlyMap<string, Relation> = new Map()) {
    this.model = model;
    this.#choices = choices;
  }

  /** Every relation that a name may mean. */
  #named(schema: string | undefined, name: string): readonly Relation[] {
    const found = this.model.catalog.find(schema, name);
    if (found.length < 2) return found;
    const key = `${schema ?? ''}.${name}`;
    const chosen = this.#choices.get(key);
    if (chosen) return [chosen];
    this.ambiguous.set(key, found);
    return found;
  }

  use(flow: Flow, use: Use): void {
    for (const column of flow.columns) {
      const known = this.uses.get(column);
      if (known) known.add(use);
      else this.uses.set(column, new Set([use]));
    }
  }

  hide(reason: string): void {
    this.incomplete.add(reason);
    this.touchesSensitive = true;
  }

  /** Any statement that gives or changes rows. @returns nothing when it is another */
  statement(value: unknown, outer: Scope | undefined): Output | undefined {
    const node = nodeOf(value);
    switch (node?.kind) {
      case 'SelectStmt':
        return this.select(node.fields, outer);
      case 'InsertStmt':
        return this.#insert(node.fields, outer);
      case 'UpdateStmt':
        return this.#update(node.fields, outer);
      case 'DeleteStmt':
        return this.#delete(node.fields, outer);
      case 'MergeStmt':
        return this.#merge(node.fields, outer);
      default:
        return undefined;
    }
  }

  select(select: Fields, outer: Scope | undefined): Output {
    this.#enter();
    const scope = this.#with(select.withClause, outer);
    const output =
      textOf(select.op) !== '' && select.op !== 'SETOP_NONE'
        ? this.#setOperation(select, scope)
        : select.valuesLists
          ? this.#values(select, scope)
          : this.#plainSelect(select, scope);
    if (select.lockingClause) {
      this.commands.add('lock');
      this.changes = true;
      for (const { schema, name } of [...this.reads.values()]) this.wrote(schema, name);
    }
    for (const bound of [select.limitCount, select.limitOffset]) this.predicate(bound, scope);
    if (select.intoClause) this.into(unwrap(select.intoClause, 'IntoClause'), output);
    this.#depth--;
    return output;
  }

  /** A query whose rows become a new table. */
  into(into: Fields | undefined, output: Output): void {
    const target = fieldsOf(into?.rel);
    this.#newTable(target);
    if (!isSensitive(output.all)) return;
    this.copies = true;
    this.hide(`copies ${sensitiveFields(output.all).join(', ') || 'what is not known'} into a new table`);
  }

  #newTable(target: Fields | undefined): void {
    this.changes = true;
    this.commands.add('ddl');
    this.wrote(textOf(target?.schemaname), textOf(target?.relname));
  }

  wrote(schema: string, name: string): void {
    this.changes = true;
    this.writes.set(`${schema}.${name}`, { schema, name });
  }

  /** A statement that is no query works on what these relations hold. */
  touch(schema: string, name: string): void {
    for (const relation of this.model.catalog.find(schema || undefined, name)) this.#touched(relation);
  }

  predicate(value: unknown, scope: Scope | undefined): void {
    if (value) this.use(this.expression(value, scope), 'predicate');
  }

  // Queries.

  #plainSelect(select: Fields, outer: Scope): Output {
    const items: Item[] = [];
    const scope = inner(outer, items);
    for (const from of listOf(select.fromClause)) items.push(this.#from(from, scope, outer));
    const output = this.#targets(listOf(select.targetList), scope);
    this.predicate(select.whereClause, scope);
    this.predicate(select.havingClause, scope);
    for (const window of listOf(select.windowClause)) this.predicate(window, scope);
    for (const group of listOf(select.groupClause)) this.#ordering(group, scope, output);
    for (const sort of listOf(select.sortClause)) this.#ordering(sort, scope, output);
    const distinct = listOf(select.distinctClause);
    if (distinct.length > 0) {
      // DISTINCT alone is a list of one empty node.
      if (distinct.some((on) => nodeOf(on))) for (const on of distinct) this.#ordering(on, scope, output);
      else this.use(output.all, 'predicate');
    }
    return output;
  }

  /** An item of ORDER BY, GROUP BY or DISTINCT ON may name an output column, or count to it. */
  #ordering(value: unknown, scope: Scope, output: Output): void {
    const node = nodeOf(value);
    const item = node?.kind === 'SortBy' ? node.fields.node : value;
    if (node?.kind === 'SortBy') this.#operator(namesOf(node.fields.useOp));
    const target = nodeOf(item);
    // Names and places count inside of ROLLUP, CUBE, GROUPING SETS and (a, b), too.
    const within = target?.kind === 'GroupingSet' ? target.fields.content : target?.kind === 'RowExpr' ? target.fields.args : undefined;
    if (within) {
      for (const part of listOf(within)) this.#ordering(part, scope, output);
      return;
    }
    const names = target?.kind === 'ColumnRef' ? namesOf(target.fields.fields) : [];
    const constant = target?.kind === 'A_Const' ? fieldsOf(target.fields.ival) : undefined;
    if (constant) {
      this.use(output.columns?.[Number(constant.ival ?? 0) - 1]?.flow ?? output.all, 'predicate');
      return;
    }
    if (names.length === 1) {
      const named = output.columns?.filter((column) => column.name === names[0]) ?? [];
      for (const column of named) this.use(column.flow, 'predicate');
      if (!output.columns) this.use(output.all, 'predicate');
      if (named.length > 0 && !findColumn(scope, names[0] ?? '')) return;
    }
    this.predicate(item, scope);
  }

  #setOperation(select: Fields, scope: Scope): Output {
    const left = this.select(unwrap(select.larg, 'SelectStmt') ?? {}, scope);
    const right = this.select(unwrap(select.rarg, 'SelectStmt') ?? {}, scope);
    const all = union([left.all, right.all]);
    if (select.op !== 'SETOP_UNION' || select.all !== true) {
      this.use(all, 'predicate');
      if (isSensitive(all)) for (const arm of [select.larg, select.rarg]) this.tainted.add(arm);
    }
    const columns =
      left.columns && right.columns?.length === left.columns.length
        ? left.columns.map(({ name, flow }, i) => ({ name, flow: union([flow, right.columns?.[i]?.flow ?? UNKNOWN]), plain: false }))
        : undefined;
    const output = { columns, all };
    for (const sort of listOf(select.sortClause)) this.#ordering(sort, inner(undefined), output);
    return output;
  }

  #values(select: Fields, scope: Scope): Output {
    const rows = listOf(select.valuesLists).map((row) => listOf(row).map((value) => this.expression(value, scope)));
    const columns = (rows[0] ?? []).map((_, i) => ({
      name: `column${i + 1}`,
      flow: union(rows.map((row) => row[i] ?? CLEAR)),
      plain: false,
    }));
    const output = { columns, all: union(columns.map((column) => column.flow)) };
    for (const sort of listOf(select.sortClause)) this.#ordering(sort, scope, output);
    return output;
  }

  #targets(targets: readonly unknown[], scope: Scope): Output {
    const columns: ScopeColumn[] = [];
    let known = true;
    const flows: Flow[] = [];
    for (const target of targets) {
      const fields = unwrap(target, 'ResTarget') ?? {};
      const star = this.#star(fields.val, scope);
      if (star) {
        this.expands = true;
        known &&= star.columns !== undefined;
        columns.push(...(star.columns ?? []));
        flows.push(star.all);
        continue;
      }
      const { flow, plain } = this.#found(fields.val, scope);
      columns.push({ name: textOf(fields.name) || columnName(fields.val), flow, plain });
      flows.push(flow);
    }
    return { columns: known ? columns : undefined, all: union(flows) };
  }

  /** `*`, `t.*`, `(row).*`. @returns nothing when the target is none of these */
  #star(value: unknown, scope: Scope): Output | undefined {
    const node = nodeOf(value);
    if (node?.kind === 'ColumnRef') {
      const names = namesOf(node.fields.fields);
      if (names.at(-1) !== '*') return undefined;
      if (names.length === 1) return this.#expanded(nearestItems(scope));
      const tables = findTables(scope, names.at(-3), names.at(-2) ?? '');
      if (tables.length > 0) return this.#expanded(tables);
      this.hide(`does not know the table ${names.at(-2)}`);
      return { columns: undefined, all: UNKNOWN };
    }
    if (node?.kind !== 'A_Indirection' || namesOf(node.fields.indirection).at(-1) !== '*') return undefined;
    const all = this.expression(node.fields.arg, scope);
    const row = nodeOf(node.fields.arg);
    const names = row?.kind === 'ColumnRef' ? namesOf(row.fields.fields) : [];
    const isRow = names.length === 1 && listOf(node.fields.indirection).length === 1 && !hasColumn(scope, names[0] ?? '');
    const tables = isRow ? findTables(scope, undefined, names[0] ?? '') : [];
    return tables.length === 1 ? this.#expanded(tables) : { columns: undefined, all };
  }

  #expanded(parts: readonly (Item | Table)[]): Output {
    const columns = expand(parts);
    const all = union(parts.flatMap((part) => [...part.columns.map((column) => column.flow), part.open ?? CLEAR]));
    if (isSensitive(all)) this.met.add(all);
    return { columns, all };
  }

  // WITH.

  #with(clause: unknown, outer: Scope | undefined): Scope {
    const fields = unwrap(clause, 'WithClause');
    const ctes = new Map<string, Cte>();
    const recursive = fields?.recursive === true;
    let scope = inner(outer, [], ctes);
    if (!recursive) scope = inner(outer);
    const made: Cte[] = [];
    for (const entry of listOf(fields?.ctes)) {
      const cte = this.#cte(unwrap(entry, 'CommonTableExpr') ?? {}, scope, recursive);
      made.push(cte);
      if (recursive) ctes.set(cte.name, cte);
      else scope = inner(scope, [], new Map([[cte.name, cte]]));
    }
    for (const cte of made) cte.resolve();
    return scope;
  }

  #cte(fields: Fields, scope: Scope, recursive: boolean): Cte {
    const rename = namesOf(fields.aliascolnames);
    let state: 'new' | 'running' | 'done' = 'new';
    let again = false;
    let now: Output = NOTHING;
    const run = (): Output => {
      const output = renamed(this.#cteQuery(fields, scope), rename);
      // It ends where a row comes again.
      if (fields.cycle_clause) this.use(output.all, 'predicate');
      return extended(output, fields);
    };
    return {
      name: textOf(fields.ctename),
      resolve: () => {
        if (state === 'running') again = true;
        if (state !== 'new') return now;
        state = 'running';
        // What it gives before it has given anything has the names of its first arm, and no values.
        if (recursive) now = emptied(renamed(this.#firstArm(fields, scope), rename), fields);
        for (let round = 0; ; round++) {
          again = false;
          const before = now;
          now = run();
          if (!again || sameFlows(before, now)) break;
          if (round === MOST_ROUNDS) {
            now = { columns: now.columns?.map((column) => ({ ...column, flow: UNKNOWN, plain: false })), all: UNKNOWN };
            this.hide('a recursive query that is too involved');
            break;
          }
        }
        if (again) now = { columns: now.columns?.map((column) => ({ ...column, plain: false })), all: now.all };
        state = 'done';
        return now;
      },
    };
  }

  #cteQuery(fields: Fields, scope: Scope): Output {
    for (const part of madeOf(fields.ctequery)) this.derived.add(part);
    const node = nodeOf(fields.ctequery);
    if (node && node.kind !== 'SelectStmt') this.commands.add(DML[node.kind] ?? 'other');
    const output = this.statement(fields.ctequery, scope);
    if (output) return output;
    this.hide('a WITH query of an unknown kind');
    return { columns: undefined, all: UNKNOWN };
  }

  /** The left side of a recursive query: of what it gives only the names matter here. */
  #firstArm(fields: Fields, scope: Scope): Output {
    let select = nodeOf(fields.ctequery)?.kind === 'SelectStmt' ? nodeOf(fields.ctequery)?.fields : undefined;
    if (!select || select.op === undefined || select.op === 'SETOP_NONE') return { columns: undefined, all: CLEAR };
    const within = this.#with(select.withClause, scope);
    while (select && textOf(select.op) !== '' && select.op !== 'SETOP_NONE') select = unwrap(select.larg, 'SelectStmt');
    return this.select(select ?? {}, within);
  }

  // FROM.

  #from(value: unknown, lateral: Scope, outer: Scope | undefined): Item {
    this.#enter();
    const node = nodeOf(value);
    const item = node ? this.#fromNode(node, lateral, outer) : this.#unknownItem('a FROM of an unknown kind', '');
    this.#depth--;
    return item;
  }

  #fromNode({ kind, fields }: Node, lateral: Scope, outer: Scope | undefined): Item {
    switch (kind) {
      case 'RangeVar':
        return itemOf(this.#relation(fields, lateral));
      case 'RangeSubselect': {
        for (const part of madeOf(fields.subquery)) this.derived.add(part);
        const output = this.statement(fields.subquery, fields.lateral === true ? lateral : outer);
        return itemOf(aliased(fields.alias, '', output ?? { columns: undefined, all: UNKNOWN }));
      }
      case 'JoinExpr':
        return this.#join(fields, lateral, outer);
      case 'RangeFunction':
        return itemOf(this.#rangeFunction(fields, lateral));
      case 'RangeTableSample': {
        for (const argument of listOf(fields.args)) this.predicate(argument, lateral);
        this.predicate(fields.repeatable, lateral);
        const method = namesOf(fields.method).join('.');
        if (!['bernoulli', 'system', 'pg_catalog.bernoulli', 'pg_catalog.system'].includes(method)) this.hide(`samples by ${method}`);
        return this.#from(fields.relation, lateral, outer);
      }
      case 'RangeTableFunc':
      case 'JsonTable': {
        const all = union(childrenOf(fields).map((child) => this.expression(child, lateral)));
        this.#decides(all);
        if (isSensitive(all)) for (const child of childrenOf(fields)) this.tainted.add(child);
        const columns = tableFuncColumns(fields.columns).map((name) => ({ name, flow: all, plain: false }));
        return itemOf(aliased(fields.alias, kind === 'JsonTable' ? 'json_table' : 'xmltable', { columns, all }));
      }
      default:
        return this.#unknownItem(`a FROM of the kind ${kind}`, textOf(fieldsOf(fields.alias)?.aliasname));
    }
  }

  #unknownItem(reason: string, name: string): Item {
    this.hide(reason);
    return itemOf({ name, schemas: [], columns: [], open: UNKNOWN, base: false });
  }

  /** A name in FROM: a WITH query, or a relation of the catalog. */
  #relation(fields: Fields, scope: Scope | undefined): Table {
    const name = textOf(fields.relname);
    const schema = textOf(fields.schemaname) || undefined;
    const cte = schema === undefined ? findCte(scope, name) : undefined;
    if (cte) return aliased(fields.alias, name, cte.resolve());
    const found = this.#named(schema, name);
    for (const relation of found) this.#readRelation(relation);
    if (found.length === 0) this.#unknownRelation(schema, name);
    return this.#tableOf(fields, found);
  }

  #unknownRelation(schema: string | undefined, name: string): void {
    this.reads.set(`${schema ?? ''}.${name}`, { schema: schema ?? '', name });
    this.hide(`does not know the relation ${schema === undefined ? '' : `${schema}.`}${name}`);
  }

  #readRelation(relation: Relation): void {
    this.reads.set(`${relation.schema}.${relation.name}`, { schema: relation.schema, name: relation.name });
    this.readRelations.add(relation);
    const described = this.model.describe(relation);
    for (const read of described.reads) {
      this.reads.set(`${read.schema}.${read.name}`, { schema: read.schema, name: read.name });
      this.readRelations.add(read);
    }
    for (const name of described.functions) this.functions.add(name);
    for (const reason of described.incomplete) this.hide(`${relation.schema}.${relation.name} ${reason}`);
    this.#touched(relation);
  }

  #touched(relation: Relation): void {
    const described = this.model.describe(relation);
    if (described.flows.some(isSensitive) || described.reads.some((read) => this.model.describe(read).flows.some(isSensitive))) {
      this.touchesSensitive = true;
    }
  }

  #tableOf(fields: Fields, found: readonly Relation[]): Table {
    const lists = found.map((relation): ScopeColumn[] => {
      const { flows } = this.model.describe(relation);
      return relation.columns.map(({ name, type }, i) => ({ name, flow: flows[i] ?? UNKNOWN, plain: true, text: isTextOid(type) }));
    });
    const names = (list: readonly ScopeColumn[] | undefined): string => JSON.stringify(list?.map((column) => column.name));
    const same = lists.length > 0 && lists.every((list) => names(list) === names(lists[0]));
    const columns = same
      ? (lists[0] ?? []).map((column, i) => ({
          ...column,
          flow: union(lists.map((list) => list[i]?.flow ?? UNKNOWN)),
          text: lists.every((list) => list[i]?.text === true),
        }))
      : lists.flat();
    const all = union(lists.flat().map((column) => column.flow));
    const open = found.length === 0 ? UNKNOWN : same ? undefined : all;
    const alias = fieldsOf(fields.alias);
    const renamed = alias ? renameColumns(columns, namesOf(alias.colnames)) : columns;
    // Other names for columns whose order is not known: any of them may bear any.
    const named = alias?.colnames && !same ? renamed.map(({ name }) => ({ name, flow: all, plain: false })) : renamed;
    return {
      name: textOf(alias?.aliasname) || textOf(fields.relname),
      schemas: alias ? [] : [...found.map((relation) => relation.schema), textOf(fields.schemaname)],
      columns: named,
      open,
      base: true,
    };
  }

  #join(fields: Fields, lateral: Scope, outer: Scope | undefined): Item {
    const left = this.#from(fields.larg, lateral, outer);
    const right = this.#from(fields.rarg, inner(lateral, [left]), outer);
    const using = fields.isNatural === true ? common(left, right) : namesOf(fields.usingClause);
    if (using.length > 0) this.#operator(['=']);
    const open = left.open || right.open ? union([left.open ?? CLEAR, right.open ?? CLEAR]) : undefined;
    const merged = using.map((name): ScopeColumn => {
      const sides = [...left.columns, ...right.columns].filter((column) => column.name === name);
      for (const side of sides) this.use(side.flow, 'predicate');
      return { name, flow: union([...sides.map((side) => side.flow), open ?? CLEAR]), plain: !open && sides.every((side) => side.plain) };
    });
    if (open && (fields.isNatural === true || fields.usingClause)) this.use(open, 'predicate');
    this.predicate(fields.quals, inner(lateral, [left, right]));
    // NATURAL merges a column with one that is not known, too.
    const unlisted = fields.isNatural === true ? open : undefined;
    const rest = (item: Item): ScopeColumn[] =>
      item.columns
        .filter((column) => !using.includes(column.name))
        .map((column) => (unlisted ? { ...column, flow: union([column.flow, unlisted]), plain: false } : column));
    const columns = [...merged, ...rest(left), ...rest(right)];
    const usingAlias = textOf(fieldsOf(fields.join_using_alias)?.aliasname);
    const tables = [...left.tables, ...right.tables];
    if (usingAlias) tables.push({ name: usingAlias, schemas: [], columns: merged, open: undefined, base: false });
    const alias = fieldsOf(fields.alias);
    if (!alias) return { tables, columns, open };
    const table = {
      name: textOf(alias.aliasname),
      schemas: [],
      columns: renameColumns(columns, namesOf(alias.colnames)),
      open,
      base: false,
    };
    return itemOf(table);
  }

  #rangeFunction(fields: Fields, scope: Scope): Table {
    this.derived.add(fields.functions);
    const calls = listOf(fields.functions).map((entry) => listOf(entry));
    const given = calls.map(([call]) => this.expression(call, scope));
    const alias = fieldsOf(fields.alias);
    const rename = namesOf(alias?.colnames);
    const definitions = [...listOf(fields.coldeflist), ...calls.flatMap((call) => listOf(call[1]))];
    const all = union([...given, ...definitions.map((definition) => this.#cast(unwrap(definition, 'ColumnDef')?.typeName))]);
    const name = textOf(alias?.aliasname) || columnName(calls[0]?.[0]);
    const single = calls.length === 1 && this.#isOneColumn(calls[0]?.[0]);
    const names =
      definitions.length > 0
        ? definitions.map((definition) => textOf(unwrap(definition, 'ColumnDef')?.colname))
        : single
          ? [rename[0] ?? name, ...(fields.ordinality === true ? [rename[1] ?? 'ordinality'] : [])]
          : rename;
    const known = single || (definitions.length > 0 && calls.length === 1);
    return {
      name,
      schemas: [],
      columns: names.map((column) => ({ name: column, flow: all, plain: false })),
      open: known ? undefined : all,
      base: false,
    };
  }

  #isOneColumn(call: unknown): boolean {
    const node = nodeOf(call);
    const names = node?.kind === 'FuncCall' ? namesOf(node.fields.funcname) : [];
    return ONE_COLUMN.has(names.at(-1) ?? '') && this.#isBuiltIn(names);
  }

  // Data changes.

  #target(value: unknown): { table: Table; found: readonly Relation[] } {
    const fields = fieldsOf(value) ?? {};
    const schema = textOf(fields.schemaname) || undefined;
    const name = textOf(fields.relname);
    const found = this.#named(schema, name);
    if (found.length === 0) {
      this.wrote(schema ?? '', name);
      this.hide(`does not know the relation ${schema === undefined ? '' : `${schema}.`}${name}`);
    }
    for (const relation of found) {
      this.wrote(relation.schema, relation.name);
      if (relation.rewrites) this.hide(`rules make another statement of one that writes to ${relation.schema}.${relation.name}`);
      const described = this.model.describe(relation);
      for (const below of described.reads) this.wrote(below.schema, below.name);
      if (described.flows.some(isSensitive)) this.touchesSensitive = true;
    }
    const table = this.#tableOf(fields, found);
    const touch = (): void => {
      for (const relation of found) this.#readRelation(relation);
    };
    return { table: { ...table, columns: table.columns.map((column) => ({ ...column, touch })) }, found };
  }

  /** A value that becomes a column's. */
  #assign(found: readonly Relation[], name: string, { flow, plain }: Found, value: unknown): void {
    const ids = found.flatMap((relation) =>
      relation.columns.filter((column) => column.name === name).map((column) => this.model.id(relation, column.name)),
    );
    this.use(ofColumns(...ids), 'written');
    const sensitive = ids.length > 0 && ids.every((id) => id.sensitive);
    if (ids.some((id) => id.sensitive)) this.tainted.add(value);
    if (found.length > 0 && ids.length === 0) {
      this.missing = true;
      this.hide(`does not know the column ${name}`);
    }
    // Another column is masked in another way, and what an expression moves may come to stand where the mask shows it.
    const same = plain && sensitiveFields(flow).every((field) => ids.some((id) => field === `${id.schema}.${id.table}.${id.column}`));
    if (isSensitive(flow) && sensitive && !same) this.hide(`changes ${name}, which is sensitive, into what comes of sensitive values`);
    if (isSensitive(flow) && !sensitive) {
      this.copies = true;
      this.hide(`copies ${sensitiveFields(flow).join(', ') || 'what is not known'} into ${name}, which is not sensitive`);
    }
  }

  #insert(fields: Fields, outer: Scope | undefined): Output {
    const scope = this.#with(fields.withClause, outer);
    const { table, found } = this.#target(fields.relation);
    const listed = listOf(fields.cols).map((target) => textOf(unwrap(target, 'ResTarget')?.name));
    const names = listed.length > 0 ? listed : found.length === 1 || !table.open ? table.columns.map((column) => column.name) : undefined;
    for (const target of listOf(fields.cols)) this.#place(found, unwrap(target, 'ResTarget') ?? {}, scope);
    this.#inserted(fields.selectStmt, names, found, scope);
    const conflict = unwrap(fields.onConflictClause, 'OnConflictClause');
    if (conflict) this.#onConflict(conflict, table, names, found, scope);
    return this.#returning(fields.returningClause, inner(scope, [itemOf(table)]), table);
  }

  #inserted(value: unknown, names: readonly string[] | undefined, found: readonly Relation[], scope: Scope): void {
    const select = nodeOf(value);
    if (select?.kind !== 'SelectStmt') return;
    const rows = listOf(select.fields.valuesLists);
    const output = this.select(select.fields, scope);
    if (rows.length > 0 && names) {
      for (const [i, name] of names.entries()) for (const row of rows) if (found.length > 0) this.#taintValue(found, name, listOf(row)[i]);
    } else if (rows.length === 0) {
      for (const target of listOf(select.fields.targetList)) this.#taintCopied(target, found, names);
    }
    if (!names || !output.columns) {
      if (isSensitive(output.all)) {
        this.copies = true;
        this.hide(`copies ${sensitiveFields(output.all).join(', ') || 'what is not known'} into columns that are not known`);
      }
      for (const name of names ?? []) this.#assign(found, name, { flow: CLEAR, plain: false }, undefined);
      return;
    }
    for (const [i, column] of output.columns.entries()) {
      const name = names[i];
      if (name !== undefined) this.#assign(found, name, column, undefined);
    }
  }

  #taintValue(found: readonly Relation[], name: string, value: unknown): void {
    const ids = found.flatMap((relation) =>
      relation.columns.filter((column) => column.name === name).map(() => this.model.id(relation, name)),
    );
    if (ids.some((id) => id.sensitive)) this.tainted.add(value);
  }

  /** Which of the targets of INSERT … SELECT goes where is not followed for literals: all of them count where any goes to a sensitive column. */
  #taintCopied(target: unknown, found: readonly Relation[], names: readonly string[] | undefined): void {
    const sensitive = found.some((relation) =>
      relation.columns.some(
        (column) => (names === undefined || names.includes(column.name)) && this.model.id(relation, column.name).sensitive,
      ),
    );
    if (sensitive) this.tainted.add(target);
  }

  #onConflict(conflict: Fields, table: Table, names: readonly string[] | undefined, found: readonly Relation[], outer: Scope): void {
    const excluded: Table = { ...table, name: 'excluded', schemas: [] };
    const scope = inner(outer, [itemOf(table), { tables: [excluded], columns: [], open: undefined }]);
    const infer = unwrap(conflict.infer, 'InferClause');
    this.predicate(infer?.whereClause, scope);
    for (const element of listOf(infer?.indexElems)) {
      const { name, expr } = unwrap(element, 'IndexElem') ?? {};
      this.predicate(expr ?? { ColumnRef: { fields: [{ String: { sval: name } }] } }, inner(outer, [itemOf(table)]));
    }
    // Without a word of which, any unique column tells whether a value was there.
    if (!infer || textOf(infer.conname) !== '')
      this.use(union(table.columns.filter(({ name }) => names?.includes(name) ?? true).map(({ flow }) => flow)), 'predicate');
    this.#assignments(conflict.targetList, found, scope);
    this.predicate(conflict.whereClause, scope);
  }

  #update(fields: Fields, outer: Scope | undefined): Output {
    const within = this.#with(fields.withClause, outer);
    const { table, found } = this.#target(fields.relation);
    const items: Item[] = [itemOf(table)];
    const scope = inner(within, items);
    for (const from of listOf(fields.fromClause)) items.push(this.#from(from, scope, within));
    this.#assignments(fields.targetList, found, scope);
    this.predicate(fields.whereClause, scope);
    return this.#returning(fields.returningClause, scope, table);
  }

  #assignments(targets: unknown, found: readonly Relation[], scope: Scope): void {
    for (const target of listOf(targets)) {
      const fields = unwrap(target, 'ResTarget') ?? {};
      const multiple = nodeOf(fields.val);
      const value = multiple?.kind === 'MultiAssignRef' ? multiple.fields.source : fields.val;
      this.#assign(found, textOf(fields.name), this.#found(value, scope), value);
      this.#place(found, fields, scope);
    }
  }

  /** `a[i] = …`: where a value goes is a value, too. */
  #place(found: readonly Relation[], target: Fields, scope: Scope): void {
    if (!target.indirection) return;
    const flow = this.expression(target.indirection, scope);
    this.use(flow, 'predicate');
    this.#assign(found, textOf(target.name), { flow, plain: false }, target.indirection);
  }

  #delete(fields: Fields, outer: Scope | undefined): Output {
    const within = this.#with(fields.withClause, outer);
    const { table } = this.#target(fields.relation);
    const items: Item[] = [itemOf(table)];
    const scope = inner(within, items);
    for (const using of listOf(fields.usingClause)) items.push(this.#from(using, scope, within));
    this.predicate(fields.whereClause, scope);
    return this.#returning(fields.returningClause, scope, table);
  }

  #merge(fields: Fields, outer: Scope | undefined): Output {
    const within = this.#with(fields.withClause, outer);
    const { table, found } = this.#target(fields.relation);
    const items: Item[] = [itemOf(table)];
    const scope = inner(within, items);
    items.push(this.#from(fields.sourceRelation, within, within));
    this.predicate(fields.joinCondition, scope);
    for (const entry of listOf(fields.mergeWhenClauses)) {
      const when = unwrap(entry, 'MergeWhenClause') ?? {};
      this.predicate(when.condition, scope);
      const values = listOf(when.values);
      if (values.length === 0) this.#assignments(when.targetList, found, scope);
      else for (const target of listOf(when.targetList)) this.#place(found, unwrap(target, 'ResTarget') ?? {}, scope);
      const listed = listOf(when.targetList).map((target) => textOf(unwrap(target, 'ResTarget')?.name));
      const names = listed.length > 0 ? listed : table.columns.map((column) => column.name);
      for (const [i, value] of values.entries()) this.#assign(found, names[i] ?? '', this.#found(value, scope), value);
    }
    return this.#returning(fields.returningClause, inner(within, [...items].reverse()), table);
  }

  /** RETURNING sees the row as `old` and `new` too, under these names or others. */
  #returning(value: unknown, scope: Scope, target: Table): Output {
    const clause = unwrap(value, 'ReturningClause');
    const targets = clause ? listOf(clause.exprs) : listOf(value);
    if (targets.length === 0) return NOTHING;
    const names = ['old', 'new', ...listOf(clause?.options).map((option) => textOf(unwrap(option, 'ReturningOption')?.value))];
    const versions = names.map((name): Item => ({ tables: [{ ...target, name, schemas: [] }], columns: [], open: undefined }));
    return this.#targets(targets, { ...scope, items: [...scope.items, ...versions] });
  }

  // Expressions.

  expression(value: unknown, scope: Scope | undefined): Flow {
    if (Array.isArray(value)) return union(value.map((entry) => this.expression(entry, scope)));
    if (typeof value !== 'object' || value === null) return CLEAR;
    this.#enter();
    const node = nodeOf(value);
    let flow = node ? this.#node(node, scope) : this.#below(fieldsOf(value) ?? listOf(value), scope);
    if (node && !this.#isTotal(node, scope)) {
      this.#decides(flow);
      flow = union([flow, EVIDENT]);
    }
    if (flow.evident) this.#evidence++;
    if (isSensitive(flow)) this.met.add(flow);
    if (node && !PARTED.has(node.kind) && isSensitive(flow)) this.tainted.add(value);
    this.#depth--;
    return flow;
  }

  /** It decides whether the statement fails, or how many rows there are: that is told, whatever is masked. */
  #decides(flow: Flow): void {
    if (isSensitive(flow)) this.use(flow, 'predicate');
  }

  #found(value: unknown, scope: Scope | undefined): Found {
    const node = nodeOf(value);
    if (node?.kind !== 'ColumnRef') return { flow: this.expression(value, scope), plain: false };
    const found = this.#column(node.fields, scope);
    if (isSensitive(found.flow)) this.met.add(found.flow);
    return found;
  }

  #node(node: Node, scope: Scope | undefined): Flow {
    const { kind, fields } = node;
    switch (kind) {
      case 'A_Const':
      case 'ParamRef':
      case 'SetToDefault':
      case 'CurrentOfExpr':
      case 'MergeSupportFunc':
      case 'SQLValueFunction':
      case 'TypeName':
        return CLEAR;
      case 'ColumnRef':
        return this.#column(fields, scope).flow;
      case 'FuncCall':
        return this.#call(fields, scope);
      case 'SubLink':
        return this.#subLink(fields, scope);
      case 'SelectStmt':
        return this.select(fields, scope).all;
      case 'GroupingFunc':
        this.predicate(fields.args, scope);
        return CLEAR;
      case 'A_Indirection':
        return this.#rowField(fields, scope) ?? this.#field(fields, scope);
      case 'BoolExpr':
      case 'CoalesceExpr':
        return this.#either(listOf(fields.args), scope);
      case 'A_Expr': {
        const operators = union(operatorsOf(fields).map((names) => this.#operator(names)));
        return union([operators, isStepwise(fields) ? this.#either(partsOf(fields), scope) : this.#below(fields, scope)]);
      }
      case 'SortBy':
        return union([this.#operator(namesOf(fields.useOp)), this.#below(fields, scope)]);
      case 'CaseExpr':
        return this.#case(fields, scope);
      case 'InsertStmt':
      case 'UpdateStmt':
      case 'DeleteStmt':
      case 'MergeStmt':
        this.hide('a change of data in an expression');
        return UNKNOWN;
      default:
        return this.#below(fields, scope);
    }
  }

  /** What names a type brings values to it: casts, `RETURNING`, columns of XMLTABLE and JSON_TABLE. */
  #below(fields: Fields | readonly unknown[], scope: Scope | undefined): Flow {
    const cast = 'typeName' in fields ? this.#cast(fields.typeName) : CLEAR;
    return union([cast, ...childrenOf(fields).map((child) => this.expression(child, scope))]);
  }

  /** Which of its parts are evaluated may depend on what the others give: whether one was is told where that can be seen. */
  #either(parts: readonly unknown[], scope: Scope | undefined): Flow {
    const flows = parts.map((part) => this.expression(part, scope));
    const all = union(flows);
    if (flows.some((flow, i) => isSensitive(flow) && flows.some((other, j) => i !== j && other.evident))) this.#decides(all);
    return all;
  }

  /** What it is chosen by is told by which result comes out, or fails. */
  #case(fields: Fields, scope: Scope | undefined): Flow {
    const conditions: Flow[] = [];
    if (fields.arg) {
      conditions.push(this.expression(fields.arg, scope), this.#operator(['=']));
    }
    const results: Flow[] = [];
    for (const entry of listOf(fields.args)) {
      const when = unwrap(entry, 'CaseWhen') ?? {};
      conditions.push(this.expression(when.expr, scope));
      results.push(this.expression(when.result, scope));
    }
    results.push(this.expression(fields.defresult, scope));
    for (const condition of conditions) this.use(condition, 'predicate');
    return union([...conditions, ...results]);
  }

  /** The type that values are brought to: of a parameter. */
  type(typeName: unknown): void {
    this.#cast(typeName);
  }

  /** A cast is a function of the type's own where that is none of PostgreSQL's. */
  #cast(typeName: unknown): Flow {
    const names = namesOf(unwrap(typeName, 'TypeName')?.names);
    const name = names.at(-1) ?? '';
    const { casts, shadows } = this.model.catalog;
    if (!casts.has(name) && !(shadows.has(name) && names.at(-2) !== 'pg_catalog')) return CLEAR;
    this.functions.add(`cast to ${names.join('.')}`);
    this.changes = true;
    this.hide(`casts to ${names.join('.')}, which calls what is not known`);
    return UNKNOWN;
  }

  #column(fields: Fields, scope: Scope | undefined): Found {
    const names = namesOf(fields.fields);
    const name = names.at(-1) ?? '';
    if (name === '*') return { flow: this.#star({ ColumnRef: fields }, scope ?? inner(undefined))?.all ?? UNKNOWN, plain: false };
    if (names.length === 1) {
      const found = findColumn(scope, name);
      if (found) return found;
      this.missing = true;
      this.hide(`does not know the column ${name}`);
      return { flow: UNKNOWN, plain: false };
    }
    const tables = findTables(scope, names.at(-3), names.at(-2) ?? '');
    const found = columnOf(tables, name, !this.#mayBeCalled(name));
    if (found) return found;
    if (tables.length > 0) {
      // `t.f` is another way to write `f(t)`.
      if (!this.#mayBeCalled(name)) this.missing = true;
      const flow = this.#called(
        [name],
        union(tables.map(whole)),
        isTotalCall(name, [undefined], () => false),
      );
      return { flow, plain: false };
    }
    this.missing = true;
    this.hide(`does not know the column ${names.join('.')}`);
    return { flow: UNKNOWN, plain: false };
  }

  /** `(t).f`. @returns nothing when it is anything else */
  #rowField(fields: Fields, scope: Scope | undefined): Flow | undefined {
    const row = nodeOf(fields.arg);
    const [name, ...more] = namesOf(row?.kind === 'ColumnRef' ? row.fields.fields : undefined);
    const [field] = namesOf(fields.indirection);
    if (name === undefined || more.length > 0 || field === undefined || field === '*' || hasColumn(scope, name)) return undefined;
    const tables = findTables(scope, undefined, name);
    const found = columnOf(tables, field, !this.#mayBeCalled(field));
    if (tables.length > 0 && !found && !this.#mayBeCalled(field)) this.missing = true;
    return found?.flow;
  }

  /** `(value).f`, `value[i]`: where the value has no such field, it is another way to write `f(value)`. */
  #field(fields: Fields, scope: Scope | undefined): Flow {
    const flow = this.#either([fields.arg, fields.indirection], scope);
    const called = namesOf(fields.indirection).filter((name) => this.#mayBeCalled(name));
    return union([
      flow,
      ...called.map((name) =>
        this.#called(
          [name],
          flow,
          isTotalCall(name, [undefined], () => false),
        ),
      ),
    ]);
  }

  /** A type may be called, too: that is a cast. */
  #mayBeCalled(name: string): boolean {
    const { functions, calledAsFields, casts } = this.model.catalog;
    return [PURE, functions, calledAsFields, casts].some((names) => names.has(name));
  }

  #subLink(fields: Fields, scope: Scope | undefined): Flow {
    const before = this.#evidence;
    const test = fields.testexpr ? this.expression(fields.testexpr, scope) : CLEAR;
    const named = namesOf(fields.operName);
    const operator = this.#operator(named.length === 0 && fields.testexpr ? ['='] : named);
    const output = this.statement(fields.subselect, scope) ?? { columns: undefined, all: UNKNOWN };
    // It stops at the first row that decides it.
    if (fields.testexpr) this.#decides(union([test, output.all]));
    if (isSensitive(output.all)) this.tainted.add(fields.testexpr);
    if (isSensitive(test)) this.tainted.add(fields.subselect);
    // More than one row is an error, too.
    const single = ['EXPR_SUBLINK', 'ROWCOMPARE_SUBLINK', 'MULTIEXPR_SUBLINK'].includes(textOf(fields.subLinkType));
    const evidence = single || this.#evidence > before ? EVIDENT : CLEAR;
    if (fields.subLinkType === 'EXISTS_SUBLINK') return evidence;
    return union([test, operator, output.all, evidence]);
  }

  #call(fields: Fields, scope: Scope | undefined): Flow {
    const names = namesOf(fields.funcname);
    this.predicate(fields.agg_filter, scope);
    this.predicate(fields.over, scope);
    const ordered = this.expression(fields.agg_order, scope);
    this.use(ordered, 'predicate');
    const counts = COUNTING.has(names.at(-1) ?? '') && this.#isBuiltIn(names);
    const given = listOf(fields.args).map((argument) => this.#found(argument, scope));
    if (counts) {
      // Whether a plain column is NULL is told; what an expression makes of it would tell more.
      for (const { flow, plain } of given) if (!plain || fields.agg_distinct === true) this.use(flow, 'predicate');
      return CLEAR;
    }
    const flow = union([...given.map((argument) => argument.flow), ordered]);
    if (names.at(-1) === 'set_config') this.#setConfig(listOf(fields.args)[0]);
    if (SEQUENCES.has(names.at(-1) ?? '')) this.#sequence(listOf(fields.args)[0]);
    const total = isTotalCall(names.at(-1) ?? '', listOf(fields.args), (value) => this.#isText(value, scope));
    return this.#called(names, flow, total);
  }

  #setConfig(name: unknown): void {
    this.commands.add('set');
    this.commands.add(`set:${(stringOf(name) ?? 'unknown').toLowerCase()}`);
  }

  /** `nextval` and `setval` change what they name. */
  #sequence(value: unknown): void {
    this.commands.add('update');
    const [name = '', schema, ...more] = (stringOf(value) ?? '').split('.').reverse();
    const plain = [name, schema ?? 'x'].every((part) => /^[a-z_][a-z0-9_]*$/.test(part)) && more.length === 0;
    const found = plain ? this.model.catalog.find(schema, name) : [];
    for (const relation of found) this.wrote(relation.schema, relation.name);
    if (found.length === 0) this.hide('changes a sequence that is not known');
  }

  #isBuiltIn(names: readonly string[]): boolean {
    if (names.length > 1) return names.at(-2) === 'pg_catalog';
    return !this.model.catalog.functions.has(names[0] ?? '');
  }

  /** What a function gives of such arguments. */
  #called(names: readonly string[], given: Flow, total: boolean): Flow {
    const name = names.at(-1) ?? '';
    if (this.#isBuiltIn(names) && PURE.has(name) && !this.model.catalog.casts.has(name)) {
      if (total && !SETS.has(name)) return given;
      this.#decides(given);
      return union([given, EVIDENT]);
    }
    this.functions.add(names.join('.'));
    this.changes = true;
    if (this.#isBuiltIn(names) && CHANGING.has(name)) {
      if (isSensitive(given)) this.hide(`calls ${name} with what comes of sensitive values, which can then be asked for`);
      return union([given, EVIDENT]);
    }
    if (FILE_ACCESS.has(name)) this.commands.add('file-access');
    this.hide(`calls ${names.join('.')}, which is not known`);
    return { columns: given.columns, unknown: true, evident: true };
  }

  /** Functions that are called somewhere below, in what is no query. */
  scan(value: unknown): void {
    this.#enter();
    const node = nodeOf(value);
    if (node?.kind === 'FuncCall') this.#called(namesOf(node.fields.funcname), CLEAR, true);
    if (node?.kind === 'TypeCast') this.#cast(node.fields.typeName);
    // A column's new type is a cast of all of its values.
    if (node?.kind === 'AlterTableCmd') this.#cast(unwrap(node.fields.def, 'ColumnDef')?.typeName);
    if (node?.kind === 'A_Expr') for (const names of operatorsOf(node.fields)) this.#operator(names);
    for (const child of childrenOf(node ? node.fields : value)) this.scan(child);
    this.#depth--;
  }

  /** What an operator adds to its operands: one outside pg_catalog is a function that may read anything. */
  #operator(names: readonly string[]): Flow {
    const name = names.at(-1);
    if (name === undefined || (names.length > 1 && names.at(-2) === 'pg_catalog')) return CLEAR;
    if (names.length > 1 || this.model.catalog.operators.has(name)) {
      this.functions.add(`operator ${names.join('.')}`);
      this.changes = true;
      this.hide(`uses the operator ${names.join('.')}, which is not known`);
      return UNKNOWN;
    }
    return CLEAR;
  }

  /** Whether an expression does not fail, whatever the values of its parts: where it does, that would tell of them. */
  #isTotal({ kind, fields }: Node, scope: Scope | undefined): boolean {
    switch (kind) {
      case 'A_Expr': {
        const operator = namesOf(fields.name).at(-1) ?? '';
        // Arrays and JSON are put together only when they fit.
        if (operator === '||') return [fields.lexpr, fields.rexpr].some((side) => this.#isText(side, scope));
        return fields.kind === 'AEXPR_NULLIF' || TOTAL_OPERATORS.has(operator);
      }
      case 'A_ArrayExpr': {
        const elements = listOf(fields.elements);
        // Arrays of arrays must be of one length.
        return elements.length < 2 || elements.some((element) => this.#isText(element, scope));
      }
      case 'TypeCast':
        return isConstant(fields.arg) || isTextType(fields.typeName);
      default:
        return TOTAL_KINDS.has(kind);
    }
  }

  /** Whether a value is sure to be a text, a number or the like: no array, no JSON. */
  #isText(value: unknown, scope: Scope | undefined): boolean {
    const node = nodeOf(value);
    if (!node) return false;
    const { kind, fields } = node;
    switch (kind) {
      case 'ColumnRef':
        return this.#isTextColumn(namesOf(fields.fields), scope);
      case 'A_Const':
        return !fields.sval && !fields.isnull;
      case 'CollateClause':
      case 'SQLValueFunction':
        return true;
      case 'TypeCast':
        return isTextType(fields.typeName);
      case 'FuncCall':
        return this.#isBuiltIn(namesOf(fields.funcname)) && TEXT_FUNCTIONS.has(namesOf(fields.funcname).at(-1) ?? '');
      case 'CoalesceExpr':
      case 'MinMaxExpr':
        return listOf(fields.args).some((argument) => this.#isText(argument, scope));
      case 'CaseExpr':
        return [fields.defresult, ...listOf(fields.args).map((when) => unwrap(when, 'CaseWhen')?.result)].some((result) =>
          this.#isText(result, scope),
        );
      case 'SubLink':
        return fields.subLinkType === 'EXISTS_SUBLINK';
      case 'A_Expr': {
        if (fields.kind === 'AEXPR_NULLIF') return this.#isText(fields.lexpr, scope);
        const operator = namesOf(fields.name).at(-1);
        if (operator === '||') return [fields.lexpr, fields.rexpr].some((side) => this.#isText(side, scope));
        return operator === '->>' || operator === '#>>';
      }
      default:
        return false;
    }
  }

  #isTextColumn(names: readonly string[], scope: Scope | undefined): boolean {
    const name = names.at(-1) ?? '';
    const found = names.length === 1 ? findColumn(scope, name) : columnOf(findTables(scope, names.at(-3), names.at(-2) ?? ''), name);
    return found?.text === true;
  }

  #enter(): void {
    if (++this.#depth > DEEPEST) throw new AnalysisError('too_large', 'the statement is nested too deeply');
    if (++this.#nodes > MOST_NODES) throw new AnalysisError('too_large', 'the statement has too many parts');
  }
}

const SEQUENCES = new Set(['nextval', 'setval']);

/** Unqualified it may be a type of another schema, by the search path: the cast then counts as one that nobody knows. */
function isTextType(typeName: unknown): boolean {
  const fields = unwrap(typeName, 'TypeName');
  const names = namesOf(fields?.names);
  if (!TEXTS.has(names.at(-1) ?? '') || listOf(fields?.arrayBounds).length > 0) return false;
  return names.length === 1 || names.at(-2) === 'pg_catalog';
}

/** The operators that an expression means, by name; those of BETWEEN are not told. */
function operatorsOf(fields: Fields): string[][] {
  return textOf(fields.kind).includes('BETWEEN') ? [['<='], ['>=']] : [namesOf(fields.name)];
}

/** Compares one part after another, and may stop at the first that decides it. */
const isStepwise = (fields: Fields): boolean =>
  ['AEXPR_IN', 'AEXPR_BETWEEN', 'AEXPR_NOT_BETWEEN', 'AEXPR_BETWEEN_SYM', 'AEXPR_NOT_BETWEEN_SYM'].includes(textOf(fields.kind)) ||
  nodeOf(fields.lexpr)?.kind === 'RowExpr' ||
  nodeOf(fields.rexpr)?.kind === 'RowExpr';

const partsOf = (fields: Fields): readonly unknown[] =>
  [fields.lexpr, fields.rexpr].flatMap((side) => {
    const node = nodeOf(side);
    return node?.kind === 'RowExpr' ? listOf(node.fields.args) : node?.kind === 'List' ? listOf(side) : [side];
  });

const isConstant = (value: unknown): boolean => nodeOf(value)?.kind === 'A_Const';

function integerOf(value: unknown): number | undefined {
  const ival = isConstant(value) ? fieldsOf(nodeOf(value)?.fields.ival) : undefined;
  return ival && Number(ival.ival ?? 0);
}

/** Separators and such, of which no number of rows makes a text that is too long. */
const isShort = (value: unknown): boolean => isConstant(value) && (stringOf(value)?.length ?? Number.POSITIVE_INFINITY) <= 8;

/** Whether a function of PostgreSQL's succeeds for whatever values, these arguments being what they are. */
function isTotalCall(name: string, args: readonly unknown[], isText: (value: unknown) => boolean): boolean {
  if (!TOTAL.has(name)) return false;
  switch (name) {
    case 'substr':
    case 'substring':
      return integerOf(args[1]) !== undefined && (args.length === 2 || (integerOf(args[2]) ?? -1) >= 0);
    case 'split_part':
      return (integerOf(args[2]) ?? 0) !== 0;
    case 'replace': {
      const [from, to] = [stringOf(args[1]), stringOf(args[2])];
      // What makes a text longer can be done again and again, until it is too long for the server.
      return isConstant(args[1]) && isConstant(args[2]) && (to?.length ?? 1) <= (from?.length ?? 0);
    }
    case 'string_agg':
      return isShort(args[1]);
    case 'array_agg':
      return isText(args[0]);
    case 'bpchar':
    case 'varchar':
    case 'text':
    case 'name':
    case 'length':
      return args.length === 1;
    default:
      return true;
  }
}

export const DML: Readonly<Record<string, string>> = {
  SelectStmt: 'select',
  InsertStmt: 'insert',
  UpdateStmt: 'update',
  DeleteStmt: 'delete',
  MergeStmt: 'merge',
};

/** Where a query says what its rows hold. */
function madeOf(query: unknown): readonly unknown[] {
  const select = unwrap(query, 'SelectStmt');
  if (!select) return [];
  return [...listOf(select.targetList), ...listOf(select.valuesLists), ...madeOf(select.larg), ...madeOf(select.rarg)];
}

function nearestItems(scope: Scope): readonly Item[] {
  let at: Scope | undefined = scope;
  while (at && at.items.length === 0) at = at.parent;
  return at?.items ?? [];
}

function common(left: Item, right: Item): string[] {
  const names = new Set(right.columns.map((column) => column.name));
  return [...new Set(left.columns.map((column) => column.name))].filter((name) => names.has(name));
}

function renameColumns(columns: readonly ScopeColumn[], names: readonly string[]): ScopeColumn[] {
  return columns.map((column, i) => ({ ...column, name: names[i] ?? column.name }));
}

function renamed(output: Output, names: readonly string[]): Output {
  if (names.length === 0) return output;
  const columns = output.columns && renameColumns(output.columns, names);
  return { columns, all: output.all };
}

function aliased(value: unknown, name: string, output: Output): Table {
  const alias = fieldsOf(value);
  const columns = renameColumns(output.columns ?? [], namesOf(alias?.colnames));
  return { name: textOf(alias?.aliasname) || name, schemas: [], columns, open: output.columns ? undefined : output.all, base: false };
}

/** SEARCH and CYCLE add columns that hold what they order by or compare. */
function extended(output: Output, fields: Fields): Output {
  const search = unwrap(fields.search_clause, 'CTESearchClause');
  const cycle = unwrap(fields.cycle_clause, 'CTECycleClause');
  const names = [search?.search_seq_column, cycle?.cycle_mark_column, cycle?.cycle_path_column].map(textOf).filter((name) => name !== '');
  if (names.length === 0) return output;
  const added = names.map((name) => ({ name, flow: output.all, plain: false }));
  return { columns: output.columns && [...output.columns, ...added], all: output.all };
}

const emptied = (output: Output, fields: Fields): Output =>
  extended({ columns: output.columns?.map(({ name }) => ({ name, flow: CLEAR, plain: false })), all: CLEAR }, fields);

function sameFlows(before: Output, now: Output): boolean {
  const key = (flow: Flow): string => `${flow.columns.size} ${flow.unknown}`;
  if ((before.columns === undefined) !== (now.columns === undefined) || before.columns?.length !== now.columns?.length) return false;
  return (
    key(before.all) === key(now.all) &&
    (now.columns ?? []).every((column, i) => key(column.flow) === key(before.columns?.[i]?.flow ?? UNKNOWN))
  );
}

function tableFuncColumns(value: unknown): string[] {
  return listOf(value).flatMap((entry) => {
    const fields = nodeOf(entry)?.fields ?? {};
    const nested = tableFuncColumns(fields.columns);
    return nested.length > 0 ? nested : [textOf(fields.colname) || textOf(fields.name)];
  });
}
