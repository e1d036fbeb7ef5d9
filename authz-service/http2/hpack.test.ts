import { describe, expect, test } from 'vitest';
import { FieldReader, fieldBlock, HpackError, NO_TABLE } from './hpack.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const read = (reader: FieldReader, block: Buffer): string[] =>
  reader.read(block, 0, block.length).map(({ name, value }) => `${name}: ${value}`);

const GET = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
const FOUND = [':status: 302', 'cache-control: private', 'date: Mon, 21 Oct 2013 20:13:21 GMT', 'location: https://www.example.com'];

describe('blocks of one connection, RFC 7541', () => {
  test.each([
    [
      'appendix C.3, texts as they are',
      ['8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d', '8286 84be 5808 6e6f 2d63 6163 6865'],
      [GET, [...GET, 'cache-control: no-cache']],
    ],
    [
      'appendix C.4, texts in the Huffman code',
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
      [
        GET,
        [...GET, 'cache-control: no-cache'],
        [':method: GET', ':scheme: https', ':path: /index.html', ':authority: www.example.com', 'custom-key: custom-value'],
      ],
    ],
    [
      'appendix C.6, a table of 256 bytes from which entries go',
      [
        '3fe1 01 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
        '4883 640e ffc1 c0bf',
      ],
      [FOUND, [':status: 307', ...FOUND.slice(1)]],
    ],
  ])('%s', (_, blocks, fields) => {
    const reader = new FieldReader();
    expect(blocks.map((block) => read(reader, bytes(block)))).toEqual(fields);
  });

  test('an entry that went is not there any more', () => {
    const reader = new FieldReader();
    read(reader, bytes('4001 6101 62'));
    expect(read(reader, bytes('be'))).toEqual(['a: b']);
    expect(read(reader, bytes('20'))).toEqual([]);
    expect(() => read(reader, bytes('be'))).toThrow(HpackError);
  });

  test('thousands of new entries keep the newest that fit', () => {
    const reader = new FieldReader();
    for (let i = 0; i < 5_000; i++) read(reader, Buffer.concat([bytes('4001 6104'), Buffer.from(String(i).padStart(4, '0'))]));
    expect(read(reader, bytes('be'))).toEqual(['a: 4999']);
    // 4,096 bytes of entries of 37 are 110.
    expect(read(reader, bytes('ff2c'))).toEqual(['a: 4890']);
    expect(() => read(reader, bytes('ff2d'))).toThrow(HpackError);
  });
});

test('fields are written so that they are read', () => {
  const fields = [
    [':status', '200'],
    ['grpc-message', 'a text'],
    ['empty', ''],
  ] as const;
  expect(read(new FieldReader(), Buffer.concat([NO_TABLE, fieldBlock(fields)]))).toEqual(
    fields.map(([name, value]) => `${name}: ${value}`),
  );
  expect(() => fieldBlock([['name', 'v'.repeat(127)]])).toThrow(RangeError);
});

test.each([
  ['the index 0', '80'],
  ['an index beyond the table', 'be'],
  ['an index that does not end', 'ff80 8080 8080 01'],
  ['an index cut off', 'ff'],
  ['a name cut off', '4005 61'],
  ['a value that is missing', '4001 61'],
  ['a text that ends behind its block', '4001 617f ffff 7f'],
  ['a table larger than was offered', '3fe2 1f'],
  ['a size behind a field', '8220'],
  ['the end of text within a text', '4001 6184 ffff ffff'],
  ['padding of a whole byte', '4001 6182 1fff'],
  ['padding that is not ones', '4001 6181 18'],
])('is no block: %s', (_, hex) => {
  const block = bytes(hex);
  expect(() => new FieldReader().read(block, 0, block.length)).toThrow(HpackError);
});

test('fields of more than 64 KiB are too many, also where the block says them in few bytes', () => {
  const long = `0001 617f 813e ${'61'.repeat(8_064)}`;
  const block = (hex: string) => () => read(new FieldReader(), bytes(hex));
  expect(block(long.repeat(8))()).toHaveLength(8);
  expect(block(long.repeat(9))).toThrow(HpackError);
  const entry = `4001 617f 811e ${'61'.repeat(3_968)}`;
  expect(block(entry + 'be'.repeat(15))()).toHaveLength(16);
  expect(block(entry + 'be'.repeat(16))).toThrow(HpackError);
});
