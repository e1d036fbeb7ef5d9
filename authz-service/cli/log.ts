/** `sluice log`: the keys that sign the record, and the record made anew from a replica. Reads and writes files of this machine; no service is asked. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LogError } from '../log/error.ts';
import { addKey, parseSigners, writeNewKey } from '../log/keys.ts';
import { printable } from '../replay/printable.ts';
import { StorageError } from '../storage/object_store.ts';
import { TlogError } from '../tlog/error.ts';
import { formatVerifierKey, type SignerKey } from '../tlog/note.ts';
import { type Command, CommandError, complain, type Invocation, say, text } from './command.ts';
import { clientConfig, placeDetails, placeOptions } from './place.ts';

export const log: Command = {
  name: 'log',
  usage: 'key show | key generate FILE --name NAME | key rotate | restore [FROM] [--checkpoint FILE] [--sign-beyond SIZE]',
  summary: 'the keys that sign the record: show, make, change them; restore the record from a replica',
  details: [
    ['key show', "the log's public keys, for `sluice verify --key`; which of them sign, and since when"],
    ['key generate FILE', 'a new private key in a file that is not there yet, for `tap.key`'],
    ['--name NAME', "with generate: the log's name, as gateway.example.com/sluice; never to be changed"],
    ['key rotate', 'add a new key behind those that sign; it signs from the next start on'],
    [
      'restore [FROM]',
      'make the record anew from a replica of the configuration, by its name, or from a folder; there must be none, and the service must not run',
    ],
    ['--checkpoint FILE', 'with restore: a checkpoint that you have kept, which the record must go on from'],
    [
      '--sign-beyond SIZE',
      'with restore: go on with leaves behind the checkpoint of the copy, which nobody has signed, up to this size; the record tells of it',
    ],
    placeDetails[0],
  ],
  options: { config: placeOptions.config, name: { type: 'string' }, checkpoint: { type: 'string' }, 'sign-beyond': { type: 'string' } },
  takes: [1, 3],
  run: async (invocation) => {
    const [what, verb, file] = invocation.positionals;
    try {
      if (what === 'key' && verb === 'show' && file === undefined) return show(invocation);
      if (what === 'key' && verb === 'rotate' && file === undefined) return rotate(invocation);
      if (what === 'key' && verb === 'generate' && file !== undefined) return generate(file, text(invocation, 'name'));
      if (what === 'restore' && file === undefined) return await (await import('./log_restore.ts')).restore(invocation, verb);
    } catch (error) {
      if (isTold(error)) throw new CommandError(printable(error.message));
      throw error;
    }
    throw new CommandError(`say: sluice log ${log.usage}`, 2);
  },
};

/** Whether the message is for who runs the command. */
const isTold = (error: unknown): error is Error =>
  error instanceof LogError ||
  error instanceof TlogError ||
  error instanceof StorageError ||
  (error as NodeJS.ErrnoException).syscall !== undefined;

interface Places {
  /** Where the private keys are. */
  readonly source: { readonly env: string } | { readonly file: string };
  /** Each key that has signed what is published, and from which leaf on. */
  readonly published: string;
}

function places(invocation: Invocation): Places {
  const { stateDir, tap } = clientConfig(invocation);
  return { source: tap.key ?? { file: join(stateDir, 'tap', 'key') }, published: join(stateDir, 'tap', 'log', 'keys') };
}

/** Keys and remarks on them, as a file that `sluice verify --key` reads. */
function show(invocation: Invocation): number {
  const { source, published } = places(invocation);
  const signed = existsSync(published) ? readFileSync(published, 'utf8').split(/\r?\n/).filter(Boolean) : [];
  const signers = privateKeys(source);
  const own = signers?.map(({ verifier }) => formatVerifierKey(verifier));
  for (const line of signed) {
    const [from = '', key = ''] = line.split(' ');
    say(`# has signed from leaf ${from} on${own === undefined || own.includes(key) ? '' : '; its private key is not there any more'}`);
    say(key);
  }
  const known = new Set(signed.map((line) => line.split(' ')[1]));
  for (const key of own?.filter((each) => !known.has(each)) ?? []) say(`# signs from the next start of the service on\n${key}`);
  if (signed.length > 0 || own !== undefined) return 0;
  throw new CommandError(`There is no log yet, and no key at ${'file' in source ? source.file : `environment variable ${source.env}`}.`);
}

/** `undefined` where they are not to be had here: they may be for the service alone. */
function privateKeys(source: Places['source']): readonly SignerKey[] | undefined {
  if ('env' in source) {
    const value = process.env[source.env];
    return value === undefined ? undefined : parseSigners(value);
  }
  if (!existsSync(source.file)) return undefined;
  try {
    return parseSigners(readFileSync(source.file, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    complain(`${source.file} cannot be read by this user: keys that have not signed yet are not shown.`);
    return undefined;
  }
}

function generate(file: string, name: string | undefined): number {
  if (name === undefined) throw new CommandError('say what the log is called: sluice log key generate FILE --name NAME', 2);
  if (existsSync(file)) throw new CommandError(`${file} is there already; nothing was written.`);
  const { verifier } = writeNewKey(file, name);
  complain(
    `${file} has the private key: name it in tap.key, and keep a copy where the gateway is not. This is the public key, for who verifies:`,
  );
  say(formatVerifierKey(verifier));
  return 0;
}

function rotate(invocation: Invocation): number {
  const { source } = places(invocation);
  if ('env' in source)
    throw new CommandError(
      `The keys are in the environment variable ${source.env}: make one with 'sluice log key generate FILE --name NAME', with the same name, and put its line behind those that are there.`,
    );
  const { verifier } = addKey(source.file);
  complain(
    [
      `${source.file} has one more private key, on its last line. Its public key is on standard output. What is left to do:`,
      '1. Restart the service: from then on all keys of the file sign.',
      '2. Give the public key to all who verify, and to the witnesses.',
      '3. When they have it, and not before: remove the old line from the file and restart the service again.',
      '   Old checkpoints stay verifiable with the old public key, which stays in the list beside the log.',
    ].join('\n'),
  );
  say(formatVerifierKey(verifier));
  return 0;
}
