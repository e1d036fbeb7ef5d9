import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCheckpoint, openCheckpoint, parseCheckpoint, readCheckpoint, signCheckpoint } from './checkpoint.ts';
import { cosign, cosignatureTime } from './cosignature.ts';
import { TlogError } from './error.ts';
import { EMPTY_ROOT } from './hash.ts';
import {
  formatNote,
  formatVerifierKey,
  generateSignerKey,
  openNote,
  parseNote,
  parseSignerKey,
  parseVerifierKey,
  signNote,
} from './note.ts';

const codeOf = (run: () => unknown): string => {
  try {
    run();
    return 'none';
  } catch (error) {
    return error instanceof TlogError ? error.code : `not coded: ${error}`;
  }
};

// The example of the documentation of Go's package `note`.
const PUBLIC = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const SECRET = 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
const TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const NOTE = `${TEXT}
— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
`;

describe('a signed note', () => {
  const key = parseVerifierKey(PUBLIC);
  const signer = parseSignerKey(SECRET);

  it('is the one that Go writes', () => {
    expect(formatVerifierKey(key)).toBe(PUBLIC);
    expect(formatVerifierKey(signer.verifier)).toBe(PUBLIC);
    expect(signNote(TEXT, [signer])).toBe(NOTE);
    expect(openNote(NOTE, [key])).toMatchObject({ text: TEXT, verified: [{ key }] });
    expect(openNote(Buffer.from(NOTE), [key]).text).toBe(TEXT);
  });

  it('counts when a known key has signed it, whoever else has', () => {
    const other = parseSignerKey(generateSignerKey('other.example/log'));
    const note = signNote(TEXT, [other, signer]);
    expect(openNote(note, [key]).verified.map((each) => each.key.name)).toEqual(['PeterNeumann']);
    expect(openNote(note, [key, other.verifier]).verified.length).toBe(2);
    expect(codeOf(() => openNote(signNote(TEXT, [other]), [key]))).toBe('signature');
    expect(codeOf(() => openNote(note, []))).toBe('signature');
    // The same name with another key is another key.
    const namesake = parseSignerKey(generateSignerKey('PeterNeumann'));
    expect(codeOf(() => openNote(signNote(TEXT, [namesake]), [key]))).toBe('signature');
  });

  it('is spoilt by a signature of a known key that does not verify, beside others that do', () => {
    const other = parseSignerKey(generateSignerKey('other.example/log'));
    const { signatures } = parseNote(signNote(TEXT.replace('answer', 'question'), [signer]));
    const good = parseNote(signNote(TEXT, [other])).signatures;
    const note = formatNote({ text: TEXT, signatures: [...good, ...signatures] });
    expect(codeOf(() => openNote(note, [key, other.verifier]))).toBe('signature');
    expect(codeOf(() => openNote(note, [other.verifier]))).toBe('none');
  });

  it('holds for every bit of its text and its signature', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 0, max: 7 }), (at, bit) => {
        const bytes = Buffer.from(NOTE);
        const index = at % bytes.length;
        bytes[index] = (bytes[index] as number) ^ (1 << bit);
        expect(['malformed', 'signature']).toContain(codeOf(() => openNote(bytes, [key])));
      }),
    );
  });

  it('is written in one form only', () => {
    const line = NOTE.split('\n').at(-2) as string;
    const cases = {
      empty: '',
      'no empty line': NOTE.replace('\n\n', '\n'),
      'no newline at the end': NOTE.slice(0, -1),
      'no signature': `${TEXT}\n`,
      'a carriage return': NOTE.replace('\n', '\r\n'),
      'a NUL': NOTE.replace('I', '\0'),
      'a hyphen for the dash': NOTE.replace('—', '-'),
      'two spaces': NOTE.replace('PeterNeumann ', 'PeterNeumann  '),
      'a name with a plus': NOTE.replace('PeterNeumann ', 'Peter+Neumann '),
      'a name with a space of its own': NOTE.replace('PeterNeumann ', 'Peter\u00a0Neumann '),
      'base64 without its end': NOTE.replace('nAM=', 'nAM'),
      'base64 with bits left over': NOTE.replace('nAM=', 'nAN='),
      'base64 for URLs': NOTE.replace('x08go/', 'x08go_'),
      'a short signature': NOTE.replace(/ x08.*\n/, ' x08goA==\n').replace('x08goA==', 'x08gow=='),
      'more signatures than anybody reads': `${TEXT}\n${`${line}\n`.repeat(101)}`,
      'half a surrogate': NOTE.replace('I', '\ud800'),
    };
    for (const [what, note] of Object.entries(cases)) expect([what, codeOf(() => parseNote(note))]).toEqual([what, 'malformed']);
    expect(codeOf(() => parseNote(Buffer.concat([Buffer.of(0xff), Buffer.from(NOTE)])))).toBe('malformed');
    expect(codeOf(() => parseNote('x'.repeat((1 << 20) + 1)))).toBe('malformed');
    expect(codeOf(() => parseNote(`${TEXT}\n${`${line}\n`.repeat(16)}`))).toBe('none');
  });

  it('throws nothing but coded errors for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(codeOf(() => parseNote(bytes))).toBe('malformed');
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('\n', '—', ' ', 'A', '=', '+', '/', 'é'), maxLength: 60 }), (text) => {
        expect(['malformed', 'none']).toContain(codeOf(() => parseNote(text)));
        expect(codeOf(() => parseVerifierKey(text))).toBe('malformed');
        expect(codeOf(() => parseSignerKey(text))).toBe('malformed');
      }),
    );
  });

  it('signs nothing but lines of text', () => {
    for (const text of ['', 'no newline', 'a tab\t\n', '\ud800\n']) expect(codeOf(() => signNote(text, [signer]))).toBe('malformed');
  });
});

describe('a key', () => {
  it('is read as it was written, and nothing else is', () => {
    const secret = generateSignerKey('gateway.example/sluice');
    const { verifier } = parseSignerKey(secret);
    const text = formatVerifierKey(verifier);
    expect(parseVerifierKey(text)).toMatchObject({ name: verifier.name, id: verifier.id, type: 'ed25519' });
    for (const bad of [
      text.replace('gateway', 'other'),
      text.slice(0, -4),
      `${text}=`,
      text.replace(/(.)(..)$/, (_, a, rest) => (a === 'A' ? 'B' : 'A') + rest),
      text.replace(/^([^+]+\+[^+]+\+)A/, '$1C'),
    ])
      expect([bad, codeOf(() => parseVerifierKey(bad))]).toEqual([bad, 'malformed']);
    for (const bad of [secret.slice(12), secret.replace('gateway', 'other'), text])
      expect(codeOf(() => parseSignerKey(bad))).toBe('malformed');
    for (const name of ['', 'a b', 'a+b', 'a\u2003b', 'a\nb'])
      expect([name, codeOf(() => generateSignerKey(name))]).toEqual([name, 'malformed']);
  });

  it('never stands in an error', () => {
    const secret = generateSignerKey('gateway.example/sluice');
    for (const bad of [secret.replace('gateway', 'other'), `${secret}x`, secret.slice(0, -3)]) {
      try {
        parseSignerKey(bad);
        expect.unreachable();
      } catch (error) {
        expect((error as Error).message).not.toContain(secret.slice(-20, -4));
      }
    }
  });
});

describe('a checkpoint', () => {
  const signer = parseSignerKey(generateSignerKey('gateway.example/sluice'));
  const checkpoint = { origin: 'gateway.example/sluice', size: 20_852_163, root: EMPTY_ROOT };
  const note = signCheckpoint(checkpoint, [signer]);

  it('says origin, size and root', () => {
    expect(note.split('\n').slice(0, 4)).toEqual(['gateway.example/sluice', '20852163', EMPTY_ROOT.toString('base64'), '']);
    expect(openCheckpoint(note, checkpoint.origin, [signer.verifier])).toMatchObject(checkpoint);
    expect(readCheckpoint(note)).toEqual(checkpoint);
    expect(codeOf(() => openCheckpoint(note, 'another.example/log', [signer.verifier]))).toBe('unproven');
  });

  it('is written in one form only', () => {
    const text = formatCheckpoint(checkpoint);
    for (const bad of [
      text.slice(0, -1),
      `${text}extension\n`,
      `\n${text}`,
      text.replace('20852163', '020852163'),
      text.replace('20852163', '-1'),
      text.replace('20852163', '1e3'),
      text.replace('20852163', String(2 ** 54)),
      text.replace('=', ''),
      text.replace(/\n[^\n]+\n$/, '\nAAAA\n'),
      text.replace('gateway.example/sluice', ''),
    ])
      expect([bad, codeOf(() => parseCheckpoint(bad))]).toEqual([bad, 'malformed']);
    expect(codeOf(() => parseCheckpoint(formatCheckpoint({ ...checkpoint, size: 0 })))).toBe('none');
  });

  it('is cosigned with a time, which is part of what is signed', () => {
    const witness = parseSignerKey(generateSignerKey('witness.example/w1', 'cosignature'));
    const { text, signatures } = parseNote(note);
    const cosignature = cosign(text, witness, 1_679_315_147);
    const cosigned = formatNote({ text, signatures: [...signatures, cosignature] });
    const { verified } = openCheckpoint(cosigned, checkpoint.origin, [signer.verifier, witness.verifier]);
    expect(verified.map(({ key }) => key.type)).toEqual(['ed25519', 'cosignature']);
    expect(cosignatureTime(verified[1] as (typeof verified)[number])).toBe(1_679_315_147);
    for (let at = 0; at < 72; at += 1) {
      const signature = Buffer.from(cosignature.signature);
      signature[at] = (signature[at] as number) ^ 1;
      const forged = formatNote({ text, signatures: [...signatures, { ...cosignature, signature }] });
      expect(codeOf(() => openCheckpoint(forged, checkpoint.origin, [witness.verifier]))).toBe('signature');
    }
    // Its key and the log's are not to be taken for each other.
    expect(codeOf(() => signNote(text, [witness]))).toBe('malformed');
    expect(codeOf(() => cosign(text, signer, 1))).toBe('malformed');
    const short = formatNote({ text, signatures: [{ ...cosignature, signature: cosignature.signature.subarray(0, 64) }] });
    expect(codeOf(() => openNote(short, [witness.verifier]))).toBe('signature');
  });
});
