/**
 * What the names of prepared statements may mean in one session. A command that was let pass may fail, or not have run yet, so a name can have several meanings:
 * every text that may stand under it in the target counts. What is certain (a command ended well, told in the order in which they did) takes the others away.
 */
import type { NameChange } from '../analysis/utility.ts';

interface Meaning {
  readonly text: string;
  /** The command that prepares it; 0: one of the protocol's own messages, of which nobody tells how it ended. */
  readonly command: number;
  /** It ended well. */
  readonly certain: boolean;
}

/** Past these bounds nothing is known any more. */
const MOST_MEANINGS = 1_000;
/** Different texts. */
const MOST_FOR_A_NAME = 8;
/** Characters of all texts. */
const MOST_TEXT = 131_072;
/** Commands whose ends are waited for: the end of an older one takes nothing away. */
const MOST_AWAITED = 256;
/** Oids below are PostgreSQL's own types. */
const FIRST_OWN_OID = 16_384;

export class PreparedNames {
  readonly #meanings = new Map<string, readonly Meaning[]>();
  readonly #awaited = new Map<number, readonly NameChange[]>();
  #text = 0;
  #count = 0;
  #lost = false;

  /** A command that does this was let pass. */
  passed(command: number, changes: readonly NameChange[]): void {
    if (changes.length === 0 || this.#lost) return;
    for (const change of changes) if (change.kind === 'prepare') this.#add(change.name, { text: change.text, command, certain: false });
    this.#awaited.set(command, changes);
    const [oldest] = this.#awaited.keys();
    if (this.#awaited.size > MOST_AWAITED && oldest !== undefined) this.#awaited.delete(oldest);
  }

  /** A message of the protocol's own that prepares a text under a name was let pass. */
  parsed(name: string, text: string, types: readonly number[]): void {
    // EXECUTE brings its values to such a type by a cast, which is a function that nobody looked at.
    if (types.some((type) => type >= FIRST_OWN_OID)) this.lose();
    else this.#add(name, { text, command: 0, certain: false });
  }

  /** These commands ended well, one after the other. */
  ended(commands: readonly number[]): void {
    for (const command of commands) {
      const changes = this.#awaited.get(command);
      if (!changes || !this.#awaited.delete(command)) continue;
      for (const name of this.#meanings.keys()) this.#keep(name, (meaning) => meaning.command !== command);
      for (const change of changes) {
        for (const name of change.name === undefined ? [...this.#meanings.keys()] : [change.name])
          this.#keep(name, ({ certain }) => !certain);
        if (change.kind === 'prepare') this.#add(change.name, { text: change.text, command, certain: true });
      }
    }
  }

  /** What was let pass may have prepared anything under any name. */
  lose(): void {
    this.#lost = true;
    this.#meanings.clear();
    this.#awaited.clear();
  }

  /** The texts that these names may have been prepared by; one that is not known is left out. */
  of(names: readonly string[]): ReadonlyMap<string, readonly string[]> {
    const known = names.map((name) => [name, this.#meanings.get(name) ?? []] as const).filter(([, meanings]) => meanings.length > 0);
    return new Map(known.map(([name, meanings]) => [name, [...new Set(meanings.map(({ text }) => text))]]));
  }

  #add(name: string, meaning: Meaning): void {
    if (this.#lost) return;
    const known = this.#meanings.get(name) ?? [];
    this.#meanings.set(name, [...known, meaning]);
    this.#count += 1;
    this.#text += meaning.text.length;
    const texts = new Set([...known, meaning].map(({ text }) => text));
    if (texts.size > MOST_FOR_A_NAME || this.#count > MOST_MEANINGS || this.#text > MOST_TEXT) this.lose();
  }

  #keep(name: string, which: (meaning: Meaning) => boolean): void {
    const known = this.#meanings.get(name) ?? [];
    const kept = known.filter(which);
    if (kept.length === known.length) return;
    this.#count -= known.length - kept.length;
    for (const meaning of known) if (!which(meaning)) this.#text -= meaning.text.length;
    if (kept.length > 0) this.#meanings.set(name, kept);
    else this.#meanings.delete(name);
  }
}
