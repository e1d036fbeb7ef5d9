/** The thread that writes the index of sessions: see session_index_thread.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { SqliteIndex } from './session_index.ts';
import { type FromIndexer, sessionsOfJson, type ToIndexer } from './session_index_thread.ts';

const port = parentPort;
if (!port) throw new Error('this is a worker thread');
const index = new SqliteIndex(workerData as string);

const applied = ({ sessions, emitters, progress: { applied, remembered } }: ToIndexer): FromIndexer => {
  try {
    // A buffer comes as plain bytes.
    index.apply(sessionsOfJson(sessions), emitters, {
      applied,
      remembered: remembered && { ...remembered, root: Buffer.from(remembered.root) },
    });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
};

port.on('message', (message: ToIndexer) => port.postMessage(applied(message)));
