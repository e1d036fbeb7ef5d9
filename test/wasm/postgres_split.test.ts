/** Whole conversations, replayed with every stream in pieces of every size and cut at every byte: what leaves must be the same. */
import { expect, test } from 'vitest';
import { type Answer, Vm, type Wire } from './postgres_host.fixture.ts';
import { answer, COLUMNS, connected, GREETING, PLAN, SECRET } from './postgres_session.fixture.ts';
import { back, front, startup } from './postgres_wire.fixture.ts';

type Step = { readonly client: Buffer } | { readonly target: Buffer } | { readonly answer: string; readonly with: Answer | number };
type Conversation = readonly Step[];

const client = (...bytes: Buffer[]): Step => ({ client: Buffer.concat(bytes) });
const target = (...bytes: Buffer[]): Step => ({ target: Buffer.concat(bytes) });
const allowed = (plan: Answer = PLAN, more: Answer = {}): Step => ({
  answer: 'Judge',
  with: { command: 1, allowed: { plan, policy_revision: 'r1', ...more } },
});
const denied: Step = { answer: 'Judge', with: { command: 2, refused: { kind: 'DENIED', message: 'no', hint: 'ask' } } };
const syntax = back.error({ C: '42601', M: 'syntax error', P: '1' });

const LOG_IN: Conversation = [
  client(startup({ user: 'agent', database: 'ledger' })),
  target(Buffer.from('N')),
  client(front.password('token')),
  { answer: 'Open', with: { session: 'ses-1', greeting: GREETING } },
  target(back.authentication(5, Buffer.from('salt'))),
  { answer: 'LogIn', with: { reply: Buffer.from('md5').toString('base64') } },
  target(back.authentication(0), back.parameter('client_encoding', 'UTF8'), back.key(1, 2), back.ready()),
  { answer: 'Ready', with: {} },
  target(back.ready()),
];

const CONVERSATIONS: Record<string, Conversation> = {
  'simple queries': [
    client(front.query('select * from customers'), front.query('drop table x'), front.query('select 1')),
    allowed(),
    denied,
    allowed({}),
    target(
      back.columns(...COLUMNS),
      back.row('1', SECRET, '4111111111111111', 'a@b.example', '41'),
      back.row('2', 'é–x', null, '', null),
      back.complete('SELECT 2'),
      back.ready(),
      syntax,
      back.ready(),
      back.columns({ name: 'x' }),
      back.row('1'),
      back.notification,
      back.complete('SELECT 1'),
      back.ready(),
    ),
  ],
  'a pipeline with a denial in its middle': [
    client(
      front.parse('a', 'select ssn'),
      front.bind('', 'a', ['x', null], [0]),
      front.execute(''),
      front.parse('b', 'drop'),
      front.bind('', 'b'),
      front.execute(''),
      front.sync,
    ),
    allowed(),
    denied,
    target(back.parseComplete, back.bindComplete, back.columns(...COLUMNS.slice(1, 3)), back.row(SECRET, 'abcdefgh')),
    target(back.complete('SELECT 1'), syntax, back.ready('E')),
    client(front.close('S', 'a'), front.describe('S', 'zz'), front.sync, front.terminate),
    target(back.closeComplete, back.error({ C: '26000', M: 'x' }), back.ready()),
  ],
  'each execution': [
    client(front.parse('u', 'update', [25]), front.describe('S', 'u'), front.bind('p', 'u', ['v']), front.execute('p', 5), front.sync),
    allowed({}, { each_execution: true }),
    allowed({}),
    target(back.parseComplete, back.parameters(25), back.noData, back.bindComplete, back.noData, back.complete('UPDATE 1'), back.ready()),
  ],
  'a hold': [
    client(front.query('drop table x')),
    { answer: 'Judge', with: { command: 3, held: { approval: 'apr', message: 'wait', hint: 'h' } } },
    target(back.closeComplete),
    { answer: 'Await', with: { command: 3, allowed: { plan: {} } } },
    target(back.complete('DROP TABLE'), back.ready()),
  ],
  'errors, notices and copies': [
    client(front.query('copy to'), front.query('copy from')),
    allowed({
      ...PLAN,
      copy_out: { format: 'CSV', columns: [{}, { id: 'ssn', method: 'FULL' }] },
    }),
    allowed({ mask_messages: true }),
    target(back.notice({ C: '01000', M: SECRET }), back.copyOut(2), back.copyData(`1,${SECRET}\n`), back.copyData('2,"a""b"\n')),
    target(back.copyDone, back.complete('COPY 2'), back.ready(), back.copyIn(1)),
    client(front.copyData('row\n'), front.copyDone),
    target(back.error({ C: '22P02', M: 'bad', D: SECRET }), back.ready()),
  ],
};

function play(wire: Wire, steps: Conversation): { got: string; seen: string; closed: boolean } {
  for (const step of steps)
    if ('client' in step) wire.client(step.client);
    else if ('target' in step) wire.target(step.target);
    else answer(wire, step.answer, step.with);
  wire.vm.sink.run(100);
  const result = { got: wire.got().toString('latin1'), seen: wire.seen().toString('latin1'), closed: wire.closed };
  wire.end();
  wire.vm.asked.splice(0);
  return result;
}

test.each(Object.entries(CONVERSATIONS))('%s', (_, steps) => {
  const vm = new Vm();
  const all = [...LOG_IN, ...steps];
  const whole = play(connected(0, vm), all);
  expect(whole.seen).not.toContain(SECRET);
  expect(whole.seen).toContain('Z\0\0\0\x05');
  expect(whole.closed).toBe(false);
  const bytes = (side: 'client' | 'target'): number =>
    all.reduce((sum, step) => sum + (side in step ? ((step as Record<string, Buffer>)[side]?.length ?? 0) : 0), 0);
  const most = Math.max(bytes('client'), bytes('target'));
  for (let piece = 1; piece < most; piece++) expect(play(connected(piece, vm), all), `pieces of ${piece}`).toEqual(whole);
  for (let cut = 1; cut < most; cut++) {
    const wire = connected(0, vm);
    wire.cut = cut;
    expect(play(wire, all), `cut at ${cut}`).toEqual(whole);
  }
});
