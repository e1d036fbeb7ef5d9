import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Writes the files that differ, each by a rename within the directory: that is what Envoy watches for, and it never reads half a file.
 * @returns the names of those that were written
 */
export function writeEnvoy(dir: string, files: ReadonlyMap<string, string>): string[] {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return [...files].flatMap(([name, text]) => {
    const path = join(dir, name);
    if (current(path) === text) return [];
    const next = `${path}.next`;
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, path);
    return [name];
  });
}

function current(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
