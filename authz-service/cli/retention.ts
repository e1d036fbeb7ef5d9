/** `sluice retention`: whether what is due is deleted and pruned, and the word of a person that the clock is right. */
import { PAYLOAD_CLASSES } from '../log/leaf.ts';
import { printable, roughly } from '../replay/printable.ts';
import { type Command, CommandError, flag, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';

interface RetentionState {
  readonly deletes: 'never' | 'when due' | 'suspended';
  readonly suspended?: string;
  /** Why leaves have waited for the clock for long. */
  readonly stalled?: string;
  readonly clock_ahead_seconds?: number;
  /** By class; one that is left out: for ever. */
  readonly kept_seconds?: Readonly<Record<string, number>>;
  /** Of what has an age, as of the last sweep. `not_before` left out: nothing waits for its age alone. */
  readonly plan?: readonly {
    readonly class: string;
    readonly not_before?: string;
    readonly held_bundles: number;
    readonly locked_objects: number;
  }[];
  readonly legal_holds: number;
  readonly held_bundles?: number;
  readonly locked_objects?: number;
  readonly last_sweep?: string;
  /** Left out: now. */
  readonly next_sweep?: string;
  readonly last_deleted?: { readonly at: string; readonly what: readonly string[] };
  /** As of the last sweep. */
  readonly leaves?: { readonly pruned_below: number; readonly next_below: number; readonly rest_waits_for: string };
}

const TOLD: Readonly<Record<RetentionState['deletes'], string>> = {
  never: 'Nothing is deleted by age: there is no tap.retention.',
  'when due': 'What is due is deleted.',
  suspended: 'NOTHING IS DELETED',
};

const age = (seconds: number | undefined): string => (seconds === undefined ? 'for ever' : `for ${roughly(1000 * seconds)}`);

/** One by one, unless all of them are kept alike. */
const payloadsInWords = (kept: NonNullable<RetentionState['kept_seconds']>): string => {
  if (PAYLOAD_CLASSES.every((each) => kept[each] === kept.payloads)) return `payloads ${age(kept.payloads)}`;
  return PAYLOAD_CLASSES.toSorted((a, b) => Number(a === 'payloads') - Number(b === 'payloads'))
    .map((each) => `${each === 'payloads' ? 'payloads of no known kind' : each} ${age(kept[each])}`)
    .join(', ');
};

/** What is kept and how long, what kept it beyond that, and what went. */
const details = (state: RetentionState): string[] => {
  const { kept_seconds: kept, legal_holds: holds, held_bundles: held = 0, locked_objects: locked = 0, last_deleted: last } = state;
  if (kept === undefined) return [`Legal holds: ${holds}.`];
  return [
    `Events are kept ${age(kept.events)}, ${payloadsInWords(kept)}; their leaves${state.leaves === undefined ? ', and every proof, for ever' : ' longer, and every proof as long as its leaf'}.`,
    `The last sweep was ${state.last_sweep === undefined ? 'not yet' : `at ${state.last_sweep}`}; the next is ${state.next_sweep === undefined ? 'now' : `at ${state.next_sweep}`}.`,
    ...(state.plan ?? []).flatMap(planInWords),
    `Legal holds: ${holds}. They keep ${held} bundles of 256 leaves that would be gone; locks in replicas keep ${locked} objects.`,
    last === undefined
      ? 'Nothing was deleted since the start of the service.'
      : `Deleted last, at ${last.at}: ${printable(last.what.join('; '))}.`,
  ];
};
/** What is next to go of a class; nothing of one of which nothing is left. */
const planInWords = ({
  class: name,
  not_before: next,
  held_bundles: held,
  locked_objects: locked,
}: NonNullable<RetentionState['plan']>[number]): string[] => {
  const kept = [...(held > 0 ? [`${held} bundles under legal hold`] : []), ...(locked > 0 ? [`${locked} objects locked in replicas`] : [])];
  if (next === undefined && kept.length === 0) return [];
  const when = next === undefined ? 'none waits for its age' : `the next go not before ${next}`;
  return [`  ${printable(name)}: ${[when, ...kept].join(', ')}.`];
};

const leavesInWords = ({ pruned_below: below, next_below: next, rest_waits_for: rest }: NonNullable<RetentionState['leaves']>): string =>
  [
    below === 0 ? 'No leaves were pruned.' : `Leaves below ${below} were pruned.`,
    next > below ? ` Those below ${next} go with the next sweep.` : '',
    ` What is behind them waits for ${printable(rest)}.`,
  ].join('');

export const retention: Command = {
  name: 'retention',
  usage: '[show] | confirm-clock --reason TEXT',
  summary: 'is what is due deleted? What is kept, for how long, and what went; say that the clock is right, when it is not believed',
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
    else {
      say(`${TOLD[state.deletes]}${state.suspended === undefined ? '' : `: ${printable(state.suspended)}`}`);
      if (state.stalled !== undefined) say(`NOT ALL OF IT: ${printable(state.stalled)}.`);
      for (const line of details(state)) say(line);
      if (state.leaves !== undefined) say(leavesInWords(state.leaves));
    }
    return state.deletes === 'suspended' || state.stalled !== undefined ? 1 : 0;
  },
};
