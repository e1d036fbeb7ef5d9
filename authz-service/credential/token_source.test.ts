import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { managedIdentity, workloadIdentity } from './azure.ts';
import { tokenOfCommand, tokenOfFile, tokenOfVariable } from './token_program.ts';
import { keptToken, selfDescribed, type Token } from './token_source.ts';

const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;

describe('a kept token', () => {
  let [now, fetched, failing, life] = [0, 0, false, 3_600_000];
  const source = () => {
    [now, fetched, failing, life] = [1_000_000, 0, false, 3_600_000];
    return keptToken(
      async (): Promise<Token> => {
        if (failing) throw new Error('the issuer is away');
        return { value: `token-${++fetched}`, expiresAt: life === 0 ? 0 : now + life };
      },
      () => now,
    );
  };

  test('is fetched once for all who ask at the same time', async () => {
    const token = source();
    expect(await Promise.all([token(), token(), token()])).toEqual(['token-1', 'token-1', 'token-1']);
    expect(await token()).toBe('token-1');
  });

  test('is renewed five minutes before it ends, and in the last fifth of a short life', async () => {
    let token = source();
    await token();
    now += 3_299_000;
    expect(await token()).toBe('token-1');
    now += 2_000;
    expect(await token()).toBe('token-2');
    token = source();
    life = 60_000;
    await token();
    now += 47_000;
    expect(await token()).toBe('token-1');
    now += 2_000;
    expect(await token()).toBe('token-2');
  });

  test('that cannot be renewed is used as long as it is good, and then no more', async () => {
    const token = source();
    await token();
    failing = true;
    now += 3_400_000;
    expect(await token()).toBe('token-1');
    now += 195_000;
    await expect(token()).rejects.toThrow('the issuer is away');
    failing = false;
    expect(await token()).toBe('token-2');
  });

  test('of which nobody says when it ends is asked for each time', async () => {
    const token = source();
    life = 0;
    expect([await token(), await token()]).toEqual(['token-1', 'token-2']);
  });

  test.each(['', 'a b', 'a\r\nx: y', '{"error":"no"}'])('is none where it cannot stand in a header: %j', async (value) => {
    await expect(keptToken(async () => ({ value, expiresAt: 0 }))()).rejects.toThrow('is no token');
  });

  test('says itself when it ends, as a JWT', () => {
    expect(selfDescribed(jwt({ exp: 123 })).expiresAt).toBe(123_000);
    expect(selfDescribed('opaque').expiresAt).toBe(0);
  });
});

describe('a token of this machine', () => {
  const dir = mkdtempSync(join(tmpdir(), 'token-'));
  afterAll(() => rmSync(dir, { recursive: true }));

  test('is what a command prints', async () => {
    expect(await tokenOfCommand('echo to-$((1 + 1)); echo said aside >&2')).toEqual({ value: 'to-2', expiresAt: 0 });
    await expect(tokenOfCommand('exit 3')).rejects.toThrow('it ended with code 3');
    await expect(tokenOfCommand('yes')).rejects.toThrow('SIGKILL');
    await expect(tokenOfCommand('sleep 30 & sleep 30', 50)).rejects.toThrow('SIGKILL');
  });

  test('is what a file or a variable holds now', async () => {
    const file = join(dir, 'token');
    await expect(tokenOfFile(file)).rejects.toThrow('ENOENT');
    for (const value of ['one', 'two']) {
      writeFileSync(file, `${value}\n`);
      expect((await tokenOfFile(file)).value).toBe(value);
    }
    expect((await tokenOfVariable('T', { T: ' x ' })).value).toBe('x');
    await expect(tokenOfVariable('T', {})).rejects.toThrow('T holds no token');
  });
});

describe('in Azure', () => {
  let server: Server;
  let origin: string;
  let asked: { url: URL; method: string; headers: NodeJS.Dict<string | string[]>; body: string }[] = [];
  let answers: { status: number; body: string }[] = [];
  const dir = mkdtempSync(join(tmpdir(), 'azure-'));

  beforeAll(async () => {
    server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      asked.push({ url: new URL(request.url ?? '', origin), method: request.method ?? '', headers: request.headers, body });
      const { status, body: said } = (answers.length > 1 ? answers.shift() : answers[0]) ?? { status: 500, body: '' };
      response.writeHead(status, { 'content-type': 'application/json' }).end(said);
    });
    await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    [asked, answers] = [[], []];
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
    rmSync(dir, { recursive: true });
  });

  test('a managed identity asks the metadata service, again while it is busy', async () => {
    answers = [
      { status: 410, body: '{}' },
      { status: 429, body: 'slow down' },
      { status: 200, body: '{"access_token":"t","expires_on":"1893456000","token_type":"Bearer"}' },
    ];
    const token = await managedIdentity(
      { resource: 'api://sluice', clientId: 'app' },
      { AZURE_POD_IDENTITY_AUTHORITY_HOST: `${origin}/` },
      1,
    );
    expect(token).toEqual({ value: 't', expiresAt: 1_893_456_000_000 });
    expect(asked).toHaveLength(3);
    expect(asked[0]?.url.pathname).toBe('/metadata/identity/oauth2/token');
    expect(Object.fromEntries(asked[0]?.url.searchParams ?? [])).toEqual({
      'api-version': '2018-02-01',
      resource: 'api://sluice',
      client_id: 'app',
    });
    expect(asked[0]?.headers.metadata).toBe('true');
  });

  test('a managed identity of App Service asks the endpoint there', async () => {
    answers = [{ status: 200, body: '{"access_token":"t","expires_on":"1893456000"}' }];
    const env = { IDENTITY_ENDPOINT: `${origin}/msi/token`, IDENTITY_HEADER: 'h' };
    expect((await managedIdentity({ resource: 'api://sluice', clientId: '' }, env)).value).toBe('t');
    expect([asked[0]?.url.pathname, asked[0]?.headers['x-identity-header']]).toEqual(['/msi/token', 'h']);
    expect(Object.fromEntries(asked[0]?.url.searchParams ?? [])).toEqual({ 'api-version': '2019-08-01', resource: 'api://sluice' });
  });

  test('a managed identity that there is not is said, at once', async () => {
    answers = [{ status: 400, body: '{"error":"invalid_request","error_description":"Identity not found"}' }];
    await expect(managedIdentity({ resource: 'r', clientId: '' }, { AZURE_POD_IDENTITY_AUTHORITY_HOST: origin }, 1)).rejects.toThrow(
      'status 400): Identity not found',
    );
    expect(asked).toHaveLength(1);
  });

  test('a metadata service that stays busy, or is not there, is said', async () => {
    answers = [{ status: 503, body: '' }];
    await expect(managedIdentity({ resource: 'r', clientId: '' }, { AZURE_POD_IDENTITY_AUTHORITY_HOST: origin }, 1)).rejects.toThrow(
      'status 503',
    );
    expect(asked).toHaveLength(5);
    await expect(
      managedIdentity({ resource: 'r', clientId: '' }, { AZURE_POD_IDENTITY_AUTHORITY_HOST: 'http://127.0.0.1:1' }, 1),
    ).rejects.toThrow('http://127.0.0.1:1 cannot be reached');
  });

  test.each([
    { IDENTITY_ENDPOINT: 'http://127.0.0.1:40342' },
    { IDENTITY_ENDPOINT: 'x', IDENTITY_HEADER: 'h', IDENTITY_SERVER_THUMBPRINT: 't' },
  ])('what is not supported is said: %j', async (env) => {
    await expect(managedIdentity({ resource: 'r', clientId: '' }, env)).rejects.toThrow('not supported');
  });

  test('a workload identity exchanges the federated token, read anew', async () => {
    answers = [{ status: 200, body: '{"access_token":"t","expires_in":3600}' }];
    const file = join(dir, 'federated');
    const env = { AZURE_AUTHORITY_HOST: `${origin}/`, AZURE_TENANT_ID: 'ten', AZURE_CLIENT_ID: 'app', AZURE_FEDERATED_TOKEN_FILE: file };
    for (const assertion of ['first', 'second']) {
      writeFileSync(file, `${assertion}\n`);
      const { value, expiresAt } = await workloadIdentity({ resource: 'api://sluice', clientId: '' }, env);
      expect(value).toBe('t');
      expect(Math.abs(expiresAt - Date.now() - 3_600_000)).toBeLessThan(5_000);
      expect(Object.fromEntries(new URLSearchParams(asked.at(-1)?.body))).toEqual({
        grant_type: 'client_credentials',
        client_id: 'app',
        scope: 'api://sluice/.default',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion,
      });
    }
    expect([asked[0]?.method, asked[0]?.url.pathname]).toEqual(['POST', '/ten/oauth2/v2.0/token']);
    await expect(workloadIdentity({ resource: 'r', clientId: '' }, {})).rejects.toThrow('AZURE_FEDERATED_TOKEN_FILE');
  });
});
