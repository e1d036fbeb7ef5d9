import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDecision, parseResultSet } from './document.ts';
import { inputOf, request } from './policy.fixture.ts';
import { SAMPLE } from './sample.ts';

const schema = (name: string) =>
  new Ajv({ strict: false, allErrors: true }).compile(
    JSON.parse(readFileSync(new URL(`../../policies/schemas/${name}.json`, import.meta.url), 'utf8')),
  );
const isDecision = schema('decision');
const isInput = schema('input');

const base = { rule: 'r', reason: 'because' };
const hold = { approvers: ['group:dba'], quorum: 1, ttl: '15m' };
const decisionOf = (document: unknown) => {
  const parsed = parseDecision(document);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.decision;
};
const obligationsOf = (...obligations: unknown[]) => {
  const decision = decisionOf({ ...base, effect: 'allow', obligations });
  return decision.effect === 'deny' ? [] : decision.obligations;
};

describe('a decision', () => {
  test('deny', () => expect(decisionOf({ ...base, effect: 'deny' })).toEqual({ ...base, effect: 'deny', matched: [], dependsOn: [] }));

  test('allow, with defaults', () =>
    expect(decisionOf({ ...base, effect: 'allow' })).toEqual({
      ...base,
      effect: 'allow',
      matched: [],
      dependsOn: [],
      obligations: [],
      credential: '',
    }));

  test('hold', () => {
    const matched = [{ rule: 'r', effect: 'hold', reason: 'because' }];
    expect(decisionOf({ ...base, effect: 'hold', hold, credential: 'ro', matched, depends_on: ['identity'] })).toEqual({
      ...base,
      effect: 'hold',
      hold: { approvers: ['group:dba'], quorum: 1, ttlMs: 900_000 },
      credential: 'ro',
      matched,
      dependsOn: ['identity'],
      obligations: [],
    });
  });

  test.each([
    ['1s', 1_000],
    ['90s', 90_000],
    ['15m', 900_000],
    ['4h', 14_400_000],
    ['7d', 604_800_000],
  ])('a ttl of %s', (ttl, ms) =>
    expect(decisionOf({ ...base, effect: 'hold', hold: { ...hold, ttl } })).toMatchObject({ hold: { ttlMs: ms } }),
  );
});

describe('no decision', () => {
  const allow = { ...base, effect: 'allow' };
  const mask = { type: 'mask', field: 'a', method: 'full' };
  test.each<[string, unknown]>([
    ['null', null],
    ['a list', [allow]],
    ['true', true],
    ['nothing', undefined],
    ['no effect', base],
    ['another effect', { ...base, effect: 'ALLOW' }],
    ['no rule', { effect: 'allow', reason: '' }],
    ['an empty rule', { ...allow, rule: '' }],
    ['a reason that is no text', { ...allow, reason: 1 }],
    ['an unknown member', { ...allow, obligation: [] }],
    ['__proto__', JSON.parse('{"effect":"allow","rule":"r","reason":"","__proto__":{}}')],
    ['a hold without terms', { ...base, effect: 'hold' }],
    ['terms without a hold', { ...allow, hold }],
    ['a deny with obligations', { ...base, effect: 'deny', obligations: [] }],
    ['a deny with a credential', { ...base, effect: 'deny', credential: '' }],
    ['no approvers', { ...base, effect: 'hold', hold: { ...hold, approvers: [] } }],
    ['an approver without kind', { ...base, effect: 'hold', hold: { ...hold, approvers: ['dba'] } }],
    ['an empty approver', { ...base, effect: 'hold', hold: { ...hold, approvers: ['group:'] } }],
    ['no quorum', { ...base, effect: 'hold', hold: { approvers: ['group:a'], ttl: '1m' } }],
    ['a quorum of none', { ...base, effect: 'hold', hold: { ...hold, quorum: 0 } }],
    ['half a quorum', { ...base, effect: 'hold', hold: { ...hold, quorum: 1.5 } }],
    ['a ttl of nothing', { ...base, effect: 'hold', hold: { ...hold, ttl: '0s' } }],
    ['a ttl without unit', { ...base, effect: 'hold', hold: { ...hold, ttl: '15' } }],
    ['a ttl that is a number', { ...base, effect: 'hold', hold: { ...hold, ttl: 900 } }],
    ['a longer ttl', { ...base, effect: 'hold', hold: { ...hold, ttl: '8d' } }],
    ['an unknown obligation', { ...allow, obligations: [{ type: 'limit', rows: 1 }] }],
    ['an obligation of no type', { ...allow, obligations: [{ field: 'a', method: 'full' }] }],
    ['an unknown method', { ...allow, obligations: [{ ...mask, method: 'redact' }] }],
    ['an empty field', { ...allow, obligations: [{ ...mask, field: '' }] }],
    ['less than nothing kept', { ...allow, obligations: [{ ...mask, keep_first: -1 }] }],
    ['a member of another obligation', { ...allow, obligations: [{ ...mask, detector: 'iban' }] }],
    ['an unknown detector', { ...allow, obligations: [{ type: 'detect', detector: 'dna', method: 'full' }] }],
    ['a payload in clear', { ...allow, obligations: [{ type: 'record', payload: 'clear' }] }],
    ['obligations that are no list', { ...allow, obligations: { a: mask } }],
    ['matched of another shape', { ...allow, matched: ['r'] }],
  ])('%s', (_, document) => {
    expect(parseDecision(document)).toMatchObject({ ok: false, code: 'malformed_decision' });
  });
});

describe('the order of obligations', () => {
  const mask = (field: string, method: string, more: object = {}) => ({ type: 'mask', field, method, ...more });

  test('fields before detectors, what shows least first', () => {
    const given = [
      { type: 'record', payload: 'masked' },
      { type: 'detect', detector: 'iban', method: 'drop' },
      mask('a', 'partial', { keep_last: 4 }),
      mask('b', 'partial'),
      mask('c', 'hash'),
      mask('d', 'drop'),
      mask('e', 'full'),
      mask('f', 'null'),
    ];
    const names = (of: readonly object[]) => of.map((o) => ('field' in o ? o.field : 'detector' in o ? o.detector : 'record'));
    expect(names(obligationsOf(...given))).toEqual(['d', 'f', 'e', 'c', 'b', 'a', 'iban', 'record']);
    fc.assert(
      fc.property(fc.shuffledSubarray(given, { minLength: given.length }), (shuffled) => {
        expect(obligationsOf(...shuffled)).toEqual(obligationsOf(...given));
      }),
    );
  });

  test('the same selector twice: the stricter one', () => {
    expect(obligationsOf(mask('a', 'partial', { keep_last: 4 }), mask('a', 'full'), mask('a', 'partial', { keep_last: 2 }))).toEqual([
      { type: 'mask', field: 'a', method: 'full', keepFirst: 0, keepLast: 0 },
    ]);
  });

  test('what is kept counts for partial only', () => {
    expect(obligationsOf(mask('a', 'hash', { keep_last: 4 }))).toMatchObject([{ keepFirst: 0, keepLast: 0 }]);
  });
});

describe('the result set', () => {
  test('empty is undefined', () => expect(parseResultSet('[]')).toMatchObject({ ok: false, code: 'policy_undefined' }));
  test.each(['', '{', 'null', '{}', '[1]', '[{}]', '[{"result":{}}]', '[{"result":true},{"result":true}]'])('%j is malformed', (text) =>
    expect(parseResultSet(text)).toMatchObject({ ok: false, code: 'malformed_decision' }),
  );
  test('one decision', () =>
    expect(parseResultSet(`[{"result":${JSON.stringify({ ...base, effect: 'deny' })}}]`)).toMatchObject({ ok: true }));
});

describe('the schemas', () => {
  const text = fc.constantFrom(
    '',
    'a',
    'group:a',
    'identity:b',
    'group:',
    '15m',
    '1s',
    '0s',
    '999999s',
    '7d',
    'full',
    'partial',
    'hash',
    'iban',
    'pattern:x',
    'pattern:',
    'mask',
    'masked',
  );
  const count = fc.constantFrom<unknown>(0, 1, 2, 100, 101, 1024, 1025, -1, 1.5, '1');
  /** Mostly right, so that one wrong thing decides. */
  const mostly = (right: unknown, ...wrong: fc.Arbitrary<unknown>[]) =>
    fc.oneof({ weight: 12, arbitrary: fc.constant(right) }, ...wrong.map((arbitrary) => ({ weight: 1, arbitrary })));
  const masking = { method: mostly('partial', text, fc.constant(null)), keep_first: count, keep_last: count };
  const stray = fc.oneof(
    { weight: 9, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: fc.constantFrom({ field: 'a' }, { detector: 'iban' }, { payload: 'masked' }) },
  );
  const obligation = fc
    .tuple(
      fc.oneof(
        fc.record({ type: mostly('mask', text), field: mostly('a.b', text), ...masking }, { requiredKeys: ['type', 'field', 'method'] }),
        fc.record({ type: mostly('detect', text), detector: mostly('iban', text), ...masking }, { requiredKeys: ['type', 'method'] }),
        fc.record({ type: mostly('record', text), payload: mostly('masked', text) }),
      ),
      stray,
    )
    .map(([shaped, more]) => ({ ...shaped, ...more }));
  const document = fc.record(
    {
      effect: mostly('allow', fc.constantFrom('deny', 'hold', 'hold', 'Allow')),
      rule: mostly('r', text),
      reason: mostly('', text, fc.constant(1)),
      credential: mostly('', text, fc.constant(null)),
      hold: fc.record(
        {
          approvers: mostly(['group:a'], fc.array(text)),
          quorum: mostly(1, count),
          ttl: mostly(
            '15m',
            text.filter((t) => t !== '999999s'),
          ),
        },
        { requiredKeys: ['approvers', 'quorum'] },
      ),
      obligations: mostly(
        [],
        fc.array(obligation, { minLength: 1, maxLength: 2 }),
        fc.array(obligation, { minLength: 1, maxLength: 2 }),
        fc.constant({}),
      ),
      matched: mostly([], fc.constantFrom<unknown>([{ rule: 'r', effect: 'allow', reason: '' }], [{ rule: 'r' }], null)),
      depends_on: mostly(['identity'], fc.constantFrom<unknown>([1], null, [])),
    },
    { requiredKeys: ['effect', 'rule', 'reason'] },
  );

  test('the parser takes what the schema takes, and nothing else', () => {
    let taken = 0;
    fc.assert(
      fc.property(document, (value) => {
        expect(parseDecision(value).ok, JSON.stringify([value, isDecision.errors])).toBe(isDecision(value));
        if (isDecision(value)) taken++;
      }),
      { numRuns: 5_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  test('obligations alike', () => {
    let taken = 0;
    fc.assert(
      fc.property(obligation, (value) => {
        const document = { ...base, effect: 'allow', obligations: [value] };
        expect(parseDecision(document).ok, JSON.stringify(value)).toBe(isDecision(document));
        if (isDecision(document)) taken++;
      }),
      { numRuns: 3_000 },
    );
    expect(taken).toBeGreaterThan(300);
  });

  test('the typed request is what the schema of the input describes', () => {
    const whole = request({ method: 'POST', path: '/customers/7', groups: ['a'] });
    const body = { size: 2, sha256: 'e'.repeat(64) };
    for (const request of [
      whole.request,
      { ...whole.request, body: { ...body, json: { a: [1, null] } } },
      { ...whole.request, body: { ...body, form: { a: ['b'] } } },
    ]) {
      const input = { ...whole, request };
      expect(isInput(input), JSON.stringify(isInput.errors)).toBe(true);
    }
    for (const text of [SAMPLE, inputOf('/')]) expect(isInput(JSON.parse(text))).toBe(true);
  });

  test('and each of its members is required', () => {
    const required = (value: object, where: (changed: unknown) => unknown): void => {
      for (const name of Object.keys(value)) {
        const { [name]: _, ...rest } = value as Record<string, unknown>;
        expect(isInput(where(rest)), `without ${name}`).toBe(false);
        expect(isInput(where({ ...value, [`${name}_`]: 1 })), `with ${name}_`).toBe(false);
      }
    };
    const whole = request();
    required(whole, (changed) => changed);
    for (const part of ['time', 'identity', 'run', 'session', 'request'] as const)
      required(whole[part], (changed) => ({ ...whole, [part]: changed }));
  });
});
