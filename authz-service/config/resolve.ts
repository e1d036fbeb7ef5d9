/** The document with its defaults worked out, in the words of the modules that use it. */
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { CredentialConfig } from '../credential/credential.ts';
import type { ExportConfig } from '../export/messages.ts';
import type { Place } from '../export/places.ts';
import type { SecretHeader } from '../export/secrets.ts';
import type { IssuerConfig } from '../identity/issuer.ts';
import type { HostPort } from './kinds.ts';
import type { Document } from './schema.ts';

export type Listener = Document['listeners'][number];
type WrittenTarget = Document['targets'][number];
interface Credentialed {
  /** The name of the default credential; empty when the target has none. */
  readonly credential: string;
  readonly credentials: Readonly<Record<string, CredentialConfig>>;
}
interface Recorded {
  /** How much payload is recorded, in bytes of each request and of each response or result. */
  readonly record: { readonly maxRequestBytes: number; readonly maxResponseBytes: number };
}
type Resolved<T> = T extends WrittenTarget ? Omit<T, keyof Credentialed | keyof Recorded> & Credentialed & Recorded : never;
export type Target = Resolved<WrittenTarget>;
export type HttpTarget = Extract<Target, { readonly protocol: 'http' }>;
export type PostgresTarget = Extract<Target, { readonly protocol: 'postgres' }>;

export interface ServerTls {
  readonly certificate: string;
  readonly key: string;
  readonly clientCa: string;
}

/** A door of the service towards Envoy. */
export type Endpoint =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'tcp'; readonly address: HostPort; readonly connect: HostPort; readonly tls: ServerTls };

/** All paths are absolute. Durations are in milliseconds (`…Ms`), sizes in bytes (`…Bytes`). */
export interface Config extends Omit<Document, 'version' | 'issuers' | 'targets' | 'service' | 'admin' | 'export'> {
  readonly file: string;
  /** Sockets: `check.sock`, `tap.sock`, `admin.sock`, `envoy-admin.sock`. */
  readonly runDir: string;
  readonly issuers: readonly IssuerConfig[];
  readonly targets: readonly Target[];
  readonly export: readonly ExportConfig[];
  readonly service: { readonly check: Endpoint; readonly tap: Endpoint; readonly drainMs: number };
  readonly admin: {
    readonly socket: string;
    readonly address: HostPort | undefined;
    readonly auditors: readonly string[];
    readonly custodians: readonly string[];
  };
}

export function resolveDocument({ version: _, issuers, targets, service, export: exports, ...rest }: Document, file: string): Config {
  const runDir = join(rest.stateDir, 'run');
  return {
    ...rest,
    file: resolve(file),
    runDir,
    issuers: issuers.map(issuerConfig),
    targets: targets.map((target) => ({ ...target, ...credentialsOf(target), record: recordOf(target, rest.tap.record) })),
    export: exports.map(exportConfig),
    service: {
      check: endpoint(service.check, join(runDir, 'check.sock')),
      tap: endpoint(service.tap, join(runDir, 'tap.sock')),
      drainMs: service.drainMs,
    },
    admin: { ...rest.admin, socket: join(runDir, 'admin.sock') },
  };
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };
/** Without the members that are undefined: absence is how other modules' configurations say "the default". */
const given = <T extends object>(from: T): Given<T> =>
  Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined)) as Given<T>;

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000);

export function issuerConfig({ clockSkewMs, claims, keys, ...rest }: Document['issuers'][number]): IssuerConfig {
  const { name, kind, issuer, audiences, ...others } = rest;
  return {
    name,
    kind,
    issuer,
    audiences,
    ...given(others),
    clockSkewSeconds: clockSkewMs / 1000,
    ...(claims && { claims: given(claims) }),
    ...(keys && {
      keys: given({
        refreshSeconds: seconds(keys.refreshMs),
        maxStaleSeconds: seconds(keys.maxStaleMs),
        cooldownSeconds: seconds(keys.cooldownMs),
        timeoutSeconds: seconds(keys.timeoutMs),
      }),
    }),
  };
}

export type WrittenCredential = WrittenTarget['credentials'][string];

export function credentialConfig(written: WrittenCredential): CredentialConfig {
  switch (written.type) {
    case 'bearer':
      return { type: 'bearer', secret: written.value };
    case 'basic':
      return { type: 'basic', username: written.value.username, secret: written.value.password };
    case 'header':
      return { type: 'header', name: written.value.name, secret: written.value.value };
    case 'entra': {
      const { identity, clientId = '', resource, ...of } = written.value;
      return { type: 'entra', identity, clientId, resource, ...('username' in of && { username: of.username }) };
    }
    case 'none':
      return { type: 'none' };
    case 'password':
      return { type: 'password', username: written.value.username, secret: written.value.password };
  }
}

/** The default: as written, or `default`, or the only one there is. `undefined` when there are several to choose from. */
export function defaultCredential({
  credential,
  credentials,
}: {
  readonly credential: string | undefined;
  readonly credentials: Readonly<Record<string, unknown>>;
}): string | undefined {
  const names = Object.keys(credentials);
  return credential ?? (names.includes('default') ? 'default' : names.length > 1 ? undefined : (names[0] ?? ''));
}

const credentialsOf = (target: WrittenTarget): Credentialed => ({
  credential: defaultCredential(target) ?? '',
  credentials: Object.fromEntries(Object.entries(target.credentials).map(([name, written]) => [name, credentialConfig(written)])),
});

/** A target's own limits, or those of all. */
export const recordOf = ({ record }: Pick<WrittenTarget, 'record'>, all: Document['tap']['record']): Recorded['record'] => ({
  maxRequestBytes: record.maxRequestBytes ?? all.maxRequestBytes,
  maxResponseBytes: record.maxResponseBytes ?? all.maxResponseBytes,
});

function endpoint({ socket, address, connect, tls }: Document['service']['check'], fallback: string): Endpoint {
  return address && tls?.clientCa !== undefined
    ? { kind: 'tcp', address, connect: connect ?? address, tls: { ...tls, clientCa: tls.clientCa } }
    : { kind: 'socket', path: socket ?? fallback };
}

type WrittenExport = Document['export'][number];
const FIRST_RETRY_MS = 500;

const exportConfig = (written: WrittenExport): ExportConfig => ({
  name: written.name,
  from: written.from,
  onRefused: written.onRefused,
  timeoutMs: written.timeoutMs,
  batch: { events: written.batch.events, bytes: written.batch.sizeBytes, waitMs: written.batch.waitMs },
  retry: { firstMs: FIRST_RETRY_MS, mostMs: written.maxRetryMs },
  format: { format: written.format, kinds: written.events },
  place: placeOf(written),
});

function placeOf(written: WrittenExport): Place {
  if (written.type === 'file') return { type: 'file', path: written.path };
  if (written.type === 'syslog') {
    const { address, transport, tls, facility } = written;
    return {
      type: 'syslog',
      ...address,
      tls: transport === 'tls' ? (tls ?? {}) : undefined,
      facility,
      hostname: written.hostname ?? hostname(),
    };
  }
  const headers = written.type === 'splunk' ? {} : secretHeaders(written.auth);
  const web = { url: written.url, headers, tls: written.tls ?? {}, gzip: written.gzip };
  switch (written.type) {
    case 'elastic':
      return { ...web, type: 'elastic', index: written.index };
    case 'splunk':
      return {
        ...web,
        type: 'splunk',
        token: written.token,
        index: written.index,
        sourcetype: written.sourcetype,
        acknowledge: written.acknowledge,
      };
    case 'loki':
      return { ...web, type: 'loki', labels: written.labels, tenant: written.tenant };
    case 'otlp':
      return { ...web, type: 'otlp', attributes: written.attributes };
    case 'webhook':
      return { ...web, type: 'webhook' };
  }
}

type WrittenAuth = Extract<WrittenExport, { readonly type: 'webhook' }>['auth'];

function secretHeaders(auth: WrittenAuth): Readonly<Record<string, SecretHeader>> {
  switch (auth?.type) {
    case 'bearer':
      return { authorization: { prefix: 'Bearer ', source: auth.value } };
    case 'basic':
      return { authorization: { prefix: '', source: auth.value.password, username: auth.value.username } };
    case 'header':
      return { [auth.value.name.toLowerCase()]: { prefix: '', source: auth.value.value } };
    default:
      return {};
  }
}
