// Protobuf's wire format (https://protobuf.dev/programming-guides/encoding), as much as the filters speak: a writer into one reused buffer, and a reader that never reads past its end.
import { ByteBuffer } from './bytes';

const enum WireType {
  VARINT = 0,
  I64 = 1,
  LEN = 2,
  I32 = 5,
}

export class ProtoWriter {
  out: ByteBuffer = new ByteBuffer(512);

  reset(): void {
    this.out.reset();
  }

  varint(value: u64): void {
    while (value >= 0x80) {
      this.out.byte(<u32>(value & 0x7f) | 0x80);
      value >>= 7;
    }
    this.out.byte(<u32>value);
  }

  private tag(field: u32, type: WireType): void {
    this.varint(<u64>((field << 3) | type));
  }

  /** proto3: zero is the default and not written; so for all scalars here. */
  uint(field: u32, value: u64): void {
    if (value == 0) return;
    this.tag(field, WireType.VARINT);
    this.varint(value);
  }

  fixed64(field: u32, value: u64): void {
    if (value == 0) return;
    this.tag(field, WireType.I64);
    this.out.u64(value);
  }

  span(field: u32, ptr: usize, length: u32): void {
    if (length == 0) return;
    this.tag(field, WireType.LEN);
    this.varint(length);
    this.out.write(ptr, length);
  }

  bytes(field: u32, value: ArrayBuffer): void {
    this.span(field, changetype<usize>(value), value.byteLength);
  }

  /** Opens a nested message; its length is put in by `close`, which takes what this returned. */
  open(field: u32): u32 {
    this.tag(field, WireType.LEN);
    this.out.byte(0);
    return this.out.length;
  }

  close(start: u32): void {
    const length = this.out.length - start;
    let gap: u32 = 0;
    for (let rest = length >> 7; rest; rest >>= 7) gap++;
    if (gap) this.out.shift(start, gap);
    let p = this.out.ptr + start - 1,
      rest = length;
    for (; rest >= 0x80; rest >>= 7) store<u8>(p++, <u8>((rest & 0x7f) | 0x80));
    store<u8>(p, <u8>rest);
  }
}

/** Walks the fields of one message. After `next` answers false, `broken` says whether the bytes were no message. */
export class ProtoReader {
  field: u32 = 0;
  /** Of varints and fixed numbers. */
  value: u64 = 0;
  ptr: usize = 0;
  length: u32 = 0;
  /** Whether the field at hand is bytes, a text or a message. */
  delimited: bool = false;
  broken: bool = false;
  private end: usize;

  constructor(
    private p: usize,
    length: u32,
  ) {
    this.end = p + length;
  }

  private varint(): u64 {
    let value: u64 = 0;
    for (let shift: u64 = 0; shift < 70; shift += 7) {
      if (this.p == this.end) break;
      const byte = load<u8>(this.p++);
      value |= (<u64>(byte & 0x7f)) << min(shift, 63);
      if (byte < 0x80) return value;
    }
    this.broken = true;
    return 0;
  }

  private fail(): bool {
    this.broken = true;
    return false;
  }

  next(): bool {
    if (this.p == this.end || this.broken) return false;
    const tag = this.varint();
    this.field = <u32>(tag >> 3);
    if (this.broken || tag > 0xffff_ffff || this.field == 0) return this.fail();
    const left = <u32>(this.end - this.p);
    this.delimited = (<u32>tag & 7) == WireType.LEN;
    this.value = 0;
    this.length = 0;
    switch (<u32>tag & 7) {
      case WireType.VARINT:
        this.value = this.varint();
        return !this.broken;
      case WireType.I64:
        if (left < 8) return this.fail();
        this.value = load<u64>(this.p);
        this.p += 8;
        return true;
      case WireType.I32:
        if (left < 4) return this.fail();
        this.value = load<u32>(this.p);
        this.p += 4;
        return true;
      case WireType.LEN: {
        const length = this.varint();
        if (this.broken || length > <u64>(this.end - this.p)) return this.fail();
        this.ptr = this.p;
        this.length = <u32>length;
        this.p += this.length;
        return true;
      }
      default:
        return this.fail();
    }
  }
}
