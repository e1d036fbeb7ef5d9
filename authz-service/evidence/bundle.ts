/**
 * The evidence of one session: its leaves with their events and salts, the proof of each that it stands in the tree, the checkpoint that they are proven against, and
 * the log's public keys. It is written as one HTML page that a person can read (page.ts), with the evidence itself as JSON inside.
 */
import type { ProvenLeaf } from '../verify/session.ts';

export const FORMAT = 'sluice-evidence/1';

/** Bytes are in base64. */
export interface Evidence {
  readonly format: typeof FORMAT;
  readonly session: string;
  readonly origin: string;
  /** Verifier keys as signed notes name them. They lie beside what they verify: compare them with those that you were given. */
  readonly keys: readonly string[];
  /** The signed note. */
  readonly checkpoint: string;
  /** In the order of the log. */
  readonly events: readonly EvidenceEvent[];
}

export interface EvidenceEvent {
  readonly index: number;
  /** The entry of the tree: `sluice.log.v1.Leaf`. */
  readonly leaf: string;
  /** `sluice.tap.v1.Event`, and the salt that the leaf's commitment was made with; both absent when they were deleted after their retention. */
  readonly salt?: string;
  readonly event?: string;
  /** Hashes of the inclusion proof, from the leaf upwards. */
  readonly proof: readonly string[];
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');

export const evidenceOf = (of: Omit<Evidence, 'format' | 'events'>, leaves: readonly ProvenLeaf[]): Evidence => ({
  format: FORMAT,
  session: of.session,
  origin: of.origin,
  keys: of.keys,
  checkpoint: of.checkpoint,
  events: leaves.map(({ index, entry, detail, proof }) => ({
    index,
    leaf: base64(entry),
    ...(detail !== undefined && { salt: base64(detail.salt), event: base64(detail.event) }),
    proof: proof.map(base64),
  })),
});

export class EvidenceError extends Error {
  override readonly name = 'EvidenceError';
}

const wrong = (what: string): EvidenceError => new EvidenceError(what);

const textOf = (value: unknown, what: string): string => {
  if (typeof value !== 'string') throw wrong(`${what} is no text`);
  return value;
};

const bytesOf = (value: unknown, what: string): Buffer => {
  const bytes = Buffer.from(textOf(value, what), 'base64');
  if (bytes.toString('base64') !== value) throw wrong(`${what} is no base64`);
  return bytes;
};

const listOf = (value: unknown, what: string): readonly unknown[] => {
  if (!Array.isArray(value)) throw wrong(`${what} is no list`);
  return value;
};

const membersOf = (value: unknown, what: string): Readonly<Record<string, unknown>> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(`${what} is no object`);
  return value as Record<string, unknown>;
};

/** Longer bundles are not looked at. */
export const MAX_BUNDLE_BYTES = 1 << 30;
const MAX_PROOF_HASHES = 63;

/** What stands between brackets and commas is base64, 40 characters and more: a text that is mostly brackets would take much more memory than it has bytes. */
const isMostlyBrackets = (json: string): boolean => {
  let marks = 0;
  for (let i = 0; i < json.length; i += 1) {
    const code = json.charCodeAt(i);
    if (code === 0x5b || code === 0x7b || code === 0x2c) marks += 1;
  }
  return marks > 100 + json.length / 16;
};

/** Reads what somebody hands in as evidence: throws an `EvidenceError`, and nothing else. What it says is not verified. */
export const parseEvidence = (json: string): { readonly evidence: Evidence; readonly leaves: ProvenLeaf[] } => {
  if (isMostlyBrackets(json)) throw wrong('the evidence is mostly brackets');
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {
    throw wrong('the evidence is no JSON');
  }
  const { format, session, origin, keys, checkpoint, events } = membersOf(given, 'the evidence');
  if (format !== FORMAT) throw wrong(`the evidence is not of the format ${FORMAT}`);
  const leaves = listOf(events, 'events').map((each, i): ProvenLeaf => {
    const { index, leaf, salt, event, proof } = membersOf(each, `event ${i}`);
    if (!Number.isSafeInteger(index) || (index as number) < 0) throw wrong(`event ${i} has no index`);
    const hashes = listOf(proof, `the proof of event ${i}`).map((hash) => bytesOf(hash, `a hash of event ${i}`));
    if (hashes.length > MAX_PROOF_HASHES) throw wrong(`event ${i} has a proof of ${hashes.length} hashes`);
    if ((salt === undefined) !== (event === undefined)) throw wrong(`event ${i} has a salt or an event, not both`);
    const detail =
      event === undefined
        ? undefined
        : { index: index as number, salt: bytesOf(salt, `the salt of event ${i}`), event: bytesOf(event, `event ${i}`) };
    return { index: index as number, entry: bytesOf(leaf, `leaf ${i}`), detail, proof: hashes };
  });
  const read = {
    session: textOf(session, 'the session'),
    origin: textOf(origin, 'the origin'),
    keys: listOf(keys, 'keys').map((key) => textOf(key, 'a key')),
    checkpoint: textOf(checkpoint, 'the checkpoint'),
  };
  // Members that are not known, and other ways to write the same, would stand in the file unseen.
  const evidence = evidenceOf(read, leaves);
  if (JSON.stringify(evidence) !== json) throw wrong('the evidence is not written as it should be');
  return { evidence, leaves };
};
