/** The policy in force: built, evaluated, and replaced when its files change and the new one is good. */
import type { Evaluation } from '../decision/ports.ts';
import { buildBundle, type PolicySource, stampOf } from './compile.ts';
import { createEngine, type Engine, type Incident } from './engine.ts';

export interface PolicyOptions extends PolicySource {
  readonly timeoutMs: number;
  readonly workers: number;
  readonly onIncident?: (incident: Incident) => void;
  /** A changed policy is in force: every worker answers by it. */
  readonly onReloaded?: (revision: string) => void;
  /** A changed policy was refused; the old one stays in force. */
  readonly onRefused?: (error: Error) => void;
  /** From one look at the files to the next. Milliseconds, default 1,000. */
  readonly lookEveryMs?: number;
}

export interface Policy {
  readonly revision: string;
  evaluate(inputJson: string): Promise<Evaluation>;
  load(): ReturnType<Engine['load']>;
  close(): Promise<void>;
}

/** @throws {PolicyBuildError} when there is no good policy to begin with */
export async function startPolicy(options: PolicyOptions): Promise<Policy> {
  const { onReloaded = () => {}, onRefused = () => {}, lookEveryMs = 1000 } = options;
  const start = async (): Promise<Engine> =>
    createEngine({
      ...(await buildBundle(options)),
      workers: options.workers,
      timeoutMs: options.timeoutMs,
      ...(options.onIncident && { onIncident: options.onIncident }),
    });
  let stamp = await stampOf(options);
  let engine = await start();
  let closed = false;

  const look = async (): Promise<void> => {
    const now = await stampOf(options);
    if (now === stamp) return;
    stamp = now;
    const next = await start();
    if (closed || next.revision === engine.revision) return next.close();
    const before = engine;
    engine = next;
    onReloaded(next.revision);
    await before.close();
  };
  let looking: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look).catch((error: unknown) => onRefused(error as Error));
  }, lookEveryMs);

  return {
    get revision() {
      return engine.revision;
    },
    evaluate: (inputJson) => engine.evaluate(inputJson),
    load: () => engine.load(),
    async close() {
      closed = true;
      clearInterval(timer);
      await looking;
      await engine.close();
    },
  };
}
