import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { everything, recalling } from './events.fixture.ts';
import { type Exporter, type RecordSource, startExporter } from './exporter.ts';
import type { Leaf } from './format.ts';
import type { ExportConfig } from './messages.ts';
import { receiver } from './receivers.fixture.ts';

let dir: string;
let exporter: Exporter | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'exporter-'));
});
afterEach(async () => {
  await exporter?.close();
  exporter = undefined;
  rmSync(dir, { recursive: true, force: true });
});

const recordOf = (leaves: readonly Leaf[], reads: number[] = []): RecordSource => ({
  origin: 'gw/sluice',
  get size() {
    return leaves.length;
  },
  async *read(index) {
    reads.push(index);
    yield* leaves.slice(index);
  },
  recall: recalling(leaves),
});

const destination = (place: ExportConfig['place'], more: Partial<ExportConfig> = {}): ExportConfig => ({
  name: place.type,
  from: 'beginning',
  onRefused: 'stop',
  timeoutMs: 2000,
  batch: { events: 5, bytes: 1 << 20, waitMs: 10 },
  retry: { firstMs: 5, mostMs: 50 },
  format: { format: 'ocsf', kinds: ['session_opened', 'request_judged', 'session_closed', 'notice'] },
  place,
  ...more,
});
const webhook = (url: string, more: Partial<ExportConfig> = {}): ExportConfig =>
  destination({ type: 'webhook', url, headers: {}, tls: {}, gzip: false }, more);

const start = (record: RecordSource, destinations: readonly ExportConfig[]): { exporter: Exporter; said: [object, string][] } => {
  const said: [object, string][] = [];
  const log = (fields: object, message: string) => void said.push([fields, message]);
  exporter = startExporter({ destinations, record, dir: join(dir, 'export'), version: '0.1.0', logger: { warn: log, error: log } });
  return { exporter, said };
};

const until = async (condition: () => boolean, withinMs = 15_000): Promise<void> => {
  for (const deadline = Date.now() + withinMs; !condition(); await sleep(10))
    if (Date.now() > deadline) throw new Error('it did not come true');
};

const uids = (bodies: readonly string[]): number[] =>
  bodies.flatMap((body) => body.trimEnd().split('\n')).map((line) => JSON.parse(line).metadata.sequence);

it('brings the record to each destination at its own pace: one that is away holds up no other, and gets all of it later', async () => {
  const leaves = everything();
  let outage = true;
  await using slow = await receiver((_, response) => response.writeHead(outage ? 503 : 200).end());
  await using well = await receiver((_, response) => response.end());
  const path = join(dir, 'events.ndjson');
  const { exporter, said } = start(recordOf(leaves), [
    webhook(slow.url, { name: 'slow' }),
    webhook(well.url, { name: 'well' }),
    destination({ type: 'file', path }),
  ]);
  const status = (name: string) => exporter.status.find((one) => one.name === name);
  await until(() => status('well')?.lag === 0 && status('file')?.lag === 0 && (status('slow')?.retries ?? 0) > 1);
  expect(status('slow')).toMatchObject({ next: 0, lag: leaves.length, failure: '503' });
  expect(status('slow')?.lagSeconds).toBeGreaterThan(0);
  outage = false;
  await until(() => status('slow')?.lag === 0);
  const expected = uids(readFileSync(path, 'utf8').trimEnd().split('\n'));
  expect(expected.length).toBeGreaterThan(10);
  expect(uids(well.received.map(({ body }) => body))).toEqual(expected);
  expect(status('slow')).toMatchObject({ failure: '', lag: 0, lagSeconds: 0, events: expected.length });
  expect(said.map(([, message]) => message)).toContain('the export waits');
});

it('reads the record only when a receiver can take more', async () => {
  const leaves = everything();
  const reads: number[] = [];
  await using stuck = await receiver(() => {});
  start(recordOf(leaves, reads), [webhook(stuck.url, { timeoutMs: 60_000 })]);
  await until(() => stuck.received.length === 1);
  await sleep(200);
  expect(reads).toEqual([0]);
});

it('goes on when the record could not be read for a while', async () => {
  const leaves = everything();
  let broken = true;
  const record = recordOf(leaves);
  await using well = await receiver((_, response) => response.end());
  const { exporter } = start(
    {
      ...record,
      size: leaves.length,
      read: (index) => {
        if (broken) throw new Error('EIO');
        return record.read(index);
      },
    },
    [webhook(well.url)],
  );
  await until(() => exporter.status[0]?.failure === 'the record cannot be read: EIO');
  broken = false;
  await until(() => exporter.status[0]?.lag === 0);
});

it('closes within seconds while a receiver does not answer, and the cursor stands where it was', async () => {
  await using stuck = await receiver(() => {});
  const { exporter } = start(recordOf(everything()), [webhook(stuck.url, { timeoutMs: 60_000 })]);
  await until(() => stuck.received.length === 1);
  const at = performance.now();
  await exporter.close();
  expect(performance.now() - at).toBeLessThan(15_000);
  expect(JSON.parse(readFileSync(join(dir, 'export', 'webhook.cursor'), 'utf8'))).toMatchObject({ next: 0 });
});

it('replaces a worker that was lost, and says so; the service lives on', async () => {
  const said: string[] = [];
  const log = (_: object, message: string) => void said.push(message);
  exporter = startExporter({
    // What no configuration says: the thread ends with it.
    destinations: [webhook('http://127.0.0.1:1', { format: { format: 'ocsf', kinds: 5 as never } })],
    record: recordOf(everything()),
    dir: join(dir, 'export'),
    version: '0.1.0',
    logger: { warn: log, error: log },
  });
  await until(() => (exporter?.restarts ?? 0) >= 2);
  expect(exporter.status[0]).toMatchObject({ failure: 'its worker was lost', next: 0 });
  expect(said).toContain('the worker of the export broke');
});

describe('killed again and again', () => {
  it('leaves out nothing, and repeats no more than a batch for each time', { timeout: 240_000 }, async () => {
    const bodies: string[] = [];
    await using siem = await receiver(({ body }, response) => {
      bodies.push(body);
      response.end();
    });
    const program = fileURLToPath(new URL('./exporting.fixture.ts', import.meta.url));
    const run = (events: number) =>
      spawn(process.execPath, [program, dir, siem.url, String(events)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const KILLS = 4;
    for (let n = 0; n < KILLS; n += 1) {
      const before = bodies.length;
      const child = run(100_000);
      const exit = once(child, 'exit');
      // It ends with the test, whatever becomes of that.
      await until(() => bodies.length > before + 3 + n * 2, 45_000).finally(() => child.kill('SIGKILL'));
      await exit;
    }
    const last = run(20);
    let said = '';
    last.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await once(last, 'exit');
    const size = Number(/size (\d+)/.exec(said)?.[1]);
    expect(size).toBeGreaterThan(50);
    const got = uids(bodies);
    expect([...new Set(got)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, index) => index));
    expect(got.length - size).toBeLessThanOrEqual(KILLS * 7);
    expect(existsSync(join(dir, 'export', 'siem.cursor.new'))).toBe(false);
  });
});
