/** A container with version-level immutability for tests: the emulator has none (it answers 501). What it does without is shown by test/interop/storage.ts. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sharedKey } from './azure_blob.ts';

interface Version {
  readonly id: string;
  readonly bytes: Buffer;
  readonly mode: string;
  current: boolean;
  until: number;
  hold: boolean;
}

export type Flaw = 'no_immutability' | 'no_conditional_put' | 'ignores_policy' | 'shortens' | 'deletes' | 'overwrites' | 'busy';

interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

const failure = (status: number, code: string): Reply => ({
  status,
  headers: { 'x-ms-error-code': code },
  body: `<Error><Code>${code}</Code></Error>`,
});
export const ACCOUNT = 'evidence';
export const ACCOUNT_KEY = Buffer.from('a key of the account').toString('base64');
const PAGE = 3;

export class Container {
  /** By name, the oldest first. */
  readonly blobs = new Map<string, Version[]>();
  readonly flaws = new Set<Flaw>();
  /** Who is let in: a shared key, or this token. */
  token = '';
  now: () => number = Date.now;
  #next = 1;
  readonly #server: Server;
  endpoint = new URL('http://127.0.0.1');

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async open(): Promise<Container> {
    const container = new Container();
    container.#server.listen(0, '127.0.0.1');
    await once(container.#server, 'listening');
    container.endpoint = new URL(`http://127.0.0.1:${(container.#server.address() as AddressInfo).port}/`);
    return container;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = request;
    const at = new URL(url, this.endpoint);
    const reply = this.#allowed(method, at, headers)
      ? this.#reply(method, at.pathname.split('/').slice(2).join('/'), at.searchParams, headers, Buffer.concat(chunks))
      : failure(403, 'AuthenticationFailed');
    response.writeHead(reply.status, { date: new Date(this.now()).toUTCString(), ...reply.headers });
    response.end(method === 'HEAD' ? undefined : reply.body);
  }

  #allowed(method: string, url: URL, headers: IncomingMessage['headers']): boolean {
    if (headers['x-ms-version'] === undefined || headers['x-ms-date'] === undefined) return false;
    if (this.token !== '') return headers.authorization === `Bearer ${this.token}`;
    const plain = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    return headers.authorization === sharedKey(ACCOUNT, ACCOUNT_KEY, method, url, plain);
  }

  #reply(method: string, name: string, query: URLSearchParams, headers: IncomingMessage['headers'], body: Buffer): Reply {
    if (name === '' && query.get('comp') === 'list') return this.#list(query);
    if (name === '')
      return { status: 200, headers: { 'x-ms-immutable-storage-with-versioning-enabled': String(!this.flaws.has('no_immutability')) } };
    const id = query.get('versionid');
    if (method === 'PUT' && query.get('comp') === 'legalhold')
      return this.#change(name, id, (version) => void (version.hold = headers['x-ms-legal-hold'] === 'true'));
    if (method === 'PUT' && query.get('comp') === 'immutabilityPolicies') return this.#retain(name, id, headers);
    if (method === 'PUT') return this.#put(name, headers, body);
    if (method === 'DELETE') return this.#delete(name, id);
    return this.#get(name, id, headers.range);
  }

  #list(query: URLSearchParams): Reply {
    const prefix = query.get('prefix') ?? '';
    const versions = query.get('include') === 'versions';
    const found = [...this.blobs]
      .filter(([name]) => name.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([name, all]) => all.filter(({ current }) => versions || current).map(({ id }) => ({ name, id })));
    const start = Number(query.get('marker') ?? 0);
    const page = found.slice(start, start + PAGE);
    const marker = start + PAGE < found.length ? String(start + PAGE) : '';
    const blobs = page.map(({ name, id }) => `<Blob><Name>${name}</Name>${versions ? `<VersionId>${id}</VersionId>` : ''}</Blob>`).join('');
    return { status: 200, body: `<EnumerationResults><Blobs>${blobs}</Blobs><NextMarker>${marker}</NextMarker></EnumerationResults>` };
  }

  #put(name: string, headers: IncomingMessage['headers'], bytes: Buffer): Reply {
    const all = this.blobs.get(name) ?? [];
    if (headers['x-ms-blob-type'] !== 'BlockBlob') return failure(400, 'MissingRequiredHeader');
    if (all.some(({ current }) => current) && headers['if-none-match'] === '*' && !this.flaws.has('no_conditional_put'))
      return failure(409, 'BlobAlreadyExists');
    const until = Date.parse(String(headers['x-ms-immutability-policy-until-date'] ?? ''));
    const locked = !Number.isNaN(until) && !this.flaws.has('ignores_policy');
    const id = `2026-01-01T00:00:00.${String(this.#next++).padStart(7, '0')}Z`;
    for (const one of all) one.current = false;
    const kept = this.flaws.has('overwrites') ? [] : all;
    const mode = locked ? String(headers['x-ms-immutability-policy-mode']) : '';
    this.blobs.set(name, [...kept, { id, bytes, mode, current: true, until: locked ? until : 0, hold: false }]);
    return { status: 201 };
  }

  #delete(name: string, id: string | null): Reply {
    const all = this.blobs.get(name) ?? [];
    const version = all.find((one) => (id === null ? one.current : one.id === id));
    if (version === undefined) return failure(404, 'BlobNotFound');
    if (id === null) {
      version.current = false;
      return { status: 202 };
    }
    if (version.current) return failure(403, 'OperationNotAllowedOnRootBlob');
    if (version.hold) return failure(409, 'BlobImmutableDueToLegalHold');
    if (version.until > this.now() && this.flaws.has('busy')) return failure(503, 'ServerBusy');
    if (version.until > this.now() && !this.flaws.has('deletes')) return failure(409, 'BlobImmutableDueToPolicy');
    const rest = all.filter((one) => one !== version);
    if (rest.length > 0) this.blobs.set(name, rest);
    else this.blobs.delete(name);
    return { status: 202 };
  }

  #change(name: string, id: string | null, apply: (version: Version) => void): Reply {
    const version = this.blobs.get(name)?.find((one) => one.id === id);
    if (version === undefined) return failure(404, 'BlobNotFound');
    apply(version);
    return { status: 200 };
  }

  #retain(name: string, id: string | null, headers: IncomingMessage['headers']): Reply {
    const until = Date.parse(String(headers['x-ms-immutability-policy-until-date']));
    const version = this.blobs.get(name)?.find((one) => one.id === id);
    if (version && until < version.until && version.mode === 'Locked' && !this.flaws.has('shortens'))
      return failure(409, 'ImmutabilityPolicyDeleteOnLockedPolicy');
    return this.#change(name, id, (one) => void (one.until = until));
  }

  #get(name: string, id: string | null, range: string | undefined): Reply {
    const version = this.blobs.get(name)?.find((one) => (id === null ? one.current : one.id === id));
    if (version === undefined) return failure(404, 'BlobNotFound');
    const policy: Record<string, string> = version.mode
      ? {
          'x-ms-immutability-policy-mode': version.mode.toLowerCase(),
          'x-ms-immutability-policy-until-date': new Date(version.until).toUTCString(),
        }
      : {};
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    if (from === undefined) return { status: 200, headers: policy, body: version.bytes };
    if (Number(from) >= version.bytes.length) return failure(416, 'InvalidRange');
    return { status: 206, headers: policy, body: version.bytes.subarray(Number(from), Number(to) + 1) };
  }
}
