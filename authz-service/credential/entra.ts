/** Access tokens of Microsoft Entra as secrets: fetched ahead of need, so that a request or a log-in waits for none. */
import { type Environment, managedIdentity, workloadIdentity } from './azure.ts';
import { Secret } from './secret.ts';
import { type CredentialError, failed, type SecretOutcome, type SecretReader } from './secret_source.ts';
import { keptToken, type Token } from './token_source.ts';

export interface EntraIdentity {
  readonly identity: 'managed' | 'workload';
  /** Of a user-assigned identity, or of the federated application; empty: the environment's. */
  readonly clientId: string;
  /** Whom the token is for: an application ID URI, without `/.default`. */
  readonly resource: string;
}

/** How often it is looked whether a token is to be renewed. */
const LOOK_EVERY_MS = 5_000;

/** Of one process: whoever asks for the same identity and resource shares the token, also across changes of the configuration. */
export class EntraTokens {
  readonly #env: Environment;
  readonly #lookEveryMs: number;
  readonly #readers = new Map<string, AheadOfNeed>();

  constructor(env: Environment = process.env, lookEveryMs: number = LOOK_EVERY_MS) {
    this.#env = env;
    this.#lookEveryMs = lookEveryMs;
  }

  reader({ identity, clientId, resource }: EntraIdentity): SecretReader {
    const key = JSON.stringify([identity, clientId, resource]);
    const known = this.#readers.get(key);
    if (known) return known;
    const give = identity === 'workload' ? workloadIdentity : managedIdentity;
    const reader = new AheadOfNeed(`the token of Entra for ${resource}`, () => give({ resource, clientId }, this.#env), this.#lookEveryMs);
    this.#readers.set(key, reader);
    return reader;
  }

  close(): void {
    for (const reader of this.#readers.values()) reader.close();
    this.#readers.clear();
  }
}

class AheadOfNeed implements SecretReader {
  readonly #what: string;
  readonly #token: () => Promise<string>;
  readonly #timer: NodeJS.Timeout;
  #outcome: SecretOutcome;
  /** Unix milliseconds; 0 when nobody said. */
  #expiresAt = 0;

  constructor(what: string, fetchToken: () => Promise<Token>, lookEveryMs: number) {
    this.#what = what;
    this.#outcome = this.#none('secret_pending', 'is being fetched');
    this.#token = keptToken(async () => {
      const token = await fetchToken();
      this.#expiresAt = token.expiresAt;
      return token;
    });
    this.#timer = setInterval(() => this.#look(), lookEveryMs).unref();
    this.#look();
  }

  /** The same object for as long as the token is the same. */
  read(): SecretOutcome {
    if (this.#expiresAt === 0 || Date.now() < this.#expiresAt || 'error' in this.#outcome) return this.#outcome;
    return this.#none('secret_missing', 'has ended, and there is no other yet');
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    this.#token().then(
      (value) => {
        if ('error' in this.#outcome || this.#outcome.secret.reveal() !== value) this.#outcome = { secret: new Secret(value) };
      },
      (error: Error) => {
        this.#outcome = this.#none('secret_missing', `cannot be had: ${error.message}`);
      },
    );
  }

  #none(code: CredentialError['code'], why: string): SecretOutcome {
    return failed(code, `${this.#what} ${why}`);
  }
}
