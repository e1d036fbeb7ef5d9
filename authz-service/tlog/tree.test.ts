import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TlogError } from './error.ts';
import { EMPTY_ROOT, Frontier, leafHash, leafHashes, rootOf } from './hash.ts';
import { MAX_MESSAGE_BYTES, sha256Many } from './many.ts';
import { mth, path, proof, reading, tilesOf } from './naive.fixture.ts';
import { checkConsistency, checkInclusion, formatProof, frontierOf, parseProof, proveConsistency, proveInclusion } from './proof.ts';
import {
  decodeBundle,
  encodeBundle,
  hashesOf,
  nodesOfTiles,
  parseTilePath,
  partialTiles,
  TileEdge,
  tileOfEntries,
  tilePath,
  widthAt,
} from './tile.ts';

const entriesOf = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => Buffer.from(`entry ${i}`));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const codeOf = (run: () => unknown): string => {
  try {
    run();
    return 'none';
  } catch (error) {
    return error instanceof TlogError ? error.code : `not coded: ${error}`;
  }
};

/** Around everything that is special of a size: powers of two, and the edges of tiles. */
const SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 31, 32, 33, 255, 256, 257, 300, 511, 512, 513, 700];

describe('the hashes of RFC 6962', () => {
  // The inputs and roots of the reference implementation of Certificate Transparency.
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  const roots = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];

  it('give the known roots', () => {
    expect(hex(EMPTY_ROOT)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    const frontier = new Frontier();
    expect(frontier.root()).toEqual(EMPTY_ROOT);
    for (const [i, input] of inputs.entries()) {
      frontier.append(leafHash(Buffer.from(input, 'hex')));
      expect(hex(frontier.root())).toBe(roots[i]);
      expect(frontier.size).toBe(i + 1);
    }
  });

  it('take entries of any size up to what a bundle holds', () => {
    for (const size of [0, 1, 4094, 4095, 4096, 4097, 65_535]) {
      const entry = Buffer.alloc(size, size % 251);
      expect(leafHash(entry)).toEqual(mth([entry]));
    }
  });

  it('go on from the roots of perfect subtrees', async () => {
    const entries = entriesOf(700);
    for (const size of SIZES) {
      const frontier = Frontier.of(size, await frontierOf(size, nodesOfTiles(size, reading(tilesOf(entries.slice(0, size))))));
      expect(frontier.root()).toEqual(mth(entries.slice(0, size)));
      for (const entry of entries.slice(size)) frontier.append(leafHash(entry));
      expect(frontier.root()).toEqual(mth(entries));
    }
  });
});

describe('many at once', () => {
  const piecesOf = (lengths: readonly number[]): { source: Buffer; pieces: Uint32Array } => {
    const source = randomBytes(lengths.reduce((sum, length) => sum + length, 0));
    let at = 0;
    const pieces = lengths.flatMap((length) => [(at += length) - length, length]);
    return { source, pieces: Uint32Array.from(pieces) };
  };
  const plain = (prefix: Uint8Array, source: Buffer, pieces: Uint32Array): Buffer =>
    Buffer.concat(
      Array.from({ length: pieces.length / 4 }, (_, i) => {
        const [a, aLength, b, bLength] = pieces.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number];
        const hash = createHash('sha256').update(prefix);
        return hash
          .update(source.subarray(a, a + aLength))
          .update(source.subarray(b, b + bLength))
          .digest();
      }),
    );

  it('are hashed as one by one, whatever their lengths', () => {
    const length = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 3000 }));
    const message = fc.tuple(length, length);
    fc.assert(
      fc.property(fc.array(message, { maxLength: 40 }), fc.integer({ min: 0, max: 70 }), (messages, prefixed) => {
        const { source, pieces } = piecesOf(messages.flat());
        const prefix = randomBytes(prefixed);
        expect(hex(sha256Many(prefix, source, pieces, messages.length))).toBe(hex(plain(prefix, source, pieces)));
      }),
    );
  });

  it('are hashed at every length around the edges of a block, and at the longest', () => {
    const lengths = Array.from({ length: 200 }, (_, i) => [i, 0]).flat();
    const every = piecesOf(lengths);
    expect(hex(sha256Many(Buffer.alloc(0), every.source, every.pieces, 200))).toBe(hex(plain(Buffer.alloc(0), every.source, every.pieces)));
    const longest = piecesOf([MAX_MESSAGE_BYTES - 2, 1, 3, 4, MAX_MESSAGE_BYTES - 1, 0]);
    const three = longest.pieces.subarray(0, 12);
    expect(hex(sha256Many(Buffer.of(0), longest.source, three, 3))).toBe(hex(plain(Buffer.of(0), longest.source, three)));
  });

  it('are refused when they are too long, or beyond their source', () => {
    const long = piecesOf([MAX_MESSAGE_BYTES, 0]);
    expect(() => sha256Many(Buffer.of(0), long.source, long.pieces, 1)).toThrow(RangeError);
    expect(() => sha256Many(Buffer.of(0), Buffer.alloc(10), Uint32Array.of(0, 4, 8, 3), 1)).toThrow(RangeError);
  });

  it('grow a tree as one by one', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 130 }), { maxLength: 8 }), (counts) => {
        const [one, all] = [new Frontier(), new Frontier()];
        const entries: Buffer[] = [];
        for (const count of counts) {
          const more = Array.from({ length: count }, (_, i) => Buffer.from(`entry ${entries.length + i}`));
          entries.push(...more);
          for (const entry of more) one.append(leafHash(entry));
          const { length } = Buffer.concat(more);
          let at = 0;
          const pieces = more.flatMap((entry) => [(at += entry.length) - entry.length, entry.length, 0, 0]);
          expect(at).toBe(length);
          all.appendAll(leafHashes(Buffer.concat(more), Uint32Array.from(pieces), count));
          expect(all.size).toBe(one.size);
          expect(hex(all.root())).toBe(hex(one.root()));
        }
        expect(hex(all.root())).toBe(hex(mth(entries)));
        // Its edge is the same, not its root alone.
        one.append(leafHash(Buffer.of(1)));
        all.append(leafHash(Buffer.of(1)));
        expect(hex(all.root())).toBe(hex(one.root()));
      }),
      { numRuns: 40 },
    );
  });
});

describe('tiles', () => {
  it('have the paths of the specification', () => {
    expect(tilePath({ level: 0, index: 1_234_067, width: 256 })).toBe('tile/0/x001/x234/067');
    expect(tilePath({ level: 'entries', index: 0, width: 1 })).toBe('tile/entries/000.p/1');
    expect(tilePath({ level: 63, index: 1000, width: 255 })).toBe('tile/63/x001/000.p/255');
    // Its example: a tree of 70,000.
    expect(partialTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
    expect(partialTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
    expect(widthAt(0, 272, 70_000)).toBe(256);
    expect(widthAt(0, 274, 70_000)).toBe(0);
  });

  it('are named in one way only', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.constant('entries' as const), fc.integer({ min: 0, max: 63 })),
        fc.nat({ max: Number.MAX_SAFE_INTEGER }),
        fc.integer({ min: 1, max: 256 }),
        (level, index, width) => {
          const tile = { level, index, width };
          expect(parseTilePath(tilePath(tile))).toEqual(tile);
        },
      ),
    );
    for (const path of [
      'tile/00/000',
      'tile/64/000',
      'tile/-1/000',
      'tile/0/0',
      'tile/0/1000',
      'tile/0/x000/001',
      'tile/0/001/002',
      'tile/0/x001',
      'tile/0/000.p/0',
      'tile/0/000.p/256',
      'tile/0/000.p/01',
      'tile/0/000.p',
      'tile/entries/../../etc',
      'tile/8/0/000 ',
      `tile/0/${'x999/'.repeat(6)}999`,
      '',
    ])
      expect([path, codeOf(() => parseTilePath(path))]).toEqual([path, 'malformed']);
  });

  it('are those of the definition at every size, whether the tree grew at once or went on from its right edge', async () => {
    const entries = entriesOf(700);
    const growing = new TileEdge();
    const stored = new Map<string, Buffer>();
    let edge = growing;
    for (const [i, entry] of entries.entries()) {
      edge.append(leafHash(entry), (tile, bytes) => stored.set(tilePath(tile), bytes));
      if (!SIZES.includes(i + 1)) continue;
      const partial = edge.partial().map(({ tile, bytes }) => [tilePath(tile), bytes] as const);
      const all = new Map([...stored, ...partial]);
      expect(all).toEqual(tilesOf(entries.slice(0, i + 1)));
      expect(Frontier.of(i + 1, edge.roots()).root()).toEqual(mth(entries.slice(0, i + 1)));
      edge = await TileEdge.of(i + 1, reading(all));
      expect(edge.partial().map(({ tile, bytes }) => [tilePath(tile), bytes])).toEqual(partial);
    }
  });

  it('of 65,536 leaves and more have a third level', () => {
    const leaf = leafHash(Buffer.from('the same'));
    const edge = new TileEdge();
    const full: string[] = [];
    for (let i = 0; i < 65_537; i += 1) edge.append(leaf, (tile) => full.push(tilePath(tile)));
    expect(full.length).toBe(257);
    expect(full.slice(-2)).toEqual(['tile/0/255', 'tile/1/000']);
    expect(edge.partial().map(({ tile }) => tilePath(tile))).toEqual(['tile/0/256.p/1', 'tile/2/000.p/1']);
    expect(Frontier.of(65_537, edge.roots()).root()).toEqual(rootOf(Array.from({ length: 65_537 }, () => leaf)));
  });

  it('bundle entries of every length, and take no bundle that is not whole', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 }), fc.nat(), (entries, cut) => {
        const bytes = encodeBundle(entries);
        const read = decodeBundle(bytes, entries.length);
        expect(read.map(hex)).toEqual(entries.map(hex));
        expect(hashesOf(tileOfEntries(read), entries.length)).toEqual(entries.map(leafHash));
        expect(codeOf(() => decodeBundle(bytes, entries.length - 1))).toBe('malformed');
        expect(codeOf(() => decodeBundle(bytes, entries.length + 1))).toBe('malformed');
        expect(codeOf(() => decodeBundle(bytes.subarray(0, cut % bytes.length), entries.length))).toBe('malformed');
      }),
      { numRuns: 30 },
    );
    expect(decodeBundle(encodeBundle([Buffer.alloc(65_535)]), 1)[0]?.length).toBe(65_535);
    expect(codeOf(() => encodeBundle([Buffer.alloc(65_536)]))).toBe('malformed');
    expect(codeOf(() => hashesOf(Buffer.alloc(33), 1))).toBe('malformed');
  });

  it('say which of them is not there, or is too short', async () => {
    const tiles = tilesOf(entriesOf(300));
    const node = nodesOfTiles(300, async (tile) => (tile.index === 1 ? undefined : tiles.get(tilePath(tile))?.subarray(1)));
    await expect(node(0, 299)).rejects.toMatchObject({ code: 'missing', message: expect.stringContaining('tile/0/001') });
    await expect(node(0, 1)).rejects.toMatchObject({ code: 'malformed' });
  });

  it('are read in their full form when the partial one has gone', async () => {
    const later = new Map([...tilesOf(entriesOf(300)), ...tilesOf(entriesOf(600))]);
    later.delete('tile/0/001.p/44');
    const node = nodesOfTiles(300, reading(later));
    expect(await proveInclusion(299, 300, node)).toEqual(path(299, entriesOf(300)));
  });
});

describe('proofs', () => {
  const entries = entriesOf(300);
  const at = (size: number) => ({ size, root: mth(entries.slice(0, size)) });
  const nodes = (size: number) => nodesOfTiles(size, reading(tilesOf(entries.slice(0, size))));
  const sizes = SIZES.filter((size) => size <= 300);

  it('of inclusion are those of the definition, and prove it', async () => {
    for (const size of sizes)
      for (let index = 0; index < size; index += index < 20 || index > size - 10 ? 1 : 17) {
        const made = await proveInclusion(index, size, nodes(size));
        expect(made).toEqual(path(index, entries.slice(0, size)));
        checkInclusion(leafHash(entries[index] as Buffer), index, at(size), made);
      }
    await expect(async () => proveInclusion(5, 5, nodes(5))).rejects.toThrow(RangeError);
  });

  it('of consistency are those of the definition, and prove it', async () => {
    for (const size of sizes)
      for (const old of [0, ...sizes].filter((old) => old <= size)) {
        const made = await proveConsistency(old, size, nodes(size));
        expect(made).toEqual(old === 0 ? [] : proof(old, entries.slice(0, size)));
        checkConsistency(at(old), at(size), made);
      }
    await expect(async () => proveConsistency(6, 5, nodes(5))).rejects.toThrow(RangeError);
  });

  it('prove nothing else: every change of proof, leaf, index, size or root is noticed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(), (size, chosen, bit) => {
        const index = chosen % size;
        const good = path(index, entries.slice(0, size));
        const leaf = leafHash(entries[index] as Buffer);
        const head = at(size);
        const flipped = (bytes: Uint8Array): Buffer => {
          const copy = Buffer.from(bytes);
          copy[bit % 32] = (copy[bit % 32] as number) ^ (1 << (bit % 8));
          return copy;
        };
        const which = bit % good.length;
        const bad: [Uint8Array, number, { size: number; root: Uint8Array }, Uint8Array[]][] = [
          [flipped(leaf), index, head, good],
          [leaf, index, { size, root: flipped(head.root) }, good],
          [leaf, index, head, good.with(which, flipped(good[which] as Buffer))],
          [leaf, index, head, good.slice(0, -1)],
          [leaf, index, head, good.slice(1)],
          [leaf, index, head, [...good, leaf]],
          [leaf, (index + 1) % size, head, good],
          [leaf, size, head, good],
          [leaf, -1, head, good],
          [leaf, index, { size: 2 * size + 1, root: head.root }, good],
        ];
        for (const [i, args] of bad.entries()) expect([i, codeOf(() => checkInclusion(...args))]).toEqual([i, 'unproven']);

        const old = 1 + (bit % size);
        const steps = proof(old, entries.slice(0, size));
        const forged: [{ size: number; root: Uint8Array }, { size: number; root: Uint8Array }, Uint8Array[]][] = [
          [{ size: old, root: flipped(mth(entries.slice(0, old))) }, head, steps],
          [at(old), { size, root: flipped(head.root) }, steps],
          [at(old), head, [...steps, leaf]],
          [head, at(old), steps],
          ...steps.map((hash, i): (typeof forged)[number] => [at(old), head, steps.with(i, flipped(hash))]),
          ...(steps.length > 0 ? [[at(old), head, steps.slice(0, -1)] as (typeof forged)[number]] : []),
        ];
        for (const [i, args] of forged.entries()) {
          if (args[0].size === args[1].size && i === 3) continue;
          expect([i, codeOf(() => checkConsistency(...args))]).toEqual([i, 'unproven']);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('count beyond 32 bits', async () => {
    // A tree whose perfect subtrees all have one root: only the arithmetic is looked at.
    const node = async (height: number, index: number): Promise<Buffer> => leafHash(Buffer.from(`${height}/${index}`));
    const size = 2 ** 50 + 2 ** 33 + 5;
    const made = await proveInclusion(2 ** 40 + 1, size, node);
    expect(made.length).toBe(51);
    expect(made[0]).toEqual(await node(0, 2 ** 40));
    expect(made[49]).toEqual(await node(49, 1));
    expect(codeOf(() => checkInclusion(made[0] as Buffer, 2 ** 40 + 1, { size, root: EMPTY_ROOT }, made))).toBe('unproven');
  });

  it('are kept as files in one form only', async () => {
    const file = { index: 7, proof: path(7, entries.slice(0, 9)), checkpoint: 'example.com/log\n9\nAAAA\n\n— example.com/log AAAAAAA=\n' };
    const text = formatProof(file);
    expect(text.split('\n').slice(0, 2)).toEqual(['c2sp.org/tlog-proof@v1', 'index 7']);
    expect(parseProof(text)).toEqual(file);
    const extra = { ...file, extra: Buffer.from('more') };
    expect(parseProof(formatProof(extra))).toEqual(extra);
    for (const bad of [
      '',
      'c2sp.org/tlog-proof@v1\n',
      text.replace('@v1', '@v2'),
      text.replace('index 7', 'index 07'),
      text.replace('index 7', 'index -7'),
      text.replace('index 7', `index ${2 ** 54}`),
      text.replace('=\n', '\n'),
      text.replace('index 7\n', 'index 7\nAAAA\n'),
      text.replace('index 7\n', `index 7\n${'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n'.repeat(60)}`),
      formatProof(extra).replace('bW9yZQ==', 'bW9yZQ'),
    ])
      expect([bad, codeOf(() => parseProof(bad))]).toEqual([bad, 'malformed']);
  });
});
