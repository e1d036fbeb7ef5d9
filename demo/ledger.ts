/** The demo's database: a real PostgreSQL with the data of ledger.sql. Arguments: PORT. Ends with main.ts. */
import { readFileSync } from 'node:fs';
import { startPostgres } from './postgres_server.ts';

const port = Number(process.argv[2]);
process.on('SIGINT', () => {});
const server = await startPostgres({ port, sql: 'CREATE DATABASE ledger', onLog: (line) => process.stderr.write(line) });
await server.query(readFileSync(new URL('ledger.sql', import.meta.url), 'utf8'), 'ledger');
const end = async (): Promise<void> => {
  await server.stop();
  process.exit();
};
process.on('disconnect', end);
process.on('SIGTERM', end);
