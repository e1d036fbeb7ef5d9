// One command on its way: what it may show, and what is told of it when it ends.
import { utf8 } from '../../abi/bytes';
import { Record } from '../../mask/plan';
import { CommandPlan } from '../../stream/plan';
import { Connection } from '../../stream/protocol';
import { Admission } from '../../tap/emitter';
import { writeNotice } from '../../tap/event';
import { Direction, payloadRoom, Recorder } from '../../tap/recorder';
import { Columns, maskMarks } from './columns';
import { CopiedIn } from './copied_in';

/** Bytes of events kept for each command under way. */
export const COMMAND_ROOM: u32 = 1024;
/** What is left of it for counts, beside the other fields and the event's own. */
const MASKED_BYTES: i32 = 512;
const MAX_TAG: u32 = 64;
/** A little less than a tick. What ends sooner is told by its end alone. */
const SOON: u64 = 45_000_000;
const RUNNING = utf8('statement-running');

const NONE = new ArrayBuffer(0);
/** Messages of the target, as the client got them: see docs/recording.md. */
const MESSAGES = utf8('application/vnd.sluice.postgres');

/** Room for the payload that is recorded of one command. */
export function recordRoom(record: Record): u32 {
  return payloadRoom(record.maxResponse) + payloadRoom(record.maxRequest);
}

export class Command {
  rows: u64 = 0;
  bytes: u64 = 0;
  tag: ArrayBuffer = NONE;
  /** SQLSTATE of an error that it ended with. */
  code: string = '';
  denied: bool = false;
  /** The judgement of an earlier command let it run: nothing tells of it yet. */
  untold: bool = false;
  /** It changed what names of prepared statements mean. */
  renames: bool = false;
  /** Of its results; null: they are not recorded. */
  private results: Recorder | null = null;
  /** Of rows that are copied in. */
  copiedIn: CopiedIn | null = null;

  constructor(
    /** Counts the session's commands from 1; 0: it was refused without being judged, and nothing is told of it. */
    public number: u64,
    public plan: CommandPlan,
    private startedAt: u64,
    /** What runs, where it is not the text that was judged. */
    private text: ArrayBuffer = NONE,
  ) {}

  /** Bytes of events to be kept for a command that is told with such a text. */
  static roomOf(textLength: u32): u32 {
    return COMMAND_ROOM + textLength;
  }

  /** Its payload is recorded from now on: `recordRoom` was admitted. */
  record(record: Record, connection: Connection, session: ArrayBuffer): void {
    const results = connection.recorder(session, this.number, Direction.RESPONSE, record.maxResponse);
    results.describe(MESSAGES, NONE);
    this.results = results;
    this.copiedIn = new CopiedIn(connection.recorder(session, this.number, Direction.REQUEST, record.maxRequest), record);
  }

  get records(): bool {
    return this.results != null;
  }

  /** The rows that follow have these columns, whose description was shown. */
  describes(columns: Columns): void {
    const results = this.results;
    if (!results || !columns.masked) return;
    const marks = maskMarks(columns);
    results.write(marks.ptr, marks.length);
  }

  /** A part of its results passes to the client. */
  showed(p: usize, length: u32): void {
    const results = this.results;
    if (results) results.write(p, length);
  }

  setTag(p: usize, length: u32): void {
    const n = min(length, MAX_TAG);
    this.tag = new ArrayBuffer(n);
    memory.copy(changetype<usize>(this.tag), p, n);
  }

  /** Tells the tap that it runs, once that takes long: a read whose record is its end must not be unheard of for as long as it likes. True: it is still to be told. */
  tellRunning(connection: Connection, session: ArrayBuffer, now: u64): bool {
    if (!this.untold) return false;
    const room = Command.roomOf(this.text.byteLength);
    // Where there is no room the record lags, and no statement begins either.
    if (now < this.startedAt + SOON || connection.admit(room) != Admission.ADMITTED) return true;
    const w = connection.event(session);
    w.uint(7, this.number);
    writeNotice(w, RUNNING, this.text);
    connection.emit(true);
    connection.release(room);
    this.untold = false;
    return false;
  }

  /** Tells the tap, and gives the room back. `outcome`: when neither an error nor a denial says otherwise. */
  report(connection: Connection, session: ArrayBuffer, outcome: string): void {
    const results = this.results,
      copiedIn = this.copiedIn;
    if (results) results.end(outcome == 'complete' && !this.code.length);
    if (copiedIn) copiedIn.end(false);
    if (this.number) {
      const w = connection.event(session);
      w.uint(7, this.number);
      const body = w.open(19);
      w.bytes(1, utf8(this.denied ? 'denied' : this.code.length ? 'failed' : outcome));
      w.bytes(2, this.tag);
      w.uint(3, this.rows);
      w.uint(4, this.bytes);
      w.uint(5, (connection.now() - this.startedAt) / 1000);
      const masked = this.takeCounts();
      for (let i = 0; i < masked.length; i++) {
        const field = w.open(6);
        w.bytes(1, utf8(masked[i].rule));
        w.uint(2, masked[i].count);
        w.close(field);
      }
      w.bytes(7, utf8(this.code));
      w.bytes(8, this.text);
      w.close(body);
      connection.emit(true);
    }
    connection.release(Command.roomOf(this.text.byteLength));
  }

  /** The counts by obligation; what does not fit is counted together, under `…`. */
  private takeCounts(): Masked[] {
    const masked: Masked[] = [],
      rules = this.plan.rules;
    let room = MASKED_BYTES,
      rest: u64 = 0;
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i],
        count = rule.count;
      rule.count = 0;
      if (!count) continue;
      let known = false;
      for (let k = 0; k < masked.length && !known; k++)
        if (masked[k].rule == rule.id) {
          masked[k].count += count;
          known = true;
        }
      if (known) continue;
      const size = String.UTF8.byteLength(rule.id) + 16;
      if (size > room) {
        rest += count;
        continue;
      }
      room -= size;
      masked.push(new Masked(rule.id, count));
    }
    if (rest) masked.push(new Masked('…', rest));
    return masked;
  }
}

class Masked {
  constructor(
    public rule: string,
    public count: u64,
  ) {}
}
