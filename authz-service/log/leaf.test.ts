import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { decodeDetails, detailsPath, encodeDetails } from './details.ts';
import { LogError } from './error.ts';
import { classOf, commitmentOf, decodeLeaf, encodeLeaf, encodeLeafView, type Leaf } from './leaf.ts';

const codeOf = (run: () => unknown): string => {
  try {
    run();
    return 'none';
  } catch (error) {
    return error instanceof LogError ? error.code : `not coded: ${error}`;
  }
};

const leaf: Leaf = {
  version: 2,
  own: false,
  kind: 11,
  timeUnixNanos: 1_764_158_400_123_456_789n,
  emitter: '000102030405060708090a0b0c0d0eff',
  sequence: 300,
  session: 'ses_1m843sfg7v1mx83trnp6v',
  position: 2,
  previous: 70_000,
  target: 'orders-db',
  commitment: Buffer.alloc(32, 7),
};

const anyLeaf = fc
  .record({
    version: fc.constantFrom(1, 2),
    own: fc.boolean(),
    kind: fc.integer({ min: 10, max: 200 }),
    timeUnixNanos: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    emitter: fc.stringMatching(/^[0-9a-f]{32}$/),
    sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    session: fc.stringMatching(/^[\x21-\x7e]{0,128}$/),
    position: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    previous: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    target: fc.string({ unit: 'grapheme', maxLength: 20 }),
    commitment: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
  })
  .map(({ position, previous, ...rest }): Leaf => {
    const place = rest.session === '' ? 0 : position;
    return { ...rest, own: rest.own && rest.version === 2, position: place, previous: place > 1 ? previous : 0 };
  });

describe('a leaf', () => {
  it('has the bytes that the format says', () => {
    expect(encodeLeaf(leaf).toString('hex')).toBe(
      [
        '0802',
        '100b',
        '19154de1ceb78c7b18',
        '2210000102030405060708090a0b0c0d0eff',
        '28ac02',
        `3219${Buffer.from(leaf.session).toString('hex')}`,
        '3802',
        '40f0a204',
        `4a09${Buffer.from(leaf.target).toString('hex')}`,
        `5220${'07'.repeat(32)}`,
      ].join(''),
    );
  });

  it('is the message of the protocol', async () => {
    const root = await protobuf.load(fileURLToPath(new URL('../../proto/sluice/log/v1/log.proto', import.meta.url)));
    const type = root.lookupType('sluice.log.v1.Leaf');
    fc.assert(
      fc.property(anyLeaf, (any) => {
        const message = type.toObject(type.decode(encodeLeaf(any)), { longs: String, bytes: String, defaults: true });
        expect(message).toEqual({
          version: any.version,
          own: any.own,
          kind: any.kind,
          timeUnixNanos: String(any.timeUnixNanos),
          emitter: Buffer.from(any.emitter, 'hex').toString('base64'),
          sequence: String(any.sequence),
          session: any.session,
          position: String(any.position),
          previous: String(any.previous),
          target: any.target,
          commitment: any.commitment.toString('base64'),
        });
      }),
    );
  });

  it('is read as it was written, and in one form only', () => {
    fc.assert(
      fc.property(anyLeaf, fc.nat(), fc.integer({ min: 0, max: 255 }), (any, at, byte) => {
        const bytes = encodeLeaf(any);
        expect(decodeLeaf(bytes)).toEqual(any);
        const changed = Buffer.from(bytes);
        changed[at % bytes.length] = byte;
        if (!changed.equals(bytes) && codeOf(() => decodeLeaf(changed)) === 'none') expect(decodeLeaf(changed)).not.toEqual(any);
        expect(codeOf(() => decodeLeaf(bytes.subarray(0, at % bytes.length)))).toBe('malformed');
        expect(codeOf(() => decodeLeaf(Buffer.concat([bytes, Buffer.of(0x58, 1)])))).toBe('malformed');
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(['none', 'malformed']).toContain(codeOf(() => decodeLeaf(Buffer.from(bytes))));
      }),
    );
    const hex = encodeLeaf({ ...leaf, own: true }).toString('hex');
    expect(hex).toBe(encodeLeaf(leaf).toString('hex').replace('5220', '58015220'));
    for (const [what, bad] of Object.entries({
      'another version': hex.replace('0802', '0803'),
      'a mark that its version has not': hex.replace('0802', '0801'),
      'a mark of another value': hex.replace('5801', '5802'),
      'a mark that is none': hex.replace('5801', '5800'),
      'a mark behind the commitment': `${hex.replace('5801', '')}5801`,
      'a number that could be shorter': hex.replace('28ac02', '28ac8200'),
      'a field that has its default': hex.replace('28ac02', '28ac02').replace('4a09', '4a004a09'),
      'a field twice': hex.replace('100b', '100b100b'),
      'fields out of order': hex.replace('0802100b', '100b0802'),
      'a place without a session': hex.replace(`3219${Buffer.from(leaf.session).toString('hex')}`, ''),
      'one before the first': hex.replace('3802', '3801'),
    }))
      expect([what, codeOf(() => decodeLeaf(Buffer.from(bad, 'hex')))]).toEqual([what, 'malformed']);
  });

  it('commits to its event by a salt', () => {
    const [salt, event] = [Buffer.alloc(16, 9), Buffer.from('what happened')];
    const expected = createHash('sha256').update('sluice.log.v1 event\0').update(salt).update(event).digest();
    expect(commitmentOf(salt, event)).toEqual(expected);
    expect(decodeLeaf(Buffer.from(encodeLeafView(leaf, 2, 70_000, salt, event)))).toEqual({ ...leaf, commitment: expected });
    const large = Buffer.alloc(70_000, 1);
    expect(commitmentOf(salt, large)).toEqual(createHash('sha256').update('sluice.log.v1 event\0').update(salt).update(large).digest());
  });

  it('fits whatever its event is about', () => {
    const long = { ...leaf, session: 's'.repeat(128), target: '𝔱'.repeat(30_000) };
    const read = decodeLeaf(Buffer.from(encodeLeafView(long, 2 ** 52, 2 ** 52, Buffer.alloc(16), Buffer.alloc(0))));
    expect(read.target).toBe('𝔱'.repeat(64));
    expect(
      decodeLeaf(Buffer.from(encodeLeafView({ ...long, target: `x${long.target}` }, 2, 1, Buffer.alloc(16), Buffer.alloc(0)))).target
        .length,
    ).toBe(128);
  });
});

describe('details', () => {
  it('stand by class and bundle, as far as they are there', () => {
    expect(classOf(17)).toBe('payloads');
    expect(classOf(11)).toBe('events');
    expect(detailsPath('payloads', 1_234_067, 256)).toBe('details/payloads/x001/x234/067');
    expect(detailsPath('events', 0, 3)).toBe('details/events/000.p/3');
    const details = [256, 300, 511].map((index) => ({ index, salt: Buffer.alloc(16, index), event: Buffer.alloc(index, 1) }));
    const bytes = encodeDetails(details);
    expect(decodeDetails(bytes, 1)).toEqual(details);
    expect(decodeDetails(Buffer.alloc(0), 1)).toEqual([]);
    for (let length = 1; length < bytes.length; length += 1) {
      const whole = [21 + 256, 2 * 21 + 556].includes(length);
      expect([length, codeOf(() => decodeDetails(bytes.subarray(0, length), 1))]).toEqual([length, whole ? 'none' : 'malformed']);
    }
    expect(codeOf(() => decodeDetails(Buffer.concat([bytes, bytes]), 1))).toBe('malformed');
  });
});
