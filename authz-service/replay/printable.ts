/** Text that others wrote, for a terminal: an agent chooses its paths and reasons, and must not move the cursor of whoever approves them. */

/** Control characters, line breaks, and the marks that make text run the other way or vanish. */
const UNSEEN = /[\p{Cc}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

export const printable = (value: string): string => value.replace(UNSEEN, '\ufffd');

/** Text of several lines that are the sender's own: these stay, and nothing else moves a cursor. */
export const printableLines = (value: string): string =>
  value
    .split(/\r?\n/)
    .map((line) => printable(line.replaceAll('\t', '    ')))
    .join('\n');

/** JSON for programs and for whoever looks at it: the same values, written so that none moves a cursor. */
export const printableJson = (value: unknown): string =>
  printableLines(JSON.stringify(value, null, 2).replace(UNSEEN, (each) => (each === '\n' ? each : unicode(each))));

const unicode = (character: string): string =>
  Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('');

/** As `printable`, at most `width` characters, the last one saying that there were more. */
export const shortened = (value: string, width: number): string => {
  const characters = [...printable(value)];
  return characters.length <= width ? characters.join('') : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`;
};

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** The two largest units: `1h 5m`, `42s`. Nothing below a second. */
export function roughly(milliseconds: number): string {
  const parts: string[] = [];
  let rest = Math.max(0, Math.round(milliseconds / 1000) * 1000);
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ') || '0s';
}
