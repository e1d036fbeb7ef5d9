// Running custom patterns, in time linear in the text times the program, whatever the pattern: a deterministic automaton, built as it is
// needed, says whether there is a match at all (mostly there is none); only then a simulation of all threads finds the spans.
import { compileProgram, inSet, isLineEnd, isWordByte, Op, Program, programError, programErrorAt } from './program';

/** Past the match that `next` found. */
export let patternEnd: i32 = 0;
/** Steps that simulations may still take on the text at hand; below 0 the search was given up. Owner: find.ts sets it for each text. */
export let budget: i64 = 0;
export function setBudget(steps: i64): void {
  budget = steps;
}

const MAX_STATES = 256;
/** What lies before the position: nothing or a line end, a word character, another. */
const enum Before {
  LINE_START,
  WORD,
  OTHER,
}
const END_OF_TEXT: u32 = 256;
const UNKNOWN: u16 = 0xffff;
const MATCHED: u16 = 0xfffe;

function beforeOf(b: u32): Before {
  return isLineEnd(b) ? Before.LINE_START : isWordByte(b) ? Before.WORD : Before.OTHER;
}

export class Pattern {
  reach: u32;
  private threads: StaticArray<i32>;
  private next_: StaticArray<i32>;
  private starts: StaticArray<i32>;
  private nextStarts: StaticArray<i32>;
  /** Thread lists by instruction: the generation in which it was last put on a list. */
  private marks: StaticArray<u32>;
  private generation: u32 = 0;
  private count: i32 = 0;

  private classes: StaticArray<u16> = new StaticArray<u16>(257);
  private classCount: i32 = 0;
  /** A byte of each class. */
  private samples: StaticArray<u16> = new StaticArray<u16>(257);
  private table: StaticArray<u16> = new StaticArray<u16>(0);
  /** For each state, as words: the instructions alive in it, and what lies before. */
  private sets: StaticArray<u64> = new StaticArray<u64>(0);
  private setWords: i32 = 0;
  private befores: StaticArray<u8> = new StaticArray<u8>(MAX_STATES);
  private states: i32 = 0;
  private scratch: StaticArray<u64> = new StaticArray<u64>(0);

  constructor(private program: Program) {
    const n = program.length;
    this.reach = program.reach;
    this.threads = new StaticArray<i32>(n);
    this.next_ = new StaticArray<i32>(n);
    this.starts = new StaticArray<i32>(n);
    this.nextStarts = new StaticArray<i32>(n);
    this.marks = new StaticArray<u32>(n);
    this.setWords = (n + 63) >> 6;
    this.scratch = new StaticArray<u64>(this.setWords);
    this.classify();
    this.table = new StaticArray<u16>(MAX_STATES * this.classCount);
    this.sets = new StaticArray<u64>(MAX_STATES * this.setWords);
    this.restart();
  }

  /** Bytes that no instruction tells apart share a class. */
  private classify(): void {
    const sets = this.program.sets;
    for (let b: u32 = 0; b <= END_OF_TEXT; b++) {
      let found = -1;
      for (let k = 0; k < this.classCount && found < 0; k++) if (this.alike(sets, b, this.samples[k])) found = k;
      if (found < 0) {
        found = this.classCount++;
        this.samples[found] = <u16>b;
      }
      this.classes[b] = <u16>found;
    }
  }

  private alike(sets: StaticArray<u64>[], a: u32, b: u32): bool {
    if (a == END_OF_TEXT || b == END_OF_TEXT) return a == b;
    if (isLineEnd(a) != isLineEnd(b) || isWordByte(a) != isWordByte(b)) return false;
    for (let i = 0; i < sets.length; i++) if (inSet(sets[i], a) != inSet(sets[i], b)) return false;
    return true;
  }

  /** Forgets all states but the first three: no instruction alive yet, and before them each of `Before`, which is also the state's number. */
  private restart(): void {
    this.states = 0;
    for (let i = 0; i < this.setWords; i++) this.scratch[i] = 0;
    this.intern(Before.LINE_START);
    this.intern(Before.WORD);
    this.intern(Before.OTHER);
  }

  /** The state of the set in `scratch`. */
  private intern(before: Before): u16 {
    for (let s = 0; s < this.states; s++) {
      if (this.befores[s] != <u8>before) continue;
      let i = 0;
      while (i < this.setWords && this.sets[s * this.setWords + i] == this.scratch[i]) i++;
      if (i == this.setWords) return <u16>s;
    }
    const s = this.states++;
    this.befores[s] = <u8>before;
    for (let i = 0; i < this.setWords; i++) this.sets[s * this.setWords + i] = this.scratch[i];
    for (let k = 0; k < this.classCount; k++) this.table[s * this.classCount + k] = UNKNOWN;
    return <u16>s;
  }

  /** Whether there is a match in the text from `at` on. */
  mayMatch(text: usize, length: i32, at: i32): bool {
    let state: u16 = at > 0 ? <u16>beforeOf(load<u8>(text + at - 1)) : <u16>Before.LINE_START;
    const table = this.table,
      classes = this.classes,
      classCount = this.classCount;
    for (let p = text + at, end = text + length; p < end; p++) {
      let to = unchecked(table[<i32>state * classCount + <i32>unchecked(classes[load<u8>(p)])]);
      if (to >= MATCHED) {
        if (to == MATCHED) return true;
        to = this.advance(state, load<u8>(p));
        if (to == MATCHED) return true;
      }
      state = to;
    }
    let last = this.table[<i32>state * this.classCount + <i32>this.classes[END_OF_TEXT]];
    if (last == UNKNOWN) last = this.advance(state, END_OF_TEXT);
    return last == MATCHED;
  }

  /** Computes and remembers where `byte` leads from `state`. */
  private advance(state: u16, byte: u32): u16 {
    const before = <Before>this.befores[state];
    this.begin();
    for (let i = 0; i < this.setWords; i++) {
      for (let bits = this.sets[<i32>state * this.setWords + i]; bits; bits &= bits - 1)
        this.follow((i << 6) + <i32>ctz(bits), 0, before, byte);
    }
    this.follow(0, 0, before, byte);
    for (let i = 0; i < this.setWords; i++) this.scratch[i] = 0;
    let matched = false;
    for (let i = 0; i < this.count; i++) {
      const pc = this.threads[i];
      if (this.program.ops[pc] == Op.MATCH) matched = true;
      else if (byte != END_OF_TEXT && inSet(this.program.sets[this.program.first[pc]], byte))
        this.scratch[(pc + 1) >> 6] |= (<u64>1) << ((pc + 1) & 63);
    }
    const cell = <i32>state * this.classCount + <i32>this.classes[byte];
    if (matched || byte == END_OF_TEXT) return (this.table[cell] = matched ? MATCHED : 0);
    if (this.states < MAX_STATES) return (this.table[cell] = this.intern(beforeOf(byte)));
    // Full: start over with this state as the second. Time is spent, memory is not.
    const kept = this.scratch.slice<StaticArray<u64>>();
    this.restart();
    this.scratch = kept;
    return this.intern(beforeOf(byte));
  }

  @inline private begin(): void {
    this.count = 0;
    this.generation++;
  }

  /** Puts what is reached from `pc` without reading a byte on the list of threads, in order. */
  private follow(pc: i32, start: i32, before: Before, after: u32): void {
    while (unchecked(this.marks[pc]) != this.generation) {
      unchecked((this.marks[pc] = this.generation));
      switch (this.program.ops[pc]) {
        case Op.JUMP:
          pc = this.program.first[pc];
          continue;
        case Op.SPLIT:
          this.follow(this.program.first[pc], start, before, after);
          pc = this.program.second[pc];
          continue;
        case Op.LINE_START:
          if (before != Before.LINE_START) return;
          break;
        case Op.LINE_END:
          if (after != END_OF_TEXT && !isLineEnd(after)) return;
          break;
        case Op.WORD_EDGE:
          if ((before == Before.WORD) == (after != END_OF_TEXT && isWordByte(after))) return;
          break;
        case Op.NO_WORD_EDGE:
          if ((before == Before.WORD) != (after != END_OF_TEXT && isWordByte(after))) return;
          break;
        default:
          unchecked((this.threads[this.count] = pc));
          unchecked((this.starts[this.count++] = start));
          return;
      }
      pc++;
    }
  }

  /** The start of the leftmost match at or past `at`, the longest of those that start there, or -1. Spends `budget`. */
  next(text: usize, length: i32, at: i32): i32 {
    let best = -1,
      alive = 0;
    for (let i = at; i <= length; i++) {
      const before = i > 0 ? beforeOf(load<u8>(text + i - 1)) : Before.LINE_START;
      const byte = i < length ? <u32>load<u8>(text + i) : END_OF_TEXT;
      // `next_` holds what the last byte led to, by start: the earlier a thread began, the earlier it comes.
      this.begin();
      for (let k = 0; k < alive; k++) this.follow(unchecked(this.next_[k]), unchecked(this.nextStarts[k]), before, byte);
      if (best < 0) this.follow(0, i, before, byte);
      alive = 0;
      budget -= this.count + 1;
      if (budget < 0) return -1;
      for (let k = 0; k < this.count; k++) {
        const pc = unchecked(this.threads[k]),
          start = unchecked(this.starts[k]);
        if (best >= 0 && start > best) break;
        if (this.program.ops[pc] == Op.MATCH) {
          best = start;
          patternEnd = i;
          continue;
        }
        if (byte == END_OF_TEXT || !inSet(this.program.sets[this.program.first[pc]], byte)) continue;
        unchecked((this.next_[alive] = pc + 1));
        unchecked((this.nextStarts[alive++] = start));
      }
      if (best >= 0 && !alive) return best;
    }
    return best;
  }
}

const MAX_CACHED = 64;
/** Compiled patterns by their text: an exchange brings its plan anew, mostly with patterns that were there before. */
let compiled = new Map<string, Pattern>();

/** Why the last `compilePattern` answered null, and at which byte. */
export function patternError(): string {
  return programError;
}
export function patternErrorAt(): u32 {
  return programErrorAt;
}

/** The pattern of `length` bytes of UTF-8, or null when it is no pattern, or too big. */
export function compilePattern(p: usize, length: u32): Pattern | null {
  const text = String.UTF8.decodeUnsafe(p, length);
  if (compiled.has(text)) return compiled.get(text);
  const program = compileProgram(p, length);
  if (!program) return null;
  const pattern = new Pattern(program);
  if (compiled.size == MAX_CACHED) compiled.clear();
  compiled.set(text, pattern);
  return pattern;
}

export { UNBOUNDED } from './program';
