// Messages not yet acknowledged, oldest first, in one block of unmanaged memory: length, time, bytes, length, time, bytes …
// Grows by doubling up to what its bound asks for; what was acknowledged is reclaimed by moving the rest down, at most once per half a block.

/** Length (32 bits), and when it came (64). */
const FRAME: u32 = 12;
const FIRST_BLOCK: u32 = 16384;
/** Of a frame's length: the message carries recorded payload. */
const PAYLOAD: u32 = 1 << 31;
/** An empty queue gives back a block larger than this. */
const KEPT_BLOCK: u32 = 1 << 20;

export class EventQueue {
  private block: usize = 0;
  private capacity: u32 = 0;
  private head: u32 = 0;
  private tail: u32 = 0;
  private cursor: u32 = 0;
  count: u32 = 0;
  /** What the messages with recorded payload take of `bytes`. */
  payloadBytes: u32 = 0;
  /** Of the oldest message; the others follow without a gap. */
  firstSequence: u64 = 1;
  /** How many of them were read since the last `rewind`. */
  read: u32 = 0;

  /** What the queue holds, frames included. */
  get bytes(): u32 {
    return this.tail - this.head;
  }

  get nextSequence(): u64 {
    return this.firstSequence + this.count;
  }

  static sizeOf(length: u32): u32 {
    return length + FRAME;
  }

  /** `now`: of a clock that never steps. `payload`: it carries recorded payload. */
  push(ptr: usize, length: u32, now: u64, payload: bool): void {
    this.makeRoom(length + FRAME);
    store<u32>(this.block + this.tail, payload ? length | PAYLOAD : length);
    store<u64>(this.block + this.tail + 4, now);
    if (payload) this.payloadBytes += length + FRAME;
    memory.copy(this.block + this.tail + FRAME, ptr, length);
    this.tail += length + FRAME;
    this.count++;
  }

  private makeRoom(more: u32): void {
    if (this.capacity - this.tail >= more) return;
    const used = this.bytes;
    if (this.head >= this.capacity >> 1 && this.capacity - used >= more) {
      memory.copy(this.block, this.block + this.head, used);
    } else {
      let capacity = max(this.capacity, FIRST_BLOCK);
      while (capacity - used < more) capacity <<= 1;
      if (capacity == this.capacity) capacity <<= 1;
      const block = heap.alloc(capacity);
      memory.copy(block, this.block + this.head, used);
      if (this.block) heap.free(this.block);
      this.block = block;
      this.capacity = capacity;
    }
    this.cursor -= this.head;
    this.head = 0;
    this.tail = used;
  }

  /** When the oldest message came. */
  get oldest(): u64 {
    return load<u64>(this.block + this.head + 4);
  }

  /** Bytes of the messages that were not read, frames included. */
  get unreadBytes(): u32 {
    return this.tail - this.cursor;
  }

  /** Drops every message up to and including `sequence`. */
  acknowledge(sequence: u64): void {
    while (this.count && this.firstSequence <= sequence) {
      const head = load<u32>(this.block + this.head),
        size = (head & ~PAYLOAD) + FRAME;
      if (head & PAYLOAD) this.payloadBytes -= size;
      this.head += size;
      this.count--;
      this.firstSequence++;
      if (this.read) this.read--;
    }
    if (this.cursor < this.head) this.cursor = this.head;
    if (this.count) return;
    this.head = this.tail = this.cursor = 0;
    if (this.capacity <= KEPT_BLOCK) return;
    heap.free(this.block);
    this.block = this.capacity = 0;
  }

  /** Reading starts again with the oldest message. */
  rewind(): void {
    this.cursor = this.head;
    this.read = 0;
  }

  get unread(): bool {
    return this.read < this.count;
  }

  @inline get messagePtr(): usize {
    return this.block + this.cursor + FRAME;
  }

  @inline get messageLength(): u32 {
    return load<u32>(this.block + this.cursor) & ~PAYLOAD;
  }

  /** Past the message that `messagePtr` shows. */
  advance(): void {
    this.cursor += this.messageLength + FRAME;
    this.read++;
  }

  /** Where reading stands, for `retreat`. */
  get position(): u32 {
    return this.cursor;
  }

  /** The last `count` messages are to be read again, which begin at `position`. Nothing may have been pushed or acknowledged since. */
  retreat(position: u32, count: u32): void {
    this.cursor = position;
    this.read -= count;
  }

  free(): void {
    if (this.block) heap.free(this.block);
    this.block = 0;
    this.capacity = this.head = this.tail = this.cursor = this.count = this.read = this.payloadBytes = 0;
  }
}
