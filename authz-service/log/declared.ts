/** What a store says was pruned, held against the event of the log that tells of it: whoever could write to the store may have written the rest. */

import type { ObjectStore } from '../storage/object_store.ts';
import type { Checkpoint } from '../tlog/checkpoint.ts';
import { leafHash } from '../tlog/hash.ts';
import { checkInclusion } from '../tlog/proof.ts';
import { LogError } from './error.ts';
import { commitmentOf, decodeLeaf, isOwnNotice } from './leaf.ts';
import { PRUNED_PATH, type Pruned, prunedBelow, readPruned } from './pruned.ts';
import { LogReader } from './reader.ts';

export interface PruningProof {
  /** The checkpoint in a note that the log's key has signed. Throws otherwise. */
  readonly open: (note: Buffer) => Checkpoint;
  /** What an event says when it is the notice of pruning; `undefined` of any other event. */
  readonly told: (event: Buffer) => string | undefined;
}

/**
 * What a store says was pruned, once a leaf of its signed tree tells of it; `undefined`: nothing was. Rejects with a `LogError` (`malformed`, or `corrupt`: no leaf tells of
 * it), a `StorageError`, or a `TlogError` of a checkpoint that the log's key has not signed.
 */
export const declaredPruned = async (objects: ObjectStore, { open, told }: PruningProof): Promise<Pruned | undefined> => {
  const pruned = await readPruned(objects);
  if (pruned === undefined) return undefined;
  const { minimum, leaf, salt, event } = pruned;
  const refuse = (why: string, cause?: unknown): never => {
    throw new LogError('corrupt', `${objects.url}: ${PRUNED_PATH} says that leaves below ${minimum} are gone, and ${why}`, cause);
  };
  const reader = new LogReader(objects);
  const note = (await reader.checkpoint())?.note;
  if (note === undefined) return refuse('there is no checkpoint');
  const checkpoint = open(Buffer.from(note));
  if (leaf >= checkpoint.size) return refuse(`there is no leaf ${leaf} that tells of it`);
  const { entry } = await reader.record(leaf, checkpoint.size);
  const proof = await reader.proveInclusion(leaf, checkpoint.size);
  try {
    checkInclusion(leafHash(entry), leaf, checkpoint, proof);
  } catch (error) {
    refuse(`leaf ${leaf} does not stand in the tree`, error);
  }
  const teller = decodeLeaf(entry);
  const isTold = isOwnNotice(teller) && commitmentOf(salt, event).equals(teller.commitment);
  if (!isTold || prunedBelow(told(event) ?? '') !== minimum) refuse(`leaf ${leaf} does not tell of it`);
  return pruned;
};
