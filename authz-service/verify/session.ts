/** Verifies one session, or one event, without the rest of the log: each leaf by its inclusion proof, made of a few tiles. */

import type { Detail } from '../log/details.ts';
import { CLASSES, type DetailClass, decodeLeaf, isOfService, isOwnNotice, type Leaf, NOTICE_KIND, PAYLOAD_CLASSES } from '../log/leaf.ts';
import { LogReader } from '../log/reader.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { pruningIn, timeText } from '../tap/event.ts';
import { kindOf, payloadOf } from '../tap/leaf_kind.ts';
import { BODIES, type TapEvent } from '../tap/schema.ts';
import { TlogError } from '../tlog/error.ts';
import { Frontier, leafHash, rootOf } from '../tlog/hash.ts';
import { checkConsistency, checkInclusion, frontierOf, proveInclusion } from '../tlog/proof.ts';
import { TILE_WIDTH } from '../tlog/tile.ts';
import { conclude, type Earlier, earlierOnes, readHeads } from './head.ts';
import type { Verification } from './log.ts';
import { explain, Missing } from './missing.ts';
import { PrunedFront } from './pruned.ts';
import { Chains, checkEvent, comesLate, countedEnd } from './record.ts';
import { addFault, Faults, type Report, type SessionExtent } from './report.ts';
import { openSigned, type Seen, type Trust } from './trust.ts';

/** A leaf with what proves that it stands in the tree. */
export interface ProvenLeaf {
  readonly index: number;
  readonly entry: Buffer;
  readonly detail: Detail | undefined;
  readonly proof: readonly Buffer[];
}

export interface VerifiedEvent {
  readonly index: number;
  readonly leaf: Leaf;
  /** `undefined` when it was deleted after its retention, or is of a later version. */
  readonly event: TapEvent | undefined;
}

/** Checks leaves against a checkpoint, one after the other: that they stand in the tree, and that the events are theirs. Keeps none of them. */
export class LeafCheck {
  readonly #seen: Seen;
  readonly #faults: Faults;
  readonly #checked = { leaves: 0, events: 0 };
  readonly #missing: Missing;
  readonly #session: string | undefined;

  /** `session`: the one that it is about; notices of the gateway's own that stand among its leaves are there to tell what was deleted. */
  constructor(seen: Seen, missing: Missing, faults: Faults, session?: string) {
    this.#seen = seen;
    this.#session = session;
    this.#missing = missing;
    this.#faults = faults;
  }

  get checked(): Report['checked'] {
    return { ...this.#checked };
  }

  /** `undefined`: it cannot be read, which is among the faults. */
  add({ index, entry, detail, proof }: ProvenLeaf): VerifiedEvent | undefined {
    try {
      checkInclusion(leafHash(entry), index, this.#seen, proof);
    } catch (error) {
      this.#faults.add('inclusion', (error as Error).message);
    }
    let leaf: Leaf;
    try {
      leaf = decodeLeaf(entry);
    } catch (error) {
      this.#faults.add('malformed', `leaf ${index}: ${(error as Error).message}`);
      return undefined;
    }
    this.#checked.leaves += 1;
    if (detail === undefined) {
      if (this.#session !== undefined && isOwnNotice(leaf)) this.#missing.deletions.gone(index, leaf);
      else this.#missing.add(index, leaf);
      return { index, leaf, event: undefined };
    }
    const event = checkEvent(index, leaf, detail, this.#faults);
    this.#missing.deletions.add(index, leaf, event);
    this.#checked.events += 1;
    return { index, leaf, event };
  }
}

/** Follows the events of one session, in the order of the log: that none is missing from the first to the last one, and where it ended. */
export class SessionCheck {
  readonly #chain: Chains;
  #events = 0;
  #end: SessionExtent['end'];

  constructor(faults: Faults) {
    this.#chain = new Chains(faults);
  }

  add({ index, leaf, event }: VerifiedEvent): void {
    this.#chain.add(index, leaf, event);
    this.#events += 1;
    const outcome = event?.body.kind === 'session_closed' ? event.body.outcome : '';
    // An end that was told counts before one that was assumed.
    const ends = this.#end === undefined || (this.#end.outcome === 'unknown' && outcome !== 'unknown');
    if (leaf.kind === BODIES.session_closed.number && ends) this.#end = { leaf: index, outcome, after: 0, ...counts(event) };
    else if (this.#end !== undefined) {
      const { after, late } = this.#end;
      this.#end = { ...this.#end, after: after + 1, ...(late !== undefined && { late: late + (comesLate(leaf) ? 1 : 0) }) };
    }
  }

  get extent(): SessionExtent {
    return { events: this.#events, ...(this.#end !== undefined && { end: this.#end }) };
  }
}

const counts = (event: TapEvent | undefined): Pick<NonNullable<SessionExtent['end']>, 'of' | 'late' | 'missing'> => {
  const end = countedEnd(event);
  if (end === undefined) return {};
  const { events: of, missingEmitter: emitter, missingFrom: from, missingTo: to } = end;
  return { of, late: 0, ...(emitter !== '' && { missing: { emitter, from, to } }) };
};

/** Where the leaves of a session stand, and the root of the whole tree as what was read gives it. */
export interface Found {
  readonly indices: readonly number[];
  /** When it is the root that is signed, every leaf was looked at that can be the session's: all behind its first one are hashed into it. */
  readonly root: Buffer;
}

/**
 * Looks for a session: reads every entry of the log of `size` leaves that was not pruned, those from `minimum` on, newest first, until the chain has come to its beginning. Rejects
 * as the log's reader does.
 */
export const findSession = async (
  reader: LogReader,
  session: string,
  { size, minimum }: { readonly size: number; readonly minimum: number },
): Promise<Found> => {
  const indices: number[] = [];
  /** Of the full bundles that were read, the newest first. */
  const subtrees: Buffer[] = [];
  let edge: readonly Buffer[] = [];
  let first = Number.POSITIVE_INFINITY;
  let bundle = Math.ceil(size / TILE_WIDTH);
  const pruned = minimum / TILE_WIDTH;
  while (bundle > pruned && first > 1) {
    bundle -= 1;
    const entries = await reader.entries(bundle, size);
    const hashes = entries.map(leafHash);
    if (hashes.length < TILE_WIDTH) edge = hashes;
    else subtrees.push(rootOf(hashes));
    for (let i = entries.length - 1; i >= 0; i -= 1) {
      // The name stands in the leaf as it is: most leaves need no more than a look.
      if (!(entries[i] as Buffer).includes(session)) continue;
      const leaf = decodeLeaf(entries[i] as Buffer);
      if (leaf.session !== session) continue;
      indices.push(bundle * TILE_WIDTH + i);
      first = leaf.position;
    }
  }
  const before = bundle * TILE_WIDTH;
  const tree = Frontier.of(before, before === 0 ? [] : await frontierOf(before, reader.nodes(size)));
  for (const subtree of subtrees.reverse()) tree.appendPerfect(subtree, TILE_WIDTH);
  for (const hash of edge) tree.append(hash);
  return { indices: indices.reverse(), root: tree.root() };
};

export interface Proving {
  /** Of each of these classes the leaves alone. */
  readonly without?: readonly DetailClass[];
  /** The size of the published tree, when proofs are against an earlier one: the edge of that one may be gone. Default: the same. */
  readonly published?: number;
}

/** The leaves at these indices, ascending, with proofs against the tree of `size`. Rejects with a `LogError`, a `TlogError` or a `StorageError`. */
export async function* proveLeaves(
  reader: LogReader,
  indices: readonly number[],
  size: number,
  { without = [], published = size }: Proving = {},
): AsyncGenerator<ProvenLeaf, void> {
  const nodes = reader.nodes(published);
  const classes = CLASSES.filter((each) => !without.includes(each));
  let at = -1;
  let entries: Buffer[] = [];
  let details = new Map<number, Detail>();
  for (const index of indices) {
    const bundle = Math.floor(index / TILE_WIDTH);
    if (bundle !== at) {
      entries = await reader.entries(bundle, published);
      const read = await Promise.all(classes.map((each) => reader.details(each, bundle, published)));
      details = new Map(read.flatMap((each) => [...each]));
      at = bundle;
    }
    const entry = entries[index % TILE_WIDTH] as Buffer;
    yield { index, entry, detail: details.get(index), proof: await proveInclusion(index, size, nodes) };
  }
}

export type Part = { readonly session: string } | { readonly index: number };

/** Verifies a session, or the event of one leaf. Rejects with a `StorageError` when the objects cannot be read; whatever they say, it is a report. */
export const verifyPart = async (
  objects: ObjectStore,
  trust: Trust,
  part: Part,
  { withheld = [], patienceMs = 0 }: Pick<Verification, 'withheld' | 'patienceMs'> = {},
): Promise<Report> => {
  const started = performance.now();
  const faults = new Faults();
  const remarks: string[] = [];
  const reader = new LogReader(objects, { open: (note) => openSigned(note, trust), told: pruningIn });
  const heads = await readHeads(objects, trust, faults);
  const { seen } = heads;
  let checked: Report['checked'] = { leaves: 0, events: 0 };
  const missing = new Missing(withheld);
  let what = 'session' in part ? `session ${part.session}` : `event ${part.index}`;
  let extent: SessionExtent | undefined;
  let reaches = 0;
  let front: PrunedFront | undefined;
  if (seen !== undefined) {
    const leaves = new LeafCheck(seen, missing, faults);
    try {
      front = await PrunedFront.read(objects, seen, faults, remarks);
      const { minimum } = front;
      if (front.leaf !== undefined)
        for await (const { entry, index, proof } of proveLeaves(reader, [front.leaf], seen.size)) {
          checkInclusion(leafHash(entry), index, seen, proof);
          front.take(entry);
        }
      for (const earlier of earlierOnes(heads, faults)) await checkEarlier(reader, seen, { ...earlier, minimum }, faults);
      const indices =
        'session' in part
          ? await followed(reader, part.session, { ...seen, minimum }, faults)
          : [part.index].filter((i) => i >= minimum && i < seen.size);
      if ('index' in part && part.index < minimum) faults.add('pruned', `leaf ${part.index}: leaves below ${minimum} are not there`);
      else if (indices.length === 0)
        faults.add(
          'not-found',
          'session' in part
            ? `${part.session}${minimum > 0 ? ` among the leaves from ${minimum} on; it may have been pruned with those below` : ''}`
            : `leaf ${part.index} of ${seen.size}`,
        );
      reaches = (indices.at(-1) ?? -1) + 1;
      const session = new SessionCheck(faults);
      for await (const leaf of proveLeaves(reader, indices, seen.size)) {
        const event = leaves.add(leaf);
        if (event === undefined) continue;
        if ('session' in part) session.add(event);
        else {
          what = `${what}: ${inShort(event.leaf)}`;
          const of = event.leaf.session;
          if (leaf.detail === undefined && of !== '')
            await addHolds(reader, missing, { session: of, behind: leaf.index }, { ...seen, minimum }, faults);
        }
      }
      if (missing.first !== undefined) await explain(missing, { objects, trust, seen, from: missing.first, patienceMs }, faults, remarks);
      missing.tell(faults, remarks);
      if ('session' in part && indices.length > 0) extent = { ...session.extent, searchedTo: seen.size };
    } catch (error) {
      addFault(error, faults);
    }
    ({ checked } = leaves);
  }
  return conclude({ what, started, faults, remarks, heads, reaches, trust, checked, missing: missing.events, pruned: front?.told, extent });
};

/** As its leaf tells, which is there also when the event is not. */
const inShort = ({ kind, session, target, timeUnixNanos }: Leaf): string => {
  const of = session === '' ? "of the gateway's own" : `of session ${session}${target === '' ? '' : ` on ${target}`}`;
  const payload = payloadOf(kind);
  return `${kindOf(kind) ?? `kind ${kind}`}${payload === undefined ? '' : ` (${payload})`} ${of}, ${timeText(timeUnixNanos).slice(0, 23)}Z`;
};

/** Where the session stands, by all leaves that the checkpoint signs: one that was left out, or changed so that it is not found, gives another root. */
const followed = async (
  reader: LogReader,
  session: string,
  { size, root, minimum }: Seen & { readonly minimum: number },
  faults: Faults,
): Promise<readonly number[]> => {
  const found = await findSession(reader, session, { size, minimum });
  if (!found.root.equals(root))
    faults.add(
      'root',
      `the leaves among which the session was looked for give ${found.root.toString('base64')}, and ${root.toString('base64')} is signed`,
    );
  return found.indices;
};

/** What the session has of legal holds behind a leaf: whether it was held when what explains that the event of that leaf is gone was told. */
const addHolds = async (
  reader: LogReader,
  { deletions }: Missing,
  { session, behind }: { readonly session: string; readonly behind: number },
  seen: Seen & { readonly minimum: number },
  faults: Faults,
): Promise<void> => {
  const indices = (await followed(reader, session, seen, faults)).filter((index) => index > behind);
  for await (const { index, entry, detail, proof } of proveLeaves(reader, indices, seen.size, { without: PAYLOAD_CLASSES })) {
    const leaf = decodeLeaf(entry);
    if (leaf.kind !== NOTICE_KIND || !isOfService(leaf)) continue;
    checkInclusion(leafHash(entry), index, seen, proof);
    if (detail === undefined) deletions.gone(index, leaf);
    else deletions.add(index, leaf, checkEvent(index, leaf, detail, faults));
  }
};

/** The tree goes on from an earlier one. */
const checkEarlier = async (
  reader: LogReader,
  seen: Seen,
  earlier: Earlier & { readonly minimum: number },
  faults: Faults,
): Promise<void> => {
  try {
    checkConsistency(earlier, seen, await reader.proveConsistency(earlier.size, seen.size));
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    const code = earlier.size < earlier.minimum ? 'pruned' : 'missing';
    faults.add(error.code === 'unproven' ? 'forked' : code, `${earlier.which}: ${error.message}`);
  }
};
