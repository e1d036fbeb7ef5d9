/**
 * pgbench over the demo's ledger for ten minutes in each mode, by the private listener and through `sluice connect`, all at the same time: no
 * transaction fails. Each asks so many times a second as to leave the machine some room: what is shown is that nothing breaks, not how fast it
 * is. `--seconds N` for another length.
 */
import { spawn } from 'node:child_process';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Demo } from '../e2e/demo.fixture.ts';
import { told } from './memory.ts';

const SECONDS = Number(process.argv[process.argv.indexOf('--seconds') + 1]) || 600;
const CLIENTS = 2;
const PER_SECOND = 50;
const MODES = ['simple', 'extended', 'prepared'] as const;
const SCRIPT = fileURLToPath(new URL('../interop/postgres/select.pgbench', import.meta.url));

const demo = await Demo.start();
const token = await demo.token('agent');
const connector = await demo.connect('ledger', token);
try {
  const ways = [
    { way: 'private listener', env: { PGPORT: String(demo.ports['5433']), PGPASSWORD: token } },
    { way: 'sluice connect', env: { PGPORT: String(demo.ports['5434']) } },
  ];
  const runs = await Promise.all(ways.flatMap(({ way, env }) => MODES.map((mode) => run(way, mode, env))));
  const held = runs.every(({ transactions, failed, error }) => transactions > (SECONDS * PER_SECOND) / 2 && failed === 0 && error === '');
  told({ name: 'pgbench', held, seconds: SECONDS, clients_each: CLIENTS, wanted_per_second_each: PER_SECOND, runs, load: loadavg() });
} finally {
  connector.kill();
  await demo.close();
}
process.exit();

async function run(way: string, mode: (typeof MODES)[number], env: Readonly<Record<string, string>>) {
  const child = spawn(
    'pgbench',
    ['-n', '-M', mode, '-f', SCRIPT, '-c', String(CLIENTS), '-j', '1', '-R', String(PER_SECOND), '-T', String(SECONDS)],
    {
      cwd: join(demo.dir),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PGHOST: '127.0.0.1',
        PGDATABASE: 'ledger',
        PGUSER: 'agent',
        PGSSLMODE: 'disable',
        PGGSSENCMODE: 'disable',
        ...env,
      },
    },
  );
  let [output, errors] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (output += chunk));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk));
  const code = await new Promise<number | null>((settle) => child.once('close', settle));
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? 0);
  return {
    way,
    mode,
    transactions: number(/transactions actually processed: (\d+)/),
    failed: number(/failed transactions: (\d+)/),
    per_second: number(/tps = ([\d.]+)/),
    error: code === 0 ? '' : errors.slice(0, 2_000),
  };
}
