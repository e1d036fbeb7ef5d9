/** What a client of PostgreSQL may ask for at start-up, and what of it the target is told. Everything else is refused: it could change what a judged text means. */
import { startupMessage } from './login/postgres.ts';

/** Why a start-up is refused, for the client. */
export class StartupError extends Error {
  readonly hint: string;
  /** An SQLSTATE. */
  readonly code: string;

  constructor(message: string, hint: string, code = '0A000') {
    super(message);
    this.name = 'StartupError';
    this.hint = hint;
    this.code = code;
  }
}

/** Run-time parameters by which no statement comes to do something else. Names are compared without case, as PostgreSQL does. */
const PASSED = new Map(
  [
    'application_name',
    'client_encoding',
    'DateStyle',
    'TimeZone',
    'IntervalStyle',
    'extra_float_digits',
    'search_path',
    'statement_timeout',
    'lock_timeout',
    'idle_in_transaction_session_timeout',
    'client_min_messages',
  ].map((name) => [name.toLowerCase(), name]),
);
/** Not a run-time parameter, or ours to say. */
const OURS = new Set(['user', 'database', 'options', 'replication']);
const MAX_PARAMETERS = 64;
const MAX_VALUE = 1024;

/** How the analysis reads texts: the session must read them in the same way. */
const PINNED: readonly (readonly [string, string])[] = [
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
];

/**
 * @param asked as the client sent it
 * @param database the target's
 * @returns the parameters that the target is given beside user and database
 * @throws {StartupError}
 */
export function startupParameters(asked: Readonly<Record<string, string>>, database: string): Map<string, string> {
  const names = Object.keys(asked);
  if (names.length > MAX_PARAMETERS) throw new StartupError(`more than ${MAX_PARAMETERS} start-up parameters`, 'Leave some out.');
  if (asked.replication !== undefined && !/^(|0|off|no|n|false|f)$/i.test(asked.replication))
    throw new StartupError('replication does not pass this gateway', 'Connect without the parameter "replication".');
  // An absent database is the user's name by convention; what the client calls itself says nothing about where it goes.
  if (asked.database !== undefined && asked.database !== '' && asked.database !== database)
    throw new StartupError(
      `this gateway leads to the database "${printable(database)}", not to "${printable(asked.database)}"`,
      `Connect with dbname=${printable(database)}.`,
      '3D000',
    );
  const passed = new Map(PINNED);
  for (const [name, value] of [
    ...names.filter((name) => !OURS.has(name)).map((name) => [name, asked[name] ?? ''] as const),
    ...options(asked.options ?? ''),
  ]) {
    // Extensions of the protocol are negotiated with the gateway, which has none.
    if (name.startsWith('_pq_.')) continue;
    const known = PASSED.get(name.toLowerCase());
    if (known === undefined)
      throw new StartupError(
        `the start-up parameter "${printable(name)}" does not pass this gateway`,
        `These do: ${[...PASSED.values()].join(', ')}.`,
      );
    if (value.length > MAX_VALUE || /\p{Cc}/u.test(value))
      throw new StartupError(`the start-up parameter "${known}" has no usable value`, 'Shorten it.');
    if (known === 'client_encoding') {
      if (!/^'?(utf-?8|unicode)'?$/i.test(value))
        throw new StartupError(`the client encoding "${printable(value)}" is not supported`, 'Connect with client_encoding=UTF8.');
    } else passed.set(known, value);
  }
  return passed;
}

/** The start-up message for the target. */
export const greeting = (username: string, database: string, parameters: ReadonlyMap<string, string>): Buffer =>
  startupMessage([['user', username], ['database', database], ...parameters]);

/** The server's command line as `PGOPTIONS` has it: `-c name=value` and `--name=value`; a backslash takes the next character as it is. */
function options(line: string): (readonly [string, string])[] {
  const words = (line.match(/(?:\\[\s\S]|[^\s\\])+/g) ?? []).map((word) => word.replace(/\\([\s\S])/g, '$1'));
  const settings: (readonly [string, string])[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    const setting = word === '-c' ? (words[++i] ?? '') : word.startsWith('--') ? word.slice(2) : word.startsWith('-c') ? word.slice(2) : '';
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_.-]*)=([\s\S]*)$/.exec(setting) ?? [];
    if (name === undefined || value === undefined)
      throw new StartupError(
        `the server option "${printable(word)}" does not pass this gateway`,
        'Of options, "-c name=value" is understood.',
      );
    settings.push([name.replaceAll('-', '_'), value]);
  }
  return settings;
}

const printable = (text: string): string => text.slice(0, 80).replace(/[\p{Cc}"]/gu, '?');
