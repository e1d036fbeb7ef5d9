/**
 * Legal holds: sessions whose events stay whatever their age. Kept in a journal of their own, and each one that is put on or taken off is an event of the record
 * too: put on, it is in force before it is recorded; taken off, it is recorded before it is. A hold that the journal has lost is found again in the record.
 */
import { type Journal, openJournal } from '../journal/journal.ts';

export interface LegalHold {
  readonly session: string;
  readonly by: string;
  readonly reason: string;
  /** RFC 3339. */
  readonly at: string;
}

export interface LegalHoldsOptions {
  /** Makes it durable that this was done. */
  readonly record: (what: 'legal-hold-added' | 'legal-hold-released', hold: LegalHold) => Promise<void>;
  /** Told when a hold has come into force or ended: replicas hold their objects too. */
  readonly changed?: (session: string, on: boolean) => void;
  /** The record's own notices of holds: by them what the journal here has lost is put on again. Default: nothing is asked. */
  readonly recorded?: RecordedHolds;
  /** Told of holds that the record tells of and the journal had not. */
  readonly onLost?: (holds: readonly LegalHold[]) => void;
  readonly journal?: Parameters<typeof openJournal>[1];
  /** Unix milliseconds. */
  readonly now?: () => number;
}

export interface RecordedHolds {
  /** Leaves whose notices can be read. */
  readonly size: () => Promise<number>;
  /** What the leaves from `from` to before `to` tell of holds, in order; without `hold` one was released. */
  readonly between: (from: number, to: number) => AsyncIterable<{ readonly session: string; readonly hold: LegalHold | undefined }>;
}

/** What the record says of a hold: why, and by whom. */
export const holdText = ({ by, reason }: Pick<LegalHold, 'by' | 'reason'>): string => `${reason} (${by})`;

/** The way back; a text that is none is a reason of nobody. */
export const readHoldText = (text: string): Pick<LegalHold, 'by' | 'reason'> => {
  const [, reason = text, by = ''] = /^(.*) \(([^()]*)\)$/s.exec(text) ?? [];
  return { by, reason };
};

/** Makes the journal of a directory that has none, of holds that are in force. Rejects with a `JournalError`. */
export const beginLegalHolds = async (directory: string, holds: readonly LegalHold[]): Promise<void> => {
  const journal = await openJournal(directory);
  try {
    for (const hold of holds) await journal.append(Buffer.from(JSON.stringify({ hold } satisfies Entry)));
  } finally {
    await journal.close();
  }
};

/** `seen`: what the leaves before tell is in the journal by then. */
type Entry = { readonly hold: LegalHold } | { readonly release: string } | { readonly seen: number };

export class LegalHolds {
  readonly #journal: Journal;
  readonly #options: LegalHoldsOptions;
  readonly #held: Map<string, LegalHold>;
  /** What leaves before it tell is in the journal. */
  #seen = 0;
  /** The change that is under way: the next one waits, or a hold put on while it is taken off would be told to be in force, and go. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(journal: Journal, held: Map<string, LegalHold>, options: LegalHoldsOptions) {
    this.#journal = journal;
    this.#held = held;
    this.#options = options;
  }

  /** Rejects with a `JournalError`, an `Error` for an entry that this version does not know, and with what keeps the record's notices from being read. */
  static async open(directory: string, options: LegalHoldsOptions): Promise<LegalHolds> {
    const held = new Map<string, LegalHold>();
    let seen = 0;
    const replay = (index: number, bytes: Buffer): void => {
      const entry = JSON.parse(bytes.toString('utf8')) as Partial<{ hold: LegalHold; release: string; seen: number }>;
      if (entry.hold !== undefined) held.set(entry.hold.session, entry.hold);
      else if (entry.release !== undefined) held.delete(entry.release);
      else if (entry.seen !== undefined) seen = entry.seen;
      else throw new Error(`${directory}: entry ${index} is not known to this version`);
    };
    const holds = new LegalHolds(await openJournal(directory, { ...options.journal, replay }), held, options);
    try {
      await holds.#catchUp(seen);
    } catch (error) {
      await holds.#journal.close();
      throw error;
    }
    return holds;
  }

  holds(session: string): boolean {
    return this.#held.has(session);
  }

  /** The oldest first. */
  list(): LegalHold[] {
    return [...this.#held.values()];
  }

  /** In force when it resolves; and when it rejects it may be. One that is there already keeps its time, and is recorded again. */
  add(session: string, by: string, reason: string): Promise<LegalHold> {
    return this.#inTurn(() => this.#add(session, by, reason));
  }

  /** @returns false when there is none. Still in force when it rejects. */
  release(session: string, by: string, reason: string): Promise<boolean> {
    return this.#inTurn(() => this.#release(session, by, reason));
  }

  async close(): Promise<void> {
    await this.#turn;
    // Where that fails, more is looked at by the next start.
    const seen = await this.#options.recorded?.size().catch(() => this.#seen);
    if (seen !== undefined && seen > this.#seen) await this.#write({ seen }).catch(() => {});
    await this.#journal.close();
  }

  /**
   * Who takes the journal away, sets it back, or cuts off its end, takes no hold off: what the record tells since is put on again. A release counts by the journal
   * alone, which has it last: a hold too many keeps what one too few would let go.
   */
  async #catchUp(seen: number): Promise<void> {
    const { recorded, onLost = () => {} } = this.#options;
    this.#seen = seen;
    if (recorded === undefined) return;
    const size = await recorded.size();
    const told = new Map<string, LegalHold>();
    for await (const { session, hold } of recorded.between(seen, size))
      if (hold === undefined) told.delete(session);
      else told.set(session, hold);
    const lost = [...told.values()].filter(({ session }) => !this.#held.has(session));
    for (const hold of lost) {
      await this.#write({ hold });
      this.#held.set(hold.session, hold);
    }
    if (size > seen) await this.#write({ seen: size });
    this.#seen = Math.max(seen, size);
    if (lost.length > 0) onLost(lost);
  }

  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(change);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #add(session: string, by: string, reason: string): Promise<LegalHold> {
    const hold = this.#held.get(session) ?? { session, by, reason, at: new Date((this.#options.now ?? Date.now)()).toISOString() };
    if (!this.#held.has(session)) {
      await this.#write({ hold });
      this.#held.set(session, hold);
      this.#options.changed?.(session, true);
    }
    await this.#options.record('legal-hold-added', { ...hold, by, reason });
    return hold;
  }

  async #release(session: string, by: string, reason: string): Promise<boolean> {
    if (!this.#held.has(session)) return false;
    await this.#options.record('legal-hold-released', {
      session,
      by,
      reason,
      at: new Date((this.#options.now ?? Date.now)()).toISOString(),
    });
    await this.#write({ release: session });
    this.#held.delete(session);
    this.#options.changed?.(session, false);
    return true;
  }

  async #write(entry: Entry): Promise<void> {
    await this.#journal.append(Buffer.from(JSON.stringify(entry)));
  }
}
