// Many SHA-256 in one call, for the log in Node, where a call into OpenSSL costs several times what hashing a leaf does. authz-service/tlog/many.ts is its only
// caller: it writes into this memory, calls, and reads the digests.
import { BLOCK, begin, compress, digest, LANES } from './sha256x4';

/** Of each lane, its message with its padding. A copy may write 15 bytes too many. */
const LANE: usize = (1 << 17) + 128;
const messages = memory.data(4 * ((1 << 17) + 128), 16);

// Of each lane: its next block, how many are left with it, and where the digest goes.
const next = new StaticArray<usize>(LANES);
const left = new StaticArray<usize>(LANES);
const out = new StaticArray<usize>(LANES);

let input: usize = 0;
let capacity: usize = 0;

/** Where so many bytes may be written; what was written before may be gone. Traps when there is no memory for them. */
export function room(bytes: usize): usize {
  if (bytes > capacity) {
    if (input) heap.free(input);
    // A copy may read 15 bytes too many.
    input = heap.alloc(bytes + 16);
    capacity = bytes;
  }
  return input;
}

/** The longest message. */
export function longest(): usize {
  return LANE - 2 * BLOCK;
}

/**
 * The digests of `count` messages, one behind the other at `digests`. Each message is the prefix and two pieces, of which `pieces` has address, length, address and
 * length.
 */
export function hash(prefix: usize, prefixLength: usize, pieces: usize, count: usize, digests: usize): void {
  const end = pieces + (count << 4);
  let busy: i32 = 0;
  for (let lane: i32 = 0; lane < LANES; lane++) {
    // A lane without a message hashes what is there, and nobody asks what comes of it.
    unchecked((next[lane] = messageOf(lane)));
    unchecked((left[lane] = 0));
    if (pieces >= end) continue;
    take(lane, prefix, prefixLength, pieces, digests);
    pieces += 16;
    digests += 32;
    busy++;
  }
  while (busy) {
    compress(unchecked(next[0]), unchecked(next[1]), unchecked(next[2]), unchecked(next[3]));
    for (let lane: i32 = 0; lane < LANES; lane++) {
      if (unchecked(left[lane]) == 0) continue;
      unchecked((next[lane] += BLOCK));
      if (unchecked(--left[lane])) continue;
      digest(lane, unchecked(out[lane]));
      unchecked((next[lane] = messageOf(lane)));
      if (pieces < end) {
        take(lane, prefix, prefixLength, pieces, digests);
        pieces += 16;
        digests += 32;
      } else busy--;
    }
  }
}

function messageOf(lane: i32): usize {
  return messages + <usize>lane * LANE;
}

function take(lane: i32, prefix: usize, prefixLength: usize, piece: usize, digestAt: usize): void {
  const start = messageOf(lane);
  let at = start;
  copy(at, prefix, prefixLength);
  at += prefixLength;
  copy(at, load<u32>(piece), load<u32>(piece, 4));
  at += load<u32>(piece, 4);
  copy(at, load<u32>(piece, 8), load<u32>(piece, 12));
  at += load<u32>(piece, 12);
  const blocks = (at - start + 9 + BLOCK - 1) / BLOCK;
  pad(at, start + blocks * BLOCK, at - start);
  begin(lane);
  unchecked((left[lane] = blocks));
  unchecked((out[lane] = digestAt));
}

/** Sixteen bytes at a time: the last may be too many on both sides. */
function copy(to: usize, from: usize, length: usize): void {
  for (let i: usize = 0; i < length; i += 16) v128.store(to + i, v128.load(from + i));
}

/** The end of a message of `length` bytes, from `from` to `to`. */
function pad(from: usize, to: usize, length: usize): void {
  for (let at = from; at < to; at += 16) v128.store(at, i64x2.splat(0));
  store<u8>(from, 0x80);
  store<u64>(to - 8, bswap<u64>((<u64>length) << 3));
}

/** The hashes of `pairs` nodes of a Merkle tree (RFC 6962), each over 64 bytes from `from` on, one behind the other at `to`, which may be the same place. */
export function fold(from: usize, pairs: usize, to: usize): void {
  for (let lane: i32 = 0; lane < LANES; lane++) {
    store<u8>(messageOf(lane), 1);
    pad(messageOf(lane) + 65, messageOf(lane) + 2 * BLOCK, 65);
  }
  for (let i: usize = 0; i < pairs; i += 4) {
    const lanes = <i32>min<usize>(4, pairs - i);
    for (let lane: i32 = 0; lane < lanes; lane++) {
      copy(messageOf(lane) + 1, from + ((i + <usize>lane) << 6), 64);
      begin(lane);
    }
    compress(messageOf(0), messageOf(1), messageOf(2), messageOf(3));
    compress(messageOf(0) + BLOCK, messageOf(1) + BLOCK, messageOf(2) + BLOCK, messageOf(3) + BLOCK);
    for (let lane: i32 = 0; lane < lanes; lane++) digest(lane, to + ((i + <usize>lane) << 5));
  }
}
