/** The sink's side of the tap's stream, for filters in the emulator: decodes what they send, and acknowledges when told to. */
import protobuf from 'protobufjs';
import type { GrpcStream, WasmHost } from './wasm_host.ts';

const root = protobuf.loadSync(new URL('../../proto/sluice/tap/v1/tap.proto', import.meta.url).pathname);
const EmitRequest = root.lookupType('sluice.tap.v1.EmitRequest');
const EmitResponse = root.lookupType('sluice.tap.v1.EmitResponse');

export interface TapEvent {
  readonly emitter: string;
  readonly sequence: number;
  readonly session?: string;
  readonly target?: string;
  readonly time_unix_nanos: string;
  readonly request_forwarded?: object;
  readonly response_finished?: {
    readonly outcome: string;
    readonly status?: number;
    readonly request_bytes?: number;
    readonly response_bytes?: number;
    readonly duration_micros?: number;
    readonly first_byte_micros?: number;
    readonly masked?: { readonly rule: string; readonly count: number }[];
    readonly reason?: string;
  };
  readonly session_closed?: { readonly outcome: string };
  readonly command?: number;
  readonly payload_chunk?: PayloadChunk;
  readonly notice?: { readonly kind: string; readonly text: string };
}

export interface PayloadChunk {
  /** 1 request, 2 response. */
  readonly direction: number;
  readonly offset?: number;
  readonly data?: Buffer;
  readonly last?: boolean;
  readonly truncated?: boolean;
  readonly content_type?: string;
  readonly content_encoding?: string;
  readonly reason?: string;
}

/** One recorded body: its chunks put together. */
export interface Recorded {
  readonly bytes: Buffer;
  readonly chunks: number;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly last: boolean;
  readonly truncated: boolean;
  readonly reason: string;
}

interface Message {
  readonly hello?: { readonly emitter: string; readonly software: string; readonly first_sequence: number };
  readonly events?: readonly TapEvent[];
}

function decode(bytes: Buffer): Message {
  const message = EmitRequest.toObject(EmitRequest.decode(bytes), { longs: Number, bytes: Buffer });
  const snake = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(snake)
      : typeof value === 'object' && value !== null && !Buffer.isBuffer(value)
        ? Object.fromEntries(
            Object.entries(value).map(([key, inner]) => [key.replaceAll(/[A-Z]/g, (c) => `_${c.toLowerCase()}`), snake(inner)]),
          )
        : value;
  return snake(message) as Message;
}

export class TapSink {
  /** The record: each event once, in the order of its sequence. */
  readonly events: TapEvent[] = [];
  /** Events that came again. */
  duplicates = 0;
  readonly hellos: NonNullable<Message['hello']>[] = [];
  /** Whether a hello is answered at once, as well as events. */
  answersHello = true;
  /** Acknowledges nothing while false. */
  acknowledges = true;
  readonly #host: WasmHost;

  constructor(host: WasmHost) {
    this.#host = host;
  }

  /** Reads all that was sent, acknowledges it, until nothing new comes. */
  deliver(): void {
    for (let stream = this.#host.grpcStream; stream; ) {
      const messages = stream.messages.splice(0);
      if (messages.length === 0) return;
      const hello = messages.map(decode).filter((message) => this.#take(message)).length > 0;
      if (this.acknowledges && (this.answersHello || !hello || messages.length > 1)) this.acknowledge(stream, this.last);
      stream = this.#host.grpcStream;
    }
  }

  get last(): number {
    return this.events.at(-1)?.sequence ?? 0;
  }

  acknowledge(stream: GrpcStream, sequence: number): void {
    this.#host.grpcReceive(stream, Buffer.from(EmitResponse.encode({ acknowledged: sequence }).finish()));
  }

  /** Lets time pass, and delivers after each tick. */
  run(millis: number): void {
    for (let passed = 0; passed < millis; passed += 50) {
      this.#host.advance(50);
      this.deliver();
    }
  }

  of(session: string): TapEvent[] {
    return this.events.filter((event) => event.session === session);
  }

  /** The bodies that are recorded of a session, in order; throws where a chunk does not follow the one before it. */
  recorded(session: string, direction: 'request' | 'response', command = 0): Recorded[] {
    const bodies: { parts: Buffer[]; at: number; first: PayloadChunk; end: PayloadChunk; chunks: number }[] = [];
    for (const { payload_chunk: chunk, command: of = 0 } of this.of(session)) {
      if (!chunk || of !== command || chunk.direction !== (direction === 'request' ? 1 : 2)) continue;
      const { offset = 0, data = Buffer.alloc(0) } = chunk;
      let body = bodies.at(-1);
      if (!body || body.end.last || body.end.truncated) {
        if (offset !== 0) throw new Error(`a body begins at ${offset}`);
        body = { parts: [], at: 0, first: chunk, end: chunk, chunks: 0 };
        bodies.push(body);
      }
      if (offset !== body.at) throw new Error(`a chunk at ${offset} after ${body.at} bytes`);
      body.parts.push(data);
      body.at += data.length;
      body.end = chunk;
      body.chunks++;
    }
    return bodies.map(({ parts, first, end, chunks }) => ({
      bytes: Buffer.concat(parts),
      chunks,
      contentType: first.content_type ?? '',
      contentEncoding: first.content_encoding ?? '',
      last: end.last === true,
      truncated: end.truncated === true,
      reason: end.reason ?? '',
    }));
  }

  finished(session: string): NonNullable<TapEvent['response_finished']> {
    const found = this.of(session).flatMap((event) => event.response_finished ?? []);
    if (found.length !== 1) throw new Error(`${found.length} response_finished for ${session}`);
    return found[0] as NonNullable<TapEvent['response_finished']>;
  }

  closed(session: string): string {
    const found = this.of(session).flatMap((event) => event.session_closed ?? []);
    if (found.length !== 1) throw new Error(`${found.length} session_closed for ${session}`);
    return found[0]?.outcome ?? '';
  }

  /** True for a hello. */
  #take({ hello, events = [] }: Message): boolean {
    if (hello) this.hellos.push(hello);
    for (const event of events) {
      if (event.sequence <= this.last) this.duplicates++;
      else if (event.sequence !== this.last + 1) throw new Error(`a gap: ${event.sequence} after ${this.last}`);
      else this.events.push(event);
    }
    return hello !== undefined;
  }
}
