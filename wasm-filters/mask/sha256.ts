// SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104), over raw memory.

import { copyBytes } from './sink';

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
const K = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
  0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
  0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
  0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
  0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
  0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);
const INITIAL = memory.data<u32>([0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]);
const schedule = memory.data(256);

const BLOCK: u32 = 64;
export const DIGEST_BYTES: u32 = 32;

/** One running hash. */
export class Sha256 {
  private memory: ArrayBuffer = new ArrayBuffer(96); // eight words of state, then the block being filled
  private total: u64 = 0;

  constructor() {
    this.reset();
  }

  @inline private get state(): usize {
    return changetype<usize>(this.memory);
  }
  @inline private get block(): usize {
    return changetype<usize>(this.memory) + 32;
  }

  reset(): void {
    copyBytes(this.state, INITIAL, 32);
    this.total = 0;
  }

  /** Takes over where `other` stands. */
  copy(other: Sha256): void {
    copyBytes(this.state, other.state, 96);
    this.total = other.total;
  }

  update(p: usize, length: u32): void {
    const filled = <u32>(this.total & 63);
    this.total += length;
    if (filled + length < BLOCK) {
      copyBytes(this.block + filled, p, length);
      return;
    }
    const end = p + length;
    if (filled) {
      copyBytes(this.block + filled, p, BLOCK - filled);
      compress(this.state, this.block);
      p += BLOCK - filled;
    }
    for (; p + BLOCK <= end; p += BLOCK) compress(this.state, p);
    copyBytes(this.block, p, <u32>(end - p));
  }

  /** Writes the 32 bytes of the digest at `out`; the hash must be reset before it is used again. */
  digest(out: usize): void {
    const bits = this.total << 3;
    let filled = <u32>(this.total & 63);
    store<u8>(this.block + filled++, 0x80);
    if (filled > 56) {
      memory.fill(this.block + filled, 0, BLOCK - filled);
      compress(this.state, this.block);
      filled = 0;
    }
    memory.fill(this.block + filled, 0, 56 - filled);
    store<u64>(this.block + 56, bswap<u64>(bits));
    compress(this.state, this.block);
    for (let i: usize = 0; i < 32; i += 4) store<u32>(out + i, bswap<u32>(load<u32>(this.state + i)));
  }
}

function compress(state: usize, block: usize): void {
  for (let i: usize = 0; i < 64; i += 4) store<u32>(schedule + i, bswap<u32>(load<u32>(block + i)));
  for (let i: usize = 64; i < 256; i += 4) {
    const w15 = load<u32>(schedule + i - 60),
      w2 = load<u32>(schedule + i - 8);
    const s0 = rotr<u32>(w15, 7) ^ rotr<u32>(w15, 18) ^ (w15 >> 3),
      s1 = rotr<u32>(w2, 17) ^ rotr<u32>(w2, 19) ^ (w2 >> 10);
    store<u32>(schedule + i, load<u32>(schedule + i - 64) + s0 + load<u32>(schedule + i - 28) + s1);
  }
  let a = load<u32>(state),
    b = load<u32>(state, 4),
    c = load<u32>(state, 8),
    d = load<u32>(state, 12);
  let e = load<u32>(state, 16),
    f = load<u32>(state, 20),
    g = load<u32>(state, 24),
    h = load<u32>(state, 28);
  for (let i: usize = 0; i < 256; i += 4) {
    const t1 =
      h + (rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25)) + ((e & f) ^ (~e & g)) + load<u32>(K + i) + load<u32>(schedule + i);
    const t2 = (rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  store<u32>(state, load<u32>(state) + a);
  store<u32>(state, load<u32>(state, 4) + b, 4);
  store<u32>(state, load<u32>(state, 8) + c, 8);
  store<u32>(state, load<u32>(state, 12) + d, 12);
  store<u32>(state, load<u32>(state, 16) + e, 16);
  store<u32>(state, load<u32>(state, 20) + f, 20);
  store<u32>(state, load<u32>(state, 24) + g, 24);
  store<u32>(state, load<u32>(state, 28) + h, 28);
}

const pad = memory.data(64);

/** A key, as the two hash states that every message under it starts from. Holds no copy of the key itself. */
export class HmacKey {
  private inner: Sha256 = new Sha256();
  private outer: Sha256 = new Sha256();

  /** `length` must not exceed 64 bytes. */
  constructor(key: usize, length: u32) {
    for (let i: u32 = 0; i < BLOCK; i++) store<u8>(pad + i, (i < length ? load<u8>(key + i) : 0) ^ 0x36);
    this.inner.update(pad, BLOCK);
    for (let i: u32 = 0; i < BLOCK; i++) store<u8>(pad + i, load<u8>(pad + i) ^ 0x36 ^ 0x5c);
    this.outer.update(pad, BLOCK);
    memory.fill(pad, 0, BLOCK);
  }

  /** Makes `hash` ready for a message: update it with the message, then `finish` it. */
  begin(hash: Sha256): void {
    hash.copy(this.inner);
  }

  /** Writes the 32 bytes of the tag at `out`. */
  finish(hash: Sha256, out: usize): void {
    hash.digest(out);
    hash.copy(this.outer);
    hash.update(out, DIGEST_BYTES);
    hash.digest(out);
  }
}
