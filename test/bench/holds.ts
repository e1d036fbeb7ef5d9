/** 5,000 requests held at once through Envoy, each approved over the admin API, and what a hold weighs while it waits. */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Reply, Sluice } from '../e2e/sluice.fixture.ts';
import { report, rounded } from './figures.ts';
import { residentBytesOf } from './processes.ts';

const HOLDS = 5_000;
/** Connections that are opened, and approvals that are answered, at once. */
const AT_ONCE = 50;

const sluice = await Sluice.start(
  (document) => {
    document.policy.timeout = '5s';
    document.logging = { level: 'warn' };
  },
  (_, response) => {
    response.setHeader('content-type', 'application/json').end('{}');
    return true;
  },
);
try {
  report(await measure());
} finally {
  await sluice.close();
}
process.exit(0);

async function measure() {
  const lifetime = { exp: Math.floor(Date.now() / 1000) + 3600 };
  const [token, approver] = [
    await sluice.token(lifetime),
    await sluice.token({ ...lifetime, sub: 'dana', client_id: undefined, groups: ['leads'] }),
  ];
  for (let i = 0; i < 200; i++) await sluice.ask('/customers', { token });
  const before = memory();

  const since = performance.now();
  const answers: Promise<Reply>[] = [];
  for (let i = 0; i < HOLDS; i++) {
    const open = answers.push(sluice.ask(`/customers/${i}`, { method: 'DELETE', token }));
    if (open % AT_ONCE === 0) await pendingAtLeast(open - AT_ONCE);
  }
  await pendingAtLeast(HOLDS);
  const held = await listed(approver);
  const heldSeconds = (performance.now() - since) / 1000;
  const during = memory();

  const answering = performance.now();
  const ids = held.map(({ id }) => id);
  let refused = 0;
  const answer = async (): Promise<void> => {
    for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
      if ((await sluice.answer(id, 'approve', 'measured', approver)).status !== 200) refused++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, answer));
  const replies = await Promise.all(answers);
  const answeredSeconds = (performance.now() - answering) / 1000;
  const passed = replies.filter(({ status, cut }) => status === 200 && !cut).length;

  return {
    name: 'holds',
    ratio: passed / HOLDS,
    goal: 1,
    unit: 'requests that passed after their approval, over requests held at once',
    held: held.length,
    answers_refused: refused,
    passed,
    lost: HOLDS - passed,
    reached_target: sluice.seen.filter(({ method }) => method === 'DELETE').length,
    seconds_to_hold: rounded(heldSeconds),
    seconds_to_answer: rounded(answeredSeconds),
    memory_per_hold_kb: { service: perHold(before.service, during.service), envoy: perHold(before.envoy, during.envoy) },
    rss_mb: { before: inMegabytes(before), during: inMegabytes(during) },
    setup: { holds: HOLDS, envoy_concurrency: 1, cpus: availableParallelism(), node: process.version },
  };
}

interface Memory {
  readonly service: number;
  readonly envoy: number;
}

function memory(): Memory {
  return { service: residentBytesOf(sluice.servicePid), envoy: residentBytesOf(sluice.envoy.pid) };
}

function perHold(before: number, during: number): number {
  return rounded((during - before) / 1000 / HOLDS);
}

function inMegabytes({ service, envoy }: Memory) {
  return { service: rounded(service / 1e6), envoy: rounded(envoy / 1e6) };
}

async function listed(token: string): Promise<readonly { id: string }[]> {
  return JSON.parse((await sluice.admin('GET', '/v1/approvals?state=pending', token)).text).approvals;
}

/** Reads the gauge: the list of thousands of approvals is not asked for again and again. */
async function pendingAtLeast(count: number): Promise<void> {
  for (const deadline = Date.now() + 120_000; ; await sleep(20)) {
    const { text } = await sluice.admin('GET', '/metrics');
    const open = Number(/^sluice_holds_open (\d+)$/m.exec(text)?.[1] ?? 0);
    if (open >= count) return;
    if (Date.now() > deadline) throw new Error(`${open} of ${count} requests are held`);
  }
}
