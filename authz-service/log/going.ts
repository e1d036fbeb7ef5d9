/** How the record tells of events that go: the text of a notice, which a verifier reads again. */
import { CLASSES, type DetailClass } from './leaf.ts';
import type { Going } from './retention.ts';

/** The notice's name. */
export const DELETED_NOTICE = 'details-deleted';

const DAY_MS = 86_400_000;

/** `events older than 30d: leaves 0-255, 512-767` */
export const goingText = ({ detailClass, ageMs, leaves }: Going): string =>
  `${detailClass} older than ${ageMs % DAY_MS === 0 ? `${ageMs / DAY_MS}d` : `${ageMs}ms`}: leaves ${leaves.map(({ from, to }) => `${from}-${to - 1}`).join(', ')}`;

/** The leaves from `from` to before `to` of each range; of a text that was cut, those that are told. `undefined` of any other text. */
export const goneLeaves = (
  text: string,
): { readonly detailClass: DetailClass; readonly ranges: { readonly from: number; readonly to: number }[] } | undefined => {
  const [, name, leaves = ''] = /^(\w+) older than \w+: leaves (.*)$/.exec(text) ?? [];
  const detailClass = CLASSES.find((each) => each === name);
  if (detailClass === undefined) return undefined;
  const ranges = [...leaves.matchAll(/(?:^|, )(\d{1,15})-(\d{1,15})(?=,|$)/g)].map(([, first, last]) => ({
    from: Number(first),
    to: Number(last) + 1,
  }));
  return { detailClass, ranges };
};
