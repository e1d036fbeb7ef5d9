import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startIssuer } from '../../demo/issuer.ts';
import { bearerToken } from './bearer_token.ts';
import { Browser } from './browser.fixture.ts';
import { login, logout } from './login.ts';
import { byDevice, discover } from './oauth.ts';
import { type StoredToken, storedToken, storeToken, tokenFile } from './token_store.ts';

// A real OpenID provider; what it signs and publishes is not of our making.
let issuer: string;
let server: Server;
let home: string;

beforeAll(async () => {
  const port = await new Promise<number>((settle) => {
    const probe = createTcpServer().listen(0, '127.0.0.1', () => {
      const { port: found } = probe.address() as AddressInfo;
      probe.close(() => settle(found));
    });
  });
  issuer = `http://127.0.0.1:${port}`;
  server = await startIssuer(port);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cli-'));
  vi.stubEnv('XDG_CONFIG_HOME', home);
  vi.stubEnv('SLUICE_TOKEN', '');
  vi.stubEnv('SLUICE_CLIENT_SECRET', '');
  vi.spyOn(process.stdout, 'write').mockReturnValue(true);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

const run = async (values: Record<string, string>): Promise<number> => await login.run({ values: { issuer, ...values }, positionals: [] });
const said = (): string =>
  vi
    .mocked(process.stdout.write)
    .mock.calls.map(([text]) => text)
    .join('');
const stored: StoredToken = {
  accessToken: 'old',
  expiresAt: Date.now() - 61_000,
  refreshToken: '',
  issuer: '',
  clientId: 'sluice-cli',
  name: 'Dana',
};

describe('logging in', () => {
  it('as a client leaves a token that only its owner can read', async () => {
    vi.stubEnv('SLUICE_CLIENT_SECRET', 'demo-dana');
    expect(await run({ client: 'dana' })).toBe(0);
    expect(said()).toMatch(/Logged in as Dana Whitlock \(leads\), for (1h|59m)/);
    expect(decodeJwt(await bearerToken())).toMatchObject({ iss: issuer, sub: 'dana', aud: 'sluice', groups: ['leads'] });
    expect(statSync(tokenFile()).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, 'sluice')).mode & 0o777).toBe(0o700);
    await logout.run({ values: {}, positionals: [] });
    await expect(bearerToken()).rejects.toMatchObject({ message: expect.stringContaining('not logged in'), exitCode: 3 });
  });

  it('with a wrong secret is refused, and the old token stays', async () => {
    storeToken(stored);
    vi.stubEnv('SLUICE_CLIENT_SECRET', 'wrong');
    await expect(run({ client: 'dana' })).rejects.toThrow('The issuer refused: invalid_client');
    expect(storedToken()).toEqual(stored);
  });

  it('by the device flow, in a browser; the token is renewed when it ends', async () => {
    const browser = new Browser();
    let open: Promise<void> | undefined;
    const endpoints = await discover(issuer);
    const tokens = await byDevice(endpoints, { id: 'sluice-cli' }, { scope: 'openid offline_access', resource: '' }, ({ url, code }) => {
      open = (async () => {
        let page = await browser.visit(url);
        expect(page.html).toContain(code);
        while (page.html.includes('<form')) page = await browser.submit(page, { login: 'alex', password: 'any' });
        expect(page.html).toContain('Sign-in Success');
      })();
    });
    await open;
    expect(decodeJwt(tokens.accessToken)).toMatchObject({ sub: 'alex', aud: 'sluice', groups: ['leads'] });

    storeToken({ ...stored, issuer, refreshToken: tokens.refreshToken });
    const renewed = await bearerToken();
    expect(decodeJwt(renewed)).toMatchObject({ sub: 'alex' });
    expect(storedToken()).toMatchObject({ accessToken: renewed, name: 'Alex Moreau' });
    expect(await bearerToken()).toBe(renewed);
  }, 30_000);

  it('says how it went wrong when the browser said no', async () => {
    const browser = new Browser();
    const denied = byDevice(await discover(issuer), { id: 'sluice-cli' }, { scope: 'openid', resource: '' }, async ({ url }) => {
      const confirm = await browser.submit(await browser.visit(url));
      await browser.visit(confirm.action, { xsrf: confirm.fields.xsrf ?? '', user_code: confirm.fields.user_code ?? '', abort: 'yes' });
    });
    await expect(denied).rejects.toMatchObject({ message: expect.stringContaining('access_denied'), exitCode: 3 });
  }, 30_000);

  it('never puts a token on the command line', async () => {
    await expect(run({ token: 'eyJ' })).rejects.toMatchObject({ exitCode: 2 });
  });
});

describe('a stored token', () => {
  it('gives way to SLUICE_TOKEN', async () => {
    vi.stubEnv('SLUICE_TOKEN', ' from-the-environment\n');
    expect(await bearerToken()).toBe('from-the-environment');
  });
  it('that has ended and cannot be renewed says so', async () => {
    storeToken(stored);
    await expect(bearerToken()).rejects.toThrow(/log-in of Dana ended 1m( \d+s)? ago: log in again/);
  });
  it('that cannot be renewed any more says so', async () => {
    storeToken({ ...stored, issuer, refreshToken: 'revoked' });
    await expect(bearerToken()).rejects.toThrow(/could not be renewed: The issuer refused: invalid_grant/);
  });
  it('that is damaged says so', async () => {
    storeToken(stored);
    writeFileSync(tokenFile(), '{"accessToken":1}');
    await expect(bearerToken()).rejects.toThrow(/is damaged/);
  });
});

describe('an issuer', () => {
  const metadata = async (json: (url: string) => object): Promise<{ url: string; close: () => void }> => {
    const fake = createServer((_, response) =>
      response.end(JSON.stringify(json(`http://127.0.0.1:${(fake.address() as AddressInfo).port}`))),
    );
    await new Promise<void>((listening) => fake.listen(0, '127.0.0.1', listening));
    return { url: `http://127.0.0.1:${(fake.address() as AddressInfo).port}`, close: () => fake.close() };
  };

  it('must be reached in a way that keeps secrets', async () => {
    await expect(discover('http://login.example.com')).rejects.toThrow('only fetched over https');
  });
  it('must be who it was asked to be', async () => {
    const { url, close } = await metadata(() => ({ issuer: 'https://other.example', token_endpoint: 'https://other.example/token' }));
    await expect(discover(url)).rejects.toThrow('says that it is the issuer https://other.example');
    close();
  });
  it('cannot send the secret over the network in clear', async () => {
    const { url, close } = await metadata((self) => ({ issuer: self, token_endpoint: 'http://other.example/token' }));
    await expect(discover(url)).rejects.toThrow('The token endpoint is http://other.example/token');
    close();
  });
  it('that is away is named', async () => {
    await expect(discover('http://127.0.0.1:9')).rejects.toThrow(/http:\/\/127\.0\.0\.1:9 cannot be reached/);
  });
});
