/** `sluice runs`: who set the agent to work, what it touched, what was masked, who approved. */
import { printable } from '../replay/printable.ts';
import type { RunApproval, RunDetail, RunSummary } from '../tap/runs.ts';
import { type Command, flag, type Invocation, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';
import { localTime, moment } from './sessions.ts';
import { type Column, table } from './table.ts';

const FILTERS = ['identity', 'target', 'effect', 'outcome', 'state'] as const;

export const runs: Command = {
  name: 'runs',
  usage: '[RUN] [--identity ID] [--target NAME] [--since 1h] …',
  summary: 'what agents were set to do: one line for each run, or one run in full',
  details: [
    ['RUN', 'who approved in it, what was masked, and its sessions'],
    ['--identity ID', 'runs with sessions of one caller, as `corp:agent-7`'],
    ['--target NAME', 'with sessions on one target'],
    ['--effect EFFECT', 'with sessions judged allow, deny or hold'],
    ['--outcome OUTCOME', 'with sessions that ended so'],
    ['--state STATE', 'with sessions that are open, held or closed'],
    ['--since WHEN', 'with sessions opened since then: a duration (90s, 15m, 2h, 7d) or a time (RFC 3339)'],
    ['--until WHEN', 'with sessions opened before then'],
    ['-n, --limit N', 'of how many sessions, the newest, at most; default 1000'],
    ['-q, --quiet', 'their ids alone, one per line'],
    ['--json', 'as the admin API answers'],
    ...placeDetails,
  ],
  options: {
    ...placeOptions,
    ...Object.fromEntries([...FILTERS, 'since', 'until'].map((name) => [name, { type: 'string' as const }])),
    limit: { type: 'string', short: 'n' },
    quiet: { type: 'boolean', short: 'q' },
    json: { type: 'boolean' },
  },
  takes: [0, 1],
  run: (invocation) => (invocation.positionals[0] === undefined ? list(invocation) : show(invocation, invocation.positionals[0])),
};

async function list(invocation: Invocation): Promise<number> {
  const query = Object.fromEntries(FILTERS.map((name) => [name, text(invocation, name)]));
  const [since, until] = (['since', 'until'] as const).map((name) => moment(name, text(invocation, name)));
  const client = await connected(invocation);
  const answer = (await client.get('/v1/runs', { ...query, since, until, limit: text(invocation, 'limit') })) as { runs: RunSummary[] };
  if (flag(invocation, 'json')) say(JSON.stringify(answer, null, 2));
  else if (flag(invocation, 'quiet')) for (const { run } of answer.runs) say(printable(run));
  else if (answer.runs.length === 0) say('No such run.');
  else say(table(COLUMNS, answer.runs, process.stdout.isTTY ? process.stdout.columns : undefined));
  return 0;
}

async function show(invocation: Invocation, run: string): Promise<number> {
  const detail = (await (await connected(invocation)).get('/v1/run', { id: run })) as RunDetail;
  say(flag(invocation, 'json') ? JSON.stringify(detail, null, 2) : told(detail).join('\n'));
  return 0;
}

const counts = (of: Readonly<Record<string, number>>): string =>
  Object.entries(of)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ') || '-';

const COLUMNS: readonly Column<RunSummary>[] = [
  { title: 'RUN', of: ({ run }) => run },
  { title: 'FIRST', of: ({ firstAt }) => localTime(firstAt) },
  { title: 'LAST', of: ({ lastAt }) => localTime(lastAt) },
  { title: 'WHO', of: ({ identities }) => identities.join(', ') || '-', flexible: true },
  { title: 'FOR', of: ({ onBehalfOf }) => onBehalfOf.join(', ') || '-', flexible: true },
  { title: 'TARGETS', of: ({ targets }) => targets.join(', '), flexible: true },
  { title: 'SESSIONS', of: ({ sessions, open }) => `${sessions}${open > 0 ? ` (${open} open)` : ''}` },
  { title: 'JUDGED', of: ({ effects }) => counts(effects) },
  { title: 'MASKED', of: ({ masked }) => String(masked) },
];

const answered = ({ approval, answer, by, reason, request, target }: RunApproval): string =>
  `${approval}: ${answer}${by ? ` by ${by}` : ''}${reason ? `: ${reason}` : ''}: ${target}: ${request}`;

/** A run for people to read. */
export const told = (detail: RunDetail): string[] =>
  [
    `run ${detail.run}`,
    `  by ${detail.identities.join(', ') || 'nobody known'}${detail.onBehalfOf.length > 0 ? `, on behalf of ${detail.onBehalfOf.join(', ')}` : ''}`,
    `  ${localTime(detail.firstAt)} to ${localTime(detail.lastAt)}: ${detail.sessions} sessions, ${detail.open} open`,
    ...(detail.read < detail.sessions ? [`  what follows is of ${detail.read} of them`] : []),
    ...Object.entries(detail.judged).map(([target, effects]) => `  ${target}: ${counts(effects)}`),
    ...Object.entries(detail.maskedBy).map(([rule, count]) => `  masked ${rule}: ${count}`),
    ...detail.approvals.map((approval) => `  ${answered(approval)}`),
    ...detail.recent.map(
      ({ id, target, request, effect, answer, outcome, state }) =>
        `  ${id}  ${target}: ${request || '-'}: ${effect || '-'}${answer ? `, ${answer}` : ''}, ${state === 'closed' ? outcome : state}`,
    ),
  ].map(printable);
