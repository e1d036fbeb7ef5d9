/** Publishes in a thread of its own: what is derived takes as long as what commits, and nobody waits for it. */
import { Worker } from 'node:worker_threads';
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
  /** How much of it is published. */
  readonly size: number;
}

/** More than enough for a window of the journal and the bundles of it; past it the thread ends, and another one goes on where this one began. */
const MAX_HEAP_MB = 256;

const CODED: { readonly [name: string]: new (code: never, message: string) => Error } = { LogError, StorageError, JournalError };

const errorOf = ({ name, code, message }: NonNullable<FromPublisher>): Error => {
  const Coded = CODED[name];
  return Coded === undefined ? new Error(message) : new Coded(code as never, message);
};

export class PublisherThread implements Publishing {
  readonly #directory: string;
  #size: number;
  #worker: Worker | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;

  /** `directory` holds the published log, of this size. */
  constructor(directory: string, size: number) {
    this.#directory = directory;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  async publish(target: Committed, journal: readonly Extent[]): Promise<void> {
    const worker = (this.#worker ??= this.#start());
    this.#waiting = Promise.withResolvers();
    // The process stays for what is under way, and for nothing else of this.
    worker.ref();
    worker.postMessage({ target, journal } satisfies ToPublisher);
    try {
      await this.#waiting.promise;
      this.#size = target.size;
    } finally {
      this.#waiting = undefined;
      worker.unref();
    }
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const start: PublisherStart = { directory: this.#directory, size: this.#size };
    const worker = new Worker(new URL('./publisher.worker.ts', import.meta.url), {
      workerData: start,
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    worker.on('message', (failure: FromPublisher) => {
      if (failure === undefined) this.#waiting?.resolve();
      else this.#waiting?.reject(errorOf(failure));
    });
    worker.on('error', (error) => this.#lose(worker, error));
    worker.on('exit', () => this.#lose(worker, new Error('the thread that publishes has ended')));
    return worker;
  }

  /** The next one begins with what was published last: what this one has done since is done again, and is the same. */
  #lose(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#waiting?.reject(error);
  }
}
