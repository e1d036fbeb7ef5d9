/** A PostgreSQL connection that has been let in, and the plans that its commands get. */
import { type Answer, type Asked, Vm, type Wire } from './postgres_host.fixture.ts';
import { back, front, startup } from './postgres_wire.fixture.ts';

export const SSN = { id: 'customers.ssn', method: 'FULL' } as const;
export const CARD = { id: 'customers.card', method: 'PARTIAL', keep_last: 4 } as const;
export const EMAIL = { id: 'customers.email', method: 'HASH', key: Buffer.alloc(32, 1).toString('base64') } as const;
export const AGE = { id: 'customers.age', method: 'FULL' } as const;

/** The table customers: oid 100, columns 1 id, 2 ssn, 3 card, 4 email, 5 age. */
export const PLAN = {
  origins: [
    { table: 100, attribute: 2, rule: SSN },
    { table: 100, attribute: 3, rule: CARD },
    { table: 100, attribute: 4, rule: EMAIL },
    { table: 100, attribute: 5, rule: AGE },
  ],
  unproven: SSN,
  mask_messages: true,
};
export const COLUMNS = [
  { name: 'id', table: 100, attribute: 1, type: 23 },
  { name: 'ssn', table: 100, attribute: 2 },
  { name: 'card', table: 100, attribute: 3 },
  { name: 'email', table: 100, attribute: 4 },
  { name: 'age', table: 100, attribute: 5, type: 23 },
];
export const SECRET = '078-05-1120';

/** Bytes at which the target's and the client's bytes are cut; as `Wire.piece`. */
export function connected(piece = 0, vm = new Vm()): Wire {
  const wire = vm.connect();
  wire.piece = piece;
  return wire;
}

/** The open question of that method. */
export function open(wire: Wire, method: string): Asked {
  const asked = wire.vm.asked.find((candidate) => candidate.open && candidate.method === method);
  if (!asked) throw new Error(`${method} is not asked; asked: ${wire.vm.asked.map((a) => a.method + (a.open ? '?' : '')).join()}`);
  return asked;
}

export function answer(wire: Wire, method: string, response: Answer | number): void {
  wire.vm.answer(open(wire, method), response);
}

export const GREETING = startup({ user: 'app', database: 'ledger' });

/** Up to the first command. */
export function logIn(wire: Wire): Wire {
  wire.client(startup({ user: 'agent', database: 'ledger' }));
  wire.target(Buffer.from('N'));
  wire.client(front.password('token'));
  answer(wire, 'Open', { session: 'ses-1', greeting: GREETING });
  wire.target(Buffer.concat([back.authentication(0), back.parameter('client_encoding', 'UTF8'), back.key(7, 8), back.ready()]));
  answer(wire, 'Ready', {});
  wire.target(back.ready());
  wire.got();
  wire.seen();
  wire.vm.asked.splice(0);
  return wire;
}

export const session = (piece = 0): Wire => logIn(connected(piece));

let commands = 0;
export const allow = (wire: Wire, plan: Answer = {}, more: Answer = {}): void =>
  answer(wire, 'Judge', { command: ++commands, allowed: { plan, policy_revision: 'r1', ...more } });
export const deny = (wire: Wire, message = 'denied by rule', more: Answer = {}): void =>
  answer(wire, 'Judge', { command: ++commands, refused: { kind: 'DENIED', message, ...more } });
