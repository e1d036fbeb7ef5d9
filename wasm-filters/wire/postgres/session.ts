// One connection of a PostgreSQL client: log-in, then commands. The client's messages are judged before the target sees them (downstream), the target's are
// matched with what it owes (upstream). What it may do in which phase stands here; what a message is, in the files beside.
import { copyOf, utf8 } from '../../abi/bytes';
import { isUtf8 } from '../../mask/utf8';
import {
  addTypes,
  awaitRequest,
  cancelRequest,
  closeRequest,
  judgeRequest,
  logInRequest,
  openRequest,
  Refusal,
  RefusalKind,
  readKnown,
  readLoggedIn,
  readOpened,
  readReady,
  readVerdict,
  readyRequest,
  refusedRequest,
  Verdict,
  wipeRequest,
} from '../../stream/door';
import { CommandPlan, CopyPlan } from '../../stream/plan';
import { Connection, DoorMethod, GrpcStatus, Protocol, Standing } from '../../stream/protocol';
import { Admission } from '../../tap/emitter';
import { NameReader, ParseMessage, Read, readValues } from './bind';
import { Columns, readColumns } from './columns';
import { COMMAND_ROOM, Command } from './command';
import { copied, maskCopyRow } from './copy';
import { Back, be16, be32, Frames, Front, HEADER, textLength } from './frame';
import { isEnumerated, understandable } from './parameter';
import { Portal, Statement } from './prepared';
import { Owed, Reply, ReplyQueue } from './queue';
import { isWellFormed } from './reply';
import { Report, Stage, sqlState, writeNotice, writeRefusal, writeWithheld } from './report';
import { LongRow, maskRow, RowStatus, rewritten } from './rows';
import { MAX_STARTUP, Startup, StartupCode, writeNoProtocol, writeRequest } from './startup';

/** A longer command, or row with masked columns, is not held. */
export const MAX_HELD: u32 = 1 << 20;
/** Messages that carry names only, and the password. */
const MAX_SHORT: u32 = 64 << 10;
/** What the target may say before the client is let in. */
const MAX_GREETING: u32 = 64 << 10;
const MAX_OWED: i32 = 4096;
const MAX_STATEMENTS: i32 = 10_000;
const MAX_STATEMENT_BYTES: u32 = 16 << 20;
/** How long a command waits for the tap. */
const PATIENCE: u64 = 2_000_000_000;
/** How long the target may take to give the occasion for a last word. */
const LAST_WORD: u64 = 5_000_000_000;

/** Names that the filter uses; no client may. */
const RESERVED = '_sluice';
const RESERVED_NAME = utf8('_sluice');
/** No SQL: what stands in the place of a refused command fails, as the client is told that its own did. */
const FAILS = utf8('refused by the gateway: not the statement that the client sent');

const enum Phase {
  /** Before the StartupMessage. */
  START,
  /** The target is asked for an `N`, for the client (its SSLRequest) or for a password request. */
  NEGOTIATING,
  PASSWORD,
  OPENING,
  /** The target has been greeted. */
  LOGGING_IN,
  /** The target has let the gateway in; the service has not recorded it yet. */
  ENTERING,
  /** Recorded; an occasion to tell the client is asked of the target. */
  TELLING,
  READY,
  CANCELLING,
  /** A refusal waits for the target to say anything. */
  REFUSED,
  OVER,
}

const enum Ask {
  NOTHING,
  JUDGING,
  HELD,
  DECIDED,
}

const enum Gate {
  OPEN,
  WAIT,
  SHUT,
}

/** The policy that decided last, on any connection of this VM: what another decided is judged anew. */
let revision = new ArrayBuffer(0);

const frames = new Frames();
const names = new NameReader();

function sameBytes(a: ArrayBuffer, b: ArrayBuffer): bool {
  return a.byteLength == b.byteLength && memory.compare(changetype<usize>(a), changetype<usize>(b), a.byteLength) == 0;
}

function unavailable(text: string): Refusal {
  return Refusal.of(RefusalKind.UNAVAILABLE, '', text);
}
function violation(text: string): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '08P01', text);
}
function unsupported(text: string): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '0A000', text);
}

export class PostgresSession extends Protocol {
  private phase: Phase = Phase.START;
  private session: ArrayBuffer = new ArrayBuffer(0);
  private startup: Startup | null = null;
  private usedSsl: bool = false;
  private usedGss: bool = false;
  /** The `N` under way answers the client's own request. */
  private answersClient: bool = false;
  private greeted: bool = false;
  /** Before READY: what the target says, not read yet, and what the client will be told of it. */
  private heard: ArrayBuffer = new ArrayBuffer(0);
  private welcome: ArrayBuffer = new ArrayBuffer(0);
  private cancelKey: ArrayBuffer = new ArrayBuffer(0);
  private awaitsLogIn: bool = false;

  private tag: u32 = 0;
  private ask: Ask = Ask.NOTHING;
  private verdict: Verdict | null = null;
  private refusal: Refusal | null = null;
  private waitsSince: u64 = 0;
  private askedAt: u64 = 0;
  private inUpstream: bool = false;
  private deadline: u64 = 0;
  /** No command begins after it; 0: no end is known. */
  private validUntil: u64 = 0;

  private owed: ReplyQueue = new ReplyQueue();
  private statements: Map<string, Statement> = new Map();
  private statementBytes: u32 = 0;
  private portals: Map<string, Portal> = new Map();
  private epoch: u32 = 0;
  /** Bytes of a client's message under way: to the target, or to nowhere. */
  private passing: u32 = 0;
  private skipping: u32 = 0;
  /** The target skips everything up to the next Sync. */
  private discarding: bool = false;
  private blocked: bool = false;
  private copyIn: bool = false;
  private hadCopyIn: bool = false;
  private terminated: bool = false;
  private outcome: string = '';

  /** Columns of the rows that a simple query returns now. */
  private columns: Columns | null = null;
  private copyOut: CopyPlan | null = null;
  private copiesOut: bool = false;
  /** Bytes of a target's message under way: to the client, or to nowhere. */
  private replyPassing: u32 = 0;
  private replyDropping: u32 = 0;
  private longRow: LongRow | null = null;
  /** A command of this transaction obliges to withhold texts. */
  private withholds: bool = false;
  private deallocated: bool = false;
  /** A span of the target's bytes that passes, not sent yet. */
  private runAt: usize = 0;
  private runEnd: usize = 0;
  /** It is not as the target wrote it. */
  private runChanged: bool = false;
  /** What is read is a copy of what the target said earlier. */
  private fromWelcome: bool = false;

  constructor(connection: Connection) {
    super(connection);
  }

  // The client speaks.

  downstream(ptr: usize, length: u32, end: bool): u32 {
    let used: u32 = 0;
    this.blocked = false;
    while (used < length) {
      const n = this.take(ptr + used, length - used);
      if (!n) break;
      used += n;
    }
    // A client that ends its side while it waits for an approval has gone.
    if (end && (this.ask == Ask.HELD || (this.phase != Phase.READY && this.phase != Phase.OVER && this.phase != Phase.CANCELLING)))
      this.over('cancelled');
    return used;
  }

  private take(p: usize, length: u32): u32 {
    switch (this.phase) {
      case Phase.START:
        return this.takeStartup(p, length);
      case Phase.PASSWORD:
        return this.takePassword(p, length);
      case Phase.READY:
        return this.takeMessage(p, length);
      case Phase.REFUSED:
      case Phase.OVER:
        return length;
      default:
        return 0;
    }
  }

  private over(outcome: string): void {
    if (this.phase == Phase.OVER) return;
    this.phase = Phase.OVER;
    if (!this.outcome.length) this.outcome = outcome;
    this.connection.close();
  }

  private send(message: Frames): void {
    this.connection.sendUpstream(message.out.ptr, message.out.length);
  }

  private nextTag(): u32 {
    return ++this.tag;
  }

  /** Says a last word to the client, as soon as the target gives the occasion, and ends the connection. */
  private fail(refusal: Refusal, outcome: string): void {
    if (this.phase == Phase.OVER || this.refusal) return;
    this.outcome = outcome;
    this.refusal = refusal;
    if (this.inUpstream) {
      this.sayLast();
      return;
    }
    if (this.phase == Phase.READY) {
      // What the target owes still comes first; to this it answers with an error in any state.
      this.owed.push(new Reply(Owed.END));
      this.send(frames.reset().open(0x21).close());
    } else if (this.greeted) this.send(frames.reset().open(0x21).close());
    else this.send(writeNoProtocol(frames));
    this.drop();
    if (this.phase != Phase.READY) this.phase = Phase.REFUSED;
    this.deadline = this.connection.now() + LAST_WORD;
    this.connection.tick(true);
  }

  private sayLast(): void {
    this.flush();
    const refusal = this.refusal;
    if (refusal) {
      frames.reset();
      writeRefusal(frames, refusal, this.phase == Phase.READY ? Stage.SESSION : Stage.STARTUP, true);
      this.connection.sendDownstream(frames.out.ptr, frames.out.length);
    }
    this.over('failed');
  }

  // Start-up.

  private takeStartup(p: usize, length: u32): u32 {
    if (length < 8) return 0;
    const total = be32(p),
      code = be32(p + 4);
    if (total < 8 || total > MAX_STARTUP) {
      this.over('failed');
      return length;
    }
    if (length < total) return 0;
    if (code == StartupCode.CANCEL) {
      this.startCancel(p, total);
      return length;
    }
    if (code == StartupCode.SSL || code == StartupCode.GSSENC) {
      // Nothing may follow before the answer: it would be taken for what the answer protects.
      if (total != 8 || length > 8) this.fail(violation('bytes after a request for encryption'), 'failed');
      else if (!this.requestN())
        this.fail(
          unsupported(
            'encryption is not switched on inside the connection: connect with sslmode=disable and gssencmode=disable, or with sslnegotiation=direct',
          ),
          'failed',
        );
      else this.answersClient = true;
      return total;
    }
    if (code >> 16 != 3) {
      this.fail(unsupported('the protocol must be PostgreSQL 3'), 'failed');
      return total;
    }
    const startup = new Startup(copyOf(p, total));
    this.startup = startup;
    if (!startup.wellFormed) this.fail(violation('the start-up packet is malformed'), 'failed');
    else if (startup.replication) this.fail(unsupported('replication does not pass the gateway'), 'failed');
    else if (this.connection.passage().byteLength) this.open(0, 0);
    else if (!this.requestN())
      this.fail(
        unsupported('no password can be asked for after two requests for encryption: connect with sslmode=disable or gssencmode=disable'),
        'failed',
      );
    else this.answersClient = false;
    return total;
  }

  /** Asks the target for something that it answers with `N`. There are two such questions, each for once. */
  private requestN(): bool {
    if (this.usedSsl && this.usedGss) return false;
    this.send(writeRequest(frames, this.usedSsl ? StartupCode.GSSENC : StartupCode.SSL));
    if (this.usedSsl) this.usedGss = true;
    else this.usedSsl = true;
    this.phase = Phase.NEGOTIATING;
    return true;
  }

  private startCancel(p: usize, total: u32): void {
    this.heard = copyOf(p, total);
    this.phase = Phase.CANCELLING;
    if (total < 16 || !this.connection.ask(DoorMethod.CANCEL, cancelRequest(this.connection.target(), p + 8, total - 8), this.nextTag()))
      this.over('failed');
  }

  private takePassword(p: usize, length: u32): u32 {
    if (length < HEADER) return 0;
    const size = be32(p + 1);
    if (load<u8>(p) != Front.PASSWORD || size < 5 || size > MAX_SHORT) {
      this.fail(violation('a password was expected'), 'failed');
      return length;
    }
    if (length < size + 1) return 0;
    const token = p + HEADER,
      n = textLength(token, p + size + 1);
    if (n != <i32>size - 5) {
      this.fail(violation('the password is malformed'), 'failed');
      return length;
    }
    this.open(token, n);
    memory.fill(token, 0, n);
    return size + 1;
  }

  private open(token: usize, length: u32): void {
    const c = this.connection;
    this.phase = Phase.OPENING;
    const request = openRequest(c.target(), c.downstreamAddress(), c.emitterId(), token, length, c.passage());
    const startup = this.startup;
    if (startup) startup.addTo();
    const asked = c.ask(DoorMethod.OPEN, request.out, this.nextTag());
    wipeRequest();
    if (!asked) this.fail(unavailable('the gateway cannot decide now'), 'failed');
  }

  private opened(status: u32, p: usize, length: u32): void {
    const answer = readOpened(p, length),
      refusal = answer.refusal;
    this.session = answer.session;
    if (status != GrpcStatus.OK || !answer.understood) this.fail(unavailable('the gateway cannot decide now'), 'failed');
    else if (refusal) this.fail(refusal, 'denied');
    else if (!answer.length || !answer.session.byteLength)
      this.fail(unavailable('the gateway does not know how to greet the target'), 'failed');
    else {
      this.phase = Phase.LOGGING_IN;
      this.greeted = true;
      if (answer.validMs) this.validUntil = this.connection.now() + answer.validMs * 1_000_000;
      this.connection.sendUpstream(answer.bytes, answer.length);
    }
  }

  private loggedIn(status: u32, p: usize, length: u32): void {
    this.awaitsLogIn = false;
    const answer = readLoggedIn(p, length),
      refusal = answer.refusal;
    if (status != GrpcStatus.OK || !answer.understood) this.fail(unavailable('the gateway cannot log in to the target now'), 'failed');
    else if (refusal) this.fail(refusal, 'failed');
    else {
      if (answer.length) this.connection.sendUpstream(answer.bytes, answer.length);
      this.hear();
    }
  }

  private recorded(status: u32, p: usize, length: u32): void {
    const answer = readReady(p, length),
      refusal = answer.refusal;
    if (status != GrpcStatus.OK || !answer.understood) this.fail(unavailable('the session cannot be recorded now'), 'failed');
    else if (refusal) this.fail(refusal, 'denied');
    else {
      this.phase = Phase.TELLING;
      this.send(frames.reset().open(Front.SYNC).close());
    }
  }

  /** Reads what the target has said before the client is let in. Nothing can be said to the client here. */
  private hear(): void {
    const start = changetype<usize>(this.heard),
      length = <u32>this.heard.byteLength;
    let at: u32 = 0;
    while (!this.awaitsLogIn && this.phase >= Phase.LOGGING_IN && this.phase <= Phase.TELLING && length - at >= HEADER) {
      const p = start + at,
        size = be32(p + 1);
      if (size < 4 || size > MAX_GREETING) {
        this.fail(unavailable('the target does not speak PostgreSQL'), 'failed');
        break;
      }
      if (length - at < size + 1) break;
      at += size + 1;
      this.hearMessage(p, size + 1);
    }
    if (at) this.heard = copyOf(start + at, length - at);
  }

  private keepForClient(p: usize, total: u32): void {
    const longer = new ArrayBuffer(this.welcome.byteLength + total);
    memory.copy(changetype<usize>(longer), changetype<usize>(this.welcome), this.welcome.byteLength);
    memory.copy(changetype<usize>(longer) + this.welcome.byteLength, p, total);
    this.welcome = longer;
  }

  private hearMessage(p: usize, total: u32): void {
    const body = p + HEADER,
      length = total - HEADER,
      entered = this.phase != Phase.LOGGING_IN;
    switch (<u32>load<u8>(p)) {
      case Back.AUTHENTICATION:
        if (entered || length < 4) break;
        if (be32(body) != 0) {
          this.awaitsLogIn = true;
          if (!this.connection.ask(DoorMethod.LOG_IN, logInRequest(this.session, p, total), this.nextTag()))
            this.fail(unavailable('the gateway cannot log in to the target now'), 'failed');
          return;
        }
        this.phase = Phase.ENTERING;
        this.keepForClient(p, total);
        return;
      case Back.PARAMETER_STATUS:
        if (!entered) break;
        if (!understandable(body, length)) {
          this.fail(unsupported('the target must use client_encoding UTF8 and standard_conforming_strings on'), 'failed');
          return;
        }
        this.keepForClient(p, total);
        return;
      case Back.BACKEND_KEY_DATA:
        if (!entered || this.cancelKey.byteLength) break;
        this.cancelKey = copyOf(body, length);
        this.keepForClient(p, total);
        return;
      case Back.READY_FOR_QUERY:
        if (this.phase == Phase.ENTERING && !this.askedAt) {
          this.askedAt = this.connection.now();
          this.keepForClient(p, total);
          if (!this.connection.ask(DoorMethod.READY, readyRequest(this.session, this.cancelKey), this.nextTag()))
            this.fail(unavailable('the session cannot be recorded now'), 'failed');
          return;
        }
        if (this.phase != Phase.TELLING) break;
        this.phase = Phase.READY;
        this.connection.watch();
        return;
      // Texts of the target from before the session: they are the gateway's business, not the client's.
      case Back.NOTICE_RESPONSE:
      case Back.NEGOTIATE_PROTOCOL_VERSION:
        return;
      case Back.ERROR_RESPONSE: {
        const report = new Report(body, length);
        this.fail(unavailable('the target did not let the gateway in (' + report.code + ')'), 'failed');
        return;
      }
      default:
    }
    this.fail(unavailable('the target says what does not belong to a log-in'), 'failed');
  }

  // Commands.

  private takeMessage(p: usize, length: u32): u32 {
    if (this.passing) {
      const n = min(this.passing, length);
      this.connection.passUpstream(p, n);
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
        // Either the target has not said yet that it wants them, or it has ceased to.
        if (this.owed.length) return this.block();
        if (this.hadCopyIn) return this.skip(length, total);
        break;
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

  private block(): u32 {
    this.blocked = true;
    return 0;
  }

  private skip(length: u32, total: u32): u32 {
    const n = min(length, total);
    this.skipping = total - n;
    return n;
  }

  private pass(p: usize, length: u32, total: u32): u32 {
    const n = min(length, total);
    this.connection.passUpstream(p, n);
    this.passing = total - n;
    return n;
  }

  private takeCopyIn(type: u32, p: usize, length: u32, total: u32): u32 {
    switch (type) {
      case Front.COPY_DATA:
        return this.pass(p, length, total);
      case Front.COPY_DONE:
      case Front.COPY_FAIL:
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

  /** Whether a new command may begin: the tap has room for what it would have to tell. */
  private gate(): Gate {
    const admission = this.connection.admit(COMMAND_ROOM);
    if (admission == Admission.ADMITTED) {
      this.waitsSince = 0;
      return Gate.OPEN;
    }
    return this.patience();
  }

  private patience(): Gate {
    const now = this.connection.now();
    if (!this.waitsSince) this.waitsSince = now;
    if (now - this.waitsSince < PATIENCE) {
      this.connection.tick(true);
      return Gate.WAIT;
    }
    this.waitsSince = 0;
    return Gate.SHUT;
  }

  /** Asks for a judgement of the request being written. Its message stays where it is until the answer: `downstream` sees it again. */
  private judge(): void {
    this.askedAt = this.connection.now();
    this.verdict = null;
    this.ask = Ask.JUDGING;
  }

  /** Gives up what is asked about the message at hand: it will not run. */
  private drop(): void {
    if (this.ask == Ask.NOTHING) return;
    if (this.ask != Ask.DECIDED) this.connection.giveUp(this.tag);
    this.decided().report(this.connection, this.session, 'cancelled');
  }

  /** The verdict on the message at hand, as a refusal when it cannot be carried out. Its command is begun. */
  private decided(): Command {
    this.ask = Ask.NOTHING;
    const verdict = this.verdict,
      plan = verdict ? verdict.plan : null;
    const command = new Command(verdict ? verdict.command : 0, plan ? plan : new CommandPlan(), this.askedAt);
    if (verdict && verdict.plan) revision = verdict.revision;
    else command.denied = verdict != null && verdict.refusal != null;
    return command;
  }

  private get verdictRefusal(): Refusal | null {
    const verdict = this.verdict;
    if (!verdict) return unavailable('the gateway cannot decide now');
    return verdict.refusal ? verdict.refusal : verdict.plan ? null : unavailable('the gateway cannot decide now');
  }

  private get expired(): bool {
    return this.validUntil != 0 && this.connection.now() >= this.validUntil;
  }

  private judged(status: u32, p: usize, length: u32): void {
    const verdict = status == GrpcStatus.OK ? readVerdict(p, length) : null;
    if (verdict && verdict.plan && this.ask == Ask.JUDGING && this.connection.standing(verdict.generation) == Standing.STALE) {
      // A change overtook it.
      this.ask = Ask.NOTHING;
      this.connection.release(COMMAND_ROOM);
      this.connection.resume();
      return;
    }
    this.verdict = verdict;
    if (this.ask == Ask.JUDGING && verdict && verdict.held) {
      this.ask = Ask.HELD;
      if (!this.discarding) {
        // The target's answer to this harmless request is the occasion to tell the client that it waits.
        this.send(frames.reset().open(Front.CLOSE).byte(0x53).text(RESERVED_NAME).close().open(Front.FLUSH).close());
        this.owed.push(new Reply(Owed.NOTICE)).held = verdict;
      }
      if (this.connection.ask(DoorMethod.AWAIT, awaitRequest(this.session, verdict.approval), this.nextTag())) return;
      this.verdict = null;
    }
    this.ask = Ask.DECIDED;
    this.connection.resume();
  }

  private takeQuery(p: usize, total: u32): u32 {
    const text = p + HEADER,
      n = textLength(text, p + total);
    if (this.ask == Ask.DECIDED) {
      const command = this.decided(),
        refusal = this.verdictRefusal;
      if (refusal) return this.refuseQuery(refusal, command, total, total);
      this.epoch++;
      this.owed.push(new Reply(Owed.QUERY)).command = command;
      this.connection.passUpstream(p, total);
      return total;
    }
    if (this.ask != Ask.NOTHING) return 0;
    if (n < 0 || <u32>n != total - HEADER - 1) {
      this.fail(violation('a malformed Query'), 'failed');
      return total;
    }
    if (!isUtf8(text, n)) return this.refuseQuery(notUtf8(), null, total, total);
    const gate = this.gate();
    if (gate == Gate.WAIT) return 0;
    if (gate == Gate.SHUT) return this.refuseQuery(unrecorded(), null, total, total);
    this.judge();
    const request = judgeRequest(this.session, text, n, false, new ArrayBuffer(0));
    if (this.connection.ask(DoorMethod.JUDGE, request.out, this.nextTag())) return 0;
    this.ask = Ask.DECIDED;
    return this.takeQuery(p, total);
  }

  /** Nothing was judged, so nobody else knows of it. Nothing waits for the answer. */
  private tellRefused(refusal: Refusal): void {
    this.connection.ask(DoorMethod.REFUSED, refusedRequest(this.session, sqlState(refusal, Stage.SESSION)), this.nextTag());
  }

  /** In the place of a Query: one that fails. A command without `command` was not admitted. */
  private refuseQuery(refusal: Refusal, command: Command | null, length: u32, total: u32): u32 {
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
  private refuseExtended(refusal: Refusal, command: Command | null, length: u32, total: u32): u32 {
    this.drop();
    if (!command) this.tellRefused(refusal);
    this.send(frames.reset().open(Front.PARSE).text(RESERVED_NAME).text(FAILS).int16(0).close());
    const reply = this.owed.push(new Reply(Owed.PARSE));
    reply.refusal = refusal;
    reply.command = command;
    return this.skip(length, total);
  }

  /** Reads a name; false: the message is refused or the session fails, and `names.next` is 0, or more bytes are needed. */
  private name(p: usize, end: usize, whole: bool): Read {
    const read = names.read(p, end, whole);
    if (read == Read.MALFORMED) this.fail(violation('a malformed name'), 'failed');
    return read;
  }

  private takeParse(p: usize, total: u32): u32 {
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
      if (verdict) this.prepare(name, message, command, verdict);
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
    const gate = this.gate();
    if (gate == Gate.WAIT) return 0;
    if (gate == Gate.SHUT) return this.refuseExtended(unrecorded(), null, total, total);
    this.judge();
    const request = judgeRequest(this.session, message.text, message.length, true, utf8(name));
    addTypes(message.types);
    if (this.connection.ask(DoorMethod.JUDGE, request.out, this.nextTag())) return 0;
    this.ask = Ask.DECIDED;
    return this.takeParse(p, total);
  }

  private prepare(name: string, message: ParseMessage, command: Command, verdict: Verdict): void {
    const statement = new Statement(
      name,
      copyOf(message.text, message.length),
      message.types,
      command.number,
      command.plan,
      verdict.eachExecution,
      verdict.revision,
      verdict.generation,
    );
    this.forget(name);
    this.statements.set(name, statement);
    this.statementBytes += message.length;
    this.owed.push(new Reply(Owed.PARSE)).statement = statement;
  }

  private forget(name: string): void {
    if (!this.statements.has(name)) return;
    this.statementBytes -= this.statements.get(name).text.byteLength;
    this.statements.delete(name);
  }

  private takeBind(p: usize, length: u32, total: u32): u32 {
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
    this.bind(new Portal(portal, statement, statement.command, statement.plan, statement.generation, this.epoch));
    return this.pass(p, length, total);
  }

  /** A Bind that is judged again, with its values where the verdict rests on them. */
  private takeJudgedBind(p: usize, total: u32, portal: string, statement: Statement, values: usize): u32 {
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
        }
        statement.eachExecution = verdict.eachExecution;
        statement.revision = verdict.revision;
        statement.generation = verdict.generation;
      }
      this.bind(new Portal(portal, statement, command.number, command.plan, verdict ? verdict.generation : 0, this.epoch));
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
    const request = judgeRequest(this.session, changetype<usize>(statement.text), statement.text.byteLength, false, utf8(statement.name));
    readValues(values, end, true);
    addTypes(statement.types);
    if (this.connection.ask(DoorMethod.JUDGE, request.out, this.nextTag())) return 0;
    this.ask = Ask.DECIDED;
    return this.takeJudgedBind(p, total, portal, statement, values);
  }

  private bind(portal: Portal): void {
    this.portals.set(portal.name, portal);
    const reply = this.owed.push(new Reply(Owed.BIND));
    reply.portal = portal;
    reply.statement = portal.statement;
  }

  private takeShort(type: u32, p: usize, total: u32): u32 {
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
      if (!this.portals.has(name)) return this.refuseExtended(noPortal(name), null, total, total);
      const portal = this.portals.get(name);
      if (portal.epoch != this.epoch && this.owed.length) return this.block();
      portal.described = true;
      this.owed.push(new Reply(Owed.DESCRIBE_PORTAL)).portal = portal;
    }
    this.connection.passUpstream(p, total);
    return total;
  }

  private takeExecute(p: usize, total: u32, name: string): u32 {
    if (!this.portals.has(name)) return this.refuseExtended(noPortal(name), null, total, total);
    const portal = this.portals.get(name);
    // A Sync or a Query since may have taken the portal away: what is owed tells, and then the picture is exact again.
    if (portal.epoch != this.epoch && this.owed.length) return this.block();
    if (this.expired) return this.refuseExtended(expired(), null, total, total);
    const standing = this.connection.standing(portal.generation);
    if (standing == Standing.STALE) return this.refuseExtended(stale(), null, total, total);
    if (standing == Standing.UNKNOWN) {
      if (this.patience() == Gate.WAIT) return 0;
      return this.refuseExtended(unavailable('the gateway cannot tell now whether this may still run'), null, total, total);
    }
    const gate = this.gate();
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
    const reply = this.owed.push(new Reply(Owed.EXECUTE));
    reply.portal = portal;
    reply.statement = portal.statement;
    reply.command = new Command(portal.command, portal.plan, this.connection.now());
    this.connection.passUpstream(p, total);
    return total;
  }

  // The target speaks.

  upstream(ptr: usize, length: u32, end: bool): u32 {
    this.inUpstream = true;
    const used = this.hearAll(ptr, length, end);
    this.flush();
    this.inUpstream = false;
    if (this.blocked) this.connection.resume();
    return used;
  }

  private hearAll(ptr: usize, length: u32, end: bool): u32 {
    switch (this.phase) {
      case Phase.NEGOTIATING:
        if (length) this.negotiated(load<u8>(ptr));
        return length;
      case Phase.LOGGING_IN:
      case Phase.ENTERING:
      case Phase.TELLING:
        this.hearMore(ptr, length);
        return length;
      case Phase.READY:
        return this.replies(ptr, length, end);
      case Phase.REFUSED:
        this.sayLast();
        return length;
      case Phase.OVER:
        return length;
      default:
        // Nothing was asked of the target: it says that it will not serve.
        if (length && this.phase != Phase.CANCELLING) this.fail(unavailable('the target is not available'), 'failed');
        return length;
    }
  }

  private negotiated(answer: u32): void {
    if (answer != 0x4e) {
      this.fail(
        unavailable(
          answer == 0x45
            ? 'the target is not available'
            : 'the target wants encryption switched on inside the connection: give it `tls` in the configuration',
        ),
        'failed',
      );
      return;
    }
    if (this.answersClient) {
      this.connection.sendDownstream(changetype<usize>(NO), 1);
      this.phase = Phase.START;
      this.connection.resume();
      return;
    }
    frames.reset();
    const startup = this.startup;
    if (startup && startup.negotiates) startup.writeNegotiation(frames);
    // AuthenticationCleartextPassword
    frames.open(Back.AUTHENTICATION).int32(3).close();
    this.connection.sendDownstream(frames.out.ptr, frames.out.length);
    this.phase = Phase.PASSWORD;
    this.connection.resume();
  }

  private hearMore(ptr: usize, length: u32): void {
    const before = <u32>this.heard.byteLength;
    if (before + length > MAX_GREETING) {
      this.fail(unavailable('the target says too much before the session'), 'failed');
      return;
    }
    const longer = new ArrayBuffer(before + length);
    memory.copy(changetype<usize>(longer), changetype<usize>(this.heard), before);
    memory.copy(changetype<usize>(longer) + before, ptr, length);
    this.heard = longer;
    this.hear();
    if (this.phase != Phase.READY) return;
    this.connection.sendDownstream(changetype<usize>(this.welcome), this.welcome.byteLength);
    this.welcome = new ArrayBuffer(0);
    this.startup = null;
    const rest = this.heard;
    this.heard = new ArrayBuffer(0);
    // Nothing is owed yet, so nothing should be left but what the target says of itself.
    this.fromWelcome = this.runChanged = true;
    if (rest.byteLength && this.replies(changetype<usize>(rest), rest.byteLength, false) != <u32>rest.byteLength)
      this.fail(unavailable('the target says more than was asked'), 'failed');
    this.fromWelcome = false;
    this.flush();
    this.connection.resume();
  }

  /** The span goes to the client as it is. */
  private show(p: usize, length: u32): void {
    if (this.runEnd != p) {
      this.flush();
      this.runAt = p;
    }
    this.runEnd = p + length;
  }

  private flush(): void {
    const length = <u32>(this.runEnd - this.runAt);
    if (length && this.runChanged) this.connection.sendDownstream(this.runAt, length);
    else if (length) this.connection.passDownstream(this.runAt, length);
    this.runAt = this.runEnd = 0;
    this.runChanged = this.fromWelcome;
  }

  private say(p: usize, length: u32): void {
    this.flush();
    this.connection.sendDownstream(p, length);
  }

  private cut(text: string): void {
    this.fail(Refusal.of(RefusalKind.UNAVAILABLE, '58000', text), 'cut');
  }

  private replies(ptr: usize, length: u32, end: bool): u32 {
    let p = ptr;
    const last = ptr + length;
    while (p < last && this.phase == Phase.READY) {
      const left = <u32>(last - p);
      if (this.replyPassing) {
        const n = min(this.replyPassing, left);
        this.show(p, n);
        this.count(n);
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
        this.count(n);
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

  private count(bytes: u32): void {
    const head = this.owed.head;
    if (!head) return;
    const command = head.command;
    if (command) command.bytes += bytes;
  }

  /** How many bytes of a row were taken; 0: more are needed, or the session is over. */
  private dataRow(p: usize, left: u32, total: u32): u32 {
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
      command.rows++;
      command.bytes += n;
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
      command.rows++;
      command.bytes += HEADER + 2;
      return HEADER + 2;
    }
    if (left < total) return 0;
    command.rows++;
    switch (maskRow(columns, p, total)) {
      case RowStatus.IN_PLACE:
        command.bytes += total;
        this.show(p, total);
        this.runChanged = true;
        return total;
      case RowStatus.REWRITTEN:
        command.bytes += rewritten.length;
        this.say(rewritten.ptr, rewritten.length);
        return total;
      default:
        this.cut('the target sent a malformed row');
        return 0;
    }
  }

  /** A message too long to be held. False: the session is over. */
  private longReply(type: u32, p: usize, total: u32): bool {
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

  private masksMessages(): bool {
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

  private reply(type: u32, p: usize, total: u32): void {
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
  private expected(head: Reply, type: u32, p: usize, total: u32): bool {
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
          this.columns = readColumns(command.plan, body, length);
          if (!this.columns) return false;
          command.bytes += total;
          this.show(p, total);
          return true;
        }
        if (head.kind == Owed.DESCRIBE_PORTAL) {
          if (!portal) return false;
          portal.columns = readColumns(portal.plan, body, length);
          if (!portal.columns) return false;
        } else if (head.kind != Owed.DESCRIBE_STATEMENT) return false;
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
      case Back.COPY_IN_RESPONSE:
        if (!command || head.refusal || (head.kind != Owed.QUERY && head.kind != Owed.EXECUTE)) return false;
        // The target swallows these; anything else sent ahead would make it fail in ways that cannot be followed.
        if (head.kind == Owed.EXECUTE) this.owed.dropSyncs();
        if (this.owed.length != 1) return false;
        this.copyIn = this.hadCopyIn = true;
        this.blocked = true;
        this.show(p, total);
        return true;
      default:
        return false;
    }
    if (!head.silent) this.show(p, total);
    this.owed.shift();
    return true;
  }

  private completed(head: Reply, type: u32, p: usize, total: u32): bool {
    const command = head.command,
      portal = head.portal;
    if (!command || head.refusal || (head.kind != Owed.QUERY && head.kind != Owed.EXECUTE)) return false;
    if (portal && (portal.failed || portal.statement.failed)) return false;
    if (type == Back.PORTAL_SUSPENDED && head.kind != Owed.EXECUTE) return false;
    this.columns = null;
    this.copyOut = null;
    this.copiesOut = this.copyIn = false;
    if (type == Back.COMMAND_COMPLETE) {
      const n = total - HEADER - 1;
      command.setTag(p + HEADER, n);
      if (!this.observe(String.UTF8.decodeUnsafe(p + HEADER, n))) return false;
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
  private observe(tag: string): bool {
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

  private copyOutReply(head: Reply, type: u32, p: usize, total: u32): bool {
    const command = head.command,
      portal = head.portal;
    if (!command || head.refusal || (head.kind != Owed.QUERY && head.kind != Owed.EXECUTE)) return false;
    if (portal && (portal.failed || portal.statement.failed)) return false;
    if (type == Back.COPY_OUT_RESPONSE) {
      const plan = command.plan.copyOut;
      // Binary rows cannot be told apart here, and without a plan nothing is known of them.
      if (!plan || load<u8>(p + HEADER) != 0 || be16(p + HEADER + 1) != <u32>plan.columns.length) {
        this.cut('the rows of this COPY cannot be masked');
        return true;
      }
      this.copyOut = plan;
      this.copiesOut = true;
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
          this.say(copied.ptr, copied.length);
        }
        return true;
      }
      command.bytes += total;
    } else this.copiesOut = false;
    this.show(p, total);
    return true;
  }

  /** ReadyForQuery: the transaction's state is known. */
  private settled(status: u32): void {
    this.columns = null;
    this.copiesOut = this.copyIn = false;
    this.copyOut = null;
    if (status != 0x49) return;
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

  private finish(head: Reply, outcome: string): void {
    const command = head.command;
    if (!command) return;
    head.command = null;
    if (command.plan.maskMessages) this.withholds = true;
    command.report(this.connection, this.session, outcome);
  }

  private errorReply(p: usize, total: u32): void {
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
  private skipped(reply: Reply): void {
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

  // The service answers, time passes, the connection ends.

  answered(tag: u32, grpcStatus: u32, ptr: usize, length: u32): void {
    if (tag != this.tag) return;
    switch (this.phase) {
      case Phase.OPENING:
        this.opened(grpcStatus, ptr, length);
        return;
      case Phase.LOGGING_IN:
        this.loggedIn(grpcStatus, ptr, length);
        return;
      case Phase.ENTERING:
        this.recorded(grpcStatus, ptr, length);
        return;
      case Phase.CANCELLING:
        if (grpcStatus == GrpcStatus.OK && readKnown(ptr, length))
          this.connection.sendUpstream(changetype<usize>(this.heard), this.heard.byteLength);
        else this.over('failed');
        return;
      case Phase.READY:
        if (this.ask == Ask.JUDGING || this.ask == Ask.HELD) this.judged(grpcStatus, ptr, length);
        return;
      default:
    }
  }

  ticked(now: u64): void {
    if (this.deadline && now > this.deadline) {
      this.over('failed');
      return;
    }
    if (this.waitsSince) this.connection.resume();
    else if (!this.deadline) this.connection.tick(false);
  }

  ended(): void {
    const rest = this.outcome == 'cut' ? 'cut' : 'cancelled';
    for (let head = this.owed.head; head; head = this.owed.head) {
      this.finish(head, rest);
      this.owed.shift();
    }
    if (this.session.byteLength)
      this.connection.ask(
        DoorMethod.CLOSE,
        closeRequest(this.session, this.outcome.length ? this.outcome : this.terminated ? 'complete' : 'cancelled'),
        this.nextTag(),
      );
    this.phase = Phase.OVER;
  }
}

const NO = utf8('N');

function tooLong(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '54000', 'a statement longer than 1 MiB is not judged, and so does not run');
}
function notUtf8(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '22021', 'the statement is not UTF-8');
}
function nameTooLong(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '42622', 'a name longer than 63 bytes');
}
function reserved(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '42939', 'names that begin with _sluice are the gateway’s own');
}
function expired(): Refusal {
  return Refusal.of(RefusalKind.UNAUTHENTICATED, '', 'the token that this session was opened with has expired: connect again');
}
function stale(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '40001', 'the policy or the catalog has changed since this was bound: bind it again');
}
function unrecorded(): Refusal {
  return unavailable('commands cannot be recorded now, and so do not run');
}
function noPortal(name: string): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '34000', `portal "${name}" does not exist`);
}
