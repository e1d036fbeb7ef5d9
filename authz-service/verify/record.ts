/** What the leaves say of each other, and of the events beside them. */
import type { Detail } from '../log/details.ts';
import { commitmentOf, type Leaf, leafTarget } from '../log/leaf.ts';
import { decodeEvent } from '../tap/event.ts';
import { isLeafKindOf, kindOf } from '../tap/leaf_kind.ts';
import { type TapBodyOf, type TapEvent, TOLD_BESIDE } from '../tap/schema.ts';
import type { Faults } from './report.ts';

/** The event of a leaf; `undefined` when it is not the one that the leaf commits to, or says otherwise than the leaf: then that is among the faults. */
export const checkEvent = (index: number, leaf: Leaf, { salt, event }: Detail, faults: Faults): TapEvent | undefined => {
  if (!commitmentOf(salt, event).equals(leaf.commitment)) {
    faults.add('commitment', `leaf ${index}`);
    return undefined;
  }
  // Kinds of later versions stand in the log as well: their leaves can be verified, and what they say cannot be read.
  if (kindOf(leaf.kind) === undefined) return undefined;
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

const differences = (leaf: Leaf, event: TapEvent): string[] =>
  [
    isLeafKindOf(leaf.kind, event) ? '' : 'kind',
    leaf.timeUnixNanos === event.timeUnixNanos ? '' : 'time',
    leaf.emitter === event.emitter ? '' : 'emitter',
    leaf.sequence === event.sequence ? '' : 'sequence',
    leaf.session === event.session ? '' : 'session',
    leaf.target === leafTarget(event.target) ? '' : 'target',
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
  readonly #fromBeginning: boolean;
  #gaps = 0;

  /** `fromBeginning`: the first leaf is the first that ever was. */
  constructor(told: { readonly faults: Faults; readonly remarks: string[] }, fromBeginning = true) {
    this.#told = told;
    this.#fromBeginning = fromBeginning;
  }

  /** In the order of the log. */
  add(index: number, { emitter, sequence }: Leaf): void {
    const last = this.#last.get(emitter) ?? (this.#fromBeginning ? 0 : sequence - 1);
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
