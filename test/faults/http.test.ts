import { mkdirSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, expect, test } from 'vitest';
import { SECRETS, Sluice } from '../e2e/sluice.fixture.ts';
import { freePort } from '../free_port.fixture.ts';

let sluice: Sluice | undefined;
/** Of those tests that leave it as they found it: one gateway, made when the first of them begins. */
let shared: Sluice | undefined;
const atShared = async (): Promise<Sluice> => {
  shared ??= await Sluice.start(undefined, (request, response) => {
    const answer = answers[request.url ?? ''];
    answer?.(response);
    return answer !== undefined;
  });
  shared.seen.length = 0;
  return shared;
};
afterEach(async ({ task }) => {
  await sluice?.close();
  sluice = undefined;
  if (task.result?.state !== 'fail') return;
  await shared?.close();
  shared = undefined;
});
afterAll(() => shared?.close());

/** As soon as the service can be asked again. */
const serving = async (gateway: Sluice, token: string): Promise<void> => {
  await expect.poll(async () => (await gateway.ask('/tickets', { token })).status, { timeout: 20_000 }).toBe(200);
};
const unleaked = (text: string): void => {
  for (const secret of SECRETS) expect(text).not.toContain(secret);
};
const problem = (text: string): { detail: string; type: string; approval: string } => JSON.parse(text);

test('the service is down: nothing passes, the caller is told, and all is well when it is back', async () => {
  const gateway = await atShared();
  const token = await gateway.token();
  expect((await gateway.ask('/tickets', { token })).status).toBe(200);
  await gateway.stopService('SIGKILL');
  const before = gateway.seen.length;
  const reply = await gateway.ask('/tickets', { token });
  expect(reply.status).toBe(503);
  expect(reply.headers['content-type']).toBe('application/problem+json');
  expect(problem(reply.text).detail).not.toBe('');
  expect(gateway.seen.length).toBe(before);
  await gateway.startService();
  await serving(gateway, token);
});

test('the service is slow: what is asked waits, undecided, and passes once it was decided', async () => {
  const gateway = await atShared();
  const token = await gateway.token();
  expect((await gateway.ask('/tickets', { token })).status).toBe(200);
  const before = gateway.seen.length;
  process.kill(gateway.servicePid, 'SIGSTOP');
  let answered = 0;
  const asked = ['/tickets', '/customers', '/admin'].map((path) =>
    gateway.ask(path, { token }).finally(() => {
      answered++;
    }),
  );
  await sleep(3_000);
  expect([answered, gateway.seen.length]).toEqual([0, before]);
  process.kill(gateway.servicePid, 'SIGCONT');
  const replies = await Promise.all(asked);
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 403]);
  for (const { text } of replies) unleaked(text);
  expect(gateway.seen.length).toBe(before + 2);
});

test('the service is killed in mid-hold: the caller gets an error, the hold survives, the answer serves the retry', async () => {
  const gateway = await atShared();
  const token = await gateway.token();
  const held = gateway.ask('/customers/1', { token, method: 'DELETE' });
  const [approval] = await gateway.approvals();
  await gateway.stopService('SIGKILL');
  expect((await held).status).toBe(503);
  await gateway.startService();
  const [same] = await gateway.approvals();
  expect(same?.id).toBe(approval?.id);
  expect((await gateway.answer(approval?.id ?? '', 'approve')).status).toBe(200);
  await gateway.stopService('SIGKILL');
  await gateway.startService();
  await serving(gateway, token);
  expect((await gateway.ask('/customers/1', { token, method: 'DELETE' })).status).toBe(200);
  expect((await gateway.ask('/customers/1', { token, method: 'DELETE', headers: { prefer: 'respond-async' } })).status).toBe(202);
  const [next] = await gateway.approvals();
  expect((await gateway.answer(next?.id ?? '', 'deny')).status).toBe(200);
});

test('the service stops in order: held callers are told to send again', async () => {
  const gateway = await atShared();
  const token = await gateway.token();
  const held = gateway.ask('/customers/2', { token, method: 'DELETE' });
  await gateway.approvals();
  await gateway.stopService('SIGTERM');
  const reply = await held;
  expect(reply.status).toBe(503);
  expect(problem(reply.text).detail).toMatch(/send it again/i);
  await gateway.startService();
  await serving(gateway, token);
  // Whatever is kept of it is no business of the tests behind.
  const { approvals } = JSON.parse((await gateway.admin('GET', '/v1/approvals?state=pending', await gateway.approver())).text);
  for (const { id } of approvals) expect((await gateway.answer(id, 'deny')).status).toBe(200);
});

test('the record cannot be written: nothing new passes', async () => {
  sluice = await Sluice.start();
  const token = await sluice.token();
  expect((await sluice.ask('/tickets', { token })).status).toBe(200);
  const before = sluice.seen.length;
  // A limit on the size of files stands for a full disk: every further write fails.
  const { execFileSync } = await import('node:child_process');
  execFileSync('prlimit', ['--pid', String(sluice.servicePid), '--fsize=1:1']);
  const reply = await sluice.ask('/tickets', { token });
  expect(reply.status).toBe(503);
  expect(problem(reply.text).type).toMatch(/record-unavailable/);
  expect(sluice.seen.length).toBe(before);
  expect((await sluice.admin('GET', '/readyz')).status).toBe(503);
});

test('a policy that hangs is cut off, and others are not delayed', async () => {
  sluice = await Sluice.start((document, dir) => {
    mkdirSync(join(dir, 'policies'));
    writeFileSync(
      join(dir, 'policies', 'slow.rego'),
      `package sluice
decision := {"effect": "allow", "rule": "all", "reason": "all", "obligations": []} if input.request.segments[0] != "customers"
decision := {"effect": "deny", "rule": "slow", "reason": "slow"} if {
	input.request.segments[0] == "customers"
	xs := numbers.range(1, 30000)
	count([1 | some x in xs; some y in xs; x * y == 7]) > 0
}
`,
    );
    // Of the processor's time; a second of it would be enough to run out of memory, which is another error.
    document.policy = { path: join(dir, 'policies'), timeout: '300ms' };
  });
  const token = await sluice.token();
  await sluice.ask('/tickets', { token });
  let hangs = true;
  const slow = sluice.ask('/customers', { token }).finally(() => {
    hangs = false;
  });
  await sleep(20);
  for (let n = 0; n < 5; n++) expect((await sluice.ask('/tickets', { token })).status).toBe(200);
  expect(hangs).toBe(true);
  const reply = await slow;
  expect(reply.status).toBe(503);
  expect(problem(reply.text).type).toBe('urn:sluice:problem:policy-timeout');
  expect((await sluice.ask('/tickets', { token })).status).toBe(200);
});

test('a changed policy is bad: the old one stays in force, and it is said loudly', async () => {
  sluice = await Sluice.start((document, dir) => {
    mkdirSync(join(dir, 'policies'));
    writeFileSync(join(dir, 'policies', 'main.rego'), 'package sluice\n\ndecision := {"effect": "deny", "rule": "first", "reason": "r"}\n');
    document.policy = { path: join(dir, 'policies') };
  });
  const token = await sluice.token();
  const rule = async (): Promise<string> => JSON.parse((await (sluice as Sluice).ask('/tickets', { token })).text).rule;
  const refused = async (): Promise<number> =>
    Number(/^sluice_policy_reload_failures_total (\d+)$/m.exec((await (sluice as Sluice).admin('GET', '/metrics')).text)?.[1]);
  const change = (text: string): void => writeFileSync(join((sluice as Sluice).dir, 'policies', 'main.rego'), text);
  const within10s = async (done: () => Promise<boolean>): Promise<boolean> => {
    for (let n = 0; n < 200; n++) {
      if (await done()) return true;
      await sleep(50);
    }
    return false;
  };
  expect(await rule()).toBe('first');
  let before = 0;
  for (const bad of ['package sluice\n\ndecision := {', 'package sluice\n\ndecision := {"effect": "perhaps"}\n']) {
    change(bad);
    expect(await within10s(async () => (await refused()) === before + 1)).toBe(true);
    before++;
    expect(await rule()).toBe('first');
  }
  const loud = sluice.serviceLog
    .join('')
    .split('\n')
    .filter((line) => line.includes('"level":50'));
  expect(loud.length).toBeGreaterThanOrEqual(2);
  expect((await sluice.admin('GET', '/readyz')).status).toBe(200);
  change('package sluice\n\ndecision := {"effect": "deny", "rule": "second", "reason": "r"}\n');
  expect(await within10s(async () => (await rule()) === 'second')).toBe(true);
});

test('the keys cannot be fetched: 503, not 401, known keys go on serving, and all is well when they can be again', async () => {
  const gateway = await atShared();
  const token = await gateway.token();
  expect((await gateway.ask('/tickets', { token })).status).toBe(200);
  gateway.issuer.fail((response) => void response.destroy());
  expect((await gateway.ask('/tickets', { token: await gateway.token({ sub: 'another' }) })).status).toBe(200);
  await gateway.stopService();
  await gateway.startService();
  const refusal = async (): Promise<unknown> => {
    const { status, text } = await gateway.ask('/tickets', { token });
    return [status, status === 503 && problem(text).type];
  };
  await expect.poll(refusal, { timeout: 20_000 }).toEqual([503, 'urn:sluice:problem:issuer-unavailable']);
  gateway.issuer.recover();
  await serving(gateway, token);
});

test('the caller goes away while held: the hold ends, nothing reaches the target', async () => {
  const gateway = await atShared();
  const gone = new AbortController();
  const held = gateway.ask('/customers/1', { token: await gateway.token(), method: 'DELETE', signal: gone.signal }).catch(() => 'gone');
  const [approval] = await gateway.approvals();
  gone.abort();
  expect(await held).toBe('gone');
  const events = JSON.stringify(await gateway.events(approval?.session ?? '', 'session_closed'));
  expect(events).toContain('cancelled');
  expect((await gateway.answer(approval?.id ?? '', 'approve')).status).toBe(409);
  expect(gateway.seen).toEqual([]);
});

const answers: Record<string, (response: ServerResponse) => void> = {
  '/tickets/invalid': (response) => response.setHeader('content-type', 'application/json').end('{"ssn":"536-22-8134","x":}'),
  '/tickets/type': (response) => response.setHeader('content-type', 'application/octet-stream').end('536-22-8134'),
  '/tickets/partial': (response) =>
    response.writeHead(206, { 'content-type': 'application/json', 'content-range': 'bytes 0-9/100' }).end('{"ssn":"536-22-8134"}'),
  '/tickets/coded': (response) =>
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'compress' }).end('536-22-8134'),
  '/tickets/late': (response) => {
    response.setHeader('content-type', 'application/json');
    response.write(`[{"ssn":"536-22-8134","a":"${'x'.repeat(200_000)}"},`);
    setTimeout(() => response.end('{"ssn":"536-22-8134",,}]'), 200);
  },
  '/tickets/gone': (response) => {
    response.setHeader('content-type', 'application/json');
    response.write(`[{"ssn":"536-22-8134","a":"${'x'.repeat(200_000)}"},{"ssn":"536-`);
    setTimeout(() => response.destroy(), 200);
  },
  '/tickets/error': (response) => response.writeHead(500, { 'content-type': 'text/html' }).end('<p>no row with ssn 536-22-8134</p>'),
  '/tickets/headers': (response) =>
    response
      .writeHead(200, { 'content-type': 'application/json', 'x-debug': 'ssn=536-22-8134', location: '/customers?ssn=536-22-8134' })
      .end('{}'),
};

test('responses that cannot be masked are replaced, or cut when they have begun', async () => {
  const gateway = await atShared();
  const token = await gateway.token();
  const of = async (path: string) => {
    const reply = await gateway.ask(path, { token });
    unleaked(reply.text + JSON.stringify(reply.headers));
    return reply;
  };
  for (const path of ['/tickets/invalid', '/tickets/type', '/tickets/partial', '/tickets/coded', '/tickets/error']) {
    const reply = await of(path);
    expect([path, reply.status, reply.headers['content-type']]).toEqual([path, 502, 'application/problem+json']);
    expect(problem(reply.text).detail).not.toBe('');
  }
  for (const path of ['/tickets/late', '/tickets/gone']) {
    const reply = await of(path);
    expect([path, reply.status, reply.cut]).toEqual([path, 200, true]);
  }
  expect((await of('/tickets/headers')).status).toBe(200);
  expect(JSON.stringify(await gateway.ask('/tickets', { token }))).toContain('hello');
});

test('changed and new targets take effect without a restart of Envoy or the service', async () => {
  const gateway = await atShared();
  const { envoyFiles, generateEnvoy, placesOf } = await import('../../authz-service/envoy/generate.ts');
  const { writeEnvoy } = await import('../../authz-service/envoy/write.ts');
  const token = await gateway.token();
  expect((await gateway.ask('/tickets', { token })).status).toBe(200);
  const [first] = gateway.document.targets;
  gateway.document.targets.push({ ...first, name: 'second', hosts: ['second.test'] });
  first.url = `http://127.0.0.1:${await freePort()}`;
  const config = gateway.configure();
  writeEnvoy(placesOf(config).dir, envoyFiles(generateEnvoy(config)));
  const until = async (status: number, headers: Record<string, string>) => {
    let reply = await gateway.ask('/tickets', { token, headers });
    for (let n = 0; n < 100 && reply.status !== status; n++) {
      await sleep(50);
      reply = await gateway.ask('/tickets', { token, headers });
    }
    return reply;
  };
  const away = await until(503, {});
  expect([away.status, away.headers['content-type']]).toEqual([503, 'application/problem+json']);
  // Known to the service as well: it is the policy that has no grants for it.
  const second = await until(403, { host: 'second.test' });
  expect([second.status, problem(second.text).type]).toEqual([403, 'urn:sluice:problem:denied']);
});
