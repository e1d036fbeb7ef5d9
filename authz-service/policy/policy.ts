/** The policy in force: built and probed at the start, and again whenever its files change. A bad one never replaces a good one. */
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Evaluation, PolicyPort } from '../decision/ports.ts';
import { buildBundle, type PolicySource, stampOf } from './compile.ts';
import { createEngine, type Engine, type Incident } from './engine.ts';
import { probe } from './probe.ts';

export interface PolicyOptions extends PolicySource {
  readonly timeoutMs: number;
  readonly workers: number;
  readonly onIncident?: (incident: Incident) => void;
  /** A changed policy is in force: every evaluation from now on is by it. */
  readonly onReloaded?: (revision: string) => void;
  /** A changed policy was refused; the old one stays in force. */
  readonly onRefused?: (error: Error) => void;
  /** How often the files are looked at beside the watch, which network file systems and switched links escape. Milliseconds, default 1,000. */
  readonly lookEveryMs?: number;
}

export interface Policy extends PolicyPort {
  readonly revision: string;
  load(): ReturnType<Engine['load']>;
  /** Builds from the files as they are now. `true`: what they say is in force for every later evaluation. `false`: refused. */
  reload(): Promise<boolean>;
  close(): Promise<void>;
}

/** Editors and deployments write several files: they are taken together. */
const SETTLE_MS = 100;

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

class Reloading implements Policy {
  readonly #options: PolicyOptions;
  readonly #watchers: FSWatcher[];
  readonly #looking: NodeJS.Timeout;
  /** What the files were when they were last built, well or badly. */
  #stamp: string;
  #engine: Engine;
  #settling: NodeJS.Timeout | undefined;
  /** One build after another, so that the last change is the one in force. */
  #building: Promise<unknown> = Promise.resolve();
  #retired: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: PolicyOptions, stamp: string, engine: Engine) {
    this.#options = options;
    this.#stamp = stamp;
    this.#engine = engine;
    this.#watchers = watched(options).flatMap(({ path, recursive, only }) => {
      try {
        const heard = (_: unknown, name: string | null): void => {
          if (only === undefined || name === only) this.#changed();
        };
        return [watch(path, { recursive, persistent: false }, heard).on('error', () => {})];
      } catch {
        // No watch to be had (a limit of the system): looking finds the change too.
        return [];
      }
    });
    this.#looking = setInterval(() => this.#changed(), options.lookEveryMs ?? 1_000).unref();
  }

  get revision(): string {
    return this.#engine.revision;
  }

  load(): ReturnType<Engine['load']> {
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
    for (const watcher of this.#watchers) watcher.close();
    clearInterval(this.#looking);
    clearTimeout(this.#settling);
    await this.#building;
    await Promise.all([this.#retired, this.#engine.close()]);
  }

  #changed(): void {
    if (this.#closed) return;
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      void this.#next(async () => (await stampOf(this.#options)) === this.#stamp || this.#rebuild());
    }, SETTLE_MS).unref();
  }

  #next(step: () => Promise<boolean>): Promise<boolean> {
    const done = this.#building.then(step);
    this.#building = done;
    return done;
  }

  async #rebuild(): Promise<boolean> {
    if (this.#closed) return false;
    try {
      // Taken before the files are read: a change while they are gives another stamp at the next look.
      this.#stamp = await stampOf(this.#options);
      const engine = await start(this.#options, this.#engine);
      if (engine === this.#engine) return true;
      const before = this.#engine;
      this.#engine = engine;
      this.#retired = Promise.all([this.#retired, before.close()]);
      this.#options.onReloaded?.(engine.revision);
      return true;
    } catch (error) {
      this.#options.onRefused?.(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
  }
}

/** A file is watched by its folder: one that is replaced would take the watch with it. */
function watched({ path, data }: PolicySource): { path: string; recursive: boolean; only?: string }[] {
  const file = (of: string) => ({ path: dirname(of), recursive: false, only: basename(of) });
  return [path.endsWith('.tar.gz') ? file(path) : { path, recursive: true }, ...(data ? [file(data)] : [])];
}
