/**
 * A file of NDJSON, for collectors that follow files. How long it is stands with the cursor: what a crash left behind that is cut off, so the file has every
 * event once. When somebody has moved the file away (log rotation), a new one is begun.
 */
import { type FileHandle, mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { away, type Destination, type Outcome } from './destination.ts';
import type { Message } from './format.ts';

type State = Readonly<Record<string, number>>;

export class FileDestination implements Destination {
  readonly #path: string;
  #state: State | undefined;
  #file: FileHandle | undefined;
  #length = 0;
  #inode = 0;

  /** @param state what it left with the cursor */
  constructor(path: string, state: State | undefined) {
    this.#path = path;
    this.#state = state;
  }

  async send(messages: readonly Message[]): Promise<Outcome> {
    try {
      const file = await this.#open();
      const bytes = Buffer.from(messages.map(({ json }) => `${json}\n`).join(''));
      // From where the last batch ended: a try that failed half-way is written over.
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at, this.#length + at)).bytesWritten;
      await file.sync();
      this.#length += bytes.length;
      return { kind: 'taken', state: { inode: this.#inode, length: this.#length } };
    } catch (error) {
      await this.close();
      return away((error as Error).message);
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (!file) return;
    this.#state = { inode: this.#inode, length: this.#length };
    await file.close().catch(() => {});
  }

  async #open(): Promise<FileHandle> {
    const there = await stat(this.#path).catch(() => undefined);
    if (this.#file && there?.ino === this.#inode) return this.#file;
    await this.close();
    await mkdir(dirname(this.#path), { recursive: true });
    const file = await open(this.#path, there ? 'r+' : 'w+', 0o640);
    try {
      const { ino, size } = await file.stat();
      const ours = this.#state?.inode === ino && size >= (this.#state.length ?? 0);
      this.#length = ours ? (this.#state?.length ?? 0) : size;
      if (size > this.#length) await file.truncate(this.#length);
      this.#inode = ino;
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#file = file;
    return file;
  }
}
