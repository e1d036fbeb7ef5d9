/** A bucket for tests: versions, locks and holds as S3 has them, and stores that only say so. What a real one does is shown by test/interop/storage.ts. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Version {
  readonly id: string;
  readonly marker: boolean;
  readonly bytes: Buffer;
  mode: string;
  until: number;
  hold: boolean;
}

/** What is wrong with a store that is not write-once. */
export type Flaw =
  | 'no_object_lock'
  | 'no_conditional_put'
  | 'ignores_lock'
  | 'locks_weakly'
  | 'locks_briefly'
  | 'weakens'
  | 'shortens'
  | 'deletes'
  | 'overwrites'
  | 'lets_nobody_delete';

interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const failure = (status: number, code: string, message = code): Reply => ({
  status,
  body: `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${escaped(message)}</Message></Error>`,
});
const PAGE = 3;

export class Bucket {
  /** By key, the newest first. */
  readonly objects = new Map<string, Version[]>();
  readonly flaws = new Set<Flaw>();
  /** On which objects nobody may put a legal hold. */
  refusesHold: (key: string) => boolean = () => false;
  /** Answers in place of the bucket, in turn; `undefined`: the connection breaks. */
  readonly faults: (Reply | undefined | 'silence')[] = [];
  readonly requests: { readonly method: string; readonly url: string; readonly headers: IncomingMessage['headers'] }[] = [];
  /** How it refuses what a lock forbids, in place of AWS's own way: a change of the retention, or the deletion of a version. */
  refuses: { readonly what: 'retention' | 'versionId'; readonly status: number; readonly code: string } | undefined;
  now: () => number = Date.now;
  #next = 1;
  readonly #server: Server;
  endpoint = new URL('http://127.0.0.1');

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async open(port = 0): Promise<Bucket> {
    const bucket = new Bucket();
    bucket.#server.listen(port, '127.0.0.1');
    await once(bucket.#server, 'listening');
    bucket.endpoint = new URL(`http://127.0.0.1:${(bucket.#server.address() as AddressInfo).port}`);
    return bucket;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  keys(): string[] {
    return [...this.objects.keys()].filter((key) => this.objects.get(key)?.[0]?.marker === false).sort();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = request;
    this.requests.push({ method, url, headers });
    const fault = this.faults.length > 0 ? this.faults.shift() : null;
    if (fault === 'silence') return;
    if (fault === undefined) return void request.socket.destroy();
    const at = new URL(url, this.endpoint);
    const reply = fault ?? this.#reply(method, at.pathname.split('/').slice(2).join('/'), at.searchParams, headers, Buffer.concat(chunks));
    response.writeHead(reply.status, { date: new Date(this.now()).toUTCString(), ...reply.headers });
    response.end(method === 'HEAD' ? undefined : reply.body);
  }

  #reply(method: string, key: string, query: URLSearchParams, headers: IncomingMessage['headers'], body: Buffer): Reply {
    if (
      !/^AWS4-HMAC-SHA256 Credential=id\/\d{8}\/eu-test-1\/s3\/aws4_request, SignedHeaders=[\w;-]+, Signature=[0-9a-f]{64}$/.test(
        headers.authorization ?? '',
      )
    )
      return failure(403, 'AccessDenied');
    const digest = createHash('sha256').update(body).digest();
    if (headers['x-amz-content-sha256'] !== digest.toString('hex')) return failure(400, 'XAmzContentSHA256Mismatch');
    if (key === '') return this.#ofBucket(query);
    if (method === 'PUT' && query.has('legal-hold') && this.refusesHold(key)) return failure(403, 'AccessDenied');
    if (method === 'PUT' && query.has('legal-hold'))
      return this.#change(key, query, (version) => void (version.hold = body.includes('>ON<')));
    if (method === 'PUT' && query.has('retention')) return this.#retain(key, query, body.toString());
    if (method === 'PUT') return this.#put(key, headers, body);
    if (method === 'DELETE') return this.#delete(key, query.get('versionId'));
    return this.#get(key, query.get('versionId'), headers.range);
  }

  #ofBucket(query: URLSearchParams): Reply {
    if (query.has('location')) return { status: 200, body: '<LocationConstraint>eu-test-1</LocationConstraint>' };
    if (query.has('object-lock'))
      return this.flaws.has('no_object_lock')
        ? failure(404, 'ObjectLockConfigurationNotFoundError')
        : { status: 200, body: '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>' };
    const prefix = query.get('prefix') ?? '';
    return query.has('versions') ? this.#versions(prefix, query) : this.#list(prefix, query);
  }

  #list(prefix: string, query: URLSearchParams): Reply {
    const after = query.get('continuation-token') ?? query.get('start-after') ?? '';
    const keys = this.keys().filter((key) => key.startsWith(prefix) && key > after);
    const page = keys.slice(0, PAGE);
    const more = keys.length > page.length;
    const contents = page.map((key) => `<Contents><Key>${escaped(key)}</Key></Contents>`).join('');
    const next = more ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : '';
    return { status: 200, body: `<ListBucketResult><IsTruncated>${more}</IsTruncated>${contents}${next}</ListBucketResult>` };
  }

  #versions(prefix: string, query: URLSearchParams): Reply {
    const [keyMarker, versionMarker] = [query.get('key-marker'), query.get('version-id-marker')];
    const all = [...this.objects].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
    const entries = all.flatMap(([key, versions]) => versions.map((version) => ({ key, version })));
    const passed = ({ key, version }: (typeof entries)[number]): boolean =>
      versionMarker === null ? key <= (keyMarker ?? '') : key === keyMarker && version.id === versionMarker;
    const start = entries.findLastIndex(passed) + 1;
    const page = entries.slice(start, start + PAGE);
    const more = start + page.length < entries.length;
    const last = page.at(-1);
    const xml = page.map(({ key, version: { marker, id } }) => {
      const name = marker ? 'DeleteMarker' : 'Version';
      return `<${name}><Key>${escaped(key)}</Key><VersionId>${id}</VersionId></${name}>`;
    });
    const next = more ? `<NextKeyMarker>${last?.key}</NextKeyMarker><NextVersionIdMarker>${last?.version.id}</NextVersionIdMarker>` : '';
    return { status: 200, body: `<ListVersionsResult><IsTruncated>${more}</IsTruncated>${next}${xml.join('')}</ListVersionsResult>` };
  }

  #put(key: string, headers: IncomingMessage['headers'], bytes: Buffer): Reply {
    const versions = this.objects.get(key) ?? [];
    const present = versions[0]?.marker === false;
    if (present && headers['if-none-match'] === '*' && !this.flaws.has('no_conditional_put')) return failure(412, 'PreconditionFailed');
    const until = Date.parse(String(headers['x-amz-object-lock-retain-until-date'] ?? ''));
    const locked = !this.flaws.has('ignores_lock') && !Number.isNaN(until);
    if (locked && headers['x-amz-checksum-sha256'] === undefined) return failure(400, 'InvalidRequest', 'a lock needs a checksum');
    const asked = this.flaws.has('locks_weakly') ? 'GOVERNANCE' : String(headers['x-amz-object-lock-mode']);
    const kept = this.flaws.has('locks_briefly') ? Math.min(until, this.now() + 60_000) : until;
    this.#add(key, { marker: false, bytes, mode: locked ? asked : '', until: locked ? kept : 0 });
    return { status: 200 };
  }

  #add(key: string, version: Omit<Version, 'id' | 'hold'>): void {
    const kept = this.flaws.has('overwrites') ? [] : (this.objects.get(key) ?? []);
    this.objects.set(key, [{ ...version, id: `v${this.#next++}`, hold: false }, ...kept]);
  }

  #locked = ({ until, hold }: Version): boolean => !this.flaws.has('deletes') && (hold || until > this.now());

  #refusal(what: 'retention' | 'versionId'): Reply {
    if (this.refuses?.what !== what) return failure(403, 'AccessDenied', 'Access Denied because object protected by object lock.');
    const { status, code } = this.refuses;
    return failure(status, code, code === 'InvalidRequest' ? 'Object is WORM protected and cannot be overwritten' : code);
  }

  #delete(key: string, id: string | null): Reply {
    const versions = this.objects.get(key) ?? [];
    if (id === null) {
      this.#add(key, { marker: true, bytes: Buffer.alloc(0), mode: '', until: 0 });
      return { status: 204 };
    }
    const version = versions.find((one) => one.id === id);
    if (version && (this.#locked(version) || this.flaws.has('lets_nobody_delete'))) return this.#refusal('versionId');
    const rest = versions.filter((one) => one.id !== id);
    if (rest.length > 0) this.objects.set(key, rest);
    else this.objects.delete(key);
    return { status: 204 };
  }

  #change(key: string, query: URLSearchParams, apply: (version: Version) => void): Reply {
    const version = this.objects.get(key)?.find(({ id }) => id === query.get('versionId'));
    if (version === undefined) return failure(404, 'NoSuchVersion');
    apply(version);
    return { status: 200 };
  }

  #retain(key: string, query: URLSearchParams, xml: string): Reply {
    const until = Date.parse(/<RetainUntilDate>([^<]+)</.exec(xml)?.[1] ?? '');
    const version = this.objects.get(key)?.find(({ id }) => id === query.get('versionId'));
    if (version && until < version.until && !this.flaws.has('shortens')) return this.#refusal('retention');
    const mode = this.flaws.has('weakens') ? 'GOVERNANCE' : (/<Mode>([^<]+)</.exec(xml)?.[1] ?? '');
    return this.#change(key, query, (one) => void Object.assign(one, { until, mode }));
  }

  #get(key: string, id: string | null, range: string | undefined): Reply {
    const versions = this.objects.get(key) ?? [];
    const version = id === null ? versions[0] : versions.find((one) => one.id === id);
    if (version === undefined || version.marker) return failure(404, 'NoSuchKey');
    const lock: Record<string, string> = version.mode
      ? { 'x-amz-object-lock-mode': version.mode, 'x-amz-object-lock-retain-until-date': new Date(version.until).toISOString() }
      : {};
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    if (from === undefined) return { status: 200, headers: lock, body: version.bytes };
    if (Number(from) >= version.bytes.length) return failure(416, 'InvalidRange');
    return { status: 206, headers: lock, body: version.bytes.subarray(Number(from), Number(to) + 1) };
  }
}
