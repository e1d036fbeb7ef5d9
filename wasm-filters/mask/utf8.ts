// UTF-8 (RFC 3629), strictly: no overlong forms, no surrogates, nothing past U+10FFFF.

/** Length (1–4) of the character at `p`; 0 when it is valid as far as `end` and goes on past it; -1 when it is not UTF-8. */
export function sequenceAt(p: usize, end: usize): i32 {
  const lead = <u32>load<u8>(p);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return -1;
  if (p + 1 >= end) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  const second = <u32>load<u8>(p, 1);
  const low: u32 = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const high: u32 = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return -1;
  for (let i = 2; i < length; i++) {
    if (p + i >= end) return 0;
    if ((<u32>load<u8>(p + i) & 0xc0) != 0x80) return -1;
  }
  return length;
}

/** The code point of the whole, valid character of `length` bytes at `p`. WTF-8 (a lone surrogate as three bytes) decodes too. */
export function codePointAt(p: usize, length: i32): u32 {
  const b = <u32>load<u8>(p);
  if (length == 1) return b;
  const c = <u32>load<u8>(p, 1) & 0x3f;
  if (length == 2) return ((b & 0x1f) << 6) | c;
  const d = <u32>load<u8>(p, 2) & 0x3f;
  if (length == 3) return ((b & 0x0f) << 12) | (c << 6) | d;
  return ((b & 0x07) << 18) | (c << 12) | (d << 6) | (<u32>load<u8>(p, 3) & 0x3f);
}

/** Length of a character by its lead byte, where the text is known to be valid. */
export function widthOf(lead: u32): i32 {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** Writes `cp` at `p` and returns its length. A surrogate becomes three bytes (WTF-8), so that no two texts look alike to a hash. */
export function encodeAt(p: usize, cp: u32): i32 {
  if (cp < 0x80) {
    store<u8>(p, <u8>cp);
    return 1;
  }
  if (cp < 0x800) {
    store<u8>(p, <u8>(0xc0 | (cp >> 6)));
    store<u8>(p, <u8>(0x80 | (cp & 0x3f)), 1);
    return 2;
  }
  if (cp < 0x10000) {
    store<u8>(p, <u8>(0xe0 | (cp >> 12)));
    store<u8>(p, <u8>(0x80 | ((cp >> 6) & 0x3f)), 1);
    store<u8>(p, <u8>(0x80 | (cp & 0x3f)), 2);
    return 3;
  }
  store<u8>(p, <u8>(0xf0 | (cp >> 18)));
  store<u8>(p, <u8>(0x80 | ((cp >> 12) & 0x3f)), 1);
  store<u8>(p, <u8>(0x80 | ((cp >> 6) & 0x3f)), 2);
  store<u8>(p, <u8>(0x80 | (cp & 0x3f)), 3);
  return 4;
}

/** Characters in valid UTF-8. */
export function countCharacters(p: usize, length: u32): u32 {
  let n: u32 = 0;
  const end = p + length;
  for (; p < end; p++) n += u32((<u32>load<u8>(p) & 0xc0) != 0x80);
  return n;
}

/** Whether all of it is valid UTF-8. */
export function isUtf8(p: usize, length: u32): bool {
  const end = p + length;
  while (p < end) {
    const n = sequenceAt(p, end);
    if (n <= 0) return false;
    p += n;
  }
  return true;
}
