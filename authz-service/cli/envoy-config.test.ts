import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { envoyConfig } from './envoy-config.ts';

const file = fileURLToPath(new URL('../../envoy/sluice.example.yaml', import.meta.url));
let dir: string;
let said: string;
let complaints: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-'));
  [said, complaints] = ['', []];
});
afterEach(() => rmSync(dir, { recursive: true }));

const run = (options: Partial<Parameters<typeof envoyConfig>[0]>): number =>
  envoyConfig({ file, elsewhere: true, say: (text) => void (said += text), complain: (line) => void complaints.push(line), ...options });

test('all files are printed as one stream of YAML documents, each with its name', () => {
  expect(run({})).toBe(0);
  expect(said.match(/^# [\w-]+\.yaml$/gm)).toEqual(
    expect.arrayContaining(['# bootstrap.yaml', '# lds.yaml', '# cds.yaml', '# rds-agents.yaml']),
  );
  const documents = parseAllDocuments(said);
  expect(Array.isArray(documents) ? documents.flatMap(({ errors }) => errors) : ['empty']).toEqual([]);
});

test('one file, as it would be written', () => {
  expect(run({ only: 'rds-agents.yaml', out: dir })).toBe(0);
  expect(readdirSync(dir)).toEqual(['rds-agents.yaml']);
  expect(run({ only: 'nonsense' })).toBe(1);
  expect(complaints).toEqual([expect.stringContaining('bootstrap.yaml')]);
});

test('written twice, the second time nothing changes', () => {
  expect([run({ out: dir }), run({ out: dir })]).toEqual([0, 0]);
  expect(said).toMatch(/bootstrap\.yaml written\n.*nothing has changed\n$/);
});

test('a wrong file is said to be so, and prints nothing', () => {
  writeFileSync(join(dir, 'sluice.yaml'), 'version: 1\n');
  expect(run({ file: join(dir, 'sluice.yaml') })).toBe(1);
  expect([said, complaints.length > 0]).toEqual(['', true]);
});
