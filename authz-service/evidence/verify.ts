/** Verifies an evidence bundle, with nothing but the bundle and the verifier's keys. */
import type { TlogError } from '../tlog/error.ts';
import { formatVerifierKey, parseVerifierKey } from '../tlog/note.ts';
import { conclude, keptCheckpoint } from '../verify/head.ts';
import { Faults, type Report, type SessionExtent } from '../verify/report.ts';
import { checkLeaves, checkSession, notThere } from '../verify/session.ts';
import { openSigned, type Seen, type Trust } from '../verify/trust.ts';
import { type Evidence, EvidenceError, MAX_BUNDLE_BYTES } from './bundle.ts';
import { readPage } from './page.ts';

/**
 * Whatever the bytes are, it is a report.
 * @param trust without keys, those in the bundle are used, and the report says so; a kept checkpoint cannot be held against a bundle unless it is of the same size
 */
export const verifyBundle = (bytes: Uint8Array, trust: Trust): Report => {
  const started = performance.now();
  const faults = new Faults();
  const remarks: string[] = [];
  let seen: Seen | undefined;
  let kept: Seen | undefined;
  let session = '';
  let extent: SessionExtent | undefined;
  let [all, known] = [0, 0];
  let own = trust.keysAreTheLogsOwn === true;
  try {
    if (bytes.length > MAX_BUNDLE_BYTES) throw new EvidenceError(`the file has ${bytes.length} bytes`);
    const html = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
    if (!Buffer.from(html).equals(bytes)) throw new EvidenceError('the file is not UTF-8');
    const { evidence, leaves, faithful } = readPage(html);
    session = evidence.session;
    if (!faithful) faults.add('altered', 'the page does not show what its evidence says, or another version of Sluice wrote it');
    own = trust.keys.length === 0;
    const used = { ...trust, keys: own ? evidence.keys.map(parseVerifierKey) : trust.keys };
    checkKeys(evidence, used, own, faults, remarks);
    seen = openSigned(evidence.checkpoint, used);
    if (seen.origin !== evidence.origin) faults.add('altered', `the evidence says ${evidence.origin}, and the checkpoint ${seen.origin}`);
    kept = sameSize(keptCheckpoint(used, faults), seen, faults, remarks);
    if (leaves.length === 0 || session === '') faults.add('not-found', 'the bundle has no events of a session');
    const events = checkLeaves(leaves, seen, faults);
    if (events.length > 0) extent = checkSession(events, faults);
    for (const { index, leaf } of events)
      if (leaf.session !== session) faults.add('leaf', `leaf ${index} is of another session: ${leaf.session}`);
    all = events.length;
    known = events.filter(({ event }) => event !== undefined).length;
    notThere(leaves, 'in the bundle', remarks);
  } catch (error) {
    faults.add((error as TlogError).code === 'signature' ? 'signature' : 'malformed', (error as Error).message);
  }
  return conclude({
    what: `evidence of session ${session || '?'}`,
    started,
    faults,
    remarks,
    seen,
    kept,
    trust: { ...trust, keysAreTheLogsOwn: own },
    checked: { leaves: all, events: known, deletedEvents: all - known },
    extent,
  });
};

/** The page shows the keys, and no proof covers them: whoever rewrites the page can put others there. */
const checkKeys = ({ keys, origin }: Evidence, used: Trust, own: boolean, faults: Faults, remarks: string[]): void => {
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
