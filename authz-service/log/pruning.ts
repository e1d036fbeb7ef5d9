/**
 * Prunes the log from the front, under a declared age: whole bundles of leaves that are old enough, whose events are deleted already, that no session crosses, and that
 * everybody who confirms the log has seen. What goes is an event of the log, published, before it goes; the minimum index is durable before the first object is removed, so
 * a removal that was cut off is done again.
 */
import type { ObjectStore } from '../storage/object_store.ts';
import { TILE_WIDTH } from '../tlog/tile.ts';
import type { PruningProof } from './declared.ts';
import { decodeLeaf } from './leaf.ts';
import { firstDetailed, formatPruned, PRUNED_PATH, type Pruned, pruningText, removeBelow } from './pruned.ts';
import { LogReader } from './reader.ts';

/** A session that has leaves from `first` to `last`. */
export interface Span {
  readonly session: string;
  readonly first: number;
  readonly last: number;
  readonly open: boolean;
}

export interface PruningOptions extends PruningProof {
  /** Where the log is published. */
  readonly objects: ObjectStore;
  readonly replicas: readonly ObjectStore[];
  /** Leaves are kept as long, milliseconds. */
  readonly ageMs: number;
  readonly held: (session: string) => boolean;
  /** The sessions whose first leaf is one from `from` to before `to`, in the order of these. */
  readonly spans: (from: number, to: number) => Iterable<Span> | AsyncIterable<Span>;
  /** So many leaves are known by everybody who is to confirm the log. */
  readonly confirmed: () => number;
  /** Makes an event of this text durable in the log. */
  readonly record: (text: string) => Promise<void>;
  /** Publishes what is durable. */
  readonly publish: () => Promise<void>;
  /** From now on no session goes on, and none is put under a hold, whose newest leaf is below, until it is forgotten; a lower one takes that back. */
  readonly holdBack: (below: number) => void;
  /** Forgets of the sessions below. Told again at each sweep. */
  readonly forget: (minimum: number) => Promise<void>;
  /** What time has come, Unix milliseconds; `undefined`: nobody knows. */
  readonly now: () => number | undefined;
  /** As of `Retention`. */
  readonly notBefore: (from: number, to: number) => number;
}

/** What is pruned, and what would be by the next sweep: leaves below. */
export interface PruningPlan {
  readonly minimum: number;
  readonly next: number;
  /** What the leaves behind `next` wait for. */
  readonly waitsFor: 'age' | 'deletion of events' | 'confirmation elsewhere' | 'sessions' | 'a legal hold' | 'the time to be known';
}

const NANOS = 1_000_000n;

export class Pruning {
  readonly #options: PruningOptions;
  readonly #reader: LogReader;
  /** Of full bundles, which do not change: the lowest leaf that a leaf of each follows in its session; infinite: none does. */
  readonly #reach = new Map<number, number>();

  constructor(options: PruningOptions) {
    this.#options = options;
    this.#reader = new LogReader(options.objects, options);
  }

  /** Rejects as `LogReader.pruned` does. */
  async plan(): Promise<PruningPlan> {
    const { objects, confirmed, now, ageMs } = this.#options;
    const minimum = await this.#reader.minimum();
    const present = now();
    if (present === undefined) return { minimum, next: minimum, waitsFor: 'the time to be known' };
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    const before = BigInt(Math.floor(present - ageMs)) * NANOS;
    let limit = await this.#firstYoung(minimum, before, size);
    let waitsFor: PruningPlan['waitsFor'] = 'age';
    const lower = (to: number, why: PruningPlan['waitsFor']): void => {
      const whole = to - (to % TILE_WIDTH);
      if (whole < limit) [limit, waitsFor] = [whole, why];
    };
    lower(await firstDetailed(objects, size), 'deletion of events');
    lower(confirmed(), 'confirmation elsewhere');
    const uncrossed = await this.#uncrossed(minimum, Math.max(minimum, limit));
    if (uncrossed.to < limit) [limit, waitsFor] = [uncrossed.to, uncrossed.why];
    const whole = await this.#unfollowed(minimum, limit, size);
    if (whole < limit) [limit, waitsFor] = [whole, 'sessions'];
    return { minimum, next: Math.max(minimum, limit), waitsFor };
  }

  /** Rejects with what kept it from that; what it had not done by then is done by the next one. @returns how many objects of replicas are locked there still */
  async sweep(): Promise<{ readonly plan: PruningPlan; readonly locked: number }> {
    const { objects, replicas, forget, holdBack, ageMs } = this.#options;
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    const plan = await this.plan();
    if (plan.next > plan.minimum) await this.#declare(plan, pruningText(plan.next, ageMs), size);
    else holdBack(plan.minimum);
    const minimum = plan.next > plan.minimum ? await this.#reader.minimum() : plan.minimum;
    if (minimum === 0) return { plan, locked: 0 };
    await removeBelow(objects, Math.min(minimum, await firstDetailed(objects, size)));
    await forget(minimum);
    let locked = 0;
    const failures: unknown[] = [];
    for (const replica of replicas)
      try {
        // What a replica says of itself counts there, and it may be behind; it keeps leaves as long as their events, which a lock may keep longer than here.
        const own = await new LogReader(replica, this.#options).minimum();
        locked += await removeBelow(replica, Math.min(own, await firstDetailed(replica, size)));
      } catch (error) {
        failures.push(error);
      }
    if (failures.length > 0) throw failures[0];
    return { plan: { ...plan, minimum }, locked };
  }

  /**
   * The event first, where everybody can read it; then the minimum, unless a session of what goes was put under a hold, or has gone on, by then: the next sweep declares anew. From
   * the look at that until they are forgotten none goes on: its chain would begin behind leaves that are not there. `from`: the leaves that were looked at.
   */
  async #declare({ minimum: first, next: minimum }: PruningPlan, text: string, from: number): Promise<void> {
    const { objects, held, holdBack } = this.#options;
    const sessions = await this.#sessions(first, minimum, from);
    let goes = false;
    holdBack(minimum);
    try {
      const { teller, goesOn } = await this.#tell(minimum, text, from);
      if (goesOn || [...sessions].some(held)) return;
      // Where this fails it may be written all the same: the next sweep reads what is there.
      goes = true;
      await objects.put(PRUNED_PATH, formatPruned({ minimum, ...teller }));
    } finally {
      if (!goes) holdBack(first);
    }
  }

  /** @returns the event that tells, and whether a session has gone on behind what was looked at */
  async #tell(
    minimum: number,
    text: string,
    from: number,
  ): Promise<{ readonly teller: Omit<Pruned, 'minimum'>; readonly goesOn: boolean }> {
    const { record, publish, told } = this.#options;
    await record(text);
    await publish();
    const { size = 0 } = (await this.#reader.checkpoint()) ?? {};
    let teller: Omit<Pruned, 'minimum'> | undefined;
    let goesOn = false;
    for await (const { index, leaf, detail } of this.#reader.read(from, size, size)) {
      goesOn ||= leaf.position > 1 && leaf.previous < minimum;
      if (detail !== undefined && told(detail.event) === text) teller = { leaf: index, salt: detail.salt, event: detail.event };
    }
    if (teller === undefined) throw new Error(`the event that tells of pruning below ${minimum} is not published yet`);
    return { teller, goesOn };
  }

  /** Whose leaves there are from `from` to before `to`, both ends of bundles, as these say themselves. */
  async #sessions(from: number, to: number, size: number): Promise<ReadonlySet<string>> {
    const sessions = new Set<string>();
    for (let bundle = from / TILE_WIDTH; bundle < to / TILE_WIDTH; bundle += 1)
      for (const entry of await this.#reader.entries(bundle, size)) sessions.add(decodeLeaf(entry).session);
    sessions.delete('');
    return sessions;
  }

  /** The first leaf of the first bundle that is not full, or has one that is not old enough. */
  async #firstYoung(minimum: number, before: bigint, size: number): Promise<number> {
    const isOld = async (bundle: number): Promise<boolean> => {
      const from = bundle * TILE_WIDTH;
      if (this.#options.notBefore(from, from + TILE_WIDTH) >= Number(before / NANOS)) return false;
      return (await this.#reader.entries(bundle, size)).map(decodeLeaf).every(({ timeUnixNanos }) => timeUnixNanos < before);
    };
    let [low, high] = [minimum / TILE_WIDTH, Math.floor(size / TILE_WIDTH)];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (await isOld(middle)) low = middle + 1;
      else high = middle;
    }
    // Times need not ascend.
    for (let bundle = minimum / TILE_WIDTH; bundle < low; bundle += 1) if (!(await isOld(bundle))) return bundle * TILE_WIDTH;
    return low * TILE_WIDTH;
  }

  /** The last end of a bundle, up to `to`, that no leaf behind it reaches back over: the leaves say so themselves, whatever the index says. */
  async #unfollowed(minimum: number, to: number, size: number): Promise<number> {
    let end = to;
    for (let bundle = Math.ceil(size / TILE_WIDTH) - 1; end > minimum && bundle * TILE_WIDTH >= end; bundle -= 1) {
      const lowest = await this.#lowestFollowed(bundle, size);
      if (lowest < end) end = lowest - (lowest % TILE_WIDTH);
    }
    return Math.max(minimum, end);
  }

  async #lowestFollowed(bundle: number, size: number): Promise<number> {
    const known = this.#reach.get(bundle);
    if (known !== undefined) return known;
    let lowest = Number.POSITIVE_INFINITY;
    for (const entry of await this.#reader.entries(bundle, size)) {
      const { position, previous } = decodeLeaf(entry);
      if (position > 1) lowest = Math.min(lowest, previous);
    }
    if ((bundle + 1) * TILE_WIDTH <= size) this.#reach.set(bundle, lowest);
    return lowest;
  }

  /** The last end of a bundle, up to `to`, that no session goes on behind: each is there as a whole, or not at all. */
  async #uncrossed(minimum: number, to: number): Promise<{ readonly to: number; readonly why: 'sessions' | 'a legal hold' }> {
    let [best, reached] = [minimum, -1];
    for await (const { session, first, last, open } of this.#options.spans(minimum, to)) {
      const whole = first - (first % TILE_WIDTH);
      if (whole > reached) best = Math.max(best, whole);
      if (this.#options.held(session)) return { to: best, why: 'a legal hold' };
      reached = open ? Number.POSITIVE_INFINITY : Math.max(reached, last);
    }
    return { to: reached < to ? to : best, why: 'sessions' };
  }
}
