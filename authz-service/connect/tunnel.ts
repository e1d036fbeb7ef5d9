/** HTTP CONNECT to a gateway (RFC 9110, section 9.3.6), over HTTP/1.1: what any proxy on the way understands. */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';

export interface Gateway {
  readonly host: string;
  readonly port: number;
  /** `undefined`: plaintext, as a loopback or otherwise private listener takes it. */
  readonly tls: GatewayTls | undefined;
}

/** PEM, as text. */
export interface GatewayTls {
  /** In place of the system's. */
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
}

/** A CONNECT that led nowhere. `status` is 0 where no gateway answered. */
export class TunnelError extends Error {
  override readonly name = 'TunnelError';
  readonly status: number;
  /** What the gateway says beyond the message: reason, rule, approval, session. */
  readonly detail: string;
  constructor(message: string, status = 0, detail = '') {
    super(message);
    this.status = status;
    this.detail = detail;
  }
}

const CONNECT_MS = 10_000;
/** For the rest of a refusal, which the gateway sends at once. */
const REFUSAL_MS = 5_000;
const MAX_REFUSAL_BYTES = 64 * 1024;
const KEEP_ALIVE_MS = 30_000;

/**
 * Waits as long as the gateway does: it may hold the session until a human has answered.
 * @param authority `TARGET:PORT`
 * @param signal gives up
 * @returns the connection to the target, with what it has said already put back
 * @throws {TunnelError}
 */
export function openTunnel(gateway: Gateway, authority: string, token: string, signal: AbortSignal): Promise<Socket> {
  const { host, port, tls } = gateway;
  const where = `${tls ? 'https' : 'http'}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  return new Promise((settle, fail) => {
    const options = {
      host,
      port,
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, authorization: `Bearer ${token}` },
      agent: false,
      signal,
    } as const;
    const request = tls
      ? httpsRequest({
          ...options,
          // Otherwise taken from the Host header, which is the target's.
          servername: isIP(host) ? '' : host,
          rejectUnauthorized: true,
          ...(tls.ca !== undefined && { ca: tls.ca }),
          ...(tls.certificate !== undefined && { cert: tls.certificate, key: tls.key }),
        })
      : httpRequest(options);
    const failed = (reason: string): void => fail(new TunnelError(`the gateway ${where} cannot be reached: ${reason}`));
    untilConnected(request, tls !== undefined);
    request.once('error', (error: NodeJS.ErrnoException) => failed(error.message || error.code || 'unknown'));
    request.once('response', (response) => {
      response.destroy();
      failed(`it answered a CONNECT with status ${response.statusCode}`);
    });
    request.once('connect', (response, socket: Socket, head) => {
      socket.once('error', () => {});
      if (head.length > 0) socket.unshift(head);
      if (response.statusCode === 200) settle(socket);
      else refusal(response, socket).then(fail, fail);
    });
    request.end();
  });
}

/** Only the way to the gateway has a time limit. A peer that is gone is found by keep-alive, also while a session is held. */
function untilConnected(request: ClientRequest, tls: boolean): void {
  const timer = setTimeout(() => request.destroy(new Error(`no connection within ${CONNECT_MS / 1000} s`)), CONNECT_MS);
  request.once('close', () => clearTimeout(timer));
  request.once('socket', (socket) => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.once(tls ? 'secureConnect' : 'connect', () => clearTimeout(timer));
  });
}

/** Node reads no body after a CONNECT, whatever the status. */
async function refusal(response: IncomingMessage, socket: Socket): Promise<TunnelError> {
  const length = Math.min(Number(response.headers['content-length'] ?? MAX_REFUSAL_BYTES), MAX_REFUSAL_BYTES);
  const chunks: Buffer[] = [];
  let got = 0;
  const timer = setTimeout(() => socket.destroy(), REFUSAL_MS);
  await new Promise<void>((settle) => {
    if (!(length > 0)) settle();
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if ((got += chunk.length) >= length) settle();
    });
    socket.once('close', settle);
    socket.resume();
  });
  clearTimeout(timer);
  socket.destroy();
  return told(response.statusCode ?? 0, Buffer.concat(chunks).toString());
}

/** From `application/problem+json` where the gateway sent it. */
function told(status: number, body: string): TunnelError {
  const { title, detail, reason, rule, approval, session } = parsed(body);
  const said = [title, detail].filter((part): part is string => typeof part === 'string' && part !== '').join(': ');
  const further = [
    ['Reason', reason],
    ['Rule', rule],
    ['Approval', approval],
    ['Session', session],
  ].flatMap(([name, value]) => (typeof value === 'string' && value !== '' ? [`${name}: ${value}.`] : []));
  return new TunnelError(said || `the gateway answered with status ${status}`, status, further.join(' '));
}

const parsed = (body: string): Readonly<Record<string, unknown>> => {
  try {
    const json: unknown = JSON.parse(body);
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
};
