/** Where the published log lies: what `verify` and `evidence` read, also when no service runs. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CommandError, type Invocation, text } from './command.ts';
import { clientConfig } from './place.ts';

/** Throws a `CommandError` when it is not there. */
export function logDirectory(invocation: Invocation): string {
  const directory = text(invocation, 'log') ?? join(clientConfig(invocation).stateDir, 'tap', 'log');
  if (existsSync(directory)) return directory;
  throw new CommandError(`There is no log at ${directory}.`);
}

/** As the service names sessions; nothing of it leads out of a directory. */
export const isSessionName = (text: string): boolean => /^[\w.:-]{1,128}$/.test(text);
