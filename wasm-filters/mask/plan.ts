// The plan of one exchange: what the decision obliges the filter to mask. Wire form: sluice.filter.v1.Plan.

export class Rule {
  /** How many values this rule has masked in this exchange. */
  count: u64 = 0;
  constructor(public id: string) {}
}

export class Plan {
  rules: Rule[] = [];
  maxTokenBytes: u32 = 65536;
}

/** Decodes and compiles `len` bytes of sluice.filter.v1.Plan; null when anything in it is malformed, unknown or impossible. */
export function decodePlan(ptr: usize, len: usize): Plan | null {
  return null;
}
