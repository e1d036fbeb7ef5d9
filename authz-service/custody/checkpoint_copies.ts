/** Sends the newest checkpoint to other places now and then: whoever takes the gateway over cannot take back what stands there. */
import { setTimeout as sleep } from 'node:timers/promises';
import { keptCheckpointPath } from '../log/publisher.ts';
import type { Caller } from '../storage/call.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { readCheckpoint } from '../tlog/checkpoint.ts';

export interface CheckpointPlace {
  readonly name: string;
  /** Rejects when the checkpoint is not there for certain, or another one of this size is. */
  send(note: string, size: number): Promise<void>;
}

export interface CheckpointCopiesOptions {
  readonly places: readonly CheckpointPlace[];
  readonly newest: () => Promise<string | undefined>;
  /** Milliseconds. */
  readonly everyMs: number;
  readonly onProblem: (error: Error, place: string) => void;
}

/** `retainUntil`: until when a checkpoint is locked there; `undefined`: it is not. */
export const objectPlace = (name: string, store: ObjectStore, retainUntil: () => Date | undefined): CheckpointPlace => ({
  name,
  async send(note, size) {
    const until = retainUntil();
    const key = keptCheckpointPath(size);
    if ((await store.put(key, Buffer.from(note), { ifAbsent: true, ...(until && { retainUntil: until }) })) === 'stored') return;
    const there = await store.get(key);
    if (there === undefined || !readCheckpoint(there).root.equals(readCheckpoint(note).root))
      throw new Error(`${store.url}: ${key} is there already, with another root: two histories of this log have been signed`);
  },
});

/** `authorization`: the header that says who sends it, if it needs one. */
export const httpPlace = (name: string, url: URL, call: Caller, authorization: () => { authorization?: string }): CheckpointPlace => ({
  name,
  async send(note) {
    const headers = { 'content-type': 'text/plain; charset=utf-8', ...authorization() };
    const { status } = await call(() => ({ method: 'POST', url, headers, body: Buffer.from(note) }));
    if (status < 200 || status > 299) throw new Error(`${url.origin} answered a checkpoint with status ${status}`);
  },
});

export class CheckpointCopies {
  readonly #options: CheckpointCopiesOptions;
  readonly #stopped = new AbortController();
  /** The next round is the last one. */
  readonly #ending = new AbortController();
  /** By place: the size that it has, and why the last attempt failed. */
  readonly #states: { readonly place: CheckpointPlace; size: number; failure: string }[];
  #running: Promise<void> | undefined;

  constructor(options: CheckpointCopiesOptions) {
    this.#options = options;
    this.#states = options.places.map((place) => ({ place, size: -1, failure: '' }));
  }

  get statuses(): { readonly name: string; readonly size: number; readonly failure: string }[] {
    return this.#states.map(({ place: { name }, size, failure }) => ({ name, size: Math.max(0, size), failure }));
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Sends what is the newest by now, and then no more. Resolves also when that failed. */
  async finish(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.finish();
  }

  async round(): Promise<void> {
    const note = await this.#options.newest();
    if (note === undefined) return;
    const { size } = readCheckpoint(note);
    await Promise.all(
      this.#states
        .filter((state) => state.size !== size)
        .map(async (state) => {
          try {
            await state.place.send(note, size);
            Object.assign(state, { size, failure: '' });
          } catch (error) {
            const { message } = error as Error;
            if (message !== state.failure && !this.#stopped.signal.aborted) this.#options.onProblem(error as Error, state.place.name);
            state.failure = message;
          }
        }),
    );
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    for (let last = false; !last && !signal.aborted; ) {
      last = this.#ending.signal.aborted;
      await this.round().catch((error: Error) => this.#options.onProblem(error, ''));
      if (!last) await sleep(this.#options.everyMs, undefined, { signal: this.#ending.signal }).catch(() => {});
    }
  }
}
