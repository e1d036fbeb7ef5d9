/** Where holds and answers outlive the service: a journal of what was held and of how far each has come. */
import type { Journal } from '../journal/journal.ts';
import { ApprovalError } from './error.ts';
import type { Approval, Progress } from './state.ts';

/** The last record of an approval counts: one whose append failed and yet reached the disk is superseded by the next that succeeds. */
export type ApprovalRecord =
  | { readonly kind: 'held'; readonly approval: Approval }
  | { readonly kind: 'moved'; readonly id: string; readonly progress: Progress };

export interface ApprovalStore {
  /** Every durable record, oldest first. Called once, before anything is appended. */
  read(): AsyncIterable<ApprovalRecord>;
  /** Durable when it resolves; when it rejects, the record may or may not be found by a later `read`. */
  append(record: ApprovalRecord): Promise<void>;
  /** Replaces all that was appended before the call, atomically. */
  compact(records: readonly ApprovalRecord[]): Promise<void>;
  readonly health: { readonly ok: true } | { readonly ok: false; readonly reason: string };
}

/** A journal of JSON records. The journal is its opener's to close. */
export const journalStore = (journal: Journal): ApprovalStore => ({
  async *read() {
    for await (const { index, bytes } of journal.read()) yield parseRecord(bytes, index);
  },
  append: async (record) => {
    await journal.append(Buffer.from(JSON.stringify(record)));
  },
  compact: (records) => journal.compact(records.map((record) => Buffer.from(JSON.stringify(record)))),
  get health() {
    return journal.health;
  },
});

/** The journal vouches for the bytes (CRC); what is checked here is that another version of this program did not mean something else by them. */
const parseRecord = (bytes: Buffer, index: number): ApprovalRecord => {
  let record: unknown;
  try {
    record = JSON.parse(bytes.toString());
  } catch {
    record = undefined;
  }
  const { kind } = (record ?? {}) as { kind?: unknown };
  if (kind !== 'held' && kind !== 'moved')
    throw new ApprovalError('store_unreadable', `record ${index} of the approvals' journal is none that this version understands`);
  return record as ApprovalRecord;
};
