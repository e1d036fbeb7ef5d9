/** sluice.yaml, parsed once and strictly: every error is found in one go and says where it is and what would be right. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { type Addressed, checkAcross } from './checks.ts';
import { type ConfigError, parseYaml, type Value } from './document.ts';
import { formatHostPort, type HostPort, type Reader } from './kinds.ts';
import { type Config, resolveDocument } from './resolve.ts';
import { SCHEMA } from './schema.ts';

export { type ConfigError, formatConfigError } from './document.ts';
export { formatHostPort, type HostPort, type Origin } from './kinds.ts';
export type { Config, Endpoint, HttpTarget, Listener, PostgresTarget, ServerTls, Target } from './resolve.ts';

export type ConfigResult = { readonly ok: true; readonly config: Config } | { readonly ok: false; readonly errors: readonly ConfigError[] };

export interface LoadOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The configuration is for another machine: files and secrets are not looked for here. */
  readonly elsewhere?: boolean;
  /** What is wrong with a custom masking pattern, or null. */
  readonly checkPattern?: (pattern: string) => string | null;
}

const MAX_BYTES = 4 * 1024 * 1024;

/** Reads and checks the file; secrets and certificates must be there, ports are not looked at. */
export function loadConfig(file: string, options: LoadOptions = {}): ConfigResult {
  const { errors, config } = read(file, options);
  return config && errors.length === 0 ? { ok: true, config } : { ok: false, errors: inOrder(errors) };
}

/** What is about to start: the service, or the service and its Envoy. */
export type Starting = 'service' | 'gateway';

/** As `loadConfig`; the ports that will be listened on must also be free. */
export async function loadConfigToStart(file: string, starting: Starting, options: LoadOptions = {}): Promise<ConfigResult> {
  const { errors, config, addresses, at } = read(file, options);
  // One after the other: two that overlap must not find each other.
  for (const { by, path, address } of addresses) {
    if (by === 'envoy' && starting === 'service') continue;
    const problem = await listenProblem(address);
    if (problem !== undefined) at(path, `${formatHostPort(address)} ${problem[0]}`, problem[1]);
  }
  return config && errors.length === 0 ? { ok: true, config } : { ok: false, errors: inOrder(errors) };
}

const inOrder = (errors: readonly ConfigError[]): ConfigError[] => errors.toSorted((a, b) => a.line - b.line || a.column - b.column);

interface Found {
  readonly errors: ConfigError[];
  readonly config: Config | undefined;
  /** What is listened on, as far as it could be read. */
  readonly addresses: readonly Addressed[];
  readonly at: (path: string, problem: string, remedy?: string) => void;
}

function read(file: string, { env = process.env, elsewhere = false, checkPattern }: LoadOptions): Found {
  const errors: ConfigError[] = [];
  const whole = (problem: string, remedy: string): Found => {
    errors.push({ file, line: 0, column: 0, path: '', problem, remedy });
    return { errors, config: undefined, addresses: [], at: () => {} };
  };
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return whole(
      `cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`,
      'must be a YAML file, by default sluice.yaml; --config names another',
    );
  }
  if (text.length > MAX_BYTES) return whole('is too long', 'must be at most 4 MiB');

  const { root, report, resolve: resolveNode } = parseYaml(text, file, errors);
  if (errors.length > 0) return { errors, config: undefined, addresses: [], at: () => {} };
  const reader: Reader = {
    report,
    resolve: resolveNode,
    directory: dirname(resolve(file)),
    env,
    elsewhere,
    places: new Map([['', root]]),
    paths: new WeakMap(),
    damaged: new WeakSet(),
    errorCount: () => errors.length,
  };
  const document = SCHEMA.read(root, reader);
  const at = (path: string, problem: string, remedy?: string): void => report(nearest(reader.places, path), problem, remedy);
  if (document === undefined) return { errors, config: undefined, addresses: [], at };
  const addresses = checkAcross(document, {
    at,
    pathOf: (object) => reader.paths.get(object) ?? '',
    whole: (object) => !reader.damaged.has(object),
    elsewhere,
    ...(checkPattern && { checkPattern }),
  });
  return { errors, config: errors.length === 0 ? resolveDocument(document, file) : undefined, addresses, at };
}

/** The place of a path, or of the nearest thing around it that was written. */
function nearest(places: ReadonlyMap<string, Value>, path: string): Value {
  for (let around = path; around !== ''; around = around.replace(/(?:\.?[^.[\]]+|\[[^\]]*\])$/, '')) {
    const place = places.get(around);
    if (place) return { ...place, path };
  }
  return { node: null, offset: 0, ...places.get(''), path };
}

/** Tries to listen. @returns problem and remedy, or undefined when it went well. */
function listenProblem({ host, port }: HostPort): Promise<[string, string] | undefined> {
  return new Promise((settle) => {
    const server = createServer();
    server.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'EADDRINUSE') settle(['is in use', 'end what listens there, or choose another port']);
      else if (code === 'EADDRNOTAVAIL') settle(['is not an address of this machine', 'must be one of its addresses, 0.0.0.0 or [::]']);
      else if (code === 'EACCES') settle(['may not be listened on by this user', 'choose a port from 1024, or grant the privilege']);
      else settle([`cannot be listened on: ${code}`, 'choose another address']);
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => settle(undefined)));
  });
}
