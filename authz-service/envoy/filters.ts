/** The HTTP filters in their order: judge, mask and tap, decompress what is to be masked, route. Responses pass them from the last to the first. */
import type { Config } from '../config/config.ts';
import { CHECK_CLUSTER, TAP_CLUSTER } from './cluster.ts';
import { limitsOf } from './limits.ts';
import { duration, extension, type Message, typed } from './message.ts';

export const CHECK_FILTER = 'envoy.filters.http.ext_authz';
export const MASK_FILTER = 'sluice';

/** The whole body or none of it: a partial one could hide what a rule looks for. */
export const requestBody = (limitBytes: number): Message => ({
  max_request_bytes: limitBytes,
  allow_partial_message: false,
  pack_as_bytes: true,
});

export const httpFilters = (config: Config, wasm: string): Message[] => [check(config), mask(config, wasm), decompress, router];

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

const mask = ({ tap }: Config, wasm: string): Message =>
  extension(MASK_FILTER, 'envoy.extensions.filters.http.wasm.v3.Wasm', {
    config: {
      name: 'sluice',
      root_id: 'sluice',
      vm_config: { vm_id: 'sluice', runtime: 'envoy.wasm.runtime.v8', code: { local: { filename: wasm } }, allow_precompiled: false },
      configuration: typed('google.protobuf.StringValue', {
        value: JSON.stringify({ tap_cluster: TAP_CLUSTER, tap_require: tap.require, queue_bytes: tap.queueBytes }),
      }),
      // A trap ends the VM's streams and lets none of them through; the next request gets a new VM.
      failure_policy: 'FAIL_RELOAD',
      // Envoy's default, 1 s, would refuse everything for so long after a second trap; an instance costs about a millisecond.
      reload_config: { backoff: { base_interval: '0.020s' } },
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
