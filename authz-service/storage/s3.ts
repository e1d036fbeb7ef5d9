/**
 * An S3-compatible store with Object Lock.
 *
 * A bucket with Object Lock keeps versions, so a lock does not stop a key from being written or deleted again: it stops the locked version from going. That
 * is why the first version of a key is the one that counts here, whatever stands above it: a delete marker or another version above a locked
 * one hides it from a plain read and changes nothing. Pointers, which are written again and again, are read from the top.
 */
import { createHash, randomBytes } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import type { AwsIdentity } from './aws_credentials.ts';
import type { Answer, Call, Caller } from './call.ts';
import { checkKey, type ObjectStore, type PutOptions, StorageError } from './object_store.ts';
import { elements, oneLine, textOf } from './xml.ts';

/** `compliance`: nobody shortens it, the account's root included. `governance`: who has `s3:BypassGovernanceRetention` can. */
export type LockMode = 'compliance' | 'governance';

export interface S3Options {
  /** As `https://s3.eu-central-1.amazonaws.com`; nothing behind the host. */
  readonly endpoint: URL;
  readonly region: string;
  readonly bucket: string;
  /** Empty, or ends in `/`. */
  readonly prefix: string;
  /** `ENDPOINT/BUCKET/KEY` in place of `BUCKET.ENDPOINT/KEY`. */
  readonly pathStyle: boolean;
  readonly identity: AwsIdentity;
  /** The store's own: closed with it. */
  readonly call: Caller & { close(): void };
  /** Left out: objects are not locked. */
  readonly lock?: LockMode;
  /** Keys that are written again and again. */
  readonly pointers: ReadonlySet<string>;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

interface Version {
  readonly kind: 'version' | 'marker';
  /** With the store's prefix. */
  readonly key: string;
  readonly id: string;
}

const OCTETS = { 'content-type': 'application/octet-stream' };
/** Why a bucket is refused that was asked to lock. */
export const NO_OBJECT_LOCK = 'the bucket has no Object Lock: it is enabled when a bucket is created';
const CONDITIONAL = 'a second conditional put is refused';
const PROBES = 'probe/';
/** How long a probe is locked. Long enough for the clocks of both sides to differ, and for the attempts on it. */
const PROBE_MS = 120_000;
/** The dates of a lock have seconds; what the store says of one may be rounded down. */
const ROUNDING_MS = 1_000;

/** Statuses that pass by themselves. */
const PASSING: ReadonlySet<number> = new Set([408, 409, 429]);
/** What a store says that does not know what it is asked for: it will not know it later. */
const UNKNOWN_TO_IT: ReadonlySet<string> = new Set(['NotImplemented', 'MethodNotAllowed', 'InvalidRequest', 'InvalidArgument']);

type Headers = Readonly<Record<string, string>>;
type Query = Readonly<Record<string, string>>;
type Body = { readonly bytes: Uint8Array; readonly headers: Readonly<Record<string, string>> };

export class S3Store implements ObjectStore {
  readonly url: string;
  /** What `verify` has seen to hold, one short line each. */
  proven: readonly string[] = [];
  readonly #options: S3Options;
  readonly #keys = new Map<string, ArrayBuffer>();

  constructor(options: S3Options) {
    this.#options = options;
    this.url = `s3://${options.bucket}/${options.prefix}`;
  }

  async put(key: string, bytes: Uint8Array, { ifAbsent, retainUntil }: PutOptions = {}): Promise<'stored' | 'exists'> {
    const answer = await this.#send(
      'PUT',
      key,
      {},
      { bytes, headers: { ...OCTETS, ...(ifAbsent && { 'if-none-match': '*' }), ...this.#lockHeaders(retainUntil) } },
    );
    if (ifAbsent && answer.status === 412) return 'exists';
    if (answer.status !== 200) throw this.#failure(answer, `put ${key}`);
    return 'stored';
  }

  async get(key: string, range?: { readonly from: number; readonly to: number }): Promise<Buffer | undefined> {
    if (range !== undefined && range.to <= range.from) return Buffer.alloc(0);
    let version: Version | undefined;
    if (this.#options.lock !== undefined && !this.#options.pointers.has(key)) {
      version = (await this.#versions(key)).findLast(({ kind }) => kind === 'version');
      if (version === undefined) return undefined;
    }
    const headers = range === undefined ? {} : { range: `bytes=${range.from}-${range.to - 1}` };
    const answer = await this.#send('GET', key, version === undefined ? {} : { versionId: version.id }, undefined, headers);
    if (answer.status === 404) return undefined;
    // Past the end of the object there is nothing.
    if (answer.status === 416) return Buffer.alloc(0);
    if (answer.status !== 200 && answer.status !== 206) throw this.#failure(answer, `get ${key}`);
    return range !== undefined && answer.status === 200 ? answer.body.subarray(range.from, range.to) : answer.body;
  }

  async *list(prefix: string, after = ''): AsyncGenerator<string> {
    const { prefix: own, lock } = this.#options;
    if (lock !== undefined) {
      // A marker above what is locked hides its key from a plain list, and takes nothing away.
      let last = own + after;
      for await (const { listed } of this.#pagesOfVersions(own + prefix, after && own + after))
        for (const { kind, key } of listed)
          if (kind === 'version' && key > last && key.startsWith(own)) yield (last = key).slice(own.length);
      return;
    }
    let query: Query = { 'list-type': '2', prefix: own + prefix, ...(after && { 'start-after': own + after }) };
    for (;;) {
      const answer = await this.#send('GET', undefined, query);
      if (answer.status !== 200) throw this.#failure(answer, `list ${prefix}`);
      const xml = answer.body.toString();
      for (const { inner } of elements(xml, 'Contents')) {
        const key = textOf(inner, 'Key');
        if (key.startsWith(own)) yield key.slice(own.length);
      }
      const next = textOf(xml, 'NextContinuationToken');
      if (textOf(xml, 'IsTruncated') !== 'true' || next === '') return;
      query = { 'list-type': '2', prefix: own + prefix, 'continuation-token': next };
    }
  }

  async delete(key: string): Promise<void> {
    if (this.#options.lock === undefined) {
      const answer = await this.#send('DELETE', key, {});
      if (answer.status !== 204 && answer.status !== 200 && answer.status !== 404) throw this.#failure(answer, `delete ${key}`);
      return;
    }
    // A deletion that names no version only puts a marker over it: the bytes would stay.
    for (const { id } of await this.#versions(key)) {
      const answer = await this.#send('DELETE', key, { versionId: id });
      if (answer.status !== 204 && answer.status !== 200 && answer.status !== 404) throw this.#failure(answer, `delete ${key}`, true);
    }
  }

  async hold(key: string, on: boolean): Promise<void> {
    if (this.#options.lock === undefined)
      throw new StorageError('unsupported', `${this.url} is not used with Object Lock: it holds nothing`);
    for (const { kind, id } of await this.#versions(key)) {
      if (kind !== 'version') continue;
      const bytes = Buffer.from(
        `<LegalHold xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>${on ? 'ON' : 'OFF'}</Status></LegalHold>`,
      );
      const answer = await this.#send('PUT', key, { 'legal-hold': '', versionId: id }, { bytes, headers: {} });
      if (answer.status !== 200) throw this.#failure(answer, `${on ? 'hold' : 'release'} ${key}`);
    }
  }

  /** Each put is durable. */
  async settle(): Promise<void> {}

  async verify(): Promise<void> {
    const { lock, now = Date.now } = this.#options;
    const probe = `${PROBES}${now()}-${randomBytes(4).toString('hex')}`;
    if (lock === undefined) {
      await this.#expectConditional(probe, undefined);
      await this.delete(probe);
      this.proven = [CONDITIONAL];
      return;
    }
    await this.#expectObjectLock();
    const until = await this.#expectConditional(probe, PROBE_MS);
    this.proven = ['Object Lock is enabled on the bucket', CONDITIONAL, ...(await this.#attack(probe, until, lock))];
    await this.#removeOldProbes();
  }

  async close(): Promise<void> {
    this.#options.call.close();
  }

  async #expectObjectLock(): Promise<void> {
    const bucket = await this.#send('GET', undefined, { location: '' });
    if (bucket.status === 404) throw this.#failure(bucket, 'show its bucket');
    const lock = await this.#send('GET', undefined, { 'object-lock': '' });
    const enabled = lock.status === 200 && textOf(lock.body.toString(), 'ObjectLockEnabled') === 'Enabled';
    // 404: the bucket has none; 501: nor has the store.
    if (!enabled && ![200, 400, 404, 501].includes(lock.status)) throw this.#failure(lock, 'read the Object Lock configuration');
    if (!enabled) throw this.#unfit(NO_OBJECT_LOCK);
  }

  /** Puts a probe twice. @returns until when it is locked: the store's clock may not be ours. */
  async #expectConditional(probe: string, lockMs: number | undefined): Promise<Date> {
    const head = await this.#send('GET', undefined, { location: '' });
    const theirs = Date.parse(head.headers.date ?? '');
    const until = new Date((Number.isNaN(theirs) ? (this.#options.now ?? Date.now)() : theirs) + (lockMs ?? 0));
    const options = { ifAbsent: true as const, ...(lockMs !== undefined && { retainUntil: until }) };
    await this.put(probe, Buffer.from('sluice'), options);
    if ((await this.put(probe, Buffer.from('SLUICE'), options)) === 'stored')
      throw this.#unfit('a conditional put (If-None-Match) has put over what was there');
    return until;
  }

  /**
   * Tries all that could take a locked object away or change it. What only looks like a refusal proves nothing: a store that is busy, or an identity that may not
   * delete at all, refuses too. So each thing is first seen to be allowed where no lock forbids it, and then refused in the way of a lock.
   * @returns what was proven
   */
  async #attack(probe: string, until: Date, lock: LockMode): Promise<string[]> {
    const [version] = await this.#versions(probe);
    if (version === undefined) throw this.#unfit('the bucket keeps no versions');
    const query = { versionId: version.id };
    await this.#expectLocked(probe, query, until, lock, 'was put');
    await this.#expectDeletable(`${probe}-free`);
    const later = new Date(until.getTime() + PROBE_MS / 2);
    const longer = await this.#retain(probe, query, lock, later);
    if (longer.status !== 200) throw this.#failure(longer, 'lengthen the retention of a locked object');
    await this.#expectLocked(probe, query, later, lock, 'was lengthened');

    const sooner = new Date(until.getTime() - PROBE_MS / 2);
    // Who may not lift locks is refused for that alone when it asks to: so it is tried without asking, too.
    const bypasses = lock === 'compliance' ? [{}, { 'x-amz-bypass-governance-retention': 'true' }] : [{}];
    const attempts: readonly (readonly [string, (bypass: Headers) => Promise<Answer>])[] = [
      ['shortening its retention is refused', (bypass) => this.#retain(probe, query, lock, sooner, bypass)],
      ['deleting it is refused', (bypass) => this.#send('DELETE', probe, query, undefined, bypass)],
    ];
    for (const [what, attempt] of attempts) for (const bypass of bypasses) this.#expectRefused(await attempt(bypass), what);
    await this.#expectLocked(probe, query, later, lock, 'was attacked');
    // A key that is deleted and written again has other versions above the locked one, and still is what it was.
    const marked = await this.#send('DELETE', probe, {});
    if (marked.status !== 204 && marked.status !== 200) throw this.#failure(marked, 'put a delete marker over a locked object');
    await this.put(probe, Buffer.from('SLUICE'));
    if ((await this.get(probe))?.toString() !== 'sluice') throw this.#unfit('the first version of a locked object is gone');
    return [...attempts.map(([what]) => `of a locked object: ${what}`), 'the first version outlasts a deletion and a second put'];
  }

  async #expectLocked(probe: string, query: Query, until: Date, lock: LockMode, what: string): Promise<void> {
    const head = await this.#send('HEAD', probe, query);
    if (head.status !== 200 && head.status !== 404) throw this.#failure(head, 'show a locked object');
    const mode = head.headers['x-amz-object-lock-mode']?.toLowerCase();
    const kept = Date.parse(head.headers['x-amz-object-lock-retain-until-date'] ?? '');
    if (head.status !== 200 || mode !== lock || !(kept >= until.getTime() - ROUNDING_MS))
      throw this.#unfit(`an object that ${what} under ${lock} until ${until.toISOString()} came out under ${mode ?? 'no lock'}`);
  }

  /** What nothing locks goes when it is told to: without that, a refusal of a deletion says nothing of a lock. */
  async #expectDeletable(probe: string): Promise<void> {
    await this.put(probe, Buffer.from('sluice'));
    try {
      await this.delete(probe);
    } catch (error) {
      const { code, message } = error as StorageError;
      if (code === 'unavailable') throw error;
      throw new StorageError(
        'forbidden',
        `${message}. It has no lock of ours: s3:DeleteObjectVersion is missing, or the bucket has a default retention; so what a lock forbids cannot be told`,
        error,
      );
    }
  }

  #expectRefused(answer: Answer, what: string): void {
    if (answer.status < 300) throw this.#unfit(`of a locked object it does not hold that ${what}`);
    if (isLockRefusal(answer)) return;
    const failure = this.#failure(answer, `tell that ${what}`);
    // Busy or away is not proven, and asked again; any other answer is none that a lock gives.
    if (failure.code === 'unavailable' && (answer.status >= 500 || PASSING.has(answer.status))) throw failure;
    throw this.#unfit(`of a locked object it is not proven that ${what}: ${failure.message}`);
  }

  #retain(probe: string, query: Query, lock: LockMode, until: Date, headers: Headers = {}): Promise<Answer> {
    const xml = `<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>${lock.toUpperCase()}</Mode><RetainUntilDate>${until.toISOString()}</RetainUntilDate></Retention>`;
    return this.#send('PUT', probe, { ...query, retention: '' }, { bytes: Buffer.from(xml), headers });
  }

  /** Probes whose locks are over. What may not go yet goes another time. */
  async #removeOldProbes(): Promise<void> {
    for await (const key of this.list(PROBES)) await this.delete(key).catch(() => {});
  }

  #unfit(why: string): StorageError {
    return new StorageError('unsupported', `${this.url} is not write-once: ${why}`);
  }

  #lockHeaders(retainUntil: Date | undefined): Readonly<Record<string, string>> {
    const { lock } = this.#options;
    if (retainUntil === undefined) return {};
    if (lock === undefined) throw new StorageError('unsupported', `${this.url} is not used with Object Lock: it retains nothing`);
    return { 'x-amz-object-lock-mode': lock.toUpperCase(), 'x-amz-object-lock-retain-until-date': retainUntil.toISOString() };
  }

  /** The versions and delete markers of exactly this key, the newest first. */
  async #versions(key: string): Promise<Version[]> {
    const found: Version[] = [];
    const full = this.#options.prefix + key;
    for await (const { listed, nextKey } of this.#pagesOfVersions(full)) {
      found.push(...listed.filter((version) => version.key === full));
      // Keys are in order: behind this one come longer ones, which are others.
      if (nextKey !== full) break;
    }
    return found;
  }

  /** What a list of versions says of keys that begin with `prefix`, from the first one behind `after`; of each key the newest first. */
  async *#pagesOfVersions(prefix: string, after = ''): AsyncGenerator<{ readonly listed: readonly Version[]; readonly nextKey: string }> {
    let query: Query = { versions: '', prefix, ...(after && { 'key-marker': after }) };
    for (;;) {
      const answer = await this.#send('GET', undefined, query);
      if (answer.status !== 200) throw this.#failure(answer, `list the versions of ${prefix}`);
      const xml = answer.body.toString();
      const listed = elements(xml, 'Version', 'DeleteMarker').map(({ name, inner }): Version => {
        return { kind: name === 'Version' ? 'version' : 'marker', key: textOf(inner, 'Key'), id: textOf(inner, 'VersionId') };
      });
      const [nextKey, nextVersion] = [textOf(xml, 'NextKeyMarker'), textOf(xml, 'NextVersionIdMarker')];
      const more = textOf(xml, 'IsTruncated') === 'true' && nextKey !== '';
      yield { listed, nextKey: more ? nextKey : '' };
      if (!more) return;
      query = { versions: '', prefix, 'key-marker': nextKey, 'version-id-marker': nextVersion };
    }
  }

  async #send(
    method: Call['method'],
    key: string | undefined,
    query: Query,
    body?: Body,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const { identity, call } = this.#options;
    const answer = await call(() => this.#signed(method, key, query, body, headers));
    if (answer.status !== 400 && answer.status !== 403) return answer;
    if (!/<Code>(?:ExpiredToken|InvalidAccessKeyId|InvalidToken)</.test(answer.body.toString('latin1'))) return answer;
    identity.forget();
    return await call(() => this.#signed(method, key, query, body, headers));
  }

  async #signed(
    method: Call['method'],
    key: string | undefined,
    query: Query,
    body: Body | undefined,
    more: Readonly<Record<string, string>>,
  ): Promise<Call> {
    const { region, identity, now = Date.now } = this.#options;
    const { accessKeyId, secretAccessKey, sessionToken } = await identity.credentials();
    const digest = createHash('sha256')
      .update(body?.bytes ?? '')
      .digest();
    const signer = new AwsV4Signer({
      method,
      url: this.#at(key, query).href,
      headers: {
        ...more,
        ...body?.headers,
        'x-amz-content-sha256': digest.toString('hex'),
        // What is put under a lock must come with a checksum of its content.
        ...(body && { 'x-amz-sdk-checksum-algorithm': 'SHA256', 'x-amz-checksum-sha256': digest.toString('base64') }),
      },
      accessKeyId,
      secretAccessKey: secretAccessKey.reveal(),
      ...(sessionToken && { sessionToken: sessionToken.reveal() }),
      service: 's3',
      region,
      cache: this.#keys,
      datetime: new Date(now()).toISOString().replace(/[:-]|\.\d{3}/g, ''),
    });
    const { url, headers } = await signer.sign();
    return { method, url, headers: Object.fromEntries(headers), ...(body && { body: body.bytes }) };
  }

  #at(key: string | undefined, query: Query): URL {
    if (key !== undefined) checkKey(key);
    const { endpoint, bucket, prefix, pathStyle } = this.#options;
    const url = new URL(endpoint);
    if (!pathStyle) url.hostname = `${bucket}.${url.hostname}`;
    url.pathname = `${pathStyle ? `/${bucket}` : ''}${key === undefined ? '/' : `/${prefix}${key}`}`;
    for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value);
    return url;
  }

  /** @param removes whether the call would have taken something away, so that a lock is what may have refused it */
  #failure({ status, body, headers }: Answer, what: string, removes = false): StorageError {
    const xml = body.toString();
    const [code, said] = [textOf(xml, 'Code'), textOf(xml, 'Message')];
    const text = `${this.url} does not ${what}: ${[code || `status ${status}`, said].filter(Boolean).map(oneLine).join(': ')}${headers.location ? ` (look at the region: ${oneLine(headers.location)})` : ''}`;
    if (status === 501 || status === 405 || (status === 400 && UNKNOWN_TO_IT.has(code) && !removes))
      return new StorageError('unsupported', text);
    // 409: another put of this key is under way.
    if (status >= 500 || status === 429 || status === 409) return new StorageError('unavailable', text);
    if (removes && (code === 'AccessDenied' || code === 'ObjectLocked' || /WORM|lock|retention/i.test(said)))
      return new StorageError('retained', text);
    return new StorageError(status === 401 || status === 403 || status === 404 ? 'forbidden' : 'unavailable', text);
  }
}

/** How a lock refuses: AWS and Ceph say 403 AccessDenied, MinIO 400 InvalidRequest and that the object is WORM protected. */
const isLockRefusal = ({ status, body }: Answer): boolean => {
  const xml = body.toString();
  const [code, said] = [textOf(xml, 'Code'), textOf(xml, 'Message')];
  return (status === 403 && code === 'AccessDenied') || (status === 400 && code === 'InvalidRequest' && /\bWORM\b/.test(said));
};
