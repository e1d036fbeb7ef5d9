/** A peer of the connection under test that says what frames it likes, and reads what comes back. */
import { Duplex } from 'node:stream';
import { Connection, type ConnectionOptions } from './connection.ts';
import { ACK, CODE, END_HEADERS, END_STREAM, FRAME } from './frame.ts';
import { FieldReader, fieldBlock } from './hpack.ts';

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export function frame(type: number, flags: number, id: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(id, 5);
  return Buffer.concat([header, payload]);
}

export const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export const setting = (name: number, value: number): Buffer => Buffer.concat([Buffer.from([0, name]), number(value)]);
export const GREETING = Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]);
export const REQUEST_FIELDS: Buffer = fieldBlock([
  [':method', 'POST'],
  [':path', '/a.Service/Call'],
  ['content-type', 'application/grpc'],
]);

export const requestOf = (id: number, body: string): Buffer =>
  Buffer.concat([frame(FRAME.headers, END_HEADERS, id, REQUEST_FIELDS), frame(FRAME.data, END_STREAM, id, Buffer.from(body))]);

class Socket extends Duplex {
  readonly writes: Buffer[] = [];
  override _read(): void {}
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.writes.push(Buffer.from(chunk));
    setImmediate(done);
  }
}

export class Peer {
  readonly socket = new Socket();
  readonly connection: Connection;
  closed = false;

  constructor(options: Pick<ConnectionOptions, 'maxBodyBytes' | 'onRequest'>) {
    this.connection = new Connection(this.socket, { ...options, onClose: () => (this.closed = true) });
  }

  say(...bytes: readonly Buffer[]): void {
    for (const piece of bytes) this.socket.push(piece);
  }

  /** What has come so far. */
  get frames(): Frame[] {
    const bytes = Buffer.concat(this.socket.writes);
    const frames: Frame[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.readUIntBE(at, 3);
      frames.push({
        type: bytes[at + 3] as number,
        flags: bytes[at + 4] as number,
        id: bytes.readUInt32BE(at + 5),
        payload: bytes.subarray(at + 9, at + 9 + length),
      });
      at += 9 + length;
    }
    return frames;
  }

  /** The answers that are whole: their fields, those behind the body included, and the body. */
  get answers(): Map<number, { fields: Record<string, string>; body: string }> {
    const reader = new FieldReader();
    const open = new Map<number, { fields: Record<string, string>; body: string }>();
    const whole: typeof open = new Map();
    for (const { type, flags, id, payload } of this.frames) {
      const answer = open.get(id) ?? { fields: {}, body: '' };
      if (type === FRAME.headers) for (const { name, value } of reader.read(payload, 0, payload.length)) answer.fields[name] = value;
      else if (type === FRAME.data) answer.body += payload.toString();
      else continue;
      open.set(id, answer);
      if (flags & END_STREAM) whole.set(id, answer);
    }
    return whole;
  }

  /** The code by which the connection was ended, if it was. */
  get endedBy(): number | undefined {
    return this.frames.find(({ type }) => type === FRAME.goAway)?.payload.readUInt32BE(4);
  }
}

export { ACK, CODE, END_HEADERS, END_STREAM, FRAME };
