/**
 * Where what is derived of the log stands: objects by key, as the layout of c2sp.org/tlog-tiles names them. Local files are the embedded default
 * (local_files.ts). One log has one store and one writer.
 */

export type StorageErrorCode =
  /** The store does not answer, or not in time: it is tried again. */
  | 'unavailable'
  /** The store is full. */
  | 'full'
  /** What is there must not be changed or removed yet: a lock, a hold. */
  | 'retained'
  /** The store has not what the operator asked of it, as a lock until a date. */
  | 'unsupported'
  /** The store does not let us. */
  | 'forbidden'
  /** A key that no object can have. */
  | 'malformed';

export class StorageError extends Error {
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StorageError';
    this.code = code;
  }
}

export interface PutOptions {
  /** Leaves what is there as it is. Atomic where the store can (a conditional put). */
  readonly ifAbsent?: true;
  /** Until then the store lets nobody change or remove it. A store that cannot rejects with `unsupported`. */
  readonly retainUntil?: Date;
  /** There, whole and durable, when `settle` has resolved, and perhaps not before: for who puts many before anything counts on one. */
  readonly settledLater?: true;
}

/** Every method rejects with a `StorageError`. */
export interface ObjectStore {
  /** For people: `file:///var/lib/sluice/tap/log`, `s3://bucket/prefix`. */
  readonly url: string;
  /** Durable and whole when it resolves, and readers see the old object or the new one; `exists` with `ifAbsent` only. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<'stored' | 'exists'>;
  /**
   * Resolves when all that was put with `settledLater`, or found there by such a put, is there and durable. After a rejection, of this or of such a put, that has to be put again: what
   * had been put since the last time may not be there.
   */
  settle(): Promise<void>;
  /** `undefined` when there is none. `range`: bytes from `from` to before `to`, shorter at the object's end. */
  get(key: string, range?: { readonly from: number; readonly to: number }): Promise<Buffer | undefined>;
  /** Keys that begin with `prefix`, in the order of their bytes, from the first one behind `after`. */
  list(prefix: string, after?: string): AsyncIterable<string>;
  /** One that is not there is no error; one that is retained or held is (`retained`). */
  delete(key: string): Promise<void>;
  /** Puts a legal hold on an object that is there, or takes it off: held, it cannot be removed whatever its age. */
  hold(key: string, on: boolean): Promise<void>;
  /** At start-up: rejects unless the store is there, takes what is put, and has what the operator asked for. */
  verify(): Promise<void>;
  close(): Promise<void>;
}

/** For who only reads. */
export type ReadableStore = Pick<ObjectStore, 'get' | 'list'>;

/** @returns false when the object is locked or held, and stays */
export const deleteUnlessRetained = async (store: Pick<ObjectStore, 'delete'>, key: string): Promise<boolean> => {
  try {
    await store.delete(key);
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === 'retained') return false;
    throw error;
  }
};

/** Lower-case words and numbers between slashes; never a way out of the store. */
const KEY = /^[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9_-]+)*(?:\/[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9_-]+)*)*$/;

export const isKey = (key: string): boolean => key.length <= 512 && KEY.test(key);

/** Throws a `StorageError` (`malformed`) for a key that no object can have. */
export const checkKey = (key: string): void => {
  if (!isKey(key)) throw new StorageError('malformed', `no key of an object: ${JSON.stringify(key.slice(0, 100))}`);
};
