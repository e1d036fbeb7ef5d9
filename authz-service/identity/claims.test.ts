import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimAt } from './claims.ts';
import { type IssuerConfig, issuerProblems } from './issuer.ts';
import { type LocalIssuer, localIssuer, signToken, type TestKey, testKey } from './local_issuer.fixture.ts';
import { createVerifier, type Verifier } from './verifier.ts';

// Shapes of Microsoft's access token claims reference; ids are made up.
const TENANT = '6babcaad-604b-40ac-a9d7-9fd97c0b779f';
const OTHER = '72f988bf-86f1-41af-91ab-2d7cd011db47';
const OBJECT = '690222be-ff1a-4d56-abd1-7e4f7d38e474';
const CLIENT = '6e74172b-be56-4843-9ff4-e66a39bb12e3';

let key: TestKey;
let login: LocalIssuer;
let config: IssuerConfig;
let verifier: Verifier;

beforeAll(async () => {
  key = await testKey('RS256', 'entra-1', { issuer: `placeholder` });
  login = await localIssuer(key);
  const { alg: _, ...jwk } = key.jwk; // Entra publishes no alg
  login.publish({ ...jwk, issuer: `${login.url}/{tenantid}/v2.0`, x5t: 'entra-1', x5c: ['MIIC'] });
  config = {
    name: 'entra',
    kind: 'entra',
    issuer: login.url,
    v1Issuer: login.url,
    tenants: [TENANT],
    audiences: ['api://gateway', CLIENT],
    jwksUri: `${login.url}/jwks`,
  };
  verifier = createVerifier([config]);
});
afterAll(async () => login[Symbol.asyncDispose]());

/** A managed identity's token as v1.0 gives it. */
const v1 = (changes: object = {}) => ({
  aud: 'api://gateway',
  iss: `${login.url}/${TENANT}/`,
  appid: CLIENT,
  appidacr: '2',
  idp: `https://sts.windows.net/${TENANT}/`,
  oid: OBJECT,
  sub: OBJECT,
  tid: TENANT,
  ver: '1.0',
  roles: ['Orders.Read'],
  xms_mirid: '/subscriptions/x/resourcegroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/settlement-agent',
  ...changes,
});
const v2 = (changes: object = {}) => ({
  aud: CLIENT,
  iss: `${login.url}/${TENANT}/v2.0`,
  azp: CLIENT,
  azpacr: '2',
  oid: OBJECT,
  sub: 'pairwise-9',
  tid: TENANT,
  ver: '2.0',
  scp: 'Orders.Read Orders.Write',
  name: 'Ada',
  preferred_username: 'ada@corp.example',
  ...changes,
});
const verify = async (claims: object, header: object = {}, by = verifier) =>
  by.verify(await signToken(key, claims as never, { typ: 'JWT', x5t: 'entra-1', ...header }));

describe('Microsoft Entra', () => {
  it('v1.0 of a managed identity', async () => {
    expect(await verify(v1())).toMatchObject({
      ok: true,
      identity: {
        id: `entra:${TENANT}/${OBJECT}`,
        subject: `${TENANT}/${OBJECT}`,
        kind: 'workload',
        client: CLIENT,
        tenant: TENANT,
        roles: ['Orders.Read'],
        name: 'settlement-agent',
        scopes: [],
      },
    });
  });

  it('v2.0 of a user: the subject is oid, not the pairwise sub', async () => {
    expect(await verify(v2())).toMatchObject({
      ok: true,
      identity: {
        id: `entra:${TENANT}/${OBJECT}`,
        kind: 'user',
        client: CLIENT,
        tenant: TENANT,
        name: 'Ada',
        scopes: ['Orders.Read', 'Orders.Write'],
      },
    });
  });

  it('v2.0 of an application, and both versions of it are one identity', async () => {
    const application = await verify(v2({ sub: OBJECT, scp: undefined, name: undefined, preferred_username: undefined }));
    expect(application).toMatchObject({ ok: true, identity: { id: `entra:${TENANT}/${OBJECT}`, kind: 'workload', name: CLIENT } });
  });

  it.each([
    ['idtyp app decides', { idtyp: 'app', sub: 'pairwise' }, 'workload'],
    ['idtyp user decides', { idtyp: 'user', scp: undefined, sub: OBJECT }, 'user'],
    ['without it, delegated scopes mean a user', { sub: OBJECT, scp: 'x' }, 'user'],
    ['without it, one id in both places means an application', { sub: OBJECT.toUpperCase(), scp: undefined }, 'workload'],
    ['without it, two ids mean a user', { sub: 'pairwise', scp: undefined }, 'user'],
  ])('%s', async (_, changes, kind) => {
    expect(await verify(v2(changes))).toMatchObject({ ok: true, identity: { kind } });
  });

  it.each([
    ['another tenant in iss', () => v1({ iss: `${login.url}/${OTHER}/`, tid: OTHER }), 'issuer_unknown'],
    ['another tenant in tid alone', () => v1({ tid: OTHER }), 'tenant_refused'],
    ['no tid', () => v2({ tid: undefined }), 'tenant_refused'],
    ['no oid', () => v2({ oid: undefined }), 'claim_invalid'],
    ['v1.0 without appid: an identity token', () => v1({ appid: undefined }), 'token_type_refused'],
    ['v2.0 without azp: an identity token', () => v2({ azp: undefined }), 'token_type_refused'],
    ['v2.0 with the client of a v1.0', () => v2({ azp: undefined, appid: CLIENT }), 'token_type_refused'],
    ['a version that its issuer does not have', () => v1({ ver: '2.0' }), 'claim_invalid'],
    ['another audience', () => v1({ aud: 'https://graph.microsoft.com' }), 'audience_refused'],
    ['a nonce', () => v2({ nonce: 'x' }), 'token_type_refused'],
    [
      'group overage',
      () => v1({ _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.windows.net/x' } } }),
      'group_overage',
    ],
    ['group overage, implicit', () => v2({ hasgroups: true }), 'group_overage'],
  ])('is refused: %s', async (_, claims, code) => {
    expect(await verify(claims())).toMatchObject({ ok: false, code });
  });

  it('by default trusts RS256 alone', async () => {
    expect(await verify(v1(), { alg: 'RS256' })).toMatchObject({ ok: true });
    const ec = await testKey('ES256', 'entra-1');
    expect(await verifier.verify(await signToken(ec, v1() as never, { typ: 'JWT' }))).toMatchObject({
      ok: false,
      code: 'algorithm_refused',
    });
  });

  it('does not believe a key that is published for another tenant', async () => {
    await using elsewhere = await localIssuer(key);
    elsewhere.publish({ ...key.jwk, issuer: `${login.url}/${OTHER}/v2.0` });
    const by = createVerifier([{ ...config, jwksUri: `${elsewhere.url}/jwks` }]);
    expect(await verify(v1(), {}, by)).toMatchObject({ ok: false, code: 'key_unknown' });
  });

  it('asks each tenant and version for its own metadata', async () => {
    const asked: string[] = [];
    const cloud = createVerifier(
      [
        {
          ...config,
          issuer: 'https://login.microsoftonline.com',
          v1Issuer: 'https://sts.windows.net',
          tenants: [TENANT.toUpperCase(), OTHER],
        },
      ].map(({ jwksUri: _, ...rest }) => rest as IssuerConfig),
      {
        fetch: async (url) => {
          asked.push(url);
          return new Response('{}');
        },
      },
    );
    await cloud.warm();
    expect(asked.sort()).toEqual(
      [TENANT, OTHER]
        .flatMap((tenant) =>
          ['', '/v2.0'].map((version) => `https://login.microsoftonline.com/${tenant}${version}/.well-known/openid-configuration`),
        )
        .sort(),
    );
    expect(cloud.status.map(({ issuer }) => issuer).sort()).toEqual(
      [TENANT, OTHER]
        .flatMap((tenant) => [`https://sts.windows.net/${tenant}/`, `https://login.microsoftonline.com/${tenant}/v2.0`])
        .sort(),
    );
  });
});

describe('claimAt', () => {
  it('prefers a claim of the very name, then walks own members', () => {
    const claims = { 'a.b': 1, a: { b: 2, c: { d: 3 } }, list: [{ x: 1 }], text: 'abc' };
    expect(['a.b', 'a.c.d', 'a.x', 'list.0', 'text.length', 'a.__proto__', 'constructor', ''].map((path) => claimAt(claims, path))).toEqual(
      [1, 3, ...Array(6).fill(undefined)],
    );
  });
});

describe('issuerProblems', () => {
  const good: IssuerConfig = { name: 'corp', kind: 'oidc', issuer: 'https://idp.example/realms/x', audiences: ['gateway'] };
  const entra: IssuerConfig = { ...good, kind: 'entra', issuer: 'https://login.microsoftonline.com', tenants: [TENANT] };

  it('finds none in good ones', () => {
    for (const config of [good, entra, { ...good, issuer: 'http://127.0.0.1:9/' }, { ...good, issuer: 'http://localhost:9' }])
      expect(issuerProblems(config)).toEqual([]);
  });

  it.each<[keyof IssuerConfig, IssuerConfig]>([
    ['name', { ...good, name: 'a:b' }],
    ['issuer', { ...good, issuer: 'http://idp.example' }],
    ['issuer', { ...good, issuer: 'not a URL' }],
    ['issuer', { ...good, issuer: 'https://idp.example/?x' }],
    ['issuer', { ...good, issuer: 'https://user@idp.example/' }],
    ['issuer', { ...good, issuer: 'http://127.0.0.1.evil.example/' }],
    ['issuer', { ...entra, issuer: `https://login.microsoftonline.com/${TENANT}/v2.0` }],
    ['audiences', { ...good, audiences: [] }],
    ['algorithms', { ...good, algorithms: ['HS256' as never] }],
    ['algorithms', { ...good, algorithms: ['none' as never] }],
    ['algorithms', { ...good, algorithms: [] }],
    ['jwksUri', { ...good, jwksUri: 'http://keys.example' }],
    ['clockSkewSeconds', { ...good, clockSkewSeconds: 3600 }],
    ['tenants', { ...entra, tenants: [] }],
    ['tenants', { ...entra, tenants: ['common'] }],
    ['tenants', { ...good, tenants: [TENANT] }],
    ['v1Issuer', { ...good, v1Issuer: 'https://sts.windows.net' }],
    ['tokenTypes', { ...good, tokenTypes: [] }],
    ['keys', { ...good, keys: { refreshSeconds: 0 } }],
    ['keys', { ...good, keys: { timeoutSeconds: Number.NaN } }],
  ])('finds the one in %s', (field, config) => {
    expect(issuerProblems(config).map((found) => found.field)).toEqual([field]);
  });
});
