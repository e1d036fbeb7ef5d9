/** What agents were set to do: sessions grouped by their run. */
import type { TapEvent } from './schema.ts';
import type { SessionSummary } from './sessions.ts';

export interface RunSummary {
  readonly run: string;
  /** Who works in it, and on whose behalf. */
  readonly identities: readonly string[];
  readonly onBehalfOf: readonly string[];
  readonly targets: readonly string[];
  /** Unix milliseconds of its first and its last session. */
  readonly firstAt: number;
  readonly lastAt: number;
  readonly sessions: number;
  /** Those that have not ended. */
  readonly open: number;
  /** How many sessions have this as the strictest of what was judged in them. */
  readonly effects: Readonly<Record<string, number>>;
  /** Values. */
  readonly masked: number;
}

export interface RunApproval {
  readonly session: string;
  readonly target: string;
  readonly request: string;
  readonly approval: string;
  readonly answer: string;
  readonly by: string;
  readonly reason: string;
  /** Unix milliseconds; 0 while nobody has answered. */
  readonly answeredAt: number;
}

export interface RunDetail extends RunSummary {
  /** Requests and statements by target and effect: those that policy judged. */
  readonly judged: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly approvals: readonly RunApproval[];
  /** Values by the rule that masked them. */
  readonly maskedBy: Readonly<Record<string, number>>;
  readonly recent: readonly SessionSummary[];
  /** Sessions whose events were read for `judged`, `approvals` and `maskedBy`: the newest, where there are more. */
  readonly read: number;
}

const distinct = (values: readonly string[]): string[] => [...new Set(values.filter((value) => value !== ''))].toSorted();

/** By names that others chose, so no plain object. */
type Counts = Map<string, number>;

const add = (into: Counts, key: string, count: number): void => {
  if (count > 0) into.set(key, (into.get(key) ?? 0) + count);
};

const summaryOf = (run: string, sessions: readonly SessionSummary[]): RunSummary => {
  const effects: Counts = new Map();
  for (const { effect } of sessions) add(effects, effect || 'none', 1);
  return {
    run,
    identities: distinct(sessions.map(({ identity }) => identity)),
    onBehalfOf: distinct(sessions.map(({ onBehalfOf }) => onBehalfOf)),
    targets: distinct(sessions.map(({ target }) => target)),
    firstAt: Math.min(...sessions.map(({ openedAt }) => openedAt)),
    lastAt: Math.max(...sessions.map(({ openedAt }) => openedAt)),
    sessions: sessions.length,
    open: sessions.filter(({ state }) => state !== 'closed').length,
    effects: Object.fromEntries(effects),
    masked: sessions.reduce((sum, { masked }) => sum + masked, 0),
  };
};

/** The runs of these sessions, that with the newest session first. Sessions without a run are in none. */
export const runsOf = (sessions: readonly SessionSummary[]): RunSummary[] => {
  const grouped = Map.groupBy(
    sessions.filter(({ run }) => run !== ''),
    ({ run }) => run,
  );
  return [...grouped].map(([run, of]) => summaryOf(run, of)).toSorted((a, b) => b.lastAt - a.lastAt);
};

/** Gathers what the events of a run's sessions tell. */
export class RunReader {
  readonly #judged = new Map<string, Counts>();
  readonly #approvals = new Map<string, RunApproval>();
  readonly #maskedBy: Counts = new Map();
  #read = 0;

  /** All events of one session, in order. */
  session(events: Iterable<TapEvent>): void {
    this.#read += 1;
    let request = '';
    for (const { session, target, body, timeUnixNanos } of events) {
      const key = (approval: string): string => `${session}\0${approval}`;
      if (body.kind === 'request_judged') {
        request = body.request;
        const judged: Counts = this.#judged.get(target) ?? new Map();
        add(judged, body.effect, 1);
        this.#judged.set(target, judged);
        // A grant that an earlier approval left: who gave it stands in the session that asked for it.
        if (body.approval !== '') this.#remember(key(body.approval), { session, target, request, approval: body.approval, answer: 'used' });
      } else if (body.kind === 'request_held')
        this.#remember(key(body.approval), { session, target, request, approval: body.approval, answer: 'pending' });
      else if (body.kind === 'hold_answered') {
        const known = this.#approvals.get(key(body.approval));
        const at = Number(timeUnixNanos / 1_000_000n);
        // Of several who answered each is named.
        const vote = body.answer === 'vote' ? `${key(body.approval)}\0${body.by}` : key(body.approval);
        const { answer, by, reason, approval } = body;
        this.#approvals.set(vote, { session, target, request: known?.request ?? request, approval, answer, by, reason, answeredAt: at });
      } else if (body.kind === 'response_finished' || body.kind === 'command_finished')
        for (const { rule, count } of body.masked) add(this.#maskedBy, rule, count);
    }
  }

  #remember(key: string, approval: Omit<RunApproval, 'by' | 'reason' | 'answeredAt'>): void {
    this.#approvals.set(key, { ...approval, by: '', reason: '', answeredAt: 0 });
  }

  detail(run: string, sessions: readonly SessionSummary[]): RunDetail {
    return {
      ...summaryOf(run, sessions),
      judged: Object.fromEntries([...this.#judged].map(([target, effects]) => [target, Object.fromEntries(effects)])),
      approvals: [...this.#approvals.values()],
      maskedBy: Object.fromEntries(this.#maskedBy),
      recent: sessions,
      read: this.#read,
    };
  }
}
