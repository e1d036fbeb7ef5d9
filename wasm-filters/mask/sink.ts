// The output arena of a masker: grows by doubling, is reset and reused, and is garbage like any other object when dropped.

// `memory.copy` and `memory.fill` are calls out of the module in V8, and cost more than what they move when that is short, as it mostly is.
const SHORT: u32 = 256;

/** The two do not overlap. Reads nothing past `length`. */
export function copyBytes(to: usize, from: usize, length: u32): void {
  if (length > SHORT) {
    memory.copy(to, from, length);
    return;
  }
  if (length >= 16) {
    const last = length - 16;
    for (let i: u32 = 0; i < last; i += 16) v128.store(to + i, v128.load(from + i));
    v128.store(to + last, v128.load(from + last));
  } else if (length >= 8) {
    const head = load<u64>(from),
      tail = load<u64>(from + length - 8);
    store<u64>(to, head);
    store<u64>(to + length - 8, tail);
  } else if (length >= 4) {
    const head = load<u32>(from),
      tail = load<u32>(from + length - 4);
    store<u32>(to, head);
    store<u32>(to + length - 4, tail);
  } else for (let i: u32 = 0; i < length; i++) store<u8>(to + i, load<u8>(from + i));
}

function fillBytes(to: usize, b: u32, length: u32): void {
  if (length > SHORT) {
    memory.fill(to, <u8>b, length);
    return;
  }
  const sixteen = i8x16.splat(<i8>b);
  let i: u32 = 0;
  for (; i + 16 <= length; i += 16) v128.store(to + i, sixteen);
  for (; i < length; i++) store<u8>(to + i, <u8>b);
}

/** Whether `length` bytes are the same. */
export function sameBytes(a: usize, b: usize, length: u32): bool {
  let i: u32 = 0;
  for (; i + 8 <= length; i += 8) if (load<u64>(a + i) != load<u64>(b + i)) return false;
  for (; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false;
  return true;
}

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

  @inline reset(): void {
    this.length = 0;
  }

  /** Makes room for `more` bytes past `length`. */
  @inline reserve(more: u32): void {
    if (this.capacity - this.length < more) this.grow(more);
  }

  private grow(more: u32): void {
    let capacity = this.capacity;
    while (capacity - this.length < more) capacity <<= 1;
    const store = new ArrayBuffer(capacity);
    memory.copy(changetype<usize>(store), this.ptr, this.length);
    this.store = store;
    this.ptr = changetype<usize>(store);
    this.capacity = capacity;
  }

  write(ptr: usize, len: u32): void {
    this.reserve(len);
    copyBytes(this.ptr + this.length, ptr, len);
    this.length += len;
  }

  @inline byte(b: u32): void {
    this.reserve(1);
    store<u8>(this.ptr + this.length, <u8>b);
    this.length++;
  }

  /** `count` times the byte `b`. */
  fill(b: u32, count: u32): void {
    this.reserve(count);
    fillBytes(this.ptr + this.length, b, count);
    this.length += count;
  }
}
