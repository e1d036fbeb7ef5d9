import { expect, test } from 'vitest';
import type { Decision } from '../decision/decision.ts';
import type { RecordedEvent } from '../decision/ports.ts';
import type { Identity, Request } from '../decision/request.ts';
import type { Passage } from '../passages.ts';
import { type CheckPorts, check } from './check.ts';

const AGENT = { id: 'corp:agent-7', groups: [] as string[] } as unknown as Identity;

/** One CheckRequest to the target `ledger`, a database. */
async function asked(method: string, effect: 'allow' | 'deny' | 'hold', headers: Record<string, string> = {}) {
  const admitted: [string, string, Passage][] = [];
  const inputs: Request[] = [];
  const tap: RecordedEvent[] = [];
  let gone = (): void => {};
  const decision = {
    effect,
    rule: 'r',
    reason: 'x',
    matched: [],
    dependsOn: [],
    obligations: [],
    credential: 'c',
    hold: { approvers: [], quorum: 1, ttlMs: 1000 },
  };
  const ports = {
    policy: {
      evaluate: async (json: string) => {
        inputs.push(JSON.parse(json) as Request);
        return { ok: true, decision: decision as unknown as Decision, revision: '', micros: 1 };
      },
    },
    approvals: {
      hasGrants: () => false,
      findGrant: async () => undefined,
      join: () => undefined,
      hold: async () => {
        setTimeout(() => gone(), 20);
        return { id: 'apr_1', outcome: new Promise(() => {}), detach: () => {}, cancel: () => {} };
      },
    },
    record: async (events: readonly RecordedEvent[]) => void tap.push(...events),
    maskRequest: (json: string) => json,
    maskText: (text: string) => text,
    observe: { decision: () => {}, stage: () => {} },
    fault: (error: unknown) => {
      throw error;
    },
    identify: () => ({ ok: true, identity: AGENT, run: { id: '', onBehalfOf: '', source: 'none' } }),
    target: (name: string) => ({ name, protocol: 'postgres', labels: {} }),
    credential: () => [],
    plan: () => '',
    approvalStatus: () => undefined,
    databaseOf: (name: string) => (name === 'ledger' ? 'ledger-db' : undefined),
    admitted: (...of: [string, string, Passage]) => admitted.push(of),
  } as unknown as CheckPorts;
  const http = { method, path: '', host: 'ledger:5432', headers: { authorization: 'Bearer t', ...headers } };
  const answer = await check(
    ports,
    { attributes: { request: { http }, context_extensions: { target: 'ledger' } } },
    (callback) => (gone = callback),
  );
  return { answer, admitted, inputs, kinds: tap.map(({ body }) => body.kind) };
}

test('a CONNECT to a database is judged as the session that it asks for, and leaves it to the connection', async () => {
  const { answer, admitted, inputs, kinds } = await asked('CONNECT', 'allow');
  const session = answer.dynamic_metadata?.fields.session?.stringValue;
  expect(inputs).toMatchObject([
    { session: { id: session }, request: { protocol: 'postgres', commands: ['connect'], database: 'ledger-db' } },
  ]);
  expect(admitted).toMatchObject([[session, 'ledger', { identity: AGENT, credential: 'c' }]]);
  expect(kinds).toEqual(['session_opened', 'request_judged']);
  expect(answer.ok_response?.headers_to_remove).toContain('authorization');
});

test('that is denied leaves nothing', async () => {
  const { answer, admitted } = await asked('CONNECT', 'deny');
  expect(answer.denied_response?.status.code).toBe(403);
  expect(admitted).toEqual([]);
});

test('that is held is never answered with a 2xx before it is approved: the client would take its tunnel for open', async () => {
  const { answer, admitted } = await asked('CONNECT', 'hold', { prefer: 'respond-async, wait=0' });
  expect(answer.denied_response?.status.code).toBe(499);
  expect(admitted).toEqual([]);
});

test.each(['GET', 'POST'])('a %s to a database is refused, whatever the policy says', async (method) => {
  const { answer, inputs } = await asked(method, 'allow');
  expect(answer.denied_response?.status.code).toBe(405);
  expect(inputs).toEqual([]);
});
