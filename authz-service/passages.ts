/** Sessions that a CONNECT was let through for, until the connection that it carries takes them up: what one door leaves for another. */
import type { Identity, Run } from './decision/request.ts';

export interface Passage {
  readonly identity: Identity;
  readonly run: Run;
  /** As the decision named it; empty for the target's default. */
  readonly credential: string;
  /** Unix milliseconds at which the proof of the identity stops to count; absent: never. */
  readonly expiresAt?: number;
}

export interface PassagesOptions {
  /** How long one is kept, milliseconds. Default 25,000: shorter than the sink waits for the end of a session that nobody carries. */
  readonly keptMs?: number;
  /** Default 20,000; the oldest go first. */
  readonly most?: number;
}

export class Passages {
  readonly #keptMs: number;
  readonly #most: number;
  readonly #open = new Map<string, { readonly target: string; readonly passage: Passage; readonly until: number }>();

  constructor({ keptMs = 25_000, most = 20_000 }: PassagesOptions = {}) {
    this.#keptMs = keptMs;
    this.#most = most;
  }

  put(session: string, target: string, passage: Passage): void {
    const now = Date.now();
    for (const [id, { until }] of this.#open) {
      if (until > now && this.#open.size < this.#most) break;
      this.#open.delete(id);
    }
    this.#open.set(session, { target, passage, until: now + this.#keptMs });
  }

  /** Once, and on the target that it was for. */
  take(session: string, target: string): Passage | undefined {
    const found = this.#open.get(session);
    if (found?.target !== target) return undefined;
    this.#open.delete(session);
    return Date.now() < found.until ? found.passage : undefined;
  }
}
