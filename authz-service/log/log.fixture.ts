/** A log on a simulated disk, and a verifier of what is published that shares no code with what wrote it. */
import { type FileSystem, nodeFileSystem } from '../journal/file_system.ts';
import { localFiles } from '../storage/local_files.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { mth, tilesOf } from '../tlog/naive.fixture.ts';
import { parseSignerKey } from '../tlog/note.ts';
import { tilePath, widthAt } from '../tlog/tile.ts';
import type { Chain } from './chains.ts';
import type { Subject } from './leaf.ts';
import { type Log, type LogOptions, openLog } from './log.ts';
import { LogReader, type LogRecord } from './reader.ts';

export const ORIGIN = 'gateway.example/sluice';
/** Of tests alone: every process has the same. */
export const SIGNER = parseSignerKey('PRIVATE+KEY+gateway.example/sluice+0d3753f6+AVsd24YRQLabemolEN0c8bg+erL20+2tyaB6BW0djyfm');

export const subject = (sequence: number, session = 'ses_1', kind = 11): Subject => ({
  kind,
  timeUnixNanos: 1_764_158_400_000_000_000n + BigInt(sequence),
  emitter: '00112233445566778899aabbccddeeff',
  sequence,
  session,
  target: 'orders',
  own: false,
});

/** What the session index tells the log in the service: here it is whatever `records` have been seen. */
export const chainsOf = (records: readonly LogRecord[]): Map<string, Chain> =>
  new Map(records.map(({ index, leaf }) => [leaf.session, { index, position: leaf.position }]));

export interface TestLogOptions extends Partial<Omit<LogOptions, 'files'>> {
  readonly files?: FileSystem;
}

/** Publishes only when it is told to, unless `publishMs` says otherwise. */
export const testLog = async (options: TestLogOptions = {}): Promise<Log> => {
  const { files = nodeFileSystem, directory = '/tap' } = options;
  const found = new Map<string, Chain>();
  const log = await openLog({
    directory,
    objects: localFiles(`${directory}/log`, files),
    signers: [SIGNER],
    findChain: ({ session }) => found.get(session),
    publishMs: 2 ** 30,
    ...options,
    files,
  });
  for (const [session, chain] of chainsOf(await recordsOf(log))) found.set(session, chain);
  return log;
};

export const recordsOf = async (log: Pick<Log, 'read'>, from = 0): Promise<LogRecord[]> => {
  const records: LogRecord[] = [];
  for await (const record of log.read(from)) records.push(record);
  return records;
};

export const textsOf = (records: readonly LogRecord[]): string[] => records.map(({ detail }) => String(detail?.event));

/**
 * The records that a store's published checkpoint covers, after all of it has been found to be as the specifications say: signature, root, every tile, the
 * order of leaves, the chain of each session, and every event's commitment. `undefined` when nothing is published.
 */
export const verifyPublished = async (objects: ObjectStore): Promise<LogRecord[] | undefined> => {
  const reader = new LogReader(objects);
  const published = await reader.checkpoint();
  if (published === undefined) return undefined;
  const { size, root } = openCheckpoint(published.note, ORIGIN, [SIGNER.verifier]);
  const records: LogRecord[] = [];
  for await (const record of reader.read(0, size, size)) records.push(record);
  const entries = records.map(({ entry }) => entry);
  if (!mth(entries).equals(root)) throw new Error(`the entries do not give the root of ${size}`);
  for (const [path, bytes] of tilesOf(entries))
    if (!(await objects.get(path))?.equals(bytes)) throw new Error(`${path} is not what the specification says`);
  for (let bundle = 0; widthAt(0, bundle, size) > 0; bundle += 1) {
    const path = tilePath({ level: 'entries', index: bundle, width: widthAt(0, bundle, size) });
    if ((await objects.get(path)) === undefined) throw new Error(`${path} is not there`);
  }
  checkChains(records);
  return records;
};

export const checkChains = (records: readonly LogRecord[]): void => {
  const last = new Map<string, Chain>();
  for (const [i, { index, leaf, detail }] of records.entries()) {
    if (index !== i) throw new Error(`record ${index} stands at ${i}`);
    if (detail === undefined) throw new Error(`the event of ${index} is not there`);
    if (leaf.session === '') continue;
    const { index: before, position } = last.get(leaf.session) ?? { index: 0, position: 0 };
    if (leaf.position !== position + 1 || leaf.previous !== before) throw new Error(`the chain of ${leaf.session} is broken at ${index}`);
    last.set(leaf.session, { index, position: leaf.position });
  }
};
