/** What a disk may have become and what a peer may send: anything. Seeded, so that a failure can be run again. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JournalError } from '../../authz-service/journal/error.ts';
import { openJournal } from '../../authz-service/journal/journal.ts';
import { SimulatedFileSystem } from '../../authz-service/journal/simulated_file_system.ts';
import { decodeEmitRequest, decodeEvent, encodeEmitRequest, encodeEvent, MAX_EVENT_BYTES } from '../../authz-service/tap/event.ts';
import { closedBody, type TapBody } from '../../authz-service/tap/schema.ts';
import { openSink } from '../../authz-service/tap/sink.ts';
import { eventsIn, testStore } from '../../authz-service/tap/store.fixture.ts';
import { WireError } from '../../authz-service/tap/wire.ts';
import { runs } from './runs.ts';

const RUNS = 10_000;
const DIRECTORY = '/journal';

/** One change of some bytes: flipped, set, cut, doubled, left out, inserted. */
const mutation = fc.record({
  kind: fc.constantFrom('flip', 'set', 'cut', 'repeat', 'remove', 'insert'),
  // A share of the length. (fc.double favours the smallest numbers.)
  at: fc.nat(999_999).map((millionths) => millionths / 1e6),
  byte: fc.integer({ min: 0, max: 255 }),
  length: fc.integer({ min: 1, max: 40 }),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

const mutated = (bytes: Buffer, { kind, at, byte, length }: Mutation): Buffer => {
  const offset = Math.min(Math.floor(at * bytes.length), Math.max(bytes.length - 1, 0));
  const [before, rest] = [bytes.subarray(0, offset), bytes.subarray(offset)];
  switch (kind) {
    case 'flip':
    case 'set': {
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[offset] = kind === 'set' ? byte : (copy[offset] as number) ^ (1 << (byte & 7));
      return copy;
    }
    case 'cut':
      return Buffer.from(before);
    case 'repeat':
      return Buffer.concat([before, rest.subarray(0, length), rest]);
    case 'remove':
      return Buffer.concat([before, rest.subarray(length)]);
    default:
      return Buffer.concat([before, Buffer.alloc(length, byte), rest]);
  }
};

const mutations = fc.array(mutation, { minLength: 1, maxLength: 3 });
const mutatedBy = (bytes: Buffer, changes: readonly Mutation[]): Buffer => changes.reduce(mutated, bytes);

const bodies: TapBody[] = [
  {
    kind: 'session_opened',
    protocol: 'http',
    identity: 'corp:agent',
    identityJson: '{"id":"é"}',
    run: 'r',
    onBehalfOf: 'dana',
    downstreamAddress: '127.0.0.1:1',
  },
  {
    kind: 'request_held',
    approval: 'apr_1',
    approvers: ['group:leads', 'group:dba'],
    quorum: 2,
    expiresUnixNanos: 1n << 60n,
    rule: 'r',
    reason: '…',
  },
  { kind: 'hold_answered', approval: 'apr_1', answer: 'approved', by: 'corp:dana', reason: 'fine' },
  { kind: 'request_forwarded', emitter: '' },
  {
    kind: 'response_finished',
    outcome: 'complete',
    status: 200,
    requestBytes: 1,
    responseBytes: 2 ** 40,
    durationMicros: 3,
    firstByteMicros: 4,
    masked: [
      { rule: 'ssn', count: 300 },
      { rule: 'card', count: 1 },
    ],
    reason: '',
  },
  closedBody('complete'),
  {
    kind: 'payload_chunk',
    direction: 'request',
    offset: 5,
    data: Buffer.from('payload'),
    last: true,
    truncated: false,
    contentType: '',
    contentEncoding: '',
    reason: '',
  },
  { kind: 'notice', notice: 'n', text: 'something' },
];
const vectors = bodies.map((body, i) =>
  Buffer.from(
    encodeEvent({
      emitter: '0123456789abcdef'.repeat(2),
      sequence: i + 1,
      timeUnixNanos: 5n,
      session: 'ses_1',
      target: 'demo',
      truncated: [],
      body,
    }),
  ),
);

describe('mutations', () => {
  it('of a journal: it opens with what was there up to the damage, or refuses and says where; it never makes anything up', async () => {
    const files = new SimulatedFileSystem();
    const journal = await openJournal(DIRECTORY, { files, segmentBytes: 200 });
    const texts = Array.from({ length: 14 }, (_, i) => `record ${i}`);
    for (const text of texts.slice(0, 6)) await journal.append(Buffer.from(text));
    await Promise.all(texts.slice(6).map((text) => journal.append(Buffer.from(text))));
    await journal.close();
    const segments = files.paths().filter((path) => path.endsWith('.journal'));
    expect(segments.length).toBeGreaterThanOrEqual(2);

    let [opened, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.nat(segments.length - 1), mutations, async (which, changes) => {
        const damaged = files.copy();
        damaged.damage(segments[which] as string, (bytes) => mutatedBy(bytes, changes));
        const found: string[] = [];
        try {
          const reopened = await openJournal(DIRECTORY, {
            files: damaged,
            segmentBytes: 200,
            replay: (_, bytes) => found.push(bytes.toString()),
          });
          expect(found).toEqual(texts.slice(0, found.length));
          // All that was not in the last write is there, unless the last segment itself is gone.
          if (which < segments.length - 1) expect(found).toEqual(texts);
          await reopened.append(Buffer.from('after'));
          await reopened.close();
          opened += 1;
        } catch (error) {
          if (!(error instanceof JournalError)) throw error;
          expect(error.code).toBe('corrupt');
          refused += 1;
        }
      }),
      { numRuns: runs(RUNS), seed: 1 },
    );
    expect(Math.min(opened, refused)).toBeGreaterThan(runs(RUNS) / 20);
  });

  it('of an event: it is read as an event that says the same when it is written again, or refused by a coded error', () => {
    let read = 0;
    fc.assert(
      fc.property(fc.constantFrom(...vectors), mutations, (vector, changes) => {
        try {
          const event = decodeEvent(mutatedBy(vector, changes));
          expect(decodeEvent(encodeEvent(event))).toEqual(event);
          read += 1;
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
        }
      }),
      { numRuns: RUNS, seed: 2 },
    );
    expect(read).toBeGreaterThan(RUNS / 20);
  });

  it('of a message on the stream, and bytes at random: nothing but a coded error', () => {
    const messages = [
      encodeEmitRequest({ kind: 'hello', emitter: 'ab'.repeat(16), software: 'http-filter', firstSequence: 7 }),
      ...vectors.map((bytes) => encodeEmitRequest({ kind: 'events', events: [bytes] })),
      encodeEmitRequest({ kind: 'events', events: vectors.slice(0, 3) }),
    ];
    const wild = fc.oneof(
      fc.tuple(fc.constantFrom(...messages), mutations).map(([bytes, changes]) => mutatedBy(bytes, changes)),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(wild, (bytes) => {
        try {
          const request = decodeEmitRequest(bytes);
          if (request.kind === 'events') for (const event of request.events) decodeEvent(event);
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
        }
      }),
      { numRuns: RUNS, seed: 3 },
    );
  });

  it('of what emitters do: the record has each event once, in order, and all that was acknowledged', async () => {
    const action = fc.record({
      emitter: fc.nat(2),
      do: fc.constantFrom('emit', 'emit', 'emit', 'attach', 'detach', 'settle', 'kill', 'fill', 'junk', 'skip'),
      count: fc.integer({ min: 1, max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
        let files = new SimulatedFileSystem();
        const open = () => openSink({ ...testStore(DIRECTORY, { files, retryMs: 1, segmentBytes: 2000 }) });
        let sink = await open();
        const emitters = [0, 1, 2].map((i) => ({
          id: `${i}`.repeat(32),
          next: 1,
          acknowledged: 0,
          stream: undefined as ReturnType<typeof sink.attach> | undefined,
        }));
        const bytesOf = (id: string, sequence: number): Buffer =>
          Buffer.from(
            encodeEvent({
              emitter: id,
              sequence,
              timeUnixNanos: 0n,
              session: 's',
              target: '',
              truncated: [],
              body: { kind: 'request_forwarded', emitter: '' },
            }),
          );
        const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
        for (const { emitter: which, do: what, count } of actions) {
          const emitter = emitters[which] as (typeof emitters)[number];
          try {
            if (what === 'attach') {
              emitter.stream = sink.attach(
                { emitter: emitter.id, software: '', firstSequence: emitter.acknowledged + 1 },
                {
                  acknowledge: (sequence) => {
                    emitter.acknowledged = Math.max(emitter.acknowledged, sequence);
                  },
                  close: () => {},
                },
              );
              for (let sequence = emitter.acknowledged + 1; sequence < emitter.next; sequence += 1)
                emitter.stream.accept(bytesOf(emitter.id, sequence));
            } else if (what === 'emit') {
              for (let i = 0; i < count; i += 1) {
                emitter.next += 1;
                emitter.stream?.accept(bytesOf(emitter.id, emitter.next - 1));
              }
            } else if (what === 'junk') emitter.stream?.accept(Buffer.from('junk'));
            else if (what === 'skip') emitter.stream?.accept(bytesOf(emitter.id, emitter.next + 5));
            else if (what === 'detach') {
              emitter.stream?.detach();
              emitter.stream = undefined;
            } else if (what === 'settle') for (let i = 0; i < count; i += 1) await turn();
            else if (what === 'fill') {
              let full = count;
              files.fault = ({ name }) => (name === 'write' && full-- > 0 ? { code: 'ENOSPC', kept: count / 5 } : undefined);
            } else {
              files = files.afterKill();
              await sink.close();
              for (const each of emitters) each.stream = undefined;
              sink = await open();
            }
          } catch {
            emitter.stream?.detach();
            emitter.stream = undefined;
          }
        }
        files = files.afterKill();
        await sink.close();
        const found = new Map<string, number[]>();
        for (const { emitter, sequence } of await eventsIn(DIRECTORY, files)) found.set(emitter, [...(found.get(emitter) ?? []), sequence]);
        for (const sequences of found.values()) expect(sequences).toEqual(sequences.map((_, i) => i + 1));
        for (const { id, acknowledged, next } of emitters) {
          expect(found.get(id)?.length ?? 0).toBeGreaterThanOrEqual(acknowledged);
          expect(found.get(id)?.length ?? 0).toBeLessThan(next);
        }
      }),
      { numRuns: runs(RUNS / 10), seed: 4 },
    );
  });

  it('of sizes: what the service tells always fits into a leaf of the log, and can be read', () => {
    const text = fc
      .tuple(fc.constantFrom('a', 'é', '€', '😀', '\ud800', '\u0000'), fc.integer({ min: 0, max: 70_000 }))
      .map(([unit, count]) => unit.repeat(count / unit.length));
    fc.assert(
      fc.property(text, text, fc.array(fc.string(), { maxLength: 50 }), (reason, rule, approvers) => {
        const bytes = encodeEvent({
          emitter: 'a'.repeat(32),
          sequence: 1,
          timeUnixNanos: 0n,
          session: 's',
          target: 't',
          truncated: [],
          body: { kind: 'request_held', approval: 'a', approvers, quorum: 1, expiresUnixNanos: 0n, rule, reason },
        });
        expect(bytes.length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
        decodeEvent(bytes);
      }),
      { numRuns: 300, seed: 5 },
    );
  });
});
