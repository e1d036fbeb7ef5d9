// Bytes outside the garbage collector: a growable buffer that is reused, and comparison of spans with constants.

/** A constant's UTF-8 bytes, without a terminator. For global constants and small texts: it allocates. */
export function utf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}

export function at(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}

/** A copy of a span, kept by the garbage collector. */
export function copyOf(ptr: usize, length: u32): ArrayBuffer {
  const copy = new ArrayBuffer(length);
  memory.copy(changetype<usize>(copy), ptr, length);
  return copy;
}

export function equals(ptr: usize, length: u32, constant: ArrayBuffer): bool {
  return length == <u32>constant.byteLength && memory.compare(ptr, at(constant), length) == 0;
}

export function startsWith(ptr: usize, length: u32, constant: ArrayBuffer): bool {
  return length >= <u32>constant.byteLength && memory.compare(ptr, at(constant), constant.byteLength) == 0;
}

/** Whether a span contains a constant; for short texts. */
export function contains(ptr: usize, length: u32, constant: ArrayBuffer): bool {
  const n = <u32>constant.byteLength;
  for (let i: u32 = 0; i + n <= length; i++) if (memory.compare(ptr + i, at(constant), n) == 0) return true;
  return false;
}

/** Grows by doubling and never shrinks; unmanaged, so its owner lives as long as the VM or calls `free`. */
export class ByteBuffer {
  /** Address of the first byte; changes when the buffer grows, so read it after the last write. */
  ptr: usize;
  length: u32 = 0;
  capacity: u32;

  constructor(capacity: u32) {
    this.ptr = heap.alloc(capacity);
    this.capacity = capacity;
  }

  free(): void {
    if (this.ptr) heap.free(this.ptr);
    this.ptr = 0;
    this.length = this.capacity = 0;
  }

  reset(): void {
    this.length = 0;
  }

  reserve(more: u32): void {
    if (this.capacity - this.length >= more) return;
    let capacity = max(this.capacity, 64);
    while (capacity - this.length < more) capacity <<= 1;
    this.ptr = this.ptr ? heap.realloc(this.ptr, capacity) : heap.alloc(capacity);
    this.capacity = capacity;
  }

  byte(value: u32): void {
    this.reserve(1);
    store<u8>(this.ptr + this.length++, <u8>value);
  }

  /** Little-endian, as protobuf and the host's pairs want it. */
  u32(value: u32): void {
    this.reserve(4);
    store<u32>(this.ptr + this.length, value);
    this.length += 4;
  }

  u64(value: u64): void {
    this.reserve(8);
    store<u64>(this.ptr + this.length, value);
    this.length += 8;
  }

  write(ptr: usize, length: u32): void {
    this.reserve(length);
    memory.copy(this.ptr + this.length, ptr, length);
    this.length += length;
  }

  bytes(value: ArrayBuffer): void {
    this.write(at(value), value.byteLength);
  }

  /** A number in decimal, as JSON and HTTP write it. */
  decimal(value: u64): void {
    let digits: u32 = 1;
    for (let rest = value / 10; rest; rest /= 10) digits++;
    this.reserve(digits);
    this.length += digits;
    for (let p = this.ptr + this.length; digits; digits--, value /= 10) store<u8>(--p, <u8>(48 + (value % 10)));
  }

  /** Moves what lies from `from` on by `gap` bytes towards the end. */
  shift(from: u32, gap: u32): void {
    this.reserve(gap);
    memory.copy(this.ptr + from + gap, this.ptr + from, this.length - from);
    this.length += gap;
  }
}
