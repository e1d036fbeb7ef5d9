/** `sluice verify`: is the record whole and unchanged? It reads what was published, needs no service, and works on a copy. */
import { createReadStream, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { durationMs } from '../duration.ts';
import { EvidenceError } from '../evidence/bundle.ts';
import { redraw } from '../evidence/redraw.ts';
import { verifyBundle } from '../evidence/verify.ts';
import { PAYLOAD_CLASSES } from '../log/leaf.ts';
import { printable, printableJson } from '../replay/printable.ts';
import { StorageError } from '../storage/object_store.ts';
import type { VerifierKey } from '../tlog/note.ts';
import { CHECKPOINT_PATH } from '../tlog/tile.ts';
import { ContinuedVerification } from '../verify/continued.ts';
import { type Verification, verifyLog } from '../verify/log.ts';
import { inWords, type Report } from '../verify/report.ts';
import { verifyPart } from '../verify/session.ts';
import type { Trust } from '../verify/trust.ts';
import { type Command, CommandError, complain, flag, type Invocation, say, text } from './command.ts';
import { INCOMPLETE, writeWhole } from './evidence.ts';
import { placeDetails, placeOptions } from './place.ts';
import { isSessionName, keyOf, keysBeside, logDetail, publishedLog } from './published_log.ts';
import { watch } from './verify_watch.ts';

export const verify: Command = {
  name: 'verify',
  usage:
    '[SESSION | FILE | --event INDEX] [--redraw OUT] [--log WHERE] [--without-payloads] [--key KEY] [--checkpoint FILE | --remember FILE] [--witness KEY [--quorum N]] [--watch EVERY [--whole EVERY] [--metrics HOST:PORT]]',
  summary: 'is the record whole and unchanged? Works on a copy, without the service',
  details: [
    ['SESSION', 'one session alone; without it, and without --event, the whole log'],
    ['FILE', 'what `sluice evidence` wrote'],
    [
      '--redraw OUT',
      'with FILE: what it proves is drawn again as a page of this version; where another one drew it, its readable part is not verified',
    ],
    ['--event INDEX', 'the event of one leaf alone'],
    logDetail,
    ['--key KEY', "the log's public key, or a file with one on each line; default the one beside the log, which proves less"],
    ['--origin NAME', 'the name that the log must have'],
    ['--checkpoint FILE', 'a checkpoint that you have kept: the log must go on from it'],
    ['--remember FILE', 'as --checkpoint when the file is there; the newest checkpoint is kept in it when nothing was changed'],
    ['--witness KEY', "a witness' public key, or a file with one on each line"],
    ['--quorum N', 'so many witnesses must have cosigned; default all'],
    ['--without-payloads', 'the copy was made without recorded payload: that it is not there is no fault of it'],
    [
      '--watch EVERY',
      'the log again and again, as each 5m, what is new of it: for a machine that has a copy or a replica; with --remember',
    ],
    ['--whole EVERY', 'with --watch: how often everything is read again, and at the start; default 1d, 0s: each time'],
    ['--metrics HOST:PORT', 'with --watch: what was found, for Prometheus, at /metrics'],
    ['--json', 'the report for programs'],
    placeDetails[0],
  ],
  options: {
    config: placeOptions.config,
    ...Object.fromEntries(
      ['event', 'redraw', 'watch', 'whole', 'metrics', 'log', 'key', 'origin', 'checkpoint', 'remember', 'witness', 'quorum'].map(
        (name) => [name, { type: 'string' as const }],
      ),
    ),
    'without-payloads': { type: 'boolean' },
    json: { type: 'boolean' },
  },
  takes: [0, 1],
  run,
};

/** A gateway publishes each second. */
const PATIENCE_MS = 2_000;

/** 0: verified. 1: not, or it could not be read. 2: not said right. 4: incomplete. 5: the readable part of a page was not compared with its evidence. */
async function run(invocation: Invocation): Promise<number> {
  const [what] = invocation.positionals;
  const event = text(invocation, 'event');
  if (what !== undefined && event !== undefined) throw new CommandError('Name a session or an event, not both.', 2);
  if (event !== undefined && !/^(?:0|[1-9]\d{0,14})$/.test(event)) throw new CommandError('--event is the index of a leaf, from 0.', 2);
  if (what !== undefined && !existsSync(what) && !isSessionName(what))
    throw new CommandError(`There is no file ${JSON.stringify(what)}, and it is no session's name.`, 2);
  const redrawn = text(invocation, 'redraw');
  if (redrawn !== undefined && (what === undefined || !existsSync(what))) throw new CommandError('--redraw is of a FILE.', 2);
  if (redrawn !== undefined && existsSync(redrawn)) throw new CommandError(`${redrawn} is there already: name another file.`);
  if (text(invocation, 'watch') !== undefined) return await watching(invocation);
  for (const name of ['metrics', 'whole'])
    if (text(invocation, name) !== undefined) throw new CommandError(`--${name} is with --watch.`, 2);
  const report =
    what !== undefined && existsSync(what)
      ? await verifyFile(what, trustOf(invocation, undefined))
      : await verifyPublished(invocation, what, event);
  say(flag(invocation, 'json') ? printableJson(report) : inWords(report));
  const remember = text(invocation, 'remember');
  if (remember !== undefined && !(what !== undefined && existsSync(what))) complain(remembering(remember, report));
  if (redrawn !== undefined && report.extent !== undefined && report.verified)
    if (!(await drawnAgain(what as string, redrawn, { ...report, extent: report.extent }, trustOf(invocation, undefined)))) return 1;
  return exitCodeOf(report);
}

/** What a page shows, and nobody compared with its evidence, is not what was verified. */
const NOT_COMPARED = 5;

const exitCodeOf = ({ verified, complete, page }: Report): number => {
  if (!verified) return 1;
  if (!complete) return INCOMPLETE;
  return page?.compared === false ? NOT_COMPARED : 0;
};

/** Until a signal comes. @returns as one verification does, of the last one */
async function watching(invocation: Invocation): Promise<number> {
  const everyMs = durationMs(text(invocation, 'watch') ?? '');
  if (everyMs === undefined || everyMs === 0 || everyMs >= 2 ** 31)
    throw new CommandError('--watch is a duration such as 30s, 5m or 1d, of at most 24 days.', 2);
  const wholeEveryMs = durationMs(text(invocation, 'whole') ?? '1d');
  if (wholeEveryMs === undefined) throw new CommandError('--whole is a duration such as 12h or 7d.', 2);
  if (invocation.positionals.length > 0 || text(invocation, 'event') !== undefined)
    throw new CommandError('--watch is of the whole log.', 2);
  if (text(invocation, 'remember') === undefined)
    throw new CommandError('--watch goes on from what it has verified: say --remember FILE.', 2);
  const at = text(invocation, 'metrics');
  const [, host = '', port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(at ?? '')?.filter((part) => part !== undefined) ?? [];
  if (at !== undefined && !(Number(port) < 65_536)) throw new CommandError('--metrics is HOST:PORT, as 127.0.0.1:9465.', 2);
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());
  const continued = new ContinuedVerification({ wholeEveryMs });
  const verdict = await watch({
    verify: async () => {
      const report = await onPublished(invocation, (verification) => continued.verify(verification));
      if (report.verified) keep(text(invocation, 'remember') as string, report);
      return report;
    },
    everyMs,
    metrics: at === undefined ? undefined : { host, port: Number(port) },
    signal: stopped.signal,
  });
  if (verdict === 'verified') return 0;
  return verdict === 'incomplete' ? INCOMPLETE : 1;
}

/** Not without being verified in its turn: the page may have been another when it was read again. */
async function drawnAgain(path: string, out: string, found: Parameters<typeof redraw>[1], trust: Trust): Promise<boolean> {
  try {
    await writeWhole(out, redraw(createReadStream(path, { highWaterMark: 1 << 18 }), found));
  } catch (error) {
    if (error instanceof EvidenceError || (error as NodeJS.ErrnoException).syscall !== undefined) throw unreadable(path, error);
    throw error;
  }
  const { verified, faults } = await verifyFile(out, trust);
  if (verified) {
    complain(`${out}: drawn again by this version, and verified.`);
    return true;
  }
  rmSync(out, { force: true });
  complain(`${path} could not be drawn again: ${faults.map(({ code, detail }) => `${code}: ${printable(detail)}`).join('; ')}`);
  return false;
}

async function verifyFile(path: string, trust: Trust): Promise<Report> {
  try {
    return await verifyBundle(createReadStream(path, { highWaterMark: 1 << 18 }), trust);
  } catch (error) {
    throw unreadable(path, error);
  }
}

const verifyPublished = (invocation: Invocation, session: string | undefined, event: string | undefined): Promise<Report> =>
  onPublished(invocation, async (verification) => {
    const { objects, trust } = verification;
    if (session !== undefined) return await verifyPart(objects, trust, { session }, verification);
    if (event !== undefined) return await verifyPart(objects, trust, { index: Number(event) }, verification);
    return await verifyLog(verification);
  });

async function onPublished<Found>(invocation: Invocation, verifying: (verification: Verification) => Promise<Found>): Promise<Found> {
  const objects = publishedLog(invocation);
  try {
    if ((await objects.get(CHECKPOINT_PATH)) === undefined)
      throw new CommandError(`There is no published log at ${objects.url}: it has no checkpoint.`);
    const trust = trustOf(invocation, text(invocation, 'key') === undefined ? await keysBeside(objects) : []);
    const onProgress = (checked: number, size: number): void => {
      if (process.stderr.isTTY) process.stderr.write(`\r${Math.floor((100 * checked) / size)} % of ${size.toLocaleString('en')} leaves `);
    };
    const withheld = flag(invocation, 'without-payloads') ? PAYLOAD_CLASSES : [];
    const report = await verifying({ objects, trust, withheld, patienceMs: PATIENCE_MS, onProgress });
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    return report;
  } catch (error) {
    if (error instanceof StorageError) throw new CommandError(`The log cannot be read: ${printable(error.message)}`);
    throw error;
  } finally {
    await objects.close();
  }
}

/** @param beside the keys that lie beside the log, where there is one */
function trustOf(invocation: Invocation, beside: readonly VerifierKey[] | undefined): Trust {
  const key = text(invocation, 'key');
  if (key === undefined && beside?.length === 0) throw new CommandError('No key lies beside the log: name one with --key.');
  const [origin, checkpoint, remember, witness] = (['origin', 'checkpoint', 'remember', 'witness'] as const).map((name) =>
    text(invocation, name),
  );
  if (checkpoint !== undefined && remember !== undefined) throw new CommandError('--checkpoint or --remember, not both.', 2);
  const kept = checkpoint ?? (remember !== undefined && existsSync(remember) ? remember : undefined);
  const witnesses = witness === undefined ? undefined : keysOf('--witness', witness);
  if (witness === undefined && text(invocation, 'quorum') !== undefined)
    throw new CommandError('--quorum says how many of the witnesses that --witness names.', 2);
  const quorum = Number(text(invocation, 'quorum') ?? witnesses?.length ?? 0);
  if (witnesses !== undefined && !(Number.isInteger(quorum) && quorum >= 1 && quorum <= witnesses.length))
    throw new CommandError(`--quorum is a number from 1 to ${witnesses.length}, the number of witnesses.`, 2);
  return {
    keys: key === undefined ? (beside ?? []) : keysOf('--key', key),
    keysAreTheLogsOwn: key === undefined,
    ...(origin !== undefined && { origin }),
    ...(kept !== undefined && { remembered: readFile(kept) }),
    ...(witnesses !== undefined && { witnesses: { keys: witnesses, quorum } }),
  };
}

/** A key, or a file with one on each line. */
function keysOf(option: string, given: string): VerifierKey[] {
  const isFile = existsSync(given);
  const keys = (isFile ? readFile(given).split('\n') : [given]).flatMap((each, i) => {
    // The list that lies beside a log says also from which leaf on a key signs.
    const line = each.trim().replace(/^\d+ /, '');
    return line === '' || line.startsWith('#') ? [] : [keyOf(isFile ? `${option}: ${given}, line ${i + 1}` : option, line)];
  });
  if (keys.length === 0) throw new CommandError(`${option}: there is no key in ${given}.`);
  return keys;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): CommandError =>
  new CommandError(`${path} cannot be read: ${printable((error as Error).message)}`);

/** Of a log that is not verified nothing is kept. @returns what was done */
function remembering(path: string, report: Report): string {
  if (!report.verified) return existsSync(path) ? `${path} stays as it was.` : `Nothing is kept in ${path}.`;
  try {
    keep(path, report);
    return `${path}: the checkpoint of ${report.size.toLocaleString('en')} leaves is kept; the log must go on from it when it is verified with --remember ${path} again.`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The old one or the new one, never half of one. Throws a `CommandError`. */
function keep(path: string, { checkpoint, size }: Report): void {
  try {
    writeFileSync(`${path}.new`, checkpoint);
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw new CommandError(`${path}: the checkpoint of ${size.toLocaleString('en')} leaves is not kept: ${(error as Error).message}`);
  }
}
