/** The policy in force: built and probed at the start, and again whenever its files change. A bad one never replaces a good one. */
import type { Evaluation, PolicyPort } from '../decision/ports.ts';
import { buildBundle, type PolicySource, stampOf } from './compile.ts';
import { createEngine, type Engine, type Incident, type Load } from './engine.ts';
import { probe } from './probe.ts';

export interface PolicyOptions extends PolicySource {
  readonly timeoutMs: number;
  readonly workers: number;
  readonly onIncident?: (incident: Incident) => void;
  /** A changed policy is in force: every evaluation from now on is by it. May not reject; the reload is done when it has resolved. */
  readonly onReloaded?: (revision: string) => unknown;
  /** A changed policy was refused; the old one stays in force. */
  readonly onRefused?: (error: Error) => void;
  /** How often the files are looked at, milliseconds; by default 500. A change is taken when two looks have found the same: it may be of several files. */
  readonly lookEveryMs?: number;
}

export interface Policy extends PolicyPort {
  readonly revision: string;
  load(): Load;
  /** Builds from the files as they are now. `true`: what they say is in force for every later evaluation. `false`: refused. */
  reload(): Promise<boolean>;
  close(): Promise<void>;
}

/** @throws {PolicyBuildError} when there is no good policy to begin with */
export async function startPolicy(options: PolicyOptions): Promise<Policy> {
  const stamp = await stampOf(options);
  return new Reloading(options, stamp, await start(options));
}

/** @param inForce an engine that already serves this revision makes a new one unnecessary */
async function start(options: PolicyOptions, inForce?: Engine): Promise<Engine> {
  const bundle = await buildBundle(options);
  if (bundle.revision === inForce?.revision) return inForce;
  await probe(bundle);
  const { workers, timeoutMs, onIncident } = options;
  return createEngine({ ...bundle, workers, timeoutMs, ...(onIncident && { onIncident }) });
}

/** Looks by itself: watches of the system do not reach network file systems and switched links, and lose files that are replaced. */
class Reloading implements Policy {
  readonly #options: PolicyOptions;
  readonly #looking: NodeJS.Timeout;
  #engine: Engine;
  /** What the files were when they were last built, well or badly, and when they were last looked at. */
  #built: string;
  #seen: string;
  /** One step after another, so that the last change is the one in force. */
  #last: Promise<unknown> = Promise.resolve();
  #retired: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: PolicyOptions, stamp: string, engine: Engine) {
    this.#options = options;
    this.#built = this.#seen = stamp;
    this.#engine = engine;
    let busy = false;
    this.#looking = setInterval(() => {
      if (busy) return;
      busy = true;
      void this.#next(() => this.#look()).finally(() => (busy = false));
    }, options.lookEveryMs ?? 500).unref();
  }

  get revision(): string {
    return this.#engine.revision;
  }

  load(): Load {
    return this.#engine.load();
  }

  evaluate(inputJson: string): Promise<Evaluation> {
    return this.#engine.evaluate(inputJson);
  }

  reload(): Promise<boolean> {
    return this.#next(() => this.#rebuild());
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#looking);
    await this.#last;
    await Promise.all([this.#retired, this.#engine.close()]);
  }

  #next(step: () => Promise<boolean>): Promise<boolean> {
    const done = this.#last.then(step);
    this.#last = done;
    return done;
  }

  async #look(): Promise<boolean> {
    const now = await stampOf(this.#options);
    const settled = now === this.#seen;
    this.#seen = now;
    return now === this.#built || !settled || this.#rebuild();
  }

  async #rebuild(): Promise<boolean> {
    if (this.#closed) return false;
    try {
      // Taken before the files are read: a change while they are gives another stamp at the next look.
      this.#built = await stampOf(this.#options);
      const engine = await start(this.#options, this.#engine);
      if (engine === this.#engine) return true;
      const before = this.#engine;
      this.#engine = engine;
      this.#retired = Promise.all([this.#retired, before.close()]);
      await this.#options.onReloaded?.(engine.revision);
      return true;
    } catch (error) {
      this.#options.onRefused?.(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
  }
}
