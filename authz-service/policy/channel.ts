/**
 * The memory between the engine and one decision worker. The worker never returns to its event loop: it waits for the bell, evaluates a
 * batch, and answers with one empty message. Inputs and answers cross as bytes in shared memory, for structured clones of them
 * would cost more than most evaluations.
 *
 * While a batch runs the engine owns LIMIT and the worker everything else; between batches the engine owns all of it.
 */

/** Cells of `control`. */
export const BELL = 0;
/** Jobs in the batch. */
export const COUNT = 1;
/** The worker begins no job from this index on. */
export const LIMIT = 2;
/** Jobs that are done, so also the index of the one that runs. Stored after its answer: what lies below may be read. */
export const DONE = 3;

/** A batch keeps to both, so that its answers always fit. */
export const MOST_JOBS = 32;
export const LARGEST_ANSWER = 65_536;
export const LARGEST_INPUT = 128 * 1024 * 1024;

/** An input is its length and its bytes; an answer is status, microseconds, length and bytes. All numbers are int32, little-endian. */
export const INPUT_HEADER = 4;
export const ANSWER_HEADER = 12;
const ROOM_FOR_INPUTS = 262_144;

export const ANSWERED = 0;
/** The bytes are the error that the policy threw. */
export const THREW = 1;

export interface Channel {
  readonly control: Int32Array<SharedArrayBuffer>;
  /** Grows to its `maxByteLength` for large inputs. */
  readonly inputs: SharedArrayBuffer;
  readonly answers: SharedArrayBuffer;
}

/** What a decision worker is started with. */
export interface WorkerData extends Channel {
  readonly module: WebAssembly.Module;
  readonly data: unknown;
}

export const openChannel = (): Channel => ({
  control: new Int32Array(new SharedArrayBuffer(16)),
  inputs: new SharedArrayBuffer(ROOM_FOR_INPUTS, { maxByteLength: LARGEST_INPUT + INPUT_HEADER }),
  answers: new SharedArrayBuffer(MOST_JOBS * (ANSWER_HEADER + LARGEST_ANSWER)),
});
