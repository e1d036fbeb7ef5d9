/**
 * One TCP connection through the filter, as Envoy's connection and TCP proxy carry it: the client's bytes stay in a buffer that is shown again while the
 * filter stops, and which stops being filled at a limit; what the filter continues, the proxy takes whole; the target's bytes are shown once.
 * Sources: Envoy source/common/network/connection_impl.cc and filter_manager_impl.cc, source/extensions/common/wasm/context.cc.
 */
import type { StreamHost, WasmHost } from './wasm_host.ts';

const STOP = 1;
const DOWNSTREAM_DATA = 2;
const UPSTREAM_DATA = 3;
const DOWNSTREAM = 2;

export interface NetworkStreamOptions {
  /** By path, its segments separated by NUL. */
  readonly properties?: Readonly<Record<string, string | Buffer>>;
  /** Of the buffer of the client's bytes. */
  readonly bufferLimit?: number;
  /** The most that one read brings. */
  readonly readBytes?: number;
}

export class NetworkStream implements StreamHost {
  readonly id: number;
  /** What the target gets. */
  readonly upstream: { bytes: Buffer[]; ended: boolean } = { bytes: [], ended: false };
  /** What the client gets. */
  readonly downstream: { bytes: Buffer[]; ended: boolean } = { bytes: [], ended: false };
  closed = false;
  readonly #host: WasmHost;
  readonly #options: Required<NetworkStreamOptions>;
  /** Sent by the client, and not read by Envoy. */
  #arriving = Buffer.alloc(0);
  #clientEnded = false;
  #endRead = false;
  readonly #read: { bytes: Buffer } = { bytes: Buffer.alloc(0) };
  /** The filter was shown the buffer and stopped: it may write to it. */
  #writable = false;
  #readDisabled = false;
  #reading = false;
  #write: { bytes: Buffer } | undefined;

  private constructor(host: WasmHost, id: number, options: NetworkStreamOptions) {
    this.#host = host;
    this.id = id;
    this.#options = { properties: {}, bufferLimit: 1 << 20, readBytes: 1 << 14, ...options };
  }

  static open(host: WasmHost, options: NetworkStreamOptions = {}): NetworkStream {
    let stream: NetworkStream | undefined;
    host.adopt((id) => (stream = new NetworkStream(host, id, options)));
    const made = stream as unknown as NetworkStream;
    host.call(made.id, 'proxy_on_context_create', made.id, host.rootId);
    if (host.call(made.id, 'proxy_on_new_connection', made.id) !== 0) throw new Error('holding new connections is not emulated');
    return made;
  }

  /** All that the target has got. */
  get sent(): Buffer {
    return Buffer.concat(this.upstream.bytes);
  }

  /** All that the client has got. */
  get received(): Buffer {
    return Buffer.concat(this.downstream.bytes);
  }

  /** Bytes that the client could not get rid of yet. */
  get waiting(): number {
    return this.#arriving.length;
  }

  // Events of the wire

  clientSends(bytes: Buffer | string, end = false): this {
    if (this.closed) return this;
    this.#arriving = Buffer.concat([this.#arriving, Buffer.from(bytes)]);
    this.#clientEnded ||= end;
    this.#fill();
    return this;
  }

  targetSends(bytes: Buffer | string, end = false): this {
    if (this.closed) return this;
    this.#write = { bytes: Buffer.from(bytes) };
    const value = this.#host.call(this.id, 'proxy_on_upstream_data', this.id, this.#write.bytes.length, Number(end));
    if (value === STOP) throw new Error('what was stopped on its way to the client would be lost');
    const { bytes: out } = this.#write;
    this.#write = undefined;
    if (this.closed) {
      if (out.length > 0) throw new Error('closed before the last bytes for the client had left');
      return this;
    }
    if (out.length > 0) this.downstream.bytes.push(out);
    if (end) {
      this.downstream.ended = true;
      this.#host.call(this.id, 'proxy_on_upstream_connection_close', this.id, 0);
      this.#close(1);
    }
    return this;
  }

  /** The client's connection breaks. */
  reset(): this {
    this.#close(2);
    return this;
  }

  #fill(): void {
    if (this.#reading) return;
    this.#reading = true;
    while (!this.closed && !this.#readDisabled && (this.#arriving.length > 0 || (this.#clientEnded && !this.#endRead))) {
      const chunk = this.#arriving.subarray(0, this.#options.readBytes);
      this.#arriving = this.#arriving.subarray(chunk.length);
      this.#read.bytes = Buffer.concat([this.#read.bytes, chunk]);
      this.#endRead = this.#clientEnded && this.#arriving.length === 0;
      this.#watermarks();
      this.#writable = true;
      const value = this.#host.call(this.id, 'proxy_on_downstream_data', this.id, this.#read.bytes.length, Number(this.#endRead));
      if (value === STOP) continue;
      this.#pass();
      this.#writable = false;
    }
    this.#reading = false;
  }

  #watermarks(): void {
    const { length } = this.#read.bytes;
    if (length > this.#options.bufferLimit) this.#readDisabled = true;
    else if (this.#readDisabled && length <= this.#options.bufferLimit / 2) {
      this.#readDisabled = false;
      this.#host.later(() => this.#fill());
    }
  }

  /** The proxy takes what is in the buffer. */
  #pass(): void {
    if (this.#read.bytes.length > 0) {
      if (this.upstream.ended) throw new Error('bytes for the target after the end');
      this.upstream.bytes.push(this.#read.bytes);
    }
    this.#read.bytes = Buffer.alloc(0);
    if (this.#endRead) this.upstream.ended = true;
    this.#watermarks();
  }

  #close(peer: number): void {
    if (this.closed) return;
    this.closed = true;
    this.#host.call(this.id, 'proxy_on_downstream_connection_close', this.id, peer);
    this.#host.later(() => {
      this.#host.call(this.id, 'proxy_on_done', this.id);
      this.#host.call(this.id, 'proxy_on_log', this.id);
      this.#host.call(this.id, 'proxy_on_delete', this.id);
      this.#host.release(this.id);
    });
  }

  // StreamHost

  property(path: string): string | Buffer | undefined {
    return this.#options.properties[path];
  }

  map(): undefined {
    return undefined;
  }

  buffer(type: number): { bytes: Buffer } | undefined {
    if (type === UPSTREAM_DATA) return this.#write;
    if (type !== DOWNSTREAM_DATA || !this.#writable) return undefined;
    const [read, watermarks] = [this.#read, () => this.#watermarks()];
    return {
      get bytes() {
        return read.bytes;
      },
      set bytes(bytes: Buffer) {
        read.bytes = bytes;
        watermarks();
      },
    };
  }

  sendLocalResponse(): void {
    throw new Error('a local response of a connection');
  }

  continueStream(type: number): void {
    if (type !== DOWNSTREAM) throw new Error('only the client’s bytes can be continued');
    if (!this.closed && (this.#read.bytes.length > 0 || this.#endRead)) this.#pass();
  }

  closeStream(type: number): void {
    if (type !== DOWNSTREAM) throw new Error('only the client’s side is closed');
    this.#close(1);
  }
}
