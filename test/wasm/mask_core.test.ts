/** What the vectors do not say: content types, plans, single texts, diagnostics, memory. */
import { describe, expect, test } from 'vitest';
import { encodePlan, loadMask, MaskError, type MaskRule } from '../../authz-service/mask/mask.ts';
import { KEY, ruleOf, tokenOf } from './mask.vectors.ts';

const mask = await loadMask();
const ssn = ruleOf({ path: 'ssn' });
const email = ruleOf({ detector: 'email' });

function accepts(contentType: string, rules: readonly MaskRule[]): boolean {
  try {
    mask.body(contentType, [], rules);
    return true;
  } catch {
    return false;
  }
}

describe('content types', () => {
  test.each([
    ['application/json', true, true],
    ['Application/JSON; Charset="utf-8"', true, true],
    ['application/vnd.api+json;profile="a;b"', true, true],
    ['application/json; charset=us-ascii', true, true],
    ['application/json; charset=iso-8859-1', false, false],
    ['application/json; charset=utf-16le', false, false],
    ['application/json; charset=utf-8; charset=utf-16', false, false],
    ['application/json; charset', false, false],
    ['application/json, text/plain', false, false],
    ['application', false, false],
    ['', false, false],
    ['application/x-ndjson', true, true],
    ['application/jsonl; charset=utf-8', true, true],
    ['text/event-stream', true, true],
    ['text/event-stream; charset=latin1', false, false],
    ['application/x-www-form-urlencoded', true, true],
    ['text/csv; header=present', true, true],
    ['text/csv; header=absent', false, true],
    ['text/csv; charset=windows-1252', true, true],
    ['text/tab-separated-values', true, true],
    ['text/plain', false, true],
    ['text/plain; charset=ISO-8859-1', false, true],
    ['text/plain; charset=utf-7', false, false],
    ['text/plain; charset=shift_jis', false, false],
    ['text/html', false, false],
    ['application/xml', false, false],
    ['multipart/form-data; boundary=x', false, false],
    ['application/grpc', false, false],
    ['application/octet-stream', false, false],
    ['image/png', false, false],
  ])('%s: by path %s, by content %s', (contentType, byPath, byContent) => {
    expect([accepts(contentType, [ssn]), accepts(contentType, [email])]).toEqual([byPath, byContent]);
  });

  test('of one byte to a character are not for patterns, which read UTF-8', () => {
    expect(accepts('text/plain; charset=iso-8859-1', [ruleOf({ pattern: 'x' })])).toBe(false);
  });

  test('that are flat take no nested path', () => {
    expect(['a.b', 'a[0]', '**.a.b', '[0].a', '[*]'].map((path) => accepts('text/csv', [ruleOf({ path })]))).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
    expect(['a', '*', '**.a', '[*].a', '["a.b"]'].map((path) => accepts('text/csv', [ruleOf({ path })]))).toEqual([
      true,
      true,
      true,
      true,
      true,
    ]);
  });
});

describe('plans', () => {
  const raw = async (bytes: Uint8Array): Promise<boolean> => {
    const { readFileSync } = await import('node:fs');
    const core = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(new URL('../../build/mask.wasm', import.meta.url))))
      .exports as {
      memory: { buffer: ArrayBuffer };
      inputFor(n: number): number;
      loadPlan(n: number): number;
    };
    const at = core.inputFor(bytes.length);
    new Uint8Array(core.memory.buffer).set(bytes, at);
    return core.loadPlan(bytes.length) !== 0;
  };
  const rule = { id: 'x', select: { path: 'a' }, method: 'full', keepFirst: 0, keepLast: 0 } as const;
  const field = (number: number, value: number): Buffer => Buffer.from([number << 3, value]);

  test('are read when they are whole', async () => {
    expect(await raw(encodePlan([rule, { ...rule, method: 'hash', key: KEY }], 1000))).toBe(true);
    expect(await raw(Buffer.alloc(0))).toBe(true);
  });

  test.each([
    ['an unknown field', Buffer.concat([encodePlan([rule]), field(3, 1)])],
    ['an unknown field of a rule', Buffer.from([0x0a, 9, 0x12, 1, 0x61, 0x28, 1, 0x48, 1, 0x48, 1])],
    ['a length past the end', encodePlan([rule]).subarray(0, -1)],
    ['a varint without end', Buffer.from([0x10, 0xff, 0xff])],
    ['a group', Buffer.from([0x0b, 0x0c])],
    ['a rule without a selector', Buffer.from([0x0a, 2, 0x28, 1])],
    ['a rule with two selectors', Buffer.from([0x0a, 8, 0x12, 1, 0x61, 0x22, 1, 0x61, 0x28, 1])],
    ['a rule without a method', Buffer.from([0x0a, 3, 0x12, 1, 0x61])],
    ['an unknown method', Buffer.from([0x0a, 5, 0x12, 1, 0x61, 0x28, 6])],
    ['a path that is none', encodePlan([{ ...rule, select: { path: 'a..b' } }])],
    ['an unknown detector', encodePlan([{ ...rule, select: { detector: 'passport' as 'iban' } }])],
    ['a pattern that is none', encodePlan([{ ...rule, select: { pattern: '(' } }])],
    ['a hash without a key', encodePlan([{ ...rule, method: 'hash' }])],
    ['a hash with a short key', encodePlan([{ ...rule, method: 'hash', key: KEY.subarray(1) }])],
    ['a key that nothing needs', encodePlan([{ ...rule, key: KEY }])],
    ['kept ends of a method that keeps none', encodePlan([{ ...rule, keepLast: 4 }])],
    ['a token bound past all reason', encodePlan([rule], 1 << 30)],
    ['an id that is not UTF-8', Buffer.from([0x0a, 8, 0x0a, 1, 0xff, 0x12, 1, 0x61, 0x28, 1])],
    ['too many rules', encodePlan(Array.from({ length: 257 }, () => rule))],
  ])('are refused: %s', async (_, bytes) => {
    expect(await raw(bytes)).toBe(false);
  });
});

describe('one text', () => {
  test('is masked by content alone', () => {
    expect(mask.text('ann@example.com wrote', [ssn, email])).toBe('*************** wrote');
    expect(mask.text('', [email])).toBe('');
  });

  test('may be a whole value', () => {
    expect(mask.text('123456789', [ruleOf({ detector: 'us-ssn', method: 'hash' })])).toBe(tokenOf('123456789'));
  });
});

describe('what is wrong', () => {
  test.each([
    ['a.b[*].c', null],
    ['', 'a path is not empty (at character 1)'],
    ['ß..b', 'expected a name, "*" or "**" (at character 3)'],
    ['a.', 'a path does not end in "." (at character 3)'],
    ['a b', 'expected "." or "[" (at character 2)'],
    ['a["b]', 'the quoted name has no end (at character 2)'],
    ['**', '"**" must be followed by what to look for (at character 3)'],
    ['**.**.a', '"**" twice in a row (at character 4)'],
  ])('with the path %j', (path, complaint) => {
    expect(mask.checkPath(path)).toBe(complaint);
  });

  test.each([
    ['EMP-\\d{4,6}', null],
    ['a??', 'lazy quantifiers are not known: the longest match counts (at character 3)'],
    ['(?=a)', 'of the "(?" forms only "(?:" is known, and "(?i)" at the start (at character 1)'],
    ['(a)\\1', 'no such escape (at character 4)'],
    ['a*', 'it matches the empty text (at character 1)'],
    ['a)', '")" without "(" (at character 2)'],
    ['[é]', 'only ASCII characters may stand in a class (at character 2)'],
    ['((a{30}){30}){30}', 'too big: its repetitions unfold to more than 1024 steps (at character 1)'],
    ['(((){512}){512}){512}a', null],
  ])('with the pattern %j', (pattern, complaint) => {
    expect(mask.checkPattern(pattern)).toBe(complaint);
  });
});

describe('records of requests', () => {
  const recorder = mask.recorder();

  test('show no secret, by name or by content', () => {
    expect(JSON.parse(recorder.json('{"body":{"json":{"password":"hunter2","note":"4111 1111 1111 1111"}},"path":"/a"}'))).toEqual({
      body: { json: { password: '*******', note: '*******************' } },
      path: '/a',
    });
    expect(recorder.text('DELETE /people/ann@example.com')).toBe('DELETE /people/***************');
  });

  test('that cannot be masked are left out whole', () => {
    expect(recorder.json('{"ssn":')).toBe('{"unmaskable":true}');
  });
});

describe('members written plainly, which are read sixteen bytes at a time', () => {
  const rules = [ruleOf({ path: '**.ssn' }), ruleOf({ path: '**.card', method: 'null' })];
  const detecting = [...rules, ruleOf({ detector: 'us-ssn' })];
  /** What becomes of a document that is cut in two at every place: all outcomes, each once. */
  const outcomes = (document: string, by: readonly MaskRule[], maxTokenBytes = 0): string[] => {
    const bytes = Buffer.from(document);
    const masked = (cut: number): string => {
      try {
        return mask.body('application/json', [bytes.subarray(0, cut), bytes.subarray(cut)], by, maxTokenBytes).bytes.toString();
      } catch (error) {
        return error instanceof MaskError ? error.code : 'trap';
      }
    };
    return [...new Set(Array.from({ length: bytes.length + 1 }, (_, cut) => masked(cut)))];
  };
  const lengths = Array.from({ length: 36 }, (_, n) => n);
  /** A list of two, so that members are read that come first and later, with and without white space. */
  const list = (key: string, value: string, ssn: string, card: string): string =>
    `[{${key}:${value},"ssn":${ssn},${key}:${value}},{"ssn":${ssn}, "card": ${card},\n  ${key}: ${value}}]`;

  test.each([
    ['letters', (n: number) => 'k'.repeat(n)],
    ['an escape in it', (n: number) => `${'k'.repeat(n)}\\"k`],
    ['the escape of a letter', (n: number) => `${'k'.repeat(n)}\\u0061`],
    ['a character of two bytes', (n: number) => `${'k'.repeat(n)}é`],
  ])('strings of every length: %s', (_, text) => {
    for (const by of [rules, detecting])
      for (const n of lengths) {
        const one = JSON.stringify('123-45-6789');
        const string = `"${text(n)}"`;
        for (const [key, value] of [
          [string, '"v"'],
          ['"k"', string],
        ] as const)
          expect(outcomes(list(key, value, one, '"4111"'), by)).toEqual([list(key, value, '"***********"', 'null')]);
        expect(outcomes(list('"k"', '1', string, string), by)).toEqual([
          list('"k"', '1', `"${'*'.repeat((JSON.parse(string) as string).length)}"`, 'null'),
        ]);
      }
  });

  test.each([
    ['of every length', (n: number) => `1${'0'.repeat(n)}`],
    ['with a fraction', (n: number) => `-${'3'.repeat(1 + (n % 9))}.${'5'.repeat(1 + n)}`],
    ['with an exponent', (n: number) => `1${'2'.repeat(n)}e+7`],
  ])('numbers %s, and literals', (_, number) => {
    for (const n of lengths)
      for (const value of [number(n), 'true', 'false', 'null'])
        expect(outcomes(list('"k"', value, value, '"4"'), rules)).toEqual([list('"k"', value, 'null', 'null')]);
  });

  test.each([
    ['a control character', (n: number) => `"${'k'.repeat(n)}\u0001"`],
    ['a line end', (n: number) => `"${'k'.repeat(n)}\n"`],
    ['no escape', (n: number) => `"${'k'.repeat(n)}\\x"`],
    ['no UTF-8', (n: number) => `"${'k'.repeat(n)}\ufffd"`],
    ['a zero before', (n: number) => `0${'1'.repeat(1 + n)}`],
    ['no fraction', (n: number) => `1${'1'.repeat(n)}.`],
    ['two points', (n: number) => `1${'1'.repeat(n)}.1.1`],
    ['a letter in a number', (n: number) => `1${'1'.repeat(n)}a`],
    ['a sign inside', (n: number) => `1${'1'.repeat(n)}-1`],
    ['a byte next to the digits', (n: number) => `1${'1'.repeat(n)}/1`],
    ['another', (n: number) => `1${'1'.repeat(n)}:1`],
    ['a sign alone', () => '-'],
    ['half a literal', () => 'tru'],
    ['a literal that goes on', () => 'truee'],
    ['a literal with a wrong end', () => 'falsy'],
    ['nothing', () => ''],
  ])('what is malformed stays so: %s', (what, value) => {
    const bytes = (document: string): Buffer => Buffer.from(document.replaceAll('\ufffd', 'ÿ'), what === 'no UTF-8' ? 'latin1' : 'utf8');
    for (const n of lengths)
      for (const document of [`{"k":${value(n)}}`, `{"a":1,"k":${value(n)}, "b":"ccccccccccccccccccc"}`]) {
        const whole = bytes(document);
        for (let cut = 0; cut <= whole.length; cut++)
          expect(() => mask.body('application/json', [whole.subarray(0, cut), whole.subarray(cut)], rules)).toThrow('not well formed');
      }
  });

  test('names that look alike to the sieve are told apart', () => {
    const names = ['', 's', 'sn', 'ssn', 'snn', 'ssnn', 'xsn', 'ssx', 'sxn', 'card', 'city', 'crad'];
    const members = (hide: boolean): string =>
      names.map((name) => `"${name}":"v"`.replace(/^"(ssn|card)":"v"$/, hide ? '"$1":"*"' : '$&')).join();
    const full = [ruleOf({ path: 'ssn' }), ruleOf({ path: 'card' })];
    expect(outcomes(`{${members(false)}}`, full)).toEqual([`{${members(true)}}`]);
    expect(outcomes('{"a":"v","":"v"}', [ruleOf({ path: '[""]' })])).toEqual(['{"a":"v","":"*"}']);
  });

  test('a member that is a container is followed as its key says', () => {
    const deep = [ruleOf({ path: 'a.x' }), ruleOf({ path: 'list[1].x' })];
    for (const space of ['', ' ', '  ', '\n\t'])
      expect(outcomes(`{"k":1,"a":${space}{"x":"v","y":"v"},"b":${space}{"x":"v"},"list":${space}[{"x":"v"},{"x":"v"}]}`, deep)).toEqual([
        `{"k":1,"a":${space}{"x":"*","y":"v"},"b":${space}{"x":"v"},"list":${space}[{"x":"v"},{"x":"*"}]}`,
      ]);
    // What was left of the row of a sibling would mask the other `x` too.
    expect(outcomes('{"a":{"x":"v"},"k":"é","b":  {"x":"v"}}', deep)).toEqual(['{"a":{"x":"*"},"k":"é","b":  {"x":"v"}}']);
  });

  // Members may be left unsearched where elements are not: whatever way of writing a secret `find` reads, must send them there too.
  test.each([
    'ann@example.com',
    'ann%40example.com',
    'ann&commat;example.com',
    'ann&#64;example.com',
    'ann&#x40;example.com',
    'ann=40example.com',
    'ann+AEA-example.com',
    'ann\\u0040example.com',
    'ann＠example.com',
    '536-22-8134',
    '5%336-22-8134',
    '&#53;36-22-8134',
    '%35%33%36-%32%32-%38%31%33%34',
    '&#53;&#51;&#54;-&#50;&#50;-&#56;&#49;&#51;&#52;',
  ])('a value is searched as an element of a list is: %s', (text) => {
    const by = [ruleOf({ detector: 'us-ssn' }), email];
    const masked = (document: unknown): unknown => JSON.parse(mask.json(JSON.stringify(document), by));
    const [shown] = masked([text]) as [string];
    expect(masked({ first: text, later: text, list: [text] })).toEqual({ first: shown, later: shown, list: [shown] });
    expect(masked({ k: 1, [text]: 1 })).toEqual({ k: 1, [shown]: 1 });
  });

  test('a string too long to be held is so wherever it is cut', () => {
    expect(outcomes(`{"a":"${'v'.repeat(200)}"}`, [ruleOf({ detector: 'iban' })], 64)).toEqual(['token_too_long']);
  });
});

test('memory stays flat over many small bodies, and over a large one', () => {
  const rules = [ruleOf({ path: '**.ssn', method: 'hash' }), ruleOf({ pattern: 'EMP-\\d+' }), email];
  const document = Buffer.from('{"ssn":"123-45-6789","list":[{"by":"ann@example.com"},"EMP-12345"],"n":12345678901}');
  const round = (times: number): void => {
    // Fresh rules each time: a plan is decoded for every exchange.
    for (let i = 0; i < times; i++)
      mask.body(i % 3 ? 'application/json' : 'text/event-stream', i % 3 ? [document] : [Buffer.from('data: '), document], [...rules]);
  };
  round(2000);
  const settled = mask.memoryBytes;
  round(20_000);
  expect(mask.memoryBytes).toBe(settled);
  const long = function* (): Generator<Buffer> {
    yield Buffer.from('[0');
    for (let i = 0; i < 5000; i++) yield Buffer.concat([Buffer.from(','), document]);
    yield Buffer.from(']');
  };
  mask.body('application/json', long(), rules);
  expect(mask.memoryBytes).toBeLessThanOrEqual(settled + 65_536);
});
