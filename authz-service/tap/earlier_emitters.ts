/**
 * The last sequences of emitters that the sink does not have in mind, as the record itself says: each leaf has its emitter and its sequence, and an emitter's leaves
 * ascend. What the index of sessions says of them anybody may have written.
 */
import type { TapStore } from './store.ts';

/** Leaves that are looked at for an emitter that most likely is new. An answer to its hello waits for that, once for all emitters. */
const SEARCHED_LEAVES = 1 << 16;
/** Emitters that are remembered: about 100 bytes each. */
const MOST_EMITTERS = 1 << 16;

export class EarlierEmitters {
  readonly #store: Pick<TapStore, 'tellersBackwards' | 'size'>;
  readonly #floor: number;
  /** Of the emitters of the leaves from `#from` on, but for those that the sink has in mind. */
  readonly #last = new Map<string, number>();
  #from: number;
  #turn: Promise<unknown> = Promise.resolve();

  /** The sink itself has read the record from index `from` on. */
  constructor(store: Pick<TapStore, 'tellersBackwards' | 'size'>, from: number) {
    this.#store = store;
    this.#from = from;
    this.#floor = Math.max(0, from - SEARCHED_LEAVES);
  }

  /** 0: the record has nothing of it; `undefined`: that has to be looked up. */
  known(id: string): number | undefined {
    return this.#last.get(id) ?? (this.#from === 0 ? 0 : undefined);
  }

  /** The sink lets go of it. All its events are durable. */
  keep(id: string, sequence: number): void {
    if (this.#last.size >= MOST_EMITTERS) {
      this.#last.clear();
      this.#from = this.#store.size;
    }
    this.#last.set(id, sequence);
  }

  /**
   * Looks it up, one after the other. `whole`: in all of the record; else `undefined` is the answer when its newest part has nothing of it.
   * Rejects as reading the record does.
   */
  lookUp(id: string, whole: boolean): Promise<number | undefined> {
    const found = this.#turn.then(() => this.known(id) ?? this.#search(id, whole));
    this.#turn = found.catch(() => {});
    return found;
  }

  async #search(id: string, whole: boolean): Promise<number | undefined> {
    if (!whole && this.#from <= this.#floor) return undefined;
    for await (const { first, tellers } of this.#store.tellersBackwards(this.#from)) {
      // What no longer fits is looked at for this one alone.
      const kept = this.#last.size < MOST_EMITTERS && this.#from === first + tellers.length;
      for (const { emitter, sequence } of [...tellers].reverse()) {
        if (!kept && emitter === id) return sequence;
        if (kept && !this.#last.has(emitter)) this.#last.set(emitter, sequence);
      }
      if (kept) this.#from = first;
      if (this.#last.has(id)) return this.#last.get(id);
      if (!whole && first <= this.#floor) return undefined;
    }
    return 0;
  }
}
