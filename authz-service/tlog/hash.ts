/** The hashes of RFC 6962, section 2.1, and the right edge of a tree that grows. */
import { hash } from 'node:crypto';
import { foldLevel, HASH_BYTES, sha256Many } from './many.ts';

export { HASH_BYTES } from './many.ts';

const LEAF = 0;
const NODE = 1;

/** Node's own, under `write`, without its handling of arguments. */
interface Latin1Buffer {
  latin1Write(text: string, at: number): number;
}

let leafScratch = Buffer.alloc(1 << 12);
const nodeScratch = Buffer.alloc(1 + 2 * HASH_BYTES);
nodeScratch[0] = NODE;

// A digest as text, written into a buffer of ours, costs a third of one that Node makes a buffer of.
const digest = (bytes: Buffer): Buffer => {
  const into = Buffer.allocUnsafe(HASH_BYTES);
  (into as unknown as Latin1Buffer).latin1Write(hash('sha256', bytes, 'binary'), 0);
  return into;
};

export const sha256 = digest;

/** The root of a tree without leaves. */
export const EMPTY_ROOT: Buffer = digest(Buffer.alloc(0));

export const leafHash = (entry: Uint8Array): Buffer => {
  if (entry.length >= leafScratch.length) leafScratch = Buffer.alloc(2 * entry.length);
  leafScratch[0] = LEAF;
  leafScratch.set(entry, 1);
  return digest(leafScratch.subarray(0, 1 + entry.length));
};

const LEAF_PREFIX = Buffer.of(LEAF);

/** The leaf hashes of `count` entries, one behind the other: a view, good until the next batch is hashed. `pieces` as `sha256Many` takes them. */
export const leafHashes = (source: Uint8Array, pieces: Uint32Array, count: number): Buffer =>
  sha256Many(LEAF_PREFIX, source, pieces, count);

export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => {
  nodeScratch.set(left, 1);
  nodeScratch.set(right, 1 + HASH_BYTES);
  return digest(nodeScratch);
};

/** The root over these hashes as the leaves of a tree: MTH of RFC 6962 with its first step done. */
export const rootOf = (hashes: readonly Uint8Array[]): Buffer => {
  const tree = new Frontier();
  for (const each of hashes) tree.append(each);
  return tree.root();
};

/** The largest power of two that is smaller than `n`, which is at least 2. */
export const split = (n: number): number => {
  let k = 1;
  while (2 * k < n) k *= 2;
  return k;
};

/**
 * The right edge of a tree: the roots of its perfect subtrees, the largest first, whose sizes are the binary digits of its own. It is all that appending needs,
 * and a root costs as many hashes as there are of them, less one.
 */
export class Frontier {
  #size = 0;
  #roots: Uint8Array[] = [];

  /** Goes on from a tree of `size` leaves with these perfect subtrees, the largest first. */
  static of(size: number, roots: readonly Uint8Array[]): Frontier {
    const frontier = new Frontier();
    frontier.#size = size;
    frontier.#roots = [...roots];
    return frontier;
  }

  get size(): number {
    return this.#size;
  }

  append(leaf: Uint8Array): void {
    this.appendPerfect(leaf, 1);
  }

  /** As many `append`s, of leaf hashes that stand one behind the other: a level of the tree at a time. */
  appendAll(leaves: Uint8Array): void {
    const count = leaves.length / HASH_BYTES;
    const single: Uint8Array[] = [];
    let level = leaves;
    for (let size = this.#size; level.length > 0; size = Math.floor(size / 2)) {
      const first = size % 2 === 1 ? this.#roots.pop() : undefined;
      const nodes = level.length / HASH_BYTES + (size % 2);
      // The last one, when it has nobody beside it yet: a copy, because the next level takes its place.
      if (nodes % 2 === 1) single.push(Uint8Array.prototype.slice.call(level, -HASH_BYTES));
      level = foldLevel(first, level);
    }
    this.#roots.push(...single.reverse());
    this.#size += count;
  }

  /** Takes the root of a perfect subtree of so many leaves: a power of two, of which the size is a multiple. */
  appendPerfect(subtree: Uint8Array, leaves: number): void {
    let root = subtree;
    for (let rest = this.#size / leaves; rest % 2 === 1; rest = Math.floor(rest / 2))
      root = nodeHash(this.#roots.pop() as Uint8Array, root);
    this.#roots.push(root);
    this.#size += leaves;
  }

  root(): Buffer {
    const last = this.#roots.length - 1;
    if (last < 0) return EMPTY_ROOT;
    let root = this.#roots[last] as Uint8Array;
    for (let i = last - 1; i >= 0; i -= 1) root = nodeHash(this.#roots[i] as Uint8Array, root);
    return Buffer.from(root.buffer, root.byteOffset, root.length);
  }

  clone(): Frontier {
    return Frontier.of(this.#size, this.#roots);
  }
}
