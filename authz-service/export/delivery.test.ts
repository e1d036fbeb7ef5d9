import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Delivery, type DeliveryOptions } from './delivery.ts';
import { away, type Outcome, refused, TAKEN } from './destination.ts';
import { bodyOf, databaseSession, eventOf, leavesOf, recalling } from './events.fixture.ts';
import type { GoneLeaf, Leaf, Message } from './format.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'delivery-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const leaves = (count: number, first = 0): Leaf[] =>
  leavesOf(
    Array.from({ length: count }, (_, n) => eventOf(`ses_${first + n}`, bodyOf('session_closed', { outcome: 'complete' }))),
    first,
  );

interface Bench {
  readonly delivery: Delivery;
  readonly record: (Leaf | GoneLeaf)[];
  /** Indices that the receiver has taken, in order. */
  readonly got: number[];
  /** Sizes of what it was sent. */
  readonly sent: number[];
  /** Sessions that were recalled, and before which event. */
  readonly recalled: [string, number][];
  readonly said: { readonly level: string; readonly message: string; readonly fields: object }[];
  stop(): Promise<void>;
}

const OPTIONS: Omit<DeliveryOptions, 'dir'> = {
  name: 'siem',
  from: 'beginning',
  onRefused: 'stop',
  batch: { events: 10, bytes: 1 << 20, waitMs: 5 },
  retry: { firstMs: 2, mostMs: 10 },
  format: { format: 'json', kinds: ['session_closed'], origin: 'log', version: '0' },
};

/** @param receive what the receiver makes of a batch: what it takes, it calls `take` with */
function start(
  record: (Leaf | GoneLeaf)[],
  options: Partial<DeliveryOptions> = {},
  receive: (messages: readonly Message[], take: (taken: readonly Message[]) => void) => Outcome = (messages, take) => {
    take(messages);
    return TAKEN;
  },
): Bench {
  const [got, sent, recalled, said]: [number[], number[], [string, number][], Bench['said'][number][]] = [[], [], [], []];
  const log = (level: string) => (fields: object, message: string) => void said.push({ level, fields, message });
  const delivery = new Delivery(
    { ...OPTIONS, dir, ...options },
    {
      read: async (from, { events }) => {
        const piece = record.filter(({ index }) => index >= from).slice(0, events);
        return { leaves: piece.filter((leaf) => 'bytes' in leaf), gone: piece.filter((leaf) => 'gone' in leaf) };
      },
      recall: async (session, before) => {
        recalled.push([session, before]);
        const found: Leaf[] = [];
        for await (const leaf of recalling(record.filter((each) => 'bytes' in each))(session, before)) found.push(leaf);
        return found;
      },
      size: async () => (record.at(-1)?.index ?? -1) + 1,
    },
    () => ({
      send: async (messages) => {
        sent.push(messages.length);
        return receive(messages, (taken) => got.push(...taken.map(({ index }) => index)));
      },
      close: async () => {},
    }),
    { warn: log('warn'), error: log('error') },
  );
  const running = delivery.run();
  return {
    delivery,
    record,
    got,
    sent,
    recalled,
    said,
    stop: () => {
      delivery.stop();
      return running;
    },
  };
}

const until = async (condition: () => boolean, what = 'it'): Promise<void> => {
  for (const deadline = Date.now() + 15_000; !condition(); await sleep(2))
    if (Date.now() > deadline) throw new Error(`${what} did not come true`);
};
const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
const cursor = (): { next: number } => {
  const path = join(dir, 'siem.cursor');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { next: -1 };
};

describe('a receiver that is well', () => {
  it('gets everything once and in order, in batches, and what comes later', async () => {
    const bench = start(leaves(25));
    await until(() => bench.delivery.status.next === 25);
    bench.record.push(...leaves(3, 25));
    await until(() => bench.delivery.status.next === 28);
    await bench.stop();
    expect(bench.got).toEqual(upTo(28));
    expect(Math.max(...bench.sent)).toBe(10);
    expect(bench.delivery.status).toMatchObject({ events: 28, retries: 0, failure: '', oldest: 0 });
  });

  it('goes on behind what it has after a stop, and begins now where that is asked', async () => {
    const first = start(leaves(5));
    await until(() => cursor().next === 5);
    await first.stop();
    const second = start(leaves(9));
    await until(() => second.delivery.status.next === 9);
    await second.stop();
    expect(second.got).toEqual([5, 6, 7, 8]);
    const other = start(leaves(9), { name: 'other', from: 'now' });
    await until(() => existsSync(join(dir, 'other.cursor')));
    other.record.push(...leaves(1, 9));
    await until(() => other.delivery.status.next === 10);
    await other.stop();
    expect(other.got).toEqual([9]);
  });
});

it('asks the record for a session that was open before the cursor can tell, and waits where it has no answer', async () => {
  const record = [...leaves(3), ...leavesOf(databaseSession('ses_long'), 3)];
  writeFileSync(join(dir, 'siem.cursor'), JSON.stringify({ origin: 'log', next: 6, floor: 6 }));
  const sent: string[] = [];
  const bench = start(record, { format: { ...OPTIONS.format, format: 'ocsf', kinds: ['command_finished'] } }, (messages, take) => {
    sent.push(...messages.map(({ json }) => json));
    take(messages);
    return TAKEN;
  });
  await until(() => bench.delivery.status.next === record.length);
  await bench.stop();
  expect(bench.recalled).toEqual([['ses_long', 6]]);
  expect(JSON.parse(sent[0] as string)).toMatchObject({
    query_info: { query_string: 'SELECT name FROM customers' },
    actor: { user: { uid: 'corp:agent-7' } },
  });
});

describe('a receiver that is away', () => {
  it('gets the same again until it takes it: nothing is left out, and the cursor waits', async () => {
    let outage = true;
    const bench = start(leaves(12), {}, (messages, take) => {
      if (outage) return away('503');
      take(messages);
      return TAKEN;
    });
    await until(() => bench.delivery.status.retries > 5);
    expect(cursor().next).toBe(0);
    expect(bench.delivery.status).toMatchObject({ next: 0, events: 0, failure: '503' });
    expect(bench.delivery.status.oldest).toBeGreaterThan(1.7e12);
    outage = false;
    await until(() => bench.delivery.status.next === 12);
    await bench.stop();
    expect(bench.got).toEqual(upTo(12));
    // Told once, and when it is over.
    expect(bench.said.map(({ message }) => message)).toEqual(['the export waits', 'the export goes on']);
  });

  it('is waited for as long as it says', async () => {
    let tries = 0;
    const at = performance.now();
    const bench = start(leaves(1), {}, (messages, take) => {
      tries += 1;
      if (tries === 1) return away('429', 150);
      take(messages);
      return TAKEN;
    });
    await until(() => bench.delivery.status.next === 1);
    expect(performance.now() - at).toBeGreaterThan(140);
    await bench.stop();
  });

  it('does not keep a stop waiting', async () => {
    const bench = start(leaves(3), { retry: { firstMs: 60_000, mostMs: 60_000 } }, () => away('no'));
    await until(() => bench.delivery.status.retries > 0);
    const at = performance.now();
    await bench.stop();
    expect(performance.now() - at).toBeLessThan(10_000);
    expect(cursor().next).toBe(0);
  });

  it('and breaks is one that is away', async () => {
    let broken = true;
    const bench = start(leaves(2), {}, (messages, take) => {
      if (broken) throw new Error('a fault of ours');
      take(messages);
      return TAKEN;
    });
    await until(() => bench.delivery.status.failure.includes('a fault of ours'));
    broken = false;
    await until(() => bench.delivery.status.next === 2);
    await bench.stop();
    expect(bench.got).toEqual([0, 1]);
  });
});

describe('an event that the receiver refuses', () => {
  const refuses = (bad: number) => (messages: readonly Message[], take: (taken: readonly Message[]) => void) => {
    if (messages.some(({ index }) => index === bad)) return refused('400 mapping');
    take(messages);
    return TAKEN;
  };

  it('stops the export, loudly, when the others of its batch before it are there', async () => {
    const bench = start(leaves(10), {}, refuses(7));
    await until(() => bench.delivery.status.refused > 2);
    await bench.stop();
    expect(bench.got).toEqual(upTo(7));
    expect(bench.delivery.status).toMatchObject({ next: 0, deadLetters: 0 });
    expect(bench.delivery.status.failure).toContain('log/7 is refused: 400 mapping');
    expect(bench.said.find(({ level }) => level === 'error')).toMatchObject({ fields: { event: 'log/7', kind: 'session_closed' } });
    expect(existsSync(join(dir, 'siem.dead-letters.ndjson'))).toBe(false);
  });

  it('is a dead letter where that is configured, whole and with its reason, and the rest goes on', async () => {
    const bench = start(leaves(25), { onRefused: 'dead_letter' }, refuses(7));
    await until(() => bench.delivery.status.next === 25);
    await bench.stop();
    expect(bench.got).toEqual(upTo(25).filter((index) => index !== 7));
    const letters = readFileSync(join(dir, 'siem.dead-letters.ndjson'), 'utf8').trimEnd().split('\n');
    expect(letters.map((line) => JSON.parse(line))).toMatchObject([
      { id: 'log/7', reason: '400 mapping', event: { index: 7, session: 'ses_7' } },
    ]);
    expect(bench.delivery.status).toMatchObject({ deadLetters: 1, refused: 1, events: 24 });
  });

  it('among others of which some are to come again: each is treated as what was said of it', async () => {
    let first = true;
    const bench = start(leaves(6), { onRefused: 'dead_letter' }, (messages, take) => {
      if (!first) {
        take(messages);
        return TAKEN;
      }
      first = false;
      take([0, 3, 5].map((n) => messages[n] as Message));
      return { kind: 'partly', refused: new Map([[1, '400']]), again: new Set([2, 4]), reason: '429' };
    });
    await until(() => bench.delivery.status.next === 6);
    await bench.stop();
    expect(bench.got).toEqual([0, 3, 5, 2, 4]);
    expect(bench.delivery.status).toMatchObject({ deadLetters: 1, events: 5 });
  });

  it('waits where its dead letter cannot be written', async () => {
    const letters = join(dir, 'siem.dead-letters.ndjson');
    mkdirSync(letters);
    const bench = start(leaves(2), { onRefused: 'dead_letter' }, refuses(0));
    await until(() => bench.delivery.status.failure.includes('its dead letter cannot be written'));
    expect(cursor().next).toBe(0);
    rmSync(letters, { recursive: true });
    await until(() => bench.delivery.status.next === 2);
    await bench.stop();
    expect(readFileSync(letters, 'utf8')).toContain('log/0');
  });
});

describe('the cursor', () => {
  it('of a record that is another one now begins anew, and says so', async () => {
    const first = start(leaves(5));
    await until(() => cursor().next === 5);
    await first.stop();
    const second = start(leaves(2), { format: { ...OPTIONS.format, origin: 'another' } });
    await until(() => second.delivery.status.next === 2);
    await second.stop();
    expect(second.got).toEqual([0, 1]);
    expect(second.said[0]).toMatchObject({ level: 'error', fields: { was: 'log', is: 'another' } });
  });

  it('that is ahead of its record shows that the record has lost something: nothing is sent', async () => {
    const first = start(leaves(5));
    await until(() => cursor().next === 5);
    await first.stop();
    const second = start(leaves(3));
    await until(() => second.delivery.status.failure.includes('it has lost some'));
    await second.stop();
    expect(second.got).toEqual([]);
    expect(cursor().next).toBe(5);
  });

  it.each(['', '{', '{"origin":"log","next":-1,"floor":0}', '{"origin":"log","next":1,"floor":2}', '[]', 'null'])(
    'that somebody has damaged (%j) stops the export until it is removed',
    async (text) => {
      writeFileSync(join(dir, 'siem.cursor'), text);
      const bench = start(leaves(2));
      await until(() => bench.delivery.status.failure.includes('is not a cursor'));
      expect(bench.got).toEqual([]);
      rmSync(join(dir, 'siem.cursor'));
      await until(() => bench.delivery.status.next === 2);
      await bench.stop();
    },
  );
});

it('says what the record let go of before it was sent, and goes on', async () => {
  const bench = start(leaves(4, 6));
  await until(() => bench.delivery.status.next === 10);
  await bench.stop();
  expect(bench.got).toEqual([6, 7, 8, 9]);
  expect(bench.delivery.status.missed).toBe(6);
  expect(bench.said[0]).toMatchObject({ level: 'error', fields: { from: 0, to: 5 } });
});

it('says which of the events that it was to send were deleted, wherever they stood, once, and goes on', async () => {
  const record: (Leaf | GoneLeaf)[] = leaves(40);
  for (const index of [0, 13, 14, 25, 39]) record[index] = { index, gone: 'session_closed' };
  // Of kinds that are not sent nothing is missed.
  for (const index of [5, 26, 27, 28]) record[index] = { index, gone: 'payload_chunk' };
  record[38] = { index: 38, gone: 'unknown' };
  let failures = 3;
  const bench = start(record, {}, (messages, take) => {
    if (failures > 0 && messages.length > 0 && messages[0]?.index === 10) {
      failures -= 1;
      return away('away');
    }
    take(messages);
    return TAKEN;
  });
  await until(() => bench.delivery.status.next === 40);
  await bench.stop();
  expect(bench.got).toEqual(upTo(40).filter((index) => ![0, 5, 13, 14, 25, 26, 27, 28, 38, 39].includes(index)));
  expect(bench.delivery.status.missed).toBe(6);
  expect(bench.said.filter(({ level }) => level === 'error').map(({ fields }) => fields)).toMatchObject([
    { from: 0, to: 0, missed: 1 },
    { from: 13, to: 14, missed: 2 },
    { from: 25, to: 25, missed: 1 },
    { from: 38, to: 39, missed: 2 },
  ]);
  expect(cursor().next).toBe(40);
});

it('passes over what is not to be sent, without asking the receiver', async () => {
  const bench = start(leaves(12), { format: { ...OPTIONS.format, kinds: ['notice'] } });
  await until(() => cursor().next === 12);
  await bench.stop();
  expect(bench.sent).toEqual([]);
});
