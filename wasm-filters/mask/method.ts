// What becomes of a value: methods by kinds of value, and how a masked text is written in the encoding it stands in.
import { Normal } from './detectors';
import { escapedAt, escapedCharacter } from './escape';
import { View } from './fold';
import { Method, Rule } from './plan';
import { HmacKey, Sha256 } from './sha256';
import { ByteSink } from './sink';
import { codePointAt, countCharacters, encodeAt, widthOf } from './utf8';

export const enum Kind {
  STRING,
  NUMBER,
  BOOLEAN,
  NULL,
}
export const enum Fit {
  STARS,
  KEPT_ENDS,
  TOKEN,
  NULL,
}

/** The one table of methods and kinds of JSON values. A method that does not fit a kind gives null. DROP never gets here by path. */
// biome-ignore format: a row for each method, a column for each kind
const FITS = memory.data<i32>([
  //             STRING         NUMBER     BOOLEAN   NULL
  /* -       */  Fit.NULL,      Fit.NULL,  Fit.NULL, Fit.NULL,
  /* FULL    */  Fit.STARS,     Fit.NULL,  Fit.NULL, Fit.NULL,
  /* PARTIAL */  Fit.KEPT_ENDS, Fit.NULL,  Fit.NULL, Fit.NULL,
  /* HASH    */  Fit.TOKEN,     Fit.TOKEN, Fit.NULL, Fit.NULL,
  /* NULL    */  Fit.NULL,      Fit.NULL,  Fit.NULL, Fit.NULL,
  /* DROP    */  Fit.NULL,      Fit.NULL,  Fit.NULL, Fit.NULL,
]);

export function fitOf(method: Method, kind: Kind): Fit {
  return <Fit>load<i32>(FITS + ((((<usize>method) << 2) | <usize>kind) << 2));
}

/** How a piece of text must be written where it stands. */
export const enum Encoding {
  /** As it is; UTF-8. */
  PLAIN,
  /** As it is; one byte is one character. */
  SINGLE_BYTE,
  /** Inside the quotes of a JSON string. */
  JSON,
  /** Inside the quotes of a CSV field; UTF-8, or one byte to a character. */
  QUOTED,
  QUOTED_SINGLE_BYTE,
  /** application/x-www-form-urlencoded. */
  FORM,
}

export function isSingleByte(encoding: Encoding): bool {
  return encoding == Encoding.SINGLE_BYTE || encoding == Encoding.QUOTED_SINGLE_BYTE;
}

export const STAR: u32 = 0x2a;

/** Writes a text as the encoding wants it. */
export function writeText(p: usize, length: u32, encoding: Encoding, out: ByteSink): void {
  switch (encoding) {
    case Encoding.JSON:
      writeJson(p, length, out);
      return;
    case Encoding.QUOTED:
    case Encoding.QUOTED_SINGLE_BYTE:
      writeQuoted(p, length, out);
      return;
    case Encoding.FORM:
      writeForm(p, length, out);
      return;
    default:
      out.write(p, length);
  }
}

function hexDigit(n: u32): u32 {
  return n < 10 ? 0x30 + n : 0x57 + n;
}

function writeUnit(unit: u32, out: ByteSink): void {
  out.byte(0x5c);
  out.byte(0x75);
  for (let shift = 12; shift >= 0; shift -= 4) out.byte(hexDigit((unit >> shift) & 15));
}

function writeJson(p: usize, length: u32, out: ByteSink): void {
  const end = p + length;
  out.reserve(length);
  while (p < end) {
    const b = <u32>load<u8>(p);
    if (b == 0x22 || b == 0x5c) {
      out.byte(0x5c);
      out.byte(b);
      p++;
      continue;
    }
    if (b < 0x20) {
      const short: u32 = b == 0x0a ? 0x6e : b == 0x09 ? 0x74 : b == 0x0d ? 0x72 : b == 0x08 ? 0x62 : b == 0x0c ? 0x66 : 0;
      if (short) {
        out.byte(0x5c);
        out.byte(short);
      } else writeUnit(b, out);
      p++;
      continue;
    }
    const width = widthOf(b);
    // A lone surrogate is no UTF-8: it goes back into the escape that it came from.
    if (b == 0xed && load<u8>(p, 1) >= 0xa0) writeUnit(codePointAt(p, 3), out);
    else out.write(p, width);
    p += width;
  }
}

function writeQuoted(p: usize, length: u32, out: ByteSink): void {
  for (const end = p + length; p < end; p++) {
    const b = <u32>load<u8>(p);
    if (b == 0x22) out.byte(b);
    out.byte(b);
  }
}

/** The WHATWG URL serializer's set. */
function writeForm(p: usize, length: u32, out: ByteSink): void {
  for (const end = p + length; p < end; p++) {
    const b = <u32>load<u8>(p);
    if (b - 0x30 < 10 || (b | 0x20) - 0x61 < 26 || b == 0x2a || b == 0x2d || b == 0x2e || b == 0x5f) out.byte(b);
    else if (b == 0x20) out.byte(0x2b);
    else {
      out.byte(0x25);
      out.byte(hexDigit(b >> 4) & (b >> 4 > 9 ? 0xdf : 0xff));
      out.byte(hexDigit(b & 15) & ((b & 15) > 9 ? 0xdf : 0xff));
    }
  }
}

/** Applies a rule to one text, and counts. NULL and DROP leave nothing: where null can be said, the caller says it. */
export function maskInto(rule: Rule, p: usize, length: u32, normal: Normal, encoding: Encoding, out: ByteSink): void {
  rule.count++;
  switch (rule.method) {
    case Method.FULL:
      out.fill(STAR, charactersOf(p, length, encoding));
      return;
    case Method.PARTIAL:
      keepEnds(rule, p, length, encoding, out);
      return;
    case Method.HASH:
      hashText(changetype<HmacKey>(rule.key), p, length, normal, encoding, out);
      return;
    default:
      return;
  }
}

export function charactersOf(p: usize, length: u32, encoding: Encoding): u32 {
  return isSingleByte(encoding) ? length : countCharacters(p, length);
}

/** The first and last characters stay, the others become stars; all do in a text of no more characters than would stay. */
function keepEnds(rule: Rule, p: usize, length: u32, encoding: Encoding, out: ByteSink): void {
  const characters = charactersOf(p, length, encoding),
    kept = rule.keepFirst + rule.keepLast;
  if (characters <= kept) {
    out.fill(STAR, characters);
    return;
  }
  const end = p + length;
  let head = p,
    tail = end;
  for (let n = rule.keepFirst; n; n--) head += isSingleByte(encoding) ? 1 : widthOf(load<u8>(head));
  for (let n = rule.keepLast; n; n--) {
    tail--;
    if (!isSingleByte(encoding)) while ((<u32>load<u8>(tail) & 0xc0) == 0x80) tail--;
  }
  writeText(p, <u32>(head - p), encoding, out);
  out.fill(STAR, characters - kept);
  writeText(tail, <u32>(end - tail), encoding, out);
}

/**
 * As `maskInto`, of a text with escapes: an escaped character counts as one, stays as it is written or goes whole, and is hashed as
 * what it stands for.
 */
export function maskEscaped(rule: Rule, p: usize, length: u32, normal: Normal, encoding: Encoding, out: ByteSink): void {
  rule.count++;
  const end = p + length,
    singleByte = isSingleByte(encoding);
  switch (rule.method) {
    case Method.FULL:
      out.fill(STAR, escapedCharacters(p, end, singleByte));
      return;
    case Method.PARTIAL: {
      const characters = escapedCharacters(p, end, singleByte),
        kept = rule.keepFirst + rule.keepLast,
        stars = characters <= kept ? characters : characters - kept;
      const head = characters <= kept ? p : skipEscaped(p, end, rule.keepFirst, singleByte),
        tail = characters <= kept ? end : skipEscaped(head, end, stars, singleByte);
      writeText(p, <u32>(head - p), encoding, out);
      out.fill(STAR, stars);
      writeText(tail, <u32>(end - tail), encoding, out);
      return;
    }
    case Method.HASH:
      unescape(p, end, singleByte);
      hashText(changetype<HmacKey>(rule.key), unescaped.ptr, unescaped.length, normal, Encoding.PLAIN, out);
      return;
    default:
      return;
  }
}

/** Length of the character at `p`, escaped or not. */
function writtenWidth(p: usize, end: usize, singleByte: bool): i32 {
  const escape = escapedAt(p, end);
  return escape ? escape : singleByte ? 1 : widthOf(load<u8>(p));
}

function skipEscaped(p: usize, end: usize, characters: u32, singleByte: bool): usize {
  for (; characters && p < end; characters--) p += writtenWidth(p, end, singleByte);
  return p;
}

function escapedCharacters(p: usize, end: usize, singleByte: bool): u32 {
  let n: u32 = 0;
  for (; p < end; n++) p += writtenWidth(p, end, singleByte);
  return n;
}

const unescaped = new ByteSink();

/** Writes what the text stands for into `unescaped`, as UTF-8. */
function unescape(p: usize, end: usize, singleByte: bool): void {
  unescaped.reset();
  while (p < end) {
    const escape = escapedAt(p, end),
      width = escape ? escape : singleByte ? 1 : widthOf(load<u8>(p));
    unescaped.reserve(4);
    unescaped.length += encodeAt(unescaped.ptr + unescaped.length, escape ? escapedCharacter : codePointAt(p, width));
    p += width;
  }
}

const hash = new Sha256();
const tag = memory.data(32);
const normalized = new ByteSink();
const view = new View();

function hashText(key: HmacKey, p: usize, length: u32, normal: Normal, encoding: Encoding, out: ByteSink): void {
  key.begin(hash);
  if (isSingleByte(encoding)) {
    transcode(p, length);
    p = transcoded.ptr;
    length = transcoded.length;
  }
  if (normal == Normal.AS_IS) hash.update(p, length);
  else {
    normalize(p, length, normal);
    hash.update(normalized.ptr, normalized.length);
  }
  writeToken(key, hash, out);
}

const transcoded = new ByteSink();

/** ISO-8859-1 to UTF-8: the same value gives the same token whatever its charset. */
function transcode(p: usize, length: u32): void {
  transcoded.reset();
  transcoded.reserve(length << 1);
  for (const end = p + length; p < end; p++) transcoded.length += encodeAt(transcoded.ptr + transcoded.length, load<u8>(p));
}

function normalize(p: usize, length: u32, normal: Normal): void {
  view.fold(p, length);
  normalized.reset();
  for (let i = 0; i < view.length; i++) {
    const b = <u32>load<u8>(view.ptr + i),
      letter = (b | 0x20) - 0x61 < 26;
    const keep = normal == Normal.LOWER || b - 0x30 < 10 || (normal == Normal.ALPHANUMERIC && letter);
    if (keep) normalized.byte(letter ? (normal == Normal.LOWER ? b | 0x20 : b & ~0x20) : b);
  }
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const TOKEN_CHARACTERS = 22;

/** `tok_` and the first 132 bits of the tag in base64url. */
export function writeToken(key: HmacKey, hash: Sha256, out: ByteSink): void {
  key.finish(hash, tag);
  out.byte(0x74);
  out.byte(0x6f);
  out.byte(0x6b);
  out.byte(0x5f);
  for (let i = 0, bit = 0; i < TOKEN_CHARACTERS; i++, bit += 6) {
    const pair = bswap<u16>(load<u16>(tag + (bit >> 3)));
    out.byte(ALPHABET.charCodeAt((<u32>pair >> (10 - (bit & 7))) & 63));
  }
}
