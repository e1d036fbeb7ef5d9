/** The compiled PostgreSQL filter in the emulator, with the service's session door played by the test. */
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { NetworkStream } from '../host/network_stream.ts';
import { TapSink } from '../host/tap_sink.ts';
import { type GrpcCall, WasmHost } from '../host/wasm_host.ts';

const WASM = fileURLToPath(new URL('../../build/sluice-postgres.wasm', import.meta.url));
const PROTO = fileURLToPath(new URL('../../proto/', import.meta.url));

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => `${PROTO}${target.replace(PROTO, '')}`;
root.loadSync('sluice/session/v1/session.proto', { keepCase: true });
const message = (name: string): protobuf.Type => root.lookupType(`sluice.session.v1.${name}`);

/** A question to the door. */
export interface Asked {
  readonly method: string;
  readonly request: Record<string, unknown>;
  readonly call: GrpcCall;
  /** It waits for its answer. */
  readonly open: boolean;
}

/** An answer as the JSON of its message: of Await as of Judge. */
export type Answer = { readonly [field: string]: unknown };

export interface Finished {
  readonly command: number;
  readonly outcome: string;
  readonly tag?: string;
  readonly rows?: number;
  readonly bytes?: number;
  readonly masked?: { rule: string; count: number }[];
  readonly code?: string;
  readonly statement?: string;
}

/** One VM; its connections share it. */
export class Vm {
  readonly host: WasmHost;
  readonly sink: TapSink;
  readonly #asked: Asked[] = [];
  #lastToken = 0;

  constructor({ tapRequire = true, queueBytes = 4 << 20, recordBytes = 64 << 20, lagMs = 5_000, sink = true } = {}) {
    const configuration = {
      target: 'ledger',
      tap_cluster: 'tap',
      door_cluster: 'door',
      tap_require: tapRequire,
      queue_bytes: queueBytes,
      lag_ms: lagMs,
      record_bytes: recordBytes,
    };
    this.host = new WasmHost({ wasm: WASM, configuration: JSON.stringify(configuration) });
    this.sink = new TapSink(this.host);
    if (sink) this.sink.run(50);
  }

  /** All that was asked and not given up at once, in order; whoever has seen them may take them out. */
  get asked(): Asked[] {
    const { grpcCalls } = this.host;
    for (const [token, call] of grpcCalls) {
      if (token <= this.#lastToken) continue;
      this.#lastToken = token;
      if (call.method === 'Generation') {
        this.generationAsked(call);
        continue;
      }
      const type = message(`${call.method}Request`);
      if (call.method === 'Refused') {
        this.refused.push(String(type.toObject(type.decode(call.message)).code));
        continue;
      }
      this.#asked.push({
        method: call.method,
        request: type.toObject(type.decode(call.message), { longs: Number }),
        call,
        get open() {
          return grpcCalls.has(token);
        },
      });
    }
    return this.#asked;
  }

  /** Codes of commands that the filter refused without a judgement; `asked` looks for them. */
  readonly refused: string[] = [];
  /** By default the first is told at once that nothing will change for long, and later ones wait. */
  generationAsked: (call: GrpcCall) => void = (call) => {
    this.generationAsked = () => {};
    this.answer({ method: 'Generation', call } as Asked, { generation: 0, lease_ms: 0xffff_ffff });
  };

  get finished(): Finished[] {
    this.sink.run(50);
    return this.sink.events.flatMap((event) => {
      const { command, command_finished } = event as unknown as { command: number; command_finished?: Omit<Finished, 'command'> };
      return command_finished ? [{ ...command_finished, command }] : [];
    });
  }

  connect(passage = ''): Wire {
    return new Wire(this, passage);
  }

  /** Answers a question; an answer that is a number is the gRPC status. */
  answer({ method, call }: Asked, answer: Answer | number): void {
    if (typeof answer === 'number') {
      this.host.grpcFail(call, answer);
      return;
    }
    const type = message(`${method === 'Await' ? 'Judge' : method}Response`);
    this.host.grpcAnswer(call, Buffer.from(type.encode(type.fromObject(answer)).finish()));
  }
}

/** One connection, as the client and the target see it. */
export class Wire {
  /** Bytes of each piece that `client` and `target` bring; 0: in one piece. */
  piece = 0;
  /** Where what they bring is cut in two, counted over all that each of them brings; 0: not. */
  cut = 0;
  readonly #brought = { client: 0, target: 0 };
  readonly vm: Vm;
  readonly #stream: NetworkStream;

  constructor(vm: Vm, passage: string) {
    this.vm = vm;
    const properties = { 'source\0address': '10.0.0.1:5', ...(passage !== '' && { 'filter_state\0sluice.passage': passage }) };
    this.#stream = NetworkStream.open(vm.host, { properties });
  }

  #pieces(bytes: Buffer, side: 'client' | 'target'): Buffer[] {
    const at = this.cut - this.#brought[side];
    this.#brought[side] += bytes.length;
    if (at > 0 && at < bytes.length) return [bytes.subarray(0, at), bytes.subarray(at)];
    if (!this.piece) return [bytes];
    const pieces: Buffer[] = [];
    for (let from = 0; from < bytes.length; from += this.piece) pieces.push(bytes.subarray(from, from + this.piece));
    return pieces;
  }

  get closed(): boolean {
    return this.#stream.closed;
  }

  client(bytes: Buffer, end = false): this {
    for (const piece of this.#pieces(bytes, 'client')) this.#stream.clientSends(piece);
    if (end) this.#stream.clientSends('', true);
    return this;
  }

  target(bytes: Buffer, end = false): this {
    for (const piece of this.#pieces(bytes, 'target')) this.#stream.targetSends(piece);
    if (end) this.#stream.targetSends('', true);
    return this;
  }

  /** What the target has got since the last time. */
  got(): Buffer {
    return Buffer.concat(this.#stream.upstream.bytes.splice(0));
  }

  /** What the client has got since the last time. */
  seen(): Buffer {
    return Buffer.concat(this.#stream.downstream.bytes.splice(0));
  }

  end(): void {
    this.#stream.reset();
  }
}
