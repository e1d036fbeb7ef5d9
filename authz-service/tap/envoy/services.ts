/**
 * The gRPC services by which Envoy itself tells what it did, `envoy.service.accesslog.v3.AccessLogService` and `envoy.service.tap.v3.TapSinkService`, over a sink,
 * which records what it is told as its own events. Envoy waits for no answer and sends nothing again, so this is beside what the filters tell and never in its
 * place. What waits for the disk is bounded: then the stream is not read on, and Envoy drops what it cannot keep itself.
 */
import type { handleClientStreamingCall, ServerReadableStream, ServiceDefinition } from '@grpc/grpc-js';
import { STATUS, type TapService, type TapServiceOptions } from '../server.ts';
import { type OwnEvent, type Sink, SinkError } from '../sink.ts';
import { WireError } from '../wire.ts';
import { readAccessLogs } from './access_log.ts';
import { readTrace, type Tapped } from './trace.ts';

export interface EnvoyService extends Pick<TapService, 'refused'> {
  readonly definition: ServiceDefinition;
  readonly implementation: Readonly<Record<string, handleClientStreamingCall<Buffer, Buffer>>>;
}

/** Reads the next message of a stream. Throws a `WireError`. */
type ReadNext = (message: Buffer) => readonly OwnEvent[];

/** @param mask masks what looks sensitive in a text */
export const accessLogService = (
  sink: Pick<Sink, 'append'>,
  mask: (text: string) => string,
  options: TapServiceOptions = {},
): EnvoyService =>
  recordingService('envoy.service.accesslog.v3.AccessLogService', 'StreamAccessLogs', sink, options, () => {
    let name = '';
    return (message) => {
      const { log, events } = readAccessLogs(message, name, mask);
      name = log;
      return events;
    };
  });

/** @param mask masks what looks sensitive in a text */
export const tapSinkService = (sink: Pick<Sink, 'append'>, mask: (text: string) => string, options: TapServiceOptions = {}): EnvoyService =>
  recordingService('envoy.service.tap.v3.TapSinkService', 'StreamTaps', sink, options, () => {
    let of: Tapped = { node: '', tap: '' };
    return (message) => {
      const { tapped, events } = readTrace(message, of, mask);
      of = tapped;
      return events;
    };
  });

/** A service whose one method takes a stream of what is to be recorded, and answers once, with nothing. */
function recordingService(
  service: string,
  method: string,
  sink: Pick<Sink, 'append'>,
  { maxWaitingBytes = 1 << 20, maxStreams = 1024, onRefused }: TapServiceOptions,
  newReader: () => ReadNext,
): EnvoyService {
  let streams = 0;
  const refused: EnvoyService['refused'] = {};

  const serve = (call: ServerReadableStream<Buffer, Buffer>, done: (error?: SinkError) => void): ((error?: SinkError) => void) => {
    const next = newReader();
    let waiting = 0;
    let [halfClosed, ended] = [false, false];
    const end = (error?: SinkError): void => {
      if (ended) return;
      ended = true;
      done(error);
      call.resume();
    };
    const finish = (): void => {
      if (halfClosed && waiting === 0) end();
    };
    const refuse = (error: unknown): void => {
      if (error instanceof SinkError) end(error);
      else if (error instanceof WireError) end(new SinkError('malformed', error.message, error));
      else end(new SinkError('unavailable', 'what it tells cannot be recorded', error));
    };
    const take = async (message: Buffer): Promise<void> => {
      const events = next(message);
      waiting += message.length;
      if (waiting > maxWaitingBytes) call.pause();
      try {
        await sink.append(events);
      } finally {
        waiting -= message.length;
        if (call.isPaused() && waiting <= maxWaitingBytes / 2) call.resume();
      }
      finish();
    };
    call.on('data', (message: Buffer) => {
      if (!ended) take(message).catch(refuse);
    });
    call.on('end', () => {
      halfClosed = true;
      finish();
    });
    call.on('cancelled', () => end());
    call.on('error', () => end());
    return end;
  };

  const bytes = (message: Buffer): Buffer => message;
  const definition: ServiceDefinition = {
    [method]: {
      path: `/${service}/${method}`,
      requestStream: true,
      responseStream: false,
      requestDeserialize: bytes,
      requestSerialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  };
  return {
    definition,
    refused,
    implementation: {
      [method]: (call, answer) => {
        const peer = call.getPeer();
        const done = (error?: SinkError): void => {
          streams -= 1;
          if (error === undefined) {
            answer(null, Buffer.alloc(0));
            return;
          }
          refused[error.code] = (refused[error.code] ?? 0) + 1;
          onRefused?.(error, peer);
          answer({ code: STATUS[error.code], details: `${error.code}: ${error.message}` });
        };
        streams += 1;
        const end = serve(call, done);
        if (streams > maxStreams) end(new SinkError('too_many', `${maxStreams} streams are open already`));
      },
    },
  };
}
