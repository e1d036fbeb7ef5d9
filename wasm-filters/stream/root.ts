// A root context of a network filter: one configuration in one worker's VM, with its emitter, and whom the door's answers and the passing of time are for.
import { utf8 } from '../abi/bytes';
import {
  actAs,
  BufferType,
  bufferBytes,
  cancelGrpc,
  done,
  givenAt,
  givenLength,
  LogLevel,
  log,
  monotonicNanos,
  setTickPeriod,
} from '../abi/host';
import { Emitter } from '../tap/emitter';
import { Attended, Call, callDoor } from './call';
import { StreamConfig } from './config';
import { generationRequest, readTold } from './door';
import { DoorMethod, GrpcStatus, Standing } from './protocol';

const TICK_MS: u32 = 50;
/** A little less than a tick, so that timers that are early do not skip one. */
const TICK: u64 = 45_000_000;
/** How soon a connection ends whose last bytes the host is still taking. */
const SOON_MS: u32 = 1;
/** How long an old configuration's emitter may still deliver. */
const DRAIN: u64 = 10_000_000_000;

export class StreamRoot {
  emitter: Emitter;
  door: ArrayBuffer;
  target: ArrayBuffer;
  private calls: Map<u32, Call> = new Map<u32, Call>();
  private ticking: Map<u32, Attended> = new Map<u32, Attended>();
  private closing: Attended[] = [];
  private tickedAt: u64 = 0;
  private drainUntil: u64 = 0;
  /** What judgements rest on changes; the service's answers to this question tell, each for a time. */
  private watching: bool = false;
  private question: u32 = 0;
  private questionAt: u64 = 0;
  private generation: u64 = 0;
  private leaseEnds: u64 = 0;

  private constructor(
    private context: u32,
    config: StreamConfig,
    software: string,
  ) {
    this.emitter = new Emitter(
      utf8(config.tapCluster),
      utf8(software),
      config.queueBytes,
      config.recordBytes,
      config.tapRequire,
      config.lag,
    );
    this.door = utf8(config.doorCluster);
    this.target = utf8(config.target);
    setTickPeriod(TICK_MS);
  }

  /** proxy_on_configure; null when the configuration is refused. */
  static configure(context: u32, size: u32, software: string): StreamRoot | null {
    bufferBytes(BufferType.PLUGIN_CONFIGURATION, size);
    const config = new StreamConfig();
    if (config.read(String.UTF8.decodeUnsafe(givenAt, givenLength)) && config.whole) return new StreamRoot(context, config, software);
    log(
      LogLevel.CRITICAL,
      'the configuration is not {"target": "NAME", "tap_cluster": "NAME", "door_cluster": "NAME", "tap_require": true, "queue_bytes": 16384 to 1073741824, "record_bytes": the same, "lag_ms": 100 to 60000}',
    );
    return null;
  }

  /** Whether a whole tick has passed, and not only the time of those that end soon. */
  get due(): bool {
    return monotonicNanos() - this.tickedAt >= TICK;
  }

  /** How many connections were called. */
  tick(): u32 {
    if (this.closing.length) {
      const closing = this.closing;
      this.closing = [];
      setTickPeriod(TICK_MS);
      for (let i = 0; i < closing.length; i++) {
        // Its peers may have ended it meanwhile: then the host knows its context no more.
        if (closing[i].ended) continue;
        actAs(closing[i].context);
        closing[i].closeNow();
      }
      actAs(this.context);
    }
    let called = <u32>0;
    if (!this.due) return called;
    const now = (this.tickedAt = monotonicNanos());
    this.emitter.tick();
    if (this.watching && !this.question) this.askGeneration();
    if (this.ticking.size) {
      const ticking = this.ticking.values();
      for (let i = 0; i < ticking.length; i++) {
        actAs(ticking[i].context);
        ticking[i].ticked(now);
      }
      called = ticking.length;
      actAs(this.context);
    }
    if (this.drainUntil && (this.idle || now > this.drainUntil)) {
      this.drainUntil = 0;
      done();
    }
    return called;
  }

  tickFor(connection: Attended): void {
    this.ticking.set(connection.context, connection);
  }

  untick(connection: Attended): void {
    this.ticking.delete(connection.context);
  }

  /** Within a callback of the connection's. */
  closeSoon(connection: Attended): void {
    this.closing.push(connection);
    actAs(this.context);
    setTickPeriod(SOON_MS);
    actAs(connection.context);
  }

  remember(call: Call): void {
    this.calls.set(call.token, call);
  }

  /** The call is not wanted any more. */
  forget(call: Call): void {
    this.calls.delete(call.token);
    cancelGrpc(call.token);
  }

  /** proxy_on_grpc_receive. */
  received(token: u32, size: u32): void {
    if (token == this.question) {
      const read = size && bufferBytes(BufferType.GRPC_RECEIVE, size);
      this.told(givenAt, read ? givenLength : 0);
      return;
    }
    if (!this.calls.has(token)) {
      this.emitter.received(token, size);
      return;
    }
    const read = size == 0 || bufferBytes(BufferType.GRPC_RECEIVE, size);
    this.answer(token, read ? GrpcStatus.OK : GrpcStatus.INTERNAL, givenAt, size && read ? givenLength : 0);
  }

  /** proxy_on_grpc_close. A call that the host could not even begin is closed before its token is known; `ask` answers for it. */
  closed(token: u32, status: u32): void {
    if (token == this.question) this.told(0, 0);
    else if (!this.calls.has(token)) this.emitter.closed(token, status);
    // Without an answer, OK is none.
    else this.answer(token, status == GrpcStatus.OK ? GrpcStatus.INTERNAL : status, 0, 0);
  }

  private answer(token: u32, status: u32, ptr: usize, length: u32): void {
    const call = this.calls.get(token),
      connection = call.connection;
    this.calls.delete(token);
    if (!connection) return;
    actAs(connection.context);
    connection.answered(call, status, ptr, length);
    actAs(this.context);
  }

  /** Within a callback of the connection's. */
  watch(connection: Attended): void {
    if (this.watching) return;
    this.watching = true;
    actAs(this.context);
    this.askGeneration();
    actAs(connection.context);
  }

  private askGeneration(): void {
    this.questionAt = monotonicNanos();
    this.question = callDoor(this.door, DoorMethod.GENERATION, generationRequest(this.emitter.id, this.generation));
  }

  /** The question is over: the next tick asks again when there was no answer, so that a service that is away is not flooded. */
  private told(ptr: usize, length: u32): void {
    this.question = 0;
    const told = readTold(ptr, length);
    if (!told || !told.leaseMs) {
      this.leaseEnds = 0;
      return;
    }
    // From the question on, not from the answer: that may have been long on its way.
    this.generation = max(this.generation, told.generation);
    this.leaseEnds = this.questionAt + told.leaseMs * 1_000_000;
    if (this.watching) this.askGeneration();
  }

  standing(generation: u64): Standing {
    if (generation < this.generation) return Standing.STALE;
    return monotonicNanos() < this.leaseEnds ? Standing.GOOD : Standing.UNKNOWN;
  }

  private get idle(): bool {
    return this.emitter.idle && this.calls.size == 0;
  }

  /** proxy_on_done: true when there is nothing left to deliver. */
  drain(): bool {
    this.unwatch();
    if (this.idle) return true;
    this.drainUntil = monotonicNanos() + DRAIN;
    return false;
  }

  private unwatch(): void {
    this.watching = false;
    this.leaseEnds = 0;
    if (this.question) cancelGrpc(this.question);
    this.question = 0;
  }

  /** proxy_on_delete. */
  free(): void {
    this.unwatch();
    const calls = this.calls.values();
    for (let i = 0; i < calls.length; i++) cancelGrpc(calls[i].token);
    this.calls.clear();
    this.emitter.free();
  }
}
