// The door of the masking core: one masker per response body, chosen by its content type.
import { CsvMasker } from './csv';
import { Normal } from './detectors';
import { find } from './find';
import { isFlatPlan } from './flat';
import { FormMasker } from './form';
import { Framing, JsonMasker } from './json';
import { Charset, Format, parseMediaType } from './media';
import { Encoding } from './method';
import { Plan, Record } from './plan';
import { ByteSink } from './sink';
import { EventStreamMasker } from './sse';
import { Masker, Status } from './status';
import { TextStream, writeMasked } from './text';
import { isUtf8 } from './utf8';

export { ByteSink } from './sink';
export { Masker, reasonOf, Status } from './status';

class TextMasker extends Masker {
  private text: TextStream;

  constructor(plan: Plan, encoding: Encoding) {
    super();
    this.text = new TextStream(plan, encoding);
  }

  write(ptr: usize, len: i32, out: ByteSink): Status {
    return this.text.write(ptr, len, out);
  }
  end(out: ByteSink): Status {
    return this.text.end(out);
  }
}

/**
 * The masker for a body of this content type, or null when its type or charset cannot be masked under the plan: refuse the response.
 * Custom patterns read UTF-8 and nothing else.
 */
export function createMasker(contentType: string, plan: Plan): Masker | null {
  const media = parseMediaType(contentType),
    singleByte = media.charset == Charset.SINGLE_BYTE;
  if (media.charset == Charset.UNKNOWN || (singleByte && plan.hasPatterns)) return null;
  switch (media.format) {
    case Format.TEXT:
      return plan.hasPaths ? null : new TextMasker(plan, singleByte ? Encoding.SINGLE_BYTE : Encoding.PLAIN);
    case Format.CSV:
    case Format.TSV:
      if (!isFlatPlan(plan) || (plan.hasPaths && media.headerAbsent)) return null;
      return new CsvMasker(plan, media.format == Format.CSV ? 0x2c : 0x09, singleByte, !media.headerAbsent);
    default:
  }
  if (singleByte) return null;
  switch (media.format) {
    case Format.JSON:
      return new JsonMasker(plan, Framing.SINGLE);
    case Format.JSON_LINES:
      return new JsonMasker(plan, Framing.LINES);
    case Format.JSON_SEQUENCE:
      return new JsonMasker(plan, Framing.SEQUENCE);
    case Format.EVENT_STREAM:
      return new EventStreamMasker(plan);
    case Format.FORM:
      return isFlatPlan(plan) ? new FormMasker(plan) : null;
    default:
      return null;
  }
}

/** The masker of a request's body for the record, likewise. */
export function createRecordMasker(contentType: string, record: Record): Masker | null {
  const text = record.textRules;
  return createMasker(contentType, text && parseMediaType(contentType).format == Format.TEXT ? text : record.rules);
}

/** Masks one complete text (a header value, a log line) by the plan's detectors and patterns; rules by path do not apply. */
export function maskText(plan: Plan, ptr: usize, len: i32, out: ByteSink): Status {
  const singleByte = !isUtf8(ptr, len);
  if (singleByte && plan.hasPatterns) return Status.UNMASKABLE;
  const status = find(plan, ptr, len, 0, true, singleByte);
  if (status == Status.OK) writeMasked(plan, ptr, 0, len, Normal.AS_IS, singleByte ? Encoding.SINGLE_BYTE : Encoding.PLAIN, out);
  return status;
}
