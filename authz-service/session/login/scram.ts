/** SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side, without channel binding: texts in, texts out. */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { LogInError } from './error.ts';
import { saslPrep } from './saslprep.ts';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';

/** RFC 7677 section 4: fewer would make a stolen exchange cheap to guess from. */
const LEAST_ITERATIONS = 4096;
/** About two seconds of work: no server asks for more in good faith. */
const MOST_ITERATIONS = 10_000_000;
const HASH_BYTES = 32;

/** `n`: channel binding is not supported here, and this side does not say that it believes otherwise of the server. */
const GS2_HEADER = 'n,,';

const derive = promisify(pbkdf2);
const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest();

export interface ScramClient {
  /** `client-first-message`. */
  readonly first: string;
  /** Answers `server-first-message` with `client-final-message`. @throws {LogInError} */
  final(serverFirst: string): Promise<string>;
  /** Checks `server-final-message`: returns when the server knows the secret too. @throws {LogInError} */
  verify(serverFinal: string): void;
}

/**
 * @param username empty where the protocol around it carries the name, as PostgreSQL does
 * @param nonce printable ASCII without commas; random unless a test gives it
 */
export function scramClient(username: string, password: string, nonce = randomBytes(18).toString('base64')): ScramClient {
  const name = saslPrep(username).replaceAll('=', '=3D').replaceAll(',', '=2C');
  const firstBare = `n=${name},r=${nonce}`;
  let serverSignature: Buffer | undefined;
  return {
    first: `${GS2_HEADER}${firstBare}`,
    async final(serverFirst) {
      const { combined, salt, iterations } = challengeOf(serverFirst, nonce);
      const salted = await derive(saslPrep(password), salt, iterations, HASH_BYTES, 'sha256');
      const withoutProof = `c=${Buffer.from(GS2_HEADER).toString('base64')},r=${combined}`;
      const authMessage = `${firstBare},${serverFirst},${withoutProof}`;
      const clientKey = hmac(salted, 'Client Key');
      const signature = hmac(createHash('sha256').update(clientKey).digest(), authMessage);
      const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] ?? 0)));
      serverSignature = hmac(hmac(salted, 'Server Key'), authMessage);
      return `${withoutProof},p=${proof.toString('base64')}`;
    },
    verify(serverFinal) {
      const [, verifier = ''] = /^v=([A-Za-z0-9+/]{43}=)(?:,.*)?$/.exec(serverFinal) ?? [];
      const told = Buffer.from(verifier, 'base64');
      // Base64 has one spelling of each value; another is not this server's.
      if (!serverSignature || verifier === '' || told.toString('base64') !== verifier || !timingSafeEqual(told, serverSignature))
        throw new LogInError('unproven', 'the target did not prove that it knows the password (SCRAM)');
    },
  };
}

/** RFC 5802 section 5.1. A mandatory extension (`m=`) is refused by not being what is expected here. */
function challengeOf(serverFirst: string, nonce: string): { combined: string; salt: Buffer; iterations: number } {
  const [, combined = '', salt = '', count = ''] =
    /^r=([\x21-\x2b\x2d-\x7e]+),s=((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?),i=([1-9][0-9]{0,9})(?:,.*)?$/.exec(
      serverFirst,
    ) ?? [];
  if (!combined.startsWith(nonce) || combined.length === nonce.length || salt === '')
    throw new LogInError('malformed', "the target's SCRAM challenge is none, or belongs to another exchange");
  const iterations = Number(count);
  if (iterations < LEAST_ITERATIONS || iterations > MOST_ITERATIONS)
    throw new LogInError(
      'refused',
      `the target asks for ${iterations} SCRAM iterations; ${LEAST_ITERATIONS} to ${MOST_ITERATIONS} are done here`,
    );
  return { combined, salt: Buffer.from(salt, 'base64'), iterations };
}
