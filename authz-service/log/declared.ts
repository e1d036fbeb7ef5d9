/** What is said to be pruned, held against the event of the log that tells of it: whoever could write to a store may have written what it says of itself. */

import type { Checkpoint } from '../tlog/checkpoint.ts';
import { LogError } from './error.ts';
import { commitmentOf, decodeLeaf, isOwnNotice, type Leaf } from './leaf.ts';
import { PRUNED_PATH, type Pruned, prunedBelow } from './pruned.ts';

export interface PruningProof {
  /** The checkpoint in a note that the log's key has signed. Throws otherwise. */
  readonly open: (note: Buffer) => Checkpoint;
  /** What an event says when it is the notice of pruning; `undefined` of any other event. */
  readonly told: (event: Buffer) => string | undefined;
}

export interface Declaration {
  readonly teller: Leaf;
  readonly text: string;
}

/** That what is pruned is not what the log tells. */
export const notTold = ({ minimum }: Pick<Pruned, 'minimum'>, why: string, cause?: unknown): LogError =>
  new LogError('corrupt', `${PRUNED_PATH} says that leaves below ${minimum} are gone, and ${why}`, cause);

/** What tells of pruning, in the leaf that is named. `entry`: of that leaf, which stands in the tree. Throws a `LogError` (`corrupt`, `malformed`) when it does not. */
export const declarationOf = (pruned: Pruned, entry: Buffer, told: PruningProof['told']): Declaration => {
  const { minimum, leaf, salt, event } = pruned;
  const teller = decodeLeaf(entry);
  if (!commitmentOf(salt, event).equals(teller.commitment)) throw notTold(pruned, `what it shows is not the event of leaf ${leaf}`);
  if (!isOwnNotice(teller)) throw notTold(pruned, `leaf ${leaf} is no notice of the gateway itself`);
  const text = told(event);
  if (text === undefined || prunedBelow(text) !== minimum) throw notTold(pruned, `leaf ${leaf} does not tell of it`);
  return { teller, text };
};
