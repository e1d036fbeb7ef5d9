/** The thread that publishes: see publisher_thread.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { giveWay } from '../asked_thread.ts';
import { blockingFileSystem } from '../journal/blocking_file_system.ts';
import { localFiles } from '../storage/local_files.ts';
import { TileEdge } from '../tlog/tile.ts';
import { Publisher, publishedEdge } from './publisher.ts';
import type { FromPublisher, PublisherStart, ToPublisher } from './publisher_thread.ts';

const port = parentPort;
if (!port) throw new Error('this is a worker thread');
giveWay();
const { directory } = workerData as PublisherStart;
const objects = localFiles(directory, blockingFileSystem);
let publisher: Publisher | undefined;

const publish = async ({ target, journal }: ToPublisher): Promise<void> => {
  // The one before may have ended behind its checkpoint: what the log was told last may have been replaced.
  publisher ??= new Publisher({ objects, files: blockingFileSystem }, (await publishedEdge(objects))?.edge ?? new TileEdge());
  // A buffer comes as plain bytes.
  await publisher.publish({ ...target, root: Buffer.from(target.root) }, journal);
};

port.on('message', (message: ToPublisher) => {
  publish(message).then(
    () => port.postMessage(undefined satisfies FromPublisher),
    ({ name, code, message }: Error & { code?: string }) => port.postMessage({ name, code, message } satisfies FromPublisher),
  );
});
