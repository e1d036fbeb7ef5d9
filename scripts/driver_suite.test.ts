import { describe, expect, test } from 'vitest';
import { differencesOf, type Outcome, type Outcomes } from './driver_suite.ts';
import { goTest } from './go_test.ts';

/** Lines of `go test -json`: `run a`, `pass a`; a panic is where they end. */
async function* lines(...said: string[]): AsyncIterable<string> {
  yield 'go: downloading something';
  for (const [action, name] of said.map((word) => word.split(' '))) yield JSON.stringify({ Action: action, Test: name, Package: 'p' });
  yield JSON.stringify({ Action: 'output', Package: 'p', Output: 'FAIL\n' });
}

describe('the tests of a package of Go', () => {
  test('have the outcomes that they are told to have, and run once', async () => {
    const asked: (readonly string[])[] = [];
    const said: string[] = [];
    const ended = await goTest(
      (only) => {
        asked.push(only);
        return lines('run a', 'run a/1', 'pass a/1', 'pass a', 'run b', 'skip b', 'run c', 'pause c', 'cont c', 'fail c');
      },
      (output) => said.push(output),
    );
    expect(Object.fromEntries(ended)).toEqual({ a: 'pass', 'a/1': 'pass', b: 'skip', c: 'fail' });
    expect(asked).toEqual([[]]);
    expect(said).toEqual(['FAIL\n']);
  });

  test('that a panic kept from ending run again, without the one that panicked and those that had ended', async () => {
    const runs = [
      lines('run a', 'pass a', 'run b', 'run b/1', 'run c', 'run d', 'fail d'),
      lines('run b', 'run b/1', 'pass b/1', 'pass b', 'run c', 'pass c'),
    ];
    const asked: (readonly string[])[] = [];
    const ended = await goTest((only) => {
      asked.push(only);
      return runs.shift() ?? lines();
    });
    expect(Object.fromEntries(ended)).toEqual({ a: 'pass', b: 'pass', 'b/1': 'pass', c: 'pass', d: 'fail' });
    expect(asked).toEqual([[], ['b', 'c']]);
  });

  test('that panic without end are left unfinished', async () => {
    let runs = 0;
    const ended = await goTest(() => {
      runs += 1;
      return runs === 1 ? lines('run a', 'run b', 'run c', 'fail c') : runs === 2 ? lines('run a', 'pass a', 'run b') : lines('run b');
    });
    expect([Object.fromEntries(ended), runs]).toEqual([{ a: 'pass', b: 'run', c: 'fail' }, 3]);
  });
});

describe('differences', () => {
  const of = (outcomes: Record<string, Outcome>): Outcomes => new Map(Object.entries(outcomes));

  test('are those of tests that ran directly, explained where the page names them', () => {
    const direct = of({ a: 'pass', b: 'pass', c: 'fail', d: 'pass', e: 'skip' });
    const gateway = of({ a: 'pass', b: 'fail', c: 'pass', e: 'skip', f: 'fail' });
    expect(differencesOf(direct, gateway, '- `b`: because')).toEqual([
      { test: 'b', direct: 'pass', gateway: 'fail', explained: true },
      { test: 'c', direct: 'fail', gateway: 'pass', explained: false },
      { test: 'd', direct: 'pass', gateway: 'not run', explained: false },
    ]);
  });

  test('within a test are told for themselves, and the test around them is not', () => {
    const direct = of({ a: 'pass', 'a/1': 'pass', ab: 'pass' });
    const gateway = of({ a: 'fail', 'a/1': 'fail', ab: 'fail' });
    expect(differencesOf(direct, gateway, 'ab `a`').map(({ test, explained }) => [test, explained])).toEqual([
      ['a/1', false],
      ['ab', false],
    ]);
  });
});
