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

/** Views into `bytes`. Throws a `LogError` (`malformed`). */
export const decodeRecord = (bytes: Buffer): JournaledRecord => {
  if (bytes[0] === CHECKPOINT) return { kind: 'checkpoint', note: bytes.toString('utf8', 1) };
  const at = HEAD_BYTES + (bytes.length < HEAD_BYTES ? 0 : bytes.readUInt16LE(7));
  if (bytes[0] !== EVENT || at > bytes.length) throw new LogError('malformed', 'a record of the journal that this version does not know');
  return {
    kind: 'event',
    index: bytes.readUIntLE(1, 6),
    salt: bytes.subarray(9, HEAD_BYTES),
    entry: bytes.subarray(HEAD_BYTES, at),
    event: bytes.subarray(at),
  };
};
