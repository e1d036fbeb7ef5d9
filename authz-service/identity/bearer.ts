import { type Refusal, refuse } from './refusal.ts';

/** RFC 6750 section 2.1 `b64token`, after a scheme that is compared without case (RFC 9110 section 11.1). */
const BEARER = /^bearer +([A-Za-z0-9\-._~+/]+=*)$/i;

/**
 * The bearer token of a request.
 * @param values every `authorization` header of the request, each as received. Two are refused, even when equal: which of them a target would read is not ours to guess.
 */
export function bearerToken(values: readonly string[]): { readonly ok: true; readonly token: string } | Refusal {
  const [value] = values;
  if (value === undefined) return refuse('token_missing', 'The request carries no bearer token.');
  if (values.length > 1) return refuse('authorization_malformed', 'The request carries more than one Authorization header.');
  const token = BEARER.exec(value)?.[1];
  if (token !== undefined) return { ok: true, token };
  return /^bearer\b/i.test(value)
    ? refuse('authorization_malformed', 'The Authorization header is not `Bearer` followed by one token.')
    : refuse('token_missing', 'The Authorization header is of another scheme than Bearer.');
}
