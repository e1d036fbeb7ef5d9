/** The thread that writes the index of sessions: see session_index_thread.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { giveWay } from '../asked_thread.ts';
import { isDamage, SqliteIndex } from './session_index.ts';
import type { FromIndexer, ToIndexer } from './session_index_thread.ts';

const port = parentPort;
if (!port) throw new Error('this is a worker thread');
giveWay();
const index = new SqliteIndex(workerData as string);

/** A page may be damaged that no start reads. */
const distrusted = (): string => {
  try {
    index.distrust();
    return 'made again of the record at the next start';
  } catch {
    return 'to be removed while the service is stopped: it is made again of the record';
  }
};

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
    const { message: failure } = error as Error;
    return isDamage(error) ? { failure: `${failure}: it is damaged, and ${distrusted()}` } : { failure };
  }
};

port.on('message', (message: ToIndexer) => port.postMessage(done(message)));
