/** `sluice replay`: one session, event by event, as the record has it: at once, as it went, or as a recording for other players. */
import { writeFileSync } from 'node:fs';
import { EVERYTHING } from '../replay/payload.ts';
import { asciicast, KEYS_HELP, play, stepsOf, timeline } from '../replay/play.ts';
import { heading, type ReplayedEvent } from '../replay/tell.ts';
import { type Command, CommandError, flag, type Invocation, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';

export const replay: Command = {
  name: 'replay',
  usage: 'SESSION [--play] [--asciicast FILE]',
  summary: 'one session, event by event, with what was masked in it',
  details: [
    ['SESSION', 'as `sluice sessions` lists it'],
    ['-p, --play', `as it went. ${KEYS_HELP}`],
    ['--speed N', 'with --play: so many times as fast; default 1'],
    ['--max-pause DURATION', 'with --play: no longer pause between two events; default 5s'],
    ['--from DURATION', 'with --play: what happened before is shown at once'],
    ['--asciicast FILE', 'write it as asciicast v3, for players of terminal recordings'],
    ['--all', 'all recorded payload: otherwise 200 lines or rows of each body at most'],
    ['--json', 'the events as the record has them'],
    ...placeDetails,
  ],
  options: {
    ...placeOptions,
    json: { type: 'boolean' },
    all: { type: 'boolean' },
    play: { type: 'boolean', short: 'p' },
    speed: { type: 'string' },
    'max-pause': { type: 'string' },
    from: { type: 'string' },
    asciicast: { type: 'string' },
  },
  takes: [1, 1],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const speed = Number(text(invocation, 'speed') ?? 1);
  if (!(speed > 0 && speed <= 1024)) throw new CommandError('--speed is a number greater than 0, at most 1024.', 2);
  const maxPauseMs = duration(invocation, 'max-pause', 5_000);
  const fromMs = duration(invocation, 'from', 0);
  const id = invocation.positionals[0] ?? '';
  const answer = (await (await connected(invocation)).get(`/v1/sessions/${encodeURIComponent(id)}`)) as {
    session: string;
    events: ReplayedEvent[];
  };
  const { session, events } = answer;
  const [first] = events;
  const most = flag(invocation, 'all') ? EVERYTHING : undefined;
  const cast = text(invocation, 'asciicast');
  if (cast !== undefined) {
    writeFileSync(cast, asciicast(session, Date.parse(first?.time ?? '') || 0, stepsOf(events, most)));
    say(`${cast}: ${events.length} events of ${session}`);
  } else if (flag(invocation, 'json')) say(JSON.stringify(answer, null, 2));
  else if (flag(invocation, 'play') && first !== undefined) {
    const keys = keyboard();
    say(heading(session, first));
    if (keys) say(`  ${KEYS_HELP}`);
    await play(stepsOf(events, most), { speed, maxPauseMs, fromMs, write: say, ...(keys && { keys }) });
  } else say(timeline(session, events, most));
  return 0;
}

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

function duration(invocation: Invocation, name: string, otherwise: number): number {
  const said = text(invocation, name);
  if (said === undefined) return otherwise;
  const [, count, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(said) ?? [];
  if (count === undefined) throw new CommandError(`--${name} is a duration such as 500ms, 5s or 2m.`, 2);
  return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

/** Keys one by one, where there is a terminal. */
function keyboard(): ((pressed: (key: string) => void) => () => void) | undefined {
  const { stdin } = process;
  if (!stdin.isTTY) return undefined;
  return (pressed) => {
    const told = (bytes: Buffer): void => pressed(bytes.toString('utf8'));
    stdin.setRawMode(true).resume().on('data', told);
    return () => {
      stdin.off('data', told).setRawMode(false).pause();
    };
  };
}
