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

/** Leaves whose events of a class go, and all that went before them. */
export interface Going {
  readonly detailClass: DetailClass;
  readonly ageMs: number;
  /** Ascending. */
  readonly leaves: readonly Range[];
  readonly before: Gone;
  /** Whether `before` is all that went before: not where that takes several notices. */
  readonly whole: boolean;
}

const rangesText = (ranges: readonly Range[]): string => ranges.map(({ from, to }) => `${from}-${to - 1}`).join(', ');

/** What goes now: `events older than 30d: leaves 0-255, 512-767` */
export const goingText = ({ detailClass, ageMs, leaves }: Pick<Going, 'detailClass' | 'ageMs' | 'leaves'>): string =>
  `${detailClass} older than ${durationText(ageMs)}: leaves ${leaves.length === 0 ? 'none' : rangesText(leaves)}`;

/**
 * With what went before, so that the newest notice tells of every deletion when those before it have gone: `…; before: events 0-1023; rows 0-511`; `before, in part`
 * where that takes more than one.
 */
export const noticeText = (going: Going): string => {
  const before = CLASSES.flatMap((each) => (going.before[each].length === 0 ? [] : [`${each} ${rangesText(going.before[each])}`]));
  return `${goingText(going)}; before${going.whole ? '' : ', in part'}: ${before.length === 0 ? 'none' : before.join('; ')}`;
};

/** What a notice tells. */
export interface Told {
  /** All of it. */
  readonly gone: Gone;
  /** What went by this notice itself, and how old it had to be for that. */
  readonly now: Pick<Going, 'detailClass' | 'ageMs' | 'leaves'>;
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
  for (const each of [first, ...before.slice(1)]) {
    const [, of, more = ''] = /^(\w+) (.*)$/.exec(each) ?? [];
    if (isClass(of)) gone[of].push(...rangesIn(more));
  }
  return { gone, now: { detailClass: name, ageMs, leaves }, whole: first !== '' && part === '' };
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
