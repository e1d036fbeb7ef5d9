/**
 * A log as it was published, read out of its objects: by the service, and by anybody who has a copy. What is read is not proven: that is the verifier's to do,
 * with the proofs that this makes.
 */
import type { ReadableStore } from '../storage/object_store.ts';
import { type Checkpoint, readCheckpoint } from '../tlog/checkpoint.ts';
import { TlogError } from '../tlog/error.ts';
import { HASH_BYTES, leafHash } from '../tlog/hash.ts';
import { checkInclusion, proveConsistency, proveInclusion } from '../tlog/proof.ts';
import { CHECKPOINT_PATH, decodeBundle, nodesOfTiles, type ReadNode, TILE_WIDTH, tilePath, widthAt } from '../tlog/tile.ts';
import { declarationOf, notTold, type PruningProof } from './declared.ts';
import { type Detail, decodeDetails, detailsPath } from './details.ts';
import { LogError } from './error.ts';
import { CLASSES, classOf, commitmentOf, type DetailClass, decodeLeaf, type Leaf } from './leaf.ts';
import { formatPruned, type Pruned, readPruned } from './pruned.ts';

export interface PublishedCheckpoint extends Checkpoint {
  /** As it was signed. */
  readonly note: string;
}

export interface LogRecord {
  readonly index: number;
  /** The entry of the tree. */
  readonly entry: Buffer;
  readonly leaf: Leaf;
  /** `undefined` when it was deleted after its retention. */
  readonly detail: Detail | undefined;
}

/** Objects at the right edge are replaced by wider ones while the log goes on. */
const ATTEMPTS = 5;

/** A tile or an object of a bundle, in its form of this width or a wider one that has taken its place; `undefined`: there is none. Rejects with a `StorageError`. */
export const objectAtEdge = async (
  objects: ReadableStore,
  path: (width: number) => string,
  width: number,
): Promise<{ readonly bytes: Buffer; readonly width: number } | undefined> => {
  const at = async (each: number) => {
    const bytes = await objects.get(path(each));
    return bytes && { bytes, width: each };
  };
  const first = await at(width);
  if (first !== undefined || width === TILE_WIDTH) return first;
  const partial = `${path(TILE_WIDTH)}.p/`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    let wider = TILE_WIDTH;
    for await (const key of objects.list(partial)) {
      const listed = Number(key.slice(partial.length));
      if (listed > width && listed < wider) wider = listed;
    }
    // The full one comes before its partial forms go, so that it is looked for behind them.
    const found = (await at(wider)) ?? (await at(TILE_WIDTH));
    if (found !== undefined || wider === TILE_WIDTH) return found;
  }
  return undefined;
};

const entriesPath =
  (bundle: number) =>
  (width: number): string =>
    tilePath({ level: 'entries', index: bundle, width });

const leafOf = (entry: Buffer, index: number): Leaf => {
  try {
    return decodeLeaf(entry);
  } catch (error) {
    throw new LogError('corrupt', `leaf ${index}: ${(error as Error).message}`, error);
  }
};

export class LogReader {
  readonly #objects: ReadableStore;
  readonly #proof: PruningProof | undefined;
  /** What was proven to be pruned: it stays so, the log is not written anew. */
  #proven: Buffer | undefined;

  /** `proof`: by which what was pruned is known from what is only said to be. Without it nothing is believed to be pruned. */
  constructor(objects: ReadableStore, proof?: PruningProof) {
    this.#objects = objects;
    this.#proof = proof;
  }

  /** The newest published checkpoint, or another one, its signatures not verified; `undefined` when it is not there. Rejects with a `StorageError` or a `TlogError`. */
  async checkpoint(path = CHECKPOINT_PATH): Promise<PublishedCheckpoint | undefined> {
    const bytes = await this.#objects.get(path);
    return bytes === undefined ? undefined : { ...readCheckpoint(bytes), note: bytes.toString('utf8') };
  }

  /**
   * What was pruned, as a leaf of the signed tree tells; `undefined`: nothing was. `tree`: one that is known to be signed; default: the newest that is published. Rejects with a
   * `LogError` (`malformed`, or `corrupt`: no leaf tells of it), a `StorageError`, or a `TlogError` of a checkpoint that the log's key has not signed.
   */
  async pruned(tree?: Checkpoint): Promise<Pruned | undefined> {
    const pruned = await readPruned(this.#objects);
    if (pruned === undefined || this.#proven?.equals(formatPruned(pruned))) return pruned;
    const proof = this.#proof;
    if (proof === undefined) throw notTold(pruned, 'nobody here can tell whether that is so');
    const signed = tree ?? (await this.#signed(proof));
    if (signed === undefined) throw notTold(pruned, 'there is no checkpoint');
    const { leaf } = pruned;
    if (leaf >= signed.size) throw notTold(pruned, `there is no leaf ${leaf} that tells of it`);
    const entry = (await this.#bundle(Math.floor(leaf / TILE_WIDTH), signed.size))?.[leaf % TILE_WIDTH];
    if (entry === undefined) throw notTold(pruned, `leaf ${leaf}, which is to tell of it, is not there`);
    try {
      checkInclusion(leafHash(entry), leaf, signed, await this.proveInclusion(leaf, signed.size));
    } catch (error) {
      if (!(error instanceof TlogError)) throw error;
      throw notTold(pruned, `leaf ${leaf}, which is to tell of it, does not stand in the tree`, error);
    }
    declarationOf(pruned, entry, proof.told);
    this.#proven = formatPruned(pruned);
    return pruned;
  }

  /** Leaves below it were pruned; 0: none was. Rejects as `pruned` does. */
  async minimum(tree?: Checkpoint): Promise<number> {
    return (await this.pruned(tree))?.minimum ?? 0;
  }

  async #signed({ open }: PruningProof): Promise<Checkpoint | undefined> {
    const note = await this.#objects.get(CHECKPOINT_PATH);
    return note && open(note);
  }

  /** The hashes of the tree of `size` leaves: a part of it is read for each proof, never the whole. */
  nodes(size: number): ReadNode {
    return nodesOfTiles(size, async (tile) => {
      const found = await objectAtEdge(this.#objects, (width) => tilePath({ ...tile, width }), tile.width);
      return found?.bytes.subarray(0, tile.width * HASH_BYTES);
    });
  }

  proveInclusion(index: number, size: number): Promise<Buffer[]> {
    return proveInclusion(index, size, this.nodes(size));
  }

  proveConsistency(oldSize: number, size: number): Promise<Buffer[]> {
    return proveConsistency(oldSize, size, this.nodes(size));
  }

  /** The entries of a bundle of the tree of `size` leaves. Rejects with `corrupt` when it is not there or not whole, and with `pruned` when it was pruned. */
  async entries(bundle: number, size: number): Promise<Buffer[]> {
    return (await this.#bundle(bundle, size)) ?? Promise.reject(await this.#absent(bundle, size));
  }

  /** `undefined`: it is not there. */
  async #bundle(bundle: number, size: number): Promise<Buffer[] | undefined> {
    const width = widthAt(0, bundle, size);
    const path = entriesPath(bundle);
    const found = await objectAtEdge(this.#objects, path, width);
    if (found === undefined) return undefined;
    try {
      return decodeBundle(found.bytes, found.width).slice(0, width);
    } catch (error) {
      throw new LogError('corrupt', `${path(found.width)}: ${(error as Error).message}`, error);
    }
  }

  /** What was pruned is not lost; what is only said to be is. */
  async #absent(bundle: number, size: number): Promise<LogError> {
    const lost = (why = '', cause?: unknown): LogError =>
      new LogError('corrupt', `${entriesPath(bundle)(widthAt(0, bundle, size))} is not there${why}`, cause);
    try {
      const pruned = await this.pruned();
      if (pruned === undefined || bundle * TILE_WIDTH >= pruned.minimum) return lost();
      return new LogError(
        'pruned',
        `leaves below ${pruned.minimum} were pruned from the log: its event in leaf ${pruned.leaf} tells of it`,
      );
    } catch (error) {
      if (!(error instanceof LogError) && !(error instanceof TlogError)) throw error;
      return lost(`; ${error.message}`, error);
    }
  }

  /** The events of one class of a bundle, by index: those that were not deleted. */
  async details(detailClass: DetailClass, bundle: number, size: number): Promise<Map<number, Detail>> {
    const width = widthAt(0, bundle, size);
    const found = await objectAtEdge(this.#objects, (each) => detailsPath(detailClass, bundle, each), width);
    const details = found === undefined ? [] : this.#detailsIn(found, detailClass, bundle);
    return new Map(details.filter(({ index }) => index < size).map((detail) => [detail.index, detail]));
  }

  #detailsIn({ bytes, width }: { readonly bytes: Buffer; readonly width: number }, detailClass: DetailClass, bundle: number): Detail[] {
    try {
      return decodeDetails(bytes, bundle);
    } catch (error) {
      throw new LogError('corrupt', `${detailsPath(detailClass, bundle, width)}: ${(error as Error).message}`, error);
    }
  }

  /** The records of a bundle. Rejects with `corrupt` when an event is not the one that its leaf commits to. */
  async records(bundle: number, size: number): Promise<LogRecord[]> {
    const entries = await this.entries(bundle, size);
    const leaves = entries.map((entry, i) => leafOf(entry, bundle * TILE_WIDTH + i));
    const classes = CLASSES.filter((each) => leaves.some(({ kind }) => classOf(kind) === each));
    const details = new Map(await Promise.all(classes.map(async (each) => [each, await this.details(each, bundle, size)] as const)));
    return leaves.map((leaf, i) => {
      const index = bundle * TILE_WIDTH + i;
      const detail = details.get(classOf(leaf.kind))?.get(index);
      if (detail !== undefined && !commitmentOf(detail.salt, detail.event).equals(leaf.commitment))
        throw new LogError('corrupt', `the event of leaf ${index} is not the one that the leaf commits to`);
      return { index, entry: entries[i] as Buffer, leaf, detail };
    });
  }

  /** The records from index `from` to before `to` of the tree of `size` leaves, in order. */
  async *read(from: number, to: number, size: number): AsyncGenerator<LogRecord, void> {
    for (let bundle = Math.floor(from / TILE_WIDTH); bundle * TILE_WIDTH < to; bundle += 1)
      for (const record of await this.records(bundle, size)) if (record.index >= from && record.index < to) yield record;
  }

  /** One record. Throws `RangeError` unless 0 ≤ index < size. */
  async record(index: number, size: number): Promise<LogRecord> {
    if (!(index >= 0 && index < size)) throw new RangeError(`no leaf ${index} in a log of ${size}`);
    const records = await this.records(Math.floor(index / TILE_WIDTH), size);
    return records[index % TILE_WIDTH] as LogRecord;
  }
}
