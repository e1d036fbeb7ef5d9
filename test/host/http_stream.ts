/** One HTTP exchange through the filter, as Envoy's filter manager carries it (source/common/http/filter_manager.cc, with this filter alone in the chain). */
import { type Headers, headerValue } from './pairs.ts';
import type { StreamHost, WasmHost } from './wasm_host.ts';

const CONTINUE = 0;
const STOP_AND_BUFFER = 1;
const REQUEST_HEADERS = 0;
const REQUEST_TRAILERS = 1;
const RESPONSE_HEADERS = 2;
const RESPONSE_TRAILERS = 3;
const REQUEST_BODY = 0;
const RESPONSE_BODY = 1;

export interface LocalReply {
  readonly status: number;
  readonly details: string;
}

export interface HttpStreamOptions {
  /** Dynamic metadata of ext_authz: what its answer says of this request. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** After the filter's answer or reset, what the target still sends is shown to the filter, as Envoy might; nothing of it may go on. */
  readonly lingers?: boolean;
}

export class HttpStream implements StreamHost {
  readonly id: number;
  /** What the target gets. */
  readonly upstream: { headers: Headers | undefined; body: Buffer[]; trailers: Headers | undefined } = {
    headers: undefined,
    body: [],
    trailers: undefined,
  };
  /** What the client gets. */
  readonly downstream: { headers: Headers | undefined; body: Buffer[]; trailers: Headers | undefined; ended: boolean; reset: boolean } = {
    headers: undefined,
    body: [],
    trailers: undefined,
    ended: false,
    reset: false,
  };
  localReply: LocalReply | undefined;
  /** Response bytes that the filter left in a buffer which it told Envoy to drop; Envoy does not promise to. */
  leftBehind = 0;

  readonly #host: WasmHost;
  readonly #metadata: Readonly<Record<string, string>>;
  readonly #lingers: boolean;
  #details = 'via_upstream';
  #maps: Partial<Record<number, Headers>> = {};
  #requestBody: { bytes: Buffer } | undefined;
  #responseBody: { bytes: Buffer } | undefined;
  /** Envoy's buffer of what the filter stopped with "and buffer". */
  #held: { bytes: Buffer } | undefined;
  #buffering = false;
  #requestStopped = false;
  #waitingBody: [Buffer, boolean][] = [];
  #responseSeen = false;
  #headersStopped: Headers | undefined;
  #aborted = false;
  #finished = false;

  constructor(host: WasmHost, id: number, { metadata = {}, lingers = false }: HttpStreamOptions) {
    this.#host = host;
    this.id = id;
    this.#metadata = metadata;
    this.#lingers = lingers;
  }

  static open(host: WasmHost, options: HttpStreamOptions = {}): HttpStream {
    let stream: HttpStream | undefined;
    host.adopt((id) => {
      stream = new HttpStream(host, id, options);
      return stream;
    });
    return stream as unknown as HttpStream;
  }

  get status(): number {
    return Number(headerValue(this.downstream.headers ?? [], ':status') ?? 0);
  }

  get body(): Buffer {
    return Buffer.concat(this.downstream.body);
  }

  get over(): boolean {
    return this.#finished;
  }

  // Events of the wire

  requestHeaders(headers: Headers, end = true): this {
    this.#host.call(this.id, 'proxy_on_context_create', this.id, this.#host.rootId);
    this.#maps[REQUEST_HEADERS] = headers;
    const { value, answered } = this.#host.callFilter(this.id, 'proxy_on_request_headers', this.id, headers.length, Number(end));
    if (answered || this.#finished) return this;
    if (value === CONTINUE) this.#forward(headers);
    else this.#requestStopped = true;
    return this;
  }

  requestBody(bytes: Buffer, end = false): this {
    if (this.#finished || this.localReply) return this;
    if (this.#requestStopped) {
      this.#waitingBody.push([bytes, end]);
      return this;
    }
    this.#requestBody = { bytes };
    const { value } = this.#host.callFilter(this.id, 'proxy_on_request_body', this.id, bytes.length, Number(end));
    if (value !== CONTINUE) throw new Error('holding request bodies is not emulated');
    this.upstream.body.push(this.#requestBody.bytes);
    this.#requestBody = undefined;
    return this;
  }

  /** Ends a request that is under way. */
  requestTrailers(trailers: Headers): this {
    this.#maps[REQUEST_TRAILERS] = trailers;
    const { value } = this.#host.callFilter(this.id, 'proxy_on_request_trailers', this.id, trailers.length);
    if (value !== CONTINUE) throw new Error('the filter stopped the trailers of the request');
    this.upstream.trailers = trailers;
    return this;
  }

  responseHeaders(headers: Headers, end = false): this {
    if (this.#finished || this.#aborted) return this;
    this.#responseSeen = true;
    this.#maps[RESPONSE_HEADERS] = headers;
    const { value, answered } = this.#host.callFilter(this.id, 'proxy_on_response_headers', this.id, headers.length, Number(end));
    if (answered || this.#aborted || this.#finished) return this;
    if (value === CONTINUE) {
      delete this.#maps[RESPONSE_HEADERS];
      this.#sendHeaders(headers, end);
    } else if (value === 1 && !end) this.#headersStopped = headers;
    else throw new Error(`response headers stopped with ${value}, end ${end}: nothing would go on`);
    return this;
  }

  responseBody(bytes: Buffer, end = false): this {
    if (this.#aborted && !this.#finished) return this.#late(bytes, end);
    if (this.#finished || this.#aborted) return this;
    if (this.#buffering && this.#held) this.#held.bytes = Buffer.concat([this.#held.bytes, bytes]);
    else this.#responseBody = { bytes };
    const buffered = this.#buffering;
    const size = (buffered ? this.#held : this.#responseBody)?.bytes.length ?? 0;
    const { value, answered } = this.#host.callFilter(this.id, 'proxy_on_response_body', this.id, size, Number(end));
    const own = this.#responseBody;
    this.#responseBody = undefined;
    this.#buffering = false;
    if (answered || this.#aborted || this.#finished) {
      this.leftBehind += (own ?? this.#held)?.bytes.length ?? 0;
      return this;
    }
    if (value === CONTINUE) {
      const out = Buffer.concat([this.#held?.bytes ?? Buffer.alloc(0), own?.bytes ?? Buffer.alloc(0)]);
      this.#held = undefined;
      this.#releaseHeaders();
      this.#sendData(out, end);
    } else if (end) throw new Error('the filter stopped the end of the body');
    else if (value === STOP_AND_BUFFER) {
      this.#buffering = true;
      this.#held = { bytes: Buffer.concat([this.#held?.bytes ?? Buffer.alloc(0), own?.bytes ?? Buffer.alloc(0)]) };
    } else this.leftBehind += own?.bytes.length ?? 0;
    return this;
  }

  /** Body after the end: the filter must drop it. */
  #late(bytes: Buffer, end: boolean): this {
    this.#buffering = false;
    this.#responseBody = { bytes };
    const { value } = this.#host.callFilter(this.id, 'proxy_on_response_body', this.id, bytes.length, Number(end));
    if (value === CONTINUE || value === STOP_AND_BUFFER) throw new Error('bytes after the end were let through');
    this.leftBehind += this.#responseBody.bytes.length;
    this.#responseBody = undefined;
    return this;
  }

  responseTrailers(trailers: Headers): this {
    if (this.#finished || this.#aborted) return this;
    this.#maps[RESPONSE_TRAILERS] = trailers;
    const { value, answered } = this.#host.callFilter(this.id, 'proxy_on_response_trailers', this.id, trailers.length);
    if (answered || this.#aborted || this.#finished) return this;
    if (value !== CONTINUE) throw new Error('the filter stopped the trailers and did nothing');
    this.#releaseHeaders();
    if (this.#held?.bytes.length) this.#sendData(this.#held.bytes, false);
    this.downstream.trailers = trailers;
    this.#end();
    return this;
  }

  /** A peer goes away, or Envoy gives up: nothing more comes. */
  reset(details: string): this {
    if (this.#finished) return this;
    this.#details = details;
    this.downstream.reset = true;
    this.finish();
    return this;
  }

  /** An answer of another part of Envoy, through this filter: a time-out, no upstream. */
  envoyReply(status: number, body: string, details: string, contentType = 'text/plain'): this {
    this.#details = details;
    this.localReply = { status, details };
    this.responseHeaders(
      [
        [':status', String(status)],
        ['content-type', contentType],
        ['content-length', String(body.length)],
      ],
      body === '',
    );
    if (body !== '') this.responseBody(Buffer.from(body), true);
    return this;
  }

  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#host.call(this.id, 'proxy_on_log', this.id);
    this.#host.call(this.id, 'proxy_on_done', this.id);
    this.#host.call(this.id, 'proxy_on_delete', this.id);
    this.#host.release(this.id);
  }

  #forward(headers: Headers): void {
    delete this.#maps[REQUEST_HEADERS];
    this.upstream.headers = headers;
  }

  #sendHeaders(headers: Headers, end: boolean): void {
    this.downstream.headers = headers;
    if (end) this.#end();
  }

  #releaseHeaders(): void {
    if (this.#headersStopped) this.#sendHeaders(this.#headersStopped, false);
    this.#headersStopped = undefined;
    delete this.#maps[RESPONSE_HEADERS];
  }

  #sendData(bytes: Buffer, end: boolean): void {
    if (this.downstream.headers === undefined) throw new Error('a body before its headers');
    this.downstream.body.push(bytes);
    if (end) this.#end();
  }

  #end(): void {
    this.downstream.ended = true;
    this.finish();
  }

  // StreamHost

  property(path: string): string | undefined {
    const prefix = 'metadata\0filter_metadata\0envoy.filters.http.ext_authz\0';
    if (path.startsWith(prefix)) return this.#metadata[path.slice(prefix.length)];
    return path === 'response\0code_details' ? this.#details : undefined;
  }

  map(type: number): Headers | undefined {
    return this.#maps[type];
  }

  buffer(type: number): { bytes: Buffer } | undefined {
    if (type === REQUEST_BODY) return this.#requestBody;
    return type === RESPONSE_BODY ? (this.#buffering ? this.#held : this.#responseBody) : undefined;
  }

  sendLocalResponse(status: number, details: string, body: Buffer, headers: Headers): void {
    this.#host.afterCall(() => {
      if (this.#finished) return;
      this.#details = details;
      this.localReply = { status, details };
      this.#requestStopped = false;
      const reply: Headers = [[':status', String(status)], ...headers, ['content-length', String(body.length)]];
      if (!this.#responseSeen) {
        // Through the filters: those that saw the request see its answer too.
        this.responseHeaders(reply, body.length === 0);
        if (body.length > 0) this.responseBody(body, true);
      } else if (this.downstream.headers === undefined) {
        this.#aborted = true;
        this.#headersStopped = undefined;
        this.downstream.headers = reply;
        this.downstream.body.push(body);
        this.downstream.ended = true;
        if (!this.#lingers) this.finish();
      } else this.reset(details);
    });
  }

  continueStream(type: number): void {
    if (type !== 0) throw new Error('continuing responses is not emulated');
    const headers = this.#maps[REQUEST_HEADERS];
    delete this.#maps[REQUEST_HEADERS];
    this.#host.afterCall(() => {
      if (this.#finished || !this.#requestStopped) return;
      this.#requestStopped = false;
      this.#forward(headers ?? []);
      for (const [bytes, end] of this.#waitingBody.splice(0)) this.requestBody(bytes, end);
    });
  }

  closeStream(type: number): void {
    if (type !== 1) throw new Error('only the response is closed');
    this.#host.afterCall(() => {
      this.#aborted = true;
      if (!this.#finished) this.downstream.reset = true;
      if (!this.#lingers) this.finish();
    });
  }
}
