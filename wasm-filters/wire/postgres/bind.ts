// Parse and Bind, read whole: every length is checked, and a message that does not end where its parts do is none.
import { addValue } from '../../stream/door';
import { be16, be32, textLength } from './frame';

/** The server cuts longer names (NAMEDATALEN), so two of them could be one to it. */
export const MAX_NAME: i32 = 63;

export const enum Read {
  OK,
  /** More bytes are needed. */
  SHORT,
  MALFORMED,
  NAME_TOO_LONG,
}

/** A name at the start of `length` bytes; `whole`: nothing follows them. */
export class NameReader {
  name: string = '';
  /** After the name's NUL. */
  next: usize = 0;

  read(p: usize, end: usize, whole: bool): Read {
    const n = textLength(p, min(end, p + MAX_NAME + 1));
    if (n < 0) return end - p > <usize>MAX_NAME ? Read.NAME_TOO_LONG : whole ? Read.MALFORMED : Read.SHORT;
    this.name = String.UTF8.decodeUnsafe(p, n);
    this.next = p + n + 1;
    return Read.OK;
  }
}

export class ParseMessage {
  text: usize = 0;
  length: u32 = 0;
  types: StaticArray<u32> = new StaticArray<u32>(0);

  /** `p` stands behind the statement's name. */
  read(p: usize, end: usize): bool {
    const n = textLength(p, end);
    if (n < 0) return false;
    this.text = p;
    this.length = n;
    p += n + 1;
    if (end - p < 2) return false;
    const count = be16(p);
    p += 2;
    if (<u32>(end - p) != count << 2) return false;
    this.types = new StaticArray<u32>(count);
    for (let i: u32 = 0; i < count; i++) this.types[i] = be32(p + (i << 2));
    return true;
  }
}

/** Walks what follows the names in a Bind; with `adds`, its values are added to the Judge request being written. False: malformed. */
export function readValues(p: usize, end: usize, adds: bool): bool {
  if (end - p < 2) return false;
  const formats = be16(p),
    formatsAt = p + 2;
  p = formatsAt + (formats << 1);
  if (p > end || end - p < 2) return false;
  const count = be16(p);
  p += 2;
  if (formats > 1 && formats != count) return false;
  for (let i: u32 = 0; i < formats; i++) if (be16(formatsAt + (i << 1)) > 1) return false;
  for (let i: u32 = 0; i < count; i++) {
    if (end - p < 4) return false;
    const length = <i32>be32(p);
    p += 4;
    if (length < -1 || (length > 0 && <usize>length > end - p)) return false;
    if (adds) {
      const format = formats == 0 ? 0 : be16(formatsAt + (formats == 1 ? 0 : i << 1));
      addValue(length < 0, format == 1, p, length < 0 ? 0 : length);
    }
    if (length > 0) p += length;
  }
  if (end - p < 2) return false;
  const results = be16(p);
  return <u32>(end - p) == 2 + (results << 1);
}
