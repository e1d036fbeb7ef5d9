import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localFiles } from '../storage/local_files.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { openCheckpoint, signCheckpoint } from '../tlog/checkpoint.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { goingText } from './going.ts';
import { classOf, PAYLOAD_CLASSES, payloadKind } from './leaf.ts';
import { ORIGIN, recordsOf, SIGNER, subject, testLog, textsOf, verifyPublished } from './log.fixture.ts';
import { LogReader } from './reader.ts';
import { Replicator } from './replicator.ts';
import { type Restored, restoreLog } from './restore.ts';
import { Retention } from './retention.ts';

let directory: string;
let copy: ObjectStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-restore-'));
  copy = localFiles(join(directory, 'copy'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string): string => join(directory, name);
const published = (name: string): ObjectStore => localFiles(join(at(name), 'log'));
const textOf = (n: number): string => `event ${n}`;
const texts = (count: number): string[] => Array.from({ length: count }, (_, n) => textOf(n));

/** A log of `size`, all of it published. */
const grow = async (name: string, size: number, kindAt = (n: number): number => (n % 3 === 0 ? 17 : 11)): Promise<void> => {
  const log = await testLog({ directory: at(name) });
  // Every third is a payload.
  for (let n = log.size; n < size; n += 1) log.stage(subject(n + 1, 'ses_1', kindAt(n)), Buffer.from(textOf(n)));
  await log.settled();
  await log.publish();
  await log.close();
};
const replicate = (name: string): Promise<void> =>
  new Replicator({ from: published(name), to: copy, open: (note) => openCheckpoint(note, ORIGIN, [SIGNER.verifier]), keepMs: 0 }).round();
/** As the copy would be, but for its pointer and what is kept. */
const copyAll = async (): Promise<void> => {
  for (const prefix of ['tile/', 'details/'])
    for await (const key of published('old').list(prefix)) await copy.put(key, (await published('old').get(key)) as Buffer);
};
const TOLD = 'these were signed by nobody';
const restore = (signers = [SIGNER], beyond?: number): Promise<Restored> =>
  restoreLog({
    from: copy,
    directory: at('new'),
    objects: published('new'),
    signers,
    ...(beyond !== undefined && { signBeyond: { size: beyond, event: () => ({ subject: subject(1, ''), event: Buffer.from(TOLD) }) } }),
  });
const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'none',
    ({ code }) => code,
  );
const objectsOf = async (store: ObjectStore): Promise<string[]> => {
  const found: string[] = [];
  for await (const key of store.list('')) found.push(`${key} ${(await store.get(key))?.toString('base64')}`);
  return found;
};

describe('a log that is restored', () => {
  for (const size of [1, 255, 256, 257, 700, 1024])
    it(`has all of ${size} leaves, and goes on as the same tree`, async () => {
      await grow('old', size);
      await replicate('old');
      const remembered = openCheckpoint((await copy.get('checkpoint')) as Buffer, ORIGIN, [SIGNER.verifier]);
      rmSync(at('old'), { recursive: true });
      expect(await restore()).toMatchObject({ size, root: remembered.root, checkpoint: { size } });
      expect(await objectsOf(published('new'))).toEqual(await objectsOf(copy));

      const log = await testLog({ directory: at('new'), remembered: [remembered] });
      expect(textsOf(await recordsOf(log))).toEqual(texts(size));
      await log.close();
      await grow('new', size + 300);
      expect(textsOf((await verifyPublished(published('new'))) ?? [])).toEqual(texts(size + 300));
      // The replica that it came from follows it.
      await replicate('new');
      expect(textsOf((await verifyPublished(copy)) ?? [])).toEqual(texts(size + 300));
    });

  it('has what the replica keeps ahead of its pointer', async () => {
    await grow('old', 290);
    await replicate('old');
    const pointer = (await copy.get('checkpoint')) as Buffer;
    await grow('old', 300);
    const edge = [await copy.get('tile/0/001.p/34'), await copy.get('tile/entries/001.p/34'), await copy.get('details/events/001.p/34')];
    await replicate('old');
    await copy.put('checkpoint', pointer);
    expect(edge.every((bytes) => bytes !== undefined)).toBe(true);
    expect(await restore()).toMatchObject({ size: 300, checkpoint: { size: 300 } });
  });

  it('has the full bundles that were on their way when that is said, under a checkpoint of its own that tells of them', async () => {
    await grow('old', 300);
    await replicate('old');
    await grow('old', 1000);
    for (const bundle of ['001', '002'])
      for (const key of [`tile/entries/${bundle}`, `details/events/${bundle}`, `details/payloads/${bundle}`, `tile/0/${bundle}`])
        await copy.put(key, (await published('old').get(key)) as Buffer);
    // Of the third bundle the events have not come.
    for (const key of ['tile/entries/003.p/232', 'tile/0/003.p/232']) await copy.put(key, (await published('old').get(key)) as Buffer);
    for (const [beyond, message] of [
      [undefined, /signs 300 leaves, and others behind it go on to 768\. .* --sign-beyond 768/],
      [300, /go on to 768, not to 300/],
      [769, /go on to 768, not to 769/],
      [1000, /go on to 768, not to 1000/],
    ] as const) {
      const refused = restore([SIGNER], beyond);
      await expect(refused).rejects.toThrow(message);
      expect(await codeOf(refused)).toBe('unsigned');
      expect(existsSync(join(at('new'), 'log/checkpoint'))).toBe(false);
      rmSync(at('new'), { recursive: true });
    }
    expect(await restore([SIGNER], 768)).toMatchObject({ size: 768, checkpoint: { size: 300 } });
    await grow('new', 1100);
    const all = [...texts(768), TOLD, ...texts(1100).slice(769)];
    expect(textsOf((await verifyPublished(published('new'))) ?? [])).toEqual(all);
    await replicate('new');
    expect(textsOf((await verifyPublished(copy)) ?? [])).toEqual(all);
  });

  it('signs nothing where there is nothing behind the checkpoint, whatever is said', async () => {
    await grow('old', 300);
    await replicate('old');
    await expect(restore([SIGNER], 512)).rejects.toThrow(
      /nothing of .* stands behind its checkpoint of 300 leaves, and 512 are to be signed/,
    );
    rmSync(at('new'), { recursive: true });
    expect(await restore([SIGNER], 300)).toMatchObject({ size: 300, checkpoint: { size: 300 } });
  });

  it('goes no further than events have come', async () => {
    await grow('old', 300);
    await replicate('old');
    await grow('old', 1000);
    for (const key of ['tile/entries/001', 'details/events/001', 'tile/0/001'])
      await copy.put(key, (await published('old').get(key)) as Buffer);
    expect(await restore()).toMatchObject({ size: 300, checkpoint: { size: 300 } });
  });

  it('lacks what was deleted after its retention, and proves the rest', async () => {
    await grow('old', 700);
    await replicate('old');
    await copy.delete('details/payloads/000');
    await restore();
    const log = await testLog({ directory: at('new') });
    const records = await recordsOf(log);
    expect(records.filter(({ detail }) => detail === undefined).map(({ index }) => index)).toEqual(
      Array.from({ length: 86 }, (_, n) => 3 * n),
    );
    await log.close();
  });

  it('knows of each payload what it is, also of what was deleted, and goes on deleting each kind by its own age', async () => {
    const kinds = [11, ...PAYLOAD_CLASSES.map(payloadKind)];
    await grow('old', 700, (n) => kinds[n % kinds.length] as number);
    await replicate('old');
    for (const bundle of ['000', '001', '002.p/188']) await copy.delete(`details/rows/${bundle}`);
    await restore();
    expect(await objectsOf(published('new'))).toEqual(await objectsOf(copy));
    const going: string[] = [];
    const DAY = 86_400_000;
    await new Retention({
      objects: published('new'),
      ages: { request_bodies: DAY, rows: DAY, copied_rows: 1e15 },
      held: () => false,
      record: async (each) => void going.push(goingText(each)),
    }).sweep();
    expect(going).toEqual(['request_bodies older than 1d: leaves 0-511', expect.stringMatching(/^request_bodies older than 1d: leaves 5/)]);
    const { size } = openCheckpoint((await copy.get('checkpoint')) as Buffer, ORIGIN, [SIGNER.verifier]);
    for await (const { leaf, detail } of new LogReader(published('new')).read(0, size, size))
      expect(detail === undefined).toBe(['rows', 'request_bodies'].includes(classOf(leaf.kind)));
  });

  it('comes of the keys that signed its newest checkpoint, and of no others', async () => {
    const next = parseSignerKey(generateSignerKey(ORIGIN));
    await grow('old', 300);
    await replicate('old');
    expect(await codeOf(restore([next]))).toBe('key');
    expect(await codeOf(restore([parseSignerKey(generateSignerKey('other.example/log'))]))).toBe('key');
    await restore([next, SIGNER]);
    const log = await testLog({ directory: at('new'), signers: [next, SIGNER] });
    expect(log.size).toBe(300);
    await log.close();
  });
});

it('takes along what its keys vouch for, and nothing else that lies beside the tree', async () => {
  await grow('old', 300);
  await replicate('old');
  const before = await objectsOf(copy);
  const evil = parseSignerKey(generateSignerKey(ORIGIN));
  const note = (size: number, by = evil): Buffer => Buffer.from(signCheckpoint({ origin: ORIGIN, size, root: Buffer.alloc(32) }, [by]));
  const keys = (await copy.get('keys')) as Buffer;
  const planted = `0 ${formatVerifierKey(evil.verifier)}`;
  await copy.put('keys', Buffer.from(`${keys}${planted}\njunk\n`));
  await copy.put('checkpoint.witnessed', Buffer.from('junk'));
  await copy.put('checkpoints/0000000000000007', Buffer.from('junk'));
  await copy.put('checkpoints/0000000000000008', note(8));
  await copy.put('checkpoints/0000000000000009', note(10, SIGNER));
  await copy.put('checkpoints/readme', Buffer.from('junk'));
  writeFileSync(join(directory, 'copy/checkpoints/Read Me'), 'junk');
  expect(await restore()).toMatchObject({ size: 300, otherKeys: [planted] });
  expect(await objectsOf(published('new'))).toEqual(before);
});

it.each([
  ['set back', 512, (old: Buffer) => copy.put('checkpoint', old)],
  ['spoiled', 700, () => copy.put('checkpoint', Buffer.from('nothing'))],
  ['removed', 700, () => copy.delete('checkpoint')],
])('is restored from a copy whose pointer was %s, and beside which others lie, by what it keeps', async (_, beyond, damage) => {
  await grow('old', 200);
  const old = (await published('old').get('checkpoint')) as Buffer;
  await replicate('old');
  await grow('old', 700);
  await replicate('old');
  await damage(old);
  for (const key of ['checkpoints/0', 'checkpoints/9999999999999999']) await copy.put(key, Buffer.from('nothing'));
  expect((await restore()).size).toBe(700);
  // The edge of those that are kept is gone; what they stand for lies in full bundles. Where the pointer is lost, what that stood for at the edge is looked for too.
  rmSync(at('new'), { recursive: true });
  await copy.delete('checkpoints/0000000000000700');
  expect(await codeOf(restore())).toBe('unsigned');
  rmSync(at('new'), { recursive: true });
  expect(await restore([SIGNER], beyond)).toMatchObject({ size: beyond, checkpoint: { size: 200 } });
});

it('is restored, where its pointer is lost, by what witnesses have cosigned of it, and without a word of what nobody signed', async () => {
  await grow('old', 200);
  await replicate('old');
  await grow('old', 700);
  await copyAll();
  await copy.put('checkpoint.witnessed', (await published('old').get('checkpoint')) as Buffer);
  for (const spoiled of [Buffer.from('nothing'), undefined]) {
    if (spoiled === undefined) await copy.delete('checkpoint');
    else await copy.put('checkpoint', spoiled);
    expect(await restore()).toMatchObject({ size: 700, checkpoint: { size: 700 } });
    rmSync(at('new'), { recursive: true });
  }
  // A witnessed one whose tree is not there counts no more than any other.
  await copy.delete('tile/entries/002.p/188');
  expect(await codeOf(restore())).toBe('unsigned');
  rmSync(at('new'), { recursive: true });
  expect(await restore([SIGNER], 512)).toMatchObject({ size: 512, checkpoint: { size: 200 } });
});

it('keeps the keys that the log had before, and what they signed, as far as its own events name them', async () => {
  await grow('old', 300);
  const former = parseSignerKey(generateSignerKey(ORIGIN));
  const planted = parseSignerKey(generateSignerKey(ORIGIN));
  await replicate('old');
  const { root } = openCheckpoint((await copy.get('checkpoint')) as Buffer, ORIGIN, [SIGNER.verifier]);
  const keys = (await copy.get('keys')) as Buffer;
  const lines = [former, planted].map(({ verifier }) => `0 ${formatVerifierKey(verifier)}`);
  await copy.put('keys', Buffer.from(`${keys}${lines.join('\n')}\n`));
  const signed = Buffer.from(signCheckpoint({ origin: ORIGIN, size: 300, root }, [former]));
  await copy.put('checkpoints/0000000000000300', signed);
  const seen: number[] = [];
  const restored = await restoreLog({
    ...{ from: copy, directory: at('new'), objects: published('new'), signers: [SIGNER] },
    onRecord: ({ index }) => void seen.push(index),
    formerKeys: () => (seen.length === 300 ? [former.verifier] : []),
  });
  expect(restored.otherKeys).toEqual(lines.slice(1));
  expect(String(await published('new').get('keys'))).toBe(`${keys}${lines[0]}\n`);
  expect(await published('new').get('checkpoints/0000000000000300')).toEqual(signed);
});

describe('is not restored from', () => {
  beforeEach(async () => {
    await grow('old', 600);
    await replicate('old');
  });
  const change = async (key: string, at = 40): Promise<void> => {
    const bytes = (await copy.get(key)) as Buffer;
    bytes[at] = (bytes[at] as number) ^ 1;
    await copy.put(key, bytes);
  };

  it('nothing', async () => {
    await copy.delete('checkpoint');
    for await (const key of copy.list('checkpoints/')) await copy.delete(key);
    expect(await codeOf(restore())).toBe('missing');
  });

  for (const key of ['tile/entries/001', 'tile/entries/002.p/88', 'details/events/000', 'details/events/002.p/88'])
    it(`a copy whose ${key} was changed, or is not there`, async () => {
      await change(key);
      expect(await codeOf(restore())).toMatch(/^(?:corrupt|malformed)$/);
      expect(existsSync(join(at('new'), 'log/checkpoint'))).toBe(false);
      rmSync(at('new'), { recursive: true });
      await copy.delete(key);
      // Events may have been deleted after their retention.
      expect(await codeOf(restore())).toBe(key.startsWith('details/') ? 'none' : 'corrupt');
    });

  it('a copy that goes on behind its checkpoint with another history', async () => {
    await grow('other', 599);
    const log = await testLog({ directory: at('other') });
    for (let n = 599; n < 800; n += 1) log.stage(subject(n + 1), Buffer.from(`another ${n}`));
    await log.settled();
    await log.publish();
    await log.close();
    for (const key of ['tile/entries/002', 'details/events/002', 'details/payloads/002', 'tile/0/002'])
      await copy.put(key, (await published('other').get(key)) as Buffer);
    expect(await codeOf(restore())).toBe('forked');
  });
});
