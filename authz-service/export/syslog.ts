/**
 * Syslog: RFC 5424 messages with octet counting (RFC 6587 3.4.1) over TLS (RFC 5425), or TCP. Syslog has no acknowledgement, so each batch is a connection of
 * its own: we end our side behind the last byte, and the receiver closes when it has read that far. A receiver that goes away closes, too, what it has not
 * read; so the batch counts when it then accepts the next connection, which the next batch will use. Whatever else happens, the batch is sent again.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { away, type Destination, type Outcome, TAKEN } from './destination.ts';
import type { Message } from './format.ts';
import type { TlsFiles } from './secrets.ts';

export interface SyslogPlace {
  readonly host: string;
  readonly port: number;
  /** Absent: plain TCP. */
  readonly tls: TlsFiles | undefined;
  /** 0 to 23; 13 is `log audit`. */
  readonly facility: number;
  readonly hostname: string;
  readonly timeoutMs: number;
}

/** What accepts on behalf of a receiver that is away, as a load balancer does, closes soon: a connection is used when it has stayed open for so long. */
const SETTLED_MS = 50;

/** By `severity_id` of OCSF: informational, notice, warning, error, critical. */
const SEVERITIES = [6, 6, 5, 4, 3, 2];

/** A value in structured data: section 6.3.3. */
const quoted = (value: string): string => `"${value.replaceAll(/["\\\]]/g, '\\$&')}"`;

/** 32473 is the enterprise number that RFC 5612 keeps for documents: none is registered for Sluice. */
export function syslogMessage({ facility, hostname }: Pick<SyslogPlace, 'facility' | 'hostname'>, message: Message): Buffer {
  const { id, kind, severity, json, unixNanos, index } = message;
  const priority = facility * 8 + (SEVERITIES[severity] ?? 6);
  const time = `${new Date(Number(unixNanos / 1_000_000n)).toISOString().slice(0, 19)}.${String((unixNanos / 1000n) % 1_000_000n).padStart(6, '0')}Z`;
  const data = `[sluice@32473 event_id=${quoted(id)} index="${index}"]`;
  const text = Buffer.from(`<${priority}>1 ${time} ${hostname} sluice - ${kind} ${data} ${json}`);
  return Buffer.concat([Buffer.from(`${text.length} `), text]);
}

export class SyslogDestination implements Destination {
  readonly #place: SyslogPlace;
  /** Open, and nothing sent on it yet. */
  #next: Socket | undefined;

  constructor(place: SyslogPlace) {
    this.#place = place;
  }

  async send(messages: readonly Message[], signal: AbortSignal): Promise<Outcome> {
    const bytes = Buffer.concat(messages.map((message) => syslogMessage(this.#place, message)));
    try {
      const socket = this.#takeNext() ?? (await this.#connect(signal));
      await this.#passOn(socket, bytes, signal);
      this.#next = await this.#connect(signal);
      return TAKEN;
    } catch (error) {
      return away((error as Error).message);
    }
  }

  async close(): Promise<void> {
    this.#next?.destroy();
    this.#next = undefined;
  }

  /** A receiver may have closed it while there was nothing to send. */
  #takeNext(): Socket | undefined {
    const socket = this.#next;
    this.#next = undefined;
    if (socket?.readyState === 'open' && !socket.readableEnded) return socket;
    socket?.destroy();
    return undefined;
  }

  /** Resolves when the receiver has closed the connection after the last byte. */
  #passOn(socket: Socket, bytes: Buffer, signal: AbortSignal): Promise<void> {
    let written = false;
    const passed = this.#within<void>(socket, signal, (resolve, reject) => {
      socket.once('end', () => (written ? resolve() : reject(new Error('the receiver closed the connection too early'))));
    });
    socket.end(bytes, () => {
      written = true;
    });
    return passed.finally(() => socket.destroy());
  }

  async #connect(signal: AbortSignal): Promise<Socket> {
    const { host, port, tls } = this.#place;
    const socket = tls ? connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }), ...tls() }) : connectTcp({ host, port });
    // Kept while idle, it may break at any time; who uses it next finds out. What a receiver says is nothing that syslog knows of.
    socket.on('error', () => {}).resume();
    return await this.#within<Socket>(socket, signal, (resolve, reject) => {
      socket.once('end', () => reject(new Error(`${host}:${port} closed the connection at once`)));
      socket.once(tls ? 'secureConnect' : 'connect', () => setTimeout(() => resolve(socket), SETTLED_MS));
    });
  }

  /** As `begin` says, or a rejection when the connection ends, the time is over, or the delivery stops. */
  #within<T>(
    socket: Socket,
    signal: AbortSignal,
    begin: (resolve: (value: T) => void, reject: (error: Error) => void) => void,
  ): Promise<T> {
    const { host, port, timeoutMs } = this.#place;
    return new Promise<T>((resolve, reject) => {
      const fail = (error: Error): void => {
        settle();
        socket.destroy();
        reject(error);
      };
      const onClose = (): void => fail(new Error(`${host}:${port} closed the connection`));
      const onAbort = (): void => fail(new Error('stopped'));
      const late = setTimeout(() => fail(new Error(`${host}:${port} did not answer within ${timeoutMs} ms`)), timeoutMs);
      const settle = (): void => {
        clearTimeout(late);
        signal.removeEventListener('abort', onAbort);
        socket.removeListener('error', fail).removeListener('close', onClose);
      };
      signal.addEventListener('abort', onAbort);
      socket.once('error', fail).once('close', onClose);
      begin((value) => {
        settle();
        resolve(value);
      }, fail);
    });
  }
}
