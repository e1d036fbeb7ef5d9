/** What is written and hashed a batch at a time, held against the plain encoders and the definition of the tree. */
import type * as crypto from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { openJournal } from '../journal/journal.ts';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { readCheckpoint } from '../tlog/checkpoint.ts';
import { mth } from '../tlog/naive.fixture.ts';
import { encodeLeafView, type Subject } from './leaf.ts';
import { testLog } from './log.fixture.ts';
import { decodeRecord, encodeEventRecord } from './record.ts';

/** What the system's source of random numbers has given. */
const given = vi.hoisted(() => [] as Buffer[]);
vi.mock('node:crypto', async (importOriginal) => {
  const own = await importOriginal<typeof crypto>();
  return {
    ...own,
    randomFillSync: (into: Buffer) => {
      own.randomFillSync(into);
      given.push(Buffer.from(into));
      return into;
    },
  };
});

interface Staged {
  readonly subject: Subject;
  readonly event: Uint8Array;
  /** The turn ends behind it. */
  readonly written: boolean;
}

const staged: fc.Arbitrary<Staged> = fc.record({
  subject: fc.record({
    kind: fc.integer({ min: 10, max: 30 }),
    timeUnixNanos: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    emitter: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    sequence: fc.maxSafeNat(),
    session: fc.oneof(fc.constantFrom('', 'ses_1', 'ses_2'), fc.string({ unit: 'grapheme-ascii', maxLength: 128 })),
    target: fc.oneof(fc.constantFrom('', 'orders'), fc.string({ unit: 'binary', maxLength: 140 }), fc.string({ maxLength: 140 })),
    own: fc.boolean(),
  }),
  event: fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: 0, max: 20_000 }).map((length) => Buffer.alloc(length, length)),
  ),
  written: fc.boolean(),
});

describe('events that are staged', () => {
  it('stand in the journal as the plain encoders write them, under checkpoints of the tree that RFC 6962 defines', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(staged, { minLength: 1, maxLength: 40 }), async (events) => {
        const files = new SimulatedFileSystem();
        const log = await testLog({ files, journal: { batchBytes: 10_000 } });
        for (const { subject, event, written } of events) {
          log.stage(subject, event);
          if (written) await log.settled();
        }
        await log.settled();
        // The journal as it is on the disk: nothing of the log's own reads it.
        const journal = await openJournal('/tap/journal', { files: files.copy(), released: true });
        const records: Buffer[] = [];
        for await (const { bytes } of journal.read()) records.push(bytes);
        await journal.close();
        const entries: Buffer[] = [];
        const chains = new Map<string, { index: number; position: number }>();
        for (const bytes of records) {
          const record = decodeRecord(bytes);
          if (record.kind === 'checkpoint') {
            const { size, root } = readCheckpoint(record.note);
            expect(size).toBe(entries.length);
            expect(root.equals(mth(entries))).toBe(true);
            continue;
          }
          const { subject, event } = events[entries.length] as Staged;
          const { session } = subject;
          const before = session === '' ? undefined : chains.get(session);
          const position = session === '' ? 0 : (before?.position ?? 0) + 1;
          const entry = Buffer.from(encodeLeafView(subject, position, before?.index ?? 0, record.salt, event));
          expect(encodeEventRecord(entries.length, record.salt, entry, event).equals(bytes)).toBe(true);
          chains.set(session, { index: entries.length, position });
          entries.push(entry);
        }
        expect(entries.length).toBe(events.length);
        await log.close();
      }),
      { numRuns: 30 },
    );
  });

  it('have each a salt of its own from the source of random numbers of the system, also where they say the same', async () => {
    const log = await testLog({ files: new SimulatedFileSystem() });
    given.length = 0;
    // In writes of one and of many, and of more than are drawn at once.
    for (let i = 0; i < 1500; i += 1) {
      log.stage({ kind: 11, timeUnixNanos: 1n, emitter: '00'.repeat(16), sequence: 1, session: '', target: '', own: false }, Buffer.of(1));
      if (i < 3 || i === 700) await log.settled();
    }
    await log.settled();
    const [salts, commitments, entries] = [[] as string[], new Set<string>(), new Set<string>()];
    for await (const { detail, leaf, entry } of log.read()) {
      salts.push(detail?.salt.toString('hex') ?? '');
      commitments.add(leaf.commitment.toString('hex'));
      entries.add(entry.toString('hex'));
    }
    expect([new Set(salts).size, commitments.size, entries.size]).toEqual([1500, 1500, 1500]);
    const drawn = given.map((bytes) => bytes.toString('hex')).join('');
    expect(drawn.startsWith(salts.join(''))).toBe(true);
    await log.close();
  });
});
