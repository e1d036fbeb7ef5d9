import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../free_port.fixture.ts';
import { authority } from './certificates.fixture.ts';
import { SECRETS, Sluice } from './sluice.fixture.ts';

let sluice: Sluice;
let ca: ReturnType<typeof authority>;
let checkPort: number;
beforeAll(async () => {
  checkPort = await freePort();
  const tapPort = await freePort();
  sluice = await Sluice.start((document, dir) => {
    ca = authority(dir, 'ca');
    const service = ca.issue('service', ['127.0.0.1']);
    const envoy = ca.issue('envoy', ['envoy.test']);
    const tls = { ...service, client_ca: ca.certificate };
    document.service = { check: { address: `127.0.0.1:${checkPort}`, tls }, tap: { address: `127.0.0.1:${tapPort}`, tls } };
    document.envoy.tls = { ...envoy, ca: ca.certificate };
  });
});
afterAll(() => sluice?.close());

test('Envoy and the service talk by mutual TLS', async () => {
  const reply = await sluice.ask('/customers', { token: await sluice.token() });
  expect(reply.status).toBe(200);
  for (const secret of SECRETS) expect(reply.text).not.toContain(secret);
  await sluice.events(String(reply.headers['x-sluice-session']), 'response_finished');
});

test.each(['without TLS', 'without a certificate'])('nobody else is served: %s', async (how) => {
  const credentials = how === 'without TLS' ? grpc.credentials.createInsecure() : grpc.credentials.createSsl(readFileSync(ca.certificate));
  const client = new grpc.Client(`127.0.0.1:${checkPort}`, credentials);
  const bytes = (value: Buffer): Buffer => value;
  const code = await new Promise((resolve) => {
    const options = { deadline: Date.now() + 3000 };
    client.makeUnaryRequest('/envoy.service.auth.v3.Authorization/Check', bytes, bytes, Buffer.alloc(0), options, (error) =>
      resolve(error?.code),
    );
  });
  client.close();
  expect([grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED]).toContain(code);
});
