/** A decision worker: waits for the bell, evaluates the batch, says that it is done. It is watched and ended from outside (lane.ts). */
import { parentPort, workerData } from 'node:worker_threads';
import { ANSWER_HEADER, ANSWERED, BELL, COUNT, DONE, INPUT_HEADER, LARGEST_ANSWER, LIMIT, THREW, type WorkerData } from './channel.ts';
import { instantiate, thrownReason } from './instance.ts';
import { SAMPLE } from './sample.ts';

/** The memory of an instance never shrinks; past this size a new one takes its place. */
const LARGEST_IDLE_MEMORY = 32 * 1024 * 1024;

const { control, inputs, answers, module, data } = workerData as WorkerData;
const answerBytes = Buffer.from(answers);

/** V8 compiles a function of the module when it is first called, and better when it was called often: requests need not wait for it. */
const WARMING_ROUNDS = 50;

let instance = instantiate(module, data);
try {
  const sample = Buffer.from(SAMPLE);
  for (let round = 0; round < WARMING_ROUNDS; round++) instance.evaluate(sample);
} catch {
  // Whether a policy answers the sample is for its probe to say.
  instance = instantiate(module, data);
}
parentPort?.postMessage('ready');
for (let batch = 0; ; ) {
  Atomics.wait(control, BELL, batch);
  batch = Atomics.load(control, BELL);
  runBatch();
  parentPort?.postMessage('done');
}

function runBatch(): void {
  // Views made anew: the engine may have grown the memory.
  const inputBytes = Buffer.from(inputs);
  const count = control[COUNT] ?? 0;
  let from = 0;
  let to = 0;
  for (let job = 0; job < count && job < Atomics.load(control, LIMIT); job++) {
    const length = inputBytes.readInt32LE(from);
    const start = from + INPUT_HEADER;
    to = answer(inputBytes.subarray(start, start + length), to);
    from = start + length;
    Atomics.store(control, DONE, job + 1);
  }
}

/** Writes the answer to one input at `to`. @returns where the next one goes */
function answer(input: Uint8Array, to: number): number {
  const since = performance.now();
  let status = ANSWERED;
  let bytes: Uint8Array;
  try {
    bytes = instance.evaluate(input);
    if (bytes.length > LARGEST_ANSWER) throw new Error(`the decision has ${bytes.length} bytes, more than ${LARGEST_ANSWER}`);
  } catch (thrown) {
    status = THREW;
    bytes = Buffer.from(thrownReason(thrown)).subarray(0, LARGEST_ANSWER);
    instance = instantiate(module, data);
  }
  answerBytes.writeInt32LE(status, to);
  answerBytes.writeInt32LE(Math.round((performance.now() - since) * 1000), to + 4);
  answerBytes.writeInt32LE(bytes.length, to + 8);
  answerBytes.set(bytes, to + ANSWER_HEADER);
  if (instance.memoryBytes() > LARGEST_IDLE_MEMORY) instance = instantiate(module, data);
  return to + ANSWER_HEADER + bytes.length;
}
