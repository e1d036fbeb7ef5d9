/** Verifies a whole log as it was published: checkpoint, tree, leaves, events. Nothing that is read is believed, but what the verifier's keys have signed. */
import { type Detail, decodeDetails, detailsPath } from '../log/details.ts';
import { CLASSES, classOf, type DetailClass, decodeLeaf, type Leaf, perClass } from '../log/leaf.ts';
import { objectAtEdge } from '../log/reader.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { TlogError } from '../tlog/error.ts';
import { Frontier, HASH_BYTES, leafHash } from '../tlog/hash.ts';
import { decodeBundle, nodesOfTiles, TILE_WIDTH, type Tile, TileEdge, tilePath, widthAt } from '../tlog/tile.ts';
import { conclude, type Earlier, earlierOnes, readHeads } from './head.ts';
import { KeptCheckpoints, keptNames } from './kept.ts';
import { explain, Missing } from './missing.ts';
import { PrunedFront } from './pruned.ts';
import { Chains, checkEvent, Emitters } from './record.ts';
import { addFault, Faults, type Report } from './report.ts';
import type { Seen, Trust } from './trust.ts';

export interface Verification {
  readonly objects: ObjectStore;
  readonly trust: Trust;
  /** Classes whose events the verifier knows to be left out of this copy. */
  readonly withheld?: readonly DetailClass[];
  /** How long the notice of a deletion is waited for that was done while the log was read, milliseconds; default 0. */
  readonly patienceMs?: number;
  /** Told now and then: leaves checked, of how many. */
  readonly onProgress?: (checked: number, size: number) => void;
}

interface Counts {
  leaves: number;
  tiles: number;
  events: number;
  sessions: number;
  /** Checkpoints that the log keeps beside its newest. */
  checkpoints: number;
  bytes: number;
}

/** Rejects with a `StorageError` when the objects cannot be read; whatever they say, it is a report. */
export const verifyLog = async (verification: Verification): Promise<Report> => (await verifyFrom(verification)).report;

/**
 * What a verification has proven, for one that reads only what is new. It changes as that goes on: of one that did not come to a good end nothing is to be made.
 */
export interface Going {
  /** The tree so far. */
  readonly edge: TileEdge;
  readonly chains: Chains;
  readonly emitters: Emitters;
  readonly found: Found;
  /** The front that was pruned, and what told of it. */
  readonly front: { readonly minimum: number; readonly leaf: number | undefined; readonly told: Report['pruned'] };
  /** Of `found.counts.tiles`, those that were not full. */
  readonly partialTiles: number;
  /** Checkpoints of no later trees that it was held against, as `keyOf` has them, and those of the kept ones, by their names. */
  readonly held: ReadonlySet<string>;
  readonly names: ReadonlySet<string>;
}

const keyOf = ({ size, root }: Pick<Earlier, 'size' | 'root'>): string => `${size} ${root.toString('base64')}`;

/** As `verifyLog`. `going`: what it goes on from, where it can; `before`: a tree that the log must go on from, whoever signed it. */
export const verifyFrom = async (
  { objects, trust, withheld = [], patienceMs = 0, onProgress = () => {} }: Verification,
  { going, before }: { readonly going?: Going | undefined; readonly before?: Earlier | undefined } = {},
): Promise<{ readonly report: Report; readonly whole: boolean; readonly going?: Going }> => {
  const started = performance.now();
  const found: Found = going?.found ?? {
    ...{ faults: new Faults(), remarks: [], missing: new Missing(withheld), onProgress },
    counts: { leaves: 0, tiles: 0, events: 0, sessions: 0, checkpoints: 0, bytes: 0 },
  };
  const { faults, counts, missing } = found;
  found.remarks = [];
  let pruned: Report['pruned'];
  let next: Going | undefined;
  const names = await keptNames(objects);
  const heads = await readHeads(objects, trust, faults);
  const { seen } = heads;
  if (seen !== undefined) {
    const earlier = earlierOnes(heads, faults, before);
    const kept = new KeptCheckpoints(faults);
    await kept.read(objects, going === undefined ? names : names.filter((name) => !going.names.has(name)), seen, trust);
    const front = await PrunedFront.read(objects, seen, faults, found.remarks);
    if (going !== undefined && !goesOn(going, seen, earlier, kept, front))
      return verifyFrom({ objects, trust, withheld, patienceMs, onProgress }, { before });
    const checkpoints = going === undefined ? 0 : counts.checkpoints;
    const walk = new Walk(objects, { seen, earlier, kept, front }, found, going);
    await walk.run();
    counts.checkpoints = checkpoints + kept.checked;
    pruned = front.told ?? going?.front.told;
    try {
      if (faults.none) await explain(missing, { objects, trust, seen, from: seen.size, patienceMs }, faults, found.remarks);
      missing.tell(faults, found.remarks);
    } catch (error) {
      addFault(error, faults);
    }
    next = {
      ...{ ...walk.state, found, front: { minimum: front.minimum, leaf: front.leaf, told: pruned } },
      held: new Set([...earlier, seen].map(keyOf)),
      names: new Set(names.filter((name) => !kept.unclear.includes(name))),
    };
  }
  const what = `the log ${seen?.origin ?? trust.origin ?? objects.url}`;
  const { remarks } = found;
  const report = conclude({ what, started, faults, remarks, heads, trust, pruned, checked: { ...counts }, missing: missing.events });
  return { report, whole: going === undefined, ...(report.complete && next !== undefined && { going: next }) };
};

/** Whether all that is new can be held against what was proven. If not, everything has to be read again. */
const goesOn = (going: Going, seen: Seen, earlier: readonly Earlier[], kept: KeptCheckpoints, front: PrunedFront): boolean => {
  const { size } = going.edge;
  if (!going.found.faults.none || seen.size < size || (kept.next ?? size) < size) return false;
  if (front.minimum !== going.front.minimum || front.leaf !== going.front.leaf) return false;
  return earlier.every((each) => each.size >= size || going.held.has(keyOf(each)));
};

interface Found {
  readonly faults: Faults;
  /** Of one verification. */
  remarks: string[];
  readonly counts: Counts;
  readonly missing: Missing;
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

/** What the log is held against, and where it begins. */
interface Against {
  readonly seen: Seen;
  readonly earlier: readonly Earlier[];
  readonly kept: KeptCheckpoints;
  readonly front: PrunedFront;
}

/** Those of which there is any object: the others need not be asked for with each bundle. What a checkpoint signs was published before it. */
const presentClasses = async (objects: ObjectStore): Promise<DetailClass[]> => {
  const isThere = async (detailClass: DetailClass): Promise<boolean> => {
    for await (const _ of objects.list(`details/${detailClass}/`)) return true;
    return false;
  };
  const there = await Promise.all(CLASSES.map(isThere));
  return CLASSES.filter((_, i) => there[i]);
};

/** One pass over the log, a bundle of 256 leaves after the other, in memory that grows with the number of sessions, and with bundles that lack events (4 kB for each class of each). */
class Walk {
  readonly #objects: ObjectStore;
  readonly #seen: Seen;
  readonly #earlier: readonly Earlier[];
  readonly #kept: KeptCheckpoints;
  readonly #front: PrunedFront;
  readonly #found: Found;
  readonly #going: Going | undefined;
  #edge = new TileEdge();
  #partialTiles = 0;
  readonly #chains: Chains;
  readonly #emitters: Emitters;
  /** Of which the log has events. */
  #classes: readonly DetailClass[] = CLASSES;
  readonly #filled: { readonly tile: Tile; readonly bytes: Buffer }[] = [];

  constructor(objects: ObjectStore, { seen, earlier, kept, front }: Against, found: Found, going?: Going) {
    this.#objects = objects;
    this.#going = going;
    this.#front = front;
    this.#seen = seen;
    this.#earlier = earlier;
    this.#kept = kept;
    this.#found = found;
    this.#chains = going?.chains ?? new Chains(found.faults);
    this.#emitters = going?.emitters ?? new Emitters(found, front.minimum === 0);
  }

  /** Once it has run. */
  get state(): Pick<Going, 'edge' | 'chains' | 'emitters' | 'partialTiles'> {
    return { edge: this.#edge, chains: this.#chains, emitters: this.#emitters, partialTiles: this.#partialTiles };
  }

  async run(): Promise<void> {
    const { size, root } = this.#seen;
    const { faults, counts, onProgress } = this.#found;
    const bundles = Math.ceil(size / TILE_WIDTH);
    const first = await this.#begin();
    if (first === undefined) return;
    this.#classes = await presentClasses(this.#objects);
    const ahead: Promise<Bundle>[] = [];
    const read = (bundle: number): void => {
      const reading = this.#read(bundle);
      // It is awaited in its turn: until then a failure is nobody's.
      reading.catch(() => {});
      ahead.push(reading);
    };
    for (let bundle = first; bundle < Math.min(first + AHEAD, bundles); bundle += 1) read(bundle);
    for (let bundle = first; bundle < bundles; bundle += 1) {
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
    for (const { tile, bytes } of this.#edge.partial()) await this.#checkTile(tile, bytes);
    if (size === 0) this.#checkEarlier();
    const computed = this.#root();
    if (!computed.equals(root))
      faults.add('root', `the root of ${size} leaves is ${computed.toString('base64')}, and ${root.toString('base64')} is signed`);
  }

  /** @returns the first bundle that is there; `undefined`: there is nothing to go on from */
  async #begin(): Promise<number | undefined> {
    if (this.#going !== undefined) return this.#goOn(this.#going);
    const { minimum } = this.#front;
    const { faults } = this.#found;
    try {
      // What was pruned is there as the roots of subtrees: with the leaves behind them they must give the root that is signed.
      this.#edge = await TileEdge.at(
        minimum,
        nodesOfTiles(this.#seen.size, (tile) => this.#objects.get(tilePath(tile))),
      );
    } catch (error) {
      if (!(error instanceof TlogError)) throw error;
      faults.add(error.code === 'missing' ? 'missing' : 'malformed', error.message);
      return undefined;
    }
    for (const { size, which } of this.#earlier)
      if (size < minimum && size > 0)
        faults.add('pruned', `${which} is of ${size} leaves, and those below ${minimum} are not there: hold the log against a later one`);
    this.#kept.skipBelow(minimum);
    this.#kept.grown(minimum, () => this.#root());
    if (minimum > 0) this.#checkEarlier();
    return minimum / TILE_WIDTH;
  }

  /** From the leaf behind those that were proven. */
  #goOn({ edge, partialTiles }: Going): number {
    this.#edge = edge;
    this.#found.counts.tiles -= partialTiles;
    this.#kept.grown(edge.size, () => this.#root());
    this.#checkEarlier();
    return Math.floor(edge.size / TILE_WIDTH);
  }

  #root(): Buffer {
    return Frontier.of(this.#edge.size, this.#edge.roots()).root();
  }

  async #read(bundle: number): Promise<Bundle> {
    const { size } = this.#seen;
    const width = widthAt(0, bundle, size);
    const [entries, tile, ...details] = await Promise.all([
      objectAtEdge(this.#objects, (each) => tilePath({ level: 'entries', index: bundle, width: each }), width),
      objectAtEdge(this.#objects, (each) => tilePath({ level: 0, index: bundle, width: each }), width),
      ...this.#classes.map(async (each) => [each, await objectAtEdge(this.#objects, (w) => detailsPath(each, bundle, w), width)] as const),
    ]);
    const there = details.flatMap(([each, bytes]) => (bytes === undefined ? [] : [[each, bytes.bytes] as const]));
    const path = tilePath({ level: 'entries', index: bundle, width });
    // One that is longer than its own width has something that is no hash of the tree.
    const whole = tile?.bytes.length === HASH_BYTES * (tile?.width ?? 0);
    const rest = { tile: whole ? tile?.bytes.subarray(0, HASH_BYTES * width) : tile?.bytes, details: new Map(there) };
    if (entries === undefined) return { entries: undefined, problem: `${path} is not there`, ...rest };
    try {
      return { entries: decodeBundle(entries.bytes, entries.width).slice(0, width), problem: '', ...rest };
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
    else this.#countTile(width);
    const known = this.#edge.size - first;
    const [{ tile: edge, bytes } = { tile: undefined, bytes: Buffer.alloc(0) }] = known === 0 ? [] : this.#edge.partial();
    if (edge?.level === 0 && !Buffer.concat(hashes.slice(0, known)).equals(bytes)) {
      faults.add('forked', `leaves ${first}-${first + known - 1} are not those that were verified before`);
      return false;
    }
    for (const hash of hashes.slice(known)) {
      this.#edge.append(hash, (full, bytes) => full.level > 0 && this.#filled.push({ tile: full, bytes }));
      this.#checkEarlier();
      if (this.#edge.size === this.#kept.next) this.#kept.grown(this.#edge.size, () => this.#root());
    }
    if (entries !== undefined) this.#takeLeaves(first, entries, details, known);
    counts.leaves += width - known;
    return true;
  }

  #countTile(width: number): void {
    this.#found.counts.tiles += 1;
    if (width < TILE_WIDTH) this.#partialTiles += 1;
  }

  /** The first `known` of them were taken before. */
  #takeLeaves(first: number, entries: readonly Buffer[], bundles: Bundle['details'], known: number): void {
    const { faults, counts, missing } = this.#found;
    const details = perClass(() => new Map<number, Detail>());
    for (const [detailClass, bytes] of bundles) {
      try {
        for (const detail of decodeDetails(bytes, first / TILE_WIDTH))
          if (detail.index < this.#seen.size) details[detailClass].set(detail.index, detail);
      } catch (error) {
        faults.add('malformed', `${detailsPath(detailClass, first / TILE_WIDTH, TILE_WIDTH)}: ${(error as Error).message}`);
      }
    }
    for (const [i, entry] of entries.entries()) {
      const index = first + i;
      if (i < known) {
        for (const each of CLASSES) details[each].delete(index);
        continue;
      }
      if (index === this.#front.leaf) this.#front.take(entry);
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
        this.#chains.add(index, leaf, undefined);
        missing.add(index, leaf, bundles.has(classOf(leaf.kind)));
      } else {
        const event = checkEvent(index, leaf, detail, faults);
        this.#chains.add(index, leaf, event);
        missing.deletions.add(index, leaf, event);
        counts.events += 1;
        counts.bytes += detail.event.length;
      }
    }
    for (const index of Object.values(details).flatMap((left) => [...left.keys()]))
      faults.add('leaf', `an event stands beside leaf ${index}, where there is none`);
  }

  async #checkFilled(): Promise<void> {
    for (const { tile, bytes } of this.#filled.splice(0)) await this.#checkTile(tile, bytes);
  }

  async #checkTile(tile: Tile, bytes: Buffer): Promise<void> {
    if (tile.level === 0) return;
    const { faults } = this.#found;
    const stored = await objectAtEdge(this.#objects, (width) => tilePath({ ...tile, width }), tile.width);
    if (stored === undefined) faults.add('missing', `${tilePath(tile)} is not there`);
    else if (!stored.bytes.subarray(0, bytes.length).equals(bytes)) faults.add('tile', tilePath(tile));
    else this.#countTile(tile.width);
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
