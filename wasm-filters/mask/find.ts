// Where the rules by content match a text: spans that do not overlap, in order.
import { Detector, matchEnd } from './detectors';
import { fold, folded, foldedLength, indexOf, offsetOf, unfolded } from './fold';
import { budget, patternEnd, setBudget } from './pattern';
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
let merged = new Spans();

/** Steps of pattern matching that a text may take: a flat allowance, and some for each byte. */
const STEPS: i64 = 1_000_000;
const STEPS_PER_BYTE: i64 = 256;

/** What a text must have for a detector to match at all, as the last `census` counted it. */
let digitCount = 0;
let hasAt = false;
let isAscii = true;

function census(p: usize, length: i32): void {
  const end = p + length,
    zero = i8x16.splat(0x30),
    ten = i8x16.splat(10),
    at = i8x16.splat(0x40);
  let digits = 0,
    ats = 0,
    high = 0;
  for (; p + 16 <= end; p += 16) {
    const v = v128.load(p);
    digits += popcnt(i8x16.bitmask(i8x16.lt_u(i8x16.sub(v, zero), ten)));
    ats |= i8x16.bitmask(i8x16.eq(v, at));
    high |= i8x16.bitmask(v);
  }
  if (p < end && p + 16 <= (<usize>memory.size()) << 16) {
    // Reads past the text, but not past the memory, and looks at nothing there.
    const v = v128.load(p),
      inside = ((<i32>1) << (<i32>(end - p))) - 1;
    digits += popcnt(i8x16.bitmask(i8x16.lt_u(i8x16.sub(v, zero), ten)) & inside);
    ats |= i8x16.bitmask(i8x16.eq(v, at)) & inside;
    high |= i8x16.bitmask(v) & inside;
  } else {
    for (; p < end; p++) {
      const b = <u32>load<u8>(p);
      digits += i32(b - 0x30 < 10);
      ats |= i32(b == 0x40);
      high |= b & 0x80;
    }
  }
  digitCount = digits;
  hasAt = ats != 0;
  isAscii = !high;
}

function isCandidate(plan: Plan): bool {
  return digitCount >= plan.leastDigits || (hasAt && plan.seeksAt);
}

/** Whether `find` could find anything in this text of ASCII. */
export function mayMatch(plan: Plan, text: usize, length: u32): bool {
  census(text, length);
  return isCandidate(plan);
}

/**
 * Finds what the plan's detectors and patterns match in `length` bytes from `context` on (the bytes before are only looked at) and puts it
 * into `found`. Where two rules match the same bytes, they belong to the earlier rule, and what is left of the later match still to that one.
 * `whole`: the text is one complete value. `singleByte`: its charset is no UTF-8.
 */
export function find(plan: Plan, text: usize, length: i32, context: u32, whole: bool, singleByte: bool): Status {
  found.clear();
  census(text, length);
  if (isAscii || singleByte) unfolded(text, length);
  else {
    fold(text, length);
    census(folded, foldedLength);
  }
  if (!isCandidate(plan)) return Status.OK;
  const rules = plan.detections,
    from = indexOf(context);
  for (let i = 0; i < rules.length; i++) {
    const rule = unchecked(rules[i]);
    const detector = rule.detector;
    matches.clear();
    if (detector) scanDetector(detector, rule, from, whole);
    else if (!scanPattern(rule, from)) return Status.PATTERN_TOO_COSTLY;
    if (matches.length) merge();
  }
  return Status.OK;
}

function scanDetector(detector: Detector, rule: Rule, from: i32, whole: bool): void {
  if (digitCount < detector.digits || (detector.at && !hasAt)) return;
  const scan = detector.scan;
  for (let at = from; at < foldedLength; at = matchEnd) {
    const start = scan(folded, foldedLength, at, whole);
    if (start < 0) return;
    matches.push(offsetOf(start), offsetOf(matchEnd), rule.index);
  }
}

function scanPattern(rule: Rule, from: i32): bool {
  const pattern = rule.pattern;
  if (!pattern || !pattern.mayMatch(folded, foldedLength, from)) return true;
  setBudget(STEPS + STEPS_PER_BYTE * <i64>foldedLength);
  for (let at = from; at < foldedLength; at = patternEnd) {
    const start = pattern.next(folded, foldedLength, at);
    if (budget < 0) return false;
    if (start < 0) return true;
    matches.push(offsetOf(start), offsetOf(patternEnd), rule.index);
  }
  return true;
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
  let certain = lineEnd;
  if (<i64>plan.reach + 1 < <i64>foldedLength) {
    let beyond = offsetOf(foldedLength - <i32>plan.reach - 1);
    while (beyond && (<u32>load<u8>(text + beyond) & 0xc0) == 0x80) beyond--;
    certain = max(certain, beyond);
  }
  for (let i = found.length - 1; i >= 0; i--) {
    const touches = i + 1 < found.length && found.start(i + 1) == found.end(i);
    if (found.start(i) < certain && (found.end(i) > certain || (found.end(i) == certain && touches))) certain = found.start(i);
  }
  return certain;
}

/** How many bytes before `offset` must stay in sight as context: the two characters that detectors and patterns look back at. */
export function contextBefore(offset: u32): u32 {
  return offset - offsetOf(max(0, indexOf(offset) - 2));
}
