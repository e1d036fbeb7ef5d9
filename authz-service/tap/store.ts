/** Where events stand durably. The journal is one such place; a transparency log is another. */
import { type Health, type JournalOptions, type JournalRecord, openJournal } from '../journal/journal.ts';

export interface TapStore {
  /** Takes a copy of an event's bytes for the next write and returns its index. Throws when it accepts none. */
  stage(event: Uint8Array): number;
  /** Resolves when all that was staged so far is durable: one promise for all of one write. After a rejection nothing of that write, nor staged since, counts. */
  settled(): Promise<void>;
  /** The durable events from `index` on, in order. */
  read(index?: number): AsyncGenerator<JournalRecord, void>;
  readonly health: Health;
  readonly tornBytes: number;
  readonly totals: { readonly records: number; readonly bytes: number; readonly writes: number };
  close(): Promise<void>;
}

/** Opens a store; `replay` sees all that it holds, in order, before this resolves. */
export type OpenStore = (replay: (index: number, event: Buffer) => void) => Promise<TapStore>;

export const fileStore =
  (directory: string, options: JournalOptions = {}): OpenStore =>
  (replay) =>
    openJournal(directory, { ...options, replay });
