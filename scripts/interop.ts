/** `npm run test:interop`: clients in other languages against the whole gateway. What they need must be here; nothing is skipped. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AdminClient, adminClient } from '../authz-service/cli/admin_client.ts';
import { Demo } from '../test/e2e/demo.fixture.ts';
import { root } from './stages.ts';

const cache = process.env.SLUICE_CACHE || join(root, '.cache');
const venv = join(cache, 'interop', 'venv', 'bin', 'python');
const python = existsSync(venv) ? venv : 'python3';

interface Need {
  readonly what: string;
  readonly remedy: string;
  readonly probe: readonly [command: string, ...args: string[]];
  /** What the probe must print. */
  readonly prints: RegExp;
}

const NEEDS: readonly Need[] = [
  { what: 'curl with HTTP/2', remedy: 'apt install curl', probe: ['curl', '--version'], prints: /HTTP2/ },
  {
    what: 'Python 3 with requests',
    remedy: `python3 -m venv ${join('.cache', 'interop', 'venv')} && ${join('.cache', 'interop', 'venv', 'bin', 'pip')} install requests`,
    probe: [python, '-c', 'import requests; print("requests", requests.__version__)'],
    prints: /requests/,
  },
  { what: 'Go 1.24 or later', remedy: 'https://go.dev/dl', probe: ['go', 'version'], prints: /go1\.(2[4-9]|[3-9]\d)|go[2-9]/ },
  { what: 'h2load', remedy: 'apt install nghttp2-client', probe: ['h2load', '--version'], prints: /nghttp2/ },
];

const present = ({ probe: [command, ...args], prints }: Need): boolean => {
  try {
    return prints.test(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return false;
  }
};

interface Client {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Makes a check of what the client prints, where it does not print checks itself. */
  readonly judge?: (output: string) => string;
}

const here = (path: string): string => join(root, 'test', 'interop', path);

const clients = (gateway: string, token: string): Client[] => [
  { command: here('curl.sh'), args: [], cwd: root },
  { command: python, args: [here('client.py')], cwd: root },
  { command: 'go', args: ['run', '.'], cwd: here('go') },
  {
    command: 'h2load',
    args: ['-n', '2000', '-c', '4', '-m', '25', '-H', `authorization: Bearer ${token}`, `${gateway}/customers/1`],
    cwd: root,
    judge: (output) =>
      `${/2000 succeeded, 0 failed, 0 errored/.test(output) && /status codes: 2000 2xx/.test(output) ? 'ok' : 'not ok'} - h2load: 2000 reads over 4 connections, 25 at a time`,
  },
];

/** Nobody answers sooner, so that a client can tell a request that was held from one that was let through at once. */
const HELD_AT_LEAST_MS = 600;

/** Dana, who approves what is asked of orders and denies the rest, until told to stop. */
async function answerHolds(admin: AdminClient, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(100);
    const { approvals } = (await admin.get('/v1/approvals', { state: 'pending' })) as {
      approvals: { id: string; summary: string; held: string }[];
    };
    for (const { id, summary, held } of approvals) {
      if (Date.now() - Date.parse(held) < HELD_AT_LEAST_MS) continue;
      const answer = summary.startsWith('DELETE /orders/')
        ? { verdict: 'approve', reason: '' }
        : { verdict: 'deny', reason: 'not this one' };
      await admin.post(`/v1/approvals/${id}/answer`, answer);
    }
  }
}

const token = async (issuer: string, client: string): Promise<string> => {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${client}:demo-${client}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  return ((await response.json()) as { access_token: string }).access_token;
};

/** @returns how many checks passed and failed */
async function runClient({ command, args, cwd, judge }: Client, env: NodeJS.ProcessEnv): Promise<readonly [number, number]> {
  let [passed, failed, output] = [0, 0, ''];
  const count = (line: string): void => {
    if (line.startsWith('ok - ')) passed += 1;
    else if (line.startsWith('not ok - ')) failed += 1;
    process.stdout.write(`${line}\n`);
  };
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: child.stdout }).on('line', (line) => (judge ? (output += `${line}\n`) : count(line)));
  const code = await new Promise<number | null>((settle) => child.once('error', () => settle(null)).once('close', settle));
  if (judge) count(judge(output));
  // A client that broke off has not told its last failure.
  if (code !== 0 && failed === 0) count(`not ok - ${command} ended with code ${code}`);
  return [passed, failed];
}

async function main(): Promise<boolean> {
  const missing = NEEDS.filter((need) => !present(need));
  if (missing.length > 0) {
    process.stderr.write(
      `The interoperability tests need what is not here:\n${missing.map(({ what, remedy }) => `  - ${what}: ${remedy}\n`).join('')}.ci/run installs what Debian has of it (Go from Debian 13 on).\n`,
    );
    return false;
  }
  const demo = await Demo.start();
  const stop = new AbortController();
  try {
    const [gateway, issuer] = [`http://127.0.0.1:${demo.ports['8080']}`, `http://127.0.0.1:${demo.ports['9400']}`];
    const [agent, dana] = await Promise.all([token(issuer, 'agent'), token(issuer, 'dana')]);
    const answering = answerHolds(adminClient({ kind: 'socket', path: join(demo.dir, 'data/demo/run/admin.sock') }, dana), stop.signal);
    answering.catch(() => {});
    const counts: (readonly [number, number])[] = [];
    for (const client of clients(gateway, agent))
      counts.push(await runClient(client, { ...process.env, GATEWAY: gateway, TOKEN: agent, GOFLAGS: '-mod=mod' }));
    stop.abort();
    await answering;
    const [passed, failed] = counts.reduce(([p, f], [q, g]) => [p + q, f + g], [0, 0]);
    process.stdout.write(`\nInterop: ${passed} passed, ${failed} failed\n`);
    return failed === 0;
  } finally {
    stop.abort();
    await demo.close();
  }
}

process.exitCode = (await main()) ? 0 : 1;
