/** A session as it went: each event when its time has come. Also as asciicast v3, which players of terminal recordings read. */
import { type MostShown, Payloads } from './payload.ts';
import { heading, micros, nanos, type ReplayedEvent, tell } from './tell.ts';

export interface Step {
  /** Since the step before; since the session's beginning for the first. Milliseconds, never negative. */
  readonly afterMs: number;
  /** Since the session's beginning. */
  readonly atMs: number;
  /** Lines for a terminal. */
  readonly text: string;
}

const INDENT = ' '.repeat(14);

/** Of recorded payload, where nobody asks for all. */
const SHOWN: MostShown = { lines: 200, characters: 64_000, all: Infinity };

/** Events in the order of the record; where an emitter's clock went back, the event comes at once. */
export const stepsOf = (events: readonly ReplayedEvent[], most = SHOWN): Step[] => {
  const [first] = events;
  if (first === undefined) return [];
  const start = nanos(first.time);
  let latest = 0;
  const payloads = new Payloads(most);
  return events.map((event) => {
    const atMicros = Number((nanos(event.time) - start) / 1000n);
    const atMs = Math.max(latest, atMicros / 1000);
    const afterMs = atMs - latest;
    latest = atMs;
    const [head, ...told] = tell(event);
    const rest = [...told, ...payloads.lines(event)];
    const when = `${atMicros < 0 ? '-' : '+'}${micros(Math.abs(atMicros))}`.padStart(10);
    return { afterMs, atMs, text: [`  ${when}  ${head}`, ...rest.map((line) => `${INDENT}${line}`)].join('\n') };
  });
};

/** All of a session at once. */
export const timeline = (session: string, events: readonly ReplayedEvent[], most = SHOWN): string => {
  const [first] = events;
  return first === undefined
    ? `${session}: no events`
    : [heading(session, first), ...stepsOf(events, most).map(({ text }) => text)].join('\n');
};

export interface Playing {
  /** 2 is twice as fast. Greater than 0. */
  readonly speed: number;
  /** A longer pause between two events is cut to this. Milliseconds. */
  readonly maxPauseMs: number;
  /** Where to begin: what was before is shown at once. Milliseconds since the session's beginning. */
  readonly fromMs: number;
  readonly write: (line: string) => void;
  /** Tells of each key that is pressed; returns how to stop that. Absent: there is no keyboard. */
  readonly keys?: (pressed: (key: string) => void) => () => void;
}

export const KEYS_HELP = 'space: pause · n: next event · b: back · +/-: faster, slower · q: end';

/** Resolves when all was shown, or the reader has had enough. */
export const play = (steps: readonly Step[], { speed: first, maxPauseMs, fromMs, write, keys }: Playing): Promise<void> =>
  new Promise((resolve) => {
    let [next, speed, paused] = [0, first, false];
    let timer: NodeJS.Timeout | undefined;
    let release = (): void => {};

    const end = (): void => {
      clearTimeout(timer);
      release();
      resolve();
    };
    const show = (): void => {
      write((steps[next] as Step).text);
      next += 1;
    };
    const wait = (): void => {
      clearTimeout(timer);
      const step = steps[next];
      if (step === undefined) {
        end();
        return;
      }
      if (paused) return;
      timer = setTimeout(
        () => {
          // With those that happened at once.
          do show();
          while (steps[next]?.afterMs === 0);
          wait();
        },
        Math.min(step.afterMs / speed, maxPauseMs),
      );
    };
    const pressed = (key: string): void => {
      if (key === 'q' || key === '\u0003') {
        end();
        return;
      }
      if (key === ' ') {
        paused = !paused;
        write(paused ? '  — paused —' : '  — goes on —');
      } else if (key === '+' || key === '-') {
        speed = key === '+' ? Math.min(speed * 2, 1024) : Math.max(speed / 2, 1 / 16);
        write(`  — ${speed}× —`);
      } else if (key === 'n' || key === '\u001b[C') show();
      else if (key === 'b' || key === '\u001b[D') {
        next = Math.max(0, next - 2);
        write('  — back —');
        show();
      } else return;
      wait();
    };

    while (next < steps.length && (steps[next] as Step).atMs < fromMs) show();
    release = keys?.(pressed) ?? release;
    wait();
  });

const COLUMNS = 120;
const ROWS = 40;

/** The same as asciicast v3: a header, and a line `[seconds since the one before, "o", text]` for each step. @param startedAt Unix milliseconds */
export const asciicast = (title: string, startedAt: number, steps: readonly Step[]): string => {
  const header = { version: 3, term: { cols: COLUMNS, rows: ROWS }, timestamp: Math.floor(startedAt / 1000), title };
  const lines = steps.map(({ afterMs, text }) =>
    JSON.stringify([Number((afterMs / 1000).toFixed(6)), 'o', `${text.replaceAll('\n', '\r\n')}\r\n`]),
  );
  return `${[JSON.stringify(header), ...lines].join('\n')}\n`;
};
