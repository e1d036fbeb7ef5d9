/** Publishes in a thread of its own: what is derived takes as long as what commits, and nobody waits for it. */
import { AskedThread } from '../asked_thread.ts';
import { JournalError } from '../journal/error.ts';
import type { Extent } from '../journal/segment.ts';
import { StorageError } from '../storage/object_store.ts';
import { LogError } from './error.ts';
import type { Committed, Publishing } from './publisher.ts';

export interface ToPublisher {
  readonly target: Committed;
  readonly journal: readonly Extent[];
}

/** `undefined`: it is published. */
export type FromPublisher = { readonly name: string; readonly code: string | undefined; readonly message: string } | undefined;

export interface PublisherStart {
  /** Where the published log stands. */
  readonly directory: string;
}

/** More than enough for a window of the journal and the bundles of it; past it the thread ends, and another one goes on where this one began. */
const MAX_HEAP_MB = 256;

const CODED: { readonly [name: string]: new (code: never, message: string) => Error } = { LogError, StorageError, JournalError };

const errorOf = ({ name, code, message }: NonNullable<FromPublisher>): Error => {
  const Coded = CODED[name];
  return Coded === undefined ? new Error(message) : new Coded(code as never, message);
};

export class PublisherThread implements Publishing {
  /** One that has ended is followed by one that goes on from the published checkpoint. */
  readonly #thread: AskedThread<ToPublisher, FromPublisher>;
  #size: number;

  /** `directory` holds the published log, of this size. */
  constructor(directory: string, size: number) {
    this.#size = size;
    this.#thread = new AskedThread({
      code: new URL('./publisher.worker.ts', import.meta.url),
      start: () => ({ directory }) satisfies PublisherStart,
      maxHeapMb: MAX_HEAP_MB,
      ended: 'the thread that publishes has ended',
    });
  }

  get size(): number {
    return this.#size;
  }

  async publish(target: Committed, journal: readonly Extent[]): Promise<void> {
    const failure = await this.#thread.ask({ target, journal });
    if (failure !== undefined) throw errorOf(failure);
    this.#size = target.size;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}
