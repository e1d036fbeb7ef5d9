// Rows and copied rows: masked by the plan of the command that they answer, or the session is cut.
import { CopyPlan } from '../../stream/plan';
import { ClientSide } from './client_side';
import { Columns } from './columns';
import { Command } from './command';
import { MAX_HELD } from './conversation';
import { copied, maskCopyRow } from './copy';
import { Back, be16, HEADER } from './frame';
import { Owed, Reply } from './queue';
import { LongRow, maskRow, RowStatus, rewritten } from './rows';

export abstract class Results extends ClientSide {
  /** Columns of the rows that a simple query returns now. */
  protected columns: Columns | null = null;
  protected copyOut: CopyPlan | null = null;
  protected copiesOut: bool = false;
  /** Bytes of a target's message under way: to the client, or to nowhere. */
  protected replyPassing: u32 = 0;
  protected replyDropping: u32 = 0;
  protected longRow: LongRow | null = null;

  /** A part of a result has passed to the client. */
  protected count(p: usize, bytes: u32): void {
    const head = this.owed.head;
    if (!head) return;
    const command = head.command;
    if (!command) return;
    command.bytes += bytes;
    command.showed(p, bytes);
  }

  /** Rows of a portal are recorded behind their description, which came earlier, or not to the client at all. */
  protected recordDescription(head: Reply, command: Command): void {
    const portal = head.portal,
      description = portal ? portal.description : null;
    if (command.rows > 0 || !description) return;
    command.showed(changetype<usize>(description), description.byteLength);
    const columns = portal ? portal.columns : null;
    if (columns) command.describes(columns);
  }

  /** How many bytes of a row were taken; 0: more are needed, or the session is over. */
  protected dataRow(p: usize, left: u32, total: u32): u32 {
    const head = this.owed.head,
      command = head ? head.command : null;
    if (!head || !command || head.refusal || total < HEADER + 2 || (head.kind != Owed.QUERY && head.kind != Owed.EXECUTE)) {
      this.cut('the target sent a row that nobody asked for');
      return 0;
    }
    let columns = this.columns;
    const portal = head.portal;
    if (head.kind == Owed.EXECUTE) {
      columns = portal && !portal.failed && !portal.statement.failed ? portal.columns : null;
    }
    if (!columns) {
      this.cut('the columns of a result are not known');
      return 0;
    }
    if (!columns.masked) {
      const n = min(left, total);
      this.show(p, n);
      this.replyPassing = total - n;
      if (command.records) this.recordDescription(head, command);
      command.rows++;
      command.bytes += n;
      command.showed(p, n);
      return n;
    }
    if (total > MAX_HELD) {
      if (!columns.fillable) {
        this.cut('a row too long to be masked');
        return 0;
      }
      if (left < HEADER + 2) return 0;
      if (be16(p + HEADER) != columns.count) {
        this.cut('the target sent a malformed row');
        return 0;
      }
      this.longRow = new LongRow(columns, total);
      this.show(p, HEADER + 2);
      if (command.records) this.recordDescription(head, command);
      command.rows++;
      command.bytes += HEADER + 2;
      command.showed(p, HEADER + 2);
      return HEADER + 2;
    }
    if (left < total) return 0;
    if (command.records) this.recordDescription(head, command);
    command.rows++;
    switch (maskRow(columns, p, total)) {
      case RowStatus.IN_PLACE:
        command.bytes += total;
        command.showed(p, total);
        this.show(p, total);
        this.runChanged = true;
        return total;
      case RowStatus.REWRITTEN:
        command.bytes += rewritten.length;
        command.showed(rewritten.ptr, rewritten.length);
        this.say(rewritten.ptr, rewritten.length);
        return total;
      default:
        this.cut('the target sent a malformed row');
        return 0;
    }
  }

  /** A message too long to be held. False: the session is over. */
  protected longReply(type: u32, p: usize, total: u32): bool {
    const copy = this.copyOut;
    if (type == Back.COPY_DATA && this.copiesOut && copy && !copy.masks) this.replyPassing = total;
    // A notice that cannot be looked at is not shown; nothing waits for it.
    else if (type == Back.NOTICE_RESPONSE) this.replyDropping = total;
    else {
      this.cut('the target sent a message too long to be understood');
      return false;
    }
    return true;
  }

  protected copyOutReply(head: Reply, type: u32, p: usize, total: u32): bool {
    const command = head.command,
      portal = head.portal;
    if (!command || head.refusal || (head.kind != Owed.QUERY && head.kind != Owed.EXECUTE)) return false;
    if (portal && (portal.failed || portal.statement.failed)) return false;
    if (type == Back.COPY_OUT_RESPONSE) {
      const plan = command.plan.copyOut;
      // Without a plan nothing is known of them; a plan that names no columns lets all of them pass. Binary rows cannot be told apart here.
      const other =
        plan != null && plan.columns.length > 0 && (load<u8>(p + HEADER) != 0 || be16(p + HEADER + 1) != <u32>plan.columns.length);
      if (!plan || other) {
        this.cut('the rows of this COPY cannot be masked');
        return true;
      }
      this.copyOut = plan;
      this.copiesOut = true;
      command.showed(p, total);
      this.show(p, total);
      return true;
    }
    const plan = this.copyOut;
    if (!this.copiesOut || !plan) return false;
    if (type == Back.COPY_DATA) {
      command.rows++;
      if (plan.masks) {
        if (total > MAX_HELD) this.cut('a row too long to be masked');
        else if (!maskCopyRow(plan, p + HEADER, total - HEADER)) this.cut('the rows of this COPY cannot be masked');
        else {
          command.bytes += copied.length;
          command.showed(copied.ptr, copied.length);
          this.say(copied.ptr, copied.length);
        }
        return true;
      }
      command.bytes += total;
      command.showed(p, total);
    } else this.copiesOut = false;
    this.show(p, total);
    return true;
  }
}
