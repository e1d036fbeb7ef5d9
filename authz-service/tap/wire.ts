/** Protobuf's wire format: a writer that grows one buffer, and a reader of a peer's bytes that never goes beyond them. */
import { isUtf8 } from 'node:buffer';

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

/** What a peer sent is not what the protocol says. `code` is for counting, the text for the peer and for people. */
export class WireError extends Error {
  readonly code: 'malformed' | 'too_large';

  constructor(code: WireError['code'], message: string) {
    super(message);
    this.name = 'WireError';
    this.code = code;
  }
}

/** Node's own, under `toString` and `write`: without their handling of arguments, which costs more than a short text does. */
interface Utf8Buffer {
  utf8Slice(from: number, to: number): string;
  utf8Write(text: string, at: number): number;
}

/** Shorter texts are quicker written by a loop than by a call into Node. */
const LOOPED_LENGTH = 32;

const MAX_FIXED64 = (1n << 64n) - 1n;
/** A number's bytes on their way: Buffer's own methods for such numbers cost several times as much. */
const wordBytes = new Uint8Array(8);
const word = new DataView(wordBytes.buffer);

const malformed = (what: string): WireError => new WireError('malformed', what);

export class Reader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  /** When it is there, text that is not UTF-8 is repaired and said so here; without it such text is an error. */
  readonly repair: { repaired: boolean } | undefined;

  /** Reads `bytes` from offset `from` to before `to`. */
  constructor(bytes: Uint8Array, from = 0, to = bytes.length, repair?: { repaired: boolean }) {
    this.repair = repair;
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = from;
    this.#end = to;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  /** An unsigned varint of at most 2^53 - 1: what a sequence or a count of bytes can be. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i += 1) {
      if (this.#at >= this.#end) throw malformed('a number ends too early');
      const byte = this.#bytes[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw malformed('a number beyond 2^53');
        return value;
      }
      scale *= 128;
    }
    throw malformed('a number of more than 10 bytes');
  }

  /** An unsigned varint of any value: an identifier. */
  varint64(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.#at >= this.#end) throw malformed('a number ends too early');
      const byte = this.#bytes[this.#at++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (value > MAX_FIXED64) throw malformed('a number of more than 64 bits');
      return value;
    }
    throw malformed('a number of more than 10 bytes');
  }

  /** The next field's number and wire type, as `number << 3 | type`. */
  tag(): number {
    const tag = this.varint();
    if (tag < 8 || tag > 0xffffffff) throw malformed('a field number out of range');
    return tag;
  }

  fixed64(): bigint {
    if (this.#at + 8 > this.#end) throw malformed('a number ends too early');
    this.#at += 8;
    return this.#bytes.readBigUInt64LE(this.#at - 8);
  }

  /** A view of the peer's bytes. */
  bytes(): Buffer {
    const from = this.#span();
    return this.#bytes.subarray(from, this.#at);
  }

  /** A reader of the message that stands here. */
  message(): Reader {
    const from = this.#span();
    return new Reader(this.#bytes, from, this.#at, this.repair);
  }

  string(): string {
    const from = this.#span();
    const text = (this.#bytes as unknown as Utf8Buffer).utf8Slice(from, this.#at);
    // Decoding puts U+FFFD where bytes are not UTF-8; only then is it worth looking whether the peer meant one.
    if (text.includes('\ufffd') && !isUtf8(this.#bytes.subarray(from, this.#at))) {
      if (this.repair === undefined) throw malformed('text that is not UTF-8');
      this.repair.repaired = true;
    }
    return text;
  }

  skip(type: number): void {
    if (type === VARINT) this.#skipVarint();
    else if (type === FIXED64) this.#advance(8);
    else if (type === BYTES) this.#span();
    else if (type === FIXED32) this.#advance(4);
    else throw malformed(`wire type ${type}`);
  }

  #skipVarint(): void {
    for (let i = 0; i < 10; i += 1) {
      if (this.#at >= this.#end) throw malformed('a number ends too early');
      if ((this.#bytes[this.#at++] as number) < 0x80) return;
    }
    throw malformed('a number of more than 10 bytes');
  }

  /** Steps over a length and as many bytes; returns where they begin. */
  #span(): number {
    const length = this.varint();
    const from = this.#at;
    this.#advance(length);
    return from;
  }

  #advance(length: number): void {
    if (length > this.#end - this.#at) throw malformed('a length beyond the end');
    this.#at += length;
  }
}

export class Writer {
  #bytes = Buffer.allocUnsafeSlow(1 << 16);
  #at = 0;

  reset(): void {
    this.#at = 0;
  }

  get length(): number {
    return this.#at;
  }

  /** What was written: a view, good until the next write. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  varint(value: number): void {
    this.#room(10);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = rest;
  }

  /** A value out of range becomes the nearest end of it. */
  fixed64(value: bigint): void {
    this.#room(8);
    word.setBigUint64(0, value < 0n ? 0n : value > MAX_FIXED64 ? MAX_FIXED64 : value, true);
    for (let i = 0; i < 8; i += 1) this.#bytes[this.#at++] = wordBytes[i] as number;
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  string(value: string): void {
    this.#room(10 + 3 * value.length);
    if (value.length <= LOOPED_LENGTH && this.#ascii(value)) return;
    const guessed = varintLength(value.length);
    const written = (this.#bytes as unknown as Utf8Buffer).utf8Write(value, this.#at + guessed);
    this.#close(this.#at, guessed, written);
  }

  /** Writes a short text when it is ASCII, and says whether it was. */
  #ascii(value: string): boolean {
    const bytes = this.#bytes;
    const at = this.#at + 1;
    for (let i = 0; i < value.length; i += 1) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[at + i] = code;
    }
    bytes[this.#at] = value.length;
    this.#at = at + value.length;
    return true;
  }

  /** Writes a length-prefixed message by `write`. */
  message(write: () => void): void {
    const start = this.#at;
    const guessed = 2;
    this.#room(10);
    this.#at += guessed;
    write();
    const length = this.#at - start - guessed;
    this.#at = start;
    this.#room(10 + length);
    this.#close(start, guessed, length);
  }

  /** Puts the length of the `length` bytes that stand `guessed` behind `start` before them. */
  #close(start: number, guessed: number, length: number): void {
    const needed = varintLength(length);
    if (needed !== guessed) this.#bytes.copyWithin(start + needed, start + guessed, start + guessed + length);
    this.#at = start;
    this.varint(length);
    this.#at = start + needed + length;
  }

  #room(size: number): void {
    if (this.#at + size <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#at + size));
    this.#bytes.copy(larger);
    this.#bytes = larger;
  }
}

const varintLength = (value: number): number => {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) length += 1;
  return length;
};
