/** The record as the configuration asks for it: the log's place and key, and the index of its sessions. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from './config/config.ts';
import { agesOf } from './custody/ages.ts';
import { LogError } from './log/error.ts';
import { logSigners } from './log/keys.ts';
import type { Log, LogOptions } from './log/log.ts';
import { localFiles } from './storage/local_files.ts';
import type { ObjectStore } from './storage/object_store.ts';
import type { SessionIndex } from './tap/session_index.ts';
import { openSessionIndex } from './tap/session_index_thread.ts';
import { logStore, type OpenStore } from './tap/store.ts';
import type { SignerKey, VerifierKey } from './tlog/note.ts';
import { CHECKPOINT_PATH } from './tlog/tile.ts';

export interface RecordParts {
  readonly openStore: OpenStore;
  readonly index: SessionIndex;
  /** The log, once it is open. */
  readonly log: () => Log;
  /** Where it is published: one writer's. */
  readonly objects: ObjectStore;
  /** Those that sign it, and what verifies them. */
  readonly signers: readonly SignerKey[];
  readonly keys: readonly VerifierKey[];
}

const [MINUTE_MS, DAY_MS] = [60_000, 86_400_000];

/** What is to go one day does not stay in the journal: a segment of it is written to for a thirtieth of the shortest age, a day at most. */
const segmentMs = (retention: Config['tap']['retention']): number | undefined => {
  const shortest = Math.min(...Object.values(agesOf(retention)).map((age) => age ?? Number.POSITIVE_INFINITY));
  return shortest === Number.POSITIVE_INFINITY ? undefined : Math.min(DAY_MS, Math.max(MINUTE_MS, shortest / 30));
};

/** Where the record is, below the state directory. */
export const recordPlaces = (stateDir: string) => {
  const dir = join(stateDir, 'tap');
  return {
    dir,
    journal: join(dir, 'journal'),
    published: join(dir, 'log'),
    key: join(dir, 'key'),
    index: join(dir, 'sessions.sqlite'),
    acceptedLosses: join(dir, 'accepted-losses'),
  };
};

/** Throws a `LogError` (`key`). */
const keyText = (source: NonNullable<Config['tap']['key']>): string => {
  if ('env' in source) {
    const text = process.env[source.env];
    if (text === undefined) throw new LogError('key', `the key of the log: environment variable ${source.env} is not set`);
    return text;
  }
  try {
    // Several lines while keys change, which no other secret has. Its mode is the operator's business: mounted secrets are often readable by a group.
    return readFileSync(source.file, 'utf8');
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new LogError('key', `the key of the log: file ${source.file} cannot be read (${code})`, error);
  }
};

/** The keys of a log that is there already. Throws a `LogError` (`key`, `origin`). */
export const recordSigners = ({ stateDir, tap }: Pick<Config, 'stateDir' | 'tap'>): SignerKey[] =>
  logSigners({ text: tap.key && keyText(tap.key), path: recordPlaces(stateDir).key, origin: tap.origin, begun: true });

/**
 * Readies what the sink opens. A log that is new gets a key. Throws a `LogError` (`key`, `origin`), and a `JournalError` (`locked`) when another process has the
 * record.
 */
export const recordParts = ({ stateDir, tap }: Pick<Config, 'stateDir' | 'tap'>, options: Partial<LogOptions> = {}): RecordParts => {
  const places = recordPlaces(stateDir);
  mkdirSync(places.dir, { recursive: true, mode: 0o700 });
  const signers = logSigners({
    text: tap.key && keyText(tap.key),
    path: places.key,
    origin: tap.origin,
    // Of a log whose journal is lost there is what was published.
    begun: existsSync(places.journal) || existsSync(join(places.published, CHECKPOINT_PATH)),
  });
  const { objects = localFiles(places.published) } = options;
  let log: Log | undefined;
  return {
    objects,
    signers,
    keys: signers.map(({ verifier }) => verifier),
    openStore: logStore(places.dir, {
      ...(options.objects === undefined && { publishedIn: places.published }),
      segmentMs: segmentMs(tap.retention),
      ...options,
      objects,
      signers,
      onOpen: (opened) => {
        log = opened;
      },
    }),
    index: openSessionIndex(places.index),
    log: () => log as Log,
  };
};
