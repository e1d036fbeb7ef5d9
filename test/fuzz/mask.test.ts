/** The masking core against models of its own, and against noise. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadMask, MaskError, type MaskRule } from '../../authz-service/mask/mask.ts';
import { chunked, ruleOf, tokenOf, vectors } from '../wasm/mask.vectors.ts';
import { runs } from './runs.ts';

const mask = await loadMask();

type Json = null | boolean | number | string | Json[] | Members;
/** An object as its members in order: keys may come twice. */
class Members {
  readonly list: readonly (readonly [string, Json])[];
  constructor(list: readonly (readonly [string, Json])[]) {
    this.list = list;
  }
}

const NAMES = ['a', 'b', 'ssn', 'card', 'é"\\', ''] as const;

const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(
      fc.constantFrom<Json>(null, true, false),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n)),
      fc.string({ unit: 'binary', maxLength: 40 }),
    ),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.array(fc.tuple(fc.constantFrom(...NAMES), tie('value')), { maxLength: 5 }).map((list) => new Members(list)),
  ),
})).value;

/** Writes a document with the white space and the escapes that `dice` (numbers from 0 to 1) tells. */
function written(value: Json, dice: () => number): string {
  const space = (): string => ['', '', '', ' ', '\n', '\t\r\n'][Math.floor(dice() * 6)] ?? '';
  const text = (s: string): string => {
    const units = Array.from({ length: s.length }, (_, i) => s.charCodeAt(i));
    if (dice() < 0.7) return JSON.stringify(s);
    return `"${units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')}"`;
  };
  const of = (v: Json): string => {
    if (typeof v === 'string') return text(v);
    if (Array.isArray(v)) return `[${space()}${v.map((e) => of(e) + space()).join(`,${space()}`)}]`;
    if (v instanceof Members)
      return `{${space()}${v.list.map(([k, e]) => `${text(k)}${space()}:${space()}${of(e)}${space()}`).join(`,${space()}`)}}`;
    return JSON.stringify(v);
  };
  return space() + of(value) + space();
}

/** Reads a document, with members in order. */
function parsed(text: string): Json {
  let at = 0;
  const space = (): void => {
    while (/\s/.test(text[at] ?? '')) at++;
  };
  const value = (): Json => {
    space();
    let result: Json;
    if (text[at] === '[' || text[at] === '{') {
      const isObject = text[at++] === '{';
      const list: [string, Json][] = [];
      for (space(); text[at] !== ']' && text[at] !== '}'; space()) {
        if (list.length > 0) {
          expect(text[at++]).toBe(',');
          space();
        }
        let key = '';
        if (isObject) {
          key = value() as string;
          expect(text[at++]).toBe(':');
        }
        list.push([key, value()]);
      }
      at++;
      result = isObject ? new Members(list) : list.map(([, element]) => element);
    } else {
      const [token = ''] = /^(?:"(?:[^"\\]|\\.)*"|[^,\]}\s:]+)/.exec(text.slice(at)) ?? [];
      at += token.length;
      result = JSON.parse(token) as Json;
    }
    space();
    return result;
  };
  const result = value();
  expect(at).toBe(text.length);
  return result;
}

interface Step {
  readonly deep: boolean;
  readonly of: 'member' | 'anyMember' | 'element' | 'anyElement';
  readonly name: string;
  readonly index: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  deep: fc.boolean(),
  of: fc.constantFrom('member', 'member', 'anyMember', 'element', 'anyElement'),
  name: fc.constantFrom(...NAMES),
  index: fc.nat(3),
});

const pathOf = (steps: readonly Step[]): string =>
  steps.reduce((path, { deep, of, name, index }) => {
    const dot = path === '' ? '' : '.';
    const before = deep ? `${path}${dot}**` : path;
    if (of === 'element') return `${before}[${index}]`;
    if (of === 'anyElement') return `${before}[*]`;
    if (of === 'member' && !/^[a-z]+$/.test(name)) return `${before}[${JSON.stringify(name)}]`;
    return `${before}${before === '' ? '' : '.'}${of === 'member' ? name : '*'}`;
  }, '');

/** Whether the steps lead along the way, tried in every manner. */
function leads(steps: readonly Step[], way: readonly (string | number)[]): boolean {
  const [first, ...rest] = steps;
  const [head, ...tail] = way;
  if (!first) return head === undefined;
  if (head === undefined) return false;
  const fits =
    typeof head === 'number'
      ? first.of === 'anyElement' || (first.of === 'element' && first.index === head)
      : first.of === 'anyMember' || (first.of === 'member' && first.name === head);
  return (fits && leads(rest, tail)) || (first.deep && leads(steps, tail));
}

const DROPPED = Symbol('dropped');
const stars = (s: string): string => '*'.repeat([...s].length);

function scalar(value: Json, rule: MaskRule): Json {
  const text = typeof value === 'number' ? JSON.stringify(value) : value;
  if (rule.method === 'hash' && typeof text === 'string') return tokenOf(text);
  if (typeof value !== 'string') return null;
  const characters = [...value];
  if (rule.method === 'full' || characters.length <= rule.keepFirst + rule.keepLast) return stars(value);
  const from = characters.length - rule.keepLast;
  return characters.slice(0, rule.keepFirst).join('') + '*'.repeat(from - rule.keepFirst) + characters.slice(from).join('');
}

/** The model: what the rules make of a value, by asking each rule of each way. */
function masked(
  value: Json,
  way: readonly (string | number)[],
  inherited: number,
  rules: readonly (MaskRule & { steps: readonly Step[] })[],
): Json | typeof DROPPED {
  const own = rules.findIndex(({ steps }) => leads(steps, way));
  const chosen = own < 0 || (inherited >= 0 && inherited < own) ? inherited : own;
  const rule = rules[chosen];
  if (rule?.method === 'drop') return DROPPED;
  if (rule?.method === 'null') return null;
  const kept = <T>(list: readonly T[], of: (item: T, i: number) => Json | typeof DROPPED): Json[] =>
    list.map(of).filter((v) => v !== DROPPED);
  if (Array.isArray(value)) return kept(value, (element, i) => masked(element, [...way, i], chosen, rules));
  if (value instanceof Members)
    return new Members(
      value.list
        .map(([k, v]) => [k, masked(v, [...way, k], chosen, rules)] as const)
        .filter((m): m is readonly [string, Json] => m[1] !== DROPPED),
    );
  return rule ? scalar(value, rule) : value;
}

/** A string that `tokenOf` can hash as the core does: no lone surrogates. */
const wellFormed = (value: Json): boolean => {
  if (typeof value === 'string') return value.isWellFormed();
  if (Array.isArray(value)) return value.every(wellFormed);
  return !(value instanceof Members) || value.list.every(([, v]) => wellFormed(v));
};

describe('rules by path', () => {
  test('do to every document what the model does, however it is written and cut', () => {
    const rule = fc.record({
      steps: fc.array(step, { minLength: 1, maxLength: 3 }),
      method: fc.constantFrom('full', 'partial', 'hash', 'null', 'drop'),
      keep_first: fc.nat(3),
      keep_last: fc.nat(3),
    });
    fc.assert(
      fc.property(
        json,
        fc.array(rule, { minLength: 1, maxLength: 4 }),
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        fc.integer({ min: 1, max: 40 }),
        (value, choices, dice, size) => {
          fc.pre(wellFormed(value));
          const rules = choices.map(({ steps, method, keep_first, keep_last }) => ({
            ...ruleOf({ path: pathOf(steps), method, ...(method === 'partial' && { keep_first, keep_last }) }),
            steps,
          }));
          const text = written(value, () => dice.next().value as number);
          const { bytes } = mask.body('application/json', chunked(Buffer.from(text), size), rules);
          expect(parsed(bytes.toString())).toEqual(masked(value, [], -1, rules));
        },
      ),
      { numRuns: runs(3000) },
    );
  });

  test('copy byte for byte what they do not select', () => {
    fc.assert(
      fc.property(
        json,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        fc.integer({ min: 1, max: 40 }),
        (value, dice, size) => {
          const text = Buffer.from(written(value, () => dice.next().value as number));
          const { bytes } = mask.body('application/json', chunked(text, size), [ruleOf({ path: 'nowhere.at.all', method: 'drop' })]);
          expect(bytes.equals(text)).toBe(true);
        },
      ),
      { numRuns: runs(1000) },
    );
  });
});

function luhnDigit(digits: string): string {
  const sum = [...digits]
    .reverse()
    .reduce((s, d, i) => s + (i % 2 === 0 ? ((Number(d) * 2) % 10) + Math.floor(Number(d) / 5) : Number(d)), 0);
  return String((10 - (sum % 10)) % 10);
}

const digitsOf = (n: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: n, maxLength: n });
const grouped = (digits: string, by: string): string => (digits.match(/.{1,4}/g) ?? []).join(by);
const card = fc
  .tuple(fc.constantFrom('4', '51', '55', '2221', '6011', '3528', '62'), digitsOf(15), fc.constantFrom('', ' ', '-'))
  .map(([prefix, rest, by]) => {
    const digits = (prefix + rest).slice(0, 15);
    return { detector: 'payment-card', text: grouped(digits + luhnDigit(digits), by) } as const;
  });
const ssn = fc
  .tuple(fc.integer({ min: 1, max: 899 }), fc.integer({ min: 1, max: 99 }), fc.integer({ min: 1, max: 9999 }), fc.constantFrom('-', ' '))
  .filter(([area]) => area !== 666)
  .map(
    ([a, g, s, by]) =>
      ({
        detector: 'us-ssn',
        text: [String(a).padStart(3, '0'), String(g).padStart(2, '0'), String(s).padStart(4, '0')].join(by),
      }) as const,
  );
const germanIban = fc.tuple(digitsOf(18), fc.constantFrom('', ' ')).map(([bban, by]) => {
  const check = 98n - (BigInt(`${bban}131400`) % 97n);
  return { detector: 'iban', text: grouped(`DE${String(check).padStart(2, '0')}${bban}`, by) } as const;
});
const email = fc
  .tuple(
    fc.stringMatching(/^[a-z][a-z0-9._+-]{0,20}[a-z]$/),
    fc.stringMatching(/^[a-z]{1,12}$/),
    fc.constantFrom('com', 'example.org', 'co.uk'),
  )
  .map(([local, host, top]) => ({ detector: 'email', text: `${local}@${host}.${top}` }) as const);
const phone = fc
  .tuple(fc.constantFrom('+1 212 555 ', '(212) 555-', '212-555-', '+4420718'), digitsOf(4))
  .map(([p, n]) => ({ detector: 'phone', text: p + n }) as const);
const secret = fc.oneof(card, ssn, germanIban, email, phone);

const ALL = (['payment-card', 'iban', 'us-ssn', 'email', 'phone'] as const).map((detector) => ruleOf({ detector }));

/** Words that are part of no match, and end none. */
const filler = fc.oneof(
  fc.stringMatching(/^[a-z]{1,8}$/).map((w) => ` ${w} `),
  fc.constantFrom(', ', '; ', ' é ', ' 漢字 ', ' 😀 ', ': ', ' "q" ', ' \\ ', '\n', ' 12 x ', ' 3.14 x ', ' <b> '),
);

describe('detectors', () => {
  test('let no planted secret out, and nothing else in', () => {
    const piece = fc.tuple(fc.array(filler, { minLength: 1, maxLength: 6 }), secret);
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), fc.integer({ min: 1, max: 60 }), (pieces, size) => {
        const text = pieces.map(([words, { text }]) => `${words.join('')}; ${text}; `).join('');
        const expected = pieces.map(([words, { text }]) => `${words.join('')}; ${stars(text)}; `).join('');
        const body = (type: string, content: string): string => mask.body(type, chunked(Buffer.from(content), size), ALL).bytes.toString();
        expect(body('text/plain', text)).toBe(expected);
        expect(JSON.parse(body('application/json', JSON.stringify({ text })))).toEqual({ text: expected });
        expect(mask.text(text, ALL)).toBe(expected);
      }),
      { numRuns: runs(1500) },
    );
  });

  test('find in a text that streams what they find in one piece', () => {
    const noise = fc.string({ unit: fc.constantFrom(...'0123456789444555  --..@@++()abDE89é４\n'), maxLength: 600 });
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            noise,
            secret.map(({ text }) => text),
          ),
          { maxLength: 6 },
        ),
        fc.integer({ min: 1, max: 80 }),
        (parts, size) => {
          const bytes = Buffer.from(parts.join(''));
          const rules = [ruleOf({ pattern: '4\\d{2,6}\\b' }), ...ALL];
          const whole = mask.body('text/plain', [bytes], rules, 65_536).bytes.toString();
          expect(mask.body('text/plain', chunked(bytes, size), rules, 65_536).bytes.toString()).toBe(whole);
        },
      ),
      { numRuns: runs(1500) },
    );
  });

  test('find in a long string what they find in a short one', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.array(filler, { minLength: 1, maxLength: 6 }), secret), { minLength: 40, maxLength: 60 }),
        fc.integer({ min: 1, max: 500 }),
        (pieces, size) => {
          const text = pieces.map(([words, { text }]) => `${words.join('')}; ${text}; `).join('');
          const document = Buffer.from(JSON.stringify([text]));
          const [short] = JSON.parse(mask.body('application/json', [document], ALL, 1 << 20).bytes.toString()) as string[];
          const [long] = JSON.parse(mask.body('application/json', chunked(document, size), ALL, 1300).bytes.toString()) as string[];
          expect(long).toBe(short);
        },
      ),
      { numRuns: runs(150) },
    );
  });
});

/** The spans of the leftmost, longest matches, by the engine of JavaScript: every end is tried, the last first. */
function spansOf(pattern: string, text: string): string {
  let out = '';
  for (let at = 0; at < text.length; ) {
    let end = -1;
    for (let e = text.length; e > at && end < 0; e--) {
      const exact = new RegExp(`(?:${pattern})(?=[\\s\\S]{${text.length - e}}(?![\\s\\S]))`, 'my');
      exact.lastIndex = at;
      if (exact.test(text)) end = e;
    }
    if (end < 0) out += text[at++];
    else {
      out += '*'.repeat(end - at);
      at = end;
    }
  }
  return out;
}

describe('custom patterns', () => {
  const pattern = fc.letrec<{ re: string }>((tie) => ({
    re: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('a', 'b', '.', '\\d', '\\w', '[ab]', '[^a]', '1', '\\b', '^', '$', '\\s', '\\.', '[a-c1-3]'),
      fc.tuple(tie('re'), tie('re')).map(([a, b]) => a + b),
      fc.tuple(tie('re'), tie('re')).map(([a, b]) => `(?:${a}|${b})`),
      fc.tuple(tie('re'), fc.constantFrom('?', '*', '+', '{2}', '{1,3}', '{2,}')).map(([a, q]) => `(?:${a})${q}`),
    ),
  })).re;

  test('match what a backtracking engine matches, at the leftmost place and as long as can be', () => {
    fc.assert(
      fc.property(pattern, fc.string({ unit: fc.constantFrom(...'aab1 .\nc2'), maxLength: 14 }), (re, text) => {
        fc.pre(mask.checkPattern(re) === null);
        // `[^a]`, `.` and `\s` cross no line end here.
        const js = re.replaceAll('[^a]', '[^a\\n]').replaceAll('\\s', '[ \\t]');
        expect(mask.text(text, [ruleOf({ pattern: re })])).toBe(spansOf(js, text));
      }),
      { numRuns: runs(3000) },
    );
  });

  test('any text is a pattern or is not, and neither hangs nor traps', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'ab()[]{}|*+?.^$\\d-,13:é'), maxLength: 24 }), (re) => {
        if (mask.checkPattern(re) === null) mask.text('aab(13)d é-b', [ruleOf({ pattern: re })]);
      }),
      { numRuns: runs(5000) },
    );
  });

  test('cost what the text costs, not what a backtracking engine would', () => {
    const rules = [ruleOf({ pattern: '(?:a|a)*(?:a|aa)+b' })];
    const started = performance.now();
    expect(mask.text('a'.repeat(2000), rules)).toBe('a'.repeat(2000));
    // One that goes back would take longer than there has been time.
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  test('are given up when the text makes them too costly, and say so', () => {
    const rules = [ruleOf({ pattern: 'a.*b|a' })];
    expect(() => mask.text('a'.repeat(30_000), rules)).toThrow(expect.objectContaining({ code: 'pattern_too_costly' }));
  });
});

describe('noise', () => {
  /** Deterministic, so that a failure can be run again. */
  function random(seed: number): () => number {
    let state = seed;
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
  }

  const SYNTAX = ['"', '{', '}', '[', ']', ',', ':', '\\', '\n', '&', '=', ' ', '\0', '\\u', 'data:', '\r', '\ufeff'];

  function mutated(bytes: Buffer, dice: () => number): Buffer {
    const copy = Buffer.from(bytes);
    const at = Math.floor(dice() * copy.length);
    switch (Math.floor(dice() * 5)) {
      case 0:
        copy[at] = Math.floor(dice() * 256);
        return copy;
      case 1:
        copy[at] = (copy[at] ?? 0) ^ (1 << Math.floor(dice() * 8));
        return copy;
      case 2:
        return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + Math.floor(dice() * 8))]);
      case 3:
        return Buffer.concat([copy.subarray(0, at), Buffer.from(SYNTAX[Math.floor(dice() * SYNTAX.length)] ?? ''), copy.subarray(at)]);
      default:
        return Buffer.concat([copy.subarray(0, at), copy.subarray(Math.floor(dice() * copy.length))]);
    }
  }

  test('mutations of every format: a status, the same in one piece and in many, never a trap', () => {
    const all = vectors().filter(({ input }) => input.length > 0);
    const dice = random(20_261_123);
    for (let i = 0; i < runs(10_000); i++) {
      const vector = all[i % all.length];
      if (!vector) continue;
      let input = vector.input;
      for (let n = 1 + Math.floor(dice() * 3); n > 0 && input.length > 0; n--) input = mutated(input, dice);
      const outcome = (size: number): string => {
        try {
          return mask.body(vector.contentType, chunked(input, size), vector.rules, vector.maxTokenBytes).bytes.toString('latin1');
        } catch (error) {
          if (error instanceof MaskError) return 'refused';
          throw new Error(`${vector.name}: ${input.toString('latin1')}`, { cause: error });
        }
      };
      expect(outcome(1 + Math.floor(dice() * 9)), `${vector.name}: ${JSON.stringify(input.toString('latin1'))}`).toBe(outcome(1 << 20));
    }
  });

  test('a secret selected by its path stays in, whatever is done to the document around it', () => {
    const digits = '7531902468';
    const document = Buffer.from(`{"id":1,"ssn":"${digits}","list":[{"ssn":"${digits}"},{"\\u0073sn":${digits}}],"é":"\\u00e9"}`);
    const dice = random(7);
    for (let i = 0; i < runs(10_000); i++) {
      const input = mutated(document, dice);
      let output: string;
      try {
        output = mask.body('application/json', chunked(input, 1 + (i % 50)), [ruleOf({ path: '**.ssn' })]).bytes.toString();
      } catch (error) {
        if (error instanceof MaskError) continue;
        throw error;
      }
      // What came out is JSON, and each of its strings named ssn is masked, by another parser's reading.
      const read = output.replace(/^\ufeff/, '');
      if (read.trim() === '') continue;
      JSON.parse(read, (key, value: unknown) => {
        if (key === 'ssn' && typeof value === 'string') expect(value).toMatch(/^\**$/);
        if (key === 'ssn') expect(typeof value).not.toBe('number');
        return value;
      });
    }
  });

  test('escapes hide nothing, and text is the same in one piece and in many', () => {
    const secrets = ['536-22-8134', 'ada@example.com', '4111111111111111'];
    const rules = ['us-ssn', 'email', 'payment-card'].map((detector) => ruleOf({ detector: detector as 'email' }));
    const hex = (c: string): string => c.charCodeAt(0).toString(16).padStart(2, '0');
    const WAYS: ((c: string) => string)[] = [
      (c) => c,
      (c) => c,
      (c) => `%${hex(c)}`,
      (c) => `%25${hex(c)}`,
      (c) => `%2525${hex(c).toUpperCase()}`,
      (c) => `\\u00${hex(c)}`,
      (c) => `\\\\u00${hex(c)}`,
      (c) => `&#${c.charCodeAt(0)};`,
      (c) => `&#x0${hex(c)};`,
      (c) => `&amp;#${c.charCodeAt(0)};`,
    ];
    const read = (text: string): string => {
      for (let layer = 0; layer < 3; layer++)
        for (const written of [/%([0-9a-f]{2})/gi, /\\+u([0-9a-f]{4})/gi, /&(?:amp;)*#x0*([0-9a-f]{2});/gi])
          text = text.replaceAll(written, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
      return text.replaceAll(/&(?:amp;)*#(\d{2,3});/g, (_, digits: string) => String.fromCharCode(Number(digits)));
    };
    const dice = random(11);
    const noise = [
      '%',
      '%2',
      '%25',
      '%C3%A9',
      '%E2%80%8B',
      '%zz',
      ' ',
      ' x',
      '\n',
      '&',
      ' é',
      '%20',
      '%0a',
      '\\u',
      '\\',
      '&#',
      '&amp;',
      '&nbsp;',
      '\\u200b',
      '&#8203;',
    ];
    for (let i = 0; i < runs(10_000); i++) {
      const parts = Array.from({ length: 1 + Math.floor(dice() * 6) }, () => {
        if (dice() < 0.6) return noise[Math.floor(dice() * noise.length)] ?? '';
        const secret = secrets[Math.floor(dice() * secrets.length)] ?? '';
        return ` ${[...secret].map((c) => WAYS[Math.floor(dice() * WAYS.length)]?.(c)).join('')} `;
      });
      const text = parts.join('');
      // Mostly one rule: the reach of the others would hide that too little is held back.
      const [n, all] = [Math.floor(dice() * rules.length), dice() < 0.2];
      const chosen = rules.filter((_, i) => all || i === n);
      const one = mask.body('text/plain', [Buffer.from(text)], chosen).bytes.toString();
      expect(mask.body('text/plain', chunked(Buffer.from(text), 1 + Math.floor(dice() * 9)), chosen).bytes.toString(), text).toBe(one);
      expect(
        secrets.filter((secret, i) => (all || i === n) && read(one).includes(secret)),
        text,
      ).toEqual([]);
    }
  });

  test('random bytes are no plan, or one that does not trap', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ path: fc.string({ maxLength: 12, unit: fc.constantFrom(...'ab.*[]"\\01u{') }) }), { maxLength: 4 }),
        (paths) => {
          try {
            mask.json('{"a":[{"b":1}]}', paths.map(ruleOf));
          } catch (error) {
            expect(error).toBeInstanceOf(MaskError);
          }
        },
      ),
      { numRuns: runs(3000) },
    );
  });
});
