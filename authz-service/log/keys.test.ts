import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatVerifierKey, generateSignerKey } from '../tlog/note.ts';
import { addKey, logSigners, parseSigners, readSigners, writeNewKey } from './keys.ts';

const NAME = 'gateway.example/sluice';
let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keys-'));
  path = join(dir, 'key');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const refused = (run: () => unknown): { code?: string; message: string } => {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was taken');
};
const write = (...lines: string[]): void => writeFileSync(path, lines.join('\n'), { mode: 0o600 });

describe('a new key', () => {
  it('is in a file for this user alone, and is the one that was returned', () => {
    const { verifier } = writeNewKey(path, NAME);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readSigners(path).map((signer) => formatVerifierKey(signer.verifier))).toEqual([formatVerifierKey(verifier)]);
    expect(verifier.name).toBe(NAME);
  });

  it('is never written over another, and of a name that is none there is no file', () => {
    writeNewKey(path, NAME);
    const before = readFileSync(path, 'utf8');
    expect(refused(() => writeNewKey(path, NAME)).code).toBe('EEXIST');
    expect(readFileSync(path, 'utf8')).toBe(before);
    expect(refused(() => writeNewKey(join(dir, 'other'), 'two words')).code).toBe('malformed');
    expect(existsSync(join(dir, 'other'))).toBe(false);
  });
});

describe('a key that is added', () => {
  it('stands behind those that are there, under their name, also behind a line without an end', () => {
    const old = generateSignerKey(NAME);
    write('# kept in the vault too', old);
    const added = addKey(path);
    const third = addKey(path);
    const [, ...rest] = readSigners(path).map(({ verifier }) => formatVerifierKey(verifier));
    expect(rest).toEqual([added, third].map(({ verifier }) => formatVerifierKey(verifier)));
    expect(added.verifier.name).toBe(NAME);
    expect(readFileSync(path, 'utf8').split('\n').slice(0, 2)).toEqual(['# kept in the vault too', old]);
  });

  it('needs one that is there and can be read; otherwise nothing is written', () => {
    expect(refused(() => addKey(path)).code).toBe('key');
    expect(existsSync(path)).toBe(false);
    write('PRIVATE+KEY+nonsense');
    expect(refused(() => addKey(path)).code).toBe('key');
    expect(readFileSync(path, 'utf8')).toBe('PRIVATE+KEY+nonsense');
  });
});

describe('keys are refused', () => {
  it.each([0o640, 0o604, 0o620])('that others may read or write: mode %o', (mode) => {
    writeNewKey(path, NAME);
    chmodSync(path, mode);
    expect(refused(() => readSigners(path))).toMatchObject({ code: 'key', message: expect.stringContaining('chmod 600') });
    expect(refused(() => addKey(path)).code).toBe('key');
  });

  it.each([
    ['a pipe', () => execFileSync('mkfifo', ['-m', '600', path])],
    ['a folder', () => mkdirSync(path, { mode: 0o700 })],
    ['larger than any number of keys', () => [write('#'), truncateSync(path, 2 ** 40)]],
  ])('that are in no file: %s', (_, make) => {
    make();
    expect(refused(() => readSigners(path))).toMatchObject({ code: 'key', message: expect.stringContaining('is no file with keys') });
  });

  const key = generateSignerKey(NAME);
  it.each([
    ['none', [''], 'there is no key'],
    ['comments alone', ['# a key'], 'there is no key'],
    ['text', ['secret-text'], 'a private key begins with'],
    ['a public key', [formatVerifierKey(parseSigners(key)[0]?.verifier as never)], 'a private key begins with'],
    ['a key that was cut off', [key.slice(0, -3)], '33 bytes'],
    ['a key under another name', [key.replace(NAME, 'other.example')], 'is not the one with the id'],
    ['one good and one bad', [key, `${key.slice(0, -8)}AAAAAAA=`], 'key'],
    ['keys of two names', [key, generateSignerKey('other.example')], 'one name'],
    ["a witness's", [generateSignerKey(NAME, 'cosignature')], 'witness'],
  ])('%s, and nothing of them is told', (_, lines, message) => {
    write(...lines);
    const error = refused(() => readSigners(path));
    expect(error).toMatchObject({ code: 'key', message: expect.stringContaining(message) });
    expect(error.message).toContain(path);
    for (const line of lines) expect(line.length > 30 && error.message.includes(line.slice(-20))).toBe(false);
  });
});

describe('the keys of a log', () => {
  const keys = { text: undefined, origin: undefined, begun: false };

  it('are made with a new log, and never for one that has begun', () => {
    expect(refused(() => logSigners({ ...keys, path, begun: true })).code).toBe('key');
    expect(existsSync(path)).toBe(false);
    const [made] = logSigners({ ...keys, path, origin: NAME });
    expect(made?.verifier.name).toBe(NAME);
    expect(logSigners({ ...keys, path, begun: true })[0]?.verifier.id).toBe(made?.verifier.id);
    expect(refused(() => logSigners({ ...keys, path, origin: 'other.example' })).code).toBe('origin');
  });

  it('come from the configuration where it has them, and no file is made', () => {
    const text = `${generateSignerKey(NAME)}\n${generateSignerKey(NAME)}\n`;
    expect(logSigners({ ...keys, path, text })).toHaveLength(2);
    expect(existsSync(path)).toBe(false);
    appendFileSync(path, 'nonsense');
    expect(logSigners({ ...keys, path, text })).toHaveLength(2);
  });
});
