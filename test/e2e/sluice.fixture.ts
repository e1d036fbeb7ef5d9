/** The whole product around a test: the service as a process that can be killed, a real Envoy, an issuer, and a real target (json-server). */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { type Config, formatConfigError, loadConfig } from '../../authz-service/config/config.ts';
import { findEnvoy } from '../../authz-service/envoy/binary.ts';
import { type EnvoyProcess, startEnvoy } from '../../authz-service/envoy/process.ts';
import { type LocalIssuer, localIssuer, signToken, type TestKey, testKey } from '../../authz-service/identity/local_issuer.fixture.ts';
import { freePort } from '../free_port.fixture.ts';
import { listening } from './envoy_gateway.fixture.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** As `./sluice` starts the service. */
const FLAGS = ['--max-semi-space-size=64'];
const jsonServer = createRequire(import.meta.url)('json-server') as {
  create(): { use(...handlers: unknown[]): void } & RequestListener;
  router(db: object): unknown;
  defaults(options: object): unknown;
};

export const CUSTOMERS = [
  { id: 1, name: 'Ada Byron', ssn: '536-22-8134', card: '4111111111111111', email: 'ada@example.com', balance: 1200.5 },
  { id: 2, name: 'Grace Brewster', ssn: '219-09-9999', card: '5500005555555559', email: 'grace@example.com', balance: -3 },
  { id: 7, name: 'Katherine Coleman', ssn: '457-55-5462', card: '340000000000009', email: 'kc@example.com', balance: 0 },
];
/** Nothing of these may ever reach an agent. */
export const SECRETS = CUSTOMERS.flatMap(({ ssn, card, email }) => [ssn, card, email]);

// biome-ignore lint/suspicious/noExplicitAny: a configuration as written, also a wrong one
export type Document = Record<string, any>;

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body broke off before its end. */
  readonly cut: boolean;
}

export interface Ask {
  readonly method?: string;
  readonly token?: string | undefined;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Buffer;
  readonly signal?: AbortSignal;
  readonly onData?: (chunk: Buffer) => void;
}

export class Sluice {
  readonly dir: string;
  readonly document: Document;
  readonly issuer: LocalIssuer;
  readonly key: TestKey;
  readonly port: number;
  readonly targetPort: number;
  readonly serviceLog: string[] = [];
  readonly envoyLog: string[] = [];
  /** Requests as the target got them. */
  readonly seen: { method: string; url: string; headers: IncomingHttpHeaders }[] = [];
  envoy!: EnvoyProcess;
  config!: Config;
  #service: ChildProcess | undefined;
  #target: Server;

  private constructor(
    dir: string,
    document: Document,
    issuer: LocalIssuer,
    key: TestKey,
    port: number,
    targetPort: number,
    target: Server,
  ) {
    this.dir = dir;
    this.document = document;
    this.issuer = issuer;
    this.key = key;
    this.port = port;
    this.targetPort = targetPort;
    this.#target = target;
  }

  /**
   * @param respond answers in place of json-server; false leaves the request to it
   * @param seenByEnvoy the configuration that Envoy is generated from, where it is to differ from the service's
   */
  static async start(
    change: (document: Document, dir: string) => void = () => {},
    respond: (...of: Parameters<RequestListener>) => boolean | undefined = () => false,
    seenByEnvoy: (config: Config) => Config = (config) => config,
  ): Promise<Sluice> {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-'));
    const app = jsonServer.create();
    app.use(jsonServer.defaults({ logger: false }));
    app.use(
      jsonServer.router({
        customers: structuredClone(CUSTOMERS),
        tickets: [{ id: 1, text: 'hello' }],
        orders: [{ id: 1, card: '4111111111111111' }],
      }),
    );
    const seen: Sluice['seen'] = [];
    const { server: target, port: targetPort } = await listening(
      createServer((request, response) => {
        seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
        if (!respond(request, response)) app(request, response);
      }),
    );
    // Envoy keeps its connections: on a busy machine it would use one at the moment at which Node closes it.
    target.keepAliveTimeout = 0;
    const key = await testKey('ES256', 'k1');
    const issuer = await localIssuer(key);
    const port = await freePort();
    const document: Document = {
      version: 1,
      state_dir: 'state',
      listeners: [{ name: 'http', address: `127.0.0.1:${port}` }],
      issuers: [{ name: 'test', issuer: issuer.url, audiences: ['gateway'] }],
      targets: [
        {
          name: 'demo',
          listener: 'http',
          url: `http://127.0.0.1:${targetPort}`,
          credentials: { default: { bearer: { file: join(dir, 'credential') } } },
        },
      ],
      policy: { path: join(ROOT, 'policies'), data: join(ROOT, 'demo/grants.yaml') },
      masking: { key: { file: join(dir, 'masking-key') } },
      admin: { auditors: ['group:audit'] },
      logging: { level: 'info' },
      envoy: { concurrency: 1 },
    };
    writeFileSync(join(dir, 'credential'), 'the-targets-own-secret\n');
    writeFileSync(join(dir, 'masking-key'), 'k'.repeat(40));
    change(document, dir);
    const sluice = new Sluice(dir, document, issuer, key, port, targetPort, target);
    Object.assign(sluice.seen, seen);
    Object.defineProperty(sluice, 'seen', { value: seen });
    sluice.configure();
    try {
      await sluice.startService();
      const found = findEnvoy();
      if (!found.ok) throw new Error(found.problem);
      sluice.envoy = await startEnvoy(seenByEnvoy(sluice.config), { bin: found.bin, log: (line) => sluice.envoyLog.push(line) });
    } catch (error) {
      const log = sluice.serviceLog.join('');
      await sluice.close();
      throw new Error(`${(error as Error).message}\n${log}`);
    }
    return sluice;
  }

  configure(): Config {
    const file = join(this.dir, 'sluice.yaml');
    writeFileSync(file, stringify(this.document));
    const result = loadConfig(file);
    if (!result.ok) throw new Error(result.errors.map(formatConfigError).join('\n'));
    this.config = result.config;
    mkdirSync(this.config.runDir, { recursive: true });
    return this.config;
  }

  async startService(): Promise<void> {
    const command = [join(ROOT, 'authz-service/cli/main.ts'), 'serve', '--config', join(this.dir, 'sluice.yaml')];
    const child = spawn(process.execPath, [...FLAGS, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: process.env,
    });
    this.#service = child;
    child.stdout?.on('data', (chunk: Buffer) => this.serviceLog.push(chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => this.serviceLog.push(chunk.toString()));
    for (const deadline = Date.now() + 60_000; ; await sleep(25)) {
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) throw new Error('the service did not start');
      const ready = await this.admin('GET', '/readyz').catch(() => undefined);
      if (ready?.status === 200) return;
    }
  }

  async stopService(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#service;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  get servicePid(): number {
    return this.#service?.pid ?? 0;
  }

  token(claims: Record<string, unknown> = {}): Promise<string> {
    return signToken(this.key, { iss: this.issuer.url, sub: 'agent-7', client_id: 'agent-7', groups: ['support-agents'], ...claims });
  }

  /** Tokens of people. */
  approver(name = 'dana', groups = ['leads']): Promise<string> {
    return signToken(this.key, { iss: this.issuer.url, sub: name, groups });
  }

  ask(path: string, ask: Ask = {}): Promise<Reply> {
    return send({ host: '127.0.0.1', port: this.port }, path, ask);
  }

  admin(method: string, path: string, token?: string, body?: object): Promise<Reply> {
    return send({ socketPath: this.config.admin.socket }, path, {
      method,
      token,
      ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
  }

  /** The open approvals, once there are as many as asked for. */
  async approvals(count = 1): Promise<{ id: string; session: string; summary: string }[]> {
    const token = await this.approver();
    for (const deadline = Date.now() + 15_000; ; await sleep(20)) {
      const { approvals } = JSON.parse((await this.admin('GET', '/v1/approvals?state=pending', token)).text);
      if (approvals.length >= count) return approvals;
      if (Date.now() > deadline) throw new Error(`${approvals.length} approvals are pending, not ${count}`);
    }
  }

  async answer(id: string, verdict: 'approve' | 'deny', reason = 'as agreed', token?: string): Promise<Reply> {
    return this.admin('POST', `/v1/approvals/${id}/answer`, token ?? (await this.approver()), { verdict, reason });
  }

  /** A session's events, once the one asked for is among them. */
  async events(session: string, kind = 'session_closed'): Promise<Record<string, unknown>[]> {
    const token = await this.approver('olga', ['audit']);
    for (const deadline = Date.now() + 15_000; ; await sleep(20)) {
      const reply = await this.admin('GET', `/v1/sessions/${session}`, token);
      const events = reply.status === 200 ? (JSON.parse(reply.text).events as Record<string, unknown>[]) : [];
      if (events.some((event) => JSON.stringify(event).includes(kind))) return events;
      if (Date.now() > deadline) throw new Error(`no ${kind} in ${reply.text}`);
    }
  }

  async close(): Promise<void> {
    await this.envoy?.stop();
    await this.stopService('SIGKILL');
    this.#target.closeAllConnections();
    this.#target.close();
    await this.issuer[Symbol.asyncDispose]();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function send(where: object, path: string, { method = 'GET', token, headers = {}, body, signal, onData }: Ask): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = {
      ...where,
      method,
      path,
      agent: false,
      headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
      ...(signal && { signal }),
    };
    const request = httpRequest(options, (response) => {
      const chunks: Buffer[] = [];
      const end = (cut: boolean) =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString(), cut });
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        onData?.(chunk);
      });
      response.on('end', () => end(!response.complete));
      response.on('error', () => end(true));
    });
    request.on('error', reject);
    request.end(body);
  });
}
