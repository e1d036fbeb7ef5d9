/** A PostgreSQL client that sends whatever bytes it is told to, and keeps whatever bytes come back. */
import { connect, type Socket } from 'node:net';

export const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
};
export const int16 = (value: number): Buffer => int32(value).subarray(2);
export const text = (value: string): Buffer => Buffer.from(`${value}\0`);

/** A message with its own length in front, or with another that is claimed. */
export function message(type: string, parts: readonly Buffer[] = [], length?: number): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(length ?? body.length + 4), body]);
}

export const query = (sql: string): Buffer => message('Q', [text(sql)]);
export const parse = (name: string, sql: string, types: readonly number[] = []): Buffer =>
  message('P', [text(name), text(sql), int16(types.length), ...types.map(int32)]);
/** @param format of the results: 0 text, 1 binary */
export const bind = (portal: string, name: string, values: readonly (string | Buffer | null)[] = [], format = 0): Buffer =>
  message('B', [
    ...[text(portal), text(name), int16(0), int16(values.length)],
    ...values.flatMap((value) => (value === null ? [int32(-1)] : [int32(Buffer.byteLength(value)), Buffer.from(value)])),
    ...[int16(1), int16(format)],
  ]);
export const describeOf = (kind: 'S' | 'P', name: string): Buffer => message('D', [Buffer.from(kind), text(name)]);
export const closeOf = (kind: 'S' | 'P', name: string): Buffer => message('C', [Buffer.from(kind), text(name)]);
export const execute = (portal = '', rows = 0): Buffer => message('E', [text(portal), int32(rows)]);
export const sync = (): Buffer => message('S');
export const flush = (): Buffer => message('H');

export function startup(parameters: Readonly<Record<string, string>>, version = 196_608): Buffer {
  const body = Buffer.concat([
    int32(version),
    ...Object.entries(parameters).flatMap(([name, value]) => [text(name), text(value)]),
    Buffer.alloc(1),
  ]);
  return Buffer.concat([int32(body.length + 4), body]);
}

export interface Received {
  readonly type: string;
  readonly body: Buffer;
}

export class Wire {
  readonly socket: Socket;
  readonly messages: Received[] = [];
  /** Everything since the log-in, as it came. */
  bytes = Buffer.alloc(0);
  closed = false;
  #rest = Buffer.alloc(0);
  #heard: () => void = () => {};

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (chunk) => this.#take(chunk));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
      this.#heard();
    });
  }

  #take(chunk: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 5) {
      const end = this.#rest.readUInt32BE(1) + 1;
      if (this.#rest.length < end) break;
      this.messages.push({ type: this.#rest.toString('latin1', 0, 1), body: this.#rest.subarray(5, end) });
      this.#rest = this.#rest.subarray(end);
    }
    this.#heard();
  }

  send(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Waits until it is so, until the connection has closed or for so many milliseconds. */
  async until(so: () => boolean, ms = 8_000): Promise<void> {
    for (const deadline = Date.now() + ms; !so() && !this.closed && Date.now() < deadline; )
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, deadline - Date.now()));
        this.#heard = () => {
          clearTimeout(timer);
          resolve();
        };
      });
  }

  of(type: string): Received[] {
    return this.messages.filter((received) => received.type === type);
  }

  async logIn(token: string, parameters: Readonly<Record<string, string>> = {}): Promise<this> {
    this.send(startup({ user: 'agent', database: 'ledger', ...parameters }));
    await this.until(() => this.messages.length > 0);
    this.send(message('p', [text(token)]));
    await this.until(() => this.of('Z').length > 0);
    return this;
  }

  /** Forgets what came so far. */
  forget(): void {
    this.messages.length = 0;
    this.bytes = Buffer.alloc(0);
  }

  end(): void {
    this.socket.destroy();
  }
}

/** A field of an ErrorResponse or NoticeResponse. */
export function field(body: Buffer, code: string): string {
  for (const part of body.toString().split('\0')) if (part.startsWith(code)) return part.slice(1);
  return '';
}
