/** The front that a log has not any more: it says so itself, in an event that its leaves commit to. Without one, what is not there is lost. */
import { commitmentOf, decodeLeaf, isOwnNotice } from '../log/leaf.ts';
import { PRUNED_NOTICE, PRUNED_PATH, type Pruned, prunedBelow, readPruned } from '../log/pruned.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { StorageError } from '../storage/object_store.ts';
import { decodeEvent } from '../tap/event.ts';
import type { Faults, Report } from './report.ts';
import type { Seen } from './trust.ts';

export class PrunedFront {
  readonly #pruned: Pruned | undefined;
  readonly #faults: Faults;
  #told: Report['pruned'];

  private constructor(pruned: Pruned | undefined, faults: Faults) {
    this.#pruned = pruned;
    this.#faults = faults;
  }

  /** Rejects with a `StorageError`. */
  static async read(objects: ObjectStore, { size }: Seen, faults: Faults): Promise<PrunedFront> {
    try {
      const pruned = await readPruned(objects);
      if (pruned !== undefined && pruned.leaf >= size)
        faults.add(
          'missing',
          `${PRUNED_PATH} names leaf ${pruned.leaf} as the event that told of it, and there are ${size}: it was changed, or the log went on while it was read; verify it again`,
        );
      return new PrunedFront(pruned !== undefined && pruned.leaf < size ? pruned : undefined, faults);
    } catch (error) {
      if (error instanceof StorageError) throw error;
      faults.add('malformed', (error as Error).message);
      return new PrunedFront(undefined, faults);
    }
  }

  /** Leaves below it are not there, as the log says; 0: it says nothing. */
  get minimum(): number {
    return this.#pruned?.minimum ?? 0;
  }

  /** The leaf of the event that told of it. */
  get leaf(): number | undefined {
    return this.#pruned?.leaf;
  }

  /** What the report says of it, once the event was found. */
  get told(): Report['pruned'] {
    return this.#told;
  }

  /** Takes the entry at `leaf`, which stands in the tree. */
  take(entry: Buffer): void {
    const { minimum, leaf, salt, event } = this.#pruned as Pruned;
    try {
      const told = decodeLeaf(entry);
      if (!commitmentOf(salt, event).equals(told.commitment)) throw new Error('it is not the one that the leaf commits to');
      const { body, session, timeUnixNanos } = decodeEvent(event);
      if (session !== '' || !isOwnNotice(told)) throw new Error('it is not one of the gateway itself');
      if (body.kind !== 'notice' || body.notice !== PRUNED_NOTICE || prunedBelow(body.text) !== minimum)
        throw new Error(`it does not tell of leaves below ${minimum}`);
      this.#told = { below: minimum, leaf, at: new Date(Number(timeUnixNanos / 1_000_000n)).toISOString(), text: body.text };
    } catch (error) {
      this.#faults.add(
        'missing',
        `leaves below ${minimum}; what ${PRUNED_PATH} shows as the event of leaf ${leaf}: ${(error as Error).message}`,
      );
    }
  }
}
