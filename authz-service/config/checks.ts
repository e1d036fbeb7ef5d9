/** What must hold across keys: names that refer to something, addresses and hosts that do not clash, keys that fit their certificates. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { credentialProblem } from '../credential/credential.ts';
import { issuerProblems } from '../identity/issuer.ts';
import { parseVerifierKey } from '../tlog/note.ts';
import { closest, formatHostPort, type HostPort } from './kinds.ts';
import { credentialConfig, defaultCredential, issuerConfig, recordOf } from './resolve.ts';
import type { Document } from './schema.ts';
import { systemCa } from './system_ca.ts';

export interface Addressed {
  /** Who listens there. */
  readonly by: 'envoy' | 'service';
  readonly path: string;
  readonly address: HostPort;
}

export interface Surroundings {
  readonly at: (path: string, problem: string, remedy?: string) => void;
  /** The path of an object that was read. */
  readonly pathOf: (object: object) => string;
  /** Whether nothing was wrong in an object that was read, so that its members are all there. */
  readonly whole: (object: object) => boolean;
  readonly elsewhere: boolean;
  readonly checkPattern?: (pattern: string) => string | null;
}

/** An object of which members may have failed, and been reported, already. */
type Damaged<T> = { readonly [K in keyof T]?: T[K] | undefined };
type Check = (document: Damaged<Document>, surroundings: Surroundings) => void;

const CHECKS: readonly Check[] = [
  names,
  issuers,
  listeners,
  waysIn,
  virtualHosts,
  upstreamTls,
  credentials,
  endpoints,
  admin,
  patterns,
  exports,
  recorded,
  custody,
];

/** Reports what is wrong. @returns every address that is listened on */
export function checkAcross(document: Damaged<Document>, surroundings: Surroundings): Addressed[] {
  for (const check of CHECKS) check(document, surroundings);
  const addresses = listened(document, surroundings);
  clashes(addresses, surroundings);
  return addresses;
}

function names({ listeners, issuers, targets, export: exported }: Damaged<Document>, { at, pathOf }: Surroundings): void {
  for (const list of [listeners, issuers, targets, exported]) {
    const first = new Map<string, string>();
    for (const one of list ?? []) {
      if (first.has(one.name))
        at(`${pathOf(one)}.name`, `'${one.name}' is the name of ${first.get(one.name)} already`, 'names must differ');
      else if (one.name !== undefined) first.set(one.name, pathOf(one));
    }
  }
}

/** Our names of what the identity module calls a field. */
const ISSUER_KEYS: Readonly<Record<string, string>> = {
  jwksUri: 'jwks_uri',
  clockSkewSeconds: 'clock_skew',
  v1Issuer: 'v1_issuer',
  tokenTypes: 'token_types',
};

function issuers({ issuers: list = [] }: Damaged<Document>, { at, pathOf, whole }: Surroundings): void {
  const first = new Map<string, string>();
  for (const issuer of list.filter(whole)) {
    for (const { field, problem } of issuerProblems(issuerConfig(issuer))) at(`${pathOf(issuer)}.${ISSUER_KEYS[field] ?? field}`, problem);
    const same = first.get(issuer.issuer);
    if (same !== undefined && issuer.kind === 'oidc')
      at(`${pathOf(issuer)}.issuer`, `is the issuer of ${same} already`, 'a token must have one issuer: name all audiences there');
    first.set(issuer.issuer, pathOf(issuer));
  }
}

export const isLoopback = (host: string): boolean => host.startsWith('127.') || host === '::1';

function listeners({ listeners: list = [] }: Damaged<Document>, { at, pathOf, elsewhere }: Surroundings): void {
  for (const listener of list) {
    const here = pathOf(listener);
    // Its statistics would be those of the admin interface too, and a shutdown would wait for its own questions.
    if (listener.name === 'admin') at(`${here}.name`, "'admin' is the name of Envoy's own admin interface", 'choose another');
    if (listener.tls && !elsewhere) keyPair(listener.tls, `${here}.tls`, at);
    if (!listener.tls && listener.address && !listener.private && !isLoopback(listener.address.host))
      at(
        `${here}.address`,
        'tokens would cross the network in clear',
        'give `tls`, a loopback address, or `private: true` where the network itself is protected',
      );
  }
}

/** The chain's first certificate is the one that the key must fit. */
function keyPair(
  { certificate, key, clientCa }: Damaged<{ certificate: string; key: string; clientCa: string | undefined }>,
  here: string,
  at: Surroundings['at'],
): void {
  const parse = <T>(path: string, file: string | undefined, what: string, make: (pem: Buffer) => T): T | undefined => {
    try {
      return file === undefined ? undefined : make(readFileSync(file));
    } catch {
      at(path, `${file} holds no ${what}`, `must be a PEM file with a ${what}`);
      return undefined;
    }
  };
  const leaf = parse(`${here}.certificate`, certificate, 'certificate', (pem) => new X509Certificate(pem));
  const secret = parse(`${here}.key`, key, 'unencrypted private key', createPrivateKey);
  parse(`${here}.client_ca`, clientCa, 'certificate', (pem) => new X509Certificate(pem));
  if (leaf && secret && !leaf.checkPrivateKey(secret))
    at(`${here}.key`, 'is not the key of the certificate', 'certificate and key must belong together');
}

/** How each target is reached: by listeners that exist, and one that carries a database carries nothing else. */
function waysIn({ listeners: known = [], targets = [] }: Damaged<Document>, { at, pathOf }: Surroundings): void {
  const listenerNames = known.flatMap(({ name }) => (name === undefined ? [] : [name]));
  const exists = (path: string, listener: string): boolean => {
    if (listenerNames.includes(listener)) return true;
    const meant = closest(listener, listenerNames);
    at(path, `there is no listener '${listener}'`, meant ? `did you mean '${meant}'?` : `must be one of ${listenerNames.join(', ')}`);
    return false;
  };
  const databases = new Map<string, string>();
  const http = new Map<string, string>();
  for (const target of targets) {
    const here = pathOf(target);
    if (target.listener !== undefined && exists(`${here}.listener`, target.listener)) {
      const other = databases.get(target.listener) ?? (target.protocol === 'postgres' ? http.get(target.listener) : undefined);
      if (other !== undefined)
        at(`${here}.listener`, `'${target.listener}' carries target '${other}' already`, 'a database needs a listener of its own');
      else (target.protocol === 'postgres' ? databases : http).set(target.listener, target.name);
    }
    if (target.protocol === 'postgres' && target.listener === undefined && target.tunnel === undefined)
      at(here, 'nothing leads to it', 'give `listener`, `tunnel`, or both');
  }
  for (const target of targets) {
    if (target.protocol !== 'postgres' || target.tunnel === undefined) continue;
    const other = exists(`${pathOf(target)}.tunnel`, target.tunnel) ? databases.get(target.tunnel) : undefined;
    if (other !== undefined)
      at(`${pathOf(target)}.tunnel`, `'${target.tunnel}' carries the database '${other}'`, 'a tunnel is a listener of HTTP targets');
  }
}

/** Each host of a listener leads to one target; a tunnel's host is the name of its target. */
function virtualHosts({ targets = [] }: Damaged<Document>, { at, pathOf }: Surroundings): void {
  const taken = new Map<string, string>();
  for (const target of targets) {
    const [key, listener, hosts] =
      target.protocol === 'http'
        ? (['hosts', target.listener, target.hosts] as const)
        : (['tunnel', target.tunnel, [target.name]] as const);
    if (listener === undefined) continue;
    for (const host of hosts ?? []) {
      const slot = `${listener} ${host?.toLowerCase()}`;
      const other = taken.get(slot);
      if (other !== undefined)
        at(`${pathOf(target)}.${key}`, `'${host}' leads to ${other} already`, 'each host of a listener leads to one target');
      else taken.set(slot, `target '${target.name}'`);
    }
  }
}

function upstreamTls({ targets = [] }: Damaged<Document>, { at, pathOf, elsewhere }: Surroundings): void {
  for (const target of targets) {
    const here = pathOf(target);
    if (target.url === undefined) continue;
    if (target.tls && target.url.scheme === 'http') at(`${here}.tls`, 'the URL is not https', 'change the URL, or leave `tls` out');
    const verified = target.url.scheme === 'https' || (target.protocol === 'postgres' && target.tls !== undefined);
    if (verified && target.tls?.ca === undefined && systemCa() === undefined && !elsewhere)
      at(`${here}.url`, 'this system has no CA bundle that is known here', 'give `tls: { ca: … }`');
    if ((target.tls?.certificate === undefined) !== (target.tls?.key === undefined))
      at(`${here}.tls`, '`certificate` and `key` belong together', 'give both or none');
  }
}

function credentials({ targets = [] }: Damaged<Document>, { at, pathOf, whole }: Surroundings): void {
  for (const target of targets) {
    if (target.credentials === undefined) continue;
    const here = pathOf(target);
    const known = Object.keys(target.credentials);
    if (target.protocol === 'postgres' && known.length === 0 && whole(target)) {
      at(`${here}.credentials`, 'the gateway has nothing to log in with', 'give `NAME: { password: { username, password } }`');
      continue;
    }
    for (const [name, written] of Object.entries(target.credentials)) {
      const problem = whole(target) ? credentialProblem(credentialConfig(written)) : '';
      if (problem !== '') at(`${here}.credentials.${name}`, problem);
      // Such a database asks for it as a plain password.
      if (target.protocol === 'postgres' && written.type === 'entra' && !target.tls && target.url && !isLoopback(target.url.host))
        at(`${here}.credentials.${name}`, 'the token would cross the network in clear', 'give the target `tls`');
    }
    const chosen = defaultCredential({ credential: target.credential, credentials: target.credentials });
    if (chosen === undefined)
      at(`${here}.credentials`, 'none of several credentials is the default', `name it in \`credential\`: one of ${known.join(', ')}`);
    else if (chosen !== '' && !known.includes(chosen)) {
      const meant = closest(chosen, known);
      at(
        `${here}.credential`,
        `there is no credential '${chosen}'`,
        meant ? `did you mean '${meant}'?` : known.length > 0 ? `must be one of ${known.join(', ')}` : 'define it in `credentials`',
      );
    }
  }
}

/** What the kernel allows (sun_path, with its closing zero). */
const MAX_SOCKET_PATH = 107;

function endpoints({ stateDir, service, envoy }: Damaged<Document>, { at, elsewhere }: Surroundings): void {
  if (stateDir !== undefined) socketLength('state_dir', join(stateDir, 'run', 'envoy-admin.sock'), at);
  for (const [key, endpoint] of [
    ['check', service?.check],
    ['tap', service?.tap],
  ] as const) {
    if (!endpoint) continue;
    const here = `service.${key}`;
    if (endpoint.socket !== undefined) socketLength(`${here}.socket`, endpoint.socket, at);
    if (endpoint.socket !== undefined && endpoint.address) at(here, '`socket` and `address` exclude each other', 'give one of them');
    if (endpoint.tls && !elsewhere) keyPair(endpoint.tls, `${here}.tls`, at);
    if (!endpoint.address) {
      for (const without of ['connect', 'tls'] as const)
        if (endpoint[without]) at(`${here}.${without}`, 'belongs to `address`', 'give `address` too');
      continue;
    }
    if (endpoint.tls?.clientCa === undefined)
      at(here, 'over TCP the service and Envoy prove themselves to each other', 'give `tls: { certificate, key, client_ca }`');
    if (!envoy?.tls) at(`${here}.address`, 'Envoy has no certificate for it', 'give `envoy.tls: { certificate, key, ca }`');
    if (!endpoint.connect && ['0.0.0.0', '::'].includes(endpoint.address.host))
      at(`${here}.address`, 'Envoy cannot connect to it', 'give `connect: HOST:PORT`');
  }
}

function socketLength(path: string, socket: string, at: Surroundings['at']): void {
  const bytes = Buffer.byteLength(socket);
  if (bytes > MAX_SOCKET_PATH)
    at(
      path,
      `the Unix socket ${socket} has a path of ${bytes} bytes`,
      `a Unix socket's path has at most ${MAX_SOCKET_PATH}: choose a shorter directory`,
    );
}

function admin({ admin: section }: Damaged<Document>, { at }: Surroundings): void {
  if (section?.address && !isLoopback(section.address.host))
    at(
      'admin.address',
      "approvers' tokens would cross the network in clear",
      'must be a loopback address; a TLS terminator beside it can serve others',
    );
}

function patterns({ masking }: Damaged<Document>, { at, checkPattern }: Surroundings): void {
  for (const [name, pattern] of Object.entries(masking?.patterns ?? {})) {
    const problem = checkPattern?.(pattern) ?? null;
    if (problem !== null) at(`masking.patterns.${name}`, problem, 'the syntax of patterns is in docs/masking.md');
  }
}

/** The record, and what the service proves itself with, cross no open network in clear. */
function exports({ export: list = [] }: Damaged<Document>, { at, pathOf, whole }: Surroundings): void {
  for (const destination of list.filter(whole)) {
    if (destination.type === 'file') continue;
    const here = pathOf(destination);
    const { tls } = destination;
    const [key, host, secure] =
      destination.type === 'syslog'
        ? (['address', destination.address.host, destination.transport === 'tls'] as const)
        : (['url', new URL(destination.url).hostname, destination.url.startsWith('https:')] as const);
    if (!secure && tls) at(`${here}.tls`, 'the receiver is reached without TLS', 'change the address, or leave `tls` out');
    if (!secure && !destination.private && !isLoopback(host.replace(/^\[|\]$/g, '')))
      at(
        `${here}.${key}`,
        'the record would cross the network in clear',
        'use TLS, a loopback address, or `private: true` where the network itself is protected',
      );
    if ((tls?.certificate === undefined) !== (tls?.key === undefined))
      at(`${here}.tls`, '`certificate` and `key` belong together', 'give both or none');
    const auth = destination.type === 'syslog' || destination.type === 'splunk' ? undefined : destination.auth;
    const problem = auth ? credentialProblem(credentialConfig(auth)) : '';
    if (problem !== '') at(`${here}.auth`, problem);
  }
}

/** A quarter is for one: the room for the payload of a request is promised before it is let through, and others want some too. */
const RECORDS_AT_ONCE = 4;

function recorded({ tap, targets = [] }: Damaged<Document>, { at, pathOf, whole }: Surroundings): void {
  if (!tap || !whole(tap) || !whole(tap.record)) return;
  const { queueBytes } = tap.record;
  const check = (path: string, { maxRequestBytes, maxResponseBytes }: ReturnType<typeof recordOf>): void => {
    if ((maxRequestBytes + maxResponseBytes) * RECORDS_AT_ONCE > queueBytes)
      at(
        path,
        `what is recorded of one request, ${maxRequestBytes + maxResponseBytes} bytes, has too little room in a queue of ${queueBytes}`,
        `\`tap.record.queue\` must be at least ${RECORDS_AT_ONCE} times as much`,
      );
  };
  check('tap.record', tap.record);
  for (const target of targets) if (whole(target) && whole(target.record)) check(`${pathOf(target)}.record`, recordOf(target, tap.record));
}

function listened({ listeners: list = [], service, admin: section }: Damaged<Document>, { pathOf }: Surroundings): Addressed[] {
  const at = (by: Addressed['by'], path: string, address: HostPort | undefined): Addressed[] => (address ? [{ by, path, address }] : []);
  return [
    ...list.flatMap((listener) => at('envoy', `${pathOf(listener)}.address`, listener.address)),
    ...at('service', 'service.check.address', service?.check?.address),
    ...at('service', 'service.tap.address', service?.tap?.address),
    ...at('service', 'admin.address', section?.address),
  ];
}

/** `0.0.0.0` takes a port of every IPv4 address, `[::]` of every address. */
const overlaps = (a: string, b: string): boolean =>
  a === b || a === '::' || b === '::' || (a === '0.0.0.0' && !b.includes(':')) || (b === '0.0.0.0' && !a.includes(':'));

function clashes(addresses: readonly Addressed[], { at }: Surroundings): void {
  for (const [index, { path, address }] of addresses.entries()) {
    const other = addresses.slice(0, index).find((one) => one.address.port === address.port && overlaps(one.address.host, address.host));
    if (other) at(path, `${formatHostPort(address)} is taken by ${other.path}`, 'each needs a port of its own');
  }
}

/** Stores and witnesses of the evidence: what belongs together, and what a store cannot keep. */
function custody({ tap }: Damaged<Document>, { at, pathOf, whole }: Surroundings): void {
  for (const list of [tap?.replicas, tap?.checkpoints?.to, tap?.witnesses?.of]) {
    const first = new Map<string, string>();
    for (const one of list ?? []) {
      const here = pathOf(one);
      if (first.has(one.name)) at(`${here}.name`, `'${one.name}' is the name of ${first.get(one.name)} already`, 'names must differ');
      else first.set(one.name, here);
    }
  }
  for (const store of [...(tap?.replicas ?? []), ...(tap?.checkpoints?.to ?? [])].filter(whole)) {
    const here = pathOf(store);
    if (store.type === 's3' && (store.accessKeyId === undefined) !== (store.secretAccessKey === undefined))
      at(here, '`access_key_id` and `secret_access_key` belong together', 'give both, or none where the environment gives credentials');
    if (store.type === 'azure' && (store.identity === 'key') !== (store.key !== undefined))
      at(here, '`key` belongs to `identity: key`', 'give both or none');
    const url = store.type === 'http' ? store.url : store.type === 'directory' ? undefined : store.endpoint;
    if (url?.startsWith('http:') && !isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, '')))
      at(
        `${here}.${store.type === 'http' ? 'url' : 'endpoint'}`,
        'what is recorded would cross the network in clear',
        'must be an https URL, or a loopback address',
      );
  }
  for (const place of (tap?.checkpoints?.to ?? []).filter(whole)) {
    if (place.type !== 'http') continue;
    if (place.read === undefined && tap?.requireElsewhere === true)
      at(
        pathOf(place),
        'cannot be read, and `tap.require_elsewhere` demands its answer',
        'give `read`: where it gives the newest checkpoint back',
      );
    // The token goes nowhere else, nor does what it says count from elsewhere.
    if (place.read !== undefined && new URL(place.read).origin !== new URL(place.url).origin)
      at(`${pathOf(place)}.read`, `is not at ${new URL(place.url).origin}`, 'must have the scheme, host and port of `url`');
  }
  const { leavesMs, eventsMs, payloadsMs, kinds = {} } = tap?.retention ?? {};
  if (leavesMs !== undefined && !(eventsMs !== undefined && payloadsMs !== undefined && leavesMs >= Math.max(eventsMs, payloadsMs)))
    at(
      'tap.retention.leaves',
      'leaves would go before what they hold on to',
      'must be at least as long as `events` and `payloads`, and both must be there',
    );
  for (const [kind, age] of Object.entries(kinds))
    if (leavesMs !== undefined && typeof age === 'number' && age > leavesMs)
      at(`tap.retention.kinds.${keyOf(kind)}`, 'its leaves would go before it', 'must be at most as long as `leaves`');
  const { of = [], quorum = 0 } = tap?.witnesses ?? {};
  if (quorum > of.length) at('tap.witnesses.quorum', `there are ${of.length} witnesses`, 'must be at most as many as there are');
  const keys = new Map<string, string>();
  for (const one of of.filter(whole))
    for (const [index, key] of one.keys.entries()) {
      const problem = witnessKeyProblem(key);
      if (problem !== '') at(`${pathOf(one)}.keys[${index}]`, problem);
      if (keys.has(key)) at(`${pathOf(one)}.keys[${index}]`, `is a key of ${keys.get(key)} already`, 'each witness counts once');
      keys.set(key, pathOf(one));
    }
}

/** As the file has it: `rowsMs` is `rows`. */
const keyOf = (name: string): string => name.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function witnessKeyProblem(text: string): string {
  try {
    return parseVerifierKey(text).type === 'cosignature' ? '' : 'is the key of a log, not of a witness';
  } catch (error) {
    return (error as Error).message;
  }
}
