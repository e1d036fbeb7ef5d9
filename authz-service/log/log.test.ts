import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { localFiles } from '../storage/local_files.ts';
import { StorageError } from '../storage/object_store.ts';
import { openCheckpoint, readCheckpoint } from '../tlog/checkpoint.ts';
import { leafHash } from '../tlog/hash.ts';
import { generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { checkConsistency, checkInclusion } from '../tlog/proof.ts';
import { type Detail, decodeDetails, encodeDetails } from './details.ts';
import { listedKeys } from './keys.ts';
import { checkChains, ORIGIN, recordsOf, SIGNER, subject, testLog, textsOf, verifyPublished } from './log.fixture.ts';
import type { Log } from './log.ts';
import { formatPruned, pruningText } from './pruned.ts';

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return (error as { code?: string }).code ?? `not coded: ${error}`;
  }
};

const stageAll = (log: Log, from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => {
    const text = `event ${from + i}`;
    expect(log.stage(subject(from + i + 1, `ses_${(from + i) % 7}`, (from + i) % 5 === 0 ? 17 : 11), Buffer.from(text))).toBe(from + i);
    return text;
  });

describe('the log', () => {
  let directory: string;
  beforeEach(() => {
    directory = fs.mkdtempSync(join(tmpdir(), 'log-'));
  });
  afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));
  const objects = () => localFiles(join(directory, 'log'));

  it('goes by no word of a store that leaves were pruned which no leaf of the signed tree tells of', async () => {
    const log = await testLog({ directory, toldOfPruning: String });
    log.stage(subject(1, 'ses_old'), Buffer.from('the first'));
    for (let i = 1; i < 600; i += 1) log.stage(subject(i + 1, 'ses_new'), Buffer.from(`event ${i}`));
    const told = { ...subject(601, ''), kind: 18, target: '' };
    // Of a filter, and of the service.
    for (const own of [false, true]) log.stage({ ...told, sequence: own ? 602 : 601, own }, Buffer.from(pruningText(512, 86_400_000)));
    await log.settled();
    await log.publish();
    const wanted = new Set(['ses_old']);
    expect((await log.newest(wanted)).get('ses_old')).toEqual({ index: 0, position: 1 });
    const shown = async (leaf: number, minimum = 512): Promise<void> => {
      const { salt, event } = (await log.reader.record(leaf, 602)).detail as Detail;
      await objects().put('pruned', formatPruned({ minimum, leaf, salt, event }));
    };
    for (const [leaf, minimum] of [
      [600, 512],
      [601, 256],
    ]) {
      await shown(leaf as number, minimum);
      // A session that is not found would begin anew: its next leaf would be signed as its first.
      expect(await codeOf(log.newest(wanted))).toBe('corrupt');
    }
    const gone = (await objects().get('tile/entries/000')) as Buffer;
    await objects().delete('tile/entries/000');
    expect(await codeOf(log.reader.entries(0, 602))).toBe('corrupt');
    await shown(601);
    expect(await codeOf(log.reader.entries(0, 602))).toBe('pruned');
    expect((await log.newest(wanted)).get('ses_old')).toBeUndefined();
    await objects().put('tile/entries/000', gone);
    await log.close();
  });

  it('keeps events in order, across openings, publications and segments that are let go of', async () => {
    const texts: string[] = [];
    const sizes = [1, 5, 250, 1, 255, 256, 300, 3];
    for (const [i, count] of sizes.entries()) {
      const log = await testLog({ directory, journal: { segmentBytes: 4096 } });
      expect(log.size).toBe(texts.length);
      expect(textsOf(await recordsOf(log))).toEqual(texts);
      texts.push(...stageAll(log, texts.length, count));
      await log.settled();
      expect(log.committed?.size).toBe(texts.length);
      expect(textsOf(await recordsOf(log))).toEqual(texts);
      for (const from of [0, 1, 255, 256, 257, texts.length - 1, texts.length])
        expect(textsOf(await recordsOf(log, from))).toEqual(texts.slice(from));
      if (i % 3 !== 1) {
        await log.publish();
        expect(textsOf((await verifyPublished(objects())) ?? [])).toEqual(texts);
        expect(textsOf(await recordsOf(log))).toEqual(texts);
      }
      await log.close();
      expect(textsOf((await verifyPublished(objects())) ?? [])).toEqual(texts);
    }
    expect(fs.readdirSync(join(directory, 'journal')).filter((name) => name.endsWith('.journal')).length).toBeLessThan(20);
    expect(fs.readdirSync(join(directory, 'log/tile/entries')).sort()).toEqual(['000', '001', '002', '003', '004.p']);
  });

  it('lets go of what the journal has of events that are published, also when its segment is not full', async () => {
    let seconds = 0;
    const secret = 'what is to go one day';
    const inJournal = (): boolean =>
      fs.readdirSync(join(directory, 'journal')).some((name) => fs.readFileSync(join(directory, 'journal', name)).includes(secret));
    const log = await testLog({ directory, segmentMs: 60_000, monotonic: () => seconds * 1000 });
    // The first publication begins a segment: how old the one is that was found, nobody knows.
    stageAll(log, 0, 1);
    await log.settled();
    await log.publish();
    log.stage(subject(1_000), Buffer.from(secret));
    await log.settled();
    const texts = ['event 0', secret];
    const go = async (count: number): Promise<void> => {
      texts.push(...stageAll(log, texts.length, count));
      await log.settled();
      await log.publish();
    };
    await go(700);
    expect(inJournal()).toBe(true);
    seconds = 59;
    await go(300);
    expect(inJournal()).toBe(true);
    seconds = 60;
    // None of those that are published need stay: not even while their bundle is not full.
    await go(1);
    expect(inJournal()).toBe(false);
    expect(textsOf((await verifyPublished(objects())) ?? [])).toEqual(texts);
    await log.close();
    const again = await testLog({ directory, segmentMs: 60_000 });
    expect(textsOf(await recordsOf(again))).toEqual(texts);
    await again.close();
  });

  it.each(['in this thread', 'in one of its own'])(
    'keeps in the journal what a publication that runs has not got yet: %s',
    async (where) => {
      const texts: string[] = [];
      const log = await testLog({
        directory,
        journal: { segmentBytes: 4096, batchBytes: 2048 },
        ...(where !== 'in this thread' && { publishedIn: join(directory, 'log') }),
      });
      for (let round = 0; round < 4; round += 1) {
        texts.push(...stageAll(log, texts.length, 150));
        await log.settled();
        const publishing = log.publish();
        // Several bundles, and segments, become durable meanwhile.
        for (let n = 0; n < 8; n += 1) {
          texts.push(...stageAll(log, texts.length, 100));
          await log.settled();
        }
        await publishing;
        expect(textsOf(await recordsOf(log))).toEqual(texts);
      }
      await log.close();
      expect(textsOf((await verifyPublished(objects())) ?? [])).toEqual(texts);
    },
  );

  it('is not begun anew, or from an older day, under a journal that has nothing but its newest checkpoint: that would be a fork, signed', async () => {
    const segments = (): Buffer[] =>
      fs
        .readdirSync(join(directory, 'journal'))
        .filter((name) => name.endsWith('.journal'))
        .map((name) => fs.readFileSync(join(directory, 'journal', name)));
    let older = '';
    for (const [from, to] of [
      [0, 300],
      [300, 400],
    ] as const) {
      const log = await testLog({ directory, segmentMs: 40, publishMs: 1 });
      stageAll(log, from, to - from);
      await log.settled();
      await vi.waitFor(() => expect(Buffer.concat(segments()).toString('latin1')).not.toContain('event'), { timeout: 10_000 });
      await log.close();
      if (older === '') fs.cpSync(join(directory, 'log'), (older = join(directory, 'older')), { recursive: true });
    }
    const before = segments();
    fs.renameSync(join(directory, 'log'), join(directory, 'newest'));
    expect(await codeOf(testLog({ directory }))).toBe('rolled_back');
    fs.rmSync(join(directory, 'log'), { recursive: true, force: true });
    fs.cpSync(older, join(directory, 'log'), { recursive: true });
    expect(await codeOf(testLog({ directory }))).toBe('rolled_back');
    fs.rmSync(join(directory, 'log'), { recursive: true });
    fs.renameSync(join(directory, 'newest'), join(directory, 'log'));
    expect(segments()).toEqual(before);
    const log = await testLog({ directory });
    expect(log.size).toBe(400);
    await log.close();
  });

  it('lets go of it while nothing happens any more, and opens again with a journal that has no event', async () => {
    const journal = (): string =>
      fs
        .readdirSync(join(directory, 'journal'))
        .map((name) => fs.readFileSync(join(directory, 'journal', name), 'latin1'))
        .join('');
    let log = await testLog({ directory, segmentMs: 40, publishMs: 1 });
    stageAll(log, 0, 300);
    await log.settled();
    await vi.waitFor(() => expect(journal()).not.toContain('event 299'), { timeout: 10_000 });
    expect(journal()).toContain(ORIGIN);
    // Nothing is written for its own sake.
    await vi.waitFor(
      async () => {
        const idle = log.totals.writes;
        await new Promise((resolve) => setTimeout(resolve, 200));
        expect(log.totals.writes).toBe(idle);
      },
      { timeout: 5000 },
    );
    const texts = Array.from({ length: 300 }, (_, i) => `event ${i}`);
    expect(textsOf(await recordsOf(log))).toEqual(texts);
    await log.close();
    for (let opening = 0; opening < 3; opening += 1) {
      log = await testLog({ directory, segmentMs: 40, publishMs: 1 });
      expect(textsOf(await recordsOf(log))).toEqual(texts);
      texts.push(...stageAll(log, texts.length, opening));
      await log.settled();
      await log.close();
    }
    expect(textsOf((await verifyPublished(objects())) ?? [])).toEqual(texts);
    // Without its newest checkpoint it is a journal of before.
    const [first, ...rest] = fs.readdirSync(join(directory, 'journal')).filter((name) => name.endsWith('.journal'));
    for (const name of rest) fs.rmSync(join(directory, 'journal', name));
    fs.writeFileSync(
      join(directory, 'journal', first as string),
      fs.readFileSync(join(directory, 'journal', first as string)).subarray(0, 32),
    );
    expect(await codeOf(testLog({ directory }))).toBe('rolled_back');
  });

  /** Stages events at the very end of a publication, before a segment is begun: what `between` says. */
  const renewedAmidst = async (between: (stage: (count: number) => void) => Promise<void>): Promise<Log> => {
    const published = objects();
    const put = published.put.bind(published);
    let amidst = false;
    let staged = 100;
    published.put = async (key, bytes, options) => {
      const outcome = await put(key, bytes, options);
      if (key === 'checkpoint' && amidst) {
        amidst = false;
        await between((count) => {
          stageAll(log, staged, count);
          staged += count;
        });
      }
      return outcome;
    };
    const log = await testLog({ directory, segmentMs: 60_000, monotonic: () => 1e9, objects: published });
    stageAll(log, 0, 100);
    await log.settled();
    amidst = true;
    await log.publish();
    await log.settled();
    return log;
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it.each([
    ['gather', async (stage) => stage(5), 105],
    [
      'are under way',
      async (stage) => {
        stage(5);
        await turn();
      },
      105,
    ],
    [
      'are under way, and others gather',
      async (stage) => {
        stage(5);
        await turn();
        stage(4);
      },
      109,
    ],
  ] satisfies [string, (stage: (count: number) => void) => Promise<void>, number][])(
    'begins a segment of the journal while events %s, and loses none, now or at the next start',
    async (_, between, size) => {
      const log = await renewedAmidst(between);
      const texts = Array.from({ length: size }, (_, i) => `event ${i}`);
      const all = async (of: Log): Promise<void> => {
        for (let from = 95; from < texts.length; from += 1)
          expect(textsOf(await recordsOf(of, from)), `from ${from}`).toEqual(texts.slice(from));
      };
      await all(log);
      await log.publish();
      await all(log);
      const journal = join(directory, 'journal');
      const crashed = join(directory, 'crashed');
      fs.cpSync(journal, join(crashed, 'journal'), { recursive: true });
      fs.cpSync(join(directory, 'log'), join(crashed, 'log'), { recursive: true });
      texts.push(...stageAll(log, log.size, 10));
      await log.settled();
      await all(log);
      await log.publish();
      await log.close();
      const again = await testLog({ directory });
      await all(again);
      await again.close();
      const after = await testLog({ directory: crashed });
      expect(textsOf(await recordsOf(after))).toEqual(texts.slice(0, size));
      await after.close();
    },
  );

  it('goes on with a bundle of which some details were deleted, and refuses one that is damaged', async () => {
    let log = await testLog({ directory, segmentMs: 0 });
    stageAll(log, 0, 100);
    await log.settled();
    await log.publish();
    const events = join(directory, 'log/details/events/000.p/100');
    const kept = decodeDetails(fs.readFileSync(events), 0).filter(({ index }) => index >= 50);
    await log.undisturbed(async () => {
      fs.writeFileSync(events, encodeDetails(kept));
      fs.rmSync(join(directory, 'log/details/payloads/000.p/100'));
    });
    const missing = async (): Promise<number[]> => {
      const records = await recordsOf(log);
      return records.filter(({ detail }) => detail === undefined).map(({ index }) => index);
    };
    const gone = Array.from({ length: 100 }, (_, i) => i).filter((i) => i < 50 || i % 5 === 0);
    for (const count of [1, 200, 300]) {
      stageAll(log, log.size, count);
      await log.settled();
      await log.publish();
      expect(await missing()).toEqual(gone);
    }
    await log.close();
    log = await testLog({ directory });
    expect(await missing()).toEqual(gone);
    await log.close();

    const path = join(directory, 'log/details/events/002.p/89');
    const bytes = fs.readFileSync(path);
    for (const [damaged, code] of [
      [bytes.subarray(0, 100), 'corrupt'],
      [Buffer.from(bytes.toString('latin1').replace('event 592', 'EVENT 592'), 'latin1'), 'corrupt'],
    ] as const) {
      fs.writeFileSync(path, damaged);
      expect(await codeOf(testLog({ directory }))).toBe(code);
    }
    fs.writeFileSync(path, bytes);
    const entries = join(directory, 'log/tile/entries/002.p/89');
    const whole = fs.readFileSync(entries);
    fs.rmSync(entries);
    expect(await codeOf(testLog({ directory }))).toBe('corrupt');
    fs.writeFileSync(entries, Buffer.from(whole.toString('latin1').replaceAll('ses_1', 'ses_2'), 'latin1'));
    expect(await codeOf(testLog({ directory }))).toBe('corrupt');
  });

  it('puts right what an attempt that failed has put there of details that were deleted since', async () => {
    const store = objects();
    const put = store.put.bind(store);
    let away = false;
    store.put = async (key, bytes, options) => {
      if (away && key === 'checkpoint') throw new StorageError('unavailable', 'away');
      return await put(key, bytes, options);
    };
    const log = await testLog({ directory, objects: store });
    stageAll(log, 0, 100);
    await log.settled();
    await log.publish();
    stageAll(log, 100, 400);
    await log.settled();
    away = true;
    expect(await codeOf(log.publish())).toBe('unavailable');
    away = false;
    expect(await store.get('details/events/000')).toBeDefined();
    const key = 'details/events/000.p/100';
    const kept = decodeDetails((await store.get(key)) as Buffer, 0).slice(70);
    await log.undisturbed(async () => void (await store.put(key, encodeDetails(kept))));
    await log.publish();
    expect((await recordsOf(log)).filter(({ detail }) => detail === undefined).length).toBe(70);
    await log.close();
  });

  it('acknowledges with a signed checkpoint for each write, and not before', async () => {
    const disk = new SimulatedFileSystem();
    const log = await testLog({ files: disk });
    expect(log.committed).toBeUndefined();
    let open!: () => void;
    disk.gate = new Promise((resolve) => {
      open = resolve;
    });
    stageAll(log, 0, 10);
    const settled = log.settled();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(log.size).toBe(0);
    expect(log.committed).toBeUndefined();
    open();
    await settled;
    expect(log.totals).toMatchObject({ records: 10, writes: 1 });
    const { note, root } = log.committed as NonNullable<Log['committed']>;
    expect(openCheckpoint(note, ORIGIN, [SIGNER.verifier])).toMatchObject({ size: 10, root });
    await log.close();
  });

  it('says of each leaf where it stands in its session, also of sessions of long ago', async () => {
    let log = await testLog({ directory });
    stageAll(log, 0, 30);
    await log.settled();
    await log.close();
    log = await testLog({ directory });
    stageAll(log, 30, 30);
    log.stage(subject(61, ''), Buffer.from('of no session'));
    await log.settled();
    const records = await recordsOf(log);
    checkChains(records.slice(0, 60));
    expect(records[59]?.leaf).toMatchObject({ session: 'ses_3', position: 9, previous: 52 });
    expect(records[60]?.leaf).toMatchObject({ session: '', position: 0, previous: 0 });
    await log.close();
  });

  it('lets no session go on among leaves that are being pruned, and has it begin anew when they are forgotten', async () => {
    const log = await testLog({ directory });
    stageAll(log, 0, 30);
    await log.settled();
    // ses_0 to ses_6 take turns: the newest leaf of one is among the last seven.
    log.holdBack(25);
    const goesOn = (i: number): number => log.stage(subject(100 + i, `ses_${i}`), Buffer.from('more'));
    const old = [24, 23].map((index) => index % 7);
    for (const i of old) {
      expect(() => goesOn(i)).toThrow(expect.objectContaining({ code: 'pruned' }));
      expect(() => log.positionOf(subject(100, `ses_${i}`))).toThrow('come again');
    }
    expect(log.positionOf(subject(100, 'ses_new'))).toBe(1);
    log.holdBack(0);
    goesOn(old[0] as number);
    log.holdBack(25);
    log.forgetBelow(25);
    // What was known stays so.
    log.holdBack(0);
    for (const i of [...old, 25 % 7]) goesOn(i);
    await log.settled();
    const places = (await recordsOf(log, 30)).map(({ leaf: { session, position } }) => [session, position]);
    expect(places).toEqual([
      [`ses_${old[0]}`, 5],
      [`ses_${old[0]}`, 6],
      [`ses_${old[1]}`, 1],
      [`ses_${25 % 7}`, 5],
    ]);
    await log.close();
  });

  it('proves each event, and that it grew, out of a few tiles', async () => {
    const log = await testLog({ directory });
    const heads: { size: number; root: Buffer }[] = [];
    for (const count of [3, 254, 256, 200]) {
      stageAll(log, log.size, count);
      await log.settled();
      await log.publish();
      heads.push(log.published as NonNullable<Log['published']>);
    }
    const { size } = heads.at(-1) as (typeof heads)[number];
    for (const index of [0, 1, 255, 256, 511, 512, size - 1]) {
      const record = await log.reader.record(index, size);
      expect(String(record.detail?.event)).toBe(`event ${index}`);
      const proof = await log.reader.proveInclusion(index, size);
      checkInclusion(leafHash(record.entry), index, heads.at(-1) as (typeof heads)[number], proof);
    }
    for (const [i, old] of heads.entries())
      for (const now of heads.slice(i)) checkConsistency(old, now, await log.reader.proveConsistency(old.size, now.size));
    await expect(log.reader.record(size, size)).rejects.toThrow(RangeError);
    await log.close();
  });

  it('publishes by itself, and tries again when the store was away', async () => {
    const disk = new SimulatedFileSystem();
    const problems: string[] = [];
    const log = await testLog({
      files: disk,
      publishMs: 1,
      onProblem: (error) => problems.push((error as unknown as { code: string }).code),
    });
    disk.fault = ({ path }) => (path.startsWith('/tap/log') ? { code: 'EIO' } : undefined);
    stageAll(log, 0, 3);
    await log.settled();
    await vi.waitFor(() => expect(problems).toEqual(['unavailable']), { timeout: 10_000 });
    expect(log.health.ok).toBe(true);
    disk.fault = () => undefined;
    await vi.waitFor(() => expect(log.published?.size).toBe(3), { timeout: 10_000 });
    stageAll(log, 3, 3);
    await log.settled();
    await vi.waitFor(() => expect(log.published?.size).toBe(6), { timeout: 10_000 });
    await log.close();
  });

  it('keeps a checkpoint now and then, and removes the partial forms of what is full', async () => {
    let now = 0;
    const log = await testLog({ directory, now: () => now });
    for (let i = 0; i < 12; i += 1) {
      stageAll(log, log.size, 60);
      await log.settled();
      await log.publish();
      now += 1_000_000;
    }
    await log.close();
    const keys: string[] = [];
    for await (const key of objects().list('')) keys.push(key);
    expect(keys.filter((key) => key.startsWith('checkpoints/'))).toEqual(
      [60, 300, 540].map((size) => `checkpoints/${String(size).padStart(16, '0')}`),
    );
    expect(readCheckpoint((await objects().get('checkpoints/0000000000000540')) as Buffer).size).toBe(540);
    const partial = keys.filter((key) => key.includes('.p/'));
    expect(partial.filter((key) => !key.startsWith('tile/1/'))).toEqual([
      'details/events/002.p/208',
      'details/payloads/002.p/208',
      ...[28, 88, 148, 208].flatMap((width) => `tile/0/002.p/${width}`).sort(),
      ...[28, 88, 148, 208].flatMap((width) => `tile/entries/002.p/${width}`).sort(),
    ]);
    expect(String(await objects().get('keys'))).toMatch(/^0 gateway\.example\/sluice\+[0-9a-f]{8}\+A\S{43}\n$/);
  });

  it('locks what will not change any more, until the date that is asked for', async () => {
    const store = objects();
    const locked = new Map<string, Date>();
    const log = await testLog({
      directory,
      retainUntil: (kind) => new Date(['tile', 'entries', 'checkpoint', 'events', 'payloads'].indexOf(kind)),
      objects: {
        ...store,
        url: store.url,
        put: (key, bytes, { retainUntil, ...options } = {}) => {
          if (retainUntil !== undefined) locked.set(key, retainUntil);
          return store.put(key, bytes, options);
        },
        get: (key, range) => store.get(key, range),
        list: (prefix, after) => store.list(prefix, after),
        delete: (key) => store.delete(key),
        hold: (key, on) => store.hold(key, on),
        settle: () => store.settle(),
        verify: () => store.verify(),
        close: () => store.close(),
      },
    });
    stageAll(log, 0, 300);
    await log.settled();
    await log.close();
    expect(Object.fromEntries([...locked].map(([key, date]) => [key, date.getTime()]))).toEqual({
      'tile/0/000': 0,
      'tile/entries/000': 1,
      'checkpoints/0000000000000300': 2,
      'details/events/000': 3,
      'details/payloads/000': 4,
    });
  });

  it('shows what was deleted as deleted, and what was exchanged as damage', async () => {
    const log = await testLog({ directory, journal: { segmentBytes: 4096 } });
    for (let i = 0; i < 20; i += 1) {
      stageAll(log, log.size, 30);
      await log.settled();
    }
    await log.publish();
    fs.rmSync(join(directory, 'log/details/payloads/000'));
    const records = await recordsOf(log);
    expect(records.filter(({ detail }) => detail === undefined).map(({ index }) => index)).toEqual(
      Array.from({ length: 52 }, (_, i) => 5 * i),
    );
    const path = join(directory, 'log/details/events/000');
    fs.writeFileSync(path, Buffer.from(fs.readFileSync(path, 'latin1').replace('event 7', 'EVENT 7'), 'latin1'));
    expect(await codeOf(recordsOf(log))).toBe('corrupt');
    await log.close();
  });

  describe('refuses', () => {
    beforeEach(async () => {
      const log = await testLog({ directory });
      stageAll(log, 0, 300);
      await log.settled();
      await log.publish();
      stageAll(log, 300, 5);
      await log.settled();
      await log.close();
    });
    const opening = (options = {}) => codeOf(testLog({ directory, ...options }).then((log) => log.close()));
    const journal = () =>
      join(directory, 'journal', fs.readdirSync(join(directory, 'journal')).find((name) => name.endsWith('.journal')) as string);

    it('nothing that is well', async () => expect(await opening()).toBe('none'));

    it('a second writer', async () => {
      const log = await testLog({ directory });
      expect(await opening()).toBe('locked');
      await log.close();
    });

    it('another key, and another name', async () => {
      expect(await opening({ signers: [parseSignerKey(generateSignerKey(ORIGIN))] })).toBe('key');
      expect(await opening({ signers: [parseSignerKey(generateSignerKey('other.example/log'))] })).toBe('key');
    });

    it('a journal that was rolled back behind what is published, or is not there', async () => {
      const bytes = fs.readFileSync(journal());
      fs.writeFileSync(journal(), bytes.subarray(0, 32));
      expect(await opening()).toBe('rolled_back');
      fs.rmSync(journal());
      expect(await opening()).toBe('rolled_back');
    });

    it('a published checkpoint that is none, and says where it lies', async () => {
      fs.writeFileSync(join(directory, 'log/checkpoint'), 'nonsense\n');
      expect(await opening()).toBe('corrupt');
      await expect(testLog({ directory })).rejects.toThrow(`the published checkpoint (${objects().url}) cannot be read`);
    });

    it('tiles that do not give the published root', async () => {
      const path = join(directory, 'log/tile/0/001.p/49');
      const bytes = fs.readFileSync(path);
      bytes[0] = (bytes[0] as number) ^ 1;
      fs.writeFileSync(path, bytes);
      expect(await opening()).toBe('corrupt');
      fs.rmSync(path);
      expect(await opening()).toBe('missing');
    });

    it('a journal that goes on from another log of the same key', async () => {
      const other = join(directory, 'other');
      const log = await testLog({ directory: other });
      for (let i = 0; i < 305; i += 1) log.stage(subject(i + 1), Buffer.from(`another ${i}`));
      await log.settled();
      await log.close();
      fs.rmSync(join(directory, 'journal'), { recursive: true });
      fs.cpSync(join(other, 'journal'), join(directory, 'journal'), { recursive: true });
      expect(await opening()).toBe('forked');
    });

    it('a log that is not the one that somebody remembers', async () => {
      const published = readCheckpoint((await objects().get('checkpoint')) as Buffer);
      expect(await opening({ remembered: [published] })).toBe('none');
      expect(await opening({ remembered: [{ ...published, size: 306 }] })).toBe('rolled_back');
      expect(await opening({ remembered: [{ size: 77, root: published.root }] })).toBe('forked');
    });

    it('payload of a kind that only a later version knows, published or not: made anew by this one, the newest bundle would be without it', async () => {
      const log = await testLog({ directory, segmentMs: 0 });
      log.stage(subject(306, 'ses_1', 517), Buffer.from('of a later kind'));
      await log.settled();
      const unpublished = join(directory, 'unpublished');
      for (const part of ['journal', 'log']) fs.cpSync(join(directory, part), join(unpublished, part), { recursive: true });
      await log.publish();
      await log.close();
      expect(fs.readFileSync(journal(), 'latin1')).not.toContain('of a later kind');
      for (const at of [directory, unpublished])
        expect(await codeOf(testLog({ directory: at }).then((each) => each.close()))).toBe('newer');
    });

    it('the record of an earlier version', async () => {
      fs.writeFileSync(join(directory, '0000000000000000.journal'), '');
      expect(await opening()).toBe('old_format');
    });
  });

  it('goes on under a new key when the old one has signed with it', async () => {
    const next = parseSignerKey(generateSignerKey(ORIGIN));
    let log = await testLog({ directory });
    stageAll(log, 0, 3);
    await log.settled();
    await log.close();
    expect(await codeOf(testLog({ directory, signers: [next] }))).toBe('key');
    log = await testLog({ directory, signers: [SIGNER, next] });
    stageAll(log, 3, 1);
    await log.settled();
    await log.close();
    log = await testLog({ directory, signers: [next] });
    stageAll(log, 4, 1);
    await log.settled();
    await log.close();
    const note = (await objects().get('checkpoint')) as Buffer;
    expect(openCheckpoint(note, ORIGIN, [next.verifier]).size).toBe(5);
    expect(await codeOf(testLog({ directory }))).toBe('key');
    expect(
      String(await objects().get('keys'))
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toEqual(['0', '3', '']);
    // As an editor leaves it: with other ends of lines, and none behind the last. What is added stands on a line of its own.
    const [first = '', second = ''] = String(await objects().get('keys')).split('\n');
    for (const edited of [first, `${first}\r\n${second}\r\n`]) {
      await objects().put('keys', Buffer.from(edited));
      log = await testLog({ directory, signers: [next] });
      await log.close();
      expect(listedKeys(String(await objects().get('keys')))).toEqual([first, second].map((line) => line.split(' ')[1]));
    }
  });

  it('stops, and stays as it is, when an object is there that would fork it', async () => {
    const problems: string[] = [];
    const log = await testLog({ directory, onProblem: (error) => problems.push((error as unknown as { code: string }).code) });
    fs.mkdirSync(join(directory, 'log/tile/0'), { recursive: true });
    fs.writeFileSync(join(directory, 'log/tile/0/000'), Buffer.alloc(8192));
    stageAll(log, 0, 256);
    await log.settled();
    expect(await codeOf(log.publish())).toBe('forked');
    expect(problems).toEqual(['forked']);
    expect(log.health.ok).toBe(false);
    expect(() => stageAll(log, 256, 1)).toThrow(/is there already/);
    await log.close();
    expect(await objects().get('checkpoint')).toBeUndefined();
  });
});
