import { type Algorithm, isAlgorithm } from './algorithm.ts';

/** An issuer as the operator configures it. Absent fields have the defaults given here. */
export interface IssuerConfig {
  /** Prefix of every identity of this issuer (`<name>:<subject>`): lower-case letters, digits, `-`, `_`, `.`. */
  readonly name: string;
  readonly kind: 'oidc' | 'entra';
  /** `oidc`: the issuer's identifier, compared exactly with `iss`. `entra`: the cloud's authority, an origin (`https://login.microsoftonline.com`). */
  readonly issuer: string;
  /** At least one; a token must be for one of them. */
  readonly audiences: readonly string[];
  /** Default: RS256, PS256, ES256, ES384, EdDSA; for Entra, RS256. */
  readonly algorithms?: readonly Algorithm[];
  /** Default: what the issuer's metadata says (`/.well-known/openid-configuration`). */
  readonly jwksUri?: string;
  /** Allowed difference of clocks in `exp`, `nbf` and `iat`. Default 30, at most 300. */
  readonly clockSkewSeconds?: number;
  /** Where claims are: a claim's name, or a dotted path into nested objects (`realm_access.roles`); a claim whose name has dots wins. Empty: not read. */
  readonly claims?: {
    /** Default `groups`. */
    readonly groups?: string;
    /** Default `roles`. */
    readonly roles?: string;
    /** Default: the first of `name`, `preferred_username`, `email` and their like that is there. */
    readonly name?: string;
    /** Default `run_id`. */
    readonly run?: string;
    /** Default empty: on whose behalf is `sub` when the token has an `act` claim (RFC 8693 section 4.1), else nobody. A path is read from tokens without `act`. */
    readonly onBehalfOf?: string;
  };
  /** Entra only, at least one: the GUIDs of the tenants whose tokens are accepted. */
  readonly tenants?: readonly string[];
  /** Entra only: the origin of v1.0 issuers. Default `https://sts.windows.net`. */
  readonly v1Issuer?: string;
  /** Accepted values of the `typ` header, without case and without `application/`; an absent one counts as `JWT`. Default `at+jwt`, `JWT`. */
  readonly tokenTypes?: readonly string[];
  /** What all subjects of this issuer are. Default: worked out from each token. */
  readonly subjects?: 'user' | 'workload';
  readonly keys?: {
    /** Seconds from one fetch of the key set to the next. Default 600. */
    readonly refreshSeconds?: number;
    /** Seconds that a fetched key set may serve while the issuer cannot be reached. Default 86,400. */
    readonly maxStaleSeconds?: number;
    /** Seconds between fetches that unknown key ids or failures ask for. Default 30. */
    readonly cooldownSeconds?: number;
    /** Default 5. */
    readonly timeoutSeconds?: number;
  };
}

/** The configuration with its defaults filled in. */
export interface Issuer {
  readonly name: string;
  readonly kind: 'oidc' | 'entra';
  readonly audiences: ReadonlySet<string>;
  readonly algorithms: ReadonlySet<Algorithm>;
  readonly clockSkewMs: number;
  readonly claims: {
    readonly groups: string;
    readonly roles: string;
    readonly name: string;
    readonly run: string;
    readonly onBehalfOf: string;
  };
  readonly tokenTypes: ReadonlySet<string>;
  readonly subjects: 'user' | 'workload' | 'by token';
  readonly keys: KeySetTerms;
  /** One for each value of `iss` that is accepted. */
  readonly authorities: readonly Authority[];
}

export interface KeySetTerms {
  readonly refreshMs: number;
  readonly maxStaleMs: number;
  readonly cooldownMs: number;
  readonly timeoutMs: number;
}

/** One exact value of `iss`, and where its keys are. */
export interface Authority {
  readonly iss: string;
  /** The Entra tenant, or empty. */
  readonly tenant: string;
  /** What a key's own `issuer` member must be, when it has one, with `{tenantid}` replaced; Entra keys carry it. */
  readonly keyIssuer: string;
  readonly source: { readonly jwksUri: string } | { readonly metadataUri: string };
}

const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** Keys travel over TLS; plain HTTP is for an issuer on this machine. */
export function trustworthyUrl(text: string): boolean {
  const url = URL.parse(text);
  return (
    url !== null &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))) &&
    url.username === '' &&
    url.hash === ''
  );
}

/** The media type in a `typ` header: without case, `application/` may be left out (RFC 7515 section 4.1.9). */
export const mediaType = (typ: string): string => typ.toLowerCase().replace(/^application\//, '');

/** What is wrong with an issuer's configuration: the field, and what would be right. Empty when nothing is. */
export function issuerProblems(config: IssuerConfig): { readonly field: keyof IssuerConfig; readonly problem: string }[] {
  const url = URL.parse(config.issuer);
  const checks: readonly (readonly [keyof IssuerConfig, boolean, string])[] = [
    ['name', /^[a-z0-9][a-z0-9._-]{0,62}$/.test(config.name), 'must be lower-case letters, digits, `.`, `_` and `-`, at most 63'],
    [
      'issuer',
      trustworthyUrl(config.issuer) && url?.search === '',
      'must be an https URL without query and fragment (http for a loopback address only)',
    ],
    [
      'issuer',
      config.kind !== 'entra' || url?.pathname === '/',
      'of kind entra must be the authority alone, as https://login.microsoftonline.com; its tenants stand under `tenants`',
    ],
    ['audiences', config.audiences.length > 0 && config.audiences.every(Boolean), 'must name at least one audience'],
    [
      'algorithms',
      config.algorithms?.length !== 0 && (config.algorithms ?? []).every(isAlgorithm),
      'must be of RS256…RS512, PS256…PS512, ES256…ES512, EdDSA',
    ],
    ['jwksUri', config.jwksUri === undefined || trustworthyUrl(config.jwksUri), 'must be an https URL (http for a loopback address only)'],
    ['clockSkewSeconds', within(config.clockSkewSeconds, 0, 300), 'must be 0 to 300'],
    [
      'tenants',
      config.kind !== 'entra' || (config.tenants ?? []).length > 0,
      'must name at least one tenant for kind entra: any tenant of the cloud could sign in otherwise',
    ],
    ['tenants', (config.tenants ?? []).every((tenant) => GUID.test(tenant.toLowerCase())), 'must be GUIDs'],
    ['tenants', config.kind === 'entra' || config.tenants === undefined, 'is for kind entra'],
    [
      'v1Issuer',
      config.v1Issuer === undefined || (config.kind === 'entra' && trustworthyUrl(config.v1Issuer)),
      'is for kind entra, and must be an https URL',
    ],
    ['tokenTypes', config.tokenTypes?.length !== 0, 'must not be empty'],
    ['keys', within(config.keys?.refreshSeconds, 1, 86_400), 'refreshSeconds must be 1 to 86400'],
    ['keys', within(config.keys?.maxStaleSeconds, 0, 7 * 86_400), 'maxStaleSeconds must be 0 to 604800'],
    ['keys', within(config.keys?.cooldownSeconds, 0, 3_600), 'cooldownSeconds must be 0 to 3600'],
    ['keys', within(config.keys?.timeoutSeconds, 0.1, 30), 'timeoutSeconds must be 0.1 to 30'],
  ];
  return checks.filter(([, right]) => !right).map(([field, , problem]) => ({ field, problem }));
}

const within = (value: number | undefined, low: number, high: number): boolean => value === undefined || (value >= low && value <= high);

/** @throws {TypeError} when `issuerProblems` finds any. */
export function resolveIssuer(config: IssuerConfig): Issuer {
  const [wrong] = issuerProblems(config);
  if (wrong) throw new TypeError(`issuer '${config.name}': ${wrong.field} ${wrong.problem}`);
  const { claims = {}, keys = {} } = config;
  const refreshMs = 1000 * (keys.refreshSeconds ?? 600);
  return {
    name: config.name,
    kind: config.kind,
    audiences: new Set(config.audiences),
    algorithms: new Set(config.algorithms ?? (config.kind === 'entra' ? ['RS256'] : ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'])),
    clockSkewMs: 1000 * (config.clockSkewSeconds ?? 30),
    claims: {
      groups: claims.groups ?? 'groups',
      roles: claims.roles ?? 'roles',
      name: claims.name ?? '',
      run: claims.run ?? 'run_id',
      onBehalfOf: claims.onBehalfOf ?? '',
    },
    tokenTypes: new Set((config.tokenTypes ?? ['at+jwt', 'JWT']).map(mediaType)),
    subjects: config.subjects ?? 'by token',
    keys: {
      refreshMs,
      maxStaleMs: Math.max(refreshMs, 1000 * (keys.maxStaleSeconds ?? 86_400)),
      cooldownMs: 1000 * (keys.cooldownSeconds ?? 30),
      timeoutMs: 1000 * (keys.timeoutSeconds ?? 5),
    },
    authorities: config.kind === 'entra' ? entraAuthorities(config) : [authority(config.issuer, config)],
  };
}

const slashless = (url: string): string => url.replace(/\/+$/, '');

const authority = (iss: string, { jwksUri }: IssuerConfig, metadata = iss, tenant = '', keyIssuer = ''): Authority => ({
  iss,
  tenant,
  keyIssuer,
  source: jwksUri === undefined ? { metadataUri: `${slashless(metadata)}/.well-known/openid-configuration` } : { jwksUri },
});

/** Each tenant issues tokens of two versions, with metadata of their own; which one a token has is the choice of the resource's registration, not of the caller. */
function entraAuthorities(config: IssuerConfig): Authority[] {
  const login = slashless(config.issuer);
  const sts = slashless(config.v1Issuer ?? 'https://sts.windows.net');
  return (config.tenants ?? [])
    .map((tenant) => tenant.toLowerCase())
    .flatMap((tenant) => {
      const v2 = `${login}/${tenant}/v2.0`;
      return [authority(`${sts}/${tenant}/`, config, `${login}/${tenant}`, tenant, v2), authority(v2, config, v2, tenant, v2)];
    });
}
