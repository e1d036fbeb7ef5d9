/** Envoy's messages as plain objects, in the protobuf JSON mapping: what its YAML and JSON files hold. */
export type Message = { readonly [field: string]: Json };
export type Json = string | number | boolean | Message | readonly Json[];

/** A google.protobuf.Any. `type` is the full name, as `envoy.config.cluster.v3.Cluster`. */
export const typed = (type: string, fields: Message = {}): Message => ({ '@type': `type.googleapis.com/${type}`, ...fields });

export const extension = (name: string, type: string, fields: Message = {}): Message => ({ name, typed_config: typed(type, fields) });

/** google.protobuf.Duration. @param ms milliseconds, whole */
export const duration = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${(ms / 1000).toFixed(3)}s`);

export const socketAddress = ({ host, port }: { readonly host: string; readonly port: number }): Message => ({
  socket_address: { address: host, port_value: port },
});
export const pipe = (path: string, mode?: number): Message => ({ pipe: { path, ...(mode !== undefined && { mode }) } });

/** A file-based subscription: Envoy reads `file` again when something is renamed into its directory. */
export const fromFile = (directory: string, file: string): Message => ({
  path_config_source: { path: `${directory}/${file}`, watched_directory: { path: directory } },
  resource_api_version: 'V3',
});

/** Cloud load balancers and NAT drop TCP flows that are silent for a few minutes; a hold is silent for hours. */
export const TCP_KEEPALIVE = { keepalive_time: 60, keepalive_interval: 15, keepalive_probes: 4 } as const;
