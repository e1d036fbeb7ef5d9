/** The Huffman code of RFC 7541, appendix B. It is canonical: the lengths of its codes say all. */

/** For each byte, and last for the end of a text, the length of its code in bits, as a digit of base 36. */
const LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq' +
  'u';
const LONGEST = 30;
const END = 256;

/** By length: the first code, how many there are, and where the symbols of its codes begin in `SYMBOLS`. */
const FIRST = new Int32Array(LONGEST + 1);
const COUNT = new Int32Array(LONGEST + 1);
const START = new Int32Array(LONGEST + 1);
const SYMBOLS: number[] = [];

const lengths = Array.from(LENGTHS, (digit) => Number.parseInt(digit, 36));
for (let length = 1, code = 0; length <= LONGEST; length++, code *= 2) {
  FIRST[length] = code;
  START[length] = SYMBOLS.length;
  for (const [symbol, of] of lengths.entries()) if (of === length) SYMBOLS.push(symbol);
  COUNT[length] = SYMBOLS.length - (START[length] as number);
  code += COUNT[length] as number;
}

/** @returns the text of `bytes[from, end)`, each byte a character; `undefined` when they are not in the code, or end otherwise than in ones of less than a byte */
export function huffmanText(bytes: Uint8Array, from: number, end: number): string | undefined {
  let text = '';
  let [code, length] = [0, 0];
  for (let at = from; at < end; at++) {
    const byte = bytes[at] as number;
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      length++;
      const place = code - (FIRST[length] as number);
      if (place < (COUNT[length] as number)) {
        const symbol = SYMBOLS[(START[length] as number) + place] as number;
        if (symbol === END) return undefined;
        text += String.fromCharCode(symbol);
        code = length = 0;
      }
    }
  }
  return length < 8 && code === (1 << length) - 1 ? text : undefined;
}
