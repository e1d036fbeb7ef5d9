/** What a command of `sluice` is, and how one ends. */
import type { ParseArgsOptionsConfig } from 'node:util';
import { printableLines } from '../replay/printable.ts';

export interface Invocation {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
}

export interface Command {
  readonly name: string;
  /** Its arguments, as in the usage line. */
  readonly usage: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Further help: one row for each option or argument. */
  readonly details: readonly (readonly [string, string])[];
  readonly options: ParseArgsOptionsConfig;
  /** How many positional arguments it takes, at least and at most. */
  readonly takes: readonly [number, number];
  /** @returns the exit code */
  readonly run: (invocation: Invocation) => number | Promise<number>;
}

/** Ends the command with a message. Exit code 1: it could not be done; 2: it was not said right; 3: it takes a (new) log-in. */
export class CommandError extends Error {
  readonly exitCode: 1 | 2 | 3;
  constructor(message: string, exitCode: 1 | 2 | 3 = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

export const text = ({ values }: Invocation, name: string): string | undefined => {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
};

export const flag = ({ values }: Invocation, name: string): boolean => values[name] === true;

export const say = (line: string): void => void process.stdout.write(`${line}\n`);
/** What others wrote may stand in it. */
export const complain = (line: string): void => void process.stderr.write(`${printableLines(line)}\n`);
