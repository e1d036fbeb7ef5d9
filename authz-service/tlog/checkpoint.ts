/** Checkpoints: c2sp.org/tlog-checkpoint. A note whose lines are the log's origin, its size and its root. */
import { malformed, TlogError } from './error.ts';
import { HASH_BYTES } from './hash.ts';
import { openNote, parseNote, type SignerKey, signNote, type VerifiedSignature, type VerifierKey } from './note.ts';

export interface Checkpoint {
  /** The log's name; not empty. */
  readonly origin: string;
  /** How many leaves. */
  readonly size: number;
  readonly root: Buffer;
}

export const formatCheckpoint = ({ origin, size, root }: Checkpoint): string => `${origin}\n${size}\n${root.toString('base64')}\n`;

/** Reads a note's text. Strict; extension lines are not taken: no log of ours writes them. Throws `malformed`. */
export const parseCheckpoint = (text: string): Checkpoint => {
  const [origin, size, root, end, ...more] = text.split('\n');
  if (origin === undefined || size === undefined || root === undefined || end !== '' || more.length > 0)
    throw malformed('a checkpoint is three lines: origin, size and root');
  const checkpoint = { origin, size: Number(size), root: Buffer.from(root, 'base64') };
  if (origin === '' || !/^(?:0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(checkpoint.size))
    throw malformed('a checkpoint without an origin, or with a size that is no number');
  if (checkpoint.root.length !== HASH_BYTES || formatCheckpoint(checkpoint) !== text) throw malformed('a root is 32 bytes in base64');
  return checkpoint;
};

export const signCheckpoint = (checkpoint: Checkpoint, signers: readonly SignerKey[]): string =>
  signNote(formatCheckpoint(checkpoint), signers);

/** What a checkpoint says, unverified: for those that verify it otherwise. Throws `malformed`. */
export const readCheckpoint = (note: string | Uint8Array): Checkpoint => parseCheckpoint(parseNote(note).text);

/**
 * The checkpoint, when it is of the log `origin` and one of `keys` has signed it. Cosigners' keys may be among them; whose signature is enough is the caller's
 * to say. Throws a `TlogError`: `malformed`, `signature`, or `unproven` for another log's.
 */
export const openCheckpoint = (
  note: string | Uint8Array,
  origin: string,
  keys: readonly VerifierKey[],
): Checkpoint & { readonly verified: VerifiedSignature[] } => {
  const { text, verified } = openNote(note, keys);
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.origin !== origin) throw new TlogError('unproven', `a checkpoint of ${checkpoint.origin}, and the log is ${origin}`);
  return { ...checkpoint, verified };
};
