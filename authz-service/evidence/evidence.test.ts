import { describe, expect, test } from 'vitest';
import { back } from '../../test/wasm/postgres_wire.fixture.ts';
import { DELETED_NOTICE, goingText } from '../log/going.ts';
import { type DetailClass, decodeLeaf } from '../log/leaf.ts';
import { formatPruned } from '../log/pruned.ts';
import { LogReader } from '../log/reader.ts';
import { closedBody, type TapBody } from '../tap/schema.ts';
import { readCheckpoint } from '../tlog/checkpoint.ts';
import { leafHash } from '../tlog/hash.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { checkInclusion, parseProof } from '../tlog/proof.ts';
import { judged, LogFixture, type MemoryObjects, opened } from '../verify/log.fixture.ts';
import { inWords, type Report, type SessionExtent } from '../verify/report.ts';
import { type ProvenLeaf, proveLeaves } from '../verify/session.ts';
import type { Trust } from '../verify/trust.ts';
import type { Head } from './bundle.ts';
import { collectEvidence, proofFiles, writePage } from './collect.ts';
import { DRAWING } from './page.ts';
import { redraw } from './redraw.ts';
import { verifyBundle } from './verify.ts';

const SESSION = 'ses_evil';
const payload = (data: Buffer | string, more: object = {}): TapBody => ({
  kind: 'payload_chunk',
  direction: 'response',
  offset: 0,
  data: Buffer.from(data as string),
  last: true,
  truncated: false,
  contentType: '',
  contentEncoding: '',
  reason: '',
  ...more,
});
const closed = (outcome = 'complete'): TapBody => closedBody(outcome);
const log = new LogFixture()
  .fill(300)
  .add(SESSION, opened)
  .add(SESSION, { ...judged('hold'), request: 'DELETE /<script>alert(1)</script>' } as never)
  .add('ses_other', opened)
  .add(SESSION, { kind: 'hold_answered', approval: 'apr_1', answer: 'approved', by: 'corp:dana', reason: 'she asked </script> for it' })
  .add(SESSION, payload('{"ssn":"***"}\n<b>'))
  .add(SESSION, closed())
  .fill(700);
const keys = [log.key.verifier];
const listed = [formatVerifierKey(log.key.verifier)];

interface Evidence {
  readonly head: Head;
  readonly leaves: readonly ProvenLeaf[];
}

const gathered = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

test.each([
  ['once, as far as they fit', undefined, 1],
  ['twice beyond that, and the evidence is the same', 0, 2],
])('details are read %s', async (_, keepBytes, times) => {
  const objects = log.publish();
  const asked: string[] = [];
  const get = objects.get.bind(objects);
  objects.get = (key) => {
    asked.push(key);
    return get(key);
  };
  const { head, leaves } = await collectEvidence({
    ...{ objects, session: SESSION, keys: listed, payloads: true },
    ...(keepBytes !== undefined && { keepBytes }),
  });
  const found = { head, leaves: await gathered(leaves()) };
  expect(asked.filter((key) => key === 'details/events/001')).toHaveLength(times);
  expect(found).toEqual(await collect(log.publish()));
});

const collect = async (objects: MemoryObjects, of: { session?: string; payloads?: boolean } = {}): Promise<Evidence> => {
  const { head, leaves } = await collectEvidence({ objects, session: SESSION, keys: listed, payloads: true, ...of });
  return { head, leaves: await gathered(leaves()) };
};

const pageOf = async ({ head, leaves }: Evidence): Promise<Buffer> =>
  Buffer.from((await gathered(writePage({ head, leaves: () => leaves }))).join(''));

async function* pieces(page: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < page.length; at += size) yield page.subarray(at, at + size);
}

const verified = (page: Buffer, trust: Trust = { keys }, piece = 1 << 16): Promise<Report> => verifyBundle(pieces(page, piece), trust);

const codes = async (page: Buffer): Promise<string[]> => (await verified(page)).faults.map(({ code }) => code);

const evidence = await collect(log.publish());
const page = await pageOf(evidence);

describe('the evidence of a session', () => {
  test.each([1, 7, 4096, 1 << 20])('verifies with the log key alone, in pieces of %i bytes', async (piece) => {
    expect(await verified(page, { keys }, piece)).toMatchObject({
      verified: true,
      level: 'self-consistent',
      keysAreTheLogsOwn: false,
      extent: { events: 5, end: { outcome: 'complete', after: 0 } },
      checked: { leaves: 5, events: 5 },
      complete: true,
      faults: [],
      remarks: [],
    });
  });

  test('verifies with the key inside, and says so', async () => {
    expect(await verified(page, { keys: [] })).toMatchObject({
      verified: true,
      keysAreTheLogsOwn: true,
      remarks: [expect.stringContaining("the key is the bundle's own")],
    });
  });

  test('shows what happened, and nothing in it is markup', () => {
    const html = page.toString();
    expect(html).toContain('DELETE /&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(html).toContain('approved by corp:dana');
    expect(html).toContain('<pre>{&quot;ssn&quot;:&quot;***&quot;}\n&lt;b&gt;</pre>');
    expect(html.match(/<\/?script/g)).toHaveLength(2 * 6);
  });

  test('claims no more than it proves: what came after its end may have been left out', async () => {
    const late = new LogFixture(log.key).add(SESSION, opened).add(SESSION, closed()).add(SESSION, judged('deny'));
    const all = await collect(late.publish());
    const extent = { events: 2, end: { leaf: 1, outcome: 'complete', after: 0 } };
    const cut = await pageOf({ head: { ...all.head, extent }, leaves: all.leaves.slice(0, 2) });
    expect(await verified(await pageOf(all))).toMatchObject({ verified: true, extent: { events: 3, end: { after: 1 } } });
    const report = await verified(cut);
    expect(report).toMatchObject({ verified: true, extent });
    expect(report.extent).not.toHaveProperty('searchedTo');
    for (const text of [cut.toString(), inWords(report)])
      expect(text).toContain('whether the log has more of it, proofs of single leaves cannot show');
    // And what it claims must be so.
    const other = await pageOf({ head: { ...all.head, extent: { events: 2 } }, leaves: all.leaves.slice(0, 2) });
    expect((await verified(other)).faults).toMatchObject([{ code: 'altered', detail: expect.stringContaining('the page says "open: 2') }]);
  });

  test('is complete by an end that counts the events, and says what a page cannot show: what the log has late behind that end', async () => {
    const late = new LogFixture(log.key).add(SESSION, opened).add(SESSION, judged('allow')).end(SESSION).add(SESSION, judged('deny'));
    const all = await collect(late.publish());
    const complete = { events: 3, end: { leaf: 2, outcome: 'complete', after: 0, of: 3, late: 0 } };
    const cut = await pageOf({ head: { ...all.head, extent: complete }, leaves: all.leaves.slice(0, 3) });
    const report = await verified(cut);
    expect(report).toMatchObject({ verified: true, extent: complete });
    for (const text of [cut.toString().replace('Complete', 'complete'), inWords(report)])
      expect(text).toContain(
        'complete: 3 of 3 events, none can follow its end (complete) at leaf 2; should the log have one behind it all the same, it came late: `sluice verify SESSION` on the log shows that',
      );
    const whole = await pageOf(all);
    expect(await verified(whole)).toMatchObject({ verified: true, extent: { events: 4, end: { ...complete.end, after: 1, late: 1 } } });
    expect(whole.toString()).toContain('LATE: 1 event behind the end, which was to be the last');
    // What the page shows is not to be said otherwise, nor can one before the end be left out.
    const extents = [
      { events: 4, end: { ...complete.end, after: 1, late: 0 } },
      { events: 4, end: { leaf: 2, outcome: 'complete', after: 1 } },
    ];
    for (const extent of extents) expect(await codes(await pageOf({ ...all, head: { ...all.head, extent } }))).toEqual(['altered']);
    const without = { head: { ...all.head, extent: complete }, leaves: all.leaves.slice(0, 3).toSpliced(1, 1) };
    expect(await codes(await pageOf(without))).toContain('chain');
  });

  test('of a session of which events are missing says which', async () => {
    const missing = { missingEmitter: 'e'.repeat(32), missingFrom: 3, missingTo: 3 };
    const page = await pageOf(await collect(new LogFixture(log.key).add(SESSION, opened).end(SESSION, 'cut', missing).publish()));
    expect(await verified(page)).toMatchObject({ verified: true, extent: { end: { missing: { from: 3, to: 3 } } } });
    expect(page.toString()).toContain('missing, as the end says: those of it among events 3 to 3 of emitter eee');
    expect(page.toString()).toContain('events had not arrived, and are not waited for');
  });

  test('is not made of a log whose leaves do not give its root', async () => {
    const objects = log.publish();
    const last = objects.objects.get('tile/entries/002.p/188') as Buffer;
    last[last.length - 1] = (last.at(-1) as number) ^ 1;
    await expect(collect(objects)).rejects.toThrow('do not give the root');
  });

  describe('of a log that witnesses have cosigned', () => {
    const witness = parseSignerKey(generateSignerKey('w.test/one', 'cosignature'));
    const trust = { keys, witnesses: { keys: [witness.verifier], quorum: 1 } };
    const last = evidence.leaves.at(-1)?.index as number;
    const cosigned = (size: number, of = log): MemoryObjects => {
      const objects = log.publish();
      objects.objects.set('checkpoint.witnessed', of.cosigned([witness], size));
      return objects;
    };

    test.each([
      [0, 700, false],
      [1, last + 1, true],
      [100, last + 100, true],
    ])('is proven against what they cosigned, if that reaches %i leaves beyond its last', async (beyond, size, witnessed) => {
      const page = await pageOf(await collect(cosigned(last + beyond)));
      expect(await verified(page)).toMatchObject({ verified: true, level: 'self-consistent', size });
      expect(await verified(page, trust)).toMatchObject({ verified: witnessed, level: witnessed ? 'witnessed' : 'unverified', size });
    });

    test('is not made where they cosigned another log, or more of it', async () => {
      const other = new LogFixture(log.key).fill(299).add('ses_x', opened).fill(900);
      for (const size of [500, 700, 800]) await expect(collect(cosigned(size, other))).rejects.toThrow('does not go on from');
    });
  });

  test('is nothing without its key', async () => {
    const other = parseSignerKey(generateSignerKey(log.key.verifier.name)).verifier;
    expect(await verified(page, { keys: [other] })).toMatchObject({ verified: false, faults: [{ code: 'signature' }] });
  });

  test('fails when any byte of the file is changed', async () => {
    for (let at = 0; at < page.length; at += 11) {
      const copy = Buffer.from(page);
      copy[at] = (copy[at] as number) ^ 1;
      expect((await verified(copy)).verified, `byte ${at}: ${page.subarray(at, at + 20)}`).toBe(false);
    }
    for (const cut of [0, 1, page.length >> 1, page.length - 1]) expect((await verified(page.subarray(0, cut))).verified).toBe(false);
    expect(await codes(Buffer.concat([page, Buffer.from('\n')]))).toEqual(['altered']);
  });

  const drawnBy = async (drawing: number, of = evidence): Promise<Buffer> => pageOf({ ...of, head: { ...of.head, drawing } });
  const redrawn = async (bytes: Buffer, { extent, missing }: Report): Promise<Buffer> =>
    Buffer.from((await gathered(redraw(pieces(bytes, 100), { extent: extent as SessionExtent, missing }))).join(''));

  test('of another drawing is verified by what is in it, which is drawn again', async () => {
    for (const drawing of [1, DRAWING + 1, 99]) {
      const html = await drawnBy(drawing);
      // What it shows is another version's: whatever that is.
      const other = Buffer.from(
        html.toString().replace('DELETE /&lt;script', 'GET /&lt;script').replace('<h1>Session', '<h1>The session of'),
      );
      for (const piece of [1, 100, 1 << 20]) {
        const report = await verified(other, { keys }, piece);
        expect(report).toMatchObject({ verified: true, extent: { events: 5 }, checked: { leaves: 5 }, page: { drawing, compared: false } });
        expect(inWords(report)).toContain(`its READABLE PART WAS NOT COMPARED with the evidence: drawing ${drawing}`);
        expect(inWords(report)).toMatch(/^EVIDENCE VERIFIED, ITS READABLE PART WAS NOT COMPARED: evidence of session/);
        expect(report.remarks.some((remark) => remark.includes('use a newer version'))).toBe(drawing > DRAWING);
      }
      const again = await redrawn(other, await verified(other));
      expect(again.equals(page)).toBe(true);
      expect(await verified(again)).toMatchObject({ verified: true, page: { drawing: DRAWING, compared: true } });
    }
    expect(inWords(await verified(page))).toContain('page        shows what its evidence says, and nothing else');
  });

  test('of another drawing fails all the same when its evidence was changed, cut off, or is of more than the session', async () => {
    const html = (await drawnBy(99)).toString();
    const marks = [...html.matchAll(/<script type="application\/json">(.*)<\/script>\n/g)];
    expect(marks).toHaveLength(5);
    for (const { 0: line, 1: json = '', index } of marks) {
      const flipped = json.replace(/"leaf":"(.)/, (_, first) => `"leaf":"${first === 'A' ? 'B' : 'A'}`);
      expect((await verified(Buffer.from(html.replace(json, flipped)))).verified).toBe(false);
      expect(await codes(Buffer.from(html.replace(line, '')))).not.toEqual([]);
      expect(await codes(Buffer.from(html.slice(0, index + 60)))).not.toEqual([]);
      expect(await codes(Buffer.from(html.replace(line, line + line)))).toContain('chain');
    }
    const [first, last] = [marks[0]?.[0] as string, marks[4]?.[0] as string];
    expect(await codes(Buffer.from(html.replace(first, '').replace(last, first + last)))).toContain('chain');
    const { verified: ok, page: shown } = await verified(Buffer.from(html.replace('"events":5', '"events":4')));
    expect([ok, shown]).toEqual([false, { drawing: 99, compared: false }]);
  });

  test('of this drawing cannot be passed off as one of another, but that is said; a number that is none is none', async () => {
    const forged = Buffer.from(page.toString().replace(`"drawing":${DRAWING}`, '"drawing":77').replace('approved by', 'asked for by'));
    const report = await verified(forged);
    expect(report).toMatchObject({ verified: true, page: { drawing: 77, compared: false } });
    expect((await redrawn(forged, report)).equals(page)).toBe(true);
    for (const drawing of ['1', '0.5', '-1', '"2"', '02'])
      expect(await codes(Buffer.from(page.toString().replace(`"drawing":${DRAWING}`, `"drawing":${drawing}`)))).toEqual(['malformed']);
  });

  test('of before ends counted events is held against what it says of its end', async () => {
    const of = new LogFixture(log.key).add(SESSION, opened).end(SESSION).add(SESSION, judged('deny'));
    const all = await collect(of.publish());
    const extent = { events: 3, end: { leaf: 1, outcome: 'complete', after: 1 } };
    const old = await pageOf({ ...all, head: { ...all.head, drawing: 1, extent } });
    expect(await verified(old)).toMatchObject({ verified: true, extent: { end: { late: 1 } } });
    for (const end of [
      { ...extent.end, after: 0 },
      { ...extent.end, leaf: 2 },
      { ...extent.end, outcome: 'denied' },
    ])
      expect(await codes(await pageOf({ ...all, head: { ...all.head, drawing: 1, extent: { events: 3, end } } }))).toEqual(['altered']);
  });

  test('with an event left out, or of another session, fails although the page is written anew', async () => {
    const without = (i: number, extent = evidence.head.extent): Promise<Buffer> =>
      pageOf({ head: { ...evidence.head, extent }, leaves: evidence.leaves.toSpliced(i, 1) });
    for (let i = 0; i < 4; i += 1) expect(await codes(await without(i))).toContain('chain');
    // Nothing shows the last one, and the report says just that.
    expect(await codes(await without(4))).toEqual(['altered']);
    const open = await without(4, { events: 4 });
    expect(await verified(open)).toMatchObject({ verified: true, extent: { events: 4 } });
    expect(inWords(await verified(open))).toContain('no end yet; whether the log has more of it, proofs of single leaves');
    expect(open.toString()).toContain('Open: 4 events from its opening on');
    expect(await codes(await pageOf({ ...evidence, head: { ...evidence.head, session: 'ses_other' } }))).toContain('leaf');
  });

  test('tells of keys that somebody has put on the page, and takes no other text in their place', async () => {
    const showing = (key: string): Promise<Buffer> =>
      pageOf({ ...evidence, head: { ...evidence.head, keys: [...evidence.head.keys, key] } });
    const key = (name: string): string => formatVerifierKey(parseSignerKey(generateSignerKey(name)).verifier);
    const forged = key(evidence.head.origin);
    expect(await verified(await showing(forged))).toMatchObject({ verified: true, remarks: [expect.stringContaining(forged)] });
    expect(await codes(await showing(key('sluice.test/other')))).toEqual(['altered']);
    expect(await verified(await showing('all of this was approved'))).toMatchObject({ verified: false, faults: [{ code: 'malformed' }] });
  });

  test.each(['[],', '{},', '0,', '[', 'x'])('of nothing but %s is not looked at for long', async (each) => {
    const [, before = ''] = /^([\s\S]*?id="evidence">)/.exec(page.toString()) ?? [];
    expect(await codes(Buffer.from(`${before}{"keys":[${each.repeat(300_000)}</script>\n`))).toEqual(['malformed']);
    expect(await codes(Buffer.from(`${before}{"keys":[${each.repeat(60_000)}</script>\n`))).toEqual(['malformed']);
    expect(await codes(Buffer.from(each.repeat(1000)))).toEqual(['malformed']);
  });

  test('of no session is none', async () => {
    const notices = new LogFixture(log.key)
      .add('', { kind: 'notice', notice: 'a', text: '' })
      .add('', { kind: 'notice', notice: 'b', text: '' });
    const [leaf] = await gathered(proveLeaves(new LogReader(notices.publish()), [1], 2));
    const head = { ...evidence.head, session: '', checkpoint: notices.checkpoint(), extent: { events: 1 } };
    expect((await verified(await pageOf({ head, leaves: [leaf as ProvenLeaf] }))).faults).toMatchObject([{ code: 'not-found' }]);
    const none = { ...evidence.head, extent: { events: 0 } };
    expect((await verified(await pageOf({ head: none, leaves: [] }))).faults).toMatchObject([{ code: 'not-found' }]);
  });

  test('is none of a log that says leaves were pruned which no leaf tells of: what was left out would not show', async () => {
    const objects = log.publish();
    const { salt, event } = log.records[600] as (typeof log.records)[number];
    objects.objects.set('pruned', formatPruned({ minimum: 512, leaf: 600, salt, event }));
    await expect(collect(objects)).rejects.toThrow('leaf 600 is no notice of the gateway itself');
  });

  test('is none for a session that is not there', async () => {
    await expect(collect(log.publish(), { session: 'ses_none' })).rejects.toThrow('there is no session ses_none');
  });

  test('has proofs that other tools take', () => {
    const checkpoint = readCheckpoint(evidence.head.checkpoint);
    expect(evidence.leaves).toHaveLength(5);
    for (const leaf of evidence.leaves) {
      const files = new Map(proofFiles(evidence.head, leaf));
      const { index, proof } = parseProof(Buffer.from(files.get(`${leaf.index}.tlog-proof`) as Buffer).toString());
      checkInclusion(leafHash(files.get(`${index}.leaf`) as Buffer), index, checkpoint, proof);
    }
  });

  const deleted = (detailClass: DetailClass, from: number, to: number): TapBody => ({
    kind: 'notice',
    notice: DELETED_NOTICE,
    text: goingText({ detailClass, ageMs: 86_400_000, leaves: [{ from, to }] }),
  });
  const [paid] = evidence.leaves.filter(({ entry }) => decodeLeaf(entry).kind === 17).map(({ index }) => index) as [number];
  /** The log goes on with these, and its payloads of the session's bundle are gone. */
  const gone = (...further: TapBody[]): MemoryObjects => {
    const of = new LogFixture(log.key);
    of.records.push(...log.records);
    for (const [i, body] of further.entries())
      of.fill(800 + 256 * i)
        .skip(100_000)
        .add('', body);
    const objects = of.publish();
    objects.objects.delete('details/payloads/001');
    return objects;
  };

  test('is incomplete when nothing tells why an event is not there, and says so', async () => {
    const later = await pageOf(await collect(gone()));
    expect(later.toString()).toContain('payload_chunk: not in the record any more; its leaf remains');
    expect(later.toString()).toContain(
      `Not on this page, their leaves remaining: 1 event, and nothing records why, the first of leaf ${paid}.`,
    );
    expect(await verified(later)).toMatchObject({
      verified: true,
      complete: false,
      checked: { leaves: 5, events: 4 },
      missing: { unexplained: 1, firstUnexplained: paid },
    });
  });

  test('shows what was deleted after its retention by the leaf that records that, proven as the others are', async () => {
    const later = await collect(gone(deleted('payloads', 256, 512)));
    const html = await pageOf(later);
    expect(later.leaves).toHaveLength(6);
    expect(html.toString()).toContain(
      '1 event, deleted when their retention was over, as recorded in leaf 800: 1 of payloads older than 1d.',
    );
    const report = await verified(html);
    expect(report).toMatchObject({ verified: true, complete: true, extent: { events: 5 }, missing: { deleted: 1, recordedBy: [800] } });
    // Without that leaf it would have to say otherwise.
    const cut = { ...later, leaves: later.leaves.slice(0, 5) };
    expect(await codes(await pageOf(cut))).toEqual(['altered']);
    const { missing: _, ...silent } = later.head;
    expect(await codes(await pageOf({ ...later, head: silent }))).toEqual(['altered']);
  });

  test('brings along the notice that it went by, when another one told of it while a legal hold kept it', async () => {
    const own = ['demo', { own: true }] as const;
    const hold = (name: string): TapBody => ({ kind: 'notice', notice: `legal-hold-${name}`, text: 'a dispute (ada)' });
    const objects = new LogFixture(log.key)
      .fill(800)
      .add('ses_64', hold('added'), ...own)
      .add('', deleted('payloads', 0, 512))
      .add('ses_64', hold('released'), ...own)
      .add('', deleted('payloads', 256, 512))
      .publish();
    objects.objects.delete('details/payloads/001');
    const found = await collect(objects, { session: 'ses_64' });
    expect(found.head.missing).toMatchObject({ deleted: 1, recordedBy: [803] });
    expect(await verified(await pageOf(found))).toMatchObject({ verified: true, complete: true, faults: [], remarks: [] });
  });

  test('of a version that told no ages of deletions is held against what it says', async () => {
    const { head, leaves } = await collect(gone(deleted('payloads', 256, 512)));
    const { deletedBy: _, ...missing } = head.missing as NonNullable<typeof head.missing>;
    const old = { head: { ...head, drawing: 3, missing }, leaves };
    expect(await verified(await pageOf(old))).toMatchObject({ verified: true, complete: true, page: { drawing: 3, compared: false } });
    expect(await codes(await pageOf({ ...old, head: { ...old.head, missing: { ...missing, deleted: 2 } } }))).toEqual(['altered']);
    // One that could tell them does not leave them out, or change them.
    expect(await codes(await pageOf({ ...old, head: { ...head, missing } }))).toEqual(['altered']);
    const other = [{ class: 'payloads', age: '30d', events: 1 }];
    expect(await codes(await pageOf({ ...old, head: { ...head, missing: { ...missing, deletedBy: other } } }))).toEqual(['altered']);
  });

  const traced: TapBody = {
    kind: 'envoy_tap',
    ...{ tap: 't', node: 'n', trace: '1', form: 'http', piece: '', method: 'GET', authority: 'a', path: '/', status: 200 },
    ...{ requestHeaders: [], responseHeaders: [], requestBytes: 0, responseBytes: 0, truncated: false, startUnixNanos: 1n },
    ...{ localAddress: '', remoteAddress: '', session: '' },
  };

  test("takes of the gateway's own events what tells of deletions, and nothing else", async () => {
    const of = new LogFixture(log.key)
      .add(SESSION, opened)
      .end(SESSION)
      .add('', traced)
      .add('', { kind: 'notice', notice: 'note', text: '' });
    const all = await collect(of.publish());
    for (const [index, expected] of [
      [2, ['leaf', 'altered']],
      [3, []],
    ] as const) {
      const [own] = await gathered(proveLeaves(new LogReader(of.publish()), [index], 4));
      expect(await codes(await pageOf({ ...all, leaves: [...all.leaves, own as ProvenLeaf] }))).toEqual(expected);
    }
  });

  test('is incomplete where the notice that may have told has gone, and shows its leaf, and the one that records that', async () => {
    const objects = gone(deleted('payloads', 256, 512), deleted('events', 768, 1_024));
    objects.objects.delete('details/events/003');
    const later = await collect(objects);
    const html = await pageOf(later);
    expect(html.toString()).toContain('notice: not in the record any more; its leaf remains');
    expect(await verified(html)).toMatchObject({
      verified: true,
      complete: false,
      missing: { deleted: 0, noticesGone: 1, unexplained: 1, recordedBy: [800, 1_056] },
    });
  });

  test('of another drawing, from before it told what is missing, is incomplete by what is in it', async () => {
    const { missing: _, ...head } = (await collect(gone())).head;
    const old = await pageOf({ head: { ...head, drawing: 1 }, leaves: (await collect(gone())).leaves });
    const report = await verified(old);
    expect(report).toMatchObject({ verified: true, complete: false, missing: { unexplained: 1 } });
    expect(await verified(await redrawn(old, report))).toMatchObject({ verified: true, complete: false, page: { compared: true } });
  });

  test('may be written without recorded payload, and says so', async () => {
    const without = await collect(log.publish(), { payloads: false });
    const html = await pageOf(without);
    expect(html.toString()).not.toContain(Buffer.from('{"ssn":"***"}').toString('base64').slice(0, 12));
    expect(html.toString()).toContain('payload_chunk: left out of this page, or deleted before');
    expect(html.toString()).toContain('Not on this page, their leaves remaining: 1 event of payload, withheld.');
    expect(await verified(html)).toMatchObject({
      verified: true,
      complete: true,
      checked: { leaves: 5, events: 4 },
      missing: { withheld: 1 },
    });
    const said = await pageOf({ ...evidence, head: { ...evidence.head, payloads: false } });
    expect(await codes(said)).toEqual(['altered']);
    // Payload alone can be left out like this.
    const objects = log.publish();
    objects.objects.delete('details/events/001');
    const both = await verified(await pageOf(await collect(objects, { payloads: false })));
    expect(both).toMatchObject({ verified: true, complete: false, missing: { withheld: 1, unexplained: 4 } });
  });
});

describe('rows of PostgreSQL on the page', () => {
  const mark = Buffer.concat([Buffer.from('m\0\0\0\0\0\x01\0\x01', 'latin1'), Buffer.from('customers.<i>ssn\0')]);
  mark.writeUInt32BE(mark.length - 1, 1);
  const result = (rows: number): Buffer =>
    Buffer.concat([
      back.columns({ name: 'id' }, { name: '<b>ssn' }, { name: 'note' }),
      mark,
      ...Array.from({ length: rows }, (_, i) =>
        back.row(String(i), '***', i === 0 ? null : `a\n<img src=x onerror=alert(1)> ${'y'.repeat(i)}`),
      ),
    ]);
  const shown = async (...chunks: TapBody[]): Promise<string> => {
    const of = new LogFixture(log.key).add(SESSION, opened);
    for (const chunk of chunks) of.add(SESSION, chunk);
    const html = await pageOf(await collect(of.add(SESSION, closed()).publish()));
    expect(await verified(html)).toMatchObject({ verified: true });
    return html.toString();
  };
  const rows = (data: Buffer, more: object = {}): TapBody => payload(data, { contentType: 'application/vnd.sluice.postgres', ...more });

  test('are a table, escaped, with masked columns marked and NULL told from a text', async () => {
    const html = await shown(rows(result(2)));
    expect(html).toContain(
      '<th>id</th><th class="masked">&lt;b&gt;ssn<br>masked: customers.&lt;i&gt;ssn</th><th>note</th></tr></thead><tbody>' +
        '<tr><td>0</td><td class="masked">***</td><td class="null">NULL</td></tr>' +
        '<tr><td>1</td><td class="masked">***</td><td>a\n&lt;img src=x onerror=alert(1)&gt; y</td></tr></tbody>',
    );
  });

  test('go on in the next chunk, wherever one ends', async () => {
    const all = result(3);
    for (let at = 1; at < all.length; at += 5) {
      const html = await shown(rows(all.subarray(0, at), { last: false }), rows(all.subarray(at), { offset: at }));
      expect(html.match(/<td class="masked">/g)).toHaveLength(3);
    }
  });

  test('beyond what a browser draws at its ease are in the file, and not drawn', async () => {
    const all = result(600);
    const html = await shown(
      rows(all.subarray(0, 60_000), { last: false }),
      rows(all.subarray(60_000, 100_000), { offset: 60_000, truncated: true, last: false, reason: 'the limit' }),
      payload('{"a":1}'),
    );
    expect(html.match(/<tr><td>\d+<\/td>/g)?.length).toBeLessThan(380);
    expect(html.match(/the rest of it is not shown here/g)).toHaveLength(1);
    expect(html).toContain('{&quot;a&quot;:1}');
    const wide = await shown(rows(Buffer.concat([back.columns({ name: 'x' }), back.row('w'.repeat(30_000))])));
    expect(wide).toContain(`<td>${'w'.repeat(999)}…</td>`);
  });
});
