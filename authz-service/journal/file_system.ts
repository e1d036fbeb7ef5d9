/** What a journal asks of a disk, and nothing more: small enough that a test can stand in for it and fail at every step. */
import fs from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { isMissing, JournalError } from './error.ts';

export interface File {
  /** Writes all of `bytes` at `position`. When it resolves they are on the disk; when it rejects, any part of them may be. */
  writeDurably(bytes: Uint8Array, position: number): Promise<void>;
  /** Reads up to `into.length` bytes from `position`; 0 at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Cuts the file to `length` bytes; durable when it resolves. */
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** A new file whose bytes are durable when `sync` has resolved, and not before: for who writes many and waits for the disk once. */
export interface UnsyncedFile {
  /** Writes all of `bytes`; called once. */
  write(bytes: Uint8Array): Promise<void>;
  /** When it rejects, any part of the file may be on the disk, and no later call tells. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface FileSystem {
  /** Creates the directory and its parents, for this user only. */
  makeDirectory(path: string): Promise<void>;
  list(directory: string): Promise<string[]>;
  isDirectory(path: string): Promise<boolean>;
  exists(path: string): Promise<boolean>;
  /** `create` fails when the file exists. */
  open(path: string, mode: 'create' | 'write' | 'read'): Promise<File>;
  /** Fails when the file exists. */
  createUnsynced(path: string): Promise<UnsyncedFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Fails when something is in it. */
  removeDirectory(path: string): Promise<void>;
  /** Makes creations, renames and removals in the directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Bytes that can still be written to the device of this directory. */
  room(directory: string): Promise<number>;
  /** Takes the directory for one writer. Resolves to the release, or to `undefined` when somebody else has it. */
  lock(directory: string): Promise<(() => void) | undefined>;
}

const open = promisify(fs.open);
const truncate = promisify(fs.ftruncate);
const sync = promisify(fs.fsync);
const stat = promisify(fs.fstat);
const close = promisify(fs.close);

const { O_CREAT, O_EXCL, O_RDWR, O_RDONLY, O_NONBLOCK, O_DSYNC } = fs.constants;
// With O_DSYNC a write returns when it is durable: one trip through the thread pool for a batch in place of two (a third less CPU than write and
// fdatasync). macOS and Windows need the flush that libuv's fdatasync asks for.
const WRITES_ARE_DURABLE = process.platform === 'linux';
// A pipe that somebody put in a file's place is empty, and is not waited for.
export const READ_FLAGS = O_RDONLY | (O_NONBLOCK ?? 0);
const FLAGS = {
  create: O_CREAT | O_EXCL | O_RDWR | (WRITES_ARE_DURABLE ? O_DSYNC : 0),
  write: O_RDWR | (WRITES_ARE_DURABLE ? O_DSYNC : 0),
  read: READ_FLAGS,
};

const openFile = async (path: string, mode: keyof typeof FLAGS): Promise<File> => {
  const fd = await open(path, FLAGS[mode], 0o600);
  return {
    writeDurably: (bytes, position) =>
      new Promise((resolve, reject) => {
        const step = (from: number): void =>
          fs.write(fd, bytes, from, bytes.length - from, position + from, (error, written) => {
            if (error) reject(error);
            else if (written === 0) reject(Object.assign(new Error('a write of the journal wrote nothing'), { code: 'EIO' }));
            else if (from + written < bytes.length) step(from + written);
            else if (WRITES_ARE_DURABLE) resolve();
            else fs.fdatasync(fd, (failed) => (failed ? reject(failed) : resolve()));
          });
        if (bytes.length === 0) resolve();
        else step(0);
      }),
    read: (into, position) =>
      new Promise((resolve, reject) => {
        fs.read(fd, into, 0, into.length, position, (error, count) => (error ? reject(error) : resolve(count)));
      }),
    truncate: async (length) => {
      await truncate(fd, length);
      await sync(fd);
    },
    size: async () => (await stat(fd)).size,
    close: () => close(fd),
  };
};

const notLocked = (path: string, error: unknown): JournalError =>
  new JournalError(
    'failed',
    `${path} cannot be locked (${(error as Error).message}). It is an empty file of this user's: if something else is in its place, remove that while no service runs`,
    error,
  );

/**
 * Takes the file at `path`, which holds nothing; returns the release, or `undefined` when somebody else has it. Throws a `JournalError` (`failed`) when it cannot be locked. An advisory lock that the kernel gives up when its holder dies, whatever the way. Node has no flock; SQLite's exclusive lock on a database is the
 * kernel's record lock (fcntl), which also holds between containers on one volume. A file with a process id in it would have to be judged stale.
 */
export const lockFile = (path: string): (() => void) | undefined => {
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
  } catch (error) {
    throw notLocked(path, error);
  }
  try {
    database.exec('PRAGMA journal_mode=MEMORY; PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE');
    return () => database.close();
  } catch (error) {
    database.close();
    const SQLITE_BUSY = 5;
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw notLocked(path, error);
  }
};

export const nodeFileSystem: FileSystem = {
  makeDirectory: async (path) => {
    await fs.promises.mkdir(path, { recursive: true, mode: 0o700 });
  },
  list: (directory) => fs.promises.readdir(directory),
  isDirectory: async (path) => (await fs.promises.stat(path)).isDirectory(),
  exists: (path) =>
    fs.promises.stat(path).then(
      () => true,
      (error: unknown) => {
        if (isMissing(error)) return false;
        throw error;
      },
    ),
  open: openFile,
  createUnsynced: async (path) => {
    const file = await fs.promises.open(path, 'wx', 0o600);
    return { write: (bytes) => file.writeFile(bytes), sync: () => file.datasync(), close: () => file.close() };
  },
  rename: (from, to) => fs.promises.rename(from, to),
  remove: (path) => fs.promises.rm(path),
  removeDirectory: (path) => fs.promises.rmdir(path),
  syncDirectory: async (path) => {
    const fd = await open(path, O_RDONLY);
    try {
      await sync(fd);
    } finally {
      await close(fd);
    }
  },
  room: async (directory) => {
    const { bavail, bsize } = await fs.promises.statfs(directory);
    return bavail * bsize;
  },
  lock: async (directory) => lockFile(join(directory, 'lock')),
};
