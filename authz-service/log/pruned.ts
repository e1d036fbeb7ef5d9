/**
 * The front of a log that is not there any more: c2sp.org/tlog-tiles, "Pruning". What is gone are leaves below the minimum index, whole bundles and whole sessions of them,
 * with the tiles that only they needed. The log itself has an event that told of it before; its leaf commits to it, and it stands here with its salt, so that it can be
 * shown after its own retention.
 *
 *     pruned       MINIMUM LEAF · salt in hexadecimal · event in Base64, each on a line
 */

import { durationText } from '../duration.ts';
import { deleteUnlessRetained, type ObjectStore, type ReadableStore } from '../storage/object_store.ts';
import { parseTilePath, TILE_WIDTH } from '../tlog/tile.ts';
import { bundleOf } from './details.ts';
import { LogError } from './error.ts';
import { CLASSES, SALT_BYTES } from './leaf.ts';
import type { ServiceNotice } from './notices.ts';

export const PRUNED_PATH = 'pruned';

/** The notice's name. */
export const PRUNED_NOTICE = 'leaves-pruned' satisfies ServiceNotice;

export interface Pruned {
  /** Leaves below it are not there; a multiple of 256. */
  readonly minimum: number;
  /** The leaf of the event that told of it: at or behind the minimum. */
  readonly leaf: number;
  readonly salt: Buffer;
  readonly event: Buffer;
}

/** What the event says: `leaves below 512000, older than 2555d` */
export const pruningText = (minimum: number, ageMs: number): string => `leaves below ${minimum}, older than ${durationText(ageMs)}`;

/** What a notice says when it is that one. */
export const pruningSaid = (said: { readonly notice: string; readonly text: string } | undefined): string | undefined =>
  said?.notice === PRUNED_NOTICE ? said.text : undefined;

/** The minimum that such a text tells; `undefined` of any other. */
export const prunedBelow = (text: string): number | undefined => {
  const [, minimum] = /^leaves below (\d{1,15}), older than \w+$/.exec(text) ?? [];
  return minimum === undefined ? undefined : Number(minimum);
};

export const formatPruned = ({ minimum, leaf, salt, event }: Pruned): Buffer =>
  Buffer.from(`${minimum} ${leaf}\n${salt.toString('hex')}\n${event.toString('base64')}\n`);

/** Throws a `LogError` (`malformed`). */
export const parsePruned = (bytes: Buffer): Pruned => {
  const [, minimum, leaf, salt = '', event = ''] =
    /^(\d{1,15}) (\d{1,15})\n([0-9a-f]*)\n([\w+/=]*)\n$/.exec(bytes.toString('latin1')) ?? [];
  const pruned = {
    minimum: Number(minimum),
    leaf: Number(leaf),
    salt: Buffer.from(salt, 'hex'),
    event: Buffer.from(event, 'base64'),
  };
  const sound = pruned.salt.length === SALT_BYTES && pruned.minimum % TILE_WIDTH === 0 && pruned.leaf >= pruned.minimum;
  if (!sound || !formatPruned(pruned).equals(bytes)) throw new LogError('malformed', `${PRUNED_PATH} does not say what was pruned`);
  return pruned;
};

/** `undefined`: nothing was pruned. Rejects with a `LogError` (`malformed`) or a `StorageError`. */
export const readPruned = async (objects: ReadableStore): Promise<Pruned | undefined> => {
  const bytes = await objects.get(PRUNED_PATH);
  return bytes === undefined ? undefined : parsePruned(bytes);
};

/** From which index on all keys of a folder are no more in the order of their numbers. */
const DISORDER = 1_000_000;

/** The lowest leaf whose bundle has details in a store; infinite when there are none. */
export const firstDetailed = async (store: ObjectStore, size: number): Promise<number> => {
  let first = Number.POSITIVE_INFINITY;
  for (const each of CLASSES)
    for await (const key of store.list(`details/${each}/`)) {
      const of = bundleOf(key, each);
      if (of === undefined) continue;
      first = Math.min(first, of.bundle * TILE_WIDTH);
      if (size < DISORDER * TILE_WIDTH) break;
    }
  return first;
};

/** Removes the entries and tiles that end at or below the minimum. @returns how many are locked, and stay until they are not */
export const removeBelow = async (store: ObjectStore, minimum: number): Promise<number> => {
  let locked = 0;
  const levels: ('entries' | number)[] = ['entries'];
  for (let level = 0; TILE_WIDTH ** (level + 1) <= minimum; level += 1) levels.push(level);
  for (const level of levels) {
    const leaves = level === 'entries' ? TILE_WIDTH : TILE_WIDTH ** (level + 1);
    for await (const key of store.list(`tile/${level}/`)) {
      const { index } = parseTilePath(key);
      if ((index + 1) * leaves <= minimum) locked += (await deleteUnlessRetained(store, key)) ? 0 : 1;
      else if (minimum < DISORDER * leaves && index < DISORDER) break;
    }
  }
  return locked;
};
