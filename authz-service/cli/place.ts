/** Which gateway a command is about: its configuration, or its admin API alone. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Config, formatConfigError, loadConfig } from '../config/config.ts';
import { CommandError, type Invocation, text } from './command.ts';

const DEMO = fileURLToPath(new URL('../../demo/sluice.yaml', import.meta.url));

export const placeOptions = { config: { type: 'string', short: 'c' }, admin: { type: 'string' } } as const;

export const placeDetails = [
  ['-c, --config FILE', 'the configuration; default $SLUICE_CONFIG, else ./sluice.yaml, else that of the demo'],
  ['--admin URL', "the admin API over TCP; default $SLUICE_ADMIN, else the Unix socket of the configuration's state_dir"],
] as const;

export function configFile(invocation: Invocation): string {
  const named = text(invocation, 'config') ?? process.env.SLUICE_CONFIG;
  if (named) return resolve(named);
  return existsSync('sluice.yaml') ? resolve('sluice.yaml') : DEMO;
}

/** The configuration as far as a client needs it: the service's secrets and certificates are not looked for. */
export function clientConfig(invocation: Invocation): Config {
  const loaded = loadConfig(configFile(invocation), { elsewhere: true });
  if (loaded.ok) return loaded.config;
  throw new CommandError(loaded.errors.map(formatConfigError).join('\n'));
}

export type AdminPlace = { readonly kind: 'socket'; readonly path: string } | { readonly kind: 'url'; readonly url: URL };

export function adminPlace(invocation: Invocation): AdminPlace {
  const named = text(invocation, 'admin') ?? process.env.SLUICE_ADMIN;
  if (!named) return { kind: 'socket', path: clientConfig(invocation).admin.socket };
  const url = URL.canParse(named) ? new URL(named) : undefined;
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname))) return { kind: 'url', url };
  throw new CommandError(`${named} is no address of an admin API: it is http:// on loopback, or https://`, 2);
}

export const isLoopback = (host: string): boolean => /^127(?:\.\d{1,3}){3}$/.test(host) || host === '[::1]' || host === 'localhost';
