import { compactVerify } from 'jose';
import { type Algorithm, isAlgorithm } from './algorithm.ts';
import { type Claims, type Subject, subjectOf } from './claims.ts';
import { type Issuer, type IssuerConfig, mediaType, resolveIssuer } from './issuer.ts';
import { KeySet, type KeySetSources, type KeySetStatus } from './key_set.ts';
import { type Refusal, refuse, shown } from './refusal.ts';
import type { SigningKey } from './signing_key.ts';
import { TokenCache } from './token_cache.ts';

export interface Verified extends Subject {
  readonly ok: true;
  /** Unix milliseconds at which the token stops to count: `exp` and the allowed difference of clocks. */
  readonly expiresAt: number;
}

export interface VerifierSources extends KeySetSources {
  /** Characters of verified tokens held at most, about; 32 Mi unless said. */
  readonly cacheBudget: number;
}

const MAX_TOKEN = 16 * 1024;
/** Without a `kid`, or with duplicates of one, each key that fits is tried; this bounds what one token may cost. */
const MAX_TRIALS = 4;

interface Trust {
  readonly issuer: Issuer;
  readonly keySet: KeySet;
}

interface Remembered {
  readonly verified: Verified;
  readonly key: SigningKey;
  readonly keySet: KeySet;
}

/** Proves tokens of the configured issuers. */
export class Verifier {
  readonly #trusted: ReadonlyMap<string, Trust>;
  readonly #remembered: TokenCache<Remembered>;
  readonly #underWay = new Map<string, Promise<Verified | Refusal>>();
  readonly #now: () => number;

  constructor(issuers: readonly Issuer[], sources: VerifierSources) {
    const trusted = issuers.flatMap((issuer) =>
      issuer.authorities.map((authority): [string, Trust] => [
        authority.iss,
        { issuer, keySet: new KeySet(authority, issuer.keys, sources) },
      ]),
    );
    this.#trusted = new Map(trusted);
    if (this.#trusted.size < trusted.length || new Set(issuers.map(({ name }) => name)).size < issuers.length)
      throw new TypeError('two issuers have one name or one issuer URL');
    this.#remembered = new TokenCache(sources.cacheBudget);
    this.#now = sources.now;
  }

  /** Who the token proves; at once when it has been verified before and still counts. Never throws, never rejects. */
  verify(token: string): Verified | Refusal | Promise<Verified | Refusal> {
    const now = this.#now();
    const known = this.#remembered.get(token);
    if (known !== undefined) {
      if (now < known.verified.expiresAt && !known.key.withdrawn && known.keySet.serves(now)) return known.verified;
      this.#remembered.delete(token);
    }
    if (token.length > MAX_TOKEN) return refuse('token_too_large', `The token is longer than ${MAX_TOKEN} characters.`);
    const underWay = this.#underWay.get(token);
    if (underWay !== undefined) return underWay;
    const verdict = this.#verify(token).finally(() => this.#underWay.delete(token));
    this.#underWay.set(token, verdict);
    return verdict;
  }

  /** Fetches every issuer's keys, so that the first caller need not wait. Resolves whether or not all could be had: `status` says. */
  async warm(): Promise<void> {
    await Promise.all([...this.#trusted.values()].map(({ keySet }) => keySet.available()));
  }

  get status(): readonly KeySetStatus[] {
    return [...this.#trusted.values()].map(({ keySet }) => keySet.status);
  }

  async #verify(token: string): Promise<Verified | Refusal> {
    const read = readToken(token);
    if ('ok' in read) return read;
    const trust = typeof read.claims.iss === 'string' ? this.#trusted.get(read.claims.iss) : undefined;
    if (trust === undefined)
      return refuse('issuer_unknown', `The token's issuer is ${shown(read.claims.iss)}, which is not one that is trusted here.`);
    const header = checkHeader(read, trust.issuer);
    if ('ok' in header) return header;
    const key = await signer(token, header, trust.keySet);
    if ('ok' in key) return key;
    // From here on the claims are the issuer's.
    const now = this.#now();
    const verdict = checkClaims(read, trust, now);
    if (verdict.ok) this.#remembered.set(token, { verified: verdict, key, keySet: trust.keySet });
    return verdict;
  }
}

/** @throws {TypeError} when a configuration has a problem (`issuerProblems`), or two have the same name or issuer. */
export function createVerifier(issuers: readonly IssuerConfig[], sources: Partial<VerifierSources> = {}): Verifier {
  return new Verifier(issuers.map(resolveIssuer), {
    fetch: (url, init) => fetch(url, init),
    now: Date.now,
    logger: { info() {}, warn() {} },
    cacheBudget: 32 * 1024 * 1024,
    ...sources,
  });
}

/** Header and payload of a token that nobody has verified: what an attacker may have written. */
interface UnverifiedToken {
  readonly header: Claims;
  readonly claims: Claims;
}

function readToken(token: string): UnverifiedToken | Refusal {
  const parts = token.split('.');
  if (parts.length !== 3) return refuse('token_malformed', 'The token is no signed JWT of three parts.');
  const [header, claims, signature] = [jsonObject(parts[0] ?? ''), jsonObject(parts[1] ?? ''), canonicalBytes(parts[2] ?? '')];
  if (header === undefined || claims === undefined || signature === undefined)
    return refuse('token_malformed', 'The token is no signed JWT: a part is no base64url, or no JSON object.');
  return { header, claims };
}

/** Base64url that is spelled as an encoder does: otherwise one signature would have several texts. */
function canonicalBytes(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : undefined;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function jsonObject(part: string): Claims | undefined {
  try {
    const value: unknown = JSON.parse(utf8.decode(canonicalBytes(part) ?? new Uint8Array()));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Claims) : undefined;
  } catch {
    return undefined;
  }
}

interface Header {
  readonly alg: Algorithm;
  readonly kid: string | undefined;
}

function checkHeader({ header: { alg, kid, typ, crit, b64, jwk }, claims }: UnverifiedToken, issuer: Issuer): Header | Refusal {
  if (!isAlgorithm(alg) || !issuer.algorithms.has(alg))
    return refuse('algorithm_refused', `The token's algorithm is ${shown(alg)}, which its issuer does not sign with.`);
  // `jku`, `x5u` and `x5c` are never read; some issuers send them, so they may be there.
  if (crit !== undefined || b64 !== undefined || jwk !== undefined)
    return refuse('header_refused', "The token's header has crit, b64 or jwk, which are not accepted.");
  if (kid !== undefined && typeof kid !== 'string') return refuse('token_malformed', "The token's kid is no string.");
  if (typ !== undefined && typeof typ !== 'string') return refuse('token_malformed', "The token's typ is no string.");
  const type = mediaType(typ ?? 'JWT');
  if (!issuer.tokenTypes.has(type)) return refuse('token_type_refused', `The token's typ is ${shown(typ)}, which is not accepted.`);
  if (type !== 'at+jwt' && isForeignToken(claims))
    return refuse('token_type_refused', 'The token is an identity, refresh or log-out token, not an access token.');
  return { alg, kid };
}

/** What tells an issuer's other tokens from its access tokens where `typ` does not: Keycloak's payload `typ`; hashes and nonce of OpenID Connect Core section 2; `events`. */
const isForeignToken = (claims: Claims): boolean =>
  claims.typ === undefined
    ? ['at_hash', 'c_hash', 's_hash', 'nonce', 'events'].some((name) => claims[name] !== undefined)
    : claims.typ !== 'Bearer';

/** The key that made the token's signature. */
async function signer(token: string, { alg, kid }: Header, keySet: KeySet): Promise<SigningKey | Refusal> {
  const unavailable = refuse('issuer_unavailable', 'The keys of the token’s issuer cannot be fetched, so the token cannot be verified.');
  if (!(await keySet.available())) return unavailable;
  const tried = keySet.candidates(alg, kid);
  const key = await signedBy(token, alg, tried);
  if (key !== undefined) return key;
  if (kid !== undefined && tried.length > 0) return refuse('signature_invalid', "The token's signature does not verify.");
  const renewed = await keySet.renew();
  const fresh = keySet.candidates(alg, kid).filter((candidate) => !tried.includes(candidate));
  return (
    (await signedBy(token, alg, fresh)) ??
    (renewed
      ? refuse('key_unknown', `The token's key ${shown(kid)} is not one that its issuer publishes, or the signature does not verify.`)
      : unavailable)
  );
}

async function signedBy(token: string, alg: Algorithm, candidates: readonly SigningKey[]): Promise<SigningKey | undefined> {
  for (const key of candidates.slice(0, MAX_TRIALS)) {
    try {
      await compactVerify(token, key.public, { algorithms: [alg] });
      return key;
    } catch {
      // Not by this one.
    }
  }
  return undefined;
}

/** The registered claims (RFC 7519 section 4.1), then what they are about. */
function checkClaims({ claims }: UnverifiedToken, { issuer, keySet: { authority } }: Trust, now: number): Verified | Refusal {
  const { aud, cnf } = claims;
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (!audiences.some((audience) => typeof audience === 'string' && issuer.audiences.has(audience)))
    return refuse('audience_refused', 'The token is for another audience.');
  const times = { exp: instant(claims.exp), nbf: instant(claims.nbf), iat: instant(claims.iat) };
  if (times.exp === 'absent') return refuse('claim_invalid', 'The token has no exp claim.');
  if (times.exp === 'invalid' || times.nbf === 'invalid' || times.iat === 'invalid')
    return refuse('claim_invalid', "One of the token's exp, nbf and iat is no time.");
  const expiresAt = times.exp + issuer.clockSkewMs;
  if (now >= expiresAt) return refuse('token_expired', 'The token has expired.');
  if (times.nbf !== 'absent' && times.nbf - issuer.clockSkewMs > now) return refuse('token_not_yet_valid', 'The token is not valid yet.');
  if (times.iat !== 'absent' && times.iat - issuer.clockSkewMs > now)
    return refuse('token_not_yet_valid', 'The token was issued in the future.');
  if (cnf !== undefined)
    return refuse('sender_constrained', 'The token is bound to a key (cnf), and a bearer token proves no possession of it.');
  const subject = subjectOf(claims, issuer, authority);
  return 'ok' in subject ? subject : { ok: true, ...subject, expiresAt };
}

/** NumericDate, as Unix milliseconds. */
function instant(claim: unknown): number | 'absent' | 'invalid' {
  if (claim === undefined) return 'absent';
  return typeof claim === 'number' && claim >= 0 && claim <= Number.MAX_SAFE_INTEGER / 1000 - 1000 ? claim * 1000 : 'invalid';
}
