/**
 * What is done with the published log beside the gateway's work: copied, cosigned, sent elsewhere, and let go of when its time is over. None of it is waited
 * for: an event is acknowledged when the local disk has it.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { detailsPath } from '../log/details.ts';
import { DELETED_NOTICE, goingText, goneLeaves, noticeText, type Told } from '../log/going.ts';
import { KEYS_NOTICE, keysText, withListed } from '../log/keys.ts';
import { CLASSES, classOf, type DetailClass, decodeLeaf, perClass } from '../log/leaf.ts';
import { holdText, LegalHolds } from '../log/legal_holds.ts';
import type { ServiceNotice } from '../log/notices.ts';
import { PRUNED_NOTICE, pruningSaid } from '../log/pruned.ts';
import { Pruning, type PruningPlan, type Span } from '../log/pruning.ts';
import type { ObjectKind } from '../log/publisher.ts';
import { LogReader } from '../log/reader.ts';
import { recordedHolds } from '../log/recorded_holds.ts';
import { KEYS_PATH, Replicator, WITNESSED_PATH } from '../log/replicator.ts';
import { Retention, type Swept } from '../log/retention.ts';
import { caller } from '../storage/call.ts';
import { localFiles } from '../storage/local_files.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { cosignatureTime } from '../tlog/cosignature.ts';
import { parseVerifierKey, type VerifierKey } from '../tlog/note.ts';
import { CHECKPOINT_PATH, decodeBundle, TILE_WIDTH, tilePath } from '../tlog/tile.ts';
import { Witness } from '../witness/client.ts';
import { Witnessing } from '../witness/witnessing.ts';
import { type Ages, agesOf } from './ages.ts';
import { CheckpointCopies, type CheckpointPlace, httpPlace, objectPlace } from './checkpoint_copies.ts';
import { ProvenStore, type Standing } from './proven_store.ts';
import { RetentionClock, type Uptime } from './retention_clock.ts';
import { authorizationOf, callerOf, isLocked, openStore, type StoreConfig } from './stores.ts';

export interface CustodyOptions {
  readonly tap: Pick<Config['tap'], 'replicas' | 'retention' | 'witnesses' | 'checkpoints'>;
  /** Where the log is published: the very store that the log writes to. */
  readonly objects: ObjectStore;
  readonly origin: string;
  /** The log's keys. */
  readonly keys: readonly VerifierKey[];
  /** How many leaves the log has. */
  readonly size: () => number;
  /** What lasts beside the log: legal holds, and what is known of the time. */
  readonly directory: string;
  /** Makes a notice of the record durable. `session` may be empty. */
  readonly record: (notice: ServiceNotice, session: string, text: string) => Promise<void>;
  /** The indices of a session's leaves. */
  readonly leavesOf: (session: string) => Promise<readonly number[]>;
  /** Publishes all of the record, to which nothing more comes: asked at the end, before the last copies are made. */
  readonly publish?: () => Promise<void>;
  /** How long the last copies may take at the end. Milliseconds, default 5,000. */
  readonly lastMs?: number;
  /** Lets go what was derived of events that are deleted: those of the leaves from `from` to before `to`. */
  readonly forget: (from: number, to: number) => Promise<void>;
  /** Runs while nothing is published. */
  readonly undisturbed: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** A notice's name and text; `undefined` of any other event. */
  readonly noticeOf: (event: Buffer) => { readonly notice: string; readonly text: string } | undefined;
  /** Publishes what is recorded. */
  readonly publishRecorded: () => Promise<void>;
  /** The sessions whose first leaf is one from `from` to before `to`, in the order of these. */
  readonly spans: (from: number, to: number) => Iterable<Span> | AsyncIterable<Span>;
  /** As of `Pruning`. */
  readonly holdBack: (below: number) => void;
  /** Forgets of sessions whose leaves, below `minimum`, were pruned. */
  readonly prune: (minimum: number) => Promise<void>;
  /** Lets go what is kept beside the record of requests that ended before this time, Unix milliseconds, but for sessions under a legal hold. Default: there is nothing. */
  readonly forgetEnded?: (before: number) => Promise<void>;
  /** Told when a store has become unfit: what was let pass before, and could pass again unasked, is to be asked for again. */
  readonly unfit?: () => void;
  readonly logger: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** From one attempt on a store that is away to the next, at most: less where a store is to be tried more often (`retry`). Milliseconds, default 10,000. */
  readonly proveMs?: number;
  /** From one look of a replicator to the next. Milliseconds, default 10,000. */
  readonly replicateMs?: number;
  /** Unix milliseconds. */
  readonly now?: () => number;
  readonly uptime?: () => Uptime;
  /** From one look at the clock to the next. Milliseconds, default 10,000. */
  readonly clockMs?: number;
}

export interface RetentionStatus {
  /** How long each class is kept, milliseconds; `undefined`: for ever. */
  readonly ages: Ages;
  /** Since the start: bundles of events that went, and sweeps that failed. */
  readonly deleted: number;
  readonly failures: number;
  /** At the last sweep: bundles that were due but for a legal hold, and objects of replicas that were due and locked there still. */
  readonly held: number;
  readonly locked: number;
  /** Likewise of each class that has an age. */
  readonly plan: Swept['plan'];
  /** When the last sweep ended and when the next one begins, Unix milliseconds; `undefined`: it has not, and it runs now. */
  readonly sweptAt: number | undefined;
  readonly nextAt: number | undefined;
  /** What the last sweep since the start that deleted something has deleted, as the record says it, and when, Unix milliseconds. */
  readonly last: { readonly at: number; readonly what: readonly string[] } | undefined;
}

export interface CustodyStatus {
  /** Every store that is written to: replicas, and second places of checkpoints. */
  readonly stores: readonly ({ readonly name: string } & Standing)[];
  readonly replicas: readonly { readonly name: string; readonly lag: number; readonly behindMs: number; readonly failing: boolean }[];
  readonly witnesses: readonly { readonly name: string; readonly lag: number; readonly state: string }[];
  /** Leaves that no quorum has cosigned; `undefined` without witnesses. */
  readonly unwitnessed: number | undefined;
  readonly places: readonly { readonly name: string; readonly lag: number; readonly failing: boolean }[];
  readonly legalHolds: number;
  readonly retention: RetentionStatus;
  /** What is pruned of the front, as of the last sweep; `undefined` without `retention.leaves`, and before the first. */
  readonly pruning: PruningPlan | undefined;
  /** Of what is deleted by time: why nothing is at present, or what waits for long, and how far the clock is ahead of what is known; `undefined` without any retention. */
  readonly clock: { readonly suspended: string | undefined; readonly stalled: string | undefined; readonly aheadMs: number } | undefined;
}

export interface Custody {
  readonly legalHolds: LegalHolds;
  /** Says that the clock is right: recorded, then in force. @returns false when there is no retention that goes by it */
  confirmClock(by: string, reason: string): Promise<boolean>;
  readonly status: CustodyStatus;
  /** Why nothing new may pass: a store that came back has not what was asked of it. `undefined`: it may. */
  readonly refusal: string | undefined;
  close(): Promise<void>;
}

/** Why nothing new passes. */
export const unfitText = (stores: readonly string[]): string =>
  `not what was asked for, and nothing is written there: ${stores.join(', ')}`;

/** What the record tells of stores. */
export const STORE_NOTICES = { proven: 'store-proven', away: 'store-away', unfit: 'store-unfit' } as const;

/** What the record tells of the clock that retention goes by. */
export const CLOCK_NOTICES = {
  suspended: 'retention-suspended',
  stalled: 'retention-stalled',
  resumed: 'retention-resumed',
  confirmed: 'clock-confirmed',
} as const;

interface Replica {
  readonly config: StoreConfig;
  readonly store: ProvenStore;
  readonly replicator: Replicator;
}

/** A text of another version. */
const NOTHING_TOLD: Told = {
  gone: perClass(() => []),
  now: { detailClass: 'events', ageMs: 0, leaves: [] },
  carried: [],
  stayed: perClass(() => []),
  whole: false,
};

/** The newest event of its class in a bundle decides; a lock is never shorter than that, also while the clock stands behind. `present`: Unix milliseconds. */
const retainUntil =
  (config: StoreConfig, ages: Partial<Ages>, present: () => number) =>
  (kind: ObjectKind): Date | undefined => {
    if (!isLocked(config) || config.type === 'directory') return undefined;
    const own = kind === 'tile' || kind === 'entries' || kind === 'checkpoint' ? undefined : ages[kind];
    return new Date(present() + (own ?? config.lockMs));
  };

/** Rejects when a store is not what the operator asked for, and with what keeps the legal holds from being opened. */
export const startCustody = async (options: CustodyOptions): Promise<Custody> => {
  const { tap, objects, origin, keys, directory, record, leavesOf, logger, env = process.env, now = Date.now } = options;
  const ages = agesOf(tap.retention);
  // What was copied before a change of keys has the signature of an old one alone.
  const listed = (await objects.get(KEYS_PATH))?.toString('utf8') ?? '';
  const everSigned = withListed(keys, listed);
  const toldOfPruning = (event: Buffer): string | undefined => pruningSaid(options.noticeOf(event));
  const open = (note: Uint8Array) => openCheckpoint(note, origin, everSigned);
  const pruningProof = { open, told: toldOfPruning };
  const reader = new LogReader(objects, pruningProof);
  const newest = async (): Promise<string | undefined> => (await objects.get(CHECKPOINT_PATH))?.toString('utf8');
  const stores: { readonly config: StoreConfig; readonly store: ProvenStore }[] = [];
  const stopped = new AbortController();
  let started = false;
  const tell = (config: StoreConfig, store: ProvenStore, standing: Standing): void => {
    const { name } = config;
    // Broken off at the end.
    if (stopped.signal.aborted) return;
    if (standing.state === 'proven')
      logger.info({ store: name, url: store.url, writeOnce: isLocked(config), proven: store.proven }, 'a store is ready');
    else if (standing.state === 'away')
      logger.error({ store: name, reason: standing.reason }, 'a store is away: nothing is written there before it has shown what it keeps');
    else
      logger.error(
        { store: name, reason: standing.reason },
        'A STORE IS NOT WHAT WAS ASKED FOR: NOTHING IS WRITTEN THERE, AND NOTHING NEW PASSES',
      );
    if (!started) return;
    if (standing.state === 'unfit') options.unfit?.();
    const text = `${name}: ${standing.state === 'proven' ? [store.url, ...store.proven].join('; ') : standing.reason}`;
    record(STORE_NOTICES[standing.state], '', text).catch((error: Error) => logger.error({ err: error }, 'a notice is not recorded'));
  };
  /** By how much the clock was behind that of a store when that answered last. Milliseconds. */
  const behind = new Map<StoreConfig, number>();
  const opened = async (config: StoreConfig): Promise<ProvenStore> => {
    // A replica and a place of checkpoints may have one name.
    const source = `${tap.replicas.some((one) => one === config) ? 'replica' : 'place'} ${config.name}`;
    const dated = (date: number): void => {
      clock?.attest(source, date);
      if (Number.isFinite(date)) behind.set(config, Math.max(0, date - now()));
    };
    const store: ProvenStore = new ProvenStore(openStore(config, env, dated), {
      changed: (standing) => tell(config, store, standing),
      ...(config.type !== 'directory' && { againMs: config.retryMs }),
    });
    stores.push({ config, store });
    await store.verify().catch((error: unknown) => {
      // A store that is away now holds up nothing; one that is not write-once does, because it was asked for.
      if (store.standing.state === 'unfit') throw error;
    });
    return store;
  };
  /** What is away comes back when it wants to, also where there is nothing to write. */
  const proving = async (): Promise<void> => {
    const retries = stores.flatMap(({ config }) => (config.type === 'directory' ? [] : [config.retryMs]));
    const everyMs = Math.min(options.proveMs ?? 10_000, ...retries);
    while (!stopped.signal.aborted) {
      await sleep(everyMs, undefined, { signal: stopped.signal }).catch(() => {});
      if (!stopped.signal.aborted) await Promise.all(stores.map(({ store }) => store.verify().catch(() => {})));
    }
  };

  let clock: RetentionClock | undefined;
  /** What locks in a store count from: its own time, where the clock is behind that. */
  const presentAt = (config: StoreConfig) => (): number => now() + Math.max(0, -(clock?.aheadMs ?? 0), behind.get(config) ?? 0);
  const suspendedChanged = (why: string | undefined): void => {
    if (why === undefined) logger.info({}, 'the clock agrees again: retention goes on');
    else
      logger.error(
        { reason: why },
        'NOTHING IS DELETED: THE CLOCK CANNOT BE RIGHT. Set it right, or say that it is: sluice retention confirm-clock',
      );
    record(why === undefined ? CLOCK_NOTICES.resumed : CLOCK_NOTICES.suspended, '', why ?? '').catch((error: Error) =>
      logger.error({ err: error }, 'a notice is not recorded'),
    );
  };
  const stalledChanged = (why: string | undefined): void => {
    if (why === undefined) {
      logger.info({}, 'nothing waits for the clock any more');
      return;
    }
    logger.error({ reason: why }, 'leaves wait for the clock and are not deleted. Set it, or who says otherwise, right: sluice retention');
    record(CLOCK_NOTICES.stalled, '', why).catch((error: Error) => logger.error({ err: error }, 'a notice is not recorded'));
  };
  const openClock = async (): Promise<RetentionClock> =>
    RetentionClock.open({
      memory: localFiles(join(directory, 'retention')),
      size: options.size,
      newestEventMs: await newestEventMs(reader),
      boundMs: tap.retention.clockBoundMs,
      othersTell: tap.witnesses.of.length > 0 || [...tap.replicas, ...tap.checkpoints.to].some(({ type }) => type !== 'directory'),
      changed: suspendedChanged,
      stalled: stalledChanged,
      now,
      ...(options.uptime && { uptime: options.uptime }),
    });
  const ticking = async (): Promise<void> => {
    while (clock !== undefined && !stopped.signal.aborted) {
      await sleep(options.clockMs ?? 10_000, undefined, { signal: stopped.signal }).catch(() => {});
      await clock.tick().catch((error: Error) => logger.error({ err: error }, 'what is known of the time is not remembered'));
    }
  };
  let legalHolds: LegalHolds | undefined;
  const holdsOf = (): LegalHolds => legalHolds as LegalHolds;
  const replicas: Replica[] = [];
  /** What is held in each replica already. */
  const held = new Map<Replica, Set<string>>();
  const holdObject = async (replica: Replica, key: string): Promise<void> => {
    const known = held.get(replica) ?? new Set();
    held.set(replica, known);
    if (known.has(key)) return;
    await replica.store.hold(key, true);
    known.add(key);
  };
  const isHeld = async (detailClass: DetailClass, bundle: number): Promise<boolean> => {
    if (holdsOf().list().length === 0) return false;
    const bytes = await objects.get(tilePath({ level: 'entries', index: bundle, width: TILE_WIDTH }));
    const leaves = bytes === undefined ? [] : decodeBundle(bytes, TILE_WIDTH).map(decodeLeaf);
    return leaves.some(({ kind, session }) => classOf(kind) === detailClass && holdsOf().holds(session));
  };
  /** Each object that can be; those that cannot now are told, and keep no other from it. @returns whether all are */
  const holdInReplicas = async (): Promise<boolean> => {
    const failures: { readonly error: Error; readonly what: string }[] = [];
    const locking = new Set(replicas.filter(({ config }) => isLocked(config)));
    const hold = async (replica: Replica, key: string): Promise<void> => {
      try {
        await holdObject(replica, key);
      } catch (error) {
        failures.push({ error: error as Error, what: `${key} in ${replica.config.name}` });
        // Who is away is not asked for each of them.
        if ((error as { code?: unknown }).code === 'unavailable') locking.delete(replica);
      }
    };
    for (const { session } of holdsOf().list()) {
      const leaves = await leavesOf(session).catch((error: Error) => {
        failures.push({ error, what: session });
        return [];
      });
      for (const bundle of new Set(leaves.map((index) => Math.floor(index / TILE_WIDTH))))
        for (const each of CLASSES)
          for (const replica of locking)
            if ((bundle + 1) * TILE_WIDTH <= replica.replicator.progress.replicated)
              await hold(replica, detailsPath(each, bundle, TILE_WIDTH));
    }
    const [first] = failures;
    if (first !== undefined)
      logger.error(
        { err: first.error, what: first.what, failures: failures.length },
        'a legal hold is not in every replica yet; it is tried again',
      );
    return first === undefined;
  };

  const closing: (() => Promise<void>)[] = [];
  try {
    legalHolds = await LegalHolds.open(join(directory, 'legal-holds'), {
      recorded: recordedHolds({
        reader,
        noticeOf: options.noticeOf,
        publish: options.publishRecorded,
        onUnread: (error, from) =>
          logger.error({ err: error, from }, 'LEAVES CANNOT BE READ: LEGAL HOLDS THAT ONLY THEY TELL OF ARE NOT KNOWN. Verify the log'),
      }),
      onLost: (lost) =>
        logger.error(
          { sessions: lost.map(({ session }) => session) },
          'THE RECORD TELLS OF LEGAL HOLDS THAT legal-holds/ DID NOT HAVE: THEY ARE IN FORCE AGAIN',
        ),
      record: (what, hold) => record(what, hold.session, holdText(hold)),
      changed: (session, on) => {
        logger.info({ session, on }, 'a legal hold has changed');
        // What is taken off goes off with the sweep that lets the object go.
        if (on) void holdInReplicas();
      },
    });
    closing.push(() => holdsOf().close());
    if (CLASSES.some((each) => ages[each] !== undefined)) clock = await openClock();
    for (const config of tap.replicas) {
      const store = await opened(config);
      const replicator: Replicator = new Replicator({
        from: objects,
        to: store,
        ...pruningProof,
        retainUntil: retainUntil(config, ages, presentAt(config)),
        ...(options.replicateMs !== undefined && { intervalMs: options.replicateMs }),
        arrived: async (detailClass, bundle) => {
          const replica = replicas.find((one) => one.store === store);
          if (replica !== undefined && isLocked(config) && (await isHeld(detailClass, bundle)))
            // One that fails is held by the next sweep, and holds up no copy.
            await holdObject(replica, detailsPath(detailClass, bundle, TILE_WIDTH)).catch((error: Error) =>
              logger.error({ err: error, replica: config.name }, 'a legal hold is not in a replica yet; it is tried again'),
            );
        },
        onProblem: (error) => logger.error({ err: error, replica: config.name }, 'the log is not copied'),
      });
      replicas.push({ config, store, replicator });
    }

    const places: CheckpointPlace[] = [];
    for (const config of tap.checkpoints.to) {
      if (config.type === 'http') {
        const call = callerOf(config, { onDate: (date) => clock?.attest(`place ${config.name}`, date) });
        closing.push(async () => call.close());
        places.push(httpPlace(config.name, new URL(config.url), call, authorizationOf(config, env)));
      } else {
        const until = retainUntil(config, {}, presentAt(config));
        places.push(objectPlace(config.name, await opened(config), () => until('checkpoint')));
      }
    }
    const copies = new CheckpointCopies({
      places,
      newest,
      everyMs: tap.checkpoints.everyMs,
      onProblem: (error, place) => logger.error({ err: error, place }, 'a checkpoint is not sent'),
    });

    const call = caller({ attempts: 1, timeoutMs: 10_000 });
    closing.push(async () => call.close());
    const { of, quorum, intervalMs } = tap.witnesses;
    // Two may have keys of one name.
    const witnessOf = new Map(of.flatMap(({ name, keys: texts }) => texts.map((text) => [parseVerifierKey(text), name] as const)));
    const attestCosigned = (note: string | Uint8Array): void => {
      for (const signature of openCheckpoint(note, origin, [...keys, ...witnessOf.keys()]).verified)
        if (signature.key.type === 'cosignature')
          clock?.attest(`witness ${witnessOf.get(signature.key)}`, 1000 * cosignatureTime(signature));
    };
    const witnessing =
      of.length === 0
        ? undefined
        : new Witnessing({
            witnesses: of.map(
              ({ name, url, keys: texts }) =>
                new Witness({ name, url: new URL(url), keys: texts.map(parseVerifierKey) }, call, (old, size) =>
                  reader.proveConsistency(old, size),
                ),
            ),
            quorum: quorum || of.length,
            newest,
            publish: async (note) => {
              attestCosigned(note);
              await objects.put(WITNESSED_PATH, Buffer.from(note));
            },
            intervalMs,
            onProblem: (error) => logger.error({ err: error }, 'a witness does not cosign'),
          });

    const retention = new Retention({
      objects,
      pruning: pruningProof,
      replicas: replicas.map(({ store }) => store),
      ages,
      held: (session) => holdsOf().holds(session),
      forget: options.forget,
      undisturbed: options.undisturbed,
      publish: options.publishRecorded,
      toldOf: (event) => {
        const { notice, text = '' } = options.noticeOf(event) ?? {};
        return notice === DELETED_NOTICE ? (goneLeaves(text) ?? NOTHING_TOLD) : undefined;
      },
      now: () => clock?.deletionTime,
      notBefore: (from, to) => clock?.notBefore(from, to) ?? 0,
      record: async (going) => {
        await record(DELETED_NOTICE, '', noticeText(going));
        if (going.leaves.length > 0) went.push(goingText(going));
      },
    });
    /** Of the sweep that runs. */
    const went: string[] = [];
    const swept: { -readonly [K in keyof RetentionStatus]: RetentionStatus[K] } = {
      ...{ ages, deleted: 0, failures: 0, held: 0, locked: 0, plan: {} },
      ...{ sweptAt: undefined, nextAt: undefined, last: undefined },
    };
    /** Beside the record its events' age counts. When the clock stood behind, times of then say little: nothing of before the end of that is due. */
    const forgetEnded = async (): Promise<void> => {
      const now = clock?.deletionTime;
      if (now === undefined || ages.events === undefined) return;
      const before = now - ages.events;
      if ((clock?.notBefore(0, options.size()) ?? 0) <= before) await options.forgetEnded?.(before);
    };
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        if (stopped.signal.aborted) return;
        swept.failures += 1;
        logger.error({ err: error }, 'a sweep of the retention failed; it is tried again');
      }
    };
    const { leavesMs } = tap.retention;
    const confirmed = (): number =>
      Math.min(
        Number.POSITIVE_INFINITY,
        ...replicas.map(({ replicator }) => replicator.progress.replicated),
        ...copies.statuses.map(({ size: sent }) => sent),
        ...(witnessing === undefined ? [] : [witnessing.progress.witnessed]),
      );
    const pruning =
      leavesMs === undefined
        ? undefined
        : new Pruning({
            objects,
            replicas: replicas.map(({ store }) => store),
            ageMs: leavesMs,
            held: (session) => holdsOf().holds(session),
            spans: options.spans,
            confirmed,
            record: (text) => record(PRUNED_NOTICE, '', text),
            ...pruningProof,
            publish: options.publishRecorded,
            holdBack: options.holdBack,
            forget: options.prune,
            now: () => clock?.deletionTime,
            notBefore: (from, to) => clock?.notBefore(from, to) ?? 0,
          });
    let plan: PruningPlan | undefined;
    const prune = async (): Promise<void> => {
      const pruned = await pruning?.sweep();
      if (pruned === undefined) return;
      const before = plan?.minimum;
      plan = pruned.plan;
      swept.locked += pruned.locked;
      if (before !== undefined && plan.minimum > before)
        logger.info({ below: plan.minimum }, 'leaves were pruned from the front of the log');
    };
    const sweeping = async (): Promise<void> => {
      while (!stopped.signal.aborted) {
        swept.nextAt = undefined;
        await attempt(async () => {
          if (!(await holdInReplicas())) swept.failures += 1;
          // What was recorded of deletions before a crash counts, and is looked for among what is published.
          await options.publishRecorded();
          const { deleted, single, held: kept, locked, plan: planned } = await retention.sweep();
          swept.deleted += deleted;
          Object.assign(swept, { held: kept, locked, plan: planned });
          if (deleted + single > 0) logger.info({ bundles: deleted, events: single }, 'events were deleted: their retention is over');
        });
        await attempt(forgetEnded);
        await attempt(prune);
        const at = now();
        if (went.length > 0) swept.last = { at, what: went.splice(0) };
        Object.assign(swept, { sweptAt: at, nextAt: at + tap.retention.everyMs });
        await sleep(tap.retention.everyMs, undefined, { signal: stopped.signal }).catch(() => {});
      }
    };

    if (everSigned.length > keys.length) await record(KEYS_NOTICE, '', keysText(listed, everSigned));
    for (const { replicator } of replicas) replicator.start();
    copies.start();
    witnessing?.start();
    started = true;
    for (const { config, store } of stores) if (store.standing.state !== 'proven') tell(config, store, store.standing);
    const witnessed = of.length === 0 ? undefined : await objects.get(WITNESSED_PATH);
    if (witnessed !== undefined)
      try {
        attestCosigned(witnessed);
      } catch {
        // Witnesses of before, or a damaged copy: whoever verifies says so.
      }
    // What stores and witnesses say of the time is known by now.
    await clock?.tick();
    const [sweeps, proofs, ticks] = [sweeping(), proving(), ticking()];
    /** Whoever can be reached gets what was recorded up to the end. */
    const lastCopies = async (): Promise<void> => {
      await options.publish?.().catch((error: Error) => logger.error({ err: error }, 'the end of the record is not published'));
      const reached = replicas.filter(({ store }) => store.standing.state === 'proven');
      await Promise.all([...reached.map(({ replicator }) => replicator.finish()), copies.finish()]);
    };
    const size = (): number =>
      Math.max(0, ...replicas.map(({ replicator }) => replicator.progress.published), witnessing?.progress.newest ?? 0);
    return {
      legalHolds,
      get refusal() {
        const unfit = stores.filter(({ store }) => store.standing.state === 'unfit');
        if (unfit.length === 0) return undefined;
        return unfitText(unfit.map(({ config: { name } }) => name));
      },
      get status() {
        return {
          stores: stores.map(({ config: { name }, store: { standing } }) => ({ name, ...standing })),
          replicas: replicas.map(({ config: { name }, replicator: { progress } }) => ({
            name,
            lag: progress.published - progress.replicated,
            behindMs: progress.behindSince === 0 ? 0 : Date.now() - progress.behindSince,
            failing: progress.failure !== '',
          })),
          witnesses: (witnessing?.statuses ?? []).map(({ name, size: cosigned, state }) => ({
            name,
            lag: Math.max(0, size() - cosigned),
            state,
          })),
          unwitnessed: witnessing && witnessing.progress.newest - witnessing.progress.witnessed,
          places: copies.statuses.map(({ name, size: sent, failure }) => ({
            name,
            lag: Math.max(0, size() - sent),
            failing: failure !== '',
          })),
          legalHolds: holdsOf().list().length,
          retention: { ...swept },
          pruning: plan,
          clock: clock && { suspended: clock.suspended, stalled: clock.stalled, aheadMs: clock.aheadMs },
        };
      },
      async confirmClock(by, reason) {
        if (clock === undefined) return false;
        await record(CLOCK_NOTICES.confirmed, '', `${new Date(now()).toISOString()}: ${reason} (${by})`);
        await clock.confirm();
        return true;
      },
      async close() {
        stopped.abort();
        const late = new AbortController();
        const deadline = sleep(options.lastMs ?? 5_000, undefined, { signal: late.signal }).catch(() => {});
        const own = Promise.all([sweeps, proofs, ticks]);
        await Promise.race([own.then(lastCopies), deadline]);
        late.abort();
        // What is under way still is broken off.
        await Promise.all([...stores.map(({ store }) => store.close()), ...closing.map((close) => close())]);
        await Promise.all([...replicas.map(({ replicator }) => replicator.close()), copies.close(), witnessing?.close(), own]);
      },
    };
  } catch (error) {
    await Promise.all([...stores.map(({ store }) => store.close()), ...closing.map((close) => close())]).catch(() => {});
    throw error;
  }
};

/** Of the published log; `undefined` when it has none. */
const newestEventMs = async (reader: LogReader): Promise<number | undefined> => {
  const { size = 0 } = (await reader.checkpoint()) ?? {};
  if (size === 0) return undefined;
  const entries = await reader.entries(Math.floor((size - 1) / TILE_WIDTH), size);
  return Number(decodeLeaf(entries.at(-1) as Buffer).timeUnixNanos / 1_000_000n);
};
