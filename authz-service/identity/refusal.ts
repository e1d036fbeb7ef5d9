/**
 * Why a caller was not identified. One row defines a code: the HTTP status, and the `error` of RFC 6750 section 3.1 for the challenge
 * (empty where the section wants none: a request that carried no token, and answers that are not about the token).
 */
const REFUSALS = {
  token_missing: { status: 401, error: '' },
  authorization_malformed: { status: 401, error: 'invalid_request' },
  token_too_large: { status: 401, error: 'invalid_token' },
  token_malformed: { status: 401, error: 'invalid_token' },
  token_type_refused: { status: 401, error: 'invalid_token' },
  algorithm_refused: { status: 401, error: 'invalid_token' },
  header_refused: { status: 401, error: 'invalid_token' },
  issuer_unknown: { status: 401, error: 'invalid_token' },
  key_unknown: { status: 401, error: 'invalid_token' },
  signature_invalid: { status: 401, error: 'invalid_token' },
  audience_refused: { status: 401, error: 'invalid_token' },
  token_expired: { status: 401, error: 'invalid_token' },
  token_not_yet_valid: { status: 401, error: 'invalid_token' },
  claim_invalid: { status: 401, error: 'invalid_token' },
  tenant_refused: { status: 401, error: 'invalid_token' },
  /** The token is bound to a key (`cnf`), and a bearer presentation proves no possession of it. */
  sender_constrained: { status: 401, error: 'invalid_token' },
  group_overage: { status: 403, error: '' },
  issuer_unavailable: { status: 503, error: '' },
} as const satisfies Record<string, { status: 401 | 403 | 503; error: '' | 'invalid_request' | 'invalid_token' }>;

export type RefusalCode = keyof typeof REFUSALS;

export interface Refusal {
  readonly ok: false;
  readonly code: RefusalCode;
  /** One sentence for the caller. Holds nothing of the token but names of claims and printable, shortened values of its header. */
  readonly description: string;
  readonly status: 401 | 403 | 503;
}

export const refuse = (code: RefusalCode, description: string): Refusal => ({
  ok: false,
  code,
  description,
  status: REFUSALS[code].status,
});

/** RFC 6750 section 3: the characters that `error_description` may have; a quoted-string of them needs no escape. */
const quotable = (text: string, limit: number): string => text.slice(0, limit).replace(/[^\x20\x21\x23-\x5B\x5D-\x7E]/g, "'");

/** The value of `WWW-Authenticate` that goes with a refusal of status 401. */
export function challenge(code: RefusalCode, description: string, realm: string): string {
  const { error } = REFUSALS[code];
  const says = error && `, error="${error}", error_description="${quotable(description, 200)}"`;
  return `Bearer realm="${quotable(realm, 100)}"${says}`;
}

/** A value that an attacker may have written, made fit for a description. */
export const shown = (value: unknown): string =>
  typeof value === 'string'
    ? `'${value.slice(0, 80).replace(/[^\x20-\x7E]|['"\\]/g, '?')}'`
    : value === undefined
      ? 'nothing'
      : `a ${value === null ? 'null' : typeof value}`;
