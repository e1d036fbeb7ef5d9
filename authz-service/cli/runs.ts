/** `sluice runs`: who set the agent to work, what it touched, what was masked, who approved. */
import { printable } from '../replay/printable.ts';
import type { RunApproval, RunDetail, RunSummary } from '../tap/runs.ts';
import { type Command, complain, flag, type Invocation, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';
import { filterDetails, filterOptions, filterQuery, listDetails, listOptions, localTime, sayList } from './session_filter.ts';
import type { Column } from './table.ts';

export const runs: Command = {
  name: 'runs',
  usage: '[RUN] [--identity ID] [--target NAME] [--since 1h] …',
  summary: 'what agents were set to do: one line for each run, or one run in full',
  details: [
    ['RUN', 'who approved in it, what was masked, and its sessions'],
    ['', 'All sessions are counted, or, with these, all of them that are:'],
    ...filterDetails(['run']),
    ['-n, --limit N', 'how many runs are listed at most, the newest; default 100'],
    ...listDetails,
    ...placeDetails,
  ],
  options: { ...placeOptions, ...filterOptions(['run']), ...listOptions },
  takes: [0, 1],
  run: (invocation) => (invocation.positionals[0] === undefined ? list(invocation) : show(invocation, invocation.positionals[0])),
};

async function list(invocation: Invocation): Promise<number> {
  const query = { ...filterQuery(invocation), limit: text(invocation, 'limit') };
  const answer = (await (await connected(invocation)).get('/v1/runs', query)) as { runs: RunSummary[]; more: number };
  sayList(invocation, answer, { rows: answer.runs, columns: COLUMNS, none: 'No such run.' });
  if (answer.more > 0 && !flag(invocation, 'json')) complain(`${answer.more} older runs are not listed: see --limit and --until.`);
  return 0;
}

async function show(invocation: Invocation, run: string): Promise<number> {
  const detail = (await (await connected(invocation)).get('/v1/run', { ...filterQuery(invocation), id: run })) as RunDetail;
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
    ...Object.entries(detail.judged).map(([target, effects]) => `  ${target}: ${counts(effects)}`),
    ...Object.entries(detail.maskedBy).map(([rule, count]) => `  masked ${rule}: ${count}`),
    ...detail.approvals.map((approval) => `  ${answered(approval)}`),
    ...(detail.moreApprovals > 0 ? [`  and ${detail.moreApprovals} approvals more`] : []),
    ...detail.recent.map(
      ({ id, target, request, effect, answer, outcome, state }) =>
        `  ${id}  ${target}: ${request || '-'}: ${effect || '-'}${answer ? `, ${answer}` : ''}, ${state === 'closed' ? outcome : state}`,
    ),
    ...(detail.sessions > detail.recent.length
      ? [`  and ${detail.sessions - detail.recent.length} older sessions: sluice sessions --run, with --until`]
      : []),
  ].map(printable);
