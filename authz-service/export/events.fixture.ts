/** Events as the service and the filters tell them: an HTTP request that was held, a session with a database, and notices. */
import fc from 'fast-check';
import { decodeEvent, encodeEvent } from '../tap/event.ts';
import { BODIES, type FieldType, type Kind, type TapBody, type TapBodyOf, type TapEvent } from '../tap/schema.ts';
import { tells } from './context.ts';
import type { Leaf } from './format.ts';

const IDENTITY = {
  id: 'corp:agent-7',
  issuer: 'corp',
  subject: 'agent-7',
  name: 'Support agent',
  kind: 'workload',
  client: 'agent-client',
  tenant: '',
  groups: ['support-agents'],
  roles: [],
  scopes: [],
};

const EMPTY = {
  string: '',
  strings: [],
  bytes: new Uint8Array(0),
  bool: false,
  uint32: 0,
  uint64: 0,
  fixed64: 0n,
  direction: 'request',
  masked: [],
};

/** A body with every field that is not given empty. */
export const bodyOf = <K extends Kind>(kind: K, fields: Partial<TapBodyOf<K>> = {}): TapBody =>
  ({
    kind,
    ...Object.fromEntries(Object.entries(BODIES[kind].fields).map(([name, type]) => [name, EMPTY[type as keyof typeof EMPTY]])),
    ...fields,
  }) as unknown as TapBody;

let clock = 1_790_000_000_000_000_000n;
let sequence = 0;

export const eventOf = (session: string, body: TapBody, more: Partial<TapEvent> = {}): TapEvent => ({
  emitter: '0123456789abcdef0123456789abcdef',
  sequence: (sequence += 1),
  timeUnixNanos: (clock += 1_234_567n),
  session,
  target: 'demo',
  truncated: [],
  body,
  ...more,
});

const judged = (summary: string, request: object, more: Partial<TapBodyOf<'request_judged'>>): TapBody =>
  bodyOf('request_judged', {
    request: summary,
    effect: 'allow',
    rule: 'granted',
    reason: 'a grant of support-agents',
    policyRevision: 'ab'.repeat(32),
    maskedInputJson: JSON.stringify({ identity: IDENTITY, request }),
    identityMicros: 12,
    policyMicros: 34,
    ...more,
  });

const HTTP = {
  protocol: 'http',
  method: 'DELETE',
  host: 'billing.example:8443',
  path: '/customers/7',
  segments: ['customers', '7'],
  query: { force: ['true'], 'weird name': ['a&b', 'c'] },
  headers: { 'user-agent': ['an-agent/1.0'] },
  content_type: '',
  body: { size: 0, sha256: '' },
};

const sql = (statement: string, commands: readonly string[], more: object = {}) => ({
  protocol: 'postgres',
  database: 'ledger',
  statement,
  commands,
  reads: [],
  writes: [],
  columns: [],
  functions: [],
  complete: true,
  incomplete: [],
  ...more,
});

const opened = (protocol: string): TapBody =>
  bodyOf('session_opened', {
    protocol,
    identity: IDENTITY.id,
    identityJson: JSON.stringify(IDENTITY),
    run: 'run-1',
    onBehalfOf: 'corp:sam',
    downstreamAddress: '192.0.2.7:40001',
  });

export const heldHttpSession = (id = 'ses_http'): TapEvent[] =>
  [
    opened('http'),
    judged('DELETE /customers/7', HTTP, { effect: 'hold', rule: 'destructive-needs-approval', fingerprint: 'f0' }),
    bodyOf('request_held', {
      approval: 'apr_1',
      approvers: ['group:leads'],
      quorum: 1,
      expiresUnixNanos: clock + 900_000_000_000n,
      rule: 'destructive-needs-approval',
      reason: 'it deletes',
    }),
    bodyOf('hold_answered', { approval: 'apr_1', answer: 'approved', by: 'corp:dana', reason: 'as agreed' }),
    bodyOf('request_forwarded'),
    bodyOf('response_finished', {
      outcome: 'complete',
      status: 200,
      requestBytes: 0,
      responseBytes: 412,
      durationMicros: 8123,
      firstByteMicros: 900,
      masked: [
        { rule: 'mask:**.ssn', count: 2 },
        { rule: 'detect:payment-card', count: 1 },
      ],
    }),
    bodyOf('payload_chunk', { data: Buffer.from('{}'), last: true }),
    bodyOf('session_closed', { outcome: 'complete' }),
    accessLog(),
  ].map((body) => eventOf(id, body));

const accessLog = (more: Partial<TapBodyOf<'envoy_access_log'>> = {}): TapBody =>
  bodyOf('envoy_access_log', {
    log: 'sluice',
    protocol: 'HTTP/2',
    method: 'DELETE',
    authority: 'billing.example',
    path: '/customers/7',
    status: 200,
    details: 'via_upstream',
    durationMicros: 8200,
    downstreamAddress: '192.0.2.7:40001',
    ...more,
  });

export const databaseSession = (id = 'ses_db'): TapEvent[] => {
  const of = (body: TapBody, command?: number): TapEvent =>
    eventOf(id, body, { target: 'ledger', ...(command !== undefined && { command }) });
  return [
    of(opened('postgres')),
    of(judged('connect to ledger', sql('', ['connect']), {})),
    of(
      judged(
        'SELECT name FROM customers',
        sql('SELECT name FROM customers', ['select'], { reads: [{ schema: 'public', name: 'customers' }] }),
        {},
      ),
      1,
    ),
    of(
      bodyOf('command_finished', {
        outcome: 'complete',
        tag: 'SELECT 5',
        rows: 5,
        bytes: 210,
        durationMicros: 4000,
        masked: [{ rule: 'r', count: 5 }],
      }),
      1,
    ),
    of(
      judged('DROP TABLE customers', sql('DROP TABLE customers', ['ddl']), { effect: 'deny', rule: 'no-ddl', reason: 'DDL is for people' }),
      2,
    ),
    of(bodyOf('command_finished', { outcome: 'denied', code: '42501' }), 2),
    of(bodyOf('session_closed', { outcome: 'complete' })),
  ];
};

export const notices = (): TapEvent[] =>
  ['tap-opened', 'service-started', 'policy-reloaded', 'policy-refused', 'configuration-changed', 'tap-gap', 'something-new'].map(
    (notice) => eventOf('', bodyOf('notice', { notice, text: `about ${notice}` }), { target: '' }),
  );

/** Edges that real gateways tell: nobody known, what was cut to fit, an address that is none, words that no table knows. */
export const edges = (): TapEvent[] => [
  eventOf('ses_e', bodyOf('request_judged', { effect: 'deny', rule: 'policy-timeout', maskedInputJson: '{"identity":{"id":"corp:cut…' })),
  eventOf('ses_e', bodyOf('response_finished', { outcome: 'of-a-later-version', status: 0 })),
  eventOf('ses_e', bodyOf('session_closed', { outcome: 'unknown' })),
  eventOf('ses_f', bodyOf('session_opened', { protocol: 'http', downstreamAddress: '[2001:db8::1]:443', identityJson: 'null' })),
  eventOf('ses_f', judged('PATCH /a', { ...HTTP, method: 'PATCH', path: '' }, { effect: 'hold', approval: 'apr_9' })),
  eventOf('ses_f', bodyOf('response_finished', { outcome: 'replaced', status: 502, reason: 'not JSON' })),
  eventOf('', accessLog({ method: '', authority: '', path: '', status: 400, details: 'http1.codec_error', flags: ['DPE'] }), {
    target: '',
  }),
  eventOf('', bodyOf('envoy_access_log'), { target: '' }),
  eventOf('', bodyOf('envoy_tap'), { target: '' }),
  eventOf('', bodyOf('envoy_tap', { tap: 'billing', form: 'http', method: 'GET', path: '/customers', status: 403, session: 'ses_1' }), {
    target: '',
  }),
  eventOf('ses_g', bodyOf('hold_answered', { approval: 'apr_2', answer: 'expired' })),
  eventOf('ses_g', bodyOf('command_finished', { outcome: 'cancelled' }), { command: 3 }),
];

export const leavesOf = (events: readonly TapEvent[], first = 0): Leaf[] =>
  events.map((event, at) => ({ index: first + at, bytes: encodeEvent(event) }));

export const everything = (): Leaf[] => leavesOf([...heldHttpSession(), ...databaseSession(), ...notices(), ...edges()]);

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', 'allow', 'hold', 'complete', 'toString', '__proto__', 'GET /x', '\u0000', '[::1]:1', 'null'),
);
const anything = fc.oneof(fc.jsonValue(), fc.constantFrom(null, [], {}, '', 7));
const json = fc.oneof(
  text,
  anything.map((value) => JSON.stringify(value)),
  fc
    .record({
      identity: anything,
      request: fc.oneof(
        anything,
        fc.record({
          protocol: fc.constantFrom('http', 'postgres', 'ssh'),
          method: text,
          path: anything,
          query: anything,
          headers: anything,
          commands: anything,
          reads: anything,
          writes: anything,
          statement: anything,
        }),
      ),
    })
    .map((value) => JSON.stringify(value)),
);
const VALUES: Readonly<Record<FieldType, (name: string) => fc.Arbitrary<unknown>>> = {
  string: (name) => (name.endsWith('Json') ? json : text),
  strings: () => fc.array(text, { maxLength: 3 }),
  bytes: () => fc.uint8Array({ maxLength: 9 }),
  bool: () => fc.boolean(),
  uint32: () => fc.nat(0xffffffff),
  uint64: () => fc.nat(Number.MAX_SAFE_INTEGER),
  fixed64: () => fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  direction: () => fc.constantFrom('request', 'response'),
  masked: () => fc.array(fc.record({ rule: text, count: fc.nat() }), { maxLength: 3 }),
};
const anyBody = fc
  .constantFrom(...(Object.keys(BODIES) as Kind[]))
  .chain((kind) =>
    fc
      .record(
        Object.fromEntries(
          Object.entries(BODIES[kind].fields as Record<string, FieldType>).map(([name, type]) => [name, VALUES[type](name)]),
        ),
      )
      .map((fields) => bodyOf(kind, fields as never)),
  );
/** Events of two sessions, of every kind, with whatever a filter or a policy can have told. */
export const anyEvents: fc.Arbitrary<TapEvent[]> = fc
  .array(
    fc.record({
      session: fc.constantFrom('a', 'b'),
      command: fc.nat(3),
      body: anyBody,
      timeUnixNanos: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    }),
    {
      maxLength: 12,
    },
  )
  .map((events) => events.map(({ session, body, ...more }) => eventOf(session, body, more)));

/** How a record of these leaves recalls a session. */
export const recalling = (leaves: readonly Leaf[]) =>
  async function* (session: string, before: number): AsyncGenerator<Leaf, void> {
    for (const leaf of leaves) {
      const event = decodeEvent(leaf.bytes);
      if (leaf.index < before && event.session === session && tells(event.body.kind)) yield leaf;
    }
  };
