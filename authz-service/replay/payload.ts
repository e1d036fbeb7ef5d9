/** Recorded payload as lines for a terminal: texts as they are, PostgreSQL's rows as a table. Chunk by chunk, in the order of the record. */
import { StringDecoder } from 'node:string_decoder';
import { printable, shortened } from './printable.ts';
import type { ReplayedEvent } from './tell.ts';

/** The target's messages RowDescription, DataRow, CopyOutResponse and CopyData, as the client got them (docs/recording.md). */
const POSTGRES = 'application/vnd.sluice.postgres';
const WIDEST_CELL = 40;
const NULL = 'NULL';

/** One body under way: what its next bytes say. Throws nothing, whatever they are. */
type Body = (bytes: Buffer, last: boolean) => string[];

/** One for each replay: bodies go on from one chunk to the next. */
export class Payloads {
  readonly #bodies = new Map<string, Body>();

  /** What an event's payload says; of an event without one, nothing. */
  lines({ kind, command = 0, body }: ReplayedEvent): string[] {
    if (kind !== 'payload_chunk') return [];
    if (body === undefined) {
      // Whose part is missing nobody knows any more: none goes on as if it were whole.
      this.#bodies.clear();
      return [];
    }
    const data = Buffer.from(String(body.data ?? ''), 'base64');
    const key = `${command} ${String(body.direction)}`;
    const known = Number(body.offset ?? 0) === 0 ? undefined : this.#bodies.get(key);
    const read = known ?? bodyOf(String(body.contentType ?? ''), String(body.contentEncoding ?? ''));
    this.#bodies.set(key, read);
    const ends = body.last === true || body.truncated === true;
    if (ends) this.#bodies.delete(key);
    return data.length === 0 && !ends ? [] : read(data, ends);
  }
}

function bodyOf(contentType: string, contentEncoding: string): Body {
  if (contentEncoding !== '' && contentEncoding !== 'identity') return unseen(`in the coding ${contentEncoding}`);
  if (contentType.startsWith(POSTGRES)) return rows();
  return text();
}

/** Where it cannot be shown; `--json` has it. */
const unseen =
  (what: string): Body =>
  (bytes) =>
    bytes.length === 0 ? [] : [printable(`(${bytes.length} bytes ${what}: --json has them)`)];

const MARKS_OF_BINARY = /[\p{Cc}\ufffd]/gu;

function text(): Body {
  const decoder = new StringDecoder('utf8');
  return (bytes, last) => {
    const decoded = decoder.write(bytes) + (last ? decoder.end() : '');
    if (decoded === '') return [];
    const odd = decoded.replace(/[\n\r\t]/g, '').match(MARKS_OF_BINARY)?.length ?? 0;
    if (odd > decoded.length / 10) return unseen('that are no text')(bytes, last);
    return decoded
      .replace(/\r?\n$/, '')
      .split(/\r?\n/)
      .map((line) => printable(line.replaceAll('\t', '  ')));
  };
}

interface Column {
  readonly name: string;
  readonly binary: boolean;
}

/** Reads within one message; what goes beyond its end is 0 or empty. */
class Fields {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  int(size: 1 | 2 | 4): number {
    if (this.left < size) {
      this.#at = this.#bytes.length;
      return 0;
    }
    this.#at += size;
    return this.#bytes.readIntBE(this.#at - size, size);
  }

  take(length: number): Buffer {
    const from = this.#at;
    this.#at = Math.min(this.#bytes.length, from + Math.max(0, length));
    return this.#bytes.subarray(from, this.#at);
  }

  name(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    const name = this.take((end < 0 ? this.#bytes.length : end) - this.#at).toString();
    this.take(1);
    return name;
  }
}

function rows(): Body {
  let rest = Buffer.alloc(0);
  let columns: Column[] = [];
  return (bytes, last) => {
    const shown: string[] = [];
    let table: string[][] = [];
    const flush = (): void => {
      if (table.length > 0) shown.push(...aligned(table));
      table = [];
    };
    rest = Buffer.concat([rest, bytes]);
    for (;;) {
      const size = rest.length >= 5 ? rest.readUInt32BE(1) : 0;
      if (rest.length < 5 || (size >= 4 && rest.length < size + 1)) break;
      if (size < 4) {
        flush();
        const broken = rest.length;
        rest = Buffer.alloc(0);
        return [...shown, `(${broken} bytes that are no messages)`];
      }
      const type = String.fromCharCode(rest[0] ?? 0);
      const body = new Fields(rest.subarray(5, size + 1));
      rest = rest.subarray(size + 1);
      if (type === 'T') {
        flush();
        columns = described(body);
        table.push(columns.map(({ name }) => name));
      } else if (type === 'D') table.push(cells(body, columns));
      else if (type === 'd') {
        flush();
        shown.push(printable(body.take(body.left).toString().replace(/\n$/, '').replaceAll('\t', '  ')));
      }
    }
    flush();
    if (last && rest.length > 0) shown.push(`(${rest.length} bytes of a row that is not whole)`);
    return shown;
  };
}

function described(body: Fields): Column[] {
  return Array.from({ length: Math.max(0, body.int(2)) }, () => {
    const name = body.name();
    body.take(16);
    return { name, binary: body.int(2) === 1 };
  });
}

function cells(body: Fields, columns: readonly Column[]): string[] {
  return Array.from({ length: Math.max(0, body.int(2)) }, (_, at) => {
    const length = body.int(4);
    if (length < 0) return NULL;
    const value = body.take(length);
    return columns[at]?.binary ? `\\x${value.toString('hex')}` : value.toString();
  });
}

function aligned(lines: readonly (readonly string[])[]): string[] {
  const shown = lines.map((line) => line.map((cell) => shortened(cell, WIDEST_CELL)));
  const widths: number[] = [];
  for (const line of shown) for (const [at, cell] of line.entries()) widths[at] = Math.max(widths[at] ?? 0, [...cell].length);
  const padded = (cell: string, at: number): string => cell + ' '.repeat((widths[at] ?? 0) - [...cell].length);
  return shown.map((line) => line.map(padded).join(' | ').trimEnd());
}
