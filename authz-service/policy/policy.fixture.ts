/** Policies for tests: written to a folder of their own, compiled as the service would. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Request } from '../decision/request.ts';
import { type Bundle, buildBundle } from './compile.ts';
import { createEngine, type Engine, type EngineOptions } from './engine.ts';

export async function folder(): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'sluice-test-policy-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** Compiles one module of Rego, without its `package sluice`. */
export async function bundleOf(rego: string): Promise<Bundle> {
  const { path, remove } = await folder();
  try {
    await writeFile(join(path, 'main.rego'), `package sluice\n\n${rego}\n`);
    return await buildBundle({ path });
  } finally {
    await remove();
  }
}

/**
 * Its answer depends on the request's path: `/loop` does not end within a test, `/slow` takes a part of a second, `/throws`, `/undefined` and
 * `/malformed` fail in their ways, `/large` has a decision beyond its bound, `/memory` wants more than there is, `/long` and `/wide` want more of the
 * JavaScript heap than they may; everything else is allowed.
 */
export const MISBEHAVING = `
decision := {"effect": "allow", "rule": input.request.path, "reason": ""} if not input.request.path in odd

odd := {"/loop", "/slow", "/throws", "/undefined", "/malformed", "/large", "/memory", "/long", "/wide"}

decision := {"effect": "allow", "rule": "loop", "reason": sprintf("%d", [count([1 | xs := numbers.range(1, 60000); some i in xs; some j in xs; i == j])])} if input.request.path == "/loop"

decision := {"effect": "allow", "rule": "slow", "reason": sprintf("%d", [work(300)])} if input.request.path == "/slow"

work(n) := count([1 | some i in numbers.range(1, n); some j in numbers.range(1, n); i == j])

decision := {"effect": "allow", "rule": "a", "reason": ""} if input.request.path == "/throws"

decision := {"effect": "deny", "rule": "b", "reason": ""} if input.request.path == "/throws"

decision := {"effect": "maybe", "rule": "m", "reason": ""} if input.request.path == "/malformed"

decision := {"effect": "allow", "rule": "large", "reason": concat("", [x | some _ in numbers.range(1, 9000); x := "0123456789"])} if input.request.path == "/large"

times(text, n) := concat("", [text | some _ in numbers.range(1, n)])

decision := {"effect": "allow", "rule": "memory", "reason": times(times(times("0123456789", 1000), 1000), 1000)} if input.request.path == "/memory"

decision := {"effect": "allow", "rule": "long", "reason": regex.split("", times(times("0123456789", 1000), 1000))[0]} if input.request.path == "/long"

decision := {"effect": "allow", "rule": "wide", "reason": sprintf("%0100000000d", [1])} if input.request.path == "/wide"
`;

export const engineOf = (bundle: Bundle, options: Partial<EngineOptions> = {}): Promise<Engine> =>
  createEngine({ ...bundle, workers: 2, timeoutMs: 300, ...options });

export const request = (
  changes: { readonly method?: string; readonly path?: string; readonly groups?: readonly string[]; readonly target?: string } = {},
): Request => {
  const { method = 'GET', path = '/', groups = [], target = 'demo' } = changes;
  return {
    time: { now: '2026-01-02T03:04:05.000Z', unix: 1_767_323_045 },
    identity: {
      id: 'corp:agent',
      issuer: 'corp',
      subject: 'agent',
      name: 'Agent',
      kind: 'workload',
      client: 'agent',
      tenant: '',
      groups,
      roles: [],
      scopes: [],
    },
    run: { id: 'run-1', on_behalf_of: '', source: 'token' },
    target: { name: target, protocol: 'http', labels: { env: 'test' } },
    session: { id: 'session' },
    request: {
      protocol: 'http',
      method,
      host: 'demo.example',
      path,
      segments: path.slice(1).split('/'),
      query: {},
      headers: { accept: ['*/*'] },
      content_type: '',
      body: { size: 0, sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
    },
  };
};

export const inputOf = (path: string): string => JSON.stringify(request({ path }));
