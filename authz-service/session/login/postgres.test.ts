import { describe, expect, test } from 'vitest';
import { LogInError } from './error.ts';
import { postgresLogIn, startupMessage } from './postgres.ts';
import { saslPrep } from './saslprep.ts';
import { scramClient } from './scram.ts';

/** RFC 7677 section 3. */
const RFC = {
  first: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  final: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

const authentication = (request: number, body: Uint8Array = Buffer.alloc(0)): Buffer => {
  const message = Buffer.alloc(9 + body.length);
  message.write('R');
  message.writeUInt32BE(8 + body.length, 1);
  message.writeUInt32BE(request, 5);
  message.set(body, 9);
  return message;
};
const mechanisms = (...names: string[]): Buffer => authentication(10, Buffer.from(`${names.join('\0')}\0\0`));

describe('SCRAM-SHA-256', () => {
  test('is the exchange of RFC 7677', async () => {
    const client = scramClient('user', 'pencil', 'rOprNGfwEbeRWgbNEkqO');
    expect(client.first).toBe(RFC.first);
    expect(await client.final(RFC.serverFirst)).toBe(RFC.final);
    expect(() => client.verify(RFC.serverFinal)).not.toThrow();
  });

  test.each([
    ['another signature', 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5='],
    ['an error', 'e=invalid-proof'],
    ['nothing', ''],
    ['a shorter signature', 'v=6rri'],
  ])('does not take %s for the proof of the server', async (_, serverFinal) => {
    const client = scramClient('user', 'pencil', 'rOprNGfwEbeRWgbNEkqO');
    await client.final(RFC.serverFirst);
    expect(() => client.verify(serverFinal)).toThrow(expect.objectContaining({ code: 'unproven' }));
  });

  test('takes no proof before there was a challenge', () => {
    expect(() => scramClient('user', 'pencil').verify(RFC.serverFinal)).toThrow(LogInError);
  });

  test.each([
    ['another nonce', RFC.serverFirst.replace('r=rO', 'r=xO')],
    ['our nonce alone', 'r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['a mandatory extension', `m=x,${RFC.serverFirst}`],
    ['no salt', RFC.serverFirst.replace(/s=[^,]*/, 's=')],
    ['a salt that is no base64', RFC.serverFirst.replace(/s=[^,]*/, 's=#')],
    ['few iterations', RFC.serverFirst.replace('4096', '4095')],
    ['endless iterations', RFC.serverFirst.replace('4096', '999999999')],
  ])('refuses a challenge with %s', async (_, serverFirst) => {
    await expect(scramClient('user', 'pencil', 'rOprNGfwEbeRWgbNEkqO').final(serverFirst)).rejects.toThrow(LogInError);
  });

  test('has a new nonce each time', () => expect(scramClient('', 'p').first).not.toBe(scramClient('', 'p').first));
});

test.each([
  ['I\u00adX', 'IX'],
  ['user', 'user'],
  ['\u00aa', 'a'],
  ['\u2168', 'IX'],
  // Prohibited and bidirectional (RFC 4013 section 3): PostgreSQL uses the password as it is.
  ['\u0007', '\u0007'],
  ['\u0627\u0031', '\u0627\u0031'],
  ['p\u00e4ss\u00a0wort', 'p\u00e4ss wort'],
])('SASLprep of %o is %o (RFC 4013 section 3)', (text, prepared) => expect(saslPrep(text)).toBe(prepared));

describe('a log-in with PostgreSQL', () => {
  const begin = () => postgresLogIn({ username: 'app', password: 'pencil' }, 'rOprNGfwEbeRWgbNEkqO');

  test('greets with protocol 3.0 and the parameters', () => {
    expect(
      startupMessage([
        ['user', 'app'],
        ['database', 'ledger'],
      ]).toString('latin1'),
    ).toBe('\0\0\0\x22\0\x03\0\0user\0app\0database\0ledger\0\0');
  });

  test('by SCRAM, whose name is left to the start-up message', async () => {
    const logIn = begin();
    expect((await logIn.step(mechanisms('SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'))).toString()).toBe(
      'p\0\0\0\x32SCRAM-SHA-256\0\0\0\0\x1cn,,n=,r=rOprNGfwEbeRWgbNEkqO',
    );
    expect(logIn.complete).toBe(false);
    const reply = await logIn.step(authentication(11, Buffer.from(RFC.serverFirst)));
    expect(reply.toString()).toMatch(/^p\0\0\0.c=biws,r=rOpr.*,p=[A-Za-z0-9+/]{43}=$/su);
    expect(logIn.complete).toBe(false);
    await expect(logIn.step(authentication(12, Buffer.from(RFC.serverFinal)))).rejects.toMatchObject({ code: 'unproven' });
    expect(logIn.complete).toBe(false);
  });

  test('by md5', async () => {
    const logIn = begin();
    // md5(md5('pencilapp') ‖ salt), worked out with another tool.
    expect((await logIn.step(authentication(5, Buffer.from([1, 2, 3, 4])))).toString()).toBe(
      'p\0\0\0\x28md54bfca4ca571b8df74c2fc2247888d96f\0',
    );
    expect(logIn.complete).toBe(true);
  });

  test('by the password itself', async () => {
    const logIn = begin();
    expect((await logIn.step(authentication(3))).toString()).toBe('p\0\0\0\x0bpencil\0');
    expect(logIn.complete).toBe(true);
  });

  test('is complete when the server asks for nothing', () => expect(begin().complete).toBe(true));

  test.each([
    ['channel binding alone', mechanisms('SCRAM-SHA-256-PLUS'), /channel binding/],
    ['another mechanism', mechanisms('OAUTHBEARER'), /no SASL mechanism/],
    ['GSSAPI', authentication(7), /request 7/],
    ['a second step without a first', authentication(11, Buffer.from(RFC.serverFirst)), /protocol/],
    ['a proof without an exchange', authentication(12, Buffer.from(RFC.serverFinal)), /protocol/],
    ['a short salt', authentication(5, Buffer.from([1, 2])), /protocol/],
    ['a wrong length', Buffer.from('R\0\0\0\x0c\0\0\0\x03'), /protocol/],
    ['no message', Buffer.from('R'), /protocol/],
    ['another message', Buffer.from('Z\0\0\0\x08IIII'), /protocol/],
    ['an error', Buffer.from('E\0\0\0\x29SFATAL\0C28P01\0Mpassword for "app"\0\0'), /SQLSTATE 28P01/],
  ])('refuses %s', async (_, message, reason) => {
    if (message[0] === 0x45) message.writeUInt32BE(message.length - 1, 1);
    const failure: unknown = await begin()
      .step(message)
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(LogInError);
    expect((failure as Error).message).toMatch(reason);
    expect((failure as Error).message).not.toMatch(/pencil|password for/);
  });

  test('is not asked twice: the second could be for another to hear', async () => {
    const logIn = begin();
    await logIn.step(authentication(5, Buffer.from([1, 2, 3, 4])));
    await expect(logIn.step(authentication(3))).rejects.toThrow(LogInError);
  });
});
