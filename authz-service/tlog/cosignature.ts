/** What a witness adds to a checkpoint: c2sp.org/tlog-cosignature, version 1 (Ed25519). Verified by `openNote`, as any signature of a known key. */
import { sign } from 'node:crypto';
import { malformed } from './error.ts';
import { cosignedMessage, KEY_TYPES, type NoteSignature, type SignerKey, type VerifiedSignature } from './note.ts';

/** When the cosigner says that it saw this, seconds since the Unix epoch. `signature` is one of a key of type `cosignature`. */
export const cosignatureTime = ({ signature }: Pick<VerifiedSignature, 'signature'>): number => {
  if (signature.length !== KEY_TYPES.cosignature.signatureBytes) throw malformed('a cosignature has 72 bytes');
  return Number(signature.readBigUInt64BE(0));
};

/** Cosigns the text of a checkpoint. `time`: seconds since the Unix epoch. */
export const cosign = (text: string, { verifier: { name, id, type }, keyObject }: SignerKey, time: number): NoteSignature => {
  if (type !== 'cosignature') throw malformed(`the key of ${name} is no cosigner's`);
  const signature = Buffer.alloc(KEY_TYPES.cosignature.signatureBytes);
  signature.writeBigUInt64BE(BigInt(time), 0);
  signature.set(sign(null, cosignedMessage(text, time), keyObject), 8);
  return { name, id, signature };
};
