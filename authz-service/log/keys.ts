/** The log's own keys: one private key on each line of a file or an environment variable. All of them sign; more than one stands there while keys change. */
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, existsSync, fsyncSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { formatVerifierKey, generateSignerKey, parseSignerKey, parseVerifierKey, type SignerKey, type VerifierKey } from '../tlog/note.ts';
import { LogError } from './error.ts';
import type { ServiceNotice } from './notices.ts';

/** Throws a `LogError` (`key`): for no key, for one that is none, and for keys of several names. Nothing of a key is in the message. */
export const parseSigners = (text: string): SignerKey[] => {
  const lines = text.split('\n').map((line) => line.trim());
  let signers: SignerKey[];
  try {
    signers = lines.filter((line) => line !== '' && !line.startsWith('#')).map(parseSignerKey);
  } catch (error) {
    throw new LogError('key', `the key of the log: ${(error as Error).message}`);
  }
  if (signers.length === 0) throw new LogError('key', 'there is no key of the log');
  const names = new Set(signers.map(({ verifier }) => verifier.name));
  if (names.size > 1) throw new LogError('key', `keys of one log have one name, and these have ${[...names].join(', ')}`);
  if (signers.some(({ verifier }) => verifier.type !== 'ed25519')) throw new LogError('key', 'a key of a witness signs no log');
  return signers;
};

/**
 * The keys of the log: from `text` where they are configured, otherwise from the file `path`, which is made with a log that is new. `begun`: there is a log
 * already. Throws a `LogError`: `key`, or `origin` when the keys have another name than `origin`.
 */
export const logSigners = ({
  text,
  path,
  origin,
  begun,
}: {
  readonly text: string | undefined;
  readonly path: string;
  readonly origin: string | undefined;
  readonly begun: boolean;
}): SignerKey[] => {
  if (text === undefined && !existsSync(path)) {
    if (begun)
      throw new LogError('key', `${path}: the key of the log that is there is not; restore it, or begin another log (docs/operations.md)`);
    writeNewKey(path, origin ?? `sluice.local/${randomBytes(8).toString('hex')}`);
  }
  const signers = text === undefined ? readSigners(path) : parseSigners(text);
  const { name } = (signers[0] as SignerKey).verifier;
  if (origin !== undefined && name !== origin) throw new LogError('origin', `the key of the log is of ${name}, and the log is ${origin}`);
  return signers;
};

/** Writes a new key where there is no file yet, for this user only. Throws `EEXIST` when there is one, and a `TlogError` for a name that no key can have. */
export const writeNewKey = (path: string, name: string): SignerKey => {
  // Before the file is made: a name that is none leaves nothing behind.
  const key = generateSignerKey(name);
  writeDurably(path, 'wx', `${key}\n`);
  chmodSync(path, 0o600);
  return parseSignerKey(key);
};

/** Adds a new key of the same name behind those that are there: from the next start all of them sign. Throws as `readSigners` does. */
export const addKey = (path: string): SignerKey => {
  const [first] = readSigners(path) as [SignerKey];
  const key = generateSignerKey(first.verifier.name);
  // Appended, so that the file stays its owner's. A last line without an end is not to become one with the new key.
  const ended = readFileSync(path, 'utf8').endsWith('\n');
  writeDurably(path, 'a', `${ended ? '' : '\n'}${key}\n`);
  return parseSignerKey(key);
};

/** The key on a line of the list `keys` that lies beside a log: `FROM-INDEX KEY`. Somebody may have edited it where lines end otherwise. */
export const listedKey = (line: string): string | undefined => line.trim().split(' ')[1];

/** The public keys of the list: one on each line. */
export const listedKeys = (list: string): string[] => list.split('\n').flatMap((line) => listedKey(line) ?? []);

/** Of a list that somebody else may have written: it has a line for each key of a log, and is read so far. */
export const MAX_LIST_BYTES = 1 << 16;

/** What is no key is left out. */
export const readableKeys = (texts: Iterable<string>): VerifierKey[] =>
  [...texts].flatMap((text) => {
    try {
      return [parseVerifierKey(text)];
    } catch {
      return [];
    }
  });

/** Those that sign, and those of the list that have signed before under the same name; a line that is no key is none. */
export const withListed = (signing: readonly VerifierKey[], list: string): VerifierKey[] => {
  const names = new Set(signing.map(({ name }) => name));
  const listed = readableKeys(listedKeys(list));
  const known = (key: VerifierKey): boolean => signing.some(({ id, name }) => id === key.id && name === key.name);
  return [...signing, ...listed.filter((key) => key.type === 'ed25519' && names.has(key.name) && !known(key))];
};

/** The notice that names the keys of the list `keys`, when some of them do not sign any more: what the signed tree tells of them, whoever restores it knows. */
export const KEYS_NOTICE = 'keys-listed' satisfies ServiceNotice;

/** What it says: the lines of the list that are of these keys. */
export const keysText = (list: string, keys: readonly VerifierKey[]): string => {
  const known = new Set(keys.map(formatVerifierKey));
  return list
    .split('\n')
    .filter((line) => known.has(line.split(' ')[1] ?? ''))
    .join(', ');
};

/** The keys that such a text names. */
export const keysIn = (text: string): string[] => listedKeys(text.split(', ').join('\n'));

const writeDurably = (path: string, flags: 'wx' | 'a', text: string): void => {
  const fd = openSync(path, flags, 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

/** A file of keys has a line of about a hundred for each. */
const MAX_KEY_BYTES = 1 << 16;

/** The keys in a file. Throws a `LogError` (`key`) when it is not there, is none, or is readable by others. */
export const readSigners = (path: string): SignerKey[] => {
  if (!existsSync(path)) throw new LogError('key', `${path}: the log's key is not there`);
  const stat = statSync(path);
  if (!stat.isFile() || stat.size > MAX_KEY_BYTES)
    throw new LogError('key', `${path}: what is there is no file with keys of a log; put the log's key back`);
  if ((stat.mode & 0o077) !== 0) throw new LogError('key', `${path}: the log's key is readable by others; chmod 600`);
  try {
    return parseSigners(readFileSync(path, 'utf8'));
  } catch (error) {
    throw error instanceof LogError ? new LogError('key', `${path}: ${error.message}`) : error;
  }
};
