import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agent, type Bench, bench, heldRequest, person } from '../approval/approvals.fixture.ts';
import type { Identity } from '../decision/request.ts';
import { refuse } from '../identity/refusal.ts';
import type { TokenVerifier } from './access.ts';
import type { AdminSources, RetentionState, SessionFilter } from './api.ts';
import { Health } from './health.ts';
import { approvalMetrics, Metrics } from './metrics.ts';
import { type Admin, type AdminOptions, createAdmin } from './server.ts';

const TOKENS: Record<string, { identity: Identity; onBehalfOf?: string }> = {
  dana: { identity: person('dana', 'leads') },
  alex: { identity: person('alex', 'leads') },
  'agent-for-alex': { identity: { ...person('agent-9', 'leads'), kind: 'workload' }, onBehalfOf: 'corp:alex' },
  eve: { identity: person('eve', 'support') },
  auditor: { identity: person('olga', 'audit') },
  agent: { identity: { ...agent, groups: ['leads'] } },
};

const verifier: TokenVerifier = {
  verify: (token) => {
    if (token === 'cut-off') return Promise.resolve(refuse('issuer_unavailable', "The issuer's keys cannot be fetched."));
    if (token === 'overage') return refuse('group_overage', 'The token has too many groups.');
    const known = TOKENS[token];
    if (!known) return Promise.resolve(refuse('signature_invalid', 'The signature is not of "the" issuer.'));
    return { ok: true, identity: known.identity, run: { id: '', onBehalfOf: known.onBehalfOf ?? '' }, expiresAt: Date.now() + 60_000 };
  },
};

const EVENTS = [
  {
    emitter: 'e1',
    sequence: 1n,
    timeUnixNanos: 1772366400000000001n,
    session: 's1',
    body: { kind: 'session_opened', identity: 'corp:agent-7' },
  },
  {
    emitter: 'e1',
    sequence: 2n,
    timeUnixNanos: 1772366400000000002n,
    session: 's1',
    body: { kind: 'payload_chunk', data: Buffer.from('ok'), more: new Uint8Array([1, 2]) },
  },
];

let directory: string;
let self: Bench;
let admin: Admin;
let options: AdminOptions;
let socket: string;
let filters: SessionFilter[];
let errors: object[];
let holds: Map<string, { session: string; by: string; reason: string; at: string }>;
let unrecorded: boolean;
let retention: RetentionState | undefined;

const start = async (changes: Partial<AdminOptions> = {}): Promise<void> => {
  admin = createAdmin({ ...options, ...changes });
  await admin.listen({ socket });
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'admin-'));
  socket = join(directory, 'admin.sock');
  self = await bench();
  [filters, errors] = [[], []];
  [holds, unrecorded, retention] = [new Map(), false, undefined];
  const sessions: AdminSources['sessions'] = {
    list: (filter) => {
      filters.push(filter);
      return [{ id: 's1', target: 'demo' }];
    },
    events: async (id) => (id === 's1' ? EVENTS : undefined),
  };
  options = {
    approvals: self.approvals,
    record: {
      origin: 'gateway.example/sluice',
      size: 4,
      async *read(index) {
        // More than is durable, as when it grows in the meantime.
        for (let at = index; at < 6; at += 1) yield { index: at, bytes: Buffer.from([at]) };
      },
      async *recall(session, before) {
        if (session === 's 1') for (const at of [0, 2]) if (at < before) yield { index: at, bytes: Buffer.from([at]) };
      },
    },
    sessions,
    runs: {
      list: async (filter) => {
        filters.push(filter);
        return { runs: [{ run: 'run-1' }], more: 3 };
      },
      detail: async (run, within) => (run === 'run 1' ? { run, within } : undefined),
    },
    metrics: new Metrics(),
    health: new Health(),
    auditors: ['group:audit'],
    custodians: ['group:leads'],
    clock: {
      state: () => retention && { suspended: undefined, stalled: undefined, aheadMs: 500 },
      retention: () => retention as RetentionState,
      confirm: async () => retention !== undefined,
    },
    legalHolds: {
      list: () => [...holds.values()],
      add: async (session, by, reason) => {
        if (unrecorded) throw new Error('the disk is full');
        const hold = { session, by, reason, at: '2026-01-01T00:00:00.000Z' };
        holds.set(session, hold);
        return hold;
      },
      release: async (session) => holds.delete(session),
    },
    verifier,
    logger: { error: (fields) => errors.push(fields) },
  };
  await start();
});

afterEach(async () => {
  await admin.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // Whatever the route says; each test names what it looks at.
  // biome-ignore lint/suspicious/noExplicitAny: a test's view of JSON
  readonly json: any;
}

const call = (
  method: string,
  path: string,
  { token = '', body, headers = {} }: { token?: string; body?: unknown; headers?: Record<string, string | string[]> } = {},
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const sent = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const request = httpRequest(
      {
        socketPath: socket,
        method,
        path,
        headers: {
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...(sent === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const json = response.headers['content-type']?.includes('json') ? JSON.parse(text) : undefined;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
        });
      },
    );
    request.on('error', reject);
    request.end(sent);
  });

const hold = async (changes: Parameters<typeof heldRequest>[0] = {}): Promise<string> =>
  (await self.approvals.hold(heldRequest(changes))).id;

describe('who is asking', () => {
  it.each([
    ['GET', '/v1/approvals'],
    ['GET', '/v1/approvals/apr_x'],
    ['POST', '/v1/approvals/apr_x/answer'],
    ['GET', '/v1/sessions'],
    ['GET', '/v1/sessions/s1'],
  ])('has to be proved, on the Unix socket too: %s %s', async (method, path) => {
    const { status, headers, json } = await call(method, path);
    expect([status, headers['www-authenticate'], headers['content-type']]).toEqual([
      401,
      'Bearer realm="sluice admin"',
      'application/problem+json',
    ]);
    expect(json).toMatchObject({ type: 'urn:sluice:problem:token_missing', status: 401 });
    expect((await call(method, path, { token: 'forged' })).status).toBe(401);
  });

  it('is told what is wrong with its token, and nothing of the token', async () => {
    const { headers, text } = await call('GET', '/v1/approvals', { token: 'forged-secret' });
    expect(headers['www-authenticate']).toContain('error="invalid_token"');
    expect(text).not.toContain('forged-secret');
    expect((await call('GET', '/v1/approvals', { token: 'overage' })).json).toMatchObject({ status: 403, reason: 'group_overage' });
    const away = await call('GET', '/v1/approvals', { token: 'cut-off' });
    expect([away.status, away.headers['retry-after']]).toEqual([503, '5']);
    const twice = await call('GET', '/v1/approvals', { headers: { Authorization: ['Bearer dana', 'Bearer alex'] } });
    expect(twice.status).toBe(401);
  });
});

describe('approvals', () => {
  it('are listed for those who may answer them and for auditors, newest first, by state', async () => {
    const first = await hold();
    await self.clock.advance(1000);
    const second = await hold({ terms: { approvers: ['identity:corp:alex'], quorum: 1, ttlMs: 60_000 } });
    const listed = async (token: string, query = ''): Promise<string[]> =>
      (await call('GET', `/v1/approvals${query}`, { token })).json.approvals.map(({ id }: { id: string }) => id);
    expect(await listed('dana')).toEqual([first]);
    expect(await listed('alex')).toEqual([second, first]);
    expect(await listed('auditor')).toEqual([second, first]);
    expect(await listed('eve')).toEqual([]);
    await self.approvals.answer(first, { identity: person('dana', 'leads'), onBehalfOf: '' }, 'deny', 'no');
    expect(await listed('auditor', '?state=pending')).toEqual([second]);
    expect(await listed('auditor', '?state=denied')).toEqual([first]);
    for (const query of ['?state=open', '?status=pending', '?state=pending&state=denied'])
      expect((await call('GET', `/v1/approvals${query}`, { token: 'auditor' })).status).toBe(400);
  });

  it('show all that an approver decides on', async () => {
    const id = await hold();
    const { json } = await call('GET', `/v1/approvals/${id}`, { token: 'dana' });
    expect(json).toEqual({
      id,
      state: 'pending',
      held: '2026-03-01T12:00:00.000Z',
      expires: '2026-03-01T12:01:00.000Z',
      session: 's1',
      target: 'demo',
      summary: 'DELETE /customers/7',
      rule: 'destructive-needs-approval',
      reason: 'Deleting a customer needs an approval',
      identity: { id: 'corp:agent-7', name: 'agent-7', kind: 'workload', client: 'agent' },
      run: { id: 'run-1', on_behalf_of: '', source: 'none' },
      approvers: ['group:leads'],
      quorum: 1,
      approvals: 0,
      answers: [],
      masked_input: { request: { method: 'DELETE' } },
    });
  });

  it('are to others as if there were none; the agent sees the state of its own', async () => {
    const id = await hold({ terms: { approvers: ['identity:corp:alex'], quorum: 1, ttlMs: 60_000 } });
    const hidden = await call('GET', `/v1/approvals/${id}`, { token: 'eve' });
    expect([hidden.status, hidden.json.detail]).toEqual([
      404,
      (await call('GET', '/v1/approvals/apr_0000000000', { token: 'eve' })).json.detail,
    ]);
    expect((await call('POST', `/v1/approvals/${id}/answer`, { token: 'eve', body: { verdict: 'approve' } })).status).toBe(404);
    const own = await call('GET', `/v1/approvals/${id}`, { token: 'agent' });
    expect(Object.keys(own.json).sort()).toEqual(['expires', 'id', 'reason', 'retry_after', 'rule', 'state']);
  });

  it('are answered once: then everybody is told by whom', async () => {
    const handle = await self.approvals.hold(heldRequest());
    const answered = await call('POST', `/v1/approvals/${handle.id}/answer`, {
      token: 'dana',
      body: { verdict: 'approve', reason: 'go on' },
    });
    expect(answered.json).toMatchObject({
      id: handle.id,
      state: 'used',
      approvals: 1,
      again: false,
      answers: [{ by: 'corp:dana', verdict: 'approve', reason: 'go on' }],
    });
    expect(await handle.outcome).toMatchObject({ state: 'approved', by: ['corp:dana'] });
    const late = await call('POST', `/v1/approvals/${handle.id}/answer`, { token: 'alex', body: { verdict: 'deny', reason: 'no' } });
    expect(late.json).toMatchObject({
      status: 409,
      type: 'urn:sluice:problem:ended',
      approval: handle.id,
      detail: expect.stringContaining('dana (corp:dana)'),
    });
  });

  it.each([
    ['the request’s own identity', 'agent', { verdict: 'approve' }, 403, 'own_request'],
    ['an auditor who is no approver', 'auditor', { verdict: 'approve' }, 403, 'not_approver'],
    ['an agent with an approver’s groups, on behalf of an approver', 'agent-for-alex', { verdict: 'approve' }, 403, 'delegated'],
    ['a denial without a reason', 'dana', { verdict: 'deny' }, 422, 'reason_required'],
    ['a reason without end', 'dana', { verdict: 'deny', reason: 'x'.repeat(1001) }, 422, 'reason_too_long'],
    ['a reason with control characters', 'dana', { verdict: 'deny', reason: '\u001b[2Jnothing to see' }, 400, 'bad_request'],
    ['a revocation of what is not approved', 'dana', { verdict: 'revoke', reason: 'no' }, 409, 'not_approved'],
    ['another verdict', 'dana', { verdict: 'APPROVE' }, 400, 'bad_request'],
    ['another member', 'dana', { verdict: 'approve', by: 'corp:alex' }, 400, 'bad_request'],
    ['no object', 'dana', 'null', 400, 'bad_request'],
    ['no JSON', 'dana', '{"verdict":', 400, 'bad_request'],
    ['too many bytes', 'dana', JSON.stringify({ verdict: 'deny', reason: 'x'.repeat(20_000) }), 413, 'body_too_large'],
  ])('are not answered by %s', async (_, token, body, status, code) => {
    const id = await hold();
    const { json } = await call('POST', `/v1/approvals/${id}/answer`, { token, body });
    expect(json).toMatchObject({ status, type: `urn:sluice:problem:${code}` });
    expect(self.approvals.get(id)?.progress).toEqual({ state: 'pending', answers: [] });
  });

  it('take no body of another type, none of unknown length that is too large, and say when an answer could not be recorded', async () => {
    const id = await hold();
    const path = `/v1/approvals/${id}/answer`;
    expect(
      (
        await call('POST', path, {
          token: 'dana',
          body: 'verdict=approve',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        })
      ).status,
    ).toBe(415);
    expect((await chunked(path, 40)).split(' ')[1]).toBe('413');
    self.tapFails = true;
    const failed = await call('POST', path, { token: 'dana', body: { verdict: 'approve' } });
    expect([failed.json.status, failed.json.type]).toEqual([503, 'urn:sluice:problem:not_durable']);
    expect(self.approvals.get(id)?.progress.state).toBe('pending');
  });
});

/** Sends `kilobytes` in chunks, and gives what comes back. */
const chunked = (path: string, kilobytes: number): Promise<string> =>
  exchange((client) => {
    client.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer dana\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    for (let sent = 0; sent < kilobytes; sent += 1) client.write(`400\r\n${'x'.repeat(1024)}\r\n`);
  });

const exchange = (speak: (client: Socket) => void): Promise<string> =>
  new Promise((resolve) => {
    let received = '';
    const client = connect(socket, () => speak(client));
    client.on('data', (bytes) => {
      received += bytes;
    });
    client.on('error', () => {});
    client.on('close', () => resolve(received));
  });

describe('sessions', () => {
  it('are for auditors', async () => {
    for (const path of ['/v1/sessions', '/v1/sessions/s1', '/v1/runs', '/v1/run?id=run-1'])
      expect((await call('GET', path, { token: 'dana' })).json).toMatchObject({ status: 403, type: 'urn:sluice:problem:forbidden' });
  });

  it('are listed by filters that are all checked', async () => {
    expect((await call('GET', '/v1/sessions', { token: 'auditor' })).json).toEqual({ sessions: [{ id: 's1', target: 'demo' }] });
    expect((await call('GET', '/v1/runs?target=demo', { token: 'auditor' })).json).toEqual({ runs: [{ run: 'run-1' }], more: 3 });
    expect(filters.pop()).toEqual({ target: 'demo', limit: 100 });
    expect((await call('GET', '/v1/run?id=run%201&target=demo', { token: 'auditor' })).json).toEqual({
      run: 'run 1',
      within: { target: 'demo' },
    });
    for (const wrong of ['id=a&id=b', 'id=a&limit=3', 'id=a&run=b', 'id=a&taget=x'])
      expect((await call('GET', `/v1/run?${wrong}`, { token: 'auditor' })).status, wrong).toBe(400);
    expect((await call('GET', '/v1/run?id=other', { token: 'auditor' })).status).toBe(404);
    await call(
      'GET',
      '/v1/sessions?identity=corp%3Aagent-7&target=demo&run=r1&effect=hold&answer=denied&statement=00ff&outcome=unknown&state=held&rule=r&approver=corp%3Adana&masked=**.ssn&since=2026-03-01T12:00:00Z&until=2026-03-02T12:00:00%2B01:00&limit=5',
      {
        token: 'auditor',
      },
    );
    expect(filters).toEqual([
      { limit: 100 },
      {
        identity: 'corp:agent-7',
        target: 'demo',
        effect: 'hold',
        answer: 'denied',
        statement: '00ff',
        run: 'r1',
        outcome: 'unknown',
        state: 'held',
        rule: 'r',
        approver: 'corp:dana',
        masked: '**.ssn',
        since: Date.parse('2026-03-01T12:00:00Z'),
        until: Date.parse('2026-03-02T11:00:00Z'),
        limit: 5,
      },
    ]);
    for (const query of [
      'limit=0',
      'limit=1001',
      'limit=1e2',
      'effect=maybe',
      'answer=perhaps',
      'since=yesterday',
      'since=2026',
      'identiy=x',
      'target=a&target=b',
    ])
      expect((await call('GET', `/v1/sessions?${query}`, { token: 'auditor' })).status).toBe(400);
    expect(filters.length).toBe(2);
  });

  it('show their events in order, 64-bit numbers as strings and bytes as base64', async () => {
    const { json, status } = await call('GET', '/v1/sessions/s1', { token: 'auditor' });
    expect(status).toBe(200);
    expect(json).toEqual({
      session: 's1',
      events: [
        {
          emitter: 'e1',
          sequence: '1',
          timeUnixNanos: '1772366400000000001',
          session: 's1',
          body: { kind: 'session_opened', identity: 'corp:agent-7' },
        },
        {
          emitter: 'e1',
          sequence: '2',
          timeUnixNanos: '1772366400000000002',
          session: 's1',
          body: { kind: 'payload_chunk', data: 'b2s=', more: 'AQI=' },
        },
      ],
    });
    expect((await call('GET', '/v1/sessions/s2', { token: 'auditor' })).status).toBe(404);
  });

  it('that break off while they are read do not look whole', async () => {
    await admin.close();
    const events = async function* (): AsyncGenerator<object> {
      yield* EVENTS;
      throw new Error('a damaged record');
    };
    await start({ sessions: { list: () => [], events } });
    await expect(call('GET', '/v1/sessions/s1', { token: 'auditor' })).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('health', () => {
  it('is asked of every part at every call', async () => {
    expect((await call('GET', '/healthz')).status).toBe(200);
    expect((await call('GET', '/readyz')).status).toBe(503);
    let full = false;
    options.health.check('policy', () => ({ ok: true }));
    options.health.check('tap', () => (full ? { ok: false, reason: 'the disk is full' } : { ok: true }));
    expect((await call('GET', '/readyz')).json).toEqual({
      ready: true,
      checks: [
        { name: 'policy', ok: true },
        { name: 'tap', ok: true },
      ],
    });
    full = true;
    const sick = await call('GET', '/readyz');
    expect([sick.status, sick.json.checks[1]]).toEqual([503, { name: 'tap', ok: false, reason: 'the disk is full' }]);
    full = false;
    options.health.check('worker', () => {
      throw new Error('gone');
    });
    expect((await call('GET', '/readyz')).json).toMatchObject({ ready: false });
  });

  it('ends with the first sign of a shutdown', async () => {
    options.health.check('policy', () => ({ ok: true }));
    options.health.stopping();
    expect((await call('GET', '/readyz')).status).toBe(503);
    expect((await call('GET', '/healthz')).status).toBe(200);
  });
});

it('exposes metrics to anybody who can connect', async () => {
  const { onEnded, watch } = approvalMetrics(options.metrics);
  watch(self.approvals);
  onEnded('denied', 3000);
  options.metrics.decided('allow', 'demo', 'read "all"');
  await hold();
  const { headers, text } = await call('GET', '/metrics');
  expect(headers['content-type']).toContain('text/plain');
  expect(text).toContain('sluice_holds_open 1\n');
  expect(text).toContain('sluice_holds_ended_total{state="denied"} 1\n');
  expect(text).toContain('sluice_decisions_total{effect="allow",target="demo",rule="read \\"all\\""} 1\n');
  expect(text).toContain('sluice_hold_seconds_bucket{le="5"} 1\n');
});

describe('the server', () => {
  it.each([
    ['GET', '/', 404],
    ['GET', '/v1/approvals/', 404],
    ['GET', '/v1/approvals/../sessions', 404],
    ['GET', '/v1/approvals/a%2Fb', 404],
    ['DELETE', '/v1/approvals', 405],
    ['GET', '/v1/approvals/apr_x/answer', 405],
    ['OPTIONS', '/v1/approvals', 405],
  ])('%s %s: %i', async (method, path, status) => {
    const reply = await call(method, path, { token: 'auditor' });
    if (status === 404) expect(reply.json.detail).toBe('There is nothing here.');
    expect([reply.status, reply.json.status, reply.headers['cache-control'], reply.headers['access-control-allow-origin']]).toEqual([
      status,
      status,
      'no-store',
      undefined,
    ]);
  });

  it('tells a client nothing of its own faults', async () => {
    await admin.close();
    await start({
      sessions: {
        list: () => {
          throw new Error('secret path');
        },
        events: () => undefined,
      },
    });
    const { json, text } = await call('GET', '/v1/sessions', { token: 'auditor' });
    expect(json).toMatchObject({ status: 500, type: 'urn:sluice:problem:internal' });
    expect(text).not.toContain('secret path');
    expect(errors.length).toBe(1);
  });

  it('ends a client that sends its request too slowly, or what is none', async () => {
    await admin.close();
    await start({ limits: { headersTimeout: 100, requestTimeout: 200, connectionsCheckingInterval: 50 } });
    const headers = exchange((client) => client.write('GET /healthz HTTP/1.1\r\nhost: x\r\n'));
    const body = exchange((client) =>
      client.write(
        'POST /v1/approvals/apr_x/answer HTTP/1.1\r\nhost: x\r\nauthorization: Bearer dana\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
      ),
    );
    expect((await headers).split(' ')[1]).toBe('408');
    await body;
    expect((await exchange((client) => client.write('\u0016\u0003\u0001\r\n\r\n'))).split(' ')[1]).toBe('400');
    expect((await exchange((client) => client.write(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`))).split(' ')[1]).toBe(
      '431',
    );
    expect((await call('GET', '/healthz')).status).toBe(200);
  });

  it('leaves its socket to its user and group, takes over one that nobody serves, and no other', async () => {
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    await expect(createAdmin(options).listen({ socket })).rejects.toThrow('in use by another process');
    const file = join(directory, 'file');
    writeFileSync(file, 'data');
    await expect(createAdmin(options).listen({ socket: file })).rejects.toThrow('no socket');
    const left = join(directory, 'left.sock');
    await leaveSocket(left);
    const second = createAdmin(options);
    await expect(second.listen({ socket: left })).resolves.toEqual({ socket: left });
    await second.close();
  });

  it('listens on a loopback address as well', async () => {
    const endpoint = await admin.listen({ host: '127.0.0.1', port: 0 });
    if (!('port' in endpoint)) throw new Error('no address');
    expect((await fetch(`http://127.0.0.1:${endpoint.port}/healthz`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${endpoint.port}/v1/approvals`)).status).toBe(401);
  });
});

/** A socket's file without a server, as a killed process leaves it. */
const leaveSocket = async (path: string): Promise<void> => {
  const { renameSync } = await import('node:fs');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.was`, resolve));
  renameSync(`${path}.was`, path);
  await new Promise((resolve) => server.close(resolve));
};

describe('the events of the record', () => {
  const events = async (query: string): Promise<unknown> => (await call('GET', `/v1/events${query}`, { token: 'auditor' })).json;

  it('are read by auditors from where they ask, as far as they are durable', async () => {
    const head = { origin: 'gateway.example/sluice', size: 4 };
    expect(await events('?from=2')).toEqual({
      ...head,
      events: [
        { index: 2, bytes: 'Ag==' },
        { index: 3, bytes: 'Aw==' },
      ],
    });
    expect(await events('?from=1&limit=1')).toEqual({ ...head, events: [{ index: 1, bytes: 'AQ==' }] });
    expect(await events('?from=4')).toEqual({ ...head, events: [] });
    expect(await events('?limit=0')).toEqual({ ...head, events: [] });
    expect(await events('?session=s%201&before=2')).toEqual({ ...head, events: [{ index: 0, bytes: 'AA==' }] });
    expect(await events('?session=none&before=2')).toEqual({ ...head, events: [] });
  });

  it('are nobody else’s to read, and asked for in whole numbers', async () => {
    expect((await call('GET', '/v1/events', { token: 'dana' })).status).toBe(403);
    for (const query of [
      '?from=-1',
      '?from=x',
      '?limit=10001',
      '?from=1&from=2',
      '?to=3',
      '?session=a',
      '?before=3',
      '?session=a&before=3&from=0',
      '?session=a&before=x',
    ])
      expect((await call('GET', `/v1/events${query}`, { token: 'auditor' })).status, query).toBe(400);
  });
});

describe('retention', () => {
  const show = (token: string) => call('GET', '/v1/retention', { token });
  const confirm = (token: string) => call('POST', '/v1/retention', { token, body: { change: 'confirm-clock', reason: 'looked' } });

  it('says what is kept for how long, what is held beyond that, what went last and when the next sweep is', async () => {
    expect((await show('auditor')).json).toEqual({ deletes: 'never', legal_holds: 0 });
    await call('POST', '/v1/legal-holds/s1', { token: 'dana', body: { change: 'add', reason: 'case 7' } });
    const at = Date.parse('2026-11-26T12:00:00Z');
    const last = { at, what: ['events older than 60d: leaves 256-511'] };
    const plan = {
      events: { held: 2, locked: 4, nextMs: at + 86_400_000 },
      rows: { held: 1, locked: 0, nextMs: undefined },
    };
    const ages = { events: 60 * 86_400_000, payloads: undefined, rows: 7 * 86_400_000 };
    retention = { ages, plan, held: 3, locked: 4, sweptAt: at, nextAt: at + 3_600_000, last };
    expect((await show('dana')).json).toEqual({
      deletes: 'when due',
      clock_ahead_seconds: 0.5,
      kept_seconds: { events: 5_184_000, rows: 604_800 },
      plan: [
        { class: 'events', not_before: '2026-11-27T12:00:00.000Z', held_bundles: 2, locked_objects: 4 },
        { class: 'rows', held_bundles: 1, locked_objects: 0 },
      ],
      legal_holds: 1,
      held_bundles: 3,
      locked_objects: 4,
      last_sweep: '2026-11-26T12:00:00.000Z',
      next_sweep: '2026-11-26T13:00:00.000Z',
      last_deleted: { at: '2026-11-26T12:00:00.000Z', what: last.what },
    });
    expect((await show('eve')).status).toBe(403);
  });

  it('lets custodians alone, in person, confirm the clock', async () => {
    const refused = await confirm('auditor');
    expect([refused.status, refused.json.detail]).toEqual([403, expect.stringMatching(/^Only custodians may confirm the clock: /)]);
    expect((await confirm('agent-for-alex')).json.type).toBe('urn:sluice:problem:delegated');
    expect((await confirm('dana')).status).toBe(404);
    retention = { ages: { events: 1 }, plan: {}, held: 0, locked: 0, sweptAt: undefined, nextAt: undefined, last: undefined };
    expect((await confirm('dana')).json).toEqual({ confirmed: true });
  });
});

describe('legal holds', () => {
  const change = (token: string, body: unknown, session = 's1') => call('POST', `/v1/legal-holds/${session}`, { token, body });

  it('are put on and taken off by custodians, in person and with a reason', async () => {
    const added = await change('dana', { change: 'add', reason: 'case 7' });
    expect([added.status, added.json]).toEqual([200, { session: 's1', by: 'corp:dana', reason: 'case 7', at: '2026-01-01T00:00:00.000Z' }]);
    for (const token of ['dana', 'auditor'])
      expect((await call('GET', '/v1/legal-holds', { token })).json.legal_holds.map(({ session }: { session: string }) => session)).toEqual(
        ['s1'],
      );
    expect((await change('dana', { change: 'release', reason: 'closed' })).json).toEqual({ session: 's1', released: true });
    expect((await change('dana', { change: 'release', reason: 'closed' })).status).toBe(404);
  });

  it.each([
    ['eve', 403, 'forbidden'],
    ['auditor', 403, 'forbidden'],
    ['agent-for-alex', 403, 'delegated'],
  ])('are not for %s', async (token, status, code) => {
    const refused = await change(token, { change: 'add', reason: 'x' });
    expect([refused.status, refused.json.type]).toEqual([status, `urn:sluice:problem:${code}`]);
    expect(holds.size).toBe(0);
  });

  it('are shown to nobody else', async () => {
    expect((await call('GET', '/v1/legal-holds', { token: 'eve' })).status).toBe(403);
  });

  it.each([
    [{}, 400],
    [{ change: 'add' }, 400],
    [{ change: 'add', reason: ' ' }, 400],
    [{ change: 'add', reason: 'a\nb' }, 400],
    [{ change: 'keep', reason: 'x' }, 400],
    [{ change: 'add', reason: 'x', until: 'never' }, 400],
    [{ change: 'add', reason: 'x'.repeat(1001) }, 422],
  ])('need more than %j', async (body, status) => {
    expect((await change('dana', body)).status).toBe(status);
  });

  it('are for sessions that are there, and say so when they could not be recorded', async () => {
    expect((await change('dana', { change: 'add', reason: 'x' }, 's2')).status).toBe(404);
    unrecorded = true;
    const failed = await change('dana', { change: 'add', reason: 'x' });
    expect([failed.status, failed.json.type]).toEqual([503, 'urn:sluice:problem:not_durable']);
  });
});
