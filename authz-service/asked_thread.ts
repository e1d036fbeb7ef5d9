/** A worker thread that is asked one thing at a time, and begun when it is first asked: one that has ended is followed by another at the next question. */
import { setPriority } from 'node:os';
import { Worker } from 'node:worker_threads';

/** What it is given up to for those that answer somebody who waits: half of their share when all processors are busy. */
const NICE = 3;

/**
 * Called by a thread that derives what nobody waits for. On Linux a thread has a priority of its own; elsewhere this would be the whole process's, so that nothing is done.
 */
export const giveWay = (): void => {
  if (process.platform !== 'linux') return;
  try {
    setPriority(NICE);
  } catch {
    // Where that is not allowed, all are alike.
  }
};

export interface AskedThreadOptions {
  readonly code: URL;
  /** What it begins with, as of then: its `workerData`. */
  readonly start: () => unknown;
  /** One that runs out of it is followed by one with twice as much, up to four times this. */
  readonly maxHeapMb: number;
  /** What is said when it ends in the middle of a question, and gave no reason. */
  readonly ended: string;
}

/** The thread has ended in the middle of a question. */
export class ThreadEnded extends Error {
  override readonly name = 'ThreadEnded';
}

const MOST_HEAP = 4;

export class AskedThread<Question, Answer> {
  readonly #options: AskedThreadOptions;
  #worker: Worker | undefined;
  #waiting: PromiseWithResolvers<Answer> | undefined;
  #heapMb: number;

  constructor(options: AskedThreadOptions) {
    this.#options = options;
    this.#heapMb = options.maxHeapMb;
  }

  /** Not before the answer to the last one. Rejects with a `ThreadEnded` when the thread ends instead. */
  async ask(question: Question): Promise<Answer> {
    const worker = (this.#worker ??= this.#begin());
    this.#waiting = Promise.withResolvers();
    // The process stays for what is under way, and for nothing else of this.
    worker.ref();
    worker.postMessage(question);
    try {
      return await this.#waiting.promise;
    } finally {
      this.#waiting = undefined;
      worker.unref();
    }
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #begin(): Worker {
    const { code, start, maxHeapMb, ended } = this.#options;
    const heapMb = this.#heapMb;
    const worker = new Worker(code, {
      workerData: start(),
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    });
    worker.on('message', (answer: Answer) => this.#waiting?.resolve(answer));
    worker.on('error', (error: NodeJS.ErrnoException) => {
      const outOfMemory = error.code === 'ERR_WORKER_OUT_OF_MEMORY';
      if (outOfMemory) this.#heapMb = Math.min(2 * heapMb, MOST_HEAP * maxHeapMb);
      const why = outOfMemory ? `it ran out of its ${heapMb} MB of memory` : error.message;
      this.#lose(worker, new ThreadEnded(`${ended}: ${why}`, { cause: error }));
    });
    worker.on('exit', () => this.#lose(worker, new ThreadEnded(ended)));
    return worker;
  }

  #lose(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#waiting?.reject(error);
  }
}
