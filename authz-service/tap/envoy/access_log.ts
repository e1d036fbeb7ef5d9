/**
 * Envoy's `envoy.service.accesslog.v3`: a message of its stream of access logs as events of the record. Headers, metadata, filter state and tags are not read,
 * and paths lose their queries: what a judgement needs of them stands masked in the session's own events.
 */
import type { TapBodyOf } from '../schema.ts';
import type { OwnEvent } from '../sink.ts';
import { type Reader, VARINT, WireError } from '../wire.ts';
import { addressOf, count, hostOf, named, nanosOf, pathOf, read, readMessage, text } from './messages.ts';

/** The names come from one peer's bytes: the sink says whether they are a session's. */
type Told = OwnEvent & { readonly body: TapBodyOf<'envoy_access_log'> };

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Body = Mutable<TapBodyOf<'envoy_access_log'>> & { flags: string[] };
interface Entry {
  session: string;
  target: string;
  readonly body: Body;
}

/** Of one message: Envoy sends them by 16 KiB. So many become one write at most. */
export const MAX_ENTRIES = 1024;

const METHODS = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'];
const PROTOCOLS = ['', 'HTTP/1.0', 'HTTP/1.1', 'HTTP/2', 'HTTP/3'];
const TLS_VERSIONS = ['', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];
const TYPES = [
  '',
  'TcpUpstreamConnected',
  'TcpPeriodic',
  'TcpConnectionEnd',
  'DownstreamStart',
  'DownstreamPeriodic',
  'DownstreamEnd',
  'UpstreamPoolReady',
  'UpstreamPeriodic',
  'UpstreamEnd',
  'DownstreamTunnelSuccessfullyEstablished',
  'UdpTunnelUpstreamConnected',
  'UdpPeriodic',
  'UdpSessionEnd',
];
/** By the numbers of the fields of `ResponseFlags`, as Envoy's %RESPONSE_FLAGS% has them. */
const FLAGS = [
  ...['', 'LH', 'UH', 'UT', 'LR', 'UR', 'UF', 'UC', 'UO', 'NR', 'DI', 'FI', 'RL', 'UAEX', 'RLSE', 'DC', 'URX', 'SI', 'IH', 'DPE'],
  ...['UMSDR', 'RFCF', 'NFCF', 'DT', 'UPE', 'NC', 'OM', 'DF', 'DR'],
];

/**
 * The entries of one `StreamAccessLogsMessage`.
 *
 * @param log the name of the log, where the message does not say it: the stream's first one does
 * @param mask applied to every text that Envoy has from others
 * @throws {WireError} when the bytes are no such message
 */
export function readAccessLogs(bytes: Uint8Array, log: string, mask: (text: string) => string): { log: string; events: Told[] } {
  const entries: Entry[] = [];
  let name = log;
  const each = (take: (entry: Reader, into: Entry) => void) => (logged: Reader) =>
    read(logged.message(), {
      [text(1)]: (field) => {
        if (entries.length === MAX_ENTRIES) throw new WireError('too_large', `more than ${MAX_ENTRIES} entries in one message`);
        const entry = newEntry();
        take(field.message(), entry);
        entries.push(entry);
      },
    });
  readMessage(bytes, {
    [text(1)]: (field) => read(field.message(), { [text(2)]: (identifier) => (name = identifier.string()) }),
    [text(2)]: each(readHttp),
    [text(3)]: each(readTcp),
  });
  const events = entries.map(({ session, target, body }) => {
    const { type, protocol, tlsVersion, flags } = body;
    const masked = Object.fromEntries(
      Object.entries(body).map(([field, value]) => [field, typeof value === 'string' && value !== '' ? mask(value) : value]),
    ) as unknown as Body;
    return { session, target, body: { ...masked, kind: 'envoy_access_log' as const, log: name, type, protocol, tlsVersion, flags } };
  });
  return { log: name, events };
}

const newEntry = (): Entry => ({
  session: '',
  target: '',
  body: {
    kind: 'envoy_access_log',
    log: '',
    type: '',
    protocol: '',
    method: '',
    authority: '',
    path: '',
    userAgent: '',
    requestId: '',
    status: 0,
    details: '',
    flags: [],
    requestBytes: 0,
    responseBytes: 0,
    startUnixNanos: 0n,
    durationMicros: 0,
    downstreamAddress: '',
    upstreamAddress: '',
    upstreamCluster: '',
    route: '',
    failure: '',
    tlsVersion: '',
    serverName: '',
    peerSubject: '',
  },
});

function readHttp(reader: Reader, entry: Entry): void {
  const { body } = entry;
  read(reader, {
    [text(1)]: (field) => readCommon(field.message(), entry),
    [count(2)]: (field) => (body.protocol = named(PROTOCOLS, field.varint())),
    [text(3)]: (field) => readRequest(field.message(), body),
    [text(4)]: (field) => readResponse(field.message(), body),
  });
}

function readTcp(reader: Reader, entry: Entry): void {
  const { body } = entry;
  body.protocol = 'TCP';
  read(reader, {
    [text(1)]: (field) => readCommon(field.message(), entry),
    [text(2)]: (field) =>
      read(field.message(), {
        [count(1)]: (received) => (body.requestBytes = received.varint()),
        [count(2)]: (sent) => (body.responseBytes = sent.varint()),
      }),
  });
}

function readRequest(reader: Reader, body: Body): void {
  read(reader, {
    [count(1)]: (field) => (body.method = named(METHODS, field.varint())),
    [text(3)]: (field) => (body.authority = hostOf(field.string())),
    [text(5)]: (field) => (body.path = pathOf(field.string())),
    [text(6)]: (field) => (body.userAgent = field.string()),
    [text(9)]: (field) => (body.requestId = field.string()),
    [count(12)]: (field) => (body.requestBytes = field.varint()),
  });
}

function readResponse(reader: Reader, body: Body): void {
  read(reader, {
    [text(1)]: (field) => read(field.message(), { [count(1)]: (code) => (body.status = code.varint()) }),
    [count(3)]: (field) => (body.responseBytes = field.varint()),
    [text(6)]: (field) => (body.details = field.string()),
  });
}

function readCommon(reader: Reader, entry: Entry): void {
  const { body } = entry;
  const failed = (field: Reader): void => {
    body.failure = [body.failure, field.string()].filter(Boolean).join('; ');
  };
  read(reader, {
    [text(2)]: (field) => (body.downstreamAddress = addressOf(field.message())),
    [text(4)]: (field) => readTls(field.message(), body),
    [text(5)]: (field) => (body.startUnixNanos = nanosOf(field.message())),
    [text(13)]: (field) => (body.upstreamAddress = addressOf(field.message())),
    [text(15)]: (field) => (body.upstreamCluster = field.string()),
    [text(16)]: (field) => (body.flags = flagsOf(field.message())),
    [text(17)]: (field) => readMetadata(field.message(), entry),
    [text(18)]: failed,
    [text(19)]: (field) => (body.route = field.string()),
    [text(23)]: (field) => (body.durationMicros = Number(nanosOf(field.message()) / 1000n)),
    [text(25)]: (field) => (body.details = field.string()),
    [text(28)]: failed,
    [count(33)]: (field) => (body.type = named(TYPES, field.varint())),
  });
}

/** Where the answer to a check stands that Envoy asked (check/respond.ts). */
const CHECKED = 'envoy.filters.http.ext_authz';

/** Of all metadata: the session and the target that the check told. */
function readMetadata(reader: Reader, entry: Entry): void {
  eachEntry(reader, (filter, fields) => {
    if (filter !== CHECKED) return;
    eachEntry(fields, (name, value) => {
      if (name !== 'session' && name !== 'target') return;
      read(value, { [text(3)]: (field) => (entry[name] = field.string()) });
    });
  });
}

/** A map, field 1 of its message, whose values are messages. */
function eachEntry(reader: Reader, take: (key: string, value: Reader) => void): void {
  read(reader, {
    [text(1)]: (field) => {
      let key = '';
      let value: Reader | undefined;
      read(field.message(), { [text(1)]: (of) => (key = of.string()), [text(2)]: (of) => (value = of.message()) });
      if (value) take(key, value);
    },
  });
}

function readTls(reader: Reader, body: Body): void {
  read(reader, {
    [count(1)]: (field) => (body.tlsVersion = named(TLS_VERSIONS, field.varint())),
    [text(3)]: (field) => (body.serverName = field.string()),
    [text(5)]: (field) => read(field.message(), { [text(2)]: (subject) => (body.peerSubject = subject.string()) }),
  });
}

/** Each of them is a boolean, but for the message of `UAEX`. */
function flagsOf(reader: Reader): string[] {
  const flags: string[] = [];
  while (!reader.done) {
    const tag = reader.tag();
    let set = true;
    if ((tag & 7) === VARINT) set = reader.varint() !== 0;
    else reader.skip(tag & 7);
    if (set) flags.push(named(FLAGS, tag >>> 3));
  }
  return flags;
}
