// From the StartupMessage to the first ReadyForQuery: the client proves itself to the service, the service logs in to the target, and only then is the client told.
import { copyOf, utf8 } from '../../abi/bytes';
import {
  addWait,
  cancelRequest,
  logInRequest,
  openRequest,
  Refusal,
  readLoggedIn,
  readOpened,
  readReady,
  readyRequest,
  wipeRequest,
} from '../../stream/door';
import { DoorMethod, GrpcStatus } from '../../stream/protocol';
import { Conversation, frames, MAX_SHORT, Phase } from './conversation';
import { Back, be32, Front, HEADER, textLength } from './frame';
import { understandable } from './parameter';
import { unavailable, unreachable, unsupported, violation } from './refusals';
import { Report } from './report';
import { MAX_STARTUP, Startup, StartupCode, writeRequest } from './startup';

/** What the target may say before the client is let in. */
const MAX_GREETING: u32 = 64 << 10;
/** How long access may be held, nanoseconds from the connection's begin: servers end a log-in after 60 s of their own (authentication_timeout). */
const ACCESS_WAIT: u64 = 50_000_000_000;
const LEAST_WAIT_MS: u64 = 1_000;
/** Types of messages are letters: this is the beginning of what was sent, come back. No target was there. */
const COME_BACK: u32 = 0;

const NO = utf8('N');

export abstract class LogIn extends Conversation {
  protected startup: Startup | null = null;
  private readonly begun: u64 = this.connection.now();
  protected usedSsl: bool = false;
  protected usedGss: bool = false;
  /** The `N` under way answers the client's own request. */
  protected answersClient: bool = false;
  /** Before READY: what the target says, not read yet, and what the client will be told of it. */
  protected heard: ArrayBuffer = new ArrayBuffer(0);
  protected welcome: ArrayBuffer = new ArrayBuffer(0);
  protected cancelKey: ArrayBuffer = new ArrayBuffer(0);
  protected awaitsLogIn: bool = false;
  /** Known already, and told at the start-up. */
  protected unserved: Refusal | null = null;

  protected takeStartup(p: usize, length: u32): u32 {
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
      else if (this.unserved || !this.requestN())
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
    const unserved = this.unserved;
    if (unserved) this.fail(unserved, 'failed');
    else if (!startup.wellFormed) this.fail(violation('the start-up packet is malformed'), 'failed');
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
  protected requestN(): bool {
    if (this.usedSsl && this.usedGss) return false;
    this.send(writeRequest(frames, this.usedSsl ? StartupCode.GSSENC : StartupCode.SSL));
    if (this.usedSsl) this.usedGss = true;
    else this.usedSsl = true;
    this.phase = Phase.NEGOTIATING;
    return true;
  }

  protected startCancel(p: usize, total: u32): void {
    this.heard = copyOf(p, total);
    this.phase = Phase.CANCELLING;
    if (total < 16 || !this.connection.ask(DoorMethod.CANCEL, cancelRequest(this.connection.target(), p + 8, total - 8), this.nextTag()))
      this.over('failed');
  }

  protected takePassword(p: usize, length: u32): u32 {
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

  protected open(token: usize, length: u32): void {
    const c = this.connection;
    this.phase = Phase.OPENING;
    const request = openRequest(c.target(), c.downstreamAddress(), c.emitterId(), token, length, c.passage());
    const startup = this.startup;
    if (startup) startup.addTo();
    // Through a tunnel, access was held before the target was connected.
    if (!c.passage().byteLength) addWait(this.waitMs());
    const asked = c.ask(DoorMethod.OPEN, request.out, this.nextTag());
    wipeRequest();
    if (!asked) this.fail(unavailable('the gateway cannot decide now'), 'failed');
  }

  private waitMs(): u64 {
    const past = this.connection.now() - this.begun;
    return past < ACCESS_WAIT ? max(LEAST_WAIT_MS, (ACCESS_WAIT - past) / 1_000_000) : LEAST_WAIT_MS;
  }

  protected opened(status: u32, p: usize, length: u32): void {
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

  protected loggedIn(status: u32, p: usize, length: u32): void {
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

  protected recorded(status: u32, p: usize, length: u32): void {
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
  protected hear(): void {
    const start = changetype<usize>(this.heard),
      length = <u32>this.heard.byteLength;
    let at: u32 = 0;
    while (!this.awaitsLogIn && this.phase >= Phase.LOGGING_IN && this.phase <= Phase.TELLING && length - at >= HEADER) {
      const p = start + at,
        size = be32(p + 1);
      if (load<u8>(p) == COME_BACK) {
        this.fail(unreachable(), 'failed');
        break;
      }
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

  protected keepForClient(p: usize, total: u32): void {
    const longer = new ArrayBuffer(this.welcome.byteLength + total);
    memory.copy(changetype<usize>(longer), changetype<usize>(this.welcome), this.welcome.byteLength);
    memory.copy(changetype<usize>(longer) + this.welcome.byteLength, p, total);
    this.welcome = longer;
  }

  protected hearMessage(p: usize, total: u32): void {
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
        this.fail(unavailable(`the target did not let the gateway in (${report.code})`), 'failed');
        return;
      }
      default:
    }
    this.fail(unavailable('the target says what does not belong to a log-in'), 'failed');
  }

  protected negotiated(answer: u32): void {
    if (answer != 0x4e) {
      const refusal =
        answer == COME_BACK
          ? unreachable()
          : unavailable(
              answer == Back.ERROR_RESPONSE
                ? 'the target is not available'
                : 'the target wants encryption switched on inside the connection: give it `tls` in the configuration',
            );
      // A client that has asked for encryption believes no error in the place of the answer: it hears it when it has begun.
      if (this.answersClient && answer != Back.ERROR_RESPONSE) this.unserved = refusal;
      else {
        this.fail(refusal, 'failed');
        return;
      }
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

  protected hearMore(ptr: usize, length: u32): void {
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
}
