// What the client sends once it is let in: commands are judged before the target sees them, everything else is followed so that replies can be told apart.
import { copyOf, utf8 } from '../../abi/bytes';
import { isUtf8 } from '../../mask/utf8';
import { addTypes, judgeRequest, Refusal, RefusalKind } from '../../stream/door';
import { JudgedText } from '../../stream/judged';
import { CommandPlan } from '../../stream/plan';
import { DoorMethod, Standing } from '../../stream/protocol';
import { NameReader, ParseMessage, Read, readValues } from './bind';
import { COMMAND_ROOM, Command } from './command';
import { Ask, frames, MAX_HELD, MAX_SHORT } from './conversation';
import { be32, Front, HEADER, textLength } from './frame';
import { Gate, Judging, RESERVED_NAME, revision, sameBytes } from './judging';
import { Portal, Statement } from './prepared';
import { Owed, Reply } from './queue';
import {
  expired,
  nameTooLong,
  noPortal,
  notUtf8,
  reserved,
  stale,
  tooLong,
  unavailable,
  unrecorded,
  unsupported,
  violation,
} from './refusals';

const MAX_OWED: i32 = 4096;
const MAX_STATEMENTS: i32 = 10_000;
const MAX_STATEMENT_BYTES: u32 = 16 << 20;
/** Names that the filter uses; no client may. */
const RESERVED = '_sluice';
/** No SQL: what stands in the place of a refused command fails, as the client is told that its own did. */
const FAILS = utf8('refused by the gateway: not the statement that the client sent');

const NONE = new ArrayBuffer(0);
const names = new NameReader();

export abstract class ClientSide extends Judging {
  protected epoch: u32 = 0;
  /** Bound by the last message, but for those that run nothing else. */
  private latest: Portal | null = null;
  /** Bytes of a client's message under way: to the target, or to nowhere. */
  protected passing: u32 = 0;
  protected skipping: u32 = 0;

  protected takeMessage(p: usize, length: u32): u32 {
    if (this.passing) {
      const n = min(this.passing, length);
      this.connection.passUpstream(p, n);
      if (this.copyIn) this.copyingIn(p, n);
      this.passing -= n;
      return n;
    }
    if (this.skipping) {
      const n = min(this.skipping, length);
      this.skipping -= n;
      return n;
    }
    if (this.refusal || this.terminated) return length;
    if (length < HEADER) return 0;
    const type = <u32>load<u8>(p),
      size = be32(p + 1);
    if (size < 4 || size > 0x3fff_ffff) {
      this.fail(violation('a message with an impossible length'), 'failed');
      return length;
    }
    if (this.owed.length >= MAX_OWED) return this.block();
    const total = size + 1;
    if ((type == Front.SYNC || type == Front.FLUSH || type == Front.TERMINATE) && total != HEADER) {
      this.fail(violation('a malformed message'), 'failed');
      return length;
    }
    if (this.copyIn) return this.takeCopyIn(type, p, length, total);
    // The target skips these as well. Nothing of them needs a judgement.
    if (this.discarding && type != Front.SYNC && type != Front.TERMINATE) {
      this.drop();
      return this.skip(length, total);
    }
    if (this.ask == Ask.JUDGING || this.ask == Ask.HELD) return 0;
    if (type != Front.DESCRIBE && type != Front.EXECUTE && type != Front.FLUSH) this.latest = null;
    switch (type) {
      case Front.QUERY:
        if (total > MAX_HELD) return this.refuseQuery(tooLong(), null, length, total);
        return length < total ? 0 : this.takeQuery(p, total);
      case Front.PARSE:
        if (total > MAX_HELD) return this.refuseExtended(tooLong(), null, length, total);
        return length < total ? 0 : this.takeParse(p, total);
      case Front.BIND:
        return this.takeBind(p, length, total);
      case Front.COPY_DATA:
      case Front.COPY_DONE:
      case Front.COPY_FAIL:
        // The target has not said yet that it wants them, or it has ceased to, or never did: a client that does not wait to hear sends them all the
        // same. The target skips what it did not ask for as well.
        return this.owed.length ? this.block() : this.skip(length, total);
      case Front.FUNCTION_CALL:
        return this.refuseQuery(unsupported('function calls of the protocol do not pass the gateway: use SELECT'), null, length, total);
      case Front.DESCRIBE:
      case Front.EXECUTE:
      case Front.CLOSE:
      case Front.FLUSH:
      case Front.SYNC:
      case Front.TERMINATE:
        if (total > MAX_SHORT) break;
        return length < total ? 0 : this.takeShort(type, p, total);
      default:
    }
    this.fail(violation('a message of an unknown type, or out of turn'), 'failed');
    return length;
  }

  protected block(): u32 {
    this.blocked = true;
    return 0;
  }

  protected skip(length: u32, total: u32): u32 {
    const n = min(length, total);
    this.skipping = total - n;
    return n;
  }

  protected pass(p: usize, length: u32, total: u32): u32 {
    const n = min(length, total);
    this.connection.passUpstream(p, n);
    this.passing = total - n;
    return n;
  }

  protected takeCopyIn(type: u32, p: usize, length: u32, total: u32): u32 {
    switch (type) {
      case Front.COPY_DATA:
        this.copyingIn(p + HEADER, min(length, total) - HEADER);
        return this.pass(p, length, total);
      case Front.COPY_DONE:
      case Front.COPY_FAIL:
        this.copiedIn(type == Front.COPY_DONE);
        this.copyIn = false;
        return this.pass(p, length, total);
      case Front.FLUSH:
      case Front.SYNC:
        return this.pass(p, length, total);
      case Front.TERMINATE:
        return this.takeShort(type, p, total);
      default:
    }
    this.fail(violation('a message out of turn while rows are copied in'), 'failed');
    return length;
  }

  /** Rows that the client copies in, for the record. */
  private copyingIn(p: usize, length: u32): void {
    const head = this.owed.head,
      command = head ? head.command : null,
      record = command ? command.copiedIn : null;
    if (record) record.write(p, length);
  }

  private copiedIn(whole: bool): void {
    const head = this.owed.head,
      command = head ? head.command : null,
      record = command ? command.copiedIn : null;
    if (record) record.end(whole);
  }

  protected takeQuery(p: usize, total: u32): u32 {
    const text = p + HEADER,
      n = textLength(text, p + total);
    if (this.ask == Ask.DECIDED) {
      if (!this.recordable()) return 0;
      const command = this.decided(),
        refusal = this.verdictRefusal;
      if (refusal) return this.refuseQuery(refusal, command, total, total);
      this.remember(text, n, command);
      return this.passQuery(p, total, command);
    }
    if (this.ask != Ask.NOTHING) return 0;
    if (n < 0 || <u32>n != total - HEADER - 1) {
      this.fail(violation('a malformed Query'), 'failed');
      return total;
    }
    const known = this.known(text, n);
    if (known) {
      const told: u32 = known.shaped ? n : 0,
        gate = this.gate(told, known.plan);
      if (gate == Gate.WAIT) return 0;
      if (gate == Gate.SHUT) return this.refuseQuery(unrecorded(), null, total, total);
      return this.passQuery(p, total, this.untold(new Command(known.command, known.plan, this.connection.now(), copyOf(text, told))));
    }
    if (!isUtf8(text, n)) return this.refuseQuery(notUtf8(), null, total, total);
    const gate = this.gate();
    if (gate == Gate.WAIT) return 0;
    if (gate == Gate.SHUT) return this.refuseQuery(unrecorded(), null, total, total);
    this.judge();
    const request = judgeRequest(this.session, text, n, false, NONE, this.owed.idle, this.origins);
    this.tellRenamed();
    if (this.connection.ask(DoorMethod.JUDGE, request.out, this.nextTag())) return 0;
    this.ask = Ask.DECIDED;
    return this.takeQuery(p, total);
  }

  protected passQuery(p: usize, total: u32, command: Command): u32 {
    this.epoch++;
    this.owed.push(new Reply(Owed.QUERY)).command = this.begin(command);
    this.connection.passUpstream(p, total);
    return total;
  }

  /** In the place of a Query: one that fails. A command without `command` was not admitted. */
  protected refuseQuery(refusal: Refusal, command: Command | null, length: u32, total: u32): u32 {
    this.drop();
    this.epoch++;
    if (!command) this.tellRefused(refusal);
    this.send(frames.reset().open(Front.QUERY).text(FAILS).close());
    const reply = this.owed.push(new Reply(Owed.QUERY));
    reply.refusal = refusal;
    reply.command = command;
    return this.skip(length, total);
  }

  /** In the place of a message of the extended protocol: a Parse that fails, after which the target skips up to Sync. */
  protected refuseExtended(refusal: Refusal, command: Command | null, length: u32, total: u32): u32 {
    this.drop();
    if (!command) this.tellRefused(refusal);
    this.send(frames.reset().open(Front.PARSE).text(RESERVED_NAME).text(FAILS).int16(0).close());
    const reply = this.owed.push(new Reply(Owed.PARSE));
    reply.refusal = refusal;
    reply.command = command;
    return this.skip(length, total);
  }

  /** Reads a name; false: the message is refused or the session fails, and `names.next` is 0, or more bytes are needed. */
  protected name(p: usize, end: usize, whole: bool): Read {
    const read = names.read(p, end, whole);
    if (read == Read.MALFORMED) this.fail(violation('a malformed name'), 'failed');
    return read;
  }

  protected takeParse(p: usize, total: u32): u32 {
    const end = p + total,
      read = this.name(p + HEADER, end, true);
    if (read == Read.NAME_TOO_LONG) return this.refuseExtended(nameTooLong(), null, total, total);
    if (read != Read.OK) return total;
    const name = names.name,
      message = new ParseMessage();
    if (!message.read(names.next, end)) {
      this.fail(violation('a malformed Parse'), 'failed');
      return total;
    }
    if (this.ask == Ask.DECIDED) {
      const command = this.decided(),
        refusal = this.verdictRefusal,
        verdict = this.verdict;
      if (refusal) return this.refuseExtended(refusal, command, total, total);
      // Nothing runs yet: there is nothing to tell.
      this.connection.release(COMMAND_ROOM);
      if (verdict) {
        this.remember(message.text, message.length, command);
        this.prepare(name, message, command.number, command.plan, verdict.eachExecution, verdict.revision, verdict.generation, false);
      }
      this.connection.passUpstream(p, total);
      return total;
    }
    if (this.ask != Ask.NOTHING) return 0;
    if (name.startsWith(RESERVED)) return this.refuseExtended(reserved(), null, total, total);
    if (name.length && this.statements.has(name))
      return this.refuseExtended(
        Refusal.of(RefusalKind.UNSUPPORTED, '42P05', `prepared statement "${name}" already exists`),
        null,
        total,
        total,
      );
    if (!isUtf8(message.text, message.length)) return this.refuseExtended(notUtf8(), null, total, total);
    if (this.statements.size >= MAX_STATEMENTS || this.statementBytes + message.length > MAX_STATEMENT_BYTES)
      return this.refuseExtended(Refusal.of(RefusalKind.UNSUPPORTED, '53000', 'too many prepared statements'), null, total, total);
    // What stands under a name, SQL can execute: the service is told of each.
    let known: JudgedText | null = null;
    if (!name.length) known = this.known(message.text, message.length);
    if (known) {
      this.prepare(name, message, known.command, known.plan, false, known.revision, known.generation, known.shaped);
      this.connection.passUpstream(p, total);
      return total;
    }
    const gate = this.gate();
    if (gate == Gate.WAIT) return 0;
    if (gate == Gate.SHUT) return this.refuseExtended(unrecorded(), null, total, total);
    this.judge();
    const request = judgeRequest(this.session, message.text, message.length, true, utf8(name), this.owed.idle, this.origins);
    addTypes(message.types);
    this.tellRenamed();
    if (this.connection.ask(DoorMethod.JUDGE, request.out, this.nextTag())) return 0;
    this.ask = Ask.DECIDED;
    return this.takeParse(p, total);
  }

  protected prepare(
    name: string,
    message: ParseMessage,
    command: u64,
    plan: CommandPlan,
    eachExecution: bool,
    decidedBy: ArrayBuffer,
    generation: u64,
    tells: bool,
  ): void {
    const text = copyOf(message.text, message.length),
      statement = new Statement(name, text, message.types, command, plan, eachExecution, decidedBy, generation, tells);
    this.forget(name);
    this.statements.set(name, statement);
    this.statementBytes += message.length;
    this.owed.push(new Reply(Owed.PARSE)).statement = statement;
  }

  protected takeBind(p: usize, length: u32, total: u32): u32 {
    const end = p + min(length, total),
      whole = length >= total;
    let read = this.name(p + HEADER, end, whole);
    const portal = names.name;
    if (read == Read.OK) read = this.name(names.next, end, whole);
    if (read == Read.SHORT) return 0;
    if (read == Read.NAME_TOO_LONG) return this.refuseExtended(nameTooLong(), null, length, total);
    if (read != Read.OK) return length;
    const name = names.name,
      values = names.next;
    if (!this.statements.has(name))
      return this.refuseExtended(
        Refusal.of(
          RefusalKind.UNSUPPORTED,
          '26000',
          name.length ? `prepared statement "${name}" does not exist` : 'unnamed prepared statement does not exist',
        ),
        null,
        length,
        total,
      );
    const statement = this.statements.get(name);
    if (
      statement.eachExecution ||
      this.expired ||
      !sameBytes(statement.revision, revision) ||
      this.connection.standing(statement.generation) != Standing.GOOD
    ) {
      if (total > MAX_HELD) return this.refuseExtended(tooLong(), null, length, total);
      if (!whole) return 0;
      return this.takeJudgedBind(p, total, portal, statement, values);
    }
    this.bind(new Portal(portal, statement, statement.command, statement.plan, statement.generation, this.epoch, statement.tells));
    return this.pass(p, length, total);
  }

  /** A Bind that is judged again, with its values where the verdict rests on them. */
  protected takeJudgedBind(p: usize, total: u32, portal: string, statement: Statement, values: usize): u32 {
    const end = p + total;
    if (this.ask == Ask.DECIDED) {
      const command = this.decided(),
        refusal = this.verdictRefusal,
        verdict = this.verdict;
      if (refusal) return this.refuseExtended(refusal, command, total, total);
      this.connection.release(COMMAND_ROOM);
      if (verdict) {
        if (!statement.eachExecution && !verdict.eachExecution) {
          statement.plan = command.plan;
          statement.command = command.number;
          statement.tells = false;
        }
        statement.eachExecution = verdict.eachExecution;
        statement.revision = verdict.revision;
        statement.generation = verdict.generation;
      }
      const bound = new Portal(portal, statement, command.number, command.plan, verdict ? verdict.generation : 0, this.epoch, false);
      bound.byName = verdict != null && verdict.byName;
      this.bind(bound);
      this.connection.passUpstream(p, total);
      return total;
    }
    if (this.ask != Ask.NOTHING) return 0;
    if (!readValues(values, end, false)) {
      this.fail(violation('a malformed Bind'), 'failed');
      return total;
    }
    const gate = this.gate();
    if (gate == Gate.WAIT) return 0;
    if (gate == Gate.SHUT) return this.refuseExtended(unrecorded(), null, total, total);
    this.judge();
    const request = judgeRequest(
      this.session,
      changetype<usize>(statement.text),
      statement.text.byteLength,
      false,
      utf8(statement.name),
      this.owed.idle,
      this.origins,
    );
    readValues(values, end, true);
    addTypes(statement.types);
    this.tellRenamed();
    if (this.connection.ask(DoorMethod.JUDGE, request.out, this.nextTag())) return 0;
    this.ask = Ask.DECIDED;
    return this.takeJudgedBind(p, total, portal, statement, values);
  }

  protected bind(portal: Portal): void {
    this.portals.set(portal.name, portal);
    this.latest = portal;
    const reply = this.owed.push(new Reply(Owed.BIND));
    reply.portal = portal;
    reply.statement = portal.statement;
  }

  protected takeShort(type: u32, p: usize, total: u32): u32 {
    const body = p + HEADER,
      end = p + total;
    switch (type) {
      case Front.TERMINATE:
        this.terminated = true;
        this.connection.passUpstream(p, total);
        return total;
      case Front.FLUSH:
        this.connection.passUpstream(p, total);
        return total;
      case Front.SYNC:
        this.discarding = false;
        this.epoch++;
        this.owed.push(new Reply(Owed.SYNC));
        this.connection.passUpstream(p, total);
        return total;
      default:
    }
    // Describe and Close say first of what: a statement or a portal.
    let kind: u32 = 0x50,
      at = body;
    if (type != Front.EXECUTE) {
      kind = total > HEADER ? load<u8>(at++) : 0;
      if (kind != 0x50 && kind != 0x53) {
        this.fail(violation('a malformed message'), 'failed');
        return total;
      }
    }
    const read = this.name(at, end, true);
    if (read == Read.NAME_TOO_LONG) return this.refuseExtended(nameTooLong(), null, total, total);
    if (read != Read.OK) return total;
    if (<u32>(end - names.next) != (type == Front.EXECUTE ? 4 : 0)) {
      this.fail(violation('a malformed message'), 'failed');
      return total;
    }
    const name = names.name;
    if (type == Front.EXECUTE) return this.takeExecute(p, total, name);
    if (kind == 0x53) {
      if (name.startsWith(RESERVED)) return this.refuseExtended(reserved(), null, total, total);
      const reply = this.owed.push(new Reply(type == Front.CLOSE ? Owed.CLOSE : Owed.DESCRIBE_STATEMENT));
      if (this.statements.has(name)) reply.statement = this.statements.get(name);
      if (type == Front.CLOSE) this.forget(name);
    } else if (type == Front.CLOSE) {
      this.portals.delete(name);
      this.owed.push(new Reply(Owed.CLOSE));
    } else {
      if (name.startsWith(RESERVED)) return this.refuseExtended(reserved(), null, total, total);
      const described = new Reply(Owed.DESCRIBE_PORTAL);
      // One that is not known here may be a cursor that DECLARE made: its description carries no row, and only a judged FETCH gets any.
      if (this.portals.has(name)) {
        const portal = this.portals.get(name);
        if (portal.epoch != this.epoch && this.owed.length) return this.block();
        portal.described = true;
        described.portal = portal;
      }
      this.owed.push(described);
    }
    this.connection.passUpstream(p, total);
    return total;
  }

  protected takeExecute(p: usize, total: u32, name: string): u32 {
    if (!this.portals.has(name)) return this.refuseExtended(noPortal(name), null, total, total);
    const portal = this.portals.get(name);
    if (this.latest != portal) this.latest = null;
    // A Sync or a Query since may have taken the portal away: what is owed tells, and then the picture is exact again.
    if (portal.epoch != this.epoch && this.owed.length) return this.block();
    if (this.expired) return this.refuseExtended(expired(), null, total, total);
    // What has reached the target since may have prepared something else.
    if (portal.byName && this.latest != portal) return this.refuseExtended(stale(), null, total, total);
    const standing = this.connection.standing(portal.generation);
    if (standing == Standing.STALE) return this.refuseExtended(stale(), null, total, total);
    if (standing == Standing.UNKNOWN) {
      if (this.patience() == Gate.WAIT) return 0;
      return this.refuseExtended(unavailable('the gateway cannot tell now whether this may still run'), null, total, total);
    }
    const text = portal.statement.text,
      told: u32 = portal.tells ? text.byteLength : 0,
      gate = this.gate(told, portal.plan);
    if (gate == Gate.WAIT) return 0;
    if (gate == Gate.SHUT) return this.refuseExtended(unrecorded(), null, total, total);
    if (!portal.described) {
      portal.described = true;
      frames.reset().open(Front.DESCRIBE).byte(0x50);
      this.send(frames.text(utf8(name)).close());
      const reply = this.owed.push(new Reply(Owed.DESCRIBE_PORTAL));
      reply.silent = true;
      reply.portal = portal;
    }
    portal.byName = false;
    const reply = this.owed.push(new Reply(Owed.EXECUTE));
    reply.portal = portal;
    reply.statement = portal.statement;
    reply.command = this.begin(this.untold(new Command(portal.command, portal.plan, this.connection.now(), told ? text : NONE)));
    this.connection.passUpstream(p, total);
    return total;
  }
}
