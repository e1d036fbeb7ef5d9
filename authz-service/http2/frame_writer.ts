/** Frames, gathered: what is said in one turn of the event loop is one write. */
import type { Duplex } from 'node:stream';
import { END_HEADERS, FRAME, FRAME_HEADER, SETTING_BYTES } from './frame.ts';
import { NO_TABLE } from './hpack.ts';

/** The largest frame that is written, its header included. */
export const OUT_BYTES = 65_536;
/** A peer that reads nothing of so much is not served further. */
const MAX_UNREAD_BYTES = 1 << 26;

export class FrameWriter {
  readonly #socket: Duplex;
  #out = Buffer.allocUnsafeSlow(OUT_BYTES);
  #length = 0;
  #spare: Buffer<ArrayBuffer> | undefined;
  #flushing = false;
  #saidNoTable = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  frame(type: number, flags: number, id: number, payload: Uint8Array): void {
    this.#begin(type, flags, id, payload.length);
    this.#put(payload);
  }

  /** A frame whose payload is numbers of four bytes. */
  numbers(type: number, id: number, ...values: readonly number[]): void {
    this.#begin(type, 0, id, 4 * values.length);
    for (const value of values) this.#length = this.#out.writeUInt32BE(value, this.#length);
  }

  settings(settings: readonly (readonly [name: number, value: number])[]): void {
    this.#begin(FRAME.settings, 0, 0, SETTING_BYTES * settings.length);
    for (const [name, value] of settings) {
      this.#length = this.#out.writeUInt16BE(name, this.#length);
      this.#length = this.#out.writeUInt32BE(value, this.#length);
    }
  }

  /** @param block fields as `fieldBlock` writes them */
  fields(flags: number, id: number, block: Buffer): void {
    if (this.#saidNoTable) {
      this.frame(FRAME.headers, END_HEADERS | flags, id, block);
    } else {
      this.#saidNoTable = true;
      this.frame(FRAME.headers, END_HEADERS | flags, id, Buffer.concat([NO_TABLE, block]));
    }
  }

  /** Writes at once what was gathered. */
  flush(): void {
    if (this.#length === 0 || !this.#socket.writable) return;
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) {
      this.#socket.destroy();
      return;
    }
    const out = this.#out;
    this.#socket.write(out.subarray(0, this.#length), () => (this.#spare = out));
    this.#out = this.#spare ?? Buffer.allocUnsafeSlow(OUT_BYTES);
    this.#spare = undefined;
    this.#length = 0;
  }

  /** The header of a frame, for whose payload there is then room. */
  #begin(type: number, flags: number, id: number, length: number): void {
    if (this.#length + FRAME_HEADER + length > OUT_BYTES) this.flush();
    const out = this.#out;
    const at = this.#length;
    out[at] = length >> 16;
    out[at + 1] = length >> 8;
    out[at + 2] = length;
    out[at + 3] = type;
    out[at + 4] = flags;
    out[at + 5] = id >> 24;
    out[at + 6] = id >> 16;
    out[at + 7] = id >> 8;
    out[at + 8] = id;
    this.#length = at + FRAME_HEADER;
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.flush();
    });
  }

  #put(bytes: Uint8Array): void {
    this.#out.set(bytes, this.#length);
    this.#length += bytes.length;
  }
}
