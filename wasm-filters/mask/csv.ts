// Comma- and tab-separated values (RFC 4180), strictly: where two readers could see different columns, the body is malformed.

import { maskField, maskLong } from './field';
import { ruleForName } from './flat';
import { Encoding } from './method';
import { Plan } from './plan';
import { ByteSink } from './sink';
import { Masker, Status } from './status';

const enum At {
  START,
  FIELD,
  UNQUOTED,
  QUOTED,
  QUOTE,
  CR,
}
/** What becomes of the bytes of the field at hand. */
const enum Use {
  COPY,
  HOLD,
  LONG,
}

export class CsvMasker extends Masker {
  private at: At = At.START;
  private status: Status = Status.OK;
  private use: Use = Use.COPY;
  private quoted: bool = false;
  private inHeader: bool = true;
  private column: i32 = 0;
  /** Of each column, the rule that selects it, or -1. */
  private columns: i32[] = [];
  private field: ByteSink = new ByteSink(256);
  private mark: u32 = 0;

  /** `separator`: comma or tab. `hasHeader`: the first row names the columns. */
  constructor(
    private plan: Plan,
    private separator: u32,
    private singleByte: bool,
    hasHeader: bool,
  ) {
    super();
    this.inHeader = hasHeader;
  }

  write(ptr: usize, len: i32, out: ByteSink): Status {
    if (this.status == Status.OK) this.run(ptr, ptr + len, out);
    return this.status;
  }

  end(out: ByteSink): Status {
    if (this.status != Status.OK) return this.status;
    if (this.at == At.QUOTED || this.at == At.CR || this.mark) this.fail(Status.MALFORMED);
    else if (this.at == At.UNQUOTED || this.at == At.QUOTE) this.endField(out);
    return this.status;
  }

  private fail(status: Status): void {
    if (this.status == Status.OK) this.status = status;
  }

  private run(p: usize, end: usize, out: ByteSink): void {
    while (p < end && this.status == Status.OK) {
      const b = <u32>load<u8>(p);
      switch (this.at) {
        case At.START: // the byte-order mark, byte by byte
          if (b == (this.mark == 0 ? 0xef : this.mark == 1 ? 0xbb : 0xbf)) {
            out.byte(b);
            if (++this.mark == 3) {
              this.mark = 0;
              this.at = At.FIELD;
            }
            p++;
          } else if (this.mark) this.fail(Status.MALFORMED);
          else this.at = At.FIELD;
          break;
        case At.FIELD:
          p = this.beginField(p, b, out);
          break;
        case At.UNQUOTED: {
          const run = this.runEnd(p, end);
          if (run > p) {
            this.take(p, run, out);
            p = run;
          } else p = this.delimiter(p, b, out);
          break;
        }
        case At.QUOTED: {
          const run = this.quotedEnd(p, end);
          if (run > p) {
            this.take(p, run, out);
            p = run;
            break;
          }
          if (!b) this.fail(Status.MALFORMED);
          this.at = At.QUOTE;
          p++;
          break;
        }
        case At.QUOTE:
          if (b != 0x22) {
            p = this.delimiter(p, b, out);
            break;
          }
          // Two quotes are one, inside.
          if (this.use == Use.COPY) out.byte(0x22);
          this.take(p, p + 1, out);
          this.at = At.QUOTED;
          p++;
          break;
        case At.CR:
          if (b != 0x0a) {
            this.fail(Status.MALFORMED);
            break;
          }
          out.byte(b);
          this.at = At.FIELD;
          p++;
      }
    }
  }

  private runEnd(p: usize, end: usize): usize {
    for (; p < end; p++) {
      const b = <u32>load<u8>(p);
      if (b == this.separator || b == 0x22 || b == 0x0a || b == 0x0d || b == 0) break;
    }
    return p;
  }

  private quotedEnd(p: usize, end: usize): usize {
    while (p < end && load<u8>(p) != 0x22 && load<u8>(p) != 0) p++;
    return p;
  }

  private beginField(p: usize, b: u32, out: ByteSink): usize {
    const inHeader = this.inHeader && this.plan.hasPaths;
    this.quoted = b == 0x22;
    this.field.reset();
    if (!inHeader && this.plan.hasPaths && this.column >= this.columns.length) {
      // A blank line is a row of one empty field; anything else here has no name to be judged by.
      if (this.column || (b != 0x0a && b != 0x0d)) {
        this.fail(Status.MALFORMED);
        return p;
      }
    }
    this.use = inHeader || this.plan.detects || this.ruleHere() >= 0 ? Use.HOLD : Use.COPY;
    this.at = this.quoted ? At.QUOTED : At.UNQUOTED;
    if (!this.quoted) return p;
    // A quote means nothing in tab-separated values, except to readers to whom it does.
    if (this.separator != 0x2c) this.fail(Status.MALFORMED);
    out.byte(0x22);
    return p + 1;
  }

  private ruleHere(): i32 {
    return this.inHeader || this.column >= this.columns.length ? -1 : this.columns[this.column];
  }

  @inline private get encoding(): Encoding {
    return this.singleByte
      ? this.quoted
        ? Encoding.QUOTED_SINGLE_BYTE
        : Encoding.SINGLE_BYTE
      : this.quoted
        ? Encoding.QUOTED
        : Encoding.PLAIN;
  }

  /** Content of the field at hand. */
  private take(p: usize, end: usize, out: ByteSink): void {
    const length = <u32>(end - p);
    if (this.use == Use.COPY) out.write(p, length);
    else if (this.use == Use.LONG) maskLong(this.plan, this.ruleHere(), p, length, this.encoding, out);
    else {
      this.field.write(p, length);
      if (this.field.length <= this.plan.maxTokenBytes) return;
      const rule = this.ruleHere();
      if (rule < 0) {
        this.fail(Status.TOKEN_TOO_LONG);
        return;
      }
      this.use = Use.LONG;
      this.plan.rules[rule].count++;
      maskLong(this.plan, rule, this.field.ptr, this.field.length, this.encoding, out);
    }
  }

  /** The field ends at `p`, or the body is malformed there. */
  private delimiter(p: usize, b: u32, out: ByteSink): usize {
    if (b != this.separator && b != 0x0a && b != 0x0d) {
      this.fail(Status.MALFORMED);
      return p;
    }
    this.endField(out);
    out.byte(b);
    if (b == this.separator) {
      this.column++;
      this.at = At.FIELD;
      return p + 1;
    }
    this.inHeader = false;
    this.column = 0;
    this.at = b == 0x0d ? At.CR : At.FIELD;
    return p + 1;
  }

  private endField(out: ByteSink): void {
    if (this.use == Use.HOLD) {
      if (this.inHeader && this.plan.hasPaths) this.nameColumn();
      const status = maskField(this.plan, this.ruleHere(), this.field.ptr, this.field.length, this.encoding, out);
      if (status != Status.OK) {
        this.fail(status);
        return;
      }
    }
    if (this.quoted) out.byte(0x22);
  }

  /** The header's field names a column. One that looks like several means that the separator is another. */
  private nameColumn(): void {
    let p = this.field.ptr,
      end = p + this.field.length;
    for (let i = p; i < end; i++) {
      const b = <u32>load<u8>(i);
      if (b == 0x3b || b == 0x7c || b == 0x09 || (b == 0x2c && this.separator != 0x2c)) this.fail(Status.UNMASKABLE);
    }
    while (p < end && load<u8>(p) == 0x20) p++;
    while (end > p && load<u8>(end - 1) == 0x20) end--;
    this.columns.push(ruleForName(this.plan, p, <u32>(end - p)));
  }
}
