/** The filters in their order. Of HTTP: judge, mask and tap, decompress what is to be masked, route; responses pass them from the last to the first. */
import type { Config, PostgresTarget } from '../config/config.ts';
import { CHECK_CLUSTER, reachCluster, TAP_CLUSTER } from './cluster.ts';
import { limitsOf, sessionIdleMs } from './limits.ts';
import { duration, extension, type Message, typed } from './message.ts';

export const CHECK_FILTER = 'envoy.filters.http.ext_authz';
export const MASK_FILTER = 'sluice';

/** The whole body or none of it: a partial one could hide what a rule looks for. */
export const requestBody = (limitBytes: number): Message => ({
  max_request_bytes: limitBytes,
  allow_partial_message: false,
  pack_as_bytes: true,
});

export const httpFilters = (config: Config, file: string): Message[] => [check(config), mask(config, file), decompress, router];

/** What a CONNECT passes in their place: it is judged, and the session that was opened for it goes with the connection. */
export const tunnelFilters = (config: Config): Message[] => [check(config), passage, router];

const check = (config: Config): Message =>
  extension(CHECK_FILTER, 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz', {
    transport_api_version: 'V3',
    grpc_service: { envoy_grpc: { cluster_name: CHECK_CLUSTER }, timeout: duration(limitsOf(config).checkMs) },
    failure_mode_allow: false,
    status_on_error: { code: 'ServiceUnavailable' },
    with_request_body: requestBody(1024 * 1024),
    // Raw, and all of them: two headers of one name must not become one before they are judged.
    encode_raw_headers: true,
    include_peer_certificate: true,
    validate_mutations: true,
    clear_route_cache: false,
    stat_prefix: 'sluice',
  });

/** One of ours. `settings` reach it as JSON; filters of one `vm` share what a trap takes down. */
const wasm = (vm: string, filename: string, settings: Message): Message => ({
  name: 'sluice',
  root_id: 'sluice',
  vm_config: { vm_id: vm, runtime: 'envoy.wasm.runtime.v8', code: { local: { filename } }, allow_precompiled: false },
  configuration: typed('google.protobuf.StringValue', { value: JSON.stringify(settings) }),
  // A trap ends the VM's streams and lets none of them through; the next request gets a new VM.
  failure_policy: 'FAIL_RELOAD',
  // Envoy's default, 1 s, would refuse everything for so long after a second trap; an instance costs about a millisecond.
  reload_config: { backoff: { base_interval: '0.020s' } },
});

const mask = ({ tap }: Config, file: string): Message =>
  extension(MASK_FILTER, 'envoy.extensions.filters.http.wasm.v3.Wasm', {
    config: {
      ...wasm('sluice', file, {
        tap_cluster: TAP_CLUSTER,
        tap_require: tap.require,
        queue_bytes: tap.queueBytes,
        record_bytes: tap.record.queueBytes,
      }),
      // Headers wait until the filter knows that the response can be masked, or are replaced.
      allow_on_headers_stop_iteration: true,
    },
  });

/**
 * Masking reads plain bytes. The filter asks the target for `identity` where it masks; this is for targets that send gzip all the same.
 * Responses only (a request body goes to the target as it was judged), and only those that are masked.
 * Not for brotli and zstd: Envoy's guard against compression bombs leaves out, without an error, what a chunk inflates to beyond a
 * hundred times its size. That of gzip can be set to what DEFLATE reaches at most; the filter refuses to mask the others.
 */
const decompress: Message = {
  name: 'decompress',
  typed_config: typed('envoy.extensions.common.matching.v3.ExtensionWithMatcher', {
    extension_config: extension('gzip', 'envoy.extensions.filters.http.decompressor.v3.Decompressor', {
      decompressor_library: extension('gzip', 'envoy.extensions.compression.gzip.decompressor.v3.Gzip', {
        max_inflate_ratio: 1032,
        chunk_size: 65_536,
      }),
      request_direction_config: {
        common_config: { enabled: { default_value: false, runtime_key: 'sluice.decompress_requests' } },
        advertise_accept_encoding: false,
      },
      // `no-transform` would carry a compressed body past the masking.
      response_direction_config: { common_config: { ignore_no_transform_header: true } },
    }),
    xds_matcher: {
      matcher_list: {
        matchers: [
          {
            predicate: {
              single_predicate: {
                input: extension('plan', 'envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput', {
                  filter: CHECK_FILTER,
                  path: [{ key: 'plan' }],
                }),
                custom_match: extension('none', 'envoy.extensions.matching.input_matchers.metadata.v3.Metadata', {
                  value: { string_match: { exact: '' } },
                }),
              },
            },
            on_match: { action: extension('skip', 'envoy.extensions.filters.common.matcher.action.v3.SkipFilter') },
          },
        ],
      },
    },
  }),
};

const router = extension('envoy.filters.http.router', 'envoy.extensions.filters.http.router.v3.Router', { suppress_envoy_headers: true });

/** Where the filter of a tunnelled connection finds the session that ext_authz opened for it. No caller can set it. */
const PASSAGE = 'sluice.passage';

const passage = extension('passage', 'envoy.extensions.filters.http.set_filter_state.v3.Config', {
  on_request_headers: [
    {
      object_key: PASSAGE,
      // Hashable: connections inside Envoy are pooled by it. With a plain string a caller got the passage of the one that the pool was made for (seen on 1.40).
      factory_key: 'envoy.hashable_string',
      format_string: {
        text_format_source: { inline_string: `%DYNAMIC_METADATA(${CHECK_FILTER}:session)%` },
        omit_empty_values: true,
      },
      skip_if_empty: true,
      shared_with_upstream: 'ONCE',
    },
  ],
});

/** The filters of a database's connection: every byte passes ours, in both directions. A VM of its own for each target, so that a trap ends no other's sessions. */
export const databaseFilters = (target: PostgresTarget, config: Config, file: string): Message[] => [
  extension('sluice', 'envoy.extensions.filters.network.wasm.v3.Wasm', {
    config: wasm(`sluice_postgres_${target.name}`, file, {
      target: target.name,
      tap_cluster: TAP_CLUSTER,
      door_cluster: CHECK_CLUSTER,
      tap_require: config.tap.require,
      queue_bytes: config.tap.queueBytes,
      lag_ms: config.tap.lagMs,
      record_bytes: config.tap.record.queueBytes,
    }),
  }),
  extension('envoy.filters.network.tcp_proxy', 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', {
    stat_prefix: `target_${target.name}`,
    cluster: reachCluster(target.name),
    // Beside the first: when it has failed, and so that the others lead elsewhere.
    max_connect_attempts: 10,
    backoff_options: { base_interval: '0.100s', max_interval: '0.500s' },
    idle_timeout: duration(sessionIdleMs(config, target)),
  }),
];
