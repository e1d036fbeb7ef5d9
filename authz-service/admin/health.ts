/** Whether the service can do its work. Each part says so of itself, when asked: nothing is remembered, so nothing is stale. */

export type Condition = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly ({ readonly name: string } & Condition)[];
}

export class Health {
  readonly #checks = new Map<string, () => Condition>();
  #stopping = false;

  /** Adds a part. A check that throws says that the part is not well. Reasons are shown to anybody who asks: they hold nothing secret. */
  check(name: string, condition: () => Condition): void {
    this.#checks.set(name, condition);
  }

  /** From now on not ready: no new work is to come while what is under way ends. */
  stopping(): void {
    this.#stopping = true;
  }

  get readiness(): Readiness {
    const checks = [...this.#checks].map(([name, condition]) => ({ name, ...asked(condition) }));
    if (this.#stopping) checks.push({ name: 'service', ok: false, reason: 'it is stopping' });
    // A service of which nobody has said anything is not known to be ready.
    return { ready: checks.length > 0 && checks.every(({ ok }) => ok), checks };
  }
}

const asked = (condition: () => Condition): Condition => {
  try {
    const said = condition();
    return said.ok ? { ok: true } : { ok: false, reason: said.reason };
  } catch (error) {
    return { ok: false, reason: `it cannot tell: ${(error as Error).message}` };
  }
};
