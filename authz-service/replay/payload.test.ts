import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { back } from '../../test/wasm/postgres_wire.fixture.ts';
import { Payloads } from './payload.ts';
import { timeline } from './play.ts';
import type { ReplayedEvent } from './tell.ts';

const chunk = (data: Buffer | string, more: object = {}, command?: number): ReplayedEvent => ({
  time: '2026-03-01T12:00:00.000000000Z',
  session: 'ses_1',
  target: 'demo',
  kind: 'payload_chunk',
  ...(command !== undefined && { command }),
  body: {
    direction: 'response',
    offset: 0,
    data: Buffer.from(data as string).toString('base64'),
    last: false,
    truncated: false,
    contentType: 'application/json',
    contentEncoding: '',
    reason: '',
    ...more,
  },
});
const shown = (...events: ReplayedEvent[]): string[] => {
  const payloads = new Payloads();
  return events.flatMap((event) => payloads.lines(event));
};
const POSTGRES = { contentType: 'application/vnd.sluice.postgres' };

describe('a text', () => {
  test('is shown line by line, and moves no cursor', () => {
    expect(shown(chunk('{"a":\t1}\r\n\u001b[2J\n', { last: true }))).toEqual(['{"a":  1}', '\ufffd[2J']);
  });

  test('goes on in the middle of a character', () => {
    const bytes = Buffer.from('grün');
    expect(shown(chunk(bytes.subarray(0, 3)), chunk(bytes.subarray(3), { offset: 3, last: true }))).toEqual(['gr', 'ün']);
  });

  test('of each direction and command is one of its own', () => {
    expect(shown(chunk('a', {}, 1), chunk('b', {}, 2), chunk('c', { direction: 'request' }, 1))).toEqual(['a', 'b', 'c']);
  });

  test('that is none, or is coded, is told of', () => {
    expect(shown(chunk(Buffer.from([0, 1, 2, 3, 4])))).toEqual(['(5 bytes that are no text: --json has them)']);
    expect(shown(chunk('x', { contentEncoding: 'gzip' }))).toEqual(['(1 bytes in the coding gzip: --json has them)']);
  });
});

describe('a body that was not recorded to its end', () => {
  const ended = (kind: string, outcome: string, command?: number): ReplayedEvent => ({
    time: '2026-03-01T12:00:01.000000000Z',
    session: 'ses_1',
    target: 'demo',
    kind,
    ...(command !== undefined && { command }),
    body: { outcome },
  });

  test('is told of where it ended', () => {
    expect(shown(chunk('abc'), chunk('de', { offset: 3 }), ended('response_finished', 'reset'), ended('session_closed', 'failed'))).toEqual(
      ['abc', 'de', '(response: recorded up to byte 5, which is not its end)'],
    );
    expect(shown(chunk('a', {}, 1), chunk('b', {}, 2), ended('command_finished', 'failed', 2), ended('session_closed', 'failed'))).toEqual([
      'a',
      'b',
      '(response: recorded up to byte 1, which is not its end)',
      '(response: recorded up to byte 1, which is not its end)',
    ]);
  });

  test('may go on after an end that was only assumed', () => {
    const first = Buffer.from('grün');
    expect(
      shown(chunk(first.subarray(0, 3)), ended('session_closed', 'unknown'), chunk(first.subarray(3), { offset: 3, last: true })),
    ).toEqual(['gr', '(response: recorded up to byte 3, which is not its end)', 'ün']);
  });

  test('is none where all of it is, or the limit of what is recorded cut it', () => {
    for (const end of [{ last: true }, { truncated: true, reason: 'longer' }])
      expect(shown(chunk('a', end), ended('session_closed', 'complete'))).toEqual(['a']);
  });
});

describe('rows', () => {
  const result = Buffer.concat([
    back.columns({ name: 'id' }, { name: 'ssn' }, { name: 'raw', format: 1 }),
    back.row('1', '***********', Buffer.from([1, 255])),
    back.row('22', null, null),
  ]);

  test('are a table', () => {
    expect(shown(chunk(result, { ...POSTGRES, last: true }))).toEqual([
      'id | ssn         | raw',
      '1  | *********** | \\x01ff',
      '22 | NULL        | NULL',
    ]);
  });

  test('are the same cells wherever a chunk ends', () => {
    for (let at = 1; at < result.length; at++) {
      const lines = shown(chunk(result.subarray(0, at), POSTGRES), chunk(result.subarray(at), { offset: at, last: true }));
      expect(lines.map((line) => line.split('|').map((cell) => cell.trim()))).toEqual([
        ['id', 'ssn', 'raw'],
        ['1', '***********', '\\x01ff'],
        ['22', 'NULL', 'NULL'],
      ]);
    }
  });

  test('of masked columns say which', () => {
    const mark = Buffer.from('m\0\0\0\x16\0\x01\0\x01customers.ssn\0', 'latin1');
    mark.writeUInt32BE(mark.length - 1, 1);
    const columns = back.columns({ name: 'id' }, { name: 'ssn' });
    const all = Buffer.concat([columns, mark, back.row('1', '***')]);
    for (let at = 1; at <= all.length; at += 1)
      expect(shown(chunk(all.subarray(0, at), POSTGRES), chunk(all.subarray(at), { offset: at, last: true }))).toEqual([
        'id | ssn [masked]',
        '1  | ***',
      ]);
    // Of columns that there are not.
    const [none] = new Payloads().pieces(chunk(Buffer.concat([back.columns({ name: 'id' }), mark]), { ...POSTGRES, last: true }));
    expect(none).toMatchObject({ kind: 'table', columns: [{ name: 'id', masked: '' }], rows: [] });
  });

  test('beyond what is shown are left out, and that is said once', () => {
    const many = (first: number): Buffer => Buffer.concat(Array.from({ length: 30 }, (_, i) => back.row(String(first + i), null, null)));
    const told = (payloads: Payloads): string[] => [
      ...payloads.lines(chunk(Buffer.concat([result, many(0)]), POSTGRES)),
      ...payloads.lines(chunk(many(30), { ...POSTGRES, offset: 9, last: true })),
      ...payloads.lines(chunk('another\n', { last: true }, 2)),
    ];
    const rest = '(the rest of it is not shown here)';
    const within = told(new Payloads({ lines: 10, characters: 1e6, all: 1e6 }));
    expect([within.length, within[11], within[12]]).toEqual([13, rest, 'another']);
    expect(told(new Payloads({ lines: 40, characters: 1e6, all: 1e6 })).slice(-3)).toEqual(['37 | NULL | NULL', rest, 'another']);
    expect(told(new Payloads({ lines: 1e6, characters: 40, all: 1e6 })).at(-1)).toBe('another');
    expect(told(new Payloads({ lines: 1e6, characters: 1e6, all: 40 })).slice(-2)).toEqual([rest, rest]);
    expect(new Payloads({ lines: 9, characters: 5, all: 9 }).lines(chunk('abc\ndefghi', { last: true }))).toEqual(['abc', 'de']);
  });

  test('below many columns are cut by what drawing those again and again would take', () => {
    const wide = back.columns(...Array.from({ length: 1000 }, () => ({ name: 'a' })));
    const rowAndCopy = Buffer.concat([back.row(), back.copyData('x')]);
    const payloads = new Payloads({ lines: 500, characters: 64_000, all: 4_000_000 });
    const pieces = payloads.pieces(chunk(Buffer.concat([wide, ...Array(400).fill(rowAndCopy)]), { ...POSTGRES, last: true }));
    expect(pieces.filter(({ kind }) => kind === 'table').length).toBeLessThan(40);
    expect(pieces.at(-1)).toMatchObject({ kind: 'note', text: 'the rest of it is not shown here' });
  });

  test('that were cut say so', () => {
    expect(shown(chunk(result.subarray(0, -3), { ...POSTGRES, truncated: true })).at(-1)).toMatch(
      /^\(\d+ bytes of a row that is not whole\)$/,
    );
  });

  test('that are copied are lines', () => {
    expect(shown(chunk(Buffer.concat([back.copyOut(2), back.copyData('1\t*\n'), back.copyData('2\t*\n')]), POSTGRES))).toEqual([
      '1  *',
      '2  *',
    ]);
  });

  test('have no more columns and cells than there are bytes for', () => {
    const claim = (type: string): Buffer => Buffer.from([type.charCodeAt(0), 0, 0, 0, 6, 0x7f, 0xff]);
    const pieces = new Payloads().pieces(chunk(Buffer.concat([...Array(200).fill(claim('T')), ...Array(200).fill(claim('D'))]), POSTGRES));
    expect(pieces.length).toBe(200);
    for (const piece of pieces) expect(piece).toMatchObject({ kind: 'table', columns: [] });
    expect(pieces.at(-1)).toMatchObject({ rows: Array(200).fill([]) });
  });

  test('of any bytes throw nothing and show nothing that moves a cursor', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), fc.array(fc.nat({ max: 300 })), (noise, cuts) => {
        const bytes = Buffer.concat([result, ...noise]);
        const payloads = new Payloads();
        let from = 0;
        for (const to of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
          const lines = payloads.lines(chunk(bytes.subarray(from, to), { ...POSTGRES, offset: from, last: to === bytes.length }));
          // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
          expect(lines.join('')).not.toMatch(/[\u0000-\u001f]/);
          from = Math.max(from, to);
        }
      }),
    );
  });
});

test('replay shows payload below what tells of it, and why it ends', () => {
  const whole = timeline('ses_1', [chunk('{"a":1}', { truncated: true, reason: 'longer than what is recorded of a body' })]);
  expect(whole.split('\n').slice(1)).toEqual([
    '       +0 µs  response: 7 B from byte 0, application/json; not recorded further: longer than what is recorded of a body',
    '              {"a":1}',
  ]);
  expect(timeline('s', [chunk('x', { last: true })])).toContain('response: 1 B from byte 0, application/json; the end');
});
