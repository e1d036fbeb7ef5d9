import { hash } from 'node:crypto';
import type { HttpBody, HttpRequest } from '../decision/request.ts';
import type { CheckRequest } from './envoy_proto.ts';
import { JsonBodyError, parseJsonBody } from './json_body.ts';

/** A request that cannot be judged as one thing; `status` is the HTTP status for the caller. */
export class UnclearRequestError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What Envoy told of the request, before it is understood: names in lower case, each value apart. */
export interface RawRequest {
  readonly method: string;
  readonly host: string;
  /** With the query. */
  readonly path: string;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: Uint8Array;
}

/** @throws {UnclearRequestError} when a header has no name */
export function rawRequest(check: CheckRequest): RawRequest | undefined {
  const http = check.attributes?.request?.http;
  if (!http) return undefined;
  const headers = new Map<string, string[]>();
  for (const { key, value, raw_value } of http.header_map?.headers ?? []) {
    const text = raw_value && raw_value.length > 0 ? raw_value.toString('latin1') : (value ?? '');
    // Envoy's parsers let none pass, and what a target made of it nobody could say.
    if (!key) throw new UnclearRequestError(503, 'Envoy told of a header without a name, which no rule could see');
    const name = key.toLowerCase();
    const values = headers.get(name);
    if (values) values.push(text);
    else headers.set(name, [text]);
  }
  for (const [key, value] of Object.entries(http.headers ?? {})) {
    const name = key.toLowerCase();
    if (!headers.has(name)) headers.set(name, [value]);
  }
  const body = http.raw_body && http.raw_body.length > 0 ? http.raw_body : Buffer.from(http.body ?? '', 'utf8');
  return { method: http.method ?? '', host: http.host ?? '', path: http.path ?? '', headers, body };
}

/** Headers of which a target might read the other one, were they given twice. */
const SINGLE = [
  'authorization',
  'content-type',
  'content-length',
  'content-encoding',
  'host',
  'if-match',
  'if-none-match',
  'range',
  'sluice-run',
];
/** By these a target that honours them would run another method, or another path, than the one judged. */
const OVERRIDES = ['x-http-method', 'x-http-method-override', 'x-method-override', 'x-original-url', 'x-rewrite-url', 'x-original-method'];
/** Left out of the policy's input and of the record: credentials, and what only the hop needs. */
const WITHHELD = new Set(['authorization', 'proxy-authorization', 'cookie']);

/**
 * The request that policy sees, from the one that Envoy will send. Throws `UnclearRequestError` for anything that the
 * gateway and the target could read differently.
 */
export function typedRequest(raw: RawRequest): HttpRequest {
  if (!/^[A-Z]{1,32}$/.test(raw.method)) throw new UnclearRequestError(400, 'the method is not a word in capital letters');
  // Envoy joins two Host headers by a comma.
  if (raw.host.includes(',')) throw new UnclearRequestError(400, 'there is more than one host');
  for (const name of SINGLE) {
    if ((raw.headers.get(name)?.length ?? 0) > 1) throw new UnclearRequestError(400, `the header ${name} is given more than once`);
  }
  for (const name of OVERRIDES) {
    if (raw.headers.has(name))
      throw new UnclearRequestError(400, `the header ${name} would change what was judged; send the method and path themselves`);
  }
  const question = raw.path.indexOf('?');
  const path = question < 0 ? raw.path : raw.path.slice(0, question);
  const query = question < 0 ? {} : fields(raw.path.slice(question + 1), 'query');
  if (overridesMethod(query)) throw overridden('query parameter');
  const contentType = mediaType(raw.headers.get('content-type')?.[0] ?? '');
  return {
    protocol: 'http',
    method: raw.method,
    host: raw.host,
    path,
    segments: segmentsOf(path),
    query,
    headers: visibleHeaders(raw.headers),
    content_type: contentType,
    body: bodyOf(raw, contentType),
  };
}

function segmentsOf(path: string): string[] {
  if (!path.startsWith('/')) throw new UnclearRequestError(400, 'the path does not begin with a slash');
  return path.slice(1).split('/').map(segmentOf);
}

function segmentOf(encoded: string): string {
  const segment = encoded.includes('%') ? decoded(encoded, 'path') : encoded;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (segment === '.' || segment === '..' || /[/\\\u0000-\u001f\u007f]/.test(segment)) {
    throw new UnclearRequestError(400, 'a segment of the path hides a separator, a dot segment or a control character');
  }
  return segment;
}

/** Pairs of `application/x-www-form-urlencoded`, each name with all its values in order. */
function fields(text: string, where: string): Record<string, string[]> {
  const result: Record<string, string[]> = Object.create(null);
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = fieldText(equals < 0 ? pair : pair.slice(0, equals), where);
    const value = equals < 0 ? '' : fieldText(pair.slice(equals + 1), where);
    const values = result[name];
    if (values) values.push(value);
    else result[name] = [value];
  }
  return result;
}

/** `_method` in every spelling that PHP reads as that name: ` _method`, `.method`, `_method[]`. */
const METHOD_FIELD = /(?:^|;)\s*[_.[ ]method(?:$|[;[=\0])/;
/** A field of that name, also after a semicolon, which some take for `&`. */
const overridesMethod = (of: Record<string, string[]>): boolean =>
  Object.entries(of).some(
    ([name, values]) =>
      METHOD_FIELD.test(name) || values.some((value) => value.includes(';') && METHOD_FIELD.test(value.slice(value.indexOf(';')))),
  );
/** The same as the name of a part of `multipart/form-data`. */
const METHOD_PART = /\bname\*?\s*=[^;\r\n]*[_.[ ]method(?![\w-])/i;

const overridden = (where: string): UnclearRequestError =>
  new UnclearRequestError(400, `the ${where} _method would change what was judged; send the method itself`);

function fieldText(encoded: string, where: string): string {
  const text = encoded.includes('+') ? encoded.replaceAll('+', ' ') : encoded;
  return text.includes('%') ? decoded(text, where) : text;
}

function decoded(text: string, where: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new UnclearRequestError(400, `the ${where} has a percent-encoding that is not valid UTF-8`);
  }
}

function visibleHeaders(headers: RawRequest['headers']): Record<string, readonly string[]> {
  const visible: Record<string, readonly string[]> = Object.create(null);
  for (const [name, values] of headers) {
    if (!name.startsWith(':') && !name.startsWith('x-envoy-') && !WITHHELD.has(name)) visible[name] = values;
  }
  return visible;
}

/** RFC 9110, section 8.3.1. Envoy joins two lines of this header by a comma, and a target may then read either. */
const CONTENT_TYPE =
  /^([!#$%&'*+\-.^_`|~\w]+\/[!#$%&'*+\-.^_`|~\w]+)[ \t]*(?:;[ \t]*(?:[!#$%&'*+\-.^_`|~\w]+=(?:[!#$%&'*+\-.^_`|~\w]+|"(?:[^"\\]|\\.)*"))?[ \t]*)*$/;

function mediaType(value: string): string {
  if (value === '') return '';
  const type = CONTENT_TYPE.exec(value)?.[1];
  if (type === undefined) throw new UnclearRequestError(400, 'the header content-type is not one media type');
  return type.toLowerCase();
}

const SHA256_OF_NOTHING = hash('sha256', '');
const NO_BODY: HttpBody = { size: 0, sha256: SHA256_OF_NOTHING };

function bodyOf(raw: RawRequest, contentType: string): HttpBody {
  const partial = raw.headers.get('x-envoy-auth-partial-body')?.[0];
  if (partial === 'true') throw new UnclearRequestError(413, 'the body is larger than this target takes');
  const declared = raw.headers.get('content-length')?.[0];
  if (declared !== undefined && declared !== String(raw.body.length)) {
    throw new UnclearRequestError(503, 'Envoy did not hand over the whole body; its ext_authz filter needs with_request_body');
  }
  if (raw.body.length === 0) {
    if (raw.headers.has('transfer-encoding') && partial === undefined) {
      throw new UnclearRequestError(503, 'Envoy did not hand over the body; its ext_authz filter needs with_request_body');
    }
    return NO_BODY;
  }
  const encoding = raw.headers.get('content-encoding')?.[0]?.trim().toLowerCase() ?? '';
  if (encoding !== '' && encoding !== 'identity')
    throw new UnclearRequestError(415, 'a body with a content-encoding cannot be judged; send it plain');
  const body = { size: raw.body.length, sha256: hash('sha256', raw.body) };
  if (isJson(contentType)) {
    refuseCharset(raw);
    try {
      const json = parseJsonBody(raw.body);
      if (typeof json === 'object' && json !== null && '_method' in json) throw overridden('member');
      return { ...body, json };
    } catch (error) {
      if (error instanceof JsonBodyError) throw new UnclearRequestError(400, `the JSON body cannot be judged: ${error.message}`);
      throw error;
    }
  }
  if (contentType === 'multipart/form-data' && METHOD_PART.test(Buffer.from(raw.body).toString('latin1'))) throw overridden('part');
  if (contentType === 'application/x-www-form-urlencoded') {
    refuseCharset(raw);
    const form = fields(Buffer.from(raw.body).toString('latin1'), 'form');
    if (overridesMethod(form)) throw overridden('form field');
    return { ...body, form };
  }
  return body;
}

/** Types that frameworks parse as JSON. */
const isJson = (contentType: string): boolean =>
  contentType === 'application/json' ||
  contentType === 'text/json' ||
  contentType === 'application/x-json' ||
  contentType.endsWith('+json');

/** The bytes were read as UTF-8: in UTF-7, say, a target would read other members out of them. */
function refuseCharset(raw: RawRequest): void {
  for (const [, charset = ''] of (raw.headers.get('content-type')?.[0] ?? '').matchAll(/;[ \t]*charset=("[^"]*"|[^ \t;]*)/gi)) {
    if (!/^"?(?:utf-?8|us-ascii)"?$/i.test(charset))
      throw new UnclearRequestError(415, 'the body is not said to be UTF-8; send it as UTF-8');
  }
}

/** Headers that may differ between a request and the same request sent again: who asks and how, what is traced, what Envoy adds. */
const NO_PART_OF_REQUEST =
  /^(?::.*|x-envoy-.*|x-forwarded-(?:for|proto)|x-request-id|host|content-(?:length|type)|transfer-encoding|connection|expect|date|authorization|prefer|user-agent|accept(?:-.*)?|traceparent|tracestate|baggage|x-b3-.*|b3|sluice-.*)$/;

/** What makes two requests the same to a grant: target, identity, method, path with query, body, and every header that a target may act on. */
export function fingerprintOf(target: string, identity: string, raw: RawRequest, request: HttpRequest): string {
  const headers = [...raw.headers].filter(([name]) => !NO_PART_OF_REQUEST.test(name)).sort(([a], [b]) => (a < b ? -1 : 1));
  const type = raw.headers.get('content-type')?.[0] ?? '';
  const parts = [target, identity, request.method, raw.host, raw.path, type, request.body.sha256, headers];
  return hash('sha256', JSON.stringify(parts));
}
