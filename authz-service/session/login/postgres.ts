/** The log-in with a PostgreSQL server (protocol 3.0, https://www.postgresql.org/docs/current/protocol-flow.html): its messages in, ours out. */
import { createHash } from 'node:crypto';
import { LogInError } from './error.ts';
import { SCRAM_SHA_256, type ScramClient, scramClient } from './scram.ts';

/** What the gateway proves itself with. */
export interface PasswordLogIn {
  readonly username: string;
  readonly password: string;
}

/** One log-in, step by step. */
export interface LogIn {
  /**
   * Answers one message of the server (its type byte, its length, its body).
   * @returns the message to send; empty: nothing yet
   * @throws {LogInError}
   */
  step(message: Uint8Array): Promise<Buffer>;
  /** Whether the server may say now that the log-in is over: it asked for nothing, or has what it asked for and has proved what it has to. */
  readonly complete: boolean;
}

const PROTOCOL_3_0 = 196_608;

const [MD5_SALT_AT, REQUEST_AT] = [9, 5];
/** `Authentication*` by the number that tells them apart. */
const REQUEST = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

/** `StartupMessage`, whole. Names and values hold no NUL. */
export function startupMessage(parameters: Iterable<readonly [name: string, value: string]>): Buffer {
  const pairs = [...parameters].map(([name, value]) => `${name}\0${value}\0`).join('');
  const body = Buffer.from(`${pairs}\0`);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length);
  head.writeUInt32BE(PROTOCOL_3_0, 4);
  return Buffer.concat([head, body]);
}

/** @param nonce of SCRAM; random unless a test gives it */
export function postgresLogIn({ username, password }: PasswordLogIn, nonce?: string): LogIn {
  let scram: ScramClient | undefined;
  /** What the next message must be about; `sent`: everything is said. */
  let awaiting: 'request' | 'continue' | 'final' | 'sent' = 'request';

  const answer = async (request: number, body: Buffer): Promise<Buffer> => {
    switch (request) {
      case REQUEST.cleartext:
        turn(awaiting === 'request');
        awaiting = 'sent';
        return passwordMessage(Buffer.from(`${password}\0`));
      case REQUEST.md5: {
        turn(awaiting === 'request' && body.length === MD5_SALT_AT + 4);
        awaiting = 'sent';
        const inner = md5(Buffer.from(`${password}${username}`));
        return passwordMessage(Buffer.from(`md5${md5(Buffer.concat([Buffer.from(inner), body.subarray(MD5_SALT_AT)]))}\0`));
      }
      case REQUEST.sasl: {
        turn(awaiting === 'request');
        choose(mechanismsOf(body.subarray(REQUEST_AT + 4)));
        // The server takes the name from the start-up message.
        scram = scramClient('', password, nonce);
        awaiting = 'continue';
        return saslInitialResponse(scram.first);
      }
      case REQUEST.saslContinue:
        turn(awaiting === 'continue');
        awaiting = 'final';
        return passwordMessage(Buffer.from((await scram?.final(textOf(body))) ?? ''));
      case REQUEST.saslFinal:
        turn(awaiting === 'final');
        scram?.verify(textOf(body));
        awaiting = 'sent';
        return Buffer.alloc(0);
      default:
        throw new LogInError('unsupported', `the target asks for a log-in that the gateway cannot do (authentication request ${request})`);
    }
  };

  return {
    step: async (message) => {
      const body = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
      turn(body.length >= REQUEST_AT && body.readUInt32BE(1) === body.length - 1);
      if (body[0] === 0x45) throw new LogInError('refused', `the target refuses the gateway's log-in (SQLSTATE ${sqlStateOf(body)})`);
      turn(body[0] === 0x52 && body.length >= REQUEST_AT + 4);
      return answer(body.readUInt32BE(REQUEST_AT), body);
    },
    get complete() {
      return awaiting === 'request' || awaiting === 'sent';
    },
  };
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

const textOf = (body: Buffer): string => body.toString('utf8', REQUEST_AT + 4);

function turn(right: boolean): void {
  if (!right) throw new LogInError('malformed', "the target's log-in does not follow its protocol");
}

function mechanismsOf(list: Buffer): string[] {
  return list.toString('latin1').split('\0').filter(Boolean);
}

/** Channel binding ties a log-in to one TLS connection: between client and server there are two here. */
function choose(mechanisms: readonly string[]): void {
  if (mechanisms.includes(SCRAM_SHA_256)) return;
  if (mechanisms.includes(`${SCRAM_SHA_256}-PLUS`))
    throw new LogInError('unsupported', 'the target insists on channel binding (SCRAM-SHA-256-PLUS), which no gateway can do');
  throw new LogInError('unsupported', 'the target offers no SASL mechanism that the gateway can do (SCRAM-SHA-256)');
}

function saslInitialResponse(first: string): Buffer {
  const name = Buffer.from(`${SCRAM_SHA_256}\0`);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(first));
  return passwordMessage(Buffer.concat([name, length, Buffer.from(first)]));
}

/** `PasswordMessage`, `SASLInitialResponse` and `SASLResponse` have one type byte. */
function passwordMessage(body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head[0] = 0x70;
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

/** Of an `ErrorResponse`: its texts may hold anything, its code cannot. */
function sqlStateOf(message: Buffer): string {
  const [, code = 'unknown'] = /(?:^|\0)C([0-9A-Z]{5})\0/.exec(message.toString('latin1', REQUEST_AT)) ?? [];
  return code;
}
