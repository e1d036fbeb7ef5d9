import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Evaluation } from '../decision/ports.ts';
import type { Bundle } from './compile.ts';
import type { Engine, EngineOptions, Incident } from './engine.ts';
import { bundleOf, engineOf, inputOf, MISBEHAVING } from './policy.fixture.ts';

let bundle: Bundle;
let engine: Engine;
const incidents: Incident[] = [];

const begin = async (options: Partial<EngineOptions> = {}): Promise<Engine> => {
  incidents.length = 0;
  return (engine = await engineOf(bundle, { onIncident: (incident) => incidents.push(incident), ...options }));
};
const judged = (path: string): Promise<Evaluation> => engine.evaluate(inputOf(path));
const outcome = (evaluation: Evaluation): string => (evaluation.ok ? evaluation.decision.rule : evaluation.code);
const timed = async (path: string): Promise<{ said: string; ms: number }> => {
  const since = performance.now();
  return { said: outcome(await judged(path)), ms: performance.now() - since };
};

beforeAll(async () => {
  bundle = await bundleOf(MISBEHAVING);
});
afterEach(() => engine.close());

describe('answers', () => {
  test('a decision, with the revision that made it and what it took', async () => {
    await begin();
    const answer = await judged('/a');
    expect(answer).toMatchObject({
      ok: true,
      revision: bundle.revision,
      decision: { effect: 'allow', rule: '/a', obligations: [], credential: '' },
    });
    expect(answer.ok && answer.micros).toBeGreaterThan(0);
  });

  test('each request gets its own, whatever the batches', async () => {
    await begin();
    for (const count of [1, 7, 33, 500]) {
      const paths = Array.from({ length: count }, (_, i) => `/${count}/${i}/${'é'.repeat(i % 50)}`);
      expect((await Promise.all(paths.map(judged))).map(outcome)).toEqual(paths);
    }
  });

  test.each([
    ['/throws', 'policy_error'],
    ['/undefined', 'policy_undefined'],
    ['/malformed', 'malformed_decision'],
    ['/large', 'policy_error'],
    ['/memory', 'policy_error'],
    ['/long', 'policy_error'],
    ['/wide', 'policy_error'],
  ])('%s is %s, and its worker goes on', async (path, code) => {
    await begin({ workers: 1, timeoutMs: 5_000 });
    const answers = await Promise.all([judged('/before'), judged(path), judged('/after')]);
    expect(answers.map(outcome)).toEqual(['/before', code, '/after']);
    expect(answers[1]).toMatchObject({ reason: expect.stringMatching(/./) });
    expect(outcome(await judged('/later'))).toBe('/later');
    expect(incidents).toEqual([]);
  });

  test.each(['', '{', '[1,', '\u0000', '{"request":{"path":"/a"}'])('an input that is no JSON is an error: %j', async (input) => {
    await begin({ workers: 1 });
    expect(await engine.evaluate(input)).toMatchObject({ ok: false });
    expect(outcome(await judged('/a'))).toBe('/a');
  });

  test('a large input has the decision of a small one', async () => {
    await begin({ workers: 1, timeoutMs: 5_000 });
    const large = { request: { path: '/a', body: 'x'.repeat(3 * 1024 * 1024) } };
    const inputs = [inputOf('/b'), JSON.stringify(large), inputOf('/c')];
    expect((await Promise.all(inputs.map((input) => engine.evaluate(input)))).map(outcome)).toEqual(['/b', '/a', '/c']);
  });

  test('an input past every bound is an error', async () => {
    await begin({ workers: 1 });
    expect(await engine.evaluate('x'.repeat(129 * 1024 * 1024))).toMatchObject({ ok: false, code: 'policy_error' });
  });
});

describe('a policy that hangs', () => {
  test('is cut off, and its neighbours in the batch are not delayed', async () => {
    await begin({ timeoutMs: 2_000 });
    const [hung, ...others] = await Promise.all([timed('/loop'), ...Array.from({ length: 20 }, (_, i) => timed(`/${i}`))]);
    expect(hung?.said).toBe('policy_timeout');
    expect(hung?.ms).toBeGreaterThanOrEqual(1_900);
    expect(others.map(({ said }) => said)).toEqual(others.map((_, i) => `/${i}`));
    expect(Math.max(...others.map(({ ms }) => ms))).toBeLessThan((hung?.ms ?? 0) / 2);
    expect(incidents).toEqual([{ kind: 'timed_out', reason: 'the policy took longer than 2000 ms' }]);
  });

  test('is replaced by a warm worker', async () => {
    const began = performance.now();
    await begin({ workers: 1 });
    const cold = performance.now() - began;
    expect(outcome(await judged('/loop'))).toBe('policy_timeout');
    const { said, ms } = await timed('/a');
    expect(said).toBe('/a');
    expect(ms).toBeLessThan(cold);
  });

  test('in all workers at once, is answered by more of them', async () => {
    await begin({ workers: 1, timeoutMs: 3_000 });
    const hung = timed('/loop');
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { said, ms } = await timed('/a');
    expect(said).toBe('/a');
    const { said: late, ms: longest } = await hung;
    expect(late).toBe('policy_timeout');
    expect(ms).toBeLessThan(longest / 2);
  });

  test('again and again does not cost a new worker each time', async () => {
    /** Threads are numbered in the order of their start. */
    const nextThread = async (): Promise<number> => {
      const worker = new Worker('', { eval: true });
      const { threadId } = worker;
      await once(worker, 'exit');
      return threadId;
    };
    await begin({ workers: 1, timeoutMs: 10_000 });
    const before = await nextThread();
    for (let jam = 0; jam < 4; jam++) {
      const slow = judged('/slow');
      await new Promise((resolve) => setTimeout(resolve, 50));
      await judged('/a');
      await slow;
      // A worker that is started now is there before the next jam.
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
    // One beside the one that was warm already.
    expect((await nextThread()) - before).toBeLessThanOrEqual(2);
    expect(incidents).toEqual([]);
  });

  test('shows in what it tells of its load', async () => {
    await begin({ workers: 2, timeoutMs: 500 });
    expect(engine.load()).toEqual({ workers: 2, busy: 0, waiting: 0 });
    const hung = judged('/loop');
    expect(engine.load()).toEqual({ workers: 2, busy: 0, waiting: 1 });
    await new Promise(setImmediate);
    expect(engine.load()).toEqual({ workers: 2, busy: 1, waiting: 0 });
    await hung;
    expect(engine.load()).toMatchObject({ busy: 0, waiting: 0 });
  });

  test('again and again, takes no more workers than its bound, and the others are refused in time or answered', async () => {
    await begin({ workers: 1, timeoutMs: 200 });
    const hung = Array.from({ length: 12 }, () => judged('/loop'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    let most = 0;
    const counting = setInterval(() => (most = Math.max(most, engine.load().workers)), 5);
    const other = outcome(await judged('/a'));
    const said = (await Promise.all(hung)).map(outcome);
    clearInterval(counting);
    expect(['/a', 'policy_overloaded']).toContain(other);
    expect(said.every((code) => code === 'policy_timeout' || code === 'policy_overloaded')).toBe(true);
    expect(most).toBeLessThanOrEqual(4);
    expect(outcome(await judged('/later'))).toBe('/later');
  });

  test('for longer than a slice only, is answered', async () => {
    await begin({ timeoutMs: 10_000 });
    expect((await Promise.all([judged('/slow'), judged('/a'), judged('/slow')])).map(outcome)).toEqual(['slow', '/a', 'slow']);
    expect(incidents).toEqual([]);
  });

  test('for want of the processor, is waited for', async () => {
    await begin({ workers: 1, timeoutMs: 100, code: new URL('./crashing_worker.fixture.ts', import.meta.url) });
    const { said, ms } = await timed('/still');
    expect(said).toBe('/still');
    expect(ms).toBeGreaterThanOrEqual(590);
    expect(incidents).toEqual([]);
  });

  test('takes back no more workers than were asked for once it has passed', async () => {
    await begin({ workers: 1, timeoutMs: 10_000 });
    const slow = [judged('/slow'), judged('/slow'), judged('/slow')];
    await Promise.all([...slow, judged('/a')]);
    for (let i = 0; i < 50 && engine.load().workers > 1; i++) {
      await judged('/a');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(engine.load().workers).toBe(1);
  });
});

describe('a worker that crashes', () => {
  const code = new URL('./crashing_worker.fixture.ts', import.meta.url);

  test('fails its request only, and is replaced', async () => {
    await begin({ workers: 1, code });
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(['/before', '/crash', '/after', '/last'].map(judged));
      expect(answers.map(outcome)).toEqual(['/before', 'policy_error', '/after', '/last']);
    }
    expect(incidents).toEqual(Array.from({ length: 3 }, () => ({ kind: 'crashed', reason: 'the decision worker has ended' })));
    expect(outcome(await judged('/later'))).toBe('/later');
  });

  test('in a row of them, takes nobody with it', async () => {
    await begin({ code });
    const paths = Array.from({ length: 60 }, (_, i) => (i % 15 === 7 ? '/crash' : `/${i}`));
    expect((await Promise.all(paths.map(judged))).map(outcome)).toEqual(paths.map((path) => (path === '/crash' ? 'policy_error' : path)));
  });
});

describe('a worker that starts slowly', () => {
  const dirs: string[] = [];
  afterAll(() => {
    for (const dir of dirs) rmSync(dir, { recursive: true });
  });
  const code = new URL('./standing_worker.fixture.ts', import.meta.url);
  /** Stands still the first so many times that one starts, and is then as the others. */
  const standing = (times: number): Pick<EngineOptions, 'code' | 'data'> => {
    const dir = mkdtempSync(join(tmpdir(), 'standing-'));
    dirs.push(dir);
    return { code, data: { times, dir } };
  };
  const start = { workMs: 1_000, starvedMs: 500 };

  test('is tried once more where it did not get the processor', async () => {
    await begin({ workers: 1, spares: 0, ...standing(1), start });
    expect(outcome(await judged('/a'))).toBe('/a');
  });

  test('and keeps the service from starting, in words that say so, where it did not then either', async () => {
    await expect(begin({ workers: 1, spares: 0, ...standing(2), start })).rejects.toThrow(
      /^a decision worker did not start: the machine is so busy that it did not get 1\.0 s of the processor in \d/,
    );
  });
});

describe('the end', () => {
  test('what was begun is answered, what comes after is refused', async () => {
    await begin({ timeoutMs: 10_000 });
    const begun = [judged('/slow'), judged('/a')];
    const closed = engine.close();
    expect(outcome(await judged('/late'))).toBe('policy_error');
    await closed;
    expect((await Promise.all(begun)).map(outcome)).toEqual(['slow', '/a']);
  });

  test('also while a policy hangs', async () => {
    await begin({ timeoutMs: 200 });
    const hung = judged('/loop');
    await engine.close();
    expect(outcome(await hung)).toBe('policy_timeout');
  });
});

test('a module that is none is no engine', async () => {
  await begin();
  await expect(engineOf({ ...bundle, wasm: new Uint8Array([1, 2, 3]) })).rejects.toThrow(/./);
});

afterAll(() => {
  expect(process.getActiveResourcesInfo().filter((name) => name === 'Worker')).toEqual([]);
});
