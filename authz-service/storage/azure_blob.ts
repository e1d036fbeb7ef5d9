/**
 * Azure Blob Storage with version-level immutability. By its REST interface: the SDK brings a dozen packages along, Apache Arrow among them, for six calls.
 *
 * A container with version-level immutability keeps versions, as a bucket with Object Lock does: a put over a locked blob makes another version, and the first
 * one is the one that counts here.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { isError, type SecretReader } from '../credential/secret_source.ts';
import type { TokenSource } from '../credential/token_source.ts';
import type { Answer, Call, Caller } from './call.ts';
import { checkKey, type ObjectStore, type PutOptions, StorageError } from './object_store.ts';
import { elements, oneLine, textOf } from './xml.ts';

export type AzureAccess =
  | { readonly kind: 'key'; readonly key: SecretReader }
  /** A token of Entra for `https://storage.azure.com`. */
  | { readonly kind: 'token'; readonly token: TokenSource };

export interface AzureBlobOptions {
  readonly account: string;
  /** As `https://ACCOUNT.blob.core.windows.net`; of the emulator with the account as its path. */
  readonly endpoint: URL;
  readonly container: string;
  /** Empty, or ends in `/`. */
  readonly prefix: string;
  readonly access: AzureAccess;
  /** The store's own: closed with it. */
  readonly call: Caller & { close(): void };
  /** `compliance`: a locked policy, which nobody shortens. `governance`: an unlocked one. Left out: blobs have no policy. */
  readonly lock?: 'compliance' | 'governance';
  /** Keys that are written again and again. */
  readonly pointers: ReadonlySet<string>;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

type Headers = Readonly<Record<string, string>>;
type Query = Readonly<Record<string, string>>;

/** Of the REST interface; the first with all that is used here is 2020-06-12. */
const API_VERSION = '2021-12-02';
/** Why a container is refused that was asked to lock. */
export const NO_IMMUTABILITY = 'the container has no version-level immutability';
const CONDITIONAL = 'a second conditional put is refused';
const PROBES = 'probe/';
const PROBE_MS = 120_000;
const ROUNDING_MS = 1_000;
/** How a policy refuses a deletion: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes */
const DELETE_REFUSED = /^BlobImmutableDueTo/;
const POLICY_MODE = { compliance: 'Locked', governance: 'Unlocked' } as const;
/** What stands in a string to sign, in its order. https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key */
const SIGNED = [
  'content-encoding',
  'content-language',
  'content-length',
  'content-md5',
  'content-type',
  'date',
  'if-modified-since',
  'if-match',
  'if-none-match',
  'if-unmodified-since',
  'range',
];

/** The value of an `Authorization` header. */
export const sharedKey = (account: string, key: string, method: string, url: URL, headers: Headers): string => {
  const line = (name: string): string => (name === 'content-length' && headers[name] === '0' ? '' : (headers[name] ?? ''));
  const own = Object.entries(headers)
    .filter(([name]) => name.startsWith('x-ms-'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value}`);
  const resource = [
    `/${account}${url.pathname}`,
    ...[...url.searchParams].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `${name}:${value}`),
  ];
  const text = [method, ...SIGNED.map(line), ...own, ...resource].join('\n');
  return `SharedKey ${account}:${createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64')}`;
};

export class AzureBlobStore implements ObjectStore {
  readonly url: string;
  /** What `verify` has seen to hold, one short line each. */
  proven: readonly string[] = [];
  readonly #options: AzureBlobOptions;

  constructor(options: AzureBlobOptions) {
    this.#options = options;
    this.url = `azure://${options.account}/${options.container}/${options.prefix}`;
  }

  async put(key: string, bytes: Uint8Array, { ifAbsent, retainUntil }: PutOptions = {}): Promise<'stored' | 'exists'> {
    const headers = {
      'content-type': 'application/octet-stream',
      'x-ms-blob-type': 'BlockBlob',
      ...(ifAbsent && { 'if-none-match': '*' }),
      ...this.#policyHeaders(retainUntil),
    };
    const answer = await this.#send('PUT', key, {}, headers, bytes);
    if (ifAbsent && (answer.status === 412 || codeOf(answer) === 'BlobAlreadyExists')) return 'exists';
    if (answer.status !== 201) throw this.#failure(answer, `put ${key}`);
    return 'stored';
  }

  async get(key: string, range?: { readonly from: number; readonly to: number }): Promise<Buffer | undefined> {
    if (range !== undefined && range.to <= range.from) return Buffer.alloc(0);
    let query: Query = {};
    if (this.#options.lock !== undefined && !this.#options.pointers.has(key)) {
      const [first] = await this.#versions(key);
      if (first === undefined) return undefined;
      query = { versionid: first };
    }
    const answer = await this.#send('GET', key, query, range === undefined ? {} : { range: `bytes=${range.from}-${range.to - 1}` });
    if (answer.status === 404) return undefined;
    if (answer.status === 416) return Buffer.alloc(0);
    if (answer.status !== 200 && answer.status !== 206) throw this.#failure(answer, `get ${key}`);
    return range !== undefined && answer.status === 200 ? answer.body.subarray(range.from, range.to) : answer.body;
  }

  async *list(prefix: string, after = ''): AsyncGenerator<string> {
    // There is no "after" in this interface but a marker of the store's own. What was deleted, and is locked, has versions, and is in no plain list.
    let last = after;
    for await (const { name } of this.#blobs(prefix, this.#options.lock !== undefined)) if (name > last) yield (last = name);
  }

  async delete(key: string): Promise<void> {
    const answer = await this.#send('DELETE', key, {});
    if (answer.status !== 202 && answer.status !== 404) throw this.#failure(answer, `delete ${key}`);
    if (this.#options.lock === undefined) return;
    // What was current is a version now, and its bytes are there.
    for (const versionid of await this.#versions(key)) {
      const gone = await this.#send('DELETE', key, { versionid });
      if (gone.status !== 202 && gone.status !== 404) throw this.#failure(gone, `delete ${key}`);
    }
  }

  async hold(key: string, on: boolean): Promise<void> {
    if (this.#options.lock === undefined)
      throw new StorageError('unsupported', `${this.url} is not used with immutability: it holds nothing`);
    for (const versionid of await this.#versions(key)) {
      const answer = await this.#send('PUT', key, { comp: 'legalhold', versionid }, { 'x-ms-legal-hold': String(on) });
      if (answer.status !== 200) throw this.#failure(answer, `${on ? 'hold' : 'release'} ${key}`);
    }
  }

  /** Each put is durable. */
  async settle(): Promise<void> {}

  async verify(): Promise<void> {
    const { lock, now = Date.now } = this.#options;
    const probe = `${PROBES}${now()}-${randomBytes(4).toString('hex')}`;
    const properties = await this.#send('HEAD', undefined, { restype: 'container' });
    if (properties.status !== 200) throw this.#failure(properties, 'show its container');
    if (lock !== undefined && properties.headers['x-ms-immutable-storage-with-versioning-enabled'] !== 'true')
      throw this.#unfit(NO_IMMUTABILITY);
    const theirs = Date.parse(properties.headers.date ?? '');
    const until = new Date((Number.isNaN(theirs) ? now() : theirs) + PROBE_MS);
    const options = { ifAbsent: true as const, ...(lock && { retainUntil: until }) };
    await this.put(probe, Buffer.from('sluice'), options);
    if ((await this.put(probe, Buffer.from('SLUICE'), options)) === 'stored')
      throw this.#unfit('a conditional put (If-None-Match) has put over what was there');
    if (lock === undefined) {
      await this.delete(probe);
      this.proven = [CONDITIONAL];
      return;
    }
    this.proven = ['version-level immutability is enabled on the container', CONDITIONAL, ...(await this.#attack(probe, until, lock))];
    for await (const key of this.list(PROBES)) await this.delete(key).catch(() => {});
  }

  async close(): Promise<void> {
    this.#options.call.close();
  }

  /** Tries all that could take a locked version away or change it. @returns what was proven */
  async #attack(probe: string, until: Date, lock: 'compliance' | 'governance'): Promise<string[]> {
    const [versionid] = await this.#versions(probe);
    if (versionid === undefined) throw this.#unfit('the container keeps no versions');
    await this.#expectLocked(probe, versionid, until, lock, 'was put');
    if (lock === 'compliance') {
      const set = (date: Date): Promise<Answer> =>
        this.#send('PUT', probe, { comp: 'immutabilityPolicies', versionid }, this.#policyHeaders(date));
      // Who may not set policies at all is refused, too: so it is seen first that the policy may be lengthened.
      const later = new Date(until.getTime() + PROBE_MS / 2);
      const longer = await set(later);
      if (longer.status !== 200) throw this.#failure(longer, 'lengthen a locked policy');
      // By which code this is refused is not documented: that the same call may lengthen, and that the date stays, is what proves it.
      this.#expectRefused(await set(new Date(until.getTime() - PROBE_MS / 2)), /./, 'a locked policy was shortened');
      await this.#expectLocked(probe, versionid, later, lock, 'was lengthened');
    }
    // What has no policy goes when it is told to: without that, a refusal of a deletion says nothing of a lock.
    await this.put(`${probe}-free`, Buffer.from('sluice'));
    await this.delete(`${probe}-free`);
    // A put over it makes another version; then the first is no longer the current one, which alone could not be deleted by its id anyway.
    await this.put(probe, Buffer.from('SLUICE'));
    const expectFirst = async (): Promise<void> => {
      if ((await this.get(probe))?.toString() !== 'sluice') throw this.#unfit('the first version of a locked blob is gone');
    };
    await expectFirst();
    this.#expectRefused(await this.#send('DELETE', probe, { versionid }), DELETE_REFUSED, 'a locked version was deleted');
    await expectFirst();
    return [
      ...(lock === 'compliance' ? ['of a locked blob: shortening its retention is refused'] : []),
      'of a locked blob: deleting it is refused',
      'the first version outlasts a second put',
    ];
  }

  async #expectLocked(probe: string, versionid: string, until: Date, lock: 'compliance' | 'governance', what: string): Promise<void> {
    const head = await this.#send('HEAD', probe, { versionid });
    if (head.status !== 200 && head.status !== 404) throw this.#failure(head, 'show a locked blob');
    const mode = head.headers['x-ms-immutability-policy-mode'];
    const kept = Date.parse(head.headers['x-ms-immutability-policy-until-date'] ?? '');
    if (head.status !== 200 || mode?.toLowerCase() !== POLICY_MODE[lock].toLowerCase() || !(kept >= until.getTime() - ROUNDING_MS))
      throw this.#unfit(`a blob that ${what} under a policy until ${until.toISOString()} came out under ${mode ?? 'none'}`);
  }

  #expectRefused(answer: Answer, refusal: RegExp, done: string): void {
    if (answer.status < 300) throw this.#unfit(done);
    const failure = this.#failure(answer, 'refuse as a policy does');
    // Busy or away is not proven, and asked again.
    if (failure.code === 'unavailable' && (answer.status >= 500 || answer.status === 408 || answer.status === 429)) throw failure;
    if (answer.status !== 401 && answer.status !== 403 && refusal.test(codeOf(answer))) return;
    throw this.#unfit(`it is not proven that it refuses: ${failure.message}`);
  }

  #unfit(why: string): StorageError {
    return new StorageError('unsupported', `${this.url} is not write-once: ${why}`);
  }

  #policyHeaders(until: Date | undefined): Headers {
    const { lock } = this.#options;
    if (until === undefined) return {};
    if (lock === undefined) throw new StorageError('unsupported', `${this.url} is not used with immutability: it retains nothing`);
    return { 'x-ms-immutability-policy-until-date': until.toUTCString(), 'x-ms-immutability-policy-mode': POLICY_MODE[lock] };
  }

  /** The ids of the versions of exactly this key, which are times: the oldest first. */
  async #versions(key: string): Promise<string[]> {
    const found: string[] = [];
    for await (const { name, version } of this.#blobs(key, true)) {
      if (name === key && version !== '') found.push(version);
      if (name > key) break;
    }
    return found.sort();
  }

  async *#blobs(prefix: string, versions: boolean): AsyncGenerator<{ name: string; version: string }> {
    const { prefix: own } = this.#options;
    let marker = '';
    do {
      const query = {
        restype: 'container',
        comp: 'list',
        prefix: own + prefix,
        ...(versions && { include: 'versions' }),
        ...(marker && { marker }),
      };
      const answer = await this.#send('GET', undefined, query);
      if (answer.status !== 200) throw this.#failure(answer, `list ${prefix}`);
      const xml = answer.body.toString();
      for (const { inner } of elements(xml, 'Blob')) {
        const name = textOf(inner, 'Name');
        if (name.startsWith(own)) yield { name: name.slice(own.length), version: textOf(inner, 'VersionId') };
      }
      marker = textOf(xml, 'NextMarker');
    } while (marker !== '');
  }

  #send(method: Call['method'], key: string | undefined, query: Query, headers: Headers = {}, body?: Uint8Array): Promise<Answer> {
    const { call } = this.#options;
    return call(async () => {
      const url = this.#at(key, query);
      const all: Headers = {
        ...headers,
        'content-length': String(body?.length ?? 0),
        'x-ms-date': new Date((this.#options.now ?? Date.now)()).toUTCString(),
        'x-ms-version': API_VERSION,
      };
      return { method, url, headers: { ...all, authorization: await this.#authorization(method, url, all) }, ...(body && { body }) };
    });
  }

  async #authorization(method: string, url: URL, headers: Headers): Promise<string> {
    const { access, account } = this.#options;
    if (access.kind === 'token')
      return `Bearer ${await access.token().catch((error: Error) => {
        throw new StorageError('unavailable', `there is no token for ${this.url}: ${error.message}`, error);
      })}`;
    const outcome = access.key.read();
    if (isError(outcome)) throw new StorageError('forbidden', `the account's key: ${outcome.error.message}`);
    return sharedKey(account, outcome.secret.reveal(), method, url, headers);
  }

  #at(key: string | undefined, query: Query): URL {
    if (key !== undefined) checkKey(key);
    const { endpoint, container, prefix } = this.#options;
    const url = new URL(endpoint);
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${container}${key === undefined ? '' : `/${prefix}${key}`}`;
    for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value);
    return url;
  }

  #failure(answer: Answer, what: string): StorageError {
    const [code, said] = [codeOf(answer), textOf(answer.body.toString(), 'Message').split('\n')[0]];
    const text = `${this.url} does not ${what}: ${[code || `status ${answer.status}`, said ?? ''].filter(Boolean).map(oneLine).join(': ')}`;
    if (answer.status === 501) return new StorageError('unsupported', text);
    if (answer.status >= 500) return new StorageError('unavailable', text);
    if (answer.status === 429) return new StorageError('unavailable', text);
    if (/^BlobImmutableDueTo/.test(code)) return new StorageError('retained', text);
    return new StorageError([401, 403, 404].includes(answer.status) ? 'forbidden' : 'unavailable', text);
  }
}

const codeOf = ({ headers, body }: Answer): string => headers['x-ms-error-code'] ?? textOf(body.toString(), 'Code');
