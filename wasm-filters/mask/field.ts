// One field of a form or of a table, held until it is complete and then masked.
import { Normal } from './detectors';
import { find } from './find';
import { charactersOf, Encoding, isSingleByte, maskInto, STAR } from './method';
import { Method, Plan } from './plan';
import { ByteSink } from './sink';
import { Status } from './status';
import { writeMasked } from './text';
import { isUtf8 } from './utf8';

/** Masks a complete field, decoded: by the rule of that index, or, for -1, by content. */
export function maskField(plan: Plan, rule: i32, text: usize, length: u32, encoding: Encoding, out: ByteSink): Status {
  if (!isSingleByte(encoding) && !isUtf8(text, length)) return Status.MALFORMED;
  if (rule >= 0) {
    maskInto(plan.rules[rule], text, length, Normal.AS_IS, encoding, out);
    return Status.OK;
  }
  const status = find(plan, text, length, 0, true, isSingleByte(encoding));
  if (status == Status.OK) writeMasked(plan, text, 0, length, Normal.AS_IS, encoding, out);
  return status;
}

/** A field that has grown too long to be held, but is selected by name: its characters so far, as stars (or as nothing). */
export function maskLong(plan: Plan, rule: i32, text: usize, length: u32, encoding: Encoding, out: ByteSink): void {
  const method = plan.rules[rule].method;
  if (method != Method.NULL && method != Method.DROP) out.fill(STAR, charactersOf(text, length, encoding));
}
