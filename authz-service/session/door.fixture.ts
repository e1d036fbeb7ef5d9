/** A session door behind a real gRPC server, with a policy, an analysis and a tap that the test says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import type { Prepared } from '../analysis/analyse.ts';
import { createAnalyst, type Analyst as RealAnalyst } from '../analysis/analyst.ts';
import { Catalog, type CatalogData } from '../analysis/catalog.ts';
import { AnalysisError } from '../analysis/error.ts';
import { CrashableDisk } from '../approval/approvals.fixture.ts';
import { type Approvals, createApprovals } from '../approval/approvals.ts';
import type { Decision } from '../decision/decision.ts';
import type { RecordedEvent } from '../decision/ports.ts';
import type { Identity, Request, SqlRequest } from '../decision/request.ts';
import { commandPlanner } from '../mask/command_plan.ts';
import type { Passage } from '../passages.ts';
import { unaryServer } from '../unary_server.ts';
import { createDatabase } from './database.ts';
import { createSessions, type SessionDoorOptions, type Sessions } from './door.ts';
import { Generations } from './generations.ts';
import { loadSessionProto, sessionMethods } from './messages.ts';
import type { Analysis, SessionPorts } from './ports.ts';

export const AGENT: Identity = {
  id: 'corp:agent-7',
  issuer: 'corp',
  subject: 'agent-7',
  name: 'Agent 7',
  kind: 'workload',
  client: 'agent-7',
  tenant: '',
  groups: [],
  roles: [],
  scopes: [],
};
const DANA: Identity = { ...AGENT, id: 'corp:dana', subject: 'dana', name: 'Dana', kind: 'user', groups: ['dba'] };

export const allow = (more: object = {}): Decision =>
  ({
    effect: 'allow',
    rule: 'reads',
    reason: '',
    matched: [],
    dependsOn: ['identity', 'target', 'request'],
    obligations: [],
    credential: '',
    ...more,
  }) as Decision;
export const deny: Decision = { effect: 'deny', rule: 'no-deletes', reason: 'nothing is deleted here', matched: [], dependsOn: [] };
export const hold = (more: object = {}): Decision =>
  ({
    ...allow(more),
    effect: 'hold',
    rule: 'ddl',
    reason: 'DDL needs a DBA',
    hold: { approvers: ['group:dba'], quorum: 1, ttlMs: 60_000 },
  }) as Decision;

export const CATALOG: CatalogData = {
  relations: [
    {
      oid: 16_400,
      schema: 'public',
      name: 'customers',
      kind: 'table',
      columns: [
        { name: 'id', attribute: 1, type: 23 },
        { name: 'ssn', attribute: 2, type: 25 },
      ],
      parents: [],
      rewrites: false,
    },
    {
      oid: 16_410,
      schema: 'public',
      name: 'customers_eu',
      kind: 'table',
      columns: [
        { name: 'ssn', attribute: 1, type: 25 },
        { name: 'id', attribute: 2, type: 23 },
      ],
      parents: [16_400],
      rewrites: false,
    },
    {
      oid: 16_420,
      schema: 'public',
      name: 'people',
      kind: 'view',
      columns: [{ name: 'x', attribute: 1, type: 25 }],
      parents: [],
      rewrites: false,
      definition: 'SELECT customers.ssn AS x FROM public.customers',
    },
  ],
  functions: [],
  calledAsFields: [],
  operators: [],
  casts: [],
  shadows: [],
  searchPath: ['public'],
};

export const analysisOf = (more: Partial<Omit<Analysis, 'request'>> & { request?: Partial<SqlRequest> } = {}): Analysis => ({
  result: ['origin'],
  touchesSensitive: false,
  copyOut: undefined,
  maskedText: 'select …',
  fingerprint: '348bee4e67e86ca6',
  readOnly: true,
  statements: 1,
  ...more,
  request: { commands: ['select'], reads: [], writes: [], columns: [], functions: [], complete: true, incomplete: [], ...more.request },
});

/** An answer as a filter reads it. */
export type Answer = Record<string, never> & {
  readonly session: string;
  readonly greeting: Buffer;
  readonly validMs: number;
  readonly generation: number;
  readonly reply: Buffer;
  readonly known: boolean;
  readonly command: number;
  readonly refusal?: {
    readonly kind: string;
    readonly message: string;
    readonly detail: string;
    readonly hint: string;
    readonly code: string;
  };
  readonly refused?: {
    readonly kind: string;
    readonly message: string;
    readonly detail: string;
    readonly hint: string;
    readonly code: string;
  };
  readonly held?: { readonly approval: string; readonly message: string; readonly hint: string };
  readonly allowed?: {
    readonly eachExecution: boolean;
    readonly policyRevision: string;
    readonly generation: number;
    readonly reuse: string;
    readonly unsettles: boolean;
    readonly byName: boolean;
    readonly plan: {
      readonly origins: readonly {
        readonly table: number;
        readonly attribute: number;
        readonly rule: { readonly id: string; readonly method: string };
      }[];
      readonly originsId: Buffer;
      readonly unproven?: { readonly method: string };
      readonly clearPositions: readonly number[];
      readonly positions: readonly { readonly position: number }[];
      readonly maskMessages: boolean;
      readonly copyOut?: { readonly format: string; readonly columns: readonly { readonly id: string; readonly method: string }[] };
    };
  };
};

/** The real one, started once for a file of tests: where columns go is its to know. */
let started: Promise<RealAnalyst> | undefined;
const realAnalyst = (): Promise<RealAnalyst> => (started ??= createAnalyst({ workers: 1 }));
export const endAnalyst = async (): Promise<void> => (await started)?.close();

export class World {
  readonly #dir = mkdtempSync(join(tmpdir(), 'sluice-door-'));
  readonly tap: RecordedEvent[] = [];
  readonly inputs: Request[] = [];
  readonly faults: unknown[] = [];
  /** Ends that wait for what a filter told before. */
  readonly ends: Parameters<SessionPorts['end']>[0][] = [];
  /** By the request: what the policy says. */
  decide: (request: SqlRequest) => Decision = () => allow();
  analyse: (text: string, sensitive: readonly string[], prepared?: Prepared) => Analysis = () => analysisOf();
  /** The tap takes nothing. */
  lost = false;
  served = true;
  /** How long the tap needs for an event. */
  taking: (event: RecordedEvent) => Promise<void> = async () => {};
  catalogFails = false;
  catalogReads = 0;
  /** The catalog is another from now on. */
  changeCatalog: () => void = () => {};
  passages = new Map<string, Passage>();
  generations = new Generations({ leaseMs: 300, openMs: 100 });
  /** Of the next token, unix milliseconds. */
  expiresAt: number | undefined;
  sessions!: Sessions;
  #approvals!: Approvals;
  #client!: grpc.Client;
  #close: () => Promise<void> = async () => {};
  #proto = loadSessionProto();

  async open(options: SessionDoorOptions = {}): Promise<this> {
    const record = async (events: readonly RecordedEvent[]): Promise<void> => {
      if (this.lost) throw new Error('the disk is full');
      for (const event of events) await this.taking(event);
      this.tap.push(...events);
    };
    this.#approvals = await createApprovals({
      store: new CrashableDisk().open(),
      record: async (events) => void this.tap.push(...(events as never[])),
    });
    let catalog = new Catalog(CATALOG);
    this.changeCatalog = () => (catalog = new Catalog(CATALOG));
    const read = async (): Promise<Catalog> => {
      if (this.catalogFails) throw new Error('connection refused');
      return catalog;
    };
    const database = createDatabase({
      info: { name: 'ledger', protocol: 'postgres', labels: {} },
      name: 'ledger',
      sensitive: ['public.customers.ssn'],
      logIn: (credential) => {
        if (credential === 'missing') throw new Error('there is no such credential');
        return { credential: credential || 'default', username: 'app', password: 'pencil' };
      },
      analyst: {
        analyse: async (text, _, { patterns }, prepared) => {
          if (text === 'syntax') throw new AnalysisError('syntax', 'syntax error at or near "syntax"');
          return this.analyse(text, patterns, prepared);
        },
        origins: async (of, sensitive) => (await realAnalyst()).origins(of, sensitive),
      },
      source: {
        catalog: read,
        refresh: () => {
          this.catalogReads += 1;
          catalog = new Catalog(CATALOG);
          return read();
        },
      },
    });
    let number = 0;
    const ports: SessionPorts = {
      policy: {
        evaluate: async (json) => {
          const input = JSON.parse(json) as Request;
          this.inputs.push(input);
          return { ok: true, decision: this.decide(input.request as SqlRequest), revision: 'rev-1', micros: 7 };
        },
      },
      approvals: this.#approvals,
      record,
      maskRequest: (json) => json,
      maskText: (text) => text,
      observe: { decision: () => {}, stage: () => {} },
      newSession: () => `ses_${(number += 1)}`,
      identify: async (token) =>
        token === 'good'
          ? {
              ok: true,
              identity: AGENT,
              run: { id: 'run-1', onBehalfOf: '', source: 'token' },
              ...(this.expiresAt && { expiresAt: this.expiresAt }),
            }
          : { ok: false, code: 'token_malformed', description: 'The token is none.', unavailable: token === 'away' },
      passage: (session) => {
        const passage = this.passages.get(session);
        this.passages.delete(session);
        return passage;
      },
      database: (target) => (target === 'ledger' ? database : undefined),
      plan: commandPlanner({ key: { env: 'MASKING_KEY' } }, () => ({ maxRequestBytes: 1000, maxResponseBytes: 2000 })),
      end: async (end) => {
        this.ends.push(end);
        await record([{ session: end.session, target: end.target, body: { kind: 'session_closed', outcome: end.outcome } }]);
      },
      serves: () => this.served,
      generations: this.generations,
      fault: (error) => this.faults.push(error),
    };
    this.sessions = createSessions(ports, options);
    const server = unaryServer(sessionMethods(this.sessions), { maxMessageBytes: 4 << 20 });
    const path = join(this.#dir, 'door.sock');
    await server.listen({ path });
    this.#client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
    this.#close = async () => {
      this.#client.close();
      this.sessions.stop();
      await this.#approvals.close();
      await server.close(0);
      rmSync(this.#dir, { recursive: true, force: true });
    };
    return this;
  }

  close(): Promise<void> {
    return this.#close();
  }

  /** Calls a method as Envoy does: over gRPC. `cancel` ends the call. */
  call(method: string, request: object): { readonly answer: Promise<Answer>; readonly cancel: () => void } {
    const service = this.#proto.lookupService('sluice.session.v1.SessionDoor');
    const { resolvedRequestType: asked, resolvedResponseType: answered } = service.methods[method] ?? {};
    if (!asked || !answered) throw new Error(`no method ${method}`);
    let call: grpc.ClientUnaryCall | undefined;
    const answer = new Promise<Answer>((resolve, reject) => {
      call = this.#client.makeUnaryRequest(
        `/sluice.session.v1.SessionDoor/${method}`,
        (message: object) => Buffer.from(asked.encode(message).finish()),
        (bytes: Buffer) =>
          answered.toObject(answered.decode(bytes), { defaults: true, arrays: true, enums: String, longs: Number, oneofs: true }) as Answer,
        request,
        (error, message) => (error || !message ? reject(error) : resolve(message)),
      );
    });
    answer.catch(() => {});
    return { answer, cancel: () => call?.cancel() };
  }

  ask(method: string, request: object): Promise<Answer> {
    return this.call(method, request).answer;
  }

  openWith(more: object = {}): Promise<Answer> {
    return this.ask('Open', {
      target: 'ledger',
      downstreamAddress: '127.0.0.1:5',
      emitter: 'e1',
      token: Buffer.from('good'),
      parameters: {},
      ...more,
    });
  }

  /** A session that is open and logged in, with a cancel key. */
  async ready(): Promise<string> {
    const { session } = await this.openWith();
    await this.ask('LogIn', { session, message: Buffer.from('R\0\0\0\x08\0\0\0\x03') });
    const { refusal } = await this.ask('Ready', { session, cancelKey: Buffer.from(`key of ${session}`) });
    if (refusal) throw new Error(refusal.message);
    return session;
  }

  judge(session: string, text: string, more: object = {}): Promise<Answer> {
    return this.ask('Judge', { session, text: Buffer.from(text), ...more });
  }

  answerAll(verdict: 'approve' | 'deny', reason = 'because'): Promise<unknown> {
    return Promise.all(
      this.#approvals.list('pending').map(({ id }) => this.#approvals.answer(id, { identity: DANA, onBehalfOf: '' }, verdict, reason)),
    );
  }

  /** What approvers are shown. */
  get summaries(): string[] {
    return this.#approvals.list().map(({ request }) => request.summary);
  }

  get states(): string[] {
    return this.#approvals.list().map(({ progress }) => progress.state);
  }

  /** The record of one session: kind, number of the command, and what tells events of a kind apart. */
  record(session: string): string[] {
    return this.tap
      .filter((event) => event.session === session)
      .map(({ body, command }) => {
        const { kind, ...of } = body as { kind: string } & Record<string, string>;
        return [kind, ...(command === undefined ? [] : [command]), of.effect ?? of.outcome ?? of.answer ?? of.emitter]
          .filter((part) => part !== undefined)
          .join(' ');
      });
  }
}
