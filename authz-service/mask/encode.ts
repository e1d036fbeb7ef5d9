/** Writes `sluice.filter.v1.Plan`. By hand: it stands in every answer to Envoy, and is four field numbers deep. */
import type { MaskMethod } from '../decision/decision.ts';
import type { MaskRule } from './rule.ts';

const METHODS: Readonly<Record<MaskMethod, number>> = { full: 1, partial: 2, hash: 3, null: 4, drop: 5 };

class Writer {
  private buffer = Buffer.allocUnsafe(512);
  private length = 0;

  private reserve(more: number): void {
    if (this.length + more <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.length + more));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }

  varint(value: number): void {
    this.reserve(5);
    for (; value > 0x7f; value >>>= 7) this.buffer[this.length++] = (value & 0x7f) | 0x80;
    this.buffer[this.length++] = value;
  }

  /** A number; 0, as protobuf has it, is not written. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.varint(field << 3);
    this.varint(value);
  }

  text(field: number, value: string): void {
    const length = Buffer.byteLength(value);
    this.varint((field << 3) | 2);
    this.varint(length);
    this.reserve(length);
    this.length += this.buffer.write(value, this.length);
  }

  bytes(field: number, value: Uint8Array): void {
    this.varint((field << 3) | 2);
    this.varint(value.length);
    this.reserve(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  take(): Buffer {
    const taken = this.buffer.subarray(0, this.length);
    this.buffer = Buffer.allocUnsafe(512);
    this.length = 0;
    return taken;
  }
}

const writer = new Writer();

function encodeRule({ id, select, method, keepFirst, keepLast, key }: MaskRule): Buffer {
  writer.text(1, id);
  if ('path' in select) writer.text(2, select.path);
  else if ('detector' in select) writer.text(3, select.detector);
  else writer.text(4, select.pattern);
  writer.number(5, METHODS[method]);
  writer.number(6, keepFirst);
  writer.number(7, keepLast);
  if (key) writer.bytes(8, key);
  return writer.take();
}

/** How much of the payload is recorded, and how a request is masked for it: `sluice.filter.v1.Record`. */
export interface RecordPlan {
  readonly maxRequest: number;
  readonly maxResponse: number;
  readonly requestRules: readonly MaskRule[];
  readonly ownRules: readonly MaskRule[];
}

function encodeRecord({ maxRequest, maxResponse, requestRules, ownRules }: RecordPlan): Buffer {
  const [request, own] = [requestRules.map(encodeRule), ownRules.map(encodeRule)];
  writer.number(1, maxRequest);
  writer.number(2, maxResponse);
  for (const rule of request) writer.bytes(3, rule);
  for (const rule of own) writer.bytes(4, rule);
  return writer.take();
}

/** The rules in order, the longest token in bytes that may be held back (0: the core's default, 64 KiB), and what is recorded: left out, no payload is. */
export function encodePlan(rules: readonly MaskRule[], maxTokenBytes = 0, record?: RecordPlan): Buffer {
  const encoded = rules.map(encodeRule);
  const recorded = record && encodeRecord(record);
  for (const rule of encoded) writer.bytes(1, rule);
  writer.number(2, maxTokenBytes);
  if (recorded) writer.bytes(3, recorded);
  return writer.take();
}
