import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { TellingEvent } from '../replay/tell.ts';
import type { Invocation } from './command.ts';
import { explanation, policy } from './policy.ts';

const decision = {
  effect: 'hold',
  rule: 'destructive-needs-approval',
  reason: 'group support may delete here with an approval',
  matched: [{ rule: 'destructive-needs-approval', effect: 'hold', reason: 'group support may delete here with an approval' }],
  hold: { approvers: ['group:leads'], quorum: 1, ttlMs: 900_000 },
  dependsOn: ['identity'],
};
const event = (changes: object = {}, more: Partial<TellingEvent> = {}): TellingEvent => ({
  time: '2026-03-01T12:00:00.000000500Z',
  session: 'ses_1',
  target: 'demo',
  kind: 'request_judged',
  body: {
    request: 'DELETE /customers/7',
    effect: decision.effect,
    rule: decision.rule,
    reason: decision.reason,
    policyRevision: 'abcdef',
    policyMicros: 17,
    approval: '',
    maskedInputJson: '{"identity":{"id":"corp:agent"},"request":{"body":{"json":{"ssn":"***"}}}}',
    decisionJson: JSON.stringify(decision),
    ...changes,
  },
  ...more,
});

describe('explain', () => {
  test('says of a judgement that was deleted after its retention that it was', () => {
    const { body, ...about } = event();
    expect(explanation({ ...about, deleted: true })).toMatch(/ on demo, .*: what was judged was deleted after its retention$/);
  });

  test('tells the decision, the rules that fired, and the input as masked', () => {
    expect(explanation(event())).toBe(`DELETE /customers/7 on demo
  session ses_1, 2026-03-01T12:00:00.000000500Z
  policy abcdef, in 17 µs

decision: hold by destructive-needs-approval: group support may delete here with an approval

rules that fired:
  hold  destructive-needs-approval: group support may delete here with an approval

what the decision says:
  {
    "hold": {
      "approvers": [
        "group:leads"
      ],
      "quorum": 1,
      "ttlMs": 900000
    },
    "dependsOn": [
      "identity"
    ]
  }

input of the policy, SENSITIVE VALUES MASKED (the policy itself saw them in clear):
  {
    "identity": {
      "id": "corp:agent"
    },
    "request": {
      "body": {
        "json": {
          "ssn": "***"
        }
      }
    }
  }`);
  });

  test('a policy that failed has decided nothing', () => {
    const said = explanation(
      event({ effect: 'deny', rule: 'policy_timeout', reason: 'the policy took longer than 100 ms', decisionJson: '', policyRevision: '' }),
    );
    expect(said).toContain('decision: deny by policy_timeout: the policy took longer than 100 ms');
    expect(said).toContain('rules that fired:\n  none');
    expect(said).toContain('what the decision says:\n  not recorded');
  });

  test('shows what was shortened as far as it goes, and the grant that let it through', () => {
    const said = explanation(
      event({ maskedInputJson: '{"identity":{"id":"corp:ag', approval: 'apr_7' }, { truncated: ['maskedInputJson'] }),
    );
    expect(said).toContain('  {"identity":{"id":"corp:ag');
    expect(said).toContain('shortened by its writer: maskedInputJson');
    expect(said).toContain('let through by the grant of apr_7');
  });

  test('never steers a terminal', () => {
    const evil = '\u001b]0;x\u0007\u202e';
    const hostile = event(
      {
        request: evil,
        reason: evil,
        rule: evil,
        maskedInputJson: JSON.stringify({ a: evil }),
        decisionJson: JSON.stringify({ matched: [{ rule: evil, effect: evil, reason: evil }], x: evil }),
      },
      { session: evil, target: evil, truncated: [evil] },
    );
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(explanation(hostile)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(explanation(event({ maskedInputJson: evil, decisionJson: evil }))).not.toContain('\u001b');
  });
});

describe('test and check', () => {
  let dir: string;
  let said: string;
  const invocation = (positionals: readonly string[], values: Invocation['values'] = {}): Invocation => ({
    positionals,
    values: { config: join(dir, 'sluice.yaml'), ...values },
  });
  const rule = (body: string): void => writeFileSync(join(dir, 'rules', 'night.rego'), `package sluice.rules.night\n\n${body}\n`);

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-cli-policy-'));
    mkdirSync(join(dir, 'rules'));
    writeFileSync(
      join(dir, 'sluice.yaml'),
      `version: 1
listeners: [{ name: l, address: 127.0.0.1:8080 }]
issuers: [{ name: i, kind: oidc, issuer: https://issuer.example, audiences: [a] }]
targets: [{ name: t, listener: l, url: http://127.0.0.1:1 }]
policy: { path: rules, data: grants.yaml }
`,
    );
    writeFileSync(join(dir, 'grants.yaml'), 'targets: {}\n');
    said = '';
    const hear = (text: string | Uint8Array): boolean => {
      said += String(text);
      return true;
    };
    vi.spyOn(process.stdout, 'write').mockImplementation(hear);
    vi.spyOn(process.stderr, 'write').mockImplementation(hear);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    rmSync(dir, { recursive: true });
  });

  test('check says ok, or what is wrong', async () => {
    rule('deny contains {"rule": "night", "reason": ""} if input.time.unix < 0');
    expect(await policy.run(invocation(['check']))).toBe(0);
    expect(said).toMatch(/^ok {4}policy .*rules with .*grants\.yaml\n$/);
    rule('deny contains {"rule": "night", "reason": ""} if input.time.epoch < 0');
    expect(await policy.run(invocation(['check']))).toBe(1);
    expect(said).toMatch(/undefined ref: input\.time\.epoch/);
    expect(said).toMatch(/WRONG policy .*: it would be refused/);
  });

  test('test runs the tests of the folder with those of the library', async () => {
    rule('deny contains {"rule": "night", "reason": ""} if input.time.unix < 0');
    const tested = (unix: number): void =>
      writeFileSync(
        join(dir, 'rules', 'night_test.rego'),
        `package sluice.rules.night_test\n\nimport data.sluice\nimport data.sluice.testing\n\ntest_night if {\n\tdecision := sluice.decision with input as testing.changed(testing.request("GET", "/customers/1"), "/time/unix", ${unix}) with data.sluice.targets as testing.targets\n\tdecision.rule == "night"\n}\n`,
      );
    tested(-1);
    expect(await policy.run(invocation(['test'], { run: 'night|default|nothing' }))).toBe(0);
    tested(1);
    expect(await policy.run(invocation(['test'], { run: 'night' }))).not.toBe(0);
  });

  test("a rule that changes what the library decides fails none of the library's tests", async () => {
    rule('deny contains {"rule": "night", "reason": ""} if input.request.method == "DELETE"');
    writeFileSync(
      join(dir, 'rules', 'night_test.rego'),
      'package sluice.rules.night_test\n\nimport data.sluice.rules.night\nimport data.sluice.testing\n\ntest_night if count(night.deny) == 1 with input as testing.request("DELETE", "/")\n',
    );
    expect(await policy.run(invocation(['test']))).toBe(0);
  });

  test.each([[['test', 'x']], [['explain']], [['erase']], [['']]])('%j is not understood', async (positionals) => {
    await expect((async () => policy.run(invocation(positionals)))()).rejects.toMatchObject({ exitCode: 2 });
  });
});
