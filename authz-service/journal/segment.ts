/** One file of a journal: its name, what is known of it, and a reader of its frames that checks every byte. */
import { join } from 'node:path';
import { JournalError } from './error.ts';
import type { File, FileSystem } from './file_system.ts';
import { FRAME_BYTES, type Frame, frameAt, frameIndex, frameLength, HEADER_BYTES, type Header, isIntact, readFrame } from './frame.ts';

export interface Segment extends Header {
  readonly path: string;
  /** The index behind its last durable record. */
  next: number;
  /** Bytes that are durable, the header included. */
  bytes: number;
  /** Where reading may begin: ascending, and at most about `MARK_BYTES` apart. */
  readonly marks: { readonly index: number; readonly at: number }[];
}

export const MARK_BYTES = 1 << 16;
const WINDOW_BYTES = 1 << 20;

/** Names sort as the segments do: by the index that follows what was there before. */
export const segmentPath = (directory: string, index: number): string => join(directory, `${String(index).padStart(16, '0')}.journal`);
export const isSegmentName = (name: string): boolean => /^\d{16}\.journal$/.test(name);

export const newSegment = (path: string, header: Header): Segment => ({
  ...header,
  path,
  next: header.first,
  bytes: HEADER_BYTES,
  marks: [{ index: header.first, at: HEADER_BYTES }],
});

export const mark = (segment: Segment, index: number, at: number): void => {
  if (at - (segment.marks.at(-1)?.at ?? 0) >= MARK_BYTES) segment.marks.push({ index, at });
};

export interface Located extends Frame {
  /** Offset of the frame in its file. */
  readonly at: number;
}

/** Fills `into` from `position`, short only at the end of the file. Returns how many bytes there are. */
export const readFully = async (file: File, into: Uint8Array, position: number): Promise<number> => {
  let count = 0;
  while (count < into.length) {
    const more = await file.read(into.subarray(count), position + count);
    if (more === 0) break;
    count += more;
  }
  return count;
};

/** A part of a file, with intact frames one behind the other and nothing between them. A view stays valid: no window is reused. */
export interface Window {
  readonly bytes: Buffer;
  /** Offset of `bytes` in the file. */
  readonly at: number;
  /** Of each frame, in `bytes`, where it begins; and behind the last one, where that ends. */
  readonly offsets: readonly number[];
}

/**
 * The intact frames from offset `at` (where index `index` is expected) up to offset `end`, a window at a time.
 * Returns the offset of the first byte that does not belong to one: `end` when all is well.
 */
export async function* windowsOf(
  file: File,
  segment: Pick<Segment, 'salt'>,
  at: number,
  index: number,
  end: number,
  maxRecordBytes: number,
): AsyncGenerator<Window, number> {
  let next = index;
  let needed = WINDOW_BYTES;
  while (at < end) {
    const window = Buffer.allocUnsafe(Math.min(needed, end - at));
    if ((await readFully(file, window, at)) < window.length) return at;
    const offsets = [0];
    let offset = 0;
    let intact = true;
    needed = WINDOW_BYTES;
    while (offset < window.length) {
      const length = frameLength(window, offset);
      if (length === undefined || offset + length > window.length) {
        // Not all here: another window begins with it, unless no window could hold it.
        if (at + offset + (length ?? FRAME_BYTES) > end || (length ?? 0) > FRAME_BYTES + maxRecordBytes) intact = false;
        else needed = Math.max(WINDOW_BYTES, length ?? 0);
        break;
      }
      if (frameIndex(window, offset) !== next || !isIntact(window, offset, offset + length, segment.salt)) {
        intact = false;
        break;
      }
      next += 1;
      offset += length;
      offsets.push(offset);
    }
    if (offset > 0) yield { bytes: window, at, offsets };
    at += offset;
    if (!intact) return at;
  }
  return at;
}

const framesIn = ({ bytes, at, offsets }: Window): Located[] =>
  offsets.slice(1).map((end, i) => ({ ...frameAt(bytes, offsets[i] as number, end), at: at + (offsets[i] as number) }));

/** As `windowsOf`, each frame by itself. */
export async function* framesOf(...where: Parameters<typeof windowsOf>): AsyncGenerator<Located[], number> {
  const windows = windowsOf(...where);
  for (let each = await windows.next(); ; each = await windows.next()) {
    if (each.done) return each.value;
    yield framesIn(each.value);
  }
}

/** Where durable records stand in one file. It is plain data: also another thread can read them. */
export interface Extent extends Pick<Segment, 'path' | 'salt'> {
  /** The index of the first record, and the offset of its frame. */
  readonly index: number;
  readonly at: number;
  /** The offset behind the last one. */
  readonly end: number;
  readonly maxRecordBytes: number;
}

/** What stands in an extent, in order. Rejects with a `JournalError`: `corrupt`, or `failed` for any other error of the file system. */
export async function* windowsIn(files: FileSystem, extent: Extent): AsyncGenerator<Window, void> {
  const { path, at, index, end, maxRecordBytes } = extent;
  const file = await files.open(path, 'read').catch((error: Error) => {
    throw new JournalError('failed', `${path}: ${error.message}`, error);
  });
  try {
    const stopped = yield* windowsOf(file, extent, at, index, end, maxRecordBytes);
    if (stopped < end) throw new JournalError('corrupt', `${path}: damaged at byte ${stopped}, since this journal was opened`);
  } finally {
    await file.close();
  }
}

/** As `windowsIn`, some records at a time. */
export async function* recordsOf(files: FileSystem, extent: Extent): AsyncGenerator<Located[], void> {
  for await (const window of windowsIn(files, extent)) yield framesIn(window);
}

/**
 * Whether a write that began after record `index` was durable has left an intact frame in `bytes`. Then a bad frame at `index` is not the torn end
 * of the last write: it was acknowledged, and has been damaged since.
 */
export const holdsLaterWrite = (bytes: Buffer, salt: number, index: number): boolean => {
  for (let at = 1; at + FRAME_BYTES <= bytes.length; at += 1) {
    const found = bytes.readUIntLE(at + 8, 6);
    if (found <= index || found > index + at / FRAME_BYTES + 1) continue;
    if (found - bytes.readUInt16LE(at + 14) > index && readFrame(bytes, at, salt) !== undefined) return true;
  }
  return false;
};
