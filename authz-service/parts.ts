/**
 * The parts of the service, closed in the reverse of the order in which they were opened. A part that waits for a disk which does not answer would keep the process
 * for ever, and whoever started it would not know: each has its time. What is acknowledged is durable, whatever does not close.
 */

/** How long a part may take to close. Milliseconds. */
export const DISK_MS = 30_000;
/** Where one has not closed in time, others may wait for the same. */
const AFTER_LATE_MS = 1_000;

/** Parts did not close in time. */
export class PartsError extends Error {
  constructor(late: readonly string[]) {
    super(
      `${late.join(', ')}: did not close in time, as when a disk does not answer. What was acknowledged is recorded; what was not, nobody was told to be. The process is ended as it is`,
    );
    this.name = 'PartsError';
  }
}

interface Part {
  readonly name: string;
  readonly close: () => Promise<void>;
  readonly withinMs: number;
}

export class Parts {
  readonly #opened: Part[] = [];
  readonly #failed: (part: string, error: unknown) => void;
  readonly #late: string[] = [];

  /** `failed`: told of each part that did not close, and why. */
  constructor(failed: (part: string, error: unknown) => void) {
    this.#failed = failed;
  }

  /** `withinMs`: how long it may take to close; default 30,000. */
  add(name: string, close: () => Promise<void>, withinMs = DISK_MS): void {
    this.#opened.push({ name, close, withinMs });
  }

  /** Closes all that was added since it was called last. Rejects with a `PartsError`, once the others have had their time as well. */
  async close(): Promise<void> {
    for (const part of this.#opened.splice(0).reverse())
      await this.#closeOne(part).catch((error: unknown) => this.#failed(part.name, error));
    if (this.#late.length > 0) throw new PartsError(this.#late);
  }

  async #closeOne({ name, close, withinMs }: Part): Promise<void> {
    const ms = this.#late.length > 0 ? Math.min(AFTER_LATE_MS, withinMs) : withinMs;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((settle) => {
      timer = setTimeout(settle, ms, 'late');
    });
    try {
      if ((await Promise.race([close(), late])) !== 'late') return;
    } finally {
      clearTimeout(timer);
    }
    this.#late.push(name);
    throw new Error(`it did not close within ${ms} ms`);
  }
}
