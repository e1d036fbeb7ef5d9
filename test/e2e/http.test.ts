import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SECRETS, Sluice } from './sluice.fixture.ts';

let sluice: Sluice;
beforeAll(async () => {
  sluice = await Sluice.start((document) => {
    document.targets[0].request_body_limit = '64KiB';
  });
});
afterAll(() => sluice?.close());

const sessionOf = (reply: { headers: Record<string, unknown>; text: string }): string =>
  String(reply.headers['x-sluice-session'] ?? (JSON.parse(reply.text) as { session: string }).session);
const unleaked = (text: string): void => {
  for (const secret of SECRETS) expect(text).not.toContain(secret);
};

describe('who calls', () => {
  test('nobody gets 401 and a challenge', async () => {
    const reply = await sluice.ask('/customers');
    expect(reply.status).toBe(401);
    expect(reply.headers['www-authenticate']).toBe('Bearer realm="sluice"');
    expect(reply.headers['content-type']).toBe('application/problem+json');
  });

  test.each([
    ['expired', { exp: Math.floor(Date.now() / 1000) - 600 }, 'token_expired'],
    ['for someone else', { aud: 'other' }, 'audience_refused'],
    ['not valid yet', { nbf: Math.floor(Date.now() / 1000) + 600 }, 'token_not_yet_valid'],
  ])('a token that is %s gets 401', async (_, claims, code) => {
    const reply = await sluice.ask('/customers', { token: await sluice.token(claims) });
    expect(reply.status).toBe(401);
    expect(JSON.parse(reply.text).type).toBe(`urn:sluice:problem:${code.replaceAll('_', '-')}`);
    expect(reply.headers['www-authenticate']).toContain('error="invalid_token"');
  });

  test('forged ones get 401', async () => {
    const token = await sluice.token();
    const [head, claims, signature] = token.split('.') as [string, string, string];
    const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url');
    for (const forged of [
      `${none}.${claims}.`,
      `${head}.${claims}.${signature.slice(0, -4)}AAAA`,
      `${head}.${Buffer.from('{"sub":"x"}').toString('base64url')}.${signature}`,
    ]) {
      expect((await sluice.ask('/customers', { token: forged })).status).toBe(401);
    }
    expect(sluice.seen).toEqual([]);
  });
});

describe('reads', () => {
  test('go through, masked, with the credential of the target in place of the token', async () => {
    const reply = await sluice.ask('/customers', { token: await sluice.token({ run_id: 'run-1' }) });
    expect(reply.status).toBe(200);
    const customers = JSON.parse(reply.text);
    expect(customers.map(({ id, name, balance }: Record<string, unknown>) => [id, name, balance])).toEqual([
      [1, 'Ada Byron', 1200.5],
      [2, 'Grace Brewster', -3],
      [7, 'Katherine Coleman', 0],
    ]);
    expect(customers[0].ssn).toBe(null);
    expect(customers[0].card).toMatch(/^\*+1111$/);
    unleaked(reply.text);
    expect(reply.headers['content-length']).toBeUndefined();
    expect(reply.headers.etag).toBeUndefined();
    const { headers } = sluice.seen.at(-1) ?? { headers: {} };
    expect(headers.authorization).toBe('Bearer the-targets-own-secret');
    expect(JSON.stringify(headers)).not.toContain((await sluice.token()).split('.')[1]);

    const events = await sluice.events(sessionOf(reply));
    const text = JSON.stringify(events);
    expect(text).toContain('run-1');
    expect(text).not.toContain('the-targets-own-secret');
    unleaked(text);
    const kinds = events.map((event) => event.kind ?? Object.keys(event).find((name) => /_|opened|judged/.test(name)));
    expect(kinds.length).toBeGreaterThanOrEqual(4);
    expect(text).toMatch(/"masked":\[\{/);
  });

  test.each([
    ['a claim', { run_id: 'run-2' }, {}, ['run-2', '', 'token']],
    ['an actor', { run_id: 'run-3', sub: 'ada', act: { sub: 'agent-7' } }, {}, ['run-3', 'test:ada', 'token']],
    ['headers', {}, { 'sluice-run': 'run-4', 'sluice-on-behalf-of': 'test:bo' }, ['run-4', 'test:bo', 'header']],
    ['baggage', {}, { baggage: 'a=b,sluice.run=run-5,sluice.on_behalf_of=test%3Acy' }, ['run-5', 'test:cy', 'baggage']],
  ])('the run and on whose behalf, by %s, reach policy and record', async (_, claims, headers, [id, behalf, source]) => {
    const reply = await sluice.ask('/tickets', { token: await sluice.token(claims), headers });
    expect(reply.status).toBe(200);
    const events = (await sluice.events(sessionOf(reply))) as { kind: string; body: Record<string, string> }[];
    const [opened, judged] = ['session_opened', 'request_judged'].map((kind) => events.find((event) => event.kind === kind)?.body);
    expect(opened).toMatchObject({ identity: 'test:agent-7', run: id, onBehalfOf: behalf });
    expect(JSON.parse(judged?.maskedInputJson ?? '')).toMatchObject({ run: { id, on_behalf_of: behalf, source } });
  });

  test('a credential that was changed is the one that the target gets', async () => {
    const file = join(sluice.dir, 'credential');
    const before = readFileSync(file);
    const got = async (): Promise<string | undefined> => {
      // It is looked at again at most five times a second.
      await sleep(250);
      expect((await sluice.ask('/tickets', { token: await sluice.token() })).status).toBe(200);
      return sluice.seen.at(-1)?.headers.authorization;
    };
    writeFileSync(`${file}.new`, 'another-secret\n');
    renameSync(`${file}.new`, file);
    expect(await got()).toBe('Bearer another-secret');
    writeFileSync(file, before);
    expect(await got()).toBe('Bearer the-targets-own-secret');
    expect(sluice.serviceLog.join('')).not.toContain('another-secret');
  });

  test('the same value has the same token, another one another', async () => {
    const token = await sluice.token();
    const of = async (): Promise<string[]> =>
      JSON.parse((await sluice.ask('/customers', { token })).text).map(({ email }: { email: string }) => email);
    const first = await of();
    expect(await of()).toEqual(first);
    expect(new Set(first).size).toBe(3);
  });

  test('a sensitive value in a query does not reach the record', async () => {
    const reply = await sluice.ask('/customers?ssn=536-22-8134', { token: await sluice.token() });
    const text = JSON.stringify(await sluice.events(sessionOf(reply)));
    expect(text).not.toContain('536-22-8134');
  });

  test('a compressed response is masked too', async () => {
    const reply = await sluice.ask('/customers', { token: await sluice.token(), headers: { 'accept-encoding': 'gzip' } });
    expect(reply.headers['content-encoding']).toBeUndefined();
    unleaked(reply.text);
    expect(JSON.parse(reply.text)).toHaveLength(3);
  });

  test('ranges and conditions are not the caller’s to use on a masked response', async () => {
    const reply = await sluice.ask('/customers', { token: await sluice.token(), headers: { range: 'bytes=0-99', 'if-none-match': '*' } });
    expect(reply.status).toBe(200);
    expect(sluice.seen.at(-1)?.headers.range).toBeUndefined();
    unleaked(reply.text);
  });
});

describe('what the policy denies', () => {
  test('a write without a grant gets 403 that names the rule', async () => {
    const before = sluice.seen.length;
    const reply = await sluice.ask('/customers', {
      token: await sluice.token(),
      method: 'POST',
      body: '{"name":"x"}',
      headers: { 'content-type': 'application/json' },
    });
    expect(reply.status).toBe(403);
    expect(JSON.parse(reply.text)).toMatchObject({
      type: 'urn:sluice:problem:denied',
      status: 403,
      rule: expect.stringMatching(/.+/),
      reason: expect.stringMatching(/.+/),
      session: expect.stringMatching(/^ses_/),
    });
    expect(sluice.seen.length).toBe(before);
  });

  test('a write with a grant goes through', async () => {
    const reply = await sluice.ask('/tickets', {
      token: await sluice.token(),
      method: 'POST',
      body: '{"text":"call back"}',
      headers: { 'content-type': 'application/json' },
    });
    expect(reply.status).toBe(201);
  });

  test('someone of no group gets 403', async () => {
    expect((await sluice.ask('/customers', { token: await sluice.token({ groups: [] }) })).status).toBe(403);
  });

  test.each([
    ['a method override', '/customers/2', { 'x-http-method-override': 'DELETE' }, 'POST'],
    ['a method in the query', '/tickets/1?_method=DELETE', {}, 'POST'],
    ['other case', '/CUSTOMERS/2', {}, 'GET'],
    ['an escaped slash', '/tickets%2f..%2fadmin', {}, 'GET'],
    ['an escaped backslash', '/tickets%5cx', {}, 'GET'],
    ['dot segments', '/tickets/../db', {}, 'GET'],
    ['two authorizations', '/customers', { authorization: ['Bearer a', 'Bearer b'] }, 'GET'],
    ['two content types', '/tickets', { 'content-type': ['text/plain', 'application/json'] }, 'POST'],
  ])('%s does not get past it', async (_, path, headers, method) => {
    const before = sluice.seen.length;
    const token = 'authorization' in headers ? undefined : await sluice.token();
    const reply = await sluice.ask(path, {
      token,
      headers: headers as Record<string, string>,
      method,
      ...(method === 'POST' && { body: '{}' }),
    });
    expect(reply.status).toBeGreaterThanOrEqual(400);
    expect(reply.status).toBeLessThan(500);
    expect(sluice.seen.length).toBe(before);
  });

  test('a body past the limit gets 413, also when it comes in chunks', async () => {
    const token = await sluice.token();
    const body = JSON.stringify({ text: 'x'.repeat(100_000) });
    const headers = { 'content-type': 'application/json' };
    const whole = await sluice.ask('/tickets', {
      token,
      method: 'POST',
      body,
      headers: { ...headers, 'content-length': String(body.length) },
    });
    const chunked = await sluice.ask('/tickets', { token, method: 'POST', body, headers: { ...headers, 'transfer-encoding': 'chunked' } });
    for (const reply of [whole, chunked]) {
      expect(reply.status).toBe(413);
      expect(reply.headers['content-type']).toBe('application/problem+json');
    }
  });

  test('headers past the limit get 431', async () => {
    const reply = await sluice.ask('/tickets', { token: await sluice.token(), headers: { 'x-large': 'x'.repeat(100_000) } });
    expect(reply.status).toBe(431);
  });

  test('JSON that can be read in two ways gets 400', async () => {
    const reply = await sluice.ask('/tickets', {
      token: await sluice.token(),
      method: 'POST',
      body: '{"a":1,"a":2}',
      headers: { 'content-type': 'application/json' },
    });
    expect(reply.status).toBe(400);
    expect(JSON.parse(reply.text).detail).toContain('twice');
  });

  test('what is refused before it is judged is in the record, with who sent it', async () => {
    const reply = await sluice.ask('/tickets/1?card=4111111111111111', {
      token: await sluice.token({ sub: 'smuggler' }),
      headers: { 'x-http-method-override': 'DELETE' },
    });
    expect(reply.status).toBe(400);
    const events = JSON.stringify(await sluice.events(JSON.parse(reply.text).session));
    expect(events).toContain('test:smuggler');
    expect(events).toContain('unclear-request');
    expect(events).toContain('x-http-method-override');
    expect(events).not.toContain('4111111111111111');
  });
});

test('policy and target see one path, whatever was sent', async () => {
  const reply = await sluice.ask('//tickets//./x/..//1', { token: await sluice.token() });
  expect(reply.status).toBe(200);
  expect(sluice.seen.at(-1)?.url).toBe('/tickets/1');
  expect(JSON.stringify(await sluice.events(sessionOf(reply)))).toContain('GET /tickets/1');
});

describe('held requests', () => {
  test('wait until they are approved, and pass once', async () => {
    const token = await sluice.token();
    const held = sluice.ask('/orders/1', { token, method: 'DELETE' });
    const [approval] = await sluice.approvals();
    expect(approval?.summary).toBe('DELETE /orders/1');
    const early = await Promise.race([held, sleep(300)]);
    expect(early).toBeUndefined();
    expect((await sluice.answer(approval?.id ?? '', 'approve')).status).toBe(200);
    const reply = await held;
    expect(reply.status).toBe(200);
    expect(sluice.seen.at(-1)).toMatchObject({ method: 'DELETE', url: '/orders/1' });
    const text = JSON.stringify(await sluice.events(sessionOf(reply)));
    expect(text).toContain(approval?.id);
    expect(text).toContain('approved');
  });

  test('are denied with the reason', async () => {
    const before = sluice.seen.length;
    const held = sluice.ask('/customers/1', { token: await sluice.token(), method: 'DELETE' });
    const [approval] = await sluice.approvals();
    await sluice.answer(approval?.id ?? '', 'deny', 'not on a Friday');
    const reply = await held;
    expect(reply.status).toBe(403);
    expect(JSON.parse(reply.text)).toMatchObject({
      type: 'urn:sluice:problem:approval-denied',
      approval: approval?.id,
      rule: expect.any(String),
      reason: expect.stringContaining('not on a Friday'),
    });
    expect(sluice.seen.length).toBe(before);
  });

  test('are not answered by who may not, nor by their own identity', async () => {
    const token = await sluice.token({ sub: 'lead-9', groups: ['support-agents', 'leads-too'] });
    const gone = new AbortController();
    const held = sluice.ask('/customers/2', { token, method: 'DELETE', signal: gone.signal }).catch(() => 'gone');
    const [approval] = await sluice.approvals();
    const id = approval?.id ?? '';
    expect((await sluice.answer(id, 'approve', '', await sluice.approver('eve', ['others']))).status).toBe(404);
    expect((await sluice.answer(id, 'approve', '', await sluice.approver('lead-9', ['leads']))).status).toBe(403);
    expect((await sluice.answer(id, 'approve', '', 'no-token')).status).toBe(401);
    gone.abort();
    expect(await held).toBe('gone');
    await sluice.events(approval?.session ?? '', 'session_closed');
    const late = await sluice.answer(id, 'approve');
    expect([late.status, late.text]).toEqual([409, expect.stringContaining('cancelled')]);
  });

  test('answer 202 to who does not want to wait, and let the same request through once', async () => {
    const token = await sluice.token();
    const ask = (headers: Record<string, string> = {}) => sluice.ask('/customers/7', { token, method: 'DELETE', headers });
    const accepted = await ask({ prefer: 'respond-async' });
    expect(accepted.status).toBe(202);
    expect(accepted.headers['retry-after']).toMatch(/^\d+$/);
    const location = String(accepted.headers.location);
    const state = async (bearer = token) => sluice.ask(location, { token: bearer });
    expect(JSON.parse((await state()).text)).toMatchObject({ state: 'pending' });
    expect((await state(await sluice.token({ sub: 'other' }))).status).toBe(404);
    await sluice.answer(JSON.parse(accepted.text).approval, 'approve');
    expect(JSON.parse((await state()).text)).toMatchObject({ state: 'approved' });
    // Another request is not this one.
    expect((await sluice.ask('/customers/2', { token, method: 'DELETE', headers: { prefer: 'respond-async' } })).status).toBe(202);
    expect((await ask()).status).toBe(200);
    expect((await ask({ prefer: 'respond-async' })).status).toBe(202);
    for (const { id } of await sluice.approvals()) await sluice.answer(id, 'deny');
  });

  test('wait as long as preferred', async () => {
    const since = performance.now();
    const reply = await sluice.ask('/tickets/1', { token: await sluice.token(), method: 'DELETE', headers: { prefer: 'wait=1' } });
    expect(reply.status).toBe(202);
    expect(performance.now() - since).toBeGreaterThan(950);
    for (const { id } of await sluice.approvals()) await sluice.answer(id, 'deny');
  });
});

test('an upgrade is refused', async () => {
  const token = await sluice.token();
  const socket = connect(sluice.port, '127.0.0.1');
  socket.write(`GET /customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  const [line] = await new Promise<string[]>((resolve) => socket.once('data', (data) => resolve(data.toString().split('\r\n'))));
  socket.destroy();
  expect(line).toMatch(/^HTTP\/1\.1 4/);
});

test('the log of the service holds no secret and no token', async () => {
  const log = sluice.serviceLog.join('');
  expect(log).not.toContain('the-targets-own-secret');
  expect(log).not.toMatch(/eyJ[\w-]+\.eyJ/);
  unleaked(log);
});
