/** One witness, asked by c2sp.org/tlog-witness: `POST PREFIX/add-checkpoint`. */
import type { Caller } from '../storage/call.ts';
import { StorageError } from '../storage/object_store.ts';
import type { Checkpoint } from '../tlog/checkpoint.ts';
import { TlogError } from '../tlog/error.ts';
import { type NoteSignature, openNote, type VerifierKey } from '../tlog/note.ts';

export type WitnessErrorCode =
  /** Does not answer, or not as the protocol says: it is asked again. */
  | 'unavailable'
  /** Does not know the log, or not its key: somebody must tell it. */
  | 'unknown_log'
  /** Has cosigned a longer log than the one it was shown: this one was rolled back, or another copy of it went on elsewhere. */
  | 'ahead'
  /** Says that what it is shown does not continue what it has cosigned: the log was forked or rewritten. */
  | 'forked';

export class WitnessError extends Error {
  readonly code: WitnessErrorCode;
  /** Of `ahead`: how long the log is that it has cosigned. */
  readonly size: number | undefined;

  constructor(code: WitnessErrorCode, message: string, { cause, size }: { readonly cause?: unknown; readonly size?: number } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'WitnessError';
    this.code = code;
    this.size = size;
  }
}

export interface WitnessSettings {
  /** For people and metrics. */
  readonly name: string;
  /** The submission prefix. */
  readonly url: URL;
  /** Its keys, of type `cosignature`. */
  readonly keys: readonly VerifierKey[];
}

/** Proves that the tree of `oldSize` is the beginning of the one of `size`. */
export type ProveConsistency = (oldSize: number, size: number) => Promise<readonly Uint8Array[]>;

const PATH = '/add-checkpoint';
const SIZE_TYPE = 'text/x.tlog.size';
const MAX_SAID = 200;

export const formatRequest = (oldSize: number, proof: readonly Uint8Array[], note: string): string =>
  [`old ${oldSize}`, ...proof.map((hash) => Buffer.from(hash).toString('base64')), '', note].join('\n');

export class Witness {
  readonly settings: WitnessSettings;
  readonly #call: Caller;
  readonly #prove: ProveConsistency;
  /** What it cosigned last, as far as it is known here: a guess that the witness corrects. */
  #size = 0;

  constructor(settings: WitnessSettings, call: Caller, prove: ProveConsistency) {
    this.settings = settings;
    this.#call = call;
    this.#prove = prove;
  }

  /** How long the log is that it has cosigned. */
  get size(): number {
    return this.#size;
  }

  /** Its cosignatures of this checkpoint, verified; at least one. Rejects with a `WitnessError`. */
  async cosign(note: string, { size }: Checkpoint, signal?: AbortSignal): Promise<NoteSignature[]> {
    // The second time with the size that it told; a third would mean that somebody else submits this log.
    for (let attempt = 1; ; attempt += 1) {
      const old = Math.min(this.#size, size);
      const proof = await this.#prove(old, size);
      const answer = await this.#post(formatRequest(old, proof, note), signal);
      const said = answer.body.toString('utf8');
      if (answer.status === 200) {
        const signatures = this.#verified(note, said);
        this.#size = size;
        return signatures;
      }
      if (answer.status !== 409) throw this.#refusal(answer.status, said);
      const theirs = this.#told(answer.headers['content-type'], said);
      if (theirs > size)
        throw new WitnessError('ahead', `${this.#name} has cosigned ${theirs} leaves of this log, and it has ${size}`, { size: theirs });
      this.#size = theirs;
      if (attempt > 1) throw new WitnessError('unavailable', `${this.#name} says ${theirs} leaves, and another number before`);
    }
  }

  get #name(): string {
    return `the witness ${this.settings.name}`;
  }

  async #post(body: string, signal: AbortSignal | undefined): ReturnType<Caller> {
    const url = new URL(this.settings.url);
    url.pathname = url.pathname.replace(/\/$/, '') + PATH;
    try {
      return await this.#call(
        () => ({ method: 'POST', url, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: Buffer.from(body) }),
        signal,
      );
    } catch (error) {
      if (error instanceof StorageError) throw new WitnessError('unavailable', `${this.#name}: ${error.message}`, { cause: error });
      throw error;
    }
  }

  #told(type: string | undefined, said: string): number {
    const [, digits] = /^(0|[1-9]\d{0,15})\n$/.exec(said) ?? [];
    const size = Number(digits);
    if (type?.split(';')[0]?.trim() !== SIZE_TYPE || digits === undefined || !Number.isSafeInteger(size))
      throw new WitnessError('unavailable', `${this.#name} answered 409 without the size of its checkpoint`);
    return size;
  }

  /** Signature lines are verified as the end of the note that they sign; those of unknown keys are left out. */
  #verified(note: string, lines: string): NoteSignature[] {
    const wrong = (why: string, cause?: unknown): WitnessError =>
      new WitnessError('unavailable', `${this.#name} answered 200 ${why}`, { cause });
    if (lines === '' || !lines.endsWith('\n')) throw wrong('without a signature');
    const text = note.slice(0, note.lastIndexOf('\n\n') + 2);
    try {
      const { verified } = openNote(text + lines, this.settings.keys);
      return verified.map(({ key: { name, id }, signature }) => ({ name, id, signature }));
    } catch (error) {
      if (error instanceof TlogError) throw wrong(`with no cosignature of its own: ${error.message}`, error);
      throw error;
    }
  }

  #refusal(status: number, said: string): WitnessError {
    const why = said.slice(0, MAX_SAID).trim();
    if (status === 422)
      return new WitnessError(
        'forked',
        `${this.#name} refuses this log: what it was shown does not continue what it has cosigned (${why})`,
      );
    if (status === 404 || status === 403)
      return new WitnessError(
        'unknown_log',
        `${this.#name} does not know this log${status === 403 ? "'s key" : ''} (status ${status}: ${why})`,
      );
    return new WitnessError('unavailable', `${this.#name} answered with status ${status}: ${why}`);
  }
}
