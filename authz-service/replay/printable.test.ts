import { describe, expect, it } from 'vitest';
import { table } from '../cli/table.ts';
import { printable, roughly, shortened } from './printable.ts';
import { micros } from './tell.ts';

describe('text that others wrote', () => {
  it.each([
    ['a cursor movement', '/customers/\u001b[2K\u001b[1A7'],
    ['a line break', 'GET /\nall is well'],
    ['text that runs the other way', '/\u202eelif'],
    ['what is not seen', '/cust\u200bomers'],
    ['half a character', '/\ud800'],
  ])('cannot do more than be read: %s', (_, text) => {
    const shown = printable(text);
    expect(shown).toContain('\ufffd');
    expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u);
  });

  it('stays as it is when it is plain', () => expect(printable('DELETE /customers/7 — Zoë, 顧客')).toBe('DELETE /customers/7 — Zoë, 顧客'));
  it('is shortened by characters, visibly', () => expect([shortened('żółw', 4), shortened('żółwie', 4)]).toEqual(['żółw', 'żół…']));
});

it.each([
  [0, '0s'],
  [-5_000, '0s'],
  [59_600, '1m'],
  [61_000, '1m 1s'],
  [3_600_000, '1h'],
  [3_601_000, '1h'],
  [90_061_000, '1d 1h'],
])('%d ms are roughly %s', (milliseconds, text) => expect(roughly(milliseconds)).toBe(text));

describe('a table', () => {
  const columns = [
    { title: 'ID', of: ({ id }: { id: string; what: string }) => id },
    { title: 'WHAT', of: ({ what }: { id: string; what: string }) => what, flexible: true },
  ];
  const rows = [
    { id: 'a', what: 'DELETE /customers/7/addresses/12' },
    { id: 'bcd', what: '\u001b[31mGET' },
  ];

  it('is as wide as it must be, and shows no control characters', () =>
    expect(table(columns, rows)).toBe('ID   WHAT\na    DELETE /customers/7/addresses/12\nbcd  \ufffd[31mGET'));
  it('gives way in its flexible columns', () => {
    const narrow = table(columns, rows, 20);
    expect(Math.max(...narrow.split('\n').map((line) => [...line].length))).toBe(20);
    expect(narrow).toContain('DELETE /custom…');
  });
});

it('moments within a minute are told apart, longer ones roughly', () => {
  expect([9_999, 14_108_900, 14_122_200, 59_990_000, 61_000_000].map(micros)).toEqual([
    '9999 µs',
    '14.11 s',
    '14.12 s',
    '59.99 s',
    '1m 1s',
  ]);
});
