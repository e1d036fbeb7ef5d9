// The record of rows that are copied in (COPY ... FROM STDIN): what the client's CopyData messages carry, masked as a text.
import { utf8 } from '../../abi/bytes';
import { Encoding } from '../../mask/method';
import { Record } from '../../mask/plan';
import { ByteSink } from '../../mask/sink';
import { Status } from '../../mask/status';
import { TextStream } from '../../mask/text';
import { Recorder } from '../../tap/recorder';

const TEXT = utf8('text/plain'),
  BINARY = utf8('application/octet-stream');
const SENSITIVE = utf8('columns are masked here, and which of them a value is for is not known'),
  UNMASKABLE = utf8('rows in binary format cannot be masked for the record'),
  UNREADABLE = utf8('the rows cannot be masked for the record');
const NONE = new ArrayBuffer(0);

const masked = new ByteSink(4096);

export class CopiedIn {
  private text: TextStream | null = null;

  constructor(
    private recorder: Recorder,
    private record: Record,
  ) {}

  /** The target wants rows. */
  begin(binary: bool): void {
    const rules = this.record.textRules;
    this.recorder.describe(binary ? BINARY : TEXT, NONE);
    if (!rules || !rules.detects) this.recorder.stop(SENSITIVE);
    else if (binary) this.recorder.stop(UNMASKABLE);
    else this.text = new TextStream(rules, Encoding.PLAIN);
  }

  write(p: usize, length: u32): void {
    const text = this.text;
    if (!text || this.recorder.over) return;
    masked.reset();
    this.take(text.write(p, length, masked));
  }

  private take(status: Status): void {
    this.recorder.write(masked.ptr, masked.length);
    if (status != Status.OK) this.recorder.stop(UNREADABLE);
  }

  /** Not `whole`: the client gave up, or the command ended before. */
  end(whole: bool): void {
    const text = this.text;
    if (text && whole && !this.recorder.over) {
      masked.reset();
      this.take(text.end(masked));
    }
    this.recorder.end(whole);
    this.text = null;
  }
}
