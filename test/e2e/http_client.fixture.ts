/** A client for tests: what was answered, bytes as they are, problem details. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { connect } from 'node:net';
import { expect } from 'vitest';

export interface Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Buffer;
  readonly tls?: RequestOptions;
}

export const ask = (port: number, path: string, { method = 'GET', headers = {}, body, tls }: Ask = {}): Promise<Response> =>
  new Promise((settle, fail) => {
    const asked = (tls ? httpsRequest : httpRequest)(
      { port, host: '127.0.0.1', path, method, headers, agent: false, ...tls },
      (response) => {
        const chunks: Buffer[] = [];
        response
          .once('error', fail)
          .on('data', (chunk: Buffer) => chunks.push(chunk))
          .on('end', () => settle({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() }));
      },
    );
    asked.once('error', fail).end(body);
  });

/** Sends bytes as they are, and reads until the first response is whole. */
export const raw = (port: number, bytes: string): Promise<Response> =>
  new Promise((settle, fail) => {
    let got = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.setTimeout(5_000, () => socket.destroy(new Error('no answer')));
    socket.once('error', fail).on('data', (chunk) => {
      got += chunk;
      const [head = '', ...rest] = got.split('\r\n\r\n');
      const length = /^content-length: (\d+)$/im.exec(head)?.[1];
      if (length === undefined || Buffer.byteLength(rest.join('\r\n\r\n')) < Number(length)) return;
      socket.destroy();
      const headers = Object.fromEntries(
        head
          .split('\r\n')
          .slice(1)
          .map((line) => line.split(': ', 2)),
      );
      settle({ status: Number(head.split(' ')[1]), headers, text: rest.join('\r\n\r\n') });
    });
  });

/** The problem details in a response, after having looked at its form. */
export function problem({ status, headers, text }: Response): {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly reason?: string;
  readonly session?: string;
} {
  expect([headers['content-type'], headers['cache-control']]).toEqual(['application/problem+json', 'no-store']);
  const details = JSON.parse(text);
  expect(details).toMatchObject({
    type: expect.stringMatching(/^urn:sluice:problem:[a-z-]+$/),
    status,
    title: expect.stringMatching(/./),
    detail: expect.stringMatching(/./),
  });
  return details;
}
