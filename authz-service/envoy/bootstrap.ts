/** The bootstrap: what Envoy reads once, at its start. All else comes from files that it watches. */
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { serviceClusters } from './cluster.ts';
import { extension, fromFile, type Message, pipe } from './message.ts';
import type { Secrets } from './tls.ts';

/** Envoy's own admin interface; undefined when it is off. */
export const adminSocket = ({ envoy, runDir }: Config): string | undefined =>
  envoy.admin === 'socket' ? join(runDir, 'envoy-admin.sock') : undefined;

export function bootstrap(config: Config, dir: string, secrets: Secrets): Message {
  const socket = adminSocket(config);
  return {
    node: { id: 'sluice', cluster: 'sluice' },
    ...(socket !== undefined && { admin: { address: pipe(socket, 0o600), ignore_global_conn_limit: true } }),
    dynamic_resources: { lds_config: fromFile(dir, 'lds.yaml'), cds_config: fromFile(dir, 'cds.yaml') },
    // For tunnels, whether or not there are any yet: a new one must not need a new Envoy.
    bootstrap_extensions: [
      extension('envoy.bootstrap.internal_listener', 'envoy.extensions.bootstrap.internal_listener.v3.InternalListener'),
    ],
    static_resources: { clusters: serviceClusters(config, secrets) },
    overload_manager: overload(config),
  };
}

const TRIGGERS = [
  ['envoy.overload_actions.shrink_heap', 0.9],
  ['envoy.overload_actions.stop_accepting_requests', 0.95],
  ['envoy.overload_actions.stop_accepting_connections', 0.98],
] as const;

const overload = ({ envoy }: Config): Message => ({
  refresh_interval: '0.25s',
  resource_monitors: [
    extension(
      'envoy.resource_monitors.global_downstream_max_connections',
      'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
      { max_active_downstream_connections: envoy.maxConnections },
    ),
    ...(envoy.memoryLimitBytes === undefined
      ? []
      : [
          extension('envoy.resource_monitors.fixed_heap', 'envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig', {
            max_heap_size_bytes: envoy.memoryLimitBytes,
          }),
        ]),
  ],
  ...(envoy.memoryLimitBytes !== undefined && {
    actions: TRIGGERS.map(([name, value]) => ({ name, triggers: [{ name: 'envoy.resource_monitors.fixed_heap', threshold: { value } }] })),
  }),
});
