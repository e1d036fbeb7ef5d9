/** A real Envoy with nothing but the network filter around a protocol of lines (test/echo/filter.ts), a TCP server that answers each line with itself, and a door. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerHttp2Session } from 'node:http2';
import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { findEnvoy } from '../../authz-service/envoy/binary.ts';
import { freePort } from '../free_port.fixture.ts';
import { listening } from './envoy_gateway.fixture.ts';

const wasmOf = (module: string): string => fileURLToPath(new URL(`../../build/${module}.wasm`, import.meta.url));

export interface StreamGatewayOptions {
  /** Without `.wasm`. */
  readonly module?: string;
  /** Where the connections go in place of the server that answers each line with itself. */
  readonly targetPort?: number;
  /** Filter state `sluice.passage`; empty: none. */
  readonly passage?: string;
  readonly tapRequire?: boolean;
  /** Of Envoy, for each connection. */
  readonly bufferLimit?: number;
}

export interface Question {
  readonly method: string;
  readonly message: Buffer;
  /** Resolves when the caller has reset the call. */
  readonly gone: Promise<void>;
}

/** Answers gRPC calls of any method. */
class Door {
  readonly asked: Question[] = [];
  answer: (question: Question) => Promise<Buffer | number> | Buffer | number = ({ message }) => message.subarray(2);
  readonly #server = createServer();
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor() {
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.on('error', () => {});
      session.once('close', () => this.#sessions.delete(session));
    });
    this.#server.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.once('end', async () => {
        const gone = new Promise<void>((settle) => stream.once('close', settle));
        const question = { method: String(headers[':path']), message: Buffer.concat(chunks).subarray(5), gone };
        this.asked.push(question);
        const given = await this.answer(question);
        if (stream.destroyed) return;
        if (typeof given === 'number') {
          stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': String(given) }, { endStream: true });
          return;
        }
        const frame = Buffer.alloc(5 + given.length);
        frame.writeUInt32BE(given.length, 1);
        given.copy(frame, 5);
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(frame);
      });
    });
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((settle) => this.#server.listen(port, '127.0.0.1', settle));
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
  }
}

/** A client's connection, with what it has got. */
export class Client {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;
  closed = false;

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    this.socket.setNoDelay(true);
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
    this.socket.once('end', () => {
      this.ended = true;
    });
    this.socket.once('close', () => {
      this.closed = true;
    });
  }

  get text(): string {
    return this.received.toString('latin1');
  }

  send(text: string | Buffer): this {
    this.socket.write(text);
    return this;
  }

  async until(what: (client: Client) => boolean, withinMs = 10_000): Promise<this> {
    for (const deadline = Date.now() + withinMs; !what(this); await sleep(2)) {
      if (Date.now() > deadline) throw new Error(`not in time; so far ${JSON.stringify(this.text.slice(-300))}, ended ${this.ended}`);
    }
    return this;
  }

  says(text: string): Promise<this> {
    return this.until((client) => client.text.includes(text));
  }
}

export class StreamGateway {
  readonly log: string[] = [];
  door = new Door();
  /** All that the target got, connection by connection. */
  readonly target: { received: Buffer; ended: boolean; socket: Socket }[] = [];
  readonly port: number;
  readonly doorPort: number;
  /** False: the target reads nothing. */
  reads = true;
  readonly #dir: string;
  readonly #clients: Client[] = [];
  #envoy: ChildProcess | undefined;
  #server: Server | undefined;

  private constructor(dir: string, port: number, doorPort: number) {
    this.#dir = dir;
    this.port = port;
    this.doorPort = doorPort;
  }

  static async start({
    module = 'test-echo',
    targetPort,
    passage = 'ses-of-the-tunnel',
    tapRequire = true,
    bufferLimit = 1 << 20,
  }: StreamGatewayOptions = {}): Promise<StreamGateway> {
    const gateway = new StreamGateway(mkdtempSync(join(tmpdir(), 'sluice-stream-')), await freePort(), await freePort());
    await gateway.door.listen(gateway.doorPort);
    const { server, port: echoPort } = await listening(
      createTcpServer({ allowHalfOpen: true }, (socket) => {
        const connection = { received: Buffer.alloc(0), ended: false, socket };
        const chunks: Buffer[] = [];
        gateway.target.push(connection);
        socket.setNoDelay(true);
        socket.on('error', () => {});
        if (!gateway.reads) socket.pause();
        socket.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          connection.received =
            chunks.length % 64 === 0 || chunk.length < 60_000
              ? Buffer.concat(chunks.splice(0, chunks.length, Buffer.concat(chunks)))
              : connection.received;
          socket.write(chunk);
        });
        socket.once('end', () => {
          connection.ended = true;
          socket.end();
        });
      }),
    );
    gateway.#server = server;
    const cluster = (name: string, port: number, http2: boolean): object => ({
      name,
      type: 'STATIC',
      load_assignment: {
        cluster_name: name,
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] }],
      },
      ...(http2 && {
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
            explicit_http_config: { http2_protocol_options: {} },
          },
        },
      }),
    });
    const config = {
      static_resources: {
        listeners: [
          {
            name: 'lines',
            address: { socket_address: { address: '127.0.0.1', port_value: gateway.port } },
            per_connection_buffer_limit_bytes: bufferLimit,
            filter_chains: [
              {
                filters: [
                  passage !== '' && {
                    name: 'envoy.filters.network.set_filter_state',
                    typed_config: {
                      '@type': 'type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config',
                      on_new_connection: [
                        {
                          object_key: 'sluice.passage',
                          factory_key: 'envoy.string',
                          format_string: { text_format_source: { inline_string: passage } },
                        },
                      ],
                    },
                  },
                  {
                    name: 'envoy.filters.network.wasm',
                    typed_config: {
                      '@type': 'type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm',
                      config: {
                        name: 'lines',
                        failure_policy: 'FAIL_RELOAD',
                        configuration: {
                          '@type': 'type.googleapis.com/google.protobuf.StringValue',
                          value: JSON.stringify({ target: 'lines', tap_cluster: 'door', door_cluster: 'door', tap_require: tapRequire }),
                        },
                        vm_config: { vm_id: 'lines', runtime: 'envoy.wasm.runtime.v8', code: { local: { filename: wasmOf(module) } } },
                      },
                    },
                  },
                  {
                    name: 'envoy.filters.network.tcp_proxy',
                    typed_config: {
                      '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
                      stat_prefix: 'lines',
                      cluster: 'target',
                    },
                  },
                ].filter(Boolean),
              },
            ],
          },
        ],
        clusters: [cluster('target', targetPort ?? echoPort, false), cluster('door', gateway.doorPort, true)],
      },
    };
    writeFileSync(join(gateway.#dir, 'envoy.yaml'), stringify(config));
    const found = findEnvoy();
    if (!found.ok) throw new Error(found.problem);
    const args = ['-c', join(gateway.#dir, 'envoy.yaml'), '--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'];
    const envoy = spawn(found.bin, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    gateway.#envoy = envoy;
    envoy.stderr?.on('data', (chunk: Buffer) => gateway.log.push(chunk.toString()));
    for (const deadline = Date.now() + 30_000; ; await sleep(50)) {
      if (envoy.exitCode !== null || Date.now() > deadline) throw new Error(`Envoy did not start\n${gateway.log.join('')}`);
      const client = new Client(gateway.port);
      const up = await client
        .until(({ socket }) => socket.readyState === 'open', 500)
        .then(
          () => true,
          () => false,
        );
      client.socket.destroy();
      if (up) return gateway;
    }
  }

  /** A new connection; the target's side of it is `theirs` once something has reached it. */
  client(): Client {
    const client = new Client(this.port);
    this.#clients.push(client);
    return client;
  }

  get envoyPid(): number {
    return this.#envoy?.pid ?? 0;
  }

  async close(): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    for (const { socket } of this.target) socket.destroy();
    const envoy = this.#envoy;
    if (envoy && envoy.exitCode === null && envoy.signalCode === null) {
      const ended = new Promise((settle) => envoy.once('exit', settle));
      envoy.kill('SIGKILL');
      await ended;
    }
    this.#server?.close();
    this.door.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** The door goes away, and comes back. */
  async withoutDoor(during: () => Promise<void>): Promise<void> {
    this.door.close();
    await during();
    const { answer } = this.door;
    this.door = new Door();
    this.door.answer = answer;
    await this.door.listen(this.doorPort);
  }
}
