/** Pairs of texts of SQL: whatever the filter lets pass by the judgement of another text is parsed and analysed as that one is, by PostgreSQL's own parser. */
import { loadModule, parseSync } from 'libpg-query';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Analysis, analyse, makeModel } from '../../authz-service/analysis/analyse.ts';
import { Catalog, SensitiveColumns } from '../../authz-service/analysis/catalog.ts';
import { STATEMENTS } from '../../authz-service/analysis/ledger.fixture.ts';
import type { Model } from '../../authz-service/analysis/model.ts';
import { Vm, type Wire } from '../wasm/postgres_host.fixture.ts';
import { allow, connected, logIn } from '../wasm/postgres_session.fixture.ts';
import { back, front } from '../wasm/postgres_wire.fixture.ts';
import { Random } from './random.ts';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000);
const ROUNDS = Number(process.env.FUZZ_ROUNDS ?? 10_000);

const CATALOG = new Catalog({
  relations: [
    {
      oid: 100,
      schema: 'public',
      name: 'customers',
      kind: 'table',
      columns: ['id', 'name', 'ssn', 'card', 'age'].map((name, i) => ({
        name,
        attribute: i + 1,
        type: name === 'id' || name === 'age' ? 23 : 25,
      })),
      parents: [],
      rewrites: false,
    },
    {
      oid: 101,
      schema: 'public',
      name: 'orders',
      kind: 'table',
      columns: ['id', 'customer', 'total'].map((name, i) => ({ name, attribute: i + 1, type: 23 })),
      parents: [],
      rewrites: false,
    },
  ],
  functions: [],
  calledAsFields: [],
  operators: [],
  casts: [],
  shadows: [],
  searchPath: ['public'],
});

const BASES = [
  'SELECT id FROM customers WHERE id = 1',
  'SELECT name, ssn FROM customers WHERE id = 1 AND age >= 30 ORDER BY 1 LIMIT 5',
  'select c.name, count(*) from customers c join orders o on o.customer = c.id where o.total > 100 group by 1 having count(*) > 2 order by 2;',
  'SELECT "id", "we ""are"" = 7 " FROM customers WHERE ("id"=1)',
  'SELECT case when age < 18 then ssn else name end, age = 5, (SELECT max(total) FROM orders WHERE customer = 9) FROM customers',
  'SELECT * FROM customers WHERE id IN (1, 2) OR age BETWEEN 3 AND 4 OR id <> 5',
  'WITH x AS (SELECT id FROM orders WHERE total != 3) SELECT substr(name, 1, 2) FROM customers, x WHERE customers.id = x.id OFFSET 3',
  'SELECT 1 = 2, f(a => 3), 1.5 > 2, 0x1 = 1, 1e5 < 1, 1_0 = 1 FROM customers WHERE id=1)',
  'SELECT name FROM customers WHERE ssn = 5 AND id < 7 FETCH FIRST 3 ROWS ONLY',
  'SET work_mem = 5',
  'UPDATE customers SET age = 5 WHERE id = 7',
  'SELECT id FROM customers TABLESAMPLE system (5) WHERE id = 7 GROUP BY 1',
  'SELECT interval(3) = 5, id::char(3) = 7 FROM customers',
  'CREATE TABLE x (a int) WITH (fillfactor = 70)',
];
const baseOf = (random: Random): string => random.pick(random.chance(0.8) ? BASES : STATEMENTS.filter(({ length }) => length < 300));

const NUMBERS = [
  '0',
  '1',
  '2',
  '7',
  '42',
  '007',
  '999999999',
  '1000000000',
  '2147483648',
  '99999999999999999999',
  '1.0',
  '-1',
  '1e1',
  '0x1',
  '1_0',
  '$1',
  "'1'",
  '1::text',
  '(1)',
  '1+1',
  '\u0001',
  '１',
];
const PIECES = [
  ' ',
  '\n',
  '--',
  '/*',
  '*/',
  "'",
  '"',
  '$$',
  ';',
  ',',
  '(',
  ')',
  '=',
  '<',
  '>',
  '!',
  '*',
  '.',
  '-',
  '1',
  '9',
  'x',
  '_',
  '\\',
  'E',
  '::',
  ' or ',
  '\t',
  '\u00a0',
  '\v',
  '%',
  '@',
  ':',
  '|',
  '~',
];

/** The same text with other numbers; now and then with anything else changed. */
function altered(text: string, random: Random): string {
  let other = text.replace(/\d+/g, (number) =>
    random.chance(0.6) ? (random.chance(0.9) ? String(random.below(10 ** (1 + random.below(9)))) : random.pick(NUMBERS)) : number,
  );
  for (let edits = random.chance(0.6) ? 0 : 1 + random.below(2); edits > 0; edits--) {
    const at = random.below(other.length + 1);
    other = other.slice(0, at) + random.pick(PIECES) + other.slice(at + random.below(2));
  }
  return other;
}

/** The tree without places and without the values of integers. */
function treeOf(text: string): string {
  return JSON.stringify(parseSync(text), (key, value: unknown) =>
    /location|stmt_len|^(list|rexpr_list)_(start|end)$|^version$/.test(key)
      ? undefined
      : key === 'ival' && typeof value === 'object'
        ? 'an integer'
        : value,
  );
}

/** All of an analysis but the text itself. */
function meaningOf(text: string, model: Model): string {
  const { maskedText, ...rest }: Analysis = analyse(text, model);
  return JSON.stringify({ ...rest, masks: maskedText !== text });
}

/** Whether the second passes by the judgement of the first. */
function passes(wire: Wire, first: string, second: string): boolean {
  const asked = (): boolean => wire.vm.asked.some((question) => question.open && question.method === 'Judge');
  const run = (): void => {
    if (wire.got().length > 0) wire.target(Buffer.concat([back.complete('SELECT 0'), back.ready()]));
    wire.seen();
  };
  wire.client(front.query(first));
  if (!asked()) throw new Error(`not judged: ${first}`);
  allow(wire, {}, { reuse: 'SHAPE' });
  run();
  wire.client(front.query(second));
  const passed = !asked();
  // Whatever was kept is forgotten.
  if (passed) {
    run();
    wire.client(front.query('-- another'));
  }
  allow(wire, {}, { unsettles: true });
  run();
  wire.vm.asked.splice(0);
  return passed;
}

describe(`seed ${SEED}`, () => {
  beforeAll(() => loadModule());

  test(`${ROUNDS} pairs of texts`, () => {
    const random = new Random(SEED);
    const model = makeModel(CATALOG, new SensitiveColumns(['public.customers.ssn', 'public.customers.card']));
    const wire = logIn(connected(0, new Vm()));
    const attempt = (make: () => string): string => {
      try {
        return make();
      } catch (error) {
        return `refused: ${(error as Error).name}`;
      }
    };
    let alike = 0;
    let shaped = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const first = random.chance(0.8) ? baseOf(random) : altered(baseOf(random), random);
      const second = altered(first, random);
      if (/\0/.test(first + second) || !passes(wire, first, second)) continue;
      alike++;
      if (first === second) continue;
      const tree = attempt(() => treeOf(first));
      // Of anything but a query the service does not say it.
      if (!/^\{"stmts":\[\{"stmt":\{"SelectStmt"/.test(tree)) continue;
      const why = `${JSON.stringify(first)} and ${JSON.stringify(second)}`;
      expect(
        attempt(() => treeOf(second)),
        why,
      ).toBe(tree);
      shaped++;
      expect(
        attempt(() => meaningOf(second, model)),
        why,
      ).toBe(attempt(() => meaningOf(first, model)));
      if (round % 100 === 99) wire.vm.sink.run(50);
    }
    expect(alike).toBeGreaterThan(ROUNDS / 50);
    expect(shaped).toBeGreaterThan(ROUNDS / 100);
  });
});
