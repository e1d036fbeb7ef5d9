/** Finds the command, reads its arguments, runs it, and says what went wrong. */
import { parseArgs } from 'node:util';
import { type Command, CommandError, complain, type Invocation, say } from './command.ts';
import { COMMANDS } from './commands.ts';

const WIDTH = 26;

const row = ([left, right]: readonly [string, string]): string =>
  left.length < WIDTH ? `  ${left.padEnd(WIDTH)}${right}` : `  ${left}\n  ${' '.repeat(WIDTH)}${right}`;

function help(command: Command | undefined): string {
  if (command)
    return [
      `sluice ${command.name} ${command.usage}`.trimEnd(),
      `  ${command.summary}`,
      ...(command.details.length > 0 ? ['', ...command.details.map(row)] : []),
    ].join('\n');
  return [
    'sluice COMMAND …',
    '',
    ...COMMANDS.map(({ name, summary }) => row([name, summary])),
    '',
    'sluice help COMMAND, or sluice COMMAND --help, tells more.',
  ].join('\n');
}

function parse(command: Command, args: readonly string[]): Invocation & { readonly help: boolean } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { ...command.options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
      strict: true,
    });
    const [least, most] = command.takes;
    if (values.help !== true && positionals.length < least) throw new CommandError('an argument is missing', 2);
    if (positionals.length > most) throw new CommandError(`there is no argument '${positionals[most]}'`, 2);
    return { values: values as Invocation['values'], positionals, help: values.help === true };
  } catch (error) {
    throw new CommandError(`${(error as Error).message}\nUsage: sluice ${command.name} ${command.usage}`.trimEnd(), 2);
  }
}

async function dispatch([name = 'help', ...args]: readonly string[]): Promise<number> {
  if (name === 'help' || name === '--help' || name === '-h') {
    const [about] = args;
    if (about !== undefined && !COMMANDS.some((command) => command.name === about))
      throw new CommandError(`there is no command '${about}'\n\n${help(undefined)}`, 2);
    say(help(COMMANDS.find((command) => command.name === about)));
    return 0;
  }
  const command = COMMANDS.find((one) => one.name === (name === '--version' ? 'version' : name));
  if (!command) throw new CommandError(`there is no command '${name}'\n\n${help(undefined)}`, 2);
  const invocation = parse(command, args);
  if (!invocation.help) return await command.run(invocation);
  say(help(command));
  return 0;
}

/** @returns the exit code */
export async function run(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args);
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
    return error instanceof CommandError ? error.exitCode : 1;
  }
}
