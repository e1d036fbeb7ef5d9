// The plan of one exchange: what the decision obliges the filter to mask. Wire form: sluice.filter.v1.Plan, read strictly: a filter that
// does not know a field cannot tell what it would have been obliged to do.
import { Detector, detectorOf } from './detectors';
import { Path, PathSet, parsePath } from './path';
import { compilePattern, Pattern, UNBOUNDED } from './pattern';
import { HmacKey } from './sha256';
import { isUtf8 } from './utf8';

export const enum Method {
  UNSPECIFIED,
  FULL,
  PARTIAL,
  HASH,
  NULL,
  DROP,
}

/** One rule: a path, a detector or a custom pattern, and what becomes of what it selects. */
export class Rule {
  /** Names the obligation in tap events. */
  id: string = '';
  /** Its place in the plan. */
  index: i32 = 0;
  path: Path | null = null;
  detector: Detector | null = null;
  pattern: Pattern | null = null;
  method: Method = Method.UNSPECIFIED;
  /** Characters that PARTIAL leaves readable. */
  keepFirst: u32 = 0;
  keepLast: u32 = 0;
  /** Of HASH. */
  key: HmacKey | null = null;
  /** How many values this rule has masked in this exchange. */
  count: u64 = 0;

  /** The longest match of a rule by content, in folded bytes, or UNBOUNDED. */
  get reach(): u32 {
    const detector = this.detector,
      pattern = this.pattern;
    return detector ? detector.reach : pattern ? pattern.reach : 0;
  }
}

const MAX_RULES = 256;
/** The gateway's own come on top of the decision's. */
const MAX_RECORD_RULES = 512;
const MAX_KEEP: u32 = 4096;
const KEY_BYTES: u32 = 32;
const DEFAULT_TOKEN: u32 = 64 << 10;
const MIN_TOKEN: u32 = 64;
const MAX_TOKEN: u32 = 16 << 20;
const MAX_RECORDED: u64 = 256 << 20;

export class Plan {
  rules: Rule[] = [];
  /** Null when the payload is not recorded. */
  record: Record | null = null;
  /** Bytes that one token may take while it is held back. */
  maxTokenBytes: u32 = DEFAULT_TOKEN;
  /** The paths of the rules by path. */
  paths: PathSet = new PathSet([]);
  hasPaths: bool = false;
  /** Whether a rule by path takes members and elements out. */
  drops: bool = false;
  /** The rules by content: detectors and patterns, in order. */
  detections: Rule[] = [];
  /** The longest match of any of them, or UNBOUNDED; a reach that no token could hold counts as that. */
  reach: u32 = 0;

  /** A text with fewer digits has no match, but for those that seek `@`. */
  leastDigits: i32 = i32.MAX_VALUE;
  seeksAt: bool = false;

  hasPatterns: bool = false;

  @inline get detects(): bool {
    return this.detections.length > 0;
  }

  /** After the last rule. */
  complete(): void {
    const paths: (Path | null)[] = [];
    for (let i = 0; i < this.rules.length; i++) {
      const rule = this.rules[i];
      rule.index = i;
      paths.push(rule.path);
      if (rule.path) {
        this.hasPaths = true;
        if (rule.method == Method.DROP) this.drops = true;
      } else {
        this.detections.push(rule);
        this.reach = max(this.reach, rule.reach);
        const detector = rule.detector;
        if (rule.pattern) this.hasPatterns = true;
        if (detector && detector.at) this.seeksAt = true;
        else this.leastDigits = min(this.leastDigits, detector ? detector.digits : 0);
      }
    }
    if (this.reach > this.maxTokenBytes >> 2) this.reach = UNBOUNDED;
    this.paths = new PathSet(paths);
  }

  /** Reads the message; false when it is not well formed or asks for what cannot be done. */
  read(wire: Wire): bool {
    while (wire.next()) {
      if (wire.field == 1 && wire.type == 2) {
        const rule = new Rule();
        if (this.rules.length == MAX_RULES || !readRule(rule, new Wire(wire.bytes, wire.bytes + wire.length))) return false;
        this.rules.push(rule);
      } else if (wire.field == 2 && wire.type == 0) {
        if (wire.value && (wire.value < MIN_TOKEN || wire.value > MAX_TOKEN)) return false;
        this.maxTokenBytes = wire.value ? <u32>wire.value : DEFAULT_TOKEN;
      } else if (wire.field == 3 && wire.type == 2 && !this.record) {
        const record = new Record();
        if (!record.read(new Wire(wire.bytes, wire.bytes + wire.length))) return false;
        this.record = record;
      } else return false;
    }
    if (wire.broken) return false;
    this.complete();
    const record = this.record;
    if (record) record.complete(this.maxTokenBytes);
    return true;
  }
}

/** What of an exchange's payload is recorded: sluice.filter.v1.Record. */
export class Record {
  /** Bytes of each direction. */
  maxRequest: u32 = 0;
  maxResponse: u32 = 0;
  /** How a request is masked for the record. */
  rules: Plan = new Plan();
  /** The same for a text without structure; null when the decision's own rules cannot be applied to one. */
  textRules: Plan | null = null;
  private pathsOblige: bool = false;

  read(wire: Wire): bool {
    while (wire.next()) {
      if ((wire.field == 3 || wire.field == 4) && wire.type == 2) {
        const rule = new Rule();
        if (this.rules.rules.length == MAX_RECORD_RULES || !readRule(rule, new Wire(wire.bytes, wire.bytes + wire.length))) return false;
        if (wire.field == 3 && rule.path) this.pathsOblige = true;
        this.rules.rules.push(rule);
      } else if (wire.field <= 2 && wire.type == 0 && wire.value <= MAX_RECORDED) {
        if (wire.field == 1) this.maxRequest = <u32>wire.value;
        else this.maxResponse = <u32>wire.value;
      } else return false;
    }
    return !wire.broken;
  }

  complete(maxTokenBytes: u32): void {
    const rules = this.rules;
    rules.maxTokenBytes = maxTokenBytes;
    rules.complete();
    if (this.pathsOblige) return;
    const text = new Plan();
    text.maxTokenBytes = maxTokenBytes;
    for (let i = 0; i < rules.rules.length; i++) if (!rules.rules[i].path) text.rules.push(rules.rules[i]);
    text.complete();
    this.textRules = text;
  }
}

/** Decodes `len` bytes of sluice.filter.v1.Record; null as for a plan. */
export function decodeRecord(ptr: usize, len: usize): Record | null {
  const record = new Record();
  if (!record.read(new Wire(ptr, ptr + len))) return null;
  record.complete(DEFAULT_TOKEN);
  return record;
}

function readRule(rule: Rule, wire: Wire): bool {
  let selectors = 0,
    key: usize = 0,
    keyLength: u32 = 0;
  while (wire.next()) {
    const p = wire.bytes,
      length = wire.length;
    if (wire.field <= 4 && wire.type == 2) {
      if (!isUtf8(p, length)) return false;
      if (wire.field == 1) {
        rule.id = String.UTF8.decodeUnsafe(p, length);
        continue;
      }
      selectors++;
      if (wire.field == 2) rule.path = parsePath(p, length);
      else if (wire.field == 3) rule.detector = detectorOf(String.UTF8.decodeUnsafe(p, length));
      else rule.pattern = compilePattern(p, length);
    } else if (wire.field == 8 && wire.type == 2) {
      key = p;
      keyLength = length;
    } else if (wire.type == 0 && wire.field >= 5 && wire.field <= 7) {
      if (wire.value > MAX_KEEP) return false;
      if (wire.field == 5) rule.method = <Method>wire.value;
      else if (wire.field == 6) rule.keepFirst = <u32>wire.value;
      else rule.keepLast = <u32>wire.value;
    } else return false;
  }
  if (wire.broken || selectors != 1 || (!rule.path && !rule.detector && !rule.pattern)) return false;
  if (rule.method < Method.FULL || rule.method > Method.DROP) return false;
  if (rule.method != Method.PARTIAL && (rule.keepFirst || rule.keepLast)) return false;
  if (rule.method != Method.HASH) return keyLength == 0;
  if (keyLength != KEY_BYTES) return false;
  rule.key = new HmacKey(key, keyLength);
  return true;
}

/** Walks the fields of one protobuf message. Groups and fixed-width fields are in no message of ours: they are broken. */
class Wire {
  field: u32 = 0;
  type: u32 = 0;
  /** Of a varint field. */
  value: u64 = 0;
  /** Of a length-delimited field. */
  bytes: usize = 0;
  length: u32 = 0;
  broken: bool = false;

  constructor(
    private p: usize,
    private end: usize,
  ) {}

  /** Steps to the next field; false at the end, or when the message is broken. */
  next(): bool {
    if (this.p == this.end) return false;
    const key = this.varint();
    this.field = <u32>(key >> 3);
    this.type = <u32>key & 7;
    if (!this.broken) {
      if (key >> 32 || !this.field) this.broken = true;
      else if (this.type == 0) this.value = this.varint();
      else if (this.type == 2) {
        const length = this.varint();
        if (this.broken || length > this.end - this.p) this.broken = true;
        else {
          this.bytes = this.p;
          this.length = <u32>length;
          this.p += <usize>length;
        }
      } else this.broken = true;
    }
    return !this.broken;
  }

  private varint(): u64 {
    let value: u64 = 0;
    for (let shift: u64 = 0; shift < 64; shift += 7) {
      if (this.p >= this.end) break;
      const b = <u64>load<u8>(this.p++);
      if (shift == 63 && b > 1) break;
      value |= (b & 0x7f) << shift;
      if (b < 0x80) return value;
    }
    this.broken = true;
    return 0;
  }
}

/** Decodes and compiles `len` bytes of sluice.filter.v1.Plan; null when anything in it is malformed, unknown or impossible. */
export function decodePlan(ptr: usize, len: usize): Plan | null {
  const plan = new Plan();
  return plan.read(new Wire(ptr, ptr + len)) ? plan : null;
}
