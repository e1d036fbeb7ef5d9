import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { asciicast, type Playing, play, stepsOf } from './play.ts';
import type { ReplayedEvent } from './tell.ts';

const event = (millis: number, text: string): ReplayedEvent => ({
  time: new Date(1_790_000_000_000 + millis).toISOString().replace('Z', '000000Z'),
  session: 'ses_1',
  target: 'demo',
  kind: 'notice',
  body: { notice: text, text: '' },
});
const EVENTS = [event(0, 'one'), event(1_000, 'two'), event(500, 'back'), event(61_000, 'late'), event(61_010, 'end')];

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function playing(more: Partial<Playing> = {}) {
  const shown: string[] = [];
  let press = (_: string): void => {};
  let released = false;
  let over = false;
  const keys: Playing['keys'] = (pressed) => {
    press = pressed;
    return () => (released = true);
  };
  const write = (line: string): void => void shown.push(line.trim().split(' ').at(-1) as string);
  const done = play(stepsOf(EVENTS), { speed: 1, maxPauseMs: 5_000, fromMs: 0, write, keys, ...more }).then(() => (over = true));
  const after = async (ms: number): Promise<string[]> => {
    await vi.advanceTimersByTimeAsync(ms);
    return shown.splice(0);
  };
  return { after, press: (key: string) => press(key), done, state: () => ({ over, released }) };
}

test('steps keep their times, and a clock that went back makes no negative pause', () => {
  expect(stepsOf(EVENTS).map(({ afterMs }) => afterMs)).toEqual([0, 1_000, 0, 60_000, 10]);
  expect(stepsOf([])).toEqual([]);
});

test('plays at its own pace, and long pauses are cut', async () => {
  const { after, state } = playing();
  expect(await after(0)).toEqual(['one']);
  expect(await after(999)).toEqual([]);
  expect(await after(1)).toEqual(['two', 'back']);
  expect(await after(4_999)).toEqual([]);
  expect(await after(1)).toEqual(['late']);
  expect(await after(10)).toEqual(['end']);
  expect(state()).toEqual({ over: true, released: true });
});

test('plays twice as fast, from a moment on', async () => {
  const { after } = playing({ speed: 2, fromMs: 1_000, maxPauseMs: 60_000 });
  expect(await after(0)).toEqual(['one']);
  expect(await after(500)).toEqual(['two', 'back']);
  expect(await after(30_000)).toEqual(['late']);
  const later = playing({ fromMs: 60_500 });
  expect(await later.after(0)).toEqual(['one', 'two', 'back']);
});

test('pauses, goes on, steps, goes back, changes its speed and ends', async () => {
  const { after, press, state } = playing();
  expect(await after(0)).toEqual(['one']);
  press(' ');
  expect(await after(100_000)).toEqual(['—']);
  press('n');
  expect(await after(100_000)).toEqual(['two']);
  press('b');
  expect(await after(100_000)).toEqual(['—', 'one']);
  press(' ');
  expect(await after(1_000)).toEqual(['—', 'two', 'back']);
  press('+');
  expect(await after(0)).toEqual(['—']);
  press('x');
  expect(await after(5_000)).toEqual(['late']);
  press('q');
  expect(await after(10_000)).toEqual([]);
  expect(state()).toEqual({ over: true, released: true });
});

test('stepping past the end ends it', async () => {
  const { press, state, after } = playing();
  for (let i = 0; i < 9 && !state().over; i += 1) {
    press('n');
    await after(0);
  }
  expect(state().over).toBe(true);
});

test('is an asciicast of version 3', () => {
  const [header, ...lines] = asciicast('ses_1', 1_790_000_000_000, stepsOf(EVENTS))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as never);
  expect(header).toEqual({ version: 3, term: { cols: 120, rows: 40 }, timestamp: 1_790_000_000, title: 'ses_1' });
  expect(lines).toHaveLength(5);
  expect(lines[1]).toEqual([1, 'o', expect.stringMatching(/^ {2}.*notice two\r\n$/)]);
});
