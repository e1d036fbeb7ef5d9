// What the target sends once the client is let in, matched with what it owes.
import { copyOf } from '../../abi/bytes';
import { isDescription, readColumns } from './columns';
import { Command } from './command';
import { frames, MAX_HELD, Phase } from './conversation';
import { Back, be32, HEADER } from './frame';
import { isEnumerated, understandable } from './parameter';
import { Owed, Reply } from './queue';
import { isWellFormed } from './reply';
import { Report, Stage, sqlState, writeNotice, writeRefusal, writeWithheld } from './report';
import { Results } from './results';

export abstract class TargetSide extends Results {
  protected deallocated: bool = false;

  protected replies(ptr: usize, length: u32, end: bool): u32 {
    let p = ptr;
    const last = ptr + length;
    while (p < last && this.phase == Phase.READY) {
      const left = <u32>(last - p);
      if (this.replyPassing) {
        const n = min(this.replyPassing, left);
        this.show(p, n);
        this.count(p, n);
        this.replyPassing -= n;
        p += n;
        continue;
      }
      if (this.replyDropping) {
        const n = min(this.replyDropping, left);
        this.replyDropping -= n;
        p += n;
        continue;
      }
      const row = this.longRow;
      if (row) {
        const n = row.take(p, left);
        if (n < 0) {
          this.cut('the target sent a malformed row');
          break;
        }
        if (!n) break;
        this.show(p, n);
        this.runChanged = true;
        this.count(p, n);
        p += n;
        if (row.done) this.longRow = null;
        continue;
      }
      if (left < HEADER) break;
      const size = be32(p + 1),
        total = size + 1,
        type = <u32>load<u8>(p);
      if (size < 4 || size > 0x7fff_fff0) {
        this.cut('the target sent a message with an impossible length');
        break;
      }
      if (type == Back.DATA_ROW) {
        const n = this.dataRow(p, left, total);
        if (!n) break;
        p += n;
        continue;
      }
      if (left < total) {
        if (total <= MAX_HELD) break;
        if (!this.longReply(type, p, total)) break;
        continue;
      }
      this.reply(type, p, total);
      p += total;
    }
    if (end && this.refusal && this.phase == Phase.READY) this.sayLast();
    return this.phase == Phase.READY ? <u32>(p - ptr) : length;
  }

  protected masksMessages(): bool {
    if (this.withholds) return true;
    const head = this.owed.head;
    if (!head) return false;
    const command = head.command,
      portal = head.portal,
      statement = head.statement;
    if (command && command.plan.maskMessages) return true;
    if (portal && portal.plan.maskMessages) return true;
    return statement != null && statement.plan.maskMessages;
  }

  protected reply(type: u32, p: usize, total: u32): void {
    const body = p + HEADER,
      length = total - HEADER;
    if (!isWellFormed(type, body, length)) {
      this.cut('the target sent a malformed message');
      return;
    }
    // What may come at any time.
    switch (type) {
      case Back.NOTICE_RESPONSE:
        if (!new Report(body, length).wellFormed) this.cut('the target sent a malformed notice');
        else if (this.masksMessages()) {
          frames.reset();
          writeWithheld(frames, type, body, length);
          this.say(frames.out.ptr, frames.out.length);
        } else this.show(p, total);
        return;
      case Back.NOTIFICATION_RESPONSE:
        this.show(p, total);
        return;
      case Back.PARAMETER_STATUS:
        if (!understandable(body, length)) this.cut('client_encoding must stay UTF8, and standard_conforming_strings on');
        else if (!this.masksMessages() || isEnumerated(body, length)) this.show(p, total);
        return;
      case Back.ERROR_RESPONSE:
        this.errorReply(p, total);
        return;
      default:
    }
    const head = this.owed.head;
    if (!head || !this.expected(head, type, p, total)) {
      this.cut('the target sent a message out of turn');
    }
  }

  /** A reply to what was sent; false: it is none. */
  protected expected(head: Reply, type: u32, p: usize, total: u32): bool {
    const body = p + HEADER,
      length = total - HEADER,
      portal = head.portal,
      statement = head.statement,
      command = head.command;
    switch (type) {
      case Back.PARSE_COMPLETE:
        if (head.kind != Owed.PARSE || head.refusal) return false;
        break;
      case Back.BIND_COMPLETE:
        if (head.kind != Owed.BIND || (statement && statement.failed)) return false;
        break;
      case Back.CLOSE_COMPLETE:
        if (head.kind == Owed.NOTICE) {
          const held = head.held;
          if (held) {
            frames.reset();
            writeNotice(frames, held.message, held.hint);
            this.say(frames.out.ptr, frames.out.length);
          }
          this.owed.shift();
          return true;
        }
        if (head.kind != Owed.CLOSE) return false;
        break;
      case Back.PARAMETER_DESCRIPTION:
        if (head.kind != Owed.DESCRIBE_STATEMENT) return false;
        this.show(p, total);
        return true;
      case Back.NO_DATA:
        if (head.kind != Owed.DESCRIBE_STATEMENT && head.kind != Owed.DESCRIBE_PORTAL) return false;
        if (portal) portal.columns = null;
        break;
      case Back.ROW_DESCRIPTION:
        if (head.kind == Owed.QUERY) {
          if (!command || head.refusal) return false;
          const columns = readColumns(command.plan, body, length);
          this.columns = columns;
          if (!columns) return false;
          command.bytes += total;
          command.showed(p, total);
          command.describes(columns);
          this.show(p, total);
          return true;
        }
        if (head.kind != Owed.DESCRIBE_PORTAL && head.kind != Owed.DESCRIBE_STATEMENT) return false;
        if (head.kind == Owed.DESCRIBE_PORTAL && portal) {
          portal.columns = readColumns(portal.plan, body, length);
          if (!portal.columns) return false;
          if (portal.plan.record) portal.description = copyOf(p, total);
        } else if (!isDescription(body, length)) return false;
        break;
      case Back.READY_FOR_QUERY:
        if (head.kind != Owed.SYNC && head.kind != Owed.QUERY) return false;
        this.finish(head, 'complete');
        this.settled(<u32>load<u8>(body));
        break;
      case Back.COMMAND_COMPLETE:
      case Back.EMPTY_QUERY_RESPONSE:
      case Back.PORTAL_SUSPENDED:
        return this.completed(head, type, p, total);
      case Back.COPY_OUT_RESPONSE:
      case Back.COPY_DATA:
      case Back.COPY_DONE:
        return this.copyOutReply(head, type, p, total);
      case Back.COPY_IN_RESPONSE: {
        if (!command || head.refusal || (head.kind != Owed.QUERY && head.kind != Owed.EXECUTE)) return false;
        // The target swallows these; anything else sent ahead would make it fail in ways that cannot be followed.
        if (head.kind == Owed.EXECUTE) this.owed.dropSyncs();
        if (this.owed.length != 1) return false;
        this.copyIn = true;
        const copiedIn = command.copiedIn;
        if (copiedIn) copiedIn.begin(load<u8>(body) != 0);
        this.blocked = true;
        this.show(p, total);
        return true;
      }
      default:
        return false;
    }
    if (!head.silent) this.show(p, total);
    this.owed.shift();
    return true;
  }

  protected completed(head: Reply, type: u32, p: usize, total: u32): bool {
    const command = head.command,
      portal = head.portal;
    if (!command || head.refusal || (head.kind != Owed.QUERY && head.kind != Owed.EXECUTE)) return false;
    if (portal && (portal.failed || portal.statement.failed)) return false;
    if (type == Back.PORTAL_SUSPENDED && head.kind != Owed.EXECUTE) return false;
    if (command.records) this.recordDescription(head, command);
    this.columns = null;
    this.copyOut = null;
    this.copiesOut = this.copyIn = false;
    if (type == Back.COMMAND_COMPLETE) {
      const n = total - HEADER - 1;
      command.setTag(p + HEADER, n);
      if (!this.observe(command, String.UTF8.decodeUnsafe(p + HEADER, n))) return false;
    }
    command.bytes += total;
    this.show(p, total);
    if (head.kind == Owed.EXECUTE) {
      this.finish(head, 'complete');
      this.owed.shift();
    }
    return true;
  }

  /** SQL can replace a statement or a portal that the filter knows under its name. False: and it is in use already. */
  protected observe(command: Command, tag: string): bool {
    if (tag == 'PREPARE' || tag == 'DEALLOCATE' || tag == 'DEALLOCATE ALL' || tag == 'DISCARD ALL') command.renames = true;
    if (tag == 'DEALLOCATE' || tag == 'DEALLOCATE ALL' || tag == 'DISCARD ALL') this.deallocated = true;
    else if (tag == 'PREPARE' && this.deallocated) {
      const known = this.statements.keys();
      for (let i = 0; i < known.length; i++) if (known[i].length) this.forget(known[i]);
      for (let i = 1; i < this.owed.length; i++) {
        const statement = this.owed.at(i).statement;
        if (statement && statement.name.length && this.owed.at(i).kind != Owed.CLOSE) return false;
      }
    } else if (tag == 'DECLARE CURSOR') {
      const known = this.portals.keys();
      for (let i = 0; i < known.length; i++) if (known[i].length) this.portals.delete(known[i]);
      for (let i = 1; i < this.owed.length; i++) {
        const portal = this.owed.at(i).portal;
        if (portal && portal.name.length) return false;
      }
    }
    return true;
  }

  /** ReadyForQuery: the transaction's state is known. */
  protected settled(status: u32): void {
    this.columns = null;
    this.copiesOut = this.copyIn = false;
    this.copyOut = null;
    if (status != 0x49) return;
    this.owed.rest();
    this.withholds = false;
    // No portal outlives its transaction. One bound since belongs to the next.
    const known = this.portals.keys();
    for (let i = 0; i < known.length; i++) {
      const portal = this.portals.get(known[i]);
      let bound = false;
      for (let k = 1; k < this.owed.length && !bound; k++) bound = this.owed.at(k).portal == portal && this.owed.at(k).kind == Owed.BIND;
      if (!bound) this.portals.delete(known[i]);
    }
  }

  protected errorReply(p: usize, total: u32): void {
    const report = new Report(p + HEADER, total - HEADER),
      head = this.owed.head;
    const refusal = head ? head.refusal : null,
      command = head ? head.command : null;
    if (!report.wellFormed) {
      this.cut('the target sent a malformed error');
      return;
    }
    if (this.refusal && (report.fatal || (head && head.kind == Owed.END))) {
      this.sayLast();
      return;
    }
    frames.reset();
    if (refusal && !report.fatal) {
      writeRefusal(frames, refusal, Stage.SESSION, false);
      this.say(frames.out.ptr, frames.out.length);
    } else if (this.masksMessages()) {
      writeWithheld(frames, Back.ERROR_RESPONSE, p + HEADER, total - HEADER);
      this.say(frames.out.ptr, frames.out.length);
    } else this.show(p, total);
    if (command && !command.code.length) command.code = refusal ? sqlState(refusal, Stage.SESSION) : report.code;
    if (report.fatal) {
      if (!this.outcome.length) this.outcome = 'failed';
      return;
    }
    this.columns = null;
    this.copiesOut = this.copyIn = false;
    this.copyOut = null;
    if (!head || head.kind == Owed.QUERY || head.kind == Owed.SYNC) return;
    // The extended protocol: the target skips everything up to Sync.
    for (let next = this.owed.head; next; next = this.owed.head) {
      if (next.kind == Owed.SYNC || next.kind == Owed.END) return;
      this.skipped(next);
      this.owed.shift();
    }
    this.discarding = true;
    this.blocked = true;
  }

  /** What was sent failed or is skipped: whatever rests on it must not be believed. */
  protected skipped(reply: Reply): void {
    const statement = reply.statement,
      portal = reply.portal;
    if (reply.kind == Owed.PARSE && statement) {
      statement.failed = true;
      if (this.statements.has(statement.name) && this.statements.get(statement.name) == statement) this.forget(statement.name);
    }
    if (reply.kind == Owed.BIND && portal) {
      portal.failed = true;
      if (this.portals.has(portal.name) && this.portals.get(portal.name) == portal) this.portals.delete(portal.name);
    }
    if (reply.kind == Owed.DESCRIBE_PORTAL && portal) portal.described = false;
    this.finish(reply, 'cancelled');
  }
}
