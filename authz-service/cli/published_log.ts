/** Where a published log lies that `verify`, `evidence` and `log restore` read, also when no service runs. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '../custody/stores.ts';
import { listedKey, MAX_LIST_BYTES } from '../log/keys.ts';
import { KEYS_PATH } from '../log/replicator.ts';
import { printable } from '../replay/printable.ts';
import { localFiles } from '../storage/local_files.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import type { TlogError } from '../tlog/error.ts';
import { parseVerifierKey, type VerifierKey } from '../tlog/note.ts';
import { CommandError, type Invocation, text } from './command.ts';
import { clientConfig } from './place.ts';

type Config = ReturnType<typeof clientConfig>;

/** For the commands that take it. */
export const logDetail = [
  '--log WHERE',
  "the published log: a folder with it or with a copy of it, or a replica of the configuration by its name, read where it lies; default that of the configuration's state_dir",
] as const;

/** What `--log` names. Throws a `CommandError` when nothing is there. */
export function publishedLog(invocation: Invocation): ObjectStore {
  const named = text(invocation, 'log');
  if (named === undefined) return folder(join(clientConfig(invocation).stateDir, 'tap', 'log'));
  // A folder, as it is found without a configuration; a name that is a replica's too is that folder.
  if (existsSync(named)) return folder(named);
  if (/[/\\]/.test(named)) throw new CommandError(`There is no log at ${named}.`);
  const config = clientConfig(invocation);
  const replica = replicaOf(config, named);
  if (replica !== undefined) return replica;
  throw new CommandError(`There is no folder ${named}, and no such replica: ${namesOf(config)}.`);
}

/** The replica of that name, or the only one that there is when none is named. */
export function replicaOf({ tap }: Config, named: string | undefined): ObjectStore | undefined {
  const { replicas } = tap;
  const found = named === undefined && replicas.length === 1 ? replicas[0] : replicas.find(({ name }) => name === named);
  return found && openStore(found);
}

export const namesOf = ({ tap }: Config): string =>
  tap.replicas.length === 0 ? 'the configuration has none' : `the configuration has ${tap.replicas.map(({ name }) => name).join(', ')}`;

function folder(path: string): ObjectStore {
  if (!existsSync(path)) throw new CommandError(`There is no log at ${path}.`);
  if (!statSync(path).isDirectory()) throw new CommandError(`${path} is a file: a log is a folder.`);
  return localFiles(path);
}

/** The keys of the list `keys` beside a log: a line for each, `FROM-INDEX KEY`. Throws a `CommandError` that names file and line. */
export async function keysBeside(objects: ObjectStore): Promise<VerifierKey[]> {
  const bytes = await objects.get(KEYS_PATH);
  if (bytes !== undefined && bytes.length > MAX_LIST_BYTES)
    throw new CommandError(`${objects.url}/${KEYS_PATH} has ${bytes.length} bytes, which is no list of keys: name the log's with --key.`);
  const list = bytes?.toString('utf8') ?? '';
  return list.split('\n').flatMap((line, i) => {
    const key = listedKey(line);
    return key === undefined ? [] : [keyOf(`${objects.url}/${KEYS_PATH}, line ${i + 1}`, key)];
  });
}

export function keyOf(where: string, line: string): VerifierKey {
  try {
    return parseVerifierKey(line);
  } catch (error) {
    throw new CommandError(`${where}: ${printable((error as TlogError).message)}`);
  }
}

/** As the service names sessions; nothing of it leads out of a directory. */
export const isSessionName = (text: string): boolean => /^[\w.:-]{1,128}$/.test(text);
