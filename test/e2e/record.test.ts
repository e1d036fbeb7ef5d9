/** Recorded payload through the real Envoy, service and PostgreSQL: what the client got is what the record has, masked, up to the limit. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { classOf } from '../../authz-service/log/leaf.ts';
import { LogReader } from '../../authz-service/log/reader.ts';
import { timeline } from '../../authz-service/replay/play.ts';
import type { ReplayedEvent } from '../../authz-service/replay/tell.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import { decodeEvent } from '../../authz-service/tap/event.ts';
import { kindOf } from '../../authz-service/tap/leaf_kind.ts';
import { Ledger } from './postgres.fixture.ts';
import { message, query, Wire } from './postgres_wire.fixture.ts';
import { SECRETS } from './sluice.fixture.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));
const LIMIT = 2000;

let ledger: Ledger;
beforeAll(async () => {
  ledger = await Ledger.start((document, dir) => {
    const file = join(dir, 'grants.yaml');
    const grants = parse(readFileSync(file, 'utf8'));
    const { targets } = parse(readFileSync(new URL('../../demo/grants.yaml', import.meta.url), 'utf8'));
    grants.targets.demo = targets.demo;
    const recorded = { oblige: { type: 'record', payload: 'masked' } };
    for (const target of Object.values(grants.targets) as { obligations: object[] }[]) target.obligations.push(recorded);
    writeFileSync(file, stringify(grants));
    document.tap = { ...document.tap };
    document.tap.retention = {
      events: '400d',
      payloads: '90d',
      kinds: { request_bodies: '30d', rows: '7d', copied_rows: '1d' },
      every: '1s',
    };
    for (const target of document.targets) target.record = { max_request: '1KiB', max_response: `${LIMIT}B` };
  });
}, 60_000);
afterAll(() => ledger?.close());

interface Chunk {
  readonly direction: string;
  readonly data: string;
  readonly last: boolean;
  readonly truncated: boolean;
  readonly contentType: string;
  readonly reason: string;
}

function bodyOf(events: readonly Record<string, unknown>[], direction: string) {
  const chunks = events
    .flatMap(({ kind, body }) => (kind === 'payload_chunk' ? [body as Chunk] : []))
    .filter((one) => one.direction === direction);
  const { last, truncated, reason } = chunks.at(-1) ?? {};
  return {
    bytes: Buffer.concat(chunks.map(({ data }) => Buffer.from(data, 'base64'))),
    type: chunks[0]?.contentType,
    last,
    truncated,
    reason,
  };
}

const shown = (events: readonly Record<string, unknown>[]): string => timeline('s', events as unknown as ReplayedEvent[]);

const newest = async (target: string): Promise<string> => {
  const token = await ledger.sluice.approver('olga', ['audit']);
  return JSON.parse((await ledger.sluice.admin('GET', `/v1/sessions?target=${target}&limit=1`, token)).text).sessions[0].id;
};

test('HTTP: a response as the client got it, and a replay that shows it', async () => {
  const { sluice } = ledger;
  const reply = await sluice.ask('/customers', { token: await sluice.token(), headers: { 'accept-encoding': 'gzip' } });
  const events = await sluice.events(String(reply.headers['x-sluice-session']));
  expect(bodyOf(events, 'response')).toMatchObject({ bytes: Buffer.from(reply.text), last: true, truncated: false });
  expect(shown(events)).toContain('Ada Byron');
  for (const secret of SECRETS) expect(JSON.stringify(events) + shown(events)).not.toContain(secret);
});

test('HTTP: a request is recorded masked; neither token nor credential is', async () => {
  const { sluice } = ledger;
  const token = await sluice.token();
  const body = JSON.stringify({ text: 'card 4111 1111 1111 1111', password: 'hunter2' });
  const reply = await sluice.ask('/tickets', { method: 'POST', token, headers: { 'content-type': 'application/json' }, body });
  expect(reply.status).toBe(201);
  const events = await sluice.events(String(reply.headers['x-sluice-session']));
  const { bytes, last } = bodyOf(events, 'request');
  // By the policy's own detector, which leaves the last digits, and by what the gateway masks in all that it records.
  expect(JSON.parse(bytes.toString())).toEqual({ text: expect.stringMatching(/^card [*]+ ?1111$/), password: '*******' });
  expect(last).toBe(true);
  const all = Buffer.from(JSON.stringify(events)).toString() + shown(events);
  for (const secret of [token, 'the-targets-own-secret']) expect(all).not.toContain(secret);
});

test('PostgreSQL: rows as the client got them, and a replay that shows them as a table', async () => {
  const client = await ledger.connect();
  const { rows } = await client.query('SELECT id, name, ssn FROM customers ORDER BY id LIMIT 3');
  await client.query('SELECT id FROM customers WHERE id = $1', [1]);
  await client.end();
  const events = await ledger.sluice.events(await newest('ledger'));
  const text = shown(events);
  const [first] = rows as { id: number; name: string; ssn: string }[];
  expect(text).toMatch(new RegExp(`${first?.id} +\\| ${first?.name} *\\| \\*{11}`));
  expect(text.match(/response: .*the end/g)?.length).toBe(2);
  for (const secret of ledger.secrets) expect(text + JSON.stringify(events)).not.toContain(secret);
});

test('PostgreSQL: a long result is recorded up to the limit, and the client gets all of it', async () => {
  const client = await ledger.connect();
  const { rows } = await client.query("SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 5000) n");
  await client.end();
  expect(rows.length).toBe(5000);
  const { bytes, ...end } = bodyOf(await ledger.sluice.events(await newest('ledger')), 'response');
  expect(bytes.length).toBe(LIMIT);
  expect(end).toEqual({
    type: 'application/vnd.sluice.postgres',
    last: false,
    truncated: true,
    reason: 'longer than what is recorded of a body',
  });
});

test('each payload stands beside its leaf as what it is, and has the age of its kind', async () => {
  const { sluice } = ledger;
  const wire = await new Wire(ledger.port).logIn(await sluice.token());
  wire.send(query('COPY scratch FROM STDIN'));
  await wire.until(() => wire.of('G').length > 0);
  wire.send(message('d', [Buffer.from('1\tcopied\n')]), message('c'));
  await wire.until(() => wire.of('C').length > 0);
  wire.end();
  const log = new LogReader(localFiles(join(sluice.dir, 'state/tap/log')));
  const found = new Map<string, Set<string>>();
  const look = async (): Promise<void> => {
    found.clear();
    const { size } = (await log.checkpoint()) ?? { size: 0 };
    for await (const { leaf, detail } of log.read(0, size, size)) {
      if (kindOf(leaf.kind) !== 'payload_chunk' || detail === undefined) continue;
      const { body, command } = decodeEvent(detail.event);
      const { direction } = body as unknown as { readonly direction: string };
      const of = `${direction} ${command === undefined ? 'as a whole' : 'of a command'} on ${leaf.target}`;
      found.set(classOf(leaf.kind), (found.get(classOf(leaf.kind)) ?? new Set()).add(of));
    }
  };
  for (const deadline = Date.now() + 30_000; found.size < 4 && Date.now() < deadline; await sleep(200)) await look().catch(() => {});
  expect(Object.fromEntries([...found].map(([kind, of]) => [kind, [...of]]))).toEqual({
    request_bodies: ['request as a whole on demo'],
    response_bodies: ['response as a whole on demo'],
    rows: ['response of a command on ledger'],
    copied_rows: ['request of a command on ledger'],
  });
  const auditor = await sluice.approver('olga', ['audit']);
  const state = async () => JSON.parse((await sluice.admin('GET', '/v1/retention', auditor)).text);
  for (const deadline = Date.now() + 30_000; (await state()).plan.length < 6; await sleep(200))
    if (Date.now() > deadline) throw new Error('there is no plan');
  const DAY = 86_400;
  const { kept_seconds: kept, plan } = await state();
  expect(kept).toEqual({
    events: 400 * DAY,
    payloads: 90 * DAY,
    request_bodies: 30 * DAY,
    response_bodies: 90 * DAY,
    rows: 7 * DAY,
    copied_rows: DAY,
  });
  const env = { ...process.env, SLUICE_TOKEN: auditor };
  const said = execFileSync(SLUICE, ['retention'], { cwd: sluice.dir, env, encoding: 'utf8' });
  expect(said).toContain(
    'Events are kept for 400d, request_bodies for 30d, response_bodies for 90d, rows for 7d, copied_rows for 1d, payloads of no known kind for 90d;',
  );
  expect(said).toMatch(/\n {2}rows: the next go not before 2\d{3}-[-\dT:.]+Z\.\n/);
  for (const { class: of, not_before: at } of plan as { class: string; not_before?: string }[])
    if (of === 'payloads') expect(at).toBeUndefined();
    else expect(Math.abs(Date.parse(at as string) / 1000 - Date.now() / 1000 - kept[of])).toBeLessThan(600);
});
