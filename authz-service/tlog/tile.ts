/**
 * The layout of c2sp.org/tlog-tiles: a tree of any size as files of at most 256 hashes, and its entries as bundles of as many.
 *
 *     tile/L/N         the hashes at height 8·L, from 256·N on        tile/L/N.p/W         the first W of them, while there are no more
 *     tile/entries/N   entries from 256·N on, each behind a uint16    tile/entries/N.p/W
 */
import { malformed, TlogError } from './error.ts';
import { HASH_BYTES, leafHashes } from './hash.ts';
import { foldLevel } from './many.ts';

/** Hashes of a full tile, entries of a full bundle. */
export const TILE_WIDTH = 256;
/** Levels of the tree that one tile stands for. */
export const TILE_HEIGHT = 8;
export const MAX_ENTRY_BYTES = 0xffff;
export const CHECKPOINT_PATH = 'checkpoint';

export interface Tile {
  /** 0 holds leaf hashes, each next one the roots of full tiles below; `entries` holds the entries themselves. */
  readonly level: number | 'entries';
  readonly index: number;
  /** 1 to 256. */
  readonly width: number;
}

/** `1234067` → `x001/x234/067` */
export const indexPath = (index: number): string => {
  let path = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  return path;
};

/** The `.p/W` behind the path of what is not full. */
export const widthSuffix = (width: number): string => (width < TILE_WIDTH ? `.p/${width}` : '');

export const tilePath = ({ level, index, width }: Tile): string => `tile/${level}/${indexPath(index)}${widthSuffix(width)}`;

const TILE_PATH = /^tile\/(entries|0|[1-9]\d?)\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/** The tile that this path names; throws `malformed` for any other text. */
export const parseTilePath = (path: string): Tile => {
  const [, level, index, width] = TILE_PATH.exec(path) ?? [];
  if (level === undefined || index === undefined) throw malformed(`no path of a tile: ${JSON.stringify(path.slice(0, 100))}`);
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: Number(index.replace(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  if (!Number.isSafeInteger(tile.index) || tilePath(tile) !== path || Number(width ?? 1) >= TILE_WIDTH || (tile.level as number) > 63)
    throw malformed(`no path of a tile: ${JSON.stringify(path.slice(0, 100))}`);
  return tile;
};

/** How many hashes stand at a tile level of a tree of `size` leaves: only the roots of full tiles stand above. */
export const hashesAt = (level: number, size: number): number => Math.floor(size / TILE_WIDTH ** level);

/** How wide the `index`th tile of a level is in a tree of `size` leaves; 0 when there is none. */
export const widthAt = (level: number, index: number, size: number): number =>
  Math.max(0, Math.min(TILE_WIDTH, hashesAt(level, size) - index * TILE_WIDTH));

/** The partial tiles of a tree of `size` leaves: its right edge, from the bottom. */
export const partialTiles = (size: number): (Tile & { readonly level: number })[] => {
  const tiles: (Tile & { readonly level: number })[] = [];
  for (let level = 0; hashesAt(level, size) > 0; level += 1) {
    const width = hashesAt(level, size) % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(hashesAt(level, size) / TILE_WIDTH), width });
  }
  return tiles;
};

/** The entries' own bytes, each behind its length, big-endian. */
export const encodeBundle = (entries: readonly Uint8Array[]): Buffer => {
  const bytes = Buffer.allocUnsafe(entries.reduce((sum, { length }) => sum + 2 + length, 0));
  let at = 0;
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) throw malformed(`an entry of ${entry.length} bytes`);
    at = bytes.writeUInt16BE(entry.length, at);
    bytes.set(entry, at);
    at += entry.length;
  }
  return bytes;
};

/** The `width` entries of a bundle, views into `bytes`; throws `malformed` when there are more or fewer. */
export const decodeBundle = (bytes: Buffer, width: number): Buffer[] => {
  const entries: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + 2 > bytes.length) throw malformed('a bundle ends inside a length');
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) throw malformed('a bundle ends inside an entry');
    if (entries.length === width) throw malformed(`a bundle of more than ${width} entries`);
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  if (entries.length < width) throw malformed(`a bundle of ${entries.length} entries, and ${width} were to be there`);
  return entries;
};

/** The hashes of a tile, views into `bytes`; throws `malformed` when it has not exactly `width`. */
export const hashesOf = (bytes: Buffer, width: number): Buffer[] => {
  if (bytes.length !== width * HASH_BYTES) throw malformed(`a tile of ${bytes.length} bytes, and it has ${width} hashes`);
  return Array.from({ length: width }, (_, i) => bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
};

/** The root over a tile's hashes from `from` on, `count` of them: a power of two. */
const perfectRoot = (tile: Buffer, from: number, count: number): Buffer => {
  let level = tile.subarray(from * HASH_BYTES, (from + count) * HASH_BYTES);
  if (count === 1) return level;
  while (level.length > HASH_BYTES) level = foldLevel(undefined, level);
  return Buffer.from(level);
};

/** Reads a tile of hashes as it stands somewhere: as wide as it is in some tree that holds `width` of it. `undefined` when it is not there. */
export type ReadTile = (tile: Tile & { readonly level: number }) => Promise<Buffer | undefined>;

/** Finds the root of the perfect subtree of 2^height leaves that begins with leaf `index` · 2^height. */
export type ReadNode = (height: number, index: number) => Promise<Buffer>;

/**
 * Nodes of the tree of `size` leaves out of its tiles, each of which is read once. What they say is not proven: the caller checks it against a root.
 * Rejects with a `TlogError`: `missing`, or `malformed` for a tile of another length.
 */
export const nodesOfTiles = (size: number, readTile: ReadTile): ReadNode => {
  const read = new Map<string, Promise<Buffer>>();
  const tileOf = async (level: number, index: number): Promise<Buffer> => {
    const tile = { level, index, width: widthAt(level, index, size) };
    // The full one serves for a partial one that has gone since.
    const bytes = (await readTile(tile)) ?? (tile.width < TILE_WIDTH ? await readTile({ ...tile, width: TILE_WIDTH }) : undefined);
    if (bytes === undefined) throw new TlogError('missing', `${tilePath(tile)} is not there`);
    if (bytes.length !== tile.width * HASH_BYTES && bytes.length !== TILE_WIDTH * HASH_BYTES)
      throw malformed(`${tilePath(tile)} has ${bytes.length} bytes`);
    return bytes;
  };
  return async (height, index) => {
    const level = Math.floor(height / TILE_HEIGHT);
    const count = 2 ** (height % TILE_HEIGHT);
    const from = index * count;
    const at = Math.floor(from / TILE_WIDTH);
    const key = `${level}/${at}`;
    let tile = read.get(key);
    if (tile === undefined) read.set(key, (tile = tileOf(level, at)));
    return perfectRoot(await tile, from % TILE_WIDTH, count);
  };
};

/** The leaf hashes of entries, one behind the other: of a bundle's, the level-0 tile beside it. */
export const tileOfEntries = (entries: readonly Uint8Array[]): Buffer => {
  const pieces = new Uint32Array(4 * entries.length);
  let at = 0;
  for (const [i, { length }] of entries.entries()) {
    pieces[4 * i] = at;
    pieces[4 * i + 1] = length;
    at += length;
  }
  return Buffer.from(leafHashes(Buffer.concat(entries, at), pieces, entries.length));
};

/** The tiles of a tree as it grows: what it hands out is what stands in storage, full tiles once and the right edge as often as it is asked for. */
export class TileEdge {
  #size = 0;
  /** By level: the hashes of the tile that is not full. */
  readonly #rows: Buffer[][] = [];

  /** Goes on from a tree of `size` leaves, out of its partial tiles. */
  static of(size: number, readTile: ReadTile): Promise<TileEdge> {
    return TileEdge.at(size, nodesOfTiles(size, readTile));
  }

  /** Goes on from a tree of `size` leaves, out of nodes of one that is as large or larger. */
  static async at(size: number, node: ReadNode): Promise<TileEdge> {
    const edge = new TileEdge();
    edge.#size = size;
    for (const { level, index, width } of partialTiles(size))
      edge.#rows[level] = await Promise.all(Array.from({ length: width }, (_, i) => node(level * TILE_HEIGHT, index * TILE_WIDTH + i)));
    for (let level = 0; level < edge.#rows.length; level += 1) edge.#rows[level] ??= [];
    return edge;
  }

  get size(): number {
    return this.#size;
  }

  clone(): TileEdge {
    const edge = new TileEdge();
    edge.#size = this.#size;
    for (const row of this.#rows) edge.#rows.push([...row]);
    return edge;
  }

  /** Takes a leaf's hash, and gives the tiles that it has filled to `full`. */
  append(leaf: Buffer, full: (tile: Tile & { readonly level: number }, bytes: Buffer) => void): void {
    this.#size += 1;
    const row = (this.#rows[0] ??= []);
    row.push(leaf);
    if (row.length === TILE_WIDTH) this.#filled(Buffer.concat(row.splice(0)), full);
  }

  /** As many `append`s, of leaf hashes that stand one behind the other, and stay there. */
  appendAll(leaves: Buffer, full: (tile: Tile & { readonly level: number }, bytes: Buffer) => void): void {
    for (let at = 0; at < leaves.length; ) {
      const tile = leaves.subarray(at, at + TILE_WIDTH * HASH_BYTES);
      if (this.#size % TILE_WIDTH === 0 && tile.length === TILE_WIDTH * HASH_BYTES) {
        this.#size += TILE_WIDTH;
        this.#rows[0] ??= [];
        this.#filled(tile, full);
        at += tile.length;
      } else {
        this.append(leaves.subarray(at, at + HASH_BYTES), full);
        at += HASH_BYTES;
      }
    }
  }

  /** A tile of leaf hashes is full, and with it perhaps some above. */
  #filled(leaves: Buffer, full: (tile: Tile & { readonly level: number }, bytes: Buffer) => void): void {
    let bytes = leaves;
    for (let level = 0; ; level += 1) {
      full({ level, index: hashesAt(level, this.#size) / TILE_WIDTH - 1, width: TILE_WIDTH }, bytes);
      const above = (this.#rows[level + 1] ??= []);
      above.push(perfectRoot(bytes, 0, TILE_WIDTH));
      if (above.length < TILE_WIDTH) return;
      bytes = Buffer.concat(above.splice(0));
    }
  }

  /** The tiles that are not full. */
  partial(): { readonly tile: Tile & { readonly level: number }; readonly bytes: Buffer }[] {
    return partialTiles(this.#size).map((tile) => ({ tile, bytes: Buffer.concat(this.#rows[tile.level] ?? []) }));
  }

  /** The perfect subtrees of the tree, the largest first. */
  roots(): Buffer[] {
    const roots: Buffer[] = [];
    for (let level = this.#rows.length - 1; level >= 0; level -= 1) {
      const row = this.#rows[level] as Buffer[];
      const bytes = Buffer.concat(row);
      for (let bit = TILE_WIDTH / 2, at = 0; bit >= 1; bit /= 2)
        if (row.length & bit) {
          roots.push(perfectRoot(bytes, at, bit));
          at += bit;
        }
    }
    return roots;
  }
}
