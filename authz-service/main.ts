/** The composition root: makes the service of its parts, from one configuration. */
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import pino, { type Logger } from 'pino';
import type { RunIndex, SessionIndex } from './admin/api.ts';
import { Health } from './admin/health.ts';
import { approvalMetrics, Metrics } from './admin/metrics.ts';
import { custodyMetrics, issuerMetrics, policyMetrics, tapMetrics, tapServiceMetrics } from './admin/parts.ts';
import { exportMetrics, holdMetrics, logMetrics, recordMetrics } from './admin/record.ts';
import { type Admin, createAdmin } from './admin/server.ts';
import { createAnalyst } from './analysis/analyst.ts';
import { createApprovals } from './approval/approvals.ts';
import { journalStore } from './approval/store.ts';
import type { CheckPorts } from './check/check.ts';
import { identifyBy } from './check/identify.ts';
import { checkMethod } from './check/service.ts';
import { sessionId } from './check/session_id.ts';
import { Targets } from './check/targets.ts';
import { type Config, formatConfigError, type PostgresTarget } from './config/config.ts';
import { watchConfig } from './config/watch.ts';
import { type Custody, startCustody } from './custody/custody.ts';
import { Elsewhere } from './custody/elsewhere.ts';
import type { RecordedEvent } from './decision/ports.ts';
import { type RecordSource, startExporter } from './export/exporter.ts';
import { openDoor, openUnaryDoor } from './grpc_server.ts';
import { runOf } from './identity/run.ts';
import { createVerifier } from './identity/verifier.ts';
import { openJournal } from './journal/journal.ts';
import type { ServiceNotice } from './log/notices.ts';
import { commandPlanner } from './mask/command_plan.ts';
import { loadMask } from './mask/mask.ts';
import { type LimitsOf, planner } from './mask/plan.ts';
import { DISK_MS, Parts } from './parts.ts';
import { Passages } from './passages.ts';
import { startPolicy } from './policy/policy.ts';
import { recordParts, recordPlaces } from './record.ts';
import { Databases } from './session/databases.ts';
import { createSessions } from './session/door.ts';
import { Generations } from './session/generations.ts';
import { sessionMethods } from './session/messages.ts';
import type { SessionPorts } from './session/ports.ts';
import { checkStateDirectory } from './state_directory.ts';
import { accessLogService, tapSinkService } from './tap/envoy/services.ts';
import { aboutToJson, eventToJson, noticeOf } from './tap/event.ts';
import { runDetail, runsOf } from './tap/runs.ts';
import { type TapServiceOptions, tapService } from './tap/server.ts';
import { openSink, type Sink } from './tap/sink.ts';
import { present, presentOrGone } from './tap/store.ts';
import { VERSION } from './version.ts';

export interface Service {
  readonly logger: Logger;
  /** Takes no further checks, ends held requests with a clear answer, and lets the other checks end within the drain time. Events are still recorded: Envoy may end now. */
  drain(): Promise<void>;
  /** Ends held requests with a clear answer, lets the others end within the drain time, and closes the record. Rejects with a `PartsError` when parts did not in time. */
  close(): Promise<void>;
}

/** A check carries the request's body, of which no target takes more than 64 MiB, and its headers beside it. */
const MAX_CHECK_BYTES = 65 * 1024 * 1024;
const MAX_EMIT_BYTES = 1024 * 1024;
/** What the record says when it is not what it was. */
const UNVERIFIED: ReadonlySet<unknown> = new Set(['corrupt', 'forked', 'rolled_back']);

export interface ServiceOptions {
  /** Told when the targets of a changed configuration are in force here: what Envoy reads is the caller's to write. */
  readonly onTargets?: (config: Config) => void;
  /** What others know of the record up to so many leaves, and it has not, is given up. */
  readonly acceptLoss?: number | undefined;
}

/** @throws {Error} when a part cannot start; what had started is closed again. */
export async function startService(config: Config, options: ServiceOptions = {}): Promise<Service> {
  const logger = pino({ level: config.logging.level, base: null });
  const parts = new Parts((part, error) => logger.error({ err: error }, `${part} did not close`));
  try {
    const drain = await start(config, logger, options, parts);
    return { logger, drain, close: () => parts.close() };
  } catch (error) {
    await parts.close().catch(() => {});
    throw error;
  }
}

async function start(
  config: Config,
  logger: Logger,
  { onTargets = () => {}, acceptLoss }: ServiceOptions,
  opened: Parts,
): Promise<() => Promise<void>> {
  const { stateDir, runDir, masking, approvals: terms, service } = config;
  for (const dir of [stateDir, runDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  checkStateDirectory(config, logger);
  const metrics = new Metrics();
  metrics.process();
  const health = new Health();

  const mask = await loadMask();
  const verifier = createVerifier(config.issuers, { logger });
  const targets = new Targets(config.targets);
  for (const { target, credential, error } of targets.problems()) logger.error({ target, credential, code: error.code }, error.message);

  const maskRecord = mask.recorder();
  const told = tapMetrics(metrics);
  const verificationFailed = logMetrics(metrics, () => {
    const { bavail, bsize } = statfsSync(stateDir);
    return { size: sink.size, covered: parts.log().published?.size ?? 0, free: bavail * bsize };
  });
  const onProblem = (error: Error): void => {
    if (UNVERIFIED.has((error as { code?: unknown }).code)) verificationFailed();
    logger.error({ err: error }, 'the record has a problem');
  };
  const parts = recordParts(config, { onProblem, confirm: (log) => elsewhere.confirm(log) });
  const elsewhere = new Elsewhere({
    tap: config.tap,
    signers: parts.signers,
    acceptLoss,
    acceptedPath: recordPlaces(stateDir).acceptedLosses,
    logger,
  });
  const sink = await openSink({
    ...parts,
    onLag: told.onLag,
    maskText: (text) => maskRecord.text(text),
    onRecorded: recordMetrics(metrics),
    onProblem,
  });
  opened.add('the record', () => sink.close());
  told.watch(sink);
  issuerMetrics(metrics, verifier);
  const unrecorded = metrics.counter(
    'sluice_tap_unrecorded_total',
    'Events of the service that could not be recorded, with tap.require: false.',
  );
  const record = async (events: readonly RecordedEvent[]): Promise<void> => {
    if (config.tap.require) return sink.append(events);
    await sink.append(events).catch((error: unknown) => {
      unrecorded.inc();
      logger.error(
        { err: error, events: events.length },
        'events are not recorded, and tap.require is false: requests pass without a record',
      );
    });
  };

  const notice = (kind: ServiceNotice, text: string): void => {
    record([{ session: '', target: '', body: { kind: 'notice', notice: kind, text } }]).catch((error: unknown) =>
      logger.error({ err: error, kind, text }, 'a notice is not recorded'),
    );
  };
  for (const loss of elsewhere.losses)
    await record([{ session: '', target: '', body: { kind: 'notice', notice: 'loss-accepted' satisfies ServiceNotice, text: loss } }]);
  const generations = new Generations();
  /** Resolves when no command is taken any more under what was judged before. */
  const inForceEverywhere = async (): Promise<void> => {
    const late = await generations.inForce(generations.begin());
    if (late > 0)
      logger.error({ filters: late }, 'filters did not answer to a change: it was waited until they may not rely on the old state');
  };
  const judges = policyMetrics(metrics);
  const { path, data, timeoutMs, workers } = config.policy;
  const policy = await startPolicy({
    path,
    data,
    timeoutMs,
    workers,
    onIncident: ({ kind, reason }) => {
      judges.incident(kind);
      logger.error({ kind }, `a decision worker: ${reason}`);
    },
    onReloaded: async (revision) => {
      await inForceEverywhere();
      logger.info({ revision }, 'the changed policy is in force');
      notice('policy-reloaded', revision);
    },
    onRefused: (error) => {
      judges.reloadFailed();
      logger.error({ err: error, revision: policy.revision }, 'THE CHANGED POLICY IS REFUSED; the one before it stays in force');
      notice('policy-refused', error.message);
    },
  });
  judges.watch(policy);
  opened.add('the policy', () => policy.close());

  const journal = await openJournal(join(stateDir, 'approvals'));
  opened.add('the journal of approvals', () => journal.close());
  const ended = approvalMetrics(metrics);
  /** Until it is known what is held, all is. */
  let custody: Custody | undefined;
  /** With a store that is not what was asked for nothing new passes, as with a record that cannot be written. */
  const withheld = (): string | undefined => (config.tap.require ? custody?.refusal : undefined);
  const approvals = await createApprovals({
    store: journalStore(journal),
    record: (events) => sink.append(events),
    maxOpen: terms.maxOpen,
    maxTtlMs: terms.maxTtlMs,
    grantTtlMs: terms.grantTtlMs,
    mustKeep: (session) => custody?.legalHolds.holds(session) ?? true,
    withheld,
    onEnded: ended.onEnded,
    onFault: (error) => logger.error({ err: error }, 'a step of an approval could not be recorded'),
  });
  ended.watch(approvals);
  holdMetrics(metrics, () => approvals.list('pending'));

  const limitsOf: LimitsOf = (target) => targets.limits(target);
  const passages = new Passages();
  /** What is denied, and what ends, is recorded whatever the stores are. */
  const recordWhileFit = async (events: readonly RecordedEvent[]): Promise<void> => {
    const passes = events.some(({ body }) => body.kind === 'request_judged' && body.effect !== 'deny');
    const why = passes ? withheld() : undefined;
    if (why !== undefined) throw new Error(why);
    return record(events);
  };
  const shared = {
    policy,
    approvals,
    record: recordWhileFit,
    fault: (error) => logger.error({ err: error }, 'a check failed'),
    maskRequest: (json) => maskRecord.json(json),
    maskText: (text) => maskRecord.text(text),
    observe: {
      decision: (effect, target, rule) => metrics.decided(effect, target, rule),
      stage: (stage, seconds) => metrics.observe(stage, seconds),
    },
  } satisfies Partial<CheckPorts>;
  const ports: CheckPorts = {
    ...shared,
    identify: identifyBy(verifier, 'sluice'),
    target: (name) => targets.info(name),
    credential: (target, name) => targets.credential(target, name),
    plan: planner(masking, limitsOf),
    approvalStatus: (id, identityId) => approvals.status(id, identityId),
    databaseOf: (target) => databases.get(target)?.name,
    admitted: (session, target, passage) => passages.put(session, target, passage),
  };

  const analyst = await createAnalyst({ onIncident: (reason) => logger.error({ reason }, 'an analysis worker') });
  opened.add('the analysis', () => analyst.close());
  const databases = new Databases(
    {
      analyst,
      logIn: (target, credential) => targets.logIn(target, credential),
      onChanged: () => void generations.begin(),
      onError: (target, error) =>
        logger.error({ err: error, target }, 'the catalog of a target cannot be read: its statements are refused'),
    },
    databasesOf(config),
  );
  opened.add('the catalogs', async () => databases.close());
  const sessionPorts: SessionPorts = {
    ...shared,
    newSession: () => sessionId(Date.now()),
    identify: async (token) => {
      const verdict = await verifier.verify(token);
      if (verdict.ok) return { ok: true, identity: verdict.identity, run: runOf(verdict.run, () => []), expiresAt: verdict.expiresAt };
      return { ok: false, code: verdict.code, description: verdict.description, unavailable: verdict.status === 503 };
    },
    passage: (session, target) => passages.take(session, target),
    database: (target) => databases.get(target),
    plan: commandPlanner(masking, limitsOf),
    end: (end) => sink.end(end),
    serves: (emitter) => sink.serves(emitter),
    generations,
  };

  health.check('policy', () => (policy.load().workers > 0 ? { ok: true } : { ok: false, reason: 'no decision worker serves' }));
  health.check('record', () => sink.healthy);
  health.check('publication', () => parts.log().publication);
  health.check('approvals', () => approvals.health);
  const exportDir = join(stateDir, 'export');
  const readable = {
    origin: parts.log().origin,
    get size() {
      return sink.size;
    },
    read: (index: number) => present(sink.read(index)),
    recall: (session: string, before: number) => present(sink.recall(session, before)),
  };
  const keeping = (custody = await startCustody({
    tap: config.tap,
    objects: parts.objects,
    origin: parts.log().origin,
    keys: parts.keys,
    size: () => sink.size,
    directory: stateDir,
    record: (kind, session, text) => sink.append([{ session, target: '', body: { kind: 'notice', notice: kind, text } }]),
    leavesOf: async (session) => sink.indicesOf(session),
    publish: async () => {
      await sink.finish();
      await parts.log().publish();
    },
    forget: async (from, to) => void (await sink.forget(from, to)),
    undisturbed: (work) => parts.log().undisturbed(work),
    noticeOf,
    forgetEnded: (before) => approvals.forgetEnded(before),
    unfit: () => void inForceEverywhere(),
    publishRecorded: () => parts.log().publish(),
    spans: (from, to) => sink.spans(from, to),
    holdBack: (below) => sink.holdBack(below),
    prune: (minimum) => sink.prune(minimum),
    logger,
  }));
  opened.add('the custody of the record', () => keeping.close());
  custodyMetrics(metrics, keeping);
  health.check('stores', () => (keeping.refusal === undefined ? { ok: true } : { ok: false, reason: keeping.refusal }));
  const admin: Admin = createAdmin({
    approvals,
    record: readable,
    sessions: sessionIndex(sink),
    runs: runIndex(sink),
    metrics,
    health,
    auditors: config.admin.auditors,
    custodians: config.admin.custodians,
    legalHolds: keeping.legalHolds,
    clock: {
      state: () => keeping.status.clock,
      pruning: () => keeping.status.pruning,
      retention: () => keeping.status.retention,
      confirm: (by, reason) => keeping.confirmClock(by, reason),
    },
    verifier,
    logger,
  });
  await admin.listen({ socket: config.admin.socket });
  opened.add('the admin API', () => admin.close());
  if (config.admin.address) await admin.listen(config.admin.address);

  if (config.export.length > 0) {
    // What was deleted before it was exported is to be told of.
    const exported: RecordSource = Object.create(readable, { read: { value: (index: number) => presentOrGone(sink.read(index)) } });
    const exporter = startExporter({ destinations: config.export, record: exported, dir: exportDir, version: VERSION, logger });
    opened.add('the export', () => exporter.close());
    exportMetrics(metrics, exporter);
  }

  await verifier.warm();
  const refusedAs = (what: string): TapServiceOptions => ({
    onRefused: (error, peer) => logger.error({ code: error.code, peer }, `${what} is refused: ${error.message}`),
  });
  const emitters = [
    tapService(sink, refusedAs('a stream of events')),
    ...(config.tap.envoyAccessLog ? [accessLogService(sink, maskRecord.text, refusedAs('a stream of access logs'))] : []),
    ...(config.tap.envoyTap ? [tapSinkService(sink, maskRecord.text, refusedAs("a stream of Envoy's tap"))] : []),
  ];
  tapServiceMetrics(metrics, emitters);
  const tapDoor = await openDoor(service.tap, emitters, MAX_EMIT_BYTES);
  opened.add('the tap', () => tapDoor.close(service.drainMs), DISK_MS + service.drainMs);
  const sessions = createSessions(sessionPorts);
  opened.add('the sessions', async () => sessions.stop());
  opened.add('the generations', async () => generations.close());
  const checkDoor = await openUnaryDoor(service.check, [checkMethod(ports), ...sessionMethods(sessions)], MAX_CHECK_BYTES);
  let drained: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    health.stopping();
    // Held callers are told first: they would outlast every drain.
    await approvals.close();
    generations.close();
    await checkDoor.close(service.drainMs);
  };
  const drainOnce = (): Promise<void> => (drained ??= drain());
  opened.add('the checks', drainOnce, DISK_MS + service.drainMs);
  const watch = watchConfig(config, {
    changed: async (now, restart) => {
      targets.replace(now.targets);
      databases.replace(databasesOf(now));
      onTargets(now);
      await inForceEverywhere();
      logger.info(
        { targets: now.targets.map(({ name }) => name), restart },
        restart.length > 0 ? 'the changed targets are in force; the other keys wait for a restart' : 'the changed targets are in force',
      );
      notice('configuration-changed', now.targets.map(({ name }) => name).join(', '));
    },
    refused: (errors) =>
      logger.error({ errors: errors.map(formatConfigError) }, 'THE CHANGED CONFIGURATION IS REFUSED; the one before it stays in force'),
  });
  opened.add('the watch of the configuration', async () => watch.close());
  notice('service-started', policy.revision);
  logger.info({ targets: config.targets.length, policy: policy.revision }, 'the service is ready');
  return drainOnce;
}

const databasesOf = ({ targets }: Config): PostgresTarget[] => targets.filter((target) => target.protocol === 'postgres');

const runIndex = (sink: Sink): RunIndex => ({
  list: ({ limit, ...filter }) => runsOf(sink.sessions(filter), limit),
  detail: async (run, filter) => (run === '' ? undefined : runDetail(run, sink.sessions({ ...filter, run }))),
});

function sessionIndex(sink: Sink): SessionIndex {
  return {
    list: (filter) => sink.list(filter),
    async *events(id) {
      for await (const { index, event, about, late } of sink.replay(id))
        yield { index, ...(event === undefined ? aboutToJson(about) : eventToJson(event)), ...(late && { late }) };
    },
  };
}
