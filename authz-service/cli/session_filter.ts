/** How commands ask for sessions, and list what they were answered. */
import { durationMs } from '../duration.ts';
import { printable } from '../replay/printable.ts';
import { CommandError, flag, type Invocation, say, text } from './command.ts';
import { type Column, table } from './table.ts';

/** One row for each option; the admin API's parameter has its name. */
const FILTERS = {
  identity: ['--identity ID', 'of one caller, as `corp:agent-7`'],
  target: ['--target NAME', 'on one target'],
  run: ['--run ID', 'of one run'],
  effect: ['--effect EFFECT', 'judged allow, deny or hold, the session or a command of it'],
  answer: ['--answer ANSWER', 'with a hold that ended approved, denied, expired, cancelled or revoked'],
  outcome: ['--outcome OUTCOME', 'ended complete, denied, cancelled, cut, failed, pending or unknown'],
  state: ['--state STATE', 'open, held or closed'],
  rule: ['--rule RULE', 'judged by this rule, the session or a command of it'],
  approver: ['--approver ID', 'with a hold that this person answered'],
  masked: ['--masked RULE', 'in which this masking rule masked something'],
  statement: ['--statement FINGERPRINT', 'that ran, or asked for, a statement of this shape'],
  since: ['--since WHEN', 'opened since then: a duration (90s, 15m, 2h, 7d) or a time (RFC 3339)'],
  until: ['--until WHEN', 'opened before then'],
} as const;
type Filter = keyof typeof FILTERS;

const without = (left: readonly Filter[]): Filter[] => (Object.keys(FILTERS) as Filter[]).filter((name) => !left.includes(name));

/** `left`: those that this command does not take. */
export const filterDetails = (left: readonly Filter[] = []) => without(left).map((name) => FILTERS[name]);

export const filterOptions = (left: readonly Filter[] = []) =>
  Object.fromEntries(without(left).map((name) => [name, { type: 'string' as const }]));

/** As the admin API's query. Throws a `CommandError` for a time that is none. */
export function filterQuery(invocation: Invocation): Record<string, string | undefined> {
  const query = Object.fromEntries(without(['since', 'until']).map((name) => [name, text(invocation, name)]));
  return { ...query, since: moment('since', text(invocation, 'since')), until: moment('until', text(invocation, 'until')) };
}

/** A duration counts back from now. @returns RFC 3339 */
function moment(name: string, said: string | undefined): string | undefined {
  if (said === undefined) return undefined;
  const ago = durationMs(said);
  const at = ago === undefined ? Date.parse(said) : Date.now() - ago;
  if (Number.isNaN(at)) throw new CommandError(`--${name} is a duration such as 15m, or a time such as 2026-03-01T12:00:00Z`, 2);
  return new Date(at).toISOString();
}

export const localTime = (unixMs: number): string => {
  const minutes = -new Date(unixMs).getTimezoneOffset();
  const at = new Date(unixMs + minutes * 60_000).toISOString();
  const two = (n: number): string => String(n).padStart(2, '0');
  const zone = minutes === 0 ? 'Z' : `${minutes < 0 ? '-' : '+'}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
  return `${at.slice(0, 10)} ${at.slice(11, 19)}${zone}`;
};

export const listDetails = [
  ['-q, --quiet', 'their ids alone, one per line'],
  ['--json', 'as the admin API answers'],
] as const;

export const listOptions = {
  limit: { type: 'string', short: 'n' },
  quiet: { type: 'boolean', short: 'q' },
  json: { type: 'boolean' },
} as const;

/** Says what was answered in the way that was asked for. `columns`: the first one has the ids. */
export function sayList<Row>(
  invocation: Invocation,
  answer: object,
  { rows, columns, none }: { readonly rows: readonly Row[]; readonly columns: readonly Column<Row>[]; readonly none: string },
): void {
  if (flag(invocation, 'json')) say(JSON.stringify(answer, null, 2));
  else if (flag(invocation, 'quiet')) for (const row of rows) say(printable(columns[0]?.of(row) ?? ''));
  else if (rows.length === 0) say(none);
  else say(table(columns, rows, process.stdout.isTTY ? process.stdout.columns : undefined));
}
