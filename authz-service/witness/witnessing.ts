/**
 * Cosignatures for the newest checkpoint, from witnesses that are asked all at once and wait for nobody: an event is acknowledged before any of them has
 * seen it, and how far they are behind is a metric. As soon as a quorum has cosigned one checkpoint it is published, with their signatures.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Checkpoint, readCheckpoint } from '../tlog/checkpoint.ts';
import { formatNote, type NoteSignature, parseNote } from '../tlog/note.ts';
import { type Witness, WitnessError, type WitnessErrorCode } from './client.ts';

export interface WitnessStatus {
  readonly name: string;
  /** How long the log is that it has cosigned; 0 before it has answered. */
  readonly size: number;
  /** Why the last question failed; `ok` when it did not. */
  readonly state: 'ok' | 'new' | WitnessErrorCode;
  /** Unix milliseconds of its last cosignature; 0: never. */
  readonly cosignedAt: number;
}

export interface WitnessingOptions {
  readonly witnesses: readonly Witness[];
  /** How many of them must have cosigned a checkpoint before it is published as witnessed. */
  readonly quorum: number;
  /** The log's newest checkpoint, a signed note. */
  readonly newest: () => Promise<string | undefined>;
  /** Publishes a checkpoint that a quorum has cosigned, also again with more signatures. */
  readonly publish: (note: string, checkpoint: Checkpoint) => Promise<void>;
  /** From one question to the next. Milliseconds, default 1,000. */
  readonly intervalMs?: number;
  /** A witness that failed is asked again after this, and after twice as long each further time, at most a minute. Milliseconds, default 1,000. */
  readonly firstWaitMs?: number;
  /** Told of each failure whose kind is new of that witness, and of each `forked` and `ahead`. */
  readonly onProblem?: (error: Error) => void;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

interface State {
  readonly witness: Witness;
  /** Its last cosignatures, and what of. */
  last: { readonly note: string; readonly signatures: readonly NoteSignature[] };
  state: WitnessStatus['state'];
  cosignedAt: number;
  waitMs: number;
  /** Not asked before. */
  notBefore: number;
}

const MAX_WAIT_MS = 60_000;
/** A checkpoint that stays the newest is shown again after this: the time of a cosignature says that the log has not gone on. */
const REFRESH_MS = 600_000;

export class Witnessing {
  readonly #options: Required<WitnessingOptions>;
  readonly #states: State[];
  readonly #stopped = new AbortController();
  #witnessed = 0;
  #witnessedAt = 0;
  #newest = 0;
  #published = '';
  #running: Promise<void> | undefined;

  constructor(options: WitnessingOptions) {
    this.#options = { intervalMs: 1_000, firstWaitMs: 1_000, onProblem: () => {}, now: Date.now, ...options };
    this.#states = options.witnesses.map((witness) => ({
      witness,
      last: { note: '', signatures: [] },
      state: 'new',
      cosignedAt: 0,
      waitMs: 0,
      notBefore: 0,
    }));
  }

  /** Goes on until `close`. */
  start(): void {
    this.#running ??= this.#run();
  }

  get statuses(): WitnessStatus[] {
    return this.#states.map(({ witness, state, cosignedAt }) => ({ name: witness.settings.name, size: witness.size, state, cosignedAt }));
  }

  /** Sizes of the newest checkpoint that was shown to witnesses, and of the newest that a quorum has cosigned; when it had, Unix milliseconds. */
  get progress(): { readonly newest: number; readonly witnessed: number; readonly witnessedAt: number } {
    return { newest: this.#newest, witnessed: this.#witnessed, witnessedAt: this.#witnessedAt };
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  /** Asks every witness whose turn it is about the newest checkpoint. Rejects when the log itself cannot be read, or the result not be published. */
  async round(): Promise<void> {
    const note = await this.#options.newest();
    if (note === undefined) return;
    const checkpoint = readCheckpoint(note);
    this.#newest = checkpoint.size;
    const { now } = this.#options;
    // One publication after the other: the later has more signatures.
    let publishing = this.#publish(note, checkpoint);
    await Promise.all(
      this.#states
        .filter((state) => state.notBefore <= now() && !this.#isFresh(state, note))
        .map(async (state) => {
          if (!(await this.#ask(state, note, checkpoint))) return;
          publishing = publishing.then(() => this.#publish(note, checkpoint));
          await publishing;
        }),
    );
    await publishing;
  }

  /** Publishes what there is of cosignatures, when they are enough and not published yet. */
  async #publish(note: string, checkpoint: Checkpoint): Promise<void> {
    const { quorum, publish, now } = this.#options;
    const cosigned = this.#states.filter(({ last }) => last.note === note);
    if (cosigned.length < quorum) return;
    const { text, signatures } = parseNote(note);
    const witnessed = formatNote({ text, signatures: [...signatures, ...cosigned.flatMap(({ last }) => last.signatures)] });
    if (witnessed === this.#published) return;
    await publish(witnessed, checkpoint);
    this.#published = witnessed;
    this.#witnessed = checkpoint.size;
    this.#witnessedAt = now();
  }

  #isFresh({ last, cosignedAt }: State, note: string): boolean {
    return last.note === note && this.#options.now() - cosignedAt < REFRESH_MS;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await this.round().catch((error: Error) => {
        if (!signal.aborted) this.#options.onProblem(error);
      });
      await sleep(this.#options.intervalMs, undefined, { signal }).catch(() => {});
    }
  }

  /** @returns whether it has cosigned */
  async #ask(state: State, note: string, checkpoint: Checkpoint): Promise<boolean> {
    const { firstWaitMs, now, onProblem } = this.#options;
    try {
      const signatures = await state.witness.cosign(note, checkpoint, this.#stopped.signal);
      Object.assign(state, { last: { note, signatures }, state: 'ok', cosignedAt: now(), waitMs: 0, notBefore: 0 });
      return true;
    } catch (error) {
      if (this.#stopped.signal.aborted) return false;
      if (!(error instanceof WitnessError)) throw error;
      const isNew = state.state !== error.code;
      const waitMs = Math.min(MAX_WAIT_MS, state.waitMs === 0 ? firstWaitMs : 2 * state.waitMs);
      Object.assign(state, { state: error.code, waitMs, notBefore: now() + waitMs });
      if (isNew || error.code === 'forked' || error.code === 'ahead') onProblem(error);
      return false;
    }
  }
}
