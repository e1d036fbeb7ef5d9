import { describe, expect, test } from 'vitest';
import { LogReader } from '../log/reader.ts';
import { readCheckpoint } from '../tlog/checkpoint.ts';
import { leafHash } from '../tlog/hash.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { checkInclusion, parseProof } from '../tlog/proof.ts';
import { judged, LogFixture, opened } from '../verify/log.fixture.ts';
import { inWords } from '../verify/report.ts';
import { type ProvenLeaf, proveLeaves } from '../verify/session.ts';
import { evidenceOf } from './bundle.ts';
import { collectEvidence } from './collect.ts';
import { readPage } from './page.ts';
import { verifyBundle } from './verify.ts';

const SESSION = 'ses_evil';
const log = new LogFixture()
  .fill(300)
  .add(SESSION, opened)
  .add(SESSION, { ...judged('hold'), request: 'DELETE /<script>alert(1)</script>' } as never)
  .add('ses_other', opened)
  .add(SESSION, { kind: 'hold_answered', approval: 'apr_1', answer: 'approved', by: 'corp:dana', reason: 'she asked </script> for it' })
  .add(SESSION, {
    kind: 'payload_chunk',
    direction: 'response',
    offset: 0,
    data: Buffer.from('{"ssn":"***"}\n<b>'),
    last: true,
    truncated: false,
    contentType: '',
    contentEncoding: '',
    reason: '',
  })
  .add(SESSION, { kind: 'session_closed', outcome: 'complete' })
  .fill(700);
const keys = [log.key.verifier];
const collected = await collectEvidence(log.publish(), SESSION, [formatVerifierKey(log.key.verifier)]);
const page = Buffer.from(collected.page);

describe('the evidence of a session', () => {
  test('verifies with the log key alone', () => {
    expect(verifyBundle(page, { keys })).toMatchObject({
      verified: true,
      level: 'self-consistent',
      keysAreTheLogsOwn: false,
      extent: { events: 5, end: { outcome: 'complete', after: 0 } },
      checked: { leaves: 5, events: 5, deletedEvents: 0 },
      faults: [],
      remarks: [],
    });
  });

  test('verifies with the key inside, and says so', () => {
    expect(verifyBundle(page, { keys: [] })).toMatchObject({
      verified: true,
      keysAreTheLogsOwn: true,
      remarks: [expect.stringContaining("the key is the bundle's own")],
    });
  });

  test('shows what happened, and nothing in it is markup', () => {
    expect(collected.page).toContain('DELETE /&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(collected.page).toContain('approved by corp:dana');
    expect(collected.page).toContain('{&quot;ssn&quot;:&quot;***&quot;}\n&lt;b&gt;');
    expect(collected.page.match(/<\/?script/g)).toHaveLength(2);
  });

  test('claims no more than it proves: what came after its end may have been left out', async () => {
    const { pageOf } = await import('./page.ts');
    const late = new LogFixture(log.key)
      .add(SESSION, opened)
      .add(SESSION, { kind: 'session_closed', outcome: 'complete' })
      .add(SESSION, judged('deny'));
    const { page: all } = await collectEvidence(late.publish(), SESSION, [formatVerifierKey(log.key.verifier)]);
    const { evidence, leaves } = readPage(all);
    const cut = pageOf({ ...evidence, events: evidence.events.slice(0, 2) }, leaves.slice(0, 2));
    expect(verifyBundle(Buffer.from(all), { keys })).toMatchObject({ verified: true, extent: { events: 3, end: { after: 1 } } });
    const report = verifyBundle(Buffer.from(cut), { keys });
    expect(report).toMatchObject({ verified: true, extent: { events: 2, end: { after: 0 } } });
    expect(report.extent).not.toHaveProperty('searchedTo');
    for (const text of [cut, inWords(report)])
      expect(text).toContain('whether the log has more of it, proofs of single leaves cannot show');
  });

  test('is not made of a log whose leaves do not give its root', async () => {
    const objects = log.publish();
    const last = objects.objects.get('tile/entries/002.p/188') as Buffer;
    last[last.length - 1] = (last.at(-1) as number) ^ 1;
    await expect(collectEvidence(objects, SESSION, [])).rejects.toThrow('do not give the root');
  });

  test('is nothing without its key', () => {
    const other = parseSignerKey(generateSignerKey(log.key.verifier.name)).verifier;
    expect(verifyBundle(page, { keys: [other] })).toMatchObject({ verified: false, faults: [{ code: 'signature' }] });
  });

  test('fails when any byte of the file is changed', () => {
    for (let at = 0; at < page.length; at += 7) {
      const copy = Buffer.from(page);
      copy[at] = (copy[at] as number) ^ 1;
      expect(verifyBundle(copy, { keys }).verified, `byte ${at}: ${page.subarray(at, at + 20)}`).toBe(false);
    }
    for (const cut of [0, 1, page.length >> 1, page.length - 1]) expect(verifyBundle(page.subarray(0, cut), { keys }).verified).toBe(false);
    expect(verifyBundle(Buffer.concat([page, Buffer.from('\n')]), { keys }).verified).toBe(false);
  });

  test('with an event left out, or of another session, fails although the page is written anew', async () => {
    const { pageOf } = await import('./page.ts');
    const { evidence, leaves } = readPage(collected.page);
    const without = (i: number): Buffer =>
      Buffer.from(pageOf({ ...evidence, events: evidence.events.toSpliced(i, 1) }, leaves.toSpliced(i, 1)));
    for (let i = 0; i < 4; i += 1) expect(verifyBundle(without(i), { keys }).faults.map(({ code }) => code)).toContain('chain');
    // Nothing shows the last one, and the report says just that.
    expect(verifyBundle(without(4), { keys })).toMatchObject({ verified: true, extent: { events: 4 } });
    expect(inWords(verifyBundle(without(4), { keys }))).toContain('no end yet; whether the log has more of it, proofs of single leaves');
    expect(without(4).toString()).toContain('Open: 4 events from its opening on');
    const renamed = { ...evidence, session: 'ses_other' };
    expect(verifyBundle(Buffer.from(pageOf(renamed, leaves)), { keys }).faults.map(({ code }) => code)).toContain('leaf');
  });

  test('tells of keys that somebody has put on the page, and takes no other text in their place', async () => {
    const { pageOf } = await import('./page.ts');
    const { evidence, leaves } = readPage(collected.page);
    const showing = (key: string): Buffer => Buffer.from(pageOf({ ...evidence, keys: [...evidence.keys, key] }, leaves));
    const key = (name: string): string => formatVerifierKey(parseSignerKey(generateSignerKey(name)).verifier);
    const forged = key(evidence.origin);
    expect(verifyBundle(showing(forged), { keys })).toMatchObject({ verified: true, remarks: [expect.stringContaining(forged)] });
    expect(verifyBundle(showing(key('sluice.test/other')), { keys }).faults.map(({ code }) => code)).toEqual(['altered']);
    expect(verifyBundle(showing('all of this was approved'), { keys })).toMatchObject({ verified: false, faults: [{ code: 'malformed' }] });
  });

  test.each(['[],', '{},', '0,', '['])('of nothing but %s is not even parsed', (each) => {
    const bundle = `<script type="application/json" id="evidence">{"events":[${each.repeat(1000)}</script>`;
    expect(verifyBundle(Buffer.from(bundle), { keys }).faults).toMatchObject([
      { code: 'malformed', detail: 'the evidence is mostly brackets' },
    ]);
  });

  test('of no session is none', async () => {
    const { pageOf } = await import('./page.ts');
    const notices = new LogFixture(log.key)
      .add('', { kind: 'notice', notice: 'a', text: '' })
      .add('', { kind: 'notice', notice: 'b', text: '' });
    const objects = notices.publish();
    const reader = new LogReader(objects);
    const [leaf] = await proveLeaves(reader, [1], 2);
    const { evidence } = readPage(collected.page);
    const of = evidenceOf({ ...evidence, session: '', checkpoint: notices.checkpoint() }, [leaf as ProvenLeaf]);
    expect(verifyBundle(Buffer.from(pageOf(of, [leaf as ProvenLeaf])), { keys }).faults).toMatchObject([{ code: 'not-found' }]);
  });

  test('is none for a session that is not there', async () => {
    await expect(collectEvidence(log.publish(), 'ses_none', [])).rejects.toThrow('there is no session ses_none');
  });

  test('has proofs that other tools take', () => {
    const checkpoint = readCheckpoint(collected.files.get('checkpoint') as Buffer);
    const proofs = [...collected.files].filter(([name]) => name.endsWith('.tlog-proof'));
    expect(proofs).toHaveLength(5);
    for (const [name, bytes] of proofs) {
      const { index, proof } = parseProof(Buffer.from(bytes).toString());
      checkInclusion(leafHash(collected.files.get(name.replace('.tlog-proof', '.leaf')) as Buffer), index, checkpoint, proof);
    }
  });

  test('remains evidence when what was recorded has been deleted', async () => {
    const objects = log.publish();
    objects.objects.delete('details/payloads/001');
    const { page: later } = await collectEvidence(objects, SESSION, []);
    expect(later).toContain('payload_chunk: deleted after its retention');
    expect(verifyBundle(Buffer.from(later), { keys })).toMatchObject({
      verified: true,
      checked: { leaves: 5, events: 4, deletedEvents: 1 },
      remarks: [
        expect.stringMatching(/^1 of its events, the first of leaf \d+, are not in the bundle: deleted after their retention, or withheld/),
      ],
    });
  });
});
