/** `sluice login` and `sluice logout`. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { decodeJwt } from 'jose';
import { printable, roughly } from '../replay/printable.ts';
import { claimsOf, toStore } from './bearer_token.ts';
import { type Command, CommandError, complain, type Invocation, say, text } from './command.ts';
import { type Asked, byClientCredentials, byDevice, discover, type Tokens } from './oauth.ts';
import { clientConfig, placeDetails, placeOptions } from './place.ts';
import { forgetToken, storeToken } from './token_store.ts';

/** The public client that an issuer registers for people at a command line. */
const PUBLIC_CLIENT = 'sluice-cli';

export const login: Command = {
  name: 'login',
  usage: '[--client ID | --token -] [--issuer NAME|URL]',
  summary: 'prove who you are, for approvals and sessions',
  details: [
    ['(no option)', 'in a browser, on any machine: the device flow'],
    ['--client ID', 'as an OAuth client, with its secret from $SLUICE_CLIENT_SECRET or typed in'],
    ['--token -', 'with an access token from standard input'],
    ['--issuer NAME|URL', 'one of the configuration by its name, or any; default: the first one of the configuration'],
    ['--client-id ID', `the public client of the device flow; default ${PUBLIC_CLIENT}`],
    ['--scope SCOPE', 'what to ask for; default with the device flow: openid offline_access'],
    ['--resource URI', 'whom the token is for (RFC 8707), where the issuer wants to know'],
    ['-c, --config FILE', placeDetails[0][1]],
    ['$SLUICE_TOKEN', 'an access token that every command uses in place of a log-in'],
  ],
  options: {
    ...placeOptions,
    client: { type: 'string' },
    token: { type: 'string' },
    issuer: { type: 'string' },
    'client-id': { type: 'string' },
    scope: { type: 'string' },
    resource: { type: 'string' },
  },
  takes: [0, 0],
  run: logIn,
};

export const logout: Command = {
  name: 'logout',
  usage: '',
  summary: 'forget the log-in',
  details: [],
  options: {},
  takes: [0, 0],
  run: () => {
    forgetToken();
    say('Logged out.');
    return 0;
  },
};

async function logIn(invocation: Invocation): Promise<number> {
  const [client, token] = [text(invocation, 'client'), text(invocation, 'token')];
  if (client !== undefined && token !== undefined) throw new CommandError('--client and --token exclude each other', 2);
  if (token !== undefined && token !== '-')
    throw new CommandError('a token does not stand on a command line, where others can read it: use --token - and standard input', 2);
  const stored = token === '-' ? await given() : await fetched(invocation, client);
  storeToken(stored);
  const { groups } = claimsOf(stored.accessToken);
  const until = stored.expiresAt > 0 ? `, for ${roughly(stored.expiresAt - Date.now())}${stored.refreshToken ? ', then renewed' : ''}` : '';
  say(`Logged in as ${printable(stored.name || 'somebody')}${groups.length > 0 ? ` (${printable(groups.join(', '))})` : ''}${until}.`);
  return 0;
}

async function given() {
  const accessToken = (await readAll(process.stdin)).trim();
  if (!/^[\w.~+/-]+=*$/.test(accessToken)) throw new CommandError('Standard input holds no token');
  const { exp = 0, iss = '' } = decoded(accessToken);
  return { ...toStore({ accessToken, expiresIn: 0, refreshToken: '' }, iss, '', ''), expiresAt: exp * 1000 };
}

const decoded = (token: string): { exp?: number; iss?: string } => {
  try {
    return decodeJwt(token);
  } catch {
    return {};
  }
};

async function fetched(invocation: Invocation, client: string | undefined) {
  const issuer = issuerOf(invocation);
  const endpoints = await discover(issuer);
  const asked = (scope: string): Asked => ({ scope: text(invocation, 'scope') ?? scope, resource: text(invocation, 'resource') ?? '' });
  let tokens: Tokens;
  let clientId = client ?? text(invocation, 'client-id') ?? PUBLIC_CLIENT;
  if (client === undefined) {
    tokens = await byDevice(endpoints, { id: clientId }, asked('openid offline_access'), ({ url, code }) =>
      say(`Open ${url}\nand confirm the code ${code}. Waiting …`),
    );
  } else {
    tokens = await byClientCredentials(endpoints, { id: client, secret: await clientSecret(client) }, asked(''));
    // A secret that is not kept cannot renew anything.
    clientId = client;
  }
  return toStore(tokens, issuer, clientId, client === undefined ? tokens.refreshToken : '');
}

function issuerOf(invocation: Invocation): string {
  const named = text(invocation, 'issuer');
  if (named !== undefined && URL.canParse(named)) return named;
  const { issuers } = clientConfig(invocation);
  const found = named === undefined ? issuers[0] : issuers.find(({ name }) => name === named);
  if (!found) throw new CommandError(`There is no issuer '${named}'; there are ${issuers.map(({ name }) => name).join(', ')}`, 2);
  if (found.kind !== 'entra') return found.issuer;
  return `${found.issuer.replace(/\/$/, '')}/${found.tenants?.[0] ?? 'organizations'}/v2.0`;
}

async function clientSecret(client: string): Promise<string> {
  const secret = process.env.SLUICE_CLIENT_SECRET;
  if (secret) return secret;
  if (!process.stdin.isTTY)
    throw new CommandError('The secret of the client comes from $SLUICE_CLIENT_SECRET, or is typed in at a terminal', 2);
  const typed = await question(`Secret of ${client}: `);
  if (typed === '') throw new CommandError('There is no log-in without the secret');
  return typed;
}

/** Asks without showing what is typed. */
function question(prompt: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const line = createInterface({ input: process.stdin, output: silent, terminal: true });
  process.stderr.write(prompt);
  return new Promise((settle) => {
    line.question('', (answer) => {
      line.close();
      complain('');
      settle(answer);
    });
    line.once('close', () => settle(''));
  });
}
