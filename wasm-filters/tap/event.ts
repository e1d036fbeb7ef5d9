// The events that filters emit: sluice.tap.v1.Event, wrapped as the EmitRequest that carries it. Field numbers are those of proto/sluice/tap/v1/tap.proto.
import { ProtoWriter } from '../abi/protobuf';

/** Bytes of an event beside its texts: tags, lengths, emitter (32 hexadecimal digits), sequence, time. */
export const ENVELOPE_BYTES: u32 = 96;
/** The longest reason that is recorded, in bytes of UTF-8. */
export const MAX_REASON: u32 = 200;

/** How the response of an exchange ended. */
export class Finished {
  outcome: ArrayBuffer = new ArrayBuffer(0);
  status: u32 = 0;
  requestBytes: u64 = 0;
  responseBytes: u64 = 0;
  durationMicros: u64 = 0;
  firstByteMicros: u64 = 0;
  reason: ArrayBuffer = new ArrayBuffer(0);
}

export function writeHello(w: ProtoWriter, emitter: ArrayBuffer, software: ArrayBuffer, firstSequence: u64): void {
  w.reset();
  const hello = w.open(1);
  w.bytes(1, emitter);
  w.bytes(2, software);
  w.uint(3, firstSequence);
  w.close(hello);
}

/** Opens an EmitRequest with an Event; the caller writes the body, then `closeEvent`. */
export function openEvent(
  w: ProtoWriter,
  emitter: ArrayBuffer,
  sequence: u64,
  unixNanos: u64,
  session: ArrayBuffer,
  target: ArrayBuffer,
): u32 {
  w.reset();
  const event = w.open(2);
  w.bytes(1, emitter);
  w.uint(2, sequence);
  w.fixed64(3, unixNanos);
  w.bytes(4, session);
  w.bytes(5, target);
  return event;
}

export function closeEvent(w: ProtoWriter, event: u32): void {
  w.close(event);
}

export function writeRequestForwarded(w: ProtoWriter): void {
  w.close(w.open(14));
}

/** Opens ResponseFinished; masked fields may follow before it is closed. */
export function openResponseFinished(w: ProtoWriter, finished: Finished): u32 {
  const body = w.open(15);
  w.bytes(1, finished.outcome);
  w.uint(2, finished.status);
  w.uint(3, finished.requestBytes);
  w.uint(4, finished.responseBytes);
  w.uint(5, finished.durationMicros);
  w.uint(6, finished.firstByteMicros);
  w.span(8, changetype<usize>(finished.reason), min(<u32>finished.reason.byteLength, MAX_REASON));
  return body;
}

export function writeMaskedField(w: ProtoWriter, rule: string, count: u64): void {
  const field = w.open(7);
  w.bytes(1, String.UTF8.encode(rule));
  w.uint(2, count);
  w.close(field);
}

export function writeSessionClosed(w: ProtoWriter, outcome: ArrayBuffer): void {
  const body = w.open(16);
  w.bytes(1, outcome);
  w.close(body);
}

/** A piece of a body, for `PayloadChunk`. */
export class Chunk {
  direction: u32 = 0;
  offset: u64 = 0;
  ptr: usize = 0;
  length: u32 = 0;
  last: bool = false;
  truncated: bool = false;
  contentType: ArrayBuffer = new ArrayBuffer(0);
  contentEncoding: ArrayBuffer = new ArrayBuffer(0);
  reason: ArrayBuffer = new ArrayBuffer(0);
}

export function writePayloadChunk(w: ProtoWriter, chunk: Chunk): void {
  const body = w.open(17);
  w.uint(1, chunk.direction);
  w.uint(2, chunk.offset);
  w.span(3, chunk.ptr, chunk.length);
  w.uint(4, u64(chunk.last));
  w.uint(5, u64(chunk.truncated));
  if (chunk.offset == 0) {
    w.bytes(6, chunk.contentType);
    w.bytes(7, chunk.contentEncoding);
  }
  w.span(8, changetype<usize>(chunk.reason), min(<u32>chunk.reason.byteLength, MAX_REASON));
  w.close(body);
}

export function writeNotice(w: ProtoWriter, kind: ArrayBuffer, text: ArrayBuffer): void {
  const body = w.open(18);
  w.bytes(1, kind);
  w.bytes(2, text);
  w.close(body);
}
