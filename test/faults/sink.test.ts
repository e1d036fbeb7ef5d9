import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { Sluice } from '../e2e/sluice.fixture.ts';
import { Way } from './way.fixture.ts';

let sluice: Sluice | undefined;
let way: Way | undefined;
afterEach(async () => {
  await sluice?.close();
  way?.cut();
});

/** Ends the response to /tickets/slow. */
let endSlow = (): void => {};
/** The filters know that their way is cut. */
const noticed = async (gateway: Sluice, token: string): Promise<void> => {
  await expect.poll(async () => (await gateway.ask('/tickets', { token })).status, { timeout: 20_000 }).toBe(503);
};

const start = async (require: boolean): Promise<Sluice> => {
  let opened: Promise<void> | undefined;
  const started = await Sluice.start(
    (document) => {
      document.tap = { require };
    },
    (request, response) => {
      if (request.url !== '/tickets/slow') return false;
      response.setHeader('content-type', 'application/json');
      response.write('[{"text":"first","ssn":"536-22-8134"},');
      endSlow = () => void response.end('{"text":"last"}]');
      return true;
    },
    (config) => {
      way = new Way(join(config.runDir, 'way.sock'), join(config.runDir, 'tap.sock'));
      opened = way.open();
      return { ...config, service: { ...config.service, tap: { kind: 'socket', path: way.path } } };
    },
  );
  await opened;
  return started;
};

test('the way to the sink is cut: nothing new passes, what runs ends and is recorded once it is back', async () => {
  sluice = await start(true);
  const token = await sluice.token();
  const first = await sluice.ask('/tickets', { token });
  expect(first.status).toBe(200);
  const begun = Promise.withResolvers<void>();
  const running = sluice.ask('/tickets/slow', { token, onData: () => begun.resolve() });
  await begun.promise;
  way?.cut();
  await noticed(sluice, token);
  const before = sluice.seen.length;
  const refused = await sluice.ask('/tickets', { token });
  expect(refused.status).toBe(503);
  expect(JSON.parse(refused.text).detail).toMatch(/\S/);
  expect(sluice.seen.length).toBe(before);
  endSlow();
  const ran = await running;
  expect([ran.status, ran.cut]).toEqual([200, false]);
  expect(ran.text).not.toContain('536-22-8134');
  await way?.open();
  const gateway = sluice;
  await expect.poll(async () => (await gateway.ask('/tickets', { token })).status, { timeout: 20_000 }).toBe(200);
  const events = await sluice.events(String(ran.headers['x-sluice-session']), 'response_finished');
  const sequences = events.map((event) => `${event.emitter} ${event.sequence}`);
  expect(new Set(sequences).size).toBe(sequences.length);
});

test('with tap.require: false requests pass while the sink is away', async () => {
  sluice = await start(false);
  const token = await sluice.token();
  expect((await sluice.ask('/tickets', { token })).status).toBe(200);
  way?.cut();
  await sleep(300);
  expect((await sluice.ask('/tickets', { token })).status).toBe(200);
});
