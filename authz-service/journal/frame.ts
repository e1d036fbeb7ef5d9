/**
 * The bytes of a segment: a header, then frames.
 *
 *     header  magic "SLUICEJ1" · first index u64 · salt u32 · flags u32 · settled u32 · crc u32             (32 bytes)
 *     frame   crc u32 · length u32 · index u48 · batch u16 · payload                                        (16 bytes + length)
 *
 * Little-endian. `crc` is CRC-32 of everything after it (of a header: before it), begun with the segment's salt: a random number that no peer knows, so
 * that a record cannot carry bytes that pass for a frame. `batch` is how many frames before this one belong to the same write: what a bad frame means
 * depends on whether a later write, which began only when the earlier one was durable, has left anything behind it.
 */
import { crc32 } from 'node:zlib';

export const HEADER_BYTES = 32;
export const FRAME_BYTES = 16;
export const MAX_BATCH_FRAMES = 0xffff;
/** This segment begins with a snapshot: it supersedes every segment before it. */
export const SNAPSHOT = 1;

const MAGIC = Buffer.from('SLUICEJ1', 'latin1');

export interface Header {
  readonly first: number;
  readonly salt: number;
  readonly flags: number;
  /** How many frames the segment was born with: durable before it had its name, so never a torn tail. */
  readonly settled: number;
}

export const encodeHeader = ({ first, salt, flags, settled }: Header): Buffer => {
  const bytes = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUIntLE(first, 8, 6);
  bytes.writeUInt32LE(salt, 16);
  bytes.writeUInt32LE(flags, 20);
  bytes.writeUInt32LE(settled, 24);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 28)), 28);
  return bytes;
};

/** The header, or `undefined` when these are not one (of this version). `bytes` holds at least `HEADER_BYTES`. */
export const decodeHeader = (bytes: Buffer): Header | undefined => {
  if (!bytes.subarray(0, 8).equals(MAGIC) || bytes.readUInt32LE(28) !== crc32(bytes.subarray(0, 28))) return undefined;
  return { first: bytes.readUIntLE(8, 6), salt: bytes.readUInt32LE(16), flags: bytes.readUInt32LE(20), settled: bytes.readUInt32LE(24) };
};

/** Writes what stands before a payload of `length` bytes, but for the checksum, which is `sealFrames`' to write once all of it is there. */
const writeHead = (into: Buffer, at: number, index: number, batch: number, length: number): void => {
  into.writeUInt32LE(length, at + 4);
  into.writeUIntLE(index, at + 8, 6);
  into.writeUInt16LE(batch, at + 14);
};

/** Writes a payload at an offset and returns the one behind it. */
export type WritePayload = (into: Buffer, at: number) => number;

/**
 * Lets `write` put a payload behind a frame's head, and completes the head but for its checksum: `sealFrames` writes that. Returns the offset
 * behind the frame.
 */
export const openFrame = (into: Buffer, at: number, index: number, batch: number, write: WritePayload): number => {
  const end = write(into, at + FRAME_BYTES);
  writeHead(into, at, index, batch, end - at - FRAME_BYTES);
  return end;
};

/** Writes the checksums of the frames from `at` to `end`. */
export const sealFrames = (bytes: Buffer, at: number, end: number, salt: number): void => {
  for (let frame = at; frame < end; ) {
    const next = frame + FRAME_BYTES + bytes.readUInt32LE(frame + 4);
    bytes.writeUInt32LE(crc32(bytes.subarray(frame + 4, next), salt), frame);
    frame = next;
  }
};

/** Writes one frame into `into` at `at`; there are `FRAME_BYTES + payload.length` bytes of room. Returns the offset behind it. */
export const writeFrame = (into: Buffer, at: number, salt: number, index: number, batch: number, payload: Uint8Array): number => {
  into.set(payload, at + FRAME_BYTES);
  writeHead(into, at, index, batch, payload.length);
  const end = at + FRAME_BYTES + payload.length;
  sealFrames(into, at, end, salt);
  return end;
};

export interface Frame {
  readonly index: number;
  readonly batch: number;
  readonly payload: Buffer;
}

/** How many bytes the frame at `at` says that it has, header included; `undefined` when its header is not all there. */
export const frameLength = (bytes: Buffer, at: number): number | undefined =>
  at + FRAME_BYTES > bytes.length ? undefined : FRAME_BYTES + bytes.readUInt32LE(at + 4);

/** Of a frame, in `bytes`: its index, how many of its write stand before it, and where its payload begins. */
export const frameIndex = (bytes: Buffer, at: number): number => bytes.readUIntLE(at + 8, 6);
const frameBatch = (bytes: Buffer, at: number): number => bytes.readUInt16LE(at + 14);

/** Whether the frame from `at` to `end` is what was written there. */
export const isIntact = (bytes: Buffer, at: number, end: number, salt: number): boolean =>
  bytes.readUInt32LE(at) === crc32(bytes.subarray(at + 4, end), salt);

/** The frame from `at` to `end`, which is intact: a view into `bytes`. */
export const frameAt = (bytes: Buffer, at: number, end: number): Frame => ({
  index: frameIndex(bytes, at),
  batch: frameBatch(bytes, at),
  payload: bytes.subarray(at + FRAME_BYTES, end),
});

/** The frame at `at`, a view into `bytes`; `undefined` when there is no whole and intact one. */
export const readFrame = (bytes: Buffer, at: number, salt: number): Frame | undefined => {
  const length = frameLength(bytes, at);
  if (length === undefined || at + length > bytes.length) return undefined;
  return isIntact(bytes, at, at + length, salt) ? frameAt(bytes, at, at + length) : undefined;
};
