// Paths: which values of a document a rule selects. `customer.ssn`, `items[*].card`, `items[3]`, `["odd name"].x`, `*.ssn`, `**.ssn`.
//
//   path   = first *( "." ( name / "*" / "**" ) / bracket )
//   first  = name / "*" / "**" / bracket
//   bracket = "[" ( "*" / index / JSON string ) "]"
//
// `*` is any member, `[*]` any element, `**` any number of levels of either kind, none included; it is followed by what to look for.
import { sameBytes } from './sink';
import { encodeAt, sequenceAt } from './utf8';

export const enum Step {
  MEMBER = 0,
  ANY_MEMBER = 1,
  ELEMENT = 2,
  ANY_ELEMENT = 3,
}

const MAX_STEPS = 32;

/** One parsed path: its steps, each with whether any number of levels may lie before it. */
export class Path {
  kinds: Step[] = [];
  deep: bool[] = [];
  /** UTF-8, of MEMBER; empty otherwise. */
  names: ArrayBuffer[] = [];
  indices: u32[] = [];

  @inline get length(): i32 {
    return this.kinds.length;
  }

  push(kind: Step, deep: bool, name: ArrayBuffer, index: u32): void {
    this.kinds.push(kind);
    this.deep.push(deep);
    this.names.push(name);
    this.indices.push(index);
  }
}

/** Why the last `parsePath` answered null, and at which byte. */
export let pathError: string = '';
export let pathErrorAt: u32 = 0;

function fail(why: string, at: usize): Path | null {
  pathError = why;
  pathErrorAt = <u32>at;
  return null;
}

const NONE = new ArrayBuffer(0);

function isNameByte(b: u32): bool {
  return b > 0x20 && b != 0x22 && b != 0x2a && b != 0x2e && b != 0x5b && b != 0x5d && b != 0x7f;
}

/** Parses `length` bytes of UTF-8; null when it is no path, and then `pathError` says why. */
export function parsePath(start: usize, length: u32): Path | null {
  const end = start + length;
  const path = new Path();
  let p = start,
    deep = false;
  while (p < end) {
    let b = <u32>load<u8>(p);
    if (path.length == MAX_STEPS) return fail('a path has at most 32 steps', p - start);
    if (b == 0x5b) {
      // [
      p = bracket(path, deep, p, start, end);
      if (!p) return null;
      deep = false;
      continue;
    }
    if (p > start) {
      if (b != 0x2e) return fail('expected "." or "["', p - start);
      if (++p == end) return fail('a path does not end in "."', p - start);
      b = <u32>load<u8>(p);
    }
    if (b == 0x2a) {
      const twice = p + 1 < end && load<u8>(p, 1) == 0x2a;
      if (twice && deep) return fail('"**" twice in a row', p - start);
      if (!twice) path.push(Step.ANY_MEMBER, deep, NONE, 0);
      deep = twice;
      p += twice ? 2 : 1;
      continue;
    }
    const from = p;
    while (p < end && isNameByte(<u32>load<u8>(p))) {
      const n = sequenceAt(p, end);
      if (n <= 0) return fail('not UTF-8', p - start);
      p += n;
    }
    if (p == from) return fail('expected a name, "*" or "**"', p - start);
    path.push(Step.MEMBER, deep, copyOf(from, p - from), 0);
    deep = false;
  }
  if (deep) return fail('"**" must be followed by what to look for', length);
  if (!path.length) return fail('a path is not empty', 0);
  return path;
}

function copyOf(p: usize, length: usize): ArrayBuffer {
  const copy = new ArrayBuffer(<i32>length);
  memory.copy(changetype<usize>(copy), p, length);
  return copy;
}

/** One bracket from its `[` on: the address past its `]`, or 0. */
function bracket(path: Path, deep: bool, p: usize, start: usize, end: usize): usize {
  const open = p++;
  if (p < end && load<u8>(p) == 0x2a) {
    path.push(Step.ANY_ELEMENT, deep, NONE, 0);
    p++;
  } else if (p < end && load<u8>(p) == 0x22) {
    const room = new ArrayBuffer(<i32>(end - p));
    const to = changetype<usize>(room);
    let n: usize = 0;
    for (p++; ; ) {
      if (p >= end) {
        fail('the quoted name has no end', open - start);
        return 0;
      }
      const b = <u32>load<u8>(p);
      if (b == 0x22) break;
      if (b == 0x5c) {
        const at = p;
        p = escape(p, end);
        if (!p) {
          fail('no such escape; \\" and \\\\ are, and \\uXXXX of a character that is no surrogate', at - start);
          return 0;
        }
        n += encodeAt(to + n, escaped);
        continue;
      }
      const width = sequenceAt(p, end);
      if (b < 0x20 || width <= 0) {
        fail('not a character of a quoted name', p - start);
        return 0;
      }
      memory.copy(to + n, p, width);
      n += width;
      p += width;
    }
    p++;
    path.push(Step.MEMBER, deep, copyOf(to, n), 0);
  } else {
    const from = p;
    let index: u64 = 0;
    for (; p < end && <u32>load<u8>(p) - 0x30 < 10 && index < 0x80000000; p++) index = index * 10 + load<u8>(p) - 0x30;
    if (p == from || index >= 0x80000000 || (p - from > 1 && load<u8>(from) == 0x30)) {
      fail('expected an index, "*" or a quoted name in "[ ]"', from - start);
      return 0;
    }
    path.push(Step.ELEMENT, deep, NONE, <u32>index);
  }
  if (p >= end || load<u8>(p) != 0x5d) {
    fail('expected "]"', p - start);
    return 0;
  }
  return p + 1;
}

let escaped: u32 = 0;

/** The escape at `p` into `escaped`; the address past it, or 0. */
function escape(p: usize, end: usize): usize {
  if (p + 1 >= end) return 0;
  escaped = <u32>load<u8>(p, 1);
  if (escaped == 0x22 || escaped == 0x5c) return p + 2;
  if (escaped != 0x75 || p + 6 > end) return 0;
  escaped = 0;
  for (let i: usize = 2; i < 6; i++) {
    const c = <u32>load<u8>(p + i),
      letter = (c | 0x20) - 0x61;
    if (c - 0x30 >= 10 && letter >= 6) return 0;
    escaped = (escaped << 4) | (c - 0x30 < 10 ? c - 0x30 : letter + 10);
  }
  return (escaped & 0xf800) == 0xd800 ? 0 : p + 6;
}

/** The bit of a name in a sieve: names of different bits are different. */
export function sieveBit(name: usize, length: u32): u64 {
  const ends = length ? <u32>load<u8>(name) ^ ((<u32>load<u8>(name + length - 1)) << 1) : 0;
  return (<u64>1) << ((ends + 5 * length) & 63);
}

function sieveOf(path: Path, step: i32): u64 {
  const kind = path.kinds[step],
    name = path.names[step];
  return kind == Step.MEMBER ? sieveBit(changetype<usize>(name), name.byteLength) : kind == Step.ANY_MEMBER ? ~(<u64>0) : 0;
}

/**
 * The paths of a plan as one automaton. A *position* is a step of a path that is to be matched next; the set of those alive at a
 * container is a row of `words` 64-bit words, held by the caller for each level, and a child's row follows from its parent's.
 */
export class PathSet {
  words: i32 = 0;
  private kinds: StaticArray<u8> = new StaticArray<u8>(0);
  private deep: StaticArray<u8> = new StaticArray<u8>(0);
  private names: StaticArray<ArrayBuffer> = new StaticArray<ArrayBuffer>(0);
  private indices: StaticArray<u32> = new StaticArray<u32>(0);
  /** What a position adds to the sieve of a row. */
  private sieves: StaticArray<u64> = new StaticArray<u64>(0);
  /** The rule that is selected when the position matches, or -1 when the path goes on. */
  private selects: StaticArray<i32> = new StaticArray<i32>(0);
  private starts: i32[] = [];

  /** `paths[i]` belongs to rule i; null where the rule is none by path. */
  constructor(paths: (Path | null)[]) {
    let n = 0;
    for (let i = 0; i < paths.length; i++) {
      const path = paths[i];
      if (path) n += path.length;
    }
    this.words = (n + 63) >> 6;
    this.kinds = new StaticArray<u8>(n);
    this.deep = new StaticArray<u8>(n);
    this.names = new StaticArray<ArrayBuffer>(n);
    this.indices = new StaticArray<u32>(n);
    this.sieves = new StaticArray<u64>(n);
    this.selects = new StaticArray<i32>(n);
    for (let rule = 0, at = 0; rule < paths.length; rule++) {
      const path = paths[rule];
      if (!path) continue;
      this.starts.push(at);
      for (let i = 0; i < path.length; i++, at++) {
        this.kinds[at] = <u8>path.kinds[i];
        this.deep[at] = <u8>path.deep[i];
        this.names[at] = path.names[i];
        this.indices[at] = path.indices[i];
        this.sieves[at] = sieveOf(path, i);
        this.selects[at] = i + 1 == path.length ? rule : -1;
      }
    }
  }

  /** Bytes of a row. */
  @inline get rowBytes(): usize {
    return (<usize>this.words) << 3;
  }

  /** Fills the row of the document's root. */
  root(row: usize): void {
    memory.fill(row, 0, this.rowBytes);
    for (let i = 0; i < this.starts.length; i++) set(row, this.starts[i]);
  }

  isEmpty(row: usize): bool {
    for (let i = 0; i < this.words; i++) if (load<u64>(row + ((<usize>i) << 3))) return false;
    return true;
  }

  /** Of each name by which a position of the row wants a member, its `sieveBit`; all bits where any name will do. */
  sieve(row: usize): u64 {
    let sieve: u64 = 0;
    for (let word = 0; word < this.words; word++) {
      for (let bits = load<u64>(row + ((<usize>word) << 3)); bits; bits &= bits - 1)
        sieve |= unchecked(this.sieves[(word << 6) + <i32>ctz(bits)]);
    }
    return sieve;
  }

  /** Steps into a member: fills the child's row; answers the first rule that selects it, or -1. `name` is unescaped UTF-8. */
  member(row: usize, child: usize, name: usize, length: u32): i32 {
    return this.step(row, child, true, name, length);
  }

  /** Steps into the element at `index`, likewise. */
  element(row: usize, child: usize, index: u32): i32 {
    return this.step(row, child, false, 0, index);
  }

  private step(row: usize, child: usize, isMember: bool, name: usize, measure: u32): i32 {
    let selected = -1,
      carried: u64 = 0;
    for (let word = 0; word < this.words; word++) {
      let alive: u64 = carried;
      carried = 0;
      for (let bits = load<u64>(row + ((<usize>word) << 3)); bits; bits &= bits - 1) {
        const bit = ctz(bits),
          at = (word << 6) + <i32>bit;
        if (unchecked(this.deep[at])) alive |= (<u64>1) << bit;
        if (!this.matches(at, isMember, name, measure)) continue;
        const rule = unchecked(this.selects[at]);
        if (rule >= 0) {
          if (selected < 0 || rule < selected) selected = rule;
        } else if (bit == 63) carried = 1;
        else alive |= (<u64>2) << bit;
      }
      store<u64>(child + ((<usize>word) << 3), alive);
    }
    return selected;
  }

  @inline private matches(at: i32, isMember: bool, name: usize, measure: u32): bool {
    const kind = <Step>unchecked(this.kinds[at]);
    if (!isMember) return kind == Step.ANY_ELEMENT || (kind == Step.ELEMENT && unchecked(this.indices[at]) == measure);
    if (kind != Step.MEMBER) return kind == Step.ANY_MEMBER;
    const wanted = unchecked(this.names[at]);
    return <u32>wanted.byteLength == measure && sameBytes(changetype<usize>(wanted), name, measure);
  }
}

function set(row: usize, at: i32): void {
  const word = row + ((<usize>(at >> 6)) << 3);
  store<u64>(word, load<u64>(word) | ((<u64>1) << (at & 63)));
}
