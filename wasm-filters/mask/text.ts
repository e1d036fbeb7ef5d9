// Text that streams: what can still become part of a match is held back, the rest leaves at once.
import { Normal } from './detectors';
import { hasEscape } from './escape';
import { certainUpTo, contextBefore, find, found } from './find';
import { skipAscii } from './fold';
import { Encoding, maskEscaped, maskInto, writeText } from './method';
import { UNBOUNDED } from './pattern';
import { Plan } from './plan';
import { ByteSink } from './sink';
import { Status } from './status';
import { sequenceAt } from './utf8';

/** Masks by content a text that comes in pieces. What it holds is bounded by the plan's `maxTokenBytes`, mostly by its reach. */
export class TextStream {
  /** `context` bytes that have left but are still looked back at, then the held ones; the last few may be half a character. */
  private buffer: ByteSink = new ByteSink(1024);
  private context: u32 = 0;
  /** The bytes known to be whole characters. */
  private valid: u32 = 0;
  /** Past the last line end in the buffer: no match crosses it. 0 when there is none after the context. */
  private lineEnd: u32 = 0;
  /** Where the last line begins, in the buffer. */
  private lineStart: u32 = 0;

  /** `encoding`: that of what comes in and goes out; JSON means that what comes in is unescaped. */
  constructor(
    private plan: Plan,
    private encoding: Encoding,
  ) {}

  reset(): void {
    this.buffer.reset();
    this.context = this.valid = this.lineEnd = this.lineStart = 0;
  }

  write(p: usize, length: u32, out: ByteSink): Status {
    this.buffer.write(p, length);
    const invalid = this.validate();
    if (invalid != Status.OK) return invalid;
    // Without a bound on matches only whole lines are certain, and searching the same line again for each chunk would be quadratic.
    if (this.plan.reach == UNBOUNDED && !this.lineEnd) return Status.OK;
    const status = this.drain(false, out);
    return status == Status.OK && this.buffer.length - this.context > this.plan.maxTokenBytes ? Status.TOKEN_TOO_LONG : status;
  }

  /** The text is complete. */
  end(out: ByteSink): Status {
    return this.valid < this.buffer.length ? Status.MALFORMED : this.drain(true, out);
  }

  /** Extends `valid` and `lineEnd`, or says why not. NUL is no text: it would be the other half of a UTF-16 digit. */
  private validate(): Status {
    const start = this.buffer.ptr,
      end = start + this.buffer.length,
      inJson = this.encoding == Encoding.JSON;
    for (let p = start + this.valid; p < end; p++) {
      const b = <u32>load<u8>(p);
      if (b == 0x0a || b == 0x0d) {
        this.lineEnd = <u32>(p + 1 - start);
        if (this.isTooLong(this.lineEnd)) return Status.TOKEN_TOO_LONG;
        this.lineStart = this.lineEnd;
      } else if (b == 0 && !inJson) return Status.MALFORMED;
    }
    if (this.isTooLong(this.buffer.length)) return Status.TOKEN_TOO_LONG;
    if (this.encoding != Encoding.PLAIN) {
      this.valid = this.buffer.length;
      return Status.OK;
    }
    for (let p = start + this.valid; ; ) {
      p = skipAscii(p, end);
      const n = p < end ? sequenceAt(p, end) : 0;
      if (n < 0) return Status.MALFORMED;
      if (n) {
        p += n;
        continue;
      }
      this.valid = <u32>(p - start);
      return Status.OK;
    }
  }

  /** Whether the line that reaches to `to` is longer than may be held, where lines must be. */
  private isTooLong(to: u32): bool {
    return this.plan.reach == UNBOUNDED && to - this.lineStart > this.plan.maxTokenBytes;
  }

  /** Writes what is certain, and keeps the rest and its context. */
  private drain(final: bool, out: ByteSink): Status {
    const text = this.buffer.ptr,
      length = this.valid;
    if (length == this.context) return Status.OK;
    const status = find(this.plan, text, length, this.context, false, this.encoding == Encoding.SINGLE_BYTE);
    if (status != Status.OK) return status;
    const upTo = final ? length : certainUpTo(this.plan, text, this.lineEnd);
    if (upTo <= this.context) return Status.OK;
    const context = contextBefore(upTo);
    writeMasked(this.plan, text, this.context, upTo, Normal.AS_IS, this.encoding, out);
    const rest = upTo - context;
    memory.copy(text, text + rest, this.buffer.length - rest);
    this.buffer.length -= rest;
    this.valid -= rest;
    this.lineStart -= min(rest, this.lineStart);
    this.lineEnd = 0;
    this.context = context;
    return Status.OK;
  }
}

/** Writes the bytes from `from` to `to` of a text on which `find` was just called, with the spans before `to` masked. */
export function writeMasked(plan: Plan, text: usize, from: u32, to: u32, asIs: Normal, encoding: Encoding, out: ByteSink): void {
  let at = from;
  const spans = found;
  for (let i = 0; i < spans.length && spans.start(i) < to; i++) {
    const rule = plan.rules[spans.rule(i)],
      detector = rule.detector,
      start = spans.start(i);
    writeText(text + at, start - at, encoding, out);
    at = spans.end(i);
    const normal = detector ? detector.normal : asIs;
    if (hasEscape(text + start, at - start)) maskEscaped(rule, text + start, at - start, normal, encoding, out);
    else maskInto(rule, text + start, at - start, normal, encoding, out);
  }
  writeText(text + at, to - at, encoding, out);
}
