/** The analysis of SQL takes any text: it says what it does, or that it cannot be told, and nothing else happens. */
import { loadModule } from 'libpg-query';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Analysis, analyse, makeModel } from '../../authz-service/analysis/analyse.ts';
import { Catalog, SensitiveColumns } from '../../authz-service/analysis/catalog.ts';
import { AnalysisError } from '../../authz-service/analysis/error.ts';
import { STATEMENTS } from '../../authz-service/analysis/ledger.fixture.ts';
import { CATALOG } from '../../authz-service/session/door.fixture.ts';
import { Random } from './random.ts';
import { runs } from './runs.ts';

beforeAll(loadModule);

const model = makeModel(new Catalog(CATALOG), new SensitiveColumns(['public.customers.ssn']));

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

function mutated(text: string, random: Random): string {
  const [at, until] = [random.below(text.length + 1), random.below(text.length + 1)];
  const other = random.pick(STATEMENTS);
  switch (random.below(6)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, Math.min(at, until)) + text.slice(Math.max(at, until));
    case 2:
      return text.slice(0, at) + random.pick(PIECES) + text.slice(at);
    case 3:
      return text.slice(0, at) + other.slice(random.below(other.length + 1));
    case 4:
      return `${text.slice(0, at)}(${other})${text.slice(at)}`;
    default:
      return `${text};${other}`;
  }
}

test('whatever comes, it is analysed or refused by a coded error', () => {
  const random = new Random(7);
  const outcomes = { analysed: 0, refused: 0 };
  for (let run = 0; run < runs(10_000); run++) {
    let text = STATEMENTS[run % STATEMENTS.length] ?? '';
    for (let times = 1 + random.below(3); times > 0; times--) text = mutated(text, random);
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
