import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** Envoy's API definitions are not copied: they come with `@grpc/grpc-js-xds`. */
const deps = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');

const definition = loadSync('envoy/service/auth/v3/external_auth.proto', {
  keepCase: true,
  longs: Number,
  enums: Number,
  defaults: false,
  includeDirs: ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((folder) => join(deps, folder)),
});

/** `envoy.service.auth.v3.Authorization`, as grpc-js wants it. */
export const authorizationService = definition['envoy.service.auth.v3.Authorization'] as unknown as grpc.ServiceDefinition;

export interface RawHeader {
  readonly key: string;
  readonly value?: string;
  readonly raw_value?: Buffer;
}

/** The parts of `CheckRequest` that are read. Nothing in it is trusted to be there. */
export interface CheckRequest {
  readonly attributes?: {
    readonly source?: { readonly address?: { readonly socket_address?: { readonly address?: string; readonly port_value?: number } } };
    readonly request?: {
      readonly http?: {
        readonly method?: string;
        readonly path?: string;
        readonly host?: string;
        readonly headers?: Readonly<Record<string, string>>;
        readonly header_map?: { readonly headers?: readonly RawHeader[] };
        readonly body?: string;
        readonly raw_body?: Buffer;
      };
    };
    readonly context_extensions?: Readonly<Record<string, string>>;
  };
}

export interface HeaderOption {
  readonly header: { readonly key: string; readonly value: string };
  readonly append_action?: number;
}

export interface CheckResponse {
  readonly status: { readonly code: number };
  readonly ok_response?: { readonly headers?: readonly HeaderOption[]; readonly headers_to_remove?: readonly string[] };
  readonly denied_response?: { readonly status: { readonly code: number }; readonly headers: readonly HeaderOption[]; readonly body: string };
  readonly dynamic_metadata?: { readonly fields: Readonly<Record<string, { readonly stringValue: string }>> };
}
