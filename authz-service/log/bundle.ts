/** A bundle of the tree while it is gathered: written as it is published, so that nothing is made of an event but the bytes of the objects that it goes into. */
import { leafHashes } from '../tlog/hash.ts';
import { TILE_WIDTH } from '../tlog/tile.ts';
import { type Detail, detailBytes, writeDetailHead } from './details.ts';
import type { Placed } from './journaled.ts';
import { CLASSES, classOf, type DetailClass, kindOfEntry, SALT_BYTES } from './leaf.ts';

const FIRST_BYTES = 1 << 14;
/** Offset and length of two pieces of a message that is hashed. */
const PIECES = 4;

/** Bytes that become more. */
class Growing {
  bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  length = 0;

  /** Makes room for so many more, which count from now on; returns where they go. */
  add(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(2 * this.length);
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
    }
    return at;
  }

  get all(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}

export class Bundle {
  readonly index: number;
  count = 0;
  /** How many of its entries have been hashed. */
  #hashed = 0;
  readonly #entries = new Growing();
  /** Where each entry stands among them. */
  readonly #pieces = new Uint32Array(TILE_WIDTH * PIECES);
  readonly #details = new Map<DetailClass, Growing>();

  constructor(index: number) {
    this.index = index;
  }

  /** One that is published. `detail`: `undefined` when it was deleted after its retention. */
  add(entry: Buffer, detail: Detail | undefined): void {
    this.#addEntry(entry, 0, entry.length);
    if (detail === undefined) return;
    const { index, salt, event } = detail;
    const { bytes, at } = this.#addDetail(kindOfEntry(entry), index, event.length);
    bytes.set(salt, at);
    bytes.set(event, at + SALT_BYTES);
  }

  /** One that stands in the journal. */
  addPlaced(source: Buffer, { index, salt, entry, event, end }: Readonly<Placed>): void {
    this.#addEntry(source, entry, event);
    const { bytes, at } = this.#addDetail(kindOfEntry(source, entry), index, end - event);
    source.copy(bytes, at, salt, entry);
    source.copy(bytes, at + SALT_BYTES, event, end);
  }

  /** As `encodeBundle`. */
  get entries(): Buffer {
    return this.#entries.all;
  }

  /** As `encodeDetails`, of each class that it has any of. */
  *details(): Generator<[DetailClass, Buffer]> {
    for (const each of CLASSES) {
      const details = this.#details.get(each);
      if (details !== undefined) yield [each, details.all];
    }
  }

  /** The leaf hashes of the entries that were added since it was asked last, one behind the other. */
  hashes(): Buffer {
    const pieces = this.#pieces.subarray(this.#hashed * PIECES);
    const count = this.count - this.#hashed;
    this.#hashed = this.count;
    return Buffer.from(leafHashes(this.entries, pieces, count));
  }

  #addEntry(source: Buffer, from: number, to: number): void {
    const at = this.#entries.add(2 + to - from);
    const { bytes } = this.#entries;
    bytes.writeUInt16BE(to - from, at);
    source.copy(bytes, at + 2, from, to);
    this.#pieces[this.count * PIECES] = at + 2;
    this.#pieces[this.count * PIECES + 1] = to - from;
    this.count += 1;
  }

  /** Where its salt goes, with the event behind it. */
  #addDetail(kind: number, index: number, eventLength: number): { bytes: Buffer; at: number } {
    const detailClass = classOf(kind);
    let details = this.#details.get(detailClass);
    if (details === undefined) this.#details.set(detailClass, (details = new Growing()));
    const at = details.add(detailBytes(eventLength));
    return { bytes: details.bytes, at: writeDetailHead(details.bytes, at, index, eventLength) };
  }
}
