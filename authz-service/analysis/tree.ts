/** The parse tree as libpg-query gives it: a node is `{ Kind: fields }`, and where only one kind can stand its fields alone. */

export type Fields = { readonly [name: string]: unknown };

export interface Node {
  readonly kind: string;
  readonly fields: Fields;
}

const KIND = /^[A-Z]/;

/** @returns the node in a wrapper, or nothing where `value` is none */
export function nodeOf(value: unknown): Node | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const keys = Object.keys(value);
  const kind = keys[0];
  if (keys.length !== 1 || kind === undefined || !KIND.test(kind)) return undefined;
  return { kind, fields: (value as Record<string, Fields>)[kind] ?? {} };
}

export const fieldsOf = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;

/** The fields of a node of that kind, wrapped or not. */
export function unwrap(value: unknown, kind: string): Fields | undefined {
  const node = nodeOf(value);
  return node ? (node.kind === kind ? node.fields : undefined) : fieldsOf(value);
}

/** A list, be it an array or a `List` node. */
export function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  const node = nodeOf(value);
  return node?.kind === 'List' ? listOf(node.fields.items) : [];
}

export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The names of a list of `String` nodes; `*` stands for a star. */
export function namesOf(value: unknown): string[] {
  return listOf(value).flatMap((item) => {
    const node = nodeOf(item);
    if (node?.kind === 'String') return [textOf(node.fields.sval)];
    return node?.kind === 'A_Star' ? ['*'] : [];
  });
}

/** The string of a `String`, or of a constant; nothing for anything else. */
export function stringOf(value: unknown): string | undefined {
  const node = nodeOf(value);
  if (node?.kind === 'String') return textOf(node.fields.sval);
  if (node?.kind === 'Integer') return String(node.fields.ival ?? 0);
  if (node?.kind === 'Boolean') return String(node.fields.boolval ?? false);
  if (node?.kind === 'TypeCast') return stringOf(node.fields.arg);
  if (node?.kind !== 'A_Const') return undefined;
  const { sval, ival, fval, boolval } = node.fields as Record<string, Fields | undefined>;
  if (sval) return textOf(sval.sval);
  if (ival) return String(ival.ival ?? 0);
  if (fval) return textOf(fval.fval);
  if (boolval) return String(boolval.boolval ?? false);
  return undefined;
}

/** What stands directly below, wrappers and bare fields alike. */
export function childrenOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  const node = nodeOf(value);
  const fields = node ? node.fields : fieldsOf(value);
  return fields ? Object.values(fields).filter((child) => typeof child === 'object' && child !== null) : [];
}
