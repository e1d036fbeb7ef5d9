import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBaggage, runOf } from './run.ts';

const nothing = { id: '', onBehalfOf: '' };
const headers = (all: Record<string, string[]>) => (name: string) => all[name] ?? [];

describe('runOf', () => {
  const everywhere = headers({ 'sluice-run': ['h'], 'sluice-on-behalf-of': ['ho'], baggage: ['sluice.run=b,sluice.on_behalf_of=bo'] });

  it('believes the token before the header before the baggage', () => {
    expect(runOf({ id: 't', onBehalfOf: 'corp:ada' }, everywhere)).toEqual({ id: 't', onBehalfOf: 'corp:ada', source: 'token' });
    expect(runOf(nothing, everywhere)).toEqual({ id: 'h', onBehalfOf: 'ho', source: 'header' });
    expect(runOf(nothing, headers({ baggage: ['sluice.run=b;p=1 , sluice.on_behalf_of=bo'] }))).toEqual({
      id: 'b',
      onBehalfOf: 'bo',
      source: 'baggage',
    });
    expect(runOf(nothing, headers({}))).toEqual({ id: '', onBehalfOf: '', source: 'none' });
  });

  it('never lets a header say on whose behalf where the source says token or none', () => {
    expect(runOf({ id: 't', onBehalfOf: '' }, everywhere)).toEqual({ id: 't', onBehalfOf: '', source: 'token' });
    expect(runOf(nothing, headers({ 'sluice-on-behalf-of': ['ho'] }))).toEqual({ id: '', onBehalfOf: '', source: 'none' });
    expect(runOf({ id: '', onBehalfOf: 'corp:ada' }, everywhere)).toEqual({ id: 'h', onBehalfOf: 'corp:ada', source: 'header' });
  });

  it('takes no run from two headers, control characters or more than 128 characters', () => {
    for (const values of [['a', 'b'], ['a\u0000'], ['a\u202eb'], ['x'.repeat(129)], [' ']])
      expect(runOf(nothing, headers({ 'sluice-run': values })).source).toBe('none');
    expect(runOf(nothing, headers({ baggage: ['sluice.run=a', 'sluice.run=b'] })).source).toBe('none');
    expect(runOf(nothing, headers({ baggage: ['sluice.run=%00'] })).source).toBe('none');
  });
});

describe('parseBaggage', () => {
  it('decodes members over several headers', () => {
    expect([...parseBaggage(['a=1;x=y, b = %C3%A9%2C ;p', 'c='])]).toEqual([
      ['a', ['1']],
      ['b', ['é,']],
      ['c', ['']],
    ]);
  });

  it('drops what is malformed and keeps the rest', () => {
    expect([...parseBaggage(['=x,a,b=%zz,c="q",d=1,e=\u0001,f=a b'])]).toEqual([['d', ['1']]]);
  });

  it('is bounded, and never throws', () => {
    expect(parseBaggage([`a=${'x'.repeat(9000)}`]).size).toBe(0);
    expect(parseBaggage([Array.from({ length: 100 }, (_, index) => `k${index}=v`).join()]).size).toBe(64);
    fc.assert(fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 200 })), (values) => void parseBaggage(values)));
  });
});
