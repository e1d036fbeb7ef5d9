/** What the door knows of the targets: replaced as a whole when the configuration changes. */
import type { Target } from '../config/config.ts';
import { type Credentials, createCredentials } from '../credential/credential.ts';
import { EntraTokens } from '../credential/entra.ts';
import type { TargetInfo } from '../decision/request.ts';
import type { RecordLimits } from '../mask/plan.ts';

const NOTHING: RecordLimits = { maxRequestBytes: 0, maxResponseBytes: 0 };

export class Targets {
  #known: ReadonlyMap<string, { readonly info: TargetInfo; readonly credential: string; readonly limits: RecordLimits }> = new Map();
  readonly #entra = new EntraTokens();
  #credentials: Credentials = createCredentials({});

  constructor(targets: readonly Target[]) {
    this.replace(targets);
  }

  replace(targets: readonly Target[]): void {
    this.#known = new Map(
      targets.map((target) => {
        const { name, protocol, labels, credential } = target;
        const info = { name, protocol, labels, ...(target.protocol === 'postgres' && { sensitive: target.sensitive }) };
        return [name, { info, credential, limits: target.record }];
      }),
    );
    const configs = Object.fromEntries(targets.map(({ name, credentials }) => [name, credentials]));
    this.#credentials = createCredentials(configs, undefined, this.#entra);
  }

  info(name: string): TargetInfo | undefined {
    return this.#known.get(name)?.info;
  }

  /** How much payload is recorded of a request to it; of one that is not known, nothing. */
  limits(name: string): RecordLimits {
    return this.#known.get(name)?.limits ?? NOTHING;
  }

  /**
   * The target's credential as headers, in the clear.
   * @param name as the policy chose it; empty for the target's default
   * @throws {Error} when it cannot be had; the message holds no secret
   */
  credential(target: string, name: string): (readonly [string, string])[] {
    const found = this.#credentials.headersFor(target, name || (this.#known.get(target)?.credential ?? ''));
    if ('error' in found) throw new Error(found.error.message);
    return found.headers.map(([header, secret]) => [header, secret.reveal()]);
  }

  /** As `credential`, of a target that is logged in to. @throws {Error} as it does */
  logIn(target: string, name: string): { readonly credential: string; readonly username: string; readonly password: string } {
    const found = this.#credentials.logInFor(target, name || (this.#known.get(target)?.credential ?? ''));
    if ('error' in found) throw new Error(found.error.message);
    return { ...found, password: found.password.reveal() };
  }

  /** Credentials that cannot be used now. */
  problems(): ReturnType<Credentials['problems']> {
    return this.#credentials.problems();
  }
}
