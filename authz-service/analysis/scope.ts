/** What the names in a query can mean at one place of it. */
import { CLEAR, type Flow, union } from './flow.ts';

export interface ScopeColumn {
  readonly name: string;
  readonly flow: Flow;
  /** A column of a relation as it is, so that the server tells where it comes from. */
  readonly plain: boolean;
  /** Of a type that is neither an array nor JSON; unknown by default. */
  readonly text?: boolean;
  /** To be called when a statement reads it. */
  readonly touch?: () => void;
}

/** What a qualified name can begin with. */
export interface Table {
  readonly name: string;
  /** Where it may also be called by its schema. */
  readonly schemas: readonly string[];
  readonly columns: readonly ScopeColumn[];
  /** There may be other columns than `columns`, or in another order; their values come of this. */
  readonly open: Flow | undefined;
  readonly base: boolean;
}

/** One member of a FROM list. */
export interface Item {
  readonly tables: readonly Table[];
  /** As `*` shows them: merged columns of a join stand once. */
  readonly columns: readonly ScopeColumn[];
  readonly open: Flow | undefined;
}

export interface Cte {
  readonly name: string;
  resolve(): { readonly columns: readonly ScopeColumn[] | undefined; readonly all: Flow };
}

export interface Scope {
  readonly parent: Scope | undefined;
  readonly items: readonly Item[];
  readonly ctes: ReadonlyMap<string, Cte>;
}

export interface Found {
  readonly flow: Flow;
  readonly plain: boolean;
  readonly text?: boolean;
}

const NO_CTES: ReadonlyMap<string, Cte> = new Map();
const SYSTEM_COLUMNS = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid']);

export const inner = (parent: Scope | undefined, items: readonly Item[] = [], ctes = NO_CTES): Scope => ({ parent, items, ctes });

export const itemOf = (table: Table): Item => ({ tables: [table], columns: table.columns, open: table.open });

export function findCte(scope: Scope | undefined, name: string): Cte | undefined {
  for (let at = scope; at; at = at.parent) {
    const cte = at.ctes.get(name);
    if (cte) return cte;
  }
  return undefined;
}

export function whole(table: Table): Flow {
  for (const column of table.columns) column.touch?.();
  return union([...table.columns.map((column) => column.flow), table.open ?? CLEAR]);
}

function pick(columns: readonly ScopeColumn[]): Found | undefined {
  if (columns.length === 0) return undefined;
  for (const column of columns) column.touch?.();
  return {
    flow: union(columns.map((column) => column.flow)),
    plain: columns.every((column) => column.plain),
    text: columns.every((column) => column.text === true),
  };
}

/** A column by its name alone, or else a row by the name of its table. @returns nothing when there is neither */
export function findColumn(scope: Scope | undefined, name: string): Found | undefined {
  const open: Flow[] = [];
  for (let at = scope; at; at = at.parent) {
    const found = pick(at.items.flatMap((item) => item.columns.filter((column) => column.name === name)));
    const unlisted = at.items.flatMap((item) => item.open ?? []);
    if (found) {
      // Of the relations that a table may be one has no such column: then it is one of further out.
      const outer = unlisted.length > 0 && at.parent && hasColumn(at.parent, name) ? findColumn(at.parent, name) : undefined;
      if (open.length === 0 && !outer) return found;
      return { flow: union([found.flow, ...open, ...(outer ? [outer.flow] : [])]), plain: false };
    }
    open.push(...unlisted);
    if (unlisted.length === 0 && SYSTEM_COLUMNS.has(name) && at.items.some((item) => item.tables.some((table) => table.base))) {
      return { flow: CLEAR, plain: true };
    }
  }
  const row = findTables(scope, undefined, name).map(whole);
  return open.length + row.length === 0 ? undefined : { flow: union([...open, ...row]), plain: false };
}

/** Whether a column of that name stands at that level or further out. */
export function hasColumn(scope: Scope | undefined, name: string): boolean {
  for (let at = scope; at; at = at.parent) {
    if (at.items.some((item) => item.open || item.columns.some((column) => column.name === name))) return true;
  }
  return false;
}

/** The tables of the nearest level at which the name is one. */
export function findTables(scope: Scope | undefined, schema: string | undefined, name: string): readonly Table[] {
  for (let at = scope; at; at = at.parent) {
    const found = at.items.flatMap((item) =>
      item.tables.filter((table) => table.name === name && (schema === undefined || table.schemas.includes(schema))),
    );
    if (found.length > 0) return found;
  }
  return [];
}

/** @param sure where a table has it not, the name means nothing */
export function columnOf(tables: readonly Table[], name: string, sure = false): Found | undefined {
  const found = pick(tables.flatMap((table) => table.columns.filter((column) => column.name === name)));
  if (found && sure) return found;
  const open = tables.flatMap((table) => table.open ?? []);
  if (open.length > 0) return { flow: union([...open, ...(found ? [found.flow] : [])]), plain: found?.plain ?? false };
  if (found) return found;
  return SYSTEM_COLUMNS.has(name) && tables.some((table) => table.base) ? { flow: CLEAR, plain: true } : undefined;
}

/** The columns that a star stands for. @returns nothing where they are not known one by one */
export function expand(
  parts: readonly { readonly columns: readonly ScopeColumn[]; readonly open: Flow | undefined }[],
): ScopeColumn[] | undefined {
  for (const part of parts) for (const column of part.columns) column.touch?.();
  return parts.some((part) => part.open) ? undefined : parts.flatMap((part) => part.columns);
}
