/**
 * The server's side of one connection of HTTP/2 (RFC 9113), for exchanges of one short message each way: a request is handed over when it is whole, and its
 * answer is written as a whole, as far as the peer's windows let it. What many answers say in one turn of the event loop is one write.
 */
import type { Duplex } from 'node:stream';
import { type Answers, Exchange, NOTHING, STREAM_WINDOW } from './exchange.ts';
import {
  ACK,
  CODE,
  END_HEADERS,
  END_STREAM,
  FIRST_WINDOW,
  FRAME,
  FRAME_BYTES,
  FRAME_HEADER,
  MAX_FRAME_BYTES,
  MAX_WINDOW,
  PADDED,
  PRIORITY,
  SETTING,
  SETTING_BYTES,
} from './frame.ts';
import { FrameWriter, OUT_BYTES } from './frame_writer.ts';
import { FieldReader, HpackError } from './hpack.ts';

export interface ConnectionOptions {
  /** Bytes of a request's body, beyond which it is not gathered further. */
  readonly maxBodyBytes: number;
  /** A request is whole; without a body when that is larger than is taken. May throw nothing. */
  readonly onRequest: (exchange: Exchange, body: Buffer | undefined) => void;
  readonly onClose: () => void;
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const PING = Buffer.alloc(8);
const PRIORITY_BYTES = 5;
const CONNECTION_WINDOW = 1 << 24;
/** Of one block of fields, as it is sent. */
const MAX_BLOCK_BYTES = 65_536;
const PING_MS = 60_000;
const PONG_MS = 20_000;

/** The peer broke the protocol: the connection ends with this code. */
class ConnectionError extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`HTTP/2 error ${code}`);
    this.code = code;
  }
}

export class Connection implements Answers {
  readonly #socket: Duplex;
  readonly #writer: FrameWriter;
  readonly #options: ConnectionOptions;
  readonly #fields = new FieldReader();
  readonly #exchanges = new Map<number, Exchange>();
  /** Exchanges whose answer waits for a window. */
  readonly #blocked = new Map<number, Exchange>();
  /** The beginning of a frame whose end has not come. */
  #rest: Buffer | undefined;
  #greeted = false;
  #settled = false;
  /** A block of fields that goes on in CONTINUATION frames. */
  #block: { readonly id: number; readonly last: boolean; readonly parts: Buffer[]; size: number } | undefined;
  #lastId = 0;
  #received = 0;
  #sendWindow = FIRST_WINDOW;
  #peerWindow = FIRST_WINDOW;
  #peerFrame = FRAME_BYTES;
  #closing = false;
  #ended = false;
  #pong: NodeJS.Timeout | undefined;

  constructor(socket: Duplex, options: ConnectionOptions) {
    this.#socket = socket;
    this.#writer = new FrameWriter(socket);
    this.#options = options;
    const pings = setInterval(() => this.#ping(), PING_MS).unref();
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    // It is closed as well.
    socket.on('error', () => {});
    socket.on('end', () => this.destroy());
    socket.once('close', () => {
      clearInterval(pings);
      clearTimeout(this.#pong);
      this.#ended = true;
      for (const exchange of this.#exchanges.values()) exchange.end();
      this.#exchanges.clear();
      this.#blocked.clear();
      options.onClose();
    });
    this.#writer.settings([
      [SETTING.maxConcurrentStreams, MAX_WINDOW],
      [SETTING.initialWindowSize, STREAM_WINDOW],
      [SETTING.maxHeaderListSize, MAX_BLOCK_BYTES],
    ]);
    this.#writer.numbers(FRAME.windowUpdate, 0, CONNECTION_WINDOW - FIRST_WINDOW);
  }

  /** Takes no further requests, and ends when those under way have been answered. */
  close(): void {
    if (this.#closing || this.#ended) return;
    this.#closing = true;
    this.#writer.numbers(FRAME.goAway, 0, this.#lastId, CODE.noError);
    this.#endIfIdle();
  }

  destroy(): void {
    this.#ended = true;
    this.#socket.destroy();
  }

  /** Of `Exchange` alone. */
  answer(id: number, exchange: Exchange, head: Buffer): void {
    this.#writer.fields(0, id, head);
    this.#pump(id, exchange);
  }

  /** Of `Exchange` alone. */
  refuse(id: number, exchange: Exchange, head: Buffer): void {
    this.#writer.fields(END_STREAM, id, head);
    this.#finish(id, exchange);
  }

  #take(chunk: Buffer): void {
    if (this.#ended) return;
    let bytes = chunk;
    if (this.#rest) {
      bytes = Buffer.concat([this.#rest, chunk]);
      this.#rest = undefined;
    }
    let at = 0;
    try {
      if (!this.#greeted) {
        const length = Math.min(PREFACE.length, bytes.length);
        if (PREFACE.compare(bytes, 0, length, 0, length) !== 0) throw new ConnectionError(CODE.protocol);
        if (length === PREFACE.length) {
          this.#greeted = true;
          at = length;
        }
      }
      while (this.#greeted && bytes.length - at >= FRAME_HEADER) {
        const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
        if (length > FRAME_BYTES) throw new ConnectionError(CODE.frameSize);
        const from = at + FRAME_HEADER;
        if (from + length > bytes.length) break;
        this.#frame(bytes[at + 3] as number, bytes[at + 4] as number, bytes.readUInt32BE(at + 5) & MAX_WINDOW, bytes, from, from + length);
        at = from + length;
      }
    } catch (error) {
      const code = error instanceof ConnectionError ? error.code : error instanceof HpackError ? CODE.compression : undefined;
      if (code === undefined) throw error;
      this.#fail(code);
      return;
    }
    if (at < bytes.length) this.#rest = at === 0 ? bytes : bytes.subarray(at);
  }

  #frame(type: number, flags: number, id: number, bytes: Buffer, from: number, end: number): void {
    if (this.#block && (type !== FRAME.continuation || id !== this.#block.id)) throw new ConnectionError(CODE.protocol);
    if (!this.#settled && type !== FRAME.settings) throw new ConnectionError(CODE.protocol);
    if (type === FRAME.data) this.#onData(flags, id, bytes, from, end);
    else if (type === FRAME.headers) this.#onHeaders(flags, id, bytes, from, end);
    else if (type === FRAME.windowUpdate) this.#onWindowUpdate(id, bytes, from, end);
    else if (type === FRAME.resetStream) this.#onReset(id, from, end);
    else if (type === FRAME.settings) this.#onSettings(flags, id, bytes, from, end);
    else if (type === FRAME.ping) this.#onPing(flags, id, bytes, from, end);
    else if (type === FRAME.continuation) this.#onContinuation(flags, bytes, from, end);
    else if (type === FRAME.pushPromise) throw new ConnectionError(CODE.protocol);
    // GOAWAY: what the peer has asked for is answered still. PRIORITY says nothing here, and what is unknown is stepped over (section 4.1).
  }

  #onHeaders(flags: number, id: number, bytes: Buffer, from: number, end: number): void {
    if (id % 2 === 0) throw new ConnectionError(CODE.protocol);
    const padding = flags & PADDED ? 1 + (bytes[from] ?? 0) : 0;
    const start = from + (padding > 0 ? 1 : 0) + (flags & PRIORITY ? PRIORITY_BYTES : 0);
    const stop = end - (padding > 0 ? padding - 1 : 0);
    if (start > stop) throw new ConnectionError(CODE.protocol);
    const last = (flags & END_STREAM) !== 0;
    if (flags & END_HEADERS) this.#onFields(id, last, bytes, start, stop);
    else this.#block = { id, last, parts: [bytes.subarray(start, stop)], size: stop - start };
  }

  #onContinuation(flags: number, bytes: Buffer, from: number, end: number): void {
    const block = this.#block;
    if (!block) throw new ConnectionError(CODE.protocol);
    block.parts.push(bytes.subarray(from, end));
    block.size += end - from;
    // Empty frames without end are no way either to keep a connection busy.
    if (block.size > MAX_BLOCK_BYTES || block.parts.length > MAX_BLOCK_BYTES / 1024) throw new ConnectionError(CODE.enhanceYourCalm);
    if ((flags & END_HEADERS) === 0) return;
    this.#block = undefined;
    this.#onFields(block.id, block.last, Buffer.concat(block.parts), 0, block.size);
  }

  /** A whole block. It is read in any case: the ones behind it build on it. */
  #onFields(id: number, last: boolean, bytes: Buffer, from: number, end: number): void {
    const fields = this.#fields.read(bytes, from, end);
    if (id <= this.#lastId) {
      // Behind the body; or of an exchange that is over, which the peer could not know yet.
      if (!last) throw new ConnectionError(CODE.protocol);
      const exchange = this.#exchanges.get(id);
      if (exchange?.receiving) this.#whole(exchange);
      return;
    }
    this.#lastId = id;
    // The peer was told that it is not taken, and asks again elsewhere.
    if (this.#closing) return;
    let [path, contentType] = ['', ''];
    for (const { name, value } of fields) {
      if (name === ':path') path = value;
      else if (name === 'content-type') contentType = value;
    }
    const exchange = new Exchange(this, id, this.#peerWindow, path, contentType);
    this.#exchanges.set(id, exchange);
    if (last) this.#whole(exchange);
  }

  #onData(flags: number, id: number, bytes: Buffer, from: number, end: number): void {
    if (id === 0 || id > this.#lastId) throw new ConnectionError(CODE.protocol);
    const size = end - from;
    this.#received += size;
    // Windows open again long before they are used up, so none can be overrun.
    if (this.#received > CONNECTION_WINDOW / 2) {
      this.#writer.numbers(FRAME.windowUpdate, 0, this.#received);
      this.#received = 0;
    }
    const padding = flags & PADDED ? 1 + (bytes[from] ?? 0) : 0;
    if (padding > size) throw new ConnectionError(CODE.protocol);
    const exchange = this.#exchanges.get(id);
    // Of one that is over: the peer could not know yet.
    if (!exchange) return;
    if (!exchange.receiving) throw new ConnectionError(CODE.streamClosed);
    exchange.receiveWindow -= size;
    const last = (flags & END_STREAM) !== 0;
    if (size > padding) this.#gather(exchange, bytes.subarray(from + (padding > 0 ? 1 : 0), end - (padding > 0 ? padding - 1 : 0)));
    if (last) this.#whole(exchange);
    else if (exchange.size > this.#options.maxBodyBytes) this.#options.onRequest(exchange, undefined);
    else if (exchange.receiveWindow < STREAM_WINDOW / 2) {
      this.#writer.numbers(FRAME.windowUpdate, id, STREAM_WINDOW - exchange.receiveWindow);
      exchange.receiveWindow = STREAM_WINDOW;
    }
  }

  #gather(exchange: Exchange, piece: Buffer): void {
    exchange.size += piece.length;
    if (exchange.size > this.#options.maxBodyBytes) exchange.first = exchange.more = undefined;
    else if (!exchange.first) exchange.first = piece;
    else if (exchange.more) exchange.more.push(piece);
    else exchange.more = [exchange.first, piece];
  }

  #whole(exchange: Exchange): void {
    exchange.receiving = false;
    const { first, more, size } = exchange;
    exchange.first = exchange.more = undefined;
    this.#options.onRequest(
      exchange,
      size > this.#options.maxBodyBytes ? undefined : more ? Buffer.concat(more, size) : (first ?? NOTHING),
    );
  }

  #onReset(id: number, from: number, end: number): void {
    if (end - from !== 4) throw new ConnectionError(CODE.frameSize);
    if (id === 0 || id > this.#lastId) throw new ConnectionError(CODE.protocol);
    this.#drop(id);
  }

  #onSettings(flags: number, id: number, bytes: Buffer, from: number, end: number): void {
    if (id !== 0) throw new ConnectionError(CODE.protocol);
    if ((end - from) % SETTING_BYTES !== 0 || (flags & ACK && end > from)) throw new ConnectionError(CODE.frameSize);
    if (flags & ACK) return;
    this.#settled = true;
    for (let at = from; at < end; at += SETTING_BYTES) {
      const value = bytes.readUInt32BE(at + 2);
      switch (bytes.readUInt16BE(at)) {
        case SETTING.initialWindowSize:
          if (value > MAX_WINDOW) throw new ConnectionError(CODE.flowControl);
          for (const exchange of this.#exchanges.values()) exchange.sendWindow += value - this.#peerWindow;
          this.#peerWindow = value;
          break;
        case SETTING.maxFrameSize:
          if (value < FRAME_BYTES || value > MAX_FRAME_BYTES) throw new ConnectionError(CODE.protocol);
          this.#peerFrame = Math.min(value, OUT_BYTES - FRAME_HEADER);
          break;
        case SETTING.enablePush:
          if (value > 1) throw new ConnectionError(CODE.protocol);
          break;
        default:
        // The rest concerns what is not done here.
      }
    }
    this.#writer.frame(FRAME.settings, ACK, 0, NOTHING);
    this.#pumpAll();
  }

  #onPing(flags: number, id: number, bytes: Buffer, from: number, end: number): void {
    if (id !== 0) throw new ConnectionError(CODE.protocol);
    if (end - from !== PING.length) throw new ConnectionError(CODE.frameSize);
    if (flags & ACK) clearTimeout(this.#pong);
    else {
      this.#writer.frame(FRAME.ping, ACK, 0, bytes.subarray(from, end));
    }
  }

  #onWindowUpdate(id: number, bytes: Buffer, from: number, end: number): void {
    if (end - from !== 4) throw new ConnectionError(CODE.frameSize);
    if (id > this.#lastId) throw new ConnectionError(CODE.protocol);
    const increment = bytes.readUInt32BE(from) & MAX_WINDOW;
    if (increment === 0) throw new ConnectionError(CODE.protocol);
    if (id === 0) {
      this.#sendWindow += increment;
      if (this.#sendWindow > MAX_WINDOW) throw new ConnectionError(CODE.flowControl);
      this.#pumpAll();
      return;
    }
    const exchange = this.#exchanges.get(id);
    if (!exchange) return;
    exchange.sendWindow += increment;
    if (exchange.sendWindow > MAX_WINDOW) throw new ConnectionError(CODE.flowControl);
    if (this.#blocked.has(id)) this.#pump(id, exchange);
  }

  #pumpAll(): void {
    for (const [id, exchange] of this.#blocked) {
      if (this.#sendWindow <= 0) return;
      this.#pump(id, exchange);
    }
  }

  /** Writes what the windows let through of an answer, and its end when it is all. */
  #pump(id: number, exchange: Exchange): void {
    while (exchange.rest.length > 0) {
      const size = Math.min(exchange.rest.length, exchange.sendWindow, this.#sendWindow, this.#peerFrame);
      if (size <= 0) {
        this.#blocked.set(id, exchange);
        return;
      }
      const all = size === exchange.rest.length;
      this.#writer.frame(FRAME.data, 0, id, all ? exchange.rest : exchange.rest.subarray(0, size));
      exchange.rest = all ? NOTHING : exchange.rest.subarray(size);
      exchange.sendWindow -= size;
      this.#sendWindow -= size;
    }
    this.#blocked.delete(id);
    this.#writer.fields(END_STREAM, id, exchange.trailers);
    this.#finish(id, exchange);
  }

  /** The answer is out. What of the request has not come yet nobody wants (section 8.1). */
  #finish(id: number, exchange: Exchange): void {
    if (exchange.receiving) this.#writer.numbers(FRAME.resetStream, id, CODE.noError);
    this.#drop(id);
  }

  #drop(id: number): void {
    const exchange = this.#exchanges.get(id);
    if (!exchange) return;
    this.#exchanges.delete(id);
    this.#blocked.delete(id);
    exchange.end();
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (!this.#closing || this.#exchanges.size > 0) return;
    this.#writer.flush();
    this.#socket.end();
  }

  #fail(code: number): void {
    this.#writer.numbers(FRAME.goAway, 0, this.#lastId, code);
    this.#writer.flush();
    this.#ended = true;
    this.#socket.end(() => this.#socket.destroy());
  }

  #ping(): void {
    // After a long stall both timers are due at once.
    if (this.#ended) return;
    this.#pong = setTimeout(() => this.destroy(), PONG_MS);
    this.#writer.frame(FRAME.ping, 0, 0, PING);
  }
}
