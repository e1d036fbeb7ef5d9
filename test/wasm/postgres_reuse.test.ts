import { describe, expect, test } from 'vitest';
import type { GrpcCall } from '../host/wasm_host.ts';
import { Vm, type Wire } from './postgres_host.fixture.ts';
import { AGE, allow, answer, COLUMNS, connected, GREETING, logIn, PLAN, SECRET, session } from './postgres_session.fixture.ts';
import { back, front, startup, words } from './postgres_wire.fixture.ts';

const judgements = (wire: Wire): number => wire.vm.asked.filter((question) => question.method === 'Judge' && question.open).length;

/** Judged, run to its end. */
function judged(wire: Wire, text: string, reuse: 'TEXT' | 'SHAPE' | 'REUSE_UNSPECIFIED' = 'SHAPE', more = {}): void {
  wire.client(front.query(text));
  expect(judgements(wire), text).toBe(1);
  allow(wire, PLAN, { reuse, ...more });
  ran(wire, text);
}

function ran(wire: Wire, text: string): void {
  expect(words(wire.got())).toEqual([`Q ${text}`]);
  wire.target(Buffer.concat([back.columns(COLUMNS[1] as never), back.row(SECRET), back.complete('SELECT 1'), back.ready()]));
  expect(wire.seen().toString('latin1')).not.toContain(SECRET);
}

/** Whether a text passes without a question. */
function passes(wire: Wire, text: string, more = {}): boolean {
  wire.client(front.query(text));
  if (judgements(wire) === 0) {
    ran(wire, text);
    return true;
  }
  expect(wire.got().length).toBe(0);
  allow(wire, PLAN, more);
  ran(wire, text);
  return false;
}

const FIRST = 'SELECT ssn FROM customers WHERE id = 4711';

describe('a text that was judged', () => {
  test.each([
    ['another number', 'SELECT ssn FROM customers WHERE id = 7'],
    ['the same', FIRST],
    ['nine digits', 'SELECT ssn FROM customers WHERE id = 999999999'],
    ['zeros in front', 'SELECT ssn FROM customers WHERE id = 007'],
  ])('lets another of its shape pass: %s', (_, text) => {
    const wire = session();
    judged(wire, FIRST);
    expect(passes(wire, text)).toBe(true);
  });

  test.each([
    ['ten digits', 'SELECT ssn FROM customers WHERE id = 1234567890'],
    ['a sign', 'SELECT ssn FROM customers WHERE id = -7'],
    ['a fraction', 'SELECT ssn FROM customers WHERE id = 7.5'],
    ['an exponent', 'SELECT ssn FROM customers WHERE id = 7e5'],
    ['hexadecimal', 'SELECT ssn FROM customers WHERE id = 0x7'],
    ['an underscore', 'SELECT ssn FROM customers WHERE id = 4_711'],
    ['a string', "SELECT ssn FROM customers WHERE id = '7'"],
    ['a cast', 'SELECT ssn FROM customers WHERE id = 7::text'],
    ['a parameter', 'SELECT ssn FROM customers WHERE id = $1'],
    ['an expression', 'SELECT ssn FROM customers WHERE id = 7 + 1'],
    ['another operator', 'SELECT ssn FROM customers WHERE id > 7'],
    ['an operator of somebody’s', 'SELECT ssn FROM customers WHERE id *= 7'],
    ['a name for a number', 'SELECT ssn FROM customers WHERE id = id'],
    ['a number in a name', 'SELECT ssn FROM customers7 WHERE id = 4711'],
    ['a comment behind', 'SELECT ssn FROM customers WHERE id = 7--'],
    ['a comment within', 'SELECT ssn FROM customers WHERE id = /* */7'],
    ['a second statement', 'SELECT ssn FROM customers WHERE id = 7; DROP TABLE customers'],
    ['an end', 'SELECT ssn FROM customers WHERE id = 7;'],
    ['more', 'SELECT ssn FROM customers WHERE id = 7 OR id = 8'],
    ['other spaces', 'SELECT ssn FROM customers WHERE id  = 4711'],
    ['other letters', 'select ssn FROM customers WHERE id = 4711'],
    ['the mark itself', 'SELECT ssn FROM customers WHERE id = \u0001'],
    ['letters beyond ASCII', 'SELECT ssn FROM customers WHERE id = ７'],
    ['a space beyond ASCII', 'SELECT ssn FROM customers WHERE id =\u00a07'],
    ['a quoted name', 'SELECT "ssn" FROM customers WHERE id = 4711'],
    ['nothing', ''],
  ])('does not let another pass that differs in more: %s', (_, text) => {
    const wire = session();
    judged(wire, FIRST);
    expect(passes(wire, text)).toBe(false);
  });

  test.each([
    [
      'what a list is ordered by',
      'SELECT ssn, id FROM customers WHERE id = 5 ORDER BY 1',
      'SELECT ssn, id FROM customers WHERE id = 5 ORDER BY 2',
    ],
    ['what it is grouped by', 'SELECT id FROM customers WHERE id = 5 GROUP BY 1', 'SELECT id FROM customers WHERE id = 5 GROUP BY 2'],
    ['a limit', 'SELECT id FROM customers WHERE id = 5 LIMIT 1', 'SELECT id FROM customers WHERE id = 5 LIMIT 2'],
    ['an argument', 'SELECT substr(ssn, 1) FROM customers WHERE id = 5', 'SELECT substr(ssn, 2) FROM customers WHERE id = 5'],
    ['a named argument', 'SELECT f(a => 1) FROM customers WHERE id = 5', 'SELECT f(a => 2) FROM customers WHERE id = 5'],
    ['a result', 'SELECT 1, id FROM customers WHERE id = 5', 'SELECT 2, id FROM customers WHERE id = 5'],
    ['a list', 'SELECT id FROM customers WHERE id IN (1, 2) AND id = 5', 'SELECT id FROM customers WHERE id IN (1, 3) AND id = 5'],
    ['a number in quotes', 'SELECT "a = 1 " FROM customers WHERE id = 5', 'SELECT "a = 2 " FROM customers WHERE id = 5'],
    ['quotes of another name', 'SELECT "a"" = 1 " FROM customers WHERE id = 5', 'SELECT "a"" = 2 " FROM customers WHERE id = 5'],
  ])('keeps numbers that mean more than a value: %s', (_, text, other) => {
    const wire = session();
    judged(wire, text);
    expect(passes(wire, other)).toBe(false);
    expect(passes(wire, text.replaceAll('id = 5', 'id = 6'))).toBe(true);
  });

  test.each(['=', '<', '>', '<=', '>=', '<>', '!='])('is compared by %s', (operator) => {
    const wire = session();
    judged(wire, `SELECT ssn FROM customers WHERE (id ${operator}1) and "a b" ${operator} 2;`);
    expect(passes(wire, `SELECT ssn FROM customers WHERE (id ${operator}33) and "a b" ${operator} 4;`)).toBe(true);
  });

  test('that is good for itself alone lets none but itself pass, whatever is in it', () => {
    const wire = session();
    judged(wire, FIRST, 'TEXT');
    expect(passes(wire, FIRST)).toBe(true);
    expect(passes(wire, 'SELECT ssn FROM customers WHERE id = 7')).toBe(false);
    const unusual = "SELECT ssn FROM customers WHERE name = E'\\'' /* é */";
    judged(wire, unusual, 'SHAPE');
    expect(passes(wire, unusual)).toBe(true);
    expect(passes(wire, unusual.replace('é', 'è'))).toBe(false);
  });

  test('of which the service says nothing is judged each time', () => {
    const wire = session();
    judged(wire, FIRST, 'REUSE_UNSPECIFIED');
    expect(passes(wire, FIRST)).toBe(false);
  });

  test('is nothing to another session', () => {
    const vm = new Vm();
    judged(logIn(connected(0, vm)), FIRST);
    expect(passes(logIn(connected(0, vm)), FIRST)).toBe(false);
  });

  test('that was denied, or held and allowed, is judged again', () => {
    const wire = session();
    judged(wire, FIRST);
    wire.client(front.query('SELECT ssn FROM customers'));
    answer(wire, 'Judge', { command: 7, held: { approval: 'apr-1', message: 'waits', hint: '' } });
    answer(wire, 'Await', { command: 7, allowed: { plan: PLAN, policy_revision: 'r1' } });
    wire.got();
    wire.target(
      Buffer.concat([back.closeComplete, back.columns(COLUMNS[1] as never), back.row(SECRET), back.complete('SELECT 1'), back.ready()]),
    );
    expect(passes(wire, 'SELECT ssn FROM customers')).toBe(false);
  });

  test('is judged again after a command that unsettles what texts mean', () => {
    const wire = session();
    judged(wire, FIRST);
    wire.client(front.query('ALTER TABLE customers RENAME TO c'));
    allow(wire, {}, { each_execution: true, unsettles: true });
    wire.got();
    wire.target(Buffer.concat([back.complete('ALTER TABLE'), back.ready()]));
    expect(passes(wire, FIRST)).toBe(false);
    // One that says both is not kept either.
    judged(wire, FIRST, 'SHAPE', { unsettles: true });
    expect(passes(wire, FIRST)).toBe(false);
  });

  test('is judged again under another policy', () => {
    const wire = session();
    judged(wire, FIRST);
    judged(wire, 'SELECT 1', 'TEXT', { policy_revision: 'r2' });
    expect(passes(wire, FIRST)).toBe(false);
    // As `allow` says r1 again, so is the other.
    expect(passes(wire, 'SELECT 1')).toBe(false);
  });

  test('is let go when many others were judged since', () => {
    const wire = session();
    for (let i = 0; i <= 32; i++) judged(wire, `SELECT c${i} FROM customers WHERE id = 1`);
    expect(passes(wire, 'SELECT c32 FROM customers WHERE id = 2')).toBe(true);
    expect(passes(wire, 'SELECT c1 FROM customers WHERE id = 2')).toBe(true);
    expect(passes(wire, 'SELECT c0 FROM customers WHERE id = 2')).toBe(false);
  });

  test('a long one has no shape, and a very long one is judged each time', () => {
    const wire = session();
    const names = (bytes: number): string => `SELECT ${'a'.repeat(bytes)} FROM customers WHERE id = 1`;
    judged(wire, names(2_100));
    expect(passes(wire, names(2_100))).toBe(true);
    expect(passes(wire, names(2_100).replace('= 1', '= 2'))).toBe(false);
    judged(wire, names(5_000));
    expect(passes(wire, names(5_000))).toBe(false);
  });
});

describe('what passes by an earlier judgement', () => {
  test('is judged anew after a change, and when the service is not heard of', () => {
    const vm = new Vm();
    const questions: GrpcCall[] = [];
    vm.generationAsked = (call) => questions.push(call);
    const tell = (generation: number): void => {
      void vm.asked;
      vm.answer({ method: 'Generation', call: questions.shift() as GrpcCall, request: {}, open: true }, { generation, lease_ms: 6_000 });
    };
    const wire = logIn(connected(0, vm));
    tell(5);
    judged(wire, FIRST, 'SHAPE', { generation: 5 });
    expect(passes(wire, FIRST)).toBe(true);
    tell(6);
    expect(passes(wire, FIRST, { generation: 6 })).toBe(false);
    judged(wire, FIRST, 'SHAPE', { generation: 6 });
    vm.sink.run(6_100);
    expect(passes(wire, FIRST, { generation: 6 })).toBe(false);
  });

  test('ends with the token', () => {
    const vm = new Vm();
    const expiring = vm.connect();
    expiring.client(startup({ user: 'agent', database: 'ledger' }));
    expiring.target(Buffer.from('N'));
    expiring.client(front.password('token'));
    answer(expiring, 'Open', { session: 'ses-1', greeting: GREETING, valid_ms: 60_000 });
    expiring.target(Buffer.concat([back.authentication(0), back.parameter('client_encoding', 'UTF8'), back.key(7, 8), back.ready()]));
    answer(expiring, 'Ready', {});
    expiring.target(back.ready());
    expiring.got();
    expiring.seen();
    judged(expiring, FIRST);
    expect(passes(expiring, FIRST)).toBe(true);
    vm.sink.run(60_100);
    expect(passes(expiring, FIRST)).toBe(false);
  });

  test('is told to the record, with its text where it is another', () => {
    const wire = session();
    judged(wire, FIRST);
    const [{ command } = { command: 0 }] = wire.vm.finished;
    expect(passes(wire, 'SELECT ssn FROM customers WHERE id = 8')).toBe(true);
    judged(wire, 'SELECT 1', 'TEXT');
    expect(passes(wire, 'SELECT 1')).toBe(true);
    expect(wire.vm.finished).toMatchObject([
      { command, rows: 1, masked: [{ rule: 'customers.ssn', count: 1 }] },
      { command, rows: 1, statement: 'SELECT ssn FROM customers WHERE id = 8', masked: [{ rule: 'customers.ssn', count: 1 }] },
      { command: command + 1 },
      { command: command + 1 },
    ]);
    expect(wire.vm.finished.map((event) => 'statement' in event)).toEqual([false, true, false, false]);
  });

  test('waits when the record lags, and is refused when it goes on to', () => {
    const vm = new Vm({ lagMs: 500 });
    const wire = logIn(connected(0, vm));
    judged(wire, FIRST);
    vm.sink.run(50);
    vm.sink.acknowledges = false;
    expect(passes(wire, FIRST)).toBe(true);
    vm.sink.run(600);
    wire.client(front.query(FIRST));
    expect(wire.got().length).toBe(0);
    vm.sink.acknowledges = true;
    vm.sink.acknowledge(vm.host.grpcStream as never, vm.sink.last);
    vm.sink.run(100);
    ran(wire, FIRST);
    vm.sink.run(50);
    vm.sink.acknowledges = false;
    expect(passes(wire, FIRST)).toBe(true);
    vm.sink.run(600);
    wire.client(front.query(FIRST));
    vm.sink.run(2_500);
    expect(words(wire.got()).join()).toMatch(/^Q refused by the gateway/);
  });

  test('gives back the room that was kept for its text', () => {
    const vm = new Vm({ queueBytes: 16_384 });
    const wire = logIn(connected(0, vm));
    const text = (id: number): string => `SELECT ${'a'.repeat(1_900)} FROM customers WHERE id = ${id}`;
    judged(wire, text(0));
    for (let id = 1; id < 50; id++) {
      expect(passes(wire, text(id))).toBe(true);
      vm.sink.run(50);
    }
  });

  test('a prepared text is one of them too, and tells its own text with each run', () => {
    const wire = session();
    judged(wire, FIRST);
    const other = 'SELECT ssn FROM customers WHERE id = 12';
    for (let i = 0; i < 2; i++) {
      wire.client(Buffer.concat([front.parse('', other), front.bind('', ''), front.describe('P', ''), front.execute(''), front.sync]));
      expect(judgements(wire)).toBe(0);
      expect(words(wire.got())).toHaveLength(5);
      wire.target(Buffer.concat([back.parseComplete, back.bindComplete, back.columns(COLUMNS[1] as never), back.row(SECRET)]));
      wire.target(Buffer.concat([back.complete('SELECT 1'), back.ready()]));
      expect(wire.seen().toString('latin1')).not.toContain(SECRET);
    }
    expect(wire.vm.finished.slice(1)).toMatchObject([{ statement: other }, { statement: other }]);
  });

  test('what was prepared lets a query of its text pass', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('', FIRST), front.sync]));
    allow(wire, PLAN, { reuse: 'SHAPE' });
    wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    wire.got();
    expect(passes(wire, 'SELECT ssn FROM customers WHERE id = 1')).toBe(true);
  });
});

describe('a record that lags', () => {
  /** A session with the prepared statement `s`, and in its transaction the portal `p`, whose record is behind. */
  function lagging(eachExecution: boolean): Wire {
    const wire = logIn(connected(0, new Vm({ lagMs: 500 })));
    wire.client(Buffer.concat([front.parse('s', 'update t set a = $1'), front.sync]));
    allow(wire, {}, { each_execution: eachExecution });
    wire.target(Buffer.concat([back.parseComplete, back.ready('T')]));
    const bind = Buffer.concat([front.bind('p', 's', ['1']), front.sync]);
    wire.client(bind);
    if (eachExecution) allow(wire, {}, { each_execution: true });
    wire.target(Buffer.concat([back.bindComplete, back.ready('T')]));
    wire.vm.sink.run(50);
    wire.vm.sink.acknowledges = false;
    wire.client(Buffer.concat([front.execute('p'), front.sync]));
    wire.target(Buffer.concat([back.noData, back.complete('UPDATE 1'), back.ready('T')]));
    expect(words(wire.got()).slice(-3)).toEqual(['Describe Pp', 'Execute p', 'S']);
    wire.seen();
    wire.vm.sink.run(600);
    return wire;
  }
  const REFUSED = 'refused by the gateway: not the statement that the client sent';
  const MESSAGES = [
    ['Query', false, front.query('SELECT 2'), `Q ${REFUSED}`],
    ['Parse', false, front.parse('t', 'SELECT 2'), `P _sluice·${REFUSED}`],
    ['Bind that is judged each time', true, front.bind('', 's', ['1']), `P _sluice·${REFUSED}`],
    ['Execute', false, front.execute('p'), `P _sluice·${REFUSED}`],
  ] as const;

  test.each(MESSAGES)('keeps a %s waiting, and none of it passes before the record has caught up', (name, each, bytes) => {
    const wire = lagging(each);
    wire.client(bytes);
    wire.vm.sink.run(1_000);
    expect([wire.got().length, judgements(wire)]).toEqual([0, 0]);
    wire.vm.sink.acknowledges = true;
    wire.vm.sink.acknowledge(wire.vm.host.grpcStream as never, wire.vm.sink.last);
    wire.vm.sink.run(100);
    expect(judgements(wire)).toBe(name === 'Execute' ? 0 : 1);
    if (name !== 'Execute') allow(wire, {});
    expect(wire.got()).toEqual(bytes);
  });

  test.each(MESSAGES)('refuses a %s when it goes on to, and neither runs it nor asks for it', (name, each, bytes, passed) => {
    const wire = lagging(each);
    wire.client(bytes);
    wire.vm.sink.run(2_500);
    expect(judgements(wire)).toBe(0);
    expect(words(wire.got())).toEqual([passed]);
    if (name !== 'Query') wire.client(front.sync);
    wire.target(Buffer.concat([back.error({ C: '42601', M: 'syntax error' }), back.ready('E')]));
    expect(words(wire.seen())).toEqual(['E{S:ERROR | C:58000 | M:commands cannot be recorded now, and so do not run}', 'Z E']);
    expect(wire.vm.refused).toEqual(['58000']);
  });
});

test('an answer of a reuse that is not known is none', () => {
  const wire = session();
  wire.client(front.query(FIRST));
  allow(wire, PLAN, { reuse: 3 });
  expect(words(wire.got()).join()).toMatch(/^Q refused by the gateway/);
});

describe('which columns are sensitive', () => {
  const ID = Buffer.alloc(16, 7);
  const NAMED = { ...PLAN, origins_id: ID };
  const { origins: _, ...UNGIVEN } = NAMED;
  const asks = (wire: Wire, text: string): Buffer => {
    wire.client(front.query(text));
    const question = wire.vm.asked.find(({ open, method }) => open && method === 'Judge');
    return Buffer.from((question?.request.known_origins as Uint8Array) ?? []);
  };

  test('is told once', () => {
    const wire = session();
    expect(asks(wire, 'SELECT ssn FROM customers').length).toBe(0);
    allow(wire, NAMED);
    ran(wire, 'SELECT ssn FROM customers');
    for (const text of ['SELECT ssn FROM customers -- 2', 'SELECT ssn FROM customers -- 3']) {
      expect(asks(wire, text)).toEqual(ID);
      allow(wire, UNGIVEN);
      ran(wire, text);
    }
  });

  test('is shared by the sessions of a VM', () => {
    const vm = new Vm();
    const first = logIn(connected(0, vm));
    asks(first, 'SELECT ssn FROM customers');
    allow(first, NAMED);
    ran(first, 'SELECT ssn FROM customers');
    const second = logIn(connected(0, vm));
    expect(asks(second, 'SELECT ssn FROM customers')).toEqual(ID);
    allow(second, UNGIVEN);
    ran(second, 'SELECT ssn FROM customers');
  });

  test('when it is named and was never told, nothing passes', () => {
    const wire = session();
    asks(wire, 'SELECT ssn FROM customers');
    allow(wire, UNGIVEN);
    expect(words(wire.got()).join()).not.toContain('customers');
    expect(asks(wire, 'SELECT 1').length).toBe(0);
  });

  test('is what the last answer said, under another name too', () => {
    const wire = session();
    asks(wire, 'SELECT ssn FROM customers');
    allow(wire, NAMED);
    ran(wire, 'SELECT ssn FROM customers');
    expect(asks(wire, 'SELECT ssn FROM customers -- 2')).toEqual(ID);
    const other = Buffer.alloc(16, 8);
    allow(wire, { ...PLAN, origins: [{ table: 100, attribute: 1, rule: AGE }], unproven: undefined, origins_id: other });
    wire.got();
    wire.target(Buffer.concat([back.columns(COLUMNS[1] as never), back.row(SECRET), back.complete('SELECT 1'), back.ready()]));
    expect(wire.seen().toString('latin1')).toContain(SECRET);
    expect(asks(wire, 'SELECT ssn FROM customers -- 3')).toEqual(other);
    // The name that it said before is one that it does not say any more.
    allow(wire, UNGIVEN);
    expect(words(wire.got()).join()).not.toContain('customers');
  });
});

describe('a read that runs by an earlier judgement', () => {
  const REST = Buffer.concat([back.columns(COLUMNS[1] as never), back.row(SECRET), back.complete('SELECT 1'), back.ready()]);
  test('is told of while it runs, once, with its text, when it takes long', () => {
    const wire = session();
    judged(wire, FIRST);
    const text = 'SELECT ssn FROM customers WHERE id = 8';
    wire.client(front.query(text));
    wire.vm.sink.run(200);
    const running = wire.vm.sink.events.filter(({ notice }) => notice?.kind === 'statement-running');
    const [first] = wire.vm.finished;
    expect(running.map(({ notice, command }) => [notice?.text, command])).toEqual([[text, first?.command]]);
    wire.target(REST);
    wire.vm.sink.run(50);
    const ends = wire.vm.finished.map(({ statement = '' }) => statement);
    expect(ends).toEqual(['', text]);
  });

  test('is told of by its end alone when it ends soon, and so is one that was judged itself', () => {
    const wire = session();
    wire.client(front.query(FIRST));
    allow(wire, PLAN, { reuse: 'SHAPE' });
    wire.vm.sink.run(300);
    wire.target(REST);
    wire.client(front.query('SELECT ssn FROM customers WHERE id = 8'));
    wire.target(REST);
    wire.vm.sink.run(300);
    expect(wire.vm.sink.events.filter(({ notice }) => notice?.kind === 'statement-running')).toEqual([]);
  });
});

test('where the tap is not required, the end of a session waits for the notice of what was dropped', () => {
  const vm = new Vm({ tapRequire: false, queueBytes: 16_384 });
  const wire = logIn(connected(0, vm));
  vm.sink.acknowledges = false;
  for (let id = 0; id < 200; id++) judged(wire, `SELECT ssn FROM customers WHERE id = ${id}`, 'REUSE_UNSPECIFIED');
  expect(vm.host.metrics.get('sluice_tap_dropped')).toBeGreaterThan(0);
  wire.end();
  const next = Number(vm.asked.findLast(({ method }) => method === 'Close')?.request?.next_sequence);
  vm.sink.acknowledges = true;
  vm.sink.run(60_000);
  expect(vm.sink.events.find(({ sequence }) => sequence === next - 1)?.notice?.kind).toBe('events-dropped');
  expect(vm.sink.last).toBe(next - 1);
});
