/** Why the admin API refuses, as `application/problem+json` (RFC 9457). One row defines a code. */
const PROBLEMS = {
  bad_request: { status: 400, title: 'The request is not understood' },
  token_missing: { status: 401, title: 'Who is asking is not known' },
  token_refused: { status: 401, title: 'The token is not accepted' },
  identity_refused: { status: 403, title: 'The token is valid, and cannot be used here' },
  issuer_unavailable: { status: 503, title: 'Tokens cannot be verified at present' },
  forbidden: { status: 403, title: 'You may not do this' },
  not_approver: { status: 403, title: 'You may not answer this request' },
  own_request: { status: 403, title: 'Nobody answers their own request' },
  delegated: { status: 403, title: 'An approver answers in person' },
  not_found: { status: 404, title: 'There is no such thing' },
  method_not_allowed: { status: 405, title: 'The method does not apply here' },
  not_approved: { status: 409, title: 'The request has not been approved' },
  ended: { status: 409, title: 'The request has been answered, or has ended' },
  timed_out: { status: 408, title: 'The request did not arrive in time' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  body_too_large: { status: 413, title: 'The body is too large' },
  media_type: { status: 415, title: 'The body must be JSON' },
  reason_required: { status: 422, title: 'A denial needs a reason' },
  reason_too_long: { status: 422, title: 'The reason is too long' },
  internal: { status: 500, title: 'The request failed' },
  not_durable: { status: 503, title: 'The answer could not be recorded' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** Thrown by what serves a call, and said to the client. The detail is for the client: it holds nothing secret. */
export class AdminProblem extends Error {
  readonly code: ProblemCode;
  readonly headers: Readonly<Record<string, string>>;
  readonly members: Readonly<Record<string, string>>;

  constructor(
    code: ProblemCode,
    detail: string,
    { headers = {}, members = {} }: { headers?: Record<string, string>; members?: Record<string, string> } = {},
  ) {
    super(detail);
    this.name = 'AdminProblem';
    this.code = code;
    this.headers = headers;
    this.members = members;
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }

  toJSON(): Record<string, unknown> {
    const { status, title } = PROBLEMS[this.code];
    return { type: `urn:sluice:problem:${this.code}`, title, status, detail: this.message, ...this.members };
  }
}
