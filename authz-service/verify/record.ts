/** What the leaves say of each other, and of the events beside them. */
import type { Detail } from '../log/details.ts';
import { DELETED_NOTICE, goneLeaves } from '../log/going.ts';
import { CLASSES, classOf, commitmentOf, type DetailClass, type Leaf } from '../log/leaf.ts';
import { decodeEvent } from '../tap/event.ts';
import { BODIES, type TapBodyOf, type TapEvent, TOLD_BESIDE } from '../tap/schema.ts';
import { kindOf } from '../tap/store.ts';
import { TILE_WIDTH } from '../tlog/tile.ts';
import type { Faults } from './report.ts';

/** The event of a leaf; `undefined` when it is not the one that the leaf commits to, or says otherwise than the leaf: then that is among the faults. */
export const checkEvent = (index: number, leaf: Leaf, { salt, event }: Detail, faults: Faults): TapEvent | undefined => {
  if (!commitmentOf(salt, event).equals(leaf.commitment)) {
    faults.add('commitment', `leaf ${index}`);
    return undefined;
  }
  // Kinds of later versions stand in the log as well: their leaves can be verified, and what they say cannot be read.
  if (!KNOWN.has(leaf.kind)) return undefined;
  try {
    const told = decodeEvent(event);
    const wrong = differences(leaf, told);
    if (wrong.length === 0) return told;
    faults.add('leaf', `leaf ${index}: ${wrong.join(', ')}`);
  } catch (error) {
    faults.add('malformed', `the event of leaf ${index}: ${(error as Error).message}`);
  }
  return undefined;
};

const KNOWN: ReadonlySet<number> = new Set(Object.values(BODIES).map(({ number }) => number));

const differences = (leaf: Leaf, event: TapEvent): string[] =>
  [
    leaf.kind === BODIES[event.body.kind].number ? '' : 'kind',
    leaf.timeUnixNanos === event.timeUnixNanos ? '' : 'time',
    leaf.emitter === event.emitter ? '' : 'emitter',
    leaf.sequence === event.sequence ? '' : 'sequence',
    leaf.session === event.session ? '' : 'session',
    event.target.startsWith(leaf.target) ? '' : 'target',
  ].filter((name) => name !== '');

/** The end that an event tells of its session, when it says how many events there are with it. */
export const countedEnd = (event: TapEvent | undefined): TapBodyOf<'session_closed'> | undefined =>
  event?.body.kind === 'session_closed' && event.body.events > 0 ? event.body : undefined;

/** Whether an event of this kind does not belong behind the end of its session. */
export const comesLate = ({ kind }: Pick<Leaf, 'kind'>): boolean => !TOLD_BESIDE.has(kindOf(kind));

/** Sessions as chains: each leaf names the one before it, and the end says how many there are. */
export class Chains {
  readonly #faults: Faults;
  readonly #newest = new Map<string, { index: number; position: number; ended: boolean }>();
  readonly #late = { events: 0, first: 0 };
  readonly #incomplete = { ends: 0, first: 0 };

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  get sessions(): number {
    return this.#newest.size;
  }

  /** In the order of the log. `event`: as far as it is there to be read. */
  add(index: number, leaf: Leaf, event: TapEvent | undefined): void {
    const { session, position, previous } = leaf;
    if (session === '') return;
    const end = countedEnd(event);
    if (end !== undefined && end.events !== position)
      this.#faults.add('chain', `leaf ${index} ends ${session} as its event ${position}, and says that it has ${end.events} events`);
    if (end !== undefined && end.missingEmitter !== '' && (this.#incomplete.ends += 1) === 1) this.#incomplete.first = index;
    const ended = end !== undefined && end.outcome !== 'unknown';
    const before = this.#newest.get(session);
    if (before === undefined) {
      if (position !== 1) this.#faults.add('chain', `leaf ${index} is event ${position} of ${session}, and those before it are not there`);
      this.#newest.set(session, { index, position, ended });
      return;
    }
    if (before.ended && comesLate(leaf) && (this.#late.events += 1) === 1) this.#late.first = index;
    before.ended ||= ended;
    if (position !== before.position + 1 || previous !== before.index)
      this.#faults.add(
        'chain',
        `leaf ${index} is event ${position} of ${session} behind leaf ${previous}, and event ${before.position} stands in leaf ${before.index}`,
      );
    before.index = index;
    before.position = position;
  }

  /** What is no fault of the log, which has it all. */
  tell(remarks: string[]): void {
    const { events, first } = this.#late;
    if (events > 0)
      remarks.push(
        `LATE: ${events} ${events === 1 ? 'event stands' : 'events stand'} behind an end that says it is the last of its session, the first in leaf ${first}: \`sluice verify --event ${first}\` and \`sluice replay\` show it`,
      );
    const { ends, first: firstEnd } = this.#incomplete;
    if (ends > 0)
      remarks.push(
        `${ends} ${ends === 1 ? 'session' : 'sessions'} ended before all that was told of had arrived, the first at leaf ${firstEnd}: the end says what was missing`,
      );
  }
}

/** Emitters number their events from 1, and none stands in the log twice. A gap has its notice in the record, so that it is a remark here. */
export class Emitters {
  readonly #told: { readonly faults: Faults; readonly remarks: string[] };
  readonly #last = new Map<string, number>();
  #gaps = 0;

  constructor(told: { readonly faults: Faults; readonly remarks: string[] }) {
    this.#told = told;
  }

  /** In the order of the log. */
  add(index: number, { emitter, sequence }: Leaf): void {
    const last = this.#last.get(emitter) ?? 0;
    if (sequence <= last)
      this.#told.faults.add('sequence', `leaf ${index} is event ${sequence} of ${emitter}, and event ${last} stands before it`);
    else {
      if (sequence > last + 1) this.#gaps += 1;
      this.#last.set(emitter, sequence);
    }
  }

  tell(): void {
    if (this.#gaps > 0)
      this.#told.remarks.push(`${this.#gaps} times an emitter went on beyond what the log has of it: the notices "tap-gap" say when`);
  }
}

interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * Events that are not there, held against the deletions that the log itself records. Of a full bundle they go all at once, of one that is not full yet one by one: where
 * one is missing beside others and no notice tells of it, that is a fault, unless notices behind it have lost their events, too.
 */
export class Deletions {
  readonly #missing: Missing[] = [];
  readonly #newest = new Map<DetailClass, Missing>();
  readonly #recorded: { readonly detailClass: DetailClass; readonly ranges: readonly Range[] }[] = [];
  #lastLostNotice = -1;
  /** The first leaf of the bundle that is not full. */
  readonly #edge: number;

  constructor(size: number) {
    this.#edge = size - (size % TILE_WIDTH);
  }

  /** In the order of the log. `beside`: others of its bundle and class are there. */
  missing(index: number, { kind }: Leaf, beside: boolean): void {
    const detailClass = classOf(kind);
    if (kind === BODIES.notice.number) this.#lastLostNotice = index;
    const newest = this.#newest.get(detailClass);
    if (!beside && newest?.beside === false && Math.floor(newest.first / TILE_WIDTH) === Math.floor(index / TILE_WIDTH)) {
      newest.last = index;
      newest.count += 1;
      return;
    }
    const missing = { detailClass, first: index, last: index, count: 1, beside };
    this.#missing.push(missing);
    this.#newest.set(detailClass, missing);
  }

  add({ body }: TapEvent): void {
    const gone = body.kind === 'notice' && body.notice === DELETED_NOTICE ? goneLeaves(body.text) : undefined;
    if (gone !== undefined) this.#recorded.push(gone);
  }

  tell({ faults, remarks }: { readonly faults: Faults; readonly remarks: string[] }): void {
    for (const detailClass of CLASSES) {
      const ranges = this.#recorded.filter((each) => each.detailClass === detailClass).flatMap((each) => each.ranges);
      const untold = this.#missing.filter(
        (each) => each.detailClass === detailClass && !ranges.some(({ from, to }) => from <= each.first && each.last < to),
      );
      const [removed, lost, atEdge]: [Missing[], Missing[], Missing[]] = [[], [], []];
      for (const each of untold)
        if (each.first >= this.#edge) atEdge.push(each);
        else if (each.beside && each.first > this.#lastLostNotice) removed.push(each);
        else lost.push(each);
      for (const { first } of removed)
        faults.add(
          'missing',
          `the event of leaf ${first}, beside others of its bundle and class: no notice "${DELETED_NOTICE}" tells of it`,
        );
      if (lost.length > 0)
        remarks.push(
          `${counted(lost)} ${detailClass}, the first behind leaf ${lost[0]?.first}, are not there, and no notice "${DELETED_NOTICE}" that is left tells of their deletion`,
        );
      if (atEdge.length > 0)
        remarks.push(
          `${counted(atEdge)} of the newest ${detailClass} are not there: the log went on while it was read, or they were taken away; verify it again`,
        );
    }
  }
}

/** Events that are not there, of one bundle: one of them, or all. */
interface Missing {
  readonly detailClass: DetailClass;
  readonly first: number;
  last: number;
  count: number;
  readonly beside: boolean;
}

const counted = (missing: readonly Missing[]): number => missing.reduce((sum, { count }) => sum + count, 0);
