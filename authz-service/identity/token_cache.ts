/**
 * Verified tokens by their text, least recently used out, in two generations: a hit in the young one writes nothing, and forgetting is dropping the old one.
 *
 * Keyed by the token itself, not by a digest: V8 hashes a kilobyte of string in a fraction of what SHA-256 takes, with a seed of its own, and compares in
 * full. The price, tokens in the heap, is paid anyway by the requests that carry them; only tokens that have been verified get here, so nobody fills it with forgeries.
 */
export class TokenCache<Entry> {
  readonly #budget: number;
  #young = new Map<string, Entry>();
  #old = new Map<string, Entry>();
  #youngSize = 0;

  /** @param budget characters of tokens held at most, about; each entry counts 512 more for what it holds. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  get(token: string): Entry | undefined {
    const entry = this.#young.get(token);
    if (entry !== undefined) return entry;
    const aged = this.#old.get(token);
    if (aged !== undefined) this.set(token, aged);
    return aged;
  }

  set(token: string, entry: Entry): void {
    const size = token.length + 512;
    if (this.#youngSize + size > this.#budget / 2) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngSize = 0;
    }
    if (!this.#young.has(token)) this.#youngSize += size;
    this.#young.set(token, entry);
  }

  delete(token: string): void {
    if (this.#young.delete(token)) this.#youngSize -= token.length + 512;
    this.#old.delete(token);
  }

  /** An upper bound: a token that has just become young again counts twice. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
