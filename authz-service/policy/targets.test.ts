import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PolicyBuildError } from './error.ts';
import { readTargets } from './targets.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** What is wrong with the data of one target, as `line:column: path: problem`. */
async function problems(target: string): Promise<readonly string[]> {
  const file = join(dir, 'grants.yaml');
  writeFileSync(file, `targets:\n  ledger:\n${target.replace(/^/gm, '    ')}\n`);
  try {
    await readTargets(file);
    return [];
  } catch (error) {
    if (!(error instanceof PolicyBuildError)) throw error;
    return error.problems.map((problem) => problem.replace(`${file}:`, ''));
  }
}

describe('grants of tables', () => {
  test('what may be said', async () => {
    expect(
      await problems(`grants:
  - { group: a, actions: [read, write, ddl], tables: [public.*, "*.*", "*.rates", sales.Orders, "my schema.my table"] }
  - { role: b, actions: [select, insert, update, delete], tables: [public.notes], credential: app }
  - { identity: "corp:x", actions: [read], paths: [/**], tables: ["*.*"] }
approvals:
  - { tables: [public.*], approvers: ["group:dba"] }
  - { approvers: ["group:dba"] }
obligations:
  - { oblige: { type: mask, field: "*.*.ssn", method: full }, clear_for: [audit] }`),
    ).toEqual([]);
  });

  test.each([
    ['a table without its schema', 'tables: [customers]', [/^3:62: targets\.ledger\.grants\.0\.tables\.0: must match pattern/]],
    ['a star inside of a name', 'tables: [public.c*]', [/^3:62: targets\.ledger\.grants\.0\.tables\.0: must match pattern/]],
    ['a column', 'tables: [public.customers.ssn]', [/^3:62: targets\.ledger\.grants\.0\.tables\.0: must match pattern/]],
    ['a quoted name', `tables: ['public."A"']`, [/^3:62: targets\.ledger\.grants\.0\.tables\.0: must match pattern/]],
    ['none of them', 'tables: []', [/^3:61: targets\.ledger\.grants\.0\.tables: must NOT have fewer than 1 items/]],
    [
      'neither tables nor paths',
      'credential: x',
      [/^3:15: targets\.ledger\.grants\.0: must have required property 'paths'/, /^3:15: .*: must have required property 'tables'/],
    ],
    ['a misspelt key', 'tables: [a.b], table: [a.b]', [/^3:15: targets\.ledger\.grants\.0: unknown key `table`/]],
  ])('%s', async (_, said, told) => {
    const found = await problems(`grants: [ { group: a, actions: [read],          ${said} } ]`);
    expect(found).toEqual(told.map((one) => expect.stringMatching(one)));
  });

  test('an action that there is not', async () => {
    expect(await problems('grants: [ { group: a, actions: [truncate], tables: [a.b] } ]')).toEqual([
      expect.stringMatching(
        /^3:37: targets\.ledger\.grants\.0\.actions\.0: must be one of read, write, delete, select, insert, update, ddl/,
      ),
    ]);
  });
});
