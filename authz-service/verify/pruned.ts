/** The front that a log has not any more: it says so itself, in an event that its leaves commit to. Without one, what is not there is lost. */
import { declarationOf } from '../log/declared.ts';
import { LogError } from '../log/error.ts';
import { PRUNED_PATH, type Pruned, readPruned } from '../log/pruned.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { StorageError } from '../storage/object_store.ts';
import { pruningIn, timeText } from '../tap/event.ts';
import { untoldInWords } from './missing.ts';
import type { Faults, Report } from './report.ts';
import type { Seen } from './trust.ts';

export class PrunedFront {
  readonly #pruned: Pruned | undefined;
  readonly #faults: Faults;
  readonly #remarks: string[];
  #told: Report['pruned'];

  private constructor(pruned: Pruned | undefined, faults: Faults, remarks: string[]) {
    this.#pruned = pruned;
    this.#faults = faults;
    this.#remarks = remarks;
  }

  /** Rejects with a `StorageError`. */
  static async read(objects: ObjectStore, { size }: Seen, faults: Faults, remarks: string[]): Promise<PrunedFront> {
    try {
      const pruned = await readPruned(objects);
      if (pruned !== undefined && pruned.leaf >= size)
        faults.add(
          'missing',
          `${PRUNED_PATH} names leaf ${pruned.leaf} as the event that told of it, and there are ${size}: it was changed, or the log went on while it was read; verify it again`,
        );
      return new PrunedFront(pruned !== undefined && pruned.leaf < size ? pruned : undefined, faults, remarks);
    } catch (error) {
      if (error instanceof StorageError) throw error;
      faults.add('malformed', (error as Error).message);
      return new PrunedFront(undefined, faults, remarks);
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
    const pruned = this.#pruned as Pruned;
    try {
      const { teller, text } = declarationOf(pruned, entry, pruningIn);
      this.#told = { below: pruned.minimum, leaf: pruned.leaf, at: `${timeText(teller.timeUnixNanos).slice(0, 23)}Z`, text };
      if (!teller.own) this.#remarks.push(untoldInWords([pruned.leaf]));
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      this.#faults.add('missing', error.message);
    }
  }
}
