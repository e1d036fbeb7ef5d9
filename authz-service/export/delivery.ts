/**
 * Brings the record to one destination, in order and at the destination's own pace. A batch is sent until it is taken; the cursor moves behind it when it is.
 *
 * - The receiver is away: the same again, after a pause that doubles up to a bound and is drawn at random, so that gateways do not come back all at once.
 * - The receiver refuses a batch: halves of it, until the event that it refuses stands alone. That one stops the destination, loudly; where the
 *   configuration says so, it goes into a file of dead letters instead, durably, before the cursor passes it.
 */
import { join } from 'node:path';
import { type Cursor, type CursorOutcome, readCursor, writeCursor, writeDurably } from './cursor.ts';
import { away, type Destination, type Outcome } from './destination.ts';
import { type FormatOptions, Formatter, type GoneLeaf, type Leaf, type Message, type Recall } from './format.ts';

/** The record as an exporter reads it. */
export interface LeafSource {
  /**
   * Leaves from `from` on, and those whose events were deleted: none when there are none yet, and the first one may be later when the log has been pruned. Rejects when the
   * record cannot be read.
   */
  read(from: number, most: { readonly events: number; readonly bytes: number }): Promise<Piece>;
  /** What a session had said before. Rejects when the record cannot be read. */
  readonly recall: Recall;
  /** How many leaves are durable. */
  size(): Promise<number>;
}

/** A piece of the record: both ascend, and together they have no gap but in front. */
export interface Piece {
  readonly leaves: readonly Leaf[];
  readonly gone: readonly GoneLeaf[];
}

/** Behind the last leaf of a piece; `undefined` of an empty one. */
const endOf = ({ leaves, gone }: Piece): number | undefined => {
  const last = Math.max(leaves.at(-1)?.index ?? -1, gone.at(-1)?.index ?? -1);
  return last < 0 ? undefined : last + 1;
};

export interface DeliveryOptions {
  readonly name: string;
  readonly dir: string;
  readonly from: 'beginning' | 'now';
  readonly onRefused: 'stop' | 'dead_letter';
  readonly batch: { readonly events: number; readonly bytes: number; readonly waitMs: number };
  readonly retry: { readonly firstMs: number; readonly mostMs: number };
  readonly format: FormatOptions;
}

/** What is known of a destination: counted since the start. */
export interface DeliveryStatus {
  /** The first leaf that is not delivered yet. */
  next: number;
  /** Events delivered. */
  events: number;
  /** Batches that had to be sent again. */
  retries: number;
  /** Events that the receiver refused alone. */
  refused: number;
  deadLetters: number;
  /** Leaves that the log let go of, or events that it deleted, before they were delivered; of those that are deleted, the kinds that are sent. */
  missed: number;
  /** Why nothing is delivered at present; empty when all is well. */
  failure: string;
  /** When the oldest event happened that is in hand and not delivered, Unix milliseconds; 0 when there is none. */
  oldest: number;
}

export interface DeliveryLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** So far back the record is read at the start; what a session that is open for longer has said is recalled with its next event. */
const MAX_FLOOR = 100_000;
const READ_AHEAD = { events: 2000, bytes: 512 * 1024 };

export class Delivery {
  readonly status: DeliveryStatus = { next: 0, events: 0, retries: 0, refused: 0, deadLetters: 0, missed: 0, failure: '', oldest: 0 };
  readonly #options: DeliveryOptions;
  readonly #source: LeafSource;
  readonly #open: (state: Cursor['state']) => Destination;
  readonly #log: DeliveryLog;
  readonly #stop = new AbortController();
  readonly #formatter: Formatter;
  /** Up to where what is missing was told of. */
  #missedTo = 0;
  #destination: Destination | undefined;
  #state: Cursor['state'];
  /** What is being sent again, how often already. */
  #tries = 0;

  /** @param open makes the destination, given what it left with the cursor */
  constructor(options: DeliveryOptions, source: LeafSource, open: (state: Cursor['state']) => Destination, log: DeliveryLog) {
    this.#options = options;
    this.#source = source;
    this.#open = open;
    this.#log = log;
    this.#formatter = new Formatter(options.format);
  }

  /** Runs until it is stopped. Never rejects. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#begin();
        while (!this.#stopped) await this.#step();
      } catch (error) {
        await this.#fail(`${(error as Error).message}`);
      }
    }
    await this.#destination?.close().catch(() => {});
  }

  /** Gives up what is under way: it will be sent again. */
  stop(): void {
    this.#stop.abort();
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  get #cursorPath(): string {
    return join(this.#options.dir, `${this.#options.name}.cursor`);
  }

  /** Finds where to go on, and shows the formatter the sessions that are open there. */
  async #begin(): Promise<void> {
    if (this.#destination) return;
    const { origin } = this.#options.format;
    const [found, size] = [await readCursor(this.#cursorPath), await this.#source.size()];
    const cursor = this.#usable(found, size);
    const next = cursor?.next ?? (this.#options.from === 'now' ? size : 0);
    this.status.next = next;
    this.#state = cursor?.state;
    const floor = Math.max(cursor?.floor ?? next, next - MAX_FLOOR);
    for (let at = floor; at < next; ) {
      const piece = await this.#source.read(at, READ_AHEAD);
      for (const leaf of piece.leaves) if (leaf.index < next) this.#formatter.see(leaf);
      at = endOf(piece) ?? next;
    }
    // From here on a restart goes on from this place, also when nothing has been delivered yet.
    if (cursor === undefined) await writeCursor(this.#cursorPath, { origin, next, floor });
    this.#destination = this.#open(this.#state);
  }

  #usable(found: CursorOutcome, size: number): Cursor | undefined {
    const { name, format } = this.#options;
    if ('damaged' in found) throw new Error(`${found.damaged}: remove it to begin anew`);
    const { cursor } = found;
    if (cursor === undefined) return undefined;
    if (cursor.origin !== format.origin) {
      this.#log.error({ destination: name, was: cursor.origin, is: format.origin }, 'the record is another one: its export begins anew');
      return undefined;
    }
    // The receiver has what the record has not: the record was cut off, or put back to an older state.
    if (cursor.next > size)
      throw new Error(
        `${cursor.next} leaves were exported, and the record has ${size}: it has lost some; remove ${this.#cursorPath} to begin anew`,
      );
    return cursor;
  }

  async #step(): Promise<void> {
    const { batch } = this.#options;
    const piece = await this.#source.read(this.status.next, batch);
    const { leaves } = piece;
    const next = endOf(piece);
    if (next === undefined) {
      this.#well();
      return this.#pause(batch.waitMs);
    }
    this.#tellMissed(piece);
    const messages = await this.#formatter.messages(leaves, this.#source.recall);
    this.status.oldest = messages.length > 0 ? Number((messages[0] as Message).unixNanos / 1_000_000n) : 0;
    if (!(await this.#deliver(messages))) return;
    const floor = Math.min(this.#formatter.floor ?? next, next);
    const cursor = { origin: this.#options.format.origin, next, floor, ...(this.#state && { state: this.#state }) };
    // Delivered and not noted: the batch is not sent again for it, but noted until that succeeds.
    while (!this.#stopped && !(await this.#noted(cursor)));
    this.status.next = next;
    this.status.oldest = 0;
    // A short batch: more is gathered before the next one.
    if (leaves.length < batch.events / 2) await this.#pause(batch.waitMs);
  }

  async #noted(cursor: Cursor): Promise<boolean> {
    try {
      await writeCursor(this.#cursorPath, cursor);
      this.#well();
      return true;
    } catch (error) {
      await this.#fail(`the cursor cannot be written: ${(error as Error).message}`);
      return false;
    }
  }

  /** What would have been sent and is not there any more: once for a piece, also when that has to be sent again. */
  #tellMissed({ leaves, gone }: Piece): void {
    const { name, format } = this.#options;
    const first = Math.min(leaves[0]?.index ?? Number.POSITIVE_INFINITY, gone[0]?.index ?? Number.POSITIVE_INFINITY);
    const from = Math.max(this.#missedTo, this.status.next);
    const pruned = Math.max(0, first - from);
    const deleted = gone.filter((leaf) => leaf.index >= from && (leaf.gone === 'unknown' || format.kinds.includes(leaf.gone)));
    this.#missedTo = Math.max(from, first, (gone.at(-1)?.index ?? -1) + 1);
    if (pruned + deleted.length === 0) return;
    this.status.missed += pruned + deleted.length;
    const range = { from: pruned > 0 ? from : deleted[0]?.index, to: deleted.at(-1)?.index ?? first - 1, missed: pruned + deleted.length };
    this.#log.error({ destination: name, ...range }, 'EVENTS WERE DELETED FROM THE RECORD BEFORE THEY WERE EXPORTED');
  }

  /** @returns whether all are delivered, or dead letters; false when it was stopped */
  async #deliver(messages: readonly Message[]): Promise<boolean> {
    let rest = messages;
    while (rest.length > 0) {
      if (this.#stopped) return false;
      const outcome = await this.#send(rest);
      switch (outcome.kind) {
        case 'taken':
          this.#state = outcome.state ?? this.#state;
          this.#count(rest.length);
          return true;
        case 'partly': {
          const { refused, again } = outcome;
          this.#count(rest.length - refused.size - again.size);
          const turned = [...refused].map(([at, reason]) => [rest[at] as Message, reason] as const);
          rest = rest.filter((_, at) => again.has(at));
          if (rest.length > 0) await this.#fail(outcome.reason, undefined, turned.length === 0);
          for (const [message, reason] of turned) if (!(await this.#refused(message, reason))) rest = [...rest, message];
          rest = rest.toSorted((a, b) => a.index - b.index);
          break;
        }
        case 'refused':
          if (rest.length > 1) {
            const half = Math.ceil(rest.length / 2);
            return (await this.#deliver(rest.slice(0, half))) && (await this.#deliver(rest.slice(half)));
          }
          if (await this.#refused(rest[0] as Message, outcome.reason)) return true;
          break;
        case 'away':
          await this.#fail(outcome.reason, outcome.retryAfterMs);
      }
    }
    return true;
  }

  async #send(messages: readonly Message[]): Promise<Outcome> {
    try {
      return await (this.#destination as Destination).send(messages, this.#stop.signal);
    } catch (error) {
      // A destination does not reject; if it does, that is no reason to lose what it was given.
      return away(`it broke: ${(error as Error).message}`);
    }
  }

  #count(events: number): void {
    if (events === 0) return;
    this.status.events += events;
    this.#well();
  }

  /** @returns whether the event is a dead letter now; false when it is to be sent again */
  async #refused(message: Message, reason: string): Promise<boolean> {
    const { name, onRefused, dir } = this.#options;
    const { id, kind } = message;
    this.status.refused += 1;
    if (onRefused === 'stop') {
      this.#log.error(
        { destination: name, event: id, kind, reason },
        'THE RECEIVER REFUSES AN EVENT, and nothing passes it: see `on_refused`',
      );
      await this.#fail(`event ${id} is refused: ${reason}`, undefined, false);
      return false;
    }
    const path = join(dir, `${name}.dead-letters.ndjson`);
    try {
      await writeDurably(
        path,
        `${JSON.stringify({ id, reason, refused: new Date().toISOString(), event: JSON.parse(message.json) })}\n`,
        'a',
      );
    } catch (error) {
      await this.#fail(`event ${id} is refused, and its dead letter cannot be written: ${(error as Error).message}`);
      return false;
    }
    this.status.deadLetters += 1;
    this.#log.error({ destination: name, event: id, kind, reason, path }, 'the receiver refuses an event: it is a dead letter');
    return true;
  }

  #well(): void {
    if (this.status.failure !== '') this.#log.warn({ destination: this.#options.name, tries: this.#tries }, 'the export goes on');
    this.status.failure = '';
    this.#tries = 0;
  }

  /** Notes why nothing moves, and waits before the next try. */
  async #fail(reason: string, retryAfterMs = 0, told = true): Promise<void> {
    if (this.#stopped) return;
    const { name, retry } = this.#options;
    if (told && this.status.failure !== reason) this.#log.warn({ destination: name, reason }, 'the export waits');
    this.status.failure = reason;
    this.status.retries += 1;
    const bound = Math.min(retry.mostMs, retry.firstMs * 2 ** Math.min(this.#tries, 20));
    this.#tries += 1;
    await this.#pause(Math.max(retryAfterMs, bound * (0.5 + Math.random() / 2)));
  }

  #pause(ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#stop.signal.addEventListener('abort', end);
    });
  }
}
