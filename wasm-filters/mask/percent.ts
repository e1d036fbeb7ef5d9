// Percent-encoding (RFC 3986, 2.1) inside a value: what stands in an address is as readable as what stands beside it.
import { codePointAt, sequenceAt } from './utf8';

/** Encoders that may have gone over a text one after the other: `%252540` is `%2540` is `%40`. */
const LAYERS = 3;
/** Bytes of text that one escaped character takes at most: four escapes of `%2525XX`. */
export const MAX_ESCAPED: i32 = 4 * (1 + 2 * LAYERS);

/** The character that `escapedAt` found. Owner: whoever called it last. */
export let escapedCharacter: u32 = 0;
let escapedByte: u32 = 0;
const sequence = memory.data(4);

export function hexValue(b: u32): i32 {
  if (b - 0x30 < 10) return b - 0x30;
  const letter = (b | 0x20) - 0x61;
  return letter < 6 ? letter + 10 : -1;
}

/** The byte of the two hexadecimal digits at `p`, or below 0. */
function pairAt(p: usize, end: usize): i32 {
  return p + 2 > end ? -1 : (hexValue(load<u8>(p)) << 4) | hexValue(load<u8>(p, 1));
}

/** Length of the escape of one byte at `p`, or 0. */
function escapeAt(p: usize, end: usize): i32 {
  if (p >= end || load<u8>(p) != 0x25) return 0;
  let at = p + 1,
    byte = pairAt(at, end);
  if (byte < 0) return 0;
  for (let layer = 1; byte == 0x25 && layer < LAYERS; layer++) {
    const inner = pairAt(at + 2, end);
    if (inner < 0) break;
    byte = inner;
    at += 2;
  }
  escapedByte = byte;
  return <i32>(at + 2 - p);
}

/** Length of the escaped character at `p`, or 0 when there is none. Escapes that are no UTF-8 are read as ISO-8859-1. */
export function escapedAt(p: usize, end: usize): i32 {
  const first = escapeAt(p, end);
  escapedCharacter = escapedByte;
  if (!first || escapedByte < 0xc2 || escapedByte > 0xf4) return first;
  const width = escapedByte < 0xe0 ? 2 : escapedByte < 0xf0 ? 3 : 4;
  let at = p + first;
  store<u8>(sequence, <u8>escapedByte);
  for (let i = 1; i < width; i++) {
    const next = escapeAt(at, end);
    if (!next) return first;
    store<u8>(sequence + i, <u8>escapedByte);
    at += next;
  }
  if (sequenceAt(sequence, sequence + width) != width) return first;
  escapedCharacter = codePointAt(sequence, width);
  return <i32>(at - p);
}

/** Whether there is an escape in the text. */
export function hasEscape(p: usize, length: i32): bool {
  const end = p + length,
    sign = i8x16.splat(0x25);
  while (p < end) {
    if (p + 16 <= end) {
      const hits = i8x16.bitmask(i8x16.eq(v128.load(p), sign));
      if (!hits) {
        p += 16;
        continue;
      }
      p += ctz(hits);
    }
    if (escapeAt(p, end)) return true;
    p++;
  }
  return false;
}
