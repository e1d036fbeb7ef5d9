/**
 * Lets the events of the log go when their time is over: by class, never before, and not while their session is held. Those of a full bundle go together, when all of
 * them may; of the bundle that is not full one by one, so that they go also when nothing follows any more. The leaves stay, and with them every proof: they hold on to
 * what was deleted by a salted hash, and the salt goes with it. What goes is recorded before it goes.
 *
 * There is nothing to remember between two sweeps: what is due is found again, and a deletion that was cut off is done again. What tells of deletions goes in its turn:
 * each notice repeats all that went before, as the notices of the log tell it and not as it is missing, so that the newest one explains every gap that is one of these.
 */
import { deleteUnlessRetained, type ObjectStore } from '../storage/object_store.ts';
import { TILE_WIDTH } from '../tlog/tile.ts';
import type { PruningProof } from './declared.ts';
import { bundleOf, type Detail, decodeDetails, detailsPath, encodeDetails } from './details.ts';
import { LogError } from './error.ts';
import { type Carried, carriedOn, type Going, type Gone, joined, type Range, type Told, within, without } from './going.ts';
import { CLASSES, classOf, commitmentOf, type DetailClass, decodeLeaf, isOwnNotice, type Leaf, perClass } from './leaf.ts';
import { LogReader } from './reader.ts';

export interface RetentionOptions {
  /** Where the log is published. */
  readonly objects: ObjectStore;
  /** By which what was pruned is known. Default: nothing was, and what says so ends the sweep. */
  readonly pruning?: PruningProof;
  /** Where it is copied to: what is due there goes when what tells of it is there, and its lock allows. */
  readonly replicas?: readonly ObjectStore[];
  /** How long each class is kept after the newest of a bundle's events, milliseconds; left out: for ever. */
  readonly ages: { readonly [C in DetailClass]?: number | undefined };
  readonly held: (session: string) => boolean;
  /** Makes it durable that these go, before they do. */
  readonly record: (going: Going) => Promise<void>;
  /**
   * Publishes what is recorded: before the events of full bundles go, so that whoever finds them gone finds out why; and behind those of the bundle that is not full, which is
   * published anew with it. To be called before the first sweep, too: a crash may have been between. Default: whoever records publishes.
   */
  readonly publish?: () => Promise<void>;
  /** Told which leaves have no events any more, after they went, and at each sweep again: from `from` to before `to`. What was derived of them goes too. */
  readonly forget?: (from: number, to: number) => Promise<void>;
  /** Runs while nothing is published in `objects`. Default: nobody else publishes there. */
  readonly undisturbed?: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /**
   * What an event of no session tells of deletions; `undefined`: nothing. In the bundle that is not full such an event goes with others alone, or each deletion would be
   * followed by another one. Default: none does.
   */
  readonly toldOf?: (event: Buffer) => Told | undefined;
  /** How many ranges, and how many of what went before, are recorded at once, at most: an event takes 64 KiB, and what is longer is cut. Default 1,000. */
  readonly rangesAtOnce?: number;
  /** What time has come, Unix milliseconds; `undefined`: nobody knows, and nothing goes. */
  readonly now?: () => number | undefined;
  /** Before when none of the leaves from `from` to before `to` was recorded, whatever they say, Unix milliseconds. Default: they are believed. */
  readonly notBefore?: (from: number, to: number) => number;
}

interface SweptClass {
  /** Bundles of events that went, here. */
  readonly deleted: number;
  /** Events of the bundle that is not full that went, here. */
  readonly single: number;
  /** Bundles that would be due, and have a held session. */
  readonly held: number;
  /** Objects of replicas that are due and locked there still. */
  readonly locked: number;
}

/** What is left of a class. */
export interface Plan extends Pick<SweptClass, 'held' | 'locked'> {
  /** Before when nothing more of it is due here, Unix milliseconds; `undefined`: there is nothing that waits for its age alone. */
  readonly nextMs: number | undefined;
}

export interface Swept extends SweptClass {
  /** Of each class that has an age. */
  readonly plan: { readonly [C in DetailClass]?: Plan };
}

const NANOS = 1_000_000n;
const NOTHING: SweptClass = { deleted: 0, single: 0, held: 0, locked: 0 };
const SWEPT = ['deleted', 'single', 'held', 'locked'] as const;

type Ranges = { [C in DetailClass]: Range[] };

const NONE: Gone = perClass(() => []);

type Verdict = 'due' | 'held' | 'young';

/** What is older than `before`, Unix nanoseconds, of a class with this age. */
interface Due {
  readonly detailClass: DetailClass;
  readonly ageMs: number;
  readonly before: bigint;
}

export class Retention {
  readonly #options: Required<Omit<RetentionOptions, 'pruning'>>;
  readonly #reader: LogReader;
  /** What the log tells of deletions, since it was looked for. */
  #gone: Ranges | undefined;
  /** Whether this sweep found something that may have been told and stay. */
  #mayHaveStayed = false;
  /** How long the log was when the last deletion was told and published: all before, where this has told of none yet. */
  #toldTo: number | undefined;

  constructor(options: RetentionOptions) {
    this.#options = {
      replicas: [],
      rangesAtOnce: 1000,
      now: Date.now,
      notBefore: () => 0,
      forget: async () => {},
      undisturbed: (work) => work(),
      publish: async () => {},
      toldOf: () => undefined,
      ...options,
    };
    this.#reader = new LogReader(options.objects, options.pruning);
  }

  /** Deletes what is due. Rejects with what kept it from that; what it had not done by then is done by the next one. */
  async sweep(): Promise<Swept> {
    try {
      return await this.#sweep();
    } catch (error) {
      // What was told may be there still.
      this.#gone = undefined;
      throw error;
    }
  }

  async #sweep(): Promise<Swept> {
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    this.#toldTo ??= size;
    const full = Math.floor(size / TILE_WIDTH);
    const total = { ...NOTHING };
    const swept: { [C in DetailClass]?: SweptClass } = {};
    // A replica that is away keeps nothing from going here and elsewhere.
    const failures: unknown[] = [];
    for (const detailClass of CLASSES) {
      const ageMs = this.#options.ages[detailClass];
      if (ageMs === undefined) continue;
      const one = await this.#sweepClass(detailClass, ageMs, { full, size, failures });
      for (const key of SWEPT) total[key] += one[key];
      swept[detailClass] = one;
    }
    if (this.#mayHaveStayed) await this.#before();
    this.#mayHaveStayed = false;
    if (failures.length > 0) throw failures[0];
    return { ...total, plan: await this.#plan(swept) };
  }

  async #sweepClass(
    detailClass: DetailClass,
    ageMs: number,
    { full, size, failures }: { readonly full: number; readonly size: number; readonly failures: unknown[] },
  ): Promise<SweptClass> {
    const { objects, replicas, now } = this.#options;
    const present = now();
    if (present === undefined) return NOTHING;
    const before = BigInt(Math.floor(present - ageMs)) * NANOS;
    const end = await this.#firstYoung(before, full, size);
    const [here, held, stay] = [[] as number[], new Set<number>(), new Set<number>()];
    const going: Range[] = [];
    const carried: Carried[] = [];
    for await (const bundle of this.#bundles(objects, detailClass, end)) {
      const leaves = await this.#leaves(bundle, size);
      const verdict = this.#judge(bundle, leaves, detailClass, before);
      stay.add(bundle);
      if (verdict === 'held') held.add(bundle);
      if (verdict !== 'due') continue;
      here.push(bundle);
      const details = await this.#details(detailClass, bundle, size);
      going.push(...(await this.#present({ bundle, leaves, details }, detailClass)));
      carried.push(...(await this.#carried(leaves, details?.values() ?? [])));
    }
    here.sort((a, b) => a - b);
    if (here.length > 0) {
      await this.#record({ detailClass, ageMs, leaves: joined(going), carried, stayed: NONE });
      await this.#publishTold();
    }
    const gone: number[] = [];
    for (const bundle of here) {
      // A hold that came while the others went counts.
      if (this.#judge(bundle, await this.#leaves(bundle, size), detailClass, before) !== 'due') continue;
      await objects.delete(detailsPath(detailClass, bundle, TILE_WIDTH));
      gone.push(bundle);
      stay.delete(bundle);
    }
    if (held.size > 0) this.#mayHaveStayed = true;
    if (gone.length < here.length) this.#stayed();
    if (detailClass === 'events') await this.#forget(ranges(gone), end);
    // Replicas follow: what was recorded is published behind it, and their newest bundle is replaced.
    const { told, single } = await this.#options.undisturbed(() => this.#sweepEdge({ detailClass, ageMs, before }));
    if (told) await this.#publishTold();

    let locked = 0;
    const sweepReplica = async (replica: ObjectStore): Promise<void> => {
      if (!(await this.#isTold(replica))) return;
      const minimum = await this.#reader.minimum();
      for await (const bundle of this.#bundles(replica, detailClass, end)) {
        // What stays here was not told to go, though a hold that kept it may be off by now.
        if (stay.has(bundle)) continue;
        // What was pruned here already is there still, because a lock has kept the events, or the replica was behind.
        const reader = bundle * TILE_WIDTH < minimum ? new LogReader(replica) : this.#reader;
        if (this.#judge(bundle, await this.#leaves(bundle, size, reader), detailClass, before) !== 'due') continue;
        if (!(await removed(replica, detailsPath(detailClass, bundle, TILE_WIDTH)))) locked += 1;
      }
    };
    for (const replica of replicas) await sweepReplica(replica).catch((error: unknown) => failures.push(error));
    return { deleted: gone.length, single, held: held.size, locked };
  }

  /**
   * Of a full bundle, the leaves whose events are there, or went before as the log tells: what somebody else took away is not told to go. It is told of as a whole where that is
   * all of its class.
   */
  async #present(
    of: { readonly bundle: number; readonly leaves: readonly Leaf[]; readonly details: ReadonlyMap<number, Detail> | undefined },
    detailClass: DetailClass,
  ): Promise<Range[]> {
    const { bundle, leaves, details } = of;
    const before = (await this.#before())[detailClass];
    const isTold = (index: number): boolean => details?.has(index) !== false || before.some(({ from, to }) => from <= index && index < to);
    return wholeOrRangesOf(leaves, bundle, isTold, detailClass);
  }

  /** What the notices among these events of a bundle told, and is not there. */
  async #carried(leaves: readonly Leaf[], details: Iterable<Detail>): Promise<Carried[]> {
    const found: Carried[] = [];
    for (const detail of details) {
      const leaf = leaves[detail.index % TILE_WIDTH] as Leaf;
      const told = this.#toldIn(leaf, detail);
      if (told === undefined) continue;
      const { detailClass, ageMs, leaves: now } = told.now;
      const byMs = Number(leaf.timeUnixNanos / NANOS);
      const gone = await this.#before();
      for (const { from, to, ...each } of [...now.map((range) => ({ ...range, detailClass, ageMs, byMs })), ...told.carried])
        found.push(...within([{ from, to }], gone[each.detailClass]).map((range) => ({ ...each, ...range })));
    }
    return found;
  }

  /** What a notice of the gateway's own tells of deletions; `undefined`: it is none. */
  #toldIn(leaf: Leaf, detail: Detail): Told | undefined {
    return isOwnNotice(leaf) && isOf(leaf, detail) ? this.#options.toldOf(detail.event) : undefined;
  }

  /** `undefined`: what is there cannot be read, and goes all the same. */
  async #details(detailClass: DetailClass, bundle: number, size: number): Promise<ReadonlyMap<number, Detail> | undefined> {
    try {
      return await this.#reader.details(detailClass, bundle, size);
    } catch (error) {
      if (error instanceof LogError) return undefined;
      throw error;
    }
  }

  /** Of the bundle that is not full. @returns whether something was told to go, and how many events went */
  async #sweepEdge(due: Due): Promise<{ readonly told: boolean; readonly single: number }> {
    const { forget, held } = this.#options;
    const { detailClass } = due;
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    if (size % TILE_WIDTH === 0) return { told: false, single: 0 };
    const bundle = Math.floor(size / TILE_WIDTH);
    const leaves = await this.#leaves(bundle, size);
    const there = await this.#reader.details(detailClass, bundle, size);
    const going = [...there.values()].filter(({ index }) => this.#isDue(index, leaves, due));
    if ([...there.keys()].some((index) => held((leaves[index % TILE_WIDTH] as Leaf).session))) this.#mayHaveStayed = true;
    const tells = (detail: Detail): boolean => this.#toldIn(leaves[detail.index % TILE_WIDTH] as Leaf, detail) !== undefined;
    const told = new Set(going.every(tells) ? [] : going.map(({ index }) => index));
    let left: ReadonlyMap<number, Detail> = there;
    if (told.size > 0) {
      const those = rangesOf(leaves, bundle, (index) => told.has(index), detailClass);
      const { ageMs } = due;
      await this.#record({ detailClass, ageMs, leaves: those, carried: await this.#carried(leaves, going), stayed: NONE });
      await this.#trim(due, bundle, leaves, told);
      left = await this.#reader.details(detailClass, bundle, size);
    }
    const gone = there.size - left.size;
    if (gone < told.size) this.#stayed();
    if (detailClass === 'events')
      for (const { from, to } of rangesOf(leaves, bundle, (index) => !left.has(index), detailClass)) await forget(from, to);
    return { told: told.size > 0, single: gone };
  }

  /** What was just recorded of a deletion. */
  async #publishTold(): Promise<void> {
    await this.#options.publish();
    this.#toldTo = (await this.#reader.checkpoint())?.size ?? 0;
  }

  /** Whether a replica has all that tells of deletions: who restores from one that has less would find gaps that nothing explains. The next sweep asks again. */
  async #isTold(replica: ObjectStore): Promise<boolean> {
    const { size = 0 } = (await new LogReader(replica).checkpoint()) ?? {};
    return size >= (this.#toldTo ?? 0);
  }

  /** Makes it durable that these go, with all that went before. */
  async #record(of: Omit<Going, 'before' | 'whole'>): Promise<void> {
    const { record, rangesAtOnce } = this.#options;
    const { detailClass, ageMs, leaves, stayed } = of;
    const gone = await this.#before();
    const carried = carriedOn(of.carried);
    const told = Math.max(leaves.length, carried.length, ...CLASSES.flatMap((each) => [gone[each].length, stayed[each].length]));
    for (let at = 0; at < told; at += rangesAtOnce) {
      const part = <Each>(all: readonly Each[]): readonly Each[] => all.slice(at, at + rangesAtOnce);
      const of = { before: perClass((each) => part(gone[each])), carried: part(carried), stayed: perClass((each) => part(stayed[each])) };
      await record({ detailClass, ageMs, leaves: part(leaves), ...of, whole: told <= rangesAtOnce });
    }
    gone[detailClass] = joined([...gone[detailClass], ...leaves]);
  }

  /** Something that was told did not go. */
  #stayed(): void {
    this.#gone = undefined;
    this.#mayHaveStayed = true;
  }

  /**
   * What went before. What the notices tell of that is there, because it was held by then or the service stopped, is taken back first: they would explain that it is not, should
   * somebody take it away. What was recorded of deletions must be published.
   */
  async #before(): Promise<Ranges> {
    if (this.#gone !== undefined) return this.#gone;
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    const { gone, stayed } = await this.#readGone(size);
    this.#gone = gone;
    if (CLASSES.every((each) => stayed[each].length === 0)) return gone;
    const { ages } = this.#options;
    const detailClass = CLASSES.find((each) => ages[each] !== undefined) as DetailClass;
    await this.#record({ detailClass, ageMs: ages[detailClass] as number, leaves: [], carried: [], stayed });
    return gone;
  }

  /** What the notices tell of, and is not there; and what is: that goes another time. */
  async #readGone(size: number): Promise<{ readonly gone: Ranges; readonly stayed: Ranges }> {
    const { objects } = this.#options;
    const told = await this.#readTold(size);
    const there = perClass((): Range[] => []);
    for (const detailClass of CLASSES) {
      const bundles = new Set<number>();
      for await (const key of objects.list(`details/${detailClass}/`)) {
        const { bundle } = bundleOf(key, detailClass) ?? {};
        if (bundle === undefined || bundle * TILE_WIDTH >= size) continue;
        if (told[detailClass].some(({ from, to }) => from < (bundle + 1) * TILE_WIDTH && bundle * TILE_WIDTH < to)) bundles.add(bundle);
      }
      for (const bundle of bundles) {
        const [leaves, details] = [await this.#leaves(bundle, size), await this.#details(detailClass, bundle, size)];
        there[detailClass].push(...wholeOrRangesOf(leaves, bundle, (index) => details?.has(index) !== false, detailClass));
      }
    }
    const of = (what: typeof within): Ranges => perClass((each) => what(told[each], joined(there[each])));
    return { gone: of(without), stayed: of(within) };
  }

  /** From the notices of the first `size` leaves, the newest first, to one that tells of all that went before it. What is missing and was never told of is not made up for. */
  async #readTold(size: number): Promise<Ranges> {
    const [found, stayed] = [perClass((): Range[] => []), perClass((): Range[] => [])];
    const first = (await this.#reader.minimum()) / TILE_WIDTH;
    for (let bundle = Math.ceil(size / TILE_WIDTH) - 1; bundle >= first; bundle -= 1) {
      const leaves = await this.#leaves(bundle, size);
      const own = leaves.flatMap((leaf, i) => (isOwnNotice(leaf) ? [bundle * TILE_WIDTH + i] : []));
      if (own.length === 0) continue;
      const details = await this.#reader.details('events', bundle, size);
      for (const index of own.reverse()) {
        const detail = details.get(index);
        const told = detail && this.#toldIn(leaves[index % TILE_WIDTH] as Leaf, detail);
        if (told === undefined) continue;
        // What is deleted stands before what tells of it.
        for (const each of CLASSES) {
          const gone = joined(told.gone[each].filter(({ to }) => to <= index));
          found[each].push(...without(gone, joined(stayed[each])));
          stayed[each].push(...told.stayed[each]);
        }
        if (told.whole) return coalesced(found);
      }
    }
    return coalesced(found);
  }

  async #plan(swept: { readonly [C in DetailClass]?: SweptClass }): Promise<Swept['plan']> {
    const plan: { [C in DetailClass]?: Plan } = {};
    for (const detailClass of CLASSES) {
      const [ageMs, one] = [this.#options.ages[detailClass], swept[detailClass]];
      if (ageMs === undefined || one === undefined) continue;
      plan[detailClass] = { held: one.held, locked: one.locked, nextMs: await this.#nextDue(detailClass, ageMs) };
    }
    return plan;
  }

  /** When the first of what is left is old enough, by the times that leaves tell. What is old enough and waits for something else does not count. */
  async #nextDue(detailClass: DetailClass, ageMs: number): Promise<number | undefined> {
    const { objects, now, held } = this.#options;
    const present = now();
    if (present === undefined) return undefined;
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    let next = Number.POSITIVE_INFINITY;
    const due = (leaves: readonly Leaf[]): number => Math.max(...leaves.map(({ timeUnixNanos }) => Number(timeUnixNanos / NANOS))) + ageMs;
    for await (const key of objects.list(`details/${detailClass}/`)) {
      const { bundle } = bundleOf(key, detailClass) ?? {};
      if (bundle === undefined || bundle * TILE_WIDTH >= size) continue;
      const leaves = await this.#leaves(bundle, size);
      const own = leaves.filter(({ kind }) => classOf(kind) === detailClass);
      const free = own.filter(({ session }) => !held(session));
      // A full bundle goes as a whole, when all of it is old enough.
      const whole = free.length < own.length ? [] : [due(leaves)];
      const young = (leaves.length === TILE_WIDTH ? whole : free.map((leaf) => due([leaf]))).filter((time) => time >= present);
      next = Math.min(next, ...young);
      // Those behind it are younger, as far as times ascend.
      if (young.length > 0) break;
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** Takes what was told, and is due still, out of every form of a bundle's details; out of the newest last, from which the others are derived again. */
  async #trim(due: Due, bundle: number, leaves: readonly Leaf[], told: ReadonlySet<number>): Promise<void> {
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
      const kept = details.filter(({ index }) => !told.has(index) || !this.#isDue(index, leaves, due));
      if (kept.length === 0) await objects.delete(key);
      else if (kept.length < details.length) await objects.put(key, encodeDetails(kept));
    }
  }

  #isDue(index: number, leaves: readonly Leaf[], { detailClass, before }: Due): boolean {
    const leaf = leaves[index % TILE_WIDTH];
    return leaf !== undefined && this.#judgeLeaves(index, [leaf], detailClass, before) === 'due';
  }

  async #forget(leaves: readonly Range[], end: number): Promise<void> {
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

  /** Of a bundle. What stands behind a leaf of the service itself was recorded no earlier than that, whatever the clock of a filter says: it ages from then at least. */
  async #leaves(bundle: number, size: number, reader = this.#reader): Promise<Leaf[]> {
    let latest = 0n;
    return (await reader.entries(bundle, size)).map((entry) => {
      const leaf = decodeLeaf(entry);
      if (leaf.own && leaf.timeUnixNanos > latest) latest = leaf.timeUnixNanos;
      return leaf.timeUnixNanos < latest ? { ...leaf, timeUnixNanos: latest } : leaf;
    });
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
  if (await deleteUnlessRetained(store, key)) return true;
  await store.hold(key, false);
  return await deleteUnlessRetained(store, key);
};

const isOf = ({ commitment }: Leaf, { salt, event }: Detail): boolean => commitmentOf(salt, event).equals(commitment);

const coalesced = (gone: Gone): Ranges => perClass((each) => joined(gone[each]));

/** The leaves of a class that are of these: from one of them to the next, if no other one of the class is between. */
const rangesOf = (
  leaves: readonly Leaf[],
  bundle: number,
  isOne: (index: number) => boolean,
  detailClass: DetailClass,
): { from: number; to: number }[] => {
  const found: { from: number; to: number }[] = [];
  let adjoins = false;
  for (const [i, { kind }] of leaves.entries()) {
    if (classOf(kind) !== detailClass) continue;
    const index = bundle * TILE_WIDTH + i;
    const last = found.at(-1);
    if (!isOne(index)) adjoins = false;
    else if (adjoins && last !== undefined) last.to = index + 1;
    else {
      found.push({ from: index, to: index + 1 });
      adjoins = true;
    }
  }
  return found;
};

/** Likewise, and the whole bundle where all of the class are of these. */
const wholeOrRangesOf = (...of: Parameters<typeof rangesOf>): Range[] => {
  const [leaves, bundle, isOne, detailClass] = of;
  const first = bundle * TILE_WIDTH;
  const whole = leaves.every(({ kind }, i) => classOf(kind) !== detailClass || isOne(first + i));
  return whole ? [{ from: first, to: first + leaves.length }] : rangesOf(...of);
};

const ranges = (bundles: readonly number[]): Range[] =>
  joined(bundles.map((bundle) => ({ from: bundle * TILE_WIDTH, to: (bundle + 1) * TILE_WIDTH })));
