/** A client of the admin API, over its Unix socket or TCP. */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { printable } from '../replay/printable.ts';
import { CommandError } from './command.ts';
import type { AdminPlace } from './place.ts';

const TIMEOUT_MS = 30_000;

export interface AdminClient {
  get(path: string, query?: Readonly<Record<string, string | undefined>>): Promise<unknown>;
  post(path: string, body: object): Promise<unknown>;
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** Every method throws a `CommandError` that says what the API answered, or why it did not. */
export function adminClient(place: AdminPlace, token: string): AdminClient {
  const call = async (method: 'GET' | 'POST', path: string, body?: object): Promise<unknown> => {
    const { status, body: answered } = await exchange(place, method, path, token, body);
    const json = parse(answered);
    if (status >= 200 && status < 300 && json !== undefined) return json;
    throw refusal(status, json);
  };
  return {
    get: (path, query = {}) => {
      const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined);
      return call('GET', given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`);
    },
    post: (path, body) => call('POST', path, body),
  };
}

function exchange(place: AdminPlace, method: string, path: string, token: string, body?: object): Promise<Reply> {
  const sent = body === undefined ? '' : JSON.stringify(body);
  const headers = {
    authorization: `Bearer ${token}`,
    accept: 'application/json',
    ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) }),
  };
  return new Promise((settle, fail) => {
    const options = { method, headers, timeout: TIMEOUT_MS };
    const request =
      place.kind === 'socket'
        ? httpRequest({ ...options, socketPath: place.path, path })
        : (place.url.protocol === 'https:' ? httpsRequest : httpRequest)(new URL(path, place.url), options);
    request.once('timeout', () => request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    request.once('error', (error: NodeJS.ErrnoException) => fail(unreachable(place, error)));
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', (error) => fail(unreachable(place, error)));
      response.once('end', () => settle({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    request.end(sent);
  });
}

function unreachable(place: AdminPlace, { code, message }: NodeJS.ErrnoException): CommandError {
  const where = place.kind === 'socket' ? place.path : place.url.origin;
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new CommandError(
      `The service does not run: nobody listens at ${where}.\nStart it with npm start or ./sluice up; or name the gateway with --config or --admin.`,
    );
  if (code === 'EACCES') return new CommandError(`${where} may not be used by this user: the service runs as another one.`);
  return new CommandError(`The admin API at ${where} cannot be reached: ${message}`);
}

const parse = (body: string): unknown => {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
};

function refusal(status: number, json: unknown): CommandError {
  const { detail, title } = (typeof json === 'object' && json !== null ? json : {}) as { detail?: unknown; title?: unknown };
  const said = printable(String(detail ?? title ?? `The admin API answered with status ${status}.`));
  return status === 401 ? new CommandError(`${said}\nLog in again: ./sluice login`, 3) : new CommandError(said);
}
