import { describe, expect, test } from 'vitest';
import type { GrpcCall } from '../host/wasm_host.ts';
import { Vm, type Wire } from './postgres_host.fixture.ts';
import { allow, answer, connected, deny, GREETING, logIn, open } from './postgres_session.fixture.ts';
import { back, front, startup, words } from './postgres_wire.fixture.ts';

const asked = (wire: Wire): number => wire.vm.asked.filter((question) => question.method === 'Judge' && question.open).length;
/** Whether an Execute has reached the target. */
const forwarded = (wire: Wire): boolean => words(wire.got()).some((word) => word.startsWith('Execute'));
const seen = (wire: Wire): string[] => words(wire.seen());

/** A VM whose questions for the generation the test answers. */
class Told {
  readonly vm = new Vm();
  readonly questions: GrpcCall[] = [];

  constructor() {
    this.vm.generationAsked = (call) => this.questions.push(call);
  }

  tell(generation: number, leaseMs = 6_000): void {
    // Looks for new questions.
    void this.vm.asked;
    const call = this.questions.shift();
    if (!call) throw new Error('the generation is not asked for');
    this.vm.answer({ method: 'Generation', call, request: {}, open: true }, { generation, lease_ms: leaseMs });
  }

  fail(): void {
    void this.vm.asked;
    const call = this.questions.shift();
    if (!call) throw new Error('the generation is not asked for');
    this.vm.host.grpcFail(call, 14);
  }
}

const EXECUTE = Buffer.concat([front.bind('', 's'), front.describe('P', ''), front.execute(''), front.sync]);

function prepared(told: Told, generation: number): Wire {
  const wire = logIn(connected(0, told.vm));
  told.tell(generation);
  wire.client(Buffer.concat([front.parse('s', 'select 1'), front.sync]));
  allow(wire, {}, { generation });
  wire.target(Buffer.concat([back.parseComplete, back.ready()]));
  wire.got();
  wire.seen();
  return wire;
}

function executes(wire: Wire): void {
  wire.client(EXECUTE);
  expect(asked(wire)).toBe(0);
  expect(forwarded(wire)).toBe(true);
  wire.target(Buffer.concat([back.bindComplete, back.noData, back.complete('X'), back.ready()]));
}

describe('a prepared statement', () => {
  test('is judged anew after a change', () => {
    const told = new Told();
    const wire = prepared(told, 5);
    executes(wire);
    told.tell(6);
    wire.client(EXECUTE);
    expect(asked(wire)).toBe(1);
    expect(wire.got().length).toBe(0);
    deny(wire, 'no more');
    expect(forwarded(wire)).toBe(false);
  });

  test('is good again once it was judged in the new generation', () => {
    const told = new Told();
    const wire = prepared(told, 5);
    told.tell(6);
    wire.client(EXECUTE);
    allow(wire, {}, { generation: 6 });
    wire.target(Buffer.concat([back.bindComplete, back.noData, back.complete('X'), back.ready()]));
    wire.got();
    executes(wire);
  });

  test('is judged anew when the service has not been heard of for as long as it said', () => {
    const told = new Told();
    const wire = prepared(told, 5);
    told.vm.sink.run(5_900);
    executes(wire);
    told.vm.sink.run(200);
    wire.client(EXECUTE);
    expect(asked(wire)).toBe(1);
  });

  test('is judged anew as soon as the service has gone', () => {
    const told = new Told();
    const wire = prepared(told, 5);
    told.fail();
    wire.client(EXECUTE);
    expect(asked(wire)).toBe(1);
    answer(wire, 'Judge', 14);
    told.vm.sink.run(100);
    told.tell(5);
  });

  test('is not judged again by an answer that was long on its way', () => {
    const told = new Told();
    const wire = prepared(told, 5);
    told.vm.sink.run(7_000);
    // The lease of this answer is over already: it counts from the question.
    told.tell(5);
    wire.client(EXECUTE);
    expect(asked(wire)).toBe(1);
  });
});

describe('a portal', () => {
  test('that was bound before a change does not run', () => {
    const told = new Told();
    const wire = prepared(told, 5);
    wire.client(Buffer.concat([front.bind('p', 's'), front.execute('p')]));
    expect(forwarded(wire)).toBe(true);
    told.tell(6);
    wire.client(Buffer.concat([front.execute('p'), front.sync]));
    expect(forwarded(wire)).toBe(false);
    wire.target(
      Buffer.concat([back.bindComplete, back.noData, back.complete('X'), back.error({ C: '42601', M: 'syntax error' }), back.ready()]),
    );
    expect(seen(wire).join()).toContain('40001');
    void wire.vm.asked;
    expect(wire.vm.refused).toEqual(['40001']);
  });

  test('waits for word of the service, and does not run without it', () => {
    const told = new Told();
    const wire = prepared(told, 5);
    wire.client(front.bind('p', 's'));
    wire.got();
    told.fail();
    wire.client(Buffer.concat([front.execute('p'), front.sync]));
    told.vm.sink.run(1_000);
    expect(wire.got().length).toBe(0);
    told.tell(5);
    told.vm.sink.run(100);
    expect(forwarded(wire)).toBe(true);
    told.fail();
    wire.client(Buffer.concat([front.execute('p'), front.sync]));
    told.vm.sink.run(2_500);
    expect(forwarded(wire)).toBe(false);
  });
});

test('a judgement that a change overtook is made again', () => {
  const told = new Told();
  const wire = prepared(told, 5);
  wire.client(front.query('select 2'));
  expect(asked(wire)).toBe(1);
  told.tell(6);
  allow(wire, {}, { generation: 5 });
  expect(wire.got().length).toBe(0);
  expect(open(wire, 'Judge').request).toMatchObject({ text: Buffer.from('select 2') });
  allow(wire, {}, { generation: 6 });
  expect(words(wire.got())).toEqual(['Q select 2']);
});

test('what people have allowed runs, whatever changed meanwhile', () => {
  const told = new Told();
  const wire = prepared(told, 5);
  wire.client(front.query('drop table t'));
  answer(wire, 'Judge', { command: 7, held: { approval: 'apr-1', message: 'waits', hint: '' } });
  wire.got();
  told.tell(6);
  answer(wire, 'Await', { command: 7, allowed: { plan: {}, policy_revision: 'r1', generation: 6 } });
  expect(words(wire.got())).toEqual(['Q drop table t']);
});

test('a generation is asked for once at a time, with the one that is known, and no more when the VM goes', () => {
  const told = new Told();
  const wire = prepared(told, 5);
  logIn(connected(0, told.vm));
  void wire.vm.asked;
  expect(told.questions.length).toBe(1);
  told.tell(9);
  void wire.vm.asked;
  expect(told.questions.length).toBe(1);
  const [call] = told.questions;
  expect(call?.message.subarray(-2)).toEqual(Buffer.from([0x10, 9]));
  wire.end();
  told.vm.host.shutDown();
  expect(told.vm.host.grpcCalls.has(call?.token ?? 0)).toBe(false);
});

test('after the token has expired nothing that was prepared runs', () => {
  const told = new Told();
  const wire = connected(0, told.vm);
  wire.client(startup({ user: 'agent', database: 'ledger' }));
  wire.target(Buffer.from('N'));
  wire.client(front.password('token'));
  answer(wire, 'Open', { session: 'ses-1', greeting: GREETING, valid_ms: 3_000 });
  wire.target(Buffer.concat([back.authentication(0), back.parameter('client_encoding', 'UTF8'), back.key(7, 8), back.ready()]));
  answer(wire, 'Ready', {});
  wire.target(back.ready());
  told.tell(5);
  wire.client(Buffer.concat([front.parse('s', 'select 1'), front.sync]));
  allow(wire, {}, { generation: 5 });
  wire.target(Buffer.concat([back.parseComplete, back.ready()]));
  wire.got();
  executes(wire);
  wire.client(front.bind('p', 's'));
  told.vm.sink.run(3_100);
  wire.got();
  wire.seen();
  wire.client(Buffer.concat([front.execute('p'), front.sync]));
  expect(forwarded(wire)).toBe(false);
  wire.target(Buffer.concat([back.bindComplete, back.error({ C: '42601', M: 'syntax error' }), back.ready()]));
  expect(seen(wire).join()).toContain('28000');
  wire.client(EXECUTE);
  expect(asked(wire)).toBe(1);
});
