import { shortened } from '../replay/printable.ts';

export interface Column<Row> {
  readonly title: string;
  readonly of: (row: Row) => string;
  /** Gives way when the terminal is too narrow, the last one first. */
  readonly flexible?: boolean;
}

const GAP = 2;
const NARROWEST = 8;

/**
 * Rows under their titles, in columns that are as wide as they must be.
 * @param width of the terminal in characters; without one nothing is shortened, so that other programs get everything
 */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width = Number.POSITIVE_INFINITY): string {
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ of }) => shortened(of(row), Number.POSITIVE_INFINITY))),
  ];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => [...(line[index] ?? '')].length)));
  let excess = widths.reduce((sum, each) => sum + each + GAP, -GAP) - width;
  for (const index of columns.flatMap(({ flexible }, at) => (flexible ? [at] : [])).reverse()) {
    const spare = Math.min(Math.max(0, excess), Math.max(0, (widths[index] ?? 0) - NARROWEST));
    widths[index] = (widths[index] ?? 0) - spare;
    excess -= spare;
  }
  return cells
    .map((line) =>
      line
        .map((cell, index) => shortened(cell, widths[index] ?? 0).padEnd(widths[index] ?? 0))
        .join(' '.repeat(GAP))
        .trimEnd(),
    )
    .join('\n');
}
