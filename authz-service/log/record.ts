/**
 * The log's records in its journal. One write holds those of its events, and behind them the checkpoint that covers them:
 *
 *     event        0x01 · index u48 · length of the entry u16 · salt 16 bytes · entry · event        (little-endian)
 *     checkpoint   0x02 · signed note
 */
import { LogError } from './error.ts';
import { SALT_BYTES } from './leaf.ts';

const EVENT = 1;
const CHECKPOINT = 2;
/** What stands before the entry. */
export const HEAD_BYTES = 9 + SALT_BYTES;

export type JournaledRecord =
  | { readonly kind: 'event'; readonly index: number; readonly salt: Buffer; readonly entry: Buffer; readonly event: Buffer }
  | { readonly kind: 'checkpoint'; readonly note: string };

/** Writes what stands before the entry, but for the salt; returns where that goes. */
export const writeEventHead = (into: Buffer, at: number, index: number, entryLength: number): number => {
  into[at] = EVENT;
  into.writeUIntLE(index, at + 1, 6);
  into.writeUInt16LE(entryLength, at + 7);
  return at + 9;
};

let scratch = Buffer.alloc(1 << 12);

/** A view, good until the next one. */
export const encodeEventRecord = (index: number, salt: Uint8Array, entry: Uint8Array, event: Uint8Array): Buffer => {
  const length = HEAD_BYTES + entry.length + event.length;
  if (length > scratch.length) scratch = Buffer.alloc(2 * length);
  scratch.set(salt, writeEventHead(scratch, 0, index, entry.length));
  scratch.set(entry, HEAD_BYTES);
  scratch.set(event, HEAD_BYTES + entry.length);
  return scratch.subarray(0, length);
};

export const encodeCheckpointRecord = (note: string): Buffer => {
  const bytes = Buffer.allocUnsafe(1 + Buffer.byteLength(note));
  bytes[0] = CHECKPOINT;
  bytes.write(note, 1);
  return bytes;
};

/** Where the parts of an event's record stand; the entry begins where the salt ends, and the event ends with the record. */
export interface EventPlaces {
  index: number;
  salt: number;
  entry: number;
  event: number;
}

/** Finds the parts of the record from `from` to `to`, when it is one of an event: `places` tells them then, in `bytes`. Throws a `LogError` (`malformed`). */
export const findEvent = (bytes: Buffer, from: number, to: number, places: EventPlaces): boolean => {
  if (bytes[from] === CHECKPOINT && to > from) return false;
  const entry = from + HEAD_BYTES;
  const event = entry + (entry > to ? 0 : bytes.readUInt16LE(from + 7));
  if (bytes[from] !== EVENT || event > to) throw new LogError('malformed', 'a record of the journal that this version does not know');
  places.index = bytes.readUIntLE(from + 1, 6);
  places.salt = from + 9;
  places.entry = entry;
  places.event = event;
  return true;
};

/** Views into `bytes`. Throws a `LogError` (`malformed`). */
export const decodeRecord = (bytes: Buffer): JournaledRecord => {
  const places = { index: 0, salt: 0, entry: 0, event: 0 };
  if (!findEvent(bytes, 0, bytes.length, places)) return { kind: 'checkpoint', note: bytes.toString('utf8', 1) };
  const { index, salt, entry, event } = places;
  return {
    ...{ kind: 'event', index },
    ...{ salt: bytes.subarray(salt, entry), entry: bytes.subarray(entry, event), event: bytes.subarray(event) },
  };
};
