import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { IssuerConfig } from './issuer.ts';
import { type LocalIssuer, localIssuer, signToken, type TestKey, testKey } from './local_issuer.fixture.ts';
import { createVerifier, type Verifier, type VerifierSources } from './verifier.ts';

let first: TestKey;
let second: TestKey;
let issuer: LocalIssuer;
/** Seconds that the verifier's clock is ahead. Tokens last a day here, so that only key sets age. */
let ahead: number;
let warnings: object[];

beforeAll(async () => {
  [first, second] = await Promise.all([testKey('ES256', 'first'), testKey('ES256', 'second')]);
});
beforeEach(async () => {
  issuer = await localIssuer(first);
  ahead = 0;
  warnings = [];
});
afterEach(async () => issuer[Symbol.asyncDispose]());

const config = (changes: Partial<IssuerConfig> = {}): IssuerConfig => ({
  name: 'corp',
  kind: 'oidc',
  issuer: issuer.url,
  audiences: ['gateway'],
  ...changes,
});
const verifierOf = (changes: Partial<IssuerConfig> = {}, sources: Partial<VerifierSources> = {}): Verifier =>
  createVerifier([config(changes)], {
    now: () => Date.now() + ahead * 1000,
    logger: { info() {}, warn: (fields) => warnings.push(fields) },
    ...sources,
  });
const token = (key: TestKey, header: Record<string, unknown> = {}, claims: object = {}) =>
  signToken(key, { iss: issuer.url, exp: Math.floor(Date.now() / 1000) + 10 * 86_400, ...claims }, header);
const codeOf = async (verifier: Verifier, text: string): Promise<string> => {
  const verdict = await verifier.verify(text);
  return verdict.ok ? 'verified' : `${verdict.status} ${verdict.code}`;
};
/** Until what a background fetch brings is seen. */
const eventually = async (condition: () => boolean): Promise<void> => {
  for (let round = 0; round < 200 && !condition(); round += 1) await wait(10);
  expect(condition()).toBe(true);
};
const down = () => issuer.fail((response) => response.writeHead(503).end('no'));

describe('rotation', () => {
  it('fetches for an unknown key id, and keeps what the other keys verified', async () => {
    const verifier = verifierOf({ keys: { cooldownSeconds: 0 } });
    const old = await token(first);
    expect(await codeOf(verifier, old)).toBe('verified');
    issuer.publish(first, second);
    expect(await codeOf(verifier, await token(second))).toBe('verified');
    expect(verifier.verify(old)).toMatchObject({ ok: true }); // at once: not verified anew
  });

  it('fetches for a token without a key id whose key is not here yet', async () => {
    const verifier = verifierOf({ keys: { cooldownSeconds: 0 } });
    expect(await codeOf(verifier, await token(first, { kid: undefined }))).toBe('verified');
    issuer.publish(first, second);
    expect(await codeOf(verifier, await token(second, { kid: undefined }))).toBe('verified');
  });

  it('forgets what a withdrawn key verified', async () => {
    const verifier = verifierOf({ keys: { cooldownSeconds: 0 } });
    const old = await token(first);
    expect(await codeOf(verifier, old)).toBe('verified');
    issuer.publish(second);
    await codeOf(verifier, await token(second));
    expect(await codeOf(verifier, old)).toBe('401 key_unknown');
  });

  it('is noticed without any unknown key: by age, in the background and then by waiting', async () => {
    const verifier = verifierOf();
    const old = await token(first);
    await codeOf(verifier, old);
    issuer.publish(second);
    ahead = 601;
    expect(verifier.verify(old)).toMatchObject({ ok: true }); // served once more while the fetch runs
    await eventually(() => issuer.fetches.jwks === 2);
    await eventually(() => !(verifier.verify(old) as { ok?: boolean }).ok);
    expect(await codeOf(verifier, old)).toBe('401 key_unknown');
  });

  it('reaches what was verified before a fetch that brought the same keys', async () => {
    const verifier = verifierOf();
    const old = await token(first);
    await codeOf(verifier, old);
    ahead = 601;
    verifier.verify(old);
    await eventually(() => (verifier.status[0]?.fetchedAt ?? 0) > Date.now() + 600_000);
    issuer.publish(second);
    ahead = 1203;
    expect(verifier.verify(old)).toMatchObject({ ok: true });
    await eventually(() => (verifier.status[0]?.fetchedAt ?? 0) > Date.now() + 1_202_000);
    expect(await codeOf(verifier, old)).toBe('401 key_unknown');
  });

  it('after a long idle time is waited for, so that a key withdrawn meanwhile verifies nothing', async () => {
    const verifier = verifierOf();
    const old = await token(first);
    await codeOf(verifier, old);
    issuer.publish(second);
    ahead = 1201;
    expect(await codeOf(verifier, old)).toBe('401 key_unknown');
  });

  it('to an empty set is obeyed', async () => {
    const verifier = verifierOf();
    const old = await token(first);
    await codeOf(verifier, old);
    issuer.publish();
    ahead = 1201;
    expect(await codeOf(verifier, old)).toBe('401 key_unknown');
  });

  it('under the same key id replaces the key', async () => {
    const verifier = verifierOf({ keys: { refreshSeconds: 1 } });
    const old = await token(first);
    await codeOf(verifier, old);
    const successor = await testKey('ES256', 'first');
    issuer.publish(successor);
    ahead = 60;
    expect(await codeOf(verifier, await token(successor))).toBe('verified');
    expect(await codeOf(verifier, old)).toBe('401 signature_invalid');
  });
});

describe('unknown key ids', () => {
  it('fetch at a bounded rate, together', async () => {
    const verifier = verifierOf();
    await verifier.warm();
    expect(issuer.fetches.jwks).toBe(1);
    const strangers = await Promise.all(Array.from({ length: 20 }, (_, index) => token(second, { kid: `stranger-${index}` })));
    for (const stranger of strangers) expect(await codeOf(verifier, stranger)).toBe('401 key_unknown');
    expect(issuer.fetches.jwks).toBe(1); // within 30 s of the first fetch
    ahead = 31;
    expect(await Promise.all(strangers.map((stranger) => codeOf(verifier, stranger)))).toEqual(strangers.map(() => '401 key_unknown'));
    expect(issuer.fetches.jwks).toBe(2);
  });
});

describe('an issuer that is away', () => {
  it('with nothing cached: 503, and verified once it is back', async () => {
    down();
    const verifier = verifierOf();
    expect(await codeOf(verifier, await token(first))).toBe('503 issuer_unavailable');
    expect(verifier.status[0]).toMatchObject({ keys: 0, fetchedAt: null, failure: expect.stringContaining('answered 503') });
    issuer.recover();
    expect(await codeOf(verifier, await token(first))).toBe('503 issuer_unavailable'); // a second between attempts
    ahead = 1.1;
    expect(await codeOf(verifier, await token(first))).toBe('verified');
    expect(verifier.status[0]).toMatchObject({ keys: 1, failure: '' });
  });

  it('leaves the cached set serving, new tokens too, and is not hammered', async () => {
    const verifier = verifierOf();
    const known = await token(first);
    await codeOf(verifier, known);
    down();
    ahead = 5000;
    expect(await codeOf(verifier, known)).toBe('verified');
    expect(await codeOf(verifier, await token(first, {}, { jti: 'new' }))).toBe('verified');
    expect(verifier.verify(known)).toMatchObject({ ok: true });
    const { metadata } = issuer.fetches;
    for (let round = 0; round < 50; round += 1) await codeOf(verifier, known);
    expect(issuer.fetches.metadata).toBe(metadata);
    expect(warnings.length).toBeGreaterThan(0);
    expect(await codeOf(verifier, await token(second))).toBe('503 issuer_unavailable'); // perhaps a rotated key: nobody can say
  });

  it('serves no longer than maxStaleSeconds', async () => {
    const verifier = verifierOf({ keys: { maxStaleSeconds: 7200 } });
    const known = await token(first);
    await codeOf(verifier, known);
    down();
    ahead = 7100;
    expect(await codeOf(verifier, known)).toBe('verified');
    ahead = 7300;
    expect(await codeOf(verifier, known)).toBe('503 issuer_unavailable');
    issuer.recover();
    ahead = 7302;
    expect(await codeOf(verifier, known)).toBe('verified');
  });

  it('by never answering keeps nobody longer than the time-out', async () => {
    issuer.fail(() => {});
    const verifier = verifierOf({ keys: { timeoutSeconds: 0.2 } });
    const start = performance.now();
    expect(await codeOf(verifier, await token(first))).toBe('503 issuer_unavailable');
    expect(performance.now() - start).toBeLessThan(15_000);
  });

  it('by trickling keeps nobody longer than the time-out', async () => {
    issuer.fail((response) => {
      const timer = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(timer));
    });
    expect(await codeOf(verifierOf({ keys: { timeoutSeconds: 0.2 } }), await token(first))).toBe('503 issuer_unavailable');
  });
});

describe('a publication that is not believed', () => {
  it.each<[string, () => void, string]>([
    ['metadata of another issuer', () => issuer.describe({ issuer: 'https://elsewhere.example' }), 'another issuer'],
    ['metadata of nearly the issuer', () => issuer.describe({ issuer: `${issuer.url}/` }), 'another issuer'],
    ['keys over plain HTTP elsewhere', () => issuer.describe({ jwks_uri: 'http://keys.example/' }), 'no https jwks_uri'],
    ['keys in a file', () => issuer.describe({ jwks_uri: 'file:///etc/jwks' }), 'no https jwks_uri'],
    [
      'a redirect, though to what would be right',
      () =>
        issuer.fail((response) => {
          issuer.recover();
          response.writeHead(302, { location: '/.well-known/openid-configuration' }).end();
        }),
      'redirect',
    ],
    ['no JSON', () => issuer.fail((response) => response.end('<html>')), 'JSON'],
    ['a JSON array', () => issuer.fail((response) => response.end('[]')), 'no JSON object'],
    ['no UTF-8', () => issuer.fail((response) => response.end(Buffer.from([0x22, 0xff, 0x22]))), 'valid'],
    ['more than 512 KiB', () => issuer.fail((response) => response.end(' '.repeat(600_000))), 'more than'],
    ['more than 100 keys', () => issuer.publish(...Array.from({ length: 101 }, () => ({}))), 'no JWK set'],
    [
      'a cut answer',
      () => issuer.fail((response) => response.writeHead(200, { 'content-length': 100 }).write('{', () => response.destroy())),
      '',
    ],
  ])('%s', async (_, publish, why) => {
    publish();
    const verifier = verifierOf();
    expect(await codeOf(verifier, await token(first))).toBe('503 issuer_unavailable');
    expect(verifier.status[0]?.failure).toMatch(why === '' ? /./ : new RegExp(why, 'i'));
  });
});

describe('a published key', () => {
  const verdict = async (key: TestKey, ...published: readonly (TestKey | object)[]) => {
    issuer.publish(...(published.length > 0 ? published : [key]));
    return codeOf(verifierOf({ algorithms: ['RS256', 'ES256'] }), await token(key));
  };

  it.each<[string, object]>([
    ['for encryption', { use: 'enc' }],
    ['for other operations', { key_ops: ['encrypt'] }],
    ['with operations that are no list', { key_ops: 'verify' }],
    ['for another algorithm', { alg: 'ES384' }],
    ['of another type', { kty: 'RSA' }],
    ['of a type of nobody', { kty: 'toString' }],
    ['of another curve', { crv: 'P-384' }],
    ['off its curve', { x: 'AAAA' }],
    ['with its private part', { d: 'AAAA' }],
    ['with a numeric id', { kid: 7 }],
  ])('is left out: %s', async (_, changes) => {
    expect(await verdict(first, { ...first.jwk, ...changes })).toBe('401 key_unknown');
    expect(await verdict(first, { ...first.jwk, ...changes }, first)).toBe('verified'); // and does not take the good one with it
  });

  it('may say neither use nor alg nor id', async () => {
    const { kid: _kid, alg: _alg, use: _use, ...bare } = first.jwk;
    issuer.publish(bare);
    expect(await codeOf(verifierOf(), await token(first, { kid: undefined }))).toBe('verified');
  });

  it('of fewer than 2048 bits or with exponent 1 is left out', async () => {
    const { generateKeyPairSync, createSign } = await import('node:crypto');
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
    issuer.publish({ ...weak.publicKey.export({ format: 'jwk' }), kid: 'weak', alg: 'RS256', use: 'sig' });
    const input = (await token(first, { alg: 'ES256', kid: 'weak' })).split('.').slice(0, 2);
    input[0] = Buffer.from(JSON.stringify({ alg: 'RS256', kid: 'weak', typ: 'at+jwt' })).toString('base64url');
    const signature = createSign('sha256').update(input.join('.')).sign(weak.privateKey, 'base64url');
    expect(await codeOf(verifierOf(), `${input.join('.')}.${signature}`)).toBe('401 key_unknown');
    const strong = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
    issuer.publish({ ...strong, e: 'AQ', kid: 'one' });
    const verifier = verifierOf();
    await verifier.warm();
    expect(verifier.status[0]).toMatchObject({ keys: 0, failure: '' });
  });

  it('may share its id with another: both are tried', async () => {
    const twin = await testKey('ES256', 'first');
    expect(await verdict(first, twin, first)).toBe('verified');
    expect(await verdict(twin, twin, first)).toBe('verified');
  });

  it('comes from jwksUri when that is configured, and no metadata is asked for', async () => {
    expect(await codeOf(verifierOf({ jwksUri: `${issuer.url}/jwks` }), await token(first))).toBe('verified');
    expect(issuer.fetches).toEqual({ metadata: 0, jwks: 1 });
  });
});
