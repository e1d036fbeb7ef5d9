/** Verifies a whole log as it was published: checkpoint, tree, leaves, events. Nothing that is read is believed, but what the verifier's keys have signed. */
import { type Detail, decodeDetails, detailsPath } from '../log/details.ts';
import { CLASSES, classOf, type DetailClass, decodeLeaf, type Leaf } from '../log/leaf.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { Frontier, HASH_BYTES, leafHash } from '../tlog/hash.ts';
import { decodeBundle, TILE_WIDTH, type Tile, TileEdge, tilePath, widthAt } from '../tlog/tile.ts';
import { conclude, type Earlier, earlierOnes, readHeads } from './head.ts';
import { KeptCheckpoints, keptNames } from './kept.ts';
import { Chains, checkEvent, Deletions, Emitters } from './record.ts';
import { Faults, type Report } from './report.ts';
import type { Seen, Trust } from './trust.ts';

export interface Verification {
  readonly objects: ObjectStore;
  readonly trust: Trust;
  /** Told now and then: leaves checked, of how many. */
  readonly onProgress?: (checked: number, size: number) => void;
}

interface Counts {
  leaves: number;
  tiles: number;
  events: number;
  deletedEvents: number;
  sessions: number;
  /** Checkpoints that the log keeps beside its newest. */
  checkpoints: number;
  bytes: number;
}

/** Rejects with a `StorageError` when the objects cannot be read; whatever they say, it is a report. */
export const verifyLog = async ({ objects, trust, onProgress = () => {} }: Verification): Promise<Report> => {
  const started = performance.now();
  const faults = new Faults();
  const remarks: string[] = [];
  const counts: Counts = { leaves: 0, tiles: 0, events: 0, deletedEvents: 0, sessions: 0, checkpoints: 0, bytes: 0 };

  const names = await keptNames(objects);
  const heads = await readHeads(objects, trust, faults);
  const { seen } = heads;
  if (seen !== undefined) {
    const earlier = earlierOnes(heads, faults);
    const kept = new KeptCheckpoints(faults);
    await kept.read(objects, names, seen, trust);
    await new Walk(objects, seen, earlier, kept, { faults, remarks, counts, onProgress }).run();
  }
  const what = `the log ${seen?.origin ?? trust.origin ?? objects.url}`;
  return conclude({ what, started, faults, remarks, heads, trust, checked: { ...counts } });
};

interface Found {
  readonly faults: Faults;
  readonly remarks: string[];
  readonly counts: Counts;
  readonly onProgress: (checked: number, size: number) => void;
}

/** Bundles that are read ahead of the one that is checked. */
const AHEAD = 8;

interface Bundle {
  readonly entries: Buffer[] | undefined;
  readonly problem: string;
  readonly tile: Buffer | undefined;
  readonly details: ReadonlyMap<DetailClass, Buffer>;
}

/** One pass over the log, a bundle of 256 leaves after the other, in memory that grows with the number of sessions only. */
class Walk {
  readonly #objects: ObjectStore;
  readonly #seen: Seen;
  readonly #earlier: readonly Earlier[];
  readonly #kept: KeptCheckpoints;
  readonly #found: Found;
  readonly #edge = new TileEdge();
  readonly #chains: Chains;
  readonly #emitters: Emitters;
  readonly #deletions: Deletions;
  readonly #filled: { readonly tile: Tile; readonly bytes: Buffer }[] = [];

  constructor(objects: ObjectStore, seen: Seen, earlier: readonly Earlier[], kept: KeptCheckpoints, found: Found) {
    this.#objects = objects;
    this.#seen = seen;
    this.#earlier = earlier;
    this.#kept = kept;
    this.#found = found;
    this.#chains = new Chains(found.faults);
    this.#emitters = new Emitters(found);
    this.#deletions = new Deletions(seen.size);
  }

  async run(): Promise<void> {
    const { size, root } = this.#seen;
    const { faults, counts, onProgress } = this.#found;
    const bundles = Math.ceil(size / TILE_WIDTH);
    this.#kept.grown(0, () => this.#root());
    const ahead: Promise<Bundle>[] = [];
    const read = (bundle: number): void => {
      const reading = this.#read(bundle);
      // It is awaited in its turn: until then a failure is nobody's.
      reading.catch(() => {});
      ahead.push(reading);
    };
    for (let bundle = 0; bundle < Math.min(AHEAD, bundles); bundle += 1) read(bundle);
    for (let bundle = 0; bundle < bundles; bundle += 1) {
      const content = await (ahead.shift() as Promise<Bundle>);
      if (bundle + AHEAD < bundles) read(bundle + AHEAD);
      if (!this.#take(bundle, content)) return;
      await this.#checkFilled();
      if (bundle % 64 === 63) onProgress(counts.leaves, size);
    }
    counts.sessions = this.#chains.sessions;
    this.#emitters.tell();
    this.#chains.tell(this.#found.remarks);
    this.#kept.tell(this.#found.remarks);
    counts.checkpoints = this.#kept.checked;
    this.#deletions.tell(this.#found);
    for (const { tile, bytes } of this.#edge.partial()) await this.#checkTile(tile, bytes);
    if (size === 0) this.#checkEarlier();
    const computed = this.#root();
    if (!computed.equals(root))
      faults.add('root', `the root of ${size} leaves is ${computed.toString('base64')}, and ${root.toString('base64')} is signed`);
  }

  #root(): Buffer {
    return Frontier.of(this.#edge.size, this.#edge.roots()).root();
  }

  async #read(bundle: number): Promise<Bundle> {
    const { size } = this.#seen;
    const width = widthAt(0, bundle, size);
    // Published since the checkpoint was read: a full one has taken the partial one's place.
    const either = async (path: (width: number) => string): Promise<readonly [Buffer | undefined, number]> => {
      const bytes = await this.#objects.get(path(width));
      if (bytes !== undefined || width === TILE_WIDTH) return [bytes, width];
      return [await this.#objects.get(path(TILE_WIDTH)), TILE_WIDTH];
    };
    const [[entries, entriesWidth], [tile], ...details] = await Promise.all([
      either((each) => tilePath({ level: 'entries', index: bundle, width: each })),
      either((each) => tilePath({ level: 0, index: bundle, width: each })),
      ...CLASSES.map(async (each) => [each, (await either((w) => detailsPath(each, bundle, w)))[0]] as const),
    ]);
    const there = details.flatMap(([each, bytes]) => (bytes === undefined ? [] : [[each, bytes] as const]));
    const path = tilePath({ level: 'entries', index: bundle, width });
    const rest = { tile: tile?.subarray(0, HASH_BYTES * width), details: new Map(there) };
    if (entries === undefined) return { entries: undefined, problem: `${path} is not there`, ...rest };
    try {
      return { entries: decodeBundle(entries, entriesWidth).slice(0, width), problem: '', ...rest };
    } catch (error) {
      return { entries: undefined, problem: `${path}: ${(error as Error).message}`, ...rest };
    }
  }

  /** @returns whether the walk can go on */
  #take(bundle: number, { entries, problem, tile, details }: Bundle): boolean {
    const { faults, counts } = this.#found;
    const first = bundle * TILE_WIDTH;
    const width = widthAt(0, bundle, this.#seen.size);
    if (entries === undefined) faults.add(problem.endsWith('there') ? 'missing' : 'malformed', problem);
    const hashes = entries?.map(leafHash) ?? hashesIn(tile, width);
    if (hashes === undefined) {
      faults.add('missing', `neither leaves nor hashes of the leaves from ${first} on: what follows was not looked at`);
      return false;
    }
    if (tile === undefined) faults.add('missing', `${tilePath({ level: 0, index: bundle, width })} is not there`);
    else if (!Buffer.concat(hashes).equals(tile)) faults.add('tile', tilePath({ level: 0, index: bundle, width }));
    else counts.tiles += 1;
    for (const hash of hashes) {
      this.#edge.append(hash, (full, bytes) => full.level > 0 && this.#filled.push({ tile: full, bytes }));
      this.#checkEarlier();
      if (this.#edge.size === this.#kept.next) this.#kept.grown(this.#edge.size, () => this.#root());
    }
    if (entries !== undefined) this.#takeLeaves(first, entries, details);
    counts.leaves += width;
    return true;
  }

  #takeLeaves(first: number, entries: readonly Buffer[], bundles: Bundle['details']): void {
    const { faults, counts } = this.#found;
    const details = { events: new Map<number, Detail>(), payloads: new Map<number, Detail>() } satisfies Record<
      DetailClass,
      Map<number, Detail>
    >;
    for (const [detailClass, bytes] of bundles) {
      try {
        for (const detail of decodeDetails(bytes, first / TILE_WIDTH)) details[detailClass].set(detail.index, detail);
      } catch (error) {
        faults.add('malformed', `${detailsPath(detailClass, first / TILE_WIDTH, TILE_WIDTH)}: ${(error as Error).message}`);
      }
    }
    for (const [i, entry] of entries.entries()) {
      const index = first + i;
      counts.bytes += entry.length;
      let leaf: Leaf;
      try {
        leaf = decodeLeaf(entry);
      } catch (error) {
        faults.add('malformed', `leaf ${index}: ${(error as Error).message}`);
        continue;
      }
      this.#emitters.add(index, leaf);
      const ofClass = details[classOf(leaf.kind)];
      const detail = ofClass.get(index);
      ofClass.delete(index);
      if (detail === undefined) {
        counts.deletedEvents += 1;
        this.#chains.add(index, leaf, undefined);
        this.#deletions.missing(index, leaf, bundles.has(classOf(leaf.kind)));
      } else {
        const event = checkEvent(index, leaf, detail, faults);
        this.#chains.add(index, leaf, event);
        if (event !== undefined) this.#deletions.add(event);
        counts.events += 1;
        counts.bytes += detail.event.length;
      }
    }
    for (const index of [...details.events.keys(), ...details.payloads.keys()])
      faults.add('leaf', `an event stands beside leaf ${index}, where there is none`);
  }

  async #checkFilled(): Promise<void> {
    for (const { tile, bytes } of this.#filled.splice(0)) await this.#checkTile(tile, bytes);
  }

  async #checkTile(tile: Tile, bytes: Buffer): Promise<void> {
    if (tile.level === 0) return;
    const { faults, counts } = this.#found;
    const stored =
      (await this.#objects.get(tilePath(tile))) ??
      (tile.width < TILE_WIDTH ? await this.#objects.get(tilePath({ ...tile, width: TILE_WIDTH })) : undefined);
    if (stored === undefined) faults.add('missing', `${tilePath(tile)} is not there`);
    else if (!stored.subarray(0, bytes.length).equals(bytes)) faults.add('tile', tilePath(tile));
    else counts.tiles += 1;
  }

  /** Called for each size of the tree. */
  #checkEarlier(): void {
    for (const { size, root, which } of this.#earlier)
      if (size === this.#edge.size && !this.#root().equals(root))
        this.#found.faults.add('forked', `its first ${size} leaves are not those of ${which}`);
  }
}

const hashesIn = (tile: Buffer | undefined, width: number): Buffer[] | undefined =>
  tile === undefined || tile.length !== HASH_BYTES * width
    ? undefined
    : Array.from({ length: width }, (_, i) => tile.subarray(HASH_BYTES * i, HASH_BYTES * (i + 1)));
