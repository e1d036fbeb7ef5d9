import type { Identity } from '../decision/request.ts';
import type { Authority, Issuer } from './issuer.ts';
import { type Refusal, refuse, shown } from './refusal.ts';

/** A verified token's payload: signed by the issuer, and still of any shape. */
export type Claims = Readonly<Record<string, unknown>>;

export interface Subject {
  readonly identity: Identity;
  /** What the token says of the run; empty strings where it says nothing. */
  readonly run: { readonly id: string; readonly onBehalfOf: string };
}

const MAX_TEXT = 256;
const MAX_LIST = 1000;

/** A claim by its name or, if there is none of that name, by a dotted path. Own members only. */
export function claimAt(claims: Claims, path: string): unknown {
  if (path === '') return undefined;
  if (Object.hasOwn(claims, path)) return claims[path];
  return path.split('.').reduce<unknown>((at, name) => (isRecord(at) && Object.hasOwn(at, name) ? at[name] : undefined), claims);
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A non-empty string without control characters; anything else is empty, since what it is used for must do without. */
const text = (value: unknown): string =>
  typeof value === 'string' && value.length <= MAX_TEXT && !/[\p{Cc}\p{Cs}]/u.test(value) ? value : '';

const firstText = (...values: readonly unknown[]): string => values.map(text).find(Boolean) ?? '';

/** A list of strings, or one string of them apart by spaces (RFC 8693 section 4.2 for `scope`, Okta's `scp`). */
const words = (value: unknown): readonly string[] =>
  (typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : []).map(text).filter(Boolean).slice(0, MAX_LIST);

/** Names may have spaces in them, so a lone string is one name. */
const names = (value: unknown): readonly string[] =>
  (typeof value === 'string' ? [value] : Array.isArray(value) ? value : []).map(text).filter(Boolean).slice(0, MAX_LIST);

/** Says who a verified token is about. */
export function subjectOf(claims: Claims, issuer: Issuer, authority: Authority): Subject | Refusal {
  const overage = groupOverage(claims, issuer);
  if (overage) return overage;
  const kin = issuer.kind === 'entra' ? entra(claims, authority) : openid(claims);
  if ('ok' in kin) return kin;
  const actor = actorOf(claims, authority);
  if ('ok' in actor) return actor;
  const named = (subject: string): string => (subject === '' ? '' : `${issuer.name}:${subject}`);
  const subject = actor.subject || kin.subject;
  return {
    identity: {
      id: named(subject),
      issuer: issuer.name,
      subject,
      // The name claims are those of `sub`: an actor has its own id alone.
      name: actor.subject || firstText(claimAt(claims, issuer.claims.name), ...kin.names, kin.client, subject),
      kind: actor.subject ? 'workload' : issuer.subjects === 'by token' ? kin.kind : issuer.subjects,
      client: kin.client,
      tenant: authority.tenant,
      groups: names(claimAt(claims, issuer.claims.groups)),
      roles: names(claimAt(claims, issuer.claims.roles)),
      scopes: words(claims.scope ?? claims.scp),
    },
    run: {
      id: text(claimAt(claims, issuer.claims.run)),
      onBehalfOf: named(actor.subject ? kin.subject : text(claimAt(claims, issuer.claims.onBehalfOf))),
    },
  };
}

interface Kin {
  readonly subject: string;
  readonly kind: Identity['kind'];
  readonly client: string;
  /** In the order in which they are preferred. */
  readonly names: readonly unknown[];
}

function openid(claims: Claims): Kin | Refusal {
  const subject = text(claims.sub);
  if (subject === '') return refuse('claim_invalid', 'The token has no usable sub claim.');
  const client = firstText(claims.client_id, claims.azp, claims.appid);
  // RFC 9068 section 2.2: `sub` is the client when no resource owner takes part. Auth0 writes `<client>@clients` and the grant beside it.
  const own = subject === client || claims.gty === 'client-credentials';
  return {
    subject,
    kind: own ? 'workload' : 'user',
    client,
    names: [claims.name, claims.preferred_username, claims.email, claims.username],
  };
}

/**
 * Entra: `sub` differs for each resource, `oid` is the same everywhere in its tenant and only there, so the subject is `<tid>/<oid>`.
 * v1.0 names the client `appid`, v2.0 `azp`; identity tokens have neither.
 */
function entra(claims: Claims, { tenant, iss }: Authority): Kin | Refusal {
  if (typeof claims.tid !== 'string' || claims.tid.toLowerCase() !== tenant)
    return refuse('tenant_refused', `The token's tid is ${shown(claims.tid)}, its issuer another tenant.`);
  const version = iss.endsWith('/v2.0') ? '2.0' : '1.0';
  if (claims.ver !== version)
    return refuse('claim_invalid', `The token's ver is ${shown(claims.ver)}, its issuer that of version ${version}.`);
  const object = text(claims.oid).toLowerCase();
  if (object === '') return refuse('claim_invalid', 'The token has no usable oid claim.');
  const client = text(version === '2.0' ? claims.azp : claims.appid);
  if (client === '')
    return refuse('token_type_refused', `The token names no client (${version === '2.0' ? 'azp' : 'appid'}), so it is no access token.`);
  // `idtyp` is optional; without it, a token of an application alone has no delegated scopes, and its two ids are one.
  const alone = claims.idtyp === undefined ? claims.scp === undefined && text(claims.sub).toLowerCase() === object : claims.idtyp === 'app';
  return {
    subject: `${tenant}/${object}`,
    kind: alone ? 'workload' : 'user',
    client,
    names: alone
      ? [claims.app_displayname, text(claims.xms_mirid).split('/').at(-1)] // a managed identity's resource ends in its name
      : [claims.name, claims.preferred_username, claims.upn, claims.unique_name],
  };
}

/**
 * RFC 8693 section 4.1: with `act`, the token's `sub` is on whose behalf, and `act.sub` is who acts, which is the caller. Actors nested deeper acted before and
 * decide nothing. The token's groups, roles and scopes are the authority that was delegated, so they remain as they are.
 */
function actorOf(claims: Claims, { iss, tenant }: Authority): { readonly subject: string } | Refusal {
  const { act } = claims;
  if (act === undefined) return { subject: '' };
  const subject = isRecord(act) ? (tenant === '' ? text(act.sub) : text(act.oid ?? act.sub).toLowerCase()) : '';
  if (!isRecord(act) || subject === '') return refuse('claim_invalid', 'The token has an act claim without a usable sub.');
  // A subject means something within its issuer only.
  if (act.iss !== undefined && act.iss !== iss) return refuse('claim_invalid', "The token's actor is of another issuer than the token.");
  return { subject: tenant === '' ? subject : `${tenant}/${subject}` };
}

/**
 * OpenID Connect Core section 5.6.2 and Entra: past 200 groups the token says where to ask for them instead. Deciding without them could let a rule that
 * excludes a group pass, so the caller is refused and told what the operator can do.
 */
function groupOverage(claims: Claims, issuer: Issuer): Refusal | undefined {
  const path = issuer.claims.groups;
  const elsewhere = isRecord(claims._claim_names) && Object.hasOwn(claims._claim_names, path);
  const flagged = path === 'groups' && (claims.hasgroups === true || claims.hasgroups === 'true');
  if (!elsewhere && !flagged) return undefined;
  return refuse(
    'group_overage',
    `The caller is in more groups than a token holds, so '${shown(path).slice(1, -1)}' is not in it. Let the issuer emit only groups assigned to the application, or use application roles and set claims.groups to '' or 'roles'.`,
  );
}
