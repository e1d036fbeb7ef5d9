/** The log's events as they stand in its journal. */
import type { FileSystem } from '../journal/file_system.ts';
import { FRAME_BYTES } from '../journal/frame.ts';
import { type Extent, windowsIn } from '../journal/segment.ts';
import type { Detail } from './details.ts';
import { type EventPlaces, findEvent } from './record.ts';

/** An event that is durable. */
export interface Sourced extends Detail {
  readonly entry: Buffer;
}

/** Where an event stands in `bytes`: its salt, its entry and itself, one behind the other up to `end`. */
export interface Placed extends EventPlaces {
  end: number;
}

/** Told of each event: `place` is good until it returns. `enough`: the next one when it is asked for. */
export type TakeEvent = (bytes: Buffer, place: Readonly<Placed>) => 'enough' | 'more';

/** Tells the events from index `from` to before `to`, in order. Yields where `take` has had enough. Rejects with a `JournalError`, or a `LogError` (`malformed`). */
export async function* tellJournaled(
  files: FileSystem,
  extents: readonly Extent[],
  from: number,
  to: number,
  take: TakeEvent,
): AsyncGenerator<void, void> {
  const place = { index: 0, salt: 0, entry: 0, event: 0, end: 0 };
  for (const extent of extents)
    for await (const { bytes, offsets } of windowsIn(files, extent))
      for (let i = 1; i < offsets.length; i += 1) {
        place.end = offsets[i] as number;
        if (!findEvent(bytes, (offsets[i - 1] as number) + FRAME_BYTES, place.end, place) || place.index < from) continue;
        if (place.index < to && take(bytes, place) === 'enough') yield;
        if (place.index + 1 >= to) return;
      }
}

const AT_ONCE = 1024;

/** The events from index `from` to before `to`, some at a time, in order. Rejects with a `JournalError`, or a `LogError` (`malformed`). */
export async function* journaled(
  files: FileSystem,
  extents: readonly Extent[],
  from: number,
  to: number,
): AsyncGenerator<readonly Sourced[], void> {
  let events: Sourced[] = [];
  const told = tellJournaled(files, extents, from, to, (bytes, { index, salt, entry, event, end }) => {
    events.push({
      index,
      salt: bytes.subarray(salt, entry),
      entry: bytes.subarray(entry, event),
      event: bytes.subarray(event, end),
    });
    return events.length < AT_ONCE ? 'more' : 'enough';
  });
  for await (const _ of told) {
    yield events;
    events = [];
  }
  if (events.length > 0) yield events;
}
