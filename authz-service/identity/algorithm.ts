/** The signature algorithms (RFC 7518, RFC 8037) that an issuer may be configured with. Only asymmetric ones have a row, so `none` and `HS*` cannot be named. */

interface KeyShape {
  readonly kty: 'RSA' | 'EC' | 'OKP';
  /** The only curve that fits; empty where the key type has none. */
  readonly crv: string;
}

const RSA: KeyShape = { kty: 'RSA', crv: '' };

export const ALGORITHMS = {
  RS256: RSA,
  RS384: RSA,
  RS512: RSA,
  PS256: RSA,
  PS384: RSA,
  PS512: RSA,
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  ES512: { kty: 'EC', crv: 'P-521' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
} as const satisfies Record<string, KeyShape>;

export type Algorithm = keyof typeof ALGORITHMS;

export const isAlgorithm = (name: unknown): name is Algorithm => typeof name === 'string' && Object.hasOwn(ALGORITHMS, name);

/** Whether a key of this shape can check a signature of this algorithm. */
export const fits = (alg: Algorithm, kty: unknown, crv: unknown): boolean =>
  ALGORITHMS[alg].kty === kty && (ALGORITHMS[alg].crv === '' || ALGORITHMS[alg].crv === crv);
