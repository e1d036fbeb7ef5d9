import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Generations } from './generations.ts';

const never = (): void => {};
const isDone = (promise: Promise<unknown>): Promise<boolean> => Promise.race([promise.then(() => true), sleep(20, false)]);

test('a filter that knows nothing, or something else, is told at once', async () => {
  const generations = new Generations();
  expect(await generations.ask('e', 0, never)).toEqual({ generation: generations.current, leaseMs: 6_000 });
  generations.begin();
  expect((await generations.ask('e', generations.current - 1, never)).generation).toBe(generations.current);
  generations.close();
});

test('one that knows it is answered when it changes, or after a while with the same', async () => {
  const generations = new Generations({ openMs: 60 });
  const known = generations.current;
  const same = generations.ask('e', known, never);
  expect(await isDone(same)).toBe(false);
  expect((await same).generation).toBe(known);
  const other = generations.ask('e', known, never);
  const now = generations.begin();
  expect(now).toBeGreaterThan(known);
  expect((await other).generation).toBe(now);
});

test('it is in force when every filter has come back knowing it', async () => {
  const generations = new Generations({ leaseMs: 60_000, openMs: 60_000 });
  const asks = ['a', 'b'].map(async (emitter) => generations.ask(emitter, (await generations.ask(emitter, 0, never)).generation, never));
  await sleep(5);
  const now = generations.begin();
  const inForce = generations.inForce(now);
  await Promise.all(asks);
  expect(await isDone(inForce)).toBe(false);
  void generations.ask('a', now, never);
  expect(await isDone(inForce)).toBe(false);
  // The same as before: it has not understood.
  void generations.ask('b', now - 1, never);
  expect(await isDone(inForce)).toBe(false);
  void generations.ask('b', now, never);
  expect(await inForce).toBe(0);
  generations.close();
});

test('a filter that does not come back is waited for until its lease ends, and counted', async () => {
  const generations = new Generations({ leaseMs: 150, openMs: 60_000 });
  const { generation } = await generations.ask('e', 0, never);
  // Its call goes: it may not have noticed, and relies on what it has.
  void generations.ask('e', generation, (gone) => gone());
  const since = performance.now();
  expect(await generations.inForce(generations.begin())).toBe(1);
  expect(performance.now() - since).toBeGreaterThan(120);
  expect(performance.now() - since).toBeLessThan(15_000);
});

test('without filters it is in force at once, and at the end nobody is left waiting', async () => {
  const generations = new Generations({ leaseMs: 60_000, openMs: 60_000 });
  expect(await generations.inForce(generations.begin())).toBe(0);
  const { generation } = await generations.ask('e', 0, never);
  const asked = generations.ask('e', generation, never);
  const inForce = generations.inForce(generation + 1);
  expect(await isDone(inForce)).toBe(false);
  generations.close();
  expect(await inForce).toBe(0);
  expect(await asked).toEqual({ generation, leaseMs: 0 });
});

test('it grows even where a clock was set back before the service was started again', async () => {
  const generations = new Generations({ openMs: 60_000 });
  const ahead = generations.current + 1e12;
  expect((await generations.ask('e', ahead, never)).generation).toBe(ahead + 1);
  expect(generations.current).toBe(ahead + 1);
});
