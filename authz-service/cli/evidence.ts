/** `sluice evidence`: one session as a file that proves itself, for those who have no access to the gateway. */
import { createWriteStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { EvidenceError } from '../evidence/bundle.ts';
import { collectEvidence, proofFiles, writePage } from '../evidence/collect.ts';
import { LogError } from '../log/error.ts';
import { printable } from '../replay/printable.ts';
import { StorageError } from '../storage/object_store.ts';
import { TlogError } from '../tlog/error.ts';
import { formatVerifierKey } from '../tlog/note.ts';
import { extentInWords, missingInWords } from '../verify/report.ts';
import { type Command, CommandError, flag, type Invocation, say, text } from './command.ts';
import { placeDetails, placeOptions } from './place.ts';
import { isSessionName, keysBeside, logDetail, publishedLog } from './published_log.ts';

/** What is said of a checkpoint. */
export const BY_WITNESSES = ' that witnesses have cosigned';

export const evidence: Command = {
  name: 'evidence',
  usage: 'SESSION [--out FILE] [--without-payloads] [--proofs DIR] [--log WHERE]',
  summary: 'one session as a file that proves itself, without the gateway',
  details: [
    ['SESSION', 'as `sluice sessions` lists it'],
    ['-o, --out FILE', 'where to; default SESSION.evidence.html. `sluice verify FILE` verifies it'],
    ['--proofs DIR', 'also each leaf and its proof (c2sp.org/tlog-proof@v1), for tools that others wrote'],
    ['--without-payloads', 'leave recorded payload out: its leaves alone prove that there was some'],
    logDetail,
    ['--force', 'write over files that are there'],
    placeDetails[0],
  ],
  options: {
    config: placeOptions.config,
    out: { type: 'string', short: 'o' },
    proofs: { type: 'string' },
    log: { type: 'string' },
    'without-payloads': { type: 'boolean' },
    force: { type: 'boolean' },
  },
  takes: [1, 1],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const session = invocation.positionals[0] ?? '';
  const out = text(invocation, 'out') ?? `${session}.evidence.html`;
  if (!isSessionName(session)) throw new CommandError(`${JSON.stringify(session)} is no session's name.`, 2);
  if (existsSync(out) && !flag(invocation, 'force')) throw new CommandError(`${out} is there already: name another file, or say --force.`);
  const proofs = text(invocation, 'proofs');
  // One of its files is called `checkpoint`, as one of a published log is.
  if (proofs !== undefined && !flag(invocation, 'force') && existsSync(proofs) && readdirSync(proofs).length > 0)
    throw new CommandError(`${proofs} is not empty: name another directory, or say --force.`);
  const objects = publishedLog(invocation);
  const payloads = !flag(invocation, 'without-payloads');
  try {
    const keys = (await keysBeside(objects)).map(formatVerifierKey);
    const found = await collectEvidence({ objects, session, keys, payloads });
    if (proofs !== undefined) {
      mkdirSync(proofs, { recursive: true });
      writeFileSync(join(proofs, 'checkpoint'), found.head.checkpoint);
    }
    const page = writePage(found, (leaf) => {
      if (proofs !== undefined) for (const [name, bytes] of proofFiles(found.head, leaf)) writeFileSync(join(proofs, name), bytes);
    });
    const bytes = await writeWhole(out, page);
    say(
      `${out}: ${found.head.extent.events} events of ${session}, proven against a checkpoint of ${printable(found.head.origin)}${found.witnessed ? BY_WITNESSES : ''}.`,
    );
    say(`The session: ${printable(extentInWords(found.head.extent))}.`);
    if (bytes > OPENED_BYTES && payloads)
      say(`It has ${Math.round(bytes / 1e6)} MB, more than browsers like to open: --without-payloads leaves recorded payload out.`);
    const { missing } = found.head;
    if (missing !== undefined) say(`Not on it, their leaves remaining: ${missingInWords(missing)}.`);
    say(`Verify it anywhere: sluice verify ${out} --key KEY`);
    return missing === undefined || missing.unexplained === 0 ? 0 : INCOMPLETE;
  } catch (error) {
    if (error instanceof EvidenceError || error instanceof LogError || error instanceof StorageError || error instanceof TlogError)
      throw new CommandError(`There is no evidence: ${printable(error.message)}`);
    throw error;
  } finally {
    await objects.close();
  }
}

/** As of `sluice verify`: the page is there, and events that were recorded are not. */
export const INCOMPLETE = 4;

/** Pages beyond this are hard on a browser. */
const OPENED_BYTES = 100e6;

/** All of it, or no file of this name. @returns bytes */
export async function writeWhole(path: string, pieces: AsyncIterable<string>): Promise<number> {
  const unfinished = `${path}.unfinished`;
  try {
    const file = createWriteStream(unfinished, { highWaterMark: 1 << 20 });
    await pipeline(pieces, file);
    renameSync(unfinished, path);
    return file.bytesWritten;
  } catch (error) {
    rmSync(unfinished, { force: true });
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new CommandError(`${path} cannot be written: ${(error as Error).message}`);
  }
}
