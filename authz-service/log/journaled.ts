/** The log's events as they stand in its journal. */
import type { FileSystem } from '../journal/file_system.ts';
import { type Extent, recordsOf } from '../journal/segment.ts';
import type { Detail } from './details.ts';
import { decodeRecord } from './record.ts';

/** An event that is durable. */
export interface Sourced extends Detail {
  readonly entry: Buffer;
}

/** The events from index `from` to before `to`, some at a time, in order. Rejects with a `JournalError`, or a `LogError` (`malformed`). */
export async function* journaled(
  files: FileSystem,
  extents: readonly Extent[],
  from: number,
  to: number,
): AsyncGenerator<readonly Sourced[], void> {
  for (const extent of extents)
    for await (const frames of recordsOf(files, extent)) {
      const events: Sourced[] = [];
      let done = false;
      for (const { payload } of frames) {
        const record = decodeRecord(payload);
        if (record.kind !== 'event' || record.index < from) continue;
        done = record.index + 1 >= to;
        if (record.index < to) events.push(record);
        if (done) break;
      }
      if (events.length > 0) yield events;
      if (done) return;
    }
}
