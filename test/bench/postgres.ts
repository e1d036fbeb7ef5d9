/** What the benches of PostgreSQL share: the whole product with one Envoy worker, and beside its listener one of the same Envoy with `tcp_proxy` alone. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { type PostgresServer, startPostgres } from '../../demo/postgres_server.ts';
import { Sluice } from '../e2e/sluice.fixture.ts';
import { freePort } from '../free_port.fixture.ts';

const DATABASE = 'ledger';
const GATEWAY = { user: 'gateway', password: 'gateway-of-the-bench' };

/** One way to the database. */
export interface Side {
  readonly port: number;
  readonly user: string;
  /** The gateway's is a token. */
  readonly password: string;
  readonly database: string;
}

export interface Bench {
  readonly server: PostgresServer;
  readonly sluice: Sluice;
  readonly gateway: Side;
  readonly plain: Side;
  close(): Promise<void>;
}

/**
 * @param sql makes the tables, in schema `public`, as the superuser
 * @param sensitive columns as `schema.table.column`; they are masked in full
 */
export async function startBench(sql: string, sensitive: readonly string[]): Promise<Bench> {
  const [port, plainPort, serverPort] = [await freePort(), await freePort(), await freePort()];
  // Passwords in the clear: a client of a few lines can log in, and what is measured comes after it.
  const server = await startPostgres({ port: serverPort, auth: 'password', sql: `CREATE DATABASE ${DATABASE}` });
  try {
    await server.query(
      `CREATE ROLE ${GATEWAY.user} LOGIN PASSWORD '${GATEWAY.password}'; ${sql}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${GATEWAY.user}`,
      DATABASE,
    );
    // ANALYZE and VACUUM of large tables are not to run while it measures.
    await server.query('VACUUM (ANALYZE, FREEZE)', DATABASE);
    const sluice = await Sluice.start((document, dir) => {
      writeFileSync(join(dir, 'password'), GATEWAY.password);
      writeFileSync(join(dir, 'grants.yaml'), stringify(grants(sensitive)));
      document.listeners.push({ name: 'ledger', address: `127.0.0.1:${port}`, private: true });
      document.listeners.push({ name: 'plain', address: `127.0.0.1:${plainPort}`, private: true });
      const target = {
        name: 'ledger',
        protocol: 'postgres',
        listener: 'ledger',
        url: `postgres://127.0.0.1:${serverPort}`,
        database: DATABASE,
        sensitive,
        credentials: { default: { password: { username: GATEWAY.user, password: { file: join(dir, 'password') } } } },
      };
      document.targets.push(target, { ...target, name: 'plain', listener: 'plain' });
      document.policy.data = join(dir, 'grants.yaml');
      document.logging = { level: 'warn' };
    });
    const token = await sluice.token({ exp: Math.floor(Date.now() / 1000) + 24 * 3600 });
    const bench: Bench = {
      server,
      sluice,
      gateway: { port, user: 'agent', password: token, database: DATABASE },
      plain: { port: plainPort, ...GATEWAY, database: DATABASE },
      close: async () => {
        await sluice.close();
        await server.stop();
      },
    };
    await withoutFilter(bench);
    return bench;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

const grants = (sensitive: readonly string[]) => ({
  targets: {
    ledger: {
      grants: [{ group: 'support-agents', actions: ['read'], tables: ['public.*'] }],
      obligations: sensitive.map((field) => ({ oblige: { type: 'mask', field, method: 'full' } })),
    },
  },
});

/** Takes the WASM filter out of the second listener, as an operator might: Envoy takes the changed file up while it runs. */
async function withoutFilter({ sluice, plain }: Bench): Promise<void> {
  const file = join(sluice.config.stateDir, 'envoy/lds.yaml');
  const lds = parse(readFileSync(file, 'utf8'), { version: '1.1' });
  const [chain] = lds.resources.find(({ name }: { name: string }) => name === 'plain').filter_chains;
  chain.filters = chain.filters.filter(
    ({ typed_config }: { typed_config: { '@type': string } }) => !typed_config['@type'].includes('.wasm.'),
  );
  writeFileSync(`${file}.next`, stringify(lds, { version: '1.1', aliasDuplicateObjects: false }));
  renameSync(`${file}.next`, file);
  for (const deadline = Date.now() + 10_000; ; await sleep(50)) {
    const session = await Session.open(plain).catch(() => undefined);
    session?.close();
    if (session) return;
    if (Date.now() > deadline) throw new Error('the second listener does not lead to the database itself');
  }
}

/** A client of the simple protocol that reads into one buffer, again and again: a driver costs more than Envoy does, and would hide it. */
export class Session {
  readonly #socket: Socket;
  #take: (chunk: Buffer) => void = () => {};
  #fail: (error: Error) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** @throws {Error} when the log-in is refused */
  static open({ port, user, password, database }: Side): Promise<Session> {
    return new Promise((resolve, reject) => {
      const buffer = Buffer.alloc(1 << 20);
      const take = (length: number): boolean => {
        opened.#take(buffer.subarray(0, length));
        return true;
      };
      const socket = connect({ host: '127.0.0.1', port, onread: { buffer, callback: take } });
      const opened: Session = new Session(socket);
      opened.#fail = reject;
      socket.on('error', (error) => opened.#fail(error));
      socket.on('close', () => opened.#fail(new Error('the connection was closed')));
      opened.#take = (chunk) => {
        const type = String.fromCharCode(chunk[0] ?? 0);
        if (type === 'R' && chunk.readInt32BE(5) === 3) socket.write(message('p', `${password}\0`));
        else if (type === 'E') reject(new Error(chunk.toString('latin1')));
        else if (atEnd(chunk)) resolve(opened);
      };
      const parameters = Buffer.from(`\0\x03\0\0user\0${user}\0database\0${database}\0\0`, 'latin1');
      socket.write(Buffer.concat([size(parameters.length + 4), parameters]));
    });
  }

  /** @throws {Error} when the server says anything else than rows */
  rows(sql: string): Promise<{ readonly bytes: number; readonly firstRowMs: number; readonly head: string }> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      const sent = performance.now();
      let [bytes, firstRowMs] = [0, 0];
      let head = Buffer.alloc(0);
      let end = Buffer.alloc(0);
      this.#take = (chunk) => {
        bytes += chunk.length;
        if (firstRowMs === 0) {
          head = Buffer.concat([head, chunk]);
          if (head[0] === 'E'.charCodeAt(0)) reject(new Error(head.toString('latin1')));
          if (rowIn(head)) firstRowMs = performance.now() - sent;
        }
        end =
          chunk.length >= READY.length ? Buffer.from(chunk.subarray(-READY.length)) : Buffer.concat([end, chunk]).subarray(-READY.length);
        if (end.equals(READY)) resolve({ bytes, firstRowMs, head: head.toString('latin1', 0, 2000) });
      };
      this.#socket.write(message('Q', `${sql}\0`));
    });
  }

  close(): void {
    this.#fail = () => {};
    this.#socket.destroy();
  }
}

const READY = Buffer.from('Z\0\0\0\x05I', 'latin1');
const atEnd = (chunk: Buffer): boolean => chunk.length >= READY.length && chunk.subarray(-READY.length).equals(READY);

/** A whole DataRow is there. */
function rowIn(bytes: Buffer): boolean {
  for (let at = 0; at + 5 <= bytes.length; at += 1 + bytes.readInt32BE(at + 1))
    if (bytes[at] === 'D'.charCodeAt(0)) return at + 1 + bytes.readInt32BE(at + 1) <= bytes.length;
  return false;
}

function size(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(length);
  return bytes;
}

const message = (type: string, body: string): Buffer =>
  Buffer.concat([Buffer.from(type), size(Buffer.byteLength(body) + 4), Buffer.from(body)]);
