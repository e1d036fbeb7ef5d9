/** Reads the vectors of test/vectors/mask/ (its README says how they are written). */
import { createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { MaskMethod } from '../../authz-service/decision/decision.ts';
import type { MaskRule, Selector } from '../../authz-service/mask/mask.ts';

export interface Vector {
  readonly name: string;
  readonly rules: readonly MaskRule[];
  readonly maxTokenBytes: number;
  readonly contentType: string;
  readonly input: Buffer;
  /** What comes out, or the code with which it is refused. */
  readonly expected: { readonly output: Buffer } | { readonly error: string };
  readonly counts: readonly number[] | undefined;
}

export const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);

/** The token of a value, by another implementation than the core's. */
export const tokenOf = (value: string): string => `tok_${createHmac('sha256', KEY).update(value).digest('base64url').slice(0, 22)}`;

type RuleText = Selector & { readonly method?: MaskMethod; readonly keep_first?: number; readonly keep_last?: number };

export function ruleOf({ method = 'full', keep_first = 0, keep_last = 0, ...select }: RuleText): MaskRule {
  return {
    id: Object.values(select).join(),
    select,
    method,
    keepFirst: keep_first,
    keepLast: keep_last,
    ...(method === 'hash' && { key: KEY }),
  };
}

const FENCE = /^```(\w+) ?(.*)\n([\s\S]*?)^```$/gm;

function bytesOf(text: string, escaped: boolean): Buffer {
  const body = text.replace(/\n$/, '');
  if (!escaped) return Buffer.from(body);
  const parts = body.replaceAll('\n', '').split(/(\\x[0-9a-f]{2}|\\[rnt\\])/);
  return Buffer.concat(
    parts.map((part) => {
      if (part.startsWith('\\x') && part.length === 4) return Buffer.from([Number.parseInt(part.slice(2), 16)]);
      return Buffer.from({ '\\r': '\r', '\\n': '\n', '\\t': '\t', '\\\\': '\\' }[part] ?? part);
    }),
  );
}

function vectorOf(file: string, section: string): Vector {
  const name = `${file} · ${section.slice(0, section.indexOf('\n'))}`;
  const blocks = new Map([...section.matchAll(FENCE)].map(([, kind = '', info = '', body = '']) => [kind, { info, body }]));
  const of = (kind: string): { info: string; body: string } => {
    const block = blocks.get(kind);
    if (!block) throw new Error(`${name}: no ${kind}`);
    return block;
  };
  const [rules = '', max = '0'] = of('plan')
    .body.trim()
    .split(/\n(?=\d+$)/);
  const escaped = of('input').info.endsWith(' escaped');
  const input = bytesOf(of('input').body, escaped);
  const output = blocks.get('output');
  const replaced = (text: string): string =>
    text.replace(/\{\{([\s\S]*?)\}\}/g, (_, value: string) => tokenOf(value.replaceAll('\\n', '\n')));
  const error = blocks.get('error')?.info;
  const counts = blocks.get('counts')?.body;
  return {
    name,
    rules: (JSON.parse(rules) as RuleText[]).map(ruleOf),
    maxTokenBytes: Number(max),
    contentType: of('input').info.replace(/ escaped$/, ''),
    input,
    expected: error ? { error } : { output: output ? bytesOf(replaced(output.body), output.info === 'escaped') : input },
    counts: counts === undefined ? undefined : (JSON.parse(counts) as number[]),
  };
}

export function vectors(): Vector[] {
  const folder = new URL('../vectors/mask/', import.meta.url);
  return readdirSync(folder)
    .filter((file) => file.endsWith('.md') && file !== 'README.md')
    .sort()
    .flatMap((file) =>
      readFileSync(new URL(file, folder), 'utf8')
        .split(/^## /m)
        .slice(1)
        .map((section) => vectorOf(file, section)),
    );
}

/** The bytes in chunks of that size. */
export function chunked(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}
