// What the target owes: one entry for each message that it answers, in the order in which they were sent.
import { Refusal, Verdict } from '../../stream/door';
import { Command } from './command';
import { Portal, Statement } from './prepared';

export const enum Owed {
  /** Results, and ReadyForQuery. */
  QUERY,
  PARSE,
  BIND,
  DESCRIBE_STATEMENT,
  DESCRIBE_PORTAL,
  EXECUTE,
  CLOSE,
  SYNC,
  /** A CloseComplete that becomes the notice of a hold. */
  NOTICE,
  /** The error that ends the session. */
  END,
}

export class Reply {
  /** Of a message that the client did not send: it hears nothing of its replies. */
  silent: bool = false;
  /** Of a message sent in the place of a refused one: its error becomes the refusal. */
  refusal: Refusal | null = null;
  statement: Statement | null = null;
  portal: Portal | null = null;
  command: Command | null = null;
  held: Verdict | null = null;

  constructor(public kind: Owed) {}
}

export class ReplyQueue {
  private entries: Reply[] = [];
  private first: i32 = 0;
  /** The target has said that no transaction is open, and owes nothing since. */
  idle: bool = true;

  get length(): i32 {
    return this.entries.length - this.first;
  }

  get head(): Reply | null {
    return this.first < this.entries.length ? this.entries[this.first] : null;
  }

  at(i: i32): Reply {
    return this.entries[this.first + i];
  }

  push(reply: Reply): Reply {
    this.idle = false;
    this.entries.push(reply);
    return reply;
  }

  shift(): void {
    if (++this.first == this.entries.length) {
      this.entries.length = 0;
      this.first = 0;
    } else if (this.first == 256) {
      this.entries.splice(0, 256);
      this.first = 0;
    }
  }

  /** ReadyForQuery without a transaction, for the head. */
  rest(): void {
    this.idle = this.length == 1;
  }

  /** Takes out the Syncs that follow the head at once: the target swallows them. */
  dropSyncs(): void {
    let i = this.first + 1;
    while (i < this.entries.length && this.entries[i].kind == Owed.SYNC) i++;
    this.entries.splice(this.first + 1, i - this.first - 1);
  }
}
