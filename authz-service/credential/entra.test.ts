import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createCredentials } from './credential.ts';
import { EntraTokens } from './entra.ts';

const IDENTITY = { identity: 'managed', clientId: '', resource: 'https://database.example' } as const;
const LOOK_MS = 5;

let server: Server | undefined;
let tokens: EntraTokens | undefined;
afterEach(() => {
  tokens?.close();
  server?.closeAllConnections();
  server?.close();
});

/** A metadata service that tells a new token each time, which lives for so many seconds; 403 while it says no. */
async function metadata(life: number) {
  const state = { given: 0, refuses: false, resources: new Set<string | null>() };
  server = createServer(({ url = '' }, response) => {
    state.resources.add(new URL(url, 'http://metadata').searchParams.get('resource'));
    if (state.refuses) return response.writeHead(403).end('{"error":"denied","error_description":"no such identity"}');
    return response.end(JSON.stringify({ access_token: `token-${(state.given += 1)}`, expires_in: String(life) }));
  });
  await new Promise<void>((settle) => server?.listen(0, '127.0.0.1', settle));
  const host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  tokens = new EntraTokens({ AZURE_POD_IDENTITY_AUTHORITY_HOST: host }, LOOK_MS);
  const reader = tokens.reader(IDENTITY);
  const read = (): string => {
    const outcome = reader.read();
    return 'error' in outcome ? `${outcome.error.code}: ${outcome.error.message}` : outcome.secret.reveal();
  };
  return { state, read, reader, tokens };
}

test('a token is fetched before anybody asks for it, once for all who share it', async () => {
  const { state, read, reader, tokens } = await metadata(3600);
  expect(read()).toMatch(/^secret_pending: the token of Entra for https:\/\/database\.example is being fetched/);
  expect(tokens.reader({ ...IDENTITY })).toBe(reader);
  await expect.poll(read).toBe('token-1');
  expect(reader.read()).toBe(reader.read());
  await new Promise((settle) => setTimeout(settle, 10 * LOOK_MS));
  expect(state.given).toBe(1);
  expect([...state.resources]).toEqual(['https://database.example']);
});

test('it is renewed before it ends; one that has ended is none', async () => {
  const { state, read } = await metadata(1);
  await expect.poll(read).toBe('token-1');
  await expect.poll(read, { timeout: 5_000 }).toBe('token-2');
  state.refuses = true;
  await expect.poll(read, { timeout: 20_000 }).toMatch(/^secret_missing: .*(has ended|no such identity)/);
  state.refuses = false;
  await expect.poll(read, { timeout: 20_000 }).toMatch(/^token-/);
}, 60_000);

test('an identity that is refused is said in the words of Entra', async () => {
  const { state, read } = await metadata(3600);
  state.refuses = true;
  await expect.poll(read).toMatch(/^(secret_missing: .*: no such identity|token-1)$/);
});

test('it is the password of a log-in, or a bearer token; while it is on its way that is no problem of the configuration', async () => {
  const { tokens, read } = await metadata(3600);
  const credentials = createCredentials(
    { ledger: { db: { type: 'entra', username: 'gateway', ...IDENTITY } }, api: { web: { type: 'entra', ...IDENTITY } } },
    undefined,
    tokens,
  );
  expect(credentials.problems()).toEqual([]);
  expect(credentials.logInFor('ledger', '')).toMatchObject({ error: { code: 'secret_pending' } });
  await expect.poll(read).toBe('token-1');
  const logIn = credentials.logInFor('ledger', '');
  expect('error' in logIn ? logIn : [logIn.username, logIn.password.reveal()]).toEqual(['gateway', 'token-1']);
  const web = credentials.headersFor('api', '');
  expect('error' in web ? web : web.headers.map(([name, value]) => [name, value.reveal()])).toEqual([['authorization', 'Bearer token-1']]);
  expect(credentials.headersFor('ledger', '')).toMatchObject({ error: { code: 'credential_unknown' } });
  expect(credentials.logInFor('api', '')).toMatchObject({ error: { code: 'credential_unknown' } });
});
