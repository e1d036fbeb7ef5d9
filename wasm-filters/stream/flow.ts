// Bytes on their way through the VM, one direction of one connection at a time.
import { ByteBuffer } from '../abi/bytes';
import { HEADROOM } from '../abi/memory';

/** What is kept of a buffer that has grown beyond this is given back as soon as it is empty. */
const KEPT_CAPACITY: u32 = 64 << 10;

/** What has arrived and is not consumed. Unmanaged: `free` it. */
export class Inflow {
  /** All unconsumed bytes, after `join`; valid until the next `join`, or the next hostcall that returns bytes. */
  ptr: usize = 0;
  length: u32 = 0;
  private kept: ByteBuffer = new ByteBuffer(0);
  /** Of `kept`: consumed. */
  private start: u32 = 0;
  private peak: u32 = 0;
  /** Where the joined bytes lie: in `kept`, or in the host's block. */
  private inKept: bool = true;

  /** Bytes kept between callbacks. */
  get backlog(): u32 {
    return this.kept.length - this.start;
  }

  /** Puts a chunk of the host's (with its headroom) behind what was kept. `size` 0: only what was kept. */
  join(chunk: usize, size: u32): void {
    const before = this.backlog;
    this.inKept = size == 0 || before > HEADROOM;
    if (this.inKept) {
      // Moving what is left to the front costs no more than what was consumed before it.
      if (this.start > before) {
        memory.copy(this.kept.ptr, this.kept.ptr + this.start, before);
        this.kept.length = before;
        this.start = 0;
      }
      this.kept.write(chunk, size);
      this.ptr = this.kept.ptr + this.start;
    } else {
      this.ptr = chunk - before;
      memory.copy(this.ptr, this.kept.ptr + this.start, before);
    }
    this.length = before + size;
  }

  /** Keeps what is not consumed. The consumed bytes stay where they are until `settle` or the next `join`. */
  consume(used: u32): void {
    if (this.inKept) {
      this.start += used;
    } else {
      this.start = 0;
      this.kept.reset();
      this.kept.write(this.ptr + used, this.length - used);
    }
    this.peak = max(this.peak, this.kept.length);
  }

  /** Nothing refers to consumed bytes any more. */
  settle(): void {
    if (this.backlog > 0) return;
    this.kept.reset();
    this.start = 0;
    if (this.peak > KEPT_CAPACITY) this.kept.free();
    this.peak = 0;
  }

  free(): void {
    this.kept.free();
    this.start = this.length = 0;
  }
}

/** What leaves in one callback. Spans of the input that pass unchanged, one after the other, are not copied. One for each direction and VM: callbacks do not overlap. */
export class Outflow {
  private input: usize = 0;
  private inputLength: u32 = 0;
  private run: usize = 0;
  private runLength: u32 = 0;
  private written: ByteBuffer = new ByteBuffer(64 << 10);

  reset(): void {
    this.inputLength = this.runLength = 0;
    this.written.reset();
    if (this.written.capacity > 4 << 20) {
      this.written.free();
      this.written.reserve(KEPT_CAPACITY);
    }
  }

  /** Spans within these bytes may be referred to until `detach`. */
  from(ptr: usize, length: u32): void {
    this.input = ptr;
    this.inputLength = length;
  }

  /** The input's bytes may change from now on. */
  detach(): void {
    this.inputLength = 0;
    if (this.runLength) this.written.write(this.run, this.runLength);
    this.runLength = 0;
  }

  /** Copies. */
  send(ptr: usize, length: u32): void {
    if (this.runLength) this.written.write(this.run, this.runLength);
    this.runLength = 0;
    this.written.write(ptr, length);
  }

  /** Refers to bytes of the input, unchanged, where it can. */
  pass(ptr: usize, length: u32): void {
    const within = ptr >= this.input && ptr + length <= this.input + this.inputLength,
      next = this.runLength == 0 || ptr == this.run + this.runLength;
    if (!within || !next || this.written.length) {
      this.send(ptr, length);
      return;
    }
    if (this.runLength == 0) this.run = ptr;
    this.runLength += length;
  }

  get ptr(): usize {
    return this.runLength ? this.run : this.written.ptr;
  }

  get length(): u32 {
    return this.runLength ? this.runLength : this.written.length;
  }
}
