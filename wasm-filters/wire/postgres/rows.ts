// DataRow: each field of a masked column by its rule. Where the masked text is as long as the value was, as it is in ASCII under `full` and `partial`,
// it is written where the value stood, and nothing is copied.
import { Normal } from '../../mask/detectors';
import { Encoding, maskInto, STAR } from '../../mask/method';
import { Method, Rule } from '../../mask/plan';
import { ByteSink } from '../../mask/sink';
import { isUtf8 } from '../../mask/utf8';
import { Columns } from './columns';
import { be16, be32, HEADER, putBe32 } from './frame';

export const enum RowStatus {
  /** Masked where it stood. */
  IN_PLACE,
  /** Masked in `rewritten`. */
  REWRITTEN,
  MALFORMED,
}

/** The last row that did not keep its length, as a whole message. */
export const rewritten = new ByteSink(4096);

export function isAscii(p: usize, length: u32): bool {
  const end = p + length;
  for (; p + 8 <= end; p += 8) if (load<u64>(p) & 0x8080_8080_8080_8080) return false;
  for (; p < end; p++) if (load<u8>(p) & 0x80) return false;
  return true;
}

/** Puts stars where the rule wants them, for a value of one byte to a character. */
function fill(rule: Rule, p: usize, length: u32): void {
  rule.count++;
  const kept = rule.keepFirst + rule.keepLast;
  if (rule.method == Method.FULL || length <= kept) memory.fill(p, <u8>STAR, length);
  else memory.fill(p + rule.keepFirst, <u8>STAR, length - kept);
}

export function toNull(rule: Rule, text: bool): bool {
  return !text || rule.method == Method.NULL || rule.method == Method.DROP;
}

/** Appends the masked text of a value of a text type. One that is not UTF-8 is taken byte by byte. */
export function maskText(rule: Rule, p: usize, length: u32, out: ByteSink): void {
  maskInto(rule, p, length, Normal.AS_IS, isUtf8(p, length) ? Encoding.PLAIN : Encoding.SINGLE_BYTE, out);
}

/** Masks the row whose whole message is at `p`. */
export function maskRow(columns: Columns, p: usize, total: u32): RowStatus {
  const start = p,
    end = p + total;
  p += HEADER;
  if (end - p < 2 || be16(p) != columns.count) return RowStatus.MALFORMED;
  p += 2;
  // What precedes `copied` is in `rewritten`, once that is in use.
  let copied: usize = start,
    rewrites = false;
  for (let i: u32 = 0; i < columns.count; i++) {
    if (end - p < 4) return RowStatus.MALFORMED;
    const length = <i32>be32(p);
    if (length < -1 || (length > 0 && <usize>length > end - p - 4)) return RowStatus.MALFORMED;
    const value = p + 4;
    p = value + <usize>max(length, 0);
    const rule = columns.rules[i];
    if (!rule || length < 0) continue;
    const text = columns.texts[i],
      gone = toNull(rule, text);
    if (!gone && rule.method != Method.HASH && isAscii(value, length)) {
      fill(rule, value, length);
      continue;
    }
    if (!rewrites) {
      rewrites = true;
      rewritten.reset();
    }
    rewritten.write(copied, <u32>(value - copied));
    copied = p;
    const at = rewritten.length;
    if (gone) rule.count++;
    else maskText(rule, value, length, rewritten);
    putBe32(rewritten.ptr + at - 4, gone ? u32.MAX_VALUE : rewritten.length - at);
  }
  if (p != end) return RowStatus.MALFORMED;
  if (!rewrites) return RowStatus.IN_PLACE;
  rewritten.write(copied, <u32>(end - copied));
  putBe32(rewritten.ptr + 1, rewritten.length - 1);
  return RowStatus.REWRITTEN;
}

/**
 * A row too long to be held. Its length has left before its fields come, so a masked field keeps its length: it is filled with stars, whatever the rule's
 * method. Possible where all masked columns are texts.
 */
export class LongRow {
  private left: u32;
  private column: u32 = 0;
  private fieldLeft: u32 = 0;
  private fills: bool = false;

  constructor(
    private columns: Columns,
    total: u32,
  ) {
    this.left = total - HEADER - 2;
  }

  get done(): bool {
    return this.left == 0;
  }

  /** How many of the bytes behind the field count are the row's and have been masked where they stand; -1: malformed. */
  take(p: usize, length: u32): i32 {
    const start = p,
      end = p + min(length, this.left);
    while (p < end) {
      if (this.fieldLeft) {
        const n = min(this.fieldLeft, <u32>(end - p));
        if (this.fills) memory.fill(p, <u8>STAR, n);
        this.fieldLeft -= n;
        this.left -= n;
        p += n;
        continue;
      }
      if (this.column == this.columns.count) return -1;
      if (end - p < 4) {
        if (this.left < 4) return -1;
        break;
      }
      const field = <i32>be32(p);
      p += 4;
      this.left -= 4;
      if (field < -1 || (field > 0 && <u32>field > this.left)) return -1;
      const rule = this.columns.rules[this.column++];
      this.fills = rule != null;
      this.fieldLeft = field > 0 ? field : 0;
      if (rule && field >= 0) rule.count++;
    }
    if (this.left == 0 && (this.column != this.columns.count || this.fieldLeft)) return -1;
    return <i32>(p - start);
  }
}
