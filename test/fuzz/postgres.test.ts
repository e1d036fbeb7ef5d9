/** Mutated conversations: no planted secret reaches the client, nothing of a refused statement reaches the target, and the VM never traps. */
import { describe, expect, test } from 'vitest';
import { Vm, type Wire } from '../wasm/postgres_host.fixture.ts';
import { COLUMNS, connected, logIn, PLAN, SSN } from '../wasm/postgres_session.fixture.ts';
import { back, front, message, startup } from '../wasm/postgres_wire.fixture.ts';
import { Random } from './random.ts';
import { runs } from './runs.ts';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000);
const ROUNDS = runs(10_000);
const SECRET = '078-05-1120';
const FORBIDDEN = 'drop table customers';

// Masked by position as well: a mutated description may say that a column comes from elsewhere, and would be right to be believed.
const plan = {
  ...PLAN,
  positions: Array.from({ length: 64 }, (_, position) => ({ position, rule: SSN })),
  copy_out: { format: 'TEXT', columns: [SSN, SSN] },
};
const recorded = {
  ...plan,
  record: { max_request: 100, max_response: 300, own_rules: [{ id: 'us-ssn', detector: 'us-ssn', method: 'FULL' }] },
};

const CLIENT = [
  front.query('select ssn from customers'),
  front.query(FORBIDDEN),
  front.parse('', 'select ssn from customers'),
  front.parse('a', 'select ssn from customers'),
  front.parse('b', FORBIDDEN),
  front.bind('', '', ['x', null]),
  front.bind('p', 'a'),
  front.bind('', 'b'),
  front.describe('P', ''),
  front.describe('S', 'a'),
  front.execute(''),
  front.execute('p', 1),
  front.close('S', 'a'),
  front.close('P', 'p'),
  front.sync,
  front.sync,
  front.flush,
  front.copyData('x\n'),
  front.copyDone,
  front.copyFail,
  front.functionCall,
];
const TARGET = [
  back.parseComplete,
  back.bindComplete,
  back.closeComplete,
  back.noData,
  back.suspended,
  back.empty,
  back.parameters(25),
  back.columns(...COLUMNS),
  back.columns(COLUMNS[1] as never),
  back.columns(COLUMNS[1] as never),
  back.row(SECRET),
  back.row(SECRET),
  back.row('1', SECRET, SECRET, SECRET, '5'),
  back.complete('SELECT 1'),
  back.complete('DEALLOCATE'),
  back.complete('PREPARE'),
  back.ready('I'),
  back.ready('T'),
  // Outside of a command these say nothing of its values.
  back.error({ C: '57P01', M: 'terminating' }),
  back.notice({ C: '01000', M: 'hello' }),
  back.copyOut(2),
  back.copyIn(1),
  back.copyData(`${SECRET}\t${SECRET}\n`),
  back.copyDone,
];

function mutated(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes);
  const edits = random.chance(0.8) ? 0 : 1 + random.below(3);
  for (let i = 0; i < edits && copy.length > 0; i++)
    copy[random.below(copy.length)] = random.pick([random.below(256), 0, 0xff, 1, 4, 0x44]);
  if (random.chance(0.05)) return copy.subarray(0, random.below(copy.length + 1));
  if (random.chance(0.05)) return Buffer.concat([copy, Buffer.from([random.below(256)])]);
  return copy;
}

/** Whether a Query or a Parse of that text is among the messages; what stands in the values of a Bind or in copied rows is data. */
function contains(bytes: string, text: string): boolean {
  const messages = Buffer.from(bytes, 'latin1');
  for (let at = 0; at + 5 <= messages.length; ) {
    const end = at + 1 + Math.max(4, messages.readInt32BE(at + 1));
    const type = String.fromCharCode(messages[at] as number);
    if ((type === 'Q' || type === 'P') && messages.subarray(at, end).includes(text)) return true;
    at = end;
  }
  return false;
}

/**
 * The messages without the names of columns, and of what a report is about: a mutated reply may hold a value where the protocol has such a name, and nobody
 * can tell that it is none. What is not well-formed has no names.
 */
function withoutNames(bytes: Buffer): Buffer {
  const messages = Buffer.from(bytes);
  for (let at = 0; at + 5 <= messages.length; ) {
    const end = at + 1 + Math.max(4, messages.readInt32BE(at + 1));
    for (const [from, to] of namesIn(messages.subarray(at, end))) messages.fill(0, at + from, at + to);
    at = end;
  }
  return messages;
}

function namesIn(message: Buffer): [from: number, to: number][] {
  const type = String.fromCharCode(message[0] as number);
  const names: [number, number][] = [];
  if (type === 'T' && message.length >= 7) {
    let p = 7;
    for (let left = message.readInt16BE(5); left > 0 && p < message.length; left--) {
      const to = message.indexOf(0, p);
      names.push([p, to]);
      p = to < 0 ? message.length + 1 : to + 19;
    }
    return p === message.length && names.length === message.readInt16BE(5) ? names : [];
  }
  if (type !== 'E' && type !== 'N') return [];
  let p = 5;
  while (message[p]) {
    const to = message.indexOf(0, p);
    if (to < 0) return [];
    if ('stcdn'.includes(String.fromCharCode(message[p] as number))) names.push([p + 1, to]);
    p = to + 1;
  }
  return p === message.length - 1 ? names : [];
}

/** Answers what is asked: what is forbidden is refused, the rest runs, waits, or is answered with nonsense. */
function answer(wire: Wire, random: Random): void {
  for (const asked of wire.vm.asked.splice(0)) {
    if (!asked.open || random.chance(0.02)) continue;
    const forbidden = String(asked.request.text).includes('drop');
    if (asked.method === 'Judge' && random.chance(0.1))
      wire.vm.answer(asked, { command: 1, held: { approval: forbidden ? 'drop' : 'apr', message: 'wait' } });
    else if (asked.method === 'Judge' || asked.method === 'Await')
      wire.vm.answer(
        asked,
        random.chance(0.05)
          ? 14
          : forbidden || asked.request.approval === 'drop'
            ? { command: 1, refused: { kind: 'DENIED', message: 'no' } }
            : {
                command: 1,
                allowed: {
                  plan: random.pick([plan, recorded]),
                  policy_revision: random.pick(['r1', 'r1', 'r2']),
                  each_execution: random.chance(0.2),
                },
              },
      );
    else wire.vm.answer(asked, random.chance(0.5) ? {} : 14);
  }
}

const ending = (random: Random): Buffer[] =>
  random.chance(0.8)
    ? [back.complete('SELECT 1')]
    : [back.notice({ C: '01000', M: SECRET }), back.error({ C: '23505', M: SECRET, D: SECRET, n: 'key' })];

/** A reply that the target could give to what it has got, so that conversations go on; now and then any. */
function replies(got: Buffer, random: Random): Buffer {
  const out: Buffer[] = [];
  for (let at = 0; at + 5 <= got.length; at += 1 + Math.max(4, got.readInt32BE(at + 1))) {
    const type = String.fromCharCode(got[at] as number);
    const failing = got.subarray(at, at + 60).includes('refused by');
    if (failing) out.push(back.error({ C: '42601', M: 'syntax' }));
    else if (type === 'Q') out.push(back.columns(COLUMNS[1] as never), back.row(SECRET), ...ending(random));
    else if (type === 'P') out.push(back.parseComplete);
    else if (type === 'B') out.push(back.bindComplete);
    else if (type === 'D') out.push(back.columns(COLUMNS[1] as never));
    else if (type === 'E') out.push(back.row(SECRET), back.complete('SELECT 1'));
    else if (type === 'C') out.push(back.closeComplete);
    if (type === 'Q' || type === 'S') out.push(back.ready(random.pick(['I', 'T', 'E'])));
  }
  return Buffer.concat(out.map((reply) => (random.chance(0.03) ? mutated(reply, random) : reply)));
}

describe(`seed ${SEED}`, () => {
  test(`${ROUNDS} sessions`, () => {
    const random = new Random(SEED);
    const shared = new Vm();
    let memory = 0;
    let rows = 0;
    let payloads = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const wire = logIn(connected(random.pick([0, 0, 1, 7, 50]), shared));
      let toTarget = '';
      let toClient = '';
      for (let step = 0; step < 12 && !wire.closed; step++) {
        const piece = random.pick(CLIENT);
        if (random.chance(0.6)) wire.client(mutated(piece, random));
        else if (random.chance(0.2)) wire.target(mutated(random.pick(TARGET), random));
        answer(wire, random);
        const got = wire.got();
        toTarget += got.toString('latin1');
        if (got.length > 0) wire.target(replies(got, random));
        answer(wire, random);
        toClient += wire.seen().toString('latin1');
      }
      if (random.chance(0.1)) shared.sink.run(50);
      toTarget += wire.got().toString('latin1');
      const why = `FUZZ_SEED=${SEED}, round ${round}`;
      expect(withoutNames(Buffer.from(toClient, 'latin1')).includes(SECRET), why).toBe(false);
      expect(contains(toTarget, FORBIDDEN), why).toBe(false);
      rows += toClient.split('***********').length - 1;
      wire.end();
      // As the door does with `Close`; the VM knows a call until it is answered, or the host's time for it is over.
      for (const asked of shared.asked.splice(0)) if (asked.open) shared.answer(asked, {});
      shared.sink.run(50);
      for (const { payload_chunk } of shared.sink.events.splice(0, shared.sink.events.length - 1)) {
        payloads += payload_chunk ? 1 : 0;
        expect(withoutNames(payload_chunk?.data ?? Buffer.alloc(0)).includes(SECRET), why).toBe(false);
      }
      if (round === ROUNDS >> 1) memory = shared.host.memoryBytes;
    }
    // The conversations do get as far as rows.
    expect(rows).toBeGreaterThan(ROUNDS / 50);
    expect(payloads).toBeGreaterThan(ROUNDS / 50);
    expect(shared.host.memoryBytes).toBe(memory);
  }, 300_000);

  test('start-ups', () => {
    const random = new Random(SEED);
    const vm = new Vm();
    const first = [startup({ user: 'a', database: 'b' }), message('p', Buffer.from('t\0'))];
    for (let round = 0; round < ROUNDS / 5; round++) {
      const wire = connected(random.pick([0, 1, 5]), vm);
      wire.client(mutated(first[0] as Buffer, random)).target(mutated(Buffer.from('N'), random));
      wire.client(mutated(first[1] as Buffer, random));
      answer(wire, random);
      wire.target(mutated(back.authentication(0), random));
      expect(wire.seen().includes(SECRET)).toBe(false);
      wire.end();
      vm.asked.splice(0);
      vm.sink.run(50);
    }
  });
});
