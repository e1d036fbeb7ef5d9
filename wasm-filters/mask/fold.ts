// Detectors read a folded view of a text: digits of any script, full-width forms, typographic hyphens and spaces become ASCII,
// and characters that print nothing are left out. So `４１１１‑1111…` is as much a card number as `4111-1111…`. Another view reads escapes too.
import { escapedAt, escapedCharacter } from './escape';
import { ByteSink } from './sink';
import { codePointAt, encodeAt, widthOf } from './utf8';

/** The first code point of each script's ten decimal digits (Unicode category Nd, ascending) that lies below the CJK blocks. */
const ZEROS = memory.data<u16>([
  0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040,
  0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
]);
const ZEROS_COUNT: usize = 28;

export const KEEP: i32 = -1;
export const LEAVE_OUT: i32 = -2;

/** Control characters but white space: a NUL after each digit is what UTF-16 leaves in a text that was taken for UTF-8. */
function isControl(cp: u32): bool {
  return cp < 0x09 || cp - 0x0e < 0x12 || (cp - 0x7f < 0x21 && cp != 0x85);
}

/** The ASCII character that stands for `cp`, or KEEP or LEAVE_OUT. */
export function foldOf(cp: u32): i32 {
  if (cp < 0xa0) return isControl(cp) ? LEAVE_OUT : KEEP;
  if (cp < 0x660) return cp == 0xa0 ? 0x20 : cp == 0xad || cp == 0x34f ? LEAVE_OUT : KEEP;
  if (cp < 0x1c5a) {
    for (let i: usize = 0; i < ZEROS_COUNT; i++) {
      const digit = cp - <u32>load<u16>(ZEROS + (i << 1));
      if (digit < 10) return 0x30 + digit;
    }
    return cp == 0x1680 ? 0x20 : cp == 0x180e ? LEAVE_OUT : KEEP;
  }
  if (cp < 0x2000) return KEEP;
  if (cp <= 0x3000) {
    if (cp <= 0x200a || cp == 0x202f || cp == 0x205f || cp == 0x3000) return 0x20;
    if ((cp >= 0x2010 && cp <= 0x2015) || cp == 0x2212) return 0x2d;
    return cp <= 0x200f || (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) ? LEAVE_OUT : KEEP;
  }
  if (cp < 0xfe00) return KEEP;
  if (cp >= 0xff01 && cp <= 0xff5e) return cp - 0xfee0;
  if (cp == 0xfe58 || cp == 0xfe63) return 0x2d;
  if (cp <= 0xfe0f || cp == 0xfeff) return LEAVE_OUT;
  if (cp >= 0x1d7ce && cp <= 0x1d7ff) return 0x30 + ((cp - 0x1d7ce) % 10);
  return KEEP;
}

/** Likewise of a byte in a single-byte charset. From 0x80 to 0x9f they are read as Windows-1252, as browsers read ISO-8859-1 too. */
function foldOfByte(b: u32): i32 {
  if (b == 0x96 || b == 0x97) return 0x2d;
  return b - 0x80 < 0x20 ? KEEP : foldOf(b);
}

/** Address of the first byte at or after `p` that is not ASCII, or `end`. */
export function skipAscii(p: usize, end: usize): usize {
  for (; p + 16 <= end; p += 16) {
    const high = i8x16.bitmask(v128.load(p));
    if (high) return p + ctz(high);
  }
  while (p < end && load<u8>(p) < 0x80) p++;
  return p;
}

/** A folded text, and where each of its bytes comes from. Valid until it is made anew, or the text it was made of changes. */
export class View {
  ptr: usize = 0;
  length: i32 = 0;
  /** What it must have for a detector to match at all; whoever makes it counts. */
  digits: i32 = 0;
  hasAt: bool = false;
  /** u32 for each folded byte and one more for the end: its offset in the text. 0 when the view is the text itself. */
  private offsets: usize = 0;
  private bytes: ByteSink = new ByteSink();
  private map: ByteSink = new ByteSink();

  /** A text that is to be read as it is, byte by byte. */
  asIs(p: usize, length: i32): void {
    this.ptr = p;
    this.length = length;
    this.offsets = 0;
  }

  /** Folds valid UTF-8 (or WTF-8). */
  fold(p: usize, length: i32): void {
    const end = p + length;
    this.begin(length);
    for (let at = p; at < end; ) {
      const width = widthOf(load<u8>(at));
      const as = foldOf(codePointAt(at, width));
      if (as == KEEP) for (let i = 0; i < width; i++) this.put(load<u8>(at + i), at - p + i);
      else if (as >= 0) this.put(<u8>as, at - p);
      at += width;
    }
    this.complete(length);
  }

  /** Folds a text of one byte to a character. */
  foldBytes(p: usize, length: i32): void {
    this.begin(length);
    for (let i = 0; i < length; i++) this.putByte(load<u8>(p + i), i);
    this.complete(length);
  }

  /** Likewise, with escapes read as what they stand for. `singleByte`: other bytes are read as they are. */
  unescape(p: usize, length: i32, singleByte: bool): void {
    const end = p + length;
    this.begin(length);
    for (let at = p; at < end; ) {
      const escape = escapedAt(at, end),
        b = load<u8>(at),
        width = escape ? escape : singleByte ? 1 : widthOf(b);
      if (!escape && singleByte) this.putByte(b, at - p);
      else {
        const cp = escape ? escapedCharacter : codePointAt(at, width);
        const as = foldOf(cp);
        // All bytes of a character come from where it begins: no match begins or ends inside an escape.
        if (as == KEEP) for (let i = 0, n = encodeAt(character, cp); i < n; i++) this.put(load<u8>(character + i), at - p);
        else if (as >= 0) this.put(<u8>as, at - p);
      }
      at += width;
    }
    this.complete(length);
  }

  private begin(length: i32): void {
    this.bytes.reset();
    this.map.reset();
    this.bytes.reserve(length);
    this.map.reserve((length + 1) << 2);
    this.ptr = this.bytes.ptr;
    this.offsets = this.map.ptr;
    this.length = 0;
  }

  @inline private put(byte: u8, offset: usize): void {
    const n = <usize>this.length;
    this.length++;
    store<u8>(this.ptr + n, byte);
    store<u32>(this.offsets + (n << 2), <u32>offset);
  }

  private putByte(b: u8, offset: usize): void {
    const as = foldOfByte(b);
    if (as != LEAVE_OUT) this.put(as == KEEP ? b : <u8>as, offset);
  }

  private complete(length: i32): void {
    store<u32>(this.offsets + ((<usize>this.length) << 2), length);
  }

  /** Where the folded byte `i` lies in the text; `length` lies at its end. */
  offsetOf(i: i32): u32 {
    return this.offsets ? load<u32>(this.offsets + ((<usize>i) << 2)) : <u32>i;
  }

  /** The first folded byte at or past `offset` of the text. */
  indexOf(offset: u32): i32 {
    if (!this.offsets) return offset;
    let low = 0,
      high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (load<u32>(this.offsets + ((<usize>middle) << 2)) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The last place of the text, at or before `offset`, where a folded byte begins. */
  floor(offset: u32): u32 {
    const i = this.indexOf(offset);
    return i && this.offsetOf(i) > offset ? this.offsetOf(i - 1) : this.offsetOf(i);
  }
}

const character = memory.data(4);
