/**
 * Makes a log anew from a copy of what was published, on a machine that has nothing but its keys: the published objects, and a journal from which it goes on. Leaves
 * that the copy has beyond its newest checkpoint, in full bundles that were on their way when the machine was lost, were acknowledged, and no signature covers them:
 * they are gone on with when somebody says so, and then the first leaf behind them tells of it.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type FileSystem, nodeFileSystem } from '../journal/file_system.ts';
import { type Journal, openJournal } from '../journal/journal.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { type Checkpoint, openCheckpoint, signCheckpoint } from '../tlog/checkpoint.ts';
import { TlogError } from '../tlog/error.ts';
import { Frontier, leafHash } from '../tlog/hash.ts';
import { formatVerifierKey, type SignerKey, type VerifierKey } from '../tlog/note.ts';
import { CHECKPOINT_PATH, encodeBundle, TILE_WIDTH, TileEdge, tileOfEntries, tilePath } from '../tlog/tile.ts';
import { type Detail, detailsPath, encodeDetails } from './details.ts';
import { LogError } from './error.ts';
import { listedKeys, MAX_LIST_BYTES, readableKeys } from './keys.ts';
import { CLASSES, classOf, decodeLeaf, encodeLeafView, SALT_BYTES, type Subject } from './leaf.ts';
import { MAX_RECORD_BYTES } from './log.ts';
import { formatPruned, PRUNED_PATH } from './pruned.ts';
import { keptCheckpointPath } from './publisher.ts';
import { LogReader, type LogRecord, type PublishedCheckpoint } from './reader.ts';
import { encodeCheckpointRecord, encodeEventRecord } from './record.ts';
import { KEYS_PATH, WITNESSED_PATH } from './replicator.ts';

export interface RestoreOptions {
  /** The copy. Only read. */
  readonly from: ObjectStore;
  /** Empty: where the journal is made, in `journal/`. */
  readonly directory: string;
  /** Empty: where the published log goes. */
  readonly objects: ObjectStore;
  /** The log's own. */
  readonly signers: readonly SignerKey[];
  /** As of `LogOptions`. */
  readonly toldOfPruning?: (event: Buffer) => string | undefined;
  readonly files?: FileSystem;
  /** Up to which size leaves may be signed that nobody has signed: exactly as far as the copy goes. Default: none. */
  readonly signBeyond?: { readonly size: number; readonly event: (signed: PublishedCheckpoint) => Told };
  /** Keys that the records of the tree, of which `onRecord` was told by then, name as the log's: those of the copy's list come along. Default: none. */
  readonly formerKeys?: () => readonly VerifierKey[];
  /** Told of each record, in order. */
  readonly onRecord?: (record: LogRecord) => void;
}

/** An event of no session. */
interface Told {
  readonly subject: Subject;
  readonly event: Uint8Array;
}

export interface Restored {
  /** As the copy has it. */
  readonly checkpoint: PublishedCheckpoint;
  /** Leaves that come of the copy: those of the checkpoint, and those beyond it. */
  readonly size: number;
  /** Of the log that goes on: behind leaves that nobody had signed it has one more, which tells of them. */
  readonly root: Buffer;
  /** Lines of the copy's list of keys that name neither a key of `signers` nor a former one: whoever could write to the copy may have written them, and they do not go along. */
  readonly otherKeys: readonly string[];
}

/** Who may write there may have put others beside them. */
const isKept = (key: string): boolean => /^checkpoints\/\d{16}$/.test(key);

/** Bundles that are read ahead. */
const AHEAD = 8;

/**
 * Rejects with a `LogError` (`missing`: there is no checkpoint; `key`: none is signed by a key of the log; `unsigned`: the copy goes on behind its checkpoint, and not as far as
 * `signBeyond` says; `corrupt`, `forked`: the copy is not whole, or no leaf tells of what is said to be pruned), a `StorageError` or a `JournalError`. What was written until then is the caller's to remove.
 */
export const restoreLog = async (options: RestoreOptions): Promise<Restored> => {
  const { from, objects, signers, toldOfPruning: told = () => undefined } = options;
  const keys = signers.map(({ verifier }) => verifier);
  const open = (note: Buffer) => openCheckpoint(note, (signers[0] as SignerKey).verifier.name, keys);
  const reader = new LogReader(from, { open, told });
  const { checkpoint, pointed } = await newestOf(from, reader, open);
  const journal = await Journaling.open(options);
  try {
    const edge = await copyTree(options, reader, checkpoint);
    const otherKeys = await copyBeside(options, reader, checkpoint);
    const tree = Frontier.of(edge.size, edge.roots());
    for await (const record of beyond(from, reader, checkpoint.size, !pointed)) {
      options.onRecord?.(record);
      tree.append(leafHash(record.entry));
      await journal.add(record);
    }
    const { origin, note } = checkpoint;
    const { size } = tree;
    const { signBeyond } = options;
    if ((signBeyond?.size ?? checkpoint.size) !== size) throw unsigned(from, checkpoint.size, size, signBeyond?.size);
    if (signBeyond === undefined || size === checkpoint.size) await journal.seal(note);
    else {
      const record = recordOf(size, signBeyond.event(checkpoint));
      tree.append(leafHash(record.entry));
      await journal.add(record);
      await journal.seal(signCheckpoint({ origin, size: tree.size, root: tree.root() }, signers));
    }
    // Last, as ever: it stands for all the rest.
    await objects.put(CHECKPOINT_PATH, Buffer.from(note));
    return { checkpoint, size, root: tree.root(), otherKeys };
  } finally {
    await journal.close();
  }
};

const unsigned = ({ url }: ObjectStore, signed: number, size: number, said: number | undefined): LogError =>
  new LogError(
    'unsigned',
    size === signed
      ? `nothing of ${url} stands behind its checkpoint of ${signed} leaves, and ${said} are to be signed: leave --sign-beyond out`
      : `the checkpoint of ${url} signs ${signed} leaves, and others behind it go on to ${size}${said === undefined ? '' : `, not to ${said}`}. The gateway writes its checkpoint last, so these ${size - signed} leaves may well be what it recorded before it was lost; but nobody has signed them, and whoever could write to the copy may have written them. Nothing is restored. To go on with them, signed by the key of this machine and told of in the record: --sign-beyond ${size}. To go on without them, restore from a folder with a copy that ends at ${signed}; a replica that keeps them will not follow a record that has others in their place`,
  );

/** One more leaf, of no session. */
const recordOf = (index: number, { subject, event }: Told): LogRecord => {
  const salt = randomBytes(SALT_BYTES);
  const entry = Buffer.from(encodeLeafView(subject, 0, 0, salt, event));
  return { index, entry, leaf: decodeLeaf(entry), detail: { index, salt, event: Buffer.from(event) } };
};

/**
 * The longest tree of this log that the copy holds: what it keeps, or has of witnesses, may be ahead of its pointer, which anybody who can write there can set back, spoil or
 * remove. Of those it is the newest whose edge is there, or lies in what is full by now. `pointed`: it is the one that the pointer names.
 */
const newestOf = async (
  from: ObjectStore,
  reader: LogReader,
  open: (note: Buffer) => Checkpoint,
): Promise<{ readonly checkpoint: PublishedCheckpoint; readonly pointed: boolean }> => {
  let unread: TlogError | undefined;
  const at = async (key: string): Promise<PublishedCheckpoint | undefined> => {
    const bytes = await from.get(key);
    try {
      return bytes && { ...open(bytes), note: bytes.toString('utf8') };
    } catch (error) {
      if (!(error instanceof TlogError)) throw error;
      unread ??= error;
      return undefined;
    }
  };
  const pointed = await at(CHECKPOINT_PATH);
  const kept: string[] = [];
  for await (const key of from.list('checkpoints/', pointed && keptCheckpointPath(pointed.size))) if (isKept(key)) kept.push(key);
  const witnessed = await at(WITNESSED_PATH);
  const cosigned = witnessed !== undefined && witnessed.size > (pointed?.size ?? 0) ? [witnessed] : [];
  for (const key of kept.reverse()) {
    const candidate = await at(key);
    if (candidate === undefined) continue;
    const newer = cosigned.filter(({ size }) => size >= candidate.size);
    for (const each of [...newer, candidate]) if (await isThere(from, reader, each)) return { checkpoint: each, pointed: false };
  }
  for (const each of cosigned) if (await isThere(from, reader, each)) return { checkpoint: each, pointed: false };
  if (pointed !== undefined) return { checkpoint: pointed, pointed: true };
  if (unread === undefined)
    throw new LogError('missing', `there is no published log at ${from.url}: it has no checkpoint that can be restored`);
  throw new LogError('key', `the checkpoint at ${from.url} is not signed by a key of this log: ${unread.message}`, unread);
};

/** Whether what a checkpoint stands for has arrived: its edge comes last. */
const isThere = async (from: ObjectStore, reader: LogReader, { size, root }: PublishedCheckpoint): Promise<boolean> => {
  try {
    const edge = await TileEdge.of(size, (tile) => from.get(tilePath(tile)));
    if (size % TILE_WIDTH > 0) await reader.entries(Math.floor(size / TILE_WIDTH), size);
    return Frontier.of(size, edge.roots()).root().equals(root);
  } catch (error) {
    if (error instanceof TlogError || error instanceof LogError) return false;
    throw error;
  }
};

/** Everything is derived from the entries again, so that nothing but the checkpoint is believed; of leaves that were pruned, from what is left of their tiles. */
const copyTree = async (
  { from, objects, onRecord }: RestoreOptions,
  reader: LogReader,
  checkpoint: PublishedCheckpoint,
): Promise<TileEdge> => {
  const { size, root } = checkpoint;
  const minimum = await reader.minimum(checkpoint);
  const edge = await TileEdge.at(minimum, reader.nodes(size));
  for await (const [bundle, records] of bundles(reader, minimum, size)) {
    const full: [string, Buffer][] = [];
    for (const record of records) {
      edge.append(leafHash(record.entry), (tile, bytes) => full.push([tilePath(tile), bytes]));
      onRecord?.(record);
    }
    const entries = records.map(({ entry }) => entry);
    await objects.put(tilePath({ level: 'entries', index: bundle, width: entries.length }), encodeBundle(entries));
    for (const [key, bytes] of full) await objects.put(key, bytes);
    for (const each of CLASSES) {
      const details = records.flatMap(({ leaf, detail }) => (detail !== undefined && classOf(leaf.kind) === each ? [detail] : []));
      if (details.length > 0) await objects.put(detailsPath(each, bundle, entries.length), encodeDetails(details));
    }
  }
  for (const { tile, bytes } of edge.partial()) await objects.put(tilePath(tile), bytes);
  if (!Frontier.of(size, edge.roots()).root().equals(root))
    throw new LogError('corrupt', `${from.url}: the entries do not give the root of its checkpoint of ${size}`);
  return edge;
};

/** The bundles of the tree, in order, some of them read ahead. */
async function* bundles(reader: LogReader, minimum: number, size: number): AsyncGenerator<[number, LogRecord[]], void> {
  const count = Math.ceil(size / TILE_WIDTH);
  const reading: Promise<LogRecord[]>[] = [];
  for (let bundle = minimum / TILE_WIDTH; bundle < count; bundle += 1) {
    for (let next = bundle + reading.length; next < count && reading.length < AHEAD; next += 1) {
      const records = reader.records(next, size);
      // One that fails is told when its turn has come.
      records.catch(() => {});
      reading.push(records);
    }
    yield [bundle, await (reading.shift() as Promise<LogRecord[]>)];
  }
}

/**
 * What is pruned, as a leaf of the tree tells, and of keys, cosigned and kept checkpoints what the log's own keys vouch for: of anything else whoever could write to the copy may have made it. What is
 * beyond the tree does not go along. @returns lines of the list of keys that were left
 */
const copyBeside = async (
  { from, objects, signers, formerKeys = () => [] }: RestoreOptions,
  reader: LogReader,
  checkpoint: PublishedCheckpoint,
): Promise<string[]> => {
  const { size, origin } = checkpoint;
  const keys = [
    ...signers.map(({ verifier }) => verifier),
    ...formerKeys().filter(({ name, type }) => name === origin && type === 'ed25519'),
  ];
  const copy = async (key: string, isOurs: (checkpoint: Checkpoint) => boolean): Promise<void> => {
    const bytes = await from.get(key);
    const opened = bytes && openedBy(bytes, origin, keys);
    if (bytes !== undefined && opened !== undefined && isOurs(opened)) await objects.put(key, bytes);
  };
  const pruned = await reader.pruned(checkpoint);
  if (pruned !== undefined) await objects.put(PRUNED_PATH, formatPruned(pruned));
  await copy(WITNESSED_PATH, (witnessed) => witnessed.size <= size);
  for await (const key of from.list('checkpoints/'))
    if (isKept(key)) await copy(key, (kept) => kept.size <= size && keptCheckpointPath(kept.size) === key);
  const own = new Set(keys.map(formatVerifierKey));
  const listed = (await from.get(KEYS_PATH))?.subarray(0, MAX_LIST_BYTES).toString('utf8') ?? '';
  // What is no key is somebody's file that was put in its place, perhaps by a link.
  const lines = listed.split('\n').filter((line) => /^\d{1,15} /.test(line) && readableKeys(listedKeys(line)).length === 1);
  const [ours, others] = [true, false].map((of) => lines.filter((line) => own.has(line.split(' ')[1] ?? '') === of)) as [
    string[],
    string[],
  ];
  if (ours.length > 0) await objects.put(KEYS_PATH, Buffer.from(ours.map((line) => `${line}\n`).join('')));
  return others;
};

const openedBy = (bytes: Buffer, origin: string, keys: readonly VerifierKey[]): Checkpoint | undefined => {
  try {
    return openCheckpoint(bytes, origin, keys);
  } catch (error) {
    if (error instanceof TlogError) return undefined;
    throw error;
  }
};

/**
 * The records that the copy has behind the tree of `size` leaves, in full bundles; and `toEdge`, where the pointer that named the newest tree is lost, in the one that is not full.
 */
async function* beyond(from: ObjectStore, reader: LogReader, size: number, toEdge: boolean): AsyncGenerator<LogRecord, void> {
  let known = size % TILE_WIDTH === 0 ? [] : await reader.entries(Math.floor(size / TILE_WIDTH), size);
  for (let bundle = Math.floor(size / TILE_WIDTH); ; bundle += 1) {
    let behind: LogRecord[] | undefined;
    for (const width of [TILE_WIDTH, ...(toEdge ? await widthsOf(from, bundle) : [])]) {
      if (width <= known.length) break;
      const records = await recordsAt(from, reader, bundle, width);
      if (records === undefined) continue;
      if (!known.every((entry, i) => entry.equals(records[i]?.entry as Buffer))) throw forked(from, bundle, width, size);
      behind = records.slice(known.length);
      // Its events follow the entries: what has not come is lost, and what is behind it with it.
      if (behind.every(({ detail }) => detail !== undefined)) break;
      behind = undefined;
    }
    if (behind === undefined) return;
    yield* behind;
    if (known.length + behind.length < TILE_WIDTH) return;
    known = [];
  }
}

const forked = ({ url }: ObjectStore, bundle: number, width: number, size: number): LogError =>
  new LogError('forked', `${url}: ${tilePath({ level: 'entries', index: bundle, width })} does not go on from its checkpoint of ${size}`);

/** The forms of a bundle that is not full, the widest first. */
const widthsOf = async (from: ObjectStore, bundle: number): Promise<number[]> => {
  const partial = `${tilePath({ level: 'entries', index: bundle, width: TILE_WIDTH })}.p/`;
  const widths: number[] = [];
  for await (const key of from.list(partial)) widths.push(Number(key.slice(partial.length)));
  return widths.filter((width) => width > 0 && width < TILE_WIDTH).sort((a, b) => b - a);
};

/** The records of one form of a bundle, with the tile that is made of them; `undefined`: it is not there. */
const recordsAt = async (from: ObjectStore, reader: LogReader, bundle: number, width: number): Promise<LogRecord[] | undefined> => {
  const hashes = await from.get(tilePath({ level: 0, index: bundle, width }));
  if (hashes === undefined || (await from.get(tilePath({ level: 'entries', index: bundle, width }))) === undefined) return undefined;
  const records = await reader.records(bundle, bundle * TILE_WIDTH + width);
  if (!tileOfEntries(records.map(({ entry }) => entry)).equals(hashes)) throw forked(from, bundle, width, bundle * TILE_WIDTH);
  return records;
};

/** Records that are made durable at once. */
const BATCH = 256;

/** The journal that the log goes on from: the events behind what is published, and the checkpoint that covers them. */
class Journaling {
  readonly #journal: Journal;
  #staged = 0;

  private constructor(journal: Journal) {
    this.#journal = journal;
  }

  static async open({ directory, files = nodeFileSystem }: RestoreOptions): Promise<Journaling> {
    return new Journaling(await openJournal(join(directory, 'journal'), { files, released: true, maxRecordBytes: MAX_RECORD_BYTES }));
  }

  async add({ index, entry, detail }: LogRecord): Promise<void> {
    const { salt, event } = detail as Detail;
    this.#journal.stage(encodeEventRecord(index, salt, entry, event));
    this.#staged += 1;
    if (this.#staged % BATCH === 0) await this.#journal.settled();
  }

  async seal(note: string): Promise<void> {
    await this.#journal.append(encodeCheckpointRecord(note));
  }

  close(): Promise<void> {
    return this.#journal.close();
  }
}
