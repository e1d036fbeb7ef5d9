/**
 * What was recorded of sessions, to be found without reading the record: derived from it, behind it by a second or so, and made again when it is not there.
 * Opening the record begins where this ends.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { forgotten, type Session, type SessionFilter, TERMS, type Term } from './sessions.ts';
import { REST } from './tally.ts';

/** A checkpoint of the log that covers everything that is indexed. */
export interface Remembered {
  readonly size: number;
  readonly root: Buffer;
}

export interface Progress {
  /** Everything below this index of the record is in. */
  readonly applied: number;
  /** The last checkpoint that was known then; the record must go on from it. */
  readonly remembered: Remembered | undefined;
}

const VERSION = 4;

/** A reader meets a writer for moments only. */
const BUSY_MS = 1000;

// In the order of their first events, which is that in which they come: new ones go to the end of the table.
const SCHEMA = `
  CREATE TABLE progress (version INTEGER NOT NULL, applied INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL);
  INSERT INTO progress VALUES (${VERSION}, 0, 0, x'');
  CREATE TABLE sessions (
    first INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, opened_at INTEGER NOT NULL, open INTEGER NOT NULL,
    identity TEXT NOT NULL, target TEXT NOT NULL, run TEXT NOT NULL, effect TEXT NOT NULL, outcome TEXT NOT NULL, state TEXT NOT NULL,
    told TEXT NOT NULL, indices BLOB NOT NULL
  );
  CREATE INDEX sessions_run ON sessions (run, first) WHERE run <> '';
  CREATE INDEX sessions_open ON sessions (open) WHERE open = 1;
  CREATE TABLE terms (term TEXT NOT NULL, first INTEGER NOT NULL, PRIMARY KEY (term, first)) WITHOUT ROWID;
  CREATE TABLE emitters (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
`;

const COLUMNS = ['identity', 'target', 'run', 'outcome', 'state'] as const;

/** Sessions that have ended, and of which more is known than leaves tell. */
const TOLD = "open = 0 AND (identity <> '' OR run <> '' OR effect <> '' OR outcome <> '')";
// An index of terms by session cost a third of all writing, and a session's own text says which it has.
const LATER = `CREATE INDEX IF NOT EXISTS sessions_told ON sessions (first) WHERE ${TOLD}; DROP INDEX IF EXISTS terms_first`;

const SELECT = 'SELECT told, indices FROM sessions';

interface Row {
  readonly told: string;
  readonly indices: Uint8Array;
}

/** A session as JSON, but for its indices. */
interface Told extends Omit<Session, 'indices' | 'terms' | 'begun'> {
  readonly terms: readonly Term[];
}

/** A session as it is written: what it is found by as columns, all of it as one text. It is plain data: another thread can write it. */
export interface SessionRow {
  /** In the order of the table, up to `told`. */
  readonly columns: readonly (string | number)[];
  readonly indices: readonly number[];
  readonly terms: readonly Term[];
}

export const rowOf = ({ summary, indices, terms: set, begun: _, ...rest }: Session): SessionRow => {
  const { id, openedAt, identity, target, run, effect, outcome, state } = summary;
  const [first, open, terms] = [indices[0] as number, state === 'closed' ? 0 : 1, [...set]];
  const told = JSON.stringify({ summary, ...rest, terms } satisfies Told);
  return { columns: [first, id, openedAt, open, identity, target, run, effect, outcome, state, told], indices, terms };
};

/** Ascending numbers as the differences between them, each a varint. */
const encodeIndices = (indices: readonly number[]): Buffer => {
  const bytes = Buffer.allocUnsafe(8 * indices.length);
  let [at, before] = [0, 0];
  for (const index of indices) {
    let rest = index - before;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) | 0x80;
    bytes[at++] = rest;
    before = index;
  }
  return bytes.subarray(0, at);
};

const decodeIndices = (bytes: Uint8Array): number[] => {
  const indices: number[] = [];
  let [value, scale, before] = [0, 1, 0];
  for (const byte of bytes) {
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte > 0x7f) continue;
    indices.push((before += value));
    [value, scale] = [0, 1];
  }
  return indices;
};

const sessionOf = ({ told, indices }: Row): Session => {
  const { terms, ...session } = JSON.parse(told) as Told;
  return { ...session, indices: decodeIndices(indices), terms: new Set(terms), begun: false };
};

/** Sessions that have ended and are known from the start: those that people ask for. */
export const RESTORED_SESSIONS = 1000;

const [SQLITE_CORRUPT, SQLITE_CANTOPEN, SQLITE_NOTADB] = [11, 14, 26];
/** Of a code the rest tells more. */
const sqliteCode = (error: unknown): number | undefined => {
  const { errcode } = error as { errcode?: number };
  return errcode === undefined ? undefined : errcode & 0xff;
};

/** What keeps anybody from opening the file. */
export const cannotOpen = (error: unknown): boolean => sqliteCode(error) === SQLITE_CANTOPEN;

/** Whether the file is not what was written to it; else something else keeps it from being read or written, as a full disk. */
export const isDamage = (error: unknown): boolean => {
  const code = sqliteCode(error);
  // What is read in order, and is no session, fails in its own way.
  return code === undefined || code === SQLITE_CORRUPT || code === SQLITE_NOTADB;
};

/** What the sink asks of an index. Reading is quick, but for lists that filter by little. */
export interface SessionIndex {
  readonly progress: Progress;
  /** Everything at once, or nothing: what has changed of sessions and emitters, and how far that goes. */
  apply(sessions: readonly Session[], emitters: readonly HeardEmitter[], progress: Progress): Promise<void> | void;
  /**
   * Forgets of sessions that have ended all but what leaves tell: those whose first event stands from `from` to before `to`, `limit` at once.
   * @returns how many; fewer than `limit`: there are no more
   */
  forget(from: number, to: number, limit: number): Promise<number> | number;
  /** Where the sessions stand whose first event is one from `from` to before `to`, in the order of these. */
  spans(from: number, to: number, limit: number): readonly SessionSpan[];
  /** Removes sessions that have ended and whose first event stands below, `limit` at once. @returns how many; fewer than `limit`: there are no more */
  prune(below: number, limit: number): Promise<number> | number;
  get(id: string): Session | undefined;
  /** All that have not ended. */
  open(): Session[];
  /** The newest first. `skip`: sessions that are not asked for. */
  list(filter: SessionFilter, limit: number, skip?: (id: string) => boolean): Session[];
  /** Likewise, those that began before the event `before`: `limit` of them at most. */
  before(filter: SessionFilter, before: number, limit: number): Session[];
  /** The last sequence of an emitter that is in; `undefined` of one that was never heard of. */
  sequenceOf(emitter: string): number | undefined;
  /** It is not what the record says: the next opening makes it again. */
  distrust(): Promise<void> | void;
  close(): Promise<void> | void;
}

export interface SessionSpan {
  readonly session: string;
  readonly first: number;
  readonly last: number;
  readonly open: boolean;
}

export interface HeardEmitter {
  readonly id: string;
  /** Its last sequence that is durable. */
  readonly durable: number;
}

/** The index in SQLite, in this thread. */
export class SqliteIndex implements SessionIndex {
  readonly #database: DatabaseSync;
  readonly #put: StatementSync;
  readonly #putTerm: StatementSync;
  readonly #deleteTerm: StatementSync;
  readonly #putEmitter: StatementSync;
  readonly #putProgress: StatementSync;
  readonly #get: StatementSync;

  /** `path`: a file, made when it is not there, or `:memory:`. Throws an error of SQLite when the file is damaged. */
  constructor(path: string) {
    this.#database = new DatabaseSync(path, { timeout: BUSY_MS });
    // What a power loss takes of it is read from the record again; it is never half a change.
    this.#database.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON; PRAGMA wal_autocheckpoint=4000');
    const made = this.#database.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'progress'").get() as { n: number };
    if (made.n === 0) this.#database.exec(`BEGIN; ${SCHEMA} COMMIT`);
    const { version } = this.#database.prepare('SELECT version FROM progress').get() as { version: number };
    if (version !== VERSION) throw new Error(`an index of version ${version}`);
    this.#database.exec(LATER);
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#putTerm = this.#database.prepare('INSERT OR IGNORE INTO terms VALUES (?, ?)');
    this.#deleteTerm = this.#database.prepare('DELETE FROM terms WHERE term = ? AND first = ?');
    this.#putEmitter = this.#database.prepare('INSERT OR REPLACE INTO emitters VALUES (?, ?)');
    this.#putProgress = this.#database.prepare('UPDATE progress SET applied = ?, size = ?, root = ?');
    this.#get = this.#database.prepare(`${SELECT} WHERE id = ?`);
  }

  get progress(): Progress {
    const row = this.#database.prepare('SELECT applied, size, root FROM progress').get() as {
      applied: number;
      size: number;
      root: Uint8Array;
    };
    return { applied: row.applied, remembered: row.size === 0 ? undefined : { size: row.size, root: Buffer.from(row.root) } };
  }

  apply(sessions: readonly Session[], emitters: readonly HeardEmitter[], progress: Progress): void {
    this.applyRows(sessions.map(rowOf), emitters, progress);
  }

  /** As `apply`. */
  applyRows(rows: readonly SessionRow[], emitters: readonly HeardEmitter[], { applied, remembered }: Progress): void {
    this.#atOnce(() => {
      for (const row of rows) this.#putRow(row);
      for (const { id, durable } of emitters) this.#putEmitter.run(id, durable);
      this.#putProgress.run(applied, remembered?.size ?? 0, remembered?.root ?? Buffer.alloc(0));
    });
  }

  get(id: string): Session | undefined {
    const row = this.#get.get(id) as Row | undefined;
    return row === undefined ? undefined : sessionOf(row);
  }

  open(): Session[] {
    return (this.#database.prepare(`${SELECT} WHERE open = 1 ORDER BY first`).all() as unknown as Row[]).map(sessionOf);
  }

  list(filter: SessionFilter, limit: number, skip: (id: string) => boolean = () => false): Session[] {
    const found: Session[] = [];
    const { statement, values } = this.#select(filter);
    for (const row of statement.iterate(...values)) {
      if (found.length >= limit) break;
      const session = sessionOf(row as unknown as Row);
      if (!skip(session.summary.id)) found.push(session);
    }
    return found;
  }

  before(filter: SessionFilter, before: number, limit: number): Session[] {
    const { statement, values } = this.#select(filter, { before, limit });
    return (statement.all(...values) as unknown as Row[]).map(sessionOf);
  }

  #select(filter: SessionFilter, part?: { readonly before: number; readonly limit: number }) {
    const conditions = ['1'];
    const values: (string | number)[] = [];
    const where = (condition: string, ...more: (string | number)[]): void => {
      conditions.push(condition);
      values.push(...more);
    };
    for (const name of COLUMNS) if (filter[name] !== undefined) where(`${name} = ?`, filter[name]);
    if (filter.run !== undefined && filter.run !== '') where("run <> ''");
    for (const field of TERMS)
      if (filter[field] !== undefined)
        where('first IN (SELECT first FROM terms WHERE term IN (?, ?))', `${field}:${filter[field]}`, `${field}:${REST}`);
    if (filter.since !== undefined) where('opened_at >= ?', filter.since);
    if (filter.until !== undefined) where('opened_at < ?', filter.until);
    if (part !== undefined) where('first < ?', part.before);
    const limited = part === undefined ? '' : ` LIMIT ${part.limit}`;
    const statement = this.#database.prepare(`${SELECT} WHERE ${conditions.join(' AND ')} ORDER BY first DESC${limited}`);
    return { statement, values };
  }

  forget(from: number, to: number, limit: number): number {
    const rows = this.#database
      .prepare(`${SELECT} WHERE ${TOLD} AND first >= ? AND first < ? ORDER BY first LIMIT ?`)
      .all(from, to, limit) as unknown as Row[];
    this.#atOnce(() => {
      for (const session of rows.map(sessionOf)) {
        this.#deleteTerms(session.indices[0] as number, session.terms);
        this.#putRow(rowOf(forgotten(session)));
      }
    });
    if (rows.length > 0) this.#emptyJournal();
    return rows.length;
  }

  spans(from: number, to: number, limit: number): readonly SessionSpan[] {
    const rows = this.#database
      .prepare('SELECT id, first, open, indices FROM sessions WHERE first >= ? AND first < ? ORDER BY first LIMIT ?')
      .all(from, to, limit) as unknown as { id: string; first: number; open: number; indices: Uint8Array }[];
    return rows.map(({ id, first, open, indices }) => ({
      session: id,
      first,
      last: decodeIndices(indices).at(-1) ?? first,
      open: open === 1,
    }));
  }

  prune(below: number, limit: number): number {
    const rows = this.#database
      .prepare('SELECT first, told FROM sessions WHERE first < ? AND open = 0 ORDER BY first LIMIT ?')
      .all(below, limit) as unknown as { first: number; told: string }[];
    this.#atOnce(() => {
      for (const { first, told } of rows) {
        this.#deleteTerms(first, (JSON.parse(told) as Told).terms);
        this.#database.prepare('DELETE FROM sessions WHERE first = ?').run(first);
      }
    });
    if (rows.length > 0) this.#emptyJournal();
    return rows.length;
  }

  sequenceOf(emitter: string): number | undefined {
    const row = this.#database.prepare('SELECT sequence FROM emitters WHERE id = ?').get(emitter) as { sequence: number } | undefined;
    return row?.sequence;
  }

  distrust(): void {
    this.#database.exec('UPDATE progress SET version = 0');
  }

  close(): void {
    this.#database.close();
  }

  /** All of it, or nothing. */
  #atOnce(change: () => void): void {
    this.#database.exec('BEGIN');
    try {
      change();
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** The file's own journal has what was, too. */
  #emptyJournal(): void {
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  #deleteTerms(first: number, terms: Iterable<Term>): void {
    for (const term of terms) this.#deleteTerm.run(term, first);
  }

  #putRow({ columns, indices, terms }: SessionRow): void {
    this.#put.run(...columns, encodeIndices(indices));
    for (const term of terms) this.#putTerm.run(term, columns[0] as number);
  }
}
