/** A statement's text without the literals that must not be recorded. */
import { childrenOf, nodeOf } from './tree.ts';

export interface Token {
  /** Bytes of UTF-8. */
  readonly start: number;
  readonly end: number;
  readonly name: string;
}

export const MASKED = "'***'";

const LITERALS = new Set(['SCONST', 'USCONST', 'BCONST', 'XCONST', 'FCONST', 'ICONST']);
/** To these the scanner gives no name. */
const UNNAMED = /^(?:u&|b|x)'/i;
const COMMENTS = new Set(['SQL_COMMENT', 'C_COMMENT']);

/** @param which all of the literals, or those that begin at these bytes @returns the text, without comments when anything is masked */
export function maskText(text: string, tokens: readonly Token[], which: 'all' | ReadonlySet<number>): string {
  const bytes = Buffer.from(text);
  const literals = new Set(tokens.filter((token) => isLiteral(bytes, token)).map((token) => token.start));
  const masking = which === 'all' ? literals : literalsAt([...literals], which);
  let masked = '';
  let to = 0;
  for (const token of tokens) {
    const comment = COMMENTS.has(token.name);
    if (!comment && !masking.has(token.start)) continue;
    masked += bytes.toString('utf8', to, token.start) + (comment ? ' ' : MASKED);
    to = token.end;
  }
  return masked + bytes.toString('utf8', to);
}

const isLiteral = (bytes: Buffer, { name, start }: Token): boolean =>
  LITERALS.has(name) || UNNAMED.test(bytes.toString('latin1', start, start + 3));

/** A constant's place may be that of its sign: the first literal from there on is meant. */
function literalsAt(literals: readonly number[], places: ReadonlySet<number>): Set<number> {
  const found = new Set<number>();
  for (const place of places) {
    const start = literals.find((literal) => literal >= place);
    if (start !== undefined) found.add(start);
  }
  return found;
}

/** Where the constants begin that stand in or below one of these nodes. */
export function constantsIn(tree: unknown, nodes: ReadonlySet<unknown>): Set<number> {
  const places = new Set<number>();
  if (nodes.size === 0) return places;
  const visit = (value: unknown, within: boolean): void => {
    const inside = within || nodes.has(value);
    const node = nodeOf(value);
    if (inside && node?.kind === 'A_Const') places.add(Number(node.fields.location ?? 0));
    for (const child of childrenOf(value)) visit(child, inside);
  };
  visit(tree, false);
  return places;
}
