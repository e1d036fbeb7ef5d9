import { createHmac } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import type { Obligation } from '../decision/decision.ts';
import { encodePlan } from './encode.ts';
import { ObligationError, planner } from './plan.ts';
import type { MaskRule } from './rule.ts';

const Plan = protobuf
  .loadSync(fileURLToPath(new URL('../../proto/sluice/filter/v1/plan.proto', import.meta.url)))
  .lookupType('sluice.filter.v1.Plan');
const read = (bytes: Uint8Array): unknown => Plan.toObject(Plan.decode(bytes), { enums: String, bytes: Buffer, defaults: true });

const SECRET = 'thirty-two characters or a few more';
const LIMITS = { maxRequestBytes: 1000, maxResponseBytes: 2000 };
const whole = { method: 'full', keepFirst: 0, keepLast: 0 } as const;
const plan = planner({ key: { env: 'KEY' }, patterns: { employee: 'EMP-\\d+' }, maxTokenBytes: 65_536 }, () => LIMITS, {
  env: { KEY: SECRET },
  now: Date.now,
});

test('a plan is what the protocol says it is, byte for byte', () => {
  const rule = fc.record({
    id: fc.string({ unit: 'binary' }).filter((id) => id.isWellFormed()),
    select: fc.oneof(
      fc.record({ path: fc.string({ maxLength: 200 }) }),
      fc.record({ detector: fc.constant('iban' as const) }),
      fc.record({ pattern: fc.string() }),
    ),
    method: fc.constantFrom('full', 'partial', 'hash', 'null', 'drop'),
    keepFirst: fc.nat(5000),
    keepLast: fc.nat(100),
    key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  });
  fc.assert(
    fc.property(fc.array(rule), fc.nat(), (rules, maxTokenBytes) => {
      const expected = rules.map(({ id, select, method, keepFirst, keepLast, key }) => ({
        id,
        ...select,
        method: method.toUpperCase(),
        keepFirst,
        keepLast,
        key: Buffer.from(key),
      }));
      expect(read(encodePlan(rules as MaskRule[], maxTokenBytes))).toEqual({ rules: expected, maxTokenBytes, record: null });
    }),
  );
});

describe('obligations', () => {
  test('become rules in their order', () => {
    const obligations: Obligation[] = [
      { type: 'mask', field: '**.ssn', method: 'partial', keepFirst: 0, keepLast: 4 },
      { type: 'detect', detector: 'payment-card', ...whole },
      { type: 'detect', detector: 'pattern:employee', ...whole, method: 'hash' },
    ];
    const key = createHmac('sha256', SECRET).update('sluice mask v1\0orders').digest();
    const none = { keepFirst: 0, keepLast: 0, key: Buffer.alloc(0) };
    expect(read(Buffer.from(plan('orders', obligations), 'base64'))).toEqual({
      maxTokenBytes: 65_536,
      record: null,
      rules: [
        { ...none, id: '**.ssn', path: '**.ssn', method: 'PARTIAL', keepLast: 4 },
        { ...none, id: 'payment-card', detector: 'payment-card', method: 'FULL' },
        { ...none, id: 'pattern:employee', pattern: 'EMP-\\d+', method: 'HASH', key },
      ],
    });
  });

  test('that mask nothing need no plan', () => {
    expect(plan('orders', [])).toBe('');
  });

  test('to record come with the limits of the target, and with what masks a request for it', () => {
    const limits = { orders: { maxRequestBytes: 10, maxResponseBytes: 20 }, people: { maxRequestBytes: 0, maxResponseBytes: 5 } };
    const recording = planner({ patterns: {}, maxTokenBytes: 65_536 }, (target) => limits[target as keyof typeof limits]);
    const read = (target: string, of: readonly Obligation[]) =>
      Plan.toObject(Plan.decode(Buffer.from(recording(target, of), 'base64'))) as {
        rules?: object[];
        record: { maxRequest?: number; maxResponse: number; requestRules?: object[]; ownRules: { path?: string; detector?: string }[] };
      };
    const alone: Obligation[] = [{ type: 'record', payload: 'masked' }];
    const { rules, record } = read('orders', alone);
    expect([rules, record.maxRequest, record.maxResponse, record.requestRules]).toEqual([undefined, 10, 20, undefined]);
    expect(record.ownRules.map(({ path, detector }) => path ?? detector)).toEqual(expect.arrayContaining(['**.password', 'payment-card']));
    const masked = read('people', [...alone, { type: 'mask', field: 'a', ...whole }]);
    expect(masked.record).toMatchObject({ maxResponse: 5, requestRules: masked.rules });
    // A changed limit is another plan of the same obligations.
    limits.orders = { maxRequestBytes: 11, maxResponseBytes: 20 };
    expect(read('orders', alone).record.maxRequest).toBe(11);
  });

  test("of two targets never share a key, and the configuration's secret is in no plan", () => {
    const hash: Obligation[] = [{ type: 'mask', field: 'a', ...whole, method: 'hash' }];
    const [orders, people] = [plan('orders', hash), plan('people', hash)];
    expect(orders).not.toBe(people);
    expect(Buffer.from(orders, 'base64').includes(SECRET)).toBe(false);
  });

  test.each([
    ['no_key', { type: 'mask', field: 'a', ...whole, method: 'hash' }, /masking\.key/],
    ['no_pattern', { type: 'detect', detector: 'pattern:other', ...whole }, /other/],
    ['no_pattern', { type: 'detect', detector: 'pattern:constructor', ...whole }, /constructor/],
    ['no_detector', { type: 'detect', detector: 'passport', ...whole }, /passport/],
  ] as const)('that cannot be carried out are an error, %s', (code, obligation, message) => {
    const bare = planner({ patterns: {}, maxTokenBytes: 65_536 }, () => LIMITS);
    const attempt = (): string => bare('orders', [obligation]);
    expect(attempt).toThrow(ObligationError);
    expect(attempt).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  test('need a key that can be read', () => {
    const unset = planner({ key: { env: 'UNSET' }, patterns: {}, maxTokenBytes: 0 }, () => LIMITS, { env: {}, now: Date.now });
    expect(() => unset('orders', [{ type: 'mask', field: 'a', ...whole, method: 'hash' }])).toThrow(/UNSET is not set/);
  });
});
