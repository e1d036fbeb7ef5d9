import { expect, it } from 'vitest';
import { BODIES } from '../tap/schema.ts';
import { asciicast, stepsOf, timeline } from './play.ts';
import type { ReplayedEvent, TellingEvent } from './tell.ts';

const event = (kind: string, millis: number, body: object, more: Partial<TellingEvent> = {}): TellingEvent => ({
  time: `2026-03-01T12:00:00.${String(millis).padStart(3, '0')}000500Z`,
  session: 'ses_1',
  target: 'demo',
  kind,
  body: body as TellingEvent['body'],
  ...more,
});

const EVENTS = [
  event('session_opened', 0, {
    protocol: 'http',
    identity: 'corp:agent-7',
    run: 'run-1',
    onBehalfOf: 'corp:sam',
    downstreamAddress: '127.0.0.1:5000',
  }),
  event('request_judged', 1, {
    request: 'DELETE /customers/7',
    effect: 'hold',
    rule: 'destructive',
    reason: 'needs a lead',
    approval: '',
    policyRevision: 'abcdef0123456789',
    identityMicros: 12,
    policyMicros: 345,
  }),
  event('request_held', 2, { approval: 'apr_1', approvers: ['group:leads'], quorum: 2, rule: 'destructive', reason: '' }),
  event('hold_answered', 500, { approval: 'apr_1', answer: 'approved', by: 'corp:dana', reason: 'as agreed' }),
  event('request_forwarded', 501, {}),
  event('response_finished', 510, {
    outcome: 'complete',
    status: 200,
    requestBytes: 0,
    responseBytes: 20_480,
    durationMicros: 9000,
    firstByteMicros: 4000,
    masked: [{ rule: '**.ssn', count: '3' }],
    reason: '',
  }),
  event('payload_chunk', 511, { direction: 'response', offset: 0, data: 'AAAA', last: true, truncated: false }),
  event('envoy_access_log', 511, {
    protocol: 'HTTP/2',
    method: 'DELETE',
    authority: 'billing.example',
    path: '/customers/7',
    status: 503,
    details: 'upstream_reset',
    flags: ['UF', 'URX'],
    requestBytes: 0,
    responseBytes: 91,
    durationMicros: 12_345,
    downstreamAddress: '127.0.0.1:5000',
    upstreamAddress: '10.0.0.9:443',
    failure: 'certificate verify failed',
  }),
  event('envoy_tap', 511, {
    tap: 'billing',
    trace: '77',
    form: 'http',
    piece: '',
    method: 'GET',
    authority: 'billing.example',
    path: '/customers',
    status: 200,
    requestBytes: 0,
    responseBytes: '412',
    truncated: true,
    session: 'ses_1',
  }),
  event('notice', 512, { notice: 'policy-reloaded', text: '' }),
  event(
    'command_finished',
    513,
    {
      outcome: 'complete',
      tag: 'SELECT 2',
      rows: 2,
      bytes: 300,
      durationMicros: 900,
      masked: [{ rule: 'public.customers.ssn', count: '2' }],
      code: '',
    },
    { command: 7 },
  ),
  event('session_closed', 514, { outcome: 'complete' }),
];

it('tells a session event by event, with what was masked', () => {
  expect(timeline('ses_1', EVENTS)).toBe(`ses_1 on demo, 2026-03-01T12:00:00Z
       +0 µs  opened: http from 127.0.0.1:5000
              by corp:agent-7
              run run-1
              on behalf of corp:sam
    +1000 µs  judged DELETE /customers/7: hold by destructive: needs a lead
              identity 12 µs, policy 345 µs, revision abcdef012345
    +2000 µs  held as apr_1 for group:leads (2 of them)
   +500.0 ms  approved by corp:dana: as agreed
   +501.0 ms  forwarded to the target
   +510.0 ms  response 200 complete
              0 B in, 20.5 kB out; first byte after 4000 µs, end after 9000 µs
              masked **.ssn: 3
   +511.0 ms  response: 3 B from byte 0; the end
              (3 bytes that are no text: --json has them)
   +511.0 ms  Envoy logged HTTP/2 DELETE billing.example/customers/7: 503, upstream_reset, UF, URX
              0 B in, 91 B out; after 12.3 ms
              from 127.0.0.1:5000 to 10.0.0.9:443
              failed: certificate verify failed
   +511.0 ms  Envoy's tap billing saw http GET billing.example/customers: 200
              0 B in, 412 B out, cut by Envoy; trace 77
              a header of the answer named the session ses_1
   +512.0 ms  notice policy-reloaded
   +513.0 ms  [7] complete SELECT 2
              2 rows, 300 B out; after 900 µs
              masked public.customers.ssn: 2
   +514.0 ms  closed: complete`);
});

it('knows every kind of event that the record has', () =>
  expect(new Set(EVENTS.map(({ kind }) => kind))).toEqual(new Set(Object.keys(BODIES))));

it('says what it does not know, what was shortened, and what came late', () => {
  const text = timeline('ses_1', [
    event('new_kind', 0, {}),
    event('session_closed', 1, { outcome: 'complete' }, { late: true, truncated: ['reason'] }),
  ]);
  expect(text).toMatch(/new_kind: this version does not know it/);
  expect(text).toMatch(/shortened by its writer: reason/);
  expect(text).toMatch(/arrived after the end/);
});

const gone = (kind: string, millis: number): ReplayedEvent => {
  const { body, ...about } = event(kind, millis, {});
  return { ...about, deleted: true };
};

it('says of each kind that was deleted after its retention that it was, alone and among others, however it is shown', () => {
  const all = Object.keys(BODIES).map(gone);
  const lines = timeline('ses_1', all).split('\n');
  expect(lines[0]).toBe('ses_1 on demo, 2026-03-01T12:00:00Z');
  for (const [i, kind] of Object.keys(BODIES).entries())
    expect(lines[i + 1]).toMatch(new RegExp(`^ +[^ ]+ [^ ]+  ${kind}: deleted after its retention$`));
  expect(asciicast('ses_1', 0, stepsOf(all)).match(/deleted after its retention/g)).toHaveLength(all.length);

  const mixed = timeline('ses_1', [gone('session_opened', 0), event('session_closed', 1, { outcome: 'complete' }, { late: true })]);
  expect(mixed).toMatch(/session_opened: deleted after its retention\n.*closed: complete\n +arrived after the end/);
});

it('shows no payload as whole whose part was deleted', () => {
  const chunk = (millis: number, offset: number, text: string, last: boolean): ReplayedEvent =>
    event('payload_chunk', millis, {
      direction: 'response',
      offset,
      data: Buffer.from(text).toString('base64'),
      contentType: 'text/plain',
      last,
    });
  // Half of a letter, whose other half is gone.
  const half = event('payload_chunk', 0, {
    direction: 'response',
    offset: 0,
    data: Buffer.from([0x41, 0xc3]).toString('base64'),
    last: false,
  });
  const shown = timeline('ses_1', [half, gone('payload_chunk', 1), chunk(2, 2, 'B', true)]);
  expect(shown).toMatch(/\n +A\n.*payload_chunk: deleted after its retention\n.*from byte 2, text\/plain; the end\n +B$/);
});

it.each(['toString', '__proto__', 'constructor'])('knows no kind called %s', (kind) =>
  expect(timeline('ses_1', [event(kind, 0, {})])).toContain(`${kind}: this version does not know it`),
);

it('shows no control characters of an agent', () => {
  const hostile = event('request_judged', 0, {
    request: 'GET /\u001b]0;x\u0007',
    effect: 'allow',
    rule: 'r',
    reason: '',
    approval: '',
    policyRevision: '',
  });
  expect(timeline('ses_1', [hostile]).replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
});
