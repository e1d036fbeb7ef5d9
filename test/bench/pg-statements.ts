/**
 * `pgbench -S` through the gateway, over the same Envoy with `tcp_proxy` alone: in turns, one Envoy worker, with prepared statements and with the simple
 * protocol, whose texts have one shape (both are judged once for each session and reused); and with texts that have none, so that each is judged.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, quantile, report, rounded } from './figures.ts';
import { type Side, startBench } from './postgres.ts';
import { cpuSecondsOf } from './processes.ts';

/** `each`: no goal is set for it. */
const GOALS = { prepared: 0.6, simple: 0.3, each: undefined } as const;
type Mode = keyof typeof GOALS;
/** What pgbench -S sends, with a sign: such a text has no shape. */
const SHAPELESS = fileURLToPath(new URL('shapeless.pgbench', import.meta.url));
const FULL = process.argv.includes('--full');
const ROUNDS = FULL ? 9 : 5;
const SECONDS = FULL ? 20 : 6;
const CLIENTS = 16;
const ACCOUNTS = 100_000;

const version = (() => {
  try {
    return execFileSync('pgbench', ['--version'], { encoding: 'utf8' }).trim();
  } catch {
    process.stderr.write('pgbench is not here: apt install postgresql-contrib, or the postgresql package of your system.\n');
    process.exit(2);
  }
})();

const bench = await startBench(
  `CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
   CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
   CREATE TABLE people (id int PRIMARY KEY, ssn text);
   INSERT INTO pgbench_branches VALUES (1, 0);
   INSERT INTO pgbench_accounts SELECT i, 1, 0, '' FROM generate_series(1, ${ACCOUNTS}) i`,
  ['public.people.ssn'],
);
try {
  report(await measure());
} finally {
  await bench.close();
}
process.exit(0);

interface Round {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
  readonly envoyCpuMicros: number;
  readonly serviceCpuMicros: number;
}

async function measure() {
  const prepared = compare('prepared');
  const simple = compare('simple');
  const each = compare('each', Math.ceil(ROUNDS / 2));
  return {
    name: 'pg-statements',
    ratio: prepared.ratio,
    goal: GOALS.prepared,
    unit: 'transactions/s of pgbench -S over the same Envoy with tcp_proxy alone',
    prepared,
    simple,
    each_judged: each,
    setup: {
      rounds: ROUNDS,
      seconds: SECONDS,
      clients: CLIENTS,
      scale: ACCOUNTS / 100_000,
      envoy_concurrency: 1,
      cpus: availableParallelism(),
      pgbench: version,
      node: process.version,
    },
  };
}

function compare(mode: Mode, rounds = ROUNDS) {
  // The service has just begun: its first judgements take as long as the machine needs to compile.
  for (const side of [bench.plain, bench.gateway]) run(mode, side, 4);
  const sides = { gateway: [] as Round[], plain: [] as Round[] };
  for (let round = 0; round < rounds; round++) {
    sides.plain.push(run(mode, bench.plain, SECONDS));
    sides.gateway.push(run(mode, bench.gateway, SECONDS));
  }
  return {
    ratio: rounded(median(sides.gateway.map((judged, i) => judged.perSecond / (sides.plain[i]?.perSecond ?? 0))), 3),
    ...(GOALS[mode] !== undefined && { goal: GOALS[mode] }),
    gateway: figures(sides.gateway),
    plain: figures(sides.plain),
  };
}

/** @throws {Error} when a transaction failed */
function run(mode: Mode, { port, user, password, database }: Side, seconds: number): Round {
  const logs = mkdtempSync(join(tmpdir(), 'pgbench-'));
  const pids = [bench.sluice.envoy.pid, bench.sluice.servicePid] as const;
  const before = pids.map(cpuSecondsOf);
  try {
    const what = mode === 'each' ? ['-f', SHAPELESS, '-M', 'simple'] : ['-S', '-M', mode];
    const args = ['-n', ...what, '-c', String(CLIENTS), '-j', '1', '-T', String(seconds), '-l', '--sampling-rate=0.2'];
    const output = execFileSync('pgbench', [...args, '-h', '127.0.0.1', '-p', String(port), '-U', user, database], {
      cwd: logs,
      encoding: 'utf8',
      env: { ...process.env, PGPASSWORD: password, PGSSLMODE: 'disable', PGGSSENCMODE: 'disable' },
    });
    const [envoy = 0, service = 0] = pids.map((pid, i) => cpuSecondsOf(pid) - (before[i] ?? 0));
    const transactions = number(output, /transactions actually processed: (\d+)/);
    const times = readdirSync(logs)
      .filter((name) => name.startsWith('pgbench_log'))
      .flatMap((log) => readFileSync(join(logs, log), 'utf8').trimEnd().split('\n'))
      .map((line) => Number(line.split(' ')[2]) / 1000)
      .sort((a, b) => a - b);
    return {
      perSecond: number(output, /tps = ([\d.]+)/),
      p50Ms: quantile(times, 0.5),
      p99Ms: quantile(times, 0.99),
      failed: number(output, /failed transactions: (\d+)/),
      envoyCpuMicros: (envoy / transactions) * 1e6,
      serviceCpuMicros: (service / transactions) * 1e6,
    };
  } finally {
    rmSync(logs, { recursive: true, force: true });
  }
}

function number(output: string, pattern: RegExp): number {
  const found = pattern.exec(output)?.[1];
  if (found === undefined) throw new Error(`pgbench did not say ${pattern}: ${output}`);
  return Number(found);
}

function figures(rounds: readonly Round[]) {
  const of = (pick: (round: Round) => number, digits: number): number => rounded(median(rounds.map(pick)), digits);
  return {
    per_second: of((round) => round.perSecond, 0),
    rounds_per_second: rounds.map((round) => Math.round(round.perSecond)),
    p50_ms: of((round) => round.p50Ms, 2),
    p99_ms: of((round) => round.p99Ms, 2),
    failed: rounds.reduce((sum, { failed }) => sum + failed, 0),
    envoy_cpu_us: of((round) => round.envoyCpuMicros, 0),
    service_cpu_us: of((round) => round.serviceCpuMicros, 0),
  };
}
