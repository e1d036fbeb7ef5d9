/** A gRPC server on one of the endpoints towards Envoy: a Unix socket that only this user may open, or mutual TLS. */
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import type { Endpoint } from './config/config.ts';

export interface GrpcService {
  readonly definition: grpc.ServiceDefinition;
  readonly implementation: grpc.UntypedServiceImplementation;
}

export interface GrpcDoor {
  /** Lets calls under way end, at most this long. */
  close(withinMs: number): Promise<void>;
}

/** @throws {Error} when the endpoint cannot be listened on. */
export async function openDoor(endpoint: Endpoint, services: readonly GrpcService[], maxMessageBytes: number): Promise<GrpcDoor> {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_concurrent_streams': 0xffff_ffff,
    // Nobody looks at it, and every call pays for it.
    'grpc.enable_channelz': 0,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
  });
  for (const { definition, implementation } of services) server.addService(definition, implementation);
  // A socket that a killed service left behind; a live one has the lock of the state directory.
  if (endpoint.kind === 'socket') rmSync(endpoint.path, { force: true });
  const address = endpoint.kind === 'socket' ? `unix:${endpoint.path}` : `${endpoint.address.host}:${endpoint.address.port}`;
  await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentialsOf(endpoint), (error, port) => (error ? reject(error) : resolve(port)));
  });
  if (endpoint.kind === 'socket') chmodSync(endpoint.path, 0o600);
  return {
    async close(withinMs) {
      await new Promise<void>((resolve) => {
        const force = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, withinMs);
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      });
      if (endpoint.kind === 'socket') rmSync(endpoint.path, { force: true });
    },
  };
}

function credentialsOf(endpoint: Endpoint): grpc.ServerCredentials {
  if (endpoint.kind === 'socket') return grpc.ServerCredentials.createInsecure();
  const { certificate, key, clientCa } = endpoint.tls;
  return grpc.ServerCredentials.createSsl(
    readFileSync(clientCa),
    [{ cert_chain: readFileSync(certificate), private_key: readFileSync(key) }],
    true,
  );
}
