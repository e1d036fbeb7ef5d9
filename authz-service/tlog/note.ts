/**
 * Signed notes: c2sp.org/signed-note. A text, an empty line, and a line for each signature:
 *
 *     — NAME base64(key id, 4 bytes · signature)
 *
 * Keys are written as Go's `golang.org/x/mod/sumdb/note` writes them: `NAME+ID+base64(type · public key)`, and with `PRIVATE+KEY+` and the seed for a signer.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import { malformed, TlogError } from './error.ts';
import { sha256 } from './hash.ts';

/** What follows the name in a key's id: how it signs. One row each. */
export const KEY_TYPES = {
  /** Signs the note's text. */
  ed25519: { byte: 0x01, signatureBytes: 64 },
  /** Signs a time and the note's text: cosignature.ts. */
  cosignature: { byte: 0x04, signatureBytes: 72 },
} as const;
export type KeyType = keyof typeof KEY_TYPES;

export interface VerifierKey {
  readonly name: string;
  readonly id: number;
  readonly type: KeyType;
  /** 32 bytes, RFC 8032. */
  readonly publicKey: Buffer;
  readonly keyObject: KeyObject;
}

export interface SignerKey {
  readonly verifier: VerifierKey;
  readonly keyObject: KeyObject;
}

export interface NoteSignature {
  readonly name: string;
  readonly id: number;
  readonly signature: Buffer;
}

export interface Note {
  /** Ends in a newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface VerifiedSignature {
  readonly key: VerifierKey;
  readonly signature: Buffer;
}

const KEY_BYTES = 32;
const MAX_NOTE_BYTES = 1 << 20;
const MAX_SIGNATURES = 100;
const SIGNATURE_START = '— ';

const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** No empty name, no space of any kind and no `+`. */
const isKeyName = (name: string): boolean => name !== '' && !/[\s+\p{White_Space}\p{Cc}]/u.test(name) && name.isWellFormed();

/** The number that stands for a key beside its name: the first four bytes of SHA-256(name, newline, type, public key). */
export const keyId = (name: string, type: KeyType, publicKey: Uint8Array): number =>
  sha256(Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(KEY_TYPES[type].byte), publicKey])).readUInt32BE(0);

/** Throws `malformed` for a name that no key can have. */
export const verifierKey = (name: string, type: KeyType, publicKey: Buffer): VerifierKey => {
  if (!isKeyName(name)) throw malformed(`${JSON.stringify(name.slice(0, 100))} is no name of a key`);
  if (publicKey.length !== KEY_BYTES) throw malformed('an Ed25519 public key has 32 bytes');
  const keyObject = createPublicKey({ key: Buffer.concat([SPKI_ED25519, publicKey]), format: 'der', type: 'spki' });
  return { name, id: keyId(name, type, publicKey), type, publicKey, keyObject };
};

const idText = (id: number): string => id.toString(16).padStart(8, '0');

/** `NAME+ID+KEY`, for those who verify. */
export const formatVerifierKey = ({ name, id, type, publicKey }: VerifierKey): string =>
  `${name}+${idText(id)}+${Buffer.concat([Buffer.of(KEY_TYPES[type].byte), publicKey]).toString('base64')}`;

const parseKeyParts = (text: string): { name: string; id: string; type: KeyType; bytes: Buffer } => {
  const [, name, id, key] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
  if (name === undefined || id === undefined || key === undefined) throw malformed('a key is NAME+ID+KEY');
  const bytes = Buffer.from(key, 'base64');
  if (bytes.length !== 1 + KEY_BYTES || bytes.toString('base64') !== key) throw malformed('a key that is not 33 bytes in base64');
  const type = (Object.keys(KEY_TYPES) as KeyType[]).find((each) => KEY_TYPES[each].byte === bytes[0]);
  if (type === undefined) throw malformed(`a key of type ${bytes[0]}, which is not known here`);
  return { name, id, type, bytes: bytes.subarray(1) };
};

/** Throws `malformed`. */
export const parseVerifierKey = (text: string): VerifierKey => {
  const { name, id, type, bytes } = parseKeyParts(text);
  const key = verifierKey(name, type, bytes);
  if (idText(key.id) !== id) throw malformed(`the key of ${name} has the id ${idText(key.id)}, and ${id} stands there`);
  return key;
};

const signerKey = (name: string, type: KeyType, seed: Buffer): SignerKey => {
  const keyObject = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(keyObject).export({ format: 'der', type: 'spki' }).subarray(SPKI_ED25519.length);
  return { verifier: verifierKey(name, type, publicKey), keyObject };
};

const PRIVATE = 'PRIVATE+KEY+';

/** Throws `malformed`, with nothing of the key in the message. */
export const parseSignerKey = (text: string): SignerKey => {
  if (!text.startsWith(PRIVATE)) throw malformed(`a private key begins with ${PRIVATE}`);
  const { name, id, type, bytes } = parseKeyParts(text.slice(PRIVATE.length));
  const key = signerKey(name, type, bytes);
  if (idText(key.verifier.id) !== id) throw malformed(`the private key of ${name} is not the one with the id ${id}`);
  return key;
};

/** A new key, as the text that `parseSignerKey` reads: a secret. Throws `malformed` for a name that no key can have. */
export const generateSignerKey = (name: string, type: KeyType = 'ed25519'): string => {
  const seed = randomBytes(KEY_BYTES);
  const { verifier } = signerKey(name, type, seed);
  return `${PRIVATE}${name}+${idText(verifier.id)}+${Buffer.concat([Buffer.of(KEY_TYPES[type].byte), seed]).toString('base64')}`;
};

/** Text that can be signed: UTF-8, ends in a newline, and has no other control character. */
const isNoteText = (text: string): boolean => {
  if (!text.endsWith('\n') || !text.isWellFormed()) return false;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 0x0a) return false;
  }
  return true;
};

const signatureLine = ({ name, id, signature }: NoteSignature): string => {
  const bytes = Buffer.allocUnsafe(4 + signature.length);
  bytes.writeUInt32BE(id, 0);
  bytes.set(signature, 4);
  return `${SIGNATURE_START}${name} ${bytes.toString('base64')}\n`;
};

export const formatNote = ({ text, signatures }: Note): string => `${text}\n${signatures.map(signatureLine).join('')}`;

const parseSignature = (line: string): NoteSignature => {
  const [, name, encoded] = /^— ([^ ]+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? [];
  if (name === undefined || encoded === undefined || !isKeyName(name)) throw malformed('a line of a note that is no signature');
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.length < 5) throw malformed('a signature of a note that is too short');
  return { name, id: bytes.readUInt32BE(0), signature: bytes.subarray(4) };
};

/** Takes a note apart and verifies nothing. Strict: what it takes, `formatNote` gives again. Throws `malformed`. */
export const parseNote = (note: string | Uint8Array): Note => {
  if (note.length > MAX_NOTE_BYTES) throw malformed(`a note of ${note.length} bytes`);
  const whole = typeof note === 'string' ? note : Buffer.from(note.buffer, note.byteOffset, note.length).toString('utf8');
  if (typeof note !== 'string' && !Buffer.from(whole).equals(note)) throw malformed('a note that is not UTF-8');
  if (!isNoteText(whole)) throw malformed('a note is lines of text without control characters');
  const end = whole.lastIndexOf('\n\n');
  if (end < 0) throw malformed('a note without signatures');
  const lines = whole.slice(end + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw malformed(`a note with ${lines.length} signatures`);
  const parsed = { text: whole.slice(0, end + 1), signatures: lines.map(parseSignature) };
  if (formatNote(parsed) !== whole) throw malformed('a note that is not written as it should be');
  return parsed;
};

/** How each type of key verifies; cosignature.ts adds its own. */
export type VerifySignature = (key: VerifierKey, text: string, signature: Buffer) => boolean;

const verifyEd25519: VerifySignature = ({ keyObject }, text, signature) =>
  signature.length === KEY_TYPES.ed25519.signatureBytes && verify(null, Buffer.from(text), keyObject, signature);

/** What a cosigner signs: two lines before the text. `time`: seconds since the Unix epoch. */
export const cosignedMessage = (text: string, time: bigint | number): Buffer => Buffer.from(`cosignature/v1\ntime ${time}\n${text}`);

const verifyCosignature: VerifySignature = ({ keyObject }, text, signature) => {
  if (signature.length !== KEY_TYPES.cosignature.signatureBytes) return false;
  const time = signature.readBigUInt64BE(0);
  return time < 1n << 63n && verify(null, cosignedMessage(text, time), keyObject, signature.subarray(8));
};

const VERIFY: Record<KeyType, VerifySignature> = { ed25519: verifyEd25519, cosignature: verifyCosignature };

/**
 * The text, when at least one of `keys` has signed it. Signatures of other keys are ignored; one of a known key that does not verify spoils the whole note.
 * Throws a `TlogError`: `malformed`, or `signature`.
 */
export const openNote = (note: string | Uint8Array, keys: readonly VerifierKey[]): Note & { readonly verified: VerifiedSignature[] } => {
  const parsed = parseNote(note);
  const verified: VerifiedSignature[] = [];
  for (const { name, id, signature } of parsed.signatures) {
    const key = keys.find((each) => each.name === name && each.id === id);
    if (key === undefined || verified.some((each) => each.key === key)) continue;
    if (!VERIFY[key.type](key, parsed.text, signature)) throw new TlogError('signature', `the signature of ${name} does not verify`);
    verified.push({ key, signature });
  }
  if (verified.length === 0) throw new TlogError('signature', 'no signature of a known key');
  return { ...parsed, verified };
};

/** Signs `text` (lines, ending in a newline). Throws `malformed` for any other text, and for a key that does not sign notes by itself. */
export const signNote = (text: string, signers: readonly SignerKey[]): string => {
  if (!isNoteText(text)) throw malformed('a note is lines of text without control characters');
  const bytes = Buffer.from(text);
  const signatures = signers.map(({ verifier: { name, id, type }, keyObject }) => {
    if (type !== 'ed25519') throw malformed(`the key of ${name} signs with a time`);
    return { name, id, signature: sign(null, bytes, keyObject) };
  });
  return formatNote({ text, signatures });
};
