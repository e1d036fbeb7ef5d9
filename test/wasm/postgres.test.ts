import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Answer, Wire } from './postgres_host.fixture.ts';
import { AGE, allow, answer, CARD, COLUMNS, deny, EMAIL, open, PLAN, SECRET, SSN, session } from './postgres_session.fixture.ts';
import { back, front, message, words } from './postgres_wire.fixture.ts';

const FAILS = 'refused by the gateway: not the statement that the client sent';
const SYNTAX = back.error({ C: '42601', M: 'syntax error at or near "refused"', P: '1' });
const tokenOf = (value: string): string =>
  `tok_${createHmac('sha256', Buffer.alloc(32, 1)).update(value).digest('base64url').slice(0, 22)}`;

const got = (wire: Wire): string[] => words(wire.got());
const seen = (wire: Wire): string[] => words(wire.seen());
const asks = (wire: Wire, method = 'Judge'): number => wire.vm.asked.filter((asked) => asked.method === method && asked.open).length;

/** Sends a simple query that is allowed. */
function run(wire: Wire, sql: string, plan: Answer = PLAN): void {
  wire.got();
  wire.client(front.query(sql));
  allow(wire, plan);
  expect(wire.got()).toEqual(front.query(sql));
}

/** With another count of its columns. */
function changed(description: Buffer, count: number): Buffer {
  description.writeInt16BE(count, 5);
  return description;
}

describe('simple queries', () => {
  test('wait for their judgement, and pass as they came', () => {
    const wire = session();
    wire.client(front.query('select 1'));
    expect(wire.got().length).toBe(0);
    expect(open(wire, 'Judge').request).toMatchObject({ session: 'ses-1', text: Buffer.from('select 1') });
    allow(wire);
    expect(wire.got()).toEqual(front.query('select 1'));
    const replies = Buffer.concat([back.columns({ name: 'a' }), back.row('1'), back.complete('SELECT 1'), back.ready()]);
    wire.target(replies);
    expect(wire.seen()).toEqual(replies);
    expect(wire.vm.finished).toEqual([expect.objectContaining({ outcome: 'complete', tag: 'SELECT 1', rows: 1 })]);
  });

  test('are told as sent while the target is idle: no transaction is open, and nothing is owed', () => {
    const wire = session();
    const idle = (): unknown => {
      const told = open(wire, 'Judge').request.idle ?? false;
      allow(wire);
      return told;
    };
    const query = (...replies: Buffer[]): unknown => {
      wire.client(front.query('select 1'));
      const told = idle();
      wire.target(Buffer.concat([back.complete('SELECT 1'), ...replies]));
      return told;
    };
    expect([query(back.ready()), query(back.ready('T')), query(back.ready('I')), query()]).toEqual([true, true, false, true]);
    // The end of the last one is still owed.
    expect(query()).toBe(false);
    wire.target(back.ready());
    wire.target(Buffer.concat([back.complete('SELECT 1'), back.ready()]));
    expect(query(back.ready())).toBe(true);
    // A transaction of its own lasts until Sync, though all that was sent is answered.
    wire.client(front.parse('', 'select 1'));
    expect(idle()).toBe(true);
    wire.target(back.parseComplete);
    wire.client(front.parse('', 'select 2'));
    expect(idle()).toBe(false);
    wire.target(back.parseComplete);
    wire.client(front.sync);
    wire.target(back.ready());
    expect(query(back.ready())).toBe(true);
  });

  test('columns are masked by where they come from, whatever they are called', () => {
    const wire = session();
    run(wire, 'select * from customers');
    wire.target(back.columns({ ...COLUMNS[1], name: 'x' } as never, ...COLUMNS.slice(2), { name: 'substr' }));
    wire.seen();
    wire.target(back.row(SECRET, '4111111111111111', 'a@example.com', '41', SECRET));
    expect(seen(wire)).toEqual([`D[***********,************1111,${tokenOf('a@example.com')},null,***********]`]);
    wire.target(back.row(null, null, null, null, null));
    wire.target(Buffer.concat([back.complete('SELECT 2'), back.ready()]));
    expect(seen(wire)).toEqual(['D[null,null,null,null,null]', 'C SELECT 2', 'Z I']);
    expect(wire.vm.finished[0]).toMatchObject({ rows: 2, tag: 'SELECT 2' });
    expect(new Map(wire.vm.finished[0]?.masked?.map(({ rule, count }) => [rule, count]))).toEqual(
      new Map([
        [SSN.id, 2],
        [CARD.id, 1],
        [EMAIL.id, 1],
        [AGE.id, 1],
      ]),
    );
  });

  test('characters are counted, not bytes', () => {
    const wire = session();
    run(wire, 'select');
    wire.target(back.columns(COLUMNS[1] as never, COLUMNS[2] as never));
    wire.seen();
    wire.target(back.row('Zoë–é', 'ab–éøx'));
    expect(seen(wire)).toEqual(['D[*****,**–éøx]']);
    // Not UTF-8: byte by byte.
    wire.target(back.row(Buffer.from([0xff, 0xfe, 0x41]), null));
    expect(seen(wire)).toEqual(['D[***,null]']);
  });

  test('a row leaves when it arrives', () => {
    const wire = session();
    run(wire, 'select');
    wire.target(back.columns(COLUMNS[1] as never));
    wire.seen();
    wire.target(Buffer.concat([back.row(SECRET), back.row(SECRET).subarray(0, 9)]));
    expect(seen(wire)).toEqual(['D[***********]']);
  });

  test('clear positions pass without an origin, and positions mask in spite of one', () => {
    const wire = session();
    run(wire, 'select', { ...PLAN, clear_positions: [1], positions: [{ position: 2, rule: SSN }] });
    wire.target(
      back.columns({ name: 'a' }, { name: 'count' }, { name: 'v', table: 200, attribute: 1 }, { name: 'w', table: 200, attribute: 2 }),
    );
    wire.seen();
    wire.target(back.row('abc', '5', 'abc', 'def'));
    expect(seen(wire)).toEqual(['D[***,5,***,def]']);
  });

  test('a table without a column is its whole row, whose origin proves nothing', () => {
    const wire = session();
    run(wire, 'fetch all c', { unproven: AGE });
    wire.target(
      back.columns({ name: 'c', table: 100, attribute: 0, type: 16_387 }, { name: 'ctid', table: 100, attribute: 0xffff, type: 27 }),
    );
    wire.seen();
    wire.target(back.row(`(1,${SECRET})`, '(0,1)'));
    expect(seen(wire)).toEqual(['D[null,(0,1)]']);
  });

  test('types that are no texts become NULL, in both formats', () => {
    const wire = session();
    run(wire, 'select', { unproven: SSN });
    wire.target(back.columns({ name: 'a', type: 3802 }, { name: 'b', type: 23, format: 1 }, { name: 'c', type: 1043, format: 1 }));
    wire.seen();
    wire.target(back.row('{"a":1}', Buffer.from([0, 0, 0, 1]), 'abc'));
    expect(seen(wire)).toEqual(['D[null,null,***]']);
  });

  test('several statements in one string share their plan', () => {
    const wire = session();
    run(wire, 'select 1; select ssn from customers');
    wire.target(
      Buffer.concat([
        back.columns({ name: 'x', table: 200, attribute: 1 }),
        back.row('1'),
        back.complete('SELECT 1'),
        back.columns(COLUMNS[1] as never),
        back.row(SECRET),
        back.complete('SELECT 1'),
        back.ready(),
      ]),
    );
    expect(seen(wire)).toEqual(['T', 'D[1]', 'C SELECT 1', 'T', 'D[***********]', 'C SELECT 1', 'Z I']);
    expect(wire.vm.finished.length).toBe(1);
  });

  test('are judged one after the other, and run in order', () => {
    const wire = session();
    wire.client(Buffer.concat([front.query('a'), front.query('b'), front.query('c')]));
    expect(asks(wire)).toBe(1);
    allow(wire);
    expect(got(wire)).toEqual(['Q a']);
    deny(wire);
    expect(got(wire)).toEqual([`Q ${FAILS}`]);
    allow(wire);
    expect(got(wire)).toEqual(['Q c']);
    wire.target(Buffer.concat([back.complete('A'), back.ready(), SYNTAX, back.ready(), back.complete('C'), back.ready()]));
    expect(seen(wire)).toEqual(['C A', 'Z I', 'E{S:ERROR | C:42501 | M:denied by rule}', 'Z I', 'C C', 'Z I']);
    expect(wire.vm.finished.map(({ outcome }) => outcome)).toEqual(['complete', 'denied', 'complete']);
  });
});

describe('denials', () => {
  test('say the rule and the hint, and leave the transaction as the target has it', () => {
    const wire = session();
    wire.client(front.query('delete from customers'));
    deny(wire, 'no deletes', { detail: 'rule writes', hint: 'ask dba' });
    expect(got(wire)).toEqual([`Q ${FAILS}`]);
    wire.target(Buffer.concat([SYNTAX, back.ready('E')]));
    expect(seen(wire)).toEqual(['E{S:ERROR | C:42501 | M:no deletes | D:rule writes | H:ask dba}', 'Z E']);
    expect(wire.vm.finished).toEqual([expect.objectContaining({ outcome: 'denied', code: '42501' })]);
  });

  test.each([
    ['a service that is away', 14],
    ['an answer without a verdict', { command: 1 }],
    ['a plan with a rule that does nothing', { command: 1, allowed: { plan: { unproven: { id: 'x' } } } }],
    ['no plan', { command: 1, allowed: {} }],
    ['a hash without a key', { command: 1, allowed: { plan: { unproven: { id: 'x', method: 'HASH' } } } }],
  ])('%s denies', (_, response) => {
    const wire = session();
    wire.client(front.query('select 1'));
    answer(wire, 'Judge', response);
    expect(got(wire)).toEqual([`Q ${FAILS}`]);
    wire.target(Buffer.concat([SYNTAX, back.ready()]));
    expect(seen(wire)[0]).toMatch(/^E\{S:ERROR \| C:58000/);
  });

  test('a service that cannot be asked denies', () => {
    const wire = session();
    wire.vm.host.grpcAvailable = false;
    wire.client(front.query('select 1'));
    expect(got(wire)).toEqual([`Q ${FAILS}`]);
    wire.vm.host.grpcAvailable = true;
    wire.client(front.query('select 2'));
    allow(wire);
    expect(got(wire)).toEqual(['Q select 2']);
  });

  test('a statement past the limit is refused, and none of it passes', () => {
    const wire = session();
    wire.client(front.query('x'.repeat(1_048_571)));
    expect(wire.vm.asked.length).toBe(0);
    expect(got(wire)).toEqual([`Q ${FAILS}`]);
    wire.target(Buffer.concat([SYNTAX, back.ready()]));
    expect(seen(wire)[0]).toMatch(/C:54000/);
    wire.client(front.query('x'.repeat(1_048_570)));
    allow(wire);
    expect(wire.got().length).toBe(1_048_576);
  });

  test('a text that is not UTF-8 is refused', () => {
    const wire = session();
    wire.client(message('Q', Buffer.from([0x41, 0xff, 0])));
    wire.target(Buffer.concat([SYNTAX, back.ready()]));
    expect(seen(wire)[0]).toMatch(/C:22021/);
  });

  test('a function call is refused like a query', () => {
    const wire = session();
    wire.client(front.functionCall);
    expect(got(wire)).toEqual([`Q ${FAILS}`]);
    wire.target(Buffer.concat([SYNTAX, back.ready()]));
    expect(seen(wire)).toEqual([expect.stringMatching(/C:0A000/), 'Z I']);
  });

  test('a target that runs what must fail is cut off', () => {
    const wire = session();
    wire.client(front.query('x'));
    deny(wire);
    wire.target(back.complete('DELETE 1'));
    expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL/)]);
  });
});

describe('the extended protocol', () => {
  const prepared = (sql = 'select ssn from customers'): Buffer =>
    Buffer.concat([front.parse('', sql), front.bind('', ''), front.describe('P', ''), front.execute(''), front.sync]);
  const replies = Buffer.concat([
    back.parseComplete,
    back.bindComplete,
    back.columns(COLUMNS[1] as never),
    back.row(SECRET),
    back.complete('SELECT 1'),
    back.ready(),
  ]);

  test('judges the Parse, and passes the rest', () => {
    const wire = session();
    wire.client(prepared());
    expect(open(wire, 'Judge').request).toMatchObject({ prepare: true, text: Buffer.from('select ssn from customers') });
    allow(wire, PLAN);
    expect(wire.got()).toEqual(prepared());
    wire.target(replies);
    expect(seen(wire)).toEqual(['1', '2', 'T', 'D[***********]', 'C SELECT 1', 'Z I']);
    expect(asks(wire)).toBe(0);
  });

  test('describes the portal itself where the client does not', () => {
    const wire = session();
    wire.client(
      Buffer.concat([front.parse('s', 'select ssn'), front.describe('S', 's'), front.bind('', 's'), front.execute(''), front.sync]),
    );
    allow(wire, PLAN);
    expect(got(wire)).toEqual(['P s·select ssn', 'Describe Ss', 'B', 'Describe P', 'Execute ', 'S']);
    wire.target(
      Buffer.concat([
        back.parseComplete,
        back.parameters(),
        back.columns(COLUMNS[1] as never),
        back.bindComplete,
        back.columns(COLUMNS[1] as never),
        back.row(SECRET),
        back.complete('SELECT 1'),
        back.ready(),
      ]),
    );
    expect(seen(wire)).toEqual(['1', 't', 'T', '2', 'D[***********]', 'C SELECT 1', 'Z I']);
  });

  test.each([
    ['a row', back.row(SECRET)],
    ['one without all of its columns', changed(back.columns({ name: SECRET }), 2)],
    ['one with more columns', changed(back.columns({ name: 'a' }, { name: SECRET }), 1)],
    ['one with a format that there is not', back.columns({ name: 'a', table: 0x30373830, format: 0x3738 })],
  ])('of a statement or a cursor no description is shown that is %s', (_, bytes) => {
    bytes[0] = 'T'.charCodeAt(0);
    const wire = session();
    wire.client(Buffer.concat([front.parse('s', 'select ssn'), front.describe('S', 's'), front.sync]));
    allow(wire, PLAN);
    wire.target(Buffer.concat([back.parseComplete, back.parameters(), bytes]));
    expect(seen(wire)).toEqual(['1', 't', expect.stringMatching(/^E\{S:FATAL \| C:58000/)]);
    const other = session();
    other.client(Buffer.concat([front.describe('P', 'cursor'), front.sync]));
    other.target(bytes);
    expect(seen(other)).toEqual([expect.stringMatching(/^E\{S:FATAL \| C:58000/)]);
  });

  test('a prepared statement is judged once, until another policy decides', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('s', 'select 1'), front.sync]));
    allow(wire);
    wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    const again = Buffer.concat([front.bind('', 's'), front.describe('P', ''), front.execute(''), front.sync]);
    for (let i = 0; i < 3; i++) {
      wire.client(again);
      wire.target(Buffer.concat([back.bindComplete, back.noData, back.complete('X'), back.ready()]));
    }
    expect(wire.vm.asked.length).toBe(1);
    wire.client(front.query('select 2'));
    allow(wire, {}, { policy_revision: 'r2' });
    wire.target(Buffer.concat([back.complete('X'), back.ready()]));
    wire.client(again);
    expect(open(wire, 'Judge').request).toMatchObject({ text: Buffer.from('select 1'), name: 's' });
    deny(wire, 'no more', {});
    wire.got();
  });

  test('each portal is masked by the plan of its own statement, in whatever order they run', () => {
    const wire = session();
    const ssn = back.columns(COLUMNS[1] as never);
    for (const [name, plan] of [
      ['', {}],
      ['masked', PLAN],
      ['clear', {}],
    ] as const) {
      wire.client(Buffer.concat([front.parse(name, `select ssn as "${name}"`), front.sync]));
      allow(wire, plan);
      wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    }
    const names = ['clear', 'masked', '', 'masked', 'clear'];
    const bound = names.map((name, portal) => front.bind(`p${portal}`, name));
    // All are bound first, and then run the other way round.
    wire.client(Buffer.concat([...bound, ...names.map((_, portal) => front.execute(`p${portal}`)).reverse(), front.sync]));
    seen(wire);
    wire.target(Buffer.concat(names.map(() => back.bindComplete)));
    for (const _ of names) wire.target(Buffer.concat([ssn, back.row(SECRET), back.complete('SELECT 1')]));
    wire.target(back.ready());
    const rows = seen(wire).filter((message) => message.startsWith('D['));
    expect(rows).toEqual([SECRET, '***********', SECRET, '***********', SECRET].map((value) => `D[${value}]`));
  });

  test('each execution is judged with its values where the verdict says so', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('s', 'update t set a = $1', [25]), front.sync]));
    allow(wire, {}, { each_execution: true });
    wire.got();
    wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    const bound = front.bind('', 's', ['x', null, 'z'], [0, 0, 1]);
    wire.client(bound);
    expect(open(wire, 'Judge').request).toMatchObject({
      text: Buffer.from('update t set a = $1'),
      parameters: [{ value: Buffer.from('x') }, { null: true }, { binary: true, value: Buffer.from('z') }],
      parameter_types: [25],
      name: 's',
    });
    expect(wire.got().length).toBe(0);
    deny(wire, 'not x');
    expect(got(wire)).toEqual([`P _sluice·${FAILS}`]);
    wire.client(front.sync);
    wire.target(Buffer.concat([SYNTAX, back.ready()]));
    expect(seen(wire).slice(-2)).toEqual(['E{S:ERROR | C:42501 | M:not x}', 'Z I']);
  });

  test('a denied Parse fails in the target too, which skips up to Sync', () => {
    const wire = session();
    wire.client(prepared('drop table customers'));
    deny(wire);
    expect(got(wire)[0]).toBe(`P _sluice·${FAILS}`);
    wire.target(SYNTAX);
    wire.target(back.ready('E'));
    expect(seen(wire)).toEqual(['E{S:ERROR | C:42501 | M:denied by rule}', 'Z E']);
  });

  test('after an error nothing is judged, or sent, up to Sync', () => {
    const wire = session();
    wire.client(front.parse('', 'select 1'));
    allow(wire);
    wire.target(back.error({ C: '42P01', M: 'no table' }));
    wire.got();
    wire.client(Buffer.concat([front.parse('a', 'drop table x'), front.query('drop table y'), front.bind('', 'zz')]));
    expect(asks(wire)).toBe(0);
    expect(wire.got().length).toBe(0);
    wire.client(front.sync);
    expect(got(wire)).toEqual(['S']);
    wire.target(back.ready());
    expect(seen(wire).at(-1)).toBe('Z I');
    wire.client(front.query('select 2'));
    expect(asks(wire)).toBe(1);
  });

  test.each([
    ['is being judged', (wire: Wire) => expect(asks(wire)).toBe(1)],
    ['is held', (wire: Wire) => answer(wire, 'Judge', { command: 9, held: { approval: 'apr-1', message: 'waits', hint: '' } })],
  ])('what %s when an error comes is given up, and its verdict is good for nothing that follows', (_, go) => {
    const wire = session();
    wire.client(front.parse('', 'select 1'));
    allow(wire);
    wire.client(Buffer.concat([front.parse('a', 'select 2'), front.sync, front.query('drop table y')]));
    go(wire);
    wire.got();
    wire.target(back.error({ C: '42P01', M: 'no table' }));
    expect(wire.vm.asked.filter(({ request }) => String(request.text) === 'select 2').map((asked) => asked.open)).toEqual([false]);
    expect(asks(wire, 'Await')).toBe(0);
    expect(got(wire)).toEqual(['S']);
    expect(open(wire, 'Judge').request).toMatchObject({ text: Buffer.from('drop table y') });
  });

  test('portals with a row limit', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('', 'select ssn'), front.bind('c', ''), front.execute('c', 1), front.sync]));
    allow(wire, PLAN);
    wire.target(
      Buffer.concat([
        back.parseComplete,
        back.bindComplete,
        back.columns(COLUMNS[1] as never),
        back.row(SECRET),
        back.suspended,
        back.ready('T'),
      ]),
    );
    expect(seen(wire)).toEqual(['1', '2', 'D[***********]', 's', 'Z T']);
    wire.got();
    wire.client(Buffer.concat([front.execute('c', 1), front.sync]));
    expect(got(wire)).toEqual(['Execute c', 'S']);
    wire.target(Buffer.concat([back.row(SECRET), back.complete('SELECT 1'), back.ready('I')]));
    expect(seen(wire)).toEqual(['D[***********]', 'C SELECT 1', 'Z I']);
    // The transaction is over, and the portal with it.
    wire.client(Buffer.concat([front.execute('c', 1), front.sync]));
    expect(got(wire)[0]).toBe(`P _sluice·${FAILS}`);
  });

  test.each([
    ['an unknown statement', front.bind('', 'nope'), '26000'],
    ['an unknown portal', front.execute('nope'), '34000'],
    ['a reserved name of a portal, described', front.describe('P', '_sluice'), '42939'],
    ['a name longer than the target keeps', front.parse('n'.repeat(64), 'select 1'), '42622'],
    ['a reserved name', front.parse('_sluice', 'select 1'), '42939'],
    ['a long name in Bind', front.bind('p'.repeat(64), ''), '42622'],
    ['a statement past the limit', front.parse('', 'x'.repeat(1 << 20)), '54000'],
  ])('%s is refused in its place', (_, bytes, code) => {
    const wire = session();
    wire.client(Buffer.concat([bytes, front.sync]));
    expect(wire.vm.asked.length).toBe(0);
    expect(got(wire)).toEqual([`P _sluice·${FAILS}`, 'S']);
    wire.target(Buffer.concat([SYNTAX, back.ready()]));
    expect(seen(wire)).toEqual([expect.stringMatching(`C:${code}`), 'Z I']);
  });

  test('a cursor that SQL declared is described by the target, and executed by nobody', () => {
    const wire = session();
    wire.client(Buffer.concat([front.describe('P', 'cursor'), front.execute('cursor'), front.sync]));
    expect(wire.vm.asked.length).toBe(0);
    expect(got(wire)).toEqual(['Describe Pcursor', `P _sluice·${FAILS}`, 'S']);
    wire.target(Buffer.concat([back.columns(COLUMNS[1] as never), SYNTAX, back.ready()]));
    expect(seen(wire)).toEqual([expect.stringMatching(/^T/), expect.stringMatching('C:34000'), 'Z I']);
  });

  test('a big Bind passes in pieces when nothing rests on its values, and is refused when a verdict does', () => {
    const big = front.bind('', 's', ['v'.repeat(3 << 20)]);
    const wire = session(100_000);
    wire.client(Buffer.concat([front.parse('s', 'insert'), front.sync]));
    allow(wire);
    wire.got();
    wire.client(big);
    expect(wire.got().equals(big)).toBe(true);
    const other = session(100_000);
    other.client(Buffer.concat([front.parse('s', 'insert'), front.sync]));
    allow(other, {}, { each_execution: true });
    other.got();
    other.client(big);
    expect(got(other)).toEqual([`P _sluice·${FAILS}`]);
  });
});

describe('what the filter believes of the target', () => {
  const select = (name: string, sql: string): Buffer => front.parse(name, sql);

  test('a second statement of a name is refused before it can hide the first', () => {
    const wire = session();
    wire.client(Buffer.concat([select('a', 'select ssn'), front.sync]));
    allow(wire, PLAN);
    wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    wire.got();
    wire.client(Buffer.concat([select('a', 'select 1'), front.sync]));
    expect(got(wire)[0]).toBe(`P _sluice·${FAILS}`);
  });

  test('a statement whose Parse failed gives no plan to what the target has under its name', () => {
    const wire = session();
    // The target has another `a`, made by SQL: Parse fails, but what follows the Sync is bound to it.
    wire.client(Buffer.concat([select('a', 'select 1'), front.sync, front.bind('', 'a'), front.execute(''), front.sync]));
    allow(wire, {});
    wire.target(Buffer.concat([back.error({ C: '42P05', M: 'exists' }), back.ready()]));
    wire.seen();
    wire.target(back.bindComplete);
    expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL/)]);
  });

  test('a portal whose Bind was skipped gives no plan to the one before it', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('a', 'select ssn'), front.parse('b', 'select 1')]));
    allow(wire, PLAN);
    allow(wire, {});
    wire.client(Buffer.concat([front.bind('', 'a'), front.flush]));
    wire.target(Buffer.concat([back.parseComplete, back.parseComplete, back.bindComplete]));
    wire.client(Buffer.concat([front.describe('S', 'missing'), front.bind('', 'b'), front.execute(''), front.sync, front.execute('')]));
    wire.target(Buffer.concat([back.error({ C: '26000', M: 'x' }), back.ready('T')]));
    wire.seen();
    wire.target(back.columns(COLUMNS[1] as never));
    wire.target(back.row(SECRET));
    expect(wire.seen().toString()).not.toContain(SECRET);
  });

  test('SQL that deallocates and prepares makes every named statement unknown', () => {
    const wire = session();
    wire.client(Buffer.concat([select('a', 'select 1'), front.sync]));
    allow(wire, {});
    wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    run(wire, 'deallocate a; prepare a as select ssn from customers', {});
    wire.got();
    wire.target(Buffer.concat([back.complete('DEALLOCATE'), back.complete('PREPARE'), back.ready()]));
    wire.client(Buffer.concat([front.bind('', 'a'), front.execute(''), front.sync]));
    expect(got(wire)[0]).toBe(`P _sluice·${FAILS}`);
  });

  test('and cuts what was sent ahead', () => {
    const wire = session();
    wire.client(Buffer.concat([select('a', 'select 1'), front.sync]));
    allow(wire, {});
    wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    wire.seen();
    wire.client(Buffer.concat([front.query('deallocate a; prepare a as select ssn'), front.bind('', 'a'), front.execute(''), front.sync]));
    allow(wire, {});
    wire.target(Buffer.concat([back.complete('DEALLOCATE'), back.complete('PREPARE')]));
    expect(seen(wire).at(-1)).toMatch(/^E\{S:FATAL/);
    expect(wire.seen().toString()).not.toContain(SECRET);
  });

  test('what changed names and ended well is told with the next question', () => {
    const wire = session();
    const ended = (): readonly number[] => ((open(wire, 'Judge').request.ended ?? []) as unknown[]).map(Number);
    const sql = (text: string, ...replies: readonly Buffer[]): void => {
      wire.client(front.query(text));
      answer(wire, 'Judge', { command: text.length, allowed: { plan: {}, policy_revision: 'r1' } });
      wire.target(Buffer.concat([...replies, back.ready()]));
    };
    sql('prepare a', back.complete('PREPARE'));
    sql('prepare b failing', back.error({ C: '42P05', M: 'x' }));
    sql('deallocate a; prepare', back.complete('DEALLOCATE'), back.error({ C: '42P05', M: 'x' }));
    sql('select 1', back.complete('SELECT 1'));
    wire.client(front.query('next'));
    expect(ended()).toEqual([]);
    allow(wire, {});
    wire.target(Buffer.concat([back.complete('SELECT 1'), back.ready()]));
    sql('discard all', back.complete('DISCARD ALL'));
    wire.client(Buffer.concat([front.parse('s', 'select 1'), front.sync]));
    expect(ended()).toEqual(['discard all'.length]);
    allow(wire, {});
    wire.target(Buffer.concat([back.parseComplete, back.ready()]));
    sql('deallocate all', back.complete('DEALLOCATE ALL'));
    sql('prepare c', back.complete('PREPARE'));
    wire.client(Buffer.concat([front.parse('t', 'select 1'), front.sync]));
    expect(ended()).toEqual(['prepare c'.length]);
  });

  test('a name is told of though its text was judged before', () => {
    const wire = session();
    wire.client(front.query('select 1'));
    allow(wire, {}, { reuse: 'TEXT' });
    wire.target(Buffer.concat([back.complete('SELECT 1'), back.ready()]));
    wire.client(front.parse('', 'select 1'));
    expect(wire.vm.asked.filter((asked) => asked.open)).toEqual([]);
    wire.client(front.parse('s', 'select 1'));
    expect(open(wire, 'Judge').request).toMatchObject({ name: 's', prepare: true });
  });

  describe('what runs by a name is executed at once or not at all', () => {
    const bound = (piece = 0): Wire => {
      const wire = session(piece);
      wire.client(Buffer.concat([front.parse('', 'execute s'), front.parse('b', 'select 1'), front.sync]));
      allow(wire, {}, { each_execution: true, by_name: true });
      allow(wire, {});
      wire.target(Buffer.concat([back.parseComplete, back.parseComplete, back.ready('T')]));
      wire.client(front.bind('p', ''));
      allow(wire, {}, { each_execution: true, by_name: true });
      wire.got();
      return wire;
    };

    test.each([
      ['at once', []],
      ['after its description', [front.describe('P', 'p'), front.flush]],
      ['after its first rows', [front.execute('p', 1), front.bind('q', 'b'), front.execute('q')]],
    ])('%s', (_, between) => {
      const wire = bound();
      wire.client(Buffer.concat([...between, front.execute('p')]));
      expect(got(wire).at(-1)).toBe('Execute p');
    });

    test.each([
      ['another portal was bound', [front.bind('q', 'b')]],
      ['another portal ran', [front.bind('q', 'b'), front.execute('q')]],
      ['a statement was closed', [front.close('S', 's')]],
      ['a statement was prepared', [front.parse('s', 'select ssn')]],
    ])('after %s', (_, between) => {
      const wire = bound();
      wire.client(Buffer.concat(between));
      if (wire.vm.asked.some((asked) => asked.open && asked.method === 'Judge')) allow(wire, {});
      wire.client(Buffer.concat([front.execute('p'), front.sync]));
      expect(got(wire).at(-2)).toBe(`P _sluice·${FAILS}`);
    });
  });

  test('a cursor of SQL under the name of a portal is not executed by that name', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('', 'select 1'), front.bind('c', ''), front.sync]));
    allow(wire, {});
    wire.target(Buffer.concat([back.parseComplete, back.bindComplete, back.ready('T')]));
    run(wire, 'close c; declare c cursor for select ssn from customers', {});
    wire.target(Buffer.concat([back.complete('CLOSE CURSOR'), back.complete('DECLARE CURSOR'), back.ready('T')]));
    wire.client(Buffer.concat([front.execute('c'), front.sync]));
    expect(got(wire)[0]).toBe(`P _sluice·${FAILS}`);
  });

  test('texts stay what they were judged to be', () => {
    for (const [name, value] of [
      ['client_encoding', 'SJIS'],
      ['standard_conforming_strings', 'off'],
    ] as const) {
      const wire = session();
      run(wire, 'select set_config()', {});
      wire.target(back.parameter(name, value));
      expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL/)]);
    }
  });

  test.each([
    ['a row without its columns', back.row(SECRET)],
    ['an authentication message', back.authentication(0)],
    ['a reply that nobody waits for', back.bindComplete],
    ['an unknown message', message('y')],
    ['an impossible length', Buffer.from([0x43, 0, 0, 0, 3])],
    ['replication', message('W', Buffer.from([0, 0, 0]))],
    ['a malformed description', message('T', Buffer.from([0, 9]))],
    ['an error without its end', message('E', Buffer.from('SERROR\0C42601\0'))],
    ['a notice with a field without its end', message('N', Buffer.from('SNOTICE'))],
    ['an error whose code goes on', back.error({ C: `23505\x01M${SECRET}` })],
    ['an error whose code is none', back.error({ C: '2350-' })],
    ['a notice whose code is none', back.notice({ C: SECRET })],
    ['a description with a format that there is not', back.columns({ ...(COLUMNS[1] as object), name: 'ssn', format: 2 })],
  ])('%s cuts the session', (_, bytes) => {
    const wire = session();
    run(wire, 'select');
    wire.target(bytes);
    expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL \| C:58000/)]);
    wire.vm.host.advance(100);
    expect(wire.closed).toBe(true);
    wire.end();
    expect(wire.vm.asked.at(-1)).toMatchObject({ method: 'Close', request: { session: 'ses-1', outcome: 'cut' } });
    expect(wire.vm.finished).toEqual([expect.objectContaining({ outcome: 'cut' })]);
    // All that was told of the session comes before its end.
    expect(wire.vm.asked.at(-1)?.request).toMatchObject({ next_sequence: wire.vm.sink.last + 1 });
    expect(wire.vm.sink.last).toBeGreaterThan(0);
  });

  test.each([
    ['more fields than columns', back.row(SECRET, SECRET)],
    ['a field past its row', message('D', Buffer.from([0, 1, 0, 0, 0, 9, 65]))],
    ['bytes behind the last field', message('D', Buffer.concat([back.row('x').subarray(5), Buffer.from(SECRET)]))],
  ])('a row with %s is cut', (_, bytes) => {
    const wire = session();
    run(wire, 'select');
    wire.target(back.columns(COLUMNS[1] as never));
    wire.seen();
    wire.target(bytes);
    expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL/)]);
  });

  test.each([
    ['an unknown message', message('?')],
    ['an impossible length', Buffer.from([0x51, 0, 0, 0, 3])],
    ['a password', front.password('x')],
    ['a Query with two texts', message('Q', Buffer.from('a\0b\0'))],
    ['a Query without a text', message('Q')],
    ['a Query without its end', message('Q', Buffer.from('a'))],
    ['a malformed Parse', message('P', Buffer.from('a\0b\0\0\x02\0\0'))],
    ['a Sync with a body', message('S', Buffer.from('x'))],
    ['a Describe of a name without its end', message('D', Buffer.from('Sname'))],
    ['a Describe of neither a statement nor a portal', message('D', Buffer.from('Xname\0'))],
    ['an Execute without its count', message('E', Buffer.from('\0'))],
    ['a Bind of a name without its end', message('B', Buffer.from('portal'))],
  ])('%s of the client ends the session, after what is owed', (_, bytes) => {
    const wire = session();
    wire.client(bytes);
    expect(got(wire)).toEqual(['!']);
    wire.target(back.error({ S: 'FATAL', V: 'FATAL', C: '08P01', M: 'invalid frontend message type 33' }));
    expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL \| C:08P01/)]);
    expect(asks(wire)).toBe(0);
    wire.client(front.query('drop table x'));
    expect(wire.got().length).toBe(0);
  });
});

test.each([
  ['Parse', front.parse('n'.repeat(64), 'select 1')],
  ['Bind to a portal', front.bind('n'.repeat(64), '')],
  ['Bind of a statement', front.bind('', 'n'.repeat(64))],
  ['Describe', front.describe('S', 'n'.repeat(64))],
  ['Execute', front.execute('n'.repeat(64))],
])('a name that the target would cut is refused: %s', (_, bytes) => {
  const wire = session();
  wire.client(bytes);
  expect(got(wire)).toEqual([`P _sluice·${FAILS}`]);
  wire.target(SYNTAX);
  expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:ERROR \| C:42622/)]);
  expect(asks(wire)).toBe(0);
});

describe('holds', () => {
  const held = { command: 9, held: { approval: 'apr-1', message: 'waits for dba', hint: './sluice approve apr-1' } };

  test('the client is told, and the statement runs when it is approved', () => {
    const wire = session();
    wire.client(front.query('drop table x'));
    answer(wire, 'Judge', held);
    expect(got(wire)).toEqual(['C S_sluice', 'H']);
    wire.target(back.closeComplete);
    expect(seen(wire)).toEqual(['N{S:NOTICE | C:00000 | M:waits for dba | H:./sluice approve apr-1}']);
    expect(open(wire, 'Await').request).toMatchObject({ session: 'ses-1', approval: 'apr-1' });
    wire.vm.host.advance(60_000);
    expect(wire.got().length).toBe(0);
    answer(wire, 'Await', { command: 9, allowed: { plan: {}, policy_revision: 'r1' } });
    expect(got(wire)).toEqual(['Q drop table x']);
    wire.target(Buffer.concat([back.complete('DROP TABLE'), back.ready()]));
    expect(seen(wire)).toEqual(['C DROP TABLE', 'Z I']);
  });

  test.each([
    [{ command: 9, refused: { kind: 'DENIED', message: 'no' } }, '42501'],
    [{ command: 9, refused: { kind: 'CANCELLED', message: 'cancelled' } }, '57014'],
    [14, '58000'],
    [held, '58000'],
  ])('ends with %j as %s', (response, code) => {
    const wire = session();
    wire.client(front.parse('', 'drop table x'));
    answer(wire, 'Judge', held);
    wire.target(back.closeComplete);
    wire.seen();
    answer(wire, 'Await', response);
    wire.target(SYNTAX);
    expect(seen(wire)).toEqual([expect.stringMatching(`C:${code}`)]);
  });

  test('a client that goes away gives the hold up, and nothing runs', () => {
    for (const half of [true, false]) {
      const wire = session();
      wire.client(front.query('drop table x'));
      answer(wire, 'Judge', held);
      const hold = open(wire, 'Await');
      if (half) wire.client(front.terminate, true);
      wire.end();
      expect(hold.open).toBe(false);
      expect(got(wire)).toEqual(['C S_sluice', 'H']);
      expect(wire.vm.asked.at(-1)).toMatchObject({ method: 'Close', request: { outcome: 'cancelled' } });
    }
  });

  test('what follows waits in order', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('', 'x'), front.bind('', ''), front.execute(''), front.sync]));
    answer(wire, 'Judge', held);
    wire.got();
    wire.target(back.closeComplete);
    expect(wire.got().length).toBe(0);
    answer(wire, 'Await', { command: 9, allowed: { plan: {}, policy_revision: 'r1' } });
    expect(got(wire)).toEqual(['P ·x', 'B', 'Describe P', 'Execute ', 'S']);
  });
});

describe('texts of the target', () => {
  const leak = {
    C: '23505',
    M: `duplicate ${SECRET}`,
    D: `Key (ssn)=(${SECRET})`,
    H: SECRET,
    W: SECRET,
    s: 'public',
    t: 'customers',
    n: 'customers_pkey',
  };

  test('are withheld where the plan says so, and codes and names stay', () => {
    const wire = session();
    run(wire, 'insert');
    wire.target(Buffer.concat([back.notice({ C: '01000', M: SECRET }), back.error(leak), back.ready()]));
    const bytes = wire.seen();
    expect(bytes.toString()).not.toContain(SECRET);
    expect(words(bytes)[1]).toMatch(/^E\{S:ERROR \| C:23505 \| M:the text .* \| s:public \| t:customers \| n:customers_pkey\}$/);
    expect(wire.vm.finished[0]).toMatchObject({ outcome: 'failed', code: '23505' });
  });

  test('fields that have not the shape of what they are for are withheld too', () => {
    const wire = session();
    run(wire, 'insert');
    const places = { F: 'src/nbtinsert.c', L: '664', R: '_bt_check::unique' };
    wire.target(back.notice({ S: 'Предупреждение', C: '01000', ...places }));
    expect(seen(wire)).toEqual(['N{S:Предупреждение | C:01000 | F:src/nbtinsert.c | L:664 | R:_bt_check::unique}']);
    wire.target(back.notice({ S: SECRET, V: SECRET, C: '01000', F: SECRET, L: SECRET, R: SECRET }));
    expect(seen(wire)).toEqual(['N{C:01000}']);
    const names = { s: 'public', t: 'Übersicht_2024', c: '_a$1', d: 'int4', n: 'payments_20240101_pkey' };
    wire.target(back.notice({ S: 'NOTICE', C: '23505', ...names }));
    expect(seen(wire)[0]).toContain(
      Object.entries(names)
        .map(([field, name]) => `${field}:${name}`)
        .join(' | '),
    );
    for (const value of [
      SECRET,
      '4111111111111111',
      'x123456789',
      'ada@example.com',
      'Ada Byron',
      '1',
      'a.b',
      "a'b",
      'a-b',
      'x'.repeat(64),
    ])
      for (const field of 'stcdn') {
        wire.target(back.notice({ S: 'NOTICE', C: '23505', [field]: value }));
        expect(seen(wire)).toEqual(['N{S:NOTICE | C:23505}']);
      }
    wire.target(back.notice({ S: 'x'.repeat(65), C: '01000', F: 'x'.repeat(257), L: '1'.repeat(11), R: 'x'.repeat(257) }));
    expect(seen(wire)).toEqual(['N{C:01000}']);
  });

  test.each([
    ['in pieces, is not shown: it is too long to be looked at', 100_000, []],
    ['at once, is withheld', 4 << 20, [expect.stringMatching(/^N\{S:NOTICE \| C:01000 \| M:the text of this message is withheld/)]],
  ])('a long notice that comes %s', (_, piece, notices) => {
    const wire = session(piece);
    run(wire, 'insert');
    const notice = back.notice({ C: '01000', M: SECRET.padEnd(2 << 20, 'x') + SECRET });
    wire.target(Buffer.concat([notice, back.complete('INSERT 0 1'), back.ready()]));
    const bytes = wire.seen();
    expect(bytes.toString()).not.toContain(SECRET);
    expect(words(bytes)).toEqual([...notices, 'C INSERT 0 1', 'Z I']);
  });

  test('pass where it does not', () => {
    const wire = session();
    run(wire, 'insert', {});
    wire.target(back.error(leak));
    expect(wire.seen()).toEqual(back.error(leak));
  });

  test('stay withheld for the rest of the transaction', () => {
    const wire = session();
    run(wire, 'insert');
    wire.target(Buffer.concat([back.complete('INSERT 0 1'), back.ready('T')]));
    run(wire, 'commit', {});
    wire.seen();
    wire.target(Buffer.concat([back.error(leak), back.ready('I')]));
    expect(wire.seen().toString()).not.toContain(SECRET);
    run(wire, 'select', {});
    wire.target(back.error(leak));
    expect(wire.seen()).toEqual(back.error(leak));
  });

  test('settings that could carry a value are not told', () => {
    const wire = session();
    run(wire, 'select set_config');
    wire.target(Buffer.concat([back.parameter('application_name', SECRET), back.parameter('DateStyle', 'ISO')]));
    expect(seen(wire)).toEqual(['S DateStyle·ISO']);
  });

  test('notifications pass', () => {
    const wire = session();
    wire.target(back.notification);
    expect(wire.seen()).toEqual(back.notification);
  });
});

describe('COPY', () => {
  const rules = [{}, SSN, CARD, EMAIL, { id: 'n', method: 'NULL' }];
  const plan = (format: string, more = {}): Answer => ({ copy_out: { format, columns: rules, ...more } });

  test('text rows are masked', () => {
    const wire = session();
    run(wire, 'copy', plan('TEXT'));
    wire.target(back.copyOut(5));
    wire.seen();
    wire.target(back.copyData(`1\t${SECRET}\t4111111111111111\ta\\tb\tx\n`));
    wire.target(back.copyData(`2\t\\N\tab\\\\cdefg\t\\N\t\\N\n`));
    wire.target(Buffer.concat([back.copyDone, back.complete('COPY 2'), back.ready()]));
    expect(seen(wire)).toEqual([
      `d 1\t***********\t************1111\t${tokenOf('a\tb')}\t\\N\n`,
      'd 2\t\\N\t****defg\t\\N\t\\N\n',
      'c',
      'C COPY 2',
      'Z I',
    ]);
    expect(wire.vm.finished[0]).toMatchObject({ rows: 2, tag: 'COPY 2' });
  });

  test('CSV rows are masked', () => {
    const wire = session();
    run(wire, 'copy', plan('CSV'));
    wire.target(back.copyOut(5));
    wire.seen();
    wire.target(back.copyData(`"1,\n",${SECRET},"a""bcdef",,x\n`));
    expect(seen(wire)).toEqual(['d "1,\n","***********","***cdef",,\n']);
  });

  test.each([
    ['no plan', {}, back.copyOut(5), undefined],
    ['binary rows', plan('TEXT'), back.copyOut(5, 1), undefined],
    ['other columns', plan('TEXT'), back.copyOut(4), undefined],
    ['a row of other columns', plan('TEXT'), back.copyOut(5), `${SECRET}\n`],
    ['two rows in one message', plan('TEXT'), back.copyOut(5), `1\t2\t3\t4\t5\n${SECRET}\t2\t3\t4\t5\n`],
    ['a quote inside a field', plan('CSV'), back.copyOut(5), `1,a"${SECRET},"3,4,5\n`],
  ])('with %s is cut', (_, obliged, response, row) => {
    const wire = session();
    run(wire, 'copy', obliged);
    wire.target(response);
    if (row) {
      wire.seen();
      wire.target(back.copyData(row));
    }
    expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL/)]);
  });

  test.each([
    ['text', back.copyOut(2), '1\tx\n'],
    ['binary', back.copyOut(7, 1), 'PGCOPY\n\u00ff\r\n\0'],
  ])('with a plan that names no columns passes as it is: %s', (_, response, row) => {
    for (const piece of [0, 7]) {
      const wire = session(piece);
      run(wire, 'copy', { copy_out: { format: 'TEXT' } });
      const replies = Buffer.concat([
        response,
        back.copyData(row),
        back.copyData(row),
        back.copyDone,
        back.complete('COPY 2'),
        back.ready(),
      ]);
      wire.target(replies);
      expect(wire.seen()).toEqual(replies);
      expect(wire.vm.finished).toMatchObject([{ rows: 2, tag: 'COPY 2', outcome: 'complete' }]);
    }
  });

  test('in, by a simple query', () => {
    const wire = session();
    run(wire, 'copy t from stdin', {});
    wire.target(back.copyIn(1));
    const rows = Buffer.concat([front.copyData('a\n'), front.copyData('b\n'), front.copyDone]);
    wire.client(rows);
    expect(wire.got()).toEqual(rows);
    wire.target(Buffer.concat([back.complete('COPY 2'), back.ready()]));
    expect(seen(wire)).toEqual([expect.stringMatching(/^G/), 'C COPY 2', 'Z I']);
  });

  test('in, with a Sync sent ahead, which the target swallows', () => {
    const wire = session();
    wire.client(Buffer.concat([front.parse('', 'copy'), front.bind('', ''), front.execute(''), front.sync]));
    allow(wire, {});
    wire.target(Buffer.concat([back.parseComplete, back.bindComplete, back.noData, back.copyIn(1)]));
    wire.client(Buffer.concat([front.copyData('a\n'), front.copyDone, front.sync]));
    wire.target(Buffer.concat([back.complete('COPY 1'), back.ready()]));
    expect(seen(wire).slice(-2)).toEqual(['C COPY 1', 'Z I']);
    wire.client(front.query('x'));
    expect(asks(wire)).toBe(1);
  });

  test('in that fails: what the client still sends is dropped', () => {
    const wire = session();
    run(wire, 'copy', {});
    wire.target(back.copyIn(1));
    wire.target(Buffer.concat([back.error({ C: '22P02', M: 'bad' }), back.ready()]));
    wire.client(Buffer.concat([front.copyData('x'), front.copyDone, front.query('select 1')]));
    expect(asks(wire)).toBe(1);
  });

  test('that was refused, or never asked for: what the client sends all the same is dropped', () => {
    const wire = session();
    const rows = Buffer.concat([front.copyData(front.query('drop table x').toString('latin1')), front.copyDone]);
    wire.client(Buffer.concat([front.query('copy t from stdin'), rows]));
    deny(wire);
    wire.got();
    wire.target(Buffer.concat([back.error({ C: '42601', M: 'syntax error' }), back.ready()]));
    expect(wire.got()).toHaveLength(0);
    wire.client(rows);
    expect(wire.got()).toHaveLength(0);
    expect(asks(wire)).toBe(0);
    run(wire, 'select 1', {});
    expect(wire.closed).toBe(false);
  });

  test('a query while rows are copied in is a violation', () => {
    const wire = session();
    run(wire, 'copy', {});
    wire.target(back.copyIn(1));
    wire.client(front.query('drop table x'));
    expect(got(wire)).toEqual(['!']);
  });
});

describe('huge values', () => {
  const field = (length: number, bytes: string | Buffer = ''): Buffer => {
    const head = Buffer.alloc(4);
    head.writeInt32BE(length);
    return Buffer.concat([head, Buffer.from(bytes as string)]);
  };
  const whole = (value: string): Buffer => field(value.length, value);
  const row = (count: number, ...fields: Buffer[]): Buffer => message('D', Buffer.from([count >> 8, count & 255]), ...fields);
  const LONG = whole('s'.repeat(1 << 20));

  /** Of two columns, of which the first is masked. */
  test.each([
    ['of another count of fields than columns', row(3, LONG, whole(SECRET))],
    ['of fewer fields than it says', row(2, LONG)],
    ['that ends within the length of a field', row(2, LONG, Buffer.from([0, 0, 1]))],
    ['that has something behind its last field', row(2, LONG, whole('1'), Buffer.from('078-05-1120'))],
    ['with a field that is longer than the row', row(2, LONG, field(12, SECRET))],
    ['with a field that is longer than all rows', row(2, LONG, field(0x7fff_ffff, SECRET))],
    ['with a field of an impossible length', row(2, LONG, field(-2), whole(SECRET))],
  ])('a long row %s is cut before anything of its end is seen', (_, bytes) => {
    for (const piece of [0, 4_096, 65_537]) {
      const wire = session(piece);
      run(wire, 'select');
      wire.target(back.columns(COLUMNS[1] as never, COLUMNS[0] as never));
      wire.seen();
      wire.target(bytes);
      const shown = wire.seen();
      expect(shown.includes('the target sent a malformed row')).toBe(true);
      expect(shown.includes(SECRET)).toBe(false);
      wire.vm.host.advance(10);
      expect(wire.closed).toBe(true);
      expect(wire.vm.finished.map(({ outcome }) => outcome)).toEqual(['cut']);
    }
  });

  test('a long row is read right whichever pieces it comes in, empty fields and NULL among them', () => {
    const columns = [COLUMNS[0], COLUMNS[1], COLUMNS[1], COLUMNS[1], { name: 'b', table: 9, attribute: 1 }] as never[];
    const bytes = row(5, field(-1), field(-1), whole(''), LONG, whole('tail'));
    const shown = row(5, field(-1), field(-1), whole(''), whole('*'.repeat(1 << 20)), whole('tail'));
    for (const piece of [0, 1_021, 65_537]) {
      const wire = session(piece);
      run(wire, 'select');
      wire.target(back.columns(...columns));
      wire.seen();
      wire.target(Buffer.concat([bytes, back.row('1', null, SECRET, '', 'x'), back.complete('SELECT 2'), back.ready()]));
      const seenBytes = wire.seen();
      expect(seenBytes.subarray(0, shown.length).equals(shown)).toBe(true);
      expect(words(seenBytes.subarray(shown.length))).toEqual(['D[1,null,***********,,x]', 'C SELECT 2', 'Z I']);
      expect(wire.vm.finished).toMatchObject([{ rows: 2, masked: [{ rule: 'customers.ssn', count: 4 }], outcome: 'complete' }]);
    }
  });

  test.each([
    ['whole', 0, 'a row too long to be masked'],
    ['in pieces', 65_536, 'the target sent a message too long to be understood'],
  ])('a copied row past the limit, %s, is cut where it would have to be masked', (_, piece, said) => {
    const wire = session(piece);
    run(wire, 'copy', { copy_out: { format: 'TEXT', columns: [SSN, {}] } });
    wire.target(back.copyOut(2));
    wire.seen();
    wire.target(back.copyData(`${SECRET}\t${'x'.repeat(2 << 20)}\n`));
    const shown = wire.seen();
    expect(shown.includes(said)).toBe(true);
    expect(shown.includes(SECRET)).toBe(false);
    wire.vm.host.advance(10);
    expect(wire.closed).toBe(true);
  });

  test('a masked text is filled where it stands, in bounded memory', () => {
    const wire = session(65_536);
    run(wire, 'select');
    wire.target(back.columns(COLUMNS[1] as never, COLUMNS[3] as never, COLUMNS[0] as never));
    wire.seen();
    const before = wire.vm.host.memoryBytes;
    wire.target(back.row('s'.repeat(20 << 20), 'é'.repeat(100), '7'));
    const row = wire.seen();
    expect(row.length).toBe(back.row('s'.repeat(20 << 20), 'é'.repeat(100), '7').length);
    expect(row.includes('s')).toBe(false);
    expect(row.subarray(-1).toString()).toBe('7');
    expect(wire.vm.host.memoryBytes - before).toBeLessThan(4 << 20);
  });

  test('a row with a masked column that is no text is cut', () => {
    const wire = session(65_536);
    run(wire, 'select');
    wire.target(back.columns(COLUMNS[4] as never, { name: 'b', table: 9, attribute: 1 }));
    wire.seen();
    wire.target(back.row('1', 'x'.repeat(2 << 20)));
    expect(seen(wire)).toEqual([expect.stringMatching(/^E\{S:FATAL/)]);
  });

  test('a row of clear columns passes as it comes', () => {
    const wire = session(65_536);
    run(wire, 'select', {});
    const replies = Buffer.concat([back.columns({ name: 'x' }), back.row('x'.repeat(5 << 20)), back.complete('SELECT 1'), back.ready()]);
    wire.target(replies);
    expect(wire.seen().equals(replies)).toBe(true);
  });
});
