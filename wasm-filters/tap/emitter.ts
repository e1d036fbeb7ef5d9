// The tap's emitter of one root context (one per worker and configuration): sluice.tap.v1.Tap.Emit. An event stays in the queue until the sink has it
// durably, and is sent again on each new stream; the sink drops what it already has. Knows no protocol.
import { at, ByteBuffer, utf8 } from '../abi/bytes';
import {
  BufferType,
  bufferBytes,
  cancelGrpc,
  givenAt,
  givenLength,
  LogLevel,
  log,
  Metric,
  MetricType,
  monotonicNanos,
  openGrpcStream,
  randomBytes,
  sendGrpc,
  unixNanos,
} from '../abi/host';
import { ProtoReader, ProtoWriter } from '../abi/protobuf';
import { closeEvent, ENVELOPE_BYTES, openEvent, writeHello, writeNotice } from './event';
import { EventQueue } from './queue';

export const enum Admission {
  ADMITTED,
  /** The sink has not answered yet on this stream, or there is no stream: it may come back. */
  AWAY,
  /** No room for what the exchange would have to report. */
  FULL,
  /** No room at the moment for the payload that would be recorded. */
  BUSY,
}

const MILLISECOND: u64 = 1_000_000;
const FIRST_BACKOFF: u64 = 50 * MILLISECOND;
const MAX_BACKOFF: u64 = 1000 * MILLISECOND;
/** A sink that says nothing to Hello is asked by an event. */
const PROBE_AFTER: u64 = 100 * MILLISECOND;
/** Nothing acknowledged for so long, with events waiting: the stream is given up. */
const ABANDON_AFTER: u64 = 15000 * MILLISECOND;

/** Events that may be told a little later go as one message when they have this many bytes, and at the next tick. */
const BATCH: u32 = 16 << 10;
/** One message to the sink holds no more events than fit into this, but for one that is longer alone. */
const MAX_MESSAGE: u32 = 64 << 10;

const SERVICE = utf8('sluice.tap.v1.Tap');
const METHOD = utf8('Emit');
const NONE = new ArrayBuffer(0);
const HEX = utf8('0123456789abcdef');
const NOTICE_OPENED = utf8('tap-opened'),
  NOTICE_DROPPED = utf8('events-dropped');

/** The message being written; nothing is written across a callback. */
const writer = new ProtoWriter();
let openedEvent: u32 = 0;
/** The message that several events go in. */
const batch = new ByteBuffer(BATCH);

function randomId(): ArrayBuffer {
  const bytes = randomBytes(16),
    id = new ArrayBuffer(32);
  for (let i: usize = 0; i < 16; i++) {
    const byte = load<u8>(at(bytes) + i);
    store<u8>(at(id) + (i << 1), load<u8>(at(HEX) + (byte >> 4)));
    store<u8>(at(id) + (i << 1) + 1, load<u8>(at(HEX) + (byte & 15)));
  }
  return id;
}

/** What gathers payload for a while. */
export interface Gathering {
  /** Emits what it has. */
  flush(): void;
}

export class Emitter {
  /** 32 hexadecimal digits. */
  readonly id: ArrayBuffer = randomId();
  private queue: EventQueue = new EventQueue();
  /** Room promised to exchanges under way, for the events that end them. */
  private reserved: u32 = 0;
  /** Likewise for payload that may yet have to be recorded. */
  private reservedPayload: u32 = 0;
  /** Those that have gathered something since the last tick. */
  private gathering: Gathering[] = [];
  /** The gRPC stream, or 0. */
  private token: u32 = 0;
  /** The sink has answered on this stream. */
  private answered: bool = false;
  private probed: bool = false;
  private openedAt: u64 = 0;
  private retryAt: u64 = 0;
  private backoff: u64 = FIRST_BACKOFF;
  /** When the sink last acknowledged something, or the queue ceased to be empty. */
  private progressAt: u64 = 0;
  private now: u64 = 0;
  /** Events not recorded because the queue was full; only where `required` is false. */
  private dropped: u64 = 0;
  private everSent: u64 = 0;

  private queuedGauge: Metric = new Metric(MetricType.GAUGE, 'sluice_tap_queued_events');
  private bytesGauge: Metric = new Metric(MetricType.GAUGE, 'sluice_tap_queued_bytes');
  private streamsGauge: Metric = new Metric(MetricType.GAUGE, 'sluice_tap_streams');
  private acknowledgedCounter: Metric = new Metric(MetricType.COUNTER, 'sluice_tap_acknowledged');
  private resentCounter: Metric = new Metric(MetricType.COUNTER, 'sluice_tap_resent');
  private reopenedCounter: Metric = new Metric(MetricType.COUNTER, 'sluice_tap_reopened');
  private droppedCounter: Metric = new Metric(MetricType.COUNTER, 'sluice_tap_dropped');
  private reportedEvents: i64 = 0;
  private reportedBytes: i64 = 0;
  private reportedStreams: i64 = 0;

  /**
   * `bound`: bytes of events, reservations included; `payloadBound`: of those that carry recorded payload, which count apart. `required`: without the sink, or
   * without room, nothing is admitted. `lag`: nor while an event has waited for longer than this for its acknowledgement, nanoseconds.
   */
  constructor(
    private cluster: ArrayBuffer,
    private software: ArrayBuffer,
    private bound: u32,
    private payloadBound: u32,
    private required: bool,
    private lag: u64,
  ) {}

  /** Of the next event: all that were told have a lower one. */
  get nextSequence(): u64 {
    // What was dropped is told by the next event, whenever that has room: whoever waits for all that was told waits for it, too.
    return this.queue.nextSequence + (this.dropped ? 1 : 0);
  }

  get idle(): bool {
    return this.queue.count == 0;
  }

  private get stalled(): bool {
    return this.queue.count > 0 && this.now > this.queue.oldest + this.lag;
  }

  /** Asks whether a new exchange may begin that reports at most `room` bytes; if so, keeps the room for it. */
  admit(room: u32): Admission {
    if (!this.required) {
      this.reserved += room;
      return Admission.ADMITTED;
    }
    this.now = monotonicNanos();
    if (this.eventBytes + this.reserved + room > this.bound) return Admission.FULL;
    if (!this.answered || this.stalled) {
      // Somebody waits: do not let a long back-off outlast their patience.
      this.retryAt = min(this.retryAt, this.now + 2 * FIRST_BACKOFF);
      return Admission.AWAY;
    }
    this.reserved += room;
    return Admission.ADMITTED;
  }

  release(room: u32): void {
    this.reserved -= room;
  }

  /** What the queue holds beside recorded payload. */
  private get eventBytes(): u32 {
    return this.queue.bytes - this.queue.payloadBytes;
  }

  private fitsPayload(size: u32): bool {
    return <u64>this.queue.payloadBytes + this.reservedPayload + size <= this.payloadBound;
  }

  /** Of one that was admitted: room for the payload that is recorded of it. Whoever gets it gives it back by `releasePayload`, as it is emitted or not needed. */
  admitPayload(room: u32): Admission {
    if (this.required && !this.fitsPayload(room)) return Admission.BUSY;
    this.reservedPayload += room;
    return Admission.ADMITTED;
  }

  releasePayload(room: u32): void {
    this.reservedPayload -= room;
  }

  /** Has `flush` called at the next tick. */
  gather(one: Gathering): void {
    this.gathering.push(one);
  }

  /** Of small pieces each would be an event. While the sink is behind they are not emitted for time's sake, so that what is promised bounds the queue. */
  private flushGathered(): void {
    if (this.gathering.length == 0 || !this.fitsPayload(0) || this.queue.payloadBytes > this.payloadBound >> 2) return;
    const gathering = this.gathering;
    this.gathering = [];
    for (let i = 0; i < gathering.length; i++) gathering[i].flush();
  }

  /** The writer, inside a new event: write its body, then `emit`. */
  event(session: ArrayBuffer, target: ArrayBuffer): ProtoWriter {
    this.tellDropped();
    openedEvent = openEvent(writer, this.id, this.queue.nextSequence, unixNanos(), session, target);
    return writer;
  }

  /** Queues the event that was written, and sends it with those before it. `promised`: room was reserved for it. False when there is none. */
  emit(promised: bool): bool {
    if (!this.queued(promised)) return false;
    this.send();
    return true;
  }

  /** Queues the event that was written; it is sent with others, at the next tick at the latest. */
  emitSoon(promised: bool): bool {
    if (!this.queued(promised)) return false;
    if (this.queue.unreadBytes >= BATCH) this.send();
    return true;
  }

  /** Sends what is queued. */
  send(): void {
    if (this.answered) this.flush();
  }

  private queued(promised: bool): bool {
    closeEvent(writer, openedEvent);
    // Nothing stands before the notice of what was dropped, so that no end looks whole.
    if (this.dropped && !(promised && this.required)) return this.drop();
    const size = EventQueue.sizeOf(writer.out.length);
    // A promise keeps its room free of others, unless nothing is refused: then the queue itself is the bound.
    if (promised && this.required ? false : this.eventBytes + (this.required ? this.reserved : 0) + size > this.bound) return this.drop();
    return this.push(false);
  }

  /** As `emit`, of an event with payload, whose room was promised. False when nothing is promised, because nothing is required, and there is none. */
  emitPayload(): bool {
    closeEvent(writer, openedEvent);
    const size = EventQueue.sizeOf(writer.out.length);
    if (!this.required && (this.dropped || <u64>this.queue.payloadBytes + size > this.payloadBound)) return this.drop();
    this.push(true);
    if (this.queue.unreadBytes >= BATCH) this.send();
    return true;
  }

  private drop(): bool {
    this.dropped++;
    this.droppedCounter.add(1);
    return false;
  }

  private push(payload: bool): bool {
    const now = monotonicNanos();
    if (this.queue.count == 0) this.progressAt = now;
    this.queue.push(writer.out.ptr, writer.out.length, now, payload);
    return true;
  }

  private flush(): void {
    while (this.queue.unread) {
      const first = this.queue.messagePtr,
        from = this.queue.position;
      let length = this.queue.messageLength,
        count: u64 = 1;
      this.queue.advance();
      if (this.queue.unread) {
        // Messages of one event each, one behind the other, are a message of several.
        batch.reset();
        batch.write(first, length);
        for (; this.queue.unread && batch.length + this.queue.messageLength <= MAX_MESSAGE; count++) {
          batch.write(this.queue.messagePtr, this.queue.messageLength);
          this.queue.advance();
        }
        length = batch.length;
      }
      if (!sendGrpc(this.token, count == 1 ? first : batch.ptr, length)) {
        this.queue.retreat(from, <u32>count);
        return;
      }
      const last = this.queue.firstSequence + this.queue.read - 1,
        again = min(count, this.everSent > last - count ? this.everSent - (last - count) : 0);
      if (again) this.resentCounter.add(again);
      this.everSent = max(this.everSent, last);
    }
  }

  /** Call every 50 ms or so, as the root context. */
  tick(): void {
    this.now = monotonicNanos();
    this.flushGathered();
    if (this.token == 0) {
      if (this.now >= this.retryAt) this.open();
    } else if (!this.answered && !this.probed && this.now - this.openedAt > PROBE_AFTER) {
      this.probed = true;
      if (this.queue.count == 0) {
        writeNotice(this.event(NONE, NONE), NOTICE_OPENED, this.software);
        this.emit(false);
      }
      this.flush();
      // What was gathered until this tick is in the queue since a moment after `now`.
    } else if (this.queue.count && this.now > max(this.progressAt, this.openedAt) + ABANDON_AFTER) {
      log(LogLevel.WARN, 'the tap sink acknowledges nothing: reopening the stream');
      cancelGrpc(this.token);
      this.lost();
    }
    this.tellDropped();
    this.send();
    this.report();
  }

  /** Before anything else is told. */
  private tellDropped(): void {
    if (this.dropped == 0 || this.eventBytes + (this.required ? this.reserved : 0) + ENVELOPE_BYTES * 2 > this.bound) return;
    const text = utf8(`${this.dropped} events were not recorded: the queue was full`);
    this.dropped = 0;
    writeNotice(this.event(NONE, NONE), NOTICE_DROPPED, text);
    this.queued(false);
  }

  private open(): void {
    this.token = openGrpcStream(this.cluster, SERVICE, METHOD);
    this.openedAt = this.now;
    this.answered = this.probed = false;
    this.queue.rewind();
    if (this.token) {
      writeHello(writer, this.id, this.software, this.queue.firstSequence);
      sendGrpc(this.token, writer.out.ptr, writer.out.length);
    } else {
      this.lost();
    }
  }

  private lost(): void {
    this.token = 0;
    this.answered = false;
    this.retryAt = this.now + this.backoff;
    this.backoff = min(this.backoff << 1, MAX_BACKOFF);
    this.reopenedCounter.add(1);
  }

  /** The stream is there. True when from now on exchanges can be admitted again. */
  private ready(): bool {
    this.backoff = FIRST_BACKOFF;
    const news = !this.answered;
    this.answered = true;
    if (news) {
      // Patience with the old stream has run out, not with this one.
      this.progressAt = this.now;
      this.flush();
    }
    return news;
  }

  /** proxy_on_grpc_receive. True when exchanges that wait for the sink should ask again. */
  received(token: u32, size: u32): bool {
    if (token != this.token) return false;
    this.now = monotonicNanos();
    const wasStalled = this.stalled;
    let acknowledged: u64 = 0;
    let broken = !bufferBytes(BufferType.GRPC_RECEIVE, size);
    if (!broken) {
      const response = new ProtoReader(givenAt, givenLength);
      while (response.next()) if (response.field == 1) acknowledged = response.value;
      broken = response.broken;
    }
    // An answer to what was never sent would let the queue forget what is not durable.
    if (broken || acknowledged > this.everSent) {
      log(LogLevel.ERROR, 'the tap sink answers what cannot be: reopening the stream');
      cancelGrpc(token);
      this.lost();
      return false;
    }
    const before = this.queue.count;
    this.queue.acknowledge(acknowledged);
    if (before != this.queue.count) {
      this.acknowledgedCounter.add(before - this.queue.count);
      this.progressAt = this.now;
    }
    return this.ready() || (wasStalled && !this.stalled);
  }

  /** proxy_on_grpc_close: whatever the status, the stream is gone. */
  closed(token: u32, status: u32): void {
    if (token != this.token) return;
    this.now = monotonicNanos();
    cancelGrpc(token);
    if (this.answered) log(LogLevel.WARN, `the tap sink is away (gRPC status ${status})`);
    this.lost();
  }

  /** Tells the host what changed; the counters tell themselves. */
  private report(): void {
    const events = <i64>this.queue.count,
      bytes = <i64>this.queue.bytes,
      streams = this.answered ? <i64>1 : 0;
    this.queuedGauge.add(events - this.reportedEvents);
    this.bytesGauge.add(bytes - this.reportedBytes);
    this.streamsGauge.add(streams - this.reportedStreams);
    this.reportedEvents = events;
    this.reportedBytes = bytes;
    this.reportedStreams = streams;
  }

  /** The root context ends. */
  free(): void {
    if (this.token) cancelGrpc(this.token);
    this.token = 0;
    this.answered = false;
    this.queue.free();
    this.report();
  }
}
