/** The analysis of SQL takes any text: it says what it does, or that it cannot be told, and nothing else happens. */
import { loadModule } from 'libpg-query';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Analysis, analyse, makeModel } from '../../authz-service/analysis/analyse.ts';
import { Catalog, SensitiveColumns } from '../../authz-service/analysis/catalog.ts';
import { AnalysisError } from '../../authz-service/analysis/error.ts';
import { STATEMENTS } from '../../authz-service/analysis/ledger.fixture.ts';
import { CATALOG } from '../../authz-service/session/door.fixture.ts';
import { runs } from './runs.ts';

beforeAll(loadModule);

const model = makeModel(new Catalog(CATALOG), new SensitiveColumns(['public.customers.ssn']));

/** Numbers from 0 to before `below`, the same at every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const PIECES = [
  "'",
  '"',
  '$$',
  "E'",
  'U&"',
  '--',
  '/*',
  '*/',
  ';',
  '(',
  ')',
  ',',
  '*',
  'ssn',
  'customers',
  '\\',
  '\u0000',
  '\ud800',
  '😀',
  '$1',
  '::',
  '.',
];

function mutated(text: string, below: (most: number) => number): string {
  const [at, until] = [below(text.length + 1), below(text.length + 1)];
  const other = STATEMENTS[below(STATEMENTS.length)] ?? '';
  switch (below(6)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, Math.min(at, until)) + text.slice(Math.max(at, until));
    case 2:
      return text.slice(0, at) + PIECES[below(PIECES.length)] + text.slice(at);
    case 3:
      return text.slice(0, at) + other.slice(below(other.length + 1));
    case 4:
      return `${text.slice(0, at)}(${other})${text.slice(at)}`;
    default:
      return `${text};${other}`;
  }
}

test('whatever comes, it is analysed or refused by a coded error', () => {
  const below = numbers(7);
  const outcomes = { analysed: 0, refused: 0 };
  for (let run = 0; run < runs(10_000); run++) {
    let text = STATEMENTS[run % STATEMENTS.length] ?? '';
    for (let times = 1 + below(3); times > 0; times--) text = mutated(text, below);
    let analysis: Analysis;
    try {
      analysis = analyse(text, model);
    } catch (error) {
      if (!(error instanceof AnalysisError)) throw new Error(`${JSON.stringify(text)}: ${error}`, { cause: error });
      outcomes.refused += 1;
      continue;
    }
    outcomes.analysed += 1;
    const { request, result, touchesSensitive } = analysis;
    if (!request.complete && request.incomplete.length === 0) throw new Error(`incomplete without a reason: ${text}`);
    if (result?.includes('sensitive') && !touchesSensitive && request.complete) throw new Error(`sensitive out of nothing: ${text}`);
  }
  expect(outcomes.analysed).toBeGreaterThan(runs(10_000) / 20);
  expect(outcomes.refused).toBeGreaterThan(runs(10_000) / 20);
});

describe('what means nothing changes nothing', () => {
  const DRESSED: readonly (readonly [string, (text: string) => string])[] = [
    ['comments around it', (text) => `/* ';' */ -- "\n${text}\n-- '\n`],
    ['nested comments', (text) => `/* /* select ssn from customers */ */${text}`],
    ['white space', (text) => `\n\t  ${text}\r\n\f `],
    ['empty statements', (text) => `;;${text};;`],
  ];
  test.each(DRESSED)('%s', (_, dress) => {
    for (const text of STATEMENTS) {
      let plain: Analysis;
      try {
        plain = analyse(text, model);
      } catch {
        continue;
      }
      const { request, result, readOnly, touchesSensitive } = analyse(dress(text), model);
      expect({ request, result, readOnly, touchesSensitive }, text).toEqual({
        request: plain.request,
        result: plain.result,
        readOnly: plain.readOnly,
        touchesSensitive: plain.touchesSensitive,
      });
    }
  });
});
