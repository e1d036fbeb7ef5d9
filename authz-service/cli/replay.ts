/** `sluice replay`: one session, event by event, as the record has it. */
import { type ReplayedEvent, timeline } from '../replay/tell.ts';
import { type Command, flag, say } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';

export const replay: Command = {
  name: 'replay',
  usage: 'SESSION',
  summary: 'one session, event by event, with what was masked in it',
  details: [['SESSION', 'as `sluice sessions` lists it'], ['--json', 'the events as the record has them'], ...placeDetails],
  options: { ...placeOptions, json: { type: 'boolean' } },
  takes: [1, 1],
  run: async (invocation) => {
    const id = invocation.positionals[0] ?? '';
    const answer = (await (await connected(invocation)).get(`/v1/sessions/${encodeURIComponent(id)}`)) as {
      session: string;
      events: ReplayedEvent[];
    };
    say(flag(invocation, 'json') ? JSON.stringify(answer, null, 2) : timeline(answer.session, answer.events));
    return 0;
  },
};
