/** One decision worker as the engine sees it: what it was given, how far it is, and since when it has been at the same job. */
import { Worker } from 'node:worker_threads';
import { type StartBounds, StartError, started, watchWork } from '../working_time.ts';
import { ANSWER_HEADER, ANSWERED, BELL, COUNT, DONE, INPUT_HEADER, LIMIT, MOST_JOBS, openChannel, type WorkerData } from './channel.ts';

/** A start is no decision: on a busy machine it may take as long as it does, and only a policy that does not end works for so long. */
const START: StartBounds = { workMs: 5_000, starvedMs: 60_000 };
/** Of UTF-8, for one code unit of UTF-16. */
const MOST_BYTES_OF_CHARACTER = 3;

export interface Job {
  readonly input: string;
  /** Milliseconds, as `performance.now` has them. */
  readonly since: number;
  readonly settle: (answer: Answer) => void;
}

export type Answer =
  | { readonly kind: 'answered'; readonly text: string; readonly micros: number }
  | { readonly kind: 'threw' | 'crashed' | 'timed_out' | 'overloaded' | 'closed'; readonly reason: string };

export interface LaneEvents {
  /** The batch is done, or as much of it as was left to the lane. */
  readonly idle: (lane: Lane) => void;
  /** The worker has ended by itself; its jobs are still in `unanswered`. */
  readonly ended: (lane: Lane, reason: string) => void;
}

export class Lane {
  readonly #worker: Worker;
  readonly #channel = openChannel();
  readonly #answers = Buffer.from(this.#channel.answers);
  #inputs = Buffer.from(this.#channel.inputs);
  #jobs: Job[] = [];
  #settled = 0;
  #read = 0;
  #since = 0;
  #started = false;
  #ended = false;
  #suspect: (() => void) | undefined;

  private constructor(code: URL, module: WebAssembly.Module, data: unknown, events: LaneEvents) {
    // Without environment: a policy has no business there.
    this.#worker = new Worker(code, {
      workerData: { module, data, ...this.#channel } satisfies WorkerData,
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    });
    let reason = 'the decision worker has ended';
    this.#worker.on('error', (error: Error) => (reason = `the decision worker failed: ${error.message}`));
    this.#worker.on('exit', () => {
      if (this.#ended || !this.#started) return;
      this.#ended = true;
      this.#trust();
      events.ended(this, reason);
    });
    this.#worker.on('message', () => {
      if (this.#ended || this.#jobs.length === 0) return;
      this.collect();
      this.#jobs = [];
      this.#trust();
      events.idle(this);
    });
  }

  /** @param code what the worker runs @returns a lane whose worker has its policy instantiated @throws {StartError} when the worker cannot start */
  static async start(code: URL, module: WebAssembly.Module, data: unknown, events: LaneEvents, bounds = START): Promise<Lane> {
    const lane = new Lane(code, module, data, events);
    try {
      await started(lane.#worker, 'a decision worker', bounds);
    } catch (error) {
      lane.#ended = true;
      const endless = error instanceof StartError && !error.again;
      throw endless ? new StartError(`${error.message}: does the policy end?`, false) : error;
    }
    lane.#started = true;
    return lane;
  }

  get busy(): boolean {
    return this.#jobs.length > 0;
  }

  /** One job of the batch has taken longer than its slice, and the others were taken back. */
  get suspect(): boolean {
    return this.#suspect !== undefined;
  }

  /** Milliseconds for which the running job has been seen to run. */
  age(now: number): number {
    return now - this.#since;
  }

  /** Hands over a batch from the front of `queue`. The lane must be idle. */
  send(queue: Job[], most: number): void {
    let size = 0;
    let count = 0;
    for (const { input } of queue) {
      if (count === Math.min(most, MOST_JOBS)) break;
      // Only where there is no room for the longest that it could be is it worth counting its bytes apart.
      const fits = size + INPUT_HEADER + MOST_BYTES_OF_CHARACTER * input.length <= this.#inputs.length;
      if (!fits && !this.#reserve(size + INPUT_HEADER + Buffer.byteLength(input))) break;
      const length = this.#inputs.write(input, size + INPUT_HEADER);
      this.#inputs.writeInt32LE(length, size);
      size += INPUT_HEADER + length;
      count++;
    }
    this.#jobs = queue.splice(0, count);
    this.#settled = this.#read = 0;
    this.#since = performance.now();
    const { control } = this.#channel;
    control[COUNT] = control[LIMIT] = count;
    control[DONE] = 0;
    Atomics.add(control, BELL, 1);
    Atomics.notify(control, BELL);
  }

  /** Settles what has been answered since the last look. @returns whether that was anything */
  collect(): boolean {
    const done = Math.min(Atomics.load(this.#channel.control, DONE), this.#jobs.length);
    if (done === this.#settled) return false;
    for (; this.#settled < done; this.#settled++) {
      const text = this.#read + ANSWER_HEADER;
      const end = text + this.#answers.readInt32LE(this.#read + 8);
      const content = this.#answers.toString('utf8', text, end);
      const answer: Answer =
        this.#answers.readInt32LE(this.#read) === ANSWERED
          ? { kind: 'answered', text: content, micros: this.#answers.readInt32LE(this.#read + 4) }
          : { kind: 'threw', reason: content };
      this.#read = end;
      this.#jobs[this.#settled]?.settle(answer);
    }
    this.#since = performance.now();
    return true;
  }

  /**
   * Takes back the jobs behind the running one; evaluating is without effect, so one that has begun meanwhile may run twice.
   * @param overdue is called where the running one has then had the processor for `mostMs`
   */
  takeBack(mostMs: number, overdue: () => void): Job[] {
    this.#suspect = watchWork(this.#worker, mostMs, overdue);
    Atomics.store(this.#channel.control, LIMIT, this.#settled + 1);
    return this.#jobs.splice(this.#settled + 1);
  }

  /** The running job and those behind it. */
  unanswered(): Job[] {
    return this.#jobs.slice(this.#settled);
  }

  /** Ends the worker wherever it is, also within the policy. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#trust();
    await this.#worker.terminate();
  }

  #trust(): void {
    this.#suspect?.();
    this.#suspect = undefined;
  }

  /** @returns whether there is room for `size` bytes of inputs */
  #reserve(size: number): boolean {
    if (size <= this.#inputs.length) return true;
    const { inputs } = this.#channel;
    if (size > inputs.maxByteLength) return false;
    inputs.grow(Math.min(Math.max(size, 2 * this.#inputs.length), inputs.maxByteLength));
    this.#inputs = Buffer.from(inputs);
    return true;
  }
}
