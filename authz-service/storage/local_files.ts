/** Objects as files below a directory: a key is a path. Each is written beside its name, made durable, alone or with others, and renamed. */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isFull, isMissing } from '../journal/error.ts';
import { type FileSystem, nodeFileSystem, type UnsyncedFile } from '../journal/file_system.ts';
import { checkKey, isKey, type ObjectStore, type PutOptions, StorageError } from './object_store.ts';

/** Files that were not finished; a name that no key has. */
const UNFINISHED = '.unfinished';

/** The end of directories that come and go: of the partial forms of a tile. */
const PARTIAL = '.p';

/** Objects that are written before the disk is waited for: their files are open meanwhile. */
const GATHERED = 48;
/** Of these so many wait for the disk at once: Node has four threads for files, and the journal's next write must find one. */
const SYNCED_AT_ONCE = 3;

/** Nothing of a log is as large: 256 events with all that belongs to them. What is in a directory that others made may be. */
const MAX_BYTES = 1 << 26;

const coded = (error: unknown, path: string): StorageError => {
  if (error instanceof StorageError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const kind = isFull(error) ? 'full' : code === 'EACCES' || code === 'EPERM' || code === 'EROFS' ? 'forbidden' : 'unavailable';
  return new StorageError(kind, `${path}: ${message}`, error);
};

/** An object that is written, and neither durable nor there yet. */
interface Gathered {
  readonly file: UnsyncedFile;
  readonly unfinished: string;
}

class LocalFiles implements ObjectStore {
  readonly url: string;
  readonly #root: string;
  readonly #files: FileSystem;
  /** Directories that are there, and durably so. */
  readonly #made = new Set<string>();
  /** By their path: what was put to be settled later. */
  #gathered = new Map<string, Gathered>();
  /** Settles when what was gathered before is there, or lost. */
  #storing: Promise<void> = Promise.resolve();
  /** Directories with names that may not be durable: of objects that were put to be settled later, or behind which a sync has failed. */
  readonly #unsettled = new Set<string>();
  /** Directories that are being synced after a change; a change that comes meanwhile needs another one. */
  readonly #syncs = new Map<string, { running: Promise<void>; next: Promise<void> | undefined }>();
  /** Of this one alone: other threads write here, too. */
  readonly #own = randomBytes(6).toString('hex');
  #puts = 0;

  constructor(root: string, files: FileSystem) {
    this.#root = root;
    this.#files = files;
    this.url = pathToFileURL(root).href;
  }

  async put(key: string, bytes: Uint8Array, { ifAbsent, retainUntil, settledLater }: PutOptions = {}): Promise<'stored' | 'exists'> {
    const path = this.#path(key);
    if (retainUntil !== undefined) throw new StorageError('unsupported', `${this.url}: files have no lock until a date`);
    const directory = dirname(path);
    try {
      const exists = ifAbsent === true && (await this.#files.exists(path));
      if (settledLater && !exists) await this.#gather(path, bytes);
      else if (!exists) await this.#store(path, bytes);
      // Whoever put what is there may not have come as far as to make its name durable.
      if (exists ? settledLater : !settledLater) this.#unsettled.add(directory);
      if (!settledLater && this.#unsettled.has(directory)) await this.#settle(directory);
      return exists ? 'exists' : 'stored';
    } catch (error) {
      throw coded(error, path);
    }
  }

  /** One sync for all names of a directory. */
  async settle(): Promise<void> {
    try {
      await this.#storeGathered();
    } catch (error) {
      throw coded(error, this.#root);
    }
    for (const directory of [...this.#unsettled])
      try {
        await this.#settle(directory);
      } catch (error) {
        throw coded(error, directory);
      }
  }

  async get(key: string, range?: { from: number; to: number }): Promise<Buffer | undefined> {
    const path = this.#path(key);
    try {
      const file = await this.#files.open(path, 'read');
      try {
        const { from = 0, to = await file.size() } = range ?? {};
        if (to - from > MAX_BYTES) throw new StorageError('unavailable', `${path} has ${to - from} bytes, more than any object of a log`);
        const bytes = Buffer.allocUnsafe(Math.max(0, to - from));
        let length = 0;
        for (let count = 1; count > 0 && length < bytes.length; length += count)
          count = await file.read(bytes.subarray(length), from + length);
        return bytes.subarray(0, length);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw coded(error, path);
    }
  }

  async *list(prefix: string, after = ''): AsyncGenerator<string> {
    const slash = prefix.lastIndexOf('/');
    yield* this.#below(slash < 0 ? '' : prefix.slice(0, slash), prefix, after);
  }

  async delete(key: string): Promise<void> {
    const path = this.#path(key);
    try {
      await this.#files.remove(path);
      const directory = dirname(path);
      await this.#sync(directory);
      if (directory.endsWith(PARTIAL)) await this.#removeEmpty(directory);
    } catch (error) {
      if (!isMissing(error)) throw coded(error, path);
    }
  }

  async hold(): Promise<void> {
    throw new StorageError('unsupported', `${this.url}: files have no hold`);
  }

  async verify(): Promise<void> {
    try {
      await this.#files.makeDirectory(this.#root);
      for (const name of await this.#files.list(this.#root))
        if (name.startsWith(UNFINISHED)) await this.#files.remove(join(this.#root, name));
    } catch (error) {
      throw coded(error, this.#root);
    }
  }

  async close(): Promise<void> {
    await this.#storing;
    for (const each of this.#gathered.values()) await this.#discard(each);
    this.#gathered.clear();
  }

  #path(key: string): string {
    checkKey(key);
    return join(this.#root, key);
  }

  async #store(path: string, bytes: Uint8Array): Promise<void> {
    await this.#make(dirname(path));
    const unfinished = this.#unfinished();
    await this.#write(unfinished, bytes);
    await this.#rename(unfinished, path);
  }

  #unfinished(): string {
    return join(this.#root, `${UNFINISHED}-${this.#own}-${(this.#puts += 1)}`);
  }

  async #gather(path: string, bytes: Uint8Array): Promise<void> {
    await this.#make(dirname(path));
    const unfinished = this.#unfinished();
    const file = await this.#files.createUnsynced(unfinished);
    const gathered = { file, unfinished };
    try {
      await file.write(bytes);
    } catch (error) {
      await this.#discard(gathered);
      throw error;
    }
    // An attempt that failed may have left one: nobody has seen it.
    const earlier = this.#gathered.get(path);
    this.#gathered.set(path, gathered);
    if (earlier !== undefined) await this.#discard(earlier);
    if (this.#gathered.size >= GATHERED) await this.#storeGathered();
  }

  /** One after the other; each with all that was gathered by then. */
  #storeGathered(): Promise<void> {
    const storing = this.#storing.then(() => this.#storeNow());
    this.#storing = storing.catch(() => {});
    return storing;
  }

  /** Their bytes first, with few commits of the file system for all of them; then their names. */
  async #storeNow(): Promise<void> {
    const gathered = this.#gathered;
    this.#gathered = new Map();
    try {
      const rest = gathered.values();
      const syncing = async (): Promise<void> => {
        for (const { file } of rest) await file.sync();
      };
      const synced = await Promise.allSettled(Array.from({ length: SYNCED_AT_ONCE }, syncing));
      for (const each of synced) if (each.status === 'rejected') throw each.reason;
      for (const [path, { file, unfinished }] of gathered) {
        await this.#rename(unfinished, path);
        this.#unsettled.add(dirname(path));
        gathered.delete(path);
        await file.close().catch(() => {});
      }
    } finally {
      for (const each of gathered.values()) await this.#discard(each);
    }
  }

  /** Room that is needed elsewhere; what cannot be removed now, `verify` removes. */
  async #discard({ file, unfinished }: Gathered): Promise<void> {
    await file.close().catch(() => {});
    await this.#files.remove(unfinished).catch(() => {});
  }

  /** What is put while it goes on waits for the next one. */
  async #settle(directory: string): Promise<void> {
    this.#unsettled.delete(directory);
    try {
      await this.#sync(directory);
    } catch (error) {
      // One that somebody took away when it was empty has no names.
      if (isMissing(error)) return;
      this.#unsettled.add(directory);
      throw error;
    }
  }

  async #write(path: string, bytes: Uint8Array): Promise<void> {
    const file = await this.#files.open(path, 'create');
    try {
      await file.writeDurably(bytes, 0);
    } catch (error) {
      // Room that is needed elsewhere; what cannot be removed now, `verify` removes.
      await this.#files.remove(path).catch(() => {});
      throw error;
    } finally {
      await file.close();
    }
  }

  /** Another thread, which deletes here, may have taken the directory away when it was empty. */
  async #rename(unfinished: string, path: string): Promise<void> {
    try {
      await this.#files.rename(unfinished, path);
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#made.clear();
      await this.#make(dirname(path));
      await this.#files.rename(unfinished, path);
    }
  }

  /** A directory and those above it, each durable in the one above. */
  async #make(directory: string): Promise<void> {
    if (this.#made.has(directory)) return;
    const above = dirname(directory);
    if (directory !== this.#root && above !== directory) await this.#make(above);
    await this.#files.makeDirectory(directory);
    await this.#files.syncDirectory(above);
    this.#made.add(directory);
  }

  /** Makes the names in a directory durable: one sync for all that was changed while the one before was under way. */
  #sync(directory: string): Promise<void> {
    const under = this.#syncs.get(directory);
    if (under !== undefined) return (under.next ??= under.running.catch(() => {}).then(() => this.#startSync(directory)));
    return this.#startSync(directory);
  }

  #startSync(directory: string): Promise<void> {
    const sync = { running: this.#files.syncDirectory(directory), next: undefined };
    this.#syncs.set(directory, sync);
    const done = (): void => {
      if (sync.next === undefined) this.#syncs.delete(directory);
    };
    sync.running.then(done, done);
    return sync.running;
  }

  /** Most often nothing is put into such a directory again once its objects go. */
  async #removeEmpty(directory: string): Promise<void> {
    this.#made.delete(directory);
    // Most often there is something left in it.
    await this.#files.removeDirectory(directory).catch(() => {});
  }

  /** `undefined`: it is not there any more, as when somebody deletes meanwhile, or leads nowhere. */
  async #isFolder(key: string): Promise<boolean | undefined> {
    const path = join(this.#root, key);
    try {
      return await this.#files.isDirectory(path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw coded(error, path);
    }
  }

  async *#below(folder: string, prefix: string, after: string): AsyncGenerator<string> {
    let names: string[];
    try {
      names = (await this.#files.list(join(this.#root, folder))).filter((name) => !name.startsWith(UNFINISHED));
    } catch (error) {
      if (isMissing(error)) return;
      throw coded(error, join(this.#root, folder));
    }
    const found: { key: string; isFolder: boolean }[] = [];
    for (const name of names) {
      const key = folder === '' ? name : `${folder}/${name}`;
      if (!key.startsWith(prefix) && !prefix.startsWith(`${key}/`)) continue;
      const isFolder = await this.#isFolder(key);
      if (isFolder === undefined) continue;
      // A folder's keys go on with a slash, which sorts behind `-` and `.`.
      found.push({ key: isFolder ? `${key}/` : key, isFolder });
    }
    for (const { key, isFolder } of found.sort((a, b) => (a.key < b.key ? -1 : 1))) {
      if (isFolder) {
        if (!after.startsWith(key) && key < after) continue;
        yield* this.#below(key.slice(0, -1), prefix, after);
      } else if (key.startsWith(prefix) && key > after && isKey(key)) yield key;
    }
  }
}

/** The store in `directory`, which is created when it is not there. */
export const localFiles = (directory: string, files: FileSystem = nodeFileSystem): ObjectStore => new LocalFiles(directory, files);
