/**
 * The messages of sluice.tap.v1 as tables: the order of a message's rows is the order of its field numbers, from 1. Types, encoder and decoder follow from
 * them; a test holds them against proto/sluice/tap/v1/tap.proto.
 */

export type FieldType = 'string' | 'strings' | 'bytes' | 'bool' | 'uint32' | 'uint64' | 'fixed64' | 'direction' | 'masked';

interface ValueOf {
  readonly string: string;
  readonly strings: readonly string[];
  readonly bytes: Uint8Array;
  readonly bool: boolean;
  readonly uint32: number;
  /** At most 2^53 - 1. */
  readonly uint64: number;
  readonly fixed64: bigint;
  readonly direction: Direction;
  readonly masked: readonly MaskedField[];
}

export type Direction = 'request' | 'response';
/** By the enumeration's number; 0 is not a direction. */
export const DIRECTIONS: readonly (Direction | undefined)[] = [undefined, 'request', 'response'];

/** How many values a rule (the obligation's name) masked. */
export interface MaskedField {
  readonly rule: string;
  readonly count: number;
}

/** `number`: the field of `Event` that holds this body. */
export const BODIES = {
  session_opened: {
    number: 10,
    fields: {
      protocol: 'string',
      identity: 'string',
      identityJson: 'string',
      run: 'string',
      onBehalfOf: 'string',
      downstreamAddress: 'string',
    },
  },
  request_judged: {
    number: 11,
    fields: {
      request: 'string',
      effect: 'string',
      rule: 'string',
      reason: 'string',
      policyRevision: 'string',
      maskedInputJson: 'string',
      decisionJson: 'string',
      approval: 'string',
      identityMicros: 'uint32',
      policyMicros: 'uint32',
      fingerprint: 'string',
      statementFingerprint: 'string',
    },
  },
  request_held: {
    number: 12,
    fields: { approval: 'string', approvers: 'strings', quorum: 'uint32', expiresUnixNanos: 'fixed64', rule: 'string', reason: 'string' },
  },
  hold_answered: { number: 13, fields: { approval: 'string', answer: 'string', by: 'string', reason: 'string' } },
  request_forwarded: { number: 14, fields: { emitter: 'string' } },
  response_finished: {
    number: 15,
    fields: {
      outcome: 'string',
      status: 'uint32',
      requestBytes: 'uint64',
      responseBytes: 'uint64',
      durationMicros: 'uint64',
      firstByteMicros: 'uint64',
      masked: 'masked',
      reason: 'string',
    },
  },
  session_closed: {
    number: 16,
    fields: { outcome: 'string', events: 'uint64', missingEmitter: 'string', missingFrom: 'uint64', missingTo: 'uint64' },
  },
  payload_chunk: {
    number: 17,
    fields: {
      direction: 'direction',
      offset: 'uint64',
      data: 'bytes',
      last: 'bool',
      truncated: 'bool',
      contentType: 'string',
      contentEncoding: 'string',
      reason: 'string',
    },
  },
  // The protocol calls the first one `kind`, which tells the bodies apart here.
  notice: { number: 18, fields: { notice: 'string', text: 'string' } },
  command_finished: {
    number: 19,
    fields: {
      outcome: 'string',
      tag: 'string',
      rows: 'uint64',
      bytes: 'uint64',
      durationMicros: 'uint64',
      masked: 'masked',
      code: 'string',
      statement: 'string',
    },
  },
  envoy_access_log: {
    number: 20,
    fields: {
      log: 'string',
      type: 'string',
      protocol: 'string',
      method: 'string',
      authority: 'string',
      path: 'string',
      userAgent: 'string',
      requestId: 'string',
      status: 'uint32',
      details: 'string',
      flags: 'strings',
      requestBytes: 'uint64',
      responseBytes: 'uint64',
      startUnixNanos: 'fixed64',
      durationMicros: 'uint64',
      downstreamAddress: 'string',
      upstreamAddress: 'string',
      upstreamCluster: 'string',
      route: 'string',
      failure: 'string',
      tlsVersion: 'string',
      serverName: 'string',
      peerSubject: 'string',
    },
  },
  envoy_tap: {
    number: 21,
    fields: {
      tap: 'string',
      node: 'string',
      trace: 'string',
      form: 'string',
      piece: 'string',
      method: 'string',
      authority: 'string',
      path: 'string',
      status: 'uint32',
      requestHeaders: 'strings',
      responseHeaders: 'strings',
      requestBytes: 'uint64',
      responseBytes: 'uint64',
      truncated: 'bool',
      startUnixNanos: 'fixed64',
      localAddress: 'string',
      remoteAddress: 'string',
      session: 'string',
    },
  },
} as const satisfies Record<string, { number: number; fields: Record<string, FieldType> }>;

export type Kind = keyof typeof BODIES;
/** What others than those who carry a session out tell of it, at any time: people, custodians and Envoy. Nothing else is to follow its end. */
export const TOLD_BESIDE: ReadonlySet<Kind | undefined> = new Set<Kind>(['hold_answered', 'notice', 'envoy_access_log']);
type Fields<T extends Record<string, FieldType>> = { readonly [Name in keyof T]: ValueOf[T[Name]] };
export type TapBodyOf<K extends Kind> = { readonly kind: K } & Fields<(typeof BODIES)[K]['fields']>;
/** A session's end, as it is told: the sink adds how many events there are, and what is missing of them. */
export const closedBody = (outcome: string): TapBodyOf<'session_closed'> => ({
  kind: 'session_closed',
  outcome,
  events: 0,
  missingEmitter: '',
  missingFrom: 0,
  missingTo: 0,
});
/** What happened. */
export type TapBody = { [K in Kind]: TapBodyOf<K> }[Kind];

export interface TapEvent {
  /** 32 hexadecimal digits. */
  readonly emitter: string;
  /** From 1, without gaps. */
  readonly sequence: number;
  readonly timeUnixNanos: bigint;
  readonly session: string;
  readonly target: string;
  /** Names of the body's fields that were cut so that the event fits. */
  readonly truncated: readonly string[];
  /** Which command of the session it is about, from 1; absent: of the session as a whole. */
  readonly command?: number;
  readonly body: TapBody;
}
