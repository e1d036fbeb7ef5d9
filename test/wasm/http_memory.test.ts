import { expect, test } from 'vitest';
import { CARD, Filter, request, response, SSN } from './http.fixture.ts';

const BODY = Buffer.from('{"name":"Ann","ssn":"078-05-1120","note":"pays with 4111 1111 1111 1111"}');
/** SOAK_EXCHANGES=1000000 makes it the long run. */
const EXCHANGES = Number(process.env.SOAK_EXCHANGES ?? 30_000);

test(`memory stays flat over ${EXCHANGES} small exchanges, ended in every way`, () => {
  const filter = new Filter();
  const { host, sink } = filter;
  let settled = 0;
  for (let i = 0; i < EXCHANGES; i++) {
    const stream = filter.open([SSN, CARD]).requestHeaders(request());
    if (i % 10 === 3) stream.reset('downstream_remote_disconnect');
    stream.responseHeaders(response(i % 10 === 5 ? 'image/png' : 'application/json'));
    stream.responseBody(BODY.subarray(0, 20)).responseBody(i % 10 === 7 ? Buffer.from(']') : BODY.subarray(20), true);
    if (i % 100 === 99) {
      sink.run(50);
      sink.events.splice(0, sink.events.length - 1);
    }
    if (i % 5000 === 0 && host.grpcStream) {
      host.grpcClose(host.grpcStream, 14);
      sink.run(100);
    }
    if (i === Math.floor(EXCHANGES / 3)) settled = host.memoryBytes;
  }
  expect(host.memoryBytes).toBe(settled);
  expect(host.memoryBytes).toBeLessThan(4 << 20);
});

test('a long body needs no more memory than a short one', () => {
  const filter = new Filter();
  const grown: number[] = [];
  for (const megabytes of [1, 16]) {
    const stream = filter.open([SSN, CARD]).requestHeaders(request()).responseHeaders(response('application/json'));
    const chunk = Buffer.from(`${BODY.toString()},`.repeat(220));
    stream.responseBody(Buffer.from('['));
    for (let sent = 0; sent < megabytes << 20; sent += chunk.length) {
      stream.responseBody(chunk);
      stream.downstream.body.length = 0;
    }
    stream.responseBody(Buffer.from('0]'), true);
    expect(stream.downstream.ended).toBe(true);
    grown.push(filter.host.memoryBytes);
  }
  expect(grown[1]).toBe(grown[0]);
});
