/**
 * What a directory holds after whatever happened to it.
 *
 * Every record that was acknowledged is there, or opening fails and says where the damage is. The only thing that is ever removed is the torn end of
 * the last write, which nobody was told had succeeded.
 */
import { randomInt } from 'node:crypto';
import { basename, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { JournalError } from './error.ts';
import type { File, FileSystem } from './file_system.ts';
import { decodeHeader, encodeHeader, FRAME_BYTES, HEADER_BYTES, type Header, SNAPSHOT } from './frame.ts';
import { framesOf, holdsLaterWrite, isSegmentName, mark, newSegment, readFully, type Segment, segmentPath } from './segment.ts';

/** One is followed by the next long before, and this much can be read at once. */
const MAX_SEGMENT_BYTES = 2 ** 31 - 1;

/** Called for each record in order, while it is checked. `record` is a view that stays valid. */
export type Replay = (index: number, record: Buffer) => void;

export interface Recovered {
  readonly segments: Segment[];
  /** The last segment, open for writing. */
  readonly file: File;
  /** Bytes of an unfinished write that were cut off. */
  readonly tornBytes: number;
}

export const SNAPSHOT_NAME = 'snapshot.unfinished';
export const PROBE_NAME = 'probe';
/** A segment that is being filled with zeros, or is filled, and has nothing in it yet. */
export const FILLED_NAME = 'filled.unfinished';

const damaged = (path: string, at: number, what: string): JournalError =>
  new JournalError('corrupt', `${path}: damaged at byte ${at}: ${what}; restore the file from a copy, nothing was changed`);

const readHeader = async (files: FileSystem, path: string): Promise<{ header: Header | undefined; size: number }> => {
  const file = await files.open(path, 'read');
  try {
    const bytes = Buffer.alloc(HEADER_BYTES);
    const count = await readFully(file, bytes, 0);
    return { header: count < HEADER_BYTES ? undefined : decodeHeader(bytes), size: await file.size() };
  } finally {
    await file.close();
  }
};

/** A salt with which zeros are no frame: of one in 2^32 they would be an empty record. */
const newSalt = (): number => {
  const zeros = Buffer.alloc(FRAME_BYTES - 4);
  for (;;) {
    const salt = randomInt(2 ** 32);
    if (crc32(zeros, salt) !== 0) return salt;
  }
};

/** Begins a segment, in the file named `FILLED_NAME` when it is given. */
export const createSegment = async (
  files: FileSystem,
  directory: string,
  header: Header,
  filled?: File,
): Promise<{ segment: Segment; file: File }> => {
  const path = segmentPath(directory, header.first);
  const file = filled ?? (await files.open(path, 'create'));
  try {
    await file.writeDurably(encodeHeader(header), 0);
    // Under its name it never was without a header.
    if (filled !== undefined) await files.rename(join(directory, FILLED_NAME), path);
    await files.syncDirectory(directory);
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
  return { segment: newSegment(path, header), file };
};

/** The segments that count, in order: those from the last snapshot on. What a crash left unfinished is removed. */
const survivingSegments = async (files: FileSystem, directory: string): Promise<{ segment: Segment; size: number }[]> => {
  const names = (await files.list(directory)).sort();
  for (const leftover of [SNAPSHOT_NAME, PROBE_NAME, FILLED_NAME])
    if (names.includes(leftover)) await files.remove(join(directory, leftover));

  const found: { segment: Segment; size: number }[] = [];
  const paths = names.filter(isSegmentName).map((name) => join(directory, name));
  for (const path of paths) {
    const { header, size } = await readHeader(files, path);
    if (size > MAX_SEGMENT_BYTES) throw damaged(path, 0, `it has ${size} bytes, more than any segment`);
    if (header !== undefined) found.push({ segment: newSegment(path, header), size });
    else if (path === paths.at(-1) && size <= HEADER_BYTES) await files.remove(path);
    else throw damaged(path, 0, 'not a segment of a journal of this version');
  }

  const snapshot = found.findLastIndex(({ segment }) => (segment.flags & SNAPSHOT) !== 0);
  // The snapshot's name must be durable before what it stands for goes away.
  await files.syncDirectory(directory);
  for (const { segment } of found.splice(0, Math.max(snapshot, 0))) await files.remove(segment.path);
  return found;
};

/** Checks one segment from its header to its end. Returns where its intact frames end and where the last write among them begins. */
const check = async (
  files: FileSystem,
  segment: Segment,
  size: number,
  maxRecordBytes: number,
  replay: Replay,
): Promise<{ end: number; lastWrite: number }> => {
  const file = await files.open(segment.path, 'read');
  try {
    let lastWrite = HEADER_BYTES;
    const frames = framesOf(file, segment, HEADER_BYTES, segment.first, size, maxRecordBytes);
    for (;;) {
      const { done, value } = await frames.next();
      if (done) {
        segment.bytes = value;
        return { end: value, lastWrite };
      }
      for (const { index, batch, at, payload } of value) {
        if (batch === 0) lastWrite = at;
        mark(segment, index, at);
        replay(index, payload);
        segment.next = index + 1;
      }
    }
  } finally {
    await file.close();
  }
};

const withoutZerosBehind = (bytes: Buffer): Buffer => {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length -= 1;
  return bytes.subarray(0, length);
};

/**
 * Cuts off the last segment what was filled beforehand and not written, and the unfinished write; and makes the write before it durable: it may stand in the page cache of a
 * failed sync only. Returns how many bytes of the unfinished write there were.
 */
const repairTail = async (file: File, segment: Segment, size: number, lastWrite: number): Promise<number> => {
  const { bytes: end, salt, next } = segment;
  let torn = 0;
  if (size > end) {
    const rest = Buffer.alloc(size - end);
    await readFully(file, rest, end);
    const written = withoutZerosBehind(rest);
    torn = written.length;
    if (next < segment.first + segment.settled) throw damaged(segment.path, end, `record ${next} of a snapshot`);
    // What ends with zeros may be a frame with them.
    if (torn > 0 && holdsLaterWrite(rest, salt, next))
      throw damaged(segment.path, end, `record ${next} was acknowledged, and later ones stand behind it`);
    await file.truncate(end);
  } else if (next < segment.first + segment.settled) throw damaged(segment.path, end, `record ${next} of a snapshot is missing`);

  const chunk = Buffer.allocUnsafe(1 << 20);
  for (let at = lastWrite; at < end; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, end - at));
    await readFully(file, part, at);
    await file.writeDurably(part, at);
  }
  return torn;
};

/** Recovers `directory`, which the caller has locked. Rejects with a `JournalError` (`corrupt`) or with an error of the file system. */
export const recover = async (
  files: FileSystem,
  directory: string,
  { maxRecordBytes, released }: { readonly maxRecordBytes: number; readonly released: boolean },
  replay: Replay,
): Promise<Recovered> => {
  const found = await survivingSegments(files, directory);
  if (found.length === 0) {
    const { segment, file } = await createSegment(files, directory, { first: 0, salt: newSalt(), flags: 0, settled: 0 });
    return { segments: [segment], file, tornBytes: 0 };
  }

  const segments = found.map(({ segment }) => segment);
  let next = segments[0] && (released || segments[0].flags & SNAPSHOT) ? segments[0].first : 0;
  let lastWrite = HEADER_BYTES;
  for (const { segment, size } of found) {
    if (segment.first !== next)
      throw damaged(segment.path, 0, `begins with record ${segment.first}, and records from ${next} on are missing`);
    const checked = await check(files, segment, size, maxRecordBytes, replay);
    if (segment !== segments.at(-1) && checked.end < size)
      throw damaged(segment.path, checked.end, `record ${segment.next} in ${basename(segment.path)}`);
    ({ next } = segment);
    ({ lastWrite } = checked);
  }

  const last = found.at(-1) as { segment: Segment; size: number };
  const file = await files.open(last.segment.path, 'write');
  try {
    const tornBytes = await repairTail(file, last.segment, last.size, lastWrite);
    return { segments, file, tornBytes };
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
};
