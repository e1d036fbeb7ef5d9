/**
 * A host emulator: runs a compiled filter as Envoy does (proxy-wasm ABI 0.2.1), in milliseconds and with a clock of its own. It is stricter than Envoy where
 * Envoy's behaviour would be undefined: a bad pointer, a map or a buffer asked for outside its callback, a hostcall inside an allocation all throw, and so fail the test.
 * Sources: proxy-wasm-cpp-host src/exports.cc and src/context.cc, Envoy source/extensions/common/wasm/context.cc.
 */
import { readFileSync } from 'node:fs';
import { decodePairs, encodePairs, type Headers } from './pairs.ts';

const OK = 0;
const NOT_FOUND = 1;
const BAD_ARGUMENT = 2;
const INTERNAL_FAILURE = 10;
/** Of `clock_time_get` (WASI). */
const MONOTONIC = 1;

/** What a stream context lends to the filter while one of its callbacks runs. */
export interface StreamHost {
  readonly id: number;
  property(path: string): string | Buffer | undefined;
  map(type: number): Headers | undefined;
  /** By the ABI's buffer type; undefined outside its callback. */
  buffer(type: number): { bytes: Buffer } | undefined;
  sendLocalResponse(status: number, details: string, body: Buffer, headers: Headers): void;
  continueStream(type: number): void;
  closeStream(type: number): void;
}

export interface GrpcStream {
  readonly token: number;
  readonly cluster: string;
  readonly service: string;
  readonly method: string;
  /** Sent by the filter; whoever reads them takes them out. */
  readonly messages: Buffer[];
  /** How many were sent. */
  sent: number;
  /** Ended by the filter. */
  cancelled: boolean;
  /** Ended by the peer; Envoy keeps it until the filter has cancelled or closed it too. */
  closed: boolean;
}

/** A unary call of the filter, until it is answered, failed or cancelled. */
export interface GrpcCall {
  readonly token: number;
  readonly cluster: string;
  readonly service: string;
  readonly method: string;
  readonly message: Buffer;
  /** Milliseconds; 0: none. */
  readonly timeout: number;
}

type Callback = (...args: number[]) => number;

const modules = new Map<string, WebAssembly.Module>();

export interface WasmHostOptions {
  readonly wasm: string;
  readonly configuration: string;
  /** Nanoseconds since the epoch at the start. */
  readonly startNanos?: bigint;
}

export class WasmHost {
  readonly rootId = 2;
  readonly grpcStreams: GrpcStream[] = [];
  /** Calls under way, by token. */
  readonly grpcCalls = new Map<number, GrpcCall>();
  readonly metrics = new Map<string, number>();
  readonly logs: { level: number; message: string }[] = [];
  /** Whether gRPC can be begun; Envoy refuses when the cluster is unknown to this worker, or has no host that it could reach. */
  grpcAvailable = true;
  tickMillis = 0;
  nanos: bigint;
  /** Set by `proxy_done`. */
  done = false;
  readonly configured: boolean;

  readonly #configuration: Buffer;
  readonly #exports: Record<string, Callback>;
  readonly #memory: WebAssembly.Memory;
  readonly #streams = new Map<number, StreamHost>();
  readonly #metricNames: string[] = [];
  #nextId = 3;
  #nextToken = 2;
  /** The context whose callback runs, and the one that hostcalls are about. */
  #current = 0;
  #effective = 0;
  #configuring = false;
  #allocating = false;
  #received: Buffer | undefined;
  #stopNext = false;
  #sinceTick = 0;
  readonly #afterCall: (() => void)[] = [];
  #depth = 0;
  /** Of the clock: a nanosecond each. */
  #readings = 0n;
  readonly #later: (() => void)[] = [];

  constructor({ wasm, configuration, startNanos = 1_700_000_000_000_000_000n }: WasmHostOptions) {
    let module = modules.get(wasm);
    if (module === undefined) {
      module = new WebAssembly.Module(readFileSync(wasm));
      modules.set(wasm, module);
    }
    this.nanos = startNanos;
    this.#configuration = Buffer.from(configuration);
    const { exports } = new WebAssembly.Instance(module, this.#imports());
    this.#exports = exports as Record<string, Callback>;
    this.#memory = exports.memory as WebAssembly.Memory;
    if (!('proxy_abi_version_0_2_1' in exports)) throw new Error(`${wasm} does not say ABI 0.2.1`);
    this.call(this.rootId, '_initialize');
    this.call(this.rootId, 'proxy_on_context_create', this.rootId, 0);
    this.call(this.rootId, 'proxy_on_vm_start', this.rootId, 0);
    this.#configuring = true;
    this.configured = this.call(this.rootId, 'proxy_on_configure', this.rootId, this.#configuration.length) !== 0;
    this.#configuring = false;
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Whether a text stands anywhere in the VM's memory. */
  memoryIncludes(text: string): boolean {
    return Buffer.from(this.#memory.buffer).includes(text);
  }

  /** Gives the stream its context id; its `proxy_on_context_create` follows when the host would make it. */
  adopt(make: (id: number) => StreamHost): void {
    const id = this.#nextId++;
    this.#streams.set(id, make(id));
  }

  release(id: number): void {
    this.#streams.delete(id);
  }

  /** Calls an export if the module has it (0 else); what the call asked to be done after it is done before this returns. */
  call(context: number, name: string, ...args: number[]): number {
    const { value } = this.callFilter(context, name, ...args);
    return value;
  }

  /** The same, and whether the filter answered the client itself, which stops the iteration whatever it returns. */
  callFilter(context: number, name: string, ...args: number[]): { value: number; answered: boolean } {
    const callback = this.#exports[name];
    if (callback === undefined) return { value: 0, answered: false };
    const saved = [this.#current, this.#effective] as const;
    this.#current = this.#effective = context;
    this.#depth++;
    const value = callback(...args);
    this.#depth--;
    [this.#current, this.#effective] = saved;
    const answered = this.#stopNext;
    this.#stopNext = false;
    for (let action = this.#afterCall.shift(); action; action = this.#afterCall.shift()) action();
    if (this.#depth === 0) for (let action = this.#later.shift(); action; action = this.#later.shift()) action();
    return { value, answered };
  }

  afterCall(action: () => void): void {
    this.#afterCall.push(action);
  }

  /** Done when no callback is running any more. */
  later(action: () => void): void {
    if (this.#depth === 0) action();
    else this.#later.push(action);
  }

  /** Lets time pass; ticks come as the filter asked for them. */
  advance(millis: number): void {
    for (let left = millis; left > 0; ) {
      const step = this.tickMillis === 0 ? left : Math.min(left, this.tickMillis - this.#sinceTick);
      this.nanos += BigInt(step) * 1_000_000n;
      left -= step;
      this.#sinceTick += step;
      if (this.tickMillis === 0 || this.#sinceTick < this.tickMillis) continue;
      this.#sinceTick = 0;
      this.call(this.rootId, 'proxy_on_tick', this.rootId);
    }
  }

  /** The last stream that neither side has ended. */
  get grpcStream(): GrpcStream | undefined {
    return this.grpcStreams.findLast(({ cancelled, closed }) => !cancelled && !closed);
  }

  grpcReceive(stream: GrpcStream, message: Buffer): void {
    this.#received = message;
    this.call(this.rootId, 'proxy_on_grpc_receive', this.rootId, stream.token, message.length);
    this.#received = undefined;
  }

  grpcClose(stream: GrpcStream, status: number): void {
    stream.closed = true;
    this.call(this.rootId, 'proxy_on_grpc_close', this.rootId, stream.token, status);
  }

  /** The last call of this method that waits for its answer. */
  grpcCall(method: string): GrpcCall {
    const found = [...this.grpcCalls.values()].findLast((call) => call.method === method);
    if (!found) throw new Error(`no call of ${method} waits: ${[...this.grpcCalls.values()].map((call) => call.method)}`);
    return found;
  }

  grpcAnswer({ token }: GrpcCall, message: Buffer): void {
    if (!this.grpcCalls.delete(token)) throw new Error('answered a call that is over');
    this.#received = message;
    this.call(this.rootId, 'proxy_on_grpc_receive', this.rootId, token, message.length);
    this.#received = undefined;
  }

  grpcFail({ token }: GrpcCall, status: number): void {
    if (!this.grpcCalls.delete(token)) throw new Error('failed a call that is over');
    this.call(this.rootId, 'proxy_on_grpc_close', this.rootId, token, status);
  }

  /** Removes the root context; false when the filter wants to deliver first (then `done` says when it has). */
  shutDown(): boolean {
    if (this.call(this.rootId, 'proxy_on_done', this.rootId) === 0) return false;
    this.call(this.rootId, 'proxy_on_delete', this.rootId);
    return true;
  }

  #bytes(ptr: number, length: number): Buffer {
    if (ptr < 0 || length < 0 || ptr + length > this.#memory.buffer.byteLength)
      throw new Error(`the filter points outside its memory: ${ptr} + ${length}`);
    return Buffer.from(this.#memory.buffer, ptr, length);
  }

  #text(ptr: number, length: number): string {
    return this.#bytes(ptr, length).toString('utf8');
  }

  #u32(ptr: number, value: number): void {
    this.#bytes(ptr, 4).writeUInt32LE(value);
  }

  #u64(ptr: number, value: bigint): void {
    this.#bytes(ptr, 8).writeBigUInt64LE(value);
  }

  /** Hands bytes over: asks the filter for their place, and says where they are. */
  #give(value: Buffer, ptrPtr: number, sizePtr: number): number {
    let ptr = 0;
    if (value.length > 0) {
      this.#allocating = true;
      ptr = (this.#exports.proxy_on_memory_allocate as Callback)(value.length) >>> 0;
      this.#allocating = false;
      if (ptr === 0) throw new Error('the filter has no memory left');
      this.#bytes(ptr, value.length).set(value);
    }
    this.#u32(ptrPtr, ptr);
    this.#u32(sizePtr, value.length);
    return OK;
  }

  get #stream(): StreamHost | undefined {
    return this.#streams.get(this.#effective);
  }

  #buffer(type: number): { bytes: Buffer } | undefined {
    if (type === 7) return this.#configuring ? { bytes: this.#configuration } : undefined;
    if (type === 5) return this.#received === undefined ? undefined : { bytes: this.#received };
    return this.#stream?.buffer(type);
  }

  /** envoy.config.core.v3.GrpcService { envoy_grpc { cluster_name } } */
  #cluster(ptr: number, size: number): string {
    const target = this.#bytes(ptr, size);
    if (target[0] !== 0x0a || target[1] !== target.length - 2 || target[2] !== 0x0a || target[3] !== target.length - 4)
      throw new Error('not a GrpcService');
    return target.toString('utf8', 4);
  }

  #map(type: number): Headers {
    const map = this.#stream?.map(type);
    if (map === undefined) throw new Error(`header map ${type} is not there in this callback`);
    return map;
  }

  #imports(): WebAssembly.Imports {
    const env: Record<string, (...args: number[]) => number> = {
      proxy_log: (level = 0, ptr = 0, size = 0) => {
        this.logs.push({ level, message: this.#text(ptr, size) });
        return OK;
      },
      proxy_get_property: (ptr = 0, size = 0, valuePtr = 0, sizePtr = 0) => {
        const value = this.#stream?.property(this.#text(ptr, size));
        return value === undefined ? NOT_FOUND : this.#give(Buffer.from(value), valuePtr, sizePtr);
      },
      proxy_get_buffer_bytes: (type = 0, start = 0, length = 0, dataPtr = 0, sizePtr = 0) => {
        const buffer = this.#buffer(type);
        return buffer === undefined ? NOT_FOUND : this.#give(Buffer.from(buffer.bytes.subarray(start, start + length)), dataPtr, sizePtr);
      },
      proxy_set_buffer_bytes: (type = 0, start = 0, length = 0, ptr = 0, size = 0) => {
        const buffer = this.#buffer(type);
        if (buffer === undefined) return BAD_ARGUMENT;
        const data = Buffer.from(this.#bytes(ptr, size));
        if (start === 0 && length === 0) buffer.bytes = Buffer.concat([data, buffer.bytes]);
        else if (start === 0 && length >= buffer.bytes.length) buffer.bytes = data;
        else if (start >= buffer.bytes.length) buffer.bytes = Buffer.concat([buffer.bytes, data]);
        else return BAD_ARGUMENT;
        return OK;
      },
      proxy_get_header_map_value: (type = 0, ptr = 0, size = 0, valuePtr = 0, sizePtr = 0) => {
        const name = this.#text(ptr, size);
        const values = this.#map(type).filter(([key]) => key === name);
        return values.length === 0
          ? NOT_FOUND
          : this.#give(Buffer.from(values.map(([, value]) => value).join(','), 'latin1'), valuePtr, sizePtr);
      },
      proxy_replace_header_map_value: (type = 0, ptr = 0, size = 0, valuePtr = 0, valueSize = 0) => {
        const map = this.#map(type);
        const name = this.#text(ptr, size);
        const value = this.#bytes(valuePtr, valueSize).toString('latin1');
        const first = map.find(([key]) => key === name);
        if (first) first[1] = value;
        else map.push([name, value]);
        return OK;
      },
      proxy_remove_header_map_value: (type = 0, ptr = 0, size = 0) => {
        const map = this.#map(type);
        const name = this.#text(ptr, size);
        map.splice(0, map.length, ...map.filter(([key]) => key !== name));
        return OK;
      },
      proxy_get_header_map_pairs: (type = 0, pairsPtr = 0, sizePtr = 0) => {
        const map = this.#map(type);
        return this.#give(map.length === 0 ? Buffer.alloc(0) : encodePairs(map), pairsPtr, sizePtr);
      },
      proxy_set_header_map_pairs: (type = 0, ptr = 0, size = 0) => {
        const map = this.#map(type);
        map.splice(0, map.length, ...decodePairs(Buffer.from(this.#bytes(ptr, size))));
        return OK;
      },
      proxy_send_local_response: (status = 0, detailsPtr = 0, detailsSize = 0, bodyPtr = 0, bodySize = 0, pairsPtr = 0, pairsSize = 0) => {
        const stream = this.#stream;
        if (stream === undefined) throw new Error('a local response without a stream');
        stream.sendLocalResponse(
          status,
          this.#text(detailsPtr, detailsSize),
          Buffer.from(this.#bytes(bodyPtr, bodySize)),
          decodePairs(Buffer.from(this.#bytes(pairsPtr, pairsSize))),
        );
        this.#stopNext = true;
        return OK;
      },
      proxy_continue_stream: (type = 0) => {
        const stream = this.#stream;
        if (stream === undefined) throw new Error('continued without a stream');
        stream.continueStream(type);
        return OK;
      },
      proxy_close_stream: (type = 0) => {
        const stream = this.#stream;
        if (stream === undefined) throw new Error('closed without a stream');
        stream.closeStream(type);
        return OK;
      },
      proxy_set_effective_context: (id = 0) => {
        if (id !== this.rootId && !this.#streams.has(id)) throw new Error(`context ${id} does not exist`);
        this.#effective = id;
        return OK;
      },
      proxy_set_tick_period_milliseconds: (period = 0) => {
        if (this.#effective !== this.rootId) throw new Error('a tick period of a stream');
        this.tickMillis = period;
        return OK;
      },
      proxy_done: () => {
        this.done = true;
        return OK;
      },
      proxy_define_metric: (_type = 0, ptr = 0, size = 0, idPtr = 0) => {
        const name = this.#text(ptr, size);
        this.#u32(idPtr, this.#metricNames.push(name));
        this.metrics.set(name, 0);
        return OK;
      },
      proxy_grpc_stream: (
        targetPtr = 0,
        targetSize = 0,
        servicePtr = 0,
        serviceSize = 0,
        methodPtr = 0,
        methodSize = 0,
        _metadata = 0,
        _size = 0,
        tokenPtr = 0,
      ) => {
        if (!this.grpcAvailable) return INTERNAL_FAILURE;
        const cluster = this.#cluster(targetPtr, targetSize);
        const token = this.#nextToken++;
        this.grpcStreams.push({
          token,
          cluster,
          service: this.#text(servicePtr, serviceSize),
          method: this.#text(methodPtr, methodSize),
          messages: [],
          sent: 0,
          cancelled: false,
          closed: false,
        });
        this.#u32(tokenPtr, token);
        return OK;
      },
      proxy_grpc_call: (
        targetPtr = 0,
        targetSize = 0,
        servicePtr = 0,
        serviceSize = 0,
        methodPtr = 0,
        methodSize = 0,
        _metadata = 0,
        _size = 0,
        messagePtr = 0,
        messageSize = 0,
        timeout = 0,
        tokenPtr = 0,
      ) => {
        const cluster = this.#cluster(targetPtr, targetSize);
        const token = this.#nextToken++;
        if (!this.grpcAvailable) {
          // Inside the hostcall, with a token that the filter has not been told.
          this.call(this.rootId, 'proxy_on_grpc_close', this.rootId, token, 14);
          return INTERNAL_FAILURE;
        }
        const [service, method] = [this.#text(servicePtr, serviceSize), this.#text(methodPtr, methodSize)];
        const message = Buffer.from(this.#bytes(messagePtr, messageSize));
        this.grpcCalls.set(token, { token, cluster, service, method, message, timeout });
        this.#u32(tokenPtr, token);
        return OK;
      },
      proxy_grpc_send: (token = 0, ptr = 0, size = 0) => {
        const stream = this.grpcStreams.find((candidate) => candidate.token === token);
        if (stream === undefined || stream.cancelled) return NOT_FOUND;
        if (stream.closed) throw new Error('sent on a stream that the peer has closed');
        stream.messages.push(Buffer.from(this.#bytes(ptr, size)));
        stream.sent++;
        return OK;
      },
      proxy_grpc_cancel: (token = 0) => {
        if (this.grpcCalls.delete(token)) return OK;
        const stream = this.grpcStreams.find((candidate) => candidate.token === token);
        if (stream === undefined || stream.cancelled) return NOT_FOUND;
        stream.cancelled = true;
        return OK;
      },
    };
    const guarded = Object.fromEntries(
      Object.entries(env).map(([name, call]) => [
        name,
        (...args: number[]) => {
          if (this.#allocating) throw new Error(`${name} inside an allocation`);
          // Pointers above 2 GiB arrive as negative numbers.
          return call(...args.map((arg) => arg >>> 0));
        },
      ]),
    );
    return {
      env: {
        ...guarded,
        proxy_increment_metric: (metric: number, offset: bigint): number => {
          const name = this.#metricNames[metric - 1];
          if (name === undefined) return NOT_FOUND;
          this.metrics.set(name, (this.metrics.get(name) ?? 0) + Number(offset));
          return OK;
        },
      },
      wasi_snapshot_preview1: {
        clock_time_get: (clock: number, _precision: bigint, ptr: number): number => {
          // The clock that never steps goes on within a callback too, as Envoy's does.
          this.#u64(ptr >>> 0, clock === MONOTONIC ? this.nanos + this.#readings++ : this.nanos);
          return 0;
        },
        random_get: (ptr: number, size: number): number => {
          crypto.getRandomValues(this.#bytes(ptr >>> 0, size));
          return 0;
        },
      },
    };
  }
}
