import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

export interface TestKey {
  readonly alg: string;
  readonly private: CryptoKey;
  readonly jwk: JWK & { issuer?: string };
}

/** The JWK's `kid`, `alg` and `use` may be replaced or, with undefined, left out. */
export async function testKey(alg: string, kid: string, jwk: JWK & { issuer?: string } = {}, modulusLength = 2048): Promise<TestKey> {
  const pair = await generateKeyPair(alg, { extractable: true, modulusLength });
  return {
    alg,
    private: pair.privateKey,
    jwk: JSON.parse(JSON.stringify({ ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig', ...jwk })),
  };
}

/** An issuer on loopback whose publications a test decides: metadata at every path's `.well-known/openid-configuration`, keys at `/jwks`. */
export async function localIssuer(...keys: readonly TestKey[]) {
  let answer = (response: ServerResponse, body: object): void => {
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  };
  const usual = answer;
  const published = { keys: keys.map(({ jwk }) => jwk) as unknown[], metadata: {} as Record<string, unknown> };
  const fetches = { metadata: 0, jwks: 0 };
  const server = createServer((request, response) => {
    const [path = '', isMetadata] = (request.url ?? '').split(/(\/\.well-known\/openid-configuration)$/);
    if (isMetadata) fetches.metadata += 1;
    else fetches.jwks += 1;
    const body = isMetadata ? { issuer: `${url}${path}`, jwks_uri: `${url}/jwks`, ...published.metadata } : { keys: published.keys };
    answer(response, body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    fetches,
    /** Replaces what is published. */
    publish(...next: readonly (TestKey | object)[]) {
      published.keys = next.map((key) => ('jwk' in key && 'private' in key ? key.jwk : key));
    },
    describe(metadata: Record<string, unknown>) {
      published.metadata = metadata;
    },
    /** Answers every fetch otherwise, until `recover`. */
    fail(how: (response: ServerResponse) => void) {
      answer = how;
    },
    recover() {
      answer = usual;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export type LocalIssuer = Awaited<ReturnType<typeof localIssuer>>;

/** Unix seconds. */
export const seconds = (ms = Date.now()): number => Math.floor(ms / 1000);

/** A token that is right in every way but for what is said otherwise; a claim or header of undefined is left out. */
export async function signToken(key: TestKey, claims: JWTPayload, header: Record<string, unknown> = {}): Promise<string> {
  const payload = { aud: 'gateway', sub: 'agent-7', iat: seconds(), exp: seconds() + 300, ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(payload)))
    .setProtectedHeader(JSON.parse(JSON.stringify({ alg: key.alg, kid: key.jwk.kid, typ: 'at+jwt', ...header })))
    .sign(key.private);
}

/** Three parts as given, with no regard to what they mean. */
export const rawToken = (header: object | string, claims: object | string, signature: Uint8Array | string): string =>
  [header, claims, signature]
    .map((part) => Buffer.from(part instanceof Uint8Array || typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url'))
    .join('.');
