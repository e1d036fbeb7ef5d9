/** `sluice legal-hold`: sessions whose events stay whatever their age. */
import { printable } from '../replay/printable.ts';
import { type Command, CommandError, flag, type Invocation, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';
import { type Column, table } from './table.ts';

interface LegalHold {
  readonly session: string;
  readonly by: string;
  readonly reason: string;
  readonly at: string;
}

export const legalHold: Command = {
  name: 'legal-hold',
  usage: 'list | add SESSION… --reason TEXT | release SESSION… --reason TEXT',
  summary: 'keep what a session has left in the record, whatever its age',
  details: [
    ['list', 'the sessions that are held, by whom and why'],
    ['add SESSION…', 'nothing of these is deleted from now on'],
    ['release SESSION…', 'they go when their retention is over'],
    ['-r, --reason TEXT', 'why; goes into the record'],
    ['--json', 'the list, as the admin API answers'],
    ...placeDetails,
  ],
  options: { ...placeOptions, reason: { type: 'string', short: 'r' }, json: { type: 'boolean' } },
  takes: [1, 100],
  run: async (invocation) => {
    const [verb, ...ids] = invocation.positionals;
    if (verb === 'list' && ids.length === 0) return await list(invocation);
    if (verb !== 'add' && verb !== 'release') throw new CommandError('say: sluice legal-hold list, add SESSION or release SESSION', 2);
    const reason = text(invocation, 'reason') ?? '';
    if (ids.length === 0 || reason.trim() === '')
      throw new CommandError(`say which and why: sluice legal-hold ${verb} SESSION --reason TEXT`, 2);
    const client = await connected(invocation);
    for (const id of ids) {
      await client.post(`/v1/legal-holds/${encodeURIComponent(id)}`, { change: verb, reason });
      say(`${printable(id)}: ${verb === 'add' ? 'held; nothing of it is deleted' : 'released; it goes when its retention is over'}`);
    }
    return 0;
  },
};

async function list(invocation: Invocation): Promise<number> {
  const answer = (await (await connected(invocation)).get('/v1/legal-holds')) as { legal_holds: LegalHold[] };
  if (flag(invocation, 'json')) say(JSON.stringify(answer, null, 2));
  else if (answer.legal_holds.length === 0) say('No session is held.');
  else say(table(COLUMNS, answer.legal_holds, process.stdout.isTTY ? process.stdout.columns : undefined));
  return 0;
}

const COLUMNS: readonly Column<LegalHold>[] = [
  { title: 'SESSION', of: ({ session }) => session },
  { title: 'SINCE', of: ({ at }) => at },
  { title: 'BY', of: ({ by }) => by, flexible: true },
  { title: 'REASON', of: ({ reason }) => reason, flexible: true },
];
