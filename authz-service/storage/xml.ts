/** What is needed of the XML that object stores answer with: elements by name, in order. Nothing in it is trusted to be well formed. */

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const MAX_CODE_POINT = 0x10ffff;

const decoded = (text: string): string =>
  text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]{2,4}));/gi, (whole, hex: string, decimal: string, name: string) => {
    const code = hex ? Number.parseInt(hex, 16) : Number(decimal);
    return name ? (ENTITIES[name] ?? whole) : code <= MAX_CODE_POINT ? String.fromCodePoint(code) : whole;
  });

export interface Element {
  readonly name: string;
  /** What stands between its tags. */
  readonly inner: string;
}

/** The elements of these names that do not lie in one another, in their order. */
export const elements = (xml: string, ...names: readonly string[]): Element[] =>
  [...xml.matchAll(new RegExp(`<(${names.join('|')})(?:\\s[^>]*)?>([\\s\\S]*?)</\\1>`, 'g'))].map(([, name = '', inner = '']) => ({
    name,
    inner,
  }));

/** The text of the first element of this name; empty when there is none. */
export const textOf = (xml: string, name: string): string => decoded(elements(xml, name)[0]?.inner ?? '');

/** What a store says of itself, for a message: nothing in it begins another line or moves a cursor. */
export const oneLine = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
