/** A real Envoy with the generated configuration, and the least that it needs around it: a check that says what the test wants, a pass-through filter, a target that echoes. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type GrpcObject,
  Server as GrpcServer,
  loadPackageDefinition,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceClientConstructor,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import asc from 'assemblyscript/asc';
import { stringify } from 'yaml';
import { type Config, formatConfigError, formatHostPort, loadConfig, type ServerTls } from '../../authz-service/config/config.ts';
import { findEnvoy } from '../../authz-service/envoy/binary.ts';
import { type EnvoyProcess, startEnvoy } from '../../authz-service/envoy/process.ts';
import { freePort } from '../free_port.fixture.ts';

/** What of envoy.service.auth.v3.CheckRequest the tests look at. */
export interface Checked {
  readonly attributes: {
    readonly context_extensions: Readonly<Record<string, string>>;
    readonly request: {
      readonly http: {
        readonly method: string;
        readonly path: string;
        readonly host: string;
        readonly raw_body: Buffer;
        readonly header_map: { readonly headers: readonly { readonly key: string; readonly raw_value: Buffer }[] };
      };
    };
  };
}

export type Answer = Readonly<Record<string, unknown>>;
export const ALLOW: Answer = { status: { code: 0 }, ok_response: {} };
export const denial = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status: { code: 7 },
  denied_response: { status: { code: status }, body, headers: Object.entries(headers).map(([key, value]) => ({ header: { key, value } })) },
});

const ENVOY_PROTOS = ['envoy-api', 'xds', 'protoc-gen-validate', 'googleapis'].map((deps) =>
  fileURLToPath(new URL(`../../node_modules/@grpc/grpc-js-xds/deps/${deps}`, import.meta.url)),
);

function checkServer(answer: (request: Checked) => Answer | Promise<Answer>, cancelled: () => void): GrpcServer {
  const definition = loadSync('envoy/service/auth/v3/external_auth.proto', {
    includeDirs: ENVOY_PROTOS,
    keepCase: true,
    enums: String,
    longs: Number,
  });
  const auth = ((loadPackageDefinition(definition).envoy as GrpcObject).service as GrpcObject).auth as GrpcObject;
  const { service } = (auth.v3 as GrpcObject).Authorization as ServiceClientConstructor;
  const server = new GrpcServer({ 'grpc.max_receive_message_length': -1 });
  server.addService(service, {
    Check: (call: ServerUnaryCall<Checked, Answer>, done: sendUnaryData<Answer>) => {
      call.once('cancelled', cancelled);
      void Promise.resolve(answer(call.request)).then((given) => done(null, given));
    },
  });
  return server;
}

/** The pass-through filter: answers itself when the request says so, as the real one does, or traps. */
const FILTER = `
@external("env", "proxy_get_header_map_value") declare function get(map: u32, key: usize, size: usize, value: usize, length: usize): u32;
@external("env", "proxy_send_local_response") declare function reply(status: u32, details: usize, detailsSize: usize, body: usize, bodySize: usize, headers: usize, headersSize: usize, grpc: i32): u32;
const out = memory.data(8);
function test(id: u32): string {
  const key = String.UTF8.encode('test-filter');
  store<u32>(out, 0);
  if (get(0, changetype<usize>(key), key.byteLength, out, out + 4) != 0) return '';
  return String.UTF8.decodeUnsafe(load<u32>(out), load<u32>(out + 4));
}
export function proxy_abi_version_0_2_1(): void {}
export function proxy_on_memory_allocate(size: usize): usize { return heap.alloc(size); }
export function proxy_on_context_create(id: u32, parent: u32): void {}
export function proxy_on_vm_start(id: u32, size: u32): u32 { return 1; }
export function proxy_on_configure(id: u32, size: u32): u32 { return 1; }
export function proxy_on_request_headers(id: u32, count: u32, end: u32): u32 {
  const what = test(id);
  if (what == 'trap') unreachable();
  if (what != 'reply') return 0;
  const details = String.UTF8.encode('refused_by_the_filter');
  const body = String.UTF8.encode('{"title":"the filter\\'s own"}');
  const headers = String.UTF8.encode('\\x01\\0\\0\\0\\x0c\\0\\0\\0\\x18\\0\\0\\0content-type\\0application/problem+json\\0');
  reply(502, changetype<usize>(details), details.byteLength, changetype<usize>(body), body.byteLength, changetype<usize>(headers), headers.byteLength, -1);
  return 1;
}
export function proxy_on_done(id: u32): u32 { return 1; }
`;

async function compileFilter(file: string): Promise<void> {
  const { error, stderr } = await asc.main(['filter.ts', '--outFile', 'filter.wasm', '--runtime', 'incremental', '--use', 'abort=', '-O'], {
    readFile: (name) => (name === 'filter.ts' ? FILTER : null),
    writeFile: (name, contents) => {
      if (name === 'filter.wasm') writeFileSync(file, contents);
    },
    listFiles: () => [],
  });
  if (error) throw new Error(`${error.message}\n${stderr}`);
}

const mutualTls = ({ certificate, key, clientCa }: ServerTls): ServerCredentials =>
  ServerCredentials.createSsl(readFileSync(clientCa), [{ cert_chain: readFileSync(certificate), private_key: readFileSync(key) }], true);

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export const listening = async <S extends TcpServer>(server: S): Promise<{ readonly server: S; readonly port: number }> => {
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  return { server, port: (server.address() as AddressInfo).port };
};

/** A port that nobody had a moment ago. */
/** sluice.yaml as an object; `any`, since tests also write what is wrong. */
// biome-ignore lint/suspicious/noExplicitAny: as said
export type Document = Record<string, any>;

export interface Gateway {
  readonly config: Config;
  readonly port: number;
  readonly targetPort: number;
  readonly envoy: EnvoyProcess;
  readonly dir: string;
  /** Requests as the target got them, in order. */
  readonly seen: Seen[];
  readonly checked: Checked[];
  /** Called for each check; replace it at will. */
  answer: (request: Checked) => Answer | Promise<Answer>;
  /** Called when Envoy gives a check up. */
  onCancel: () => void;
  readonly log: string[];
  /** Rewrites the file and reads it again. */
  configure(change: (document: Document) => void): Config;
  /** The service goes away, with all that it was asked. */
  stopChecking(): void;
  close(): Promise<void>;
}

/** @param change of the configuration, whose one target `echo` has all hosts */
export async function startGateway(
  change: (document: Document, dir: string) => void = () => {},
  respond?: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Gateway> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-'));
  const seen: Seen[] = [];
  const checked: Checked[] = [];
  const log: string[] = [];
  const { server: target, port: targetPort } = await listening<Server>(
    createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks) });
        if (respond) respond(request, response);
        else response.setHeader('content-type', 'application/json').end(JSON.stringify({ url: request.url }));
      });
    }),
  );
  const port = await freePort();
  const document: Document = {
    version: 1,
    state_dir: 'state',
    listeners: [{ name: 'http', address: `127.0.0.1:${port}` }],
    issuers: [{ name: 'test', issuer: 'http://127.0.0.1:1', audiences: ['sluice'] }],
    targets: [{ name: 'echo', listener: 'http', url: `http://127.0.0.1:${targetPort}` }],
    policy: { path: '.' },
    envoy: { concurrency: 1, wasm: join(dir, 'filter.wasm') },
  };
  const load = (): Config => {
    const file = join(dir, 'sluice.yaml');
    writeFileSync(file, stringify(document));
    const result = loadConfig(file);
    if (!result.ok) throw new Error(result.errors.map(formatConfigError).join('\n'));
    return result.config;
  };
  change(document, dir);
  await compileFilter(join(dir, 'filter.wasm'));
  const config = load();
  mkdirSync(config.runDir, { recursive: true });
  const doors: Pick<Gateway, 'answer' | 'onCancel'> = { answer: () => ALLOW, onCancel: () => {} };
  const check = checkServer(
    (request) => {
      checked.push(request);
      return doors.answer(request);
    },
    () => doors.onCancel(),
  );
  const { service } = config;
  const [where, credentials] =
    service.check.kind === 'socket'
      ? [`unix:${service.check.path}`, ServerCredentials.createInsecure()]
      : [formatHostPort(service.check.address), mutualTls(service.check.tls)];
  await new Promise<void>((settle, fail) => check.bindAsync(where, credentials, (error) => (error ? fail(error) : settle())));
  const found = findEnvoy();
  if (!found.ok) throw new Error(found.problem);
  const envoy = await startEnvoy(config, { bin: found.bin, log: (line) => log.push(line) });
  return Object.assign(doors, {
    config,
    port,
    targetPort,
    dir,
    envoy,
    seen,
    checked,
    log,
    configure(again: (document: Document) => void): Config {
      again(document);
      return load();
    },
    stopChecking: (): void => check.forceShutdown(),
    async close(): Promise<void> {
      await envoy.stop();
      check.forceShutdown();
      target.closeAllConnections();
      await new Promise((settle) => target.close(settle));
      rmSync(dir, { recursive: true, force: true });
    },
  });
}
