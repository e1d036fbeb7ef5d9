import type { Algorithm } from './algorithm.ts';
import { type Fetch, fetchJson } from './fetch_json.ts';
import { type Authority, type KeySetTerms, trustworthyUrl } from './issuer.ts';
import { type SigningKey, signingKey } from './signing_key.ts';

/** What the verifier needs from outside. The logger is pino's, or any with these two. */
export interface KeySetSources {
  readonly fetch: Fetch;
  /** Unix milliseconds. */
  readonly now: () => number;
  readonly logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export interface KeySetStatus {
  readonly issuer: string;
  readonly keys: number;
  /** Unix milliseconds of the last fetch that worked; null before the first. */
  readonly fetchedAt: number | null;
  /** Why the last fetch failed, or empty. */
  readonly failure: string;
}

const MAX_KEYS = 100;
/** With nothing to serve, waiting helps nobody; this only keeps a burst of callers from becoming a burst of fetches. */
const EMPTY_RETRY_MS = 1000;

/**
 * The keys of one authority, fetched, kept and replaced.
 *
 * Age since the last good fetch → what happens: up to `refreshMs`, served · up to twice that, served while a fetch runs · past it, the next caller waits
 * for a fetch, unless the last one failed · past `maxStaleMs`, nothing is served. So a key that the issuer has withdrawn is out after two refresh
 * intervals at most while the issuer answers, and after `maxStaleMs` if it does not. No timers: callers' own clocks drive it.
 */
export class KeySet {
  readonly authority: Authority;
  readonly #terms: KeySetTerms;
  readonly #sources: KeySetSources;
  #keys: readonly SigningKey[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #attemptedAt = Number.NEGATIVE_INFINITY;
  #failure = '';
  #fetching: Promise<void> | undefined;

  constructor(authority: Authority, terms: KeySetTerms, sources: KeySetSources) {
    this.authority = authority;
    this.#terms = terms;
    this.#sources = sources;
  }

  /** Whether what this set verified earlier may count now, without waiting. Starts a fetch when one is due. */
  serves(now: number): boolean {
    const age = now - this.#fetchedAt;
    if (age < this.#terms.refreshMs && age >= 0) return true;
    if (this.#mayFetch(now)) void this.#fetch();
    return Math.abs(age) < (this.#failure === '' ? 2 * this.#terms.refreshMs : this.#terms.maxStaleMs);
  }

  /** Fetches what must be fetched before the set can be asked. False: the issuer cannot be reached, and there is nothing left that may serve. */
  async available(): Promise<boolean> {
    if (!this.serves(this.#sources.now())) await this.#fetching;
    return this.serves(this.#sources.now());
  }

  /** The keys that may have signed under this header. An absent `kid` leaves all that fit the algorithm, and duplicates of one leave both. */
  candidates(alg: Algorithm, kid: string | undefined): readonly SigningKey[] {
    const { iss, tenant, keyIssuer } = this.authority;
    return this.#keys.filter((key) => {
      const issuer = key.issuer.replace('{tenantid}', tenant);
      return (
        key.algorithms.has(alg) &&
        (kid === undefined || key.kid === kid) &&
        (keyIssuer === '' || issuer === '' || issuer === iss || issuer === keyIssuer)
      );
    });
  }

  /** A token names a key that is not here: fetches, at the bounded rate. False when that could not be done or has failed. */
  async renew(): Promise<boolean> {
    if (this.#fetching === undefined && this.#mayFetch(this.#sources.now())) void this.#fetch();
    await this.#fetching;
    return this.#failure === '';
  }

  get status(): KeySetStatus {
    return {
      issuer: this.authority.iss,
      keys: this.#keys.length,
      fetchedAt: Number.isFinite(this.#fetchedAt) ? this.#fetchedAt : null,
      failure: this.#failure,
    };
  }

  #mayFetch(now: number): boolean {
    const empty = !Number.isFinite(this.#fetchedAt) || now - this.#fetchedAt >= this.#terms.maxStaleMs;
    const rest = empty ? Math.min(EMPTY_RETRY_MS, this.#terms.cooldownMs) : this.#terms.cooldownMs;
    return this.#fetching === undefined && Math.abs(now - this.#attemptedAt) >= rest;
  }

  /** Never rejects. */
  #fetch(): Promise<void> {
    this.#fetching = this.#download()
      .then(
        (jwks) => this.#adopt(jwks),
        (error: unknown) => {
          const { message, cause } = error as Error;
          this.#failure = cause instanceof Error ? `${message}: ${cause.message}` : message;
          this.#sources.logger.warn(
            { issuer: this.authority.iss, failure: this.#failure, serving: this.#keys.length },
            'the key set of an issuer could not be fetched',
          );
        },
      )
      .finally(() => {
        this.#attemptedAt = this.#sources.now();
        this.#fetching = undefined;
      });
    return this.#fetching;
  }

  async #download(): Promise<readonly unknown[]> {
    const { fetch } = this.#sources;
    const { source, iss } = this.authority;
    const { keys } = await fetchJson(
      fetch,
      'jwksUri' in source ? source.jwksUri : await this.#discover(source.metadataUri, iss),
      this.#terms.timeoutMs,
    );
    if (!Array.isArray(keys) || keys.length > MAX_KEYS) throw new Error(`the key set of ${iss} is no JWK set of at most ${MAX_KEYS} keys`);
    return keys;
  }

  async #discover(metadataUri: string, iss: string): Promise<string> {
    const { issuer, jwks_uri: uri } = await fetchJson(this.#sources.fetch, metadataUri, this.#terms.timeoutMs);
    if (issuer !== iss) throw new Error(`${metadataUri} is the metadata of another issuer than ${iss}`);
    if (typeof uri !== 'string' || !trustworthyUrl(uri)) throw new Error(`${metadataUri} names no https jwks_uri`);
    return uri;
  }

  /** A key that stays published stays the same object, so a rotation does not make every caller's token be verified anew. */
  #adopt(jwks: readonly unknown[]): void {
    const { logger, now } = this.#sources;
    const known = new Map(this.#keys.map((key) => [key.published, key]));
    const adopted = new Map<string, SigningKey>();
    for (const jwk of jwks) {
      const key = signingKey(jwk);
      if ('useless' in key) logger.info({ issuer: this.authority.iss, why: key.useless }, 'a published key is left out');
      else adopted.set(key.published, known.get(key.published) ?? key);
    }
    for (const key of this.#keys) key.withdrawn = !adopted.has(key.published);
    this.#keys = [...adopted.values()];
    this.#fetchedAt = now();
    this.#failure = '';
  }
}
