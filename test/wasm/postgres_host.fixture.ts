/** The compiled PostgreSQL filter on one connection, with the service's session door and the tap played by the test. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

const WASM = fileURLToPath(new URL('../../build/sluice-postgres.wasm', import.meta.url));
const PROTO = fileURLToPath(new URL('../../proto/', import.meta.url));

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => `${PROTO}${target.replace(PROTO, '')}`;
root.loadSync(['sluice/session/v1/session.proto', 'sluice/tap/v1/tap.proto'], { keepCase: true });
const message = (name: string): protobuf.Type => root.lookupType(name);
const EmitRequest = message('sluice.tap.v1.EmitRequest');

const DOWNSTREAM = 2;
const UPSTREAM = 3;

export interface Asked {
  readonly method: string;
  readonly request: Record<string, unknown>;
  readonly token: number;
  open: boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: answers are written as the protocol's JSON.
export type Answer = Record<string, any>;

export interface Finished {
  readonly command: number;
  readonly outcome: string;
  readonly tag?: string;
  readonly rows?: number;
  readonly bytes?: number;
  readonly masked?: { rule: string; count: number }[];
  readonly code?: string;
}

let module: WebAssembly.Module | undefined;
type Callback = (...args: number[]) => number;

/** One VM; its connections share it. */
export class Vm {
  readonly asked: Asked[] = [];
  readonly finished: Finished[] = [];
  nanos = 1_000_000_000n;
  doorAvailable = true;
  passage = '';
  readonly #exports: Record<string, Callback>;
  readonly #memory: WebAssembly.Memory;
  readonly #connections = new Map<number, Wire>();
  #effective = 1;
  #nextToken = 1;
  #nextContext = 2;
  #tap = 0;
  #given: Buffer = Buffer.from(
    JSON.stringify({ target: 'ledger', tap_cluster: 'tap', door_cluster: 'door', tap_require: false, queue_bytes: 4 << 20 }),
  );

  constructor() {
    module ??= new WebAssembly.Module(readFileSync(WASM));
    const { exports } = new WebAssembly.Instance(module, this.#imports());
    this.#exports = exports as Record<string, Callback>;
    this.#memory = exports['memory'] as WebAssembly.Memory;
    this.call(1, '_initialize');
    this.call(1, 'proxy_on_context_create', 1, 0);
    this.call(1, 'proxy_on_vm_start', 1, 0);
    if (!this.call(1, 'proxy_on_configure', 1, this.#given.length)) throw new Error('not configured');
    this.advance(100);
    this.#given = Buffer.alloc(0);
    this.call(1, 'proxy_on_grpc_receive', 1, this.#tap, 0);
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Whether the VM's memory holds that text. */
  find(text: string): boolean {
    return Buffer.from(this.#memory.buffer).includes(text);
  }

  call(context: number, name: string, ...args: number[]): number {
    const before = this.#effective;
    this.#effective = context;
    const value = this.#exports[name]?.(...args) ?? 0;
    this.#effective = before;
    return value;
  }

  connect(): Wire {
    const id = ++this.#nextContext;
    const wire = new Wire(this, id);
    this.#connections.set(id, wire);
    this.call(id, 'proxy_on_context_create', id, 1);
    this.call(id, 'proxy_on_new_connection', id);
    return wire;
  }

  forget(id: number): void {
    this.#connections.delete(id);
  }

  advance(millis: number): void {
    for (let left = millis; left > 0; left -= 50) {
      this.nanos += 50_000_000n;
      this.call(1, 'proxy_on_tick', 1);
    }
  }

  /** Answers a question; an answer that is a number is the gRPC status. */
  answer(asked: Asked, answer: Answer | number): void {
    if (!asked.open) throw new Error(`${asked.method} is not open`);
    asked.open = false;
    if (typeof answer === 'number') {
      this.call(1, 'proxy_on_grpc_close', 1, asked.token, answer);
      return;
    }
    const name = asked.method === 'Await' ? 'Judge' : asked.method;
    const type = message(`sluice.session.v1.${name}Response`);
    this.#given = Buffer.from(type.encode(type.fromObject(answer)).finish());
    this.call(1, 'proxy_on_grpc_receive', 1, asked.token, this.#given.length);
    this.#given = Buffer.alloc(0);
  }

  #bytes(ptr: number, length: number): Buffer {
    if (ptr + length > this.#memory.buffer.byteLength) throw new Error('outside of memory');
    return Buffer.from(this.#memory.buffer, ptr, length);
  }

  #give(value: Buffer, ptrPtr: number, sizePtr: number): number {
    const ptr = value.length ? (this.#exports['proxy_on_memory_allocate'] as Callback)(value.length) >>> 0 : 0;
    value.copy(this.#bytes(ptr, value.length));
    this.#bytes(ptrPtr, 4).writeUInt32LE(ptr);
    this.#bytes(sizePtr, 4).writeUInt32LE(value.length);
    return 0;
  }

  get #wire(): Wire {
    const wire = this.#connections.get(this.#effective);
    if (!wire) throw new Error(`no connection ${this.#effective}`);
    return wire;
  }

  #imports(): WebAssembly.Imports {
    const env: Record<string, (...args: number[]) => number> = {
      proxy_log: () => 0,
      proxy_get_property: (p = 0, n = 0, ptr = 0, size = 0) => {
        const path = this.#bytes(p, n).toString();
        const value = path === 'source\0address' ? '10.0.0.1:5' : path.endsWith('sluice.passage') ? this.passage : '';
        return value === '' ? 1 : this.#give(Buffer.from(value), ptr, size);
      },
      proxy_get_buffer_bytes: (type = 0, start = 0, length = 0, ptr = 0, size = 0) => {
        const bytes = type === DOWNSTREAM ? this.#wire.fromClient : type === UPSTREAM ? this.#wire.fromTarget : this.#given;
        return this.#give(Buffer.from(bytes.subarray(start, start + length)), ptr, size);
      },
      proxy_set_buffer_bytes: (type = 0, _start = 0, length = 0, ptr = 0, size = 0) => {
        const wire = this.#wire;
        const bytes = Buffer.from(this.#bytes(ptr, size));
        if (type === DOWNSTREAM) {
          if (length < wire.fromClient.length) throw new Error('bytes of the client stay beside what is put in');
          wire.fromClient = bytes;
        } else {
          if (!wire.inUpstream) throw new Error('written to the client outside its callback');
          if (length < wire.fromTarget.length) throw new Error('bytes of the target stay beside what is put in');
          wire.fromTarget = bytes;
        }
        return 0;
      },
      proxy_continue_stream: () => {
        const wire = this.#wire;
        wire.toTarget = Buffer.concat([wire.toTarget, wire.fromClient]);
        wire.fromClient = Buffer.alloc(0);
        return 0;
      },
      proxy_close_stream: () => {
        this.#wire.closed = true;
        return 0;
      },
      proxy_set_effective_context: (id = 0) => {
        this.#effective = id;
        return 0;
      },
      proxy_set_tick_period_milliseconds: () => 0,
      proxy_done: () => 0,
      proxy_define_metric: (_type = 0, _ptr = 0, _size = 0, id = 0) => {
        this.#bytes(id, 4).writeUInt32LE(1);
        return 0;
      },
      proxy_grpc_stream: (_a = 0, _b = 0, _c = 0, _d = 0, _e = 0, _f = 0, _g = 0, _h = 0, token = 0) => {
        this.#tap = this.#nextToken++;
        this.#bytes(token, 4).writeUInt32LE(this.#tap);
        return 0;
      },
      proxy_grpc_send: (_token = 0, ptr = 0, size = 0) => {
        const { event } = EmitRequest.toObject(EmitRequest.decode(this.#bytes(ptr, size)), { longs: Number }) as {
          event?: { command: number; command_finished?: Finished };
        };
        if (event?.command_finished) this.finished.push({ ...event.command_finished, command: event.command });
        return 0;
      },
      proxy_grpc_call: (...args) => {
        if (!this.doorAvailable) return 10;
        const [, , , , methodPtr = 0, methodSize = 0, , , ptr = 0, size = 0, , tokenPtr = 0] = args;
        const method = this.#bytes(methodPtr, methodSize).toString();
        const type = message(`sluice.session.v1.${method}Request`);
        const token = this.#nextToken++;
        const decoded = type.decode(Buffer.from(this.#bytes(ptr, size)));
        this.asked.push({ method, token, open: true, request: type.toObject(decoded, { longs: Number }) });
        this.#bytes(tokenPtr, 4).writeUInt32LE(token);
        return 0;
      },
      proxy_grpc_cancel: (token = 0) => {
        const asked = this.asked.find((candidate) => candidate.token === token);
        if (asked) asked.open = false;
        return 0;
      },
    };
    const unsigned = Object.fromEntries(
      Object.entries(env).map(([name, call]) => [name, (...args: number[]) => call(...args.map((n) => n >>> 0))]),
    );
    const stub: Record<string, () => number> = Object.fromEntries(
      [
        'proxy_get_header_map_value',
        'proxy_replace_header_map_value',
        'proxy_remove_header_map_value',
        'proxy_get_header_map_pairs',
        'proxy_set_header_map_pairs',
        'proxy_send_local_response',
        'proxy_increment_metric',
      ].map((name) => [name, () => 0]),
    );
    return {
      env: { ...stub, ...unsigned },
      wasi_snapshot_preview1: {
        clock_time_get: (_clock: number, _precision: bigint, ptr: number): number => {
          this.#bytes(ptr >>> 0, 8).writeBigUInt64LE(this.nanos);
          return 0;
        },
        random_get: (ptr: number, size: number): number => {
          this.#bytes(ptr >>> 0, size).fill(7);
          return 0;
        },
      },
    };
  }
}

/** One connection, as the client and the target see it. */
export class Wire {
  fromClient: Buffer = Buffer.alloc(0);
  fromTarget: Buffer = Buffer.alloc(0);
  toTarget: Buffer = Buffer.alloc(0);
  toClient: Buffer = Buffer.alloc(0);
  inUpstream = false;
  closed = false;
  /** Bytes of each piece that `client` and `target` bring; 0: in one piece. */
  piece = 0;
  readonly vm: Vm;
  readonly #id: number;
  #ended = false;

  constructor(vm: Vm, id: number) {
    this.vm = vm;
    this.#id = id;
  }

  #pieces(bytes: Buffer): Buffer[] {
    if (!this.piece) return [bytes];
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += this.piece) pieces.push(bytes.subarray(at, at + this.piece));
    return pieces;
  }

  client(bytes: Buffer, end = false): this {
    for (const piece of this.#pieces(bytes)) {
      if (this.closed) return this;
      this.fromClient = Buffer.concat([this.fromClient, piece]);
      this.vm.call(this.#id, 'proxy_on_downstream_data', this.#id, this.fromClient.length, 0);
    }
    if (end && !this.closed) this.vm.call(this.#id, 'proxy_on_downstream_data', this.#id, this.fromClient.length, 1);
    return this;
  }

  target(bytes: Buffer): this {
    for (const piece of this.#pieces(bytes)) {
      if (this.closed) return this;
      this.fromTarget = piece;
      this.inUpstream = true;
      this.vm.call(this.#id, 'proxy_on_upstream_data', this.#id, piece.length, 0);
      this.inUpstream = false;
      this.toClient = Buffer.concat([this.toClient, this.fromTarget]);
      this.fromTarget = Buffer.alloc(0);
    }
    return this;
  }

  /** What the target has got since the last time. */
  got(): Buffer {
    const bytes = this.toTarget;
    this.toTarget = Buffer.alloc(0);
    return bytes;
  }

  /** What the client has got since the last time. */
  seen(): Buffer {
    const bytes = this.toClient;
    this.toClient = Buffer.alloc(0);
    return bytes;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.vm.call(this.#id, 'proxy_on_downstream_connection_close', this.#id, 0);
    this.vm.call(this.#id, 'proxy_on_delete', this.#id);
    this.vm.forget(this.#id);
  }
}
