/** A log that is verified again and again: what is new is read, and nothing that is wrong is let pass for it. */
import { describe, expect, it } from 'vitest';
import { formatPruned, PRUNED_NOTICE, PRUNED_PATH, pruningText } from '../log/pruned.ts';
import { keptCheckpointPath } from '../log/publisher.ts';
import { generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { ContinuedVerification } from './continued.ts';
import { judged, LogFixture, type MemoryObjects } from './log.fixture.ts';
import { verifyLog } from './log.ts';
import type { Report } from './report.ts';
import type { Trust } from './trust.ts';

const HOUR = 3_600_000;
let now = 0;
const begin = (): ContinuedVerification => new ContinuedVerification({ wholeEveryMs: HOUR, monotonic: () => now });
const codes = ({ faults }: Report): string[] => [...new Set(faults.map(({ code }) => code))];
const trusting = (log: LogFixture, more: Partial<Trust> = {}): Trust => ({ keys: [log.key.verifier], ...more });
/** What is asked for of the objects. */
const asked = (objects: MemoryObjects): string[] => {
  const keys: string[] = [];
  const get = objects.get.bind(objects);
  objects.get = (key) => {
    keys.push(key);
    return get(key);
  };
  return keys;
};

describe('what is new of a log', () => {
  it.each([
    ['in steps within a bundle', [1, 2, 7, 255, 256, 257, 300, 300, 511, 512]],
    ['in steps over bundles', [300, 900, 1024, 1024, 2000]],
    ['from nothing', [0, 0, 40, 300]],
    ['over the end of a tile of tiles', [65_400, 65_700]],
  ])(
    'is read, %s, and the report is the one of the whole',
    async (_, sizes) => {
      const [log, watch] = [new LogFixture(), begin()];
      for (const [round, size] of sizes.entries()) {
        const objects = log.fill(size).publish();
        const got = asked(objects);
        const { seconds: _took, remarks, whole, ...report } = await watch.verify({ objects, trust: trusting(log) });
        const { seconds: __, remarks: ___, ...expected } = await verifyLog({ objects: log.publish(), trust: trusting(log) });
        expect(report).toEqual(expected);
        expect(report).toMatchObject({ verified: true, complete: true, checked: { leaves: size } });
        expect([whole, remarks.length]).toEqual(round === 0 ? [true, 0] : [false, 1]);
        const before = sizes[round - 1] ?? 0;
        const bundles = got
          .flatMap((key) => /^tile\/entries\/(?:x(\d{3})\/)?(\d{3})/.exec(key)?.slice(1) ?? [])
          .filter((part) => part !== undefined);
        if (round > 0 && size <= 256_000)
          expect(
            bundles.every((bundle) => Number(bundle) >= Math.floor(before / 256)),
            `${before} to ${size}: ${bundles.join()}`,
          ).toBe(true);
      }
    },
    120_000,
  );

  it('is held against what witnesses and the verifier know, and kept checkpoints; where that is older, everything is read', async () => {
    const witness = parseSignerKey(generateSignerKey('witness.example', 'cosignature'));
    const [log, watch] = [new LogFixture().fill(700), begin()];
    const witnesses = { keys: [witness.verifier], quorum: 1 };
    const verify = async (cosigned: number, remembered?: number): Promise<Report & { whole: boolean }> => {
      const objects = log.publish();
      objects.objects.set('checkpoint.witnessed', log.cosigned([witness], cosigned));
      objects.objects.set(keptCheckpointPath(600), Buffer.from(log.checkpoint(600)));
      const trust = trusting(log, { witnesses, ...(remembered !== undefined && { remembered: log.checkpoint(remembered) }) });
      return watch.verify({ objects, trust });
    };
    expect(await verify(650)).toMatchObject({ whole: true, level: 'witnessed', checked: { checkpoints: 1 } });
    log.fill(900);
    expect(await verify(800, 700)).toMatchObject({ whole: false, level: 'witnessed', rememberedSize: 700, checked: { checkpoints: 1 } });
    // As it was.
    expect(await verify(800, 900)).toMatchObject({ whole: false, level: 'witnessed' });
    // Between two that were proven: only the leaves show it.
    expect(await verify(850, 900)).toMatchObject({ whole: true, level: 'witnessed' });
    expect(await verify(850, 123)).toMatchObject({ whole: true, level: 'witnessed' });
  });
});

describe('a log that was changed where it had been verified', () => {
  const rewritten = (log: LogFixture, size: number): LogFixture => {
    const other = new LogFixture(log.key);
    other.add('ses_0', judged('deny'));
    return other.fill(size);
  };

  it.each([600, 700, 2000, 256])('and signed anew, is not verified: with %i leaves in place of 600', async (size) => {
    const [log, watch] = [new LogFixture().fill(600), begin()];
    expect((await watch.verify({ objects: log.publish(), trust: trusting(log) })).verified).toBe(true);
    const other = rewritten(log, size);
    for (let round = 0; round < 2; round += 1) {
      const report = await watch.verify({ objects: other.publish(), trust: trusting(log) });
      expect(report).toMatchObject({ verified: false, level: 'unverified' });
      expect(codes(report).some((code) => code === 'forked' || code === 'rolled-back')).toBe(true);
    }
    // Whoever puts it back is believed again, after a look at everything.
    expect(await watch.verify({ objects: log.fill(610).publish(), trust: trusting(log) })).toMatchObject({ verified: true, whole: true });
  });

  it('in the bundle that is read again, is not verified, though the checkpoint is the same', async () => {
    const [log, watch] = [new LogFixture().fill(600), begin()];
    await watch.verify({ objects: log.publish(), trust: trusting(log) });
    const objects = log.fill(650).publish();
    const [bundle, tile] = ['tile/entries/002.p/138', 'tile/0/002.p/138'].map((key) => objects.objects.get(key) as Buffer);
    (bundle as Buffer)[60] = ((bundle as Buffer)[60] as number) ^ 1;
    (tile as Buffer)[3] = ((tile as Buffer)[3] as number) ^ 1;
    expect(codes(await watch.verify({ objects, trust: trusting(log) }))).toContain('forked');
  });

  it('or is not what is signed behind it, is not verified', async () => {
    const [log, other, watch] = [new LogFixture().fill(600), new LogFixture().fill(600), begin()];
    await watch.verify({ objects: log.publish(), trust: trusting(log) });
    const objects = other.add('ses_new', judged('deny')).fill(900).publish();
    objects.objects.set('checkpoint', Buffer.from(log.fill(900).checkpoint()));
    expect(codes(await watch.verify({ objects, trust: trusting(log) }))).toContain('root');
  });

  it('beside the tree, is seen when everything is read again: after the time for that, or after a round that found something', async () => {
    const [log, watch] = [new LogFixture().fill(600), begin()];
    const changed = (): MemoryObjects => {
      const objects = log.publish();
      objects.objects.delete('details/events/000');
      return objects;
    };
    await watch.verify({ objects: log.publish(), trust: trusting(log) });
    now += HOUR - 1;
    expect(await watch.verify({ objects: changed(), trust: trusting(log) })).toMatchObject({ complete: true, whole: false });
    now += 1;
    expect(await watch.verify({ objects: changed(), trust: trusting(log) })).toMatchObject({ complete: false, whole: true });
    expect(await watch.verify({ objects: log.fill(620).publish(), trust: trusting(log) })).toMatchObject({ complete: true, whole: true });
    expect(await watch.verify({ objects: log.publish(), trust: trusting(log) })).toMatchObject({ complete: true, whole: false });
  });
});

it('what is wrong with what is new is told as by a whole verification, again and again until it is right', async () => {
  const [log, watch] = [new LogFixture().fill(600), begin()];
  await watch.verify({ objects: log.publish(), trust: trusting(log) });
  log.fill(900);
  const broken = (): MemoryObjects => {
    const objects = log.publish();
    (objects.objects.get('tile/entries/003.p/132') as Buffer)[60] = 0xff;
    return objects;
  };
  for (let round = 0; round < 2; round += 1) {
    const report = await watch.verify({ objects: broken(), trust: trusting(log) });
    expect(report.verified).toBe(false);
    expect(codes(report)).toEqual(codes(await verifyLog({ objects: broken(), trust: trusting(log) })));
  }
  expect(await watch.verify({ objects: log.publish(), trust: trusting(log) })).toMatchObject({ verified: true, whole: true });
});

it('a round that is broken off is followed by one that reads everything', async () => {
  const [log, watch] = [new LogFixture().fill(600), begin()];
  await watch.verify({ objects: log.publish(), trust: trusting(log) });
  const objects = log.fill(1500).publish();
  const get = objects.get.bind(objects);
  objects.get = (key) => (key === 'tile/entries/004' ? Promise.reject(new Error('away')) : get(key));
  await expect(watch.verify({ objects, trust: trusting(log) })).rejects.toThrow('away');
  expect(await watch.verify({ objects: log.publish(), trust: trusting(log) })).toMatchObject({
    verified: true,
    whole: true,
    checked: { leaves: 1500, sessions: 375 },
  });
});

it('a front that was pruned since has everything read, and is then gone on from', async () => {
  const [log, watch] = [new LogFixture().fill(1024), begin()];
  await watch.verify({ objects: log.publish(), trust: trusting(log) });
  log.add('', { kind: 'notice', notice: PRUNED_NOTICE, text: pruningText(512, 86_400_000) });
  const pruned = (): MemoryObjects => {
    const objects = log.publish();
    for (const key of ['tile/entries/000', 'tile/0/000', 'tile/entries/001', 'tile/0/001']) objects.objects.delete(key);
    const { salt, event } = log.records[1024] as (typeof log.records)[number];
    objects.objects.set(PRUNED_PATH, formatPruned({ minimum: 512, leaf: 1024, salt, event }));
    return objects;
  };
  for (const [size, whole] of [
    [1030, true],
    [1300, false],
  ] as const) {
    log.fill(size);
    expect(await watch.verify({ objects: pruned(), trust: trusting(log) })).toMatchObject({
      verified: true,
      whole,
      pruned: { below: 512, leaf: 1024 },
    });
  }
});
