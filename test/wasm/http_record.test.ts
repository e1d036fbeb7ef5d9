/** Recorded payload of HTTP exchanges, through the compiled filter: the record is what the client got, up to the limit, and says where it ends and why. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { HttpStream } from '../host/http_stream.ts';
import { headerValue } from '../host/pairs.ts';
import { CARD, Filter, recording, request, response, SSN, send } from './http.fixture.ts';

const JSON_BODY = Buffer.from(JSON.stringify(Array.from({ length: 40 }, (_, i) => ({ name: `n${i}`, ssn: '078-05-1120' }))));
const MAX_EVENT_BYTES = 64_512;

function opened(filter: Filter, rules = [SSN], limits = {}, body: readonly [string, string | Buffer] | undefined = undefined): HttpStream {
  const stream = filter.open(rules, 's', 0, false, recording(rules, limits));
  stream.requestHeaders(request('POST', body ? [['content-type', body[0]]] : []), !body);
  if (body) stream.requestBody(Buffer.from(body[1]), true);
  return stream;
}

function recorded(filter: Filter, direction: 'request' | 'response' = 'response') {
  filter.sink.run(50);
  const [body, ...more] = filter.sink.recorded('s', direction);
  expect(more).toEqual([]);
  return body;
}

describe('a response', () => {
  test('is recorded as the client got it, at every size of its pieces', () => {
    for (let size = 1; size <= JSON_BODY.length; size = size < 64 ? size + 1 : size * 2) {
      const filter = new Filter();
      const stream = opened(filter).responseHeaders(response('application/json'));
      send(stream, JSON_BODY, size);
      const body = recorded(filter);
      expect(body?.bytes.equals(stream.body)).toBe(true);
      expect(body?.bytes.includes('078-05-1120')).toBe(false);
      expect(body).toMatchObject({ last: true, truncated: false, contentType: 'application/json', reason: '' });
      expect(filter.sink.closed('s')).toBe('complete');
    }
  });

  test('that is not masked passes untouched, and is recorded', () => {
    const filter = new Filter();
    const stream = opened(filter, []).responseHeaders(response('image/png', [['x-sluice-session', 'forged']]));
    send(stream, Buffer.from([0, 1, 2, 255]), 3);
    expect([stream.body, recorded(filter)?.bytes]).toEqual([Buffer.from([0, 1, 2, 255]), Buffer.from([0, 1, 2, 255])]);
  });

  test('is recorded as it is coded, with the coding said, where nothing is masked', () => {
    const filter = new Filter();
    const zipped = gzipSync('hello');
    const stream = opened(filter, []).responseHeaders(response('text/plain', [['content-encoding', 'br']]));
    send(stream, zipped, 1000);
    expect(recorded(filter)).toMatchObject({ bytes: zipped, contentType: 'text/plain', contentEncoding: 'br', last: true });
    expect(headerValue(stream.upstream.headers ?? [], 'accept-encoding')).toBe('identity');
  });

  test.each([0, 1, 7, 100, 999])('is recorded up to the limit of %i bytes, and the record says that it went on', (maxResponse) => {
    for (const size of [1, 10, 5000]) {
      const filter = new Filter();
      const stream = opened(filter, [SSN], { maxResponse }).responseHeaders(response('application/json'));
      send(stream, JSON_BODY, size);
      const body = recorded(filter);
      expect(body?.bytes.equals(stream.body.subarray(0, maxResponse))).toBe(true);
      expect(body).toMatchObject({ last: false, truncated: true, reason: 'longer than what is recorded of a body' });
      expect(stream.downstream.ended).toBe(true);
    }
  });

  test('of exactly the limit is whole', () => {
    const filter = new Filter();
    const stream = opened(filter, [], { maxResponse: 5 }).responseHeaders(response('text/plain'));
    send(stream, Buffer.from('hello'), 2);
    expect(recorded(filter)).toMatchObject({ last: true, truncated: false });
  });

  test('of megabytes is recorded in events of the allowed size', () => {
    const filter = new Filter();
    const sizes: number[] = [];
    const stream = opened(filter, [], { maxResponse: 3 << 20 }).responseHeaders(response('application/octet-stream'));
    const body = Buffer.alloc(2 << 20, 'abcdefghi');
    for (let at = 0; at < body.length; at += 300_000) {
      stream.responseBody(body.subarray(at, at + 300_000), at + 300_000 >= body.length);
      sizes.push(...(filter.host.grpcStream?.messages ?? []).map((message) => message.length));
    }
    expect(recorded(filter)?.bytes.equals(body)).toBe(true);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(MAX_EVENT_BYTES + 8);
  });

  test('that trickles is one event for each tick, in the order of what happened', () => {
    const filter = new Filter();
    const stream = opened(filter, []).responseHeaders(response('text/event-stream'));
    for (let i = 0; i < 60; i++) {
      stream.responseBody(Buffer.from(`data: ${i}\n\n`));
      if (i % 20 === 19) filter.sink.run(50);
    }
    stream.responseBody(Buffer.alloc(0), true);
    const body = recorded(filter);
    expect(body?.bytes.equals(stream.body)).toBe(true);
    expect(body).toMatchObject({ chunks: 4, last: true });
    const kinds = filter.sink.of('s').map((event) => Object.keys(event).find((key) => /_(?:forwarded|chunk|finished|closed)$/.test(key)));
    expect(kinds).toEqual(['request_forwarded', ...Array(4).fill('payload_chunk'), 'response_finished', 'session_closed']);
  });

  test('that trickles leaves the stream to the sink as it is', () => {
    const filter = new Filter();
    const stream = opened(filter, []).responseHeaders(response('text/event-stream'));
    for (let i = 0; i < 20; i++) {
      filter.sink.run(50);
      stream.responseBody(Buffer.from(`data: ${i}\n\n`));
    }
    expect([filter.host.grpcStreams.length, filter.host.logs]).toEqual([1, []]);
  });

  test('whose client went away is recorded as far as it got', () => {
    const filter = new Filter();
    const stream = opened(filter, []).responseHeaders(response('text/plain'));
    stream.responseBody(Buffer.from('half of')).reset('downstream_remote_disconnect');
    expect(recorded(filter)).toMatchObject({ bytes: Buffer.from('half of'), last: false, truncated: false });
    expect(filter.sink.finished('s').outcome).toBe('reset');
  });

  test('that was withheld is not recorded: the client got nothing of it', () => {
    const filter = new Filter();
    const stream = opened(filter).responseHeaders(response('application/json'));
    send(stream, Buffer.from('{"ssn": "078-05-1120"'), 1000);
    expect(stream.status).toBe(502);
    expect(recorded(filter)).toBeUndefined();
  });

  test('that was cut is recorded up to the cut', () => {
    const filter = new Filter();
    const stream = opened(filter).responseHeaders(response('application/json'));
    stream.responseBody(Buffer.from('[{"ssn":"078-05-1120"},'));
    stream.responseBody(Buffer.from(']]'));
    expect(filter.sink.events.length).toBeLessThan(5);
    const body = recorded(filter);
    expect(body?.bytes.equals(stream.body)).toBe(true);
    expect(body).toMatchObject({ last: false, truncated: false });
  });

  test('without a body leaves no payload', () => {
    const filter = new Filter();
    opened(filter).responseHeaders(response(undefined, [], 204), true);
    expect(recorded(filter)).toBeUndefined();
  });

  test('is not recorded where nobody obliges to', () => {
    const filter = new Filter();
    const stream = filter.open([SSN], 's').requestHeaders(request()).responseHeaders(response('application/json'));
    send(stream, JSON_BODY, 100);
    expect(recorded(filter)).toBeUndefined();
  });
});

describe('a request', () => {
  const answered = (stream: HttpStream): void => void stream.responseHeaders(response(undefined, [], 204), true);

  test('passes as it is, and is recorded masked', () => {
    const filter = new Filter();
    const body = '{"ssn":"078-05-1120","password":"hunter2","note":"card 4111 1111 1111 1111","n":1}';
    const stream = opened(filter, [SSN], {}, ['application/json', body]);
    answered(stream);
    expect(Buffer.concat(stream.upstream.body).toString()).toBe(body);
    const { bytes, last } = recorded(filter, 'request') ?? { bytes: '' };
    expect([bytes.toString(), last]).toEqual(['{"ssn":"***********","password":"*******","note":"card *******************","n":1}', true]);
    // The counts tell what of the response was masked.
    expect(filter.sink.finished('s').masked).toBeUndefined();
  });

  test.each([
    ['application/x-www-form-urlencoded', 'client_secret=abc&x=1', 'client_secret=***&x=1'],
    ['text/plain', 'mail ann@example.com', 'mail ***************'],
    ['text/csv', 'password,x\nhunter2,1\n', 'password,x\n*******,1\n'],
  ])('of type %s is recorded masked, without obligations too', (type, body, expected) => {
    const filter = new Filter();
    answered(opened(filter, [], {}, [type, body]));
    expect(recorded(filter, 'request')?.bytes.toString()).toBe(expected);
  });

  test.each([
    ['image/png', 'PNG', [], 'a request of this content type cannot be masked for the record'],
    ['text/plain', 'ssn 078-05-1120', [SSN], 'a request of this content type cannot be masked for the record'],
    ['application/json', '{"ssn":', [], 'the body is not what its content type says, and cannot be masked for the record'],
  ])('of type %s that cannot be masked (%s) is not recorded, and the record says why', (type, body, rules, reason) => {
    const filter = new Filter();
    const stream = opened(filter, [...rules], {}, [type, body]);
    answered(stream);
    expect(Buffer.concat(stream.upstream.body).toString()).toBe(body);
    expect(recorded(filter, 'request')).toMatchObject({ truncated: true, reason });
    expect(recorded(filter, 'request')?.bytes.includes('078')).toBe(false);
  });

  test('with a content coding is not recorded', () => {
    const filter = new Filter();
    const stream = filter.open([], 's', 0, false, recording());
    stream.requestHeaders(
      request('POST', [
        ['content-type', 'application/json'],
        ['content-encoding', 'gzip'],
      ]),
      false,
    );
    answered(stream.requestBody(gzipSync('{}'), true));
    expect(recorded(filter, 'request')).toMatchObject({
      bytes: Buffer.alloc(0),
      contentEncoding: 'gzip',
      reason: 'a request with a content coding cannot be masked for the record',
    });
  });

  test('of any size passes, and is looked at as far as it can be recorded', () => {
    const filter = new Filter();
    const body = JSON.stringify({ text: 'x'.repeat(3 << 20), password: 'hunter2' });
    const stream = opened(filter, [], { maxRequest: 100 }, ['application/json', body]);
    answered(stream);
    expect(Buffer.concat(stream.upstream.body).length).toBe(body.length);
    expect(recorded(filter, 'request')).toMatchObject({ truncated: true });
    expect(filter.host.memoryBytes).toBeLessThan(2 << 20);
  });
});

describe('a sink that is behind', () => {
  const whole = Buffer.alloc(50_000, 'x');

  test('gets all that was promised, and others wait for room, then are refused', () => {
    const filter = new Filter({ recordBytes: 150_000 });
    filter.sink.acknowledges = false;
    const first = opened(filter, [], { maxResponse: 100_000 });
    const second = filter.open([], 's2', 0, false, recording([], { maxResponse: 100_000 })).requestHeaders(request());
    // Without payload nobody waits.
    const third = filter.open([], 's3').requestHeaders(request());
    expect([first, second, third].map((one) => one.upstream.headers !== undefined)).toEqual([true, false, true]);
    send(first.responseHeaders(response('text/plain')), whole, 777);
    filter.sink.run(500);
    expect(second.status).toBe(0);
    filter.sink.run(2000);
    expect([second.status, JSON.parse(second.body.toString()).type]).toEqual([503, 'urn:sluice:problem:tap-full']);
    filter.sink.acknowledges = true;
    filter.sink.run(50);
    expect(filter.sink.recorded('s', 'response')).toMatchObject([{ bytes: whole, last: true }]);
  });

  test('lets those go on who wait, as soon as there is room', () => {
    const filter = new Filter({ recordBytes: 150_000 });
    const first = opened(filter, [], { maxResponse: 100_000 });
    const second = filter.open([], 's2', 0, false, recording([], { maxResponse: 100_000 })).requestHeaders(request());
    filter.sink.run(500);
    expect(second.upstream.headers).toBeUndefined();
    send(first.responseHeaders(response('text/plain')), whole, 50_000);
    filter.sink.run(100);
    expect(second.upstream.headers).toBeDefined();
  });

  test('that is away in mid-response gets the rest when it is back', () => {
    const filter = new Filter();
    const stream = opened(filter, []).responseHeaders(response('text/plain'));
    stream.responseBody(Buffer.from('before '));
    filter.sink.run(50);
    const { grpcStream } = filter.host;
    if (grpcStream) filter.host.grpcClose(grpcStream, 14);
    for (let i = 0; i < 40; i++) {
      stream.responseBody(Buffer.from(`${i} `));
      filter.host.advance(50);
    }
    stream.responseBody(Buffer.from('after'), true);
    filter.sink.run(5000);
    const [body] = filter.sink.recorded('s', 'response');
    expect(body?.bytes.equals(stream.body)).toBe(true);
    expect(body?.last).toBe(true);
  });

  test('bounds what is kept for it, however the payload trickles', () => {
    const filter = new Filter({ recordBytes: 150_000 });
    const stream = opened(filter, [], { maxResponse: 100_000 }).responseHeaders(response('text/plain'));
    filter.sink.acknowledges = false;
    for (let i = 0; i < 100_000 / 20; i++) {
      stream.responseBody(Buffer.from('01234567890123456789'));
      filter.host.advance(50);
    }
    stream.responseBody(Buffer.from('x'), true);
    expect(filter.host.metrics.get('sluice_tap_queued_bytes')).toBeLessThan(160_000);
    filter.sink.acknowledges = true;
    filter.sink.run(20_000);
    const [body] = filter.sink.recorded('s', 'response');
    expect(body?.bytes.equals(stream.body.subarray(0, 100_000))).toBe(true);
    expect(body?.truncated).toBe(true);
  });

  test('where nothing is required loses payload, and the record says so', () => {
    const filter = new Filter({ tapRequire: false, recordBytes: 30_000, sink: false });
    const stream = opened(filter, [], { maxResponse: 100_000 }).responseHeaders(response('text/plain'));
    send(stream, whole, 50_000);
    expect(stream.body.equals(whole)).toBe(true);
    filter.sink.run(2000);
    expect(filter.sink.recorded('s', 'response')).toMatchObject([{ truncated: true, reason: 'the sink was too far behind' }]);
    expect(filter.sink.events.some(({ notice }) => notice?.kind === 'events-dropped')).toBe(true);
  });
});

test('rules of both kinds serve in one exchange, each for its direction', () => {
  const filter = new Filter();
  const stream = opened(filter, [CARD], {}, ['text/plain', 'pay 4111 1111 1111 1111 to ann@example.com']);
  send(stream.responseHeaders(response('text/plain')), Buffer.from('paid by ann@example.com 4111 1111 1111 1111'), 3);
  expect(recorded(filter, 'request')?.bytes.toString()).toBe('pay ******************* to ***************');
  expect(recorded(filter)?.bytes.toString()).toBe(stream.body.toString());
  expect(filter.sink.finished('s').masked).toEqual([{ rule: 'payment-card', count: 1 }]);
});
