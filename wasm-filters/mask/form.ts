// application/x-www-form-urlencoded (WHATWG URL, 5): `name=value` pairs between ampersands.

import { hexValue } from './escape';
import { maskField } from './field';
import { ruleForField } from './flat';
import { Encoding, STAR } from './method';
import { Method, Plan } from './plan';
import { ByteSink } from './sink';
import { Masker, Status } from './status';
import { isUtf8 } from './utf8';

const enum At {
  NAME,
  VALUE,
}
/** What becomes of the bytes of the value at hand. */
const enum Use {
  COPY,
  HOLD,
  LONG,
  SKIP,
}

const decoded = new ByteSink();

/** Decodes into `decoded`; false when an escape is none. */
function decode(p: usize, length: u32): bool {
  decoded.reset();
  decoded.reserve(length);
  for (const end = p + length; p < end; p++) {
    let b = <i32>load<u8>(p);
    if (b == 0x2b) b = 0x20;
    else if (b == 0x25) {
      if (p + 2 >= end) return false;
      const high = hexValue(load<u8>(p, 1)),
        low = hexValue(load<u8>(p, 2));
      if (high < 0 || low < 0) return false;
      b = (high << 4) | low;
      p += 2;
    }
    decoded.byte(b);
  }
  return true;
}

export class FormMasker extends Masker {
  private at: At = At.NAME;
  private use: Use = Use.COPY;
  private status: Status = Status.OK;
  private rule: i32 = -1;
  /** The name or the value, encoded. */
  private held: ByteSink = new ByteSink(256);
  private kept: bool = false;
  /** Before the name at hand: an ampersand. */
  private separated: bool = false;

  constructor(private plan: Plan) {
    super();
  }

  write(ptr: usize, len: i32, out: ByteSink): Status {
    for (let p = ptr, end = ptr + len; p < end && this.status == Status.OK; ) {
      const run = this.runEnd(p, end);
      if (run > p) this.take(p, run, out);
      if (run < end) this.delimiter(load<u8>(run), out);
      p = run + 1;
    }
    return this.status;
  }

  end(out: ByteSink): Status {
    if (this.status != Status.OK) return this.status;
    if (this.at == At.VALUE) this.endValue(out);
    else if (this.held.length || this.separated) {
      this.endName(false, out);
      this.endPair();
    }
    return this.status;
  }

  private fail(status: Status): void {
    if (this.status == Status.OK) this.status = status;
  }

  private runEnd(p: usize, end: usize): usize {
    for (; p < end; p++) {
      const b = <u32>load<u8>(p);
      if (b == 0x26 || (b == 0x3d && this.at == At.NAME) || b - 0x21 >= 0x5e || (b == 0x3b && this.plan.hasPaths)) break;
    }
    return p;
  }

  /** What is not `&` or `=` is nothing that an encoder writes; a semicolon separates pairs for some readers. */
  private delimiter(b: u32, out: ByteSink): void {
    if (b == 0x3d) {
      this.endName(true, out);
      this.at = At.VALUE;
    } else if (b != 0x26) this.fail(Status.MALFORMED);
    else {
      if (this.at == At.VALUE) this.endValue(out);
      else {
        this.endName(false, out);
        this.endPair();
      }
      this.separated = true;
    }
  }

  private take(p: usize, end: usize, out: ByteSink): void {
    const length = <u32>(end - p);
    if (this.at == At.VALUE && this.use == Use.SKIP) return;
    if (this.at == At.VALUE && this.use == Use.COPY) {
      out.write(p, length);
      return;
    }
    if (this.use == Use.LONG) {
      this.stars(length, out);
      return;
    }
    this.held.write(p, length);
    if (this.held.length <= this.plan.maxTokenBytes) return;
    if (this.at == At.NAME || this.rule < 0) {
      this.fail(Status.TOKEN_TOO_LONG);
      return;
    }
    this.use = Use.LONG;
    this.plan.rules[this.rule].count++;
    this.stars(this.held.length, out);
  }

  /** A selected value too long to be held: a star for each byte, escaped or not. */
  private stars(bytes: u32, out: ByteSink): void {
    if (this.plan.rules[this.rule].method != Method.NULL) out.fill(STAR, bytes);
  }

  /** The name is complete: decides what becomes of its value, and writes it, with the ampersand before it if the pair stays. */
  private endName(hasValue: bool, out: ByteSink): void {
    if (!decode(this.held.ptr, this.held.length) || !isUtf8(decoded.ptr, decoded.length)) {
      this.fail(Status.MALFORMED);
      return;
    }
    this.rule = this.plan.hasPaths ? ruleForField(this.plan, decoded.ptr, decoded.length) : -1;
    if (this.rule >= 0 && this.plan.rules[this.rule].method == Method.DROP) {
      this.plan.rules[this.rule].count++;
      this.use = Use.SKIP;
    } else {
      this.use = this.rule >= 0 || this.plan.detects ? Use.HOLD : Use.COPY;
      if (this.separated && this.kept) out.byte(0x26);
      this.kept = true;
      if (this.plan.detects) this.writeField(-1, out);
      else out.write(this.held.ptr, this.held.length);
      if (hasValue) out.byte(0x3d);
    }
    this.held.reset();
    this.separated = false;
  }

  private endValue(out: ByteSink): void {
    if (this.use == Use.HOLD) this.writeField(this.rule, out);
    this.endPair();
  }

  private endPair(): void {
    this.at = At.NAME;
    this.use = Use.HOLD;
    this.held.reset();
  }

  /** Masks what is held. What no rule matches stays encoded as it was. */
  private writeField(rule: i32, out: ByteSink): void {
    if (!decode(this.held.ptr, this.held.length)) {
      this.fail(Status.MALFORMED);
      return;
    }
    const from = out.length,
      before = this.masked();
    const status = maskField(this.plan, rule, decoded.ptr, decoded.length, Encoding.FORM, out);
    if (status != Status.OK) {
      this.fail(status);
      return;
    }
    if (this.masked() != before) return;
    out.length = from;
    out.write(this.held.ptr, this.held.length);
  }

  private masked(): u64 {
    let n: u64 = 0;
    for (let i = 0; i < this.plan.rules.length; i++) n += this.plan.rules[i].count;
    return n;
  }
}
