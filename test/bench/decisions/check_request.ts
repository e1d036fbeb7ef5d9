/** The `CheckRequest` that Envoy sends for an agent's GET, as the bytes of one gRPC message. */
import { envoyAuthorization } from './stock_codec.ts';

export function checkRequest(token: string): Buffer {
  const header = (key: string, value: string) => ({ key, raw_value: Buffer.from(value) });
  const address = (host: string, port: number) => ({ address: { socket_address: { address: host, port_value: port } } });
  const message = envoyAuthorization.Check.requestSerialize({
    attributes: {
      source: address('127.0.0.1', 51_234),
      destination: address('127.0.0.1', 10_000),
      request: {
        time: { seconds: 1_767_225_600, nanos: 123_456_000 },
        http: {
          id: '1234567890123456789',
          method: 'GET',
          path: '/customers/7?fields=name,balance',
          host: 'crm.example:10000',
          scheme: 'http',
          protocol: 'HTTP/1.1',
          header_map: {
            headers: [
              header(':authority', 'crm.example:10000'),
              header(':path', '/customers/7?fields=name,balance'),
              header(':method', 'GET'),
              header(':scheme', 'http'),
              header('user-agent', 'agent-runtime/2.4 (linux; x64)'),
              header('accept', 'application/json'),
              header('accept-encoding', 'gzip, deflate, br'),
              header('authorization', `Bearer ${token}`),
              header('x-forwarded-proto', 'http'),
              header('x-request-id', '5b1c3d1e-7a0f-4f0e-9d5b-0f6b8a0e4c11'),
              header('traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
            ],
          },
        },
      },
      context_extensions: { target: 'demo' },
      metadata_context: {},
      route_metadata_context: {},
    },
  });
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
}
