/** What the events of the record add up to, and how far its export has come, named for Prometheus. */
import type { Approval } from '../approval/state.ts';
import type { Exporter } from '../export/exporter.ts';
import type { MaskedField, TapEvent } from '../tap/schema.ts';
import type { Metrics, Sample } from './metrics.ts';

/** Counts each event that became durable: pass what it returns to the sink. */
export function recordMetrics(metrics: Metrics): (event: TapEvent) => void {
  const opened = metrics.counts('sluice_sessions_opened_total', 'Sessions that were opened.', ['target', 'protocol']);
  const ended = metrics.counts('sluice_sessions_ended_total', 'Sessions that have ended, by how.', ['target', 'outcome']);
  const responses = metrics.counts('sluice_responses_total', 'Responses, by how they ended and the class of their status.', [
    'target',
    'outcome',
    'status',
  ]);
  const commands = metrics.counts('sluice_commands_total', 'Commands of sessions that have ended, by how.', ['target', 'outcome']);
  const bytes = metrics.counts('sluice_response_bytes_total', 'Bytes towards clients, after masking.', ['target']);
  const masked = metrics.counts('sluice_masked_values_total', 'Values that were masked, by the obligation that asked for it.', [
    'target',
    'rule',
  ]);
  const answers = metrics.counts('sluice_hold_answers_total', 'Answers to holds, votes and ends without an answer included.', ['answer']);
  const notices = metrics.counts('sluice_notices_total', 'Notices in the record, by their kind.', ['notice']);
  const took = metrics.histogram('sluice_response_seconds', "From a request's headers at the filter to the end of its response.");
  const ran = metrics.histogram('sluice_command_seconds', 'From a command at the filter to its end.');
  const mask = (target: string, fields: readonly MaskedField[]): void => {
    for (const { rule, count } of fields) masked.add([target, rule], count);
  };
  return ({ target, body }) => {
    switch (body.kind) {
      case 'session_opened':
        return opened.add([target, body.protocol]);
      case 'session_closed':
        return ended.add([target, body.outcome]);
      case 'response_finished':
        responses.add([target, body.outcome, `${Math.floor(body.status / 100)}xx`]);
        bytes.add([target], body.responseBytes);
        took.observe(body.durationMicros / 1e6);
        return mask(target, body.masked);
      case 'command_finished':
        commands.add([target, body.outcome]);
        bytes.add([target], body.bytes);
        ran.observe(body.durationMicros / 1e6);
        return mask(target, body.masked);
      case 'hold_answered':
        return answers.add([body.answer]);
      case 'notice':
        return notices.add([body.notice]);
    }
  };
}

/** What is known of the log that the record is. */
export interface LogStatus {
  /** Events that are durable. */
  readonly size: number;
  /** Events that the newest published checkpoint covers; absent while there are no checkpoints. */
  readonly covered?: number;
  /** Free bytes of the disk that it is on. */
  readonly free: number;
}

/**
 * The log's health. @returns to be called when the record was found damaged, forked or rolled back
 * @param now Unix milliseconds
 */
export function logMetrics(metrics: Metrics, status: () => LogStatus, now: () => number = Date.now): () => void {
  const failures = metrics.counter(
    'sluice_log_verification_failures_total',
    'Times that the record was found to be damaged, forked or rolled back.',
  );
  metrics.read('gauge', 'sluice_log_events', 'Events of the record.', () => status().size);
  metrics.read('gauge', 'sluice_log_checkpoint_events', 'Events that the newest published checkpoint covers.', () => {
    const { covered } = status();
    return covered === undefined ? [] : [{ value: covered }];
  });
  // Seen from scrape to scrape: since when there was something that no checkpoint covered.
  let [uncovered, since] = [Number.POSITIVE_INFINITY, 0];
  metrics.read(
    'gauge',
    'sluice_log_checkpoint_age_seconds',
    'For how long events have been durable that no published checkpoint covers; 0 when all are covered.',
    () => {
      const { size, covered } = status();
      if (covered === undefined) return [];
      if (covered >= size) uncovered = Number.POSITIVE_INFINITY;
      else if (covered > uncovered || uncovered === Number.POSITIVE_INFINITY) [uncovered, since] = [size - 1, now()];
      return [{ value: uncovered === Number.POSITIVE_INFINITY ? 0 : (now() - since) / 1000 }];
    },
  );
  metrics.read('gauge', 'sluice_state_free_bytes', 'Free bytes of the disk that holds the state directory.', () => status().free);
  return () => failures.inc();
}

/** How long the hold that was opened first has waited. */
export const holdMetrics = (metrics: Metrics, pending: () => readonly Pick<Approval, 'heldAt'>[], now: () => number = Date.now): void =>
  metrics.read('gauge', 'sluice_hold_oldest_seconds', 'How long the hold has waited that was opened first; 0 when there is none.', () => {
    const oldest = pending().reduce((least, { heldAt }) => Math.min(least, heldAt), Number.POSITIVE_INFINITY);
    return Number.isFinite(oldest) ? Math.max(0, (now() - oldest) / 1000) : 0;
  });

type Told = Exporter['status'][number];
const EXPORT: readonly (readonly ['counter' | 'gauge', string, string, (of: Told) => number])[] = [
  ['counter', 'sluice_export_events_total', 'Events that the receiver has taken.', ({ events }) => events],
  ['counter', 'sluice_export_retries_total', 'Times that a batch was not taken and is sent again.', ({ retries }) => retries],
  ['counter', 'sluice_export_refused_total', 'Times that the receiver refused an event for what it is.', ({ refused }) => refused],
  ['counter', 'sluice_export_dead_letters_total', 'Events that were refused and put aside.', ({ deadLetters }) => deadLetters],
  ['counter', 'sluice_export_missed_total', 'Events that were pruned from the record before they were exported.', ({ missed }) => missed],
  ['gauge', 'sluice_export_failing', '1 while nothing is delivered for a fault.', ({ failure }) => (failure === '' ? 0 : 1)],
  ['gauge', 'sluice_export_lag_events', 'Events of the record that are not delivered yet.', ({ lag }) => lag],
  ['gauge', 'sluice_export_lag_seconds', 'How old the oldest event is that waits to be taken.', ({ lagSeconds }) => lagSeconds],
];

export function exportMetrics(metrics: Metrics, exporter: Pick<Exporter, 'status' | 'restarts'>): void {
  for (const [type, name, help, value] of EXPORT)
    metrics.read(type, name, help, () => exporter.status.map((of): Sample => ({ value: value(of), labels: { destination: of.name } })));
  metrics.read(
    'counter',
    'sluice_export_worker_restarts_total',
    'Times that the thread of the export was lost and replaced.',
    () => exporter.restarts,
  );
}
