/**
 * What a crash leaves, at every operation that changes the disk: those that commit (a write of the journal, a new segment, one that is filled beforehand) and those that publish (tiles, bundles,
 * details, the checkpoint, the renewal of the journal's segment and the release of all before).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { FILLED_NAME } from '../journal/recovery.ts';
import { type Fault, SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { localFiles } from '../storage/local_files.ts';
import { readCheckpoint } from '../tlog/checkpoint.ts';
import { checkConsistency } from '../tlog/proof.ts';
import { checkChains, recordsOf, subject, testLog, textsOf, verifyPublished } from './log.fixture.ts';
import type { Log } from './log.ts';

interface Told {
  /** Events that were acknowledged, by their texts, in order. */
  readonly acknowledged: string[];
  /** Checkpoints that anybody may have seen. */
  readonly seen: { readonly size: number; readonly root: Buffer }[];
}

type Work = (files: SimulatedFileSystem) => Promise<Told>;

/** Batches that fill bundles, roll segments and release them, published in between; ends with the first thing that fails, or after all. */
const settledFirst: Work = (files) => worked(files, async () => {});
/** The same, while what was there before each batch is published. */
const underWay: Work = (files) => worked(files, (log) => log.publish());

const worked = async (files: SimulatedFileSystem, meanwhile: (log: Log) => Promise<void>): Promise<Told> => {
  const told: Told = { acknowledged: [], seen: [] };
  let log: Log | undefined;
  try {
    log = await testLog({ files, segmentMs: 0, journal: { segmentBytes: 6000, batchBytes: 5000, retryMs: 1 } });
    for (const [round, count] of [3, 1, 253, 4].entries()) {
      const from = log.size;
      const texts = Array.from({ length: count }, (_, i) => `${round}: event ${from + i}`);
      const publishing = meanwhile(log);
      publishing.catch(() => {});
      for (const [i, text] of texts.entries())
        log.stage(subject(from + i + 1, `ses_${(from + i) % 3}`, i % 4 === 0 ? 17 : 11), Buffer.from(text));
      await log.settled();
      told.acknowledged.push(...texts);
      await publishing;
      if (round !== 1) await log.publish();
      if (log.published !== undefined) told.seen.push(log.published);
    }
  } catch (error) {
    // Nothing but what the log says of itself.
    if ((error as { code?: string }).code === undefined) throw error;
  }
  return told;
};

/** Opens what is left, goes on, and finds everything: what was acknowledged, in place; every chain whole; every checkpoint that was seen a beginning of the log. */
const recovers = async (files: SimulatedFileSystem, { acknowledged, seen }: Told): Promise<void> => {
  const shown = await localFiles('/tap/log', files).get('checkpoint');
  const remembered = [...seen, ...(shown === undefined ? [] : [readCheckpoint(shown)])];
  await verifyPublished(localFiles('/tap/log', files));
  const log = await testLog({ files, remembered });
  const found = await recordsOf(log);
  checkChains(found);
  expect(textsOf(found).slice(0, acknowledged.length)).toEqual(acknowledged);
  log.stage(subject(9999, 'ses_1'), Buffer.from('after'));
  await log.settled();
  await log.publish();
  const published = await verifyPublished(localFiles('/tap/log', files));
  expect(textsOf(published ?? [])).toEqual([...textsOf(found), 'after']);
  checkChains(published ?? []);
  const now = log.published as NonNullable<Log['published']>;
  for (const old of remembered) checkConsistency(old, now, await log.reader.proveConsistency(old.size, now.size));
  await log.close();
};

/** The fast loop fails some operations, others each time; everything else all of them. */
const SHARE = Number(process.env.FUZZ_SHARE ?? 1);
const step = (): number => (SHARE < 1 ? 1 + Math.floor((2 * Math.random()) / SHARE) : 1);

const counted = async (work: Work): Promise<number> => {
  const disk = new SimulatedFileSystem();
  let filled = 0;
  disk.fault = ({ name, path }) => {
    if (name === 'rename' && path.endsWith(FILLED_NAME)) filled += 1;
    return undefined;
  };
  expect((await work(disk)).acknowledged.length).toBe(261);
  // Segments that were filled beforehand are among them.
  expect(filled).toBeGreaterThan(1);
  return disk.operations;
};

/** By turns: the process dies alone, or the power goes with it, and names that were not synced are as before or as they had become. */
const afterCrash = (disk: SimulatedFileSystem, turn: number): SimulatedFileSystem =>
  turn % 3 === 0 ? disk.afterKill() : disk.afterPowerLoss(turn % 3 === 1 ? 'lost' : 'kept');

/** What an operation does that fails: nothing, all of it, a part of it. */
const FAULTS: readonly Fault[] = [
  { code: 'EIO' },
  { code: 'EIO', kept: 1 },
  { code: 'EIO', kept: 0.5, seen: 1 },
  { code: 'ENOSPC', kept: 0.4 },
];

describe('after a crash, nothing acknowledged is missing, and the log is the one that it was', () => {
  it.each([
    ['publication of what has settled', settledFirst],
    ['events under way while others are published', underWay],
  ])(
    'killed before any operation, with the power or without: %s',
    async (_, work) => {
      const operations = await counted(work);
      expect(operations).toBeGreaterThan(60);
      for (let number = 1; number <= operations + 1; number += step()) {
        let left: SimulatedFileSystem | undefined;
        const disk = new SimulatedFileSystem();
        disk.fault = (operation) => {
          if (operation.number === number) left = disk.copy();
          return operation.number >= number ? { code: 'EIO' } : undefined;
        };
        const told = await work(disk);
        left ??= disk.copy();
        await recovers(afterCrash(left, number), told);
      }
    },
    120_000,
  );

  it.each(
    FAULTS.flatMap((fault) =>
      (fault === FAULTS[2] ? [settledFirst, underWay] : [settledFirst]).map(
        (work) =>
          [
            `${fault.code}, ${100 * (fault.kept ?? 0)} % on the disk${fault.seen ? ', all in the page cache' : ''}${work === underWay ? ', events under way' : ''}`,
            fault,
            work,
          ] as const,
      ),
    ),
  )(
    'any operation that fails: %s',
    async (_, fault, work) => {
      const operations = await counted(work);
      for (let number = 1; number <= operations; number += step()) {
        const disk = new SimulatedFileSystem();
        disk.fault = (operation) => (operation.number === number ? fault : undefined);
        const told = await work(disk);
        await recovers(afterCrash(disk, number), told);
      }
    },
    120_000,
  );

  it('killed for real, at any time: what it said was durable is there', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'log-killed-'));
    try {
      let acknowledged = 0;
      for (const ms of [60, 5, 90, 30]) {
        const child = spawn(process.execPath, [join(import.meta.dirname, 'killed.fixture.ts'), directory], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const last = await untilKilled(child, ms);
        expect(last).toBeGreaterThan(acknowledged);
        acknowledged = last;
      }
      const log = await testLog({ directory });
      const found = await recordsOf(log);
      checkChains(found);
      expect(found.length).toBeGreaterThanOrEqual(acknowledged);
      expect(textsOf(found)).toEqual(found.map((_, i) => `event ${i}`));
      await log.close();
      expect((await verifyPublished(localFiles(join(directory, 'log'))))?.length).toBe(found.length);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }, 60_000);
});

/** Kills it so long after its first word; resolves to the last number that it wrote. */
const untilKilled = async (child: ChildProcess, ms: number): Promise<number> => {
  let last = 0;
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  lines.once('line', () => setTimeout(() => child.kill('SIGKILL'), ms));
  lines.on('line', (line) => {
    if (/^\d+\.$/.test(line)) last = Number.parseInt(line, 10);
  });
  await Promise.all([once(child, 'exit'), once(lines, 'close')]);
  return last;
};
