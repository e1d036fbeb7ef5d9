import type { CheckResponse, HeaderOption } from './envoy_proto.ts';

/** A body of `application/problem+json` (RFC 9457), with Sluice's own members. Absent members are left out. */
export interface Problem {
  readonly status: number;
  /** A short code; the `type` of the problem is `urn:sluice:problem:<code>`. */
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly rule?: string;
  readonly approval?: string;
  readonly reason?: string;
  readonly session?: string;
}

const PERMISSION_DENIED = 7;
const OVERWRITE_IF_EXISTS_OR_ADD = 2;

/** The client's answer instead of the target's. */
export function refuse(problem: Problem, headers: readonly (readonly [string, string])[] = []): CheckResponse {
  const { status, code, title, detail, rule, approval, reason, session } = problem;
  const body = JSON.stringify({
    type: `urn:sluice:problem:${code}`,
    title,
    status,
    detail,
    rule: rule || undefined,
    approval: approval || undefined,
    reason,
    session,
  });
  return answer(status, 'application/problem+json', body, headers);
}

/** An answer of the gateway itself, from a path reserved to it. */
export function answer(
  status: number,
  contentType: string,
  body: string,
  headers: readonly (readonly [string, string])[] = [],
): CheckResponse {
  return {
    status: { code: PERMISSION_DENIED },
    denied_response: {
      status: { code: status },
      headers: [['content-type', contentType] as const, ['cache-control', 'no-store'] as const, ...headers].map(([key, value]) =>
        setHeader(key, value),
      ),
      body: `${body}\n`,
    },
  };
}

export function setHeader(key: string, value: string): HeaderOption {
  return { header: { key, value }, append_action: OVERWRITE_IF_EXISTS_OR_ADD };
}
