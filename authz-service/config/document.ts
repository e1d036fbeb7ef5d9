/** A YAML file whose every value knows its line and column, so that an error can point at what it is about. */
import { type Alias, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';

/** Something wrong in the configuration: where, what, and what would be right (empty when `problem` says it already). */
export interface ConfigError {
  readonly file: string;
  /** From 1; 0 when the error concerns the file as a whole. */
  readonly line: number;
  readonly column: number;
  /** As `targets[0].url`; empty for the whole document. */
  readonly path: string;
  readonly problem: string;
  readonly remedy: string;
}

export type Report = (at: Value, problem: string, remedy?: string) => void;

/** A value and where it stands. `node` is null for an absent or empty value. */
export interface Value {
  readonly node: Node | null;
  readonly path: string;
  /** Offset in the text. */
  readonly offset: number;
}

export interface Member extends Value {
  readonly key: string;
  /** The key itself, for errors about it. */
  readonly name: Value;
}

const MAX_ALIASES = 100;

/** Parses `text`; errors of YAML itself go to `errors`. */
export function parseYaml(
  text: string,
  file: string,
  errors: ConfigError[],
): { readonly root: Value; readonly report: Report; readonly resolve: (node: unknown) => Node | null } {
  const lines = new LineCounter();
  // The core schema of YAML 1.2: `on`, `yes` and `12:30` are text. Merge keys and custom tags are refused below.
  const document = parseDocument(text, {
    lineCounter: lines,
    version: '1.2',
    schema: 'core',
    strict: true,
    uniqueKeys: true,
    prettyErrors: false,
  });
  const add = (offset: number, path: string, problem: string, remedy = ''): void => {
    const { line, col } = lines.linePos(offset);
    errors.push({ file, line, column: col, path, problem, remedy });
  };
  for (const { pos, message } of [...document.errors, ...document.warnings]) add(pos[0], '', message.split('\n')[0] ?? message);
  let aliases = 0;
  const resolve = (node: unknown): Node | null => {
    if (!isNode(node)) return null;
    if (!isAlias(node)) return node;
    aliases += 1;
    return aliases > MAX_ALIASES ? null : ((node as Alias).resolve(document) ?? null);
  };
  const root: Value = { node: resolve(document.contents), path: '', offset: document.contents?.range?.[0] ?? 0 };
  return { root, resolve, report: (at, problem, remedy) => add(at.offset, at.path, problem, remedy) };
}

export type Resolve = ReturnType<typeof parseYaml>['resolve'];

const PLAIN = /^[A-Za-z_][\w-]*$/;
const memberPath = (parent: string, key: string): string =>
  PLAIN.test(key) ? (parent === '' ? key : `${parent}.${key}`) : `${parent}["${key}"]`;

/** The members of a mapping in their order, or null when the value is none. */
export function members(value: Value, resolve: Resolve): Member[] | null {
  if (!isMap(value.node)) return null;
  return (value.node as YAMLMap).items.map((pair) => {
    const key = resolve(pair.key);
    const name = isScalar(key) ? String(key.value) : '';
    const offset = key?.range?.[0] ?? value.offset;
    const path = memberPath(value.path, name);
    const written = isNode(pair.value) ? pair.value : null;
    return { key: name, name: { node: key, path, offset }, node: resolve(written), path, offset: written?.range?.[0] ?? offset };
  });
}

/** The items of a sequence, or null when the value is none. */
export function items(value: Value, resolve: Resolve): Value[] | null {
  if (!isSeq(value.node)) return null;
  return value.node.items.map((item, index) => ({
    node: resolve(item),
    path: `${value.path}[${index}]`,
    offset: (isNode(item) ? item.range?.[0] : undefined) ?? value.offset,
  }));
}

/** The scalar's value, or undefined when the value is a mapping or a sequence; null stands for an empty one. */
export const scalar = (value: Value): unknown => (value.node === null ? null : isScalar(value.node) ? value.node.value : undefined);

/** `file:line:column: path: problem; remedy`, without the parts that are empty. */
export const formatConfigError = ({ file, line, column, path, problem, remedy }: ConfigError): string =>
  [line > 0 ? `${file}:${line}:${column}` : file, ...(path === '' ? [] : [path]), remedy === '' ? problem : `${problem}; ${remedy}`].join(
    ': ',
  );
