/** The token that a command proves its caller with. */
import { decodeJwt } from 'jose';
import { printable, roughly } from '../replay/printable.ts';
import { CommandError } from './command.ts';
import { byRefreshToken, discover, type Tokens } from './oauth.ts';
import { type StoredToken, storedToken, storeToken } from './token_store.ts';

/** Renewed this long before it ends, so that it does not end on the way. */
const MARGIN_MS = 10_000;

/** `SLUICE_TOKEN`, else the one of the last log-in, renewed where it can be. Throws a `CommandError` that says how to log in. */
export async function bearerToken(env: Readonly<Record<string, string | undefined>> = process.env): Promise<string> {
  if (env.SLUICE_TOKEN) return env.SLUICE_TOKEN.trim();
  const stored = storedToken();
  if (!stored) throw new CommandError('You are not logged in: run ./sluice login', 3);
  const { accessToken, expiresAt, name, refreshToken } = stored;
  if (expiresAt === 0 || expiresAt - MARGIN_MS > Date.now()) return accessToken;
  if (refreshToken === '')
    throw new CommandError(
      `The log-in of ${printable(name)} ended ${roughly(Date.now() - expiresAt)} ago: log in again with ./sluice login`,
      3,
    );
  return await renew(stored);
}

async function renew({ issuer, clientId, refreshToken }: StoredToken): Promise<string> {
  const tokens = await byRefreshToken(await discover(issuer), { id: clientId }, refreshToken).catch((error: Error) => {
    throw new CommandError(`The log-in has ended and could not be renewed: ${error.message}\nLog in again: ./sluice login`, 3);
  });
  // An issuer that rotates refresh tokens sends the next one; another keeps the first.
  storeToken(toStore(tokens, issuer, clientId, tokens.refreshToken || refreshToken));
  return tokens.accessToken;
}

/** What the token says of its bearer; nothing where it is no JWT. For people only: the service verifies. */
export function claimsOf(accessToken: string): { readonly name: string; readonly groups: readonly string[] } {
  try {
    const { name, sub, groups } = decodeJwt(accessToken);
    return { name: String(name ?? sub ?? ''), groups: Array.isArray(groups) ? groups.map(String) : [] };
  } catch {
    return { name: '', groups: [] };
  }
}

export const toStore = ({ accessToken, expiresIn }: Tokens, issuer: string, clientId: string, refreshToken: string): StoredToken => ({
  accessToken,
  expiresAt: expiresIn > 0 ? Date.now() + expiresIn * 1000 : 0,
  refreshToken,
  issuer,
  clientId,
  name: claimsOf(accessToken).name,
});
