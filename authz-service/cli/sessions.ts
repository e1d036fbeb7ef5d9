/** `sluice sessions`: what happened lately, for auditors. */
import type { SessionSummary } from '../tap/sessions.ts';
import { type Command, type Invocation, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';
import { filterDetails, filterOptions, filterQuery, listDetails, listOptions, localTime, sayList } from './session_filter.ts';
import type { Column } from './table.ts';

export const sessions: Command = {
  name: 'sessions',
  usage: '[--identity ID] [--target NAME] [--since 1h] …',
  summary: 'what happened lately: one line for each session',
  details: [...filterDetails(), ['-n, --limit N', 'how many at most; default 100'], ...listDetails, ...placeDetails],
  options: { ...placeOptions, ...filterOptions(), ...listOptions },
  takes: [0, 0],
  run: list,
};

async function list(invocation: Invocation): Promise<number> {
  const query = { ...filterQuery(invocation), limit: text(invocation, 'limit') };
  const answer = (await (await connected(invocation)).get('/v1/sessions', query)) as { sessions: SessionSummary[] };
  sayList(invocation, answer, { rows: answer.sessions, columns: COLUMNS, none: 'No such session.' });
  return 0;
}

const COLUMNS: readonly Column<SessionSummary>[] = [
  { title: 'SESSION', of: ({ id }) => id },
  { title: 'OPENED', of: ({ openedAt }) => localTime(openedAt) },
  { title: 'WHO', of: ({ identity }) => identity || '-', flexible: true },
  {
    title: 'WHAT',
    of: ({ target, request, commands }) => `${target}: ${request || '-'}${commands > 1 ? ` (of ${commands} commands)` : ''}`,
    flexible: true,
  },
  {
    title: 'JUDGED',
    of: ({ effect, answer, commands, stopped }) =>
      `${answer === '' ? effect || '-' : `${effect}, ${answer}`}${commands > 1 && stopped > 0 ? ` (${stopped} stopped)` : ''}`,
  },
  { title: 'RULE', of: ({ rule }) => rule || '-', flexible: true },
  { title: 'STATUS', of: ({ status }) => (status > 0 ? String(status) : '-') },
  { title: 'MASKED', of: ({ masked }) => String(masked) },
  { title: 'OUTCOME', of: ({ state, outcome, late }) => `${state === 'closed' ? outcome : state}${late ? ' (late events)' : ''}` },
];
