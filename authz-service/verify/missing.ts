/** Events that do not stand beside their leaves, and why: by a deletion that the log itself records, by what the verifier says was withheld, or by nothing. */
import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { durationText } from '../duration.ts';
import { DELETED_NOTICE, goneLeaves, joined, LARGEST_SHARE, type Range, type Told, without } from '../log/going.ts';
import {
  CLASSES,
  classOf,
  type DetailClass,
  decodeLeaf,
  isOfService,
  isOwnNotice,
  kindOfEntry,
  type Leaf,
  NOTICE_KIND,
  perClass,
} from '../log/leaf.ts';
import type { ServiceNotice } from '../log/notices.ts';
import { LogReader } from '../log/reader.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { pruningIn } from '../tap/event.ts';
import { BODIES, type TapEvent } from '../tap/schema.ts';
import { TlogError } from '../tlog/error.ts';
import { leafHash } from '../tlog/hash.ts';
import { checkConsistency, checkInclusion } from '../tlog/proof.ts';
import { CHECKPOINT_PATH, TILE_WIDTH } from '../tlog/tile.ts';
import { checkEvent } from './record.ts';
import type { Faults, MissingEvents } from './report.ts';
import { openSigned, type Seen, type Trust } from './trust.ts';

/** Why an event is not there. */
interface Explanation {
  /** Leaves that show it. */
  readonly by: readonly number[];
  /** By which age it went, as the notice of then has it: `30d`; empty when that is not there to be read any more. */
  readonly age: string;
  /**
   * Deleted, as these tell; `notice-gone`: nothing explains it, it is only that a notice, which may have told of it, was deleted itself, as another records; `stayed`: nothing
   * explains it, a notice has told that it stayed.
   */
  readonly kind: 'deleted' | 'notice-gone' | 'stayed';
}

/** Leaves from `from` to before `to`, whose events the notice of a leaf behind them says were deleted. */
interface Recorded {
  readonly from: number;
  readonly to: number;
  readonly leaf: number;
  /** The events had to be older, Unix milliseconds; infinite: the notice only repeats what one before it has told, and says nothing of that. */
  readonly dueMs: number;
  /** By which age they went; `undefined` likewise. */
  readonly ageMs: number | undefined;
  /** When the notice told of them that they went by, where that has gone and this one carries it on: after the first and not after the second, Unix milliseconds. */
  readonly between?: readonly [number, number];
  /** Its leaf does not say who told it. */
  readonly untold: boolean;
}

/** Leaves of which the notice of a leaf behind them says that their events are there, whatever was told before. */
interface Stayed extends Range {
  readonly leaf: number;
}

/** A clock may be set right between the look at it and the notice: what is as little younger was due. Milliseconds. */
const CLOCK_STEP_MS = 60_000;

/** From leaf `from` to before leaf `to`; likewise by the times of these leaves, Unix milliseconds. */
interface Held {
  readonly from: number;
  readonly fromMs: number;
  to: number;
  toMs: number;
  /** A notice of the session, which may have told that the hold was released, has gone itself. */
  readonly doubted: boolean;
}

type Standing = 'held' | 'doubted' | 'free';

const UNTIL_NOW = { to: Number.POSITIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };

const HOLD_NOTICES = {
  added: 'legal-hold-added' satisfies ServiceNotice as string,
  released: 'legal-hold-released' satisfies ServiceNotice as string,
};

type OfClass<Each> = { readonly [C in DetailClass]: Each };

/** What the log itself records of deletions, and of what must not go. */
export class Deletions {
  /** What notices tell of what went by themselves, or by others as they carry it on, and all that they tell. */
  readonly #recorded: { readonly now: OfClass<Recorded[]>; readonly all: OfClass<Recorded[]> } = {
    now: perClass(() => []),
    all: perClass(() => []),
  };
  readonly #stayed: OfClass<Stayed[]> = perClass(() => []);
  readonly #gone: number[] = [];
  readonly #held = new Map<number, Held[]>();

  /** An event as far as it can be read: notices of the service itself count. */
  add(index: number, leaf: Leaf, event: TapEvent | undefined): void {
    if (event?.body.kind !== 'notice' || !isOfService(leaf)) return;
    const { notice, text } = event.body;
    if (event.session !== '') this.#hold(index, inMs(leaf.timeUnixNanos), event.session, notice);
    else if (notice === DELETED_NOTICE) this.#deleted(index, leaf, goneLeaves(text));
  }

  #deleted(index: number, { timeUnixNanos, own }: Leaf, told: Told | undefined): void {
    if (told === undefined) return;
    const { gone, now, carried, stayed } = told;
    const by = { leaf: index, untold: !own };
    const at = inMs(timeUnixNanos);
    const dueMs = at - now.ageMs + CLOCK_STEP_MS;
    // What is deleted stands before what tells of it.
    for (const { from, to } of now.leaves)
      if (to <= index) this.#recorded.now[now.detailClass].push({ from, to, ...by, dueMs, ageMs: now.ageMs });
    for (const { from, to, detailClass, ageMs, byMs } of carried) {
      const last = Math.min(byMs, at);
      const first = last - Math.max(CLOCK_STEP_MS, ageMs / LARGEST_SHARE);
      const of = { dueMs: last - ageMs + CLOCK_STEP_MS, ageMs, between: [first, last] as const };
      if (to <= index) this.#recorded.now[detailClass].push({ from, to, ...by, ...of });
    }
    for (const each of CLASSES) this.#stayed[each].push(...stayed[each].map((range) => ({ ...range, leaf: index })));
    for (const each of CLASSES)
      for (const { from, to } of gone[each])
        if (to <= index) this.#recorded.all[each].push({ from, to, ...by, dueMs: Number.POSITIVE_INFINITY, ageMs: undefined });
  }

  #hold(index: number, at: number, session: string, notice: string): void {
    const key = sessionKey(session);
    const all = this.#held.get(key) ?? [];
    const last = all.at(-1);
    const on = last !== undefined && last.to === Number.POSITIVE_INFINITY;
    if (on && (notice === HOLD_NOTICES.released || last.doubted)) [last.to, last.toMs] = [index, at];
    if (notice === HOLD_NOTICES.added && (!on || last.doubted)) all.push({ from: index, fromMs: at, ...UNTIL_NOW, doubted: false });
    if (all.length > 0) this.#held.set(key, all);
  }

  /** Whether the session was held, as far as the record tells, when the notice was told that an event went by. */
  standingOf(session: number, { leaf, between }: Pick<Recorded, 'leaf' | 'between'>): Standing {
    const all = this.#held.get(session) ?? [];
    if (between !== undefined) {
      const [first, last] = between;
      const held = all.filter(({ fromMs, toMs }) => fromMs < last && first < toMs);
      if (held.some(({ fromMs, toMs, doubted }) => !doubted && fromMs <= first && last < toMs)) return 'held';
      return held.length === 0 ? 'free' : 'doubted';
    }
    const held = all.find(({ from, to }) => from < leaf && leaf < to);
    if (held === undefined) return 'free';
    return held.doubted ? 'doubted' : 'held';
  }

  /** What tells that the event of a leaf was deleted: the notices that it may have gone by, the first one first, if one is there still, else one that repeats it; none: nothing. */
  tellers(): (detailClass: DetailClass, index: number) => readonly Recorded[] {
    const now = perClass((each) => overlaid(notTakenBack(this.#recorded.now[each], this.#stayed[each])));
    const all = perClass((each) => disjoint(notTakenBack(this.#recorded.all[each], this.#stayed[each])));
    return (detailClass, index) => {
      const by = foundIn(now[detailClass], index)?.by;
      if (by !== undefined) return by;
      const repeating = foundIn(all[detailClass], index);
      return repeating === undefined ? [] : [repeating];
    };
  }

  /** Of all that tell of an event, the one that it went by, as far as one of them may have been that; `undefined`: none tells of it. */
  oneOf(by: readonly Recorded[], { time, session }: Pick<Absent, 'time' | 'session'>): Recorded | undefined {
    const due = by.filter(({ dueMs }) => time < dueMs);
    const standing = (each: Recorded): Standing => this.standingOf(session, each);
    return due.find((each) => standing(each) === 'free') ?? due.find((each) => standing(each) === 'doubted') ?? due[0] ?? by[0];
  }

  /** A notice of the service itself, whose event is not there. */
  gone(index: number, leaf: Leaf): void {
    if (isOwnNotice(leaf)) this.#gone.push(index);
    else {
      const held = this.#held.get(sessionKey(leaf.session));
      const last = held?.at(-1);
      if (last === undefined || last.to !== Number.POSITIVE_INFINITY || last.doubted) return;
      [last.to, last.toMs] = [index, inMs(leaf.timeUnixNanos)];
      held?.push({ from: index, fromMs: last.toMs, ...UNTIL_NOW, doubted: true });
    }
  }

  /** What explains that the event of a leaf is not there, or may have; `undefined`: nothing. */
  explainer(tellers = this.tellers()): (absent: Omit<Absent, 'beside'>) => Explanation | undefined {
    const teller = (detailClass: DetailClass, index: number): Recorded | undefined => tellers(detailClass, index)[0];
    // Notices are events, and go as these do. What one told is told by no other thing than another notice: that it has gone, and is known to, explains nothing.
    const last = this.#gone.filter((leaf) => teller('events', leaf) !== undefined).reduce((a, b) => Math.max(a, b), -1);
    return ({ detailClass, index, ...of }) => {
      const by = this.oneOf(tellers(detailClass, index), of);
      if (by !== undefined) return { by: [by.leaf], age: by.ageMs === undefined ? '' : durationText(by.ageMs), kind: 'deleted' };
      const stayed = this.#stayed[detailClass].findLast(({ from, to }) => from <= index && index < to);
      if (stayed !== undefined) return { by: [stayed.leaf], age: '', kind: 'stayed' };
      return index < last ? { by: [last, teller('events', last)?.leaf ?? last], age: '', kind: 'notice-gone' } : undefined;
    };
  }
}

const inMs = (nanos: bigint): number => Number(nanos / 1_000_000n);

/** By which a session is known among those of events that are not there: its name takes more memory. Of 48 bits of SHA-256; 0: of no session. */
const sessionKey = (session: string): number => (session === '' ? 0 : hash('sha256', session, 'buffer').readUIntBE(0, 6));

const notTakenBack = (recorded: readonly Recorded[], stayed: readonly Stayed[]): readonly Recorded[] =>
  stayed.length === 0
    ? recorded
    : recorded.flatMap((each) => {
        const later = stayed.filter(({ leaf, from, to }) => leaf > each.leaf && from < each.to && each.from < to);
        return without([each], joined(later)).map((range) => ({ ...each, ...range }));
      });

/** Leaves of which the same notices tell, the first one first. */
interface Overlaid {
  readonly from: number;
  readonly to: number;
  readonly by: readonly Recorded[];
}

/** Ascending, none over another, with all that tell of each: what was told to go and stayed, for a hold that came just then, is told of again when it goes. */
const overlaid = (recorded: readonly Recorded[]): readonly Overlaid[] => {
  const ends = [...new Set(recorded.flatMap(({ from, to }) => [from, to]))].sort((a, b) => a - b);
  const beginning = recorded.toSorted((a, b) => a.from - b.from);
  const found: Overlaid[] = [];
  let by: readonly Recorded[] = [];
  let next = 0;
  for (const [i, from] of ends.entries()) {
    const begun: Recorded[] = [];
    for (; beginning[next]?.from === from; next += 1) begun.push(beginning[next] as Recorded);
    by = [...by.filter(({ to }) => to > from), ...begun].sort((a, b) => a.leaf - b.leaf);
    if (by.length > 0) found.push({ from, to: ends[i + 1] as number, by });
  }
  return found;
};

/** Ascending, none over another: what is told of twice counts as told of first. */
const disjoint = (recorded: readonly Recorded[]): readonly Recorded[] => {
  const found: Recorded[] = [];
  for (const each of recorded.toSorted((a, b) => a.from - b.from || a.leaf - b.leaf)) {
    const from = Math.max(each.from, found.at(-1)?.to ?? 0);
    if (from < each.to) found.push({ ...each, from });
  }
  return found;
};

const foundIn = <Each extends { readonly from: number; readonly to: number }>(
  recorded: readonly Each[],
  index: number,
): Each | undefined => {
  let [low, high] = [0, recorded.length];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((recorded[middle] as Each).to <= index) low = middle + 1;
    else high = middle;
  }
  const found = recorded[low];
  return found !== undefined && found.from <= index ? found : undefined;
};

/** Of one class and bundle. */
interface NotThere {
  /** A bit for each leaf of the bundle. */
  readonly leaves: Uint8Array;
  /** When each of these happened, Unix milliseconds, and in which session, by its key. */
  readonly times: Float64Array;
  readonly sessions: Float64Array;
  /** Whether others of the class are there. */
  beside: boolean;
}

const noneOf = (): NotThere => ({
  leaves: new Uint8Array(TILE_WIDTH / BITS),
  times: new Float64Array(TILE_WIDTH),
  sessions: new Float64Array(TILE_WIDTH),
  beside: false,
});

/** An event that is not there. */
interface Absent {
  readonly detailClass: DetailClass;
  readonly index: number;
  /** Whether others of its class are there in the bundle. */
  readonly beside: boolean;
  /** When it happened, Unix milliseconds. */
  readonly time: number;
  /** Its key. */
  readonly session: number;
}

/** What is wrong with what one notice says went. */
interface Wrong {
  count: number;
  readonly first: number;
}

const BITS = 8;

export class Missing {
  readonly deletions = new Deletions();
  readonly #withheld: readonly DetailClass[];
  readonly #notThere = perClass(() => new Map<number, NotThere>());

  /** `withheld`: classes that are not to be looked for. */
  constructor(withheld: readonly DetailClass[] = []) {
    this.#withheld = withheld;
  }

  /** In the order of the log. `beside`: others of its class are there in the bundle. */
  add(index: number, leaf: Leaf, beside = false): void {
    const bundles = this.#notThere[classOf(leaf.kind)];
    const bundle = Math.floor(index / TILE_WIDTH);
    const notThere = bundles.get(bundle) ?? noneOf();
    const { leaves, times, sessions } = notThere;
    const offset = index % TILE_WIDTH;
    times[offset] = inMs(leaf.timeUnixNanos);
    sessions[offset] = sessionKey(leaf.session);
    notThere.beside = beside;
    leaves[Math.floor(offset / BITS)] = (leaves[Math.floor(offset / BITS)] as number) | (1 << (offset % BITS));
    bundles.set(bundle, notThere);
    if (leaf.kind === NOTICE_KIND && isOfService(leaf)) this.deletions.gone(index, leaf);
  }

  /** The first leaf whose event is not there; `undefined`: all are. */
  get first(): number | undefined {
    return [...this.#each()].reduce<number | undefined>(
      (first, { index }) => (first === undefined || index < first ? index : first),
      undefined,
    );
  }

  get events(): MissingEvents {
    const explain = this.deletions.explainer();
    const by = new Set<number>();
    const found = { deleted: 0, noticesGone: 0, withheld: 0, unexplained: 0 };
    const ages = perClass(() => new Map<string, number>());
    let first = Number.POSITIVE_INFINITY;
    for (const absent of this.#each()) {
      const { detailClass, index } = absent;
      const explanation = explain(absent);
      const told = explanation?.kind === 'deleted';
      if (told) {
        found.deleted += 1;
        ages[detailClass].set(explanation.age, (ages[detailClass].get(explanation.age) ?? 0) + 1);
      } else if (this.#withheld.includes(detailClass)) {
        found.withheld += 1;
        continue;
      }
      for (const leaf of explanation?.by ?? []) by.add(leaf);
      if (!told) {
        if (explanation?.kind === 'notice-gone') found.noticesGone += 1;
        found.unexplained += 1;
        first = Math.min(first, index);
      }
    }
    const recordedBy = [...by].sort((a, b) => a - b);
    const deletedBy = CLASSES.flatMap((each) => [...ages[each]].sort().map(([age, events]) => ({ class: each, age, events })));
    return { ...found, recordedBy, deletedBy, ...(found.unexplained > 0 && { firstUnexplained: first }) };
  }

  /** An event that was taken out from among others is a fault of what is there; and one that went before its time, or while its session was held. */
  tell(faults: Faults, remarks: string[]): void {
    const tellers = this.deletions.tellers();
    const explain = this.deletions.explainer(tellers);
    const [early, held, stayed] = [new Map<number, Wrong>(), new Map<number, Wrong>(), new Map<number, Wrong>()];
    const found = (wrong: Map<number, Wrong>, leaf: number, index: number): void => {
      const of = wrong.get(leaf) ?? { count: 0, first: index };
      of.count += 1;
      wrong.set(leaf, of);
    };
    const untold = new Set<number>();
    let [repeated, doubted] = [0, 0];
    for (const absent of this.#each()) {
      const { detailClass, index, beside, time, session } = absent;
      const one = this.deletions.oneOf(tellers(detailClass, index), absent);
      if (one === undefined) {
        const why = explain(absent);
        if (why?.kind === 'stayed') found(stayed, why.by[0] as number, index);
        if (beside && why?.kind !== 'notice-gone')
          faults.add(
            'missing',
            `the event of leaf ${index}, beside others of its bundle and class: no notice "${DELETED_NOTICE}" tells of it`,
          );
        continue;
      }
      const standing = this.deletions.standingOf(session, one);
      if (one.untold) untold.add(one.leaf);
      if (one.dueMs === Number.POSITIVE_INFINITY) repeated += 1;
      else if (time >= one.dueMs) found(early, one.leaf, index);
      else if (standing === 'held') found(held, one.leaf, index);
      else if (standing === 'doubted') doubted += 1;
    }
    for (const [leaf, { count, first }] of early)
      faults.add('early', `${eventsIn(count)} younger than what the notice of leaf ${leaf} says went, the first of leaf ${first}`);
    for (const [leaf, { count, first }] of held)
      faults.add(
        'held',
        `${eventsIn(count)} of sessions under a legal hold when the notice of leaf ${leaf} told of them, the first of leaf ${first}`,
      );
    for (const [leaf, { count, first }] of stayed)
      remarks.push(
        `${eventsIn(count)} there when the notice of leaf ${leaf} took back that they went, and no later one tells of them, the first of leaf ${first}`,
      );
    if (doubted > 0)
      remarks.push(
        `${eventsIn(doubted)} deleted of sessions that had a legal hold, and a notice that may have released it has gone, or the one that they went by: whether it was on then cannot be seen any more`,
      );
    if (repeated > 0)
      remarks.push(
        `that ${eventsIn(repeated)} deleted is told by notices that repeat it, and those of the time have gone: whether it was due then cannot be seen any more`,
      );
    if (untold.size > 0) remarks.push(untoldInWords([...untold]));
  }

  *#each(): Generator<Absent> {
    for (const detailClass of CLASSES)
      for (const [bundle, { leaves, beside, times, sessions }] of this.#notThere[detailClass])
        for (let offset = 0; offset < TILE_WIDTH; offset += 1)
          if (((leaves[Math.floor(offset / BITS)] as number) >> (offset % BITS)) & 1)
            yield {
              ...{ detailClass, index: bundle * TILE_WIDTH + offset, beside },
              ...{ time: times[offset] as number, session: sessions[offset] as number },
            };
  }
}

const eventsIn = (count: number): string => (count === 1 ? '1 event was' : `${count.toLocaleString('en')} events were`);

/** Leaves of the older form. */
export const untoldInWords = ([first, ...more]: readonly number[]): string =>
  `what is gone is explained by ${more.length === 0 ? `a notice whose leaf, ${first}, is` : `notices whose leaves, the first ${first}, are`} of the older form, which does not say that the service itself told it`;

/**
 * The gateway's own notices from leaf `from` to before `to`, proven against a tree that has them. Rejects as the log's reader does.
 */
export const readNotices = async (
  reader: LogReader,
  { from, to }: { readonly from: number; readonly to: number },
  tree: { readonly size: number; readonly root: Uint8Array },
  { deletions }: Missing,
  faults: Faults,
): Promise<void> => {
  for (let bundle = Math.floor(from / TILE_WIDTH); bundle * TILE_WIDTH < to; bundle += 1) {
    const entries = await reader.entries(bundle, tree.size);
    const notices = entries.flatMap((entry, i) => {
      const index = bundle * TILE_WIDTH + i;
      if (index < from || index >= to || kindOfEntry(entry) !== BODIES.notice.number) return [];
      const leaf = decodeLeaf(entry);
      return isOwnNotice(leaf) ? [{ index, entry, leaf }] : [];
    });
    if (notices.length === 0) continue;
    const details = await reader.details('events', bundle, tree.size);
    for (const { index, entry, leaf } of notices) {
      checkInclusion(leafHash(entry), index, tree, await reader.proveInclusion(index, tree.size));
      const detail = details.get(index);
      if (detail === undefined) deletions.gone(index, leaf);
      else deletions.add(index, leaf, checkEvent(index, leaf, detail, faults));
    }
  }
};

export interface Looking {
  readonly objects: ObjectStore;
  readonly trust: Trust;
  /** What the verification is against. */
  readonly seen: Seen;
  /** Up to here notices were looked at already. */
  readonly from: number;
  /** Events of the newest bundle go just before the notice that tells of it is published: how long that is waited for, milliseconds. */
  readonly patienceMs: number;
}

/**
 * Looks for what explains missing events behind the leaves that were looked at: to the end of the tree, and in what the log has gone on by while it was read. Of
 * the latter nothing but deletions is made. Rejects as the log's reader does.
 */
export const explain = async (missing: Missing, looking: Looking, faults: Faults, remarks: string[]): Promise<void> => {
  const { objects, trust, seen, from, patienceMs } = looking;
  const reader = new LogReader(objects, { open: (note) => openSigned(note, trust), told: pruningIn });
  const isExplained = (): boolean => missing.events.unexplained === 0;
  if (isExplained()) return;
  await readNotices(reader, { from, to: seen.size }, seen, missing, faults);
  let before = seen;
  for (const deadline = performance.now() + patienceMs; !isExplained(); await sleep(Math.min(PAUSE_MS, patienceMs))) {
    const later = await newest(objects, trust);
    if (later.size > before.size) {
      checkConsistency(before, later, await reader.proveConsistency(before.size, later.size));
      await readNotices(reader, { from: before.size, to: later.size }, later, missing, faults);
      before = later;
    }
    if (performance.now() >= deadline) break;
  }
  if (before.size > seen.size)
    remarks.push(
      `the log went on while it was read, to ${before.size.toLocaleString('en')} leaves: of these, deletions alone were looked at`,
    );
};

const PAUSE_MS = 200;

const newest = async (objects: ObjectStore, trust: Trust): Promise<Seen> => {
  const note = await objects.get(CHECKPOINT_PATH);
  if (note === undefined) throw new TlogError('missing', `there is no checkpoint at ${objects.url} any more`);
  return openSigned(note, trust);
};
