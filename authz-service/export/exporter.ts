/**
 * The service's side of the export: reads the record for the worker thread when that asks, and keeps what it says of itself. It asks for one piece at a time, so
 * the record is read at the receivers' pace; the sink never waits for it.
 */
import { Worker } from 'node:worker_threads';
import type { DeliveryLog, DeliveryStatus } from './delivery.ts';
import type { GoneLeaf } from './format.ts';
import type { ExportConfig, FromWorker, PackedLeaves, ToWorker, WorkerStart } from './messages.ts';

/** What the export needs of the record. */
export interface RecordSource {
  /** The log's name: with an index it names an event for ever. */
  readonly origin: string;
  /** How many events are durable. */
  readonly size: number;
  /** The durable events from `index` on, in order. */
  read(index: number): AsyncGenerator<{ readonly index: number; readonly bytes: Uint8Array; readonly gone?: undefined } | GoneLeaf, void>;
  /** How a session began, and what was judged in it last: events before this index, in order, as many as are of use to those that follow. */
  recall(session: string, before: number): AsyncGenerator<{ readonly index: number; readonly bytes: Uint8Array }, void>;
}

export interface DestinationStatus extends DeliveryStatus {
  readonly name: string;
  /** Leaves that are durable and not delivered. */
  readonly lag: number;
  /** For how long the oldest event in hand has waited, seconds. */
  readonly lagSeconds: number;
}

export interface ExporterOptions {
  readonly destinations: readonly ExportConfig[];
  readonly record: RecordSource;
  /** Where cursors and dead letters are. */
  readonly dir: string;
  readonly version: string;
  readonly logger: DeliveryLog;
}

export interface Exporter {
  readonly status: readonly DestinationStatus[];
  /** Times that the worker thread was lost and replaced. */
  readonly restarts: number;
  /** Gives up what is under way; it is sent again after the next start. */
  close(): Promise<void>;
}

const NEW: DeliveryStatus = { next: 0, events: 0, retries: 0, refused: 0, deadLetters: 0, missed: 0, failure: '', oldest: 0 };
const COUNTED = ['events', 'retries', 'refused', 'deadLetters', 'missed'] as const;
const MAX_HEAP_MB = 256;
const CLOSE_WITHIN_MS = 5000;
const RESTART_AFTER_MS = 1000;

class WorkerExporter implements Exporter {
  restarts = 0;
  readonly #options: ExporterOptions;
  readonly #status = new Map<string, DeliveryStatus>();
  /** What workers counted that are gone. */
  readonly #before = new Map<string, DeliveryStatus>();
  #worker: Worker | undefined;
  #restart: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#start();
  }

  get status(): DestinationStatus[] {
    const { size } = this.#options.record;
    return this.#options.destinations.map(({ name }) => {
      const [now, before] = [this.#status.get(name) ?? NEW, this.#before.get(name) ?? NEW];
      const counts = Object.fromEntries(COUNTED.map((key) => [key, before[key] + now[key]])) as Pick<
        DeliveryStatus,
        (typeof COUNTED)[number]
      >;
      const lagSeconds = now.oldest > 0 ? Math.max(0, (Date.now() - now.oldest) / 1000) : 0;
      return { ...now, ...counts, name, lag: Math.max(0, size - now.next), lagSeconds };
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    const worker = this.#worker;
    if (!worker) return;
    const ended = new Promise<void>((resolve) => {
      worker.once('exit', () => resolve());
      worker.on('message', ({ kind }: FromWorker) => kind === 'stopped' && resolve());
    });
    this.#tell(worker, { kind: 'stop' });
    const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_WITHIN_MS).unref());
    await Promise.race([ended, late]);
    await worker.terminate();
  }

  #start(): void {
    const { destinations, dir, version, record } = this.#options;
    const start: WorkerStart = { destinations, dir, version, origin: record.origin };
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: start,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    this.#worker = worker;
    worker.on('message', (message: FromWorker) => this.#hear(worker, message));
    worker.on('error', (error) => this.#options.logger.error({ err: error }, 'the worker of the export broke'));
    worker.on('exit', () => this.#lost(worker));
  }

  #lost(worker: Worker): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    if (this.#closed) return;
    for (const { name, next, failure, oldest, ...counts } of this.status) {
      this.#before.set(name, { ...NEW, ...counts });
      this.#status.set(name, { ...NEW, next, failure: failure || 'its worker was lost', oldest });
    }
    this.restarts += 1;
    this.#restart = setTimeout(() => this.#start(), RESTART_AFTER_MS);
  }

  #hear(worker: Worker, message: FromWorker): void {
    switch (message.kind) {
      case 'read':
        void this.#answer(worker, message.call, ({ record, size }) => leavesFrom(record, size, message));
        break;
      case 'recall':
        void this.#answer(worker, message.call, ({ record, size }) =>
          packed(record.recall(message.session, message.before), size, RECALLED),
        );
        break;
      case 'status':
        this.#status.set(message.name, message.status);
        break;
      case 'log':
        this.#options.logger[message.level](message.fields, message.message);
    }
  }

  async #answer(
    worker: Worker,
    call: number,
    read: (of: { readonly record: RecordSource; readonly size: number }) => Promise<PackedLeaves>,
  ): Promise<void> {
    const { record } = this.#options;
    const { size } = record;
    try {
      const leaves = await read({ record, size });
      this.#tell(worker, { kind: 'leaves', call, leaves, size }, [leaves.bytes.buffer]);
    } catch (error) {
      this.#tell(worker, { kind: 'unreadable', call, reason: `the record cannot be read: ${(error as Error).message}` });
    }
  }

  /** To a worker that has ended it is told in vain. */
  #tell(worker: Worker, message: ToWorker, hand: readonly ArrayBuffer[] = []): void {
    worker.postMessage(
      message,
      [...hand].filter(({ byteLength }) => byteLength > 0),
    );
  }
}

const NONE: PackedLeaves = { bytes: new Uint8Array(0), indices: [], ends: [], gone: [] };
const RECALLED = { events: 1000, bytes: 16 << 20 };

const leavesFrom = async (record: RecordSource, size: number, { from, events, bytes }: { from: number; events: number; bytes: number }) =>
  from < size && events > 0 ? packed(record.read(from), size, { events, bytes }) : NONE;

/** At least one leaf, where there is one. */
async function packed(
  leaves: ReturnType<RecordSource['read']>,
  size: number,
  most: { readonly events: number; readonly bytes: number },
): Promise<PackedLeaves> {
  const pieces: Uint8Array[] = [];
  const [indices, ends]: [number[], number[]] = [[], []];
  const gone: GoneLeaf[] = [];
  let length = 0;
  for await (const leaf of leaves) {
    if (leaf.index >= size || pieces.length + gone.length >= most.events) break;
    if (leaf.gone !== undefined) {
      gone.push({ index: leaf.index, gone: leaf.gone });
      continue;
    }
    const { index, bytes } = leaf;
    if (pieces.length > 0 && length + bytes.length > most.bytes) break;
    pieces.push(bytes);
    indices.push(index);
    length += bytes.length;
    ends.push(length);
  }
  const all = new Uint8Array(length);
  for (const [at, piece] of pieces.entries()) all.set(piece, at === 0 ? 0 : (ends[at - 1] as number));
  return { bytes: all, indices, ends, gone };
}

/** Begins to export. Never throws for a receiver that is away. */
export const startExporter = (options: ExporterOptions): Exporter => new WorkerExporter(options);
