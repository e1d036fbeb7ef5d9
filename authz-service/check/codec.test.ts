import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WireError } from '../tap/wire.ts';
import { decodeCheckRequest, encodeCheckResponse } from './codec.ts';
import type { CheckResponse } from './envoy_proto.ts';

/** Envoy's own definitions, read by a codec of others' making. */
const deps = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');
const loaded = loadSync('envoy/service/auth/v3/external_auth.proto', {
  keepCase: true,
  enums: Number,
  defaults: true,
  includeDirs: ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((folder) => join(deps, folder)),
});
const { Check } = loaded['envoy.service.auth.v3.Authorization'] as unknown as { Check: grpc.MethodDefinition<object, object> };

const text = fc.string({ unit: 'binary' }).filter((sample) => sample.isWellFormed());
const texts = fc.dictionary(text, text, { maxKeys: 4 });
const bytes = fc.uint8Array({ minLength: 1 }).map((sample) => Buffer.from(sample));

describe('requests', () => {
  test('are read as Envoy means them, whatever else it tells', () => {
    const http = fc.record({
      id: text,
      method: text,
      path: text,
      host: text,
      scheme: text,
      body: text,
      raw_body: bytes,
      headers: texts,
      header_map: fc.record({ headers: fc.array(fc.record({ key: text, raw_value: bytes }), { maxLength: 6 }) }),
    });
    const port = fc.integer({ min: 1, max: 65_535 });
    fc.assert(
      fc.property(http, texts, text, port, (asked, context_extensions, address, port_value) => {
        const source = { principal: 'p', address: { socket_address: { address, port_value } } };
        const request = { time: { seconds: 1_700_000_000, nanos: 5 }, http: asked };
        const attributes = { source, destination: source, request, context_extensions, metadata_context: {}, tls_session: { sni: 's' } };
        const read = decodeCheckRequest(Check.requestSerialize({ attributes })).attributes;
        const { method = '', path = '', host = '', body = '', raw_body, headers, header_map } = read?.request?.http ?? {};
        expect({ method, path, host, body }).toEqual({ method: asked.method, path: asked.path, host: asked.host, body: asked.body });
        expect(raw_body).toEqual(asked.raw_body);
        expect(header_map?.headers?.map(({ key, raw_value }) => [key, raw_value])).toEqual(
          asked.header_map.headers.map(({ key, raw_value }) => [key, raw_value]),
        );
        expect({ ...headers }).toEqual({ ...asked.headers });
        expect({ ...read?.context_extensions }).toEqual({ ...context_extensions });
        expect(read?.source?.address?.socket_address).toEqual({ address, port_value });
      }),
      { numRuns: 300 },
    );
  });

  test('of any other bytes are refused, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (sample) => {
        try {
          decodeCheckRequest(sample);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('that are cut off anywhere within the message are refused', () => {
    const whole = Check.requestSerialize({ attributes: { request: { http: { method: 'GET', path: '/customers' } } } });
    for (let length = 1; length < whole.length; length++) expect(() => decodeCheckRequest(whole.subarray(0, length))).toThrow(WireError);
  });
});

describe('responses', () => {
  const header = fc.record({ header: fc.record({ key: text, value: text }), append_action: fc.constantFrom(0, 2) });
  const fields = fc.dictionary(
    text.filter((name) => name !== '__proto__'),
    text.map((stringValue) => ({ stringValue })),
    { maxKeys: 4 },
  );
  const passing = fc.record({ headers: fc.array(header, { maxLength: 4 }), headers_to_remove: fc.array(text, { maxLength: 4 }) });
  const denying = fc.record({
    status: fc.record({ code: fc.constantFrom(202, 401, 403, 503) }),
    headers: fc.array(header, { maxLength: 4 }),
    body: text,
  });
  const response: fc.Arbitrary<CheckResponse> = fc.oneof(
    fc.record({ status: fc.constant({ code: 0 }), ok_response: passing, dynamic_metadata: fc.record({ fields }) }),
    fc.record({ status: fc.constant({ code: 7 }), denied_response: denying }),
  );

  test('say to others what was meant', () => {
    fc.assert(
      fc.property(response, (answer) => {
        const read = (message: Buffer) => JSON.parse(JSON.stringify(Check.responseDeserialize(message)));
        expect(read(encodeCheckResponse(answer))).toEqual(read(Check.responseSerialize(answer)));
      }),
      { numRuns: 300 },
    );
  });
});
