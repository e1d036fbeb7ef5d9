/** Where events stand durably: what the sink knows of the log. */
import { join } from 'node:path';
import type { Health } from '../journal/journal.ts';
import type { Chain } from '../log/chains.ts';
import { type Leaf, type Subject, tellerOfEntry } from '../log/leaf.ts';
import { type Log, type LogOptions, openLog } from '../log/log.ts';
import { localFiles } from '../storage/local_files.ts';
import { pruningIn } from './event.ts';
import { kindOf, leafKindOf } from './leaf_kind.ts';
import type { Kind, TapEvent } from './schema.ts';

/** One event of the record. */
export interface TapRecord {
  readonly index: number;
  /** What stays known of it for good. */
  readonly about: Subject & Pick<Leaf, 'position'>;
  /** The event's bytes; `undefined` when they were deleted after their retention. */
  readonly bytes: Buffer | undefined;
}

/** Who told events that stand one behind the other. */
export interface Tellers {
  /** The index of the first one. */
  readonly first: number;
  readonly tellers: readonly Pick<Subject, 'emitter' | 'sequence'>[];
}

export interface TapStore {
  /** Takes a copy of an event's bytes for the next write and returns its index. `own`: the service itself tells it. Throws when it accepts none. */
  stage(event: Uint8Array, about: TapEvent, own: boolean): number;
  /** Which one of its session's events this one is when it is staged next, from 1. */
  positionOf(about: TapEvent): number;
  /** As of `Log`: while events below `index` are pruned, and once they are. */
  holdBack(index: number): void;
  forgetBelow(index: number): void;
  /** Where the newest durable event of each of these sessions stands, as the record itself says: see `Log`. */
  newest(sessions: ReadonlySet<string>): Promise<Map<string, Chain>>;
  /** Who told the durable events before `before`: those of one part of the record at once, in order; the last part first. */
  tellersBackwards(before: number): AsyncGenerator<Tellers, void>;
  /** Resolves when all that was staged so far is durable: one promise for all of one write. After a rejection nothing of that write, nor staged since, counts. */
  settled(): Promise<void>;
  /** The durable events from `index` on, in order. */
  read(index?: number): AsyncGenerator<TapRecord, void>;
  /** How many events are durable. */
  readonly size: number;
  /** The newest checkpoint that covers durable events; `undefined` before the first. */
  readonly committed: { readonly size: number; readonly root: Buffer } | undefined;
  readonly health: Health;
  readonly tornBytes: number;
  readonly totals: { readonly records: number; readonly bytes: number; readonly writes: number };
  close(): Promise<void>;
}

/** What the sink brings to a store that it opens: what it knows of sessions of long ago, and the checkpoint that the record must go on from. */
export type OpenStore = (known: Pick<LogOptions, 'findChain' | 'remembered'>) => Promise<TapStore>;

/** What was deleted after its retention is nobody's to read any more. */
export async function* present(
  records: AsyncIterable<TapRecord>,
): AsyncGenerator<{ readonly index: number; readonly bytes: Buffer }, void> {
  for await (const { index, bytes } of records) if (bytes !== undefined) yield { index, bytes };
}

/** What the log is told of an event. `own`: the service itself tells it. */
export const subjectOf = (event: TapEvent, own: boolean): Subject => {
  const { emitter, sequence, timeUnixNanos, session, target } = event;
  return { kind: leafKindOf(event), timeUnixNanos, emitter, sequence, session, target, own };
};

/** As `present`, with the kind alone of what was deleted, so that who passes over it can say so. */
export async function* presentOrGone(
  records: AsyncIterable<TapRecord>,
): AsyncGenerator<
  | { readonly index: number; readonly bytes: Buffer; readonly gone?: undefined }
  | { readonly index: number; readonly bytes?: undefined; readonly gone: Kind | 'unknown' },
  void
> {
  for await (const { index, about, bytes } of records)
    if (bytes !== undefined) yield { index, bytes };
    else yield { index, gone: kindOf(about.kind) ?? 'unknown' };
}

/** The log as a store of events. */
class LogStore implements TapStore {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  stage(bytes: Uint8Array, about: TapEvent, own: boolean): number {
    return this.#log.stage(subjectOf(about, own), bytes);
  }

  positionOf(about: TapEvent): number {
    return this.#log.positionOf(subjectOf(about, false));
  }

  holdBack(index: number): void {
    this.#log.holdBack(index);
  }

  forgetBelow(index: number): void {
    this.#log.forgetBelow(index);
  }

  newest(sessions: ReadonlySet<string>): Promise<Map<string, Chain>> {
    return this.#log.newest(sessions);
  }

  async *tellersBackwards(before: number): AsyncGenerator<Tellers, void> {
    for await (const { first, entries } of this.#log.backwards(before)) yield { first, tellers: entries.map(tellerOfEntry) };
  }

  settled(): Promise<void> {
    return this.#log.settled();
  }

  async *read(from = 0): AsyncGenerator<TapRecord, void> {
    for await (const { index, leaf, detail } of this.#log.read(from)) yield { index, about: leaf, bytes: detail?.event };
  }

  get size(): number {
    return this.#log.size;
  }

  get committed(): Log['committed'] {
    return this.#log.committed;
  }

  get health(): Health {
    return this.#log.health;
  }

  get tornBytes(): number {
    return this.#log.tornBytes;
  }

  get totals(): TapStore['totals'] {
    return this.#log.totals;
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}

export interface LogStoreOptions extends Omit<LogOptions, 'directory' | 'objects' | 'findChain' | 'remembered'> {
  /** Default: files in `log/` of the directory. */
  readonly objects?: LogOptions['objects'];
  /** Told of the log once it is open: for those who prove and copy. */
  readonly onOpen?: (log: Log) => void;
}

/** The log in `directory`. */
export const logStore =
  (directory: string, { files, objects = localFiles(join(directory, 'log'), files), onOpen, ...options }: LogStoreOptions): OpenStore =>
  async (known) => {
    const log = await openLog({ directory, objects, toldOfPruning: pruningIn, ...known, ...options, ...(files && { files }) });
    onOpen?.(log);
    return new LogStore(log);
  };
