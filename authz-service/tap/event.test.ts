import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import {
  decodeEmitRequest,
  decodeEmitResponse,
  decodeEvent,
  encodeEmitRequest,
  encodeEmitResponse,
  encodeEvent,
  eventToJson,
  MAX_EVENT_BYTES,
  timeText,
} from './event.ts';
import { BODIES, closedBody, type FieldType, type Kind, type TapBody, type TapEvent } from './schema.ts';
import { WireError } from './wire.ts';

const proto = protobuf.loadSync(new URL('../../proto/sluice/tap/v1/tap.proto', import.meta.url).pathname);
const EventProto = proto.lookupType('sluice.tap.v1.Event');

const Long = protobuf.util.Long as unknown as { fromString(digits: string, unsigned: boolean): unknown };

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const VALUES: Record<FieldType, fc.Arbitrary<unknown>> = {
  string: fc.string({ unit: 'grapheme', maxLength: 60 }),
  strings: fc.array(fc.string({ maxLength: 20 }), { maxLength: 5 }),
  bytes: fc.uint8Array({ maxLength: 200 }),
  bool: fc.boolean(),
  uint32: fc.integer({ min: 0, max: 0xffffffff }),
  uint64: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  fixed64: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  direction: fc.constantFrom('request', 'response'),
  masked: fc.array(fc.record({ rule: fc.string(), count: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }) }), { maxLength: 4 }),
};

const kinds = Object.keys(BODIES) as Kind[];
const bodies = fc.oneof(
  ...kinds.map((kind) =>
    fc.record({
      kind: fc.constant(kind),
      ...Object.fromEntries(Object.entries(BODIES[kind].fields).map(([name, type]) => [name, VALUES[type as FieldType]])),
    }),
  ),
) as unknown as fc.Arbitrary<TapBody>;

const events: fc.Arbitrary<TapEvent> = fc
  .record({
    emitter: fc.stringMatching(/^[0-9a-f]{32}$/),
    sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    timeUnixNanos: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    session: fc.stringMatching(/^[\x21-\x7e]{1,40}$/),
    target: fc.string({ maxLength: 20 }),
    truncated: fc.array(fc.constantFrom('reason', 'maskedInputJson'), { maxLength: 2 }),
    body: bodies,
  })
  .chain((event) => fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }).map((command) => (command === 0 ? event : { ...event, command })));

/** The event as protobufjs wants it, made from the .proto file's names and not from the tables' numbers. */
const toProto = ({ sequence, timeUnixNanos, body, command = 0, ...event }: TapEvent): Record<string, unknown> => {
  const long = (value: bigint | number): unknown => Long.fromString(String(value), true);
  const { kind, ...fields } = body;
  const types = BODIES[kind].fields as Record<string, FieldType>;
  const message = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      const type = types[name] as FieldType;
      if (type === 'fixed64' || type === 'uint64') return [name, long(value as number)];
      if (type === 'direction') return [name, value === 'request' ? 1 : 2];
      if (type === 'masked')
        return [name, (value as unknown as { rule: string; count: number }[]).map(({ rule, count }) => ({ rule, count: long(count) }))];
      return [name === 'notice' ? 'kind' : name, value];
    }),
  );
  const name = kind.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return { ...event, sequence: long(sequence), timeUnixNanos: long(timeUnixNanos), command: long(command), [name]: message };
};

const sample = (body: TapBody, changes: Partial<TapEvent> = {}): TapEvent => ({
  emitter: '0123456789abcdef0123456789abcdef',
  sequence: 1,
  timeUnixNanos: 1_700_000_000_123_456_789n,
  session: 'ses_1',
  target: 'demo',
  truncated: [],
  body,
  ...changes,
});

describe('the tables', () => {
  it('say what the .proto file says: every body, every field, its number and its type', () => {
    const fromProto = Object.fromEntries(
      (EventProto.oneofs.body?.fieldsArray ?? []).map((body) => [
        body.name,
        {
          number: body.id,
          fields: proto
            .lookupType(`sluice.tap.v1.${body.type}`)
            .fieldsArray.map(({ name, id, type, repeated }) => [name, id, `${repeated ? 'repeated ' : ''}${type}`]),
        },
      ]),
    );
    const NAMES: Partial<Record<FieldType, string>> = {
      strings: 'repeated string',
      masked: 'repeated MaskedField',
      direction: 'Direction',
    };
    const fromTables = Object.fromEntries(
      kinds.map((kind) => [
        snake(kind).replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
        {
          number: BODIES[kind].number,
          fields: Object.entries(BODIES[kind].fields).map(([name, type], i) => [
            name === 'notice' ? 'kind' : name,
            i + 1,
            NAMES[type as FieldType] ?? type,
          ]),
        },
      ]),
    );
    expect(fromTables).toEqual(fromProto);
  });
});

describe('the codec', () => {
  it('writes what protobufjs reads, and reads what protobufjs writes', () => {
    fc.assert(
      fc.property(events, (event) => {
        const expected = EventProto.encode(EventProto.fromObject(toProto(event))).finish();
        // protobufjs writes absent fields' defaults when they are set; what both read is the same.
        expect(EventProto.toObject(EventProto.decode(encodeEvent(event)), { defaults: true, longs: String })).toEqual(
          EventProto.toObject(EventProto.decode(expected), { defaults: true, longs: String }),
        );
        expect(decodeEvent(expected)).toEqual(decodeEvent(encodeEvent(event)));
      }),
      { numRuns: 500 },
    );
  });

  it('gives back what it was given', () => {
    fc.assert(
      fc.property(events, (event) => {
        const { body, ...rest } = decodeEvent(encodeEvent(event));
        expect(rest).toEqual({ ...event, body: undefined, ...rest });
        if (body.kind === 'payload_chunk') expect({ ...body, data: new Uint8Array(body.data) }).toEqual({ ...event.body });
        else expect(body).toEqual(event.body);
      }),
      { numRuns: 500 },
    );
  });

  it('cuts what is too long for a leaf of the log, and says what it cut', () => {
    const long = 'é'.repeat(200_000);
    const judged = {
      kind: 'request_judged',
      request: 'PUT /a',
      effect: 'allow',
      rule: 'r',
      reason: 'because',
      policyRevision: 'f'.repeat(64),
      maskedInputJson: long,
      decisionJson: long,
      approval: '',
      identityMicros: 1,
      policyMicros: 2,
      fingerprint: 'a',
      statementFingerprint: 'b',
    } as const;
    const bytes = encodeEvent(sample(judged));
    expect(bytes.length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
    const { truncated, body } = decodeEvent(bytes);
    expect(truncated).toEqual(['maskedInputJson', 'decisionJson']);
    if (body.kind !== 'request_judged') throw new Error('another kind');
    expect(body.maskedInputJson).toMatch(/^é{5000,}…$/);
    expect(body).toMatchObject({ request: 'PUT /a', policyRevision: judged.policyRevision });

    const held = decodeEvent(
      encodeEvent(
        sample({
          kind: 'request_held',
          approval: 'apr_1',
          approvers: Array.from({ length: 20_000 }, (_, i) => `group:${i}`),
          quorum: 1,
          expiresUnixNanos: 1n,
          rule: 'r',
          reason: '',
        }),
      ),
    );
    expect(held.truncated).toEqual(['approvers']);
    expect(held.body.kind === 'request_held' && held.body.approvers.length).toBeGreaterThan(1000);

    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.integer({ min: 0, max: 90_000 })), { maxLength: 6 }), (sizes) => {
        const fields = ['request', 'effect', 'rule', 'reason', 'maskedInputJson', 'decisionJson'] as const;
        const body: TapBody = { ...judged, ...Object.fromEntries(sizes.map(([field, size]) => [fields[field], 'x€'.repeat(size / 2)])) };
        const bytes = encodeEvent(sample(body));
        expect(bytes.length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
        decodeEvent(bytes);
      }),
      { numRuns: 50 },
    );
  });

  const good = encodeEvent(sample(closedBody('complete')));
  const encode = (fields: object): Uint8Array =>
    EventProto.encode(EventProto.fromObject({ ...toProto(decodeEvent(good)), ...fields })).finish();
  it.each([
    ['no bytes', new Uint8Array(0), /emitter/],
    ['another emitter than 32 hexadecimal digits', encode({ emitter: 'ABC' }), /emitter/],
    ['a sequence of 0', encode({ sequence: 0 }), /sequences/],
    ['a sequence beyond what a number can be', encode({ sequence: Long.fromString('9007199254740993', true) }), /2\^53/],
    ['no body', encode({ sessionClosed: null }), /body/],
    ['two bodies', Buffer.concat([good, Buffer.from([0x72, 0])]), /two bodies/],
    ['a session with a line break', encode({ session: 'a\nb' }), /session/],
    ['no session', encode({ session: '' }), /session/],
    ['a session of 129 characters', encode({ session: 'a'.repeat(129) }), /session/],
    ['a field twice', Buffer.concat([good, Buffer.from([0x22, 1, 0x61])]), /twice/],
    ['text that is not UTF-8', Buffer.concat([good, Buffer.from([0x2a, 1, 0xff])]), /twice|UTF-8/],
    ['a wrong wire type', Buffer.concat([Buffer.from([0x0d, 0, 0, 0, 0]), good]), /wire type/],
    ['a group', Buffer.concat([good, Buffer.from([0xf3, 0x01])]), /wire type 3/],
    ['field number 0', Buffer.concat([good, Buffer.from([0x02, 0])]), /field number/],
    ['a varint without end', Buffer.concat([good, Buffer.alloc(11, 0xff)]), /number/],
    ['a length beyond the end', good.subarray(0, -1), /length|early/],
    ['too many bytes', new Uint8Array(MAX_EVENT_BYTES + 1), /bytes/],
    ['a chunk without direction', encode({ sessionClosed: null, payloadChunk: { data: 'aaaa' } }), /direction/],
    ['a chunk of an unknown direction', encode({ sessionClosed: null, payloadChunk: { direction: 7 } }), /direction/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => decodeEvent(bytes)).toThrow(WireError);
    expect(() => decodeEvent(bytes)).toThrow(message);
  });

  it('leaves fields of a later version alone', () => {
    const later = Buffer.concat([good, Buffer.from([0xc2, 0x3e, 3, 1, 2, 3]), Buffer.from([0xc8, 0x3e, 5])]);
    expect(decodeEvent(later)).toEqual(decodeEvent(good));
  });

  it('takes time in proportion to the bytes, for a list of the most items too', () => {
    const listing = (count: number): Buffer => {
      const items = Buffer.alloc(2 * count);
      for (let i = 0; i < items.length; i += 2) items[i] = 0x12;
      const length = [(items.length & 0x7f) | 0x80, ((items.length >> 7) & 0x7f) | 0x80, items.length >> 14];
      return Buffer.concat([encode({ sessionClosed: null }), Buffer.from([0x62, ...length]), items]);
    };
    /** Of many, the quickest: the others were interrupted. */
    const took = (bytes: Buffer): number =>
      Math.min(
        ...Array.from({ length: 20 }, () => {
          const began = performance.now();
          decodeEvent(bytes);
          return performance.now() - began;
        }),
      );
    expect(took(listing(30_000)) / took(listing(9_000))).toBeLessThan(30_000 / 9_000 + 3);
    const event = decodeEvent(listing(30_000));
    expect(event.body.kind === 'request_held' && event.body.approvers.length).toBe(30_000);
  });

  it('carries a hello, events and an acknowledgement as protobufjs does', () => {
    const RequestProto = proto.lookupType('sluice.tap.v1.EmitRequest');
    const hello = { kind: 'hello', emitter: 'ab'.repeat(16), software: 'http-filter 1', firstSequence: 300 } as const;
    expect(decodeEmitRequest(RequestProto.encode(RequestProto.fromObject({ hello })).finish())).toEqual(hello);
    expect(RequestProto.toObject(RequestProto.decode(encodeEmitRequest(hello)), { longs: Number })).toEqual({
      hello: { emitter: hello.emitter, software: hello.software, firstSequence: 300 },
    });
    const events = [Buffer.from(good), Buffer.from('not looked at here'), Buffer.from(good)];
    const [one, ...more] = events.map((bytes) => encodeEmitRequest({ kind: 'events', events: [bytes] }));
    expect(decodeEmitRequest(one as Buffer)).toEqual({ kind: 'events', events: events.slice(0, 1) });
    // As a peer may write them: one behind the other.
    expect(decodeEmitRequest(Buffer.concat([one as Buffer, ...more]))).toEqual({ kind: 'events', events });
    for (const acknowledged of [0, 1, 127, 128, 2 ** 40]) expect(decodeEmitResponse(encodeEmitResponse(acknowledged))).toBe(acknowledged);
    for (const bad of [
      Buffer.alloc(0),
      Buffer.from([0x0a, 0]),
      Buffer.concat([encodeEmitRequest(hello), encodeEmitRequest(hello)]),
      Buffer.concat([one as Buffer, encodeEmitRequest(hello)]),
    ])
      expect(() => decodeEmitRequest(bad)).toThrow(WireError);
  });

  it('says an event as JSON', () => {
    const json = eventToJson(
      sample({
        kind: 'payload_chunk',
        direction: 'response',
        offset: 3,
        data: Buffer.from('abc'),
        last: true,
        truncated: false,
        contentType: '',
        contentEncoding: '',
        reason: '',
      }),
    );
    expect(JSON.parse(JSON.stringify(json))).toMatchObject({
      time: '2023-11-14T22:13:20.123456789Z',
      kind: 'payload_chunk',
      session: 'ses_1',
      body: { direction: 'response', offset: 3, data: 'YWJj', last: true },
    });
    expect(timeText((1n << 64n) - 1n)).toMatch(/^2554-/);
  });
});
