/** Collects the evidence of a session out of a published log. */

import { type DetailClass, decodeLeaf, PAYLOAD_CLASSES } from '../log/leaf.ts';
import { LogReader, type PublishedCheckpoint } from '../log/reader.ts';
import { WITNESSED_PATH } from '../log/replicator.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { decodeEvent, pruningIn } from '../tap/event.ts';
import { BODIES } from '../tap/schema.ts';
import { TlogError } from '../tlog/error.ts';
import { parseVerifierKey } from '../tlog/note.ts';
import { checkConsistency, formatProof } from '../tlog/proof.ts';
import { Missing, readNotices } from '../verify/missing.ts';
import { Faults, isSome } from '../verify/report.ts';
import { findSession, type ProvenLeaf, proveLeaves, SessionCheck } from '../verify/session.ts';
import { openSigned } from '../verify/trust.ts';
import { EvidenceError, FORMAT, formatHead, formatLeaf, type Head } from './bundle.ts';
import { keptDetails } from './kept_details.ts';
import { BEGINNING, closing, DRAWING, END_MARK, HEAD_MARK, LEAF_MARK, opening, Rows } from './page.ts';

export interface Evidence {
  readonly head: Head;
  /** Each event of the session, once; to be read to the end. Rejects as the log's reader does. */
  leaves(): AsyncGenerator<ProvenLeaf, void>;
  /** Whether it is proven against the checkpoint that was published as witnessed: it is the one, when it has all of the session. Otherwise the newest. */
  readonly witnessed: boolean;
}

export interface Collecting {
  readonly objects: ObjectStore;
  readonly session: string;
  /** The log's public keys, as text. */
  readonly keys: readonly string[];
  /** Whether recorded payload comes along. */
  readonly payloads: boolean;
  /** How much of its details is kept in memory so as to be read once. Bytes, default 64 MiB. */
  readonly keepBytes?: number;
}

const KEEP_BYTES = 64 << 20;

/** Rejects with an `EvidenceError` when there is no such session, or a log that is none, and as the log's reader does. */
export const collectEvidence = async ({ objects, session, keys, payloads, keepBytes = KEEP_BYTES }: Collecting): Promise<Evidence> => {
  const reader = new LogReader(keptDetails(objects, keepBytes), {
    open: (note) => openSigned(note, { keys: keys.map(parseVerifierKey) }),
    told: pruningIn,
  });
  // In this order: a log that goes on meanwhile has no newer one than its newest.
  const cosigned = await reader.checkpoint(WITNESSED_PATH);
  const newest = await reader.checkpoint();
  if (newest === undefined) throw new EvidenceError('nothing of the log is published yet');
  const pruned = await reader.minimum();
  const { indices, root } = await findSession(reader, session, { size: newest.size, minimum: pruned });
  if (!root.equals(newest.root))
    throw new EvidenceError('the leaves of the log do not give the root of its checkpoint: see `sluice verify`');
  const last = indices.at(-1);
  if (last === undefined)
    throw new EvidenceError(
      `there is no session ${session} in the published log${pruned > 0 ? `, which was pruned: leaves below ${pruned} are not there any more` : ''}`,
    );
  const without: readonly DetailClass[] = payloads ? [] : PAYLOAD_CLASSES;
  const found = new SessionCheck(new Faults());
  const missing = new Missing(without);
  for await (const leaf of proveLeaves(reader, indices, newest.size, { without })) {
    const event = unverified(leaf);
    found.add(event);
    if (leaf.detail === undefined) missing.add(leaf.index, event.leaf);
    // Of the notices that tell of what went, that one comes along which none of its legal holds contradicts.
    else missing.deletions.add(leaf.index, event.leaf, event.event);
  }
  // What records that they were deleted comes along.
  if (missing.first !== undefined) await readNotices(reader, { from: missing.first, to: newest.size }, newest, missing, new Faults());
  const notThere = missing.events;
  const shown = [...indices, ...notThere.recordedBy].sort((a, b) => a - b);
  const witnessed = cosigned !== undefined && (shown.at(-1) ?? last) < cosigned.size;
  const { note: checkpoint, origin, size } = witnessed ? await before(reader, cosigned, newest) : newest;
  return {
    head: {
      format: FORMAT,
      drawing: DRAWING,
      session,
      origin,
      keys,
      checkpoint,
      extent: found.extent,
      payloads,
      ...(isSome(notThere) && { missing: notThere }),
    },
    leaves: () => proveLeaves(reader, shown, size, { without, published: newest.size }),
    witnessed,
  };
};

/** What witnesses have cosigned, when the newest checkpoint goes on from it. */
const before = async (reader: LogReader, cosigned: PublishedCheckpoint, newest: PublishedCheckpoint): Promise<PublishedCheckpoint> => {
  try {
    if (cosigned.origin !== newest.origin) throw new TlogError('unproven', `it is of ${cosigned.origin}`);
    checkConsistency(cosigned, newest, cosigned.size > newest.size ? [] : await reader.proveConsistency(cosigned.size, newest.size));
    return cosigned;
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    throw new EvidenceError(`the newest checkpoint does not go on from the one that witnesses cosigned: ${error.message}`);
  }
};

const READ: ReadonlySet<number> = new Set([BODIES.session_closed.number, BODIES.notice.number]);

const unverified = ({ index, entry, detail }: ProvenLeaf) => {
  const leaf = decodeLeaf(entry);
  const event = READ.has(leaf.kind) && detail !== undefined ? decodeEvent(detail.event) : undefined;
  return { index, leaf, event };
};

/** The page, piece by piece. `onLeaf`: told of each event before it is written. */
export async function* writePage(
  { head, leaves }: { readonly head: Head; leaves(): Iterable<ProvenLeaf> | AsyncIterable<ProvenLeaf> },
  onLeaf: (leaf: ProvenLeaf) => void = () => {},
): AsyncGenerator<string, void> {
  yield `${BEGINNING}${HEAD_MARK}${formatHead(head)}${END_MARK}${opening(head)}`;
  const rows = new Rows(head);
  for await (const leaf of leaves()) {
    onLeaf(leaf);
    yield `${LEAF_MARK}${formatLeaf(leaf)}${END_MARK}${rows.next(leaf)}`;
  }
  yield closing(head);
}

/** For tools that others wrote: an entry of the tree, and its proof as c2sp.org/tlog-proof@v1. By file name. */
export const proofFiles = ({ checkpoint }: Head, { index, entry, proof }: ProvenLeaf): readonly (readonly [string, Uint8Array])[] => [
  [`${index}.leaf`, entry],
  [`${index}.tlog-proof`, Buffer.from(formatProof({ index, proof, checkpoint }))],
];
