import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { StartError, started, startedAgain, watchWork } from './working_time.ts';

/** The smallest module whose `f` never ends. */
const ENDLESS = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 9, 1, 7, 0, 3, 64, 12, 0, 11, 11,
]);
const LOOPS = 'new WebAssembly.Instance(new WebAssembly.Module(workerData)).exports.f()';
/** As a thread that does not get the processor does. */
const standsStill = (ms: number): string => `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${ms})`;

let worker: Worker;
afterEach(() => worker.terminate());

async function at(code: string): Promise<Worker> {
  worker = new Worker(`const { parentPort, workerData } = require('node:worker_threads'); parentPort.postMessage(''); ${code}`, {
    eval: true,
    workerData: ENDLESS,
  });
  await once(worker, 'message');
  return worker;
}

/** @returns after how long it was cut off, milliseconds, as far as it was */
async function cutAfter(code: string, mostMs: number, waitMs: number, starvedMs?: number): Promise<number | undefined> {
  const thread = await at(code);
  const since = performance.now();
  const cut = new Promise<number>((settle) => {
    const end = watchWork(thread, mostMs, () => settle(performance.now() - since), starvedMs);
    void sleep(waitMs).then(end);
  });
  return Promise.race([cut, sleep(waitMs, undefined)]);
}

test('what never ends is cut off once it has had the processor for so long', async () => {
  expect(await cutAfter(LOOPS, 200, 8_000)).toBeGreaterThanOrEqual(190);
});

test('so is what works after it stood still: standing still is not counted', async () => {
  expect(await cutAfter(`${standsStill(400)}; ${LOOPS}`, 200, 8_000)).toBeGreaterThanOrEqual(590);
});

test('what stands still is waited for', async () => {
  expect(await cutAfter(standsStill(1_000), 50, 900)).toBeUndefined();
});

test('though not for ever', async () => {
  expect(await cutAfter(standsStill(60_000), 50, 8_000, 300)).toBeGreaterThanOrEqual(340);
});

test('a thread that ends by itself is not cut off', async () => {
  expect(await cutAfter('process.exit()', 50, 300, 100_000)).toBeUndefined();
});

test('an ended watch cuts nothing off', async () => {
  const thread = await at(LOOPS);
  let cut = false;
  watchWork(thread, 20, () => (cut = true), 20)();
  await sleep(200);
  expect(cut).toBe(false);
});

describe('a thread that starts', () => {
  const begun = (code: string, workMs: number, starvedMs: number): Promise<void> => {
    worker = new Worker(`const { parentPort, workerData } = require('node:worker_threads'); ${code}; parentPort.postMessage('')`, {
      eval: true,
      workerData: ENDLESS,
    });
    return started(worker, 'a worker', { workMs, starvedMs });
  };
  const failure = (code: string, workMs: number, starvedMs: number): Promise<StartError> =>
    begun(code, workMs, starvedMs).then(
      () => expect.fail('it started'),
      (error: StartError) => error,
    );

  test('is waited for while it stands still', async () => {
    await begun(standsStill(600), 200, 8_000);
  });

  test('is ended when it has worked for so long, and not tried again', async () => {
    const { message, again } = await failure(LOOPS, 300, 60_000);
    expect([message, again]).toEqual(['a worker did not start: it worked for 0.3 s and was not ready', false]);
    expect(worker.threadId).toBe(-1);
  });

  test('is ended when it gets nowhere, and may be tried again', async () => {
    const { message, again } = await failure(standsStill(60_000), 100, 300);
    expect([message, again]).toEqual([
      expect.stringMatching(/the machine is so busy that it did not get 0\.1 s of the processor in \d/),
      true,
    ]);
  });

  test('may end before it has', async () => {
    expect(await failure('process.exit()', 5_000, 5_000)).toMatchObject({ message: 'a worker did not start: it has ended', again: true });
  });

  test('is tried once more, and only where that may help', async () => {
    const attempts = async (...again: boolean[]): Promise<number> => {
      let count = 0;
      await startedAgain(async () => {
        const next = again[count];
        count += 1;
        if (next !== undefined) throw new StartError('x', next);
      }).catch(() => {});
      return count;
    };
    expect([await attempts(), await attempts(true), await attempts(true, true), await attempts(false)]).toEqual([1, 2, 2, 1]);
  });
});
