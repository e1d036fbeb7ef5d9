import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { formatVerifierKey } from '../tlog/note.ts';
import { LogFixture } from '../verify/log.fixture.ts';
import { run } from './run.ts';

let directory: string;
let log: LogFixture;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-verify-'));
  log = new LogFixture().fill(300);
  const files = [...log.publish().objects, ['keys', Buffer.from(`0 ${formatVerifierKey(log.key.verifier)}\n`)]] as const;
  for (const [key, bytes] of files) {
    mkdirSync(dirname(at('log', key)), { recursive: true });
    writeFileSync(at('log', key), bytes);
  }
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (...path: string[]): string => join(directory, ...path);

const sluice = async (...args: string[]): Promise<{ code: number; told: string }> => {
  let told = '';
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      told += chunk;
      return true;
    }),
  );
  try {
    return { code: await run([...args, '--log', at('log')]), told };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
};

describe('sluice verify', () => {
  it('verifies the log, a session, an event', async () => {
    for (const args of [[], ['ses_3'], ['--event', '299'], ['--key', at('log', 'keys')]])
      expect(await sluice('verify', ...args)).toMatchObject({ code: 0, told: expect.stringMatching(/^VERIFIED/) });
  });

  it.each([
    ['', 2, 'There is no file "", and it is no session\'s name.'],
    ['./there/is.html', 2, 'There is no file "./there/is.html", and it is no session\'s name.'],
    [tmpdir(), 1, `${tmpdir()} cannot be read: EISDIR`],
    ['ses_none', 1, 'not-found'],
  ])('of %j says what is wrong', async (what, code, told) => {
    expect(await sluice('verify', what)).toEqual({ code, told: expect.stringContaining(told) });
  });

  it('says what is missing: the log, or its key', async () => {
    rmSync(at('log', 'keys'));
    expect(await sluice('verify')).toEqual({ code: 1, told: 'No key lies beside the log: name one with --key.\n' });
    rmSync(at('log', 'checkpoint'));
    expect(await sluice('verify')).toEqual({ code: 1, told: expect.stringContaining('There is no published log at') });
  });
});

describe('sluice evidence', () => {
  it('writes a page that verifies, and proofs, and nothing over what is there', async () => {
    const page = at('page.html');
    const checkpoint = readFileSync(at('log', 'checkpoint'));
    expect(await sluice('evidence', 'ses_3', '--out', page, '--proofs', at('log'))).toEqual({
      code: 1,
      told: expect.stringContaining('is not empty: name another directory'),
    });
    expect(await sluice('evidence', 'ses_3', '--out', page, '--proofs', at('proofs'))).toMatchObject({ code: 0 });
    expect(await sluice('evidence', 'ses_3', '--out', page)).toMatchObject({ code: 1 });
    expect(await sluice('verify', page, '--key', at('log', 'keys'))).toMatchObject({ code: 0 });
    expect(readdirSync(at('proofs'))).toHaveLength(9);
    expect(readFileSync(at('log', 'checkpoint'))).toEqual(checkpoint);
  });

  it('takes no name that leads somewhere', async () => {
    expect(await sluice('evidence', '../ses_3')).toEqual({ code: 2, told: '"../ses_3" is no session\'s name.\n' });
  });
});
