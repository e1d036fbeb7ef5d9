/** What one session adds to the account of its run: how often what was judged how, what was masked, who answered its holds. Kept in the index with the session. */
import type { MaskedField, TapEvent } from './schema.ts';

/** By names that others chose: lists of pairs, which are JSON as they are. */
export type Counts = [name: string, count: number][];

export interface TalliedApproval {
  readonly approval: string;
  readonly request: string;
  /** pending, used (a grant that an earlier approval left), or as `hold_answered` says. */
  readonly answer: string;
  readonly by: string;
  readonly reason: string;
  /** Unix milliseconds; 0 while nobody has answered. */
  readonly answeredAt: number;
}

export interface Tally {
  /** What was judged last: what is held is that. */
  request: string;
  /** Requests and statements by effect. */
  judged: Counts;
  /** Values by the rule that masked them. */
  masked: Counts;
  readonly approvals: TalliedApproval[];
  /** Approvals beyond those that are kept. */
  moreApprovals: number;
}

/** A session that asks for more is counted further, and these are kept of it. */
const MOST_APPROVALS = 200;
/** Rules are those of policies, which others write. */
const MOST_NAMES = 500;
/** The name in the place of those of one kind that are not kept. */
export const REST = '…';

export const newTally = (): Tally => ({ request: '', judged: [], masked: [], approvals: [], moreApprovals: 0 });

export const addCount = (counts: Counts, name: string, count: number): void => {
  if (count <= 0) return;
  const known =
    counts.find((each) => each[0] === name) ?? (counts.length < MOST_NAMES ? undefined : counts.find(([each]) => each === REST));
  if (known !== undefined) known[1] += count;
  else counts.push([counts.length < MOST_NAMES ? name : REST, count]);
};

const remember = (tally: Tally, told: TalliedApproval, same: (of: TalliedApproval) => boolean): void => {
  const { approvals } = tally;
  const at = approvals.findIndex(same);
  if (at >= 0) approvals[at] = told;
  else if (approvals.length < MOST_APPROVALS) approvals.push(told);
  else tally.moreApprovals += 1;
};

/** Most lists have one name, and there are many: one that was pushed to keeps room for sixteen more. */
const countIn = (tally: Tally, list: 'judged' | 'masked', name: string, count: number): void => {
  if (tally[list].length === 0 && count > 0) tally[list] = [[name, count]];
  else addCount(tally[list], name, count);
};

const countMasked = (tally: Tally, fields: readonly MaskedField[]): void => {
  for (const { rule, count } of fields) countIn(tally, 'masked', rule, count);
};

/** Takes note of the session's next event. */
export const tallyEvent = (tally: Tally, { body, timeUnixNanos }: TapEvent): void => {
  switch (body.kind) {
    case 'request_judged': {
      const { request, effect, approval } = body;
      tally.request = request;
      countIn(tally, 'judged', effect, 1);
      // A grant that an earlier approval left: who gave it stands in the session that asked for it.
      if (approval !== '')
        remember(tally, { approval, request, answer: 'used', by: '', reason: '', answeredAt: 0 }, (of) => of.approval === approval);
      return;
    }
    case 'request_held': {
      const { approval } = body;
      const { request } = tally;
      remember(tally, { approval, request, answer: 'pending', by: '', reason: '', answeredAt: 0 }, (of) => of.approval === approval);
      return;
    }
    case 'hold_answered': {
      const { approval, answer, by, reason } = body;
      const known = tally.approvals.find((of) => of.approval === approval);
      const told = {
        approval,
        request: known?.request ?? tally.request,
        answer,
        by,
        reason,
        answeredAt: Number(timeUnixNanos / 1_000_000n),
      };
      // Of several who answered each is named.
      remember(
        tally,
        told,
        (of) => of.approval === approval && (of.answer === 'vote') === (answer === 'vote') && (answer !== 'vote' || of.by === by),
      );
      return;
    }
    case 'response_finished':
    case 'command_finished':
      countMasked(tally, body.masked);
  }
};
