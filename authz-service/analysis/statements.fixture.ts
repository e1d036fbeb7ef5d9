/** A small catalog, and a short way to write down what a statement does: so that a table of them can be read, and says everything about each. */
import { loadModule } from 'libpg-query';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Analysis, analyse, makeModel } from './analyse.ts';
import { Catalog, type Relation, SensitiveColumns } from './catalog.ts';
import type { CopyOut } from './utility.ts';

const TYPES: Readonly<Record<string, number>> = { int: 23, text: 25, 'text[]': 1009, jsonb: 3802 };
let oid = 16_400;

/** @param columns `name:type`, with a space between two */
function relation(
  schema: string,
  name: string,
  columns: string,
  more: Partial<Relation> & { generated?: Record<string, string> } = {},
): Relation {
  const { generated = {}, ...rest } = more;
  return {
    oid: ++oid,
    schema,
    name,
    kind: rest.definition === undefined ? 'table' : 'view',
    columns: columns.split(' ').map((column, i) => {
      const [called = '', type = ''] = column.split(':');
      const expression = generated[called];
      return { name: called, attribute: i + 1, type: TYPES[type] ?? 0, ...(expression === undefined ? {} : { generated: expression }) };
    }),
    parents: [],
    rewrites: false,
    ...rest,
  };
}

const people = relation('public', 'people', 'id:int email:text');

const catalog = new Catalog({
  relations: [
    relation('public', 'customers', 'id:int name:text ssn:text email:text tags:text[] profile:jsonb last4:text shout:text', {
      generated: { last4: '"right"(ssn, 4)', shout: 'upper(name)' },
    }),
    relation('public', 'orders', 'id:int customer_id:int total:int note:text'),
    relation('public', 'notes', 'id:int body:text'),
    relation('public', 'Mixed Case', 'id:int SSN:text select:text'),
    people,
    relation('public', 'staff', 'id:int email:text badge:text', { parents: [people.oid] }),
    relation('public', 'letters', 'id:int body:text'),
    relation('tenant', 'letters', 'id:int ssn:text'),
    relation('public', 'ruled', 'id:int', { rewrites: true }),
    relation('public', 'counter', 'last_value:int', { kind: 'sequence' }),
    relation('public', 'names', 'id:int name:text', { definition: 'SELECT id, name FROM public.customers' }),
    relation('public', 'keys', 'id:int key:text start:text', {
      definition: 'SELECT id, ssn AS key, "left"(ssn, 3) AS start FROM public.customers',
    }),
    relation('public', 'keys2', 'a:text', { definition: 'SELECT upper(key) AS a FROM public.keys' }),
    relation('public', 'counts', 'n:int', { definition: 'SELECT count(*) AS n FROM public.customers' }),
    relation('public', 'sneaky', 'id:int x:text', { definition: 'SELECT 1 AS id, public.peek(1) AS x' }),
    relation('public', 'broken', 'id:int', { definition: 'SELECT FROM FROM' }),
    relation('pg_catalog', 'pg_class', 'oid:int relname:text'),
    relation('pg_catalog', 'pg_stats', 'tablename:text most_common_vals:text'),
  ],
  functions: ['peek', 'initcap'],
  calledAsFields: ['lo_get', 'ts_stat', 'pg_read_file'],
  operators: ['==>', '<='],
  casts: ['checked', 'money'],
  shadows: ['date'],
  searchPath: ['public'],
});

const SENSITIVE = ['*.*.ssn', 'public.customers.email', 'public.customers.profile', 'public.people.email'];
const HOLDERS = new Set(['customers', 'people', 'staff', 'Mixed Case', 'tenant.letters', 'keys', 'keys2', 'sneaky', 'pg_catalog.pg_stats']);

/**
 * Lists have a space between two. A relation of the schema `public` is written without it, one that is not known as `.name`; a sensitive column of
 * `customers` by its name alone. What is left out is as in a query that does nothing of the kind.
 */
export interface Does {
  /** `select` by default. */
  readonly commands?: string;
  readonly reads?: string;
  readonly writes?: string;
  /** `kind` or `kind:column,column` for each column of the result, with the sensitive ones that it comes of; `unknown` where they are not known one by one. */
  readonly result?: string;
  /** Sensitive columns that come out; by default those of `result`. */
  readonly output?: string;
  readonly predicates?: string;
  readonly written?: string;
  readonly functions?: readonly string[];
  /** For each reason to call it incomplete a part of its words. */
  readonly incomplete?: readonly string[];
  /** Whether a table of sensitive columns is in it, or may be; by default told by `reads`, `writes` and `incomplete`. */
  readonly touches?: boolean;
  /** True by default. */
  readonly readOnly?: boolean;
  /** The text for the record; by default the text. */
  readonly masked?: string;
  /** 1 by default. */
  readonly statements?: number;
  readonly copyOut?: CopyOut;
  readonly prepares?: string;
  /** What names were prepared as before. */
  readonly prepared?: Readonly<Record<string, readonly string[]>>;
  readonly executes?: string;
  readonly declares?: string;
  readonly fetches?: string;
}

export type Row = readonly [text: string, does: Does];

let model: ReturnType<typeof makeModel>;

/** Registers what the tables of a file need. */
export function analysing(): void {
  beforeAll(async () => {
    await loadModule();
    model = makeModel(catalog, new SensitiveColumns(SENSITIVE));
  });
}

export const analysed = (text: string, prepared?: Readonly<Record<string, readonly string[]>>): Analysis =>
  analyse(text, model, prepared && new Map(Object.entries(prepared)));

export function rows(name: string, table: readonly Row[]): void {
  describe(name, () => {
    test.each(table)('%s', (text, does) => {
      const analysis = analysed(text, does.prepared);
      expect(said(analysis)).toEqual(meant(text, does));
      const reasons = does.incomplete ?? [];
      expect(analysis.request.incomplete).toEqual(reasons.map((part) => expect.stringContaining(part)));
    });
  });
}

const resultOf = (column: string): [string, string] => {
  const [kind = '', from = ''] = column.replace('Mixed_', 'Mixed ').split(':');
  return [kind, sorted(from.split(',')).join(',')];
};
const words = (list: string): string[] => list.split(/ (?=\S)/).filter((word) => word !== '');
const sorted = (list: readonly string[]): string[] => [...new Set(list)].sort();
const relationName = (name: string): string => name.replace(/^public\./, '');
const columnName = (name: string): string => relationName(name).replace(/^customers\./, '');

function said({ request, ...analysis }: Analysis) {
  const used = (use: string): string[] =>
    sorted(
      request.columns
        .filter((column) => column.sensitive && column.use === use)
        .map(({ schema, table, column }) => columnName(`${schema}.${table}.${column}`)),
    );
  const named = (list: readonly { schema: string; name: string }[]): string[] =>
    sorted(list.map(({ schema, name }) => relationName(`${schema}.${name}`)));
  return {
    commands: request.commands,
    reads: named(request.reads),
    writes: named(request.writes),
    result: analysis.result?.map((kind, i) => [kind, sorted((analysis.sources?.[i] ?? []).map(columnName)).join(',')]),
    output: used('output'),
    predicates: used('predicate'),
    written: used('written'),
    functions: request.functions,
    complete: request.complete,
    touches: analysis.touchesSensitive,
    readOnly: analysis.readOnly,
    masked: analysis.maskedText,
    statements: analysis.statements,
    copyOut: analysis.copyOut,
    prepares: analysis.nameChanges.flatMap((change) => (change.kind === 'prepare' ? [change.name] : [])),
    executes: analysis.executes,
    declares: analysis.declares,
    fetches: analysis.fetches,
  };
}

function meant(text: string, does: Does): ReturnType<typeof said> {
  const result = does.result === 'unknown' ? undefined : words(does.result ?? '').map(resultOf);
  const reads = names(does.reads);
  const writes = names(does.writes);
  const complete = (does.incomplete ?? []).length === 0;
  return {
    commands: words(does.commands ?? 'select') as ReturnType<typeof said>['commands'],
    reads,
    writes,
    result: result as ReturnType<typeof said>['result'],
    output: sorted(
      does.output === undefined ? (result ?? []).flatMap(([, columns = '']) => columns.split(',').filter(Boolean)) : words(does.output),
    ),
    predicates: sorted(words(does.predicates ?? '')),
    written: sorted(words(does.written ?? '')),
    functions: does.functions ?? [],
    complete,
    touches: does.touches ?? (!complete || [...reads, ...writes].some((name) => HOLDERS.has(name))),
    readOnly: does.readOnly ?? true,
    masked: does.masked ?? text,
    statements: does.statements ?? 1,
    copyOut: does.copyOut,
    prepares: words(does.prepares ?? ''),
    executes: words(does.executes ?? ''),
    declares: words(does.declares ?? ''),
    fetches: words(does.fetches ?? ''),
  };
}

const names = (list = ''): string[] =>
  sorted(words(list.replaceAll('Mixed Case', 'Mixed\u00a0Case')).map((name) => name.replace('\u00a0', ' ')));
