/** `sluice log restore`: the record made anew from a replica, for a service whose state directory is lost or of an older day. */

import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { lockFile } from '../journal/file_system.ts';
import { HEADER_BYTES } from '../journal/frame.ts';
import { isSegmentName } from '../journal/segment.ts';
import { KEYS_NOTICE, keysIn, readableKeys } from '../log/keys.ts';
import { isOfService, type Leaf, type Subject } from '../log/leaf.ts';
import { beginLegalHolds, type LegalHold, readHoldText } from '../log/legal_holds.ts';
import type { ServiceNotice } from '../log/notices.ts';
import type { LogRecord, PublishedCheckpoint } from '../log/reader.ts';
import { KEYS_PATH } from '../log/replicator.ts';
import { restoreLog } from '../log/restore.ts';
import { recordPlaces, recordSigners } from '../record.ts';
import { printable } from '../replay/printable.ts';
import { localFiles } from '../storage/local_files.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { encodeEvent, pruningIn } from '../tap/event.ts';
import { kindOf } from '../tap/leaf_kind.ts';
import type { TapEvent } from '../tap/schema.ts';
import { removeSessionIndex } from '../tap/session_index_thread.ts';
import { subjectOf } from '../tap/store.ts';
import type { VerifierKey } from '../tlog/note.ts';
import { verifyLog } from '../verify/log.ts';
import { Chains, checkEvent, Emitters } from '../verify/record.ts';
import { FAULTS, Faults, inWords } from '../verify/report.ts';
import { CommandError, complain, type Invocation, say, text } from './command.ts';
import { clientConfig } from './place.ts';
import { namesOf, replicaOf } from './published_log.ts';

type Config = ReturnType<typeof clientConfig>;

/** Of those that the copy lists: a log has few, and a list that somebody wrote may have any number. */
const KEYS_SHOWN = 10;

/** @returns the exit code: 1 when the copy does not verify; then nothing is left of it here. */
export async function restore(invocation: Invocation, named: string | undefined): Promise<number> {
  const config = clientConfig(invocation);
  const places = recordPlaces(config.stateDir);
  const there = [places.journal, places.published].filter((path) => existsSync(path));
  if (!isEmpty(places))
    throw new CommandError(
      `There is a record already (${there.join(', ')}): move it away, and keep it. With the service stopped, and the key left where it is:\n  mkdir ${places.dir}.old && mv ${[...there, `${places.index}*`].join(' ')} ${places.dir}.old/`,
    );
  const kept = text(invocation, 'checkpoint');
  const remembered = kept === undefined ? undefined : keptCheckpoint(kept);
  const signed = text(invocation, 'sign-beyond');
  if (signed !== undefined && !/^[1-9]\d{0,14}$/.test(signed)) throw new CommandError('--sign-beyond is a number of leaves.', 2);
  const signers = recordSigners(config);
  mkdirSync(places.dir, { recursive: true, mode: 0o700 });
  // A service that runs goes on with what was moved away, and would write into what takes its place.
  const unlock = lockFile(`${places.index}-lock`);
  if (unlock === undefined) throw new CommandError(`A service, or another restoration, has ${places.dir}: stop it first.`);
  try {
    return await restoreInto({ config, places, signers, remembered, signed, named });
  } finally {
    unlock();
  }
}

interface Asked {
  readonly config: Config;
  readonly places: ReturnType<typeof recordPlaces>;
  readonly signers: ReturnType<typeof recordSigners>;
  /** The checkpoint that was kept. */
  readonly remembered: string | undefined;
  /** As `--sign-beyond` says it. */
  readonly signed: string | undefined;
  readonly named: string | undefined;
}

async function restoreInto({ config, places, signers, remembered, signed, named }: Asked): Promise<number> {
  const staging = join(places.dir, 'restoring');
  rmSync(staging, { recursive: true, force: true });
  const from = copyOf(config, named);
  try {
    const holds = new HoldsOfRecord();
    const behind = new Followed();
    const former = new KeysOfRecord();
    const objects = localFiles(join(staging, 'log'));
    const { checkpoint, size, otherKeys } = await restoreLog({
      from,
      directory: staging,
      objects,
      signers,
      toldOfPruning: pruningIn,
      ...(signed !== undefined && { signBeyond: { size: Number(signed), event: (of) => signedNotice(of, Number(signed)) } }),
      formerKeys: () => former.keys,
      onRecord: (record) => behind.take(record, holds, former),
    });
    const keys = signers.map(({ verifier }) => verifier);
    const report = await verifyLog({
      objects,
      trust: { origin: checkpoint.origin, keys, ...(remembered !== undefined && { remembered }) },
    });
    say(inWords(report));
    // What stands behind the checkpoint is covered by no signature until this machine signs it.
    for (const { code, detail } of report.verified ? behind.faults.listed : [])
      say(`  FAULT       ${code}: ${FAULTS[code]}: ${printable(detail)}`);
    if (!report.verified || !behind.faults.none) {
      complain(`What ${from.url} has does not verify: nothing is restored from it.`);
      return 1;
    }
    await takeInto(config, staging, holds);
    say(
      `Restored from ${from.url}: ${size} leaves${size > checkpoint.size ? `, ${size - checkpoint.size} of them behind its checkpoint` : ''}.`,
    );
    if (size > checkpoint.size)
      say(
        `Those behind it were signed by nobody until now: they fit what is before them, and whoever could write to the copy may have written them. The notice "${SIGNED_NOTICE}" in leaf ${size} says so.`,
      );
    if (otherKeys.length > 0)
      say(
        `The copy's list of keys has ${otherKeys.length} more, which do not sign now; nothing proves that they were the log's, since no notice "${KEYS_NOTICE}" of the record names them, and they were left out. Put those that you know it to have had into ${places.published}/${KEYS_PATH}:\n  ${otherKeys.slice(0, KEYS_SHOWN).map(printable).join('\n  ')}`,
      );
    say(
      `Legal holds that the record tells of: ${holds.inForce.length}${holds.untold > 0 ? `; of ${holds.untold} of its notices the events are deleted` : ''}.`,
    );
    say(
      'What was recorded later is lost. Requests that were held, and approvals not used yet, have to be asked for again. Start the service now.',
    );
    return 0;
  } finally {
    rmSync(staging, { recursive: true, force: true });
    await from.close();
  }
}

function keptCheckpoint(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const what = code === 'EISDIR' ? 'it is a folder: name the file in it that you have kept' : message;
    throw new CommandError(`--checkpoint ${path} cannot be read: ${what}`);
  }
}

const SIGNED_NOTICE = 'unsigned-restored' satisfies ServiceNotice;

/** For the record: which of its leaves nobody had signed when it was restored. An emitter of its own tells it, once. */
function signedNotice(
  { size: signed, root }: PublishedCheckpoint,
  size: number,
): { readonly subject: Subject; readonly event: Uint8Array } {
  const text = `leaves ${signed} to ${size - 1} were restored from a copy behind its checkpoint of ${signed} (root ${root.toString('base64')}): no checkpoint that was signed before covers them`;
  const event: TapEvent = {
    emitter: randomBytes(16).toString('hex'),
    sequence: 1,
    timeUnixNanos: BigInt(Date.now()) * 1_000_000n,
    session: '',
    target: '',
    truncated: [],
    body: { kind: 'notice', notice: SIGNED_NOTICE, text },
  };
  return { subject: subjectOf(event, true), event: encodeEvent(event) };
}

/**
 * Nothing was ever recorded here; a start that was refused may have made the folders, and one that was killed the list of keys. What is left of a log that has lost its checkpoint
 * may be all that there is of some of its events.
 */
const isEmpty = ({ journal, published }: ReturnType<typeof recordPlaces>): boolean =>
  (!existsSync(published) || readdirSync(published).every((name) => name === KEYS_PATH)) &&
  (!existsSync(journal) ||
    readdirSync(journal).every((name) => !isSegmentName(name) || statSync(join(journal, name)).size <= HEADER_BYTES));

/** A replica of the configuration, by name or the only one, or a folder. */
function copyOf(config: Config, named: string | undefined): ObjectStore {
  const replica = replicaOf(config, named);
  if (replica !== undefined) return replica;
  if (named !== undefined && existsSync(named)) return localFiles(named);
  throw new CommandError(`Say where from: a folder with a copy of the log, or a replica by its name (${namesOf(config)}).`, 2);
}

/** What was made beside takes its place: a stop in between leaves what the service refuses to start with, never half a log that it would go on from. */
async function takeInto({ stateDir }: Config, staging: string, { inForce }: HoldsOfRecord): Promise<void> {
  const { dir, journal, published, index } = recordPlaces(stateDir);
  const held = join(stateDir, 'legal-holds');
  if (!existsSync(held)) await beginLegalHolds(held, inForce);
  // Of another history, should it still be there; it is made anew.
  removeSessionIndex(index);
  for (const empty of [journal, published]) rmSync(empty, { recursive: true, force: true });
  renameSync(join(staging, 'journal'), journal);
  renameSync(join(staging, 'log'), published);
  const fd = openSync(dir, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

/** That each record fits its leaf and those before it. */
class Followed {
  readonly faults = new Faults();
  readonly #chains = new Chains(this.faults);
  readonly #emitters = new Emitters({ faults: this.faults, remarks: [] });

  take({ index, leaf, detail }: LogRecord, holds: HoldsOfRecord, former: KeysOfRecord): void {
    const event = detail && checkEvent(index, leaf, detail, this.faults);
    this.#chains.add(index, leaf, event);
    this.#emitters.add(index, leaf);
    holds.take(leaf, event);
    former.take(leaf, event);
  }
}

/** The keys of the log that its own notices name: of a leaf of the older form nothing says that the service told it. */
class KeysOfRecord {
  readonly #named = new Set<string>();

  get keys(): VerifierKey[] {
    return readableKeys(this.#named);
  }

  take({ own, session }: Leaf, event: TapEvent | undefined): void {
    if (own && session === '' && event?.body.kind === 'notice' && event.body.notice === KEYS_NOTICE)
      for (const key of keysIn(event.body.text)) this.#named.add(key);
  }
}

/** The legal holds that the record's notices tell of. */
class HoldsOfRecord {
  readonly #held = new Map<string, LegalHold>();
  /** Notices of sessions whose events were deleted after their retention. */
  untold = 0;

  get inForce(): LegalHold[] {
    return [...this.#held.values()];
  }

  /** Without the event: it was deleted. */
  take(leaf: Leaf, event: TapEvent | undefined): void {
    const { session, kind } = leaf;
    if (session === '' || kindOf(kind) !== 'notice' || !isOfService(leaf)) return;
    if (event === undefined) {
      this.untold += 1;
      return;
    }
    const { body, timeUnixNanos } = event;
    if (body.kind !== 'notice') return;
    if (body.notice === ('legal-hold-released' satisfies ServiceNotice)) this.#held.delete(session);
    else if (body.notice === ('legal-hold-added' satisfies ServiceNotice) && !this.#held.has(session))
      this.#held.set(session, { session, ...readHoldText(body.text), at: new Date(Number(timeUnixNanos / 1_000_000n)).toISOString() });
  }
}
