/** `sluice sql`: SQL through the gateway, as any PostgreSQL client sends it. */
import { createInterface, type Interface } from 'node:readline';
import type { PostgresTarget } from '../config/config.ts';
import { startConnector } from '../connect/connector.ts';
import { printable } from '../replay/printable.ts';
import { bearerToken } from './bearer_token.ts';
import { type Command, CommandError, type Invocation, say, text } from './command.ts';
import { gatewayOf, reachable, tlsOf } from './connect.ts';
import { clientConfig, placeDetails, placeOptions } from './place.ts';
import type { Door, SqlSession } from './sql_session.ts';

export const sql: Command = {
  name: 'sql',
  usage: '[--target NAME] [STATEMENT]',
  summary: 'send SQL through the gateway, as you are logged in',
  details: [
    ['STATEMENT', 'runs it; without one, a prompt: a statement ends with the line that ends with `;`, \\q ends'],
    ['-t, --target NAME', 'the database; default: the only one of the configuration'],
    ['--ca FILE', "the CA of the gateway's certificate, PEM; default: the system's"],
    ['--certificate, --key FILE', 'a client certificate, where the gateway asks for one'],
    ['Ctrl-C', 'cancels the statement, also one that is held'],
    ['-c, --config FILE', placeDetails[0][1]],
    ['$SLUICE_TOKEN', 'an access token in place of the log-in of ./sluice login'],
  ],
  options: {
    config: placeOptions.config,
    target: { type: 'string', short: 't' },
    ca: { type: 'string' },
    certificate: { type: 'string' },
    key: { type: 'string' },
  },
  takes: [0, 1],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const [statement] = invocation.positionals;
  const { listeners, targets } = clientConfig(invocation);
  const target = chosen(
    targets.filter((one) => one.protocol === 'postgres'),
    text(invocation, 'target'),
  );
  const token = await bearerToken();
  const listener = listeners.find(({ name }) => name === target.listener);
  const door = listener
    ? { ...reachable(listener), tls: listener.tls ? tlsOf(invocation) : undefined, password: token, close: async () => {} }
    : await tunnelled(invocation, target.name, token);
  try {
    const { SqlSession } = await import('./sql_session.ts');
    const session = await SqlSession.open(door, target.database);
    try {
      return statement === undefined ? await prompt(session, target.name) : await once(session, statement);
    } finally {
      await session.close();
    }
  } finally {
    await door.close();
  }
}

function chosen(databases: readonly PostgresTarget[], name: string | undefined): PostgresTarget {
  const found = name === undefined && databases.length === 1 ? databases[0] : databases.find((one) => one.name === name);
  if (found) return found;
  const names = databases.map((one) => one.name).join(', ');
  if (names === '') throw new CommandError('There is no database in this configuration: a target with `protocol: postgres`');
  throw new CommandError(
    name === undefined ? `Say which database with --target: ${names}` : `There is no database '${printable(name)}'; there are ${names}`,
    2,
  );
}

async function tunnelled(invocation: Invocation, target: string, token: string): Promise<Door> {
  const connector = await startConnector({
    gateway: gatewayOf(invocation, target),
    target,
    token: async () => token,
    listen: { host: '127.0.0.1', port: 0 },
  });
  return { host: '127.0.0.1', port: connector.port, tls: undefined, password: undefined, close: () => connector.close() };
}

async function once(session: SqlSession, statement: string): Promise<number> {
  const cancel = (): void => session.cancel();
  process.on('SIGINT', cancel);
  try {
    return (await session.run(statement)) ? 0 : 1;
  } finally {
    process.off('SIGINT', cancel);
  }
}

/** Statements from standard input, one after another; at a terminal, with a prompt. @returns the exit code: of the last statement where nobody sees them fail */
async function prompt(session: SqlSession, name: string): Promise<number> {
  const terminal = process.stdin.isTTY === true;
  const lines: Interface = createInterface({ input: process.stdin, ...(terminal && { output: process.stdout, historySize: 100 }) });
  let [statement, running, failed] = ['', false, false];
  const ask = (): void => {
    lines.setPrompt(`${name}${statement === '' ? '=>' : '->'} `);
    if (terminal) lines.prompt();
  };
  const interrupted = (): void => {
    if (running) session.cancel();
    else {
      statement = '';
      say('');
      ask();
    }
  };
  lines.on('SIGINT', interrupted);
  process.on('SIGINT', interrupted);
  const execute = async (): Promise<void> => {
    running = true;
    if (!(await session.run(statement))) failed = true;
    [statement, running] = ['', false];
  };
  try {
    ask();
    for await (const line of lines) {
      if (statement === '' && ['\\q', 'exit', 'quit'].includes(line.trim())) break;
      if (statement !== '' || line.trim() !== '') statement += `${line}\n`;
      if (line.trimEnd().endsWith(';')) await execute();
      if (session.ended) return 1;
      ask();
    }
    if (!terminal && statement.trim() !== '') await execute();
  } finally {
    process.off('SIGINT', interrupted);
    lines.close();
  }
  return failed && !terminal ? 1 : 0;
}
