/** What Envoy itself says of the generated configuration, without starting it. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { EnvoyConfig } from './generate.ts';
import type { Json, Message } from './message.ts';

/**
 * One bootstrap with everything in it. `--mode validate` does not follow the subscriptions of a bootstrap: it says "OK" to one
 * whose listener file is nonsense (tried on 1.40).
 */
export function inlined({ bootstrap, lds, cds, rds, secrets }: EnvoyConfig): Message {
  const routes = new Map([...rds.values()].flatMap(resources).map((route) => [route.name, route]));
  const secretOf = new Map([...secrets.values()].flatMap(resources).map((secret) => [secret.name, secret]));
  const inline = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(inline);
    if (typeof value !== 'object') return value;
    const { rds: subscription, sds_config: source, ...fields } = value as Message;
    const rest = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, inline(field)]));
    if (subscription !== undefined) return { ...rest, route_config: routes.get((subscription as Message).route_config_name ?? '') ?? {} };
    return rest;
  };
  const { dynamic_resources: _, static_resources: own, ...rest } = bootstrap;
  return {
    ...rest,
    static_resources: {
      listeners: resources(lds).map(inline),
      clusters: [...((own as Message).clusters as Message[]), ...resources(cds)].map(inline),
      secrets: [...secretOf.values()],
    },
  };
}

/** Without the mark of their type, which only a discovery file has. */
const resources = (file: Message): Message[] => (file.resources as Message[]).map(({ '@type': _, ...fields }) => fields);

export type Validation = { readonly ok: true } | { readonly ok: false; readonly problem: string };

export async function validateEnvoy(config: EnvoyConfig, bin: string): Promise<Validation> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-'));
  try {
    const file = join(dir, 'bootstrap.yaml');
    await writeFile(file, stringify(inlined(config), { version: '1.1', aliasDuplicateObjects: false }), { mode: 0o600 });
    return await new Promise((settle) => {
      execFile(bin, ['--mode', 'validate', '--config-path', file, '--log-level', 'error'], { timeout: 60_000 }, (error, _, stderr) =>
        settle(error ? { ok: false, problem: explain(stderr) || `${bin}: ${error.message}` } : { ok: true }),
      );
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The lines that say why, without Envoy's time stamps. */
const explain = (stderr: string): string =>
  stderr
    .split('\n')
    .filter((line) => line.trim() !== '' && !/\[(?:info|warning)\]/.test(line))
    .map((line) => line.replace(/^(?:\[[^\]]*\])+ ?/, ''))
    .slice(0, 20)
    .join('\n');
