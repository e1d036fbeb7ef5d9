/**
 * A log of 100,000 events before verifiers that others wrote: `log.ts VERIFIER [EVENTS]`, the program of test/interop/log. It is accepted, and rejected after each kind of
 * change, by them and by Sluice's own verifier. Says `ok - …` or `not ok - …` for each.
 */
import { deepStrictEqual as equal } from 'node:assert';
import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collectEvidence, proofFiles } from '../../authz-service/evidence/collect.ts';
import { encodeLeafView, SALT_BYTES, type Subject } from '../../authz-service/log/leaf.ts';
import { type Log, openLog } from '../../authz-service/log/log.ts';
import { formatPruned, PRUNED_NOTICE, PRUNED_PATH, pruningText, removeBelow } from '../../authz-service/log/pruned.ts';
import { PublishedLog } from '../../authz-service/log/published.fixture.ts';
import { LogReader } from '../../authz-service/log/reader.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import { encodeEvent } from '../../authz-service/tap/event.ts';
import { closedBody } from '../../authz-service/tap/schema.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../../authz-service/tlog/note.ts';
import { decodeBundle, encodeBundle, hashesOf, tilePath } from '../../authz-service/tlog/tile.ts';
import { verifyLog } from '../../authz-service/verify/log.ts';
import { outcome, show } from './server.ts';

const verifier = process.argv[2] ?? '';
const directory = mkdtempSync(join(tmpdir(), 'sluice-log-'));
const signer = parseSignerKey(generateSignerKey('sluice.example/gateway-1'));
const EVENTS = Number(process.argv[3] ?? 100_000);
const EARLIER = 0.6 * EVENTS;

const open = (dir: string): Promise<Log> =>
  openLog({ directory: dir, objects: localFiles(join(dir, 'log')), signers: [signer], findChain: () => undefined, publishMs: 2 ** 30 });

const eventOf = (i: number, what: string): [Subject, Uint8Array] => {
  const session = `ses_${what}_${i}`;
  const event = { emitter: '00112233445566778899aabbccddeeff', sequence: i + 1, timeUnixNanos: BigInt(i + 1), session, target: 'demo' };
  return [{ ...event, kind: 16, own: false }, encodeEvent({ ...event, truncated: [], body: closedBody('complete') })];
};

/** One event a session: what is shown here is the tree. */
const grow = async (log: Log, size: number, what: string): Promise<void> => {
  while (log.size < size) {
    for (let i = log.size, end = Math.min(size, i + 1000); i < end; i += 1) log.stage(...eventOf(i, what));
    await log.settled();
  }
  await log.publish();
};

interface Verdict {
  readonly sumdb: boolean;
  readonly fsck: boolean;
  readonly sluice: boolean;
}

const verdict = async (published: string, remembered?: string, minimum = 0): Promise<Verdict> => {
  const args = [published, formatVerifierKey(signer.verifier), remembered ?? '', String(minimum)];
  const [said, report] = await Promise.all([
    // The library of fsck panics over a bundle with an entry too few, in a goroutine of its own: that is a rejection, too.
    new Promise<string>((settle) => void execFile(verifier, args, { encoding: 'utf8' }, (_, stdout) => settle(stdout))),
    verifyLog({
      objects: localFiles(published),
      trust: { keys: [signer.verifier], ...(remembered !== undefined && { remembered: readFileSync(remembered, 'utf8') }) },
    }),
  ]);
  return { sumdb: said.includes('sumdb: accepted\n'), fsck: said.includes('fsck: accepted\n'), sluice: report.verified };
};

const ACCEPTED: Verdict = { sumdb: true, fsck: true, sluice: true };
const REJECTED: Verdict = { sumdb: false, fsck: false, sluice: false };
const bundlePath = (leaf: number): string => tilePath({ level: 'entries', index: leaf / 256, width: 256 });

/** The published log with one file changed. */
const changed = (name: string, change: (bytes: Buffer) => Buffer): void => {
  const path = join(published, name);
  const before = readFileSync(path);
  writeFileSync(path, change(before));
  restore = () => writeFileSync(path, before);
};
let restore = (): void => {};

const forger = new PublishedLog(join(directory, 'forged'));

/** The log without one leaf, and with another at its end, made again from there on and signed by somebody else. @returns where */
const without = async (leaf: number): Promise<string> => {
  const reader = new LogReader(localFiles(published));
  const { size = 0 } = (await reader.checkpoint()) ?? {};
  for await (const { index, entry, detail } of reader.read(0, size, size)) {
    if (index === leaf || detail === undefined) continue;
    forger.details.push({ ...detail, index: forger.entries.length });
    forger.entries.push(entry);
  }
  const [subject, made] = eventOf(size, 'made_up');
  const salt = randomBytes(SALT_BYTES);
  forger.details.push({ index: forger.entries.length, salt, event: Buffer.from(made) });
  forger.entries.push(Buffer.from(encodeLeafView(subject, 1, 0, salt, made)));
  await forger.publish();
  return join(directory, 'forged');
};

const swapped = <T>(items: readonly T[], a: number, b: number): T[] => items.with(a, items[b] as T).with(b, items[a] as T);

const [state, earlier, fork] = [join(directory, 'state'), join(directory, 'earlier'), join(directory, 'fork')];
const published = join(state, 'log');
const remembered = join(directory, 'remembered');
const BUNDLE = 'tile/entries/003';
try {
  let log = await open(state);
  await grow(log, EARLIER, 'event');
  await log.close();
  for (const copy of [earlier, fork]) cpSync(state, copy, { recursive: true });
  log = await open(state);
  await grow(log, EVENTS, 'event');
  await log.close();
  writeFileSync(remembered, readFileSync(join(published, 'checkpoint')));

  await show(`a log of ${EVENTS} events is accepted`, async () => equal(await verdict(published), ACCEPTED));
  await show('it goes on from an earlier checkpoint', async () =>
    equal(await verdict(published, join(earlier, 'log', 'checkpoint')), ACCEPTED),
  );
  await show('a changed byte is noticed', async () => {
    changed(BUNDLE, (bytes) => Buffer.from(bytes.with(100, (bytes[100] as number) ^ 1)));
    equal(await verdict(published), REJECTED);
  });
  restore();
  await show('a removed leaf is noticed', async () => {
    changed(BUNDLE, (bytes) => encodeBundle(decodeBundle(bytes, 256).toSpliced(7, 1)));
    equal(await verdict(published), REJECTED);
  });
  restore();
  // What somebody makes who has all but the key: whole in itself, with as many leaves, and a root of its own.
  const [forged, signed] = [await without(7 + 3 * 256), readFileSync(join(published, 'checkpoint'), 'utf8')];
  const forgery = readFileSync(join(forged, 'checkpoint'), 'utf8');
  const signatures = (note: string): string => note.slice(note.indexOf('\n\n') + 2);
  for (const [under, note] of [
    ['the checkpoint that is signed', signed],
    ['a root of its own beside that signature', forgery.replace(signatures(forgery), signatures(signed))],
    ['the signature of another key', forgery],
  ] as const)
    await show(`a removed leaf is noticed where bundles, tiles and details agree with one another, under ${under}`, async () => {
      writeFileSync(join(forged, 'checkpoint'), note);
      equal(await verdict(forged), REJECTED);
    });
  await show('which its own key accepts: nothing else is wrong with it', async () =>
    equal((await verifyLog({ objects: localFiles(forged), trust: { keys: [forger.key.verifier] } })).verified, true),
  );
  await show('leaves that changed their order are noticed, with their hashes', async () => {
    changed(BUNDLE, (bytes) => encodeBundle(swapped(decodeBundle(bytes, 256), 7, 8)));
    const undo = restore;
    changed('tile/0/003', (bytes) => Buffer.concat(swapped(hashesOf(bytes, 256), 7, 8)));
    const undoTile = restore;
    restore = () => {
      undo();
      undoTile();
    };
    equal(await verdict(published), REJECTED);
  });
  restore();
  await show('what was restored is the log that was accepted', async () => equal(await verdict(published), ACCEPTED));
  await show('what `sluice evidence --proofs` writes of a session is accepted, and rejected with another entry, proof or key', async () => {
    const session = 'ses_event_4711';
    const proofs = join(directory, 'proofs');
    mkdirSync(proofs);
    const { head, leaves } = await collectEvidence({ objects: localFiles(published), session, keys: [], payloads: true });
    const files: string[] = [];
    for await (const leaf of leaves())
      for (const [name, bytes] of proofFiles(head, leaf)) {
        writeFileSync(join(proofs, name), bytes);
        files.push(name);
      }
    const checked = (by = signer): string =>
      spawnSync(verifier, ['proofs', proofs, formatVerifierKey(by.verifier)], { encoding: 'utf8' }).stdout;
    equal(files, ['4711.leaf', '4711.tlog-proof']);
    equal(checked(), '1 proofs: accepted\n');
    equal(checked(parseSignerKey(generateSignerKey(signer.verifier.name))).includes('rejected'), true);
    for (const name of files) {
      const path = join(proofs, name);
      const before = readFileSync(path);
      for (let at = 0; at < before.length; at += 7) {
        // Bit 2: lower ones may be those that base64 leaves unused at an end, which Go's reader does not look at ("0=" is "1=").
        writeFileSync(path, before.with(at, (before[at] as number) ^ 4));
        equal([name, at, checked().includes('rejected')], [name, at, true]);
      }
      writeFileSync(path, before);
    }
    equal(checked(), '1 proofs: accepted\n');
  });
  // Leaves below are gone, and a whole tile of level 1 where there are as many.
  const minimum = 256 * Math.floor((0.8 * EVENTS) / 256);
  const pruned = join(directory, 'pruned');
  await show(
    'what is left of a log that was pruned is accepted, and goes on from an earlier checkpoint of that; fsck knows no pruning',
    async () => {
      cpSync(state, pruned, { recursive: true });
      const other = await open(pruned);
      const text = pruningText(minimum, 86_400_000);
      const subject = {
        emitter: '00112233445566778899aabbccddeeff',
        sequence: EVENTS + 1,
        timeUnixNanos: BigInt(EVENTS + 1),
        session: '',
        target: '',
      };
      const event = encodeEvent({ ...subject, truncated: [], body: { kind: 'notice', notice: PRUNED_NOTICE, text } });
      const leaf = other.stage({ ...subject, kind: 18, own: true }, event);
      await other.settled();
      await other.publish();
      const { detail } = await other.reader.record(leaf, EVENTS + 1);
      await other.close();
      const objects = localFiles(join(pruned, 'log'));
      await objects.put(PRUNED_PATH, formatPruned({ minimum, leaf, salt: detail?.salt as Buffer, event: Buffer.from(event) }));
      await removeBelow(objects, minimum);
      equal(await verdict(join(pruned, 'log'), remembered, minimum), { sumdb: true, fsck: false, sluice: true });
    },
  );
  await show('a leaf that is gone behind what was pruned is noticed', async () => {
    equal(await verdict(join(pruned, 'log'), undefined, minimum - 256), { sumdb: false, fsck: false, sluice: true });
    rmSync(join(pruned, 'log', bundlePath(minimum)));
    equal(await verdict(join(pruned, 'log'), remembered, minimum), REJECTED);
  });
  // What these two show is whole and signed: only who remembers can tell. fsck does not.
  await show('a log that was rolled back is noticed by who remembers', async () => {
    equal(await verdict(join(earlier, 'log')), ACCEPTED);
    equal(await verdict(join(earlier, 'log'), remembered), { sumdb: false, fsck: true, sluice: false });
  });
  await show('a log that was forked is noticed by who remembers', async () => {
    const other = await open(fork);
    await grow(other, EVENTS + 100, 'another');
    await other.close();
    equal(await verdict(join(fork, 'log')), ACCEPTED);
    equal(await verdict(join(fork, 'log'), remembered), { sumdb: false, fsck: true, sluice: false });
  });
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit(outcome());
