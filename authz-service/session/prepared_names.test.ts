import { describe, expect, test } from 'vitest';
import type { NameChange } from '../analysis/utility.ts';
import { PreparedNames } from './prepared_names.ts';

const prepare = (name: string, text: string): NameChange => ({ kind: 'prepare', name, text });
const deallocate = (name?: string): NameChange => ({ kind: 'deallocate', ...(name !== undefined && { name }) });
const meant = (names: PreparedNames, name = 's'): readonly string[] => names.of([name]).get(name) ?? [];

describe('a name', () => {
  test('means what was prepared under it, and nothing before that', () => {
    const names = new PreparedNames();
    expect(names.of(['s'])).toEqual(new Map());
    names.passed(1, [prepare('s', 'A')]);
    expect(names.of(['s', 't'])).toEqual(new Map([['s', ['A']]]));
  });

  test('means each of what may have been prepared, until it is certain which', () => {
    const names = new PreparedNames();
    names.passed(1, [prepare('s', 'A')]);
    names.passed(2, [prepare('s', 'B')]);
    expect(meant(names)).toEqual(['A', 'B']);
    // The second failed, because the first is there.
    names.ended([1]);
    expect(meant(names).toSorted()).toEqual(['A', 'B']);
    names.passed(3, [deallocate('s')]);
    names.passed(4, [prepare('s', 'C')]);
    expect(meant(names).toSorted()).toEqual(['A', 'B', 'C']);
    names.ended([3]);
    expect(meant(names).toSorted()).toEqual(['B', 'C']);
    names.ended([4]);
    expect(meant(names).toSorted()).toEqual(['B', 'C']);
  });

  test('keeps what may run later than what took it away', () => {
    const names = new PreparedNames();
    names.passed(1, [prepare('s', 'A')]);
    names.passed(2, [deallocate('s')]);
    names.ended([2]);
    expect(meant(names)).toEqual(['A']);
    names.ended([1]);
    expect(meant(names)).toEqual(['A']);
  });

  test('is followed as the server goes, not as it was asked', () => {
    const names = new PreparedNames();
    names.passed(1, [prepare('s', 'A')]);
    names.passed(2, [prepare('s', 'B')]);
    names.passed(3, [deallocate()]);
    names.ended([2, 3, 1]);
    expect(meant(names)).toEqual(['A']);
  });

  test('of the same text again is one, which outlives a certain one', () => {
    const names = new PreparedNames();
    for (const command of [1, 2, 3]) names.passed(command, [prepare('s', 'A')]);
    names.ended([1]);
    names.passed(4, [deallocate('s')]);
    names.ended([4]);
    // The second or the third may be there now.
    expect(meant(names)).toEqual(['A']);
  });

  test.each([
    ['all', undefined],
    ['its name', 's'],
  ])('that one string prepares again after deallocating %s', (_, name) => {
    const names = new PreparedNames();
    names.passed(1, [prepare('s', 'A'), prepare('t', 'T'), deallocate(name), prepare('s', 'B')]);
    expect(meant(names)).toEqual(['A', 'B']);
    names.ended([1]);
    expect(meant(names)).toEqual(['B']);
    expect(meant(names, 't')).toEqual(name === undefined ? [] : ['T']);
  });

  test('that the protocol has prepared stays, for nobody tells of its end', () => {
    const names = new PreparedNames();
    names.parsed('s', 'A', [0, 25]);
    names.passed(1, [prepare('s', 'B')]);
    names.passed(2, [deallocate()]);
    names.ended([1, 2]);
    expect(meant(names)).toEqual(['A']);
  });

  test('ends are told once, and only of what was let pass', () => {
    const names = new PreparedNames();
    names.passed(1, [deallocate('s')]);
    names.ended([1, 1, 7]);
    names.passed(2, [prepare('s', 'A')]);
    names.ended([2, 1, 7]);
    expect(meant(names)).toEqual(['A']);
  });
});

describe('nothing is known any more', () => {
  const lost = (names: PreparedNames): void => {
    expect(meant(names)).toEqual([]);
    names.passed(5_000, [prepare('s', 'Z')]);
    names.parsed('s', 'Z', []);
    names.ended([5_000]);
    expect(meant(names)).toEqual([]);
  };

  test('once anything may have been prepared', () => {
    const names = new PreparedNames();
    names.passed(1, [prepare('s', 'A')]);
    names.lose();
    lost(names);
  });

  test('of parameters of types that are not PostgreSQL’s own', () => {
    const names = new PreparedNames();
    names.parsed('s', 'A', [23, 16_384]);
    lost(names);
  });

  test('past a number of meanings of one name', () => {
    const names = new PreparedNames();
    for (let i = 0; i < 8; i++) names.passed(i, [prepare('s', `A${i}`)]);
    expect(meant(names)).toHaveLength(8);
    names.passed(9, [prepare('s', 'A9')]);
    lost(names);
  });

  test('past a number of names, or of characters', () => {
    const [many, long] = [new PreparedNames(), new PreparedNames()];
    for (let i = 0; i < 1_000; i++) many.parsed(i === 0 ? 's' : `s${i}`, 'A', []);
    expect(meant(many)).toEqual(['A']);
    many.parsed('t', 'A', []);
    lost(many);
    long.parsed('s', 'x'.repeat(131_073), []);
    lost(long);
  });

  test('but not by what goes again', () => {
    const names = new PreparedNames();
    for (let i = 0; i < 3_000; i++) {
      names.passed(2 * i, [prepare('s', `${'x'.repeat(1_000)}${i}`)]);
      names.passed(2 * i + 1, [deallocate('s')]);
      names.ended([2 * i, 2 * i + 1]);
    }
    names.passed(7_000, [prepare('s', 'A')]);
    expect(meant(names)).toEqual(['A']);
  });
});
