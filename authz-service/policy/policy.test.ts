import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Evaluation } from '../decision/ports.ts';
import { folder, inputOf, request } from './policy.fixture.ts';
import { type Policy, startPolicy } from './policy.ts';

let dir: string;
let remove: () => Promise<void>;
let policy: Policy | undefined;
const reloaded: string[] = [];
const refused: string[] = [];

beforeEach(async () => {
  ({ path: dir, remove } = await folder());
  reloaded.length = refused.length = 0;
});
afterEach(async () => {
  await policy?.close();
  policy = undefined;
  await remove();
});

const main = (rule: string): string => `package sluice\n\ndecision := {"effect": "allow", "rule": "${rule}", "reason": ""}\n`;
const write = (name: string, text: string): void => writeFileSync(join(dir, name), text);
/** As deployments do it. */
const replace = (name: string, text: string): void => {
  write(`.${name}.new`, text);
  renameSync(join(dir, `.${name}.new`), join(dir, name));
};
const begin = async (lookEveryMs = 30): Promise<Policy> =>
  (policy = await startPolicy({
    path: dir,
    workers: 1,
    timeoutMs: 1_000,
    lookEveryMs,
    onReloaded: (revision) => reloaded.push(revision),
    onRefused: ({ message }) => refused.push(message),
  }));
const ruleOf = (evaluation: Evaluation | undefined): string => (evaluation?.ok ? evaluation.decision.rule : `${evaluation?.code}`);
const rule = async (): Promise<string> => ruleOf(await policy?.evaluate(inputOf('/')));

describe('reload', () => {
  test('when a file changes', async () => {
    write('main.rego', main('one'));
    const { revision } = await begin();
    replace('main.rego', main('two'));
    await vi.waitFor(() => expect(reloaded).toHaveLength(1), 10_000);
    expect(await rule()).toBe('two');
    expect(policy?.revision).toBe(reloaded[0]);
    expect(policy?.revision).not.toBe(revision);
  });

  test('only when its files have come to rest', async () => {
    write('main.rego', main('one'));
    await begin(500);
    const said = new Set<string>();
    for (let i = 0; i < 20; i++) {
      write('main.rego', main(`step-${i}`));
      await new Promise((resolve) => setTimeout(resolve, 50));
      said.add(await rule());
    }
    expect([...said]).toEqual(['one']);
    await vi.waitFor(async () => expect(await rule()).toBe('step-19'), 10_000);
    expect(reloaded).toHaveLength(1);
  });

  test.each([
    ['does not parse', 'package sluice\n\ndecision :=', /rego_parse_error/],
    ['answers something else', 'package sluice\n\ndecision := "yes"', /does not answer the decision document/],
    ['is gone', undefined, /holds no Rego/],
  ])('one that %s leaves the old one in force, and says so', async (_, text, said) => {
    write('main.rego', main('one'));
    const { revision } = await begin();
    if (text === undefined) rmSync(join(dir, 'main.rego'));
    else replace('main.rego', text);
    await vi.waitFor(() => expect(refused).toEqual([expect.stringMatching(said)]), 15_000);
    expect([await rule(), policy?.revision, reloaded]).toEqual(['one', revision, []]);
    replace('main.rego', main('three'));
    await vi.waitFor(async () => expect(await rule()).toBe('three'), 10_000);
  });

  test('once asked for and acknowledged, every evaluation is by the new one', async () => {
    write('main.rego', main('one'));
    await begin();
    for (const name of ['two', 'three']) {
      write('main.rego', main(name));
      const before = Array.from({ length: 20 }, () => rule());
      expect(await policy?.reload()).toBe(true);
      expect(new Set(await Promise.all(Array.from({ length: 20 }, () => rule())))).toEqual(new Set([name]));
      await Promise.all(before);
    }
    write('main.rego', 'package sluice\n');
    expect(await policy?.reload()).toBe(false);
    expect(await rule()).toBe('three');
  });

  test('drops no request while it happens', async () => {
    write('main.rego', main('one'));
    await begin();
    const said = new Set<string>();
    let asking = true;
    const asked = (async () => {
      while (asking) for (const answer of await Promise.all(Array.from({ length: 10 }, () => rule()))) said.add(answer);
    })();
    write('main.rego', main('two'));
    await policy?.reload();
    asking = false;
    await asked;
    expect([...said].toSorted()).toEqual(expect.arrayContaining(['one']));
    expect([...said].every((name) => name === 'one' || name === 'two')).toBe(true);
  });

  test('the same policy written again changes nothing', async () => {
    write('main.rego', main('one'));
    await begin();
    write('main.rego', main('one'));
    expect(await policy?.reload()).toBe(true);
    expect([reloaded, refused]).toEqual([[], []]);
  });
});

test('there is no start without a good policy', async () => {
  write('main.rego', 'package sluice\n\ndecision := 1\n');
  await expect(begin()).rejects.toThrow('does not answer the decision document');
});

describe('the default policy with the data of the demo', () => {
  const judged = async (method: string, path: string, groups: readonly string[]) => {
    const answer = await policy?.evaluate(JSON.stringify(request({ method, path, groups })));
    if (!answer?.ok) throw new Error(answer?.reason);
    return answer.decision;
  };
  const agent = ['support-agents'];

  beforeEach(async () => {
    const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
    policy = await startPolicy({ path: at('policies'), data: at('demo/grants.yaml'), workers: 1, timeoutMs: 2_000 });
  });

  test('what each may do', async () => {
    const said = await Promise.all(
      (
        [
          ['GET', '/customers', agent],
          ['GET', '/customers/7', agent],
          ['POST', '/tickets', agent],
          ['POST', '/customers', agent],
          ['DELETE', '/customers/7', agent],
          ['DELETE', '/customers', agent],
          ['POST', '/orders/7/refund', agent],
          ['POST', '/orders/7/refund', ['leads']],
          ['GET', '/db', agent],
          ['GET', '/db', ['audit']],
          ['PUT', '/tickets/1', ['audit']],
          ['GET', '/customers', []],
          ['TRACE', '/customers', ['leads']],
        ] as const
      ).map(async ([method, path, groups]) => {
        const { effect, rule } = await judged(method, path, groups);
        return `${method} ${path} ${groups}: ${effect} ${rule}`;
      }),
    );
    expect(said).toEqual([
      'GET /customers support-agents: allow read-by-grant',
      'GET /customers/7 support-agents: allow read-by-grant',
      'POST /tickets support-agents: allow write-by-grant',
      'POST /customers support-agents: deny default-deny',
      'DELETE /customers/7 support-agents: hold destructive-needs-approval',
      'DELETE /customers support-agents: deny default-deny',
      'POST /orders/7/refund support-agents: deny default-deny',
      'POST /orders/7/refund leads: hold destructive-needs-approval',
      'GET /db support-agents: deny default-deny',
      'GET /db audit: allow read-by-grant',
      'PUT /tickets/1 audit: deny default-deny',
      'GET /customers : deny default-deny',
      'TRACE /customers leads: deny known-method',
    ]);
  });

  test('who sees what', async () => {
    const names = async (groups: readonly string[]) => {
      const decision = await judged('GET', '/customers', groups);
      return decision.effect === 'deny'
        ? []
        : decision.obligations.map((of) =>
            of.type === 'mask' ? `${of.field} ${of.method}` : of.type === 'detect' ? `${of.detector} ${of.method}` : of.type,
          );
    };
    const others = ['**.phone full', '**.email hash', '**.card partial', '**.iban partial'];
    const detectors = ['email partial', 'iban partial', 'payment-card partial'];
    expect(await names(agent)).toEqual(['**.ssn null', ...others, 'us-ssn full', ...detectors]);
    expect(await names(['audit'])).toEqual([...others, ...detectors]);
  });

  test('a hold names who may answer, how many and how long', async () => {
    expect(await judged('DELETE', '/tickets/1', agent)).toMatchObject({ hold: { approvers: ['group:leads'], quorum: 1, ttlMs: 900_000 } });
  });
});
