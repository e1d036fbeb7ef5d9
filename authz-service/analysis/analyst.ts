/**
 * Analyses SQL in worker threads, one text at a time in each. PostgreSQL's parser and the walk of its tree are synchronous: a worker that does
 * not answer in time is ended, and another takes its place.
 */
import { Worker } from 'node:worker_threads';
import { type StartBounds, started, startedAgain, watchWork } from '../working_time.ts';
import type { Analysis, Prepared } from './analyse.ts';
import type { Catalog, SensitiveColumns } from './catalog.ts';
import { AnalysisError } from './error.ts';
import type { Origin } from './model.ts';
import type { FromWorker, Knowledge, ToWorker } from './worker.ts';

export interface Analyst {
  /** @param prepared what the names of prepared statements may mean @throws {AnalysisError} and nothing else */
  analyse(text: string, catalog: Catalog, sensitive: SensitiveColumns, prepared?: Prepared): Promise<Analysis>;
  /** Every column of the catalog whose values are or may be sensitive, those of views included. @throws {AnalysisError} */
  origins(catalog: Catalog, sensitive: SensitiveColumns): Promise<readonly Origin[]>;
  close(): Promise<void>;
  /** Workers that serve, and texts that wait for one. */
  load(): { readonly workers: number; readonly waiting: number };
}

export interface AnalystOptions {
  /** 2 by default. */
  readonly workers?: number;
  /** The longest analysis of a text, milliseconds of the processor's time; 500 by default. */
  readonly timeoutMs?: number;
  readonly onIncident?: (reason: string) => void;
  /** Another worker than ours: for tests. */
  readonly code?: URL;
}

interface Job {
  readonly message: Extract<ToWorker, { kind: 'analyse' | 'origins' }>;
  readonly knowledge: Knowledge;
  readonly timeoutMs: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: AnalysisError) => void;
  patience?: NodeJS.Timeout;
}

const WORKER = new URL('./worker.ts', import.meta.url);
const TIMEOUT_MS = 500;
/** Views of a whole catalog, once for each reading of it. */
const ORIGINS_TIMEOUT_MS = 20_000;
const PATIENCE_MS = 5_000;
const MOST_WAITING = 2_000;
const START: StartBounds = { workMs: 10_000, starvedMs: 60_000 };
const RESTART_PAUSE_MS = 200;
/** Catalogs that a worker keeps. */
const MOST_KNOWN = 8;

/** @throws when no worker can be started */
export async function createAnalyst(options: AnalystOptions = {}): Promise<Analyst> {
  const pool = new Pool(options);
  await pool.start();
  return pool;
}

class Pool implements Analyst {
  readonly #options: AnalystOptions;
  readonly #lanes = new Set<Lane>();
  readonly #queue: Job[] = [];
  readonly #keys = new WeakMap<Catalog, WeakMap<SensitiveColumns, { readonly key: number; readonly knowledge: Knowledge }>>();
  #lastKey = 0;
  #closed = false;

  constructor(options: AnalystOptions) {
    this.#options = options;
  }

  get #wanted(): number {
    return this.#options.workers ?? 2;
  }

  async start(): Promise<void> {
    const recruited = await Promise.allSettled(Array.from({ length: this.#wanted }, () => startedAgain(() => this.#recruit())));
    const failed = recruited.find((result) => result.status === 'rejected');
    if (!failed) return;
    await this.close();
    throw failed.reason;
  }

  analyse(text: string, catalog: Catalog, sensitive: SensitiveColumns, prepared?: Prepared): Promise<Analysis> {
    const { key, knowledge } = this.#known(catalog, sensitive);
    return this.#ask(
      { kind: 'analyse', key, text, ...(prepared && { prepared }) },
      knowledge,
      this.#options.timeoutMs ?? TIMEOUT_MS,
    ) as Promise<Analysis>;
  }

  origins(catalog: Catalog, sensitive: SensitiveColumns): Promise<readonly Origin[]> {
    const { key, knowledge } = this.#known(catalog, sensitive);
    return this.#ask({ kind: 'origins', key }, knowledge, ORIGINS_TIMEOUT_MS) as Promise<readonly Origin[]>;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#queue.splice(0)) this.#refuse(job, new AnalysisError('timeout', 'the analysis has ended'));
    await Promise.all([...this.#lanes].map((lane) => lane.end()));
    this.#lanes.clear();
  }

  load(): { readonly workers: number; readonly waiting: number } {
    return { workers: this.#lanes.size, waiting: this.#queue.length };
  }

  #known(catalog: Catalog, sensitive: SensitiveColumns): { readonly key: number; readonly knowledge: Knowledge } {
    let of = this.#keys.get(catalog);
    if (!of) this.#keys.set(catalog, (of = new WeakMap()));
    let known = of.get(sensitive);
    if (!known) of.set(sensitive, (known = { key: ++this.#lastKey, knowledge: { catalog: catalog.data, sensitive: sensitive.patterns } }));
    return known;
  }

  #ask(message: Job['message'], knowledge: Knowledge, timeoutMs: number): Promise<unknown> {
    if (this.#closed) return Promise.reject(new AnalysisError('timeout', 'the analysis has ended'));
    if (this.#queue.length >= MOST_WAITING)
      return Promise.reject(new AnalysisError('timeout', 'too many statements wait for their analysis'));
    return new Promise((resolve, reject) => {
      const job: Job = { message, knowledge, timeoutMs, resolve, reject };
      this.#queue.push(job);
      this.#flush();
      if (this.#queue.includes(job)) job.patience = setTimeout(() => this.#giveUp(job), PATIENCE_MS);
    });
  }

  #giveUp(job: Job): void {
    const at = this.#queue.indexOf(job);
    if (at < 0) return;
    this.#queue.splice(at, 1);
    job.reject(new AnalysisError('timeout', 'no analysis worker was free in time'));
  }

  #refuse(job: Job, error: AnalysisError): void {
    clearTimeout(job.patience);
    job.reject(error);
  }

  #flush(): void {
    for (const lane of this.#lanes) {
      if (lane.busy) continue;
      const job = this.#queue.shift();
      if (!job) return;
      clearTimeout(job.patience);
      lane.run(job);
    }
  }

  async #recruit(): Promise<void> {
    const lane = await Lane.start(this.#options.code ?? WORKER, {
      idle: () => this.#flush(),
      ended: (ended, reason) => this.#replace(ended, reason),
    });
    if (this.#closed) return lane.end();
    this.#lanes.add(lane);
    this.#flush();
  }

  #replace(lane: Lane, reason: string | undefined): void {
    if (!this.#lanes.delete(lane) || this.#closed) return;
    if (reason !== undefined) this.#options.onIncident?.(reason);
    void this.#recruitAgain();
  }

  async #recruitAgain(): Promise<void> {
    while (!this.#closed && this.#lanes.size < this.#wanted) {
      try {
        await this.#recruit();
        return;
      } catch (error) {
        this.#options.onIncident?.(error instanceof Error ? error.message : String(error));
        await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE_MS).unref());
      }
    }
  }
}

interface LaneEvents {
  readonly idle: () => void;
  /** It serves no more; without a reason when it has merely done its share. */
  readonly ended: (lane: Lane, reason: string | undefined) => void;
}

class Lane {
  readonly #worker: Worker;
  readonly #events: LaneEvents;
  readonly #known = new Set<number>();
  #job: Job | undefined;
  #unwatch = (): void => {};
  #ended = false;

  private constructor(code: URL, events: LaneEvents) {
    this.#events = events;
    this.#worker = new Worker(code, { env: {}, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 512, stackSizeMb: 4 } });
    let reason = 'an analysis worker has ended';
    this.#worker.on(
      'error',
      (error: unknown) => (reason = `an analysis worker failed: ${error instanceof Error ? error.message : String(error)}`),
    );
    this.#worker.on('exit', () => this.#stop('the statement could not be analysed', reason));
    this.#worker.on('message', (message: FromWorker) => this.#settle(message));
  }

  static async start(code: URL, events: LaneEvents): Promise<Lane> {
    const lane = new Lane(code, events);
    try {
      await started(lane.#worker, 'an analysis worker', START);
      return lane;
    } catch (error) {
      await lane.end();
      throw error;
    }
  }

  get busy(): boolean {
    return this.#job !== undefined || this.#ended;
  }

  run(job: Job): void {
    this.#job = job;
    this.#teach(job);
    this.#worker.postMessage(job.message satisfies ToWorker);
    this.#unwatch = watchWork(this.#worker, job.timeoutMs, () => {
      this.#stop('the statement took too long to analyse', `an analysis took longer than ${job.timeoutMs} ms`);
      void this.#worker.terminate();
    });
  }

  async end(): Promise<void> {
    this.#ended = true;
    this.#unwatch();
    this.#job?.reject(new AnalysisError('timeout', 'the analysis has ended'));
    this.#job = undefined;
    await this.#worker.terminate();
  }

  #teach({ message: { key }, knowledge }: Job): void {
    const known = this.#known.delete(key);
    this.#known.add(key);
    if (known) return;
    const [oldest] = this.#known;
    if (this.#known.size > MOST_KNOWN && oldest !== undefined) {
      this.#known.delete(oldest);
      this.#worker.postMessage({ kind: 'forget', key: oldest } satisfies ToWorker);
    }
    this.#worker.postMessage({ kind: 'learn', key, knowledge } satisfies ToWorker);
  }

  #settle(message: FromWorker): void {
    const job = this.#job;
    if (message.kind === 'ready' || !job) return;
    this.#unwatch();
    this.#job = undefined;
    if (message.kind === 'done') job.resolve(message.value);
    else job.reject(new AnalysisError(message.code, message.message, message.position));
    if (!message.spent) {
      this.#events.idle();
      return;
    }
    this.#stop('', undefined);
    void this.#worker.terminate();
  }

  #stop(said: string, reason: string | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unwatch();
    this.#job?.reject(new AnalysisError('timeout', said));
    this.#job = undefined;
    this.#events.ended(this, reason);
  }
}
