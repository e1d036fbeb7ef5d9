/** TLS contexts. Certificates come through file-based SDS, so that a renewed one is used without a new listener or cluster. */
import { isIP } from 'node:net';
import { dirname } from 'node:path';
import { type Json, type Message, typed } from './message.ts';

/** Files of secrets by name. A file-based secret discovery has exactly one secret. */
export interface Secrets {
  /** @returns an SdsSecretConfig that refers to it */
  certificate(name: string, certificate: string, key: string): Message;
  authorities(name: string, ca: string, sans?: readonly Message[]): Message;
  readonly files: ReadonlyMap<string, Message>;
}

const SECRET = 'envoy.extensions.transport_sockets.tls.v3.Secret';
const file = (filename: string): Message => ({ filename });

/** @param directory where the files will be on Envoy's machine */
export function secretFiles(directory: string): Secrets {
  const files = new Map<string, Message>();
  const refer = (name: string, secret: Message): Message => {
    const fileName = `secret-${name}.yaml`;
    files.set(fileName, { resources: [typed(SECRET, { name, ...secret })] });
    return {
      name,
      sds_config: {
        path_config_source: { path: `${directory}/${fileName}`, watched_directory: { path: directory } },
        resource_api_version: 'V3',
      },
    };
  };
  return {
    files,
    certificate: (name, certificate, key) =>
      refer(name, {
        tls_certificate: {
          certificate_chain: file(certificate),
          private_key: file(key),
          watched_directory: { path: dirname(certificate) },
        },
      }),
    authorities: (name, ca, sans = []) =>
      refer(name, {
        validation_context: {
          trusted_ca: file(ca),
          watched_directory: { path: dirname(ca) },
          ...(sans.length > 0 && { match_typed_subject_alt_names: sans }),
        },
      }),
  };
}

const PARAMETERS = { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' } as const;

interface Pair {
  readonly certificate: string;
  readonly key: string;
}

/** Towards agents. With `clientCa`, an agent must present a certificate. */
export const downstreamTls = (
  name: string,
  { certificate, key, clientCa }: Pair & { readonly clientCa: string | undefined },
  alpn: readonly string[],
  secrets: Secrets,
): Message => ({
  name: 'envoy.transport_sockets.tls',
  typed_config: typed('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
    common_tls_context: {
      tls_params: PARAMETERS,
      alpn_protocols: alpn,
      tls_certificate_sds_secret_configs: [secrets.certificate(`${name}-certificate`, certificate, key)],
      ...(clientCa !== undefined && { validation_context_sds_secret_config: secrets.authorities(`${name}-client-ca`, clientCa) }),
    },
    require_client_certificate: clientCa !== undefined,
  }),
});

export interface UpstreamTls {
  readonly ca: string;
  /** Asked for (SNI, unless it is an IP address) and verified in the certificate. */
  readonly serverName: string;
  readonly client?: Pair | undefined;
  readonly alpn: readonly Json[];
}

export const upstreamTls = (name: string, { ca, serverName, client, alpn }: UpstreamTls, secrets: Secrets): Message => {
  const ip = isIP(serverName) !== 0;
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: typed('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
      ...(!ip && { sni: serverName }),
      common_tls_context: {
        tls_params: PARAMETERS,
        ...(alpn.length > 0 && { alpn_protocols: alpn }),
        ...(client && {
          tls_certificate_sds_secret_configs: [secrets.certificate(`${name}-client-certificate`, client.certificate, client.key)],
        }),
        validation_context_sds_secret_config: secrets.authorities(`${name}-ca`, ca, [
          { san_type: ip ? 'IP_ADDRESS' : 'DNS', matcher: { exact: serverName } },
        ]),
      },
    }),
  };
};
