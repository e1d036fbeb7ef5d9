/** Routes: one file and route configuration for each listener, one virtual host for each target. */
import { type Config, formatHostPort, type HttpTarget, type PostgresTarget } from '../config/config.ts';
import { targetCluster, tunnel } from './cluster.ts';
import { CHECK_FILTER, MASK_FILTER, requestBody } from './filters.ts';
import { sessionIdleMs } from './limits.ts';
import { duration, type Message, typed } from './message.ts';
import { databasesOf, sitesOf, tunnelsOf } from './targets.ts';

/**
 * Headers that a target, or something before it, may take for the method, the path or the caller in place of the real ones.
 * They go when all filters have run: the service sees them, and can refuse.
 */
const NEVER_UPSTREAM = [
  'proxy-authorization',
  'proxy-connection',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-url',
  'x-original-uri',
  'x-rewrite-url',
  'x-forwarded-prefix',
  'x-forwarded-host',
  'x-forwarded-server',
  'forwarded',
  // Envoy's own, for the service: the address of whoever connected.
  'x-envoy-external-address',
];

/** A file of its own: Envoy refuses one that holds more than the route configuration that was asked for. */
export const routeFile = (listener: string): string => `rds-${listener}.yaml`;

/** Of each listener that speaks HTTP. */
export const routeConfigurations = (config: Config): Message[] => {
  const databases = new Set(databasesOf(config).map(({ listener }) => listener));
  return config.listeners
    .filter(({ name }) => !databases.has(name))
    .map(({ name }) => {
      const sites = sitesOf(config, name);
      return typed('envoy.config.route.v3.RouteConfiguration', {
        name,
        request_headers_to_remove: NEVER_UPSTREAM,
        // Envoy compares hosts without their port: see strip_any_host_port.
        virtual_hosts: [
          ...sites.map(virtualHost),
          ...tunnelsOf(config, name).map((target) => tunnelHost(target, config)),
          ...(sites.some(({ hosts }) => hosts.includes('*')) ? [] : [NO_TARGET]),
        ],
      });
    });
};

const virtualHost = (target: HttpTarget): Message => ({
  name: target.name,
  domains: target.hosts.map((host) => host.toLowerCase()),
  typed_per_filter_config: {
    [CHECK_FILTER]: typed('envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute', {
      check_settings: { context_extensions: { target: target.name }, with_request_body: requestBody(target.requestBodyLimitBytes) },
    }),
  },
  routes: [
    {
      match: { prefix: '/' },
      route: {
        cluster: targetCluster(target.name),
        host_rewrite_literal: hostHeader(target),
        // `0s` is no time-out, where an absent one would be 15 s.
        timeout: duration(target.responseTimeoutMs),
      },
    },
  ],
});

/** Without the scheme's own port, as clients write it. */
const hostHeader = ({ url }: HttpTarget): string => {
  const written = formatHostPort(url);
  const own = url.scheme === 'https' ? ':443' : ':80';
  return written.endsWith(own) ? written.slice(0, -own.length) : written;
};

/** A database by CONNECT NAME:PORT, whatever the port. There is nothing else to ask it for. */
const tunnelHost = (target: PostgresTarget, config: Config): Message => ({
  name: target.name,
  domains: [target.name],
  routes: [
    {
      match: { connect_matcher: {} },
      route: {
        cluster: tunnel(target.name),
        upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }],
        timeout: '0s',
        idle_timeout: duration(sessionIdleMs(config, target)),
      },
      typed_per_filter_config: {
        // What follows a CONNECT is no body: nothing of it may be waited for.
        [CHECK_FILTER]: typed('envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute', {
          check_settings: { context_extensions: { target: target.name }, disable_request_body_buffering: true },
        }),
      },
    },
    NOTHING,
  ],
});

const UNJUDGED = {
  [CHECK_FILTER]: typed('envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute', { disabled: true }),
  [MASK_FILTER]: typed('envoy.config.route.v3.FilterConfig', { disabled: true }),
};

/** Nothing to judge, so neither filter is asked. */
const NOTHING: Message = { match: { prefix: '/' }, direct_response: { status: 404 }, typed_per_filter_config: UNJUDGED };

/** A host that leads nowhere. */
const NO_TARGET: Message = {
  name: '_no_target',
  domains: ['*'],
  typed_per_filter_config: UNJUDGED,
  routes: [{ match: { prefix: '/' }, direct_response: { status: 404 } }],
};
