import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bearerToken } from './bearer.ts';
import { challenge } from './refusal.ts';

describe('bearerToken', () => {
  it.each(['Bearer abc', 'bearer abc', 'BEARER   abc'])('%o', (value) => {
    expect(bearerToken([value])).toEqual({ ok: true, token: 'abc' });
  });

  it('takes every character of b64token', () => {
    expect(bearerToken(['Bearer aZ09-._~+/==='])).toEqual({ ok: true, token: 'aZ09-._~+/===' });
  });

  it.each([
    'Bearer',
    'Bearer ',
    'Bearer a b',
    'Bearer a,b',
    'Bearer a=b',
    'Bearer\tabc',
    ' Bearer abc',
    'Bearer abc ',
    'Bearer "abc"',
    'Bearer abc, Basic eDp5',
    'Bearer abc\r\nx: y',
    'Bearer é',
  ])('refuses %o', (value) => {
    const verdict = bearerToken([value]);
    expect(verdict).toMatchObject({ ok: false, status: 401 });
    expect(verdict).not.toHaveProperty('token');
  });

  it('tells absence and other schemes from malformed ones', () => {
    expect(bearerToken([])).toMatchObject({ code: 'token_missing' });
    expect(bearerToken(['Basic eDp5'])).toMatchObject({ code: 'token_missing' });
    expect(bearerToken(['Bearers abc'])).toMatchObject({ code: 'token_missing' });
    expect(bearerToken(['Bearer'])).toMatchObject({ code: 'authorization_malformed' });
  });

  it('refuses two headers, even of one value', () => {
    expect(bearerToken(['Bearer abc', 'Bearer abc'])).toMatchObject({ code: 'authorization_malformed' });
    expect(bearerToken(['Bearer abc', ''])).toMatchObject({ code: 'authorization_malformed' });
  });

  it('is quick on long nonsense', () => {
    const start = performance.now();
    bearerToken([`Bearer ${'='.repeat(100_000)}a`]);
    bearerToken([`Bearer ${' '.repeat(100_000)}`]);
    expect(performance.now() - start).toBeLessThan(5_000);
  });
});

describe('challenge', () => {
  it('names an error only when a token was presented (RFC 6750 section 3.1)', () => {
    expect(challenge('token_missing', 'No token.', 'sluice')).toBe('Bearer realm="sluice"');
    expect(challenge('token_expired', 'The token has expired.', 'sluice')).toBe(
      'Bearer realm="sluice", error="invalid_token", error_description="The token has expired."',
    );
    expect(challenge('authorization_malformed', 'x', 'sluice')).toContain('error="invalid_request"');
  });

  it('cannot be broken out of', () => {
    const grammar =
      /^Bearer realm="[\x20\x21\x23-\x5B\x5D-\x7E]*", error="invalid_token", error_description="[\x20\x21\x23-\x5B\x5D-\x7E]*"$/;
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (description, realm) =>
        grammar.test(challenge('token_expired', description, realm)),
      ),
    );
    expect(challenge('token_expired', '"\r\nset-cookie: a\\', 'r"s')).toMatch(grammar);
  });
});
