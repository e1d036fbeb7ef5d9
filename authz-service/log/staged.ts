/**
 * The events of one write of the journal while it gathers. Each is written straight into the journal's batch, but for its leaf's commitment; what is hashed is hashed at the
 * end, for the whole batch at once. What comes of it is the same byte for byte as `encodeLeafView` and `encodeEventRecord` give one by one.
 */
import { randomFillSync } from 'node:crypto';
import { leafHashes } from '../tlog/hash.ts';
import { COMMITMENT_BYTES, commitmentsOf, entryBound, SALT_BYTES, type Subject, writeEntry } from './leaf.ts';
import { HEAD_BYTES, writeEventHead } from './record.ts';

const SALT_POOL_BYTES = 1 << 13;
/** Offset and length of two pieces of a message that is hashed. */
const PIECES = 4;

export class StagedEvents {
  #count = 0;
  /** Of each event, in the batch: its salt and itself; and its entry, with nothing behind it. */
  #committed = new Uint32Array(256 * PIECES);
  #entries = new Uint32Array(256 * PIECES);
  readonly #salts = Buffer.alloc(SALT_POOL_BYTES);
  #saltAt = SALT_POOL_BYTES;

  /** Bytes of the record of such an event, at most. */
  bound(subject: Subject, event: Uint8Array): number {
    return HEAD_BYTES + entryBound(subject) + event.length;
  }

  /** Writes an event's record into the batch at `at`; returns the offset behind it. */
  write(into: Buffer, at: number, index: number, subject: Subject, position: number, previous: number, event: Uint8Array): number {
    const entryAt = at + HEAD_BYTES;
    const eventAt = writeEntry(into, entryAt, subject, position, previous) + COMMITMENT_BYTES;
    const saltAt = writeEventHead(into, at, index, eventAt - entryAt);
    this.#salt(into, saltAt);
    into.set(event, eventAt);
    this.#add(saltAt, entryAt, eventAt, event.length);
    return eventAt + event.length;
  }

  /** Completes the leaves in `batch` and returns their hashes, one behind the other: a view, good until the next batch is hashed. Then another batch begins. */
  hash(batch: Buffer): Buffer {
    const count = this.#count;
    this.#count = 0;
    const commitments = commitmentsOf(batch, this.#committed, count);
    for (let i = 0; i < count; i += 1) {
      const at = (this.#entries[PIECES * i] as number) + (this.#entries[PIECES * i + 1] as number) - COMMITMENT_BYTES;
      for (let k = 0; k < COMMITMENT_BYTES; k += 1) batch[at + k] = commitments[COMMITMENT_BYTES * i + k] as number;
    }
    return leafHashes(batch, this.#entries, count);
  }

  /** What has gathered is lost. */
  clear(): void {
    this.#count = 0;
  }

  #add(saltAt: number, entryAt: number, eventAt: number, eventLength: number): void {
    if (PIECES * this.#count === this.#entries.length) {
      this.#committed = twice(this.#committed);
      this.#entries = twice(this.#entries);
    }
    const i = PIECES * this.#count;
    this.#committed[i] = saltAt;
    this.#committed[i + 1] = SALT_BYTES;
    this.#committed[i + 2] = eventAt;
    this.#committed[i + 3] = eventLength;
    this.#entries[i] = entryAt;
    this.#entries[i + 1] = eventAt - entryAt;
    this.#count += 1;
  }

  #salt(into: Buffer, at: number): void {
    if (this.#saltAt === SALT_POOL_BYTES) {
      randomFillSync(this.#salts);
      this.#saltAt = 0;
    }
    for (let i = 0; i < SALT_BYTES; i += 1) into[at + i] = this.#salts[this.#saltAt + i] as number;
    this.#saltAt += SALT_BYTES;
  }
}

const twice = (numbers: Uint32Array): Uint32Array<ArrayBuffer> => {
  const larger = new Uint32Array(2 * numbers.length);
  larger.set(numbers);
  return larger;
};
