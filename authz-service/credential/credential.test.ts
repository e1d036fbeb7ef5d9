import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { inspect } from 'node:util';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CredentialConfig, type CredentialHeaders, createCredentials, credentialProblem } from './credential.ts';
import { Secret } from './secret.ts';

let folder: string;
let now: number;
const env = {
  TOKEN: 'tok-1',
  PASSWORD: 'pä:ss',
  EMPTY: '',
  LINES: 'a\nb',
  SPACED: 'a b',
  PADDED: ' padded',
  WIDE: 'schlüssel',
  BIG: 'x'.repeat(20_000),
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'credential-'));
  now = 1_000_000;
});
afterEach(() => rmSync(folder, { recursive: true }));

const path = (name = 'secret') => join(folder, name);
const credentialsOf = (configs: Record<string, Record<string, CredentialConfig>>) => createCredentials(configs, { env, now: () => now });
const credentials = (config: CredentialConfig) => credentialsOf({ orders: { main: config } });
const fromFile = (name = 'secret') => credentials({ type: 'bearer', secret: { file: path(name) } });
/** The headers in the clear, or the error's code. */
const shown = (outcome: CredentialHeaders) =>
  'error' in outcome ? outcome.error.code : outcome.headers.map(([name, value]) => `${name}: ${value.reveal()}`);
const later = () => {
  now += 250;
};

describe('headersFor', () => {
  it.each<[string, CredentialConfig, string[]]>([
    ['bearer', { type: 'bearer', secret: { env: 'TOKEN' } }, ['authorization: Bearer tok-1']],
    [
      'basic, in UTF-8 and with colons in the password (RFC 7617)',
      { type: 'basic', username: 'ada', secret: { env: 'PASSWORD' } },
      [`authorization: Basic ${Buffer.from('ada:pä:ss').toString('base64')}`],
    ],
    ['header', { type: 'header', name: 'X-Api-Key', secret: { env: 'SPACED' } }, ['x-api-key: a b']],
    ['none', { type: 'none' }, []],
  ])('%s', (_, config, headers) => {
    expect(shown(credentials(config).headersFor('orders', 'main'))).toEqual(headers);
  });

  it('takes the default: the one of that name, the only one, or none', () => {
    const one: CredentialConfig = { type: 'bearer', secret: { env: 'TOKEN' } };
    const many = credentialsOf({ several: { a: one, b: one }, named: { a: { type: 'none' }, default: one }, bare: {} });
    expect(shown(credentials(one).headersFor('orders', ''))).toEqual(['authorization: Bearer tok-1']);
    expect(shown(many.headersFor('several', ''))).toBe('credential_unknown');
    expect(shown(many.headersFor('named', ''))).toEqual(['authorization: Bearer tok-1']);
    expect(shown(many.headersFor('bare', ''))).toEqual([]);
    expect(shown(many.headersFor('elsewhere', ''))).toEqual([]);
  });

  it('fails for a name that the target does not have, rather than sending another or none', () => {
    const some = credentials({ type: 'bearer', secret: { env: 'TOKEN' } });
    for (const name of ['other', 'constructor', '__proto__', 'default'])
      expect(shown(some.headersFor('orders', name))).toBe('credential_unknown');
    expect(shown(some.headersFor('elsewhere', 'main'))).toBe('credential_unknown');
  });

  it.each<[string, string]>([
    ['UNSET', 'secret_missing'],
    ['EMPTY', 'secret_invalid'],
    ['LINES', 'secret_invalid'],
    ['PADDED', 'secret_invalid'],
    ['BIG', 'secret_invalid'],
    ['SPACED', 'secret_invalid'],
    ['WIDE', 'secret_invalid'],
  ])('refuses the environment variable %s, naming it and not its value', (name, code) => {
    const outcome = credentials({ type: 'bearer', secret: { env: name } }).headersFor('orders', 'main');
    expect(outcome).toMatchObject({ error: { code, message: expect.stringContaining('credential main of target orders') } });
    const value = env[name as keyof typeof env];
    if (value) expect(JSON.stringify(outcome)).not.toContain(value);
  });
});

describe('logInFor', () => {
  const password: CredentialConfig = { type: 'password', username: 'app', secret: { env: 'PASSWORD' } };

  it('gives the default, and the one of a name', () => {
    const held = credentialsOf({ ledger: { default: password, other: { ...password, username: 'other' } } });
    const logIn = held.logInFor('ledger', '');
    expect(logIn).toMatchObject({ credential: 'default', username: 'app' });
    expect('password' in logIn && logIn.password.reveal()).toBe(env.PASSWORD);
    expect(JSON.stringify(logIn)).not.toContain(env.PASSWORD);
    expect(held.logInFor('ledger', 'other')).toMatchObject({ credential: 'other', username: 'other' });
    expect(held.problems()).toEqual([]);
  });

  it('fails for a name that is not there, for a credential of HTTP, and for a secret that is not there', () => {
    const held = credentialsOf({
      ledger: { default: { ...password, secret: { env: 'UNSET' } }, http: { type: 'bearer', secret: { env: 'TOKEN' } } },
    });
    expect(held.logInFor('ledger', 'none')).toMatchObject({ error: { code: 'credential_unknown' } });
    expect(held.logInFor('elsewhere', '')).toMatchObject({ error: { code: 'credential_unknown' } });
    expect(held.logInFor('ledger', 'http')).toMatchObject({ error: { code: 'credential_unknown' } });
    expect(held.logInFor('ledger', '')).toMatchObject({ error: { code: 'secret_missing' } });
    expect(held.problems()).toMatchObject([{ credential: 'default', error: { code: 'secret_missing' } }]);
  });

  it('is no header', () => {
    expect(shown(credentialsOf({ ledger: { default: password } }).headersFor('ledger', ''))).toBe('credential_unknown');
  });
});

describe('a file', () => {
  it('is read without its last line break, and only that', () => {
    for (const [content, value] of [
      ['tok', 'tok'],
      ['tok\n', 'tok'],
      ['tok\r\n', 'tok'],
    ] as const) {
      writeFileSync(path(), content);
      expect(shown(fromFile().headersFor('orders', 'main'))).toEqual([`authorization: Bearer ${value}`]);
    }
  });

  it.each<[string, string | Buffer]>([
    ['empty', ''],
    ['a line break alone', '\n'],
    ['two lines', 'a\nb\n'],
    ['two line breaks', 'a\n\n'],
    ['a NUL', 'a\u0000'],
    ['no UTF-8', Buffer.from([0x61, 0xff])],
    ['a space before', ' a'],
    ['too large', 'x'.repeat(16 * 1024 + 1)],
  ])('is refused: %s', (_, content) => {
    writeFileSync(path(), content);
    expect(fromFile().headersFor('orders', 'main')).toMatchObject({
      error: { code: 'secret_invalid', message: expect.stringContaining(path()) },
    });
  });

  it('that is none is refused, without waiting for a pipe’s writer', () => {
    mkdirSync(path('folder'));
    execFileSync('mkfifo', [path('pipe')]);
    expect(shown(fromFile('folder').headersFor('orders', 'main'))).toBe('secret_unreadable');
    expect(shown(fromFile('pipe').headersFor('orders', 'main'))).toBe('secret_unreadable');
    expect(shown(fromFile('absent').headersFor('orders', 'main'))).toBe('secret_missing');
  });

  it('that cannot be reached is told from one that is not there', () => {
    writeFileSync(path(), 'tok');
    expect(shown(fromFile('secret/inside').headersFor('orders', 'main'))).toBe('secret_unreadable');
  });

  it.each<[string, () => void]>([
    ['written in place, in the same length and the same moment', () => writeFileSync(path(), 'tok-2')],
    [
      'replaced by an atomic rename',
      () => {
        writeFileSync(path('next'), 'tok-2');
        renameSync(path('next'), path());
      },
    ],
    [
      'replaced by one with an older time',
      () => {
        writeFileSync(path('next'), 'tok-2');
        utimesSync(path('next'), 1, 1);
        renameSync(path('next'), path());
      },
    ],
  ])('is read again when %s', (_, change) => {
    writeFileSync(path(), 'tok-1');
    const held = fromFile();
    expect(shown(held.headersFor('orders', 'main'))).toEqual(['authorization: Bearer tok-1']);
    change();
    later();
    expect(shown(held.headersFor('orders', 'main'))).toEqual(['authorization: Bearer tok-2']);
  });

  it('is read again however often it is written within one tick of the file system’s clock', () => {
    const held = fromFile();
    for (let round = 1000; round < 1500; round += 1) {
      writeFileSync(path(), `tok-${round}`);
      later();
      expect(shown(held.headersFor('orders', 'main'))).toEqual([`authorization: Bearer tok-${round}`]);
    }
  });

  it('is read again long after it was written, when nothing but its stamp tells', async () => {
    writeFileSync(path(), 'tok-1');
    const held = fromFile();
    await new Promise((resolve) => setTimeout(resolve, 2100));
    held.headersFor('orders', 'main');
    later();
    held.headersFor('orders', 'main'); // from here on the stamp is trusted
    writeFileSync(path(), 'tok-2');
    later();
    expect(shown(held.headersFor('orders', 'main'))).toEqual(['authorization: Bearer tok-2']);
  });

  it('is read again when Kubernetes swaps the link of its volume', () => {
    for (const [version, value] of [
      ['..1', 'tok-1'],
      ['..2', 'tok-2'],
    ] as const) {
      mkdirSync(path(version));
      writeFileSync(path(`${version}/token`), value);
    }
    symlinkSync('..1', path('..data'));
    symlinkSync('..data/token', path('token'));
    const held = fromFile('token');
    expect(shown(held.headersFor('orders', 'main'))).toEqual(['authorization: Bearer tok-1']);
    symlinkSync('..2', path('..data_tmp'));
    renameSync(path('..data_tmp'), path('..data'));
    rmSync(path('..1'), { recursive: true });
    later();
    expect(shown(held.headersFor('orders', 'main'))).toEqual(['authorization: Bearer tok-2']);
  });

  it('that disappears or goes bad takes its secret with it, and brings it back', () => {
    writeFileSync(path(), 'tok-1');
    const held = fromFile();
    expect(held.problems()).toEqual([]);
    rmSync(path());
    later();
    expect(held.headersFor('orders', 'main')).toEqual({
      error: { code: 'secret_missing', message: `credential main of target orders: file ${path()} cannot be read (ENOENT)` },
    });
    expect(held.problems()).toMatchObject([{ target: 'orders', credential: 'main', error: { code: 'secret_missing' } }]);
    writeFileSync(path(), '');
    later();
    expect(shown(held.headersFor('orders', 'main'))).toBe('secret_invalid');
    writeFileSync(path(), 'tok-1');
    later();
    expect(shown(held.headersFor('orders', 'main'))).toEqual(['authorization: Bearer tok-1']);
  });

  it('is not touched by each request', () => {
    writeFileSync(path(), 'tok-1');
    const held = fromFile();
    const first = held.headersFor('orders', 'main');
    rmSync(path());
    now += 199;
    expect(held.headersFor('orders', 'main')).toBe(first);
  });
});

describe('a secret', () => {
  it('is shown by nothing but reveal', async () => {
    const outcome = credentials({ type: 'bearer', secret: { env: 'TOKEN' } }).headersFor('orders', 'main');
    const lines: string[] = [];
    const logger = pino({}, new Writable({ write: (chunk, _, done) => done(void lines.push(String(chunk))) }));
    logger.info({ outcome }, 'logged %j %o %s', outcome, outcome, outcome);
    const texts = [inspect(outcome, { depth: 9, showHidden: true }), JSON.stringify(outcome), String(outcome), ...lines];
    if (!('error' in outcome))
      texts.push(`${outcome.headers[0]?.[1]}`, String(outcome.headers), JSON.stringify(structuredClone({ ...outcome.headers[0]?.[1] })));
    for (const text of texts) expect(text).not.toContain('tok-1');
    expect(texts[0]).toContain('[secret]');
    expect(lines.join()).toContain('[secret]');
  });

  it('compares to nothing by accident', () => {
    expect(`${new Secret('a')}` === 'a').toBe(false);
    expect(Object.keys(new Secret('a'))).toEqual([]);
  });
});

describe('credentialProblem', () => {
  const secret = { env: 'TOKEN' };

  it.each([
    '',
    'a b',
    'a:b',
    ':path',
    'Host',
    'Content-Length',
    'transfer-encoding',
    'x-envoy-original-path',
    'X-HTTP-Method-Override',
    'sluice-run',
    'é',
  ])('refuses the header name %o', (name) => {
    expect(credentialProblem({ type: 'header', name, secret })).not.toBe('');
    expect(() => credentials({ type: 'header', name, secret })).toThrow('credential main of target orders');
  });

  it('refuses usernames that would move the colon', () => {
    expect(credentialProblem({ type: 'basic', username: 'a:b', secret })).not.toBe('');
    expect(credentialProblem({ type: 'basic', username: '', secret })).toBe('');
    expect(credentialProblem({ type: 'header', name: 'Authorization', secret })).toBe('');
  });
});
