/** Places that take events by HTTP: what they have in common. What is sent, and what an answer means, is a row for each kind of place. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { away, type Destination, type Outcome, refused, TAKEN } from './destination.ts';
import type { Message } from './format.ts';
import type { Credential, TlsFiles } from './secrets.ts';

export interface HttpPlace {
  readonly url: string;
  /** Read for each request: a rotated secret counts at once. Throws when it cannot be had. */
  readonly headers: Credential;
  readonly tls: TlsFiles;
  readonly timeoutMs: number;
  readonly gzip: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type Post = (
  path: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
) => Promise<Answer | Outcome>;

export interface HttpKind {
  /** Below the URL of the place. */
  readonly path: string;
  readonly contentType: string;
  readonly headers?: (messages: readonly Message[]) => Readonly<Record<string, string>>;
  encode(messages: readonly Message[]): string;
  /** What an answer with a status of success says; the others mean the same everywhere. */
  accepted?(answer: Answer, messages: readonly Message[], post: Post, signal: AbortSignal): Outcome | Promise<Outcome>;
  /** What this kind of place says with another status, where it differs. */
  otherwise?(answer: Answer, messages: readonly Message[]): Outcome | undefined;
}

const zipped = promisify(gzip);
const MAX_ANSWER = 8 * 1024 * 1024;
const MAX_RETRY_AFTER_MS = 300_000;

/** About what was sent, and not about who sent it, or when: trying again would not help. */
const ABOUT_THE_CONTENT = new Set([400, 413, 414, 415, 422]);

const retryAfterMs = ({ headers }: Answer): number | undefined => {
  const said = headers['retry-after'];
  if (said === undefined) return undefined;
  const ms = /^\d+$/.test(said) ? Number(said) * 1000 : Date.parse(said) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
};

/** What an answer says for people: one line, cut. A receiver that echoes what it was sent does not fill the log with it. */
const said = ({ status, body }: Answer): string => `${status} ${body.replaceAll(/\s+/g, ' ').slice(0, 200)}`.trim();

export const isAnswer = (answered: Answer | Outcome): answered is Answer => 'status' in answered;

export class HttpDestination implements Destination {
  readonly #place: HttpPlace;
  readonly #kind: HttpKind;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(place: HttpPlace, kind: HttpKind) {
    this.#place = place;
    this.#kind = kind;
    const secure = place.url.startsWith('https:');
    this.#agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1, timeout: place.timeoutMs });
  }

  async send(messages: readonly Message[], signal: AbortSignal): Promise<Outcome> {
    const kind = this.#kind;
    const headers = { 'content-type': kind.contentType, ...kind.headers?.(messages) };
    const answer = await this.#post(kind.path, headers, kind.encode(messages), signal);
    if (!isAnswer(answer)) return answer;
    const { status } = answer;
    if (status >= 200 && status < 300) return kind.accepted ? kind.accepted(answer, messages, (...of) => this.#post(...of), signal) : TAKEN;
    const otherwise = kind.otherwise?.(answer, messages);
    if (otherwise) return otherwise;
    return ABOUT_THE_CONTENT.has(status) ? refused(said(answer)) : away(said(answer), retryAfterMs(answer));
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  async #post(path: string, headers: Readonly<Record<string, string>>, text: string, signal: AbortSignal): Promise<Answer | Outcome> {
    const { url, timeoutMs, tls } = this.#place;
    try {
      const body = this.#place.gzip ? await zipped(text) : Buffer.from(text);
      const target = new URL(`${url.replace(/\/$/, '')}${path}`);
      const all = {
        ...headers,
        ...(this.#place.gzip && { 'content-encoding': 'gzip' }),
        ...this.#place.headers(),
        'content-length': String(body.length),
      };
      const options = {
        method: 'POST',
        headers: all,
        agent: this.#agent,
        signal,
        timeout: timeoutMs,
        ...(target.protocol === 'https:' && tls()),
      };
      return await new Promise<Answer>((resolve, reject) => {
        const request = (target.protocol === 'https:' ? httpsRequest : httpRequest)(target, options);
        // Of the whole exchange: a receiver that sends a byte now and then is away, too.
        const late = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        request.once('close', () => clearTimeout(late));
        request.once('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
        request.once('error', reject);
        request.once('response', (response) => collect(response).then((body) => resolve({ ...heading(response), body }), reject));
        request.end(body);
      });
    } catch (error) {
      return away((error as Error).message);
    }
  }
}

const heading = ({ statusCode = 0, headers }: IncomingMessage): Omit<Answer, 'body'> => ({ status: statusCode, headers });

async function collect(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw new Error(`an answer of more than ${MAX_ANSWER} bytes`);
    chunks.push(chunk);
  }
  if (!response.complete) throw new Error('the answer broke off');
  return Buffer.concat(chunks).toString();
}

/** The JSON of an answer, or undefined: what a receiver says may be anything. */
export const jsonOf = (answer: Answer): unknown => {
  try {
    return JSON.parse(answer.body);
  } catch {
    return undefined;
  }
};
