/** The checkpoints that a log keeps beside its newest one: each is of the same history, or something is wrong with one of the two. */
import { keptCheckpointPath } from '../log/publisher.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import type { TlogError } from '../tlog/error.ts';
import { parseNote } from '../tlog/note.ts';
import type { Faults } from './report.ts';
import { openSigned, type Seen, type Trust } from './trust.ts';

/** Where they are. To be asked for before the newest checkpoint is read: what is kept later may be ahead of that. */
export const keptNames = async (objects: ObjectStore): Promise<readonly string[]> => {
  const names: string[] = [];
  for await (const name of objects.list('checkpoints/')) names.push(name);
  return names;
};

const NAMED = 5;
const NAME = /^checkpoints\/\d{16}$/;

interface Kept {
  readonly name: string;
  readonly size: number;
  readonly root: Buffer;
}

export class KeptCheckpoints {
  readonly #faults: Faults;
  /** Those that the tree has not grown to yet, the smallest first. */
  #waiting: Kept[] = [];
  readonly #unsigned: string[] = [];
  /** What is none, or stands where another one is to: anybody who can write there can put it there, and it says nothing. */
  readonly #none: string[] = [];
  /** Whose lines of signatures by known keys do not verify: changed, or written by somebody who knows a key's name. They say nothing. */
  readonly #changed: string[] = [];
  #pruned = 0;
  /** How many were found to be of this history. */
  checked = 0;

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  /** Reads them, and holds them against the newest one. Rejects with a `StorageError`. */
  async read(objects: ObjectStore, names: readonly string[], seen: Seen, trust: Trust): Promise<void> {
    for (const name of names) {
      if (!NAME.test(name)) {
        this.#none.push(name);
        continue;
      }
      const note = await objects.get(name);
      // Witnesses are asked for of the newest alone.
      const kept = note && this.#opened(name, note, { keys: trust.keys, origin: seen.origin });
      if (kept === undefined) continue;
      // It was signed all the same, wherever it stands.
      if (name !== keptCheckpointPath(kept.size)) this.#none.push(name);
      if (kept.size > seen.size)
        this.#faults.add(
          'rolled-back',
          `${name} is a checkpoint of ${kept.size} leaves that the log has signed, and the newest is of ${seen.size}: it was set back, or the log went on while it was copied`,
        );
      else this.#waiting.push({ name, size: kept.size, root: kept.root });
    }
    this.#waiting.sort((a, b) => a.size - b.size);
  }

  /** `undefined`: nothing is to be made of it. */
  #opened(name: string, note: Buffer, trust: Trust): Seen | undefined {
    try {
      return openSigned(note, trust);
    } catch (error) {
      const { code, message } = error as TlogError;
      // A key that has gone since signed it, it may be: anybody can write one that no key has signed.
      if (code === 'signature' && !this.#isKnown(note, trust)) this.#unsigned.push(name);
      else if (code === 'signature') this.#changed.push(`${name} (${message})`);
      else this.#none.push(name);
      return undefined;
    }
  }

  /** Whether a line of it is said to be by one of the keys. */
  #isKnown(note: Buffer, { keys }: Trust): boolean {
    return parseNote(note).signatures.some(({ name, id }) => keys.some((key) => key.name === name && key.id === id));
  }

  /** Files of which nothing is made: by a name that says what they are not, or signed by no known key. */
  get unclear(): readonly string[] {
    return [...this.#none, ...this.#unsigned];
  }

  /** The next size that is to be looked at; never one that is behind. */
  get next(): number | undefined {
    return this.#waiting[0]?.size;
  }

  /** Lets go of those of trees that nothing is left to hold against: leaves below this index were pruned. */
  skipBelow(minimum: number): void {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter(({ size }) => size >= minimum);
    this.#pruned = before - this.#waiting.length;
  }

  /** The tree has this size and root. */
  grown(size: number, root: () => Buffer): void {
    for (let kept = this.#waiting[0]; kept !== undefined && kept.size <= size; kept = this.#waiting[0]) {
      this.#waiting.shift();
      if (kept.size === size && kept.root.equals(root())) this.checked += 1;
      else this.#faults.add('forked', `its first ${kept.size} leaves are not those that ${kept.name} was signed of`);
    }
  }

  tell(remarks: string[]): void {
    if (this.#pruned > 0) remarks.push(`${this.#pruned} kept checkpoints are of leaves that were pruned since, and were not looked at`);
    if (this.#none.length > 0)
      remarks.push(
        `${this.#none.length === 1 ? '1 file' : `${this.#none.length} files`} among the kept checkpoints: no checkpoint of the size that the name says, and nothing is made of it, the first ${this.#none[0]}`,
      );
    if (this.#changed.length > 0)
      remarks.push(
        `NOT WHAT THE LOG'S KEY SIGNED, and nothing is made of it: ${this.#changed.slice(0, NAMED).join('; ')}${this.#changed.length > NAMED ? `; and ${this.#changed.length - NAMED} more` : ''}. It was changed, or somebody else wrote it there: find out who could write to the store`,
      );
    const [first] = this.#unsigned;
    if (first === undefined) return;
    const count = this.#unsigned.length === 1 ? '1 kept checkpoint is' : `${this.#unsigned.length} kept checkpoints are`;
    remarks.push(
      `${count} signed by no key known to this verifier, the first ${first}: name the keys that the log has had, or it says nothing`,
    );
  }
}
