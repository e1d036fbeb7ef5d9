/**
 * Envoy's `envoy.service.tap.v3`: a trace, or a segment of one, as an event of the record. Of headers the names are kept, of bodies the sizes: what a tap
 * sees may not be masked yet, or not any more. Paths lose their queries.
 */
import type { TapBodyOf } from '../schema.ts';
import type { OwnEvent } from '../sink.ts';
import { type Reader, WireError } from '../wire.ts';
import { addressOf, count, hostOf, nanosOf, pathOf, read, readMessage, text, withoutTokens } from './messages.ts';

type Told = OwnEvent & { readonly body: TapBodyOf<'envoy_tap'> };

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Body = Mutable<TapBodyOf<'envoy_tap'>> & { requestHeaders: string[]; responseHeaders: string[] };

/** Whose traces a stream brings: said in its first message. */
export interface Tapped {
  /** Envoy's own `--service-node`, or what its configuration says. */
  readonly node: string;
  readonly tap: string;
}

/** What a trace says of itself with words of the protocol, or of ours. */
const OWN: ReadonlySet<string> = new Set(['kind', 'trace', 'form', 'piece']);

/**
 * The trace of one `StreamTapsRequest`.
 *
 * @param before what the stream's earlier messages said of it
 * @param mask applied to every text that Envoy has from others
 * @returns no event for a message that has no trace
 * @throws {WireError} when the bytes are no such message, or hold a kind of trace that is not known
 */
export function readTrace(bytes: Uint8Array, before: Tapped, mask: (text: string) => string): { tapped: Tapped; events: Told[] } {
  let { node, tap } = before;
  let trace: bigint | undefined;
  let body: Body | undefined;
  readMessage(bytes, {
    [text(1)]: (field) =>
      read(field.message(), {
        [text(1)]: (of) => read(of.message(), { [text(1)]: (id) => (node = id.string()) }),
        [text(2)]: (id) => (tap = id.string()),
      }),
    [count(2)]: (field) => (trace = field.varint64()),
    [text(3)]: (field) => {
      const wrapped = field.message();
      body = newBody();
      const known = body;
      read(wrapped, {
        [text(1)]: (of) => readHttp(of.message(), known),
        [text(2)]: (of) => readHttpSegment(of.message(), known),
        [text(3)]: (of) => readSocket(of.message(), known),
        [text(4)]: (of) => readSocketSegment(of.message(), known),
      });
      if (body.form === '') throw new WireError('malformed', 'a trace of a kind that is not known');
    },
  });
  const tapped = { node, tap };
  if (body === undefined) return { tapped, events: [] };
  // Envoy says it in one of the two places.
  if (trace !== undefined && trace !== 0n) body.trace = String(trace);
  const told = Object.entries({ ...body, node, tap }).map(([name, value]) => [name, OWN.has(name) ? value : masked(value, mask)]);
  return { tapped, events: [{ session: '', target: '', body: Object.fromEntries(told) as TapBodyOf<'envoy_tap'> }] };
}

const masked = (value: unknown, mask: (text: string) => string): unknown => {
  if (Array.isArray(value)) return value.map((each) => mask(String(each)));
  return typeof value === 'string' && value !== '' ? mask(value) : value;
};

const newBody = (): Body => ({
  kind: 'envoy_tap',
  tap: '',
  node: '',
  trace: '',
  form: '',
  piece: '',
  method: '',
  authority: '',
  path: '',
  status: 0,
  requestHeaders: [],
  responseHeaders: [],
  requestBytes: 0,
  responseBytes: 0,
  truncated: false,
  startUnixNanos: 0n,
  localAddress: '',
  remoteAddress: '',
  session: '',
});

type Side = 'request' | 'response';

function readHttp(reader: Reader, body: Body): void {
  body.form = 'http';
  const message = (side: Side) => (field: Reader) =>
    read(field.message(), {
      [text(1)]: (header) => readHeader(header.message(), side, body),
      [text(2)]: (of) => readBody(of.message(), side, body),
      [text(4)]: (time) => startsAt(nanosOf(time.message()), body),
    });
  read(reader, {
    [text(1)]: message('request'),
    [text(2)]: message('response'),
    [text(3)]: (field) => readConnection(field.message(), body),
  });
}

function readHttpSegment(reader: Reader, body: Body): void {
  body.form = 'http-segment';
  const headers = (piece: string, side: Side) => (field: Reader) => {
    body.piece = piece;
    read(field.message(), { [text(1)]: (header) => readHeader(header.message(), side, body) });
  };
  const chunk = (side: Side) => (field: Reader) => {
    body.piece = `${side} body`;
    readBody(field.message(), side, body);
  };
  read(reader, {
    [count(1)]: (field) => (body.trace = String(field.varint64())),
    [text(2)]: headers('request headers', 'request'),
    [text(3)]: chunk('request'),
    [text(4)]: headers('request trailers', 'request'),
    [text(5)]: headers('response headers', 'response'),
    [text(6)]: chunk('response'),
    [text(7)]: headers('response trailers', 'response'),
  });
}

function readSocket(reader: Reader, body: Body): void {
  body.form = 'socket';
  const cut = (field: Reader): void => {
    if (field.varint() !== 0) body.truncated = true;
  };
  read(reader, {
    [count(1)]: (field) => (body.trace = String(field.varint64())),
    [text(2)]: (field) => readConnection(field.message(), body),
    [text(3)]: (field) => readSocketEvent(field.message(), body),
    [count(4)]: cut,
    [count(5)]: cut,
  });
}

function readSocketSegment(reader: Reader, body: Body): void {
  body.form = 'socket-segment';
  read(reader, {
    [count(1)]: (field) => (body.trace = String(field.varint64())),
    [text(2)]: (field) => {
      body.piece = 'connection';
      readConnection(field.message(), body);
    },
    [text(3)]: (field) => {
      body.piece = readSocketEvent(field.message(), body);
    },
    // Several events at once, as newer versions send them.
    [text(4)]: (field) => {
      body.piece = 'events';
      read(field.message(), { [text(1)]: (event) => readSocketEvent(event.message(), body) });
    },
  });
}

/** What was read is counted as of the request, what was written as of the response, whichever side of Envoy the socket is on. */
function readSocketEvent(reader: Reader, body: Body): string {
  let what = 'event';
  const data = (name: string, side: Side) => (field: Reader) => {
    what = name;
    read(field.message(), { [text(1)]: (of) => readBody(of.message(), side, body) });
  };
  read(reader, {
    [text(1)]: (field) => startsAt(nanosOf(field.message()), body),
    [text(2)]: data('read', 'request'),
    [text(3)]: data('write', 'response'),
    [text(4)]: (field) => {
      what = 'closed';
      field.bytes();
    },
    [text(5)]: (field) => readConnection(field.message(), body),
  });
  return what;
}

function readConnection(reader: Reader, body: Body): void {
  read(reader, {
    [text(1)]: (field) => (body.localAddress = addressOf(field.message())),
    [text(2)]: (field) => (body.remoteAddress = addressOf(field.message())),
  });
}

/** Of the bytes only how many there are. */
function readBody(reader: Reader, side: Side, body: Body): void {
  const counted = (field: Reader): void => {
    const { length } = field.bytes();
    if (side === 'request') body.requestBytes += length;
    else body.responseBytes += length;
  };
  read(reader, {
    [text(1)]: counted,
    [text(2)]: counted,
    [count(3)]: (field) => {
      if (field.varint() !== 0) body.truncated = true;
    },
  });
}

/** The header by which the gateway tells a caller its session. */
const SESSION_HEADER = 'x-sluice-session';
const SESSION = /^[\w.:-]{1,128}$/;
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;

function readHeader(reader: Reader, side: Side, body: Body): void {
  let [name, value] = ['', ''];
  read(reader, {
    [text(1)]: (field) => (name = field.string().toLowerCase()),
    [text(2)]: (field) => (value = field.string()),
    // In the place of the text when that is not UTF-8.
    [text(3)]: (field) => (value ||= field.string()),
  });
  if (!name.startsWith(':')) nameHeader(side === 'request' ? body.requestHeaders : body.responseHeaders, name);
  if (side === 'response') {
    if (name === ':status') body.status = Number(/^\d{3}$/.exec(value)?.[0] ?? 0);
    if (name === SESSION_HEADER && SESSION.test(value)) body.session = value;
  } else if (name === ':method') body.method = TOKEN.test(value) ? value : '';
  else if (name === ':authority') body.authority = hostOf(value);
  else if (name === ':path') body.path = pathOf(value);
}

/** Each is masked by itself, which takes its time. */
const MAX_HEADERS = 256;

function nameHeader(names: string[], name: string): void {
  if (names.length < MAX_HEADERS) names.push(TOKEN.test(name) ? withoutTokens(name) : '(no name)');
  else names[MAX_HEADERS] = '…';
}

function startsAt(nanos: bigint, body: Body): void {
  if (nanos > 0n && (body.startUnixNanos === 0n || nanos < body.startUnixNanos)) body.startUnixNanos = nanos;
}
