/**
 * Cuts work in a worker thread off by the time that the processor gave to it. On a machine that others keep busy a thread may stand still for as long as it likes:
 * that costs time, and must not fail what the thread was asked. Work that never ends has the processor, and is cut off; the clock ends only what gets nowhere at all.
 */
import type { Worker } from 'node:worker_threads';

/** How much longer than it may work it may take by the clock, milliseconds. */
const LONGEST_STARVED_MS = 10_000;
/** Most work has ended before its thread is asked for the first time. */
const FIRST_LOOK_MS = 10;

/**
 * @param mostMs of the processor's time, from about now on
 * @param cut is called once, unless the watch was ended before
 * @param starvedMs what it may take more by the clock
 * @returns ends the watch
 */
export function watchWork(worker: Worker, mostMs: number, cut: () => void, starvedMs = LONGEST_STARVED_MS): () => void {
  let ended = false;
  let before: number | undefined;
  let next: NodeJS.Timeout | undefined;
  const end = (): void => {
    ended = true;
    clearTimeout(next);
    clearTimeout(last);
  };
  const cutOff = (): void => {
    if (ended) return;
    end();
    cut();
  };
  const last = setTimeout(cutOff, mostMs + starvedMs);
  const firstLook = Math.min(FIRST_LOOK_MS, mostMs);
  const look = async (): Promise<void> => {
    const { user, system } = await worker.cpuUsage();
    if (ended) return;
    const used = (user + system) / 1000;
    before ??= used - firstLook;
    const left = mostMs - (used - before);
    if (left <= 0) cutOff();
    else next = setTimeout(follow, Math.max(1, left));
  };
  // A thread that has ended has no answer, and whoever watches it hears of its end.
  const follow = (): void => void look().catch(() => {});
  next = setTimeout(follow, firstLook);
  return end;
}

/** How long a thread may take to start: of the processor's time, and how much longer by the clock where others have that. Milliseconds. */
export interface StartBounds {
  readonly workMs: number;
  readonly starvedMs: number;
}

/** A thread did not start. The text says how, behind the name of what did not. */
export class StartError extends Error {
  /** Another attempt may do better: it was not its own work that took too long. */
  readonly again: boolean;

  constructor(message: string, again: boolean) {
    super(message);
    this.name = 'StartError';
    this.again = again;
  }
}

/** Resolves with the thread's first message. Without one it is ended. Rejects with a `StartError`. */
export async function started(worker: Worker, what: string, { workMs, starvedMs }: StartBounds): Promise<void> {
  const since = performance.now();
  let unwatch = (): void => {};
  let failure = 'it has ended';
  worker.once('error', (error: unknown) => (failure = error instanceof Error ? error.message : String(error)));
  const outcome = await new Promise<'started' | 'ended' | 'late'>((resolve) => {
    worker.once('message', () => resolve('started'));
    worker.once('exit', () => resolve('ended'));
    const late = (): void => resolve('late');
    const last = setTimeout(late, workMs + starvedMs);
    unwatch = () => clearTimeout(last);
    worker.once('online', () => {
      clearTimeout(last);
      unwatch = watchWork(worker, workMs, late, starvedMs);
    });
  });
  unwatch();
  if (outcome === 'started') return;
  await worker.terminate();
  if (outcome === 'ended') throw new StartError(`${what} did not start: ${failure}`, true);
  const [work, took] = [workMs, performance.now() - since].map((ms) => `${(ms / 1000).toFixed(1)} s`);
  if (performance.now() - since < workMs + starvedMs)
    throw new StartError(`${what} did not start: it worked for ${work} and was not ready`, false);
  throw new StartError(`${what} did not start: the machine is so busy that it did not get ${work} of the processor in ${took}`, true);
}

/** Starts once more what the machine has kept from starting. */
export const startedAgain = <Started>(start: () => Promise<Started>): Promise<Started> =>
  start().catch((error: unknown) => {
    if (error instanceof StartError && error.again) return start();
    throw error;
  });
