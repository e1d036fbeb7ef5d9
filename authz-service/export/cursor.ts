/** How far a destination has got, kept in a file of its own. It only ever says what has been delivered, so after a crash some events are sent again, and none is left out. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface Cursor {
  /** The log that the index is of. */
  readonly origin: string;
  /** The first leaf that is not delivered yet. */
  readonly next: number;
  /** From where on the record must be read to know the sessions that are open at `next`. */
  readonly floor: number;
  /** What the destination itself must know to go on. */
  readonly state?: Readonly<Record<string, number>>;
}

export type CursorOutcome = { readonly cursor: Cursor | undefined } | { readonly damaged: string };

/** What a crash can leave is a whole cursor, the old or the new one: anything else has been done to the file by somebody. */
export async function readCursor(path: string): Promise<CursorOutcome> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? { cursor: undefined } : { damaged: message };
  }
  try {
    const { origin, next, floor, state } = JSON.parse(text) as Cursor;
    const index = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
    if (typeof origin !== 'string' || !index(next) || !index(floor) || floor > next) return { damaged: `${path} is not a cursor` };
    return { cursor: { origin, next, floor, ...(state && { state }) } };
  } catch {
    return { damaged: `${path} is not a cursor` };
  }
}

/** Durable when it resolves; at every moment the file holds one whole cursor. */
export async function writeCursor(path: string, cursor: Cursor): Promise<void> {
  const unfinished = `${path}.new`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeDurably(unfinished, `${JSON.stringify(cursor)}\n`, 'w');
  await rename(unfinished, path);
  await syncDirectory(dirname(path));
}

export const forgetCursor = (path: string): Promise<void> => rm(path, { force: true });

export async function writeDurably(path: string, text: string, flags: 'w' | 'a'): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
