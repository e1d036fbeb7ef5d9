/** From the configuration to the files that Envoy reads. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import type { Config } from '../config/config.ts';
import { bootstrap } from './bootstrap.ts';
import { targetClusters } from './cluster.ts';
import { listeners, type Places } from './listener.ts';
import type { Message } from './message.ts';
import { routeConfigurations, routeFile } from './route.ts';
import { secretFiles } from './tls.ts';

/** Objects in the protobuf JSON mapping. A change of a target is a change of `cds` and `rds` alone. */
export interface EnvoyConfig {
  readonly bootstrap: Message;
  readonly lds: Message;
  readonly cds: Message;
  /** By file name: the routes of each listener. */
  readonly rds: ReadonlyMap<string, Message>;
  /** By file name: where certificates and CAs are (no key material). */
  readonly secrets: ReadonlyMap<string, Message>;
}

const BUILT = fileURLToPath(new URL('../../build', import.meta.url));

/** Where things are on Envoy's machine: as configured, or as they are here. */
export function placesOf({ envoy, stateDir }: Config): Places {
  const filters = envoy.wasmDir ?? (envoy.wasm === undefined ? BUILT : dirname(envoy.wasm));
  return {
    dir: envoy.dir ?? join(stateDir, 'envoy'),
    wasm: { http: envoy.wasm ?? join(filters, 'sluice-http.wasm'), postgres: join(filters, 'sluice-postgres.wasm') },
  };
}

export function generateEnvoy(config: Config, places: Places = placesOf(config)): EnvoyConfig {
  const secrets = secretFiles(places.dir);
  const resources = (messages: Message[]): Message => ({ resources: messages });
  return {
    bootstrap: bootstrap(config, places.dir, secrets),
    lds: resources(listeners(config, places, secrets)),
    cds: resources(targetClusters(config, secrets)),
    rds: new Map(routeConfigurations(config).map((route) => [routeFile(String(route.name)), resources([route])])),
    secrets: secrets.files,
  };
}

/** YAML 1.1 rules for quoting: Envoy's parser takes a bare `yes` or `on` for a flag. */
const yaml = (message: Message): string => stringify(message, { version: '1.1', lineWidth: 160, aliasDuplicateObjects: false });

/** What each file is, said at its head. */
const HEADS: Readonly<Record<string, string>> = {
  secret: 'Where a certificate, its key or a CA is: Envoy reads the files again when they change.',
  cds: 'Clusters: the targets. Changes with them.',
  rds: 'Routes: which host leads to which target, and what is said of it to the service. Changes with the targets.',
  lds: 'Listeners: where agents come in, how strictly, through which filters. Changes with listeners and holds.',
  bootstrap: 'What Envoy is started with: where the other files are, and where the service is. A change needs a new Envoy.',
};
const head = (name: string): string =>
  `# Made from sluice.yaml by Sluice; changes here are lost.\n# ${HEADS[/^[a-z]+/.exec(name)?.[0] ?? ''] ?? ''}\n`;

/** The files by name, in the order in which they must be written: what is referred to before what refers to it. */
export const envoyFiles = ({ bootstrap, secrets, cds, rds, lds }: EnvoyConfig): ReadonlyMap<string, string> =>
  new Map(
    [...secrets, ['cds.yaml', cds] as const, ...rds, ['lds.yaml', lds] as const, ['bootstrap.yaml', bootstrap] as const].map(
      ([name, message]) => [name, head(name) + yaml(message)],
    ),
  );
