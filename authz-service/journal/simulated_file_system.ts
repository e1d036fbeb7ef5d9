/** A disk for tests: it fails where it is told to, having kept as much as it is told to, and loses its power. */
import { dirname } from 'node:path';
import type { File, FileSystem, UnsyncedFile } from './file_system.ts';

/** How an operation fails. */
export interface Fault {
  readonly code: 'ENOSPC' | 'EIO' | 'EACCES' | 'EDQUOT';
  /** How much of what was asked reached the disk, 0 to 1; for a change of names and for cutting a file: whether it happened. Default 0. */
  readonly kept?: number;
  /** How much of it readers see until the power goes (the page cache); default: what was kept. */
  readonly seen?: number;
}

export interface Operation {
  readonly number: number;
  readonly name: 'create' | 'write' | 'sync' | 'truncate' | 'rename' | 'remove' | 'syncDirectory';
  readonly path: string;
}

interface Inode {
  /** What stands on the disk, and what readers see. They differ before a sync, and after one that failed. */
  disk: Buffer;
  seen: Buffer;
}

const errno = (code: string, what: string): NodeJS.ErrnoException => Object.assign(new Error(`${code}: ${what}`), { code });

const overwritten = (old: Buffer, bytes: Uint8Array, at: number): Buffer => {
  const next = Buffer.alloc(Math.max(old.length, at + bytes.length));
  old.copy(next);
  next.set(bytes, at);
  return next;
};

export class SimulatedFileSystem implements FileSystem {
  /** Decides for each changing operation whether it fails. */
  fault: (operation: Operation) => Fault | undefined = () => undefined;
  /** A disk so slow that no write is done before this resolves. */
  gate: Promise<void> | undefined;
  /** What `room` says. */
  bytesLeft = Number.POSITIVE_INFINITY;
  /** Operations that changed something, so far. */
  operations = 0;
  readonly #locks = new Set<string>();
  #names = new Map<string, Inode>();
  /** The names as they are on the disk: a change of names is not durable before its directory was synced. */
  #durableNames = new Map<string, Inode>();
  #powered = true;

  /** What is left when the power comes back. Names that were not synced are as before (`lost`) or as they had become (`kept`). */
  afterPowerLoss(names: 'lost' | 'kept'): SimulatedFileSystem {
    this.#powered = false;
    const next = new SimulatedFileSystem();
    for (const [path, { disk }] of names === 'lost' ? this.#durableNames : this.#names) {
      const inode = { disk: Buffer.from(disk), seen: Buffer.from(disk) };
      next.#names.set(path, inode);
      next.#durableNames.set(path, inode);
    }
    return next;
  }

  /** The process dies and the machine lives: what readers saw they still see, and nobody holds a lock. */
  afterKill(): SimulatedFileSystem {
    this.#powered = false;
    return this.copy();
  }

  /** Another disk with the same on it. */
  copy(): SimulatedFileSystem {
    const next = new SimulatedFileSystem();
    next.#names = new Map([...this.#names].map(([path, { disk, seen }]) => [path, { disk: Buffer.from(disk), seen: Buffer.from(seen) }]));
    next.#durableNames = new Map([...this.#durableNames].map(([path, inode]) => [path, next.#names.get(path) ?? inode]));
    return next;
  }

  /** A file's bytes as readers see them; assigning changes them behind everybody's back. */
  contents(path: string): Buffer {
    return this.#inode(path).seen;
  }

  damage(path: string, change: (bytes: Buffer) => Buffer): void {
    const inode = this.#inode(path);
    inode.seen = inode.disk = change(Buffer.from(inode.seen));
  }

  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  async makeDirectory(): Promise<void> {}

  async list(directory: string): Promise<string[]> {
    const inside = [...this.#names.keys()].filter((path) => path.startsWith(`${directory}/`));
    return [...new Set(inside.map((path) => path.slice(directory.length + 1).split('/')[0] as string))];
  }

  async isDirectory(path: string): Promise<boolean> {
    return !this.#names.has(path);
  }

  async exists(path: string): Promise<boolean> {
    return this.#names.has(path);
  }

  async createUnsynced(path: string): Promise<UnsyncedFile> {
    this.#create(path);
    const inode = this.#inode(path);
    return {
      write: async (bytes) => this.#change('write', path, () => (inode.seen = Buffer.from(bytes))),
      sync: async () => {
        await this.gate;
        const fault = this.#begin('sync', path);
        inode.disk = inode.seen.subarray(0, Math.floor((fault ? (fault.kept ?? 0) : 1) * inode.seen.length));
        if (fault) throw errno(fault.code, path);
      },
      close: async () => {},
    };
  }

  async open(path: string, mode: 'create' | 'write' | 'read'): Promise<File> {
    if (mode === 'create') this.#create(path);
    const inode = this.#inode(path);
    return {
      writeDurably: async (bytes, at) => {
        await this.gate;
        const fault = this.#begin('write', path);
        const part = (share: number): Uint8Array => bytes.subarray(0, Math.floor(share * bytes.length));
        const kept = fault ? (fault.kept ?? 0) : 1;
        inode.disk = overwritten(inode.disk, part(kept), at);
        inode.seen = overwritten(inode.seen, part(fault?.seen ?? kept), at);
        if (fault) throw errno(fault.code, path);
      },
      read: async (into, at) => inode.seen.copy(into, 0, at, at + into.length),
      truncate: async (length) =>
        this.#change('truncate', path, () => {
          inode.seen = Buffer.from(inode.seen.subarray(0, length));
          inode.disk = Buffer.from(inode.disk.subarray(0, length));
        }),
      size: async () => inode.seen.length,
      close: async () => {},
    };
  }

  async rename(from: string, to: string): Promise<void> {
    this.#change('rename', from, () => {
      this.#names.set(to, this.#inode(from));
      this.#names.delete(from);
    });
  }

  async remove(path: string): Promise<void> {
    this.#change('remove', path, () => {
      this.#inode(path);
      this.#names.delete(path);
    });
  }

  async removeDirectory(): Promise<void> {}

  async syncDirectory(path: string): Promise<void> {
    this.#change('syncDirectory', path, () => {
      for (const name of this.#durableNames.keys()) if (dirname(name) === path) this.#durableNames.delete(name);
      for (const [name, inode] of this.#names) if (dirname(name) === path) this.#durableNames.set(name, inode);
    });
  }

  async room(): Promise<number> {
    return this.bytesLeft;
  }

  async lock(directory: string): Promise<(() => void) | undefined> {
    if (this.#locks.has(directory)) return undefined;
    this.#locks.add(directory);
    return () => this.#locks.delete(directory);
  }

  #create(path: string): void {
    this.#change('create', path, () => {
      if (this.#names.has(path)) throw errno('EEXIST', path);
      this.#names.set(path, { disk: Buffer.alloc(0), seen: Buffer.alloc(0) });
    });
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw errno('ENOENT', path);
    return inode;
  }

  #begin(name: Operation['name'], path: string): Fault | undefined {
    if (!this.#powered) throw errno('EIO', 'the power is off');
    this.operations += 1;
    return this.fault({ number: this.operations, name, path });
  }

  #change(name: Operation['name'], path: string, apply: () => void): void {
    const fault = this.#begin(name, path);
    if (fault === undefined || (fault.kept ?? 0) === 1) apply();
    if (fault) throw errno(fault.code, path);
  }
}
