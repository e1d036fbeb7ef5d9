// The two sides of every network filter: `Connection` is what the framework offers, `Protocol` what a wire protocol implements. Neither knows the other's trade:
// the framework knows buffers, contexts and gRPC; the protocol knows messages. All bytes that a callback is given are valid until it returns.
import { ByteBuffer } from '../abi/bytes';
import { ProtoWriter } from '../abi/protobuf';
import { Admission } from '../tap/emitter';
import { Direction, Recorder } from '../tap/recorder';

/** A method of sluice.session.v1.SessionDoor. */
export const enum DoorMethod {
  OPEN,
  LOG_IN,
  READY,
  JUDGE,
  AWAIT,
  CANCEL,
  CLOSE,
  GENERATION,
  REFUSED,
}

/** What a judgement of an earlier time is worth now. */
export const enum Standing {
  GOOD,
  /** What it rests on has changed: it must be judged anew. */
  STALE,
  /** The service has not said lately whether it has changed. */
  UNKNOWN,
}

export const enum GrpcStatus {
  OK = 0,
  CANCELLED = 1,
  DEADLINE_EXCEEDED = 4,
  INTERNAL = 13,
  UNAVAILABLE = 14,
}

/** One connection of a client, and the target's behind it. */
export abstract class Connection {
  /** Bytes for the target, copied. They leave in order, when the callback returns; at any callback but `ended`, once the client has sent something: before that the connection is closed. */
  abstract sendUpstream(ptr: usize, length: u32): void;
  /** The same for a span of what `downstream` was given that passes as it came, byte for byte: not copied while such spans follow each other. */
  abstract passUpstream(ptr: usize, length: u32): void;
  /**
   * Bytes for the client, copied. Only within `upstream`: the host has no way to inject there (send the target something harmless and answer in place of
   * its reply); elsewhere the connection is closed.
   */
  abstract sendDownstream(ptr: usize, length: u32): void;
  /** The same for a span of what `upstream` was given that passes as it came, byte for byte. Never for bytes that were changed in place: they might pass unchanged. */
  abstract passDownstream(ptr: usize, length: u32): void;
  /**
   * Asks the door; `answered` follows with the same tag, never before `ask` has returned, unless the connection ends before or the question is given up.
   * `request` is copied. False: it cannot be asked (the service is away). A question asked within `ended` is sent, and its answer dropped.
   */
  abstract ask(method: DoorMethod, request: ByteBuffer, tag: u32): bool;
  /** The door sees that the call was cancelled; `answered` does not follow. */
  abstract giveUp(tag: u32): void;
  /** Ends both sides, after what was sent in this callback has left; what is sent after it is dropped. No callback but `ended` follows. */
  abstract close(): void;
  /** Whether `ticked` is wanted. Not at first. */
  abstract tick(wanted: bool): void;
  /** Has `downstream` called again, after the callback under way: the protocol would now consume what it left. Needless within `downstream` itself. */
  abstract resume(): void;

  /** The configured name of the target. */
  abstract target(): ArrayBuffer;
  /** `address:port` of the client. */
  abstract downstreamAddress(): ArrayBuffer;
  /** Filter state `sluice.passage`: the session that came with the tunnel. Empty when there is none. */
  abstract passage(): ArrayBuffer;
  /** This VM's emitter, 32 hexadecimal digits. */
  abstract emitterId(): ArrayBuffer;
  /** What the emitter has told has a lower sequence than this. */
  abstract nextSequence(): u64;
  /** Nanoseconds of a clock that never steps. */
  abstract now(): u64;

  /** Has the service asked for its generation, from now on, on behalf of all connections. */
  abstract watch(): void;
  /** Of a judgement made in `generation`. Without `watch`, or shortly after it: UNKNOWN. */
  abstract standing(generation: u64): Standing;

  /** May a command begin that will report at most `room` bytes of events? If so the room is kept until `release`, or the connection's end. */
  abstract admit(room: u32): Admission;
  abstract release(room: u32): void;
  /** Likewise for payload: `room` of `payloadRoom`s. The recorders that are made for it give it back, or `releasePayload` does; the connection's end does not. */
  abstract admitPayload(room: u32): Admission;
  abstract releasePayload(room: u32): void;
  abstract recorder(session: ArrayBuffer, command: u64, direction: Direction, limit: u32): Recorder;
  /** The writer, inside a new event of this target: write its body (see tap/event.ts), then `emit`. Nothing may come between. */
  abstract event(session: ArrayBuffer): ProtoWriter;
  /** Queues the event for the sink, which hears of it within a tick. `promised`: room was kept for it. False: there was none. */
  abstract emit(promised: bool): bool;
}

/** A wire protocol's part of one connection: made when the connection is, called by the framework, one call at a time. */
export abstract class Protocol {
  constructor(protected connection: Connection) {}

  /**
   * All unconsumed bytes from the client; answers how many of them it has consumed. What is not consumed comes again with what arrives later, or after
   * `resume`; the framework keeps up to `BACKLOG_BYTES` and then lets the client wait. Only what was sent or passed reaches the target.
   * `end`: the client sends no more. Called with `end` and no bytes too; the target hears of the end when all is consumed, and before that with the first
   * bytes that are sent: only what is sent within one callback reaches it then.
   */
  abstract downstream(ptr: usize, length: u32, end: bool): u32;

  /**
   * All unconsumed bytes from the target, likewise. The target is not made to wait: what is left may not exceed `BACKLOG_BYTES`, or the connection is closed.
   * `end`: the target sends no more; what is left unconsumed then is dropped.
   */
  abstract upstream(ptr: usize, length: u32, end: bool): u32;

  /** The door's answer: a message when `grpcStatus` is OK, else nothing (also when the service went away: UNAVAILABLE). */
  abstract answered(tag: u32, grpcStatus: u32, ptr: usize, length: u32): void;

  /** Time passes: about every 50 ms for a connection that asked for it. `now`: as `connection.now()`. */
  abstract ticked(now: u64): void;

  /** The connection is over, whoever ended it; called once. What was asked is already given up. The protocol frees here what it holds outside the collector. */
  abstract ended(): void;
}

/** What the framework keeps of unconsumed bytes, for each direction of a connection. A command of 1 MiB fits with its frame and what follows it. */
export const BACKLOG_BYTES: u32 = 2 << 20;
