import { type EntraIdentity, EntraTokens } from './entra.ts';
import { Secret } from './secret.ts';
import {
  type CredentialError,
  isError,
  type SecretReader,
  type SecretSource,
  type SecretSurroundings,
  secretReader,
} from './secret_source.ts';

export type { CredentialError, SecretSource } from './secret_source.ts';

/** How the gateway proves itself to a target. */
export type CredentialConfig =
  | { readonly type: 'bearer'; readonly secret: SecretSource }
  | { readonly type: 'basic'; readonly username: string; readonly secret: SecretSource }
  | { readonly type: 'header'; readonly name: string; readonly secret: SecretSource }
  /** A log-in of the target's own protocol: `session/` computes it. */
  | { readonly type: 'password'; readonly username: string; readonly secret: SecretSource }
  /** A token of Microsoft Entra: as a bearer token, or, with a `username`, as the password of a log-in. */
  | ({ readonly type: 'entra'; readonly username?: string } & EntraIdentity)
  | { readonly type: 'none' };

/** Header names in lower case; the values print as `[secret]`. */
export type CredentialHeaders =
  | { readonly headers: readonly (readonly [name: string, value: Secret])[] }
  | { readonly error: CredentialError };

/** A log-in of the target's own protocol; the password prints as `[secret]`. */
export type CredentialLogIn =
  /** `credential`: its name. */
  { readonly credential: string; readonly username: string; readonly password: Secret } | { readonly error: CredentialError };

export interface Credentials {
  /**
   * The headers to add to a request to the target. Synchronous, and from memory but for five looks a second at each file.
   * @param name as the policy chose it; empty for the target's default: the one named `default`, or the only one, or none when the target has none.
   */
  headersFor(target: string, name: string): CredentialHeaders;
  /** As `headersFor`, of a target that is logged in to. */
  logInFor(target: string, name: string): CredentialLogIn;
  /** Every credential that cannot be used now, but for what is on its way: for a check before the doors open. */
  problems(): readonly { readonly target: string; readonly credential: string; readonly error: CredentialError }[];
}

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** Headers by which a request is framed, routed or judged: not a credential's to set. */
const RESERVED =
  /^(host|content-length|content-type|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade|expect|x-envoy-.*|x-forwarded-.*|x-http-method(-override)?|x-method-override|sluice-.*)$/;

const badRole = (name: string): boolean => /\p{Cc}/u.test(name) || Buffer.byteLength(name) > 63;

/** What is wrong with a credential's configuration, apart from its secret; empty when nothing is. */
export function credentialProblem(config: CredentialConfig): string {
  if (config.type === 'header' && !HEADER_NAME.test(config.name.toLowerCase())) return 'name must be an HTTP header name';
  if (config.type === 'header' && RESERVED.test(config.name.toLowerCase()))
    return `name must not be ${config.name.toLowerCase()}, which the gateway sets itself`;
  if (config.type === 'basic' && /[:\p{Cc}]/u.test(config.username))
    return 'username must have no colon and no control characters (RFC 7617)';
  if ((config.type === 'password' || config.type === 'entra') && config.username !== undefined && badRole(config.username))
    return 'username must be the name of a role: at most 63 bytes, no control characters';
  return '';
}

/** @throws {TypeError} when `credentialProblem` finds one. */
export function createCredentials(
  configs: Readonly<Record<string, Readonly<Record<string, CredentialConfig>>>>,
  surroundings: SecretSurroundings = { env: process.env, now: Date.now },
  entra: EntraTokens = new EntraTokens(surroundings.env),
): Credentials {
  const targets = new Map(
    Object.entries(configs).map(([target, named]) => [
      target,
      new Map(Object.entries(named).map(([name, config]) => [name, credential(target, name, config, surroundings, entra)])),
    ]),
  );
  const chosenOf = (target: string, name: string): Credential | undefined => {
    const named = targets.get(target) ?? new Map<string, Credential>();
    return named.get(name || 'default') ?? (name === '' && named.size === 1 ? [...named.values()][0] : undefined);
  };
  const unknown = (target: string, name: string): { readonly error: CredentialError } => ({
    error: {
      code: 'credential_unknown',
      message:
        name === ''
          ? `target ${target} has several credentials and none named default`
          : `target ${target} has no credential of the name that the policy chose`,
    },
  });
  return {
    headersFor(target, name) {
      const chosen = chosenOf(target, name);
      if (chosen !== undefined) return chosen.headers();
      return name === '' && (targets.get(target)?.size ?? 0) === 0 ? { headers: [] } : unknown(target, name);
    },
    logInFor: (target, name) => chosenOf(target, name)?.logIn() ?? unknown(target, name),
    problems: () =>
      [...targets].flatMap(([target, named]) =>
        [...named].flatMap(([name, { usable }]) => {
          const outcome = usable();
          return isError(outcome) && outcome.error.code !== 'secret_pending' ? [{ target, credential: name, error: outcome.error }] : [];
        }),
      ),
  };
}

interface Credential {
  readonly headers: () => CredentialHeaders;
  readonly logIn: () => CredentialLogIn;
  /** Whichever of the two it is for. */
  readonly usable: () => CredentialHeaders | CredentialLogIn;
}

function credential(
  target: string,
  name: string,
  config: CredentialConfig,
  surroundings: SecretSurroundings,
  entra: EntraTokens,
): Credential {
  const problem = credentialProblem(config);
  if (problem !== '') throw new TypeError(`credential ${name} of target ${target}: ${problem}`);
  const label = `credential ${name} of target ${target}`;
  const unfit = (what: string) => () => ({ error: { code: 'credential_unknown', message: `${label} ${what}` } }) as const;
  if (config.type === 'none') {
    const headers = (): CredentialHeaders => ({ headers: [] });
    return { headers, logIn: unfit('is none'), usable: headers };
  }
  const reader = config.type === 'entra' ? entra.reader(config) : secretReader(config.secret, surroundings);
  const username = config.type === 'password' || config.type === 'entra' ? config.username : undefined;
  if (username === undefined) {
    const headers = remake(reader, (secret) => header(secret, config), label);
    return { headers, logIn: unfit('is for HTTP'), usable: headers };
  }
  const logIn = (): CredentialLogIn => {
    const outcome = reader.read();
    if (isError(outcome)) return { error: { ...outcome.error, message: `${label}: ${outcome.error.message}` } };
    return { credential: name, username, password: outcome.secret };
  };
  return { headers: unfit('is a password, which no header carries'), logIn, usable: logIn };
}

/** Makes the headers anew only when the secret has changed. */
function remake(
  reader: SecretReader,
  make: (secret: string) => readonly [string, string] | string,
  label: string,
): () => CredentialHeaders {
  let last: Secret | undefined;
  let made: CredentialHeaders = { headers: [] };
  return () => {
    const outcome = reader.read();
    if (isError(outcome)) return { error: { ...outcome.error, message: `${label}: ${outcome.error.message}` } };
    if (outcome.secret !== last) {
      const entry = make(outcome.secret.reveal());
      made =
        typeof entry === 'string'
          ? { error: { code: 'secret_invalid', message: `${label}: ${entry}` } }
          : { headers: [[entry[0], new Secret(entry[1])]] };
      last = outcome.secret;
    }
    return made;
  };
}

/** The header, or why the secret cannot be one. */
function header(secret: string, config: Exclude<CredentialConfig, { type: 'none' }>): readonly [string, string] | string {
  if (config.type === 'basic') return ['authorization', `Basic ${Buffer.from(`${config.username}:${secret}`).toString('base64')}`];
  if (!/^[\x20-\x7E]+$/.test(secret)) return 'the secret has characters outside of ASCII, which no header carries safely';
  if (config.type === 'header') return [config.name.toLowerCase(), secret];
  return secret.includes(' ') ? 'the secret has a space, so it is no bearer token' : ['authorization', `Bearer ${secret}`];
}
