import { describe, expect, test } from 'vitest';
import { formatPruned, PRUNED_NOTICE, PRUNED_PATH, pruningText } from '../log/pruned.ts';
import { LogFixture, type MemoryObjects } from './log.fixture.ts';
import { verifyLog } from './log.ts';
import { type FaultCode, inWords, type Report } from './report.ts';
import { verifyPart } from './session.ts';
import type { Trust } from './trust.ts';

/** Sessions of four: none crosses the end of a bundle. */
const log = new LogFixture()
  .fill(1024)
  .add('', { kind: 'notice', notice: PRUNED_NOTICE, text: pruningText(512, 86_400_000) })
  .fill(1300);
const LEAF = 1024;
const keys = [log.key.verifier];

const pruned = (to = 512, change: Partial<Parameters<typeof formatPruned>[0]> = {}): MemoryObjects => {
  const objects = log.publish();
  for (let bundle = 0; bundle < to / 256; bundle += 1)
    for (const key of [`tile/entries/00${bundle}`, `tile/0/00${bundle}`, `details/events/00${bundle}`, `details/payloads/00${bundle}`])
      objects.objects.delete(key);
  const { salt, event } = log.records[LEAF] as (typeof log.records)[number];
  objects.objects.set(PRUNED_PATH, formatPruned({ minimum: 512, leaf: LEAF, salt, event, ...change }));
  return objects;
};
const whole = (objects: MemoryObjects, trust: Partial<Trust> = {}): Promise<Report> => verifyLog({ objects, trust: { keys, ...trust } });
const codes = ({ faults }: Report): FaultCode[] => [...new Set(faults.map(({ code }) => code))];

describe('a log that was pruned', () => {
  test('is verified from there on, and the report says what is not there, since when, and under which event', async () => {
    const report = await whole(pruned());
    expect(report).toMatchObject({
      verified: true,
      level: 'self-consistent',
      faults: [],
      remarks: [],
      checked: { leaves: 788, sessions: 197 },
      pruned: { below: 512, leaf: LEAF, text: 'leaves below 512, older than 1d' },
    });
    expect(inWords(report)).toMatch(/^ {2}pruned {6}leaves below 512, older than 1d: so leaf 1024 says, of 2026-/m);
    // What was to be removed may be there still.
    expect(await whole(pruned(256))).toMatchObject({ verified: true, checked: { leaves: 788 } });
  });

  test('goes on from a kept checkpoint of leaves that are there; of others that cannot be shown', async () => {
    for (const size of [512, 513, 700, 1300])
      expect(await whole(pruned(), { remembered: log.checkpoint(size) })).toMatchObject({ verified: true, level: 'remembered' });
    const report = await whole(pruned(), { remembered: log.checkpoint(300) });
    expect(codes(report)).toEqual(['pruned']);
    expect(report.faults[0]?.detail).toContain('hold the log against a later one');
    expect(codes(await verifyPart(pruned(), { keys, remembered: log.checkpoint(300) }, { index: 600 }))).toEqual(['pruned']);
  });

  test('shows its sessions and events, and says of the others why it does not', async () => {
    expect(await verifyPart(pruned(), { keys }, { session: 'ses_128' })).toMatchObject({
      verified: true,
      pruned: { below: 512 },
      extent: { events: 4 },
    });
    expect(await verifyPart(pruned(), { keys }, { index: 512 })).toMatchObject({ verified: true });
    const session = await verifyPart(pruned(), { keys }, { session: 'ses_127' });
    expect(codes(session)).toEqual(['not-found']);
    expect(session.faults[0]?.detail).toContain('it may have been pruned');
    expect(codes(await verifyPart(pruned(), { keys }, { index: 511 }))).toEqual(['pruned']);
  });

  test.each<[string, () => MemoryObjects]>([
    [
      'that does not say so',
      () => {
        const objects = pruned();
        objects.objects.delete(PRUNED_PATH);
        return objects;
      },
    ],
    ['that says more than its event', () => pruned(768, { minimum: 768 })],
    ['that names another leaf', () => pruned(512, { leaf: LEAF + 1 })],
    ['that names a leaf which is not there', () => pruned(512, { leaf: 5000 })],
    ['that shows another event', () => pruned(512, { event: log.records[LEAF + 1]?.event as Buffer })],
    [
      'that shows an event of another kind',
      () => pruned(512, { leaf: LEAF + 1, salt: log.records[LEAF + 1]?.salt as Buffer, event: log.records[LEAF + 1]?.event as Buffer }),
    ],
  ])('is lost in part %s', async (_, objects) => {
    const report = await whole(objects());
    expect(report.verified).toBe(false);
    expect(codes(report)).toContain('missing');
    expect(report.pruned).toBeUndefined();
    expect((await verifyPart(objects(), { keys }, { index: 1290 })).pruned).toBeUndefined();
  });

  test.each<[string, string, object]>([
    ['of a session', 'ses_x', { own: true }],
    ['of a filter', '', { own: false }],
  ])('is lost in part when a notice %s tells of it', async (_, session, by) => {
    const text = pruningText(512, 86_400_000);
    const other = new LogFixture().fill(1024).add(session, { kind: 'notice', notice: PRUNED_NOTICE, text }, '', by);
    const objects = other.fill(1300).publish();
    for (let bundle = 0; bundle < 2; bundle += 1)
      for (const key of ['tile/entries/00', 'tile/0/00', 'details/events/00', 'details/payloads/00'])
        objects.objects.delete(`${key}${bundle}`);
    const { salt, event } = other.records[LEAF] as (typeof other.records)[number];
    objects.objects.set(PRUNED_PATH, formatPruned({ minimum: 512, leaf: LEAF, salt, event }));
    const report = await verifyLog({ objects, trust: { keys: [other.key.verifier] } });
    expect(codes(report)).toContain('missing');
    expect(report.pruned).toBeUndefined();
  });

  test('of which more is gone than it says is lost in part', async () => {
    expect(codes(await whole(pruned(768)))).toEqual(['missing']);
    expect(codes(await verifyPart(pruned(768), { keys }, { index: 700 }))).toEqual(['malformed']);
  });

  test('with something else in the place of what was pruned is no log of that root', async () => {
    const objects = pruned();
    const tile = objects.objects.get('tile/1/000.p/5') as Buffer;
    tile[3] = (tile[3] as number) ^ 1;
    expect(codes(await whole(objects))).toContain('root');
    objects.objects.set(PRUNED_PATH, Buffer.from('nonsense'));
    expect(codes(await whole(objects))).toContain('malformed');
  });
});
