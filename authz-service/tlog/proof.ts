/** Inclusion and consistency, made and checked: RFC 6962, section 2.1, with the checks as RFC 9162, section 2.1, writes them out. */
import { malformed, TlogError } from './error.ts';
import { HASH_BYTES, nodeHash, split } from './hash.ts';
import type { ReadNode } from './tile.ts';

/** Leaves from `from` to before `to`. */
interface Range {
  readonly from: number;
  readonly to: number;
}

const half = (n: number): number => Math.floor(n / 2);
const isOdd = (n: number): boolean => n % 2 === 1;

/** What must be hashed with leaf `index` to give the root of `range`, from the leaf upwards. */
const inclusionPath = (index: number, { from, to }: Range): Range[] => {
  if (to - from <= 1) return [];
  const middle = from + split(to - from);
  return index < middle
    ? [...inclusionPath(index, { from, to: middle }), { from: middle, to }]
    : [...inclusionPath(index, { from: middle, to }), { from, to: middle }];
};

/** SUBPROOF of RFC 6962: `whole` says that the old tree is this very range, whose root the verifier has. */
const consistencyPath = (old: number, { from, to }: Range, whole: boolean): Range[] => {
  if (old === to) return whole ? [] : [{ from, to }];
  const middle = from + split(to - from);
  return old <= middle
    ? [...consistencyPath(old, { from, to: middle }, whole), { from: middle, to }]
    : [...consistencyPath(old, { from: middle, to }, false), { from, to: middle }];
};

/** The perfect subtrees that a range is made of, the largest first. Every range of a proof begins where its largest subtree can. */
const perfectParts = ({ from, to }: Range): { readonly height: number; readonly index: number }[] => {
  const parts: { height: number; index: number }[] = [];
  for (let at = from; at < to; ) {
    let height = 0;
    while (at % 2 ** (height + 1) === 0 && at + 2 ** (height + 1) <= to) height += 1;
    parts.push({ height, index: at / 2 ** height });
    at += 2 ** height;
  }
  return parts;
};

const rangeHash = async (range: Range, node: ReadNode): Promise<Buffer> => {
  const roots = await Promise.all(perfectParts(range).map(({ height, index }) => node(height, index)));
  return roots.reduceRight((right, left) => nodeHash(left, right));
};

/** The perfect subtrees of a tree of `size` leaves, the largest first: what a `Frontier` goes on from. */
export const frontierOf = (size: number, node: ReadNode): Promise<Buffer[]> =>
  Promise.all(perfectParts({ from: 0, to: size }).map(({ height, index }) => node(height, index)));

/** Sibling hashes from the leaf upwards. Throws `RangeError` unless 0 ≤ index < size; rejects as `node` does. */
export const proveInclusion = (index: number, size: number, node: ReadNode): Promise<Buffer[]> => {
  if (!(index >= 0 && index < size)) throw new RangeError(`no leaf ${index} in a tree of ${size}`);
  return Promise.all(inclusionPath(index, { from: 0, to: size }).map((range) => rangeHash(range, node)));
};

/** Empty when the old tree is empty or the new one. Throws `RangeError` unless 0 ≤ oldSize ≤ size; rejects as `node` does. */
export const proveConsistency = (oldSize: number, size: number, node: ReadNode): Promise<Buffer[]> => {
  if (!(oldSize >= 0 && oldSize <= size)) throw new RangeError(`no tree of ${oldSize} in one of ${size}`);
  if (oldSize === 0) return Promise.resolve([]);
  return Promise.all(consistencyPath(oldSize, { from: 0, to: size }, true).map((range) => rangeHash(range, node)));
};

const unproven = (what: string): TlogError => new TlogError('unproven', what);

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The root that leaf and proof give. Throws `unproven` when the proof has not the length that index and size ask for. */
const rootFrom = (leaf: Uint8Array, index: number, size: number, proof: readonly Uint8Array[]): Uint8Array => {
  let [at, last] = [index, size - 1];
  let root = leaf;
  for (const sibling of proof) {
    if (last === 0) throw unproven('an inclusion proof that is too long');
    if (isOdd(at) || at === last) {
      root = nodeHash(sibling, root);
      while (!isOdd(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else root = nodeHash(root, sibling);
    [at, last] = [half(at), half(last)];
  }
  if (last !== 0) throw unproven('an inclusion proof that is too short');
  return root;
};

/** Throws a `TlogError` (`unproven`) unless the proof shows that the leaf with this hash stands at `index` of the tree with this size and root. */
export const checkInclusion = (
  leaf: Uint8Array,
  index: number,
  { size, root }: { readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): void => {
  if (!(index >= 0 && index < size)) throw unproven(`no leaf ${index} in a tree of ${size}`);
  if (!same(rootFrom(leaf, index, size, proof), root)) throw unproven(`leaf ${index} does not give the root of the tree of ${size}`);
};

interface Head {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Throws a `TlogError` (`unproven`) unless the proof shows that the old tree is the beginning of the new one. */
export const checkConsistency = (old: Head, now: Head, proof: readonly Uint8Array[]): void => {
  if (old.size > now.size) throw unproven(`a tree of ${old.size} is no beginning of one of ${now.size}`);
  if (old.size === now.size || old.size === 0) {
    if (proof.length > 0) throw unproven('a consistency proof that is too long');
    if (old.size === now.size && !same(old.root, now.root)) throw unproven(`two trees of ${old.size} leaves with different roots`);
    return;
  }
  // A tree whose size is a power of two is itself the first hash of the path; RFC 9162 leaves it out of the proof.
  let [at, last] = [old.size - 1, now.size - 1];
  while (isOdd(at)) [at, last] = [half(at), half(last)];
  const path = at === 0 ? [old.root, ...proof] : proof;
  const [first, ...rest] = path;
  if (first === undefined) throw unproven('a consistency proof that is too short');
  let [before, after] = [first, first];
  for (const hash of rest) {
    if (last === 0) throw unproven('a consistency proof that is too long');
    if (isOdd(at) || at === last) {
      before = nodeHash(hash, before);
      after = nodeHash(hash, after);
      while (!isOdd(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else after = nodeHash(after, hash);
    [at, last] = [half(at), half(last)];
  }
  if (last !== 0) throw unproven('a consistency proof that is too short');
  if (!same(before, old.root)) throw unproven(`the proof does not begin with the tree of ${old.size}`);
  if (!same(after, now.root)) throw unproven(`the tree of ${old.size} is no beginning of that of ${now.size}`);
};

/** An inclusion proof to keep: c2sp.org/tlog-proof@v1. */
export interface ProofFile {
  readonly index: number;
  readonly proof: readonly Buffer[];
  /** The checkpoint as it was signed, a note. */
  readonly checkpoint: string;
  /** Whatever the log adds; not authenticated. */
  readonly extra?: Buffer;
}

const PROOF_HEADER = 'c2sp.org/tlog-proof@v1';
/** No tree whose size this room can count has a longer path. */
const MAX_PROOF_HASHES = 63;

export const formatProof = ({ index, proof, checkpoint, extra }: ProofFile): string =>
  [
    PROOF_HEADER,
    ...(extra === undefined ? [] : [`extra ${extra.toString('base64')}`]),
    `index ${index}`,
    ...proof.map((hash) => hash.toString('base64')),
    '',
    checkpoint,
  ].join('\n');

/** Strict: what it takes, `formatProof` gives again. The checkpoint is not looked into. Throws `malformed`. */
export const parseProof = (text: string): ProofFile => {
  const end = text.indexOf('\n\n');
  if (end < 0) throw malformed('a proof without a checkpoint');
  const lines = text.slice(0, end).split('\n');
  if (lines.shift() !== PROOF_HEADER) throw malformed(`a proof begins with ${PROOF_HEADER}`);
  const extra = lines[0]?.startsWith('extra ') ? Buffer.from((lines.shift() as string).slice(6), 'base64') : undefined;
  const index = /^index (0|[1-9]\d{0,15})$/.exec(lines.shift() ?? '')?.[1];
  if (index === undefined) throw malformed('a proof without an index');
  if (lines.length > MAX_PROOF_HASHES) throw malformed(`a proof of ${lines.length} hashes`);
  const proof = lines.map((line) => Buffer.from(line, 'base64'));
  if (proof.some(({ length }) => length !== HASH_BYTES)) throw malformed('a hash of a proof that is not of 32 bytes');
  const parsed = { index: Number(index), proof, checkpoint: text.slice(end + 2), ...(extra !== undefined && { extra }) };
  if (!Number.isSafeInteger(parsed.index) || formatProof(parsed) !== text) throw malformed('a proof that is not written as it should be');
  return parsed;
};
