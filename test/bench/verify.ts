/**
 * A whole log verified from its published files: seconds and resident memory, in a process of its own. `ratio` is the time of reading every file of the log once and
 * hashing it with SHA-256, over that of verifying it. Beside it: a round of `sluice verify --watch` in which 1,000 events are new, and one in which none is; one event's inclusion proof, made
 * and checked without reading the log.
 * `--events N`: 1,000,000 by default.
 */
import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openLog } from '../../authz-service/log/log.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import type { ObjectStore } from '../../authz-service/storage/object_store.ts';
import { encodeEvent } from '../../authz-service/tap/event.ts';
import { BODIES } from '../../authz-service/tap/schema.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey, parseVerifierKey } from '../../authz-service/tlog/note.ts';
import { ContinuedVerification } from '../../authz-service/verify/continued.ts';
import { verifyLog } from '../../authz-service/verify/log.ts';
import { verifyPart } from '../../authz-service/verify/session.ts';
import { median, report, rounded } from './figures.ts';
import { eventAt, eventsAsked } from './sessions.ts';

const ROUNDS = 3;
const PROOFS = 200;
/** What one write of a busy gateway holds. */
const BATCH = 500;
/** New in a round of a watch. */
const NEW = 1_000;
const GOAL = 0.1;

const events = eventsAsked(1_000_000);

async function write(directory: string): Promise<string> {
  const signer = parseSignerKey(generateSignerKey('bench.example/sluice'));
  const log = await openLog({
    directory,
    objects: localFiles(join(directory, 'log')),
    signers: [signer],
    // No session is older than this log.
    findChain: () => undefined,
  });
  for (let i = 0; i < events; ) {
    if (i === events - NEW) {
      await log.publish();
      writeFileSync(join(directory, 'before'), readFileSync(join(directory, 'log/checkpoint')));
    }
    for (const until = Math.min(events, i + BATCH); i < until; i += 1) {
      const { body, ...of } = eventAt(i);
      const subject = {
        ...of,
        emitter: 'ab'.repeat(16),
        sequence: i + 1,
        timeUnixNanos: 1_790_000_000_000_000_000n + BigInt(i) * 10_000n,
      };
      log.stage({ kind: BODIES[body.kind].number, own: false, ...subject }, encodeEvent({ ...subject, truncated: [], body }));
    }
    await log.settled();
  }
  await log.publish();
  await log.close();
  return formatVerifierKey(signer.verifier);
}

/** The log as it was before the new ones. */
const before = (directory: string): ObjectStore => {
  const objects = localFiles(directory);
  return Object.assign(Object.create(objects) as ObjectStore, {
    get: (key: string) => (key === 'checkpoint' ? Promise.resolve(readFileSync(join(directory, '../before'))) : objects.get(key)),
    async *list(prefix: string): AsyncGenerator<string> {
      for await (const key of objects.list(prefix)) if (!key.startsWith('checkpoints/') || Number(key.slice(12)) <= events - NEW) yield key;
    },
  });
};

/** Seconds of two rounds behind one that has read everything. */
async function watched(directory: string, key: string): Promise<void> {
  const [watch, trust] = [new ContinuedVerification({ wholeEveryMs: 3_600_000 }), { keys: [parseVerifierKey(key)] }];
  const rounds = [];
  for (const objects of [before(directory), localFiles(directory), localFiles(directory)]) {
    const { complete, whole, size, seconds, faults } = await watch.verify({ objects, trust });
    if (!complete || whole !== (rounds.length === 0))
      throw new Error(`a round does not verify: ${JSON.stringify({ size, whole, faults })}`);
    rounds.push(seconds);
  }
  process.stdout.write(JSON.stringify(rounds));
}

/** In a process of its own, so that its memory is. */
async function measured(what: string, directory: string, key: string): Promise<void> {
  const objects = localFiles(directory);
  const trust = { keys: [parseVerifierKey(key)] };
  const started = performance.now();
  let bytes = 0;
  if (what === 'read')
    for await (const path of objects.list('')) {
      const content = (await objects.get(path)) as Buffer;
      bytes += content.length;
      hash('sha256', content, 'buffer');
    }
  else {
    const { verified, checked } = await verifyLog({ objects, trust });
    if (!verified || checked.leaves !== events) throw new Error('the log does not verify');
  }
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(JSON.stringify({ seconds, bytes, megabytes: process.resourceUsage().maxRSS / 1024 }));
}

const [, , what, directory, key] = process.argv;
if (what === 'watch') await watched(directory as string, key as string);
else if (what === 'read' || what === 'verify') await measured(what, directory as string, key as string);
else {
  const place = mkdtempSync(join(tmpdir(), 'sluice-bench-verify-'));
  try {
    const since = performance.now();
    const verifier = await write(place);
    const writing = (performance.now() - since) / 1000;
    const published = join(place, 'log');
    const child = <Found = { seconds: number; bytes: number; megabytes: number }>(which: string): Found =>
      JSON.parse(
        execFileSync(process.execPath, [fileURLToPath(import.meta.url), which, published, verifier, '--events', String(events)], {
          encoding: 'utf8',
        }),
      );
    const runs = Array.from({ length: ROUNDS }, () => ({ read: child('read'), verify: child('verify') }));
    const rounds = Array.from({ length: ROUNDS }, () => child<number[]>('watch'));
    const proofs: number[] = [];
    for (let i = 0; i < PROOFS; i += 1) {
      const started = performance.now();
      const { verified } = await verifyPart(
        localFiles(published),
        { keys: [parseVerifierKey(verifier)] },
        { index: Math.floor((events * i) / PROOFS) },
      );
      if (!verified) throw new Error('an event does not verify');
      proofs.push(performance.now() - started);
    }
    const [reading, verifying] = [median(runs.map(({ read }) => read.seconds)), median(runs.map(({ verify }) => verify.seconds))];
    report({
      name: 'verify',
      ratio: rounded(reading / verifying, 2),
      goal: GOAL,
      events,
      log_megabytes: rounded((runs[0]?.read.bytes ?? 0) / 1e6),
      written_in_seconds: rounded(writing),
      read_and_hashed_in_seconds: rounded(reading),
      verified_in_seconds: rounded(verifying),
      watch_round_of_1000_new_in_milliseconds: rounded(1000 * median(rounds.map(([, some = 0]) => some))),
      watch_round_of_none_in_milliseconds: rounded(1000 * median(rounds.map(([, , none = 0]) => none))),
      events_a_second: Math.round(events / verifying),
      verifier_resident_megabytes: rounded(median(runs.map(({ verify }) => verify.megabytes))),
      one_event_proven_in_milliseconds: rounded(median(proofs), 2),
    });
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
