/**
 * An append-only record in segment files. An append resolves when its record is on the disk; everything appended while one write is under way goes into
 * the next (group commit). What a failure means is decided here, once: after a full disk the journal goes back to the last durable byte and tries
 * again by itself; after any other failed write nothing more is accepted, because what the disk holds is not known until recovery has read it.
 *
 * See docs/design/tap.md for the format and the failure table.
 */
import { join } from 'node:path';
import { isFull, JournalError } from './error.ts';
import { type File, type FileSystem, nodeFileSystem } from './file_system.ts';
import {
  encodeHeader,
  FRAME_BYTES,
  HEADER_BYTES,
  MAX_BATCH_FRAMES,
  openFrame,
  SNAPSHOT,
  sealFrames,
  type WritePayload,
  writeFrame,
} from './frame.ts';
import { createSegment, FILLED_NAME, PROBE_NAME, type Replay, recover, SNAPSHOT_NAME } from './recovery.ts';
import { type Extent, mark, newSegment, recordsOf, type Segment, segmentPath } from './segment.ts';

/** The end of each write, for one who vouches for what it holds. The calls come in the order of the writes. */
export interface Seal {
  /**
   * The record that goes behind all that was staged since the last one, into the same write. `batch` is that write so far: the records stand where `stageIn` let them be
   * written, and may still be changed.
   */
  record(batch: Buffer): Uint8Array;
  /** The write that the oldest such record belongs to is durable; nobody has been told yet. */
  durable(): void;
  /** Nothing counts that is not durable yet: their indices are given again. */
  lost(): void;
}

export interface JournalOptions {
  /** A new segment is begun when one has reached this many bytes. Default 64 MiB. */
  readonly segmentBytes?: number;
  /**
   * The next segment is filled with zeros so far before it is needed, where writes are small: a write that changes neither the length of a file nor where it lies is durable
   * sooner. Default 0: none is. A journal with such segments cannot be compacted.
   */
  readonly filledBytes?: number;
  /** Default 1 MiB. */
  readonly maxRecordBytes?: number;
  /** Bytes that may wait for the disk before appends are refused with `backlog`. Default 64 MiB. */
  readonly maxPendingBytes?: number;
  /** A batch that has come to so many bytes takes no more, and the next one gathers. More while it is the disk that everything waits for. Default 16 KiB. */
  readonly batchBytes?: number;
  /** How long after the disk was full the journal tries again, in milliseconds; doubled up to 16 times that. Default 500. */
  readonly retryMs?: number;
  readonly files?: FileSystem;
  /** Sees every record while it is recovered, in order: one reading of the files serves both. */
  readonly replay?: Replay;
  /** Called once the directory is this journal's alone, before it is read. */
  readonly prepare?: () => Promise<void>;
  /** A sealed journal cannot be compacted. */
  readonly seal?: Seal;
  /** Its front may have been released: the oldest segment begins wherever it begins. Default: a missing one is damage. */
  readonly released?: boolean;
}

export type Health = { readonly ok: true } | { readonly ok: false; readonly code: 'full' | 'failed' | 'closed'; readonly reason: string };

export interface JournalRecord {
  readonly index: number;
  readonly bytes: Buffer;
}

export interface Journal {
  /** Resolves to the record's index when it is durable; rejects with a `JournalError`. */
  append(record: Uint8Array): Promise<number>;
  /** Copies the record into the next write and returns its index. Throws a `JournalError` when the journal does not accept it. */
  stage(record: Uint8Array): number;
  /**
   * As `stage`, without a copy: `write` puts the record, of at most `most` bytes, into the batch from an offset on, and returns the offset behind it. It is called once, before
   * this returns, or not at all, and must not throw.
   */
  stageIn(most: number, write: WritePayload): number;
  /** Resolves when all that was staged so far is durable: the same promise for all of one write. Rejects as `append` does. */
  settled(): Promise<void>;
  /** The durable records from index `from` on: at least those that are durable at this call. Rejects with `corrupt` when one is damaged. */
  read(from?: number): AsyncGenerator<JournalRecord, void>;
  /** Where the durable records stand, from index `from` on or some before it: for one who reads them in another thread. They stay there until they are released. */
  extents(from: number): Extent[];
  /**
   * Replaces all that was appended before this call by `records`, atomically. They take the last indices before the next append's, so there are at most
   * as many as were ever appended. When it rejects with `full`, the journal goes on with what it had.
   */
  compact(records: readonly Uint8Array[]): Promise<void>;
  /** Begins a new segment behind all that was appended before this call, so that the old one can be released; not when there is nothing in it. Rejects as `append` does. */
  rotate(): Promise<void>;
  /** Lets whole segments go that hold durable records below `index` only; never the last one. Of a journal that is opened with `released`. */
  release(index: number): Promise<void>;
  readonly health: Health;
  /** The index that the next record gets. */
  readonly next: number;
  /** The oldest record's index. */
  readonly first: number;
  /** Bytes of an unfinished write that recovery cut off. */
  readonly tornBytes: number;
  readonly totals: { records: number; bytes: number; writes: number };
  /** Waits for what is staged, then lets the directory go. */
  close(): Promise<void>;
}

class Settlement {
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (error: JournalError) => void;

  constructor() {
    this.promise = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever staged may not be listening (yet); a failure also shows in `health`.
    this.promise.catch(() => {});
  }
}

interface Batch {
  readonly kind: 'batch';
  readonly settlement: Settlement;
  readonly first: number;
  frames: number;
  buffer: Buffer;
  length: number;
  sealed: boolean;
}

interface Compaction {
  readonly kind: 'compaction';
  readonly settlement: Settlement;
  readonly records: readonly Uint8Array[];
  /** The index of the first record behind the snapshot. */
  readonly next: number;
}

/** A new segment begins, whatever the old one has. */
interface Rotation {
  readonly kind: 'rotation';
  readonly settlement: Settlement;
}

type Work = Batch | Compaction | Rotation;

type Settings = Required<Omit<JournalOptions, 'files' | 'replay' | 'prepare' | 'seal' | 'released'>>;

const BUFFER_BYTES = 1 << 18;
const KEPT_BUFFER_BYTES = 1 << 22;
const PROBE_BYTES = 1 << 18;
const ZEROS = Buffer.alloc(1 << 18);
/** A part of a filled segment: when so much of one is used, the next one is begun. What is hardly written to does not get one. */
const USED = 1 / 4;
/** Where writes are larger on average it is not the disk that is waited for. */
const SMALL_WRITE_BYTES = 1 << 13;
/** So many times as much must be left on the device: what is filled must not take the last room of a write. */
const ROOM = 16;
/** After the next segment could not be filled. Milliseconds. */
const FILL_AGAIN_MS = 30_000;
/** One part is written while those of the one before are answered, and the next one gathers. */
const CROWD_PARTS = 4;
const SETTLED = Promise.resolve();

/** How long this thread has waited for something to happen, since it began. Milliseconds. */
const idleMs = (): number => performance.eventLoopUtilization().idle;

const copyOf =
  (record: Uint8Array): WritePayload =>
  (into, at) => {
    into.set(record, at);
    return at + record.length;
  };

class FileJournal implements Journal {
  readonly tornBytes: number;
  readonly totals = { records: 0, bytes: 0, writes: 0 };
  readonly #files: FileSystem;
  readonly #directory: string;
  readonly #options: Settings;
  readonly #seal: Seal | undefined;
  readonly #unlock: () => void;
  readonly #segments: Segment[];
  #file: File;
  /** Up to where the last segment's file was filled beforehand; 0: it was not. */
  #filledTo = 0;
  /** The file of the next segment, filled. */
  #filled: File | undefined;
  #filling: Promise<void> | undefined;
  #fillAgainAt = 0;
  /** Of the last few dozen writes. */
  #meanWriteBytes = 0;
  /** The index behind the last durable record, and the one that the next record gets. */
  #durable: number;
  #next: number;
  /** Work in the order of its indices; the last may be a batch that still gathers. */
  #queue: Work[] = [];
  #current: Work | undefined;
  #pendingBytes = 0;
  /** How large a batch becomes at present. */
  #batchBytes: number;
  #scheduled = false;
  #spare: Buffer[] = [];
  #health: Health = { ok: true };
  #retry: NodeJS.Timeout | undefined;
  #healing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  constructor(
    files: FileSystem,
    directory: string,
    options: Settings,
    seal: Seal | undefined,
    unlock: () => void,
    recovered: { segments: Segment[]; file: File; tornBytes: number },
  ) {
    this.#files = files;
    this.#directory = directory;
    this.#options = options;
    this.#batchBytes = options.batchBytes;
    this.#seal = seal;
    this.#unlock = unlock;
    this.#segments = recovered.segments;
    this.#file = recovered.file;
    this.tornBytes = recovered.tornBytes;
    this.#durable = this.#next = this.#segment.next;
  }

  get health(): Health {
    return this.#health;
  }

  get next(): number {
    return this.#next;
  }

  get first(): number {
    return (this.#segments[0] as Segment).first;
  }

  get #segment(): Segment {
    return this.#segments.at(-1) as Segment;
  }

  append(record: Uint8Array): Promise<number> {
    try {
      const index = this.stage(record);
      return this.settled().then(() => index);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  stage(record: Uint8Array): number {
    return this.stageIn(record.length, copyOf(record));
  }

  stageIn(most: number, write: WritePayload): number {
    this.#accept();
    if (most > this.#options.maxRecordBytes)
      throw new JournalError('too_large', `a record of ${most} bytes; the journal takes ${this.#options.maxRecordBytes}`);
    if (this.#pendingBytes + FRAME_BYTES + most > this.#options.maxPendingBytes)
      throw new JournalError('backlog', `${this.#pendingBytes} bytes wait for the disk at ${this.#directory}`);

    const index = this.#add(this.#gathering(), most, write);
    this.#schedule();
    return index;
  }

  settled(): Promise<void> {
    const last = this.#queue.at(-1);
    const batch = last === undefined || last.kind === 'batch' ? last : this.#queue.findLast(({ kind }) => kind === 'batch');
    return (batch ?? this.#current)?.settlement.promise ?? SETTLED;
  }

  compact(records: readonly Uint8Array[]): Promise<void> {
    try {
      this.#accept();
      if (this.#seal !== undefined || this.#options.filledBytes > 0)
        throw new JournalError('failed', 'a journal that is sealed, or filled beforehand, cannot be compacted');
      const tooLarge = records.find((record) => record.length > this.#options.maxRecordBytes);
      if (tooLarge)
        throw new JournalError('too_large', `a record of ${tooLarge.length} bytes; the journal takes ${this.#options.maxRecordBytes}`);
      if (records.length > this.#next)
        throw new JournalError('too_large', `a snapshot of ${records.length} records of ${this.#next} ever appended`);
    } catch (error) {
      return Promise.reject(error);
    }
    const compaction: Compaction = { kind: 'compaction', settlement: new Settlement(), records, next: this.#next };
    this.#queue.push(compaction);
    this.#schedule();
    return compaction.settlement.promise;
  }

  rotate(): Promise<void> {
    try {
      this.#accept();
    } catch (error) {
      return Promise.reject(error);
    }
    // What comes goes into another batch, and this one's seal must not vouch for it.
    const last = this.#queue.at(-1);
    if (last?.kind === 'batch') this.#close(last);
    const rotation: Rotation = { kind: 'rotation', settlement: new Settlement() };
    this.#queue.push(rotation);
    this.#schedule();
    return rotation.settlement.promise;
  }

  async *read(from = 0): AsyncGenerator<JournalRecord, void> {
    for (const extent of this.extents(from))
      for await (const records of recordsOf(this.#files, extent))
        for (const { index, payload } of records) if (index >= from) yield { index, bytes: payload };
  }

  extents(from: number): Extent[] {
    const { maxRecordBytes } = this.#options;
    return this.#segments
      .filter(({ next }) => next > from)
      .map(({ path, salt, first, bytes, marks }) => {
        const { index, at } = marks.findLast((mark) => mark.index <= from) ?? { index: first, at: HEADER_BYTES };
        return { path, salt, index, at, end: bytes, maxRecordBytes };
      });
  }

  async release(index: number): Promise<void> {
    const removed = this.#segments.filter(({ next }, i) => next <= index && i < this.#segments.length - 1);
    try {
      // The oldest first, so that a crash leaves no gap.
      for (const { path } of removed) {
        await this.#files.remove(path);
        this.#segments.shift();
      }
      if (removed.length > 0) await this.#files.syncDirectory(this.#directory);
    } catch (error) {
      throw new JournalError('failed', `${this.#directory}: releasing records: ${(error as Error).message}`, error);
    }
  }

  async close(): Promise<void> {
    if (!this.#health.ok && this.#health.code === 'closed') return;
    if (this.#current !== undefined || this.#queue.length > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    const full = !this.#health.ok && this.#health.code === 'full';
    this.#health = { ok: false, code: 'closed', reason: 'the journal is closed' };
    clearTimeout(this.#retry);
    await this.#healing;
    await this.#dropFilled();
    // Best effort: recovery would cut the rest of a failed write off as well.
    if (full) await this.#file.truncate(this.#segment.bytes).catch(() => {});
    await this.#file.close().catch(() => {});
    this.#unlock();
  }

  /** Throws unless records are accepted. */
  #accept(): void {
    if (!this.#health.ok) throw new JournalError(this.#health.code, this.#health.reason);
  }

  /** The batch that the next record goes into. */
  #gathering(): Batch {
    const last = this.#queue.at(-1);
    if (last?.kind === 'batch') {
      // The last frame of a batch is its seal's.
      if (last.length < this.#mostBytes && last.frames < MAX_BATCH_FRAMES) return last;
      this.#close(last);
      // An idle disk does not wait for the end of the turn.
      if (this.#queue.length === 1) this.#commit();
    }
    const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
    const batch: Batch = { kind: 'batch', settlement: new Settlement(), first: this.#next, frames: 0, buffer, length: 0, sealed: false };
    this.#queue.push(batch);
    return batch;
  }

  /** What a write costs is the same for each, whatever is in it: a large crowd goes in a few parts, not in many. */
  get #mostBytes(): number {
    return Math.max(this.#batchBytes, Math.min(this.#pendingBytes / CROWD_PARTS, KEPT_BUFFER_BYTES));
  }

  /** Nothing more goes into this batch. */
  #close(batch: Batch): void {
    if (batch.sealed) return;
    batch.sealed = true;
    if (this.#seal !== undefined) {
      const record = this.#seal.record(batch.buffer.subarray(0, batch.length));
      this.#add(batch, record.length, copyOf(record));
    }
    sealFrames(batch.buffer, 0, batch.length, this.#segment.salt);
  }

  #add(batch: Batch, most: number, write: WritePayload): number {
    if (batch.length + FRAME_BYTES + most > batch.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * batch.buffer.length, batch.length + FRAME_BYTES + most));
      batch.buffer.copy(larger, 0, 0, batch.length);
      batch.buffer = larger;
    }
    const index = this.#next;
    const end = openFrame(batch.buffer, batch.length, index, batch.frames, write);
    this.#pendingBytes += end - batch.length;
    batch.length = end;
    batch.frames += 1;
    this.#next += 1;
    return index;
  }

  /** Begins the next write once this turn of the event loop has staged all it has. */
  #schedule(): void {
    if (this.#scheduled || this.#current !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#commit();
    });
  }

  #commit(): void {
    if (this.#current !== undefined) return;
    this.#current = this.#queue.shift();
    if (this.#current === undefined) {
      this.#idle?.();
      return;
    }
    const current = this.#current;
    if (current.kind === 'batch') this.#close(current);
    const [began, idle] = [performance.now(), idleMs()];
    this.#work(current).then(
      () => {
        this.#current = undefined;
        this.#adapt((idleMs() - idle) / (performance.now() - began));
        if (current.kind === 'batch') this.#seal?.durable();
        current.settlement.resolve();
        this.#commit();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /**
   * Whether a batch should be large is for the disk to say, and how long a write took does not tell: the thread may not have had the time to notice. So: where this thread was
   * idle for most of a write, and more waits behind it, fewer and larger writes take what waits sooner; where it was busy, small ones cost nothing, and everybody waits less.
   */
  #adapt(idle: number): void {
    const held = idle > 0.5 && this.#queue.length > 0;
    this.#batchBytes = held ? Math.min(2 * this.#batchBytes, KEPT_BUFFER_BYTES) : Math.max(this.#batchBytes / 2, this.#options.batchBytes);
  }

  #work(work: Work): Promise<void> {
    if (work.kind === 'batch') return this.#write(work);
    if (work.kind === 'compaction') return this.#snapshot(work);
    return this.#segment.bytes > HEADER_BYTES ? this.#roll() : SETTLED;
  }

  async #write(batch: Batch): Promise<void> {
    if (this.#isToRoll(batch.length)) await this.#roll();
    const segment = this.#segment;
    await this.#file.writeDurably(batch.buffer.subarray(0, batch.length), segment.bytes);
    mark(segment, batch.first, segment.bytes);
    segment.bytes += batch.length;
    segment.next = this.#durable = batch.first + batch.frames;
    this.#pendingBytes -= batch.length;
    this.totals.records += batch.frames;
    this.totals.bytes += batch.length;
    this.totals.writes += 1;
    if (batch.buffer.length <= KEPT_BUFFER_BYTES && this.#spare.length < 2) this.#spare.push(batch.buffer);
    this.#meanWriteBytes += (batch.length - this.#meanWriteBytes) / 32;
    if (this.#needsFilled()) this.#filling = this.#fillNext();
  }

  /** Behind what was filled the next filled segment goes on, or, while there is none, the same one. */
  #isToRoll(length: number): boolean {
    const { bytes } = this.#segment;
    const end = bytes + length;
    return bytes > HEADER_BYTES && (end > this.#options.segmentBytes || (this.#filled !== undefined && end > this.#filledTo));
  }

  #needsFilled(): boolean {
    const { filledBytes } = this.#options;
    return (
      this.#segment.bytes >= USED * filledBytes &&
      filledBytes > 0 &&
      this.#meanWriteBytes < SMALL_WRITE_BYTES &&
      this.#filled === undefined &&
      this.#filling === undefined &&
      performance.now() >= this.#fillAgainAt
    );
  }

  /** Beside the writes, and nothing to them when it fails. */
  async #fillNext(): Promise<void> {
    const { filledBytes } = this.#options;
    const path = join(this.#directory, FILLED_NAME);
    let file: File | undefined;
    try {
      if ((await this.#files.room(this.#directory)) < ROOM * filledBytes)
        throw new JournalError('full', 'too little room to fill a segment');
      file = await this.#createAnew(path);
      for (let at = 0; at < filledBytes && this.#health.ok; at += ZEROS.length)
        await file.writeDurably(ZEROS.subarray(0, Math.min(ZEROS.length, filledBytes - at)), at);
      this.#filled = file;
    } catch {
      this.#fillAgainAt = performance.now() + FILL_AGAIN_MS;
      await file?.close().catch(() => {});
      await this.#files.remove(path).catch(() => {});
    }
    this.#filling = undefined;
  }

  /** Gives back what is filled for later. What cannot be removed now, recovery removes. */
  async #dropFilled(): Promise<void> {
    await this.#filling;
    await this.#filled?.close().catch(() => {});
    this.#filled = undefined;
    await this.#files.remove(join(this.#directory, FILLED_NAME)).catch(() => {});
  }

  /** Begins a new segment. When the disk is full, the old one stays the last. */
  async #roll(): Promise<void> {
    const { next, salt, bytes } = this.#segment;
    try {
      // Behind the records of any segment but the last one nothing may stand.
      if (this.#filledTo > bytes) await this.#file.truncate(bytes);
      this.#filledTo = 0;
      const filled = this.#filled;
      this.#filled = undefined;
      const header = { first: next, salt, flags: 0, settled: 0 };
      const { segment, file } = await createSegment(this.#files, this.#directory, header, filled);
      await this.#file.close();
      this.#segments.push(segment);
      this.#file = file;
      if (filled !== undefined) this.#filledTo = this.#options.filledBytes;
    } catch (error) {
      const path = segmentPath(this.#directory, next);
      // A segment of whose name nothing is known durably would be one too many beside what is appended to the old one.
      if (isFull(error) && (await this.#files.list(this.#directory)).some((name) => path.endsWith(name))) {
        await this.#files.remove(path);
        await this.#files.syncDirectory(this.#directory);
      }
      throw error;
    }
  }

  /** Writes a snapshot beside the segments, gives it its name, and lets the segments that it supersedes go. */
  async #snapshot({ records, next, settlement }: Compaction): Promise<void> {
    const unfinished = join(this.#directory, SNAPSHOT_NAME);
    const path = segmentPath(this.#directory, next);
    const header = { first: next - records.length, salt: this.#segment.salt, flags: SNAPSHOT, settled: records.length };
    const segment = newSegment(path, header);
    let file: File | undefined;
    try {
      file = await this.#createAnew(unfinished);
      await this.#fill(file, segment, records);
    } catch (error) {
      // Nothing has changed but a file that does not count.
      await file?.close().catch(() => {});
      await this.#files.remove(unfinished).catch(() => {});
      settlement.reject(
        new JournalError(isFull(error) ? 'full' : 'failed', `no snapshot of ${this.#directory}: ${(error as Error).message}`, error),
      );
      return;
    }
    // From here on a failure leaves two journals, of which recovery takes the one whose name reached the disk: it ends this one.
    try {
      await this.#files.rename(unfinished, path);
      await this.#files.syncDirectory(this.#directory);
    } catch (error) {
      await file.close().catch(() => {});
      throw new JournalError(
        'failed',
        `the snapshot of ${this.#directory} may or may not have taken its place: ${(error as Error).message}`,
        error,
      );
    }
    const superseded = this.#segments.splice(0, this.#segments.length, segment);
    await this.#file.close().catch(() => {});
    this.#file = file;
    // What is not removed now, recovery removes.
    for (const old of superseded) if (old.path !== path) await this.#files.remove(old.path).catch(() => {});
  }

  /** Creates a file that only ever counts once it is finished; one that an earlier failure left there goes. */
  async #createAnew(path: string): Promise<File> {
    await this.#files.remove(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    return this.#files.open(path, 'create');
  }

  async #fill(file: File, segment: Segment, records: readonly Uint8Array[]): Promise<void> {
    const chunk = Buffer.allocUnsafe(Math.max(1 << 20, FRAME_BYTES + this.#options.maxRecordBytes));
    let length = encodeHeader(segment).copy(chunk);
    let position = 0;
    for (const [batch, record] of records.entries()) {
      if (length + FRAME_BYTES + record.length > chunk.length) {
        await file.writeDurably(chunk.subarray(0, length), position);
        position += length;
        length = 0;
      }
      mark(segment, segment.next, position + length);
      length = writeFrame(chunk, length, segment.salt, segment.next, batch % MAX_BATCH_FRAMES, record);
      segment.next += 1;
    }
    await file.writeDurably(chunk.subarray(0, length), position);
    segment.bytes = position + length;
  }

  /** Tells everybody who waits, forgets what they staged, and stops accepting. */
  #fail(cause: unknown): void {
    const full = isFull(cause);
    const reason = `${this.#directory}: ${full ? 'the disk is full' : 'writing failed, and what the disk holds is not known until the journal is opened again'}: ${(cause as Error).message}`;
    this.#health = { ok: false, code: full ? 'full' : 'failed', reason };
    const error = new JournalError(full ? 'full' : 'failed', reason, cause);
    const waiting = [...(this.#current ? [this.#current] : []), ...this.#queue];
    this.#current = undefined;
    this.#queue = [];
    this.#pendingBytes = 0;
    this.#next = this.#durable;
    if (full) this.#retryAfter(this.#options.retryMs);
    this.#seal?.lost();
    for (const { settlement } of waiting) settlement.reject(error);
    this.#idle?.();
  }

  #retryAfter(ms: number): void {
    this.#retry = setTimeout(() => {
      this.#healing = this.#heal(ms);
    }, ms);
    this.#retry.unref();
  }

  /** Back to the last durable byte; healthy again when there is room for a write of some size. */
  async #heal(waited: number): Promise<void> {
    const probe = join(this.#directory, PROBE_NAME);
    try {
      await this.#dropFilled();
      await this.#file.truncate(this.#segment.bytes);
      this.#filledTo = 0;
      const file = await this.#createAnew(probe);
      try {
        await file.writeDurably(Buffer.alloc(PROBE_BYTES), 0);
      } finally {
        await file.close();
        await this.#files.remove(probe);
      }
      if (!this.#health.ok && this.#health.code === 'full') this.#health = { ok: true };
    } catch (error) {
      if (this.#health.ok || this.#health.code !== 'full') return;
      if (isFull(error)) this.#retryAfter(Math.min(2 * waited, 16 * this.#options.retryMs));
      else this.#health = { ok: false, code: 'failed', reason: `${this.#directory}: after the disk was full: ${(error as Error).message}` };
    }
  }
}

/**
 * Opens the journal in `directory`, creating it when it is not there, and recovers what a crash left.
 * Rejects with a `JournalError`: `locked`, `corrupt`, `full`, or `failed` for any other error of the file system.
 */
export const openJournal = async (directory: string, options: JournalOptions = {}): Promise<Journal> => {
  const files = options.files ?? nodeFileSystem;
  const { segmentBytes = 64 << 20, maxRecordBytes = 1 << 20, maxPendingBytes = 64 << 20, batchBytes = 1 << 14, retryMs = 500 } = options;
  const filledBytes = Math.min(options.filledBytes ?? 0, segmentBytes);
  const { prepare, seal, released = false, replay = () => {} } = options;
  let unlock: (() => void) | undefined;
  try {
    await files.makeDirectory(directory);
    unlock = await files.lock(directory);
    if (unlock === undefined) throw new JournalError('locked', `${directory} is in use by another process`);
    await prepare?.();
    const recovered = await recover(files, directory, { maxRecordBytes, released }, replay);
    return new FileJournal(
      files,
      directory,
      { segmentBytes, filledBytes, maxRecordBytes, maxPendingBytes, batchBytes, retryMs },
      seal,
      unlock,
      recovered,
    );
  } catch (error) {
    unlock?.();
    // What `prepare` and `replay` throw is theirs.
    if (!/^E[A-Z0-9]+$/.test((error as NodeJS.ErrnoException).code ?? '')) throw error;
    throw new JournalError(isFull(error) ? 'full' : 'failed', `${directory}: ${(error as Error).message}`, error);
  }
};
