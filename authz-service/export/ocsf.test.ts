/** The mapping by itself. Whether its events, and those that a gateway has recorded, are what the published schema says is tested against that schema by `npm run test:interop`. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeEvent } from '../tap/event.ts';
import type { TapEvent } from '../tap/schema.ts';
import { elastic } from './elastic.ts';
import { anyEvents, databaseSession, everything, heldHttpSession, leavesOf, notices, recalling } from './events.fixture.ts';
import { DEFAULT_KINDS, Formatter, KINDS, type Leaf, type Message } from './format.ts';
import { syslogMessage } from './syslog.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test's view of JSON
type Json = any;

const OPTIONS = { format: 'ocsf', kinds: KINDS, origin: 'gateway.example/sluice', version: '0.1.0' } as const;
const mapped = (leaves: readonly Leaf[], formatter = new Formatter(OPTIONS)): Json[] =>
  leaves.flatMap((leaf) => formatter.message(leaf) ?? []).map(({ json }) => JSON.parse(json));

const ACTIVITIES: Readonly<Record<number, readonly number[]>> = {
  0: [99],
  2004: [1],
  3002: [1, 2],
  3003: [1],
  3004: [3],
  6002: [3],
  6003: [1, 2, 3, 4, 99],
  6005: [1, 2, 3, 4, 5, 6, 7, 99],
};
const REQUIRED: Readonly<Record<number, readonly string[]>> = {
  2004: ['finding_info'],
  3002: ['user', 'service'],
  3003: ['user', 'privileges'],
  3004: ['entity'],
  6002: ['app'],
  6003: ['actor', 'api', 'src_endpoint'],
  6005: ['actor', 'database', 'src_endpoint'],
};

it('makes of every kind of event but payload one event of a class, whole in itself and named by its leaf', () => {
  const leaves = everything();
  const events = mapped(leaves);
  expect(events).toHaveLength(leaves.length - 1);
  for (const event of events) {
    const { class_uid: of, activity_id: activity, metadata } = event;
    expect(ACTIVITIES[of], JSON.stringify(event)).toContain(activity);
    expect(event.type_uid).toBe(of * 100 + activity);
    expect(event.category_uid).toBe(Math.floor(of / 1000));
    expect(Number.isInteger(event.time) && event.time > 1.7e12).toBe(true);
    expect(metadata).toMatchObject({
      version: '1.5.0',
      uid: `gateway.example/sluice/${metadata.sequence}`,
      log_name: 'gateway.example/sluice',
    });
    for (const member of ['severity_id', 'message', ...(REQUIRED[of] ?? [])]) expect(event[member], `${member} of ${of}`).toBeDefined();
    // OCSF knows absence, and no empty strings.
    expect(JSON.stringify(event)).not.toMatch(/:(""|null|\[\])[,}]/);
  }
  expect(new Set(events.map(({ metadata }) => metadata.uid)).size).toBe(events.length);
});

it('tells of a held request who asked, what for, who let it through, and what was masked', () => {
  const [logon, judged, held, answered, forwarded, response, logoff, logged] = mapped(leavesOf(heldHttpSession()));
  expect(logon).toMatchObject({
    class_uid: 3002,
    activity_id: 1,
    user: { uid: 'corp:agent-7', type_id: 3, groups: [{ name: 'support-agents' }] },
  });
  expect(logon.src_endpoint).toEqual({ ip: '192.0.2.7', port: 40001 });
  expect(judged).toMatchObject({
    class_uid: 6003,
    activity_id: 4,
    actor: { user: { uid: 'corp:agent-7' }, session: { uid: 'ses_http', issuer: 'corp' }, app_uid: 'agent-client' },
    api: { operation: 'DELETE', service: { name: 'demo' } },
    http_request: {
      http_method: 'DELETE',
      url: { hostname: 'billing.example', path: '/customers/7', query_string: 'force=true&weird+name=a%26b&weird+name=c' },
      user_agent: 'an-agent/1.0',
    },
    action_id: 99,
    disposition_id: 14,
    policy: { name: 'destructive-needs-approval' },
    unmapped: { sluice: { run: 'run-1', on_behalf_of: 'corp:sam', effect: 'hold' } },
  });
  expect(held).toMatchObject({
    class_uid: 6003,
    activity_id: 4,
    unmapped: { sluice: { approval: 'apr_1', approvers: ['group:leads'], quorum: 1 } },
  });
  expect(answered).toMatchObject({
    class_uid: 3003,
    status_id: 1,
    disposition_id: 8,
    user: { uid: 'corp:agent-7' },
    actor: { user: { uid: 'corp:dana' } },
    privileges: ['DELETE /customers/7'],
  });
  expect(forwarded).toMatchObject({ class_uid: 6003, activity_id: 4 });
  expect(response).toMatchObject({
    class_uid: 6003,
    action_id: 4,
    disposition_id: 11,
    http_response: { code: 200, body_length: 412 },
    duration: 8,
    actor: { user: { uid: 'corp:agent-7' } },
    unmapped: {
      sluice: {
        masked_values: 3,
        masked: [
          { rule: 'mask:**.ssn', count: 2 },
          { rule: 'detect:payment-card', count: 1 },
        ],
      },
    },
  });
  expect(response.end_time - response.start_time).toBe(8);
  expect(logoff).toMatchObject({ class_uid: 3002, activity_id: 2, user: { uid: 'corp:agent-7' } });
  expect(logged).toMatchObject({
    class_uid: 0,
    message: 'Envoy logged HTTP/2 DELETE billing.example/customers/7: 200',
    metadata: { correlation_uid: 'ses_http', event_code: 'envoy_access_log' },
    unmapped: { sluice: { details: 'via_upstream', downstream: '192.0.2.7:40001' } },
  });
});

it('tells of a session with a database what each statement was and what became of it', () => {
  const [, connected, select, selected, drop, dropped] = mapped(leavesOf(databaseSession()));
  expect(connected).toMatchObject({ class_uid: 3003, privileges: ['connect'], user: { uid: 'corp:agent-7' } });
  expect(select).toMatchObject({
    class_uid: 6005,
    activity_id: 4,
    database: { name: 'ledger' },
    table: { name: 'public.customers' },
    query_info: { uid: 'ses_db/1', query_string: 'SELECT name FROM customers' },
  });
  expect(selected).toMatchObject({
    class_uid: 6005,
    activity_id: 4,
    action_id: 4,
    query_info: { query_string: 'SELECT name FROM customers' },
  });
  expect(selected.unmapped.sluice).toMatchObject({ rows: 5, tag: 'SELECT 5', masked_values: 5, command: 1 });
  // A word that OCSF has none for is not hidden.
  expect(drop).toMatchObject({ class_uid: 6005, activity_id: 99, activity_name: 'ddl', action_id: 2, disposition_id: 2, severity_id: 3 });
  expect(dropped).toMatchObject({ status_id: 2, status_code: '42501', query_info: { query_string: 'DROP TABLE customers' } });
});

it('tells of a statement that ran by the judgement of another which one it was', () => {
  const [opening, connected, select, selected] = databaseSession() as [TapEvent, TapEvent, TapEvent, TapEvent];
  const again = { ...selected, body: { ...selected.body, statement: 'SELECT name FROM customers WHERE id = 2' } } as TapEvent;
  const [, , , first, second] = mapped(leavesOf([opening, connected, select, selected, again]));
  expect(first.query_info.query_string).toBe('SELECT name FROM customers');
  expect(second).toMatchObject({
    class_uid: 6005,
    activity_id: 4,
    query_info: { query_string: 'SELECT name FROM customers WHERE id = 2' },
  });
  expect(second.message).toMatch(/^SELECT name FROM customers WHERE id = 2: complete/);
});

it('makes a finding of what may be missing, and keeps notices that no table knows', () => {
  const classes = Object.fromEntries(
    mapped(leavesOf(notices())).map((event) => [event.unmapped.sluice.notice, [event.class_uid, event.severity_id]]),
  );
  expect(classes).toEqual({
    'tap-opened': [6002, 1],
    'service-started': [6002, 1],
    'policy-reloaded': [3004, 1],
    'policy-refused': [3004, 4],
    'configuration-changed': [3004, 1],
    'tap-gap': [2004, 4],
    'something-new': [0, 2],
  });
});

const told = async (leaves: readonly Leaf[], formatter = new Formatter(OPTIONS), record = leaves): Promise<Json[]> => {
  const recall = async (session: string, before: number): Promise<Leaf[]> => {
    const found: Leaf[] = [];
    for await (const leaf of recalling(record)(session, before)) found.push(leaf);
    return found;
  };
  return (await formatter.messages(leaves, recall)).map(({ json }) => JSON.parse(json));
};

describe('the same is said of an event whenever it is told', () => {
  const leaves = [...leavesOf(heldHttpSession('a')), ...leavesOf(databaseSession('b'), 9)];

  it('after a restart in the middle of its session, also where the cursor knows nothing of that', async () => {
    const whole = await told(leaves);
    for (let cut = 1; cut < leaves.length; cut += 1) {
      const first = new Formatter(OPTIONS);
      const before = await told(leaves.slice(0, cut), first, leaves);
      const again = new Formatter(OPTIONS);
      for (const leaf of leaves.slice(first.floor ?? cut, cut)) again.see(leaf);
      for (const formatter of [again, new Formatter(OPTIONS)])
        expect([...before, ...(await told(leaves.slice(cut), formatter, leaves))], `cut at ${cut}`).toEqual(whole);
    }
  });

  it('after its session was closed, before a restart and after it', async () => {
    const late = leavesOf(
      databaseSession('b')
        .toSpliced(3, 1)
        .toSpliced(6, 0, databaseSession('b')[3] as never),
    );
    const finished = (events: Json[]): Json => events.findLast(({ metadata }) => metadata.event_code === 'command_finished');
    expect(late.map(({ bytes }) => decodeEvent(bytes).body.kind).slice(-2)).toEqual(['session_closed', 'command_finished']);
    const first = finished(await told(late));
    expect(first).toMatchObject({ query_info: { query_string: 'SELECT name FROM customers' }, actor: { user: { uid: 'corp:agent-7' } } });
    expect(finished(await told(late.slice(-1), new Formatter(OPTIONS), late))).toEqual(first);
  });

  it('of many sessions, each recalled once; of one that the record knows nothing of as well', async () => {
    const many = leavesOf(Array.from({ length: 50 }, (_, n) => databaseSession(`ses_${n}`)).flat());
    const asked: string[] = [];
    const last = many.filter(({ index }) => [3, 4, 5, 6].includes(index % 7));
    const formatter = new Formatter(OPTIONS);
    await formatter.messages(last, async (session, before) => {
      asked.push(session);
      return session === 'ses_7' ? [] : many.filter(({ index }) => index < before && index >= before - 3);
    });
    expect(asked).toEqual(Array.from({ length: 50 }, (_, n) => `ses_${n}`));
    expect(formatter.floor).toBeUndefined();
  });

  it('or not at all: what cannot be recalled is asked for again', async () => {
    const formatter = new Formatter(OPTIONS);
    await expect(formatter.messages(leaves.slice(4, 6), () => Promise.reject(new Error('away')))).rejects.toThrow('away');
    expect(await told(leaves.slice(4, 6), formatter, leaves)).toEqual((await told(leaves)).slice(4, 6));
  });
});

it('tells of bytes that it cannot read, in either format', () => {
  const damaged: Leaf[] = [{ index: 3, bytes: Buffer.from([0xff, 0x00]) }];
  expect(mapped(damaged)[0]).toMatchObject({ class_uid: 0, raw_data: '/wA=', metadata: { uid: 'gateway.example/sluice/3' } });
  expect(mapped(damaged, new Formatter({ ...OPTIONS, format: 'json' }))[0]).toMatchObject({
    id: 'gateway.example/sluice/3',
    kind: 'unreadable',
  });
});

it('sends the kinds that are asked for, payload as JSON only, and knows sessions whatever is asked for', () => {
  const leaves = leavesOf(heldHttpSession());
  const kinds = (options: Partial<ConstructorParameters<typeof Formatter>[0]>) =>
    leaves
      .flatMap((leaf) => leaf && leaf)
      .flatMap(
        (
          (formatter) => (leaf: Leaf) =>
            formatter.message(leaf)?.kind ?? []
        )(new Formatter({ ...OPTIONS, ...options })),
      );
  expect(kinds({ kinds: DEFAULT_KINDS })).toEqual([
    'session_opened',
    'request_judged',
    'request_held',
    'hold_answered',
    'response_finished',
    'session_closed',
  ]);
  expect(kinds({ kinds: ['payload_chunk'] })).toEqual([]);
  expect(kinds({ kinds: ['payload_chunk'], format: 'json' })).toEqual(['payload_chunk']);
  const [response] = mapped(leaves, new Formatter({ ...OPTIONS, kinds: ['response_finished'] }));
  expect(response.actor.user.uid).toBe('corp:agent-7');
});

it('is as the record has it in JSON', () => {
  const [, judged] = mapped(leavesOf(heldHttpSession()), new Formatter({ ...OPTIONS, format: 'json' }));
  expect(judged).toMatchObject({
    id: 'gateway.example/sluice/1',
    index: 1,
    kind: 'request_judged',
    session: 'ses_http',
    body: { request: 'DELETE /customers/7', effect: 'hold' },
  });
});

it('forgets the sessions that were opened first when there are too many, and what it forgot is told without a caller', () => {
  const formatter = new Formatter(OPTIONS);
  const many = Array.from({ length: 20_001 }, (_, n) => heldHttpSession(`ses_${n}`)[0] as never);
  for (const leaf of leavesOf(many)) formatter.see(leaf);
  expect(formatter.floor).toBe(1);
  const [response] = mapped(leavesOf([heldHttpSession('ses_0')[5] as never], 30_000), formatter);
  expect(response.actor.user.uid).toBe('unknown');
});

describe('whatever a filter or a policy has told', () => {
  it('every event becomes one that can be read, of its class and with its id, at every receiver', () => {
    fc.assert(
      fc.property(anyEvents, (events) => {
        const leaves = leavesOf(events);
        const formatter = new Formatter(OPTIONS);
        for (const leaf of leaves) {
          const message = formatter.message(leaf);
          if (events[leaf.index]?.body.kind === 'payload_chunk') expect(message).toBeUndefined();
          else {
            expect(message?.kind).toBe(events[leaf.index]?.body.kind);
            const event = JSON.parse(message?.json ?? '');
            expect(Object.keys(ACTIVITIES).map(Number)).toContain(event.class_uid);
            expect(event.metadata.uid).toBe(`gateway.example/sluice/${leaf.index}`);
            expect(message?.json).not.toMatch(/[\n\r]/);
            elastic('sluice').encode([message as Message]);
            const framed = syslogMessage({ facility: 13, hostname: 'gw' }, message as Message);
            expect(framed.length).toBe(Number.parseInt(framed.toString('latin1'), 10) + framed.indexOf(0x20) + 1);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
