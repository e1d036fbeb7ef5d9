/**
 * What one VM keeps over many statements and long results. The long run, of 1,000,000 statements of each kind and 10 GB of rows:
 * `SOAK_STATEMENTS=1000000 SOAK_BYTES=10000000000 vitest run --project wasm test/wasm/postgres_memory.test.ts --testTimeout 7200000`.
 */
import { expect, test } from 'vitest';
import { Vm, type Wire } from './postgres_host.fixture.ts';
import { allow, COLUMNS, connected, deny, logIn, PLAN, SECRET } from './postgres_session.fixture.ts';
import { back, front } from './postgres_wire.fixture.ts';

const STATEMENTS = Number(process.env.SOAK_STATEMENTS ?? 10_000);
const BYTES = Number(process.env.SOAK_BYTES ?? 50_000_000);

const SSN = [COLUMNS[1] as (typeof COLUMNS)[number]];
const result = Buffer.concat([back.columns(...SSN), back.row(SECRET), back.complete('SELECT 1'), back.ready()]);
const failed = Buffer.concat([back.error({ C: '42601', M: 'syntax error' }), back.ready()]);
const extended = Buffer.concat([
  back.parseComplete,
  back.bindComplete,
  back.columns(...SSN),
  back.row(SECRET),
  back.complete('SELECT 1'),
  back.ready(),
]);
const again = Buffer.concat([back.bindComplete, back.columns(...SSN), back.row(SECRET), back.complete('SELECT 1'), back.ready()]);

/** The nth statement of each kind. */
const KINDS: Record<string, (wire: Wire, n: number) => void> = {
  simple: (wire, n) => {
    wire.client(front.query(`select ssn from customers where id = ${n}`));
    allow(wire, PLAN);
    wire.target(result);
  },
  'simple, refused every time': (wire, n) => {
    wire.client(front.query(`drop table t${n}`));
    deny(wire);
    wire.target(failed);
  },
  'prepared once': (wire, n) => {
    const run = [front.bind('', 'one', [`${n}`]), front.describe('P', ''), front.execute(''), front.sync];
    if (n > 0) wire.client(Buffer.concat(run)).target(again);
    else {
      wire.client(Buffer.concat([front.parse('one', 'select ssn from customers where id = $1'), ...run]));
      allow(wire, PLAN);
      wire.target(extended);
    }
  },
  'prepared each time, and closed': (wire, n) => {
    const [name, portal] = [`s${n}`, `p${n}`];
    const run = [front.bind(portal, name, ['1']), front.describe('P', portal), front.execute(portal), front.sync];
    wire.client(Buffer.concat([front.parse(name, 'select ssn from customers where id = $1'), ...run]));
    allow(wire, PLAN);
    wire.target(extended);
    wire.client(Buffer.concat([front.close('S', name), front.sync])).target(Buffer.concat([back.closeComplete, back.ready()]));
  },
};

test.each(Object.entries(KINDS))(`memory stays flat over ${STATEMENTS} statements: %s`, (_, run) => {
  const vm = new Vm();
  const wire = logIn(connected(0, vm));
  let settled = 0;
  for (let n = 0; n < STATEMENTS; n++) {
    run(wire, n);
    const seen = wire.seen();
    if (seen.includes(SECRET) || wire.closed) throw new Error(`statement ${n}: ${seen}`);
    wire.got();
    vm.asked.length = 0;
    if (n % 100 === 99) {
      vm.sink.run(50);
      vm.sink.events.splice(0, vm.sink.events.length - 1);
    }
    if (n === Math.floor(STATEMENTS / 3)) settled = vm.host.memoryBytes;
  }
  expect(vm.host.memoryBytes).toBe(settled);
  expect(vm.host.memoryBytes).toBeLessThan(4 << 20);
});

test.each([
  ['in one piece for each read', 1 << 16],
  ['in pieces that cut rows', 1013],
])(`memory stays flat over ${BYTES} bytes of rows, %s`, (_, piece) => {
  const vm = new Vm();
  const wire = logIn(connected(0, vm));
  wire.client(front.query('select * from customers'));
  allow(wire, PLAN);
  wire.target(back.columns(...COLUMNS));
  const row = back.row('1', SECRET, '4111111111111111', 'ada@example.com', '5');
  // A whole number of rows, so that it can come again and again.
  const rows = Buffer.concat(Array.from({ length: piece }, () => row)).subarray(0, row.length * Math.ceil(piece / row.length) * 16);
  wire.piece = piece;
  let settled = 0;
  let brought = 0;
  const most = piece < 4096 ? BYTES / 50 : BYTES;
  for (; brought < most; brought += rows.length) {
    wire.target(rows);
    const seen = wire.seen();
    if (seen.length === 0 || seen.includes(SECRET) || wire.closed) throw new Error(`after ${brought} bytes`);
    if (!settled && brought > most / 3) settled = vm.host.memoryBytes;
  }
  wire.piece = 0;
  wire.target(Buffer.concat([back.complete(`SELECT ${brought / row.length}`), back.ready()]));
  expect(vm.finished.at(-1)).toMatchObject({ outcome: 'complete', rows: brought / row.length });
  expect(vm.host.memoryBytes).toBe(settled);
  expect(vm.host.memoryBytes).toBeLessThan(4 << 20);
});
