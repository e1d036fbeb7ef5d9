/** Text that others wrote, for a terminal: an agent chooses its paths and reasons, and must not move the cursor of whoever approves them. */

/** Control characters, line breaks, and the marks that make text run the other way or vanish. */
const UNSEEN = /[\p{Cc}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

export const printable = (value: string): string => value.replace(UNSEEN, '\ufffd');

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
