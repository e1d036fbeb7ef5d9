import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Exchange } from './exchange.ts';
import { PADDED, PRIORITY, SETTING } from './frame.ts';
import { fieldBlock } from './hpack.ts';
import {
  ACK,
  CODE,
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  GREETING,
  number,
  Peer,
  PREFACE,
  REQUEST_FIELDS,
  requestOf,
  setting,
} from './peer.fixture.ts';

const HEAD = fieldBlock([[':status', '200']]);
const TRAILERS = fieldBlock([['grpc-status', '0']]);
const MAX_BODY = 40_000;

const echo = (exchange: Exchange, body: Buffer | undefined): void =>
  exchange.answer(HEAD, Buffer.from(body ? body.toString().toUpperCase() : 'too large'), TRAILERS);
const echoing = (): Peer => new Peer({ maxBodyBytes: MAX_BODY, onRequest: echo });
const answered = (body: string) => ({ fields: { ':status': '200', 'grpc-status': '0' }, body });
/** Ends: what was written has been read. */
const rest = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await turn();
};

describe('requests', () => {
  test('are the same whatever the pieces in which they come', async () => {
    const bytes = Buffer.concat([
      GREETING,
      requestOf(1, 'one'),
      frame(
        FRAME.headers,
        END_HEADERS | PRIORITY | PADDED,
        3,
        Buffer.concat([Buffer.from([2]), Buffer.alloc(5), REQUEST_FIELDS, Buffer.alloc(2)]),
      ),
      frame(FRAME.data, PADDED, 3, Buffer.from('\x03two\0\0\0')),
      frame(FRAME.ping, 0, 0, Buffer.from('12345678')),
      frame(FRAME.data, 0, 3),
      frame(FRAME.data, END_STREAM, 3, Buffer.from(' and more')),
      frame(FRAME.headers, 0, 5, REQUEST_FIELDS.subarray(0, 9)),
      frame(FRAME.continuation, 0, 5, REQUEST_FIELDS.subarray(9, 10)),
      frame(FRAME.continuation, END_HEADERS, 5, REQUEST_FIELDS.subarray(10)),
      frame(FRAME.data, 0, 5, Buffer.from('with fields behind it')),
      frame(FRAME.headers, END_HEADERS | END_STREAM, 5, fieldBlock([['a', 'b']])),
      frame(77, 255, 3, Buffer.from('nobody knows this')),
    ]);
    for (let size = 1; size <= bytes.length; size++) {
      const peer = echoing();
      for (let at = 0; at < bytes.length; at += size) peer.say(bytes.subarray(at, at + size));
      await rest();
      expect([...peer.answers]).toEqual([
        [1, answered('ONE')],
        [3, answered('TWO AND MORE')],
        [5, answered('WITH FIELDS BEHIND IT')],
      ]);
      expect(peer.frames).toContainEqual({ type: FRAME.ping, flags: ACK, id: 0, payload: Buffer.from('12345678') });
      expect(peer.endedBy).toBeUndefined();
      peer.connection.destroy();
    }
  });

  test('too large are told of once, and what comes of them afterwards does no harm', async () => {
    const peer = echoing();
    peer.say(GREETING, frame(FRAME.headers, END_HEADERS, 1, REQUEST_FIELDS));
    for (let i = 0; i < 8; i++) peer.say(frame(FRAME.data, i === 7 ? END_STREAM : 0, 1, Buffer.alloc(10_000)));
    peer.say(requestOf(3, 'next'));
    await rest();
    expect([...peer.answers]).toEqual([
      [1, answered('too large')],
      [3, answered('NEXT')],
    ]);
    expect(peer.frames).toContainEqual({ type: FRAME.resetStream, flags: 0, id: 1, payload: number(CODE.noError) });
  });

  test('of any number are taken: windows that were used up are opened again', async () => {
    const bodies: number[] = [];
    const peer = new Peer({ maxBodyBytes: 1 << 21, onRequest: (_, body) => bodies.push(body?.length ?? 0) });
    peer.say(GREETING);
    let [connection, stream] = [65_535, 0];
    const opened = (id: number) =>
      peer.frames
        .filter(({ type, id: of }) => type === FRAME.windowUpdate && of === id)
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
    for (let id = 1; id < 24; id += 2) {
      peer.say(frame(FRAME.headers, END_HEADERS, id, REQUEST_FIELDS));
      stream = 1 << 20;
      for (let i = 0; i < 100; i++) {
        await turn();
        expect(Math.min(connection + opened(0), stream + opened(id))).toBeGreaterThanOrEqual(16_384);
        connection -= 16_384;
        stream -= 16_384;
        peer.say(frame(FRAME.data, i === 99 ? END_STREAM : 0, id, Buffer.alloc(16_384)));
      }
    }
    await rest();
    expect(bodies).toEqual(Array.from({ length: 12 }, () => 1_638_400));
  });
});

describe('answers', () => {
  test('of one turn are one write', async () => {
    const peer = echoing();
    peer.say(GREETING);
    await rest();
    const before = peer.socket.writes.length;
    peer.say(Buffer.concat(Array.from({ length: 50 }, (_, i) => requestOf(2 * i + 1, 'x'))));
    await rest();
    expect(peer.answers.size).toBe(50);
    expect(peer.socket.writes.length).toBe(before + 1);
  });

  test('keep to the windows of the peer, and go on when they open', async () => {
    const peer = echoing();
    peer.say(
      PREFACE,
      frame(FRAME.settings, 0, 0, setting(SETTING.initialWindowSize, 10)),
      requestOf(1, 'a'.repeat(25)),
      requestOf(3, 'short'),
    );
    await rest();
    expect([...peer.answers]).toEqual([[3, answered('SHORT')]]);
    peer.say(frame(FRAME.windowUpdate, 0, 1, number(10)));
    await rest();
    expect(peer.answers.size).toBe(1);
    peer.say(frame(FRAME.settings, 0, 0, setting(SETTING.initialWindowSize, 20)));
    await rest();
    expect(peer.answers.get(1)).toEqual(answered('A'.repeat(25)));

    // The connection's own window: 65,535, of which 30 are used.
    peer.say(
      frame(FRAME.settings, 0, 0, setting(SETTING.initialWindowSize, 1 << 20)),
      frame(FRAME.headers, END_HEADERS, 5, REQUEST_FIELDS),
    );
    for (let i = 0; i < 3; i++) peer.say(frame(FRAME.data, i === 2 ? END_STREAM : 0, 5, Buffer.alloc(13_000, 'b')));
    for (const id of [7, 9]) {
      peer.say(frame(FRAME.headers, END_HEADERS, id, REQUEST_FIELDS));
      for (let i = 0; i < 3; i++) peer.say(frame(FRAME.data, i === 2 ? END_STREAM : 0, id, Buffer.alloc(13_000, 'c')));
    }
    await rest();
    expect(peer.answers.get(5)).toEqual(answered('B'.repeat(39_000)));
    expect(peer.answers.get(7)).toBeUndefined();
    expect(peer.frames.filter(({ type }) => type === FRAME.data).reduce((sum, { payload }) => sum + payload.length, 0)).toBe(65_535);
    expect(Math.max(...peer.frames.map(({ payload }) => payload.length))).toBeLessThanOrEqual(16_384);
    peer.say(frame(FRAME.windowUpdate, 0, 0, number(100_000)));
    await rest();
    expect(peer.answers.get(7)).toEqual(answered('C'.repeat(39_000)));
    expect(peer.answers.get(9)).toEqual(answered('C'.repeat(39_000)));
  });

  test('to nobody go nowhere', async () => {
    const exchanges: Exchange[] = [];
    let gone = 0;
    const peer = new Peer({
      maxBodyBytes: 100,
      onRequest: (exchange) => {
        exchanges.push(exchange);
        exchange.onGone(() => gone++);
      },
    });
    peer.say(
      GREETING,
      requestOf(1, 'a'),
      requestOf(3, 'b'),
      frame(FRAME.resetStream, 0, 1, number(8)),
      frame(FRAME.resetStream, 0, 1, number(8)),
    );
    await rest();
    expect([gone, exchanges[0]?.open, exchanges[1]?.open]).toEqual([1, false, true]);
    exchanges[0]?.onGone(() => gone++);
    expect(gone).toBe(2);
    for (const exchange of exchanges) for (const _ of [1, 2]) exchange.answer(HEAD, Buffer.from('x'), TRAILERS);
    await rest();
    expect([...peer.answers.keys()]).toEqual([3]);
    peer.connection.destroy();
    await rest();
    expect([gone, peer.closed]).toEqual([2, true]);
  });

  test('that the peer does not read are not gathered without end', async () => {
    const peer = echoing();
    await rest();
    Object.defineProperty(peer.socket, 'writableLength', { value: (1 << 26) + 1 });
    peer.say(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    await rest();
    expect(peer.closed).toBe(true);
  });
});

describe('a connection ends', () => {
  test.each<[string, number, readonly Buffer[]]>([
    ['another protocol', CODE.protocol, [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
    ['a first frame that is not SETTINGS', CODE.protocol, [PREFACE, requestOf(1, 'a')]],
    ['a frame larger than was offered', CODE.frameSize, [GREETING, frame(77, 0, 0, Buffer.alloc(16_385))]],
    ['a body without a request', CODE.protocol, [GREETING, frame(FRAME.data, 0, 1, Buffer.alloc(1))]],
    ['a body behind its end', CODE.streamClosed, [GREETING, requestOf(1, 'held'), frame(FRAME.data, END_STREAM, 1)]],
    [
      'padding longer than its frame',
      CODE.protocol,
      [GREETING, frame(FRAME.headers, END_HEADERS, 1, REQUEST_FIELDS), frame(FRAME.data, PADDED, 1, Buffer.from([1]))],
    ],
    ['padding longer than its fields', CODE.protocol, [GREETING, frame(FRAME.headers, END_HEADERS | PADDED, 1, Buffer.from([9, 0x88]))]],
    ['fields cut short by a priority', CODE.protocol, [GREETING, frame(FRAME.headers, END_HEADERS | PRIORITY, 1, Buffer.alloc(4))]],
    ['an even number', CODE.protocol, [GREETING, requestOf(2, 'a')]],
    ['fields twice', CODE.protocol, [GREETING, requestOf(1, 'held'), frame(FRAME.headers, END_HEADERS, 1, REQUEST_FIELDS)]],
    ['fields that are no HPACK', CODE.compression, [GREETING, frame(FRAME.headers, END_HEADERS, 1, Buffer.from([0x80]))]],
    [
      'fields that another frame interrupts',
      CODE.protocol,
      [GREETING, frame(FRAME.headers, 0, 1, REQUEST_FIELDS), frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ],
    ['a continuation of nothing', CODE.protocol, [GREETING, frame(FRAME.continuation, END_HEADERS, 1)]],
    [
      'a continuation of another',
      CODE.protocol,
      [GREETING, frame(FRAME.headers, 0, 1, REQUEST_FIELDS), frame(FRAME.continuation, END_HEADERS, 3)],
    ],
    [
      'empty continuations without end',
      CODE.enhanceYourCalm,
      [GREETING, frame(FRAME.headers, 0, 1), ...Array.from({ length: 70 }, () => frame(FRAME.continuation, 0, 1))],
    ],
    [
      'fields without end',
      CODE.enhanceYourCalm,
      [GREETING, frame(FRAME.headers, 0, 1), ...Array.from({ length: 5 }, () => frame(FRAME.continuation, 0, 1, Buffer.alloc(16_384)))],
    ],
    ['a reset of nothing', CODE.protocol, [GREETING, frame(FRAME.resetStream, 0, 1, number(8))]],
    ['a reset of another size', CODE.frameSize, [GREETING, requestOf(1, 'held'), frame(FRAME.resetStream, 0, 1, Buffer.alloc(5))]],
    ['settings of a stream', CODE.protocol, [GREETING, frame(FRAME.settings, 0, 1)]],
    ['settings of another size', CODE.frameSize, [GREETING, frame(FRAME.settings, 0, 0, Buffer.alloc(5))]],
    ['an answer to settings that says something', CODE.frameSize, [GREETING, frame(FRAME.settings, ACK, 0, Buffer.alloc(6))]],
    [
      'a window beyond the largest',
      CODE.flowControl,
      [GREETING, frame(FRAME.settings, 0, 0, setting(SETTING.initialWindowSize, 0x8000_0000))],
    ],
    ['frames too small', CODE.protocol, [GREETING, frame(FRAME.settings, 0, 0, setting(SETTING.maxFrameSize, 16_383))]],
    ['a ping of another size', CODE.frameSize, [GREETING, frame(FRAME.ping, 0, 0, Buffer.alloc(7))]],
    ['a ping of a stream', CODE.protocol, [GREETING, frame(FRAME.ping, 0, 1, Buffer.alloc(8))]],
    ['a window that opens by nothing', CODE.protocol, [GREETING, frame(FRAME.windowUpdate, 0, 0, number(0))]],
    ['a window that opens too far', CODE.flowControl, [GREETING, frame(FRAME.windowUpdate, 0, 0, number(0x7fff_ffff))]],
    [
      "a stream's window that opens too far",
      CODE.flowControl,
      [GREETING, requestOf(1, 'held'), frame(FRAME.windowUpdate, 0, 1, number(0x7fff_ffff))],
    ],
    ['a window of nothing', CODE.protocol, [GREETING, frame(FRAME.windowUpdate, 0, 9, number(1))]],
    ['a promise', CODE.protocol, [GREETING, frame(FRAME.pushPromise, END_HEADERS, 1, number(2))]],
  ])('at %s', async (_, code, bytes) => {
    const peer = new Peer({ maxBodyBytes: 1 << 22, onRequest: () => {} });
    peer.say(...bytes);
    await pause(5);
    expect([peer.endedBy, peer.closed]).toEqual([code, true]);
  });

  test('when it is closed and nothing is under way', async () => {
    const exchanges: Exchange[] = [];
    const peer = new Peer({ maxBodyBytes: 100, onRequest: (exchange) => exchanges.push(exchange) });
    peer.say(GREETING, requestOf(1, 'held'));
    await rest();
    peer.connection.close();
    peer.say(requestOf(3, 'too late'));
    await rest();
    expect([peer.endedBy, peer.socket.writableEnded, exchanges.length]).toEqual([CODE.noError, false, 1]);
    exchanges[0]?.answer(HEAD, Buffer.from('x'), TRAILERS);
    await rest();
    expect([peer.answers.size, peer.socket.writableEnded]).toEqual([1, true]);
  });
});
