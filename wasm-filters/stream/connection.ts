// One connection through the network filter. Fail closed: bytes of either side pass only where the protocol has sent them; once the connection is closing, none do.
// The client's bytes are always taken out of the host's buffer and the iteration stopped, for only so can bytes be injected later; the target's iteration is
// never stopped, because the host would drop what it writes after that.
import { ByteBuffer, utf8 } from '../abi/bytes';
import {
  BufferType,
  bufferBytes,
  closeStream,
  continueStream,
  givenAt,
  givenLength,
  keepGiven,
  monotonicNanos,
  NetworkStatus,
  property,
  replaceBuffer,
  StreamType,
} from '../abi/host';
import { ProtoWriter } from '../abi/protobuf';
import { Admission } from '../tap/emitter';
import { Direction, Recorder } from '../tap/recorder';
import { Attended, Call, callDoor } from './call';
import { Inflow, Outflow } from './flow';
import { BACKLOG_BYTES, Connection, DoorMethod, Protocol, Standing } from './protocol';
import { StreamRoot } from './root';

const ADDRESS = utf8('source\0address'),
  PASSAGE = utf8('filter_state\0sluice.passage');
const NONE = new ArrayBuffer(0);
/** Of a client that is made to wait, and of whom the host has more each time that something is injected. */
const MOST_BACKLOG: u32 = 8 << 20;

const toTarget = new Outflow();
const toClient = new Outflow();

export class FilteredConnection extends Connection implements Attended {
  /** Set at once by whoever makes the connection; null only until then. */
  protocol: Protocol | null = null;
  private address: ArrayBuffer = NONE;
  private through: ArrayBuffer = NONE;
  private fromClient: Inflow = new Inflow();
  private fromTarget: Inflow = new Inflow();
  private calls: Call[] = [];
  private reserved: u32 = 0;
  /** Bytes that lie in the host's buffer, of the client's direction. */
  private inHost: u32 = 0;
  /** They have been read, and leave the buffer at the next `flush`. */
  private taken: bool = false;
  /** Where they were read to, in the host's block. */
  private takenAt: usize = 0;
  /** The client has sent something: the host's buffer can be written. */
  private seen: bool = false;
  private clientEnded: bool = false;
  private endPassed: bool = false;
  private again: bool = false;
  private inUpstream: bool = false;
  private closing: bool = false;
  private over: bool = false;

  constructor(
    readonly context: u32,
    private root: StreamRoot,
  ) {
    super();
    // Now, because a hostcall that returns bytes would overwrite those that a callback is given.
    if (property(ADDRESS)) this.address = keepGiven();
    if (property(PASSAGE)) this.through = keepGiven();
  }

  private get wire(): Protocol {
    const protocol = this.protocol;
    if (!protocol) unreachable();
    return protocol as Protocol;
  }

  // Callbacks of the host

  downstreamData(size: u32, end: bool): NetworkStatus {
    if (this.closing || this.over) {
      replaceBuffer(BufferType.DOWNSTREAM_DATA, size, 0, 0);
      return NetworkStatus.STOP;
    }
    begin();
    this.seen = true;
    this.inHost = size;
    this.clientEnded = end;
    if (end || this.fromClient.backlog < BACKLOG_BYTES) this.pump();
    this.finish(false);
    return NetworkStatus.STOP;
  }

  upstreamData(size: u32, end: bool): NetworkStatus {
    if (this.closing || this.over) {
      replaceBuffer(BufferType.UPSTREAM_DATA, size, 0, 0);
      return NetworkStatus.CONTINUE;
    }
    begin();
    // Bytes that cannot be read cannot be looked at.
    if (size && !(bufferBytes(BufferType.UPSTREAM_DATA, size) && givenLength == size)) unreachable();
    const chunk = size ? givenAt : 0,
      from = this.fromTarget;
    from.join(chunk, size);
    toClient.from(from.ptr, from.length);
    this.inUpstream = true;
    const used = this.wire.upstream(from.ptr, from.length, end);
    this.inUpstream = false;
    if (used > from.length) unreachable();
    from.consume(used);
    const untouched = size != 0 && toClient.ptr == chunk && toClient.length == size;
    if (!untouched) replaceBuffer(BufferType.UPSTREAM_DATA, size, toClient.ptr, toClient.length);
    toClient.reset();
    from.settle();
    if (from.backlog > BACKLOG_BYTES) this.closing = true;
    this.finish(true);
    return NetworkStatus.CONTINUE;
  }

  answered(call: Call, status: u32, ptr: usize, length: u32): void {
    const i = this.calls.indexOf(call);
    if (i < 0) return;
    this.calls.splice(i, 1);
    begin();
    this.wire.answered(call.tag, status, ptr, length);
    this.finish(false);
  }

  ticked(now: u64): void {
    if (this.closing || this.over) return;
    begin();
    this.wire.ticked(now);
    this.finish(false);
  }

  /** The host has closed the connection, or forgets it. */
  end(): void {
    if (this.over) return;
    this.over = true;
    for (let i = 0; i < this.calls.length; i++) this.root.forget(this.calls[i]);
    this.calls = [];
    this.root.untick(this);
    this.wire.ended();
    this.root.emitter.release(this.reserved);
    this.reserved = 0;
    this.fromClient.free();
    this.fromTarget.free();
  }

  get ended(): bool {
    return this.over;
  }

  /** As the effective context, and not inside a callback of the target's bytes. */
  closeNow(): void {
    if (this.over) return;
    // The host tells of the end within this call, unless it still has to write.
    closeStream(StreamType.DOWNSTREAM);
    this.end();
  }

  // What follows every callback of the protocol

  /** Shows the protocol the client's bytes. */
  private pump(): void {
    const from = this.fromClient;
    toTarget.detach();
    let size: u32 = 0;
    if (this.inHost && !this.taken && (this.clientEnded || from.backlog < BACKLOG_BYTES)) {
      this.take();
      size = this.inHost;
    }
    from.join(this.takenAt, size);
    toTarget.from(from.ptr, from.length);
    const used = this.wire.downstream(from.ptr, from.length, this.clientEnded);
    if (used > from.length) unreachable();
    from.consume(used);
    if (used && this.inHost && !this.taken) this.again = true;
  }

  private take(): void {
    if (!bufferBytes(BufferType.DOWNSTREAM_DATA, this.inHost) || givenLength != this.inHost) unreachable();
    this.takenAt = givenAt;
    this.taken = true;
  }

  private finish(inUpstream: bool): void {
    while (this.again && !this.closing && !this.over) {
      this.again = false;
      this.pump();
    }
    if (!this.over) this.flush();
    if (!this.closing || this.over) return;
    // The host would lose what has just been written to the client.
    if (inUpstream) this.root.closeSoon(this);
    else this.closeNow();
  }

  private flush(): void {
    const from = this.fromClient;
    if (toTarget.length && !this.seen) {
      this.closing = true;
      return;
    }
    if (toTarget.length) {
      // What was left in the host's buffer must not pass with what is put into it.
      if (this.inHost && !this.taken) {
        toTarget.detach();
        this.take();
        from.join(this.takenAt, this.inHost);
        from.consume(0);
        if (from.backlog > MOST_BACKLOG) this.closing = true;
      }
    }
    const ends = this.clientEnded && !this.endPassed && from.backlog == 0 && (this.taken || this.inHost == 0),
      length = toTarget.length;
    if (this.taken || length) {
      const untouched = this.taken && toTarget.ptr == this.takenAt && length == this.inHost;
      if (!untouched) replaceBuffer(BufferType.DOWNSTREAM_DATA, this.inHost, toTarget.ptr, length);
      this.inHost = 0;
      this.taken = false;
    }
    if (length || ends) {
      // The host says the end with the first bytes after it.
      this.endPassed = this.clientEnded;
      continueStream(StreamType.DOWNSTREAM);
    }
    toTarget.reset();
    from.settle();
  }

  // What the protocol is offered

  sendUpstream(ptr: usize, length: u32): void {
    if (!this.closing) toTarget.send(ptr, length);
  }

  passUpstream(ptr: usize, length: u32): void {
    if (!this.closing) toTarget.pass(ptr, length);
  }

  sendDownstream(ptr: usize, length: u32): void {
    if (!this.inUpstream) this.closing = true;
    if (!this.closing) toClient.send(ptr, length);
  }

  passDownstream(ptr: usize, length: u32): void {
    if (!this.inUpstream) this.closing = true;
    if (!this.closing) toClient.pass(ptr, length);
  }

  ask(method: DoorMethod, request: ByteBuffer, tag: u32): bool {
    // What is asked last tells the end: what happened before it is to be on its way before it.
    if (this.over) this.root.emitter.send();
    const token = callDoor(this.root.door, method, request);
    if (token == 0) return false;
    const call = new Call(this.over ? null : this, token, tag);
    this.root.remember(call);
    if (!this.over) this.calls.push(call);
    return true;
  }

  giveUp(tag: u32): void {
    for (let i = 0; i < this.calls.length; i++) {
      if (this.calls[i].tag != tag) continue;
      this.root.forget(this.calls[i]);
      this.calls.splice(i, 1);
      return;
    }
  }

  close(): void {
    this.closing = true;
  }

  tick(wanted: bool): void {
    if (this.over) return;
    if (wanted) this.root.tickFor(this);
    else this.root.untick(this);
  }

  resume(): void {
    this.again = true;
  }

  target(): ArrayBuffer {
    return this.root.target;
  }

  downstreamAddress(): ArrayBuffer {
    return this.address;
  }

  passage(): ArrayBuffer {
    return this.through;
  }

  emitterId(): ArrayBuffer {
    return this.root.emitter.id;
  }

  nextSequence(): u64 {
    return this.root.emitter.nextSequence;
  }

  now(): u64 {
    return monotonicNanos();
  }

  watch(): void {
    this.root.watch(this);
  }

  standing(generation: u64): Standing {
    return this.root.standing(generation);
  }

  admit(room: u32): Admission {
    const admission = this.root.emitter.admit(room);
    if (admission == Admission.ADMITTED) this.reserved += room;
    return admission;
  }

  release(room: u32): void {
    const released = min(room, this.reserved);
    this.reserved -= released;
    this.root.emitter.release(released);
  }

  admitPayload(room: u32): Admission {
    return this.root.emitter.admitPayload(room);
  }

  releasePayload(room: u32): void {
    this.root.emitter.releasePayload(room);
  }

  recorder(session: ArrayBuffer, command: u64, direction: Direction, limit: u32): Recorder {
    return new Recorder(this.root.emitter, session, this.root.target, command, direction, limit);
  }

  event(session: ArrayBuffer): ProtoWriter {
    return this.root.emitter.event(session, this.root.target);
  }

  emit(promised: bool): bool {
    return this.root.emitter.emitSoon(promised);
  }
}

function begin(): void {
  toTarget.reset();
  toClient.reset();
}
