import { describe, expect, test } from 'vitest';
import { CLASSES, classOf, PAYLOAD_CLASSES, type PayloadClass, payloadKind } from '../log/leaf.ts';
import { aboutToJson, decodeEvent, encodeEvent } from './event.ts';
import { isLeafKindOf, kindOf, leafKindOf, payloadOf } from './leaf_kind.ts';
import { BODIES, type Direction, type Kind, type TapEvent } from './schema.ts';
import { subjectOf } from './store.ts';

const chunk = (direction: Direction, command?: number): TapEvent => ({
  emitter: 'ab'.repeat(16),
  sequence: 1,
  timeUnixNanos: 1n,
  session: 'ses_1',
  target: 'demo',
  truncated: [],
  ...(command !== undefined && { command }),
  body: {
    kind: 'payload_chunk',
    direction,
    offset: 0,
    data: Buffer.from('x'),
    last: true,
    truncated: false,
    contentType: '',
    contentEncoding: '',
    reason: '',
  },
});

describe('the kind in a leaf', () => {
  test.each<[Direction, number | undefined, number, PayloadClass]>([
    ['request', undefined, 117, 'request_bodies'],
    ['request', 0, 117, 'request_bodies'],
    ['response', undefined, 217, 'response_bodies'],
    ['response', 3, 317, 'rows'],
    ['request', 3, 417, 'copied_rows'],
  ])('of a payload chunk of a %s, of command %s, is %i: %s', (direction, command, number, payload) => {
    const event = decodeEvent(Buffer.from(encodeEvent(chunk(direction, command))));
    expect([leafKindOf(event), subjectOf(event, false).kind, payloadKind(payload)]).toEqual([number, number, number]);
    expect([kindOf(number), classOf(number), payloadOf(number)]).toEqual(['payload_chunk', payload, payload]);
    expect([number, 17, 317 + 417 - number, 11].map((each) => isLeafKindOf(each, event))).toEqual([true, true, false, false]);
    expect(aboutToJson(subjectOf(event, false))).toMatchObject({ kind: 'payload_chunk', payload, deleted: true });
  });

  test('of a version before told no payload from another', () => {
    expect([kindOf(17), classOf(17), payloadOf(17)]).toEqual(['payload_chunk', 'payloads', undefined]);
    expect(aboutToJson({ ...subjectOf(chunk('request'), false), kind: 17 })).not.toHaveProperty('payload');
  });

  test('of a later version is of nothing that is known, and a payload if it says so', () => {
    expect([kindOf(517), classOf(517), kindOf(111), classOf(111)]).toEqual([undefined, 'payloads', undefined, 'events']);
  });

  test('of any other event is the field of its body', () => {
    for (const [kind, { number }] of Object.entries(BODIES)) {
      expect(kindOf(number)).toBe(kind as Kind);
      if (kind !== 'payload_chunk')
        expect([leafKindOf({ body: { kind } } as unknown as TapEvent), classOf(number)]).toEqual([number, 'events']);
    }
    expect(CLASSES).toEqual(['events', ...PAYLOAD_CLASSES]);
  });
});
