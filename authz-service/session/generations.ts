/**
 * What judgements rest on (the policy, the targets, their catalogs) changes now and then. Each change begins a generation, and what a filter was allowed in an earlier
 * one it has judged anew. Filters learn of it by a call that stays open; every answer is a lease (https://en.wikipedia.org/wiki/Lease_(computer_science)):
 * for that long the filter may rely on what it was told, and no longer. So a change is in force as soon as every filter has come back for more or has lost its lease.
 */
export interface GenerationsOptions {
  /** How long an answer may be relied on, counted by the filter from its question, milliseconds. Default 6,000. */
  readonly leaseMs?: number;
  /** How long a question stays open while nothing changes, milliseconds. Default 2,000. */
  readonly openMs?: number;
}

export interface Told {
  readonly generation: number;
  readonly leaseMs: number;
}

interface Filter {
  /** What it was last told; 0: nothing. */
  told: number;
  /** What it said it knows: it takes no command under an earlier one. */
  knows: number;
  /** When the last lease ends, by `performance.now()`. */
  until: number;
}

export class Generations {
  readonly #leaseMs: number;
  readonly #openMs: number;
  /** By emitter. */
  readonly #filters = new Map<string, Filter>();
  readonly #open = new Set<() => void>();
  readonly #waiting = new Set<() => void>();
  // Of a service that was started again it is a later one.
  #current = Date.now() * 1000;
  #closed = false;

  constructor({ leaseMs = 6_000, openMs = 2_000 }: GenerationsOptions = {}) {
    this.#leaseMs = leaseMs;
    this.#openMs = openMs;
  }

  get current(): number {
    return this.#current;
  }

  /** Begins a generation: what was judged before counts no more. Call it when the change is in force here. */
  begin(): number {
    this.#current += 1;
    for (const answer of [...this.#open]) answer();
    return this.#current;
  }

  /** Answered when there is a generation that the filter does not know, or after a while. */
  ask(emitter: string, knows: number, onGone: (callback: () => void) => void): Promise<Told> {
    this.#forget();
    // Of an earlier service whose clock was ahead.
    if (knows > this.#current) {
      this.#current = knows;
      this.begin();
    }
    const filter = this.#filters.get(emitter) ?? { told: 0, knows: 0, until: 0 };
    this.#filters.set(emitter, filter);
    filter.knows = knows;
    for (const look of [...this.#waiting]) look();
    return new Promise((resolve) => {
      const answer = (): void => {
        if (!this.#open.delete(answer)) return;
        clearTimeout(timer);
        filter.told = this.#current;
        const leaseMs = this.#closed ? 0 : this.#leaseMs;
        filter.until = performance.now() + leaseMs;
        resolve({ generation: this.#current, leaseMs });
      };
      const timer = setTimeout(answer, this.#openMs);
      this.#open.add(answer);
      onGone(() => {
        this.#open.delete(answer);
        clearTimeout(timer);
      });
      if (knows !== this.#current || this.#closed) answer();
    });
  }

  /**
   * Resolves when no filter takes a command under what was judged before the generation.
   * @returns how many filters did not come back, so that the end of their leases was waited for
   */
  inForce(generation: number): Promise<number> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const look = (): void => {
        clearTimeout(timer);
        const now = performance.now();
        const behind = [...this.#filters.values()].filter(({ knows, told }) => knows < generation && told > 0);
        const latest = Math.max(0, ...behind.map(({ until }) => until));
        if (!this.#closed && latest > now) {
          timer = setTimeout(look, latest - now + 1);
          return;
        }
        this.#waiting.delete(look);
        resolve(this.#closed ? 0 : behind.length);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Answers everybody, and lets nobody rely on it: the service ends. */
  close(): void {
    this.#closed = true;
    for (const answer of [...this.#open]) answer();
    for (const look of [...this.#waiting]) look();
  }

  /** Those whose lease ended long ago: their VM has gone. */
  #forget(): void {
    const now = performance.now();
    for (const [emitter, { until }] of this.#filters) if (until > 0 && now - until > 10 * this.#leaseMs) this.#filters.delete(emitter);
  }
}
