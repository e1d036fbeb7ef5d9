/**
 * CPU time per Check of the whole service (HTTP/2, gRPC, verified token, policy, durable record) over that of a bare server of grpc-js that
 * answers the same request with the same answer as a constant. Each server is a process of its own under the same load, in turns.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ClientHttp2Session } from 'node:http2';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { localIssuer, signToken, type TestKey, testKey } from '../../authz-service/identity/local_issuer.fixture.ts';
import { checkRequest } from './decisions/check_request.ts';
import { checkOnce, drive, during, type Load, openLoad, times } from './decisions/load.ts';
import { median, quantile, report, rounded } from './figures.ts';

const IN_FLIGHT = 64;
/** Checks before anything is measured: until then V8 has not compiled what it will. */
const WARM_UP = 20_000;
const ROUNDS = 9;
const ROUND_SECONDS = 1.5;
const COLD_ROUNDS = 5;
const COLD_TOKENS = 300;
const GOAL = 1.6;
/** As `./sluice` starts the service. */
const GATEWAY_FLAGS = ['--max-semi-space-size=64'];

const root = fileURLToPath(new URL('../..', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
const [ecKey, rsaKey] = [await testKey('ES256', 'ec'), await testKey('RS256', 'rsa')];
const issuer = await localIssuer(ecKey, rsaKey);
const children: ChildProcess[] = [];

interface Side {
  readonly child: ChildProcess;
  readonly session: ClientHttp2Session;
}

interface Measured extends Load {
  readonly cpuMicrosPerCheck: number;
}

try {
  report(await measure());
} finally {
  for (const child of children) child.disconnect();
  await Promise.all(children.map((child) => once(child, 'exit')));
  await issuer[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
}
process.exit(0);

async function measure() {
  const frame = checkRequest(await token(ecKey, 'warm'));
  const gateway = await start('gateway.ts', join(dir, 'state/run/check.sock'), configuration());
  const answer = await checkOnce(gateway.session, frame);
  const socket = join(dir, 'bare.sock');
  const bare = await start('bare.ts', socket, socket, answer.toString('base64'));

  for (const side of [bare, gateway]) await measured(side, times(WARM_UP, frame));
  const rounds: { bare: Measured; gateway: Measured }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({
      bare: await measured(bare, during(ROUND_SECONDS, frame)),
      gateway: await measured(gateway, during(ROUND_SECONDS, frame)),
    });
  }
  const cold: Record<string, object> = {};
  for (const key of [ecKey, rsaKey]) cold[key.alg] = await coldFigures(gateway, key);

  return {
    name: 'decisions',
    ratio: rounded(median(rounds.map((round) => round.gateway.cpuMicrosPerCheck / round.bare.cpuMicrosPerCheck)), 3),
    goal: GOAL,
    unit: 'CPU microseconds per Check, all threads; gateway over bare grpc-js',
    gateway: figures(rounds.map((round) => round.gateway)),
    bare: figures(rounds.map((round) => round.bare)),
    cold,
    setup: {
      warm_up_checks: WARM_UP,
      rounds: ROUNDS,
      round_seconds: ROUND_SECONDS,
      in_flight: IN_FLIGHT,
      connections: 1,
      request_bytes: frame.length - 5,
      answer_bytes: answer.length,
      cpus: availableParallelism(),
      node: process.version,
    },
  };
}

async function coldFigures(gateway: Side, key: TestKey): Promise<object> {
  const rounds: Measured[] = [];
  for (let round = 0; round < COLD_ROUNDS; round++) {
    const frames = await Promise.all(
      Array.from({ length: COLD_TOKENS }, async (_, i) => checkRequest(await token(key, `cold-${round}-${i}`))),
    );
    rounds.push(await measured(gateway, () => frames.pop()));
  }
  return figures(rounds);
}

function figures(rounds: readonly Measured[]): object {
  const of = (read: (round: Measured) => number) => median(rounds.map(read));
  return {
    cpu_us_per_check: rounded(of((round) => round.cpuMicrosPerCheck)),
    rounds_us: rounds.map((round) => rounded(round.cpuMicrosPerCheck)),
    checks_per_second: Math.round(of((round) => round.checks / round.seconds)),
    p50_ms: rounded(
      of((round) => quantile(round.latencies, 0.5)),
      2,
    ),
    p99_ms: rounded(
      of((round) => quantile(round.latencies, 0.99)),
      2,
    ),
  };
}

async function measured({ child, session }: Side, next: () => Buffer | undefined): Promise<Measured> {
  const before = await cpuMicros(child);
  const load = await drive(session, IN_FLIGHT, next);
  return { ...load, cpuMicrosPerCheck: ((await cpuMicros(child)) - before) / load.checks };
}

async function cpuMicros(child: ChildProcess): Promise<number> {
  const told = once(child, 'message');
  child.send('cpu');
  const [{ cpuMicros: micros }] = (await told) as [{ cpuMicros: number }];
  return micros;
}

async function start(program: string, socket: string, ...args: string[]): Promise<Side> {
  const profiled = process.env.SLUICE_BENCH_PROFILE;
  const execArgv = [
    ...(program === 'gateway.ts' ? GATEWAY_FLAGS : []),
    ...(profiled ? ['--cpu-prof', `--cpu-prof-dir=${join(profiled, program)}`] : []),
  ];
  const child = fork(join(import.meta.dirname, 'decisions', program), args, { stdio: ['ignore', 2, 2, 'ipc'], execArgv });
  children.push(child);
  const [ready] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (ready !== 'ready') throw new Error(`${program} did not start`);
  return { child, session: await openLoad(socket) };
}

/** As long as those of a real issuer: a dozen claims, some 700 characters. */
function token(key: TestKey, id: string): Promise<string> {
  return signToken(key, {
    iss: issuer.url,
    sub: 'agent-7',
    client_id: 'agent-7',
    jti: id,
    run_id: 'run-2f1c',
    groups: ['support-agents', 'everyone', 'emea'],
    scope: 'customers.read orders.read tickets.read tickets.write',
    exp: Math.floor(Date.now() / 1000) + 3600,
  });
}

function configuration(): string {
  writeFileSync(join(dir, 'credential'), 'the-targets-own-secret\n');
  writeFileSync(join(dir, 'masking-key'), 'k'.repeat(40));
  const file = join(dir, 'sluice.yaml');
  const document = {
    version: 1,
    state_dir: 'state',
    listeners: [{ name: 'http', address: '127.0.0.1:10000' }],
    issuers: [{ name: 'bench', issuer: issuer.url, audiences: ['gateway'] }],
    targets: [
      {
        name: 'demo',
        listener: 'http',
        url: 'http://127.0.0.1:9',
        credentials: { default: { bearer: { file: join(dir, 'credential') } } },
      },
    ],
    // The time-out is there for a hanging policy, not for a busy machine.
    policy: { path: join(root, 'policies'), data: join(root, 'demo/grants.yaml'), timeout: '5s' },
    masking: { key: { file: join(dir, 'masking-key') } },
    logging: { level: 'warn' },
  };
  writeFileSync(file, stringify(document));
  return file;
}
