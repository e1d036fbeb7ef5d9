/** What every bench has in common: medians, and one JSON object on standard output. */
export function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}

/** @param ascending sorted values */
export function quantile(ascending: ArrayLike<number>, q: number): number {
  const at = (ascending.length - 1) * q;
  const [low, high] = [ascending[Math.floor(at)] ?? Number.NaN, ascending[Math.ceil(at)] ?? Number.NaN];
  return low + (high - low) * (at - Math.floor(at));
}

export function rounded(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

/** With --json one line; otherwise laid out for people. */
export function report(result: { readonly name: string; readonly ratio: number; readonly goal: number } & Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(result, null, process.argv.includes('--json') ? 0 : 2)}\n`);
}
