import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ContinuedVerification } from '../verify/continued.ts';
import { LogFixture } from '../verify/log.fixture.ts';
import { CommandError } from './command.ts';
import { run } from './run.ts';
import { watch } from './verify_watch.ts';

afterEach(() => void vi.restoreAllMocks());

const said = (): string[] => {
  const lines: string[] = [];
  for (const stream of ['stdout', 'stderr'] as const)
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      lines.push(String(chunk));
      return true;
    });
  return lines;
};

describe('sluice verify --watch', () => {
  it('tells Prometheus what was verified last, and when; and what was not', async () => {
    const lines = said();
    const log = new LogFixture().fill(300);
    const trust = { keys: [log.key.verifier] };
    let objects = log.publish();
    let away = false;
    const stopped = new AbortController();
    let port = 0;
    let rounds = 0;
    const continued = new ContinuedVerification({ wholeEveryMs: 0 });
    const running = watch({
      verify: async () => {
        rounds += 1;
        if (away) throw new CommandError('The log cannot be read: it is away');
        return await continued.verify({ objects, trust });
      },
      everyMs: 5,
      metrics: { host: '127.0.0.1', port: 0 },
      signal: stopped.signal,
      onListening: (at) => {
        port = at;
      },
    });
    const metrics = async (): Promise<Record<string, number>> => {
      const seen = rounds;
      while (rounds < seen + 2) await sleep(5);
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return Object.fromEntries([...text.matchAll(/^(sluice_verify_\S+) (\S+)$/gm)].map(([, name, value]) => [name, Number(value)]));
    };
    const first = await metrics();
    expect(first).toMatchObject({ sluice_verify_ok: 1, sluice_verify_verified_leaves: 300, sluice_verify_unexplained_events: 0 });
    expect(first['sluice_verify_runs_total{verdict="failed"}']).toBe(0);
    expect(first.sluice_verify_whole_timestamp_seconds).toBe(first.sluice_verify_verified_timestamp_seconds);
    expect(Math.abs((first.sluice_verify_verified_timestamp_seconds ?? 0) - Date.now() / 1000)).toBeLessThan(60);

    objects.objects.delete('details/events/000');
    const incomplete = await metrics();
    expect(incomplete).toMatchObject({ sluice_verify_ok: 0, sluice_verify_unexplained_events: 192, sluice_verify_verified_leaves: 300 });
    expect(incomplete['sluice_verify_runs_total{verdict="incomplete"}']).toBeGreaterThan(0);

    (objects.objects.get('tile/entries/000') as Buffer)[300] = 1;
    const failed = await metrics();
    expect(failed).toMatchObject({ sluice_verify_ok: 0, sluice_verify_verified_leaves: 300 });
    expect(failed['sluice_verify_runs_total{verdict="failed"}']).toBeGreaterThan(0);
    // When it last was as it should be stays.
    const { sluice_verify_verified_timestamp_seconds: at } = failed;
    away = true;
    const unreadable = await metrics();
    expect(unreadable).toMatchObject({ sluice_verify_ok: 0, sluice_verify_verified_timestamp_seconds: at });
    expect(unreadable['sluice_verify_runs_total{verdict="unreadable"}']).toBeGreaterThan(0);
    [away, objects] = [false, log.fill(310).publish()];
    expect(await metrics()).toMatchObject({ sluice_verify_ok: 1, sluice_verify_verified_leaves: 310 });
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);

    stopped.abort();
    expect(await running).toBe('verified');
    for (const words of ['verified, self-consistent: 300 leaves', 'INCOMPLETE: the log', 'NOT VERIFIED: the log', 'it is away'])
      expect(lines.join('')).toContain(words);
    await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow();
  });

  it('ends with what the last verification found', async () => {
    said();
    const stopped = new AbortController();
    const verify = async (): Promise<never> => {
      stopped.abort();
      throw new CommandError('away');
    };
    expect(await watch({ verify, everyMs: 60_000, metrics: undefined, signal: stopped.signal })).toBe('unreadable');
  });

  it('does not begin where nothing can be served, nor go on after a fault of its own', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { signal } = new AbortController();
    const verify = async (): Promise<never> => {
      throw new TypeError('a bug');
    };
    await expect(watch({ verify, everyMs: 5, metrics: { host: '127.0.0.1', port }, signal })).rejects.toThrow('Nothing can be served');
    await expect(watch({ verify, everyMs: 5, metrics: undefined, signal })).rejects.toThrow('a bug');
    other.close();
  });

  it.each([
    [['--watch', '5'], '--watch is a duration'],
    [['--watch', '0s'], '--watch is a duration'],
    [['--watch', '25d', '--remember', 'kept'], '--watch is a duration'],
    [['--watch', '5m'], 'say --remember FILE'],
    [['ses_1', '--watch', '5m', '--remember', 'kept'], '--watch is of the whole log'],
    [['--event', '1', '--watch', '5m', '--remember', 'kept'], '--watch is of the whole log'],
    [['--watch', '5m', '--remember', 'kept', '--metrics', '9465'], '--metrics is HOST:PORT'],
    [['--watch', '5m', '--remember', 'kept', '--metrics', '[::1]:99999'], '--metrics is HOST:PORT'],
    [['--metrics', '127.0.0.1:9465'], '--metrics is with --watch'],
    [['--whole', '1d'], '--whole is with --watch'],
    [['--watch', '5m', '--remember', 'kept', '--whole', 'never'], '--whole is a duration'],
  ])('of %j says what is wrong', async (args, told) => {
    const lines = said();
    expect([await run(['verify', ...args]), lines.join('')]).toEqual([2, expect.stringContaining(told)]);
  });
});
