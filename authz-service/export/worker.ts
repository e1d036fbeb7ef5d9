/** The worker thread of the export: encodes and sends, so that a receiver that is slow, or an event that is large, costs the decisions nothing. */
import { parentPort, workerData } from 'node:worker_threads';
import { Delivery, type LeafSource } from './delivery.ts';
import type { GoneLeaf, Leaf } from './format.ts';
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts';
import { openDestination } from './places.ts';

const port = parentPort;
if (!port) throw new Error('this is a worker thread');
const { destinations, dir, origin, version } = workerData as WorkerStart;
const tell = (message: FromWorker): void => port.postMessage(message);

interface Answer {
  readonly leaves: readonly Leaf[];
  readonly gone: readonly GoneLeaf[];
  readonly size: number;
}
interface Asked {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}
const calls = new Map<number, Asked>();
let lastCall = 0;

const ask = (
  of: { readonly kind: 'read'; from: number; events: number; bytes: number } | { readonly kind: 'recall'; session: string; before: number },
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    lastCall += 1;
    calls.set(lastCall, { resolve, reject });
    tell({ ...of, call: lastCall });
  });

const source: LeafSource = {
  read: (from, { events, bytes }) => ask({ kind: 'read', from, events, bytes }),
  recall: async (session, before) => (await ask({ kind: 'recall', session, before })).leaves,
  size: async () => (await ask({ kind: 'read', from: 0, events: 0, bytes: 0 })).size,
};

const deliveries = destinations.map(
  ({ place, timeoutMs, format, ...options }) =>
    new Delivery(
      { ...options, dir, format: { ...format, origin, version } },
      source,
      (state) => openDestination(place, { timeoutMs, version, state }),
      {
        warn: (fields, message) => tell({ kind: 'log', level: 'warn', fields, message }),
        error: (fields, message) => tell({ kind: 'log', level: 'error', fields, message }),
      },
    ),
);

const STATUS_EVERY_MS = 500;
const tellStatus = (): void => {
  for (const [at, { status }] of deliveries.entries()) tell({ kind: 'status', name: destinations[at]?.name ?? '', status });
};
setInterval(tellStatus, STATUS_EVERY_MS);

port.on('message', (message: ToWorker) => {
  if (message.kind === 'stop') return void stop();
  const asked = calls.get(message.call);
  calls.delete(message.call);
  if (message.kind === 'unreadable') return asked?.reject(new Error(message.reason));
  const { indices, ends, bytes, gone } = message.leaves;
  const leaves = indices.map((index, at) => ({ index, bytes: bytes.subarray(at === 0 ? 0 : ends[at - 1], ends[at]) }));
  asked?.resolve({ leaves, gone, size: message.size });
});

const running = deliveries.map((delivery) => delivery.run());

async function stop(): Promise<void> {
  for (const delivery of deliveries) delivery.stop();
  for (const asked of calls.values()) asked.reject(new Error('stopped'));
  await Promise.all(running);
  tellStatus();
  tell({ kind: 'stopped' });
}
