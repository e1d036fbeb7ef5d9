/** The checkpoint that something is verified against, and what it all comes to. */
import { WITNESSED_PATH } from '../log/replicator.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import type { TlogError } from '../tlog/error.ts';
import { CHECKPOINT_PATH } from '../tlog/tile.ts';
import type { Faults, MissingEvents, Report, SessionExtent } from './report.ts';
import { isWitnessed, type Level, openSigned, type Seen, type Trust } from './trust.ts';

/** The checkpoints that something is verified against: as far as they are there, and the log has signed them. */
export interface Heads {
  /** The newest that is published: of all that is looked at. */
  readonly seen: Seen | undefined;
  /** The one that the verifier has kept. */
  readonly kept: Seen | undefined;
  /** Where witnesses are asked for: the one with most cosignatures, the newest of these; it may be older than `seen`. */
  readonly witnessed: Seen | undefined;
}

export const readHeads = async (objects: ObjectStore, trust: Trust, faults: Faults): Promise<Heads> => {
  // In this order: a log that goes on meanwhile has no newer one than its newest.
  const cosigned = trust.witnesses === undefined ? undefined : await objects.get(WITNESSED_PATH);
  const note = await objects.get(CHECKPOINT_PATH);
  if (note === undefined) faults.add('no-checkpoint', `at ${objects.url}`);
  const seen = note && opened(note, trust, 'the newest checkpoint', faults);
  const beside = cosigned && opened(cosigned, trust, 'the witnessed checkpoint', faults);
  const kept = keptCheckpoint(trust, faults);
  const witnessed = beside === undefined || (seen !== undefined && isWitnessed(seen, trust)) ? seen : beside;
  return { seen, kept, witnessed };
};

/** A checkpoint that the newest must go on from. */
export interface Earlier {
  readonly size: number;
  readonly root: Buffer;
  /** In words. */
  readonly which: string;
}

/** Those that the log is not shorter than: one that is longer is among the faults. */
export const earlierOnes = ({ seen, kept, witnessed }: Heads, faults: Faults, before?: Earlier): readonly Earlier[] => {
  const all: Earlier[] = [
    ...(before === undefined ? [] : [before]),
    ...(kept === undefined ? [] : [{ ...kept, which: 'the checkpoint that was kept' }]),
    ...(witnessed === undefined || witnessed === seen ? [] : [{ ...witnessed, which: 'the one that witnesses cosigned' }]),
  ];
  return all.filter(({ size, which }) => {
    if (seen === undefined || size <= seen.size) return true;
    faults.add('rolled-back', `it has ${seen.size} leaves, and ${which} is of ${size}`);
    return false;
  });
};

/** The checkpoint that the verifier has kept: one that the log never signed is no help. */
export const keptCheckpoint = (trust: Trust, faults: Faults): Seen | undefined =>
  trust.remembered === undefined ? undefined : opened(trust.remembered, trust, 'the kept checkpoint', faults);

const opened = (note: string | Buffer, trust: Trust, which: string, faults: Faults): Seen | undefined => {
  try {
    return openSigned(note, trust);
  } catch (error) {
    const { code, message } = error as TlogError;
    faults.add(code === 'malformed' ? 'malformed' : 'signature', `${which}: ${message}`);
    return undefined;
  }
};

export interface Findings {
  readonly what: string;
  /** As `performance.now()` tells it. */
  readonly started: number;
  readonly faults: Faults;
  readonly remarks: string[];
  readonly heads: Heads;
  /** Up to which leaf, exclusive, the events reach that the verdict is on; what witnesses have cosigned must reach as far. */
  readonly reaches?: number;
  readonly trust: Trust;
  readonly checked: Report['checked'];
  readonly missing: MissingEvents;
  readonly pruned?: Report['pruned'] | undefined;
  readonly extent?: SessionExtent | undefined;
  readonly page?: Report['page'];
}

/** The report: whatever was verified, the level of trust is come by in this one way. */
export const conclude = ({
  what,
  started,
  faults,
  remarks,
  heads,
  reaches = 0,
  trust,
  checked,
  missing,
  pruned,
  extent,
  page,
}: Findings): Report => {
  const { seen, kept, witnessed } = heads;
  if (seen !== undefined) {
    checkWitnessed(heads, reaches, trust, faults, remarks);
    if (seen.others.length > 0) remarks.push(othersInWords(seen.others));
  }
  return {
    verified: faults.none,
    complete: faults.none && missing.unexplained === 0,
    level: levelOf(faults, heads, trust),
    what,
    origin: seen?.origin ?? '',
    size: seen?.size ?? 0,
    root: seen?.root.toString('base64') ?? '',
    checkpoint: seen?.note ?? '',
    signedBy: seen?.signedBy ?? [],
    witnesses: (witnessed?.witnesses ?? []).map(({ name, at }) => ({ name, at: new Date(Math.min(at, LATEST_MS)).toISOString() })),
    ...(witnessed !== undefined && trust.witnesses !== undefined && { witnessedSize: witnessed.size }),
    otherSignatures: seen?.others.length ?? 0,
    keysAreTheLogsOwn: trust.keysAreTheLogsOwn === true,
    ...(kept !== undefined && { rememberedSize: kept.size }),
    ...(pruned !== undefined && { pruned }),
    ...(extent !== undefined && { extent }),
    ...(page !== undefined && { page }),
    checked,
    missing,
    faults: faults.listed,
    moreFaults: faults.more,
    remarks,
    seconds: (performance.now() - started) / 1000,
  };
};

/** Where witnesses are asked for, enough of them must have cosigned, and all of a part. Of a log that goes on, they are always a little behind. */
const checkWitnessed = ({ seen, witnessed }: Heads, reaches: number, trust: Trust, faults: Faults, remarks: string[]): void => {
  if (trust.witnesses === undefined || seen === undefined) return;
  const { quorum, keys } = trust.witnesses;
  if (witnessed === undefined || !isWitnessed(witnessed, trust))
    faults.add('witnesses', `${witnessed?.witnesses.length ?? 0} have, and ${quorum} of ${keys.length} must`);
  else if (witnessed.size < reaches)
    faults.add('witnesses', `they have cosigned the first ${witnessed.size} leaves, and this reaches to leaf ${reaches - 1}`);
  else if (witnessed.size < seen.size)
    remarks.push(
      `witnesses have cosigned the first ${witnessed.size.toLocaleString('en')} leaves; the ${(seen.size - witnessed.size).toLocaleString('en')} behind them fit the newest checkpoint, and nobody else has seen that`,
    );
};

/** The last moment that a `Date` can tell; a cosigner may write any number. */
const LATEST_MS = 8.64e15;

const levelOf = (faults: Faults, { seen, kept, witnessed }: Heads, trust: Trust): Level => {
  if (!faults.none || seen === undefined) return 'unverified';
  if (witnessed !== undefined && isWitnessed(witnessed, trust)) return 'witnessed';
  return kept === undefined ? 'self-consistent' : 'remembered';
};

const NAMED = 5;

/** Whoever adds a line chooses the name on it: nothing in it moves a cursor. */
const othersInWords = (names: readonly string[]): string => {
  const shown = names.slice(0, NAMED).map((name) => name.replace(/[^\x21-\x7e]/g, '?').slice(0, 80));
  const count = names.length === 1 ? '1 signature on the checkpoint is' : `${names.length} signatures on the checkpoint are`;
  return `${count} by keys not known to this verifier, or repeated, and add nothing to the level of trust: ${shown.join(', ')}${names.length > NAMED ? ', …' : ''}`;
};
