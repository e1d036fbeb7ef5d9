import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sluice } from './sluice.fixture.ts';

const SSN = '536-22-8134';
let sluice: Sluice;
/** What came first has reached the client. */
let arrived: Promise<void> = Promise.resolve();
beforeAll(async () => {
  sluice = await Sluice.start(undefined, (request, response) => {
    const pieces = STREAMS[request.url ?? ''];
    if (!pieces) return false;
    response.setHeader('content-type', pieces.type);
    void (async () => {
      for (const piece of pieces.body) {
        response.write(piece);
        await arrived;
        await sleep(50);
      }
      response.end();
    })();
    return true;
  });
});
afterAll(() => sluice?.close());

const STREAMS: Record<string, { type: string; body: string[] }> = {
  '/tickets/sse': {
    type: 'text/event-stream',
    body: [`data: {"ssn":"${SSN}","n":1}\n\n`, `data: {"n":2,"s\\u0073n":"536-22-`, `8134"}\n\n`],
  },
  '/tickets/ndjson': { type: 'application/x-ndjson', body: [`{"ssn":"${SSN}","n":1}\n`, `{"n":2,"s\\u0073n":"536-`, `22-8134"}\n`] },
  '/tickets/json': { type: 'application/json', body: [`[{"n":1,"ssn":"${SSN}"},`, `{"n":2,"note":"card 4111 1111 11`, `11 1111"}]`] },
};

test.each(Object.keys(STREAMS))('%s: what is safe leaves at once, and nothing sensitive ever does', async (path) => {
  const arrivals: string[] = [];
  const { promise, resolve: come } = Promise.withResolvers<void>();
  arrived = promise;
  const reply = await sluice.ask(path, {
    token: await sluice.token(),
    onData: (chunk) => {
      arrivals.push(chunk.toString());
      come();
    },
  });
  expect([reply.status, reply.cut]).toEqual([200, false]);
  // Nothing behind the first piece is sent before that is here.
  expect(arrivals.length).toBeGreaterThan(1);
  expect(arrivals[0]).toContain('1');
  for (const secret of [SSN, '22-8134', '4111 1111 11', '1111 1111']) expect(reply.text).not.toContain(secret);
});

test('a body of 20 MB is masked whole', async () => {
  const row = `{"id":1,"name":"x","ssn":"${SSN}","text":"${'y'.repeat(200)}"}`;
  const rows = 80_000;
  STREAMS['/tickets/large'] = { type: 'application/json', body: [`[${Array.from({ length: rows }, () => row).join(',')}]`] };
  const reply = await sluice.ask('/tickets/large', { token: await sluice.token() });
  expect([reply.status, reply.cut]).toEqual([200, false]);
  expect(reply.text).not.toContain(SSN);
  const masked = JSON.parse(reply.text) as { ssn: unknown; text: string }[];
  expect(masked).toHaveLength(rows);
  expect(masked.every(({ ssn, text }) => ssn === null && text.length === 200)).toBe(true);
});

test('metrics are named as Prometheus has it: help and type for each, counters end in _total, units are seconds and bytes', async () => {
  const lines = (await sluice.admin('GET', '/metrics')).text.split('\n').filter((line) => /^(?:# (?:HELP|TYPE) )?sluice_/.test(line));
  const types = new Map(
    lines.flatMap((line) => [...line.matchAll(/^# TYPE (\S+) (counter|gauge|histogram)$/g)].map(([, name, type]) => [name, type])),
  );
  expect(types.size).toBeGreaterThan(25);
  for (const [name = '', type] of types) {
    expect(name).toMatch(/^sluice(?:_[a-z]+)+$/);
    expect(name.endsWith('_total'), name).toBe(type === 'counter');
    expect(name).not.toMatch(/_(?:count|sum|bucket|counter|gauge|histogram|ms|milliseconds|micros|minutes|kb|mb)(?:_|$)/);
    if (type === 'histogram') expect(name).toMatch(/_(?:seconds|bytes)$/);
    expect(lines.filter((line) => line.startsWith(`# HELP ${name} `) && line.endsWith('.'))).toHaveLength(1);
  }
  for (const line of lines.filter((one) => !one.startsWith('#'))) {
    const [, name = '', value] = /^([a-z_]+)(?:\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (\S+)$/.exec(line) ?? [];
    expect(types.has(name) || types.get(name.replace(/_(?:bucket|sum|count)$/, '')) === 'histogram', line).toBe(true);
    expect(Number(value), line).not.toBeNaN();
  }
});

test('Prometheus reads what was decided, and readiness tells the truth', async () => {
  const metrics = (await sluice.admin('GET', '/metrics')).text;
  expect(metrics).toMatch(/^sluice_policy_workers [1-9]/m);
  expect(metrics).toMatch(/^sluice_policy_worker_restarts_total\{reason="timed_out"\} 0$/m);
  expect(metrics).toMatch(/^sluice_tap_streams_refused_total\{code="malformed"\} 0$/m);
  expect(metrics).toMatch(/sluice_decisions_total\{effect="allow",target="demo",rule="[^"]+"\} [1-9]/);
  expect(metrics).toMatch(/sluice_stage_seconds_count\{stage="policy"\} [1-9]/);
  expect(metrics).toMatch(/sluice_tap_events_total [1-9]/);
  expect(metrics).toMatch(/sluice_tap_streams_open [1-9]/);
  expect(JSON.parse((await sluice.admin('GET', '/readyz')).text)).toMatchObject({ ready: true });
  expect((await sluice.admin('GET', '/healthz')).status).toBe(200);
});
