import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Where set-up keeps what it fetched; `SLUICE_CACHE` puts it elsewhere. */
export const cache = resolve(process.env.SLUICE_CACHE || join(root, '.cache'));

/** The Node that everything runs on after set-up. */
export const node = join(root, 'node_modules', '.bin', 'node');

export const platform = `${process.platform}-${process.arch}`;
