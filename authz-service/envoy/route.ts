/** Routes: one file and route configuration for each listener, one virtual host for each target. */
import { type Config, formatHostPort, type Target } from '../config/config.ts';
import { targetCluster } from './cluster.ts';
import { CHECK_FILTER, MASK_FILTER, requestBody } from './filters.ts';
import { duration, type Message, typed } from './message.ts';

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

export const routeConfigurations = (config: Config): Message[] =>
  config.listeners.map((listener) => {
    const targets = config.targets.filter((target) => target.listener === listener.name);
    return typed('envoy.config.route.v3.RouteConfiguration', {
      name: listener.name,
      request_headers_to_remove: NEVER_UPSTREAM,
      // Envoy compares hosts without their port: see strip_any_host_port.
      virtual_hosts: [...targets.map(virtualHost), ...(targets.some(({ hosts }) => hosts.includes('*')) ? [] : [NO_TARGET])],
    });
  });

const virtualHost = (target: Target): Message => ({
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
const hostHeader = ({ url }: Target): string => {
  const written = formatHostPort(url);
  const own = url.scheme === 'https' ? ':443' : ':80';
  return written.endsWith(own) ? written.slice(0, -own.length) : written;
};

/** A host that leads nowhere: nothing to judge, so neither filter is asked. */
const NO_TARGET: Message = {
  name: '_no_target',
  domains: ['*'],
  typed_per_filter_config: {
    [CHECK_FILTER]: typed('envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute', { disabled: true }),
    [MASK_FILTER]: typed('envoy.config.route.v3.FilterConfig', { disabled: true }),
  },
  routes: [{ match: { prefix: '/' }, direct_response: { status: 404 } }],
};
