/**
 * The index of sessions in a file that a thread of its own writes: a change waits for the disk now and then, and nothing else may wait with it. Reading is this thread's.
 */
import { rmSync } from 'node:fs';
import { AskedThread } from '../asked_thread.ts';
import { JournalError } from '../journal/error.ts';
import { lockFile } from '../journal/file_system.ts';
import {
  cannotOpen,
  type HeardEmitter,
  isDamage,
  type Progress,
  RESTORED_SESSIONS,
  rowOf,
  type SessionIndex,
  type SessionRow,
  type SessionSpan,
  SqliteIndex,
} from './session_index.ts';
import type { Session, SessionFilter } from './sessions.ts';

/** Sessions go as what is written: they are made a text of once, and never read again on the way. */
export type ToIndexer =
  | {
      readonly kind: 'apply';
      readonly rows: readonly SessionRow[];
      readonly emitters: readonly HeardEmitter[];
      readonly progress: Progress;
    }
  | { readonly kind: 'forget'; readonly from: number; readonly to: number; readonly limit: number }
  | { readonly kind: 'prune'; readonly below: number; readonly limit: number }
  | { readonly kind: 'distrust' };

/** How many sessions were written, or removed; or why none was. */
export type FromIndexer = { readonly count: number } | { readonly failure: string };

const MAX_HEAP_MB = 128;

const damaged = (error: unknown): string =>
  `the index of sessions is damaged (${(error as Error).message}): it is made again of the record at the next start`;

class IndexThread implements SessionIndex {
  readonly #here: SqliteIndex;
  readonly #unlock: () => void;
  /** What one that has ended had not applied comes again with the next change. */
  readonly #thread: AskedThread<ToIndexer, FromIndexer>;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(path: string, here: SqliteIndex, unlock: () => void) {
    this.#here = here;
    this.#unlock = unlock;
    this.#thread = new AskedThread({
      code: new URL('./session_index.worker.ts', import.meta.url),
      start: () => path,
      maxHeapMb: MAX_HEAP_MB,
      ended: 'the thread that writes the index of sessions has ended',
    });
  }

  get progress(): Progress {
    return this.#read(() => this.#here.progress);
  }

  async apply(sessions: readonly Session[], emitters: readonly HeardEmitter[], progress: Progress): Promise<void> {
    const heard = emitters.map(({ id, durable }) => ({ id, durable }));
    await this.#ask({ kind: 'apply', rows: sessions.map(rowOf), emitters: heard, progress });
  }

  forget(from: number, to: number, limit: number): Promise<number> {
    return this.#ask({ kind: 'forget', from, to, limit });
  }

  async distrust(): Promise<void> {
    await this.#ask({ kind: 'distrust' });
  }

  prune(below: number, limit: number): Promise<number> {
    return this.#ask({ kind: 'prune', below, limit });
  }

  spans(from: number, to: number, limit: number): readonly SessionSpan[] {
    return this.#read(() => this.#here.spans(from, to, limit));
  }

  /** Throws a `JournalError` (`corrupt`) when the file is damaged. */
  #read<Result>(reading: () => Result): Result {
    try {
      return reading();
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.distrust().catch(() => {});
      throw new JournalError('corrupt', damaged(error), error);
    }
  }

  /** One after the other. */
  #ask(message: ToIndexer): Promise<number> {
    const answer = this.#turn.then(() => this.#asked(message));
    this.#turn = answer.catch(() => {});
    return answer;
  }

  async #asked(message: ToIndexer): Promise<number> {
    const answer = await this.#thread.ask(message);
    if ('failure' in answer) throw new Error(`the index of sessions: ${answer.failure}`);
    return answer.count;
  }

  get(id: string): Session | undefined {
    return this.#read(() => this.#here.get(id));
  }

  open(): Session[] {
    return this.#read(() => this.#here.open());
  }

  list(filter: SessionFilter, limit: number, skip?: (id: string) => boolean): Session[] {
    return this.#read(() => this.#here.list(filter, limit, skip));
  }

  before(filter: SessionFilter, before: number, limit: number): Session[] {
    return this.#read(() => this.#here.before(filter, before, limit));
  }

  sequenceOf(emitter: string): number | undefined {
    return this.#read(() => this.#here.sequenceOf(emitter));
  }

  async close(): Promise<void> {
    await this.#thread.close();
    this.#here.close();
    this.#unlock();
  }
}

/**
 * The index at `path`; one in which what a start reads cannot be read is made again. Throws a `JournalError` when another process has it (`locked`) or when it cannot be opened (`failed`), and as the file system
 * does. Of what it gives, reading throws a `JournalError` (`corrupt`) where the file is damaged: the next opening makes it again.
 */
export const openSessionIndex = (path: string): SessionIndex => {
  const unlock = lockFile(`${path}-lock`);
  if (unlock === undefined) throw new JournalError('locked', `${path} is in use by another process`);
  try {
    return new IndexThread(path, readable(path), unlock);
  } catch (error) {
    unlock();
    if (!cannotOpen(error)) throw error;
    throw new JournalError(
      'failed',
      `the index of sessions ${path} cannot be opened: something else is in its place, or it is not this user's. Where it is not there it is made again of the record`,
      error,
    );
  }
};

/** It is made again of the record. */
export const removeSessionIndex = (path: string): void => {
  for (const end of ['', '-wal', '-shm']) rmSync(path + end, { force: true });
};

const readable = (path: string): SqliteIndex => {
  let index: SqliteIndex | undefined;
  try {
    index = new SqliteIndex(path);
    // All that a start reads of it: where that is damaged, there would never be one.
    for (const read of [() => index?.progress, () => index?.open(), () => index?.list({ state: 'closed' }, RESTORED_SESSIONS)]) read();
    return index;
  } catch (error) {
    if (cannotOpen(error)) throw error;
    index?.close();
    removeSessionIndex(path);
    return new SqliteIndex(path);
  }
};
