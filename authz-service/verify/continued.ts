/**
 * The same log verified again and again. Each time what is new is read, and the root that comes of it and of what was proven before must be the one that is signed, so
 * that the tree goes on from the one that was verified. What has been read once is not looked at again until all of it is: now and then, and whenever there was something wrong.
 */
import type { Earlier } from './head.ts';
import { type Going, type Verification, verifyFrom } from './log.ts';
import type { Report } from './report.ts';

export interface ContinuedOptions {
  /** From one reading of everything to the next, at least. Milliseconds. */
  readonly wholeEveryMs: number;
  /** A clock that nobody sets. Milliseconds. */
  readonly monotonic?: () => number;
}

/** `whole`: everything was read. */
export type ContinuedReport = Report & { readonly whole: boolean };

export class ContinuedVerification {
  readonly #options: Required<ContinuedOptions>;
  #going: Going | undefined;
  /** What was verified last, also when it was lost what that was made of. */
  #last: Earlier | undefined;
  #wholeAt = Number.NEGATIVE_INFINITY;

  constructor(options: ContinuedOptions) {
    this.#options = { monotonic: () => performance.now(), ...options };
  }

  /** Rejects as `verifyLog` does. What is not as it should be is said by a reading of everything. */
  async verify(verification: Verification): Promise<ContinuedReport> {
    const { wholeEveryMs, monotonic } = this.#options;
    const now = monotonic();
    const going = now - this.#wholeAt < wholeEveryMs ? this.#going : undefined;
    const from = going?.edge.size;
    const found = await this.#verify(verification, going);
    const whole = found.whole || !found.report.complete;
    const { report } = found.whole || !whole ? found : await this.#verify(verification, undefined);
    if (whole && report.complete) this.#wholeAt = now;
    if (whole) return { ...report, whole };
    const remark = `the first ${from?.toLocaleString('en')} leaves and their events were read before, and their root is part of the one that is signed; what was read then was not read again`;
    return { ...report, whole, remarks: [...report.remarks, remark] };
  }

  async #verify(verification: Verification, going: Going | undefined): ReturnType<typeof verifyFrom> {
    // What it is made of changes: where this does not come to a good end, the next one begins anew.
    this.#going = undefined;
    const found = await verifyFrom(verification, { going, before: this.#last });
    const { report, going: next } = found;
    if (report.verified) this.#last = { size: report.size, root: Buffer.from(report.root, 'base64'), which: 'what was verified before' };
    this.#going = next;
    return found;
  }
}
