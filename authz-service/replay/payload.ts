/** Recorded payload, drawn: texts as they are, PostgreSQL's rows as tables. Chunk by chunk, in the order of the record, in memory that does not grow with it. */
import { StringDecoder } from 'node:string_decoder';
import { printable, shortened } from './printable.ts';
import type { ReplayedEvent } from './tell.ts';

/** The target's messages, as the client got them, and Sluice's own that marks masked columns (docs/recording.md). */
const POSTGRES = 'application/vnd.sluice.postgres';
const WIDEST_CELL = 40;

export interface Column {
  readonly name: string;
  /** The rule that masked its values; empty: none did. */
  masked: string;
}

/** What is seen of a chunk. All of it is what others wrote: whoever shows it makes it harmless. */
export type Piece =
  | { readonly kind: 'text'; readonly lines: readonly string[] }
  | {
      readonly kind: 'table';
      readonly columns: readonly Column[];
      /** `undefined` is NULL. */
      readonly rows: readonly (readonly (string | undefined)[])[];
      /** Rows of this result have been shown before. */
      readonly continued: boolean;
    }
  /** Ours, in brackets. */
  | { readonly kind: 'note'; readonly text: string };

export interface MostShown {
  /** Rows or lines of one body, and characters of it. */
  readonly lines: number;
  readonly characters: number;
  /** Characters of all. */
  readonly all: number;
}

export const EVERYTHING: MostShown = { lines: Infinity, characters: Infinity, all: Infinity };

/** What a body's next bytes say. Throws nothing, whatever they are. */
type Decode = (bytes: Buffer, last: boolean) => Piece[];

interface Body {
  readonly command: number;
  readonly direction: string;
  readonly decode: Decode;
  /** Up to where it is recorded. */
  bytes: number;
  lines: number;
  characters: number;
  cut: boolean;
}

/** Events after which nothing more of a body passes: those of one command, or of the session as a whole. */
const ENDS: ReadonlySet<string> = new Set(['response_finished', 'command_finished', 'session_closed']);

/** One for each replay: bodies go on from one chunk to the next. */
export class Payloads {
  readonly #bodies = new Map<string, Body>();
  readonly #most: MostShown;
  #shown = 0;

  constructor(most: MostShown = EVERYTHING) {
    this.#most = most;
  }

  /** What an event's payload says, and at an end which bodies were not recorded to theirs. */
  pieces(event: ReplayedEvent): Piece[] {
    return ENDS.has(event.kind) ? this.#unfinished(event) : this.#recorded(event);
  }

  #unfinished({ kind, command, body }: ReplayedEvent): Piece[] {
    const unfinished = [...this.#bodies].filter(([, of]) => kind === 'session_closed' || of.command === (command ?? 0));
    // An end that was only assumed: more of them may have come later.
    if (kind !== 'session_closed' || body?.outcome !== 'unknown') for (const [key] of unfinished) this.#bodies.delete(key);
    return unfinished.map(([, { direction, bytes }]) => ({
      kind: 'note',
      text: `${direction}: recorded up to byte ${bytes}, which is not its end`,
    }));
  }

  #recorded({ kind, command = 0, body: told }: ReplayedEvent): Piece[] {
    if (kind !== 'payload_chunk') return [];
    if (told === undefined) {
      // Whose part is missing nobody knows any more: none goes on as if it were whole.
      this.#bodies.clear();
      return [];
    }
    const data = Buffer.from(String(told.data ?? ''), 'base64');
    const [direction, offset] = [String(told.direction), Number(told.offset ?? 0)];
    const key = `${command} ${direction}`;
    const known = offset === 0 ? undefined : this.#bodies.get(key);
    const decode = known?.decode ?? decoderOf(String(told.contentType ?? ''), String(told.contentEncoding ?? ''));
    const body = known ?? { command, direction, decode, bytes: 0, lines: 0, characters: 0, cut: false };
    body.bytes = offset + data.length;
    this.#bodies.set(key, body);
    const ends = told.last === true || told.truncated === true;
    if (ends) this.#bodies.delete(key);
    if (body.cut || (data.length === 0 && !ends)) return [];
    return this.#within(body, body.decode(data, ends));
  }

  /** The same as lines for a terminal. */
  lines(event: ReplayedEvent): string[] {
    return this.pieces(event).flatMap(linesOf);
  }

  #within(body: Body, pieces: readonly Piece[]): Piece[] {
    const kept: Piece[] = [];
    for (const piece of pieces) {
      if (piece.kind === 'note') kept.push(piece);
      else if (piece.kind === 'text') {
        const lines: string[] = [];
        for (const line of piece.lines) {
          const left = this.#left(body);
          if (left === 0) break;
          lines.push(line.length > left ? line.slice(0, left).toWellFormed() : line);
          this.#count(body, line.length);
        }
        kept.push({ ...piece, lines });
      } else {
        // Heads are drawn with each part of a table: many narrow rows below a thousand columns are no small thing.
        if (this.#left(body) > 0)
          this.#countCharacters(
            body,
            piece.columns.reduce((sum, { name }) => sum + name.length + 1, 0),
          );
        const rows = piece.rows.filter((row) => {
          const left = this.#left(body);
          if (left > 0)
            this.#count(
              body,
              row.reduce((sum, cell) => sum + (cell?.length ?? 4), 0),
            );
          return left > 0;
        });
        kept.push({ ...piece, rows });
      }
      if (body.cut) return [...kept, { kind: 'note', text: 'the rest of it is not shown here' }];
    }
    return kept;
  }

  /** Characters that may still be shown; when there are none, the body is cut. */
  #left(body: Body): number {
    const { lines, characters, all } = this.#most;
    const left = body.lines >= lines ? 0 : Math.max(0, Math.min(characters - body.characters, all - this.#shown));
    if (left === 0) body.cut = true;
    return left;
  }

  #count(body: Body, characters: number): void {
    body.lines += 1;
    this.#countCharacters(body, characters);
  }

  #countCharacters(body: Body, characters: number): void {
    body.characters += characters;
    this.#shown += characters;
  }
}

const linesOf = (piece: Piece): string[] => {
  if (piece.kind === 'note') return [printable(`(${piece.text})`)];
  if (piece.kind === 'text') return piece.lines.map((line) => printable(line.replaceAll('\t', '  ')));
  const names = piece.columns.map(({ name, masked }) => (masked === '' ? name : `${name} [masked]`));
  const rows = piece.rows.map((row) => row.map((cell) => cell ?? 'NULL'));
  return aligned(piece.continued ? rows : [names, ...rows]);
};

function aligned(lines: readonly (readonly string[])[]): string[] {
  const shown = lines.map((line) => line.map((cell) => shortened(cell, WIDEST_CELL)));
  const widths: number[] = [];
  for (const line of shown) for (const [at, cell] of line.entries()) widths[at] = Math.max(widths[at] ?? 0, [...cell].length);
  const padded = (cell: string, at: number): string => cell + ' '.repeat((widths[at] ?? 0) - [...cell].length);
  return shown.map((line) => line.map(padded).join(' | ').trimEnd());
}

function decoderOf(contentType: string, contentEncoding: string): Decode {
  if (contentEncoding !== '' && contentEncoding !== 'identity') return unseen(`in the coding ${contentEncoding}`);
  if (contentType.startsWith(POSTGRES)) return rows();
  return text();
}

/** Where it cannot be shown; `--json` has it. */
const unseen =
  (what: string): Decode =>
  (bytes) =>
    bytes.length === 0 ? [] : [{ kind: 'note', text: `${bytes.length} bytes ${what}: --json has them` }];

const MARKS_OF_BINARY = /[\p{Cc}\ufffd]/gu;

function text(): Decode {
  const decoder = new StringDecoder('utf8');
  return (bytes, last) => {
    const decoded = decoder.write(bytes) + (last ? decoder.end() : '');
    if (decoded === '') return [];
    const odd = decoded.replace(/[\n\r\t]/g, '').match(MARKS_OF_BINARY)?.length ?? 0;
    if (odd > decoded.length / 10) return unseen('that are no text')(bytes, last);
    return [{ kind: 'text', lines: decoded.replace(/\r?\n$/, '').split(/\r?\n/) }];
  };
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

/** The messages of one body: `T` describes columns, `m` says which of them are masked, `D` is a row, `d` a copied row. */
function rows(): Decode {
  let parts: Buffer[] = [];
  let held = 0;
  let wanted = HEADER;
  let columns: (Column & { readonly binary: boolean })[] = [];
  /** Of the newest result. */
  let shown: 'not described' | 'nothing' | 'rows' = 'not described';
  return (bytes, last) => {
    parts.push(bytes);
    held += bytes.length;
    if (held < wanted && !last) return [];
    const pieces: Piece[] = [];
    let table: (string | undefined)[][] = [];
    const flush = (): void => {
      if (table.length === 0 && shown !== 'nothing') return;
      pieces.push({ kind: 'table', columns, rows: table, continued: shown === 'rows' });
      shown = 'rows';
      table = [];
    };
    let rest = Buffer.concat(parts);
    for (wanted = sizeOf(rest); wanted > HEADER - 1 && rest.length >= wanted; wanted = sizeOf(rest)) {
      const type = String.fromCharCode(rest[0] ?? 0);
      const body = new Fields(rest.subarray(HEADER, wanted));
      rest = rest.subarray(wanted);
      if (type === 'T') {
        flush();
        columns = described(body);
        shown = 'nothing';
      } else if (type === 'm') marked(body, columns);
      else if (type === 'D') table.push(cells(body, columns));
      else if (type === 'd') {
        flush();
        pieces.push({ kind: 'text', lines: [body.take(body.left).toString().replace(/\n$/, '')] });
      }
    }
    const broken = wanted < HEADER;
    // A description shows with its first row, when it is known which of its columns are masked; and at the end.
    if (table.length > 0 || last || broken) flush();
    if (broken) pieces.push({ kind: 'note', text: `${rest.length} bytes that are no messages` });
    else if (last && rest.length > 0) pieces.push({ kind: 'note', text: `${rest.length} bytes of a row that is not whole` });
    parts = broken ? [] : [Buffer.from(rest)];
    held = broken ? 0 : rest.length;
    if (broken) wanted = HEADER;
    return pieces;
  };
}

const HEADER = 5;
/** No server sends a longer message: what claims to be one is none, and is not waited for. */
const LONGEST_MESSAGE = 1 << 30;

/** Of the message that begins here, with its header, which it has at least when its length is not known yet; 0: this is none. */
const sizeOf = (bytes: Buffer): number => {
  if (bytes.length < HEADER) return HEADER;
  const size = bytes.readUInt32BE(1) + 1;
  return size >= HEADER && size <= LONGEST_MESSAGE ? size : 0;
};

/** A count is believed as far as there are bytes for it: a few of them must not become a table of millions of cells. */
function listed<Item>(body: Fields, next: (at: number) => Item): Item[] {
  const items: Item[] = [];
  for (let count = body.int(2); count > 0 && body.left > 0; count -= 1) items.push(next(items.length));
  return items;
}

function described(body: Fields): (Column & { readonly binary: boolean })[] {
  return listed(body, () => {
    const name = body.name();
    body.take(16);
    return { name, binary: body.int(2) === 1, masked: '' };
  });
}

function marked(body: Fields, columns: readonly Column[]): void {
  for (let count = body.int(2); count > 0 && body.left > 0; count -= 1) {
    const column = columns[body.int(2)];
    const rule = body.name();
    if (column !== undefined) column.masked = rule;
  }
}

function cells(body: Fields, columns: readonly { readonly binary: boolean }[]): (string | undefined)[] {
  return listed(body, (at) => {
    const length = body.int(4);
    if (length < 0) return undefined;
    const value = body.take(length);
    return columns[at]?.binary ? `\\x${value.toString('hex')}` : value.toString();
  });
}
