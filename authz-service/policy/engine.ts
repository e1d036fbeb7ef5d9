/**
 * Evaluates the policy in worker threads, in batches, watched. Evaluation is synchronous inside WASM, so nothing but ending its thread
 * stops one that hangs: its neighbours in the batch are given to another worker after a short slice, and at the time-out the
 * worker is ended and a warm spare takes its place.
 */
import type { Evaluation } from '../decision/ports.ts';
import { type StartBounds, startedAgain } from '../working_time.ts';
import { groundedIn, type Reads } from './basis.ts';
import { LARGEST_INPUT, MOST_JOBS } from './channel.ts';
import { type Parsed, parseResultSet } from './document.ts';
import { type Answer, type Job, Lane, type LaneEvents } from './lane.ts';

export interface EngineOptions {
  readonly wasm: Uint8Array<ArrayBuffer>;
  readonly data: unknown;
  /** sha256 of the bundle, hexadecimal; told with each decision. */
  readonly revision: string;
  /** What the policy reads of its input, where that is known. */
  readonly reads?: Reads;
  readonly workers: number;
  /** Workers kept warm to take the place of one that hangs; 1 by default. */
  readonly spares?: 0 | 1;
  /** The longest evaluation, milliseconds of the processor's time. */
  readonly timeoutMs: number;
  readonly onIncident?: (incident: Incident) => void;
  /** Another worker than ours, and how long it may take to start: for tests. */
  readonly code?: URL;
  readonly start?: StartBounds;
}

export interface Incident {
  readonly kind: 'timed_out' | 'crashed' | 'start_failed';
  readonly reason: string;
}

export interface Load {
  /** Workers that serve. */
  readonly workers: number;
  /** Of these, how many evaluate at this moment. */
  readonly busy: number;
  /** Evaluations that wait for a worker. */
  readonly waiting: number;
}

export interface Engine {
  readonly revision: string;
  /** @param inputJson the policy's input. Never rejects. */
  evaluate(inputJson: string): Promise<Evaluation>;
  /** Lets what was begun come to its end, then ends the workers. */
  close(): Promise<void>;
  /** What readiness and metrics tell. */
  load(): Load;
}

const WORKER = new URL('./worker.ts', import.meta.url);

/** How long a batch may stand at one job before the others are given to another worker. */
const SLICE_MS = 15;
const LOOK_MS = 5;
/** A job that no worker has taken for so long is refused. On a machine that others keep busy it may well be some seconds. */
const PATIENCE_MS = 5_000;
const MOST_WAITING = 20_000;
/** More than this are spread over the idle workers. */
const LEAST_WORTH_SPREADING = 8;
const RESTART_PAUSE_MS = 100;
const MOST_PARSED = 2_048;
const LARGEST_KEPT = 8_192;

const CODES = {
  threw: 'policy_error',
  crashed: 'policy_error',
  timed_out: 'policy_timeout',
  overloaded: 'policy_overloaded',
  closed: 'policy_error',
} as const;

/** @throws when the policy cannot be instantiated */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const pool = new Pool(await WebAssembly.compile(options.wasm), options);
  await pool.start();
  return pool;
}

class Pool implements Engine {
  readonly revision: string;
  readonly #module: WebAssembly.Module;
  readonly #options: EngineOptions;
  readonly #mostLanes: number;
  readonly #spares: number;
  readonly #lanes = new Set<Lane>();
  readonly #queue: Job[] = [];
  /** Few different decisions answer most requests: they are parsed once. */
  readonly #parsed = new Map<string, Parsed>();
  /** Warm, and not asked: one at least, and whatever a jam once needed. */
  readonly #bench: Lane[] = [];
  #starting = 0;
  #open = 0;
  #flushing = false;
  #closing: (() => void) | undefined;
  #closed = false;
  #watch: NodeJS.Timeout | undefined;

  constructor(module: WebAssembly.Module, options: EngineOptions) {
    this.#module = module;
    this.#options = options;
    this.revision = options.revision;
    this.#spares = options.spares ?? 1;
    this.#mostLanes = 2 * options.workers + 2;
  }

  async start(): Promise<void> {
    const started = await Promise.allSettled(
      Array.from({ length: this.#options.workers + this.#spares }, () => startedAgain(() => this.#startLane())),
    );
    const failed = started.find((result) => result.status === 'rejected');
    const lanes = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    if (failed) {
      await Promise.all(lanes.map((lane) => lane.end()));
      throw failed.reason;
    }
    this.#bench.push(...lanes.splice(this.#options.workers));
    for (const lane of lanes) this.#lanes.add(lane);
  }

  evaluate(input: string): Promise<Evaluation> {
    const refusal = this.#refusal(input);
    if (refusal) return Promise.resolve(this.#evaluation(refusal));
    this.#open++;
    return new Promise((resolve) => {
      const settle = (answer: Answer): void => {
        resolve(this.#evaluation(answer));
        if (--this.#open === 0) this.#closing?.();
      };
      this.#queue.push({ input, since: performance.now(), settle });
      // All requests of one turn of the event loop make one batch.
      if (!this.#flushing) {
        this.#flushing = true;
        setImmediate(this.#flush);
      }
    });
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      if (this.#open > 0) await new Promise<void>((resolve) => (this.#closing = resolve));
    }
    clearInterval(this.#watch);
    const lanes = [...this.#lanes, ...this.#bench.splice(0)];
    this.#lanes.clear();
    await Promise.all(lanes.map((lane) => lane.end()));
  }

  load(): Load {
    const busy = [...this.#lanes].filter((lane) => lane.busy).length;
    return { workers: this.#lanes.size, busy, waiting: this.#queue.length };
  }

  #refusal(input: string): Answer | undefined {
    if (this.#closed) return { kind: 'closed', reason: 'the policy is being replaced or the service ends' };
    if (this.#queue.length >= MOST_WAITING) return { kind: 'overloaded', reason: 'too many requests wait for the policy' };
    if (input.length > LARGEST_INPUT / 3 && Buffer.byteLength(input) > LARGEST_INPUT)
      return { kind: 'threw', reason: 'the request is too large for the policy' };
    return undefined;
  }

  #evaluation(answer: Answer): Evaluation {
    if (answer.kind !== 'answered') return { ok: false, code: CODES[answer.kind], reason: answer.reason };
    const parsed = this.#parse(answer.text);
    return parsed.ok ? { ok: true, decision: parsed.decision, revision: this.revision, micros: answer.micros } : parsed;
  }

  #parse(text: string): Parsed {
    const known = this.#parsed.get(text);
    if (known) return known;
    const parsed = groundedIn(this.#options.reads, parseResultSet(text));
    if (text.length > LARGEST_KEPT) return parsed;
    if (this.#parsed.size === MOST_PARSED) this.#parsed.delete(this.#parsed.keys().next().value ?? '');
    this.#parsed.set(text, parsed);
    return parsed;
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (this.#queue.length === 0) return;
    const idle = [...this.#lanes].filter((lane) => !lane.busy);
    for (const [i, lane] of idle.entries()) {
      if (this.#queue.length === 0) break;
      lane.send(this.#queue, Math.max(LEAST_WORTH_SPREADING, Math.min(MOST_JOBS, Math.ceil(this.#queue.length / (idle.length - i)))));
    }
    if (this.#queue.length > 0) this.#reinforce();
    this.#watch ??= setInterval(this.#look, LOOK_MS);
  };

  readonly #look = (): void => {
    const now = performance.now();
    const { timeoutMs } = this.#options;
    let busy = false;
    for (const lane of [...this.#lanes]) {
      if (!lane.busy) continue;
      busy = true;
      if (lane.collect()) continue;
      if (lane.suspect || lane.age(now) < Math.min(SLICE_MS, timeoutMs)) continue;
      const overdue = (): void => this.#endLane(lane, 'timed_out', `the policy took longer than ${timeoutMs} ms`);
      this.#queue.unshift(...lane.takeBack(Math.max(1, timeoutMs - SLICE_MS), overdue));
    }
    while (this.#queue[0] && now - this.#queue[0].since > PATIENCE_MS + timeoutMs) {
      this.#queue.shift()?.settle({ kind: 'overloaded', reason: 'no decision worker was free in time' });
    }
    this.#flush();
    if (busy || this.#queue.length > 0) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
  };

  /** Its running job is lost; those behind it are evaluated by another. */
  #endLane(lane: Lane, kind: 'timed_out' | 'crashed', reason: string): void {
    this.#lanes.delete(lane);
    if (this.#bench.includes(lane)) this.#bench.splice(this.#bench.indexOf(lane), 1);
    lane.collect();
    const [lost, ...others] = lane.unanswered();
    void lane.end();
    lost?.settle({ kind, reason });
    this.#queue.unshift(...others);
    this.#options.onIncident?.({ kind, reason });
    this.#refill();
  }

  /** All workers stand at jobs that take too long: more of them, up to a bound. */
  #reinforce(): void {
    if (![...this.#lanes].every((lane) => lane.suspect) || this.#lanes.size >= this.#mostLanes) return;
    if (this.#substitute()) this.#refill();
  }

  /** As many lanes as were asked for, and one on the bench. */
  #refill(): void {
    if (this.#closed && this.#open === 0) return;
    if (this.#lanes.size < this.#options.workers) this.#substitute();
    const wanted = Math.max(0, this.#options.workers - this.#lanes.size) + Math.max(0, this.#spares - this.#bench.length) - this.#starting;
    for (let i = 0; i < wanted; i++) void this.#recruit();
  }

  /** @returns whether there was one on the bench, which serves now */
  #substitute(): boolean {
    const lane = this.#bench.pop();
    if (!lane) return false;
    this.#lanes.add(lane);
    this.#scheduleFlush();
    return true;
  }

  /**
   * A lane that was added against a jam is not needed once it is idle again, but stays at hand: on a machine so busy that workers seem to hang, ending it and starting
   * another for the next jam would make the jams.
   */
  #dismiss(lane: Lane): void {
    if (this.#lanes.size <= this.#options.workers || this.#queue.length > 0) return;
    this.#lanes.delete(lane);
    this.#bench.push(lane);
  }

  async #recruit(): Promise<void> {
    this.#starting++;
    try {
      const lane = await this.#startLane();
      this.#starting--;
      if (this.#closed && this.#open === 0) return void lane.end();
      if (this.#lanes.size < this.#options.workers) this.#lanes.add(lane);
      else this.#bench.push(lane);
      this.#scheduleFlush();
    } catch (error) {
      this.#options.onIncident?.({ kind: 'start_failed', reason: error instanceof Error ? error.message : String(error) });
      await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE_MS).unref());
      this.#starting--;
      this.#refill();
    }
  }

  #scheduleFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(this.#flush);
  }

  #startLane(): Promise<Lane> {
    const { code = WORKER, data, start } = this.#options;
    const events: LaneEvents = {
      idle: (lane) => {
        this.#dismiss(lane);
        this.#flush();
      },
      ended: (lane, reason) => this.#endLane(lane, 'crashed', reason),
    };
    return Lane.start(code, this.#module, data, events, start);
  }
}
