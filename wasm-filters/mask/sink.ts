// The output arena of a masker: grows by doubling, is reset and reused, and is garbage like any other object when dropped.

export class ByteSink {
  private store: ArrayBuffer;
  /** Address of the first byte; changes when the sink grows, so read it after the last write. */
  ptr: usize;
  /** Bytes written since the last `reset`. */
  length: u32 = 0;
  private capacity: u32;

  constructor(capacity: u32 = 1024) {
    this.store = new ArrayBuffer(capacity);
    this.ptr = changetype<usize>(this.store);
    this.capacity = capacity;
  }

  @inline reset(): void { this.length = 0; }

  /** Makes room for `more` bytes past `length`. */
  @inline reserve(more: u32): void { if (this.capacity - this.length < more) this.grow(more); }

  private grow(more: u32): void {
    let capacity = this.capacity;
    while (capacity - this.length < more) capacity <<= 1;
    const store = new ArrayBuffer(capacity);
    memory.copy(changetype<usize>(store), this.ptr, this.length);
    this.store = store;
    this.ptr = changetype<usize>(store);
    this.capacity = capacity;
  }

  @inline write(ptr: usize, len: u32): void {
    this.reserve(len);
    memory.copy(this.ptr + this.length, ptr, len);
    this.length += len;
  }

  @inline byte(b: u32): void {
    this.reserve(1);
    store<u8>(this.ptr + this.length, <u8>b);
    this.length++;
  }

  /** `count` times the byte `b`. */
  @inline fill(b: u32, count: u32): void {
    this.reserve(count);
    memory.fill(this.ptr + this.length, <u8>b, count);
    this.length += count;
  }
}
