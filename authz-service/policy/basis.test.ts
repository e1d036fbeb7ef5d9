import { expect, test } from 'vitest';
import type { Decision } from '../decision/decision.ts';
import { groundedIn } from './basis.ts';
import { bundleOf } from './policy.fixture.ts';

const ALLOW = 'decision := {"effect": "allow", "rule": "r", "reason": "", "depends_on": ["identity", "analysis"]}';

/** What such a decision rests on under a policy of these rules. */
async function basis(rules: string, dependsOn = ['identity', 'analysis']): Promise<readonly string[]> {
  const { reads } = await bundleOf(`${ALLOW} if {\n\tok\n}\n\n${rules}`);
  const decision: Decision = { effect: 'allow', rule: 'r', reason: '', matched: [], dependsOn, obligations: [], credential: '' };
  const grounded = groundedIn(reads, { ok: true, decision });
  return grounded.ok ? grounded.decision.dependsOn : [];
}

const EVERYTHING = ['identity', 'analysis', 'time', 'run', 'session', 'statement', 'parameters'];
test.each([
  ['nothing of the input', 'ok := true', ['identity', 'analysis']],
  ['what a statement does', 'ok if "select" in input.request.commands', ['identity', 'analysis']],
  ['its text', 'ok if contains(input.request.statement, "x")', ['identity', 'analysis', 'statement']],
  ['its parameters, by a name of its own', 'p := input.request.parameters\n\nok if p[0] == "x"', ['identity', 'analysis', 'parameters']],
  ['the time', 'ok if input.time.unix > 5', ['identity', 'analysis', 'time']],
  ['the run and the session', 'ok if input.run.id == input.session.id', ['identity', 'analysis', 'run', 'session']],
  ['any member of the request', 'ok if {\n\tsome name\n\tinput.request[name] == 5\n}', ['identity', 'analysis', 'statement', 'parameters']],
  ['the whole input, handed on', 'ok if f(input)\n\nf(of) if of.time.unix == 5', EVERYTHING],
  ['any member of the input', 'ok if {\n\tsome name\n\tinput[name].unix == 5\n}', EVERYTHING],
  ['a walk of all', 'ok if {\n\twalk(input, [_, "x"])\n}', EVERYTHING],
])('a policy that reads %s', async (_, rules, expected) => {
  expect(await basis(rules)).toEqual(expected);
});

test('what the policy says itself stands, and nothing is said for one that says nothing', async () => {
  expect(await basis('ok if input.time.unix > 5', ['time', 'other'])).toEqual(['time', 'other']);
  expect(await basis('ok if input.time.unix > 5', [])).toEqual([]);
});

test('of a policy that is a module only, its word counts', () => {
  const parsed = { ok: true, decision: { effect: 'deny', rule: 'r', reason: '', matched: [], dependsOn: ['identity'] } } as const;
  expect(groundedIn(undefined, parsed)).toBe(parsed);
});
