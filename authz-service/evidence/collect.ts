/** Collects the evidence of a session out of a published log. */
import { LogReader } from '../log/reader.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { formatProof } from '../tlog/proof.ts';
import { findSession, proveLeaves } from '../verify/session.ts';
import { type Evidence, EvidenceError, evidenceOf } from './bundle.ts';
import { pageOf } from './page.ts';

export interface Collected {
  readonly evidence: Evidence;
  readonly page: string;
  /** For tools that others wrote: each entry of the tree, and its proof as c2sp.org/tlog-proof@v1. By file name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/**
 * @param keys the log's public keys, as text
 * Rejects with an `EvidenceError` when there is no such session, and as the log's reader does.
 */
export const collectEvidence = async (objects: ObjectStore, session: string, keys: readonly string[]): Promise<Collected> => {
  const reader = new LogReader(objects);
  const newest = await reader.checkpoint();
  if (newest === undefined) throw new EvidenceError('nothing of the log is published yet');
  const { indices, root } = await findSession(reader, session, newest.size);
  if (!root.equals(newest.root))
    throw new EvidenceError('the leaves of the log do not give the root of its checkpoint: see `sluice verify`');
  if (indices.length === 0) throw new EvidenceError(`there is no session ${session} in the published log`);
  const leaves = await proveLeaves(reader, indices, newest.size);
  const evidence = evidenceOf({ session, origin: newest.origin, keys, checkpoint: newest.note }, leaves);
  const files = new Map<string, Uint8Array>([['checkpoint', Buffer.from(newest.note)]]);
  for (const { index, entry, proof } of leaves) {
    files.set(`${index}.leaf`, entry);
    files.set(`${index}.tlog-proof`, Buffer.from(formatProof({ index, proof, checkpoint: newest.note })));
  }
  return { evidence, page: pageOf(evidence, leaves), files };
};
