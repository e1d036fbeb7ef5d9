/**
 * A store that nothing is written to before it has shown that it keeps what was asked of it. One that was away has to show it again when it is back, for what
 * answers there then may be another: it is not known that it locks. Until then whoever would write is refused, and what is to be written stays where it is.
 */
import { type ObjectStore, type PutOptions, StorageError } from '../storage/object_store.ts';

/** `away`: not seen yet, or not reached at the last attempt. `unfit`: it was, and has not what was asked of it. */
export type Standing = { readonly state: 'proven' } | { readonly state: 'away' | 'unfit'; readonly reason: string };

export interface ProvenStoreOptions {
  /** Told each time that it stands otherwise than before. */
  readonly changed?: (standing: Standing) => void;
  /** How long one that was unfit is not tried again. Milliseconds, default 60,000. */
  readonly againMs?: number;
  /** A clock that nobody sets. Milliseconds. */
  readonly monotonic?: () => number;
}

export class ProvenStore implements ObjectStore {
  readonly url: string;
  readonly #store: ObjectStore;
  readonly #options: Required<ProvenStoreOptions>;
  /** Writes under way: a proof waits for them, for it also clears up after those that were broken off. */
  readonly #writes = new Set<Promise<unknown>>();
  #standing: Standing = { state: 'away', reason: 'it was not tried yet' };
  #unfit: { readonly error: unknown; readonly at: number } | undefined;
  #proving: Promise<void> | undefined;

  constructor(store: ObjectStore, options: ProvenStoreOptions = {}) {
    this.#store = store;
    this.#options = { changed: () => {}, againMs: 60_000, monotonic: () => performance.now(), ...options };
    this.url = store.url;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** What was seen to hold, one short line each. */
  get proven(): readonly string[] {
    return (this.#store as { proven?: readonly string[] }).proven ?? [];
  }

  /** Tries the store unless it is proven. Rejects with a `StorageError`: `unavailable` when it is away, any other code when it is unfit. */
  verify(): Promise<void> {
    if (this.#standing.state === 'proven') return Promise.resolve();
    if (this.#unfit !== undefined && this.#options.monotonic() - this.#unfit.at < this.#options.againMs)
      return Promise.reject(this.#unfit.error);
    this.#proving ??= this.#prove().finally(() => {
      this.#proving = undefined;
    });
    return this.#proving;
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<'stored' | 'exists'> {
    return this.#write(() => this.#store.put(key, bytes, options));
  }

  settle(): Promise<void> {
    return this.#write(() => this.#store.settle());
  }

  delete(key: string): Promise<void> {
    return this.#write(() => this.#store.delete(key));
  }

  hold(key: string, on: boolean): Promise<void> {
    return this.#write(() => this.#store.hold(key, on));
  }

  async get(key: string, range?: { readonly from: number; readonly to: number }): Promise<Buffer | undefined> {
    return await this.#store.get(key, range).catch((error: unknown) => this.#failed(error));
  }

  async *list(prefix: string, after?: string): AsyncGenerator<string> {
    try {
      yield* this.#store.list(prefix, after);
    } catch (error) {
      this.#failed(error);
    }
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #write<Result>(write: () => Promise<Result>): Promise<Result> {
    await this.verify();
    const running = write();
    this.#writes.add(running);
    try {
      return await running;
    } catch (error) {
      return this.#failed(error);
    } finally {
      this.#writes.delete(running);
    }
  }

  #failed(error: unknown): never {
    if (isAway(error) && this.#standing.state === 'proven') this.#stand({ state: 'away', reason: error.message });
    throw error;
  }

  async #prove(): Promise<void> {
    await Promise.allSettled(this.#writes);
    try {
      await this.#store.verify();
    } catch (error) {
      const reason = (error as Error).message;
      this.#unfit = isAway(error) ? undefined : { error, at: this.#options.monotonic() };
      this.#stand({ state: isAway(error) ? 'away' : 'unfit', reason });
      throw error;
    }
    this.#unfit = undefined;
    this.#stand({ state: 'proven' });
  }

  #stand(standing: Standing): void {
    const before = this.#standing;
    this.#standing = standing;
    if (before.state !== standing.state) this.#options.changed(standing);
  }
}

/** A full store is as one that is away: it says nothing of what it keeps. */
const isAway = (error: unknown): error is StorageError =>
  error instanceof StorageError && (error.code === 'unavailable' || error.code === 'full');
