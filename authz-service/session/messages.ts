/** The messages of `sluice.session.v1.SessionDoor`, from its own description in proto/. */
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import type { CommandPlan } from '../mask/command_plan.ts';
import type { UnaryMethod } from '../unary_server.ts';

export interface OpenRequest {
  readonly target: string;
  readonly downstreamAddress: string;
  readonly emitter: string;
  readonly proof?: 'token' | 'passage';
  /** With the proof `token`; absent when it is empty. */
  readonly token?: Buffer | null;
  readonly passage: string;
  readonly parameters: Readonly<Record<string, string>>;
  /** How long the answer may take where access is held, milliseconds; 0: as long as it takes. */
  readonly waitMs: number;
}

/** By their number in the protocol. */
export const REFUSAL = { unauthenticated: 1, denied: 2, unavailable: 3, unsupported: 4, cancelled: 5 } as const;

/** In words for the client. */
export interface Refusal {
  readonly kind: (typeof REFUSAL)[keyof typeof REFUSAL];
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
  /** The protocol's own code, where there is a better one than the kind's: an SQLSTATE. */
  readonly code?: string;
}

export type OpenResponse =
  | { readonly session: string; readonly greeting: Uint8Array; readonly validMs: number }
  | { readonly session: string; readonly refusal: Refusal };

export interface LogInRequest {
  readonly session: string;
  readonly message: Buffer;
}
export type LogInResponse = { readonly reply: Uint8Array } | { readonly refusal: Refusal };

export interface ReadyRequest {
  readonly session: string;
  readonly cancelKey: Buffer;
}
export interface ReadyResponse {
  readonly refusal?: Refusal;
}

export interface JudgeRequest {
  readonly session: string;
  readonly text: Buffer;
  readonly parameters: readonly { readonly null: boolean; readonly binary: boolean; readonly value: Buffer }[];
  readonly prepare: boolean;
  readonly parameterTypes: readonly number[];
  readonly name: string;
  /** No transaction is open in the target, and all that was sent before has been answered. */
  readonly idle: boolean;
  /** The `originsId` of a plan whose origins the filter has. */
  readonly knownOrigins: Buffer;
  /** Commands that changed the names of prepared statements and have ended well since the last question, in that order. */
  readonly ended: readonly number[];
}
/** By the enumeration's number. */
export const REUSE = { none: 0, text: 1, shape: 2 } as const;
export type Reuse = (typeof REUSE)[keyof typeof REUSE];
export type JudgeResponse = { readonly command: number } & (
  | {
      readonly allowed: {
        readonly plan: CommandPlan;
        readonly eachExecution: boolean;
        readonly policyRevision: string;
        readonly generation: number;
        readonly reuse: Reuse;
        readonly unsettles: boolean;
        readonly byName: boolean;
      };
    }
  | { readonly refused: Refusal }
  | { readonly held: { readonly approval: string; readonly message: string; readonly hint: string } }
);

export interface AwaitRequest {
  readonly session: string;
  readonly approval: string;
}
export interface CancelRequest {
  readonly target: string;
  readonly cancelKey: Buffer;
}
export interface CancelResponse {
  readonly known: boolean;
}
export interface CloseRequest {
  readonly session: string;
  readonly outcome: string;
  /** What the filter's emitter tells of the session is below this sequence; 0: it does not say. */
  readonly nextSequence: number;
}
export interface RefusedRequest {
  readonly session: string;
  readonly code: string;
}
export interface GenerationRequest {
  readonly emitter: string;
  readonly known: number;
}
export interface GenerationResponse {
  readonly generation: number;
  readonly leaseMs: number;
}

/** The service's methods. None rejects: what goes wrong is a refusal. `onGone` calls back once, when the caller is there no longer. */
export interface SessionDoor {
  open(request: OpenRequest, onGone: OnGone): Promise<OpenResponse>;
  logIn(request: LogInRequest): Promise<LogInResponse>;
  ready(request: ReadyRequest): Promise<ReadyResponse>;
  judge(request: JudgeRequest, onGone: OnGone): Promise<JudgeResponse>;
  refused(request: RefusedRequest): Promise<object>;
  await(request: AwaitRequest, onGone: OnGone): Promise<JudgeResponse>;
  cancel(request: CancelRequest): Promise<CancelResponse>;
  close(request: CloseRequest): Promise<object>;
  generation(request: GenerationRequest, onGone: OnGone): Promise<GenerationResponse>;
}
export type OnGone = (callback: () => void) => void;

const PROTO = fileURLToPath(new URL('../../proto/', import.meta.url));

export function loadSessionProto(): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_, path) => (path.startsWith(PROTO) ? path : `${PROTO}${path}`);
  root.loadSync('sluice/session/v1/session.proto');
  root.resolveAll();
  return root;
}

const READ: protobuf.IConversionOptions = { defaults: true, arrays: true, objects: true, oneofs: true, longs: Number };

/** The door's methods, as a server of unary methods takes them. */
export function sessionMethods(door: SessionDoor): UnaryMethod[] {
  const service = loadSessionProto().lookupService('sluice.session.v1.SessionDoor');
  return service.methodsArray.map(({ name, resolvedRequestType: asked, resolvedResponseType: answered }) => {
    if (!asked || !answered) throw new Error(`${name} has no types`);
    const method = `${name.charAt(0).toLowerCase()}${name.slice(1)}` as keyof SessionDoor;
    return {
      path: `/${service.fullName.slice(1)}/${name}`,
      call: async (message, onGone) => {
        const request = asked.toObject(asked.decode(message), READ);
        return answered.encode(await door[method](request as never, onGone)).finish();
      },
    };
  });
}
