import { bearerToken } from '../identity/bearer.ts';
import { challenge, type Refusal } from '../identity/refusal.ts';
import { runOf } from '../identity/run.ts';
import type { Verified, Verifier } from '../identity/verifier.ts';
import type { Caller, CheckPorts, NotIdentified } from './check.ts';

/** Proves the caller by its bearer token. At once when the token was verified before. */
export function identifyBy(verifier: Verifier, realm: string): CheckPorts['identify'] {
  const told = (verdict: Verified | Refusal, header: (name: string) => readonly string[]): Caller | NotIdentified =>
    verdict.ok
      ? { ok: true, identity: verdict.identity, run: runOf(verdict.run, header), expiresAt: verdict.expiresAt }
      : { ...verdict, challenge: challenge(verdict.code, verdict.description, realm) };
  return (authorization, header) => {
    const bearer = bearerToken(authorization);
    if (!bearer.ok) return told(bearer, header);
    const verdict = verifier.verify(bearer.token);
    return verdict instanceof Promise ? verdict.then((late) => told(late, header)) : told(verdict, header);
  };
}
