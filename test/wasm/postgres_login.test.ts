import { describe, expect, test } from 'vitest';
import { Vm } from './postgres_host.fixture.ts';
import { answer, connected, GREETING, logIn, open } from './postgres_session.fixture.ts';
import { back, cancel, front, GSSENC_REQUEST, message, SSL_REQUEST, startup, words } from './postgres_wire.fixture.ts';

const NO_PROTOCOL = 'packet 589833';
const start = startup({ user: 'agent', database: 'ledger', application_name: 'psql' });
const fatal = (code: string, text: RegExp): RegExp => new RegExp(`^E\\{S:FATAL \\| C:${code} \\| M:.*${text.source}`);

describe('the start of a session', () => {
  test('nothing of the client reaches the target before the identity is known, and the client hears of nothing before the session is recorded', () => {
    const wire = connected();
    wire.client(start);
    expect(wire.got()).toEqual(SSL_REQUEST);
    wire.target(Buffer.from('N'));
    expect(words(wire.seen())).toEqual(['R3']);
    wire.client(front.password('a.b.c'));
    expect(wire.got().length).toBe(0);
    expect(open(wire, 'Open').request).toMatchObject({
      target: 'ledger',
      downstream_address: '10.0.0.1:5',
      token: Buffer.from('a.b.c'),
      parameters: { user: 'agent', database: 'ledger', application_name: 'psql' },
    });
    answer(wire, 'Open', { session: 'ses-1', greeting: GREETING });
    expect(wire.got()).toEqual(GREETING);
    const challenge = back.authentication(10, Buffer.from('SCRAM-SHA-256\0\0'));
    wire.target(challenge);
    expect(open(wire, 'LogIn').request).toMatchObject({ session: 'ses-1', message: challenge });
    answer(wire, 'LogIn', { reply: Buffer.from('proof') });
    expect(wire.got().toString()).toBe('proof');
    // What follows waits for the answer about the last challenge.
    const final = back.authentication(12, Buffer.from('v='));
    const entered = [back.authentication(0), back.parameter('client_encoding', 'UTF8'), back.key(7, 8), back.ready()];
    wire.target(Buffer.concat([final, ...entered]));
    expect(wire.vm.asked.some(({ method }) => method === 'Ready')).toBe(false);
    answer(wire, 'LogIn', {});
    expect(open(wire, 'Ready').request).toMatchObject({ session: 'ses-1', cancel_key: back.key(7, 8).subarray(5) });
    expect(wire.seen().length).toBe(0);
    answer(wire, 'Ready', {});
    expect(wire.got()).toEqual(front.sync);
    expect(wire.seen().length).toBe(0);
    wire.target(back.ready());
    expect(wire.seen()).toEqual(Buffer.concat(entered));
  });

  test('in pieces of every size it is the same', () => {
    for (let piece = 1; piece < 40; piece++) {
      const wire = logIn(connected(piece));
      wire.client(front.query('select 1'));
      expect(open(wire, 'Judge').request).toMatchObject({ text: Buffer.from('select 1') });
    }
  });

  test('a request for encryption is answered with the target’s own N, and the other kind serves to ask for the password', () => {
    const wire = connected();
    wire.client(SSL_REQUEST);
    expect(wire.got()).toEqual(SSL_REQUEST);
    wire.target(Buffer.from('N'));
    expect(wire.seen().toString()).toBe('N');
    wire.client(start);
    expect(wire.got()).toEqual(GSSENC_REQUEST);
    wire.target(Buffer.from('N'));
    expect(words(wire.seen())).toEqual(['R3']);
  });

  test('a passage needs no password', () => {
    const through = new Vm().connect('ses-9');
    through.client(start);
    expect(open(through, 'Open').request).toMatchObject({ passage: 'ses-9' });
    expect(open(through, 'Open').request.token).toBeUndefined();
  });

  test('a newer protocol is negotiated down', () => {
    const wire = connected();
    wire.client(startup({ user: 'a', '_pq_.x': '1' }, 0x30002));
    wire.target(Buffer.from('N'));
    expect(words(wire.seen())[0]).toMatch(/^v/);
    expect(open(connectedAfter(wire), 'Open').request).toMatchObject({ parameters: { user: 'a' } });
  });
});

function connectedAfter(wire: ReturnType<typeof connected>): ReturnType<typeof connected> {
  return wire.client(front.password('t'));
}

describe('who is not let in', () => {
  test.each([
    ['UNAUTHENTICATED', '28000'],
    ['DENIED', '42501'],
    ['UNAVAILABLE', '08006'],
    ['UNSUPPORTED', '0A000'],
    ['CANCELLED', '57014'],
  ])('%s is said as %s, in the place of what the target says to nonsense', (kind, code) => {
    const wire = connected();
    wire.client(start).target(Buffer.from('N'));
    wire.client(front.password('t'));
    wire.got();
    wire.seen();
    answer(wire, 'Open', { refusal: { kind, message: 'because' } });
    expect(words(wire.got())).toEqual([NO_PROTOCOL]);
    wire.target(back.error({ S: 'FATAL', V: 'FATAL', C: '0A000', M: 'unsupported frontend protocol' }));
    expect(words(wire.seen())).toEqual([`E{S:FATAL | C:${code} | M:because}`]);
    wire.vm.host.advance(100);
    expect(wire.closed).toBe(true);
  });

  test('a service that does not answer, or cannot be asked, lets nobody in', () => {
    for (const away of [true, false]) {
      const wire = connected();
      wire.client(start).target(Buffer.from('N'));
      wire.vm.host.grpcAvailable = !away;
      wire.client(front.password('t'));
      if (!away) answer(wire, 'Open', 14);
      wire.seen();
      wire.target(back.error({ S: 'FATAL', C: '0A000', M: 'x' }));
      expect(words(wire.seen())[0]).toMatch(fatal('08006', /cannot decide/));
    }
  });

  test('what the target says to a failed log-in stays with the gateway', () => {
    const wire = connected();
    wire.client(start).target(Buffer.from('N'));
    wire.client(front.password('t'));
    answer(wire, 'Open', { session: 's', greeting: GREETING });
    wire.seen();
    wire.target(back.error({ S: 'FATAL', C: '28P01', M: 'password authentication failed for user "app"' }));
    expect(words(wire.seen())).toEqual(['E{S:FATAL | C:08006 | M:the target did not let the gateway in (28P01)}']);
  });

  test.each([
    ['a server that wants TLS inside the connection', 'S'],
    ['a server with GSS', 'G'],
    ['a server that serves nobody', 'E\0\0\0\x04'],
  ])('%s', (_, reply) => {
    const wire = connected();
    wire.client(start).target(Buffer.from(reply));
    expect(words(wire.seen())[0]).toMatch(fatal('08006', /target/));
    wire.vm.host.advance(100);
    expect(wire.closed).toBe(true);
  });

  test.each([
    ['replication', startup({ user: 'a', replication: 'database' }), '0A000'],
    ['protocol 2', Buffer.concat([Buffer.from([0, 0, 0, 9, 0, 2, 0, 0]), Buffer.alloc(1)]), '0A000'],
    ['bytes behind a request for encryption', Buffer.concat([SSL_REQUEST, start]), '08P01'],
    ['a malformed start-up packet', Buffer.from([0, 0, 0, 12, 0, 3, 0, 0, 65, 66, 67, 68]), '08P01'],
  ])('%s is refused', (_, bytes, code) => {
    const wire = connected();
    wire.client(bytes);
    expect(words(wire.got())).toEqual([NO_PROTOCOL]);
    wire.target(back.error({ S: 'FATAL', C: '0A000', M: 'x' }));
    expect(words(wire.seen())[0]).toMatch(fatal(code, /./));
  });

  test('what is no start-up packet is hung up on', () => {
    const wire = connected();
    wire.client(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    expect(wire.got().length).toBe(0);
    expect(wire.closed).toBe(true);
  });

  test('a third request for encryption is refused', () => {
    const wire = connected();
    wire.client(SSL_REQUEST).target(Buffer.from('N'));
    wire.client(GSSENC_REQUEST).target(Buffer.from('N'));
    wire.client(start);
    wire.target(back.error({ S: 'FATAL', C: '0A000', M: 'x' }));
    expect(words(wire.seen().subarray(2))[0]).toMatch(fatal('0A000', /sslmode=disable/));
  });

  test('a target whose texts would mean something else is refused', () => {
    for (const [name, value] of [
      ['client_encoding', 'SJIS'],
      ['standard_conforming_strings', 'off'],
    ] as const) {
      const wire = connected();
      wire.client(start).target(Buffer.from('N'));
      wire.client(front.password('t'));
      answer(wire, 'Open', { session: 's', greeting: GREETING });
      wire.seen();
      wire.target(Buffer.concat([back.authentication(0), back.parameter(name, value)]));
      expect(words(wire.seen())[0]).toMatch(fatal('0A000', /client_encoding/));
    }
  });

  test('a session that cannot be recorded is not told of', () => {
    const wire = connected();
    wire.client(start).target(Buffer.from('N'));
    wire.client(front.password('t'));
    answer(wire, 'Open', { session: 's', greeting: GREETING });
    wire.seen();
    wire.target(Buffer.concat([back.authentication(0), back.key(1, 2), back.ready()]));
    wire.got();
    answer(wire, 'Ready', { refusal: { kind: 'UNAVAILABLE', message: 'full' } });
    expect(words(wire.got())).toEqual(['!']);
    wire.target(back.error({ S: 'FATAL', C: '08P01', M: 'invalid frontend message type 33' }));
    expect(words(wire.seen())).toEqual(['E{S:FATAL | C:08006 | M:full}']);
  });

  test('commands before the log-in are a violation', () => {
    const wire = connected();
    wire.client(start).target(Buffer.from('N'));
    wire.client(front.query('select 1'));
    wire.seen();
    wire.target(Buffer.from('x'));
    expect(words(wire.seen())[0]).toMatch(fatal('08P01', /password/));
  });

  test('a client that goes away while access is held gives the question up', () => {
    const wire = connected();
    wire.client(start).target(Buffer.from('N'));
    wire.client(front.password('t'));
    const asked = open(wire, 'Open');
    wire.client(Buffer.alloc(0), true);
    wire.end();
    expect(asked.open).toBe(false);
  });

  test('the token is not kept', () => {
    const wire = connected();
    wire.client(start).target(Buffer.from('N'));
    wire.client(front.password('very-secret-token'));
    answer(wire, 'Open', { session: 's', greeting: GREETING });
    wire.target(message('N', Buffer.from('SNOTICE\0\0')));
    expect(wire.vm.host.memoryIncludes('very-secret-token')).toBe(false);
  });
});

describe('a target that is not there: what is sent comes back', () => {
  const UNREACHABLE = fatal('08001', /cannot be reached/);
  /** The peer that Envoy leads to then. */
  const echo = (wire: ReturnType<typeof connected>): void => void wire.target(wire.got());

  test('is told to who asks for a session', () => {
    const wire = connected();
    wire.client(start);
    echo(wire);
    expect(words(wire.seen())).toEqual([expect.stringMatching(UNREACHABLE)]);
    wire.vm.host.advance(100);
    expect(wire.closed).toBe(true);
    expect(wire.vm.asked).toEqual([]);
  });

  test('is told to who asks for encryption first when it has had its answer, for it believes no error before', () => {
    for (const asked of [[SSL_REQUEST], [GSSENC_REQUEST], [GSSENC_REQUEST, SSL_REQUEST]]) {
      const wire = connected();
      wire.client(asked[0] ?? SSL_REQUEST);
      echo(wire);
      expect(wire.seen().toString()).toBe('N');
      expect(wire.closed).toBe(false);
      wire.client(start);
      expect(words(wire.got())).toEqual([NO_PROTOCOL]);
      wire.target(Buffer.from([0, 0, 0, 8, 0, 9, 0, 9]));
      expect(words(wire.seen())).toEqual([expect.stringMatching(UNREACHABLE)]);
    }
  });

  test('is told through a tunnel', () => {
    const wire = new Vm().connect('ses-9');
    wire.client(start);
    answer(wire, 'Open', { session: 'ses-9', greeting: GREETING });
    echo(wire);
    expect(words(wire.seen())).toEqual([expect.stringMatching(UNREACHABLE)]);
  });

  test('ends a request to cancel', () => {
    const wire = connected();
    wire.client(cancel(7, 8));
    answer(wire, 'Cancel', { known: true });
    echo(wire);
    wire.vm.host.advance(100);
    expect(wire.closed).toBe(true);
  });
});

describe('a target that ends the connection before the log-in is over', () => {
  test.each([
    ['while the password is awaited', (wire: ReturnType<typeof connected>) => wire, /before the log-in was over/],
    ['while access is held', (wire: ReturnType<typeof connected>) => wire.client(front.password('t')), /connect again once it is given/],
  ])('%s: the client is told', (_, go, text) => {
    const wire = connected();
    wire.client(start).target(Buffer.from('N'));
    go(wire);
    wire.seen();
    wire.target(Buffer.alloc(0), true);
    expect(words(wire.seen())[0]).toMatch(fatal('08006', text));
  });

  test('access may be held for as long as servers wait for a log-in, from the connection on, and as long as it takes through a tunnel', () => {
    // In whole seconds and tenths: the clock goes on by some nanoseconds meanwhile, and milliseconds are rounded down.
    const waited = (ms: number): number => {
      const wire = connected();
      wire.client(start).target(Buffer.from('N'));
      wire.vm.host.advance(ms);
      wire.client(front.password('t'));
      return Math.round((open(wire, 'Open').request.wait_ms as number) / 100) * 100;
    };
    // The emulator's clock goes on between the two.
    const seconds = [0, 20_000, 49_500, 200_000].map((ms) => Math.ceil(Number(waited(ms)) / 1_000));
    expect(seconds).toEqual([50, 30, 1, 1]);
    const through = new Vm().connect('ses-9');
    through.client(start);
    expect(open(through, 'Open').request.wait_ms ?? 0).toBe(0);
  });
});

describe('a cancel request', () => {
  test('is forwarded when the service knows the session', () => {
    const wire = connected();
    wire.client(cancel(7, 8));
    expect(wire.got().length).toBe(0);
    expect(open(wire, 'Cancel').request).toMatchObject({ target: 'ledger', cancel_key: back.key(7, 8).subarray(5) });
    answer(wire, 'Cancel', { known: true });
    expect(wire.got()).toEqual(cancel(7, 8));
  });

  test.each([[{ known: false }], [14], [{}]])('and not with %j', (response) => {
    const wire = connected();
    wire.client(cancel(7, 8));
    answer(wire, 'Cancel', response);
    expect(wire.got().length).toBe(0);
    expect(wire.closed).toBe(true);
  });
});
