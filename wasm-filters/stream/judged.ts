// Texts that the door has judged in one session, and said of them that its judgement is good for others: a later command of the same text, or of the same shape
// where the door says so and the protocol knows shapes, needs no question. Few and small: what is not found is asked.
import { copyOf } from '../abi/bytes';
import { CommandPlan } from './plan';

/** JudgeResponse.Allowed.Reuse. */
export const enum Reuse {
  NONE,
  TEXT,
  SHAPE,
}

const MOST: i32 = 32;
const LONGEST: u32 = 4096;

export class JudgedText {
  constructor(
    /** The text, or its shape. */
    public key: ArrayBuffer,
    public shaped: bool,
    /** The command that was judged. */
    public command: u64,
    public plan: CommandPlan,
    public revision: ArrayBuffer,
    public generation: u64,
  ) {}
}

export class JudgedTexts {
  private texts: JudgedText[] = [];
  private next: i32 = 0;

  /** `shape` 0: the text has none. */
  find(text: usize, length: u32, shape: usize, shapeLength: u32): JudgedText | null {
    for (let i = 0; i < this.texts.length; i++) {
      const known = this.texts[i];
      if (known.shaped ? shape && isKey(known, shape, shapeLength) : isKey(known, text, length)) return known;
    }
    return null;
  }

  /** The latest judgement of a text counts; past a bound the oldest text is let go. */
  keep(text: usize, length: u32, shaped: bool, command: u64, plan: CommandPlan, revision: ArrayBuffer, generation: u64): void {
    if (length > LONGEST) return;
    const judged = new JudgedText(copyOf(text, length), shaped, command, plan, revision, generation);
    for (let i = 0; i < this.texts.length; i++) {
      if (this.texts[i].shaped != shaped || !isKey(this.texts[i], text, length)) continue;
      this.texts[i] = judged;
      return;
    }
    if (this.texts.length < MOST) this.texts.push(judged);
    else this.texts[this.next] = judged;
    this.next = (this.next + 1) % MOST;
  }

  clear(): void {
    if (!this.texts.length) return;
    this.texts = [];
    this.next = 0;
  }
}

function isKey(judged: JudgedText, ptr: usize, length: u32): bool {
  const key = judged.key;
  return length == <u32>key.byteLength && memory.compare(changetype<usize>(key), ptr, length) == 0;
}
