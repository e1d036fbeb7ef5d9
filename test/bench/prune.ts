/**
 * The first sweep that prunes a log whose events went long ago: how long it takes, and for how long at once it keeps the event loop, on which decisions are made. `ratio` is what
 * the loop may be kept for over the longest time that it was, of the thread's own work. The sweep before it lets the events go. `--events N`: 100,000 by default, in sessions of four.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { joined } from '../../authz-service/log/going.ts';
import { perClass } from '../../authz-service/log/leaf.ts';
import { Pruning } from '../../authz-service/log/pruning.ts';
import { Retention } from '../../authz-service/log/retention.ts';
import { recordParts } from '../../authz-service/record.ts';
import { pruningIn } from '../../authz-service/tap/event.ts';
import { openSink } from '../../authz-service/tap/sink.ts';
import { openCheckpoint } from '../../authz-service/tlog/checkpoint.ts';
import { report, rounded } from './figures.ts';
import { EVENTS_OF_SESSION, eventAt, eventsAsked } from './sessions.ts';

const DAY_MS = 86_400_000;
const BATCH = 2000;
/** Milliseconds. */
const MOST_AT_ONCE = 20;

const events = eventsAsked(100_000);

interface Watched {
  readonly seconds: number;
  /** Milliseconds by the clock, which on a busy machine runs for others too, and of this thread's own work. */
  readonly longest: number;
  readonly longestOfWork: number;
}

/** Runs it, and sees how long nothing else could: between two turns of the loop. */
async function watched(work: () => Promise<unknown>): Promise<Watched> {
  const spent = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let [longest, longestOfWork, last, lastSpent, running] = [0, 0, performance.now(), spent(), true];
  const turn = (): void => {
    const [now, cpu] = [performance.now(), spent()];
    [longest, longestOfWork] = [Math.max(longest, now - last), Math.max(longestOfWork, cpu - lastSpent)];
    [last, lastSpent] = [now, cpu];
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const started = performance.now();
  await work();
  const seconds = (performance.now() - started) / 1000;
  turn();
  running = false;
  return { seconds, longest, longestOfWork };
}

const shown = (what: string, { seconds, longest, longestOfWork }: Watched) => ({
  [`${what}_in_seconds`]: rounded(seconds, 2),
  [`${what}_longest_at_once_in_milliseconds`]: rounded(longestOfWork),
  [`${what}_longest_at_once_by_the_clock`]: rounded(longest),
});

const place = mkdtempSync(join(tmpdir(), 'sluice-bench-prune-'));
try {
  let now = Date.now() - 400 * DAY_MS;
  const parts = recordParts({ stateDir: place, tap: { origin: 'bench.example/sluice', retention: { kinds: {} } } as never });
  const sink = await openSink({ ...parts, now: () => now });
  const append = async (from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i += BATCH) await sink.append(Array.from({ length: Math.min(BATCH, to - i) }, (_, k) => eventAt(i + k)));
  };
  const record = (notice: string, told: string): Promise<void> =>
    sink.append([{ session: '', target: '', body: { kind: 'notice', notice, text: told } }]);
  // Behind the notice that the record is open: so that no session crosses the end of a bundle.
  for (let i = 1; i < EVENTS_OF_SESSION; i += 1) await record('bench', 'begins');
  await append(0, events);
  now = Date.now();
  // The newest bundle of then is to be full, and young.
  await append(events, events + 512);
  const log = parts.log();
  await log.publish();
  const text: string[] = [];
  const proof = { open: (note: Buffer) => openCheckpoint(note, log.origin, parts.keys), told: pruningIn };
  const retention = new Retention({
    objects: parts.objects,
    ages: { ...perClass(() => undefined), events: 30 * DAY_MS },
    held: () => false,
    record: async ({ leaves }) => void text.push(`${joined(leaves).length}`),
    forget: async (from, to) => void (await sink.forget(from, to)),
    undisturbed: (work) => log.undisturbed(work),
    publish: () => log.publish(),
  });
  const deleting = await watched(() => retention.sweep());
  const pruning = new Pruning({
    objects: parts.objects,
    replicas: [],
    ageMs: 60 * DAY_MS,
    held: () => false,
    spans: (from, to) => sink.spans(from, to),
    confirmed: () => Number.POSITIVE_INFINITY,
    record: (told) => record('leaves-pruned', told),
    publish: () => log.publish(),
    holdBack: (below) => sink.holdBack(below),
    forget: (minimum) => sink.prune(minimum),
    now: () => now,
    notBefore: () => 0,
    ...proof,
  });
  let pruned = 0;
  const first = await watched(async () => {
    pruned = (await pruning.sweep()).plan.next;
  });
  const second = await watched(() => pruning.sweep());
  if (pruned < events - 512 || text.length === 0) throw new Error(`leaves below ${pruned} of ${sink.size} were pruned`);
  await sink.close();
  report({
    name: 'prune',
    ratio: rounded(MOST_AT_ONCE / first.longestOfWork, 2),
    goal: 1,
    events,
    pruned_below: pruned,
    ...shown('first_sweep', first),
    ...shown('next_sweep', second),
    ...shown('deletion_before', deleting),
    load: rounded(loadavg()[0] as number),
  });
} finally {
  rmSync(place, { recursive: true, force: true });
}
