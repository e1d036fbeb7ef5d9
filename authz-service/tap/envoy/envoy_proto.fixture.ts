/** Envoy's own definitions of its services, written by a codec of others' making. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { MethodDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const deps = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');

/** `file`: below `envoy/`. Its messages take fields by the names of the definition, and 64-bit numbers as text. */
export const envoyMethod = (file: string, service: string, method: string): MethodDefinition<object, object> => {
  const loaded = loadSync(`envoy/${file}`, {
    keepCase: true,
    longs: String,
    includeDirs: ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((folder) => join(deps, folder)),
  });
  return (loaded[service] as unknown as Record<string, MethodDefinition<object, object>>)[method] as MethodDefinition<object, object>;
};
