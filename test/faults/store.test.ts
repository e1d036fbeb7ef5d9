import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { Bucket } from '../../authz-service/storage/s3.fixture.ts';
import { Ledger } from '../e2e/postgres.fixture.ts';
import { Sluice } from '../e2e/sluice.fixture.ts';

let sluice: Sluice | undefined;
let bucket: Bucket | undefined;
let ledger: Ledger | undefined;
afterEach(async () => {
  await ledger?.close();
  await sluice?.close();
  await bucket?.close();
});

const until = async (holds: () => Promise<boolean>, withinMs = 90_000): Promise<void> => {
  for (const deadline = Date.now() + withinMs; !(await holds()); await sleep(100))
    if (Date.now() > deadline) throw new Error('it does not come');
};

/** As `tap.replicas` has it. */
const vaultAt = (port: string): object => ({
  type: 's3',
  name: 'vault',
  bucket: 'evidence',
  region: 'eu-test-1',
  endpoint: `http://127.0.0.1:${port}`,
  access_key_id: 'id',
  secret_access_key: { env: 'STORE_SECRET' },
  write_once: 'compliance',
  lock: '30d',
  timeout: '1s',
  retry: '1s',
});
const stateIs = async (gateway: Sluice, name: string): Promise<boolean> =>
  (await gateway.admin('GET', '/metrics')).text.includes(`sluice_store_state{store="vault",state="${name}"} 1`);

test('a store that is away at the start and comes back without its locks: nothing is written there, and nothing new passes', async () => {
  const { port } = (bucket = await Bucket.open()).endpoint;
  await bucket.close();
  process.env.STORE_SECRET = 'key';
  sluice = await Sluice.start((document) => {
    document.tap = { replicas: [vaultAt(port)] };
  });
  const gateway = sluice;
  const token = await gateway.token();
  const state = (name: string): Promise<boolean> => stateIs(gateway, name);
  expect(await state('away')).toBe(true);
  expect((await gateway.ask('/tickets', { token })).status).toBe(200);

  bucket = await Bucket.open(Number(port));
  bucket.flaws.add('shortens');
  await until(() => state('unfit'));
  const refused = await gateway.ask('/tickets', { token });
  expect(refused.status).toBe(503);
  expect(JSON.parse((await gateway.admin('GET', '/readyz')).text)).toMatchObject({
    ready: false,
    checks: expect.arrayContaining([{ name: 'stores', ok: false, reason: 'not what was asked for, and nothing is written there: vault' }]),
  });
  expect(gateway.seen).toHaveLength(1);
  expect((await gateway.ask('/customers/1', { token, method: 'DELETE' })).status).not.toBe(200);
  expect(bucket.keys().filter((key) => !key.startsWith('probe/'))).toEqual([]);

  // Put right, it is taken when it is tried again.
  bucket.flaws.clear();
  await until(() => state('proven'));
  expect((await gateway.ask('/tickets', { token })).status).toBe(200);
  await until(async () => bucket?.keys().includes('checkpoint') === true);
}, 240_000);

test('a request that is held, and approved when a store has lost its locks: it gets 503 with the reason, and passes when that is put right', async () => {
  bucket = await Bucket.open();
  const { port } = bucket.endpoint;
  process.env.STORE_SECRET = 'key';
  sluice = await Sluice.start((document) => {
    document.tap = { replicas: [vaultAt(port)] };
    document.approvals = { grant_ttl: '1h' };
  });
  const gateway = sluice;
  const token = await gateway.token();
  expect(await stateIs(gateway, 'proven')).toBe(true);
  const deletion = { method: 'DELETE', token };
  const held = gateway.ask('/customers/1', deletion);
  const [{ id = '' } = {}] = await gateway.approvals();
  await bucket.close();
  await until(() => stateIs(gateway, 'away'));
  bucket = await Bucket.open(Number(port));
  bucket.flaws.add('shortens');
  await until(() => stateIs(gateway, 'unfit'));

  expect((await gateway.answer(id, 'approve')).status).toBe(200);
  const { status, text } = await held;
  expect(status).toBe(503);
  expect(text).toMatch(/was approved, and nothing new passes: not what was asked for, and nothing is written there: vault/);
  // The retry finds the approval, and the reason.
  const again = await gateway.ask('/customers/1', deletion);
  expect([again.status, again.text]).toEqual([503, expect.stringContaining('nothing is written there: vault')]);
  expect(gateway.seen).toEqual([]);

  bucket.flaws.clear();
  await until(() => stateIs(gateway, 'proven'));
  expect((await gateway.ask('/customers/1', deletion)).status).toBe(200);
  expect(gateway.seen.map(({ method, url }) => `${method} ${url}`)).toEqual(['DELETE /customers/1']);
}, 300_000);

test('statements that passed by an earlier judgement do not pass any more once a store has lost its locks', async () => {
  bucket = await Bucket.open();
  const { port } = bucket.endpoint;
  process.env.STORE_SECRET = 'key';
  ledger = await Ledger.start((document) => {
    document.tap = { replicas: [vaultAt(port)] };
  });
  const gateway = ledger.sluice;
  const client = await ledger.connect({});
  client.on('error', () => {});
  const read = (id: number): Promise<string> =>
    client.query(`SELECT id FROM customers WHERE id = ${id}`).then(
      ({ rows }) => `${rows.length} rows`,
      ({ message }: Error) => message,
    );
  expect([await read(1), await read(2)]).toEqual(['1 rows', '1 rows']);
  await bucket.close();
  await until(() => stateIs(gateway, 'away'));
  expect(await read(3)).toBe('1 rows');
  bucket = await Bucket.open(Number(port));
  bucket.flaws.add('shortens');
  await until(() => stateIs(gateway, 'unfit'));
  // Filters are told within a lease.
  await until(async () => /nothing is written there: vault|could not be recorded/.test(await read(4)), 7_000);
  await client.end().catch(() => {});
}, 300_000);
