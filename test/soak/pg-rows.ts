/** 10 GB of rows with one text column in five masked, over one session through a real Envoy. `--bytes N` for another length. */
import { loadavg } from 'node:os';
import { rounded } from '../bench/figures.ts';
import { Session, startBench } from '../bench/postgres.ts';
import { Memory, told } from './memory.ts';

const BYTES = Number(process.argv[process.argv.indexOf('--bytes') + 1]) || 10_000_000_000;
const STEPS = 20;
const TABLE_ROWS = 1_000_000;

const bench = await startBench(
  `CREATE TABLE people (id text, name text, ssn text, city text, balance text);
   INSERT INTO people SELECT 1000000 + i, 'Customer Number ' || 1000000 + i, (100 + i % 800) || '-55-' || (1000 + i % 9000), 'Springfield', i * 1.25
   FROM generate_series(1, ${TABLE_ROWS}) i`,
  ['public.people.ssn'],
);
try {
  const session = await Session.open(bench.gateway);
  const once = await session.rows('SELECT * FROM people');
  if (once.head.includes('-55-')) throw new Error('not masked');
  const times = Math.max(1, Math.ceil(BYTES / STEPS / once.bytes));
  const memory = new Memory(bench);
  const since = performance.now();
  let bytes = 0;
  for (let step = 0; step < STEPS; step++) {
    const { bytes: more, head } = await session.rows(`SELECT p.* FROM generate_series(1, ${times}) CROSS JOIN people p`);
    if (head.includes('-55-')) throw new Error('not masked');
    bytes += more;
    memory.sample();
  }
  const seconds = (performance.now() - since) / 1000;
  session.close();
  const { flat, ...samples } = memory.told();
  told({
    name: 'pg-rows',
    held: flat,
    bytes,
    seconds: rounded(seconds),
    mb_per_second: rounded(bytes / 1e6 / seconds),
    ...samples,
    load: loadavg(),
  });
} finally {
  await bench.close();
}
process.exit();
