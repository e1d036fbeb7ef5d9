/** `sluice sessions`: what happened lately, for auditors. */
import type { SessionSummary } from '../tap/sessions.ts';
import { type Command, CommandError, flag, type Invocation, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';
import { type Column, table } from './table.ts';

const FILTERS = ['identity', 'target', 'run', 'effect', 'outcome', 'state', 'rule', 'approver', 'masked'] as const;
const DURATION = /^(\d+)([smhd])$/;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export const sessions: Command = {
  name: 'sessions',
  usage: '[--identity ID] [--target NAME] [--since 1h] …',
  summary: 'what happened lately: one line for each session',
  details: [
    ['--identity ID', 'of one caller, as `corp:agent-7`'],
    ['--target NAME', 'on one target'],
    ['--run ID', 'of one run'],
    ['--effect EFFECT', 'judged allow, deny or hold'],
    ['--outcome OUTCOME', 'ended complete, denied, cancelled, cut, failed, pending or unknown'],
    ['--state STATE', 'open, held or closed'],
    ['--rule RULE', 'judged by this rule, the session or a command of it'],
    ['--approver ID', 'with a hold that this person answered'],
    ['--masked RULE', 'in which this masking rule masked something'],
    ['--since WHEN', 'opened since then: a duration (90s, 15m, 2h, 7d) or a time (RFC 3339)'],
    ['--until WHEN', 'opened before then'],
    ['-n, --limit N', 'how many at most; default 100'],
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
  takes: [0, 0],
  run: list,
};

async function list(invocation: Invocation): Promise<number> {
  const query = Object.fromEntries(FILTERS.map((name) => [name, text(invocation, name)]));
  const [since, until] = (['since', 'until'] as const).map((name) => moment(name, text(invocation, name)));
  const client = await connected(invocation);
  const answer = (await client.get('/v1/sessions', { ...query, since, until, limit: text(invocation, 'limit') })) as {
    sessions: SessionSummary[];
  };
  if (flag(invocation, 'json')) say(JSON.stringify(answer, null, 2));
  else if (flag(invocation, 'quiet')) for (const { id } of answer.sessions) say(id);
  else if (answer.sessions.length === 0) say('No such session.');
  else say(table(COLUMNS, answer.sessions, process.stdout.isTTY ? process.stdout.columns : undefined));
  return 0;
}

/** A duration counts back from now. @returns RFC 3339 */
export function moment(name: string, said: string | undefined): string | undefined {
  if (said === undefined) return undefined;
  const [, count, unit] = DURATION.exec(said) ?? [];
  const at = count === undefined ? Date.parse(said) : Date.now() - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  if (Number.isNaN(at)) throw new CommandError(`--${name} is a duration such as 15m, or a time such as 2026-03-01T12:00:00Z`, 2);
  return new Date(at).toISOString();
}

export const localTime = (unixMs: number): string => {
  const at = new Date(unixMs - new Date(unixMs).getTimezoneOffset() * 60_000).toISOString();
  return `${at.slice(5, 10)} ${at.slice(11, 19)}`;
};

const COLUMNS: readonly Column<SessionSummary>[] = [
  { title: 'SESSION', of: ({ id }) => id },
  { title: 'OPENED', of: ({ openedAt }) => localTime(openedAt) },
  { title: 'WHO', of: ({ identity }) => identity || '-', flexible: true },
  {
    title: 'WHAT',
    of: ({ target, request, commands }) => `${target}: ${request || '-'}${commands > 1 ? ` (of ${commands} commands)` : ''}`,
    flexible: true,
  },
  { title: 'JUDGED', of: ({ effect, answer }) => (answer === '' ? effect || '-' : `${effect}, ${answer}`) },
  { title: 'RULE', of: ({ rule }) => rule || '-', flexible: true },
  { title: 'STATUS', of: ({ status }) => (status > 0 ? String(status) : '-') },
  { title: 'MASKED', of: ({ masked }) => String(masked) },
  { title: 'OUTCOME', of: ({ state, outcome, late }) => `${state === 'closed' ? outcome : state}${late ? ' (late events)' : ''}` },
];
