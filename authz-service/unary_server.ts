/**
 * Unary gRPC methods over Node's HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Every request of every agent comes through
 * here, and a call of a general gRPC server costs more CPU than judging it does; a peer is always Envoy. Streams, compression and deadlines of
 * callers are not spoken: Envoy compresses nothing, and resets a stream whose time has passed.
 */
import {
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';

export interface UnaryMethod {
  /** `/package.Service/Method`. */
  readonly path: string;
  /**
   * @param message the request's bytes
   * @param onGone calls back once, if the caller goes away before it is answered
   * @returns the answer's bytes; a rejection is told as INTERNAL, without its text
   * @throws {Error} when the bytes are not a request
   */
  call(message: Buffer, onGone: (callback: () => void) => void): Promise<Uint8Array>;
}

export interface UnaryServerOptions {
  /** Of a certificate and the authority that callers' certificates must come from; without it the server speaks HTTP/2 in the clear. */
  readonly tls?: Pick<SecureServerOptions, 'cert' | 'key' | 'ca'>;
  /** A larger message is refused with RESOURCE_EXHAUSTED. */
  readonly maxMessageBytes: number;
}

export interface UnaryServer {
  listen(where: { readonly path: string } | { readonly host: string; readonly port: number }): Promise<void>;
  /** Takes no further calls, and lets those under way end, at most this long. */
  close(withinMs: number): Promise<void>;
}

/** https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
const STATUS = { resourceExhausted: 8, unimplemented: 12, internal: 13 } as const;

const OK = { [constants.HTTP2_HEADER_STATUS]: 200, [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc' };
const OK_TRAILERS = { 'grpc-status': '0' };
const WITH_TRAILERS = { waitForTrailers: true };

const PREFIX_BYTES = 5;
const STREAM_WINDOW_BYTES = 1 << 20;
const CONNECTION_WINDOW_BYTES = 1 << 24;
const PING_MS = 60_000;
const PONG_MS = 20_000;
/** Envoy resets the stream of each caller that goes away, and thousands may go at once. */
const MOST_RESETS = 1_000_000;

export function unaryServer(methods: readonly UnaryMethod[], { tls, maxMessageBytes }: UnaryServerOptions): UnaryServer {
  const byPath = new Map(methods.map((method) => [method.path, method]));
  const options = {
    settings: { maxConcurrentStreams: 0xffff_ffff, initialWindowSize: STREAM_WINDOW_BYTES },
    maxSessionMemory: Number.MAX_SAFE_INTEGER,
    streamResetBurst: MOST_RESETS,
    streamResetRate: MOST_RESETS,
  };
  const server: Http2Server = tls
    ? createSecureServer({ ...options, ...tls, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2', allowHTTP1: false })
    : createServer(options);
  const sessions = new Set<ServerHttp2Session>();

  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    keepAlive(session);
    session.on('error', () => session.destroy());
    session.once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => take(byPath, maxMessageBytes, stream, headers));
  // A peer that cannot shake hands is nobody's call.
  server.on('sessionError', () => {});
  server.on('tlsClientError', () => {});

  return {
    listen: (where) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(where, () => {
          server.off('error', reject);
          resolve();
        });
      }),
    close: (withinMs) =>
      new Promise((resolve) => {
        const force = setTimeout(() => {
          for (const session of sessions) session.destroy();
        }, withinMs);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        for (const session of sessions) session.close();
      }),
  };
}

/** Ends a connection whose other side has gone without a word: what it asked for is not held for nobody. */
function keepAlive(session: ServerHttp2Session): void {
  let late: NodeJS.Timeout | undefined;
  const pings = setInterval(() => {
    // After a long stall both timers are due at once, and a session that the other one ended throws.
    if (session.destroyed) return;
    late = setTimeout(() => session.destroy(), PONG_MS);
    session.ping((error) => {
      clearTimeout(late);
      if (error) session.destroy();
    });
  }, PING_MS).unref();
  session.once('close', () => {
    clearInterval(pings);
    clearTimeout(late);
  });
}

function take(
  methods: ReadonlyMap<string, UnaryMethod>,
  maxMessageBytes: number,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
): void {
  // It is closed as well: whoever waits is told there.
  stream.on('error', () => {});
  if (!String(headers[constants.HTTP2_HEADER_CONTENT_TYPE]).startsWith('application/grpc')) {
    stream.respond({ [constants.HTTP2_HEADER_STATUS]: 415 }, { endStream: true });
    return;
  }
  const method = methods.get(String(headers[constants.HTTP2_HEADER_PATH]));
  if (!method) {
    refuse(stream, STATUS.unimplemented, 'there is no such method here');
    return;
  }
  let first: Buffer | undefined;
  let rest: Buffer[] | undefined;
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > maxMessageBytes + PREFIX_BYTES) {
      refuse(stream, STATUS.resourceExhausted, `a message takes at most ${maxMessageBytes} bytes`);
      first = rest = undefined;
      stream.removeAllListeners('data').resume();
    } else if (!first) first = chunk;
    else if (rest) rest.push(chunk);
    else rest = [first, chunk];
  });
  stream.once('end', () => {
    if (!stream.headersSent) answer(method, stream, rest ? Buffer.concat(rest, size) : first);
  });
}

function answer(method: UnaryMethod, stream: ServerHttp2Stream, frame: Buffer | undefined): void {
  if (!frame || frame.length < PREFIX_BYTES || frame.readUInt32BE(1) !== frame.length - PREFIX_BYTES) {
    refuse(stream, STATUS.internal, 'the call does not hold exactly one message');
  } else if (frame[0] !== 0) {
    refuse(stream, STATUS.unimplemented, 'compressed messages are not taken');
  } else {
    const failed = (): void => refuse(stream, STATUS.internal, 'the call failed');
    try {
      method.call(frame.subarray(PREFIX_BYTES), (callback) => whenGone(stream, callback)).then((message) => reply(stream, message), failed);
    } catch {
      refuse(stream, STATUS.internal, 'the message is not a request of this method');
    }
  }
}

function whenGone(stream: ServerHttp2Stream, callback: () => void): void {
  const gone = (): void => {
    if (!stream.headersSent) callback();
  };
  if (stream.destroyed) gone();
  else stream.once('close', gone);
}

function reply(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.destroyed) return;
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  stream.respond(OK, WITH_TRAILERS);
  stream.once('wantTrailers', () => stream.sendTrailers(OK_TRAILERS));
  stream.end(frame);
}

/** Trailers only. `text` is ASCII without percent signs. */
function refuse(stream: ServerHttp2Stream, status: number, text: string): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ...OK, 'grpc-status': String(status), 'grpc-message': text }, { endStream: true });
}
