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
}

export const CLEAR: Flow = { columns: new Set(), unknown: false };
export const UNKNOWN: Flow = { columns: new Set(), unknown: true };

export function union(flows: readonly Flow[]): Flow {
  const telling = flows.filter((flow) => flow.columns.size > 0 || flow.unknown);
  const [first] = telling;
  if (first === undefined) return CLEAR;
  if (telling.length === 1 || telling.every((flow) => flow === first)) return first;
  const columns = new Set<ColumnId>();
  for (const flow of telling) for (const column of flow.columns) columns.add(column);
  return { columns, unknown: telling.some((flow) => flow.unknown) };
}

export function isSensitive(flow: Flow): boolean {
  if (flow.unknown) return true;
  for (const column of flow.columns) if (column.sensitive) return true;
  return false;
}
