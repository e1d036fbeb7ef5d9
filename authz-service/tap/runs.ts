/** What agents were set to do: sessions grouped by their run, one after the other, so that there may be any number of them. */
import type { Session, SessionSummary } from './sessions.ts';
import { addCount, type Counts, type TalliedApproval } from './tally.ts';

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

export interface RunApproval extends TalliedApproval {
  readonly session: string;
  readonly target: string;
}

export interface RunDetail extends RunSummary {
  /** Requests and statements by target and effect: those that policy judged. */
  readonly judged: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** The newest ones. */
  readonly approvals: readonly RunApproval[];
  /** Approvals that are not among them. */
  readonly moreApprovals: number;
  /** Values by the rule that masked them. */
  readonly maskedBy: Readonly<Record<string, number>>;
  /** The newest sessions; `sessions` counts all. */
  readonly recent: readonly SessionSummary[];
}

/** Of one run, so much is listed beside what is counted. */
const MOST_APPROVALS = 1000;
const MOST_RECENT = 1000;

/** One run, as far as its sessions have been added. */
class Run {
  readonly #run: string;
  readonly #identities = new Set<string>();
  readonly #onBehalfOf = new Set<string>();
  readonly #targets = new Set<string>();
  #firstAt = Number.POSITIVE_INFINITY;
  lastAt = 0;
  sessions = 0;
  #open = 0;
  readonly #effects: Counts = [];
  #masked = 0;

  constructor(run: string) {
    this.#run = run;
  }

  add({ identity, onBehalfOf, target, openedAt, state, effect, masked }: SessionSummary): void {
    for (const [set, value] of [
      [this.#identities, identity],
      [this.#onBehalfOf, onBehalfOf],
      [this.#targets, target],
    ] as const)
      if (value !== '') set.add(value);
    this.#firstAt = Math.min(this.#firstAt, openedAt);
    this.lastAt = Math.max(this.lastAt, openedAt);
    this.sessions += 1;
    if (state !== 'closed') this.#open += 1;
    addCount(this.#effects, effect || 'none', 1);
    this.#masked += masked;
  }

  get summary(): RunSummary {
    return {
      run: this.#run,
      identities: [...this.#identities].toSorted(),
      onBehalfOf: [...this.#onBehalfOf].toSorted(),
      targets: [...this.#targets].toSorted(),
      firstAt: this.#firstAt,
      lastAt: this.lastAt,
      sessions: this.sessions,
      open: this.#open,
      effects: Object.fromEntries(this.#effects),
      masked: this.#masked,
    };
  }
}

/** The runs of these sessions, that with the newest session first: `limit` of them, and how many more there are. Sessions without a run are in none. */
export const runsOf = async (
  sessions: AsyncIterable<Session>,
  limit: number,
): Promise<{ readonly runs: readonly RunSummary[]; readonly more: number }> => {
  const runs = new Map<string, Run>();
  for await (const { summary } of sessions) {
    if (summary.run === '') continue;
    let run = runs.get(summary.run);
    if (run === undefined) runs.set(summary.run, (run = new Run(summary.run)));
    run.add(summary);
  }
  const newest = [...runs.values()].sort((a, b) => b.lastAt - a.lastAt);
  return { runs: newest.slice(0, limit).map(({ summary }) => summary), more: Math.max(0, newest.length - limit) };
};

/** One run in full, of its sessions, the newest first; `undefined` when there are none. */
export const runDetail = async (name: string, sessions: AsyncIterable<Session>): Promise<RunDetail | undefined> => {
  const run = new Run(name);
  const judged = new Map<string, Counts>();
  const maskedBy: Counts = [];
  const approvals: RunApproval[] = [];
  const recent: SessionSummary[] = [];
  let moreApprovals = 0;
  for await (const { summary, tally } of sessions) {
    run.add(summary);
    const { id: session, target } = summary;
    const onTarget = judged.get(target) ?? [];
    judged.set(target, onTarget);
    for (const [effect, count] of tally.judged) addCount(onTarget, effect, count);
    for (const [rule, count] of tally.masked) addCount(maskedBy, rule, count);
    const room = tally.approvals.slice(0, MOST_APPROVALS - approvals.length);
    approvals.push(...room.map((approval) => ({ session, target, ...approval })));
    moreApprovals += tally.moreApprovals + tally.approvals.length - room.length;
    if (recent.length < MOST_RECENT) recent.push(summary);
  }
  if (run.sessions === 0) return undefined;
  return {
    ...run.summary,
    judged: Object.fromEntries([...judged].map(([target, effects]) => [target, Object.fromEntries(effects)])),
    approvals,
    moreApprovals,
    maskedBy: Object.fromEntries(maskedBy),
    recent,
  };
};
