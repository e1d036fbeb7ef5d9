/**
 * The evidence of one session: a head with the signed checkpoint that all is proven against, and for each event its leaf with salt, event and the proof that it stands
 * in the tree. It is written as one HTML page that a person can read (page.ts), with each of these as a line of JSON inside, so that it is written and read in memory
 * for one event, however long the session is.
 */
import type { MissingEvents, SessionExtent } from '../verify/report.ts';
import type { ProvenLeaf } from '../verify/session.ts';

export const FORMAT = 'sluice-evidence/2';

export interface Head {
  readonly format: typeof FORMAT;
  /** Which version of the readable part stands around the evidence (page.ts); 1, which is not written: one from before they were counted. */
  readonly drawing: number;
  readonly session: string;
  readonly origin: string;
  /** Verifier keys as signed notes name them. They lie beside what they verify: compare them with those that you were given. */
  readonly keys: readonly string[];
  /** The signed note. */
  readonly checkpoint: string;
  /** What the page says of its being all: the verifier finds it out by itself, and they must agree. */
  readonly extent: SessionExtent;
  /** Whether recorded payload is there, as far as it was when the page was written; false: its leaves alone. */
  readonly payloads: boolean;
  /** What the page says of events that are not on it, when there are such; they must agree likewise. What records deletions is on the page. */
  readonly missing?: MissingEvents;
}

/** Bytes are in base64. */
interface WrittenLeaf {
  readonly index: number;
  /** The entry of the tree: `sluice.log.v1.Leaf`. */
  readonly leaf: string;
  /** The salt that the leaf's commitment was made with, and `sluice.tap.v1.Event`; both absent when they were deleted after their retention, or left out. */
  readonly salt?: string;
  readonly event?: string;
  /** Hashes of the inclusion proof, from the leaf upwards. */
  readonly proof: readonly string[];
}

/** In a page, where `<` must not begin markup. */
const written = (value: object): string => JSON.stringify(value).replaceAll('<', '\\u003c');

export const formatHead = ({
  drawing,
  session,
  origin,
  keys,
  checkpoint,
  extent: { events, end },
  payloads,
  missing,
}: Omit<Head, 'format'>): string => {
  const extent = { events, ...(end !== undefined && { end: endOf(end) }) };
  const head = { format: FORMAT, ...(drawing !== 1 && { drawing }), session, origin, keys, checkpoint, extent, payloads };
  return written({ ...head, ...(missing !== undefined && { missing: notThere(missing) }) });
};

/** Its members in the order in which they are written. */
const endOf = ({ leaf, outcome, after, of, late, missing }: NonNullable<SessionExtent['end']>): NonNullable<SessionExtent['end']> => ({
  leaf,
  outcome,
  after,
  ...(of !== undefined && { of }),
  ...(late !== undefined && { late }),
  ...(missing !== undefined && { missing: { emitter: missing.emitter, from: missing.from, to: missing.to } }),
});

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');

export const formatLeaf = ({ index, entry, detail, proof }: ProvenLeaf): string =>
  written({
    index,
    leaf: base64(entry),
    ...(detail !== undefined && { salt: base64(detail.salt), event: base64(detail.event) }),
    proof: proof.map(base64),
  } satisfies WrittenLeaf);

export class EvidenceError extends Error {
  override readonly name = 'EvidenceError';
}

const wrong = (what: string): EvidenceError => new EvidenceError(what);

const textOf = (value: unknown, what: string): string => {
  if (typeof value !== 'string') throw wrong(`${what} is no text`);
  return value;
};

const countOf = (value: unknown, what: string): number => {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(`${what} is no number`);
  return value as number;
};

const bytesOf = (value: unknown, what: string): Buffer => {
  const bytes = Buffer.from(textOf(value, what), 'base64');
  if (bytes.toString('base64') !== value) throw wrong(`${what} is no base64`);
  return bytes;
};

const listOf = (value: unknown, what: string): readonly unknown[] => {
  if (!Array.isArray(value)) throw wrong(`${what} is no list`);
  return value;
};

const membersOf = (value: unknown, what: string): Readonly<Record<string, unknown>> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(`${what} is no object`);
  return value as Record<string, unknown>;
};

const MAX_PROOF_HASHES = 63;

const parsed = (line: string, what: string): Readonly<Record<string, unknown>> => {
  try {
    return membersOf(JSON.parse(line), what);
  } catch (error) {
    if (error instanceof EvidenceError) throw error;
    throw wrong(`${what} is no JSON`);
  }
};

const missingOf = (value: unknown): NonNullable<NonNullable<SessionExtent['end']>['missing']> => {
  const { emitter, from, to } = membersOf(value, 'what is missing');
  return {
    emitter: textOf(emitter, 'the emitter of what is missing'),
    from: countOf(from, 'the first that is missing'),
    to: countOf(to, 'the last that is missing'),
  };
};

const extentOf = (value: unknown): SessionExtent => {
  const { events, end } = membersOf(value, 'the extent');
  if (end === undefined) return { events: countOf(events, 'the number of events') };
  const { leaf, outcome, after, of, late, missing } = membersOf(end, 'the end');
  return {
    events: countOf(events, 'the number of events'),
    end: {
      leaf: countOf(leaf, "the end's leaf"),
      outcome: textOf(outcome, 'the outcome'),
      after: countOf(after, 'the number of events after the end'),
      ...(of !== undefined && { of: countOf(of, 'the number of events that the end tells') }),
      ...(late !== undefined && { late: countOf(late, 'the number of late events') }),
      ...(missing !== undefined && { missing: missingOf(missing) }),
    },
  };
};

const deletedOf = (value: unknown): NonNullable<MissingEvents['deletedBy']>[number] => {
  const { class: of, age, events } = membersOf(value, 'an age of deleted events');
  return {
    class: textOf(of, 'the class of deleted events'),
    age: textOf(age, 'the age of deleted events'),
    events: countOf(events, 'the number of deleted events of an age'),
  };
};

/** Its members, as they are read, in the order in which they are written. */
const notThere = (value: unknown): MissingEvents => {
  const {
    deleted,
    noticesGone,
    recordedBy,
    deletedBy,
    withheld,
    unexplained,
    firstUnexplained: first,
  } = membersOf(value, 'what is not there');
  return {
    deleted: countOf(deleted, 'the number of deleted events'),
    noticesGone: countOf(noticesGone, 'the number of those whose notices are gone'),
    recordedBy: listOf(recordedBy, 'the leaves that record deletions').map((leaf) => countOf(leaf, 'a leaf that records a deletion')),
    ...(deletedBy !== undefined && { deletedBy: listOf(deletedBy, 'the ages of deleted events').map(deletedOf) }),
    withheld: countOf(withheld, 'the number of withheld events'),
    unexplained: countOf(unexplained, 'the number of events that are missing'),
    ...(first !== undefined && { firstUnexplained: countOf(first, 'the first leaf whose event is missing') }),
  };
};

/** Reads what somebody hands in: throws an `EvidenceError`, and nothing else. Nothing of what it says is verified. */
export const parseHead = (line: string): Head => {
  const { format, drawing = 1, session, origin, keys, checkpoint, extent, payloads, missing } = parsed(line, 'the evidence');
  if (format !== FORMAT) throw wrong(`the evidence is not of the format ${FORMAT}`);
  if (typeof payloads !== 'boolean') throw wrong('whether there is payload is not said');
  const head = {
    format: FORMAT,
    drawing: countOf(drawing, 'the version of the drawing'),
    session: textOf(session, 'the session'),
    origin: textOf(origin, 'the origin'),
    keys: listOf(keys, 'keys').map((key) => textOf(key, 'a key')),
    checkpoint: textOf(checkpoint, 'the checkpoint'),
    extent: extentOf(extent),
    payloads,
    ...(missing !== undefined && { missing: notThere(missing) }),
  } as const;
  // Members that are not known, and other ways to write the same, would stand in the file unseen.
  if (formatHead(head) !== line) throw wrong('the evidence is not written as it should be');
  return head;
};

/** Likewise. */
export const parseLeaf = (line: string): ProvenLeaf => {
  const { index: at, leaf, salt, event, proof } = parsed(line, 'an event');
  const index = countOf(at, 'the index of an event');
  const hashes = listOf(proof, `the proof of event ${index}`).map((hash) => bytesOf(hash, `a hash of event ${index}`));
  if (hashes.length > MAX_PROOF_HASHES) throw wrong(`event ${index} has a proof of ${hashes.length} hashes`);
  if ((salt === undefined) !== (event === undefined)) throw wrong(`event ${index} has a salt or an event, not both`);
  const detail =
    event === undefined ? undefined : { index, salt: bytesOf(salt, `the salt of event ${index}`), event: bytesOf(event, `event ${index}`) };
  const read = { index, entry: bytesOf(leaf, `leaf ${index}`), detail, proof: hashes };
  if (formatLeaf(read) !== line) throw wrong(`event ${index} is not written as it should be`);
  return read;
};
