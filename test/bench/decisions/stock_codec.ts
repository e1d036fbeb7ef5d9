/** Envoy's `Authorization` service as `@grpc/proto-loader` makes it: what a bare server of grpc-js reads and writes with. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const deps = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');

const definition = loadSync('envoy/service/auth/v3/external_auth.proto', {
  keepCase: true,
  longs: Number,
  enums: Number,
  defaults: false,
  includeDirs: ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((folder) => join(deps, folder)),
});

export const envoyAuthorization = definition['envoy.service.auth.v3.Authorization'] as unknown as {
  readonly Check: grpc.MethodDefinition<object, object>;
};
