/** A decision worker that ends itself at an input that says `/crash`, stands still for 600 ms at `/still`, and allows everything else, as the path says. */
import { parentPort, workerData } from 'node:worker_threads';
import { ANSWER_HEADER, ANSWERED, BELL, COUNT, DONE, INPUT_HEADER, LIMIT, type WorkerData } from './channel.ts';

const { control, inputs, answers } = workerData as WorkerData;
parentPort?.postMessage('ready');
for (let batch = 0; ; ) {
  Atomics.wait(control, BELL, batch);
  batch = Atomics.load(control, BELL);
  const [from, to] = [Buffer.from(inputs), Buffer.from(answers)];
  for (let job = 0, read = 0, written = 0; job < (control[COUNT] ?? 0) && job < Atomics.load(control, LIMIT); job++) {
    const end = read + INPUT_HEADER + from.readInt32LE(read);
    const { path } = JSON.parse(from.toString('utf8', read + INPUT_HEADER, end)).request;
    if (path === '/crash') process.exit(1);
    if (path === '/still') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600);
    const length = to.write(JSON.stringify([{ result: { effect: 'allow', rule: path, reason: '' } }]), written + ANSWER_HEADER);
    for (const [i, value] of [ANSWERED, 1, length].entries()) to.writeInt32LE(value, written + 4 * i);
    read = end;
    written += ANSWER_HEADER + length;
    Atomics.store(control, DONE, job + 1);
  }
  parentPort?.postMessage('done');
}
