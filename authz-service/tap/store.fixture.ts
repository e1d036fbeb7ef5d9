/** The log as tests open it: on a simulated disk, with a key of their own, and published only when it is closed. */
import type { FileSystem } from '../journal/file_system.ts';
import type { JournalOptions } from '../journal/journal.ts';
import type { Leaf } from '../log/leaf.ts';
import { generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { decodeEvent } from './event.ts';
import type { TapEvent } from './schema.ts';
import { SqliteIndex } from './session_index.ts';
import type { SinkOptions } from './sink.ts';
import { logStore, type TapStore } from './store.ts';

const SIGNER = parseSignerKey(generateSignerKey('gateway.example/sluice'));

/** A store and an index that begins empty: what the record holds is read anew at each opening. */
export const testStore = (
  directory: string,
  { files, ...journal }: Pick<JournalOptions, 'segmentBytes' | 'maxPendingBytes' | 'retryMs'> & { readonly files: FileSystem },
): Pick<SinkOptions, 'openStore' | 'index'> => ({
  openStore: logStore(directory, { files, journal, signers: [SIGNER], publishMs: 2 ** 30 }),
  index: new SqliteIndex(':memory:'),
});

/** The store alone: what another opening of the same disk would find. */
export const openTestStore = (directory: string, files: FileSystem): Promise<TapStore> =>
  logStore(directory, { files, signers: [SIGNER], publishMs: 2 ** 30 })({ findChain: () => undefined });

/** All events that the record holds, after the chain of each session has been found whole. */
export const eventsIn = async (directory: string, files: FileSystem): Promise<TapEvent[]> => {
  const store = await openTestStore(directory, files);
  const events: TapEvent[] = [];
  const chains = new Map<string, { index: number; position: number }>();
  for await (const { index, about, bytes } of store.read()) {
    const { session, position, previous } = about as Leaf;
    const before = chains.get(session);
    if (session !== '' && (position !== (before?.position ?? 0) + 1 || previous !== (before?.index ?? 0)))
      throw new Error(`the chain of session ${session} is broken at ${index}`);
    chains.set(session, { index, position });
    if (bytes !== undefined) events.push(decodeEvent(bytes));
  }
  await store.close();
  return events;
};
