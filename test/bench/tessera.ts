/**
 * Entries a second that are durable, beside the POSIX driver of tessera (https://github.com/transparency-dev/tessera), in turns: tessera's conformance server under its own
 * hammer; the record behind an HTTP door of the same kind, under the same hammer; and the record told from within. `ratio` is the last over the first, and leaves HTTP out on
 * one side; `ratio_over_http` the second over the first, with Node's HTTP on one side and Go's on the other. `--seconds N`: how long each is measured in a round.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../../authz-service/tlog/note.ts';
import { root } from '../../scripts/stages.ts';
import { freePort } from '../free_port.fixture.ts';
import { median, report, rounded } from './figures.ts';
import { cpuSecondsOf } from './processes.ts';

const ROUNDS = 3;
const GOAL = 5;
/** Twice what tessera's conformance server puts into a batch, so that a batch is full before its second is over. */
const WRITERS = 512;
const ENTRY_BYTES = 200;
const VERSION = 'v1.0.4';

const said = process.argv.indexOf('--seconds');
const seconds = said > 0 ? Number(process.argv[said + 1]) : 8;

const programs = join(process.env.SLUICE_CACHE || join(root, '.cache'), 'interop', 'go');
const [hammer, posix] = [join(programs, 'hammer'), join(programs, 'posix')];
if (!existsSync(hammer) || !existsSync(posix)) {
  const module = 'github.com/transparency-dev/tessera';
  process.stderr.write(
    `This bench needs two programs of tessera, and Go to make them:\n  GOBIN=${programs} go install ${module}/internal/hammer@${VERSION} ${module}/cmd/conformance/posix@${VERSION}\n`,
  );
  process.exit(2);
}

interface Speed {
  readonly entries_a_second: number;
  /** Of the log's own process. */
  readonly cpu_micros_an_entry: number;
}

/** A log that takes entries at an address, and the key that its checkpoints are verified with. */
interface Served {
  readonly url: string;
  readonly key: string;
  readonly pid: number;
  stop(): Promise<void>;
}

async function started(
  command: string,
  args: readonly string[],
  output: 'pipe' | 'ignore',
): Promise<{ pid: number; line: Promise<string>; stop: () => Promise<void> }> {
  const child = spawn(command, args, { stdio: ['ignore', output, 'ignore'] });
  await once(child, 'spawn');
  const line =
    child.stdout === null ? Promise.resolve('') : once(createInterface({ input: child.stdout }), 'line').then(([text]) => text as string);
  return {
    pid: child.pid as number,
    line,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

async function tesseraIn(directory: string): Promise<Served> {
  const port = await freePort();
  const secret = generateSignerKey('bench.example/tessera');
  const keyFile = join(directory, 'key');
  writeFileSync(keyFile, secret, { mode: 0o600 });
  const { pid, stop } = await started(
    posix,
    ['--storage_dir', join(directory, 'log'), '--listen', `127.0.0.1:${port}`, '--private_key', keyFile],
    'ignore',
  );
  return { url: `http://127.0.0.1:${port}/`, key: formatVerifierKey(parseSignerKey(secret).verifier), pid, stop };
}

/** As `./sluice` starts the service. */
const FLAGS = ['--max-semi-space-size=64'];
const own = join(import.meta.dirname, 'tessera', 'sluice.ts');

async function sluiceIn(directory: string): Promise<Served> {
  const port = await freePort();
  const { pid, line, stop } = await started(process.execPath, [...FLAGS, own, 'http', String(port), directory], 'pipe');
  return { url: `http://127.0.0.1:${port}/`, key: await line, pid, stop };
}

/** How many entries the published checkpoint covers; 0 before there is one. */
async function sizeOf({ url }: Served): Promise<number> {
  const answer = await fetch(`${url}checkpoint`).catch(() => undefined);
  return answer?.ok ? Number((await answer.text()).split('\n')[1]) : 0;
}

/** Resolves when the published checkpoint has changed: what it covers then, when that was, and what the log's process had cost until then. */
async function nextCheckpoint(served: Served, from: number): Promise<{ size: number; at: number; cpu: number }> {
  for (;;) {
    const size = await sizeOf(served);
    if (size > from) return { size, at: performance.now(), cpu: cpuSecondsOf(served.pid) };
    await sleep(20);
  }
}

/** The hammer's writers alone: it reads a checkpoint and its proofs now and then, which is how it knows what is integrated. */
async function hammered(serve: (directory: string) => Promise<Served>): Promise<Speed> {
  const directory = mkdtempSync(join(all, 'log-'));
  const served = await serve(directory);
  try {
    const deadline = performance.now() + 20_000;
    while (!(await fetch(`${served.url}checkpoint`).catch(() => undefined))?.ok && performance.now() < deadline) await sleep(50);
    const under = await started(
      hammer,
      [
        ['--log_url', served.url],
        ['--log_public_key', served.key],
        ['--show_ui=false'],
        ['--max_read_ops', '0'],
        ['--num_readers_random', '0'],
        ['--num_readers_full', '0'],
        ['--num_writers', String(WRITERS)],
        ['--max_write_ops', '1000000'],
        ['--leaf_min_size', String(ENTRY_BYTES - 8)],
        ['--dup_chance', '0'],
      ].flat(),
      'ignore',
    );
    try {
      const warm = await nextCheckpoint(served, await sizeOf(served));
      await sleep(seconds * 250);
      const first = await nextCheckpoint(served, Math.max(warm.size, await sizeOf(served)));
      await sleep(seconds * 1000);
      const last = await nextCheckpoint(served, await sizeOf(served));
      const entries = last.size - first.size;
      return {
        entries_a_second: (entries * 1000) / (last.at - first.at),
        cpu_micros_an_entry: ((last.cpu - first.cpu) * 1e6) / entries,
      };
    } finally {
      await under.stop();
    }
  } finally {
    await served.stop();
  }
}

function direct(): Speed & { readonly p99_ms: number } {
  const args = [...FLAGS, own, 'direct', String(ENTRY_BYTES), String(WRITERS), String(seconds), mkdtempSync(join(all, 'log-'))];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}

// All logs go at the end: ext4 is slow to make a file where others were deleted a short time ago, and each round would pay for the one before.
const all = mkdtempSync(join(tmpdir(), 'sluice-bench-tessera-'));
const rounds: { tessera: Speed; http: Speed; direct: ReturnType<typeof direct> }[] = [];
try {
  for (let i = 0; i < ROUNDS; i += 1) rounds.push({ tessera: await hammered(tesseraIn), http: await hammered(sluiceIn), direct: direct() });
} finally {
  rmSync(all, { recursive: true, force: true });
}

const figures = (of: (round: (typeof rounds)[number]) => Speed): Record<string, number | number[]> => ({
  entries_a_second: rounded(median(rounds.map((round) => of(round).entries_a_second)), 0),
  rounds: rounds.map((round) => rounded(of(round).entries_a_second, 0)),
  cpu_micros_an_entry: rounded(median(rounds.map((round) => of(round).cpu_micros_an_entry)), 1),
});
const over = (of: (round: (typeof rounds)[number]) => Speed): number =>
  rounded(median(rounds.map((round) => of(round).entries_a_second / round.tessera.entries_a_second)), 2);
report({
  name: 'tessera',
  ratio: over((round) => round.direct),
  ratio_over_http: over(({ http }) => http),
  goal: GOAL,
  load: loadavg()[0],
  bytes_an_entry: ENTRY_BYTES,
  writers: WRITERS,
  tessera_hammered: figures(({ tessera }) => tessera),
  sluice_hammered: figures(({ http }) => http),
  sluice_from_within: { ...figures((round) => round.direct), p99_ms: median(rounds.map((round) => round.direct.p99_ms)) },
});
