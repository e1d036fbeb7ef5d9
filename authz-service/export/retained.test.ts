/** The export of a real log whose events go by a real sweep of the retention: what comes late to a session whose beginning has gone, and a receiver that was away for longer than events are kept. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DELETED_NOTICE, noticeText } from '../log/going.ts';
import { Retention } from '../log/retention.ts';
import { type RecordParts, recordParts } from '../record.ts';
import { decodeEvent } from '../tap/event.ts';
import type { TapBody } from '../tap/schema.ts';
import { type OwnEvent, openSink, type Sink } from '../tap/sink.ts';
import { present, presentOrGone } from '../tap/store.ts';
import { bodyOf } from './events.fixture.ts';
import { type Exporter, startExporter } from './exporter.ts';
import { type Receiver, receiver } from './receivers.fixture.ts';

const DAY_MS = 86_400_000;
const KINDS = ['session_opened', 'request_judged', 'session_closed', 'command_finished', 'envoy_access_log'] as const;

let dir: string;
let parts: RecordParts;
let sink: Sink;
let exporter: Exporter | undefined;
let siem: Receiver;
let away: boolean;
let said: [object, string][];
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'exporter-retained-'));
  [away, said, exporter] = [false, [], undefined];
  siem = await receiver((_, response) => response.writeHead(away ? 503 : 200).end());
  // The journal lets go of what is published at each occasion, as it does in a while when events are to go one day.
  let passed = 0;
  const retention = { eventsMs: DAY_MS, payloadsMs: DAY_MS, kinds: {} };
  parts = recordParts({ stateDir: dir, tap: { retention } as never }, { monotonic: () => (passed += DAY_MS) });
  sink = await openSink(parts);
});
afterEach(async () => {
  await exporter?.close();
  await sink.close();
  await siem[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

const tell = (session: string, daysAgo: number, ...bodies: TapBody[]): Promise<void> =>
  sink.append(
    bodies.map(
      (body): OwnEvent => ({ session, target: 'ledger', body, timeUnixNanos: BigInt(Date.now() - daysAgo * DAY_MS) * 1_000_000n }),
    ),
  );
const opened = (identity: string): TapBody =>
  bodyOf('session_opened', { protocol: 'postgres', identity, identityJson: `{"id":"${identity}"}` });
const judged = bodyOf('request_judged', { request: 'connect to ledger', effect: 'allow', rule: 'granted', maskedInputJson: '{}' });

const start = (): void => {
  const log = (fields: object, message: string): void => void said.push([fields, message]);
  exporter = startExporter({
    destinations: [
      {
        name: 'siem',
        from: 'beginning',
        onRefused: 'stop',
        timeoutMs: 2000,
        batch: { events: 50, bytes: 1 << 20, waitMs: 5 },
        retry: { firstMs: 5, mostMs: 20 },
        format: { format: 'ocsf', kinds: KINDS },
        place: { type: 'webhook', url: siem.url, headers: {}, tls: {}, gzip: false },
      },
    ],
    record: {
      origin: 'gw/sluice',
      get size() {
        return sink.size;
      },
      read: (index) => presentOrGone(sink.read(index)),
      recall: (session, before) => present(sink.recall(session, before)),
    },
    dir: join(dir, 'export'),
    version: '0',
    logger: { warn: log, error: log },
  });
};
const stop = async (): Promise<void> => {
  await exporter?.close();
  exporter = undefined;
};
const delivered = async (): Promise<void> => {
  await expect.poll(() => exporter?.status[0]?.next, { timeout: 15_000 }).toBe(sink.size);
};
/** By what was taken: the text of each event, by its index. */
const taken = (): Map<number, string> =>
  new Map(
    siem.received.flatMap(({ body }) => body.trimEnd().split('\n')).map((line) => [JSON.parse(line).metadata.sequence, line] as const),
  );

/** Everything of before yesterday goes, as the service lets it go. */
const sweep = async (): Promise<number> => {
  await parts.log().publish();
  const { deleted, single } = await new Retention({
    objects: parts.objects,
    ages: { events: DAY_MS, payloads: DAY_MS },
    held: () => false,
    undisturbed: (work) => parts.log().undisturbed(work),
    forget: async (from, to) => void (await sink.forget(from, to)),
    record: (going) => tell('', 0, bodyOf('notice', { notice: DELETED_NOTICE, text: noticeText(going) })),
  }).sweep();
  await parts.log().publish();
  return deleted + single;
};
let number = 0;
const filler = async (daysAgo: number, count: number): Promise<void> => {
  for (let n = 0; n < count; n += 1)
    await tell(`ses_${(number += 1)}`, daysAgo, opened('corp:other'), bodyOf('session_closed', { outcome: 'complete' }));
};
/** A session among others, in a bundle of old events. @returns the index of its first event */
const old = async (): Promise<number> => {
  await filler(3, 140);
  const first = sink.size;
  await tell('ses_old', 3, opened('corp:agent-7'), judged);
  await filler(3, 140);
  return first;
};
const LATE: readonly TapBody[] = [
  bodyOf('command_finished', { outcome: 'complete', tag: 'SELECT 1', statement: 'SELECT 1' }),
  bodyOf('envoy_access_log', { method: 'GET', path: '/late', status: 200 }),
];

it('takes what comes late to a session whose beginning was deleted: delivered once, with what the record still has', async () => {
  const first = await old();
  start();
  await delivered();
  await stop();
  expect(taken().get(first)).toContain('corp:agent-7');
  expect(await sweep()).toBeGreaterThan(0);
  const index = sink.size;
  await tell('ses_old', 0, ...LATE);
  const before = siem.received.length;
  start();
  await delivered();
  const late = siem.received.slice(before).flatMap(({ body }) => body.trimEnd().split('\n'));
  expect(late.map((line) => JSON.parse(line).metadata.sequence).filter((at) => at >= index)).toEqual([index, index + 1]);
  expect(late.join('\n')).toContain('ses_old');
  // Who it was has gone with the opening, and nothing tells it again.
  expect(late.join('\n')).not.toContain('corp:agent-7');
  expect(exporter?.status[0]).toMatchObject({ missed: 0, failure: '' });
  expect(said).toEqual([]);
});

it('takes what comes late while it runs, whatever goes meanwhile', async () => {
  await old();
  start();
  await delivered();
  await sweep();
  const index = sink.size;
  await tell('ses_old', 0, ...LATE, bodyOf('session_closed', { outcome: 'unknown' }));
  await delivered();
  expect([...taken().keys()].filter((at) => at >= index)).toEqual([index, index + 1, index + 2]);
  expect(said).toEqual([]);
});

it('says what was deleted before a receiver that was away had it, in the middle of what it gets as well, and goes on', async () => {
  away = true;
  start();
  // The first bundle has the notice of the opening, which is of now.
  await filler(3, 10);
  await old();
  await tell('ses_new', 0, opened('corp:agent-8'), judged);
  await stop();
  said.length = 0;
  expect(await sweep()).toBeGreaterThan(0);
  await tell('ses_old', 0, ...LATE);
  away = false;
  start();
  await delivered();
  const here: number[] = [];
  for await (const leaf of presentOrGone(sink.read(0)))
    if (leaf.gone === undefined && (KINDS as readonly string[]).includes(decodeEvent(leaf.bytes).body.kind)) here.push(leaf.index);
  expect([...taken().keys()].sort((a, b) => a - b)).toEqual(here);
  let gone = 0;
  for await (const leaf of presentOrGone(sink.read(0)))
    if (leaf.gone !== undefined && (KINDS as readonly string[]).includes(leaf.gone)) gone += 1;
  expect(gone).toBeGreaterThan(200);
  await expect.poll(() => exporter?.status[0]?.missed).toBe(gone);
  expect(said.length).toBeGreaterThan(0);
  for (const [, message] of said) expect(message).toBe('EVENTS WERE DELETED FROM THE RECORD BEFORE THEY WERE EXPORTED');
});
