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
