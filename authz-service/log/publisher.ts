/**
 * Derives from the journal, and from the end of what is published already, what the world sees: tiles, entry bundles and details, and after them the checkpoint
 * that they belong to. Tiles and bundles are the same byte for byte however often and from wherever it is done, so a crash at any point is mended by doing it again;
 * and one that is there with other bytes is the end of it, because going on would fork the log. Details may have become fewer.
 */
import type { FileSystem } from '../journal/file_system.ts';
import type { Extent } from '../journal/segment.ts';
import { type ObjectStore, StorageError } from '../storage/object_store.ts';
import { Frontier } from '../tlog/hash.ts';
import { CHECKPOINT_PATH, TILE_WIDTH, type Tile, TileEdge, tilePath, widthAt } from '../tlog/tile.ts';
import { Bundle } from './bundle.ts';
import { detailsPath } from './details.ts';
import { LogError } from './error.ts';
import { tellJournaled } from './journaled.ts';
import { CLASSES, type DetailClass } from './leaf.ts';
import { LogReader, type PublishedCheckpoint } from './reader.ts';

export interface Committed {
  readonly size: number;
  readonly root: Buffer;
  readonly note: string;
}

/** What an object holds, for those who decide how long it is locked. */
export type ObjectKind = 'tile' | 'entries' | 'checkpoint' | DetailClass;

export interface PublisherOptions {
  readonly objects: ObjectStore;
  /** Where the journal is. */
  readonly files: FileSystem;
  /** Until when an object that will not change any more is locked. Default: it is not. */
  readonly retainUntil?: ((kind: ObjectKind) => Date | undefined) | undefined;
  /** Adds signatures to a checkpoint before it is published: those of witnesses. Default: none. */
  readonly cosign?: ((note: string) => Promise<string>) | undefined;
  readonly now?: (() => number) | undefined;
}

/** What the log asks of who publishes, in whatever thread. */
export interface Publishing {
  /** The size of the tree whose tiles and checkpoint stand in the store. */
  readonly size: number;
  /**
   * Publishes a committed checkpoint with all that it stands for; one at a time. `journal`: where its records stand, from index `size` on or before. After a rejection
   * nothing is changed that counts, and the same or a later one may be tried. Rejects with a `StorageError`, a `JournalError`, or a `LogError` (`forked`, `corrupt`).
   */
  publish(target: Committed, journal: readonly Extent[]): Promise<void>;
  close(): Promise<void>;
}

type HashTile = Tile & { readonly level: number };

/** Objects that are written at once: Node has four threads for files, and the journal's next write must find one. */
const CONCURRENCY = 3;
/** A checkpoint is kept for good at least as often: after so many leaves, or so much time. */
const KEPT_LEAVES = 1 << 16;
const KEPT_MS = 3_600_000;

export const keptCheckpointPath = (size: number): string => `checkpoints/${String(size).padStart(16, '0')}`;

/** Puts what must not be there with other bytes, many at a time. */
class Puts {
  readonly #objects: ObjectStore;
  readonly #running = new Set<Promise<void>>();
  #error: unknown;

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  /** Resolves when there is room for the next one; rejects when one has failed. */
  async add(key: string, bytes: Buffer, retainUntil: Date | undefined): Promise<void> {
    await this.#run(this.#put(key, bytes, retainUntil));
  }

  /** Likewise of details: what an attempt that failed has put there, before some of them were deleted, is put right. */
  async addDetails(key: string, bytes: Buffer, retainUntil: Date | undefined): Promise<void> {
    await this.#run(this.#putDetails(key, bytes, retainUntil));
  }

  /** Resolves when all of them are durable. */
  async done(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#error !== undefined) throw this.#error;
    await this.#objects.settle();
  }

  async #run(work: Promise<void>): Promise<void> {
    const put = work.then(
      () => {},
      (error: unknown) => {
        this.#error ??= error;
      },
    );
    this.#running.add(put);
    put.then(() => this.#running.delete(put));
    while (this.#running.size >= CONCURRENCY && this.#error === undefined) await Promise.race(this.#running);
    if (this.#error !== undefined) throw this.#error;
  }

  async #put(key: string, bytes: Buffer, retainUntil: Date | undefined): Promise<void> {
    if (!(await this.#isThere(key, bytes, retainUntil)))
      throw new LogError('forked', `${this.#objects.url}: ${key} is there already, and is not what this log has at its place`);
  }

  /** Leaves say which details are theirs, so that other ones fork nothing. */
  async #putDetails(key: string, bytes: Buffer, retainUntil: Date | undefined): Promise<void> {
    if (await this.#isThere(key, bytes, retainUntil)) return;
    try {
      await this.#objects.put(key, bytes, { settledLater: true, ...(retainUntil !== undefined && { retainUntil }) });
    } catch (error) {
      // It goes when its lock is over.
      if (!(error instanceof StorageError && error.code === 'retained')) throw error;
    }
  }

  /** Puts what is not there. @returns false when there is something else */
  async #isThere(key: string, bytes: Buffer, retainUntil: Date | undefined): Promise<boolean> {
    const options = { ifAbsent: true, settledLater: true, ...(retainUntil !== undefined && { retainUntil }) } as const;
    if ((await this.#objects.put(key, bytes, options)) === 'stored') return true;
    return (await this.#objects.get(key))?.equals(bytes) === true;
  }
}

/** What is published, its signatures not verified, and the right edge of its tree; `undefined`: nothing is. Rejects with a `LogError` (`corrupt`), a `TlogError` or a `StorageError`. */
export const publishedEdge = async (
  objects: ObjectStore,
): Promise<{ readonly checkpoint: PublishedCheckpoint; readonly edge: TileEdge } | undefined> => {
  const checkpoint = await new LogReader(objects).checkpoint();
  if (checkpoint === undefined) return undefined;
  const { size, root } = checkpoint;
  const edge = await TileEdge.of(size, (tile) => objects.get(tilePath(tile)));
  if (!Frontier.of(size, edge.roots()).root().equals(root))
    throw new LogError('corrupt', `${objects.url}: the tiles do not give the root of the published checkpoint of ${size}`);
  await begunBundle(objects, edge);
  return { checkpoint, edge };
};

/** The bundle that is not full, as it is published. Rejects with a `LogError` (`corrupt`) unless its entries give the hashes of the tree and each of its details fits its leaf. */
const begunBundle = async (objects: ObjectStore, edge: TileEdge): Promise<Bundle> => {
  const { size } = edge;
  const bundle = new Bundle(Math.floor(size / TILE_WIDTH));
  if (size % TILE_WIDTH === 0) return bundle;
  for (const { entry, detail } of await new LogReader(objects).records(bundle.index, size)) bundle.add(entry, detail);
  const [lowest] = edge.partial();
  if (lowest === undefined || !bundle.hashes().equals(lowest.bytes))
    throw new LogError('corrupt', `${objects.url}: the newest entries are not those of the published checkpoint of ${size}`);
  return bundle;
};

export class Publisher implements Publishing {
  readonly #options: PublisherOptions;
  #edge: TileEdge;
  #keptSize = 0;
  #keptAt = Number.NEGATIVE_INFINITY;

  /** Goes on from the tiles of what is published. */
  constructor(options: PublisherOptions, edge: TileEdge) {
    this.#options = options;
    this.#edge = edge;
    this.#keptSize = edge.size;
  }

  get size(): number {
    return this.#edge.size;
  }

  async publish(target: Committed, journal: readonly Extent[]): Promise<void> {
    const { objects, files, cosign } = this.#options;
    const puts = new Puts(objects);
    const before = this.#edge.size;
    const edge = this.#edge.clone();
    // Read again each time: meanwhile some of its details may have been deleted.
    let bundle = await begunBundle(objects, edge);
    const full: [HashTile, Buffer][] = [];
    const put = async (): Promise<void> => {
      edge.appendAll(bundle.hashes(), (tile, bytes) => full.push([tile, bytes]));
      // Tiles of hashes become full with a bundle.
      for (const [tile, bytes] of full.splice(0)) await puts.add(tilePath(tile), bytes, this.#retainUntil('tile'));
      if (bundle.count > 0) await this.#putBundle(puts, bundle);
    };
    const told = tellJournaled(files, journal, before, target.size, (bytes, place) => {
      bundle.addPlaced(bytes, place);
      return bundle.count < TILE_WIDTH ? 'more' : 'enough';
    });
    for await (const _ of told) {
      await put();
      bundle = new Bundle(bundle.index + 1);
    }
    await put();
    for (const { tile, bytes } of edge.partial()) await puts.add(tilePath(tile), bytes, undefined);
    await puts.done();
    if (edge.size !== target.size || !Frontier.of(edge.size, edge.roots()).root().equals(target.root))
      throw new LogError('forked', `what the journal holds does not give the root of the checkpoint of ${target.size}`);
    const note = cosign === undefined ? target.note : await cosign(target.note);
    await this.#keep(target.size, note);
    await objects.put(CHECKPOINT_PATH, Buffer.from(note));
    this.#edge = edge;
    await this.#clean(before, edge.size);
  }

  async close(): Promise<void> {}

  async #putBundle(puts: Puts, bundle: Bundle): Promise<void> {
    const { index, count } = bundle;
    const until = (kind: ObjectKind): Date | undefined => (count === TILE_WIDTH ? this.#retainUntil(kind) : undefined);
    await puts.add(tilePath({ level: 'entries', index, width: count }), bundle.entries, until('entries'));
    for (const [each, bytes] of bundle.details()) await puts.addDetails(detailsPath(each, index, count), bytes, until(each));
  }

  #retainUntil(kind: ObjectKind): Date | undefined {
    return this.#options.retainUntil?.(kind);
  }

  /** Keeps a checkpoint now and then: to prove to somebody who remembers an old one that it is the same log, and to lock what was said. */
  async #keep(size: number, note: string): Promise<void> {
    const now = (this.#options.now ?? Date.now)();
    if (Math.floor(size / KEPT_LEAVES) === Math.floor(this.#keptSize / KEPT_LEAVES) && now - this.#keptAt < KEPT_MS) return;
    const retainUntil = this.#retainUntil('checkpoint');
    // One that was kept by an earlier attempt says the same, whoever else has signed it since.
    await this.#options.objects.put(keptCheckpointPath(size), Buffer.from(note), { ifAbsent: true, ...(retainUntil && { retainUntil }) });
    this.#keptSize = size;
    this.#keptAt = now;
  }

  /** Removes the partial forms of what is full now, and of details those that a wider one has replaced. What is left over by a failure harms nobody. */
  async #clean(before: number, size: number): Promise<void> {
    const { objects } = this.#options;
    for (let level = 0; widthAt(level, 0, before) > 0; level += 1) {
      const index = Math.floor(before / TILE_WIDTH ** (level + 1));
      if (widthAt(level, index, before) === 0 || widthAt(level, index, size) < TILE_WIDTH) continue;
      await this.#removeBelow(`${tilePath({ level, index, width: TILE_WIDTH })}.p/`);
      if (level === 0) await this.#removeBelow(`${tilePath({ level: 'entries', index, width: TILE_WIDTH })}.p/`);
    }
    const [bundle, width] = [Math.floor(before / TILE_WIDTH), before % TILE_WIDTH];
    if (width > 0 && size > before) for (const each of CLASSES) await objects.delete(detailsPath(each, bundle, width));
  }

  async #removeBelow(prefix: string): Promise<void> {
    for await (const key of this.#options.objects.list(prefix)) await this.#options.objects.delete(key);
  }
}
