/** One call of an object store over HTTP: bounded in time and size, tried again where that can help, and never more than a few at once. */
import { Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from './object_store.ts';

export interface Call {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export interface Answer {
  readonly status: number;
  /** Names in lower case; of a header that came twice, all values. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

export interface CallerOptions {
  /** CA certificates, PEM. Default: those of Node. */
  readonly ca?: string | Buffer;
  /** From the start of one attempt to the end of its answer. Milliseconds, default 30,000. */
  readonly timeoutMs?: number;
  /** How often a call is tried. Default 5. */
  readonly attempts?: number;
  /** Before the second attempt, at most; doubled for each further one, up to 20 s. Milliseconds, default 200. */
  readonly firstWaitMs?: number;
  /** Calls under way at once. Default 4. */
  readonly concurrency?: number;
  /** Default 64 MiB. */
  readonly maxAnswerBytes?: number;
  /** Told what time it is where an answer comes from, Unix milliseconds. */
  readonly onDate?: ((unixMs: number) => void) | undefined;
}

/**
 * Sends what `prepare` makes, anew for each attempt: signatures carry the time. Resolves to the answer whatever its status, but those that ask to come
 * again (429, 5xx and lost connections) only when the last attempt gave one. Rejects with a `StorageError` (`unavailable`).
 */
export type Caller = (prepare: () => Call | Promise<Call>, signal?: AbortSignal) => Promise<Answer>;

const MAX_WAIT_MS = 20_000;
const again = (status: number): boolean => status === 429 || status === 408 || (status >= 500 && status !== 501);

export const caller = (options: CallerOptions = {}): Caller & { close(): void } => {
  const { ca, timeoutMs = 30_000, attempts = 5, firstWaitMs = 200, concurrency = 4, maxAnswerBytes = 64 << 20, onDate } = options;
  const sockets = { keepAlive: true, maxSockets: concurrency, timeout: timeoutMs };
  const plain = new PlainAgent(sockets);
  const tls = new TlsAgent({ ...sockets, ...(ca !== undefined && { ca }) });
  const closed = new AbortController();

  const send = ({ method, url, headers, body }: Call, signal: AbortSignal | undefined): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:';
      const limit = AbortSignal.timeout(timeoutMs);
      const request = (secure ? tlsRequest : plainRequest)(url, {
        method,
        agent: secure ? tls : plain,
        headers: { ...headers, ...(body !== undefined && { 'content-length': body.length }) },
        signal: AbortSignal.any([closed.signal, limit, ...(signal === undefined ? [] : [signal])]),
      });
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size <= maxAnswerBytes) return void chunks.push(chunk);
          reject(new Error(`an answer of more than ${maxAnswerBytes} bytes`));
          request.destroy();
        });
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode: status = 0, headers: found } = response;
          const flat = Object.fromEntries(
            Object.entries(found).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
          );
          if (response.complete) resolve({ status, headers: flat, body: Buffer.concat(chunks) });
          else reject(new Error('the answer broke off'));
        });
      });
      request.on('error', (error) => reject(limit.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error));
      request.end(body);
    });

  const call: Caller = async (prepare, signal) => {
    for (let attempt = 1; ; attempt += 1) {
      const prepared = await prepare();
      const outcome = await send(prepared, signal).catch((error: Error) => error);
      signal?.throwIfAborted();
      const failed = outcome instanceof Error;
      const date = failed ? Number.NaN : Date.parse(outcome.headers.date ?? '');
      if (!Number.isNaN(date)) onDate?.(date);
      if (!failed && !again(outcome.status)) return outcome;
      if (attempt >= attempts || closed.signal.aborted) {
        if (!failed) return outcome;
        const { code, message } = outcome as NodeJS.ErrnoException;
        throw new StorageError('unavailable', `${prepared.url.origin} cannot be reached: ${message || code}`, outcome);
      }
      const asked = failed ? 0 : 1000 * Number(outcome.headers['retry-after'] ?? 0) || 0;
      const wait = Math.random() * firstWaitMs * 2 ** (attempt - 1);
      const given = AbortSignal.any([closed.signal, ...(signal === undefined ? [] : [signal])]);
      await sleep(Math.min(MAX_WAIT_MS, Math.max(asked, wait)), undefined, { signal: given }).catch(() => signal?.throwIfAborted());
    }
  };
  return Object.assign(call, {
    /** What is under way is broken off. */
    close: () => {
      closed.abort();
      plain.destroy();
      tls.destroy();
    },
  });
};
