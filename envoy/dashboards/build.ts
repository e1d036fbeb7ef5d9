/** The Grafana dashboards of this folder, as a table: a row for each panel. Run this file to write them. What is written is held by the compiler against the types of Grafana's own schema. */
import { writeFileSync } from 'node:fs';
import type { Dashboard as GrafanaDashboard, Panel as GrafanaPanel, VariableModel } from '@grafana/schema';

interface Query {
  readonly expr: string;
  /** How a series is called; Grafana's `{{label}}`. */
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  readonly description: string;
  readonly kind: 'timeseries' | 'stat' | 'bargauge';
  /** Of 24 columns. */
  readonly width: number;
  readonly unit: 'reqps' | 'ops' | 's' | 'short' | 'bytes' | 'Bps' | 'percentunit';
  readonly stacked?: true;
  readonly queries: readonly Query[];
}

interface Dashboard {
  readonly file: string;
  readonly title: string;
  readonly panels: readonly Panel[];
}

const q = (expr: string, legend = ''): Query => ({ expr, legend });
/** The quantile of a histogram of ours over the last minutes. */
const quantile = (p: number, name: string, by = '', where = ''): Query =>
  q(
    `histogram_quantile(${p}, sum by (le${by && `, ${by}`}) (rate(${name}_bucket{instance=~"$instance"${where}}[$__rate_interval])))`,
    `p${p * 100}${by && ` {{${by}}}`}`,
  );
const HERE = '{instance=~"$instance"}';
const AT = '{instance=~"$instance", target=~"$target"}';
const rate = (name: string, by: string, where = AT): Query =>
  q(
    `sum by (${by}) (rate(${name}${where}[$__rate_interval]))`,
    by
      .split(', ')
      .map((label) => `{{${label}}}`)
      .join(' '),
  );
const total = (name: string, where = HERE): Query => q(`sum(${name}${where})`);
const increase = (name: string, by: string, where = HERE): Query => q(`sum by (${by}) (increase(${name}${where}[$__range]))`, `{{${by}}}`);

const DASHBOARDS: readonly Dashboard[] = [
  {
    file: 'traffic.json',
    title: 'Sluice: traffic and decisions',
    panels: [
      {
        title: 'Decisions',
        description: 'By effect. `error`: nothing could be decided, so nothing passed.',
        kind: 'timeseries',
        width: 12,
        unit: 'reqps',
        stacked: true,
        queries: [rate('sluice_decisions_total', 'effect')],
      },
      {
        title: 'Denied, by rule',
        description: 'What is refused, and by which rule; codes of tokens that were not accepted among them.',
        kind: 'timeseries',
        width: 12,
        unit: 'reqps',
        stacked: true,
        queries: [rate('sluice_decisions_total', 'target, rule', '{instance=~"$instance", target=~"$target", effect=~"deny|error"}')],
      },
      {
        title: 'Responses',
        description: 'By how they ended: cut and replaced ones could not be masked.',
        kind: 'timeseries',
        width: 12,
        unit: 'reqps',
        stacked: true,
        queries: [rate('sluice_responses_total', 'outcome, status')],
      },
      {
        title: 'Commands',
        description: 'Of sessions that carry several: statements of SQL.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        stacked: true,
        queries: [rate('sluice_commands_total', 'target, outcome')],
      },
      {
        title: 'Time in each stage, 99th percentile',
        description: 'Where a decision spends its time. `hold` waits for people and is on another dashboard.',
        kind: 'timeseries',
        width: 12,
        unit: 's',
        queries: [quantile(0.99, 'sluice_stage_seconds', 'stage', ', stage!="hold"')],
      },
      {
        title: 'Responses and commands, 99th percentile',
        description: "From the request or command at the filter to its end: the target's time, too.",
        kind: 'timeseries',
        width: 12,
        unit: 's',
        queries: [
          { ...quantile(0.99, 'sluice_response_seconds'), legend: 'responses' },
          { ...quantile(0.99, 'sluice_command_seconds'), legend: 'commands' },
        ],
      },
      {
        title: 'Towards clients',
        description: 'Bytes after masking.',
        kind: 'timeseries',
        width: 8,
        unit: 'Bps',
        queries: [rate('sluice_response_bytes_total', 'target')],
      },
      {
        title: 'Sessions open',
        description: 'Sessions that have not ended.',
        kind: 'timeseries',
        width: 8,
        unit: 'short',
        queries: [total('sluice_sessions_open')],
      },
      {
        title: 'Sessions ended',
        description: '`unknown`: nobody told how.',
        kind: 'timeseries',
        width: 8,
        unit: 'ops',
        stacked: true,
        queries: [rate('sluice_sessions_ended_total', 'outcome')],
      },
      {
        title: 'Decision workers busy',
        description: 'Of those that serve; all of them for long: give `policy.workers` more.',
        kind: 'timeseries',
        width: 8,
        unit: 'percentunit',
        queries: [
          q(`sum by (instance) (sluice_policy_workers_busy${HERE}) / sum by (instance) (sluice_policy_workers${HERE})`, '{{instance}}'),
        ],
      },
      {
        title: 'Evaluations waiting',
        description: 'The queue before the decision workers.',
        kind: 'timeseries',
        width: 8,
        unit: 'short',
        queries: [total('sluice_policy_evaluations_waiting')],
      },
      {
        title: 'Issuers whose keys cannot be fetched',
        description: 'The cached ones serve for a while.',
        kind: 'stat',
        width: 8,
        unit: 'short',
        queries: [total('sluice_issuer_fetch_failing')],
      },
    ],
  },
  {
    file: 'approvals.json',
    title: 'Sluice: holds and approvals',
    panels: [
      {
        title: 'Waiting for people',
        description: 'Requests that wait for an answer.',
        kind: 'stat',
        width: 6,
        unit: 'short',
        queries: [total('sluice_holds_open')],
      },
      {
        title: 'Waiting longest',
        description: 'Of those that wait, since the first was held.',
        kind: 'stat',
        width: 6,
        unit: 's',
        queries: [q(`max(sluice_hold_oldest_seconds${HERE})`)],
      },
      {
        title: 'Grants',
        description: 'Approvals that wait for their request to be sent again.',
        kind: 'stat',
        width: 6,
        unit: 'short',
        queries: [total('sluice_grants_open')],
      },
      {
        title: 'Unanswered in the range',
        description: 'Holds that nobody answered in time.',
        kind: 'stat',
        width: 6,
        unit: 'short',
        queries: [q(`sum(increase(sluice_holds_ended_total{instance=~"$instance", state="expired"}[$__range]))`)],
      },
      {
        title: 'Held',
        description: 'By rule.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        stacked: true,
        queries: [rate('sluice_decisions_total', 'target, rule', '{instance=~"$instance", target=~"$target", effect="hold"}')],
      },
      {
        title: 'How holds ended',
        description: 'Approved, denied, expired, cancelled.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        stacked: true,
        queries: [rate('sluice_holds_ended_total', 'state', HERE)],
      },
      {
        title: 'How long holds waited',
        description: 'From the hold to its end, whether or not its caller waited.',
        kind: 'timeseries',
        width: 12,
        unit: 's',
        queries: [quantile(0.5, 'sluice_hold_seconds'), quantile(0.95, 'sluice_hold_seconds')],
      },
      {
        title: 'Answers',
        description: 'Votes of a quorum are counted one by one.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        stacked: true,
        queries: [rate('sluice_hold_answers_total', 'answer', HERE)],
      },
    ],
  },
  {
    file: 'masking.json',
    title: 'Sluice: masking',
    panels: [
      {
        title: 'Values masked',
        description: 'By the obligation that asked for it.',
        kind: 'timeseries',
        width: 24,
        unit: 'ops',
        stacked: true,
        queries: [rate('sluice_masked_values_total', 'target, rule')],
      },
      {
        title: 'In the range, by obligation',
        description: 'One that masks nothing may no longer find its field.',
        kind: 'bargauge',
        width: 12,
        unit: 'short',
        queries: [increase('sluice_masked_values_total', 'rule', AT)],
      },
      {
        title: 'In the range, by target',
        description: 'Values that were masked.',
        kind: 'bargauge',
        width: 12,
        unit: 'short',
        queries: [increase('sluice_masked_values_total', 'target', AT)],
      },
      {
        title: 'Masked for each response or command',
        description: 'A rise without another policy: more is asked for than before.',
        kind: 'timeseries',
        width: 12,
        unit: 'short',
        queries: [
          q(
            `sum by (target) (rate(sluice_masked_values_total${AT}[$__rate_interval])) / (sum by (target) (rate(sluice_responses_total${AT}[$__rate_interval])) or sum by (target) (rate(sluice_commands_total${AT}[$__rate_interval])))`,
            '{{target}}',
          ),
        ],
      },
      {
        title: 'Not let through, since it could not be masked',
        description: 'Replaced by a 502, or cut when it had begun.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        stacked: true,
        queries: [
          rate('sluice_responses_total', 'target, outcome', '{instance=~"$instance", target=~"$target", outcome=~"replaced|cut"}'),
          rate('sluice_commands_total', 'target, outcome', '{instance=~"$instance", target=~"$target", outcome="cut"}'),
        ],
      },
    ],
  },
  {
    file: 'record.json',
    title: 'Sluice: record, tap and export',
    panels: [
      {
        title: 'Events in the record',
        description: 'Since it was begun.',
        kind: 'stat',
        width: 6,
        unit: 'short',
        queries: [total('sluice_log_events')],
      },
      {
        title: 'Not covered by a checkpoint',
        description: 'For how long events have been durable that no published checkpoint covers.',
        kind: 'stat',
        width: 6,
        unit: 's',
        queries: [q(`max(sluice_log_checkpoint_age_seconds${HERE})`)],
      },
      {
        title: 'Verification failed',
        description: 'The record was found damaged, forked or rolled back. It is 0, or somebody must look at once.',
        kind: 'stat',
        width: 6,
        unit: 'short',
        queries: [total('sluice_log_verification_failures_total')],
      },
      {
        title: 'Room on the disk',
        description: 'Of the state directory. When it is full, nothing new passes.',
        kind: 'stat',
        width: 6,
        unit: 'bytes',
        queries: [q(`min(sluice_state_free_bytes${HERE})`)],
      },
      {
        title: 'Events',
        description: 'That became durable.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        queries: [rate('sluice_tap_events_total', 'instance', HERE)],
      },
      {
        title: 'Written',
        description: 'Bytes, and events for each write to the disk.',
        kind: 'timeseries',
        width: 12,
        unit: 'Bps',
        queries: [rate('sluice_tap_bytes_total', 'instance', HERE)],
      },
      {
        title: 'Events for each write',
        description: 'Many events share one.',
        kind: 'timeseries',
        width: 12,
        unit: 'short',
        queries: [
          q(`sum(rate(sluice_tap_events_total${HERE}[$__rate_interval])) / sum(rate(sluice_tap_writes_total${HERE}[$__rate_interval]))`),
        ],
      },
      {
        title: 'Tap lag',
        description: 'From an event to its durability.',
        kind: 'timeseries',
        width: 12,
        unit: 's',
        queries: [quantile(0.5, 'sluice_tap_lag_seconds'), quantile(0.99, 'sluice_tap_lag_seconds')],
      },
      {
        title: 'Streams of filters',
        description: 'One for each Envoy worker.',
        kind: 'timeseries',
        width: 8,
        unit: 'short',
        queries: [total('sluice_tap_streams_open')],
      },
      {
        title: 'Waiting for the disk',
        description: 'Bytes that were accepted and are not durable yet.',
        kind: 'timeseries',
        width: 8,
        unit: 'bytes',
        queries: [total('sluice_tap_waiting_bytes')],
      },
      {
        title: 'What went wrong',
        description: 'Refusals of the record, streams refused, gaps, ends that nobody told, events not recorded.',
        kind: 'timeseries',
        width: 8,
        unit: 'ops',
        queries: [
          'sluice_tap_failures_total',
          'sluice_tap_gaps_total',
          'sluice_sessions_unknown_total',
          'sluice_tap_unrecorded_total',
          'sluice_tap_streams_refused_total',
        ].map((name) => q(`sum(rate(${name}${HERE}[$__rate_interval]))`, name.replace(/^sluice_|_total$/g, ''))),
      },
      {
        title: 'Export: not delivered',
        description: 'Events of the record that the receiver has not taken.',
        kind: 'timeseries',
        width: 12,
        unit: 'short',
        queries: [q(`max by (instance, destination) (sluice_export_lag_events${HERE})`, '{{destination}}')],
      },
      {
        title: 'Export: the oldest waits',
        description: 'How old the oldest event is that waits to be taken.',
        kind: 'timeseries',
        width: 12,
        unit: 's',
        queries: [q(`max by (instance, destination) (sluice_export_lag_seconds${HERE})`, '{{destination}}')],
      },
      {
        title: 'Export: delivered',
        description: 'Events that the receiver has taken.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        queries: [rate('sluice_export_events_total', 'destination', HERE)],
      },
      {
        title: 'Export: refused, dead letters, missed',
        description: 'None of these is right.',
        kind: 'timeseries',
        width: 12,
        unit: 'ops',
        queries: ['sluice_export_refused_total', 'sluice_export_dead_letters_total', 'sluice_export_missed_total']
          .map((name) => rate(name, 'destination', HERE))
          .map(({ expr, legend }) => q(expr, `${/_(refused|dead_letters|missed)_/.exec(expr)?.[1]} ${legend}`)),
      },
    ],
  },
];

const DATASOURCE = { type: 'prometheus', uid: '$datasource' };
const HEIGHT = { stat: 4, timeseries: 8, bargauge: 8 } as const;

const variable = (name: string, label: string, metric: string): VariableModel => ({
  name,
  label,
  type: 'query',
  datasource: DATASOURCE,
  query: { query: `label_values(${metric}, ${name})`, refId: name },
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  allValue: '.*',
  current: { text: ['All'], value: ['$__all'] },
});

function laidOut(panels: readonly Panel[]): GrafanaPanel[] {
  let [x, y, height] = [0, 0, 0];
  return panels.map((panel, at) => {
    if (x + panel.width > 24) [x, y, height] = [0, y + height, 0];
    const gridPos = { x, y, w: panel.width, h: HEIGHT[panel.kind] };
    x += panel.width;
    height = Math.max(height, gridPos.h);
    return shown(panel, at + 1, gridPos);
  });
}

const shown = (
  { title, description, kind, unit, stacked, queries }: Panel,
  id: number,
  gridPos: NonNullable<GrafanaPanel['gridPos']>,
): GrafanaPanel => ({
  id,
  type: kind,
  title,
  description,
  datasource: DATASOURCE,
  gridPos,
  fieldConfig: {
    defaults: {
      unit,
      min: 0,
      ...(kind === 'timeseries' && {
        custom: { fillOpacity: stacked ? 30 : 0, stacking: { mode: stacked ? 'normal' : 'none', group: 'A' } },
      }),
    },
    overrides: [],
  },
  options:
    kind === 'timeseries'
      ? { legend: { displayMode: 'list', placement: 'bottom', showLegend: true }, tooltip: { mode: 'multi', sort: 'desc' } }
      : { reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false } },
  targets: queries.map(({ expr, legend }, at) => ({
    refId: String.fromCharCode(65 + at),
    datasource: DATASOURCE,
    expr,
    legendFormat: legend,
    ...(kind !== 'timeseries' && { instant: true }),
  })),
});

/** The files of this folder and what they hold. */
export const dashboards = (): ReadonlyMap<string, string> =>
  new Map(
    DASHBOARDS.map(({ file, title, panels }) => [
      file,
      `${JSON.stringify(
        {
          uid: `sluice-${file.replace('.json', '')}`,
          title,
          tags: ['sluice'],
          schemaVersion: 39,
          version: 1,
          editable: true,
          time: { from: 'now-6h', to: 'now' },
          refresh: '30s',
          templating: {
            list: [
              {
                name: 'datasource',
                label: 'Data source',
                type: 'datasource',
                query: 'prometheus',
                current: { text: 'default', value: 'default' },
              },
              variable('instance', 'Gateway', 'sluice_log_events'),
              variable('target', 'Target', 'sluice_decisions_total'),
            ],
          },
          links: [
            {
              type: 'dashboards',
              title: 'Sluice',
              tags: ['sluice'],
              asDropdown: true,
              includeVars: true,
              keepTime: true,
              icon: 'external link',
              targetBlank: false,
              tooltip: '',
            },
          ],
          panels: laidOut(panels),
        } satisfies GrafanaDashboard,
        null,
        2,
      )}\n`,
    ]),
  );

if (import.meta.main) for (const [file, text] of dashboards()) writeFileSync(new URL(file, import.meta.url), text);
