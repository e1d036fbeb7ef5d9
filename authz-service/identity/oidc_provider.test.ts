import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK } from 'jose';
import { Provider } from 'oidc-provider';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testKey } from './local_issuer.fixture.ts';
import { createVerifier } from './verifier.ts';

// A real OpenID provider, certified as such: what it publishes and signs is not of our making.
const GATEWAY = 'https://gateway.example';
let server: Server;
let url: string;

beforeAll(async () => {
  server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const keys = await Promise.all(['RS256', 'ES256'].map(privateJwk));
  const provider = new Provider(url, {
    jwks: { keys },
    clients: [
      {
        client_id: 'agent-7',
        client_secret: 'a-secret-of-the-test',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => GATEWAY,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: 'orders:read',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 120,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    extraTokenClaims: () => ({ groups: ['agents'], run_id: 'run-42' }),
  });
  server.on('request', provider.callback());
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function privateJwk(alg: string) {
  const key = await testKey(alg, alg);
  return { ...(await exportJWK(key.private)), kid: alg, alg, use: 'sig' };
}

async function clientCredentials(resource: string): Promise<string> {
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('agent-7:a-secret-of-the-test')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource, scope: 'orders:read' }),
  });
  return ((await response.json()) as { access_token: string }).access_token;
}

describe('a token of oidc-provider by client credentials', () => {
  it('is verified through discovery', async () => {
    const verifier = createVerifier([{ name: 'demo', kind: 'oidc', issuer: url, audiences: [GATEWAY], tokenTypes: ['at+jwt'] }]);
    expect(await verifier.verify(await clientCredentials(GATEWAY))).toMatchObject({
      ok: true,
      identity: { id: 'demo:agent-7', kind: 'workload', client: 'agent-7', groups: ['agents'], scopes: ['orders:read'] },
      run: { id: 'run-42', onBehalfOf: '' },
    });
    expect(verifier.status).toEqual([{ issuer: url, keys: 2, fetchedAt: expect.any(Number), failure: '' }]);
  });

  it('for another resource is refused', async () => {
    const verifier = createVerifier([{ name: 'demo', kind: 'oidc', issuer: url, audiences: [GATEWAY] }]);
    expect(await verifier.verify(await clientCredentials('https://elsewhere.example'))).toMatchObject({
      ok: false,
      code: 'audience_refused',
    });
  });
});
