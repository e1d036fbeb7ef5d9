/** The demo's database: a real PostgreSQL with the data of ledger.sql. Arguments: PORT. Ends with main.ts. */
import { readFileSync } from 'node:fs';
import { startPostgres } from './postgres_server.ts';

const port = Number(process.argv[2]);
let asked = false;
// The server gets it, too, and ends; main.ts ends this part when it is its turn.
process.on('SIGINT', () => {
  asked = true;
});
// Whoever read the log may be gone first.
process.stderr.on('error', () => {});
const starting = startPostgres({ port, sql: 'CREATE DATABASE ledger', onLog: (line) => process.stderr.write(line) });
const end = async (): Promise<void> => {
  asked = true;
  await starting.then((server) => server.stop()).catch(() => {});
  process.exit();
};
// Also while it starts: nothing of it is left behind.
process.on('disconnect', end);
process.on('SIGTERM', end);
const server = await starting;
await server.query(readFileSync(new URL('ledger.sql', import.meta.url), 'utf8'), 'ledger');
process.send?.('ready');
await server.ended;
if (!asked) {
  await server.stop();
  process.stderr.write('PostgreSQL ended\n');
  process.exit(1);
}
