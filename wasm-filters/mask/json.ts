// JSON (RFC 8259), strictly, as it streams: one pass, a byte at a time where it matters and sixteen where it does not. What no rule
// concerns is copied byte for byte; a token that must be seen whole is carried over from chunk to chunk; nothing else is kept.
import { Normal } from './detectors';
import { find, found, mustSearch } from './find';
import { Encoding, Fit, fitOf, Kind, maskInto, writeToken } from './method';
import { sieveBit } from './path';
import { UNBOUNDED } from './pattern';
import { Method, Plan, Rule } from './plan';
import { HmacKey, Sha256 } from './sha256';
import { ByteSink } from './sink';
import { Masker, Status } from './status';
import { TextStream, writeMasked } from './text';
import { codePointAt, encodeAt, sequenceAt } from './utf8';

export const MAX_DEPTH = 512;
const MAX_NUMBER: u32 = 4096;
/** No detector matches in a number of so few characters that has no exponent. */
const SHORT_NUMBER: usize = 8;
/** The longest key, and the longest string to be masked, of the plain members: no plan holds less. */
const MAX_PLAIN: usize = 60;

/** How documents follow each other in one body. */
export const enum Framing {
  /** There is one. */
  SINGLE,
  /** One to a line: NDJSON, JSON Lines. */
  LINES,
  /** Each after a record separator: RFC 7464. */
  SEQUENCE,
}

/** Where in the grammar the next byte lies. */
const enum At {
  START,
  DOCUMENT,
  AFTER_DOCUMENT,
  VALUE,
  FIRST_ELEMENT,
  FIRST_MEMBER,
  MEMBER,
  COLON,
  AFTER_VALUE,
  /** Inside a string: its bytes leave as they are (or not at all, while muted) … */
  STRING,
  KEY,
  /** … as one star for each character … */
  STARS,
  /** … into a hash … */
  TOKEN,
  /** … or through a search that needs no end. */
  SEARCH,
}

// A level of nesting: flags, the next element's index, the rule that the container was selected by (or -1), how many of its
// members or elements have been kept, the sieve of its members' names, and the row of the path automaton (path.ts).
const FRAME_BYTES: usize = 24;
const IS_OBJECT: u32 = 1;
/** Some path goes on in here. */
const LIVE: u32 = 2;
/** Keys must be seen: for paths, or for detectors. */
const WATCHED: u32 = 4;
function flagsOf(frame: usize): u32 {
  return load<u32>(frame);
}
function inheritedBy(frame: usize): i32 {
  return load<i32>(frame, 8);
}
function keptIn(frame: usize): u32 {
  return load<u32>(frame, 12);
}
function countKept(frame: usize): void {
  store<u32>(frame, load<u32>(frame, 12) + 1, 12);
}
function sieveIn(frame: usize): u64 {
  return load<u64>(frame, 16);
}
function rowOf(frame: usize): usize {
  return frame + FRAME_BYTES;
}

function isSpace(b: u32): bool {
  return b == 0x20 || b == 0x0a || b == 0x0d || b == 0x09;
}
function skipSpace(p: usize, end: usize): usize {
  while (p < end && isSpace(load<u8>(p))) p++;
  return p;
}
function isDigit(b: u32): bool {
  return b - 0x30 < 10;
}
function isNumberByte(b: u32): bool {
  return isDigit(b) || b == 0x2e || b == 0x2d || b == 0x2b || (b | 0x20) == 0x65;
}

/** Which of the sixteen bytes at `p` are not plain inside a string: a quote, a backslash, a control character or no ASCII. */
function specialsAt(p: usize): i32 {
  const v = v128.load(p);
  // Compared as signed, bytes from 0x80 on lie below the space too.
  const below = i8x16.lt_s(v, i8x16.splat(0x20));
  return i8x16.bitmask(v128.or(v128.or(i8x16.eq(v, i8x16.splat(0x22)), i8x16.eq(v, i8x16.splat(0x5c))), below));
}

/** The first byte at or past `p` that is not plain inside a string. */
function skipPlain(p: usize, end: usize): usize {
  for (; p + 16 <= end; p += 16) {
    const special = specialsAt(p);
    if (special) return p + ctz(special);
  }
  for (; p < end; p++) {
    const b = <u32>load<u8>(p);
    if (b - 0x20 >= 0x60 || b == 0x22 || b == 0x5c) break;
  }
  return p;
}

/** The four hexadecimal digits at `p`, or -1. */
function hexUnit(p: usize): i32 {
  let unit = 0;
  for (const end = p + 4; p < end; p++) {
    const b = <u32>load<u8>(p),
      letter = (b | 0x20) - 0x61;
    if (!isDigit(b) && letter >= 6) return -1;
    unit = (unit << 4) | <i32>(isDigit(b) ? b - 0x30 : letter + 10);
  }
  return unit;
}

/** Bytes of the escape at `p`; 0 when it goes on past `end`; -1 when it is none. */
function escapeLength(p: usize, end: usize): i32 {
  if (p + 1 >= end) return 0;
  switch (<u32>load<u8>(p, 1)) {
    case 0x22:
    case 0x5c:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return 2;
    case 0x75:
      return p + 6 > end ? 0 : hexUnit(p + 2) < 0 ? -1 : 6;
    default:
      return -1;
  }
}

function simpleEscape(letter: u32): u32 {
  switch (letter) {
    case 0x62:
      return 0x08;
    case 0x66:
      return 0x0c;
    case 0x6e:
      return 0x0a;
    case 0x72:
      return 0x0d;
    case 0x74:
      return 0x09;
    default:
      return letter;
  }
}

/** The code point that the last `characterEnd` read. */
let character: u32 = 0;

/** Past the whole character, escaped or not, that begins at `p` (not a quote); `p` when it goes on past `end`; 0 when it is malformed. */
function characterEnd(p: usize, end: usize): usize {
  const b = <u32>load<u8>(p);
  if (b != 0x5c) {
    const n = b < 0x20 ? -1 : sequenceAt(p, end);
    if (n > 0) character = codePointAt(p, n);
    return n < 0 ? 0 : p + n;
  }
  const n = escapeLength(p, end);
  if (n <= 0) return n < 0 ? 0 : p;
  if (n == 2) {
    character = simpleEscape(load<u8>(p, 1));
    return p + 2;
  }
  character = hexUnit(p + 2);
  if ((character & 0xfc00) != 0xd800) return p + 6;
  // A high surrogate: with a low one after it, it is half of a character.
  if (p + 6 >= end) return p;
  if (load<u8>(p, 6) != 0x5c) return p + 6;
  if (p + 7 >= end) return p;
  if (load<u8>(p, 7) != 0x75) return p + 6;
  if (p + 12 > end) return p;
  const low = hexUnit(p + 8);
  if ((low & 0xfc00) != 0xdc00) return p + 6;
  character = 0x10000 + ((character & 0x3ff) << 10) + (low & 0x3ff);
  return p + 12;
}

/** Text without its escapes. Owner: whoever called `unescape` last. */
const plain = new ByteSink();

/** Unescapes into `plain` what is known to be well formed and complete. */
function unescape(p: usize, end: usize): void {
  plain.reset();
  plain.reserve(<u32>(end - p));
  while (p < end) {
    const run = skipPlain(p, end);
    plain.write(p, <u32>(run - p));
    p = run;
    if (p < end) p = appendCharacter(p, end);
  }
}

/** Appends one character to `plain`; past it, or `p` or 0 as `characterEnd` says. At the end of a complete text, no surrogate waits for another. */
function appendCharacter(p: usize, end: usize): usize {
  const next = characterEnd(p, end);
  if (!next) return 0;
  if (next == p) {
    plain.reserve(3);
    plain.length += encodeAt(plain.ptr + plain.length, hexUnit(p + 2));
    return p + 6;
  }
  plain.reserve(4);
  plain.length += encodeAt(plain.ptr + plain.length, character);
  return next;
}

const NULL_TEXT = memory.data<u8>([0x6e, 0x75, 0x6c, 0x6c]);
const TRUE_TEXT = memory.data<u8>([0x74, 0x72, 0x75, 0x65]);
const FALSE_TEXT = memory.data<u8>([0x66, 0x61, 0x6c, 0x73, 0x65]);

export class JsonMasker extends Masker {
  private at: At = At.START;
  private status: Status = Status.OK;
  private depth: i32 = 0;
  /** While a value is left out: the depth at which it ends; otherwise -1. */
  private muted: i32 = -1;
  /** The rule that selects the next value by path, or -1. */
  private rule: i32 = -1;
  private frames: ArrayBuffer = new ArrayBuffer(0);
  private frameBytes: usize = 0;
  private capacity: i32 = 8;
  /** Input from the beginning of an unfinished token on. */
  private carry: ByteSink = new ByteSink(256);
  /** Of a carried token that has a string: up to where that is scanned, and whether it has escapes. */
  private seen: usize = 0;
  private escaped: bool = false;
  /** Input from here on, up to the byte at hand, is to be copied. */
  private from: usize = 0;
  /** Where the next chunk must begin, when `run` stops before the end. */
  private rest: usize = 0;
  private hash: Sha256 | null = null;
  private search: TextStream | null = null;

  constructor(
    private plan: Plan,
    private framing: Framing,
  ) {
    super();
    this.frameBytes = FRAME_BYTES + plan.paths.rowBytes;
    this.frames = new ArrayBuffer(<i32>this.frameBytes * this.capacity);
  }

  write(ptr: usize, len: i32, out: ByteSink): Status {
    if (this.status != Status.OK) return this.status;
    if (!this.carry.length) return this.take(ptr, ptr + len, false, out);
    this.carry.write(ptr, len);
    return this.take(this.carry.ptr, this.carry.ptr + this.carry.length, false, out);
  }

  end(out: ByteSink): Status {
    if (this.status != Status.OK) return this.status;
    const status = this.take(this.carry.ptr, this.carry.ptr + this.carry.length, true, out);
    if (status == Status.OK && (this.carry.length || this.at > At.AFTER_DOCUMENT)) this.fail(Status.MALFORMED);
    return this.status;
  }

  /** Makes the masker ready for another body under the same plan. */
  reset(): void {
    this.at = At.START;
    this.status = Status.OK;
    this.depth = 0;
    this.muted = this.rule = -1;
    this.carry.reset();
    this.seen = 0;
  }

  private take(p: usize, end: usize, final: bool, out: ByteSink): Status {
    const rest = this.run(p, end, final, out);
    if (this.status != Status.OK) return this.status;
    this.flush(rest, out);
    const kept = <u32>(end - rest);
    this.carry.reset();
    if (!kept) return Status.OK;
    this.carry.reserve(kept);
    memory.copy(this.carry.ptr, rest, kept);
    this.carry.length = kept;
    return Status.OK;
  }

  /** Answers an address that is never reached, so that every loop ends. */
  private fail(status: Status): usize {
    if (this.status == Status.OK) this.status = status;
    return 0;
  }

  /** The token that begins at `token` goes on past the end of the input. */
  @inline private wait(token: usize): usize {
    this.rest = token;
    return 0;
  }

  @inline private flush(p: usize, out: ByteSink): void {
    if (this.muted < 0 && p > this.from) out.write(this.from, <u32>(p - this.from));
    this.from = p;
  }

  @inline private frame(depth: i32): usize {
    return changetype<usize>(this.frames) + <usize>depth * this.frameBytes;
  }

  /** Reads up to `end`; where the next chunk must begin. */
  private run(p: usize, end: usize, final: bool, out: ByteSink): usize {
    this.from = p;
    this.rest = end;
    while (p < end) {
      const b = <u32>load<u8>(p);
      if (this.at <= At.AFTER_VALUE && b <= 0x20 && this.at != At.START) {
        if (b == 0x1e && this.framing == Framing.SEQUENCE && this.at <= At.AFTER_DOCUMENT) this.at = At.DOCUMENT;
        else if (!isSpace(b)) return this.fail(Status.MALFORMED);
        else if (b == 0x0a && this.at == At.AFTER_DOCUMENT && this.framing == Framing.LINES) this.at = At.DOCUMENT;
        p++;
        continue;
      }
      let next: usize;
      switch (this.at) {
        case At.START:
          next = this.byteOrderMark(p, end, final);
          break;
        case At.DOCUMENT:
          this.rule = -1;
          this.plan.paths.root(rowOf(this.frame(1)));
          this.at = At.VALUE;
          next = this.value(p, end, b, final, out);
          break;
        case At.VALUE:
          next = this.value(p, end, b, final, out);
          break;
        case At.FIRST_ELEMENT:
          if (b == 0x5d) {
            next = this.close(p, b);
            break;
          }
          this.element(p, false, out);
          next = p;
          break;
        case At.FIRST_MEMBER:
          if (b == 0x7d) {
            next = this.close(p, b);
            break;
          }
          next = b == 0x22 && !this.seen ? this.plainMembers(p, p, end, out) : p;
          if (next > p) break;
          next = flagsOf(this.frame(this.depth)) & WATCHED ? this.member(p, end, out) : this.key(p, end, b);
          break;
        case At.MEMBER:
          next = this.key(p, end, b);
          break;
        case At.COLON:
          if (b != 0x3a) return this.fail(Status.MALFORMED);
          this.at = At.VALUE;
          this.rule = inheritedBy(this.frame(this.depth));
          next = p + 1;
          break;
        case At.AFTER_VALUE:
          next = this.afterValue(p, end, b, final, out);
          break;
        case At.STRING:
          next = this.copied(p, end, At.STRING);
          break;
        case At.KEY:
          next = this.copied(p, end, At.KEY);
          break;
        case At.STARS:
          next = this.stars(p, end, out);
          break;
        case At.TOKEN:
          next = this.hashed(p, end, out);
          break;
        case At.SEARCH:
          next = this.searched(p, end, out);
          break;
        default:
          return this.fail(Status.MALFORMED); // something after the document
      }
      if (!next) return this.rest;
      p = next;
    }
    return end;
  }

  private byteOrderMark(p: usize, end: usize, final: bool): usize {
    if (load<u8>(p) == 0xef) {
      const n = <i32>min<usize>(end - p, 3);
      if ((n > 1 && load<u8>(p, 1) != 0xbb) || (n > 2 && load<u8>(p, 2) != 0xbf) || (n < 3 && final)) return this.fail(Status.MALFORMED);
      if (n < 3) return this.wait(p);
      p += 3;
    }
    this.at = At.DOCUMENT;
    return p;
  }

  private afterValue(p: usize, end: usize, b: u32, final: bool, out: ByteSink): usize {
    if (b != 0x2c) return this.close(p, b);
    const flags = flagsOf(this.frame(this.depth));
    if (!(flags & IS_OBJECT)) {
      this.element(p, true, out);
      if (++p == end) return p;
      const first = <u32>load<u8>(p);
      return first > 0x20 ? this.value(p, end, first, final, out) : p;
    }
    if (!this.seen) {
      const quote = skipSpace(p + 1, end),
        next = quote < end && load<u8>(quote) == 0x22 ? this.plainMembers(p, quote, end, out) : p;
      if (next > p) return next;
    }
    if (flags & WATCHED) return this.member(p, end, out);
    this.at = At.MEMBER;
    return p + 1;
  }

  /**
   * Most bytes of most documents pass here: members, from the quote of the first one's key on, that are written plainly (strings without
   * escapes, numbers without exponent, all ASCII, and literals), lie whole in this chunk, and have to be masked not at all or as a short string by
   * path. `token` is where the first member begins: at its comma, if it has one. Goes on from behind the last of them; a member that is not so is left
   * to the others, from its comma on or, once its key is known, from its value on.
   */
  private plainMembers(token: usize, quote: usize, end: usize, out: ByteSink): usize {
    const plan = this.plan,
      muted = this.muted >= 0,
      searched = plan.detects && !muted;
    if (plan.drops && !muted) return token;
    const frame = this.frame(this.depth),
      row = rowOf(frame),
      child = rowOf(this.frame(this.depth + 1)),
      live = (flagsOf(frame) & LIVE) != 0,
      sieve = sieveIn(frame),
      inherited = inheritedBy(frame);
    while (true) {
      const name = quote + 1,
        close = this.skipShort(name, end),
        length = <u32>(close - name);
      if (close + 2 >= end || load<u8>(close) != 0x22 || close - token > MAX_PLAIN) return token;
      if (searched && mustSearch(plan, name, length)) return token;
      let value = close + 1;
      if (load<u8>(value) != 0x3a) return token;
      if (load<u8>(++value) == 0x20) value++;
      if (value == end) return token;
      const rule = sieve & sieveBit(name, length) ? this.earlier(plan.paths.member(row, child, name, length), inherited) : inherited;
      let next: usize = 0;
      const b = <u32>load<u8>(value);
      if (b == 0x22) {
        next = this.skipShort(value + 1, end);
        if (next == end || load<u8>(next) != 0x22) next = 0;
        else if (rule < 0) next = searched && mustSearch(plan, value + 1, <u32>(next - value - 1)) ? 0 : next + 1;
        else next = next - value > MAX_PLAIN ? 0 : this.maskPlain(unchecked(plan.rules[rule]), value, next, out);
      } else if (rule < 0) {
        if (b <= 0x39) next = isDigit(b) || b == 0x2d ? plainNumberEnd(value, end) : 0;
        else next = literalEnd(value, end);
        if (searched && (plan.hasPatterns || next - value > SHORT_NUMBER)) next = 0;
      }
      if (!next) {
        this.at = At.VALUE;
        this.rule = rule;
        // The sieve may have spared the step; what may be a container needs its row.
        if (live && b != 0x22) plan.paths.member(row, child, name, length);
        return value;
      }
      this.at = At.AFTER_VALUE;
      token = next;
      if (token + 1 >= end) return token;
      if (load<u8>(token) != 0x2c) return load<u8>(token) == 0x7d ? this.close(token, 0x7d) : token;
      quote = token + 1;
      if (load<u8>(quote) != 0x22) {
        quote = skipSpace(quote, end);
        if (quote == end || load<u8>(quote) != 0x22) return token;
      }
    }
  }

  /** As `skipPlain`, without a call where the text is short, as most are. */
  @inline private skipShort(p: usize, end: usize): usize {
    if (p + 16 > end) return skipPlain(p, end);
    const special = specialsAt(p);
    return special ? p + ctz(special) : skipPlain(p + 16, end);
  }

  /** Masks a short string of plain characters between the quotes at `open` and `close`, and answers where it ends. */
  private maskPlain(rule: Rule, open: usize, close: usize, out: ByteSink): usize {
    if (fitOf(rule.method, Kind.STRING) == Fit.NULL) this.replaceScalar(rule, open, close + 1, Kind.STRING, out);
    else {
      this.flush(open + 1, out);
      maskInto(rule, open + 1, <u32>(close - open - 1), Normal.AS_IS, Encoding.JSON, out);
      this.from = close;
    }
    return close + 1;
  }

  private close(p: usize, b: u32): usize {
    if (b != (flagsOf(this.frame(this.depth)) & IS_OBJECT ? 0x7d : 0x5d)) return this.fail(Status.MALFORMED);
    this.depth--;
    return this.done(p + 1);
  }

  /** A value ends before `p`. */
  @inline private done(p: usize): usize {
    this.at = this.depth ? At.AFTER_VALUE : At.AFTER_DOCUMENT;
    if (this.muted == this.depth) {
      this.muted = -1;
      this.from = p;
    }
    return p;
  }

  /** Nothing more of the value that begins now comes out. Writes what comes before `p`. */
  private mute(p: usize, out: ByteSink): void {
    this.flush(p, out);
    this.muted = this.depth;
  }

  /** The earlier of the rule that selects a value itself and the one that its container was selected by. */
  @inline private earlier(selected: i32, inherited: i32): i32 {
    return selected < 0 || (inherited >= 0 && inherited < selected) ? inherited : selected;
  }

  @inline private isDrop(rule: i32): bool {
    return rule >= 0 && this.plan.rules[rule].method == Method.DROP;
  }

  /** An element is about to come; `p` is at its comma, or, for the first, at itself. */
  private element(p: usize, comma: bool, out: ByteSink): void {
    const frame = this.frame(this.depth);
    this.at = At.VALUE;
    this.rule = inheritedBy(frame);
    if (flagsOf(frame) & LIVE) {
      const index = load<u32>(frame, 4);
      store<u32>(frame, index + 1, 4);
      this.rule = this.earlier(this.plan.paths.element(rowOf(frame), rowOf(this.frame(this.depth + 1)), index), this.rule);
    }
    if (this.plan.drops && this.muted < 0) this.keepOrDrop(frame, p, comma, out);
  }

  /** Takes a member or an element out, with the comma before it; or keeps it, without its comma when all before it were taken out. */
  private keepOrDrop(frame: usize, p: usize, comma: bool, out: ByteSink): bool {
    if (this.isDrop(this.rule)) {
      this.plan.rules[this.rule].count++;
      this.mute(p, out);
      return false;
    }
    if (comma && !keptIn(frame)) {
      this.flush(p, out);
      this.from = p + 1;
    }
    countKept(frame);
    return true;
  }

  /** A key that no rule concerns, from its quote on. */
  private key(p: usize, end: usize, b: u32): usize {
    if (b != 0x22) return this.fail(Status.MALFORMED);
    this.at = At.KEY;
    return this.copied(p + 1, end, At.KEY);
  }

  /** The bytes of a string that nothing more is asked of. */
  private copied(p: usize, end: usize, at: At): usize {
    const quote = this.scan(p, end);
    if (!quote) return 0;
    if (at == At.STRING) return this.done(quote + 1);
    if (quote + 1 < end && load<u8>(quote, 1) == 0x3a) {
      this.at = At.VALUE;
      this.rule = inheritedBy(this.frame(this.depth));
      return quote + 2;
    }
    this.at = At.COLON;
    return quote + 1;
  }

  /** The closing quote of a string in which `p` lies; 0 when it is not there yet (`rest` is then up to where it is scanned) or malformed. */
  private scan(p: usize, end: usize): usize {
    while (true) {
      p = skipPlain(p, end);
      if (p == end) return this.wait(p);
      const b = <u32>load<u8>(p);
      if (b == 0x22) return p;
      let n: i32;
      if (b == 0x5c) {
        n = escapeLength(p, end);
        this.escaped = true;
      } else n = b < 0x20 ? -1 : sequenceAt(p, end);
      if (n < 0) return this.fail(Status.MALFORMED);
      if (!n) return this.wait(p);
      p += n;
    }
  }

  /** As `scan`, of the string that opens at `quote` inside the token that begins at `token`, which is carried over until it is complete. */
  private scanHeld(token: usize, quote: usize, end: usize): usize {
    const from = this.seen ? token + this.seen : quote + 1;
    if (!this.seen) this.escaped = false;
    const close = this.scan(from, end);
    this.seen = 0;
    if (close || this.status != Status.OK) return close;
    this.seen = this.rest - token;
    return this.wait(token);
  }

  /** The text between the quotes at `open` and `close`, without escapes, into `plain` if it has any; its length into `textLength`. */
  private textBetween(open: usize, close: usize): usize {
    if (!this.escaped) {
      this.textLength = <u32>(close - open - 1);
      return open + 1;
    }
    unescape(open + 1, close);
    this.textLength = plain.length;
    return plain.ptr;
  }
  private textLength: u32 = 0;

  /** A member whose key must be seen, from its comma or, for the first, from its quote on, up to its colon. */
  private member(p: usize, end: usize, out: ByteSink): usize {
    const comma = this.at == At.AFTER_VALUE;
    let open = p;
    if (comma) {
      for (open++; open < end && isSpace(load<u8>(open)); ) open++;
      if (open == end) return this.heldKey(p, end);
    }
    if (load<u8>(open) != 0x22) return this.fail(Status.MALFORMED);
    const close = this.scanHeld(p, open, end);
    if (!close) return this.heldKey(p, end);
    let colon = close + 1;
    while (colon < end && isSpace(load<u8>(colon))) colon++;
    if (colon == end) {
      this.seen = close - p;
      return this.heldKey(p, end);
    }
    if (load<u8>(colon) != 0x3a) return this.fail(Status.MALFORMED);
    if (<u32>(colon - p) > this.plan.maxTokenBytes) return this.fail(Status.TOKEN_TOO_LONG);

    const frame = this.frame(this.depth),
      name = this.textBetween(open, close),
      length = this.textLength;
    this.at = At.VALUE;
    this.rule = inheritedBy(frame);
    if (flagsOf(frame) & LIVE)
      this.rule = this.earlier(this.plan.paths.member(rowOf(frame), rowOf(this.frame(this.depth + 1)), name, length), this.rule);
    if (this.plan.drops && !this.keepOrDrop(frame, p, comma, out)) return colon + 1;
    if (this.plan.detects && this.muted < 0 && !this.maskContent(name, length, open, close, true, out)) return 0;
    return colon + 1;
  }

  private heldKey(p: usize, end: usize): usize {
    return this.status == Status.OK && <u32>(end - p) > this.plan.maxTokenBytes ? this.fail(Status.TOKEN_TOO_LONG) : this.wait(p);
  }

  /** Masks what the detectors find in the text of the string between the quotes at `open` and `close`; false when the search fails. */
  private maskContent(text: usize, length: u32, open: usize, close: usize, isKey: bool, out: ByteSink): bool {
    const status = find(this.plan, text, length, 0, true, false);
    if (status != Status.OK) {
      this.fail(status);
      return false;
    }
    if (!found.length) return true;
    if (!isKey && found.start(0) == 0 && found.end(0) == length) {
      const rule = this.plan.rules[found.rule(0)];
      if (fitOf(rule.method, Kind.STRING) == Fit.NULL) {
        this.replaceScalar(rule, open, close + 1, Kind.STRING, out);
        return true;
      }
    }
    this.flush(open + 1, out);
    writeMasked(this.plan, text, 0, length, Normal.AS_IS, Encoding.JSON, out);
    this.from = close;
    return true;
  }

  private value(p: usize, end: usize, b: u32, final: bool, out: ByteSink): usize {
    switch (b) {
      case 0x22:
        return this.string(p, end, out);
      case 0x7b:
      case 0x5b:
        return this.open(p, b == 0x7b, out);
      case 0x74:
        return this.literal(p, end, TRUE_TEXT, 4, Kind.BOOLEAN, out);
      case 0x66:
        return this.literal(p, end, FALSE_TEXT, 5, Kind.BOOLEAN, out);
      case 0x6e:
        return this.literal(p, end, NULL_TEXT, 4, Kind.NULL, out);
      default:
        return b == 0x2d || isDigit(b) ? this.number(p, end, final, out) : this.fail(Status.MALFORMED);
    }
  }

  /** An object or an array begins. Selected, it is masked whole: its row of the automaton stays, for rules that come before. */
  private open(p: usize, isObject: bool, out: ByteSink): usize {
    if (this.depth == MAX_DEPTH) return this.fail(Status.TOO_DEEP);
    const rule = this.muted < 0 ? this.rule : -1;
    if (rule >= 0 && this.plan.rules[rule].method == Method.NULL) this.nullify(rule, p, out);
    const known = this.depth == 0 || (flagsOf(this.frame(this.depth)) & LIVE) != 0;
    // One frame more than the depth: a child's row is filled before it is known to be a container.
    if (++this.depth + 2 > this.capacity) this.deepen();
    const frame = this.frame(this.depth),
      row = rowOf(frame),
      paths = this.plan.paths;
    const live = known && this.muted < 0 && !paths.isEmpty(row);
    const watched = isObject && (live || (this.plan.detects && this.muted < 0));
    store<u32>(frame, u32(isObject) | (live ? LIVE : 0) | (watched ? WATCHED : 0));
    store<u32>(frame, 0, 4);
    store<i32>(frame, this.muted < 0 ? rule : -1, 8);
    store<u32>(frame, 0, 12);
    store<u64>(frame, live && isObject ? paths.sieve(row) : 0, 16);
    this.at = isObject ? At.FIRST_MEMBER : At.FIRST_ELEMENT;
    return p + 1;
  }

  private deepen(): void {
    const deeper = new ArrayBuffer(<i32>this.frameBytes * this.capacity * 2);
    memory.copy(changetype<usize>(deeper), changetype<usize>(this.frames), this.frameBytes * this.capacity);
    this.frames = deeper;
    this.capacity *= 2;
  }

  /** Writes null in place of the value that begins at `p`, and mutes it. */
  private nullify(rule: i32, p: usize, out: ByteSink): void {
    this.plan.rules[rule].count++;
    this.flush(p, out);
    out.write(NULL_TEXT, 4);
    this.muted = this.depth;
  }

  private literal(p: usize, end: usize, text: usize, length: usize, kind: Kind, out: ByteSink): usize {
    const there = min<usize>(end - p, length);
    if (memory.compare(p, text, there) != 0) return this.fail(Status.MALFORMED);
    if (there < length) return this.wait(p);
    if (this.rule >= 0 && this.muted < 0 && kind != Kind.NULL) this.replaceScalar(this.plan.rules[this.rule], p, p + length, kind, out);
    return this.done(p + length);
  }

  private number(p: usize, end: usize, final: bool, out: ByteSink): usize {
    let stop = plainNumberEnd(p, end);
    if (!stop) {
      for (stop = p; stop < end && isNumberByte(load<u8>(stop)); ) stop++;
      if (<u32>(stop - p) > MAX_NUMBER) return this.fail(Status.TOKEN_TOO_LONG);
      if (stop == end && !final) return this.wait(p);
      if (!isNumber(p, stop)) return this.fail(Status.MALFORMED);
    }
    if (this.muted < 0) {
      if (this.rule >= 0) this.replaceScalar(this.plan.rules[this.rule], p, stop, Kind.NUMBER, out);
      else if (this.plan.detects && (this.plan.hasPatterns || stop - p > SHORT_NUMBER || hasExponent(p, stop)))
        this.searchNumber(p, stop, out);
    }
    return this.done(stop);
  }

  /** Puts what the table says in place of a number or a literal. */
  private replaceScalar(rule: Rule, p: usize, end: usize, kind: Kind, out: ByteSink): void {
    this.flush(p, out);
    this.from = end;
    if (fitOf(rule.method, kind) == Fit.TOKEN) {
      out.byte(0x22);
      maskInto(rule, p, <u32>(end - p), Normal.AS_IS, Encoding.JSON, out);
      out.byte(0x22);
    } else {
      rule.count++;
      out.write(NULL_TEXT, 4);
    }
  }

  /** A number in which a detector finds something is masked whole. It is read as it is written, and as the integer that it is. */
  private searchNumber(p: usize, end: usize, out: ByteSink): void {
    let status = find(this.plan, p, <i32>(end - p), 0, true, false);
    if (status == Status.OK && !found.length && integerInto(plain, p, end))
      status = find(this.plan, plain.ptr, plain.length, 0, true, false);
    if (status != Status.OK) this.fail(status);
    else if (found.length) this.replaceScalar(this.plan.rules[found.rule(0)], p, end, Kind.NUMBER, out);
  }

  /** A string value, from its quote on. */
  private string(p: usize, end: usize, out: ByteSink): usize {
    if (this.muted >= 0) return this.copy(p, end);
    if (this.rule < 0) return this.plan.detects ? this.heldString(p, end, null, out) : this.copy(p, end);
    const rule = this.plan.rules[this.rule];
    switch (rule.method) {
      case Method.FULL:
        return this.beginStars(rule, p, out);
      case Method.PARTIAL:
        return this.heldString(p, end, rule, out);
      case Method.HASH: {
        let hash = this.hash;
        if (!hash) this.hash = hash = new Sha256();
        changetype<HmacKey>(rule.key).begin(hash);
        rule.count++;
        this.flush(p + 1, out);
        this.at = At.TOKEN;
        return p + 1;
      }
      default: // NULL; what is dropped is muted already
        this.nullify(this.rule, p, out);
        return this.copy(p, end);
    }
  }

  @inline private copy(p: usize, end: usize): usize {
    this.at = At.STRING;
    return this.copied(p + 1, end, At.STRING);
  }

  private beginStars(rule: Rule, p: usize, out: ByteSink): usize {
    rule.count++;
    this.flush(p + 1, out);
    this.at = At.STARS;
    return p + 1;
  }

  /** A string that must be seen whole: for its ends (`rule`), or for what the detectors find in it (null). */
  private heldString(p: usize, end: usize, rule: Rule | null, out: ByteSink): usize {
    const close = this.scanHeld(p, p, end);
    if (this.status != Status.OK) return 0;
    if (<u32>((close ? close : end) - p - 1) > this.plan.maxTokenBytes) {
      this.seen = 0;
      return rule ? this.beginStars(rule, p, out) : this.beginSearch(p, out);
    }
    if (!close) return 0;
    const text = this.textBetween(p, close),
      length = this.textLength;
    if (rule) {
      this.flush(p + 1, out);
      maskInto(rule, text, length, Normal.AS_IS, Encoding.JSON, out);
      this.from = close;
    } else if (!this.maskContent(text, length, p, close, false, out)) return 0;
    return this.done(close + 1);
  }

  private stars(p: usize, end: usize, out: ByteSink): usize {
    let characters: u32 = 0;
    while (true) {
      const run = skipPlain(p, end);
      characters += <u32>(run - p);
      p = run;
      if (p == end || load<u8>(p) == 0x22) break;
      const next = characterEnd(p, end);
      if (!next) return this.fail(Status.MALFORMED);
      if (next == p) break;
      characters++;
      p = next;
    }
    out.fill(0x2a, characters);
    return this.leave(p, end);
  }

  /** Up to `p` the string has been dealt with: it ends there, or waits for more. */
  private leave(p: usize, end: usize): usize {
    this.from = p;
    return p < end && load<u8>(p) == 0x22 ? this.done(p + 1) : this.wait(p);
  }

  private hashed(p: usize, end: usize, out: ByteSink): usize {
    const hash = changetype<Sha256>(this.hash);
    const from = this.gather(p, end);
    if (!from) return 0;
    hash.update(plain.ptr, plain.length);
    if (from < end && load<u8>(from) == 0x22) writeToken(changetype<HmacKey>(this.plan.rules[this.rule].key), hash, out);
    return this.leave(from, end);
  }

  /** A string too long to be seen whole, where matches are short: it is searched as it streams. */
  private beginSearch(p: usize, out: ByteSink): usize {
    if (this.plan.reach == UNBOUNDED) return this.fail(Status.TOKEN_TOO_LONG);
    let search = this.search;
    if (!search) this.search = search = new TextStream(this.plan, Encoding.JSON);
    search.reset();
    this.flush(p + 1, out);
    this.at = At.SEARCH;
    return p + 1;
  }

  private searched(p: usize, end: usize, out: ByteSink): usize {
    const search = changetype<TextStream>(this.search);
    const from = this.gather(p, end);
    if (!from) return 0;
    let status = search.write(plain.ptr, plain.length, out);
    if (status == Status.OK && from < end && load<u8>(from) == 0x22) status = search.end(out);
    return status == Status.OK ? this.leave(from, end) : this.fail(status);
  }

  /** Unescapes into `plain` up to the string's end or the last whole character; its address, or 0 when it is malformed. */
  private gather(p: usize, end: usize): usize {
    plain.reset();
    while (true) {
      const run = skipPlain(p, end);
      plain.write(p, <u32>(run - p));
      p = run;
      if (p == end || load<u8>(p) == 0x22) return p;
      const next = characterEnd(p, end);
      if (!next) return this.fail(Status.MALFORMED);
      if (next == p) return p;
      plain.reserve(4);
      plain.length += encodeAt(plain.ptr + plain.length, character);
      p = next;
    }
  }
}

/** Past a number that is plainly one: digits, and digits after a point, and then something else. Otherwise 0. */
function plainNumberEnd(p: usize, end: usize): usize {
  if (load<u8>(p) == 0x2d) p++;
  const integer = p;
  p = digitsEnd(p, end);
  if (p == integer || p - integer > 32 || (load<u8>(integer) == 0x30 && p > integer + 1)) return 0;
  if (p < end && load<u8>(p) == 0x2e) {
    const fraction = p + 1;
    p = digitsEnd(fraction, end);
    if (p == fraction || p - fraction > 32) return 0;
  }
  if (p == end) return 0;
  const b = <u32>load<u8>(p);
  return b == 0x2c || b == 0x7d || !isNumberByte(b) ? p : 0;
}

/** Past the `true`, `false` or `null` at `p`. Otherwise 0. */
function literalEnd(p: usize, end: usize): usize {
  if (p + 5 > end) return 0;
  const word = load<u32>(p);
  if (word == 0x65757274 || word == 0x6c6c756e) return p + 4;
  return word == 0x736c6166 && load<u8>(p, 4) == 0x65 ? p + 5 : 0;
}

/** Whether a short number may stand for a long one. */
function hasExponent(p: usize, end: usize): bool {
  for (; p < end; p++) if ((load<u8>(p) | 0x20) == 0x65) return true;
  return false;
}

/** RFC 8259, section 6. */
function isNumber(p: usize, end: usize): bool {
  if (p < end && load<u8>(p) == 0x2d) p++;
  if (p == end) return false;
  if (load<u8>(p) == 0x30) p++;
  else {
    const from = p;
    p = digitsEnd(p, end);
    if (p == from) return false;
  }
  if (p < end && load<u8>(p) == 0x2e) {
    const from = ++p;
    p = digitsEnd(p, end);
    if (p == from) return false;
  }
  if (p < end && (load<u8>(p) | 0x20) == 0x65) {
    p++;
    if (p < end && (load<u8>(p) == 0x2b || load<u8>(p) == 0x2d)) p++;
    const from = p;
    p = digitsEnd(p, end);
    if (p == from) return false;
  }
  return p == end;
}

function digitsEnd(p: usize, end: usize): usize {
  for (; p + 8 <= end; p += 8) {
    // Each digit becomes 0 to 9; whatever is more sets the highest bit of its byte. A carry reaches only bytes behind the first such.
    const v = load<u64>(p) ^ 0x3030303030303030,
      others = (v | (v + 0x7676767676767676)) & 0x8080808080808080;
    if (others) return p + (<usize>ctz(others) >> 3);
  }
  while (p < end && isDigit(load<u8>(p))) p++;
  return p;
}

const MAX_INTEGER_DIGITS: i32 = 40;

/** Writes a number with a fraction or an exponent as the integer of at most 40 digits that it is; false when it is none. */
function integerInto(out: ByteSink, p: usize, end: usize): bool {
  let point = -1,
    exponent = 0;
  out.reset();
  if (load<u8>(p) == 0x2d) p++;
  for (; p < end && (load<u8>(p) | 0x20) != 0x65; p++) {
    if (load<u8>(p) == 0x2e) point = out.length;
    else out.byte(load<u8>(p));
  }
  if (point < 0 && p == end) return false;
  if (p < end) {
    const negative = load<u8>(++p) == 0x2d;
    if (!isDigit(load<u8>(p))) p++;
    for (; p < end && exponent < 10_000; p++) exponent = exponent * 10 + load<u8>(p) - 0x30;
    if (negative) exponent = -exponent;
  }
  const integerDigits = (point < 0 ? <i32>out.length : point) + exponent;
  if (integerDigits <= 0 || integerDigits > MAX_INTEGER_DIGITS) return false;
  for (let i: u32 = integerDigits; i < out.length; i++) if (load<u8>(out.ptr + i) != 0x30) return false;
  if (integerDigits > <i32>out.length) out.fill(0x30, integerDigits - out.length);
  else out.length = integerDigits;
  return true;
}
