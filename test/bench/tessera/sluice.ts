/**
 * The record for the bench of tessera, in a process of its own: `sluice.ts http PORT DIR` takes entries as tessera's conformance server does and serves what is published;
 * `sluice.ts direct BYTES WRITERS SECONDS DIR` has the same entries told to the sink from within, for so long, and prints how many became durable.
 */
import { randomFillSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { recordParts } from '../../../authz-service/record.ts';
import { openSink } from '../../../authz-service/tap/sink.ts';
import { formatVerifierKey } from '../../../authz-service/tlog/note.ts';
import { quantile, rounded } from '../figures.ts';

const [, , mode, ...args] = process.argv;
const directory = args.at(-1) as string;
const { openStore, index, keys, log } = recordParts({ stateDir: directory, tap: { retention: { kinds: {} } } as never });
const sink = await openSink({ openStore, index });

/** Resolves to its index when it is durable under a signed checkpoint. */
let next = sink.size;
const add = async (text: string): Promise<number> => {
  const at = next;
  next += 1;
  await sink.append([{ session: '', target: '', body: { kind: 'notice', notice: 'bench', text } }]);
  return at;
};

const bodyOf = (request: IncomingMessage): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    request.setEncoding('latin1');
    request.on('data', (piece: string) => {
      text += piece;
    });
    request.on('end', () => resolve(text));
    request.on('error', reject);
  });

const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const { method, url = '' } = request;
  if (method === 'POST' && url === '/add') response.end(String(await add(await bodyOf(request))));
  else if (method === 'GET' && /^\/(checkpoint|tile\/[a-z0-9./]+)$/.test(url)) {
    const bytes = await readFile(join(directory, 'tap', 'log', url)).catch(() => undefined);
    if (bytes === undefined) response.statusCode = 404;
    response.end(bytes);
  } else {
    response.statusCode = 404;
    response.end();
  }
};

async function serve(port: number): Promise<void> {
  await log().publish();
  const server = createServer((request, response) => {
    answer(request, response).catch((error: Error) => {
      response.statusCode = 500;
      response.end(error.message);
    });
  });
  server.listen(port, '127.0.0.1', () => process.stdout.write(`${formatVerifierKey(keys[0] as (typeof keys)[number])}\n`));
}

/** Entries that no other is like, as hexadecimal digits. Of random bytes that are asked for many at once: the hammer's own cost nothing in the log's process. */
function newEntries(bytes: number): () => string {
  const random = Buffer.alloc((bytes / 2) * 1024);
  let at = random.length;
  return () => {
    if (at === random.length) {
      randomFillSync(random);
      at = 0;
    }
    at += bytes / 2;
    return random.toString('hex', at - bytes / 2, at);
  };
}

async function direct(bytes: number, writers: number, seconds: number): Promise<void> {
  const waited: number[] = [];
  const entry = newEntries(bytes);
  let ended = false;
  let counting = false;
  const writer = async (): Promise<void> => {
    while (!ended) {
      const text = entry();
      const since = performance.now();
      await add(text);
      if (counting) waited.push(performance.now() - since);
    }
  };
  const running = Promise.all(Array.from({ length: writers }, writer));
  await new Promise((resolve) => setTimeout(resolve, (seconds * 1000) / 4));
  const before = { size: sink.size, cpu: process.cpuUsage(), at: performance.now() };
  counting = true;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const [took, size, { user, system }] = [(performance.now() - before.at) / 1000, sink.size, process.cpuUsage(before.cpu)];
  ended = true;
  await running;
  await sink.close();
  const entries = size - before.size;
  waited.sort((a, b) => a - b);
  const figures = {
    entries_a_second: entries / took,
    cpu_micros_an_entry: (user + system) / entries,
    p99_ms: rounded(quantile(waited, 0.99)),
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}

if (mode === 'http') await serve(Number(args[0]));
else await direct(Number(args[0]), Number(args[1]), Number(args[2]));
