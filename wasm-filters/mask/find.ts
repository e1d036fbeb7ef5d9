// Where the rules by content match a text: spans that do not overlap, in order.
import { Detector, matchEnd } from './detectors';
import { hasEscape, MAX_ESCAPED } from './escape';
import { View } from './fold';
import { budget, Pattern, patternEnd, setBudget } from './pattern';
import { Plan, Rule } from './plan';
import { ByteSink } from './sink';
import { Status } from './status';

/** Spans as [start, end, rule's index], 12 bytes each. */
class Spans {
  private cells: ByteSink = new ByteSink(384);
  length: i32 = 0;

  @inline clear(): void {
    this.length = 0;
    this.cells.reset();
  }
  @inline start(i: i32): u32 {
    return load<u32>(this.cells.ptr + <usize>i * 12);
  }
  @inline end(i: i32): u32 {
    return load<u32>(this.cells.ptr + <usize>i * 12, 4);
  }
  @inline rule(i: i32): i32 {
    return load<i32>(this.cells.ptr + <usize>i * 12, 8);
  }

  push(start: u32, end: u32, rule: i32): void {
    this.cells.reserve(12);
    const cell = this.cells.ptr + this.cells.length;
    store<u32>(cell, start);
    store<u32>(cell, end, 4);
    store<i32>(cell, rule, 8);
    this.cells.length += 12;
    this.length++;
  }
}

/** What the last `find` found, in bytes of the text. Owner: whoever called it last; valid until the next call. */
export let found = new Spans();
let matches = new Spans();
let escapedMatches = new Spans();
let merged = new Spans();

/** The text of the last `find` as it is written, and, where `hasEscapes`, with its escapes read. */
const view = new View();
const unescaped = new View();
let hasEscapes = false;
/** Whether what follows the text may complete an escape. */
let isOpen = false;

/** Steps of pattern matching that a text may take: a flat allowance, and some for each byte. */
const STEPS: i64 = 1_000_000;
const STEPS_PER_BYTE: i64 = 256;

/** Of the text that `census` counted last. */
let digitCount = 0;
let hasAt = false;
/** Whether there is a character that an escape begins with. */
let mayEscape = false;
/** Whether it is ASCII without control characters but white space: then it is its own fold. */
let isPlain = true;

/** Bits of the bytes that are no ASCII, or control characters other than white space. */
function oddities(v: v128): i32 {
  const low = v128.andnot(i8x16.lt_u(v, i8x16.splat(0x20)), i8x16.lt_u(i8x16.sub(v, i8x16.splat(0x09)), i8x16.splat(5)));
  // One more than DEL has the high bit too.
  return i8x16.bitmask(v128.or(v128.or(v, i8x16.add(v, i8x16.splat(1))), low));
}

function census(p: usize, length: i32): void {
  const end = p + length,
    zero = i8x16.splat(0x30),
    ten = i8x16.splat(10),
    at = i8x16.splat(0x40),
    percent = i8x16.splat(0x25),
    backslash = i8x16.splat(0x5c),
    ampersand = i8x16.splat(0x26);
  let digits = 0,
    ats = 0,
    introducers = 0,
    odd = 0;
  for (; p + 16 <= end; p += 16) {
    const v = v128.load(p);
    digits += popcnt(i8x16.bitmask(i8x16.lt_u(i8x16.sub(v, zero), ten)));
    ats |= i8x16.bitmask(i8x16.eq(v, at));
    introducers |= i8x16.bitmask(v128.or(i8x16.eq(v, percent), v128.or(i8x16.eq(v, backslash), i8x16.eq(v, ampersand))));
    odd |= oddities(v);
  }
  if (p < end && p + 16 <= (<usize>memory.size()) << 16) {
    // Reads past the text, but not past the memory, and looks at nothing there.
    const v = v128.load(p),
      inside = ((<i32>1) << (<i32>(end - p))) - 1;
    digits += popcnt(i8x16.bitmask(i8x16.lt_u(i8x16.sub(v, zero), ten)) & inside);
    ats |= i8x16.bitmask(i8x16.eq(v, at)) & inside;
    introducers |= i8x16.bitmask(v128.or(i8x16.eq(v, percent), v128.or(i8x16.eq(v, backslash), i8x16.eq(v, ampersand)))) & inside;
    odd |= oddities(v) & inside;
  } else {
    for (; p < end; p++) {
      const b = <u32>load<u8>(p);
      digits += i32(b - 0x30 < 10);
      ats |= i32(b == 0x40);
      introducers |= i32(b == 0x25 || b == 0x5c || b == 0x26);
      odd |= i32(b >= 0x7f || (b < 0x20 && b - 0x09 >= 5));
    }
  }
  digitCount = digits;
  hasAt = ats != 0;
  mayEscape = introducers != 0;
  isPlain = !odd;
}

/** Notes in a view what the last `census` counted. */
function note(view: View): void {
  view.digits = digitCount;
  view.hasAt = hasAt;
}

/** Whether any rule of the plan could match. */
function mayMatch(plan: Plan, view: View): bool {
  return view.digits >= plan.leastDigits || (view.hasAt && plan.seeksAt);
}

/**
 * Whether a text of ASCII must be searched: false only when it may be held to be searched, and `find` would find nothing. A census that counts no more than
 * that takes.
 */
export function mustSearch(plan: Plan, text: usize, length: i32): bool {
  const end = text + length;
  // Reads past the text, but not past the memory, and looks at nothing there.
  if (<u32>length > plan.maxTokenBytes || end + 16 > (<usize>memory.size()) << 16) return true;
  let digits = 0,
    marks = 0;
  for (let p = text; p < end; p += 16) {
    const v = v128.load(p),
      inside = p + 16 > end ? ((<i32>1) << (<i32>(end - p))) - 1 : 0xffff,
      // An at sign, and what an escape begins with: a percent sign or an ampersand (a plain text has no backslash).
      mark = v128.or(i8x16.eq(v, i8x16.splat(0x40)), v128.or(i8x16.eq(v, i8x16.splat(0x25)), i8x16.eq(v, i8x16.splat(0x26))));
    digits += popcnt(i8x16.bitmask(i8x16.lt_u(i8x16.sub(v, i8x16.splat(0x30)), i8x16.splat(10))) & inside);
    marks |= i8x16.bitmask(mark) & inside;
  }
  return marks != 0 || digits >= plan.leastDigits;
}

/**
 * Finds what the plan's detectors and patterns match in `length` bytes from `context` on (the bytes before are only looked at) and puts it
 * into `found`. Where two rules match the same bytes, they belong to the earlier rule, and what is left of the later match still to that one.
 * A text with escapes is read twice, as it is written and as it is meant, for a rule may match either.
 * `whole`: the text is one complete value. `singleByte`: its charset is no UTF-8.
 */
export function find(plan: Plan, text: usize, length: i32, context: u32, whole: bool, singleByte: bool): Status {
  found.clear();
  census(text, length);
  isOpen = mayEscape;
  hasEscapes = isOpen && hasEscape(text, length);
  if (isPlain) view.asIs(text, length);
  else {
    if (singleByte) view.foldBytes(text, length);
    else view.fold(text, length);
    census(view.ptr, view.length);
  }
  note(view);
  if (hasEscapes) {
    unescaped.unescape(text, length, singleByte);
    census(unescaped.ptr, unescaped.length);
    note(unescaped);
  }
  if (!mayMatch(plan, view) && !(hasEscapes && mayMatch(plan, unescaped))) return Status.OK;
  const rules = plan.detections;
  for (let i = 0; i < rules.length; i++) {
    const rule = unchecked(rules[i]);
    matches.clear();
    if (!scan(rule, view, view.indexOf(context), whole)) return Status.PATTERN_TOO_COSTLY;
    if (hasEscapes) {
      const asWritten = matches;
      matches = escapedMatches;
      escapedMatches = asWritten;
      matches.clear();
      if (!scan(rule, unescaped, unescaped.indexOf(context), whole)) return Status.PATTERN_TOO_COSTLY;
      if (asWritten.length) unite(asWritten, rule.index);
    }
    if (matches.length) merge();
  }
  return Status.OK;
}

/** Puts what the rule matches in the view into `matches`; false when that takes too long. */
function scan(rule: Rule, view: View, from: i32, whole: bool): bool {
  const detector = rule.detector,
    pattern = rule.pattern;
  if (detector) scanDetector(detector, rule.index, view, from, whole);
  else if (pattern && pattern.mayMatch(view.ptr, view.length, from)) return scanPattern(pattern, rule.index, view, from);
  return true;
}

function scanDetector(detector: Detector, rule: i32, view: View, from: i32, whole: bool): void {
  if (view.digits < detector.digits || (detector.at && !view.hasAt)) return;
  const next = detector.scan;
  for (let at = from; at < view.length; at = matchEnd) {
    const start = next(view.ptr, view.length, at, whole);
    if (start < 0) return;
    matches.push(view.offsetOf(start), view.offsetOf(matchEnd), rule);
  }
}

function scanPattern(pattern: Pattern, rule: i32, view: View, from: i32): bool {
  setBudget(STEPS + STEPS_PER_BYTE * <i64>view.length);
  for (let at = from; at < view.length; at = patternEnd) {
    const start = pattern.next(view.ptr, view.length, at);
    if (budget < 0) return false;
    if (start < 0) return true;
    matches.push(view.offsetOf(start), view.offsetOf(patternEnd), rule);
  }
  return true;
}

/** Adds what the same rule matches in the other view to `matches`; matches that overlap become one. Both are in order. */
function unite(others: Spans, rule: i32): void {
  merged.clear();
  let start: u32 = 0,
    end: u32 = 0;
  for (let i = 0, k = 0; i < matches.length || k < others.length; ) {
    const first = k == others.length || (i < matches.length && matches.start(i) <= others.start(k));
    const nextStart = first ? matches.start(i) : others.start(k),
      nextEnd = first ? matches.end(i++) : others.end(k++);
    if (nextStart < end) {
      end = max(end, nextEnd);
      continue;
    }
    if (end > start) merged.push(start, end, rule);
    start = nextStart;
    end = nextEnd;
  }
  if (end > start) merged.push(start, end, rule);
  const was = matches;
  matches = merged;
  merged = was;
}

/** Adds to `found` what of `matches` it does not cover yet. Both are in order. */
function merge(): void {
  merged.clear();
  let k = 0;
  for (let i = 0; i < matches.length; i++) {
    let start = matches.start(i);
    const end = matches.end(i),
      rule = matches.rule(i);
    for (; k < found.length && found.start(k) < end; k++) {
      if (start < found.start(k)) merged.push(start, found.start(k), rule);
      start = max(start, found.end(k));
      if (found.end(k) > end) break; // it may overlap the next match too
      merged.push(found.start(k), found.end(k), found.rule(k));
    }
    if (start < end) merged.push(start, end, rule);
  }
  for (; k < found.length; k++) merged.push(found.start(k), found.end(k), found.rule(k));
  const was = found;
  found = merged;
  merged = was;
}

/**
 * For a text that goes on past `length`: up to where `find` has seen enough to be sure of every match that starts before. Moved back so
 * that it lies inside no span, nor between two that touch (they may be parts of matches that overlap).
 */
export function certainUpTo(plan: Plan, text: usize, lineEnd: u32): u32 {
  let certain = max(lineEnd, beyondReach(plan, text));
  for (let i = found.length - 1; i >= 0; i--) {
    const touches = i + 1 < found.length && found.start(i + 1) == found.end(i);
    if (found.start(i) < certain && (found.end(i) > certain || (found.end(i) == certain && touches))) certain = found.start(i);
  }
  return certain;
}

/** Up to where no match could begin that ends past the text, between two characters. */
function beyondReach(plan: Plan, text: usize): u32 {
  // What follows may complete an escape: then the text's last bytes are fewer than they look.
  const reach = <i64>plan.reach + 1 + (isOpen ? MAX_ESCAPED : 0);
  if (reach >= <i64>view.length) return 0;
  let beyond = view.offsetOf(view.length - <i32>reach);
  if (hasEscapes) {
    if (reach >= <i64>unescaped.length) return 0;
    beyond = unescaped.floor(min(beyond, unescaped.offsetOf(unescaped.length - <i32>reach)));
  }
  while (beyond && (<u32>load<u8>(text + beyond) & 0xc0) == 0x80) beyond--;
  return beyond;
}

/** How many bytes before `offset` must stay in sight as context: the two characters that detectors and patterns look back at. */
export function contextBefore(offset: u32): u32 {
  const context = lookBack(view, offset);
  return hasEscapes ? max(context, lookBack(unescaped, offset)) : context;
}

function lookBack(view: View, offset: u32): u32 {
  return offset - view.offsetOf(max(0, view.indexOf(offset) - 2));
}
