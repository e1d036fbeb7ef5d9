/** The gRPC doors, on one of the endpoints towards Envoy: a Unix socket that only this user may open, or mutual TLS. */
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import type { Endpoint } from './config/config.ts';
import { type UnaryMethod, unaryServer } from './unary_server.ts';

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
  const address = endpoint.kind === 'socket' ? `unix:${endpoint.path}` : `${endpoint.address.host}:${endpoint.address.port}`;
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.bindAsync(address, credentialsOf(endpoint), (error) => (error ? reject(error) : resolve()));
    });
  const close = (withinMs: number) =>
    new Promise<void>((resolve) => {
      const force = setTimeout(() => {
        server.forceShutdown();
        resolve();
      }, withinMs);
      server.tryShutdown(() => {
        clearTimeout(force);
        resolve();
      });
    });
  return openOn(endpoint, listen, close);
}

/** A door of unary methods, that every request comes through. @throws {Error} when the endpoint cannot be listened on. */
export async function openUnaryDoor(endpoint: Endpoint, methods: readonly UnaryMethod[], maxMessageBytes: number): Promise<GrpcDoor> {
  if (endpoint.kind === 'socket') {
    const server = unaryServer(methods, { maxMessageBytes });
    return openOn(endpoint, () => server.listen({ path: endpoint.path }), server.close);
  }
  const { certificate: cert, key, clientCa: ca } = filesOf(endpoint);
  const server = unaryServer(methods, { maxMessageBytes, tls: { cert, key, ca } });
  return openOn(endpoint, () => server.listen(endpoint.address), server.close);
}

async function openOn(endpoint: Endpoint, listen: () => Promise<void>, close: GrpcDoor['close']): Promise<GrpcDoor> {
  const path = endpoint.kind === 'socket' ? endpoint.path : undefined;
  // A socket that a killed service left behind; a live one has the lock of the state directory.
  if (path !== undefined) rmSync(path, { force: true });
  await listen();
  if (path !== undefined) chmodSync(path, 0o600);
  return {
    async close(withinMs) {
      await close(withinMs);
      if (path !== undefined) rmSync(path, { force: true });
    },
  };
}

type TlsEndpoint = Exclude<Endpoint, { kind: 'socket' }>;

const filesOf = ({ tls }: TlsEndpoint) => ({
  certificate: readFileSync(tls.certificate),
  key: readFileSync(tls.key),
  clientCa: readFileSync(tls.clientCa),
});

function credentialsOf(endpoint: Endpoint): grpc.ServerCredentials {
  if (endpoint.kind === 'socket') return grpc.ServerCredentials.createInsecure();
  const { certificate, key, clientCa } = filesOf(endpoint);
  return grpc.ServerCredentials.createSsl(clientCa, [{ cert_chain: certificate, private_key: key }], true);
}
