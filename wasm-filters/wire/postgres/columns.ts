// RowDescription → what becomes of each column of a result.
import { ByteBuffer, utf8 } from '../../abi/bytes';
import { Rule } from '../../mask/plan';
import { CommandPlan } from '../../stream/plan';
import { be16, be32, putBe16, putBe32, textLength } from './frame';

/** The server's own bound (MaxTupleAttributeNumber). */
const MAX_COLUMNS: u32 = 1664;
/** Of a field's description, behind its name. */
const FIXED: u32 = 18;

/** Types whose values are texts, the same bytes in both formats: their values can be masked as texts. All others become NULL. */
function isText(type: u32): bool {
  switch (type) {
    case 18: // "char"
    case 19: // name
    case 25: // text
    case 705: // unknown
    case 1042: // bpchar
    case 1043: // varchar
      return true;
    default:
      return false;
  }
}

export class Columns {
  rules: StaticArray<Rule | null>;
  texts: StaticArray<bool>;
  masked: bool = false;
  /** Every masked column is of a text type: its values can be filled where they stand. */
  fillable: bool = true;

  constructor(public count: u32) {
    this.rules = new StaticArray<Rule | null>(count);
    this.texts = new StaticArray<bool>(count);
  }
}

/** Whether a field of a description, behind its name, ends with a format that there is. */
function isFormat(p: usize): bool {
  return be16(p + FIXED - 2) <= 1;
}

/** Whether a body is a description, for one that no rows follow. */
export function isDescription(p: usize, length: u32): bool {
  const end = p + length;
  if (length < 2) return false;
  const count = be16(p);
  p += 2;
  for (let i: u32 = 0; i < count; i++) {
    const n = textLength(p, end);
    if (n < 0) return false;
    p += n + 1;
    if (end - p < <usize>FIXED || !isFormat(p)) return false;
    p += FIXED;
  }
  return p == end;
}

/** Null when the body is malformed. */
export function readColumns(plan: CommandPlan, p: usize, length: u32): Columns | null {
  const end = p + length;
  if (length < 2) return null;
  const count = be16(p);
  if (count > MAX_COLUMNS) return null;
  const columns = new Columns(count);
  p += 2;
  for (let i: u32 = 0; i < count; i++) {
    const n = textLength(p, end);
    if (n < 0) return null;
    p += n + 1;
    if (end - p < <usize>FIXED || !isFormat(p)) return null;
    const rule = plan.ruleFor(i, be32(p), be16(p + 4)),
      text = isText(be32(p + 6));
    columns.rules[i] = rule;
    columns.texts[i] = text;
    if (rule) {
      columns.masked = true;
      if (!text) columns.fillable = false;
    }
    p += FIXED;
  }
  return p == end ? columns : null;
}

/** No type of a server's message. */
const MARKS: u32 = 0x6d;
const marks = new ByteBuffer(256);

/** For the record, behind the description: which columns are masked, and by which rule (docs/recording.md). Good until the next one. */
export function maskMarks(columns: Columns): ByteBuffer {
  let count: u32 = 0;
  marks.reset();
  marks.byte(MARKS);
  // Its length and the number of columns, when they are known.
  marks.byte(0), marks.byte(0), marks.byte(0), marks.byte(0), marks.byte(0), marks.byte(0);
  for (let i: u32 = 0; i < columns.count; i++) {
    const rule = columns.rules[i];
    if (!rule) continue;
    count++;
    marks.byte(i >> 8), marks.byte(i & 0xff);
    marks.bytes(utf8(rule.id));
    marks.byte(0);
  }
  putBe32(marks.ptr + 1, marks.length - 1);
  putBe16(marks.ptr + 5, count);
  return marks;
}
