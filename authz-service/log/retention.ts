/**
 * Lets the events of the log go when their time is over: by class, never before, and not while their session is held. Those of a full bundle go together, when all of
 * them may; of the bundle that is not full one by one, so that they go also when nothing follows any more. The leaves stay, and with them every proof: they hold on to
 * what was deleted by a salted hash, and the salt goes with it. What goes is recorded before it goes.
 *
 * There is nothing to remember between two sweeps: what is due is found again, and a deletion that was cut off is done again.
 */
import { type ObjectStore, StorageError } from '../storage/object_store.ts';
import { indexPath, TILE_WIDTH } from '../tlog/tile.ts';
import { decodeDetails, detailsPath, encodeDetails } from './details.ts';
import { CLASSES, classOf, type DetailClass, decodeLeaf, type Leaf } from './leaf.ts';
import { LogReader } from './reader.ts';

export interface RetentionOptions {
  /** Where the log is published. */
  readonly objects: ObjectStore;
  /** Where it is copied to: what is due there goes when its lock allows. */
  readonly replicas?: readonly ObjectStore[];
  /** How long each class is kept after the newest of a bundle's events, milliseconds; left out: for ever. */
  readonly ages: { readonly [C in DetailClass]?: number | undefined };
  readonly held: (session: string) => boolean;
  /** Makes it durable that these go, before they do. */
  readonly record: (going: Going) => Promise<void>;
  /** Told which leaves have no events any more, after they went, and at each sweep again: from `from` to before `to`. What was derived of them goes too. */
  readonly forget?: (from: number, to: number) => Promise<void>;
  /** Runs while nothing is published in `objects`. Default: nobody else publishes there. */
  readonly undisturbed?: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** Whether an event only tells of deletions: in the bundle that is not full it goes with others, or each deletion would be followed by another one. Default: none does. */
  readonly tellsOfDeletions?: (event: Buffer) => boolean;
  /** How many ranges are recorded at once, at most: an event takes 64 KiB, and what is longer is cut. Default 1,000. */
  readonly rangesAtOnce?: number;
  /** What time has come, Unix milliseconds; `undefined`: nobody knows, and nothing goes. */
  readonly now?: () => number | undefined;
  /** Before when none of the leaves from `from` to before `to` was recorded, whatever they say, Unix milliseconds. Default: they are believed. */
  readonly notBefore?: (from: number, to: number) => number;
}

/** Leaves whose events of a class go, or have gone: from `from` to before `to`, ascending. */
export interface Going {
  readonly detailClass: DetailClass;
  readonly ageMs: number;
  readonly leaves: readonly { readonly from: number; readonly to: number }[];
}

export interface Swept {
  /** Bundles of events that went, here. */
  readonly deleted: number;
  /** Events of the bundle that is not full that went, here. */
  readonly single: number;
  /** Bundles that would be due, and have a held session. */
  readonly held: number;
  /** Objects of replicas that are due and locked there still. */
  readonly locked: number;
}

const NANOS = 1_000_000n;
const NOTHING: Swept = { deleted: 0, single: 0, held: 0, locked: 0 };
const SWEPT = ['deleted', 'single', 'held', 'locked'] as const;

/** `details/CLASS/N` or, of a partial form, `details/CLASS/N.p/W`: which bundle; `undefined` of any other key. */
const bundleOf = (key: string, detailClass: DetailClass): { readonly bundle: number; readonly partial: boolean } | undefined => {
  const [path = '', width] = key.slice(`details/${detailClass}/`.length).split('.p/');
  const bundle = Number(path.replace(/[x/]/g, ''));
  return indexPath(bundle) === path ? { bundle, partial: width !== undefined } : undefined;
};

type Verdict = 'due' | 'held' | 'young';

/** What is older than `before`, Unix nanoseconds, of a class with this age. */
interface Due {
  readonly detailClass: DetailClass;
  readonly ageMs: number;
  readonly before: bigint;
}

export class Retention {
  readonly #options: Required<RetentionOptions>;
  readonly #reader: LogReader;

  constructor(options: RetentionOptions) {
    this.#options = {
      replicas: [],
      rangesAtOnce: 1000,
      now: Date.now,
      notBefore: () => 0,
      forget: async () => {},
      undisturbed: (work) => work(),
      tellsOfDeletions: () => false,
      ...options,
    };
    this.#reader = new LogReader(options.objects);
  }

  /** Deletes what is due. Rejects with what kept it from that; what it had not done by then is done by the next one. */
  async sweep(): Promise<Swept> {
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    const full = Math.floor(size / TILE_WIDTH);
    const total = { ...NOTHING };
    // A replica that is away keeps nothing from going here and elsewhere.
    const failures: unknown[] = [];
    for (const detailClass of CLASSES) {
      const ageMs = this.#options.ages[detailClass];
      if (ageMs === undefined) continue;
      const swept = await this.#sweepClass(detailClass, ageMs, { full, size, failures });
      for (const key of SWEPT) total[key] += swept[key];
    }
    if (failures.length > 0) throw failures[0];
    return total;
  }

  async #sweepClass(
    detailClass: DetailClass,
    ageMs: number,
    { full, size, failures }: { readonly full: number; readonly size: number; readonly failures: unknown[] },
  ): Promise<Swept> {
    const { objects, replicas, record, rangesAtOnce, now } = this.#options;
    const present = now();
    if (present === undefined) return NOTHING;
    const before = BigInt(Math.floor(present - ageMs)) * NANOS;
    const end = await this.#firstYoung(before, full, size);
    const judged = new Map<number, Verdict>();
    const judge = async (bundle: number): Promise<Verdict> => {
      const known = judged.get(bundle) ?? this.#judge(bundle, await this.#leaves(bundle, size), detailClass, before);
      judged.set(bundle, known);
      return known;
    };

    const [here, held] = [[] as number[], new Set<number>()];
    for await (const bundle of this.#bundles(objects, detailClass, end)) {
      const verdict = await judge(bundle);
      if (verdict === 'due') here.push(bundle);
      else if (verdict === 'held') held.add(bundle);
    }
    here.sort((a, b) => a - b);
    const leaves = ranges(here);
    for (let at = 0; at < leaves.length; at += rangesAtOnce)
      await record({ detailClass, ageMs, leaves: leaves.slice(at, at + rangesAtOnce) });
    let deleted = 0;
    for (const bundle of here) {
      // A hold that came while the others went counts.
      if (this.#judge(bundle, await this.#leaves(bundle, size), detailClass, before) !== 'due') continue;
      await objects.delete(detailsPath(detailClass, bundle, TILE_WIDTH));
      deleted += 1;
    }
    if (detailClass === 'events') await this.#forget(leaves, end);
    // Replicas follow: what was recorded is published, and their newest bundle is replaced.
    const single = await this.#options.undisturbed(() => this.#sweepEdge({ detailClass, ageMs, before }));

    let locked = 0;
    const sweepReplica = async (replica: ObjectStore): Promise<void> => {
      for await (const bundle of this.#bundles(replica, detailClass, end)) {
        if ((await judge(bundle)) !== 'due' || this.#judge(bundle, await this.#leaves(bundle, size), detailClass, before) !== 'due')
          continue;
        if (!(await removed(replica, detailsPath(detailClass, bundle, TILE_WIDTH)))) locked += 1;
      }
    };
    for (const replica of replicas) await sweepReplica(replica).catch((error: unknown) => failures.push(error));
    return { deleted, single, held: held.size, locked };
  }

  /** Of the bundle that is not full. @returns how many events went */
  async #sweepEdge(due: Due): Promise<number> {
    const { record, forget, tellsOfDeletions } = this.#options;
    const { detailClass, ageMs } = due;
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    if (size % TILE_WIDTH === 0) return 0;
    const bundle = Math.floor(size / TILE_WIDTH);
    const leaves = await this.#leaves(bundle, size);
    const details = await this.#reader.details(detailClass, bundle, size);
    const going = [...details.values()].filter(({ index }) => this.#isDue(index, leaves, due));
    const goes = going.some(({ event }) => !tellsOfDeletions(event));
    const gone = goes ? new Set(going.map(({ index }) => index)) : new Set<number>();
    // All that is not there is told again: what told of it before may go with the rest.
    const without = rangesWithout(leaves, bundle, (index) => details.has(index) && !gone.has(index), detailClass);
    if (goes) {
      await record({ detailClass, ageMs, leaves: without });
      await this.#trim(due, bundle, leaves);
    }
    if (detailClass === 'events') for (const { from, to } of without) await forget(from, to);
    return gone.size;
  }

  /** Takes what is due out of every form of a bundle's details; out of the newest last, from which the others are derived again. */
  async #trim(due: Due, bundle: number, leaves: readonly Leaf[]): Promise<void> {
    const { objects } = this.#options;
    const newest = detailsPath(due.detailClass, bundle, leaves.length);
    const keys: string[] = [];
    for await (const key of objects.list(detailsPath(due.detailClass, bundle, TILE_WIDTH)))
      if (bundleOf(key, due.detailClass)?.bundle === bundle && key !== newest) keys.push(key);
    for (const key of [...keys, newest]) {
      const bytes = await objects.get(key);
      if (bytes === undefined) continue;
      const details = decodeDetails(bytes, bundle);
      // A hold that came while this was recorded counts.
      const kept = details.filter(({ index }) => !this.#isDue(index, leaves, due));
      if (kept.length === 0) await objects.delete(key);
      else if (kept.length < details.length) await objects.put(key, encodeDetails(kept));
    }
  }

  #isDue(index: number, leaves: readonly Leaf[], { detailClass, before }: Due): boolean {
    const leaf = leaves[index % TILE_WIDTH];
    return leaf !== undefined && this.#judgeLeaves(index, [leaf], detailClass, before) === 'due';
  }

  async #forget(leaves: Going['leaves'], end: number): Promise<void> {
    const { objects, forget } = this.#options;
    for (const { from, to } of leaves) await forget(from, to);
    // Sessions that were open then have ended meanwhile, or the one who was told has died.
    for await (const key of objects.list('details/events/')) {
      const { bundle = 0 } = bundleOf(key, 'events') ?? {};
      return await forget(0, TILE_WIDTH * Math.min(bundle, end));
    }
    await forget(0, TILE_WIDTH * end);
  }

  /**
   * The bundles below `end`, all of them full, of which a store has details of this class. Partial forms of these that a failure has left there say again what
   * the full one says, and would outlive it: they go.
   */
  async *#bundles(store: ObjectStore, detailClass: DetailClass, end: number): AsyncGenerator<number> {
    for await (const key of store.list(`details/${detailClass}/`)) {
      const { bundle, partial } = bundleOf(key, detailClass) ?? {};
      if (bundle === undefined) continue;
      if (bundle < end && partial) await store.delete(key);
      else if (bundle < end) yield bundle;
      // Below a thousand times a thousand bundles keys are in the order of their numbers.
      else if (end < 1_000_000 && bundle < 1_000_000) return;
    }
  }

  /** A bundle from which on none is old enough, if times ascend; where they do not, some wait for a later sweep, and none goes too early. */
  async #firstYoung(before: bigint, full: number, size: number): Promise<number> {
    let [low, high] = [(await this.#reader.minimum()) / TILE_WIDTH, full];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const leaves = await this.#leaves(middle, size);
      if (leaves.every(({ timeUnixNanos }) => timeUnixNanos < before)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async #leaves(bundle: number, size: number): Promise<Leaf[]> {
    return (await this.#reader.entries(bundle, size)).map(decodeLeaf);
  }

  #judge(bundle: number, leaves: readonly Leaf[], detailClass: DetailClass, before: bigint): Verdict {
    return this.#judgeLeaves(bundle * TILE_WIDTH, leaves, detailClass, before);
  }

  /** Leaves from index `from` on. */
  #judgeLeaves(from: number, leaves: readonly Leaf[], detailClass: DetailClass, before: bigint): Verdict {
    if (this.#options.notBefore(from, from + leaves.length) >= Number(before / NANOS)) return 'young';
    const own = leaves.filter(({ kind }) => classOf(kind) === detailClass);
    if (own.some(({ timeUnixNanos }) => timeUnixNanos >= before)) return 'young';
    return own.some(({ session }) => this.#options.held(session)) ? 'held' : 'due';
  }
}

/** A hold that is left on what nobody holds any more is taken off. @returns false when the store does not let it go yet */
const removed = async (store: ObjectStore, key: string): Promise<boolean> => {
  const attempt = async (): Promise<boolean> => {
    try {
      await store.delete(key);
      return true;
    } catch (error) {
      if (error instanceof StorageError && error.code === 'retained') return false;
      throw error;
    }
  };
  if (await attempt()) return true;
  await store.hold(key, false);
  return await attempt();
};

/** The leaves of a class that have no event: from one of them to the next, if no other one of the class is between. */
const rangesWithout = (
  leaves: readonly Leaf[],
  bundle: number,
  isKept: (index: number) => boolean,
  detailClass: DetailClass,
): { from: number; to: number }[] => {
  const found: { from: number; to: number }[] = [];
  let adjoins = false;
  for (const [i, { kind }] of leaves.entries()) {
    if (classOf(kind) !== detailClass) continue;
    const index = bundle * TILE_WIDTH + i;
    const last = found.at(-1);
    if (isKept(index)) adjoins = false;
    else if (adjoins && last !== undefined) last.to = index + 1;
    else {
      found.push({ from: index, to: index + 1 });
      adjoins = true;
    }
  }
  return found;
};

const ranges = (bundles: readonly number[]): { from: number; to: number }[] => {
  const found: { from: number; to: number }[] = [];
  for (const bundle of bundles) {
    const [from, to] = [bundle * TILE_WIDTH, (bundle + 1) * TILE_WIDTH];
    const last = found.at(-1);
    if (last?.to === from) last.to = to;
    else found.push({ from, to });
  }
  return found;
};
