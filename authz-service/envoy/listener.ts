/** Listeners (lds.yaml): one for each of the configuration's, hardened for untrusted callers, and one inside Envoy for each database that is reached by CONNECT. */
import type { Config, Listener, PostgresTarget } from '../config/config.ts';
import { TAP_CLUSTER, tunnel, UNREACHABLE } from './cluster.ts';
import { databaseFilters, httpFilters, tunnelFilters } from './filters.ts';
import { limitsOf } from './limits.ts';
import { localReplies } from './local_reply.ts';
import { duration, extension, fromFile, type Message, socketAddress, TCP_KEEPALIVE, typed } from './message.ts';
import { routeFile } from './route.ts';
import { databasesOf, tunnelsOf } from './targets.ts';
import { downstreamTls, type Secrets } from './tls.ts';

export interface Places {
  /** The directory of the generated files, on Envoy's machine. */
  readonly dir: string;
  /** The compiled filters, on Envoy's machine. */
  readonly wasm: { readonly http: string; readonly postgres: string };
}

const LISTENER = 'envoy.config.listener.v3.Listener';

export const listeners = (config: Config, places: Places, secrets: Secrets): Message[] => {
  const databases = databasesOf(config);
  return [
    ...config.listeners.map((listener) => {
      const database = databases.find((target) => target.listener === listener.name);
      return database ? databaseListener(listener, database, config, places, secrets) : httpListener(listener, config, places, secrets);
    }),
    ...databases.filter(({ tunnel }) => tunnel !== undefined).map((target) => tunnelListener(target, config, places)),
    ...(databases.length === 0 ? [] : [unreachableListener]),
  ];
};

const unreachableListener = typed(LISTENER, {
  name: UNREACHABLE,
  internal_listener: {},
  filter_chains: [{ filters: [extension('envoy.filters.network.echo', 'envoy.extensions.filters.network.echo.v3.Echo', {})] }],
});

const databaseListener = (listener: Listener, target: PostgresTarget, config: Config, { wasm }: Places, secrets: Secrets): Message =>
  typed(LISTENER, {
    name: listener.name,
    address: socketAddress(listener.address),
    per_connection_buffer_limit_bytes: limitsOf(config).sessionBufferBytes,
    tcp_keepalive: TCP_KEEPALIVE,
    filter_chains: [
      {
        transport_socket_connect_timeout: '10s',
        filters: databaseFilters(target, config, wasm.postgres),
        ...(listener.tls && { transport_socket: downstreamTls(`listener-${listener.name}`, listener.tls, ['postgresql'], secrets) }),
      },
    ],
  });

/** Inside Envoy: only a CONNECT that was judged leads here. */
const tunnelListener = (target: PostgresTarget, config: Config, { wasm }: Places): Message =>
  typed(LISTENER, {
    name: tunnel(target.name),
    internal_listener: {},
    per_connection_buffer_limit_bytes: limitsOf(config).sessionBufferBytes,
    filter_chains: [{ filters: databaseFilters(target, config, wasm.postgres) }],
  });

const httpListener = (listener: Listener, config: Config, places: Places, secrets: Secrets): Message =>
  typed(LISTENER, {
    name: listener.name,
    address: socketAddress(listener.address),
    per_connection_buffer_limit_bytes: limitsOf(config).bufferBytes,
    tcp_keepalive: TCP_KEEPALIVE,
    filter_chains: [
      {
        transport_socket_connect_timeout: '10s',
        filters: [
          extension(
            'envoy.filters.network.http_connection_manager',
            'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
            connectionManager(listener, config, places),
          ),
        ],
        ...(listener.tls && { transport_socket: downstreamTls(`listener-${listener.name}`, listener.tls, ['h2', 'http/1.1'], secrets) }),
      },
    ],
  });

/** Envoy's own, to the sink. What it says by default: no headers beside those that have fields of their own. */
const accessLog = extension('envoy.access_loggers.http_grpc', 'envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig', {
  common_config: { log_name: 'sluice', transport_api_version: 'V3', grpc_service: { envoy_grpc: { cluster_name: TAP_CLUSTER } } },
});

function connectionManager(listener: Listener, config: Config, { dir, wasm }: Places): Message {
  const { idleMs } = limitsOf(config);
  const tunnels = tunnelsOf(config, listener.name).length > 0;
  return {
    stat_prefix: listener.name,
    codec_type: 'AUTO',
    rds: { route_config_name: listener.name, config_source: fromFile(dir, routeFile(listener.name)) },
    http_filters: httpFilters(config, wasm.http),
    ...(tunnels && { upgrade_configs: [{ upgrade_type: 'CONNECT', filters: tunnelFilters(config) }] }),
    ...(config.tap.envoyAccessLog && { access_log: [accessLog] }),
    local_reply_config: localReplies(),
    server_name: 'sluice',
    // The path that policy judges is the one that the target gets: normalised here, once, or refused.
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: 'REJECT_REQUEST',
    strip_any_host_port: true,
    strip_trailing_host_dot: true,
    // Whoever connects is not trusted: Envoy's own control headers are removed, the peer's address is the client's.
    use_remote_address: true,
    xff_num_trusted_hops: listener.trustedProxies,
    internal_address_config: { unix_sockets: false, cidr_ranges: [{ address_prefix: '255.255.255.255', prefix_len: 32 }] },
    early_header_mutation_extensions: [
      extension('strip', 'envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation', {
        mutations: [
          ...['x-envoy-', 'x-sluice-'].map((prefix) => ({ remove_on_match: { key_matcher: { prefix, ignore_case: true } } })),
          // Without a trusted proxy in front, whatever it says is the caller's own claim.
          ...(listener.trustedProxies === 0 ? [{ remove: 'x-forwarded-for' }] : []),
        ],
      }),
    ],
    forward_client_cert_details: 'SANITIZE',
    max_request_headers_kb: 60,
    common_http_protocol_options: { idle_timeout: '3600s', max_headers_count: 100, headers_with_underscores_action: 'REJECT_REQUEST' },
    http2_protocol_options: {
      max_concurrent_streams: 1024,
      initial_stream_window_size: 65_536,
      initial_connection_window_size: 1_048_576,
      ...(tunnels && { allow_connect: true }),
    },
    request_headers_timeout: '10s',
    // While a request is held nothing moves on its stream. So a body that arrives slowly has as long: Envoy has one clock for both.
    stream_idle_timeout: duration(idleMs),
    request_timeout: '0s',
  };
}
