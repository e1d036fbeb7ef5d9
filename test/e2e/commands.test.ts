/** Commands of `sluice` as people run them, against a gateway with a real Envoy. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SECRETS, Sluice } from './sluice.fixture.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));
let gateway: Sluice;
beforeAll(async () => {
  gateway = await Sluice.start();
});
afterAll(() => gateway?.close());

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command as whoever has the token. */
const sluice = (token: string, ...args: string[]): Promise<Ended> =>
  new Promise((settle) => {
    const env = { ...process.env, SLUICE_TOKEN: token, SLUICE_ADMIN: '', SLUICE_CONFIG: join(gateway.dir, 'sluice.yaml'), NO_COLOR: '1' };
    execFile(SLUICE, args, { env }, (error, out, err) => settle({ code: error ? Number(error.code) : 0, out, err }));
  });

const auditor = (): Promise<string> => gateway.approver('olga', ['audit']);

describe('policy explain', () => {
  const session = async (path: string, method = 'GET', headers: Record<string, string> = {}): Promise<string> => {
    const reply = await gateway.ask(path, { method, headers, token: await gateway.token() });
    const id = String(reply.headers['x-sluice-session'] ?? JSON.parse(reply.text).session);
    await gateway.events(id, 'request_judged');
    return id;
  };

  test('tells which rules fired and what the policy saw, sensitive values masked', async () => {
    const id = await session(`/customers?card=${SECRETS[1]}`);
    const { code, out, err } = await sluice(await auditor(), 'policy', 'explain', id);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^GET \/customers\S* on demo\n {2}session /);
    expect(out).toContain(id);
    expect(out).toMatch(/^ {2}policy [0-9a-f]{64}, in \d+ µs$/m);
    expect(out).toMatch(/^decision: allow by read-by-grant/m);
    expect(out).toMatch(/^rules that fired:\n(?: {2}.*\n)* {2}allow +read-by-grant/m);
    expect(out).toMatch(/"type": "(?:mask|detect)"/);
    expect(out).toMatch(/^ {6}"id": "test:agent-7",$/m);
    for (const secret of SECRETS) expect(out).not.toContain(secret);
  });

  test('tells why a request was denied, and by which rule', async () => {
    const id = await session('/customers/1', 'PATCH');
    const { code, out } = await sluice(await auditor(), 'policy', 'explain', id);
    expect(code).toBe(0);
    expect(out).toMatch(/^decision: deny by default-deny/m);
  });

  test('gives the judgement as the record has it', async () => {
    const id = await session('/tickets');
    const { out } = await sluice(await auditor(), 'policy', 'explain', id, '--json');
    expect(JSON.parse(out)).toMatchObject({ kind: 'request_judged', session: id, body: { effect: 'allow', rule: 'read-by-grant' } });
  });

  test('is for auditors, and says when there is no such session', async () => {
    const id = await session('/tickets');
    expect(await sluice(await gateway.token(), 'policy', 'explain', id)).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('auditors'),
    });
    expect(await sluice(await auditor(), 'policy', 'explain', 'ses_none')).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('no such session'),
    });
  });
});

test('revoke takes back an approval before its request is sent again; then it is held anew', async () => {
  const token = await gateway.token();
  const ask = () => gateway.ask('/customers/7', { method: 'DELETE', token, headers: { prefer: 'respond-async' } });
  const dana = await gateway.approver();
  expect((await ask()).status).toBe(202);
  const [{ id, session } = { id: '', session: '' }] = await gateway.approvals();
  expect((await sluice(dana, 'revoke', id, '--reason', 'not yet')).err).toContain('has not been approved');
  expect((await sluice(dana, 'approve', id)).out).toContain('it passes when its caller asks again');
  expect((await sluice(dana, 'approvals', '--state', 'approved', '--quiet')).out).toBe(`${id}\n`);
  expect((await sluice(token, 'revoke', id, '--reason', 'mine')).code).toBe(1);
  expect(await sluice(dana, 'revoke', id, '--reason', 'the wrong customer')).toMatchObject({
    code: 0,
    out: `${id}: revoked the approval of DELETE /customers/7; it passes no more\n`,
  });
  expect((await sluice(dana, 'revoke', id, '--reason', 'again')).err).toMatch(/revoked at .* by .*test:dana.*: the wrong customer/);

  const again = await ask();
  expect(again.status).toBe(202);
  expect(gateway.seen.filter(({ method }) => method === 'DELETE')).toEqual([]);
  const [anew] = await gateway.approvals();
  expect(anew?.id).not.toBe(id);
  await gateway.events(session, '"revoked"');
  const { out } = await sluice(await auditor(), 'replay', session);
  expect(out).toMatch(/approved by test:dana[\s\S]*revoked by test:dana: the wrong customer/);
});
