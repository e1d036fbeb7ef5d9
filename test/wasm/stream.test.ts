import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { NetworkStream, type NetworkStreamOptions } from '../host/network_stream.ts';
import { TapSink } from '../host/tap_sink.ts';
import { WasmHost } from '../host/wasm_host.ts';

const WASM = fileURLToPath(new URL('../../build/test-echo.wasm', import.meta.url));
const CONFIGURATION = { target: 'lines', tap_cluster: 'tap', door_cluster: 'door', tap_require: true, queue_bytes: 65_536 };
/** SOAK_CONNECTIONS=100000 makes it the long run. */
const CONNECTIONS = Number(process.env.SOAK_CONNECTIONS ?? 20_000);

class Lines {
  readonly host: WasmHost;
  readonly sink: TapSink;

  constructor(settings = {}) {
    this.host = new WasmHost({ wasm: WASM, configuration: JSON.stringify({ ...CONFIGURATION, ...settings }) });
    this.sink = new TapSink(this.host);
    this.sink.run(50);
  }

  open(options?: NetworkStreamOptions): NetworkStream {
    return NetworkStream.open(this.host, options);
  }
}

const asked = (host: WasmHost): string[] => [...host.grpcCalls.values()].map(({ method }) => method);

describe('the configuration', () => {
  test.each([
    ['', '{'],
    ['no object', '[]'],
    ['no target', JSON.stringify({ ...CONFIGURATION, target: undefined })],
    ['an empty target', JSON.stringify({ ...CONFIGURATION, target: '' })],
    ['no door', JSON.stringify({ ...CONFIGURATION, door_cluster: undefined })],
    ['no tap', JSON.stringify({ ...CONFIGURATION, tap_cluster: undefined })],
    ['an unknown member', JSON.stringify({ ...CONFIGURATION, tap_requires: false })],
    ['a door of the wrong type', JSON.stringify({ ...CONFIGURATION, door_cluster: 5 })],
    ['an impossible lag', JSON.stringify({ ...CONFIGURATION, lag_ms: 99 })],
    ['a long target', JSON.stringify({ ...CONFIGURATION, target: 'x'.repeat(129) })],
  ])('is refused: %s', (_, configuration) => {
    expect(new WasmHost({ wasm: WASM, configuration }).configured).toBe(false);
  });

  test('is taken', () => {
    expect(new Lines().host.configured).toBe(true);
  });
});

describe('bytes', () => {
  const FROM_CLIENT = 'pone\nPtwo\nPthree\npfour\nPfive\n';
  const FROM_TARGET = 'one\nshout\ndropped\ntwo\nthree\nsix\n';

  test('come out the same however they are cut', () => {
    for (let size = 1; size <= FROM_TARGET.length; size++) {
      const stream = new Lines().open({ readBytes: size });
      stream.clientSends(FROM_CLIENT);
      for (let at = 0; at < FROM_TARGET.length; at += size) stream.targetSends(FROM_TARGET.slice(at, at + size));
      expect(stream.sent.toString()).toBe(FROM_CLIENT);
      expect(stream.received.toString()).toBe('one\nSHOUT\ntwo\nthree\nSIX\n');
    }
  });

  test('of one connection do not come out at another', () => {
    const lines = new Lines();
    const streams = Array.from({ length: 20 }, () => lines.open());
    for (const part of ['p', 'of ', '%\n', 'Pand ', '%\n'])
      streams.forEach((stream, i) => {
        stream.clientSends(part.replace('%', String(i))).targetSends(part.replace('p', 's').replace('%', String(i)));
      });
    streams.forEach((stream, i) => {
      expect(stream.sent.toString()).toBe(`pof ${i}\nPand ${i}\n`);
      expect(stream.received.toString()).toBe(`SOF ${i}\nPand ${i}\n`);
    });
  });

  test('that are kept beyond the headroom of a chunk are joined all the same', () => {
    for (const size of [16_383, 16_384, 16_385, 16_386, 100_000]) {
      const stream = new Lines().open();
      const line = `P${'x'.repeat(size)}`;
      stream.clientSends(line).clientSends('end\nP').targetSends(line).targetSends('end\nq');
      expect(stream.sent.toString()).toBe(`${line}end\n`);
      expect(stream.received.toString()).toBe(`${line}end\n`);
      stream.clientSends('more\n').targetSends('more\n');
      expect(stream.sent.toString()).toBe(`${line}end\nPmore\n`);
      expect(stream.received.toString()).toBe(`${line}end\nqmore\n`);
    }
  });

  test('of a target that are never consumed end the connection, at a bound', () => {
    const { host } = new Lines();
    const stream = NetworkStream.open(host).clientSends('pone\n');
    let sent = 0;
    for (; sent < 64 << 20 && !stream.closed; sent += 65_536) {
      stream.targetSends(Buffer.alloc(65_536, 'x'));
      host.advance(1);
    }
    expect(stream.closed).toBe(true);
    expect(stream.received.length).toBe(0);
    expect(sent).toBe((2 << 20) + 65_536);
  });

  test('the protocol is told who, where and through what', () => {
    const lines = new Lines();
    const stream = lines.open({ properties: { 'source\0address': '10.0.0.1:5', 'filter_state\0sluice.passage': 'ses-1' } });
    stream.clientSends('f\n');
    expect(stream.sent.toString()).toBe(`f lines 10.0.0.1:5 ses-1 ${lines.sink.hellos[0]?.emitter}\n`);
    expect(lines.open().clientSends('f\n').sent.toString()).toBe(`f lines   ${lines.sink.hellos[0]?.emitter}\n`);
  });
});

describe('the door', () => {
  test('is asked with the message, at its cluster; what follows waits in order', () => {
    const { host } = new Lines();
    const stream = NetworkStream.open(host).clientSends('jone\npbetween\njtwo\nplast\n');
    const call = host.grpcCall('Judge');
    expect(call).toMatchObject({ cluster: 'door', service: 'sluice.session.v1.SessionDoor', timeout: 30_000 });
    expect(call.message.toString()).toBe('\x12\x04jone');
    expect(stream.sent.length).toBe(0);
    host.grpcAnswer(call, Buffer.from('yes'));
    expect(stream.sent.toString()).toBe('yes jone\npbetween\n');
    host.grpcFail(host.grpcCall('Judge'), 13);
    expect(stream.sent.toString()).toBe('yes jone\npbetween\n!13 jtwo\nplast\n');
  });

  test('may take as long as people do where people are asked', () => {
    const { host } = new Lines();
    NetworkStream.open(host).clientSends('aheld\n');
    expect(host.grpcCall('Await').timeout).toBe(0);
  });

  test('answers each connection for itself', () => {
    const { host } = new Lines();
    const streams = ['jone\n', 'jtwo\n', 'jthree\n'].map((line) => NetworkStream.open(host).clientSends(line));
    const calls = [...host.grpcCalls.values()];
    for (const i of [2, 0, 1]) host.grpcAnswer(calls[i] as (typeof calls)[number], Buffer.from(`${i}`));
    expect(streams.map((stream) => stream.sent.toString())).toEqual(['0 jone\n', '1 jtwo\n', '2 jthree\n']);
  });

  test('that cannot be asked: the protocol is told at once', () => {
    const { host } = new Lines();
    host.grpcAvailable = false;
    expect(NetworkStream.open(host).clientSends('jone\n').sent.toString()).toBe('away jone\n');
  });

  test('an answer with an empty message is one; a close without a message is a failure', () => {
    const { host } = new Lines();
    const stream = NetworkStream.open(host).clientSends('jone\njtwo\n');
    host.grpcAnswer(host.grpcCall('Judge'), Buffer.alloc(0));
    host.grpcFail(host.grpcCall('Judge'), 0);
    expect(stream.sent.toString()).toBe(' jone\n!13 jtwo\n');
  });

  test('a question that is given up is cancelled, and no answer to it counts', () => {
    const lines = new Lines();
    const stream = lines.open().clientSends('gone\n');
    lines.host.advance(50);
    expect(asked(lines.host)).toEqual([]);
    expect(stream.sent.toString()).toBe('given up gone\n');
    lines.host.call(lines.host.rootId, 'proxy_on_grpc_close', lines.host.rootId, 99, 14);
    lines.host.advance(500);
    expect(stream.sent.toString()).toBe('given up gone\n');
  });

  test('a client that has gone gives up what was asked for it, and the door is told of the end', () => {
    const { host } = new Lines();
    const stream = NetworkStream.open(host).clientSends('aheld\n');
    stream.reset();
    expect(asked(host)).toEqual(['Close']);
    host.grpcAnswer(host.grpcCall('Close'), Buffer.alloc(0));
    expect(stream.sent.length).toBe(0);
    const half = NetworkStream.open(host).clientSends('aheld\n').clientSends('', true);
    expect(half.closed).toBe(true);
    expect(asked(host)).toEqual(['Close']);
    expect(half.sent.length).toBe(0);
  });
});

describe('the end', () => {
  test('of the client reaches the target once all is consumed', () => {
    const { host } = new Lines();
    const stream = NetworkStream.open(host).clientSends('pone\npunfinished', true);
    expect(stream.sent.toString()).toBe('pone\n');
    expect(stream.upstream.ended).toBe(true);
    const whole = NetworkStream.open(host).clientSends('pone\n').clientSends('', true);
    expect([whole.sent.toString(), whole.upstream.ended, whole.closed]).toEqual(['pone\n', true, false]);
    const silent = NetworkStream.open(host).clientSends('phalf').clientSends('', true);
    expect([silent.sent.length, silent.upstream.ended]).toEqual([0, false]);
  });

  test('a refusal in place of a reply leaves before the connection closes; nothing passes after it', () => {
    const { host } = new Lines();
    const stream = NetworkStream.open(host).clientSends('bad\npmore\n');
    expect(stream.sent.toString()).toBe('ping\npmore\n');
    stream.targetSends('pong\npong\n').targetSends('secret\n').clientSends('pnever\n');
    expect(stream.closed).toBe(false);
    host.advance(1);
    expect(stream.closed).toBe(true);
    expect(stream.received.toString()).toBe('refused\n');
    expect(stream.sent.toString()).toBe('ping\npmore\n');
    expect(host.tickMillis).toBe(50);
  });

  test('of the client may come before that of a refusal', () => {
    const { host } = new Lines();
    NetworkStream.open(host).clientSends('bad\n').targetSends('pong\n').reset();
    host.advance(50);
    expect(asked(host)).toEqual(['Close']);
    expect(host.tickMillis).toBe(50);
  });

  test('closing from the client’s direction passes nothing that follows', () => {
    const stream = new Lines().open().clientSends('pone\nx\npnever\n').targetSends('secret\n').clientSends('pnever\n');
    expect([stream.closed, stream.sent.toString(), stream.received.length]).toEqual([true, 'pone\n', 0]);
  });

  test('a bare new connection that goes again asks and sends nothing but the end', () => {
    const { host } = new Lines();
    NetworkStream.open(host).reset();
    expect(asked(host)).toEqual(['Close']);
  });
});

describe('a client that is made to wait', () => {
  const lines = (letter: string, count: number): string => `${letter}${'x'.repeat(998)}\n`.repeat(count);

  // Which of the client's bytes lie where differs: all kept, some left in Envoy's buffer, more than that not read at all.
  test.each(['ap', 'aP', 'AP', 'APp'].flatMap((letters) => [100, 2_500, 8_000].map((count) => [letters, count] as const)))(
    'loses nothing: %s, %i kB',
    ([ask = '', ...letters], count) => {
      const { host } = new Lines();
      const rest = letters.map((letter) => lines(letter, count / letters.length)).join('');
      const stream = NetworkStream.open(host).clientSends(`${ask}held\n${rest}`);
      expect(stream.waiting).toBeGreaterThanOrEqual(rest.length - (4 << 20));
      if (count > 4_000) expect(stream.waiting).toBeGreaterThan(0);
      expect(host.memoryBytes).toBeLessThan(16 << 20);
      expect(stream.sent.length).toBe(0);
      host.grpcAnswer(host.grpcCall('Await'), Buffer.from('yes'));
      expect(stream.waiting).toBe(0);
      expect(stream.sent.equals(Buffer.from(`${ask === 'a' ? 'yes ' : ''}${ask}held\n${rest}`))).toBe(true);
    },
  );

  test('is not let through by what is injected past it', () => {
    const { host } = new Lines();
    const rest = lines('p', 8_000);
    const stream = NetworkStream.open(host).clientSends(`aheld\n${rest}`);
    const { waiting } = stream;
    for (let i = 1; i <= 3; i++) {
      stream.targetSends('inject\n');
      expect(stream.sent.toString()).toBe('ping\n'.repeat(i));
    }
    expect(stream.waiting).toBeLessThan(waiting);
    host.grpcAnswer(host.grpcCall('Await'), Buffer.from('yes'));
    expect(stream.sent.equals(Buffer.from(`ping\nping\nping\nyes aheld\n${rest}`))).toBe(true);
  });

  test('and is injected past without end is closed at a bound', () => {
    const { host } = new Lines();
    const stream = NetworkStream.open(host).clientSends(`aheld\n${lines('p', 40_000)}`);
    for (let i = 0; i < 60; i++) stream.targetSends('inject\n');
    host.advance(1);
    expect(stream.closed).toBe(true);
    expect(stream.sent.toString()).toMatch(/^(ping\n)+$/);
    expect(host.memoryBytes).toBeLessThan(64 << 20);
  });
});

describe('the record', () => {
  test('an event is queued with session and target, and its room is given back', () => {
    const lines = new Lines();
    const stream = lines.open();
    for (let i = 0; i < 500; i++) {
      stream.clientSends(`e${i}\n`);
      if (i % 50 === 0) lines.sink.deliver();
    }
    lines.sink.run(50);
    expect(stream.sent.toString()).not.toContain('unrecorded');
    expect(lines.sink.events.length).toBe(500);
    expect(lines.sink.events[7]).toMatchObject({ session: 'session-1', target: 'lines', notice: { kind: 'line', text: 'e7' } });
  });

  test('events wait a moment for each other, and for no longer than a tick', () => {
    const lines = new Lines();
    const stream = lines.open();
    const before = lines.host.grpcStream?.sent ?? 0;
    stream.clientSends('e1\ne2\ne3\n');
    expect(lines.host.grpcStream?.sent).toBe(before);
    lines.sink.run(50);
    expect(lines.host.grpcStream?.sent).toBe(before + 1);
    expect(lines.sink.events.length).toBe(3);
    // As many as make a message worth sending are sent at once.
    for (let i = 0; i < 300; i++) stream.clientSends(`e${i}\n`);
    expect(lines.host.grpcStream?.sent).toBeGreaterThan(before + 1);
    expect(lines.host.grpcStream?.sent).toBeLessThan(before + 10);
    lines.sink.run(50);
    expect(lines.sink.events.length).toBe(303);
  });

  test('events that wait for each other come again in order, when the stream ends before they are acknowledged', () => {
    const lines = new Lines();
    const stream = lines.open();
    lines.sink.acknowledges = false;
    for (let i = 0; i < 150; i++) stream.clientSends(`e${i}\n`);
    lines.sink.run(50);
    if (lines.host.grpcStream) lines.host.grpcClose(lines.host.grpcStream, 14);
    lines.sink.acknowledges = true;
    // Else its answer would say how far it is.
    lines.sink.answersHello = false;
    lines.sink.run(300);
    expect(lines.sink.events.length).toBe(150);
    expect(lines.sink.duplicates).toBe(150);
    expect(lines.host.metrics.get('sluice_tap_resent')).toBe(150);
    expect(lines.host.metrics.get('sluice_tap_queued_events')).toBe(0);
  });

  test('what has waited too long for its acknowledgement lets nothing new begin until it is there', () => {
    const lines = new Lines({ lag_ms: 200 });
    const stream = lines.open();
    const tapped = lines.host.grpcStream;
    stream.clientSends('e1\n');
    lines.sink.run(50);
    lines.sink.acknowledges = false;
    stream.clientSends('e2\n');
    lines.sink.run(150);
    stream.clientSends('e3\n');
    expect(stream.sent.toString()).not.toContain('unrecorded');
    lines.sink.run(100);
    stream.clientSends('e4\n');
    expect(stream.sent.toString()).toContain('unrecorded e4\n');
    // Another stream does not make it younger.
    if (tapped) lines.host.grpcClose(tapped, 14);
    lines.sink.answersHello = false;
    lines.sink.run(100);
    stream.clientSends('e5\n');
    expect(stream.sent.toString()).toContain('unrecorded e5\n');
    lines.sink.acknowledges = true;
    lines.sink.run(200);
    stream.clientSends('e6\n');
    lines.sink.run(100);
    expect(stream.sent.toString()).not.toContain('unrecorded e6\n');
    expect(lines.sink.events.length).toBe(4);
  });

  test('room that a connection kept is free again when it has ended', () => {
    const lines = new Lines();
    for (let i = 0; i < 500; i++) {
      const stream = lines.open().clientSends('E\n');
      expect(stream.sent.toString()).toBe('E\n');
      stream.reset();
    }
  });

  test('a sink that is away admits nothing', () => {
    const lines = new Lines();
    if (lines.host.grpcStream) lines.host.grpcClose(lines.host.grpcStream, 14);
    expect(lines.open().clientSends('e1\n').sent.toString()).toBe('unrecorded e1\n');
  });
});

test(`memory stays flat over ${CONNECTIONS} connections, ended in every way`, () => {
  const lines = new Lines();
  const { host, sink } = lines;
  let settled = 0;
  for (let i = 0; i < CONNECTIONS; i++) {
    const stream = lines.open({ properties: { 'source\0address': '10.0.0.1:5' } });
    stream.clientSends('pone\nPpart').targetSends('sone\npart');
    switch (i % 8) {
      case 0:
        stream.clientSends('\nx\n');
        break;
      case 1:
        stream.clientSends('\naheld\n').reset();
        break;
      case 2:
        stream.clientSends('\njone\n');
        host.grpcAnswer(host.grpcCall('Judge'), Buffer.from('yes'));
        stream.targetSends('', true);
        break;
      case 3:
        stream.clientSends('\nb\n').targetSends('\n');
        break;
      case 4:
        stream.clientSends('\ng\n');
        break;
      case 5:
        if (i % 400 === 5) stream.clientSends(Buffer.alloc(300_000, 'x')).targetSends(Buffer.alloc(300_000, 'x'));
        stream.reset();
        break;
      case 6:
        stream.clientSends('\ne1\n', true).reset();
        break;
      default:
        stream.clientSends('\naheld\n').clientSends('', true);
    }
    for (const call of [...host.grpcCalls.values()]) if (call.method === 'Close') host.grpcAnswer(call, Buffer.alloc(0));
    if (i % 40 === 39) {
      sink.run(50);
      sink.events.splice(0, sink.events.length - 1);
    }
    if (i % 8 === 4) stream.reset();
    if (i === Math.floor(CONNECTIONS / 3)) settled = host.memoryBytes;
  }
  expect(host.memoryBytes).toBe(settled);
  expect(host.memoryBytes).toBeLessThan(8 << 20);
});
