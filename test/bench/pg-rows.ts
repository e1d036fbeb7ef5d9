/**
 * A large result with one text column of five masked, over the same Envoy with `tcp_proxy` alone: in turns, one Envoy worker. Then the time to the
 * first row of a smaller result. The client, which reads the socket into one buffer, is this process; server, service and Envoy are their own.
 */
import { availableParallelism } from 'node:os';
import { median, report, rounded } from './figures.ts';
import { Session, type Side, startBench } from './postgres.ts';
import { cpuSecondsOf, residentBytesOf } from './processes.ts';

const GOAL = 0.35;
const ROUNDS = 7;
const FIRST_ROW_ROUNDS = 60;
const FIRST_ROWS = 10_000;
const ROWS = process.argv.includes('--full') ? 100_000_000 : 2_000_000;
/** The table; a result of more rows is the table several times over. */
const TABLE_ROWS = 1_000_000;

const bench = await startBench(
  `CREATE TABLE people (id text, name text, ssn text, city text, balance text);
   INSERT INTO people SELECT 1000000 + i, 'Customer Number ' || 1000000 + i, (100 + i % 800) || '-55-' || (1000 + i % 9000), 'Springfield', i * 1.25
   FROM generate_series(1, ${TABLE_ROWS}) i`,
  ['public.people.ssn'],
);
try {
  report(await measure());
} finally {
  await bench.close();
}
process.exit(0);

interface Round {
  readonly bytes: number;
  readonly mbPerSecond: number;
  readonly envoyCpuSeconds: number;
}

async function measure() {
  for (const [side, shown] of [
    [bench.gateway, false],
    [bench.plain, true],
  ] as const) {
    const { head } = await once(side, select(100));
    if (head.includes('-55-') !== shown) throw new Error(`${shown ? 'the plain side masks' : 'not masked'}: ${head.slice(0, 300)}`);
    await once(side, select(ROWS));
  }
  const sides = { plain: [] as Round[], masked: [] as Round[] };
  const rss = [residentBytesOf(bench.sluice.envoy.pid)];
  for (let round = 0; round < ROUNDS; round++) {
    sides.plain.push(await transfer(bench.plain));
    sides.masked.push(await transfer(bench.gateway));
    rss.push(residentBytesOf(bench.sluice.envoy.pid));
  }
  const ratio = (of: (round: Round) => number): number =>
    rounded(median(sides.masked.map((masked, i) => of(masked) / of(sides.plain[i] as Round))), 3);
  return {
    name: 'pg-rows',
    ratio: ratio((round) => round.mbPerSecond),
    goal: GOAL,
    envoy_cpu_ratio: ratio((round) => round.bytes / round.envoyCpuSeconds),
    unit: 'MB/s, one text column of five masked over the same Envoy with tcp_proxy alone',
    masked: figures(sides.masked),
    plain: figures(sides.plain),
    first_row: await firstRows(() => FIRST_ROWS),
    // No text twice: each is analysed, decided and recorded before it runs.
    first_row_of_new_texts: await firstRows((round) => FIRST_ROWS + round),
    envoy_rss_mb: rss.map((bytes) => rounded(bytes / 1e6)),
    setup: { rounds: ROUNDS, rows: ROWS, envoy_concurrency: 1, cpus: availableParallelism(), node: process.version },
  };
}

/** Rows of about 90 bytes, 53 of them in columns. */
function select(rows: number): string {
  const columns = 'p.id, p.name, p.ssn, p.city, p.balance';
  return rows <= TABLE_ROWS
    ? `SELECT ${columns} FROM people p LIMIT ${rows}`
    : `SELECT ${columns} FROM generate_series(1, ${Math.ceil(rows / TABLE_ROWS)}) CROSS JOIN people p`;
}

async function once(side: Side, sql: string): ReturnType<Session['rows']> {
  const session = await Session.open(side);
  try {
    return await session.rows(sql);
  } finally {
    session.close();
  }
}

async function transfer(side: Side): Promise<Round> {
  const session = await Session.open(side);
  const cpu = cpuSecondsOf(bench.sluice.envoy.pid);
  const since = performance.now();
  const { bytes } = await session.rows(select(ROWS));
  const seconds = (performance.now() - since) / 1000;
  session.close();
  return { bytes, mbPerSecond: bytes / 1e6 / seconds, envoyCpuSeconds: cpuSecondsOf(bench.sluice.envoy.pid) - cpu };
}

function figures(rounds: readonly Round[]) {
  return {
    mb_per_second: rounded(median(rounds.map((round) => round.mbPerSecond))),
    rounds_mb_per_second: rounds.map((round) => rounded(round.mbPerSecond)),
    envoy_cpu_seconds: rounded(median(rounds.map((round) => round.envoyCpuSeconds)), 2),
    mb: rounded((rounds[0]?.bytes ?? 0) / 1e6),
  };
}

/** Milliseconds from the query to the first whole row, of a result of so many, on a connection that is open. */
async function firstRows(rows: (round: number) => number) {
  const [plain, masked] = [await Session.open(bench.plain), await Session.open(bench.gateway)];
  const ms = { plain: [] as number[], masked: [] as number[] };
  for (let round = 0; round < FIRST_ROW_ROUNDS; round++) {
    ms.plain.push((await plain.rows(select(rows(round)))).firstRowMs);
    ms.masked.push((await masked.rows(select(rows(round)))).firstRowMs);
  }
  plain.close();
  masked.close();
  return {
    more_than_plain_ms: rounded(median(ms.masked.map((value, i) => value - (ms.plain[i] ?? 0))), 2),
    goal_ms: 2,
    masked_ms: rounded(median(ms.masked), 2),
    plain_ms: rounded(median(ms.plain), 2),
    rounds: FIRST_ROW_ROUNDS,
  };
}
