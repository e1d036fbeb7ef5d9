/** Verifies an evidence bundle, with nothing but the bundle and the verifier's keys. */
import { classOf, isOwnNotice, PAYLOAD_CLASSES } from '../log/leaf.ts';
import type { TlogError } from '../tlog/error.ts';
import { formatVerifierKey, parseVerifierKey } from '../tlog/note.ts';
import { conclude, keptCheckpoint } from '../verify/head.ts';
import { Missing } from '../verify/missing.ts';
import { extentInWords, Faults, type MissingEvents, missingInWords, type Report, type SessionExtent } from '../verify/report.ts';
import { LeafCheck, SessionCheck, type VerifiedEvent } from '../verify/session.ts';
import { openSigned, type Seen, type Trust } from '../verify/trust.ts';
import { EvidenceError, type Head, parseHead, parseLeaf } from './bundle.ts';
import { BEGINNING, closing, DRAWING, END_MARK, HEAD_MARK, LEAF_MARK, opening, Rows } from './page.ts';
import { PageReader } from './page_reader.ts';

/**
 * Whatever the bytes are, it is a report; rejects only as `bytes` does. In memory for one event.
 * @param trust without keys, those in the bundle are used, and the report says so; a kept checkpoint cannot be held against a bundle unless it is of the same size
 */
export const verifyBundle = async (bytes: AsyncIterable<Uint8Array>, trust: Trust): Promise<Report> => {
  const started = performance.now();
  const faults = new Faults();
  const remarks: string[] = [];
  const page = new PageReader(bytes);
  let seen: Seen | undefined;
  let kept: Seen | undefined;
  let session = '';
  let checked: Report['checked'] = { leaves: 0, events: 0 };
  let missing = new Missing();
  let extent: SessionExtent | undefined;
  let drawing = DRAWING;
  let own = trust.keysAreTheLogsOwn === true;
  try {
    if (!(await page.takes(BEGINNING + HEAD_MARK))) throw new EvidenceError('the file is no evidence bundle');
    const head = parseHead(await page.upTo(END_MARK));
    ({ session, drawing } = head);
    own = trust.keys.length === 0;
    const used = { ...trust, keys: own ? head.keys.map(parseVerifierKey) : trust.keys };
    checkKeys(head, used, own, faults, remarks);
    seen = openSigned(head.checkpoint, used);
    if (seen.origin !== head.origin) faults.add('altered', `the evidence says ${head.origin}, and the checkpoint ${seen.origin}`);
    kept = sameSize(keptCheckpoint(used, faults), seen, faults, remarks);
    missing = new Missing(head.payloads ? [] : PAYLOAD_CLASSES);
    const events = new LeafCheck(seen, missing, faults, session);
    extent = await checkPage(page, head, events, faults);
    ({ checked } = events);
    missing.tell(faults, remarks);
    if (extent !== undefined) checkMissing(head, missing.events, faults);
  } catch (error) {
    if (page.failure !== undefined) throw page.failure;
    faults.add((error as TlogError).code === 'signature' ? 'signature' : 'malformed', (error as Error).message);
  } finally {
    await page.close();
  }
  if (drawing > DRAWING)
    remarks.push(
      `drawing ${drawing} is newer than this version's, ${DRAWING}: use a newer version of sluice, should there be one that draws it`,
    );
  const what = `evidence of session ${session || '?'}`;
  return conclude({
    what,
    started,
    faults,
    remarks,
    heads: { seen, kept, witnessed: seen },
    trust: { ...trust, keysAreTheLogsOwn: own },
    checked,
    missing: missing.events,
    extent,
    ...((drawing !== DRAWING || faults.none) && { page: { drawing, compared: drawing === DRAWING } }),
  });
};

/** Everything behind the head: each event, and, where this version has drawn it, that the page shows what all of this says, and nothing else. */
const checkPage = async (page: PageReader, head: Head, events: LeafCheck, faults: Faults): Promise<SessionExtent | undefined> => {
  const followed = new SessionCheck(faults);
  const rows = new Rows(head);
  const drawn = head.drawing === DRAWING;
  const shows = async (what: () => string, where: string): Promise<boolean> => {
    if (!drawn) return true;
    let expected: string | undefined;
    try {
      expected = what();
    } catch {
      // What cannot be read cannot have given this page: the leaf tells what is wrong with it.
    }
    if (expected !== undefined && (await page.takes(expected))) return true;
    faults.add('altered', `${where} the page does not show what its evidence says`);
    return false;
  };
  if (!(await shows(() => opening(head), 'at its beginning'))) return undefined;
  while (drawn ? await page.takes(LEAF_MARK) : await page.skipPast(LEAF_MARK)) {
    const leaf = parseLeaf(await page.upTo(END_MARK));
    const event = events.add(leaf);
    if (event !== undefined) {
      if (!isOwnNotice(event.leaf)) followed.add(event);
      checkBelongs(event, leaf.detail !== undefined, head, faults);
    }
    if (!(await shows(() => rows.next(leaf), `at leaf ${leaf.index}`))) return undefined;
  }
  if (!(await shows(() => closing(head), 'at its end'))) return undefined;
  if (!(await page.atEnd())) faults.add('altered', 'something stands behind the page');
  const { extent } = followed;
  if (extent.events === 0 || head.session === '') {
    faults.add('not-found', 'the bundle has no events of a session');
    return undefined;
  }
  const [said, found] = [head.extent, drawn ? extent : asFarAsSaid(head.extent, extent)].map(extentInWords);
  if (said !== found) faults.add('altered', `the page says "${said}", and its events "${found}"`);
  return extent;
};

/** Earlier versions said nothing of it. */
const checkMissing = ({ missing: said = NOTHING_MISSING, drawing }: Head, found: MissingEvents, faults: Faults): void => {
  const { deletedBy: _, ...unaged } = found;
  const [one, other] = [said, drawing < AGES_TOLD ? unaged : found].map(missingInWords);
  if (one !== other && (drawing === DRAWING || said !== NOTHING_MISSING))
    faults.add('altered', `the page says of events that are not on it "${one}", and what it has shows "${other}"`);
};

/** From this drawing on pages say which class of events was deleted, and by which age. */
const AGES_TOLD = 4;

const NOTHING_MISSING = new Missing().events;

/** Another version may have said less of the end. */
const asFarAsSaid = ({ end: said }: SessionExtent, { events, end }: SessionExtent): SessionExtent => {
  if (said?.of !== undefined || end === undefined) return { events, ...(end !== undefined && { end }) };
  const { leaf, outcome, after } = end;
  return { events, end: { leaf, outcome, after } };
};

const checkBelongs = ({ index, leaf }: VerifiedEvent, shown: boolean, head: Head, faults: Faults): void => {
  if (leaf.session !== head.session && !isOwnNotice(leaf)) faults.add('leaf', `leaf ${index} is of another session: ${leaf.session}`);
  if (shown && !head.payloads && classOf(leaf.kind) !== 'events')
    faults.add('altered', `the page says that payload was left out, and has that of leaf ${index}`);
};

/** The page shows the keys, and no proof covers them: whoever rewrites the page can put others there. */
const checkKeys = ({ keys, origin }: Head, used: Trust, own: boolean, faults: Faults, remarks: string[]): void => {
  for (const key of keys)
    if (parseVerifierKey(key).name !== origin) faults.add('altered', `a key on the page is not of the log ${origin}: ${key}`);
  if (own) {
    remarks.push("the key is the bundle's own, and whoever wrote the bundle may have made it: compare it with the log's, and say --key");
    return;
  }
  const named = new Set(used.keys.map(formatVerifierKey));
  for (const key of keys.filter((each) => !named.has(each)))
    remarks.push(`the page shows a key that you did not name, and nothing proves that it is the log's: ${key}`);
};

/** A bundle has no proof between two trees: a kept checkpoint says something about one of its own size only. */
const sameSize = (kept: Seen | undefined, seen: Seen, faults: Faults, remarks: string[]): Seen | undefined => {
  if (kept === undefined) return undefined;
  if (kept.size !== seen.size) {
    remarks.push(
      `the kept checkpoint is of ${kept.size} leaves and this one of ${seen.size}: only the whole log can show that one goes on from the other`,
    );
    return undefined;
  }
  if (!kept.root.equals(seen.root)) faults.add('forked', `two trees of ${seen.size} leaves with different roots`);
  return kept;
};
