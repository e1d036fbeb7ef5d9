/**
 * Copies the published log to another store, behind everybody's back: an event is acknowledged when the local disk has it, and a store that is away holds up
 * nothing. What will not change any more (full tiles and bundles, checkpoints now and then) is locked there; the newest checkpoint is a pointer that is put when
 * all that it stands for is there. So the pointer also says where to go on, and there is nothing else to remember.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ObjectStore, StorageError } from '../storage/object_store.ts';
import { type Checkpoint, readCheckpoint } from '../tlog/checkpoint.ts';
import { TlogError } from '../tlog/error.ts';
import { checkConsistency, proveConsistency } from '../tlog/proof.ts';
import { CHECKPOINT_PATH, hashesAt, nodesOfTiles, partialTiles, TILE_WIDTH, type Tile, tilePath } from '../tlog/tile.ts';
import { detailsPath } from './details.ts';
import { LogError } from './error.ts';
import { CLASSES, type DetailClass } from './leaf.ts';
import { formatPruned, PRUNED_PATH, parsePruned } from './pruned.ts';
import { keptCheckpointPath, type ObjectKind } from './publisher.ts';
import { LogReader } from './reader.ts';

/** What a quorum of witnesses has cosigned; it stands beside the newest checkpoint, and may be older. */
export const WITNESSED_PATH = 'checkpoint.witnessed';
export const KEYS_PATH = 'keys';
/** What is written again and again. */
export const POINTERS: ReadonlySet<string> = new Set([CHECKPOINT_PATH, WITNESSED_PATH, KEYS_PATH, PRUNED_PATH]);

export interface ReplicatorOptions {
  /** Where the log is published. */
  readonly from: ObjectStore;
  /** Where it goes: nobody else writes there. */
  readonly to: ObjectStore;
  /** The checkpoint in a note that the log's key has signed. Throws otherwise. */
  readonly open: (note: Buffer) => Checkpoint;
  /** As of `PruningProof`. Default: no event tells of pruning, and what says that leaves were pruned is refused. */
  readonly told?: ((event: Buffer) => string | undefined) | undefined;
  /** Until when an object that will not change any more is locked in `to`. Default: it is not. */
  readonly retainUntil?: ((kind: ObjectKind) => Date | undefined) | undefined;
  /** Told of a full object of details that is in `to` now, so that what is held is held there. */
  readonly arrived?: ((detailClass: DetailClass, bundle: number) => Promise<void>) | undefined;
  /** From one look to the next. Milliseconds, default 10,000. */
  readonly intervalMs?: number;
  /** A checkpoint is kept for good in `to` at least as often, while the log grows. Milliseconds, default 300,000. */
  readonly keepMs?: number;
  readonly onProblem?: (error: Error) => void;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

export interface Replication {
  /** Size of the log where it is published, and of what is in the other store. */
  readonly published: number;
  readonly replicated: number;
  /** Since when the other store has been behind, Unix milliseconds; 0 when it is not. */
  readonly behindSince: number;
  /** Why the last attempt failed; empty when it did not. */
  readonly failure: string;
}

/** Objects on their way at once. */
const CONCURRENCY = 4;
/** What is read of the published log may have been replaced by the next checkpoint meanwhile. */
const ATTEMPTS = 5;

/** An object that the newest checkpoint needs is not there any more: a newer one is. */
class Overtaken extends Error {}

export class Replicator {
  readonly #options: Required<Omit<ReplicatorOptions, 'retainUntil' | 'arrived' | 'told'>> &
    Pick<ReplicatorOptions, 'retainUntil' | 'arrived' | 'told'>;
  /** Of what is copied. */
  readonly #reader: LogReader;
  readonly #stopped = new AbortController();
  /** The next round is the last one. */
  readonly #ending = new AbortController();
  /** What is in `to`; unknown before the first look. */
  #replicated: number | undefined;
  #published = 0;
  #behindSince = 0;
  #failure = '';
  #keptAt = 0;
  #lastKept = '';
  /** Bundles from here on are not in `to` yet, of those below the newest pointer's that a failed attempt has copied. */
  #copied = 0;
  readonly #put = new Map<string, string>();
  /** An attempt has failed, here or before the start. */
  #mayHaveMore = true;
  /** Details of bundles that were not full that this has put: only the newest stay. */
  readonly #edgeDetails = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(options: ReplicatorOptions) {
    this.#options = { intervalMs: 10_000, keepMs: 300_000, onProblem: () => {}, now: Date.now, ...options };
    const { from, open, told = () => undefined } = options;
    this.#reader = new LogReader(from, { open, told });
  }

  get progress(): Replication {
    return { published: this.#published, replicated: this.#replicated ?? 0, behindSince: this.#behindSince, failure: this.#failure };
  }

  /** Goes on until `close`. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Copies what is published by now, and then no more. Resolves also when that failed. */
  async finish(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.finish();
  }

  /** Brings the other store up to what is published now. Rejects with a `StorageError`, or with a `LogError` when the two are not the same log. */
  async round(): Promise<void> {
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          await this.#copyNewest();
          break;
        } catch (error) {
          if (!(error instanceof Overtaken) || attempt === ATTEMPTS) throw error;
        }
      }
      this.#failure = '';
      this.#behindSince = 0;
      this.#mayHaveMore = false;
    } catch (error) {
      this.#mayHaveMore = true;
      this.#failure = (error as Error).message;
      throw error;
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    for (let last = false; !last && !signal.aborted; ) {
      last = this.#ending.signal.aborted;
      const before = this.#failure;
      await this.round().catch((error: Error) => {
        if (!signal.aborted && error.message !== before) this.#options.onProblem(error);
      });
      if (!last) await sleep(this.#options.intervalMs, undefined, { signal: this.#ending.signal }).catch(() => {});
    }
  }

  async #copyNewest(): Promise<void> {
    const { from, to, open, now } = this.#options;
    const note = await from.get(CHECKPOINT_PATH);
    if (note === undefined) return;
    const target = open(note);
    this.#published = target.size;
    if (this.#replicated !== target.size && this.#behindSince === 0) this.#behindSince = now();
    this.#replicated ??= await this.#whatIsThere(target);
    if (this.#replicated < target.size) {
      await this.#copyFull(this.#replicated, target.size);
      const { tree, details } = await this.#edge(target.size);
      for (const [key, bytes] of tree) await this.#putOnce(key, bytes, undefined);
      for (const [key, bytes] of details) await this.#putDetails(key, bytes);
      await this.#keep(target.size, note);
      await to.put(CHECKPOINT_PATH, note);
      const before = this.#replicated;
      this.#replicated = target.size;
      await this.#clean(before, target.size);
    }
    await this.#copyKept();
    for (const key of [WITNESSED_PATH, KEYS_PATH, PRUNED_PATH]) await this.#copyPointer(key);
  }

  /** How much of this very log is there already. Rejects with a `LogError` when what is there is another one. */
  async #whatIsThere(target: Checkpoint): Promise<number> {
    const { from, to, open } = this.#options;
    const there = await to.get(CHECKPOINT_PATH);
    if (there === undefined) return 0;
    const old = open(there);
    if (old.size > target.size)
      throw new LogError(
        'rolled_back',
        `${to.url} has ${old.size} leaves of this log, and ${target.size} are published here: the log was rolled back`,
      );
    const proof = await proveConsistency(
      old.size,
      target.size,
      nodesOfTiles(target.size, (tile) => from.get(tilePath(tile))),
    );
    try {
      checkConsistency(old, target, proof);
    } catch (error) {
      throw new LogError('forked', `${to.url} has another log of this name and key: ${(error as Error).message}`, error);
    }
    return old.size;
  }

  /** The full tiles, bundles and details that a tree of `size` has and one of `before` has not: from the lowest bundle upwards, a few at a time. */
  async #copyFull(before: number, size: number): Promise<void> {
    const { from, arrived } = this.#options;
    const full = (leaves: number): number => Math.floor(leaves / TILE_WIDTH);
    const running = new Set<Promise<void>>();
    let failed: { readonly error: unknown } | undefined;
    const add = async (work: Promise<void>): Promise<void> => {
      const watched = work.catch((error: unknown) => {
        failed ??= { error };
      });
      running.add(watched);
      watched.then(() => running.delete(watched));
      while (running.size >= CONCURRENCY && failed === undefined) await Promise.race(running);
      this.#stopped.signal.throwIfAborted();
    };
    const copy = async (key: string, kind: 'tile' | 'entries'): Promise<void> => this.#putOnce(key, await this.#read(key), kind);
    const copyDetails = async (detailClass: DetailClass, bundle: number): Promise<void> => {
      const key = detailsPath(detailClass, bundle, TILE_WIDTH);
      // Not there: the bundle has no events of the class, or they were deleted in time.
      const bytes = await from.get(key);
      if (bytes === undefined) return;
      await this.#putOnce(key, bytes, detailClass);
      await arrived?.(detailClass, bundle);
    };
    // A replica that begins after leaves were pruned begins behind them.
    const minimum = await this.#minimum();
    for (let bundle = Math.max(full(before), this.#copied, full(minimum)); bundle < full(size) && failed === undefined; bundle += 1) {
      await add(copy(tilePath({ level: 'entries', index: bundle, width: TILE_WIDTH }), 'entries'));
      for (const each of CLASSES) await add(copyDetails(each, bundle));
      for (const tile of tilesThatEnd(bundle)) await add(copy(tilePath(tile), 'tile'));
      // All that is older than what is on its way has arrived.
      this.#copied = Math.max(this.#copied, bundle - CONCURRENCY);
    }
    await Promise.all(running);
    if (failed !== undefined) throw failed.error;
    this.#copied = full(size);
  }

  /** What stands at the right edge of the tree of `size` leaves: read at once, since the next publication replaces it. */
  async #edge(size: number): Promise<{ readonly tree: [string, Buffer][]; readonly details: [string, Buffer | undefined][] }> {
    const { from } = this.#options;
    const width = size % TILE_WIDTH;
    const bundle = Math.floor(size / TILE_WIDTH);
    const keys: string[] = partialTiles(size).map(tilePath);
    if (width > 0) keys.push(tilePath({ level: 'entries', index: bundle, width }));
    const tree = await Promise.all(keys.map(async (key): Promise<[string, Buffer]> => [key, await this.#read(key)]));
    if (width === 0) return { tree, details: [] };
    const details = await Promise.all(
      CLASSES.map(async (each): Promise<[string, Buffer | undefined]> => {
        const key = detailsPath(each, bundle, width);
        return [key, await from.get(key)];
      }),
    );
    // Details that have gone may have been replaced by wider ones: only if nothing was published meanwhile is it known that there are none.
    const newest = await from.get(CHECKPOINT_PATH);
    if (newest === undefined || readCheckpoint(newest).size !== size) throw new Overtaken(`a checkpoint of ${size} was overtaken`);
    return { tree, details };
  }

  async #read(key: string): Promise<Buffer> {
    const bytes = await this.#options.from.get(key);
    if (bytes === undefined) throw new Overtaken(`${this.#options.from.url}: ${key} is not there`);
    return bytes;
  }

  /** Puts what must not be there with other bytes. */
  async #putOnce(key: string, bytes: Buffer, kind: 'tile' | 'entries' | DetailClass | undefined): Promise<void> {
    const { to, retainUntil } = this.#options;
    const until = kind === undefined ? undefined : retainUntil?.(kind);
    if ((await to.put(key, bytes, { ifAbsent: true, ...(until && { retainUntil: until }) })) === 'stored') return;
    const there = await to.get(key);
    if (there === undefined) throw new StorageError('unavailable', `${to.url}: ${key} is there, and cannot be read`);
    if (!there.equals(bytes)) throw new LogError('forked', `${to.url}: ${key} is there already, and is not what this log has at its place`);
  }

  /** Of the bundle that is not full. What an attempt that failed has put there may have been more; where a store keeps versions the first one counts, so it goes before. */
  async #putDetails(key: string, bytes: Buffer | undefined): Promise<void> {
    const { to } = this.#options;
    if (bytes === undefined) {
      if (this.#mayHaveMore) await to.delete(key);
      return;
    }
    this.#edgeDetails.add(key);
    if ((await to.put(key, bytes, { ifAbsent: true })) === 'stored' || (await to.get(key))?.equals(bytes)) return;
    await to.delete(key);
    await to.put(key, bytes);
  }

  /** Locks a checkpoint now and then: whoever takes the gateway over can move the pointer, and not take back what was said. */
  async #keep(size: number, note: Buffer): Promise<void> {
    const { keepMs, now } = this.#options;
    if (now() - this.#keptAt < keepMs) return;
    await this.#putKept(keptCheckpointPath(size), note);
    this.#keptAt = now();
  }

  async #putKept(key: string, note: Buffer): Promise<void> {
    const { to, retainUntil } = this.#options;
    const until = retainUntil?.('checkpoint');
    if ((await to.put(key, note, { ifAbsent: true, ...(until && { retainUntil: until }) })) === 'stored') return;
    const there = await to.get(key);
    // Another signature of the same tree is no other checkpoint.
    const [ours, theirs] = [readCheckpoint(note), there === undefined ? undefined : this.#opened(key, there)];
    if (theirs !== undefined && !theirs.root.equals(ours.root))
      throw new LogError('forked', `${to.url}: ${key} is there already, with another root`);
  }

  /** What the log has not signed stands in the place of what it has, perhaps for good: that is told, and holds up no copy. */
  #opened(key: string, note: Buffer): Checkpoint | undefined {
    const { to, open, onProblem } = this.#options;
    try {
      return open(note);
    } catch (error) {
      if (!(error instanceof TlogError)) throw error;
      onProblem(new LogError('corrupt', `${to.url}: ${key} is there already, and is none of this log: ${error.message}`, error));
      return undefined;
    }
  }

  /** Checkpoints that are kept where the log is published. */
  async #copyKept(): Promise<void> {
    const { from } = this.#options;
    for await (const key of from.list('checkpoints/', this.#lastKept)) {
      const note = await this.#read(key);
      if (readCheckpoint(note).size > (this.#replicated ?? 0)) return;
      await this.#putKept(key, note);
      this.#lastKept = key;
    }
  }

  /** Where the log begins. What no event tells of keeps no leaf from being copied: it is refused when it is to be copied itself. */
  async #minimum(): Promise<number> {
    try {
      return await this.#reader.minimum();
    } catch (error) {
      if (error instanceof LogError) return 0;
      throw error;
    }
  }

  /** What says that leaves were pruned, as an event tells; `undefined`: it is not there any more. Rejects as `LogReader.pruned` does. */
  async #declared(): Promise<Buffer | undefined> {
    const pruned = await this.#reader.pruned();
    return pruned && formatPruned(pruned);
  }

  async #copyPointer(key: string): Promise<void> {
    const { from, to } = this.#options;
    const bytes = await from.get(key);
    const text = bytes?.toString('latin1') ?? '';
    if (bytes === undefined || this.#put.get(key) === text) return;
    // What witnesses have cosigned is of use with the tree that it is of.
    if (key === WITNESSED_PATH && readCheckpoint(bytes).size > (this.#replicated ?? 0)) return;
    // And what tells of pruning with its event.
    if (key === PRUNED_PATH && !(await this.#declared())?.equals(bytes)) return;
    if (key === PRUNED_PATH && parsePruned(bytes).leaf >= (this.#replicated ?? 0)) return;
    await to.put(key, bytes);
    this.#put.set(key, text);
  }

  /** Removes the edge of the tree as it was before. What is left over by a failure harms nobody. */
  async #clean(before: number, size: number): Promise<void> {
    const { to } = this.#options;
    const [width, bundle] = [before % TILE_WIDTH, Math.floor(before / TILE_WIDTH)];
    const keep = new Set(partialTiles(size).map(tilePath));
    const old = partialTiles(before).map(tilePath);
    if (width > 0) {
      old.push(tilePath({ level: 'entries', index: bundle, width }));
      for (const each of CLASSES) this.#edgeDetails.add(detailsPath(each, bundle, width));
    }
    for (const key of old) if (!keep.has(key)) await to.delete(key);
    const newest = CLASSES.map((each) => detailsPath(each, Math.floor(size / TILE_WIDTH), size % TILE_WIDTH));
    for (const key of this.#edgeDetails) {
      if (newest.includes(key)) continue;
      await to.delete(key);
      this.#edgeDetails.delete(key);
    }
  }
}

/** The hash tiles that are full once a bundle is: its own, and each above that ends with it. */
const tilesThatEnd = (bundle: number): (Tile & { readonly level: number })[] => {
  const tiles: (Tile & { readonly level: number })[] = [];
  const size = (bundle + 1) * TILE_WIDTH;
  for (let level = 0; hashesAt(level, size) > 0 && size % TILE_WIDTH ** (level + 1) === 0; level += 1)
    tiles.push({ level, index: hashesAt(level, size) / TILE_WIDTH - 1, width: TILE_WIDTH });
  return tiles;
};
