// What both sides of one client's connection share: how far it has come, what the target owes, and how anything is said to either of them.
import { Refusal, RefusalKind } from '../../stream/door';
import { Connection, Protocol } from '../../stream/protocol';
import { Frames } from './frame';
import { Portal, Statement } from './prepared';
import { Owed, Reply, ReplyQueue } from './queue';
import { Stage, writeRefusal } from './report';
import { writeNoProtocol } from './startup';

/** A longer command, or row with masked columns, is not held. */
export const MAX_HELD: u32 = 1 << 20;
/** Messages that carry names only, and the password. */
export const MAX_SHORT: u32 = 64 << 10;
/** How long the target may take to give the occasion for a last word. */
const LAST_WORD: u64 = 5_000_000_000;

export const enum Phase {
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

export const enum Ask {
  NOTHING,
  JUDGING,
  HELD,
  DECIDED,
}

export const frames = new Frames();

export abstract class Conversation extends Protocol {
  protected phase: Phase = Phase.START;
  protected session: ArrayBuffer = new ArrayBuffer(0);
  protected greeted: bool = false;
  protected tag: u32 = 0;
  protected ask: Ask = Ask.NOTHING;
  protected refusal: Refusal | null = null;
  protected askedAt: u64 = 0;
  protected inUpstream: bool = false;
  protected deadline: u64 = 0;
  /** No command begins after it; 0: no end is known. */
  protected validUntil: u64 = 0;
  protected owed: ReplyQueue = new ReplyQueue();
  protected statements: Map<string, Statement> = new Map();
  protected statementBytes: u32 = 0;
  protected portals: Map<string, Portal> = new Map();
  /** The target skips everything up to the next Sync. */
  protected discarding: bool = false;
  protected blocked: bool = false;
  protected copyIn: bool = false;
  protected terminated: bool = false;
  protected outcome: string = '';
  /** A span of the target's bytes that passes, not sent yet. */
  protected runAt: usize = 0;
  protected runEnd: usize = 0;
  /** It is not as the target wrote it. */
  protected runChanged: bool = false;
  /** What is read is a copy of what the target said earlier. */
  protected fromWelcome: bool = false;

  constructor(connection: Connection) {
    super(connection);
  }

  protected over(outcome: string): void {
    if (this.phase == Phase.OVER) return;
    this.phase = Phase.OVER;
    if (!this.outcome.length) this.outcome = outcome;
    this.connection.close();
  }

  protected send(message: Frames): void {
    this.connection.sendUpstream(message.out.ptr, message.out.length);
  }

  protected nextTag(): u32 {
    return ++this.tag;
  }

  /** Says a last word to the client, as soon as the target gives the occasion, and ends the connection. */
  protected fail(refusal: Refusal, outcome: string): void {
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

  protected sayLast(): void {
    this.flush();
    const refusal = this.refusal;
    if (refusal) {
      frames.reset();
      writeRefusal(frames, refusal, this.phase == Phase.READY ? Stage.SESSION : Stage.STARTUP, true);
      this.connection.sendDownstream(frames.out.ptr, frames.out.length);
    }
    this.over('failed');
  }

  protected forget(name: string): void {
    if (!this.statements.has(name)) return;
    this.statementBytes -= this.statements.get(name).text.byteLength;
    this.statements.delete(name);
  }

  /** The span goes to the client as it is. */
  protected show(p: usize, length: u32): void {
    if (this.runEnd != p) {
      this.flush();
      this.runAt = p;
    }
    this.runEnd = p + length;
  }

  protected flush(): void {
    const length = <u32>(this.runEnd - this.runAt);
    if (length && this.runChanged) this.connection.sendDownstream(this.runAt, length);
    else if (length) this.connection.passDownstream(this.runAt, length);
    this.runAt = this.runEnd = 0;
    this.runChanged = this.fromWelcome;
  }

  protected say(p: usize, length: u32): void {
    this.flush();
    this.connection.sendDownstream(p, length);
  }

  protected cut(text: string): void {
    this.fail(Refusal.of(RefusalKind.UNAVAILABLE, '58000', text), 'cut');
  }

  /** Gives up what is asked about the message at hand: it will not run. */
  protected abstract drop(): void;

  /** Reads what the target says once the client is let in; answers how many bytes were read. */
  protected abstract replies(ptr: usize, length: u32, end: bool): u32;
}
