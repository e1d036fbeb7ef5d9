/** The whole product before a real PostgreSQL with the demo's ledger. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { stringify } from 'yaml';
import type { Config } from '../../authz-service/config/config.ts';
import { type PostgresServer, type PostgresServerOptions, startPostgres } from '../../demo/postgres_server.ts';
import { freePort } from '../free_port.fixture.ts';
import { type Document, Sluice } from './sluice.fixture.ts';

const LEDGER = readFileSync(new URL('../../demo/ledger.sql', import.meta.url), 'utf8');

/** Who may do what; the agents' group is `support-agents`, as in the other suites. */
const GRANTS = {
  targets: {
    ledger: {
      grants: [
        { group: 'support-agents', actions: ['read'], tables: ['public.*'] },
        { group: 'support-agents', actions: ['write'], tables: ['public.notes', 'public.scratch'] },
        { group: 'support-agents', actions: ['ddl'], tables: ['public.*'] },
        { group: 'audit', actions: ['read'], tables: ['public.*'] },
      ],
      approvals: [{ approvers: ['group:leads'], quorum: 1, ttl: '1m' }],
      obligations: [
        { oblige: { type: 'mask', field: 'public.customers.ssn', method: 'full' }, clear_for: ['audit'] },
        { oblige: { type: 'mask', field: 'public.customers.card', method: 'partial', keep_last: 4 } },
        { oblige: { type: 'mask', field: 'public.customers.email', method: 'hash' } },
        { oblige: { type: 'mask', field: 'public.customers.iban', method: 'null' } },
      ],
    },
  },
};

/** The server alone, with its data. */
export async function startLedger(
  port: number,
  options: Pick<PostgresServerOptions, 'settings' | 'tls' | 'auth'> = {},
): Promise<PostgresServer> {
  const server = await startPostgres({ port, sql: 'CREATE DATABASE ledger', ...options });
  try {
    await server.query(LEDGER, 'ledger');
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

export interface Row {
  readonly [column: string]: unknown;
}

export class Ledger {
  readonly server: PostgresServer;
  readonly sluice: Sluice;
  readonly port: number;
  /** Values of sensitive columns: none of them may reach an agent. */
  readonly secrets: ReadonlySet<string>;

  private constructor(server: PostgresServer, sluice: Sluice, port: number, secrets: ReadonlySet<string>) {
    this.server = server;
    this.sluice = sluice;
    this.port = port;
    this.secrets = secrets;
  }

  /**
   * @param server as of `startPostgres`
   * @param seenByEnvoy as of `Sluice.start`
   */
  static async start(
    change: (document: Document, dir: string) => void = () => {},
    {
      seenByEnvoy,
      ...options
    }: Pick<PostgresServerOptions, 'settings' | 'tls' | 'auth'> & { seenByEnvoy?: (config: Config) => Config } = {},
  ): Promise<Ledger> {
    const [port, serverPort] = [await freePort(), await freePort()];
    const server = await startLedger(serverPort, options);
    try {
      const { rows } = await server.query('SELECT ssn, card, email, iban FROM customers', 'ledger');
      const sluice = await Sluice.start(
        (document, dir) => {
          writeFileSync(join(dir, 'ledger-password'), 'gateway-of-the-demo\n');
          writeFileSync(join(dir, 'grants.yaml'), stringify(GRANTS));
          document.listeners.push({ name: 'ledger', address: `127.0.0.1:${port}`, private: true });
          document.targets.push({
            name: 'ledger',
            protocol: 'postgres',
            listener: 'ledger',
            url: `postgres://127.0.0.1:${serverPort}`,
            database: 'ledger',
            sensitive: ['public.customers.ssn', 'public.customers.card', 'public.customers.email', 'public.customers.iban'],
            credentials: { default: { password: { username: 'gateway', password: { file: join(dir, 'ledger-password') } } } },
          });
          document.policy.data = join(dir, 'grants.yaml');
          change(document, dir);
        },
        undefined,
        seenByEnvoy,
      );
      return new Ledger(server, sluice, port, new Set(rows.flatMap((row: Row) => Object.values(row).map(String))));
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** A connection of an agent, with its token as the password. */
  async connect(claims: Record<string, unknown> = {}, options: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.port,
      database: 'ledger',
      user: 'agent',
      password: await this.sluice.token(claims),
      ...options,
    });
    await client.connect();
    return client;
  }

  /** Past the gateway, as the superuser. */
  query(sql: string): Promise<pg.QueryResult> {
    return this.server.query(sql, 'ledger');
  }

  async close(): Promise<void> {
    await this.sluice.close();
    await this.server.stop();
  }
}
