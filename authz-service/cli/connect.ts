/** `sluice connect`: a local port that leads to a target behind the gateway, for any client, without a password. */
import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import type { Config, Listener } from '../config/config.ts';
import { type Connector, startConnector } from '../connect/connector.ts';
import type { Gateway, GatewayTls } from '../connect/tunnel.ts';
import { managedIdentity, workloadIdentity } from '../credential/azure.ts';
import { tokenOfCommand, tokenOfFile, tokenOfVariable } from '../credential/token_program.ts';
import { keptToken, type Token, type TokenSource } from '../credential/token_source.ts';
import { printable } from '../replay/printable.ts';
import { bearerToken } from './bearer_token.ts';
import { type Command, CommandError, complain, flag, type Invocation, say, text } from './command.ts';
import { byClientCredentials, discover } from './oauth.ts';
import { clientConfig, isLoopback, placeDetails, placeOptions } from './place.ts';

export const connect: Command = {
  name: 'connect',
  usage: 'TARGET [--gateway https://HOST:PORT] [--listen 127.0.0.1:PORT] …',
  summary: 'open a local port to a target, for clients that know no token',
  details: [
    ['-c, --config FILE', placeDetails[0][1]],
    ['--gateway URL', 'the gateway, in place of a configuration: https://HOST:PORT, or http:// on loopback'],
    ['--ca FILE', "the CA of the gateway's certificate, PEM; default: the system's"],
    ['--certificate, --key FILE', 'a client certificate, where the gateway asks for one'],
    ['-l, --listen WHERE', 'a loopback address with a port, or the path of a Unix socket; default 127.0.0.1:5432'],
    ['(no token option)', '$SLUICE_TOKEN, else the log-in of ./sluice login'],
    ['--client-id ID', 'as an OAuth client of --issuer, with --client-secret-file'],
    ['--issuer URL', 'whose client; --scope and --resource say what to ask for'],
    ['--client-secret-file FILE', 'its secret; else $SLUICE_CLIENT_SECRET'],
    ['--managed-identity', "as this machine's managed identity in Azure; --resource URI says for whom, --client-id which"],
    ['--workload-identity', 'by workload identity federation with Entra; --resource URI says for whom'],
    ['--token-command COMMAND', 'the token is what this prints; run again before the token ends'],
    ['--token-file FILE', 'the token is in a file, which somebody renews'],
    ['--token-env NAME', 'the token is in an environment variable'],
  ],
  options: {
    config: placeOptions.config,
    listen: { type: 'string', short: 'l' },
    'managed-identity': { type: 'boolean' },
    'workload-identity': { type: 'boolean' },
    ...Object.fromEntries(
      [
        'gateway',
        'ca',
        'certificate',
        'key',
        'issuer',
        'client-id',
        'client-secret-file',
        'scope',
        'resource',
        'token-command',
        'token-file',
        'token-env',
      ].map((name) => [name, { type: 'string' as const }]),
    ),
  },
  takes: [1, 1],
  run: async (invocation) => {
    const [target = ''] = invocation.positionals;
    if (!/^[A-Za-z0-9][\w.-]*$/.test(target)) throw new CommandError(`'${printable(target)}' is no name of a target`, 2);
    const listen = whereToListen(text(invocation, 'listen') ?? '127.0.0.1:5432');
    const token = tokenSource(invocation);
    const gateway = gatewayOf(invocation, target);
    // What is wrong with the token is found before the first client comes.
    await token();
    const connector = await startConnector({ gateway, target, token, listen, onProblem: (line) => complain(printable(line)) }).catch(
      (error: NodeJS.ErrnoException) => {
        throw new CommandError(
          `${'path' in listen ? listen.path : `${listen.host}:${listen.port}`} cannot be listened on: ${error.code ?? error.message}`,
        );
      },
    );
    say(
      `${target} is at ${'path' in listen ? listen.path : `${listen.host}:${connector.port}`}, through ${gateway.host}:${gateway.port}. Ctrl-C ends it.`,
    );
    return await untilSignal(connector);
  },
};

async function untilSignal(connector: Connector): Promise<number> {
  await new Promise<void>((settle) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => settle());
  });
  await connector.close();
  return 0;
}

/** Loopback only: whoever reaches the port has the connector's identity. */
function whereToListen(where: string): { readonly host: string; readonly port: number } | { readonly path: string } {
  if (where.includes('/')) {
    const path = isAbsolute(where) ? where : resolve(where);
    if (existsSync(path)) throw new CommandError(`${path} exists already`, 2);
    return { path };
  }
  const [, host = '', port = ''] = /^(\[::1\]|[\w.]+):(\d{1,5})$/.exec(where) ?? [];
  if (isLoopback(host) && Number(port) <= 65_535) return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
  throw new CommandError('--listen is a loopback address with a port, such as 127.0.0.1:5432, or the path of a Unix socket', 2);
}

/** Where CONNECT is sent: as the options say, else through the listener that the configuration calls the target's tunnel. */
export function gatewayOf(invocation: Invocation, target: string): Gateway {
  const named = text(invocation, 'gateway');
  const tls = tlsOf(invocation);
  if (named === undefined) return tunnelOf(clientConfig(invocation), target, tls);
  const url = URL.parse(named);
  if (
    url === null ||
    url.pathname !== '/' ||
    url.username !== '' ||
    (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname)))
  )
    throw new CommandError(`${printable(named)} is no address of a gateway: it is https://HOST:PORT, or http:// on loopback`, 2);
  const secure = url.protocol === 'https:';
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || (secure ? 443 : 80)), tls: secure ? tls : undefined };
}

function tunnelOf(config: Config, target: string, tls: GatewayTls): Gateway {
  const found = config.targets.find(({ name }) => name === target);
  if (found?.protocol !== 'postgres') {
    const names = config.targets.filter(({ protocol }) => protocol === 'postgres').map(({ name }) => name);
    throw new CommandError(
      `There is no database '${target}' in ${config.file}; there ${names.length === 0 ? 'is none' : `are ${names.join(', ')}`}`,
      2,
    );
  }
  const listener = config.listeners.find(({ name }) => name === found.tunnel);
  if (!listener) throw new CommandError(`The target '${target}' has no \`tunnel\` in ${config.file}: nothing leads to it by CONNECT`);
  return { ...reachable(listener), tls: listener.tls ? tls : undefined };
}

/** The address of a listener as a client on the same machine dials it. */
export const reachable = ({ address }: Listener): { readonly host: string; readonly port: number } => ({
  host: address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host,
  port: address.port,
});

export function tlsOf(invocation: Invocation): GatewayTls {
  const read = (name: string): string | undefined => {
    const file = text(invocation, name);
    try {
      return file === undefined ? undefined : readFileSync(file, 'utf8');
    } catch (error) {
      throw new CommandError(`--${name}: ${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
    }
  };
  const [ca, certificate, key] = [read('ca'), read('certificate'), read('key')];
  if ((certificate === undefined) !== (key === undefined)) throw new CommandError('--certificate and --key belong together', 2);
  return { ...(ca !== undefined && { ca }), ...(certificate !== undefined && key !== undefined && { certificate, key }) };
}

/** Each way to a token that the options can name, by what they name it with. */
const SOURCES: Readonly<Record<string, (invocation: Invocation) => () => Promise<Token>>> = {
  'managed-identity': (invocation) => {
    const identity = azureIdentity(invocation);
    return () => managedIdentity(identity, process.env);
  },
  'workload-identity': (invocation) => {
    const identity = azureIdentity(invocation);
    return () => workloadIdentity(identity, process.env);
  },
  'token-command': (invocation) => () => tokenOfCommand(text(invocation, 'token-command') ?? ''),
  'token-file': (invocation) => () => tokenOfFile(text(invocation, 'token-file') ?? ''),
  'token-env': (invocation) => () => tokenOfVariable(text(invocation, 'token-env') ?? ''),
};

function tokenSource(invocation: Invocation): TokenSource {
  const named = Object.keys(SOURCES).filter((name) => text(invocation, name) !== undefined || flag(invocation, name));
  if (named.length > 1) throw new CommandError(`${named.map((name) => `--${name}`).join(' and ')} exclude each other`, 2);
  const [name = ''] = named;
  const source = SOURCES[name];
  if (source) return keptToken(source(invocation));
  if (text(invocation, 'client-id') !== undefined) return keptToken(clientCredentials(invocation));
  if (text(invocation, 'issuer') !== undefined) throw new CommandError('--issuer goes with --client-id', 2);
  return shared(bearerToken);
}

/** A log-in is renewed by one at a time: an issuer that rotates refresh tokens takes each once. */
function shared(source: TokenSource): TokenSource {
  let asking: Promise<string> | undefined;
  return () =>
    (asking ??= source().finally(() => {
      asking = undefined;
    }));
}

function azureIdentity(invocation: Invocation) {
  const resource = text(invocation, 'resource');
  if (!resource) throw new CommandError('say with --resource URI whom the token is for, such as api://sluice', 2);
  return { resource, clientId: text(invocation, 'client-id') ?? '' };
}

function clientCredentials(invocation: Invocation): () => Promise<Token> {
  const [issuer, id, file] = ['issuer', 'client-id', 'client-secret-file'].map((name) => text(invocation, name));
  if (!issuer || !id) throw new CommandError('a client needs --issuer URL and --client-id ID', 2);
  if (!file && !process.env.SLUICE_CLIENT_SECRET)
    throw new CommandError('the secret of the client comes from --client-secret-file, or from $SLUICE_CLIENT_SECRET', 2);
  const asked = { scope: text(invocation, 'scope') ?? '', resource: text(invocation, 'resource') ?? '' };
  return async () => {
    // Read each time: a secret that was changed is good for the next token.
    const secret = file ? (await tokenOfFile(file)).value : (process.env.SLUICE_CLIENT_SECRET ?? '');
    const { accessToken, expiresIn } = await byClientCredentials(await discover(issuer), { id, secret }, asked);
    return { value: accessToken, expiresAt: expiresIn > 0 ? Date.now() + expiresIn * 1000 : 0 };
  };
}
