import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { ALGORITHMS, type Algorithm, fits, isAlgorithm } from './algorithm.ts';

/** A public key of an issuer. The same object for as long as the issuer publishes the key. */
export interface SigningKey {
  readonly kid: string | undefined;
  readonly algorithms: ReadonlySet<Algorithm>;
  /** Only RFC 7517 members that Sluice reads decide about equality of two publications. */
  readonly published: string;
  /** The Entra issuer that the key is for, or empty. */
  readonly issuer: string;
  readonly public: KeyObject;
  /** Set by the key set that holds it, once the issuer has stopped publishing it: what it has signed counts no more. */
  withdrawn: boolean;
}

const MAX_RSA_BITS = 8192; // one check takes about a millisecond
const MIN_RSA_BITS = 2048; // RFC 7518 section 3.3

/** A member of a JWK set, or why it is of no use. Never throws: a bad key must not take the good ones with it. */
export function signingKey(jwk: unknown): SigningKey | { readonly useless: string } {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) return { useless: 'is no object' };
  const { kid, kty, crv, alg, use, key_ops: operations, n, e, x, y, d, k, issuer } = jwk as Record<string, unknown>;
  if (kid !== undefined && typeof kid !== 'string') return { useless: 'has a kid that is no string' };
  if (d !== undefined || k !== undefined) return { useless: 'is private or symmetric, and published' };
  if (use !== undefined && use !== 'sig') return { useless: 'is not for signatures' };
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return { useless: 'is not for verifying' };
  if (alg !== undefined && !isAlgorithm(alg)) return { useless: 'is for another algorithm' };
  const algorithms = (alg === undefined ? (Object.keys(ALGORITHMS) as Algorithm[]) : [alg]).filter((name) => fits(name, kty, crv));
  if (algorithms.length === 0) return { useless: 'has a type or curve that no algorithm of it has' };
  const published = JSON.stringify([kid, kty, crv, alg, n, e, x, y, issuer]);
  try {
    const key = createPublicKey({ key: { kty, crv, n, e, x, y } as JsonWebKey, format: 'jwk' });
    const { modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {};
    if (modulusLength !== undefined && (modulusLength < MIN_RSA_BITS || modulusLength > MAX_RSA_BITS))
      return { useless: `has ${modulusLength} bits` };
    // An even exponent or 1 makes signatures forgeable; a huge one makes each check slow.
    if (publicExponent !== undefined && (publicExponent < 3n || publicExponent > 0xffff_ffffn || publicExponent % 2n === 0n))
      return { useless: 'has a bad exponent' };
    return {
      kid,
      algorithms: new Set(algorithms),
      published,
      issuer: typeof issuer === 'string' ? issuer : '',
      public: key,
      withdrawn: false,
    };
  } catch {
    return { useless: 'is malformed' };
  }
}
