/** The name of the record, by which its events are named everywhere: made when the record is, and kept. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from './cursor.ts';

export async function recordOrigin(dir: string): Promise<string> {
  const path = join(dir, 'origin');
  const found = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  if (/^[\x21-\x7e]{1,200}\n$/.test(found)) return found.trimEnd();
  if (found !== '') throw new Error(`${path} is not the name of a record`);
  const origin = `sluice/${randomBytes(8).toString('hex')}`;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await writeDurably(`${path}.new`, `${origin}\n`, 'w');
  await rename(`${path}.new`, path);
  return origin;
}
