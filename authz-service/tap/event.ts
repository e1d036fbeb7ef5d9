/** The codec of `sluice.tap.v1.Event` and of the messages that carry it. */
import type { Subject } from '../log/leaf.ts';
import { pruningSaid } from '../log/pruned.ts';
import { kindOf, payloadOf } from './leaf_kind.ts';
import { BODIES, DIRECTIONS, type Direction, type FieldType, type Kind, type MaskedField, type TapBody, type TapEvent } from './schema.ts';
import { BYTES, FIXED64, Reader, VARINT, WireError, Writer } from './wire.ts';

/** An entry of a transparency log has at most 65,535 bytes; what remains is for what the log adds. */
export const MAX_EVENT_BYTES = 64_512;
const MAX_NAME_LENGTH = 128;

const EMITTER = /^[0-9a-f]{32}$/;
const PRINTABLE = /^[\x21-\x7e]*$/;

type Value = string | number | bigint | boolean | Uint8Array | readonly string[] | readonly MaskedField[];

interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly tag: number;
  readonly coding: Coding;
}

/** How one type of field stands on the wire. One row is all that an encoder and a decoder need to know of it. */
interface Coding {
  readonly wire: number;
  readonly absent: Value | undefined;
  write(writer: Writer, tag: number, value: never): void;
  /** The value, or one item of a repeated field. */
  read(reader: Reader): unknown;
  readonly repeated?: true;
}

const MASKED_RULE = (1 << 3) | BYTES;
const MASKED_COUNT = (2 << 3) | VARINT;

const readMasked = (reader: Reader): MaskedField => {
  let rule = '';
  let count = 0;
  while (!reader.done) {
    const tag = reader.tag();
    if (tag === MASKED_RULE) rule = reader.string();
    else if (tag === MASKED_COUNT) count = reader.varint();
    else reader.skip(tag & 7);
  }
  return { rule, count };
};

const writeText = (writer: Writer, tag: number, value: string): void => {
  writer.varint(tag);
  writer.string(value);
};

const writeNumber = (writer: Writer, tag: number, value: number): void => {
  writer.varint(tag);
  writer.varint(value);
};

/** A count as the field can hold it: what is told must be readable again, whatever a clock or a sum has made of it. */
const writeCount =
  (most: number) =>
  (writer: Writer, tag: number, value: number): void =>
    writeNumber(writer, tag, value > 0 ? Math.min(Math.floor(value), most) : 0);

const CODINGS: Record<FieldType, Coding> = {
  string: { wire: BYTES, absent: '', write: writeText, read: (reader) => reader.string() },
  strings: {
    wire: BYTES,
    absent: [],
    repeated: true,
    write: (writer, tag, values: readonly string[]) => {
      for (const value of values) writeText(writer, tag, value);
    },
    read: (reader) => reader.string(),
  },
  bytes: {
    wire: BYTES,
    absent: Buffer.alloc(0),
    write: (writer, tag, value: Uint8Array) => {
      if (value.length === 0) return;
      writer.varint(tag);
      writer.bytes(value);
    },
    read: (reader) => reader.bytes(),
  },
  bool: {
    wire: VARINT,
    absent: false,
    write: (writer, tag, value: boolean) => writeNumber(writer, tag, value ? 1 : 0),
    read: (reader) => reader.varint() !== 0,
  },
  uint32: {
    wire: VARINT,
    absent: 0,
    write: writeCount(0xffffffff),
    read: (reader) => {
      const value = reader.varint();
      if (value > 0xffffffff) throw new WireError('malformed', 'a number beyond 32 bits');
      return value;
    },
  },
  uint64: { wire: VARINT, absent: 0, write: writeCount(Number.MAX_SAFE_INTEGER), read: (reader) => reader.varint() },
  fixed64: {
    wire: FIXED64,
    absent: 0n,
    write: (writer, tag, value: bigint) => {
      writer.varint(tag);
      writer.fixed64(value);
    },
    read: (reader) => reader.fixed64(),
  },
  direction: {
    wire: VARINT,
    // A chunk without a direction belongs to neither side.
    absent: undefined,
    write: (writer, tag, value: Direction) => writeNumber(writer, tag, DIRECTIONS.indexOf(value)),
    read: (reader) => {
      const direction = DIRECTIONS[reader.varint()];
      if (direction === undefined) throw new WireError('malformed', 'an unknown direction');
      return direction;
    },
  },
  masked: {
    wire: BYTES,
    absent: [],
    repeated: true,
    write: (writer, tag, values: readonly MaskedField[]) => {
      for (const { rule, count } of values) {
        writer.varint(tag);
        writer.message(() => {
          if (rule !== '') writeText(writer, MASKED_RULE, rule);
          if (count !== 0) writeNumber(writer, MASKED_COUNT, count);
        });
      }
    },
    read: (reader) => readMasked(reader.message()),
  },
};

interface Message {
  readonly kind: Kind;
  readonly tag: number;
  readonly fields: readonly Field[];
  /** Where every field is absent: cloned for each message that is read, so that all have one shape. */
  readonly empty: Record<string, Value | undefined>;
}

const messages: readonly Message[] = (Object.keys(BODIES) as Kind[]).map((kind) => {
  const fields = Object.entries(BODIES[kind].fields as Record<string, FieldType>).map(([name, type], i) => ({
    name,
    type,
    tag: ((i + 1) << 3) | CODINGS[type].wire,
    coding: CODINGS[type],
  }));
  const empty = Object.fromEntries([['kind', kind], ...fields.map(({ name, type }) => [name, CODINGS[type].absent])]);
  return { kind, tag: (BODIES[kind].number << 3) | BYTES, fields, empty };
});
const messageOfKind = new Map(messages.map((message) => [message.kind, message]));
const messageOfNumber = new Map(messages.map((message) => [message.tag >>> 3, message]));

const [EMITTER_TAG, SEQUENCE_TAG, TIME_TAG, SESSION_TAG, TARGET_TAG, TRUNCATED_TAG, COMMAND_TAG] = [
  (1 << 3) | BYTES,
  (2 << 3) | VARINT,
  (3 << 3) | FIXED64,
  (4 << 3) | BYTES,
  (5 << 3) | BYTES,
  (6 << 3) | BYTES,
  (7 << 3) | VARINT,
] as const;

const writer = new Writer();

const writeEvent = ({ emitter, sequence, timeUnixNanos, session, target, truncated, command = 0, body }: TapEvent): void => {
  const message = messageOfKind.get(body.kind) as Message;
  const values = body as unknown as Record<string, Value>;
  writer.reset();
  writeText(writer, EMITTER_TAG, emitter);
  writeNumber(writer, SEQUENCE_TAG, sequence);
  writer.varint(TIME_TAG);
  writer.fixed64(timeUnixNanos);
  if (session !== '') writeText(writer, SESSION_TAG, session);
  if (target !== '') writeText(writer, TARGET_TAG, target);
  for (const name of truncated) writeText(writer, TRUNCATED_TAG, name);
  if (command > 0) writeNumber(writer, COMMAND_TAG, command);
  writer.varint(message.tag);
  writer.message(() => {
    for (const { name, coding, tag } of message.fields) {
      const value = values[name];
      if (value !== coding.absent) coding.write(writer, tag, value as never);
    }
  });
};

const CUT_MARK = '…';

/** At most `size` bytes of UTF-8, ending in `…` when something was cut. */
const cutText = (text: string, size: number): string => {
  const bytes = Buffer.from(text);
  if (bytes.length <= size) return text;
  let end = size - Buffer.byteLength(CUT_MARK);
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, Math.max(end, 0)) + CUT_MARK;
};

const cutValue = (value: Value, size: number): Value => {
  if (typeof value === 'string') return cutText(value, size);
  if (value instanceof Uint8Array) return value.subarray(0, size);
  if (!Array.isArray(value)) return value;
  const kept: unknown[] = [];
  let used = 0;
  for (const item of value) {
    used += (typeof item === 'string' ? Buffer.byteLength(item) : Buffer.byteLength(item.rule) + 10) + 8;
    if (used > size) break;
    kept.push(item);
  }
  return kept as unknown as Value;
};

/** The event with its largest fields cut, all to one size, so that it fits. Names of the cut fields are in `truncated`. */
const cutToFit = (event: TapEvent): TapEvent => {
  const { fields } = messageOfKind.get(event.body.kind) as Message;
  for (let size = MAX_EVENT_BYTES; ; size = Math.floor(size * 0.75)) {
    const body = { ...event.body } as unknown as Record<string, Value>;
    const truncated: string[] = [];
    for (const { name } of fields) {
      const value = body[name] as Value;
      const cut = cutValue(value, size);
      if (cut === value || (Array.isArray(cut) && cut.length === (value as unknown[]).length)) continue;
      if (cut instanceof Uint8Array && cut.length === (value as Uint8Array).length) continue;
      body[name] = cut;
      truncated.push(name);
    }
    const shorter = { ...event, truncated, body: body as unknown as TapBody };
    writeEvent(shorter);
    if (writer.length <= MAX_EVENT_BYTES) return shorter;
  }
};

/** The event as `encodeEvent` keeps it: itself, or cut so that it fits. */
export interface Encoded {
  /** A view, good until the next encoding. */
  readonly bytes: Buffer;
  readonly event: TapEvent;
}

const isLongName = (name: string): boolean => name.length > MAX_NAME_LENGTH;

/** Encodes without a copy. Never more than `MAX_EVENT_BYTES`: fields that are too long are cut and named in `truncated`. A target has at most 128 characters. */
export const encodeEventView = (told: TapEvent): Encoded => {
  // Whole characters: the leaf's own cut goes through them.
  const event = isLongName(told.target) ? { ...told, target: cutText(told.target, MAX_NAME_LENGTH) } : told;
  writeEvent(event);
  if (writer.length <= MAX_EVENT_BYTES) return { bytes: writer.view(), event };
  const shorter = cutToFit(event);
  return { bytes: writer.view(), event: shorter };
};

/** The event's bytes: never more than `MAX_EVENT_BYTES`; fields that are too long are cut and named in `truncated`. */
export const encodeEvent = (event: TapEvent): Uint8Array => Uint8Array.prototype.slice.call(encodeEventView(event).bytes);

/** Kinds that may be about no session. */
const SESSIONLESS: ReadonlySet<Kind> = new Set(['notice', 'envoy_access_log', 'envoy_tap']);

/** Throws a `WireError` when this is no session that an event of this kind can have. */
export const checkSession = (session: string, kind: Kind): void => {
  if (session.length > MAX_NAME_LENGTH || !PRINTABLE.test(session))
    throw new WireError('malformed', 'a session is at most 128 printable characters');
  if (session === '' && !SESSIONLESS.has(kind)) throw new WireError('malformed', `${kind} without a session`);
};

const readBody = (message: Message, reader: Reader): TapBody => {
  const values = { ...message.empty };
  let seen = 0;
  while (!reader.done) {
    const tag = reader.tag();
    const number = tag >>> 3;
    const field = message.fields[number - 1];
    // A field of a later version stands in the record as it came.
    if (field === undefined) {
      reader.skip(tag & 7);
      continue;
    }
    if (field.tag !== tag) throw new WireError('malformed', `${message.kind}.${field.name} has wire type ${tag & 7}`);
    const { coding } = field;
    const first = (seen & (1 << number)) === 0;
    seen |= 1 << number;
    if (coding.repeated && !first) (values[field.name] as unknown[]).push(coding.read(reader));
    else if (first) values[field.name] = (coding.repeated ? [coding.read(reader)] : coding.read(reader)) as Value;
    else throw new WireError('malformed', `${message.kind}.${field.name} is there twice`);
  }
  const missing = message.fields.find(({ name }) => values[name] === undefined);
  if (missing) throw new WireError('malformed', `${message.kind}.${missing.name} is missing`);
  return values as unknown as TapBody;
};

/**
 * Reads a peer's event, whose bytes may be anything. Byte fields are views into `bytes`. Unknown fields are ignored; anything else that the protocol does not
 * say is a `WireError`, and nothing else is ever thrown.
 */
export const decodeEvent = (bytes: Uint8Array): TapEvent => readEvent(bytes, new Reader(bytes));

/**
 * As `decodeEvent`, but text that is not UTF-8 is read with U+FFFD in the place of what is wrong: a filter reports what third parties sent, and must not be
 * shut out for it. `repaired`: there was such text, or a target that is too long, so `bytes` should not be kept as they are, but what `encodeEventView` makes of the event.
 */
export const decodeReportedEvent = (bytes: Uint8Array): { readonly event: TapEvent; readonly repaired: boolean } => {
  const reader = new Reader(bytes, 0, bytes.length, { repaired: false });
  const event = readEvent(bytes, reader);
  return { event, repaired: reader.repair?.repaired === true || isLongName(event.target) };
};

const readEvent = (bytes: Uint8Array, reader: Reader): TapEvent => {
  if (bytes.length > MAX_EVENT_BYTES)
    throw new WireError('too_large', `an event of ${bytes.length} bytes; ${MAX_EVENT_BYTES} are the most`);
  let [emitter, sequence, timeUnixNanos, session, target] = ['', 0, 0n, '', ''];
  const truncated: string[] = [];
  let command = 0;
  let body: TapBody | undefined;
  let seen = 0;
  while (!reader.done) {
    const tag = reader.tag();
    const number = tag >>> 3;
    if (number <= 7 && number !== 6) {
      if (seen & (1 << number)) throw new WireError('malformed', `field ${number} of an event is there twice`);
      seen |= 1 << number;
    }
    if (tag === EMITTER_TAG) emitter = reader.string();
    else if (tag === SEQUENCE_TAG) sequence = reader.varint();
    else if (tag === TIME_TAG) timeUnixNanos = reader.fixed64();
    else if (tag === SESSION_TAG) session = reader.string();
    else if (tag === TARGET_TAG) target = reader.string();
    else if (tag === TRUNCATED_TAG) truncated.push(reader.string());
    else if (tag === COMMAND_TAG) command = reader.varint();
    else if (number <= 7) throw new WireError('malformed', `field ${number} of an event has wire type ${tag & 7}`);
    else {
      const message = messageOfNumber.get(number);
      if (message === undefined) reader.skip(tag & 7);
      else if (message.tag !== tag) throw new WireError('malformed', `${message.kind} has wire type ${tag & 7}`);
      else if (body !== undefined) throw new WireError('malformed', 'an event with two bodies');
      else body = readBody(message, reader.message());
    }
  }
  if (!EMITTER.test(emitter)) throw new WireError('malformed', 'an emitter is 32 hexadecimal digits');
  if (sequence < 1) throw new WireError('malformed', 'sequences begin at 1');
  if (body === undefined) throw new WireError('malformed', 'an event without a body that this version knows');
  checkSession(session, body.kind);
  return { emitter, sequence, timeUnixNanos, session, target, truncated, ...(command > 0 && { command }), body };
};

export type EmitRequest =
  | { readonly kind: 'hello'; readonly emitter: string; readonly software: string; readonly firstSequence: number }
  /** Each event's own bytes, views; at least one. */
  | { readonly kind: 'events'; readonly events: readonly Buffer[] };

const HELLO_TAG = (1 << 3) | BYTES;
const EVENT_TAG = (2 << 3) | BYTES;

const readHello = (reader: Reader): EmitRequest => {
  let [emitter, software, firstSequence] = ['', '', 0];
  while (!reader.done) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | BYTES)) emitter = reader.string();
    else if (tag === ((2 << 3) | BYTES)) software = reader.string();
    else if (tag === ((3 << 3) | VARINT)) firstSequence = reader.varint();
    else if (tag >>> 3 <= 3) throw new WireError('malformed', `field ${tag >>> 3} of a hello has wire type ${tag & 7}`);
    else reader.skip(tag & 7);
  }
  if (!EMITTER.test(emitter)) throw new WireError('malformed', 'an emitter is 32 hexadecimal digits');
  if (software.length > MAX_NAME_LENGTH) throw new WireError('malformed', 'a software name of more than 128 characters');
  if (firstSequence < 1) throw new WireError('malformed', 'sequences begin at 1');
  return { kind: 'hello', emitter, software, firstSequence };
};

/** Reads what a peer sent on its stream; throws nothing but a `WireError`. */
export const decodeEmitRequest = (bytes: Uint8Array): EmitRequest => {
  const reader = new Reader(bytes);
  let hello: EmitRequest | undefined;
  const events: Buffer[] = [];
  while (!reader.done) {
    const tag = reader.tag();
    if (tag === EVENT_TAG) events.push(reader.bytes());
    else if (tag !== HELLO_TAG) reader.skip(tag & 7);
    else if (hello === undefined) hello = readHello(reader.message());
    else throw new WireError('malformed', 'a message with two hellos');
  }
  if (hello !== undefined && events.length > 0) throw new WireError('malformed', 'a hello together with events');
  if (hello !== undefined) return hello;
  if (events.length === 0) throw new WireError('malformed', 'a message that is neither a hello nor an event');
  return { kind: 'events', events };
};

const small = new Writer();

export const encodeEmitRequest = (request: EmitRequest): Buffer => {
  small.reset();
  if (request.kind === 'events') {
    for (const bytes of request.events) {
      small.varint(EVENT_TAG);
      small.bytes(bytes);
    }
  } else {
    small.varint(HELLO_TAG);
    small.message(() => {
      writeText(small, (1 << 3) | BYTES, request.emitter);
      writeText(small, (2 << 3) | BYTES, request.software);
      writeNumber(small, (3 << 3) | VARINT, request.firstSequence);
    });
  }
  return Buffer.from(small.view());
};

const ACKNOWLEDGED_TAG = (1 << 3) | VARINT;

export const encodeEmitResponse = (acknowledged: number): Buffer => {
  small.reset();
  // Also when it is 0: no peer has to make sense of a message of no bytes.
  writeNumber(small, ACKNOWLEDGED_TAG, acknowledged);
  return Buffer.from(small.view());
};

/** The acknowledged sequence. Throws nothing but a `WireError`. */
export const decodeEmitResponse = (bytes: Uint8Array): number => {
  const reader = new Reader(bytes);
  let acknowledged = 0;
  while (!reader.done) {
    const tag = reader.tag();
    if (tag === ACKNOWLEDGED_TAG) acknowledged = reader.varint();
    else reader.skip(tag & 7);
  }
  return acknowledged;
};

/** RFC 3339, in UTC, to the nanosecond. */
export const timeText = (unixNanos: bigint): string => {
  const millis = Number(unixNanos / 1_000_000n);
  const rest = String(unixNanos % 1_000_000n).padStart(6, '0');
  // Beyond what a Date can be, the number itself is the honest answer.
  return millis > 8.64e15 ? String(unixNanos) : new Date(millis).toISOString().replace('Z', `${rest}Z`);
};

/** The event as JSON values, for people and other programs: times as RFC 3339, bytes as base64, the body's fields beside `kind`. */
export const eventToJson = ({ timeUnixNanos, body, ...event }: TapEvent): Record<string, unknown> => {
  const { fields } = messageOfKind.get(body.kind) as Message;
  const values = body as unknown as Record<string, Value>;
  const plain = fields.map(({ name, type }) => {
    const value = values[name];
    if (type === 'fixed64') return [name.replace(/UnixNanos$/, ''), timeText(value as bigint)];
    return [name, value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value];
  });
  return { ...event, time: timeText(timeUnixNanos), kind: body.kind, body: Object.fromEntries(plain) };
};

/** What is left of an event that was deleted, as JSON values: as `eventToJson` gives them, with `deleted` in the place of its body, and of payload which class of it. */
export const aboutToJson = ({ emitter, sequence, timeUnixNanos, session, target, kind }: Subject): Record<string, unknown> => ({
  emitter,
  sequence,
  session,
  target,
  time: timeText(timeUnixNanos),
  kind: kindOf(kind) ?? String(kind),
  ...(payloadOf(kind) !== undefined && { payload: payloadOf(kind) }),
  deleted: true,
});

/** What an event says when it tells that leaves were pruned; `undefined` of any other. */
export const pruningIn = (bytes: Buffer): string | undefined => pruningSaid(noticeOf(bytes));

/** A notice's name and text; `undefined` of any other event, and of bytes that this version does not know. */
export const noticeOf = (bytes: Buffer): { readonly notice: string; readonly text: string } | undefined => {
  try {
    const { body } = decodeEvent(bytes);
    return body.kind === 'notice' ? body : undefined;
  } catch {
    return undefined;
  }
};
