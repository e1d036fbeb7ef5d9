/**
 * What the verifier brings along, and how far that carries. A log that is only held against itself may have been written anew from its first leaf by whoever holds its
 * key: that takes a checkpoint that was kept elsewhere, or witnesses, to see.
 */
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../tlog/checkpoint.ts';
import { cosignatureTime } from '../tlog/cosignature.ts';
import type { TlogError } from '../tlog/error.ts';
import { parseNote, type VerifiedSignature, type VerifierKey } from '../tlog/note.ts';

export interface Trust {
  /** The log's name. Default: what its checkpoint says, when a key of that name has signed it. */
  readonly origin?: string;
  /** Keys of the log: one that signed is enough. */
  readonly keys: readonly VerifierKey[];
  /** Whether the keys were found beside the log, so that whoever wrote the log may have written them, too. */
  readonly keysAreTheLogsOwn?: boolean;
  /** A checkpoint that the verifier has kept, as it was signed. */
  readonly remembered?: string;
  /** Of these cosigners, so many must have seen the checkpoint. */
  readonly witnesses?: { readonly keys: readonly VerifierKey[]; readonly quorum: number };
}

/** Each one says more than those before it. */
export const LEVELS = ['unverified', 'self-consistent', 'remembered', 'witnessed'] as const;
export type Level = (typeof LEVELS)[number];

/** For people: what a level means, and what it does not. */
export const MEANING: Readonly<Record<Level, string>> = {
  unverified: 'nothing is proven',
  'self-consistent':
    "what was checked fits a checkpoint that the log's key signed; whoever holds the key could have written another log in its place (keep a checkpoint, or have witnesses)",
  remembered: 'the log goes on from the checkpoint that you kept: nothing before it was removed or changed since',
  witnessed: 'independent witnesses have seen the log up to where they cosigned it: there is no other history of that which they saw',
};

export interface Seen extends Checkpoint {
  /** As it was signed. */
  readonly note: string;
  /** Names of the log's keys that signed. */
  readonly signedBy: readonly string[];
  /** Names of the witnesses that cosigned, and when, Unix milliseconds. */
  readonly witnesses: readonly { readonly name: string; readonly at: number }[];
  /** The names on further lines of signatures, by keys that the verifier did not bring, or repeated: nothing is made of them, and anybody can add some. */
  readonly others: readonly string[];
}

/** The checkpoint, signed by the log. Throws a `TlogError`. */
export const openSigned = (note: string | Uint8Array, trust: Trust): Seen => {
  const origin = trust.origin ?? parseCheckpoint(parseNote(note).text).origin;
  const cosigners = trust.witnesses?.keys ?? [];
  // A witness' key signs no log, and the key of one log none of another name, whatever else the verifier has named.
  const signers = trust.keys.filter(({ name, type }) => type === 'ed25519' && (trust.origin !== undefined || name === origin));
  const { verified: signed, ...checkpoint } = openCheckpoint(note, origin, signers);
  const cosigned = cosignedBy(note, origin, cosigners);
  const others = parseNote(note).signatures.map(({ name, id }) => ({ name, id }));
  for (const { key } of [...signed, ...cosigned]) {
    const at = others.findIndex(({ name, id }) => name === key.name && id === key.id);
    if (at >= 0) others.splice(at, 1);
  }
  return {
    ...checkpoint,
    note: typeof note === 'string' ? note : Buffer.from(note).toString('utf8'),
    signedBy: signed.map(({ key }) => key.name),
    witnesses: cosigned.map((of) => ({ name: of.key.name, at: cosignatureTime(of) * 1000 })),
    others: others.map(({ name }) => name),
  };
};

/** Those of `keys` that have cosigned. A cosignature that does not verify is a fault of the note: throws a `TlogError` (`signature`). */
const cosignedBy = (note: string | Uint8Array, origin: string, keys: readonly VerifierKey[]): readonly VerifiedSignature[] => {
  try {
    return openCheckpoint(note, origin, keys).verified;
  } catch (error) {
    const none =
      (error as TlogError).code === 'signature' &&
      !parseNote(note).signatures.some(({ name, id }) => keys.some((key) => key.name === name && key.id === id));
    if (none) return [];
    throw error;
  }
};

export const isWitnessed = ({ witnesses }: Seen, trust: Trust): boolean =>
  trust.witnesses !== undefined && trust.witnesses.quorum > 0 && new Set(witnesses.map(({ name }) => name)).size >= trust.witnesses.quorum;
