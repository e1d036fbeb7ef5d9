/** The checkpoint that something is verified against, and what it all comes to. */
import type { ObjectStore } from '../storage/object_store.ts';
import type { TlogError } from '../tlog/error.ts';
import { CHECKPOINT_PATH } from '../tlog/tile.ts';
import type { Faults, Report, SessionExtent } from './report.ts';
import { isWitnessed, type Level, openSigned, type Seen, type Trust } from './trust.ts';

/** The newest published checkpoint, when the log has signed it. */
export const newest = async (objects: ObjectStore, trust: Trust, faults: Faults): Promise<Seen | undefined> => {
  const note = await objects.get(CHECKPOINT_PATH);
  if (note === undefined) {
    faults.add('no-checkpoint', `at ${objects.url}`);
    return undefined;
  }
  return opened(note, trust, 'the newest checkpoint', faults);
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
  readonly seen: Seen | undefined;
  readonly kept: Seen | undefined;
  readonly trust: Trust;
  readonly checked: Report['checked'];
  readonly extent?: SessionExtent | undefined;
}

/** The report: whatever was verified, the level of trust is come by in this one way. */
export const conclude = ({ what, started, faults, remarks, seen, kept, trust, checked, extent }: Findings): Report => {
  if (seen !== undefined) {
    // Where witnesses are asked for, enough of them must have cosigned.
    if (trust.witnesses !== undefined && !isWitnessed(seen, trust))
      faults.add('witnesses', `${seen.witnesses.length} have, and ${trust.witnesses.quorum} of ${trust.witnesses.keys.length} must`);
    if (seen.others.length > 0) remarks.push(othersInWords(seen.others));
  }
  return {
    verified: faults.none,
    level: levelOf(faults, seen, kept, trust),
    what,
    origin: seen?.origin ?? '',
    size: seen?.size ?? 0,
    root: seen?.root.toString('base64') ?? '',
    signedBy: seen?.signedBy ?? [],
    witnesses: (seen?.witnesses ?? []).map(({ name, at }) => ({ name, at: new Date(Math.min(at, LATEST_MS)).toISOString() })),
    otherSignatures: seen?.others.length ?? 0,
    keysAreTheLogsOwn: trust.keysAreTheLogsOwn === true,
    ...(kept !== undefined && { rememberedSize: kept.size }),
    ...(extent !== undefined && { extent }),
    checked,
    faults: faults.listed,
    moreFaults: faults.more,
    remarks,
    seconds: (performance.now() - started) / 1000,
  };
};

/** The last moment that a `Date` can tell; a cosigner may write any number. */
const LATEST_MS = 8.64e15;

const levelOf = (faults: Faults, seen: Seen | undefined, kept: Seen | undefined, trust: Trust): Level => {
  if (!faults.none || seen === undefined) return 'unverified';
  if (isWitnessed(seen, trust)) return 'witnessed';
  return kept === undefined ? 'self-consistent' : 'remembered';
};

const NAMED = 5;

/** Whoever adds a line chooses the name on it: nothing in it moves a cursor. */
const othersInWords = (names: readonly string[]): string => {
  const shown = names.slice(0, NAMED).map((name) => name.replace(/[^\x21-\x7e]/g, '?').slice(0, 80));
  const count = names.length === 1 ? '1 signature on the checkpoint is' : `${names.length} signatures on the checkpoint are`;
  return `${count} by keys not known to this verifier, or repeated, and add nothing to the level of trust: ${shown.join(', ')}${names.length > NAMED ? ', …' : ''}`;
};
