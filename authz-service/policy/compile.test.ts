import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkPolicy } from './check.ts';
import { buildBundle, type PolicySource } from './compile.ts';
import { PolicyBuildError } from './error.ts';
import { findOpa } from './opa.ts';
import { engineOf, folder, request } from './policy.fixture.ts';
import { readTargets } from './targets.ts';

const LIBRARY = fileURLToPath(new URL('../../policies', import.meta.url));
const DEMO = fileURLToPath(new URL('../../demo/grants.yaml', import.meta.url));
const ALLOW = 'decision := {"effect": "allow", "rule": "r", "reason": ""}';

let dir: string;
let remove: () => Promise<void>;
beforeEach(async () => {
  ({ path: dir, remove } = await folder());
});
afterEach(() => remove());

const write = (name: string, text: string): string => {
  const file = join(dir, name);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
  return file;
};
const problems = (source: Partial<PolicySource> = {}): Promise<readonly string[]> => checkPolicy({ policy: { path: dir, ...source } });

describe('a folder', () => {
  test('of its own stands alone', async () => {
    write('main.rego', `package sluice\n\n${ALLOW}\n`);
    expect(await problems()).toEqual([]);
  });

  test('with rules only is added to the library', async () => {
    write(
      'night/night.rego',
      'package sluice.rules.night\n\ndeny contains {"rule": "night", "reason": "at night"} if contains(input.time.now, "T03:")\n',
    );
    write('night/night_test.rego', 'package sluice.rules.night_test\n\nthis does not even parse\n');
    const engine = await engineOf(await buildBundle({ path: dir, data: DEMO }));
    const input = request({ path: '/customers/7', groups: ['support-agents'] });
    const answers = await Promise.all(
      [input, { ...input, time: { now: '2026-01-02T13:00:00Z', unix: 1 } }].map((of) => engine.evaluate(JSON.stringify(of))),
    );
    expect(answers.map((answer) => answer.ok && answer.decision.rule)).toEqual(['night', 'read-by-grant']);
    await engine.close();
  });

  test('has the same revision when built again, and another when the data changes', async () => {
    const data = write('grants.yaml', 'targets: {}');
    const first = await buildBundle({ path: LIBRARY, data });
    const again = await buildBundle({ path: LIBRARY, data });
    write('grants.yaml', 'targets: { demo: {} }');
    const other = await buildBundle({ path: LIBRARY, data });
    expect(first.revision).toMatch(/^[0-9a-f]{64}$/);
    expect([again.revision === first.revision, other.revision === first.revision]).toEqual([true, false]);
  });
});

describe('is refused, and says why', () => {
  test.each([
    ['what does not parse', `package sluice\n\n${ALLOW} if {`, /main\.rego:4: rego_parse_error/],
    [
      'an unknown member of the input',
      `# METADATA\n# schemas:\n#   - input: schema.input\npackage sluice\n\n${ALLOW} if input.request.methd == "GET"`,
      /undefined ref: input\.request\.methd/,
    ],
    ['an unsafe variable', `package sluice\n\n${ALLOW} if x > 1`, /var x is unsafe/],
    ['an unused variable', `package sluice\n\n${ALLOW} if { x := 1 }`, /assigned var x unused/],
    ['no decision', 'package sluice\n\nallowed := true', /sluice\/decision|undefined/],
    ['another document', 'package sluice\n\ndecision := true', /does not answer the decision document at data\.sluice\.decision/],
    ['an answer to some only', `package sluice\n\n${ALLOW} if input.request.method == "POST"`, /no answer at data\.sluice\.decision/],
    [
      'a function that WASM does not have',
      `package sluice\n\n${ALLOW} if time.now_ns() > 0`,
      /time\.now_ns does not exist in OPA's WASM; the time is in input\.time/,
    ],
    [
      'a call to the network',
      `package sluice\n\n${ALLOW} if http.send({"method": "get", "url": "http://127.0.0.1"}).status_code == 200`,
      /http\.send does not exist/,
    ],
    [
      'a probe that does not end',
      'package sluice\n\ndecision := {"effect": "allow", "rule": "r", "reason": sprintf("%d", [count([1 | xs := numbers.range(1, 60000); some i in xs; some j in xs; i == j])])}',
      /took longer than|did not start/,
    ],
  ])('%s', { timeout: 40_000 }, async (_, rego, said) => {
    write('main.rego', `${rego}\n`);
    expect((await problems()).join('\n')).toMatch(said);
  });

  test('an empty folder', async () => expect(await problems()).toEqual([`${dir}: holds no Rego`]));
  test('a missing folder', async () =>
    expect(await problems({ path: join(dir, 'x') })).toEqual([`${join(dir, 'x')}: cannot be read (ENOENT)`]));
  test('a missing opa', async () => {
    write('main.rego', `package sluice\n\n${ALLOW}\n`);
    expect((await problems({ opa: join(dir, 'no-opa') })).join()).toMatch(/no-opa/);
  });
});

describe('a ready bundle', () => {
  const built = (entrypoint = 'sluice/decision'): string => {
    const file = join(dir, 'bundle.tar.gz');
    execFileSync(findOpa(), [
      'build',
      '-t',
      'wasm',
      '-e',
      entrypoint,
      '--ignore',
      'schemas',
      '--ignore',
      '*_test.rego',
      '-o',
      file,
      LIBRARY,
    ]);
    return file;
  };

  test('is taken, with the data beside it', async () => {
    const file = built();
    expect(await problems({ path: file })).toEqual([]);
    const engine = await engineOf(await buildBundle({ path: file, data: DEMO }));
    const answer = await engine.evaluate(JSON.stringify(request({ path: '/customers', groups: ['support-agents'] })));
    expect(answer).toMatchObject({ ok: true, decision: { effect: 'allow', rule: 'read-by-grant' } });
    await engine.close();
  });

  test('of another entry point is refused', async () => {
    expect((await problems({ path: built('sluice/matched') })).join()).toMatch(/does not answer the decision document/);
  });

  test.each([
    ['that is none', Buffer.from('no gzip'), /is no bundle/],
    ['that is empty', Buffer.from('H4sIAAAAAAAAAwMAAAAAAAAAAAA=', 'base64'), /holds no policy\.wasm/],
  ])('%s', async (_, content, said) => {
    const file = join(dir, 'x.tar.gz');
    writeFileSync(file, content);
    expect((await problems({ path: file })).join()).toMatch(said);
  });

  test('is refused when it is cut off or damaged anywhere', async () => {
    const file = built();
    const { gunzipSync, gzipSync } = await import('node:zlib');
    const { readFileSync } = await import('node:fs');
    const tar = gunzipSync(readFileSync(file));
    for (const length of [100, 511, 600, Math.floor(tar.length / 2)]) {
      writeFileSync(join(dir, 'cut.tar.gz'), gzipSync(tar.subarray(0, length)));
      await expect(buildBundle({ path: join(dir, 'cut.tar.gz') }), String(length)).rejects.toThrow(PolicyBuildError);
    }
  });
});

describe('the data', () => {
  test('of the demo is right', async () => expect(await readTargets(DEMO)).toHaveProperty('targets.demo.grants'));

  test('may be JSON', async () =>
    expect(await readTargets(write('grants.json', '{"targets": {"a": {}}}'))).toEqual({ targets: { a: {} } }));

  test.each<[string, string, string[]]>([
    ['no targets', 'grants: []', [':1:1: the file: unknown key `grants`', ":1:1: the file: must have required property 'targets'"]],
    ['an unknown key', 'targets:\n  demo:\n    grnts: []\n', [':3:5: targets.demo: unknown key `grnts`']],
    [
      'an unknown action',
      'targets:\n  demo:\n    grants:\n      - { group: a, actions: [erase], paths: [/a] }\n',
      [':4:31: targets.demo.grants.0.actions.0: must be one of read, write, delete'],
    ],
    ['no YAML', 'targets: [', [':1:']],
    ['a key twice', 'targets: {}\ntargets: {}\n', [':2:1: Map keys must be unique']],
    [
      'two doubles in a path',
      'targets: { a: { grants: [{ group: a, actions: [read], paths: ["/**/a/**"] }] } }',
      ['targets.a.grants.0.paths.0: must match pattern'],
    ],
    ['a path without slash', 'targets: { a: { grants: [{ group: a, actions: [read], paths: [customers] }] } }', ['must match pattern']],
    ['a star within a segment', 'targets: { a: { grants: [{ group: a, actions: [read], paths: [/cust*] }] } }', ['must match pattern']],
    ['a group and a role', 'targets: { a: { grants: [{ group: a, role: b, actions: [read], paths: [/a] }] } }', ['targets.a.grants.0']],
    ['nobody', 'targets: { a: { grants: [{ actions: [read], paths: [/a] }] } }', ['targets.a.grants.0']],
    [
      'an approver of no kind',
      'targets: { a: { approvals: [{ approvers: [leads] }] } }',
      ['targets.a.approvals.0.approvers.0: must match pattern'],
    ],
    [
      'an unknown method',
      'targets: { a: { obligations: [{ oblige: { type: mask, field: a, method: hide } }] } }',
      ['targets.a.obligations.0.oblige.method: must be one of full, partial, hash, null, drop'],
    ],
  ])('%s', async (_, text, said) => {
    const error = await readTargets(write('grants.yaml', text)).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(PolicyBuildError);
    for (const part of said) expect((error as PolicyBuildError).problems.join('\n')).toContain(part);
  });

  test('wrong in one place makes the policy be refused', async () => {
    expect(await problems({ path: LIBRARY, data: write('grants.yaml', 'targets: { demo: { grants: 1 } }') })).toEqual([
      `${join(dir, 'grants.yaml')}:1:28: targets.demo.grants: must be array`,
    ]);
  });
});
