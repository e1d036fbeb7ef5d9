/** Recorded results of PostgreSQL's commands, through the compiled filter: the rows as the client got them, with their description, up to the limit. */
import { describe, expect, test } from 'vitest';
import { RECORD_RULES } from '../../authz-service/mask/rule.ts';
import { type Answer, Vm, type Wire } from './postgres_host.fixture.ts';
import { AGE, allow, CARD, COLUMNS, connected, EMAIL, logIn, PLAN, SECRET, SSN } from './postgres_session.fixture.ts';
import { back, front } from './postgres_wire.fixture.ts';

const DETECTORS = RECORD_RULES.flatMap(({ id, select }) => ('detector' in select ? [{ id, ...select, method: 'FULL' }] : []));

const recording = (more: Answer = {}, limits = {}): Answer => ({
  ...more,
  record: { max_request: 1000, max_response: 100_000, ...limits },
});

const ROWS = Array.from({ length: 30 }, (_, i) =>
  back.row(String(i), i % 7 === 0 ? null : SECRET, '4111111111111111', `a${i}@example.com`, '44'),
);
const RESULT = [back.columns(...COLUMNS), ...ROWS];
const END = [back.complete('SELECT 30'), back.ready()];

/** Messages of the types that are recorded. */
function recordable(bytes: Buffer, types = 'TDHd'): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const total = bytes.readInt32BE(at + 1) + 1;
    if (types.includes(String.fromCharCode(bytes[at] as number))) parts.push(bytes.subarray(at, at + total));
    at += total;
  }
  return Buffer.concat(parts);
}

const RULE_OF = new Map(COLUMNS.slice(1).map(({ name }, at) => [name, [SSN, CARD, EMAIL, AGE][at]?.id ?? '']));

/** The same with the message behind each description that says which of its columns are masked. */
function marked(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const total = bytes.readInt32BE(at + 1) + 1;
    const message = bytes.subarray(at, at + total);
    parts.push(message);
    at += total;
    if (message[0] !== 0x54) continue;
    const found: Buffer[] = [];
    for (let column = 0, from = 7; from < message.length; column += 1) {
      const end = message.indexOf(0, from);
      const rule = RULE_OF.get(message.toString('utf8', from, end));
      if (rule !== undefined) found.push(Buffer.from([column >> 8, column & 0xff]), Buffer.from(`${rule}\0`));
      from = end + 19;
    }
    const body = Buffer.concat(found);
    const head = Buffer.from('m\0\0\0\0\0\0', 'latin1');
    head.writeUInt32BE(6 + body.length, 1);
    head.writeUInt16BE(found.length / 2, 5);
    if (found.length > 0) parts.push(head, body);
  }
  return Buffer.concat(parts);
}

let lastCommand = 0;
function results(wire: Wire, direction: 'request' | 'response' = 'response') {
  const { sink } = wire.vm;
  sink.run(50);
  lastCommand = Math.max(...sink.events.map(({ command = 0 }) => command));
  return sink.recorded('ses-1', direction, lastCommand);
}

function ask(wire: Wire, plan: Answer, sql = 'select * from customers'): void {
  wire.client(front.query(sql));
  allow(wire, plan);
  wire.got();
}

describe('results', () => {
  test('of a query are recorded as the client got them, at every size of its pieces', () => {
    const whole = Buffer.concat([...RESULT, ...END]);
    for (let piece = 1; piece <= whole.length; piece = piece < 48 ? piece + 1 : piece * 2) {
      const wire = logIn(connected(0));
      ask(wire, recording(PLAN));
      wire.piece = piece;
      wire.target(whole);
      const got = wire.seen();
      const [body] = results(wire);
      expect(body?.bytes.equals(marked(recordable(got)))).toBe(true);
      expect(body).toMatchObject({ last: true, truncated: false, contentType: 'application/vnd.sluice.postgres' });
      expect(body?.bytes.includes(SECRET)).toBe(false);
      expect(wire.vm.finished.at(-1)).toMatchObject({ outcome: 'complete', rows: 30 });
    }
  });

  test('that are not masked are recorded too, in the long runs in which they pass', () => {
    const wire = logIn(connected(0));
    ask(wire, recording());
    wire.target(Buffer.concat([...RESULT, ...END]));
    expect(results(wire)[0]?.bytes.equals(Buffer.concat(RESULT))).toBe(true);
  });

  test('beyond the limit are not recorded, and the record says so; the client gets all', () => {
    const whole = Buffer.concat([...RESULT, ...END]);
    for (const [piece, max_response] of [
      [1, 0],
      [3, 1],
      [0, 500],
      [100, 501],
    ] as const) {
      const wire = logIn(connected(0));
      ask(wire, recording(PLAN, { max_response }));
      wire.piece = piece;
      wire.target(whole);
      const got = wire.seen();
      const [body] = results(wire);
      expect(body?.bytes.equals(marked(recordable(got)).subarray(0, max_response))).toBe(true);
      expect(body).toMatchObject({ truncated: true, last: false, reason: 'longer than what is recorded of a body' });
      expect(wire.vm.finished.at(-1)).toMatchObject({ outcome: 'complete', rows: 30 });
    }
  });

  test('with a row too long to be held are recorded as it was filled', () => {
    const wire = logIn(connected(0));
    ask(wire, recording(PLAN, { max_response: 3_000_000 }));
    wire.piece = 100_000;
    wire.target(Buffer.concat([back.columns(COLUMNS[1] as never), back.row(SECRET.repeat(150_000)), ...END]));
    const got = wire.seen();
    const [body] = results(wire);
    expect(body?.bytes.equals(marked(recordable(got)))).toBe(true);
    expect(body?.bytes.includes(SECRET)).toBe(false);
  });

  test('of a text that is judged no more are recorded too', () => {
    const wire = logIn(connected(0));
    const whole = Buffer.concat([back.columns(...COLUMNS), ROWS[1] as Buffer, ...END]);
    wire.client(front.query('select 1'));
    allow(wire, recording(PLAN), { reuse: 'TEXT' });
    wire.target(whole);
    wire.client(front.query('select 1')).target(whole);
    expect(wire.vm.asked.filter(({ open }) => open)).toEqual([]);
    const got = marked(recordable(wire.seen()));
    expect(Buffer.concat(results(wire).map(({ bytes }) => bytes)).equals(got)).toBe(true);
    expect(results(wire).length).toBe(2);
  });

  test('of each execution stand by themselves, behind their description', () => {
    const wire = logIn(connected(0));
    const run = [front.bind('', 'one', ['1']), front.execute(''), front.sync];
    wire.client(Buffer.concat([front.parse('one', 'select'), ...run]));
    allow(wire, recording(PLAN));
    const answer = (n: string): Buffer[] => [back.bindComplete, back.columns(...COLUMNS.slice(0, 2)), back.row(n, SECRET), ...END];
    wire.target(Buffer.concat([back.parseComplete, ...answer('1')]));
    wire.client(Buffer.concat(run)).target(Buffer.concat(answer('2')));
    const description = marked(back.columns(...COLUMNS.slice(0, 2)));
    const row = (n: string): Buffer => back.row(n, '*'.repeat(SECRET.length));
    expect(results(wire).map(({ bytes, last }) => [bytes, last])).toEqual([
      [Buffer.concat([description, row('1')]), true],
      [Buffer.concat([description, row('2')]), true],
    ]);
  });

  test('without a row have their description in the record', () => {
    const wire = logIn(connected(0));
    wire.client(Buffer.concat([front.parse('', 'select'), front.bind('', ''), front.describe('P', ''), front.execute(''), front.sync]));
    allow(wire, recording(PLAN));
    wire.target(Buffer.concat([back.parseComplete, back.bindComplete, back.columns(...COLUMNS), back.complete('SELECT 0'), back.ready()]));
    expect(results(wire)).toMatchObject([{ bytes: marked(back.columns(...COLUMNS)), last: true }]);
  });

  test('that an error ends are recorded as far as they came', () => {
    const wire = logIn(connected(0));
    ask(wire, recording(PLAN));
    wire.target(Buffer.concat([...RESULT, back.error({ C: '22012', M: 'division by zero' }), back.ready()]));
    expect(results(wire)).toMatchObject([{ last: false, truncated: false }]);
  });

  test('of a client that goes away are recorded as far as it got them', () => {
    const wire = logIn(connected(0));
    ask(wire, recording(PLAN));
    wire.target(Buffer.concat(RESULT));
    const got = marked(recordable(wire.seen()));
    wire.end();
    const [body] = results(wire);
    expect(body?.bytes.equals(got)).toBe(true);
    expect(body).toMatchObject({ last: false, truncated: false });
  });

  test('are not recorded where nobody obliges to', () => {
    const wire = logIn(connected(0));
    ask(wire, PLAN);
    wire.target(Buffer.concat([...RESULT, ...END]));
    expect(results(wire)).toEqual([]);
  });
});

describe('COPY', () => {
  test('out is recorded as the client got it', () => {
    for (const columns of [[{ id: '' }, SSN, CARD], []]) {
      const wire = logIn(connected(0));
      ask(wire, recording({ copy_out: { format: 'TEXT', columns } }), 'copy customers to stdout');
      wire.piece = 7;
      wire.target(Buffer.concat([back.copyOut(columns.length), back.copyData(`1\t${SECRET}\t4111111111111111\n`), back.copyDone, ...END]));
      expect(results(wire)).toMatchObject([{ bytes: recordable(wire.seen()), last: true }]);
    }
  });

  const copyIn = (wire: Wire, rows: Buffer[], end = front.copyDone): void => {
    wire.target(back.copyIn(2));
    wire.client(Buffer.concat([...rows, end]));
  };

  test('in is recorded masked by the detectors, and passes as it is', () => {
    const rows = [front.copyData('1\tann@example.com\n2\tbob@exam'), front.copyData('ple.com\n'), front.copyData('')];
    for (const piece of [0, 1, 5, 13]) {
      const wire = logIn(connected(0));
      ask(wire, recording({}, { own_rules: DETECTORS }), 'copy t from stdin');
      wire.piece = piece;
      copyIn(wire, rows);
      expect(wire.got()).toEqual(Buffer.concat([...rows, front.copyDone]));
      wire.target(Buffer.concat(END));
      const [body] = results(wire, 'request');
      expect(body?.bytes.toString()).toBe('1\t***************\n2\t***************\n');
      expect(body).toMatchObject({ last: true, contentType: 'text/plain' });
    }
  });

  test('in is recorded up to the limit', () => {
    const wire = logIn(connected(0));
    ask(wire, recording({}, { own_rules: DETECTORS, max_request: 20 }), 'copy t from stdin');
    copyIn(wire, Array(100).fill(front.copyData('0123456789\n')));
    wire.target(Buffer.concat(END));
    expect(results(wire, 'request')).toMatchObject([{ bytes: Buffer.from('0123456789\n012345678'), truncated: true }]);
  });

  test('in is not recorded where columns are masked, and the record says why', () => {
    const wire = logIn(connected(0));
    ask(wire, recording(PLAN), 'copy customers from stdin');
    copyIn(wire, [front.copyData(`1\t${SECRET}\n`)]);
    wire.target(Buffer.concat(END));
    expect(results(wire, 'request')).toMatchObject([
      { bytes: Buffer.alloc(0), truncated: true, reason: 'columns are masked here, and which of them a value is for is not known' },
    ]);
  });

  test('in that the client gives up has no end', () => {
    const wire = logIn(connected(0));
    ask(wire, recording({}, { own_rules: DETECTORS }), 'copy t from stdin');
    copyIn(wire, [front.copyData('1\tx\n')], front.copyFail);
    wire.target(Buffer.concat([back.error({ C: '57014', M: 'failed' }), back.ready()]));
    expect(results(wire, 'request')).toMatchObject([{ last: false, truncated: false }]);
  });
});

describe('a sink that is behind', () => {
  const LIMITS = { max_request: 0, max_response: 100_000 };

  test('makes a statement wait for room, and gets it refused when there is none', () => {
    const vm = new Vm({ recordBytes: 150_000 });
    const [first, second] = [logIn(connected(0, vm)), logIn(connected(0, vm))] as const;
    ask(first, recording({}, LIMITS));
    first.target(back.columns(...COLUMNS));
    second.client(front.query('select 2'));
    allow(second, recording({}, LIMITS));
    vm.sink.run(1000);
    expect(second.got().length).toBe(0);
    vm.sink.run(1500);
    // In its place stands one that fails.
    second.target(Buffer.concat([back.error({ C: '42601', M: 'syntax error' }), back.ready()]));
    expect(second.seen().toString()).toMatch(/58000/);
    // What does not record waits for nobody.
    ask(second, {});
    second.target(Buffer.concat(END));
    // And whoever waited goes on when there is room.
    second.client(front.query('select 3'));
    allow(second, recording({}, LIMITS));
    vm.sink.run(500);
    expect(second.got().length).toBe(0);
    first.target(Buffer.concat(END));
    vm.sink.run(100);
    expect(second.got().toString()).toContain('select 3');
  });

  test('holds prepared statements likewise', () => {
    const vm = new Vm({ recordBytes: 150_000 });
    const [first, second] = [logIn(connected(0, vm)), logIn(connected(0, vm))] as const;
    ask(first, recording({}, LIMITS));
    second.client(Buffer.concat([front.parse('', 'select'), front.bind('', ''), front.execute(''), front.sync]));
    allow(second, recording({}, LIMITS));
    expect(second.got().toString()).not.toContain('E\0\0\0');
    first.target(Buffer.concat([...RESULT, ...END]));
    vm.sink.run(100);
    expect(second.got().includes(front.execute(''))).toBe(true);
    second.target(Buffer.concat([back.parseComplete, back.bindComplete, back.columns(...COLUMNS), ROWS[0] as Buffer, ...END]));
    expect(results(second).at(-1)).toMatchObject({ last: true });
  });

  test('that goes away in mid-result gets the rest when it is back', () => {
    const wire = logIn(connected(0));
    ask(wire, recording(PLAN));
    wire.target(Buffer.concat(RESULT.slice(0, 10)));
    wire.vm.sink.run(50);
    const { grpcStream } = wire.vm.host;
    if (grpcStream) wire.vm.host.grpcClose(grpcStream, 14);
    wire.target(Buffer.concat([...RESULT.slice(10), ...END]));
    const got = marked(recordable(wire.seen()));
    wire.vm.sink.run(2000);
    expect(results(wire)[0]?.bytes.equals(got)).toBe(true);
  });
});
