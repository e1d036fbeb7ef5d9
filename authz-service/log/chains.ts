/** Where each session's events stand: what the next leaf of a session says of the one before. */

import type { Subject } from './leaf.ts';

export interface Chain {
  /** The index of the session's newest leaf. */
  readonly index: number;
  /** Which one of its session's events that is, from 1. */
  readonly position: number;
}

/**
 * Finds the durable events of the session that `subject` is of, when it has not been heard of for long; `undefined`: there are none, because it begins or because
 * it is of no session that was ever heard of. What it answers is signed, so it must come of the log itself; what it throws, staging throws, and nothing is staged.
 */
export type FindChain = (subject: Subject) => Chain | undefined;

/** Sessions of one generation. Two are kept, so at least the last as many sessions are known without asking. */
const GENERATION = 32_768;

export class Chains {
  readonly #find: FindChain;
  #young = new Map<string, Chain>();
  #old = new Map<string, Chain>();
  /** The size of the log when the last generation began. */
  #since = 0;

  constructor(find: FindChain) {
    this.#find = find;
  }

  get(subject: Subject): Chain | undefined {
    const { session } = subject;
    return this.#young.get(session) ?? this.#old.get(session) ?? this.#find(subject);
  }

  /** `durable`: the size of the log that is durable. What is forgotten must be, because nobody else knows of the rest. */
  set(session: string, chain: Chain, durable: number): void {
    if (this.#young.size >= GENERATION && durable >= this.#since) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#since = chain.index;
    }
    this.#young.set(session, chain);
  }

  /** Takes back what a lost event had changed. */
  restore(session: string, chain: Chain | undefined): void {
    if (chain !== undefined) this.#young.set(session, chain);
    else {
      this.#young.delete(session);
      this.#old.delete(session);
    }
  }
}
