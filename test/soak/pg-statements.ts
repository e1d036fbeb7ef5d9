/**
 * 1,000,000 statements by pgbench over eight sessions through a real Envoy: simple ones whose texts have no shape, so that each is judged for
 * itself, as the service's own count must say, and then prepared ones. `--statements N` for another number, `--mode simple` or `--mode prepared`
 * for one of them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { rounded } from '../bench/figures.ts';
import { startBench } from '../bench/postgres.ts';
import { Memory, told } from './memory.ts';

const STATEMENTS = Number(process.argv[process.argv.indexOf('--statements') + 1]) || 1_000_000;
const MODES = (['simple', 'prepared'] as const).filter((mode) => !process.argv.includes('--mode') || process.argv.includes(mode));
const WHAT = { simple: ['-f', fileURLToPath(new URL('../bench/shapeless.pgbench', import.meta.url))], prepared: ['-S'] } as const;
const CLIENTS = 8;
const STEPS = 20;

const bench = await startBench(
  `CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
   CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
   CREATE TABLE people (id int PRIMARY KEY, ssn text);
   INSERT INTO pgbench_branches VALUES (1, 0);
   INSERT INTO pgbench_accounts SELECT i, 1, 0, '' FROM generate_series(1, 100000) i`,
  ['public.people.ssn'],
);
try {
  await run('simple', 5_000);
  const runs = [];
  for (const mode of MODES) runs.push(await run(mode, STATEMENTS));
  const held = runs.every(
    ({ mode, flat, failed, statements, judged }) =>
      flat && failed === 0 && statements === STATEMENTS && (mode === 'prepared' || judged >= STATEMENTS),
  );
  told({ name: 'pg-statements', held, runs, clients: CLIENTS, load: loadavg() });
} finally {
  await bench.close();
}
process.exit();

/** How many times the policy has been asked since the service began. */
async function decisions(): Promise<number> {
  const { text } = await bench.sluice.admin('GET', '/metrics');
  return [...text.matchAll(/^sluice_decisions_total\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** @throws {Error} when pgbench breaks off */
async function run(mode: 'simple' | 'prepared', statements: number) {
  const { port, user, password, database } = bench.gateway;
  const memory = new Memory(bench);
  const judgedBefore = await decisions();
  const since = performance.now();
  const args = ['-n', ...WHAT[mode], '-M', mode, '-c', String(CLIENTS), '-j', '1', '-t', String(statements / CLIENTS), '-P', '1'];
  const child = spawn('pgbench', [...args, '-h', '127.0.0.1', '-p', String(port), '-U', user, database], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PGPASSWORD: password, PGSSLMODE: 'disable', PGGSSENCMODE: 'disable' },
  });
  let [done, next, output, errors] = [0, statements / STEPS, '', ''];
  child.stdout.on('data', (chunk: Buffer) => (output += chunk));
  createInterface({ input: child.stderr }).on('line', (line) => {
    const perSecond = /^progress: [\d.]+ s, ([\d.]+) tps/.exec(line)?.[1];
    if (perSecond === undefined) errors = `${errors}${line}\n`.slice(-4_000);
    done += Number(perSecond ?? 0);
    if (done < next) return;
    next += statements / STEPS;
    memory.sample();
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`pgbench ended with ${code}: ${errors}${output}`);
  memory.sample();
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  const seconds = (performance.now() - since) / 1000;
  return {
    mode,
    statements: number(/transactions actually processed: (\d+)/),
    failed: number(/failed transactions: (\d+)/),
    judged: (await decisions()) - judgedBefore,
    seconds: rounded(seconds),
    per_second: rounded(statements / seconds, 0),
    ...memory.told(),
  };
}
