/** What Envoy itself answers, as problem details (RFC 9457). The service's denials and the filter's refusals are such already, and stay as they are. */
import type { Message } from './message.ts';

interface Problem {
  /** A CEL expression over `%RESPONSE_CODE_DETAILS%`, called `details`. */
  readonly when: string;
  /** Absent: as Envoy chose. */
  readonly status?: number;
  /** The end of the problem's type. */
  readonly code: string;
  readonly title: string;
  readonly detail: string;
}

/** Replies with a body of our own: ext_authz marks what the service answered; the filter's refusals are problem details, which Envoy's own replies never are. */
const OURS = "details == 'ext_authz_denied' || response.headers['content-type'].startsWith('application/problem+json')";

/** The first that fits is told. Details: Envoy's `StreamInfo::ResponseCodeDetails` and the codecs' own. */
const PROBLEMS: readonly Problem[] = [
  {
    when: "details == 'ext_authz_error'",
    status: 503,
    code: 'not-judged',
    title: 'Not judged',
    detail: 'The authorization service did not answer, so the request was not let through.',
  },
  {
    when: "details == 'ext_authz_invalid'",
    status: 503,
    code: 'not-judged',
    title: 'Not judged',
    detail: 'The answer of the authorization service cannot be carried out, so the request was not let through.',
  },
  {
    when: "details == 'direct_response' || details == 'route_not_found'",
    status: 404,
    code: 'no-such-target',
    title: 'No such target',
    detail: 'No target of this gateway has this host.',
  },
  {
    when: "details == 'request_payload_too_large'",
    code: 'body-too-large',
    title: 'Request body too large',
    detail: "The body is longer than this target's limit; policy judges whole requests only.",
  },
  {
    when: "details.contains('headers_too_large') || details.contains('too_many_headers') || details.contains('headers_count')",
    status: 431,
    code: 'headers-too-large',
    title: 'Request headers too large',
    detail: 'The headers are more, or longer, than this gateway takes: 100 headers, 60 KiB.',
  },
  {
    when: "details == 'path_normalization_failed'",
    code: 'ambiguous-path',
    title: 'Ambiguous path',
    detail: 'The path has an escaped slash, a fragment, or cannot be normalized, so policy and target could read it differently.',
  },
  {
    when: "details.contains('underscore')",
    code: 'ambiguous-header',
    title: 'Ambiguous header',
    detail: 'A header name has an underscore, which servers read in different ways.',
  },
  { when: "details == 'missing_host_header'", code: 'no-host', title: 'No host', detail: 'The request names no host.' },
  {
    when: "details == 'absolute_path_rejected' || details == 'missing_path_rejected'",
    status: 400,
    code: 'no-path',
    title: 'No path',
    detail: 'The request has no path that starts with a slash.',
  },
  {
    when: "details == 'upgrade_failed'",
    code: 'no-upgrades',
    title: 'No upgrades',
    detail: 'This gateway does not let a connection change its protocol.',
  },
  {
    when: "details.contains('codec_error') || details.startsWith('http1.') || details.startsWith('http2.')",
    code: 'malformed-request',
    title: 'Malformed request',
    detail: 'The request breaks the rules of HTTP.',
  },
  {
    when: "details.contains('request_header_timeout') || details == 'request_overall_timeout'",
    code: 'request-too-slow',
    title: 'Request too slow',
    detail: 'The request did not arrive in time.',
  },
  {
    when: "details == 'stream_idle_timeout'",
    code: 'idle',
    title: 'Idle for too long',
    detail: 'Nothing moved for longer than the longest hold.',
  },
  {
    when: "details.contains('response_timeout')",
    code: 'target-too-slow',
    title: 'The target is too slow',
    detail: 'The target did not answer in time.',
  },
  { when: "details.contains('overflow')", code: 'too-busy', title: 'Too busy', detail: 'Too many requests to this target are under way.' },
  {
    when: "details.startsWith('upstream_reset') || details == 'no_healthy_upstream' || details == 'cluster_not_found' || details.startsWith('upstream_')",
    code: 'target-away',
    title: 'The target is away',
    detail: 'The target could not be reached, or ended the connection before it had answered.',
  },
  {
    when: "details.startsWith('wasm')",
    status: 503,
    code: 'filter-failed',
    title: 'The filter failed',
    detail: 'The filter of the gateway failed, so nothing was let through.',
  },
  { when: "details.contains('overload')", code: 'too-busy', title: 'Too busy', detail: 'The gateway is at the limit of its memory.' },
];

const REST: Omit<Problem, 'when'> = { code: 'not-let-through', title: 'Not let through', detail: 'The gateway ended this request.' };

const filter = (expression: string): Message => ({
  extension_filter: {
    name: 'envoy.access_loggers.extension_filters.cel',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter',
      expression: expression.replaceAll(/\bdetails\b/g, 'response.code_details'),
    },
  },
});

const body = ({ code, title, detail }: Omit<Problem, 'when'>): Message => ({
  content_type: 'application/problem+json',
  omit_empty_values: true,
  json_format: {
    type: `urn:sluice:problem:${code}`,
    title,
    status: '%RESPONSE_CODE%',
    detail,
    reason: '%RESPONSE_CODE_DETAILS%',
    session: '%DYNAMIC_METADATA(envoy.filters.http.ext_authz:session)%',
  },
});

const NO_STORE = { header: { key: 'cache-control', value: 'no-store' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' };

export const localReplies = (): Message => ({
  mappers: [
    { filter: filter(OURS), body_format_override: { text_format_source: { inline_string: '%LOCAL_REPLY_BODY%' } } },
    ...[...PROBLEMS, { ...REST, when: 'true' }].map((problem: Problem) => ({
      filter: filter(problem.when),
      ...(problem.status !== undefined && { status_code: problem.status }),
      body_format_override: body(problem),
      headers_to_add: [NO_STORE],
    })),
  ],
});
