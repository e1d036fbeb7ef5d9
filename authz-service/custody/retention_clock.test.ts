import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localFiles } from '../storage/local_files.ts';
import { RetentionClock } from './retention_clock.ts';

const [SECOND, HOUR, DAY] = [1000, 3_600_000, 86_400_000];
const START = Date.parse('2026-03-01T00:00:00Z');

let directory: string;
let wall: number;
let up: { boot: string; ms: number };
let size: number;
let told: (string | undefined)[];
let stalled: (string | undefined)[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-clock-'));
  [wall, up, size, told, stalled] = [START, { boot: 'a', ms: 5 * DAY }, 0, [], []];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = async (newestEventMs?: number, othersTell = false): Promise<RetentionClock> => {
  const clock = await RetentionClock.open({
    memory: localFiles(directory),
    size: () => size,
    newestEventMs,
    boundMs: DAY,
    othersTell,
    changed: (suspended) => told.push(suspended),
    stalled: (why) => stalled.push(why),
    now: () => wall,
    uptime: () => up,
  });
  await clock.tick();
  return clock;
};

/** Time passes, for the clock and for the machine. */
const pass = (ms: number): void => {
  wall += ms;
  up = { ...up, ms: up.ms + ms };
};
const reboot = (): void => {
  up = { boot: `${up.boot}+`, ms: 20 * SECOND };
};

describe('while the machine runs', () => {
  it('deletion goes by the time that passes', async () => {
    const clock = await open();
    expect(clock.deletionTime).toBe(START);
    for (let day = 0; day < 400; day += 1) {
      pass(DAY);
      await clock.tick();
    }
    expect([clock.deletionTime, told]).toEqual([START + 400 * DAY, []]);
  });

  it('a clock set forward makes nothing due, by however little', async () => {
    const clock = await open();
    wall += 20 * HOUR;
    await clock.tick();
    expect([clock.deletionTime, clock.aheadMs]).toEqual([START, 20 * HOUR]);
    pass(HOUR);
    expect(clock.deletionTime).toBe(START + HOUR);
  });

  it('a clock set forward past the bound suspends deletion until it is right again', async () => {
    const clock = await open();
    wall += 400 * DAY;
    await clock.tick();
    expect(clock.deletionTime).toBeUndefined();
    expect(told).toEqual(['the clock says 2027-04-05T00:00:00.000Z, and not more than 2026-03-01T00:00:00.000Z is known to be reached']);
    pass(HOUR);
    await clock.tick();
    expect(told).toHaveLength(1);
    wall -= 400 * DAY;
    await clock.tick();
    expect([clock.deletionTime, told.at(-1)]).toEqual([START + HOUR, undefined]);
  });

  it('or until somebody says that it is', async () => {
    const clock = await open();
    wall += 400 * DAY;
    await clock.tick();
    await clock.confirm();
    expect([clock.deletionTime, told.at(-1), told.length]).toEqual([START + 400 * DAY, undefined, 2]);
    await clock.tick();
    expect(told).toHaveLength(2);
  });

  it('a clock set back makes what is recorded meanwhile no older than it is', async () => {
    const clock = await open();
    size = 100;
    await clock.tick();
    wall -= 365 * DAY;
    await clock.tick();
    expect(clock.deletionTime).toBeUndefined();
    expect(told[0]).toMatch(/2025-03-01T.* and 2026-03-01T.* was reached already/);
    size = 300;
    pass(2 * HOUR);
    await clock.tick();
    expect(clock.notBefore(0, 100)).toBe(0);
    expect(clock.notBefore(0, 256)).toBe(Number.POSITIVE_INFINITY);
    wall += 365 * DAY;
    await clock.tick();
    expect(told).toEqual([expect.any(String), undefined]);
    expect(clock.notBefore(0, 100)).toBe(0);
    expect(clock.notBefore(0, 256)).toBe(START + 2 * HOUR);
    expect(clock.notBefore(256, 512)).toBe(START + 2 * HOUR);
    expect(clock.notBefore(300, 556)).toBe(0);
  });
});

describe('what was recorded while the clock stood behind', () => {
  const behind = async (): Promise<RetentionClock> => {
    const clock = await open();
    wall -= 10 * DAY;
    await clock.tick();
    size = 300;
    pass(2 * HOUR);
    await clock.tick();
    wall += 10 * DAY;
    return clock;
  };

  it('ages from what the clock says when that ends, where it is ahead of what is known: that may be when it was', async () => {
    const clock = await behind();
    wall += 5 * HOUR;
    await clock.tick();
    expect([clock.notBefore(0, 300), clock.notBefore(300, 400), clock.deletionTime]).toEqual([START + 7 * HOUR, 0, START + 2 * HOUR]);
  });

  it('waits while the clock is too far ahead to be believed', async () => {
    const clock = await behind();
    wall += 3 * DAY;
    await clock.tick();
    expect([clock.notBefore(0, 300), clock.deletionTime]).toEqual([Number.POSITIVE_INFINITY, undefined]);
    size = 400;
    wall -= 3 * DAY;
    await clock.tick();
    expect([clock.notBefore(0, 300), clock.notBefore(300, 400), clock.deletionTime]).toEqual(Array(3).fill(START + 2 * HOUR));
  });
});

describe('across starts of the service', () => {
  it('where others tell the time, the clock alone says nothing of how long the machine was off, however little that is', async () => {
    await open(undefined, true);
    // Each start sets it forward by twenty hours, of which one has passed: the store knows.
    for (let start = 1; start <= 5; start += 1) {
      reboot();
      wall += 20 * HOUR;
      const clock = await open(undefined, true);
      if (start === 1) expect(clock.deletionTime).toBe(START);
      clock.attest('store', START + start * HOUR);
      await clock.tick();
      expect(clock.deletionTime).toBe(start === 1 ? START + HOUR : undefined);
      pass(120 * SECOND);
      await clock.tick();
    }
    wall = START + 6 * HOUR;
    expect((await open(undefined, true)).deletionTime).toBe(START + 5 * HOUR + 120 * SECOND);
  });

  it('where others tell the time, a machine that was off for days goes on as soon as they do', async () => {
    await open(undefined, true);
    reboot();
    wall += 3 * DAY;
    const clock = await open(undefined, true);
    expect(clock.deletionTime).toBeUndefined();
    clock.attest('store', wall - SECOND);
    await clock.tick();
    expect([clock.deletionTime, told]).toEqual([START + 3 * DAY - SECOND, [expect.any(String), undefined]]);
  });

  it('the uptime says how long it was stopped, however long', async () => {
    await open();
    pass(200 * DAY);
    expect((await open()).deletionTime).toBe(START + 200 * DAY);
    wall += 3 * DAY;
    expect((await open()).deletionTime).toBeUndefined();
  });

  it('a machine that was off for longer than the bound is not believed, again and again, until a store or a witness says so', async () => {
    await open();
    wall += 30 * DAY;
    reboot();
    for (let start = 0; start < 3; start += 1) {
      const clock = await open();
      expect(clock.deletionTime).toBeUndefined();
      pass(HOUR);
      await clock.tick();
    }
    const clock = await open();
    clock.attest('store', wall - 2 * SECOND);
    await clock.tick();
    expect([clock.deletionTime, told.at(-1)]).toEqual([wall - 2 * SECOND, undefined]);
    expect((await open()).deletionTime).toBe(wall - 2 * SECOND);
  });

  it('a machine that was off for less is', async () => {
    await open();
    wall += 20 * HOUR;
    reboot();
    expect((await open()).deletionTime).toBe(START + 20 * HOUR);
  });

  it('a start with the clock behind is told, and what is recorded then is late from the last look on', async () => {
    size = 512;
    await open();
    wall -= 10 * DAY;
    reboot();
    size = 700;
    const clock = await open();
    expect(clock.deletionTime).toBeUndefined();
    expect([clock.notBefore(256, 512), clock.notBefore(512, 768)]).toEqual([0, Number.POSITIVE_INFINITY]);
  });

  it('begins with the newest event where nothing is remembered', async () => {
    expect((await open(START - 90 * DAY)).deletionTime).toBeUndefined();
    rmSync(directory, { recursive: true });
    expect((await open(START - HOUR)).deletionTime).toBe(START);
  });

  it.each(['', '{}', '{"reached":"x"}', '[1'])('refuses what it cannot read: %o', async (text) => {
    await open();
    writeFileSync(join(directory, 'clock'), text);
    await expect(open()).rejects.toThrow(/cannot be read/);
  });
});

describe('what others say of the time', () => {
  it('cannot make anything due that the clock does not say too', async () => {
    const clock = await open();
    clock.attest('store', START + 20 * HOUR);
    clock.attest('store', Number.NaN);
    await clock.tick();
    expect(clock.deletionTime).toBe(START);
  });

  it('shows that the clock stands behind', async () => {
    const clock = await open();
    clock.attest('store', START + 50 * DAY);
    await clock.tick();
    expect(clock.deletionTime).toBeUndefined();
    await clock.tick();
    expect(told).toHaveLength(1);
  });

  it('counts until the same one says otherwise: one wrong answer keeps nothing for ever', async () => {
    const clock = await open(undefined, true);
    clock.attest('store', START + 120 * SECOND);
    size = 100;
    await clock.tick();
    expect(clock.notBefore(0, 100)).toBe(Number.POSITIVE_INFINITY);
    for (let day = 1; day <= 40; day += 1) {
      pass(DAY);
      size += 100;
      clock.attest('store', wall);
      await clock.tick();
    }
    // What was recorded before it was taken back ages from what was said, were it true.
    expect(clock.notBefore(0, 256)).toBe(START + DAY + 120 * SECOND);
    expect([clock.notBefore(256, 512), clock.deletionTime, clock.aheadMs]).toEqual([0, wall, 0]);
    expect([told, stalled]).toEqual([[], []]);
  });

  it.each(['another', 'one that repeats itself'])('is not taken back by %s', async (who) => {
    const clock = await open(undefined, true);
    clock.attest('store', START + HOUR);
    await clock.tick();
    pass(HOUR);
    if (who === 'another') clock.attest('other', wall);
    else clock.attest('store', START + HOUR);
    await clock.tick();
    expect([clock.aheadMs, clock.notBefore(0, 100)]).toEqual([-HOUR, Number.POSITIVE_INFINITY]);
  });

  it('makes nothing older when it is taken back, across starts too: who said it first may have been right', async () => {
    let clock = await open(undefined, true);
    clock.attest('store', START + 20 * HOUR);
    await clock.tick();
    size = 100;
    pass(HOUR);
    await clock.tick();
    reboot();
    clock = await open(undefined, true);
    expect(clock.notBefore(0, 100)).toBe(START + 21 * HOUR);
  });

  it('is told when leaves wait for it for an hour, without a word until then', async () => {
    const clock = await open(undefined, true);
    const fast = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 600 * SECOND) {
        pass(600 * SECOND);
        size += 1;
        clock.attest('vault', wall + 120 * SECOND);
        await clock.tick();
      }
    };
    await fast(HOUR);
    expect([stalled, clock.stalled]).toEqual([[], undefined]);
    await fast(HOUR);
    const why = 'the clock is 120 s behind what vault says: what was recorded since, from leaf 0 on, is not deleted';
    expect([stalled, clock.stalled, told]).toEqual([[why], why, []]);
    await clock.confirm();
    expect([stalled, clock.notBefore(0, size), clock.stalled]).toEqual([[why, undefined], wall, undefined]);
  });

  it('is told too when it was taken back and leaves wait for what it was, until somebody says that the clock is right', async () => {
    const clock = await open(undefined, true);
    clock.attest('store', START + 9000 * DAY);
    size = 100;
    await clock.tick();
    expect([told.length, stalled]).toEqual([1, []]);
    clock.attest('store', wall);
    await clock.tick();
    const why = `leaves 0-99 were recorded while it was said to be ${new Date(START + 9000 * DAY).toISOString()}, and age from then`;
    expect([told.at(-1), stalled]).toEqual([undefined, [why]]);
    await clock.confirm();
    expect([stalled.at(-1), clock.notBefore(0, 100)]).toEqual([undefined, START]);
  });
});
