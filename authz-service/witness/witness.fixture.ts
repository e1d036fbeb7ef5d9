/** A witness for tests, as strict as the protocol has it, and a log to show it. The real one is in test/interop/witness.ts. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseCheckpoint, signCheckpoint } from '../tlog/checkpoint.ts';
import { cosign } from '../tlog/cosignature.ts';
import { TlogError } from '../tlog/error.ts';
import { EMPTY_ROOT, leafHash, rootOf } from '../tlog/hash.ts';
import { formatNote, generateSignerKey, openNote, parseNote, parseSignerKey, type SignerKey } from '../tlog/note.ts';
import { checkConsistency, proveConsistency } from '../tlog/proof.ts';
import type { ReadNode } from '../tlog/tile.ts';

/** A tree in memory: leaves are texts. */
export class MemoryLog {
  readonly key: SignerKey;
  readonly leaves: Buffer[] = [];

  constructor(origin: string, key: SignerKey = parseSignerKey(generateSignerKey(origin))) {
    this.key = key;
  }

  get origin(): string {
    return this.key.verifier.name;
  }

  add(...texts: readonly string[]): this {
    this.leaves.push(...texts.map((text) => leafHash(Buffer.from(text))));
    return this;
  }

  /** Another log of this name and key, which begins as this one does. */
  fork(size: number): MemoryLog {
    const other = new MemoryLog(this.origin, this.key);
    other.leaves.push(...this.leaves.slice(0, size));
    return other;
  }

  checkpoint(size = this.leaves.length): string {
    return signCheckpoint({ origin: this.origin, size, root: rootOf(this.leaves.slice(0, size)) }, [this.key]);
  }

  prove = (oldSize: number, size: number): Promise<Buffer[]> => proveConsistency(oldSize, size, this.#node);

  #node: ReadNode = async (height, index) => rootOf(this.leaves.slice(index * 2 ** height, (index + 1) * 2 ** height));
}

interface Reply {
  readonly status: number;
  readonly type?: string;
  readonly body: string;
}

export class StrictWitness {
  readonly key = parseSignerKey(generateSignerKey('witness.example/strict', 'cosignature'));
  /** What it cosigned last. */
  latest = { size: 0, root: EMPTY_ROOT };
  /** Answers in place of the witness, in turn. */
  readonly faults: (Reply | 'silence')[] = [];
  /** By how much its clock is fast. Seconds. */
  fast = 0;
  requests = 0;
  away = false;
  readonly #log: MemoryLog | undefined;
  readonly #server: Server;
  url = new URL('http://127.0.0.1');

  /** `log`: the one that it knows. */
  constructor(log: MemoryLog | undefined) {
    this.#log = log;
    this.#server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      this.requests += 1;
      if (this.away) return void request.socket.destroy();
      const fault = this.faults.shift();
      if (fault === 'silence') return;
      const path = request.method === 'POST' && request.url === '/prefix/add-checkpoint';
      const {
        status,
        type = 'text/plain',
        body,
      } = fault ?? (path ? this.#answer(Buffer.concat(chunks).toString()) : { status: 404, body: 'no' });
      response.writeHead(status, { 'content-type': type }).end(body);
    });
  }

  async open(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/prefix/`);
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer(body: string): Reply {
    const end = body.indexOf('\n\n');
    const [first = '', ...lines] = body.slice(0, end).split('\n');
    const old = /^old (0|[1-9]\d*)$/.exec(first)?.[1];
    if (end < 0 || old === undefined || lines.length > 63) return { status: 400, body: 'malformed' };
    const note = body.slice(end + 2);
    const { text } = parseNote(note);
    const checkpoint = parseCheckpoint(text);
    if (checkpoint.origin !== this.#log?.origin) return { status: 404, body: 'unknown log' };
    try {
      openNote(note, [this.#log.key.verifier]);
    } catch {
      return { status: 403, body: 'no known key' };
    }
    if (Number(old) > checkpoint.size) return { status: 400, body: 'old is larger' };
    if (Number(old) !== this.latest.size) return { status: 409, type: 'text/x.tlog.size', body: `${this.latest.size}\n` };
    try {
      checkConsistency(
        this.latest,
        checkpoint,
        lines.map((line) => Buffer.from(line, 'base64')),
      );
    } catch (error) {
      if (error instanceof TlogError) return { status: 422, body: error.message };
      throw error;
    }
    this.latest = { size: checkpoint.size, root: checkpoint.root };
    return {
      status: 200,
      body: formatNote({ text, signatures: [cosign(text, this.key, Math.floor(Date.now() / 1000) + this.fast)] }).slice(text.length + 1),
    };
  }
}
