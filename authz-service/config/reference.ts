/** The reference in docs/configuration.md, made of the schema's rows. Run this file to bring the document up to date. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Kind, Rows, Variants } from './kinds.ts';
import { SCHEMA } from './schema.ts';

const DOCUMENT = new URL('../../docs/configuration.md', import.meta.url);
const [BEGIN, END] = ['<!-- The reference begins: made by authz-service/config/reference.ts. -->', '<!-- The reference ends. -->'];

/** One section for each key of the file, with a table of what is below it. */
export function reference(): string {
  return Object.entries(SCHEMA.rows)
    .map(([key, row]) =>
      [
        `### \`${key}\``,
        `${row.doc} ${presence(row.presence, row.kind)}`,
        ...(row.kind.rows ? [table(row.kind.rows), ...nested(row.kind.rows, key, new Set())] : []),
        ...(row.kind.variants ? tables(row.kind.variants) : []),
      ].join('\n\n'),
    )
    .join('\n\n');
}

const presence = (how: Rows[string]['presence'], { label, rows, variants }: Kind<unknown, string>): string => {
  const what = rows || variants ? label.charAt(0).toUpperCase() + label.slice(1) : `A ${label}`;
  return how === 'required'
    ? `${what}; required.`
    : typeof how === 'object' && !rows
      ? `${what}; by default \`${how.fallback}\`.`
      : `${what}; may be left out.`;
};

/** A table of what there is whatever the value of the key that says which keys there are, and one for each value. */
const tables = ({ tag, rows }: Variants): string[] => {
  const all = Object.values(rows);
  const shared = Object.fromEntries(Object.entries(all[0] ?? {}).filter(([key, row]) => all.every((one) => one[key] === row)));
  const own = (of: Rows): Rows => Object.fromEntries(Object.entries(of).filter(([key]) => !(key in shared)));
  return [
    ...(Object.keys(shared).length > 0 ? [`Whatever the \`${tag}\`:`, table(shared)] : []),
    ...Object.entries(rows).flatMap(([value, below]) => [`With \`${tag}: ${value}\`:`, table(own(below))]),
  ];
};

/** What stands below a key of several kinds that is itself below another: a table for each kind, where it is first met. */
const nested = (rows: Rows, prefix: string, shown: Set<Rows>): string[] =>
  Object.entries(rows).flatMap(([key, { kind }]) => {
    const name = `${prefix}.${key}`;
    if (kind.rows) return nested(kind.rows, name, shown);
    return Object.entries(kind.variants?.rows ?? {}).flatMap(([value, below]) => {
      if (shown.has(below)) return [`\`${name}\` takes \`${kind.variants?.tag}: ${value}\`, with the same keys.`];
      shown.add(below);
      return [`\`${name}\` with \`${kind.variants?.tag}: ${value}\`:`, table(below)];
    });
  });

const table = (rows: Rows): string => ['| key | value | default | |', '| --- | --- | --- | --- |', ...lines(rows, '')].join('\n');

const lines = (rows: Rows, prefix: string): string[] =>
  Object.entries(rows).flatMap(([key, { kind, presence: how, doc }]) => {
    const name = `${prefix}${key}`;
    const fallback = how === 'required' ? '**required**' : how === 'optional' || kind.rows ? '' : `\`${how.fallback}\``;
    return [`| \`${name}\` | ${kind.label} | ${fallback} | ${doc} |`, ...(kind.rows ? lines(kind.rows, `${name}.`) : [])];
  });

/** The document with the reference as it is now. */
export function withReference(document: string): string {
  const [before, rest = ''] = document.split(BEGIN);
  const after = rest.split(END)[1] ?? '';
  return `${before}${BEGIN}\n\n${reference()}\n\n${END}${after}`;
}

if (import.meta.main) writeFileSync(DOCUMENT, withReference(readFileSync(DOCUMENT, 'utf8')));
