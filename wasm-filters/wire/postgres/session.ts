// One connection of a PostgreSQL client: what the framework calls, given to whoever the phase is for. Each class adds its part to the one that it extends:
// conversation.ts, log_in.ts, judging.ts, client_side.ts, results.ts, target_side.ts.
import { closeRequest, readKnown } from '../../stream/door';
import { DoorMethod, GrpcStatus } from '../../stream/protocol';
import { Ask, Phase } from './conversation';
import { unavailable } from './refusals';
import { TargetSide } from './target_side';

export class PostgresSession extends TargetSide {
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

  protected take(p: usize, length: u32): u32 {
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

  upstream(ptr: usize, length: u32, end: bool): u32 {
    this.inUpstream = true;
    const used = this.hearAll(ptr, length, end);
    this.flush();
    this.inUpstream = false;
    if (this.blocked) this.connection.resume();
    return used;
  }

  protected hearAll(ptr: usize, length: u32, end: bool): u32 {
    const used = this.hearSome(ptr, length, end);
    // The last occasion to say anything. A target has a time-out for log-ins, too.
    if (end && this.phase < Phase.READY)
      this.fail(
        unavailable(
          this.phase == Phase.OPENING
            ? 'the target ended the log-in before it was decided: where access waits for an approval, connect again once it is given'
            : 'the target ended the connection before the log-in was over',
        ),
        'failed',
      );
    return used;
  }

  protected hearSome(ptr: usize, length: u32, end: bool): u32 {
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
      case Phase.CANCELLING:
        // Servers answer with their end alone: the request has come back, or has come to something else.
        if (length) this.over('failed');
        return length;
      default:
        // Nothing was asked of the target: it says that it will not serve.
        if (length) this.fail(unavailable('the target is not available'), 'failed');
        return length;
    }
  }

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
    const untold = this.tellRunning(now);
    if (this.waitsSince) this.connection.resume();
    else if (!this.deadline && !untold) this.connection.tick(false);
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
        closeRequest(
          this.session,
          this.outcome.length ? this.outcome : this.terminated ? 'complete' : 'cancelled',
          this.connection.nextSequence(),
        ),
        this.nextTag(),
      );
    this.phase = Phase.OVER;
  }
}
