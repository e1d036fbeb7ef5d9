/** Header maps as proxy-wasm writes them: count, then both lengths of each pair, then name NUL value NUL of each; all numbers 32-bit little-endian. */

/** Names in lower case, values as bytes read as latin1: what HTTP carries. */
export type Headers = [name: string, value: string][];

export function encodePairs(headers: Headers): Buffer {
  const texts = headers.flatMap(([name, value]) => [Buffer.from(`${name}\0`, 'latin1'), Buffer.from(`${value}\0`, 'latin1')]);
  const head = Buffer.alloc(4 + texts.length * 4);
  head.writeUInt32LE(headers.length);
  texts.forEach((text, i) => {
    head.writeUInt32LE(text.length - 1, 4 + i * 4);
  });
  return Buffer.concat([head, ...texts]);
}

/** Throws where Envoy would take the block for an empty one: a filter that writes such a block is wrong. */
export function decodePairs(block: Buffer): Headers {
  if (block.length === 0) return [];
  const headers: Headers = [];
  const count = block.readUInt32LE(0);
  let at = 4 + count * 8;
  for (let i = 0; i < count; i++) {
    const nameEnd = at + block.readUInt32LE(4 + i * 8);
    const valueEnd = nameEnd + 1 + block.readUInt32LE(8 + i * 8);
    if (block[nameEnd] !== 0 || block[valueEnd] !== 0) throw new Error('a pair is not terminated');
    headers.push([block.toString('latin1', at, nameEnd), block.toString('latin1', nameEnd + 1, valueEnd)]);
    at = valueEnd + 1;
  }
  if (at !== block.length) throw new Error('a block of pairs has bytes left over');
  return headers;
}

export const headerValue = (headers: Headers, name: string): string | undefined => headers.find(([key]) => key === name)?.[1];
