import { describe, expect, test } from 'vitest';
import { decodeDetails, encodeDetails } from '../log/details.ts';
import { DELETED_NOTICE, type Gone, goingText, noticeText, type Range } from '../log/going.ts';
import { commitmentOf, type DetailClass, encodeLeaf, payloadKind, perClass } from '../log/leaf.ts';
import { keptCheckpointPath } from '../log/publisher.ts';
import { closedBody, type TapBody } from '../tap/schema.ts';
import { cosign } from '../tlog/cosignature.ts';
import { formatNote, generateSignerKey, parseNote, parseSignerKey, type SignerKey, signNote } from '../tlog/note.ts';
import { judged, LogFixture, type MemoryObjects, ORIGIN, opened, type Written } from './log.fixture.ts';
import { verifyLog } from './log.ts';
import type { FaultCode, Report } from './report.ts';
import { inWords } from './report.ts';
import { verifyPart } from './session.ts';
import type { Trust } from './trust.ts';

const SIZE = 1_300;
const log = new LogFixture().fill(SIZE);
const keys = [log.key.verifier];

const verified = (objects: MemoryObjects, trust: Partial<Trust> = {}): Promise<Report> => verifyLog({ objects, trust: { keys, ...trust } });
const codes = ({ faults }: Report): FaultCode[] => [...new Set(faults.map(({ code }) => code))];

describe('a log as it was written', () => {
  test('is verified, all of it', async () => {
    const report = await verified(log.publish());
    expect(report).toMatchObject({ verified: true, level: 'self-consistent', origin: ORIGIN, size: SIZE, faults: [], remarks: [] });
    expect(report.checked).toMatchObject({ leaves: SIZE, events: SIZE, sessions: SIZE / 4 });
    expect(report).toMatchObject({ complete: true, missing: { deleted: 0, withheld: 0, unexplained: 0, recordedBy: [] } });
    expect(inWords(report)).toMatch(/^VERIFIED: the log sluice\.test\/log\n/);
  });

  test.each([0, 1, 255, 256, 257, 512])('of %i leaves, too', async (size) => {
    const small = new LogFixture(log.key).fill(size);
    expect(await verified(small.publish())).toMatchObject({ verified: true, size });
  });

  test('goes on from any checkpoint that was kept', async () => {
    for (const size of [0, 1, 255, 256, 1_000, SIZE])
      expect(await verified(log.publish(), { remembered: log.checkpoint(size) })).toMatchObject({
        verified: true,
        level: 'remembered',
        rememberedSize: size,
      });
  });

  test.each(['a'.repeat(127) + '😀'.repeat(50), `a${'😀'.repeat(200)}`, '漢'.repeat(300)])(
    'by a version that kept targets that are too long, and cut them in the leaf wherever it was, too: %s',
    async (target) => {
      const old = new LogFixture(log.key).fill(8).add('ses_9', opened, 'MARK');
      const { leaf, salt, event: marked } = old.records.pop() as Written;
      const [at, name] = [marked.indexOf('MARK'), Buffer.from(target)];
      const event = Buffer.concat([
        marked.subarray(0, at - 1),
        Buffer.from([(name.length & 127) | 128, name.length >> 7]),
        name,
        marked.subarray(at + 4),
      ]);
      const written = (told: string): LogFixture => {
        const as = { ...leaf, target: told, commitment: commitmentOf(salt, event) };
        const other = new LogFixture(log.key).fill(8);
        other.records.push({ leaf: as, entry: encodeLeaf(as), salt, event });
        return other;
      };
      expect(await verified(written(target).publish())).toMatchObject({ verified: true, faults: [] });
      // A beginning alone is not what the leaf must have.
      expect(codes(await verified(written(target.slice(0, 5)).publish()))).toEqual(['leaf']);
    },
  );

  test('with a gap in what an emitter told is remarked on', async () => {
    const gap = new LogFixture(log.key).fill(8);
    const last = gap.records[7] as (typeof gap.records)[number];
    gap.records.pop();
    gap.records.push({ ...last, ...reencoded(last.leaf, { sequence: 99 }) });
    // Its event says another sequence than its leaf, now.
    expect(codes(await verified(gap.publish()))).toEqual(['leaf']);
    const skipped = new LogFixture(log.key).fill(8).skip(3).add('ses_9', opened);
    expect((await verified(skipped.publish())).remarks).toEqual([expect.stringContaining('tap-gap')]);
  });
});

describe('events that are not there', () => {
  const notice = (detailClass: DetailClass, ...leaves: { from: number; to: number }[]): TapBody => ({
    kind: 'notice',
    notice: DELETED_NOTICE,
    text: goingText({ detailClass, ageMs: 86_400_000, leaves }),
  });
  const without = (of: LogFixture, ...keys: string[]): MemoryObjects => {
    const objects = of.publish();
    for (const key of keys) expect(objects.objects.delete(key)).toBe(true);
    return objects;
  };
  const trimmed = (objects: MemoryObjects, key: string, ...indices: number[]): MemoryObjects => {
    const bundle = Number(key.split('/')[2]?.slice(0, 3));
    const details = decodeDetails(objects.objects.get(key) as Buffer, bundle).filter(({ index }) => !indices.includes(index));
    objects.objects.set(key, encodeDetails(details));
    return objects;
  };
  const incomplete = (unexplained: number, firstUnexplained: number, more: object = {}) => ({
    verified: true,
    complete: false,
    missing: { unexplained, firstUnexplained, deleted: 0, withheld: 0, ...more },
    faults: [],
  });

  test('and of which nothing tells make it incomplete: the log, their session, each of them; the newest as well', async () => {
    const objects = without(log, 'details/payloads/001', 'details/payloads/005.p/20');
    const report = await verified(objects);
    expect(report).toMatchObject({ ...incomplete(64 + 5, 258), level: 'self-consistent', checked: { events: SIZE - 69 }, remarks: [] });
    expect(inWords(report)).toMatch(
      /^INCOMPLETE: the log sluice.test\/log: what is there is verified, and events that were recorded are not there\n/,
    );
    expect(inWords(report)).toContain('  missing     69 events, and nothing records why, the first of leaf 258\n');
    expect(await verifyPart(objects, { keys }, { session: 'ses_64' })).toMatchObject({
      ...incomplete(1, 258),
      checked: { leaves: 4, events: 3 },
    });
    expect(await verifyPart(objects, { keys }, { index: 1_298 })).toMatchObject(incomplete(1, 1_298));
    for (const part of [{ session: 'ses_63' }, { index: 259 }])
      expect(await verifyPart(objects, { keys }, part)).toMatchObject({ verified: true, complete: true });
  });

  test('all of them', async () => {
    const objects = log.publish();
    for (const key of objects.objects.keys()) if (key.startsWith('details/')) objects.objects.delete(key);
    expect(await verified(objects)).toMatchObject({ ...incomplete(SIZE, 0), checked: { leaves: SIZE, events: 0 } });
    expect(await verifyPart(objects, { keys }, { session: 'ses_7' })).toMatchObject(incomplete(4, 28));
    expect(await verifyPart(objects, { keys }, { index: 7 })).toMatchObject(incomplete(1, 7));
  });

  test('because they were deleted, as the log records, are explained by the leaf that does; others are not', async () => {
    const of = new LogFixture(log.key)
      .fill(SIZE)
      .add('', notice('payloads', { from: 256, to: 768 }))
      .fill(SIZE + 100);
    const objects = without(of, 'details/payloads/001', 'details/payloads/002');
    const report = await verified(objects);
    expect(report).toMatchObject({
      verified: true,
      complete: true,
      remarks: [],
      missing: { deleted: 128, recordedBy: [SIZE], unexplained: 0 },
    });
    expect(inWords(report)).toContain(
      `missing     128 events, deleted when their retention was over, as recorded in leaf ${SIZE}: 128 of payloads older than 1d\n`,
    );
    for (const part of [{ session: 'ses_64' }, { index: 258 }])
      expect(await verifyPart(objects, { keys }, part)).toMatchObject({ complete: true, missing: { deleted: 1, recordedBy: [SIZE] } });
    for (const key of ['details/payloads/003', 'details/events/001']) objects.objects.delete(key);
    expect(await verified(objects)).toMatchObject(incomplete(64 + 192, 256, { deleted: 128 }));
    expect(await verifyPart(objects, { keys }, { session: 'ses_64' })).toMatchObject(incomplete(3, 256, { deleted: 1 }));
  });

  test('are not explained by what stands before them, is of a session, or is no such notice', async () => {
    const early = new LogFixture(log.key).add('', notice('payloads', { from: 0, to: 2_000 })).fill(SIZE);
    const foreign = new LogFixture(log.key).fill(SIZE).add('ses_x', notice('payloads', { from: 0, to: SIZE }));
    const other = new LogFixture(log.key).fill(SIZE).add('', { ...notice('payloads', { from: 0, to: SIZE }), notice: 'note' } as TapBody);
    for (const of of [early, foreign, other]) {
      const objects = without(of, 'details/payloads/001');
      expect(await verified(objects)).toMatchObject({ verified: true, complete: false, missing: { deleted: 0 } });
      const { leaf } = of.records.slice(256).find((each) => each.leaf.kind === 17) as Written;
      expect(await verifyPart(objects, { keys }, { session: leaf.session })).toMatchObject({ complete: false, missing: { deleted: 0 } });
    }
  });

  test('are not explained by the words of a filter, whatever it tells: the leaf has no mark that the service itself told it', async () => {
    const of = new LogFixture(log.key).fill(SIZE).add('', notice('payloads', { from: 0, to: SIZE }), '', { own: false });
    const objects = without(of, 'details/payloads/001');
    expect(await verified(objects)).toMatchObject(incomplete(64, 258));
    for (const part of [{ session: 'ses_64' }, { index: 258 }])
      expect(await verifyPart(objects, { keys }, part)).toMatchObject(incomplete(1, 258));
  });

  test('are explained by a leaf of the older form, which has no such mark, and that is said', async () => {
    const of = new LogFixture(log.key).fill(SIZE).add('', notice('payloads', { from: 256, to: 512 }), '', { version: 1 });
    const objects = without(of, 'details/payloads/001');
    const remark = `what is gone is explained by a notice whose leaf, ${SIZE}, is of the older form, which does not say that the service itself told it`;
    expect(await verified(objects)).toMatchObject({ verified: true, complete: true, missing: { deleted: 64 }, remarks: [remark] });
    expect(await verifyPart(objects, { keys }, { index: 258 })).toMatchObject({ complete: true, remarks: [remark] });
  });

  test('before their time are a fault: younger than the age that the notice itself names', async () => {
    const told = (ageMs: number): LogFixture =>
      new LogFixture(log.key).fill(SIZE).add('', {
        kind: 'notice',
        notice: DELETED_NOTICE,
        text: goingText({ detailClass: 'payloads', ageMs, leaves: [{ from: 256, to: 512 }] }),
      });
    // The notice is of two days and some milliseconds later.
    const objects = without(told(30 * 86_400_000), 'details/payloads/001');
    const report = await verified(objects);
    expect(report).toMatchObject({ verified: false, level: 'unverified', missing: { deleted: 64 } });
    expect(report.faults).toEqual([
      { code: 'early', detail: `64 events were younger than what the notice of leaf ${SIZE} says went, the first of leaf 258` },
    ]);
    expect(inWords(report)).toContain('FAULT       early: events were deleted before their time: 64 events');
    expect(codes(await verifyPart(objects, { keys }, { session: 'ses_64' }))).toEqual(['early']);
    expect(codes(await verifyPart(objects, { keys }, { session: 'ses_63' }))).toEqual([]);
    // What is told, and is there all the same, did not go.
    expect(codes(await verified(told(30 * 86_400_000).publish()))).toEqual([]);
    // Clocks are set right: of a minute nothing is made.
    for (const [more, found] of [
      [60_000, []],
      [70_000, ['early']],
    ] as const)
      expect(codes(await verified(without(told(2 * 86_400_000 + more), 'details/payloads/001')))).toEqual(found);
  });

  test('of a session under a legal hold are a fault, as far as the record tells of the hold', async () => {
    const hold = (name: string): TapBody => ({ kind: 'notice', notice: `legal-hold-${name}`, text: 'a dispute (ada)' });
    const went = notice('payloads', { from: 256, to: 512 });
    const gone = 'details/payloads/001';
    const begun = (): LogFixture => new LogFixture(log.key).fill(SIZE);
    const own = ['demo', { own: true }] as const;
    const held = without(
      begun()
        .add('ses_64', hold('added'), ...own)
        .add('', went),
      gone,
    );
    const report = await verified(held);
    expect(report.faults).toEqual([
      {
        code: 'held',
        detail: `1 event was of sessions under a legal hold when the notice of leaf ${SIZE + 1} told of them, the first of leaf 258`,
      },
    ]);
    expect(codes(await verifyPart(held, { keys }, { session: 'ses_64' }))).toEqual(['held']);
    // One event of it likewise, and of others nothing is made.
    for (const [index, found] of [
      [258, ['held']],
      [262, []],
    ] as const)
      expect(codes(await verifyPart(held, { keys }, { index }))).toEqual(found);
    for (const of of [
      begun()
        .add('ses_64', hold('added'), ...own)
        .add('ses_64', hold('released'), ...own)
        .add('', went),
      begun()
        .add('', went)
        .add('ses_64', hold('added'), ...own),
      // Nobody but the service puts one on, or takes one off.
      begun().add('ses_64', hold('added')).add('', went),
    ])
      expect(await verified(without(of, gone))).toMatchObject({ verified: true, complete: true });
    const forged = begun()
      .add('ses_64', hold('added'), ...own)
      .add('ses_64', hold('released'))
      .add('', went);
    expect(codes(await verified(without(forged, gone)))).toEqual(['held']);
  });

  test('of a session whose hold was released went rightly, also when the notice that released it has gone with the rest: that it may have is said', async () => {
    const hold = (name: string): TapBody => ({ kind: 'notice', notice: `legal-hold-${name}`, text: 'a dispute (ada)' });
    const own = ['demo', { own: true }] as const;
    const of = new LogFixture(log.key)
      .fill(SIZE)
      .add('ses_64', hold('added'), ...own)
      .fill(1_536)
      .add('ses_64', hold('released'), ...own)
      .fill(1_792)
      .add('', notice('events', { from: 1_536, to: 1_792 }))
      .add('', notice('payloads', { from: 256, to: 512 }));
    const objects = without(of, 'details/events/006', 'details/payloads/001');
    const remark = /^2 events were deleted of sessions that had a legal hold, and a notice that may have released it has gone/;
    const found = { verified: true, complete: true, faults: [], remarks: [expect.stringMatching(remark)] };
    expect(await verified(objects)).toMatchObject(found);
    expect(await verifyPart(objects, { keys }, { session: 'ses_64' })).toMatchObject(found);
    expect(await verifyPart(objects, { keys }, { index: 258 })).toMatchObject({
      ...{ complete: true, faults: [] },
      remarks: [expect.stringMatching(/^1 event was deleted of sessions that had a legal hold/)],
    });
    // What is there of the hold counts.
    const still = without(of, 'details/payloads/001');
    expect(await verified(still)).toMatchObject({ verified: true, complete: true, faults: [], remarks: [] });
  });

  test('told of once more, because a hold came when they were told of and they stayed, went when nothing held them', async () => {
    const hold = (name: string): TapBody => ({ kind: 'notice', notice: `legal-hold-${name}`, text: 'a dispute (ada)' });
    const own = ['demo', { own: true }] as const;
    const held = (): LogFixture =>
      new LogFixture(log.key)
        .fill(SIZE)
        .add('ses_64', hold('added'), ...own)
        .add('', notice('payloads', { from: 0, to: 512 }));
    const gone = ['details/payloads/001'];
    expect(codes(await verified(without(held(), ...gone)))).toEqual(['held']);
    const released = held()
      .add('ses_64', hold('released'), ...own)
      .add('', notice('payloads', { from: 256, to: 512 }));
    const objects = without(released, ...gone);
    expect(await verified(objects)).toMatchObject({ verified: true, complete: true, faults: [], remarks: [] });
    expect(codes(await verifyPart(objects, { keys }, { session: 'ses_64' }))).toEqual([]);
  });

  test('that a notice told to go, and a later one tells that they stayed, are explained by none before that', async () => {
    const told = (leaves: Range[], before: Range[], stayed: Range[]): TapBody => ({
      kind: 'notice',
      notice: DELETED_NOTICE,
      text: noticeText({
        ...{ detailClass: 'payloads', ageMs: 86_400_000, leaves, carried: [], whole: true },
        before: { ...perClass(() => []), payloads: before },
        stayed: { ...perClass(() => []), payloads: stayed },
      }),
    });
    const [first, second] = [
      { from: 0, to: 256 },
      { from: 256, to: 512 },
    ];
    const begun = (): LogFixture =>
      new LogFixture(log.key)
        .fill(SIZE)
        .add('', told([{ from: 0, to: 512 }], [], []))
        // Of another class, before it was found to have stayed.
        .add('', told([], [{ from: 0, to: 512 }], []))
        .add('', told([], [first], [second]));
    const both = ['details/payloads/000', 'details/payloads/001'];
    expect(await verified(without(begun(), both[0] as string))).toMatchObject({ complete: true, faults: [], remarks: [] });
    const taken = without(begun(), ...both);
    const remark = `64 events were there when the notice of leaf ${SIZE + 2} took back that they went, and no later one tells of them, the first of leaf 258`;
    const found = { ...incomplete(64, 258, { deleted: 64, noticesGone: 0, recordedBy: [SIZE, SIZE + 2] }), remarks: [remark] };
    expect(await verified(taken)).toMatchObject(found);
    expect(await verifyPart(taken, { keys }, { index: 258 })).toMatchObject(incomplete(1, 258, { recordedBy: [SIZE + 2] }));
    // One of several of the bundle.
    const beside = trimmed(without(begun(), both[0] as string), both[1] as string, 258);
    expect(codes(await verified(beside))).toEqual(['missing']);
    // Told again, they went.
    const again = begun().add('', told([second], [first], []));
    expect(await verified(without(again, ...both))).toMatchObject({ complete: true, faults: [], remarks: [] });
    // In parts of the log, as somebody reads on.
    expect(await verified(begun().publish())).toMatchObject({ complete: true, faults: [], remarks: [] });
  });

  test('of which only a notice tells that repeats it are explained, and that nothing shows any more whether they were due is said', async () => {
    const repeats = noticeText({
      ...{ detailClass: 'events', ageMs: 86_400_000, leaves: [{ from: 512, to: 768 }] },
      ...{ before: { ...perClass(() => []), payloads: [{ from: 256, to: 512 }] }, carried: [], stayed: perClass(() => []), whole: true },
    });
    const of = new LogFixture(log.key).fill(SIZE).add('', { kind: 'notice', notice: DELETED_NOTICE, text: repeats });
    const { complete, remarks } = await verified(without(of, 'details/payloads/001'));
    expect(complete).toBe(true);
    expect(remarks).toEqual([expect.stringMatching(/^that 64 events were deleted is told by notices that repeat it/)]);
  });

  describe('of which a notice carries on by which age and when they went', () => {
    const times = log.records.map(({ leaf }) => Number(leaf.timeUnixNanos / 1_000_000n));
    const carrying = (ageMs: number, byMs: number, of = new LogFixture(log.key).fill(SIZE)): LogFixture =>
      of.add('', {
        kind: 'notice',
        notice: DELETED_NOTICE,
        text: noticeText({
          ...{ detailClass: 'events', ageMs: 86_400_000, leaves: [{ from: 512, to: 768 }], whole: true },
          before: { ...perClass(() => []), payloads: [{ from: 256, to: 512 }] },
          carried: [{ detailClass: 'payloads', ageMs, byMs, from: 256, to: 512 }],
          stayed: perClass(() => []),
        }),
      });
    const gone = 'details/payloads/001';
    const HOUR = 3_600_000;
    const newest = times[511] as number;

    test('that it was due is seen, or that it was not', async () => {
      const due = await verified(without(carrying(HOUR, newest + HOUR), gone));
      expect(due).toMatchObject({ complete: true, faults: [], remarks: [] });
      expect(due.missing.deletedBy).toEqual([{ class: 'payloads', age: '1h', events: 64 }]);
      const early = without(carrying(HOUR, newest + HOUR / 2), gone);
      expect((await verified(early)).faults).toEqual([
        { code: 'early', detail: `64 events were younger than what the notice of leaf ${SIZE} says went, the first of leaf 258` },
      ]);
      expect(codes(await verifyPart(early, { keys }, { session: 'ses_64' }))).toEqual(['early']);
      // It was told by then: no notice knows of a time behind its own, which is two days later than these.
      expect(codes(await verified(without(carrying(40 * 24 * HOUR, newest + 100 * 24 * HOUR), gone)))).toEqual(['early']);
    });

    test('a legal hold of then is seen, as far as the times tell', async () => {
      const hold: TapBody = { kind: 'notice', notice: 'legal-hold-added', text: 'a dispute (ada)' };
      const passed: TapBody = { kind: 'notice', notice: 'service-started', text: '' };
      const DAY = 24 * HOUR;
      const report = async (byMs: number): Promise<Report> =>
        verified(
          without(
            carrying(DAY, newest + byMs, new LogFixture(log.key).fill(SIZE).add('', passed).add('ses_64', hold, 'demo', { own: true })),
            gone,
          ),
        );
      // It came two days later than the events.
      expect(await report(DAY + 20 * HOUR)).toMatchObject({ complete: true, faults: [], remarks: [] });
      expect((await report(2 * DAY + 13 * HOUR)).faults).toEqual([
        {
          code: 'held',
          detail: `1 event was of sessions under a legal hold when the notice of leaf ${SIZE + 2} told of them, the first of leaf 258`,
        },
      ]);
      // What is told as one lies up to half an age apart.
      expect(await report(2 * DAY + HOUR)).toMatchObject({
        ...{ complete: true, faults: [] },
        remarks: [expect.stringMatching(/^1 event was deleted of sessions that had a legal hold, and .* the one that they went by: /)],
      });
    });
  });

  test('are not explained by a notice that is gone, as another records: that it may have told is said', async () => {
    const of = new LogFixture(log.key)
      .fill(600)
      .add('', notice('payloads', { from: 0, to: 256 }))
      .fill(SIZE);
    const gone = ['details/payloads/000', 'details/events/002'];
    expect(await verified(without(of, ...gone))).toMatchObject({ complete: false, missing: { deleted: 0, noticesGone: 0 } });
    of.add('', notice('events', { from: 512, to: 768 }));
    const whole = await verified(without(of, ...gone));
    expect(whole).toMatchObject(incomplete(64, 2, { deleted: 192, noticesGone: 64, recordedBy: [600, SIZE] }));
    expect(inWords(whole)).toContain(
      '64 events, and nothing records why, the first of leaf 2 (of all of them a notice that may have told it is deleted itself); 192 events, deleted',
    );
    expect(await verifyPart(without(of, ...gone), { keys }, { session: 'ses_3' })).toMatchObject(
      incomplete(1, 14, { noticesGone: 1, recordedBy: [600, SIZE] }),
    );
    // It stood at 600, and told of nothing that came later.
    expect(await verified(without(of, ...gone, 'details/payloads/003'))).toMatchObject({ missing: { unexplained: 128, noticesGone: 64 } });
  });

  test('of any class and bundle are explained by the newest notice, which repeats those before it, and no more than it tells', async () => {
    const [events, payloads] = [[{ from: 0, to: 256 }], [{ from: 0, to: 512 }]];
    const newest = (before: Partial<Gone>): TapBody => ({
      kind: 'notice',
      notice: DELETED_NOTICE,
      text: noticeText({
        detailClass: 'events',
        ageMs: 86_400_000,
        leaves: [{ from: 512, to: 768 }],
        before: { ...perClass(() => []), ...before },
        carried: [],
        stayed: perClass(() => []),
        whole: true,
      }),
    });
    const of = (before: Partial<Gone>): LogFixture =>
      new LogFixture(log.key)
        .fill(600)
        .add('', notice('payloads', ...payloads))
        .add('', notice('events', ...events))
        .fill(SIZE)
        .add('', newest(before));
    const gone = ['details/payloads/000', 'details/payloads/001', 'details/events/000', 'details/events/002'];
    const report = await verified(without(of({ events, payloads }), ...gone));
    expect(report).toMatchObject({ complete: true, missing: { unexplained: 0, noticesGone: 0, recordedBy: [SIZE] } });
    for (const part of [{ session: 'ses_3' }, { index: 600 }])
      expect(await verifyPart(without(of({ events, payloads }), ...gone), { keys }, part)).toMatchObject({ complete: true });
    // What nothing ever recorded is not explained by what went with a notice.
    expect(await verified(without(of({ events, payloads: [] }), ...gone))).toMatchObject(
      incomplete(128, 2, { deleted: 384, noticesGone: 128, recordedBy: [600 + 1, SIZE] }),
    );
    expect(await verified(without(of({ events: [], payloads }), ...gone))).toMatchObject(
      incomplete(192, 0, { deleted: 320, noticesGone: 192 }),
    );
  });

  test('of each kind of payload are explained by a notice of that kind alone, with the age that it went by', async () => {
    const of = (...notices: TapBody[]): LogFixture => {
      const fixture = new LogFixture(log.key, { kinds: true }).fill(64);
      const rows = {
        kind: 'payload_chunk',
        direction: 'response',
        offset: 0,
        data: Buffer.from('T'),
        last: true,
        truncated: false,
        contentType: '',
        contentEncoding: '',
        reason: '',
      } satisfies TapBody;
      fixture.add('ses_rows', rows, 'demo', { command: 1 }).add('ses_rows', { ...rows, direction: 'request' }, 'demo', { command: 1 });
      for (const one of notices) fixture.add('', one);
      return fixture;
    };
    const keysGone = (width: number): string[] => [`details/rows/000.p/${width}`, `details/response_bodies/000.p/${width}`];
    const went = (detailClass: DetailClass, ageMs: number): TapBody => ({
      kind: 'notice',
      notice: DELETED_NOTICE,
      text: goingText({ detailClass, ageMs, leaves: [{ from: 0, to: 66 }] }),
    });
    const both = of(went('rows', 86_400_000), went('response_bodies', 90_000));
    const report = await verified(without(both, ...keysGone(68)));
    expect(report).toMatchObject({ complete: true, missing: { deleted: 17, recordedBy: [66, 67], unexplained: 0 } });
    expect(inWords(report)).toContain('as recorded in leaves 66, 67: 16 of response_bodies older than 90s, 1 of rows older than 1d\n');
    expect((await verifyPart(both.publish(), { keys }, { index: 64 })).what).toMatch(
      /^event 64: payload_chunk \(rows\) of session ses_rows on demo, /,
    );
    // The copied rows are there: a notice of another kind explains nothing of these.
    expect(await verified(without(of(went('copied_rows', 1), went('response_bodies', 1)), ...keysGone(68)))).toMatchObject(
      incomplete(1, 64, { deleted: 16 }),
    );
    // What a later notice repeats does not take the age away that the first one told.
    const repeated = noticeText({
      detailClass: 'events',
      ageMs: 1,
      leaves: [],
      before: { ...perClass(() => []), rows: [{ from: 0, to: 66 }] },
      carried: [],
      stayed: perClass(() => []),
      whole: true,
    });
    const again = of(went('rows', 86_400_000), { kind: 'notice', notice: DELETED_NOTICE, text: repeated });
    expect((await verified(without(again, keysGone(68)[0] as string))).missing.deletedBy).toEqual([
      { class: 'rows', age: '1d', events: 1 },
    ]);
    const alone = of({ kind: 'notice', notice: DELETED_NOTICE, text: repeated });
    expect((await verified(without(alone, keysGone(67)[0] as string))).missing.deletedBy).toEqual([{ class: 'rows', age: '', events: 1 }]);
  });

  test('a leaf that tells of another kind of payload than its event is a fault', async () => {
    const fixture = new LogFixture(log.key, { kinds: true }).fill(8);
    const [record] = fixture.records.slice(2);
    const { leaf } = record as (typeof fixture.records)[number];
    expect(leaf.kind).toBe(payloadKind('response_bodies'));
    for (const [kind, faults] of [
      [payloadKind('payloads'), []],
      [payloadKind('rows'), ['leaf']],
    ] as const) {
      const changed = { ...leaf, kind };
      fixture.records[2] = { ...(record as (typeof fixture.records)[number]), leaf: changed, entry: encodeLeaf(changed) };
      expect((await verified(fixture.publish())).faults.map(({ code }) => code)).toEqual(faults);
    }
  });

  test('because they were withheld are those of payload, when the verifier says so', async () => {
    const keysOf = (o: MemoryObjects, prefix: string) => [...o.objects.keys()].filter((key) => key.startsWith(prefix));
    const objects = without(log, ...keysOf(log.publish(), 'details/payloads/'));
    const looking = { withheld: ['payloads'] as const };
    const payloads = log.records.filter(({ leaf }) => leaf.kind === 17).length;
    const report = await verifyLog({ objects, trust: { keys }, ...looking });
    expect(report).toMatchObject({ verified: true, complete: true, missing: { withheld: payloads, unexplained: 0 } });
    expect(inWords(report)).toContain(`missing     ${payloads} events of payload, withheld\n`);
    expect(await verifyPart(objects, { keys }, { session: 'ses_3' }, looking)).toMatchObject({ complete: true, missing: { withheld: 1 } });
    objects.objects.delete('details/events/000');
    expect(await verifyPart(objects, { keys }, { session: 'ses_3' }, looking)).toMatchObject(incomplete(3, 12, { withheld: 1 }));
  });

  test('one by one, of a bundle that was not full, when it says that they were deleted', async () => {
    const noticed = new LogFixture(log.key).fill(300).add('', notice('events', { from: 260, to: 262 }));
    const [edge, full] = ['details/events/001.p/45', 'details/events/001'];
    expect(await verified(trimmed(noticed.publish(), edge, 260, 261))).toMatchObject({ complete: true, missing: { deleted: 2 } });
    expect(codes(await verified(trimmed(noticed.publish(), edge, 263)))).toEqual(['missing']);
    noticed.fill(1_000);
    expect(await verified(trimmed(noticed.publish(), full, 260, 261))).toMatchObject({ complete: true, missing: { recordedBy: [300] } });
    for (const gone of [
      [260, 261, 263],
      [260, 303],
      [260, 300],
      [300, 303],
    ])
      expect(codes(await verified(trimmed(noticed.publish(), full, ...gone)))).toEqual(['missing']);
    // Beside others nothing is looked at for one session: it is incomplete.
    expect(await verifyPart(trimmed(noticed.publish(), full, 260, 263), { keys }, { index: 263 })).toMatchObject(incomplete(1, 263));
  });

  describe('while the log goes on', () => {
    /** What is read first is the log as it was; `then` is there from the next look at its checkpoint on. */
    const going = (first: MemoryObjects, then: MemoryObjects): MemoryObjects => {
      const objects = Object.assign(new LogFixture(log.key).publish(), { objects: new Map(first.objects) });
      let looks = 0;
      objects.get = async (key: string) => {
        if (key === 'checkpoint' && (looks += 1) > 1) objects.objects.clear();
        if (objects.objects.size === 0) for (const [each, bytes] of then.objects) objects.objects.set(each, bytes);
        return objects.objects.get(key);
      };
      return objects;
    };
    const later = new LogFixture(log.key)
      .fill(SIZE)
      .add('', notice('payloads', { from: 256, to: 512 }))
      .fill(SIZE + 50);

    test('are explained by what it has recorded since', async () => {
      const gone = 'details/payloads/001';
      const objects = (): MemoryObjects => going(without(log, gone), without(later, gone));
      const report = await verified(objects());
      expect(report).toMatchObject({ complete: true, size: SIZE, missing: { deleted: 64, recordedBy: [SIZE] } });
      expect(report.remarks).toEqual([expect.stringMatching(/^the log went on while it was read, to 1,350 leaves/)]);
      expect(await verifyPart(objects(), { keys }, { session: 'ses_64' })).toMatchObject({ complete: true, missing: { deleted: 1 } });
      // And by nothing else that is newer.
      const more = new LogFixture(log.key).fill(SIZE + 50);
      expect(await verified(going(without(log, gone), without(more, gone)))).toMatchObject(incomplete(64, 258));
    });

    test('are not by another history', async () => {
      const other = new LogFixture(log.key)
        .fill(SIZE - 1)
        .add('ses_x', opened)
        .add('', notice('payloads', { from: 256, to: 512 }));
      const report = await verified(going(without(log, 'details/payloads/001'), without(other, 'details/payloads/001')));
      expect(codes(report)).toEqual(['forked']);
    });

    test('are no more than were read: wider objects take the place of those at the edge', async () => {
      const objects = later.publish();
      objects.objects.set('checkpoint', Buffer.from(log.checkpoint()));
      expect(await verified(objects)).toMatchObject({ verified: true, complete: true, size: SIZE, missing: { unexplained: 0 } });
      expect(await verifyPart(objects, { keys }, { session: 'ses_324' })).toMatchObject({ verified: true, complete: true });
    });
  });
});

const reencoded = (leaf: Parameters<typeof encodeLeaf>[0], changed: object) => {
  const now = { ...leaf, ...changed };
  return { leaf: now, entry: encodeLeaf(now) };
};

describe('checkpoints that are kept beside the newest', () => {
  const keeping = (...sizes: readonly number[]): MemoryObjects => {
    const objects = log.publish();
    for (const size of sizes) objects.objects.set(keptCheckpointPath(size), Buffer.from(log.checkpoint(size)));
    return objects;
  };
  const set = (objects: MemoryObjects, size: number, note: string): MemoryObjects => {
    objects.objects.set(keptCheckpointPath(size), Buffer.from(note));
    return objects;
  };

  test('are of the same history, each of them', async () => {
    const objects = keeping(0, 1, 255, 256, 257, 700, SIZE);
    expect(await verified(objects)).toMatchObject({ verified: true, remarks: [], checked: { checkpoints: 7 } });
  });

  test('tell of a fork, wherever it begins', async () => {
    for (const size of [1, 256, 300, SIZE]) {
      const other = new LogFixture(log.key).fill(size - 1).add('ses_other', opened);
      const report = await verified(set(keeping(200, 400), size, other.checkpoint()));
      expect(report.faults).toEqual([{ code: 'forked', detail: expect.stringContaining(`${keptCheckpointPath(size)} was signed of`) }]);
      expect(report.checked.checkpoints).toBe(2);
    }
  });

  test('ahead of the newest show that it was set back', async () => {
    const objects = keeping(300, 700);
    objects.objects.set('checkpoint', Buffer.from(log.checkpoint(500)));
    const report = await verified(objects);
    expect(codes(report)).toContain('rolled-back');
    expect(inWords(report)).toContain(
      `${keptCheckpointPath(700)} is a checkpoint of 700 leaves that the log has signed, and the newest is of 500`,
    );
  });

  test('that are none, or have another name, are remarked on, and say nothing', async () => {
    const junk = set(set(keeping(700), 301, log.checkpoint(300)), 7, 'nonsense');
    for (const name of ['checkpoints/readme', 'checkpoints/\u001b[2J', 'checkpoints/0000000000000003/x'])
      junk.objects.set(name, Buffer.from(log.checkpoint(3)));
    expect(await verified(junk)).toMatchObject({
      verified: true,
      checked: { checkpoints: 2 },
      remarks: [
        expect.stringMatching(
          /^5 files among the kept checkpoints: no checkpoint of the size that the name says, .*, the first checkpoints/,
        ),
      ],
    });
    // A name hides nothing that was signed.
    const fork = new LogFixture(log.key).fill(299).add('ses_other', opened);
    expect(codes(await verified(set(keeping(), 301, fork.checkpoint())))).toEqual(['forked']);
  });

  test('whose signature by a known key is wrong are named, and hold up no verdict: anybody can write one, and a lock keeps it there', async () => {
    const flipped = Buffer.from(log.checkpoint(300));
    flipped[ORIGIN.length + 8] = (flipped[ORIGIN.length + 8] as number) ^ 1;
    for (const note of [flipped.toString(), log.checkpoint(300).replace(ORIGIN, 'other.test/log')]) {
      const report = await verified(set(keeping(700), 300, note));
      expect(report).toMatchObject({ verified: true, complete: true, checked: { checkpoints: 1 } });
      expect(report.remarks).toEqual([expect.stringMatching(/^NOT WHAT THE LOG'S KEY SIGNED, .*: checkpoints\/0{13}300 \(/)]);
      expect(inWords(report)).toContain("note        NOT WHAT THE LOG'S KEY SIGNED");
    }
    // It hides no other one, and stands for none: of a fork beside it, and of what is missing, the verdict is as ever.
    const fork = new LogFixture(log.key).fill(299).add('ses_other', opened);
    expect(codes(await verified(set(set(keeping(), 300, flipped.toString()), 301, fork.checkpoint())))).toEqual(['forked']);
    const objects = set(keeping(), 300, flipped.toString());
    objects.objects.delete('details/events/001');
    expect(await verified(objects)).toMatchObject({ verified: true, complete: false });
    // The newest, and one that the verifier has kept, must be signed.
    expect(codes(await verifyLog({ objects: keeping(), trust: { keys, remembered: flipped.toString() } }))).toEqual(['signature']);
  });

  test('by a key that the verifier does not know say nothing, and that is said', async () => {
    const former = new LogFixture(parseSignerKey(generateSignerKey(ORIGIN))).fill(300);
    const forged = new LogFixture(parseSignerKey(generateSignerKey(ORIGIN))).add('ses_other', opened);
    const report = await verified(set(set(keeping(400), 300, former.checkpoint()), 1, forged.checkpoint()));
    expect(report).toMatchObject({ verified: true, checked: { checkpoints: 1 } });
    expect(report.remarks).toEqual([
      expect.stringMatching(/^2 kept checkpoints are signed by no key known to this verifier, the first checkpoints\/0{15}1:/),
    ]);
    const both = await verifyLog({ objects: set(keeping(), 300, former.checkpoint()), trust: { keys: [...keys, former.key.verifier] } });
    expect(both).toMatchObject({ verified: true, remarks: [], checked: { checkpoints: 1 } });
  });
});

describe('tampering', () => {
  const tampered: [string, (objects: Map<string, Buffer>) => void, FaultCode[]][] = [
    ['a changed byte of a leaf', (o) => flip(o, 'tile/entries/002', 300), ['tile', 'root']],
    ['a changed byte of an event', (o) => flip(o, 'details/events/003', 100), ['commitment']],
    ['a changed salt', (o) => flip(o, 'details/events/003', 6), ['commitment']],
    ['a changed length of an event', (o) => flip(o, 'details/events/003', 4), ['malformed']],
    ['a changed leaf hash', (o) => flip(o, 'tile/0/001', 0), ['tile']],
    [
      'something behind the hashes of a tile',
      (o) => o.set('tile/0/001', Buffer.concat([o.get('tile/0/001') as Buffer, Buffer.alloc(32)])),
      ['tile'],
    ],
    ['a changed hash above', (o) => flip(o, 'tile/1/000.p/5', 40), ['tile']],
    ['a missing bundle', (o) => o.delete('tile/entries/001'), ['missing']],
    ['a missing tile', (o) => o.delete('tile/0/004'), ['missing']],
    ['a missing upper tile', (o) => o.delete('tile/1/000.p/5'), ['missing']],
    ['a missing bundle and its tile', (o) => ['tile/entries/001', 'tile/0/001'].forEach((key) => void o.delete(key)), ['missing']],
    ['no checkpoint', (o) => o.delete('checkpoint'), ['no-checkpoint']],
    ['a changed checkpoint', (o) => flip(o, 'checkpoint', ORIGIN.length + 6), ['signature']],
    ['a checkpoint that is no note', (o) => o.set('checkpoint', Buffer.from('nonsense\n')), ['malformed']],
    ['an event beside a leaf that has another', (o) => o.set('details/payloads/000', o.get('details/events/000') as Buffer), ['leaf']],
    [
      'an event taken out from among others',
      (o) => o.set('details/events/001', withoutFirst(o.get('details/events/001') as Buffer)),
      ['missing'],
    ],
    [
      'two bundles in the place of one another',
      (o) => swap(o, 'tile/entries/001', 'tile/entries/002'),
      ['tile', 'root', 'chain', 'commitment'],
    ],
  ];

  test.each(tampered)('%s is seen', async (_, change, expected) => {
    const objects = log.publish();
    change(objects.objects);
    const report = await verified(objects);
    expect(report).toMatchObject({ verified: false, level: 'unverified' });
    expect(codes(report)).toEqual(expect.arrayContaining(expected));
    expect(inWords(report)).toMatch(/^NOT VERIFIED/);
  });

  test.each(['entries', '0', '1'])('each byte of tile/%s matters', async (level) => {
    const small = new LogFixture(log.key).fill(300);
    const objects = small.publish();
    const key = [...objects.objects.keys()].find((each) => each.startsWith(`tile/${level}/`)) as string;
    const bytes = objects.objects.get(key) as Buffer;
    for (let at = 0; at < bytes.length; at += Math.max(1, bytes.length >> 6)) {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] as number) ^ 1;
      objects.objects.set(key, copy);
      expect((await verified(objects)).verified, `${key} at ${at}`).toBe(false);
    }
  });

  test('a key of another is none', async () => {
    const other = parseSignerKey(generateSignerKey(ORIGIN)).verifier;
    expect(codes(await verifyLog({ objects: log.publish(), trust: { keys: [other] } }))).toEqual(['signature']);
  });

  test('a key signs no log of another name, unless the verifier names that log', async () => {
    const other = parseSignerKey(generateSignerKey('sluice.test/other'));
    const objects = log.publish();
    const { text } = parseNote(objects.objects.get('checkpoint') as Buffer);
    objects.objects.set('checkpoint', Buffer.from(signNote(text, [other])));
    const trust = { keys: [...keys, other.verifier] };
    expect(codes(await verifyLog({ objects, trust }))).toEqual(['signature']);
    expect(await verifyLog({ objects, trust: { ...trust, origin: ORIGIN } })).toMatchObject({ verified: true });
  });

  test('another log by the same key is none', async () => {
    expect(codes(await verified(log.publish(), { origin: 'sluice.test/other' }))).toEqual(['signature']);
  });
});

describe('whoever holds the key and writes anew what was recorded', () => {
  const changed = (change: (records: LogFixture['records']) => void): LogFixture => {
    const anew = new LogFixture(log.key).fill(SIZE);
    change(anew.records);
    return anew;
  };
  const remembered = log.checkpoint(1_000);

  test('leaves out a leaf: its session misses it, and so does a kept checkpoint', async () => {
    const objects = changed((records) => records.splice(401, 1)).publish();
    expect(codes(await verified(objects, { remembered }))).toEqual(expect.arrayContaining(['chain', 'forked']));
  });

  test('leaves out a whole session: a kept checkpoint tells', async () => {
    // Written so well that the log is whole in itself.
    const anew = new LogFixture(log.key).fill(400);
    for (let i = 101; anew.records.length < SIZE; i += 1) anew.add(`ses_${i}`, opened).add(`ses_${i}`, closedBody('complete'));
    expect(await verified(anew.publish())).toMatchObject({ verified: true, level: 'self-consistent' });
    expect(codes(await verified(anew.publish(), { remembered }))).toEqual(['forked']);
  });

  test('changes the order of two leaves', async () => {
    const objects = changed((records) => records.splice(400, 2, records[401] as never, records[400] as never)).publish();
    expect(codes(await verified(objects, { remembered }))).toEqual(expect.arrayContaining(['chain', 'forked', 'sequence']));
  });

  test('writes a leaf twice', async () => {
    const objects = changed((records) => records.splice(400, 0, records[400] as never)).publish();
    expect(codes(await verified(objects))).toEqual(expect.arrayContaining(['chain', 'sequence']));
  });

  test('goes back to an earlier state', async () => {
    const earlier = new LogFixture(log.key).fill(900).publish();
    expect(await verified(earlier)).toMatchObject({ verified: true });
    expect(codes(await verified(earlier, { remembered }))).toEqual(['rolled-back']);
    expect(codes(await verifyPart(earlier, { keys, remembered }, { session: 'ses_7' }))).toEqual(['rolled-back']);
  });

  test('puts another event beside a leaf', async () => {
    const objects = log.publish();
    const details = log.records.slice(0, 256).flatMap(({ leaf, salt, event }, index) => (leaf.kind === 17 ? [] : [{ index, salt, event }]));
    const other = new LogFixture(log.key).add('ses_0', opened).add('ses_0', judged('deny')).records[1]?.event as Buffer;
    details[1] = { ...(details[1] as (typeof details)[number]), event: other };
    objects.objects.set('details/events/000', encodeDetails(details));
    expect(codes(await verified(objects))).toEqual(['commitment']);
    expect(codes(await verifyPart(objects, { keys }, { session: 'ses_0' }))).toEqual(['commitment']);
    expect(codes(await verifyPart(objects, { keys }, { index: 1 }))).toEqual(['commitment']);
  });
});

describe('witnesses', () => {
  const witnesses = ['w.test/one', 'w.test/two', 'w.test/three'].map((name) => parseSignerKey(generateSignerKey(name, 'cosignature')));
  const cosigned = (count: number): MemoryObjects => {
    const objects = log.publish();
    objects.objects.set('checkpoint', log.cosigned(witnesses.slice(0, count)));
    return objects;
  };
  const trust = { keys, witnesses: { keys: witnesses.map(({ verifier }) => verifier), quorum: 2 } };

  test.each([
    [0, false],
    [1, false],
    [2, true],
    [3, true],
  ])('%i of three, where two are asked for: %s', async (count, enough) => {
    const report = await verifyLog({ objects: cosigned(count), trust });
    expect(report).toMatchObject({ verified: enough, level: enough ? 'witnessed' : 'unverified' });
    expect(report.witnesses).toHaveLength(count);
    if (!enough) expect(codes(report)).toEqual(['witnesses']);
  });

  test('are no log: their cosignatures alone do not sign it', async () => {
    const objects = cosigned(3);
    const note = parseNote(objects.objects.get('checkpoint') as Buffer);
    const signatures = note.signatures.filter(({ name }) => name !== ORIGIN);
    objects.objects.set('checkpoint', Buffer.from(formatNote({ ...note, signatures })));
    const all = { ...trust, keys: [...keys, ...witnesses.map(({ verifier }) => verifier)] };
    expect(codes(await verifyLog({ objects, trust: all }))).toEqual(['signature']);
  });

  test('a cosigner may say any time', async () => {
    const objects = log.publish();
    const note = parseNote(objects.objects.get('checkpoint') as Buffer);
    const signatures = [...note.signatures, cosign(note.text, witnesses[0] as (typeof witnesses)[0], 2 ** 52)];
    objects.objects.set('checkpoint', Buffer.from(formatNote({ ...note, signatures })));
    const report = await verifyLog({ objects, trust: { ...trust, witnesses: { ...trust.witnesses, quorum: 1 } } });
    expect(report).toMatchObject({ verified: true, witnesses: [{ at: '+275760-09-13T00:00:00.000Z' }] });
  });

  test('a cosignature that does not verify spoils the checkpoint', async () => {
    const objects = cosigned(3);
    const note = parseNote(objects.objects.get('checkpoint') as Buffer);
    const signatures = note.signatures.map((each, i) => (i === 2 ? { ...each, signature: Buffer.alloc(72, 1) } : each));
    objects.objects.set('checkpoint', Buffer.from(formatNote({ ...note, signatures })));
    expect(codes(await verifyLog({ objects, trust }))).toEqual(['signature']);
  });

  /** As a gateway publishes it: the newest checkpoint, and beside it what witnesses have cosigned, which may be older. */
  const beside = (size: number, count = 2, of = log): MemoryObjects => {
    const objects = log.publish();
    objects.objects.set('checkpoint.witnessed', of.cosigned(witnesses.slice(0, count), size));
    return objects;
  };
  const of = async (
    objects: MemoryObjects,
    more: Partial<Trust> = {},
  ): Promise<readonly [whole: Report, session: Report, event: Report]> => [
    await verifyLog({ objects, trust: { ...trust, ...more } }),
    await verifyPart(objects, { ...trust, ...more }, { session: 'ses_3' }),
    await verifyPart(objects, { ...trust, ...more }, { index: 299 }),
  ];

  test('have cosigned the checkpoint beside the newest one: what it covers is witnessed, and what is behind it is said', async () => {
    for (const report of await of(beside(1_000))) {
      expect(report).toMatchObject({ verified: true, level: 'witnessed', size: SIZE, witnessedSize: 1_000, faults: [] });
      expect(report.witnesses).toHaveLength(2);
      expect(report.remarks).toEqual([expect.stringMatching(/^witnesses have cosigned the first 1,000 leaves; the 300 behind them/)]);
      expect(inWords(report)).toContain('witness     w.test/one, 2026-09-21T14:21:40.000Z, 1,000 leaves');
    }
    for (const report of await of(beside(SIZE))) expect(report).toMatchObject({ level: 'witnessed', witnessedSize: SIZE, remarks: [] });
  });

  test('are behind a session, or an event, that is newer', async () => {
    const [whole, session, event] = await of(beside(299));
    expect(whole).toMatchObject({ level: 'witnessed', witnessedSize: 299 });
    expect(session).toMatchObject({ level: 'witnessed' });
    expect(event).toMatchObject({ verified: false, level: 'unverified', faults: [{ code: 'witnesses' }] });
    expect(event.faults[0]?.detail).toBe('they have cosigned the first 299 leaves, and this reaches to leaf 299');
    expect((await of(beside(15)))[1]).toMatchObject({ verified: false, faults: [{ code: 'witnesses' }] });
    expect((await of(beside(16)))[1]).toMatchObject({ verified: true });
  });

  test('have cosigned another history, or more of it', async () => {
    const other = new LogFixture(log.key)
      .fill(500)
      .add('ses_x', opened)
      .fill(SIZE + 100);
    for (const report of await of(beside(1_000, 2, other))) expect(codes(report)).toEqual(['forked']);
    for (const report of await of(beside(1_350, 2, other))) expect(codes(report)).toEqual(['rolled-back']);
    // Before they differ, it is the same log.
    for (const report of await of(beside(500, 2, other))) expect(report).toMatchObject({ verified: true, level: 'witnessed' });
  });

  test('count where there are enough of them, in one place', async () => {
    for (const report of await of(beside(1_000, 1))) {
      expect(codes(report)).toEqual(['witnesses']);
      expect(report.faults[0]?.detail).toBe('1 have, and 2 of 3 must');
    }
    for (const report of await of(log.publish())) expect(report.faults[0]?.detail).toBe('0 have, and 2 of 3 must');
    const both = beside(1_000);
    both.objects.set('checkpoint', log.cosigned(witnesses));
    for (const report of await of(both)) expect(report).toMatchObject({ level: 'witnessed', witnessedSize: SIZE });
  });

  test('cannot stand in for the log: what they cosigned must be signed by it', async () => {
    const objects = beside(1_000, 2, new LogFixture().fill(SIZE));
    for (const report of await of(objects)) expect(codes(report)).toContain('signature');
    objects.objects.set('checkpoint.witnessed', Buffer.from('nonsense\n'));
    for (const report of await of(objects)) expect(codes(report)).toContain('malformed');
    // Who asks for no witnesses does not look there.
    expect(await verified(objects)).toMatchObject({ verified: true, level: 'self-consistent' });
  });

  test('of one name are one, however many keys it has', async () => {
    const two = [witnesses[0], parseSignerKey(generateSignerKey('w.test/one', 'cosignature'))] as SignerKey[];
    const objects = log.publish();
    objects.objects.set('checkpoint.witnessed', log.cosigned(two));
    const named = { keys: two.map(({ verifier }) => verifier), quorum: 2 };
    for (const report of await of(objects, { witnesses: named })) expect(codes(report)).toEqual(['witnesses']);
    for (const report of await of(objects, { witnesses: { ...named, quorum: 1 } })) expect(report).toMatchObject({ level: 'witnessed' });
  });
});

describe('signatures of keys that the verifier did not bring', () => {
  const strangers = Array.from({ length: 7 }, (_, i) => parseSignerKey(generateSignerKey(`x.test/\u202e${i}`)));
  const signed = (lines: (text: string) => ReturnType<typeof parseNote>['signatures']): MemoryObjects => {
    const objects = log.publish();
    const note = parseNote(objects.objects.get('checkpoint') as Buffer);
    objects.objects.set('checkpoint', Buffer.from(formatNote({ ...note, signatures: [...note.signatures, ...lines(note.text)] })));
    return objects;
  };

  test('are said, by their names, and raise no trust', async () => {
    const objects = signed((text) => parseNote(signNote(text, strangers)).signatures);
    for (const report of [
      await verified(objects),
      await verifyPart(objects, { keys }, { session: 'ses_0' }),
      await verifyPart(objects, { keys }, { index: 3 }),
    ]) {
      expect(report).toMatchObject({ verified: true, level: 'self-consistent', otherSignatures: 7, signedBy: [ORIGIN], witnesses: [] });
      expect(report.remarks).toEqual([
        '7 signatures on the checkpoint are by keys not known to this verifier, or repeated, and add nothing to the level of trust: ' +
          'x.test/?0, x.test/?1, x.test/?2, x.test/?3, x.test/?4, …',
      ]);
    }
    const known = strangers.slice(0, 3).map(({ verifier }) => verifier);
    expect(await verified(objects, { witnesses: { keys: known, quorum: 3 } })).toMatchObject({ witnesses: [], level: 'unverified' });
  });

  test("a line that repeats the log's own is one of them, whatever stands in it", async () => {
    const { name, id } = log.key.verifier;
    const objects = signed(() => [{ name, id, signature: Buffer.alloc(64) }]);
    expect(await verified(objects)).toMatchObject({ verified: true, level: 'self-consistent', otherSignatures: 1 });
  });
});

describe('a part', () => {
  test.each([{ session: 'ses_0' }, { session: 'ses_200' }, { session: 'ses_324' }])('$session is verified by its proofs', async (part) => {
    expect(await verifyPart(log.publish(), { keys, remembered: log.checkpoint(700) }, part)).toMatchObject({
      verified: true,
      level: 'remembered',
      checked: { leaves: 4, events: 4 },
      remarks: [],
    });
  });

  test.each([0, 255, 256, SIZE - 1])('event %i is, without the rest of the log', async (index) => {
    const objects = log.publish();
    const bundle = String(Math.floor(index / 256)).padStart(3, '0');
    for (const key of objects.objects.keys()) if (key.startsWith('tile/entries/') && !key.includes(bundle)) objects.objects.delete(key);
    expect(await verifyPart(objects, { keys }, { index })).toMatchObject({ verified: true, checked: { leaves: 1 } });
  });

  test('that is not there is said to be not there', async () => {
    for (const part of [{ session: 'ses_none' }, { index: SIZE }])
      expect(codes(await verifyPart(log.publish(), { keys }, part))).toEqual(['not-found']);
  });

  test('whose leaf is changed is not in the tree', async () => {
    const objects = log.publish();
    flip(objects.objects, 'tile/entries/000', 60);
    expect(codes(await verifyPart(objects, { keys }, { index: 0 }))).toEqual(expect.arrayContaining(['inclusion']));
  });

  const end = (outcome: string) => closedBody(outcome);
  const followed = async (at: number, write: (written: LogFixture) => LogFixture): Promise<Report> =>
    verifyPart(
      write(new LogFixture(log.key).fill(at))
        .fill(at + 400)
        .publish(),
      { keys },
      { session: 'ses_a' },
    );

  test.each([3, 255, 256, 700])(
    'is followed through all leaves: what ended, what came after, what goes on; from leaf %i on',
    async (at) => {
      const searchedTo = at + 400;
      const open = await followed(at, (to) => to.add('ses_a', opened).add('ses_a', judged('allow')));
      expect(open).toMatchObject({ verified: true, remarks: [], extent: { events: 2, searchedTo } });
      expect(open.extent).not.toHaveProperty('end');
      expect(inWords(open)).toContain('open: 2 events from its opening on, none left out, and no end yet; nothing else of it stands among');
      const ended = await followed(at, (to) => to.add('ses_a', opened).add('ses_a', end('complete')).add('ses_a', judged('allow')));
      expect(ended.extent).toEqual({ events: 3, searchedTo, end: { leaf: at + 1, outcome: 'complete', after: 1 } });
      expect(inWords(ended)).toContain('ended (complete): 2 events from its opening to its end');
      expect(inWords(ended)).toContain('; 1 event that came after it; nothing else');
      // An end that was assumed is none where the true one was told later.
      const assumed = await followed(at, (to) => to.add('ses_a', opened).add('ses_a', end('unknown')).add('ses_a', judged('allow')));
      expect(assumed.extent?.end).toEqual({ leaf: at + 1, outcome: 'unknown', after: 1 });
      const told = await followed(at, (to) => to.add('ses_a', opened).add('ses_a', end('unknown')).add('ses_a', end('cut')));
      expect(told.extent?.end).toEqual({ leaf: at + 2, outcome: 'cut', after: 0 });
    },
  );

  const answer: TapBody = { kind: 'hold_answered', approval: 'a', answer: 'revoked', by: 'corp:dana', reason: '' };
  const sessionIn = (write: (written: LogFixture) => LogFixture) =>
    write(new LogFixture(log.key).fill(300).add('ses_a', opened).add('ses_a', judged('allow')))
      .fill(700)
      .publish();
  const wholeAndSession = async (write: (written: LogFixture) => LogFixture): Promise<readonly [Report, string]> => {
    const objects = sessionIn(write);
    const report = await verifyPart(objects, { keys }, { session: 'ses_a' });
    return [await verifyLog({ objects, trust: { keys } }), inWords(report)];
  };

  test('whose end says how many events it has is complete, whatever others told of it afterwards', async () => {
    const [log3, words3] = await wholeAndSession((to) => to.end('ses_a'));
    expect(words3).toContain(
      'complete: 3 of 3 events, none can follow its end (complete) at leaf 302; nothing else of it stands among the first 700',
    );
    const [log5, words5] = await wholeAndSession((to) => to.end('ses_a', 'denied').add('ses_a', answer));
    expect(words5).toContain(
      'complete: 3 of 3 events, none can follow its end (denied) at leaf 302; 1 event that others told of it afterwards; nothing',
    );
    for (const report of [log3, log5]) expect(report).toMatchObject({ verified: true, remarks: [] });
  });

  test('that went on behind such an end is found late: in the session, and in the whole log', async () => {
    const [whole, words] = await wholeAndSession((to) =>
      to.end('ses_a').add('ses_a', answer).fill(400).add('ses_a', judged('deny')).end('ses_a', 'cut'),
    );
    expect(words).toContain(
      'not as its end says: 3 events up to its end (complete) at leaf 302; LATE: 2 events behind the end, which was to be the last; 1 event that others',
    );
    expect(whole).toMatchObject({
      verified: true,
      remarks: [expect.stringMatching(/^LATE: 2 events stand behind an end .*, the first in leaf 400:/)],
    });
    // An end that was only assumed can be followed.
    const [assumed, unknown] = await wholeAndSession((to) => to.end('ses_a', 'unknown').add('ses_a', judged('deny')).end('ses_a', 'cut'));
    expect(assumed.remarks).toEqual([]);
    expect(unknown).toContain('complete: 5 of 5 events, none can follow its end (cut) at leaf 304');
  });

  test('of which events are missing is said to lack them', async () => {
    const missing = { missingEmitter: 'e'.repeat(32), missingFrom: 17, missingTo: 19 };
    const [whole, words] = await wholeAndSession((to) => to.end('ses_a', 'complete', missing).add('ses_a', judged('deny')));
    expect(words).toContain(
      'incomplete: 3 of the events that had arrived by its end (complete) at leaf 302, none left out; missing, as the end says: those of it among events 17 to 19 of emitter eeee',
    );
    expect(words).toContain('; LATE: 1 event behind it; nothing else');
    expect(whole).toMatchObject({
      verified: true,
      remarks: [/^LATE: 1 event stands/, /^1 session ended before all that was told of had arrived, the first at leaf 302/].map((r) =>
        expect.stringMatching(r),
      ),
    });
  });

  test('whose end tells another number than it has is at fault', async () => {
    for (const events of [2, 4]) {
      const objects = sessionIn((to) => to.end('ses_a', 'complete', { events }));
      for (const report of [await verifyPart(objects, { keys }, { session: 'ses_a' }), await verifyLog({ objects, trust: { keys } })]) {
        expect(codes(report)).toEqual(['chain']);
        expect(inWords(report)).toContain(`leaf 302 ends ses_a as its event 3, and says that it has ${events} events`);
      }
    }
  });

  test('whose last leaf was made another, so that the rest of the session seems to be all, is told by the root', async () => {
    const objects = new LogFixture(log.key)
      .fill(600)
      .add('ses_a', opened)
      .add('ses_a', end('complete'))
      .add('ses_a', judged('deny'))
      .fill(900)
      .publish();
    const bundle = objects.objects.get('tile/entries/002') as Buffer;
    bundle.write('ses_b', bundle.lastIndexOf('ses_a'));
    const report = await verifyPart(objects, { keys }, { session: 'ses_a' });
    expect(report).toMatchObject({ verified: false, checked: { leaves: 2 }, extent: { end: { after: 0 } } });
    expect(codes(report)).toEqual(['root']);
    const whole = new LogFixture(log.key).fill(600).publish();
    (whole.objects.get('tile/entries/001') as Buffer)[700] = 1;
    expect(codes(await verifyPart(whole, { keys }, { session: 'ses_none' }))).toContain('root');
  });
});

function flip(objects: Map<string, Buffer>, key: string, at: number): void {
  const bytes = Buffer.from(objects.get(key) as Buffer);
  bytes[at] = (bytes[at] as number) ^ 1;
  objects.set(key, bytes);
}

function swap(objects: Map<string, Buffer>, one: string, other: string): void {
  const kept = objects.get(one) as Buffer;
  objects.set(one, objects.get(other) as Buffer);
  objects.set(other, kept);
}

function withoutFirst(details: Buffer): Buffer {
  return encodeDetails(decodeDetails(details, 1).slice(1));
}
