/**
 * The gRPC service `envoy.service.accesslog.v3.AccessLogService` over a sink, which records what it is told as its own events. Envoy waits for no answer and
 * sends nothing again, so this is beside what the filters tell and never in its place. What waits for the disk is bounded: then the stream is not read on, and
 * Envoy drops what it cannot keep itself.
 */
import type { handleClientStreamingCall, ServerReadableStream, ServiceDefinition } from '@grpc/grpc-js';
import { readAccessLogs } from './access_log.ts';
import { STATUS, type TapService, type TapServiceOptions } from './server.ts';
import { type Sink, SinkError } from './sink.ts';
import { WireError } from './wire.ts';

export interface AccessLogService extends Pick<TapService, 'refused'> {
  readonly definition: ServiceDefinition;
  readonly implementation: { readonly StreamAccessLogs: handleClientStreamingCall<Buffer, Buffer> };
}

const definition: ServiceDefinition = {
  StreamAccessLogs: {
    path: '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs',
    requestStream: true,
    responseStream: false,
    requestDeserialize: (bytes: Buffer) => bytes,
    requestSerialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};

/** @param mask masks what looks sensitive in a text */
export function accessLogService(
  sink: Pick<Sink, 'append'>,
  mask: (text: string) => string,
  { maxWaitingBytes = 1 << 20, maxStreams = 1024, onRefused }: TapServiceOptions = {},
): AccessLogService {
  let streams = 0;
  const refused: AccessLogService['refused'] = {};

  const serve = (call: ServerReadableStream<Buffer, Buffer>, done: (error?: SinkError) => void): ((error?: SinkError) => void) => {
    let log = '';
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
      else end(new SinkError('unavailable', 'the entries cannot be recorded', error));
    };
    const take = async (message: Buffer): Promise<void> => {
      const read = readAccessLogs(message, log, mask);
      log = read.log;
      waiting += message.length;
      if (waiting > maxWaitingBytes) call.pause();
      try {
        await sink.append(read.events);
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

  return {
    definition,
    refused,
    implementation: {
      StreamAccessLogs: (call, answer) => {
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
