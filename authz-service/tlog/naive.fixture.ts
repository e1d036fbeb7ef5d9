/** The definitions of RFC 6962, section 2.1, word for word and without any thrift: what the code is held against. */
import { createHash } from 'node:crypto';
import type { ReadTile } from './tile.ts';
import { TILE_WIDTH, tilePath } from './tile.ts';

const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

const largestPowerBelow = (n: number): number => 2 ** Math.floor(Math.log2(n - 1));

export const mth = (entries: readonly Uint8Array[]): Buffer => {
  if (entries.length === 0) return sha256();
  if (entries.length === 1) return sha256(Buffer.of(0), entries[0] as Uint8Array);
  const k = largestPowerBelow(entries.length);
  return sha256(Buffer.of(1), mth(entries.slice(0, k)), mth(entries.slice(k)));
};

/** PATH(m, D[n]) */
export const path = (m: number, entries: readonly Uint8Array[]): Buffer[] => {
  if (entries.length <= 1) return [];
  const k = largestPowerBelow(entries.length);
  return m < k ? [...path(m, entries.slice(0, k)), mth(entries.slice(k))] : [...path(m - k, entries.slice(k)), mth(entries.slice(0, k))];
};

/** PROOF(m, D[n]) = SUBPROOF(m, D[n], true) */
export const proof = (m: number, entries: readonly Uint8Array[], whole = true): Buffer[] => {
  const n = entries.length;
  if (m === n) return whole ? [] : [mth(entries)];
  const k = largestPowerBelow(n);
  return m <= k
    ? [...proof(m, entries.slice(0, k), whole), mth(entries.slice(k))]
    : [...proof(m - k, entries.slice(k), false), mth(entries.slice(0, k))];
};

/** The tiles of a tree by path, as tlog-tiles defines them: MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l]). */
export const tilesOf = (entries: readonly Uint8Array[]): Map<string, Buffer> => {
  const tiles = new Map<string, Buffer>();
  for (let level = 0; 256 ** level <= entries.length; level += 1) {
    const span = 256 ** level;
    const hashes = Array.from({ length: Math.floor(entries.length / span) }, (_, i) => mth(entries.slice(i * span, (i + 1) * span)));
    for (let index = 0; index * TILE_WIDTH < hashes.length; index += 1) {
      const row = hashes.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH);
      tiles.set(tilePath({ level, index, width: row.length }), Buffer.concat(row));
    }
  }
  return tiles;
};

export const reading =
  (tiles: ReadonlyMap<string, Buffer>): ReadTile =>
  async (tile) =>
    tiles.get(tilePath(tile));
