/** Which columns a value comes of. */

export interface ColumnId {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  readonly sensitive: boolean;
}

export interface Flow {
  readonly columns: ReadonlySet<ColumnId>;
  /** It may come of anything. */
  readonly unknown: boolean;
  /** That it is evaluated can be told, whatever is masked: it may fail, or change something. */
  readonly evident: boolean;
}

export const CLEAR: Flow = { columns: new Set(), unknown: false, evident: false };
export const UNKNOWN: Flow = { columns: new Set(), unknown: true, evident: true };
/** Comes of nothing, and can be told. */
export const EVIDENT: Flow = { columns: new Set(), unknown: false, evident: true };

/** A value that is a column's. */
export const ofColumns = (...columns: readonly ColumnId[]): Flow => ({ columns: new Set(columns), unknown: false, evident: false });

export function union(flows: readonly Flow[]): Flow {
  const telling = flows.filter((flow) => flow.columns.size > 0 || flow.unknown || flow.evident);
  const [first] = telling;
  if (first === undefined) return CLEAR;
  if (telling.length === 1 || telling.every((flow) => flow === first)) return first;
  const columns = new Set<ColumnId>();
  for (const flow of telling) for (const column of flow.columns) columns.add(column);
  return { columns, unknown: telling.some((flow) => flow.unknown), evident: telling.some((flow) => flow.evident) };
}

export function isSensitive(flow: Flow): boolean {
  if (flow.unknown) return true;
  for (const column of flow.columns) if (column.sensitive) return true;
  return false;
}
