/** A log in memory, as it would be published, and ways to tamper with it. */
import { detailsPath, encodeDetails } from '../log/details.ts';
import { CLASSES, classOf, commitmentOf, encodeLeaf, LEAF_VERSION, type Leaf } from '../log/leaf.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { encodeEvent } from '../tap/event.ts';
import { leafKindOf } from '../tap/leaf_kind.ts';
import { BODIES, closedBody, type TapBody, type TapBodyOf, type TapEvent } from '../tap/schema.ts';
import { signCheckpoint } from '../tlog/checkpoint.ts';
import { cosign } from '../tlog/cosignature.ts';
import { Frontier, leafHash } from '../tlog/hash.ts';
import { formatNote, generateSignerKey, parseNote, parseSignerKey, type SignerKey } from '../tlog/note.ts';
import { CHECKPOINT_PATH, encodeBundle, TILE_WIDTH, TileEdge, tilePath, widthAt } from '../tlog/tile.ts';

export const ORIGIN = 'sluice.test/log';

export class MemoryObjects implements ObjectStore {
  readonly url = 'memory:';
  readonly objects = new Map<string, Buffer>();

  async put(key: string, bytes: Uint8Array): Promise<'stored'> {
    this.objects.set(key, Buffer.from(bytes));
    return 'stored';
  }
  async get(key: string): Promise<Buffer | undefined> {
    return this.objects.get(key);
  }
  async *list(prefix: string, after = ''): AsyncGenerator<string> {
    for (const key of [...this.objects.keys()].sort()) if (key.startsWith(prefix) && key > after) yield key;
  }
  async delete(key: string): Promise<void> {
    this.objects.delete(key);
  }
  async hold(): Promise<void> {}
  async settle(): Promise<void> {}
  async verify(): Promise<void> {}
  async close(): Promise<void> {}
}

export interface Written {
  readonly leaf: Leaf;
  readonly entry: Buffer;
  readonly salt: Buffer;
  readonly event: Buffer;
}

/** What can be done to a log before it is published. */
export class LogFixture {
  readonly key: SignerKey;
  readonly records: Written[] = [];
  readonly #newest = new Map<string, { index: number; position: number }>();
  #sequence = 0;
  #elapsedMs = 0;

  readonly #leafKind: typeof leafKindOf;

  /** `kinds`: whether leaves tell which payload there is; false: as versions before wrote them. */
  constructor(key = parseSignerKey(generateSignerKey(ORIGIN)), { kinds = false } = {}) {
    this.key = key;
    this.#leafKind = kinds ? leafKindOf : ({ body }) => BODIES[body.kind].number;
  }

  /** The next event gets a sequence so much higher. */
  skip(count: number): this {
    this.#sequence += count;
    return this;
  }

  /**
   * A millisecond after the one before; what is of no session two days later, so that it may tell of what was to be kept for a day.
   * `own`: the service has told it; default: what is of no session. `version`: of the leaf.
   */
  add(
    session: string,
    body: TapBody,
    target = session === '' ? '' : 'demo',
    {
      own = session === '',
      version = LEAF_VERSION,
      ...more
    }: { readonly own?: boolean; readonly version?: number; readonly command?: number } = {},
  ): this {
    const index = this.records.length;
    if (session === '') this.#elapsedMs += 2 * 86_400_000;
    const event: TapEvent = {
      emitter: 'ab'.repeat(16),
      sequence: (this.#sequence += 1),
      timeUnixNanos: 1_790_000_000_000_000_000n + BigInt(this.#elapsedMs + index) * 1_000_000n,
      session,
      target,
      truncated: [],
      ...more,
      body,
    };
    const bytes = Buffer.from(encodeEvent(event));
    const salt = Buffer.alloc(16, index % 251);
    const before = this.#newest.get(session);
    const position = session === '' ? 0 : (before?.position ?? 0) + 1;
    const { emitter, sequence, timeUnixNanos } = event;
    const subject = {
      kind: this.#leafKind(event),
      timeUnixNanos,
      emitter,
      sequence,
      session,
      target,
      own: own && version === LEAF_VERSION,
    };
    const leaf = { version, ...subject, position, previous: before?.index ?? 0, commitment: commitmentOf(salt, bytes) };
    if (session !== '') this.#newest.set(session, { index, position });
    this.records.push({ leaf, entry: encodeLeaf(leaf), salt, event: bytes });
    return this;
  }

  /** A session's end as the sink tells it: with the number of its events. */
  end(session: string, outcome = 'complete', more: Partial<TapBodyOf<'session_closed'>> = {}): this {
    const events = (this.#newest.get(session)?.position ?? 0) + 1;
    return this.add(session, { ...closedBody(outcome), events, ...more });
  }

  /** `count` events of sessions of four. */
  fill(count: number): this {
    for (let i = this.records.length; this.records.length < count; i += 1) {
      const session = `ses_${Math.floor(i / 4)}`;
      if (i % 4 === 0) this.add(session, opened);
      else if (i % 4 === 1) this.add(session, judged('allow'));
      else if (i % 4 === 2)
        this.add(session, {
          kind: 'payload_chunk',
          direction: 'response',
          offset: 0,
          data: Buffer.from('{"ssn":"***"}'),
          last: true,
          truncated: false,
          contentType: '',
          contentEncoding: '',
          reason: '',
        });
      else this.add(session, closedBody('complete'));
    }
    return this;
  }

  root(size = this.records.length): Buffer {
    const tree = new Frontier();
    for (const { entry } of this.records.slice(0, size)) tree.append(leafHash(entry));
    return tree.root();
  }

  checkpoint(size = this.records.length): string {
    return signCheckpoint({ origin: ORIGIN, size, root: this.root(size) }, [this.key]);
  }

  /** As it is published when these have cosigned it, at a time in Unix seconds. */
  cosigned(by: readonly SignerKey[], size = this.records.length, at = 1_790_000_500): Buffer {
    const { text, signatures } = parseNote(this.checkpoint(size));
    return Buffer.from(formatNote({ text, signatures: [...signatures, ...by.map((key) => cosign(text, key, at))] }));
  }

  publish(): MemoryObjects {
    const store = new MemoryObjects();
    const put = (key: string, bytes: Buffer): void => void store.objects.set(key, bytes);
    const size = this.records.length;
    const edge = new TileEdge();
    for (const { entry } of this.records) edge.append(leafHash(entry), (tile, bytes) => put(tilePath(tile), bytes));
    for (const { tile, bytes } of edge.partial()) put(tilePath(tile), bytes);
    for (let bundle = 0; bundle * TILE_WIDTH < size; bundle += 1) {
      const width = widthAt(0, bundle, size);
      const records = this.records.slice(bundle * TILE_WIDTH, bundle * TILE_WIDTH + width);
      put(tilePath({ level: 'entries', index: bundle, width }), encodeBundle(records.map(({ entry }) => entry)));
      for (const each of CLASSES) {
        const details = records.flatMap(({ leaf, salt, event }, i) =>
          classOf(leaf.kind) === each ? [{ index: bundle * TILE_WIDTH + i, salt, event }] : [],
        );
        if (details.length > 0) put(detailsPath(each, bundle, width), encodeDetails(details));
      }
    }
    put(CHECKPOINT_PATH, Buffer.from(this.checkpoint()));
    return store;
  }
}

export const opened: TapBody = {
  kind: 'session_opened',
  protocol: 'http',
  identity: 'corp:agent-7',
  identityJson: '{"id":"corp:agent-7"}',
  run: 'run-1',
  onBehalfOf: 'corp:ada',
  downstreamAddress: '127.0.0.1',
};

export const judged = (effect: string): TapBody => ({
  kind: 'request_judged',
  request: 'GET /customers/1',
  effect,
  rule: 'reads-are-allowed',
  reason: 'a read',
  policyRevision: 'ab12',
  maskedInputJson: '{}',
  decisionJson: '{}',
  approval: '',
  identityMicros: 3,
  policyMicros: 20,
  fingerprint: '',
  statementFingerprint: '',
});
