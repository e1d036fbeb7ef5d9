// A custom pattern as a program for a byte-wise nondeterministic automaton (Thompson's construction), and the parser that writes it.
//
//   alternation = sequence *( "|" sequence )
//   sequence    = *( atom [ "?" / "*" / "+" / "{m}" / "{m,}" / "{m,n}" ] )
//   atom        = character / "." / "\" ( d D w W s S b B t ) / "\" punctuation / "[" [ "^" ] members "]" / "(" [ "?:" ] alternation ")" / "^" / "$"
//
// `(?i)` at the very start makes ASCII letters match in either case. There are no backreferences, look-arounds or lazy quantifiers.
// Programs run on folded text (fold.ts), so characters of the pattern are folded too.
import { foldOf, KEEP, LEAVE_OUT } from './fold';
import { codePointAt, sequenceAt } from './utf8';

export const enum Op {
  BYTE,
  SPLIT,
  JUMP,
  LINE_START,
  LINE_END,
  WORD_EDGE,
  NO_WORD_EDGE,
  MATCH,
}

const MAX_PROGRAM = 1024;
const MAX_PATTERN: usize = 1024;
const MAX_GROUPS = 32;
const MAX_REPEAT = 512;
export const UNBOUNDED: u32 = u32.MAX_VALUE;

export class Program {
  ops: Op[] = [];
  /** SPLIT, JUMP: the way that is tried first. BYTE: the index of its set. */
  first: i32[] = [];
  /** SPLIT: the other way. */
  second: i32[] = [];
  /** 256 bits for each set. */
  sets: StaticArray<u64>[] = [];
  /** The longest match in bytes, or UNBOUNDED. */
  reach: u32 = 0;

  @inline get length(): i32 {
    return this.ops.length;
  }

  emit(op: Op, first: i32 = 0, second: i32 = 0): i32 {
    this.ops.push(op);
    this.first.push(first);
    this.second.push(second);
    return this.ops.length - 1;
  }
}

export function inSet(set: StaticArray<u64>, byte: u32): bool {
  return (unchecked(set[byte >> 6]) >> (byte & 63)) & 1 ? true : false;
}
export function isWordByte(b: u32): bool {
  return b - 0x30 < 10 || (b | 0x20) - 0x61 < 26 || b == 0x5f;
}
export function isLineEnd(b: u32): bool {
  return b == 0x0a || b == 0x0d;
}

/** Why the last `compileProgram` answered null, and at which byte. */
export let programError: string = '';
export let programErrorAt: u32 = 0;

export function compileProgram(pattern: usize, length: u32): Program | null {
  return new Compiler(pattern, pattern + length).compile();
}

function range(set: StaticArray<u64>, from: u32, to: u32): void {
  for (let b = from; b <= to; b++) set[b >> 6] |= (<u64>1) << (b & 63);
}

class Compiler {
  private program: Program = new Program();
  private failed: bool = false;
  private anyCase: bool = false;
  private groups: i32 = 0;

  constructor(
    private start: usize,
    private end: usize,
  ) {}

  compile(): Program | null {
    if (this.end - this.start > MAX_PATTERN) return this.refuse('longer than 1024 bytes', this.start);
    let p = this.start;
    while (p < this.end) {
      const n = sequenceAt(p, this.end);
      if (n <= 0) return this.refuse('not UTF-8', p);
      p += n;
    }
    p = this.start;
    if (this.end - p >= 4 && load<u32>(p) == 0x29693f28) {
      this.anyCase = true;
      p += 4;
    } // (?i)
    const stop = this.skipAlternation(p);
    if (!this.failed && stop < this.end) this.fail('")" without "("', stop);
    if (!this.failed) this.alternation(p);
    if (this.failed) return null;
    this.program.emit(Op.MATCH);
    return this.measured();
  }

  private refuse(why: string, at: usize): Program | null {
    this.fail(why, at);
    return null;
  }

  private fail(why: string, at: usize): usize {
    if (!this.failed) {
      programError = why;
      programErrorAt = <u32>(at - this.start);
    }
    this.failed = true;
    return this.end;
  }

  private emit(op: Op, first: i32 = 0, second: i32 = 0): i32 {
    if (this.program.length >= MAX_PROGRAM) {
      this.fail('too big: its repetitions unfold to more than 1024 steps', this.start);
      return 0;
    }
    return this.program.emit(op, first, second);
  }

  @inline private peek(p: usize): u32 {
    return p < this.end ? <u32>load<u8>(p) : 0x100;
  }

  // Skipping finds where a piece ends, and all its syntax errors, so that emitting can repeat a piece and needs to check no more.

  private skipAlternation(p: usize): usize {
    if (++this.groups > MAX_GROUPS) return this.fail('groups nested too deeply', p);
    p = this.skipSequence(p);
    while (!this.failed && this.peek(p) == 0x7c) p = this.skipSequence(p + 1);
    this.groups--;
    return p;
  }

  private skipSequence(p: usize): usize {
    while (!this.failed && p < this.end && this.peek(p) != 0x7c && this.peek(p) != 0x29) p = this.skipQuantifier(this.skipAtom(p));
    return p;
  }

  private skipAtom(p: usize): usize {
    const b = this.peek(p);
    switch (b) {
      case 0x28: {
        // (
        let inner = p + 1;
        if (this.peek(inner) == 0x3f) {
          if (this.peek(inner + 1) != 0x3a) return this.fail('of the "(?" forms only "(?:" is known, and "(?i)" at the start', p);
          inner += 2;
        }
        const close = this.skipAlternation(inner);
        if (this.failed) return this.end;
        return this.peek(close) == 0x29 ? close + 1 : this.fail('"(" without ")"', p);
      }
      case 0x5b:
        return this.skipClass(p);
      case 0x5c: {
        // backslash
        const c = this.peek(p + 1);
        if (c == 0x100) return this.fail('a pattern does not end in "\\"', p);
        if (c >= 0x80 || ((isWordByte(c) || c < 0x20) && !isEscapeLetter(c))) return this.fail('no such escape', p);
        return p + 2;
      }
      case 0x2a:
      case 0x2b:
      case 0x3f:
      case 0x7b:
        return this.fail('nothing to repeat', p);
      default: {
        if (b < 0x20 && b != 0x09) return this.fail('a control character', p);
        const width = sequenceAt(p, this.end);
        if (width > 1 && foldOf(codePointAt(p, width)) == LEAVE_OUT) return this.fail('a character that prints nothing', p);
        return p + width;
      }
    }
  }

  private skipClass(p: usize): usize {
    const open = p++;
    if (this.peek(p) == 0x5e) p++;
    if (this.peek(p) == 0x5d) return this.fail('an empty class; write "\\]" for the bracket itself', open);
    while (true) {
      const b = this.peek(p);
      if (b == 0x100) return this.fail('"[" without "]"', open);
      if (b == 0x5d) return p + 1;
      const low = this.member(p),
        wide = this.memberEnd(p);
      if (this.failed) return this.end;
      p = wide;
      if (this.peek(p) != 0x2d || this.peek(p + 1) == 0x5d) continue;
      const high = this.member(p + 1);
      if (this.failed) return this.end;
      if (low < 0 || high < 0 || high < low) return this.fail('not a range', wide);
      p = this.memberEnd(p + 1);
    }
  }

  /** One member of a class: its byte, or -1 when it is a class itself (`\d`). */
  private member(p: usize): i32 {
    const b = this.peek(p);
    if (b == 0x100) {
      this.fail('"[" without "]"', p);
      return 0;
    }
    if (b >= 0x80) {
      this.fail('only ASCII characters may stand in a class', p);
      return 0;
    }
    if (b != 0x5c) {
      if (b < 0x20 && b != 0x09) this.fail('a control character', p);
      return b;
    }
    const c = this.peek(p + 1);
    if (c == 0x74) return 0x09;
    if (c >= 0x80 || c == 0x62 || c == 0x42 || ((isWordByte(c) || c < 0x20) && !isEscapeLetter(c))) {
      this.fail('no such escape in a class', p);
      return 0;
    }
    return isWordByte(c) ? -1 : c;
  }

  @inline private memberEnd(p: usize): usize {
    return p + (this.peek(p) == 0x5c ? 2 : 1);
  }

  private low: i32 = 0;
  /** -1: without end. */
  private high: i32 = 0;

  /** Reads the quantifier at `p` into `low` and `high`; past it. */
  private quantifier(p: usize): usize {
    this.low = this.high = 1;
    const b = this.peek(p);
    if (b == 0x3f) {
      this.low = 0;
      return p + 1;
    }
    if (b == 0x2a) {
      this.low = 0;
      this.high = -1;
      return p + 1;
    }
    if (b == 0x2b) {
      this.high = -1;
      return p + 1;
    }
    if (b != 0x7b) return p;
    const open = p++;
    let n = 0,
      from = p;
    for (; this.peek(p) - 0x30 < 10 && n <= MAX_REPEAT; p++) n = n * 10 + this.peek(p) - 0x30;
    if (p == from) return this.fail('expected "{m}", "{m,}" or "{m,n}"; write "\\{" for the brace itself', open);
    this.low = this.high = n;
    if (this.peek(p) == 0x2c) {
      from = ++p;
      for (n = 0; this.peek(p) - 0x30 < 10 && n <= MAX_REPEAT; p++) n = n * 10 + this.peek(p) - 0x30;
      this.high = p == from ? -1 : n;
    }
    if (this.peek(p) != 0x7d) return this.fail('expected "{m}", "{m,}" or "{m,n}" of at most 512', open);
    if (this.low > MAX_REPEAT || this.high > MAX_REPEAT || (this.high >= 0 && this.high < this.low) || this.high == 0)
      return this.fail('not a number of times', open);
    return p + 1;
  }

  private skipQuantifier(p: usize): usize {
    if (this.failed) return this.end;
    const after = this.quantifier(p);
    if (this.failed || after == p) return after;
    const b = this.peek(after);
    if (b == 0x3f) return this.fail('lazy quantifiers are not known: the longest match counts', after);
    if (b == 0x2a || b == 0x2b || b == 0x7b) return this.fail('nothing to repeat', after);
    return after;
  }

  private alternation(p: usize): usize {
    const jumps: i32[] = [];
    while (true) {
      const stop = this.skipSequence(p);
      if (this.failed || this.peek(stop) != 0x7c) break;
      const split = this.emit(Op.SPLIT, this.program.length + 1);
      this.sequence(p);
      jumps.push(this.emit(Op.JUMP));
      if (this.failed) return this.end;
      this.program.second[split] = this.program.length;
      p = stop + 1;
    }
    p = this.sequence(p);
    for (let i = 0; i < jumps.length; i++) this.program.first[jumps[i]] = this.program.length;
    return p;
  }

  private sequence(p: usize): usize {
    while (!this.failed && p < this.end && this.peek(p) != 0x7c && this.peek(p) != 0x29) {
      const atomEnd = this.skipAtom(p),
        after = this.quantifier(atomEnd);
      const low = this.low,
        high = this.high;
      // An atom that takes no step, such as "()", is the same once as a thousand times.
      for (let i = 0, was = -1; i < low && !this.failed && this.program.length != was; i++) {
        was = this.program.length;
        this.atom(p);
      }
      if (high < 0) {
        const split = this.emit(Op.SPLIT, this.program.length + 1);
        this.atom(p);
        this.emit(Op.JUMP, split);
        if (!this.failed) this.program.second[split] = this.program.length;
      } else {
        const splits: i32[] = [];
        for (let i = low; i < high && !this.failed; i++) {
          splits.push(this.emit(Op.SPLIT, this.program.length + 1));
          this.atom(p);
        }
        for (let i = 0; i < splits.length; i++) this.program.second[splits[i]] = this.program.length;
      }
      p = after;
    }
    return p;
  }

  private atom(p: usize): void {
    const b = this.peek(p);
    switch (b) {
      case 0x28:
        this.alternation(p + (this.peek(p + 1) == 0x3f ? 3 : 1));
        return;
      case 0x5b: {
        const set = new StaticArray<u64>(4),
          negated = this.peek(p + 1) == 0x5e;
        for (p += negated ? 2 : 1; this.peek(p) != 0x5d; ) {
          const low = this.member(p);
          if (low < 0) addClass(set, this.peek(p + 1));
          p = this.memberEnd(p);
          if (low < 0) continue;
          if (this.peek(p) == 0x2d && this.peek(p + 1) != 0x5d) {
            range(set, low, this.member(p + 1));
            p = this.memberEnd(p + 1);
          } else range(set, low, low);
        }
        if (negated) this.character(complement(this.cased(set)));
        else this.byte(set);
        return;
      }
      case 0x2e:
        this.character(complement(new StaticArray<u64>(4)));
        return;
      case 0x5e:
        this.emit(Op.LINE_START);
        return;
      case 0x24:
        this.emit(Op.LINE_END);
        return;
      case 0x5c: {
        const c = this.peek(p + 1);
        if (c == 0x62) {
          this.emit(Op.WORD_EDGE);
          return;
        }
        if (c == 0x42) {
          this.emit(Op.NO_WORD_EDGE);
          return;
        }
        const set = new StaticArray<u64>(4);
        if (!isWordByte(c)) range(set, c, c);
        else if (c == 0x74) range(set, 0x09, 0x09);
        else addClass(set, c | 0x20);
        if (isWordByte(c) && c < 0x60) this.character(complement(set));
        else this.byte(set);
        return;
      }
      default: {
        const width = sequenceAt(p, this.end);
        const folds = width == 1 ? <i32>b : foldOf(codePointAt(p, width));
        if (folds == KEEP) {
          for (let i = 0; i < width; i++) this.one(load<u8>(p + i), load<u8>(p + i));
        } else this.one(folds, folds);
      }
    }
  }

  private one(from: u32, to: u32): void {
    const set = new StaticArray<u64>(4);
    range(set, from, to);
    this.byte(set);
  }

  private byte(set: StaticArray<u64>): void {
    this.program.sets.push(this.cased(set));
    this.emit(Op.BYTE, this.program.sets.length - 1);
  }

  private cased(set: StaticArray<u64>): StaticArray<u64> {
    if (this.anyCase) set[1] |= ((set[1] & 0x07fffffe) << 32) | ((set[1] >> 32) & 0x07fffffe);
    return set;
  }

  /** Any whole character but the ASCII ones outside `ascii`: one byte of the set, or a sequence of two to four bytes. */
  private character(ascii: StaticArray<u64>): void {
    const one = this.emit(Op.SPLIT, this.program.length + 1);
    this.byte(ascii);
    const afterOne = this.emit(Op.JUMP);
    const two = this.emit(Op.SPLIT, this.program.length + 1);
    this.one(0xc2, 0xdf);
    const toLast = this.emit(Op.JUMP);
    const three = this.emit(Op.SPLIT, this.program.length + 1);
    this.one(0xe0, 0xef);
    const toMiddle = this.emit(Op.JUMP);
    const four = this.program.length;
    this.one(0xf0, 0xf4);
    this.one(0x80, 0xbf);
    const middle = this.program.length;
    this.one(0x80, 0xbf);
    const last = this.program.length;
    this.one(0x80, 0xbf);
    if (this.failed) return;
    this.program.second[one] = two;
    this.program.first[afterOne] = this.program.length;
    this.program.second[two] = three;
    this.program.first[toLast] = last;
    this.program.second[three] = four;
    this.program.first[toMiddle] = middle;
  }

  /** Its reach, if it cannot match nothing. Every edge goes forward but those that close a loop. */
  private measured(): Program | null {
    const program = this.program,
      n = program.length;
    const longest = new StaticArray<u32>(n),
      shortest = new StaticArray<u32>(n);
    let loops = false;
    for (let i = n - 2; i >= 0; i--) {
      const op = program.ops[i];
      if (op == Op.SPLIT) {
        longest[i] = max(longest[program.first[i]], longest[program.second[i]]);
        shortest[i] = min(shortest[program.first[i]], shortest[program.second[i]]);
      } else if (op == Op.JUMP) {
        const to = program.first[i];
        if (to <= i) {
          loops = true;
          shortest[i] = UNBOUNDED >> 1;
          continue;
        }
        longest[i] = longest[to];
        shortest[i] = shortest[to];
      } else {
        longest[i] = longest[i + 1] + u32(op == Op.BYTE);
        shortest[i] = shortest[i + 1] + u32(op == Op.BYTE);
      }
    }
    if (!shortest[0]) return this.refuse('it matches the empty text', this.start);
    program.reach = loops ? UNBOUNDED : longest[0];
    return program;
  }
}

/** d D w W s S b B t */
function isEscapeLetter(c: u32): bool {
  const lower = c | 0x20;
  return lower == 0x64 || lower == 0x77 || lower == 0x73 || lower == 0x62 || c == 0x74;
}

/** Adds what `\d`, `\w` or `\s` matches to the set; for `\D` and so on, within a class, the ASCII rest. */
function addClass(set: StaticArray<u64>, letter: u32): void {
  const added = new StaticArray<u64>(4);
  switch (letter | 0x20) {
    case 0x64:
      range(added, 0x30, 0x39);
      break;
    case 0x77:
      range(added, 0x30, 0x39);
      range(added, 0x41, 0x5a);
      range(added, 0x61, 0x7a);
      range(added, 0x5f, 0x5f);
      break;
    default:
      range(added, 0x09, 0x09);
      range(added, 0x0b, 0x0c);
      range(added, 0x20, 0x20);
  }
  if (letter < 0x60) complement(added);
  for (let i = 0; i < 4; i++) set[i] |= added[i];
}

/** The other ASCII characters, without the ends of a line: no match crosses one. */
function complement(set: StaticArray<u64>): StaticArray<u64> {
  set[0] = ~set[0] & ~(((<u64>1) << 0x0a) | ((<u64>1) << 0x0d));
  set[1] = ~set[1];
  set[2] = set[3] = 0;
  return set;
}
