/** Publication in a thread of its own: what it publishes, how it says why not, and that its end is not the log's. */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ThreadEnded } from '../asked_thread.ts';
import { openJournal } from '../journal/journal.ts';
import type { Extent } from '../journal/segment.ts';
import { localFiles } from '../storage/local_files.ts';
import { recordsOf, subject, type TestLogOptions, testLog, textsOf, verifyPublished } from './log.fixture.ts';
import type { Log } from './log.ts';
import type { Committed } from './publisher.ts';
import { PublisherThread } from './publisher_thread.ts';

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'log-thread-'));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

const published = (): string => join(directory, 'log');
const objects = () => localFiles(published());
const open = (options: TestLogOptions = {}): Promise<Log> => testLog({ directory, publishedIn: published(), ...options });

const grow = async (log: Log, count: number): Promise<void> => {
  for (let i = log.size, end = i + count; i < end; i += 1)
    log.stage(subject(i + 1, `ses_${i % 7}`, i % 5 === 0 ? 17 : 11), Buffer.from(`event ${i}`));
  await log.settled();
};

/** So many events in the journal, and nothing published of them. */
const journaledOnly = async (count: number): Promise<{ target: Committed; extents: Extent[] }> => {
  const log = await open();
  await grow(log, count);
  const target = log.committed as Committed;
  await log.close();
  fs.rmSync(published(), { recursive: true });
  const journal = await openJournal(join(directory, 'journal'), { released: true });
  const extents = journal.extents(0);
  await journal.close();
  return { target, extents };
};

describe('the thread that publishes', () => {
  it('publishes what the log has, across openings and segments that are let go of', async () => {
    let size = 0;
    for (const count of [1, 254, 604]) {
      const log = await open({ journal: { segmentBytes: 4096 } });
      await grow(log, count);
      size += count;
      await log.publish();
      expect((await verifyPublished(objects()))?.length).toBe(size);
      expect((await recordsOf(log)).length).toBe(size);
      await grow(log, 2);
      size += 2;
      await log.close();
      expect(textsOf((await verifyPublished(objects())) ?? [])).toEqual(Array.from({ length: size }, (_, i) => `event ${i}`));
    }
    expect(fs.readdirSync(join(directory, 'journal')).filter((name) => name.endsWith('.journal')).length).toBeLessThan(20);
  });

  it('publishes by itself', async () => {
    const log = await open({ publishMs: 1 });
    await grow(log, 3);
    while (log.published?.size !== 3) await new Promise((resolve) => setTimeout(resolve, 5));
    await log.close();
  });

  it('says by its code why it does not: what would fork the log ends it, everything else is tried again', async () => {
    const problems: Error[] = [];
    const log = await open({ onProblem: (error) => problems.push(error) });
    await grow(log, 300);
    fs.mkdirSync(join(published(), 'tile'), { recursive: true });
    fs.writeFileSync(join(published(), 'tile/entries'), 'no directory');
    await expect(log.publish()).rejects.toMatchObject({ name: 'StorageError', code: 'unavailable' });
    expect(log.health.ok).toBe(true);
    fs.rmSync(join(published(), 'tile/entries'));
    await log.publish();
    expect((await verifyPublished(objects()))?.length).toBe(300);

    await grow(log, 300);
    fs.writeFileSync(join(published(), 'tile/entries/001'), 'other bytes');
    await expect(log.publish()).rejects.toMatchObject({ name: 'LogError', code: 'forked' });
    expect(log.health.ok).toBe(false);
    expect(problems.map(({ name }) => name)).toEqual(['StorageError', 'LogError']);
    await log.close();
  });

  it('does not publish a checkpoint that its events do not give, nor what is damaged in the journal', async () => {
    const { target, extents } = await journaledOnly(10);
    const thread = new PublisherThread(published(), 0);
    await expect(thread.publish({ ...target, root: Buffer.alloc(32) }, extents)).rejects.toMatchObject({
      name: 'LogError',
      code: 'forked',
    });
    const { path } = extents[0] as Extent;
    const bytes = fs.readFileSync(path);
    bytes[100] = (bytes[100] as number) ^ 1;
    fs.writeFileSync(path, bytes);
    await expect(thread.publish(target, extents)).rejects.toMatchObject({ name: 'JournalError', code: 'corrupt' });
    expect(fs.existsSync(join(published(), 'checkpoint'))).toBe(false);
    await thread.close();
  });

  it('that runs out of memory again and again is told of, and not begun without end; what is recorded is durable, and published at the next start', async () => {
    const problems: Error[] = [];
    const why = 'the thread that publishes has ended: it ran out of its 256 MB of memory';
    const publishing = vi.spyOn(PublisherThread.prototype, 'publish').mockImplementation(() => Promise.reject(new ThreadEnded(why)));
    const log = await open({ onProblem: (error) => problems.push(error) });
    await grow(log, 10);
    for (let i = 0; i < 5; i += 1) {
      expect(log.publication).toEqual({ ok: true });
      await expect(log.publish()).rejects.toThrow(why);
    }
    expect(log.publication).toEqual({
      ok: false,
      reason: `${why}, 5 times in a row: 10 events are recorded and not published`,
    });
    expect(problems.at(-1)?.message).toMatch(/^NOTHING IS PUBLISHED ANY MORE: .* tried again each 10 minutes/);
    expect(problems).toHaveLength(5);
    await grow(log, 10);
    expect(log.health.ok).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(problems).toHaveLength(5);
    await log.close();
    publishing.mockRestore();
    const again = await open();
    await again.publish();
    expect(again.publication).toEqual({ ok: true });
    expect((await verifyPublished(objects()))?.length).toBe(20);
    await again.close();
  }, 60_000);

  it('may end at any time: another one goes on where it began', async () => {
    const { target, extents } = await journaledOnly(2000);
    const thread = new PublisherThread(published(), 0);
    for (const ms of [0, 30, 60]) {
      const publishing = expect(thread.publish(target, extents)).rejects.toThrow('has ended');
      await new Promise((resolve) => setTimeout(resolve, ms));
      await thread.close();
      await publishing;
      expect(thread.size).toBe(0);
    }
    await thread.publish(target, extents);
    expect((await verifyPublished(objects()))?.length).toBe(2000);
    expect(thread.size).toBe(2000);
    await thread.close();
  });
});
