/** The demo's OpenID Connect issuer: `oidc-provider` on loopback. Started by main.ts; ends with it. */
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { PEOPLE } from './people.ts';

/** The audience of access tokens: what demo/sluice.yaml asks for. */
const AUDIENCE = 'sluice';
/** Stands for the gateway where RFC 8707 wants a URI; a client need not name it. */
const RESOURCE = 'urn:sluice:gateway';
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
/** Long enough for a tour, short enough to see what an expired token gets. */
const TOKEN_SECONDS = 3600;

interface IssuedToken {
  readonly accountId?: string;
  readonly clientId?: string;
}

/** Listens on 127.0.0.1:`port`; keys live as long as the process. */
export async function startIssuer(port: number): Promise<Server> {
  const signing = await generateKeyPair('ES256', { extractable: true });
  const person = ({ accountId, clientId }: IssuedToken) => PEOPLE[accountId ?? clientId ?? ''];
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys: [{ ...(await exportJWK(signing.privateKey)), alg: 'ES256', use: 'sig', kid: randomBytes(8).toString('hex') }] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    clients: [
      ...Object.entries(PEOPLE).map(([client_id, { name, secret }]) => ({
        client_id,
        client_name: name,
        client_secret: secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: 'ES256',
      })),
      // Public, as a command-line program is: RFC 8628 needs no secret.
      {
        client_id: 'sluice-cli',
        client_name: 'sluice command line',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        grant_types: [DEVICE_GRANT, 'refresh_token'],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: 'ES256',
      },
    ],
    scopes: ['openid', 'offline_access'],
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      // The provider's own log-in page: any password will do. It says so in the page.
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience: AUDIENCE,
          scope: '',
          accessTokenFormat: 'jwt',
          accessTokenTTL: TOKEN_SECONDS,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    // Only the people of the demo can log in.
    findAccount: (_: unknown, id: string) => (PEOPLE[id] ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
    extraTokenClaims: (_: unknown, token: IssuedToken) => {
      const { name, groups, claims } = person(token) ?? {};
      return { name, groups, ...claims };
    },
    ttl: {
      ClientCredentials: TOKEN_SECONDS,
      AccessToken: TOKEN_SECONDS,
      DeviceCode: 600,
      Grant: 86_400,
      Session: 86_400,
      Interaction: 3600,
      IdToken: 3600,
    },
  });
  const server = createServer(provider.callback());
  await new Promise<void>((listening, failed) => server.once('error', failed).listen(port, '127.0.0.1', listening));
  return server;
}

if (import.meta.main) {
  // Ctrl-C reaches every process of the terminal: main.ts decides when this one ends.
  process.on('SIGINT', () => {});
  process.on('disconnect', () => process.exit());
  await startIssuer(Number(process.argv[2]));
  process.send?.('ready');
}
