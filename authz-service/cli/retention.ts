/** `sluice retention`: whether what is due is deleted, and the word of a person that the clock is right. */
import { printable } from '../replay/printable.ts';
import { type Command, CommandError, flag, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';

interface RetentionState {
  readonly deletes: 'never' | 'when due' | 'suspended';
  readonly suspended?: string;
  readonly clock_ahead_seconds?: number;
}

const TOLD: Readonly<Record<RetentionState['deletes'], string>> = {
  never: 'Nothing is deleted by age: there is no tap.retention.',
  'when due': 'What is due is deleted.',
  suspended: 'NOTHING IS DELETED',
};

export const retention: Command = {
  name: 'retention',
  usage: '[show] | confirm-clock --reason TEXT',
  summary: 'is what is due deleted? Say that the clock is right, when it is not believed',
  details: [
    ['confirm-clock', 'deletion goes on by the clock as it is: look at it first'],
    ['-r, --reason TEXT', 'why; goes into the record'],
    ['--json', 'the state, as the admin API answers'],
    ...placeDetails,
  ],
  options: { ...placeOptions, reason: { type: 'string', short: 'r' }, json: { type: 'boolean' } },
  takes: [0, 1],
  run: async (invocation) => {
    const [verb = 'show'] = invocation.positionals;
    if (verb === 'confirm-clock') {
      const reason = text(invocation, 'reason') ?? '';
      if (reason.trim() === '') throw new CommandError('say why: sluice retention confirm-clock --reason TEXT', 2);
      await (await connected(invocation)).post('/v1/retention', { change: 'confirm-clock', reason });
      say('Confirmed: what is due by the clock as it is goes with the next sweep.');
      return 0;
    }
    if (verb !== 'show') throw new CommandError('say: sluice retention, or sluice retention confirm-clock --reason TEXT', 2);
    const state = (await (await connected(invocation)).get('/v1/retention')) as RetentionState;
    if (flag(invocation, 'json')) say(JSON.stringify(state, null, 2));
    else say(`${TOLD[state.deletes]}${state.suspended === undefined ? '' : `: ${printable(state.suspended)}`}`);
    return state.deletes === 'suspended' ? 1 : 0;
  },
};
