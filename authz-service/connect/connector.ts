/** A local port whose every connection is carried to a target behind a gateway, with this machine's token. */
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { TokenSource } from '../credential/token_source.ts';
import { type FatalError, fatal, readStart } from './postgres_start.ts';
import { type Gateway, openTunnel, TunnelError } from './tunnel.ts';

export interface ConnectorOptions {
  readonly gateway: Gateway;
  /** The name by which the gateway knows the target. */
  readonly target: string;
  readonly token: TokenSource;
  /** A loopback address and a port (0: any), or the path of a Unix socket that only this user may use. */
  readonly listen: { readonly host: string; readonly port: number } | { readonly path: string };
  /** Default 256. */
  readonly maxConnections?: number;
  /** How long a client may take to begin, and to take the rest when the target has ended. Default 10 s. */
  readonly patienceMs?: number;
  /** What went wrong, a line for people each. */
  readonly onProblem?: (line: string) => void;
}

export interface Connector {
  /** 0 for a Unix socket. */
  readonly port: number;
  /** Cuts what is open. */
  close(): Promise<void>;
}

/** Says nothing to a gateway that leads by name; PostgreSQL's own, for proxies on the way that go by it. */
const PORT = 5432;
/** A client that says so much before it is answered is none. */
const MAX_EARLY_BYTES = 64 * 1024;

/** @throws {Error} when the address cannot be listened on */
export async function startConnector(options: ConnectorOptions): Promise<Connector> {
  const { listen, maxConnections = 256, patienceMs = 10_000, onProblem = () => {} } = options;
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true, keepAlive: true }, (client) => {
    open.add(client);
    client.once('close', () => open.delete(client));
    client.on('error', () => {});
    const crowded = open.size > maxConnections;
    carry(client, { ...options, patienceMs, crowded }).catch((error: unknown) => {
      onProblem(error instanceof Error ? error.message : String(error));
      client.destroy();
    });
  });
  // Those beyond the limit are told so, but not without end.
  server.maxConnections = maxConnections + 64;
  if ('path' in listen) {
    // Created for nobody else: there is no moment in which others could connect.
    const mask = process.umask(0o177);
    try {
      server.listen(listen.path);
      await once(server, 'listening');
      chmodSync(listen.path, 0o600);
    } finally {
      process.umask(mask);
    }
  } else {
    server.listen({ ...listen, exclusive: true });
    await once(server, 'listening');
  }
  const address = server.address() as AddressInfo | string;
  return {
    port: typeof address === 'string' ? 0 : address.port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const client of open) client.destroy();
      await closed;
      if ('path' in listen) rmSync(listen.path, { force: true });
    },
  };
}

type Carried = ConnectorOptions & { readonly patienceMs: number; readonly crowded: boolean };

async function carry(client: Socket, { gateway, target, token, onProblem, patienceMs, crowded }: Carried): Promise<void> {
  const gone = new AbortController();
  const early = new Early(client, gone);
  const slow = setTimeout(() => client.destroy(), patienceMs);
  const refuse = (error: FatalError): void => {
    onProblem?.(`${target}: ${error.message}`);
    client.end(fatal(error));
    setTimeout(() => client.destroy(), patienceMs).unref();
  };
  client.once('close', () => {
    clearTimeout(slow);
    gone.abort();
  });
  const problem = await early.start();
  clearTimeout(slow);
  if (gone.signal.aborted) return;
  if (problem !== '') return refuse({ code: '08P01', message: problem });
  if (crowded) return refuse({ code: '53300', message: 'too many connections through this connector' });
  let upstream: Socket;
  try {
    upstream = await openTunnel(gateway, `${target}:${PORT}`, await tokenFor(token), gone.signal);
  } catch (error) {
    if (!gone.signal.aborted) refuse(explained(error, target));
    return;
  }
  if (gone.signal.aborted) {
    upstream.destroy();
    return;
  }
  upstream.write(early.release());
  upstream.once('close', () => setTimeout(() => client.destroy(), patienceMs).unref());
  // Cut on either side is cut on both. Who cut which end is not the connector's to judge.
  await pipeline(client, upstream, client).catch(() => {});
  upstream.destroy();
}

class TokenUnavailable extends Error {}

const tokenFor = (token: TokenSource): Promise<string> =>
  token().catch((error: Error) => {
    throw new TokenUnavailable(error.message);
  });

function explained(error: unknown, target: string): FatalError {
  const message = error instanceof Error ? error.message : 'unknown';
  if (error instanceof TokenUnavailable)
    return { code: '28000', message: `the connector has no token: ${message}`, hint: 'Look at where sluice connect takes its token from.' };
  if (!(error instanceof TunnelError)) return { code: '08006', message };
  const { detail } = error;
  switch (error.status) {
    case 401:
      return {
        code: '28000',
        message,
        detail,
        hint: "The gateway does not accept this connector's token: log in again, or look at its source.",
      };
    case 403:
      return { code: '42501', message, detail, hint: 'Whoever maintains the policy can tell what is allowed.' };
    case 404:
      return {
        code: '08004',
        message: `the gateway leads to no database "${target}"`,
        hint: "Name a target of the gateway's configuration that has a `tunnel`.",
      };
    default:
      return { code: '08006', message, detail, hint: 'Nothing was sent to the target; try again later.' };
  }
}

/** What a client says before there is anybody to say it to. It is read on, so that its going away is seen. */
class Early {
  readonly #client: Socket;
  readonly #gone: AbortController;
  readonly #keep: (chunk: Buffer) => void;
  #bytes = Buffer.alloc(0);
  #changed = (): void => {};

  constructor(client: Socket, gone: AbortController) {
    this.#client = client;
    this.#gone = gone;
    this.#keep = (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      if (this.#bytes.length > MAX_EARLY_BYTES) client.destroy();
      this.#changed();
    };
    client.on('data', this.#keep);
    gone.signal.addEventListener('abort', () => this.#changed());
  }

  /** @returns what is wrong with how the client begins; empty: nothing, or the client is gone */
  async start(): Promise<string> {
    let asked = 0;
    while (!this.#gone.signal.aborted) {
      const start = readStart(this.#bytes);
      if (start.kind === 'whole') return '';
      if (start.kind === 'wrong') return start.message;
      if (start.kind === 'encryption') {
        // Each of the two kinds once.
        if ((asked += 1) > 2) return 'encryption was asked for again';
        this.#bytes = this.#bytes.subarray(start.length);
        this.#client.write('N');
        continue;
      }
      await new Promise<void>((settle) => {
        this.#changed = settle;
      });
    }
    return '';
  }

  /** Ends the reading. @returns all that was said */
  release(): Buffer {
    this.#client.pause();
    this.#client.off('data', this.#keep);
    return this.#bytes;
  }
}
