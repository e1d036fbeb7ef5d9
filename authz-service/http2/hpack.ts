/**
 * HPACK (RFC 7541), as far as a server of few different answers needs it: whole blocks of fields are read, and those that are written are constants, which
 * need no table.
 */
import { huffmanText } from './huffman.ts';

export interface Field {
  readonly name: string;
  readonly value: string;
}

/** The bytes are no block of fields, or say more than is taken: the connection's state is lost with it. */
export class HpackError extends Error {}

/** Octets that the dynamic table may take: the value that holds when nothing else was agreed on (RFC 9113, section 6.5.2). */
const TABLE_BYTES = 4096;
/** What an entry counts beside its text: RFC 7541, section 4.1. */
const ENTRY_BYTES = 32;
/** Of all fields of one block. */
const MAX_FIELDS_BYTES = 65_536;
/** An integer of more bytes than this is larger than anything that it may say. */
const MAX_INTEGER_SHIFT = 21;

/** RFC 7541, appendix A, from index 1. */
const STATIC: readonly Field[] = (
  ':authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204' +
  '|:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate' +
  '|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control' +
  '|content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|cookie' +
  '|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified' +
  '|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie' +
  '|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate'
)
  .split('|')
  .map((entry) => {
    const [name = '', value = ''] = entry.split(/(?<=.)=/);
    return { name, value };
  });

/** One direction of one connection. */
export class FieldReader {
  /** The newest last; those before `#oldest` have been evicted. */
  #entries: Field[] = [];
  #oldest = 0;
  #size = 0;
  #capacity = TABLE_BYTES;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;

  /** @returns the fields of the block in `bytes[from, end)`, in order @throws {HpackError} */
  read(bytes: Buffer, from: number, end: number): Field[] {
    this.#block = bytes;
    this.#at = from;
    this.#end = end;
    const fields: Field[] = [];
    let size = 0;
    while (this.#at < end) {
      const first = bytes[this.#at] as number;
      let field: Field;
      if (first >= 0x80) field = this.#entry(this.#integer(7));
      else if (first >= 0x40) this.#insert((field = this.#literal(6)));
      else if (first < 0x20) field = this.#literal(4);
      else {
        if (fields.length > 0) throw new HpackError('the size of the table changes behind a field');
        this.#resize(this.#integer(5));
        continue;
      }
      size += field.name.length + field.value.length + ENTRY_BYTES;
      if (size > MAX_FIELDS_BYTES) throw new HpackError(`the fields take more than ${MAX_FIELDS_BYTES} bytes`);
      fields.push(field);
    }
    return fields;
  }

  #entry(index: number): Field {
    const field = index <= STATIC.length ? STATIC[index - 1] : this.#dynamic(index - STATIC.length);
    if (!field) throw new HpackError('there is no entry of this index');
    return field;
  }

  /** @param age from 1, the newest */
  #dynamic(age: number): Field | undefined {
    const at = this.#entries.length - age;
    return at >= this.#oldest ? this.#entries[at] : undefined;
  }

  #literal(prefixBits: number): Field {
    const index = this.#integer(prefixBits);
    const name = index === 0 ? this.#text() : this.#entry(index).name;
    return { name, value: this.#text() };
  }

  /** RFC 7541, section 5.1. */
  #integer(prefixBits: number): number {
    const most = (1 << prefixBits) - 1;
    let value = this.#byte() & most;
    if (value < most) return value;
    for (let shift = 0; ; shift += 7) {
      if (shift > MAX_INTEGER_SHIFT) throw new HpackError('an integer is too large');
      const byte = this.#byte();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  #text(): string {
    const coded = ((this.#block[this.#at] as number) & 0x80) !== 0;
    const length = this.#integer(7);
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#end) throw new HpackError('a text ends behind its block');
    if (!coded) return this.#block.toString('latin1', from, this.#at);
    const text = huffmanText(this.#block, from, this.#at);
    if (text === undefined) throw new HpackError('a text is not in the Huffman code');
    return text;
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new HpackError('the block ends within a field');
    return this.#block[this.#at++] as number;
  }

  #insert(field: Field): void {
    this.#entries.push(field);
    this.#size += field.name.length + field.value.length + ENTRY_BYTES;
    this.#evict();
  }

  #resize(capacity: number): void {
    if (capacity > TABLE_BYTES) throw new HpackError(`the table takes at most ${TABLE_BYTES} bytes`);
    this.#capacity = capacity;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#capacity) {
      const { name, value } = this.#entries[this.#oldest++] as Field;
      this.#size -= name.length + value.length + ENTRY_BYTES;
    }
    if (this.#oldest <= TABLE_BYTES / ENTRY_BYTES) return;
    this.#entries = this.#entries.slice(this.#oldest);
    this.#oldest = 0;
  }
}

/** A block that needs no table: each field with its name and value, ASCII (RFC 7541, section 6.2.2). @throws {RangeError} for a text of 127 characters or more */
export function fieldBlock(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const text = (of: string): Buffer[] => {
    if (of.length > 126) throw new RangeError(`a field of ${of.length} characters`);
    return [Buffer.from([of.length]), Buffer.from(of, 'latin1')];
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), ...text(name), ...text(value)]));
}

/** Says, once and before the first block, that this side uses no table, whatever the other one offers (RFC 7541, section 6.3). */
export const NO_TABLE = Buffer.from([0x20]);
