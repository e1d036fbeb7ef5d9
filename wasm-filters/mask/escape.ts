// Escapes inside a value. What stands in an address, in JSON within a string or in a piece of HTML is as readable as what stands beside it:
// `%40` (RFC 3986, 2.1), `\u0040` (RFC 8259, 7), `&#64;` (HTML, 13.5) and a few of HTML's names. Encoders of several kinds may have gone over a text, too:
// `%26%2364%3b` is `&#64;`.
import { codePointAt, sequenceAt } from './utf8';

/** Encoders that may have gone over a text one after the other: `%252540` is `%2540` is `%40`; `&amp;amp;#64;` likewise. */
const LAYERS = 3;
/** Backslashes before a `u`: each layer of JSON doubles them. */
const MAX_BACKSLASHES = 1 << (LAYERS - 1);
/** Of a character reference, leading zeros among them. */
const MAX_DIGITS = 10;
/** Bytes that one character takes at most which is escaped in one kind: four percent-escapes of all layers; the others are shorter. */
const MAX_OF_A_KIND: i32 = 4 * (1 + 2 * LAYERS);
/** How often the kind may change, inwards. */
const CHANGES = 2;
/** Characters that an escape of another kind is read of. */
const MAX_INNER: i32 = 32;
/** Bytes of text that one escaped character takes at most. */
export const MAX_ESCAPED: i32 = 256;
/** An escape of another kind has one of the outer kind among its first characters. */
const FIRST: i32 = 12;

/** Of each change of kind: the inner text, and where each of its characters ends in the outer one. */
const inner = memory.data(MAX_INNER * CHANGES);
const ends = memory.data(MAX_INNER * CHANGES * 4);

/** The character that `escapedAt` found. Owner: whoever called it last. */
export let escapedCharacter: u32 = 0;
let escapedByte: u32 = 0;
const sequence = memory.data(4);

export function hexValue(b: u32): i32 {
  if (b - 0x30 < 10) return b - 0x30;
  const letter = (b | 0x20) - 0x61;
  return letter < 6 ? letter + 10 : -1;
}

/** Whether an escape of any kind begins with it. */
function introduces(character: u32): bool {
  return character == 0x25 || character == 0x5c || character == 0x26;
}

/** Length of the escaped character at `p`, or 0 when there is none. */
export function escapedAt(p: usize, end: usize): i32 {
  return mixedAt(p, end, 0);
}

function mixedAt(p: usize, end: usize, change: i32): i32 {
  const length = ofAKindAt(p, end),
    character = escapedCharacter;
  if (change == CHANGES || !introduces(length ? character : <u32>load<u8>(p))) return length;
  const text = inner + change * MAX_INNER,
    offsets = ends + change * MAX_INNER * 4;
  let n: i32 = 0,
    escapes = false;
  for (let at = p; at < end && n < MAX_INNER && at + MAX_OF_A_KIND <= p + MAX_ESCAPED; n++) {
    const outer = ofAKindAt(at, end),
      read = outer ? escapedCharacter : <u32>load<u8>(at);
    if (outer) escapes = true;
    if (read > 0x7e || (!escapes && n == FIRST)) break;
    at += max(1, outer);
    store<u8>(text + n, <u8>read);
    store<u32>(offsets + n * 4, <u32>(at - p));
  }
  const whole = escapes ? mixedAt(text, text + n, change + 1) : 0;
  if (whole) return load<u32>(offsets + (whole - 1) * 4);
  escapedCharacter = character;
  return length;
}

function ofAKindAt(p: usize, end: usize): i32 {
  switch (<u32>load<u8>(p)) {
    case 0x25:
      return percentAt(p, end);
    case 0x5c:
      return unicodeAt(p, end);
    case 0x26:
      return referenceAt(p, end);
    default:
      return 0;
  }
}

/** The byte of the two hexadecimal digits at `p`, or below 0. */
function pairAt(p: usize, end: usize): i32 {
  return p + 2 > end ? -1 : (hexValue(load<u8>(p)) << 4) | hexValue(load<u8>(p, 1));
}

/** Length of the percent-escape of one byte at `p`, or 0. */
function percentByteAt(p: usize, end: usize): i32 {
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

/** Bytes that are no UTF-8 are read as ISO-8859-1. */
function percentAt(p: usize, end: usize): i32 {
  const first = percentByteAt(p, end);
  escapedCharacter = escapedByte;
  if (!first || escapedByte < 0xc2 || escapedByte > 0xf4) return first;
  const width = escapedByte < 0xe0 ? 2 : escapedByte < 0xf0 ? 3 : 4;
  let at = p + first;
  store<u8>(sequence, <u8>escapedByte);
  for (let i = 1; i < width; i++) {
    const next = percentByteAt(at, end);
    if (!next) return first;
    store<u8>(sequence + i, <u8>escapedByte);
    at += next;
  }
  if (sequenceAt(sequence, sequence + width) != width) return first;
  escapedCharacter = codePointAt(sequence, width);
  return <i32>(at - p);
}

/** Length of `\uXXXX` at `p`, its unit in `escapedCharacter`, or 0. */
function unitAt(p: usize, end: usize): i32 {
  let at = p;
  while (at < end && at < p + MAX_BACKSLASHES && load<u8>(at) == 0x5c) at++;
  if (at == p || at + 5 > end || load<u8>(at) != 0x75) return 0;
  const high = pairAt(at + 1, end),
    low = pairAt(at + 3, end);
  if (high < 0 || low < 0) return 0;
  escapedCharacter = (high << 8) | low;
  return <i32>(at + 5 - p);
}

function unicodeAt(p: usize, end: usize): i32 {
  const first = unitAt(p, end),
    unit = escapedCharacter;
  if (!first || unit - 0xd800 >= 0x400) return first;
  const second = unitAt(p + first, end);
  if (second && escapedCharacter - 0xdc00 < 0x400) {
    escapedCharacter = 0x10000 + ((unit - 0xd800) << 10) + (escapedCharacter - 0xdc00);
    return first + second;
  }
  escapedCharacter = unit;
  return first;
}

/** Those of HTML's names that stand for what detectors look for or pass over, and the characters. */
const NAMES = ['nbsp;', 'shy;', 'commat;', 'period;', 'plus;', 'hyphen;', 'dash;', 'lpar;', 'rpar;', 'percnt;'];
const NAMED: StaticArray<u32> = [0xa0, 0xad, 0x40, 0x2e, 0x2b, 0x2d, 0x2d, 0x28, 0x29, 0x25];

function startsWith(p: usize, end: usize, name: string): bool {
  if (p + name.length > end) return false;
  for (let i = 0; i < name.length; i++) if (<u32>load<u8>(p + i) != <u32>name.charCodeAt(i)) return false;
  return true;
}

/** A character reference; its semicolon may be missing after a number, as browsers have it. */
function referenceAt(p: usize, end: usize): i32 {
  let at = p + 1;
  for (let layer = 1; layer < LAYERS && startsWith(at, end, 'amp;'); layer++) at += 4;
  if (at < end && load<u8>(at) != 0x23) {
    for (let i = 0; i < NAMES.length; i++) {
      if (!startsWith(at, end, NAMES[i])) continue;
      escapedCharacter = NAMED[i];
      return <i32>(at + NAMES[i].length - p);
    }
    return 0;
  }
  at++;
  const isHex = at < end && (load<u8>(at) | 0x20) == 0x78;
  if (isHex) at++;
  const from = at;
  let value: u32 = 0;
  for (; at < end && at < from + MAX_DIGITS; at++) {
    const digit = hexValue(load<u8>(at));
    if (digit < 0 || (digit > 9 && !isHex)) break;
    value = min<u32>(value * (isHex ? 16 : 10) + digit, 0x110000);
  }
  if (at == from || value > 0x10ffff) return 0;
  if (at < end && load<u8>(at) == 0x3b) at++;
  escapedCharacter = value;
  return <i32>(at - p);
}

/** Whether there is an escape in the text. */
export function hasEscape(p: usize, length: i32): bool {
  const end = p + length,
    percent = i8x16.splat(0x25),
    backslash = i8x16.splat(0x5c),
    ampersand = i8x16.splat(0x26);
  while (p < end) {
    if (p + 16 <= end) {
      const v = v128.load(p);
      const hits = i8x16.bitmask(v128.or(i8x16.eq(v, percent), v128.or(i8x16.eq(v, backslash), i8x16.eq(v, ampersand))));
      if (!hits) {
        p += 16;
        continue;
      }
      p += ctz(hits);
    }
    if (escapedAt(p, end)) return true;
    p++;
  }
  return false;
}
