import { expect, it } from 'vitest';
import { databaseSession, heldHttpSession, notices } from '../export/events.fixture.ts';
import { Metrics } from './metrics.ts';
import { issuerMetrics, policyMetrics, tapMetrics, tapServiceMetrics } from './parts.ts';
import { exportMetrics, holdMetrics, logMetrics, recordMetrics } from './record.ts';

const linesOf = async (metrics: Metrics, name: string): Promise<string[]> =>
  (await metrics.text()).split('\n').filter((line) => line.startsWith(name));

it('shows what the sink counts, as of now, and how far the record lags', async () => {
  const metrics = new Metrics();
  const { onLag, watch } = tapMetrics(metrics);
  const none = { duplicates: 0, gaps: 0, failures: 0, unknownEnds: 0, openSessions: 0, waitingBytes: 0, lastLag: 0 };
  const sink = { metrics: { ...none, events: 3, bytes: 120, writes: 1, openStreams: 2 } };
  watch(sink);
  sink.metrics = { ...sink.metrics, events: 4 };
  // A clock that is ahead of this one is no negative lag.
  onLag(-1);
  onLag(0.02);
  expect(await linesOf(metrics, 'sluice_tap_events_total')).toEqual(['sluice_tap_events_total 4']);
  expect(await linesOf(metrics, 'sluice_tap_streams_open')).toEqual(['sluice_tap_streams_open 2']);
  expect(await linesOf(metrics, 'sluice_tap_lag_seconds_sum')).toEqual(['sluice_tap_lag_seconds_sum 0.02']);
});

it('shows for each issuer whether its keys can be had', async () => {
  const metrics = new Metrics();
  const status = [
    { issuer: 'https://a.example', keys: 2, fetchedAt: 1000, failure: '' },
    { issuer: 'https://b.example', keys: 0, fetchedAt: null, failure: 'refused' },
  ];
  issuerMetrics(metrics, { status }, () => 61_000);
  expect(await linesOf(metrics, 'sluice_issuer_')).toEqual([
    'sluice_issuer_keys{issuer="https://a.example"} 2',
    'sluice_issuer_keys{issuer="https://b.example"} 0',
    'sluice_issuer_fetch_failing{issuer="https://a.example"} 0',
    'sluice_issuer_fetch_failing{issuer="https://b.example"} 1',
    'sluice_issuer_keys_age_seconds{issuer="https://a.example"} 60',
  ]);
});

it('shows which streams of filters and of access logs were refused, each reason from the start', async () => {
  const metrics = new Metrics();
  const refused: Parameters<typeof tapServiceMetrics>[1][number]['refused'] = {};
  tapServiceMetrics(metrics, [{ refused }, { refused: { malformed: 1 } }]);
  expect(await linesOf(metrics, 'sluice_tap_streams_refused_total{code="gap"}')).toEqual([
    'sluice_tap_streams_refused_total{code="gap"} 0',
  ]);
  refused.gap = 2;
  expect((await linesOf(metrics, 'sluice_tap_streams_refused_total')).filter((line) => !line.endsWith(' 0'))).toEqual([
    'sluice_tap_streams_refused_total{code="malformed"} 1',
    'sluice_tap_streams_refused_total{code="gap"} 2',
  ]);
});

it('names the policy in force, counts the ones that were refused, and shows its workers', async () => {
  const metrics = new Metrics();
  const { reloadFailed, incident, watch } = policyMetrics(metrics);
  let load = { workers: 2, busy: 0, waiting: 0 };
  const policy = { revision: 'one', load: () => load };
  watch(policy);
  policy.revision = 'two';
  load = { workers: 4, busy: 3, waiting: 7 };
  reloadFailed();
  for (const kind of ['timed_out', 'timed_out', 'start_failed'] as const) incident(kind);
  expect(await linesOf(metrics, 'sluice_policy_')).toEqual([
    'sluice_policy_worker_restarts_total{reason="timed_out"} 2',
    'sluice_policy_worker_restarts_total{reason="crashed"} 0',
    'sluice_policy_worker_start_failures_total 1',
    'sluice_policy_reload_failures_total 1',
    'sluice_policy_info{revision="two"} 1',
    'sluice_policy_workers 4',
    'sluice_policy_workers_busy 3',
    'sluice_policy_evaluations_waiting 7',
  ]);
});

it('counts what the record tells: how sessions and responses ended, what was masked, what was answered', async () => {
  const metrics = new Metrics();
  const recorded = recordMetrics(metrics);
  for (const event of [...heldHttpSession(), ...databaseSession(), ...notices()]) recorded(event);
  const lines = (await metrics.text()).split('\n');
  for (const line of [
    'sluice_sessions_opened_total{target="demo",protocol="http"} 1',
    'sluice_sessions_ended_total{target="ledger",outcome="complete"} 1',
    'sluice_responses_total{target="demo",outcome="complete",status="2xx"} 1',
    'sluice_commands_total{target="ledger",outcome="denied"} 1',
    'sluice_response_bytes_total{target="demo"} 412',
    'sluice_masked_values_total{target="demo",rule="mask:**.ssn"} 2',
    'sluice_masked_values_total{target="ledger",rule="r"} 5',
    'sluice_hold_answers_total{answer="approved"} 1',
    'sluice_notices_total{notice="policy-refused"} 1',
    'sluice_response_seconds_count 1',
  ])
    expect(lines).toContain(line);
});

it('does not grow with the names of rules, and loses no count', async () => {
  const metrics = new Metrics();
  const counts = metrics.counts('sluice_masked_values_total', 'Masked.', ['target', 'rule']);
  for (let n = 0; n < 5000; n += 1) counts.add(['demo', `rule-${n}`], 2);
  const lines = await linesOf(metrics, 'sluice_masked_values_total');
  expect(lines.length).toBeLessThan(2100);
  expect(lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)).toBe(10_000);
  expect(lines.some((line) => line.includes('{target="other",rule="other"}'))).toBe(true);
});

it('shows how long the first hold has waited', async () => {
  const metrics = new Metrics();
  let pending: { heldAt: number }[] = [];
  holdMetrics(
    metrics,
    () => pending,
    () => 100_000,
  );
  expect(await linesOf(metrics, 'sluice_hold_oldest_seconds')).toEqual(['sluice_hold_oldest_seconds 0']);
  pending = [{ heldAt: 90_000 }, { heldAt: 40_000 }];
  expect(await linesOf(metrics, 'sluice_hold_oldest_seconds')).toEqual(['sluice_hold_oldest_seconds 60']);
});

it('shows how far each destination of the export is', async () => {
  const metrics = new Metrics();
  const of = { next: 3, events: 2, retries: 4, refused: 0, deadLetters: 0, missed: 0, oldest: 0, lagSeconds: 1.5, lag: 7 };
  exportMetrics(metrics, { status: [{ ...of, name: 'siem', failure: '503' }], restarts: 1 });
  const lines = await linesOf(metrics, 'sluice_export_');
  expect(lines).toContain('sluice_export_failing{destination="siem"} 1');
  expect(lines).toContain('sluice_export_lag_events{destination="siem"} 7');
  expect(lines).toContain('sluice_export_lag_seconds{destination="siem"} 1.5');
  expect(lines).toContain('sluice_export_events_total{destination="siem"} 2');
  expect(lines).toContain('sluice_export_worker_restarts_total 1');
});

it('shows for how long events have been durable that no checkpoint covers', async () => {
  const metrics = new Metrics();
  let [status, now]: [{ size: number; covered?: number; free: number }, number] = [{ size: 10, free: 5 }, 0];
  const failed = logMetrics(
    metrics,
    () => status,
    () => now,
  );
  const age = async (): Promise<string> => (await linesOf(metrics, 'sluice_log_checkpoint_age_seconds')).join();
  // A record without checkpoints has no age of one.
  expect(await age()).toBe('');
  const steps: [size: number, covered: number, seconds: number, age: number][] = [
    [10, 10, 100, 0],
    [12, 10, 110, 0],
    [15, 10, 170, 60],
    // What stood there first is covered now, and other events are not.
    [20, 13, 200, 0],
    [20, 13, 230, 30],
    [20, 20, 300, 0],
  ];
  for (const [size, covered, seconds, expected] of steps) {
    [status, now] = [{ size, covered, free: 5 }, seconds * 1000];
    expect(await age(), `${size} ${covered}`).toBe(`sluice_log_checkpoint_age_seconds ${expected}`);
  }
  failed();
  expect(await linesOf(metrics, 'sluice_log_verification_failures_total')).toEqual(['sluice_log_verification_failures_total 1']);
  expect(await linesOf(metrics, 'sluice_state_free_bytes')).toEqual(['sluice_state_free_bytes 5']);
});
