/**
 * Unary gRPC methods (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) over an HTTP/2 of our own (http2/). Every request of every agent
 * comes through here, and a call of a general server costs more CPU than judging it does; a peer is always Envoy. Streams, compression and
 * deadlines of callers are not spoken: Envoy compresses nothing, and resets a stream whose time has passed.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { Connection } from './http2/connection.ts';
import type { Exchange } from './http2/exchange.ts';
import { fieldBlock } from './http2/hpack.ts';

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
  readonly tls?: Pick<TlsOptions, 'cert' | 'key' | 'ca'>;
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

const GRPC = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
] as const;
const OK = fieldBlock(GRPC);
const OK_TRAILERS = fieldBlock([['grpc-status', '0']]);
const UNSUPPORTED_MEDIA_TYPE = fieldBlock([[':status', '415']]);

const PREFIX_BYTES = 5;

export function unaryServer(methods: readonly UnaryMethod[], { tls, maxMessageBytes }: UnaryServerOptions): UnaryServer {
  const byPath = new Map(methods.map((method) => [method.path, method]));
  const connections = new Set<Connection>();
  const connected = (socket: Socket): void => {
    const connection = new Connection(socket, {
      maxBodyBytes: maxMessageBytes + PREFIX_BYTES,
      onRequest: (exchange, body) => take(byPath, maxMessageBytes, exchange, body),
      onClose: () => connections.delete(connection),
    });
    connections.add(connection);
  };
  const server: Server = tls
    ? createTlsServer(
        { ...tls, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2', ALPNProtocols: ['h2'], noDelay: true },
        (socket: TLSSocket) => {
          if (socket.alpnProtocol === 'h2') connected(socket);
          else socket.destroy();
        },
      )
    : createServer({ noDelay: true }, connected);
  // A peer that cannot shake hands is nobody's call.
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
          for (const connection of connections) connection.destroy();
        }, withinMs);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        for (const connection of connections) connection.close();
      }),
  };
}

function take(methods: ReadonlyMap<string, UnaryMethod>, maxMessageBytes: number, exchange: Exchange, frame: Buffer | undefined): void {
  if (!exchange.contentType.startsWith('application/grpc')) {
    exchange.refuse(UNSUPPORTED_MEDIA_TYPE);
    return;
  }
  const method = methods.get(exchange.path);
  if (!method) {
    refuse(exchange, STATUS.unimplemented, 'there is no such method here');
  } else if (!frame) {
    refuse(exchange, STATUS.resourceExhausted, `a message takes at most ${maxMessageBytes} bytes`);
  } else if (frame.length < PREFIX_BYTES || frame.readUInt32BE(1) !== frame.length - PREFIX_BYTES) {
    refuse(exchange, STATUS.internal, 'the call does not hold exactly one message');
  } else if (frame[0] !== 0) {
    refuse(exchange, STATUS.unimplemented, 'compressed messages are not taken');
  } else {
    answer(method, exchange, frame.subarray(PREFIX_BYTES));
  }
}

function answer(method: UnaryMethod, exchange: Exchange, message: Buffer): void {
  try {
    method
      .call(message, (callback) => exchange.onGone(callback))
      .then(
        (answered) => reply(exchange, answered),
        () => refuse(exchange, STATUS.internal, 'the call failed'),
      );
  } catch {
    refuse(exchange, STATUS.internal, 'the message is not a request of this method');
  }
}

function reply(exchange: Exchange, message: Uint8Array): void {
  if (!exchange.open) return;
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  exchange.answer(OK, frame, OK_TRAILERS);
}

/** Trailers only. `text` is ASCII without percent signs. */
function refuse(exchange: Exchange, status: number, text: string): void {
  exchange.refuse(fieldBlock([...GRPC, ['grpc-status', String(status)], ['grpc-message', text]]));
}
