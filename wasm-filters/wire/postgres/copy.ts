// COPY ... TO STDOUT in text and CSV format: rows of columns in CopyData messages. The server writes one row to a message; one that is not exactly that
// is not understood.
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9
import { Rule } from '../../mask/plan';
import { ByteSink } from '../../mask/sink';
import { CopyFormat, CopyPlan } from '../../stream/plan';
import { Back, HEADER, putBe32 } from './frame';
import { maskText, toNull } from './rows';

/** The last row that was masked, as a whole message. */
export const copied = new ByteSink(4096);
const value = new ByteSink(256),
  masked = new ByteSink(256);

/** Masks the body of a CopyData; the message is then in `copied`. False: it is no row of as many columns as the plan has. */
export function maskCopyRow(plan: CopyPlan, p: usize, length: u32): bool {
  copied.reset();
  copied.byte(Back.COPY_DATA);
  copied.fill(0, HEADER - 1);
  const ok = plan.format == CopyFormat.CSV ? csvRow(plan, p, p + length) : textRow(plan, p, p + length);
  putBe32(copied.ptr + 1, copied.length - 1);
  return ok;
}

function textRow(plan: CopyPlan, p: usize, end: usize): bool {
  for (let column = 0; column < plan.columns.length; column++) {
    const start = p;
    while (p < end && load<u8>(p) != plan.delimiter && load<u8>(p) != 0x0a) p += load<u8>(p) == 0x5c ? 2 : 1;
    if (p >= end) return false;
    const rule = plan.columns[column];
    if (!rule || isNull(plan, start, <u32>(p - start))) copied.write(start, <u32>(p - start));
    else {
      if (!unescape(start, p)) return false;
      write(plan, rule);
    }
    const b = <u32>load<u8>(p++);
    copied.byte(b);
    if (b == 0x0a) return p == end && column + 1 == plan.columns.length;
  }
  return false;
}

function isNull(plan: CopyPlan, p: usize, length: u32): bool {
  return length == <u32>plan.nullText.byteLength && memory.compare(p, changetype<usize>(plan.nullText), length) == 0;
}

/** Into `value`. What COPY TO writes: a backslash and one character. */
function unescape(p: usize, end: usize): bool {
  value.reset();
  for (; p < end; p++) {
    let b = <u32>load<u8>(p);
    if (b == 0x5c) {
      if (++p == end) return false;
      b = load<u8>(p);
      b = b == 0x62 ? 8 : b == 0x66 ? 12 : b == 0x6e ? 10 : b == 0x72 ? 13 : b == 0x74 ? 9 : b == 0x76 ? 11 : b;
    }
    value.byte(b);
  }
  return true;
}

/** Masks `value`, and writes it as the text format wants it. */
function write(plan: CopyPlan, rule: Rule): void {
  if (toNull(rule, true)) {
    rule.count++;
    copied.write(changetype<usize>(plan.nullText), plan.nullText.byteLength);
    return;
  }
  masked.reset();
  maskText(rule, value.ptr, value.length, masked);
  for (let i: u32 = 0; i < masked.length; i++) {
    const b = <u32>load<u8>(masked.ptr + i),
      short: u32 = b == 8 ? 0x62 : b == 12 ? 0x66 : b == 10 ? 0x6e : b == 13 ? 0x72 : b == 9 ? 0x74 : b == 11 ? 0x76 : 0;
    if (short || b == 0x5c || b == plan.delimiter) copied.byte(0x5c);
    copied.byte(short ? short : b);
  }
}

function csvRow(plan: CopyPlan, p: usize, end: usize): bool {
  for (let column = 0; column < plan.columns.length; column++) {
    const start = p,
      quoted = p < end && load<u8>(p) == plan.quote;
    value.reset();
    if (quoted) {
      p++;
      for (;;) {
        if (p >= end) return false;
        const b = <u32>load<u8>(p++);
        const next: u32 = p < end ? load<u8>(p) : 0;
        if (b == plan.escape && p < end && (next == plan.quote || next == plan.escape)) {
          value.byte(next);
          p++;
        } else if (b == plan.quote) break;
        else value.byte(b);
      }
    } else
      for (; p < end && load<u8>(p) != plan.delimiter && load<u8>(p) != 0x0a; p++) {
        // A quote inside an unquoted field would be read in more than one way.
        if (load<u8>(p) == plan.quote) return false;
        value.byte(load<u8>(p));
      }
    if (p >= end || (load<u8>(p) != plan.delimiter && load<u8>(p) != 0x0a)) return false;
    const rule = plan.columns[column];
    if (!rule || (!quoted && isNull(plan, start, <u32>(p - start)))) copied.write(start, <u32>(p - start));
    else writeCsv(plan, rule);
    const b = <u32>load<u8>(p++);
    copied.byte(b);
    if (b == 0x0a) return p == end && column + 1 == plan.columns.length;
  }
  return false;
}

function writeCsv(plan: CopyPlan, rule: Rule): void {
  if (toNull(rule, true)) {
    rule.count++;
    copied.write(changetype<usize>(plan.nullText), plan.nullText.byteLength);
    return;
  }
  masked.reset();
  maskText(rule, value.ptr, value.length, masked);
  copied.byte(plan.quote);
  for (let i: u32 = 0; i < masked.length; i++) {
    const b = <u32>load<u8>(masked.ptr + i);
    if (b == plan.quote || b == plan.escape) copied.byte(plan.escape);
    copied.byte(b);
  }
  copied.byte(plan.quote);
}
