/** What the record has of sessions whose service was killed, with kill -9, while what they had asked for was on the way. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { Ledger } from '../e2e/postgres.fixture.ts';
import { query, Wire } from '../e2e/postgres_wire.fixture.ts';
import { type Document, type Reply, SECRETS, Sluice } from '../e2e/sluice.fixture.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Obliges every target of the grants to record payload. */
const recorded = (document: Document, dir: string): void => {
  const grants = parse(readFileSync(document.policy.data, 'utf8'));
  for (const target of Object.values(grants.targets) as { obligations: object[] }[])
    target.obligations.push({ oblige: { type: 'record', payload: 'masked' } });
  document.policy.data = join(dir, 'recorded.yaml');
  writeFileSync(document.policy.data, stringify(grants));
};

/** What the command tells an auditor. */
const told = async (sluice: Sluice, ...args: string[]): Promise<string> => {
  const token = await sluice.approver('olga', ['audit']);
  const env = { ...process.env, SLUICE_TOKEN: token, SLUICE_ADMIN: '', SLUICE_CONFIG: join(sluice.dir, 'sluice.yaml'), NO_COLOR: '1' };
  return new Promise((resolve, reject) => {
    execFile(SLUICE, args, { env, maxBuffer: 1 << 26 }, (error, out, err) => (error ? reject(new Error(`${out}${err}`)) : resolve(out)));
  });
};

/** The record is whole, and nobody has let go of anything; with what is told of it. */
const verified = async (sluice: Sluice): Promise<void> => {
  // Publication is a second behind.
  await expect.poll(async () => JSON.parse(await told(sluice, 'verify', '--json')).verified, { timeout: 30_000 }).toBe(true);
};

interface Chunk {
  readonly data: string;
  readonly last: boolean;
}

/** What of a response is in the record, and whether all of it is. */
const responseOf = (events: readonly Record<string, unknown>[]): { bytes: Buffer; whole: boolean } => {
  const chunks = events.filter(({ kind }) => kind === 'payload_chunk').map(({ body }) => body as Chunk);
  return { bytes: Buffer.concat(chunks.map(({ data }) => Buffer.from(data, 'base64'))), whole: chunks.at(-1)?.last === true };
};
/** Of recorded messages of PostgreSQL those that the client got: without those by which the record marks columns. */
const received = (bytes: Buffer): Buffer => {
  const parts: Buffer[] = [];
  for (let at = 0, end = 0; at < bytes.length; at = end) {
    end = at + 5 > bytes.length ? bytes.length : at + 1 + bytes.readUInt32BE(at + 1);
    if (bytes.toString('latin1', at, at + 1) !== 'm') parts.push(bytes.subarray(at, end));
  }
  return Buffer.concat(parts);
};
const outcomeOf = (events: readonly Record<string, unknown>[]): unknown =>
  (events.findLast(({ kind }) => kind === 'session_closed')?.body as { outcome: unknown } | undefined)?.outcome;

/** A gateway before a target whose responses to /tickets/NAME go on as the test says. */
const slow = async () => {
  const responses = new Map<string, ServerResponse>();
  const sluice = await Sluice.start(recorded, (request, response) => {
    const [, name = ''] = /^\/tickets\/([a-z]+)$/.exec(request.url ?? '') ?? [];
    if (name === '') return false;
    response.setHeader('content-type', 'application/json').write('[{"text":"before","ssn":"536-22-8134"},');
    responses.set(name, response);
    return true;
  });
  closing.push(() => sluice.close());
  const token = await sluice.token();
  /** Resolves when the client has the first part. */
  const ask = async (name: string) => {
    let text = '';
    const left = new AbortController();
    const reply = sluice.ask(`/tickets/${name}`, { token, signal: left.signal, onData: (chunk) => (text += chunk) });
    reply.catch(() => {});
    await expect.poll(() => text, { timeout: 15_000 }).toContain('before');
    return { reply, leave: () => left.abort(), response: responses.get(name) as ServerResponse, text: () => text };
  };
  const sessionOf = async (name: string): Promise<string> => {
    const { sessions } = JSON.parse((await sluice.admin('GET', '/v1/sessions', await sluice.approver('olga', ['audit']))).text);
    return sessions.find(({ request }: { request: string }) => request === `GET /tickets/${name}`)?.id;
  };
  return { sluice, ask, sessionOf };
};
const unleaked = (text: string): void => expect(SECRETS.filter((secret) => text.includes(secret))).toEqual([]);

/** More than the buffers on the way hold. */
const MANY = "SELECT c.ssn, repeat('x', 300) FROM customers c, generate_series(1, 500) g";
const ROWS = 120 * 500;
/** Takes the server some seconds. */
const LONG = 'SELECT count(*) AS n FROM customers a, customers b, customers c, generate_series(1, 30) g';
const RUNNING = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = 'gateway' AND state = 'active'";

const BEFORE = '[{"text":"before","ssn":null},';

test('the service is killed in mid-response: the client gets the rest masked or a clear cut, and the record has it all', async () => {
  const { sluice, ask, sessionOf } = await slow();
  const [whole, broken, left] = [await ask('whole'), await ask('broken'), await ask('left')];
  await sluice.stopService('SIGKILL');
  for (const { response } of [whole, broken, left]) response.write('{"text":"meanwhile","ssn":"536-22-8134"},');
  await expect.poll(() => [whole, broken, left].every(({ text }) => text().includes('meanwhile')), { timeout: 30_000 }).toBe(true);
  whole.response.end('{"text":"the end","ssn":"219-09-9999"}]');
  broken.response.destroy();
  left.leave();
  const replies: Reply[] = [await whole.reply, await broken.reply];
  const [all, part] = [
    `${BEFORE}{"text":"meanwhile","ssn":null},{"text":"the end","ssn":null}]`,
    `${BEFORE}{"text":"meanwhile","ssn":null},`,
  ];
  expect(replies.map(({ status, text, cut }) => ({ status, text, cut }))).toEqual([
    { status: 200, text: all, cut: false },
    { status: 200, text: part, cut: true },
  ]);
  await sluice.startService();

  const list = async () => told(sluice, 'sessions');
  for (const [name, text, outcome] of [
    ['whole', all, 'complete'],
    ['broken', part, 'failed'],
    ['left', part, 'cancelled'],
  ] as const) {
    const session = await sessionOf(name);
    const events = await sluice.events(session);
    expect([name, responseOf(events), outcomeOf(events)]).toEqual([name, { bytes: Buffer.from(text), whole: text === all }, outcome]);
    expect(await list()).toMatch(new RegExp(`^${session} .*GET /tickets/${name} .*${outcome}$`, 'm'));
    const replay = await told(sluice, 'replay', session);
    expect(replay).toContain('"text":"meanwhile"');
    if (text !== all) expect(replay).toContain(`(response: recorded up to byte ${part.length}, which is not its end)`);
    unleaked(replay + JSON.stringify(events));
    // What the filter held while the service was away stands before the end that it told.
    expect(events.at(-1)).toMatchObject({ kind: 'session_closed', body: { events: events.length } });
    await expect
      .poll(() => told(sluice, 'verify', session), { timeout: 30_000 })
      .toContain(`complete: ${events.length} of ${events.length} events, none can follow its end (${outcome})`);
  }
  await verified(sluice);
});

test('service and Envoy are killed in mid-response: what was told stands, its end is said to be unknown', async () => {
  const { sluice, ask } = await slow();
  const { reply, text } = await ask('lost');
  await sluice.events(
    await sluice
      .admin('GET', '/v1/sessions', await sluice.approver('olga', ['audit']))
      .then(({ text: json }) => JSON.parse(json).sessions[0].id),
    'payload_chunk',
  );
  await sluice.stopService('SIGKILL');
  process.kill(sluice.envoy.pid, 'SIGKILL');
  const { status, cut, headers } = await reply;
  expect([status, cut, text()]).toEqual([200, true, BEFORE]);
  await sluice.startService();
  const session = String(headers['x-sluice-session']);
  expect(await told(sluice, 'replay', session)).toContain('"text":"before"');
  await expect
    .poll(async () => outcomeOf(await sluice.events(session, 'session_opened')), { timeout: 45_000, interval: 500 })
    .toBe('unknown');
  const events = await sluice.events(session);
  expect(responseOf(events)).toEqual({ bytes: Buffer.from(BEFORE), whole: false });
  await expect
    .poll(() => told(sluice, 'verify', session), { timeout: 30_000 })
    .toMatch(/session +its end was never told, and recorded as unknown: \d+ events from its opening to its end/);
  expect(await told(sluice, 'replay', session)).toMatch(/closed: unknown\n +\(response: recorded up to byte 30, which is not its end\)/);
  await verified(sluice);
});

test('the service is killed in mid-statement and in mid-result: clients get it all masked, the record has it up to the limit, and nothing follows', async () => {
  const ledger = await Ledger.start((document, dir) => {
    recorded(document, dir);
    for (const target of document.targets) target.record = { max_response: '20KiB' };
  });
  closing.push(() => ledger.close());
  const { sluice } = ledger;
  const client = new Wire(ledger.port);
  closing.push(() => client.end());
  await client.logIn(await sluice.token());
  client.forget();
  const busy = await ledger.connect();
  closing.push(() => busy.end().catch(() => {}));
  busy.on('error', () => {});
  const counted = busy.query(LONG);
  await expect.poll(async () => (await ledger.query(RUNNING)).rows[0].n, { timeout: 30_000 }).toBe(1);
  client.send(query(MANY));
  await client.until(() => client.of('D').length > 0, 30_000);
  client.socket.pause();
  await sluice.stopService('SIGKILL');
  expect(client.of('D').length).toBeLessThan(ROWS);
  client.socket.resume();
  await client.until(() => client.of('Z').length > 0, 60_000);
  expect(client.of('D')).toHaveLength(ROWS);
  expect([...ledger.secrets].filter((secret) => client.bytes.includes(secret))).toEqual([]);
  const rows = client.bytes;
  expect((await counted).rows).toEqual([{ n: String(120 ** 3 * 30) }]);
  await sluice.startService();

  const { sessions } = JSON.parse((await sluice.admin('GET', '/v1/sessions?target=ledger', await sluice.approver('olga', ['audit']))).text);
  const of = async (rest: string): Promise<[string, Record<string, unknown>[]]> => {
    const { id } = sessions.find(({ request }: { request: string }) => request.includes(rest));
    return [id, await sluice.events(id, 'command_finished')];
  };
  const [, ran] = await of('generate_series(1, 30)');
  expect(ran.find(({ kind }) => kind === 'command_finished')?.body).toMatchObject({ outcome: 'complete', rows: 1 });
  expect(responseOf(ran)).toMatchObject({ whole: true });
  const [session, events] = await of('generate_series(1, 500)');
  const { bytes, whole } = responseOf(events);
  expect([bytes.length, whole]).toEqual([20 * 1024, false]);
  const got = received(bytes);
  expect([got.length > 19 * 1024, got.equals(rows.subarray(0, got.length))]).toEqual([true, true]);
  expect(events.find(({ kind }) => kind === 'command_finished')?.body).toMatchObject({ outcome: 'complete', rows: ROWS });
  const replay = await told(sluice, 'replay', session);
  expect(replay).toContain('not recorded further: longer than what is recorded of a body');
  expect(await told(sluice, 'sessions')).toContain(session);
  for (const secret of ledger.secrets) expect(replay).not.toContain(secret);
  // The service has forgotten what the session was let into: it can only end.
  client.forget();
  client.send(query('SELECT 1'));
  await client.until(() => client.of('E').length > 0 || client.closed, 30_000);
  expect(client.of('D')).toEqual([]);
  await verified(sluice);
});
