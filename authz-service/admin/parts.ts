/** What the other parts count of themselves, named for Prometheus. Each asks for no more of a part than it shows. */
import type { KeySetStatus } from '../identity/key_set.ts';
import type { Incident, Load } from '../policy/engine.ts';
import { REFUSALS, type TapService } from '../tap/server.ts';
import type { SinkMetrics } from '../tap/sink.ts';
import type { Metrics, Sample } from './metrics.ts';

type Row = readonly ['counter' | 'gauge', string, string, keyof SinkMetrics];
const SINK: readonly Row[] = [
  ['counter', 'sluice_tap_events_total', 'Events that became durable.', 'events'],
  ['counter', 'sluice_tap_bytes_total', 'Bytes of the events that became durable.', 'bytes'],
  ['counter', 'sluice_tap_writes_total', 'Writes to the disk; many events share one.', 'writes'],
  ['counter', 'sluice_tap_duplicates_total', 'Events dropped because the record had them already.', 'duplicates'],
  ['counter', 'sluice_tap_gaps_total', 'Times that an emitter went on beyond what the record has of it.', 'gaps'],
  ['counter', 'sluice_tap_failures_total', 'Times that the record refused to take what it was told.', 'failures'],
  ['counter', 'sluice_sessions_unknown_total', 'Sessions whose end nobody told.', 'unknownEnds'],
  ['gauge', 'sluice_tap_streams_open', 'Streams of filters.', 'openStreams'],
  ['gauge', 'sluice_sessions_open', 'Sessions that have not ended.', 'openSessions'],
  ['gauge', 'sluice_tap_waiting_bytes', 'Bytes accepted that are not durable yet.', 'waitingBytes'],
];

/** `onLag` is for the sink's option of that name. */
export const tapMetrics = (
  metrics: Metrics,
): { readonly onLag: (seconds: number) => void; watch(sink: { readonly metrics: Readonly<SinkMetrics> }): void } => {
  const lag = metrics.histogram('sluice_tap_lag_seconds', "From when an event happened, by its emitter's clock, to when it was durable.");
  return {
    onLag: (seconds) => lag.observe(Math.max(0, seconds)),
    watch: (sink) => {
      for (const [type, name, help, member] of SINK) metrics.read(type, name, help, () => sink.metrics[member]);
    },
  };
};

/** Each code from the start, so that the first refusal is an increase, too. */
export const tapServiceMetrics = (metrics: Metrics, services: readonly Pick<TapService, 'refused'>[]): void =>
  metrics.read(
    'counter',
    'sluice_tap_streams_refused_total',
    'Streams of filters, and of access logs, that were ended by an error, by its code.',
    () => REFUSALS.map((code) => ({ value: services.reduce((sum, { refused }) => sum + (refused[code] ?? 0), 0), labels: { code } })),
  );

export const issuerMetrics = (
  metrics: Metrics,
  verifier: { readonly status: readonly KeySetStatus[] },
  now: () => number = Date.now,
): void => {
  const each = (value: (status: KeySetStatus) => number | undefined) => (): Sample[] =>
    verifier.status.flatMap((status) => {
      const found = value(status);
      return found === undefined ? [] : [{ value: found, labels: { issuer: status.issuer } }];
    });
  metrics.read(
    'gauge',
    'sluice_issuer_keys',
    'Keys held of an issuer.',
    each(({ keys }) => keys),
  );
  metrics.read(
    'gauge',
    'sluice_issuer_fetch_failing',
    '1 when the last fetch of the keys failed.',
    each(({ failure }) => (failure === '' ? 0 : 1)),
  );
  metrics.read(
    'gauge',
    'sluice_issuer_keys_age_seconds',
    'Since the last fetch that worked.',
    each(({ fetchedAt }) => (fetchedAt === null ? undefined : (now() - fetchedAt) / 1000)),
  );
};

const LOAD: readonly (readonly [string, string, keyof Load])[] = [
  ['sluice_policy_workers', 'Decision workers that serve.', 'workers'],
  ['sluice_policy_workers_busy', 'Decision workers that evaluate at this moment.', 'busy'],
  ['sluice_policy_evaluations_waiting', 'Evaluations that wait for a decision worker.', 'waiting'],
];

/** `reloadFailed` counts a bundle that was refused while the old one stays in force; `incident` what befell a decision worker. */
export const policyMetrics = (
  metrics: Metrics,
): {
  reloadFailed(): void;
  incident(kind: Incident['kind']): void;
  watch(policy: { readonly revision: string; load(): Load }): void;
} => {
  const incidents: Record<Incident['kind'], number> = { timed_out: 0, crashed: 0, start_failed: 0 };
  metrics.read('counter', 'sluice_policy_worker_restarts_total', 'Decision workers that were lost and replaced, by why.', () =>
    (['timed_out', 'crashed'] as const).map((reason) => ({ value: incidents[reason], labels: { reason } })),
  );
  metrics.read(
    'counter',
    'sluice_policy_worker_start_failures_total',
    'Decision workers that did not start; each is tried again.',
    () => incidents.start_failed,
  );
  const failures = metrics.counter(
    'sluice_policy_reload_failures_total',
    'Policy changes that were refused; the old policy stays in force.',
  );
  return {
    reloadFailed: () => failures.inc(),
    incident: (kind) => {
      incidents[kind] += 1;
    },
    watch: (policy) => {
      metrics.read('gauge', 'sluice_policy_info', 'The policy in force.', () => [{ value: 1, labels: { revision: policy.revision } }]);
      for (const [name, help, member] of LOAD) metrics.read('gauge', name, help, () => policy.load()[member]);
    },
  };
};

/** What is done with the published log beside the gateway's work. */
interface CustodyState {
  readonly stores: readonly { readonly name: string; readonly state: 'proven' | 'away' | 'unfit' }[];
  readonly replicas: readonly { readonly name: string; readonly lag: number; readonly behindMs: number; readonly failing: boolean }[];
  readonly witnesses: readonly { readonly name: string; readonly lag: number; readonly state: string }[];
  readonly unwitnessed: number | undefined;
  readonly places: readonly { readonly name: string; readonly lag: number; readonly failing: boolean }[];
  readonly legalHolds: number;
  readonly retention: { readonly deleted: number; readonly failures: number; readonly locked: number };
  readonly clock: { readonly suspended: string | undefined; readonly stalled: string | undefined; readonly aheadMs: number } | undefined;
}

/** States of a witness that a person must look at: the log and its witness do not agree. */
const DISPUTES = ['forked', 'ahead'];

export const custodyMetrics = (metrics: Metrics, custody: { readonly status: CustodyState }): void => {
  const gauge = (name: string, help: string, read: (status: CustodyState) => number | Sample[]): void =>
    metrics.read('gauge', name, help, () => read(custody.status));
  const each =
    <T extends { readonly name: string }>(label: string, of: (status: CustodyState) => readonly T[], value: (one: T) => number) =>
    (status: CustodyState): Sample[] =>
      of(status).map((one) => ({ value: value(one), labels: { [label]: one.name } }));
  gauge('sluice_store_state', '1 for what a store is: proven, away (nothing is written there), unfit (nothing new passes).', ({ stores }) =>
    stores.flatMap(({ name, state }) =>
      ['proven', 'away', 'unfit'].map((each) => ({ value: Number(each === state), labels: { store: name, state: each } })),
    ),
  );
  const [replicas, witnesses, places] = [
    ({ replicas: list }: CustodyState) => list,
    ({ witnesses: list }: CustodyState) => list,
    ({ places: list }: CustodyState) => list,
  ];
  gauge(
    'sluice_replica_lag_leaves',
    'Published leaves that a replica has not.',
    each('replica', replicas, ({ lag }) => lag),
  );
  gauge(
    'sluice_replica_behind_seconds',
    'Since when a replica is behind; 0 when it is not.',
    each('replica', replicas, ({ behindMs }) => behindMs / 1000),
  );
  gauge(
    'sluice_replica_failing',
    '1 when the last attempt to copy failed.',
    each('replica', replicas, ({ failing }) => Number(failing)),
  );
  gauge(
    'sluice_witness_lag_leaves',
    'Published leaves that a witness has not cosigned.',
    each('witness', witnesses, ({ lag }) => lag),
  );
  gauge(
    'sluice_witness_failing',
    '1 when a witness did not cosign what it was last shown.',
    each('witness', witnesses, ({ state }) => Number(state !== 'ok' && state !== 'new')),
  );
  gauge(
    'sluice_witness_disputes',
    '1 when a witness says that the log was forked or rolled back.',
    each('witness', witnesses, ({ state }) => Number(DISPUTES.includes(state))),
  );
  gauge('sluice_unwitnessed_leaves', 'Published leaves that no quorum of witnesses has cosigned.', ({ unwitnessed }) => unwitnessed ?? 0);
  gauge(
    'sluice_checkpoint_place_lag_leaves',
    'Published leaves that the newest checkpoint at a second place does not cover.',
    each('place', places, ({ lag }) => lag),
  );
  gauge(
    'sluice_checkpoint_place_failing',
    '1 when the last checkpoint did not reach a second place.',
    each('place', places, ({ failing }) => Number(failing)),
  );
  gauge('sluice_legal_holds', 'Sessions that are held.', ({ legalHolds }) => legalHolds);
  gauge('sluice_retention_suspended', '1 while nothing is deleted: the clock cannot be right.', ({ clock }) =>
    Number(clock?.suspended !== undefined),
  );
  gauge('sluice_retention_stalled', '1 while leaves have waited for the clock for an hour, and are not deleted.', ({ clock }) =>
    Number(clock?.stalled !== undefined),
  );
  gauge(
    'sluice_clock_ahead_seconds',
    'How far the clock is ahead of what uptime, stores and witnesses say; negative: behind. 0 without any retention.',
    ({ clock }) => (clock?.aheadMs ?? 0) / 1000,
  );
  gauge('sluice_retention_locked', 'Objects of replicas that are due and still locked there.', ({ retention }) => retention.locked);
  metrics.read(
    'counter',
    'sluice_retention_deleted_total',
    'Bundles of events that were deleted after their retention.',
    () => custody.status.retention.deleted,
  );
  metrics.read(
    'counter',
    'sluice_retention_failures_total',
    'Sweeps of the retention that failed.',
    () => custody.status.retention.failures,
  );
};
