/** A closed loop of Checks over one HTTP/2 connection, as Envoy's worker has one. Without a gRPC library: the load generator must not be the slower side. */
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';

export interface Load {
  readonly checks: number;
  readonly seconds: number;
  /** Milliseconds, ascending. */
  readonly latencies: Float64Array;
}

export async function openLoad(socket: string): Promise<ClientHttp2Session> {
  const session = connect('http://localhost', { createConnection: () => connectSocket(socket), settings: { initialWindowSize: 1 << 20 } });
  await new Promise<void>((resolve, reject) => session.once('connect', () => resolve()).once('error', reject));
  return session;
}

const HEADERS = {
  [constants.HTTP2_HEADER_METHOD]: 'POST',
  [constants.HTTP2_HEADER_PATH]: '/envoy.service.auth.v3.Authorization/Check',
  'content-type': 'application/grpc',
  te: 'trailers',
  'grpc-timeout': '60000m',
};

/** One Check. @returns the message of its answer @throws {Error} when the call fails */
export function checkOnce(session: ClientHttp2Session, frame: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(HEADERS);
    const chunks: Buffer[] = [];
    let status: unknown;
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('trailers', (trailers) => (status = trailers['grpc-status']));
    stream.on('error', reject);
    stream.on('close', () => (status === '0' ? resolve(Buffer.concat(chunks).subarray(5)) : reject(new Error(`grpc-status ${status}`))));
    stream.end(frame);
  });
}

/** Keeps `inFlight` Checks under way until `next` has no more frames. @throws {Error} at the first answer that does not let through */
export async function drive(session: ClientHttp2Session, inFlight: number, next: () => Buffer | undefined): Promise<Load> {
  const latencies: number[] = [];
  const since = performance.now();
  const one = async (): Promise<void> => {
    for (let frame = next(); frame; frame = next()) {
      const sent = performance.now();
      const answer = await checkOnce(session, frame);
      latencies.push(performance.now() - sent);
      if (!letsThrough(answer)) throw new Error(`a Check was turned away: ${answer.toString('latin1')}`);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return { checks: latencies.length, seconds: (performance.now() - since) / 1000, latencies: Float64Array.from(latencies).sort() };
}

const letsThrough = (answer: Buffer): boolean => answer.includes('session') && !answer.includes('urn:sluice:problem');

/** Frames until `seconds` have passed. */
export function during(seconds: number, frame: Buffer): () => Buffer | undefined {
  const end = performance.now() + seconds * 1000;
  return () => (performance.now() < end ? frame : undefined);
}

export function times(count: number, frame: Buffer): () => Buffer | undefined {
  let left = count;
  return () => (left-- > 0 ? frame : undefined);
}
