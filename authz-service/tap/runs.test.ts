import { expect, test } from 'vitest';
import { told } from '../cli/runs.ts';
import { type RunDetail, runDetail, runsOf } from './runs.ts';
import { closedBody, type TapBody, type TapEvent } from './schema.ts';
import { type Session, SessionTable } from './sessions.ts';

let index = 0;
const table = new SessionTable(100);
const add = (session: string, target: string, body: TapBody, command = 0): void => {
  index += 1;
  const event: TapEvent = {
    emitter: '0'.repeat(32),
    sequence: index,
    timeUnixNanos: BigInt(index) * 1_000_000_000n,
    session,
    target,
    truncated: [],
    command,
    body,
  };
  table.add(index, event, 0);
};
const opened = (run: string, onBehalfOf = 'corp:sam'): TapBody => ({
  kind: 'session_opened',
  protocol: 'http',
  identity: 'corp:agent-7',
  identityJson: '{}',
  run,
  onBehalfOf,
  downstreamAddress: '',
});
const judged = (request: string, effect: string, approval = ''): TapBody => ({
  kind: 'request_judged',
  request,
  effect,
  rule: 'r',
  reason: '',
  policyRevision: '',
  maskedInputJson: '',
  decisionJson: '',
  approval,
  identityMicros: 0,
  policyMicros: 0,
  fingerprint: '',
  statementFingerprint: '',
});
const finished = (rule: string, count: number): TapBody => ({
  kind: 'command_finished',
  outcome: 'complete',
  tag: '',
  rows: 0,
  bytes: 0,
  durationMicros: 0,
  masked: [{ rule, count }],
  code: '',
  statement: '',
});
const answered = (answer: string, by: string, reason: string): TapBody => ({
  kind: 'hold_answered',
  approval: 'apr_1',
  answer,
  by,
  reason,
});

add('s1', 'demo', opened('run-1'));
add('s1', 'demo', judged('DELETE /customers/7', 'hold'));
add('s1', 'demo', {
  kind: 'request_held',
  approval: 'apr_1',
  approvers: ['group:leads'],
  quorum: 2,
  expiresUnixNanos: 0n,
  rule: 'r',
  reason: '',
});
add('s1', 'demo', answered('vote', 'corp:lee', 'fine'));
add('s1', 'demo', answered('approved', 'corp:dana', 'as agreed'));
add('s1', 'demo', closedBody('complete'));
add('s2', 'ledger', opened('run-1', ''));
add('s2', 'ledger', judged('connect', 'allow'));
add('s2', 'ledger', judged('select 1', 'allow'), 1);
add('s2', 'ledger', finished('__proto__', 2), 1);
add('s2', 'ledger', judged('drop table x', 'deny'), 2);
add('s3', 'demo', opened('run-2'));
add('s3', 'demo', judged('GET /', 'allow', 'apr_9'));
add('s4', 'demo', opened(''));

async function* each(run?: string): AsyncGenerator<Session> {
  for (const { id } of table.list(run === undefined ? {} : { run })) yield table.get(id) as Session;
}

test('a run is its sessions: who, for whom, on what, judged how', async () => {
  const { runs, more } = await runsOf(each(), 10);
  expect(more).toBe(0);
  expect(runs).toMatchObject([
    { run: 'run-2', sessions: 1, effects: { allow: 1 } },
    {
      run: 'run-1',
      identities: ['corp:agent-7'],
      onBehalfOf: ['corp:sam'],
      targets: ['demo', 'ledger'],
      sessions: 2,
      open: 1,
      effects: { hold: 1, deny: 1 },
      masked: 2,
      firstAt: 1000,
      lastAt: 7000,
    },
  ]);
  expect(await runsOf(each(), 1)).toMatchObject({ runs: [{ run: 'run-2' }], more: 1 });
});

test('it tells who approved with what reason, what was judged on each target, and which rules masked', async () => {
  const detail = (await runDetail('run-1', each('run-1'))) as RunDetail;
  expect(detail).toMatchObject({ judged: { demo: { hold: 1 }, ledger: { allow: 2, deny: 1 } }, sessions: 2, moreApprovals: 0 });
  expect(Object.entries(detail.maskedBy)).toEqual([['__proto__', 2]]);
  expect(detail.approvals.map(({ answer, by, reason, request }) => [answer, by, reason, request])).toEqual([
    ['approved', 'corp:dana', 'as agreed', 'DELETE /customers/7'],
    ['vote', 'corp:lee', 'fine', 'DELETE /customers/7'],
  ]);
  const text = told(detail).join('\n');
  for (const part of ['on behalf of corp:sam', 'ledger: 2 allow, 1 deny', 'approved by corp:dana: as agreed', 'masked __proto__: 2'])
    expect(text).toContain(part);
  expect(await runDetail('none', each('none'))).toBeUndefined();
});

test('however many sessions and approvals there are, all are counted, and what is not listed is said', async () => {
  async function* many(): AsyncGenerator<Session> {
    for (let n = 0; n < 3000; n += 1) yield table.get(n % 2 === 0 ? 's1' : 's2') as Session;
  }
  const detail = (await runDetail('run-1', many())) as RunDetail;
  expect(detail).toMatchObject({ sessions: 3000, masked: 3000, judged: { demo: { hold: 1500 }, ledger: { allow: 3000, deny: 1500 } } });
  expect([detail.recent.length, detail.approvals.length, detail.moreApprovals]).toEqual([1000, 1000, 2000]);
  expect(told(detail).slice(-1)).toEqual(['  and 2000 older sessions: sluice sessions --run, with --until']);
  expect(told(detail)).toContain('  and 2000 approvals more');
});
