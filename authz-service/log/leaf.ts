/**
 * The entries of the log: `sluice.log.v1.Leaf`, whose encoding is written out in proto/sluice/log/v1/log.proto, and the commitment by which a leaf holds on to an
 * event that stands outside the tree.
 */
import { hash } from 'node:crypto';
import { sha256Many } from '../tlog/many.ts';
import { LogError } from './error.ts';

/** What is written. Leaves of version 1 are read as well: they do not say whether the service itself told their events. */
export const LEAF_VERSION = 2;
const UNTOLD_VERSION = 1;
export const SALT_BYTES = 16;
export const COMMITMENT_BYTES = 32;
const EMITTER_BYTES = 16;
const MAX_TARGET_LENGTH = 128;
const MAX_SESSION_LENGTH = 128;

/** What the log is told of an event beside its bytes. */
export interface Subject {
  /** The field of `sluice.tap.v1.Event` that holds the event's body. */
  readonly kind: number;
  readonly timeUnixNanos: bigint;
  /** 32 hexadecimal digits. */
  readonly emitter: string;
  readonly sequence: number;
  /** At most 128 printable ASCII characters; empty: of no session. */
  readonly session: string;
  readonly target: string;
  /** The gateway's service itself tells it, and no filter. */
  readonly own: boolean;
}

export interface Leaf extends Subject {
  /** Of the format: 1 or 2. */
  readonly version: number;
  /** Which one of its session's events it is, from 1; 0 without a session. */
  readonly position: number;
  /** The index of the session's event before; 0 means something when `position` is more than 1 only. */
  readonly previous: number;
  readonly commitment: Buffer;
}

/**
 * Recorded payload by what it is, at the hundreds of its leaf's kind: 17 is one of which no kind is told, as by versions before this one; 117 a request's body;
 * 217 a response's; 317 what a database answered; 417 rows that were copied in.
 */
export const PAYLOAD_CLASSES = ['payloads', 'request_bodies', 'response_bodies', 'rows', 'copied_rows'] as const;
export type PayloadClass = (typeof PAYLOAD_CLASSES)[number];

/** What is kept, and deleted, together. Each class has a retention of its own. */
export const CLASSES = ['events', ...PAYLOAD_CLASSES] as const;
export type DetailClass = (typeof CLASSES)[number];

/** One of each class. */
export const perClass = <Value>(of: (detailClass: DetailClass) => Value): { [C in DetailClass]: Value } =>
  Object.fromEntries(CLASSES.map((each) => [each, of(each)])) as { [C in DetailClass]: Value };

/** The field of `sluice.tap.v1.Event` that holds payload. */
const PAYLOAD_FIELD = 17;
const PER_PAYLOAD = 100;

const isPayload = (kind: number): boolean => kind % PER_PAYLOAD === PAYLOAD_FIELD;

/** A leaf's kind of such payload. */
export const payloadKind = (payload: PayloadClass): number => PER_PAYLOAD * PAYLOAD_CLASSES.indexOf(payload) + PAYLOAD_FIELD;

/** Of notices: of no session when they are the gateway's own. */
export const NOTICE_KIND = 18;

type Told = Pick<Leaf, 'version' | 'kind' | 'session' | 'own'>;

/** Whether the service may have told it: a leaf of the older form does not say that it did. */
export const isOfService = ({ version, own }: Pick<Leaf, 'version' | 'own'>): boolean => own || version === UNTOLD_VERSION;

/** Whether this is a notice of the gateway's own: one of these tells of each deletion. */
export const isOwnNotice = (leaf: Told): boolean => leaf.kind === NOTICE_KIND && leaf.session === '' && isOfService(leaf);

/** Payload of a kind that only later versions know is `payloads`: of that nothing goes before the last of all. */
export const classOf = (kind: number): DetailClass =>
  isPayload(kind) ? (PAYLOAD_CLASSES[Math.floor(kind / PER_PAYLOAD)] ?? 'payloads') : 'events';

/** Payload of a kind that only later versions know: they keep it where this one would not look for it. */
export const isOfLaterVersion = (kind: number): boolean => isPayload(kind) && Math.floor(kind / PER_PAYLOAD) >= PAYLOAD_CLASSES.length;

const DOMAIN = Buffer.from('sluice.log.v1 event\0', 'latin1');

/** Node's own, under `write`, without its handling of arguments. */
interface FastBuffer {
  latin1Write(text: string, at: number): number;
  utf8Write(text: string, at: number): number;
}

let committed = Buffer.alloc(1 << 12);
DOMAIN.copy(committed);

/** SHA-256("sluice.log.v1 event" · 0x00 · salt · event) as a text of 32 Latin-1 characters: quicker to come by than a buffer. */
const commitmentText = (salt: Uint8Array, event: Uint8Array): string => {
  const length = DOMAIN.length + SALT_BYTES + event.length;
  if (length > committed.length) {
    committed = Buffer.alloc(2 * length);
    DOMAIN.copy(committed);
  }
  committed.set(salt, DOMAIN.length);
  committed.set(event, DOMAIN.length + SALT_BYTES);
  return hash('sha256', committed.subarray(0, length), 'binary');
};

/** As many commitments as there are messages, one behind the other: a view, good until the next batch is hashed. `pieces` has of each its salt and its event. */
export const commitmentsOf = (source: Uint8Array, pieces: Uint32Array, count: number): Buffer => sha256Many(DOMAIN, source, pieces, count);

/** What a leaf says of an event with this salt: 32 bytes. `salt` has `SALT_BYTES`. */
export const commitmentOf = (salt: Uint8Array, event: Uint8Array): Buffer => Buffer.from(commitmentText(salt, event), 'latin1');

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const tag = (field: number, type: number): number => (field << 3) | type;

/** Stands before the commitment, which is last. */
const OWN = 11;

const scratch = Buffer.alloc(1024);
/** A number's bytes on their way: Buffer's own methods for such numbers cost more than the rest of a leaf. */
const wordBytes = new Uint8Array(8);
const word = new DataView(wordBytes.buffer);
const MAX_FIXED64 = (1n << 64n) - 1n;

const writeVarint = (into: Buffer, value: number, at: number): number => {
  let rest = value;
  let next = at;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) into[next++] = (rest % 128) | 0x80;
  into[next++] = rest;
  return next;
};

/** Shorter texts are quicker written by a loop than by a call into Node. */
const LOOPED_LENGTH = 48;

const writeText = (into: Buffer, field: number, text: string, at: number): number => {
  into[at] = tag(field, BYTES);
  // Its length is of one byte when it is ASCII, as nearly all are.
  if (text.length <= LOOPED_LENGTH) {
    const start = at + 2;
    let i = 0;
    for (; i < text.length; i += 1) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) break;
      into[start + i] = code;
    }
    if (i === text.length) {
      into[at + 1] = text.length;
      return start + text.length;
    }
  }
  const length = Buffer.byteLength(text);
  const start = writeVarint(into, length, at + 1);
  (into as unknown as FastBuffer).utf8Write(text, start);
  return start + length;
};

const writeNumber = (into: Buffer, field: number, value: number, at: number): number => {
  into[at] = tag(field, VARINT);
  return writeVarint(into, value, at + 1);
};

const writeFixed64 = (into: Buffer, field: number, value: bigint, at: number): number => {
  into[at] = tag(field, FIXED64);
  word.setBigUint64(0, value > MAX_FIXED64 ? MAX_FIXED64 : value, true);
  for (let i = 0; i < 8; i += 1) into[at + 1 + i] = wordBytes[i] as number;
  return at + 9;
};

const HEX = Array.from({ length: 128 }, (_, code) => Number.parseInt(String.fromCharCode(code), 16));

/** What the leaf has of a target: of a longer one the beginning, where half a character that was cut through is U+FFFD. */
export const leafTarget = (target: string): string =>
  target.length > MAX_TARGET_LENGTH ? target.slice(0, MAX_TARGET_LENGTH).toWellFormed() : target;

/** What a leaf of this subject has at most. */
export const entryBound = ({ session, target }: Subject): number =>
  FIXED_BOUND + 3 * (session.length + Math.min(target.length, MAX_TARGET_LENGTH));
/** Its fields but for the two texts: six numbers of at most nine bytes, the time, emitter, mark and commitment, with what stands before each. */
const FIXED_BOUND = 6 * 9 + 9 + 18 + 2 * 4 + 2 + 34;

/** Writes the entry for an event but for its last `COMMITMENT_BYTES`; returns where those go. There is room for `entryBound` bytes. */
export const writeEntry = (
  into: Buffer,
  from: number,
  subject: Subject,
  position: number,
  previous: number,
  version = LEAF_VERSION,
): number => {
  const { kind, timeUnixNanos, emitter, sequence, session, target, own } = subject;
  let at = writeNumber(into, 1, version, from);
  at = writeNumber(into, 2, kind, at);
  if (timeUnixNanos > 0n) at = writeFixed64(into, 3, timeUnixNanos, at);
  into[at] = tag(4, BYTES);
  into[at + 1] = EMITTER_BYTES;
  at += 2;
  for (let i = 0; i < 2 * EMITTER_BYTES; i += 2)
    into[at++] = ((HEX[emitter.charCodeAt(i)] as number) << 4) | (HEX[emitter.charCodeAt(i + 1)] as number);
  at = writeNumber(into, 5, sequence, at);
  if (session !== '') at = writeText(into, 6, session, at);
  if (position > 0) at = writeNumber(into, 7, position, at);
  if (previous > 0) at = writeNumber(into, 8, previous, at);
  if (target !== '') at = writeText(into, 9, leafTarget(target), at);
  if (own) at = writeNumber(into, OWN, 1, at);
  into[at] = tag(10, BYTES);
  into[at + 1] = COMMITMENT_BYTES;
  return at + 2;
};

const writeLeaf = (subject: Subject, position: number, previous: number, commitment: string, version?: number): number => {
  const at = writeEntry(scratch, 0, subject, position, previous, version);
  (scratch as unknown as FastBuffer).latin1Write(commitment, at);
  return at + COMMITMENT_BYTES;
};

/** The entry for an event: a view, good until the next one. `previous` is 0 unless `position` is more than 1. */
export const encodeLeafView = (subject: Subject, position: number, previous: number, salt: Uint8Array, event: Uint8Array): Buffer =>
  scratch.subarray(0, writeLeaf(subject, position, previous, commitmentText(salt, event)));

/** The leaf's bytes: at most about 900. */
export const encodeLeaf = (leaf: Leaf): Buffer =>
  Buffer.from(scratch.subarray(0, writeLeaf(leaf, leaf.position, leaf.previous, leaf.commitment.toString('latin1'), leaf.version)));

const malformed = (what: string): LogError => new LogError('malformed', `a leaf ${what}`);

class LeafReader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 56; scale *= 128) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) throw malformed('that ends inside a number');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw malformed('with a number beyond 2^53');
  }

  take(length: number): Buffer {
    if (length > this.#bytes.length - this.at) throw malformed('that ends inside a field');
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
}

const isKnown = (version: number): boolean => version === LEAF_VERSION || version === UNTOLD_VERSION;

/** The kind alone of an entry that is known to be a leaf: one that this process, or an earlier one, has written. It begins at `from`. */
export const kindOfEntry = (bytes: Buffer, from = 0): number => {
  const reader = new LeafReader(bytes, from);
  if (reader.varint() !== tag(1, VARINT) || !isKnown(reader.varint()) || reader.varint() !== tag(2, VARINT))
    throw malformed('that does not begin with its version and kind');
  return reader.varint();
};

/** Likewise whose it is, and which one. */
export const tellerOfEntry = (entry: Buffer): Pick<Leaf, 'emitter' | 'sequence'> => {
  const reader = new LeafReader(entry);
  let field = reader.varint();
  for (; field === tag(1, VARINT) || field === tag(2, VARINT) || field === tag(3, FIXED64); field = reader.varint())
    if (field === tag(3, FIXED64)) reader.take(8);
    else reader.varint();
  if (field !== tag(4, BYTES)) throw malformed('without an emitter');
  const emitter = reader.take(reader.varint()).toString('hex');
  if (reader.varint() !== tag(5, VARINT)) throw malformed('without a sequence');
  return { emitter, sequence: reader.varint() };
};

/** Strict: what it takes, `encodeLeaf` gives again. Throws a `LogError` (`malformed`). */
export const decodeLeaf = (bytes: Buffer): Leaf => {
  const reader = new LeafReader(bytes);
  const leaf = {
    ...{ version: 0, kind: 0, timeUnixNanos: 0n, emitter: '', sequence: 0 },
    ...{ session: '', position: 0, previous: 0, target: '', own: false },
  };
  let commitment = Buffer.alloc(0);
  while (!reader.done) {
    const field = reader.varint();
    if (field === tag(1, VARINT)) leaf.version = reader.varint();
    else if (field === tag(2, VARINT)) leaf.kind = reader.varint();
    else if (field === tag(3, FIXED64)) leaf.timeUnixNanos = reader.take(8).readBigUInt64LE(0);
    else if (field === tag(4, BYTES)) leaf.emitter = reader.take(reader.varint()).toString('hex');
    else if (field === tag(5, VARINT)) leaf.sequence = reader.varint();
    else if (field === tag(6, BYTES)) leaf.session = reader.take(reader.varint()).toString('utf8');
    else if (field === tag(7, VARINT)) leaf.position = reader.varint();
    else if (field === tag(8, VARINT)) leaf.previous = reader.varint();
    else if (field === tag(9, BYTES)) leaf.target = reader.take(reader.varint()).toString('utf8');
    else if (field === tag(OWN, VARINT)) leaf.own = reader.varint() === 1;
    else if (field === tag(10, BYTES)) commitment = Buffer.from(reader.take(reader.varint()));
    else throw malformed(`with a field that this version does not know: ${field}`);
  }
  const { version } = leaf;
  if (!isKnown(version)) throw malformed(`of version ${version}; this one reads ${UNTOLD_VERSION} and ${LEAF_VERSION}`);
  if (leaf.own && version === UNTOLD_VERSION) throw malformed('of a version that does not say who told its event, and says so');
  if (leaf.emitter.length !== 2 * EMITTER_BYTES || commitment.length !== COMMITMENT_BYTES)
    throw malformed('without an emitter or a commitment');
  if (leaf.session.length > MAX_SESSION_LENGTH || leaf.target.length > MAX_TARGET_LENGTH) throw malformed('with a name that is too long');
  if (leaf.position > 0 !== (leaf.session !== '') || (leaf.position <= 1 && leaf.previous !== 0))
    throw malformed('whose place in its session makes no sense');
  const read = { ...leaf, commitment };
  const length = writeLeaf(read, read.position, read.previous, commitment.toString('latin1'), version);
  if (length !== bytes.length || scratch.compare(bytes, 0, length, 0, length) !== 0) throw malformed('that is not written as it should be');
  return read;
};
