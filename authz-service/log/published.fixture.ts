/** A published log for tests of what is done with one, without the service that writes it. */
import { randomBytes } from 'node:crypto';
import { localFiles } from '../storage/local_files.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { type Checkpoint, openCheckpoint, signCheckpoint } from '../tlog/checkpoint.ts';
import { Frontier, leafHash } from '../tlog/hash.ts';
import { generateSignerKey, parseSignerKey, type SignerKey } from '../tlog/note.ts';
import { CHECKPOINT_PATH, encodeBundle, TILE_WIDTH, TileEdge, tilePath } from '../tlog/tile.ts';
import { type Detail, detailsPath, encodeDetails } from './details.ts';
import { CLASSES, classOf, decodeLeaf, encodeLeafView, NOTICE_KIND, SALT_BYTES } from './leaf.ts';
import { LogReader } from './reader.ts';

export interface TestEvent {
  readonly session: string;
  readonly text: string;
  /** 11 is an event, 17 a payload, 18 a notice. Default: of no session 18, of others 11. */
  readonly kind?: number;
  /** Unix milliseconds. */
  readonly at?: number;
  /** The service itself tells it. Default: what is of no session. */
  readonly own?: boolean;
  /** The index of the session's event before. Default: it is the first one. */
  readonly previous?: number;
}

export class PublishedLog {
  readonly key: SignerKey;
  readonly objects: ObjectStore;
  readonly entries: Buffer[];
  readonly details: Detail[];

  constructor(directory: string, from?: { readonly log: PublishedLog; readonly size: number }) {
    this.key = from?.log.key ?? parseSignerKey(generateSignerKey('sluice.example/gateway-1'));
    this.objects = localFiles(directory);
    this.entries = from?.log.entries.slice(0, from.size) ?? [];
    this.details = from?.log.details.slice(0, from.size) ?? [];
  }

  open = (note: Uint8Array): Checkpoint => openCheckpoint(note, this.key.verifier.name, [this.key.verifier]);

  add(...events: readonly TestEvent[]): this {
    for (const { session, text, kind = session === '' ? NOTICE_KIND : 11, at = 0, previous, own = session === '' } of events) {
      const [index, salt, event] = [this.entries.length, randomBytes(SALT_BYTES), Buffer.from(text)];
      const subject = {
        kind,
        timeUnixNanos: BigInt(at) * 1_000_000n,
        emitter: '0'.repeat(32),
        sequence: index + 1,
        session,
        target: 't',
        own,
      };
      this.entries.push(
        Buffer.from(encodeLeafView(subject, session === '' ? 0 : previous === undefined ? 1 : 2, previous ?? 0, salt, event)),
      );
      this.details.push({ index, salt, event });
    }
    return this;
  }

  /** `count` events of one session, each of which says its number. */
  fill(count: number, event: Omit<TestEvent, 'text'> = { session: 's' }): this {
    return this.add(...Array.from({ length: count }, (_, n) => ({ ...event, text: `event ${this.entries.length + n}` })));
  }

  checkpoint(size = this.entries.length): string {
    const tree = new Frontier();
    for (const entry of this.entries.slice(0, size)) tree.append(leafHash(entry));
    return signCheckpoint({ origin: this.key.verifier.name, size: tree.size, root: tree.root() }, [this.key]);
  }

  /** As the service does: full objects once, the edge as it is now, the checkpoint last. What was deleted stays so. */
  async publish(): Promise<this> {
    const before = (await this.objects.get(CHECKPOINT_PATH)) ?? undefined;
    const published = before === undefined ? 0 : this.open(before).size;
    const edge = new TileEdge();
    const tiles: [string, Buffer][] = [];
    for (const [index, entry] of this.entries.entries())
      edge.append(leafHash(entry), (tile, bytes) => void (index >= published && tiles.push([tilePath(tile), bytes])));
    for (const { tile, bytes } of edge.partial()) tiles.push([tilePath(tile), bytes]);
    for (const [key, bytes] of tiles) await this.objects.put(key, bytes);
    for (let bundle = Math.floor(published / TILE_WIDTH); bundle * TILE_WIDTH < this.entries.length; bundle += 1)
      await this.#putBundle(bundle, published);
    if (published % TILE_WIDTH > 0 && published < this.entries.length)
      for (const each of CLASSES) await this.objects.delete(detailsPath(each, Math.floor(published / TILE_WIDTH), published % TILE_WIDTH));
    await this.objects.put(CHECKPOINT_PATH, Buffer.from(this.checkpoint()));
    return this;
  }

  async #putBundle(bundle: number, published: number): Promise<void> {
    const [from, to] = [bundle * TILE_WIDTH, (bundle + 1) * TILE_WIDTH];
    const entries = this.entries.slice(from, to);
    await this.objects.put(tilePath({ level: 'entries', index: bundle, width: entries.length }), encodeBundle(entries));
    for (const each of CLASSES) {
      const there = published > from ? await new LogReader(this.objects).details(each, bundle, published) : new Map<number, Detail>();
      const details = this.details
        .slice(from, to)
        .filter(
          ({ index }) => classOf(decodeLeaf(this.entries[index] as Buffer).kind) === each && (index >= published || there.has(index)),
        );
      if (details.length > 0) await this.objects.put(detailsPath(each, bundle, entries.length), encodeDetails(details));
    }
  }
}
