/** Where a connector's token comes from, and how it is kept until shortly before it ends. */
import { decodeJwt } from 'jose';

export interface Token {
  readonly value: string;
  /** Unix milliseconds; 0 when nobody said: then it is asked for again each time. */
  readonly expiresAt: number;
}

/** @returns a token that is good now. @throws {Error} with a message for people */
export type TokenSource = () => Promise<string>;

/** Why there is no token, for people. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
}

/** Renewed this long before it ends, or in the last fifth of a short life. */
const MARGIN_MS = 300_000;
/** Until then a renewal that failed is not tried again, as long as there is a token. */
const RETRY_MS = 10_000;

/**
 * Keeps the token; whoever asks while it is being fetched gets the same one. A renewal that fails does no harm as long as the kept token is good.
 * @param fetchToken may throw; its error is the caller's
 */
export function keptToken(fetchToken: () => Promise<Token>, now: () => number = Date.now): TokenSource {
  let kept: Token = { value: '', expiresAt: 0 };
  let renewAt = 0;
  let fetching: Promise<string> | undefined;

  const renew = async (): Promise<string> => {
    try {
      kept = checked(await fetchToken());
      renewAt = Math.max(now() + 0.8 * (kept.expiresAt - now()), kept.expiresAt - MARGIN_MS);
    } catch (error) {
      if (kept.expiresAt - RETRY_MS <= now()) throw error;
      renewAt = now() + RETRY_MS;
    }
    return kept.value;
  };

  return async () => {
    if (now() < renewAt && now() < kept.expiresAt) return kept.value;
    fetching ??= renew().finally(() => {
      fetching = undefined;
    });
    return await fetching;
  };
}

/** RFC 6750, section 2.1: what may stand in a header. */
function checked(token: Token): Token {
  if (/^[\w.~+/-]+=*$/.test(token.value)) return token;
  throw new TokenError('what the token source gave is no token');
}

/** A token of which nobody said when it ends: a JWT says so itself. */
export function selfDescribed(value: string): Token {
  try {
    return { value, expiresAt: (decodeJwt(value).exp ?? 0) * 1000 };
  } catch {
    return { value, expiresAt: 0 };
  }
}
