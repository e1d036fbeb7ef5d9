/** A session of `sluice sql`: one connection of node-postgres, whose rows, notices and errors are printed. */
import { connect as connectTcp, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import pg from 'pg';
import { formatHostPort } from '../config/config.ts';
import type { GatewayTls } from '../connect/tunnel.ts';
import { printable } from '../replay/printable.ts';
import { CommandError, complain, say } from './command.ts';
import { table } from './table.ts';

const CANCEL_REQUEST = 80_877_102;

/** Where the sessions of a target begin. */
export interface Door {
  readonly host: string;
  readonly port: number;
  readonly tls: GatewayTls | undefined;
  /** Not where the way there is a tunnel. */
  readonly password: string | undefined;
  close(): Promise<void>;
}

/** One connection. What it prints is printable: others wrote the rows, and the words of errors. */
export class SqlSession {
  readonly #door: Door;
  readonly #client: pg.Client;
  #ended = false;

  private constructor(door: Door, client: pg.Client) {
    this.#door = door;
    this.#client = client;
    client.on('notice', (notice) => complain(told(notice as Told, notice.severity ?? 'NOTICE')));
    // Reported by the statement that it breaks.
    client.on('error', () => {});
    client.on('end', () => {
      this.#ended = true;
    });
  }

  static async open(door: Door, database: string): Promise<SqlSession> {
    const { host, port, tls, password } = door;
    const client = new pg.Client({
      host,
      port,
      database,
      user: 'sluice',
      // Not PGPASSWORD, nor a file of passwords: neither is a token of this user.
      password: password ?? '',
      application_name: 'sluice sql',
      ...(tls && { ssl: tlsOptions(tls), sslnegotiation: 'direct' as const }),
    });
    const session = new SqlSession(door, client);
    await client.connect().catch((error: Error) => {
      const code = error instanceof pg.DatabaseError ? error.code : undefined;
      const where = formatHostPort({ host, port });
      throw new CommandError(
        code === undefined
          ? `The gateway at ${where} cannot be reached: ${printable(error.message)}`
          : told(error as pg.DatabaseError, 'FATAL'),
        code?.startsWith('28') ? 3 : 1,
      );
    });
    return session;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Runs one string of SQL and prints what it gives. @returns whether it did without an error */
  async run(statement: string): Promise<boolean> {
    try {
      // As text, as the server wrote it: no value is understood here.
      const given = await this.#client.query({ text: statement, rowMode: 'array', types: AS_TEXT });
      for (const result of [given].flat() as pg.QueryArrayResult<(string | null)[]>[]) print(result);
      return true;
    } catch (error) {
      if (error instanceof pg.DatabaseError) complain(told(error, error.severity ?? 'ERROR'));
      else complain(`The connection broke: ${printable((error as Error).message)}`);
      return false;
    }
  }

  /** A CancelRequest on a connection of its own, as every client sends it. Its effect is seen in the statement's answer. */
  cancel(): void {
    const { processID, secretKey } = this.#client as unknown as { readonly processID: number; readonly secretKey: number };
    const message = Buffer.alloc(16);
    message.writeInt32BE(message.length, 0);
    message.writeInt32BE(CANCEL_REQUEST, 4);
    message.writeInt32BE(processID, 8);
    message.writeInt32BE(secretKey, 12);
    const { host, port, tls } = this.#door;
    const socket = tls
      ? connectTls({ host, port, servername: isIP(host) ? '' : host, ALPNProtocols: ['postgresql'], ...tlsOptions(tls) })
      : connectTcp({ host, port });
    socket.on('error', (error) => complain(`It could not be cancelled: ${printable(error.message)}`));
    socket.resume().end(message);
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {});
  }
}

const tlsOptions = ({ ca, certificate, key }: GatewayTls) => ({
  rejectUnauthorized: true,
  ...(ca !== undefined && { ca }),
  ...(certificate !== undefined && { cert: certificate, key }),
});

const AS_TEXT = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;

function print({ command, fields, rows, rowCount }: pg.QueryArrayResult<(string | null)[]>): void {
  if (fields.length === 0) {
    say(printable([command, rowCount].filter((part) => part !== null).join(' ')));
    return;
  }
  const columns = fields.map(({ name }, index) => ({ title: name, of: (row: (string | null)[]) => row[index] ?? 'NULL' }));
  say(table(columns, rows));
  say(`(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`);
}

/** What errors and notices have in common. */
type Told = Pick<pg.DatabaseError, 'message' | 'code' | 'detail' | 'hint'>;

/** As psql shows errors and notices. */
function told({ message, code, detail, hint }: Told, severity: string): string {
  return [
    `${severity}${severity === 'NOTICE' || code === undefined ? '' : ` ${code}`}: ${message ?? ''}`,
    ...(detail ? [`DETAIL: ${detail}`] : []),
    ...(hint ? [`HINT: ${hint}`] : []),
  ]
    .map(printable)
    .join('\n');
}
