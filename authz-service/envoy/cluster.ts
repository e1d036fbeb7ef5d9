/** Clusters: the targets (in cds.yaml), and the two doors of the service (in the bootstrap). */
import { isIP } from 'node:net';
import type { Config, Endpoint, HostPort, HttpTarget, PostgresTarget, Target } from '../config/config.ts';
import { BUNDLES, systemCa } from '../config/system_ca.ts';
import { type Limits, limitsOf } from './limits.ts';
import { duration, extension, type Message, pipe, socketAddress, TCP_KEEPALIVE, typed } from './message.ts';
import { databasesOf } from './targets.ts';
import { type Secrets, upstreamTls } from './tls.ts';

export const CHECK_CLUSTER = 'sluice_check';
export const TAP_CLUSTER = 'sluice_tap';
export const targetCluster = (target: string): string => `target_${target}`;
/** The listener inside Envoy by which a CONNECT reaches a database, and the cluster that leads to it. */
export const tunnel = (target: string): string => `tunnel_${target}`;
/** Leads to a database, and where that cannot be reached to `UNREACHABLE`. */
export const reachCluster = (target: string): string => `reach_${target}`;
/**
 * A listener inside Envoy that sends back what it is sent, and the cluster that leads to it. Without a peer the filter has no occasion to tell a client
 * why it is not served; of this one it knows that it is no database.
 */
export const UNREACHABLE = 'sluice_unreachable';

const CLUSTER = 'envoy.config.cluster.v3.Cluster';

const resolved = (name: string, address: Message, host: string): Message => ({
  ...(host === '' || isIP(host) !== 0
    ? { type: 'STATIC' }
    : { type: 'STRICT_DNS', dns_lookup_family: 'V4_PREFERRED', respect_dns_ttl: true }),
  load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
});

/** Envoy's defaults (1,024) would fail the 1,025th hold. */
const thresholds = ({ requests }: Limits): Message => ({
  thresholds: [{ max_connections: requests, max_pending_requests: requests, max_requests: requests, max_retries: 0 }],
});

const protocol = (fields: Message): Message => ({
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': typed('envoy.extensions.upstreams.http.v3.HttpProtocolOptions', fields),
  },
});

export const targetClusters = (config: Config, secrets: Secrets): Message[] => [
  ...config.targets.flatMap((target) =>
    target.protocol === 'http'
      ? [siteCluster(target, config, secrets)]
      : [
          databaseCluster(target, config, secrets),
          databaseOrNone(target),
          ...(target.tunnel === undefined ? [] : [tunnelCluster(target, config)]),
        ],
  ),
  ...(databasesOf(config).length === 0 ? [] : [unreachableCluster(config)]),
];

const reached = (target: Target, bufferBytes: number, limits: Limits): Message => ({
  name: targetCluster(target.name),
  connect_timeout: duration(target.connectTimeoutMs),
  // Bounds what one read can inflate to, too.
  per_connection_buffer_limit_bytes: bufferBytes,
  ...resolved(targetCluster(target.name), socketAddress(target.url), target.url.host),
  circuit_breakers: thresholds(limits),
  upstream_connection_options: { tcp_keepalive: TCP_KEEPALIVE },
});

function siteCluster(target: HttpTarget, config: Config, secrets: Secrets): Message {
  const limits = limitsOf(config);
  return typed(CLUSTER, {
    ...reached(target, limits.bufferBytes, limits),
    ...targetProtocol(target),
    // `auto` sets its own.
    ...(target.url.scheme === 'https' && {
      transport_socket: targetTls(target, target.httpVersion === 'auto' ? [] : target.httpVersion === '2' ? ['h2'] : ['http/1.1'], secrets),
    }),
  });
}

function databaseCluster(target: PostgresTarget, config: Config, secrets: Secrets): Message {
  const limits = limitsOf(config);
  return typed(CLUSTER, {
    ...reached(target, limits.sessionBufferBytes, limits),
    outlier_detection: ONE_FAILURE,
    // From the first byte: a server that knows only the switch in the midst of the protocol refuses the connection.
    ...(target.tls && { transport_socket: targetTls(target, ['postgresql'], secrets) }),
  });
}

/**
 * A connection that fails is tried again (tcp_proxy), and must then go elsewhere: the one failure takes the database out of the choice for a moment.
 * Long enough for the next attempt, short enough that nobody else is turned away once the database is back.
 */
const ONE_FAILURE: Message = {
  split_external_local_origin_errors: true,
  consecutive_local_origin_failure: 1,
  enforcing_consecutive_local_origin_failure: 100,
  enforcing_local_origin_success_rate: 0,
  enforcing_success_rate: 0,
  enforcing_consecutive_5xx: 0,
  enforcing_consecutive_gateway_failure: 0,
  max_ejection_percent: 100,
  interval: '0.1s',
  base_ejection_time: '0.5s',
  max_ejection_time: '0.5s',
};

const databaseOrNone = ({ name, connectTimeoutMs }: PostgresTarget): Message =>
  typed(CLUSTER, {
    name: reachCluster(name),
    connect_timeout: duration(connectTimeoutMs),
    lb_policy: 'CLUSTER_PROVIDED',
    cluster_type: extension('envoy.clusters.aggregate', 'envoy.extensions.clusters.aggregate.v3.ClusterConfig', {
      clusters: [targetCluster(name), UNREACHABLE],
    }),
  });

const unreachableCluster = (config: Config): Message =>
  typed(CLUSTER, {
    name: UNREACHABLE,
    connect_timeout: '2s',
    ...resolved(UNREACHABLE, { envoy_internal_address: { server_listener_name: UNREACHABLE } }, ''),
    circuit_breakers: thresholds(limitsOf(config)),
  });

/** Leads to a listener of this Envoy, and takes the filter state of the CONNECT along. */
const tunnelCluster = ({ name }: PostgresTarget, config: Config): Message =>
  typed(CLUSTER, {
    name: tunnel(name),
    connect_timeout: '2s',
    ...resolved(tunnel(name), { envoy_internal_address: { server_listener_name: tunnel(name) } }, ''),
    circuit_breakers: thresholds(limitsOf(config)),
    transport_socket: extension(
      'envoy.transport_sockets.internal_upstream',
      'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport',
      { transport_socket: extension('envoy.transport_sockets.raw_buffer', 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer') },
    ),
  });

function targetProtocol({ httpVersion, url }: HttpTarget): Message {
  const idle = { common_http_protocol_options: { idle_timeout: '300s' } };
  if (httpVersion === '2') return protocol({ ...idle, explicit_http_config: { http2_protocol_options: {} } });
  // Without TLS there is no ALPN to negotiate by.
  if (httpVersion === 'auto' && url.scheme === 'https')
    return protocol({ ...idle, auto_config: { http_protocol_options: {}, http2_protocol_options: {} } });
  return protocol({ ...idle, explicit_http_config: { http_protocol_options: {} } });
}

const targetTls = ({ name, tls, url }: Target, alpn: readonly string[], secrets: Secrets): Message =>
  upstreamTls(
    targetCluster(name),
    {
      ca: tls?.ca ?? systemCa() ?? BUNDLES[0],
      serverName: tls?.serverName ?? url.host,
      client: tls?.certificate !== undefined && tls.key !== undefined ? { certificate: tls.certificate, key: tls.key } : undefined,
      alpn,
    },
    secrets,
  );

export const serviceClusters = (config: Config, secrets: Secrets): Message[] => [
  serviceCluster(CHECK_CLUSTER, config.service.check, config, secrets),
  serviceCluster(TAP_CLUSTER, config.service.tap, config, secrets),
];

function serviceCluster(name: string, endpoint: Endpoint, config: Config, secrets: Secrets): Message {
  const { tls } = config.envoy;
  const peer: HostPort | undefined = endpoint.kind === 'tcp' ? endpoint.connect : undefined;
  return {
    name,
    connect_timeout: '2s',
    ...resolved(name, endpoint.kind === 'socket' ? pipe(endpoint.path) : socketAddress(endpoint.connect), peer?.host ?? ''),
    circuit_breakers: thresholds(limitsOf(config)),
    // A service that hangs or is cut off must not hold requests until their time-out.
    ...protocol({ explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: '30s', timeout: '20s' } } } }),
    ...(peer && { upstream_connection_options: { tcp_keepalive: TCP_KEEPALIVE } }),
    ...(peer &&
      tls && {
        transport_socket: upstreamTls(name, { ca: tls.ca, serverName: tls.serverName ?? peer.host, client: tls, alpn: ['h2'] }, secrets),
      }),
  };
}
