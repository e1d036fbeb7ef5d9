// Server-sent events (WHATWG HTML, 9.2): the data of an event is masked when the event is complete, as JSON or as text; other lines at once.
import { Normal } from './detectors';
import { find } from './find';
import { Framing, JsonMasker } from './json';
import { Encoding } from './method';
import { Plan } from './plan';
import { ByteSink } from './sink';
import { Masker, Status } from './status';
import { writeMasked } from './text';
import { isUtf8 } from './utf8';

/** An event is held whole, and a line of it: so many times the plan's longest token. */
const EVENT_TOKENS: u32 = 16;
const MAX_WORD: u32 = 34;

const enum LineEnd {
  NONE,
  LF,
  CR,
  CRLF,
}

export class EventStreamMasker extends Masker {
  private status: Status = Status.OK;
  private line: ByteSink = new ByteSink(1024);
  private data: ByteSink = new ByteSink(1024);
  private masked: ByteSink = new ByteSink(1024);
  private json: JsonMasker;
  /** The event at hand has data; how its last line of data began and ended. */
  private hasData: bool = false;
  private spaced: bool = false;
  private dataEnd: LineEnd = LineEnd.NONE;
  private afterCr: bool = false;
  private lastWasData: bool = false;
  private first: bool = true;

  constructor(private plan: Plan) {
    super();
    this.json = new JsonMasker(plan, Framing.SINGLE);
  }

  write(ptr: usize, len: i32, out: ByteSink): Status {
    for (let p = ptr, end = ptr + len; p < end && this.status == Status.OK; ) {
      if (this.afterCr) {
        this.afterCr = false;
        if (load<u8>(p) == 0x0a) {
          if (this.lastWasData) this.dataEnd = LineEnd.CRLF;
          else out.byte(0x0a);
          p++;
          continue;
        }
      }
      const from = p;
      while (p < end && load<u8>(p) != 0x0a && load<u8>(p) != 0x0d) p++;
      this.line.write(from, <u32>(p - from));
      if (this.line.length > this.plan.maxTokenBytes * EVENT_TOKENS) this.fail(Status.TOKEN_TOO_LONG);
      else if (p < end) {
        this.afterCr = load<u8>(p++) == 0x0d;
        this.endLine(this.afterCr ? LineEnd.CR : LineEnd.LF, out);
      }
    }
    return this.status;
  }

  /** A last event without a blank line after it is none to a reader, but is not let through unmasked either. */
  end(out: ByteSink): Status {
    if (this.status == Status.OK && this.line.length) this.endLine(LineEnd.NONE, out);
    if (this.status == Status.OK) this.dispatch(out);
    return this.status;
  }

  private fail(status: Status): void {
    if (this.status == Status.OK) this.status = status;
  }

  private endLine(by: LineEnd, out: ByteSink): void {
    let p = this.line.ptr,
      length = this.line.length;
    if (this.first && length >= 3 && (load<u32>(p) & 0xffffff) == 0xbfbbef) {
      out.write(p, 3);
      p += 3;
      length -= 3;
    }
    this.first = false;
    this.lastWasData = length >= 4 && load<u32>(p) == 0x61746164 && (length == 4 || load<u8>(p, 4) == 0x3a);
    if (!isText(p, length)) this.fail(Status.MALFORMED);
    else if (this.lastWasData) this.takeData(p, length, by);
    else {
      if (!length) this.dispatch(out);
      this.writeText(p, length, out);
      writeLineEnd(by, out);
    }
    this.line.reset();
  }

  private takeData(p: usize, length: u32, by: LineEnd): void {
    this.spaced = length > 5 && load<u8>(p, 5) == 0x20;
    const head = min<u32>(length, this.spaced ? 6 : 5);
    if (this.hasData) this.data.byte(0x0a);
    this.data.write(p + head, length - head);
    this.hasData = true;
    this.dataEnd = by;
    if (this.data.length > this.plan.maxTokenBytes * EVENT_TOKENS) this.fail(Status.TOKEN_TOO_LONG);
  }

  /** Masks by content what has no structure. */
  private writeText(p: usize, length: u32, out: ByteSink): void {
    const status = this.plan.detects ? find(this.plan, p, length, 0, true, false) : Status.OK;
    if (status != Status.OK) this.fail(status);
    else if (this.plan.detects) writeMasked(this.plan, p, 0, length, Normal.AS_IS, Encoding.PLAIN, out);
    else out.write(p, length);
  }

  private dispatch(out: ByteSink): void {
    if (!this.hasData) return;
    this.masked.reset();
    this.maskData();
    if (this.status == Status.OK) this.writeData(out);
    this.data.reset();
    this.hasData = false;
  }

  private maskData(): void {
    const data = this.data.ptr,
      length = this.data.length;
    this.json.reset();
    let status = this.json.write(data, length, this.masked);
    if (status == Status.OK) status = this.json.end(this.masked);
    if (status != Status.MALFORMED) {
      this.fail(status);
      return;
    }
    // Not JSON. What looks like an object was meant to be; what paths could have selected must be no more than a word, as in `[DONE]`.
    this.masked.reset();
    if (load<u8>(data) == 0x7b) this.fail(Status.MALFORMED);
    else if (this.plan.hasPaths && !isWord(data, length)) this.fail(Status.UNMASKABLE);
    else this.writeText(data, length, this.masked);
  }

  /** The masked data, a `data` line for each of its lines. */
  private writeData(out: ByteSink): void {
    let p = this.masked.ptr;
    const end = p + this.masked.length;
    for (;;) {
      let stop = p;
      while (stop < end && load<u8>(stop) != 0x0a) stop++;
      out.write(DATA, this.spaced ? 6 : 5);
      out.write(p, <u32>(stop - p));
      writeLineEnd(stop == end || this.dataEnd != LineEnd.NONE ? this.dataEnd : LineEnd.LF, out);
      if (stop == end) return;
      p = stop + 1;
    }
  }
}

const DATA = memory.data<u8>([0x64, 0x61, 0x74, 0x61, 0x3a, 0x20]);

function writeLineEnd(by: LineEnd, out: ByteSink): void {
  if (by & LineEnd.CR) out.byte(0x0d);
  if (by & LineEnd.LF) out.byte(0x0a);
}

/** UTF-8 without NUL. */
function isText(p: usize, length: u32): bool {
  if (!isUtf8(p, length)) return false;
  for (let i: u32 = 0; i < length; i++) if (!load<u8>(p + i)) return false;
  return true;
}

/** Letters, spaces and underscores, in square brackets or not: too little to hold a value that anyone would mask. */
function isWord(p: usize, length: u32): bool {
  if (length > MAX_WORD) return false;
  for (let i: u32 = 0; i < length; i++) {
    const b = <u32>load<u8>(p + i);
    const bracket = (b == 0x5b && i == 0) || (b == 0x5d && i + 1 == length);
    if (!bracket && (b | 0x20) - 0x61 >= 26 && b != 0x20 && b != 0x5f) return false;
  }
  return true;
}
