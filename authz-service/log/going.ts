/** How the record tells of events that go: the text of a notice, which a verifier reads again. */

import { durationMs, durationText } from '../duration.ts';
import { CLASSES, type DetailClass, perClass } from './leaf.ts';
import type { ServiceNotice } from './notices.ts';

/** The notice's name. */
export const DELETED_NOTICE = 'details-deleted' satisfies ServiceNotice;

/** Leaves from `from` to before `to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Leaves whose events of a class have gone: ascending, none touching the next. */
export type Gone = { readonly [C in DetailClass]: readonly Range[] };

/** Leaves of which a notice told that is not there any more: by which age they went, and by when that notice had told of them, Unix milliseconds. */
export interface Carried extends Range {
  readonly detailClass: DetailClass;
  readonly ageMs: number;
  readonly byMs: number;
}

/** Leaves whose events of a class go, and all that went before them. */
export interface Going {
  readonly detailClass: DetailClass;
  readonly ageMs: number;
  /** Ascending. */
  readonly leaves: readonly Range[];
  readonly before: Gone;
  /** What the notices told that go with these: as `carriedOn` gives it. */
  readonly carried: readonly Carried[];
  /** What notices before this one told to go, and is there: no notice before this one explains that it is not. */
  readonly stayed: Gone;
  /** Whether `before` is all that went before: not where that takes several notices. */
  readonly whole: boolean;
}

const rangesText = (ranges: readonly Range[]): string => ranges.map(({ from, to }) => `${from}-${to - 1}`).join(', ');

/** What goes now: `events older than 30d: leaves 0-255, 512-767` */
export const goingText = ({ detailClass, ageMs, leaves }: Pick<Going, 'detailClass' | 'ageMs' | 'leaves'>): string =>
  `${detailClass} older than ${durationText(ageMs)}: leaves ${leaves.length === 0 ? 'none' : rangesText(leaves)}`;

const perClassText = (gone: Gone): string[] =>
  CLASSES.flatMap((each) => (gone[each].length === 0 ? [] : [`${each} ${rangesText(gone[each])}`]));

/**
 * With what went before, so that the newest notice tells of every deletion when those before it have gone: `…; before: events 0-1023; rows 0-511`; `before, in part`
 * where that takes more than one. What was told and is there is taken back: `…; stayed: rows 256-511`. Of what notices told that go with these also the age and the time: `…; of these rows older than 7d: 0-255 by 2026-01-09T10:05Z`.
 */
export const noticeText = (going: Going): string => {
  const before = perClassText(going.before);
  const stayed = perClassText(going.stayed).map((each) => `; stayed: ${each}`);
  const carried = Object.entries(
    Object.groupBy(going.carried, ({ detailClass, ageMs }) => `; of these ${detailClass} older than ${durationText(ageMs)}: `),
  ).map(([of, ranges = []]) => of + ranges.map((range) => `${rangesText([range])} by ${minuteText(range.byMs)}`).join(', '));
  return `${goingText(going)}; before${going.whole ? '' : ', in part'}: ${before.length === 0 ? 'none' : before.join('; ')}${[...stayed, ...carried].join('')}`;
};

const MINUTE_MS = 60_000;

/** `2026-01-09T10:05Z`, rounded up. */
const minuteText = (ms: number): string => `${new Date(MINUTE_MS * Math.ceil(ms / MINUTE_MS)).toISOString().slice(0, 16)}Z`;

/** How many ranges a notice carries on, at most: those of the latest times. An event takes 64 KiB. */
const MAX_CARRIED = 512;
/** Times that are told as one lie this part of the age apart, at most; where that are too many ranges, a greater one, and half of it at most. */
const SHARES = [8, 4, 2] as const;
export const LARGEST_SHARE = SHARES[2];

/**
 * What a notice can carry on of these, in the order of their classes and times. Times are told as one, the latest of them, that are of the same interval of so many minutes, a power
 * of two: what is carried on again and again moves no further.
 */
export const carriedOn = (carried: readonly Carried[]): Carried[] => {
  const latestFirst = (all: readonly Carried[]): Carried[] => all.toSorted((a, b) => b.byMs - a.byMs);
  let found: Carried[] = [];
  for (const share of SHARES) {
    found = together(carried, share);
    if (found.length <= MAX_CARRIED) break;
  }
  const kept = latestFirst(found).slice(0, MAX_CARRIED).reverse();
  return CLASSES.flatMap((each) => kept.filter(({ detailClass }) => detailClass === each));
};

const together = (carried: readonly Carried[], share: number): Carried[] => {
  const intervalOf = ({ detailClass, ageMs, byMs }: Carried): string => {
    const minutes = 2 ** Math.floor(Math.log2(Math.max(1, ageMs / share / MINUTE_MS)));
    return `${detailClass} ${ageMs} ${Math.floor(byMs / MINUTE_MS / minutes)}`;
  };
  return [...Map.groupBy(carried, intervalOf).values()].flatMap((group) => {
    const [{ detailClass, ageMs }] = group as [Carried];
    const byMs = Math.max(...group.map((each) => each.byMs));
    return joined(group).map((range) => ({ detailClass, ageMs, byMs, ...range }));
  });
};

/** What a notice tells. */
export interface Told {
  /** All of it. */
  readonly gone: Gone;
  /** What went by this notice itself, and how old it had to be for that. */
  readonly now: Pick<Going, 'detailClass' | 'ageMs' | 'leaves'>;
  /** What notices before it told, as it carries that on. */
  readonly carried: readonly Carried[];
  /** What it takes back of all that was told before it. */
  readonly stayed: Gone;
  /** Whether it tells of all that went before it. */
  readonly whole: boolean;
}

/** Of a text that was cut, what is told. `undefined` of any other text. */
export const goneLeaves = (text: string): Told | undefined => {
  const [going = '', ...before] = text.split('; ');
  const [, name, age = '', listed = ''] = /^(\w+) older than (\w+): leaves (.*)$/.exec(going) ?? [];
  const ageMs = durationMs(age);
  if (!isClass(name) || ageMs === undefined) return undefined;
  const leaves = rangesIn(listed);
  const gone = perClass((): Range[] => []);
  gone[name].push(...leaves);
  const [, part = '', first = ''] = /^before(, in part)?: (.*)$/.exec(before[0] ?? '') ?? [];
  const carried: Carried[] = [];
  const stayed = perClass((): Range[] => []);
  for (const each of [first, ...before.slice(1)]) {
    carried.push(...carriedIn(each));
    const [, back, of, more = ''] = /^(stayed: )?(\w+) (.*)$/.exec(each) ?? [];
    if (isClass(of)) (back === undefined ? gone : stayed)[of].push(...rangesIn(more));
  }
  return { gone, now: { detailClass: name, ageMs, leaves }, carried, stayed, whole: first !== '' && part === '' };
};

const carriedIn = (text: string): Carried[] => {
  const [, detailClass, age = '', listed = ''] = /^of these (\w+) older than (\w+): (.*)$/.exec(text) ?? [];
  const ageMs = durationMs(age);
  if (!isClass(detailClass) || ageMs === undefined) return [];
  return [...listed.matchAll(/(?:^|, )(\d{1,15})-(\d{1,15}) by (\d{4}-\d\d-\d\dT\d\d:\d\dZ)(?=,|$)/g)]
    .map(([, from, to, by = '']) => ({ detailClass, ageMs, byMs: Date.parse(by), from: Number(from), to: Number(to) + 1 }))
    .filter(({ byMs }) => !Number.isNaN(byMs));
};

const isClass = (name: string | undefined): name is DetailClass => CLASSES.some((each) => each === name);

const rangesIn = (text: string): Range[] =>
  [...text.matchAll(/(?:^|, )(\d{1,15})-(\d{1,15})(?=,|$)/g)].map(([, first, last]) => ({ from: Number(first), to: Number(last) + 1 }));

/** All of them, in order: what touches is one. */
export const joined = (ranges: readonly Range[]): Range[] => {
  const found: { from: number; to: number }[] = [];
  for (const { from, to } of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = found.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else if (from < to) found.push({ from, to });
  }
  return found;
};

/** What of the first is not of the second; both ascend, and none touches the next. */
export const without = (ranges: readonly Range[], others: readonly Range[]): Range[] => {
  const found: Range[] = [];
  let at = 0;
  for (const { from, to } of ranges) {
    let next = from;
    while (at < others.length && (others[at] as Range).to <= from) at += 1;
    for (let i = at; i < others.length && (others[i] as Range).from < to; i += 1) {
      const other = others[i] as Range;
      if (next < other.from) found.push({ from: next, to: other.from });
      next = other.to;
    }
    if (next < to) found.push({ from: next, to });
  }
  return found;
};

/** What of the first is of the second too; likewise. */
export const within = (ranges: readonly Range[], others: readonly Range[]): Range[] => without(ranges, without(ranges, others));
