/** A page as it comes, piece by piece, against what it should be. Holds no more of it than is asked for. */
import { EvidenceError } from './bundle.ts';

/** Longer lines are not looked at: an event has at most 64,512 bytes, a third more in base64. */
const MAX_LINE_BYTES = 1 << 18;
/** Looked through at once. */
const SKIPPED_BYTES = 1 << 16;

export class PageReader {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #held = Buffer.alloc(0);
  #ended = false;
  /** What the source rejected with. */
  failure: unknown;

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#pieces = bytes[Symbol.asyncIterator]();
  }

  /** Whether this comes next; then it is behind us. */
  async takes(text: string): Promise<boolean> {
    const expected = Buffer.from(text);
    await this.#hold(expected.length);
    if (!this.#held.subarray(0, expected.length).equals(expected)) return false;
    this.#held = this.#held.subarray(expected.length);
    return true;
  }

  /** The text up to this mark, which is behind us then. Throws an `EvidenceError` when it is too long, or no UTF-8. */
  async upTo(mark: string): Promise<string> {
    for (let length = 1 << 12; ; length *= 4) {
      await this.#hold(length);
      const end = this.#held.indexOf(mark);
      if (end > MAX_LINE_BYTES || (end < 0 && (length > MAX_LINE_BYTES || this.#ended)))
        throw new EvidenceError(`a line of the evidence has no end, or more than ${MAX_LINE_BYTES} bytes`);
      if (end < 0) continue;
      const bytes = this.#held.subarray(0, end);
      this.#held = this.#held.subarray(end + Buffer.byteLength(mark));
      const text = bytes.toString('utf8');
      if (!Buffer.from(text).equals(bytes)) throw new EvidenceError('a line of the evidence is not UTF-8');
      return text;
    }
  }

  /** Lets all go that is before this mark, and the mark. False: it does not come any more, and nothing is left. */
  async skipPast(mark: string): Promise<boolean> {
    const length = Buffer.byteLength(mark);
    for (;;) {
      await this.#hold(SKIPPED_BYTES);
      const at = this.#held.indexOf(mark);
      if (at >= 0) {
        this.#held = this.#held.subarray(at + length);
        return true;
      }
      // What is held may end with the beginning of the mark.
      this.#held = this.#ended ? Buffer.alloc(0) : Buffer.from(this.#held.subarray(Math.max(0, this.#held.length - length + 1)));
      if (this.#ended) return false;
    }
  }

  /** Whether nothing more comes. */
  async atEnd(): Promise<boolean> {
    await this.#hold(1);
    return this.#held.length === 0;
  }

  /** Lets go of the source. */
  async close(): Promise<void> {
    await this.#pieces.return?.();
  }

  async #hold(length: number): Promise<void> {
    if (this.#held.length >= length || this.#ended) return;
    const pieces: Uint8Array[] = [this.#held];
    for (let held = this.#held.length; held < length; ) {
      const piece = await this.#next();
      if (piece === undefined) break;
      pieces.push(piece);
      held += piece.length;
    }
    this.#held = Buffer.concat(pieces);
  }

  async #next(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.#pieces.next();
      this.#ended = done === true;
      return done ? undefined : value;
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}
