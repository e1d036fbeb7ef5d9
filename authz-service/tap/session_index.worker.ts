/** The thread that writes the index of sessions: see session_index_thread.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { giveWay } from '../asked_thread.ts';
import { SqliteIndex } from './session_index.ts';
import type { FromIndexer, ToIndexer } from './session_index_thread.ts';

const port = parentPort;
if (!port) throw new Error('this is a worker thread');
giveWay();
const index = new SqliteIndex(workerData as string);

const done = (message: ToIndexer): FromIndexer => {
  try {
    if (message.kind === 'forget') return { count: index.forget(message.from, message.to, message.limit) };
    if (message.kind === 'distrust') {
      index.distrust();
      return { count: 0 };
    }
    if (message.kind === 'prune') return { count: index.prune(message.below, message.limit) };
    const { rows, emitters, progress } = message;
    const { applied, remembered } = progress;
    // A buffer comes as plain bytes.
    index.applyRows(rows, emitters, { applied, remembered: remembered && { ...remembered, root: Buffer.from(remembered.root) } });
    return { count: rows.length };
  } catch (error) {
    return { failure: (error as Error).message };
  }
};

port.on('message', (message: ToIndexer) => port.postMessage(done(message)));
