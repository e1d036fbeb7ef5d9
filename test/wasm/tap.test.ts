import { describe, expect, test } from 'vitest';
import { CARD, Filter, request, response } from './http.fixture.ts';

const exchange = (filter: Filter, session?: string): void => {
  filter.open([], session).requestHeaders(request()).responseHeaders(response('text/plain')).responseBody(Buffer.from('ok'), true);
};

/** How many events each notice of dropped ones tells of. */
const droppedIn = (events: Filter['sink']['events']): number[] =>
  events.flatMap(({ notice }) => (notice?.kind === 'events-dropped' ? [Number.parseInt(notice.text ?? '', 10)] : []));

describe('the stream', () => {
  test('opens from a tick, says hello, and carries each event at once', () => {
    const { host, sink } = new Filter({ sink: false });
    expect(host.grpcStreams).toEqual([]);
    sink.run(50);
    expect(host.grpcStream).toMatchObject({ cluster: 'sluice_tap', service: 'sluice.tap.v1.Tap', method: 'Emit' });
    expect(sink.hellos).toEqual([
      { emitter: expect.stringMatching(/^[0-9a-f]{32}$/) as string, software: 'sluice-http/0.1', first_sequence: 1 },
    ]);
    const filter = new Filter();
    filter.open([], 's').requestHeaders(request());
    filter.sink.deliver();
    expect(filter.sink.events).toMatchObject([
      {
        sequence: 1,
        session: 's',
        target: 'orders',
        request_forwarded: {},
        emitter: filter.sink.hellos[0]?.emitter,
        time_unix_nanos: 1_700_000_000_050_000_000,
      },
    ]);
  });

  test('every VM has an emitter of its own', () => {
    expect(new Filter().sink.hellos[0]?.emitter).not.toBe(new Filter().sink.hellos[0]?.emitter);
  });

  test('events are in the order forwarded, finished, closed, without a gap', () => {
    const filter = new Filter();
    for (let i = 0; i < 50; i++) exchange(filter);
    filter.sink.deliver();
    expect(filter.sink.events.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 150 }, (_, i) => i + 1));
    for (let i = 1; i <= 50; i++) {
      expect(filter.sink.of(`ses-${i}`).map((event) => Object.keys(event).find((key) => /forwarded|finished|closed/.test(key)))).toEqual([
        'request_forwarded',
        'response_finished',
        'session_closed',
      ]);
    }
  });

  test('a sink that does not answer the hello is asked by an event', () => {
    const filter = new Filter({ sink: false });
    filter.sink.answersHello = false;
    filter.sink.run(300);
    expect(filter.sink.events).toMatchObject([{ sequence: 1, notice: { kind: 'tap-opened' } }]);
    expect(filter.open().requestHeaders(request()).upstream.headers).toBeDefined();
  });

  test('after the sink was away, what it had not acknowledged comes again, on the new stream only, and the record has no gap and nothing twice', () => {
    const filter = new Filter();
    const { host, sink } = filter;
    exchange(filter);
    sink.deliver();
    sink.acknowledges = false;
    exchange(filter);
    sink.deliver();
    const open = filter.open([], 'open').requestHeaders(request());
    const old = host.grpcStream;
    if (!old) throw new Error('no stream');
    const { sent } = old;
    host.grpcClose(old, 14);
    expect(old.cancelled).toBe(true);
    open.responseHeaders(response('text/plain')).responseBody(Buffer.from('ok'), true);
    sink.acknowledges = true;
    // Else it would say with its answer how far it is, and nothing would come twice.
    sink.answersHello = false;
    sink.run(300);
    expect(old.sent).toBe(sent);
    expect(sink.hellos.at(-1)).toMatchObject({ first_sequence: 4, emitter: sink.hellos[0]?.emitter });
    expect(sink.duplicates).toBe(3);
    expect(sink.events.length).toBe(9);
    expect(sink.closed('open')).toBe('complete');
    sink.run(100);
    expect([
      host.metrics.get('sluice_tap_queued_events'),
      host.metrics.get('sluice_tap_queued_bytes'),
      host.metrics.get('sluice_tap_streams'),
    ]).toEqual([0, 0, 1]);
    expect(host.metrics.get('sluice_tap_resent')).toBe(4);
  });

  test('a sink that lags makes the queue grow and move, and gets every event as it was', () => {
    const filter = new Filter();
    const { host, sink } = filter;
    sink.acknowledges = false;
    const stream = host.grpcStream;
    for (let i = 0; i < 3000; i++) {
      exchange(filter);
      sink.deliver();
      const lag = 100 + ((i * 37) % 900);
      if (stream && sink.last > lag) sink.acknowledge(stream, sink.last - lag);
    }
    expect(sink.events.length).toBe(9000);
    expect(sink.events.every((event) => event.session?.startsWith('ses-') && event.target === 'orders')).toBe(true);
    if (stream) sink.acknowledge(stream, sink.last);
    host.advance(50);
    expect(host.metrics.get('sluice_tap_queued_events')).toBe(0);
  });

  test('many reconnections, at any moment, lose nothing and double nothing', () => {
    const filter = new Filter();
    const { host, sink } = filter;
    for (let round = 0; round < 200; round++) {
      sink.acknowledges = round % 3 !== 0;
      exchange(filter);
      if (round % 2) sink.deliver();
      if (round % 5 === 0 && host.grpcStream) host.grpcClose(host.grpcStream, 14);
      sink.run(round % 7 === 0 ? 1100 : 50);
    }
    sink.acknowledges = true;
    sink.run(2000);
    const forwarded = sink.events.filter((event) => event.request_forwarded).length;
    expect(sink.events.filter((event) => event.session_closed).length).toBe(200);
    expect(forwarded).toBeGreaterThan(100);
    expect(host.grpcStreams.filter(({ closed, cancelled }) => closed && !cancelled)).toEqual([]);
  });

  test('attempts to open back off to one a second', () => {
    const { host } = new Filter({ sink: false });
    for (let i = 0; i < 20_000; i += 50) {
      host.advance(50);
      if (host.grpcStream) host.grpcClose(host.grpcStream, 14);
    }
    expect(host.grpcStreams.length).toBeGreaterThan(18);
    expect(host.grpcStreams.length).toBeLessThan(28);
  });

  test.each([
    ['an acknowledgement of what was never sent', Buffer.from([0x08, 0x05])],
    ['bytes that are no message', Buffer.from([0x08])],
  ])('%s ends the stream, and nothing is forgotten', (_, answer) => {
    const filter = new Filter();
    const { host, sink } = filter;
    sink.acknowledges = false;
    exchange(filter);
    const stream = host.grpcStream;
    if (!stream) throw new Error('no stream');
    host.grpcReceive(stream, answer);
    expect(stream.cancelled).toBe(true);
    sink.acknowledges = true;
    sink.run(200);
    expect(sink.closed('ses-1')).toBe('complete');
  });

  test('an unknown cluster is tried again', () => {
    const { host, sink } = new Filter({ sink: false });
    host.grpcAvailable = false;
    sink.run(500);
    host.grpcAvailable = true;
    sink.run(1000);
    expect(sink.hellos.length).toBe(1);
  });

  test('a root context goes when all is acknowledged, or after ten seconds', () => {
    const idle = new Filter();
    expect(idle.host.shutDown()).toBe(true);
    expect(idle.host.grpcStream).toBeUndefined();
    const busy = new Filter();
    busy.sink.acknowledges = false;
    exchange(busy);
    expect(busy.host.shutDown()).toBe(false);
    busy.sink.run(200);
    expect(busy.host.done).toBe(false);
    busy.sink.acknowledges = true;
    busy.sink.acknowledge(busy.host.grpcStream as never, 3);
    busy.sink.run(50);
    expect(busy.host.done).toBe(true);
    const lost = new Filter();
    lost.sink.acknowledges = false;
    exchange(lost);
    lost.host.shutDown();
    lost.host.advance(9_900);
    expect(lost.host.done).toBe(false);
    lost.host.advance(200);
    expect(lost.host.done).toBe(true);
  });
});

describe('admission', () => {
  test('a request waits for a sink that is away, and goes on when it is back', () => {
    const filter = new Filter({ sink: false });
    const stream = filter.open([], 's').requestHeaders(request('POST'), false).requestBody(Buffer.from('body'), true);
    expect(stream.upstream.headers).toBeUndefined();
    filter.sink.run(1000);
    expect(stream.upstream.headers).toBeDefined();
    expect(Buffer.concat(stream.upstream.body).toString()).toBe('body');
    stream.responseHeaders(response(undefined, [], 204), true);
    filter.sink.deliver();
    expect(filter.sink.finished('s')).toMatchObject({ outcome: 'complete', request_bytes: 4 });
  });

  test('for two seconds; then it is refused, told why, and recorded when the sink is back', () => {
    const filter = new Filter({ sink: false });
    const stream = filter.open([CARD], 's').requestHeaders(request());
    filter.host.advance(1950);
    expect(stream.downstream.headers).toBeUndefined();
    filter.host.advance(150);
    expect(stream.status).toBe(503);
    expect(stream.body.toString()).toContain('urn:sluice:problem:tap-away');
    expect(stream.downstream.headers).toContainEqual(['retry-after', '1']);
    expect(stream.upstream.headers).toBeUndefined();
    filter.sink.run(3000);
    expect(filter.sink.finished('s')).toMatchObject({ outcome: 'replaced', status: 503 });
  });

  test('a client that goes away while it waits, or an answer of Envoy in the meantime, ends the wait', () => {
    const filter = new Filter({ sink: false });
    const gone = filter.open([], 'gone').requestHeaders(request()).reset('downstream_remote_disconnect');
    const late = filter.open([CARD], 'late').requestHeaders(request()).envoyReply(408, 'too slow', 'request_overall_timeout');
    filter.sink.run(3000);
    expect(gone.upstream.headers).toBeUndefined();
    expect(late.upstream.headers).toBeUndefined();
    expect(late.body.toString()).toBe('too slow');
    expect([filter.sink.closed('gone'), filter.sink.closed('late')]).toEqual(['cancelled', 'failed']);
  });

  test('however long the sink was away: somebody who waits makes the filter try sooner', () => {
    const filter = new Filter({ sink: false });
    const { host, sink } = filter;
    host.grpcAvailable = false;
    host.advance(30_000);
    host.grpcAvailable = true;
    const attempts = host.grpcStreams.length;
    filter.open().requestHeaders(request());
    host.advance(200);
    expect(host.grpcStreams.length).toBe(attempts + 1);
    sink.deliver();
    expect(filter.open().requestHeaders(request()).upstream.headers).toBeDefined();
  });

  test('many wait and go on together', () => {
    const filter = new Filter({ sink: false });
    const streams = Array.from({ length: 100 }, () => filter.open().requestHeaders(request()));
    filter.sink.run(300);
    expect(streams.every(({ upstream }) => upstream.headers)).toBe(true);
  });

  test('a sink that acknowledges nothing for five seconds counts as away, and is there again with its next acknowledgement', () => {
    const filter = new Filter();
    filter.sink.acknowledges = false;
    exchange(filter);
    filter.host.advance(4000);
    expect(filter.open().requestHeaders(request()).upstream.headers).toBeDefined();
    filter.host.advance(1500);
    const waiting = filter.open().requestHeaders(request());
    expect(waiting.upstream.headers).toBeUndefined();
    filter.sink.deliver();
    filter.sink.acknowledge(filter.host.grpcStream as never, filter.sink.last);
    expect(waiting.upstream.headers).toBeDefined();
  });

  test('a stream on which nothing is acknowledged for fifteen seconds is opened anew', () => {
    const filter = new Filter();
    filter.sink.acknowledges = false;
    exchange(filter);
    const before = filter.host.grpcStreams.length;
    filter.host.advance(16_000);
    expect(filter.host.grpcStreams.length).toBe(before + 1);
    expect(filter.host.grpcStreams[before - 1]?.cancelled).toBe(true);
  });

  test('a full queue refuses at once; every exchange that was let through still reports its end', () => {
    const filter = new Filter({ queueBytes: 16_384 });
    filter.sink.acknowledges = false;
    const streams = Array.from({ length: 60 }, () => filter.open([CARD]).requestHeaders(request()));
    const admitted = streams.filter(({ upstream }) => upstream.headers);
    const refused = streams.filter(({ status }) => status === 503);
    expect(admitted.length + refused.length).toBe(60);
    expect(admitted.length).toBeGreaterThan(10);
    expect(refused[0]?.body.toString()).toContain('urn:sluice:problem:tap-full');
    for (const stream of admitted) stream.responseHeaders(response('image/png'));
    filter.host.advance(50);
    expect(filter.host.metrics.get('sluice_tap_queued_bytes')).toBeLessThanOrEqual(16_384);
    filter.sink.acknowledges = true;
    filter.sink.run(200);
    filter.sink.acknowledge(filter.host.grpcStream as never, filter.sink.last);
    expect(filter.sink.events.filter((event) => event.request_forwarded).length).toBe(admitted.length);
    expect(filter.sink.events.filter((event) => event.response_finished?.status === 502).length).toBe(admitted.length);
    expect(filter.sink.events.filter((event) => event.session_closed).length).toBeGreaterThanOrEqual(admitted.length);
    expect(filter.open().requestHeaders(request()).upstream.headers).toBeDefined();
  });

  test('room comes back with each end: a small queue carries any number of exchanges, one after the other', () => {
    const filter = new Filter({ queueBytes: 16_384 });
    for (let i = 0; i < 2000; i++) {
      exchange(filter);
      filter.sink.deliver();
    }
    expect(filter.sink.events.length).toBe(6000);
  });

  test('where the tap is not required, requests pass without it, and what could not be kept is counted and told', () => {
    const filter = new Filter({ tapRequire: false, queueBytes: 16_384, sink: false });
    for (let i = 0; i < 200; i++) exchange(filter);
    const dropped = filter.host.metrics.get('sluice_tap_dropped') ?? 0;
    expect(dropped).toBeGreaterThan(300);
    filter.sink.run(500);
    const told = droppedIn(filter.sink.events);
    expect(filter.sink.events.length).toBe(600 - dropped + told.length);
    expect(told.reduce((sum, count) => sum + count, 0)).toBe(dropped);
  });

  test('what was dropped is told before anything else is, so that no end behind it looks whole', () => {
    const filter = new Filter({ tapRequire: false, queueBytes: 16_384, sink: false });
    const open = filter.open([], 'open').requestHeaders(request());
    for (let i = 0; i < 200; i++) exchange(filter);
    // There is room again, and no tick has been since.
    filter.host.advance(50);
    filter.sink.deliver();
    open.responseHeaders(response('text/plain')).responseBody(Buffer.from('ok'), true);
    filter.sink.run(500);
    const last = filter.sink.events.findLastIndex(({ notice }) => notice?.kind === 'events-dropped');
    expect(droppedIn(filter.sink.events).reduce((sum, count) => sum + count, 0)).toBe(filter.host.metrics.get('sluice_tap_dropped'));
    expect(filter.sink.closed('open')).toBe('complete');
    expect(filter.sink.events.findIndex(({ session, session_closed }) => session === 'open' && session_closed)).toBeGreaterThan(last);
  });
});
