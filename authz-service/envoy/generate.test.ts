import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Config, formatConfigError, loadConfig } from '../config/config.ts';
import { type EnvoyConfig, envoyFiles, generateEnvoy } from './generate.ts';
import { inlined } from './validate.ts';
import { writeEnvoy } from './write.ts';

const envoyFolder = fileURLToPath(new URL('../../envoy/', import.meta.url));

function load(file: string): Config {
  const result = loadConfig(file, { elsewhere: true });
  if (!result.ok) throw new Error(result.errors.map(formatConfigError).join('\n'));
  return result.config;
}

/** The example, with parts of its text replaced. */
function example(...changes: readonly (readonly [string, string])[]): EnvoyConfig {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-'));
  try {
    const text = readFileSync(join(envoyFolder, 'sluice.example.yaml'), 'utf8');
    const file = join(dir, 'sluice.yaml');
    writeFileSync(
      file,
      changes.reduce(
        (all, [from, to]) => (all.includes(from) ? all.replace(from, to) : expect.fail(`${from} is not in the example`)),
        text,
      ),
    );
    return generateEnvoy(load(file));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Every value of a member of this name, however deep. */
const all = (value: unknown, name: string): unknown[] =>
  typeof value !== 'object' || value === null
    ? []
    : Object.entries(value).flatMap(([key, member]) => [...(key === name ? [member] : []), ...all(member, name)]);

const changed = (before: EnvoyConfig, after: EnvoyConfig): string[] => {
  const was = envoyFiles(before);
  return [...envoyFiles(after)].filter(([name, text]) => was.get(name) !== text).map(([name]) => name);
};

describe('the example', () => {
  test('envoy/generated is what is generated for envoy/sluice.example.yaml', () => {
    const files = envoyFiles(generateEnvoy(load(join(envoyFolder, 'sluice.example.yaml'))));
    expect(readdirSync(join(envoyFolder, 'generated')).toSorted()).toEqual([...files.keys()].toSorted());
    for (const [name, text] of files) expect(readFileSync(join(envoyFolder, 'generated', name), 'utf8'), name).toBe(text);
  });

  test('envoy/generated-database is what is generated for envoy/database.example.yaml', () => {
    const files = envoyFiles(generateEnvoy(load(join(envoyFolder, 'database.example.yaml'))));
    expect(readdirSync(join(envoyFolder, 'generated-database')).toSorted()).toEqual([...files.keys()].toSorted());
    for (const [name, text] of files) expect(readFileSync(join(envoyFolder, 'generated-database', name), 'utf8'), name).toBe(text);
  });

  test('the filters and clusters for an Envoy that one already has are the generated ones', () => {
    const { lds, bootstrap } = generateEnvoy(load(join(envoyFolder, 'sluice.example.yaml')));
    const own = parse(readFileSync(join(envoyFolder, 'your-envoy.example.yaml'), 'utf8'));
    expect(all(own, 'http_filters')).toEqual(all(lds, 'http_filters'));
    expect(own.static_resources.clusters.slice(0, 2)).toEqual((bootstrap.static_resources as { clusters: unknown }).clusters);
    const hardening = [
      'normalize_path',
      'merge_slashes',
      'path_with_escaped_slashes_action',
      'common_http_protocol_options',
      'early_header_mutation_extensions',
      'stream_idle_timeout',
      'use_remote_address',
      'internal_address_config',
    ];
    for (const name of hardening) expect(all(own.static_resources.listeners, name), name).toEqual(all(lds, name));
  });

  test('no secret, and no name of where one is, gets into what Envoy reads', () => {
    const text = [...envoyFiles(generateEnvoy(load(join(envoyFolder, 'sluice.example.yaml')))).values()].join();
    expect(text).not.toMatch(/secrets\/|BILLING_API_KEY|mask-key/);
  });
});

describe('what follows from the configuration', () => {
  test('each time-out that could end a hold is longer than the longest one', () => {
    const hold = 7 * 3600;
    const { lds, rds } = example(['max_ttl: 8h', 'max_ttl: 7h']);
    const [check] = all(lds, 'grpc_service') as { timeout: string }[];
    expect(check?.timeout).toBe(`${hold + 30}s`);
    expect(all(lds, 'stream_idle_timeout')).toEqual([`${hold + 60}s`]);
    expect(all(lds, 'request_timeout')).toEqual(['0s']);
    expect(all([...rds.values()], 'idle_timeout')).toEqual([]);
  });

  test('every circuit breaker has room for all holds and for what is not held', () => {
    const { cds, bootstrap } = example(['max_open: 5000', 'max_open: 60000']);
    const breakers = [...all(cds, 'thresholds'), ...all(bootstrap, 'thresholds')].flat() as Record<string, number>[];
    expect(breakers.length).toBe(4);
    for (const { max_connections, max_pending_requests, max_requests } of breakers)
      expect(Math.min(max_connections ?? 0, max_pending_requests ?? 0, max_requests ?? 0)).toBeGreaterThan(60_000);
  });

  test('a changed target changes clusters and routes alone', () => {
    expect(changed(example(), example(['http://10.20.0.15:3000', 'http://10.20.0.16:3000']))).toEqual(['cds.yaml', 'rds-agents.yaml']);
    expect(changed(example(), example(['256KiB', '512KiB']))).toEqual(['rds-agents.yaml']);
    expect(changed(example(), example(['max_ttl: 8h', 'max_ttl: 7h']))).toEqual(['lds.yaml']);
  });

  test('whether the record is required reaches the filter', () => {
    const settings = (config: EnvoyConfig) => JSON.parse((all(config.lds, 'configuration')[0] as { value: string }).value);
    expect(settings(example())).toEqual({
      tap_cluster: 'sluice_tap',
      tap_require: true,
      queue_bytes: 4 * 1024 * 1024,
      record_bytes: 64 * 1024 * 1024,
    });
    expect(settings(example(['admin:', 'tap: { require: false, queue: 1MiB, record: { queue: 2MiB } }\nadmin:']))).toEqual({
      tap_cluster: 'sluice_tap',
      tap_require: false,
      queue_bytes: 1024 * 1024,
      record_bytes: 2 * 1024 * 1024,
    });
  });

  test('every host of no target has an answer, unless a target has them all', () => {
    const domains = (config: EnvoyConfig) => all([...config.rds.values()], 'domains').flat();
    expect(domains(example())).toEqual(['orders.gateway.example', 'billing.gateway.example', '*.billing.gateway.example', '*']);
    expect(domains(example(['[orders.gateway.example]', '["*"]']))).toEqual(['*', 'billing.gateway.example', '*.billing.gateway.example']);
  });

  test('each listener has routes of its own, of its targets alone', () => {
    const { rds, lds } = example(
      ['listeners:', 'listeners:\n  - { name: inner, address: 127.0.0.1:8080 }'],
      ['name: billing\n    listener: agents', 'name: billing\n    listener: inner'],
    );
    expect([...rds].map(([name, file]) => [name, all(file, 'target')])).toEqual([
      ['rds-inner.yaml', ['billing']],
      ['rds-agents.yaml', ['orders']],
    ]);
    expect(all(lds, 'path')).toEqual(
      expect.arrayContaining(['/var/lib/sluice/envoy/rds-inner.yaml', '/var/lib/sluice/envoy/rds-agents.yaml']),
    );
  });

  test('without a proxy in front that is trusted, what a caller says of its address is removed', () => {
    const removed = (config: EnvoyConfig) => JSON.stringify(all(config.lds, 'mutations'));
    expect(removed(example())).toContain('x-forwarded-for');
    expect(removed(example(['address: 0.0.0.0:8443', 'address: 0.0.0.0:8443\n    trusted_proxies: 1']))).not.toContain('x-forwarded-for');
  });

  test("Envoy's own access log goes to the sink of each HTTP listener, and only when it is asked for", () => {
    const two = ['listeners:', 'tap: { envoy_access_log: true }\nlisteners:\n  - { name: inner, address: 127.0.0.1:8081 }'] as const;
    const logs = all(example(two).lds, 'access_log').flat();
    expect(logs).toHaveLength(2);
    expect(all(logs, 'cluster_name')).toEqual(['sluice_tap', 'sluice_tap']);
    expect(JSON.stringify(logs)).not.toMatch(/additional_|tags|filter_state/);
    expect(all(example().lds, 'access_log')).toEqual([]);
  });

  test("Envoy's own admin interface is a socket for its user alone, or off", () => {
    expect(all(example().bootstrap, 'admin')).toMatchObject([
      { address: { pipe: { path: '/var/lib/sluice/run/envoy-admin.sock', mode: 0o600 } } },
    ]);
    expect(all(example(['envoy:', 'envoy:\n  admin: off']).bootstrap, 'admin')).toEqual([]);
  });

  test('a target named by an IP address is verified by it; one named by a name is asked for it', () => {
    const tls = (config: EnvoyConfig) => [
      all(config.cds, 'sni'),
      all([...config.secrets.values()], 'match_typed_subject_alt_names').flat(),
    ];
    expect(tls(example())).toEqual([['billing.internal.example'], [{ san_type: 'DNS', matcher: { exact: 'billing.internal.example' } }]]);
    expect(tls(example(['https://billing.internal.example', 'https://10.20.0.9']))).toEqual([
      [],
      [{ san_type: 'IP_ADDRESS', matcher: { exact: '10.20.0.9' } }],
    ]);
  });

  test('what Envoy validates has every listener, route, cluster and secret in it', () => {
    const whole = inlined(example());
    const text = JSON.stringify(whole);
    expect([text.includes('path_config_source'), text.includes('"rds"')]).toEqual([false, false]);
    expect(all(whole, 'domains').length).toBe(3);
    expect((whole.static_resources as Record<string, unknown[]>).clusters?.length).toBe(4);
    expect((whole.static_resources as Record<string, unknown[]>).secrets?.length).toBe(3);
  });
});

describe('databases', () => {
  const LEDGER = `targets:
  - name: ledger
    protocol: postgres
    listener: ledger
    tunnel: agents
    url: postgres://10.20.0.20
    database: ledger
    credentials: { default: { password: { username: app, password: { file: secrets/ledger } } } }
`;
  const withLedger = (...changes: readonly (readonly [string, string])[]): EnvoyConfig =>
    example(['targets:\n', LEDGER], ['listeners:', 'listeners:\n  - { name: ledger, address: 127.0.0.1:5432 }'], ...changes);
  const resources = (message: unknown) => all(message, 'resources').flat() as Record<string, unknown>[];
  const proxies = (config: EnvoyConfig) =>
    (all(config.lds, 'filters').flat() as { name: string; typed_config: Record<string, unknown> }[]).filter(
      ({ name }) => name === 'envoy.filters.network.tcp_proxy',
    );

  test('each has a listener of TCP, one inside Envoy for CONNECT, and the routes name no listener of TCP', () => {
    const { lds, rds } = withLedger();
    expect(resources(lds).map(({ name, internal_listener }) => [name, internal_listener])).toEqual([
      ['ledger', undefined],
      ['agents', undefined],
      ['tunnel_ledger', {}],
      ['sluice_unreachable', {}],
    ]);
    expect([...rds.keys()]).toEqual(['rds-agents.yaml']);
  });

  test('without a tunnel no listener lets CONNECT in', () => {
    const none = JSON.stringify(withLedger(['    tunnel: agents\n', '']).lds);
    expect([none.includes('CONNECT'), none.includes('allow_connect'), none.includes('tunnel_ledger')]).toEqual([false, false, false]);
    expect(all(withLedger().lds, 'upgrade_type')).toEqual(['CONNECT']);
  });

  test('a connection that fails is tried again, and led to where the filter can tell the client of it', () => {
    const { lds, cds } = withLedger();
    expect(all(lds, 'max_connect_attempts')).toEqual([10, 10]);
    const clusters = resources(cds);
    const reach = clusters.find(({ name }) => name === 'reach_ledger');
    expect(all(reach, 'clusters')).toEqual([['target_ledger', 'sluice_unreachable']]);
    expect(proxies(withLedger()).map(({ typed_config }) => typed_config.cluster)).toEqual(['reach_ledger', 'reach_ledger']);
    expect(clusters.filter(({ name }) => name === 'sluice_unreachable')).toHaveLength(1);
    expect(JSON.stringify(example().cds)).not.toContain('sluice_unreachable');
  });

  test('no time-out ends a session before the longest hold, and none at all where none is wanted', () => {
    const idle = (config: EnvoyConfig) => [
      ...proxies(config).map(({ typed_config }) => typed_config.idle_timeout),
      ...all([...config.rds.values()], 'idle_timeout'),
    ];
    expect(idle(withLedger())).toEqual(['86400s', '86400s', '86400s']);
    expect(idle(withLedger(['database: ledger', 'database: ledger\n    idle_timeout: 5m']))).toEqual(Array(3).fill(`${8 * 3600 + 60}s`));
    expect(idle(withLedger(['database: ledger', 'database: ledger\n    idle_timeout: 0s']))).toEqual(['0s', '0s', '0s']);
  });

  test('a changed address changes clusters alone; a secret is nowhere', () => {
    expect(changed(withLedger(), withLedger(['postgres://10.20.0.20', 'postgres://10.20.0.21:6432']))).toEqual(['cds.yaml']);
    expect([...envoyFiles(withLedger()).values()].join()).not.toMatch(/secrets\/ledger|username/);
  });

  test('TLS towards the server only where it is said, verified, by ALPN', () => {
    const sockets = (config: EnvoyConfig) =>
      JSON.stringify(resources(config.cds).find(({ name }) => name === 'target_ledger')?.transport_socket ?? null);
    expect(sockets(withLedger())).toBe('null');
    const tls = sockets(withLedger(['database: ledger', 'database: ledger\n    tls: { ca: /etc/ca.pem, server_name: db.internal }']));
    for (const part of ['"sni":"db.internal"', '"alpn_protocols":["postgresql"]', 'validation_context_sds_secret_config'])
      expect(tls).toContain(part);
  });

  test('the filters are in one directory; the one of HTTP may be elsewhere', () => {
    const files = (wasm: string) => [...new Set(all(withLedger(['wasm: /usr/lib/sluice/sluice-http.wasm', wasm]).lds, 'filename'))];
    const both = ['/usr/lib/sluice/sluice-postgres.wasm', '/usr/lib/sluice/sluice-http.wasm'];
    expect(files('wasm: /usr/lib/sluice/sluice-http.wasm')).toEqual(both);
    expect(files('wasm_dir: /usr/lib/sluice')).toEqual(both);
    expect(files('wasm_dir: /usr/lib/sluice\n  wasm: /opt/own')).toEqual([both[0], '/opt/own']);
  });
});

describe('the files', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  test('only those that differ are written, whole, for their user alone, what is referred to first', () => {
    const target = join(dir, 'envoy');
    expect(writeEnvoy(target, envoyFiles(example()))).toEqual([
      'secret-listener-agents-certificate.yaml',
      'secret-target_billing-client-certificate.yaml',
      'secret-target_billing-ca.yaml',
      'cds.yaml',
      'rds-agents.yaml',
      'lds.yaml',
      'bootstrap.yaml',
    ]);
    expect(statSync(join(target, 'rds-agents.yaml')).mode & 0o777).toBe(0o600);
    const inode = statSync(join(target, 'lds.yaml')).ino;
    expect(writeEnvoy(target, envoyFiles(example(['256KiB', '512KiB'])))).toEqual(['rds-agents.yaml']);
    expect(statSync(join(target, 'lds.yaml')).ino).toBe(inode);
    expect(readdirSync(target).filter((name) => name.endsWith('.next'))).toEqual([]);
  });

  test('text that YAML 1.1 takes for a flag or a number is quoted', () => {
    const files = envoyFiles(example(['name: orders', 'name: "on"'], ['[orders.gateway.example]', '["yes", "1.40"]']));
    expect(files.get('rds-agents.yaml')).toMatch(/- "yes"\n\s+- "1.40"/);
    expect(files.get('rds-agents.yaml')).toMatch(/name: "on"/);
  });
});
