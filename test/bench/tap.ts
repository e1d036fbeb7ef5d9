/**
 * Durable events a second through the sink and its log, fsync on: many who wait at once, each for the events of one answer; and over gRPC, told by another process. `ratio` is
 * over what this disk gives at all: a bare file, written as the journal's are (`O_DSYNC`), in pieces as large as the log's own writes were; `ratio_append_fsync` over a bare file
 * that is appended to and synced by a call of its own, as most programs do, which is slower. In turns. What is derived of a
 * round's events (tiles, the index of sessions) is finished before the bare file is written; its CPU counts as theirs, and `derived_events_a_second` has its time counted as well.
 * `--waiting 1,8`: so many who wait alone, and nothing over gRPC.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants, mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Log } from '../../authz-service/log/log.ts';
import { recordParts } from '../../authz-service/record.ts';
import { tapService } from '../../authz-service/tap/server.ts';
import { type OwnEvent, openSink, type Sink } from '../../authz-service/tap/sink.ts';
import { median, quantile, report, rounded } from './figures.ts';
import { BODIES } from './tap/bodies.ts';
import type { Emitted } from './tap/emitter.ts';

const ROUNDS = 5;
const ROUND_MS = 2000;
const WARM_UP_MS = 2000;
/** Answers that wait at once: one alone and a few, which show what one write costs; as many as the bench of decisions has under way; and a crowd, whose ratio counts. */
const WAITING = [1, 8, 64, 512];
/** Over gRPC: as many filters, and as many of their events under way. */
const STREAMS = 4;
const EVENTS_UNDER_WAY = 4096;
const GOAL = 0.5;

const said = process.argv.indexOf('--waiting');
const chosen = said > 0 ? (process.argv[said + 1] ?? '').split(',').map(Number) : undefined;
const waiters = chosen ?? WAITING;

interface Measured {
  readonly sink: Sink;
  readonly log: Log;
}

interface Round {
  readonly events: number;
  readonly bytes: number;
  readonly writes: number;
  readonly seconds: number;
  /** Of all threads, and until everything was derived. */
  readonly cpuMicros: number;
  /** Of the thread that records and acknowledges alone. */
  readonly threadMicros: number;
  /** From the last acknowledgement until what is published and the index had everything. */
  readonly behindMs: number;
  readonly waitedMs: readonly number[];
}

let sessions = 0;

/** Tells events for so long and resolves when all are acknowledged: how long that took, and how long some of them waited. */
type Tell = (forMs: number) => Promise<Pick<Round, 'seconds' | 'waitedMs'>>;

const fromWithin =
  (sink: Sink, waiting: number): Tell =>
  async (forMs) => {
    const waitedMs: number[] = [];
    const started = performance.now();
    const client = async (): Promise<void> => {
      while (performance.now() - started < forMs) {
        sessions += 1;
        const session = `ses_${sessions}`;
        for (const bodies of BODIES) {
          const since = performance.now();
          await sink.append(bodies.map((body): OwnEvent => ({ session, target: 'demo', body })));
          waitedMs.push(performance.now() - since);
        }
      }
    };
    await Promise.all(Array.from({ length: waiting }, client));
    return { seconds: (performance.now() - started) / 1000, waitedMs };
  };

const overGrpc =
  (port: number): Tell =>
  async (forMs) => {
    const args = [join(import.meta.dirname, 'tap', 'emitter.ts'), port, STREAMS, EVENTS_UNDER_WAY, forMs].map(String);
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 28 });
    return JSON.parse(stdout) as Emitted;
  };

async function appended({ sink, log }: Measured, tell: Tell, forMs: number): Promise<Round> {
  const { bytes, writes } = log.totals;
  const before = { bytes, writes, events: sink.metrics.events, cpu: process.cpuUsage(), thread: process.threadCpuUsage() };
  const { waitedMs, seconds } = await tell(forMs);
  const ended = performance.now();
  await Promise.all([log.publish(), sink.sweep()]);
  const [all, thread] = [process.cpuUsage(before.cpu), process.threadCpuUsage(before.thread)];
  const after = log.totals;
  return {
    events: sink.metrics.events - before.events,
    bytes: after.bytes - before.bytes,
    writes: after.writes - before.writes,
    seconds,
    cpuMicros: all.user + all.system,
    threadMicros: thread.user + thread.system,
    behindMs: performance.now() - ended,
    waitedMs,
  };
}

interface Bare {
  readonly bytesPerSecond: number;
  readonly writesPerSecond: number;
}

const { O_CREAT, O_TRUNC, O_WRONLY, O_DSYNC, O_APPEND } = constants;

/** As many bytes a write as the log's writes had, one behind the other: the log's own go so too. */
async function bare(directory: string, bytesPerWrite: number, forMs: number, way: 'dsync' | 'append and fsync'): Promise<Bare> {
  const path = join(directory, 'bare');
  const file = await open(path, O_CREAT | O_TRUNC | O_WRONLY | (way === 'dsync' ? O_DSYNC : O_APPEND), 0o600);
  const bytes = randomBytes(bytesPerWrite);
  let writes = 0;
  const started = performance.now();
  for (; performance.now() - started < forMs; writes += 1) {
    await file.write(bytes, 0, bytes.length, writes * bytes.length);
    if (way === 'append and fsync') await file.sync();
  }
  const seconds = (performance.now() - started) / 1000;
  await file.close();
  rmSync(path);
  return { bytesPerSecond: (writes * bytesPerWrite) / seconds, writesPerSecond: writes / seconds };
}

type Compared = Round & { readonly ratio: number; readonly appendRatio: number; readonly bare: Bare; readonly appended: Bare };

const between = (first: Bare, second: Bare): Bare => ({
  bytesPerSecond: (first.bytesPerSecond + second.bytesPerSecond) / 2,
  writesPerSecond: (first.writesPerSecond + second.writesPerSecond) / 2,
});

async function compared(directory: string, measured: Measured, tell: Tell): Promise<Compared[]> {
  const { bytes, writes } = await appended(measured, tell, WARM_UP_MS);
  let size = Math.round(bytes / writes);
  const rounds: Compared[] = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    // The bare files on both sides of each round: what disk and neighbours do changes by the second.
    const [first, firstAppended] = [
      await bare(directory, size, ROUND_MS / 2, 'dsync'),
      await bare(directory, size, ROUND_MS / 2, 'append and fsync'),
    ];
    const round = await appended(measured, tell, ROUND_MS);
    size = Math.round(round.bytes / round.writes);
    const secondAppended = await bare(directory, size, ROUND_MS / 2, 'append and fsync');
    const limit = between(first, await bare(directory, size, ROUND_MS / 2, 'dsync'));
    const appendLimit = between(firstAppended, secondAppended);
    const bytesPerSecond = round.bytes / round.seconds;
    rounds.push({
      ...round,
      ratio: bytesPerSecond / limit.bytesPerSecond,
      appendRatio: bytesPerSecond / appendLimit.bytesPerSecond,
      bare: limit,
      appended: appendLimit,
    });
  }
  return rounds;
}

function figures(rounds: readonly Compared[]): { readonly ratio: number } & Record<string, unknown> {
  const of = (value: (round: Compared) => number, digits = 0): number => rounded(median(rounds.map(value)), digits);
  const waited = rounds.flatMap(({ waitedMs }) => waitedMs).sort((a, b) => a - b);
  return {
    ratio: of(({ ratio }) => ratio, 3),
    ratios: rounds.map(({ ratio }) => rounded(ratio, 3)),
    ratio_append_fsync: of(({ appendRatio }) => appendRatio, 3),
    events_a_second: of(({ events, seconds }) => events / seconds),
    derived_events_a_second: of(({ events, seconds, behindMs }) => events / (seconds + behindMs / 1000)),
    acknowledged_after_ms: { p50: rounded(quantile(waited, 0.5)), p99: rounded(quantile(waited, 0.99)) },
    cpu_micros_an_event: of(({ cpuMicros, events }) => cpuMicros / events, 1),
    main_thread_micros_an_event: of(({ threadMicros, events }) => threadMicros / events, 1),
    derived_after_ms: of(({ behindMs }) => behindMs),
    bytes_an_event: of(({ bytes, events }) => bytes / events),
    events_a_write: of(({ events, writes }) => events / writes),
    writes_a_second: of(({ writes, seconds }) => writes / seconds),
    megabytes_a_second: of(({ bytes, seconds }) => bytes / seconds / 1e6, 2),
    bare_writes_a_second: of(({ bare: { writesPerSecond } }) => writesPerSecond),
    append_fsync_writes_a_second: of(({ appended: { writesPerSecond } }) => writesPerSecond),
    bare_megabytes_a_second: of(({ bare: { bytesPerSecond } }) => bytesPerSecond / 1e6, 2),
  };
}

async function toldOverGrpc(directory: string, measured: Measured): Promise<ReturnType<typeof figures>> {
  const server = new Server();
  const { definition, implementation } = tapService(measured.sink);
  server.addService(definition, implementation);
  const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  const told = figures(await compared(directory, measured, overGrpc(port)));
  server.forceShutdown();
  return told;
}

const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-tap-'));
try {
  const { openStore, index, log } = recordParts({ stateDir: directory, tap: { retention: { kinds: {} } } as never });
  const sink = await openSink({ openStore, index });
  const measured = { sink, log: log() };
  const waiting: Record<string, ReturnType<typeof figures>> = {};
  for (const each of waiters) waiting[`waiting_${each}`] = figures(await compared(directory, measured, fromWithin(sink, each)));
  const grpc = chosen === undefined ? { grpc: await toldOverGrpc(directory, measured) } : {};
  await sink.close();
  const { ratio } = waiting[`waiting_${Math.max(...waiters)}`] as ReturnType<typeof figures>;
  report({ name: 'tap', ratio, goal: GOAL, load: loadavg()[0], ...waiting, ...grpc });
} finally {
  rmSync(directory, { recursive: true, force: true });
}
