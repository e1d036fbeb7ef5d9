// The shape of a text of SQL: the text with a mark in the place of each whole number that something is compared with. Two texts of one shape are the same sequence of
// tokens to PostgreSQL's scanner but for the values of those numbers, and its grammar does not look at them there: docs/design/judged_texts.md says why, and which
// tests hold it. Anything unusual has no shape.
import { ByteBuffer } from '../../abi/bytes';

/** A longer text has no shape: each run of it is told with its text. */
export const LONGEST_SHAPED: u32 = 2048;
/** Stands for a number; no text with a shape has it. */
const MARK: u32 = 1;
/** Such a number is an int4 whatever it is. */
const MOST_DIGITS: u32 = 9;

const enum Of {
  OTHER,
  WORD,
  DIGIT,
  SPACE,
  OPERATOR,
  POINT,
  QUOTE,
}

/** No character that begins a comment, a string, a parameter, a cast, a sign or an operator that is none of those below is among them. */
const KINDS: StaticArray<u8> = kinds();

function kinds(): StaticArray<u8> {
  const table = new StaticArray<u8>(256);
  set(table, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_', Of.WORD);
  set(table, '0123456789', Of.DIGIT);
  set(table, ' \n\r\t', Of.SPACE);
  set(table, '!*<=>', Of.OPERATOR);
  set(table, '(),.;', Of.POINT);
  set(table, '"', Of.QUOTE);
  return table;
}

function set(table: StaticArray<u8>, characters: string, kind: Of): void {
  for (let i = 0; i < characters.length; i++) table[characters.charCodeAt(i)] = <u8>kind;
}

function kindAt(p: usize): u32 {
  return KINDS[load<u8>(p)];
}

/** Whether these characters, which are all that stand together, are an operator of comparison: `=`, `<`, `>`, `<=`, `>=`, `<>`, `!=`. */
function compares(p: usize, length: u32): bool {
  const first = load<u8>(p);
  if (length == 1) return first == 0x3d || first == 0x3c || first == 0x3e;
  if (length != 2) return false;
  const second = load<u8>(p + 1);
  if (second == 0x3d) return first == 0x3c || first == 0x3e || first == 0x21;
  return first == 0x3c && second == 0x3e;
}

/** Of a number: nothing behind it makes another token of it. */
function delimits(p: usize, end: usize): bool {
  if (p == end) return true;
  const c = load<u8>(p);
  return KINDS[c] == Of.SPACE || c == 0x29 || c == 0x2c || c == 0x3b;
}

/** Writes the shape of a text. False: it has none, or it has no such number, so that the text itself is all that can be said of it. */
export function shapeOf(text: usize, length: u32, shape: ByteBuffer): bool {
  shape.reset();
  if (length > LONGEST_SHAPED) return false;
  const end = text + length;
  let marks = 0,
    compared = false;
  for (let p = text; p < end; ) {
    const from = p;
    switch (kindAt(p)) {
      case Of.SPACE:
        p++;
        shape.write(from, 1);
        // What stood before it still does.
        continue;
      case Of.OPERATOR:
        do p++;
        while (p < end && kindAt(p) == Of.OPERATOR);
        compared = compares(from, <u32>(p - from));
        break;
      case Of.DIGIT: {
        do p++;
        while (p < end && kindAt(p) == Of.DIGIT);
        const number = <u32>(p - from) <= MOST_DIGITS && delimits(p, end);
        if (number && compared) {
          shape.byte(MARK);
          marks++;
          compared = false;
          continue;
        }
        compared = false;
        // `1.5`, `0x1F`, `1e5`, `1_000`, and what is none: as they stand, whole.
        while (p < end && (kindAt(p) == Of.DIGIT || kindAt(p) == Of.WORD || load<u8>(p) == 0x2e)) p++;
        break;
      }
      case Of.WORD:
        do p++;
        while (p < end && (kindAt(p) == Of.WORD || kindAt(p) == Of.DIGIT));
        compared = false;
        break;
      case Of.POINT:
        p++;
        compared = false;
        break;
      case Of.QUOTE:
        do p++;
        while (p < end && load<u8>(p) >= 0x20 && load<u8>(p) != 0x22);
        if (p == end || load<u8>(p) != 0x22) return false;
        p++;
        compared = false;
        break;
      default:
        return false;
    }
    shape.write(from, <u32>(p - from));
  }
  return marks > 0;
}
