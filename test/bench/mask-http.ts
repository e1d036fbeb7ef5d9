/**
 * A 200 MB JSON array through Envoy with one field of five masked, over the same Envoy's second listener without the WASM filter: in turns,
 * one Envoy worker, client and target in this process. Then the time to the first byte, and a soak of small responses (--full: 1,000,000).
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Agent, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { Sluice } from '../e2e/sluice.fixture.ts';
import { freePort } from '../free_port.fixture.ts';
import { median, report, rounded } from './figures.ts';
import { cpuSecondsOf, residentBytesOf } from './processes.ts';

const GOAL = 0.35;
const ROUNDS = 5;
const FIRST_BYTE_ROUNDS = 60;
const ARRAY_BYTES = 200_000_000;
const SOAK = process.argv.includes('--full') ? 1_000_000 : 10_000;
const SOAK_CONNECTIONS = 16;

/** 4,096 objects of five fields; an array of any length is these, again and again. */
const block = Buffer.from(
  Array.from({ length: 4096 }, (_, i) => {
    const id = 1_000_000 + i;
    return JSON.stringify({
      id,
      name: `Customer Number ${id}`,
      ssn: `${100 + (i % 800)}-55-${1000 + i}`,
      city: 'Springfield',
      balance: i * 1.25,
    });
  }).join(','),
);

const plainPort = await freePort();
const sluice = await Sluice.start((document, dir) => {
  document.listeners.push({ name: 'plain', address: `127.0.0.1:${plainPort}` });
  document.targets.push({ ...document.targets[0], name: 'plain', listener: 'plain' });
  document.policy = { path: join(import.meta.dirname, 'policy'), timeout: '5s' };
  document.envoy = { concurrency: 1 };
  document.logging = { level: 'warn' };
  writeFileSync(join(dir, 'masking-key'), 'k'.repeat(40));
}, respond);
const token = await sluice.token({ exp: Math.floor(Date.now() / 1000) + 24 * 3600 });
try {
  await withoutFilter();
  report(await measure());
} finally {
  await sluice.close();
}
process.exit(0);

async function measure() {
  for (const path of ['/path', '/detectors']) await masked(path);
  const sides = { plain: [] as Round[], path: [] as Round[], detectors: [] as Round[] };
  for (let round = 0; round < ROUNDS; round++) {
    sides.plain.push(await transfer(plainPort, '/path', ARRAY_BYTES));
    sides.path.push(await transfer(sluice.port, '/path', ARRAY_BYTES));
    sides.detectors.push(await transfer(sluice.port, '/detectors', ARRAY_BYTES));
  }
  const ratio = (side: readonly Round[]) =>
    rounded(median(side.map((masked, i) => masked.mbPerSecond / (sides.plain[i]?.mbPerSecond ?? 0))), 3);
  return {
    name: 'mask-http',
    ratio: ratio(sides.path),
    goal: GOAL,
    envoy_cpu_ratio: rounded(median(sides.plain.map((plain, i) => plain.envoyCpuSeconds / (sides.path[i]?.envoyCpuSeconds ?? 0))), 3),
    unit: 'MB/s, masked by path (one field of five) over the same Envoy without the filter',
    masked: figures(sides.path),
    unmasked: figures(sides.plain),
    with_detectors: { ratio: ratio(sides.detectors), ...figures(sides.detectors) },
    first_byte: await firstBytes(),
    soak: await soak(),
    setup: { rounds: ROUNDS, array_bytes: ARRAY_BYTES, envoy_concurrency: 1, cpus: availableParallelism(), node: process.version },
  };
}

/** What is measured is masking, and not a mistake. */
async function masked(path: string): Promise<void> {
  const reply = await sluice.ask(`${path}?bytes=1000`, { token });
  const values = (JSON.parse(reply.text) as { ssn: unknown }[]).map(({ ssn }) => ssn);
  if (reply.status !== 200 || !values.every((ssn) => ssn === null)) throw new Error(`not masked: ${reply.text.slice(0, 200)}`);
}

/** Takes the filter out of the second listener, as an operator might: Envoy takes the changed file up while it runs. */
async function withoutFilter(): Promise<void> {
  const file = join(sluice.config.stateDir, 'envoy/lds.yaml');
  const lds = parse(readFileSync(file, 'utf8'), { version: '1.1' });
  const plain = lds.resources.find(({ name }: { name: string }) => name === 'plain');
  const manager = plain.filter_chains[0].filters[0].typed_config;
  manager.http_filters = manager.http_filters.filter(({ name }: { name: string }) => name !== 'sluice');
  writeFileSync(`${file}.next`, stringify(lds, { version: '1.1', aliasDuplicateObjects: false }));
  renameSync(`${file}.next`, file);
  for (const deadline = Date.now() + 10_000; ; await sleep(50)) {
    const { text } = await received(plainPort, '/path?bytes=1000', true);
    if (text.includes('-55-')) return;
    if (Date.now() > deadline) throw new Error('the second listener still masks');
  }
}

interface Round {
  readonly mbPerSecond: number;
  readonly envoyCpuSeconds: number;
}

async function transfer(port: number, path: string, bytes: number): Promise<Round> {
  const cpu = cpuSecondsOf(sluice.envoy.pid);
  const since = performance.now();
  await drained(port, `${path}?bytes=${bytes}`, bytes);
  const seconds = (performance.now() - since) / 1000;
  return { mbPerSecond: bytes / 1e6 / seconds, envoyCpuSeconds: cpuSecondsOf(sluice.envoy.pid) - cpu };
}

function figures(rounds: readonly Round[]) {
  return {
    mb_per_second: rounded(median(rounds.map((round) => round.mbPerSecond))),
    rounds_mb_per_second: rounds.map((round) => rounded(round.mbPerSecond)),
    envoy_cpu_seconds: rounded(median(rounds.map((round) => round.envoyCpuSeconds)), 2),
  };
}

/** Milliseconds from the request to the first byte of the body, of a response of 1 MB. */
async function firstBytes() {
  const [plain, path]: [number[], number[]] = [[], []];
  for (let round = 0; round < FIRST_BYTE_ROUNDS; round++) {
    plain.push((await received(plainPort, '/path?bytes=1000000')).firstByteMs);
    path.push((await received(sluice.port, '/path?bytes=1000000')).firstByteMs);
  }
  return {
    more_than_without_ms: rounded(median(path.map((ms, i) => ms - (plain[i] ?? 0))), 2),
    goal_ms: 5,
    masked_ms: rounded(median(path), 2),
    unmasked_ms: rounded(median(plain), 2),
    rounds: FIRST_BYTE_ROUNDS,
  };
}

/** Small masked responses one after the other; Envoy's resident memory after a tenth of them, and at the end. */
async function soak() {
  const agent = new Agent({ keepAlive: true, maxSockets: SOAK_CONNECTIONS });
  const rss: number[] = [residentBytesOf(sluice.envoy.pid)];
  const since = performance.now();
  for (let tenth = 0; tenth < 10; tenth++) {
    let left = SOAK / 10;
    const one = async (): Promise<void> => {
      while (left-- > 0) await received(sluice.port, '/detectors?bytes=1000', false, agent);
    };
    await Promise.all(Array.from({ length: SOAK_CONNECTIONS }, one));
    rss.push(residentBytesOf(sluice.envoy.pid));
  }
  agent.destroy();
  const mb = rss.map((bytes) => rounded(bytes / 1e6));
  return {
    responses: SOAK,
    seconds: rounded((performance.now() - since) / 1000),
    envoy_rss_mb_before: mb[0],
    envoy_rss_mb_after_a_tenth: mb[1],
    envoy_rss_mb_after: mb.at(-1),
    envoy_rss_mb: mb,
  };
}

/**
 * Reads a response to its end over a socket into one buffer, again and again: a client of HTTP costs more than Envoy does, and would hide it.
 * @throws {Error} when it is not a whole response of at least 0.8 of `bytes`: masked values are shorter
 */
function drained(port: number, path: string, bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let count = 0;
    let status = '';
    let end = '';
    const take = (length: number, buffer: Uint8Array): boolean => {
      if (count === 0) status = Buffer.from(buffer.subarray(0, 15)).toString('latin1');
      count += length;
      end = Buffer.from(buffer.subarray(Math.max(0, length - 5), length)).toString('latin1');
      return true;
    };
    const socket = connect({ host: '127.0.0.1', port, onread: { buffer: Buffer.alloc(1 << 20), callback: take } });
    socket.on('error', reject);
    socket.on('close', () => {
      if (status === 'HTTP/1.1 200 OK' && end.endsWith('0\r\n\r\n') && count > 0.8 * bytes) resolve();
      else reject(new Error(`${count} bytes of a response that begins with ${status} and ends with ${JSON.stringify(end)}`));
    });
    socket.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer ${token}\r\nconnection: close\r\n\r\n`);
  });
}

interface Received {
  readonly firstByteMs: number;
  readonly text: string;
}

/** @throws {Error} when the response is not whole */
function received(port: number, path: string, keep = false, agent: Agent | false = false): Promise<Received> {
  return new Promise((resolve, reject) => {
    const sent = performance.now();
    let firstByteMs = 0;
    const chunks: Buffer[] = [];
    get({ host: '127.0.0.1', port, path, agent, headers: { authorization: `Bearer ${token}` } }, (response: IncomingMessage) => {
      response.on('data', (chunk: Buffer) => {
        if (firstByteMs === 0) firstByteMs = performance.now() - sent;
        if (keep || response.statusCode !== 200) chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200 && response.complete) resolve({ firstByteMs, text });
        else reject(new Error(`status ${response.statusCode}: ${text}`));
      });
    }).on('error', reject);
  });
}

/** The target: about as many bytes of array as the query asks for. */
function respond(request: IncomingMessage, response: ServerResponse): boolean {
  // The fixture notes every request; a soak has too many, and nobody asks.
  sluice.seen.length = 0;
  let left = Number(new URL(request.url ?? '', 'http://target').searchParams.get('bytes'));
  response.setHeader('content-type', 'application/json');
  if (left < block.length) {
    const whole = block.lastIndexOf('},{', Math.max(left, 200)) + 1;
    response.end(`[${block.toString('latin1', 0, whole)}]`);
    return true;
  }
  response.write('[');
  const more = (): void => {
    for (;;) {
      left -= block.length;
      const flowing = response.write(block);
      if (left < block.length) return void response.end(']');
      response.write(',');
      if (!flowing) return void response.once('drain', more);
    }
  };
  more();
  return true;
}
