// Records one body, as it passes, in PayloadChunks. Its room is promised before the body begins, so whatever is within the limit gets into the record;
// nothing of it is dropped, and nothing waits for it.
import { ByteBuffer, utf8 } from '../abi/bytes';
import { Emitter, Gathering } from './emitter';
import { Chunk, ENVELOPE_BYTES, MAX_REASON, writePayloadChunk } from './event';

export const enum Direction {
  UNSPECIFIED,
  REQUEST,
  RESPONSE,
}

/** What passes within a tick is one event, up to so many bytes … */
const GATHERED_BYTES: u32 = 32 << 10;
/** … and of what comes in larger pieces an event takes so much: with all else in it, it has at most 64,512 bytes. */
const MAX_DATA: u32 = 60 << 10;
/** The longest content type and coding that are recorded. */
const MAX_TYPE: u32 = 128;
/** What an event takes beside its data: envelope, session, target, type, coding, reason, lengths. */
const EVENT_BYTES: u32 = ENVELOPE_BYTES + 2 * 128 + 2 * MAX_TYPE + MAX_REASON + 64;

const OVER_LIMIT = utf8('longer than what is recorded of a body'),
  NO_ROOM = utf8('the sink was too far behind');
const NONE = new ArrayBuffer(0);
const chunk = new Chunk();

/** Room to ask of the emitter for a body of which at most `limit` bytes are recorded. */
export function payloadRoom(limit: u32): u32 {
  // Besides full chunks: the last, and one that was cut short by a tick.
  return limit + (limit / GATHERED_BYTES + 3) * EVENT_BYTES;
}

export class Recorder implements Gathering {
  private gathered: ByteBuffer | null = null;
  private offset: u64 = 0;
  private waits: bool = false;
  private room: u32;
  private contentType: ArrayBuffer = NONE;
  private contentEncoding: ArrayBuffer = NONE;
  /** Nothing more is recorded. */
  over: bool = false;

  /** `payloadRoom(limit)` was admitted for it. `command`: 0, or which of the session. */
  constructor(
    private emitter: Emitter,
    private session: ArrayBuffer,
    private target: ArrayBuffer,
    private command: u64,
    private direction: Direction,
    private limit: u32,
  ) {
    this.room = payloadRoom(limit);
  }

  /** Before the first byte. */
  describe(contentType: ArrayBuffer, contentEncoding: ArrayBuffer): void {
    this.contentType = contentType.slice(0, MAX_TYPE);
    this.contentEncoding = contentEncoding.slice(0, MAX_TYPE);
  }

  /** The next bytes of the body; copied. */
  write(ptr: usize, length: u32): void {
    if (this.over || length == 0) return;
    const seen = this.offset + this.pending,
      taken = <u32>min<u64>(length, this.limit - seen);
    if (this.pending + taken > GATHERED_BYTES) this.flush();
    if (taken >= GATHERED_BYTES) {
      for (let from: u32 = 0; from < taken; from += MAX_DATA) this.emit(ptr + from, min(MAX_DATA, taken - from), false, NONE);
    } else if (taken) this.keep(ptr, taken);
    if (taken < length) this.stopAtLimit();
  }

  /** The body is longer than what is recorded of it. */
  stopAtLimit(): void {
    this.stop(OVER_LIMIT);
  }

  private get pending(): u32 {
    const gathered = this.gathered;
    return gathered ? gathered.length : 0;
  }

  private keep(ptr: usize, length: u32): void {
    let gathered = this.gathered;
    if (!gathered) this.gathered = gathered = new ByteBuffer(max(length, 256));
    gathered.write(ptr, length);
    if (this.waits) return;
    this.waits = true;
    this.emitter.gather(this);
  }

  /** A tick has passed. */
  flush(): void {
    this.waits = false;
    if (!this.over && this.pending) this.emitGathered(false, NONE);
  }

  private emitGathered(last: bool, reason: ArrayBuffer): void {
    const gathered = this.gathered;
    this.emit(gathered ? gathered.ptr : 0, gathered ? gathered.length : 0, last, reason);
    if (gathered) gathered.reset();
  }

  private emit(ptr: usize, length: u32, last: bool, reason: ArrayBuffer): void {
    if (this.over) return;
    chunk.direction = this.direction;
    chunk.offset = this.offset;
    chunk.ptr = ptr;
    chunk.length = length;
    chunk.last = last;
    chunk.truncated = reason.byteLength > 0;
    chunk.contentType = this.contentType;
    chunk.contentEncoding = this.contentEncoding;
    chunk.reason = reason;
    const w = this.emitter.event(this.session, this.target);
    w.uint(7, this.command);
    writePayloadChunk(w, chunk);
    if (!this.emitter.emitPayload()) {
      this.tellLost();
      this.close();
      return;
    }
    this.offset += length;
    // What is left to record keeps its room.
    const needed = payloadRoom(this.limit - <u32>this.offset);
    this.emitter.releasePayload(this.room - needed);
    this.room = needed;
  }

  /** There was no room, and none was promised. A few words may still find some; the emitter tells of what was dropped in any case. */
  private tellLost(): void {
    chunk.length = 0;
    chunk.last = false;
    chunk.truncated = true;
    chunk.reason = NO_ROOM;
    const w = this.emitter.event(this.session, this.target);
    w.uint(7, this.command);
    writePayloadChunk(w, chunk);
    this.emitter.emit(false);
  }

  /** Nothing more of the body is recorded, and `reason` says why, in the record. */
  stop(reason: ArrayBuffer): void {
    if (this.over) return;
    this.emitGathered(false, reason);
    this.close();
  }

  /** The body ended; not `whole` when it was cut off. Once. */
  end(whole: bool): void {
    if (this.over) return;
    if (this.pending || (whole && this.offset)) this.emitGathered(whole, NONE);
    this.close();
  }

  private close(): void {
    this.over = true;
    this.emitter.releasePayload(this.room);
    this.room = 0;
    const gathered = this.gathered;
    if (gathered) gathered.free();
    this.gathered = null;
  }
}
