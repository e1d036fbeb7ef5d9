/**
 * The index of sessions in a file that a thread of its own writes: a change waits for the disk now and then, and nothing else may wait with it. Reading is this thread's.
 */
import { rmSync } from 'node:fs';
import { AskedThread } from '../asked_thread.ts';
import { JournalError } from '../journal/error.ts';
import { lockFile } from '../journal/file_system.ts';
import {
  type HeardEmitter,
  type Progress,
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
    return this.#here.progress;
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
    return this.#here.spans(from, to, limit);
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
    return this.#here.get(id);
  }

  open(): Session[] {
    return this.#here.open();
  }

  list(filter: SessionFilter, limit: number, skip?: (id: string) => boolean): Session[] {
    return this.#here.list(filter, limit, skip);
  }

  before(filter: SessionFilter, before: number, limit: number): Session[] {
    return this.#here.before(filter, before, limit);
  }

  sequenceOf(emitter: string): number | undefined {
    return this.#here.sequenceOf(emitter);
  }

  async close(): Promise<void> {
    await this.#thread.close();
    this.#here.close();
    this.#unlock();
  }
}

/**
 * The index at `path`; one that cannot be read is made again. Throws when another process has it (a `JournalError`, `locked`), and as the file system does.
 */
export const openSessionIndex = (path: string): SessionIndex => {
  const unlock = lockFile(`${path}-lock`);
  if (unlock === undefined) throw new JournalError('locked', `${path} is in use by another process`);
  try {
    return new IndexThread(path, readable(path), unlock);
  } catch (error) {
    unlock();
    throw error;
  }
};

/** It is made again of the record. */
export const removeSessionIndex = (path: string): void => {
  for (const end of ['', '-wal', '-shm']) rmSync(path + end, { force: true });
};

const readable = (path: string): SqliteIndex => {
  try {
    return new SqliteIndex(path);
  } catch (error) {
    const CANNOT_OPEN = 14;
    if ((error as { errcode?: number }).errcode === CANNOT_OPEN) throw error;
    removeSessionIndex(path);
    return new SqliteIndex(path);
  }
};
