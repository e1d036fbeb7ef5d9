/** The token of whoever types the commands: one at a time, in a file that only its owner can read. */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { CommandError } from './command.ts';

export interface StoredToken {
  readonly accessToken: string;
  /** Unix milliseconds; 0 when the issuer did not say. */
  readonly expiresAt: number;
  /** Empty when there is none. */
  readonly refreshToken: string;
  readonly issuer: string;
  readonly clientId: string;
  /** The name of its bearer, for people. */
  readonly name: string;
}

/** XDG base directories: configuration of this user. */
export const tokenFile = (env: Readonly<Record<string, string | undefined>> = process.env): string =>
  join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'sluice', 'token.json');

export function storeToken(token: StoredToken, file = tokenFile()): void {
  const fresh = `${file}.${process.pid}`;
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  try {
    writeFileSync(fresh, `${JSON.stringify(token, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
    chmodSync(fresh, 0o600);
    renameSync(fresh, file);
  } finally {
    rmSync(fresh, { force: true });
  }
}

/** `undefined` when nobody has logged in. Throws a `CommandError` when the file is not what `storeToken` writes. */
export function storedToken(file = tokenFile()): StoredToken | undefined {
  let json: string;
  try {
    json = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CommandError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  try {
    const { accessToken, expiresAt, refreshToken, issuer, clientId, name } = JSON.parse(json);
    if ([accessToken, refreshToken, issuer, clientId, name].every((each) => typeof each === 'string') && typeof expiresAt === 'number')
      return { accessToken, expiresAt, refreshToken, issuer, clientId, name };
  } catch {}
  throw new CommandError(`${file} is damaged: log in again with ./sluice login`, 3);
}

export const forgetToken = (file = tokenFile()): void => rmSync(file, { force: true });
