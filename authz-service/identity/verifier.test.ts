import { createHmac, createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { CompactSign } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IssuerConfig } from './issuer.ts';
import { type LocalIssuer, localIssuer, rawToken, seconds, signToken, type TestKey, testKey } from './local_issuer.fixture.ts';
import type { RefusalCode } from './refusal.ts';
import { createVerifier, type Verified, type Verifier } from './verifier.ts';

let rsa: TestKey;
let ec: TestKey;
let ed: TestKey;
let issuer: LocalIssuer;
let config: IssuerConfig;
let verifier: Verifier;

beforeAll(async () => {
  [rsa, ec, ed] = await Promise.all([testKey('RS256', 'rsa'), testKey('ES256', 'ec'), testKey('EdDSA', 'ed')]);
  issuer = await localIssuer(rsa, ec, ed);
  config = { name: 'corp', kind: 'oidc', issuer: issuer.url, audiences: ['gateway', 'other-name'] };
  verifier = createVerifier([config]);
});
afterAll(async () => issuer[Symbol.asyncDispose]());

const accepted = async (token: string, by = verifier): Promise<Verified> => {
  const verdict = await by.verify(token);
  if (!verdict.ok) expect.unreachable(`${verdict.code}: ${verdict.description}`);
  return verdict;
};
const refused = async (token: string, code: RefusalCode, by = verifier) => {
  const verdict = await by.verify(token);
  expect(verdict).toMatchObject({ ok: false, code });
  return verdict as Exclude<typeof verdict, Verified>;
};
const token = (claims: object = {}, header: Record<string, unknown> = {}, key = ec) =>
  signToken(key, { iss: issuer.url, ...claims }, header);
const header = (changes: object = {}) => ({ alg: 'ES256', kid: 'ec', typ: 'at+jwt', ...changes });
const payload = (changes: object = {}) => ({
  iss: issuer.url,
  aud: 'gateway',
  sub: 'agent-7',
  iat: seconds(),
  exp: seconds() + 300,
  ...changes,
});
const signed = (key: TestKey, head: object, claims: string | object) =>
  new CompactSign(Buffer.from(typeof claims === 'string' ? claims : JSON.stringify(claims)))
    .setProtectedHeader(head as { alg: string })
    .sign(key.private);

describe('a good token', () => {
  it.each([
    ['RS256', () => rsa],
    ['ES256', () => ec],
    ['EdDSA', () => ed],
  ])('of %s gives who the caller is', async (_, key) => {
    const exp = seconds() + 120;
    const claims = {
      sub: 'agent-7',
      client_id: 'agent-7',
      name: 'Seven',
      groups: ['a', 'b c'],
      roles: ['reader'],
      scope: 'one two',
      run_id: 'run-1',
      exp,
    };
    expect(await accepted(await token(claims, {}, key()))).toEqual({
      ok: true,
      identity: {
        id: 'corp:agent-7',
        issuer: 'corp',
        subject: 'agent-7',
        name: 'Seven',
        kind: 'workload',
        client: 'agent-7',
        tenant: '',
        groups: ['a', 'b c'],
        roles: ['reader'],
        scopes: ['one', 'two'],
      },
      run: { id: 'run-1', onBehalfOf: '' },
      expiresAt: (exp + 30) * 1000,
    });
  });

  it('is of a user when its subject is not its client, unless all subjects are workloads', async () => {
    const ours = await token({ sub: 'ada', client_id: 'console' });
    expect((await accepted(ours)).identity.kind).toBe('user');
    expect((await accepted(ours, createVerifier([{ ...config, subjects: 'workload' }]))).identity.kind).toBe('workload');
  });

  it('may be for several audiences, one of them ours', async () => {
    await accepted(await token({ aud: ['elsewhere', 'other-name'] }));
  });

  it('may be typed `application/AT+JWT`, `JWT`, or not at all', async () => {
    for (const typ of ['application/AT+JWT', 'JWT', 'jwt', undefined]) await accepted(await token({}, { typ }));
  });

  it('may carry jku, x5u and x5c, which are not followed', async () => {
    let fetched = 0;
    const only = createVerifier([config], {
      fetch: (url, init) => {
        if (!url.startsWith(issuer.url)) fetched += 1;
        return fetch(url, init);
      },
    });
    await accepted(await token({}, { jku: 'https://attacker.example/jwks', x5u: 'https://attacker.example/x5u', x5c: ['MIIB'] }), only);
    expect(fetched).toBe(0);
  });

  it('reads claims at configured paths; a claim whose name has dots comes first', async () => {
    const keycloak = createVerifier([
      { ...config, claims: { groups: 'realm_access.roles', name: 'https://corp.example/name', run: 'ctx.run', onBehalfOf: 'ctx.for' } },
    ]);
    const { identity, run } = await accepted(
      await token({ realm_access: { roles: ['dba'] }, 'https://corp.example/name': 'Ada', ctx: { run: 'r9', for: 'bob' } }),
      keycloak,
    );
    expect(identity).toMatchObject({ groups: ['dba'], name: 'Ada' });
    expect(run).toEqual({ id: 'r9', onBehalfOf: 'corp:bob' });
  });

  it('does not read claims from the prototype, nor from values of other types', async () => {
    const odd = createVerifier([{ ...config, claims: { groups: 'constructor.name', run: 'list.0', name: '__proto__' } }]);
    expect(await accepted(await token({ list: ['r'], name: 'x\u0000y', groups: [1, null, 'g'] }), odd)).toMatchObject({
      identity: { groups: [], name: 'agent-7' },
      run: { id: '' },
    });
  });
});

describe('delegation (RFC 8693 section 4.1)', () => {
  it('makes the actor the caller and the subject the one on whose behalf', async () => {
    const { identity, run } = await accepted(
      await token({ sub: 'ada', name: 'Ada', groups: ['clerks'], act: { sub: 'agent-7', act: { sub: 'planner' } } }),
    );
    expect(identity).toMatchObject({ id: 'corp:agent-7', subject: 'agent-7', name: 'agent-7', kind: 'workload', groups: ['clerks'] });
    expect(run.onBehalfOf).toBe('corp:ada');
  });

  it('refuses an act claim that names no actor of this issuer', async () => {
    for (const act of [{}, 'agent-7', null, [], { sub: '' }, { sub: 7 }, { sub: 'agent-7', iss: 'https://elsewhere.example' }])
      await refused(await token({ sub: 'ada', act }), 'claim_invalid');
    await accepted(await token({ sub: 'ada', act: { sub: 'agent-7', iss: issuer.url } }));
  });
});

describe('a token of another kind', () => {
  it.each([
    ['a header typ that is not accepted', {}, { typ: 'dpop+jwt' }],
    ['a log-out token', { events: {} }, { typ: 'JWT' }],
    ['an identity token with at_hash', { at_hash: 'x' }, { typ: 'JWT' }],
    ['an identity token with a nonce', { nonce: 'x' }, { typ: undefined }],
    ["Keycloak's identity token", { typ: 'ID' }, { typ: 'JWT' }],
    ["Keycloak's refresh token", { typ: 'Refresh' }, { typ: 'JWT' }],
  ])('is refused: %s', async (_, claims, head) => {
    await refused(await token(claims, head), 'token_type_refused');
  });

  it("accepts Keycloak's access token, whose payload says Bearer", async () => {
    await accepted(await token({ typ: 'Bearer', nonce: 'older Keycloaks put it here too' }, { typ: 'JWT' }));
  });

  it('is refused when bound to a key that a bearer need not hold', async () => {
    await refused(await token({ cnf: { jkt: 'x' } }), 'sender_constrained');
  });
});

describe('a bad claim', () => {
  const table: [string, object, RefusalCode][] = [
    ['another audience', { aud: 'elsewhere' }, 'audience_refused'],
    ['an audience that only begins as ours', { aud: 'gateway2' }, 'audience_refused'],
    ['no audience', { aud: undefined }, 'audience_refused'],
    ['an audience within an audience', { aud: [['gateway']] }, 'audience_refused'],
    ['a past exp', { exp: seconds() - 31 }, 'token_expired'],
    ['no exp', { exp: undefined }, 'claim_invalid'],
    ['a textual exp', { exp: '9999999999' }, 'claim_invalid'],
    ['an endless exp', { exp: 1e300 }, 'claim_invalid'],
    ['a negative exp', { exp: -1 }, 'claim_invalid'],
    ['an nbf ahead', { nbf: seconds() + 40 }, 'token_not_yet_valid'],
    ['a textual nbf', { nbf: 'now' }, 'claim_invalid'],
    ['an iat ahead', { iat: seconds() + 40 }, 'token_not_yet_valid'],
    ['no subject', { sub: undefined }, 'claim_invalid'],
    ['an empty subject', { sub: '' }, 'claim_invalid'],
    ['a subject with a line break', { sub: 'a\nb' }, 'claim_invalid'],
    ['a numeric subject', { sub: 7 }, 'claim_invalid'],
  ];
  it.each(table)('is refused: %s', async (_, claims, code) => {
    await refused(await token(claims), code);
  });

  it.each(['', '/', '/x', '?a', '#'])('is refused: the issuer with %o in place of the exact one', async (suffix) => {
    if (suffix !== '') await refused(await token({ iss: issuer.url + suffix }), 'issuer_unknown');
    for (const iss of [undefined, null, 7, [issuer.url], 'https://elsewhere.example'])
      await refused(await token({ iss }), 'issuer_unknown');
  });

  it('has the allowed difference of clocks', async () => {
    await accepted(await token({ exp: seconds() - 25, nbf: seconds() + 25, iat: seconds() + 25 }));
  });

  it.each([{ hasgroups: true }, { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.example' } } }])(
    'is refused with 403 on group overage: %j',
    async (claims) => {
      const { status, description } = await refused(await token(claims), 'group_overage');
      expect(status).toBe(403);
      expect(description).toContain('groups assigned to the application');
      await accepted(await token(claims), createVerifier([{ ...config, claims: { groups: '' } }]));
      await accepted(await token(claims), createVerifier([{ ...config, claims: { groups: 'roles' } }]));
    },
  );
});

describe('a forgery', () => {
  const pem = () => createPublicKey({ key: rsa.jwk as never, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
  const hmac = (secret: string | Buffer, head: object) => {
    const input = rawToken(head, payload(), '').slice(0, -1);
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };

  it('with none is refused, however spelled', async () => {
    for (const alg of ['none', 'None', 'NONE', '', undefined, null, 0, ['none'], 'toString', '__proto__'])
      await refused(rawToken(header({ alg }), payload(), ''), 'algorithm_refused');
  });

  it('by HMAC with the public key is refused, whatever it says of itself', async () => {
    for (const secret of [pem(), JSON.stringify(rsa.jwk), Buffer.from(rsa.jwk.n ?? '', 'base64url')]) {
      await refused(hmac(secret, { alg: 'HS256', kid: 'rsa' }), 'algorithm_refused');
      await refused(hmac(secret, { alg: 'RS256', kid: 'rsa' }), 'signature_invalid');
    }
  });

  it('by a key that it brings along is refused', async () => {
    const own = await testKey('ES256', 'ec');
    await refused(await signToken(own, payload(), { jwk: own.jwk }), 'header_refused');
    await refused(await signToken(own, payload(), { jku: 'http://127.0.0.1:1/' }), 'signature_invalid');
  });

  it('by the key of another issuer that is trusted too is refused', async () => {
    const theirs = await testKey('ES256', 'theirs');
    await using other = await localIssuer(theirs);
    const both = createVerifier([config, { ...config, name: 'partner', issuer: other.url }]);
    await accepted(await signToken(theirs, { iss: other.url }), both);
    await refused(await signToken(theirs, { iss: issuer.url }), 'key_unknown', both);
    await refused(await signToken(theirs, { iss: issuer.url }, { kid: 'ec' }), 'signature_invalid', both);
  });

  it('under an algorithm that is not the key’s is refused', async () => {
    await refused(await signed(rsa, { alg: 'RS256', kid: 'ec' }, payload()), 'key_unknown');
    const strict = createVerifier([{ ...config, algorithms: ['ES256'] }]);
    await refused(await token({}, {}, rsa), 'algorithm_refused', strict);
  });

  it('with crit or b64 is refused', async () => {
    for (const extra of [{ crit: ['b64'], b64: false }, { crit: [] }, { crit: ['exp'], exp: 1 }, { b64: true }])
      await refused(rawToken(header(extra), payload(), 'x'), 'header_refused');
  });

  it('with a signature of zeros, of nothing, or of another token is refused', async () => {
    const [, , signature = ''] = (await token({ sub: 'other' })).split('.');
    for (const bytes of [new Uint8Array(64), '', Buffer.from(signature, 'base64url')])
      await refused(rawToken(header(), payload(), bytes), 'signature_invalid');
  });

  it('with a signature spelled otherwise is refused', async () => {
    const [head, claims, signature = ''] = (await token()).split('.');
    for (const spelled of [
      `${signature}=`,
      `${signature.slice(0, -1)}${signature.endsWith('A') ? 'B' : 'A'}`,
      `${signature}\n`,
      signature.replace(/^./, '$&+'),
    ])
      expect(await verifier.verify(`${head}.${claims}.${spelled}`)).toMatchObject({ ok: false });
  });

  it.each(['', '.', '..', '...', 'a.b.c', 'a.b', 'eyJ.eyJ.eyJ', `${'a.'.repeat(5)}`, '\u0000.\ud800.é'])(
    '%o is malformed',
    async (text) => {
      await refused(text, 'token_malformed');
    },
  );

  it.each(['[]', 'null', '"x"', '7', '{', '{"alg":"ES256"', '\u{feff}{}', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])])(
    '%o is no header and no payload',
    async (json) => {
      await refused(rawToken(json as string, payload(), 'x'), 'token_malformed');
      await refused(rawToken(header(), json as string, 'x'), 'token_malformed');
    },
  );

  it('of more than 16 KiB is not even read', async () => {
    await refused(await token({ filler: 'x'.repeat(16 * 1024) }), 'token_too_large');
  });

  it('shows in its description nothing that could break out of a header or a log line', async () => {
    const { description } = await refused(await token({ iss: 'https://evil.example/"\\\r\nx-injected: 1\u202e' }), 'issuer_unknown');
    expect(description).toMatch(/^[\x20-\x7E]+$/);
    expect(description).not.toContain('"');
  });

  it('is never verified and never thrown at: 10,000 mutations of good tokens', { timeout: 120_000 }, async () => {
    const good = await Promise.all([token(), token({ act: { sub: 'x' } }, {}, ed), token({ groups: ['a'] }, { typ: 'JWT' }, rsa)]);
    const anything = fc.oneof(
      fc.constantFrom(...'.=-_+/AQgwe0 \n\u0000{}"é'),
      fc.string({ maxLength: 4, unit: 'grapheme' }),
      fc.base64String({ maxLength: 8 }),
    );
    const mutation = fc.record({
      from: fc.nat(2),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      drop: fc.nat({ max: 3 }),
      insert: anything,
    });
    await fc.assert(
      fc.asyncProperty(mutation, fc.option(mutation), async (first, second) => {
        const mutate = (text: string, { at, drop, insert }: typeof first) => {
          const index = Math.floor(at * text.length);
          return text.slice(0, index) + insert + text.slice(index + drop);
        };
        const original = good[first.from] ?? '';
        const once = mutate(original, first);
        const mutant = second === null ? once : mutate(once, second);
        if (good.includes(mutant)) return;
        expect((await verifier.verify(mutant)).ok).toBe(false);
      }),
      { numRuns: 10_000 },
    );
  });

  it('is never verified: claims and headers of any shape, unsigned', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom('alg', 'kid', 'typ', 'crit', 'jwk', 'x'), fc.jsonValue()),
        fc.jsonValue(),
        async (head, claims) => {
          const verdict = await verifier.verify(
            rawToken({ ...header(), ...head }, typeof claims === 'object' ? { ...payload(), ...claims } : String(claims), 'x'),
          );
          expect(verdict.ok).toBe(false);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is never thrown at: claims of any shape, signed by the issuer', async () => {
    const names = [
      'iss',
      'sub',
      'aud',
      'exp',
      'nbf',
      'iat',
      'act',
      'groups',
      'roles',
      'scope',
      'scp',
      'name',
      'run_id',
      'cnf',
      '_claim_names',
      'typ',
      '__proto__',
    ];
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), fc.jsonValue()), async (claims) => {
        await verifier.verify(await signed(ed, { alg: 'EdDSA', kid: 'ed' }, { ...payload(), ...claims }));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a token seen before', () => {
  it('is answered at once, with the same answer', async () => {
    const text = await token();
    const first = await accepted(text);
    expect(verifier.verify(text)).toBe(first);
  });

  it('is verified once for callers who come together', async () => {
    const text = await token({ jti: 'together' });
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => verifier.verify(text)));
    expect(new Set(verdicts).size).toBe(1);
  });

  it('expires on its hour', async () => {
    let now = Date.now();
    const clocked = createVerifier([config], { now: () => now });
    const { expiresAt } = await accepted(await token({ jti: 'brief' }), clocked);
    const text = await token({ jti: 'brief' });
    await accepted(text, clocked);
    now = expiresAt - 1;
    expect(clocked.verify(text)).toMatchObject({ ok: true });
    now = expiresAt + 1000;
    await refused(text, 'token_expired', clocked);
  });

  it('costs about a microsecond', async () => {
    const text = await token({ jti: 'quick' });
    await accepted(text);
    const rounds = 200_000;
    const start = process.hrtime.bigint();
    for (let round = 0; round < rounds; round += 1) verifier.verify(text);
    expect(Number(process.hrtime.bigint() - start) / rounds).toBeLessThan(10_000); // ns; generous, since the machine is shared
  });

  it('is not remembered when it was refused', async () => {
    const text = await token({ nbf: seconds() + 60 });
    let now = Date.now();
    const clocked = createVerifier([config], { now: () => now });
    await refused(text, 'token_not_yet_valid', clocked);
    now += 60_000;
    await accepted(text, clocked);
  });
});

describe('createVerifier', () => {
  it('refuses two issuers of one name or one URL, and configurations with problems', () => {
    expect(() => createVerifier([config, config])).toThrow('two issuers');
    expect(() => createVerifier([config, { ...config, issuer: 'https://b.example' }])).toThrow('two issuers');
    expect(() => createVerifier([config, { ...config, name: 'b' }])).toThrow('two issuers');
    expect(() => createVerifier([{ ...config, audiences: [] }])).toThrow('audiences');
  });
});
