/** The record of a real gateway, kept elsewhere: a replica and a witnessed checkpoint verify without it, and a legal hold is an event of the session. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LogReader } from '../../authz-service/log/reader.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import { Sluice } from './sluice.fixture.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));
let sluice: Sluice;

beforeAll(async () => {
  sluice = await Sluice.start((document, dir) => {
    document.admin.custodians = ['group:legal'];
    document.tap = {
      replicas: [{ type: 'directory', name: 'copy', path: join(dir, 'copy') }],
      checkpoints: { every: '1s', to: [{ type: 'directory', name: 'mount', path: join(dir, 'mount') }] },
      retention: { events: '365d', payloads: '30d', every: '1s' },
    };
  });
}, 120_000);
afterAll(() => sluice?.close());

const sessionOf = async (): Promise<string> => {
  const token = await sluice.approver('olga', ['audit']);
  return JSON.parse((await sluice.admin('GET', '/v1/sessions', token)).text).sessions[0].id;
};

const until = async (holds: () => Promise<boolean>): Promise<void> => {
  for (const deadline = Date.now() + 45_000; !(await holds()); await sleep(100))
    if (Date.now() > deadline) throw new Error('it does not come');
};

test('a legal hold is put on by a custodian alone, and is part of the session', async () => {
  expect((await sluice.ask('/customers/1', { token: await sluice.token() })).status).toBe(200);
  const session = await sessionOf();
  const hold = { change: 'add', reason: 'case 7' };
  expect((await sluice.admin('POST', `/v1/legal-holds/${session}`, await sluice.approver('olga', ['audit']), hold)).status).toBe(403);
  expect((await sluice.admin('POST', `/v1/legal-holds/${session}`, await sluice.approver('lee', ['legal']), hold)).status).toBe(200);
  expect(JSON.stringify(await sluice.events(session, 'legal-hold-added'))).toContain('case 7 (test:lee)');
  await sluice.stopService();
  await sluice.startService();
  const { legal_holds: held } = JSON.parse((await sluice.admin('GET', '/v1/legal-holds', await sluice.approver('lee', ['legal']))).text);
  expect(held).toMatchObject([{ session, by: 'test:lee', reason: 'case 7' }]);
});

test('the copy verifies by itself, and goes on from a checkpoint that was sent elsewhere', async () => {
  const { size } = (await new LogReader(localFiles(join(sluice.dir, 'state/tap/log'))).checkpoint()) ?? { size: 0 };
  const copied = new LogReader(localFiles(join(sluice.dir, 'copy')));
  await until(async () => ((await copied.checkpoint())?.size ?? 0) >= Math.max(size, 3));
  const sent: string[] = [];
  await until(async () => {
    sent.length = 0;
    for await (const key of localFiles(join(sluice.dir, 'mount')).list('')) sent.push(key);
    return sent.length > 0;
  });
  const earlier = join(sluice.dir, 'mount', sent[0] ?? '');
  expect(existsSync(earlier)).toBe(true);
  const report = JSON.parse(
    execFileSync(SLUICE, ['verify', '--log', join(sluice.dir, 'copy'), '--checkpoint', earlier, '--json'], {
      cwd: sluice.dir,
      encoding: 'utf8',
    }),
  );
  expect(JSON.stringify(report)).toMatch(/remembered/);
  const metrics = (await sluice.admin('GET', '/metrics')).text;
  expect(metrics).toContain('sluice_replica_failing{replica="copy"} 0');
  expect(metrics).toContain('sluice_checkpoint_place_failing{place="mount"} 0');
  expect(metrics).toMatch(/sluice_legal_holds 1/);
});

test('a clean stop leaves nothing behind: replica and place have what was recorded last, and the record is restored from it', async () => {
  for (let n = 0; n < 5; n += 1) expect((await sluice.ask('/customers/1', { token: await sluice.token() })).status).toBe(200);
  await sluice.stopService();
  const [log, copy] = [join(sluice.dir, 'state/tap/log'), join(sluice.dir, 'copy')];
  const note = readFileSync(join(log, 'checkpoint'), 'utf8');
  expect(readFileSync(join(copy, 'checkpoint'), 'utf8')).toBe(note);
  const size = note.split('\n')[1] ?? '';
  expect(existsSync(join(sluice.dir, `mount/checkpoints/${size.padStart(16, '0')}`))).toBe(true);
  const remembered = join(sluice.dir, 'remembered');
  cpSync(join(log, 'checkpoint'), remembered);
  for (const part of ['journal', 'log', 'sessions.sqlite', 'sessions.sqlite-wal', 'sessions.sqlite-shm'])
    rmSync(join(sluice.dir, 'state/tap', part), { recursive: true, force: true });
  const said = execFileSync(SLUICE, ['log', 'restore', 'copy', '--checkpoint', remembered], { cwd: sluice.dir, encoding: 'utf8' });
  expect(said).toContain(`: ${size} leaves.`);
});
