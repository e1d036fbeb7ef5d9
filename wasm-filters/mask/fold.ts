// Detectors read a folded view of a text: digits of any script, full-width forms, typographic hyphens and spaces become ASCII,
// and characters that print nothing are left out. So `４１１１‑1111…` is as much a card number as `4111-1111…`.
import { ByteSink } from './sink';
import { codePointAt, widthOf } from './utf8';

/** The view that the last `fold` made. Owner: whoever called `fold` last; valid until the next call. */
export let folded: usize = 0;
export let foldedLength: i32 = 0;
/** u32 for each folded byte and one more for the end: its offset in the text. 0 when the view is the text itself. */
let offsets: usize = 0;

const view = new ByteSink();
const map = new ByteSink();

/** The first code point of each script's ten decimal digits (Unicode category Nd, ascending) that lies below the CJK blocks. */
const ZEROS = memory.data<u16>([
  0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040,
  0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
]);
const ZEROS_COUNT: usize = 28;

export const KEEP: i32 = -1;
export const LEAVE_OUT: i32 = -2;

/** The ASCII character that stands for `cp`, or KEEP or LEAVE_OUT. */
export function foldOf(cp: u32): i32 {
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

/** Address of the first byte at or after `p` that is not ASCII, or `end`. */
export function skipAscii(p: usize, end: usize): usize {
  for (; p + 16 <= end; p += 16) {
    const high = i8x16.bitmask(v128.load(p));
    if (high) return p + ctz(high);
  }
  while (p < end && load<u8>(p) < 0x80) p++;
  return p;
}

/** Folds valid UTF-8 (or WTF-8). */
export function fold(p: usize, length: i32): void {
  const end = p + length;
  folded = p;
  foldedLength = length;
  offsets = 0;
  let run = skipAscii(p, end);
  if (run == end) return;
  view.reset();
  map.reset();
  view.reserve(length);
  map.reserve((length + 1) << 2);
  let n: usize = 0;
  for (let at = p; at < end; ) {
    const width = widthOf(load<u8>(at));
    const as = width == 1 ? <i32>load<u8>(at) : foldOf(codePointAt(at, width));
    if (as == KEEP) {
      for (let i = 0; i < width; i++, n++) put(n, load<u8>(at + i), at - p + i);
    } else if (as >= 0) put(n++, <u8>as, at - p);
    at += width;
  }
  store<u32>(map.ptr + (n << 2), length);
  folded = view.ptr;
  foldedLength = <i32>n;
  offsets = map.ptr;
}

function put(n: usize, byte: u8, offset: usize): void {
  store<u8>(view.ptr + n, byte);
  store<u32>(map.ptr + (n << 2), <u32>offset);
}

/** A text that is to be read as it is, byte by byte (a single-byte charset). */
export function unfolded(p: usize, length: i32): void {
  folded = p;
  foldedLength = length;
  offsets = 0;
}

/** Where the folded byte `i` lies in the text; `foldedLength` lies at its end. */
export function offsetOf(i: i32): u32 {
  return offsets ? load<u32>(offsets + ((<usize>i) << 2)) : <u32>i;
}

/** The first folded byte at or past `offset` of the text. */
export function indexOf(offset: u32): i32 {
  if (!offsets) return offset;
  let low = 0,
    high = foldedLength;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(offsets + ((<usize>middle) << 2)) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
