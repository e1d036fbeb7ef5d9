/** What a verification found, for people and for programs. */
import { printable } from '../replay/printable.ts';
import { StorageError } from '../storage/object_store.ts';
import { TlogError } from '../tlog/error.ts';
import { type Level, MEANING } from './trust.ts';

/** What is wrong. One row each: the sentence is for people, the code for programs. */
export const FAULTS = {
  'no-checkpoint': 'there is no checkpoint',
  signature: 'the checkpoint is not signed as it should be',
  malformed: 'bytes that are not what their format says',
  missing: 'something that must be there is not',
  root: 'the leaves do not give the root that the checkpoint signs',
  tile: 'a tile is not made of the leaves below it',
  leaf: 'a leaf does not say what its event says',
  commitment: 'an event is not the one that its leaf commits to',
  chain: "a session's events do not follow one another",
  sequence: "an emitter's events do not follow one another",
  inclusion: 'a leaf is not proven to stand in the tree',
  'rolled-back': 'the log is shorter than an earlier checkpoint of it',
  forked: 'the log does not go on from an earlier checkpoint of it',
  witnesses: 'too few witnesses have cosigned',
  'not-found': 'there is no such session or event',
  pruned: 'it was pruned from the front of the log',
  early: 'events were deleted before their time',
  held: 'events were deleted while they were to be kept',
  altered: 'a file of the bundle is not what its evidence gives',
} as const;
export type FaultCode = keyof typeof FAULTS;

export interface Fault {
  readonly code: FaultCode;
  readonly detail: string;
}

/** How much of a session is there. Its events from the first one on are there without a gap, or there is a fault. */
export interface SessionExtent {
  readonly events: number;
  /** The leaf of `session_closed`; absent while there is none. An end that was told counts before one that was assumed. */
  readonly end?: {
    readonly leaf: number;
    /** Empty when the event is not there to be read. */
    readonly outcome: string;
    /** How many of the events came after it. */
    readonly after: number;
    /** How many events it says that the session has with it. Absent, and what follows: it does not say so, or is not there to be read. */
    readonly of?: number;
    /** Of those after it: how many should not be there, because they are not what others tell of a session at any time. */
    readonly late?: number;
    /** Events that it says had not arrived: those of the session among these of the emitter. */
    readonly missing?: { readonly emitter: string; readonly from: number; readonly to: number };
  };
  /**
   * Every leaf up to here was looked at, and they give the signed root: what is not here was not in the log then. Absent: by a proof of each leaf alone nothing
   * shows what the log has beyond the last one.
   */
  readonly searchedTo?: number;
}

/** Events whose leaves are there, and which are not: how many, and why. */
export interface MissingEvents {
  /** Gone when their retention was over, as the log records. */
  readonly deleted: number;
  /** Of those that nothing explains: a notice that may have told of it has been deleted itself since, as the log records. */
  readonly noticesGone: number;
  /** The leaves that record the deletions, those of such notices included, ascending. */
  readonly recordedBy: readonly number[];
  /** Of the deleted ones: of which class, by which age as the record has it (`30d`; empty when it is not there to be read any more), how many. Absent on pages of versions before. */
  readonly deletedBy?: readonly { readonly class: string; readonly age: string; readonly events: number }[];
  /** Of a class that the verifier, or the page of evidence, says was left out. */
  readonly withheld: number;
  /** Nothing says why. */
  readonly unexplained: number;
  /** The first leaf of these, where there are some. */
  readonly firstUnexplained?: number;
}

export const isSome = ({ deleted, withheld, unexplained }: MissingEvents): boolean => deleted + withheld + unexplained > 0;

export interface Report {
  /** What is there is what was recorded, and nothing that must be there is missing from the tree. */
  readonly verified: boolean;
  /** Besides: every event is there, or it is explained why it is not. */
  readonly complete: boolean;
  readonly level: Level;
  readonly what: string;
  readonly origin: string;
  readonly size: number;
  /** Base64; empty when no checkpoint could be read. */
  readonly root: string;
  /** The newest checkpoint as it was signed; empty likewise. */
  readonly checkpoint: string;
  readonly signedBy: readonly string[];
  readonly keysAreTheLogsOwn: boolean;
  readonly witnesses: readonly { readonly name: string; readonly at: string }[];
  /** The size of the checkpoint that they have cosigned, where they are asked for. */
  readonly witnessedSize?: number;
  /** Lines of signatures on the checkpoint that nothing is made of: their keys are not known to the verifier, or they repeat one. */
  readonly otherSignatures: number;
  /** The size of the checkpoint that was kept, when there was one. */
  readonly rememberedSize?: number;
  /** Leaves below are not there any more, and the event of this leaf of the log told of it before: what it says, and when. */
  readonly pruned?: { readonly below: number; readonly leaf: number; readonly at: string; readonly text: string };
  /** Of a session alone. */
  readonly extent?: SessionExtent;
  /** Of a page of evidence alone: which version drew its readable part, and whether that was compared with the evidence. */
  readonly page?: { readonly drawing: number; readonly compared: boolean };
  readonly checked: Readonly<Record<string, number>>;
  readonly missing: MissingEvents;
  readonly faults: readonly Fault[];
  /** Faults beyond those that are listed. */
  readonly moreFaults: number;
  /** What is no fault and should be known. */
  readonly remarks: readonly string[];
  readonly seconds: number;
}

/** More of a kind are counted, not listed: one wrong leaf can spoil all that follow, and must not hide what else is wrong. */
const MOST_LISTED = 8;

export class Faults {
  readonly listed: Fault[] = [];
  more = 0;

  add(code: FaultCode, detail: string): void {
    if (this.listed.filter((fault) => fault.code === code).length < MOST_LISTED) this.listed.push({ code, detail });
    else this.more += 1;
  }

  get none(): boolean {
    return this.listed.length === 0;
  }
}

/** What the log's reader rejected with, as a fault: rejects with all that is none of the log's. */
export const addFault = (error: unknown, faults: Faults): void => {
  if (error instanceof StorageError) throw error;
  const code = error instanceof TlogError ? error.code : undefined;
  const { message } = error as Error;
  if (code === 'missing' || code === 'signature') faults.add(code, message);
  else faults.add(code === 'unproven' ? 'forked' : 'malformed', message);
};

const counted = (n: number): string => `${n.toLocaleString('en')} ${n === 1 ? 'event' : 'events'}`;

/** What is shown of a session, and what is proven of its being all: no more than that. */
export const extentInWords = ({ events, end, searchedTo }: SessionExtent): string => {
  const searched =
    searchedTo === undefined ? undefined : `nothing else of it stands among the first ${searchedTo.toLocaleString('en')} leaves`;
  const upTo = searched ?? 'whether the log has more of it, proofs of single leaves cannot show: `sluice verify SESSION` on the log does';
  if (end === undefined) return `open: ${counted(events)} from its opening on, none left out, and no end yet; ${upTo}`;
  if (end.of !== undefined && end.outcome !== 'unknown') return countedInWords(end, searched);
  const after = end.after === 0 ? '' : `; ${counted(end.after)} that came after it`;
  const toEnd = `${counted(events - end.after)} from its opening to its end at leaf ${end.leaf}, none left out${after}; ${upTo}`;
  if (end.outcome === 'unknown') return `its end was never told, and recorded as unknown: ${toEnd}`;
  return end.outcome === '' ? `ended: ${toEnd}` : `ended (${end.outcome}): ${toEnd}`;
};

/** Of a session whose end says how many events it has. The chain has shown that they are there. */
const countedInWords = (
  { leaf, outcome, after, of = 0, late = 0, missing }: NonNullable<SessionExtent['end']>,
  searched?: string,
): string => {
  const [all, at] = [of.toLocaleString('en'), `its end (${outcome}) at leaf ${leaf}`];
  const beside = after === late ? '' : `; ${counted(after - late)} that others told of it afterwards`;
  const behind =
    searched ??
    'should the log have one behind it all the same, it came late: `sluice verify SESSION` on the log shows that, and a page without it does not';
  const lates = late === 0 ? '' : `; LATE: ${counted(late)} behind ${missing === undefined ? 'the end, which was to be the last' : 'it'}`;
  if (missing !== undefined) {
    const range = `those of it among events ${missing.from} to ${missing.to} of emitter ${missing.emitter}`;
    return `incomplete: ${all} of the events that had arrived by ${at}, none left out; missing, as the end says: ${range}${lates}${beside}; ${behind}`;
  }
  if (late > 0)
    return `not as its end says: ${all} events up to ${at}${lates}${beside}; ${searched ?? 'whether the log has more of it, `sluice verify SESSION` on the log shows'}`;
  return `complete: ${all} of ${all} events, none can follow ${at}${beside}; ${behind}`;
};

const leavesOf = (n: number): string => `${n.toLocaleString('en')} ${n === 1 ? 'leaf' : 'leaves'}`;

const pageInWords = ({ drawing, compared }: NonNullable<Report['page']>): string =>
  compared
    ? 'shows what its evidence says, and nothing else'
    : `its READABLE PART WAS NOT COMPARED with the evidence: drawing ${drawing}, which it says it is, is not what this version draws. What was verified is drawn again by \`sluice verify FILE --redraw OUT\`: read that`;

const SINGULAR: Readonly<Record<string, string>> = { leaves: 'leaf' };

const words = (plural: string, count: number): string => (count === 1 ? (SINGULAR[plural] ?? plural.replace(/s$/, '')) : plural);

const checkedInWords = (checked: Report['checked']): string =>
  Object.entries(checked)
    .map(([what, count]) => `${count.toLocaleString('en')} ${words(what, count)}`)
    .join(', ');

const NAMED_LEAVES = 4;

const leavesInWords = (leaves: readonly number[]): string => {
  const more = leaves.length - NAMED_LEAVES;
  const named = leaves.slice(0, NAMED_LEAVES).join(', ');
  return `${leaves.length === 1 ? 'leaf' : 'leaves'} ${named}${more > 0 ? ` and ${more} more` : ''}`;
};

/** Which events are not there, and why; empty when all are. */
export const missingInWords = ({
  deleted,
  noticesGone,
  recordedBy,
  deletedBy = [],
  withheld,
  unexplained,
  firstUnexplained,
}: MissingEvents): string => {
  const ages = deletedBy.map((by) => `${by.events.toLocaleString('en')} of ${by.class}${by.age === '' ? '' : ` older than ${by.age}`}`);
  const gone =
    noticesGone === 0
      ? ''
      : ` (of ${noticesGone === unexplained ? 'all of them' : `${noticesGone.toLocaleString('en')} of them`} a notice that may have told it is deleted itself)`;
  const kinds = [
    ...(unexplained === 0 ? [] : [`${counted(unexplained)}, and nothing records why, the first of leaf ${firstUnexplained}${gone}`]),
    ...(deleted === 0
      ? []
      : [
          `${counted(deleted)}, deleted when their retention was over, as recorded in ${leavesInWords(recordedBy)}${ages.length === 0 ? '' : `: ${ages.join(', ')}`}`,
        ]),
    ...(withheld === 0 ? [] : [`${counted(withheld)} of payload, withheld`]),
  ];
  return kinds.join('; ');
};

const verdictOf = ({ verified, complete, what, page }: Pick<Report, 'verified' | 'complete' | 'what' | 'page'>): string => {
  if (!verified) return `NOT VERIFIED: ${what}`;
  if (page?.compared === false)
    return `EVIDENCE ${complete ? 'VERIFIED' : 'INCOMPLETE'}, ITS READABLE PART WAS NOT COMPARED: ${what}: do not go by what the page shows`;
  return complete ? `VERIFIED: ${what}` : `INCOMPLETE: ${what}: what is there is verified, and events that were recorded are not there`;
};

/** The report in words: one line for each thing, whatever is in the names and texts of others. */
export const inWords = (report: Report): string => {
  const { level, origin, size, root, signedBy, witnesses, witnessedSize, rememberedSize, faults, moreFaults, remarks } = report;
  const missing = missingInWords(report.missing);
  const lines = [
    verdictOf(report),
    ...(origin === '' ? [] : [`  log         ${origin}, ${size.toLocaleString('en')} leaves, root ${root}`]),
    ...(signedBy.length === 0
      ? []
      : [`  signed by   ${signedBy.join(', ')}${report.keysAreTheLogsOwn ? ' (a key that came with it)' : ''}`]),
    ...witnesses.map(({ name, at }) => `  witness     ${name}, ${at}${witnessedSize === undefined ? '' : `, ${leavesOf(witnessedSize)}`}`),
    ...(rememberedSize === undefined ? [] : [`  kept        a checkpoint of ${rememberedSize.toLocaleString('en')} leaves`]),
    ...(report.pruned === undefined
      ? []
      : [
          `  pruned      ${report.pruned.text}: so leaf ${report.pruned.leaf} says, of ${report.pruned.at}; what they said cannot be looked at any more`,
        ]),
    ...(report.extent === undefined ? [] : [`  session     ${extentInWords(report.extent)}`]),
    ...(report.page === undefined ? [] : [`  page        ${pageInWords(report.page)}`]),
    `  checked     ${checkedInWords(report.checked)}, in ${report.seconds.toFixed(1)} s`,
    ...(missing === '' ? [] : [`  missing     ${missing}`]),
    `  trust       ${level}: ${MEANING[level]}`,
    ...remarks.map((remark) => `  note        ${remark}`),
    ...faults.map(({ code, detail }) => `  FAULT       ${code}: ${FAULTS[code]}: ${detail}`),
    ...(moreFaults > 0 ? [`  FAULT       and ${moreFaults.toLocaleString('en')} more`] : []),
  ];
  return lines.map(printable).join('\n');
};
