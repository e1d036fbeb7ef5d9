/** Recorded payload through the real Envoy, service and PostgreSQL: what the client got is what the record has, masked, up to the limit. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { timeline } from '../../authz-service/replay/play.ts';
import type { ReplayedEvent } from '../../authz-service/replay/tell.ts';
import { Ledger } from './postgres.fixture.ts';
import { SECRETS } from './sluice.fixture.ts';

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
