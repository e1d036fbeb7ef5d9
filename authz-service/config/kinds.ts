/** The kinds of value that a configuration key can have: each reads a YAML value into its TypeScript type, and says what is wrong with one that does not fit. */
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve as resolvePath } from 'node:path';
import { parseDocument } from 'yaml';
import type { SecretSource } from '../credential/credential.ts';
import { UNITS_MS } from '../duration.ts';
import { items, type Member, members, type Report, type Resolve, scalar, type Value } from './document.ts';

export interface Reader {
  readonly report: Report;
  readonly resolve: Resolve;
  /** Relative paths start here: the configuration file's directory. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The configuration is for another machine: files and secrets are not looked for here. */
  readonly elsewhere: boolean;
  /** By path: where each object, item and member was found, for checks across keys. */
  readonly places: Map<string, Value>;
  /** By what an object was read into: its path. */
  readonly paths: WeakMap<object, string>;
  /** Objects in which something was wrong, so that members may be missing. */
  readonly damaged: WeakSet<object>;
  readonly errorCount: () => number;
}

/** `S` is what the unit adds to a key's name in TypeScript: `timeout: 5s` is read into `timeoutMs: 5000`. */
export interface Kind<T, S extends string = ''> {
  /** For the reference: what is written there. */
  readonly label: string;
  readonly suffix: S;
  /** @returns undefined after having reported why. */
  read(value: Value, reader: Reader): T | undefined;
  /** The keys below, for the reference. */
  readonly rows?: Rows;
  /** The keys below, where one of them says which there are: by its value. */
  readonly variants?: Variants;
}

/** `tag` is the key that says which of the variants is meant. */
export interface Variants {
  readonly tag: string;
  readonly rows: Readonly<Record<string, Rows>>;
}

/** One key: what it holds, whether it may be left out, and what it is for. `fallback` is YAML, read as if it were written. */
export interface Row<T, S extends string = ''> {
  readonly kind: Kind<T, S>;
  readonly presence: 'required' | 'optional' | { readonly fallback: string };
  readonly doc: string;
}
// biome-ignore lint/suspicious/noExplicitAny: rows of every type stand in one table
export type Rows = Readonly<Record<string, Row<any, string>>>;

export const required = <T, S extends string>(kind: Kind<T, S>, doc: string): Row<T, S> => ({ kind, presence: 'required', doc });
export const optional = <T, S extends string>(kind: Kind<T, S>, doc: string): Row<T | undefined, S> => ({
  kind,
  presence: 'optional',
  doc,
});
export const preset = <T, S extends string>(kind: Kind<T, S>, fallback: string, doc: string): Row<T, S> => ({
  kind,
  presence: { fallback },
  doc,
});

type Camel<K extends string> = K extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : K;
/** What an object of these rows is read into. */
export type Read<R extends Rows> = {
  readonly [K in keyof R & string as R[K] extends Row<unknown, infer S> ? `${Camel<K>}${S}` : never]: R[K] extends Row<infer T, string>
    ? T
    : never;
};
export type TypeOf<K> = K extends Kind<infer T, string> ? T : never;

const camel = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

const describe = (value: Value): string => {
  const found = scalar(value);
  return found === undefined
    ? 'a mapping or list'
    : found === null
      ? 'nothing'
      : typeof found === 'string'
        ? `'${found}'`
        : `${typeof found} ${String(found)}`;
};

function scalarKind<T, S extends string = ''>(
  label: string,
  suffix: S,
  want: string,
  parse: (text: string, value: unknown) => T | undefined,
): Kind<T, S> {
  return {
    label,
    suffix,
    read(value, { report }) {
      const found = scalar(value);
      const parsed = found === undefined || found === null ? undefined : parse(String(found), found);
      if (parsed === undefined) report(value, `${describe(value)} does not fit`, want);
      return parsed;
    },
  };
}

/** Text that matches; a number or flag written without quotes is refused, since what was meant is not certain. */
export const text = (want = 'a text', pattern = /^[^\p{Cc}]+$/u, label = 'text'): Kind<string> =>
  scalarKind(label, '', `must be ${want}`, (written, value) => (typeof value === 'string' && pattern.test(written) ? written : undefined));

export const name = text(
  'lower-case letters, digits and `-`, at most 63, as `orders-db`',
  /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
  'name',
);

export const flag: Kind<boolean> = scalarKind('true or false', '', 'must be true or false', (_, value) =>
  typeof value === 'boolean' ? value : undefined,
);

/** A version of a format: exactly this number. */
export const version = (number: number): Kind<number> =>
  scalarKind(`number ${number}`, '', `must be ${number}`, (_, value) => (value === number ? number : undefined));

export const integer = (low: number, high: number): Kind<number> =>
  scalarKind(`${low} to ${high}`, '', `must be a whole number from ${low} to ${high}`, (_, value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high ? value : undefined,
  );

export const choice = <const C extends string>(...choices: readonly C[]): Kind<C> =>
  scalarKind(choices.map((one) => `\`${one}\``).join(', '), '', `must be one of ${choices.join(', ')}`, (written) =>
    choices.find((one) => one === written),
  );

const BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

const measure = (units: Readonly<Record<string, number>>, written: string): number | undefined => {
  const parts = [...written.matchAll(/(\d+(?:\.\d+)?)([A-Za-z]+)/gy)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== written) return undefined;
  const sum = parts.reduce((total, [, amount, unit]) => total + Number(amount) * (units[unit ?? ''] ?? Number.NaN), 0);
  return Number.isSafeInteger(sum) ? sum : undefined;
};

const bounded = <S extends string>(
  label: string,
  suffix: S,
  units: Readonly<Record<string, number>>,
  low: string,
  high: string,
): Kind<number, S> => {
  const [least, most] = [measure(units, low) ?? 0, measure(units, high) ?? 0];
  return scalarKind(
    label,
    suffix,
    `must be a ${label} from ${low} to ${high}, with its unit (${Object.keys(units).join(', ')})`,
    (written) => {
      const amount = measure(units, written);
      return amount !== undefined && amount >= least && amount <= most ? amount : undefined;
    },
  );
};

/** As `250ms`, `30s`, `1h30m`; read into milliseconds. */
export const duration = (low: string, high: string): Kind<number, 'Ms'> => bounded('duration', 'Ms', UNITS_MS, low, high);
/** As `64KiB`; read into bytes. */
export const size = (low: string, high: string): Kind<number, 'Bytes'> => bounded('size', 'Bytes', BYTES, low, high);

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const HOSTNAME = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;
export const isHost = (host: string): boolean => isIP(host) !== 0 || (HOSTNAME.test(host) && !/^[\d.]+$/.test(host));

function hostPort(written: string, fits: (host: string) => boolean): HostPort | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(written) ?? [];
  const host = bracketed ?? plain ?? '';
  const port = Number(digits);
  return fits(host) && (bracketed === undefined || isIP(host) === 6) && port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

export const formatHostPort = ({ host, port }: HostPort): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Something to listen on: an address of this machine, not a name that may mean several. */
export const address: Kind<HostPort> = scalarKind(
  'IP:port',
  '',
  'must be an IP address and a port from 1 to 65535, as 127.0.0.1:8080 or [::1]:8080',
  (written) => hostPort(written, (host) => isIP(host) !== 0),
);
/** Something to connect to. */
export const peer: Kind<HostPort> = scalarKind(
  'host:port',
  '',
  'must be a host and a port from 1 to 65535, as sluice.internal:9443',
  (written) => hostPort(written, isHost),
);

export interface Origin<S extends string = string> extends HostPort {
  readonly scheme: S;
}

/**
 * `SCHEME://host[:port]` and nothing after it: a base path would make the target's path another than the one that policy judged, and
 * users, databases and secrets have keys of their own.
 * @param ports the default port of each scheme
 */
export const origin = <const P extends Readonly<Record<string, number>>>(ports: P): Kind<Origin<keyof P & string>> =>
  scalarKind(
    'URL',
    '',
    `must be ${Object.keys(ports)
      .map((scheme) => `${scheme}://HOST[:PORT]`)
      .join(' or ')}, without user, path, query or fragment`,
    (written) => {
      const [, scheme = '', authority = ''] = /^([a-z]+):\/\/([^/?#@\\]+)\/?$/i.exec(written) ?? [];
      const known = Object.keys(ports).find((one) => one === scheme.toLowerCase());
      // Parsed as an HTTP URL, whatever the scheme: of the schemes that URL does not know it takes hosts as they are.
      const url = known === undefined ? null : URL.parse(`http://${authority}`);
      if (known === undefined || url === null) return undefined;
      const host = url.hostname.replace(/^\[|\]$/g, '');
      const port = Number(/:(\d+)$/.exec(authority)?.[1] ?? ports[known]);
      return isHost(host) && port > 0 ? { scheme: known, host, port } : undefined;
    },
  );

/** An address of HTTP with a path: for places that we send to. Users and secrets have keys of their own. */
export const webAddress: Kind<string> = scalarKind(
  'URL',
  '',
  'must be https://HOST[:PORT][/PATH] or http://…, without user, query or fragment',
  (written) => {
    const url = /^https?:\/\/[^\s?#@\\]+$/i.test(written) ? URL.parse(written) : null;
    return url !== null && isHost(url.hostname.replace(/^\[|\]$/g, '')) ? url.href : undefined;
  },
);

const PATH = text('a path');

/** A path; relative ones start at the configuration file. `present` asks that it can be read now. */
export const path = (want: 'file' | 'file or directory' | 'new directory' | 'new file'): Kind<string> => ({
  label: want.replace('new ', ''),
  suffix: '',
  read(value, reader) {
    const { report, directory } = reader;
    const written = PATH.read(value, reader);
    if (written === undefined) return undefined;
    const absolute = resolvePath(directory, written);
    const problem = want === 'new directory' || want === 'new file' || reader.elsewhere ? undefined : unreadable(absolute, want);
    if (problem !== undefined) report(value, `${absolute} ${problem}`, `must be a ${want} that this process can read`);
    return problem === undefined ? absolute : undefined;
  },
});

/** A path on the machine that runs Envoy: not looked for here, since that may be another one. */
export const envoyPath: Kind<string> = { ...path('new directory'), label: "path on Envoy's machine" };

function unreadable(absolute: string, want: 'file' | 'file or directory'): string | undefined {
  try {
    accessSync(absolute, constants.R_OK);
    return want === 'file' && !statSync(absolute).isFile() ? 'is not a file' : undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'cannot be read: permission denied' : `cannot be read: ${code}`;
  }
}

export function list<T>(
  item: Kind<T, string>,
  { least = 0, unique = true }: { least?: number; unique?: boolean } = {},
): Kind<readonly T[]> {
  const label = `list of ${item.label}${item.rows || item.variants ? 's' : ''}`;
  return {
    label,
    suffix: '',
    ...(item.rows && { rows: item.rows }),
    ...(item.variants && { variants: item.variants }),
    read(value, reader) {
      const written = items(value, reader.resolve);
      if (written === null || written.length < least) {
        reader.report(
          value,
          written === null ? `${describe(value)} is not a list` : 'the list is too short',
          `must be a ${label}${least > 0 ? `, at least ${least}` : ''}`,
        );
        return undefined;
      }
      const seen = new Set<unknown>();
      return written.flatMap((one) => {
        reader.places.set(one.path, one);
        const read = item.read(one, reader);
        if (unique && typeof read === 'string' && seen.has(read)) reader.report(one, `'${read}' stands here twice`, 'leave one out');
        seen.add(read);
        return read === undefined ? [] : [read];
      });
    },
  };
}

export function map<T>(item: Kind<T, string>, key: RegExp, keyWant: string): Kind<Readonly<Record<string, T>>> {
  return {
    label: `mapping of names to ${item.label}${item.rows ? 's' : ''}`,
    suffix: '',
    ...(item.rows && { rows: item.rows }),
    read(value, reader) {
      const written = members(value, reader.resolve);
      if (written === null) {
        reader.report(value, `${describe(value)} is not a mapping`, 'must be a mapping, NAME: value');
        return undefined;
      }
      const read: Record<string, T> = Object.create(null);
      for (const member of written) {
        reader.places.set(member.path, member);
        if (!key.test(member.key)) reader.report(member.name, `'${member.key}' is not a good name here`, `must be ${keyWant}`);
        const one = item.read(member, reader);
        if (one !== undefined) read[member.key] = one;
      }
      return read;
    },
  };
}

export interface ObjectKind<R extends Rows> extends Kind<Read<R>> {
  readonly rows: R;
}

/** A mapping with exactly these keys. What fails is left out of the result, after having been reported, so that the rest can still be checked. */
export function object<const R extends Rows>(rows: R): ObjectKind<R> {
  return {
    label: 'mapping',
    suffix: '',
    rows,
    read(value, reader) {
      const written = value.node === null ? [] : members(value, reader.resolve);
      if (written === null) {
        reader.report(value, `${describe(value)} is not a mapping`, `must have ${Object.keys(rows).join(', ')}`);
        return undefined;
      }
      reader.places.set(value.path, value);
      const before = reader.errorCount();
      reportUnknown(written, Object.keys(rows), reader.report);
      const read: Record<string, unknown> = {};
      for (const [key, { kind, presence, doc }] of Object.entries(rows)) {
        const member = written.find((one) => one.key === key);
        if (member) reader.places.set(member.path, member);
        if (!member && presence === 'required')
          reader.report(value, `\`${key}\` is missing`, `give \`${key}: …\`, a ${kind.label}: ${lowerFirst(doc)}`);
        const from = member ?? (typeof presence === 'object' ? fallbackValue(presence.fallback, value, key) : undefined);
        const found = from === undefined ? undefined : kind.read(from, reader);
        if (found !== undefined || presence === 'optional') read[camel(key) + kind.suffix] = found;
      }
      reader.paths.set(read, value.path);
      if (reader.errorCount() > before) reader.damaged.add(read);
      return read as Read<R>;
    },
  };
}

/** A mapping whose other keys depend on the value of `tag`. Where that is absent the first variant is meant. */
export function variants<const V extends Readonly<Record<string, ObjectKind<Rows>>>>(tag: string, kinds: V): Kind<TypeOf<V[keyof V]>> {
  const known = choice(...Object.keys(kinds));
  return {
    label: 'mapping',
    suffix: '',
    variants: { tag, rows: Object.fromEntries(Object.entries(kinds).map(([name, { rows }]) => [name, rows])) },
    read(value, reader) {
      const member = members(value, reader.resolve)?.find(({ key }) => key === tag);
      const chosen = member ? known.read(member, reader) : Object.keys(kinds)[0];
      return chosen === undefined ? undefined : (kinds[chosen]?.read(value, reader) as TypeOf<V[keyof V]> | undefined);
    },
  };
}

/** A fallback's errors, of which only a wrong table can have any, stand at the object that lacks the key. */
const fallbackValue = (fallback: string, parent: Value, key: string): Value => ({
  node: parseDocument(fallback).contents,
  path: parent.path === '' ? key : `${parent.path}.${key}`,
  offset: parent.offset,
});

const lowerFirst = (doc: string): string =>
  (doc.split(/[.:;](?:\s|$)/)[0] ?? doc).replace(/^[A-Z](?=[a-z\s])/, (letter) => letter.toLowerCase());

function reportUnknown(written: readonly Member[], known: readonly string[], report: Report): void {
  for (const { key, name: at } of written) {
    if (known.includes(key)) continue;
    const meant = closest(key, known);
    report(at, `unknown key \`${key}\``, meant ? `did you mean \`${meant}\`?` : `known here: ${known.join(', ')}`);
  }
}

/** A mapping with exactly one of these keys, which says what the value is; read into `{ type, value }`. */
export function tagged<const K extends Readonly<Record<string, Kind<unknown, string>>>>(
  kinds: K,
  label: string,
): Kind<{ [T in keyof K & string]: { readonly type: T; readonly value: TypeOf<K[T]> } }[keyof K & string]> {
  const known = Object.keys(kinds);
  return {
    label,
    suffix: '',
    read(value, reader) {
      const written = members(value, reader.resolve);
      const want = `must be a mapping with one of ${known.join(', ')}`;
      const [member, second] = written ?? [];
      if (member === undefined || second !== undefined) {
        reader.report(value, written === null ? `${describe(value)} is not a mapping` : `${written.length} keys stand here`, want);
        return undefined;
      }
      reportUnknown([member], known, reader.report);
      const kind = kinds[member.key];
      const read = kind?.read(member, reader);
      return read === undefined ? undefined : ({ type: member.key, value: read } as never);
    },
  };
}

const MAX_SECRET = 64 * 1024;

/** Where a secret is. Its value is looked at, to report a missing one, and not kept.
 * @param least characters that it must have */
export const secret = (least = 1): Kind<SecretSource> => ({
  label: 'secret: `{ env: NAME }` or `{ file: PATH }`',
  suffix: '',
  read(value, reader) {
    if (typeof scalar(value) === 'string') {
      reader.report(value, 'a secret does not stand in the configuration itself', 'must be { env: NAME } or { file: PATH }');
      return undefined;
    }
    const source = SOURCES.read(value, reader);
    if (source === undefined) return undefined;
    const read: SecretSource = source.type === 'env' ? { env: source.value } : { file: source.value };
    if (reader.elsewhere) return read;
    const [found, where] =
      source.type === 'env'
        ? [reader.env[source.value], `the environment variable ${source.value}`]
        : [secretFile(source.value), source.value];
    if (found === undefined)
      reader.report(
        value,
        source.type === 'env' ? `${where} is not set` : `${where} is not a readable file of at most 64 KiB`,
        `it must hold the secret${least > 1 ? `, at least ${least} characters` : ''}`,
      );
    else if (found.length < least)
      reader.report(value, found === '' ? `${where} is empty` : `${where} is too short`, `it must hold at least ${least} characters`);
    return read;
  },
});

const SOURCES = tagged({ env: text('the name of an environment variable', /^[A-Za-z_]\w*$/), file: path('file') }, 'secret');

function secretFile(file: string): string | undefined {
  try {
    const bytes = readFileSync(file);
    return bytes.length <= MAX_SECRET ? bytes.toString().replace(/\r?\n$/, '') : undefined;
  } catch {
    return undefined;
  }
}

/** The known word that was probably meant, or undefined: at most a third of the letters wrong (Damerau–Levenshtein, adjacent transpositions). */
export function closest(word: string, known: readonly string[]): string | undefined {
  const near = known.map((one) => ({ one, far: distance(word.toLowerCase(), one) })).sort((a, b) => a.far - b.far)[0];
  return near && near.far <= Math.max(1, Math.floor(near.one.length / 3)) ? near.one : undefined;
}

function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0;
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j += 1) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(
        Math.min(
          at(i - 1, j) + 1,
          (row[j - 1] ?? 0) + 1,
          at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
          swapped ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
  }
  return at(a.length, b.length);
}
