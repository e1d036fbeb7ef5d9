/**
 * The transparency log that what happened is recorded in. An event is acknowledged when one write of the journal has made durable its leaf, its bytes and the
 * signed checkpoint that covers them; what the world sees is derived from the journal afterwards (publisher.ts).
 *
 * See docs/design/log.md for the format, what a crash leaves, and why it never forks.
 */
import { join } from 'node:path';
import { ThreadEnded } from '../asked_thread.ts';
import { type FileSystem, nodeFileSystem } from '../journal/file_system.ts';
import { type Health, type Journal, type JournalOptions, openJournal, type Seal } from '../journal/journal.ts';
import type { Extent } from '../journal/segment.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { openCheckpoint, signCheckpoint } from '../tlog/checkpoint.ts';
import { TlogError } from '../tlog/error.ts';
import { Frontier, leafHash } from '../tlog/hash.ts';
import { formatVerifierKey, type SignerKey } from '../tlog/note.ts';
import { frontierOf } from '../tlog/proof.ts';
import { TILE_WIDTH, TileEdge } from '../tlog/tile.ts';
import { type Chain, Chains, type FindChain } from './chains.ts';
import { LogError } from './error.ts';
import { journaled, type Sourced } from './journaled.ts';
import { listedKeys } from './keys.ts';
import { decodeLeaf, isOfLaterVersion, kindOfEntry, type Subject } from './leaf.ts';
import { type Committed, Publisher, type PublisherOptions, type Publishing, publishedEdge } from './publisher.ts';
import { PublisherThread } from './publisher_thread.ts';
import { LogReader, type LogRecord, type PublishedCheckpoint } from './reader.ts';
import { decodeRecord, encodeCheckpointRecord } from './record.ts';
import { StagedEvents } from './staged.ts';

export interface LogOptions extends Pick<PublisherOptions, 'retainUntil' | 'cosign' | 'now'> {
  /** The journal's place and the log's lock. */
  readonly directory: string;
  /** Where what is derived stands. It is the log's: closed with it. */
  readonly objects: ObjectStore;
  /** The directory that `objects` are the files of: given, a thread of its own publishes. Not with `retainUntil` or `cosign`. Default: this thread does. */
  readonly publishedIn?: string;
  /** All sign each checkpoint. Their name is the log's origin. */
  readonly signers: readonly SignerKey[];
  /** Finds what an old session's next leaf goes on from: see `FindChain`. */
  readonly findChain: FindChain;
  /** What an event says when it is the notice of pruning. Default: none does, and what says that leaves were pruned is not believed. */
  readonly toldOfPruning?: (event: Buffer) => string | undefined;
  /** Checkpoints that somebody remembers: the log that is opened must go on from each of them. Their signatures are the caller's business. */
  readonly remembered?: readonly Remembered[];
  /** Asked before the log takes anything: is it what others know of it? A rejection closes it again, and is how opening ends. */
  readonly confirm?: (log: OpenedLog) => Promise<void>;
  /** From a commit to its publication. Milliseconds, default 1,000. */
  readonly publishMs?: number;
  /** How long the journal writes to one segment, so that what it holds can be let go of. Milliseconds; default: until it is full. */
  readonly segmentMs?: number | undefined;
  /** A clock that nobody sets. Milliseconds. */
  readonly monotonic?: () => number;
  readonly files?: FileSystem;
  readonly journal?: Pick<JournalOptions, 'segmentBytes' | 'filledBytes' | 'maxPendingBytes' | 'batchBytes' | 'retryMs'>;
  /** Told what an operator should know of: a publication that failed (it is tried again) or the end of the log. */
  readonly onProblem?: (error: Error) => void;
}

/** Entries that stand one behind the other. */
export interface Entries {
  /** The index of the first one. */
  readonly first: number;
  readonly entries: readonly Buffer[];
}

/** Of a checkpoint, what it says of the tree. */
export interface Remembered {
  readonly size: number;
  readonly root: Buffer;
}

/** A log that is whole, and takes nothing yet. */
export interface OpenedLog extends Pick<Log, 'origin' | 'published' | 'reader'> {
  /** Rejects with a `LogError` (`rolled_back`, `forked`) when it does not go on from there. */
  goesOnFrom(remembered: Remembered): Promise<void>;
  /** The list of keys that have signed it: `FROM KEY` on each line. */
  listedKeys(): Promise<string>;
}

export interface Log {
  readonly origin: string;
  /** Takes a copy of an event for the next write and returns its leaf's index. Throws a `JournalError` or a `LogError` when the log accepts none. */
  stage(subject: Subject, event: Uint8Array): number;
  /** Which one of its session's events a further one would be, from 1: as its leaf will say when it is staged next. Throws as `stage` does. */
  positionOf(subject: Subject): number;
  /**
   * While leaves below `index` are pruned: a session whose newest leaf is one of them does not go on, and what would be its next leaf is not staged (`pruned`), until it is
   * forgotten. A lower index takes that back.
   */
  holdBack(index: number): void;
  /** Leaves below `index` were pruned, and nothing else knows of sessions that ended there: these begin anew. */
  forgetBelow(index: number): void;
  /** Where the newest durable leaf of each of these sessions stands, as the leaves say; a session that has none is not in it. Reads from the end of the log until all are found. */
  newest(sessions: ReadonlySet<string>): Promise<Map<string, Chain>>;
  /** The entries before index `before`, which is durable: those of one bundle at once, the last bundle first. Rejects as `read` does. */
  backwards(before: number): AsyncGenerator<Entries, void>;
  /** Resolves when all that was staged is durable with a committed checkpoint: one promise for all of one write. */
  settled(): Promise<void>;
  /** The durable records from `from` on, but for those that were pruned. Rejects with `corrupt`, a `StorageError` or a `JournalError`. */
  read(from?: number): AsyncGenerator<LogRecord, void>;
  /** The newest committed checkpoint; `undefined` of a log without any. It may not be published yet. */
  readonly committed: Committed | undefined;
  /** The newest published one: what proofs are made against. */
  readonly published: PublishedCheckpoint | undefined;
  /** Reads what is published, and makes proofs. */
  readonly reader: LogReader;
  /** Publishes what is committed now. Rejects with what kept it from that; it is tried again anyway. */
  publish(): Promise<void>;
  /** Runs while nothing is published: for who changes what is published already. Settles as `work` does. */
  undisturbed<Result>(work: () => Promise<Result>): Promise<Result>;
  readonly health: Health;
  /** Not ok: the thread that publishes has ended again and again. What is recorded is durable all the same. */
  readonly publication: { readonly ok: true } | { readonly ok: false; readonly reason: string };
  /** Bytes of an unfinished write that recovery cut off. */
  readonly tornBytes: number;
  readonly totals: { readonly records: number; readonly bytes: number; readonly writes: number };
  /** Leaves in the log that are durable. */
  readonly size: number;
  /** Waits for what is staged, publishes it if that works at once, and lets go. */
  close(): Promise<void>;
}

interface Sealed extends Committed {
  readonly frontier: Frontier;
  /** The index of its record in the journal. */
  readonly at: number;
  readonly undo: readonly Undo[];
}

interface Undo {
  readonly session: string;
  readonly before: Chain | undefined;
}

/** Where in the journal a leaf stands; not each, but often enough to begin reading there. */
interface Mark {
  readonly leaf: number;
  readonly journal: number;
}

const MARK_LEAVES = 256;
/** Of a segment of the journal. Seconds' worth of events of few who wait. */
const FILLED_BYTES = 4 << 20;
const FEW_SESSIONS = 8;
const MAX_BACKOFF_MS = 60_000;
const MAX_TIMER_MS = 2 ** 31 - 1;
/** A thread that publishes may end so often in a row; then another one is begun seldom, and somebody has to look. */
const MOST_ENDS = 5;
const STUCK_MS = 600_000;
/** The journal's own bound is for events as the tap bounds them. */
export const MAX_RECORD_BYTES = 1 << 17;

class TransparencyLog implements Log, OpenedLog, Seal {
  readonly origin: string;
  readonly reader: LogReader;
  readonly totals = { records: 0, bytes: 0, writes: 0 };
  readonly #options: LogOptions;
  readonly #chains: Chains;
  #journal!: Journal;
  #publisher!: Publishing;
  /** Events of the write that gathers: their hashes are nobody's before it is sealed. */
  readonly #gathering = new StagedEvents();
  /** The tree with all that is sealed, and with all that is durable. */
  #staged = new Frontier();
  #durable = new Frontier();
  /** The index of the next event. */
  #next = 0;
  /** Sessions whose newest leaf is below the first begin anew, below the second they do not go on. */
  #forgottenBelow = 0;
  #heldBackBelow = 0;
  /** Checkpoints that are on their way to the disk. */
  #sealed: Sealed[] = [];
  /** What the events that no checkpoint covers yet have changed of the chains. */
  #undo: Undo[] = [];
  #committed: Committed | undefined;
  /** The index of its record in the journal; -1: there is none. */
  #committedAt = -1;
  #published: PublishedCheckpoint | undefined;
  #marks: Mark[] = [];
  #failed: LogError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #publishing: Promise<void> | undefined;
  #backoffMs = 0;
  /** How often the thread that publishes has ended in a row, and why the last time. */
  #ends = { count: 0, why: '' };
  #segmentSince = Number.NEGATIVE_INFINITY;
  /** The first leaf behind the last renewal of the segment. */
  #renewedAt = -1;
  #renewal: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: LogOptions) {
    this.#options = options;
    this.origin = (options.signers[0] as SignerKey).verifier.name;
    const { objects, signers, toldOfPruning: told = () => undefined } = options;
    const keys = signers.map(({ verifier }) => verifier);
    this.reader = new LogReader(objects, { open: (note) => openCheckpoint(note, this.origin, keys), told });
    this.#chains = new Chains(options.findChain);
  }

  async open(): Promise<void> {
    const { directory, objects, journal } = this.#options;
    const files = this.#files;
    const recovery = new Recovery();
    this.#journal = await openJournal(join(directory, 'journal'), {
      filledBytes: FILLED_BYTES,
      ...journal,
      files,
      maxRecordBytes: MAX_RECORD_BYTES,
      released: true,
      seal: this,
      prepare: async () => {
        await this.#refuseOldFormat(files);
        await objects.verify();
        await this.#readPublished(recovery);
      },
      replay: (index, record) => recovery.take(index, record),
    });
    try {
      this.#adopt(recovery);
      for (const each of this.#options.remembered ?? []) await this.goesOnFrom(each);
      await this.#confirm();
      await this.#listKeys();
      this.forgetBelow(await this.#pruned());
    } catch (error) {
      await this.#journal.close();
      throw error;
    }
    this.#schedule();
    this.#scheduleRenewal();
  }

  get #files(): FileSystem {
    return this.#options.files ?? nodeFileSystem;
  }

  get committed(): Committed | undefined {
    return this.#committed;
  }

  get published(): PublishedCheckpoint | undefined {
    return this.#published;
  }

  get size(): number {
    return this.#durable.size;
  }

  get tornBytes(): number {
    return this.#journal.tornBytes;
  }

  get publication(): Log['publication'] {
    const { count, why } = this.#ends;
    if (count < MOST_ENDS) return { ok: true };
    const behind = (this.#committed?.size ?? 0) - this.#publisher.size;
    return { ok: false, reason: `${why}, ${count} times in a row: ${behind} events are recorded and not published` };
  }

  get health(): Health {
    return this.#failed === undefined ? this.#journal.health : { ok: false, code: 'failed', reason: this.#failed.message };
  }

  stage(subject: Subject, event: Uint8Array): number {
    if (this.#failed !== undefined) throw this.#failed;
    const { session } = subject;
    const index = this.#next;
    const before = session === '' ? undefined : this.#chainOf(subject);
    const position = session === '' ? 0 : (before?.position ?? 0) + 1;
    const journal = this.#journal.stageIn(this.#gathering.bound(subject, event), (into, at) =>
      this.#gathering.write(into, at, index, subject, position, before?.index ?? 0, event),
    );
    this.#next += 1;
    if (session !== '') {
      this.#undo.push({ session, before });
      this.#chains.set(session, { index, position }, this.#durable.size);
    }
    this.#mark(index, journal);
    return index;
  }

  positionOf(subject: Subject): number {
    return subject.session === '' ? 0 : (this.#chainOf(subject)?.position ?? 0) + 1;
  }

  #chainOf(subject: Subject): Chain | undefined {
    const chain = this.#chains.get(subject);
    if (chain === undefined || chain.index >= this.#heldBackBelow) return chain;
    if (chain.index < this.#forgottenBelow) return undefined;
    throw new LogError(
      'pruned',
      `leaves below ${this.#heldBackBelow} are being pruned, and session ${subject.session} ended among them: come again`,
    );
  }

  holdBack(index: number): void {
    this.#heldBackBelow = Math.max(index, this.#forgottenBelow);
  }

  forgetBelow(index: number): void {
    this.#forgottenBelow = index;
    this.#heldBackBelow = index;
  }

  async newest(sessions: ReadonlySet<string>): Promise<Map<string, Chain>> {
    const found = new Map<string, Chain>();
    const { size = 0 } = this.#published ?? {};
    // What is not published, or might not have been when it was looked up, is read in order.
    for await (const { index, leaf } of this.read(size))
      if (sessions.has(leaf.session)) found.set(leaf.session, { index, position: leaf.position });
    const wanted = new Set([...sessions].filter((session) => !found.has(session)));
    const first = (await this.reader.minimum()) / TILE_WIDTH;
    for (let bundle = Math.ceil(size / TILE_WIDTH) - 1; bundle >= first && wanted.size > 0; bundle -= 1) {
      const entries = await this.reader.entries(bundle, size);
      for (let i = entries.length - 1; i >= 0; i -= 1) {
        const entry = entries[i] as Buffer;
        // The name stands in the leaf as it is: for few of them most leaves need no more than a look.
        if (wanted.size <= FEW_SESSIONS && ![...wanted].some((session) => entry.includes(session))) continue;
        const { session, position } = decodeLeaf(entry);
        if (wanted.delete(session)) found.set(session, { index: bundle * TILE_WIDTH + i, position });
      }
    }
    return found;
  }

  async *backwards(before: number): AsyncGenerator<Entries, void> {
    for (let end = before; end > 0; ) {
      const bundle = Math.ceil(end / TILE_WIDTH) - 1;
      const first = bundle * TILE_WIDTH;
      const { size = 0 } = this.#published ?? {};
      yield {
        first,
        entries: end <= size ? (await this.reader.entries(bundle, size)).slice(0, end - first) : await this.#entries(first, end),
      };
      end = first;
    }
  }

  async #entries(from: number, to: number): Promise<Buffer[]> {
    const entries: Buffer[] = [];
    for await (const { entry } of this.read(from)) if (entries.push(entry) === to - from) break;
    return entries;
  }

  settled(): Promise<void> {
    return this.#journal.settled();
  }

  /** The journal asks for the checkpoint that ends a write. */
  record(batch: Buffer): Buffer {
    this.#staged.appendAll(this.#gathering.hash(batch));
    const { size } = this.#staged;
    const root = this.#staged.root();
    const note = signCheckpoint({ origin: this.origin, size, root }, this.#options.signers);
    this.#sealed.push({ size, root, note, frontier: this.#staged.clone(), at: this.#journal.next, undo: this.#undo });
    this.#undo = [];
    return encodeCheckpointRecord(note);
  }

  /** The journal says that a write is durable. */
  durable(): void {
    const { frontier, size, root, note, at } = this.#sealed.shift() as Sealed;
    this.totals.records += size - this.#durable.size;
    this.totals.writes += 1;
    this.totals.bytes = this.#journal.totals.bytes;
    this.#durable = frontier;
    this.#committed = { size, root, note };
    this.#committedAt = at;
    this.#schedule();
  }

  /** The journal says that what is not durable is lost: its leaves are none. Their checkpoints have not left this process. */
  lost(): void {
    const undone = [...this.#sealed.flatMap(({ undo }) => undo), ...this.#undo];
    for (const { session, before } of undone.reverse()) this.#chains.restore(session, before);
    this.#sealed = [];
    this.#undo = [];
    this.#gathering.clear();
    this.#staged = this.#durable.clone();
    this.#next = this.#durable.size;
    while ((this.#marks.at(-1)?.leaf ?? -1) >= this.#durable.size) this.#marks.pop();
  }

  async *read(from = 0): AsyncGenerator<LogRecord, void> {
    const end = this.#durable.size;
    let at = from;
    while (at < end) {
      // What the journal has let go of is published.
      const inJournal = Math.min(this.#firstInJournal, end);
      if (at < inJournal) {
        try {
          for await (const record of this.reader.read(at, inJournal, (this.#published as PublishedCheckpoint).size)) {
            yield record;
            at = record.index + 1;
          }
        } catch (error) {
          if ((error as LogError).code !== 'pruned') throw error;
          at = await this.reader.minimum();
        }
        continue;
      }
      try {
        for await (const events of this.#journaled(at, end))
          for (const { index, entry, salt, event } of events) {
            at = index + 1;
            yield { index, entry, leaf: decodeLeaf(entry), detail: { index, salt, event } };
          }
        return;
      } catch (error) {
        // A segment may have been let go of between finding it and reading it.
        if (at >= this.#firstInJournal) throw error;
      }
    }
  }

  async publish(): Promise<void> {
    // What comes meanwhile is for the next one: under load there is always something.
    const { size = 0 } = this.#committed ?? {};
    while (this.#failed === undefined && this.#publisher.size < size) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      await (this.#publishing ??= this.#publishNow());
    }
    if (this.#failed !== undefined) throw this.#failed;
  }

  async undisturbed<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#publishing !== undefined) await this.#publishing.catch(() => {});
    const working = work();
    this.#publishing = working.then(
      () => {},
      () => {},
    );
    try {
      return await working;
    } finally {
      this.#publishing = undefined;
      this.#schedule();
    }
  }

  async goesOnFrom({ size, root }: Remembered): Promise<void> {
    if (size > (this.#committed?.size ?? 0))
      throw new LogError('rolled_back', `a checkpoint of ${size} is remembered, and the log has ${this.#committed?.size ?? 0}`);
    if (size === 0) return;
    if (size > this.#publisher.size) await this.publish();
    const roots = await frontierOf(size, this.reader.nodes(this.#publisher.size));
    if (!Frontier.of(size, roots).root().equals(root))
      throw new LogError('forked', `the log does not go on from the checkpoint of ${size} that is remembered`);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    // What is staged becomes durable, but nothing new is taken.
    await this.#journal.settled().catch(() => {});
    this.#closed = true;
    await this.publish().catch(() => {});
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    await this.#publishing?.catch(() => {});
    await this.#publisher.close();
    await this.#journal.close();
    await this.#options.objects.close();
  }

  get #firstInJournal(): number {
    return this.#marks[0]?.leaf ?? this.#durable.size;
  }

  #mark(leaf: number, journal: number): void {
    const last = this.#marks.at(-1);
    if (last === undefined || leaf - last.leaf >= MARK_LEAVES) this.#marks.push({ leaf, journal });
  }

  /** The journal's events from index `from` to before `to`. */
  #journaled(from: number, to: number): AsyncGenerator<readonly Sourced[], void> {
    return journaled(this.#files, this.#extents(from), from, to);
  }

  /** Where the journal has the events from index `from` on. */
  #extents(from: number): Extent[] {
    return this.#journal.extents(this.#marks.findLast(({ leaf }) => leaf <= from)?.journal ?? 0);
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#publishing !== undefined || this.#closed || this.#failed !== undefined) return;
    if (this.#committed === undefined || this.#publisher.size >= this.#committed.size) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#publishing ??= this.#publishNow();
        this.#publishing.catch(() => {});
      },
      Math.max(this.#options.publishMs ?? 1000, this.#backoffMs),
    ).unref();
  }

  async #publishNow(): Promise<void> {
    try {
      const target = this.#committed as Committed;
      await this.#publisher.publish(target, this.#extents(this.#publisher.size));
      this.#published = { origin: this.origin, ...target };
      this.#backoffMs = 0;
      this.#ends = { count: 0, why: '' };
      await this.#renew();
      await this.#release();
    } catch (error) {
      if (error instanceof LogError) this.#failed = error;
      this.#backoffMs = Math.min(Math.max(2 * this.#backoffMs, 1000), MAX_BACKOFF_MS);
      this.#ends = error instanceof ThreadEnded ? { count: this.#ends.count + 1, why: error.message } : { count: 0, why: '' };
      const { publication } = this;
      if (!publication.ok) this.#backoffMs = STUCK_MS;
      this.#options.onProblem?.(
        publication.ok
          ? (error as Error)
          : new ThreadEnded(
              `NOTHING IS PUBLISHED ANY MORE: ${publication.reason}. They are durable in the journal, which grows. It is tried again each ${STUCK_MS / 60_000} minutes, and at the next start`,
              { cause: error },
            ),
      );
      throw error;
    } finally {
      this.#publishing = undefined;
      this.#schedule();
      this.#scheduleRenewal();
    }
  }

  /** A segment that is written to is never let go of, and on a quiet day it fills slowly. What a start finds is of unknown age. */
  async #renew(): Promise<void> {
    if (this.#untilRenewal() > 0) return;
    this.#segmentSince = this.#monotonic();
    const leaf = this.#next;
    const rotated = this.#journal.rotate();
    this.#marks.push({ leaf, journal: this.#journal.next });
    // All before goes at once, perhaps. A journal without the newest checkpoint would be one that was rolled back.
    const { size, note } = this.#committed as Committed;
    const current = size === leaf;
    await Promise.all([rotated, current && this.#journal.append(encodeCheckpointRecord(note))]);
    // Of what was under way the checkpoint is in the segment before, which stays for it: until the next renewal, should nothing come any more.
    if (current) this.#renewedAt = leaf;
  }

  /** Milliseconds; infinite when there is no need. */
  #untilRenewal(): number {
    const { segmentMs } = this.#options;
    if (segmentMs === undefined || this.#committed === undefined || this.#staged.size === this.#renewedAt) return Number.POSITIVE_INFINITY;
    return this.#segmentSince + segmentMs - this.#monotonic();
  }

  #monotonic(): number {
    return (this.#options.monotonic ?? (() => performance.now()))();
  }

  /** While nothing happens nothing is published, and segments go all the same. */
  #scheduleRenewal(): void {
    const wait = this.#untilRenewal();
    if (this.#renewal !== undefined || wait === Number.POSITIVE_INFINITY || this.#closed || this.#failed !== undefined) return;
    this.#renewal = setTimeout(
      () => {
        this.#renewal = undefined;
        this.undisturbed(async () => {
          await this.#renew();
          await this.#release();
        })
          .catch((error: Error) => this.#options.onProblem?.(error))
          .finally(() => this.#scheduleRenewal());
      },
      Math.min(Math.max(wait, this.#journal.health.ok ? 0 : MAX_BACKOFF_MS), MAX_TIMER_MS),
    ).unref();
  }

  /** Lets the journal's segments go that hold nothing but what is published, and not the newest checkpoint: a start without it would find a log that was rolled back. */
  async #release(): Promise<void> {
    const keep = this.#marks.findLastIndex(({ leaf, journal }) => leaf <= this.#publisher.size && journal <= this.#committedAt);
    if (keep < 0) return;
    // Whoever reads finds what is before it among what is published, from now on.
    this.#marks.splice(0, keep);
    await this.#journal.release((this.#marks[0] as Mark).journal);
  }

  async #refuseOldFormat(files: FileSystem): Promise<void> {
    const { directory } = this.#options;
    const names = await files.list(directory);
    if (names.some((name) => /^\d{16}\.journal$/.test(name)))
      throw new LogError(
        'old_format',
        `${directory} holds the record of an earlier version, which is no log: move it away; this version begins a new one`,
      );
  }

  /** The newest bundle is made anew from what is published of it, as far as this version knows that. */
  async #refuseNewer(size: number): Promise<void> {
    if (size % TILE_WIDTH === 0) return;
    // One that is missing, or nothing, is told of by who makes it anew.
    const entries = await this.reader.entries(Math.floor(size / TILE_WIDTH), size).catch(() => []);
    for (const entry of entries) refuseLater(entry);
  }

  async #readPublished(recovery: Recovery): Promise<void> {
    const { signers, objects } = this.#options;
    const published = await this.reader.checkpoint().catch((error: unknown) => {
      if ((error as TlogError).code !== 'malformed') throw error;
      throw new LogError('corrupt', `the published checkpoint (${objects.url}) cannot be read: ${(error as Error).message}`, error);
    });
    if (published === undefined) {
      this.#publisher = this.#newPublisher(new TileEdge());
      return;
    }
    this.#verify(published.note, `the published checkpoint (${objects.url})`, signers);
    const { edge } = (await publishedEdge(objects)) as { edge: TileEdge };
    await this.#refuseNewer(published.size);
    this.#publisher = this.#newPublisher(edge);
    this.#published = published;
    recovery.begin(published, Frontier.of(published.size, edge.roots()));
  }

  #newPublisher(edge: TileEdge): Publishing {
    const { objects, publishedIn, retainUntil, cosign, now } = this.#options;
    if (publishedIn !== undefined) return new PublisherThread(publishedIn, edge.size);
    return new Publisher({ objects, files: this.#files, retainUntil, cosign, now }, edge);
  }

  #verify(note: string, what: string, signers: readonly SignerKey[]): void {
    try {
      openCheckpoint(
        note,
        this.origin,
        signers.map(({ verifier }) => verifier),
      );
    } catch (error) {
      const { code, message } = error as TlogError;
      if (code === 'unproven') throw new LogError('origin', `${what}: ${message}`);
      throw new LogError('key', `${what}: ${message}; the log's key is not the one that is configured`);
    }
  }

  #adopt(recovery: Recovery): void {
    const { last, lastAt, frontier, marks } = recovery.finish();
    if (last !== undefined) this.#verify(last.note, 'the newest checkpoint of the journal', this.#options.signers);
    this.#committed = last;
    this.#committedAt = lastAt;
    this.#durable = frontier;
    this.#staged = frontier.clone();
    this.#next = frontier.size;
    this.#marks = marks;
  }

  /** What is only said to be pruned is not, here; who prunes says that something is wrong. */
  async #pruned(): Promise<number> {
    try {
      return await this.reader.minimum();
    } catch (error) {
      if (error instanceof LogError || error instanceof TlogError) return 0;
      throw error;
    }
  }

  async #confirm(): Promise<void> {
    const { confirm } = this.#options;
    if (confirm === undefined) return;
    // Others are shown what is published. Where that fails now, it is less, and `goesOnFrom` tells why.
    await this.publish().catch(() => {});
    await confirm(this);
  }

  async listedKeys(): Promise<string> {
    return (await this.#options.objects.get('keys'))?.toString('utf8') ?? '';
  }

  /** Keeps a list of the keys that have signed this log, each with the size from which on it has: `keys`, one on a line. */
  async #listKeys(): Promise<void> {
    const { objects, signers } = this.#options;
    const listed = await this.listedKeys();
    const known = new Set(listedKeys(listed));
    const missing = signers.map(({ verifier }) => formatVerifierKey(verifier)).filter((key) => !known.has(key));
    if (missing.length === 0) return;
    const from = this.#committed?.size ?? 0;
    // A last line without an end is not to become one with the next.
    const ended = listed === '' || listed.endsWith('\n') ? listed : `${listed}\n`;
    await objects.put('keys', Buffer.from(ended + missing.map((key) => `${from} ${key}\n`).join('')));
  }
}

const RESTORE =
  'one of the two is lost, or of an older day; put both back as they were at one moment, or begin another log (docs/operations.md)';

const refuseLater = (entry: Buffer): void => {
  if (isOfLaterVersion(kindOfEntry(entry)))
    throw new LogError(
      'newer',
      'a later version of Sluice has recorded here what this one does not know: start that one (docs/upgrading.md)',
    );
};

/** Makes sense of what a journal holds, beginning with what is published. */
class Recovery {
  #published: PublishedCheckpoint | undefined;
  #frontier = new Frontier();
  #next: number | undefined;
  #last: Committed | undefined;
  #lastAt = -1;
  readonly #marks: Mark[] = [];

  begin(published: PublishedCheckpoint, frontier: Frontier): void {
    this.#published = published;
    this.#frontier = frontier;
  }

  take(journal: number, bytes: Buffer): void {
    const record = decodeRecord(bytes);
    if (record.kind === 'checkpoint') this.#takeCheckpoint(journal, record.note);
    else this.#takeEvent(journal, record.index, record.entry);
  }

  #takeEvent(journal: number, index: number, entry: Buffer): void {
    refuseLater(entry);
    const published = this.#published?.size ?? 0;
    if (this.#next === undefined && index > published)
      throw new LogError(
        'rolled_back',
        `the journal begins with event ${index}, and what is published ends before event ${published}: ${RESTORE}`,
      );
    if (this.#next !== undefined && index !== this.#next)
      throw new LogError('corrupt', `the journal goes on with event ${index} where event ${this.#next} belongs`);
    this.#next = index + 1;
    if (index === this.#frontier.size) this.#frontier.append(leafHash(entry));
    const last = this.#marks.at(-1);
    if (last === undefined || index - last.leaf >= MARK_LEAVES) this.#marks.push({ leaf: index, journal });
  }

  #takeCheckpoint(journal: number, note: string): void {
    const { size, root } = parseUnverified(note);
    if (this.#next !== undefined && size !== this.#next)
      throw new LogError('corrupt', `a checkpoint of ${size} stands in the journal behind event ${this.#next - 1}`);
    // Below what is published only its size can be told; at and above it, the tiles and these entries must give the root.
    if (size === this.#frontier.size && !this.#frontier.root().equals(root))
      throw new LogError('forked', `the events of the journal do not go on from what is published to its checkpoint of ${size}`);
    this.#last = { size, root, note };
    this.#lastAt = journal;
  }

  finish(): { last: Committed | undefined; lastAt: number; frontier: Frontier; marks: Mark[] } {
    const { size = 0 } = this.#published ?? {};
    if (size > 0 && (this.#last?.size ?? 0) < size)
      throw new LogError(
        'rolled_back',
        `the journal ends with a checkpoint of ${this.#last?.size ?? 0}, and one of ${size} is published: ${RESTORE}`,
      );
    // A journal that was begun with a checkpoint alone has no events that could show it: to go on from less than was signed would be a fork.
    if (this.#last !== undefined && this.#last.size > this.#frontier.size)
      throw new LogError(
        'rolled_back',
        `the journal ends with a checkpoint of ${this.#last.size}, and it and what is published have ${this.#frontier.size} events: ${RESTORE}`,
      );
    return { last: this.#last, lastAt: this.#lastAt, frontier: this.#frontier, marks: this.#marks };
  }
}

const parseUnverified = (note: string): { size: number; root: Buffer } => {
  const [, size, root] = note.split('\n');
  return { size: Number(size), root: Buffer.from(root ?? '', 'base64') };
};

/**
 * Opens the log, beginning it when it is not there, and recovers what a crash left. Rejects with a `LogError` (`key`, `origin`, `rolled_back`, `forked`, `corrupt`,
 * `old_format`), a `JournalError` (`locked`, `corrupt`, `full`, `failed`) or a `StorageError`.
 */
export const openLog = async (options: LogOptions): Promise<Log> => {
  const log = new TransparencyLog(options);
  await log.open();
  return log;
};
