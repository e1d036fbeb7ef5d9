/** Serves the admin API over HTTP, on a Unix socket and, where configured, on a loopback address. */
import { once } from 'node:events';
import { chmod, stat, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Approver } from '../approval/state.ts';
import { authenticate, type TokenVerifier } from './access.ts';
import { type AdminSources, type Answer, ROUTES, type Route } from './api.ts';
import { AdminProblem } from './problem.ts';

export interface AdminOptions extends AdminSources {
  readonly verifier: TokenVerifier;
  /** Told of what fails here and is no client's fault. */
  readonly logger: { error(fields: object, message: string): void };
  /** For tests that do not want to wait. */
  readonly limits?: Partial<typeof LIMITS>;
}

export type Endpoint = { readonly socket: string } | { readonly host: string; readonly port: number };

export interface Admin {
  /** Resolves to where it listens. Rejects with an `Error` that says what is in the way. */
  listen(endpoint: Endpoint): Promise<Endpoint>;
  /** Stops to listen; calls under way end. */
  close(): Promise<void>;
}

const MAX_BODY = 16 * 1024;
/** Milliseconds in which a client must have sent its headers and its whole request, and may be idle; more sockets than that are closed at once. */
const LIMITS = {
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 24 * 1024,
  noDelay: true,
};
const MAX_CONNECTIONS = 256;
/** In which a client must read on, milliseconds. */
const STALL = 30_000;

const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
} as const;

export const createAdmin = (options: AdminOptions): Admin => {
  const servers: Server[] = [];
  const open = (): Server => {
    const server = createServer({ ...LIMITS, ...options.limits }, (request, response) => void respond(options, request, response));
    server.on('clientError', refuseBytes);
    server.maxConnections = MAX_CONNECTIONS;
    server.setTimeout(STALL);
    return server;
  };
  return {
    listen: async (endpoint) => {
      const server = open();
      if ('socket' in endpoint) await listenOnSocket(server, endpoint.socket);
      else {
        server.listen(endpoint);
        await once(server, 'listening');
      }
      servers.push(server);
      const bound = server.address() as AddressInfo | string;
      return typeof bound === 'string' ? { socket: bound } : { host: bound.address, port: bound.port };
    },
    close: async () => {
      await Promise.all(
        servers.splice(0).map(async (server) => {
          const closed = once(server, 'close');
          server.close();
          server.closeIdleConnections();
          const hurry = setTimeout(() => server.closeAllConnections(), 1_000);
          await closed;
          clearTimeout(hurry);
        }),
      );
    },
  };
};

/** What was sent is not a request of HTTP, or not sent in time. */
const refuseBytes = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const problem =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new AdminProblem('headers_too_large', 'The headers are too large.')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new AdminProblem('timed_out', 'The request did not arrive in time.')
        : new AdminProblem('bad_request', 'This is not HTTP.');
  const body = `${JSON.stringify(problem)}\n`;
  const lines = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
};

/** A socket that a killed service left behind is taken over; one that answers is another service's. */
const listenOnSocket = async (server: Server, path: string): Promise<void> => {
  const left = await stat(path).catch(() => undefined);
  if (left && !left.isSocket()) throw new Error(`${path} is in the way: it is no socket`);
  if (left && (await answers(path))) throw new Error(`${path} is in use by another process`);
  if (left) await unlink(path);
  server.listen(path);
  await once(server, 'listening');
  // The user and its group; who may do what is for tokens to prove.
  await chmod(path, 0o660);
};

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket
      .once('connect', () => resolve(true))
      .once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'));
    socket.once('connect', () => socket.destroy());
  });

const respond = async (options: AdminOptions, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  try {
    await write(response, await serve(options, request));
  } catch (error) {
    // The peer went away, or what it was being told broke off: it must not look whole.
    if (response.headersSent || response.destroyed) return void response.destroy();
    const problem =
      error instanceof AdminProblem
        ? error
        : new AdminProblem('internal', 'The request failed here, by no fault of yours; the log says why.');
    if (problem.code === 'internal') options.logger.error({ err: error }, 'an admin call failed');
    const body = `${JSON.stringify(problem)}\n`;
    // What is left of a body that was refused is not read.
    const rest: Record<string, string> = request.complete ? {} : { connection: 'close' };
    response.writeHead(problem.status, {
      ...HEADERS,
      ...problem.headers,
      ...rest,
      'content-type': 'application/problem+json',
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
  }
};

const serve = async (options: AdminOptions, request: IncomingMessage): Promise<Answer> => {
  const { pathname, query } = split(request.url ?? '');
  const { route, params } = find(request.method ?? '', pathname);
  if (route.open) return route.serve(options, { params, query, body: undefined });
  // Before the body: what nobody has signed is not read.
  const caller: Approver = await authenticate(options.verifier, request.headersDistinct.authorization ?? []);
  return route.serve(options, { params, query, body: route.method === 'POST' ? await readJson(request) : undefined }, caller);
};

const split = (url: string): { pathname: string; query: URLSearchParams } => {
  const at = url.indexOf('?');
  return { pathname: at < 0 ? url : url.slice(0, at), query: new URLSearchParams(at < 0 ? '' : url.slice(at + 1)) };
};

const PATHS = ROUTES.map((route) => ({ route, segments: route.path.split('/') }));
/** Ids are the service's own, and of these characters. */
const ID = /^[A-Za-z0-9._~-]{1,200}$/;

const find = (method: string, pathname: string): { route: Route; params: Record<string, string> } => {
  const segments = pathname.split('/');
  const fits = PATHS.filter(
    ({ segments: pattern }) =>
      pattern.length === segments.length &&
      pattern.every((part, n) => (part.startsWith(':') ? ID.test(segments[n] ?? '') : part === segments[n])),
  );
  if (fits.length === 0) throw new AdminProblem('not_found', 'There is nothing here.');
  const fit = fits.find(({ route }) => route.method === method);
  if (!fit)
    throw new AdminProblem('method_not_allowed', `This takes ${fits[0]?.route.method}.`, {
      headers: { allow: fits.map(({ route }) => route.method).join(', ') },
    });
  return {
    route: fit.route,
    params: Object.fromEntries(fit.segments.flatMap((part, n) => (part.startsWith(':') ? [[part.slice(1), segments[n] ?? '']] : []))),
  };
};

const readJson = async (request: IncomingMessage): Promise<unknown> => {
  if (!/^application\/json(?:$|[ \t]*;)/i.test(request.headers['content-type'] ?? ''))
    throw new AdminProblem('media_type', 'Send the body as application/json.');
  const chunks: Buffer[] = [];
  let size = 0;
  // `for await` would destroy the request, and with it the connection that is to carry the refusal.
  await new Promise<void>((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_BODY) {
        request.pause();
        reject(new AdminProblem('body_too_large', `A body has at most ${MAX_BODY} bytes.`));
      } else chunks.push(chunk);
    });
    request.on('end', resolve);
    request.on('error', reject);
    request.on('close', () => reject(new Error('the client went away')));
  });
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw new AdminProblem('bad_request', 'The body is not JSON.');
  }
};

/** As proto3's JSON does: 64-bit integers are strings, bytes are base64. */
const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, member: unknown) => {
    if (typeof member === 'bigint') return member.toString();
    if (member instanceof Uint8Array) return Buffer.from(member).toString('base64');
    // A Buffer has said what it is before it gets here.
    if (isBufferJson(member)) return Buffer.from(member.data).toString('base64');
    return member;
  });

const isBufferJson = (value: unknown): value is { data: number[] } =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' && 'data' in value && Array.isArray(value.data);

const write = async (response: ServerResponse, answer: Answer): Promise<void> => {
  if (!('items' in answer)) {
    const body = 'json' in answer ? `${toJson(answer.json)}\n` : answer.text;
    const contentType = 'json' in answer ? 'application/json' : answer.contentType;
    response.writeHead(answer.status, { ...HEADERS, 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
    return void response.end(body);
  }
  response.writeHead(answer.status, { ...HEADERS, 'content-type': 'application/json' });
  let lead = `${toJson(answer.head).slice(0, -1)},${JSON.stringify(answer.member)}:[\n`;
  for await (const item of answer.items) {
    if (response.destroyed) return;
    if (!response.write(lead + toJson(item))) await Promise.race([once(response, 'drain'), once(response, 'close')]);
    lead = ',\n';
  }
  response.end(`${lead === ',\n' ? '' : lead}\n]}\n`);
};
