/**
 * The gRPC service sluice.tap.v1.Tap over a sink: framing, order, acknowledgement, back-pressure. A peer that breaks the protocol loses its own stream, with a
 * status that says why, and nothing else.
 */
import { type handleBidiStreamingCall, type ServerDuplexStream, type ServiceDefinition, status } from '@grpc/grpc-js';
import { decodeEmitRequest, encodeEmitResponse } from './event.ts';
import { type Attachment, type Sink, SinkError, type SinkErrorCode } from './sink.ts';
import { WireError } from './wire.ts';

export interface TapServiceOptions {
  /** Bytes of one stream that may wait for the disk before no more is read from it. Default 1 MiB. */
  readonly maxWaitingBytes?: number;
  /** Streams at once. Default 1,024. */
  readonly maxStreams?: number;
  /** Told when a stream ends by an error: for the logger and for counting. */
  readonly onRefused?: (error: SinkError, peer: string) => void;
}

/** What a peer is told by each. */
export const STATUS: Readonly<Record<SinkErrorCode, status>> = {
  unavailable: status.UNAVAILABLE,
  unreadable: status.UNAVAILABLE,
  malformed: status.INVALID_ARGUMENT,
  gap: status.OUT_OF_RANGE,
  superseded: status.ABORTED,
  too_many: status.RESOURCE_EXHAUSTED,
};

/** What a stream may be refused for. */
export const REFUSALS = Object.keys(STATUS) as readonly SinkErrorCode[];

type Stream = ServerDuplexStream<Buffer, number>;

export interface TapService {
  readonly definition: ServiceDefinition;
  readonly implementation: { readonly Emit: handleBidiStreamingCall<Buffer, number> };
  /** How many streams were ended by an error, by its code. */
  readonly refused: Partial<Record<SinkErrorCode, number>>;
}

const definition: ServiceDefinition = {
  Emit: {
    path: '/sluice.tap.v1.Tap/Emit',
    requestStream: true,
    responseStream: true,
    // Read in the handler: an error here would end the stream without a word of what was wrong.
    requestDeserialize: (bytes: Buffer) => bytes,
    requestSerialize: (bytes: Buffer) => bytes,
    responseSerialize: encodeEmitResponse,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};

/** One emitter's stream, from its hello to its end. */
class EmitterStream {
  readonly #sink: Sink;
  readonly #call: Stream;
  readonly #maxWaitingBytes: number;
  readonly #onEnd: (error?: SinkError) => void;
  #attachment: Attachment | undefined;
  /** Lower than any: the answer to the hello goes out whatever it says. */
  #acknowledged = -1;
  #halfClosed = false;
  #ended = false;

  constructor(sink: Sink, call: Stream, maxWaitingBytes: number, onEnd: (error?: SinkError) => void) {
    this.#sink = sink;
    this.#call = call;
    this.#maxWaitingBytes = maxWaitingBytes;
    this.#onEnd = onEnd;
    call.on('data', (message: Buffer) => this.#receive(message));
    call.on('end', () => {
      this.#halfClosed = true;
      this.#finish();
    });
    call.on('cancelled', () => this.end());
    call.on('error', () => this.end());
    call.on('close', () => this.end());
  }

  /** Ends the stream: with `error` when it was ours to end. */
  end(error?: SinkError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#attachment?.detach();
    this.#onEnd(error);
    if (error === undefined) return;
    this.#call.resume();
    this.#call.emit('error', { code: STATUS[error.code], details: `${error.code}: ${error.message}` });
  }

  #receive(message: Buffer): void {
    if (this.#ended) return;
    try {
      this.#take(message);
    } catch (error) {
      if (error instanceof SinkError) this.end(error);
      else if (error instanceof WireError) this.end(new SinkError('malformed', error.message, error));
      else throw error;
    }
  }

  #take(message: Buffer): void {
    const request = decodeEmitRequest(message);
    if (request.kind === 'hello') {
      if (this.#attachment !== undefined) throw new SinkError('malformed', 'a second hello');
      this.#attachment = this.#sink.attach(request, {
        acknowledge: (sequence) => this.#acknowledge(sequence),
        close: (error) => this.end(error),
      });
      return;
    }
    if (this.#attachment === undefined) throw new SinkError('malformed', 'an event before the hello');
    for (const bytes of request.events) this.#attachment.accept(bytes);
    if (this.#attachment.waiting > this.#maxWaitingBytes) this.#call.pause();
  }

  #acknowledge(sequence: number): void {
    if (this.#ended) return;
    if (sequence > this.#acknowledged) {
      this.#acknowledged = sequence;
      this.#call.write(sequence);
    }
    if (this.#call.isPaused() && (this.#attachment?.waiting ?? 0) <= this.#maxWaitingBytes / 2) this.#call.resume();
    this.#finish();
  }

  /** The emitter has said all: the stream ends when all of it is acknowledged. */
  #finish(): void {
    if (!this.#halfClosed || this.#ended || (this.#attachment?.waiting ?? 0) > 0) return;
    this.end();
    this.#call.end();
  }
}

/** What to add to a `Server`: `server.addService(definition, implementation)`. */
export const tapService = (sink: Sink, { maxWaitingBytes = 1 << 20, maxStreams = 1024, onRefused }: TapServiceOptions = {}): TapService => {
  let streams = 0;
  const refused: TapService['refused'] = {};
  return {
    definition,
    refused,
    implementation: {
      Emit: (call) => {
        const peer = call.getPeer();
        streams += 1;
        const stream = new EmitterStream(sink, call, maxWaitingBytes, (error) => {
          streams -= 1;
          if (error === undefined) return;
          refused[error.code] = (refused[error.code] ?? 0) + 1;
          onRefused?.(error, peer);
        });
        if (streams > maxStreams) stream.end(new SinkError('too_many', `${maxStreams} streams are open already`));
      },
    },
  };
};
