/** Who asks, and who may see what. Nobody is anybody by being local: a Unix socket proves a user of the machine, not an approver. */
import { isNamed } from '../approval/principal.ts';
import type { Approval, Approver } from '../approval/state.ts';
import { bearerToken } from '../identity/bearer.ts';
import { challenge, type Refusal } from '../identity/refusal.ts';
import type { Verified } from '../identity/verifier.ts';
import { AdminProblem } from './problem.ts';

/** What the admin API needs of `identity/verifier.ts`. */
export interface TokenVerifier {
  verify(token: string): Verified | Refusal | Promise<Verified | Refusal>;
}

const REALM = 'sluice admin';

/** The caller that the `Authorization` headers prove. Throws an `AdminProblem`. */
export const authenticate = async (verifier: TokenVerifier, authorization: readonly string[]): Promise<Approver> => {
  const bearer = bearerToken(authorization);
  if (!bearer.ok) throw refused(bearer);
  const verified = await verifier.verify(bearer.token);
  if (!verified.ok) throw refused(verified);
  return { identity: verified.identity, onBehalfOf: verified.run.onBehalfOf };
};

const refused = ({ code, description, status }: Refusal): AdminProblem => {
  if (status === 403) return new AdminProblem('identity_refused', description, { members: { reason: code } });
  if (status === 503)
    return new AdminProblem('issuer_unavailable', description, { headers: { 'retry-after': '5' }, members: { reason: code } });
  const headers = { 'www-authenticate': challenge(code, description, REALM) };
  return new AdminProblem(code === 'token_missing' ? 'token_missing' : 'token_refused', description, {
    headers,
    members: { reason: code },
  });
};

export const isAuditor = ({ identity }: Approver, auditors: readonly string[]): boolean => isNamed(identity, auditors);

/** Approvals are seen by those who are named to answer them, and by auditors. */
export const maySee = (viewer: Approver, { request }: Approval, auditors: readonly string[]): boolean =>
  isNamed(viewer.identity, request.terms.approvers) || isAuditor(viewer, auditors);
