/** One string of SQL → what it does. Runs in a worker, for the parser cannot be interrupted. */
import { fingerprintSync, hasSqlDetails, parseSync, scanSync } from 'libpg-query';
import type { SqlRequest } from '../decision/request.ts';
import type { Catalog, Relation, SensitiveColumns } from './catalog.ts';
import { AnalysisError } from './error.ts';
import { CLEAR, type Flow, isSensitive, ofColumns, UNKNOWN, union } from './flow.ts';
import { constantsIn, maskText, type Token } from './masked_text.ts';
import { type Definitions, fieldsOf, Model } from './model.ts';
import { type Output, Walk } from './query.ts';
import { inner, itemOf } from './scope.ts';
import { fieldsOf as bare, listOf, nodeOf, unwrap } from './tree.ts';
import { analyseStatement, anyOf, type CopyOut, type Meaning, type NameChange, type Rows, type Seen } from './utility.ts';

export type ResultColumn = 'origin' | 'clear' | 'sensitive';

export interface Analysis {
  readonly request: Omit<SqlRequest, 'protocol' | 'database' | 'statement' | 'parameters'>;
  /**
   * The columns of the rows that come back: a plain column, of which the server says where it comes from; one that comes of nothing sensitive; or one that
   * does, or may. Nothing where they are not known one by one, or where more than one statement gives rows.
   */
  readonly result: readonly ResultColumn[] | undefined;
  /** For each of `result` the sensitive columns that it comes of, as `schema.table.column`; empty where they are not known. */
  readonly sources: readonly (readonly string[])[] | undefined;
  /** Reads a table that holds a sensitive column, or may. */
  readonly touchesSensitive: boolean;
  /** Moves sensitive values into columns that are not: where `result` is not known, the origins of its columns prove nothing. */
  readonly copies: boolean;
  /** Which columns its results have depends on the columns that a relation has now: it has a `*`. */
  readonly expands: boolean;
  /** The transaction that ends with it: the session's own, or one that was prepared. A savepoint's end is none. */
  readonly ends: 'own' | 'prepared' | undefined;
  /** Of COPY … TO STDOUT. */
  readonly copyOut: CopyOut | undefined;
  /** The text for the record: literals masked where they meet a sensitive column or the analysis is incomplete. */
  readonly maskedText: string;
  /** 16 hexadecimal digits: the same for statements that differ in their constants only; empty of an empty text. */
  readonly fingerprint: string;
  /** Writes, locks and calls nothing that changes anything. */
  readonly readOnly: boolean;
  readonly statements: number;
  /** What it does to the names of prepared statements, in order. */
  readonly nameChanges: readonly NameChange[];
  /** What the names that it executes may mean, as texts for people, with literals masked as in its own. */
  readonly runs: readonly string[];
  /** Names of prepared statements and cursors. */
  readonly executes: readonly string[];
  readonly declares: readonly string[];
  readonly fetches: readonly string[];
}

/** Bytes of UTF-8. */
export const LARGEST_TEXT = 1_048_576;
const MOST_STATEMENTS = 1_000;
const DEEPEST_VIEWS = 32;
/** Of relations for the names in a statement: with more, more is masked than need be. */
const MOST_CHOICES = 16;
const CATALOG_CHANGING = new Set(['ddl', 'privilege', 'call', 'do', 'execute', 'maintenance', 'other']);

export const makeModel = (catalog: Catalog, sensitive: SensitiveColumns): Model =>
  new Model(catalog, sensitive, (model) => definitions(model, 0));

/** For a name every text that may have prepared it: a `PREPARE`, or the statement alone where the protocol did. A name that is not there is not known. */
export type Prepared = ReadonlyMap<string, readonly string[]>;

/** @throws {AnalysisError} */
export function analyse(text: string, model: Model, prepared: Prepared = new Map()): Analysis {
  if (Buffer.byteLength(text) > LARGEST_TEXT) throw new AnalysisError('too_large', `a statement of more than ${LARGEST_TEXT} bytes`);
  if (text.includes('\0')) throw new AnalysisError('unsupported', 'a statement with a zero byte');
  // The parser would take another text than the server gets.
  if (!text.isWellFormed()) throw new AnalysisError('unsupported', 'a statement that is not Unicode');
  const statements = parse(text);
  if (statements.length > MOST_STATEMENTS) throw new AnalysisError('too_large', `more than ${MOST_STATEMENTS} statements in one string`);
  const walk = new Walk(model);
  const meant = [...prepared].map(([name, texts]) => ({ name, texts: texts.map((of) => ({ text: of, ...meaningOf(name, of) })) }));
  const run = (walk: Walk): { readonly seen: Seen; readonly rows: readonly NonNullable<Rows>[] } => {
    const seen: Seen = {
      text: () => '',
      copyOut: undefined,
      secret: false,
      nameChanges: [],
      meanings: new Map(meant.map(({ name, texts }) => [name, texts])),
      executes: new Set(),
      declares: new Set(),
      fetches: new Set(),
    };
    const rows = statements.flatMap(({ statement, location, length }) => {
      seen.text = () => sliced(text, location, length);
      return analyseStatement(statement, walk, seen) ?? [];
    });
    return { seen, rows };
  };
  const { seen, rows: all } = run(walk);
  const rows = statements.length === 1 ? all.map((given) => narrowed(given, walk, model, (of) => run(of).rows)) : all;
  for (const given of rows) if (given !== 'unforeseen') walk.use(given.all, 'output');
  if ((statements.length > 1 || walk.copies) && seen.copyOut) seen.copyOut = { ...seen.copyOut, columns: undefined };
  // After a change of the catalog the columns may be others than they are now.
  const unseen = walk.incomplete.size > 0;
  const moving =
    statements.length > 1 && [...walk.commands].some((command) => CATALOG_CHANGING.has(command) && (command !== 'execute' || unseen));
  const result = moving && rows.length > 0 ? undefined : rows.length === 1 ? columnsOf(rows[0]) : rows.length === 0 ? [] : undefined;
  const compared = [...walk.uses].some(([id, uses]) => id.sensitive && uses.has('predicate'));
  if (compared) for (const part of walk.derived) walk.tainted.add(part);
  const hidden = unseen || seen.secret;
  const readable = (of: string, tree: unknown): string => masked(of, hidden ? 'all' : constantsIn(tree, walk.tainted));
  return {
    request: requestOf(walk),
    result: result?.map((column) => kindOf(column, walk.copies)),
    sources: result?.map(({ flow }) => fieldsOf(flow)),
    touchesSensitive: walk.touchesSensitive,
    copies: walk.copies,
    expands: walk.expands,
    ends: walk.ends,
    copyOut: seen.copyOut,
    maskedText: readable(
      text,
      statements.map(({ statement }) => statement),
    ),
    fingerprint: text === '' ? '' : guarded(() => fingerprintSync(text)),
    readOnly: !walk.changes,
    statements: statements.length,
    nameChanges: seen.nameChanges,
    runs: meant.flatMap(({ texts }) => texts.map(({ text: of, query }) => readable(of, query))),
    executes: [...seen.executes],
    declares: [...seen.declares],
    fetches: [...seen.fetches],
  };
}

/**
 * The rows of a statement in which names may mean several relations, told more closely: as those of any choice that the server would take. Within one statement a
 * name means the same everywhere. What the statement reads and does is what it may do by any choice.
 */
function narrowed(rows: NonNullable<Rows>, walk: Walk, model: Model, run: (walk: Walk) => readonly NonNullable<Rows>[]): NonNullable<Rows> {
  if (walk.ambiguous.size === 0 || walk.incomplete.size > 0) return rows;
  let choices: ReadonlyMap<string, Relation>[] = [new Map()];
  for (const [key, relations] of walk.ambiguous)
    choices = choices.flatMap((of) => relations.map((relation) => new Map(of).set(key, relation)));
  if (choices.length > MOST_CHOICES) return rows;
  const taken = choices.flatMap((of) => {
    const chosen = new Walk(model, of);
    const given = run(chosen);
    return chosen.missing ? [] : given;
  });
  return anyOf(taken) ?? rows;
}

/** Where a string moves sensitive values, any column that it reads may bring them back: RETURNING, a generated column, a later statement. */
function kindOf({ flow, plain }: { readonly flow: Flow; readonly plain: boolean }, copies: boolean): ResultColumn {
  if (isSensitive(flow) && !plain) return 'sensitive';
  if (copies && (plain || flow.columns.size > 0)) return 'sensitive';
  return plain ? 'origin' : 'clear';
}

const columnsOf = (rows: Rows): Output['columns'] => (rows === 'unforeseen' ? undefined : rows?.columns);

function requestOf(walk: Walk): Analysis['request'] {
  return {
    commands: [...walk.commands],
    reads: [...walk.reads.values()],
    writes: [...walk.writes.values()],
    columns: [...walk.uses].flatMap(([id, uses]) =>
      [...uses].map((use) => ({ schema: id.schema, table: id.table, column: id.column, use, sensitive: id.sensitive })),
    ),
    functions: [...walk.functions],
    complete: walk.incomplete.size === 0,
    incomplete: [...walk.incomplete],
  };
}

interface Parsed {
  /** A wrapped node. */
  readonly statement: unknown;
  /** Bytes of UTF-8; a length of 0: up to the end. */
  readonly location: number;
  readonly length: number;
}

const sliced = (text: string, location: number, length: number): string =>
  Buffer.from(text)
    .subarray(location, length === 0 ? undefined : location + length)
    .toString();

/** What a name means that such a text has prepared. A PREPARE of another name is what the protocol has prepared under this one. @throws {AnalysisError} */
function meaningOf(name: string, text: string): Meaning {
  const [only, ...more] = parse(text);
  const prepare = nodeOf(only?.statement);
  if (more.length > 0) return { query: undefined, types: [] };
  if (prepare?.kind !== 'PrepareStmt' || prepare.fields.name !== name) return { query: only?.statement, types: [] };
  return { query: prepare.fields.query, types: listOf(prepare.fields.argtypes) };
}

/** @throws {AnalysisError} */
function parse(text: string): Parsed[] {
  // An empty Query is how some clients ask whether the server is there; libpg-query takes it for a mistake.
  if (text === '') return [];
  const tree = guarded(() => parseSync(text));
  return listOf(bare(tree)?.stmts).map((entry) => {
    const raw = unwrap(entry, 'RawStmt');
    return { statement: raw?.stmt, location: Number(raw?.stmt_location ?? 0), length: Number(raw?.stmt_len ?? 0) };
  });
}

/** Most texts have nothing to mask, and need not be read once more. */
const masked = (text: string, which: 'all' | ReadonlySet<number>): string =>
  text === '' || (which !== 'all' && which.size === 0) ? text : maskText(text, tokensOf(text), which);

function tokensOf(text: string): Token[] {
  return guarded(() => scanSync(text)).tokens.map((token) => ({ start: token.start, end: token.end, name: token.tokenName }));
}

/** An error that is not the parser's own, by which it may have come to harm: the worker has to be replaced. */
export class ParserBroken extends AnalysisError {}

/** @throws {AnalysisError} for whatever the parser throws */
function guarded<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!hasSqlDetails(error) && !(error instanceof Error && error.name === 'SqlError')) {
      throw new ParserBroken('too_large', 'the statement is too large or nested too deeply for the parser');
    }
    const { message } = error;
    if (/memory exhausted|stack depth|too deep/i.test(message)) throw new AnalysisError('too_large', 'the statement is nested too deeply');
    const position = hasSqlDetails(error) ? (error.sqlDetails?.cursorPosition ?? -1) + 1 : 0;
    throw position > 0 ? new AnalysisError('syntax', message, position) : new AnalysisError('syntax', message);
  }
}

function definitions(model: Model, depth: number): Definitions {
  let level = depth;
  const selectOf = (text: string): unknown => nodeOf(parse(text)[0]?.statement)?.fields;
  const unknown = (reason: string): ReturnType<Definitions['view']> => ({
    flows: undefined,
    reads: [],
    functions: [],
    incomplete: [reason],
  });
  return {
    view: (definition) => {
      if (definition === '')
        return unknown('is a view over what a transaction has locked, so that it cannot be looked at before that has ended');
      if (++level > DEEPEST_VIEWS) return unknown('is a view of too many views');
      try {
        const walk = new Walk(model);
        const output = walk.select(bare(selectOf(definition)) ?? {}, undefined);
        const reads: readonly Relation[] = [...walk.readRelations];
        return { flows: output.columns?.map(({ flow }) => flow), reads, functions: [...walk.functions], incomplete: [...walk.incomplete] };
      } catch (error) {
        if (error instanceof ParserBroken) throw error;
        return unknown('is a view that cannot be understood');
      } finally {
        level--;
      }
    },
    generated: (expression, relation): Flow => {
      try {
        const select = bare(selectOf(`SELECT ${expression}`));
        // It is computed from columns that are not.
        const stored = relation.columns.filter((column) => column.generated === undefined);
        const columns = stored.map(({ name }) => ({ name, flow: ofColumns(model.id(relation, name)), plain: true }));
        const [target] = listOf(select?.targetList);
        const table = { name: relation.name, schemas: [relation.schema], columns, open: undefined, base: true };
        const walk = new Walk(model);
        const flow = walk.expression(unwrap(target, 'ResTarget')?.val, inner(undefined, [itemOf(table)]));
        return walk.incomplete.size > 0 ? union([flow, UNKNOWN]) : isSensitive(flow) ? flow : CLEAR;
      } catch (error) {
        if (error instanceof ParserBroken) throw error;
        return UNKNOWN;
      }
    },
  };
}
