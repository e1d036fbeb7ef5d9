// SHA-256 (FIPS 180-4) of four messages at once: each lane of a vector is one of them. Its messages may differ in length.

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

export const LANES: i32 = 4;
export const BLOCK: usize = 64;

/** Eight vectors: word i of all four states. */
const state = memory.data(8 * 16, 16);
/** The last sixteen words of the schedule, of all four. */
const schedule = memory.data(16 * 16, 16);

function rotr(x: v128, n: i32): v128 {
  return v128.or(i32x4.shr_u(x, n), i32x4.shl(x, 32 - n));
}

function xor3(x: v128, y: v128, z: v128): v128 {
  return v128.xor(v128.xor(x, y), z);
}

/** What a round adds whatever the first four words are. */
function first(e: v128, f: v128, g: v128, h: v128, kw: v128): v128 {
  return i32x4.add(i32x4.add(h, kw), i32x4.add(xor3(rotr(e, 6), rotr(e, 11), rotr(e, 25)), v128.bitselect(f, g, e)));
}

function second(a: v128, b: v128, c: v128): v128 {
  return i32x4.add(xor3(rotr(a, 2), rotr(a, 13), rotr(a, 22)), v128.bitselect(c, b, v128.xor(a, b)));
}

/** The constant and the word of a round; `i` is 0 to 15 among the sixteen that the schedule holds. */
function kw(round: usize, i: usize): v128 {
  return i32x4.add(v128.load32_splat(K + ((round + i) << 2)), v128.load(schedule + (i << 4)));
}

/** Makes word `i` the one sixteen rounds later, out of those one, nine and fourteen behind it. */
function extend(i: usize, one: usize, nine: usize, fourteen: usize): void {
  const w1 = v128.load(schedule + (one << 4));
  const w14 = v128.load(schedule + (fourteen << 4));
  const s0 = xor3(rotr(w1, 7), rotr(w1, 18), i32x4.shr_u(w1, 3));
  const s1 = xor3(rotr(w14, 17), rotr(w14, 19), i32x4.shr_u(w14, 10));
  const sum = i32x4.add(i32x4.add(v128.load(schedule + (i << 4)), s0), i32x4.add(v128.load(schedule + (nine << 4)), s1));
  v128.store(schedule + (i << 4), sum);
}

/** Words `i` to `i + 3` of four blocks, each lane its own, in the machine's byte order. */
function words(i: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  const a = swapped(p0 + (i << 2));
  const b = swapped(p1 + (i << 2));
  const c = swapped(p2 + (i << 2));
  const d = swapped(p3 + (i << 2));
  const ab01 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const ab23 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd01 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const cd23 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  const to = schedule + (i << 4);
  v128.store(to, v128.shuffle<i64>(ab01, cd01, 0, 2));
  v128.store(to, v128.shuffle<i64>(ab01, cd01, 1, 3), 16);
  v128.store(to, v128.shuffle<i64>(ab23, cd23, 0, 2), 32);
  v128.store(to, v128.shuffle<i64>(ab23, cd23, 1, 3), 48);
}

function swapped(p: usize): v128 {
  const x = v128.load(p);
  return v128.shuffle<i8>(x, x, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
}

/** One block of each lane. */
export function compress(p0: usize, p1: usize, p2: usize, p3: usize): void {
  words(0, p0, p1, p2, p3);
  words(4, p0, p1, p2, p3);
  words(8, p0, p1, p2, p3);
  words(12, p0, p1, p2, p3);
  let a = v128.load(state);
  let b = v128.load(state, 16);
  let c = v128.load(state, 32);
  let d = v128.load(state, 48);
  let e = v128.load(state, 64);
  let f = v128.load(state, 80);
  let g = v128.load(state, 96);
  let h = v128.load(state, 112);
  // Written out: as a loop over a table it takes a fifth longer.
  for (let round: usize = 0; ; round += 16) {
    h = first(e, f, g, h, kw(round, 0));
    d = i32x4.add(d, h);
    h = i32x4.add(h, second(a, b, c));
    g = first(d, e, f, g, kw(round, 1));
    c = i32x4.add(c, g);
    g = i32x4.add(g, second(h, a, b));
    f = first(c, d, e, f, kw(round, 2));
    b = i32x4.add(b, f);
    f = i32x4.add(f, second(g, h, a));
    e = first(b, c, d, e, kw(round, 3));
    a = i32x4.add(a, e);
    e = i32x4.add(e, second(f, g, h));
    d = first(a, b, c, d, kw(round, 4));
    h = i32x4.add(h, d);
    d = i32x4.add(d, second(e, f, g));
    c = first(h, a, b, c, kw(round, 5));
    g = i32x4.add(g, c);
    c = i32x4.add(c, second(d, e, f));
    b = first(g, h, a, b, kw(round, 6));
    f = i32x4.add(f, b);
    b = i32x4.add(b, second(c, d, e));
    a = first(f, g, h, a, kw(round, 7));
    e = i32x4.add(e, a);
    a = i32x4.add(a, second(b, c, d));
    h = first(e, f, g, h, kw(round, 8));
    d = i32x4.add(d, h);
    h = i32x4.add(h, second(a, b, c));
    g = first(d, e, f, g, kw(round, 9));
    c = i32x4.add(c, g);
    g = i32x4.add(g, second(h, a, b));
    f = first(c, d, e, f, kw(round, 10));
    b = i32x4.add(b, f);
    f = i32x4.add(f, second(g, h, a));
    e = first(b, c, d, e, kw(round, 11));
    a = i32x4.add(a, e);
    e = i32x4.add(e, second(f, g, h));
    d = first(a, b, c, d, kw(round, 12));
    h = i32x4.add(h, d);
    d = i32x4.add(d, second(e, f, g));
    c = first(h, a, b, c, kw(round, 13));
    g = i32x4.add(g, c);
    c = i32x4.add(c, second(d, e, f));
    b = first(g, h, a, b, kw(round, 14));
    f = i32x4.add(f, b);
    b = i32x4.add(b, second(c, d, e));
    a = first(f, g, h, a, kw(round, 15));
    e = i32x4.add(e, a);
    a = i32x4.add(a, second(b, c, d));
    if (round == 48) break;
    extend(0, 1, 9, 14);
    extend(1, 2, 10, 15);
    extend(2, 3, 11, 0);
    extend(3, 4, 12, 1);
    extend(4, 5, 13, 2);
    extend(5, 6, 14, 3);
    extend(6, 7, 15, 4);
    extend(7, 8, 0, 5);
    extend(8, 9, 1, 6);
    extend(9, 10, 2, 7);
    extend(10, 11, 3, 8);
    extend(11, 12, 4, 9);
    extend(12, 13, 5, 10);
    extend(13, 14, 6, 11);
    extend(14, 15, 7, 12);
    extend(15, 0, 8, 13);
  }
  v128.store(state, i32x4.add(a, v128.load(state)));
  v128.store(state, i32x4.add(b, v128.load(state, 16)), 16);
  v128.store(state, i32x4.add(c, v128.load(state, 32)), 32);
  v128.store(state, i32x4.add(d, v128.load(state, 48)), 48);
  v128.store(state, i32x4.add(e, v128.load(state, 64)), 64);
  v128.store(state, i32x4.add(f, v128.load(state, 80)), 80);
  v128.store(state, i32x4.add(g, v128.load(state, 96)), 96);
  v128.store(state, i32x4.add(h, v128.load(state, 112)), 112);
}

/** Begins a message in one lane. */
export function begin(lane: i32): void {
  const at = state + ((<usize>lane) << 2);
  for (let i: usize = 0; i < 8; i++) store<u32>(at + (i << 4), load<u32>(INITIAL + (i << 2)));
}

/** The digest of what has gone through one lane: 32 bytes at `out`. */
export function digest(lane: i32, out: usize): void {
  const at = state + ((<usize>lane) << 2);
  for (let i: usize = 0; i < 8; i++) store<u32>(out + (i << 2), bswap<u32>(load<u32>(at + (i << 4))));
}
