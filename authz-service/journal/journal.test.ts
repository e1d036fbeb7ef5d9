import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { JournalError } from './error.ts';
import { type File, type FileSystem, nodeFileSystem } from './file_system.ts';
import { FRAME_BYTES, HEADER_BYTES } from './frame.ts';
import { type Journal, type JournalOptions, openJournal } from './journal.ts';
import { FILLED_NAME } from './recovery.ts';
import { type Fault, type Operation, SimulatedFileSystem } from './simulated_file_system.ts';

const record = (text: string): Buffer => Buffer.from(text);

const textsOf = async (journal: Journal, from = 0): Promise<string[]> => {
  const texts: string[] = [];
  for await (const { index, bytes } of journal.read(from)) {
    expect(index).toBe(Math.max(from, journal.first) + texts.length);
    texts.push(bytes.toString());
  }
  return texts;
};

/** Opens, reads everything and closes. */
const recovered = async (directory: string, options: JournalOptions = {}): Promise<string[]> => {
  const replayed: string[] = [];
  const journal = await openJournal(directory, { ...options, replay: (_, bytes) => replayed.push(bytes.toString()) });
  try {
    const texts = await textsOf(journal, journal.first);
    expect(replayed).toEqual(texts);
    return texts;
  } finally {
    await journal.close();
  }
};

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof JournalError ? error.code : `not coded: ${error}`;
  }
};

const numbered = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `record ${from + i}`);

describe('a journal on a real disk', () => {
  let directory: string;
  beforeEach(() => {
    directory = fs.mkdtempSync(join(tmpdir(), 'journal-'));
  });
  afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

  const segments = (): string[] => fs.readdirSync(directory).filter((name) => name.endsWith('.journal'));

  it.skipIf(process.platform !== 'linux')(
    'writes to files whose writes the kernel makes durable: new ones, and those that it goes on with',
    async () => {
      /** By name: of each segment that this process has open to write to, whether a write to it returns when it is on the disk (open(2): O_DSYNC). */
      const durable = (): Record<string, boolean> => {
        const found: Record<string, boolean> = {};
        for (const fd of fs.readdirSync('/proc/self/fd')) {
          let path = '';
          try {
            path = fs.readlinkSync(`/proc/self/fd/${fd}`);
          } catch {}
          if (!path.startsWith(directory) || !path.endsWith('.journal')) continue;
          const flags = Number.parseInt(/^flags:\s+([0-7]+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8);
          if ((flags & 3) !== fs.constants.O_RDONLY)
            found[path.slice(directory.length + 1)] = (flags & fs.constants.O_DSYNC) === fs.constants.O_DSYNC;
        }
        return found;
      };
      let journal = await openJournal(directory);
      await journal.append(record('a'));
      expect(durable()).toEqual({ '0000000000000000.journal': true });
      await journal.rotate();
      await journal.append(record('b'));
      expect(durable()).toEqual({ '0000000000000001.journal': true });
      await journal.close();
      journal = await openJournal(directory);
      await journal.append(record('c'));
      expect(durable()).toEqual({ '0000000000000001.journal': true });
      await journal.close();
    },
  );

  it('begins another segment when it is told to, between writes, and not behind nothing', async () => {
    const journal = await openJournal(directory, { released: true });
    await journal.rotate();
    expect(segments()).toHaveLength(1);
    const written = [journal.append(record('a')), journal.append(record('b'))];
    const rotated = journal.rotate();
    written.push(journal.append(record('c')));
    expect(await Promise.all(written)).toEqual([0, 1, 2]);
    await rotated;
    expect(segments()).toHaveLength(2);
    await journal.rotate();
    await journal.rotate();
    expect(segments()).toHaveLength(3);
    expect(await textsOf(journal)).toEqual(['a', 'b', 'c']);
    await journal.release(2);
    expect([journal.first, await textsOf(journal, 2)]).toEqual([2, ['c']]);
    await journal.close();
    expect(await codeOf(journal.rotate())).toBe('closed');
    expect(await recovered(directory, { released: true })).toEqual(['c']);
  });

  it('keeps records in order, across openings and segments', async () => {
    const texts = numbered(500);
    let journal = await openJournal(directory, { segmentBytes: 1000 });
    for (let i = 0; i < 250; i += 10) await Promise.all(texts.slice(i, i + 10).map((text) => journal.append(record(text))));
    await journal.close();
    journal = await openJournal(directory, { segmentBytes: 1000 });
    expect(journal.next).toBe(250);
    expect(await journal.append(record(texts[250] as string))).toBe(250);
    await Promise.all(texts.slice(251).map((text) => journal.append(record(text))));
    expect(await textsOf(journal)).toEqual(texts);
    expect(await textsOf(journal, 333)).toEqual(texts.slice(333));
    await journal.close();
    expect(segments().length).toBeGreaterThan(5);
    expect(await recovered(directory)).toEqual(texts);
  });

  it('has each write sealed with what is in it, also when a segment is to begin behind it', async () => {
    let staged = 0;
    const sealed: number[] = [];
    const seal = { record: () => Buffer.from(`${sealed.push(staged)}`), durable: () => {}, lost: () => {} };
    const journal = await openJournal(directory, { seal });
    const stage = (count: number): void => {
      for (let i = 0; i < count; i += 1) {
        journal.stage(record('x'));
        staged += 1;
      }
    };
    stage(3);
    const rotated = journal.rotate();
    stage(2);
    await Promise.all([rotated, journal.settled()]);
    expect(sealed).toEqual([3, 5]);
    expect(await textsOf(journal)).toEqual(['x', 'x', 'x', '1', 'x', 'x', '2']);
    await journal.close();
  });

  it('takes a record that is written straight into the batch, and keeps what is changed of it until the batch is sealed', async () => {
    let first = 0;
    const seal = {
      record: (batch: Buffer) => {
        batch.write('AB', first, 'latin1');
        return Buffer.from('sealed');
      },
      durable: () => {},
      lost: () => {},
    };
    const journal = await openJournal(directory, { seal });
    const index = journal.stageIn(100_000, (into, at) => {
      first = at;
      return at + into.write('ab and more', at, 'latin1');
    });
    expect(index).toBe(0);
    // The batch moves to a larger buffer meanwhile.
    for (let i = 0; i < 9; i += 1) journal.stage(Buffer.alloc(60_000));
    await journal.settled();
    expect((await textsOf(journal))[0]).toBe('AB and more');
    await journal.close();
    expect((await recovered(directory))[0]).toBe('AB and more');
  });

  it('does not keep an idle disk waiting when much is appended in one turn: it goes in parts, one behind the other', async () => {
    const journal = await openJournal(directory, { batchBytes: 1000 });
    const text = 'x'.repeat(84);
    const appended = Array.from({ length: 50 }, () =>
      journal.append(record(text)).then((index) => `${index} of write ${journal.totals.writes}`),
    );
    const settled = await Promise.all(appended);
    // 10 frames of 100 bytes in each.
    expect(settled).toEqual(Array.from({ length: 50 }, (_, i) => `${i} of write ${1 + Math.floor(i / 10)}`));
    await journal.close();
    expect(await recovered(directory)).toEqual(Array(50).fill(text));
  });

  it('writes more at once while it is a slow disk that everything waits for, and less when that is over', async () => {
    let ms = 15;
    const slow: FileSystem = {
      ...nodeFileSystem,
      open: async (path, mode) => {
        const file = await nodeFileSystem.open(path, mode);
        const writeDurably: File['writeDurably'] = async (bytes, position) => {
          if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
          await file.writeDurably(bytes, position);
        };
        return { ...file, writeDurably };
      },
    };
    const journal = await openJournal(directory, { batchBytes: 1000, files: slow });
    const crowd = async (): Promise<number> => {
      const before = journal.totals.writes;
      for (let i = 0; i < 100; i += 1) journal.stage(record('x'.repeat(84)));
      await journal.settled();
      return journal.totals.writes - before;
    };
    // Four of 1,000 bytes each, and then a quarter of what waits: 1,400, 1,800, 2,400, and the rest.
    expect(await crowd()).toBe(8);
    await crowd();
    expect(await crowd()).toBeLessThan(4);
    ms = 0;
    // One write at a time has nothing behind it.
    for (let i = 0; i < 12; i += 1) await journal.append(record('x'));
    expect(await crowd()).toBe(8);
    await journal.close();
  });

  it('writes what is appended at once in one write, and what is appended meanwhile in the next', async () => {
    const journal = await openJournal(directory);
    const first = numbered(100).map((text) => journal.append(record(text)));
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const second = numbered(100, 100).map((text) => journal.append(record(text)));
    await Promise.all([...first, ...second]);
    expect(journal.totals).toMatchObject({ records: 200, writes: 2 });
    await journal.close();
  });

  it('closes when what was staged is durable', async () => {
    const journal = await openJournal(directory);
    const appended = Promise.all(numbered(3).map((text) => journal.append(record(text))));
    await journal.close();
    expect(await appended).toEqual([0, 1, 2]);
    expect(await recovered(directory)).toEqual(numbered(3));
  });

  it('takes records of every size up to its bound, empty ones and those beyond a window too', async () => {
    const sizes = [0, 1, 15, 16, 17, 1000, (1 << 20) - 17, 1 << 20, (1 << 20) + 1, 3 << 20];
    const records = sizes.map((size) => Buffer.alloc(size, size % 251));
    const journal = await openJournal(directory, { maxRecordBytes: 3 << 20 });
    for (const bytes of records) journal.stage(bytes);
    await journal.settled();
    expect(await codeOf(journal.append(Buffer.alloc((3 << 20) + 1)))).toBe('too_large');
    const found: Buffer[] = [];
    for await (const { bytes } of journal.read()) found.push(bytes);
    expect(found.map((bytes, i) => bytes.equals(records[i] as Buffer))).toEqual(sizes.map(() => true));
    await journal.close();
  });

  it('has one writer: a second opening in this process or another is refused, and death gives the directory up', async () => {
    const journal = await openJournal(directory);
    expect(await codeOf(openJournal(directory))).toBe('locked');
    await journal.close();

    const module = JSON.stringify(new URL('./journal.ts', import.meta.url).href);
    const script = `const { openJournal } = await import(${module}); await openJournal(${JSON.stringify(directory)}); console.log('open'); setInterval(() => {}, 1000);`;
    const other = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => other.stdout.once('data', resolve));
    expect(await codeOf(openJournal(directory))).toBe('locked');
    const gone = new Promise((resolve) => other.once('exit', resolve));
    other.kill('SIGKILL');
    await gone;
    await (await openJournal(directory)).close();
  });

  it('after a crash at any byte, has every acknowledged record and nothing but whole ones', async () => {
    // Three writes; a crash leaves any prefix of the file, or any prefix followed by zeros (a size that reached the disk before its data).
    const texts = numbered(6);
    const path = '/journal/0000000000000000.journal';
    const disk = new SimulatedFileSystem();
    const journal = await openJournal('/journal', { files: disk });
    const durable: number[] = [];
    for (const pair of [texts.slice(0, 2), texts.slice(2, 4), texts.slice(4)]) {
      await Promise.all(pair.map((text) => journal.append(record(text))));
      durable.push(disk.contents(path).length);
    }
    await journal.close();
    const whole = Buffer.from(disk.contents(path));
    for (let length = 0; length <= whole.length; length += 1)
      for (const filler of length < HEADER_BYTES ? [0] : [0, 40]) {
        const left = Buffer.concat([whole.subarray(0, length), Buffer.alloc(filler)]);
        const acknowledged = 2 * durable.filter((size) => size <= length).length;
        // The real disk now and then: it takes its time.
        const real = length % 16 === 0;
        const files = disk.copy();
        if (real) fs.writeFileSync(join(directory, '0000000000000000.journal'), left);
        else files.damage(path, () => left);
        const place: [string, JournalOptions] = real ? [directory, {}] : ['/journal', { files }];
        const reopened = await openJournal(...place);
        const found = await textsOf(reopened);
        expect(found).toEqual(texts.slice(0, found.length));
        expect(found.length).toBeGreaterThanOrEqual(acknowledged);
        await reopened.append(record('after'));
        await reopened.close();
        expect(await recovered(...place)).toEqual([...found, 'after']);
      }
  });

  it('refuses to open over damage to what was acknowledged, and says where', async () => {
    const journal = await openJournal(directory, { segmentBytes: 120 });
    for (const text of numbered(8)) await journal.append(record(text));
    await journal.close();
    const [first, second] = segments() as [string, string];
    const path = join(directory, first);
    const whole = fs.readFileSync(path);
    for (let at = 0; at < whole.length; at += 3) {
      const bad = Buffer.from(whole);
      bad[at] = (bad[at] as number) ^ 0x10;
      fs.writeFileSync(path, bad);
      await expect(openJournal(directory)).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(path) });
      expect(fs.readFileSync(path).equals(bad)).toBe(true);
    }
    fs.writeFileSync(path, whole.subarray(0, -1));
    expect(await codeOf(openJournal(directory))).toBe('corrupt');
    fs.writeFileSync(path, whole);
    fs.renameSync(join(directory, second), join(directory, 'away'));
    await expect(openJournal(directory)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringMatching(/records from \d+ on are missing/),
    });
  });

  it('in the last segment, tells damage to an acknowledged record from the torn end of the last write', async () => {
    const journal = await openJournal(directory);
    for (const text of numbered(4)) await journal.append(record(text));
    await journal.close();
    const path = join(directory, segments()[0] as string);
    const whole = fs.readFileSync(path);
    const frame = FRAME_BYTES + 'record 0'.length;
    for (let at = HEADER_BYTES; at < whole.length; at += 3) {
      const bad = Buffer.from(whole);
      bad[at] = (bad[at] as number) ^ 0x80;
      fs.writeFileSync(path, bad);
      // Only of the last write is it not known whether it had been acknowledged.
      if (at < HEADER_BYTES + 3 * frame) expect(await codeOf(openJournal(directory))).toBe('corrupt');
      else expect(await recovered(directory)).toEqual(numbered(3));
    }
  });

  it('leaves nothing of a torn write behind that a later record could make whole', async () => {
    let journal = await openJournal(directory);
    await journal.append(record('kept'));
    const path = join(directory, segments()[0] as string);
    const end = fs.statSync(path).size;
    await Promise.all(['torn 0', 'torn 1', 'torn 2'].map((text) => journal.append(record(text))));
    await journal.close();
    const bytes = fs.readFileSync(path);
    bytes[end] = (bytes[end] as number) ^ 1;
    fs.writeFileSync(path, bytes);
    journal = await openJournal(directory);
    expect(journal.tornBytes).toBe(bytes.length - end);
    await journal.append(record('after!'));
    await journal.close();
    expect(await recovered(directory)).toEqual(['kept', 'after!']);
  });

  it('is not misled by a record that holds the bytes of frames', async () => {
    const other = fs.mkdtempSync(join(tmpdir(), 'journal-'));
    const forge = await openJournal(other);
    for (const text of numbered(10)) await forge.append(record(text));
    await forge.close();
    const forged = fs.readFileSync(join(other, fs.readdirSync(other).find((name) => name.endsWith('.journal')) as string));
    fs.rmSync(other, { recursive: true });

    const journal = await openJournal(directory);
    await journal.append(record('first'));
    await journal.append(forged);
    await journal.close();
    const path = join(directory, segments()[0] as string);
    fs.truncateSync(path, fs.statSync(path).size - 1);
    expect(await recovered(directory)).toEqual(['first']);
  });

  it('on a device without room refuses, and goes on by itself when there is room again', async (test) => {
    const mount = join(directory, 'small');
    fs.mkdirSync(mount);
    const run = (command: string, ...args: string[]): Promise<number | null> =>
      new Promise((resolve) =>
        spawn(command, args, { stdio: 'ignore' })
          .once('exit', resolve)
          .once('error', () => resolve(-1)),
      );
    if ((await run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount)) !== 0) return test.skip('needs the right to mount a tmpfs');
    try {
      const journal = await openJournal(join(mount, 'journal'), { retryMs: 20 });
      const kept: string[] = [];
      const ballast = join(mount, 'ballast');
      fs.writeFileSync(ballast, Buffer.alloc(600_000));
      let code = 'none';
      for (let i = 0; code === 'none' && i < 200; i += 1) {
        const text = `${i}`.padEnd(10_000, '.');
        code = await codeOf(journal.append(record(text)));
        if (code === 'none') kept.push(text);
      }
      expect(code).toBe('full');
      expect(journal.health).toMatchObject({ ok: false, code: 'full' });
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await codeOf(journal.append(record('still full')))).toBe('full');
      fs.rmSync(ballast);
      await vi.waitFor(() => expect(journal.health.ok).toBe(true), { timeout: 10_000 });
      expect(await journal.append(record('room again'))).toBe(kept.length);
      await journal.close();
      expect(await recovered(join(mount, 'journal'))).toEqual([...kept, 'room again']);
    } finally {
      await run('umount', mount);
    }
  });

  it('replaces everything by a snapshot, and goes on behind it', async () => {
    let journal = await openJournal(directory, { segmentBytes: 200 });
    await Promise.all(numbered(50).map((text) => journal.append(record(text))));
    const before = journal.append(record('before'));
    const compaction = journal.compact([record('a'), record('b')]);
    const after = journal.append(record('after'));
    expect(await before).toBe(50);
    await compaction;
    expect(await after).toBe(51);
    expect(await textsOf(journal, journal.first)).toEqual(['a', 'b', 'after']);
    await journal.compact([record('c')]);
    await journal.compact([record('d')]);
    await journal.append(record('e'));
    await journal.close();
    expect(segments()).toHaveLength(1);
    expect(await recovered(directory)).toEqual(['d', 'e']);
    journal = await openJournal(directory);
    expect(journal.next).toBe(53);
    await journal.compact([]);
    await journal.close();
    expect(await recovered(directory)).toEqual([]);
  });

  it('does not take damage to a snapshot for a torn end', async () => {
    const journal = await openJournal(directory);
    for (const text of numbered(3)) await journal.append(record(text));
    await journal.compact(numbered(3).map(record));
    await journal.close();
    const path = join(directory, segments()[0] as string);
    fs.truncateSync(path, fs.statSync(path).size - 1);
    expect(await codeOf(openJournal(directory))).toBe('corrupt');
    fs.truncateSync(path, HEADER_BYTES);
    expect(await codeOf(openJournal(directory))).toBe('corrupt');
  });
});

describe('a journal on a disk that fails', () => {
  const DIRECTORY = '/journal';
  const OPTIONS = { segmentBytes: 150, retryMs: 5 };
  const FILLED = { segmentBytes: 400, retryMs: 5, filledBytes: 130 };
  const open = (files: SimulatedFileSystem, options: JournalOptions = OPTIONS): Promise<Journal> =>
    openJournal(DIRECTORY, { ...options, files });

  /** Appends two at a time, and says what was acknowledged, in terms of what a reader must or may find. */
  const work = async (files: SimulatedFileSystem, options: JournalOptions): Promise<{ must: string[]; may: string[] }> => {
    const state = { must: [] as string[], may: [] as string[] };
    let journal: Journal;
    try {
      journal = await open(files, options);
    } catch {
      return state;
    }
    for (let i = 0; i < 12; i += 2) {
      const pair = numbered(2, i);
      state.may.push(...pair);
      try {
        await Promise.all(pair.map((text) => journal.append(record(text))));
        state.must.push(...pair);
      } catch {
        break;
      }
    }
    await journal.close();
    return state;
  };

  const faults: Fault[] = [
    { code: 'EIO' },
    { code: 'EIO', kept: 0.5 },
    { code: 'EIO', kept: 1 },
    { code: 'EIO', kept: 0, seen: 1 },
    { code: 'EIO', kept: 0.3, seen: 1 },
    { code: 'ENOSPC' },
    { code: 'ENOSPC', kept: 0.5 },
    { code: 'ENOSPC', kept: 1 },
    { code: 'EDQUOT', kept: 0, seen: 1 },
  ];

  /** Whether segments that were filled beforehand took their place in such work. */
  const fills = async (options: JournalOptions): Promise<boolean> => {
    const files = new SimulatedFileSystem();
    let filled = 0;
    files.fault = ({ name, path }) => {
      if (name === 'rename' && path.endsWith(FILLED_NAME)) filled += 1;
      return undefined;
    };
    await work(files, options);
    return filled > 1;
  };

  it.each([OPTIONS, FILLED].flatMap((options) => faults.map((fault) => [fault, options] as const)))(
    'loses nothing acknowledged when any one operation fails so, and the power goes: %j, %j',
    async (fault, options) => {
      const counting = new SimulatedFileSystem();
      await work(counting, options);
      expect(counting.operations).toBeGreaterThan(10);
      expect(await fills(options)).toBe(options === FILLED);
      for (let failing = 1; failing <= counting.operations; failing += 1)
        for (const end of ['lost', 'kept', 'killed', 'killed, then lost'] as const) {
          let files = new SimulatedFileSystem();
          files.fault = ({ number }) => (number === failing ? fault : undefined);
          const { must, may } = await work(files, options);
          files = end.startsWith('killed') ? files.afterKill() : files.afterPowerLoss(end as 'lost' | 'kept');
          if (end === 'killed, then lost') {
            // What recovery has shown once stays: it may have been acknowledged as a duplicate since.
            const shown = await recovered(DIRECTORY, { ...options, files });
            files = files.afterPowerLoss('lost');
            expect(await recovered(DIRECTORY, { ...options, files })).toEqual(shown);
          }
          const found = await recovered(DIRECTORY, { ...options, files });
          expect(found.slice(0, must.length), `operation ${failing}, ${end}`).toEqual(must);
          expect(found, `operation ${failing}, ${end}`).toEqual(may.slice(0, found.length));
        }
    },
  );

  it.each([OPTIONS, FILLED])(
    'loses nothing acknowledged when the power goes at any operation, with any part of it done: %j',
    async (options) => {
      const counting = new SimulatedFileSystem();
      await work(counting, options);
      for (let last = 1; last <= counting.operations; last += 1)
        for (const kept of [0, 0.2, 0.5, 0.9, 1])
          for (const names of ['lost', 'kept'] as const) {
            const files = new SimulatedFileSystem();
            files.fault = ({ number }) => (number === last ? { code: 'EIO', kept } : number > last ? { code: 'EIO' } : undefined);
            const { must, may } = await work(files, options);
            const found = await recovered(DIRECTORY, { ...options, files: files.afterPowerLoss(names) });
            expect(found.slice(0, must.length)).toEqual(must);
            expect(found).toEqual(may.slice(0, found.length));
          }
    },
  );

  it('a snapshot takes its place wholly or not at all, wherever it fails', async () => {
    const compacting = async (files: SimulatedFileSystem, arm: () => void): Promise<{ done: boolean; after: string[] }> => {
      const journal = await open(files);
      await Promise.all(numbered(8).map((text) => journal.append(record(text))));
      arm();
      const done = (await codeOf(journal.compact([record('snapshot')]))) === 'none';
      const after = (await codeOf(journal.append(record('after')))) === 'none' ? ['after'] : [];
      await journal.close();
      return { done, after };
    };
    const counting = new SimulatedFileSystem();
    let before = 0;
    await compacting(counting, () => {
      before = counting.operations;
    });
    for (let failing = before + 1; failing <= counting.operations; failing += 1)
      for (const fault of faults)
        for (const names of ['lost', 'kept'] as const) {
          const files = new SimulatedFileSystem();
          files.fault = ({ number }) => (number === failing ? fault : undefined);
          const { done, after } = await compacting(files, () => {});
          const found = await recovered(DIRECTORY, { ...OPTIONS, files: files.afterPowerLoss(names) });
          const whole = [numbered(8), ['snapshot']].map((base) => JSON.stringify([...base, ...after]));
          const unacknowledged = [numbered(8), ['snapshot']].map((base) => JSON.stringify([...base, 'after']));
          expect(
            done ? [whole[1], unacknowledged[1]] : [...whole, ...unacknowledged],
            `operation ${failing}, ${JSON.stringify(fault)}, ${names}`,
          ).toContain(JSON.stringify(found));
        }
  });

  it('tells everybody who waits, refuses what comes later, and is well when it is opened again', async () => {
    const files = new SimulatedFileSystem();
    let journal = await open(files);
    await journal.append(record('kept'));
    files.fault = ({ name }) => (name === 'write' ? { code: 'EIO', kept: 0.5 } : undefined);
    const waiting = [journal.append(record('a')), journal.append(record('b'))];
    expect(await Promise.all(waiting.map(codeOf))).toEqual(['failed', 'failed']);
    expect(journal.health).toMatchObject({ ok: false, code: 'failed', reason: expect.stringContaining('EIO') });
    files.fault = () => undefined;
    expect(await codeOf(journal.append(record('c')))).toBe('failed');
    expect(await codeOf(journal.compact([]))).toBe('failed');
    await journal.close();
    expect(await codeOf(journal.append(record('d')))).toBe('closed');
    journal = await open(files);
    await journal.append(record('e'));
    await journal.close();
    const found = await recovered(DIRECTORY, { files });
    expect([found[0], found.at(-1)]).toEqual(['kept', 'e']);
  });

  it.each([0, 0.5, 1])('goes back to the last durable byte after a full disk, %d of the write kept', async (kept) => {
    const files = new SimulatedFileSystem();
    const journal = await open(files);
    await journal.append(record('one'));
    let full = true;
    files.fault = ({ name }: Operation) => (full && (name === 'write' || name === 'create') ? { code: 'ENOSPC', kept } : undefined);
    expect(await codeOf(journal.append(record('two')))).toBe('full');
    expect(await codeOf(journal.append(record('two')))).toBe('full');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(journal.health.ok).toBe(false);
    full = false;
    await vi.waitFor(() => expect(journal.health.ok).toBe(true), { timeout: 10_000 });
    expect(await journal.append(record('two again'))).toBe(1);
    for (const text of numbered(20)) await journal.append(record(text));
    await journal.close();
    expect(await recovered(DIRECTORY, { files })).toEqual(['one', 'two again', ...numbered(20)]);
  });

  it('leaves nothing of a write that had no room behind that a later record could make whole', async () => {
    const files = new SimulatedFileSystem();
    const journal = await open(files);
    let full = true;
    files.fault = ({ name }) => (full && name === 'write' ? { code: 'ENOSPC', kept: 1 } : undefined);
    expect(await Promise.all(['lost 0', 'lost 1'].map((text) => codeOf(journal.append(record(text)))))).toEqual(['full', 'full']);
    full = false;
    await vi.waitFor(() => expect(journal.health.ok).toBe(true), { timeout: 10_000 });
    await journal.append(record('after!'));
    expect(await recovered(DIRECTORY, { files: files.copy() })).toEqual(['after!']);
    await journal.close();
  });

  it('finds room again when the disk was full just as a segment was to begin', async () => {
    for (const step of ['create', 'write', 'syncDirectory'] as const)
      for (const kept of [0, 1]) {
        const files = new SimulatedFileSystem();
        const journal = await open(files);
        const texts = numbered(4);
        for (const text of texts) await journal.append(record(text));
        let armed = true;
        files.fault = ({ name, path }) => {
          if (!armed || name !== step || (step !== 'syncDirectory' && path.endsWith('0000.journal'))) return undefined;
          armed = false;
          return { code: 'ENOSPC', kept };
        };
        expect(await codeOf(journal.append(record('x'.repeat(140)))), `${step} ${kept}`).toBe('full');
        await vi.waitFor(() => expect(journal.health.ok).toBe(true), { timeout: 10_000 });
        await journal.append(record('y'.repeat(140)));
        await journal.close();
        expect(await recovered(DIRECTORY, { files })).toEqual([...texts, 'y'.repeat(140)]);
      }
  });

  it('refuses more than its bound of bytes that wait', async () => {
    const files = new SimulatedFileSystem();
    const journal = await openJournal(DIRECTORY, { files, maxPendingBytes: 1000 });
    const waiting = Array.from({ length: 9 }, () => journal.append(Buffer.alloc(100 - FRAME_BYTES)));
    expect(await codeOf(journal.append(Buffer.alloc(100)))).toBe('backlog');
    await Promise.all(waiting);
    await journal.append(Buffer.alloc(100));
    expect(journal.health.ok).toBe(true);
    await journal.close();
  });

  it('notices damage that came after it was opened', async () => {
    const files = new SimulatedFileSystem();
    const journal = await openJournal(DIRECTORY, { files });
    for (const text of numbered(3)) await journal.append(record(text));
    files.damage(files.paths()[0] as string, (bytes) => {
      bytes[HEADER_BYTES + FRAME_BYTES + 2] = 0;
      return bytes;
    });
    expect(await codeOf(textsOf(journal))).toBe('corrupt');
    await journal.close();
  });
});

describe('a journal whose next segment is filled with zeros beforehand', () => {
  const DIRECTORY = '/journal';
  const FILLED = join(DIRECTORY, FILLED_NAME);
  const OPTIONS = { segmentBytes: 4000, filledBytes: 400, released: true, retryMs: 5 };
  /** What the disk does ends within a turn of the event loop. */
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const open = (files: SimulatedFileSystem, options: JournalOptions = {}): Promise<Journal> =>
    openJournal(DIRECTORY, { ...OPTIONS, ...options, files });
  const pathOf = (first: number): string => join(DIRECTORY, `${String(first).padStart(16, '0')}.journal`);
  const segmentsOf = (files: SimulatedFileSystem): string[] => files.paths().filter((path) => path.endsWith('.journal'));

  const append = async (journal: Journal, texts: readonly string[]): Promise<void> => {
    for (const text of texts) {
      await journal.append(record(text));
      await turn();
    }
  };

  /** A last segment that was filled: two records in it, of two writes. */
  const inFilled = async (): Promise<{ files: SimulatedFileSystem; path: string; texts: string[] }> => {
    const files = new SimulatedFileSystem();
    const journal = await open(files);
    const texts = ['x'.repeat(80), ...numbered(2, 1)];
    await append(journal, texts);
    expect(segmentsOf(files)).toEqual([pathOf(0), pathOf(1)]);
    expect(files.contents(pathOf(1))).toHaveLength(OPTIONS.filledBytes);
    // As it is when nobody has closed it.
    return { files: files.afterKill(), path: pathOf(1), texts };
  };

  it('goes on in it, and leaves no zeros behind the records of any other', async () => {
    const files = new SimulatedFileSystem();
    const journal = await open(files);
    const texts = numbered(60);
    await append(journal, texts);
    const paths = segmentsOf(files);
    expect(paths.length).toBeGreaterThan(3);
    const bytes = paths.slice(0, -1).map((path) => files.contents(path));
    expect(bytes.map((each) => each.length <= OPTIONS.filledBytes && each.at(-1) !== 0)).toEqual(bytes.map(() => true));
    expect(files.contents(paths.at(-1) as string)).toHaveLength(OPTIONS.filledBytes);
    expect(await textsOf(journal)).toEqual(texts);
    // One that is told to begin has no need to be full.
    await journal.rotate();
    expect(files.contents(paths.at(-1) as string).at(-1)).not.toBe(0);
    await journal.release(60);
    expect(segmentsOf(files)).toHaveLength(1);
    await append(journal, ['after']);
    await journal.close();
    expect(files.paths()).toEqual(segmentsOf(files));
    expect(await recovered(DIRECTORY, { ...OPTIONS, files })).toEqual(['after']);
  });

  it('does without where little is written, writes are large, or the device has little room', async () => {
    for (const [options, bytesLeft, texts] of [
      [{ filledBytes: 4000 }, Number.POSITIVE_INFINITY, numbered(20)],
      [{ segmentBytes: 1 << 20 }, Number.POSITIVE_INFINITY, Array(60).fill('x'.repeat(20_000))],
      [{}, 16 * OPTIONS.filledBytes - 1, numbered(60)],
    ] as const) {
      const files = new SimulatedFileSystem();
      files.bytesLeft = bytesLeft;
      const journal = await open(files, options);
      let renamed = false;
      // Writes are small until enough of them were seen.
      files.fault = ({ name }) => {
        renamed ||= name === 'rename' && journal.totals.writes > 40;
        return undefined;
      };
      await append(journal, texts);
      expect([renamed, journal.health.ok]).toEqual([false, true]);
      await journal.close();
    }
  });

  it('after a crash at any byte of a write to it, has every acknowledged record and no torn one, and says how much was torn', async () => {
    const { files, path, texts } = await inFilled();
    const whole = Buffer.from(files.contents(path));
    const frame = FRAME_BYTES + 'record 1'.length;
    for (let length = HEADER_BYTES; length <= HEADER_BYTES + 2 * frame; length += 1) {
      const disk = files.copy();
      disk.damage(path, () => Buffer.concat([whole.subarray(0, length), Buffer.alloc(whole.length - length)]));
      const kept = Math.floor((length - HEADER_BYTES) / frame);
      const journal = await open(disk);
      expect(journal.tornBytes).toBeLessThanOrEqual(length - HEADER_BYTES - kept * frame);
      if (length === HEADER_BYTES + kept * frame) expect(journal.tornBytes).toBe(0);
      expect(await textsOf(journal)).toEqual(texts.slice(0, 1 + kept));
      // Of what was filled nothing is left, or it would stand between two segments.
      expect(disk.contents(path)).toHaveLength(HEADER_BYTES + kept * frame);
      await append(journal, ['after']);
      await journal.rotate();
      await append(journal, ['in the next one']);
      await journal.close();
      expect(await recovered(DIRECTORY, { ...OPTIONS, files: disk })).toEqual([...texts.slice(0, 1 + kept), 'after', 'in the next one']);
    }
  });

  it('removes at its opening what was filled and never used', async () => {
    const files = new SimulatedFileSystem();
    await append(await open(files), numbered(3));
    expect(files.paths()).toContain(FILLED);
    const left = files.afterKill();
    const journal = await open(left);
    expect(left.paths()).toEqual([pathOf(0)]);
    await journal.close();
  });

  it('takes any part of the last write for torn, in whatever order the disk took it; and what is damaged before it for damage', async () => {
    const { files, path, texts } = await inFilled();
    const whole = Buffer.from(files.contents(path));
    const frame = FRAME_BYTES + 'record 1'.length;
    const last = HEADER_BYTES + frame;
    for (let from = last; from < last + frame; from += 1)
      for (let to = from + 1; to <= last + frame; to += 5) {
        const disk = files.copy();
        disk.damage(path, (bytes) => bytes.fill(0, from, to));
        // Where that was nothing but zeros it is whole.
        const same = disk.contents(path).equals(whole);
        expect(await recovered(DIRECTORY, { ...OPTIONS, files: disk })).toEqual(same ? texts : texts.slice(0, 2));
      }
    for (let at = 0; at < last; at += 1) {
      const disk = files.copy();
      disk.damage(path, (bytes) => {
        bytes[at] = (bytes[at] as number) ^ 0x80;
        return bytes;
      });
      expect(await codeOf(open(disk)), `byte ${at}`).toBe('corrupt');
    }
    // Records that are gone as a whole: of the last segment what stood there is not known, of one before it is.
    const journal = await open(files);
    await journal.rotate();
    await append(journal, ['in the next one']);
    await journal.close();
    files.damage(path, (bytes) => bytes.fill(0, last));
    expect(await codeOf(open(files))).toBe('corrupt');
  });

  it.each(['create', 'write'] as const)('commits all the same when filling fails at its %s, and leaves nothing of it', async (step) => {
    for (const code of ['ENOSPC', 'EIO', 'EDQUOT'] as const) {
      const files = new SimulatedFileSystem();
      const journal = await open(files);
      let failed = 0;
      files.fault = ({ name, path }) => {
        if (name !== step || path !== FILLED) return undefined;
        failed += 1;
        return { code, kept: 0.5 };
      };
      const texts = numbered(60);
      await append(journal, texts);
      // It is not tried again at once.
      expect([failed, journal.health.ok, journal.first, segmentsOf(files)]).toEqual([1, true, 0, [pathOf(0)]]);
      expect(files.paths()).toEqual([pathOf(0)]);
      await journal.close();
      expect(await recovered(DIRECTORY, { ...OPTIONS, files })).toEqual(texts);
    }
  });

  it.each([3, 9])('gives back what is filled when the disk is full, and goes on: %d records in', async (count) => {
    const files = new SimulatedFileSystem();
    const journal = await open(files);
    await append(journal, numbered(count));
    expect(files.paths()).toContain(FILLED);
    expect(segmentsOf(files)).toHaveLength(count === 3 ? 1 : 2);
    let full = true;
    files.fault = ({ name }) => (full && name === 'write' ? { code: 'ENOSPC', kept: 0.5 } : undefined);
    expect(await codeOf(journal.append(record('no room')))).toBe('full');
    await vi.waitFor(() => expect(files.paths()).not.toContain(FILLED), { timeout: 10_000 });
    full = false;
    await vi.waitFor(() => expect(journal.health.ok).toBe(true), { timeout: 10_000 });
    await append(journal, numbered(30, count));
    await journal.close();
    expect(await recovered(DIRECTORY, { ...OPTIONS, files })).toEqual(numbered(30 + count));
  });

  it('cannot be compacted', async () => {
    const journal = await open(new SimulatedFileSystem());
    expect(await codeOf(journal.compact([]))).toBe('failed');
    await journal.close();
  });
});
