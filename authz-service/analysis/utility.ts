/** The statements that are no queries: what each is called, and what it makes of the analysis. */
import type { Relation } from './catalog.ts';
import { CLEAR, type Flow, isSensitive, UNKNOWN, union } from './flow.ts';
import { DML, type Output, type Walk } from './query.ts';
import { inner } from './scope.ts';
import { childrenOf, type Fields, fieldsOf, listOf, type Node, namesOf, nodeOf, stringOf, textOf, unwrap } from './tree.ts';

/** What one statement gives the client: rows of these columns, rows that nobody can foresee, or none. */
export type Rows = Output | 'unforeseen' | undefined;

export interface CopyOut {
  readonly format: 'text' | 'csv' | 'binary';
  /** Nothing where they are not known one by one. */
  readonly columns: readonly ('clear' | 'sensitive')[] | undefined;
  readonly delimiter?: string;
  readonly quote?: string;
  readonly escape?: string;
  readonly nullText?: string;
}

/** What a statement does to the names of prepared statements. */
export type NameChange =
  /** `text`: the statement that prepares, as it was sent. */
  | { readonly kind: 'prepare'; readonly name: string; readonly text: string }
  /** Without a name: all of them. */
  | { readonly kind: 'deallocate'; readonly name?: string };

/** What a name was prepared as. */
export interface Meaning {
  readonly query: unknown;
  /** Of its parameters, as far as they were declared. */
  readonly types: readonly unknown[];
}

export interface Named {
  /** In the order of the text. */
  readonly nameChanges: NameChange[];
  /** Every meaning that a name can have at this point of the text; nothing where one of them is not known. */
  readonly meanings: Map<string, readonly Meaning[]>;
  readonly executes: Set<string>;
  readonly declares: Set<string>;
  readonly fetches: Set<string>;
}

export interface Seen extends Named {
  /** Of the statement at hand. */
  text: () => string;
  copyOut: CopyOut | undefined;
  /** Every literal is a secret: passwords and the like. */
  secret: boolean;
}

const ONE_CLEAR = (name: string): Output => ({ columns: [{ name, flow: CLEAR, plain: false }], all: CLEAR });

/** Kinds of which nothing but their command, the relations that they name and the functions that they call is told. */
const COMMANDS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      ...[
        'CreateStmt',
        'IndexStmt',
        'CreateSchemaStmt',
        'CreateSeqStmt',
        'AlterSeqStmt',
        'AlterTableStmt',
        'AlterTableMoveAllStmt',
        'DropStmt',
      ],
      ...[
        'RenameStmt',
        'AlterObjectSchemaStmt',
        'AlterObjectDependsStmt',
        'CommentStmt',
        'SecLabelStmt',
        'CreateFunctionStmt',
        'AlterFunctionStmt',
      ],
      ...[
        'CreateTrigStmt',
        'RuleStmt',
        'CreateDomainStmt',
        'AlterDomainStmt',
        'DefineStmt',
        'CompositeTypeStmt',
        'CreateEnumStmt',
        'AlterEnumStmt',
      ],
      ...[
        'CreateRangeStmt',
        'AlterTypeStmt',
        'CreateCastStmt',
        'CreateTransformStmt',
        'CreateConversionStmt',
        'CreateOpClassStmt',
        'CreateOpFamilyStmt',
      ],
      ...[
        'AlterOpFamilyStmt',
        'AlterOperatorStmt',
        'CreateExtensionStmt',
        'AlterExtensionStmt',
        'AlterExtensionContentsStmt',
        'CreatePLangStmt',
      ],
      ...[
        'CreateFdwStmt',
        'AlterFdwStmt',
        'CreateForeignServerStmt',
        'AlterForeignServerStmt',
        'CreateForeignTableStmt',
        'ImportForeignSchemaStmt',
      ],
      ...['CreateUserMappingStmt', 'AlterUserMappingStmt', 'DropUserMappingStmt', 'CreatePublicationStmt', 'AlterPublicationStmt'],
      ...['CreateSubscriptionStmt', 'AlterSubscriptionStmt', 'DropSubscriptionStmt', 'CreateStatsStmt', 'AlterStatsStmt', 'CreateAmStmt'],
      ...[
        'CreateEventTrigStmt',
        'AlterEventTrigStmt',
        'CreatedbStmt',
        'AlterDatabaseStmt',
        'AlterDatabaseSetStmt',
        'AlterDatabaseRefreshCollStmt',
      ],
      ...[
        'DropdbStmt',
        'CreateTableSpaceStmt',
        'DropTableSpaceStmt',
        'AlterTableSpaceOptionsStmt',
        'AlterTSDictionaryStmt',
        'AlterCollationStmt',
      ],
      ...['AlterTSConfigurationStmt', 'AlterSystemStmt', 'RefreshMatViewStmt'],
    ].map((kind) => [kind, 'ddl']),
  ),
  ...Object.fromEntries(
    ['GrantStmt', 'AlterDefaultPrivilegesStmt', 'AlterOwnerStmt', 'ReassignOwnedStmt', 'CreatePolicyStmt', 'AlterPolicyStmt'].map(
      (kind) => [kind, 'privilege'],
    ),
  ),
  ...Object.fromEntries(
    ['CreateRoleStmt', 'AlterRoleStmt', 'AlterRoleSetStmt', 'DropRoleStmt', 'GrantRoleStmt', 'DropOwnedStmt'].map((kind) => [kind, 'role']),
  ),
  TruncateStmt: 'truncate',
  LockStmt: 'lock',
  UnlistenStmt: 'listen',
  NotifyStmt: 'notify',
  ClosePortalStmt: 'close',
  ConstraintsSetStmt: 'transaction',
  VacuumStmt: 'maintenance',
  ClusterStmt: 'maintenance',
  ReindexStmt: 'maintenance',
  CheckPointStmt: 'maintenance',
};

/** Of these the literals are passwords, connection strings and the like. */
const SECRET = new Set([
  ...[
    'CreateRoleStmt',
    'AlterRoleStmt',
    'CreateUserMappingStmt',
    'AlterUserMappingStmt',
    'CreateForeignServerStmt',
    'AlterForeignServerStmt',
  ],
  ...['CreateSubscriptionStmt', 'AlterSubscriptionStmt', 'AlterSystemStmt', 'CreateFdwStmt', 'AlterFdwStmt', 'CreateForeignTableStmt'],
]);

/** The transaction that such a statement ends. One that is prepared is over for its session. */
const ENDING: Readonly<Record<string, 'own' | 'prepared'>> = {
  TRANS_STMT_COMMIT: 'own',
  TRANS_STMT_ROLLBACK: 'own',
  TRANS_STMT_PREPARE: 'own',
  TRANS_STMT_COMMIT_PREPARED: 'prepared',
  TRANS_STMT_ROLLBACK_PREPARED: 'prepared',
};
const CHANGES_NOTHING = new Set(['ClosePortalStmt']);
const NOT_WRITTEN = new Set(['GrantStmt', 'AlterOwnerStmt', 'CreatePolicyStmt', 'AlterPolicyStmt']);

export function analyseStatement(value: unknown, walk: Walk, seen: Seen): Rows {
  const node = nodeOf(value);
  if (!node) {
    walk.commands.add('other');
    walk.hide('a statement of an unknown kind');
    return 'unforeseen';
  }
  const dml = DML[node.kind];
  return dml === undefined ? utility(node, walk, seen) : query(dml, value, node.fields, walk);
}

function query(command: string, value: unknown, fields: Fields, walk: Walk): Rows {
  walk.commands.add(command);
  if (command !== 'select') walk.changes = true;
  const output = walk.statement(value, undefined);
  if (!output) return 'unforeseen';
  if (command !== 'select') return fields.returningClause ? output : undefined;
  return fields.intoClause ? undefined : output;
}

function utility({ kind, fields }: Node, walk: Walk, seen: Seen): Rows {
  switch (kind) {
    case 'ExplainStmt':
      return explain(fields, walk, seen);
    case 'CopyStmt':
      return copy(fields, walk, seen);
    case 'VariableSetStmt':
      return set(fields, walk);
    case 'VariableShowStmt':
      walk.commands.add('show');
      return fields.name === 'all'
        ? { columns: ['name', 'setting', 'description'].map((name) => ({ name, flow: CLEAR, plain: false })), all: CLEAR }
        : ONE_CLEAR(textOf(fields.name));
    case 'PrepareStmt':
      return prepare(fields, walk, seen);
    case 'ExecuteStmt':
      return execute(fields, walk, seen);
    case 'DeallocateStmt': {
      const name = textOf(fields.name);
      walk.commands.add('deallocate');
      walk.changes = true;
      seen.nameChanges.push({ kind: 'deallocate', ...(name !== '' && { name }) });
      return undefined;
    }
    case 'DeclareCursorStmt':
      walk.commands.add('declare');
      seen.declares.add(textOf(fields.portalname));
      analyseStatement(fields.query, walk, seen);
      return undefined;
    case 'FetchStmt':
      // What it may fetch was judged when its cursor was declared; which cursor that is, only the session knows.
      walk.commands.add('fetch');
      seen.fetches.add(textOf(fields.portalname));
      walk.touchesSensitive = true;
      return fields.ismove === true ? undefined : 'unforeseen';
    case 'CreateTableAsStmt':
      return createTableAs(fields, walk, seen);
    case 'ViewStmt':
      return createView(fields, walk);
    case 'DoStmt':
      walk.commands.add('do');
      walk.changes = true;
      walk.hide('runs a block of code');
      return undefined;
    case 'CallStmt':
      walk.commands.add('call');
      walk.expression({ FuncCall: fields.funccall }, undefined);
      walk.changes = true;
      walk.hide('calls a procedure');
      return 'unforeseen';
    case 'TransactionStmt':
      walk.commands.add('transaction');
      if (!['TRANS_STMT_BEGIN', 'TRANS_STMT_START', 'TRANS_STMT_SAVEPOINT'].includes(textOf(fields.kind))) walk.changes = true;
      walk.ends = ENDING[textOf(fields.kind)] ?? walk.ends;
      return undefined;
    case 'DiscardStmt':
      for (const command of ['set', 'set:all', 'deallocate', 'close']) walk.commands.add(command);
      walk.changes = true;
      if (fields.target === 'DISCARD_ALL') seen.nameChanges.push({ kind: 'deallocate' });
      return undefined;
    case 'ListenStmt':
      walk.commands.add('listen');
      walk.changes = true;
      walk.hide('hears what other sessions send');
      return undefined;
    case 'LoadStmt':
      walk.commands.add('file-access');
      walk.changes = true;
      walk.hide('loads a library');
      return undefined;
    default:
      return other(kind, fields, walk, seen);
  }
}

function other(kind: string, fields: Fields, walk: Walk, seen: Seen): Rows {
  const command = COMMANDS[kind];
  if (command === undefined) walk.hide(`a statement of the kind ${kind}`);
  walk.commands.add(command ?? 'other');
  if (kind === 'AlterRoleSetStmt' || kind === 'AlterDatabaseSetStmt' || kind === 'AlterSystemStmt') {
    walk.commands.add(`set:${textOf(unwrap(fields.setstmt, 'VariableSetStmt')?.name).toLowerCase() || 'all'}`);
  }
  if (SECRET.has(kind)) seen.secret = true;
  if (!CHANGES_NOTHING.has(kind)) walk.changes = true;
  if (!NOT_WRITTEN.has(kind)) {
    for (const { schema, name } of relationsIn(fields)) written(walk, schema, name);
    for (const names of kind === 'DropStmt' ? listOf(fields.objects).map(namesOf) : [])
      written(walk, names.at(-2) ?? '', names.at(-1) ?? '');
  } else {
    for (const { schema, name } of relationsIn(fields)) read(walk, schema, name);
  }
  taintBeside(walk, fields);
  if (saysValues(walk, kind, fields)) seen.secret = true;
  walk.scan(fields);
  return command === undefined ? 'unforeseen' : undefined;
}

/**
 * Literals in a part that names a sensitive column: what a check or an index compares it with, what it is set to by default. Of a table that is made, or gets a
 * column, those count that are sensitive by their names.
 */
function taintBeside(walk: Walk, fields: Fields): void {
  const named = relationsIn(fields);
  const found = named.flatMap(({ schema, name }) => walk.model.catalog.find(schema || undefined, name));
  const sensitive = new Set(found.flatMap((relation) => sensitiveColumnsOf(walk, relation)));
  for (const word of wordsIn(fields)) if (named.some(({ schema, name }) => walk.model.wouldBe(schema, name, word))) sensitive.add(word);
  if (sensitive.size === 0) return;
  // Bounds of a partition name no column.
  walk.tainted.add(fields.partbound);
  for (const part of childrenOf(fields).flatMap((child) => (Array.isArray(child) ? child : [child]))) {
    const attaches = nodeOf(nodeOf(part)?.fields.def)?.kind === 'PartitionCmd';
    if (attaches || mentions(part, sensitive)) walk.tainted.add(part);
  }
}

function sensitiveColumnsOf(walk: Walk, relation: Relation): string[] {
  const { flows } = walk.model.describe(relation);
  return relation.columns.filter((_, i) => isSensitive(flows[i] ?? UNKNOWN)).map((column) => column.name);
}

/** Texts in which people write values of a sensitive column: comments and labels on it, or on its table, and the code of functions that names it. */
function saysValues(walk: Walk, kind: string, fields: Fields): boolean {
  const { catalog, sensitiveNames } = walk.model;
  if (kind === 'CommentStmt' || kind === 'SecLabelStmt') {
    const names = namesOf(fields.object);
    const [column = '', table = '', schema = ''] = [...names].reverse();
    if (fields.objtype === 'OBJECT_COLUMN' && walk.model.wouldBe(schema, table, column)) return true;
    return names.some((name) => catalog.find(undefined, name).some((relation) => sensitiveColumnsOf(walk, relation).length > 0));
  }
  if (kind !== 'CreateFunctionStmt') return false;
  const words = wordsIn(fields.options).flatMap((text) => text.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? []);
  return words.some((word) => sensitiveNames.has(word));
}

/** Every string below. */
function wordsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(wordsIn) : [];
}

function mentions(value: unknown, names: ReadonlySet<string>): boolean {
  if (typeof value === 'string') return names.has(value);
  return typeof value === 'object' && value !== null && Object.values(value).some((child) => mentions(child, names));
}

function resolved(walk: Walk, schema: string, name: string): readonly { readonly schema: string; readonly name: string }[] {
  const found = walk.model.catalog.find(schema || undefined, name);
  return found.length > 0 ? found : [{ schema, name }];
}

function written(walk: Walk, schema: string, name: string): void {
  if (name === '') return;
  for (const relation of resolved(walk, schema, name)) walk.wrote(relation.schema, relation.name);
  // An index that is not unique after all, a type that does not fit: the error shows values.
  walk.touch(schema, name);
}

function read(walk: Walk, schema: string, name: string): void {
  for (const relation of resolved(walk, schema, name)) {
    walk.reads.set(`${relation.schema}.${relation.name}`, { schema: relation.schema, name: relation.name });
  }
}

/** Each relation that is named somewhere below, wrapped or not. */
function relationsIn(value: unknown): { schema: string; name: string }[] {
  const node = nodeOf(value);
  const fields = node ? node.fields : fieldsOf(value);
  const own = fields && typeof fields.relname === 'string' ? [{ schema: textOf(fields.schemaname), name: fields.relname }] : [];
  return [...own, ...childrenOf(value).flatMap(relationsIn)];
}

/** What it prepares is judged as if it ran: it can be run by ways that show no text. */
function prepare(fields: Fields, walk: Walk, seen: Seen): Rows {
  const [name, types] = [textOf(fields.name), listOf(fields.argtypes)];
  walk.commands.add('prepare');
  walk.changes = true;
  for (const type of types) walk.type(type);
  analyseStatement(fields.query, walk, seen);
  seen.nameChanges.push({ kind: 'prepare', name, text: seen.text() });
  // Where it fails, nothing that follows in the text runs.
  seen.meanings.set(name, [{ query: fields.query, types }]);
  return undefined;
}

/** Does what any of the texts does that its name may mean. */
function execute(fields: Fields, walk: Walk, seen: Seen): Rows {
  const name = textOf(fields.name);
  walk.commands.add('execute');
  // What it does depends on what was prepared, so it is judged for each execution.
  walk.changes = true;
  seen.executes.add(name);
  const given = walk.expression(fields.params, undefined);
  // What cannot be seen through may have prepared another statement under the name.
  const meanings = walk.incomplete.size === 0 ? seen.meanings.get(name) : undefined;
  if (!meanings) {
    walk.hide('runs a statement of which it is not known how it was prepared');
    return 'unforeseen';
  }
  const values = listOf(fields.params);
  const rows = meanings.map(({ query, types }) => {
    for (const type of types) walk.type(type);
    if (walk.model.catalog.casts.size > 0 && values.length > types.filter(isDeclared).length)
      walk.hide('gives values to parameters of types that are not known');
    if (DML[nodeOf(query)?.kind ?? ''] !== undefined) return analyseStatement(query, walk, seen);
    walk.hide('runs what was prepared and is no query');
    return 'unforeseen';
  });
  if (walk.touchesSensitive || walk.writes.size > 0) walk.tainted.add(fields.params);
  if (!isSensitive(given)) return anyOf(rows, given);
  walk.hide('gives sensitive values to a prepared statement');
  return 'unforeseen';
}

/** Otherwise PostgreSQL takes a parameter's type from where it is used. */
const isDeclared = (type: unknown): boolean => namesOf(unwrap(type, 'TypeName')?.names).at(-1) !== 'unknown';

/** The rows of one of several statements. */
export function anyOf(each: readonly Rows[], given: Flow = CLEAR): Rows {
  if (each.includes('unforeseen')) return 'unforeseen';
  const outputs = each.filter((rows): rows is Output => typeof rows === 'object');
  const [first] = outputs;
  if (!first) return undefined;
  const all = union([...outputs.map((output) => output.all), given]);
  if (outputs.length === 1) return { columns: first.columns, all };
  const known = outputs.every(({ columns }) => columns !== undefined && columns.length === first.columns?.length);
  const columns = first.columns?.map(({ name }, i) => {
    const same = outputs.flatMap((output) => output.columns?.[i] ?? []);
    return { name, flow: union(same.map(({ flow }) => flow)), plain: same.every(({ plain }) => plain) };
  });
  return { columns: known ? columns : undefined, all };
}

const FALSE = new Set(['false', 'off', '0', 'no']);

function explain(fields: Fields, walk: Walk, seen: Seen): Rows {
  const analyze = listOf(fields.options).some((option) => {
    const definition = unwrap(option, 'DefElem');
    return definition?.defname === 'analyze' && !FALSE.has((stringOf(definition.arg) ?? 'true').toLowerCase());
  });
  const execute = executeIn(fields.query);
  // The values that it gives are evaluated, whatever is only planned.
  if (execute) walk.expression(execute.params, undefined);
  const before = { commands: [...walk.commands], changes: walk.changes, writes: new Set(walk.writes.keys()) };
  analyseStatement(fields.query, walk, seen);
  if (!analyze) {
    // Planned, not run: what it would write is only looked at.
    for (const command of [...walk.commands])
      if (!before.commands.includes(command) && command !== 'file-access') walk.commands.delete(command);
    for (const [key, relation] of [...walk.writes]) {
      if (before.writes.has(key)) continue;
      walk.writes.delete(key);
      walk.reads.set(key, relation);
    }
    // What it plans depends on what was prepared.
    walk.changes = before.changes || execute !== undefined;
  } else {
    // It tells how much room rows took, between its steps and at its end.
    for (const flow of walk.met) walk.use(flow, 'predicate');
  }
  walk.commands.add('explain');
  return walk.incomplete.size > 0
    ? { columns: [{ name: 'QUERY PLAN', flow: UNKNOWN, plain: false }], all: UNKNOWN }
    : ONE_CLEAR('QUERY PLAN');
}

/** The EXECUTE that a statement is, or makes a table of. */
function executeIn(value: unknown): Fields | undefined {
  const node = nodeOf(value);
  const execute = node?.kind === 'CreateTableAsStmt' ? nodeOf(node.fields.query) : node;
  return execute?.kind === 'ExecuteStmt' ? execute.fields : undefined;
}

/** Settings under which the analysis reads a text otherwise than the server does. */
const READING = new Set(['standard_conforming_strings', 'backslash_quote', 'escape_string_warning']);

function set(fields: Fields, walk: Walk): Rows {
  const kind = textOf(fields.kind);
  const name = kind === 'VAR_RESET_ALL' ? 'all' : textOf(fields.name).toLowerCase();
  const value = stringOf(listOf(fields.args)[0])?.toLowerCase();
  walk.commands.add('set');
  walk.commands.add(`set:${name.replaceAll(' ', '_')}`);
  walk.changes = true;
  if (name === 'role' || name === 'session_authorization') walk.commands.add('role');
  if (READING.has(name) && !(name === 'standard_conforming_strings' && ['on', 'true', '1', 'yes'].includes(value ?? ''))) {
    walk.hide(`sets ${name}, by which strings are read`);
  }
  if (name === 'client_encoding' && !['utf8', 'utf-8', 'unicode'].includes(value ?? ''))
    walk.hide('sets client_encoding to another than UTF8');
  return undefined;
}

function createTableAs(fields: Fields, walk: Walk, seen: Seen): Rows {
  const select = nodeOf(fields.query);
  if (select?.kind === 'ExecuteStmt') {
    const rows = analyseStatement(fields.query, walk, seen);
    const made = typeof rows === 'object' ? rows : { columns: undefined, all: UNKNOWN };
    walk.use(made.all, 'output');
    walk.into(unwrap(fields.into, 'IntoClause'), made);
    return undefined;
  }
  const output = walk.statement(fields.query, undefined) ?? { columns: undefined, all: UNKNOWN };
  // A materialized view is one more relation whose columns come of others, which the catalog will tell.
  walk.use(output.all, 'output');
  walk.into(unwrap(fields.into, 'IntoClause'), output);
  return undefined;
}

function createView(fields: Fields, walk: Walk): Rows {
  const view = fieldsOf(fields.view);
  walk.commands.add('ddl');
  const output = walk.statement(fields.query, undefined) ?? { columns: undefined, all: UNKNOWN };
  walk.use(output.all, 'output');
  walk.wrote(textOf(view?.schemaname), textOf(view?.relname));
  return undefined;
}

/** Encodings in which no byte of a character can be taken for a separator. */
const PLAIN_ENCODINGS = new Set(['utf8', 'utf-8', 'unicode', 'sql_ascii', 'latin1', 'iso_8859_1']);
const COPY_OPTIONS = new Set(['format', 'delimiter', 'null', 'header', 'quote', 'escape', 'force_quote', 'encoding', 'freeze', 'oids']);

function copy(fields: Fields, walk: Walk, seen: Seen): Rows {
  const from = fields.is_from === true;
  walk.commands.add(from ? 'copy-from' : 'copy-to');
  if (fields.is_program === true) walk.commands.add('copy-program');
  else if (textOf(fields.filename) !== '') walk.commands.add('file-access');
  if (fields.is_program === true || textOf(fields.filename) !== '') {
    walk.changes = true;
    walk.hide(fields.is_program === true ? 'runs a program on the server' : 'reaches a file of the server');
  }
  if (from) {
    copyFrom(fields, walk);
    return undefined;
  }
  const output = copied(fields, walk);
  walk.use(output.all, 'output');
  // Masked values of COPY keep their length and their NULLs: of an expression these would tell.
  const made = output.columns ? output.columns.filter(({ plain }) => !plain).map(({ flow }) => flow) : [output.all];
  for (const flow of made) if (isSensitive(flow)) walk.use(flow, 'predicate');
  if (textOf(fields.filename) === '') seen.copyOut = seen.copyOut ? { format: 'text', columns: undefined } : copyOut(fields, output);
  return undefined;
}

function copyFrom(fields: Fields, walk: Walk): void {
  const relation = fieldsOf(fields.relation) ?? {};
  const listed = listOf(fields.attlist);
  // The same as an INSERT of values that come with the statement.
  const cols = listed.map((name) => ({ ResTarget: { name: stringOf(name) } }));
  const found = walk.model.catalog.find(textOf(relation.schemaname) || undefined, textOf(relation.relname));
  const names =
    listed.length > 0
      ? cols
      : [...new Set(found.flatMap((each) => each.columns.map((column) => column.name)))].map((name) => ({ ResTarget: { name } }));
  const values = [{ List: { items: names.map(() => ({ SetToDefault: {} })) } }];
  walk.statement({ InsertStmt: { relation, cols: names, selectStmt: { SelectStmt: { valuesLists: values } } } }, undefined);
  walk.changes = true;
  if (fields.whereClause) {
    walk.statement({ UpdateStmt: { relation, targetList: [], whereClause: fields.whereClause } }, undefined);
  }
}

function copied(fields: Fields, walk: Walk): Output {
  if (fields.query) {
    const command = DML[nodeOf(fields.query)?.kind ?? ''];
    if (command !== 'select') {
      walk.commands.add(command ?? 'other');
      walk.changes = true;
    }
    return walk.statement(fields.query, undefined) ?? { columns: undefined, all: UNKNOWN };
  }
  const relation = fieldsOf(fields.relation) ?? {};
  const found = walk.model.catalog.find(textOf(relation.schemaname) || undefined, textOf(relation.relname));
  const listed = listOf(fields.attlist).map((name) => stringOf(name) ?? '');
  // COPY leaves out generated columns unless they are named.
  const lists = found.map((each) => each.columns.filter((column) => column.generated === undefined).map((column) => column.name));
  const names = listed.length > 0 ? listed : lists.length === 1 ? lists[0] : undefined;
  const star = { ResTarget: { val: { ColumnRef: { fields: [{ A_Star: {} }] } } } };
  const target = (name: string): unknown => ({ ResTarget: { val: { ColumnRef: { fields: [{ String: { sval: name } }] } } } });
  const output = walk.select({ targetList: names?.map(target) ?? [star], fromClause: [{ RangeVar: relation }] }, inner(undefined));
  return names ? output : { columns: undefined, all: output.all };
}

function copyOut(fields: Fields, output: Output): CopyOut {
  const options = new Map<string, string>();
  let plain = true;
  for (const option of listOf(fields.options)) {
    const definition = unwrap(option, 'DefElem') ?? {};
    const name = textOf(definition.defname);
    if (!COPY_OPTIONS.has(name)) plain = false;
    options.set(name, stringOf(definition.arg) ?? 'true');
  }
  if (!PLAIN_ENCODINGS.has((options.get('encoding') ?? 'utf8').toLowerCase())) plain = false;
  const format = (options.get('format') ?? 'text').toLowerCase();
  if (format !== 'text' && format !== 'csv' && format !== 'binary') plain = false;
  const columns = plain ? output.columns?.map(({ flow }) => (isSensitive(flow) ? ('sensitive' as const) : ('clear' as const))) : undefined;
  const [delimiter, quote, escaped, nullText] = ['delimiter', 'quote', 'escape', 'null'].map((name) => options.get(name));
  return {
    format: format === 'csv' || format === 'binary' ? format : 'text',
    columns,
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(quote === undefined ? {} : { quote }),
    ...(escaped === undefined ? {} : { escape: escaped }),
    ...(nullText === undefined ? {} : { nullText }),
  };
}
