import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Config, type ConfigError, loadConfig } from './config.ts';
import { watchConfig } from './watch.ts';

let dir: string;
let watch: { close(): void };
let changes: { readonly config: Config; readonly restart: readonly string[] }[];
let refusals: (readonly ConfigError[])[];

const yaml = (targets: string, listeners = '{ name: http, address: 127.0.0.1:8080 }', more = ''): string => `version: 1
listeners: [${listeners}]
issuers: [{ name: corp, issuer: https://login.example.com, audiences: [sluice] }]
targets: [${targets}]
policy: { path: policies }
${more}`;
const A = '{ name: a, listener: http, hosts: [a], url: http://127.0.0.1:1 }';
const B = '{ name: b, listener: http, hosts: [b], url: http://127.0.0.1:2 }';

/** As editors and deployments do: a new file in the old one's place. */
function write(text: string): void {
  writeFileSync(join(dir, 'next'), text);
  renameSync(join(dir, 'next'), join(dir, 'sluice.yaml'));
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-'));
  mkdirSync(join(dir, 'policies'));
  [changes, refusals] = [[], []];
  write(yaml(A));
  const first = loadConfig(join(dir, 'sluice.yaml'));
  if (!first.ok) throw new Error('the first file is wrong');
  watch = watchConfig(
    first.config,
    { changed: (config, restart) => changes.push({ config, restart }), refused: (errors) => refusals.push(errors) },
    {},
    20,
  );
});
afterEach(() => {
  watch.close();
  rmSync(dir, { recursive: true });
});

const names = (config: Config | undefined): string[] => config?.targets.map(({ name }) => name) ?? [];

test('new targets are in force at once', async () => {
  write(yaml(`${A}, ${B}`));
  await expect.poll(() => names(changes[0]?.config)).toEqual(['a', 'b']);
  expect(changes[0]?.restart).toEqual([]);
});

test('what needs a restart is named, and is not in force', async () => {
  write(
    yaml(
      `${A}, ${B.replace('http,', 'other,')}`,
      '{ name: http, address: 127.0.0.1:8080 }, { name: other, address: 127.0.0.1:8081 }',
      'state_dir: elsewhere\n',
    ),
  );
  await expect.poll(() => changes.length).toBe(1);
  expect(changes[0]?.restart.toSorted()).toEqual(['admin', 'listeners', 'run_dir', 'service', 'state_dir', 'targets']);
  expect([names(changes[0]?.config), changes[0]?.config.listeners.length, changes[0]?.config.stateDir]).toEqual([
    ['a'],
    1,
    join(dir, 'data'),
  ]);
});

test('a wrong file is refused, and the one after it is taken', async () => {
  write(yaml(A, undefined, 'polcy: {}\n'));
  await expect.poll(() => refusals.flat().map(({ path }) => path)).toEqual(['polcy']);
  write(yaml(B));
  await expect.poll(() => names(changes[0]?.config)).toEqual(['b']);
});

test('a file that is gone for a moment is a refusal, not an end', async () => {
  rmSync(join(dir, 'sluice.yaml'));
  await expect.poll(() => refusals.length).toBe(1);
  write(yaml(B));
  await expect.poll(() => names(changes[0]?.config)).toEqual(['b']);
});

test('a file that says the same is no change', async () => {
  write(`# a comment\n${yaml(A)}`);
  write(`# another\n${yaml(`${A}, ${B}`)}`);
  await expect.poll(() => changes.length).toBe(1);
  expect(names(changes[0]?.config)).toEqual(['a', 'b']);
});

test('a database is in force at once where its listener and its tunnel are known, and waits where one of them is new', async () => {
  writeFileSync(join(dir, 'secret'), 'secret');
  const database = (name: string, ways: string): string =>
    `{ name: ${name}, protocol: postgres, url: "postgres://127.0.0.1", database: d, credentials: { a: { password: { username: u, password: { file: secret } } } }, ${ways} }`;
  write(
    yaml(
      `${A}, ${database('tunnelled', 'tunnel: http')}, ${database('new', 'listener: other, tunnel: http')}, ${database('both', 'listener: third, tunnel: other2')}`,
      '{ name: http, address: 127.0.0.1:8080 }, { name: other, address: 127.0.0.1:8081 }, { name: third, address: 127.0.0.1:8082 }, { name: other2, address: 127.0.0.1:8083 }',
    ),
  );
  await expect.poll(() => changes.length).toBe(1);
  expect(names(changes[0]?.config)).toEqual(['a', 'tunnelled']);
});
